#!/usr/bin/env bash
# Large programs under the library: servers, interpreters and their own test suites. Ends with
# `N passed, N failed, N skipped`; what is not installed is skipped.
#
#   preload/suite.sh [--install] [NAME...]
#
# --install   installs what is missing with apt-get first; without it nothing is installed
# NAME        runs only these: see the list at the end. `soak` runs only where it is named: 10^9 operations over four
#             threads, or as many as MEMS_SOAK_OPERATIONS says.
# MEMS_LIBRARY names another library than target/release/libmems_preload.so, which is built first.
set -u
cd "$(dirname "$0")/.." || exit 2
root=$PWD passed=0 failed=0 skipped=0 install=0 wanted=()
for argument in "$@"; do
    case $argument in --install) install=1 ;; -*) sed -n '2,11p' "$0"; exit 2 ;; *) wanted+=("$argument") ;; esac
done
if [ $install = 1 ]; then
    apt-get update -q && apt-get install -y -q redis-server redis-tools postgresql nginx-light nodejs imagemagick \
        sqlite3 g++ python3 libpython3.11-testsuite curl || exit 2
fi
if [ -z "${MEMS_LIBRARY:-}" ]; then
    cargo build -q --release -p mems-preload || exit 2
    MEMS_LIBRARY=${CARGO_TARGET_DIR:-$root/target}/release/libmems_preload.so
fi
work=$(mktemp -d) && chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
ulimit -c 0

# with COMMAND...: runs a command with the library, at most ten minutes.
with() { timeout 600 env LD_PRELOAD="$MEMS_LIBRARY" PYTHONMALLOC=malloc "$@"; }
has() { command -v "$1" > /dev/null; }

# part NAME TOOL FUNCTION...: runs a part in a folder of its own, if it is wanted and the tool is there.
part() {
    local name=$1 tool=$2 began=$SECONDS; shift 2
    if [ ${#wanted[@]} -gt 0 ]; then
        case " ${wanted[*]} " in *" $name "*) ;; *) return 0 ;; esac
    fi
    if ! has "$tool"; then
        skipped=$((skipped + 1)); printf '%-34s SKIPPED  no %s\n' "$name" "$tool"; return 0
    fi
    local log=$work/$name.log
    mkdir -p "$work/$name" && chmod 777 "$work/$name"
    if (cd "$work/$name" && "$@") > "$log" 2>&1 && ! grep -q '^mems: ' "$log"; then
        passed=$((passed + 1)); printf '%-34s ok       %4s s\n' "$name" $((SECONDS - began))
    elif grep -q '^no such test' "$log"; then
        skipped=$((skipped + 1)); printf '%-34s SKIPPED  this python has no such test\n' "$name"
    else
        failed=$((failed + 1)); printf '%-34s FAILED   %4s s\n' "$name" $((SECONDS - began)); tail -n 25 "$log"
    fi
}

# until_it_answers COMMAND...: waits for a server, at most 20 s.
until_it_answers() { for _ in $(seq 200); do "$@" > /dev/null 2>&1 && return 0; sleep 0.1; done; return 1; }
# ends PID: waits for the end of a server and says whether it ended well.
ends() { wait "$1"; local status=$?; [ $status = 0 ] || [ $status = 143 ] || { echo "it ended with $status"; return 1; }; }

# A port that nobody listens on, below those that the kernel gives to clients.
free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
    echo $port
}

redis() {
    local port; port=$(free_port)
    with redis-server --port $port --bind 127.0.0.1 --save '' --appendonly no --dir . & local server=$!
    until_it_answers redis-cli -p $port ping || return 1
    redis-benchmark -p $port -n 100000 -c 50 -q -t set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,lrange_100,mset &&
        redis-cli -p $port debug populate 200000 key 100 && redis-cli -p $port memory doctor &&
        redis-cli -p $port flushall && redis-cli -p $port bgsave && redis-cli -p $port ping | grep -q PONG
    local result=$?
    redis-cli -p $port shutdown nosave; ends $server && return $result
}

# PostgreSQL does not run as root; its programs are then run as the user nobody.
as_user() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$PWD" "$@"; else "$@"; fi; }
postgres() {
    local bin port library=$PWD/libmems_preload.so
    port=$(free_port)
    bin=$(dirname "$(readlink -f "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | tail -n 1)")")
    cp "$MEMS_LIBRARY" "$library" && chmod 755 "$library" || return 1
    local MEMS_LIBRARY=$library
    as_user env LD_PRELOAD="$library" "$bin/initdb" -D data -N > initdb.log || { cat initdb.log; return 1; }
    as_user env LD_PRELOAD="$library" "$bin/postgres" -D data -h 127.0.0.1 -p $port -k "$PWD" -F & local server=$!
    until_it_answers "$bin/pg_isready" -h 127.0.0.1 -p $port || return 1
    as_user env LD_PRELOAD="$library" pgbench -h 127.0.0.1 -p $port -i -s 2 -q postgres &&
        as_user env LD_PRELOAD="$library" pgbench -h 127.0.0.1 -p $port -c 4 -j 2 -T 10 postgres
    local result=$?
    kill -INT "$(head -n 1 data/postmaster.pid)"; ends $server && return $result
}

nginx_serves() {
    local port; port=$(free_port)
    mkdir -p html logs && seq 20000 > html/numbers.txt && echo index > html/index.html && chmod -R a+rX .
    cat > nginx.conf <<CONF
daemon off; worker_processes 2; pid $PWD/nginx.pid; error_log $PWD/error.log;
events { worker_connections 256; }
http { access_log off; gzip on; gzip_types text/plain; client_body_temp_path $PWD/b; proxy_temp_path $PWD/p;
  fastcgi_temp_path $PWD/f; uwsgi_temp_path $PWD/u; scgi_temp_path $PWD/s;
  server { listen 127.0.0.1:$port; root $PWD/html; location /again/ { proxy_pass http://127.0.0.1:$port/; } } }
CONF
    with nginx -p "$PWD" -c "$PWD/nginx.conf" & local server=$!
    until_it_answers curl -sf "http://127.0.0.1:$port/" || { cat error.log; return 1; }
    local result=0
    for i in $(seq 100); do
        curl -sf --compressed "http://127.0.0.1:$port/again/numbers.txt?$i" | cmp - html/numbers.txt || result=1
    done
    seq 400 | sed "s|.*|url = http://127.0.0.1:$port/numbers.txt?&|" > urls
    curl -sf --parallel --parallel-max 20 -K urls | wc -c | grep -qx $((400 * $(wc -c < html/numbers.txt))) || result=1
    kill -HUP "$(cat nginx.pid)"
    until_it_answers curl -sf "http://127.0.0.1:$port/" || result=1
    kill -QUIT "$(cat nginx.pid)"; ends $server && return $result
}

node_runs() {
    cat > work.js <<'JS'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto'), fs = require('fs');
function work() {
    const map = new Map();
    for (let i = 0; i < 200000; i++) map.set('key' + i, { i, s: 'x'.repeat(i % 40) });
    const text = JSON.stringify([...map.entries()].slice(0, 50000));
    const buffers = Array.from({ length: 500 }, (_, i) => Buffer.alloc(i * 100, i));
    return crypto.createHash('sha1').update(zlib.gunzipSync(zlib.gzipSync(text))).update(Buffer.concat(buffers)).digest('hex');
}
if (isMainThread) {
    const mine = work();
    Promise.all([1, 2, 3, 4].map(() => new Promise((yes, no) => new Worker(__filename).on('message', yes).on('error', no))))
        .then(all => { if (!all.every(one => one === mine)) process.exit(1); console.log(mine); });
} else parentPort.postMessage(work());
JS
    node work.js > expected && with node work.js > found && cmp expected found
}

images() {
    local convert; convert=$(command -v magick || command -v convert)
    with "$convert" -size 800x600 plasma:red-blue -seed 1 a.png &&
        with "$convert" a.png -resize 50% -blur 0x3 -rotate 30 -colorspace gray b.jpg &&
        with "$convert" b.jpg \( a.png -crop 100x100 +repage \) -append c.tiff &&
        with "$convert" c.tiff c.gif && with "$convert" c.gif -format '%w %h %m\n' info:
}

compile() {
    with g++ -std=c++17 -O2 -pthread "$root/preload/tests/c/standard.cpp" -o a && ./a > expected || return 1
    for _ in $(seq 20); do with ./a > found && cmp expected found || return 1; done
}

database() {
    cat > work.sql <<'SQL'
create table t(a integer primary key, b text, c blob); create virtual table f using fts5(x);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 300000) insert into t select x, hex(x * x), zeroblob(x % 300) from n;
create index i on t(b); insert into f select b from t where a < 50000;
select count(*), max(b), sum(length(c)) from t; select count(*) from f where f match '31*';
delete from t where a % 3 = 0; vacuum; select count(*) from t; pragma integrity_check;
SQL
    sqlite3 one.db < work.sql > expected && with sqlite3 two.db < work.sql > found && cmp expected found && cmp one.db two.db
}

# What fails without the library as well, and nothing else, may fail with it.
python_test() {
    local python
    for python in python3 /usr/bin/python3 ''; do
        "${python:-false}" -c "import importlib.util as u, sys; sys.exit(u.find_spec('test.$1') is None)" 2> /dev/null && break
    done
    [ -n "$python" ] || { echo "no such test: $1"; return 1; }
    with "$python" -m test -v "$1" > with.log 2>&1 && return 0
    timeout 600 "$python" -m test -v "$1" > without.log 2>&1
    tail -n 30 with.log
    diff <(grep -E '^(FAIL|ERROR):' without.log | sort) <(grep -E '^(FAIL|ERROR):' with.log | sort) &&
        grep -qE '^(FAIL|ERROR):' with.log
}

soak() {
    cc -O1 -w -fno-builtin -pthread "$root/preload/tests/c/storm.c" -o storm &&
        env LD_PRELOAD="$MEMS_LIBRARY" ./storm soak "${MEMS_SOAK_OPERATIONS:-1000000000}"
}

part redis redis-server redis
part postgres pgbench postgres
part nginx nginx nginx_serves
part node node node_runs
part images convert images
part c++ g++ compile
part sqlite3 sqlite3 database
for test in test_list test_dict test_json test_threading test_multiprocessing_fork test_subprocess test_ctypes; do
    part "python-$test" python3 python_test "$test"
done
case " ${wanted[*]-} " in *" soak "*) part soak cc soak ;; esac

printf '%s passed, %s failed, %s skipped\n' $passed $failed $skipped
[ $failed = 0 ] && [ $passed -gt 0 ]

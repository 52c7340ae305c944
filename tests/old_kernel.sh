#!/usr/bin/env bash
# Runs tests on a Linux that unmaps a run before it refuses to map over it, as all did before 6.12: Debian 12's 6.1, under
# QEMU. A few minutes; needs qemu-system-x86_64 and Debian's packages (apt-get download), and no privileges.
#
#   bash tests/old_kernel.sh [TEST BINARY...]     names as in Cargo.toml; without any, those about mappings
set -euo pipefail
cd "$(dirname "$0")/.."

tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(heap_budget heap_mappings)
work=target/old-kernel
root=$work/root
target=x86_64-unknown-linux-gnu
mkdir -p "$work"

for tool in qemu-system-x86_64 apt-get cpio; do
    command -v "$tool" > /dev/null || { echo "skipped: no $tool"; exit 0; }
done

echo "1 of 3: the kernel and a shell"
if [ ! -e "$work/vmlinuz" ]; then
    image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
    (cd "$work" && apt-get download -q "$image" busybox-static)
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/packages"; done
    cp "$work"/packages/boot/vmlinuz-* "$work/vmlinuz"
fi

echo "2 of 3: the tests, without shared libraries"
rm -rf "$root"
mkdir -p "$root"/{bin,proc,sys,dev,tmp,tests}
cp "$work/packages/bin/busybox" "$root/bin/"
for test in "${tests[@]}"; do
    binary=$(RUSTFLAGS="-C target-feature=+crt-static" cargo test -q --release --target "$target" --target-dir "$work/target" \
        --test "$test" --no-run --message-format json |
        sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' | tail -1)
    cp "$binary" "$root/tests/$test"
done
cat > "$root/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "Linux $(/bin/busybox uname -r)"
for test in /tests/*; do
    echo "--- $test"
    if $test --test-threads 1; then echo "PASSED $test"; else echo "FAILED $test"; fi
done
echo THE END
/bin/busybox poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$work/initrd"

echo "3 of 3: the machine"
# Emulated: nested virtual machines do not get along with every host.
timeout 1800 qemu-system-x86_64 -accel tcg -smp 2 -m 3G -nographic -no-reboot -nodefaults -serial stdio \
    -kernel "$work/vmlinuz" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" < /dev/null |
    tee "$work/log" | grep --line-buffered -E "^(Linux|---|test |PASSED|FAILED|THE END)"
! grep -q "^FAILED" "$work/log" && grep -q "^THE END" "$work/log"

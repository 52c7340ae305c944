//! A program that shows its heap to a browser and to pprof: a server with std's `TcpListener`, on the loopback
//! interface unless told otherwise. It has a thread for each connection: it is for looking, not for load.
//!
//! ```text
//! cargo run --release --example http_debug                       # http://127.0.0.1:9000/
//! cargo run --release --example http_debug -- 127.0.0.1:0 once   # asks itself for each page, prints what came, ends
//! go tool pprof http://127.0.0.1:9000/debug/pprof/heap
//! ```

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use mems::profile::Sites;
use mems::{IoText, Snapshot};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// The mean distance of the profile's samples, in bytes: the program is small.
const PROFILE_MEAN: usize = 64 << 10;
/// How long `/growth` waits if it is not told, and at the most, in seconds.
const GROWTH_SECONDS: u64 = 30;
const MOST_SECONDS: u64 = 300;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The pages, their types, and what they show.
const PAGES: [(&str, &str, &str); 9] = [
    ("/", HTML, "this list"),
    ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "the sums, for Prometheus"),
    ("/heap.html", HTML, "the map, to look around in"),
    ("/heap.svg", "image/svg+xml", "the map, as a picture"),
    ("/heap.txt", TEXT, "fragmentation, and who holds what"),
    ("/snapshot.json", "application/json", "everything, as JSON"),
    ("/flame", "image/svg+xml", "who allocated what is live, as a flame graph"),
    (GROWTH, HTML, "what grows within ?seconds=30, and the map"),
    ("/debug/pprof/heap", "application/octet-stream", "the profile, for go tool pprof"),
];
const GROWTH: &str = "/growth";
/// A request's first line is not read beyond this.
const LONGEST_LINE: u64 = 4096;

fn write_index(out: &mut impl Write) -> io::Result<()> {
    let style =
        "<style>:root{color-scheme:light dark}body{font:16px/1.6 system-ui;margin:3rem}</style>";
    write!(
        out,
        "<!doctype html><meta charset=\"utf-8\"><title>MeMS</title>{style}<h1>This heap</h1><ul>"
    )?;
    for (path, _, what) in PAGES {
        write!(out, "<li><a href=\"{path}\">{path}</a>: {what}")?;
    }
    writeln!(out, "</ul>")
}

/// What the profile knows now.
fn sites() -> io::Result<Sites> {
    GLOBAL.profile().sites().map_err(io::Error::other)
}

fn write_page(path: &str, wait: Duration, out: &mut impl Write) -> io::Result<()> {
    let snapshot = || mems::snapshot().map_err(io::Error::other);
    let as_text = |out, write: &dyn Fn(&Snapshot, &mut IoText<'_, _>) -> fmt::Result| {
        let mut text = IoText::new(out);
        let written = write(&snapshot()?, &mut text);
        text.finish(written)
    };
    match path {
        "/" => write_index(out),
        "/metrics" => {
            let mut text = IoText::new(out);
            let written = GLOBAL.stats().write_prometheus(&mut text);
            text.finish(written)
        }
        "/heap.html" => as_text(out, &|snapshot, text| snapshot.write_html(text)),
        "/heap.svg" => as_text(out, &|snapshot, text| snapshot.write_svg(text)),
        "/heap.txt" => as_text(out, &|snapshot, text| snapshot.write_fragmentation(text)),
        "/debug/pprof/heap" => sites()?.write_pprof(out),
        "/flame" => {
            let mut text = IoText::new(out);
            let written = sites()?.write_flame_svg(&mut text);
            text.finish(written)
        }
        GROWTH => {
            let before = sites()?;
            thread::sleep(wait);
            let now = sites()?;
            as_text(out, &|snapshot, text| snapshot.write_html_with(text, &now, Some(&before)))
        }
        _ => as_text(out, &|snapshot, text| snapshot.write_json(text)),
    }
}

/// How long a page waits, by what follows the question mark: only `/growth` takes something. None if that is wrong.
fn wait_of(path: &str, query: &str) -> Option<Duration> {
    let mut seconds = if path == GROWTH { GROWTH_SECONDS } else { 0 };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        seconds = match pair.split_once('=')? {
            ("seconds", text) if path == GROWTH => text.parse().ok()?,
            _ => return None,
        };
    }
    Some(Duration::from_secs(seconds.min(MOST_SECONDS)))
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    let (mut line, mut input) = (String::new(), BufReader::new(stream.take(LONGEST_LINE)));
    input.read_line(&mut line)?;
    // The rest of the request says nothing of interest, but a connection that is closed before it was read is reset.
    let mut header = String::new();
    while input.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut out = BufWriter::with_capacity(64 << 10, stream);
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let page = PAGES.iter().find(|page| page.0 == path);
    let refusal = match (method, page, wait_of(path, query)) {
        ("GET", Some((_, kind, _)), Some(wait)) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n")?;
            write!(out, "Cache-Control: no-store\r\nConnection: close\r\n\r\n")?;
            write_page(path, wait, &mut out)?;
            return out.flush();
        }
        ("GET", Some(_), None) => "400 Bad Request",
        ("GET", None, _) => "404 Not Found",
        _ => "405 Method Not Allowed\r\nAllow: GET",
    };
    write!(out, "HTTP/1.1 {refusal}\r\nConnection: close\r\n\r\n")?;
    out.flush()
}

/// Asks for something: the line of the status, and what came behind the head.
fn ask(address: SocketAddr, target: &str) -> io::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let (mut status, mut answer) = (String::new(), BufReader::new(stream));
    answer.read_line(&mut status)?;
    let mut header = String::new();
    while answer.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut body = Vec::new();
    answer.read_to_end(&mut body)?;
    Ok((status.trim_end().to_owned(), body))
}

/// Requests whose queries are wrong.
const BAD: [&str; 3] = ["/growth?seconds=soon", "/growth?minutes=1", "/heap.svg?seconds=1"];

/// Asks for each page, all at once, prints its first line and length, and then what is no question.
fn ask_all(address: SocketAddr) -> io::Result<()> {
    let askers = PAGES.map(|(path, ..)| {
        let target = if path == GROWTH { "/growth?seconds=1" } else { path };
        (target, thread::spawn(move || ask(address, target)))
    });
    for (target, asker) in askers {
        let answer = asker.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        let (status, body) = answer?;
        println!("{target:<18} {status}, {} bytes", body.len());
        if !status.starts_with("HTTP/1.1 200 ") || body.is_empty() {
            return Err(io::Error::other("a page is missing"));
        }
    }
    for target in BAD {
        let (status, _) = ask(address, target)?;
        println!("{target:<18} {status}");
        if !status.starts_with("HTTP/1.1 400 ") {
            return Err(io::Error::other("a bad request was served"));
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    GLOBAL.profile().start(PROFILE_MEAN);
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    println!("http://{address}/");
    // Something to look at.
    let work: Vec<Vec<u8>> = (0..20_000).map(|n| vec![0; 8 + n * n % 3000]).collect();
    let kept: Vec<_> = work.into_iter().step_by(3).collect();
    let asker = arguments.next().map(|_| thread::spawn(move || ask_all(address)));
    let connections = if asker.is_some() { PAGES.len() + BAD.len() } else { usize::MAX };
    for stream in listener.incoming().take(connections) {
        thread::spawn(move || {
            // A browser that goes away in between is its own affair.
            if let Err(error) = stream.and_then(|stream| answer(&stream)) {
                eprintln!("http_debug: {error}");
            }
        });
    }
    let asked = asker.map_or(Ok(()), |asker| {
        asker.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
    });
    drop(kept);
    asked
}

//! A program that shows its heap to a browser: a server with std's `TcpListener`, on the loopback interface unless told
//! otherwise. It serves one request after the other: it is for looking, not for load.
//!
//! ```text
//! cargo run --release --example http_debug                       # http://127.0.0.1:9000/
//! cargo run --release --example http_debug -- 127.0.0.1:0 once   # asks itself for each page, prints what came, ends
//! ```

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};

use mems::{IoText, Snapshot};

#[global_allocator]
static GLOBAL: mems::MemsAlloc = mems::MemsAlloc::new();

/// The pages, their types, and what they show.
const PAGES: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", "this list"),
    ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "the sums, for Prometheus"),
    ("/heap.html", "text/html; charset=utf-8", "the map, to look around in"),
    ("/heap.svg", "image/svg+xml", "the map, as a picture"),
    ("/heap.txt", "text/plain; charset=utf-8", "fragmentation, and who holds what"),
    ("/snapshot.json", "application/json", "everything, as JSON"),
];
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

fn write_page(path: &str, out: &mut impl Write) -> io::Result<()> {
    let snapshot = || mems::snapshot().map_err(io::Error::other);
    let as_text = |out, write: fn(&Snapshot, &mut IoText<'_, _>) -> fmt::Result| {
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
        "/heap.html" => as_text(out, |snapshot, text| snapshot.write_html(text)),
        "/heap.svg" => as_text(out, |snapshot, text| snapshot.write_svg(text)),
        "/heap.txt" => as_text(out, |snapshot, text| snapshot.write_fragmentation(text)),
        _ => as_text(out, |snapshot, text| snapshot.write_json(text)),
    }
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
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let page = PAGES.iter().find(|page| page.0 == path);
    match (method, page) {
        ("GET", Some((_, kind, _))) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n")?;
            write!(out, "Cache-Control: no-store\r\nConnection: close\r\n\r\n")?;
            write_page(path, &mut out)?;
        }
        ("GET", None) => write!(out, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")?,
        _ => write!(
            out,
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n\r\n"
        )?,
    }
    out.flush()
}

/// Asks for each page and prints its first line and length.
fn ask_all(address: SocketAddr) -> io::Result<()> {
    for (path, _, _) in PAGES {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        println!("{path:<15} {}, {} bytes", head.lines().next().unwrap_or_default(), body.len());
        if !head.starts_with("HTTP/1.1 200 ") || body.is_empty() {
            return Err(io::Error::other("a page is missing"));
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    println!("http://{address}/");
    // Something to look at.
    let work: Vec<Vec<u8>> = (0..20_000).map(|n| vec![0; 8 + n * n % 3000]).collect();
    let kept: Vec<_> = work.into_iter().step_by(3).collect();
    let asker = arguments.next().map(|_| std::thread::spawn(move || ask_all(address)));
    let connections = if asker.is_some() { PAGES.len() } else { usize::MAX };
    for stream in listener.incoming().take(connections) {
        // A browser that goes away in between is its own affair.
        if let Err(error) = stream.and_then(|stream| answer(&stream)) {
            eprintln!("http_debug: {error}");
        }
    }
    drop(kept);
    asker.map_or(Ok(()), |asker| {
        asker.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
    })
}

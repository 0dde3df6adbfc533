//! A mistake that others shipped and that needs a process to be seen; `docs/mistakes.md` has the list.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use served::Served;

/// The object's size: far more than the disk, and the memory, of the test could do without noticing.
const SIZE: u64 = 5 << 30;
/// What may be moved for 100 bytes, and what the process may grow by.
const MOVED_MAX: u64 = 8 << 20;
const GROWTH_MAX: u64 = 48 << 20;

/// An origin with one object, whose bytes are made while they are sent. It counts what it sends.
struct Endless {
    url: String,
    sent: Arc<AtomicU64>,
    whole: Arc<AtomicU64>,
}

fn byte_at(offset: u64) -> u8 {
    u8::try_from(offset % 251).unwrap()
}

impl Endless {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sent, whole) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, wholes) = (sent.clone(), whole.clone());
        // Ends with the process.
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (counted, wholes) = (counted.clone(), wholes.clone());
                std::thread::spawn(move || serve(socket, &counted, &wholes));
            }
        });
        Self { url, sent, whole }
    }
}

/// Answers until the other side hangs up.
fn serve(socket: TcpStream, sent: &AtomicU64, whole: &AtomicU64) -> Option<()> {
    let mut writer = socket.try_clone().ok()?;
    let mut lines = BufReader::new(socket).lines();
    loop {
        let request = lines.next()?.ok()?;
        let mut range = None;
        loop {
            let line = lines.next()?.ok()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("range: bytes=") {
                let (first, last) = value.split_once('-').unwrap();
                let last = last.parse().unwrap_or(SIZE - 1).min(SIZE - 1);
                range = Some((first.parse::<u64>().unwrap(), last));
            }
        }
        let (first, last) = range.unwrap_or((0, SIZE - 1));
        let status = match range {
            Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{SIZE}"),
            None => "200 OK".to_owned(),
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\nETag: \"0123456789abcdef0123456789abcdef-640\"\r\nContent-Length: {}\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: video/mp4\r\n\r\n",
            last + 1 - first
        )
        .ok()?;
        if request.starts_with("HEAD ") {
            continue;
        }
        whole.fetch_add(u64::from(range.is_none()), Ordering::Relaxed);
        let mut at = first;
        while at <= last {
            let end = (last + 1).min(at + (64 << 10));
            let piece: Vec<u8> = (at..end).map(byte_at).collect();
            writer.write_all(&piece).ok()?;
            sent.fetch_add(end - at, Ordering::Relaxed);
            at = end;
        }
    }
}

/// Status and body of a range that anybody may read.
fn range(served: &Served, path: &str, first: u64, last: u64) -> (String, Vec<u8>) {
    let address = served.text("s3").strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nRange: bytes={first}-{last}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).unwrap();
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(reply[..end].to_vec()).unwrap();
    (head.lines().next().unwrap().to_owned(), reply.split_off(end + 4))
}

/// 10. A range of what is not here pulls the whole object, through memory or onto the disk.
#[test]
fn mistake_10_a_range_miss_pulls_the_whole_object() {
    let origin = Endless::start();
    let folder = tempfile::tempdir().unwrap();
    let bucket = |name: &str, shadow: &str| {
        format!(
            "[bucket.{name}]\nmode = \"migrate\"\npublic = \"read\"\npublic-fill = \"open\"\nshadow = {{ {shadow} }}\n"
        )
    };
    let config = format!(
        "[network]\nallow-private-origins = true\n{}{}",
        bucket("videos", &format!("endpoint = \"{}\", name = \"old\"", origin.url)),
        bucket("pages", &format!("url = \"{}\"", origin.url)),
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();
    let served = Served::serve(folder.path(), &[]);
    range(&served, "/videos/warm-up", 0, 0);
    let before = served.resident_bytes();
    for path in ["/videos/large", "/pages/large"] {
        for first in [0, 1, 12_345, 3 << 30, SIZE - 100] {
            let sent = origin.sent.load(Ordering::Relaxed);
            let (status, body) = range(&served, path, first, first + 99);
            assert_eq!(status, "HTTP/1.1 206 Partial Content", "{path} from {first}");
            let expected: Vec<u8> = (first..first + 100).map(byte_at).collect();
            assert!(body == expected, "{path} from {first}: {} bytes", body.len());
            let moved = origin.sent.load(Ordering::Relaxed) - sent;
            assert!(moved < MOVED_MAX, "{path} from {first}: {moved} bytes moved for 100");
            assert_eq!(
                origin.whole.load(Ordering::Relaxed),
                0,
                "{path} from {first}: the whole was asked for"
            );
        }
    }
    let grown = served.peak_bytes().saturating_sub(before);
    println!("{} bytes moved, {grown} bytes more resident at most", origin.sent.load(Ordering::Relaxed));
    assert!(grown < GROWTH_MAX, "{grown} bytes more resident");
    assert_eq!(served.stop("-TERM"), 0);
}

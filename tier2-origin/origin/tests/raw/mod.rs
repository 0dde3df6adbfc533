//! HTTP as bytes on a socket, so that nothing between test and server mends or hides anything.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, and how the connection ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// As it came: chunked ones undecoded.
    pub(crate) body: Vec<u8>,
    /// Whether the peer reset the connection.
    pub(crate) reset: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends one request on a connection that ends with it. `head` is the request line and further headers.
pub(crate) async fn ask(addr: SocketAddr, head: &str) -> Answer {
    ask_with(addr, head, b"").await
}

pub(crate) async fn ask_with(addr: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = head.trim_end().replace('\n', "\r\n");
    let request = format!("{head}\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server that refuses the request may have gone before it has taken the body.
    let _ = stream.write_all(body).await;
    read(&mut stream).await
}

pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let (mut bytes, mut reset) = (Vec::new(), false);
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => {
                reset = true;
                break;
            }
        }
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer { status: 0, head: String::new(), body: bytes, reset };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).replace("\r\n", "\n");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec(), reset }
}

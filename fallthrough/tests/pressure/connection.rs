//! One connection to the server, spoken to by hand and as slowly as the test likes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

/// What a slow client's kernel takes in its place: as little as it lets itself be told.
const RECEIVED_BYTES: usize = 4096;
/// A server that does not answer in this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Connection {
    stream: TcpStream,
    /// What has come with a head, and behind it.
    ahead: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    text: String,
}

impl Head {
    /// A header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn length(&self) -> usize {
        self.header("content-length").map_or(0, |length| length.parse().unwrap())
    }
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        Self::try_open(address).unwrap()
    }

    /// # Errors
    /// Nobody listens, or not any more.
    pub(crate) fn try_open(address: &str) -> io::Result<Self> {
        let address: SocketAddr = address.parse().unwrap();
        let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Before it is connected, or a larger window has been offered already.
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVED_BYTES)?;
        rustix::net::connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// Opens one and sends an anonymous GET of `path`, of the bytes from `start` to the one before `end`.
    pub(crate) fn get(address: &str, path: &str, range: Option<(u64, u64)>) -> Self {
        let mut connection = Self::open(address);
        let range =
            range.map_or_else(String::new, |(start, end)| format!("Range: bytes={start}-{}\r\n", end - 1));
        connection.say(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{range}\r\n").as_bytes()).unwrap();
        connection
    }

    /// # Errors
    /// The server has gone, or closed the connection.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends the head of a request with a body, and waits to be asked for the body; `false` if it is refused
    /// instead.
    pub(crate) fn is_invited(&mut self, head: &[u8]) -> bool {
        let without_end = head.strip_suffix(b"\r\n").unwrap();
        // Whoever is refused may be so before it has said anything.
        let _ = self.say(&[without_end, b"expect: 100-continue\r\n\r\n"].concat());
        match self.head().unwrap().status {
            100 => true,
            503 => false,
            other => panic!("{other} to {}", String::from_utf8_lossy(head)),
        }
    }

    /// The head of the next answer, a `100 Continue` among them.
    ///
    /// # Errors
    /// None came.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let text = String::from_utf8(self.ahead.drain(..end + 4).collect()).unwrap();
                let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
                return Ok(Head { status, text });
            }
            let mut some = [0; 1024];
            let read = self.stream.read(&mut some)?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.ahead.extend_from_slice(&some[..read]);
        }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// So many did not come.
    pub(crate) fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes: Vec<u8> = self.ahead.drain(..len.min(self.ahead.len())).collect();
        let had = bytes.len();
        bytes.resize(len, 0);
        self.stream.read_exact(&mut bytes[had..])?;
        Ok(bytes)
    }

    /// The whole next answer.
    ///
    /// # Errors
    /// None came, or not to its end.
    pub(crate) fn answer(&mut self) -> io::Result<(Head, Vec<u8>)> {
        let head = self.head()?;
        let body = self.take(head.length())?;
        Ok((head, body))
    }

    /// Waits for the end; whether nothing more came, and the end was no reset, with which much of what was sent could
    /// be lost.
    pub(crate) fn ends_cleanly(&mut self) -> bool {
        let mut rest = std::mem::take(&mut self.ahead);
        self.stream.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }

    /// Waits until the server closes it, however it does that. What came until then.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.ahead);
        match self.stream.read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection stays open")
            }
            // A reset is an end as well.
            Ok(_) | Err(_) => rest,
        }
    }
}

//! Plain sockets, kept alive: one request, one answer, at little cost to the core that they share.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Where a request goes, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) request: Vec<u8>,
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    body: Vec<u8>,
    line: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Self, String> {
        let io = |error: std::io::Error| format!("{address}: {error}");
        let writer = TcpStream::connect(address).map_err(io)?;
        writer.set_nodelay(true).map_err(io)?;
        let reader = BufReader::with_capacity(64 << 10, writer.try_clone().map_err(io)?);
        Ok(Self { address: address.to_owned(), writer, reader, body: Vec::new(), line: Vec::new() })
    }

    /// Sends `request` and reads the answer to its end.
    ///
    /// # Errors
    /// The connection broke, or the answer is not a 200 with a Content-Length of `size`.
    pub(crate) fn exchange(&mut self, request: &[u8], size: usize) -> Result<(), String> {
        match self.fetch(request)?.len() {
            length if length == size => Ok(()),
            length => Err(format!("{}: {length} bytes, not {size}", self.address)),
        }
    }

    /// Sends `request` and reads the answer to its end; its body.
    ///
    /// # Errors
    /// The connection broke, or the answer is not a 200 with a Content-Length.
    pub(crate) fn fetch(&mut self, request: &[u8]) -> Result<&[u8], String> {
        match self.ask(request)? {
            200 => Ok(&self.body),
            other => Err(format!("{}: {other}", self.address)),
        }
    }

    /// Sends `request` and reads the answer to its end; its status.
    ///
    /// # Errors
    /// The connection broke, or the answer has no Content-Length.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<u16, String> {
        self.writer.write_all(request).map_err(|error| format!("{}: {error}", self.address))?;
        self.read_line()?;
        let line = String::from_utf8_lossy(&self.line);
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("{}: {}", self.address, line.trim()))?;
        let mut length = None;
        loop {
            self.read_line()?;
            if self.line == b"\r\n" {
                break;
            }
            let (name, value) = self.line.split_at(self.line.iter().position(|b| *b == b':').unwrap_or(0));
            if name.eq_ignore_ascii_case(b"content-length") {
                let value = String::from_utf8_lossy(value);
                length = value.trim_start_matches(':').trim().parse::<usize>().ok();
            }
        }
        let length = length.ok_or_else(|| format!("{}: no Content-Length", self.address))?;
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body).map_err(|error| format!("{}: {error}", self.address))?;
        Ok(status)
    }

    fn read_line(&mut self) -> Result<(), String> {
        self.line.clear();
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(0) => Err(format!("{}: closed before the answer's head was whole", self.address)),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", self.address)),
        }
    }
}

/// Sends the request `each` times on each of `connections`, and reads bodies of `size` bytes.
///
/// # Errors
/// Any answer but 200 with `size` bytes.
pub(crate) fn load(target: &Target, connections: usize, each: usize, size: usize) -> Result<(), String> {
    together(connections, |_| {
        let mut connection = Connection::open(&target.address)?;
        (0..each).try_for_each(|_| connection.exchange(&target.request, size))
    })
    .map(|_| ())
}

/// Runs `work` on as many threads and returns what each gave, in order.
///
/// # Errors
/// The first error of any.
pub(crate) fn together<T: Send>(
    threads: usize,
    work: impl Fn(usize) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a connection panicked".to_owned())?)
            .collect()
    })
}

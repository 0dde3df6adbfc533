//! A load over plain sockets: the same request again and again on a few connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Where a request goes, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) request: Vec<u8>,
}

/// Sends the request `each` times on each of `connections`, and reads bodies of `size` bytes.
///
/// # Errors
/// Any answer but 200 with `size` bytes.
pub(crate) fn load(target: &Target, connections: usize, each: usize, size: usize) -> Result<(), String> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| one(target, each, size))).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a connection panicked".to_owned())?)
    })
}

fn one(target: &Target, each: usize, size: usize) -> Result<(), String> {
    let io = |error: std::io::Error| format!("{}: {error}", target.address);
    let socket = TcpStream::connect(&target.address).map_err(io)?;
    socket.set_nodelay(true).map_err(io)?;
    let mut writer = socket.try_clone().map_err(io)?;
    let mut reader = BufReader::with_capacity(64 << 10, socket);
    let mut body = vec![0; size];
    let mut line = Vec::new();
    for _ in 0..each {
        writer.write_all(&target.request).map_err(io)?;
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(io)?;
        if !line.starts_with(b"HTTP/1.1 200") {
            return Err(format!("{}: {}", target.address, String::from_utf8_lossy(&line).trim()));
        }
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(io)? == 0 {
                return Err(format!("{}: the head ended early", target.address));
            }
            if line == b"\r\n" {
                break;
            }
        }
        reader.read_exact(&mut body).map_err(io)?;
    }
    Ok(())
}

//! An origin that takes as long as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::client::Target;

/// Size of every object in bytes.
pub(crate) const SIZE: usize = 10_000;

/// The origin; it lives as long as the process.
#[derive(Debug)]
pub(crate) struct SlowOrigin {
    port: u16,
    delay_ms: Arc<AtomicU64>,
    calls: Arc<AtomicUsize>,
}

impl SlowOrigin {
    pub(crate) fn start() -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let (delay_ms, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let origin = Self { port, delay_ms: delay_ms.clone(), calls: calls.clone() };
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (delay_ms, calls) = (delay_ms.clone(), calls.clone());
                // As many as the measured server has connections: it bounds them itself.
                std::thread::spawn(move || serve(socket, &delay_ms, &calls));
            }
        });
        Ok(origin)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn target(&self, key: &str) -> Target {
        let address = format!("127.0.0.1:{}", self.port);
        Target { request: format!("GET /{key} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes(), address }
    }
}

#[expect(clippy::disallowed_methods, reason = "being slow is what this origin is for")]
fn serve(socket: std::net::TcpStream, delay_ms: &AtomicU64, calls: &AtomicUsize) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let Ok(mut writer) = socket.try_clone() else { return };
    let mut lines = BufReader::new(socket).lines();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nETag: \"bench\"\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    answer.extend(std::iter::repeat_n(b'o', SIZE));
    while let Some(Ok(line)) = lines.next() {
        if !line.is_empty() {
            continue;
        }
        calls.fetch_add(1, Ordering::SeqCst);
        // The slowness is the thing under measurement.
        std::thread::sleep(Duration::from_millis(delay_ms.load(Ordering::SeqCst)));
        if writer.write_all(&answer).is_err() {
            return;
        }
    }
}

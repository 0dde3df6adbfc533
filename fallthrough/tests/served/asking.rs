//! Asking a served process how it is: its admin API, and again and again until something is so.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fallthrough_object::{Clock, SystemClock};

use super::Served;

/// Longest wait for an answer of the admin API.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

impl Served {
    /// Status and body of a GET of the admin API.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        let address = self.text("admin").strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(ANSWERED_WITHIN)).unwrap();
        let token = self.text("admin_token");
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}

/// Asks again and again, since what runs in another process wakes nobody here.
///
/// # Errors
/// It did not become so within `patience`.
pub(crate) fn await_within(
    patience: Duration,
    what: &str,
    mut is_so: impl FnMut() -> bool,
) -> Result<(), String> {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    while !is_so() {
        if clock.monotonic().since(began) > patience {
            return Err(format!("waited in vain for {what}"));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

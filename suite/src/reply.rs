//! An answer as it came.

use fallthrough_wire::xml::parse_error_document;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head that is taken.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Largest body that is taken.
const BODY_BYTES_MAX: usize = 256 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body ended where its framing says.
    pub(crate) whole: bool,
    /// `100 Continue` came before it.
    pub(crate) continued: bool,
}

impl Reply {
    /// All values of a header, joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// The code of an error document; empty for an answer that has none.
    pub(crate) fn code(&self) -> String {
        if self.status < 300 && !self.body.windows(7).any(|text| text == b"<Error>") {
            return String::new();
        }
        parse_error_document(&self.body).map(|error| error.code).unwrap_or_default()
    }
}

/// Reads one answer after another from a connection.
#[derive(Debug)]
pub(crate) struct ReplyReader<S> {
    socket: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> ReplyReader<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, buffer: Vec::new() }
    }

    /// The next head, `100 Continue` among them.
    ///
    /// # Errors
    /// The connection ended, or what came is not HTTP.
    pub(crate) async fn head(&mut self) -> Result<(u16, HeaderMap), String> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > HEAD_BYTES_MAX || !self.more().await {
                return Err(format!("no answer came, but {:?}", String::from_utf8_lossy(&self.buffer)));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let bad = || format!("the head is not HTTP: {:?}", String::from_utf8_lossy(&head));
        let mut lines = head[..end].split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        let first = String::from_utf8_lossy(lines.next().ok_or_else(bad)?).into_owned();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
            let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| bad())?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| bad())?;
            headers.append(name, value);
        }
        Ok((status, headers))
    }

    /// The body that belongs to a head, and whether it was whole. To a HEAD there is none: what comes nevertheless,
    /// until the connection ends, is told as a body.
    pub(crate) async fn body(
        &mut self,
        status: u16,
        headers: &HeaderMap,
        head_only: bool,
    ) -> (Vec<u8>, bool) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if head_only || status == 304 || status == 204 {
            (self.rest().await, true)
        } else if text("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            self.chunked().await
        } else if let Some(length) = text("content-length") {
            match length.parse() {
                Ok(length) if length <= BODY_BYTES_MAX => self.sized(length).await,
                Ok(_) | Err(_) => (Vec::new(), false),
            }
        } else {
            (self.rest().await, true)
        }
    }

    /// False at the end, however it came.
    async fn more(&mut self) -> bool {
        self.buffer.len() <= BODY_BYTES_MAX
            && matches!(self.socket.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }

    async fn sized(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..length).collect(), true)
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                    let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                    break String::from_utf8_lossy(&line).trim_end().to_owned();
                }
                if !self.more().await {
                    return (all, false);
                }
            };
            let Ok(length) = usize::from_str_radix(&line, 16) else { return (all, false) };
            let (piece, whole) = self.sized(length + 2).await;
            all.extend_from_slice(&piece[..piece.len().min(length)]);
            if !whole || length == 0 || all.len() > BODY_BYTES_MAX {
                return (all, whole);
            }
        }
    }

    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }
}

//! A client that speaks S3 by hand: HTTP/1.1 with SigV4 over a pipe, so that it can also hang up in the middle.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Signer};
use fallthrough_wire::uri::encode_path;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::world::{ACCESS_KEY, BUCKET, SECRET, World};

/// Longest wait for anything: far beyond what the engine lets a client wait.
const PATIENCE: Duration = Duration::from_secs(240);

/// A client with at most one connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    pub(crate) number: u32,
    signer: Signer,
    pipe: Option<DuplexStream>,
    read: BytesMut,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    /// Decoded; empty for the bucket itself.
    key: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    unsigned: bool,
    /// Hangs up after so many bytes of the body, its own or the answer's.
    hang_up_after: Option<u64>,
    /// Hangs up as soon as all is sent.
    leaves: bool,
    /// Pause before each piece of the answer.
    slow: Option<Duration>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Told {
    /// An answer.
    Answer(Reply),
    /// The connection broke, or was broken, before all of the request was sent: it cannot have been understood.
    NotAsked,
    /// The connection broke, or was broken, after that.
    Lost,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body ended where its framing says.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The code of an error document.
    pub(crate) fn code(&self) -> String {
        let document = fallthrough_wire::xml::parse_error_document(&self.body);
        document.map(|document| document.code).unwrap_or_default()
    }
}

impl Ask {
    pub(crate) fn new(method: Method, key: &str) -> Self {
        Self {
            method,
            key: key.to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            unsigned: false,
            hang_up_after: None,
            leaves: false,
            slow: None,
        }
    }

    pub(crate) fn query(mut self, query: String) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Bytes, unsigned: bool) -> Self {
        (self.body, self.unsigned) = (body, unsigned);
        self
    }

    pub(crate) fn hang_up_after(mut self, bytes: u64) -> Self {
        self.hang_up_after = Some(bytes);
        self
    }

    pub(crate) fn leave(mut self) -> Self {
        self.leaves = true;
        self
    }

    pub(crate) fn slow(mut self, pause: Duration) -> Self {
        self.slow = Some(pause);
        self
    }
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, number: u32) -> Self {
        let signer = Signer::new(Credentials::new(ACCESS_KEY, SECRET), "us-east-1");
        Self { world: world.clone(), number, signer, pipe: None, read: BytesMut::new() }
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Told {
        if self.pipe.is_none() {
            self.read.clear();
            self.pipe = self.world.connect(self.number);
        }
        let Some(mut pipe) = self.pipe.take() else { return Told::NotAsked };
        let day = self.world.lifecycle.days().0.len();
        let Ok(told) = tokio::time::timeout(PATIENCE, self.exchange(&mut pipe, ask)).await else {
            self.world
                .journal
                .violation(format!("no answer within {PATIENCE:?}: {} {}", ask.method, ask.key));
            return Told::Lost;
        };
        if let Told::Answer(reply) = &told
            && reply.whole
            && reply.header("connection") != "close"
        {
            self.pipe = Some(pipe);
        }
        // Signed a day ago: the clock leapt meanwhile.
        let leapt = self.world.lifecycle.days().0.len() > day;
        match told {
            Told::Answer(reply) if leapt && reply.status == 403 => Told::NotAsked,
            told => told,
        }
    }

    fn head(&self, ask: &Ask) -> Vec<u8> {
        let path = if ask.key.is_empty() {
            format!("/{BUCKET}")
        } else {
            encode_path(&format!("/{BUCKET}/{}", ask.key))
        };
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:9000"));
        for (name, value) in &ask.headers {
            let value = HeaderValue::from_str(value).expect("plain values");
            headers.insert(HeaderName::from_static(name), value);
        }
        let payload = if ask.unsigned { PayloadMode::Unsigned } else { PayloadMode::of_bytes(&ask.body) };
        let query = Some(ask.query.as_str()).filter(|query| !query.is_empty());
        let now = self.world.now();
        self.signer
            .sign_headers(&ask.method, &path, query, &mut headers, payload, now)
            .expect("a request that can be signed");
        let mut head = format!("{} {path}", ask.method).into_bytes();
        if let Some(query) = query {
            head.extend_from_slice(format!("?{query}").as_bytes());
        }
        head.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        if matches!(ask.method, Method::PUT | Method::POST) {
            head.extend_from_slice(format!("content-length: {}\r\n", ask.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    async fn exchange(&mut self, pipe: &mut DuplexStream, ask: &Ask) -> Told {
        let head = self.head(ask);
        let sent = ask.hang_up_after.filter(|_| !ask.body.is_empty());
        let body = match sent {
            Some(sent) => ask.body.slice(..usize::try_from(sent).unwrap_or(usize::MAX).min(ask.body.len())),
            None => ask.body.clone(),
        };
        let all = body.len() == ask.body.len();
        // The answer may come before all of the body was taken; then nobody takes the rest.
        let (mut reading, mut writing) = tokio::io::split(pipe);
        let send = async {
            let sent = async {
                writing.write_all(&head).await?;
                writing.write_all(&body).await?;
                writing.flush().await
            };
            sent.await.is_ok()
        };
        if !all {
            send.await;
            return Told::NotAsked;
        }
        let read = &mut self.read;
        let mut reader = Reader { pipe: &mut reading, read, slow: ask.slow, left: None };
        if ask.body.is_empty() {
            reader.left = ask.hang_up_after;
        }
        if ask.leaves || sent.is_some() {
            // All is sent, and nobody waits for the answer.
            return if send.await { Told::Lost } else { Told::NotAsked };
        }
        let answer = reader.reply(ask.method == Method::HEAD);
        tokio::pin!(send, answer);
        let mut taken = None;
        let reply = tokio::select! {
            biased;
            sent = &mut send => {
                taken = Some(sent);
                answer.await
            }
            reply = &mut answer => reply,
        };
        match reply {
            Some(mut reply) => {
                // Half a request is no base for another one.
                reply.whole &= taken == Some(true);
                if taken != Some(true) {
                    reply.headers.insert("connection", HeaderValue::from_static("close"));
                    reply.whole = true;
                }
                Told::Answer(reply)
            }
            None if taken == Some(false) => Told::NotAsked,
            None => Told::Lost,
        }
    }
}

struct Reader<'a, R> {
    pipe: &'a mut R,
    read: &'a mut BytesMut,
    slow: Option<Duration>,
    /// Bytes of the body until it hangs up.
    left: Option<u64>,
}

impl<R: tokio::io::AsyncRead + Unpin> Reader<'_, R> {
    async fn more(&mut self) -> Option<()> {
        if let Some(pause) = self.slow {
            tokio::time::sleep(pause).await;
        }
        let took = self.pipe.read_buf(self.read).await.ok()?;
        (took > 0).then_some(())
    }

    async fn reply(&mut self, head_only: bool) -> Option<Reply> {
        let (status, headers) = loop {
            if let Some(head) = self.parse() {
                if head.0 != 100 {
                    break head;
                }
                continue;
            }
            self.more().await?;
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut body = BytesMut::new();
        let whole = if head_only || matches!(status, 204 | 304) {
            true
        } else if text("transfer-encoding") == Some("chunked") {
            self.chunked(&mut body).await.is_some()
        } else {
            let length = text("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            self.sized(length, &mut body).await.is_some()
        };
        Some(Reply { status, headers, body: body.freeze(), whole })
    }

    fn parse(&mut self) -> Option<(u16, HeaderMap)> {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut slots);
        let len = match parsed.parse(self.read) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return None,
            Err(error) => panic!("an answer that is no HTTP: {error}"),
        };
        let mut headers = HeaderMap::new();
        for header in parsed.headers.iter() {
            let name = HeaderName::try_from(header.name).expect("parsed");
            headers.append(name, HeaderValue::from_bytes(header.value).expect("parsed"));
        }
        let status = parsed.code.expect("complete");
        self.read.advance(len);
        Some((status, headers))
    }

    /// Moves `len` bytes into `out`; `None` if they do not come, or it hung up.
    async fn sized(&mut self, mut len: usize, out: &mut BytesMut) -> Option<()> {
        while len > 0 {
            if self.left == Some(0) {
                return None;
            }
            if self.read.is_empty() {
                self.more().await?;
            }
            let mut take = len.min(self.read.len());
            if let Some(left) = &mut self.left {
                take = take.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= take as u64;
            }
            out.extend_from_slice(&self.read.split_to(take));
            len -= take;
        }
        Some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.split_to(at + 2);
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.more().await?;
        }
    }

    async fn chunked(&mut self, out: &mut BytesMut) -> Option<()> {
        loop {
            let line = self.line().await?;
            let len = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if len == 0 {
                self.line().await?;
                return Some(());
            }
            self.sized(len, out).await?;
            self.line().await?;
        }
    }
}

//! A client that speaks HTTP by hand, so that it can also speak it wrongly.

use std::net::SocketAddr;
use std::time::Duration;

use fallthrough_object::{ChecksumAlgorithm, Timestamp};
use fallthrough_wire::digest::{DigestSet, Digests, format_checksum};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{ChunkChain, Credentials, Signer};
use fallthrough_wire::uri::encode_path;
use fallthrough_wire::xml::{ErrorDocument, parse_error_document};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for anything in these tests: a bug then shows as a failure, not as a hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    address: SocketAddr,
    signer: Option<Signer>,
    now: Timestamp,
    canary: Option<Canary>,
}

/// An object that must be as it was after every request.
#[derive(Clone)]
pub(crate) struct Canary {
    pub(crate) path: &'static str,
    pub(crate) body: &'static [u8],
    pub(crate) credentials: Credentials,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its SHA-256 is signed.
    Sha256,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// aws-chunked, each chunk signed.
    SignedChunks,
    /// aws-chunked, each chunk and a trailer with the CRC-32 signed.
    SignedChunksWithTrailer,
    /// aws-chunked with a trailer with the CRC-32.
    UnsignedChunksWithTrailer,
}

/// One request, before it is signed.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    /// The host of an absolute target.
    authority: Option<String>,
    path: String,
    query: String,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
    mode: Mode,
    chunk: usize,
    http_chunked: bool,
    after_signing: Vec<(String, String)>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body ended where its framing says.
    pub(crate) whole: bool,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, credentials: Option<Credentials>, now: Timestamp) -> Self {
        let signer = credentials.map(|credentials| Signer::new(credentials, "us-east-1"));
        Self { address, signer, now, canary: None }
    }

    /// The same client, which looks at the canary after every request.
    pub(crate) fn watching(mut self, canary: Option<Canary>) -> Self {
        self.canary = canary;
        self
    }

    async fn look_at_canary(&self) {
        let Some(Canary { path, body, credentials }) = self.canary.clone() else { return };
        let now = fallthrough_object::Clock::now(&fallthrough_object::SystemClock::new());
        let reply = Box::pin(Self::new(self.address, Some(credentials), now).get(path)).await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, body), "the canary is harmed");
    }

    /// The same client with another clock.
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// `path` is decoded; it is encoded here, once.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call<'_> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(&self.address.to_string()).unwrap());
        Call {
            client: self,
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            authority: None,
            path: encode_path(path),
            query: String::new(),
            headers,
            body: Vec::new(),
            mode: Mode::Sha256,
            chunk: 64 * 1024,
            http_chunked: false,
            after_signing: Vec::new(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path).send().await
    }

    pub(crate) async fn head(&self, path: &str) -> Reply {
        self.call("HEAD", path).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: &[u8]) -> Reply {
        self.call("PUT", path).body(body).send().await
    }

    /// The query of a presigned URL, with the raw path in front.
    pub(crate) fn presign(&self, method: &str, path: &str, query: &str, life: Duration) -> String {
        self.presign_for(&self.address.to_string(), method, path, query, life)
    }

    /// The same for another host than our address.
    pub(crate) fn presign_for(
        &self,
        host: &str,
        method: &str,
        path: &str,
        query: &str,
        life: Duration,
    ) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(host).unwrap());
        let signer = self.signer.as_ref().unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = encode_path(path);
        let query = signer
            .presign(&method, &path, Some(query).filter(|query| !query.is_empty()), &headers, life, self.now)
            .unwrap();
        format!("{path}?{query}")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn exchange(&self, head: &[u8], body: &[u8], head_only: bool) -> Reply {
        let mut socket = self.connect().await;
        socket.write_all(head).await.unwrap();
        // A server that refuses early may close before it has all of it.
        let _ = socket.write_all(body).await;
        Reply::read(&mut socket, head_only).await
    }

    /// Sends these bytes on a connection of their own and reads one answer. `{host}` stands for our address.
    pub(crate) async fn raw(&self, text: &str) -> Reply {
        let mut socket = self.connect().await;
        socket.write_all(text.replace("{host}", &self.address.to_string()).as_bytes()).await.unwrap();
        let reply = Reply::read(&mut socket, text.starts_with("HEAD")).await;
        self.look_at_canary().await;
        reply
    }

    /// Sends two texts, one after the other was answered, on one connection.
    pub(crate) async fn raw_twice(&self, first: &str, second: &str) -> [Reply; 2] {
        let mut socket = self.connect().await;
        let mut replies = Vec::new();
        for text in [first, second] {
            let text = text.replace("{host}", &self.address.to_string());
            socket.write_all(text.as_bytes()).await.unwrap();
            replies.push(Reply::read(&mut socket, text.starts_with("HEAD")).await);
        }
        replies.try_into().unwrap()
    }
}

impl Call<'_> {
    pub(crate) fn query(mut self, query: &str) -> Self {
        self.query = query.to_owned();
        self
    }

    /// Sends the target in absolute form, naming this host; it is not what is signed.
    pub(crate) fn absolute(mut self, authority: &str) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }

    /// The path as it goes on the wire.
    pub(crate) fn raw_path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        if name == "host" {
            self.headers.remove("host");
        }
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    /// A header line that is not signed.
    pub(crate) fn unsigned_header(mut self, name: &str, value: &str) -> Self {
        self.after_signing.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub(crate) fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Bytes in an aws-chunk.
    pub(crate) fn chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes;
        self
    }

    /// HTTP's own chunks instead of Content-Length.
    pub(crate) fn http_chunked(mut self) -> Self {
        self.http_chunked = true;
        self
    }

    pub(crate) async fn send(self) -> Reply {
        let (client, head_only) = (self.client, self.method == Method::HEAD);
        let (head, body) = self.encode();
        let reply = client.exchange(&head, &body, head_only).await;
        client.look_at_canary().await;
        reply
    }

    /// Sends other bytes than the head speaks of.
    pub(crate) async fn send_with(self, body: &[u8]) -> Reply {
        let (client, head_only) = (self.client, self.method == Method::HEAD);
        let (head, _) = self.encode();
        let reply = client.exchange(&head, body, head_only).await;
        client.look_at_canary().await;
        reply
    }

    /// Head and body as they go on the wire.
    pub(crate) fn encode(mut self) -> (Vec<u8>, Vec<u8>) {
        let payload = match self.mode {
            Mode::Sha256 => PayloadMode::of_bytes(&self.body),
            Mode::Unsigned => PayloadMode::Unsigned,
            Mode::SignedChunks => PayloadMode::SignedChunks,
            Mode::SignedChunksWithTrailer => PayloadMode::SignedChunksWithTrailer,
            Mode::UnsignedChunksWithTrailer => PayloadMode::UnsignedChunksWithTrailer,
        };
        if payload.is_chunked() {
            let len = self.body.len().to_string();
            if !self.headers.contains_key("x-amz-decoded-content-length") {
                self.headers.insert("x-amz-decoded-content-length", HeaderValue::from_str(&len).unwrap());
            }
            self.headers.insert("content-encoding", HeaderValue::from_static("aws-chunked"));
        }
        if payload.has_trailer() {
            self.headers.insert("x-amz-trailer", HeaderValue::from_static("x-amz-checksum-crc32"));
        }
        let query = Some(self.query.as_str()).filter(|query| !query.is_empty());
        let chain = self.client.signer.as_ref().map(|signer| {
            signer
                .sign_headers(&self.method, &self.path, query, &mut self.headers, payload, self.client.now)
                .unwrap()
        });
        let mut body = if payload.is_chunked() {
            aws_chunked(&self.body, self.chunk, payload, chain)
        } else {
            self.body
        };
        let mut head = format!("{} ", self.method);
        if let Some(authority) = &self.authority {
            head.push_str("http://");
            head.push_str(authority);
        }
        head.push_str(&self.path);
        if let Some(query) = query {
            head.push('?');
            head.push_str(query);
        }
        head.push_str(" HTTP/1.1\r\n");
        let mut head = head.into_bytes();
        if self.http_chunked {
            self.after_signing.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
            let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
            framed.extend_from_slice(&body);
            framed.extend_from_slice(if body.is_empty() { b"\r\n" } else { b"\r\n0\r\n\r\n" });
            body = framed;
        } else if !self.headers.contains_key("content-length") && (self.method == "PUT" || !body.is_empty()) {
            self.after_signing.push(("content-length".to_owned(), body.len().to_string()));
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        for (name, value) in &self.after_signing {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        (head, body)
    }
}

fn aws_chunked(body: &[u8], chunk: usize, payload: PayloadMode, chain: Option<ChunkChain>) -> Vec<u8> {
    let mut chain = chain.filter(|_| payload.has_signed_chunks());
    let mut out = Vec::new();
    for piece in body.chunks(chunk).chain(std::iter::once(&[][..])) {
        out.extend_from_slice(format!("{:x}", piece.len()).as_bytes());
        if let Some(chain) = &mut chain {
            out.extend_from_slice(b";chunk-signature=");
            out.extend_from_slice(&chain.sign_chunk(sha256(piece)));
        }
        out.extend_from_slice(b"\r\n");
        if !piece.is_empty() {
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
    }
    if payload.has_trailer() {
        let line = format!("x-amz-checksum-crc32:{}", crc32(body));
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
        if let Some(chain) = &mut chain {
            out.extend_from_slice(b"x-amz-trailer-signature:");
            out.extend_from_slice(&chain.sign_trailers(sha256(format!("{line}\n").as_bytes())));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    match PayloadMode::of_bytes(bytes) {
        PayloadMode::Sha256(digest) => digest,
        other => panic!("{other:?} of bytes"),
    }
}

/// The value of `x-amz-checksum-crc32`.
pub(crate) fn crc32(bytes: &[u8]) -> String {
    checksum(ChecksumAlgorithm::Crc32, bytes)
}

pub(crate) fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    let mut digests = Digests::new(DigestSet::none().and(algorithm));
    digests.update(bytes);
    format_checksum(digests.finish().get(algorithm).unwrap())
}

impl Reply {
    pub(crate) async fn read(socket: &mut (impl AsyncRead + Unpin), head_only: bool) -> Self {
        tokio::time::timeout(PATIENCE, Self::read_patiently(socket, head_only))
            .await
            .expect("an answer in time")
    }

    /// However long it takes.
    pub(crate) async fn read_patiently(socket: &mut (impl AsyncRead + Unpin), head_only: bool) -> Self {
        let mut reader = Reader { socket, buffer: Vec::new() };
        let (status, headers) = loop {
            let head = reader.head().await.expect("an answer");
            if head.0 != 100 {
                break head;
            }
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (body, whole) = if head_only || status == 304 || status == 204 {
            (Vec::new(), true)
        } else if text("transfer-encoding") == Some("chunked") {
            reader.chunked().await
        } else if let Some(len) = text("content-length") {
            reader.sized(len.parse().unwrap()).await
        } else {
            (reader.rest().await, true)
        };
        Self { status, headers, body, whole }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn error(&self) -> ErrorDocument {
        parse_error_document(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The code of an error document; empty for an answer without one.
    pub(crate) fn code(&self) -> String {
        if self.status < 300 || self.body.is_empty() { String::new() } else { self.error().code }
    }
}

struct Reader<'a, S> {
    socket: &'a mut S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    /// False at the end, however it came.
    async fn more(&mut self) -> bool {
        matches!(self.socket.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn head(&mut self) -> Option<(u16, HeaderMap)> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = HeaderMap::new();
        loop {
            // Bytes, since metadata may be UTF-8.
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Some((status, headers)) };
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
        }
    }

    async fn sized(&mut self, len: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < len {
            if !self.more().await {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..len).collect(), true)
    }

    async fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            let Some(line) = self.line().await else { return (all, false) };
            let Ok(len) = usize::from_str_radix(&line, 16) else { return (all, false) };
            let (piece, whole) = self.sized(len + 2).await;
            all.extend_from_slice(&piece[..piece.len().min(len)]);
            if !whole || len == 0 {
                return (all, whole);
            }
        }
    }

    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }
}

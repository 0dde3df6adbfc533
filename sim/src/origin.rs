//! The script as a server on loopback, down to resets and lying lengths.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use fallthrough_object::RangeSpec;
use fallthrough_shadow::{ListQuery, ListedPage, Method};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::ListFault;
use crate::play::{self, Opening, Performance, Step};
use crate::script::{Call, Script};

/// A request's head beyond this is refused; tests send far less.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A server on loopback that plays a [`Script`]: an HTTP server at [`FaultyOrigin::url`], and an S3 bucket
/// (path style, signatures not checked) of the name it was started with.
///
/// It is not finished politely: dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct FaultyOrigin {
    script: Arc<Script>,
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
}

/// What arrived, below the script's level.
#[derive(Debug, Default)]
struct Seen {
    requests: Vec<(String, HeaderMap)>,
    connections: usize,
    ignores_start_after: bool,
}

/// What every connection needs.
#[derive(Clone)]
struct Site {
    script: Arc<Script>,
    /// Raw path before a key: `/`, or `/bucket/`.
    below: String,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
}

impl FaultyOrigin {
    /// Starts an HTTP server: the key is the decoded path without its first slash.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start() -> Self {
        Self::serve("/".to_owned()).await
    }

    /// Starts an S3 provider with one bucket; `GET /bucket?list-type=2` lists it.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start_s3(bucket: &str) -> Self {
        Self::serve(format!("/{bucket}/")).await
    }

    async fn serve(below: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stop = CancellationToken::new();
        let site = Site { script: Script::new(), below, seen: Arc::default(), stop: stop.clone() };
        let origin = Self { script: Arc::clone(&site.script), address, seen: Arc::clone(&site.seen), stop };
        TaskTracker::new().spawn(accept(listener, site));
        origin
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The listener's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The script, to play it elsewhere too.
    pub fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script)
    }

    /// The request lines that have arrived, byte for byte.
    pub fn request_lines(&self) -> Vec<String> {
        lock(&self.seen).requests.iter().map(|(line, _)| line.clone()).collect()
    }

    /// The same with the headers that came with each.
    pub fn requests(&self) -> Vec<(String, HeaderMap)> {
        lock(&self.seen).requests.clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        lock(&self.seen).connections
    }

    /// From now on every page of the list begins at the first key, whatever is asked.
    pub fn ignore_start_after(&self) {
        lock(&self.seen).ignores_start_after = true;
    }
}

impl Deref for FaultyOrigin {
    type Target = Script;
    fn deref(&self) -> &Script {
        &self.script
    }
}

impl Drop for FaultyOrigin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, site: Site) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            biased;
            () = site.stop.cancelled() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                lock(&site.seen).connections += 1;
                let site = site.clone();
                connections.spawn(async move {
                    let stop = site.stop.clone();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        // A client that goes away is nothing unusual here.
                        _ = connection(stream, site) => {}
                    }
                });
            }
        }
    }
}

/// One request's head.
struct Head {
    method: String,
    target: String,
    headers: HeaderMap,
}

/// Answers requests on one connection until either side ends it.
async fn connection(mut stream: TcpStream, site: Site) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = BytesMut::new();
    while let Some(head) = read_head(&mut stream, &mut read).await? {
        let line = format!("{} {}", head.method, head.target);
        lock(&site.seen).requests.push((line, head.headers.clone()));
        if !answer(&mut stream, &site, &head).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<Option<Head>> {
    loop {
        if let Some((head, len)) = parse_head(read)? {
            read.advance(len);
            return Ok(Some(head));
        }
        if read.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

fn parse_head(read: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut slots);
    let httparse::Status::Complete(len) = parsed.parse(read).map_err(|_| invalid(()))? else {
        return Ok(None);
    };
    let mut headers = HeaderMap::new();
    for header in parsed.headers.iter() {
        let name = HeaderName::try_from(header.name).map_err(|_| invalid(()))?;
        headers.append(name, HeaderValue::from_bytes(header.value).map_err(|_| invalid(()))?);
    }
    let method = parsed.method.unwrap_or_default().to_owned();
    Ok(Some((Head { method, target: parsed.path.unwrap_or_default().to_owned(), headers }, len)))
}

/// Answers one request; says whether the connection may carry another.
async fn answer(stream: &mut TcpStream, site: &Site, head: &Head) -> io::Result<bool> {
    let method = match head.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => return plain(stream, StatusCode::METHOD_NOT_ALLOWED, "text/plain", "").await,
    };
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let bucket = site.below.trim_end_matches('/');
    if !bucket.is_empty() && (path == bucket || path == site.below) && query.contains("list-type=2") {
        return list(stream, site, query).await;
    }
    let Some(raw_key) = path.strip_prefix(&site.below) else {
        let body = "<Error><Code>NoSuchBucket</Code></Error>";
        return plain(stream, StatusCode::NOT_FOUND, "application/xml", body).await;
    };
    let Ok(key) = percent_decode_str(raw_key).decode_utf8() else {
        return plain(stream, StatusCode::BAD_REQUEST, "text/plain", "").await;
    };
    let call = call(method, key.into_owned(), &head.headers);
    let (in_flight, faults) = site.script.arrive(call.clone());
    // A client that hangs up ends its answer, also while that is held back: nothing more is read meanwhile, so
    // readability before the answer means the end.
    let opening = tokio::select! {
        biased;
        opening = play::open(&call, in_flight, &faults) => opening,
        () = gone(stream) => return Ok(false),
    };
    match opening {
        Opening::HangUp => reset(stream).map(|()| false),
        Opening::Answer(performance) => perform(stream, *performance).await,
    }
}

/// Resolves once the other side has closed.
async fn gone(stream: &TcpStream) {
    let mut byte = [0];
    loop {
        match stream.peek(&mut byte).await {
            Ok(0) | Err(_) => return,
            // A pipelined request: it waits for its turn, and this answer cannot be abandoned any more.
            Ok(_) => std::future::pending().await,
        }
    }
}

fn call(method: Method, key: String, headers: &HeaderMap) -> Call {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let number = |name: &str| text(name).and_then(|t| t.parse().ok());
    Call {
        method,
        key,
        range: text("range").as_deref().and_then(range),
        if_match: text("if-match"),
        if_none_match: text("if-none-match"),
        attempt: number(fallthrough_shadow::ATTEMPT_HEADER).unwrap_or(1),
        hops: number(fallthrough_shadow::HOPS_HEADER).unwrap_or(0),
        request_id: text(fallthrough_shadow::REQUEST_ID_HEADER).unwrap_or_default(),
        headers: headers.clone(),
        extras: Default::default(),
    }
}

fn range(text: &str) -> Option<RangeSpec> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some(match (first, last) {
        ("", last) => RangeSpec::Suffix { len: last.parse().ok()? },
        (first, "") => RangeSpec::From { first: first.parse().ok()? },
        (first, last) => RangeSpec::FromTo { first: first.parse().ok()?, last: last.parse().ok()? },
    })
}

async fn perform(stream: &mut TcpStream, mut performance: Performance) -> io::Result<bool> {
    let status = performance.status.as_u16();
    let chunked = !performance.headers.contains_key("content-length") && !matches!(status, 204 | 304);
    let mut head = format!("HTTP/1.1 {status} {}\r\n", performance.status.canonical_reason().unwrap_or("-"))
        .into_bytes();
    for (name, value) in &performance.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    loop {
        // Whoever waits for a held or stalled piece may go away meanwhile.
        let step = tokio::select! {
            biased;
            step = performance.body.next() => step,
            () = gone(stream) => return Ok(false),
        };
        match step {
            Step::Piece(piece) if chunked => {
                let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
                framed.extend_from_slice(&piece);
                framed.extend_from_slice(b"\r\n");
                stream.write_all(&framed).await?;
            }
            Step::Piece(piece) => stream.write_all(&piece).await?,
            Step::End => {
                if chunked && !performance.body.is_bodiless() {
                    stream.write_all(b"0\r\n\r\n").await?;
                }
                return Ok(true);
            }
            Step::Reset => return reset(stream).map(|()| false),
            Step::Close => return Ok(false),
        }
    }
}

/// Lets the kernel send RST instead of FIN when the stream is dropped.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

async fn plain(stream: &mut TcpStream, status: StatusCode, kind: &str, body: &str) -> io::Result<bool> {
    let answer = format!(
        "HTTP/1.1 {} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        status.as_u16(),
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(true)
}

async fn list(stream: &mut TcpStream, site: &Site, query: &str) -> io::Result<bool> {
    let parameter = |wanted: &str| {
        let value =
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == wanted));
        value.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    let max_keys = parameter("max-keys").and_then(|n| n.parse().ok()).unwrap_or(1000);
    let mut asked = ListQuery {
        prefix: parameter("prefix").unwrap_or_default(),
        start_after: parameter("start-after").unwrap_or_default(),
        delimiter: parameter("delimiter"),
        max_keys,
        ..ListQuery::default()
    };
    if let Some(token) = parameter("continuation-token") {
        // The token is the last name, encoded once more, so that it looks like nothing.
        asked.start_after = percent_decode_str(&token).decode_utf8_lossy().into_owned();
    }
    if lock(&site.seen).ignores_start_after {
        asked.start_after.clear();
    }
    let mut page = site.script.with(|objects| objects.page(&asked));
    for fault in site.script.arrive_list() {
        match fault {
            ListFault::Delay(delay) => tokio::time::sleep(delay).await,
            ListFault::NoAnswer => std::future::pending().await,
            ListFault::Status(status) => {
                let status = StatusCode::from_u16(status).expect("a test gives valid statuses");
                let body = "<Error><Code>AccessDenied</Code></Error>";
                return plain(stream, status, "application/xml", body).await;
            }
            ListFault::Busy { retry_after } => {
                let body = "<Error><Code>SlowDown</Code></Error>";
                let answer = format!(
                    "HTTP/1.1 503 -\r\ncontent-type: application/xml\r\nretry-after: {}\r\ncontent-length: {}\r\n\r\n{body}",
                    retry_after.as_secs(),
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await?;
                return Ok(true);
            }
            ListFault::OutOfOrder => page.objects.reverse(),
            ListFault::Malformed => {
                return plain(stream, StatusCode::OK, "text/html", "<html>no list</html>").await;
            }
        }
    }
    plain(stream, StatusCode::OK, "application/xml", &document(&page)).await
}

/// ListObjectsV2's answer with encoding-type=url. The token is the last name of the page.
fn document(page: &ListedPage) -> String {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><EncodingType>url</EncodingType>",
    );
    let count = page.objects.len() + page.prefixes.len();
    out.push_str(&format!("<KeyCount>{count}</KeyCount><IsTruncated>{}</IsTruncated>", page.truncated));
    let last = page.objects.last().map(|o| &o.key).max(page.prefixes.last());
    if let Some(last) = last.filter(|_| page.truncated) {
        out.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", encoded(last)));
    }
    for object in &page.objects {
        let etag = object.etag.as_ref().map(|tag| tag.to_string().replace('"', "&quot;")).unwrap_or_default();
        out.push_str(&format!(
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{etag}</ETag><Size>{}</Size></Contents>",
            encoded(&object.key),
            fallthrough_wire::date::format_iso(object.last_modified),
            object.size_bytes,
        ));
    }
    for prefix in &page.prefixes {
        out.push_str(&format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", encoded(prefix)));
    }
    out.push_str("</ListBucketResult>");
    out
}

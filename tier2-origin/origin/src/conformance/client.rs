//! A small HTTP/1.1 client that hides nothing: no redirects, no retries, no decoding, every fault by its name.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::Clock;
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::Signer;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest body that is kept for comparisons; of larger ones, only length and digests are.
pub(super) const KEPT_BYTES_MAX: usize = 8 << 20;

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After the promised length, or with the last chunk.
    Whole,
    /// With the connection, and no length was promised: nobody can tell whether it is whole.
    Unknowable,
    /// Too early.
    Broken(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// The first [`KEPT_BYTES_MAX`] of the body.
    pub(super) body: Bytes,
    pub(super) len_bytes: u64,
    pub(super) end: End,
    pub(super) first_byte_after: Duration,
    /// Of the whole body, checked against what the headers promise.
    pub(super) digest_fault: Option<String>,
}

impl Seen {
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Such as `200 OK`.
    pub(super) fn status_text(&self) -> String {
        self.status.to_string()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Connect(io::Error),
    Timeout(Duration),
    Broken(String),
    /// The request could not be made of the options.
    Request(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "no connection: {cause}"),
            Self::Timeout(after) => write!(f, "slow: no complete answer within {after:?}"),
            Self::Broken(why) => write!(f, "the connection broke before an answer: {why}"),
            Self::Request(why) => write!(f, "the request cannot be made: {why}"),
        }
    }
}

/// A request, to be made as often as wanted.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query, raw.
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) signed: Signing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signing {
    AsConfigured,
    Not,
    Wrongly,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), signed: Signing::AsConfigured }
    }

    pub(super) fn head(path: impl Into<String>) -> Self {
        Self { method: Method::HEAD, ..Self::get(path) }
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn signed(mut self, signed: Signing) -> Self {
        self.signed = signed;
        self
    }
}

pub(super) struct Client<'a> {
    /// Host and port, for connecting and for the Host header.
    pub(super) authority: String,
    pub(super) signer: Option<Signer>,
    pub(super) wrong_signer: Option<Signer>,
    pub(super) timeout: Duration,
    pub(super) clock: &'a dyn Clock,
    /// 503 without Retry-After, seen anywhere.
    pub(super) busy_without_hint: AtomicU32,
    /// 503 with it.
    pub(super) busy_with_hint: AtomicU32,
}

impl Client<'_> {
    /// One request on a connection of its own.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Seen, NoAnswer> {
        let mut answers = self.ask_in_turn(std::slice::from_ref(ask)).await?;
        answers.pop().unwrap_or_else(|| Err(NoAnswer::Broken("no answer".to_owned())))
    }

    /// Requests one after the other on one connection, until one has no answer.
    pub(super) async fn ask_in_turn(&self, asks: &[Ask]) -> Result<Vec<Result<Seen, NoAnswer>>, NoAnswer> {
        let connecting = tokio::time::timeout(self.timeout, TcpStream::connect(&self.authority));
        let stream = match connecting.await {
            Ok(connected) => connected.map_err(NoAnswer::Connect)?,
            Err(_) => return Err(NoAnswer::Timeout(self.timeout)),
        };
        let (mut sender, connection) =
            handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async {
            let mut answers = Vec::with_capacity(asks.len());
            for ask in asks {
                let answer = tokio::time::timeout(self.timeout, self.exchange(&mut sender, ask)).await;
                answers.push(answer.unwrap_or(Err(NoAnswer::Timeout(self.timeout))));
                if matches!(answers.last(), Some(Err(_))) {
                    break;
                }
            }
            answers
        };
        let (mut talk, mut connection) = (std::pin::pin!(talk), Box::pin(connection));
        tokio::select! {
            biased;
            answers = &mut talk => return Ok(answers),
            // What the connection brought is still to be read; its fault shows in the body.
            _ended = &mut connection => {}
        }
        // As long as it exists, a next request would wait for it.
        drop(connection);
        Ok(talk.await)
    }

    async fn exchange(&self, sender: &mut SendRequest<Empty<Bytes>>, ask: &Ask) -> Result<Seen, NoAnswer> {
        let request = self.request(ask)?;
        sender.ready().await.map_err(broken)?;
        let started = self.clock.monotonic();
        let response = sender.send_request(request).await.map_err(broken)?;
        let first_byte_after = self.clock.monotonic().since(started);
        let (parts, body) = response.into_parts();
        let delimited = parts.headers.contains_key(CONTENT_LENGTH)
            || parts.headers.contains_key(TRANSFER_ENCODING)
            || ask.method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut seen = Seen {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: Bytes::new(),
            len_bytes: 0,
            end: if delimited { End::Whole } else { End::Unknowable },
            first_byte_after,
            digest_fault: None,
        };
        seen.read(body, ask).await;
        if seen.status == StatusCode::SERVICE_UNAVAILABLE {
            let count =
                if retry_after_is_fit(&seen) { &self.busy_with_hint } else { &self.busy_without_hint };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(seen)
    }

    fn request(&self, ask: &Ask) -> Result<http::Request<Empty<Bytes>>, NoAnswer> {
        let odd = |cause: &dyn fmt::Display| NoAnswer::Request(cause.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::try_from(&self.authority).map_err(|cause| odd(&cause))?);
        headers.insert(USER_AGENT, HeaderValue::from_static("fallthrough-conformance"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &ask.headers {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|cause| odd(&cause))?);
        }
        let signer = match ask.signed {
            Signing::AsConfigured => self.signer.as_ref(),
            Signing::Not => None,
            Signing::Wrongly => self.wrong_signer.as_ref(),
        };
        if let Some(signer) = signer {
            let (path, query) =
                ask.path.split_once('?').map_or((ask.path.as_str(), None), |(p, q)| (p, Some(q)));
            let empty = PayloadMode::of_bytes(b"");
            signer
                .sign_headers(&ask.method, path, query, &mut headers, empty, self.clock.now())
                .map_err(|cause| odd(&cause))?;
        }
        let mut request = http::Request::new(Empty::new());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = ask.path.parse().map_err(|cause: http::uri::InvalidUri| odd(&cause))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Seen {
    async fn read(&mut self, mut body: hyper::body::Incoming, ask: &Ask) {
        use fallthrough_wire::digest::{DigestSet, Digests, Promises};
        let whole = self.status == StatusCode::OK && ask.method == Method::GET;
        let promises = if whole { Promises::of_response(&self.headers) } else { Ok(Promises::none()) };
        let (promises, set) = match promises.and_then(|p| p.needs(&[]).map(|set| (p, set))) {
            Ok(promises) => promises,
            Err(why) => {
                self.digest_fault = Some(why.to_string());
                (Promises::none(), DigestSet::none())
            }
        };
        let mut digests = Digests::new(set);
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    self.len_bytes += piece.len() as u64;
                    digests.update(&piece);
                    let room = KEPT_BYTES_MAX.saturating_sub(kept.len()).min(piece.len());
                    kept.extend_from_slice(piece.get(..room).unwrap_or_default());
                }
                Err(cause) => {
                    self.end = End::Broken(words(&cause));
                    break;
                }
            }
        }
        self.body = kept.into();
        if self.end == End::Whole && self.digest_fault.is_none() {
            self.digest_fault = promises.check(&digests.finish()).err().map(|fault| fault.to_string());
        }
    }
}

/// Seconds or an HTTP date.
fn retry_after_is_fit(seen: &Seen) -> bool {
    seen.header(http::header::RETRY_AFTER).is_some_and(|text| {
        text.trim().parse::<u32>().is_ok() || fallthrough_wire::date::parse_http(text).is_some()
    })
}

fn broken(cause: hyper::Error) -> NoAnswer {
    NoAnswer::Broken(words(&cause))
}

fn words(cause: &hyper::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(cause), |cause| cause.source());
    causes.fold(cause.to_string(), |text, cause| format!("{text}: {cause}"))
}

//! The one way out over HTTP/1.1: connections, deadlines, and a body that cannot end short unnoticed.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{BodyError, ByteStream, RangeSpec, TraceParent};
use futures::StreamExt;
use http::header::{ACCEPT_ENCODING, HOST, IF_MATCH, IF_NONE_MATCH, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioTimer;
use rustls::{ClientConfig, RootCertStore};
use tokio_util::task::TaskTracker;

use crate::answer::{RawAnswer, ShadowError};
use crate::answer_headers;
use crate::endpoint::{Endpoint, SettingsError};
use crate::network::{CheckedResolver, Forbidden, NetworkPolicy, ResolveError};
use crate::request::{Method, Request};

/// A connection that takes longer is as good as none; the fill's own deadline is often shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections are closed before most servers' own 60 to 75 s, so that few requests meet a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// As many idle connections are kept for one origin.
const IDLE_MAX: usize = 32;
/// Header lines of one answer: more is not an origin but an attack.
const HEADERS_MAX: usize = 256;
/// Bytes of one answer's headers, and of hyper's read buffer.
const HEAD_BYTES_MAX: usize = 128 << 10;
/// A request that passed this many fall-through stores goes round in a circle.
const HOPS_MAX: u32 = 8;

/// How many fall-through stores a request has passed.
pub const HOPS_HEADER: &str = "x-fallthrough-hops";
/// Which attempt at a fill it is, from 1.
pub const ATTEMPT_HEADER: &str = "x-fallthrough-attempt";
/// The id of the client's request.
pub const REQUEST_ID_HEADER: &str = "x-fallthrough-request-id";
/// The header of W3C Trace Context.
const TRACE_HEADER: &str = "traceparent";

/// Connections to origins, under one network policy. Clones share the connections.
#[derive(Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector<CheckedResolver>>, OutgoingBody>,
    policy: NetworkPolicy,
    tasks: TaskTracker,
}

/// What requests carry: nothing, or the bytes of an object in pieces.
type OutgoingBody = UnsyncBoxBody<Bytes, BodyError>;

/// Spawns the tasks that drive connections, so that somebody knows of them.
#[derive(Clone)]
struct TrackedExecutor(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Outbound {
    /// Trusts the certificates that the operating system trusts.
    ///
    /// # Errors
    /// [`SettingsError::Tls`].
    pub fn new(policy: NetworkPolicy) -> Result<Self, SettingsError> {
        Self::trusting(policy, Vec::new())
    }

    /// Trusts these certificates (DER) as well: those of a private certificate authority.
    ///
    /// # Errors
    /// [`SettingsError::Tls`] if one of them is none.
    pub fn trusting(policy: NetworkPolicy, also: Vec<Vec<u8>>) -> Result<Self, SettingsError> {
        let tls = |reason: String| SettingsError::Tls { reason };
        let mut roots = RootCertStore::empty();
        // A machine without certificates can still speak to origins over plain HTTP; TLS then fails by itself.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in also {
            roots.add(certificate.into()).map_err(|_| tls("an added certificate is none".into()))?;
        }
        let config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new_with_resolver(CheckedResolver { policy });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        http.set_keepalive(Some(Duration::from_secs(30)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let tasks = TaskTracker::new();
        let client = Client::builder(TrackedExecutor(tasks.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .http1_max_headers(HEADERS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self { client, policy, tasks })
    }

    /// The policy that every connection obeys.
    pub fn policy(&self) -> NetworkPolicy {
        self.policy
    }

    /// The tasks that drive connections, for an orderly end: they finish once every shadow is dropped.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Sends one request without a body and waits for the headers of its answer.
    ///
    /// `headers` holds Host. Nothing is retried, redirected or decoded. Dropping the future or the answer's body closes the
    /// connection.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<RawAnswer, ShadowError> {
        let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let verb = match method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        };
        let request = asked(endpoint, verb, path_and_query, headers, nothing)?;
        let answered = tokio::time::timeout(timeout, self.client.request(request)).await;
        let (head, body) = match answered {
            Err(_) => return Err(ShadowError::Timeout),
            Ok(Err(error)) => return Err(unreached(&error, endpoint.is_tls())),
            Ok(Ok(answer)) => answer.into_parts(),
        };
        let bodiless = method == Method::Head || matches!(head.status.as_u16(), 204 | 304);
        let promised = answer_headers::content_length(&head.headers).filter(|_| !bodiless);
        if !bodiless && head.status.is_success() && promised.is_none() && !is_chunked(&head.headers) {
            return Err(ShadowError::Unframed);
        }
        Ok(RawAnswer { status: head.status, headers: head.headers, body: whole(body, promised) })
    }

    /// Sends one request with a body, whose length stands in `headers`, and waits for the headers of its answer. It may
    /// take as long as it needs, but not longer than `stall` (twice that at most) without a piece of the body on its
    /// way or an answer.
    ///
    /// As [`Outbound::send`] otherwise. A body that ends in an error breaks the request off: the other side gets no
    /// whole object.
    pub(crate) async fn send_body(
        &self,
        endpoint: &Endpoint,
        method: http::Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: ByteStream,
        stall: Duration,
    ) -> Result<RawAnswer, ShadowError> {
        let moved = Arc::new(AtomicBool::new(true));
        let seen = moved.clone();
        let frames =
            body.inspect(move |_| seen.store(true, Ordering::Relaxed)).map(|piece| piece.map(Frame::data));
        let bodiless = method == http::Method::DELETE;
        let request =
            asked(endpoint, method, path_and_query, headers, StreamBody::new(frames).boxed_unsync())?;
        let stalled = async {
            while moved.swap(false, Ordering::Relaxed) {
                tokio::time::sleep(stall).await;
            }
        };
        let answered = tokio::select! {
            biased;
            answered = self.client.request(request) => answered,
            () = stalled => return Err(ShadowError::Timeout),
        };
        let (head, body) = answered.map_err(|error| unreached(&error, endpoint.is_tls()))?.into_parts();
        let promised = answer_headers::content_length(&head.headers)
            .filter(|_| !bodiless && head.status != StatusCode::NO_CONTENT);
        Ok(RawAnswer { status: head.status, headers: head.headers, body: whole(body, promised) })
    }
}

fn asked(
    endpoint: &Endpoint,
    method: http::Method,
    path_and_query: &str,
    headers: HeaderMap,
    body: OutgoingBody,
) -> Result<http::Request<OutgoingBody>, ShadowError> {
    let malformed = || ShadowError::Malformed { reason: "the key cannot stand in a request".into() };
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = endpoint.uri(path_and_query).ok_or_else(malformed)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether the body ends itself (RFC 9112 §7.1), rather than with its connection.
fn is_chunked(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::TRANSFER_ENCODING).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.to_ascii_lowercase().trim_end().ends_with("chunked"))
    })
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The body as a stream that ends in an error unless exactly `promised` bytes came.
fn whole(body: Incoming, promised: Option<u64>) -> ByteStream {
    let frames = futures::stream::unfold(Some((body, promised)), |state| async move {
        let (mut body, mut left) = state?;
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Some((Err(broken(&error)), None)),
                None if left.is_none_or(|left| left == 0) => return None,
                None => return Some((Err(BodyError::Incomplete), None)),
            };
            // Trailers promise nothing here.
            let Ok(data) = frame.into_data() else { continue };
            if let Some(left) = &mut left {
                match left.checked_sub(data.len() as u64) {
                    Some(rest) => *left = rest,
                    None => return Some((Err(BodyError::TooLong), None)),
                }
            }
            if !data.is_empty() {
                return Some((Ok(data), Some((body, left))));
            }
        }
    });
    frames.boxed()
}

fn broken(error: &hyper::Error) -> BodyError {
    if error.is_parse() {
        BodyError::Malformed { what: "its framing" }
    } else {
        // Reset, closed early, gone: all of them mean that the rest will not come.
        BodyError::Incomplete
    }
}

/// What went wrong before the headers came, in words without an address.
fn unreached(error: &ClientError, tls: bool) -> ShadowError {
    const NO_TLS: &str = "the TLS handshake failed; does it speak TLS on this port?";
    let handshake = tls && error.is_connect();
    let unreachable = |reason: &str| ShadowError::Unreachable { reason: reason.to_owned() };
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(forbidden) = find::<Forbidden>(error) {
            return ShadowError::Forbidden { reason: forbidden.to_string() };
        }
        if let Some(resolve) = find::<ResolveError>(error) {
            return match resolve {
                ResolveError::Forbidden(why) => ShadowError::Forbidden { reason: why.to_string() },
                ResolveError::NoSuchName | ResolveError::Timeout => unreachable(&resolve.to_string()),
            };
        }
        if let Some(failure) = find::<rustls::Error>(error) {
            return unreachable(match failure {
                rustls::Error::InvalidCertificate(_) => {
                    "its certificate is not trusted, or not for this name"
                }
                _ => NO_TLS,
            });
        }
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && (hyper.is_parse() || hyper.is_parse_too_large())
        {
            return ShadowError::Malformed { reason: "it does not speak HTTP/1.1".into() };
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return unreachable(match io.kind() {
                io::ErrorKind::ConnectionRefused => "the connection was refused",
                io::ErrorKind::TimedOut => "no connection in time",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it",
                _ if handshake => NO_TLS,
                _ => "the connection broke",
            });
        }
        cause = error.source();
    }
    unreachable("the connection closed before an answer came")
}

/// Looks for a cause in an error and in those that an [`io::Error`] wraps, which `source` passes over.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut error = error;
    loop {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

/// The headers of a request for an object, whatever the kind of origin.
///
/// # Errors
/// [`ShadowError::Loop`]; [`ShadowError::Malformed`] if a value cannot stand in a header.
pub(crate) fn request_headers(endpoint: &Endpoint, request: &Request) -> Result<HeaderMap, ShadowError> {
    let mut headers = asking_headers(endpoint, request.hops, &request.request_id, request.trace)?;
    let mut set = |name: HeaderName, text: &str| value(text).map(|value| headers.insert(name, value));
    set(HeaderName::from_static(ATTEMPT_HEADER), &request.attempt.to_string())?;
    if let Some(range) = request.range {
        set(
            RANGE,
            &match range {
                RangeSpec::FromTo { first, last } => format!("bytes={first}-{last}"),
                RangeSpec::From { first } => format!("bytes={first}-"),
                RangeSpec::Suffix { len } => format!("bytes=-{len}"),
            },
        )?;
    }
    if let Some(tag) = &request.if_match {
        set(IF_MATCH, &tag.to_string())?;
    }
    if let Some(tag) = &request.if_none_match {
        set(IF_NONE_MATCH, &tag.to_string())?;
    }
    for (name, text) in &request.extras.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| ShadowError::Malformed {
            reason: "a header that is passed on has no name".into(),
        })?;
        // What we say of ourselves and of the request is not a client's to say.
        if !headers.contains_key(&name) {
            headers.insert(name, value(text)?);
        }
    }
    Ok(headers)
}

/// The headers of every request that is made for a client's: who asks, how many stores it has passed, and the trace
/// that it belongs to. No signature covers the trace: who stands between us and the origin may go on from it.
///
/// # Errors
/// [`ShadowError::Loop`]; [`ShadowError::Malformed`] if a value cannot stand in a header.
pub(crate) fn asking_headers(
    endpoint: &Endpoint,
    hops: u32,
    request_id: &str,
    trace: Option<TraceParent>,
) -> Result<HeaderMap, ShadowError> {
    if hops >= HOPS_MAX {
        return Err(ShadowError::Loop);
    }
    let mut headers = base_headers(endpoint)?;
    headers.insert(HOPS_HEADER, value(&(hops + 1).to_string())?);
    if !request_id.is_empty() {
        headers.insert(REQUEST_ID_HEADER, value(request_id)?);
    }
    if let Some(trace) = trace {
        headers.insert(TRACE_HEADER, value(trace.as_str())?);
    }
    Ok(headers)
}

/// Host, User-Agent, Accept-Encoding.
pub(crate) fn base_headers(endpoint: &Endpoint) -> Result<HeaderMap, ShadowError> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value(&endpoint.host_header())?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("fallthrough/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

pub(crate) fn value(text: &str) -> Result<HeaderValue, ShadowError> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| ShadowError::Malformed { reason: "a value cannot stand in a request header".into() })
}

/// An answer that no origin gave, for keys that may not be asked.
pub(crate) fn own_answer(status: StatusCode) -> RawAnswer {
    RawAnswer { status, headers: HeaderMap::new(), body: futures::stream::empty().boxed() }
}

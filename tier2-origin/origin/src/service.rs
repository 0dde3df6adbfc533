//! The origin as a `tower::Service`: what S3 asks, turned into calls of the trait, and back.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Entropy, Key};
use fallthrough_wire::uri::{self, Target, split_path_style};
use fallthrough_wire::{S3Code, S3Error, range};
use futures::FutureExt;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response};
use http_body::Body as HttpBody;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::{Access, Caller, require_no_body};
use crate::admission::Admission;
use crate::counters::{Counters, Operation};
use crate::error::{BoxError, OriginError};
use crate::fault::Fault;
use crate::listing;
use crate::origin::Origin;
use crate::request::{Query, Request};
use crate::respond::{Asked, respond, with_digests, with_empty_streams_checked};
use crate::sent::{Broken, SentBody, Watch};
use crate::upload::receive;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// The id under which the caller knows its request.
const CALLER_REQUEST_ID: HeaderName = HeaderName::from_static("x-fallthrough-request-id");
/// Which attempt of the caller this is.
const ATTEMPT: HeaderName = HeaderName::from_static("x-fallthrough-attempt");

/// Reads of an object that are not reads of its bytes: answering them with the bytes would be a lie.
const OBJECT_SUBRESOURCES: [&str; 7] =
    ["acl", "attributes", "legal-hold", "retention", "tagging", "torrent", "uploadId"];

/// The slowest upload that is still waited for.
const UPLOAD_BYTES_PER_SEC_MIN: u64 = 64 * 1024;

/// An origin that speaks S3. Cheap to clone; all clones share their admission and their counters.
///
/// It nests in any router of `tower` services; made by [`Serve::into_service`](crate::Serve::into_service).
/// Dropping the future of a call drops the origin's.
#[derive(Clone)]
pub struct OriginService {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) origin: Box<dyn Origin>,
    pub(crate) access: Access,
    pub(crate) admission: Admission,
    pub(crate) counters: Arc<Counters>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) timeout: Duration,
    pub(crate) stall_after: Duration,
    pub(crate) metrics_at: Option<String>,
}

impl fmt::Debug for OriginService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginService").field("counters", &self.inner.counters).finish_non_exhaustive()
    }
}

impl<B> tower::Service<http::Request<B>> for OriginService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<SentBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Load is refused with an answer, never by letting the connection wait.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

/// A request whose signature was checked.
struct Admitted<'a> {
    parts: &'a Parts,
    caller: Caller,
    query: Query,
    request_id: &'a str,
}

impl OriginService {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The counters, now.
    pub fn counters(&self) -> &Counters {
        self.inner.admission.publish();
        &self.inner.counters
    }

    /// Answers one request; any failure is an answer, too.
    pub async fn answer<B>(&self, request: http::Request<B>) -> Response<SentBody>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        if let Some(metrics) = self.metrics(&parts) {
            return metrics;
        }
        let request_id = format!("{:016X}", self.inner.entropy.next_u64());
        let (operation, outcome) = self.route(&parts, body, &request_id).await;
        let mut response = outcome.unwrap_or_else(|fault| {
            if let Some(cause) = &fault.cause {
                let (request_id, path) = (request_id.as_str(), parts.uri.path());
                tracing::error!(request_id, path, error = chain(cause.as_ref()), "the origin failed");
            }
            fault.into_response(&request_id, &resource_of(&parts), parts.method == Method::HEAD)
        });
        self.inner.counters.answered(operation, response.status().as_u16());
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    fn metrics(&self, parts: &Parts) -> Option<Response<SentBody>> {
        let is_metrics =
            parts.method == Method::GET && Some(parts.uri.path()) == self.inner.metrics_at.as_deref();
        is_metrics.then(|| {
            let text = self.counters().to_prometheus();
            let mut response = Response::new(SentBody::bytes(text.into()));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        })
    }

    async fn route<B>(
        &self,
        parts: &Parts,
        body: B,
        request_id: &str,
    ) -> (Operation, Result<Response<SentBody>, Fault>)
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let admitted = match self.admit(parts, request_id) {
            Ok(admitted) => admitted,
            Err(error) => return (Operation::Other, Err(Fault::new(error))),
        };
        let target = match split_path_style(parts.uri.path()) {
            Ok(target) => target,
            Err(error) => return (Operation::Other, Err(Fault::new(S3Error::from(error)))),
        };
        match target {
            Target::Object { bucket, key } => {
                let operation = match parts.method {
                    Method::GET => Operation::Get,
                    Method::HEAD => Operation::Head,
                    Method::PUT => Operation::Put,
                    Method::DELETE => Operation::Delete,
                    _ => Operation::Other,
                };
                let outcome = match Key::parse(&key) {
                    Ok(key) => self.object(operation, admitted, bucket, key, body).await,
                    Err(_) => Err(Fault::new(S3Code::KeyTooLong)),
                };
                (operation, outcome)
            }
            Target::Bucket { bucket } => {
                let outcome = self.bucket(&admitted, bucket).await;
                (if parts.method == Method::GET { Operation::List } else { Operation::Other }, outcome)
            }
            Target::Service => (Operation::Other, Err(Fault::not_offered("ListBuckets"))),
        }
    }

    fn admit<'a>(&self, parts: &'a Parts, request_id: &'a str) -> Result<Admitted<'a>, S3Error> {
        let caller =
            self.inner.access.check(parts).inspect_err(|_| self.inner.counters.signature_refused())?;
        if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
            require_no_body(parts, &caller)?;
        }
        let query = uri::Query::parse(parts.uri.query().unwrap_or_default())?;
        // The signature's own parameters, and the operation's name that some clients add, say nothing
        // about the object.
        let pairs = query.iter().filter(|(name, _)| !is_of_the_protocol(name));
        let query = Query::from_pairs(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
        Ok(Admitted { parts, caller, query, request_id })
    }

    async fn object<B>(
        &self,
        operation: Operation,
        admitted: Admitted<'_>,
        bucket: String,
        key: Key,
        body: B,
    ) -> Result<Response<SentBody>, Fault>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(subresource) = OBJECT_SUBRESOURCES.iter().find(|name| admitted.query.has(name)) {
            return Err(Fault::not_offered(&format!("?{subresource}")));
        }
        let mut request = admitted.request(bucket, key);
        match operation {
            Operation::Get | Operation::Head => self.read(&mut request, admitted.parts).await,
            Operation::Put => {
                refuse_conditions(admitted.parts)?;
                if admitted.parts.headers.contains_key("x-amz-copy-source") {
                    return Err(Fault::not_offered("CopyObject"));
                }
                self.write(&request, admitted, body).await
            }
            Operation::Delete => {
                refuse_conditions(admitted.parts)?;
                let ((), _permit) = self.call(self.inner.timeout, self.inner.origin.delete(&request)).await?;
                Ok(empty_with(http::StatusCode::NO_CONTENT))
            }
            Operation::List | Operation::Other => Err(not_allowed()),
        }
    }

    async fn read(&self, request: &mut Request, parts: &Parts) -> Result<Response<SentBody>, Fault> {
        let is_head = parts.method == Method::HEAD;
        let range = range::from_headers(&parts.headers);
        // With If-Range only the answer's validators decide whether it is a range that is wanted.
        let range_passed =
            !is_head && self.inner.origin.can_seek() && !parts.headers.contains_key(http::header::IF_RANGE);
        request.range = range.filter(|_| range_passed);
        let origin = &self.inner.origin;
        let (answer, permit) = if is_head {
            self.call(self.inner.timeout, origin.head(request)).await?
        } else {
            self.call(self.inner.timeout, origin.get(request)).await?
        };
        let answer = with_empty_streams_checked(with_digests(answer).await?, self.inner.stall_after).await?;
        let watch = Watch {
            counters: Arc::clone(&self.inner.counters),
            broken: parts.extensions.get::<Broken>().cloned(),
            permit: Some(permit),
        };
        let stall_after = self.inner.stall_after;
        respond(answer, &Asked { headers: &parts.headers, range, range_passed, is_head, stall_after }, watch)
    }

    async fn write<B>(
        &self,
        request: &Request,
        admitted: Admitted<'_>,
        body: B,
    ) -> Result<Response<SentBody>, Fault>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let upload = receive(&admitted.parts.headers, &admitted.caller, body, self.inner.stall_after)?;
        let slowest = Duration::from_secs(upload.len_bytes / UPLOAD_BYTES_PER_SEC_MIN);
        let timeout = self.inner.timeout.saturating_add(slowest);
        let (etag, _permit) = self.call(timeout, self.inner.origin.put(request, upload)).await?;
        let mut response = empty_with(http::StatusCode::OK);
        if let Some(etag) = etag {
            let value = HeaderValue::from_bytes(etag.to_string().as_bytes()).map_err(Fault::internal)?;
            response.headers_mut().insert(ETAG, value);
        }
        Ok(response)
    }

    async fn bucket(&self, admitted: &Admitted<'_>, bucket: String) -> Result<Response<SentBody>, Fault> {
        match admitted.parts.method {
            // Whatever the path calls it, there is one bucket, and it is here.
            Method::HEAD => Ok(empty_with(http::StatusCode::OK)),
            Method::GET => {
                let principal = admitted.caller.access_key();
                let question =
                    listing::Question::read(&bucket, &admitted.query, admitted.request_id, principal)?;
                let document = match question {
                    listing::Question::Location => listing::location(),
                    listing::Question::List(mut pages) => {
                        loop {
                            let wanted = pages.next_request();
                            let page =
                                self.call(self.inner.timeout, self.inner.origin.list(&wanted)).await?.0;
                            if pages.take(page)? {
                                break;
                            }
                        }
                        pages.document()
                    }
                };
                let document = Bytes::from(document);
                let mut response = Response::new(SentBody::empty());
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
                headers.insert(CONTENT_LENGTH, document.len().into());
                *response.body_mut() = SentBody::bytes(document);
                Ok(response)
            }
            Method::PUT | Method::DELETE | Method::POST => {
                Err(Fault::not_offered("this operation on buckets"))
            }
            _ => Err(not_allowed()),
        }
    }

    /// Calls the origin within its admission; the place is given back when the permit is dropped.
    async fn call<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, OriginError>> + Send,
    ) -> Result<(T, OwnedSemaphorePermit), Fault> {
        let inner = &self.inner;
        let permit = inner.admission.enter().await.map_err(|full| Fault::busy(full.retry_after))?;
        inner.counters.called();
        let started = inner.access.clock.monotonic();
        // The origin is shared by later requests, as a program's state is shared by its threads: a lock
        // that it poisons tells it so.
        let outcome = tokio::time::timeout(timeout, AssertUnwindSafe(work).catch_unwind()).await;
        inner.counters.call_took(inner.access.clock.monotonic().since(started));
        match outcome {
            Ok(Ok(result)) => Ok((result?, permit)),
            Ok(Err(panic)) => {
                inner.counters.panicked();
                Err(Fault::internal(format!("the origin panicked: {}", words_of(panic.as_ref()))))
            }
            Err(_elapsed) => {
                inner.counters.timed_out();
                tracing::warn!(timeout_secs = timeout.as_secs_f64(), "the origin did not answer in time");
                Err(Fault::busy(inner.admission.retry_after()))
            }
        }
    }
}

impl Admitted<'_> {
    fn request(&self, bucket: String, key: Key) -> Request {
        let text = |name: &HeaderName| self.parts.headers.get(name).and_then(|value| value.to_str().ok());
        let mut headers = self.parts.headers.clone();
        headers.remove(AUTHORIZATION);
        headers.remove("x-amz-security-token");
        Request {
            bucket,
            key,
            range: None,
            query: self.query.clone(),
            request_id: self.request_id.to_owned(),
            caller_request_id: text(&CALLER_REQUEST_ID).map(str::to_owned),
            attempt: text(&ATTEMPT).and_then(|attempt| attempt.parse().ok()).unwrap_or(1),
            principal: self.caller.access_key().map(str::to_owned),
            headers,
        }
    }
}

fn is_of_the_protocol(name: &str) -> bool {
    name == "x-id" || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// A condition on a write must hold at the moment of the write, which only the origin could see to.
fn refuse_conditions(parts: &Parts) -> Result<(), Fault> {
    let names = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    match names.iter().find(|name| parts.headers.contains_key(**name)) {
        Some(name) => Err(Fault::not_offered(&format!("{name} on writes"))),
        None => Ok(()),
    }
}

fn not_allowed() -> Fault {
    Fault::new(S3Code::MethodNotAllowed).with(ALLOW, HeaderValue::from_static("GET, HEAD, PUT, DELETE"))
}

fn empty_with(status: http::StatusCode) -> Response<SentBody> {
    let mut response = Response::new(SentBody::empty());
    *response.status_mut() = status;
    response
}

fn resource_of(parts: &Parts) -> String {
    let raw = parts.uri.path();
    uri::decode(raw).map_or_else(|_| raw.to_owned(), std::borrow::Cow::into_owned)
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

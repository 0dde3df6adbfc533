//! Addresses that stand for other objects: in front of a bucket, a key with a query names a variant, which is an object
//! of its own.
//!
//! What an address stands for is told by a [`Front`], which is handed in; here it is read as any other object, with the
//! rights of whoever asks. What is made of an object on its way (another size) is never kept, and its making is bounded.
//! Where the object is not to be had yet, people are shown a placeholder, with the status of what went wrong and with a
//! word to every cache not to keep it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_bucket::Engine;
use fallthrough_object::{BucketName, ETag, Key, Mutant, planted};
use fallthrough_wire::conditions::{Conditions, Verdict};
use fallthrough_wire::date::parse_http;
use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE,
    RETRY_AFTER,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;

use crate::address::Address;
use crate::blocks::BlockPool;
use crate::exchange::Exchange;
use crate::get;
use crate::operation::Operation;
use crate::outgoing::Outgoing;
use crate::refusal::Refusal;
use crate::report::Reported;

/// Largest object that something else is made of.
const SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pictures that are made at a time, and that may wait for it.
const MAKING_MAX: usize = 2;
const WAITING_MAX: usize = 64;
/// How long a redirect, or a picture of somebody's own that says nothing of it, may be believed.
const SHORT_LIVED: HeaderValue = HeaderValue::from_static("public, max-age=300");
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Headers that are meant for what is sent, and not for what it is made of.
const OF_THE_ANSWER: [HeaderName; 6] =
    [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// What stands in front of a bucket. Called for every read of it, concurrently.
pub trait Front: fmt::Debug + Send + Sync + 'static {
    /// What `key` stands for, asked with `query`; `None`: for itself. Pure, and quick.
    fn plan(&self, key: &str, query: &Query) -> Option<FrontPlan>;

    /// What `plan` asks for, made of `source`. Called on a thread that may be busy for a while.
    ///
    /// # Errors
    /// Why nothing can be made of it: it is told as an error of the server.
    fn make(&self, source: &[u8], plan: &FrontPlan) -> Result<Bytes, String>;

    /// What is shown while there is nothing better. Called on a thread that may be busy for a while.
    fn placeholder(&self, plan: &FrontPlan) -> Option<Bytes>;

    /// How long people wait before they are shown a placeholder; `None`: until the engine gives up.
    fn patience(&self) -> Option<Duration>;
}

/// What an address stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontPlan {
    /// An object that is looked for first, and made to fit.
    pub own: Option<Key>,
    /// What is answered without it.
    pub then: FrontThen,
    /// Names what is made of an object among all that is made of it, in letters and digits: part of its ETag.
    pub variant: String,
    /// The side of what was asked for, in pixels.
    pub side_px: u32,
    /// The media type of what was asked for.
    pub content_type: &'static str,
    /// The address never stands for anything else.
    pub forever: bool,
}

/// What is answered where nothing comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontThen {
    /// This object.
    Object {
        /// Its key.
        key: Key,
        /// It is what was asked for as it is.
        fits: bool,
    },
    /// 404.
    Absent,
    /// 302 to this URL.
    Redirect(String),
}

/// The fronts by their buckets, and the bounds on what is made for all of them.
#[derive(Debug)]
pub(crate) struct Fronts {
    by_bucket: Mutex<Arc<BTreeMap<BucketName, Arc<dyn Front>>>>,
    making: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Fronts {
    pub(crate) fn new(fronts: &BTreeMap<BucketName, Arc<dyn Front>>) -> Self {
        Self {
            by_bucket: Mutex::new(Arc::new(fronts.clone())),
            making: Arc::new(Semaphore::new(MAKING_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// Replaces all fronts.
    pub(crate) fn replace(&self, fronts: BTreeMap<BucketName, Arc<dyn Front>>) {
        *self.by_bucket.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(fronts);
    }

    /// The front of `bucket`, if it has one.
    pub(crate) fn of(&self, bucket: &BucketName) -> Option<Arc<dyn Front>> {
        let fronts = Arc::clone(&self.by_bucket.lock().unwrap_or_else(PoisonError::into_inner));
        fronts.get(bucket).cloned()
    }
}

/// Answers GET and HEAD of an address that stands for something.
///
/// # Errors
/// As GET of an object; `NoSuchKey` where the address says so.
///
/// Dropping the future ends this read, not the fill that it may have joined; a picture that is being made is finished.
pub(crate) async fn object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    blocks: &Arc<BlockPool>,
    fronts: &Fronts,
    front: Arc<dyn Front>,
    plan: FrontPlan,
) -> Result<Reported, Refusal> {
    let reader = Reader { exchange, engine, blocks, fronts, front, plan };
    // Programs that sign are told what is wrong in S3's words, and have no use for a picture of it.
    let shows = !exchange.sender.is_signed();
    let patience = reader.front.patience().filter(|_| shows);
    let answer = match patience {
        None => reader.answer().await,
        Some(patience) => tokio::time::timeout(patience, reader.answer()).await.unwrap_or_else(|_| {
            let busy = S3Error::with_message(S3Code::SlowDown, "It is not ready yet.");
            Err(Refusal { retry_after: Some(patience), ..Refusal::from(busy) })
        }),
    };
    match answer {
        Err(refusal) if shows && refusal.error.status() == StatusCode::SERVICE_UNAVAILABLE => {
            reader.placeholder(refusal).await
        }
        answer => answer,
    }
}

struct Reader<'a> {
    exchange: &'a Exchange<'a>,
    engine: &'a Engine,
    blocks: &'a Arc<BlockPool>,
    fronts: &'a Fronts,
    front: Arc<dyn Front>,
    plan: FrontPlan,
}

impl Reader<'_> {
    async fn answer(&self) -> Result<Reported, Refusal> {
        if let Some(own) = &self.plan.own {
            match self.made_of(own).await {
                Ok(mut reported) => {
                    reported.response.headers_mut().entry(CACHE_CONTROL).or_insert(SHORT_LIVED);
                    return Ok(reported);
                }
                // It is not there, it cannot be there (no rule fetches such keys), or it is not for whoever asks.
                Err(refusal) if is_none(&refusal) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let mut reported = match &self.plan.then {
            FrontThen::Absent => return Err(S3Code::NoSuchKey.into()),
            FrontThen::Redirect(url) => return self.redirect(url),
            FrontThen::Object { key, fits: true } => {
                self.read(key, self.exchange.parts, self.exchange.operation).await?
            }
            FrontThen::Object { key, fits: false } => self.made_of(key).await?,
        };
        if self.plan.forever {
            reported.response.headers_mut().insert(CACHE_CONTROL, FOREVER);
        }
        Ok(reported)
    }

    async fn read(
        &self,
        key: &Key,
        parts: &http::request::Parts,
        operation: Operation,
    ) -> Result<Reported, Refusal> {
        let address = Address::Object(self.exchange.bucket()?.name.clone(), key.clone());
        let exchange = Exchange { parts, operation, ..self.exchange.at(&address) };
        Box::pin(get::object(&exchange, self.engine, self.blocks)).await
    }

    /// What was asked for, made of the object under `key`.
    async fn made_of(&self, key: &Key) -> Result<Reported, Refusal> {
        let head = self.exchange.operation == Operation::HeadObject;
        let mut parts = self.exchange.parts.clone();
        for header in OF_THE_ANSWER {
            parts.headers.remove(header);
        }
        let Reported { response, report } = self.read(key, &parts, self.exchange.operation).await?;
        let (mut head_of, body) = response.into_parts();
        self.relabel(&mut head_of.headers);
        let etag = header(&head_of.headers, ETAG).and_then(|text| ETag::parse(text).ok());
        let modified = header(&head_of.headers, LAST_MODIFIED).and_then(parse_http);
        let conditions = Conditions::from_headers(&self.exchange.parts.headers);
        let body = match conditions.evaluate(etag.as_ref(), modified, true) {
            Verdict::PreconditionFailed => return Err(S3Code::PreconditionFailed.into()),
            Verdict::NotModified => {
                head_of.status = StatusCode::NOT_MODIFIED;
                head_of.headers.remove(CONTENT_TYPE);
                Outgoing::empty()
            }
            Verdict::Proceed if head => Outgoing::empty(),
            Verdict::Proceed => {
                let made = self.make(body).await?;
                head_of.headers.insert(CONTENT_LENGTH, HeaderValue::from(made.len()));
                Outgoing::bytes(made)
            }
        };
        Ok(Reported { response: Response::from_parts(head_of, body), report })
    }

    /// Headers of the source that are not those of what is made of it.
    fn relabel(&self, headers: &mut http::HeaderMap) {
        let is_of_bytes = |name: &&HeaderName| name.as_str().starts_with("x-amz-checksum-");
        let sums: Vec<HeaderName> = headers.keys().filter(is_of_bytes).cloned().collect();
        for name in sums.iter().chain(&[CONTENT_LENGTH, ACCEPT_RANGES]) {
            headers.remove(name);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.plan.content_type));
        let own = header(headers, ETAG).and_then(|text| ETag::parse(text).ok());
        let derived = own.and_then(|own| ETag::strong(format!("{}-{}", own.value(), self.plan.variant)).ok());
        match derived.and_then(|etag| HeaderValue::try_from(etag.to_string()).ok()) {
            Some(etag) => headers.insert(ETAG, etag),
            None => headers.remove(ETAG),
        };
    }

    async fn make(&self, body: Outgoing) -> Result<Bytes, Refusal> {
        let failed = |why: &dyn fmt::Display| {
            tracing::error!(%why, "nothing could be made of an object");
            Refusal::from(S3Code::InternalError)
        };
        let crowded = |_| S3Error::with_message(S3Code::SlowDown, "Too many pictures are being made.");
        let place = Arc::clone(&self.fronts.waiting).try_acquire_owned().map_err(crowded)?;
        let source = Limited::new(body, SOURCE_BYTES_MAX).collect().await;
        let source = source.map_err(|why| failed(&why))?.to_bytes();
        let Ok(permit) = Arc::clone(&self.fronts.making).acquire_owned().await else {
            return Err(S3Code::InternalError.into());
        };
        let (front, plan) = (Arc::clone(&self.front), self.plan.clone());
        let making = tokio::task::spawn_blocking(move || {
            let made = front.make(&source, &plan);
            drop((permit, place));
            made
        });
        making.await.map_err(|why| failed(&why))?.map_err(|why| failed(&why))
    }

    fn redirect(&self, url: &str) -> Result<Reported, Refusal> {
        let to = HeaderValue::try_from(url).map_err(|_| Refusal::from(S3Code::InvalidUri))?;
        let mut response = Response::new(Outgoing::empty());
        *response.status_mut() = StatusCode::FOUND;
        let headers = response.headers_mut();
        headers.insert(LOCATION, to);
        headers.insert(CACHE_CONTROL, SHORT_LIVED);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(response.into())
    }

    /// The refusal with a picture in the place of its document.
    async fn placeholder(&self, mut refusal: Refusal) -> Result<Reported, Refusal> {
        let (front, plan) = (Arc::clone(&self.front), self.plan.clone());
        let drawing = tokio::task::spawn_blocking(move || front.placeholder(&plan)).await;
        let Ok(Some(picture)) = drawing else { return Err(refusal) };
        tracing::debug!(code = refusal.error.code.as_str(), "a placeholder is shown");
        let report = refusal.report.take().map(|report| *report);
        let mut response = refusal.into_response(true);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.plan.content_type));
        let keep = if planted(Mutant::PlaceholderKept) { SHORT_LIVED } else { NO_STORE };
        headers.insert(CACHE_CONTROL, keep);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(picture.len()));
        headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
        if self.exchange.operation == Operation::GetObject {
            *response.body_mut() = Outgoing::bytes(picture);
        }
        Ok(Reported { response, report })
    }
}

/// Whether a refusal says that there is nothing for whoever asks; not that it could not be found out.
fn is_none(refusal: &Refusal) -> bool {
    matches!(refusal.error.code, S3Code::NoSuchKey | S3Code::AccessDenied | S3Code::InvalidArgument)
}

fn header(headers: &http::HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

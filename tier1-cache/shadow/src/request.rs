//! What is asked of an origin.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_object::{ETag, Key, RangeSpec, Timestamp, TraceParent};
use fallthrough_wire::uri;

use crate::answer::{RawAnswer, ShadowError};
use crate::write_request::WriteRequest;

/// GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Body and headers.
    Get,
    /// Headers.
    Head,
}

/// What a client asked with that its rule has passed on to the origin: decoded, in the order of names. Bounded by
/// whoever chose it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Headers, their names in small letters.
    pub headers: Vec<(String, String)>,
}

impl Extras {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.query.is_empty() && self.headers.is_empty()
    }

    /// The parameters as they stand in a URL; `None`: there are none.
    pub fn raw_query(&self) -> Option<String> {
        let pair = |(name, value): &(String, String)| {
            format!("{}={}", uri::encode_query(name), uri::encode_query(value))
        };
        let pairs: Vec<_> = self.query.iter().map(pair).collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }
}

/// One request for one object.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET or HEAD.
    pub method: Method,
    /// The origin's name of the object (our key after the rule's rewrite).
    pub key: Key,
    /// Only part of the body.
    pub range: Option<RangeSpec>,
    /// Only this part, from 1, as the object was uploaded: what S3 calls `partNumber`. Not together with `range`; an
    /// origin that is no S3 provider knows no parts and gives the whole.
    pub part: Option<u32>,
    /// The object's tags in its place: what S3 calls `tagging`. Of S3 providers alone.
    pub tagging: bool,
    /// Only if the object still has this strong ETag.
    pub if_match: Option<ETag>,
    /// Only if the object no longer has this ETag.
    pub if_none_match: Option<ETag>,
    /// What is passed on of what the client asked with.
    pub extras: Extras,
    /// Longest wait for the answer's headers; the body's own stalls are the reader's to time.
    pub header_timeout: Duration,
    /// Which attempt at this fill, from 1.
    pub attempt: u32,
    /// How many fall-through stores this request has passed already, from the client's hop header.
    pub hops: u32,
    /// The id of the client's request, for logs on both sides.
    pub request_id: String,
    /// The trace that the client's request belongs to, passed on as it is.
    pub trace: Option<TraceParent>,
}

impl Request {
    /// A first GET of a whole object.
    pub fn get(key: Key, header_timeout: Duration) -> Self {
        Self {
            method: Method::Get,
            key,
            range: None,
            part: None,
            tagging: false,
            if_match: None,
            if_none_match: None,
            extras: Extras::default(),
            header_timeout,
            attempt: 1,
            hops: 0,
            request_id: String::new(),
            trace: None,
        }
    }
}

/// One page of an origin's list, asked from `start_after`.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only keys with this prefix.
    pub prefix: String,
    /// Only keys after this one, exclusive, bytewise. Empty: from the beginning.
    pub start_after: String,
    /// Collapse keys that share what stands before the next occurrence of it.
    pub delimiter: Option<String>,
    /// At most so many objects and prefixes.
    pub max_keys: usize,
    /// Longest wait for the page.
    pub timeout: Duration,
    /// How many fall-through stores this request has passed already.
    pub hops: u32,
    /// The id of the client's request, for logs on both sides.
    pub request_id: String,
    /// The trace that the client's request belongs to, passed on as it is.
    pub trace: Option<TraceParent>,
}

/// One object of a listed page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The origin's key.
    pub key: String,
    /// Its ETag, if the list has one.
    pub etag: Option<ETag>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its Last-Modified.
    pub last_modified: Timestamp,
}

/// One page of an origin's list: objects and prefixes each in bytewise order, all after `start_after`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedPage {
    /// Objects.
    pub objects: Vec<ListedObject>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Whether there is more after the last object or prefix of this page.
    pub truncated: bool,
}

/// Something that can be asked for objects: an S3 bucket, an HTTP server, an origin in this process.
///
/// The bucket engine calls it, concurrently, from any task. An implementation sends one request per call,
/// never retries, never follows a redirect that its policy does not allow, decodes no content encoding, and
/// passes every header on. Dropping a future or an answer's body ends the request.
#[async_trait]
pub trait Shadow: Send + Sync + fmt::Debug + 'static {
    /// Asks for one object; any status is an answer.
    ///
    /// # Errors
    /// [`ShadowError`] if no answer came.
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError>;

    /// Asks for one page of the list.
    ///
    /// # Errors
    /// [`ShadowError::NoList`] if this kind of origin has none; otherwise as [`Shadow::fetch`]. A page that
    /// is out of order or malformed is [`ShadowError::Malformed`].
    async fn list(&self, query: ListQuery) -> Result<ListedPage, ShadowError>;

    /// Writes, or takes a step of a write; any status is an answer.
    ///
    /// # Errors
    /// [`ShadowError::ReadOnly`] if this kind of origin cannot be written to; otherwise as [`Shadow::fetch`]. Whether
    /// the write has happened is not known then, unless nothing was sent.
    ///
    /// # Cancellation
    /// Dropping the future breaks the request off: the write may or may not have happened, never in part.
    async fn write(&self, _: WriteRequest) -> Result<RawAnswer, ShadowError> {
        Err(ShadowError::ReadOnly)
    }
}

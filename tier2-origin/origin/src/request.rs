//! What an origin is asked.

use fallthrough_object::{Key, RangeSpec, Timestamp};
use http::HeaderMap;

/// A request for one object, as the origin sees it: names decoded exactly once and otherwise verbatim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The first segment of the path. An origin that serves only one kind of object may ignore it.
    pub bucket: String,
    /// The rest of the path. It may hold anything, `..` and `//` too: never make a file path of it.
    pub key: Key,
    /// The part that is wanted. Only ever set if [`Origin::can_seek`](crate::Origin::can_seek) says so;
    /// for all other origins the server cuts the whole body itself.
    pub range: Option<RangeSpec>,
    /// Query parameters in their order, without those of the signature.
    pub query: Query,
    /// Drawn by the server, unique; the same as in the answer's `x-amz-request-id`.
    pub request_id: String,
    /// The id under which the caller knows this request, if it sent one (`x-fallthrough-request-id`).
    pub caller_request_id: Option<String>,
    /// Which attempt of the caller this is, from 1 (`x-fallthrough-attempt`).
    pub attempt: u32,
    /// The access key whose signature was verified; `None` if the server asks for no credentials.
    pub principal: Option<String>,
    /// All headers as they came, except `Authorization` and the session token.
    pub headers: HeaderMap,
}

impl Request {
    /// A plain request, for tests and for calls within the process.
    pub fn new(bucket: impl Into<String>, key: Key) -> Self {
        Self {
            bucket: bucket.into(),
            key,
            range: None,
            query: Query::default(),
            request_id: String::new(),
            caller_request_id: None,
            attempt: 1,
            principal: None,
            headers: HeaderMap::new(),
        }
    }
}

/// Query parameters in the order in which they came, percent-decoded once, `+` read as a space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From pairs that are decoded already.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value of `name`; a parameter without `=` has the empty value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` occurs.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A page of the list of a bucket that is wanted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListRequest {
    /// The first segment of the path.
    pub bucket: String,
    /// Only keys that begin with this. May be empty.
    pub prefix: String,
    /// Only keys after this one, exclusive, bytewise.
    pub after: Option<String>,
    /// At most so many objects; at least 1.
    pub limit: usize,
    /// As in [`Request`].
    pub request_id: String,
    /// As in [`Request`].
    pub principal: Option<String>,
}

/// One page of a list: objects in bytewise order of their keys, each after `after` and with the prefix.
/// The server checks that, groups common prefixes and writes the XML of either version.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<ListedObject>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// One object of a list. What it says must be what GET will say.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its ETag, without quotes.
    pub etag: Option<String>,
    /// When it last changed.
    pub last_modified: Timestamp,
}

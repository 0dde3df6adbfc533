//! What an operator may set about the S3 listener, and the seam for pages that live beside the buckets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::BucketName;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Uri};

use crate::front::Front;
use crate::patience::Patience;
use crate::routes::Route;
use crate::tls::Tls;

/// The answer of a page: whatever axum can make a body of.
pub type PageResponse = http::Response<axum::body::Body>;

/// Asked about paths below `/_demo`, which no bucket can be named: `None` means that there is no such page.
///
/// Called for every such request, also concurrently, before any authentication; it gets no body. The
/// future is dropped when the client goes away.
#[derive(Clone)]
pub struct PageHandler(Arc<PageFn>);

type PageFn = dyn Fn(&Method, &Uri, &HeaderMap) -> Option<BoxFuture<'static, PageResponse>> + Send + Sync;

impl PageHandler {
    /// A handler that calls `pages`.
    pub fn new(
        pages: impl Fn(&Method, &Uri, &HeaderMap) -> Option<BoxFuture<'static, PageResponse>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(pages))
    }

    pub(crate) fn call(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<BoxFuture<'static, PageResponse>> {
        (self.0)(method, uri, headers)
    }
}

impl fmt::Debug for PageHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageHandler")
    }
}

/// What those may do who connect from elsewhere than this machine, whatever keys they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// What their keys allow.
    #[default]
    AsOthers,
    /// Only what anybody may read without a key: a signed request is refused before its signature is looked at.
    ReadAnonymously,
}

/// Settings of the S3 listener. Every default is what a machine of its own should run with.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The certificate; `None`: connections are not encrypted.
    pub tls: Option<Tls>,
    /// Domains below which the first label names the bucket. `localhost` always is one.
    pub domains: Vec<String>,
    /// Hosts and paths that lead to buckets.
    pub routes: Vec<Route>,
    /// What stands in front of buckets, by their names.
    pub fronts: BTreeMap<BucketName, Arc<dyn Front>>,
    /// Domains below which the first label names a bucket that is shown as a website. `s3-website.localhost` always is
    /// one.
    pub website_domains: Vec<String>,
    /// The region that buckets are said to be in.
    pub region: String,
    /// The only region that requests may be signed for; `None`: any, since many clients have one of their own.
    pub signing_region: Option<String>,
    /// Whether presigned URLs of signature version 2 are accepted, for GET, HEAD, PUT and DELETE of objects and PUT of
    /// parts.
    pub presigned_v2: bool,
    /// Connections open at once; one more is answered 503 and closed.
    pub max_connections: usize,
    /// Bytes of a request's line and headers; more is answered 431.
    pub max_head_bytes: usize,
    /// From when a connection is ready for a request until its headers are complete; so it is also how long
    /// an idle connection is kept.
    pub head_timeout: Duration,
    /// Longest silence of a client in the middle of sending a body.
    pub body_timeout: Duration,
    /// Longest wait for each [`GatewayOptions::body_pace_bytes`] of a body, or for what is left of it if that is
    /// less: the sum of its silences, none of which needs to be long.
    pub body_pace: Duration,
    /// What a client has to send in [`GatewayOptions::body_pace`]. By default a seventh of what the slowest
    /// mobile networks carry.
    pub body_pace_bytes: u64,
    /// Longest time in which a client takes nothing of its answer. Over TCP that is seen in steps of some 32 KiB.
    pub write_timeout: Duration,
    /// How long running requests may go on after shutdown was asked for.
    pub drain: Duration,
    /// How long an access key's row is believed without asking the store again.
    pub key_ttl: Duration,
    /// Access keys remembered.
    pub max_cached_keys: usize,
    /// Pages below `/_demo`, wherever the host names no bucket.
    pub pages: Option<PageHandler>,
    /// What those may do who connect from other machines.
    pub strangers: Strangers,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            tls: None,
            domains: Vec::new(),
            routes: Vec::new(),
            fronts: BTreeMap::new(),
            website_domains: Vec::new(),
            region: "us-east-1".to_owned(),
            signing_region: None,
            presigned_v2: true,
            max_connections: 4096,
            max_head_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            body_pace: Duration::from_secs(60),
            body_pace_bytes: 16 * 1024,
            write_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(20),
            key_ttl: Duration::from_secs(30),
            max_cached_keys: 10_000,
            pages: None,
            strangers: Strangers::default(),
        }
    }
}

impl GatewayOptions {
    /// What a client that sends a body may take its time over.
    pub(crate) fn patience(&self) -> Patience {
        Patience { silence: self.body_timeout, pace: self.body_pace, pace_bytes: self.body_pace_bytes }
    }
}

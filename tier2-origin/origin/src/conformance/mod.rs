//! Does a program in any language keep the origin contract? What `fallthrough origin test URL` runs.
//!
//! Only reads are sent. Everything is checked from outside, over plain HTTP/1.1, with a client that follows
//! nothing, retries nothing and tells a broken body from a whole one. What the contract leaves open is
//! skipped, with a word on what is lost.

mod checks;
mod client;
mod keys;
mod load;
mod report;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use fallthrough_object::{Clock, SystemClock};
use fallthrough_wire::sigv4::{Credentials, Signer};

use crate::origin::Origin;
use crate::serve::serve;
use client::Client;
pub use report::{Check, Outcome, Report};

/// What the checks need to know about the origin.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bucket in the path.
    pub bucket: String,
    /// A key that exists.
    pub key: String,
    /// A key that does not exist, but could. Without one, a key is made up, and if the origin answers it,
    /// the check is skipped: some origins have an object for every key.
    pub missing_key: Option<String>,
    /// A key that can never exist: 400 or 422.
    pub impossible_key: Option<String>,
    /// A key with a large object.
    pub big_key: Option<String>,
    /// A key that the origin is too busy for, or that breaks it: 5xx, never 404.
    pub failing_key: Option<String>,
    /// Access key and secret, if the origin asks for SigV4. It must then refuse what is not signed so.
    pub credentials: Option<(String, String)>,
    /// The region to sign for.
    pub region: String,
    /// The longest wait for a complete answer.
    pub timeout: Duration,
    /// A first byte later than this is slow: a bucket then answers its client 503 and goes on filling.
    pub slow_after: Duration,
    /// How many requests are sent at once.
    pub concurrency: usize,
}

impl Default for Options {
    /// Bucket `test`, key `hello`, no credentials, 60 s for an answer, 25 s to its first byte, 8 at once.
    fn default() -> Self {
        Self {
            bucket: "test".to_owned(),
            key: "hello".to_owned(),
            missing_key: None,
            impossible_key: None,
            big_key: None,
            failing_key: None,
            credentials: None,
            region: "us-east-1".to_owned(),
            timeout: Duration::from_secs(60),
            slow_after: Duration::from_secs(25),
            concurrency: 8,
        }
    }
}

/// The URL is not one that can be tested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} cannot be tested: {why}")]
pub struct InvalidUrl {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Tests the origin at `url`, which is `http://host:port`, possibly with a path before the bucket.
///
/// Dropping the future ends the connections.
///
/// # Errors
/// [`InvalidUrl`]. An origin that cannot be reached is not an error, but a failed check `connect`.
pub async fn conformance(url: &str, options: &Options) -> Result<Report, InvalidUrl> {
    let invalid = |why| InvalidUrl { url: url.to_owned(), why };
    let uri: http::Uri = url.parse().map_err(|_| invalid("it is not a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(invalid("give its plain HTTP address: TLS is not spoken here")),
        Some(_) | None => return Err(invalid("it must begin with http://")),
    }
    let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(invalid("credentials do not belong into a URL: give an access key and a secret"));
    }
    if uri.query().is_some() {
        return Err(invalid("it has a query"));
    }
    let authority = match authority.port_u16() {
        Some(_) => authority.to_string(),
        None => format!("{authority}:80"),
    };
    let signer = |secret: &dyn Fn(&str) -> String| {
        let pair = options.credentials.as_ref();
        pair.map(|(key, own)| Signer::new(Credentials::new(key, secret(own)), &options.region))
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let client = Client {
        authority,
        signer: signer(&str::to_owned),
        wrong_signer: signer(&|secret| format!("not-{secret}")),
        timeout: options.timeout,
        clock: &*clock,
        busy_without_hint: AtomicU32::new(0),
        busy_with_hint: AtomicU32::new(0),
    };
    let checks = checks::run(&client, uri.path().trim_end_matches('/'), options).await;
    Ok(Report { url: url.to_owned(), checks })
}

/// Serves `origin` on a free port of this machine for as long as it is tested.
///
/// # Errors
/// If there is no port to listen on.
pub async fn conformance_of(origin: impl Origin, options: &Options) -> io::Result<Report> {
    let mut builder = serve(origin);
    if let Some((access_key, secret)) = &options.credentials {
        builder = builder.credentials(access_key, secret);
    }
    let server = builder.bind("127.0.0.1:0").await?;
    let url = server.url();
    tokio::select! {
        report = conformance(&url, options) => report.map_err(io::Error::other),
        () = server.run() => Err(io::Error::other("the server ended")),
    }
}

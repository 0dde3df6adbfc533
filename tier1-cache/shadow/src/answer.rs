//! What comes back from an origin, before anyone reads meaning into it.

use std::fmt;
use std::time::Duration;

use fallthrough_object::ByteStream;
use http::{HeaderMap, StatusCode};

/// An origin's answer: status, every header, and the body as it arrives, undecoded.
pub struct RawAnswer {
    /// Status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; an error in it means that the connection broke or ended before the promised length.
    pub body: ByteStream,
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why no answer came. Messages never contain the origin's address or credentials.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// No connection: refused, reset, unreachable, no such host. Transient.
    #[error("the origin cannot be reached: {reason}")]
    Unreachable {
        /// In words, without the address.
        reason: String,
    },
    /// No answer within the time allowed. Transient.
    #[error("the origin did not answer in time")]
    Timeout,
    /// It answered, but not with HTTP or not with a list. Transient, since a proxy in between may be at fault.
    #[error("the origin's answer is malformed: {reason}")]
    Malformed {
        /// In words.
        reason: String,
    },
    /// The body has neither a length nor chunks, so a connection that is cut off looks like its end. Permanent:
    /// such an origin must be changed.
    #[error(
        "the origin's answer has neither a Content-Length nor chunks, so a cut-off body would look whole"
    )]
    Unframed,
    /// The network policy forbids where the request would go. Permanent until the settings change.
    #[error("the network policy forbids this origin: {reason}")]
    Forbidden {
        /// In words, with the setting that would allow it.
        reason: String,
    },
    /// Too many fall-through stores in a row: they lead to each other in a circle. Permanent.
    #[error("the request passed through too many fall-through stores: is there a loop?")]
    Loop,
    /// This kind of origin has no list. Permanent.
    #[error("this origin has no list")]
    NoList,
    /// This kind of origin cannot be written to. Permanent.
    #[error("this origin cannot be written to")]
    ReadOnly,
    /// The list was refused with this status (credentials, bucket, region). Permanent if 4xx.
    #[error("the origin refused to list: status {status}")]
    ListRefused {
        /// The status.
        status: u16,
        /// The origin's error code, if it gave one.
        code: Option<String>,
        /// Its Retry-After.
        retry_after: Option<Duration>,
    },
}

//! Why an origin gives no object. None of these words lets a busy or broken origin say "absent".

use std::error::Error;
use std::time::Duration;

use fallthrough_object::BodyError;

/// Any error as the cause of another.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Why there is no answer. What each one becomes on the wire, and in the bucket in front, is in
/// `docs/origin-contract.md`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// There is no such object: 404 NoSuchKey. The only way to say so, and to be said only when it is known.
    #[error("no such object")]
    NotFound {
        /// How long that may be believed (`Cache-Control: max-age`, in whole seconds); `None` leaves it to
        /// the bucket's rule.
        ttl: Option<Duration>,
    },
    /// There can never be such an object: the key or a parameter breaks the origin's rules. 400
    /// InvalidArgument with this message, which the client sees.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// Not now: 503 SlowDown with Retry-After, in whole seconds rounded up, at least 1.
    #[error("busy, try again in {retry_after:?}")]
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The caller may not have it: 403 AccessDenied.
    #[error("access denied")]
    Denied,
    /// The range that was handed to an origin that can seek lies outside of the object: 416.
    #[error("the range lies outside of the object's {size_bytes} bytes")]
    RangeNotSatisfiable {
        /// The size of the whole object.
        size_bytes: u64,
    },
    /// This origin does not do that: 501 NotImplemented. What `put` and `delete` say unless implemented.
    #[error("this origin does not implement {operation}")]
    Unsupported {
        /// What was asked, such as `PutObject`.
        operation: &'static str,
    },
    /// The client's upload broke off or is not what it was promised to be: the client is told so (400).
    #[error("the upload failed")]
    Upload(#[from] BodyError),
    /// It broke: 500 InternalError. The cause is logged with the request id and not shown to the client.
    #[error("the origin failed")]
    Internal(#[source] BoxError),
}

impl OriginError {
    /// No such object, believed for as long as the bucket's rule says.
    pub fn not_found() -> Self {
        Self::NotFound { ttl: None }
    }

    /// There can never be such an object; `why` is shown to the client.
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid(why.into())
    }

    /// The origin broke, and this is why.
    pub fn internal(cause: impl Into<BoxError>) -> Self {
        Self::Internal(cause.into())
    }
}

/// Reading or writing failed. Even `NotFound` is a failure here: whether a missing *file* means a missing
/// *object* is for the origin to say.
impl From<std::io::Error> for OriginError {
    fn from(cause: std::io::Error) -> Self {
        Self::internal(cause)
    }
}

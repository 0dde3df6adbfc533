//! Why a request is not done, on its way to the client: the one mapping from what happened to what is answered.
//!
//! Absence is answered 404 only where it is certain. What could not be asked is 503, what somebody has to
//! mend 424, so that no client and no cache takes a failure for an absence.

use std::time::Duration;

use bytes::Bytes;
use fallthrough_bucket::{BucketError, CacheReport};
use fallthrough_object::{BodyError, Mutant, planted};
use fallthrough_wire::range::content_range_unsatisfied;
use fallthrough_wire::{S3Code, S3Error};
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::outgoing::Outgoing;
use crate::telemetry::AuthFailure;

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Box<S3Error>,
    /// When to come back, for 503.
    pub(crate) retry_after: Option<Duration>,
    /// Size of the object, for 416.
    pub(crate) size_bytes: Option<u64>,
    /// How the engine came to it.
    pub(crate) report: Option<Box<CacheReport>>,
    /// Set if it was refused for who sent it.
    pub(crate) auth: Option<AuthFailure>,
}

impl Refusal {
    pub(crate) fn for_auth(error: impl Into<S3Error>, reason: AuthFailure) -> Self {
        Self { auth: Some(reason), ..Self::from(error.into()) }
    }

    pub(crate) fn denied() -> Self {
        Self::for_auth(S3Code::AccessDenied, AuthFailure::Denied)
    }

    /// The same, with how the engine came to it.
    pub(crate) fn with(self, report: CacheReport) -> Self {
        Self { report: Some(Box::new(report)), ..self }
    }

    pub(crate) fn reported(error: BucketError, report: CacheReport) -> Self {
        Self { report: Some(Box::new(report)), ..Self::from(error) }
    }

    /// The answer. `head`: the request was a HEAD, whose answer has no body.
    pub(crate) fn into_response(self, head: bool) -> Response<Outgoing> {
        let status = self.error.status();
        let body = if head || status == StatusCode::NOT_MODIFIED {
            Outgoing::empty()
        } else {
            Outgoing::bytes(Bytes::from(self.error.to_xml()))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_secs(wait)));
        }
        if let Some(size) = self.size_bytes
            && let Ok(value) = HeaderValue::try_from(content_range_unsatisfied(size))
        {
            headers.insert(CONTENT_RANGE, value);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE, OPTIONS"));
        }
        response
    }
}

/// Retry-After has whole seconds; zero would invite a retry at once.
fn whole_secs(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<S3Error> for Refusal {
    fn from(error: S3Error) -> Self {
        // A 503 without a date would be retried at once by some.
        let retry_after =
            (error.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(1));
        Self { error: Box::new(error), retry_after, size_bytes: None, report: None, auth: None }
    }
}

impl From<S3Code> for Refusal {
    fn from(code: S3Code) -> Self {
        Self::from(S3Error::new(code))
    }
}

impl From<BucketError> for Refusal {
    fn from(error: BucketError) -> Self {
        if let BucketError::Damaged | BucketError::Unavailable(_) = &error {
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), "the store failed");
        }
        let mut retry_after = None;
        if let BucketError::SlowDown { retry_after: wait, .. }
        | BucketError::OriginFailing { retry_after: wait, .. } = &error
        {
            retry_after = Some(*wait);
        }
        let mut size_bytes = None;
        if let BucketError::RangeNotSatisfiable { size_bytes: size } = &error {
            size_bytes = *size;
        }
        let refusal = Self::from(answer(error));
        Self { retry_after: retry_after.or(refusal.retry_after), size_bytes, ..refusal }
    }
}

/// What is answered to what happened. No wildcard: a new variant shows up here.
fn answer(error: BucketError) -> S3Error {
    match error {
        BucketError::NoSuchBucket(name) => {
            S3Error::new(S3Code::NoSuchBucket).and("BucketName", name.to_string())
        }
        BucketError::OriginFailing { .. } if planted(Mutant::FailureAsAbsence) => {
            S3Error::new(S3Code::NoSuchKey)
        }
        BucketError::NoSuchKey => S3Error::new(S3Code::NoSuchKey),
        BucketError::ImpossibleKey { reason } => {
            S3Error::with_message(S3Code::InvalidArgument, format!("This key can never exist here: {reason}"))
                .and("ArgumentName", "key")
        }
        BucketError::Denied => S3Error::new(S3Code::AccessDenied),
        BucketError::FillDenied => S3Error::with_message(
            S3Code::AccessDenied,
            "The object is not here yet, and you may not have it filled.",
        ),
        BucketError::PreconditionFailed => S3Error::new(S3Code::PreconditionFailed),
        BucketError::RangeNotSatisfiable { size_bytes } => {
            let error = S3Error::new(S3Code::InvalidRange);
            match size_bytes {
                Some(size) => error.and("ActualObjectSize", size.to_string()),
                None => error,
            }
        }
        BucketError::SlowDown { reason, .. } => {
            S3Error::with_message(S3Code::SlowDown, format!("Please come back later: {reason}."))
        }
        BucketError::OriginFailing { reason, .. } => S3Error::with_message(
            S3Code::SHADOW_UNAVAILABLE,
            format!("What is behind this bucket cannot be asked now: {reason}."),
        ),
        BucketError::ShadowMisconfigured { mend } => S3Error::with_message(S3Code::ShadowMisconfigured, mend),
        BucketError::BadOriginAnswer { reason } => S3Error::with_message(
            S3Code::BadOriginAnswer,
            format!("What is behind this bucket gave an answer that cannot be passed on: {reason}."),
        ),
        BucketError::Archived => S3Error::with_message(
            S3Code::InvalidObjectState,
            "The operation is not valid for the object's storage class",
        ),
        BucketError::BadBody(error) => body_answer(&error),
        BucketError::Conflict => S3Error::new(S3Code::ConditionalRequestConflict),
        BucketError::NoSuchUpload => S3Error::new(S3Code::NoSuchUpload),
        BucketError::NoSuchPart { parts } => {
            let error =
                S3Error::with_message(S3Code::InvalidPart, "The requested partnumber is not satisfiable");
            match parts {
                Some(parts) => error.and("ActualPartCount", parts.to_string()),
                None => error,
            }
        }
        BucketError::InvalidPart { number } => {
            S3Error::new(S3Code::InvalidPart).and("PartNumber", number.to_string())
        }
        BucketError::InvalidPartOrder => S3Error::new(S3Code::InvalidPartOrder),
        BucketError::PartTooSmall { number, size_bytes, etag, bytes_min } => {
            S3Error::new(S3Code::EntityTooSmall)
                .and("ProposedSize", size_bytes.to_string())
                .and("MinSizeAllowed", bytes_min.to_string())
                .and("PartNumber", number.to_string())
                .and("ETag", etag.value())
        }
        BucketError::TooLarge { max_bytes } => S3Error::with_message(
            S3Code::InvalidRequest,
            format!("The object is larger than this operation takes: at most {max_bytes} bytes."),
        ),
        BucketError::WrongLength { size_bytes } => S3Error::with_message(
            S3Code::InvalidRequest,
            format!("The object has {size_bytes} bytes, not as many as x-amz-mp-object-size says."),
        ),
        BucketError::BucketNotEmpty => S3Error::new(S3Code::BucketNotEmpty),
        BucketError::Managed => S3Error::with_message(
            S3Code::AccessDenied,
            "This bucket is declared in the server's configuration file and can be changed only there.",
        ),
        BucketError::InvalidSettings { reason } => S3Error::with_message(S3Code::InvalidArgument, reason),
        BucketError::WouldLoseWritten => S3Error::with_message(
            S3Code::InvalidRequest,
            "This object was written here and cannot be filled again.",
        ),
        BucketError::NotOffered { what } => S3Error::with_message(
            S3Code::NotImplemented,
            format!("{what} is not offered on a key that is not here yet."),
        ),
        BucketError::Damaged => S3Error::with_message(
            S3Code::InternalError,
            "The stored object is damaged; an operator has to look.",
        ),
        BucketError::OutboxFull { rows, bytes } => S3Error::with_message(
            S3Code::SlowDown,
            format!(
                "Reduce your request rate: {rows} changes of {bytes} bytes wait for their delivery to the origin, and \
                 no more are taken until some are delivered."
            ),
        ),
        BucketError::NotDelivered { waiting } => S3Error::with_message(
            S3Code::BucketNotEmpty,
            format!("{waiting} changes of this bucket have not reached its origin yet."),
        ),
        BucketError::QuotaExceeded { quota_bytes, written_bytes, more_bytes } => S3Error::with_message(
            S3Code::QuotaExceeded,
            format!(
                "Nothing was stored: {written_bytes} bytes are written to this bucket, {more_bytes} more are asked for, \
                 and its quota is {quota_bytes} bytes. Delete objects, or have the quota raised."
            ),
        ),
        BucketError::Full => S3Error::with_message(
            S3Code::ServiceUnavailable,
            "The server's disk is full; nothing was stored.",
        ),
        BucketError::Unavailable(_) => S3Error::new(S3Code::ServiceUnavailable),
    }
}

/// What is answered to a body that could not be taken.
pub(crate) fn body_answer(error: &BodyError) -> S3Error {
    match error {
        BodyError::Incomplete => S3Error::new(S3Code::IncompleteBody),
        BodyError::Mismatch { what: "chunk signature" } => S3Error::new(S3Code::SignatureDoesNotMatch),
        BodyError::Mismatch { what: "x-amz-content-sha256" } => {
            S3Error::new(S3Code::XAmzContentSha256Mismatch)
        }
        BodyError::Mismatch { what } => S3Error::with_message(
            S3Code::BadDigest,
            format!("The {what} you specified did not match what we received."),
        ),
        BodyError::TooLong => {
            S3Error::with_message(S3Code::IncompleteBody, "The body is longer than announced.")
        }
        BodyError::Malformed { what: "trailer" } => S3Error::new(S3Code::MalformedTrailer),
        BodyError::Malformed { what } => {
            S3Error::with_message(S3Code::InvalidRequest, format!("The body is malformed: {what}."))
        }
        BodyError::Stalled => S3Error::new(S3Code::RequestTimeout),
        BodyError::Corrupt => S3Error::new(S3Code::InternalError),
        BodyError::Origin => S3Error::new(S3Code::SHADOW_UNAVAILABLE),
        // Reading from the client failed; whether it hears this is open.
        BodyError::Io(_) => S3Error::new(S3Code::IncompleteBody),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_what_is_certain_is_absent() {
        let wait = Duration::from_millis(2500);
        let reason = || "x".to_owned();
        let rows = [
            (BucketError::NoSuchKey, 404, "NoSuchKey"),
            (BucketError::ImpossibleKey { reason: reason() }, 400, "InvalidArgument"),
            (BucketError::FillDenied, 403, "AccessDenied"),
            (BucketError::Denied, 403, "AccessDenied"),
            (BucketError::PreconditionFailed, 412, "PreconditionFailed"),
            (BucketError::RangeNotSatisfiable { size_bytes: Some(5) }, 416, "InvalidRange"),
            (BucketError::SlowDown { reason: "x", retry_after: wait }, 503, "SlowDown"),
            (BucketError::OriginFailing { reason: reason(), retry_after: wait }, 503, "SlowDown"),
            (BucketError::ShadowMisconfigured { mend: reason() }, 424, "ShadowMisconfigured"),
            (BucketError::BadOriginAnswer { reason: reason() }, 502, "BadOriginAnswer"),
            (BucketError::Archived, 403, "InvalidObjectState"),
            (BucketError::Conflict, 409, "ConditionalRequestConflict"),
            (BucketError::BucketNotEmpty, 409, "BucketNotEmpty"),
            (BucketError::NotOffered { what: "x" }, 501, "NotImplemented"),
            (BucketError::Damaged, 500, "InternalError"),
            (BucketError::Full, 503, "ServiceUnavailable"),
            (
                BucketError::QuotaExceeded { quota_bytes: 1, written_bytes: 1, more_bytes: 1 },
                403,
                "QuotaExceeded",
            ),
            (BucketError::OutboxFull { rows: 1, bytes: 2 }, 503, "SlowDown"),
            (BucketError::NotDelivered { waiting: 1 }, 409, "BucketNotEmpty"),
            (BucketError::BadBody(Arc::new(BodyError::Incomplete)), 400, "IncompleteBody"),
            (BucketError::BadBody(Arc::new(BodyError::Stalled)), 400, "RequestTimeout"),
            (BucketError::BadBody(Arc::new(BodyError::Mismatch { what: "Content-MD5" })), 400, "BadDigest"),
        ];
        for (error, status, code) in rows {
            let refusal = Refusal::from(error);
            let retry_after = refusal.retry_after;
            let got = (refusal.error.status().as_u16(), refusal.error.code.as_str());
            assert_eq!(got, (status, code));
            assert_eq!(retry_after.is_some(), status == 503, "{code}");
        }
    }

    #[test]
    fn retry_after_has_whole_seconds_and_at_least_one() {
        for (wait, want) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (2500, 3)] {
            assert_eq!(whole_secs(Duration::from_millis(wait)), want);
        }
    }
}

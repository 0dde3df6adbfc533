//! What is answered instead of an object.

use std::time::Duration;

use bytes::Bytes;
use fallthrough_wire::range::content_range_unsatisfied;
use fallthrough_wire::{S3Code, S3Error};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response};

use crate::error::{BoxError, OriginError};
use crate::sent::SentBody;
use crate::upload::blame;

/// An S3 error, the headers that go with it, and what only the log may know.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Box<S3Error>,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) cause: Option<BoxError>,
}

impl Fault {
    pub(crate) fn new(error: impl Into<S3Error>) -> Self {
        Self { error: Box::new(error.into()), headers: Vec::new(), cause: None }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn busy(retry_after: Duration) -> Self {
        let secs = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self::new(S3Code::SlowDown).with(RETRY_AFTER, secs.max(1))
    }

    pub(crate) fn not_offered(operation: &str) -> Self {
        Self::new(S3Error::with_message(
            S3Code::NotImplemented,
            format!("This origin does not implement {operation}."),
        ))
    }

    pub(crate) fn internal(cause: impl Into<BoxError>) -> Self {
        let mut fault = Self::new(S3Code::InternalError);
        fault.cause = Some(cause.into());
        fault
    }

    pub(crate) fn range(size_bytes: u64) -> Self {
        let unsatisfied = content_range_unsatisfied(size_bytes);
        let fault =
            Self::new(S3Error::new(S3Code::InvalidRange).and("ActualObjectSize", size_bytes.to_string()));
        match HeaderValue::try_from(unsatisfied) {
            Ok(value) => fault.with(CONTENT_RANGE, value),
            Err(cause) => Self::internal(cause),
        }
    }

    /// The response, as XML; a HEAD gets the headers alone.
    pub(crate) fn into_response(self, request_id: &str, resource: &str, is_head: bool) -> Response<SentBody> {
        let mut error = self.error;
        error.request_id = Some(request_id.into());
        error.resource = Some(resource.into());
        let document = Bytes::from(error.to_xml());
        let mut response = Response::new(SentBody::empty());
        *response.status_mut() = error.status();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        if !is_head {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            headers.insert(CONTENT_LENGTH, document.len().into());
            *response.body_mut() = SentBody::bytes(document);
        }
        response
    }
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        Self::new(error)
    }
}

impl From<OriginError> for Fault {
    fn from(error: OriginError) -> Self {
        match error {
            OriginError::NotFound { ttl } => {
                let fault = Self::new(S3Code::NoSuchKey);
                match ttl.map(|ttl| HeaderValue::try_from(format!("max-age={}", ttl.as_secs()))) {
                    Some(Ok(age)) => fault.with(CACHE_CONTROL, age),
                    Some(Err(_)) | None => fault,
                }
            }
            OriginError::Invalid(why) => Self::new(S3Error::with_message(S3Code::InvalidArgument, why)),
            OriginError::Busy { retry_after } => Self::busy(retry_after),
            OriginError::Denied => Self::new(S3Code::AccessDenied),
            OriginError::RangeNotSatisfiable { size_bytes } => Self::range(size_bytes),
            OriginError::Unsupported { operation } => Self::not_offered(operation),
            OriginError::Upload(why) => match blame(&why) {
                Some(code) => Self::new(code),
                None => Self::internal(why),
            },
            OriginError::Internal(cause) => Self::internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status_and_only_not_found_is_404() {
        let busy = |retry_after| OriginError::Busy { retry_after };
        let rows = [
            (OriginError::not_found(), 404, None, None),
            (OriginError::NotFound { ttl: Some(Duration::from_secs(9)) }, 404, None, Some("max-age=9")),
            (OriginError::invalid("no"), 400, None, None),
            (busy(Duration::ZERO), 503, Some("1"), None),
            (busy(Duration::from_millis(2001)), 503, Some("3"), None),
            (OriginError::Denied, 403, None, None),
            (OriginError::RangeNotSatisfiable { size_bytes: 3 }, 416, None, None),
            (OriginError::Unsupported { operation: "PutObject" }, 501, None, None),
            (OriginError::internal("secret"), 500, None, None),
            (std::io::Error::from(std::io::ErrorKind::NotFound).into(), 500, None, None),
        ];
        for (error, status, retry_after, cache_control) in rows {
            let name = format!("{error:?}");
            let response = Fault::from(error).into_response("ID", "/b/k", false);
            let header =
                |name| response.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!(response.status().as_u16(), status, "{name}");
            assert_eq!(header(RETRY_AFTER), retry_after, "{name}");
            assert_eq!(header(CACHE_CONTROL), cache_control, "{name}");
        }
    }
}

//! Answers that are a document, or nothing.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::outgoing::Outgoing;
use crate::report::Reported;

/// 200 with an XML document.
pub(crate) fn xml(text: String) -> Reported {
    let mut response = Response::new(Outgoing::bytes(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.into()
}

/// 200 with nothing.
pub(crate) fn nothing() -> Reported {
    Response::new(Outgoing::empty()).into()
}

/// 204.
pub(crate) fn no_content() -> Reported {
    let mut response = Response::new(Outgoing::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.into()
}

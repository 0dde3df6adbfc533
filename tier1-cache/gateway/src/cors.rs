//! What browsers ask before and after a request from another origin.
//!
//! What anybody may read without signing, a page of any origin may read too; nothing else is offered.

use fallthrough_bucket::{Bucket, PublicAccess};
use fallthrough_wire::{S3Code, S3Error};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use crate::outgoing::Outgoing;
use crate::refusal::Refusal;

/// Answers a preflight. `bucket`: the one that is named, if it exists.
///
/// # Errors
/// `BadRequest` without the headers of a preflight, `AccessDenied` where the request would be denied.
pub(crate) fn preflight(parts: &Parts, bucket: Option<&Bucket>) -> Result<Response<Outgoing>, Refusal> {
    if !parts.headers.contains_key(ORIGIN) {
        let message = "Insufficient information. Origin request header needed.";
        return Err(S3Error::with_message(S3Code::BadRequest, message).into());
    }
    let Some(method) = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD) else {
        let message = "Invalid Access-Control-Request-Method: null";
        return Err(S3Error::with_message(S3Code::BadRequest, message).into());
    };
    let readable = bucket.is_some_and(|bucket| bucket.settings.public == PublicAccess::Read);
    if !readable || !(method == "GET" || method == "HEAD") {
        let message = "CORSResponse: This CORS request is not allowed.";
        return Err(S3Error::with_message(S3Code::AccessDenied, message).into());
    }
    let mut response = Response::new(Outgoing::empty());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    // A star does not reach Authorization, and is not meant to.
    if parts.headers.contains_key(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    headers.insert(
        VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    );
    Ok(response)
}

/// Lets pages of any origin see an answer that anybody may read.
pub(crate) fn allow(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
}

//! PutObject.
//!
//! Not through `s3s`: its typed input reads Expires as a date and metadata as text of its own idea, while an
//! object must give back what it was given; and a refused body must keep its reason, which would be lost in
//! the boxed error of its stream.

use fallthrough_bucket::{BucketError, Engine, PutRequest};
use fallthrough_object::Body;
use fallthrough_wire::conditions::WriteConditions;
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, write_checksum_headers};
use fallthrough_wire::headers::meta_of_request;
use fallthrough_wire::{S3Code, S3Error};
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;

use crate::exchange::Exchange;
use crate::given::given_by_request;
use crate::outgoing::Outgoing;
use crate::patience::Patience;
use crate::refusal::Refusal;
use crate::report::Reported;
use crate::upload::{PUT_BYTES_MAX, Upload};

/// Headers that ask for what is not offered. Ignoring one would acknowledge something that was not done.
const REFUSED_HEADERS: [&str; 10] = [
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-write-offset-bytes",
];

/// Longest redirect location, as S3.
const REDIRECT_BYTES_MAX: usize = 2048;

/// Stores an object. The client's body is asked for only after everything in the headers was accepted.
///
/// Dropping the future before the commit leaves nothing.
pub(crate) async fn object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &mut Option<Incoming>,
    patience: Patience,
) -> Result<Reported, Refusal> {
    let headers = &exchange.parts.headers;
    exchange.check_version()?;
    refuse_encryption(exchange)?;
    check_storage_class(exchange)?;
    let meta = meta_of_request(headers).map_err(S3Error::from)?;
    let conditions = WriteConditions::from_headers(headers)?;
    let attributes = given_by_request(exchange, headers, engine).await?;
    let mut upload = Upload::of(headers, exchange.query, exchange.sender, PUT_BYTES_MAX)?;
    if upload.given().is_empty() {
        upload.also(DEFAULT_CHECKSUM);
    }
    let (length_bytes, content_md5) = (upload.length_bytes, upload.content_md5);
    let incoming = body.take().ok_or(S3Code::InternalError)?;
    let (stream, verdict) = upload.stream(incoming, patience);
    let request = PutRequest {
        key: exchange.key()?.clone(),
        meta,
        attributes,
        body: Body::Stream(stream),
        length_bytes: Some(length_bytes),
        content_md5,
        checksums: std::sync::Arc::clone(&verdict.checksums),
        conditions,
    };
    // On the heap: the engine's future is large, and GETs should not pay for its size.
    let put = Box::pin(engine.put(exchange.bucket()?, &exchange.caller, request));
    let ended = put.await;
    *body = verdict.unread();
    let outcome = ended.map_err(|error| match (error, verdict.refused.get()) {
        (BucketError::BadBody(_), Some(answer)) => Refusal::from(answer.clone()),
        (error, _) => Refusal::from(error),
    })?;
    let mut response = Response::new(Outgoing::empty());
    let headers = response.headers_mut();
    if let Some(etag) = &outcome.info.etag
        && let Ok(value) = HeaderValue::try_from(etag.to_string())
    {
        headers.insert(ETAG, value);
    }
    write_checksum_headers(&outcome.info.checksums, headers);
    crate::get::write_expiry(exchange, &outcome.info, headers);
    Ok(response.into())
}

/// Refuses what asks for encryption or locks that are not offered.
pub(crate) fn refuse_encryption(exchange: &Exchange<'_>) -> Result<(), S3Error> {
    exchange.refuse_headers(&REFUSED_HEADERS)
}

/// `x-amz-website-redirect-location`: a path of the same website, or an address elsewhere.
pub(crate) fn check_redirect(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let Some(value) = headers.get("x-amz-website-redirect-location") else { return Ok(None) };
    let invalid = || S3Error::new(S3Code::InvalidRedirectLocation);
    let text = value.to_str().map_err(|_| invalid())?;
    let leads = ["/", "http://", "https://"].iter().any(|begin| text.starts_with(begin));
    if leads && text.len() <= REDIRECT_BYTES_MAX { Ok(Some(text.to_owned())) } else { Err(invalid()) }
}

pub(crate) fn check_storage_class(exchange: &Exchange<'_>) -> Result<(), S3Error> {
    match exchange.header("x-amz-storage-class") {
        None | Some("STANDARD") => Ok(()),
        Some(_) => Err(S3Error::new(S3Code::InvalidStorageClass)),
    }
}

//! GetObject and HeadObject: the hot path.

use std::sync::Arc;

use fallthrough_bucket::{
    Admission, Answer, Engine, Extras, ExtrasTooLong, GetRequest, Object, ObjectBody, ObjectInfo, abort_of,
    expiry_of,
};
use fallthrough_object::{ByteRange, Timestamp};
use fallthrough_wire::conditions::{Conditions, IfRange};
use fallthrough_wire::date::format_http;
use fallthrough_wire::digest::{checksum_header_name, format_checksum, write_checksum_headers};
use fallthrough_wire::headers::write_meta;
use fallthrough_wire::range;
use fallthrough_wire::uri::encode_query;
use fallthrough_wire::{S3Code, S3Error};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::address::Address;
use crate::blocks::BlockPool;
use crate::exchange::Exchange;
use crate::multipart::part_number;
use crate::object_attributes::part_checksum;
use crate::operation::Operation;
use crate::outgoing::Outgoing;
use crate::refusal::Refusal;
use crate::report::Reported;

/// Headers that a read may not carry, since ignoring them would answer something else than was asked.
const REFUSED_HEADERS: [&str; 3] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
];

const X_AMZ_TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// Query parameters with which a signed request replaces headers of the answer.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", CONTENT_TYPE),
    ("response-content-language", CONTENT_LANGUAGE),
    ("response-expires", EXPIRES),
    ("response-cache-control", CACHE_CONTROL),
    ("response-content-disposition", CONTENT_DISPOSITION),
    ("response-content-encoding", CONTENT_ENCODING),
];

/// Answers GET and HEAD of an object.
///
/// Dropping the future ends this read, not the fill that it may have joined.
pub(crate) async fn object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    blocks: &Arc<BlockPool>,
) -> Result<Reported, Refusal> {
    let headers = &exchange.parts.headers;
    exchange.check_version()?;
    exchange.refuse_headers(&REFUSED_HEADERS)?;
    let overrides = overrides(exchange)?;
    let part = part(exchange)?;
    let bucket = exchange.bucket()?;
    let request = GetRequest {
        key: exchange.key()?.clone(),
        head: exchange.operation == Operation::HeadObject,
        range: range::from_headers(headers),
        part,
        if_range: IfRange::from_headers(headers),
        conditions: Conditions::from_headers(headers),
        extras: extras(exchange, engine)?,
    };
    let read = async |admission: Admission<'_>| {
        engine.get_admitted(bucket, &exchange.caller, request, admission).await
    };
    let Answer { report, result } = exchange.admitted(read).await?;
    match result {
        Ok(object) => {
            let mut response = respond(exchange, object, blocks);
            for (name, value) in overrides {
                response.headers_mut().insert(name, value);
            }
            Ok(Reported { response, report: Some(report) })
        }
        Err(error) => {
            let (refusal, tells) = exchange.refusal(error);
            Err(if tells { refusal.with(report) } else { refusal })
        }
    }
}

/// What the rule of the key has passed on to its origin.
fn extras(exchange: &Exchange<'_>, engine: &Engine) -> Result<Extras, Refusal> {
    let header = |name: &str| {
        let lines = exchange.parts.headers.get_all(name).iter();
        // What is not text means nothing that could be passed on.
        let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    };
    let chosen = engine.extras(exchange.bucket()?, exchange.key()?, exchange.query.iter(), header);
    chosen.map_err(|ExtrasTooLong| {
        let message = "What is to be passed on to the origin of this request is too long.";
        Refusal::from(S3Error::with_message(S3Code::InvalidArgument, message))
    })
}

/// The part that is asked for instead of a range.
fn part(exchange: &Exchange<'_>) -> Result<Option<u32>, S3Error> {
    if !exchange.query.has("partNumber") {
        return Ok(None);
    }
    if exchange.parts.headers.contains_key(http::header::RANGE) {
        let message = "Cannot specify both Range header and partNumber query parameter";
        return Err(S3Error::with_message(S3Code::InvalidRequest, message));
    }
    part_number(exchange).map(Some)
}

fn overrides(exchange: &Exchange<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, S3Error> {
    let mut found = Vec::new();
    for (parameter, header) in OVERRIDES {
        let Some(text) = exchange.query.get(parameter) else { continue };
        if !exchange.sender.is_signed() {
            return Err(S3Error::with_message(
                S3Code::InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
            S3Error::with_message(S3Code::InvalidArgument, "The value cannot stand in a header.")
                .and("ArgumentName", parameter)
        })?;
        found.push((header, value));
    }
    Ok(found)
}

fn respond(exchange: &Exchange<'_>, object: Object, blocks: &Arc<BlockPool>) -> Response<Outgoing> {
    let Object { info, size_bytes, parts_count, is_kept, body } = object;
    let (status, range, body) = match body {
        ObjectBody::Whole(body) => (StatusCode::OK, None, Some(body)),
        ObjectBody::Range(range, body) => (StatusCode::PARTIAL_CONTENT, Some(range), Some(body)),
        ObjectBody::Head(Some(range)) => (StatusCode::PARTIAL_CONTENT, Some(range), None),
        ObjectBody::Head(None) => (StatusCode::OK, None, None),
        ObjectBody::NotModified => (StatusCode::NOT_MODIFIED, None, None),
    };
    let len = range.map(|range| range.len()).or(size_bytes);
    // No Content-Range can say that there are no bytes.
    let is_empty_part = range.is_some_and(|range| range.is_empty());
    let (status, shown) = if is_empty_part { (StatusCode::OK, None) } else { (status, range) };
    let outgoing = body.map_or_else(Outgoing::empty, |body| Outgoing::object(body, len, blocks));
    let mut response = Response::new(outgoing);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(24);
    describe(&info, headers);
    if status == StatusCode::NOT_MODIFIED {
        // RFC 9110 §15.4.5: what a cache needs, nothing about a body that is not there.
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION] {
            headers.remove(name);
        }
    } else {
        if let Some(len) = len {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        if is_kept {
            write_expiry(exchange, &info, headers);
        }
    }
    if let Some(range) = shown {
        insert(headers, CONTENT_RANGE, content_range(range, size_bytes));
    }
    // A 304 has no body that they could be of: clients that find one there compare it with nothing (boto3 fails).
    let shows_checksums = status != StatusCode::NOT_MODIFIED
        && exchange.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if let Some(parts_count) = parts_count.filter(|_| exchange.query.has("partNumber")) {
        headers.insert("x-amz-mp-parts-count", HeaderValue::from(parts_count));
        if shows_checksums {
            describe_part(exchange, &info, headers);
        }
    } else if range.is_none() && shows_checksums {
        write_checksum_headers(&info.checksums, headers);
    }
    response
}

/// The headers that belong to the object: the same for GET and HEAD.
fn describe(info: &ObjectInfo, headers: &mut HeaderMap) {
    // Values were checked where they came in; one that cannot be sent is left out, and seen in the log.
    if let Err(error) = write_meta(&info.meta, headers) {
        tracing::error!(%error, "a stored header cannot be sent");
    }
    if info.meta.content_type.is_none() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"));
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, LAST_MODIFIED, format_http(info.last_modified));
    if let Some(to) = &info.website_redirect {
        insert(headers, HeaderName::from_static("x-amz-website-redirect-location"), to.clone());
    }
    if let Some(etag) = &info.etag {
        insert(headers, ETAG, etag.to_string());
    }
    let tags = info.tags.len().max(info.tags_behind.unwrap_or(0) as usize);
    if tags > 0 {
        headers.insert(X_AMZ_TAGGING_COUNT, HeaderValue::from(tags));
    }
}

/// The checksum of the part that is read; its type is the object's, as S3 has it.
fn describe_part(exchange: &Exchange<'_>, info: &ObjectInfo, headers: &mut HeaderMap) {
    let number = part_number(exchange).unwrap_or(1);
    let Some(checksum) = part_checksum(info, number) else { return };
    let whole = info.checksums.iter().find(|whole| whole.algorithm == checksum.algorithm);
    let kind = whole.map_or(checksum.kind, |whole| whole.kind);
    insert(headers, checksum_header_name(checksum.algorithm), format_checksum(&checksum));
    headers.insert("x-amz-checksum-type", HeaderValue::from_static(kind.as_str()));
}

/// `x-amz-expiration`: when a lifecycle rule will delete the object, and which.
pub(crate) fn write_expiry(exchange: &Exchange<'_>, info: &ObjectInfo, headers: &mut HeaderMap) {
    let Some(bucket) = &exchange.bucket else { return };
    let Address::Object(_, key) = exchange.address else { return };
    if let Some(expiry) = expiry_of(&bucket.configuration.lifecycle, key.as_str(), info) {
        let (at, rule) = (format_http(expiry.at), encode_query(expiry.rule));
        let name = HeaderName::from_static("x-amz-expiration");
        insert(headers, name, format!("expiry-date=\"{at}\", rule-id=\"{rule}\""));
    }
}

/// `x-amz-abort-date` and `x-amz-abort-rule-id`: when a lifecycle rule will abort the upload, and which.
pub(crate) fn write_abort(exchange: &Exchange<'_>, initiated: Timestamp, headers: &mut HeaderMap) {
    let Some(bucket) = &exchange.bucket else { return };
    let Address::Object(_, key) = exchange.address else { return };
    if let Some(due) = abort_of(&bucket.configuration.lifecycle, key.as_str(), initiated) {
        insert(headers, HeaderName::from_static("x-amz-abort-date"), format_http(due.at));
        insert(headers, HeaderName::from_static("x-amz-abort-rule-id"), encode_query(due.rule));
    }
}

fn content_range(range: ByteRange, size_bytes: Option<u64>) -> String {
    match size_bytes {
        Some(size) => range::content_range(range, size),
        // RFC 9110 §14.4: the size of the whole is not known.
        None => format!("bytes {}-{}/*", range.start, range.end.saturating_sub(1)),
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(name, value);
    }
}

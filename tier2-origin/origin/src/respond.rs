//! From an answer to a response: validators, conditions, ranges, headers.

use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, ByteRange, ETag, RangeSpec};
use fallthrough_wire::conditions::{Conditions, IfRange, Verdict};
use fallthrough_wire::digest::{format_content_md5, write_checksum_headers};
use fallthrough_wire::headers::write_meta;
use fallthrough_wire::range::content_range;
use fallthrough_wire::{S3Code, date};
use futures::{FutureExt, StreamExt};
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use md5::{Digest, Md5};

use crate::answer::{Answer, AnswerBody};
use crate::fault::Fault;
use crate::sent::{SentBody, Watch};

/// From this size on, bytes are hashed on a blocking thread: MD5 takes about 1.5 ms a MiB.
const HASH_ELSEWHERE_BYTES: usize = 512 * 1024;

/// What of the request decides about the form of the answer.
pub(crate) struct Asked<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) range: Option<RangeSpec>,
    /// Whether the range was handed to the origin.
    pub(crate) range_passed: bool,
    pub(crate) is_head: bool,
    pub(crate) stall_after: Duration,
}

/// Gives bytes in memory their digests, if the origin has given neither.
pub(crate) async fn with_digests(mut answer: Answer) -> Result<Answer, Fault> {
    let AnswerBody::Whole(Body::Bytes(bytes), _) = &answer.body else { return Ok(answer) };
    if answer.etag.is_some() {
        return Ok(answer);
    }
    let digest: [u8; 16] = if bytes.len() < HASH_ELSEWHERE_BYTES {
        Md5::digest(bytes).into()
    } else {
        let bytes = Bytes::clone(bytes);
        tokio::task::spawn_blocking(move || Md5::digest(&bytes).into()).await.map_err(Fault::internal)?
    };
    answer.etag = Some(ETag::from_md5(digest));
    answer.content_md5.get_or_insert(digest);
    Ok(answer)
}

/// A stream that is promised to be empty is not polled once the length is known to be zero, so whether it
/// keeps its promise is looked at before.
pub(crate) async fn with_empty_streams_checked(
    mut answer: Answer,
    stall_after: Duration,
) -> Result<Answer, Fault> {
    let AnswerBody::Whole(Body::Stream(stream), Some(0)) = &mut answer.body else { return Ok(answer) };
    let fills = stream.by_ref().any(async |piece| piece.as_ref().map_or(true, |bytes| !bytes.is_empty()));
    match tokio::time::timeout(stall_after, std::panic::AssertUnwindSafe(fills).catch_unwind()).await {
        Ok(Ok(false)) => {
            answer.body = AnswerBody::Whole(Body::empty(), Some(0));
            Ok(answer)
        }
        Ok(Ok(true) | Err(_)) | Err(_) => {
            Err(Fault::internal("a stream that was to be empty is not, or broke off"))
        }
    }
}

/// The response to a GET or a HEAD that the origin has answered.
pub(crate) fn respond(answer: Answer, asked: &Asked<'_>, watch: Watch) -> Result<Response<SentBody>, Fault> {
    let mut headers = headers_of(&answer)?;
    let Answer { body, etag, last_modified, .. } = answer;
    let conditions = Conditions::from_headers(asked.headers);
    if matches!(body, AnswerBody::Unchanged) {
        return match conditions.evaluate(etag.as_ref(), None, true) {
            Verdict::NotModified => Ok(not_modified(headers)),
            Verdict::Proceed | Verdict::PreconditionFailed => Err(Fault::internal(
                "the origin answered `unchanged`, but not for the caller's If-None-Match",
            )),
        };
    }
    match conditions.evaluate(etag.as_ref(), last_modified, true) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(not_modified(headers)),
        Verdict::PreconditionFailed => return Err(Fault::new(S3Code::PreconditionFailed)),
    }
    let range_allowed = IfRange::from_headers(asked.headers)
        .is_none_or(|if_range| if_range.allows_range(etag.as_ref(), last_modified));
    let wanted = asked.range.filter(|_| range_allowed);
    let stall = asked.stall_after;
    let (status, len_bytes, sent) = match body {
        AnswerBody::Whole(Body::Bytes(bytes), Some(promised)) if bytes.len() as u64 != promised => {
            return Err(Fault::internal("the answer's length is not that of its bytes"));
        }
        AnswerBody::Whole(body, Some(size_bytes)) => match wanted {
            None => (StatusCode::OK, Some(size_bytes), SentBody::whole(body, Some(size_bytes), stall, watch)),
            Some(spec) => {
                let range = spec.resolve(size_bytes).map_err(|no| Fault::range(no.size_bytes))?;
                mark_part(&mut headers, range, size_bytes)?;
                let sent = SentBody::cut(body, range, size_bytes, stall, watch);
                (StatusCode::PARTIAL_CONTENT, Some(range.len()), sent)
            }
        },
        AnswerBody::Whole(body, None) => (StatusCode::OK, None, SentBody::whole(body, None, stall, watch)),
        AnswerBody::Part(body, range, size_bytes) => {
            let asked_for = wanted.filter(|_| asked.range_passed).map(|spec| spec.resolve(size_bytes));
            if asked_for != Some(Ok(range)) {
                return Err(Fault::internal("the origin answered with a part that was not asked for"));
            }
            mark_part(&mut headers, range, size_bytes)?;
            let sent = SentBody::whole(body, Some(range.len()), stall, watch);
            (StatusCode::PARTIAL_CONTENT, Some(range.len()), sent)
        }
        AnswerBody::Unchanged => return Err(Fault::internal("unchanged was answered above")),
    };
    if let Some(len_bytes) = len_bytes {
        headers.insert(CONTENT_LENGTH, len_bytes.into());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    let mut response = Response::new(if asked.is_head { SentBody::empty() } else { sent });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn mark_part(headers: &mut HeaderMap, range: ByteRange, size_bytes: u64) -> Result<(), Fault> {
    headers.insert(CONTENT_RANGE, value_of(content_range(range, size_bytes))?);
    // These are digests of the whole, and Content-MD5 would be read as that of the part.
    headers.remove(CONTENT_MD5);
    let checksums: Vec<_> =
        headers.keys().filter(|n| n.as_str().starts_with("x-amz-checksum-")).cloned().collect();
    for name in checksums {
        headers.remove(name);
    }
    Ok(())
}

fn not_modified(mut headers: HeaderMap) -> Response<SentBody> {
    // RFC 9110 §15.4.5: what a cache needs to know, and nothing about a body that is not there.
    for name in [&CONTENT_TYPE, &CONTENT_ENCODING, &CONTENT_LANGUAGE, &CONTENT_DISPOSITION, &CONTENT_MD5] {
        headers.remove(name);
    }
    let mut response = Response::new(SentBody::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    response
}

/// RFC 9110 no longer lists it, S3 still has it.
pub(crate) const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

fn headers_of(answer: &Answer) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    write_meta(&answer.meta, &mut headers).map_err(Fault::internal)?;
    if let Some(etag) = &answer.etag {
        headers.insert(ETAG, value_of(etag.to_string())?);
    }
    if let Some(at) = answer.last_modified {
        headers.insert(LAST_MODIFIED, value_of(date::format_http(at))?);
    }
    if let Some(md5) = &answer.content_md5 {
        headers.insert(CONTENT_MD5, value_of(format_content_md5(md5))?);
    }
    write_checksum_headers(&answer.checksums, &mut headers);
    Ok(headers)
}

fn value_of(text: String) -> Result<HeaderValue, Fault> {
    // As bytes: an ETag may hold any UTF-8 (RFC 9110 `obs-text`).
    HeaderValue::from_bytes(text.as_bytes()).map_err(Fault::internal)
}

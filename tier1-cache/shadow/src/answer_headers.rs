//! What the headers of an answer say about the object: metadata, freshness, promises about its bytes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fallthrough_object::{ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Meta, Timestamp};
use fallthrough_wire::date::parse_http;
use fallthrough_wire::digest::parse_checksum;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderName};

use crate::outcome::{Dialect, Expected, Freshness};

/// Header text that is kept with an object, all of it: S3 allows 2 KiB of user metadata, others up to 8 KiB.
const KEPT_AT_MOST_BYTES: usize = 16 << 10;

/// An origin cannot silence itself for longer than this by one header.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A year, the longest freshness that RFC 9111's predecessors recommend; longer ones are cut to it.
const FRESH_FOR_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why an answer cannot be passed on, in words.
pub(crate) type Refusal = String;

/// The content headers and user metadata.
///
/// # Errors
/// A value that is not text without control characters, two different values where one is allowed, or more
/// text than an entry may hold.
pub(crate) fn meta(headers: &HeaderMap) -> Result<Meta, Refusal> {
    let encoding = joined(headers, &CONTENT_ENCODING)?.and_then(|all| {
        let kept: Vec<_> =
            all.split(',').map(str::trim).filter(|c| !c.eq_ignore_ascii_case("aws-chunked")).collect();
        (!kept.concat().is_empty()).then(|| kept.join(", "))
    });
    let meta = Meta {
        content_type: single(headers, &CONTENT_TYPE)?,
        cache_control: joined(headers, &CACHE_CONTROL)?,
        content_disposition: single(headers, &CONTENT_DISPOSITION)?,
        content_encoding: encoding,
        content_language: joined(headers, &CONTENT_LANGUAGE)?,
        expires: single(headers, &EXPIRES)?,
        user: user_meta(headers)?,
    };
    let content = [
        &meta.content_type,
        &meta.cache_control,
        &meta.content_disposition,
        &meta.content_encoding,
        &meta.content_language,
        &meta.expires,
    ];
    let bytes = content.iter().filter_map(|v| v.as_ref()).map(String::len).sum::<usize>() + meta.user_bytes();
    if bytes > KEPT_AT_MOST_BYTES {
        return Err(format!("its headers hold {bytes} bytes, more than {KEPT_AT_MOST_BYTES}"));
    }
    Ok(meta)
}

fn user_meta(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut user = Vec::new();
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix("x-amz-meta-").filter(|short| !short.is_empty()) else {
            continue;
        };
        if let Some(value) = joined_with(headers, name, ",")? {
            user.push((short.to_owned(), value));
        }
    }
    user.sort();
    Ok(user)
}

fn text(name: &HeaderName, value: &http::HeaderValue) -> Result<String, Refusal> {
    let clean = std::str::from_utf8(value.as_bytes()).ok().filter(|text| !text.chars().any(char::is_control));
    clean.map(str::to_owned).ok_or_else(|| format!("the value of its header {name} is not plain text"))
}

/// The value of a header that means nothing when given twice with different values.
fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(format!("its header {name} is given twice with different values"));
    }
    text(name, first).map(Some)
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    joined_with(headers, name, ", ")
}

fn joined_with(headers: &HeaderMap, name: &HeaderName, between: &str) -> Result<Option<String>, Refusal> {
    let values: Vec<_> = headers.get_all(name).iter().map(|v| text(name, v)).collect::<Result<_, _>>()?;
    Ok((!values.is_empty()).then(|| values.join(between)))
}

/// A header's first value, where anything that is not ASCII text counts as absent.
fn lenient<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim)
}

/// The ETag; one that cannot be parsed counts as absent, since nothing depends on having it.
pub(crate) fn etag(headers: &HeaderMap) -> Option<ETag> {
    ETag::parse(lenient(headers, &ETAG)?).ok()
}

/// Last-Modified; a date that cannot be parsed counts as absent.
pub(crate) fn last_modified(headers: &HeaderMap) -> Option<Timestamp> {
    parse_http(lenient(headers, &LAST_MODIFIED)?)
}

/// Content-Length.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    number(lenient(headers, &CONTENT_LENGTH)?)
}

/// `x-amz-mp-parts-count`: how many parts an object was uploaded in.
pub(crate) fn parts_count(headers: &HeaderMap) -> Option<u32> {
    let name = HeaderName::from_static("x-amz-mp-parts-count");
    lenient(headers, &name).and_then(number).and_then(|count| count.try_into().ok())
}

/// `x-amz-tagging-count`: how many tags an object has, if it has any.
pub(crate) fn tags_count(headers: &HeaderMap) -> Option<u32> {
    let count = lenient(headers, &HeaderName::from_static("x-amz-tagging-count")).and_then(number)?;
    u32::try_from(count).ok().filter(|count| *count > 0)
}

/// Decimal digits alone: `str::parse` would take a sign, which HTTP's numbers never have.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|c| c.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What a Content-Range says (RFC 9110 §14.4).
pub(crate) struct ContentRange {
    /// The part; `None` where it is unsatisfied (`bytes */size`).
    pub(crate) range: Option<ByteRange>,
    /// Size of the whole; `None` for `*`.
    pub(crate) size_bytes: Option<u64>,
}

/// Content-Range, if it is one of bytes and makes sense.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let (range, size) = lenient(headers, &CONTENT_RANGE)?.strip_prefix("bytes ")?.trim().split_once('/')?;
    let size_bytes = if size == "*" { None } else { Some(number(size)?) };
    if range == "*" {
        return Some(ContentRange { range: None, size_bytes });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let end = last.checked_add(1)?;
    let fits = first < end && size_bytes.is_none_or(|size| end <= size);
    fits.then_some(ContentRange { range: Some(ByteRange { start: first, end }), size_bytes })
}

/// Retry-After as a duration from `now`, at most an hour.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = lenient(headers, &RETRY_AFTER)?;
    let wait = match value.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        // A number too long for 64 bits is still a number: very long.
        Err(_) if !value.is_empty() && value.bytes().all(|c| c.is_ascii_digit()) => RETRY_AFTER_MAX,
        Err(_) => parse_http(value)?.since(now),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Freshness by RFC 9111 §4.2, §5.2, §5.3 and RFC 5861, as a shared cache reads it.
pub(crate) fn freshness(headers: &HeaderMap, now: Timestamp) -> Freshness {
    let control = Directives::of(headers);
    let age =
        lenient(headers, &AGE).and_then(|age| age.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    let lifetime = control.seconds("s-maxage").or_else(|| control.seconds("max-age")).or_else(|| {
        let expires = lenient(headers, &EXPIRES)?;
        // A date that cannot be parsed, such as `0`, means: expired already (RFC 9111 §5.3).
        let Some(expires) = parse_http(expires) else { return Some(Duration::ZERO) };
        let base = lenient(headers, &DATE).and_then(parse_http).unwrap_or(now);
        Some(expires.since(base))
    });
    let fresh_for = if control.has("no-cache") {
        Some(Duration::ZERO)
    } else if lifetime.is_none() && control.has("immutable") {
        Some(FRESH_FOR_MAX)
    } else {
        lifetime.map(|lifetime| lifetime.saturating_sub(age).min(FRESH_FOR_MAX))
    };
    Freshness {
        fresh_for,
        stale_while_revalidate: control.seconds("stale-while-revalidate"),
        stale_if_error: control.seconds("stale-if-error"),
        do_not_keep: control.has("no-store") || control.has("private") || varies(headers),
    }
}

/// Whether the answer depends on what a client sends.
///
/// Every request of ours asks for the identity encoding and comes from no web origin, whoever the client is:
/// Vary on these headers alone, which some S3 providers send with every object, means nothing here.
fn varies(headers: &HeaderMap) -> bool {
    const CONSTANT: [&str; 4] =
        ["accept-encoding", "origin", "access-control-request-headers", "access-control-request-method"];
    headers.get_all(VARY).iter().any(|value| match value.to_str() {
        Err(_) => true,
        Ok(names) => names
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .any(|name| !name.is_empty() && !CONSTANT.contains(&name.as_str())),
    })
}

/// The directives of Cache-Control: lower-case names with their values.
struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    fn of(headers: &HeaderMap) -> Self {
        let mut all = Vec::new();
        for value in headers.get_all(CACHE_CONTROL) {
            let Ok(value) = value.to_str() else { continue };
            for directive in value.split(',') {
                let (name, value) = match directive.split_once('=') {
                    Some((name, value)) => (name, Some(value.trim().trim_matches('"').to_owned())),
                    None => (directive, None),
                };
                all.push((name.trim().to_ascii_lowercase(), value));
            }
        }
        Self(all)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// The smallest number given for a directive; one that cannot be parsed counts as zero: stale at once.
    fn seconds(&self, name: &str) -> Option<Duration> {
        let given = self.0.iter().filter(|(n, _)| n == name);
        let secs = given.map(|(_, value)| {
            let digits = value.as_deref().unwrap_or("");
            match digits.parse::<u64>() {
                Ok(secs) => Duration::from_secs(secs).min(FRESH_FOR_MAX),
                Err(_) if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => FRESH_FOR_MAX,
                Err(_) => Duration::ZERO,
            }
        });
        secs.min()
    }
}

/// What the body of a 200 is promised to be.
///
/// # Errors
/// A digest that is not one, or two that contradict each other: the body could never be verified.
pub(crate) fn expected(headers: &HeaderMap, dialect: Dialect) -> Result<Expected, Refusal> {
    let mut md5 = None;
    if let Some(value) = single(headers, &HeaderName::from_static("content-md5"))? {
        md5 = Some(digest(&value).ok_or("its Content-MD5 is not 16 bytes of base64")?);
    }
    let mut checksums = s3_checksums(headers)?;
    for (algorithm, value) in repr_digests(headers) {
        match algorithm {
            ReprDigest::Md5 => {
                let value =
                    <[u8; 16]>::try_from(value.as_slice()).map_err(|_| "its Repr-Digest is no MD5")?;
                if *md5.get_or_insert(value) != value {
                    return Err("its Content-MD5 and Repr-Digest contradict each other".into());
                }
            }
            ReprDigest::Checksum(algorithm) => {
                let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value };
                let known = checksums.iter().find(|c| (c.algorithm, c.kind) == (algorithm, checksum.kind));
                match known {
                    Some(known) if known.value != checksum.value => {
                        return Err("its x-amz-checksum and Repr-Digest contradict each other".into());
                    }
                    Some(_) => {}
                    None => checksums.push(checksum),
                }
            }
        }
    }
    let etag_md5 = match dialect {
        Dialect::S3 { .. } if !encrypted_etag(headers) => etag(headers).and_then(|tag| tag.as_md5()),
        Dialect::S3 { .. } | Dialect::Http { .. } => None,
    };
    Ok(Expected { length_bytes: content_length(headers), md5, etag_md5, checksums })
}

/// With SSE-KMS and SSE-C the ETag has the shape of an MD5 and is none
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
fn encrypted_etag(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
        || headers.contains_key("x-amz-server-side-encryption-aws-kms-key-id")
        || headers.get("x-amz-server-side-encryption").is_some_and(|v| v.as_bytes().starts_with(b"aws:kms"))
}

fn digest(value: &str) -> Option<[u8; 16]> {
    BASE64.decode(value.trim()).ok()?.try_into().ok()
}

fn s3_checksums(headers: &HeaderMap) -> Result<Vec<Checksum>, Refusal> {
    let composite = lenient(headers, &HeaderName::from_static("x-amz-checksum-type"))
        .is_some_and(|kind| kind.eq_ignore_ascii_case("COMPOSITE"));
    let mut checksums = Vec::new();
    for algorithm in ChecksumAlgorithm::ALL {
        let name = format!("x-amz-checksum-{}", algorithm.header_suffix());
        let name = HeaderName::try_from(name).expect("the names of checksum algorithms fit a header name");
        let Some(raw) = single(headers, &name)? else { continue };
        let checksum = parse_checksum(algorithm, &raw).ok_or_else(|| format!("its {name} is no checksum"))?;
        match checksum.kind {
            // Over parts whose number is unknown: neither to verify nor to keep.
            ChecksumKind::FullObject if composite => {}
            ChecksumKind::FullObject | ChecksumKind::Composite { .. } => checksums.push(checksum),
        }
    }
    Ok(checksums)
}

enum ReprDigest {
    Md5,
    Checksum(ChecksumAlgorithm),
}

/// The digests of Repr-Digest (RFC 9530) that can be verified here; what is malformed is ignored, as the RFC
/// lets a recipient do.
fn repr_digests(headers: &HeaderMap) -> Vec<(ReprDigest, Vec<u8>)> {
    let values = headers.get_all("repr-digest").iter().filter_map(|v| v.to_str().ok());
    let members = values.flat_map(|v| v.split(','));
    let digests = members.filter_map(|member| {
        let (name, value) = member.trim().split_once('=')?;
        let value = BASE64.decode(value.trim().strip_prefix(':')?.strip_suffix(':')?).ok()?;
        let (digest, len) = match name.trim().to_ascii_lowercase().as_str() {
            "sha-256" => (ReprDigest::Checksum(ChecksumAlgorithm::Sha256), 32),
            "sha" => (ReprDigest::Checksum(ChecksumAlgorithm::Sha1), 20),
            "crc32c" => (ReprDigest::Checksum(ChecksumAlgorithm::Crc32c), 4),
            "md5" => (ReprDigest::Md5, 16),
            _ => return None,
        };
        (value.len() == len).then_some((digest, value))
    });
    digests.collect()
}

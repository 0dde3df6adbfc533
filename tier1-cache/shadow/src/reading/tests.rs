//! The contract's table, row by row.

use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{BodyError, ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, Timestamp};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const S3: Dialect = Dialect::S3 { absent_on_403: false };
const HTTP: Dialect = Dialect::Http { absent_on_403: false };
const PLAIN: Asked = Asked { range: false, part: false, tagging: false, conditional: false, head: false };
const RANGE: Asked = Asked { range: true, ..PLAIN };
const CONDITION: Asked = Asked { conditional: true, ..PLAIN };
const HEAD: Asked = Asked { head: true, ..PLAIN };
/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Timestamp = Timestamp(784_111_777_000);

type Headers<'a> = &'a [(&'a str, &'a str)];

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> RawAnswer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let body = Bytes::from(body.to_owned());
    RawAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: Box::pin(futures::stream::iter([Ok(body)])),
    }
}

async fn of(status: u16, headers: &[(&str, &str)], asked: Asked, dialect: Dialect) -> Outcome {
    Outcome::of(answer(status, headers, ""), asked, dialect, NOW).await
}

async fn found(headers: &[(&str, &str)], dialect: Dialect) -> Found {
    match of(200, headers, PLAIN, dialect).await {
        Outcome::Found(found) => *found,
        other => panic!("{headers:?}: {other:?}"),
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Found(_) => "found",
        Outcome::NotModified { .. } => "not-modified",
        Outcome::Absent { .. } => "absent",
        Outcome::AbsentUnproven { .. } => "absent-unproven",
        Outcome::Invalid => "invalid",
        Outcome::Changed => "changed",
        Outcome::RangeNotSatisfiable { .. } => "range",
        Outcome::Busy { .. } => "busy",
        Outcome::Failing { .. } => "failing",
        Outcome::Misconfigured { .. } => "misconfigured",
        Outcome::Archived => "archived",
        Outcome::Unacceptable { .. } => "unacceptable",
        Outcome::NotOffered => "not-offered",
    }
}

#[tokio::test]
async fn every_status_has_its_meaning_in_both_dialects() {
    // Status, what was asked, meaning from an S3 provider, meaning from an HTTP server.
    let rows = [
        (200, PLAIN, "found", "found"),
        (200, RANGE, "found", "found"),
        (200, HEAD, "found", "found"),
        (201, PLAIN, "unacceptable", "unacceptable"),
        (204, PLAIN, "unacceptable", "unacceptable"),
        (206, PLAIN, "unacceptable", "unacceptable"),
        (206, RANGE, "unacceptable", "unacceptable"), // without Content-Range
        (300, PLAIN, "unacceptable", "unacceptable"),
        (301, PLAIN, "misconfigured", "misconfigured"),
        (302, PLAIN, "misconfigured", "misconfigured"),
        (303, PLAIN, "misconfigured", "misconfigured"),
        (304, CONDITION, "not-modified", "not-modified"),
        (304, PLAIN, "unacceptable", "unacceptable"),
        (307, PLAIN, "misconfigured", "misconfigured"),
        (308, PLAIN, "misconfigured", "misconfigured"),
        (400, PLAIN, "misconfigured", "invalid"),
        (401, PLAIN, "misconfigured", "misconfigured"),
        (402, PLAIN, "unacceptable", "unacceptable"),
        (403, PLAIN, "misconfigured", "misconfigured"),
        (404, PLAIN, "absent", "absent"),
        (404, HEAD, "absent-unproven", "absent"),
        (405, HEAD, "not-offered", "not-offered"),
        (407, PLAIN, "misconfigured", "misconfigured"),
        (408, PLAIN, "failing", "failing"),
        (409, PLAIN, "failing", "unacceptable"),
        (410, PLAIN, "absent", "absent"),
        (412, CONDITION, "changed", "changed"),
        (412, PLAIN, "unacceptable", "unacceptable"),
        (416, RANGE, "range", "range"),
        (416, PLAIN, "unacceptable", "unacceptable"),
        (418, PLAIN, "unacceptable", "unacceptable"),
        (422, PLAIN, "unacceptable", "invalid"),
        (429, PLAIN, "busy", "busy"),
        (500, PLAIN, "failing", "failing"),
        (501, HEAD, "not-offered", "not-offered"),
        (502, PLAIN, "failing", "failing"),
        (503, PLAIN, "busy", "busy"),
        (504, PLAIN, "failing", "failing"),
        (599, PLAIN, "failing", "failing"),
    ];
    for (status, asked, s3, http) in rows {
        assert_eq!(word(&of(status, &[], asked, S3).await), s3, "{status} from S3, {asked:?}");
        assert_eq!(word(&of(status, &[], asked, HTTP).await), http, "{status} from HTTP, {asked:?}");
    }
}

#[tokio::test]
async fn an_s3_code_says_more_than_its_status() {
    let hides = Dialect::S3 { absent_on_403: true };
    // Status, code, dialect, meaning, a word that the mend must contain.
    let rows = [
        (404, "NoSuchKey", S3, "absent", ""),
        (404, "NoSuchBucket", S3, "misconfigured", "no bucket of that name"),
        (404, "NoSuchBucket", hides, "misconfigured", "no bucket of that name"),
        (403, "AccessDenied", S3, "misconfigured", "treat-403-as"),
        (403, "AccessDenied", hides, "absent", ""),
        (403, "SignatureDoesNotMatch", S3, "misconfigured", "secret key"),
        (403, "SignatureDoesNotMatch", hides, "misconfigured", "secret key"),
        (403, "InvalidAccessKeyId", hides, "misconfigured", "access key"),
        (403, "RequestTimeTooSkewed", hides, "misconfigured", "clock"),
        (403, "InvalidObjectState", S3, "archived", ""),
        (403, "InvalidObjectState", hides, "archived", ""),
        (403, "AllAccessDisabled", S3, "misconfigured", "ask the provider"),
        (400, "ExpiredToken", S3, "misconfigured", "session token"),
        (400, "AuthorizationHeaderMalformed", S3, "misconfigured", "region"),
        (400, "InvalidArgument", S3, "misconfigured", "InvalidArgument"),
        (400, "RequestTimeout", S3, "failing", ""),
        (400, "SlowDown", S3, "busy", ""),
        (301, "PermanentRedirect", S3, "misconfigured", "region"),
        (307, "TemporaryRedirect", S3, "misconfigured", "region"),
        // Elsewhere such a document is just a body.
        (404, "NoSuchBucket", HTTP, "absent", ""),
        (403, "InvalidObjectState", HTTP, "misconfigured", ""),
    ];
    for (status, code, dialect, meaning, must_say) in rows {
        let body = format!("<Error><Code>{code}</Code></Error>");
        let outcome = Outcome::of(answer(status, &[], &body), PLAIN, dialect, NOW).await;
        assert_eq!(word(&outcome), meaning, "{status} {code} {dialect:?}");
        if let Outcome::Misconfigured { mend } = outcome {
            assert!(mend.contains(must_say), "{status} {code}: {mend}");
        }
    }
}

#[tokio::test]
async fn the_right_region_is_named_in_the_mend() {
    let mend = |outcome| match outcome {
        Outcome::Misconfigured { mend } => mend,
        other => panic!("{other:?}"),
    };
    for status in [301, 307, 400] {
        let header = of(status, &[("x-amz-bucket-region", "eu-west-3")], HEAD, S3).await;
        assert!(mend(header).contains("set the shadow's region to \"eu-west-3\""), "{status}");
    }
    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-1</Region></Error>";
    assert!(mend(Outcome::of(answer(400, &[], body), PLAIN, S3, NOW).await).contains("\"ap-1\""));
    let hostile = of(301, &[("x-amz-bucket-region", "http://169.254.169.254/")], PLAIN, S3).await;
    assert!(!mend(hostile).contains("169"));
}

#[tokio::test]
async fn a_403_hides_absence_only_where_the_settings_say_so() {
    let hides = Dialect::Http { absent_on_403: true };
    assert_eq!(word(&of(403, &[], PLAIN, hides).await), "absent");
    assert_eq!(word(&of(401, &[], PLAIN, hides).await), "misconfigured");
    let by_header = of(404, &[("x-minio-error-code", "NoSuchBucket")], HEAD, S3).await;
    assert_eq!(word(&by_header), "misconfigured");
}

/// An answer to HEAD has no body that could name what is missing.
#[tokio::test]
async fn a_providers_404_to_head_proves_nothing_by_itself() {
    let hides = Dialect::S3 { absent_on_403: true };
    for (status, headers, dialect, want) in [
        (404, &[][..], S3, "absent-unproven"),
        (403, &[], hides, "absent-unproven"),
        (404, &[("x-amz-error-code", "NoSuchKey")], S3, "absent"),
        (404, &[("x-amz-error-code", "NoSuchBucket")], S3, "misconfigured"),
        (403, &[], S3, "misconfigured"),
        (404, &[], HTTP, "absent"),
    ] {
        assert_eq!(word(&of(status, headers, HEAD, dialect).await), want, "{status} {headers:?} {dialect:?}");
    }
    assert_eq!(word(&of(404, &[], PLAIN, S3).await), "absent");
}

#[tokio::test]
async fn an_error_body_that_breaks_has_not_said_that_the_key_is_absent() {
    let hides = Dialect::S3 { absent_on_403: true };
    for status in [404, 403] {
        let mut broken = answer(status, &[], "");
        let pieces = [Ok(Bytes::from_static(b"<Error>")), Err(BodyError::Incomplete)];
        broken.body = Box::pin(futures::stream::iter(pieces));
        assert_eq!(word(&Outcome::of(broken, PLAIN, hides, NOW).await), "failing", "{status}");
    }
}

#[tokio::test]
async fn absence_is_believed_for_as_long_as_the_origin_says() {
    let ttl = |outcome| match outcome {
        Outcome::Absent { ttl } => ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(ttl(of(404, &[], PLAIN, HTTP).await), None);
    assert_eq!(
        ttl(of(404, &[("cache-control", "max-age=7")], PLAIN, S3).await),
        Some(Duration::from_secs(7))
    );
    assert_eq!(ttl(of(410, &[("cache-control", "no-store")], PLAIN, HTTP).await), Some(Duration::ZERO));
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_and_as_a_date() {
    let rows = [
        (None, None),
        (Some("12"), Some(12)),
        (Some(" 0 "), Some(0)),
        (Some("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60)),
        (Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
        (Some("99999999"), Some(3600)),
        (Some("99999999999999999999999999"), Some(3600)),
        (Some("soon"), None),
        (Some("-1"), None),
        (Some(""), None),
    ];
    for (value, want) in rows {
        let headers: Vec<_> = value.iter().map(|v| ("retry-after", *v)).collect();
        for status in [429, 503] {
            match of(status, &headers, PLAIN, HTTP).await {
                Outcome::Busy { retry_after } => {
                    assert_eq!(retry_after, want.map(Duration::from_secs), "{value:?}")
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn freshness_is_read_as_a_shared_cache_reads_it() {
    let secs = Duration::from_secs;
    let year = secs(365 * 24 * 3600);
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    // Headers, fresh for, do not keep.
    let rows: [(Headers<'_>, Option<Duration>, bool); 25] = [
        (&[], None, false),
        (&[("cache-control", "max-age=60")], Some(secs(60)), false),
        (&[("cache-control", "Max-Age=\"60\"")], Some(secs(60)), false),
        (&[("cache-control", "max-age=60, s-maxage=5")], Some(secs(5)), false),
        (&[("cache-control", "max-age=60"), ("cache-control", "s-maxage=7")], Some(secs(7)), false),
        (&[("cache-control", "max-age=60"), ("age", "20")], Some(secs(40)), false),
        (&[("cache-control", "max-age=60"), ("age", "90")], Some(secs(0)), false),
        (&[("cache-control", "max-age=60, max-age=5")], Some(secs(5)), false),
        (&[("cache-control", "max-age=x")], Some(secs(0)), false),
        (&[("cache-control", "max-age=99999999999999999999")], Some(year), false),
        (&[("cache-control", "max-age: 60")], None, false),
        (&[("cache-control", "no-cache, max-age=60")], Some(secs(0)), false),
        (&[("cache-control", "immutable")], Some(year), false),
        (&[("cache-control", "immutable, max-age=60")], Some(secs(60)), false),
        (&[("cache-control", "no-store")], None, true),
        (&[("cache-control", "private, max-age=60")], Some(secs(60)), true),
        (&[date, ("expires", "Sun, 06 Nov 1994 08:50:07 GMT")], Some(secs(30)), false),
        (&[("expires", "Sun, 06 Nov 1994 08:49:47 GMT")], Some(secs(10)), false),
        (&[date, ("expires", "0")], Some(secs(0)), false),
        (
            &[date, ("expires", "Sun, 06 Nov 1994 08:50:07 GMT"), ("cache-control", "max-age=1")],
            Some(secs(1)),
            false,
        ),
        (&[("vary", "accept-language")], None, true),
        (&[("vary", "*")], None, true),
        (&[("vary", "Origin, Cookie")], None, true),
        (&[("vary", "Origin"), ("vary", "Accept-Encoding")], None, false),
        (&[("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")], None, false),
    ];
    for (headers, fresh_for, do_not_keep) in rows {
        let freshness = found(headers, HTTP).await.freshness;
        assert_eq!((freshness.fresh_for, freshness.do_not_keep), (fresh_for, do_not_keep), "{headers:?}");
    }
    let stale =
        found(&[("cache-control", "stale-while-revalidate=3, stale-if-error=4")], HTTP).await.freshness;
    assert_eq!((stale.stale_while_revalidate, stale.stale_if_error), (Some(secs(3)), Some(secs(4))));
}

#[tokio::test]
async fn an_objects_headers_are_kept_and_the_connections_are_not() {
    let found = found(
        &[
            ("content-type", "image/png"),
            ("content-length", "5"),
            ("etag", "W/\"w\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("cache-control", "max-age=5"),
            ("cache-control", "public"),
            ("expires", "0"),
            ("content-disposition", "attachment; filename=\"ä.png\""),
            ("content-encoding", "aws-chunked,gzip"),
            ("content-language", "de, en"),
            ("x-amz-meta-b", "2"),
            ("x-amz-meta-a", "1"),
            ("x-amz-meta-a", "1b"),
            ("x-amz-meta-empty", ""),
            ("set-cookie", "secret=1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-amz-storage-class", "GLACIER"),
        ],
        S3,
    )
    .await;
    let etag = found.etag.unwrap();
    assert!(etag.is_weak() && etag.value() == "w");
    assert_eq!((found.last_modified, found.size_bytes, found.range), (Some(NOW), Some(5), None));
    assert_eq!(
        found.meta,
        fallthrough_object::Meta {
            content_type: Some("image/png".into()),
            cache_control: Some("max-age=5, public".into()),
            content_disposition: Some("attachment; filename=\"ä.png\"".into()),
            content_encoding: Some("gzip".into()),
            content_language: Some("de, en".into()),
            expires: Some("0".into()),
            user: vec![
                ("a".into(), "1,1b".into()),
                ("b".into(), "2".into()),
                ("empty".into(), String::new())
            ],
        }
    );
}

#[tokio::test]
async fn a_missing_content_type_is_s3s_default_or_https() {
    assert_eq!(found(&[], S3).await.meta.content_type, None);
    assert_eq!(found(&[], HTTP).await.meta.content_type.as_deref(), Some("application/octet-stream"));
}

#[tokio::test]
async fn headers_that_cannot_be_passed_on_safely_are_refused() {
    let long = "x".repeat(17_000);
    let rows: [Headers<'_>; 12] = [
        &[("x-amz-meta-a", "tab\there")],
        &[("content-type", "a/b"), ("content-type", "c/d")],
        &[("x-amz-meta-a", "\u{85}")],
        &[("x-amz-meta-a", &long)],
        &[("content-md5", "5d41402abc4b2a76b9719d911017c592")],
        &[("content-md5", "AAAA")],
        &[("x-amz-checksum-crc32", "AAAA")],
        &[("x-amz-checksum-crc32", "AAAAAA==-x")],
        &[("x-amz-checksum-crc32", "AAAAAA==-0")],
        &[("x-amz-checksum-crc32", "AAAAAA==-+3")],
        &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), ("repr-digest", "md5=:XUFAKrxLKna5cZ2REBfFkg==:")],
        &[
            ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
            ("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
        ],
    ];
    for headers in rows {
        assert_eq!(word(&of(200, headers, PLAIN, S3).await), "unacceptable", "{:?}", headers[0].0);
    }
    // Bytes that are no UTF-8, which a `&str` cannot spell.
    let mut raw = answer(200, &[], "");
    raw.headers.insert("x-amz-meta-a", HeaderValue::from_bytes(b"\xe4").unwrap());
    assert_eq!(word(&Outcome::of(raw, PLAIN, HTTP, NOW).await), "unacceptable");
}

#[tokio::test]
async fn digests_are_collected_from_every_header_that_offers_one() {
    const HELLO: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    let md5 = *b"\x5d\x41\x40\x2a\xbc\x4b\x2a\x76\xb9\x71\x9d\x91\x10\x17\xc5\x92";
    assert_eq!(found(&[("content-md5", HELLO)], HTTP).await.expected.md5, Some(md5));
    let repr = format!("md5=:{HELLO}:, sha-512=:AAAA:, sha-256=:bad, crc32c=:AAAAAQ==:");
    let expected = found(&[("repr-digest", &repr)], HTTP).await.expected;
    let crc32c = |value: &[u8]| Checksum {
        algorithm: ChecksumAlgorithm::Crc32c,
        kind: ChecksumKind::FullObject,
        value: value.to_vec(),
    };
    assert_eq!((expected.md5, expected.checksums), (Some(md5), vec![crc32c(&[0, 0, 0, 1])]));
    let expected =
        found(&[("x-amz-checksum-crc32c", "AAAAAg=="), ("x-amz-checksum-type", "FULL_OBJECT")], S3).await;
    assert_eq!(expected.expected.checksums, [crc32c(&[0, 0, 0, 2])]);
    let composite =
        found(&[("x-amz-checksum-crc32c", "AAAAAg==-3"), ("x-amz-checksum-type", "COMPOSITE")], S3).await;
    assert_eq!(composite.expected.checksums[0].kind, ChecksumKind::Composite { parts: 3 });
    let unknown =
        found(&[("x-amz-checksum-crc32c", "AAAAAg=="), ("x-amz-checksum-type", "COMPOSITE")], S3).await;
    assert_eq!(unknown.expected.checksums, []);
}

#[tokio::test]
async fn an_etag_is_an_md5_only_where_nothing_speaks_against_it() {
    let etag = ("etag", "\"5d41402abc4b2a76b9719d911017c592\"");
    let rows: [(Headers<'_>, Dialect, bool); 9] = [
        (&[etag], S3, true),
        (&[etag, ("x-amz-server-side-encryption", "AES256")], S3, true),
        (&[etag], HTTP, false),
        (&[("etag", "\"5d41402abc4b2a76b9719d911017c592-2\"")], S3, false),
        (&[("etag", "W/\"5d41402abc4b2a76b9719d911017c592\"")], S3, false),
        (&[etag, ("x-amz-server-side-encryption", "aws:kms")], S3, false),
        (&[etag, ("x-amz-server-side-encryption", "aws:kms:dsse")], S3, false),
        (&[etag, ("x-amz-server-side-encryption-customer-algorithm", "AES256")], S3, false),
        (&[etag, ("x-amz-server-side-encryption-aws-kms-key-id", "k")], S3, false),
    ];
    for (headers, dialect, is_md5) in rows {
        assert_eq!(
            found(headers, dialect).await.expected.etag_md5.is_some(),
            is_md5,
            "{headers:?} {dialect:?}"
        );
    }
}

#[tokio::test]
async fn a_part_carries_its_range_and_promises_only_its_length() {
    let md5 = ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==");
    let outcome =
        of(206, &[("content-range", "bytes 2-4/10"), ("content-length", "3"), md5], RANGE, S3).await;
    let Outcome::Found(found) = outcome else { panic!("{outcome:?}") };
    assert_eq!((found.range, found.size_bytes), (Some(ByteRange { start: 2, end: 5 }), Some(10)));
    assert_eq!(found.expected, Expected { length_bytes: Some(3), ..Expected::default() });
    let outcome = of(206, &[("content-range", "bytes 2-4/*")], RANGE, HTTP).await;
    let Outcome::Found(found) = outcome else { panic!("{outcome:?}") };
    assert_eq!((found.size_bytes, found.expected.length_bytes), (None, Some(3)));
    for bad in [
        "bytes 4-2/10",
        "bytes 2-10/10",
        "items 2-4/10",
        "bytes */10",
        "bytes 2-18446744073709551615/*",
        "bytes +2-4/10",
        "bytes 2-4/+10",
        "x",
    ] {
        assert_eq!(word(&of(206, &[("content-range", bad)], RANGE, S3).await), "unacceptable", "{bad}");
    }
    let lie = of(206, &[("content-range", "bytes 2-4/10"), ("content-length", "4")], RANGE, S3).await;
    assert_eq!(word(&lie), "unacceptable");
    match of(416, &[("content-range", "bytes */10")], RANGE, S3).await {
        Outcome::RangeNotSatisfiable { size_bytes } => assert_eq!(size_bytes, Some(10)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_head_tells_the_size_and_has_no_body() {
    let outcome = Outcome::of(answer(200, &[("content-length", "7")], "ignored"), HEAD, S3, NOW).await;
    let Outcome::Found(found) = outcome else { panic!("{outcome:?}") };
    assert_eq!((found.size_bytes, found.expected.length_bytes), (Some(7), None));
    assert!(matches!(found.body, Body::Bytes(ref bytes) if bytes.is_empty()));
    // No number of HTTP's has a sign.
    assert_eq!(self::found(&[("content-length", "+7")], S3).await.size_bytes, None);
}

#[tokio::test]
async fn a_body_is_passed_on_as_it_is() {
    let outcome = Outcome::of(answer(200, &[], "hello"), PLAIN, HTTP, NOW).await;
    let Outcome::Found(found) = outcome else { panic!("{outcome:?}") };
    let Body::Stream(mut body) = found.body else { panic!("a stream") };
    assert_eq!(body.next().await.unwrap().unwrap(), "hello");
    assert!(body.next().await.is_none());
}

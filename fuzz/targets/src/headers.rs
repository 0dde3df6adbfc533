//! What stands in the headers of S3: ranges, conditions, dates, digests, metadata.

use fallthrough_object::{ByteRange, ChecksumAlgorithm, ChecksumKind, ETag, Timestamp, TraceParent};
use fallthrough_wire::conditions::{
    Conditions, Current, IfRange, TagList, Verdict, WriteConditions, WriteVerdict,
};
use fallthrough_wire::digest::{self, DigestSet, Digests, Promises};
use fallthrough_wire::headers::{meta_of_request, meta_of_response, write_meta};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::{date, range};
use http::{HeaderMap, HeaderValue};

use crate::input::{Input, pieces};

/// The last moment that four digits of a year can say.
const LAST: Timestamp = Timestamp(253_402_300_799_999);

/// The value of a header that names a trace.
///
/// What is taken is passed on as it came.
pub fn trace(bytes: &[u8]) {
    if let Some(trace) = TraceParent::parse(bytes) {
        assert_eq!(trace.as_str().as_bytes(), bytes);
        assert_eq!(TraceParent::parse(trace.as_str().as_bytes()), Some(trace));
    }
}

/// Headers, an empty line, the size of the object, its ETag, its time.
///
/// A range lies within its object, a moment reads back from each spelling, a tag from its own; conditions on an
/// object hold or fail as those on its opposite do not.
pub fn conditions(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let headers = input.headers();
    let (size_bytes, etag, moment) = (input.number(), input.line(), Timestamp(input.number()));

    if let Some(spec) = range::from_headers(&headers) {
        assert_eq!(range::parse(&range::format(spec)), Some(spec));
        if let Ok(ByteRange { start, end }) = spec.resolve(size_bytes) {
            assert!(start < end && end <= size_bytes, "{spec:?} of {size_bytes}");
            let text = range::content_range(ByteRange { start, end }, size_bytes);
            let read = range::parse_content_range(&text).expect("what we write can be read");
            assert_eq!((read.range, read.size_bytes), (ByteRange { start, end }, Some(size_bytes)));
        }
    }
    for value in headers.values().filter_map(|value| value.to_str().ok()) {
        if let Some(read) = range::parse_content_range(value) {
            assert!(!read.range.is_empty() && read.size_bytes.is_none_or(|size| read.range.end <= size));
        }
        dates(value);
        tags(value);
    }
    moments(moment);

    let etag = ETag::parse(&etag).ok();
    let read = Conditions::from_headers(&headers);
    let known = moment.0 <= LAST.0;
    for is_read in [true, false] {
        let verdict = read.evaluate(etag.as_ref(), Some(moment), is_read);
        assert!(is_read || verdict != Verdict::NotModified, "304 is an answer to reads alone");
        assert!(!read.is_empty() || verdict == Verdict::Proceed);
    }
    let current =
        etag.as_ref().map(|etag| Current { etag: Some(etag), last_modified: moment, size_bytes: 1 });
    if let Ok(write) = WriteConditions::from_headers(&headers) {
        assert!(!write.is_empty() || write.evaluate(current) == WriteVerdict::Proceed);
        assert!(
            write.if_none_match != Some(TagList::Any)
                || write.evaluate(current) != WriteVerdict::Proceed
                || etag.is_none()
        );
    }
    // A client that sends back what it was given gets what it asked for.
    if let Some(tag) = etag.filter(|tag| !tag.is_weak()) {
        assert_eq!(TagList::parse(&tag.to_string()), TagList::Tags(vec![tag.clone()]));
        let mut back = HeaderMap::new();
        back.insert("if-match", HeaderValue::from_bytes(tag.to_string().as_bytes()).expect("a tag fits"));
        assert_eq!(Conditions::from_headers(&back).evaluate(Some(&tag), None, true), Verdict::Proceed);
    }
    if let (Some(if_range), true) = (IfRange::from_headers(&headers), known) {
        let _ = if_range.allows_range(None, Some(moment));
        assert!(!IfRange::allows_range(&IfRange::Unreadable, None, Some(moment)));
    }
    Conditions::from_copy_source_headers(&headers);
}

/// How a moment is written, and how it is read.
type Spelling = (fn(Timestamp) -> String, fn(&str) -> Option<Timestamp>);

const SPELLINGS: [Spelling; 3] = [
    (date::format_http, date::parse_http),
    (date::format_iso, date::parse_iso),
    (date::format_amz, date::parse_amz),
];

fn dates(text: &str) {
    for (format, parse) in SPELLINGS {
        // An offset or a leap second may lead past the last year that can be spelt.
        if let Some(moment) = parse(text).filter(|moment| *moment <= LAST) {
            let written = format(moment);
            assert_eq!(parse(&written).map(format), Some(written), "{text}");
        }
    }
}

fn moments(moment: Timestamp) {
    let moment = moment.min(LAST);
    let secs = Timestamp::from_unix_secs(moment.unix_secs());
    assert_eq!(date::parse_http(&date::format_http(moment)), Some(secs));
    assert_eq!(date::parse_amz(&date::format_amz(moment)), Some(secs));
    assert_eq!(date::parse_iso(&date::format_iso(moment)), Some(moment));
}

fn tags(text: &str) {
    if let Ok(tag) = ETag::parse(text) {
        assert_eq!(ETag::parse(&tag.to_string()), Ok(tag.clone()));
        if let Some(md5) = tag.as_md5() {
            assert!(ETag::from_md5(md5).value().eq_ignore_ascii_case(tag.value()));
        }
    }
    if let TagList::Tags(tags) = TagList::parse(text) {
        let written = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        assert_eq!(TagList::parse(&written), TagList::Tags(tags));
    }
}

/// Headers, an empty line, how the body is cut, the body.
///
/// A digest that was read is written as it can be read again; what was promised is checked; digests of a body do
/// not depend on how it came.
pub fn digests(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let headers = input.headers();
    let (cuts, body) = (input.bytes(), input.rest());

    let mode = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    let mode = mode.and_then(|text| PayloadMode::parse(text).ok()).unwrap_or(PayloadMode::Unsigned);
    assert_eq!(PayloadMode::parse(&mode.header_value()), Ok(mode));
    for value in headers.values().filter_map(|value| value.to_str().ok()) {
        for algorithm in ChecksumAlgorithm::ALL {
            if let Some(checksum) = digest::parse_checksum(algorithm, value) {
                assert_eq!(checksum.value.len(), algorithm.len_bytes());
                assert_ne!(checksum.kind, ChecksumKind::Composite { parts: 0 });
                assert_eq!(
                    digest::parse_checksum(algorithm, &digest::format_checksum(&checksum)),
                    Some(checksum)
                );
            }
        }
        if let Some(md5) = digest::parse_content_md5(value) {
            assert_eq!(digest::parse_content_md5(&digest::format_content_md5(&md5)), Some(md5));
        }
    }

    let all = ChecksumAlgorithm::ALL.into_iter().fold(DigestSet::none().and_md5(), DigestSet::and);
    let compute = |pieces: &[&[u8]]| {
        let mut digests = Digests::new(all);
        pieces.iter().for_each(|piece| digests.update(piece));
        digests.finish()
    };
    let values = compute(&[body]);
    assert_eq!(values, compute(&pieces(body, cuts)));

    for promises in [Promises::of_request(&headers, &mode), Promises::of_response(&headers)] {
        let Ok(promises) = promises else { continue };
        promises.needs(&[]).expect("what was read can be computed");
        assert!(!promises.is_empty() || promises.check(&values).is_ok());
        let kept = promises.iter().all(|promise| {
            let found = values.checksums.iter().any(|checksum| checksum.value == promise.value);
            found || values.md5.is_some_and(|md5| promise.value == md5)
        });
        assert!(kept || promises.check(&values).is_err(), "a promise that is broken passed");
    }
    // What the body is, it may be promised to be.
    let mut honest = HeaderMap::new();
    honest.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    digest::write_checksum_headers(&values.checksums[..1], &mut honest);
    let promises =
        Promises::of_request(&honest, &PayloadMode::of_bytes(body)).expect("our own headers are read");
    assert_eq!((promises.iter().count(), promises.check(&values)), (2, Ok(())));
}

/// Headers. Metadata that is taken can be written, and reads back.
pub fn metadata(bytes: &[u8]) {
    let headers = Input::new(bytes).headers();
    let (request, response) = (meta_of_request(&headers), meta_of_response(&headers));
    if let Ok(meta) = &request {
        assert_eq!(response.as_ref(), Ok(meta));
    }
    let Ok(meta) = response else { return };
    let mut written = HeaderMap::new();
    write_meta(&meta, &mut written).expect("what was read can be written");
    assert_eq!(meta_of_response(&written), Ok(meta));
}

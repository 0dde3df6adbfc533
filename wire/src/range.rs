//! The Range and Content-Range headers (RFC 9110 §14).

use fallthrough_object::{ByteRange, RangeSpec};
use http::HeaderMap;
use http::header::RANGE;

/// The range that a request asks for. `None` means: answer with the whole.
///
/// As S3 and RFC 9110 §14.2 have it, a range that is malformed, of another unit than bytes, or one of
/// several is ignored, not refused.
pub fn from_headers(headers: &HeaderMap) -> Option<RangeSpec> {
    let mut values = headers.get_all(RANGE).iter();
    let only = values.next()?;
    if values.next().is_some() { None } else { parse(only.to_str().ok()?) }
}

/// Reads one Range value such as `bytes=0-99`; `None` where [`from_headers`] would ignore it.
pub fn parse(value: &str) -> Option<RangeSpec> {
    let (unit, spec) = value.trim().split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(RangeSpec::Suffix { len: number(last)? }),
        (first, "") => Some(RangeSpec::From { first: number(first)? }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::FromTo { first, last })
        }
    }
}

/// A Range value that asks for `spec`.
pub fn format(spec: RangeSpec) -> String {
    match spec {
        RangeSpec::FromTo { first, last } => format!("bytes={first}-{last}"),
        RangeSpec::From { first } => format!("bytes={first}-"),
        RangeSpec::Suffix { len } => format!("bytes=-{len}"),
    }
}

/// The Content-Range of a 206: `bytes first-last/size`. `range` must not be empty.
pub fn content_range(range: ByteRange, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1))
}

/// The Content-Range of a 416: `bytes */size`.
pub fn content_range_unsatisfied(size_bytes: u64) -> String {
    format!("bytes */{size_bytes}")
}

/// What the Content-Range of a 206 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes the body holds; never empty.
    pub range: ByteRange,
    /// Size of the whole, unless the sender does not know it (`*`).
    pub size_bytes: Option<u64>,
}

/// Reads the Content-Range of a 206. `None` if it is malformed or contradicts itself: the answer cannot be used.
pub fn parse_content_range(value: &str) -> Option<ContentRange> {
    let (unit, rest) = value.trim().split_once(' ')?;
    let (range, size) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let size_bytes = if size == "*" { None } else { Some(number(size)?) };
    let end = last.checked_add(1)?;
    let fits =
        unit.eq_ignore_ascii_case("bytes") && first <= last && size_bytes.is_none_or(|size| end <= size);
    fits.then_some(ContentRange { range: ByteRange { start: first, end }, size_bytes })
}

/// Decimal digits only: `str::parse` would take a sign. What does not fit 64 bits is past every body.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_or_ignored() {
        let rows = [
            ("bytes=0-99", Some(RangeSpec::FromTo { first: 0, last: 99 })),
            ("bytes=5-", Some(RangeSpec::From { first: 5 })),
            ("bytes=-5", Some(RangeSpec::Suffix { len: 5 })),
            ("Bytes = 1-2", Some(RangeSpec::FromTo { first: 1, last: 2 })),
            ("bytes=0-99999999999999999999999", Some(RangeSpec::FromTo { first: 0, last: u64::MAX })),
            ("bytes=0-1,3-4", None),
            ("bytes=9-1", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("bytes=--1", None),
            ("items=0-1", None),
            ("bytes 0-1", None),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    #[test]
    fn two_range_headers_are_ignored() {
        let mut headers = HeaderMap::new();
        assert_eq!(from_headers(&headers), None);
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(from_headers(&headers), Some(RangeSpec::FromTo { first: 0, last: 1 }));
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(from_headers(&headers), None);
    }

    #[test]
    fn content_ranges_survive_the_round_trip_and_contradictions_do_not() {
        let range = ByteRange { start: 2, end: 10 };
        assert_eq!(content_range(range, 20), "bytes 2-9/20");
        assert_eq!(content_range_unsatisfied(20), "bytes */20");
        let want = |size_bytes| Some(ContentRange { range, size_bytes });
        assert_eq!(parse_content_range("bytes 2-9/20"), want(Some(20)));
        assert_eq!(parse_content_range("bytes 2-9/*"), want(None));
        for bad in [
            "",
            "bytes */20",
            "bytes 9-2/20",
            "bytes 2-9/9",
            "bytes=2-9/20",
            "bytes 2-9",
            "items 2-9/20",
            "bytes 2-18446744073709551615/*",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_ignored(text in "(bytes)?[ =]?\\PC{0,30}") {
            if let Some(spec) = parse(&text) {
                prop_assert_eq!(parse(&format(spec)), Some(spec));
            }
            let _ = parse_content_range(&text);
        }
    }
}

//! Conditional requests (RFC 9110 §13), in the precedence that the RFC and S3 share.
//!
//! Evaluate conditions before the range: a failed condition is 412 or 304 even where the range would be 416.

use fallthrough_object::{ETag, Timestamp};
use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

use crate::date;
use crate::error::{S3Code, S3Error};

/// The value of If-Match or If-None-Match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagList {
    /// `*`: anything that exists.
    Any,
    /// Any of these. What cannot be read as a tag is left out, so the list may be empty: it then matches nothing.
    Tags(Vec<ETag>),
}

impl TagList {
    /// Reads one value, or several that stand for one list. Tags may lack their quotes, as S3 clients send them.
    pub fn parse(value: &str) -> Self {
        let value = value.trim();
        if value == "*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        let mut quoted = false;
        // A comma within quotes belongs to the tag.
        for item in value.split(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        }) {
            tags.extend(ETag::parse(item));
        }
        Self::Tags(tags)
    }

    fn matches(&self, current: Option<&ETag>, same: impl Fn(&ETag, &ETag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => current.is_some_and(|current| tags.iter().any(|tag| same(tag, current))),
        }
    }
}

/// The conditions of a request on an object that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// If-Match.
    pub if_match: Option<TagList>,
    /// If-None-Match.
    pub if_none_match: Option<TagList>,
    /// If-Modified-Since; a date that cannot be read is ignored (RFC 9110 §13.1.3).
    pub if_modified_since: Option<Timestamp>,
    /// If-Unmodified-Since; a date that cannot be read is ignored (RFC 9110 §13.1.4).
    pub if_unmodified_since: Option<Timestamp>,
}

/// What conditions make of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// Answer 304, with ETag and Last-Modified.
    NotModified,
    /// Answer 412.
    PreconditionFailed,
}

impl Conditions {
    /// Reads the four headers.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_headers_named(
            headers,
            [&IF_MATCH, &IF_NONE_MATCH, &IF_MODIFIED_SINCE, &IF_UNMODIFIED_SINCE],
        )
    }

    /// Reads the four headers that a copy sets on its source: `x-amz-copy-source-if-…`.
    pub fn from_copy_source_headers(headers: &HeaderMap) -> Self {
        let [a, b, c, d] = [
            HeaderName::from_static("x-amz-copy-source-if-match"),
            HeaderName::from_static("x-amz-copy-source-if-none-match"),
            HeaderName::from_static("x-amz-copy-source-if-modified-since"),
            HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
        ];
        Self::from_headers_named(headers, [&a, &b, &c, &d])
    }

    fn from_headers_named(
        headers: &HeaderMap,
        [matched, none, modified, unmodified]: [&HeaderName; 4],
    ) -> Self {
        let moment = |name| joined(headers, name).and_then(|text| date::parse_http(&text));
        Self {
            if_match: joined(headers, matched).map(|text| TagList::parse(&text)),
            if_none_match: joined(headers, none).map(|text| TagList::parse(&text)),
            if_modified_since: moment(modified),
            if_unmodified_since: moment(unmodified),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Evaluates the conditions against an object that exists (RFC 9110 §13.2.2).
    ///
    /// `etag` and `last_modified` are the object's, as far as known; a condition on what is not known holds
    /// for If-Unmodified-Since and If-Modified-Since, and fails for a list of tags. `is_read`: GET or HEAD.
    pub fn evaluate(&self, etag: Option<&ETag>, last_modified: Option<Timestamp>, is_read: bool) -> Verdict {
        // HTTP dates have whole seconds, so ours are cut before they are compared.
        let later_than = |date: Timestamp| last_modified.map(|at| at.unix_secs() > date.unix_secs());
        match (&self.if_match, self.if_unmodified_since) {
            (Some(list), _) if !list.matches(etag, ETag::strong_eq) => return Verdict::PreconditionFailed,
            (None, Some(date)) if later_than(date) == Some(true) => return Verdict::PreconditionFailed,
            (Some(_) | None, _) => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(list), _) if list.matches(etag, ETag::weak_eq) => {
                if is_read {
                    Verdict::NotModified
                } else {
                    Verdict::PreconditionFailed
                }
            }
            (None, Some(date)) if is_read && later_than(date) == Some(false) => Verdict::NotModified,
            (Some(_) | None, _) => Verdict::Proceed,
        }
    }
}

/// The validator of an If-Range header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// A tag, compared strongly.
    Tag(ETag),
    /// A date, compared exactly.
    Date(Timestamp),
    /// Neither: the range is not to be used.
    Unreadable,
}

impl IfRange {
    /// Reads the header; `None` if there is none.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = joined(headers, &IF_RANGE)?;
        let tag = || ETag::parse(&text).ok().map(Self::Tag);
        Some(date::parse_http(&text).map(Self::Date).or_else(tag).unwrap_or(Self::Unreadable))
    }

    /// Whether the range may be served; if not, the whole object is (RFC 9110 §13.1.5).
    pub fn allows_range(&self, etag: Option<&ETag>, last_modified: Option<Timestamp>) -> bool {
        match self {
            Self::Tag(tag) => etag.is_some_and(|etag| etag.strong_eq(tag)),
            Self::Date(date) => last_modified.is_some_and(|at| at.unix_secs() == date.unix_secs()),
            Self::Unreadable => false,
        }
    }
}

/// The conditions of a write: PUT, COPY's target, CompleteMultipartUpload, DELETE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteConditions {
    /// If-Match: the object must exist and have one of these tags.
    pub if_match: Option<TagList>,
    /// If-None-Match: the object must not have one of these tags; with `*`, it must not exist.
    pub if_none_match: Option<TagList>,
    /// `x-amz-if-match-last-modified-time`, of a DELETE: the object must have been modified in this second.
    pub if_modified_at: Option<Timestamp>,
    /// `x-amz-if-match-size`, of a DELETE: the object must have so many bytes.
    pub if_size_bytes: Option<u64>,
}

/// The object that a write would replace or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current<'a> {
    /// Its tag; `None`: it has no strong one, and matches none.
    pub etag: Option<&'a ETag>,
    /// When it was modified.
    pub last_modified: Timestamp,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// What conditions make of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerdict {
    /// Go on.
    Proceed,
    /// Answer 412 PreconditionFailed.
    PreconditionFailed,
    /// If-Match on an object that does not exist: 404 NoSuchKey.
    NoSuchKey,
}

impl WriteConditions {
    /// Reads If-Match and If-None-Match.
    ///
    /// # Errors
    /// `NotImplemented` for the dates, which S3 does not take on writes; `InvalidArgument` for an If-Match without any
    /// readable tag.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let not_offered = |header: &HeaderName| {
            S3Error::new(S3Code::NotImplemented)
                .and("Header", header.as_str())
                .and("additionalMessage", "on a write, only If-Match and If-None-Match are offered")
        };
        for dated in [&IF_MODIFIED_SINCE, &IF_UNMODIFIED_SINCE] {
            if headers.contains_key(dated) {
                return Err(not_offered(dated));
            }
        }
        let if_match = joined(headers, &IF_MATCH).map(|text| TagList::parse(&text));
        if if_match == Some(TagList::Tags(Vec::new())) {
            return Err(S3Error::with_message(S3Code::InvalidArgument, "If-Match names no ETag.")
                .and("ArgumentName", "If-Match"));
        }
        let if_none_match = joined(headers, &IF_NONE_MATCH).map(|text| TagList::parse(&text));
        Ok(Self { if_match, if_none_match, ..Self::default() })
    }

    /// Reads the conditions of a DELETE: If-Match, `x-amz-if-match-last-modified-time`, `x-amz-if-match-size`.
    ///
    /// # Errors
    /// As [`WriteConditions::from_headers`]; `InvalidArgument` for a date or a size that cannot be read.
    pub fn of_delete(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |name: &HeaderName| joined(headers, name);
        let unreadable = |name: &HeaderName| {
            S3Error::with_message(S3Code::InvalidArgument, "The value of the header cannot be read.")
                .and("ArgumentName", name.as_str())
        };
        let (at, size) = (
            HeaderName::from_static("x-amz-if-match-last-modified-time"),
            HeaderName::from_static("x-amz-if-match-size"),
        );
        let if_modified_at = text(&at)
            .map(|text| {
                date::parse_http(&text).or_else(|| date::parse_iso(&text)).ok_or_else(|| unreadable(&at))
            })
            .transpose()?;
        let if_size_bytes =
            text(&size).map(|text| text.trim().parse().map_err(|_| unreadable(&size))).transpose()?;
        Ok(Self { if_modified_at, if_size_bytes, ..Self::from_headers(headers)? })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Evaluates the conditions; `current`: the object, `None` if it does not exist.
    pub fn evaluate(&self, current: Option<Current<'_>>) -> WriteVerdict {
        let needs_one =
            self.if_match.is_some() || self.if_modified_at.is_some() || self.if_size_bytes.is_some();
        let Some(current) = current else {
            return if needs_one { WriteVerdict::NoSuchKey } else { WriteVerdict::Proceed };
        };
        let matches = self.if_match.as_ref().is_none_or(|list| list.matches(current.etag, ETag::strong_eq));
        let second = |at: Timestamp| at.unix_secs();
        let same_second = self.if_modified_at.is_none_or(|at| second(at) == second(current.last_modified));
        let same_size = self.if_size_bytes.is_none_or(|size| size == current.size_bytes);
        let unwanted =
            self.if_none_match.as_ref().is_some_and(|list| list.matches(current.etag, ETag::weak_eq));
        if matches && same_second && same_size && !unwanted {
            WriteVerdict::Proceed
        } else {
            WriteVerdict::PreconditionFailed
        }
    }
}

/// All values of a header as one list; what is not UTF-8 becomes U+FFFD, which no tag and no date contains.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?.into_owned();
    Some(values.fold(first, |list, value| list + "," + &value))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const THEN: &str = "Fri, 24 May 2013 00:00:00 GMT";
    const BEFORE: &str = "Thu, 23 May 2013 00:00:00 GMT";
    const AFTER: &str = "Sat, 25 May 2013 00:00:00 GMT";

    type Rows<'a> = &'a [(&'static str, &'a str)];

    fn headers(rows: Rows<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn precedence_is_that_of_the_rfc() {
        use Verdict::{NotModified, PreconditionFailed, Proceed};
        let rows: &[(Rows<'_>, Verdict, Verdict)] = &[
            (&[], Proceed, Proceed),
            (&[("if-match", "\"a\"")], Proceed, Proceed),
            (&[("if-match", "a")], Proceed, Proceed),
            (&[("if-match", "*")], Proceed, Proceed),
            (&[("if-match", "\"x\", \"a\"")], Proceed, Proceed),
            (&[("if-match", "\"x\""), ("if-match", "\"a\"")], Proceed, Proceed),
            (&[("if-match", "W/\"a\"")], PreconditionFailed, PreconditionFailed),
            (&[("if-match", "\"b\"")], PreconditionFailed, PreconditionFailed),
            (&[("if-match", "garbage in")], PreconditionFailed, PreconditionFailed),
            (&[("if-unmodified-since", BEFORE)], PreconditionFailed, PreconditionFailed),
            (&[("if-unmodified-since", THEN)], Proceed, Proceed),
            (&[("if-unmodified-since", "soon")], Proceed, Proceed),
            // If-Match that holds makes If-Unmodified-Since irrelevant.
            (&[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)], Proceed, Proceed),
            (&[("if-none-match", "\"a\"")], NotModified, PreconditionFailed),
            (&[("if-none-match", "W/\"a\"")], NotModified, PreconditionFailed),
            (&[("if-none-match", "*")], NotModified, PreconditionFailed),
            (&[("if-none-match", "\"b\"")], Proceed, Proceed),
            (&[("if-modified-since", THEN)], NotModified, Proceed),
            (&[("if-modified-since", AFTER)], NotModified, Proceed),
            (&[("if-modified-since", BEFORE)], Proceed, Proceed),
            // If-None-Match that does not match makes If-Modified-Since irrelevant.
            (&[("if-none-match", "\"b\""), ("if-modified-since", AFTER)], Proceed, Proceed),
            // 412 goes before 304.
            (&[("if-match", "\"b\""), ("if-none-match", "\"a\"")], PreconditionFailed, PreconditionFailed),
        ];
        let etag = ETag::strong("a").unwrap();
        // Half a second past what the HTTP date can say.
        let modified = Timestamp(date::parse_http(THEN).unwrap().0 + 500);
        for (rows, read, write) in rows {
            let conditions = Conditions::from_headers(&headers(rows));
            assert_eq!(conditions.evaluate(Some(&etag), Some(modified), true), *read, "read {rows:?}");
            assert_eq!(conditions.evaluate(Some(&etag), Some(modified), false), *write, "write {rows:?}");
            assert_eq!(conditions.is_empty(), rows.is_empty() || rows[0].1 == "soon");
        }
    }

    #[test]
    fn a_comma_within_quotes_is_part_of_the_tag() {
        let TagList::Tags(tags) = TagList::parse("\"a,b\", c ,W/\"d\"") else { panic!("not a list") };
        let texts: Vec<_> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["\"a,b\"", "\"c\"", "W/\"d\""]);
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        let etag = ETag::strong("a").unwrap();
        let modified = date::parse_http(THEN).unwrap();
        let rows = [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            (THEN, true),
            (AFTER, false),
            ("? ?", false),
        ];
        for (text, want) in rows {
            let if_range = IfRange::from_headers(&headers(&[("if-range", text)])).unwrap();
            assert_eq!(if_range.allows_range(Some(&etag), Some(modified)), want, "{text}");
        }
        assert_eq!(IfRange::from_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn writes_are_conditional_on_what_exists() {
        use WriteVerdict::{NoSuchKey, PreconditionFailed, Proceed};
        let etag = ETag::strong("a").unwrap();
        let rows: &[(Rows<'_>, WriteVerdict, WriteVerdict)] = &[
            (&[], Proceed, Proceed),
            (&[("if-none-match", "*")], PreconditionFailed, Proceed),
            (&[("if-none-match", "a")], PreconditionFailed, Proceed),
            (&[("if-none-match", "\"b\"")], Proceed, Proceed),
            (&[("if-match", "\"a\"")], Proceed, NoSuchKey),
            (&[("if-match", "*")], Proceed, NoSuchKey),
            (&[("if-match", "b")], PreconditionFailed, NoSuchKey),
            (&[("if-match", "a"), ("if-none-match", "*")], PreconditionFailed, NoSuchKey),
        ];
        for (rows, exists, absent) in rows {
            let conditions = WriteConditions::from_headers(&headers(rows)).unwrap();
            assert_eq!(conditions.is_empty(), rows.is_empty());
            let current = Current { etag: Some(&etag), last_modified: Timestamp(0), size_bytes: 1 };
            assert_eq!(conditions.evaluate(Some(current)), *exists, "{rows:?}");
            assert_eq!(conditions.evaluate(None), *absent, "{rows:?}");
        }
        let refused = [
            (("if-match", "\""), S3Code::InvalidArgument),
            (("if-unmodified-since", THEN), S3Code::NotImplemented),
        ];
        for (row, code) in refused {
            assert_eq!(WriteConditions::from_headers(&headers(&[row])).unwrap_err().code, code, "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut map = HeaderMap::new();
                for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE] {
                    map.insert(name, value.clone());
                }
                let conditions = Conditions::from_headers(&map);
                conditions.evaluate(None, None, true);
                let _ = (IfRange::from_headers(&map), WriteConditions::from_headers(&map));
            }
        }
    }
}

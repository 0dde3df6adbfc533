//! Paths and queries: decoded exactly once, encoded the way S3 signs them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{S3Code, S3Error};

/// Everything but RFC 3986's unreserved characters: `A-Z a-z 0-9 - . _ ~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, with `/` left as it is.
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');

/// Why a URI, or the part of one that stands in a header, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// A `%` is not followed by two hex digits.
    #[error("a percent sign is not followed by two hex digits")]
    BadEscape,
    /// The decoded bytes are not UTF-8.
    #[error("the decoded text is not UTF-8")]
    NotUtf8,
    /// The path does not begin with `/`, or begins with `//` where a bucket must stand.
    #[error("the path names no bucket")]
    NoBucket,
    /// A copy source is not `bucket/key`.
    #[error("the copy source does not name a bucket and a key")]
    BadCopySource,
}

impl From<UriError> for S3Error {
    fn from(error: UriError) -> Self {
        match error {
            UriError::BadEscape | UriError::NotUtf8 | UriError::NoBucket => Self::new(S3Code::InvalidUri),
            UriError::BadCopySource => Self::with_message(
                S3Code::InvalidArgument,
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
            .and("ArgumentName", "x-amz-copy-source"),
        }
    }
}

/// Decodes percent escapes once. `+` stays `+`.
///
/// # Errors
/// [`UriError::BadEscape`], [`UriError::NotUtf8`].
pub fn decode(raw: &str) -> Result<Cow<'_, str>, UriError> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let bytes = raw.as_bytes();
    let escaped =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            if !escaped(at) {
                return Err(UriError::BadEscape);
            }
            at += 2;
        }
        at += 1;
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| UriError::NotUtf8)
}

/// Decodes percent escapes once and reads `+` as a space, as in queries and copy sources.
///
/// # Errors
/// As [`decode`].
pub fn decode_plus(raw: &str) -> Result<Cow<'_, str>, UriError> {
    if raw.contains('+') { Ok(Cow::Owned(decode(&raw.replace('+', " "))?.into_owned())) } else { decode(raw) }
}

/// Encodes a key for a path: all but unreserved characters and `/`.
pub fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, RESERVED_BUT_SLASH).to_string()
}

/// Encodes a name or a value for a query: all but unreserved characters.
pub fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// What the path of a request names. Texts are decoded, but not yet checked as names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/`.
    Service,
    /// `/bucket` or `/bucket/`.
    Bucket {
        /// Decoded, unchecked.
        bucket: String,
    },
    /// `/bucket/key`; the key is not empty and may begin with a slash.
    Object {
        /// Decoded, unchecked.
        bucket: String,
        /// Decoded, unchecked.
        key: String,
    },
}

/// Splits the raw path of a path-style request. The first slash after the bucket ends its name; all later
/// ones belong to the key, empty segments and dots included.
///
/// # Errors
/// [`UriError`], except [`UriError::BadCopySource`].
pub fn split_path_style(raw_path: &str) -> Result<Target, UriError> {
    let rest = raw_path.strip_prefix('/').ok_or(UriError::NoBucket)?;
    if rest.is_empty() {
        return Ok(Target::Service);
    }
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(UriError::NoBucket);
    }
    target(bucket, key)
}

/// Reads the raw path of a virtual-host-style request, whose bucket stands in the Host header.
///
/// # Errors
/// [`UriError`], except [`UriError::BadCopySource`].
pub fn split_host_style(bucket: &str, raw_path: &str) -> Result<Target, UriError> {
    let key = decode(raw_path.strip_prefix('/').ok_or(UriError::NoBucket)?)?.into_owned();
    let bucket = bucket.to_owned();
    Ok(if key.is_empty() { Target::Bucket { bucket } } else { Target::Object { bucket, key } })
}

fn target(bucket: &str, key: &str) -> Result<Target, UriError> {
    let (bucket, key) = (decode(bucket)?.into_owned(), decode(key)?.into_owned());
    Ok(if key.is_empty() { Target::Bucket { bucket } } else { Target::Object { bucket, key } })
}

/// The parameters of a query, decoded, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query, without its `?`. A parameter without `=` has an empty value; `+` is a space.
    ///
    /// # Errors
    /// [`UriError::BadEscape`], [`UriError::NotUtf8`].
    pub fn parse(raw: &str) -> Result<Self, UriError> {
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode_plus(name)?.into_owned(), decode_plus(value)?.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// Whether the parameter is there, with or without a value: `?uploads` and `?uploads=` are the same.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of the parameter; empty if it has none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// All parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What an `x-amz-copy-source` header names. Texts are decoded, but not yet checked as names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    /// Source bucket.
    pub bucket: String,
    /// Source key.
    pub key: String,
    /// The `versionId` parameter.
    pub version_id: Option<String>,
}

impl CopySource {
    /// Reads `[/]bucket/key[?versionId=id]`, percent-encoded, with `+` as a space (some clients send that;
    /// a plus sign in a key comes as `%2B`).
    ///
    /// # Errors
    /// [`UriError::BadCopySource`], [`UriError::BadEscape`], [`UriError::NotUtf8`].
    pub fn parse(raw: &str) -> Result<Self, UriError> {
        let (source, version_id) = match raw.rsplit_once("?versionId=") {
            Some((source, version)) => (source, Some(decode(version)?.into_owned())),
            None => (raw, None),
        };
        // Decoded before it is split: some clients encode the slash between bucket and key as well.
        let source = decode_plus(source)?;
        let source = source.strip_prefix('/').unwrap_or(&source);
        match source.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version_id })
            }
            Some(_) | None => Err(UriError::BadCopySource),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded_exactly_once() {
        let rows = [
            ("a%20b", Ok("a b")),
            ("a+b", Ok("a+b")),
            ("%2541", Ok("%41")),
            ("a%2Fb", Ok("a/b")),
            ("%F0%9F%98%80", Ok("\u{1F600}")),
            ("%", Err(UriError::BadEscape)),
            ("a%2", Err(UriError::BadEscape)),
            ("%zz", Err(UriError::BadEscape)),
            ("%+1", Err(UriError::BadEscape)),
            ("%FF", Err(UriError::NotUtf8)),
        ];
        for (raw, want) in rows {
            assert_eq!(decode(raw).as_deref().map_err(|e| *e), want, "{raw}");
        }
    }

    #[test]
    fn paths_are_split_at_the_first_slash() {
        let bucket = || Ok(Target::Bucket { bucket: "b".into() });
        let object = |key: &str| Ok(Target::Object { bucket: "b".into(), key: key.into() });
        let rows = [
            ("/", Ok(Target::Service)),
            ("/b", bucket()),
            ("/b/", bucket()),
            ("/b/k", object("k")),
            ("/b//k", object("/k")),
            ("/b//", object("/")),
            ("/b/a//b/", object("a//b/")),
            ("/b/../x", object("../x")),
            ("/b/a%2Fb", object("a/b")),
            ("/b/%2e%2e/x", object("../x")),
            ("//k", Err(UriError::NoBucket)),
            ("b/k", Err(UriError::NoBucket)),
            ("/b/%FF", Err(UriError::NotUtf8)),
        ];
        for (raw, want) in rows {
            assert_eq!(split_path_style(raw), want, "{raw}");
        }
        assert_eq!(split_host_style("b", "/"), bucket());
        assert_eq!(split_host_style("b", "//k"), object("/k"));
    }

    #[test]
    fn queries_keep_order_and_read_plus_as_space() {
        let query = Query::parse("uploads&prefix=a+b%2Bc&x==&&y=").unwrap();
        let pairs: Vec<_> = query.iter().collect();
        assert_eq!(pairs, [("uploads", ""), ("prefix", "a b+c"), ("x", "="), ("y", "")]);
        assert!(query.has("uploads") && !query.has("upload"));
        assert_eq!(Query::parse("a=%"), Err(UriError::BadEscape));
    }

    #[test]
    fn copy_sources_as_clients_send_them() {
        let source = |bucket: &str, key: &str, version: Option<&str>| {
            Ok(CopySource { bucket: bucket.into(), key: key.into(), version_id: version.map(str::to_owned) })
        };
        let rows = [
            ("b/k", source("b", "k", None)),
            ("/b/k", source("b", "k", None)),
            ("b%2Fk", source("b", "k", None)),
            ("b/a+b", source("b", "a b", None)),
            ("b/a%2Bb", source("b", "a+b", None)),
            ("b//k", source("b", "/k", None)),
            ("b/k?versionId=null", source("b", "k", Some("null"))),
            ("b/k%3FversionId=1", source("b", "k?versionId=1", None)),
            ("b", Err(UriError::BadCopySource)),
            ("b/", Err(UriError::BadCopySource)),
            ("//k", Err(UriError::BadCopySource)),
            ("b/%C3", Err(UriError::NotUtf8)),
        ];
        for (raw, want) in rows {
            assert_eq!(CopySource::parse(raw), want, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn every_key_survives_path_and_query(key in "(?s).{1,60}") {
            let path = format!("/b/{}", encode_path(&key));
            prop_assert_eq!(split_path_style(&path).unwrap(), Target::Object { bucket: "b".into(), key: key.clone() });
            let query = Query::parse(&format!("prefix={}", encode_query(&key))).unwrap();
            prop_assert_eq!(query.get("prefix"), Some(key.as_str()));
        }

        #[test]
        fn any_raw_text_is_read_or_refused(raw in "\\PC{0,40}") {
            let _ = (split_path_style(&raw), Query::parse(&raw), CopySource::parse(&raw));
        }
    }
}

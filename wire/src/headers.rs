//! The headers that belong to an object, between [`Meta`] and the wire.

use fallthrough_object::Meta;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
};
use http::{HeaderMap, HeaderValue};

use crate::error::{S3Code, S3Error};

/// Most bytes of user metadata, names and values together, that a request may bring.
pub const USER_METADATA_BYTES_MAX: usize = 2048;

const USER_PREFIX: &str = "x-amz-meta-";

/// Why headers cannot be kept with an object, or metadata not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A value holds a control character, or a name is no header name.
    #[error("header {name} holds what cannot be passed on safely")]
    Unsafe {
        /// The header.
        name: String,
    },
    /// A header that may stand once stands more than once.
    #[error("header {name} is given more than once")]
    Duplicate {
        /// The header.
        name: String,
    },
    /// More user metadata than [`USER_METADATA_BYTES_MAX`].
    #[error("user metadata has {size_bytes} bytes, more than 2048")]
    TooLarge {
        /// How much there is.
        size_bytes: usize,
    },
}

impl From<HeaderError> for S3Error {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Unsafe { name } => {
                Self::with_message(S3Code::InvalidArgument, "The header value holds control characters.")
                    .and("ArgumentName", name)
            }
            HeaderError::Duplicate { name } => {
                Self::with_message(S3Code::InvalidArgument, "The header may be given only once.")
                    .and("ArgumentName", name)
            }
            HeaderError::TooLarge { size_bytes } => Self::new(S3Code::MetadataTooLarge)
                .and("Size", size_bytes.to_string())
                .and("MaxSizeAllowed", USER_METADATA_BYTES_MAX.to_string()),
        }
    }
}

/// Reads the metadata of a request: content headers and `x-amz-meta-*`, with S3's limit on the latter.
///
/// # Errors
/// [`HeaderError`].
pub fn meta_of_request(headers: &HeaderMap) -> Result<Meta, HeaderError> {
    let meta = meta_of_response(headers)?;
    let size_bytes = meta.user_bytes();
    if size_bytes > USER_METADATA_BYTES_MAX { Err(HeaderError::TooLarge { size_bytes }) } else { Ok(meta) }
}

/// Reads the metadata of an answer, without a limit: what is behind us may allow more.
///
/// Values are taken as UTF-8 if they are that, else as Latin-1, the two encodings that S3 clients use.
/// `aws-chunked` is taken out of Content-Encoding: it speaks about the transfer.
///
/// # Errors
/// [`HeaderError::Unsafe`] for control characters, [`HeaderError::Duplicate`] for two Content-Types and the like.
pub fn meta_of_response(headers: &HeaderMap) -> Result<Meta, HeaderError> {
    let mut user: Vec<(String, String)> = Vec::new();
    for name in headers.keys() {
        match name.as_str().strip_prefix(USER_PREFIX) {
            // A name of no characters could not be written back.
            None | Some("") => {}
            Some(short) => user.push((short.to_owned(), list(headers, name)?.unwrap_or_default())),
        }
    }
    user.sort_unstable();
    let content_encoding = list(headers, &CONTENT_ENCODING)?.and_then(|value| without_aws_chunked(&value));
    Ok(Meta {
        content_type: single(headers, &CONTENT_TYPE)?,
        cache_control: list(headers, &CACHE_CONTROL)?,
        content_disposition: single(headers, &CONTENT_DISPOSITION)?,
        content_encoding,
        content_language: list(headers, &CONTENT_LANGUAGE)?,
        expires: single(headers, &EXPIRES)?,
        user,
    })
}

/// Adds the headers of `meta`, replacing those of the same name. Text is sent as UTF-8.
/// Without a content type, none is added: the default depends on who answers.
///
/// # Errors
/// [`HeaderError::Unsafe`] if a value or a name cannot stand in a header; some headers may be added then.
pub fn write_meta(meta: &Meta, headers: &mut HeaderMap) -> Result<(), HeaderError> {
    let content = [
        (CONTENT_TYPE, &meta.content_type),
        (CACHE_CONTROL, &meta.cache_control),
        (CONTENT_DISPOSITION, &meta.content_disposition),
        (CONTENT_ENCODING, &meta.content_encoding),
        (CONTENT_LANGUAGE, &meta.content_language),
        (EXPIRES, &meta.expires),
    ];
    for (name, text) in content {
        if let Some(text) = text {
            let value = to_value(&name, text)?;
            headers.insert(name, value);
        }
    }
    for (short, text) in &meta.user {
        let name = [USER_PREFIX, short].concat();
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Unsafe { name })?;
        let value = to_value(&name, text)?;
        headers.insert(name, value);
    }
    Ok(())
}

fn to_value(name: &HeaderName, text: &str) -> Result<HeaderValue, HeaderError> {
    let unsafe_text = || HeaderError::Unsafe { name: name.to_string() };
    if has_control(text) {
        Err(unsafe_text())
    } else {
        HeaderValue::from_bytes(text.as_bytes()).map_err(|_| unsafe_text())
    }
}

/// Reads a value as text.
fn text_of(name: &HeaderName, value: &HeaderValue) -> Result<String, HeaderError> {
    let text = match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    };
    if has_control(&text) { Err(HeaderError::Unsafe { name: name.to_string() }) } else { Ok(text) }
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|c| c.is_ascii_control())
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderError::Duplicate { name: name.to_string() });
    }
    text_of(name, value).map(Some)
}

/// Several headers of one name are one list (RFC 9110 §5.3).
fn list(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, HeaderError> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let text = text_of(name, value)?;
        joined = Some(match joined {
            None => text,
            Some(before) => before + "," + &text,
        });
    }
    Ok(joined)
}

fn without_aws_chunked(value: &str) -> Option<String> {
    if !value.to_ascii_lowercase().contains("aws-chunked") {
        return Some(value.to_owned());
    }
    let left: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    let left = left.join(",");
    (!left.is_empty()).then_some(left)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(rows: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn metadata_is_read_sorted_and_written_back() {
        let map = headers(&[
            ("content-type", b"text/plain"),
            ("content-encoding", b"aws-chunked, gzip"),
            ("x-amz-meta-z", b"1"),
            ("x-amz-meta-a", "é".as_bytes()),
            ("x-amz-meta-l", b"\xe9"),
            ("x-amz-meta-z", b"2"),
            ("x-amz-meta-empty", b""),
            ("x-amz-meta-", b"no name"),
            ("x-amz-acl", b"private"),
        ]);
        let meta = meta_of_request(&map).unwrap();
        let user: Vec<(&str, &str)> = meta.user.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(user, [("a", "é"), ("empty", ""), ("l", "é"), ("z", "1,2")]);
        assert_eq!(meta.content_encoding.as_deref(), Some("gzip"));
        let mut out = HeaderMap::new();
        write_meta(&meta, &mut out).unwrap();
        assert_eq!(meta_of_request(&out).unwrap(), meta);
        assert!(!out.contains_key("x-amz-acl"));
    }

    #[test]
    fn only_aws_chunked_leaves_no_encoding() {
        for (value, want) in
            [("aws-chunked", None), ("AWS-Chunked,", None), ("br", Some("br")), ("", Some(""))]
        {
            let map = headers(&[("content-encoding", value.as_bytes())]);
            assert_eq!(meta_of_request(&map).unwrap().content_encoding.as_deref(), want, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_represented_is_refused() {
        assert!(matches!(
            meta_of_request(&headers(&[("expires", b"a\tb")])),
            Err(HeaderError::Unsafe { .. })
        ));
        let twice = headers(&[("content-type", b"a/b"), ("content-type", b"c/d")]);
        assert!(matches!(meta_of_response(&twice), Err(HeaderError::Duplicate { .. })));
        for bad in ["a\r\nSet-Cookie: x", "a\n", "\0", "\u{7f}"] {
            let meta = Meta { user: vec![("k".into(), bad.into())], ..Meta::of_type("a/b") };
            assert!(
                matches!(write_meta(&meta, &mut HeaderMap::new()), Err(HeaderError::Unsafe { .. })),
                "{bad:?}"
            );
        }
        let meta = Meta { user: vec![("a b".into(), "x".into())], ..Meta::default() };
        assert!(matches!(write_meta(&meta, &mut HeaderMap::new()), Err(HeaderError::Unsafe { .. })));
    }

    #[test]
    fn two_kilobytes_of_user_metadata_are_allowed_and_no_more() {
        for (len, fits) in [(2047, true), (2048, false)] {
            let map = headers(&[("x-amz-meta-k", "v".repeat(len).as_bytes())]);
            assert_eq!(meta_of_request(&map).is_ok(), fits, "{len}");
            assert!(meta_of_response(&map).is_ok());
        }
        let error = S3Error::from(HeaderError::TooLarge { size_bytes: 3000 });
        assert_eq!(error.code, S3Code::MetadataTooLarge);
    }

    proptest! {
        #[test]
        fn any_value_is_kept_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut map = HeaderMap::new();
                map.insert("x-amz-meta-k", value);
                if let Ok(meta) = meta_of_request(&map) {
                    let mut out = HeaderMap::new();
                    write_meta(&meta, &mut out).unwrap();
                    prop_assert_eq!(meta_of_request(&out).unwrap(), meta);
                }
            }
        }
    }
}

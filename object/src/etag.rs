//! Entity tags.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An entity tag (RFC 9110 §8.8.3): the text between the quotes, and whether it is weak.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ETag {
    value: String,
    weak: bool,
}

/// The text is not an entity tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entity tag")]
pub struct InvalidETag;

impl ETag {
    /// A strong tag with this opaque text, without quotes.
    ///
    /// # Errors
    /// [`InvalidETag`] if a byte is not allowed between the quotes (RFC 9110 `etagc`).
    pub fn strong(value: impl Into<String>) -> Result<Self, InvalidETag> {
        let value = value.into();
        if value.bytes().all(|c| c == 0x21 || (0x23..=0x7e).contains(&c) || c >= 0x80) {
            Ok(Self { value, weak: false })
        } else {
            Err(InvalidETag)
        }
    }

    /// The strong tag of an object put in one piece: the MD5 of its bytes in lower-case hex.
    pub fn from_md5(digest: [u8; 16]) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut value = String::with_capacity(32);
        for byte in digest {
            value.push(char::from(HEX[usize::from(byte >> 4)]));
            value.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Self { value, weak: false }
    }

    /// Parses a header value: `"x"`, `W/"x"`, or, as some S3 clients and servers send it, `x` without quotes.
    ///
    /// # Errors
    /// [`InvalidETag`] on anything else, also on an empty unquoted value.
    pub fn parse(raw: &str) -> Result<Self, InvalidETag> {
        let raw = raw.trim();
        let (rest, weak) = match raw.strip_prefix("W/") {
            Some(rest) => (rest, true),
            None => (raw, false),
        };
        let value = match rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
            Some(inner) => inner,
            None if !weak && !rest.is_empty() && !rest.contains('"') && !rest.contains(' ') => rest,
            None => return Err(InvalidETag),
        };
        let mut tag = Self::strong(value)?;
        tag.weak = weak;
        Ok(tag)
    }

    /// The opaque text, without quotes and without `W/`.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the tag is weak: two bodies with this tag may differ in bytes.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Strong comparison (RFC 9110 §8.8.3.2): equal and neither weak.
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.value == other.value
    }

    /// Weak comparison: equal text.
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.value == other.value
    }

    /// Whether the text has the shape that S3 gives to objects uploaded in parts: 32 hex digits, a dash, and how many.
    pub fn is_of_parts(&self) -> bool {
        let Some((digest, count)) = self.value.split_once('-') else { return false };
        let is_digest = digest.len() == 32 && digest.bytes().all(|c| c.is_ascii_hexdigit());
        let is_count = (1..=5).contains(&count.len()) && count.bytes().all(|c| c.is_ascii_digit());
        is_digest && is_count && !count.starts_with('0') && !self.weak
    }

    /// The MD5 that the text spells, if it has the shape of one (32 hex digits).
    pub fn as_md5(&self) -> Option<[u8; 16]> {
        let bytes = self.value.as_bytes();
        if bytes.len() != 32 || self.weak {
            return None;
        }
        let mut digest = [0; 16];
        for (out, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *out = u8::try_from(high * 16 + low).ok()?;
        }
        Some(digest)
    }
}

/// As a header value, with quotes.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_the_shape_of_s3_alone() {
        let digest = "0123456789abcdef0123456789ABCDEF";
        for (value, want) in [
            (format!("{digest}-2"), true),
            (format!("{digest}-10000"), true),
            (digest.to_owned(), false),
            (format!("{digest}-0"), false),
            (format!("{digest}-"), false),
            (format!("{digest}-2-3"), false),
            ("5f3a-1b2c".to_owned(), false),
            ("abc-2".to_owned(), false),
        ] {
            assert_eq!(ETag::strong(value.as_str()).unwrap().is_of_parts(), want, "{value}");
        }
        assert!(!ETag::parse(&format!("W/\"{digest}-2\"")).unwrap().is_of_parts());
    }

    #[test]
    fn header_forms_are_read() {
        assert_eq!(ETag::parse("\"a\"").unwrap().to_string(), "\"a\"");
        assert_eq!(ETag::parse(" W/\"a\" ").unwrap().to_string(), "W/\"a\"");
        assert_eq!(ETag::parse("abc-2").unwrap().value(), "abc-2");
        for bad in ["", "\"a", "a\"", "W/a", "\"a b\"", "a b"] {
            assert_eq!(ETag::parse(bad), Err(InvalidETag), "{bad}");
        }
        assert_eq!(ETag::parse("\"\"").unwrap().value(), "");
    }

    #[test]
    fn a_weak_tag_never_compares_strongly() {
        let (weak, strong) = (ETag::parse("W/\"a\"").unwrap(), ETag::parse("\"a\"").unwrap());
        assert!(!weak.strong_eq(&weak) && !weak.strong_eq(&strong) && strong.strong_eq(&strong));
        assert!(weak.weak_eq(&strong));
    }

    #[test]
    fn an_md5_survives_the_round_trip() {
        let digest = *b"\x00\x01\x02\x03\x04\x05\x06\x07\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff";
        assert_eq!(ETag::from_md5(digest).as_md5(), Some(digest));
        assert_eq!(ETag::strong("0123").unwrap().as_md5(), None);
        assert_eq!(ETag::strong("zz010203040506070809fafbfcfdfeff").unwrap().as_md5(), None);
    }
}

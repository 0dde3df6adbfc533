//! Bytes that are sent, or that are expected.

use fallthrough_object::ChecksumAlgorithm;
use fallthrough_wire::digest::{DigestSet, Digests, format_checksum, format_content_md5};

use crate::variables::Variables;

/// A body, made when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Text in which variables are replaced.
    Text(String),
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// So many bytes of a pattern, which differs by seed.
    Pattern {
        /// Which pattern.
        seed: u8,
        /// How many bytes.
        len: usize,
    },
    /// Several, one after the other.
    Joined(Vec<Self>),
}

impl Body {
    pub(crate) fn bytes(&self, variables: &Variables) -> Vec<u8> {
        match self {
            Self::Text(text) => variables.fill(text).into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Pattern { seed, len } => pattern(*seed, *len),
            Self::Joined(parts) => parts.iter().flat_map(|part| part.bytes(variables)).collect(),
        }
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// Bytes that repeat late, so that pieces in a wrong order are seen.
pub(crate) fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed ^ (at as u8) ^ ((at >> 8) as u8).wrapping_mul(31) ^ ((at >> 16) as u8)).collect()
}

/// The MD5 of bytes.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut digests = Digests::new(DigestSet::none().and_md5());
    digests.update(bytes);
    digests.finish().md5.expect("MD5 was asked for")
}

/// The ETag of an object that was put in one piece: its MD5 in hex, in quotes.
pub(crate) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&md5(bytes)))
}

/// The ETag of a multipart object with these parts.
pub(crate) fn etag_of_parts(parts: &[&[u8]]) -> String {
    let all: Vec<u8> = parts.iter().flat_map(|part| md5(part)).collect();
    format!("\"{}-{}\"", hex(&md5(&all)), parts.len())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of Content-MD5.
pub(crate) fn content_md5(bytes: &[u8]) -> String {
    format_content_md5(&md5(bytes))
}

/// The value of `x-amz-checksum-ALGORITHM`.
pub(crate) fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    let mut digests = Digests::new(DigestSet::none().and(algorithm));
    digests.update(bytes);
    let values = digests.finish();
    values.get(algorithm).map(format_checksum).expect("the algorithm was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_forms_of_headers() {
        assert_eq!(etag(b""), "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(content_md5(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(checksum(ChecksumAlgorithm::Crc32, b"hello"), "NhCmhg==");
        assert!(etag_of_parts(&[b"a", b"b"]).ends_with("-2\""));
        assert_ne!(pattern(0, 70_000)[..256], pattern(0, 70_000)[65_536..65_792]);
    }
}

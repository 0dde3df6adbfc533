//! The canonical form of a request: the one place where signing and verifying must agree to the byte.

use http::{HeaderMap, Method};
use percent_encoding::percent_decode;

use super::ALGORITHM;
use super::key::{Scope, sha256};
use crate::hex;

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// How an escaped slash (`%2F`) in a path is canonicalised. Clients differ: those that encode the whole key
/// at once sign what they send, others sign the key's own slashes. Both name the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EscapedSlash {
    /// Stays `%2F`.
    Kept,
    /// Becomes `/`.
    Decoded,
}

/// The parts of a request that are signed, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canonical<'a> {
    pub(super) method: &'a Method,
    /// As it stands in the request line, without query.
    pub(super) raw_path: &'a str,
    /// As it stands in the request line, without `?`; may hold the signature, which is left out.
    pub(super) raw_query: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// Names in lower case, sorted.
    pub(super) signed_headers: &'a [&'a str],
    /// The value of `x-amz-content-sha256`.
    pub(super) payload: &'a str,
}

impl Canonical<'_> {
    /// The string to sign for this request at `amz_date` in `scope`.
    pub(super) fn string_to_sign(&self, amz_date: &str, scope: &Scope, slash: EscapedSlash) -> String {
        let request = self.request(slash);
        let mut text = String::with_capacity(160);
        text.push_str(ALGORITHM);
        text.push('\n');
        text.push_str(amz_date);
        text.push('\n');
        scope.push_to(&mut text);
        text.push('\n');
        hex::push32(&mut text, &sha256(&request));
        text
    }

    fn request(&self, slash: EscapedSlash) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.raw_query.len() + self.raw_path.len());
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b'\n');
        push_path(&mut out, self.raw_path, slash);
        out.push(b'\n');
        push_query(&mut out, self.raw_query);
        out.push(b'\n');
        for name in self.signed_headers {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            push_values(&mut out, self.headers, name);
            out.push(b'\n');
        }
        out.push(b'\n');
        for (index, name) in self.signed_headers.iter().enumerate() {
            if index > 0 {
                out.push(b';');
            }
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(self.payload.as_bytes());
        out
    }
}

/// Whether a path holds an escaped slash, so that [`EscapedSlash`] makes a difference.
pub(super) fn has_escaped_slash(raw_path: &str) -> bool {
    raw_path.as_bytes().windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f"))
}

/// Decodes the path once and encodes it again; nothing is collapsed or resolved, as S3 has it.
fn push_path(out: &mut Vec<u8>, raw_path: &str, slash: EscapedSlash) {
    if raw_path.is_empty() {
        out.push(b'/');
    }
    // Most paths are canonical as they come.
    if raw_path.bytes().all(|byte| byte == b'/' || is_unreserved(byte)) {
        out.extend_from_slice(raw_path.as_bytes());
        return;
    }
    // The slashes between segments stand for themselves, so that only escaped ones are left inside.
    for (index, segment) in raw_path.split('/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        for byte in percent_decode(segment.as_bytes()) {
            match byte {
                b'/' if slash == EscapedSlash::Decoded => out.push(b'/'),
                byte => push_encoded(out, byte),
            }
        }
    }
}

fn push_query(out: &mut Vec<u8>, raw_query: &str) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = raw_query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recoded(name), recoded(value)))
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// `+` is read as a space, as [`crate::uri::Query`] does: what is signed is what is understood.
fn recoded(raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    for (index, words) in raw.split('+').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"%20");
        }
        percent_decode(words.as_bytes()).for_each(|byte| push_encoded(&mut out, byte));
    }
    out
}

/// RFC 3986's unreserved characters, which are never escaped.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    if is_unreserved(byte) {
        out.push(byte);
    } else {
        out.extend_from_slice(&[b'%', UPPER[usize::from(byte >> 4)], UPPER[usize::from(byte & 15)]]);
    }
}

/// All values of a header, joined by commas; each trimmed, with runs of white space made one space.
fn push_values(out: &mut Vec<u8>, headers: &HeaderMap, name: &str) {
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // Most values are canonical as they come; HTTP leaves no white space at their ends.
        let value = value.as_bytes();
        let spaced =
            |at: usize| value.get(at.wrapping_sub(1)).is_none_or(|c| *c == b' ') || at + 1 == value.len();
        let plain = value
            .iter()
            .enumerate()
            .all(|(at, c)| if *c == b' ' { !spaced(at) } else { !c.is_ascii_whitespace() });
        if plain {
            out.extend_from_slice(value);
            continue;
        }
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_shape() {
        let rows = [
            ("", "/", "/"),
            ("/", "/", "/"),
            ("/b/a b", "/b/a%20b", "/b/a%20b"),
            ("/b/a+b", "/b/a%2Bb", "/b/a%2Bb"),
            ("/b//a/./../", "/b//a/./../", "/b//a/./../"),
            ("/b/%7e%41~", "/b/~A~", "/b/~A~"),
            ("/b/a%2fb", "/b/a%2Fb", "/b/a/b"),
            ("/b/%f0%9f%98%80:@", "/b/%F0%9F%98%80%3A%40", "/b/%F0%9F%98%80%3A%40"),
            ("/b/100%", "/b/100%25", "/b/100%25"),
        ];
        for (raw, kept, decoded) in rows {
            for (slash, want) in [(EscapedSlash::Kept, kept), (EscapedSlash::Decoded, decoded)] {
                let mut out = Vec::new();
                push_path(&mut out, raw, slash);
                assert_eq!(String::from_utf8(out).unwrap(), want, "{raw}");
            }
            assert_eq!(has_escaped_slash(raw), kept != decoded);
        }
    }

    #[test]
    fn queries_are_sorted_after_encoding() {
        let rows = [
            ("", ""),
            ("acl", "acl="),
            ("b=2&a=1&&a=0", "a=0&a=1&b=2"),
            ("a=x+y&a=%2B&a=%2f", "a=%2B&a=%2F&a=x%20y"),
            // Encoded, `[` (%5B) sorts before `A`; as a byte it would sort after it.
            ("A=1&%5B=2", "%5B=2&A=1"),
            ("a=1=2", "a=1%3D2"),
            ("X-Amz-Signature=0&z=1", "z=1"),
        ];
        for (raw, want) in rows {
            let mut out = Vec::new();
            push_query(&mut out, raw);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{raw}");
        }
    }

    #[test]
    fn header_values_are_trimmed_and_joined() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-meta-a", "  one   two ".parse().unwrap());
        headers.append("x-amz-meta-a", "three".parse().unwrap());
        let mut out = Vec::new();
        push_values(&mut out, &headers, "x-amz-meta-a");
        assert_eq!(out, b"one two,three");
        let rows = [
            ("a b c", "a b c"),
            ("a", "a"),
            ("", ""),
            (" ", ""),
            ("a  b", "a b"),
            ("a\tb", "a b"),
            (" a", "a"),
            ("a ", "a"),
        ];
        for (value, want) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("k", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let mut out = Vec::new();
            push_values(&mut out, &headers, "k");
            assert_eq!(out, want.as_bytes(), "{value:?}");
        }
    }
}

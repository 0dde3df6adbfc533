//! Bytes of objects that can be made at any offset, so that no test holds a large object in memory.

use std::fmt;

use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};

/// Length of one self-describing line.
const LINE: u64 = 32;

/// The bytes of one edition of an object.
///
/// Generated content is lines of 32 bytes, `{edition:04x}.{key hash:08x}@{offset:016x} \n`, the edition with its
/// lowest digit first, so that a misplaced, mixed or foreign piece is recognisable by eye and even one byte
/// tells one edition from the next.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Generated { tag: u32, edition: u16, size_bytes: u64 },
    Given(Bytes),
}

impl Content {
    /// `size_bytes` deterministic bytes that differ for each key and edition.
    pub fn generated(key: &str, edition: u16, size_bytes: u64) -> Self {
        // FNV-1a: stable over builds, which the standard hasher does not promise.
        let tag = key.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Self { kind: Kind::Generated { tag, edition, size_bytes } }
    }

    /// These bytes.
    pub fn given(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Given(bytes.into()) }
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Generated { size_bytes, .. } => *size_bytes,
            Kind::Given(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of `start..end`, clipped to the size.
    pub fn slice(&self, start: u64, end: u64) -> Bytes {
        let end = end.min(self.size_bytes());
        let start = start.min(end);
        let index = |n: u64| usize::try_from(n).expect("a slice fits memory");
        match &self.kind {
            Kind::Given(bytes) => bytes.slice(index(start)..index(end)),
            Kind::Generated { tag, edition, .. } => {
                let mut out = BytesMut::with_capacity(index(end - start + 2 * LINE));
                let mut line_start = start / LINE * LINE;
                let skip = index(start - line_start);
                while line_start < end {
                    out.extend_from_slice(&line(*tag, *edition, line_start));
                    line_start += LINE;
                }
                out.freeze().slice(skip..skip + index(end - start))
            }
        }
    }

    /// All bytes at once.
    pub fn bytes(&self) -> Bytes {
        self.slice(0, self.size_bytes())
    }

    /// MD5 of all bytes, computed without holding them.
    pub fn md5(&self) -> [u8; 16] {
        const STEP: u64 = 1 << 20;
        let mut hash = Md5::new();
        let mut at = 0;
        while at < self.size_bytes() {
            hash.update(self.slice(at, at + STEP));
            at += STEP;
        }
        hash.finalize().into()
    }
}

fn line(tag: u32, edition: u16, offset: u64) -> [u8; 32] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = *b"0000.00000000@0000000000000000 \n";
    let digit = |value: u64, at: usize| HEX[((value >> (4 * at)) & 15) as usize];
    for (i, out) in out[..4].iter_mut().enumerate() {
        *out = digit(u64::from(edition), i);
    }
    for (i, out) in out[5..13].iter_mut().enumerate() {
        *out = digit(u64::from(tag), 7 - i);
    }
    for (i, out) in out[14..30].iter_mut().enumerate() {
        *out = digit(offset, 15 - i);
    }
    out
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.size_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_equals_the_same_part_of_the_whole() {
        let content = Content::generated("k", 1, 1000);
        let whole = content.bytes();
        assert_eq!(whole.len(), 1000);
        for (start, end) in
            [(0, 0), (0, 1), (31, 33), (32, 64), (7, 999), (990, 5000), (1000, 1001), (5000, 6000)]
        {
            let want = whole.slice((start.min(1000)) as usize..(end.min(1000)) as usize);
            assert_eq!(content.slice(start, end), want, "{start}..{end}");
        }
    }

    #[test]
    fn keys_and_editions_differ_and_a_line_tells_where_it_belongs() {
        assert_ne!(Content::generated("a", 0, 64).bytes(), Content::generated("b", 0, 64).bytes());
        assert_ne!(Content::generated("a", 0, 64).bytes(), Content::generated("a", 1, 64).bytes());
        assert_ne!(Content::generated("a", 0, 1).bytes(), Content::generated("a", 1, 1).bytes());
        let line = Content::generated("a", 2, 96).slice(64, 96);
        assert!(line.starts_with(b"2000.") && line.ends_with(b"@0000000000000040 \n"));
    }

    #[test]
    fn the_digest_is_that_of_the_bytes() {
        let large = Content::generated("k", 0, (2 << 20) + 17);
        assert_eq!(large.md5(), <[u8; 16]>::from(Md5::digest(large.bytes())));
    }
}

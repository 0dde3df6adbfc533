//! Byte ranges: what a client asks for, and what that means for a body of known size.

use std::ops::Range;

use crate::{Mutant, planted};

/// A single byte range as a client spells it (RFC 9110 §14.1.2). Positions are zero-based and inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-last`, both inclusive, `first <= last`.
    FromTo {
        /// First byte.
        first: u64,
        /// Last byte, inclusive.
        last: u64,
    },
    /// `bytes=first-`.
    From {
        /// First byte.
        first: u64,
    },
    /// `bytes=-len`: the last `len` bytes.
    Suffix {
        /// How many bytes from the end.
        len: u64,
    },
}

/// The range begins at or after the end of the body, or asks for its last zero bytes: 416.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range cannot be satisfied for a body of {size_bytes} bytes")]
pub struct RangeNotSatisfiable {
    /// The size of the body.
    pub size_bytes: u64,
}

/// A half-open range `start..end` within a body, `start < end <= size`, or the empty body's `0..0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// The whole of a body.
    pub fn whole(size_bytes: u64) -> Self {
        Self { start: 0, end: size_bytes }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the range has no bytes (only the whole of an empty body).
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

impl From<ByteRange> for Range<u64> {
    fn from(range: ByteRange) -> Self {
        range.start..range.end
    }
}

impl RangeSpec {
    /// What the range means for a body of `size_bytes`, clipped to it.
    ///
    /// # Errors
    /// [`RangeNotSatisfiable`]: answer 416 with the size.
    pub fn resolve(self, size_bytes: u64) -> Result<ByteRange, RangeNotSatisfiable> {
        let (start, end) = match self {
            Self::FromTo { first, last } if planted(Mutant::RangeOffByOne) => (first, last.min(size_bytes)),
            Self::FromTo { first, last } => (first, last.saturating_add(1).min(size_bytes)),
            Self::From { first } => (first, size_bytes),
            Self::Suffix { len } => (size_bytes.saturating_sub(len), size_bytes),
        };
        if start < end { Ok(ByteRange { start, end }) } else { Err(RangeNotSatisfiable { size_bytes }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_resolve_as_the_rfc_says() {
        let cases = [
            (RangeSpec::FromTo { first: 0, last: 0 }, 10, Some((0, 1))),
            (RangeSpec::FromTo { first: 2, last: 99 }, 10, Some((2, 10))),
            (RangeSpec::FromTo { first: 10, last: 12 }, 10, None),
            (RangeSpec::FromTo { first: 0, last: u64::MAX }, 10, Some((0, 10))),
            (RangeSpec::From { first: 9 }, 10, Some((9, 10))),
            (RangeSpec::From { first: 10 }, 10, None),
            (RangeSpec::Suffix { len: 3 }, 10, Some((7, 10))),
            (RangeSpec::Suffix { len: 30 }, 10, Some((0, 10))),
            (RangeSpec::Suffix { len: 0 }, 10, None),
            (RangeSpec::Suffix { len: 5 }, 0, None),
            (RangeSpec::From { first: 0 }, 0, None),
        ];
        for (spec, size, want) in cases {
            let got = spec.resolve(size).ok().map(|r| (r.start, r.end));
            assert_eq!(got, want, "{spec:?} of {size}");
        }
    }
}

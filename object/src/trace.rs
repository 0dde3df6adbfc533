//! The trace that a request belongs to (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use std::fmt;

use crate::entropy::Entropy;

/// Bytes of the text: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LEN: usize = 55;

/// The value of a `traceparent` header of version 00: a trace, and the caller's place in it.
///
/// We export no spans, so it is passed on as it came: an id of our own between a client's span and an origin's would
/// name a span that nobody ever sees, and tear the trace apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent([u8; LEN]);

impl TraceParent {
    /// Reads the value of a header. `None` unless it is version 00 in lower-case hexadecimal digits, with neither id
    /// all zero: whoever receives anything else begins a trace of its own (§3.2.2.3 and §4.3 there).
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let text: [u8; LEN] = raw.try_into().ok()?;
        let digits = |at: std::ops::Range<usize>| {
            text[at].iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c))
        };
        let named = |at: std::ops::Range<usize>| digits(at.clone()) && text[at].iter().any(|c| *c != b'0');
        let sound = text.starts_with(b"00-")
            && named(3..35)
            && text[35] == b'-'
            && named(36..52)
            && text[52] == b'-'
            && digits(53..55);
        sound.then_some(Self(text))
    }

    /// Begins a trace that nobody has asked to record.
    pub fn begin(entropy: &dyn Entropy) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut ids = [0; 24];
        entropy.fill(&mut ids);
        // Neither id may be all zero.
        ids[0] |= 1;
        ids[16] |= 1;
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let places = (3..35).step_by(2).chain((36..52).step_by(2));
        for (at, byte) in places.zip(ids) {
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// The value of the header.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and hyphens")
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn only_what_the_recommendation_allows_is_read() {
        let rows = [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-00000000000000000000000000000001-0000000000000001-00", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", false),
            (" 0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("", false),
        ];
        for (text, sound) in rows {
            let read = TraceParent::parse(text.as_bytes());
            assert_eq!(read.as_ref().map(TraceParent::as_str), sound.then_some(text), "{text:?}");
        }
        assert_eq!(TraceParent::parse(&[0xff; LEN]), None);
    }

    #[test]
    fn a_trace_that_begins_here_can_be_read_and_is_not_another_one() {
        let entropy = SeededEntropy::new(1);
        let traces: Vec<TraceParent> = (0..100).map(|_| TraceParent::begin(&entropy)).collect();
        for (at, trace) in traces.iter().enumerate() {
            assert_eq!(TraceParent::parse(trace.as_str().as_bytes()), Some(*trace));
            assert!(!traces[..at].contains(trace));
            assert!(trace.as_str().ends_with("-00"), "nobody asked to record it");
        }
    }

    #[derive(Debug)]
    struct Zero;

    impl Entropy for Zero {
        fn fill(&self, out: &mut [u8]) {
            out.fill(0);
        }
    }

    #[test]
    fn no_id_is_zero() {
        let trace = TraceParent::begin(&Zero);
        assert_eq!(TraceParent::parse(trace.as_str().as_bytes()), Some(trace));
    }
}

//! Points of an answer at which a test can hold it.

/// Where an answer is held until the test releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// Before the status line: the request has arrived, nothing is answered.
    Headers,
    /// After the headers, before the first byte of the body.
    FirstByte,
    /// Before the byte at this offset of the answer's body; everything before it has been handed over.
    Byte(u64),
    /// Before the last byte of the body, or before the end if the body is empty.
    LastByte,
}

impl At {
    /// The offset in a body of `len` bytes; `None` for what lies outside of the body.
    pub(crate) fn offset(self, len: u64) -> Option<u64> {
        match self {
            Self::Headers => None,
            Self::FirstByte => Some(0),
            Self::Byte(offset) => (offset <= len).then_some(offset),
            Self::LastByte => Some(len.saturating_sub(1)),
        }
    }
}

//! Bytes cut into the parts that a target needs. Whatever is missing is empty or zero.

/// What is left of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().map_or((0, self.0), |(byte, rest)| (*byte, rest));
        self.0 = rest;
        byte
    }

    /// Everything up to the next line feed, without it; all that is left if there is none.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|c| *c == b'\n');
        let (line, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        line
    }

    /// The next line as text, what is no UTF-8 replaced.
    pub(crate) fn line(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The number on the next line: decimal, or a hash of what stands there instead.
    pub(crate) fn number(&mut self) -> u64 {
        let line = self.bytes();
        let digits = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        digits.unwrap_or_else(|| {
            line.iter().fold(0, |hash: u64, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte))
        })
    }

    /// The next line as `name: value`, as far as http takes it as one.
    pub(crate) fn header(&mut self) -> Option<(http::HeaderName, http::HeaderValue)> {
        let line = self.bytes();
        let at = line.iter().position(|c| *c == b':')?;
        let name = http::HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, http::HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    }

    /// Headers up to an empty line.
    pub(crate) fn headers(&mut self) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        while !self.0.is_empty() && !self.0.starts_with(b"\n") {
            if let Some((name, value)) = self.header() {
                headers.append(name, value);
            }
        }
        self.bytes();
        headers
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Cuts `bytes` into pieces whose lengths `cuts` says, again and again; one piece without cuts.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle().take(bytes.len()) {
        if bytes.is_empty() || cuts.iter().all(|cut| *cut == 0) {
            break;
        }
        let (piece, rest) = bytes.split_at(usize::from(*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    if !bytes.is_empty() {
        pieces.push(bytes);
    }
    pieces
}

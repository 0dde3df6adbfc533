//! Decoder of aws-chunked bodies: bytes in as they arrive, bytes out as they are, in constant memory.
//!
//! ```text
//! signed:    HEX-SIZE;chunk-signature=64HEX CRLF data CRLF … 0;chunk-signature=64HEX CRLF [trailers] CRLF
//! unsigned:  HEX-SIZE CRLF data CRLF … 0 CRLF [trailers] CRLF
//! trailers:  name:value CRLF … [x-amz-trailer-signature:64HEX CRLF]
//! ```
//!
//! Data is handed out before the signature of its chunk can be checked, since a chunk may be of any size.
//! So nothing is proved until [`Step::Done`]: on an error the caller discards what it has got.
//! Rules: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.

use bytes::{Buf, Bytes};
use fallthrough_object::{BodyError, Mutant, planted};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{S3Code, S3Error};
use crate::payload::PayloadMode;
use crate::sigv4::ChunkChain;

/// Longest line before a chunk: a size of 16 digits and a signature need 97.
const HEADER_BYTES_MAX: usize = 256;
/// Longest size in hex digits, leading zeros included.
const SIZE_DIGITS_MAX: usize = 16;
/// All trailer lines together.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// How many trailers a request may announce.
const TRAILERS_MAX: usize = 16;

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// The line before a chunk is too long or malformed.
    #[error("a chunk header is malformed")]
    BadHeader,
    /// A chunk is not followed by CRLF.
    #[error("a chunk does not end where its header says")]
    BadChunkEnd,
    /// The signature of a chunk or of the trailers is not the one that the secret makes.
    #[error("the signature of a chunk does not match")]
    Signature,
    /// More data than `x-amz-decoded-content-length` says.
    #[error("the body is longer than announced")]
    TooLong,
    /// The body ended early, or holds less than `x-amz-decoded-content-length` says.
    #[error("the body ended early")]
    Incomplete,
    /// A trailer that was not announced, is malformed, too long, given twice, or missing.
    #[error("the trailers are malformed or not those announced")]
    Trailer,
    /// Bytes after the end of the last chunk.
    #[error("bytes follow the end of the body")]
    TrailingData,
}

impl From<ChunkedError> for S3Error {
    fn from(error: ChunkedError) -> Self {
        match error {
            ChunkedError::BadHeader | ChunkedError::BadChunkEnd | ChunkedError::TrailingData => {
                Self::with_message(
                    S3Code::InvalidRequest,
                    format!("The aws-chunked body is invalid: {error}."),
                )
            }
            ChunkedError::Signature => Self::new(S3Code::SignatureDoesNotMatch),
            ChunkedError::TooLong | ChunkedError::Incomplete => Self::with_message(
                S3Code::IncompleteBody,
                "The request body does not have the length that x-amz-decoded-content-length says.",
            ),
            ChunkedError::Trailer => Self::new(S3Code::MalformedTrailer),
        }
    }
}

impl From<ChunkedError> for BodyError {
    fn from(error: ChunkedError) -> Self {
        match error {
            ChunkedError::BadHeader => Self::Malformed { what: "chunk header" },
            ChunkedError::BadChunkEnd => Self::Malformed { what: "end of a chunk" },
            ChunkedError::Trailer => Self::Malformed { what: "trailer" },
            ChunkedError::TrailingData => Self::Malformed { what: "bytes after the last chunk" },
            ChunkedError::Signature => Self::Mismatch { what: "chunk signature" },
            ChunkedError::TooLong => Self::TooLong,
            ChunkedError::Incomplete => Self::Incomplete,
        }
    }
}

/// What one call of [`ChunkedDecoder::step`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Decoded bytes, a slice of what was fed; never empty.
    Data(Bytes),
    /// All of the input is used up: feed more, or call [`ChunkedDecoder::finish`] at the end of the body.
    NeedMore,
    /// The body is complete and everything in it verified. Trailers are in [`ChunkedDecoder::trailers`].
    Done,
}

/// One trailer: name in lower case, value trimmed.
pub type Trailer = (String, String);

#[derive(Debug)]
enum State {
    /// Reading the line before a chunk into `line`.
    Header,
    /// Within a chunk.
    Data { left: u64, signature: Option<[u8; 64]> },
    /// Expecting CRLF after a chunk; `seen_cr` if half of it came.
    DataEnd { seen_cr: bool, signature: Option<[u8; 64]> },
    /// Reading trailer lines into `line`, up to an empty one.
    Trailers,
    /// Complete.
    Done,
    /// Refused; says so again whenever it is asked.
    Failed(ChunkedError),
}

/// The decoder of one body. Holds a line, the trailers and a hash state: a few hundred bytes, 16 KiB at most.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    chain: Option<ChunkChain>,
    with_trailers: bool,
    announced: Vec<String>,
    decoded_left: u64,
    hasher: Sha256,
    line: Vec<u8>,
    trailer_bytes: usize,
    trailer_lines: Vec<u8>,
    trailers: Vec<Trailer>,
    trailer_signature: Option<[u8; 64]>,
}

/// What the headers of a request say about its aws-chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkedHeaders {
    /// `x-amz-decoded-content-length`: size of the object.
    pub decoded_len: u64,
    /// `x-amz-trailer`: names in lower case.
    pub trailers: Vec<String>,
}

impl ChunkedHeaders {
    /// Reads `x-amz-decoded-content-length` and `x-amz-trailer`.
    ///
    /// # Errors
    /// `MissingContentLength` without a decoded length, `InvalidArgument` for one that is no number,
    /// `InvalidRequest` for trailers that cannot be.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut lengths = headers.get_all("x-amz-decoded-content-length").iter();
        let bad_length = || {
            S3Error::with_message(S3Code::InvalidArgument, "x-amz-decoded-content-length is not a number.")
                .and("ArgumentName", "x-amz-decoded-content-length")
        };
        let length = lengths.next().ok_or_else(|| {
            S3Error::with_message(
                S3Code::MissingContentLength,
                "You must provide x-amz-decoded-content-length.",
            )
        })?;
        let text = length.to_str().map_err(|_| bad_length())?;
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) && lengths.next().is_none();
        let decoded_len = text.parse().ok().filter(|_| digits).ok_or_else(bad_length)?;
        let mut trailers = Vec::new();
        for value in headers.get_all("x-amz-trailer") {
            let names = value.to_str().unwrap_or("?").split(',').map(|name| name.trim().to_ascii_lowercase());
            trailers.extend(names.filter(|name| !name.is_empty()));
        }
        let fit = trailers.iter().all(|name| http::HeaderName::from_bytes(name.as_bytes()).is_ok());
        if !fit || trailers.len() > TRAILERS_MAX {
            return Err(S3Error::with_message(
                S3Code::InvalidRequest,
                "The value specified in the x-amz-trailer header is not supported",
            ));
        }
        Ok(Self { decoded_len, trailers })
    }
}

impl ChunkedDecoder {
    /// A decoder for a body of this mode. `chain` is [`crate::Verified::chunk_chain`].
    ///
    /// `None` if `mode` is not a chunked one, or has signed chunks and no `chain` is given: a body whose
    /// signatures cannot be checked is not decoded.
    pub fn new(mode: PayloadMode, headers: &ChunkedHeaders, chain: Option<ChunkChain>) -> Option<Self> {
        let chain = match (mode.is_chunked(), mode.has_signed_chunks(), chain) {
            (true, true, Some(chain)) => Some(chain),
            (true, false, _) => None,
            (true, true, None) | (false, _, _) => return None,
        };
        Some(Self {
            state: State::Header,
            chain,
            with_trailers: mode.has_trailer(),
            announced: headers.trailers.clone(),
            decoded_left: headers.decoded_len,
            hasher: Sha256::new(),
            line: Vec::new(),
            trailer_bytes: 0,
            trailer_lines: Vec::new(),
            trailers: Vec::new(),
            trailer_signature: None,
        })
    }

    /// Takes what it can from the front of `input`. Call it again until it says [`Step::NeedMore`].
    ///
    /// # Errors
    /// [`ChunkedError`]; it then says the same ever after.
    pub fn step(&mut self, input: &mut Bytes) -> Result<Step, ChunkedError> {
        let step = self.try_step(input);
        if let Err(error) = step {
            self.state = State::Failed(error);
        }
        step
    }

    /// Tells that the body has ended.
    ///
    /// # Errors
    /// [`ChunkedError::Incomplete`] unless everything was there and verified. The last CRLF may be missing,
    /// as some clients leave it out.
    pub fn finish(&mut self) -> Result<(), ChunkedError> {
        let result = match &self.state {
            State::Done => Ok(()),
            State::Trailers if self.line.is_empty() => self.complete(),
            State::Failed(error) => Err(*error),
            State::Trailers | State::Header | State::Data { .. } | State::DataEnd { .. } => {
                Err(ChunkedError::Incomplete)
            }
        };
        self.state = result.map_or_else(State::Failed, |()| State::Done);
        result
    }

    /// The trailers, in the order in which they came; complete and verified once the decoder is done.
    /// The signature of the trailers is not among them.
    pub fn trailers(&self) -> &[Trailer] {
        if matches!(self.state, State::Done) { &self.trailers } else { &[] }
    }

    fn try_step(&mut self, input: &mut Bytes) -> Result<Step, ChunkedError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Done if input.is_empty() => return Ok(Step::Done),
                State::Done => return Err(ChunkedError::TrailingData),
                _ if input.is_empty() => return Ok(Step::NeedMore),
                State::Data { left, signature } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(take);
                    // Cannot fail: `take` is at most `left`.
                    *left -= u64::try_from(take).unwrap_or(0);
                    if *left == 0 {
                        self.state = State::DataEnd { seen_cr: false, signature: *signature };
                    }
                    if self.chain.is_some() {
                        self.hasher.update(&data);
                    }
                    return Ok(Step::Data(data));
                }
                State::DataEnd { seen_cr, signature } => match (*seen_cr, input.get_u8()) {
                    (false, b'\r') => *seen_cr = true,
                    (true, b'\n') => {
                        let signature = *signature;
                        self.check_chunk(signature)?;
                        self.state = State::Header;
                    }
                    (false | true, _) => return Err(ChunkedError::BadChunkEnd),
                },
                State::Header => {
                    if self.read_line(input, HEADER_BYTES_MAX, ChunkedError::BadHeader)? {
                        self.header()?;
                    }
                }
                State::Trailers => {
                    if self.read_line(input, TRAILER_BYTES_MAX, ChunkedError::Trailer)? {
                        self.trailer()?;
                    }
                }
            }
        }
    }

    /// Moves bytes into `line` up to and without CRLF; true when the line is complete.
    fn read_line(
        &mut self,
        input: &mut Bytes,
        max: usize,
        error: ChunkedError,
    ) -> Result<bool, ChunkedError> {
        let end = input.iter().position(|c| *c == b'\n');
        let part = input.split_to(end.map_or(input.len(), |at| at + 1));
        if self.line.len() + part.len() > max {
            return Err(error);
        }
        self.line.extend_from_slice(&part);
        if end.is_none() {
            return Ok(false);
        }
        match self.line.strip_suffix(b"\r\n") {
            Some(line) => {
                self.line.truncate(line.len());
                Ok(true)
            }
            None => Err(error),
        }
    }

    fn header(&mut self) -> Result<(), ChunkedError> {
        let line = std::mem::take(&mut self.line);
        let (size, extension) = match line.iter().position(|c| *c == b';') {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line.as_slice(), None),
        };
        let size = chunk_size(size).ok_or(ChunkedError::BadHeader)?;
        let signature = match (&self.chain, extension) {
            (Some(_), Some(extension)) => Some(chunk_signature(extension).ok_or(ChunkedError::BadHeader)?),
            // Without a signature the chunk is not what the mode promises, whatever it holds.
            (Some(_), None) => return Err(ChunkedError::Signature),
            (None, _) => None,
        };
        self.decoded_left = self.decoded_left.checked_sub(size).ok_or(ChunkedError::TooLong)?;
        if size > 0 {
            self.state = State::Data { left: size, signature };
        } else {
            self.check_chunk(signature)?;
            self.state = State::Trailers;
        }
        Ok(())
    }

    fn check_chunk(&mut self, signature: Option<[u8; 64]>) -> Result<(), ChunkedError> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let expected = chain.sign_chunk(self.hasher.finalize_reset().into());
        check_signature(&expected, signature)
    }

    fn trailer(&mut self) -> Result<(), ChunkedError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.complete()?;
            self.state = State::Done;
            return Ok(());
        }
        self.trailer_bytes += line.len();
        let text = std::str::from_utf8(&line).map_err(|_| ChunkedError::Trailer)?;
        let (name, value) = text.split_once(':').ok_or(ChunkedError::Trailer)?;
        // Only what HTTP counts as white space: a stray CR must not pass.
        let blank = [' ', '\t'];
        let (name, value) = (name.trim_matches(blank).to_ascii_lowercase(), value.trim_matches(blank));
        if !self.with_trailers || self.trailer_bytes > TRAILER_BYTES_MAX || value.contains(char::is_control) {
            return Err(ChunkedError::Trailer);
        }
        // The signature covers what comes before it, so nothing may follow it.
        if self.trailer_signature.is_some() {
            return Err(ChunkedError::Trailer);
        }
        if self.chain.is_some() && name == "x-amz-trailer-signature" {
            self.trailer_signature = Some(value.as_bytes().try_into().map_err(|_| ChunkedError::Signature)?);
            return Ok(());
        }
        if !self.announced.contains(&name) || self.trailers.iter().any(|(have, _)| *have == name) {
            return Err(ChunkedError::Trailer);
        }
        for piece in [name.as_bytes(), b":", value.as_bytes(), b"\n"] {
            self.trailer_lines.extend_from_slice(piece);
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    /// After the last chunk and the trailers: is everything there that was promised?
    fn complete(&mut self) -> Result<(), ChunkedError> {
        if self.decoded_left > 0 && !planted(Mutant::ShortChunkedBody) {
            return Err(ChunkedError::Incomplete);
        }
        if !self.with_trailers {
            return Ok(());
        }
        if let Some(chain) = &mut self.chain {
            let expected = chain.sign_trailers(Sha256::digest(&self.trailer_lines).into());
            check_signature(&expected, self.trailer_signature)?;
        }
        let came = |name: &String| self.trailers.iter().any(|(have, _)| have == name);
        if self.announced.iter().all(came) || planted(Mutant::TrailerNeedNotCome) {
            Ok(())
        } else {
            Err(ChunkedError::Trailer)
        }
    }
}

fn check_signature(expected: &[u8; 64], got: Option<[u8; 64]>) -> Result<(), ChunkedError> {
    let same = got.is_some_and(|got| bool::from(expected.as_slice().ct_eq(got.as_slice())));
    if same || planted(Mutant::ChunkSignatureUnchecked) { Ok(()) } else { Err(ChunkedError::Signature) }
}

fn chunk_size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn chunk_signature(extension: &[u8]) -> Option<[u8; 64]> {
    extension.strip_prefix(b"chunk-signature=")?.try_into().ok()
}

#[cfg(test)]
mod tests;

//! A body on its way in: decoded, counted and verified while it streams, in constant memory.
//!
//! What a request promises about its body is read from its headers before the first byte is asked for, so
//! that a refused request never sends one (`Expect: 100-continue`). The stream ends cleanly only if every
//! promise was kept; until then nobody may believe what has come.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use fallthrough_object::{BodyError, ByteStream, Checksum, ChecksumAlgorithm};
use fallthrough_wire::chunked::{ChunkedDecoder, ChunkedHeaders, Step};
use fallthrough_wire::digest::{DigestSet, Digests, PromiseSource, Promises, parse_content_md5};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use futures::{Stream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Body as _;
use hyper::body::Incoming;

use crate::authentication::Sender;
use crate::patience::{Patience, Waiting};

/// The largest object that one PUT may bring: 5 GiB.
pub(crate) const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// What a request promises about its body.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Size of the decoded body in bytes.
    pub(crate) length_bytes: u64,
    /// Content-MD5, which whoever computes the MD5 anyway verifies.
    pub(crate) content_md5: Option<[u8; 16]>,
    decoder: Option<ChunkedDecoder>,
    promises: Promises,
    computed: DigestSet,
    /// The algorithms whose checksums the client gives, in a header or in a trailer still to come.
    given: Vec<ChecksumAlgorithm>,
}

/// What became of a body, for whoever handed on its stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// The checksums that the client gave, once they are verified.
    pub(crate) checksums: Arc<OnceLock<Vec<Checksum>>>,
    /// What to answer if the body was refused.
    pub(crate) refused: Arc<OnceLock<S3Error>>,
    pub(crate) unread: Arc<Mutex<Option<Incoming>>>,
}

impl Verdict {
    /// The body, if whoever had its stream dropped it before its end, and not because of what was in it: the
    /// client still sends it, and may not listen before it has.
    pub(crate) fn unread(&self) -> Option<Incoming> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Upload {
    /// Reads the promises of a request of at most `max` bytes. Nothing is asked of the client yet.
    ///
    /// # Errors
    /// `MissingContentLength`, `EntityTooLarge`, `InvalidDigest`, and `InvalidRequest` for promises that
    /// contradict each other.
    pub(crate) fn of(headers: &HeaderMap, query: &Query, sender: &Sender, max: u64) -> Result<Self, S3Error> {
        let mode = sender.payload();
        let chunked = mode.is_chunked().then(|| ChunkedHeaders::from_headers(headers)).transpose()?;
        let length_bytes = match &chunked {
            Some(chunked) => chunked.decoded_len,
            None => content_length(headers)?,
        };
        if length_bytes > max {
            return Err(S3Error::new(S3Code::EntityTooLarge)
                .and("ProposedSize", length_bytes.to_string())
                .and("MaxSizeAllowed", max.to_string()));
        }
        let announced = chunked.as_ref().map_or(&[][..], |chunked| &chunked.trailers);
        let promises = promises(headers, query, sender, &mode)?;
        let computed = promises.needs(announced)?;
        let given = given(&promises, announced);
        if given.is_empty() && headers.contains_key("x-amz-sdk-checksum-algorithm") && length_bytes > 0 {
            return Err(S3Error::with_message(
                S3Code::InvalidRequest,
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer \
                 headers were found.",
            ));
        }
        let decoder = match chunked {
            None => None,
            Some(chunked) => {
                let chain = match sender {
                    Sender::Anonymous(_) => None,
                    Sender::Key(verified) => Some(verified.chunk_chain()),
                };
                let decoder = ChunkedDecoder::new(mode, &chunked, chain);
                Some(decoder.ok_or_else(|| S3Error::new(S3Code::AccessDenied))?)
            }
        };
        let content_md5 = content_md5(headers)?;
        Ok(Self { length_bytes, content_md5, decoder, promises, computed, given })
    }

    /// The algorithms whose checksums the client gives.
    pub(crate) fn given(&self) -> &[ChecksumAlgorithm] {
        &self.given
    }

    /// Has this checksum computed as well, and kept as if the client had given it.
    pub(crate) fn also(&mut self, algorithm: ChecksumAlgorithm) {
        self.computed = self.computed.and(algorithm);
        if !self.given.contains(&algorithm) {
            self.given.push(algorithm);
        }
    }

    /// Whether anything but the length protects the body.
    pub(crate) fn has_digest(&self) -> bool {
        self.content_md5.is_some() || !self.promises.is_empty() || !self.given.is_empty()
    }

    /// The decoded body. Asks `body` for bytes only when it is itself asked.
    pub(crate) fn stream(self, body: Incoming, patience: Patience) -> (ByteStream, Verdict) {
        let verdict = Verdict::default();
        let stream = Decoded {
            body: Some(body),
            waiting: Waiting::new(patience),
            input: Bytes::new(),
            decoder: self.decoder,
            promises: self.promises,
            digests: Some(Digests::new(self.computed)),
            given: self.given,
            left: self.length_bytes,
            verdict: verdict.clone(),
            ended: false,
        };
        (Box::pin(stream), verdict)
    }

    /// The whole decoded body in memory, its MD5 verified as well. Only for bodies that [`Upload::of`] was
    /// told to keep small.
    pub(crate) async fn collect(mut self, body: Incoming, patience: Patience) -> Result<Bytes, S3Error> {
        let md5 = self.content_md5;
        self.computed = if md5.is_some() { self.computed.and_md5() } else { self.computed };
        let mut all = BytesMut::with_capacity(usize::try_from(self.length_bytes).unwrap_or(0));
        let (mut stream, verdict) = self.stream(body, patience);
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => all.extend_from_slice(&piece),
                Err(error) => {
                    return Err(verdict
                        .refused
                        .get()
                        .cloned()
                        .unwrap_or_else(|| crate::refusal::body_answer(&error)));
                }
            }
        }
        if let Some(md5) = md5 {
            let mut digests = Digests::new(DigestSet::none().and_md5());
            digests.update(&all);
            if digests.finish().md5 != Some(md5) {
                return Err(crate::refusal::body_answer(&BodyError::Mismatch { what: "Content-MD5" }));
            }
        }
        Ok(all.freeze())
    }
}

/// The length of a body that is not aws-chunked. HTTP's own chunks say none: 411, as S3 answers.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<u64, S3Error> {
    let value = headers.get(CONTENT_LENGTH).ok_or_else(|| S3Error::new(S3Code::MissingContentLength))?;
    // The HTTP layer has read it already; this only fails together with it.
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| S3Error::with_message(S3Code::InvalidRequest, "Content-Length is not a number."))
}

/// Content-MD5, if it is given once.
pub(crate) fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let mut values = headers.get_all("content-md5").iter();
    let invalid =
        || S3Error::with_message(S3Code::InvalidDigest, "The Content-MD5 you specified was invalid.");
    let Some(value) = values.next() else { return Ok(None) };
    let digest = value.to_str().ok().and_then(parse_content_md5).ok_or_else(invalid)?;
    if values.next().is_some() { Err(invalid()) } else { Ok(Some(digest)) }
}

/// All promises but Content-MD5, which is verified elsewhere: MD5 is too slow to be computed twice.
fn promises(
    headers: &HeaderMap,
    query: &Query,
    sender: &Sender,
    mode: &PayloadMode,
) -> Result<Promises, S3Error> {
    let mut relevant = HeaderMap::new();
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-checksum-") {
            relevant.append(name.clone(), value.clone());
        }
    }
    let mut promises = Promises::of_request(&relevant, mode)?;
    if sender.is_presigned() && relevant.is_empty() {
        promises.add_query(query)?;
    }
    Ok(promises)
}

/// The algorithms whose checksums are promised, or announced in trailers.
pub(crate) fn given(promises: &Promises, announced: &[String]) -> Vec<ChecksumAlgorithm> {
    let by_header = promises.iter().filter_map(|promise| match promise.source {
        PromiseSource::Checksum(algorithm) => Some(algorithm),
        PromiseSource::ContentMd5
        | PromiseSource::PayloadSha256
        | PromiseSource::ReprMd5
        | PromiseSource::ReprSha256 => None,
    });
    let by_trailer = announced.iter().filter_map(|name| {
        let suffix = name.strip_prefix("x-amz-checksum-")?;
        ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header_suffix() == suffix)
    });
    by_header.chain(by_trailer).collect()
}

/// The stream behind [`Upload::stream`]. Holds one piece as it came from the socket, and hash states.
struct Decoded {
    /// Taken when this is dropped.
    body: Option<Incoming>,
    waiting: Waiting,
    /// Encoded bytes that have not been decoded.
    input: Bytes,
    decoder: Option<ChunkedDecoder>,
    promises: Promises,
    digests: Option<Digests>,
    given: Vec<ChecksumAlgorithm>,
    /// Decoded bytes that must still come.
    left: u64,
    verdict: Verdict,
    ended: bool,
}

impl Drop for Decoded {
    fn drop(&mut self) {
        if !self.ended {
            *self.verdict.unread.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

/// Why the body is refused: for the engine, and for the client.
struct Broken(BodyError, Box<S3Error>);

impl<E> From<E> for Broken
where
    E: Into<BodyError> + Into<S3Error> + Clone,
{
    fn from(error: E) -> Self {
        Self(error.clone().into(), Box::new(error.into()))
    }
}

impl Decoded {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(piece) = self.decode()? {
                return Poll::Ready(Ok(Some(piece)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => {
                    return self.waiting.poll_over(cx).map(|()| Err(plain(BodyError::Stalled)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // HTTP's own trailers say nothing that S3 knows.
                    self.input = frame.into_data().unwrap_or_default();
                    self.waiting.came(self.input.len());
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(plain(BodyError::Incomplete))),
                Poll::Ready(None) => return Poll::Ready(self.finish().map(|()| None)),
            }
        }
    }

    /// The next decoded bytes of what has come; never empty.
    fn decode(&mut self) -> Result<Option<Bytes>, Broken> {
        let piece = match &mut self.decoder {
            None => std::mem::take(&mut self.input),
            Some(decoder) => match decoder.step(&mut self.input)? {
                Step::Data(piece) => piece,
                Step::NeedMore | Step::Done => return Ok(None),
            },
        };
        if piece.is_empty() {
            return Ok(None);
        }
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| plain(BodyError::TooLong))?;
        if let Some(digests) = &mut self.digests {
            digests.update(&piece);
        }
        Ok(Some(piece))
    }

    /// At the end: was every promise kept?
    fn finish(&mut self) -> Result<(), Broken> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
            for (name, value) in decoder.trailers() {
                let added = self.promises.add_trailer(name, value);
                added.map_err(|error| {
                    Broken(BodyError::Malformed { what: "trailer" }, Box::new(error.into()))
                })?;
            }
        }
        if self.left > 0 {
            return Err(plain(BodyError::Incomplete));
        }
        let values = self.digests.take().map(Digests::finish).unwrap_or_default();
        self.promises.check(&values)?;
        let mut checksums = values.checksums;
        checksums.retain(|checksum| self.given.contains(&checksum.algorithm));
        // Set once: the stream ends once.
        let _ = self.verdict.checksums.set(checksums);
        Ok(())
    }
}

fn plain(error: BodyError) -> Broken {
    let answer = crate::refusal::body_answer(&error);
    Broken(error, Box::new(answer))
}

impl Stream for Decoded {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = match std::task::ready!(self.poll_piece(cx)) {
            Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
            Ok(None) => None,
            Err(Broken(error, answer)) => {
                // The first reason is the one that counts.
                let _ = self.verdict.refused.set(*answer);
                Some(Err(error))
            }
        };
        self.ended = true;
        Poll::Ready(piece)
    }
}

//! The body of a PUT on its way in: decoded, counted, and held to every digest that was promised.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{BodyError, ByteStream};
use fallthrough_wire::chunked::{ChunkedDecoder, ChunkedHeaders, Step};
use fallthrough_wire::digest::{Digests, Promises};
use fallthrough_wire::headers::meta_of_request;
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::{S3Code, S3Error};
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use http_body::Body as HttpBody;
use http_body_util::BodyStream;

use crate::access::{Caller, content_length};
use crate::error::BoxError;
use crate::origin::Upload;

type Incoming = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

struct Receiver {
    incoming: Incoming,
    stall_after: Duration,
    decoder: Option<ChunkedDecoder>,
    /// Fed to the decoder, not yet used up.
    undecoded: Bytes,
    left: u64,
    digests: Option<Digests>,
    promises: Promises,
}

/// What is uploaded, with its body still to come.
///
/// # Errors
/// The S3 error for headers that contradict each other or promise what cannot be checked.
pub(crate) fn receive<B>(
    headers: &HeaderMap,
    caller: &Caller,
    body: B,
    stall_after: Duration,
) -> Result<Upload, S3Error>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mode, chain) = match caller {
        Caller::Signed(verified) => (verified.payload(), Some(verified.chunk_chain())),
        Caller::Anybody => match headers.get("x-amz-content-sha256") {
            None => (PayloadMode::Unsigned, None),
            Some(value) => (PayloadMode::parse(value.to_str().unwrap_or_default())?, None),
        },
    };
    let (decoder, len_bytes, announced) = if mode.is_chunked() {
        let said = ChunkedHeaders::from_headers(headers)?;
        let decoder = ChunkedDecoder::new(mode, &said, chain).ok_or(S3Code::NotImplemented)?;
        (Some(decoder), said.decoded_len, said.trailers)
    } else {
        let len_bytes = content_length(headers)?.ok_or(S3Code::MissingContentLength)?;
        (None, len_bytes, Vec::new())
    };
    let promises = Promises::of_request(headers, &mode)?;
    let digests = Some(Digests::new(promises.needs(&announced)?));
    let meta = meta_of_request(headers)?;
    let receiver = Receiver {
        incoming: Box::pin(data_of(body)),
        stall_after,
        decoder,
        undecoded: Bytes::new(),
        left: len_bytes,
        digests,
        promises,
    };
    let body: ByteStream = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Ok(None) => None,
            Err(why) => Some((Err(why), None)),
        }
    })
    .boxed();
    Ok(Upload { body, len_bytes, meta })
}

fn data_of<B>(body: B) -> impl Stream<Item = Result<Bytes, BodyError>> + Send
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BodyStream::new(body).filter_map(|frame| {
        std::future::ready(match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(why) => Some(Err(BodyError::Io(std::io::Error::other(why)))),
        })
    })
}

impl Receiver {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let piece = match &mut self.decoder {
            None => next_of(&mut self.incoming, self.stall_after).await?,
            Some(decoder) => loop {
                match decoder.step(&mut self.undecoded)? {
                    Step::Data(piece) => break Some(piece),
                    Step::NeedMore | Step::Done => match next_of(&mut self.incoming, self.stall_after).await?
                    {
                        Some(more) => self.undecoded = more,
                        None => {
                            decoder.finish()?;
                            break None;
                        }
                    },
                }
            },
        };
        let Some(piece) = piece else { return self.check().map(|()| None) };
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(BodyError::TooLong)?;
        if let Some(digests) = &mut self.digests {
            digests.update(&piece);
        }
        Ok(Some(piece))
    }

    /// At the end: nothing missing, nothing different.
    fn check(&mut self) -> Result<(), BodyError> {
        if self.left > 0 {
            return Err(BodyError::Incomplete);
        }
        for (name, value) in self.decoder.iter().flat_map(ChunkedDecoder::trailers) {
            self.promises
                .add_trailer(name, value)
                .map_err(|_| BodyError::Malformed { what: "checksum in a trailer" })?;
        }
        let Some(digests) = self.digests.take() else { return Ok(()) };
        let broken = self.promises.check(&digests.finish()).err();
        broken.map_or(Ok(()), |broken| Err(BodyError::Mismatch { what: broken.source_of.name() }))
    }
}

async fn next_of(incoming: &mut Incoming, stall_after: Duration) -> Result<Option<Bytes>, BodyError> {
    match tokio::time::timeout(stall_after, incoming.next()).await {
        Ok(piece) => piece.transpose(),
        Err(_) => Err(BodyError::Stalled),
    }
}

/// What a client is told if its body broke the upload, rather than that the origin failed.
pub(crate) fn blame(why: &BodyError) -> Option<S3Code> {
    match why {
        BodyError::Incomplete => Some(S3Code::IncompleteBody),
        BodyError::Mismatch { what } if what.contains("signature") => Some(S3Code::SignatureDoesNotMatch),
        BodyError::Mismatch { .. } => Some(S3Code::BadDigest),
        BodyError::TooLong | BodyError::Malformed { .. } => Some(S3Code::InvalidRequest),
        BodyError::Stalled => Some(S3Code::RequestTimeout),
        BodyError::Corrupt | BodyError::Origin | BodyError::Io(_) => None,
    }
}

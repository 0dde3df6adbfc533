//! The file of a form on its way in: cut out, counted and verified while it streams, in constant memory.

use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fallthrough_object::{BodyError, ChecksumAlgorithm, Mutant, planted};
use fallthrough_wire::digest::{Digests, Promises};
use fallthrough_wire::{S3Code, S3Error};
use futures::Stream;
use http_body::Body as _;
use hyper::body::Incoming;

use super::multipart::{Came, FIELDS_BYTES_MAX, FieldsReader, FileReader, FileStep};
use super::policy::Lengths;
use crate::patience::{Patience, Waiting};
use crate::refusal::body_answer;
use crate::upload::Verdict;

/// What a form promises about its file.
#[derive(Debug)]
pub(super) struct Promised {
    pub(super) lengths: Lengths,
    pub(super) promises: Promises,
    pub(super) digests: Digests,
    /// The algorithms whose checksums the form gives.
    pub(super) given: Vec<ChecksumAlgorithm>,
}

/// The bytes of the file. The stream ends cleanly only when the whole form was read and every promise kept.
pub(super) struct FileStream {
    /// Taken when this is dropped.
    body: Option<Incoming>,
    waiting: Waiting,
    /// Bytes that have not been looked at.
    input: Bytes,
    file: FileReader,
    came: u64,
    lengths: Lengths,
    promises: Promises,
    digests: Option<Digests>,
    given: Vec<ChecksumAlgorithm>,
    behind: Behind,
    verdict: Verdict,
    ended: bool,
}

/// What stands behind the file.
enum Behind {
    /// The file itself is still coming.
    File,
    /// Fields that say nothing, and how many bytes of them have come.
    Fields(FieldsReader, usize),
    /// The form has ended; so many bytes have come since the file.
    End(usize),
}

/// Why the form is refused: for the engine, and for the client.
struct Broken(BodyError, Box<S3Error>);

fn plain(error: BodyError) -> Broken {
    let answer = body_answer(&error);
    Broken(error, Box::new(answer))
}

fn refused(answer: impl Into<S3Error>) -> Broken {
    Broken(BodyError::Malformed { what: "form" }, Box::new(answer.into()))
}

impl FileStream {
    /// `first`: bytes of `body` that have been read already.
    pub(super) fn new(
        first: Bytes,
        body: Incoming,
        file: FileReader,
        promised: Promised,
        patience: Patience,
    ) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let stream = Self {
            body: Some(body),
            waiting: Waiting::new(patience),
            input: first,
            file,
            came: 0,
            lengths: promised.lengths,
            promises: promised.promises,
            digests: Some(promised.digests),
            given: promised.given,
            behind: Behind::File,
            verdict: verdict.clone(),
            ended: false,
        };
        (stream, verdict)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            if let Some(piece) = self.cut()? {
                return Poll::Ready(Ok(Some(piece)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return self.waiting.poll_over(cx).map(|()| Err(plain(BodyError::Stalled))),
                Poll::Ready(Some(Ok(frame))) => {
                    self.input = frame.into_data().unwrap_or_default();
                    self.waiting.came(self.input.len());
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(plain(BodyError::Incomplete))),
                Poll::Ready(None) => return Poll::Ready(self.finish().map(|()| None)),
            }
        }
    }

    /// The next bytes of the file in what has come; `None` when all of it is used up.
    fn cut(&mut self) -> Result<Option<Bytes>, Broken> {
        if let Behind::File = self.behind {
            match self.file.step(&mut self.input) {
                FileStep::Data(piece) => return self.count(piece).map(Some),
                FileStep::NeedMore => return Ok(None),
                FileStep::End => self.behind = Behind::Fields(self.file.behind(), 0),
            }
        }
        let input = std::mem::take(&mut self.input);
        let came = match &mut self.behind {
            Behind::File => 0,
            Behind::End(came) => {
                *came += input.len();
                *came
            }
            Behind::Fields(reader, came) => {
                let came = *came + input.len();
                match reader.feed(&input).map_err(refused)? {
                    Came::Part => {
                        if let Behind::Fields(_, so_far) = &mut self.behind {
                            *so_far = came;
                        }
                    }
                    Came::File(_) => return Err(refused(S3Code::IncorrectNumberOfFilesInPostRequest)),
                    Came::End => self.behind = Behind::End(came),
                }
                came
            }
        };
        // Whatever it is, it is no part of the form.
        if came > 2 * FIELDS_BYTES_MAX { Err(refused(S3Code::MalformedPostRequest)) } else { Ok(None) }
    }

    fn count(&mut self, piece: Bytes) -> Result<Bytes, Broken> {
        self.came += piece.len() as u64;
        if self.came > self.lengths.max && !planted(Mutant::FormLengthUnchecked) {
            let answer = S3Error::new(S3Code::EntityTooLarge)
                .and("ProposedSize", self.came.to_string())
                .and("MaxSizeAllowed", self.lengths.max.to_string());
            return Err(refused(answer));
        }
        if let Some(digests) = &mut self.digests {
            digests.update(&piece);
        }
        Ok(piece)
    }

    /// At the end: is the form whole, and was every promise kept?
    fn finish(&mut self) -> Result<(), Broken> {
        match self.behind {
            Behind::End(_) => {}
            Behind::File | Behind::Fields(..) => return Err(refused(S3Code::MalformedPostRequest)),
        }
        if self.came < self.lengths.min && !planted(Mutant::FormLengthUnchecked) {
            let answer = S3Error::new(S3Code::EntityTooSmall)
                .and("ProposedSize", self.came.to_string())
                .and("MinSizeAllowed", self.lengths.min.to_string());
            return Err(refused(answer));
        }
        let values = self.digests.take().map(Digests::finish).unwrap_or_default();
        self.promises.check(&values).map_err(|error| Broken(error.clone().into(), Box::new(error.into())))?;
        let mut checksums = values.checksums;
        checksums.retain(|checksum| self.given.contains(&checksum.algorithm));
        // Set once: the stream ends once.
        let _ = self.verdict.checksums.set(checksums);
        Ok(())
    }
}

impl Drop for FileStream {
    fn drop(&mut self) {
        if !self.ended {
            *self.verdict.unread.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = match ready!(self.poll_piece(cx)) {
            Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(Broken(error, answer)) => {
                // The first reason is the one that counts. What is still to come is left for whoever answers.
                let _ = self.verdict.refused.set(*answer);
                let unread = self.body.take();
                *self.verdict.unread.lock().unwrap_or_else(PoisonError::into_inner) = unread;
                self.ended = true;
                Some(Err(error))
            }
        };
        Poll::Ready(piece)
    }
}

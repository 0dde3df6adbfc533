//! The body on its way out: cut to the range, watched for stalls, and never ended cleanly unless it is whole.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallthrough_object::{Body, BodyError, ByteRange, ByteStream, FileRange};
use futures::{FutureExt, Stream, StreamExt};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::counters::Counters;

/// How much of a file is read at once. Smaller reads cost more hops to the blocking threads than they save.
const FILE_PIECE_BYTES: u64 = 256 * 1024;

/// Set when a body failed on this connection: the connection is then reset rather than closed, so that
/// not even a client that reads until the end takes the bytes so far for the whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken(Arc<AtomicBool>);

impl Broken {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A response's body. An error in it resets the connection.
///
/// The last piece is held back until the source has ended, where a length was promised: a source with too
/// few or too many bytes never looks whole.
pub struct SentBody {
    source: Source,
    /// Bytes of the source still to be passed over.
    skip: u64,
    /// Bytes still promised; `None` if no length was.
    left: Option<u64>,
    /// Whether the source must end where the promise does, as it must unless a range ends before.
    ends_here: bool,
    held: Option<Bytes>,
    stall: Option<Stall>,
    watch: Option<Watch>,
}

/// What is told about the body while it goes out.
pub(crate) struct Watch {
    pub(crate) counters: Arc<Counters>,
    pub(crate) broken: Option<Broken>,
    /// The place in the admission, kept for as long as the origin is at work on the body.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The time that the origin lets us wait, as opposed to the time that a slow reader takes.
struct Stall {
    after: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Stall {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.after);
        }
        self.timer.poll_unpin(cx)
    }
}

enum Source {
    Bytes(Bytes),
    File(FileRange, Option<JoinHandle<std::io::Result<Bytes>>>),
    Stream(ByteStream),
    Ended,
}

impl SentBody {
    /// Bytes in memory, all of them.
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self {
            source: Source::Bytes(bytes),
            skip: 0,
            left,
            ends_here: true,
            held: None,
            stall: None,
            watch: None,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// All of `body`, which must be `len_bytes` long, where that is known.
    pub(crate) fn whole(body: Body, len_bytes: Option<u64>, stall_after: Duration, watch: Watch) -> Self {
        let is_stream = matches!(body, Body::Stream(_));
        let source = match body {
            Body::Bytes(bytes) => Source::Bytes(bytes),
            Body::File(range) => Source::File(range, None),
            Body::Stream(stream) => Source::Stream(stream),
        };
        let timer =
            || Stall { after: stall_after, timer: Box::pin(tokio::time::sleep(stall_after)), waiting: false };
        let mut watch = watch;
        if !is_stream {
            // The origin's work is done: a slow reader must not hold its place.
            watch.permit = None;
        }
        Self {
            source,
            skip: 0,
            left: len_bytes,
            ends_here: true,
            held: None,
            stall: is_stream.then(timer),
            watch: Some(watch),
        }
    }

    /// Only `range` of a body that is `size_bytes` long.
    pub(crate) fn cut(
        body: Body,
        range: ByteRange,
        size_bytes: u64,
        stall_after: Duration,
        watch: Watch,
    ) -> Self {
        let mut sent = Self::whole(body, Some(range.len()), stall_after, watch);
        match &mut sent.source {
            Source::Bytes(bytes) => {
                // A range of bytes in memory fits the address space.
                let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let cut = bytes.slice(at(range.start)..at(range.end));
                *bytes = cut;
            }
            Source::File(file, _) => {
                file.offset += range.start;
                file.len = range.len();
            }
            Source::Stream(_) => {
                sent.skip = range.start;
                sent.ends_here = range.end == size_bytes;
            }
            Source::Ended => {}
        }
        sent
    }

    fn fail(&mut self, why: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source = Source::Ended;
        self.held = None;
        self.left = None;
        if let Some(watch) = self.watch.take() {
            watch.counters.body_broke();
            if let Some(broken) = &watch.broken {
                broken.set();
            }
        }
        tracing::warn!(why = %why, "a body broke off; the connection is reset");
        Poll::Ready(Some(Err(why)))
    }

    fn finish(&mut self) {
        self.source = Source::Ended;
        self.watch = None;
    }

    fn pass(&self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(watch) = &self.watch {
            watch.counters.sent(piece.len());
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// The next piece of the source, never empty.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let piece = match self.source.poll_next(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => {
                    let stalled = self.stall.as_mut().is_some_and(|s| s.poll(cx).is_ready());
                    return if stalled { Poll::Ready(Some(Err(BodyError::Stalled))) } else { Poll::Pending };
                }
            };
            if let Some(stall) = &mut self.stall {
                stall.waiting = false;
            }
            match piece {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                piece => return Poll::Ready(piece),
            }
        }
    }
}

impl Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Bytes(bytes) => {
                let all = std::mem::take(bytes);
                *self = Self::Ended;
                Poll::Ready(Some(Ok(all)))
            }
            Self::File(range, _) if range.len == 0 => {
                *self = Self::Ended;
                Poll::Ready(None)
            }
            Self::File(range, reading) => {
                let job = reading.get_or_insert_with(|| read_piece(range));
                let piece = ready!(job.poll_unpin(cx));
                *reading = None;
                let piece = match piece {
                    Ok(Ok(bytes)) => bytes,
                    // The file has become shorter than it was.
                    Ok(Err(cause)) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
                        return Poll::Ready(Some(Err(BodyError::Incomplete)));
                    }
                    Ok(Err(cause)) => return Poll::Ready(Some(Err(cause.into()))),
                    Err(_panicked) => return Poll::Ready(Some(Err(BodyError::Origin))),
                };
                range.offset += piece.len() as u64;
                range.len -= piece.len() as u64;
                Poll::Ready(Some(Ok(piece)))
            }
            Self::Stream(stream) => {
                // A panic in an origin's stream ends this one body, as a panic in `get` ends one request.
                let polled = std::panic::catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
                polled.unwrap_or(Poll::Ready(Some(Err(BodyError::Origin))))
            }
            Self::Ended => Poll::Ready(None),
        }
    }
}

fn read_piece(range: &FileRange) -> JoinHandle<std::io::Result<Bytes>> {
    let (file, offset) = (Arc::clone(&range.file), range.offset);
    let len = usize::try_from(range.len.min(FILE_PIECE_BYTES)).unwrap_or_default();
    tokio::task::spawn_blocking(move || {
        let mut piece = BytesMut::zeroed(len);
        file.read_exact_at(&mut piece, offset)?;
        Ok(piece.freeze())
    })
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let piece = ready!(self.poll_piece(cx));
            let mut piece = match (piece, self.held.take()) {
                (Some(Err(why)), _) => return self.fail(why),
                (Some(Ok(_more)), Some(_)) => return self.fail(BodyError::TooLong),
                (None, Some(last)) => {
                    let passed = self.pass(last);
                    self.finish();
                    return passed;
                }
                (None, None) => match self.left {
                    Some(left) if left > 0 => return self.fail(BodyError::Incomplete),
                    Some(_) | None => {
                        self.finish();
                        return Poll::Ready(None);
                    }
                },
                (Some(Ok(piece)), None) => piece,
            };
            let len = piece.len() as u64;
            if self.skip >= len {
                self.skip -= len;
                continue;
            }
            let skipped = usize::try_from(std::mem::take(&mut self.skip)).unwrap_or(piece.len());
            let mut piece = piece.split_off(skipped);
            let Some(left) = self.left else { return self.pass(piece) };
            let len = piece.len() as u64;
            if len < left {
                self.left = Some(left - len);
                return self.pass(piece);
            }
            if self.ends_here {
                if len > left {
                    return self.fail(BodyError::TooLong);
                }
                self.left = Some(0);
                self.held = Some(piece);
            } else {
                self.left = Some(0);
                piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let passed = self.pass(piece);
                self.finish();
                return passed;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // A piece that is held back makes `left` zero, too.
        matches!(self.source, Source::Ended) && self.held.is_none()
            || self.left == Some(0) && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |piece| piece.len() as u64);
        self.left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + held))
    }
}

/// The body as a plain stream, for callers within the process. Polled to its end, it gives every piece and
/// then the error, if there is one.
impl Stream for SentBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(http_body::Body::poll_frame(self, cx));
        Poll::Ready(frame.map(|frame| frame.map(|f| f.into_data().unwrap_or_default())))
    }
}

impl SentBody {
    /// The body as a [`ByteStream`].
    pub fn into_stream(self) -> ByteStream {
        StreamExt::boxed(self)
    }
}

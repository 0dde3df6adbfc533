//! The body of an answer, as hyper takes it.
//!
//! An object's bytes are not boxed on their way. A body that cannot be sent whole ends with an error, on
//! which hyper closes the connection: with a length, bytes are then missing; chunked, the last chunk is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fallthrough_bucket::CacheWord;
use fallthrough_object::{Body, BodyError, ByteStream, Clock, Monotonic, Mutant, planted};
use http_body::{Body as _, Frame, SizeHint};

use crate::blocks::{BlockPool, FileBody};
use crate::flow::{Flow, Underway};
use crate::operation::Operation;
use crate::telemetry::Telemetry;

/// A body on its way out.
pub(crate) struct Outgoing {
    kind: Kind,
    watch: Option<Box<Watch>>,
    flow: Option<Flow>,
    underway: Option<Underway>,
}

enum Kind {
    Empty,
    Bytes(Bytes),
    File(FileBody),
    /// `left`: bytes that must still come, if the length was promised.
    Stream {
        stream: ByteStream,
        left: Option<u64>,
    },
    Page(axum::body::Body),
}

/// Records how long the request took, when the last byte is handed over or the client has gone.
pub(crate) struct Watch {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Monotonic,
    pub(crate) operation: Operation,
    pub(crate) cache: Option<CacheWord>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let took = self.clock.monotonic().since(self.started);
        self.telemetry.finished(self.operation, self.cache, took);
    }
}

impl Outgoing {
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Empty, watch: None, flow: None, underway: None }
    }

    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Bytes(bytes) };
        Self { kind, watch: None, flow: None, underway: None }
    }

    pub(crate) fn page(body: axum::body::Body) -> Self {
        Self { kind: Kind::Page(body), watch: None, flow: None, underway: None }
    }

    /// An object's bytes. `len`: how many they must be, as promised to the client.
    pub(crate) fn object(body: Body, len: Option<u64>, blocks: &Arc<BlockPool>) -> Self {
        match body {
            Body::Bytes(bytes) => Self::bytes(bytes),
            Body::File(range) if range.len == 0 => Self::empty(),
            Body::File(range) => Self {
                kind: Kind::File(FileBody::new(range, Arc::clone(blocks))),
                watch: None,
                flow: None,
                underway: None,
            },
            Body::Stream(stream) => {
                Self { kind: Kind::Stream { stream, left: len }, watch: None, flow: None, underway: None }
            }
        }
    }

    /// The same body, watched until its end.
    pub(crate) fn watched(mut self, watch: Watch) -> Self {
        match self.kind {
            // Sent in one piece with the head: dropped, and so recorded, at once.
            Kind::Empty | Kind::Bytes(_) => drop(watch),
            Kind::File(_) | Kind::Stream { .. } | Kind::Page(_) => self.watch = Some(Box::new(watch)),
        }
        self
    }

    /// The same body, each piece of it made when the one before has gone into the socket, and `underway` until it is
    /// dropped.
    pub(crate) fn paced(mut self, flow: &Flow, underway: Underway) -> Self {
        self.underway = Some(underway);
        match self.kind {
            Kind::Empty | Kind::Bytes(_) => {}
            Kind::File(_) | Kind::Stream { .. } | Kind::Page(_) => self.flow = Some(flow.clone()),
        }
        self
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(flow) = &self.flow {
            ready!(flow.poll_clear(cx));
        }
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::File(file) => file.poll_block(cx).map_ok(Frame::data),
            Kind::Stream { stream, left } => match ready!(stream.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => Poll::Ready(Some(count(left, &bytes).map(|()| Frame::data(bytes)))),
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
                None if left.is_none_or(|left| left == 0) => Poll::Ready(None),
                None => Poll::Ready(Some(Err(BodyError::Incomplete))),
            },
            Kind::Page(body) => {
                Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Io(std::io::Error::other(error)))
            }
        }
    }
}

/// Invariant: bytes written never pass the length that was promised.
fn count(left: &mut Option<u64>, bytes: &Bytes) -> Result<(), BodyError> {
    if let Some(left) = left {
        *left = left.checked_sub(bytes.len() as u64).ok_or(BodyError::TooLong)?;
    }
    Ok(())
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = ready!(self.poll_piece(cx));
        match &piece {
            Some(Ok(_)) => {
                if let Some(flow) = &self.flow {
                    flow.handed_out();
                }
            }
            Some(Err(error)) => {
                // Nothing may follow an error, or the client could take the rest for a whole.
                self.kind = Kind::Empty;
                if let Some(watch) = self.watch.take() {
                    watch.telemetry.bodies_broken.increment(1);
                    tracing::warn!(
                        operation = watch.operation.name(),
                        error = error as &(dyn std::error::Error + 'static),
                        "an answer was broken off"
                    );
                }
            }
            None => self.watch = None,
        }
        if planted(Mutant::CleanEndAfterError) && matches!(&piece, Some(Err(_))) {
            return Poll::Ready(None);
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Bytes(_) | Kind::Stream { .. } => false,
            Kind::File(file) => file.left() == 0,
            Kind::Page(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::File(file) => SizeHint::with_exact(file.left()),
            Kind::Stream { left: Some(left), .. } => SizeHint::with_exact(*left),
            Kind::Stream { left: None, .. } => SizeHint::new(),
            Kind::Page(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Empty => "Outgoing::Empty",
            Kind::Bytes(_) => "Outgoing::Bytes",
            Kind::File(_) => "Outgoing::File",
            Kind::Stream { .. } => "Outgoing::Stream",
            Kind::Page(_) => "Outgoing::Page",
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn streamed(pieces: Vec<Result<Bytes, BodyError>>, len: Option<u64>) -> Outgoing {
        Outgoing::object(Body::Stream(Box::pin(stream::iter(pieces))), len, &Arc::default())
    }

    #[tokio::test]
    async fn a_stream_must_keep_its_promised_length() {
        let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let whole = streamed(vec![piece("ab"), piece("c")], Some(3)).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "abc");
        let short = streamed(vec![piece("ab")], Some(3)).collect().await;
        assert!(matches!(short, Err(BodyError::Incomplete)));
        let long = streamed(vec![piece("ab"), piece("cd")], Some(3)).collect().await;
        assert!(matches!(long, Err(BodyError::TooLong)));
        let unknown = streamed(vec![piece("ab")], None).collect().await.unwrap();
        assert_eq!(unknown.to_bytes(), "ab");
    }

    #[tokio::test]
    async fn nothing_follows_an_error() {
        let mut body = streamed(vec![Err(BodyError::Origin), Ok(Bytes::from_static(b"x"))], None);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}

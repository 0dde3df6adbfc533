//! A body that is passed from the origin without being kept.
//!
//! A task takes it from the origin and is a little ahead of its reader, so that the origin's place is free as soon
//! as the origin has done its part. A reader that is slower than that keeps the place only as long as nobody waits
//! for it: then it has to take [`TAKEN_PER_SEC`] on the average, or is broken off and may resume with another
//! range. Nothing is staged: most readers of a range of a large object take a part of it and hang up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteStream, Checksum, ChecksumKind};
use fallthrough_shadow::Expected;
use fallthrough_wire::digest::{DigestSet, Digests};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::origins::Permit;
use crate::verify::verify;

/// One piece of the lead.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the reader: with the one in hand, this is the memory of a passed range.
const LEAD_PIECES: usize = 4;
/// What a reader must take on the average while others wait for its place: half a megabit, less than the slowest
/// line that somebody would read large objects over.
const TAKEN_PER_SEC: u64 = 64 * 1024;

/// What a passed body is promised to be, and whose promise it is.
pub(crate) type Promise = (Arc<str>, Expected);

/// Passes on exactly `len_bytes` of `body`: fewer end in an error, never cleanly, and more are refused. A
/// silence of the origin of more than the engine's `stall` breaks it off, and so does a reader that is too slow.
/// The permit is held until the origin has given everything, or the reader hangs up.
pub(crate) fn passed(engine: &Engine, body: Body, len_bytes: u64, permit: Permit) -> Body {
    passed_verified(engine, body, Some(len_bytes), None, permit)
}

/// As [`passed`]. Where the length is not known the body ends cleanly only where the origin ended it. Where digests are
/// promised the last piece is withheld until they agree.
pub(crate) fn passed_verified(
    engine: &Engine,
    body: Body,
    len_bytes: Option<u64>,
    promise: Option<Promise>,
    permit: Permit,
) -> Body {
    let pieces: ByteStream = match body {
        Body::Bytes(bytes) => Box::pin(futures::stream::iter([Ok(bytes)])),
        Body::Stream(stream) => stream,
        Body::File(_) => Box::pin(futures::stream::iter([Err(BodyError::Origin)])),
    };
    let (lead, reader) = mpsc::channel(LEAD_PIECES);
    let promise = promise.filter(|(_, expected)| promises_digests(expected));
    let passing =
        Passing { engine: engine.clone(), lead, promise, passed_bytes: 0, kept_waiting: Duration::ZERO };
    engine.inner.tasks.spawn(passing.run(pieces, len_bytes, permit));
    Body::Stream(Box::pin(futures::stream::unfold((reader, len_bytes, false), next)))
}

fn promises_digests(expected: &Expected) -> bool {
    let of_whole = |checksum: &Checksum| checksum.kind == ChecksumKind::FullObject;
    expected.md5.is_some() || expected.etag_md5.is_some() || expected.checksums.iter().any(of_whole)
}

type Piece = Result<Bytes, BodyError>;

/// What the reader sees: the end is clean only after the last byte. Where the length is not known, an empty piece says
/// that it was the last.
async fn next(
    (mut reader, left, over): (mpsc::Receiver<Piece>, Option<u64>, bool),
) -> Option<(Piece, (mpsc::Receiver<Piece>, Option<u64>, bool))> {
    if over {
        return None;
    }
    match reader.recv().await {
        Some(Ok(piece)) if piece.is_empty() => None,
        Some(Ok(piece)) => {
            let left = left.map(|left| left.saturating_sub(piece.len() as u64));
            Some((Ok(piece), (reader, left, false)))
        }
        Some(Err(error)) => Some((Err(error), (reader, left, true))),
        None if left == Some(0) => None,
        None => Some((Err(BodyError::Incomplete), (reader, left, true))),
    }
}

struct Passing {
    engine: Engine,
    lead: mpsc::Sender<Piece>,
    promise: Option<Promise>,
    passed_bytes: u64,
    /// How long the reader has kept the origin waiting.
    kept_waiting: Duration,
}

/// The reader hung up, is too slow, or was told of an error: nothing more is to be passed.
struct Over;

impl Passing {
    async fn run(mut self, pieces: ByteStream, len_bytes: Option<u64>, permit: Permit) {
        let stop = self.engine.inner.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = self.pass(pieces, len_bytes, permit) => {}
        }
    }

    async fn pass(
        &mut self,
        mut pieces: ByteStream,
        len_bytes: Option<u64>,
        permit: Permit,
    ) -> Result<(), Over> {
        let mut left = len_bytes;
        let mut permit = Some(permit);
        let promised = self.promise.as_ref().map(|(_, expected)| &expected.checksums);
        let mut digests = promised.map(|checksums| {
            let wanted = checksums.iter().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
            Digests::new(
                wanted.fold(DigestSet::none().and_md5(), |set, checksum| set.and(checksum.algorithm)),
            )
        });
        let mut withheld = Bytes::new();
        loop {
            let mut piece = match self.fetch_piece(&mut pieces).await? {
                Some(Ok(piece)) if left.is_none_or(|left| piece.len() as u64 <= left) => piece,
                Some(Ok(_)) => return self.fail(BodyError::TooLong).await,
                Some(Err(error)) => return self.fail(error).await,
                None if left.is_none_or(|left| left == 0) => break,
                None => return self.fail(BodyError::Incomplete).await,
            };
            left = left.map(|left| left - piece.len() as u64);
            if let Some(digests) = &mut digests
                && !piece.is_empty()
            {
                digests.update(&piece);
                piece = std::mem::replace(&mut withheld, piece);
            }
            self.hand_over_all(piece, permit.as_ref()).await?;
            if left == Some(0) {
                // What is left to do is between the reader and us.
                permit = None;
            }
        }
        drop(permit);
        if let (Some((origin, expected)), Some(digests)) = (&self.promise, digests)
            && let Err(what) = verify(expected, &digests.finish(), len_bytes.is_some(), &mut false)
        {
            metrics::counter!("fallthrough_origin_mismatches_total", "origin" => origin.to_string(), "what" => what)
                .increment(1);
            return self.fail(BodyError::Origin).await;
        }
        self.hand_over_all(withheld, None).await?;
        if len_bytes.is_none() {
            self.hand_over(Bytes::new(), None).await?;
        }
        Ok(())
    }

    async fn hand_over_all(&mut self, mut piece: Bytes, permit: Option<&Permit>) -> Result<(), Over> {
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE_BYTES));
            self.hand_over(part, permit).await?;
        }
        Ok(())
    }

    async fn fetch_piece(&self, pieces: &mut ByteStream) -> Result<Option<Piece>, Over> {
        let stall = self.engine.inner.options.stall;
        tokio::select! {
            biased;
            () = self.lead.closed() => Err(Over),
            piece = tokio::time::timeout(stall, pieces.next()) => {
                Ok(piece.unwrap_or(Some(Err(BodyError::Stalled))))
            }
        }
    }

    /// Hands a piece to the reader, as soon as it has room for it.
    async fn hand_over(&mut self, part: Bytes, permit: Option<&Permit>) -> Result<(), Over> {
        let clock = self.engine.inner.clock.clone();
        let bytes = part.len() as u64;
        let began = clock.monotonic();
        let room = loop {
            let waited = self.kept_waiting + clock.monotonic().since(began);
            match tokio::time::timeout(self.patience(waited), self.lead.reserve()).await {
                Ok(room) => break room.map_err(|_| Over)?,
                Err(_) => {
                    let others = permit.is_some_and(Permit::is_awaited);
                    if others && !planted(Mutant::SlowReaderKeepsSlot) {
                        tracing::debug!(passed_bytes = self.passed_bytes, "a slow reader is broken off");
                        return Err(Over);
                    }
                }
            }
        };
        room.send(Ok(part));
        self.kept_waiting += clock.monotonic().since(began);
        self.passed_bytes += bytes;
        Ok(())
    }

    /// How long the reader may take its time before somebody looks whether others wait.
    fn patience(&self, waited: Duration) -> Duration {
        let stall = self.engine.inner.options.stall;
        let earned = Duration::from_secs(self.passed_bytes / TAKEN_PER_SEC);
        (stall + earned).saturating_sub(waited).max(Duration::from_secs(1))
    }

    async fn fail(&self, error: BodyError) -> Result<(), Over> {
        // A reader that does not take it finds the end too early.
        let stall = self.engine.inner.options.stall;
        drop(tokio::time::timeout(stall, self.lead.send(Err(error))).await);
        Err(Over)
    }
}

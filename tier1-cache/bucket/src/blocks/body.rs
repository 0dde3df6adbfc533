//! A range, read block by block: what is kept from the store, what is on its way as it comes, the rest asked for.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, ByteStream};
use fallthrough_store::StoreError;
use futures::StreamExt as _;

use super::run::NotAsked;
use super::{BlockOrder, Pin};
use crate::api::BucketError;
use crate::engine::Engine;
use crate::fill::Came;
use crate::reader::{Stage, stream};
use crate::telling::Listener;

/// Blocks in a row that may break off, or be damaged, without a byte having come.
const MAX_FAILURES: u32 = 3;

/// Why a range cannot be read.
pub(super) enum Unopened {
    /// Too much is on its way.
    Full,
    /// Its object is another one by now.
    Overtaken(BucketError),
    Failed(BucketError),
}

/// A range that is being read.
pub(super) struct Blocks {
    engine: Engine,
    order: Arc<BlockOrder>,
    pin: Arc<Pin>,
    at: u64,
    end: u64,
    /// What is left of the block that `at` is in.
    block: Option<ByteStream>,
    block_end: u64,
    /// Says that the next one is wanted.
    next: Option<Listener>,
    failures: u32,
}

impl Blocks {
    /// Opens a range that is not empty, once its first block is here or is coming. How this reader came to it; `None`: it is
    /// kept.
    pub(super) async fn open(
        engine: Engine,
        order: Arc<BlockOrder>,
        pin: Arc<Pin>,
        range: ByteRange,
    ) -> Result<(Body, Option<Came>), Unopened> {
        let mut blocks = Self {
            engine,
            order,
            pin,
            at: range.start,
            end: range.end,
            block: None,
            block_end: range.start,
            next: None,
            failures: 0,
        };
        let (body, came) = blocks.open_block().await?;
        let is_in_one = blocks.pin.block_of(range.start) == blocks.pin.block_of(range.end - 1);
        if is_in_one && matches!(body, Body::Bytes(_) | Body::File(_)) {
            // It is verified, all of it: as a file, where it is one.
            return Ok((body, came));
        }
        blocks.begin(body);
        let stream = futures::stream::unfold(blocks, |mut blocks| async move {
            if blocks.at == blocks.end {
                return None;
            }
            let piece = blocks.next_piece().await;
            match &piece {
                Ok(piece) => blocks.at += piece.len() as u64,
                // Nothing follows.
                Err(_) => blocks.end = blocks.at,
            }
            Some((piece, blocks))
        });
        Ok((Body::Stream(Box::pin(stream)), came))
    }

    /// Begins with what is wanted of the block that `at` is in.
    fn begin(&mut self, body: Body) {
        self.block_end = self.end.min(self.pin.span(self.pin.block_of(self.at)).end);
        self.block = Some(self.engine.inner.store.pieces(body));
    }

    async fn next_piece(&mut self) -> Result<Bytes, BodyError> {
        loop {
            let error = match &mut self.block {
                None => match self.open_block().await {
                    Ok((body, _)) => {
                        self.begin(body);
                        continue;
                    }
                    // Another object: what the client has is a part of none that there is.
                    Err(Unopened::Overtaken(_) | Unopened::Full) => return Err(BodyError::Origin),
                    Err(Unopened::Failed(_)) => BodyError::Origin,
                },
                Some(block) => match block.next().await {
                    Some(Ok(piece)) if piece.is_empty() => continue,
                    Some(Ok(piece)) => {
                        self.failures = 0;
                        return Ok(piece);
                    }
                    None if self.at == self.block_end => {
                        self.block = None;
                        continue;
                    }
                    None => BodyError::Incomplete,
                    Some(Err(error)) => error,
                },
            };
            // What is pinned to one object can be asked for again from where it broke off.
            self.block = None;
            self.failures += 1;
            if self.failures >= MAX_FAILURES {
                return Err(error);
            }
            if matches!(error, BodyError::Corrupt) {
                self.engine.give_up_blocks(&self.order.slot, &self.pin, "damaged").await;
            }
        }
    }

    /// What is wanted of the block that `at` is in.
    async fn open_block(&mut self) -> Result<(Body, Option<Came>), Unopened> {
        let number = self.pin.block_of(self.at);
        let span = self.pin.span(number);
        let wanted = ByteRange { start: self.at - span.start, end: self.end.min(span.end) - span.start };
        let last = self.pin.block_of(self.end - 1);
        // First what is on its way: what ends is kept by then.
        let came = match self.engine.inner.flights.listen(&self.order.slot, &self.pin, number) {
            Some(listener) => (listener, Came::Later),
            None => {
                if let Some(body) = self.kept(number, wanted).await? {
                    self.want_next(number, last);
                    return Ok((body, None));
                }
                match self.engine.block(&self.order, &self.pin, number, last) {
                    Ok(came) => came,
                    Err(NotAsked::Full) => return Err(Unopened::Full),
                    Err(NotAsked::Denied) => return Err(Unopened::Failed(BucketError::FillDenied)),
                }
            }
        };
        let (listener, came) = came;
        // Who waits for this one keeps the request going; from its first byte on the next one is announced.
        let heard = listener.hear(|progress| progress.answers_get()).await;
        self.want_next(number, last);
        let stage = heard.map(|progress| progress.stage).unwrap_or(Stage::Asking);
        match stage {
            Stage::Streaming(..) | Stage::Verified(..) => {
                Ok((Body::Stream(stream(listener, Some(wanted))), Some(came)))
            }
            Stage::Overtaken(error) => Err(Unopened::Overtaken(error)),
            Stage::Failed(error) => Err(Unopened::Failed(error)),
            Stage::Asking | Stage::Headers(_) | Stage::Unchanged(_) => {
                let reason = "the request was stopped".to_owned();
                Err(Unopened::Failed(BucketError::OriginFailing { reason, retry_after: crate::get::SOON }))
            }
        }
    }

    fn want_next(&mut self, number: u64, last: u64) {
        let flights = &self.engine.inner.flights;
        self.next =
            if number < last { flights.listen(&self.order.slot, &self.pin, number + 1) } else { None };
    }

    /// A part of a block that is kept.
    async fn kept(&mut self, number: u64, wanted: ByteRange) -> Result<Option<Body>, Unopened> {
        let (engine, slot) = (&self.engine, &self.order.slot);
        let failed = |error: StoreError| Unopened::Failed(error.into());
        let Some(block) = engine.kept_block(slot, &self.pin, number).await.map_err(failed)? else {
            return Ok(None);
        };
        let damaged = block.len_bytes != self.pin.span(number).len();
        let opened = match damaged {
            false => engine.inner.store.open_block(&block, wanted).await,
            true => Err(StoreError::Missing { blob: block.blob() }),
        };
        match opened {
            Ok(body) => Ok(Some(body)),
            // Dropped meanwhile.
            Err(StoreError::Superseded) => Ok(None),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. })) => {
                tracing::warn!(error = &error as &dyn std::error::Error, key = %slot.key, number, "a block is damaged, and is fetched again");
                engine.give_up_blocks(slot, &self.pin, "damaged").await;
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

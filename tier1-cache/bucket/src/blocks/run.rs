//! One request for blocks that follow each other: a task that asks, cuts what comes into blocks, and keeps them.
//!
//! It goes on as long as the next block is wanted: each block but the last is begun with the one after it announced, and
//! who reads the one says by listening that he will want the other. So the origin is asked once for a range, however
//! long, and gives at most two blocks more than somebody takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, ByteStream, RangeSpec};
use fallthrough_shadow::{Outcome, Request};
use fallthrough_store::{CommitError, EntryState, NewBlock, Staging, StoreError};
use futures::StreamExt as _;
use tokio::sync::Notify;

use super::{BlockOrder, Flight, Keeping, Pin};
use crate::api::BucketError;
use crate::ask::{Answered, ask, refusal};
use crate::core::commit::{MAX_CONFLICTS, TableLock as _};
use crate::core::fills::{FillId, Joined, TableFull};
use crate::core::keystate::believed;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::Came;
use crate::get::SOON;
use crate::members::Whom;
use crate::origins::Permit;
use crate::reader::{Head, Progress, Stage};
use crate::telling::{Listener, Teller};

/// How long a request waits for somebody who wants its next block.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer whose bytes are still to be read.
pub(super) struct Arrived {
    pub(super) body: Body,
    /// So many bytes come before the first block.
    pub(super) skip: u64,
    pub(super) permit: Permit,
}

/// Why a block is not asked for.
pub(super) enum NotAsked {
    /// Too much is on its way.
    Full,
    /// Who wants it may not have anything asked for.
    Denied,
}

type Announced = (u64, FillId, Arc<Flight>);

impl Engine {
    /// Joins the block that is on its way, or asks for it and for those behind it, up to `last`.
    pub(super) fn block(
        &self,
        order: &Arc<BlockOrder>,
        pin: &Arc<Pin>,
        number: u64,
        last: u64,
    ) -> Result<(Listener, Came), NotAsked> {
        if let Some(listener) = self.inner.flights.listen(&order.slot, pin, number) {
            metrics::counter!("fallthrough_coalesced_requests_total").increment(1);
            return Ok((listener, Came::Later));
        }
        if order.client.is_none() {
            return Err(NotAsked::Denied);
        }
        let keeping = self.keeping(&order.slot);
        match self.announce(order, pin, (number, last), &keeping) {
            Ok((Joined::Running(..), listener, _)) => Ok((listener, Came::Later)),
            Ok((Joined::Started(id, flight), listener, last)) => {
                let run = Run::new(self, order, pin, (number, id, flight), last, keeping);
                self.inner.tasks.spawn(run.run(None));
                Ok((listener, Came::First))
            }
            Err(TableFull) => Err(NotAsked::Full),
        }
    }

    /// Reads what an origin has answered already, from the block `first` on. `false`: too much is on its way.
    pub(super) fn take_up(
        &self,
        order: &Arc<BlockOrder>,
        pin: &Arc<Pin>,
        (first, last): (u64, u64),
        keeping: Keeping,
        arrived: Arrived,
    ) -> bool {
        match self.announce(order, pin, (first, last), &keeping) {
            Ok((Joined::Running(..), ..)) => true,
            Ok((Joined::Started(id, flight), _, last)) => {
                let run = Run::new(self, order, pin, (first, id, flight), last, keeping);
                self.inner.tasks.spawn(run.run(Some(arrived)));
                true
            }
            Err(TableFull) => false,
        }
    }

    /// Puts a block into the table; also where its request ends at the latest, so that nothing comes twice.
    fn announce(
        &self,
        order: &BlockOrder,
        pin: &Arc<Pin>,
        (number, last): (u64, u64),
        keeping: &Keeping,
    ) -> Result<(Joined<Arc<Flight>>, Listener, u64), TableFull> {
        self.inner.flights.with(|flights| {
            if self.inner.tasks.is_closed() {
                return Err(TableFull);
            }
            let behind = flights.first_from(&order.slot, pin, number + 1);
            let last = behind.map_or(last, |behind| last.min(behind - 1));
            let joined = flights.join(&order.slot, pin, number, |_| Flight::new(keeping.id))?;
            let (Joined::Running(_, flight) | Joined::Started(_, flight)) = &joined;
            let listener = flight.listen();
            Ok((joined, listener, last))
        })
    }
}

impl Flight {
    fn new(keep: FillId) -> Arc<Self> {
        let teller = Teller::new(Progress { stage: Stage::Asking, readable: 0 });
        Arc::new(Self { teller, wanted: Notify::new(), keep })
    }

    fn say(&self, stage: Stage) {
        self.teller.tell(|progress| progress.stage = stage);
    }
}

/// One request on its way.
struct Run {
    engine: Engine,
    order: Arc<BlockOrder>,
    pin: Arc<Pin>,
    keeping: Keeping,
    first: u64,
    last: u64,
    /// The blocks of it that readers may join: one, and the next.
    announced: Vec<Announced>,
    /// What readers of a block that does not come are told.
    end: Stage,
}

impl Drop for Run {
    /// However it ends, nobody waits for what does not come.
    fn drop(&mut self) {
        for (number, id, flight) in std::mem::take(&mut self.announced) {
            self.engine.inner.flights.with(|flights| flights.end(&self.order.slot, number, id));
            if !flight.teller.last().is_final() {
                flight.say(self.end.clone());
            }
        }
    }
}

impl Run {
    fn new(
        engine: &Engine,
        order: &Arc<BlockOrder>,
        pin: &Arc<Pin>,
        first: Announced,
        last: u64,
        keeping: Keeping,
    ) -> Self {
        let stopped =
            BucketError::OriginFailing { reason: "the request was stopped".to_owned(), retry_after: SOON };
        Self {
            engine: engine.clone(),
            order: order.clone(),
            pin: pin.clone(),
            keeping,
            first: first.0,
            last,
            announced: vec![first],
            end: Stage::Failed(stopped),
        }
    }

    async fn run(mut self, arrived: Option<Arrived>) {
        let stop = self.engine.inner.stop.clone();
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            end = self.fetch(arrived) => end,
        };
        if let Err(end) = end {
            self.end = end;
        }
    }

    async fn fetch(&mut self, arrived: Option<Arrived>) -> Result<(), Stage> {
        let arrived = match arrived {
            Some(arrived) => arrived,
            None => self.ask().await?,
        };
        let Arrived { body, skip, permit } = arrived;
        let pieces: ByteStream = match body {
            Body::Bytes(bytes) => Box::pin(futures::stream::iter([Ok(bytes)])),
            Body::Stream(pieces) => pieces,
            Body::File(_) => return Err(failed("a body in a file".to_owned())),
        };
        let got = self.cut(pieces, skip).await;
        drop(permit);
        got
    }

    fn request(&self, range: ByteRange) -> Request {
        let order = &self.order;
        let mut request = Request::get(order.origin_key.clone(), self.engine.inner.options.client_wait);
        request.hops = order.hops;
        request.request_id = order.request_id.to_string();
        request.trace = Some(order.trace);
        request.extras = order.extras.clone();
        request.range = Some(RangeSpec::FromTo { first: range.start, last: range.end - 1 });
        request.if_match = self.pin.etag().cloned().filter(|_| !planted(Mutant::BlocksUnpinned));
        request
    }

    /// Asks for the blocks, pinned to the object.
    async fn ask(&mut self) -> Result<Arrived, Stage> {
        let (order, pin) = (self.order.clone(), self.pin.clone());
        let gate = &order.behind.gate;
        let Some(client) = &order.client else { return Err(Stage::Failed(BucketError::FillDenied)) };
        self.end_before_others().await.map_err(|error| Stage::Failed(error.into()))?;
        let entrance = gate.enter(client, order.priority).map_err(Stage::Failed)?;
        let patience = self.engine.inner.options.client_wait;
        let permit = entrance.admitted(patience).await.map_err(Stage::Failed)?;
        let range = ByteRange { start: pin.span(self.first).start, end: pin.span(self.last).end };
        let asked = ask(&self.engine, &order.behind, self.request(range), Whom::Any).await;
        let Answered { outcome, .. } =
            asked.map_err(|unanswered| Stage::Failed(unanswered.into_error(gate, client)))?;
        match outcome {
            Outcome::Found(found) => {
                // A 206 to If-Match may leave the ETag out only if the condition held.
                let same =
                    found.etag.as_ref().is_none_or(|etag| pin.etag().is_some_and(|pin| pin.strong_eq(etag)))
                        || planted(Mutant::BlocksUnpinned);
                let same_size = found.size_bytes.is_none_or(|size| size == pin.info.size_bytes);
                let is_range = found.range.is_some_and(|given| given.start == range.start);
                if !(same && same_size && is_range) {
                    return Err(self.changed().await);
                }
                Ok(Arrived { body: found.body, skip: 0, permit })
            }
            Outcome::Changed
            | Outcome::Absent { .. }
            | Outcome::AbsentUnproven { .. }
            | Outcome::RangeNotSatisfiable { .. } => Err(self.changed().await),
            other => Err(Stage::Failed(refusal(other, gate, client))),
        }
    }

    /// Nothing is asked for that is kept, or on its way.
    async fn end_before_others(&mut self) -> Result<(), StoreError> {
        let (store, slot) = (&self.engine.inner.store, &self.order.slot);
        let behind =
            self.engine.inner.flights.with(|flights| flights.first_from(slot, &self.pin, self.first + 1));
        self.last = behind.map_or(self.last, |behind| self.last.min(behind - 1));
        if self.last == self.first {
            return Ok(());
        }
        let set = store.block_set(slot.bucket, &slot.key).await?.filter(|set| self.pin.is_of(set));
        let Some(set) = set else { return Ok(()) };
        let kept = store.kept_blocks(slot.bucket, set.id, self.first + 1, 1).await?;
        if let Some(kept) = kept.first() {
            self.last = self.last.min(kept.number - 1);
        }
        Ok(())
    }

    /// The object is not the one that blocks are kept of.
    async fn changed(&self) -> Stage {
        self.engine.give_up_blocks(&self.order.slot, &self.pin, "changed").await;
        Stage::Overtaken(BucketError::OriginFailing {
            reason: "the object changed while it was being read".to_owned(),
            retry_after: SOON,
        })
    }

    /// Cuts what comes into blocks.
    async fn cut(&mut self, mut pieces: ByteStream, mut skip: u64) -> Result<(), Stage> {
        let stall = self.engine.inner.options.stall;
        let (mut number, mut rest) = (self.first, Bytes::new());
        loop {
            let len = self.pin.span(number).len();
            // Before anybody can read this one: who does so says that the next one is wanted, too.
            let next = if number < self.last { self.announce_next(number + 1) } else { None };
            let Some((_, id, flight)) = self.announced.first().cloned() else { return Ok(()) };
            let (mut staging, mut kept) = self.stage(len)?;
            let head =
                Head { info: self.pin.info.clone(), size_bytes: Some(self.pin.info.size_bytes), kept: false };
            let head = Arc::new(head);
            flight.say(Stage::Streaming(head.clone(), staging.reader()));
            let mut got = 0;
            while got < len {
                if rest.is_empty() {
                    rest = match tokio::time::timeout(stall, pieces.next()).await {
                        Ok(Some(Ok(piece))) => skip_front(piece, &mut skip),
                        Ok(Some(Err(error))) => return Err(self.broke_off(&error)),
                        Ok(None) => return Err(self.broke_off(&BodyError::Incomplete)),
                        Err(_) => return Err(self.broke_off(&BodyError::Stalled)),
                    };
                    continue;
                }
                let most = usize::try_from(len - got).unwrap_or(usize::MAX);
                let part = rest.split_to(rest.len().min(most));
                got += part.len() as u64;
                staging.append(part).await.map_err(|error| Stage::Failed(error.into()))?;
                flight.teller.tell(|progress| progress.readable = got);
            }
            flight.say(Stage::Verified(head, staging.reader()));
            metrics::counter!("fallthrough_blocks_fetched_total", "origin" => self.order.behind.origin.to_string())
                .increment(1);
            kept = kept && self.keep(number, staging).await;
            tracing::trace!(number, kept, "a block has come");
            self.engine.inner.flights.with(|flights| flights.end(&self.order.slot, number, id));
            self.announced.remove(0);
            let Some(next) = next else { return Ok(()) };
            if !self.is_wanted(&next).await {
                return Ok(());
            }
            number += 1;
        }
    }

    /// Lets readers join the next block, unless another request has it, or this one's object is not the key's any more.
    fn announce_next(&mut self, number: u64) -> Option<Announced> {
        let (slot, pin) = (&self.order.slot, &self.pin);
        let id = self.keeping.id;
        let next = self.engine.inner.flights.with(|flights| {
            flights.pin(slot).filter(|other| *other == pin)?;
            match flights.join(slot, pin, number, |_| Flight::new(id)) {
                Ok(Joined::Started(id, flight)) => Some((number, id, flight)),
                Ok(Joined::Running(..)) | Err(TableFull) => None,
            }
        });
        self.announced.extend(next.clone());
        next
    }

    /// Whether somebody wants the next block, now or in a moment.
    async fn is_wanted(&mut self, (number, id, flight): &Announced) -> bool {
        if flight.teller.listeners() == 0 && !planted(Mutant::BlocksUnwanted) {
            // Whether in time or not, it is looked for below.
            let _in_time = tokio::time::timeout(PATIENCE, flight.wanted.notified()).await;
        }
        // Under the lock, so that nobody comes in between.
        let wanted = self.engine.inner.flights.with(|flights| {
            let wanted = flight.teller.listeners() > 0 || planted(Mutant::BlocksUnwanted);
            if !wanted {
                flights.end(&self.order.slot, *number, *id);
            }
            wanted
        });
        if !wanted {
            self.announced.clear();
        }
        wanted
    }

    /// A place for a block, and whether it is to be kept: where the disk has no space for copies it is passed on.
    fn stage(&self, len: u64) -> Result<(Staging, bool), Stage> {
        let store = &self.engine.inner.store;
        match store.stage_fill(Some(len)) {
            Ok(staging) => return Ok((staging, true)),
            Err(StoreError::Full { .. }) => self.engine.wake_eviction(),
            Err(error) => return Err(Stage::Failed(error.into())),
        }
        let passing = store.stage_passing(Some(len)).map_err(|error| Stage::Failed(error.into()))?;
        Ok((passing, false))
    }

    /// Keeps a block that has come, if the key is what it was and there is room.
    async fn keep(&self, number: u64, staging: Staging) -> bool {
        let reason = match self.try_to_keep(number, staging).await {
            Ok(()) => {
                metrics::counter!("fallthrough_blocks_kept_total").increment(1);
                return true;
            }
            Err(reason) => reason,
        };
        metrics::counter!("fallthrough_blocks_not_kept_total", "reason" => reason).increment(1);
        false
    }

    async fn try_to_keep(&self, number: u64, staging: Staging) -> Result<(), &'static str> {
        let (inner, order, pin) = (&self.engine.inner, &self.order, &self.pin);
        let failed = |error: &StoreError| {
            tracing::warn!(error = error as &dyn std::error::Error, "a block could not be kept");
            "store-failed"
        };
        if !inner.fills.with(|fills| fills.may_keep(&order.slot, self.keeping.id)) {
            return Err("superseded");
        }
        let room = self.engine.room_for_block(&order.bucket, staging.len()).await;
        let Some(_room) = room.map_err(|_| "store-failed")? else { return Err("no-room") };
        let body = staging.seal_part().await.map_err(|error| failed(&error))?;
        let (bucket, key) = (&order.bucket, &order.slot.key);
        for _ in 0..MAX_CONFLICTS {
            let entry = inner.store.lookup(bucket.id, key).await.map_err(|error| failed(&error))?;
            let is_cold = match entry.as_deref().and_then(|entry| believed(entry, bucket.gate_version)) {
                None | Some(EntryState::Known(..)) => true,
                Some(EntryState::Absent { until, .. }) => *until <= inner.clock.now(),
                Some(EntryState::Written(_) | EntryState::Filled(..) | EntryState::Tombstone) => {
                    planted(Mutant::BlocksNotSuperseded)
                }
            };
            if !is_cold {
                return Err("superseded");
            }
            let set = inner.store.block_set(bucket.id, key).await.map_err(|error| failed(&error))?;
            if let Some(set) = set.as_ref().filter(|set| !pin.is_of(set)) {
                if set.gate_version >= bucket.gate_version && set.block_bytes == pin.block_bytes {
                    return Err("superseded");
                }
                // Of a shadow that was replaced.
                let dropped = inner.store.drop_blocks(bucket.id, key, set.id).await;
                dropped.map_err(|error| failed(&error))?;
                continue;
            }
            if let Some(set) = &set {
                let there = inner.store.kept_blocks(bucket.id, set.id, number, 1).await;
                let there = there.map_err(|error| failed(&error))?;
                if there.first().is_some_and(|block| block.number == number) {
                    return Ok(());
                }
            }
            let new = NewBlock {
                number,
                body: body.clone(),
                info: pin.info.clone(),
                block_bytes: pin.block_bytes,
                provenance: pin.provenance.clone(),
            };
            // Ordered in the section in which others supersede it.
            let ordered = inner.fills.with(|fills| {
                let may = fills.may_keep(&order.slot, self.keeping.id);
                may.then(|| inner.store.keep_block(bucket, key, entry.as_deref(), set.as_ref(), new))
            });
            let Some(kept) = ordered else { return Err("superseded") };
            match kept.await {
                Ok(set) => {
                    self.engine.consider_promotion(order, pin, &set);
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(CommitError::Gate) => return Err("superseded"),
                Err(CommitError::Store(error)) => return Err(failed(&error)),
            }
        }
        Err("superseded")
    }

    fn broke_off(&self, error: &BodyError) -> Stage {
        let origin = self.order.behind.origin.to_string();
        metrics::counter!("fallthrough_origin_broken_bodies_total", "origin" => origin).increment(1);
        failed(format!("its body broke off: {error}"))
    }
}

fn failed(reason: String) -> Stage {
    Stage::Failed(BucketError::OriginFailing { reason, retry_after: SOON })
}

/// What is left of a piece when the first `skip` bytes are left out.
pub(super) fn skip_front(mut piece: Bytes, skip: &mut u64) -> Bytes {
    let cut = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
    *skip -= cut as u64;
    piece.split_off(cut)
}

//! Blocks of cold keys: what ranges have brought is kept, and answers the next ones. `docs/semantics.md`, "Reads".
//!
//! All blocks of a key are of one object, its *pin*: a strong ETag, a size, and the gate of the bucket through which it
//! was seen. The first range of a cold key asks without one, and its answer gives it (`pinning.rs`); each request after
//! that carries it as If-Match (`run.rs`), so that bytes of two objects are never put together. Readers (`body.rs`) go
//! from block to block: from the store what is kept, from a request that is on its way what is coming, each block asked
//! for once. Whoever writes, deletes, purges or fills the key takes its blocks along in that very commit, and no block
//! that is still on its way is kept.
//!
//! A block is verified by its length, and by the store's checksums from then on. What the origin promises of the whole
//! object cannot be compared with a part of it: a block is never taken for an object.

use std::sync::{Arc, Mutex, PoisonError};

use fallthrough_object::{ByteRange, ETag, Key, TraceParent};
use fallthrough_shadow::Extras;
use fallthrough_store::{
    BlockSet, Bucket, BucketMode, COPY_ROW_BYTES, KeptBlock, ObjectInfo, Provenance, StoreError,
};
use tokio::sync::Notify;

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::behind::{Behind, Cold};
use crate::core::admission::Priority;
use crate::core::commit::TableLock as _;
use crate::core::fills::{FillId, Slot};
use crate::core::flights::FlightTable;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::Came;
use crate::get::{OVERTAKEN, Read, Selected, answer, passing};
use crate::telling::{Listener, Teller};

mod body;
mod pinning;
mod promote;
mod run;
mod shrink;

use body::Blocks;
use pinning::{How, Pinned};
pub(crate) use promote::Promotions;
pub(crate) use shrink::Hands;

/// Blocks on their way at one time, over all origins: each may have its bytes in staging, so that these are at most so
/// many blocks.
const ON_THEIR_WAY: usize = 512;
/// Kept blocks that are looked for at once, to tell whether a range is here.
const LOOKED_AT: u64 = 64;

/// The object of which blocks are kept, or are on their way.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) gate_version: u64,
    pub(crate) block_bytes: u64,
    /// Its ETag is a strong one of the origin.
    pub(crate) info: Arc<ObjectInfo>,
    pub(crate) provenance: Provenance,
}

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        let etags = self.info.etag.as_ref().zip(other.info.etag.as_ref());
        self.gate_version == other.gate_version
            && self.block_bytes == other.block_bytes
            && self.info.size_bytes == other.info.size_bytes
            && etags.is_some_and(|(one, other)| one.strong_eq(other))
    }
}

impl Pin {
    fn of(set: BlockSet) -> Self {
        let BlockSet { gate_version, block_bytes, info, provenance, .. } = set;
        Self { gate_version, block_bytes, info, provenance }
    }

    pub(crate) fn etag(&self) -> Option<&ETag> {
        self.info.etag.as_ref()
    }

    /// The block that a byte is in.
    fn block_of(&self, offset: u64) -> u64 {
        offset / self.block_bytes
    }

    /// The bytes of a block.
    fn span(&self, number: u64) -> ByteRange {
        let start = number.saturating_mul(self.block_bytes);
        let end = start.saturating_add(self.block_bytes).min(self.info.size_bytes);
        ByteRange { start: start.min(end), end }
    }

    /// How many blocks the object has.
    fn blocks(&self) -> u64 {
        self.info.size_bytes.div_ceil(self.block_bytes.max(1))
    }

    fn is_of(&self, set: &BlockSet) -> bool {
        set.is_of(&self.info, self.block_bytes, self.gate_version)
    }
}

/// A block on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    teller: Teller,
    /// Somebody waits for it.
    wanted: Notify,
    /// Under which its request keeps.
    keep: FillId,
}

/// Blocks on their way.
#[derive(Debug)]
pub(crate) struct Flights(Mutex<FlightTable<Arc<Pin>, Arc<Flight>>>);

impl Default for Flights {
    fn default() -> Self {
        Self(Mutex::new(FlightTable::new(ON_THEIR_WAY)))
    }
}

impl Flights {
    fn with<R>(&self, section: impl FnOnce(&mut FlightTable<Arc<Pin>, Arc<Flight>>) -> R) -> R {
        section(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Listens to a block that is on its way: from here on it is wanted.
    fn listen(&self, slot: &Slot, pin: &Arc<Pin>, number: u64) -> Option<Listener> {
        self.with(|flights| flights.get(slot, pin, number).map(|flight| flight.listen()))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.with(|flights| flights.len())
    }
}

impl Flight {
    /// To be called under the table's lock, so that nobody takes it for unwanted meanwhile.
    fn listen(&self) -> Listener {
        let listener = self.teller.listen();
        self.wanted.notify_one();
        listener
    }
}

/// What a request for blocks needs to know.
#[derive(Debug)]
pub(crate) struct BlockOrder {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) slot: Slot,
    pub(crate) origin_key: Key,
    pub(crate) behind: Arc<Behind>,
    /// Whose share it counts against; `None`: who reads may not have anything asked for.
    pub(crate) client: Option<Arc<str>>,
    /// Whether a client waits for it.
    pub(crate) priority: Priority,
    pub(crate) hops: u32,
    pub(crate) request_id: Arc<str>,
    pub(crate) trace: TraceParent,
    pub(crate) extras: Extras,
}

/// The wish to keep blocks of a key's object, from before its origin is asked.
#[derive(Debug)]
struct Keeping {
    engine: Engine,
    slot: Slot,
    id: FillId,
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.engine.inner.fills.with(|fills| fills.end_keeping(&self.slot, self.id));
    }
}

impl Engine {
    /// Whether ranges of what is cold are kept in blocks.
    pub(crate) fn keeps_blocks(&self, bucket: &Bucket, cold: &Cold) -> bool {
        let options = &self.inner.options;
        let has_room = options.blocks_limit_bytes >= options.block_bytes.saturating_add(COPY_ROW_BYTES);
        let has_them_again = match bucket.settings.mode {
            BucketMode::Migrate | BucketMode::Cache => cold.behind.seekable,
            // What is computed has no ranges.
            BucketMode::Plain | BucketMode::Compute => false,
        };
        has_room && has_them_again && self.could_keep(bucket, options.block_bytes)
    }

    fn keeping(&self, slot: &Slot) -> Keeping {
        let id = self.inner.fills.with(|fills| fills.begin_keeping(slot));
        Keeping { engine: self.clone(), slot: slot.clone(), id }
    }

    /// A block of this object that is kept.
    async fn kept_block(&self, slot: &Slot, pin: &Pin, number: u64) -> Result<Option<KeptBlock>, StoreError> {
        let store = &self.inner.store;
        let set = store.block_set(slot.bucket, &slot.key).await?.filter(|set| pin.is_of(set));
        let Some(set) = set else { return Ok(None) };
        let found = store.kept_blocks(slot.bucket, set.id, number, 1).await?;
        Ok(found.into_iter().find(|block| block.number == number))
    }

    /// The object is another one, or bytes of it are damaged: nothing that is kept of it is read again, and nothing that is
    /// on its way is kept.
    async fn give_up_blocks(&self, slot: &Slot, pin: &Pin, why: &'static str) {
        if planted(Mutant::BlocksOutliveChange) {
            return;
        }
        self.inner.fills.with(|fills| fills.supersede_blocks(slot));
        self.inner.flights.with(|flights| {
            if flights.pin(slot).is_some_and(|other| **other == *pin) {
                flights.forget(slot);
            }
        });
        let store = &self.inner.store;
        let dropped = async {
            match store.block_set(slot.bucket, &slot.key).await? {
                Some(set) if pin.is_of(&set) => store.drop_blocks(slot.bucket, &slot.key, set.id).await,
                Some(_) | None => Ok(None),
            }
        };
        match dropped.await {
            Ok(None) => {}
            Ok(Some(_)) => {
                metrics::counter!("fallthrough_block_sets_dropped_total", "reason" => why).increment(1);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, key = %slot.key, "blocks could not be dropped");
            }
        }
    }
}

impl Read<'_> {
    /// A range of a cold key at an origin that can seek: from blocks that are kept, and from the origin.
    pub(crate) async fn range_cold(&self, cold: &Cold) -> Answer<Object> {
        if !self.engine.keeps_blocks(self.bucket, cold) {
            return self.pass_range(cold).await;
        }
        match self.pinned(cold).await {
            Pinned::Object { pin, how } => self.read_blocks(cold, pin, how).await,
            Pinned::Answered(answer) => *answer,
        }
    }

    fn order(&self, cold: &Cold) -> BlockOrder {
        BlockOrder {
            bucket: self.bucket.clone(),
            slot: Engine::slot(self.bucket, &self.request.key),
            origin_key: cold.origin_key.clone(),
            behind: cold.behind.clone(),
            client: Engine::fill_share(self.bucket, self.caller),
            priority: Priority::Client,
            hops: self.caller.hops,
            request_id: self.caller.request_id.clone(),
            trace: self.trace(),
            extras: self.request.extras.clone(),
        }
    }

    async fn read_blocks(&self, cold: &Cold, pin: Arc<Pin>, how: How) -> Answer<Object> {
        let mut report = self.asked(cold, CacheWord::Pass, "range");
        let range = match self.select(&pin.info, pin.info.size_bytes) {
            Ok(Selected::Range(range)) => range,
            // Only ranges come here.
            Ok(Selected::Whole | Selected::NotModified) => return Box::pin(self.fill(cold, None)).await,
            Err(error) => return answer(report, Err(error)),
        };
        let order = self.order(cold);
        let all_here = match self.are_all_kept(&order.slot, &pin, range).await {
            Ok(all_here) => all_here,
            Err(error) => return answer(report, Err(error.into())),
        };
        if order.client.is_none() && !all_here {
            return Box::pin(self.may_not_fill(cold)).await;
        }
        self.engine.note_block_use(&order.slot);
        let patience = self.engine.inner.options.client_wait;
        let opening = Blocks::open(self.engine.clone(), Arc::new(order), pin.clone(), range);
        match tokio::time::timeout(patience, opening).await {
            Ok(Ok((body, came))) => {
                match came {
                    None if all_here => {
                        let word = if how == How::Stale { CacheWord::Stale } else { CacheWord::Hit };
                        report = CacheReport::of(word, "blocks");
                    }
                    Some(Came::Later) if how != How::Asked => report.word = CacheWord::Joined,
                    Some(Came::First | Came::Later) | None => {}
                }
                answer(report, Ok(passing(pin.info.clone(), ObjectBody::Range(range, body))))
            }
            Ok(Err(body::Unopened::Full)) => self.pass_range(cold).await,
            Ok(Err(body::Unopened::Overtaken(error))) => {
                report.detail = OVERTAKEN;
                answer(report, Err(error))
            }
            Ok(Err(body::Unopened::Failed(error))) => answer(report, Err(error)),
            Err(_) => {
                report.detail = "client-wait";
                let retry_after = crate::get::SOON;
                answer(report, Err(BucketError::SlowDown { reason: "still-filling", retry_after }))
            }
        }
    }

    /// Whether all of a range is here; of a long one it is not looked for.
    async fn are_all_kept(&self, slot: &Slot, pin: &Pin, range: ByteRange) -> Result<bool, StoreError> {
        let store = &self.engine.inner.store;
        let (first, last) = (pin.block_of(range.start), pin.block_of(range.end - 1));
        let count = last - first + 1;
        if count > LOOKED_AT {
            return Ok(false);
        }
        let set = store.block_set(slot.bucket, &slot.key).await?.filter(|set| pin.is_of(set));
        let Some(set) = set else { return Ok(false) };
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let kept = store.kept_blocks(slot.bucket, set.id, first, limit).await?;
        // In order and each once: the last one tells.
        Ok(kept.len() == limit && kept.last().is_some_and(|block| block.number == last))
    }

    /// Whether a range begins so far ahead of a fill that it is not to wait for it.
    pub(crate) fn is_far_ahead(&self, cold: &Cold, fill: &crate::fill::Fill) -> bool {
        use fallthrough_object::RangeSpec;

        use crate::reader::Stage;

        let (Some(RangeSpec::FromTo { first, .. } | RangeSpec::From { first }), None) =
            (self.request.range, &self.request.if_range)
        else {
            return false;
        };
        let progress = fill.progress.last();
        let (Stage::Headers(head) | Stage::Streaming(head, _)) = &progress.stage else { return false };
        let far = progress.readable.saturating_add(2 * self.engine.inner.options.block_bytes);
        let in_size = head.size_bytes.is_some_and(|size| first < size);
        first > far
            && in_size
            && !self.request.head
            && self.request.conditions.is_empty()
            && self.engine.keeps_blocks(self.bucket, cold)
    }
}

//! Room for blocks: they count as copies, have a bound of their own besides, and go before copies do.
//!
//! A set goes as a whole: those that nobody read since a hand came by last, in the order of keys.

use std::collections::BTreeMap;

use fallthrough_object::Key;
use fallthrough_store::{Bucket, BucketId, Usage};

use super::Engine;
use crate::api::BucketError;
use crate::core::mutants::{Mutant, planted};
use crate::room::{Kind, Room, charge_of, high_mark};

/// Sets that are looked at at once.
const PAGE: usize = 64;
/// How often the hand goes round for what is needed: a set has at most three uses to lose.
const ROUNDS: usize = 5;

/// Where the hand is, for each bucket; where it is not, it begins at the first key.
pub(crate) type Hands = BTreeMap<BucketId, Key>;

/// Room that is kept for a block.
#[derive(Debug)]
pub(super) struct BlockRoom {
    _as_copy: Room,
    _as_block: Room,
}

impl Engine {
    /// Keeps room for a block of so many bytes, beside copies and beside other blocks; `None`: there is none now.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn room_for_block(
        &self,
        bucket: &Bucket,
        len_bytes: u64,
    ) -> Result<Option<BlockRoom>, BucketError> {
        let charge = charge_of(len_bytes);
        let limit = self.inner.options.blocks_limit_bytes;
        let as_copy = self.keep_room(bucket, charge).await?;
        let (as_block, then) = self.keep_room_among_blocks(bucket, charge, limit).await?;
        if as_copy.as_ref().is_none_or(Room::is_last_but_a_few)
            || as_block.is_none()
            || then > high_mark(limit)
        {
            self.wake_eviction();
        }
        Ok(as_copy.zip(as_block).map(|(_as_copy, _as_block)| BlockRoom { _as_copy, _as_block }))
    }

    /// Drops sets until blocks are within their bound, and all of them where the disk is short of space; their bytes.
    ///
    /// # Errors
    /// The store's: some may have gone.
    pub(crate) async fn shrink_blocks(&self) -> Result<u64, BucketError> {
        let usages = self.inner.store.usages().await?;
        let held: u64 = usages.values().map(Usage::blocks_charge).sum();
        let limit = self.inner.options.blocks_limit_bytes;
        // One more must fit, also where the bound is a few blocks.
        let most = high_mark(limit).min(limit.saturating_sub(charge_of(self.inner.options.block_bytes)));
        let goal = match self.inner.store.status().accepts_fills {
            true if held <= most => return Ok(0),
            true => most - most / 16,
            false => 0,
        };
        let all: Vec<BucketId> = usages.keys().copied().collect();
        self.drop_sets(&all, held.saturating_sub(goal)).await
    }

    /// Drops sets of these buckets that count `need` bytes, or all that there are; how much they counted.
    ///
    /// # Errors
    /// The store's: some may have gone.
    pub(crate) async fn drop_sets(&self, buckets: &[BucketId], need: u64) -> Result<u64, BucketError> {
        let mut freed = 0;
        if planted(Mutant::BlocksStay) {
            return Ok(freed);
        }
        for round in 0..ROUNDS {
            for bucket in buckets {
                if freed >= need {
                    return Ok(freed);
                }
                // The last time round nobody is spared.
                freed += self.drop_sets_of(*bucket, need - freed, round + 1 == ROUNDS).await?;
            }
        }
        Ok(freed)
    }

    /// One round through a bucket, from where the hand is.
    async fn drop_sets_of(&self, bucket: BucketId, need: u64, any: bool) -> Result<u64, BucketError> {
        let (store, eviction) = (&self.inner.store, &self.inner.eviction);
        let mut freed = 0;
        let mut hand = eviction.block_hand(bucket);
        let began_at = hand.clone();
        let mut wrapped = began_at.is_none();
        loop {
            let page = store.block_sets(bucket, hand.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            for (key, set) in page {
                if wrapped && began_at.as_ref().is_some_and(|began| key > *began) {
                    return Ok(freed);
                }
                hand = Some(key.clone());
                eviction.set_block_hand(bucket, hand.clone());
                if eviction.spares_blocks(bucket, &key) && !any {
                    continue;
                }
                let charge = set.bytes + set.blocks * fallthrough_store::COPY_ROW_BYTES;
                if store.drop_blocks(bucket, &key, set.id).await?.is_some() {
                    freed += charge;
                    metrics::counter!("fallthrough_block_sets_dropped_total", "reason" => "evicted")
                        .increment(1);
                    metrics::counter!("fallthrough_blocks_evicted_bytes_total").increment(charge);
                }
                if freed >= need {
                    return Ok(freed);
                }
            }
            if is_last {
                eviction.set_block_hand(bucket, None);
                if wrapped {
                    return Ok(freed);
                }
                (wrapped, hand) = (true, None);
            }
        }
    }

    /// Removes what dropped sets have left, until it is told to stop. What fails goes with the sweep of a later start.
    pub async fn run_block_sweep(&self, stop: tokio_util::sync::CancellationToken) {
        let sweep = async {
            loop {
                self.inner.store.blocks_left().await;
                if let Err(error) = self.inner.store.sweep_left_blocks().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "blocks could not be removed");
                }
            }
        };
        stop.run_until_cancelled(sweep).await;
    }

    async fn keep_room_among_blocks(
        &self,
        bucket: &Bucket,
        charge: u64,
        limit: u64,
    ) -> Result<(Option<Room>, u64), BucketError> {
        let _turn = self.inner.rooms.turn().await;
        // Before what is held is read: a commit that ends in between counts twice, never not at all.
        let kept = self.inner.rooms.kept_of(Kind::Blocks);
        let usages = self.inner.store.usages().await?;
        let held: u64 = usages.values().map(Usage::blocks_charge).sum();
        let then = held.saturating_add(kept).saturating_add(charge);
        let room = (then <= limit).then(|| Room::keep(self, bucket.id, Kind::Blocks, charge));
        Ok((room, then))
    }
}

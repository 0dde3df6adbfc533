//! From blocks to a whole object: when all of them are here, or half of them and the rest is worth fetching.
//!
//! What is missing is fetched as a patient reader would, behind all clients. Then a fill like any other has the origin's
//! HEAD say what the whole object is, under If-Match, and takes its bytes from the blocks: so the same headers, the same
//! digests and the same commit decide as if all of it had come at once. What does not have the digests that were promised is
//! dropped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fallthrough_object::{Body, BodyError, ByteRange, Monotonic};
use fallthrough_shadow::Extras;
use fallthrough_store::BlockSet;
use futures::StreamExt as _;

use super::body::Blocks;
use super::{BlockOrder, Pin};
use crate::core::admission::Priority;
use crate::core::fills::Slot;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::FillOrder;

/// Objects whose missing blocks are fetched at one time, over all origins.
const AT_ONE_TIME: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
/// Whose share it counts against.
const CLIENT: &str = "promotion";

/// Objects that are being completed, and what that has cost.
#[derive(Debug, Default)]
pub(crate) struct Promotions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keys: BTreeSet<Slot>,
    /// When the minute began, and what it was given to.
    minute: Option<(Monotonic, u64)>,
}

impl Promotions {
    fn with<R>(&self, section: impl FnOnce(&mut State) -> R) -> R {
        section(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether so many bytes more may be fetched for a key, within the minute that it is.
    fn begin(&self, slot: &Slot, bytes: u64, per_minute: u64, now: Monotonic) -> bool {
        self.with(|state| {
            let spent = match state.minute {
                Some((began, spent)) if now.since(began) < MINUTE => spent,
                Some(_) | None => {
                    state.minute = Some((now, 0));
                    0
                }
            };
            let fits = spent.saturating_add(bytes) <= per_minute || planted(Mutant::PromotedAtAnyCost);
            if !fits || state.keys.len() >= AT_ONE_TIME || !state.keys.insert(slot.clone()) {
                return false;
            }
            if let Some((_, spent)) = &mut state.minute {
                *spent = spent.saturating_add(bytes);
            }
            true
        })
    }
}

/// Takes the key out again, however its completion ends.
struct Completing(Engine, Slot);

impl Drop for Completing {
    fn drop(&mut self) {
        self.0.inner.promotions.with(|state| state.keys.remove(&self.1));
    }
}

impl Engine {
    /// A block was kept: is it time for the whole object?
    pub(super) fn consider_promotion(&self, order: &BlockOrder, pin: &Arc<Pin>, set: &BlockSet) {
        let (options, size) = (&self.inner.options, pin.info.size_bytes);
        if !self.could_keep(&order.bucket, size) || self.inner.tasks.is_closed() {
            return;
        }
        if set.blocks >= pin.blocks() {
            let (engine, order, pin) = (self.clone(), patient(order), pin.clone());
            self.inner.tasks.spawn(async move { engine.promote(&order, pin).await });
            return;
        }
        let (missing, now) = (size.saturating_sub(set.bytes), self.inner.clock.monotonic());
        let is_half = set.blocks.saturating_mul(2) >= pin.blocks();
        if !is_half
            || !self.inner.promotions.begin(&order.slot, missing, options.promote_bytes_per_minute, now)
        {
            return;
        }
        let completing = Completing(self.clone(), order.slot.clone());
        let (engine, order, pin) = (self.clone(), Arc::new(patient(order)), pin.clone());
        self.inner.tasks.spawn(async move {
            let _completing = completing;
            let stop = engine.inner.stop.clone();
            let completed = stop.run_until_cancelled(engine.fetch_missing(&order, &pin)).await;
            if let Some(Err(error)) = completed {
                tracing::debug!(%error, key = %order.slot.key, "the blocks that are missing do not come now");
            }
        });
    }

    /// Fetches the blocks that are missing; the last one of them finds that all are here.
    async fn fetch_missing(&self, order: &Arc<BlockOrder>, pin: &Arc<Pin>) -> Result<(), BodyError> {
        for number in 0..pin.blocks() {
            if self.kept_block(&order.slot, pin, number).await.map_err(unreadable)?.is_some() {
                continue;
            }
            let opened = Blocks::open(self.clone(), order.clone(), pin.clone(), pin.span(number)).await;
            let (body, _) = opened.map_err(|_| BodyError::Origin)?;
            let mut pieces = self.inner.store.pieces(body);
            while let Some(piece) = pieces.next().await {
                piece?;
            }
        }
        Ok(())
    }

    /// Has the object filled from its blocks.
    async fn promote(&self, order: &BlockOrder, pin: Arc<Pin>) {
        let entry = match self.inner.store.lookup(order.bucket.id, &order.slot.key).await {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a key cannot be looked up");
                return;
            }
        };
        let fill = FillOrder {
            bucket: order.bucket.clone(),
            slot: order.slot.clone(),
            origin_key: order.origin_key.clone(),
            behind: order.behind.clone(),
            entry,
            revalidate: false,
            judged: None,
            same_only: false,
            client: Arc::from(CLIENT),
            priority: Priority::Background,
            hops: 0,
            request_id: order.request_id.clone(),
            trace: order.trace,
            extras: Extras::default(),
            from_blocks: Some(pin),
        };
        match self.join(fill) {
            Ok(_) => metrics::counter!("fallthrough_blocks_promoted_total").increment(1),
            Err(error) => tracing::debug!(%error, key = %order.slot.key, "not filled from blocks now"),
        }
    }

    /// All of the object's bytes; `None`: they are not here any more.
    pub(crate) async fn out_of_blocks(&self, fill: &FillOrder, pin: &Arc<Pin>) -> Option<Body> {
        let order = BlockOrder {
            bucket: fill.bucket.clone(),
            slot: fill.slot.clone(),
            origin_key: fill.origin_key.clone(),
            behind: fill.behind.clone(),
            // What is not here any more is not asked for.
            client: None,
            priority: Priority::Background,
            hops: 0,
            request_id: fill.request_id.clone(),
            trace: fill.trace,
            extras: Extras::default(),
        };
        let whole = ByteRange::whole(pin.info.size_bytes);
        let (body, _) = Blocks::open(self.clone(), Arc::new(order), pin.clone(), whole).await.ok()?;
        Some(Body::Stream(self.inner.store.pieces(body)))
    }

    /// The whole has not the digests that it was promised to have.
    pub(crate) async fn blocks_are_wrong(&self, fill: &FillOrder, pin: &Pin) {
        self.give_up_blocks(&fill.slot, pin, "mismatch").await;
    }
}

/// The same, for nobody in particular.
fn patient(order: &BlockOrder) -> BlockOrder {
    BlockOrder {
        bucket: order.bucket.clone(),
        slot: order.slot.clone(),
        origin_key: order.origin_key.clone(),
        behind: order.behind.clone(),
        client: Some(Arc::from(CLIENT)),
        priority: Priority::Background,
        hops: 0,
        request_id: order.request_id.clone(),
        trace: order.trace,
        extras: Extras::default(),
    }
}

fn unreadable(error: fallthrough_store::StoreError) -> BodyError {
    BodyError::Io(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use fallthrough_object::Key;
    use fallthrough_store::BucketId;

    use super::*;

    #[test]
    fn so_many_bytes_a_minute() {
        let promotions = Promotions::default();
        let slot = |key: &str| Slot { bucket: BucketId(1), key: Key::parse(key).unwrap() };
        let (start, later) = (Monotonic::default(), Monotonic::default().plus(MINUTE));
        assert!(promotions.begin(&slot("a"), 60, 100, start));
        assert!(!promotions.begin(&slot("a"), 1, 100, start), "it is under way");
        assert!(
            !promotions.begin(&slot("b"), 41, 100, start) && promotions.begin(&slot("b"), 40, 100, start)
        );
        assert!(
            !promotions.begin(&slot("c"), 1, 100, start) && promotions.begin(&slot("c"), 100, 100, later)
        );
        assert!(
            !promotions.begin(&slot("d"), 0, 0, start.plus(MINUTE * 3))
                || promotions.with(|s| s.keys.len()) == 4
        );
    }
}

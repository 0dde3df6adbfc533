//! Room for what is to be kept: limits of what copies hold, and quotas of what clients write.
//!
//! Whoever wants to commit so many bytes keeps room for them first. A check and what it keeps are one step, and room is
//! given back when the commit has ended and counts by itself: so what is held is never above a limit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fallthrough_object::Key;
use fallthrough_store::{Bucket, BucketId, BucketMode, COPY_ROW_BYTES, Entry, EntryState};

use crate::api::BucketError;
use crate::core::commit::MAX_CONFLICTS;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::guard::{Guard, Said};
use crate::ledger::{Change, Committed};

/// Bytes that are about to be committed.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    kept: Mutex<BTreeMap<(BucketId, Kind), u64>>,
    /// One look and what is kept upon it after the other.
    turn: tokio::sync::Mutex<()>,
}

/// What room is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Copies of what is behind us.
    Copies,
    /// What clients write.
    Written,
    /// Blocks of what is behind us, which count as copies besides.
    Blocks,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(BucketId, Kind), u64>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that room is kept for.
    pub(crate) fn kept(&self, buckets: &[BucketId], kind: Kind) -> u64 {
        let kept = self.lock();
        buckets.iter().filter_map(|bucket| kept.get(&(*bucket, kind))).sum()
    }

    /// Bytes that room is kept for in all buckets.
    pub(crate) fn kept_of(&self, kind: Kind) -> u64 {
        self.lock().iter().filter(|((_, other), _)| *other == kind).map(|(_, bytes)| *bytes).sum()
    }

    /// One look, and what is kept upon it, after the other.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

/// Room that is kept until this is dropped: after the commit that it is for.
#[derive(Debug)]
pub(crate) struct Room {
    engine: Engine,
    bucket: BucketId,
    kind: Kind,
    bytes: u64,
    /// How much more than what it replaces this is for.
    more: u64,
    is_last_but_a_few: bool,
}

/// The mark of a change that needs more room than is kept for it, since what it was to replace is gone.
const ROOM_ANEW: &str = "a change whose room has to be kept anew";

/// What of a row counts against the quota, in bytes.
fn written_bytes(entry: Option<&Entry>) -> u64 {
    match entry.map(|entry| &entry.state) {
        Some(EntryState::Written(stored)) => stored.info.size_bytes,
        _ => 0,
    }
}

/// Where a copy is to go.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing limits it.
    Unbounded,
    /// Room is kept for it.
    Kept(Room),
    /// Nowhere: it is not kept.
    None,
}

impl Room {
    pub(crate) fn keep(engine: &Engine, bucket: BucketId, kind: Kind, bytes: u64) -> Self {
        let is_raced = match kind {
            Kind::Copies => planted(Mutant::RoomNotKept),
            Kind::Written => planted(Mutant::QuotaRaced),
            Kind::Blocks => false,
        };
        let more = bytes;
        let bytes = if is_raced { 0 } else { bytes };
        *engine.inner.rooms.lock().entry((bucket, kind)).or_default() += bytes;
        Self { engine: engine.clone(), bucket, kind, bytes, more, is_last_but_a_few: false }
    }

    /// Whether others should make place for the next one.
    pub(crate) fn is_last_but_a_few(&self) -> bool {
        self.is_last_but_a_few
    }
}

/// Above this much of a limit copies are evicted, so that the next one need not wait.
pub(crate) fn high_mark(limit: u64) -> u64 {
    limit - limit / 32
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut kept = self.engine.inner.rooms.lock();
        if let Some(bytes) = kept.get_mut(&(self.bucket, self.kind)) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                kept.remove(&(self.bucket, self.kind));
            }
        }
    }
}

/// What a copy of so many bytes counts against a limit.
pub(crate) fn charge_of(size_bytes: u64) -> u64 {
    size_bytes.saturating_add(COPY_ROW_BYTES)
}

/// Whether the copies of a bucket may be evicted: what its shadow has can be had again, and it is no object's only place.
pub(crate) fn is_evictable(bucket: &Bucket) -> bool {
    let refills = match bucket.settings.mode {
        BucketMode::Cache | BucketMode::Compute => true,
        BucketMode::Plain | BucketMode::Migrate => false,
    };
    refills && !bucket.settings.shadow.is_empty()
}

impl Engine {
    /// Whether anything limits the copies of a bucket.
    pub(crate) fn is_limited(&self, bucket: &Bucket) -> bool {
        let some = bucket.settings.cache_limit_bytes.or(self.inner.options.cache_limit_bytes);
        some.is_some() && is_evictable(bucket)
    }

    /// Whether a copy of so many bytes could be kept if nothing else were.
    pub(crate) fn could_keep(&self, bucket: &Bucket, size_bytes: u64) -> bool {
        let limits = [bucket.settings.cache_limit_bytes, self.inner.options.cache_limit_bytes];
        !is_evictable(bucket) || limits.iter().flatten().all(|limit| charge_of(size_bytes) <= *limit)
    }

    /// Keeps room for a copy that counts `charge` bytes more than what it replaces; `None`: there is none now.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn keep_room(&self, bucket: &Bucket, charge: u64) -> Result<Option<Room>, BucketError> {
        let rooms = &self.inner.rooms;
        let _turn = rooms.turn().await;
        let mut scopes = Vec::new();
        if let Some(limit) = bucket.settings.cache_limit_bytes.filter(|_| is_evictable(bucket)) {
            scopes.push((vec![bucket.id], limit));
        }
        if let Some(limit) = self.inner.options.cache_limit_bytes.filter(|_| is_evictable(bucket)) {
            scopes.push((self.evictable_ids().await?, limit));
        }
        let mut is_last_but_a_few = false;
        for (buckets, limit) in scopes {
            // Before what is held is read: a commit that ends in between counts twice, never not at all.
            let kept = rooms.kept(&buckets, Kind::Copies);
            let then = self.copies_charge(&buckets).await?.saturating_add(kept).saturating_add(charge);
            if then > limit {
                return Ok(None);
            }
            is_last_but_a_few |= then > high_mark(limit);
        }
        let mut room = Room::keep(self, bucket.id, Kind::Copies, charge);
        room.is_last_but_a_few = is_last_but_a_few;
        Ok(Some(room))
    }

    /// What the copies of these buckets count by now, in bytes.
    pub(crate) async fn copies_charge(&self, buckets: &[BucketId]) -> Result<u64, BucketError> {
        if let [bucket] = buckets {
            return Ok(self.inner.store.usage(*bucket).await?.copies_charge());
        }
        let usages = self.inner.store.usages().await?;
        Ok(buckets.iter().filter_map(|bucket| usages.get(bucket)).map(|usage| usage.copies_charge()).sum())
    }

    /// Keeps room in a bucket's quota for a copy that becomes a written object, since a client says something of it.
    ///
    /// # Errors
    /// As [`Engine::keep_quota`].
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn quota_of_copy(
        &self,
        bucket: &Bucket,
        key: &Key,
    ) -> Result<Option<Room>, BucketError> {
        if bucket.settings.quota_bytes.is_none() {
            return Ok(None);
        }
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        match entry.as_deref().map(|entry| &entry.state) {
            Some(EntryState::Filled(stored, _)) => self.keep_quota(bucket, key, stored.info.size_bytes).await,
            _ => Ok(None),
        }
    }

    /// Keeps room in a bucket's quota for an object of so many bytes under `key`; `None`: the bucket has no quota. What it
    /// replaces makes room for it.
    ///
    /// # Errors
    /// [`BucketError::QuotaExceeded`]; the store's.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn keep_quota(
        &self,
        bucket: &Bucket,
        key: &Key,
        size_bytes: u64,
    ) -> Result<Option<Room>, BucketError> {
        let Some(quota_bytes) = bucket.settings.quota_bytes else { return Ok(None) };
        let rooms = &self.inner.rooms;
        let _turn = rooms.turn.lock().await;
        let kept = rooms.kept(&[bucket.id], Kind::Written);
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        let more = size_bytes.saturating_sub(written_bytes(entry.as_deref()));
        let written_bytes = self.inner.store.usage(bucket.id).await?.written.bytes.saturating_add(kept);
        // What does not grow is taken also where the quota was lowered.
        if more > 0 && written_bytes.saturating_add(more) > quota_bytes {
            return Err(BucketError::QuotaExceeded { quota_bytes, written_bytes, more_bytes: more });
        }
        Ok(Some(Room::keep(self, bucket.id, Kind::Written, more)))
    }
    /// Commits what `decide` says under a guard: an object of `size_bytes`, for which `room` is kept. It is kept anew if what
    /// the object replaces has become less since: deleted, or overwritten with less.
    ///
    /// # Errors
    /// As [`Engine::keep_quota`] and [`Guard::change`].
    ///
    /// # Cancellation
    /// As [`Guard::change`].
    pub(crate) async fn change_in_quota(
        &self,
        guard: &Guard<'_>,
        early: Option<Said>,
        room: Option<Room>,
        size_bytes: u64,
        mut decide: impl FnMut(&Bucket, Option<&Entry>) -> Result<Change, BucketError>,
    ) -> Result<Committed, BucketError> {
        let (mut early, mut room) = (early, room);
        for _ in 0..MAX_CONFLICTS {
            let changed = guard
                .change(early.take(), |bucket, row| {
                    let change = decide(bucket, row)?;
                    let more = size_bytes.saturating_sub(written_bytes(row));
                    let fits = room.as_ref().is_none_or(|room| more <= room.more);
                    let mark = BucketError::NotOffered { what: ROOM_ANEW };
                    if fits || planted(Mutant::QuotaJudgedOnce) { Ok(change) } else { Err(mark) }
                })
                .await;
            match changed {
                Err(BucketError::NotOffered { what: ROOM_ANEW }) => {
                    drop(room.take());
                    room = self.keep_quota(guard.bucket(), guard.key(), size_bytes).await?;
                }
                ended => return ended,
            }
        }
        Err(BucketError::Conflict)
    }
}

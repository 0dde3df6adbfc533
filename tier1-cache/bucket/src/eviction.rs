//! Eviction: copies go when space is needed, so that others can be kept. `docs/semantics.md`, "Space".
//!
//! One worker for all buckets, which sleeps until somebody needs room. It evicts down to a mark below the limit, in batches
//! that share a sync. Only copies go, of buckets that can have them again, and each only if it is still the copy that was
//! chosen: a commit like any other, on the condition that nothing has changed. Who is reading it reads on.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use fallthrough_object::{Entropy, Key};
use fallthrough_store::{Bucket, BucketId, Entry, EntryState, Erased, Usage};
use futures::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::blocks::Hands;
use crate::core::commit::{ChangeRefused, TableLock as _, commit_change};
use crate::core::eviction::{Candidate, Policy};
use crate::core::fills::Slot;
use crate::core::mutants::{Mutant, planted};
use crate::core::uses::Uses;
use crate::engine::Engine;
use crate::ledger::{Change, Found, Order};
use crate::room::{Kind, Place, charge_of, high_mark, is_evictable};

/// Copies that are evicted at once: their commits share a sync.
const BATCH: usize = 64;
/// Pages of the index that are looked at for one batch.
const PAGES: usize = 64;
/// How often the hand may go round for one batch: a copy has at most three uses to lose.
const ROUNDS: usize = 5;
/// Batches in a row of which nothing could be evicted.
const FRUITLESS: u32 = 4;
/// The worker stops at so much below a limit; it begins at [`high_mark`].
const LOW: u64 = 16;
/// What waits for room gets this part of a limit at once, or the largest of it.
const WANTED: u64 = 8;
/// How often, and how long each time, a fill waits for room. Nobody waits for the fill: its readers have all of it.
const PATIENCE: u32 = 3;
const WAIT: Duration = Duration::from_secs(5);

/// Why copies went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    BucketLimit,
    StoreLimit,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::BucketLimit => "bucket-limit",
            Self::StoreLimit => "store-limit",
        }
    }
}

/// What a round of the worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictionTally {
    /// Copies that went.
    pub evicted: u64,
    /// Their bytes, and what each counts besides.
    pub freed_bytes: u64,
}

/// The worker's part of the engine.
#[derive(Debug)]
pub(crate) struct Eviction {
    state: Mutex<State>,
    uses: OnceLock<Uses>,
    hasher: DefaultHasher,
    wake: Notify,
    rounds: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    policy: Policy,
    /// Where the hand is, for each bucket; where it is not, it begins at the first key.
    hands: BTreeMap<BucketId, Key>,
    /// The bucket that the hand is in, where all of them are meant.
    at: Option<BucketId>,
    /// What waits for room, by its number.
    wanted: BTreeMap<u64, (BucketId, u64)>,
    next: u64,
    /// Buckets whose copies can be evicted; `None`: they have to be read.
    buckets: Option<Arc<Vec<Arc<Bucket>>>>,
    /// Raised whenever they have to be.
    changes: u64,
    /// Copies that there are, about.
    copies: u64,
    block_hands: Hands,
}

impl Eviction {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut hasher = DefaultHasher::new();
        // Keys come from clients, who must not be able to choose what shares a counter.
        hasher.write_u64(entropy.next_u64());
        Self {
            state: Mutex::default(),
            uses: OnceLock::new(),
            hasher,
            wake: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_again(&self) {
        let mut state = self.lock();
        state.buckets = None;
        state.changes += 1;
    }

    pub(crate) fn block_hand(&self, bucket: BucketId) -> Option<Key> {
        self.lock().block_hands.get(&bucket).cloned()
    }

    pub(crate) fn set_block_hand(&self, bucket: BucketId, hand: Option<Key>) {
        let mut state = self.lock();
        match hand {
            Some(hand) => drop(state.block_hands.insert(bucket, hand)),
            None => drop(state.block_hands.remove(&bucket)),
        }
    }

    /// Whether blocks of this key were read since this was asked last.
    pub(crate) fn spares_blocks(&self, bucket: BucketId, key: &Key) -> bool {
        self.uses().take_one(self.hash(bucket, key))
    }

    fn uses(&self) -> &Uses {
        self.uses.get_or_init(Uses::default)
    }

    fn hash(&self, bucket: BucketId, key: &Key) -> u64 {
        let mut hasher = self.hasher.clone();
        (bucket.0, key.as_str()).hash(&mut hasher);
        hasher.finish()
    }

    /// Somebody waits for room from now on.
    fn want(&self, bucket: BucketId, bytes: u64) -> Want<'_> {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.wanted.insert(number, (bucket, bytes));
        Want(self, number)
    }
}

/// Room that somebody waits for.
struct Want<'a>(&'a Eviction, u64);

impl Drop for Want<'_> {
    fn drop(&mut self) {
        self.0.lock().wanted.remove(&self.1);
    }
}

/// Why a copy was not evicted.
#[derive(Debug)]
enum Spared {
    /// It is not what was chosen, is being fetched again, or waits for its delivery.
    Changed,
}

impl Engine {
    /// A copy was served.
    pub(crate) fn note_use(&self, bucket: &Bucket, key: &Key) {
        if self.is_limited(bucket) {
            let eviction = &self.inner.eviction;
            eviction.uses().used(eviction.hash(bucket.id, key));
        }
    }

    /// Blocks were read.
    pub(crate) fn note_block_use(&self, slot: &Slot) {
        let eviction = &self.inner.eviction;
        eviction.uses().used(eviction.hash(slot.bucket, &slot.key));
    }

    /// There is little room, or none.
    pub(crate) fn wake_eviction(&self) {
        self.inner.eviction.wake.notify_one();
    }

    /// Finds a place for a copy of so many bytes, once others have made room for it. `replaced`: the copy that it takes the
    /// place of.
    pub(crate) async fn place_for(
        &self,
        bucket: &Bucket,
        size_bytes: u64,
        replaced: Option<&Entry>,
    ) -> Place {
        if !self.is_limited(bucket) {
            return Place::Unbounded;
        }
        let before = match replaced.map(|entry| &entry.state) {
            Some(EntryState::Filled(stored, _)) => charge_of(stored.info.size_bytes),
            _ => 0,
        };
        let charge = charge_of(size_bytes).saturating_sub(before);
        let eviction = &self.inner.eviction;
        let mut rounds = eviction.rounds.subscribe();
        let mut want = None;
        for left in (0..=PATIENCE).rev() {
            rounds.borrow_and_update();
            match self.keep_room(bucket, charge).await {
                Ok(Some(room)) => return Place::Kept(room),
                Ok(None) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "it is not known what copies hold");
                    break;
                }
            }
            if left == 0 || !self.could_keep(bucket, size_bytes) {
                break;
            }
            want.get_or_insert_with(|| eviction.want(bucket.id, charge));
            eviction.wake.notify_one();
            // A round that had begun before may not have known of it: the next one does.
            let round = tokio::time::timeout(WAIT, rounds.changed()).await;
            if !matches!(round, Ok(Ok(()))) {
                break;
            }
        }
        metrics::counter!("fallthrough_cache_not_kept_total", "reason" => "no-room").increment(1);
        Place::None
    }

    /// A copy was committed in this place.
    pub(crate) fn copy_stored(&self, bucket: &Bucket, key: &Key, entry: &Entry, place: &Place) {
        let EntryState::Filled(stored, _) = &entry.state else { return };
        if !self.is_limited(bucket) {
            return;
        }
        let eviction = &self.inner.eviction;
        let copy = Candidate {
            bucket: bucket.id,
            key: key.clone(),
            revision: entry.revision,
            charge: charge_of(stored.info.size_bytes),
            hash: eviction.hash(bucket.id, key),
        };
        let mut state = eviction.lock();
        state.copies += 1;
        let copies = state.copies;
        state.policy.stored(copy, eviction.uses(), copies);
        drop(state);
        if let Place::Kept(room) = place
            && room.is_last_but_a_few()
        {
            eviction.wake.notify_one();
        }
    }

    /// A bucket came, went or was changed; `before` and now: limits may be others.
    pub(crate) fn limits_changed(&self, before: Option<&Bucket>, now: Option<&Bucket>) {
        self.inner.eviction.look_again();
        if before.into_iter().chain(now).any(|bucket| self.is_limited(bucket)) {
            self.inner.eviction.wake.notify_one();
        }
    }

    /// Buckets whose copies can be evicted.
    async fn evictable(&self) -> Result<Arc<Vec<Arc<Bucket>>>, BucketError> {
        let eviction = &self.inner.eviction;
        let changes = {
            let state = eviction.lock();
            if let Some(buckets) = &state.buckets {
                return Ok(buckets.clone());
            }
            state.changes
        };
        let mut found: Vec<Arc<Bucket>> = Vec::new();
        let mut buckets = self.all_buckets();
        while let Some(bucket) = buckets.next().await? {
            found.extend(Some(bucket).filter(|bucket| is_evictable(bucket)));
        }
        let all = Arc::new(found);
        let mut state = eviction.lock();
        // What changed while they were read is read by whoever comes next.
        if state.changes == changes {
            state.buckets = Some(all.clone());
        }
        let gone: Vec<BucketId> =
            state.hands.keys().copied().filter(|id| !all.iter().any(|bucket| bucket.id == *id)).collect();
        for bucket in gone {
            state.hands.remove(&bucket);
            state.policy.forget(bucket);
        }
        Ok(all)
    }

    /// Their ids.
    pub(crate) async fn evictable_ids(&self) -> Result<Vec<BucketId>, BucketError> {
        Ok(self.evictable().await?.iter().map(|bucket| bucket.id).collect())
    }

    /// Evicts whenever there is need for it, until it is told to stop. What fails is told of, and tried again at the next
    /// occasion.
    pub async fn run_eviction(&self, stop: CancellationToken) {
        let run = async {
            loop {
                if let Err(error) = self.evict_now().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "copies could not be evicted; it is tried again"
                    );
                }
                tokio::select! {
                    biased;
                    () = self.inner.eviction.wake.notified() => {}
                    // What is held was not known before.
                    () = self.inner.store.recounted() => {}
                }
            }
        };
        stop.run_until_cancelled(run).await;
    }

    /// Evicts what is above limits, and makes the room that is waited for.
    ///
    /// # Errors
    /// The store's: some may have gone.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn evict_now(&self) -> Result<EvictionTally, BucketError> {
        let mut tally = EvictionTally::default();
        let done = self.evict_all(&mut tally).await;
        // Also after an error: who waits looks for himself.
        self.inner.eviction.rounds.send_modify(|round| *round += 1);
        done.map(|()| tally)
    }

    async fn evict_all(&self, tally: &mut EvictionTally) -> Result<(), BucketError> {
        // What is on its way out counts until it is gone.
        // Blocks that cannot be removed are no reason to keep copies above their limit.
        if let Err(error) = self.inner.store.sweep_left_blocks().await {
            tracing::warn!(%error, "blocks that are of no use are still there");
        }
        if let Err(error) = self.shrink_blocks().await {
            tracing::warn!(%error, "blocks are above their limit");
        }
        let buckets = self.evictable().await?;
        for bucket in buckets.iter() {
            if let Some(limit) = bucket.settings.cache_limit_bytes {
                self.shrink(std::slice::from_ref(bucket), limit, Reason::BucketLimit, tally).await?;
            }
        }
        if let Some(limit) = self.inner.options.cache_limit_bytes {
            self.shrink(&buckets, limit, Reason::StoreLimit, tally).await?;
        }
        Ok(())
    }

    /// Evicts copies of these buckets until they are below their limit by the margin, and by what is waited for.
    async fn shrink(
        &self,
        buckets: &[Arc<Bucket>],
        limit: u64,
        reason: Reason,
        tally: &mut EvictionTally,
    ) -> Result<(), BucketError> {
        let ids: Vec<BucketId> = buckets.iter().map(|bucket| bucket.id).collect();
        let (mut begun, mut fruitless) = (false, 0);
        while fruitless < FRUITLESS {
            let taken = self.inner.rooms.kept(&ids, Kind::Copies).saturating_add(self.wanted(&ids, limit));
            let held = self.copies_charge(&ids).await?;
            let goal = (limit - limit / LOW).min(limit.saturating_sub(taken));
            let begins = held > high_mark(limit) || held.saturating_add(taken) > limit;
            if held <= goal || !(begun || begins) {
                break;
            }
            begun = true;
            // Copies are whole and verified: blocks go before them.
            if self.drop_sets(&ids, held - goal).await? > 0 {
                continue;
            }
            let chosen = self.choose(buckets, &ids, held - goal, limit).await?;
            if chosen.is_empty() {
                fruitless += 1;
                continue;
            }
            let of = |copy: &Candidate| buckets.iter().find(|bucket| bucket.id == copy.bucket);
            let evictions = chosen
                .iter()
                .filter_map(|copy| Some((copy, of(copy)?)))
                .map(|(copy, bucket)| async move { (copy, self.evict(bucket, copy, reason).await) });
            let mut went = 0;
            for (copy, evicted) in join_all(evictions).await {
                if evicted? {
                    went += 1;
                    tally.evicted += 1;
                    tally.freed_bytes += copy.charge;
                }
            }
            fruitless = if went == 0 { fruitless + 1 } else { 0 };
        }
        Ok(())
    }

    /// What waits for room in these buckets; not all at once if that is much of the limit.
    fn wanted(&self, ids: &[BucketId], limit: u64) -> u64 {
        let state = self.inner.eviction.lock();
        let wanted =
            state.wanted.values().filter(|(bucket, _)| ids.contains(bucket)).map(|(_, bytes)| *bytes);
        let (sum, largest) =
            wanted.fold((0u64, 0), |(sum, largest), bytes| (sum.saturating_add(bytes), largest.max(bytes)));
        sum.min((limit / WANTED).max(largest))
    }

    /// Chooses copies of these buckets that count `need` bytes, or some of them.
    async fn choose(
        &self,
        buckets: &[Arc<Bucket>],
        ids: &[BucketId],
        need: u64,
        limit: u64,
    ) -> Result<Vec<Candidate>, BucketError> {
        let eviction = &self.inner.eviction;
        let mut chosen = Chosen { copies: Vec::new(), need };
        let usages = self.inner.store.usages().await?;
        {
            let mut state = eviction.lock();
            state.copies = usages.values().map(|usage| usage.filled.objects).sum();
            while chosen.wants_more()
                && let Some(copy) = state.policy.newcomer(ids, limit, eviction.uses())
            {
                chosen.take(copy);
            }
        }
        // As long as newcomers hold more than their share, they go before others.
        if chosen.copies.is_empty() {
            self.go_round(buckets, &usages, &mut chosen).await?;
        }
        if chosen.copies.is_empty() {
            let mut state = eviction.lock();
            while chosen.wants_more()
                && let Some(copy) = state.policy.any_newcomer(ids, eviction.uses())
            {
                chosen.take(copy);
            }
        }
        Ok(chosen.copies)
    }

    /// Moves the hand on over the copies of these buckets, until it has found enough.
    async fn go_round(
        &self,
        buckets: &[Arc<Bucket>],
        usages: &BTreeMap<BucketId, Usage>,
        chosen: &mut Chosen,
    ) -> Result<(), BucketError> {
        let eviction = &self.inner.eviction;
        let has_some = |bucket: &&Arc<Bucket>| usages.get(&bucket.id).is_some_and(|u| u.filled.objects > 0);
        let buckets: Vec<&Arc<Bucket>> = buckets.iter().filter(has_some).collect();
        let mut ends = 0;
        for _ in 0..PAGES {
            if buckets.is_empty() || ends >= ROUNDS * buckets.len() || !chosen.wants_more() {
                return Ok(());
            }
            let (bucket, hand) = {
                let state = eviction.lock();
                let at =
                    state.at.and_then(|at| buckets.iter().position(|bucket| bucket.id == at)).unwrap_or(0);
                (buckets[at], state.hands.get(&buckets[at].id).cloned())
            };
            let (page, mut next) = self.inner.store.copies(bucket.id, hand.as_ref()).await?;
            let mut state = eviction.lock();
            for (key, entry) in page {
                if !chosen.wants_more() {
                    break;
                }
                let hash = eviction.hash(bucket.id, &key);
                let stays = state.policy.stays(hash, eviction.uses());
                let size_bytes = entry.state.stored().map_or(0, |stored| stored.info.size_bytes);
                if !stays {
                    chosen.take(Candidate {
                        bucket: bucket.id,
                        key: key.clone(),
                        revision: entry.revision,
                        charge: charge_of(size_bytes),
                        hash,
                    });
                }
                if !chosen.wants_more() {
                    next = Some(key);
                }
            }
            match next {
                Some(next) => drop(state.hands.insert(bucket.id, next)),
                None => {
                    ends += 1;
                    state.hands.remove(&bucket.id);
                    let after = buckets.iter().position(|other| other.id == bucket.id).map_or(0, |at| at + 1);
                    state.at = buckets.get(after).map(|bucket| bucket.id);
                }
            }
        }
        Ok(())
    }

    /// Evicts a copy, if it is still the one that was chosen: its key is unknown again. Whether it did.
    ///
    /// # Errors
    /// The store's: it may or may not have gone.
    pub(crate) async fn evict(
        &self,
        bucket: &Arc<Bucket>,
        copy: &Candidate,
        reason: Reason,
    ) -> Result<bool, BucketError> {
        let slot = Self::slot(bucket, &copy.key);
        // Somebody asks its origin whether it is still good, or has it mended: it is in use.
        if self.inner.fills.with(|fills| fills.get(&slot).is_some()) {
            return Ok(false);
        }
        let inner = &self.inner;
        let evicted = commit_change(&inner.store, &inner.fills, bucket.as_ref(), &slot, |found: &Found| {
            let is_same = |entry: &&Arc<Entry>| {
                let is_copy =
                    matches!(entry.state, EntryState::Filled(..)) || planted(Mutant::WrittenEvicted);
                is_copy && (entry.revision == copy.revision || planted(Mutant::NewerEvicted))
            };
            match found.entry.as_ref().filter(is_same) {
                Some(_) if found.intent.is_none() => Ok(Order::from(Change::Erase(Erased::Unknown))),
                Some(_) | None => Err(Spared::Changed),
            }
        });
        match evicted.await {
            Ok(_) => {}
            Err(ChangeRefused::Decided(Spared::Changed) | ChangeRefused::Conflict) => return Ok(false),
            Err(ChangeRefused::Gate) => {
                // Its shadow is another, or it is being deleted: for the next round to see.
                self.inner.eviction.look_again();
                return Ok(false);
            }
            Err(ChangeRefused::Failed(error)) => return Err(error.into()),
        }
        let said = format!("evicted: space was needed ({})", reason.as_str());
        let mut memory = inner.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.remember(&slot, said);
        drop(memory);
        let (bucket, reason) = (bucket.name.as_str().to_owned(), reason.as_str());
        metrics::counter!("fallthrough_cache_evictions_total", "bucket" => bucket.clone(), "reason" => reason)
            .increment(1);
        metrics::counter!("fallthrough_cache_evicted_bytes_total", "bucket" => bucket, "reason" => reason)
            .increment(copy.charge);
        Ok(true)
    }
}

/// Copies that were chosen, and how many bytes of them are still wanted.
struct Chosen {
    copies: Vec<Candidate>,
    need: u64,
}

impl Chosen {
    fn wants_more(&self) -> bool {
        self.need > 0 && self.copies.len() < BATCH
    }

    fn take(&mut self, copy: Candidate) {
        self.need = self.need.saturating_sub(copy.charge);
        self.copies.push(copy);
    }
}

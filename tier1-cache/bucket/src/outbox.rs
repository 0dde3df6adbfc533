//! The worker that brings to origins what waits for them.
//!
//! It sleeps until something is due or comes, has a bounded number of deliveries under way, and one at a time for each
//! key. A bucket whose origin takes nothing now is left alone for as long as its gate says, without a row written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fallthrough_object::{BucketName, Monotonic};
use fallthrough_store::{Bucket, BucketId, DueIntent, Intent, IntentRow, Lane, Seen};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::core::commit::{ChangeRefused, Ledger, commit_change};
use crate::core::mutants::{Mutant, planted};
use crate::core::outgoing::pause;
use crate::deliver::{Ended, count};
use crate::engine::Engine;
use crate::lanes;
use crate::ledger::{Change, Found, Order};

/// Deliveries under way at one time, over all origins.
const UNDER_WAY: usize = 16;
/// Longest sleep: whatever was missed is seen then.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long a bucket is left alone after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What the engine remembers of what goes out.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    lanes: Arc<lanes::Lanes>,
    // Bounded by the number of buckets; who is not found is looked for.
    pub(crate) names: Mutex<BTreeMap<BucketId, BucketName>>,
}

impl Engine {
    /// Waits for the lane of a key: what goes to its origin goes one after the other.
    pub(crate) async fn lane(&self, slot: &crate::core::fills::Slot) -> lanes::Lane {
        self.inner.outgoing.lanes.take(slot).await
    }

    /// Brings to origins what waits for them, until it is told to stop. What is under way then is in doubt, and the next
    /// start asks how it ended.
    pub async fn run_outbox(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.work_outbox()).await;
    }

    async fn work_outbox(&self) {
        let (store, clock) = (&self.inner.store, &self.inner.clock);
        let mut under_way = FuturesUnordered::new();
        let mut keys: HashSet<DueIntent> = HashSet::new();
        let mut held: HashMap<BucketId, Monotonic> = HashMap::new();
        // Of the buckets that send something, also those that have nothing to send are shown.
        if let Err(error) = self.sender(BucketId(0)).await {
            tracing::debug!(%error, "the buckets that send something are not known yet");
        }
        loop {
            let settled = store.settle_outbox().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "what waits for origins cannot be read; it is tried again");
                false
            });
            let (now, at) = (clock.now(), clock.monotonic());
            held.retain(|_, until| *until > at);
            let room = if settled { UNDER_WAY - under_way.len() } else { 0 };
            let skip = |due: &DueIntent| keys.contains(due) || held.contains_key(&due.bucket);
            for due in store.due_intents(now, room, skip) {
                keys.insert(due.clone());
                under_way.push(async move {
                    let held = self.deliver_due(&due).await;
                    (due, held)
                });
            }
            let next = store.next_intent_due(now).map(|next| next.since(now));
            let released = held.values().min().map(|until| until.since(at));
            let recovery = (!settled).then_some(Duration::from_secs(1));
            let sleep = [next, released, recovery].into_iter().flatten().min().unwrap_or(SLEEP_MAX);
            tokio::select! {
                biased;
                Some((due, hold)) = under_way.next(), if !under_way.is_empty() => {
                    if let Some(hold) = hold {
                        held.insert(due.bucket, clock.monotonic().plus(hold));
                    }
                    keys.remove(&due);
                }
                () = store.outbox_changed() => {}
                () = tokio::time::sleep(sleep.min(SLEEP_MAX)) => {}
            }
        }
    }

    /// Delivers what is due. `Some`: the bucket's origin is to be left alone for so long.
    async fn deliver_due(&self, due: &DueIntent) -> Option<Duration> {
        let delivered = async {
            let Some(bucket) = self.sender(due.bucket).await? else { return Ok(None) };
            let _lane = self.lane(&Self::slot(&bucket, &due.key)).await;
            let intent = self.inner.store.intent(due.bucket, &due.key).await?;
            let Some(intent) = intent.filter(|intent| !intent.row.dead) else { return Ok(None) };
            match self.deliver(&bucket, intent).await? {
                Ended::Held(wait) => Ok(Some(wait)),
                _ => Ok(None),
            }
        };
        match delivered.await {
            Ok(hold) => hold,
            Err(error) => {
                let error: BucketError = error;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a change could not be brought to its origin; it is tried again"
                );
                Some(STORE_PAUSE)
            }
        }
    }

    /// Tries to bring an intent to its origin, and writes down how that ended. The caller has the key's lane.
    ///
    /// # Errors
    /// The store's; [`BucketError::ShadowMisconfigured`].
    pub(crate) async fn deliver(
        &self,
        bucket: &Arc<Bucket>,
        intent: Arc<Intent>,
    ) -> Result<Ended, BucketError> {
        if intent.row.prepared {
            return self.resolve(bucket, intent).await;
        }
        let (ended, intent) = match self.cold(bucket, &intent.key)? {
            Some(cold) => self.attempt(bucket, &cold, intent).await?,
            None => (Ended::Dead("no shadow rule is for this key any more".to_owned()), intent),
        };
        match &ended {
            Ended::Delivered(seen) => {
                self.delivered(bucket, intent, seen).await?;
                count(bucket, "delivered");
            }
            Ended::Yield => self.give_up(bucket, &intent).await?,
            Ended::Dead(reason) | Ended::Conflict(reason) => {
                let key = intent.key.as_str();
                tracing::warn!(bucket = %bucket.name, key, reason, "a change cannot be brought to its origin");
                count(bucket, "dead");
                let row = IntentRow { dead: true, failure: Some(reason.clone()), ..intent.row.clone() };
                self.inner.store.note_intent(&intent, row).await?;
            }
            Ended::Retry { reason, after, .. } => self.put_off(bucket, &intent, reason, *after).await?,
            Ended::Held(_) | Ended::Overtaken => {}
        }
        Ok(ended)
    }

    async fn put_off(
        &self,
        bucket: &Bucket,
        intent: &Intent,
        reason: &str,
        after: Option<Duration>,
    ) -> Result<(), BucketError> {
        count(bucket, "retried");
        let attempts = intent.row.attempts + 1;
        let wait = pause(attempts, self.inner.entropy.next_u64()).max(after.unwrap_or_default());
        let next = self.inner.clock.now().plus(wait);
        let row = IntentRow { attempts, next, failure: Some(reason.to_owned()), ..intent.row.clone() };
        self.inner.store.note_intent(intent, row).await?;
        Ok(())
    }

    /// The origin was left with `seen` by this intent. If a newer one has taken its place, that one knows it.
    async fn delivered(
        &self,
        bucket: &Arc<Bucket>,
        intent: Arc<Intent>,
        seen: &Seen,
    ) -> Result<(), BucketError> {
        let store = &self.inner.store;
        loop {
            let found = Ledger::lookup(store, bucket, &intent.key).await?;
            match found.intent {
                None => return Ok(()),
                Some(now) if now.version == intent.version => {
                    if store.delivered(&intent, found.entry.as_deref(), seen).await? {
                        return Ok(());
                    }
                }
                Some(newer) => {
                    let row = IntentRow { seen: seen.clone(), maybe: Vec::new(), ..newer.row.clone() };
                    if store.note_intent(&newer, row).await?.is_some() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What is at the origin counts: what is here is forgotten, if it is still what the intent says.
    async fn give_up(&self, bucket: &Arc<Bucket>, intent: &Intent) -> Result<(), BucketError> {
        let slot = Self::slot(bucket, &intent.key);
        let inner = &self.inner;
        let decide = |found: &Found| match &found.intent {
            Some(now) if now.version == intent.version => {
                let change = Change::Erase(fallthrough_store::Erased::Unknown);
                Ok(Order { change, lane: Lane::Withdraw(now.clone()) })
            }
            Some(_) | None => Err(BucketError::Conflict),
        };
        match commit_change(&inner.store, &inner.fills, bucket.as_ref(), &slot, decide).await {
            // Written or deleted anew, or the bucket has another shadow: the next attempt sees.
            Ok(_) | Err(ChangeRefused::Decided(_) | ChangeRefused::Conflict | ChangeRefused::Gate) => Ok(()),
            Err(ChangeRefused::Failed(error)) => Err(error.into()),
        }
    }

    /// Ends what was prepared and left in doubt: if the origin has it, it is what the key has from now on, or else it
    /// never was.
    async fn resolve(&self, bucket: &Arc<Bucket>, intent: Arc<Intent>) -> Result<Ended, BucketError> {
        let store = &self.inner.store;
        if !intent.row.sent {
            store.withdraw_intent(&intent).await?;
            return Ok(Ended::Overtaken);
        }
        let Some(cold) = self.cold(bucket, &intent.key)? else {
            store.withdraw_intent(&intent).await?;
            return Ok(Ended::Overtaken);
        };
        let there = match self.look_for(bucket, &cold, intent.clone()).await {
            Ok(there) => there,
            Err(ended) => return self.unresolved(bucket, &intent, ended).await,
        };
        if there.is_of(&intent) || planted(Mutant::InDoubtIsDone) {
            let slot = Self::slot(bucket, &intent.key);
            let seen = there.seen();
            return match self.land(bucket, &slot, &intent, seen.clone(), None).await? {
                Some(_) => Ok(Ended::Delivered(seen)),
                None => Ok(Ended::Held(STORE_PAUSE)),
            };
        }
        if let Err(ended) = self.abort_uploads(bucket, &cold, intent.clone()).await {
            return self.unresolved(bucket, &intent, ended).await;
        }
        store.withdraw_intent(&intent).await?;
        Ok(Ended::Overtaken)
    }

    /// What is in doubt stays so until later.
    async fn unresolved(&self, bucket: &Bucket, intent: &Intent, ended: Ended) -> Result<Ended, BucketError> {
        if let Ended::Retry { reason, after, .. } = &ended {
            self.put_off(bucket, intent, reason, *after).await?;
        }
        let wait = Ended::Held(STORE_PAUSE);
        Ok(if matches!(ended, Ended::Dead(_)) { wait } else { ended })
    }

    /// The bucket of this id, by whichever name.
    async fn sender(&self, id: BucketId) -> Result<Option<Arc<Bucket>>, BucketError> {
        let known = {
            let names = self.inner.outgoing.names.lock().unwrap_or_else(PoisonError::into_inner);
            names.get(&id).cloned()
        };
        if let Some(name) = known
            && let Ok(bucket) = self.bucket(&name).await
            && bucket.id == id
        {
            return Ok(Some(bucket));
        }
        let mut names = BTreeMap::new();
        let mut found = None;
        let mut all = self.all_buckets();
        while let Some(bucket) = all.next().await? {
            if bucket.settings.shadow.iter().any(fallthrough_store::ShadowRule::goes_through) {
                names.insert(bucket.id, bucket.name.clone());
            }
            if bucket.id == id {
                found = Some(bucket);
            }
        }
        *self.inner.outgoing.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(found)
    }
}

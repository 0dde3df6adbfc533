//! A fill: fetching a missed key from the shadow and storing it while it streams to readers.
//!
//! One task owns each fill. Readers attach to its [`Progress`] and come and go as they like; the fill goes on
//! without them, since it is paid for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Key, Monotonic, TraceParent};
use fallthrough_shadow::Extras;
use fallthrough_store::{
    Bucket, Entry, EntryState, Erased, NewState, Observation, Provenance, Revision, Sealed,
};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::behind::Behind;
use crate::blocks::Pin;
use crate::core::admission::Priority;
use crate::core::commit::{FillCommit, TableLock as _, commit_fill};
use crate::core::fills::{FillId, Joined, Slot, TableFull};
use crate::core::keystate::{Purpose, RuleView, Situation, overtaken};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fetch::{Fetch, Fetched};
use crate::get::OVERTAKEN;
use crate::ledger::Change;
use crate::reader::{Progress, Stage};
use crate::room::Place;
use crate::standing::Standing;
use crate::telling::Teller;

/// What readers of a running fill attach to.
pub(crate) struct Fill {
    pub(crate) id: FillId,
    pub(crate) origin: Arc<str>,
    pub(crate) started: Monotonic,
    pub(crate) progress: Teller,
    pub(crate) standing: Standing,
    /// Cancelled when the fill's task has ended: what it stored can be found, or it stored nothing.
    ended: CancellationToken,
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fill({}, {})", self.id.0, self.origin)
    }
}

/// How a reader came to a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It started the fill.
    First,
    /// The fill was running.
    Later,
}

/// What a fill needs to know when it starts.
pub(crate) struct FillOrder {
    /// The bucket with the gate that the reader saw.
    pub(crate) bucket: Arc<Bucket>,
    /// Our key and the origin's.
    pub(crate) slot: Slot,
    pub(crate) origin_key: Key,
    pub(crate) behind: Arc<Behind>,
    /// What the reader's lookup found.
    pub(crate) entry: Option<Arc<Entry>>,
    /// The stored object is stale: ask whether it is still good.
    pub(crate) revalidate: bool,
    /// The object must have this ETag: the conditions were judged on it, or its damaged copy has it.
    pub(crate) judged: Option<fallthrough_object::ETag>,
    /// The stored copy is damaged, and nothing but the same object may take its place (`migrate`): if the origin
    /// has it no more, that is damage, not absence.
    pub(crate) same_only: bool,
    /// Whose share it counts against.
    pub(crate) client: Arc<str>,
    /// Whether a client waits for it.
    pub(crate) priority: Priority,
    pub(crate) hops: u32,
    pub(crate) request_id: Arc<str>,
    /// The first reader's trace: those who join later see it in their own only as time.
    pub(crate) trace: TraceParent,
    /// What is passed on to the origin of what the first reader asked with; the object does not depend on it.
    pub(crate) extras: Extras,
    /// Its bytes are taken from the blocks of this object, which are all here; its origin says what they have to be.
    pub(crate) from_blocks: Option<Arc<Pin>>,
}

impl Engine {
    /// Joins the running fill of the key, or starts one. Without the right to fill (`order` is `None`), only
    /// joins.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if too many fills are running.
    pub(crate) fn join(&self, order: FillOrder) -> Result<(Arc<Fill>, Came), BucketError> {
        let inner = &self.inner;
        let base = order.entry.as_ref().map_or(Revision(0), |entry| entry.revision);
        let started = inner.clock.monotonic();
        let origin = order.behind.origin.clone();
        let standing = Standing::new(order.behind.gate.clone(), order.client.clone(), order.priority);
        let joined = inner.fills.with(|fills| {
            if inner.tasks.is_closed() {
                return Err(TableFull);
            }
            fills.join(&order.slot, base, order.bucket.gate_version, |id| {
                let progress = Teller::new(Progress { stage: Stage::Asking, readable: 0 });
                let ended = CancellationToken::new();
                Arc::new(Fill { id, origin, started, progress, standing, ended })
            })
        });
        match joined {
            Ok(Joined::Running(_, fill)) => {
                metrics::counter!("fallthrough_coalesced_requests_total").increment(1);
                Ok((fill, Came::Later))
            }
            Ok(Joined::Started(_, fill)) => {
                let run = FillRun { engine: self.clone(), order, fill: fill.clone() };
                inner.tasks.spawn(run.run());
                Ok((fill, Came::First))
            }
            Err(TableFull) => {
                metrics::counter!("fallthrough_admission_rejections_total", "reason" => "fills-full")
                    .increment(1);
                Err(BucketError::SlowDown { reason: "fills-full", retry_after: Duration::from_secs(1) })
            }
        }
    }

    /// The running fill of the key that a reader of `bucket` may join.
    pub(crate) fn running(&self, bucket: &Bucket, key: &Key) -> Option<Arc<Fill>> {
        let slot = Self::slot(bucket, key);
        self.inner.fills.with(|fills| fills.joinable(&slot, bucket.gate_version).cloned())
    }
}

impl Engine {
    /// Whether the origin need not be asked for a key any more, since a reader found `seen`. To be called by whoever
    /// has the key's place in its table: what others did before them is committed by then.
    pub(crate) async fn overtaken(
        &self,
        bucket: &Bucket,
        key: &Key,
        behind: &Behind,
        seen: Option<&Entry>,
        purpose: Purpose,
    ) -> bool {
        let situation = Situation {
            mode: bucket.settings.mode,
            rule: Some(RuleView { edition: behind.rule.settings.edition.as_deref() }),
            now: self.inner.clock.now(),
        };
        match self.inner.store.lookup(bucket.id, key).await {
            Ok(now) => overtaken(seen, now.as_deref(), bucket.gate_version, situation, purpose),
            // A store that cannot be read now could be read a moment ago: the origin's answer is worth having.
            Err(_) => false,
        }
    }
}

impl Fill {
    /// Waits until the fill's task has ended: what it stored can be found, or it stored nothing.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Engine {
    /// Waits until what fills of this bucket (of this key) have verified by now is committed. Their readers
    /// have seen it: who looks at what is here afterwards must find it.
    ///
    /// Bounded by the store's own patience and its disk; dropping the future changes nothing.
    pub(crate) async fn verified_are_committed(&self, bucket: &Bucket, key: Option<&Key>) {
        let waiting = |fill: &Arc<Fill>| {
            matches!(&fill.progress.last().stage, Stage::Verified(head, _) if head.kept)
                .then(|| fill.ended.clone())
        };
        let ends: Vec<CancellationToken> = self.inner.fills.with(|fills| match key {
            Some(key) => fills.get(&Self::slot(bucket, key)).and_then(waiting).into_iter().collect(),
            None => fills.of_bucket(bucket.id).filter_map(waiting).collect(),
        });
        for ended in ends {
            ended.cancelled().await;
        }
    }
}

struct FillRun {
    engine: Engine,
    order: FillOrder,
    fill: Arc<Fill>,
}

/// Takes the fill out of the table even if its task panics or is dropped.
struct FillGuard<'a>(&'a FillRun);

impl Drop for FillGuard<'_> {
    fn drop(&mut self) {
        let run = self.0;
        run.engine.inner.fills.with(|fills| fills.end(&run.order.slot, run.fill.id));
        run.fill.ended.cancel();
        metrics::gauge!("fallthrough_fills_in_flight").decrement(1.0);
        // Readers of a fill without a last word must not wait for ever.
        if !run.fill.progress.last().is_final() {
            run.say(Stage::Failed(BucketError::OriginFailing {
                reason: "the fill was stopped".to_owned(),
                retry_after: Duration::from_secs(1),
            }));
        }
    }
}

impl FillRun {
    async fn run(self) {
        metrics::gauge!("fallthrough_fills_in_flight").increment(1.0);
        let _guard = FillGuard(&self);
        let stop = self.engine.inner.stop.clone();
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => "stopped",
            outcome = self.fill() => outcome,
        };
        let took = self.engine.inner.clock.monotonic().since(self.fill.started);
        metrics::histogram!("fallthrough_fill_duration_seconds").record(took.as_secs_f64());
        metrics::counter!("fallthrough_fills_total", "origin" => self.fill.origin.to_string(), "outcome" => outcome)
            .increment(1);
        if outcome != OVERTAKEN {
            self.remember(outcome, took);
        }
    }

    fn remember(&self, outcome: &str, took: Duration) {
        let said = match &self.fill.progress.last().stage {
            Stage::Failed(error) => format!("{outcome} after {} ms: {error}", took.as_millis()),
            Stage::Asking
            | Stage::Headers(_)
            | Stage::Streaming(..)
            | Stage::Verified(..)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_) => {
                format!("{outcome} after {} ms", took.as_millis())
            }
        };
        let mut memory = self.engine.inner.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        memory.remember(&self.order.slot, said);
    }

    fn say(&self, stage: Stage) {
        self.fill.progress.tell(|progress| progress.stage = stage);
    }

    /// Runs the fill to its end; returns the outcome for metrics.
    async fn fill(&self) -> &'static str {
        let inner = &self.engine.inner;
        let order = &self.order;
        if self.is_overtaken().await {
            self.say(Stage::Overtaken(BucketError::Conflict));
            return OVERTAKEN;
        }
        // Its clients give up sooner and come back for it: what they wait for keeps its place.
        let longest = if planted(Mutant::FillLeavesWithClient) {
            inner.options.client_wait
        } else {
            inner.options.queue_wait
        };
        let mut permit = match self.fill.standing.admitted(longest).await {
            Ok(permit) => permit,
            Err(error) => {
                self.say(Stage::Failed(error));
                return "shed";
            }
        };
        if self.is_superseded() {
            // Who waits for it looks again, and joins the fill that has taken its place: one request for the key.
            self.say(Stage::Overtaken(BucketError::Conflict));
            return OVERTAKEN;
        }
        let fetched = Fetch::new(&self.engine, order, &self.fill.progress).run().await;
        if fetched.says_something_of_the_rate() && order.from_blocks.is_none() {
            permit.served();
        }
        // For anything but an object, the origin has done its part; the next fill may go while this one commits.
        let permit = Some(permit).filter(|_| matches!(fetched, Fetched::Object { .. }));
        match fetched {
            Fetched::Object { head, staging, info, provenance } => {
                let size = staging.len();
                let reader = staging.reader();
                // Verified: the last bytes go out now. Readers do not wait for the durable commit.
                self.fill.progress.tell(|progress| {
                    progress.stage = Stage::Verified(head.clone(), reader);
                    progress.readable = size;
                });
                if !head.kept {
                    return "not-kept";
                }
                let info = self.engine.with_tags(order, info).await;
                drop(permit);
                match staging.seal().await {
                    Ok(sealed) => self.commit(NewState::Filled(info, provenance), sealed).await,
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "a fill could not be stored"
                        );
                        "store-failed"
                    }
                }
            }
            Fetched::Unchanged { info, provenance } => self.refresh(info, provenance).await,
            Fetched::Absent { .. } if order.same_only => {
                self.say(Stage::Failed(BucketError::Damaged));
                "damaged"
            }
            Fetched::Absent { error, until, invalid } => {
                match self.forget_or_note(until, invalid).await {
                    Ok(()) => {
                        self.say(Stage::Failed(error));
                        "absent"
                    }
                    // Who is told that the object is gone must not see its copy again.
                    Err(error) => {
                        self.say(Stage::Failed(error));
                        "store-failed"
                    }
                }
            }
            Fetched::Overtaken(error) => {
                // What was known of the object is of one that is gone.
                match self.forget_or_note(None, false).await {
                    Ok(()) => self.say(Stage::Overtaken(error)),
                    Err(error) => self.say(Stage::Failed(error)),
                }
                OVERTAKEN
            }
            // Nobody has asked for it: who came meanwhile looks again, and is served from blocks or by a fill.
            Fetched::Failed(error) if self.order.from_blocks.is_some() => {
                self.say(Stage::Overtaken(error));
                "failed"
            }
            Fetched::Failed(error) => {
                self.say(Stage::Failed(error));
                "failed"
            }
        }
    }

    /// Whether it was superseded while it waited: it could store nothing.
    fn is_superseded(&self) -> bool {
        let (slot, id) = (&self.order.slot, self.fill.id);
        self.engine.inner.fills.with(|fills| fills.get(slot).is_none_or(|running| running.id != id))
    }

    async fn is_overtaken(&self) -> bool {
        let order = &self.order;
        let purpose = if order.revalidate { Purpose::Revalidate } else { Purpose::Fill };
        let seen = order.entry.as_deref();
        self.engine.overtaken(&order.bucket, &order.slot.key, &order.behind, seen, purpose).await
    }

    async fn commit(&self, state: NewState, sealed: Sealed) -> &'static str {
        let inner = &self.engine.inner;
        let order = &self.order;
        let place = self.engine.place_for(&order.bucket, sealed.len(), order.entry.as_deref()).await;
        if matches!(place, Place::None) {
            return "no-room";
        }
        let change = Change::Publish(state, sealed);
        match commit_fill(&inner.store, &inner.fills, &order.bucket, &order.slot, self.fill.id, change.into())
            .await
        {
            Ok(FillCommit::Stored(entry)) => {
                if let Some(entry) = entry {
                    self.engine.copy_stored(&order.bucket, &order.slot.key, &entry, &place);
                }
                "stored"
            }
            Ok(FillCommit::Superseded) => "superseded",
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a fill could not be committed");
                "store-failed"
            }
        }
    }

    /// The stored object is still good: its freshness is renewed.
    async fn refresh(&self, info: fallthrough_store::ObjectInfo, provenance: Provenance) -> &'static str {
        let inner = &self.engine.inner;
        let order = &self.order;
        let change = Change::Observe(Observation::Fresh(info, provenance));
        let entry = match commit_fill(
            &inner.store,
            &inner.fills,
            &order.bucket,
            &order.slot,
            self.fill.id,
            change.into(),
        )
        .await
        {
            Ok(FillCommit::Stored(entry)) => entry,
            Ok(FillCommit::Superseded) => None,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "freshness could not be renewed");
                None
            }
        };
        match entry.or_else(|| order.entry.clone()) {
            Some(entry) => self.say(Stage::Unchanged(entry)),
            None => self.say(Stage::Failed(BucketError::BadOriginAnswer {
                reason: "304 to a request without a stored copy".to_owned(),
            })),
        }
        "unchanged"
    }

    /// The origin says that there is no such object: believed for a while, and a stale copy is given up.
    ///
    /// # Errors
    /// The stale copy could not be given up.
    async fn forget_or_note(
        &self,
        until: Option<fallthrough_object::Timestamp>,
        invalid: bool,
    ) -> Result<(), BucketError> {
        let inner = &self.engine.inner;
        let order = &self.order;
        let had_body = order.entry.as_ref().is_some_and(|entry| entry.state.stored().is_some());
        let known = order.entry.as_ref().is_some_and(|entry| matches!(entry.state, EntryState::Known(..)));
        let change = match until {
            _ if had_body => Change::Erase(Erased::Unknown),
            Some(until) if inner.store.takes_negatives() => {
                Change::Observe(Observation::Absent { until, invalid })
            }
            Some(_) | None if known => Change::Erase(Erased::Unknown),
            Some(_) | None => return Ok(()),
        };
        if let Err(error) =
            commit_fill(&inner.store, &inner.fills, &order.bucket, &order.slot, self.fill.id, change.into())
                .await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "a negative answer could not be noted");
            if had_body {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

//! HEAD of a cold key at its origin: one request per key at a time, whoever asks.
//!
//! As with fills, a task owns the request, so that those who ask may come and go; what the origin says is noted
//! once. Writes, deletes and purges of the key supersede it: whoever asks after them asks anew.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fallthrough_object::{ByteRange, ETag, Key, RangeSpec, Timestamp, TraceParent};
use fallthrough_shadow::{Extras, Found, Method, Outcome, Request};
use fallthrough_store::{Bucket, Entry, ObjectInfo, Observation, Provenance, Revision};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::ask::{Answered, ask, refusal};
use crate::behind::Behind;
use crate::core::admission::Priority;
use crate::core::commit::{TableLock as _, commit_fill};
use crate::core::fills::{FillId, Joined, Slot, TableFull};
use crate::core::keystate::Purpose;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fetch::whole_secs;
use crate::fill::Came;
use crate::ledger::Change;
use crate::members::{MemberNumber, Whom};
use crate::standing::Standing;

/// What a HEAD at the origin led to.
#[derive(Clone, Debug)]
pub(crate) enum Headed {
    /// The origin described the object.
    Object(Arc<ObjectInfo>),
    /// The origin has no HEAD, or its answer does not say enough.
    OnlyFillTells,
    /// Somebody else learnt of the key meanwhile: look again.
    Overtaken,
}

/// A HEAD on its way, as those who wait for it see it.
#[derive(Debug)]
pub(crate) struct Asking {
    id: FillId,
    said: OnceLock<Result<Headed, BucketError>>,
    /// Cancelled when `said` is set and noted.
    ended: CancellationToken,
    pub(crate) standing: Standing,
}

/// What a HEAD needs to know when it starts.
pub(crate) struct HeadOrder {
    /// The bucket with the gate that the reader saw.
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) slot: Slot,
    pub(crate) origin_key: Key,
    pub(crate) behind: Arc<Behind>,
    /// What the reader's lookup found.
    pub(crate) entry: Option<Arc<Entry>>,
    /// Whose share it counts against.
    pub(crate) client: Arc<str>,
    pub(crate) hops: u32,
    pub(crate) request_id: Arc<str>,
    /// The first reader's trace.
    pub(crate) trace: TraceParent,
    /// As of a fill.
    pub(crate) extras: Extras,
}

impl Asking {
    /// What the origin said, once it did.
    ///
    /// # Cancellation
    /// Dropping it changes nothing for the others.
    pub(crate) async fn said(&self) -> Result<Headed, BucketError> {
        self.ended.cancelled().await;
        self.said.get().cloned().unwrap_or_else(|| Err(stopped()))
    }
}

fn stopped() -> BucketError {
    BucketError::OriginFailing {
        reason: "the request was stopped".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}

impl Engine {
    /// Joins the HEAD of the key that is on its way, or sends one.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if too many are on their way.
    pub(crate) fn join_head(&self, order: HeadOrder) -> Result<(Arc<Asking>, Came), BucketError> {
        let inner = &self.inner;
        let base = order.entry.as_ref().map_or(Revision(0), |entry| entry.revision);
        let standing = Standing::new(order.behind.gate.clone(), order.client.clone(), Priority::Client);
        let joined = inner.heads.with(|heads| {
            if inner.tasks.is_closed() {
                return Err(TableFull);
            }
            if planted(Mutant::HeadsGoAlone) {
                heads.supersede(&order.slot);
            }
            heads.join(&order.slot, base, order.bucket.gate_version, |id| {
                let ended = CancellationToken::new();
                Arc::new(Asking { id, said: OnceLock::new(), ended, standing })
            })
        });
        match joined {
            Ok(Joined::Running(_, asking)) => {
                metrics::counter!("fallthrough_coalesced_requests_total").increment(1);
                Ok((asking, Came::Later))
            }
            Ok(Joined::Started(_, asking)) => {
                let run = HeadRun { engine: self.clone(), order, asking: asking.clone() };
                inner.tasks.spawn(run.run());
                Ok((asking, Came::First))
            }
            Err(TableFull) => {
                metrics::counter!("fallthrough_admission_rejections_total", "reason" => "heads-full")
                    .increment(1);
                Err(BucketError::SlowDown { reason: "heads-full", retry_after: Duration::from_secs(1) })
            }
        }
    }
}

struct HeadRun {
    engine: Engine,
    order: HeadOrder,
    asking: Arc<Asking>,
}

/// Takes the HEAD out of the table even if its task panics or is dropped, and lets nobody wait for ever.
struct HeadGuard<'a>(&'a HeadRun);

impl Drop for HeadGuard<'_> {
    fn drop(&mut self) {
        let run = self.0;
        run.engine.inner.heads.with(|heads| heads.end(&run.order.slot, run.asking.id));
        run.asking.said.get_or_init(|| Err(stopped()));
        run.asking.ended.cancel();
    }
}

impl HeadRun {
    async fn run(self) {
        let _guard = HeadGuard(&self);
        let stop = self.engine.inner.stop.clone();
        let said = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            said = self.ask() => said,
        };
        self.asking.said.get_or_init(|| said);
    }

    /// Asks the origin, and notes what it says.
    async fn ask(&self) -> Result<Headed, BucketError> {
        let inner = &self.engine.inner;
        let (order, gate) = (&self.order, &self.order.behind.gate);
        let seen = order.entry.as_deref();
        if self.engine.overtaken(&order.bucket, &order.slot.key, &order.behind, seen, Purpose::Head).await {
            return Ok(Headed::Overtaken);
        }
        let _permit = self.asking.standing.admitted(inner.options.queue_wait).await?;
        let Answered { outcome, asked_at, member } = self.send(Method::Head).await?;
        match outcome {
            // A provider's HEAD does not tell a missing key from a missing bucket. The bucket was seen lately, or
            // the key is asked for in a way that has a body, which tells.
            Outcome::AbsentUnproven { forbidden, .. }
                if (forbidden || !gate.members.bucket_was_seen(member))
                    && !planted(Mutant::HeadProvesAbsence) =>
            {
                self.confirm().await
            }
            Outcome::Absent { ttl } | Outcome::AbsentUnproven { ttl, .. } => self.absent(ttl, asked_at).await,
            Outcome::Found(found) => self.found(*found, None, asked_at, member).await,
            Outcome::NotOffered => Ok(Headed::OnlyFillTells),
            other => Err(refusal(other, gate, &order.client)),
        }
    }

    async fn send(&self, method: Method) -> Result<Answered, BucketError> {
        let order = &self.order;
        let wait = self.engine.inner.options.client_wait;
        let mut request = Request::get(order.origin_key.clone(), wait);
        if method == Method::Get {
            request.range = Some(RangeSpec::FromTo { first: 0, last: 0 });
        }
        request.method = method;
        request.hops = order.hops;
        request.request_id = order.request_id.to_string();
        request.trace = Some(order.trace);
        request.extras = order.extras.clone();
        ask(&self.engine, &order.behind, request, Whom::Any)
            .await
            .map_err(|unanswered| unanswered.into_error(&order.behind.gate, &order.client))
    }

    /// Asks for the first byte of what HEAD said is not there.
    async fn confirm(&self) -> Result<Headed, BucketError> {
        let Answered { outcome, asked_at, member } = self.send(Method::Get).await?;
        match outcome {
            Outcome::Absent { ttl } | Outcome::AbsentUnproven { ttl, .. } => self.absent(ttl, asked_at).await,
            // It is there after all, and the answer to a range describes it as well as HEAD would.
            Outcome::Found(found) => {
                let range = found.range;
                self.found(*found, range, asked_at, member).await
            }
            // An empty object has no first byte.
            Outcome::RangeNotSatisfiable { .. } => Ok(Headed::OnlyFillTells),
            other => Err(refusal(other, &self.order.behind.gate, &self.order.client)),
        }
    }

    async fn absent(&self, ttl: Option<Duration>, asked_at: Timestamp) -> Result<Headed, BucketError> {
        let rule = &self.order.behind.rule.settings;
        let ttl = ttl.unwrap_or_else(|| rule.negative_ttl(self.engine.inner.options.negative_ttl));
        if !ttl.is_zero() && self.engine.inner.store.takes_negatives() {
            self.note(Observation::Absent { until: asked_at.plus(ttl), invalid: false }).await;
        }
        Err(BucketError::NoSuchKey)
    }

    async fn found(
        &self,
        found: Found,
        range: Option<ByteRange>,
        asked_at: Timestamp,
        member: MemberNumber,
    ) -> Result<Headed, BucketError> {
        let strong = found.etag.clone().filter(|etag| !etag.is_weak());
        // The length of a 206 is its part's.
        let whole = found.expected.length_bytes.filter(|_| range.is_none());
        let Some(size_bytes) = found.size_bytes.or(whole) else {
            return Ok(Headed::OnlyFillTells);
        };
        let info = known_info(&found, strong, size_bytes, asked_at);
        self.note(Observation::Known(info.clone(), self.provenance(&found, asked_at, member))).await;
        Ok(Headed::Object(Arc::new(info)))
    }

    fn provenance(&self, found: &Found, asked_at: Timestamp, member: MemberNumber) -> Provenance {
        let behind = &self.order.behind;
        let rule = &behind.rule.settings;
        Provenance {
            origin: behind.gate.members.name(member).to_string(),
            origin_etag: found.etag.clone(),
            origin_last_modified: found.last_modified,
            asked_at,
            verified: Vec::new(),
            // As long as a "not found" is believed: changes behind our back are seen as soon either way.
            fresh_until: Some(asked_at.plus(rule.negative_ttl(self.engine.inner.options.negative_ttl))),
            stale_if_error_until: None,
            stale_while_revalidate_until: None,
            edition: rule.edition.clone(),
        }
    }

    /// Notes an observation; one that comes too late, or cannot be noted, is no loss.
    async fn note(&self, what: Observation) {
        let inner = &self.engine.inner;
        let (order, change) = (&self.order, Change::Observe(what));
        let noted = commit_fill(
            &inner.store,
            &inner.heads,
            &order.bucket,
            &order.slot,
            self.asking.id,
            change.into(),
        );
        if let Err(error) = noted.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "an observation could not be noted");
        }
    }
}

/// What clients see of an object that only its origin has.
pub(crate) fn known_info(
    found: &Found,
    etag: Option<ETag>,
    size_bytes: u64,
    asked_at: Timestamp,
) -> ObjectInfo {
    ObjectInfo {
        etag,
        size_bytes,
        last_modified: whole_secs(found.last_modified.unwrap_or(asked_at)),
        meta: found.meta.clone(),
        checksums: found.expected.checksums.clone(),
        tags_behind: found.tags_count,
        ..ObjectInfo::default()
    }
}

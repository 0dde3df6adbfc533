//! GET and HEAD of an object: here, tombstone, negative, then the shadow.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Body, ByteRange, Key, RangeSpec};
use fallthrough_store::{Bucket, BucketMode, Entry, EntryState, ObjectInfo, StoreError, Stored};
use fallthrough_wire::conditions::Verdict;
use tokio::sync::watch;

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Caller, GetRequest, Object, ObjectBody};
use crate::core::commit::MAX_CONFLICTS;
use crate::core::keystate::{ColdHead, Decision, RuleView, Situation, on_cold_head, on_get};
use crate::core::mutants::{Mutant, planted};
use crate::core::rule::Match;
use crate::engine::{Behind, Engine};
use crate::fill::{Came, Fill, FillOrder};
use crate::reader::{Progress, Stage, VERIFIED_FIRST_BYTES, stream};

/// One read on its way.
pub(crate) struct Read<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) bucket: &'a Arc<Bucket>,
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a GetRequest,
    pub(crate) entry: Option<Arc<Entry>>,
}

/// A cold key, and where it falls to.
pub(crate) struct Cold {
    pub(crate) behind: Arc<Behind>,
    pub(crate) origin_key: Key,
}

pub(crate) fn answer<T>(report: CacheReport, result: Result<T, BucketError>) -> Answer<T> {
    Answer { report, result }
}

fn failed<T>(word: CacheWord, detail: &'static str, error: BucketError) -> Answer<T> {
    answer(CacheReport::of(word, detail), Err(error))
}

impl Engine {
    /// GET and HEAD of an object.
    ///
    /// The body of the answer is still to be read; it ends with an error if the fill that feeds it fails.
    ///
    /// # Cancellation
    /// Safe: a fill that this read started goes on for the next one.
    pub async fn get(&self, bucket: &Arc<Bucket>, caller: &Caller, request: GetRequest) -> Answer<Object> {
        let mut answer = failed(CacheWord::Miss, OVERTAKEN, BucketError::Conflict);
        for _ in 0..MAX_CONFLICTS {
            let entry = match self.inner.store.lookup(bucket.id, &request.key).await {
                Ok(entry) => entry,
                Err(error) => return failed(CacheWord::Miss, "store", error.into()),
            };
            let read = Read { engine: self, bucket, caller, request: &request, entry };
            answer = read.run().await;
            if answer.report.detail != OVERTAKEN {
                break;
            }
        }
        metrics::counter!("fallthrough_cache_lookups_total",
            "bucket" => bucket.name.as_str().to_owned(), "result" => answer.report.word.as_str())
        .increment(1);
        answer
    }
}

impl Read<'_> {
    async fn run(&self) -> Answer<Object> {
        let state = self.entry.as_ref().map(|entry| &entry.state);
        // The hot path: what is here and cannot age needs neither rules nor clocks.
        if let Some(EntryState::Written(stored)) = state {
            return self.serve(stored, CacheWord::Hit, "written").await;
        }
        let behind = match self.engine.behind(self.bucket) {
            Ok(behind) => behind,
            Err(error) => return self.without_rules(error).await,
        };
        let matched = behind.as_ref().map(|behind| (behind, behind.rule.matches(&self.request.key)));
        let cold = match matched {
            None | Some((_, Match::No)) => None,
            Some((behind, Match::As(origin_key))) => Some(Cold { behind: behind.clone(), origin_key }),
            Some((_, Match::Impossible)) => {
                return match state.and_then(EntryState::stored) {
                    Some(stored) => self.serve(stored, CacheWord::Hit, "filled").await,
                    None => failed(CacheWord::Negative, "key-rule", BucketError::NoSuchKey),
                };
            }
        };
        let situation = Situation {
            mode: self.bucket.settings.mode,
            rule: cold
                .as_ref()
                .map(|cold| RuleView { edition: cold.behind.rule.settings.edition.as_deref() }),
            now: self.engine.inner.clock.now(),
        };
        let decision = match on_get(state, situation) {
            // A planted bug, to show that the tests would find it.
            Decision::Tombstone if planted(Mutant::NoTombstoneCheck) => Decision::Fill,
            decision => decision,
        };
        let stored = state.and_then(EntryState::stored);
        match (decision, stored, &cold) {
            (Decision::Serve, Some(stored), _) => self.serve_filled(stored, situation).await,
            (Decision::ServeStaleRevalidate, Some(stored), Some(cold)) => {
                self.revalidate_behind(cold);
                self.serve(stored, CacheWord::Stale, "revalidating").await
            }
            (Decision::Revalidate { stale_if_error }, Some(stored), Some(cold)) => {
                self.revalidate(stored, cold, stale_if_error).await
            }
            (Decision::Tombstone, ..) => failed(CacheWord::Tombstone, "deleted", BucketError::NoSuchKey),
            (Decision::Negative { invalid: false }, ..) => {
                failed(CacheWord::Negative, "absent", BucketError::NoSuchKey)
            }
            (Decision::Negative { invalid: true }, ..) => {
                let reason = "its origin says so".to_owned();
                failed(CacheWord::Negative, "impossible", BucketError::ImpossibleKey { reason })
            }
            (Decision::Fill, _, Some(cold)) => self.cold(cold, situation).await,
            // `on_get` serves only what is stored and falls through only where a rule matches.
            (
                Decision::Serve
                | Decision::ServeStaleRevalidate
                | Decision::Revalidate { .. }
                | Decision::Fill,
                ..,
            )
            | (Decision::NotHere, ..) => failed(CacheWord::Negative, "no-shadow", BucketError::NoSuchKey),
        }
    }

    /// The rule's target cannot be reached by any client: what is here is served all the same.
    async fn without_rules(&self, error: BucketError) -> Answer<Object> {
        match self.entry.as_ref().map(|entry| &entry.state) {
            Some(EntryState::Tombstone) => failed(CacheWord::Tombstone, "deleted", BucketError::NoSuchKey),
            Some(EntryState::Filled(stored, _) | EntryState::Written(stored)) => {
                self.serve(stored, CacheWord::Hit, "shadow-misconfigured").await
            }
            Some(EntryState::Known(..) | EntryState::Absent { .. }) | None => {
                failed(CacheWord::Miss, "shadow-misconfigured", error)
            }
        }
    }

    async fn serve_filled(&self, stored: &Stored, situation: Situation<'_>) -> Answer<Object> {
        let mut answer = self.serve(stored, CacheWord::Hit, "filled").await;
        if let Some(EntryState::Filled(_, provenance)) = self.entry.as_ref().map(|entry| &entry.state) {
            answer.report.ttl = provenance.fresh_until.map(|until| until.since(situation.now));
        }
        answer
    }

    /// Serves what is stored here; a filled object whose bytes are damaged is filled again.
    async fn serve(&self, stored: &Stored, word: CacheWord, detail: &'static str) -> Answer<Object> {
        let range = match self.select(&stored.info, stored.info.size_bytes) {
            Ok(Selected::NotModified) => {
                return answer(
                    CacheReport::of(word, detail),
                    Ok(whole(stored.info.clone(), ObjectBody::NotModified)),
                );
            }
            Ok(Selected::Whole) => None,
            Ok(Selected::Range(range)) => Some(range),
            Err(error) => return failed(word, detail, error),
        };
        if self.request.head {
            return answer(
                CacheReport::of(word, detail),
                Ok(whole(stored.info.clone(), ObjectBody::Head(range))),
            );
        }
        let span = range.unwrap_or(ByteRange::whole(stored.info.size_bytes));
        match self.engine.inner.store.open_body(stored, span).await {
            Ok(body) => {
                let body = match range {
                    Some(range) => ObjectBody::Range(range, body),
                    None => ObjectBody::Whole(body),
                };
                answer(CacheReport::of(word, detail), Ok(whole(stored.info.clone(), body)))
            }
            Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => self.heal().await,
            // Overwritten or deleted between the lookup and now: the lookup is repeated.
            Err(StoreError::Superseded) => failed(word, OVERTAKEN, BucketError::Conflict),
            Err(error) => failed(word, detail, error.into()),
        }
    }

    /// The bytes of a stored object are damaged: what was filled is filled again, if its origin still has
    /// that object; what was written is lost, and that is said loudly.
    async fn heal(&self) -> Answer<Object> {
        tracing::error!(bucket = %self.bucket.name, key = %self.request.key, "the bytes of a stored object are damaged");
        metrics::counter!("fallthrough_damaged_objects_total").increment(1);
        let Some(EntryState::Filled(..)) = self.entry.as_ref().map(|entry| &entry.state) else {
            return failed(CacheWord::Hit, "damaged", BucketError::Damaged);
        };
        let behind = match self.engine.behind(self.bucket) {
            Ok(Some(behind)) => behind,
            Ok(None) => return failed(CacheWord::Hit, "damaged", BucketError::Damaged),
            Err(error) => return failed(CacheWord::Hit, "damaged", error),
        };
        match behind.rule.matches(&self.request.key) {
            Match::As(origin_key) => self.fill(&Cold { behind, origin_key }, None).await,
            Match::Impossible | Match::No => failed(CacheWord::Hit, "damaged", BucketError::Damaged),
        }
    }

    /// Judges conditions and range on an object of known size.
    pub(crate) fn select(&self, info: &ObjectInfo, size_bytes: u64) -> Result<Selected, BucketError> {
        let etag = info.etag.as_ref();
        match self.request.conditions.evaluate(etag, Some(info.last_modified), true) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(Selected::NotModified),
            Verdict::PreconditionFailed => return Err(BucketError::PreconditionFailed),
        }
        let Some(range) = self.request.range else { return Ok(Selected::Whole) };
        let allowed = self
            .request
            .if_range
            .as_ref()
            .is_none_or(|validator| validator.allows_range(etag, Some(info.last_modified)));
        if !allowed {
            return Ok(Selected::Whole);
        }
        match range.resolve(size_bytes) {
            Ok(range) => Ok(Selected::Range(range)),
            Err(unsatisfiable) => {
                Err(BucketError::RangeNotSatisfiable { size_bytes: Some(unsatisfiable.size_bytes) })
            }
        }
    }

    /// A key that is not here: HEAD, range or whole.
    async fn cold(&self, cold: &Cold, situation: Situation<'_>) -> Answer<Object> {
        let state = self.entry.as_ref().map(|entry| &entry.state);
        if let Some(fill) = self.engine.running(self.bucket, &self.request.key) {
            // A running fill answers everything that is asked of its key.
            return self.read_fill(&fill, Came::Later).await;
        }
        if self.request.head {
            return match on_cold_head(state, situation) {
                ColdHead::Known => self.head_known(state),
                ColdHead::Ask => self.head_cold(cold).await,
                ColdHead::Fill => self.fill(cold, None).await,
            };
        }
        let asks_for_part = match self.request.range {
            Some(RangeSpec::FromTo { .. } | RangeSpec::Suffix { .. }) => true,
            Some(RangeSpec::From { first }) => first > 0,
            None => false,
        };
        if !self.request.conditions.is_empty() && self.bucket.settings.mode != BucketMode::Compute {
            return self.conditional_cold(cold).await;
        }
        if asks_for_part && self.request.if_range.is_none() && cold.behind.seekable {
            return self.pass_range(cold).await;
        }
        self.fill(cold, None).await
    }

    /// Starts or joins the fill, and reads from it. `judged`: the ETag that conditions were judged on.
    pub(crate) async fn fill(&self, cold: &Cold, judged: Option<fallthrough_object::ETag>) -> Answer<Object> {
        match self.start(cold, judged, false) {
            Ok((fill, came)) => self.read_fill(&fill, came).await,
            Err(error) => failed(CacheWord::Miss, "refused", error),
        }
    }

    fn start(
        &self,
        cold: &Cold,
        judged: Option<fallthrough_object::ETag>,
        revalidate: bool,
    ) -> Result<(Arc<Fill>, Came), BucketError> {
        let Some(client) = Engine::fill_share(self.bucket, self.caller) else {
            // Readers without the right to fill may still join a fill that somebody else started.
            return match self.engine.running(self.bucket, &self.request.key) {
                Some(fill) => Ok((fill, Came::Later)),
                None => Err(BucketError::FillDenied),
            };
        };
        self.engine.join(FillOrder {
            bucket: self.bucket.clone(),
            slot: Engine::slot(self.bucket, &self.request.key),
            origin_key: cold.origin_key.clone(),
            behind: cold.behind.clone(),
            entry: self.entry.clone(),
            revalidate,
            judged,
            client,
            hops: self.caller.hops,
            request_id: self.caller.request_id.clone(),
        })
    }

    /// Waits until the fill can answer, at most the client's patience, and answers from it.
    async fn read_fill(&self, fill: &Fill, came: Came) -> Answer<Object> {
        let inner = &self.engine.inner;
        let mut progress = fill.progress.subscribe();
        let awaited_its_commit =
            came == Came::Later && matches!(progress.borrow().stage, Stage::Verified(..));
        let word = match came {
            Came::First => CacheWord::Miss,
            Came::Later if awaited_its_commit => CacheWord::Hit,
            Came::Later => CacheWord::Joined,
        };
        let mut report = CacheReport::of(word, "fill");
        report.origin = Some(fill.origin.clone());
        let waiting = Waiting::new();
        let asked = inner.clock.monotonic();
        let answers = |seen: &Progress| {
            if self.request.head { seen.answers_head() } else { seen.answers_get() }
        };
        let seen = tokio::time::timeout(inner.options.client_wait, progress.wait_for(answers))
            .await
            .map(|seen| seen.map(|seen| seen.stage.clone()));
        drop(waiting);
        report.origin_wait = Some(inner.clock.monotonic().since(asked));
        let stage = match seen {
            Ok(Ok(stage)) => stage,
            Ok(Err(_)) => {
                let reason = "the fill was stopped".to_owned();
                return answer(report, Err(BucketError::OriginFailing { reason, retry_after: SOON }));
            }
            Err(_) => {
                // The fill goes on; the client comes back to a hit, or joins it again.
                report.detail = "client-wait";
                let retry_after = self.retry_after_wait(fill);
                return answer(report, Err(BucketError::SlowDown { reason: "still-filling", retry_after }));
            }
        };
        match stage {
            Stage::Failed(error) => answer(report, Err(error)),
            Stage::Unchanged(entry) => match entry.state.stored() {
                Some(stored) => {
                    let mut answer = Box::pin(self.serve(stored, CacheWord::Hit, "revalidated")).await;
                    answer.report.origin = report.origin;
                    answer.report.origin_wait = report.origin_wait;
                    answer
                }
                None => answer(report, Err(BucketError::Damaged)),
            },
            Stage::Asking => answer(report, Err(BucketError::Damaged)),
            Stage::Headers(head) | Stage::Streaming(head, _) | Stage::Verified(head, _) => {
                if !head.kept {
                    report.detail = "not-kept";
                }
                let result = self.out_of_fill(progress, &head).await;
                answer(report, result)
            }
        }
    }

    fn retry_after_wait(&self, fill: &Fill) -> Duration {
        let behind = self.engine.behind(self.bucket).ok().flatten();
        let inner = &self.engine.inner;
        let so_far = inner.clock.monotonic().since(fill.started);
        // What is left of the mean service time; a second for one that takes longer than usual.
        let mean = behind.map_or(SOON, |behind| behind.gate.retry_after());
        mean.saturating_sub(so_far).max(SOON)
    }

    /// The object, or the asked part of it, out of a running or verified fill.
    async fn out_of_fill(
        &self,
        mut progress: watch::Receiver<Progress>,
        head: &Arc<crate::reader::Head>,
    ) -> Result<Object, BucketError> {
        let mut head = head.clone();
        if head.size_bytes.is_none() && (self.request.range.is_some() || self.request.head) {
            // A range cannot be placed before the length is known.
            head = self.await_length(&mut progress).await?;
        }
        let Some(size) = head.size_bytes else {
            return match self.select(&head.info, 0) {
                Ok(Selected::NotModified) => {
                    Ok(Object { info: head.info.clone(), size_bytes: None, body: ObjectBody::NotModified })
                }
                Ok(Selected::Whole | Selected::Range(_)) => Ok(Object {
                    info: head.info.clone(),
                    size_bytes: None,
                    body: ObjectBody::Whole(Body::Stream(stream(progress, None))),
                }),
                Err(error) => Err(error),
            };
        };
        let range = match self.select(&head.info, size)? {
            Selected::NotModified => return Ok(whole(head.info.clone(), ObjectBody::NotModified)),
            Selected::Whole => None,
            Selected::Range(range) => Some(range),
        };
        if self.request.head {
            return Ok(whole(head.info.clone(), ObjectBody::Head(range)));
        }
        let span = range.unwrap_or(ByteRange::whole(size));
        let verified = match &progress.borrow().stage {
            Stage::Verified(_, reader) if span.len() <= VERIFIED_FIRST_BYTES => Some(reader.clone()),
            Stage::Verified(..)
            | Stage::Asking
            | Stage::Headers(_)
            | Stage::Streaming(..)
            | Stage::Unchanged(_)
            | Stage::Failed(_) => None,
        };
        let body = match verified {
            Some(reader) => {
                // A small body that is here whole is sent whole.
                let mut bytes = bytes::BytesMut::new();
                while (bytes.len() as u64) < span.len() {
                    let left = usize::try_from(span.len() - bytes.len() as u64).unwrap_or(usize::MAX);
                    let piece = reader.read(span.start + bytes.len() as u64, left).await?;
                    if piece.is_empty() {
                        return Err(BucketError::Damaged);
                    }
                    if bytes.is_empty() && piece.len() == left {
                        return Ok(with_range(head.info.clone(), range, Body::Bytes(piece)));
                    }
                    bytes.extend_from_slice(&piece);
                }
                Body::Bytes(bytes.freeze())
            }
            None => Body::Stream(stream(progress, Some(span))),
        };
        Ok(with_range(head.info.clone(), range, body))
    }

    async fn await_length(
        &self,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<Arc<crate::reader::Head>, BucketError> {
        let wait = self.engine.inner.options.client_wait;
        let slow = || BucketError::SlowDown { reason: "length-unknown", retry_after: SOON };
        let seen =
            tokio::time::timeout(wait, progress.wait_for(Progress::is_final)).await.map_err(|_| slow())?;
        match seen.map(|seen| seen.stage.clone()) {
            Ok(Stage::Verified(head, _)) => Ok(head),
            Ok(Stage::Failed(error)) => Err(error),
            Ok(Stage::Asking | Stage::Headers(_) | Stage::Streaming(..) | Stage::Unchanged(_)) | Err(_) => {
                Err(slow())
            }
        }
    }

    /// Lets a stale object be revalidated in the background.
    fn revalidate_behind(&self, cold: &Cold) {
        // Refusals (no right, no room) leave the stale copy for the next reader to try.
        if let Err(error) = self.start(cold, None, true) {
            tracing::debug!(%error, "a stale object is not revalidated now");
        }
    }

    /// Asks the origin whether a stale object is still good, and serves what it says.
    async fn revalidate(&self, stored: &Stored, cold: &Cold, stale_if_error: bool) -> Answer<Object> {
        let fresh = match self.start(cold, None, true) {
            Ok((fill, came)) => self.read_fill(&fill, came).await,
            Err(error) => failed(CacheWord::Miss, "refused", error),
        };
        let could_not_ask = match &fresh.result {
            Err(
                BucketError::SlowDown { .. }
                | BucketError::OriginFailing { .. }
                | BucketError::FillDenied
                | BucketError::Full,
            ) => true,
            Ok(_) | Err(_) => false,
        };
        if could_not_ask && stale_if_error {
            return self.serve(stored, CacheWord::Stale, "origin-failing").await;
        }
        fresh
    }
}

/// The detail of an answer whose object was replaced while it was being opened.
const OVERTAKEN: &str = "overtaken";

/// When to come back if nothing better is known.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// What conditions and range leave of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    NotModified,
    Whole,
    Range(ByteRange),
}

/// An object of known size.
pub(crate) fn whole(info: Arc<ObjectInfo>, body: ObjectBody) -> Object {
    Object { size_bytes: Some(info.size_bytes), info, body }
}

fn with_range(info: Arc<ObjectInfo>, range: Option<ByteRange>, body: Body) -> Object {
    let body = match range {
        Some(range) => ObjectBody::Range(range, body),
        None => ObjectBody::Whole(body),
    };
    whole(info, body)
}

/// Counts a reader that waits for a fill, in `Drop` too, so that hang-ups are counted out.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        metrics::gauge!("fallthrough_fill_waiters").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("fallthrough_fill_waiters").decrement(1.0);
    }
}

//! GET and HEAD of an object: here, tombstone, negative, then the shadow.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fallthrough_object::{Body, BodyError, ByteRange, RangeSpec, TraceParent};
use fallthrough_store::{Bucket, BucketMode, Entry, EntryState, ObjectInfo, StoreError, Stored};
use fallthrough_wire::conditions::Verdict;
use futures::TryStreamExt as _;

use crate::api::{
    Admission, Answer, BucketError, CacheReport, CacheWord, Caller, GetRequest, Object, ObjectBody,
};
use crate::behind::{Cold, Fall};
use crate::core::admission::Priority;
use crate::core::commit::MAX_CONFLICTS;
use crate::core::keystate::{ColdHead, Decision, RuleView, Situation, believed, on_cold_head, on_get};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::{Came, Fill, FillOrder};
use crate::mend::Suspect;
use crate::parts::{self, Parts};

/// One read on its way.
pub(crate) struct Read<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) bucket: &'a Arc<Bucket>,
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a GetRequest,
    pub(crate) admission: Admission<'a>,
    pub(crate) entry: Option<Arc<Entry>>,
    /// The trace that begins here if the caller has none and the origin is asked.
    pub(crate) own_trace: OnceLock<TraceParent>,
    /// What was learnt of the object's parts for this read.
    pub(crate) parts: OnceLock<Parts>,
    /// Whether what an inventory does not have may be taken for absent.
    pub(crate) by_inventory: bool,
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
        self.get_admitted(bucket, caller, request, Admission::ALL).await
    }

    /// As [`Engine::get`], for somebody who may not have everything: [`BucketError::Denied`] for what `admission` does
    /// not admit, before conditions and ranges are judged, and without a word to an origin.
    ///
    /// # Cancellation
    /// As [`Engine::get`].
    pub async fn get_admitted(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: GetRequest,
        admission: Admission<'_>,
    ) -> Answer<Object> {
        self.get_by(bucket, caller, request, admission, true).await
    }

    /// As [`Engine::get_admitted`]. `by_inventory`: whether what an inventory does not have may be taken for absent.
    ///
    /// # Cancellation
    /// As [`Engine::get`].
    pub(crate) async fn get_by(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: GetRequest,
        admission: Admission<'_>,
        by_inventory: bool,
    ) -> Answer<Object> {
        let mut answer = failed(CacheWord::Miss, OVERTAKEN, BucketError::Conflict);
        let mut bucket = bucket.clone();
        if planted(Mutant::ReadsAwaitDelivery) {
            drop(self.lane(&Self::slot(&bucket, &request.key)).await);
        }
        for _ in 0..MAX_CONFLICTS {
            let entry = match self.inner.store.lookup(bucket.id, &request.key).await {
                Ok(entry) => entry,
                Err(error) => return failed(CacheWord::Miss, "store", error.into()),
            };
            let read = Read {
                engine: self,
                bucket: &bucket,
                caller,
                request: &request,
                admission,
                entry,
                own_trace: OnceLock::new(),
                parts: OnceLock::new(),
                by_inventory,
            };
            answer = read.run().await;
            answer.report.varies_by = self.varies_by(&bucket, &request.key);
            if answer.report.detail != OVERTAKEN {
                break;
            }
            // What overtook it may have been another shadow: that is the one to ask then.
            match self.bucket(&bucket.name).await {
                Ok(now) if now.id == bucket.id => bucket = now,
                Ok(_) | Err(_) => {}
            }
        }
        metrics::counter!("fallthrough_cache_lookups_total",
            "bucket" => bucket.name.as_str().to_owned(), "result" => answer.report.word.as_str())
        .increment(1);
        answer
    }
}

impl Read<'_> {
    /// What is known about the key, as far as the present shadow is concerned.
    pub(crate) fn state(&self) -> Option<&EntryState> {
        self.entry.as_deref().and_then(|entry| believed(entry, self.bucket.gate_version))
    }

    /// Whether this reader may have what is known of the key.
    fn admit(&self, state: Option<&EntryState>) -> Result<(), BucketError> {
        match state.and_then(EntryState::stored) {
            Some(stored) if (self.admission.object)(&stored.info) => Ok(()),
            Some(_) => Err(BucketError::Denied),
            None if self.admission.cold || planted(Mutant::ColdKeysForAnybody) => Ok(()),
            None => Err(not_admitted(self.bucket, state)),
        }
    }

    async fn run(&self) -> Answer<Object> {
        let state = self.state();
        if let Err(error) = self.admit(state) {
            return failed(CacheWord::Hit, "not-admitted", error);
        }
        // The hot path: what is here and cannot age needs neither rules nor clocks.
        if let Some(EntryState::Written(stored)) = state {
            return self.serve(stored, CacheWord::Hit, "written").await;
        }
        let rules = match self.engine.behind(self.bucket) {
            Ok(rules) => rules,
            Err(error) => return self.without_rules(error).await,
        };
        let cold = match rules.fall(&self.request.key) {
            Fall::Nowhere => None,
            Fall::Through(cold) => Some(cold),
            Fall::Impossible => {
                return match state.and_then(EntryState::stored) {
                    Some(stored) => self.serve(stored, CacheWord::Hit, "filled").await,
                    None => failed(CacheWord::Negative, "key-rule", BucketError::NoSuchKey),
                };
            }
        };
        if let Some(cold) = &cold
            && self.may_vary(cold)
            && !matches!(state, Some(EntryState::Tombstone))
        {
            return self.pass_varied(cold).await;
        }
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
                self.note_use();
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
        self.note_use();
        let mut answer = self.serve(stored, CacheWord::Hit, "filled").await;
        if let Some(EntryState::Filled(_, provenance)) = self.entry.as_ref().map(|entry| &entry.state) {
            answer.report.ttl = provenance.fresh_until.map(|until| until.since(situation.now));
        }
        answer
    }

    /// A copy is used. What only looks at it does not keep it here.
    fn note_use(&self) {
        if !self.request.head {
            self.engine.note_use(self.bucket, &self.request.key);
        }
    }

    /// Serves what is stored here; a filled object whose bytes are damaged is filled again.
    pub(crate) async fn serve(
        &self,
        stored: &Stored,
        word: CacheWord,
        detail: &'static str,
    ) -> Answer<Object> {
        if let Err(error) = self.learn_part(&stored.info).await {
            return failed(word, "part", error);
        }
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
                Ok(self.with_parts(whole(stored.info.clone(), ObjectBody::Head(range)))),
            );
        }
        let span = range.unwrap_or(ByteRange::whole(stored.info.size_bytes));
        let store = &self.engine.inner.store;
        let opened = match store.open_body(stored, span).await {
            // Once more from the disk: what memory has may be damaged alone.
            Err(StoreError::Corrupt { .. }) => match store.read_anew(stored).await {
                Ok(()) => store.open_body(stored, span).await,
                Err(error) => Err(error),
            },
            opened => opened,
        };
        match opened {
            Ok(body) => {
                let body = self.watched(body);
                let body = match range {
                    Some(range) => ObjectBody::Range(range, body),
                    None => ObjectBody::Whole(body),
                };
                let object = self.with_parts(whole(stored.info.clone(), body));
                answer(CacheReport::of(word, detail), Ok(object))
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. })) => {
                Box::pin(self.damaged(&error.to_string())).await
            }
            Err(error)
                if !matches!(error, StoreError::Superseded) && planted(Mutant::UnreadableIsDamaged) =>
            {
                Box::pin(self.damaged(&error.to_string())).await
            }
            Err(StoreError::Superseded) => match self.is_current().await {
                // The index has the object and nothing of its bytes.
                Ok(true) => Box::pin(self.damaged("its bytes are gone")).await,
                // Overwritten or deleted between the lookup and now: the lookup is repeated.
                Ok(false) => failed(word, OVERTAKEN, BucketError::Conflict),
                Err(error) => failed(word, detail, error.into()),
            },
            Err(error) => failed(word, detail, error.into()),
        }
    }

    /// An object that is here, with what was learnt of its parts.
    fn with_parts(&self, object: Object) -> Object {
        match self.parts.get() {
            Some(Parts::At(_, parts_count)) => Object { parts_count: *parts_count, ..object },
            Some(Parts::One) | None => object,
        }
    }

    async fn is_current(&self) -> Result<bool, StoreError> {
        let Some(entry) = &self.entry else { return Ok(false) };
        self.engine.inner.store.is_current(self.bucket.id, &self.request.key, entry).await
    }

    /// A body whose damage, found while it is read, is told to whoever mends it.
    fn watched(&self, body: Body) -> Body {
        let Some(entry) = &self.entry else { return body };
        let Body::Stream(pieces) = body else { return body };
        let (engine, suspect) = (
            self.engine.clone(),
            Suspect { bucket: self.bucket.clone(), key: self.request.key.clone(), entry: entry.clone() },
        );
        Body::Stream(Box::pin(pieces.inspect_err(move |error| {
            if matches!(error, BodyError::Corrupt) {
                engine.suspect(suspect.clone());
            }
        })))
    }

    /// The bytes of a stored object are damaged: what was filled is filled again; what was written is lost, and
    /// that is said loudly.
    async fn damaged(&self, what: &str) -> Answer<Object> {
        let damaged = |detail| failed(CacheWord::Hit, detail, BucketError::Damaged);
        let Some(entry) = &self.entry else { return damaged("damaged") };
        match self.engine.put_aside(self.bucket, &self.request.key, entry, what).await {
            Ok(true) => {}
            // Overwritten or deleted meanwhile: the lookup is repeated.
            Ok(false) => return failed(CacheWord::Miss, OVERTAKEN, BucketError::Conflict),
            Err(error) => return failed(CacheWord::Hit, "damaged", error),
        }
        let Some(client) = Engine::fill_share(self.bucket, self.caller) else {
            return damaged("damaged");
        };
        let caller = Caller { trace: Some(self.trace()), ..self.caller.clone() };
        match self.engine.refill(self.bucket, &self.request.key, entry, client, Priority::Client, &caller) {
            Ok(Some((fill, came))) => self.read_fill(&fill, came).await,
            Ok(None) => damaged("damaged"),
            Err(error) => failed(CacheWord::Hit, "damaged", error),
        }
    }

    /// What the request's conditions say of an object.
    pub(crate) fn verdict(&self, info: &ObjectInfo) -> Verdict {
        self.request.conditions.evaluate(info.etag.as_ref(), Some(info.last_modified), true)
    }

    /// Judges conditions and range on an object of known size.
    pub(crate) fn select(&self, info: &ObjectInfo, size_bytes: u64) -> Result<Selected, BucketError> {
        let etag = info.etag.as_ref();
        match self.verdict(info) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(Selected::NotModified),
            Verdict::PreconditionFailed => return Err(BucketError::PreconditionFailed),
        }
        if let Some(number) = self.request.part {
            return match self.parts.get() {
                Some(Parts::At(range, _)) => Ok(Selected::Range(*range)),
                None if parts::is_unknown(info) => Err(parts::unknown()),
                Some(Parts::One) | None => part(info, size_bytes, number),
            };
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
        let state = self.state();
        if self.by_inventory
            && self.engine.running(self.bucket, &self.request.key).is_none()
            && self.engine.is_absent_by_inventory(self.bucket, cold, state).await
        {
            return failed(CacheWord::Negative, "inventory", BucketError::NoSuchKey);
        }
        if let Some(number) = self.request.part
            && let Some(answer) = self.part_cold(cold, number, situation).await
        {
            return answer;
        }
        if let Some(fill) = self.engine.running(self.bucket, &self.request.key)
            && !self.is_far_ahead(cold, &fill)
        {
            // A running fill answers everything that is asked of its key, but what it will come to much later.
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
            return self.conditional_cold(cold, situation).await;
        }
        if asks_for_part && self.request.if_range.is_none() && cold.behind.seekable {
            return Box::pin(self.range_cold(cold)).await;
        }
        self.fill(cold, None).await
    }

    /// Starts or joins the fill, and reads from it. `judged`: the ETag that conditions were judged on.
    pub(crate) async fn fill(&self, cold: &Cold, judged: Option<fallthrough_object::ETag>) -> Answer<Object> {
        match self.start(cold, judged.clone(), false) {
            Ok((fill, came)) => self.read_fill(&fill, came).await,
            // What was judged is there: the origin has been asked.
            Err(BucketError::FillDenied)
                if judged.is_none()
                    && !self.request.head
                    && self.bucket.settings.mode != BucketMode::Compute =>
            {
                self.may_not_fill(cold).await
            }
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
            same_only: false,
            client,
            priority: Priority::Client,
            hops: self.caller.hops,
            request_id: self.caller.request_id.clone(),
            trace: self.trace(),
            extras: self.request.extras.clone(),
            from_blocks: None,
        })
    }

    /// The trace of whatever the origin is asked for this read.
    pub(crate) fn trace(&self) -> TraceParent {
        self.caller.trace.unwrap_or_else(|| {
            *self.own_trace.get_or_init(|| TraceParent::begin(&*self.engine.inner.entropy))
        })
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

/// What somebody is told who may have only what is here: that a key does not exist where that is certain without its
/// origin, and nothing else.
pub(crate) fn not_admitted(bucket: &Bucket, state: Option<&EntryState>) -> BucketError {
    match state {
        Some(EntryState::Tombstone) => BucketError::NoSuchKey,
        None if bucket.settings.shadow.is_empty() => BucketError::NoSuchKey,
        Some(_) | None => BucketError::Denied,
    }
}

/// The detail of an answer whose object was replaced while it was being opened.
pub(crate) const OVERTAKEN: &str = "overtaken";

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
    let parts_count = u32::try_from(info.part_sizes.len()).ok().filter(|count| *count > 0);
    Object { size_bytes: Some(info.size_bytes), parts_count, is_kept: true, info, body }
}

/// An object that only its origin has, and that this read leaves there.
pub(crate) fn passing(info: Arc<ObjectInfo>, body: ObjectBody) -> Object {
    Object { is_kept: false, ..whole(info, body) }
}

/// The bytes of a part, as the object was uploaded.
fn part(info: &ObjectInfo, size_bytes: u64, number: u32) -> Result<Selected, BucketError> {
    let sizes = if info.part_sizes.is_empty() { &[size_bytes][..] } else { &info.part_sizes };
    let at = (number as usize).checked_sub(1).filter(|at| *at < sizes.len());
    let at = at.ok_or(BucketError::NoSuchPart { parts: Some(sizes.len() as u32) })?;
    let start = sizes[..at].iter().sum();
    let range = ByteRange { start, end: start + sizes[at] };
    Ok(if range.is_empty() && size_bytes == 0 { Selected::Whole } else { Selected::Range(range) })
}

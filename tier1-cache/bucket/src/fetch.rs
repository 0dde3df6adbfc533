//! Fetching one object from its origin: attempts, resumption in mid-body, and verification.
//!
//! A body that broke off is resumed at its offset, pinned by the origin's strong ETag; one that no reader has
//! seen a byte of may be fetched anew. Nothing ends cleanly, and nothing is handed on for storing, before its
//! length and every digest that the origin offered agree.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ChecksumKind, ETag, Monotonic, RangeSpec, Timestamp};
use fallthrough_shadow::{Found, Freshness, Method, Outcome, Request};
use fallthrough_store::{BucketMode, ObjectInfo, Provenance, Staging, StoreError};
use fallthrough_wire::digest::{DigestSet, Digests};
use futures::StreamExt as _;

use crate::api::BucketError;
use crate::ask::{Answered, Unanswered, ask, refusal};
use crate::blocks::Pin;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::FillOrder;
use crate::members::{MemberNumber, Whom};
use crate::reader::{Head, LENGTH_AWAITED_BYTES, Stage, VERIFIED_FIRST_BYTES};
use crate::telling::Teller;
use crate::verify::verify;

mod layout;
mod ranges;

use layout::Layout;
pub(crate) use ranges::SPREAD_MAX;

/// Failures in a row, without progress, that end a fetch.
const MAX_FAILURES: u32 = 4;
/// First pause before another attempt; doubles, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// What counts as progress and earns a fresh set of attempts.
const PROGRESS_BYTES: u64 = 8 * 1024 * 1024;

/// How a fetch ended.
pub(crate) enum Fetched {
    /// All bytes are staged and verified.
    Object { head: Arc<Head>, staging: Staging, info: ObjectInfo, provenance: Provenance },
    /// 304: the stored object is still good.
    Unchanged { info: ObjectInfo, provenance: Provenance },
    /// The origin says that there is none; `until`: how long that is believed.
    Absent { error: BucketError, until: Option<Timestamp>, invalid: bool },
    /// What it went by holds no more: the object that conditions were judged on is gone.
    Overtaken(BucketError),
    /// No object, and no statement that there is none.
    Failed(BucketError),
}

impl Fetched {
    /// Whether the time it took belongs in the mean that Retry-After is computed from.
    pub(crate) fn says_something_of_the_rate(&self) -> bool {
        match self {
            Self::Object { .. } => true,
            Self::Unchanged { .. } | Self::Absent { .. } | Self::Overtaken(_) | Self::Failed(_) => false,
        }
    }
}

/// One fetch.
pub(crate) struct Fetch<'a> {
    engine: &'a Engine,
    order: &'a FillOrder,
    progress: &'a Teller,
    attempt: u32,
    failures: u32,
    /// The body so far, once headers came.
    partial: Option<Partial>,
    /// An ETag that looked like an MD5 differed from it once, while another digest agreed.
    etag_differed: bool,
    /// Until then it may wait for an origin that asked to be left alone.
    patience: Monotonic,
    /// This origin does not give what ranges ask for.
    in_one_stream: bool,
    /// Blocks were read: if what comes of them is wrong, they are.
    blocks_used: bool,
    /// The member whose answer was read last: it broke off, if there is another attempt.
    member: Option<MemberNumber>,
}

struct Partial {
    head: Arc<Head>,
    found: FoundHeaders,
    staging: Staging,
    digests: Digests,
    /// The layout of its parts that is tried.
    layout: Option<Layout>,
    /// Readers may have seen bytes: this body can be resumed, but not begun anew.
    open: bool,
    progress_mark: u64,
    asked_at: Timestamp,
    /// Whose answer it began with.
    member: MemberNumber,
}

/// What is kept of the first answer's headers.
struct FoundHeaders {
    pin: Option<ETag>,
    origin_etag: Option<ETag>,
    origin_last_modified: Option<Timestamp>,
    expected: fallthrough_shadow::Expected,
    freshness: Freshness,
}

/// What one attempt led to.
enum Attempted {
    Done(Box<Fetched>),
    /// Try again, after at least this pause.
    Again(BucketError, Option<Duration>),
}

/// This fetch has ended.
fn done(fetched: Fetched) -> Attempted {
    Attempted::Done(Box::new(fetched))
}

impl<'a> Fetch<'a> {
    pub(crate) fn new(engine: &'a Engine, order: &'a FillOrder, progress: &'a Teller) -> Self {
        let inner = &engine.inner;
        let patience = inner.clock.monotonic().plus(inner.options.header_wait);
        Self {
            engine,
            order,
            progress,
            attempt: 0,
            failures: 0,
            partial: None,
            // There is one attempt, and an ETag that only looks like an MD5 is no reason to give blocks up.
            etag_differed: order.from_blocks.is_some(),
            patience,
            in_one_stream: false,
            blocks_used: false,
            member: None,
        }
    }

    /// Runs attempts until one succeeds, the origin says something final, or the budget is spent.
    pub(crate) async fn run(mut self) -> Fetched {
        loop {
            self.attempt += 1;
            let (error, at_least) = match self.attempt().await {
                Attempted::Done(fetched) => return self.judged(*fetched).await,
                Attempted::Again(error, _) if self.order.from_blocks.is_some() => {
                    // Who reads it is served by its origin, when he comes again.
                    return self.judged(Fetched::Failed(error)).await;
                }
                Attempted::Again(error, at_least) => (error, at_least),
            };
            self.failures += 1;
            let resumable = self.partial.as_ref().is_none_or(|p| !p.open || p.found.pin.is_some());
            if self.failures >= MAX_FAILURES || !resumable {
                return Fetched::Failed(error);
            }
            let rest = self.order.behind.gate.resting().or(at_least).unwrap_or_default();
            if self.engine.inner.clock.monotonic().plus(rest) > self.patience {
                return Fetched::Failed(error);
            }
            tracing::debug!(origin = %self.order.behind.origin, %error, "trying again");
            tokio::time::sleep(self.pause().max(rest)).await;
        }
    }

    /// Blocks that do not make what was promised are not read again.
    async fn judged(&mut self, fetched: Fetched) -> Fetched {
        if let (Some(pin), Fetched::Failed(_), true) = (&self.order.from_blocks, &fetched, self.blocks_used) {
            self.engine.blocks_are_wrong(self.order, pin).await;
        }
        fetched
    }

    /// 50, 100, 200 ms … and up to as much again, so that many fills do not come back at one moment.
    fn pause(&self) -> Duration {
        let base = FIRST_PAUSE * 2u32.saturating_pow(self.failures.saturating_sub(1).min(6));
        let jitter =
            self.engine.inner.entropy.next_u64() % u64::try_from(base.as_millis()).unwrap_or(1).max(1);
        base + Duration::from_millis(jitter)
    }

    async fn attempt(&mut self) -> Attempted {
        if self.partial.as_ref().is_some_and(|p| !p.open && p.found.pin.is_none()) {
            // Nobody has seen a byte and nothing ties the rest to the beginning: begin anew.
            self.partial = None;
        }
        if let Some(pin) = &self.order.from_blocks {
            return self.take_blocks(pin).await;
        }
        let request = self.request();
        let whom = self.member.map_or(Whom::Any, Whom::AnyBefore);
        match ask(self.engine, &self.order.behind, request, whom).await {
            Ok(Answered { outcome, asked_at, member }) => {
                self.member = Some(member);
                self.read_outcome(outcome, asked_at, member).await
            }
            Err(Unanswered::Transient(error)) => Attempted::Again(error, None),
            Err(Unanswered::Resting(left)) => {
                let error = self.busy(left);
                if self.attempt == 1 {
                    done(Fetched::Failed(error))
                } else {
                    Attempted::Again(error, Some(left))
                }
            }
            Err(Unanswered::Final(error)) => done(Fetched::Failed(error)),
        }
    }

    /// The whole object of blocks that are here, as its origin describes it.
    async fn take_blocks(&mut self, pin: &Arc<Pin>) -> Attempted {
        let mut request = self.plain_request();
        request.method = Method::Head;
        request.if_match = pin.etag().cloned();
        let answered = match ask(self.engine, &self.order.behind, request, Whom::Any).await {
            Ok(answered) => answered,
            Err(unanswered) => {
                let error = unanswered.into_error(&self.order.behind.gate, &self.order.client);
                return done(Fetched::Failed(error));
            }
        };
        let Answered { outcome, asked_at, member } = answered;
        let mut found = match outcome {
            Outcome::Found(found) => *found,
            other => {
                // Another object, or none: what is kept is of no use.
                self.blocks_used = matches!(other, Outcome::Changed | Outcome::Absent { .. });
                return done(Fetched::Failed(self.refused_head(other)));
            }
        };
        let (Some(etag), Some(size_bytes)) =
            (found.etag.as_ref().filter(|tag| !tag.is_weak()), found.size_bytes)
        else {
            // The blocks are as good as they were: this origin does not say enough to make an object of them.
            return done(Fetched::Failed(bad_answer("too little said of the object of the blocks")));
        };
        self.blocks_used = true;
        let same = pin.etag().is_some_and(|pin| pin.strong_eq(etag));
        if !same || size_bytes != pin.info.size_bytes {
            return Attempted::Again(bad_answer("another object than that of the blocks"), None);
        }
        let Some(body) = self.engine.out_of_blocks(self.order, pin).await else {
            return Attempted::Again(bad_answer("blocks of it are gone"), None);
        };
        found.body = body;
        found.expected.length_bytes = found.size_bytes;
        self.receive(found, asked_at, member).await
    }

    fn refused_head(&self, outcome: Outcome) -> BucketError {
        match outcome {
            // There may be another one for whoever comes again.
            Outcome::Changed | Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } => {
                BucketError::OriginFailing {
                    reason: "the object changed while it was being read".to_owned(),
                    retry_after: Duration::from_secs(1),
                }
            }
            other => self.refused(other),
        }
    }

    /// A request of this fill, for all of the object that there is.
    fn plain_request(&self) -> Request {
        let order = self.order;
        let mut request = Request::get(order.origin_key.clone(), self.engine.inner.options.header_wait);
        request.attempt = self.attempt;
        request.hops = order.hops;
        request.request_id = order.request_id.to_string();
        request.trace = Some(order.trace);
        request.extras = order.extras.clone();
        request
    }

    fn request(&self) -> Request {
        let order = self.order;
        let mut request = self.plain_request();
        match &self.partial {
            Some(partial) => {
                request.if_match = partial
                    .found
                    .pin
                    .clone()
                    .filter(|_| !planted(Mutant::ResumedUnpinned) && !planted(Mutant::MembersMixed));
                let received = partial.staging.len();
                if order.behind.seekable && received > 0 {
                    request.range = Some(RangeSpec::From { first: received });
                }
            }
            None => {
                request.if_match = order.judged.clone();
                if order.revalidate {
                    request.if_none_match = stored_etag(order);
                }
            }
        }
        request
    }

    async fn read_outcome(
        &mut self,
        outcome: Outcome,
        asked_at: Timestamp,
        member: MemberNumber,
    ) -> Attempted {
        let resuming = self.partial.is_some();
        let options = &self.engine.inner.options;
        let fail = |error| done(Fetched::Failed(error));
        match outcome {
            Outcome::Found(found) => self.receive(*found, asked_at, member).await,
            Outcome::NotModified { freshness, meta } => {
                if resuming || !self.order.revalidate {
                    return fail(bad_answer("304 to a request without a condition"));
                }
                self.unchanged(freshness, meta, asked_at)
            }
            Outcome::Absent { ttl } | Outcome::AbsentUnproven { ttl, .. } => {
                let rule = &self.order.behind.rule.settings;
                let ttl = ttl.unwrap_or_else(|| rule.negative_ttl(options.negative_ttl));
                let until = (!ttl.is_zero()).then(|| asked_at.plus(ttl));
                done(Fetched::Absent { error: BucketError::NoSuchKey, until, invalid: false })
            }
            Outcome::Invalid => {
                let until = Some(asked_at.plus(options.negative_ttl));
                let error = BucketError::ImpossibleKey { reason: "its origin says so".to_owned() };
                done(Fetched::Absent { error, until, invalid: true })
            }
            Outcome::Changed => self.changed(),
            Outcome::RangeNotSatisfiable { .. } => self.changed(),
            Outcome::Busy { retry_after } if resuming => {
                Attempted::Again(self.busy(retry_after.unwrap_or_default()), retry_after)
            }
            outcome @ Outcome::Failing { .. } => Attempted::Again(self.refused(outcome), None),
            outcome @ (Outcome::Busy { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::Archived
            | Outcome::Unacceptable { .. }) => fail(self.refused(outcome)),
            Outcome::NotOffered => fail(BucketError::ShadowMisconfigured {
                mend: "the origin does not offer GET: is its address right?".to_owned(),
            }),
        }
    }

    fn busy(&self, theirs: Duration) -> BucketError {
        self.order.behind.gate.busy(&self.order.client, theirs)
    }

    fn refused(&self, outcome: Outcome) -> BucketError {
        refusal(outcome, &self.order.behind.gate, &self.order.client)
    }

    /// The object is no longer the one that this body began with.
    fn changed(&mut self) -> Attempted {
        let error = BucketError::OriginFailing {
            reason: "the object changed while it was being read".to_owned(),
            retry_after: Duration::from_secs(1),
        };
        match &self.partial {
            Some(partial) if partial.open => done(Fetched::Failed(error)),
            Some(_) => {
                self.partial = None;
                Attempted::Again(error, None)
            }
            None if self.order.same_only => done(Fetched::Failed(BucketError::Damaged)),
            // The conditions were judged on an object that is gone: they are judged again.
            None => done(Fetched::Overtaken(error)),
        }
    }

    fn unchanged(
        &self,
        freshness: Freshness,
        meta: fallthrough_object::Meta,
        asked_at: Timestamp,
    ) -> Attempted {
        let Some((info, provenance)) = self.order.entry.as_ref().and_then(|entry| match &entry.state {
            fallthrough_store::EntryState::Filled(stored, provenance) => {
                Some((stored.info.clone(), provenance))
            }
            fallthrough_store::EntryState::Written(_)
            | fallthrough_store::EntryState::Known(..)
            | fallthrough_store::EntryState::Absent { .. }
            | fallthrough_store::EntryState::Tombstone => None,
        }) else {
            return done(Fetched::Failed(bad_answer("304 to a request without a stored copy")));
        };
        let mut info = (*info).clone();
        update(&mut info.meta, meta);
        let mut provenance = provenance.clone();
        self.date(&mut provenance, &freshness, asked_at);
        done(Fetched::Unchanged { info, provenance })
    }

    /// Writes into `provenance` how long the object may be believed.
    fn date(&self, provenance: &mut Provenance, freshness: &Freshness, asked_at: Timestamp) {
        let late = planted(Mutant::FreshFromAnswer);
        let asked_at = if late { self.engine.inner.clock.now() } else { asked_at };
        provenance.asked_at = asked_at;
        if self.order.bucket.settings.mode != BucketMode::Cache {
            return;
        }
        let rule = &self.order.behind.rule.settings;
        let ttl = rule
            .ttl_secs
            .map(Duration::from_secs)
            .or(freshness.fresh_for)
            .unwrap_or(self.engine.inner.options.default_ttl);
        let fresh_until = asked_at.plus(ttl);
        provenance.fresh_until = Some(fresh_until);
        provenance.stale_while_revalidate_until =
            freshness.stale_while_revalidate.map(|d| fresh_until.plus(d));
        provenance.stale_if_error_until = freshness.stale_if_error.map(|d| fresh_until.plus(d));
    }

    /// Takes the answer that carries the object, or the rest of it.
    async fn receive(&mut self, found: Found, asked_at: Timestamp, member: MemberNumber) -> Attempted {
        let (body, mut skip) = if self.partial.is_some() {
            match self.continues(&found) {
                Ok(skip) => (found.body, skip),
                Err(attempted) => return attempted,
            }
        } else {
            if found.range.is_some() {
                return done(Fetched::Failed(bad_answer("206 to a request for the whole object")));
            }
            match self.begin(found, asked_at, member) {
                Ok(body) => {
                    let layout = self.layout().await;
                    if let Some(partial) = &mut self.partial {
                        partial.layout = layout;
                    }
                    (body, 0)
                }
                Err(error) => return done(Fetched::Failed(error)),
            }
        };
        let mut pieces = match body {
            Body::Bytes(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
            Body::Stream(stream) => stream,
            Body::File(_) => return done(Fetched::Failed(bad_answer("a body in a file"))),
        };
        let stall = self.engine.inner.options.stall;
        let mut ranges_from = self.spreads_from();
        loop {
            let piece = match tokio::time::timeout(stall, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return self.broke_off(&error),
                Ok(None) => break,
                Err(_) => return self.broke_off(&BodyError::Stalled),
            };
            let piece = skip_front(piece, &mut skip);
            if let Err(attempted) = self.take(piece).await {
                return attempted;
            }
            if let Some(spread) = self.spread(&mut ranges_from) {
                drop(pieces);
                return self.in_ranges(spread).await;
            }
        }
        drop(pieces);
        self.ended()
    }

    /// How many bytes of the answer are known already, if it continues the body that was begun.
    fn continues(&mut self, found: &Found) -> Result<u64, Attempted> {
        let Some(partial) = &self.partial else { return Ok(0) };
        let received = partial.staging.len();
        let same = match (&partial.found.pin, &found.etag) {
            _ if planted(Mutant::MembersMixed) => true,
            (Some(pin), Some(etag)) => pin.strong_eq(etag),
            // A 206 to If-Match may leave the ETag out only if the condition held.
            (Some(_), None) => found.range.is_some(),
            (None, _) => false,
        };
        let same_size = match (partial.head.size_bytes, found.size_bytes) {
            (Some(before), Some(now)) => before == now,
            (None, _) | (_, None) => true,
        };
        let starts = found.range.map_or(0, |range| range.start);
        if same && same_size && starts <= received { Ok(received - starts) } else { Err(self.changed()) }
    }

    fn begin(
        &mut self,
        found: Found,
        asked_at: Timestamp,
        member: MemberNumber,
    ) -> Result<Body, BucketError> {
        let counts = |etag: &ETag| !etag.is_weak() || planted(Mutant::WeakTagsAreStrong);
        let strong = found.etag.clone().filter(counts);
        let etag = match &strong {
            Some(etag) => etag.clone(),
            None => self.draw_etag(),
        };
        let size_bytes = found.expected.length_bytes.or(found.size_bytes);
        let info = Arc::new(ObjectInfo {
            etag: Some(etag),
            size_bytes: size_bytes.unwrap_or(0),
            last_modified: whole_secs(found.last_modified.unwrap_or(asked_at)),
            meta: found.meta,
            tags_behind: found.tags_count,
            ..ObjectInfo::default()
        });
        // In `migrate` an object's own Cache-Control is its metadata, not a word to us.
        let kept = self.order.bucket.settings.mode == BucketMode::Migrate || !found.freshness.do_not_keep;
        // Larger than all that copies may hold together.
        let fits = self.engine.could_keep(&self.order.bucket, size_bytes.unwrap_or(0));
        if kept && !fits {
            metrics::counter!("fallthrough_cache_not_kept_total", "reason" => "too-large").increment(1);
        }
        let kept = kept && fits;
        let (kept, staging) = self.stage(kept, size_bytes)?;
        let wanted = found
            .expected
            .checksums
            .iter()
            .filter(|c| c.kind == ChecksumKind::FullObject)
            .fold(DigestSet::none().and_md5(), |set, c| set.and(c.algorithm));
        let head = Arc::new(Head { info, size_bytes, kept });
        self.progress.tell(|progress| {
            progress.stage = Stage::Headers(head.clone());
            progress.readable = 0;
        });
        self.partial = Some(Partial {
            head,
            found: FoundHeaders {
                pin: strong,
                origin_etag: found.etag,
                origin_last_modified: found.last_modified,
                expected: found.expected,
                freshness: found.freshness,
            },
            staging,
            digests: Digests::new(wanted),
            layout: None,
            open: false,
            progress_mark: 0,
            asked_at,
            member,
        });
        Ok(found.body)
    }

    /// A place for the body, and whether it is to be kept: where the disk has no space for copies it is passed on.
    fn stage(&self, kept: bool, size_bytes: Option<u64>) -> Result<(bool, Staging), StoreError> {
        let store = &self.engine.inner.store;
        if kept {
            match store.stage_fill(size_bytes) {
                Err(StoreError::Full { .. }) => {}
                staged => return Ok((true, staged?)),
            }
        }
        Ok((false, store.stage_passing(size_bytes)?))
    }

    /// A strong ETag of our own, for an origin that gives none: drawn anew for each fill, so that two bodies
    /// never share it.
    fn draw_etag(&self) -> ETag {
        let mut random = [0; 16];
        self.engine.inner.entropy.fill(&mut random);
        let mut value = String::with_capacity(3 + 32);
        value.push_str("ft-");
        value.push_str(ETag::from_md5(random).value());
        ETag::strong(value).expect("hexadecimal digits are allowed in an ETag")
    }

    /// Stages one piece and lets readers see what they may.
    async fn take(&mut self, piece: Bytes) -> Result<(), Attempted> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(size) = partial.head.size_bytes
            && partial.staging.len() + piece.len() as u64 > size
        {
            return Err(self.mismatch("length"));
        }
        partial.digests.update(&piece);
        if let Some(layout) = &mut partial.layout {
            layout.update(&piece);
        }
        if let Err(error) = partial.staging.append(piece).await {
            return Err(done(Fetched::Failed(error.into())));
        }
        let received = partial.staging.len();
        if received >= partial.progress_mark + PROGRESS_BYTES {
            partial.progress_mark = received;
            self.failures = 0;
        }
        let readable = match partial.head.size_bytes {
            Some(size) if size <= VERIFIED_FIRST_BYTES => 0,
            // The last byte at least is withheld until everything is verified.
            Some(_) if planted(Mutant::LastByteEarly) => received,
            Some(size) => received.min(size - 1),
            None if received <= LENGTH_AWAITED_BYTES => 0,
            None => received - 1,
        };
        if readable == 0 {
            return Ok(());
        }
        let opened = !std::mem::replace(&mut partial.open, true);
        let stage = opened.then(|| Stage::Streaming(partial.head.clone(), partial.staging.reader()));
        self.progress.tell(|progress| {
            progress.readable = readable;
            if let Some(stage) = stage {
                progress.stage = stage;
            }
        });
        Ok(())
    }

    fn broke_off(&self, error: &BodyError) -> Attempted {
        Attempted::Again(broken(&self.order.behind.origin, error), None)
    }

    /// The bytes are not what they were promised to be: fetched anew if nobody has seen one, else given up.
    fn mismatch(&mut self, what: &'static str) -> Attempted {
        metrics::counter!("fallthrough_origin_mismatches_total", "origin" => self.order.behind.origin.to_string(), "what" => what)
            .increment(1);
        let error = BucketError::OriginFailing {
            reason: format!("its body does not match its {what}"),
            retry_after: Duration::from_secs(1),
        };
        match self.partial.take() {
            Some(partial) if partial.open => done(Fetched::Failed(error)),
            Some(_) | None => Attempted::Again(error, None),
        }
    }

    /// The body has ended: verifies length and digests.
    fn ended(&mut self) -> Attempted {
        let Some(partial) = &self.partial else {
            return done(Fetched::Failed(bad_answer("no body")));
        };
        if partial.head.size_bytes.is_some_and(|size| size != partial.staging.len())
            && !planted(Mutant::ShortFillAccepted)
        {
            return self.broke_off(&BodyError::Incomplete);
        }
        let computed = partial.digests.clone().finish();
        let md5 = computed.md5;
        let known_length = partial.head.size_bytes.is_some();
        let agreed = verify(&partial.found.expected, &computed, known_length, &mut self.etag_differed);
        let verified = match agreed {
            Ok(verified) => verified,
            Err(_) if planted(Mutant::CommitBeforeVerification) => Vec::new(),
            Err(what) => return self.mismatch(what),
        };
        let Some(mut partial) = self.partial.take() else {
            return done(Fetched::Failed(bad_answer("no body")));
        };
        let layout = partial.layout.take().zip(partial.found.pin.as_ref());
        let size_bytes = partial.staging.len();
        let mut info = (*partial.head.info).clone();
        info.size_bytes = size_bytes;
        info.md5 = md5;
        info.checksums = partial.found.expected.checksums.clone();
        info.part_sizes = layout.and_then(|(layout, etag)| layout.proven(etag)).unwrap_or_default();
        let mut provenance = Provenance {
            origin: self.order.behind.gate.members.name(partial.member).to_string(),
            origin_etag: partial.found.origin_etag.clone(),
            origin_last_modified: partial.found.origin_last_modified,
            asked_at: partial.asked_at,
            verified,
            fresh_until: None,
            stale_if_error_until: None,
            stale_while_revalidate_until: None,
            edition: self.order.behind.rule.settings.edition.clone(),
        };
        self.date(&mut provenance, &partial.found.freshness, partial.asked_at);
        let head = Arc::new(Head {
            info: Arc::new(info.clone()),
            size_bytes: Some(size_bytes),
            kept: partial.head.kept,
        });
        done(Fetched::Object { head, staging: partial.staging, info, provenance })
    }
}

fn stored_etag(order: &FillOrder) -> Option<ETag> {
    match &order.entry.as_ref()?.state {
        fallthrough_store::EntryState::Filled(_, provenance) => provenance.origin_etag.clone(),
        fallthrough_store::EntryState::Written(_)
        | fallthrough_store::EntryState::Known(..)
        | fallthrough_store::EntryState::Absent { .. }
        | fallthrough_store::EntryState::Tombstone => None,
    }
}

/// Whole seconds: what HTTP dates can say, so that GET and LIST show the same moment.
pub(crate) fn whole_secs(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_secs(at.unix_secs())
}

/// Takes over what a 304 carried (RFC 9111 §3.2).
fn update(meta: &mut fallthrough_object::Meta, newer: fallthrough_object::Meta) {
    let take = |old: &mut Option<String>, new: Option<String>| {
        if new.is_some() {
            *old = new;
        }
    };
    take(&mut meta.content_type, newer.content_type);
    take(&mut meta.cache_control, newer.cache_control);
    take(&mut meta.content_disposition, newer.content_disposition);
    take(&mut meta.content_language, newer.content_language);
    take(&mut meta.expires, newer.expires);
}

fn skip_front(mut piece: Bytes, skip: &mut u64) -> Bytes {
    let cut = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
    *skip -= cut as u64;
    piece.split_off(cut)
}

/// An answer ended before its end.
fn broken(origin: &str, error: &BodyError) -> BucketError {
    metrics::counter!("fallthrough_origin_broken_bodies_total", "origin" => origin.to_owned()).increment(1);
    BucketError::OriginFailing {
        reason: format!("its body broke off: {error}"),
        retry_after: Duration::from_secs(1),
    }
}

fn bad_answer(reason: &str) -> BucketError {
    BucketError::BadOriginAnswer { reason: reason.to_owned() }
}

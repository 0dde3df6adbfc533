//! One delivery: what is here of a key is brought to its origin, under the condition that the origin has what was last
//! seen there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fallthrough_object::{Body, ByteRange, ByteStream, Checksum, ChecksumKind, ETag, Key, RangeSpec};
use fallthrough_shadow::{
    Method, ObjectHeaders, Outcome, Request, SentBody, ShadowError, Write, WriteGuard, WriteRequest, Written,
};
use fallthrough_store::{Bucket, Intent, IntentRow, ObjectInfo, Seen, StoreError, Stored};
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, multipart_etag};
use futures::StreamExt as _;

use crate::api::BucketError;
use crate::ask::{Unanswered, ask};
use crate::behind::{Behind, Cold};
use crate::core::breaker::Subject;
use crate::core::mutants::{Mutant, planted};
use crate::core::outgoing::{Attempt, Resolution, Step, There, ask_first, judge, read_answer, resolve};
use crate::engine::Engine;
use crate::members::{FIRST, NotSent, Tried, Whom};
use crate::origins::Permit;

/// How often what is at the origin is looked at in one delivery.
const LOOKS: u32 = 4;
/// Parts of an object that is too large for one request, and of whose parts nothing is known.
const PART_BYTES: u64 = 512 << 20;
/// The largest object that one request takes.
const PUT_BYTES_MAX: u64 = 5 << 30;
/// Whose share deliveries count against.
pub(crate) const CLIENT: &str = "(write-through)";

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The origin has it, and is left with this.
    Delivered(Seen),
    /// Somebody else has changed the object at the origin.
    Conflict(String),
    /// Somebody else has, and what is at the origin counts.
    Yield,
    /// Not before somebody mends something.
    Dead(String),
    /// To be tried again.
    Retry { reason: String, after: Option<Duration>, in_doubt: bool },
    /// Nothing was sent: the origin is left alone for so long.
    Held(Duration),
    /// The intent is another by now.
    Overtaken,
}

impl Ended {
    /// What it means for a client who waits for it.
    pub(crate) fn into_result(self) -> Result<(), BucketError> {
        let failing = |reason, retry_after| Err(BucketError::OriginFailing { reason, retry_after });
        match self {
            Self::Delivered(_) | Self::Overtaken => Ok(()),
            Self::Conflict(_) | Self::Yield => Err(BucketError::PreconditionFailed),
            Self::Dead(mend) => Err(BucketError::ShadowMisconfigured { mend }),
            Self::Retry { reason, after, .. } => failing(reason, after.unwrap_or(crate::get::SOON)),
            Self::Held(wait) => failing("it is given a pause".to_owned(), wait),
        }
    }
}

impl Engine {
    /// Tries to bring an intent to its origin, and says with it how the intent is known by now.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// It may or may not have reached the origin; the intent says so.
    pub(crate) async fn attempt(
        &self,
        bucket: &Arc<Bucket>,
        cold: &Cold,
        intent: Arc<Intent>,
    ) -> Result<(Ended, Arc<Intent>), BucketError> {
        let Cold { behind, origin_key } = cold;
        let mut delivery = Delivery { engine: self, bucket, behind, origin_key: origin_key.clone(), intent };
        let ended = delivery.run().await?;
        Ok((ended, delivery.intent))
    }

    /// What the origin has where an intent leads.
    pub(crate) async fn look_for(
        &self,
        bucket: &Arc<Bucket>,
        cold: &Cold,
        intent: Arc<Intent>,
    ) -> Result<There, Ended> {
        let Cold { behind, origin_key } = cold;
        let delivery = Delivery { engine: self, bucket, behind, origin_key: origin_key.clone(), intent };
        let _permit = delivery.admitted().await?;
        delivery.look().await
    }

    /// Ends the uploads that an intent has begun at the origin and left there.
    pub(crate) async fn abort_uploads(
        &self,
        bucket: &Arc<Bucket>,
        cold: &Cold,
        intent: Arc<Intent>,
    ) -> Result<(), Ended> {
        if intent.row.uploads.is_empty() {
            return Ok(());
        }
        let Cold { behind, origin_key } = cold;
        let mut delivery = Delivery { engine: self, bucket, behind, origin_key: origin_key.clone(), intent };
        let _permit = delivery.admitted().await?;
        delivery.abort_uploads().await
    }
}

struct Delivery<'a> {
    engine: &'a Engine,
    bucket: &'a Arc<Bucket>,
    behind: &'a Arc<Behind>,
    origin_key: Key,
    intent: Arc<Intent>,
}

impl Delivery<'_> {
    async fn run(&mut self) -> Result<Ended, BucketError> {
        let mut permit = match self.admitted().await {
            Ok(permit) => permit,
            Err(ended) => return Ok(ended),
        };
        if let Err(ended) = self.abort_uploads().await {
            return Ok(ended);
        }
        let policy = self.behind.rule.settings.write_conflict;
        let mut look = ask_first(&self.intent);
        for _ in 0..LOOKS {
            let unguarded = self.behind.takes_no_conditions(self.engine.inner.clock.monotonic());
            let mut expected = self.intent.row.seen.clone();
            if look || unguarded {
                let there = match self.look().await {
                    Ok(there) => there,
                    Err(ended) => return Ok(ended),
                };
                expected = match judge(&self.intent, &there) {
                    Step::Delivered(seen) => return Ok(Ended::Delivered(seen)),
                    Step::Send(at) => at,
                    Step::Conflict(at) => match resolve(policy, at) {
                        Resolution::Dead(why) => return Ok(Ended::Conflict(why)),
                        Resolution::Yield => return Ok(Ended::Yield),
                        Resolution::Overwrite(at) => at,
                    },
                };
            }
            let guard = match &expected {
                _ if unguarded || planted(Mutant::WriteUnguarded) => WriteGuard::None,
                Seen::Never => WriteGuard::None,
                // There is nothing that a DELETE could take away.
                Seen::Absent if self.intent.object.is_none() => WriteGuard::None,
                Seen::Absent => WriteGuard::Absent,
                Seen::Object(etag) => WriteGuard::Match(etag.clone()),
            };
            if !self.begin(expected).await? {
                return Ok(Ended::Overtaken);
            }
            let guarded = guard != WriteGuard::None;
            let written = match self.send(guard).await? {
                Ok(written) => written,
                Err(ended) => return Ok(ended),
            };
            match read_answer(written, &self.intent, guarded) {
                Attempt::Delivered(seen) => {
                    permit.served();
                    if !guarded {
                        count(self.bucket, "unguarded");
                    }
                    return Ok(Ended::Delivered(seen));
                }
                Attempt::Changed => {}
                Attempt::NoConditions => {
                    self.behind.refused_conditions(self.engine.inner.clock.monotonic());
                }
                Attempt::Retry { reason, after, in_doubt } => {
                    return Ok(Ended::Retry { reason, after, in_doubt });
                }
                Attempt::Dead(reason) => return Ok(Ended::Dead(reason)),
            }
            look = true;
        }
        let reason = "it is changed at the origin again and again".to_owned();
        Ok(Ended::Retry { reason, after: None, in_doubt: false })
    }

    /// A place in front of the origin.
    async fn admitted(&self) -> Result<Permit, Ended> {
        let wait = self.engine.inner.options.queue_wait;
        self.behind.gate.admit(&Arc::from(CLIENT), wait).await.map_err(|error| match error {
            BucketError::SlowDown { retry_after, .. } => Ended::Held(retry_after),
            other => Ended::Dead(other.to_string()),
        })
    }

    /// Writes down that it may reach the origin from now on. `false`: the intent is another by now.
    async fn begin(&mut self, seen: Seen) -> Result<bool, BucketError> {
        let row = &self.intent.row;
        if row.sent && row.seen == seen && row.maybe.is_empty() {
            return Ok(true);
        }
        let row = IntentRow { seen, maybe: Vec::new(), sent: true, ..row.clone() };
        match self.engine.inner.store.note_intent(&self.intent, row).await? {
            Some(intent) => {
                self.intent = intent;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Ends the uploads that earlier attempts have begun and left there. One that cannot be ended for good is given up.
    async fn abort_uploads(&mut self) -> Result<(), Ended> {
        for upload in self.intent.row.uploads.clone() {
            let aborted = self.step(Write::AbortUpload { upload: upload.clone() }, WriteGuard::None, None);
            match aborted.await? {
                Written::Busy { retry_after } => {
                    let reason = "the origin is busy".to_owned();
                    return Err(Ended::Retry { reason, after: retry_after, in_doubt: false });
                }
                Written::Failing { reason } => return Err(retry(reason)),
                Written::Refused { reason } => {
                    tracing::warn!(reason, "an upload is left over at the origin");
                    self.ended(&upload);
                }
                Written::Done { .. }
                | Written::Absent
                | Written::NoSuchUpload
                | Written::Changed
                | Written::Contended
                | Written::NotOffered => self.ended(&upload),
            }
        }
        Ok(())
    }

    /// An upload is no more. Its row says so with the next thing that is written down in it.
    fn ended(&mut self, upload: &str) {
        let mut row = self.intent.row.clone();
        row.uploads.retain(|left| left != upload);
        self.intent = Arc::new(Intent { row, ..(*self.intent).clone() });
    }

    /// Writes down that an upload was begun, so that it is ended whatever becomes of this attempt. `false`: the intent is
    /// another by now.
    async fn begun(&mut self, upload: &str) -> Result<bool, StoreError> {
        let mut row = self.intent.row.clone();
        row.uploads.push(upload.to_owned());
        if planted(Mutant::UploadsLeftThere) {
            return Ok(true);
        }
        match self.engine.inner.store.note_intent(&self.intent, row).await? {
            Some(intent) => {
                self.intent = intent;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Asks what the origin has.
    async fn look(&self) -> Result<There, Ended> {
        let gate = &self.behind.gate;
        let said = match self.asked(Method::Head).await? {
            // A provider's HEAD does not tell a missing key from a missing bucket; the first byte does, as for readers.
            Outcome::AbsentUnproven { forbidden, .. }
                if (forbidden || !gate.members.bucket_was_seen(FIRST))
                    && !planted(Mutant::UnprovenIsConflict) =>
            {
                self.asked(Method::Get).await?
            }
            said => said,
        };
        match said {
            Outcome::Found(found) => Ok(There::object(&found)),
            Outcome::Absent { .. } => Ok(There::Nothing { proven: true }),
            Outcome::AbsentUnproven { forbidden, .. } => {
                Ok(There::Nothing { proven: !forbidden && gate.members.bucket_was_seen(FIRST) })
            }
            Outcome::Busy { retry_after } => {
                let reason = "the origin is busy".to_owned();
                Err(Ended::Retry { reason, after: retry_after, in_doubt: false })
            }
            Outcome::Failing { status } => Err(retry(format!("the origin answered {status}"))),
            // An empty object came since HEAD was asked.
            Outcome::RangeNotSatisfiable { .. } => {
                Err(retry("it is changed at the origin just now".to_owned()))
            }
            other => Err(Ended::Dead(crate::ask::refusal(other, gate, &Arc::from(CLIENT)).to_string())),
        }
    }

    /// What the origin says to a HEAD, or to a GET of the first byte.
    async fn asked(&self, method: Method) -> Result<Outcome, Ended> {
        let mut request = Request::get(self.origin_key.clone(), self.engine.inner.options.client_wait);
        if method == Method::Get {
            request.range = Some(RangeSpec::FromTo { first: 0, last: 0 });
        }
        request.method = method;
        request.hops = self.intent.row.hops;
        match ask(self.engine, self.behind, request, Whom::First).await {
            Ok(said) => Ok(said.outcome),
            Err(Unanswered::Resting(left)) => Err(Ended::Held(left)),
            Err(Unanswered::Final(BucketError::OriginFailing { retry_after, .. })) => {
                Err(Ended::Held(retry_after))
            }
            Err(Unanswered::Transient(error)) => Err(retry(error.to_string())),
            Err(Unanswered::Final(error)) => Err(Ended::Dead(error.to_string())),
        }
    }

    /// Sends what the intent says.
    async fn send(&mut self, guard: WriteGuard) -> Result<Result<Written, Ended>, BucketError> {
        let Some(stored) = self.intent.object.clone() else {
            return Ok(self.step(Write::Delete, guard, None).await);
        };
        let sent = match sizes(&stored.info) {
            None => self.send_whole(&stored, guard).await,
            Some(sizes) => self.send_parts(&stored, sizes, guard).await,
        };
        match sent {
            Ok(sent) => Ok(Ok(sent)),
            Err(Unsent::Ended(ended)) => Ok(Err(ended)),
            Err(Unsent::Store(StoreError::Superseded)) => {
                // Its bytes went with the object that they were of.
                let now = self.engine.inner.store.intent(self.intent.bucket, &self.intent.key).await?;
                let same = now.is_some_and(|now| now.version == self.intent.version);
                let gone = Ended::Dead("its bytes are not here any more".to_owned());
                Ok(Err(if same { gone } else { Ended::Overtaken }))
            }
            Err(Unsent::Store(error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. }))) => {
                Ok(Err(Ended::Dead(format!("its bytes here are damaged: {error}"))))
            }
            Err(Unsent::Store(error)) => Err(error.into()),
        }
    }

    async fn send_whole(&self, stored: &Stored, guard: WriteGuard) -> Result<Written, Unsent> {
        let info = &stored.info;
        let whole = ByteRange::whole(info.size_bytes);
        let (body, broken) = self.open(stored, whole).await?;
        // Where its MD5 goes along, the default one is left out: not every provider knows CRC-64/NVME.
        let needed = |sum: &Checksum| sum.algorithm != DEFAULT_CHECKSUM || info.md5.is_none();
        let full = |sum: &&Checksum| sum.kind == ChecksumKind::FullObject && needed(sum);
        let checksum = info.checksums.iter().find(full).filter(|_| guard != WriteGuard::None).cloned();
        let object = Box::new(ObjectHeaders { checksum, ..headers(info) });
        let body = SentBody { body, size_bytes: info.size_bytes, md5: info.md5 };
        Ok(self.step(Write::Put { object, body }, guard, Some(&broken)).await?)
    }

    /// In the parts that its client sent, so that both sides have the same ETag.
    async fn send_parts(
        &mut self,
        stored: &Stored,
        sizes: Vec<u64>,
        guard: WriteGuard,
    ) -> Result<Written, Unsent> {
        let object = Box::new(headers(&stored.info));
        let begun = self.step(Write::CreateUpload { object }, WriteGuard::None, None).await?;
        let upload = match begun {
            Written::Done { upload: Some(upload), .. } => upload,
            Written::Done { .. } => {
                return Err(retry("the origin has named no upload".to_owned()).into());
            }
            refused => return Ok(refused),
        };
        let sent = match self.begun(&upload).await {
            Ok(true) => self.send_into(stored, &sizes, &upload, guard).await,
            Ok(false) => Err(Unsent::Ended(Ended::Overtaken)),
            Err(error) => Err(error.into()),
        };
        if matches!(sent, Ok(Written::Done { .. })) {
            return sent;
        }
        // After an answer that did not come it may have been completed: what is to be taken away is no object then.
        match self.step(Write::AbortUpload { upload: upload.clone() }, WriteGuard::None, None).await {
            Ok(Written::Busy { .. } | Written::Failing { .. }) | Err(_) => {
                tracing::debug!("an upload is left over at the origin until the next attempt");
            }
            Ok(_) => self.ended(&upload),
        }
        sent
    }

    async fn send_into(
        &mut self,
        stored: &Stored,
        sizes: &[u64],
        upload: &str,
        guard: WriteGuard,
    ) -> Result<Written, Unsent> {
        let mut parts = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for (number, size_bytes) in (1..).zip(sizes.iter().copied()) {
            let range = ByteRange { start, end: start + size_bytes };
            start = range.end;
            let (body, broken) = self.open(stored, range).await?;
            let body = SentBody { body, size_bytes, md5: None };
            let part = Write::UploadPart { upload: upload.to_owned(), number, body };
            match self.step(part, WriteGuard::None, Some(&broken)).await? {
                Written::Done { etag: Some(etag), .. } => parts.push((number, etag)),
                Written::Done { etag: None, .. } => {
                    return Err(retry("the origin has not said what a part is".to_owned()).into());
                }
                refused => return Ok(refused),
            }
        }
        // The parts took their time, and some providers honour conditions of a PUT and pass over those of a completion.
        // What somebody changed before this moment is seen by asking; for what comes between there is the condition.
        if guard != WriteGuard::None && !planted(Mutant::CompletesUnseen) && !self.look().await?.keeps(&guard)
        {
            return Ok(Written::Changed);
        }
        if !self.will_be_called(stored, &parts).await? {
            return Err(Unsent::Ended(Ended::Overtaken));
        }
        let complete = Write::CompleteUpload { upload: upload.to_owned(), parts };
        Ok(self.step(complete, guard, None).await?)
    }

    /// Writes down what the origin will call an object of these parts, if that is not what it is called here: where the
    /// answer is lost, nothing else tells that it is ours. `false`: the intent is another by now.
    async fn will_be_called(&mut self, stored: &Stored, parts: &[(u32, ETag)]) -> Result<bool, StoreError> {
        let sums: Option<Vec<[u8; 16]>> = parts.iter().map(|(_, etag)| etag.as_md5()).collect();
        let called = sums.map(|sums| multipart_etag(sums.iter()));
        let row = &self.intent.row;
        if called.is_none() || called == stored.info.etag || called == row.called {
            return Ok(true);
        }
        let row = IntentRow { called, ..row.clone() };
        match self.engine.inner.store.note_intent(&self.intent, row).await? {
            Some(intent) => {
                self.intent = intent;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A range of the object as it is sent, and whether it broke here.
    async fn open(&self, stored: &Stored, range: ByteRange) -> Result<(Body, Arc<AtomicBool>), StoreError> {
        let store = &self.engine.inner.store;
        let broken = Arc::new(AtomicBool::new(false));
        let body = match store.open_body(stored, range).await? {
            Body::Bytes(bytes) => Body::Bytes(bytes),
            body @ (Body::File(_) | Body::Stream(_)) => {
                let note = broken.clone();
                let pieces = store.pieces(body).inspect(move |piece| {
                    if piece.is_err() {
                        note.store(true, Ordering::Relaxed);
                    }
                });
                Body::Stream(Box::pin(pieces) as ByteStream)
            }
        };
        Ok((body, broken))
    }

    /// One request, through the breaker, counted and read.
    async fn step(
        &self,
        write: Write,
        guard: WriteGuard,
        broken: Option<&AtomicBool>,
    ) -> Result<Written, Ended> {
        let inner = &self.engine.inner;
        let subject = Subject::Object(self.origin_key.clone());
        let passage = self.behind.gate.members.pass(subject, Whom::First, &Tried::default());
        let passage = passage.map_err(|not_sent| {
            Ended::Held(match not_sent {
                NotSent::Resting(left) | NotSent::Open(left) => left.max(crate::get::SOON),
            })
        })?;
        let guarded = guard != WriteGuard::None;
        let request = WriteRequest {
            key: self.origin_key.clone(),
            write,
            guard,
            stall: inner.options.client_wait,
            hops: self.intent.row.hops,
            request_id: format!("write-through-{}", self.intent.revision().0),
        };
        let answer = match self.behind.shadows[passage.member].write(request).await {
            Ok(answer) => answer,
            Err(error) if broken.is_some_and(|broken| broken.load(Ordering::Relaxed)) => {
                tracing::error!(%error, "an object could not be read to be sent to its origin");
                return Err(Ended::Dead("its bytes here are damaged".to_owned()));
            }
            Err(
                error @ (ShadowError::Unreachable { .. }
                | ShadowError::Timeout
                | ShadowError::Malformed { .. }),
            ) => {
                passage.failed(None);
                return Err(Ended::Retry { reason: error.to_string(), after: None, in_doubt: true });
            }
            Err(error) => return Err(Ended::Dead(error.to_string())),
        };
        let written = Written::of(answer, guarded, inner.clock.now()).await;
        match &written {
            Written::Busy { retry_after } => passage.failed(*retry_after),
            Written::Failing { .. } => passage.failed(None),
            Written::Done { .. }
            | Written::Absent
            | Written::NoSuchUpload
            | Written::Changed
            | Written::Contended
            | Written::NotOffered
            | Written::Refused { .. } => drop(passage.succeeded()),
        }
        Ok(written)
    }
}

/// Why nothing was sent, or how it ended.
enum Unsent {
    Ended(Ended),
    Store(StoreError),
}

impl From<Ended> for Unsent {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<StoreError> for Unsent {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn retry(reason: String) -> Ended {
    Ended::Retry { reason, after: None, in_doubt: false }
}

/// What the origin is told of an object. ACLs and owners stay here: they speak of accounts that only we have.
fn headers(info: &ObjectInfo) -> ObjectHeaders {
    ObjectHeaders {
        meta: info.meta.clone(),
        tags: info.tags.clone(),
        website_redirect: info.website_redirect.clone(),
        checksum: None,
    }
}

/// The parts that an object has to be sent in; `None`: it is sent whole.
fn sizes(info: &ObjectInfo) -> Option<Vec<u64>> {
    if !info.part_sizes.is_empty() && !planted(Mutant::PartsSentWhole) {
        return Some(info.part_sizes.clone());
    }
    let size = info.size_bytes;
    (size > PUT_BYTES_MAX).then(|| {
        let part = PART_BYTES.max(size.div_ceil(10_000));
        (0..size.div_ceil(part)).map(|n| part.min(size - n * part)).collect()
    })
}

/// Counts what became of a change.
pub(crate) fn count(bucket: &Bucket, outcome: &'static str) {
    metrics::counter!("fallthrough_shadow_writes_total",
        "bucket" => bucket.name.to_string(), "outcome" => outcome)
    .increment(1);
}

//! Changes with conditions: If-Match and If-None-Match on PUT, COPY, CompleteMultipartUpload and DELETE, also on keys
//! that only the shadow can judge (`docs/semantics.md`, "Writes and deletes").
//!
//! No lock is held while the shadow is asked: its answer holds for the revision and the gate that were seen before, and
//! the commit decides anew if either has moved. Atomic among this bucket's clients; who writes to the shadow
//! directly can still race.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fallthrough_object::{Key, Monotonic};
use fallthrough_store::{Bucket, BucketMode, Entry, EntryState, ObjectInfo, Revision};
use fallthrough_wire::conditions::{Current, WriteConditions, WriteVerdict};

use crate::api::{Admission, BucketError, Caller, GetRequest};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::Read;
use crate::head::Headed;
use crate::ledger::{Change, Committed};

/// How often the shadow is asked for one change before it is given up as a conflict.
const TRIES: u32 = 3;
/// How long what the shadow said before the body came is believed at the commit.
const JUDGED_FOR: Duration = Duration::from_secs(5);

/// A change of one key under conditions.
pub(crate) struct Guard<'a> {
    engine: &'a Engine,
    bucket: &'a Arc<Bucket>,
    caller: Caller,
    key: &'a Key,
    conditions: WriteConditions,
}

/// What the shadow said, and of when.
#[derive(Debug)]
pub(crate) struct Said {
    /// The row that the answer goes with.
    revision: Revision,
    gate_version: u64,
    at: Monotonic,
    /// `None`: it does not have the object.
    object: Option<Arc<ObjectInfo>>,
}

/// What is to be done about the conditions with what is known.
enum Judged {
    /// They hold.
    Holds,
    /// Only the shadow can say, and what it said is not of this row.
    AskAnew,
}

/// The mark of a decision that has to be made with another answer of the shadow.
const ASK_ANEW: &str = "a condition judged on another revision";

impl<'a> Guard<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        bucket: &'a Arc<Bucket>,
        caller: &Caller,
        key: &'a Key,
        conditions: WriteConditions,
    ) -> Self {
        // To judge a write the shadow is asked for whoever may write.
        let caller = Caller { may_fill: true, ..caller.clone() };
        Self { engine, bucket, caller, key, conditions }
    }

    pub(crate) fn bucket(&self) -> &'a Bucket {
        self.bucket
    }

    pub(crate) fn key(&self) -> &'a Key {
        self.key
    }

    /// Judges the conditions on what is there now; what the shadow said, if it was asked.
    ///
    /// # Errors
    /// [`BucketError::PreconditionFailed`], [`BucketError::NoSuchKey`] (If-Match on what does not exist); what asking
    /// the shadow brings: never taken for an absence.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn judge_now(&self) -> Result<Option<Said>, BucketError> {
        if self.conditions.is_empty() {
            return Ok(None);
        }
        let mut said = None;
        for _ in 0..TRIES {
            let row = self.engine.inner.store.lookup(self.bucket.id, self.key).await?;
            match self.judge(self.bucket, row.as_deref(), said.as_ref())? {
                Judged::Holds => return Ok(said),
                Judged::AskAnew => said = self.ask(self.bucket, row).await?,
            }
        }
        Err(BucketError::Conflict)
    }

    /// Commits what `decide` says, if the conditions hold in that moment.
    ///
    /// # Errors
    /// As [`Guard::judge_now`] and [`Engine::change`]; [`BucketError::Conflict`] if others were faster each time.
    ///
    /// # Cancellation
    /// As [`Engine::change`].
    pub(crate) async fn change(
        &self,
        early: Option<Said>,
        mut decide: impl FnMut(&Bucket, Option<&Entry>) -> Result<Change, BucketError>,
    ) -> Result<Committed, BucketError> {
        let now = self.engine.inner.clock.monotonic();
        let mut said = early.filter(|said| now.since(said.at) <= JUDGED_FOR);
        for _ in 0..=TRIES {
            let changed = self
                .engine
                .change(self.bucket, self.key, self.caller.hops, |bucket, row| {
                    match self.judge(bucket, row, said.as_ref())? {
                        Judged::Holds => decide(bucket, row),
                        Judged::AskAnew => Err(BucketError::NotOffered { what: ASK_ANEW }),
                    }
                })
                .await;
            match changed {
                Err(BucketError::NotOffered { what: ASK_ANEW }) => {
                    let bucket = self.engine.bucket(&self.bucket.name).await?;
                    if bucket.id != self.bucket.id {
                        return Err(BucketError::NoSuchBucket(bucket.name.clone()));
                    }
                    let row = self.engine.inner.store.lookup(bucket.id, self.key).await?;
                    said = self.ask(&bucket, row).await?;
                }
                ended => return ended,
            }
        }
        Err(BucketError::Conflict)
    }

    fn judge(
        &self,
        bucket: &Bucket,
        row: Option<&Entry>,
        said: Option<&Said>,
    ) -> Result<Judged, BucketError> {
        if self.conditions.is_empty() {
            return Ok(Judged::Holds);
        }
        let here = match row.map(|entry| &entry.state) {
            Some(_) if said.is_some() && planted(Mutant::JudgedOnAnotherRevision) => {
                said.and_then(|said| said.object.as_ref())
            }
            Some(EntryState::Written(stored) | EntryState::Filled(stored, _)) => Some(&stored.info),
            Some(EntryState::Tombstone) => None,
            Some(EntryState::Known(..) | EntryState::Absent { .. }) | None => {
                match (self.is_the_shadows(bucket)?, said) {
                    (false, _) => None,
                    (true, Some(said))
                        if said.revision == row.map_or(Revision(0), |row| row.revision)
                            && said.gate_version == bucket.gate_version =>
                    {
                        said.object.as_ref()
                    }
                    (true, _) => return Ok(Judged::AskAnew),
                }
            }
        };
        let current = here.map(|info| Current {
            etag: info.etag.as_ref(),
            last_modified: info.last_modified,
            size_bytes: info.size_bytes,
        });
        match self.conditions.evaluate(current) {
            WriteVerdict::Proceed => Ok(Judged::Holds),
            WriteVerdict::PreconditionFailed => Err(BucketError::PreconditionFailed),
            WriteVerdict::NoSuchKey => Err(BucketError::NoSuchKey),
        }
    }

    /// Whether a key that is not here is the shadow's to judge. Compute buckets judge on what is stored here.
    fn is_the_shadows(&self, bucket: &Bucket) -> Result<bool, BucketError> {
        match bucket.settings.mode {
            _ if planted(Mutant::ColdJudgedHere) => return Ok(false),
            BucketMode::Plain | BucketMode::Compute => return Ok(false),
            BucketMode::Migrate | BucketMode::Cache => {}
        }
        Ok(self.engine.cold(bucket, self.key)?.is_some())
    }

    /// Asks the shadow. `None`: what it has is here now, or the row has changed; look again.
    async fn ask(&self, bucket: &Arc<Bucket>, row: Option<Arc<Entry>>) -> Result<Option<Said>, BucketError> {
        let Some(cold) = self.engine.cold(bucket, self.key)? else { return Ok(None) };
        let request = GetRequest { head: true, ..GetRequest::of(self.key.clone()) };
        let revision = row.as_ref().map_or(Revision(0), |row| row.revision);
        let at = self.engine.inner.clock.monotonic();
        let read = Read {
            engine: self.engine,
            bucket,
            caller: &self.caller,
            request: &request,
            entry: row,
            own_trace: OnceLock::new(),
            parts: OnceLock::new(),
            admission: Admission::ALL,
            by_inventory: false,
        };
        let (headed, _) = read.ask_head(&cold).await;
        let object = match headed {
            Ok(Headed::Object(info)) => Some(info),
            Err(BucketError::NoSuchKey) => None,
            Err(_) if planted(Mutant::UnaskedIsAbsent) => None,
            Ok(Headed::Overtaken) => return Ok(None),
            // It has no HEAD: what it has is fetched, and judged here.
            Ok(Headed::OnlyFillTells) => {
                match self.engine.have_here(bucket, &self.caller, self.key, Admission::ALL).await {
                    Ok(_) => return Ok(None),
                    Err(BucketError::NoSuchKey) => None,
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Said { revision, gate_version: bucket.gate_version, at, object }))
    }
}

//! Which changes of a key its origin is told of, and the changes that the origin must have first.

use std::sync::Arc;

use fallthrough_object::{ByteRange, Key};
use fallthrough_store::{
    Bucket, CommitError, CopyOf, Entry, Erased, Intent, Lane, NewState, ObjectInfo, Prepared, Sealed, Seen,
    ShadowRule, StoreError, WriteThrough,
};

use crate::api::BucketError;
use crate::core::commit::{ChangeRefused, Ledger, MAX_CONFLICTS, TableLock as _, commit_change};
use crate::core::fills::Slot;
use crate::core::mutants::{Mutant, planted};
use crate::core::outgoing::{next_intent, seen_of};
use crate::deliver::Ended;
use crate::engine::Engine;
use crate::ledger::{Change, Committed, Found, Order};

/// What of a key's changes goes through to its origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    write: WriteThrough,
    delete: bool,
}

/// How a change that the origin must have first ended, short of an error.
enum Synced {
    Done(Committed),
    /// It is none: nothing was done.
    NotSuch,
    /// The bucket has changed: read it again.
    Gate,
}

/// Who changes a key that is not to be changed meanwhile is told so.
const IN_THE_WAY: &str = "a change of a key that another one is being sent of";

impl Engine {
    /// What of this key's changes goes through; `None`: nothing.
    ///
    /// # Errors
    /// [`BucketError::ShadowMisconfigured`].
    pub(crate) fn way(&self, bucket: &Bucket, key: &Key) -> Result<Option<Way>, BucketError> {
        if !bucket.settings.shadow.iter().any(ShadowRule::goes_through) {
            return Ok(None);
        }
        let cold = self.cold(bucket, key)?;
        let rule = cold.as_ref().map(|cold| &cold.behind.rule.settings).filter(|rule| rule.goes_through());
        Ok(rule.map(|rule| Way { write: rule.write_through, delete: rule.delete_through }))
    }

    /// Whether what waits for origins leaves room for a change of this key.
    ///
    /// # Errors
    /// [`BucketError::OutboxFull`]; as [`Engine::way`].
    pub(crate) fn outbox_takes(&self, bucket: &Bucket, key: &Key) -> Result<(), BucketError> {
        if self.way(bucket, key)?.is_none() {
            return Ok(());
        }
        let taken = self.inner.store.outbox_takes(bucket.id, key);
        taken.map_err(|full| BucketError::OutboxFull { rows: full.rows, bytes: full.bytes })
    }

    /// Commits a change of a key, deciding anew on what is there as often as somebody else was faster, also
    /// if the bucket's shadow was replaced meanwhile. Where the rule says so, the origin has it first, or is told of it
    /// afterwards: what is to be told is in the same commit. `hops`: how many fall-through stores the change has passed.
    ///
    /// # Errors
    /// What `decide` says; [`BucketError::NoSuchBucket`] if the bucket is gone; [`BucketError::OutboxFull`]; what the
    /// origin says, if it must have it first: nothing has changed here then; the store's.
    pub(crate) async fn change(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        hops: u32,
        mut decide: impl FnMut(&Bucket, Option<&Entry>) -> Result<Change, BucketError>,
    ) -> Result<Committed, BucketError> {
        let inner = &self.inner;
        let slot = Self::slot(bucket, key);
        let mut bucket = bucket.clone();
        // What a HEAD on its way will say is of the time before this change: nobody joins it from now on, and it
        // notes nothing.
        inner.heads.with(|heads| heads.supersede(&slot));
        for _ in 0..MAX_CONFLICTS {
            self.outbox_takes(&bucket, key)?;
            let way = self.way(&bucket, key)?;
            let first =
                way.is_some_and(|way| way.write == WriteThrough::Sync || planted(Mutant::NoticeDecides));
            let mut lane = None;
            if first || self.is_prepared(&bucket, key).await? {
                lane = Some(self.lane(&slot).await);
                self.settle_prepared(&bucket, key).await?;
            }
            if first && !planted(Mutant::SyncAnswersEarly) {
                match self.change_first(&bucket, &slot, hops, &mut decide).await? {
                    Synced::Done(committed) => return Ok(committed),
                    Synced::NotSuch => {}
                    Synced::Gate => {
                        bucket = self.bucket_again(&bucket).await?;
                        continue;
                    }
                }
            }
            let decided = commit_change(&inner.store, &inner.fills, bucket.as_ref(), &slot, |found| {
                let change = decide(&bucket, found.entry.as_deref())?;
                self.order(&bucket, way, found, change, hops)
            })
            .await;
            drop(lane);
            match decided {
                Ok(committed) => return Ok(committed),
                Err(ChangeRefused::Decided(BucketError::NotOffered { what: IN_THE_WAY })) => {}
                Err(ChangeRefused::Decided(error)) => return Err(error),
                Err(ChangeRefused::Failed(error)) => return Err(error.into()),
                Err(ChangeRefused::Conflict) => return Err(BucketError::Conflict),
                Err(ChangeRefused::Gate) => bucket = self.bucket_again(&bucket).await?,
            }
        }
        Err(BucketError::Conflict)
    }

    /// The bucket as it is now, after its gate let something not through.
    async fn bucket_again(&self, bucket: &Bucket) -> Result<Arc<Bucket>, BucketError> {
        let now = self.bucket(&bucket.name).await?;
        if now.id != bucket.id {
            // Another bucket of the same name: this request was for the old one.
            return Err(BucketError::NoSuchBucket(bucket.name.clone()));
        }
        if now.gate_version == bucket.gate_version {
            // It is being deleted at this moment.
            return Err(BucketError::Conflict);
        }
        Ok(now)
    }

    /// What becomes of the key's intent with a change.
    fn order(
        &self,
        bucket: &Bucket,
        way: Option<Way>,
        found: &Found,
        change: Change,
        hops: u32,
    ) -> Result<Order, BucketError> {
        if found.intent.as_ref().is_some_and(|intent| intent.row.prepared) {
            return Err(BucketError::NotOffered { what: IN_THE_WAY });
        }
        let entry = found.entry.as_deref();
        let goes = match (&change, way) {
            (_, None) | (Change::Observe(_) | Change::Land(..), _) => false,
            (Change::Amend(info), Some(way)) => {
                let untold = found.intent.is_none()
                    && entry.is_some_and(|entry| is_told(entry, info, bucket.gate_version));
                way.write != WriteThrough::Off && !untold
            }
            (Change::Publish(..) | Change::Copy(..) | Change::Join(..), Some(way)) => {
                way.write != WriteThrough::Off
            }
            (Change::Erase(Erased::Tombstone), Some(way)) => way.delete,
            (Change::Erase(Erased::Unknown), Some(_)) => false,
        };
        let lane = match (goes, &found.intent) {
            (true, waiting) => {
                let seen = seen_of(entry, bucket.gate_version);
                let row = next_intent(waiting.as_deref(), seen, hops, self.inner.clock.now());
                Lane::Send { found: waiting.clone(), row: Box::new(row) }
            }
            (false, Some(waiting)) => Lane::Withdraw(waiting.clone()),
            (false, None) => Lane::Quiet,
        };
        Ok(Order { change, lane })
    }

    async fn is_prepared(&self, bucket: &Bucket, key: &Key) -> Result<bool, BucketError> {
        if !self.inner.store.has_intents(bucket.id) {
            return Ok(false);
        }
        let intent = self.inner.store.intent(bucket.id, key).await?;
        Ok(intent.is_some_and(|intent| intent.row.prepared))
    }

    /// Ends what was prepared for a key and left in doubt. The caller has the key's lane.
    ///
    /// # Errors
    /// The origin's: it could not be asked, and the key cannot be changed.
    async fn settle_prepared(&self, bucket: &Arc<Bucket>, key: &Key) -> Result<(), BucketError> {
        if !self.inner.store.has_intents(bucket.id) {
            return Ok(());
        }
        let intent = self.inner.store.intent(bucket.id, key).await?;
        let Some(intent) = intent.filter(|intent| intent.row.prepared) else { return Ok(()) };
        let ended = self.deliver(bucket, intent).await?;
        ended.into_result()
    }

    /// A change that the origin must have first. The caller has the key's lane.
    async fn change_first(
        &self,
        bucket: &Arc<Bucket>,
        slot: &Slot,
        hops: u32,
        decide: &mut impl FnMut(&Bucket, Option<&Entry>) -> Result<Change, BucketError>,
    ) -> Result<Synced, BucketError> {
        let (store, key) = (&self.inner.store, &slot.key);
        let Some(cold) = self.cold(bucket, key)? else { return Ok(Synced::NotSuch) };
        for _ in 0..MAX_CONFLICTS {
            let found = Ledger::lookup(store, bucket, key).await?;
            if let Some(waiting) = found.intent {
                // In the order in which they came.
                if waiting.row.dead {
                    return Err(undelivered(&waiting));
                }
                self.deliver(bucket, waiting).await?.into_result()?;
                continue;
            }
            let entry = found.entry.as_deref();
            let change = decide(bucket, entry)?;
            let mut made_of = None;
            let copied;
            let what = match &change {
                Change::Publish(NewState::Written(info), body) => Prepared::Body(info.clone(), body.clone()),
                Change::Copy(info, of) => {
                    copied = of.clone();
                    let of = CopyOf { bucket: copied.bucket, key: &copied.key, entry: &copied.entry };
                    Prepared::Copy((**info).clone(), of)
                }
                Change::Join(info, upload, parts) => {
                    made_of = Some((upload.clone(), parts.clone()));
                    Prepared::Parts((**info).clone(), upload, parts)
                }
                Change::Amend(info) => match entry {
                    Some(entry) if !is_told(entry, info, bucket.gate_version) => {
                        match self.amended(entry, info, slot).await? {
                            Some(what) => what,
                            None => continue,
                        }
                    }
                    Some(_) | None => return Ok(Synced::NotSuch),
                },
                Change::Publish(NewState::Filled(..), _)
                | Change::Erase(_)
                | Change::Observe(_)
                | Change::Land(..) => return Ok(Synced::NotSuch),
            };
            let seen = seen_of(entry, bucket.gate_version);
            let row = next_intent(None, seen, hops, self.inner.clock.now());
            // From before there is one: whoever calls may be gone before its commit has ended.
            let _attended = store.attend_intent(bucket.id, key);
            let intent = match store.prepare(bucket, key, entry, row, what).await {
                Ok(intent) => intent,
                Err(CommitError::Conflict) => continue,
                Err(CommitError::Gate) => return Ok(Synced::Gate),
                Err(CommitError::Store(error)) => return Err(error.into()),
            };
            let (ended, intent_now) = self.attempt(bucket, &cold, intent.clone()).await?;
            match ended {
                Ended::Delivered(seen) => {
                    let landed = self.land(bucket, slot, &intent_now, seen, made_of).await?;
                    return Ok(landed.map_or(Synced::Gate, |entry| Synced::Done(Some(entry))));
                }
                // It may have reached the origin, or may still: whoever comes by next asks.
                ended @ Ended::Retry { in_doubt: true, .. } => {
                    ended.into_result()?;
                    return Err(BucketError::Conflict);
                }
                ended => {
                    // With an upload left at the origin the intent stays, until whoever comes by next has ended that.
                    if intent_now.row.uploads.is_empty() {
                        store.withdraw_intent(&intent_now).await?;
                    }
                    ended.into_result()?;
                    return Err(BucketError::PreconditionFailed);
                }
            }
        }
        Err(BucketError::Conflict)
    }

    /// An object whose bytes stay, as what is to be prepared. `None`: it is not what it was; look again.
    async fn amended<'a>(
        &self,
        entry: &'a Entry,
        info: &ObjectInfo,
        slot: &'a Slot,
    ) -> Result<Option<Prepared<'a>>, BucketError> {
        let Some(stored) = entry.state.stored() else { return Ok(None) };
        if !matches!(stored.blob, fallthrough_store::BlobRef::Row(_)) {
            let of = CopyOf { bucket: slot.bucket, key: &slot.key, entry };
            return Ok(Some(Prepared::Copy(info.clone(), of)));
        }
        // A small body has one reference.
        match self.sealed_again(stored).await {
            Ok(body) => Ok(Some(Prepared::Body(info.clone(), body))),
            Err(BucketError::Unavailable(error)) if matches!(*error, StoreError::Superseded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn sealed_again(&self, stored: &fallthrough_store::Stored) -> Result<Sealed, BucketError> {
        let size = stored.info.size_bytes;
        let body = self.inner.store.open_body(stored, ByteRange::whole(size)).await?;
        let mut staging = self.inner.store.stage(Some(size))?;
        crate::put::receive(&self.inner.store, &mut staging, body, Some(size)).await?;
        Ok(staging.seal().await?)
    }

    /// Makes what was prepared the object, now that the origin has it. `None`: the bucket's gate has moved.
    pub(crate) async fn land(
        &self,
        bucket: &Arc<Bucket>,
        slot: &Slot,
        intent: &Arc<Intent>,
        seen: Seen,
        made_of: Option<(Arc<fallthrough_store::Upload>, Arc<fallthrough_store::UploadedParts>)>,
    ) -> Result<Option<Arc<Entry>>, BucketError> {
        let mut made_of = made_of;
        loop {
            let change = Change::Land(intent.clone(), seen.clone(), made_of.clone());
            let landed = commit_change(
                &self.inner.store,
                &self.inner.fills,
                bucket.as_ref(),
                slot,
                |found: &Found| match &found.intent {
                    Some(now) if now.version == intent.version => Ok(Order::from(change.clone())),
                    Some(_) | None => Err(BucketError::Conflict),
                },
            );
            return match landed.await {
                Ok(Some(entry)) => Ok(Some(entry)),
                Ok(None) | Err(ChangeRefused::Conflict) => Err(BucketError::Conflict),
                Err(ChangeRefused::Decided(error)) => Err(error),
                Err(ChangeRefused::Gate) => Ok(None),
                // A part came meanwhile: the upload stays, and is swept or ended by its client.
                Err(ChangeRefused::Failed(StoreError::Superseded)) if made_of.take().is_some() => continue,
                Err(ChangeRefused::Failed(error)) => Err(error.into()),
            };
        }
    }
}

/// Whether the origin is told all of an object with what it has already.
fn is_told(entry: &Entry, info: &ObjectInfo, gate_version: u64) -> bool {
    let same = |stored: &ObjectInfo| {
        stored.meta == info.meta
            && stored.tags == info.tags
            // Those that it has there are to go, or stay.
            && stored.tags_behind == info.tags_behind
            && stored.website_redirect == info.website_redirect
            && stored.etag == info.etag
    };
    // What came from there, or was delivered there: to the shadow that there is.
    let known = seen_of(Some(entry), gate_version) != Seen::Never;
    known && entry.state.stored().is_some_and(|stored| same(&stored.info))
}

/// Why a key takes nothing that must be in order.
fn undelivered(waiting: &Intent) -> BucketError {
    BucketError::ShadowMisconfigured {
        mend: format!(
            "an earlier change of this key could not be delivered ({}): have it tried again, or drop it",
            waiting.row.failure.as_deref().unwrap_or("no reason is known")
        ),
    }
}

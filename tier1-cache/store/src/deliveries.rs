//! The commits to the outbox that do not change the key: an intent is tried, put off, given up, done; and those of a
//! change that the origin must have first.

use std::future::Future;
use std::sync::Arc;

use fallthrough_object::Key;

use crate::blob::BlobRef;
use crate::bucket_row::{Bucket, BucketId};
use crate::entry::{Entry, EntryState, ObjectInfo, Stored};
use crate::error::{CommitError, StoreError};
use crate::intent::{self, Intent, IntentRow, Seen};
use crate::inventory::withdrawal;
use crate::kv::{Commit, Committed, Refused, Write};
use crate::lane::Lane;
use crate::objects::{Change, CopyOf, small_body};
use crate::outbox::Noted;
use crate::rows;
use crate::staging::{Sealed, SealedBody};
use crate::store::{Store, put, when};
use crate::uploads::{Part, Upload, UploadedParts};

/// What a key shall become once its origin has it.
#[derive(Clone, Debug)]
pub enum Prepared<'a> {
    /// These bytes.
    Body(ObjectInfo, Sealed),
    /// Those of another object, which must have files.
    Copy(ObjectInfo, CopyOf<'a>),
    /// The listed parts of an upload.
    Parts(ObjectInfo, &'a Upload, &'a UploadedParts),
}

impl Store {
    /// Writes down what is known of an intent, which must still be that one. `None`: it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not be written.
    pub async fn note_intent(
        &self,
        intent: &Intent,
        row: IntentRow,
    ) -> Result<Option<Arc<Intent>>, StoreError> {
        let at = rows::intent(intent.bucket, intent.key.as_str());
        let row = IntentRow { revision: Some(intent.revision()), ..row };
        let noted = Intent { row, ..intent.clone() };
        let commit = Commit {
            conditions: vec![when(at.clone(), Some(intent.version))],
            writes: vec![put(at.clone(), noted.encode())],
            ..Commit::default()
        };
        let end = self.in_outbox(at, commit, Some(Noted::of(&noted)), move |committed| {
            Arc::new(Intent { version: committed.version, ..noted })
        });
        end.await
    }

    /// Takes an intent away, if it is still that one; whether it was. Its key stays as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not be gone.
    pub async fn withdraw_intent(&self, intent: &Intent) -> Result<bool, StoreError> {
        let at = rows::intent(intent.bucket, intent.key.as_str());
        let mut commit = intent.ended();
        if intent.row.sent {
            // It may be at the shadow by our doing, and nothing here says so any more.
            commit.writes.push(withdrawal(intent.bucket));
        }
        Ok(self.in_outbox(at, commit, None, |_| ()).await?.is_some())
    }

    /// The origin has what the intent says: takes it away, and writes down at the key, if that still has this, what the
    /// origin was left with. `entry` is the key as it was looked up. `false`: the intent or the key is another by now.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not be done.
    pub async fn delivered(
        &self,
        intent: &Intent,
        entry: Option<&Entry>,
        seen: &Seen,
    ) -> Result<bool, StoreError> {
        let at = rows::intent(intent.bucket, intent.key.as_str());
        let mut commit = intent.ended();
        let entry = entry.filter(|entry| entry.revision == intent.revision());
        if let Some(entry) = entry {
            let row = rows::entry(intent.bucket, intent.key.as_str());
            commit.conditions.push(when(row.clone(), Some(entry.row_version)));
            let delivered = Some(seen).filter(|seen| **seen != Seen::Never);
            let value = crate::entry_code::encode_delivered(&entry.state, Some(entry.revision), delivered);
            commit.writes.push(put(row, value));
        }
        let left = entry.map(|entry| (entry.clone(), seen.clone()));
        let (effects, bucket, key) = (self.inner.clone(), intent.bucket, intent.key.clone());
        let end = self.in_outbox(at, commit, None, move |committed| {
            if let Some((entry, seen)) = left {
                let delivered = Some(seen).filter(|seen| *seen != Seen::Never);
                let entry = Arc::new(Entry { row_version: committed.version, delivered, ..entry });
                effects.hot.committed(bucket, &key, committed.version, Some(&entry));
            }
        });
        let done = end.await;
        if let (Err(StoreError::Unavailable(_)), Some(_)) = (&done, entry) {
            self.inner.hot.in_doubt(intent.bucket, &intent.key);
        }
        Ok(done?.is_some())
    }

    /// Writes down, durably, what a key shall become once its origin has it; the key stays as it is. There must be no
    /// intent for it. Whoever does this attends to it: see [`Store::attend_intent`].
    ///
    /// # Errors
    /// [`CommitError`]; [`StoreError::Superseded`]: what is copied is not what it was.
    ///
    /// # Cancellation
    /// It may or may not be written down.
    pub async fn prepare(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        row: IntentRow,
        what: Prepared<'_>,
    ) -> Result<Arc<Intent>, CommitError> {
        let inner = self.inner.clone();
        let at = rows::intent(bucket.id, key.as_str());
        let mut commit = Commit {
            conditions: vec![
                when(rows::gate(bucket.id), Some(bucket.gate_version)),
                when(rows::entry(bucket.id, key.as_str()), previous.map(|previous| previous.row_version)),
                when(at.clone(), None),
            ],
            ..Commit::default()
        };
        let mut given = None;
        let (info, blob) = match what {
            Prepared::Body(info, body) => {
                if !body.take() {
                    let used = StoreError::unavailable("this body belongs to another object already");
                    return Err(used.into());
                }
                let blob = match body.body() {
                    SealedBody::Memory(bytes) if bytes.is_empty() => BlobRef::Empty,
                    SealedBody::Memory(bytes) => {
                        let id = inner.new_blob();
                        commit.writes.push(small_body(id, bytes).0);
                        BlobRef::Row(id)
                    }
                    SealedBody::File(id) => BlobRef::File(*id),
                };
                given = Some(body);
                (info, blob)
            }
            Prepared::Copy(info, of) => {
                let source = rows::entry(of.bucket, of.key.as_str());
                commit.conditions.push(when(source, Some(of.entry.row_version)));
                (info, of.entry.state.stored().map_or(BlobRef::Empty, |stored| stored.blob.clone()))
            }
            Prepared::Parts(info, upload, parts) => {
                let row = rows::upload(bucket.id, key.as_str(), upload.id);
                commit.conditions.push(when(row, Some(upload.version)));
                for part in &parts.listed {
                    let row = rows::part(bucket.id, upload.id, part.number);
                    commit.conditions.push(when(row, Some(part.version)));
                }
                (info, BlobRef::of_parts(parts.listed.iter().filter_map(Part::blob).collect()))
            }
        };
        commit.writes.extend(blob.files().map(|id| Write::Count { key: rows::count(id), by: 1 }));
        commit.writes.push(Write::Count { key: rows::waiting(bucket.id), by: 1 });
        let object = Some(Stored { info: Arc::new(info), blob });
        let row = IntentRow { prepared: true, ..row };
        commit.writes.push(put(at.clone(), intent::encode(&row, object.as_ref())));
        let intent = Intent { bucket: bucket.id, key: key.clone(), object, row, version: 0 };
        let noted = Noted::of(&intent);
        let (effects, body) = (inner.clone(), given.clone());
        let end = inner.order(commit, move |end| match end {
            Ok(committed) => {
                if let Some(body) = &body {
                    body.published();
                }
                effects.outbox.committed(at, Some(noted));
                Ok(Arc::new(Intent { version: committed.version, ..intent }))
            }
            Err(refused) => Err(refused),
        });
        let refused = match end.await? {
            Ok(intent) => return Ok(intent),
            Err(refused) => refused,
        };
        let error = match refused {
            Refused::Condition(0) => CommitError::Gate,
            Refused::Condition(1 | 2) => CommitError::Conflict,
            Refused::Condition(_) => StoreError::Superseded.into(),
            Refused::Store(error) => error.into(),
            Refused::Doubt { error, .. } => {
                self.inner.outbox.in_doubt();
                return Err(error.into());
            }
        };
        if let Some(body) = given {
            body.give_back();
        }
        Err(error)
    }

    /// Makes what was prepared the object under its key, now that the origin has it, and takes the intent away; with it
    /// the upload that it was made of.
    ///
    /// # Errors
    /// [`CommitError`]: as [`Store::publish`].
    ///
    /// # Cancellation
    /// The commit was ordered when this returned; dropping the future does not undo it.
    pub fn land(
        &self,
        bucket: &Bucket,
        previous: Option<&Entry>,
        intent: &Arc<Intent>,
        seen: Seen,
        upload: Option<(&Upload, &UploadedParts)>,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let inner = self.inner.clone();
        // The intent must still be there; what becomes of it is written below.
        let mut change = Change::begin(bucket, &intent.key, previous, &Lane::Withdraw(intent.clone()));
        change.delivered = Some(seen).filter(|seen| *seen != Seen::Never);
        let state = match &intent.object {
            Some(stored) => EntryState::Written(stored.clone()),
            None => EntryState::Tombstone,
        };
        change.state(&state, None);
        // The intent's reference to the bytes is the entry's from now on.
        change.end_intent(intent);
        if let Some((upload, parts)) = upload {
            change.end_upload(upload, parts);
            // The intent has references of its own to what is listed.
            change.give_up_parts(parts.listed.iter().chain(&parts.unlisted));
        }
        let old = change.old.clone();
        change.give_up(&inner, old);
        change.order(inner, state, None, None, None)
    }

    /// Takes away all that waits for a bucket, up to what is there when it looks; how much.
    ///
    /// # Errors
    /// [`StoreError`]: some is left.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn withdraw_intents(&self, bucket: BucketId) -> Result<u64, StoreError> {
        let mut withdrawn = 0;
        let mut after: Option<Key> = None;
        loop {
            let page = self.intents(bucket, after.as_ref().map(Key::as_str), 256).await?;
            let Some(last) = page.last() else { return Ok(withdrawn) };
            after = Some(last.key.clone());
            for intent in page {
                withdrawn += u64::from(self.withdraw_intent(&intent).await?);
            }
        }
    }

    /// Orders a commit to one row of the outbox, now. `None`: a condition did not hold.
    fn in_outbox<T, F>(
        &self,
        at: Vec<u8>,
        commit: Commit,
        noted: Option<Noted>,
        done: F,
    ) -> impl Future<Output = Result<Option<T>, StoreError>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(Committed) -> T + Send + 'static,
    {
        let effects = self.inner.clone();
        let end = self.inner.order(commit, move |end| match end {
            Ok(committed) => {
                effects.outbox.committed(at, noted);
                effects.forget_all(&committed);
                Ok(Some(done(committed)))
            }
            Err(Refused::Condition(_)) => Ok(None),
            Err(Refused::Store(error)) => Err(error),
            Err(Refused::Doubt { error, .. }) => {
                effects.outbox.in_doubt();
                Err(error)
            }
        });
        async move { end.await? }
    }
}

//! The commits that change what is known of a key: publish, erase, observe.
//!
//! Each is *ordered when it is called*, not when its future is first polled, and happens even if the future is
//! dropped. Its conditions: the bucket's gate is as the caller read it, and so is the key's row. What follows
//! a commit (the memory cache, the old blob) follows it before anybody is told.

use std::future::Future;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use fallthrough_object::{Key, Timestamp};
use futures::future::Either;

use crate::blob::{BlobId, BlobRef};
use crate::blobs::seal::checksum;
use crate::bucket_row::Bucket;
use crate::bucket_row::BucketId;
use crate::entry::{Entry, EntryState, ObjectInfo, Provenance, Revision, Stored};
use crate::entry_code;
use crate::error::{CommitError, StoreError};
use crate::intent::{self, Intent, Seen};
use crate::inventory::withdraw;
use crate::kv::{Commit, Committed, Refused, Table, Tally, Write};
use crate::lane::{Lane, Through};
use crate::mutants::{Mutant, planted};
use crate::options::Step;
use crate::outbox::Noted;
use crate::rows;
use crate::staging::{Sealed, SealedBody};
use crate::store::{Inner, Store, put, remove, when};
use crate::uploads::{Part, Upload, UploadedParts};
use crate::usage;

/// What [`Store::publish`] makes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewState {
    /// A client put it.
    Written(ObjectInfo),
    /// It was copied from the shadow.
    Filled(ObjectInfo, Provenance),
}

/// What [`Store::erase`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erased {
    /// The mark of a delete: the shadow must not be asked.
    Tombstone,
    /// Nothing: the key is unknown again.
    Unknown,
}

/// What was learnt about a key without changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The shadow has it.
    Known(ObjectInfo, Provenance),
    /// The shadow does not have it.
    Absent {
        /// When the shadow may be asked again.
        until: Timestamp,
        /// The origin called the key invalid.
        invalid: bool,
    },
    /// A filled object is still what the shadow has; headers and freshness may be new, the bytes are not.
    Fresh(ObjectInfo, Provenance),
}

/// An object whose bytes another one shall have as well.
#[derive(Clone, Copy, Debug)]
pub struct CopyOf<'a> {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: &'a Key,
    /// The entry, which must still be there when the copy is committed.
    pub entry: &'a Entry,
}

impl Through<'_> {
    /// Makes a sealed body the object under `key`: the one commit function for everything that has bytes.
    /// The object that it replaces gives up its bytes in the same commit; readers of it finish.
    ///
    /// `info.size_bytes` must be the body's length. A fill over a written object or a tombstone is refused as
    /// a [`CommitError::Conflict`], whatever the caller believed.
    ///
    /// # Errors
    /// [`CommitError`]. After `Conflict`, `Gate` and [`StoreError::Busy`] the body can be published again.
    ///
    /// # Cancellation
    /// The commit was ordered when this returned; dropping the future does not undo it.
    pub fn publish(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        state: NewState,
        body: Sealed,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let (info, provenance) = match state {
            NewState::Written(info) => (info, None),
            NewState::Filled(info, provenance) => (info, Some(provenance)),
        };
        assert_eq!(info.size_bytes, body.len(), "an entry has the length of its body");
        let masked =
            matches!(previous.map(|p| &p.state), Some(EntryState::Written(_) | EntryState::Tombstone));
        if provenance.is_some() && masked {
            return Either::Left(std::future::ready(Err(CommitError::Conflict)));
        }
        if !body.take() {
            let used = StoreError::unavailable("this body belongs to another object already");
            return Either::Left(std::future::ready(Err(used.into())));
        }
        let inner = self.store.inner.clone();
        let mut change = Change::begin(bucket, key, previous, &self.lane);
        let mut small = None;
        let blob = match body.body() {
            SealedBody::Memory(bytes) if bytes.is_empty() => BlobRef::Empty,
            SealedBody::Memory(bytes) => {
                let id = inner.new_blob();
                let (write, body) = small_body(id, bytes);
                small = Some((id, body));
                change.write(write);
                BlobRef::Row(id)
            }
            SealedBody::File(id) => {
                change.write(Write::Count { key: rows::count(*id), by: 1 });
                BlobRef::File(*id)
            }
        };
        let stored = Stored { info: Arc::new(info), blob: blob.clone() };
        let state = match provenance {
            None => EntryState::Written(stored),
            Some(provenance) => EntryState::Filled(stored, provenance),
        };
        // A copy is not acknowledged to anybody: its reader has the bytes already.
        change.commit.patient = matches!(state, EntryState::Filled(..));
        change.state(&state, None);
        change.release(&inner, &blob);
        change.intent(&self.lane, &state);
        Either::Right(change.order(inner, state, None, small, Some(body)))
    }

    /// Makes the object under `key` one that shares the bytes of another: nothing is copied. The other must have files:
    /// small bodies are published anew.
    ///
    /// # Errors
    /// [`CommitError`]; [`StoreError::Superseded`]: the other is not what it was, look it up again.
    ///
    /// # Cancellation
    /// As [`Store::publish`].
    pub fn publish_copy(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
        of: CopyOf<'_>,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let blob = of.entry.state.stored().map_or(BlobRef::Empty, |stored| stored.blob.clone());
        assert!(!matches!(blob, BlobRef::Row(_)), "a small body has one reference");
        let inner = self.store.inner.clone();
        let mut change = Change::begin(bucket, key, previous, &self.lane);
        let source = rows::entry(of.bucket, of.key.as_str());
        change.commit.conditions.push(when(source, Some(of.entry.row_version)));
        change.refer(&blob);
        let state = EntryState::Written(Stored { info: Arc::new(info), blob });
        change.state(&state, None);
        let old = change.old.clone();
        change.give_up(&inner, old);
        change.intent(&self.lane, &state);
        change.order(inner, state, None, None, None)
    }

    /// Replaces what is known of an object besides its bytes, which stay: a client has said so, and from then on the
    /// object counts as written here.
    ///
    /// # Errors
    /// [`CommitError`]; a [`CommitError::Conflict`] as well if `previous` has no object.
    ///
    /// # Cancellation
    /// As [`Store::publish`].
    pub fn amend(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let stored = previous.and_then(|previous| previous.state.stored());
        let Some(stored) = stored.filter(|stored| stored.info.size_bytes == info.size_bytes) else {
            return Either::Left(std::future::ready(Err(CommitError::Conflict)));
        };
        let inner = self.store.inner.clone();
        let blob = stored.blob.clone();
        let mut change = Change::begin(bucket, key, previous, &self.lane);
        let state = EntryState::Written(Stored { info: Arc::new(info), blob: blob.clone() });
        // What the origin does not hear of does not make what it has another object. What an earlier shadow had says nothing
        // of the one that there is.
        if matches!(self.lane, Lane::Quiet) {
            let previous = previous.filter(|previous| previous.row_version >= bucket.gate_version);
            change.delivered = previous.and_then(Entry::left_at_origin);
        }
        change.state(&state, None);
        change.release(&inner, &blob);
        change.intent(&self.lane, &state);
        Either::Right(change.order(inner, state, None, None, None))
    }

    /// Makes the listed parts of an upload the object under `key`, and ends the upload; its other parts go. Parts that
    /// came after it was read are left over: see [`Store::discard_parts`].
    ///
    /// # Errors
    /// [`CommitError`]; [`StoreError::Superseded`]: the upload or one of its parts is not what it was, look again.
    ///
    /// # Cancellation
    /// As [`Store::publish`].
    pub fn publish_parts(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
        upload: &Upload,
        parts: &UploadedParts,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let inner = self.store.inner.clone();
        let mut change = Change::begin(bucket, key, previous, &self.lane);
        change.end_upload(upload, parts);
        change.give_up_parts(&parts.unlisted);
        let pieces = parts.listed.iter().filter_map(Part::blob).collect();
        let state = EntryState::Written(Stored { info: Arc::new(info), blob: BlobRef::of_parts(pieces) });
        assert!(
            state.stored().is_some_and(|stored| match &stored.blob {
                BlobRef::Parts(parts) =>
                    parts.iter().map(|part| part.size_bytes).sum::<u64>() == stored.info.size_bytes,
                _ => true,
            }),
            "an entry has the length of its body"
        );
        change.state(&state, None);
        let old = change.old.clone();
        change.give_up(&inner, old);
        change.intent(&self.lane, &state);
        change.order(inner, state, None, None, None)
    }

    /// Deletes or forgets a key; its bytes go in the same commit, readers of them finish.
    ///
    /// # Errors
    /// [`CommitError`].
    ///
    /// # Cancellation
    /// As [`Store::publish`].
    pub fn erase(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        to: Erased,
    ) -> impl Future<Output = Result<Revision, CommitError>> + Send + 'static + use<> {
        let inner = self.store.inner.clone();
        let mut change = Change::begin(bucket, key, previous, &self.lane);
        match to {
            Erased::Tombstone => change.state(&EntryState::Tombstone, None),
            Erased::Unknown => {
                change.write(remove(rows::entry(bucket.id, key.as_str())));
                if matches!(previous.map(|p| &p.state), Some(EntryState::Written(_) | EntryState::Tombstone))
                {
                    change.commit.writes.extend(withdraw(bucket));
                }
            }
        }
        change.release(&inner, &BlobRef::Empty);
        change.intent(&self.lane, &EntryState::Tombstone);
        let left = match to {
            Erased::Tombstone => Some(EntryState::Tombstone),
            Erased::Unknown => None,
        };
        let end = change.order_any(inner, left, None, None, None);
        async move { Ok(Revision(end.await?.0)) }
    }
}

impl Store {
    /// Gives up a key whose row cannot be read, which nothing else can change any more: it is unknown again. Its
    /// bytes, if it had a file, stay where they are. `false` if the row can be read, or there is none.
    ///
    /// # Errors
    /// [`CommitError`].
    ///
    /// # Cancellation
    /// It may or may not have been given up.
    pub async fn forget_damaged(&self, bucket: &Bucket, key: &Key) -> Result<bool, CommitError> {
        let inner = self.inner.clone();
        let row = rows::entry(bucket.id, key.as_str());
        let damaged = match inner.kv.get(Table::Rows, &row).await {
            Err(StoreError::Corrupt { .. }) => true,
            Ok(Some(found)) => entry_code::decode(&found.value, found.version).is_err(),
            Ok(None) => false,
            Err(error) => return Err(error.into()),
        };
        if !damaged {
            return Ok(false);
        }
        let mut change = Change::begin(bucket, key, None, &Lane::Quiet);
        // The row's own condition cannot be judged.
        change.commit.conditions.truncate(1);
        change.write(remove(row));
        // Nor can what it held be told: all that is held is counted anew.
        if !planted(Mutant::GivenUpStillCounted) {
            change.write(remove(rows::USAGE_KNOWN.to_vec()));
        }
        change.commit.writes.extend(withdraw(bucket));
        change.order_any(inner, None, None, None, None).await?;
        self.inner.left_over.notify_one();
        Ok(true)
    }

    /// Writes down what was learnt about a key. The entry keeps the revision that it had, so that an
    /// observation never supersedes a fill. One that would replace a written object or a tombstone is refused
    /// as a [`CommitError::Conflict`], and so is `Fresh` for anything but a filled one.
    ///
    /// # Errors
    /// [`CommitError`].
    ///
    /// # Cancellation
    /// As [`Store::publish`].
    pub fn observe(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        what: Observation,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let state = match (what, previous.map(|p| &p.state)) {
            (_, Some(EntryState::Written(_) | EntryState::Tombstone)) => None,
            (Observation::Known(info, from), _) => Some(EntryState::Known(Arc::new(info), from)),
            (Observation::Absent { until, invalid }, _) => Some(EntryState::Absent { until, invalid }),
            (Observation::Fresh(info, from), Some(EntryState::Filled(stored, _)))
                if info.size_bytes == stored.info.size_bytes =>
            {
                let blob = stored.blob.clone();
                Some(EntryState::Filled(Stored { info: Arc::new(info), blob }, from))
            }
            (Observation::Fresh(..), _) => None,
        };
        let Some(state) = state else {
            return Either::Left(std::future::ready(Err(CommitError::Conflict)));
        };
        let inner = self.inner.clone();
        let revision = previous.map_or(Revision(0), |p| p.revision);
        let mut change = Change::begin(bucket, key, previous, &Lane::Quiet);
        // What was only looked at is what it was.
        change.drops_blocks &= matches!(state, EntryState::Absent { .. });
        change.state(&state, Some(revision));
        change.release(&inner, state.stored().map_or(&BlobRef::Empty, |stored| &stored.blob));
        Either::Right(change.order(inner, state, Some(revision), None, None))
    }
}

/// A small body that a commit writes: for the memory cache.
type Small = Option<(BlobId, Bytes)>;

/// One commit to one key, being put together.
pub(crate) struct Change {
    bucket: BucketId,
    key: Key,
    pub(crate) commit: Commit,
    /// What the replaced entry had.
    pub(crate) old: BlobRef,
    /// What the origin was left with, for the entry.
    pub(crate) delivered: Option<Seen>,
    /// The third condition is on the row of the outbox.
    in_lane: bool,
    /// What is kept in blocks of the key's object goes with this commit.
    drops_blocks: bool,
    /// What the bucket holds more, or less, by this commit.
    tally: Tally,
    /// What the commit leaves in the outbox, if it changes anything there.
    noted: Option<Option<Noted>>,
    released: BlobRef,
    /// A damaged blob that nobody needs any more once this is committed.
    unquarantined: Option<BlobId>,
}

impl Change {
    /// With the conditions of every object commit: the gate first, then the key's row.
    pub(crate) fn begin(bucket: &Bucket, key: &Key, previous: Option<&Entry>, lane: &Lane) -> Self {
        let mut commit = Commit::default();
        if !planted(Mutant::GateIgnored) {
            commit.conditions.push(when(rows::gate(bucket.id), Some(bucket.gate_version)));
        }
        let row = rows::entry(bucket.id, key.as_str());
        commit.conditions.push(when(row, previous.map(|p| p.row_version)));
        let expected = lane.expects();
        if let Some(version) = expected {
            commit.conditions.push(when(rows::intent(bucket.id, key.as_str()), version));
        }
        let old =
            previous.and_then(|p| p.state.stored()).map_or(BlobRef::Empty, |stored| stored.blob.clone());
        Self {
            bucket: bucket.id,
            key: key.clone(),
            commit,
            old,
            delivered: None,
            in_lane: expected.is_some(),
            // Where there is no shadow none are believed.
            drops_blocks: !bucket.settings.shadow.is_empty() && !planted(Mutant::BlocksOutliveObject),
            tally: usage::taken(previous.map(|previous| &previous.state)),
            noted: None,
            released: BlobRef::Empty,
            unquarantined: None,
        }
    }

    /// What becomes of the intent, where the commit leaves this state.
    fn intent(&mut self, lane: &Lane, state: &EntryState) {
        let found = match lane {
            Lane::Quiet => return,
            Lane::Withdraw(found) => {
                self.end_intent(found);
                self.commit.writes.extend(found.unpin());
                return;
            }
            Lane::Send { found, row } => {
                let at = rows::intent(self.bucket, self.key.as_str());
                let object = state.stored();
                self.write(put(at, intent::encode(row, object)));
                if !planted(Mutant::IntentUnpinned) {
                    self.refer(object.map_or(&BlobRef::Empty, |stored| &stored.blob));
                }
                let bytes = object.map_or(0, |stored| stored.info.size_bytes);
                let noted = Noted { first: row.first, next: row.next, bytes, dead: row.dead };
                self.noted = Some(Some(noted));
                found
            }
        };
        match found {
            Some(found) => self.commit.writes.extend(found.unpin()),
            None => self.write(Write::Count { key: rows::waiting(self.bucket), by: 1 }),
        }
    }

    /// Takes the row of an intent away; its bytes are the caller's to give up or to keep.
    pub(crate) fn end_intent(&mut self, intent: &Intent) {
        self.write(remove(rows::intent(intent.bucket, intent.key.as_str())));
        self.write(Write::Count { key: rows::waiting(intent.bucket), by: -1 });
        self.noted = Some(None);
    }

    /// Takes the rows of an upload away, which must be what they were; the bytes of its parts are the caller's to give up or
    /// to keep.
    pub(crate) fn end_upload(&mut self, upload: &Upload, parts: &UploadedParts) {
        let row = rows::upload(self.bucket, self.key.as_str(), upload.id);
        self.commit.conditions.push(when(row.clone(), Some(upload.version)));
        self.write(remove(row));
        for part in parts.listed.iter().chain(&parts.unlisted) {
            let row = rows::part(self.bucket, upload.id, part.number);
            self.commit.conditions.push(when(row.clone(), Some(part.version)));
            self.write(remove(row));
        }
    }

    /// Gives up the references of these parts to their bytes.
    pub(crate) fn give_up_parts<'a>(&mut self, parts: impl IntoIterator<Item = &'a Part>) {
        let pieces = parts.into_iter().filter_map(Part::blob);
        self.commit.writes.extend(pieces.map(|piece| Write::Count { key: rows::count(piece.id), by: -1 }));
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.commit.writes.push(write);
    }

    pub(crate) fn state(&mut self, state: &EntryState, revision: Option<Revision>) {
        usage::add(&mut self.tally, usage::held(Some(state)));
        let row = rows::entry(self.bucket, self.key.as_str());
        let value = entry_code::encode_delivered(state, revision, self.delivered.as_ref());
        self.write(put(row, value));
    }

    /// Gives up the replaced entry's reference, unless the new one keeps it.
    fn release(&mut self, inner: &Inner, kept: &BlobRef) {
        if self.old != *kept {
            let old = self.old.clone();
            self.give_up(inner, old);
        }
    }

    pub(crate) fn give_up(&mut self, inner: &Inner, old: BlobRef) {
        if planted(Mutant::ReferenceKept) {
            return;
        }
        self.commit.writes.extend(give_up(&old));
        if let Some((id, write)) = inner.quarantine_gives_up(&old) {
            self.unquarantined = Some(id);
            self.write(write);
        }
        self.released = old;
    }

    /// One more reference to each of these files.
    fn refer(&mut self, blob: &BlobRef) {
        let counts = blob.files().map(|id| Write::Count { key: rows::count(id), by: 1 });
        self.commit.writes.extend(counts);
    }

    /// Orders a commit that leaves an entry, now.
    pub(crate) fn order(
        self,
        inner: Arc<Inner>,
        state: EntryState,
        revision: Option<Revision>,
        small: Small,
        body: Option<Sealed>,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        let end = self.order_any(inner, Some(state), revision, small, body);
        async move { Ok(end.await?.1.expect("a commit that leaves a state returns its entry")) }
    }

    /// Orders the commit, now.
    fn order_any(
        self,
        inner: Arc<Inner>,
        state: Option<EntryState>,
        revision: Option<Revision>,
        small: Small,
        body: Option<Sealed>,
    ) -> impl Future<Output = Result<(u64, Option<Arc<Entry>>), CommitError>> + Send + 'static + use<> {
        let Self {
            bucket,
            key,
            mut commit,
            delivered,
            in_lane,
            drops_blocks,
            tally,
            noted,
            released,
            unquarantined,
            ..
        } = self;
        if drops_blocks {
            commit.writes.push(Write::Take { key: rows::block_set(bucket, key.as_str()) });
        }
        commit.writes.extend(usage::write(bucket, tally));
        let (effects, given) = (inner.clone(), body.clone());
        let effect = move |end: Result<Committed, Refused>| match end {
            Ok(committed) => {
                if let Some(body) = &body {
                    body.published();
                }
                let version = committed.version;
                let entry = state.map(|state| {
                    let revision = revision.unwrap_or(Revision(version));
                    Arc::new(Entry { revision, row_version: version, state, delivered })
                });
                // Nothing can fail any more: an error of the hook only turns the answer.
                let told = effects.options.reached(Step::Committed);
                if let Some((id, body)) = small {
                    effects.hot.keep_body(id, body);
                }
                effects.hot.committed(bucket, &key, version, entry.as_ref());
                if let Some(noted) = noted {
                    effects.outbox.committed(rows::intent(bucket, key.as_str()), noted);
                }
                if let Some(EntryState::Absent { until, .. }) = entry.as_deref().map(|entry| &entry.state) {
                    effects.negatives.note(*until, version, rows::entry(bucket, key.as_str()));
                }
                let invalidated = effects.options.reached(Step::Invalidated);
                if let BlobRef::Row(id) = released {
                    effects.hot.drop_body(id);
                }
                effects.forget_all(&committed);
                effects.note_left_blocks(bucket, &committed);
                if let Some(id) = unquarantined {
                    effects.release_quarantined(id);
                }
                let released = effects.options.reached(Step::Released);
                told.and(invalidated).and(released).map_err(StoreError::from)?;
                Ok((version, entry))
            }
            Err(refused) => {
                if matches!(refused, Refused::Doubt { .. }) && noted.is_some() {
                    effects.outbox.in_doubt();
                }
                match refused {
                    Refused::Doubt { settled: false, .. } => effects.hot.in_doubt(bucket, &key),
                    Refused::Doubt { settled: true, .. } => {
                        effects.hot.committed(bucket, &key, effects.kv.sequence(), None);
                    }
                    Refused::Condition(_) | Refused::Store(_) => {}
                }
                Err(refused_for(refused, in_lane, body.as_ref()))
            }
        };
        if let Err(error) = inner.options.reached(Step::Ready) {
            if let Some(body) = &given {
                body.give_back();
            }
            return Either::Left(std::future::ready(Err(StoreError::from(error).into())));
        }
        let end = inner.order(commit, effect);
        Either::Right(async move { end.await? })
    }
}

fn refused_for(refused: Refused, in_lane: bool, body: Option<&Sealed>) -> CommitError {
    let error = match refused {
        Refused::Condition(0) if !planted(Mutant::GateIgnored) => CommitError::Gate,
        Refused::Condition(0 | 1) => CommitError::Conflict,
        Refused::Condition(2) if in_lane => CommitError::Conflict,
        // What the commit was made from.
        Refused::Condition(_) => CommitError::Store(StoreError::Superseded),
        Refused::Store(error) => CommitError::Store(error),
        // The body stays taken: an entry may have it.
        Refused::Doubt { error, .. } => return CommitError::Store(error),
    };
    if let Some(body) = body {
        body.give_back();
    }
    error
}

/// Writes a small body, with its checksum. Also the body, in the same memory, which is no larger than it must be.
pub(crate) fn small_body(id: BlobId, bytes: &[u8]) -> (Write, Bytes) {
    let mut value = BytesMut::with_capacity(8 + bytes.len());
    value.put_u64_le(checksum(bytes));
    value.put_slice(bytes);
    let value = value.freeze();
    let body = value.slice(8..);
    (Write::Put { table: Table::Bodies, key: rows::body(id), value }, body)
}

/// The writes that give up one reference to a blob.
pub(crate) fn give_up(blob: &BlobRef) -> Vec<Write> {
    match blob {
        // A small body has one reference: a copy of it is another body.
        BlobRef::Row(id) => vec![Write::Remove { table: Table::Bodies, key: rows::body(*id) }],
        BlobRef::Empty | BlobRef::File(_) | BlobRef::Parts(_) => {
            blob.files().map(|id| Write::Count { key: rows::count(id), by: -1 }).collect()
        }
    }
}

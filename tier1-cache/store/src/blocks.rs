//! Blocks of objects that are not here: what ranges of cold keys brought, kept until the whole object is here or
//! something else is.
//!
//! A row for each key says of which object its blocks are (one ETag, one size, one gate of the bucket); it is the *set*,
//! and has a number that is never used again. Each block has a row with the set's number in its key, and a file like any
//! other. So whoever changes the key takes the set's row away in the very commit of the change, however many blocks
//! there are: no reader finds them from then on, and [`Store::sweep_left_blocks`] removes them in pages. The file is
//! durable before the rows; a crash in between leaves garbage for the sweep. Blocks are a cache: losing all of them is no
//! loss.
//!
//! Which blocks are fetched, and how long they are believed, is decided by the bucket engine.

use std::future::Future;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use fallthrough_object::{Body, ByteRange, Key};
use futures::future::Either;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::blob::{BlobId, BlobRef};
use crate::bucket_row::{Bucket, BucketId};
use crate::entry::{Entry, EntryState, ObjectInfo, Provenance, Stored};
use crate::error::{CommitError, StoreError};
use crate::kv::{Commit, Committed, Keyed, Refused, Row, Table, Tally, Write};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::staging::{Sealed, SealedBody};
use crate::store::{Inner, Store, put, remove, when};
use crate::usage;

/// Blocks that one commit removes.
const BLOCKS_PER_COMMIT: usize = 128;
/// Sets that are read at once.
const SETS_PAGE: usize = 64;
/// Dropped sets that are remembered; where there are more, all blocks are looked at.
const LEFT_MAX: usize = 4096;
/// How the row of a block begins.
const BLOCK_VERSION: u8 = 1;

/// The number of a set of blocks. Drawn for each set that is begun, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SetOfBlocks(pub u128);

/// Of which object blocks are kept under a key, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSet {
    /// Its number.
    pub id: SetOfBlocks,
    /// The bucket's gate when it began: blocks of a shadow that was replaced are not believed.
    pub gate_version: u64,
    /// The object that they are of; its ETag is a strong one of the origin.
    pub info: Arc<ObjectInfo>,
    /// The length of each block but the last, in bytes.
    pub block_bytes: u64,
    /// Where they came from, and until when they may be believed.
    pub provenance: Provenance,
    /// How many blocks there are.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct SetRow {
    id: SetOfBlocks,
    gate_version: u64,
    info: ObjectInfo,
    block_bytes: u64,
    provenance: Provenance,
    blocks: u64,
    bytes: u64,
}

/// A block that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBlock {
    /// Its place among the blocks of the object, from 0.
    pub number: u64,
    /// Its length in bytes.
    pub len_bytes: u64,
    blob: BlobId,
}

impl KeptBlock {
    /// The blob that has its bytes.
    pub fn blob(&self) -> BlobId {
        self.blob
    }

    /// Its bytes, as the body of an object of their own.
    pub fn stored(&self) -> Stored {
        let info = ObjectInfo { size_bytes: self.len_bytes, ..ObjectInfo::default() };
        Stored { info: Arc::new(info), blob: BlobRef::File(self.blob) }
    }
}

/// A block that is to be kept.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// Its place among the blocks of the object, from 0.
    pub number: u64,
    /// Its bytes, sealed by [`crate::Staging::seal_part`]; not empty.
    pub body: Sealed,
    /// The object that it is of.
    pub info: Arc<ObjectInfo>,
    /// The length of each of its blocks but the last, in bytes.
    pub block_bytes: u64,
    /// Where it came from, and until when it may be believed: what is said of the set that it begins.
    pub provenance: Provenance,
}

/// Sets that were dropped while their blocks are still there.
#[derive(Debug, Default)]
pub(crate) struct LeftBlocks {
    sets: Mutex<Left>,
    noted: Notify,
}

#[derive(Debug, Default)]
struct Left {
    sets: Vec<(BucketId, SetOfBlocks)>,
    /// Some could not be remembered.
    others: bool,
}

impl LeftBlocks {
    fn lock(&self) -> MutexGuard<'_, Left> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A set was dropped; `None`: some may be of no use any more, and all are to be looked at.
    pub(crate) fn note(&self, set: Option<(BucketId, SetOfBlocks)>) {
        let mut left = self.lock();
        match set {
            Some(set) if left.sets.len() < LEFT_MAX => left.sets.push(set),
            Some(_) | None => left.others = true,
        }
        drop(left);
        self.noted.notify_one();
    }
}

impl Inner {
    /// Remembers what a commit left that took sets away.
    pub(crate) fn note_left_blocks(&self, bucket: BucketId, committed: &Committed) {
        for value in &committed.taken {
            let row = rows::from_json::<SetRow>("a set of blocks", value);
            self.left_blocks.note(row.ok().map(|row| (bucket, row.id)));
        }
    }
}

impl Store {
    /// The set of blocks that is kept under a key.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn block_set(&self, bucket: BucketId, key: &Key) -> Result<Option<BlockSet>, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::block_set(bucket, key.as_str())).await?;
        row.map(|row| read_set(&row)).transpose()
    }

    /// Up to `limit` sets of a bucket behind `after`, in the order of keys. One whose row rotted is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn block_sets(
        &self,
        bucket: BucketId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, BlockSet)>, StoreError> {
        let after = after.map(|key| rows::block_set(bucket, key.as_str()));
        let (from, to) = rows::block_sets(Some(bucket), after);
        let found = self.inner.kv.range(from, to, limit).await?;
        let read = |(at, row): (Vec<u8>, Row)| Some((rows::block_set_of(&at)?.1.ok()?, read_set(&row).ok()?));
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// Up to `limit` blocks of a set from the number `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn kept_blocks(
        &self,
        bucket: BucketId,
        set: SetOfBlocks,
        from: u64,
        limit: usize,
    ) -> Result<Vec<KeptBlock>, StoreError> {
        let (from, to) = rows::blocks_from(bucket, set.0, from);
        let found = self.inner.kv.range(from, to, limit).await?;
        let read = |(at, row): &(Vec<u8>, Row)| {
            let (.., number) =
                rows::block_of(at).ok_or_else(|| StoreError::corrupt("a block has no number"))?;
            Ok(read(number, row)?.0)
        };
        found.iter().map(read).collect()
    }

    /// Opens `range` of a block, counted from where the block begins.
    ///
    /// # Errors
    /// As [`Store::open_body`].
    ///
    /// # Cancellation
    /// As [`Store::open_body`].
    pub async fn open_block(&self, block: &KeptBlock, range: ByteRange) -> Result<Body, StoreError> {
        self.open_body(&block.stored(), range).await
    }

    /// Keeps a block under a key whose row is still `previous`, in its set `set`, which must be what it was; `None`: there
    /// is none, and one begins. Refused as a [`CommitError::Conflict`] if an object or a tombstone is here, if the set is of
    /// another object, or if it has the block.
    ///
    /// # Errors
    /// [`CommitError`].
    ///
    /// # Cancellation
    /// The commit was ordered when this returned; dropping the future does not undo it.
    pub fn keep_block(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        set: Option<&BlockSet>,
        new: NewBlock,
    ) -> impl Future<Output = Result<BlockSet, CommitError>> + Send + 'static + use<> {
        let NewBlock { number, body, info, block_bytes, provenance } = new;
        let refuse = |error: CommitError| Either::Left(std::future::ready(Err(error)));
        let is_cold = match previous.map(|entry| &entry.state) {
            None | Some(EntryState::Known(..) | EntryState::Absent { .. }) => true,
            Some(EntryState::Written(_) | EntryState::Filled(..) | EntryState::Tombstone) => false,
        };
        let is_same = set.is_none_or(|set| set.is_of(&info, block_bytes, bucket.gate_version));
        if !(is_cold && is_same) {
            return refuse(CommitError::Conflict);
        }
        let SealedBody::File(blob) = *body.body() else {
            return refuse(StoreError::unavailable("a block has to be a file").into());
        };
        if !body.take() {
            return refuse(StoreError::unavailable("this body belongs to another object already").into());
        }
        let inner = self.inner.clone();
        let len_bytes = body.len();
        let row = match set {
            Some(set) => SetRow { blocks: set.blocks + 1, bytes: set.bytes + len_bytes, ..set.row() },
            None => {
                let BlobId { epoch, number } = inner.new_blob();
                let id = SetOfBlocks(u128::from(epoch) << 64 | u128::from(number));
                let gate_version = bucket.gate_version;
                SetRow {
                    id,
                    gate_version,
                    info: (*info).clone(),
                    block_bytes,
                    provenance,
                    blocks: 1,
                    bytes: len_bytes,
                }
            }
        };
        let value = match rows::to_json(&row) {
            Ok(value) => value,
            Err(error) => {
                body.give_back();
                return refuse(error.into());
            }
        };
        let (set_at, block_at) =
            (rows::block_set(bucket.id, key.as_str()), rows::block(bucket.id, row.id.0, number));
        let mut writes = vec![
            put(set_at.clone(), value),
            put(block_at.clone(), encode(blob, len_bytes, key)),
            Write::Count { key: rows::count(blob), by: 1 },
        ];
        writes.extend(usage::write(bucket.id, usage::block_held(len_bytes)));
        let mut conditions = vec![
            when(rows::gate(bucket.id), Some(bucket.gate_version)),
            when(rows::entry(bucket.id, key.as_str()), previous.map(|entry| entry.row_version)),
            when(set_at, set.map(|set| set.version)),
            when(block_at, None),
        ];
        if planted(Mutant::BlockUnconditional) {
            conditions.clear();
        }
        // Nobody is told that it is kept.
        let commit = Commit { conditions, writes, patient: true };
        let end = inner.order(commit, move |end| match end {
            Ok(committed) => {
                body.published();
                Ok(BlockSet::of(row, committed.version))
            }
            Err(refused) => {
                let error = match refused {
                    Refused::Condition(0) => CommitError::Gate,
                    Refused::Condition(_) => CommitError::Conflict,
                    Refused::Store(error) => CommitError::Store(error),
                    // The body stays taken: a row may have it.
                    Refused::Doubt { error, .. } => return Err(CommitError::Store(error)),
                };
                body.give_back();
                Err(error)
            }
        });
        Either::Right(async move { end.await? })
    }

    /// Drops the set of a key, if it is still this one, and then its blocks; how many bytes of them are gone, if it was.
    ///
    /// # Errors
    /// [`StoreError`]: the set may or may not be dropped, and blocks of it may be left.
    ///
    /// # Cancellation
    /// As with an error: what is left goes with a later sweep.
    pub async fn drop_blocks(
        &self,
        bucket: BucketId,
        key: &Key,
        id: SetOfBlocks,
    ) -> Result<Option<u64>, StoreError> {
        let at = rows::block_set(bucket, key.as_str());
        loop {
            let Some(row) = self.inner.kv.get(Table::Rows, &at).await? else { return Ok(None) };
            // One that cannot be read is of no use to anybody.
            if read_set(&row).is_ok_and(|set| set.id != id) {
                return Ok(None);
            }
            let commit = Commit {
                conditions: vec![when(at.clone(), Some(row.version))],
                writes: vec![remove(at.clone())],
                patient: true,
            };
            if self.inner.commit(commit).await?.is_ok() {
                self.inner.left_blocks.note(Some((bucket, id)));
                return Ok(Some(self.remove_blocks(bucket, id).await?.1));
            }
        }
    }

    /// Waits until a set was dropped whose blocks are to be removed.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn blocks_left(&self) {
        self.inner.left_blocks.noted.notified().await;
    }

    /// Removes the blocks of sets that were dropped; how many there were.
    ///
    /// # Errors
    /// [`StoreError`]: all blocks are looked at the next time.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn sweep_left_blocks(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let (next, others) = {
                let mut left = self.inner.left_blocks.lock();
                let next = left.sets.pop();
                let others = next.is_none() && std::mem::take(&mut left.others);
                (next, others)
            };
            let swept = match next {
                Some((bucket, set)) => self.remove_blocks(bucket, set).await.map(|(blocks, _)| blocks),
                None if others => self.sweep_blocks().await,
                None => return Ok(removed),
            };
            match swept {
                Ok(blocks) => removed += blocks,
                Err(error) => {
                    self.inner.left_blocks.lock().others = true;
                    return Err(error);
                }
            }
        }
    }

    /// Looks at all sets and blocks, and removes those that nobody will read again: sets of a shadow that is not the
    /// bucket's any more, and blocks without their set.
    pub(crate) async fn sweep_blocks(&self) -> Result<u64, StoreError> {
        if planted(Mutant::BlocksNotSwept) {
            return Ok(0);
        }
        let mut after = None;
        loop {
            let (from, to) = rows::block_sets(None, after);
            let found = self.inner.kv.range(from, to, SETS_PAGE).await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            for (at, row) in found {
                self.sweep_set(at, row).await?;
            }
        }
        let (mut removed, mut after) = (0, None);
        loop {
            let (from, to) = rows::all_blocks(None, after);
            let Some((at, row)) = self.inner.kv.range(from, to, 1).await?.pop() else { return Ok(removed) };
            let Some((bucket, set, number)) = rows::block_of(&at) else { return Ok(removed) };
            if !self.has_set(bucket, SetOfBlocks(set), number, &row).await? {
                removed += self.remove_blocks(bucket, SetOfBlocks(set)).await?.0;
            }
            // On to the next set.
            after = Some(rows::behind_blocks(bucket, set));
        }
    }

    async fn has_set(
        &self,
        bucket: BucketId,
        id: SetOfBlocks,
        number: u64,
        row: &Row,
    ) -> Result<bool, StoreError> {
        let Ok((_, key)) = read(number, row) else { return Ok(false) };
        let at = rows::block_set(bucket, key.as_str());
        let Some(set) = self.inner.kv.get(Table::Rows, &at).await? else { return Ok(false) };
        Ok(read_set(&set).is_ok_and(|set| set.id == id))
    }

    async fn sweep_set(&self, at: Vec<u8>, row: Row) -> Result<(), StoreError> {
        let Some((bucket, _)) = rows::block_set_of(&at) else { return Ok(()) };
        let gate = self.inner.kv.get(Table::Rows, &rows::gate(bucket)).await?;
        let gate_version = gate.map(|gate| gate.version);
        if read_set(&row).is_ok_and(|set| Some(set.gate_version) == gate_version) {
            return Ok(());
        }
        let conditions = vec![when(at.clone(), Some(row.version))];
        // Whoever changed it meanwhile keeps it.
        let _ = self.inner.commit(Commit { conditions, writes: vec![remove(at)], patient: true }).await?;
        Ok(())
    }

    /// Removes all that is kept in blocks of a removed bucket.
    pub(crate) async fn forget_blocks(&self, bucket: BucketId) -> Result<u64, StoreError> {
        loop {
            let (from, to) = rows::block_sets(Some(bucket), None);
            let found = self.inner.kv.range(from, to, BLOCKS_PER_COMMIT).await?;
            if found.is_empty() {
                break;
            }
            let writes = found.into_iter().map(|(at, _)| remove(at)).collect();
            let _ = self.inner.commit(Commit { writes, patient: true, ..Commit::default() }).await?;
        }
        Ok(self.remove_block_rows(bucket, rows::all_blocks(Some(bucket), None)).await?.0)
    }

    /// Removes the blocks of a set that is gone: how many there were, and their bytes.
    async fn remove_blocks(&self, bucket: BucketId, set: SetOfBlocks) -> Result<(u64, u64), StoreError> {
        self.remove_block_rows(bucket, rows::blocks_from(bucket, set.0, 0)).await
    }

    async fn remove_block_rows(
        &self,
        bucket: BucketId,
        (from, to): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<(u64, u64), StoreError> {
        let (mut blocks, mut bytes) = (0, 0);
        loop {
            let found = self.inner.kv.range(from.clone(), to.clone(), BLOCKS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok((blocks, bytes));
            }
            let count = found.len() as u64;
            let (commit, freed) = removal(bucket, found);
            let effects = self.inner.clone();
            let end =
                self.inner.order(commit, move |end| end.map(|committed| effects.forget_all(&committed)));
            match end.await? {
                Ok(()) => {
                    blocks += count;
                    bytes += freed;
                }
                // Somebody else removes them: look again.
                Err(Refused::Condition(_)) => {}
                Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error),
            }
        }
    }
}

/// The commit that removes these blocks, and their bytes.
fn removal(bucket: BucketId, found: Keyed) -> (Commit, u64) {
    let mut commit = Commit { patient: true, ..Commit::default() };
    let (mut tally, mut bytes) = (Tally::default(), 0);
    for (at, row) in found {
        // What a row that rotted had is not known; its file goes with the sweep, once its count is mended by hand.
        if let Ok((block, _)) = read(0, &row) {
            bytes += block.len_bytes;
            usage::add(&mut tally, usage::block_held(block.len_bytes).map(|number| -number));
            commit.writes.push(Write::Count { key: rows::count(block.blob), by: -1 });
        }
        commit.conditions.push(when(at.clone(), Some(row.version)));
        commit.writes.push(remove(at));
    }
    commit.writes.extend(usage::write(bucket, tally));
    (commit, bytes)
}

impl BlockSet {
    fn of(row: SetRow, version: u64) -> Self {
        let SetRow { id, gate_version, info, block_bytes, provenance, blocks, bytes } = row;
        let info = Arc::new(info);
        Self { id, gate_version, info, block_bytes, provenance, blocks, bytes, version }
    }

    fn row(&self) -> SetRow {
        SetRow {
            id: self.id,
            gate_version: self.gate_version,
            info: (*self.info).clone(),
            block_bytes: self.block_bytes,
            provenance: self.provenance.clone(),
            blocks: self.blocks,
            bytes: self.bytes,
        }
    }

    /// Whether it is of this object, seen through this gate, in blocks of this length.
    pub fn is_of(&self, info: &ObjectInfo, block_bytes: u64, gate_version: u64) -> bool {
        let etags = self.info.etag.as_ref().zip(info.etag.as_ref());
        let same = etags.is_some_and(|(one, other)| one.strong_eq(other));
        self.gate_version == gate_version
            && self.block_bytes == block_bytes
            && same
            && self.info.size_bytes == info.size_bytes
    }
}

fn read_set(row: &Row) -> Result<BlockSet, StoreError> {
    let read: SetRow = rows::from_json("a set of blocks", &row.value)?;
    Ok(BlockSet::of(read, row.version))
}

fn encode(blob: BlobId, len_bytes: u64, key: &Key) -> Bytes {
    let mut value = BytesMut::with_capacity(25 + key.as_str().len());
    value.put_u8(BLOCK_VERSION);
    value.put_u64_le(blob.epoch);
    value.put_u64_le(blob.number);
    value.put_u64_le(len_bytes);
    value.put_slice(key.as_str().as_bytes());
    value.freeze()
}

/// The block of this number in its row, and the key of its object.
pub(crate) fn read(number: u64, row: &Row) -> Result<(KeptBlock, Key), StoreError> {
    let parts = || {
        let (version, rest) = row.value.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (blob, rest) = rest.split_first_chunk::<8>()?;
        let (len, key) = rest.split_first_chunk::<8>()?;
        let blob = BlobId { epoch: u64::from_le_bytes(*epoch), number: u64::from_le_bytes(*blob) };
        let key = Key::parse(std::str::from_utf8(key).ok()?).ok()?;
        let len_bytes = u64::from_le_bytes(*len);
        (*version == BLOCK_VERSION).then_some((KeptBlock { number, len_bytes, blob }, key))
    };
    parts().ok_or_else(|| StoreError::corrupt("a block cannot be read"))
}

/// The length of a block by its row.
pub(crate) fn len_of(row: &Row) -> Result<u64, StoreError> {
    Ok(read(0, row)?.0.len_bytes)
}

//! `Store`: index and blobs together, so that the order of their writes lives in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fallthrough_object::{BucketName, Clock, Entropy, Key, Monotonic};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{UnitWeighter, Weighter};
use tokio::sync::{Notify, oneshot};

use crate::blob::BlobId;
use crate::blobs::memory::MemoryBlobs;
use crate::blobs::seal::OpenBlob;
use crate::blobs::{BlobStore, off_thread};
use crate::blocks::LeftBlocks;
use crate::bucket_row::{Bucket, BucketId};
use crate::entry::Entry;
use crate::entry_code;
use crate::error::StoreError;
use crate::hot::{Hot, SecretHash};
use crate::kv::memory::MemoryKv;
use crate::kv::{Commit, Committed, Condition, Kv, Refused, Table, Write};
use crate::negatives::Negatives;
use crate::options::{SMALL_BODY_LIMIT, StoreOptions};
use crate::outbox::Outbox;
use crate::pins::Pins;
use crate::quarantine::Remembered;
use crate::rows;
use crate::staging::{Staging, StagingPlace};
use crate::uploads::UploadId;

/// The format that this release writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 4;

/// Buckets whose rows are kept in memory.
const BUCKETS_CACHED: usize = 1024;
/// Open blobs that are kept, each with a file descriptor and a bit per verified block.
const BLOBS_OPEN: u64 = 256;
/// How old the figure of free space may be.
const FREE_SPACE_AGE: std::time::Duration = std::time::Duration::from_millis(500);

/// Entries and blobs: what buckets keep, durably. Cloning is cheap; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store(epoch {})", self.inner.epoch)
    }
}

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) options: Arc<StoreOptions>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) hot: Hot,
    pub(crate) buckets: Cache<BucketName, Arc<Bucket>, UnitWeighter, SecretHash>,
    /// Newest commit to a bucket row; the lock spans check and insert of the cache above.
    pub(crate) buckets_touched: Mutex<u64>,
    /// Buckets that are being closed by somebody alive.
    pub(crate) closing: Mutex<BTreeMap<BucketId, usize>>,
    /// Something is left over of a removed bucket or a shadow that was cleared.
    pub(crate) left_over: Notify,
    /// Sets of blocks that were dropped and whose blocks are still to be removed.
    pub(crate) left_blocks: LeftBlocks,
    /// What is held was counted anew.
    pub(crate) counted: Notify,
    pub(crate) negatives: Negatives,
    /// Negative answers of earlier starts have been found.
    pub(crate) absents_swept: AtomicBool,
    pub(crate) quarantine: Remembered,
    pub(crate) pins: Pins,
    pub(crate) outbox: Outbox,
    pub(crate) epoch: u64,
    /// Rows that lists have read.
    pub(crate) listed_rows: AtomicU64,
    open_blobs: Cache<BlobId, Arc<OpenBlob>, OpenWeight, SecretHash>,
    next_blob: AtomicU64,
    next_bucket: AtomicU64,
    free: Mutex<Free>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Free {
    asked: Option<Monotonic>,
    bytes: Option<u64>,
}

impl Free {
    /// Whether `bytes` are free above `limit`.
    pub(crate) fn has(&self, limit: u64, bytes: u64) -> Result<(), StoreError> {
        match self.bytes {
            Some(free_bytes) if free_bytes < limit.saturating_add(bytes) => {
                Err(StoreError::Full { free_bytes })
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[derive(Clone)]
struct OpenWeight;

impl Weighter<BlobId, Arc<OpenBlob>> for OpenWeight {
    /// One per descriptor, and more for the bitmap of a huge blob: both are bounded by the same number.
    fn weight(&self, _: &BlobId, blob: &Arc<OpenBlob>) -> u64 {
        1 + blob.weight() / (64 << 10)
    }
}

/// What an operator may want to see of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Whether commits can succeed now.
    pub writable: bool,
    /// Whether there is space for copies of what is behind us.
    pub accepts_fills: bool,
    /// Whether there is space for what clients put.
    pub accepts_writes: bool,
    /// Free space of the disk in bytes; `None` for a store in memory.
    pub free_bytes: Option<u64>,
    /// Bytes of the index, free pages within it included: its file does not shrink.
    pub index_bytes: u64,
    /// Bytes of the memory cache.
    pub hot_bytes: u64,
    /// Damaged blobs in quarantine.
    pub quarantined: u64,
    /// Negative answers that are believed.
    pub negatives: u64,
    /// Newest commit.
    pub sequence: u64,
    /// This start's number.
    pub epoch: u64,
    /// Commits since start, the groups they were made durable in, and the syncs of the index that took.
    pub commits: u64,
    /// See `commits`.
    pub commit_groups: u64,
    /// See `commits`.
    pub index_syncs: u64,
    /// Rows that lists of entries, uploads and inventories have read since start.
    pub listed_rows: u64,
}

impl Store {
    /// A store that lives as long as the process. Nothing in it blocks, starts a thread or needs a runtime.
    pub fn in_memory(options: StoreOptions, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let kv = Arc::new(MemoryKv::default());
        Self::assemble(kv, Arc::new(MemoryBlobs::default()), options, clock, entropy, 1)
    }

    /// Puts a store together from its parts, in the boot epoch `epoch`.
    pub(crate) fn assemble(
        kv: Arc<dyn Kv>,
        blobs: Arc<dyn BlobStore>,
        mut options: StoreOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        epoch: u64,
    ) -> Self {
        options.small_body_max = options.small_body_max.min(SMALL_BODY_LIMIT).min(options.staging_memory_max);
        let hash = SecretHash::new(&*entropy);
        let inner = Inner {
            kv,
            blobs,
            clock,
            hot: Hot::new(options.hot_bytes, &*entropy),
            entropy,
            options: Arc::new(options),
            buckets: Cache::with(
                BUCKETS_CACHED,
                BUCKETS_CACHED as u64,
                UnitWeighter,
                hash.clone(),
                DefaultLifecycle::default(),
            ),
            buckets_touched: Mutex::new(0),
            closing: Mutex::default(),
            left_over: Notify::new(),
            left_blocks: LeftBlocks::default(),
            counted: Notify::new(),
            negatives: Negatives::default(),
            absents_swept: AtomicBool::new(false),
            quarantine: Remembered::default(),
            pins: Pins::default(),
            outbox: Outbox::default(),
            epoch,
            listed_rows: AtomicU64::new(0),
            open_blobs: Cache::with(
                BLOBS_OPEN as usize,
                BLOBS_OPEN,
                OpenWeight,
                hash,
                DefaultLifecycle::default(),
            ),
            next_blob: AtomicU64::new(1),
            next_bucket: AtomicU64::new(1),
            free: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits until every commit ordered so far has ended and removed blobs are gone; later commits fail.
    pub async fn close(&self) {
        self.inner.kv.close().await;
        let blobs = self.inner.blobs.clone();
        // The work cannot fail; the thread only if the runtime is going down already.
        let _gone = off_thread(blobs.blocks(), move || blobs.close()).await;
    }

    /// The entry of a key; `None`: nothing is known here.
    ///
    /// # Errors
    /// [`StoreError`]. Never turned into `None`.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn lookup(&self, bucket: BucketId, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        let inner = &*self.inner;
        if let Some(entry) = inner.hot.entry(bucket, key) {
            return Ok(Some(entry));
        }
        let sequence = inner.kv.sequence();
        let row = inner.kv.get(Table::Rows, &rows::entry(bucket, key.as_str())).await?;
        let Some(row) = row else { return Ok(None) };
        let entry = Arc::new(entry_code::decode(&row.value, row.version)?);
        inner.hot.offer(bucket, key, &entry, sequence);
        Ok(Some(entry))
    }

    /// Up to `limit` entries whose keys begin with `prefix`, from `from` on, in bytewise order, in all states:
    /// one snapshot.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn scan(
        &self,
        bucket: BucketId,
        from: Bound<&str>,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, StoreError> {
        let (from, to) = rows::entries(bucket, from, prefix);
        let found = self.inner.kv.range(from, to, limit).await?;
        self.inner.listed_rows.fetch_add(found.len() as u64, Ordering::Relaxed);
        let read = |(key, row): (Vec<u8>, crate::kv::Row)| {
            Ok((rows::entry_key(&key)?, entry_code::decode(&row.value, row.version)?))
        };
        found.into_iter().map(read).collect()
    }

    /// A place for a body on its way. `expected_len` is a promise, not a limit.
    ///
    /// # Errors
    /// [`StoreError::Full`]: free space is below the reserve, or the body would take it there.
    pub fn stage(&self, expected_len: Option<u64>) -> Result<Staging, StoreError> {
        self.stage_above(self.inner.options.reserve_bytes, expected_len)
    }

    /// As [`Store::stage`], for a copy of what is behind us: a while before there is no space for what clients
    /// put, there is none for copies.
    ///
    /// # Errors
    /// [`StoreError::Full`]: pass the body on by [`Store::stage_passing`].
    pub fn stage_fill(&self, expected_len: Option<u64>) -> Result<Staging, StoreError> {
        self.stage_above(self.inner.fills_stop_bytes(), expected_len)
    }

    /// A place for a body that is only passed on: half of the reserve is for such. Never seal it.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn stage_passing(&self, expected_len: Option<u64>) -> Result<Staging, StoreError> {
        let expected = expected_len.unwrap_or(0);
        // Claimed by nobody: its space is free again as soon as it is read.
        self.inner.look_at_free().has(self.inner.options.reserve_bytes / 2, expected)?;
        Ok(self.staging())
    }

    fn stage_above(&self, limit: u64, expected_len: Option<u64>) -> Result<Staging, StoreError> {
        let expected = expected_len.unwrap_or(0);
        let mut free = self.inner.look_at_free();
        free.has(limit, expected)?;
        // Until the disk is asked anew nobody else gets it: or all bodies of half a second would count on the
        // same space.
        free.bytes = free.bytes.map(|bytes| bytes - expected);
        drop(free);
        Ok(self.staging())
    }

    fn staging(&self) -> Staging {
        let inner = &*self.inner;
        let id = inner.new_blob();
        Staging::new(StagingPlace { blobs: inner.blobs.clone(), options: inner.options.clone(), id })
    }

    /// What an operator may want to see.
    pub fn status(&self) -> StoreStatus {
        let inner = &*self.inner;
        let kv = inner.kv.status();
        let free_bytes = inner.free_bytes();
        let above = |limit: u64| free_bytes.is_none_or(|free| free >= limit);
        StoreStatus {
            writable: kv.writable,
            accepts_fills: above(inner.fills_stop_bytes()),
            accepts_writes: above(inner.options.reserve_bytes),
            free_bytes,
            index_bytes: kv.bytes,
            hot_bytes: inner.hot.bytes(),
            quarantined: inner.quarantine.len() as u64,
            negatives: inner.negatives.len() as u64,
            sequence: inner.kv.sequence(),
            epoch: inner.epoch,
            commits: kv.commits,
            commit_groups: kv.groups,
            index_syncs: kv.syncs,
            listed_rows: inner.listed_rows.load(Ordering::Relaxed),
        }
    }

    /// Says that a commit is on its way, until the guard is dropped: the writer lingers a moment for it, so
    /// that it shares a sync. Drop the guard when the commit was ordered or given up.
    pub fn announce(&self) -> Announced {
        self.inner.kv.announce(true);
        Announced { kv: self.inner.kv.clone() }
    }
}

/// A commit is on its way. See [`Store::announce`].
#[derive(Debug)]
pub struct Announced {
    kv: Arc<dyn Kv>,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.kv.announce(false);
    }
}

impl Inner {
    /// An id for a multipart upload: the time, so that uploads of one key are in the order in which they began, and
    /// what nobody can guess.
    pub(crate) fn new_upload(&self) -> UploadId {
        let mut id = [0; 16];
        let millis = self.clock.now().0.to_be_bytes();
        id[..6].copy_from_slice(&millis[2..]);
        self.entropy.fill(&mut id[6..]);
        UploadId(id)
    }

    pub(crate) fn new_blob(&self) -> BlobId {
        BlobId { epoch: self.epoch, number: self.next_blob.fetch_add(1, Ordering::Relaxed) }
    }

    /// An id that no bucket ever had: the epoch in the upper half.
    pub(crate) fn new_bucket(&self) -> BucketId {
        BucketId(self.epoch << 32 | self.next_bucket.fetch_add(1, Ordering::Relaxed))
    }

    /// Below this many free bytes no copies are kept.
    fn fills_stop_bytes(&self) -> u64 {
        self.options.low_space_stop_fills_bytes.max(self.options.reserve_bytes)
    }

    /// Free space of the disk, not older than [`FREE_SPACE_AGE`]; `None` if it has no meaning or is not known.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        self.look_at_free().bytes
    }

    pub(crate) fn look_at_free(&self) -> MutexGuard<'_, Free> {
        let now = self.clock.monotonic();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.asked.is_none_or(|asked| now.since(asked) >= FREE_SPACE_AGE) {
            let bytes = self.blobs.free_bytes().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot ask the disk for its free space");
                None
            });
            *free = Free { asked: Some(now), bytes };
        }
        free
    }

    /// An open blob, from the ones kept open where possible.
    pub(crate) async fn blob(&self, id: BlobId) -> Result<Arc<OpenBlob>, StoreError> {
        if let Some(open) = self.open_blobs.get(&id) {
            return Ok(open);
        }
        if self.is_quarantined(id).await? {
            return Err(StoreError::corrupt(format!("blob {}-{} is in quarantine", id.epoch, id.number)));
        }
        let blobs = self.blobs.clone();
        let open = off_thread(blobs.blocks(), move || -> Result<Option<OpenBlob>, StoreError> {
            blobs.open(id)?.map(|(file, len)| OpenBlob::open(file, len, id)).transpose()
        })
        .await??;
        match open {
            Some(open) => {
                let open = Arc::new(open);
                self.open_blobs.insert(id, open.clone());
                // Released or put into quarantine meanwhile, and forgotten before it was remembered: or its space
                // would stay taken, or its bytes would be served.
                if self.is_quarantined(id).await? {
                    self.open_blobs.remove(&id);
                    return Err(StoreError::corrupt(format!("blob {}-{} is damaged", id.epoch, id.number)));
                }
                if self.kv.get(Table::Rows, &rows::count(id)).await?.is_none() {
                    self.open_blobs.remove(&id);
                }
                Ok(open)
            }
            // The count goes in the same commit as the entry: without it nothing refers to the blob any more.
            None if self.kv.get(Table::Rows, &rows::count(id)).await?.is_none() => {
                Err(StoreError::Superseded)
            }
            None => Err(StoreError::Missing { blob: id }),
        }
    }

    /// Lets go of a blob that no entry refers to any more. Readers finish on what they have open.
    pub(crate) fn forget(&self, id: BlobId) {
        self.open_blobs.remove(&id);
        if !self.pins.keep(id) && !self.stays_in_quarantine(id) {
            self.blobs.remove(id);
        }
    }

    /// Lets go of the blobs whose last reference a commit gave up.
    pub(crate) fn forget_all(&self, committed: &Committed) {
        committed.zeroed.iter().filter_map(|row| rows::counted(row)).for_each(|id| self.forget(id));
    }

    /// Forgets what was verified of a blob.
    pub(crate) fn close_blob(&self, id: BlobId) {
        self.open_blobs.remove(&id);
    }

    /// Orders a commit now; the future only waits for its end. `effect` runs after the commit and before its
    /// end is told, also if the future was dropped.
    pub(crate) fn order<T, F>(
        &self,
        commit: Commit,
        effect: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(Result<Committed, Refused>) -> T + Send + 'static,
    {
        let (tell, end) = oneshot::channel();
        let done = move |result| {
            // Nobody listens if the caller went away; the effect happened all the same.
            let _nobody = tell.send(effect(result));
        };
        self.kv.commit(commit, Box::new(done));
        async move { end.await.map_err(|_| StoreError::unavailable("the store closed before the commit ended")) }
    }

    /// Writes that nothing is a condition of, and that have no effects in memory.
    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        match self.commit(Commit { writes, ..Commit::default() }).await? {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::corrupt("a commit without conditions was refused for one")),
        }
    }

    /// A commit without effects in memory.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Result<Committed, usize>, StoreError> {
        match self.order(commit, |end| end).await? {
            Ok(committed) => Ok(Ok(committed)),
            Err(Refused::Condition(place)) => Ok(Err(place)),
            Err(Refused::Store(error) | Refused::Doubt { error, .. }) => Err(error),
        }
    }
}

pub(crate) fn put(key: Vec<u8>, value: Bytes) -> Write {
    Write::Put { table: Table::Rows, key, value }
}

pub(crate) fn remove(key: Vec<u8>) -> Write {
    Write::Remove { table: Table::Rows, key }
}

pub(crate) fn when(key: Vec<u8>, version: Option<u64>) -> Condition {
    Condition { key, version }
}

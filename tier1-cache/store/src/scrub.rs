//! Scrubbing: reading everything that is kept, from the disk, and comparing it with its checksums.
//!
//! This is the store's part: pages of rows, and checks of single bodies that never believe what was verified
//! before. Who paces it, and what happens to what is damaged, is decided by the bucket engine; what it wants to
//! remember over a restart is kept here as one row.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fallthrough_object::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use crate::blob::{BlobId, BlobRef, PartBlob};
use crate::blobs::off_thread;
use crate::blobs::seal::{OpenBlob, checksum};
use crate::blocks::{self, KeptBlock, SetOfBlocks};
use crate::bucket_row::BucketId;
use crate::entry::{Entry, Stored};
use crate::entry_code;
use crate::error::StoreError;
use crate::kv::{Commit, Table};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Inner, Store, put};

/// Blocks that are compared in one step: 1 MiB with blocks of this release.
const STEP_BLOCKS: u64 = 8;

/// Bytes of the index that are read between two looks at the pace.
const INDEX_STEP_BYTES: u64 = 1 << 20;

/// What a pass of the scrubber has done and found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubTally {
    /// Rows of the index that were read.
    pub rows: u64,
    /// Objects whose bytes were compared with their checksums.
    pub objects: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Objects that clients wrote whose bytes are damaged or lost: they answer 500.
    pub damaged_written: u64,
    /// Objects that were filled whose bytes were found damaged or lost.
    pub damaged_filled: u64,
    /// Rows of the index that cannot be read.
    pub damaged_rows: u64,
    /// Filled objects that were fetched again.
    pub healed: u64,
    /// Blobs that this pass put into quarantine.
    pub quarantined: u64,
    /// Objects that the disk could not read: not known to be damaged, tried again by the next pass.
    pub unreadable: u64,
}

/// One pass of the scrubber through everything that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubPass {
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// Objects with bytes when it began.
    pub objects_total: u64,
    /// Bytes of these objects.
    pub bytes_total: u64,
    /// What it did and found.
    pub tally: ScrubTally,
}

/// What the scrubber remembers over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubRecord {
    /// The pass that is under way.
    pub current: Option<ScrubPass>,
    /// The row behind which it goes on, hexadecimal; empty: at the beginning.
    pub after: String,
    /// The last pass that came to its end.
    pub last: Option<ScrubPass>,
}

impl ScrubRecord {
    /// The row behind which the pass goes on. What cannot be read counts as the beginning: a pass that begins
    /// again only costs time.
    pub fn cursor(&self) -> Vec<u8> {
        let digit = |at: usize| self.after.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        (0..self.after.len()).step_by(2).map(digit).collect::<Option<_>>().unwrap_or_default()
    }

    /// Sets the row behind which the pass goes on.
    pub fn set_cursor(&mut self, after: &[u8]) {
        use std::fmt::Write as _;
        self.after.clear();
        for byte in after {
            write!(self.after, "{byte:02x}").expect("text can always be written to");
        }
    }
}

/// An entry that has bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubItem {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: Key,
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its row, for a cursor.
    pub row: Vec<u8>,
}

/// A block that is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubBlock {
    /// Its bucket.
    pub bucket: BucketId,
    /// The key of the object.
    pub key: Key,
    /// The block.
    pub block: KeptBlock,
    /// The set that it is of.
    pub set: SetOfBlocks,
}

/// A page of the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubPage {
    /// Entries that have bytes, in order.
    pub items: Vec<ScrubItem>,
    /// Blocks, in order.
    pub blocks: Vec<ScrubBlock>,
    /// Rows read, of every kind.
    pub rows: u64,
    /// Rows that cannot be read: which, and why.
    pub damaged: Vec<String>,
    /// The last row of the page; `None`: there are no more.
    pub last: Option<Vec<u8>>,
}

/// The check of one body, step by step.
pub struct BodyCheck {
    inner: Arc<Inner>,
    body: CheckedBody,
    /// Further files of the same object.
    left: VecDeque<PartBlob>,
}

impl fmt::Debug for BodyCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyCheck").field(&self.body).finish()
    }
}

#[derive(Debug)]
enum CheckedBody {
    /// In the index: read and compared already; its length is still to be told.
    Row(u64),
    File {
        blob: Arc<OpenBlob>,
        id: BlobId,
        next: u64,
    },
    Done,
}

impl Store {
    /// The next rows of the index behind `after`, at most `limit`, of every kind: each is read and taken apart.
    ///
    /// # Errors
    /// [`StoreError`]: the index cannot be read at all.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn scrub_page(&self, after: &[u8], limit: usize) -> Result<ScrubPage, StoreError> {
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after.to_vec()) };
        let found = self.inner.kv.inspect(from, limit).await?;
        let mut page = ScrubPage { rows: found.len() as u64, ..ScrubPage::default() };
        if found.len() == limit {
            page.last = found.last().map(|(key, _)| key.clone());
        }
        for (row, value) in found {
            let value = match value {
                Ok(value) => value,
                Err(error) => {
                    page.damaged.push(format!("{} ({error})", row_name(&row)));
                    continue;
                }
            };
            if let Some((bucket, set, number)) = rows::block_of(&row) {
                match blocks::read(number, &value) {
                    Ok((block, key)) => {
                        page.blocks.push(ScrubBlock { bucket, key, block, set: SetOfBlocks(set) });
                    }
                    Err(error) => page.damaged.push(format!("{} ({error})", row_name(&row))),
                }
                continue;
            }
            let Some((bucket, key)) = rows::entry_of(&row) else { continue };
            match key.and_then(|key| Ok((key, entry_code::decode(&value.value, value.version)?))) {
                Ok((key, entry)) => {
                    if entry.state.stored().is_some_and(|stored| stored.blob != BlobRef::Empty) {
                        page.items.push(ScrubItem { bucket, key, entry: Arc::new(entry), row });
                    }
                }
                Err(error) => page.damaged.push(format!("{} ({error})", row_name(&row))),
            }
        }
        Ok(page)
    }

    /// Reads the whole index from the disk while it is in use, and says what is wrong with it: rows that do not
    /// match their checksums, that are hidden, or missing. `spent` is told how many bytes were
    /// read since it was told last, and sets the pace by taking its time; the check is given up when nobody listens.
    ///
    /// # Errors
    /// [`StoreError`]: the index could not be checked.
    ///
    /// # Cancellation
    /// Safe: the check is given up.
    pub async fn check_index(&self, spent: Option<Sender<u64>>) -> Result<Option<String>, StoreError> {
        if planted(Mutant::IndexUnverified) {
            return Ok(None);
        }
        let spent = spent.filter(|_| self.inner.blobs.blocks());
        let told = AtomicU64::new(0);
        let tell = move |bytes: u64| {
            // Where nothing blocks nobody can be waited for: it is over in one go.
            let Some(spent) = &spent else { return true };
            let sum = told.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if sum < INDEX_STEP_BYTES {
                return true;
            }
            told.store(0, Ordering::Relaxed);
            // Nobody listens if the check was given up.
            spent.blocking_send(sum).is_ok()
        };
        self.inner.kv.verify(Box::new(tell)).await
    }

    /// Begins to compare the bytes of an object with their checksums, from the disk: what was verified since
    /// start is not believed, and what the system has in memory is let go first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Missing`]: damaged or lost; so is what is in quarantine already.
    /// [`StoreError::Superseded`]: the object was overwritten or deleted meanwhile, if
    /// [`Store::is_current`] says so too. [`StoreError::Unavailable`]: the disk could not be read.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn check_body(&self, stored: &Stored) -> Result<BodyCheck, StoreError> {
        let inner = self.inner.clone();
        let size_bytes = stored.info.size_bytes;
        let (body, left) = match &stored.blob {
            BlobRef::Empty => (CheckedBody::Done, VecDeque::new()),
            BlobRef::Row(id) => {
                inner.check_small(*id, size_bytes).await?;
                (CheckedBody::Row(size_bytes), VecDeque::new())
            }
            BlobRef::File(id) => {
                let part = PartBlob { id: *id, size_bytes };
                (inner.check_file(part).await?, VecDeque::new())
            }
            BlobRef::Parts(parts) => {
                let mut left: VecDeque<_> = parts.iter().copied().collect();
                match left.pop_front() {
                    Some(first) => (inner.check_file(first).await?, left),
                    None => (CheckedBody::Done, left),
                }
            }
        };
        Ok(BodyCheck { inner, body, left })
    }

    /// Whether the index itself, whatever memory says, still has this entry under the key.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn is_current(&self, bucket: BucketId, key: &Key, entry: &Entry) -> Result<bool, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::entry(bucket, key.as_str())).await?;
        Ok(row.is_some_and(|row| row.version == entry.row_version) || planted(Mutant::DeletedIsDamage))
    }

    /// Lets go of what memory and the system keep of an object's bytes: the next read verifies them again, from
    /// the disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn read_anew(&self, stored: &Stored) -> Result<(), StoreError> {
        if let BlobRef::Row(id) = stored.blob {
            self.inner.hot.drop_body(id);
        }
        for id in stored.blob.files() {
            self.inner.close_blob(id);
            let blobs = self.inner.blobs.clone();
            off_thread(blobs.blocks(), move || blobs.forget_cached(id)).await??;
        }
        Ok(())
    }

    /// What the scrubber remembers; the beginning if there is nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn scrub_record(&self) -> Result<ScrubRecord, StoreError> {
        let row = self.inner.kv.get(Table::Rows, rows::SCRUB).await?;
        let read = row.map(|row| rows::from_json("the scrubber", &row.value)).transpose()?;
        Ok(read.unwrap_or_default())
    }

    /// Remembers where the scrubber is.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not be remembered.
    pub async fn keep_scrub_record(&self, record: &ScrubRecord) -> Result<(), StoreError> {
        let writes = vec![put(rows::SCRUB.to_vec(), rows::to_json(record)?)];
        // Nobody waits for it: it may share a sync with others.
        let commit = Commit { writes, patient: true, ..Commit::default() };
        match self.inner.commit(commit).await? {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::corrupt("a commit without conditions was refused for one")),
        }
    }

    /// What the scrubber leaves out when it goes on behind `cursor` after a restart: nothing.
    pub fn resume_after(cursor: &[u8]) -> Vec<u8> {
        let mut after = cursor.to_vec();
        if planted(Mutant::ScrubCursorOff) {
            after.extend_from_slice(&[0xff; 2]);
        }
        after
    }
}

impl BodyCheck {
    /// Compares the next piece, about 1 MiB, and says how many bytes it had; `None`: all of it is sound.
    ///
    /// # Errors
    /// As [`Store::check_body`]. Nothing more is to be learnt of this body then.
    ///
    /// # Cancellation
    /// Begin again.
    pub async fn step(&mut self) -> Result<Option<u64>, StoreError> {
        match &mut self.body {
            CheckedBody::Done => Ok(None),
            CheckedBody::Row(len) => {
                let len = *len;
                self.body = CheckedBody::Done;
                Ok(Some(len))
            }
            CheckedBody::File { blob, id, next } => {
                let (id, first, file) = (*id, *next, blob.clone());
                let blobs = self.inner.blobs.clone();
                let bytes = off_thread(blobs.blocks(), move || -> Result<u64, StoreError> {
                    let bytes = file.check(first, STEP_BLOCKS)?;
                    if bytes == 0 {
                        file.check_sums()?;
                        // What was read for this alone must not push out what clients read.
                        blobs.forget_cached(id)?;
                    }
                    Ok(bytes)
                })
                .await??;
                if bytes == 0 {
                    self.body = CheckedBody::Done;
                    let Some(part) = self.left.pop_front() else { return Ok(None) };
                    self.body = self.inner.check_file(part).await?;
                    return Ok(Some(0));
                }
                *next += STEP_BLOCKS;
                Ok(Some(bytes))
            }
        }
    }
}

impl Inner {
    async fn check_file(&self, part: PartBlob) -> Result<CheckedBody, StoreError> {
        let PartBlob { id, size_bytes } = part;
        if planted(Mutant::ScrubBelievesMemory)
            && let Ok(blob) = self.blob(id).await
        {
            return Ok(CheckedBody::File { blob, id, next: 0 });
        }
        let blob = self.open_fresh(id).await?;
        if blob.len() != size_bytes {
            return Err(StoreError::corrupt(format!("blob {}-{} has another length", id.epoch, id.number)));
        }
        Ok(CheckedBody::File { blob: Arc::new(blob), id, next: 0 })
    }

    async fn open_fresh(&self, id: BlobId) -> Result<OpenBlob, StoreError> {
        if self.is_quarantined(id).await? {
            return Err(StoreError::corrupt(format!("blob {}-{} is in quarantine", id.epoch, id.number)));
        }
        let blobs = self.blobs.clone();
        let open = off_thread(blobs.blocks(), move || -> Result<Option<OpenBlob>, StoreError> {
            blobs.forget_cached(id)?;
            blobs.open(id)?.map(|(file, len)| OpenBlob::open(file, len, id)).transpose()
        })
        .await??;
        match open {
            Some(open) => Ok(open),
            None if self.kv.get(Table::Rows, &rows::count(id)).await?.is_none() => {
                Err(StoreError::Superseded)
            }
            None => Err(StoreError::Missing { blob: id }),
        }
    }

    async fn check_small(&self, id: BlobId, size_bytes: u64) -> Result<(), StoreError> {
        if self.is_quarantined(id).await? {
            return Err(StoreError::corrupt(format!(
                "small body {}-{} is in quarantine",
                id.epoch, id.number
            )));
        }
        let row = self.kv.get(Table::Bodies, &rows::body(id)).await?.ok_or(StoreError::Superseded)?;
        sound_small(id, &row.value, size_bytes).map(drop)
    }
}

/// The body in a row of the small bodies, if it is whole.
pub(crate) fn sound_small(id: BlobId, value: &Bytes, size_bytes: u64) -> Result<Bytes, StoreError> {
    let damaged = || StoreError::corrupt(format!("small body {}-{}", id.epoch, id.number));
    let sum = value.first_chunk::<8>().ok_or_else(damaged)?;
    let body = value.slice(8..);
    let whole = u64::from_le_bytes(*sum) == checksum(&body) && body.len() as u64 == size_bytes;
    if whole || planted(Mutant::BlockUnverified) { Ok(body) } else { Err(damaged()) }
}

/// A row as people may know it. Never its value: it may hold secrets.
fn row_name(row: &[u8]) -> String {
    match rows::entry_of(row) {
        Some((bucket, Ok(key))) => format!("the entry of {:?} in bucket {}", key.as_str(), bucket.0),
        Some((bucket, Err(_))) => format!("an entry in bucket {}", bucket.0),
        None => format!("a row of family {:?}", row.first().map(|family| char::from(*family))),
    }
}

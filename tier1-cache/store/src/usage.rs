//! What buckets hold: how many objects of which kind, and how many bytes.
//!
//! A row for each bucket, changed by the very commits that change entries: it is right after a crash, and nobody has to
//! walk over the entries for it. Where it may be wrong all the same (an index of an older release, a row that rotted
//! and was given up) everything is counted once, beside the commits that go on.
//!
//! Bytes are those that clients see: objects that share their bytes count each for itself. Parts of uploads that are not
//! complete count nowhere.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fallthrough_object::Key;

use crate::blocks;
use crate::bucket_row::BucketId;
use crate::entry::{Entry, EntryState};
use crate::entry_code;
use crate::error::StoreError;
use crate::kv::{Table, Tally, Write, tally_of};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Store, put};

/// What a copy counts beside its bytes where copies are limited: its row, and its place among the blobs. So that many
/// small ones are bounded, too.
pub const COPY_ROW_BYTES: u64 = 512;

/// Tallies that are read at once.
const PAGE: usize = 1000;
/// Entries that are looked at for one page of copies.
const COPIES_LOOKED_AT: usize = 256;

/// Objects of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many there are.
    pub objects: u64,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
}

impl Held {
    fn charge(&self) -> u64 {
        self.bytes.saturating_add(self.objects.saturating_mul(COPY_ROW_BYTES))
    }
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Copies of what its shadow has.
    pub filled: Held,
    /// What clients wrote.
    pub written: Held,
    /// Blocks of what its shadow has.
    pub blocks: Held,
}

impl Usage {
    /// What its copies count against a limit, in bytes; blocks are copies, too.
    pub fn copies_charge(&self) -> u64 {
        self.filled.charge().saturating_add(self.blocks_charge())
    }

    /// What its blocks count against a limit, in bytes.
    pub fn blocks_charge(&self) -> u64 {
        self.blocks.charge()
    }

    fn of(tally: Tally) -> Self {
        // Below zero only until it is counted.
        let [filled_objects, filled_bytes, written_objects, written_bytes, blocks, block_bytes] =
            tally.map(|number| u64::try_from(number).unwrap_or(0));
        Self {
            filled: Held { objects: filled_objects, bytes: filled_bytes },
            written: Held { objects: written_objects, bytes: written_bytes },
            blocks: Held { objects: blocks, bytes: block_bytes },
        }
    }
}

/// What an entry in this state adds to its bucket's tally.
pub(crate) fn held(state: Option<&EntryState>) -> Tally {
    let signed = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    match state {
        Some(EntryState::Filled(stored, _)) => [1, signed(stored.info.size_bytes), 0, 0, 0, 0],
        Some(EntryState::Written(stored)) => [0, 0, 1, signed(stored.info.size_bytes), 0, 0],
        Some(EntryState::Known(..) | EntryState::Absent { .. } | EntryState::Tombstone) | None => {
            Tally::default()
        }
    }
}

/// What a block of so many bytes adds to its bucket's tally.
pub(crate) fn block_held(len_bytes: u64) -> Tally {
    [0, 0, 0, 0, 1, i64::try_from(len_bytes).unwrap_or(i64::MAX)]
}

/// What goes when an entry in this state does.
pub(crate) fn taken(state: Option<&EntryState>) -> Tally {
    if planted(Mutant::ReplacedStillCounted) {
        return Tally::default();
    }
    held(state).map(|number| -number)
}

/// Adds up.
pub(crate) fn add(tally: &mut Tally, by: Tally) {
    tally.iter_mut().zip(by).for_each(|(number, by)| *number += by);
}

/// The change of a bucket's tally, if there is one.
pub(crate) fn write(bucket: BucketId, by: Tally) -> Option<Write> {
    (by != Tally::default()).then(|| Write::Tally { key: rows::usage(bucket), by })
}

impl Store {
    /// What a bucket holds, as of the newest commit.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn usage(&self, bucket: BucketId) -> Result<Usage, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::usage(bucket)).await?;
        let tally = row.map_or_else(|| Ok(Tally::default()), |row| tally_of(&row.value));
        tally.map(Usage::of)
    }

    /// What all buckets hold that hold anything.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn usages(&self) -> Result<BTreeMap<BucketId, Usage>, StoreError> {
        let mut all = BTreeMap::new();
        loop {
            let (from, to) = rows::usages(all.last_key_value().map(|(bucket, _)| *bucket));
            let page = self.inner.kv.range(from, to, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (key, row) in page {
                let bucket = rows::usage_of(&key)
                    .ok_or_else(|| StoreError::corrupt("the row of a tally names no bucket"))?;
                all.insert(bucket, Usage::of(tally_of(&row.value)?));
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Some of a bucket's copies behind `after`, in the order of keys, and where to go on; `None`: that was the last of
    /// them. A page may be empty though others follow. A row that rotted is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn copies(
        &self,
        bucket: BucketId,
        after: Option<&Key>,
    ) -> Result<(Vec<(Key, Entry)>, Option<Key>), StoreError> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
        let (from, _) = rows::entries(bucket, from, "");
        let found = self.inner.kv.inspect(from, COPIES_LOOKED_AT).await?;
        let is_whole = found.len() == COPIES_LOOKED_AT;
        let (mut copies, mut last) = (Vec::new(), None);
        for (row, value) in found {
            let Some((of, key)) = rows::entry_of(&row) else { return Ok((copies, None)) };
            if of != bucket {
                return Ok((copies, None));
            }
            let Ok(key) = key else { continue };
            last = Some(key.clone());
            let Ok(entry) = value.and_then(|row| entry_code::decode(&row.value, row.version)) else {
                continue;
            };
            if matches!(entry.state, EntryState::Filled(..)) {
                copies.push((key, entry));
            }
        }
        Ok((copies, last.filter(|_| is_whole)))
    }

    /// Counts all that is held and mends the tallies; in how many buckets something was wrong.
    ///
    /// Entries and tallies are read as one snapshot. By as much as they differ there they differ at any later time,
    /// since every commit changes both alike: the difference can be added whenever that is.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is mended.
    ///
    /// # Cancellation
    /// It may or may not be mended.
    pub async fn recount(&self) -> Result<u64, StoreError> {
        let wrong: Arc<Mutex<BTreeMap<BucketId, Tally>>> = Arc::default();
        let counted = wrong.clone();
        let each = move |key: &[u8], row: Result<crate::kv::Row, StoreError>| {
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((bucket, _)) = rows::entry_of(key) {
                // What cannot be read is what nobody can have. When it is given up all is counted again.
                let entry = row.and_then(|row| entry_code::decode(&row.value, row.version));
                let held = held(entry.as_ref().ok().map(|entry| &entry.state));
                add(counted.entry(bucket).or_default(), held);
            } else if let Some((bucket, ..)) = rows::block_of(key) {
                let len = row.and_then(|row| blocks::len_of(&row)).unwrap_or(0);
                let held = if len > 0 { block_held(len) } else { Tally::default() };
                add(counted.entry(bucket).or_default(), held);
            } else if let Some(bucket) = rows::usage_of(key) {
                let tally = row.and_then(|row| tally_of(&row.value)).unwrap_or_default();
                add(counted.entry(bucket).or_default(), tally.map(|number| -number));
            }
            // Tallies come last of what is of interest.
            !rows::is_behind_usages(key)
        };
        self.inner.kv.fold(rows::before_entries(), Box::new(each)).await?;
        let wrong = std::mem::take(&mut *wrong.lock().unwrap_or_else(PoisonError::into_inner));
        let writes: Vec<Write> = wrong.into_iter().filter_map(|(bucket, by)| write(bucket, by)).collect();
        let buckets = writes.len() as u64;
        let known = put(rows::USAGE_KNOWN.to_vec(), Bytes::new());
        self.inner.write(writes.into_iter().chain([known]).collect()).await?;
        self.inner.counted.notify_one();
        Ok(buckets)
    }

    /// Waits until all that is held was counted anew.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn recounted(&self) {
        self.inner.counted.notified().await;
    }

    /// Counts what is held, unless that is known.
    pub(crate) async fn count_if_unknown(&self) -> Result<(), StoreError> {
        if self.inner.kv.get(Table::Rows, rows::USAGE_KNOWN).await?.is_none() {
            let mended = self.recount().await?;
            tracing::info!(buckets = mended, "what buckets hold was counted");
        }
        Ok(())
    }
}

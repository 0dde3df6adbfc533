//! Sweeping: files that nothing refers to, rows of buckets that are gone, tombstones of shadows that are, and negative
//! answers that are not believed any more.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use crate::blob::BlobRef;
use crate::blobs::{Found, off_thread};
use crate::bucket_row::BucketId;
use crate::entry::{Entry, EntryState};
use crate::entry_code;
use crate::error::StoreError;
use crate::kv::{Commit, Refused, Table, Tally};
use crate::mutants::{Mutant, planted};
use crate::objects::give_up;
use crate::rows;
use crate::store::{Store, remove, when};
use crate::usage;

/// Rows of a removed bucket that one commit removes.
const ROWS_PER_COMMIT: usize = 128;
/// Files that the walk may be ahead of the look-ups.
const FILES_AHEAD: usize = 64;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Staging files of earlier starts that were removed.
    pub staging_removed: u64,
    /// Finished blobs of earlier starts without a reference that were removed.
    pub blobs_removed: u64,
    /// Blobs in quarantine that are of no use any more (a copy of them was fetched again, or they were
    /// discarded) that were removed.
    pub quarantine_removed: u64,
    /// Files looked at.
    pub files_seen: u64,
    /// Rows of removed buckets that were removed.
    pub rows_removed: u64,
    /// Removed buckets of which nothing is left.
    pub buckets_finished: u64,
    /// Tombstones of shadows that were cleared, that were removed.
    pub tombstones_removed: u64,
    /// Parts of uploads that ended, and uploads in buckets that were removed, that were removed.
    pub uploads_removed: u64,
    /// Negative answers of earlier starts that were removed.
    pub negatives_removed: u64,
    /// Blocks of objects that are here no more in blocks that were removed.
    pub blocks_removed: u64,
}

/// Entries by the keys of their rows, and where to go on.
struct EntriesPage {
    entries: Vec<(Vec<u8>, Entry)>,
    next: Option<Bound<Vec<u8>>>,
}

impl Store {
    /// Removes garbage: staging files, unreferenced blobs and negative answers of earlier starts, and what is left
    /// of removed buckets and cleared shadows. Run in the background at start, and whenever [`Store::sweep_due`] says so. One point read per
    /// file, constant memory. Stopped half way, the next one goes on.
    ///
    /// # Errors
    /// [`StoreError`]: it stopped there.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn sweep(&self) -> Result<SweepReport, StoreError> {
        let mut report = SweepReport::default();
        self.sweep_buckets(&mut report).await?;
        self.sweep_all_cleared(&mut report).await?;
        self.sweep_parts(&mut report).await?;
        self.sweep_quarantine(&mut report).await?;
        self.sweep_files(&mut report).await?;
        self.sweep_absents(&mut report).await?;
        self.count_if_unknown().await?;
        // Last: a row of a block that cannot be read stops it, and nothing else.
        report.blocks_removed += self.sweep_blocks().await?;
        Ok(report)
    }

    /// Waits until a bucket was removed or a shadow cleared whose rows are to be swept.
    pub async fn sweep_due(&self) {
        self.inner.left_over.notified().await;
    }

    async fn sweep_files(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        let inner = &self.inner;
        let epoch = inner.epoch;
        // Blobs of this start are made and removed by those who hold them.
        let is_old = move |found: &Found| match found {
            Found::Staging(id) | Found::Blob(id) => id.epoch < epoch,
            // Its row came before it: without one it was discarded.
            Found::Aside(_) => true,
        };
        if !inner.blobs.blocks() {
            let mut all = Vec::new();
            inner.blobs.walk(&mut |found| {
                all.push(found);
                true
            })?;
            for found in all.into_iter().filter(is_old) {
                self.sweep_file(found, report).await?;
            }
            return Ok(());
        }
        let (send, mut files) = tokio::sync::mpsc::channel(FILES_AHEAD);
        let blobs = inner.blobs.clone();
        let walk = off_thread(true, move || {
            blobs.walk(&mut |found| !is_old(&found) || send.blocking_send(found).is_ok())
        });
        let check = async {
            while let Some(found) = files.recv().await {
                self.sweep_file(found, report).await?;
            }
            Ok::<(), StoreError>(())
        };
        let (walked, checked) = futures::join!(walk, check);
        checked?;
        Ok(walked??)
    }

    async fn sweep_file(&self, found: Found, report: &mut SweepReport) -> Result<(), StoreError> {
        let inner = &self.inner;
        report.files_seen += 1;
        match found {
            Found::Staging(_) => report.staging_removed += 1,
            Found::Blob(id) => {
                if inner.kv.get(Table::Rows, &rows::count(id)).await?.is_some()
                    || inner.is_quarantined(id).await?
                {
                    return Ok(());
                }
                report.blobs_removed += 1;
            }
            Found::Aside(id) => {
                if inner.kv.get(Table::Rows, &rows::quarantine(id)).await?.is_some() {
                    return Ok(());
                }
                report.quarantine_removed += 1;
            }
        }
        let blobs = inner.blobs.clone();
        Ok(off_thread(blobs.blocks(), move || blobs.remove_found(found)).await??)
    }

    async fn sweep_buckets(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        let (from, to) = rows::all_removed();
        loop {
            let found = self.inner.kv.range(from.clone(), to.clone(), 16).await?;
            if found.is_empty() {
                return Ok(());
            }
            for (key, row) in found {
                self.sweep_bucket(rows::swept_id(&key)?, report).await?;
                let commit = Commit {
                    conditions: vec![when(key.clone(), Some(row.version))],
                    writes: vec![remove(rows::usage(rows::swept_id(&key)?)), remove(key)],
                    ..Commit::default()
                };
                if self.inner.commit(commit).await?.is_ok() {
                    report.buckets_finished += 1;
                }
            }
        }
    }

    /// Removes the tombstones of a bucket whose shadow was cleared, as far as they are older than that: they hid what
    /// that shadow had, and say nothing of another. To be waited for before another is set.
    ///
    /// # Errors
    /// [`StoreError`]: some are left, and will be swept later.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn sweep_cleared(&self, id: BucketId) -> Result<u64, StoreError> {
        let mark = rows::cleared(id);
        let Some(cleared) = self.inner.kv.get(Table::Rows, &mark).await? else { return Ok(0) };
        let mut removed = 0;
        let (mut from, _) = rows::entries(id, Bound::Unbounded, "");
        loop {
            let page = self.entries_page(from, Some(id)).await?;
            let mut ends = Vec::new();
            for (key, entry) in page.entries {
                if entry.state == EntryState::Tombstone && entry.row_version < cleared.version {
                    ends.push(self.forget_row(key, entry.row_version));
                }
            }
            for end in ends {
                removed += u64::from(end.await?);
            }
            let Some(next) = page.next else { break };
            from = next;
        }
        // Unless it was cleared once more meanwhile.
        self.forget_row(mark, cleared.version).await?;
        Ok(removed)
    }

    async fn sweep_all_cleared(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        let (from, to) = rows::all_cleared();
        let mut after = from;
        loop {
            let found = self.inner.kv.range(after, to.clone(), 16).await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Bound::Excluded(last.clone());
            for (key, _) in found {
                report.tombstones_removed += self.sweep_cleared(rows::swept_id(&key)?).await?;
            }
        }
    }

    /// The next entries, of all buckets or of one. One row that rotted does not keep the others: it is left out.
    async fn entries_page(
        &self,
        from: Bound<Vec<u8>>,
        of: Option<BucketId>,
    ) -> Result<EntriesPage, StoreError> {
        let found = self.inner.kv.inspect(from, ROWS_PER_COMMIT).await?;
        let is_whole = found.len() == ROWS_PER_COMMIT;
        let last = found.last().map(|(key, _)| key.clone());
        let is_wanted = |key: &[u8]| {
            rows::entry_of(key).is_some_and(|(bucket, _)| of.is_none_or(|wanted| wanted == bucket))
        };
        let next = last.filter(|last| is_whole && is_wanted(last)).map(Bound::Excluded);
        let entries = found.into_iter().filter(|(key, _)| is_wanted(key)).filter_map(|(key, row)| {
            let row = row.ok()?;
            Some((key, entry_code::decode(&row.value, row.version).ok()?))
        });
        Ok(EntriesPage { entries: entries.collect(), next })
    }

    /// Finds the negative answers of earlier starts: those that are still believed end in their time.
    async fn sweep_absents(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        if self.inner.absents_swept.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut from = rows::before_entries();
        loop {
            let page = self.entries_page(from, None).await?;
            let mut ends = Vec::new();
            for (key, entry) in page.entries {
                let EntryState::Absent { until, .. } = entry.state else { continue };
                if until > self.inner.clock.now() && self.inner.negatives.has_room() {
                    self.inner.negatives.note(until, entry.row_version, key);
                } else {
                    ends.push(self.forget_row(key, entry.row_version));
                }
            }
            for end in ends {
                report.negatives_removed += u64::from(end.await?);
            }
            let Some(next) = page.next else { break };
            from = next;
        }
        self.inner.absents_swept.store(true, Ordering::Release);
        Ok(())
    }

    async fn sweep_bucket(&self, id: BucketId, report: &mut SweepReport) -> Result<(), StoreError> {
        let (from, to) = rows::entries(id, Bound::Unbounded, "");
        loop {
            // Nothing comes after: the gate is gone, and no bucket ever gets this id again.
            let found = self.inner.kv.range(from.clone(), to.clone(), ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                report.uploads_removed += self.discard_uploads(id).await?;
                self.forget_migration(id).await?;
                report.blocks_removed += self.forget_blocks(id).await?;
                if !planted(Mutant::InventoryOutlivesBucket) {
                    report.rows_removed += self.forget_inventories(id).await?;
                }
                return Ok(());
            }
            let mut commit = Commit::default();
            let mut tally = Tally::default();
            let rows = found.len() as u64;
            for (key, row) in found {
                let entry = entry_code::decode(&row.value, row.version)?;
                let blob = entry.state.stored().map_or(&BlobRef::Empty, |stored| &stored.blob);
                commit.conditions.push(when(key.clone(), Some(row.version)));
                commit.writes.push(remove(key));
                commit.writes.extend(give_up(blob));
                usage::add(&mut tally, usage::taken(Some(&entry.state)));
            }
            commit.writes.extend(usage::write(id, tally));
            let effects = self.inner.clone();
            let end =
                self.inner.order(commit, move |end| end.map(|committed| effects.forget_all(&committed)));
            match end.await? {
                Ok(()) => report.rows_removed += rows,
                // Another sweep was here: look again.
                Err(Refused::Condition(_)) => {}
                Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error),
            }
        }
    }
}

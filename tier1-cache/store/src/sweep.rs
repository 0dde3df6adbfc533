//! Sweeping: files that nothing refers to, and rows of buckets that are gone.

use crate::blob::BlobRef;
use crate::blobs::{Found, off_thread};
use crate::bucket_row::BucketId;
use crate::entry_code;
use crate::error::StoreError;
use crate::kv::{Commit, Refused, Table};
use crate::objects::give_up;
use crate::rows;
use crate::store::{Store, remove, when};

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
}

impl Store {
    /// Removes garbage: staging files and unreferenced blobs of earlier starts, and what is left of removed
    /// buckets. Run in the background at start, and whenever [`Store::sweep_due`] says so. One point read per
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
        self.sweep_quarantine(&mut report).await?;
        self.sweep_files(&mut report).await?;
        Ok(report)
    }

    /// Waits until a bucket was removed whose rows are to be swept.
    pub async fn sweep_due(&self) {
        self.inner.bucket_removed.notified().await;
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
                self.sweep_bucket(rows::removed_id(&key)?, report).await?;
                let commit = Commit {
                    conditions: vec![when(key.clone(), Some(row.version))],
                    writes: vec![remove(key)],
                    ..Commit::default()
                };
                if self.inner.commit(commit).await?.is_ok() {
                    report.buckets_finished += 1;
                }
            }
        }
    }

    async fn sweep_bucket(&self, id: BucketId, report: &mut SweepReport) -> Result<(), StoreError> {
        let (from, to) = rows::entries(id, std::ops::Bound::Unbounded, "");
        loop {
            // Nothing comes after: the gate is gone, and no bucket ever gets this id again.
            let found = self.inner.kv.range(from.clone(), to.clone(), ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok(());
            }
            let mut commit = Commit::default();
            let rows = found.len() as u64;
            for (key, row) in found {
                let entry = entry_code::decode(&row.value, row.version)?;
                let blob = entry.state.stored().map_or(BlobRef::Empty, |stored| stored.blob);
                commit.conditions.push(when(key.clone(), Some(row.version)));
                commit.writes.push(remove(key));
                commit.writes.extend(give_up(blob));
            }
            let effects = self.inner.clone();
            let end = self.inner.order(commit, move |end| {
                end.map(|committed| {
                    let gone = committed.zeroed.iter().filter_map(|row| rows::counted(row));
                    gone.for_each(|id| effects.forget(id));
                })
            });
            match end.await? {
                Ok(()) => report.rows_removed += rows,
                // Another sweep was here: look again.
                Err(Refused::Condition(_)) => {}
                Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error),
            }
        }
    }
}

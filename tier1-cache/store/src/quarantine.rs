//! The quarantine: blobs that were found damaged. They are never served again, and those that a client wrote
//! are kept until an operator discards them, also when the object was overwritten or deleted meanwhile.
//!
//! The order of effects: a row in the index says so first, durably, then the bytes move to `quarantine/`. A
//! crash between the two leaves a blob that is not served, and the next sweep moves it. A blob that was filled
//! is of no use once its object was filled again: it goes with the commit that replaces it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fallthrough_object::{ETag, Key, Timestamp};
use serde::{Deserialize, Serialize};

use crate::blob::{BlobId, BlobRef};
use crate::blobs::off_thread;
use crate::bucket_row::Bucket;
use crate::entry::{Entry, EntryState, ObjectInfo, Stored};
use crate::error::StoreError;
use crate::kv::{Commit, Refused, Table, Write};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Inner, Store, put, remove, when};
use crate::sweep::SweepReport;

/// Blobs in quarantine that are remembered in memory; of more than these the index is asked.
const REMEMBERED: usize = 64 * 1024;
/// Rows that are read at once.
const PAGE: usize = 256;

/// A blob in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The blob.
    pub blob: BlobId,
    /// Whose bytes it had.
    pub row: QuarantineRow,
    /// Bytes that are kept in `quarantine/`; `None` if nothing is left of them.
    pub kept_bytes: Option<u64>,
}

/// What the index says of a blob in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// The bucket, as it was called then.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// A client wrote it: nobody else has these bytes. Else they were filled.
    pub written: bool,
    /// When the damage was found.
    pub found: Timestamp,
    /// What is damaged.
    pub what: String,
    /// Length of the object in bytes.
    pub size_bytes: u64,
    /// The object's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
}

/// What is remembered of the quarantine, so that reads need not ask the index.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Each with whether it is kept when its entry goes.
    blobs: Mutex<BTreeMap<BlobId, bool>>,
    /// Rows in the index: as many as are remembered, or more.
    rows: AtomicUsize,
}

enum Known {
    No,
    Yes { kept: bool },
    AskTheIndex,
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BlobId, bool>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    fn add(&self, id: BlobId, kept: bool) {
        let mut blobs = self.lock();
        if blobs.len() < REMEMBERED && blobs.insert(id, kept).is_some() {
            return;
        }
        self.rows.fetch_add(1, Ordering::SeqCst);
    }

    fn remove(&self, id: BlobId) {
        self.lock().remove(&id);
        self.rows.fetch_sub(1, Ordering::SeqCst);
    }

    fn look(&self, id: BlobId) -> Known {
        // As good as always.
        if self.rows.load(Ordering::SeqCst) == 0 {
            return Known::No;
        }
        let blobs = self.lock();
        match blobs.get(&id) {
            Some(kept) => Known::Yes { kept: *kept },
            None if blobs.len() < self.rows.load(Ordering::SeqCst) => Known::AskTheIndex,
            None => Known::No,
        }
    }
}

impl Store {
    /// Puts the bytes of an object into quarantine: they are damaged, as `what` says. `false` if the object is
    /// not what `entry` says any more, or has no bytes of its own.
    ///
    /// # Errors
    /// [`StoreError`]: whether it is in quarantine is not known; find it damaged again.
    ///
    /// # Cancellation
    /// It may or may not be in quarantine; its bytes are moved by the next sweep.
    pub async fn quarantine(
        &self,
        bucket: &Bucket,
        key: &Key,
        entry: &Entry,
        what: &str,
    ) -> Result<bool, StoreError> {
        let Some(stored) = entry.state.stored() else { return Ok(false) };
        let mut any = false;
        for id in self.damaged_blobs(stored).await? {
            any |= self.quarantine_blob(bucket, key, entry, stored, id, what).await?;
        }
        Ok(any)
    }

    /// The blobs of an object that is damaged: of one in several files, those that are.
    async fn damaged_blobs(&self, stored: &Stored) -> Result<Vec<BlobId>, StoreError> {
        let BlobRef::Parts(parts) = &stored.blob else { return Ok(stored.blob.ids().collect()) };
        let mut damaged = Vec::new();
        for part in &**parts {
            let info = ObjectInfo { size_bytes: part.size_bytes, ..ObjectInfo::default() };
            let alone = Stored { info: Arc::new(info), blob: BlobRef::File(part.id) };
            let checked = async {
                let mut check = self.check_body(&alone).await?;
                while check.step().await?.is_some() {}
                Ok(())
            };
            match checked.await {
                Ok(()) => {}
                Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => damaged.push(part.id),
                Err(error) => return Err(error),
            }
        }
        Ok(damaged)
    }

    async fn quarantine_blob(
        &self,
        bucket: &Bucket,
        key: &Key,
        entry: &Entry,
        stored: &Stored,
        id: BlobId,
        what: &str,
    ) -> Result<bool, StoreError> {
        let inner = self.inner.clone();
        if inner.is_quarantined(id).await? {
            return Ok(true);
        }
        let written = matches!(entry.state, EntryState::Written(_));
        let row = QuarantineRow {
            bucket: bucket.name.to_string(),
            key: key.as_str().to_owned(),
            written,
            found: inner.clock.now(),
            what: what.to_owned(),
            size_bytes: stored.info.size_bytes,
            etag: stored.info.etag.clone(),
        };
        let commit = Commit {
            // Only what an entry has can be damaged: the entry must still be the same.
            conditions: vec![
                when(rows::entry(bucket.id, key.as_str()), Some(entry.row_version)),
                when(rows::quarantine(id), None),
            ],
            writes: vec![put(rows::quarantine(id), rows::to_json(&row)?)],
            ..Commit::default()
        };
        let effects = inner.clone();
        let end = inner.order(commit, move |end| {
            if end.is_ok() || matches!(end, Err(Refused::Condition(1))) {
                effects.withdraw(id, written, end.is_ok());
            }
            end
        });
        match end.await? {
            Ok(_) => {}
            // Somebody else found it.
            Err(Refused::Condition(1)) => return Ok(true),
            Err(Refused::Condition(_)) => return Ok(false),
            Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error),
        }
        self.move_aside(id, matches!(stored.blob, BlobRef::Row(_))).await?;
        Ok(true)
    }

    /// Whether the bytes of an entry are known to be damaged.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn in_quarantine(&self, entry: &Entry) -> Result<bool, StoreError> {
        let Some(stored) = entry.state.stored() else { return Ok(false) };
        for id in stored.blob.ids() {
            if self.inner.is_quarantined(id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves the bytes of a blob whose row is in the quarantine already.
    async fn move_aside(&self, id: BlobId, small: bool) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let blobs = inner.blobs.clone();
        if !small {
            off_thread(blobs.blocks(), move || blobs.set_aside(id)).await??;
        } else if let Ok(Some(row)) = inner.kv.get(Table::Bodies, &rows::body(id)).await {
            // As the index gives them, damage and all; there is nothing to keep if it gives none.
            off_thread(blobs.blocks(), move || blobs.keep_aside(id, &row.value)).await??;
        }
        Ok(())
    }

    /// Up to `limit` blobs in quarantine by id, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn quarantined(
        &self,
        after: Option<BlobId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, StoreError> {
        let (from, to) = rows::quarantines(after);
        let mut all = Vec::new();
        for (key, row) in self.inner.kv.range(from, to, limit).await? {
            let blob = rows::quarantined(&key)
                .ok_or_else(|| StoreError::corrupt("a row of the quarantine names no blob"))?;
            let row: QuarantineRow = rows::from_json("the quarantine", &row.value)?;
            let blobs = self.inner.blobs.clone();
            let kept_bytes = off_thread(blobs.blocks(), move || blobs.aside_bytes(blob)).await??;
            all.push(Quarantined { blob, row, kept_bytes });
        }
        Ok(all)
    }

    /// Discards a blob in quarantine for good; `false` if there is none, or if an entry still has it: overwrite
    /// or delete that object first.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have been discarded.
    pub async fn discard_quarantined(&self, id: BlobId) -> Result<bool, StoreError> {
        let inner = self.inner.clone();
        let key = rows::quarantine(id);
        loop {
            let Some(row) = inner.kv.get(Table::Rows, &key).await? else { return Ok(false) };
            if inner.kv.get(Table::Rows, &rows::count(id)).await?.is_some()
                || inner.kv.get(Table::Bodies, &rows::body(id)).await?.is_some()
            {
                return Ok(false);
            }
            let commit = Commit {
                conditions: vec![when(key.clone(), Some(row.version)), when(rows::count(id), None)],
                writes: vec![remove(key.clone())],
                ..Commit::default()
            };
            let effects = inner.clone();
            let end = inner.order(commit, move |end| {
                if end.is_ok() {
                    effects.release_quarantined(id);
                }
                end.is_ok()
            });
            if end.await? {
                return Ok(true);
            }
        }
    }

    /// Fills the memory of the quarantine from the index: once, before anything is served.
    pub(crate) async fn remember_quarantine(&self) -> Result<(), StoreError> {
        if planted(Mutant::QuarantineForgotten) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let (from, to) = rows::quarantines(after);
            let found = self.inner.kv.range(from, to, PAGE).await?;
            for (key, row) in &found {
                let id = rows::quarantined(key)
                    .ok_or_else(|| StoreError::corrupt("a row of the quarantine names no blob"))?;
                let row: QuarantineRow = rows::from_json("the quarantine", &row.value)?;
                self.inner.quarantine.add(id, row.written);
                after = Some(id);
            }
            if found.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Ends what a crash left half done: moves what is still in its old place, and lets go of filled blobs whose
    /// entry has gone.
    pub(crate) async fn sweep_quarantine(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let mut after = None;
        loop {
            let (from, to) = rows::quarantines(after);
            let found = inner.kv.range(from, to, PAGE).await?;
            for (key, row) in &found {
                let Some(id) = rows::quarantined(key) else { continue };
                after = Some(id);
                let written = rows::from_json::<QuarantineRow>("the quarantine", &row.value)?.written;
                let file = inner.kv.get(Table::Rows, &rows::count(id)).await?.is_some();
                let small = inner.kv.get(Table::Bodies, &rows::body(id)).await?.is_some();
                if !written && !file && !small {
                    if self.discard_quarantined(id).await? {
                        report.quarantine_removed += 1;
                    }
                    continue;
                }
                let blobs = inner.blobs.clone();
                if off_thread(blobs.blocks(), move || blobs.aside_bytes(id)).await??.is_none() || !small {
                    self.move_aside(id, small).await?;
                }
            }
            if found.len() < PAGE {
                return Ok(());
            }
        }
    }
}

impl Inner {
    /// Whether a blob must not be served.
    pub(crate) async fn is_quarantined(&self, id: BlobId) -> Result<bool, StoreError> {
        match self.quarantine.look(id) {
            Known::No => Ok(false),
            Known::Yes { .. } => Ok(true),
            Known::AskTheIndex => Ok(self.kv.get(Table::Rows, &rows::quarantine(id)).await?.is_some()),
        }
    }

    /// From here on nobody gets its bytes; who reads them already finishes on blocks that are verified.
    fn withdraw(&self, id: BlobId, kept: bool, new: bool) {
        if new {
            self.quarantine.add(id, kept);
        }
        if !planted(Mutant::QuarantineServed) {
            self.close_blob(id);
            self.hot.drop_body(id);
        }
    }

    /// Whether a blob that no entry refers to any more stays for an operator.
    pub(crate) fn stays_in_quarantine(&self, id: BlobId) -> bool {
        match self.quarantine.look(id) {
            Known::No => false,
            Known::Yes { kept } => kept && !planted(Mutant::QuarantineDropped),
            // The sweep looks it up.
            Known::AskTheIndex => true,
        }
    }

    /// What a commit that gives up the blob of a filled object has to write besides: the quarantine lets go of it.
    pub(crate) fn quarantine_gives_up(&self, old: &BlobRef) -> Option<(BlobId, Write)> {
        // What is in several files was written, and is kept.
        let (BlobRef::File(id) | BlobRef::Row(id)) = *old else { return None };
        match self.quarantine.look(id) {
            Known::Yes { kept: false } => Some((id, remove(rows::quarantine(id)))),
            Known::Yes { kept: true } | Known::No | Known::AskTheIndex => None,
        }
    }

    /// The row of a blob in quarantine is gone: so are its bytes.
    pub(crate) fn release_quarantined(&self, id: BlobId) {
        self.quarantine.remove(id);
        self.blobs.remove_aside(id);
    }
}

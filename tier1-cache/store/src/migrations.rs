//! Migrations: how far what is behind a bucket was copied here and compared, and what was noticed on the way.
//!
//! One row for each bucket that is being migrated, and one for each key of which there is something to tell. The row is
//! changed by whoever gives orders and by the worker that carries them out, each on the condition that it is still what
//! was read.

use std::collections::BTreeMap;
use std::ops::Bound;

use fallthrough_object::{Key, Timestamp};
use serde::{Deserialize, Serialize};

use crate::bucket_row::{Bucket, BucketId};
use crate::error::{CommitError, StoreError};
use crate::kv::{Commit, Table};
use crate::rows;
use crate::store::{Store, put, remove, when};

/// Rows that one commit removes.
const ROWS_PER_COMMIT: usize = 256;

/// A migration as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MigrationRow {
    /// When it began.
    pub started: Timestamp,
    /// The bucket's gate then: a shadow that was changed since is another one.
    pub gate_version: u64,
    /// What is to be done, and how gently.
    pub options: MigrationOptions,
    /// What the worker does.
    pub phase: MigrationPhase,
    /// It was told to wait.
    pub paused: bool,
    /// Why it stopped by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// How far the shadow's list was counted.
    pub counted: Walk,
    /// How far it was copied.
    pub copied: Walk,
    /// How far it was compared.
    pub compared: Walk,
    /// When the last comparison came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// When the shadow was detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_over: Option<Timestamp>,
}

/// What the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MigrationOptions {
    /// Only keys with this prefix.
    pub prefix: String,
    /// Bytes per second, on the average; 0: as fast as it goes.
    pub bytes_per_second: u64,
    /// Objects on their way at one time; 0: the default.
    pub concurrency: u32,
    /// Minutes of the day, UTC, from and to: it copies only between them. Equal: always.
    pub window: (u16, u16),
}

/// What the worker does with a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationPhase {
    /// It copies.
    #[default]
    Copying,
    /// It tries again what could not be copied.
    Retrying,
    /// It compares.
    Comparing,
    /// Nothing, until it is told.
    Idle,
}

/// A walk over the lists of all rules, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Walk {
    /// The rule that it is at.
    pub rule: usize,
    /// The last name that it is done with.
    pub after: String,
    /// It has come to the end.
    pub done: bool,
    /// Objects seen.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What came of them, by word.
    pub tally: BTreeMap<String, Count>,
}

/// Objects and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Walk {
    /// Counts an object, and what came of it.
    pub fn count(&mut self, word: &str, bytes: u64) {
        let count = self.tally.entry(word.to_owned()).or_default();
        count.objects += 1;
        count.bytes += bytes;
    }

    /// How many objects came to this.
    pub fn of(&self, word: &str) -> Count {
        self.tally.get(word).copied().unwrap_or_default()
    }
}

/// Something to tell of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MigrationNote {
    /// What, in a word.
    pub what: String,
    /// More of it, for people.
    pub detail: String,
    /// Size at the shadow, or here if it is not there.
    pub size_bytes: u64,
}

/// A migration and its notes, as one change leaves them.
#[derive(Clone, Debug, Default)]
pub struct MigrationChange {
    /// The row.
    pub row: MigrationRow,
    /// Notes to write; `None`: the key has none any more.
    pub notes: Vec<(Key, Option<MigrationNote>)>,
}

impl Store {
    /// The migration of a bucket, and the version of its row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn migration(&self, bucket: BucketId) -> Result<Option<(MigrationRow, u64)>, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::migration(bucket)).await?;
        row.map(|row| Ok((rows::from_json("a migration", &row.value)?, row.version))).transpose()
    }

    /// Writes the migration of a bucket and its notes, if its row still has the version `seen` (`None`: there is none)
    /// and the bucket is still the same. Returns the row's new version.
    ///
    /// # Errors
    /// [`CommitError`]. Nothing was written after `Conflict` and `Gate`.
    ///
    /// # Cancellation
    /// It may or may not be written, as a whole.
    pub async fn put_migration(
        &self,
        bucket: &Bucket,
        seen: Option<u64>,
        change: &MigrationChange,
    ) -> Result<u64, CommitError> {
        let at = rows::migration(bucket.id);
        let mut writes = vec![put(at.clone(), rows::to_json(&change.row)?)];
        for (key, note) in &change.notes {
            let at = rows::migration_note(bucket.id, key.as_str());
            writes.push(match note {
                Some(note) => put(at, rows::to_json(note)?),
                None => remove(at),
            });
        }
        let conditions = vec![when(rows::gate(bucket.id), Some(bucket.gate_version)), when(at, seen)];
        match self.inner.commit(Commit { conditions, writes, ..Commit::default() }).await? {
            Ok(committed) => Ok(committed.version),
            Err(0) => Err(CommitError::Gate),
            Err(_) => Err(CommitError::Conflict),
        }
    }

    /// Forgets the migration of a bucket and all its notes.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed by then stays removed, and the row goes first.
    pub async fn forget_migration(&self, bucket: BucketId) -> Result<(), StoreError> {
        let at = rows::migration(bucket);
        // Without conditions nothing refuses it.
        let _ = self.inner.commit(Commit { writes: vec![remove(at)], ..Commit::default() }).await?;
        self.forget_notes(bucket).await
    }

    /// Forgets what was noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_notes(&self, bucket: BucketId) -> Result<(), StoreError> {
        loop {
            let (from, to) = rows::migration_notes(bucket, None);
            let found = self.inner.kv.range(from, to, ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok(());
            }
            let writes = found.into_iter().map(|(at, _)| remove(at)).collect();
            let _ = self.inner.commit(Commit { writes, ..Commit::default() }).await?;
        }
    }

    /// What was noted, in order of keys, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn migration_notes(
        &self,
        bucket: BucketId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Key, MigrationNote)>, StoreError> {
        let (from, to): (Bound<Vec<u8>>, Bound<Vec<u8>>) = rows::migration_notes(bucket, after);
        let found = self.inner.kv.range(from, to, limit).await?;
        let read = |(at, row): (Vec<u8>, crate::kv::Row)| {
            Ok((rows::entry_key(&at)?, rows::from_json("a migration's note", &row.value)?))
        };
        found.into_iter().map(read).collect()
    }
}

//! The outbox: what waits for its delivery to origins. The rows are the truth; here is remembered how many there are,
//! and when each is due, so that nobody has to look for them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fallthrough_object::{Key, Timestamp};
use tokio::sync::Notify;

use crate::bucket_row::BucketId;
use crate::error::StoreError;
use crate::intent::{self, Intent};
use crate::kv::Table;
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::Store;

/// Rows that are read at once.
const PAGE: usize = 256;

/// What waits, as far as it must be known at any time. Bounded by [`crate::StoreOptions::outbox_rows_max`], and by what
/// is committed at one moment.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: BTreeMap<Vec<u8>, Noted>,
    /// By time: what is to be tried.
    due: BTreeSet<(Timestamp, Vec<u8>)>,
    /// Rows that somebody attends to: they are due for nobody else.
    attended: BTreeSet<Vec<u8>>,
    bytes: u64,
    /// A commit is in doubt: the rows have to be read again.
    stale: bool,
    /// Raised by every commit that is noted.
    generation: u64,
}

/// What is remembered of an intent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) first: Timestamp,
    pub(crate) next: Timestamp,
    pub(crate) bytes: u64,
    pub(crate) dead: bool,
}

impl Noted {
    pub(crate) fn of(intent: &Intent) -> Self {
        Self {
            first: intent.row.first,
            next: intent.row.next,
            bytes: intent.size_bytes(),
            dead: intent.row.dead,
        }
    }
}

impl Waiting {
    fn set(&mut self, row: Vec<u8>, noted: Option<Noted>) {
        let attended = self.attended.contains(&row);
        let before = match noted {
            Some(noted) => {
                if !noted.dead && !attended {
                    self.due.insert((noted.next, row.clone()));
                }
                self.bytes += noted.bytes;
                self.rows.insert(row.clone(), noted)
            }
            None => self.rows.remove(&row),
        };
        let Some(before) = before else { return };
        self.bytes -= before.bytes;
        if noted.is_none_or(|now| now.dead || attended || now.next != before.next) {
            self.due.remove(&(before.next, row));
        }
    }

    fn of(&self, bucket: BucketId) -> impl Iterator<Item = &Noted> {
        self.rows.range(rows::intents(bucket, None)).map(|(_, noted)| noted)
    }
}

impl OutboxStatus {
    fn sum<'a>(waiting: impl Iterator<Item = &'a Noted>) -> Self {
        let mut status = Self::default();
        for noted in waiting {
            if noted.dead {
                status.dead += 1;
            } else {
                status.pending += 1;
            }
            status.bytes += noted.bytes;
            status.oldest = Some(status.oldest.map_or(noted.first, |oldest| oldest.min(noted.first)));
        }
        status
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit has left this in the row. Called in the order of the commits.
    pub(crate) fn committed(&self, row: Vec<u8>, noted: Option<Noted>) {
        let mut waiting = self.lock();
        waiting.set(row, noted);
        waiting.generation += 1;
        drop(waiting);
        self.changed.notify_one();
    }

    /// A commit may or may not have changed a row.
    pub(crate) fn in_doubt(&self) {
        self.lock().stale = true;
        self.changed.notify_one();
    }
}

/// An intent that may be tried now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueIntent {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: Key,
}

/// What waits for a bucket, or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Keys that will be tried.
    pub pending: u64,
    /// Keys that will not be tried until somebody says so.
    pub dead: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// Since when the origin lacks what is here: of the key that has waited longest.
    pub oldest: Option<Timestamp>,
}

impl OutboxStatus {
    /// Keys that wait, in whichever state.
    pub fn waiting(&self) -> u64 {
        self.pending + self.dead
    }
}

/// Somebody attends to a key's intent. Dropping it makes the intent due, if it is still there.
#[derive(Debug)]
pub struct Attendance {
    store: Store,
    row: Vec<u8>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let row = std::mem::take(&mut self.row);
        let mut waiting = self.store.inner.outbox.lock();
        waiting.attended.remove(&row);
        if let Some(noted) = waiting.rows.get(&row).copied() {
            waiting.set(row, Some(noted));
        }
        drop(waiting);
        self.store.inner.outbox.changed.notify_one();
    }
}

/// The outbox takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull {
    /// Keys that wait.
    pub rows: usize,
    /// Bytes of their objects.
    pub bytes: u64,
}

impl Store {
    /// Whether the outbox takes an intent for this key.
    ///
    /// # Errors
    /// [`OutboxFull`].
    pub fn outbox_takes(&self, bucket: BucketId, key: &Key) -> Result<(), OutboxFull> {
        let waiting = self.inner.outbox.lock();
        let options = &self.inner.options;
        let (rows, bytes) = (waiting.rows.len(), waiting.bytes);
        let again = waiting.rows.contains_key(&rows::intent(bucket, key.as_str()));
        let fits = (rows < options.outbox_rows_max || again) && bytes < options.outbox_bytes_max;
        if fits || planted(Mutant::OutboxUnbounded) { Ok(()) } else { Err(OutboxFull { rows, bytes }) }
    }

    /// What waits for a bucket.
    pub fn outbox_of(&self, bucket: BucketId) -> OutboxStatus {
        OutboxStatus::sum(self.inner.outbox.lock().of(bucket))
    }

    /// What waits for all buckets.
    pub fn outbox_of_all(&self) -> OutboxStatus {
        OutboxStatus::sum(self.inner.outbox.lock().rows.values())
    }

    /// Whether anything waits for a bucket.
    pub fn has_intents(&self, bucket: BucketId) -> bool {
        let waiting = self.inner.outbox.lock();
        // In doubt the rows have to be asked. As good as always there are none.
        waiting.stale || (!waiting.rows.is_empty() && waiting.of(bucket).next().is_some())
    }

    /// Up to `limit` intents that are due at `now`, the earliest first, without those that `skip` names.
    pub fn due_intents(
        &self,
        now: Timestamp,
        limit: usize,
        skip: impl Fn(&DueIntent) -> bool,
    ) -> Vec<DueIntent> {
        let waiting = self.inner.outbox.lock();
        let due = waiting.due.iter().take_while(|(next, _)| *next <= now).filter_map(|(_, row)| {
            let (bucket, key) = rows::intent_of(row)?;
            Some(DueIntent { bucket, key: key.ok()? })
        });
        due.filter(|due| !skip(due)).take(limit).collect()
    }

    /// When the next intent is due that is not due at `now` yet.
    pub fn next_intent_due(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.inner.outbox.lock();
        waiting
            .due
            .range((Bound::Excluded((Timestamp(now.0 + 1), Vec::new())), Bound::Unbounded))
            .next()
            .map(|due| due.0)
    }

    /// Waits until something has changed about the outbox since this was called last.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn outbox_changed(&self) {
        self.inner.outbox.changed.notified().await;
    }

    /// Whoever is about to prepare an intent attends to it, one at a time for a key: until this is dropped it is due for
    /// nobody else, whether it is there already or only comes with a commit that is on its way.
    pub fn attend_intent(&self, bucket: BucketId, key: &Key) -> Attendance {
        let row = rows::intent(bucket, key.as_str());
        self.inner.outbox.lock().attended.insert(row.clone());
        Attendance { store: self.clone(), row }
    }

    /// The intent of a key, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn intent(&self, bucket: BucketId, key: &Key) -> Result<Option<Arc<Intent>>, StoreError> {
        let at = rows::intent(bucket, key.as_str());
        let Some(found) = self.inner.kv.get(Table::Rows, &at).await? else { return Ok(None) };
        Ok(Some(Arc::new(intent::decode(bucket, key.clone(), &found.value, found.version)?)))
    }

    /// Up to `limit` intents of a bucket in the order of keys, behind the one of this key.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn intents(
        &self,
        bucket: BucketId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Intent>>, StoreError> {
        let (from, to) = rows::intents(bucket, after);
        let found = self.inner.kv.range(from, to, limit).await?;
        found.into_iter().map(|(at, row)| intent::read(&at, &row.value, row.version)).collect()
    }

    /// Reads the outbox again if a commit left it in doubt. `false`: it still is.
    ///
    /// # Errors
    /// [`StoreError`]: as `false`.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn settle_outbox(&self) -> Result<bool, StoreError> {
        if !self.inner.outbox.lock().stale {
            return Ok(true);
        }
        if !self.inner.kv.status().writable {
            return Ok(false);
        }
        self.load_outbox().await?;
        Ok(true)
    }

    /// Reads the whole outbox. A row that cannot be read keeps its bucket from being removed, and nothing else.
    pub(crate) async fn load_outbox(&self) -> Result<(), StoreError> {
        loop {
            let before = {
                let mut waiting = self.inner.outbox.lock();
                waiting.stale = false;
                waiting.generation
            };
            let read = self.read_outbox().await?;
            let mut waiting = self.inner.outbox.lock();
            // What was committed meanwhile may or may not have been read.
            if waiting.generation != before {
                continue;
            }
            let attended = std::mem::take(&mut waiting.attended);
            *waiting = Waiting { attended, generation: before, stale: waiting.stale, ..Waiting::default() };
            for (row, noted) in read {
                waiting.set(row, Some(noted));
            }
            drop(waiting);
            self.inner.outbox.changed.notify_one();
            return Ok(());
        }
    }

    async fn read_outbox(&self) -> Result<BTreeMap<Vec<u8>, Noted>, StoreError> {
        let mut from = rows::before_intents();
        let mut read = BTreeMap::new();
        loop {
            let page = self.inner.kv.inspect(from, PAGE).await?;
            let whole = page.len() == PAGE;
            let Some((last, _)) = page.last() else { return Ok(read) };
            from = Bound::Excluded(last.clone());
            for (at, row) in page {
                if rows::intent_of(&at).is_none() {
                    return Ok(read);
                }
                match row.and_then(|row| intent::read(&at, &row.value, row.version)) {
                    Ok(intent) => drop(read.insert(at, Noted::of(&intent))),
                    Err(error) => tracing::error!(%error, "what waits for an origin cannot be read"),
                }
            }
            if !whole {
                return Ok(read);
            }
        }
    }
}

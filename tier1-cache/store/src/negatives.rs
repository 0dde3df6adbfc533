//! Negative answers ("the shadow does not have it"): no more than so many, and none for longer than it is believed.
//!
//! Each is a row of the index. Here is remembered when each ends, so that none has to be looked for; those of earlier
//! starts are found by the sweep.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fallthrough_object::Timestamp;
use tokio::sync::Notify;

use crate::error::StoreError;
use crate::kv::{Commit, Refused};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Store, remove, when};

/// Negative answers kept at one time: who asks for what is not there must not fill the index.
pub(crate) const MAX_ROWS: usize = 65_536;
/// Bytes of their keys.
const MAX_BYTES: usize = 16 << 20;
/// Rows that are removed at once.
const REMOVED_AT_ONCE: usize = 256;

/// When each negative answer ends.
#[derive(Debug, Default)]
pub(crate) struct Negatives {
    ends: Mutex<Ends>,
    noted: Notify,
}

#[derive(Debug, Default)]
struct Ends {
    /// By end: the row's version and its key.
    rows: BTreeSet<(Timestamp, u64, Vec<u8>)>,
    bytes: usize,
}

impl Negatives {
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        let ends = self.lock();
        ends.rows.len() < MAX_ROWS && ends.bytes < MAX_BYTES || planted(Mutant::NegativesUnbounded)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().rows.len()
    }

    /// A commit of this version has written the row of a negative answer.
    pub(crate) fn note(&self, until: Timestamp, version: u64, row: Vec<u8>) {
        let mut ends = self.lock();
        let bytes = row.len();
        if ends.rows.insert((until, version, row)) {
            ends.bytes += bytes;
        }
        drop(ends);
        self.noted.notify_one();
    }

    /// Takes out some of those that have ended by now.
    fn take_ended(&self, now: Timestamp) -> Vec<(u64, Vec<u8>)> {
        let mut ends = self.lock();
        let mut ended = Vec::new();
        while ended.len() < REMOVED_AT_ONCE && ends.rows.first().is_some_and(|(until, ..)| *until <= now) {
            let (_, version, row) = ends.rows.pop_first().expect("the first is there");
            ends.bytes -= row.len();
            ended.push((version, row));
        }
        ended
    }
}

impl Store {
    /// Whether another negative answer may be written down: there is room among them, and on the disk.
    pub fn takes_negatives(&self) -> bool {
        let inner = &*self.inner;
        inner.negatives.has_room() && inner.look_at_free().has(inner.options.reserve_bytes, 0).is_ok()
    }

    /// Waits until there is a negative answer that will have to be removed.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn negatives_noted(&self) {
        while self.inner.negatives.len() == 0 {
            self.inner.negatives.noted.notified().await;
        }
    }

    /// Removes negative answers that are not believed any more; how many there were.
    ///
    /// # Errors
    /// [`StoreError`]: those that are left are removed by the sweep of a later start.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn expire_negatives(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        loop {
            let ended = self.inner.negatives.take_ended(self.inner.clock.now());
            if ended.is_empty() {
                return Ok(removed);
            }
            // Ordered one after the other, and then waited for: they share a sync.
            let ends: Vec<_> =
                ended.into_iter().map(|(version, row)| self.forget_row(row, version)).collect();
            for end in ends {
                removed += usize::from(end.await?);
            }
        }
    }

    /// Orders the removal of the row of an entry that has no body, now; whether it was still of that version.
    pub(crate) fn forget_row(
        &self,
        row: Vec<u8>,
        version: u64,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send + 'static + use<> {
        let of = rows::entry_of(&row).and_then(|(bucket, key)| Some((bucket, key.ok()?)));
        let commit = Commit {
            conditions: vec![when(row.clone(), Some(version))],
            writes: vec![remove(row)],
            patient: true,
        };
        let effects = self.inner.clone();
        let end = self.inner.order(commit, move |end| match end {
            Ok(committed) => {
                if let Some((bucket, key)) = &of {
                    effects.hot.committed(*bucket, key, committed.version, None);
                }
                Ok(true)
            }
            // Written, filled or asked for anew meanwhile.
            Err(Refused::Condition(_)) => Ok(false),
            Err(Refused::Store(error)) => Err(error),
            Err(Refused::Doubt { error, settled }) => {
                match &of {
                    Some((bucket, key)) if settled => {
                        effects.hot.committed(*bucket, key, effects.kv.sequence(), None);
                    }
                    Some((bucket, key)) => effects.hot.in_doubt(*bucket, key),
                    None => {}
                }
                Err(error)
            }
        });
        async move { end.await? }
    }
}

//! `Kv`: ordered rows with versions and conditional commits. Everything that the store knows besides the
//! bytes of larger objects is in one.
//!
//! A commit is a list of conditions and writes, not an interactive transaction, so that one SQL statement or
//! one compare-and-then can serve it.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::StoreError;

mod backend;
pub(crate) mod books;
#[cfg(test)]
pub(crate) mod conformance;
mod database;
pub(crate) mod embedded;
pub(crate) mod memory;

/// The tables that a [`Kv`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Everything that is small: see `rows`.
    Rows,
    /// Bodies of small objects, keyed by blob id; apart, so that scans of rows do not read them.
    Bodies,
}

/// What a table has under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The commit that wrote it.
    pub(crate) version: u64,
    /// What was written.
    pub(crate) value: Bytes,
}

/// Rows with their keys, in order.
pub(crate) type Keyed = Vec<(Vec<u8>, Row)>;

/// Rows with their keys, in order, each as far as it can be read.
pub(crate) type Inspected = Vec<(Vec<u8>, Result<Row, StoreError>)>;

/// What a commit expects of a row of [`Table::Rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The row's key.
    pub(crate) key: Vec<u8>,
    /// `None`: there is no such row. `Some(version)`: that commit wrote it.
    pub(crate) version: Option<u64>,
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Writes a row, replacing what is there.
    Put {
        /// Where.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Bytes,
    },
    /// Removes a row; nothing happens if there is none.
    Remove {
        /// Where.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
    /// Removes a row of [`Table::Rows`], and the commit's end is told what was in it; nothing happens if there is none.
    Take {
        /// Its key.
        key: Vec<u8>,
    },
    /// Adds to the counter in a row of [`Table::Rows`] (8 bytes, little-endian; no row counts as 0) and removes
    /// the row when the count becomes 0. A count below zero refuses the whole commit as
    /// [`StoreError::Corrupt`].
    Count {
        /// The row's key.
        key: Vec<u8>,
        /// What is added.
        by: i64,
    },
    /// Adds to the tally in a row of [`Table::Rows`] (four or six numbers of 8 bytes, little-endian and with a sign; what is
    /// not there counts as zeros) and removes the row when all of them become 0. It refuses nothing: a tally may be below
    /// zero until it is mended, and one that cannot be read counts as zeros.
    Tally {
        /// The row's key.
        key: Vec<u8>,
        /// What is added.
        by: Tally,
    },
}

/// What a tally's row counts: see [`crate::usage`].
pub(crate) type Tally = [i64; 6];

/// Numbers of a tally that are always written; the others only where they are not zero.
const TALLY_MIN: usize = 4;

/// A list of changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    /// All must hold, as of the commits ordered before this one.
    pub(crate) conditions: Vec<Condition>,
    /// The changes, applied in order.
    pub(crate) writes: Vec<Write>,
    /// Nobody waits for it, and losing it to a crash loses nothing that was promised: it may wait a moment for
    /// others to share a sync with. It keeps its place among the other commits.
    pub(crate) patient: bool,
}

impl Commit {
    /// Bytes that the commit holds while it waits.
    pub(crate) fn weight(&self) -> usize {
        let of = |write: &Write| match write {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Remove { key, .. }
            | Write::Take { key }
            | Write::Count { key, .. }
            | Write::Tally { key, .. } => key.len(),
        };
        256 + self.writes.iter().map(of).sum::<usize>()
    }
}

/// A commit that happened, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Its place in the store-wide sequence: greater than that of every earlier one, never reused, not even
    /// after a crash. Every row that it wrote has this version.
    pub(crate) version: u64,
    /// The counters that became zero.
    pub(crate) zeroed: Vec<Vec<u8>>,
    /// What was in the rows that were taken.
    pub(crate) taken: Vec<Bytes>,
}

/// Why a commit did not happen.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// This condition (its place in the list) does not hold. Nothing was written.
    Condition(usize),
    /// Nothing was written.
    Store(StoreError),
    /// It may have happened, as a whole, or not.
    Doubt {
        /// Why.
        error: StoreError,
        /// Whether reads see how it ended, from now on; or only some time later.
        settled: bool,
    },
}

/// Takes rows one by one; says whether it wants another.
pub(crate) type EachRow = Box<dyn FnMut(&[u8], Result<Row, StoreError>) -> bool + Send>;

/// Told the end of a commit, once: after it is durable and visible to every later read, or after it failed.
/// Called in the order of the commits. Must not block; a slow one delays everybody's commits.
pub(crate) type Done = Box<dyn FnOnce(Result<Committed, Refused>) + Send>;

/// Ordered rows. Called by the store from any thread, also concurrently.
///
/// An implementer guarantees: reads see every commit whose [`Done`] was called; a `range` is one snapshot;
/// commits are atomic, and are ordered as `commit` was called by one thread.
pub(crate) trait Kv: Send + Sync + fmt::Debug + 'static {
    /// The row under a key.
    fn get(&self, table: Table, key: &[u8]) -> BoxFuture<'_, Result<Option<Row>, StoreError>>;

    /// Up to `limit` rows of [`Table::Rows`] in bytewise order of their keys.
    fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Keyed, StoreError>>;

    /// Up to `limit` rows of [`Table::Rows`] from a bound on, in order. One that cannot be read does not hide the
    /// others.
    fn inspect(&self, from: Bound<Vec<u8>>, limit: usize) -> BoxFuture<'_, Result<Inspected, StoreError>>;

    /// Hands every row of [`Table::Rows`] from a bound on to `each`, in order and as one snapshot, as far as each can be
    /// read; until `each` says that it has enough.
    fn fold(&self, from: Bound<Vec<u8>>, each: EachRow) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads everything from the disk, and says what is wrong with it.
    /// `spent` is told of the bytes that were read, and says whether to go on; it may block where the engine has
    /// threads of its own.
    fn verify(
        &self,
        _spent: Box<dyn Fn(u64) -> bool + Send + Sync>,
    ) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Orders a commit: its place among others is fixed when this returns. Never blocks; `done` gets
    /// [`StoreError::Busy`] if too much waits already. `done` may be called before this returns.
    fn commit(&self, commit: Commit, done: Done);

    /// A commit is on its way (`true`), or one that was announced arrived or was given up (`false`): the
    /// writer may linger for it. For speed only.
    fn announce(&self, _coming: bool) {}

    /// The version of the newest commit that every read sees.
    fn sequence(&self) -> u64;

    /// Waits until everything ordered so far has ended, then refuses what comes.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// What an operator may want to see.
    fn status(&self) -> KvStatus;

    /// The embedded engine, for whoever drives its writer.
    #[cfg(feature = "simulation")]
    fn as_embedded(&self) -> Option<&embedded::EmbeddedKv> {
        None
    }
}

/// What an operator may want to see of a [`Kv`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KvStatus {
    /// Bytes that it occupies.
    pub(crate) bytes: u64,
    /// Whether commits can succeed now.
    pub(crate) writable: bool,
    /// Commits made durable since start.
    pub(crate) commits: u64,
    /// Groups they were made durable in.
    pub(crate) groups: u64,
    /// Syncs that it took.
    pub(crate) syncs: u64,
}

/// The row of a tally after something was added to it; `None`: nothing is left, and the row goes.
pub(crate) fn add_to_tally(before: Option<&[u8]>, by: &Tally) -> Option<Bytes> {
    let before = before.and_then(|value| tally_of(value).ok()).unwrap_or_default();
    let mut after: Vec<i64> = before.iter().zip(by).map(|(before, by)| before.saturating_add(*by)).collect();
    if after[TALLY_MIN..].iter().all(|number| *number == 0) {
        after.truncate(TALLY_MIN);
    }
    let is_empty = after.iter().all(|number| *number == 0);
    (!is_empty).then(|| after.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>().into())
}

/// Reads the value of a tally's row.
pub(crate) fn tally_of(value: &[u8]) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    if ![8 * TALLY_MIN, 8 * tally.len()].contains(&value.len()) {
        return Err(StoreError::corrupt("a tally is not 32 or 48 bytes long"));
    }
    for (number, bytes) in tally.iter_mut().zip(value.chunks_exact(8)) {
        *number = i64::from_le_bytes(bytes.try_into().expect("chunks of 8"));
    }
    Ok(tally)
}

/// Reads the value of a counter row.
pub(crate) fn count_of(value: &[u8]) -> Result<i64, StoreError> {
    let bytes = value.try_into().map_err(|_| StoreError::corrupt("a counter is not 8 bytes long"))?;
    Ok(i64::from_le_bytes(bytes))
}

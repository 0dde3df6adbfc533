//! A [`Kv`] in memory: the model that the durable engines are compared with, and the fake for tests.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};

use super::{
    Commit, Committed, Done, EachRow, Inspected, Keyed, Kv, KvStatus, Refused, Row, Table, Write,
    add_to_tally, count_of,
};
use crate::error::StoreError;

#[derive(Default)]
struct State {
    waiting: VecDeque<(Commit, Done)>,
    draining: bool,
    rows: BTreeMap<Vec<u8>, Row>,
    bodies: BTreeMap<Vec<u8>, Row>,
    sequence: u64,
    commits: u64,
    bytes: u64,
    closed: bool,
}

impl State {
    fn table(&mut self, table: Table) -> &mut BTreeMap<Vec<u8>, Row> {
        match table {
            Table::Rows => &mut self.rows,
            Table::Bodies => &mut self.bodies,
        }
    }

    fn apply(&mut self, commit: Commit) -> Result<Committed, Refused> {
        if self.closed {
            return Err(Refused::Store(StoreError::unavailable("the store is closed")));
        }
        for (place, condition) in commit.conditions.iter().enumerate() {
            if self.rows.get(&condition.key).map(|row| row.version) != condition.version {
                return Err(Refused::Condition(place));
            }
        }
        let version = self.sequence + 1;
        let counts = self.counts(&commit)?;
        let (mut zeroed, mut taken) = (Vec::new(), Vec::new());
        for write in commit.writes {
            match write {
                Write::Put { table, key, value } => {
                    self.bytes += (key.len() + value.len()) as u64;
                    let weight = key.len() as u64;
                    if let Some(old) = self.table(table).insert(key, Row { version, value }) {
                        self.bytes -= weight + old.value.len() as u64;
                    }
                }
                Write::Remove { table, key } => {
                    if let Some(old) = self.table(table).remove(&key) {
                        self.bytes -= (key.len() + old.value.len()) as u64;
                    }
                }
                Write::Take { key } => {
                    if let Some(old) = self.rows.remove(&key) {
                        self.bytes -= (key.len() + old.value.len()) as u64;
                        taken.push(old.value);
                    }
                }
                Write::Tally { key, by } => {
                    let before = self.rows.get(&key).map(|row| row.value.clone());
                    match add_to_tally(before.as_deref(), &by) {
                        Some(value) => drop(self.rows.insert(key, Row { version, value })),
                        None => drop(self.rows.remove(&key)),
                    }
                }
                Write::Count { .. } => {}
            }
        }
        for (key, count) in counts {
            if count == 0 {
                self.rows.remove(&key);
                zeroed.push(key);
            } else {
                let value = Bytes::copy_from_slice(&count.to_le_bytes());
                self.rows.insert(key, Row { version, value });
            }
        }
        self.sequence = version;
        self.commits += 1;
        Ok(Committed { version, zeroed, taken })
    }

    /// What the counters of a commit become; computed first, since one below zero refuses all of it.
    fn counts(&self, commit: &Commit) -> Result<BTreeMap<Vec<u8>, i64>, Refused> {
        let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for write in &commit.writes {
            if let Write::Count { key, by } = write {
                let before = match (counts.get(key), self.rows.get(key)) {
                    (Some(count), _) => *count,
                    (None, Some(row)) => count_of(&row.value).map_err(Refused::Store)?,
                    (None, None) => 0,
                };
                counts.insert(key.clone(), before + by);
            }
        }
        if counts.values().any(|count| *count < 0) {
            return Err(Refused::Store(StoreError::corrupt("a reference count fell below zero")));
        }
        Ok(counts)
    }
}

/// Rows in a `BTreeMap`. Nothing blocks, nothing survives.
#[derive(Default)]
pub(crate) struct MemoryKv {
    state: Mutex<State>,
}

impl fmt::Debug for MemoryKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryKv(at {})", self.lock().sequence)
    }
}

impl MemoryKv {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryKv {
    fn get(&self, table: Table, key: &[u8]) -> BoxFuture<'_, Result<Option<Row>, StoreError>> {
        let row = self.lock().table(table).get(key).cloned();
        ready(Ok(row)).boxed()
    }

    fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Keyed, StoreError>> {
        let rows = if is_empty(&from, &to) {
            Vec::new()
        } else {
            let state = self.lock();
            state.rows.range((from, to)).take(limit).map(|(k, r)| (k.clone(), r.clone())).collect()
        };
        ready(Ok(rows)).boxed()
    }

    fn inspect(&self, from: Bound<Vec<u8>>, limit: usize) -> BoxFuture<'_, Result<Inspected, StoreError>> {
        let state = self.lock();
        let rows = state.rows.range((from, Bound::Unbounded)).take(limit);
        ready(Ok(rows.map(|(key, row)| (key.clone(), Ok(row.clone()))).collect())).boxed()
    }

    fn fold(&self, from: Bound<Vec<u8>>, mut each: EachRow) -> BoxFuture<'_, Result<(), StoreError>> {
        let state = self.lock();
        for (key, row) in state.rows.range((from, Bound::Unbounded)) {
            if !each(key, Ok(row.clone())) {
                break;
            }
        }
        ready(Ok(())).boxed()
    }

    fn commit(&self, commit: Commit, done: Done) {
        let mut state = self.lock();
        state.waiting.push_back((commit, done));
        if state.draining {
            // Whoever drains, also a caller of ours that was called by `done`, comes to it: ends are told in
            // the order of the commits, and `done` may commit again.
            return;
        }
        state.draining = true;
        while let Some((commit, done)) = state.waiting.pop_front() {
            let end = state.apply(commit);
            drop(state);
            done(end);
            state = self.lock();
        }
        state.draining = false;
    }

    fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.lock().closed = true;
        ready(()).boxed()
    }

    fn status(&self) -> KvStatus {
        let state = self.lock();
        KvStatus {
            bytes: state.bytes,
            writable: !state.closed,
            commits: state.commits,
            groups: state.commits,
            syncs: 0,
        }
    }
}

/// Whether no key lies between the bounds; `BTreeMap::range` panics on some of these.
pub(crate) fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b) | Bound::Included(b)) => a >= b,
    }
}

//! A [`Kv`] that counts what is read of it: what must not grow with the number of rows is counted, not timed.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::{BoxFuture, FutureExt};

use super::*;
use crate::blobs::memory::MemoryBlobs;
use crate::kv::memory::MemoryKv;
use crate::kv::{Commit, Done, EachRow, Inspected, Keyed, Kv, KvStatus, Row, Table};

/// Rows in memory, and how many of them were read.
#[derive(Debug, Default)]
pub(super) struct CountingKv {
    kv: MemoryKv,
    rows: Arc<AtomicU64>,
}

/// How many rows were read: each that was found, and each look-up that found none.
#[derive(Clone, Debug)]
pub(super) struct Counted(Arc<AtomicU64>);

impl Counted {
    /// How many since this was asked last.
    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// A store in memory whose reads are counted.
pub(super) fn counting() -> (Store, Counted) {
    let kv = CountingKv::default();
    let counted = Counted(kv.rows.clone());
    let entropy = Arc::new(SeededEntropy::new(1));
    let blobs = Arc::new(MemoryBlobs::default());
    (Store::assemble(Arc::new(kv), blobs, options(), clock(), entropy, 1), counted)
}

impl Kv for CountingKv {
    fn get(&self, table: Table, key: &[u8]) -> BoxFuture<'_, Result<Option<Row>, StoreError>> {
        self.rows.fetch_add(1, Ordering::SeqCst);
        self.kv.get(table, key)
    }

    fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Keyed, StoreError>> {
        let found = self.kv.range(from, to, limit);
        async move {
            let found = found.await?;
            self.rows.fetch_add(found.len().max(1) as u64, Ordering::SeqCst);
            Ok(found)
        }
        .boxed()
    }

    fn inspect(&self, from: Bound<Vec<u8>>, limit: usize) -> BoxFuture<'_, Result<Inspected, StoreError>> {
        let found = self.kv.inspect(from, limit);
        async move {
            let found = found.await?;
            self.rows.fetch_add(found.len().max(1) as u64, Ordering::SeqCst);
            Ok(found)
        }
        .boxed()
    }

    fn fold(&self, from: Bound<Vec<u8>>, mut each: EachRow) -> BoxFuture<'_, Result<(), StoreError>> {
        let rows = self.rows.clone();
        let counted = move |key: &[u8], row: Result<Row, StoreError>| {
            rows.fetch_add(1, Ordering::SeqCst);
            each(key, row)
        };
        self.kv.fold(from, Box::new(counted))
    }

    fn commit(&self, commit: Commit, done: Done) {
        self.kv.commit(commit, done);
    }

    fn sequence(&self) -> u64 {
        self.kv.sequence()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.kv.close()
    }

    fn status(&self) -> KvStatus {
        self.kv.status()
    }
}

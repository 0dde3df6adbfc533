//! How a change of a key is ordered against its fill and against other changes. One loop for each kind of
//! change; everything that commits goes through them.
//!
//! Generic over the ledger and the lock, so that the same code runs on the store and under a scheduler that
//! tries every interleaving.

use std::future::Future;

use fallthrough_object::Key;
use fallthrough_store::Revision;

use crate::core::fills::{FillId, FillTable, Slot};
use crate::core::mutants::{Mutant, planted};

/// How often a change is decided anew after somebody else changed the same row, before it gives up.
pub(crate) const MAX_CONFLICTS: u32 = 32;

/// Rows and transactions on them: the store, or a model of it.
pub(crate) trait Ledger: Send + Sync {
    /// A bucket with the gate that the caller has seen.
    type Bucket: Send + Sync;
    /// What a lookup finds.
    type Row: Send + Sync;
    /// What to do to a row.
    type Change: Clone + Send;
    /// What a commit gives back.
    type Done: Send;
    /// Why the ledger cannot answer.
    type Error: Send;

    /// The row of `key` as the last commit left it.
    fn lookup(
        &self,
        bucket: &Self::Bucket,
        key: &Key,
    ) -> impl Future<Output = Result<Self::Row, Self::Error>> + Send;

    /// The revision of what was found; zero for no row.
    fn revision(row: &Self::Row) -> Revision;

    /// Commits `change` if the row is still `found` and the gate is still the bucket's. The transaction is
    /// ordered by this call, not by the first poll; dropping the future does not undo it.
    fn submit(
        &self,
        bucket: &Self::Bucket,
        key: &Key,
        found: &Self::Row,
        change: Self::Change,
    ) -> impl Future<Output = Result<Self::Done, Refused<Self::Error>>> + Send;
}

/// Why a commit wrote nothing.
#[derive(Debug)]
pub(crate) enum Refused<E> {
    /// The row changed: look again.
    Conflict,
    /// The bucket is gone, is being deleted, or has another shadow.
    Gate,
    /// The ledger failed.
    Failed(E),
}

/// The lock around the fill table.
pub(crate) trait TableLock<T>: Send + Sync {
    /// Runs `section` alone.
    fn with<R>(&self, section: impl FnOnce(&mut FillTable<T>) -> R) -> R;
}

impl<T: Send> TableLock<T> for std::sync::Mutex<FillTable<T>> {
    fn with<R>(&self, section: impl FnOnce(&mut FillTable<T>) -> R) -> R {
        section(&mut self.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// What became of a fill's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FillCommit<D> {
    /// It is stored.
    Stored(D),
    /// Something newer stands, or nothing may stand, in its place.
    Superseded,
}

/// Commits what a fill or a HEAD found (an object, or an observation such as "absent"), unless it was superseded.
///
/// # Errors
/// What the ledger says.
pub(crate) async fn commit_fill<L: Ledger, T: Clone + Send>(
    ledger: &L,
    table: &impl TableLock<T>,
    bucket: &L::Bucket,
    slot: &Slot,
    id: FillId,
    change: L::Change,
) -> Result<FillCommit<L::Done>, L::Error> {
    for _ in 0..MAX_CONFLICTS {
        let row = ledger.lookup(bucket, &slot.key).await?;
        let ordered = table.with(|fills| {
            fills.may_commit(slot, id, L::revision(&row)).then(|| {
                fills.supersede_blocks(slot);
                ledger.submit(bucket, &slot.key, &row, change.clone())
            })
        });
        let Some(committed) = ordered else { return Ok(FillCommit::Superseded) };
        match committed.await {
            Ok(done) => return Ok(FillCommit::Stored(done)),
            // An observation touched the row (the revision check tells), or a write did: look again.
            Err(Refused::Conflict) => {}
            Err(Refused::Gate) => return Ok(FillCommit::Superseded),
            Err(Refused::Failed(error)) => return Err(error),
        }
    }
    Ok(FillCommit::Superseded)
}

/// Commits a write, a delete or a purge: decides on what is there, supersedes the key's fill and orders the
/// transaction in one critical section, and decides anew if somebody else was faster.
///
/// `decide` returns the change, or an error of the caller's that ends it.
///
/// # Errors
/// What `decide` says, or why the ledger refused for good; `Conflict` after [`MAX_CONFLICTS`] tries.
pub(crate) async fn commit_change<L: Ledger, T: Clone + Send, E>(
    ledger: &L,
    table: &impl TableLock<T>,
    bucket: &L::Bucket,
    slot: &Slot,
    mut decide: impl FnMut(&L::Row) -> Result<L::Change, E>,
) -> Result<L::Done, ChangeRefused<L::Error, E>> {
    for _ in 0..MAX_CONFLICTS {
        let row = ledger.lookup(bucket, &slot.key).await.map_err(ChangeRefused::Failed)?;
        let change = decide(&row).map_err(ChangeRefused::Decided)?;
        if planted(Mutant::OrderedOutsideTheSection) {
            table.with(|fills| fills.supersede(slot));
        }
        let committed = table.with(|fills| {
            if !planted(Mutant::OrderedOutsideTheSection) {
                fills.supersede(slot);
            }
            ledger.submit(bucket, &slot.key, &row, change)
        });
        match committed.await {
            Ok(done) => return Ok(done),
            Err(Refused::Conflict) => {}
            Err(Refused::Gate) => return Err(ChangeRefused::Gate),
            Err(Refused::Failed(error)) => return Err(ChangeRefused::Failed(error)),
        }
    }
    Err(ChangeRefused::Conflict)
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum ChangeRefused<E, D> {
    /// The caller's own decision.
    Decided(D),
    /// Others changed the row each time.
    Conflict,
    /// The bucket is gone, is being deleted, or has another shadow.
    Gate,
    /// The ledger failed.
    Failed(E),
}

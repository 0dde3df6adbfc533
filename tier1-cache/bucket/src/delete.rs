//! DELETE of an object, and purge, which is not DELETE.

use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_store::{Bucket, EntryState, Erased};

use fallthrough_wire::conditions::WriteConditions;

use crate::api::{BucketError, Caller, Deleted};
use crate::core::commit::TableLock as _;
use crate::core::keystate::delete_leaves_tombstone;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::guard::Guard;
use crate::ledger::Change;

impl Engine {
    /// DELETE of an object; absent keys are deleted as well. When this returns, the delete is durable, and
    /// what the shadow has under this key stays hidden wherever the bucket's mode promises so.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`], [`BucketError::Conflict`]; the store's.
    pub async fn delete(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        key: &Key,
    ) -> Result<Deleted, BucketError> {
        self.delete_if(bucket, caller, key, WriteConditions::default()).await
    }

    /// As [`Engine::delete`], if the conditions hold. What is not there is deleted already, whatever they say.
    ///
    /// # Errors
    /// As [`Engine::delete`]; [`BucketError::PreconditionFailed`]; what the shadow says where only it can judge.
    pub async fn delete_if(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        key: &Key,
        conditions: WriteConditions,
    ) -> Result<Deleted, BucketError> {
        let mut tombstone = false;
        let guard = Guard::new(self, bucket, caller, key, conditions);
        let deleted = guard
            .change(None, |bucket, row| {
                let state = row.map(|entry| &entry.state);
                tombstone =
                    delete_leaves_tombstone(state, bucket.settings.mode, !bucket.settings.shadow.is_empty());
                Ok(Change::Erase(if tombstone { Erased::Tombstone } else { Erased::Unknown }))
            })
            .await;
        match deleted {
            Ok(_) => Ok(Deleted { tombstone }),
            Err(BucketError::NoSuchKey) => Ok(Deleted { tombstone: false }),
            Err(error) => Err(error),
        }
    }

    /// Forgets a filled or known key, or a negative answer, so that the next GET asks the origin again.
    /// Written objects and tombstones are forgotten only if `written_too`, and so are keys whose row cannot be read:
    /// nobody knows what they were. Returns whether there was
    /// anything to forget; a running fill is superseded either way.
    ///
    /// # Errors
    /// [`BucketError::WouldLoseWritten`]; otherwise as [`Engine::delete`].
    pub async fn purge(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        written_too: bool,
    ) -> Result<bool, BucketError> {
        self.verified_are_committed(bucket, Some(key)).await;
        if written_too && self.inner.store.forget_damaged(bucket, key).await? {
            self.inner.fills.with(|fills| fills.supersede(&Self::slot(bucket, key)));
            return Ok(true);
        }
        self.comparison_is_void(bucket).await?;
        let mut had = false;
        self.change(bucket, key, 0, |_, row| {
            had = row.is_some();
            match row.map(|entry| &entry.state) {
                Some(EntryState::Written(_) | EntryState::Tombstone)
                    if !written_too && !planted(Mutant::PurgeTakesWritten) =>
                {
                    Err(BucketError::WouldLoseWritten)
                }
                Some(
                    EntryState::Written(_)
                    | EntryState::Tombstone
                    | EntryState::Filled(..)
                    | EntryState::Known(..)
                    | EntryState::Absent { .. },
                )
                | None => Ok(Change::Erase(Erased::Unknown)),
            }
        })
        .await?;
        Ok(had)
    }
}

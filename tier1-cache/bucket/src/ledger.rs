//! The store as the ledger of [`crate::core::commit`].

use std::future::Future;
use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_store::{
    Bucket, CommitError, Entry, Erased, NewState, Observation, Revision, Sealed, Store, StoreError,
};
use futures::future::Either;

use crate::core::commit::{Ledger, Refused};

/// What can be done to a row.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A complete object: PUT or fill.
    Publish(NewState, Sealed),
    /// DELETE or purge.
    Erase(Erased),
    /// What the shadow said, without a body.
    Observe(Observation),
}

/// What a commit gives back: the new entry, where there is one.
pub(crate) type Committed = Option<Arc<Entry>>;

impl Ledger for Store {
    type Bucket = Bucket;
    type Row = Option<Arc<Entry>>;
    type Change = Change;
    type Done = Committed;
    type Error = StoreError;

    async fn lookup(&self, bucket: &Bucket, key: &Key) -> Result<Self::Row, StoreError> {
        Store::lookup(self, bucket.id, key).await
    }

    fn revision(row: &Self::Row) -> Revision {
        row.as_ref().map_or(Revision(0), |entry| entry.revision)
    }

    fn submit(
        &self,
        bucket: &Bucket,
        key: &Key,
        found: &Self::Row,
        change: Change,
    ) -> impl Future<Output = Result<Committed, Refused<StoreError>>> + Send {
        let previous = found.as_deref();
        // Each call orders its transaction here and now; only the waiting is left to the future.
        let done = match change {
            Change::Publish(state, body) => Either::Left(self.publish(bucket, key, previous, state, body)),
            Change::Observe(what) => Either::Right(Either::Left(self.observe(bucket, key, previous, what))),
            Change::Erase(to) => Either::Right(Either::Right(self.erase(bucket, key, previous, to))),
        };
        async move {
            let result = match done {
                Either::Left(published) => published.await.map(Some),
                Either::Right(Either::Left(observed)) => observed.await.map(Some),
                Either::Right(Either::Right(erased)) => erased.await.map(|_| None),
            };
            result.map_err(|error| match error {
                CommitError::Conflict => Refused::Conflict,
                CommitError::Gate => Refused::Gate,
                CommitError::Store(error) => Refused::Failed(error),
            })
        }
    }
}

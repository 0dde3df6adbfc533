//! The store as the ledger of [`crate::core::commit`].

use std::future::Future;
use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_store::{
    Bucket, BucketId, CommitError, CopyOf, Entry, Erased, NewState, ObjectInfo, Observation, Revision,
    Sealed, Store, StoreError, Upload, UploadedParts,
};
use futures::FutureExt as _;

use crate::core::commit::{Ledger, Refused};

/// What can be done to a row.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A complete object: PUT or fill.
    Publish(NewState, Sealed),
    /// What is known of an object besides its bytes.
    Amend(Box<ObjectInfo>),
    /// A copy of another object, whose bytes it shares.
    Copy(Box<ObjectInfo>, Source),
    /// The parts of an upload, as one object.
    Join(Box<ObjectInfo>, Arc<Upload>, Arc<UploadedParts>),
    /// DELETE or purge.
    Erase(Erased),
    /// What the shadow said, without a body.
    Observe(Observation),
}

/// An object that is copied.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) bucket: BucketId,
    pub(crate) key: Key,
    pub(crate) entry: Arc<Entry>,
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
            Change::Publish(state, body) => self.publish(bucket, key, previous, state, body).boxed(),
            Change::Observe(what) => self.observe(bucket, key, previous, what).boxed(),
            Change::Amend(info) => self.amend(bucket, key, previous, *info).boxed(),
            Change::Copy(info, of) => {
                let of = CopyOf { bucket: of.bucket, key: &of.key, entry: &of.entry };
                self.publish_copy(bucket, key, previous, *info, of).boxed()
            }
            Change::Join(info, upload, parts) => {
                self.publish_parts(bucket, key, previous, *info, &upload, &parts).boxed()
            }
            Change::Erase(to) => {
                let erased = self.erase(bucket, key, previous, to);
                return async move { erased.await.map(|_| None).map_err(refused) }.boxed();
            }
        };
        async move { done.await.map(Some).map_err(refused) }.boxed()
    }
}

fn refused(error: CommitError) -> Refused<StoreError> {
    match error {
        CommitError::Conflict => Refused::Conflict,
        CommitError::Gate => Refused::Gate,
        CommitError::Store(error) => Refused::Failed(error),
    }
}

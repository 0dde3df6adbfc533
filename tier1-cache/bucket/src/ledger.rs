//! The store as the ledger of [`crate::core::commit`].

use std::future::Future;
use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_store::{
    Bucket, BucketId, CommitError, CopyOf, Entry, Erased, Intent, Lane, NewState, ObjectInfo, Observation,
    Revision, Sealed, Seen, ShadowRule, Store, StoreError, Upload, UploadedParts,
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
    /// What was prepared, now that the origin has it, which was left with this; of which upload it was made.
    Land(Arc<Intent>, Seen, Option<(Arc<Upload>, Arc<UploadedParts>)>),
}

/// A change, and what becomes of the key's intent with it.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) change: Change,
    pub(crate) lane: Lane,
}

impl From<Change> for Order {
    fn from(change: Change) -> Self {
        Self { change, lane: Lane::Quiet }
    }
}

/// What is known of a key, and what the origin is still to be told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) intent: Option<Arc<Intent>>,
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
    type Row = Found;
    type Change = Order;
    type Done = Committed;
    type Error = StoreError;

    async fn lookup(&self, bucket: &Bucket, key: &Key) -> Result<Found, StoreError> {
        let entry = Store::lookup(self, bucket.id, key).await?;
        // Most buckets tell their origin nothing, and need not look.
        let may_wait =
            bucket.settings.shadow.iter().any(ShadowRule::goes_through) || self.has_intents(bucket.id);
        let intent = if may_wait { self.intent(bucket.id, key).await? } else { None };
        Ok(Found { entry, intent })
    }

    fn revision(row: &Found) -> Revision {
        row.entry.as_ref().map_or(Revision(0), |entry| entry.revision)
    }

    fn submit(
        &self,
        bucket: &Bucket,
        key: &Key,
        found: &Found,
        order: Order,
    ) -> impl Future<Output = Result<Committed, Refused<StoreError>>> + Send {
        let previous = found.entry.as_deref();
        let through = self.through(order.lane);
        // Each call orders its transaction here and now; only the waiting is left to the future.
        let done = match order.change {
            Change::Publish(state, body) => through.publish(bucket, key, previous, state, body).boxed(),
            Change::Observe(what) => self.observe(bucket, key, previous, what).boxed(),
            Change::Amend(info) => through.amend(bucket, key, previous, *info).boxed(),
            Change::Copy(info, of) => {
                let of = CopyOf { bucket: of.bucket, key: &of.key, entry: &of.entry };
                through.publish_copy(bucket, key, previous, *info, of).boxed()
            }
            Change::Join(info, upload, parts) => {
                through.publish_parts(bucket, key, previous, *info, &upload, &parts).boxed()
            }
            Change::Land(intent, seen, made_of) => {
                let made_of = made_of.as_ref().map(|(upload, parts)| (&**upload, &**parts));
                self.land(bucket, previous, &intent, seen, made_of).boxed()
            }
            Change::Erase(to) => {
                let erased = through.erase(bucket, key, previous, to);
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

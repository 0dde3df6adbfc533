//! What clients set on buckets and on objects that are here besides bytes: configuration, tags, ACLs.

use std::sync::Arc;

use fallthrough_object::{BucketConfiguration, BucketName, ETag, Key};
use fallthrough_store::{Bucket, Created, ObjectInfo, Stored};

use crate::api::{Admission, BucketError, Caller, GetRequest, NewBucket};
use crate::core::commit::MAX_CONFLICTS;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::not_admitted;
use crate::ledger::Change;

impl Engine {
    /// As [`Engine::create_bucket`], with what the client wants set from the beginning.
    ///
    /// # Errors
    /// [`BucketError::InvalidSettings`]; the store's.
    pub async fn create_configured_bucket(
        &self,
        name: &BucketName,
        settings: fallthrough_store::BucketSettings,
        configuration: BucketConfiguration,
    ) -> Result<NewBucket, BucketError> {
        self.check(name, &settings)?;
        Ok(match self.inner.store.create_configured(name, settings, configuration).await? {
            Created::New(bucket) => {
                self.limits_changed(None, Some(&bucket));
                self.inner.inventories.changed(bucket.id);
                NewBucket::Created(bucket)
            }
            Created::Exists(bucket) => NewBucket::Exists(bucket),
        })
    }

    /// Changes what clients have set on a bucket; durable when this returns.
    ///
    /// `change` may be called several times, each time on the configuration as it is.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`], also if another bucket has the name now; [`BucketError::Conflict`]; the store's.
    ///
    /// # Cancellation
    /// It may or may not have been changed.
    pub async fn configure(
        &self,
        bucket: &Bucket,
        change: &(dyn Fn(&mut BucketConfiguration) + Send + Sync),
    ) -> Result<Arc<Bucket>, BucketError> {
        for _ in 0..MAX_CONFIGURERS {
            let now = self.bucket(&bucket.name).await?;
            if now.id != bucket.id {
                return Err(BucketError::NoSuchBucket(bucket.name.clone()));
            }
            let mut configuration = (*now.configuration).clone();
            change(&mut configuration);
            let changed = self.inner.store.configure_bucket(&now, configuration).await;
            if let Some(changed) = self.gate_moved(&now, changed)? {
                return Ok(changed);
            }
        }
        Err(BucketError::Conflict)
    }

    /// A body as a stream, whatever it is.
    pub fn pieces(&self, body: fallthrough_object::Body) -> fallthrough_object::ByteStream {
        self.inner.store.pieces(body)
    }

    /// What is stored here of an object, if it is here: nobody is asked.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn stored_here(
        &self,
        bucket: &Bucket,
        key: &Key,
    ) -> Result<Option<Arc<ObjectInfo>>, BucketError> {
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        Ok(entry.and_then(|entry| entry.state.stored().map(|stored| stored.info.clone())))
    }

    /// Changes what an object has besides its bytes; durable when this returns. One that is not here is filled first,
    /// and one that was filled counts as written from then on: what a client has said is never lost to an eviction or
    /// to the origin. For who may have only what is here, nothing is filled.
    ///
    /// `change` may be called several times, each time on the object as it is. Its length and its ETag must stay.
    ///
    /// # Errors
    /// [`BucketError::Denied`] for what `admission` does not admit; as [`Engine::get`] where the object is not here;
    /// [`BucketError::NoSuchKey`]; [`BucketError::Conflict`]; the store's; what `change` says.
    ///
    /// # Cancellation
    /// It may or may not have been changed.
    pub async fn annotate(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        key: &Key,
        admission: Admission<'_>,
        change: &(dyn Fn(&mut ObjectInfo) -> Result<(), BucketError> + Send + Sync),
    ) -> Result<Arc<ObjectInfo>, BucketError> {
        for _ in 0..MAX_CONFLICTS {
            if admission.cold {
                self.have_here(bucket, caller, key, admission).await?;
            }
            let _room = self.quota_of_copy(bucket, key).await?;
            let changed = self
                .change(bucket, key, caller.hops, |bucket, row| {
                    let Some(stored) = row.and_then(|row| row.state.stored()) else {
                        return Err(if admission.cold {
                            BucketError::NotOffered { what: GONE_AGAIN }
                        } else {
                            not_admitted(bucket, row.map(|row| &row.state))
                        });
                    };
                    if !(admission.object)(&stored.info) {
                        return Err(BucketError::Denied);
                    }
                    let mut info = (*stored.info).clone();
                    change(&mut info)?;
                    Ok(Change::Amend(Box::new(info)))
                })
                .await;
            match changed {
                // Purged or deleted between the two: as if it had not been here.
                Err(BucketError::NotOffered { what: GONE_AGAIN }) => {}
                Ok(entry) => {
                    let stored = entry.as_deref().and_then(|entry| entry.state.stored());
                    return stored.map(|stored| stored.info.clone()).ok_or(BucketError::Conflict);
                }
                Err(error) => return Err(error),
            }
        }
        Err(BucketError::Conflict)
    }

    /// The object, whole and committed here: one that is not is filled first.
    ///
    /// # Errors
    /// As [`Engine::get`].
    ///
    /// # Cancellation
    /// Safe: the fill goes on.
    pub(crate) async fn have_here(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        key: &Key,
        admission: Admission<'_>,
    ) -> Result<Stored, BucketError> {
        for _ in 0..MAX_CONFLICTS {
            let request = GetRequest::of(key.clone());
            // Whoever changes something asks the origin, whatever an inventory says.
            let by_inventory = planted(Mutant::InventoryJudgesWrites);
            let object = self.get_by(bucket, caller, request, admission, by_inventory).await.result?;
            // Not the copy that is here until the fill has taken its place: it is stale, and the reader was not
            // given it either.
            let etag = object.info.etag.clone();
            if let Some(stored) = self.stored_as(bucket, key, etag.as_ref()).await? {
                return Ok(stored);
            }
            // On its way: read to its end, which comes only when all of it is verified; then its commit.
            drain(object).await?;
            self.verified_are_committed(bucket, Some(key)).await;
            if let Some(stored) = self.stored_as(bucket, key, etag.as_ref()).await? {
                return Ok(stored);
            }
        }
        // Delivered each time, and never kept: the origin forbids it, or there is no room.
        Err(BucketError::NotOffered { what: "this" })
    }

    /// What is stored here of the object with this ETag.
    async fn stored_as(
        &self,
        bucket: &Bucket,
        key: &Key,
        etag: Option<&ETag>,
    ) -> Result<Option<Stored>, BucketError> {
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        let stored = entry.as_deref().and_then(|entry| entry.state.stored());
        Ok(stored.filter(|stored| stored.info.etag.as_ref() == etag).cloned())
    }
}

/// How many may configure a bucket at one time: each time that one has to begin anew, another is done.
const MAX_CONFIGURERS: usize = 1000;

/// The mark of a change that found nothing to change.
const GONE_AGAIN: &str = "an object that went away";

async fn drain(object: crate::api::Object) -> Result<(), BucketError> {
    use fallthrough_object::Body;
    use futures::TryStreamExt as _;

    match object.body {
        crate::api::ObjectBody::Whole(Body::Stream(pieces)) => {
            let read = pieces.try_for_each(|_| std::future::ready(Ok(()))).await;
            read.map_err(|error| BucketError::OriginFailing {
                reason: error.to_string(),
                retry_after: std::time::Duration::from_secs(1),
            })
        }
        _ => Ok(()),
    }
}

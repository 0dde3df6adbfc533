//! Objects whose bytes are damaged: out of everybody's reach first, then fetched again where they were filled.

use std::sync::Arc;

use fallthrough_object::{Key, TraceParent};
use fallthrough_store::{BlobId, Bucket, BucketMode, Entry, EntryState, Quarantined, StoreError};

use crate::api::{BucketError, Caller};
use crate::behind::Cold;
use crate::core::admission::Priority;
use crate::engine::Engine;
use crate::fill::{Came, Fill, FillOrder};

/// An object that a reader found damaged after its answer had begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) key: Key,
    pub(crate) entry: Arc<Entry>,
}

impl Engine {
    /// Raises the alarm for a damaged object and puts its bytes into quarantine. `false` if the object was
    /// overwritten or deleted meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn put_aside(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        entry: &Entry,
        what: &str,
    ) -> Result<bool, BucketError> {
        let known = self.inner.store.in_quarantine(entry).await?;
        if !self.inner.store.quarantine(bucket, key, entry, what).await? {
            return Ok(false);
        }
        if known {
            // The alarm was raised when it was found.
            return Ok(true);
        }
        let state = if matches!(entry.state, EntryState::Written(_)) { "written" } else { "filled" };
        tracing::error!(bucket = %bucket.name, %key, state, what, "the bytes of a stored object are damaged");
        metrics::counter!("fallthrough_damaged_objects_total", "state" => state).increment(1);
        Ok(true)
    }

    /// Starts or joins the fill that takes the place of a damaged copy; `None` if there is nothing behind the
    /// object: a client wrote it, or the bucket has no shadow any more.
    ///
    /// In `migrate` what is here wins, so only the same object may take its place: the one with the ETag that
    /// the origin gave.
    ///
    /// # Errors
    /// What keeps a fill from starting.
    pub(crate) fn refill(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        entry: &Arc<Entry>,
        client: Arc<str>,
        priority: Priority,
        caller: &Caller,
    ) -> Result<Option<(Arc<Fill>, Came)>, BucketError> {
        let EntryState::Filled(_, provenance) = &entry.state else { return Ok(None) };
        let Some(Cold { behind, origin_key }) = self.cold(bucket, key)? else { return Ok(None) };
        let same_only = bucket.settings.mode == BucketMode::Migrate;
        let judged = provenance.origin_etag.clone().filter(|etag| same_only && !etag.is_weak());
        self.join(FillOrder {
            bucket: bucket.clone(),
            slot: Self::slot(bucket, key),
            origin_key,
            behind,
            entry: Some(entry.clone()),
            revalidate: false,
            judged,
            same_only,
            client,
            priority,
            hops: caller.hops,
            request_id: caller.request_id.clone(),
            trace: caller.trace.unwrap_or_else(|| TraceParent::begin(&*self.inner.entropy)),
            extras: Default::default(),
            from_blocks: None,
        })
        .map(Some)
    }

    /// Fetches a damaged object again, in the background; whether it is whole now.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn heal(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        entry: &Arc<Entry>,
    ) -> Result<bool, BucketError> {
        let client: Arc<str> = "scrub".into();
        let request_id = client.clone();
        let scrubber =
            Caller { client: client.clone(), signed: true, may_fill: true, hops: 0, request_id, trace: None };
        let fill = match self.refill(bucket, key, entry, client, Priority::Background, &scrubber) {
            Ok(Some((fill, _))) => fill,
            Ok(None) => return Ok(false),
            Err(error) => {
                tracing::warn!(bucket = %bucket.name, %key, error = &error as &dyn std::error::Error, "a damaged copy cannot be fetched again now");
                return Ok(false);
            }
        };
        fill.ended().await;
        let now = self.inner.store.lookup(bucket.id, key).await?;
        let whole = now.as_ref().and_then(|now| now.state.stored());
        Ok(whole.is_some() && whole.map(|w| &w.blob) != entry.state.stored().map(|old| &old.blob))
    }

    /// Up to `limit` blobs in quarantine, in order of id, behind `after`.
    ///
    /// # Errors
    /// The store's.
    pub async fn quarantined(
        &self,
        after: Option<BlobId>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, BucketError> {
        Ok(self.inner.store.quarantined(after, limit).await?)
    }

    /// How many blobs are in quarantine.
    pub fn quarantined_count(&self) -> u64 {
        self.inner.store.status().quarantined
    }

    /// Discards a blob in quarantine for good; `false` if there is none, or if its object still has it.
    ///
    /// # Errors
    /// The store's.
    pub async fn discard_quarantined(&self, blob: BlobId) -> Result<bool, BucketError> {
        Ok(self.inner.store.discard_quarantined(blob).await?)
    }

    /// The bucket of this id; `None` if it is gone.
    pub(crate) async fn bucket_of(
        &self,
        id: fallthrough_store::BucketId,
    ) -> Result<Option<Arc<Bucket>>, StoreError> {
        let mut all = self.all_buckets();
        while let Some(bucket) = all.next().await? {
            if bucket.id == id {
                return Ok(Some(bucket));
            }
        }
        Ok(None)
    }
}

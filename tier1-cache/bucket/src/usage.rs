//! What buckets hold, for whoever looks after them: asked for, and as gauges.

use fallthrough_store::{Bucket, Usage};

use crate::api::BucketError;
use crate::engine::Engine;

/// Buckets whose gauges are set.
const BUCKETS: usize = 1000;

/// What the copies that can be evicted hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiesStatus {
    /// How many there are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What they count against limits, in bytes: for each its row besides.
    pub charged_bytes: u64,
    /// The limit, if there is one.
    pub limit_bytes: Option<u64>,
}

impl Engine {
    /// What the copies of a bucket hold, and what clients wrote there.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn usage(&self, bucket: &Bucket) -> Result<Usage, BucketError> {
        Ok(self.inner.store.usage(bucket.id).await?)
    }

    /// Sets the gauges of what buckets hold: of all that can be evicted together, and of each bucket that has a limit or a
    /// quota.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Some may have been set.
    pub async fn measure_usage(&self) -> Result<(), BucketError> {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
        let float = |number: u64| number as f64;
        let status = self.copies_status().await?;
        metrics::gauge!("fallthrough_cache_held_bytes").set(float(status.charged_bytes));
        metrics::gauge!("fallthrough_cache_objects").set(float(status.objects));
        metrics::gauge!("fallthrough_cache_limit_bytes").set(float(status.limit_bytes.unwrap_or(0)));
        let usages = self.inner.store.usages().await?;
        let blocks: u64 = usages.values().map(Usage::blocks_charge).sum();
        metrics::gauge!("fallthrough_blocks_held_bytes").set(float(blocks));
        metrics::gauge!("fallthrough_blocks_limit_bytes").set(float(self.inner.options.blocks_limit_bytes));
        for bucket in self.buckets(None, BUCKETS).await? {
            let (limit, quota) = (bucket.settings.cache_limit_bytes, bucket.settings.quota_bytes);
            if limit.is_none() && quota.is_none() {
                continue;
            }
            let usage = self.inner.store.usage(bucket.id).await?;
            let name = || bucket.name.as_str().to_owned();
            if let Some(limit) = limit {
                metrics::gauge!("fallthrough_bucket_cache_held_bytes", "bucket" => name())
                    .set(float(usage.copies_charge()));
                metrics::gauge!("fallthrough_bucket_cache_limit_bytes", "bucket" => name()).set(float(limit));
            }
            if let Some(quota) = quota {
                metrics::gauge!("fallthrough_bucket_written_bytes", "bucket" => name())
                    .set(float(usage.written.bytes));
                metrics::gauge!("fallthrough_bucket_quota_bytes", "bucket" => name()).set(float(quota));
            }
        }
        Ok(())
    }

    /// What all copies hold that can be evicted, against the limit of the whole store.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn copies_status(&self) -> Result<CopiesStatus, BucketError> {
        let ids = self.evictable_ids().await?;
        let usages = self.inner.store.usages().await?;
        let mut status =
            CopiesStatus { limit_bytes: self.inner.options.cache_limit_bytes, ..CopiesStatus::default() };
        for usage in ids.iter().filter_map(|bucket| usages.get(bucket)) {
            status.objects += usage.filled.objects;
            status.bytes += usage.filled.bytes;
            status.charged_bytes += usage.copies_charge();
        }
        Ok(status)
    }
}

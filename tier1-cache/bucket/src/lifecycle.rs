//! Lifecycle: objects expire and uploads are aborted by themselves, as a bucket's rules say.
//!
//! One worker goes through all buckets, page by page, and deletes what is due exactly as a client's DELETE would, if it
//! is still what was found: an object that was overwritten meanwhile stays. Only what is here expires; nobody is asked
//! for what is not. A pass that is broken off is begun anew: nothing is due twice.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Key, LifecycleFilter, LifecycleRule, Timestamp};
use fallthrough_store::{Bucket, Entry, Erased, ObjectInfo, Revision, Upload};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::core::keystate::delete_leaves_tombstone;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::ledger::Change;

/// From one pass to the next. What is due, is so at midnight UTC; S3 itself promises no hour.
const EVERY: Duration = Duration::from_secs(3600);
/// Until the first pass: a start has other work.
const AFTER_START: Duration = Duration::from_secs(60);
/// Rows that are looked at in one step, and the pause behind it: at most ten thousand a second.
const PAGE_ROWS: usize = 500;
const PAUSE: Duration = Duration::from_millis(50);
const DAY_MILLIS: u64 = 86_400_000;

/// When an object expires or an upload is aborted, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry<'a> {
    /// From then on it may be gone.
    pub at: Timestamp,
    /// The rule's name.
    pub rule: &'a str,
}

/// When an object with this key expires; `None`: never by these rules. The earliest counts.
pub fn expiry_of<'a>(rules: &'a [LifecycleRule], key: &str, info: &ObjectInfo) -> Option<Expiry<'a>> {
    let due = |rule: &'a LifecycleRule| {
        let by_age = rule.expire_days.map(|days| days_after(info.last_modified, days));
        let at = rule.expire_at.or(by_age)?;
        (is_in_force(rule) && fits(&rule.filter, key, info)).then_some(Expiry { at, rule: &rule.id })
    };
    rules.iter().filter_map(due).min_by_key(|expiry| expiry.at)
}

/// When an upload of this key that began at `initiated` is aborted; `None`: never by these rules. The earliest counts.
pub fn abort_of<'a>(rules: &'a [LifecycleRule], key: &str, initiated: Timestamp) -> Option<Expiry<'a>> {
    let due = |rule: &'a LifecycleRule| {
        let prefix = rule.filter.prefix.as_deref().unwrap_or_default();
        let days = rule.abort_uploads_days.filter(|_| is_in_force(rule) && key.starts_with(prefix))?;
        Some(Expiry { at: days_after(initiated, days), rule: &rule.id })
    };
    rules.iter().filter_map(due).min_by_key(|expiry| expiry.at)
}

fn is_in_force(rule: &LifecycleRule) -> bool {
    rule.enabled || planted(Mutant::DisabledRulesApply)
}

/// The midnight that follows so many days.
fn days_after(moment: Timestamp, days: u32) -> Timestamp {
    let due = moment.0.saturating_add(u64::from(days) * DAY_MILLIS);
    if planted(Mutant::ExpiresBeforeMidnight) {
        return Timestamp(due);
    }
    Timestamp(due.div_ceil(DAY_MILLIS).saturating_mul(DAY_MILLIS))
}

fn fits(filter: &LifecycleFilter, key: &str, info: &ObjectInfo) -> bool {
    filter.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
        && (filter.tags.iter().all(|tag| info.tags.contains(tag))
            || (planted(Mutant::AnyTagWillDo) && filter.tags.iter().any(|tag| info.tags.contains(tag))))
        && filter.larger_than_bytes.is_none_or(|size| info.size_bytes > size)
        && filter.smaller_than_bytes.is_none_or(|size| info.size_bytes < size)
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleTally {
    /// Objects that expired.
    pub expired: u64,
    /// Uploads that were aborted.
    pub aborted: u64,
}

impl Engine {
    /// Applies the lifecycle rules of all buckets, again and again, until it is told to stop. What fails is told of, and
    /// tried again in the next pass.
    pub async fn run_lifecycle(&self, stop: CancellationToken) {
        let run = async {
            tokio::time::sleep(AFTER_START).await;
            loop {
                let tally = self.lifecycle_pass().await;
                if tally != LifecycleTally::default() {
                    tracing::info!(
                        expired = tally.expired,
                        aborted = tally.aborted,
                        "lifecycle rules were applied"
                    );
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        stop.run_until_cancelled(run).await;
    }

    /// Applies the rules of all buckets once.
    ///
    /// # Cancellation
    /// What was due and is not done is due in the next pass.
    pub async fn lifecycle_pass(&self) -> LifecycleTally {
        let mut tally = LifecycleTally::default();
        let mut all = self.all_buckets();
        loop {
            let bucket = match all.next().await {
                Ok(Some(bucket)) => bucket,
                Ok(None) => return tally,
                Err(error) => {
                    tell(&error.into(), "the buckets cannot be read for their lifecycle rules");
                    return tally;
                }
            };
            if let Err(error) = self.apply_rules(&bucket, &mut tally).await {
                tell(&error, "lifecycle rules could not be applied");
            }
        }
    }

    async fn apply_rules(&self, bucket: &Arc<Bucket>, tally: &mut LifecycleTally) -> Result<(), BucketError> {
        let rules = &bucket.configuration.lifecycle;
        let expire = rules.iter().filter(|rule| rule.expire_days.is_some() || rule.expire_at.is_some());
        for prefix in prefixes(expire) {
            self.expire_under(bucket, &prefix, tally).await?;
        }
        for prefix in prefixes(rules.iter().filter(|rule| rule.abort_uploads_days.is_some())) {
            self.abort_under(bucket, &prefix, tally).await?;
        }
        Ok(())
    }

    /// The bucket as it is now, if it is still the same.
    async fn again(&self, bucket: &Arc<Bucket>) -> Result<Option<Arc<Bucket>>, BucketError> {
        match self.bucket(&bucket.name).await {
            Ok(now) => Ok((now.id == bucket.id).then_some(now)),
            Err(BucketError::NoSuchBucket(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn expire_under(
        &self,
        bucket: &Arc<Bucket>,
        prefix: &str,
        tally: &mut LifecycleTally,
    ) -> Result<(), BucketError> {
        let mut last: Option<Key> = None;
        loop {
            // Rules that were taken back meanwhile expire nothing any more.
            let Some(bucket) = self.again(bucket).await? else { return Ok(()) };
            let from = last.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
            let page = self.inner.store.scan(bucket.id, from, prefix, PAGE_ROWS).await?;
            let whole = page.len() < PAGE_ROWS;
            let now = self.inner.clock.now();
            for (key, entry) in page {
                if due(&bucket, &key, &entry, now) && self.expire(&bucket, &key, entry.revision).await? {
                    tally.expired += 1;
                }
                last = Some(key);
            }
            if whole {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Deletes an object that is due, if it is what was seen. Whether it did.
    ///
    /// # Errors
    /// As [`Engine::delete`].
    pub(crate) async fn expire(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        seen: Revision,
    ) -> Result<bool, BucketError> {
        let now = self.inner.clock.now();
        let expired = self.change(bucket, key, 0, |bucket, row| {
            let same = |row: &&Entry| row.revision == seen || planted(Mutant::ExpiresOverwritten);
            if !row
                .filter(same)
                .is_some_and(|row| due(bucket, key, row, now) || planted(Mutant::ExpiresOverwritten))
            {
                return Err(BucketError::PreconditionFailed);
            }
            let state = row.map(|entry| &entry.state);
            let tombstone =
                delete_leaves_tombstone(state, bucket.settings.mode, !bucket.settings.shadow.is_empty());
            Ok(Change::Erase(if tombstone { Erased::Tombstone } else { Erased::Unknown }))
        });
        match expired.await {
            Ok(_) => Ok(true),
            // Overwritten, deleted, or its bucket is gone: no longer ours to decide.
            Err(BucketError::PreconditionFailed | BucketError::NoSuchBucket(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn abort_under(
        &self,
        bucket: &Arc<Bucket>,
        prefix: &str,
        tally: &mut LifecycleTally,
    ) -> Result<(), BucketError> {
        let mut last: Option<Upload> = None;
        loop {
            let Some(bucket) = self.again(bucket).await? else { return Ok(()) };
            let after = last.as_ref().map(|upload| (upload.key.as_str(), Some(upload.id)));
            let page = self.inner.store.uploads(bucket.id, prefix, after, PAGE_ROWS).await?;
            let whole = page.len() < PAGE_ROWS;
            let now = self.inner.clock.now();
            for upload in page {
                let rules = &bucket.configuration.lifecycle;
                let due = abort_of(rules, upload.key.as_str(), upload.row.initiated);
                if due.is_some_and(|due| due.at <= now)
                    && self.inner.store.abort_upload(bucket.id, &upload).await?
                {
                    tally.aborted += 1;
                }
                last = Some(upload);
            }
            if whole {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn due(bucket: &Bucket, key: &Key, entry: &Entry, now: Timestamp) -> bool {
    entry.state.stored().is_some_and(|stored| {
        let expiry = expiry_of(&bucket.configuration.lifecycle, key.as_str(), &stored.info);
        expiry.is_some_and(|expiry| expiry.at <= now)
    })
}

/// Prefixes that hold everything these rules are for, none of them within another.
fn prefixes<'a>(rules: impl Iterator<Item = &'a LifecycleRule>) -> Vec<String> {
    let mut all: Vec<&str> = rules
        .filter(|rule| is_in_force(rule))
        .map(|rule| rule.filter.prefix.as_deref().unwrap_or_default())
        .collect();
    all.sort_unstable();
    let mut kept: Vec<String> = Vec::new();
    for prefix in all {
        if kept.last().is_none_or(|last| !prefix.starts_with(last.as_str())) {
            kept.push(prefix.to_owned());
        }
    }
    kept
}

fn tell(error: &BucketError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}; it is tried again");
}

//! What waits for its delivery to an origin, for people: shown, tried again, dropped.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fallthrough_object::{Key, Timestamp};
use fallthrough_store::{Bucket, Intent, IntentRow, OutboxStatus};

use crate::api::BucketError;
use crate::engine::Engine;

/// A change that the origin has not got yet, for people.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WaitingChange {
    /// The key.
    pub key: Key,
    /// `put` or `delete`.
    pub what: &'static str,
    /// `pending`, `dead`, or `prepared`: a client waits for it.
    pub state: &'static str,
    /// Since when the origin lacks what is here.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again.
    pub next: Timestamp,
    /// Why it is dead, or how the last attempt failed.
    pub reason: Option<String>,
    /// Bytes of the object.
    pub size_bytes: u64,
}

impl WaitingChange {
    pub(crate) fn of(intent: &Intent) -> Self {
        let row = &intent.row;
        let state = match row {
            IntentRow { dead: true, .. } => "dead",
            IntentRow { prepared: true, .. } => "prepared",
            _ => "pending",
        };
        Self {
            key: intent.key.clone(),
            what: if intent.object.is_some() { "put" } else { "delete" },
            state,
            since: row.first,
            attempts: row.attempts,
            next: row.next,
            reason: row.failure.clone(),
            size_bytes: intent.size_bytes(),
        }
    }
}

/// Which of the waiting changes of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichWaiting {
    /// The one of this key.
    Key(Key),
    /// Those that are dead.
    Dead,
    /// All.
    All,
}

impl WhichWaiting {
    fn has(&self, intent: &Intent) -> bool {
        match self {
            Self::Key(key) => intent.key == *key,
            Self::Dead => intent.row.dead,
            Self::All => true,
        }
    }
}

impl Engine {
    /// What waits for the origin of a bucket.
    pub fn outbox_of(&self, bucket: &Bucket) -> OutboxStatus {
        self.inner.store.outbox_of(bucket.id)
    }

    /// What waits for all origins.
    pub fn outbox_of_all(&self) -> OutboxStatus {
        self.inner.store.outbox_of_all()
    }

    /// How many of the waiting changes of a bucket these are.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_waiting(&self, bucket: &Bucket, which: &WhichWaiting) -> Result<u64, BucketError> {
        let (mut counted, mut after) = (0, None);
        while let Some(page) = self.waiting_page(bucket, which, &mut after).await? {
            counted += page.len() as u64;
        }
        Ok(counted)
    }

    /// Shows in the metrics what waits for the origins of the buckets that are known to send something.
    pub fn show_outbox(&self) {
        let names = self.inner.outgoing.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.inner.clock.now();
        for (id, name) in names {
            let status = self.inner.store.outbox_of(id);
            let lag = status.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
            let bucket = name.to_string();
            metrics::gauge!("fallthrough_shadow_write_pending", "bucket" => bucket.clone())
                .set(status.pending as f64);
            metrics::gauge!("fallthrough_shadow_write_dead", "bucket" => bucket.clone())
                .set(status.dead as f64);
            metrics::gauge!("fallthrough_shadow_write_lag_seconds", "bucket" => bucket)
                .set(lag.as_secs_f64());
        }
    }

    /// Up to `limit` changes that wait for the origin of a bucket, in the order of keys, behind the one of this key; or
    /// only those that are dead.
    ///
    /// # Errors
    /// The store's.
    pub async fn waiting(
        &self,
        bucket: &Bucket,
        after: Option<&str>,
        limit: usize,
        dead: bool,
    ) -> Result<Vec<WaitingChange>, BucketError> {
        let mut listed = Vec::new();
        let mut after = after.map(str::to_owned);
        while listed.len() < limit {
            let page = self.inner.store.intents(bucket.id, after.as_deref(), limit).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.as_str().to_owned());
            listed
                .extend(page.iter().filter(|intent| intent.row.dead || !dead).map(|i| WaitingChange::of(i)));
        }
        listed.truncate(limit);
        Ok(listed)
    }

    /// Has waiting changes tried at once, dead ones too; how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry_waiting(&self, bucket: &Bucket, which: &WhichWaiting) -> Result<u64, BucketError> {
        let (mut tried, mut after) = (0, None);
        while let Some(page) = self.waiting_page(bucket, which, &mut after).await? {
            for intent in page {
                let next = intent.row.next.min(self.inner.clock.now());
                let row = IntentRow { dead: false, attempts: 0, next, ..intent.row.clone() };
                tried += u64::from(self.inner.store.note_intent(&intent, row).await?.is_some());
            }
        }
        Ok(tried)
    }

    /// Drops waiting changes: the origin will not get them. What is here stays; how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_waiting(&self, bucket: &Bucket, which: &WhichWaiting) -> Result<u64, BucketError> {
        let (mut dropped, mut after) = (0, None);
        while let Some(page) = self.waiting_page(bucket, which, &mut after).await? {
            for intent in page {
                // Not while it is on its way: it would be written down that it is not.
                let _lane = self.lane(&Self::slot(bucket, &intent.key)).await;
                dropped += u64::from(self.inner.store.withdraw_intent(&intent).await?);
            }
        }
        if dropped > 0 {
            tracing::warn!(bucket = %bucket.name, dropped, "changes were dropped that the origin did not get");
        }
        Ok(dropped)
    }

    /// The next of the waiting changes, behind `after`; `None`: there are no more.
    async fn waiting_page(
        &self,
        bucket: &Bucket,
        which: &WhichWaiting,
        after: &mut Option<Key>,
    ) -> Result<Option<Vec<Arc<Intent>>>, BucketError> {
        let store = &self.inner.store;
        if let WhichWaiting::Key(key) = which {
            let first = after.is_none();
            *after = Some(key.clone());
            let found = if first { store.intent(bucket.id, key).await? } else { None };
            return Ok(found.map(|intent| vec![intent]));
        }
        let page = store.intents(bucket.id, after.as_ref().map(Key::as_str), 256).await?;
        let Some(last) = page.last() else { return Ok(None) };
        *after = Some(last.key.clone());
        Ok(Some(page.into_iter().filter(|intent| which.has(intent)).collect()))
    }
}

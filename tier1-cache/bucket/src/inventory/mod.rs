//! Inventories: what a rule's shadow lists, kept here, so that LIST need not ask it for each page.
//!
//! An inventory is believed while it is complete, not older than the rule says (counted from when it began), of the
//! shadow that the bucket has now, and while nothing was withdrawn since: a key that was written here, went through to the
//! shadow and was then forgotten here is there by our own doing. What others change at the shadow meanwhile is seen with the
//! next one. Conditions of writes, copies and DeleteBucket never rest on one.

mod reading;
mod taking;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::Timestamp;
use fallthrough_store::{Bucket, BucketId, CommitError, InventoryRow};
use tokio::sync::Notify;

use crate::api::BucketError;
use crate::behind::Behind;
use crate::core::commit::MAX_CONFLICTS;
use crate::engine::Engine;

pub(crate) use reading::Sources;

/// The inventory of a rule, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryStatus {
    /// The rule's place among the bucket's, from 0.
    pub rule: usize,
    /// What it leads to, for people.
    pub origin: String,
    /// As the index has it; the default if it was never begun.
    pub row: InventoryRow,
    /// How much longer it is believed; `None`: it is not.
    pub believed_for: Option<Duration>,
    /// When the next one is begun, as things are; `None`: one is being taken.
    pub next: Option<Timestamp>,
    /// What the one that is being taken waits for.
    pub waiting: Option<String>,
}

/// What the worker and everybody else share. One entry for each bucket whose inventories are being taken.
#[derive(Debug, Default)]
pub(crate) struct Inventories {
    wake: Notify,
    waiting: Mutex<BTreeMap<BucketId, Waits>>,
}

/// Why a bucket's task waits, and how it is told to go on.
#[derive(Debug, Default)]
struct Waits {
    why: Option<String>,
    changed: Arc<Notify>,
}

impl Inventories {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BucketId, Waits>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the worker that a bucket's rules are others, or that somebody wants an inventory.
    pub(crate) fn changed(&self, bucket: BucketId) {
        if let Some(waits) = self.lock().get(&bucket) {
            waits.changed.notify_one();
        }
        self.wake.notify_one();
    }
}

impl Behind {
    /// How long an inventory of what is behind is believed; `None`: none is kept.
    fn inventory_age(&self) -> Option<Duration> {
        self.rule.settings.inventory_secs.filter(|_| self.can_list()).map(Duration::from_secs)
    }

    /// Its number, as inventories are called by. A bucket has at most 64 rules.
    fn inventory_rule(&self) -> u16 {
        u16::try_from(self.number).unwrap_or(u16::MAX - 1)
    }
}

/// When an inventory that is complete is taken again: at half of the age to which it is believed, or at once if something
/// was withdrawn since it began; and not before as much time has passed as it took, so that a shadow that is slow to list is
/// not listed all the time. `withdrawn`: see [`fallthrough_store::Store::inventory_withdrawn`].
fn due(row: &InventoryRow, age: Duration, withdrawn: u64) -> Timestamp {
    match &row.taken {
        Some(taken) if !row.ordered => {
            let rested = taken.ended.plus(taken.ended.since(taken.began));
            let half = if taken.withdrawn == withdrawn { age / 2 } else { Duration::ZERO };
            taken.began.plus(half).max(rested)
        }
        Some(_) | None => Timestamp(0),
    }
}

impl Engine {
    /// How the inventories of a bucket are, for each of its rules that keeps one.
    ///
    /// # Errors
    /// The store's; [`BucketError::ShadowMisconfigured`] if a rule's target is no longer declared.
    pub async fn inventories(&self, bucket: &Arc<Bucket>) -> Result<Vec<InventoryStatus>, BucketError> {
        let mut all = Vec::new();
        let withdrawn = self.inner.store.inventory_withdrawn(bucket.id).await?;
        for behind in self.behind(bucket)?.all() {
            let Some(age) = behind.inventory_age() else { continue };
            let found = self.inner.store.inventory(bucket.id, behind.inventory_rule()).await?;
            let row = found.map(|(row, _)| row).filter(|row| row.gate_version == bucket.gate_version);
            let row = row.unwrap_or_default();
            let believed = self.believed(bucket, behind).await?;
            let waiting = self.inner.inventories.lock().get(&bucket.id).and_then(|waits| waits.why.clone());
            all.push(InventoryStatus {
                rule: behind.number,
                origin: behind.origin.to_string(),
                believed_for: believed.map(|believed| believed.left),
                next: row.taking.is_none().then(|| due(&row, age, withdrawn)),
                waiting,
                row,
            });
        }
        Ok(all)
    }

    /// Has the inventories of a bucket taken anew, whatever their age; those that are being taken go on. It is durable when
    /// this returns.
    ///
    /// # Errors
    /// As [`Engine::inventories`]; [`BucketError::InvalidSettings`] if none of its rules keeps one;
    /// [`BucketError::Conflict`].
    pub async fn take_inventories(&self, bucket: &Arc<Bucket>) -> Result<Vec<InventoryStatus>, BucketError> {
        let rules = self.behind(bucket)?;
        let keeping: Vec<_> = rules.all().iter().filter(|behind| behind.inventory_age().is_some()).collect();
        if keeping.is_empty() {
            let reason =
                "no shadow rule of the bucket keeps an inventory; set inventory = \"6h\", for example";
            return Err(BucketError::InvalidSettings { reason: reason.to_owned() });
        }
        for behind in keeping {
            self.order_inventory(bucket, behind.inventory_rule()).await?;
        }
        self.inner.inventories.changed(bucket.id);
        self.inventories(bucket).await
    }

    async fn order_inventory(&self, bucket: &Bucket, rule: u16) -> Result<(), BucketError> {
        for _ in 0..MAX_CONFLICTS {
            let Some((mut row, version)) = self.inner.store.inventory(bucket.id, rule).await? else {
                return Ok(()); // It is about to be begun.
            };
            if row.taking.is_some() || row.ordered {
                return Ok(());
            }
            row.ordered = true;
            let ordered = self.inner.store.put_inventory(bucket, rule, Some(version), &row, (0, &[])).await;
            match ordered {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BucketError::Conflict)
    }
}

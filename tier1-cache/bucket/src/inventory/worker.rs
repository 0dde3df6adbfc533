//! The worker: one task for each bucket that has an inventory to be taken, begun when it is due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_store::{Bucket, BucketId};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::engine::Engine;
use crate::inventory::due;
use crate::inventory::taking::{Next, Taker};

/// After the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// The longest time between two looks at the buckets, whatever is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Engine {
    /// Takes inventories where rules want them until it is told to stop. One such task per store; each bucket's work is a
    /// task that this one owns.
    ///
    /// # Cancellation
    /// Safe: how far each one is, was written down with its last page.
    pub async fn run_inventories(&self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Id, BucketId> = BTreeMap::new();
        let run = async {
            loop {
                let pause = match self.begin_takers(&mut tasks, &mut running).await {
                    Ok(pause) => pause,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the buckets cannot be read for their inventories; it is tried again"
                        );
                        tokio::time::sleep(AFTER_FAILURE).await;
                        continue;
                    }
                };
                tokio::select! {
                    () = self.inner.inventories.wake.notified() => {}
                    Some(ended) = tasks.join_next_with_id() => {
                        let id = match &ended {
                            Ok((id, ())) => *id,
                            Err(error) => error.id(),
                        };
                        running.remove(&id);
                        if ended.is_err_and(|error| error.is_panic()) {
                            tracing::error!("an inventory's task broke off; it is begun again");
                            tokio::time::sleep(AFTER_FAILURE).await;
                        }
                    }
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        stop.run_until_cancelled(run).await;
        tasks.shutdown().await;
    }

    /// Begins a task for each bucket that has something to be done. Returns when to look again.
    async fn begin_takers(
        &self,
        tasks: &mut JoinSet<()>,
        running: &mut BTreeMap<Id, BucketId>,
    ) -> Result<Duration, BucketError> {
        let mut all = self.all_buckets();
        let mut pause = LOOK_EVERY;
        while let Some(bucket) = all.next().await? {
            if running.values().any(|id| *id == bucket.id) {
                continue;
            }
            match self.next_of(&bucket).await? {
                Next::Nothing => continue,
                Next::In(left) => {
                    pause = pause.min(left);
                    continue;
                }
                Next::Now => {}
            }
            let taker = Taker {
                engine: self.clone(),
                name: bucket.name.clone(),
                id: bucket.id,
                changed: Arc::default(),
            };
            let task = tasks.spawn(taker.run());
            running.insert(task.id(), bucket.id);
        }
        Ok(pause)
    }

    /// What is to be done about the inventories of a bucket, and how soon.
    async fn next_of(&self, bucket: &Bucket) -> Result<Next, BucketError> {
        let found = self.inner.store.inventories(bucket.id).await?;
        // A rule whose target is not declared any more is looked at when it is again.
        let Ok(rules) = self.behind(bucket) else { return Ok(Next::Nothing) };
        let now = self.inner.clock.now();
        let withdrawn = match rules.all().iter().any(|behind| behind.inventory_age().is_some()) {
            true => self.inner.store.inventory_withdrawn(bucket.id).await?,
            false => 0,
        };
        let mut next = Next::Nothing;
        for behind in rules.all() {
            let Some(age) = behind.inventory_age() else { continue };
            let row = found.iter().find(|(rule, ..)| *rule == behind.inventory_rule()).map(|(_, row, _)| row);
            let Some(row) = row.filter(|row| row.gate_version == bucket.gate_version) else {
                return Ok(Next::Now);
            };
            let left = due(row, age, withdrawn).since(now);
            if row.taking.is_some() || left.is_zero() {
                return Ok(Next::Now);
            }
            next = Next::In(match next {
                Next::In(sooner) => left.min(sooner),
                Next::Now | Next::Nothing => left,
            });
        }
        let is_kept = |rule: u16| {
            rules.all().get(usize::from(rule)).is_some_and(|behind| behind.inventory_age().is_some())
        };
        Ok(if found.iter().all(|(rule, ..)| is_kept(*rule)) { next } else { Next::Now })
    }
}

//! Taking the inventories of one bucket: its task walks over the lists of its shadows page by page, writes down what it
//! sees, and compares it with what it saw the last time.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::BucketName;
use fallthrough_shadow::ListedPage;
use fallthrough_store::{
    Bucket, BucketId, INVENTORY_ROWS_PER_COMMIT, InventoryDrift, InventoryObject, InventoryRow,
    TakenInventory, TakingInventory,
};
use tokio::sync::Notify;

use crate::api::BucketError;
use crate::ask::{ask_page, out_of_order, own_query};
use crate::behind::Behind;
use crate::engine::Engine;
use crate::inventory::{Waits, due};

/// Pauses while a shadow fails: twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is to be done about the inventories of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    /// After this time.
    In(Duration),
    Nothing,
}

/// The task of one bucket.
pub(super) struct Taker {
    pub(super) engine: Engine,
    pub(super) name: BucketName,
    pub(super) id: BucketId,
    pub(super) changed: Arc<Notify>,
}

/// Takes a task out of the list of those that wait, however it ends.
struct Listed<'a>(&'a Engine, BucketId);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.inner.inventories.lock().remove(&self.1);
    }
}

/// How far a generation is, and what the index has of it.
struct Walk<'a> {
    bucket: &'a Bucket,
    rule: u16,
    row: InventoryRow,
    version: u64,
}

impl Taker {
    pub(super) async fn run(self) {
        let engine = self.engine.clone();
        let _listed = Listed(&engine, self.id);
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.step().await {
                Ok(Next::Now) => {
                    self.waits(None);
                    pause = FIRST_PAUSE;
                    continue;
                }
                Ok(Next::In(_) | Next::Nothing) => return,
                Err(error) => error.to_string(),
            };
            tracing::debug!(bucket = %self.name, why, "an inventory waits");
            self.waits(Some(why));
            // An order that came before is still told: `Notify` keeps one.
            let _ = tokio::time::timeout(pause, self.changed.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn waits(&self, why: Option<String>) {
        let waits = Waits { why, changed: self.changed.clone() };
        self.engine.inner.inventories.lock().insert(self.id, waits);
    }

    /// Takes the next page of one of the bucket's inventories, or begins one, or removes what nobody wants.
    async fn step(&self) -> Result<Next, BucketError> {
        let bucket = match self.engine.bucket(&self.name).await {
            Ok(bucket) if bucket.id == self.id => bucket,
            Ok(_) | Err(BucketError::NoSuchBucket(_)) => return Ok(Next::Nothing),
            Err(error) => return Err(error),
        };
        let store = &self.engine.inner.store;
        let rules = self.engine.behind(&bucket)?;
        for (rule, _, version) in store.inventories(bucket.id).await? {
            let behind = rules.all().get(usize::from(rule));
            if behind.is_none_or(|behind| behind.inventory_age().is_none()) {
                store.forget_inventory(bucket.id, rule, version).await?;
            }
        }
        let now = self.engine.inner.clock.now();
        let withdrawn = store.inventory_withdrawn(bucket.id).await?;
        for behind in rules.all() {
            let Some(age) = behind.inventory_age() else { continue };
            let rule = behind.inventory_rule();
            let found = store.inventory(bucket.id, rule).await?;
            let is_of_now = |row: &InventoryRow| row.gate_version == bucket.gate_version;
            match found {
                Some((row, version)) if is_of_now(&row) && row.taking.is_some() => {
                    let walk = Walk { bucket: &bucket, rule, row, version };
                    return self.go_on(walk, behind).await.map(|()| Next::Now);
                }
                Some((row, _)) if is_of_now(&row) && due(&row, age, withdrawn) > now => {}
                found => return self.begin(&bucket, rule, found).await.map(|()| Next::Now),
            }
        }
        Ok(Next::Nothing)
    }

    /// Begins a generation. What earlier ones have left, after a crash or under another shadow, is removed first.
    async fn begin(
        &self,
        bucket: &Bucket,
        rule: u16,
        found: Option<(InventoryRow, u64)>,
    ) -> Result<(), BucketError> {
        let store = &self.engine.inner.store;
        let seen = found.as_ref().map(|(_, version)| *version);
        let before = found.map(|(row, _)| row).unwrap_or_default();
        let taken = before.taken.filter(|_| before.gate_version == bucket.gate_version);
        let generation = before.generation + 1;
        let taking = TakingInventory {
            generation,
            // Read before anything is asked for: what is withdrawn from here on is not in it.
            withdrawn: store.inventory_withdrawn(bucket.id).await?,
            began: self.engine.inner.clock.now(),
            ..TakingInventory::default()
        };
        let (gate_version, taking) = (bucket.gate_version, Some(taking));
        let row = InventoryRow { gate_version, generation, ordered: false, taken, taking };
        store.put_inventory(bucket, rule, seen, &row, (generation, &[])).await?;
        let kept: Vec<u64> = row.taken.iter().map(|taken| taken.generation).chain([generation]).collect();
        store.trim_inventory(bucket.id, rule, &kept).await?;
        Ok(())
    }

    /// Takes the next page.
    async fn go_on(&self, mut walk: Walk<'_>, behind: &Behind) -> Result<(), BucketError> {
        let Some(mut taking) = walk.row.taking.take() else { return Ok(()) };
        let renaming = behind.rule.renaming().ok_or_else(out_of_order)?;
        let prefix = renaming.theirs(behind.rule.prefix()).unwrap_or_default();
        let query = own_query(&self.engine, "inventory", prefix.clone(), taking.after.clone());
        let page = ask_page(&self.engine, behind, query, &Arc::from("(inventory)")).await?;
        let is_last = !page.truncated;
        let listed = in_order(page, &prefix, &taking.after)?;
        let mut batches: Vec<&[InventoryObject]> = listed.chunks(INVENTORY_ROWS_PER_COMMIT).collect();
        if batches.is_empty() {
            batches.push(&[]);
        }
        let count = batches.len();
        for (number, batch) in (1..).zip(batches) {
            let ends = is_last && number == count;
            let until = batch.last().map(|object| object.name.clone());
            let drift = self.drift(&walk, &taking.after, until.as_deref().filter(|_| !ends), batch).await?;
            add(&mut taking.drift, drift);
            taking.objects += batch.len() as u64;
            taking.bytes += batch.iter().map(|object| object.size_bytes).sum::<u64>();
            taking.after = until.unwrap_or(taking.after);
            self.keep(&mut walk, &taking, batch, ends).await?;
        }
        if is_last {
            self.tell(&walk, behind);
            let kept: Vec<u64> = walk.row.taken.iter().map(|taken| taken.generation).collect();
            self.engine.inner.store.trim_inventory(walk.bucket.id, walk.rule, &kept).await?;
        }
        Ok(())
    }

    /// Writes a batch down; with the last one the generation is complete, and takes the place of the one before.
    async fn keep(
        &self,
        walk: &mut Walk<'_>,
        taking: &TakingInventory,
        batch: &[InventoryObject],
        ends: bool,
    ) -> Result<(), BucketError> {
        let TakingInventory { generation, withdrawn, began, objects, bytes, drift, .. } = taking.clone();
        let row = &mut walk.row;
        if ends {
            let drift = row.taken.is_some().then_some(drift);
            let ended = self.engine.inner.clock.now();
            row.taken = Some(TakenInventory { generation, withdrawn, began, ended, objects, bytes, drift });
            row.taking = None;
        } else {
            row.taking = Some(taking.clone());
        }
        let store = &self.engine.inner.store;
        // Refused if the bucket is gone or has another shadow by now: the next step sees.
        walk.version =
            store.put_inventory(walk.bucket, walk.rule, Some(walk.version), row, (generation, batch)).await?;
        Ok(())
    }

    /// How a batch differs from what the complete generation has behind `after`, up to `until` (`None`: to its end).
    async fn drift(
        &self,
        walk: &Walk<'_>,
        after: &str,
        until: Option<&str>,
        batch: &[InventoryObject],
    ) -> Result<InventoryDrift, BucketError> {
        let mut drift = InventoryDrift::default();
        let Some(taken) = &walk.row.taken else { return Ok(drift) };
        let of = (walk.rule, taken.generation);
        let mut from = after.to_owned();
        let mut batch = batch.iter().peekable();
        loop {
            let store = &self.engine.inner.store;
            let rows = store.inventory_objects(walk.bucket.id, of, &from, "", INVENTORY_ROWS_PER_COMMIT);
            let rows = rows.await?;
            let is_last = rows.len() < INVENTORY_ROWS_PER_COMMIT;
            for before in rows {
                if until.is_some_and(|until| before.name.as_str() > until) {
                    drift.added += batch.count() as u64;
                    return Ok(drift);
                }
                while batch.next_if(|now| now.name < before.name).is_some() {
                    drift.added += 1;
                }
                match batch.next_if(|now| now.name == before.name) {
                    Some(now) => drift.changed += u64::from(*now != before),
                    None => drift.removed += 1,
                }
                from = before.name;
            }
            if is_last {
                drift.added += batch.count() as u64;
                return Ok(drift);
            }
        }
    }

    /// Says that a generation is complete.
    fn tell(&self, walk: &Walk<'_>, behind: &Behind) {
        let Some(taken) = &walk.row.taken else { return };
        let TakenInventory { objects, bytes, began, ended, drift, .. } = taken;
        let labels = [("bucket", walk.bucket.name.to_string()), ("rule", walk.rule.to_string())];
        metrics::gauge!("fallthrough_inventory_objects", &labels).set(*objects as f64);
        metrics::gauge!("fallthrough_inventory_taken_timestamp_seconds", &labels)
            .set(began.unix_secs() as f64);
        let drift = drift.unwrap_or_default();
        for (what, keys) in [("added", drift.added), ("removed", drift.removed), ("changed", drift.changed)] {
            let [bucket, rule] = labels.clone();
            let labels = [bucket, rule, ("what", what.to_owned())];
            metrics::counter!("fallthrough_inventory_drift_total", &labels).increment(keys);
        }
        tracing::info!(
            bucket = %walk.bucket.name, rule = walk.rule, origin = %behind.origin, objects, bytes,
            secs = ended.since(*began).as_secs(), added = drift.added, removed = drift.removed,
            changed = drift.changed, "an inventory is complete"
        );
        let age = behind.inventory_age().unwrap_or_default();
        if ended.since(*began) >= age {
            tracing::warn!(
                bucket = %walk.bucket.name, rule = walk.rule,
                "an inventory takes longer than it is believed: give it a longer `inventory`"
            );
        }
    }
}

/// The objects of a page, if they are in order, behind `after`, and of this prefix.
fn in_order(page: ListedPage, prefix: &str, after: &str) -> Result<Vec<InventoryObject>, BucketError> {
    if page.truncated && page.objects.is_empty() {
        // A page that says "more" and has nothing would be asked for for ever.
        return Err(out_of_order());
    }
    let mut last = after.to_owned();
    let mut listed = Vec::with_capacity(page.objects.len());
    for object in page.objects {
        let follows = object.key > last;
        if !follows || !object.key.starts_with(prefix) {
            return Err(out_of_order());
        }
        last.clone_from(&object.key);
        listed.push(InventoryObject {
            name: object.key,
            etag: object.etag,
            size_bytes: object.size_bytes,
            last_modified: object.last_modified,
        });
    }
    Ok(listed)
}

fn add(drift: &mut InventoryDrift, more: InventoryDrift) {
    drift.added += more.added;
    drift.removed += more.removed;
    drift.changed += more.changed;
}

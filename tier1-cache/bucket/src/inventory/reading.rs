//! Reading inventories as if they were the shadow: pages of a list, and what is not there.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_shadow::{ListQuery, ListedObject, ListedPage};
use fallthrough_store::{Bucket, BucketId, EntryState, StoreError};
use futures::future::BoxFuture;

use crate::api::BucketError;
use crate::ask::ask_page;
use crate::behind::{Behind, Cold, Rules};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::list::{JUMP_ROWS, LAST, SCAN_ROWS, collapsed};

/// An inventory that is believed at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Believed {
    rule: u16,
    generation: u64,
    withdrawn: u64,
    /// How much longer it is.
    pub(super) left: Duration,
}

impl Believed {
    /// Whether this is the same one, some time later.
    fn is(&self, then: &Self) -> bool {
        (self.rule, self.generation, self.withdrawn) == (then.rule, then.generation, then.withdrawn)
    }
}

/// Where the lists of a bucket's rules come from, for one page of LIST.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Option<Believed>>);

impl Sources {
    /// Every shadow itself.
    pub(crate) fn shadows() -> Self {
        Self::default()
    }

    fn of(&self, behind: &Behind) -> Option<Believed> {
        self.0.get(behind.number).copied().flatten()
    }

    /// For how much longer no shadow has to be asked for what LIST shows; `None`: some have.
    pub(crate) fn answer_for(&self, rules: &Rules) -> Option<Duration> {
        rules.listed().map(|behind| self.of(behind).map(|believed| believed.left)).min().flatten()
    }

    /// A page of what is behind a rule.
    ///
    /// # Errors
    /// As [`ask_page`]; the store's.
    pub(crate) fn page<'a>(
        &self,
        engine: &'a Engine,
        bucket: &'a Bucket,
        behind: &'a Behind,
        query: ListQuery,
        client: &'a Arc<str>,
    ) -> BoxFuture<'a, Result<ListedPage, BucketError>> {
        let believed = self.of(behind);
        // In a box, since who lists is deep in futures already.
        Box::pin(async move {
            let Some(believed) = believed else { return ask_page(engine, behind, query, client).await };
            match inventory_page(engine, bucket.id, believed, &query).await {
                // The shadow has it all the same.
                Err(error @ StoreError::Corrupt { .. }) => {
                    let reason = error.to_string();
                    tracing::warn!(bucket = %bucket.name, reason, "an inventory is damaged; its shadow is asked");
                    ask_page(engine, behind, query, client).await
                }
                page => Ok(page?),
            }
        })
    }

    /// Whether all of them are still believed, as they were when the page was begun: an inventory that another took the
    /// place of loses its rows.
    pub(crate) async fn stand(&self, engine: &Engine, bucket: &Bucket) -> Result<bool, BucketError> {
        if planted(Mutant::InventoryGoesUnseen) || self.0.iter().all(Option::is_none) {
            return Ok(true);
        }
        for behind in engine.behind(bucket)?.all() {
            let Some(then) = self.of(behind) else { continue };
            let now = engine.complete(bucket, behind).await?;
            if !now.is_some_and(|now| now.is(&then)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Engine {
    /// Where the lists of a bucket's rules come from at this moment.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn sources(&self, bucket: &Bucket, rules: &Rules) -> Result<Sources, BucketError> {
        let mut sources = Vec::with_capacity(rules.all().len());
        for behind in rules.all() {
            sources.push(if behind.lists { self.believed(bucket, behind).await? } else { None });
        }
        Ok(Sources(sources))
    }

    /// The inventory of what is behind a rule, if there is one that is believed now.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn believed(
        &self,
        bucket: &Bucket,
        behind: &Behind,
    ) -> Result<Option<Believed>, BucketError> {
        let complete = self.complete(bucket, behind).await?;
        Ok(complete.filter(|found| !found.left.is_zero() || planted(Mutant::InventoryForEver)))
    }

    /// The inventory of what is behind a rule that is complete, whatever its age.
    async fn complete(&self, bucket: &Bucket, behind: &Behind) -> Result<Option<Believed>, BucketError> {
        let Some(age) = behind.inventory_age() else { return Ok(None) };
        let (store, rule) = (&self.inner.store, behind.inventory_rule());
        let Some((row, _)) = store.inventory(bucket.id, rule).await? else { return Ok(None) };
        if row.gate_version != bucket.gate_version && !planted(Mutant::InventoryOfAnotherShadow) {
            return Ok(None);
        }
        let now = self.inner.clock.now();
        let left = |began: fallthrough_object::Timestamp| began.plus(age).since(now);
        if let (true, Some(taking)) = (planted(Mutant::InventoryInPart), &row.taking) {
            let (generation, withdrawn, left) = (taking.generation, taking.withdrawn, left(taking.began));
            return Ok(Some(Believed { rule, generation, withdrawn, left }));
        }
        let Some(taken) = row.taken else { return Ok(None) };
        // Read after the row: what was withdrawn before the row was read is seen.
        let withdrawn = store.inventory_withdrawn(bucket.id).await?;
        let stands = withdrawn == taken.withdrawn || planted(Mutant::InventoryKnowsBest);
        let left = left(taken.began);
        Ok(stands.then_some(Believed { rule, generation: taken.generation, withdrawn, left }))
    }

    /// Whether a key of which nothing is known here need not be asked for: its rule wants that, and a believed inventory
    /// does not have it. Whatever cannot be told is a no.
    pub(crate) async fn is_absent_by_inventory(
        &self,
        bucket: &Bucket,
        cold: &Cold,
        state: Option<&EntryState>,
    ) -> bool {
        if !cold.behind.rule.settings.inventory_absent {
            return false;
        }
        match state {
            None | Some(EntryState::Absent { .. }) => {}
            // It was there, whatever the list says.
            Some(
                EntryState::Known(..)
                | EntryState::Filled(..)
                | EntryState::Written(_)
                | EntryState::Tombstone,
            ) => return false,
        }
        let Ok(Some(believed)) = self.believed(bucket, &cold.behind).await else { return false };
        let of = (believed.rule, believed.generation);
        match self.inner.store.inventory_has(bucket.id, of, cold.origin_key.as_str()).await {
            // Unless its rows went while they were looked at.
            Ok(false) => {
                let now = self.believed(bucket, &cold.behind).await;
                now.is_ok_and(|now| now.is_some_and(|now| now.is(&believed)))
            }
            Ok(true) | Err(_) => false,
        }
    }
}

/// What a shadow that has what the inventory has would answer. What is under a common prefix is jumped over.
async fn inventory_page(
    engine: &Engine,
    bucket: BucketId,
    believed: Believed,
    query: &ListQuery,
) -> Result<ListedPage, StoreError> {
    let delimiter = query.delimiter.as_deref();
    let wanted = query.max_keys.saturating_add(1).min(SCAN_ROWS);
    let mut limit = if delimiter.is_some() { JUMP_ROWS.min(wanted) } else { wanted };
    let mut page = ListedPage::default();
    let mut after = query.start_after.clone();
    loop {
        let of = (believed.rule, believed.generation);
        let rows = engine.inner.store.inventory_objects(bucket, of, &after, &query.prefix, limit).await?;
        let is_last = rows.len() < limit;
        let (mut dropped, read) = (0, rows.len());
        for object in rows {
            let prefix = collapsed(&object.name, &query.prefix, delimiter);
            let was_listed = prefix.is_some_and(|prefix| {
                prefix <= query.start_after.as_str()
                    || page.prefixes.last().is_some_and(|last| last == prefix)
            });
            object.name.clone_into(&mut after);
            if was_listed {
                dropped += 1;
                continue;
            }
            if page.objects.len() + page.prefixes.len() >= query.max_keys {
                page.truncated = query.max_keys > 0;
                return Ok(page);
            }
            match prefix {
                Some(prefix) => page.prefixes.push(prefix.to_owned()),
                None => page.objects.push(ListedObject {
                    key: object.name,
                    etag: object.etag,
                    size_bytes: object.size_bytes,
                    last_modified: object.last_modified,
                }),
            }
        }
        if is_last {
            return Ok(page);
        }
        let behind_prefix =
            collapsed(&after, &query.prefix, delimiter).map(|prefix| format!("{prefix}{LAST}"));
        if let Some(behind) = behind_prefix {
            // Names with `LAST` in them sort behind it, and are read one by one.
            after = after.max(behind);
        }
        limit = if dropped * 2 >= read { JUMP_ROWS } else { (limit * 2).min(wanted) };
    }
}

//! Whether a common prefix of a shadow's list still holds something: all keys under it may be deleted here.
//!
//! The shadow is asked for one key that is not, and only where a tombstone, or a rule before its own, could make a
//! difference. Whatever cannot be told is taken for a yes: LIST may show an empty folder, and never hides a key.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_shadow::ListQuery;
use fallthrough_store::{Bucket, Entry, EntryState};

use crate::behind::{Behind, Rules};
use crate::engine::Engine;
use crate::inventory::Sources;
use crate::list::JUMP_ROWS;

/// Prefixes that one page of a list asks its shadows about.
pub(crate) const PROBES_MAX: usize = 10;
/// Rows under a prefix that are looked at: with one key more, a page of a shadow's list has room for all of them.
const ROWS_MAX: usize = 999;
const PAGE_KEYS: usize = 1000;

/// A question about one common prefix.
pub(crate) struct Probe<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) bucket: &'a Bucket,
    pub(crate) rules: &'a Rules,
    /// Where the shadows' lists come from.
    pub(crate) sources: &'a Sources,
    pub(crate) prefix: &'a str,
    /// Whose share the shadows' requests count against.
    pub(crate) client: &'a Arc<str>,
    /// What else they are sent with; its names are not looked at.
    pub(crate) query: &'a ListQuery,
}

/// What is known of a prefix without asking anybody.
pub(crate) enum Here {
    /// Something under it is to be shown.
    Shows,
    /// Only its shadows know; these keys are deleted here.
    Deleted(BTreeSet<Key>),
}

impl Probe<'_> {
    /// What is here under the prefix. `next`: the first row from the prefix on, if it was read already.
    pub(crate) async fn here(&self, next: Option<&(Key, Entry)>) -> Here {
        let deleted = match next {
            Some((key, _)) if !key.as_str().starts_with(self.prefix) => BTreeSet::new(),
            Some((_, entry)) if entry.state.stored().is_some() => return Here::Shows,
            Some(_) | None => match self.deleted().await {
                Some(deleted) => deleted,
                None => return Here::Shows,
            },
        };
        let is_disputed = || self.rules.listed().any(|behind| self.is_disputed(behind));
        if deleted.is_empty() && !is_disputed() { Here::Shows } else { Here::Deleted(deleted) }
    }

    /// The keys under the prefix that are deleted here. `None`: something is to be shown, cannot be read, or there is too
    /// much to be looked at.
    async fn deleted(&self) -> Option<BTreeSet<Key>> {
        let mut deleted = BTreeSet::new();
        // Most of what is looked at shows itself at once.
        let (mut limit, mut read, mut from) = (JUMP_ROWS, 0, None::<String>);
        while read < ROWS_MAX {
            let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = self.engine.inner.store.scan(self.bucket.id, bound, self.prefix, limit).await.ok()?;
            let is_last = rows.len() < limit;
            read += rows.len();
            from = rows.last().map(|(key, _)| key.as_str().to_owned());
            for (key, entry) in rows {
                match entry.state {
                    EntryState::Written(_) | EntryState::Filled(..) => return None,
                    EntryState::Tombstone => drop(deleted.insert(key)),
                    EntryState::Known(..) | EntryState::Absent { .. } => {}
                }
            }
            if is_last {
                return Some(deleted);
            }
            limit = (limit * 4).min(ROWS_MAX - read);
        }
        None
    }

    /// Whether some key under the prefix may be the business of a rule before this one.
    fn is_disputed(&self, behind: &Behind) -> bool {
        let earlier = &self.rules.all()[..behind.number];
        earlier.iter().any(|earlier| earlier.rule.common_prefix(self.prefix).is_some())
    }

    /// Asks the shadows for a key under the prefix that is none of these.
    pub(crate) async fn survives(&self, deleted: &BTreeSet<Key>) -> bool {
        for behind in self.rules.listed() {
            if self.survives_behind(behind, deleted).await {
                return true;
            }
        }
        false
    }

    async fn survives_behind(&self, behind: &Behind, deleted: &BTreeSet<Key>) -> bool {
        let Some(renaming) = behind.rule.renaming() else { return false };
        let Some(within) = behind.rule.common_prefix(self.prefix) else { return false };
        let Some(prefix) = renaming.theirs(within) else { return false };
        let max_keys = if self.is_disputed(behind) { PAGE_KEYS } else { deleted.len() + 1 };
        // At least two: some providers begin with the name of the prefix itself.
        let max_keys = max_keys.max(2);
        let query =
            ListQuery { prefix, start_after: String::new(), delimiter: None, max_keys, ..self.query.clone() };
        let page = self.sources.page(self.engine, self.bucket, behind, query, self.client).await;
        let Ok(page) = page else { return true };
        let is_live = |name: &str| {
            let key = renaming.ours(name).and_then(|name| Key::parse(&name).ok());
            key.is_some_and(|key| !deleted.contains(&key) && !self.rules.takes_before(behind, &key))
        };
        page.truncated || page.objects.iter().any(|object| is_live(&object.key))
    }
}

//! Walking over what the shadows list, rule by rule, page by page.

use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_shadow::ListedObject;
use fallthrough_store::Walk;

use crate::api::BucketError;
use crate::ask::{ask_page, out_of_order, own_query};
use crate::behind::{Behind, Rules};
use crate::engine::Engine;

/// A page of what one rule's shadow lists: its keys, under their names here.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The rule's; `None`: it has no list, or nothing of it was asked for.
    pub(super) behind: Option<Arc<Behind>>,
    /// In order.
    pub(super) listed: Vec<(Key, ListedObject)>,
    /// The name up to which the list is complete; `None`: to its end.
    pub(super) until: Option<String>,
}

/// Where a walk goes on behind what it has seen of a page.
pub(super) fn advance(walk: &mut Walk, until: Option<&str>, rules: usize) {
    match until {
        Some(until) => until.clone_into(&mut walk.after),
        None => {
            walk.rule += 1;
            walk.after.clear();
            walk.done = walk.rule >= rules;
        }
    }
}

impl Engine {
    /// The next page of a walk over keys that begin with `asked`. Keys of an earlier rule are left out.
    ///
    /// # Errors
    /// As for LIST.
    pub(super) async fn walk_page(
        &self,
        rules: &Rules,
        walk: &Walk,
        asked: &str,
    ) -> Result<Page, BucketError> {
        let Some(behind) = rules.all().get(walk.rule).filter(|behind| behind.can_list()) else {
            return Ok(Page::default());
        };
        let (Some(prefix), Some(renaming)) = (behind.rule.common_prefix(asked), behind.rule.renaming())
        else {
            return Ok(Page::default());
        };
        let start_after = if walk.after.is_empty() { None } else { renaming.theirs(&walk.after) };
        let prefix_there = renaming.theirs(prefix).unwrap_or_default();
        let query = own_query(self, "migration", prefix_there, start_after.unwrap_or_default());
        let page = ask_page(self, behind, query, &Arc::from("(migration)")).await?;
        let mut last = None;
        let mut listed = Vec::with_capacity(page.objects.len());
        for object in page.objects {
            let name = renaming.ours(&object.key).ok_or_else(out_of_order)?;
            if name.as_str() <= last.as_deref().unwrap_or(walk.after.as_str()) && !name.is_empty() {
                return Err(out_of_order());
            }
            // What is no key here cannot be asked for.
            if let Ok(key) = Key::parse(&name)
                && !rules.takes_before(behind, &key)
            {
                listed.push((key, object));
            }
            last = Some(name);
        }
        // A page that says "more" and has nothing would be asked for for ever.
        let until = if page.truncated { Some(last.ok_or_else(out_of_order)?) } else { None };
        Ok(Page { behind: Some(behind.clone()), listed, until })
    }
}

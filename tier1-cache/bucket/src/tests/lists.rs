//! LIST: local, and merged with the shadow's.

use std::collections::{BTreeMap, BTreeSet};

use fallthrough_sim::ListFault;
use proptest::prelude::*;

use super::world::{World, caller};
use crate::survivors::PROBES_MAX;
use crate::{BucketError, BucketMode, ListFrom, ListRequest, ShadowRule};

fn all(max_keys: usize) -> ListRequest {
    ListRequest { max_keys, ..ListRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_local_list_pages_through_keys_and_prefixes() {
    let world = World::new(BucketMode::Plain).await;
    for key in ["a", "a/", "a/b", "a0", "b/c/d", "b/x", "c", "é", "\u{10FFFF}z"] {
        world.put(key, "1").await.unwrap();
    }
    for page in [1, 2, 3, 1000] {
        assert_eq!(
            world.names(all(page)).await,
            ["a", "a/", "a/b", "a0", "b/c/d", "b/x", "c", "é", "\u{10FFFF}z"]
        );
        let by_slash = ListRequest { delimiter: Some("/".into()), ..all(page) };
        assert_eq!(world.names(by_slash.clone()).await, ["a", "a/", "a0", "b/", "c", "é", "\u{10FFFF}z"]);
        let within = ListRequest { prefix: "b/".into(), ..by_slash };
        assert_eq!(world.names(within).await, ["b/c/", "b/x"]);
        let after = ListRequest { after: Some("a0".into()), ..all(page) };
        assert_eq!(world.names(after).await, ["b/c/d", "b/x", "c", "é", "\u{10FFFF}z"]);
    }
    assert!(world.names(all(0)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_here_wins_and_tombstones_hide() {
    let world = World::new(BucketMode::Migrate).await;
    for key in ["a", "b", "c", "d"] {
        world.origin.object(key, 100);
    }
    world.put("b", "mine").await.unwrap();
    world.put("bb", "mine").await.unwrap();
    world.delete("c").await;
    world.get("d").await.unwrap();
    world.head("a").await.unwrap();
    world.settled().await;
    for page in [1, 2, 3, 1000] {
        assert_eq!(world.names(all(page)).await, ["a", "b", "bb", "d"], "pages of {page}");
    }
    let page = world.engine.list(&world.bucket().await, &caller(), all(10)).await.result.unwrap();
    for item in page.items {
        let crate::ListItem::Object { key, etag, size_bytes, last_modified, owner: None } = item else {
            panic!()
        };
        let got = world.get(key.as_str()).await.unwrap();
        let info = &got.object.info;
        assert_eq!(
            (etag, size_bytes, last_modified),
            (info.etag.clone(), info.size_bytes, info.last_modified)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_shadow_never_gives_a_partial_list() {
    for fault in [ListFault::Status(500), ListFault::OutOfOrder, ListFault::Malformed, ListFault::NoAnswer] {
        let world = World::new(BucketMode::Migrate).await;
        world.origin.object("a", 1);
        world.origin.object("b", 1);
        world.put("c", "1").await.unwrap();
        world.origin.list_fault_times(1, fault.clone());
        let failed = world.engine.list(&world.bucket().await, &caller(), all(10)).await.result;
        assert!(matches!(failed, Err(BucketError::OriginFailing { .. })), "{fault:?}: {failed:?}");
        assert_eq!(world.names(all(10)).await, ["a", "b", "c"]);
    }
    let world = World::new(BucketMode::Migrate).await;
    world.origin.list_fault(ListFault::Status(403));
    let failed = world.engine.list(&world.bucket().await, &caller(), all(10)).await.result;
    assert!(matches!(failed, Err(BucketError::ShadowMisconfigured { .. })), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_compute_bucket_lists_what_is_here() {
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("a", 1);
    world.origin.object("b", 1);
    world.get("b").await.unwrap();
    world.settled().await;
    assert_eq!(world.names(all(10)).await, ["b"]);
    assert_eq!(world.origin.list_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn pages_of_tombstones_make_progress_and_v1_shows_a_key() {
    let world = World::new(BucketMode::Migrate).await;
    for n in 0..3_000 {
        world.origin.object(&format!("k{n:05}"), 1);
    }
    world.origin.object("z", 1);
    for n in 0..3_000 {
        world.delete(&format!("k{n:05}")).await;
    }
    assert_eq!(world.names(all(7)).await, ["z"]);
    let v1 = ListRequest { must_show_one: true, ..all(7) };
    let page = world.engine.list(&world.bucket().await, &caller(), v1).await.result.unwrap();
    assert_eq!(page.items.len(), 1);
}

/// Found by the model below: the token of a page that ended at the deleted key said that its prefix was done.
#[tokio::test(start_paused = true)]
async fn a_deleted_key_that_is_named_like_a_prefix_does_not_hide_the_prefix() {
    let world = World::new(BucketMode::Migrate).await;
    for key in ["a", "b/c"] {
        world.put(key, "1").await.unwrap();
    }
    world.delete("b/").await;
    for page in [1, 2, 3] {
        let by_slash = ListRequest { delimiter: Some("/".into()), ..all(page) };
        assert_eq!(world.names(by_slash).await, ["a", "b/"], "pages of {page}");
    }
}

/// What is deleted is gone from folders as well; what cannot be told is shown.
#[tokio::test(start_paused = true)]
async fn a_folder_whose_keys_are_all_deleted_is_not_shown() {
    let world = World::new(BucketMode::Migrate).await;
    for key in ["v/1", "w/1", "w/2", "w/3", "x/1"] {
        world.origin.object(key, 1);
    }
    for key in ["w/1", "w/2"] {
        world.delete(key).await;
    }
    let by_slash = |page| ListRequest { delimiter: Some("/".into()), ..all(page) };
    let before = world.origin.list_calls();
    assert_eq!(world.names(by_slash(10)).await, ["v/", "w/", "x/"]);
    assert_eq!(world.origin.list_calls() - before, 2, "only the folder with a tombstone is asked about");
    world.delete("w/3").await;
    for page in [1, 2, 10] {
        assert_eq!(world.names(by_slash(page)).await, ["v/", "x/"], "pages of {page}");
    }
    world.put("w/4", "1").await.unwrap();
    assert_eq!(world.names(by_slash(10)).await, ["v/", "w/", "x/"]);

    let many = World::new(BucketMode::Migrate).await;
    for n in 0..PROBES_MAX + 3 {
        many.origin.object(&format!("{n:02}/k"), 1);
        many.delete(&format!("{n:02}/k")).await;
    }
    let before = many.origin.list_calls();
    assert_eq!(many.names(by_slash(1000)).await.len(), 3, "past so many questions, a folder is shown");
    assert_eq!(many.origin.list_calls() - before, PROBES_MAX + 1);
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    rules: Vec<CaseRule>,
    local: BTreeMap<String, bool>,
    prefix: String,
    delimiter: Option<String>,
    after: Option<String>,
    page: usize,
}

impl Case {
    /// A bucket with these rules and keys.
    pub(super) async fn world(&self, change: impl Fn(&mut ShadowRule)) -> World {
        let world = World::new(BucketMode::Migrate).await;
        let mut rules = Vec::new();
        for (number, rule) in self.rules.iter().enumerate() {
            let name = format!("old-{number}");
            let origin = world.origin_named(&name);
            for key in rule.keys.iter().filter_map(|key| rule.theirs(key)) {
                origin.object(&key, 1);
            }
            let mut set = rule.set(&name);
            change(&mut set);
            rules.push(set);
        }
        world.set_rules(&rules).await.unwrap();
        for (key, live) in &self.local {
            if *live {
                world.put(key, "1").await.unwrap();
            } else {
                world.delete(key).await;
            }
        }
        world
    }

    pub(super) fn request(&self) -> ListRequest {
        ListRequest {
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after: self.after.clone(),
            ..all(self.page)
        }
    }
}

/// A rule, and what its shadow has, by the names of here.
#[derive(Clone, Debug)]
struct CaseRule {
    keys: BTreeSet<String>,
    prefix: Option<&'static str>,
    before: &'static str,
    rest: bool,
    merged: bool,
}

impl CaseRule {
    fn takes(&self, key: &str) -> bool {
        self.prefix.is_none_or(|prefix| key.starts_with(prefix))
    }

    /// The shadow's name of a key.
    fn theirs(&self, key: &str) -> Option<String> {
        let left_away = if self.rest { self.prefix.unwrap_or_default() } else { "" };
        Some(format!("{}{}", self.before, key.strip_prefix(left_away)?)).filter(|name| !name.is_empty())
    }

    fn set(&self, name: &str) -> ShadowRule {
        ShadowRule {
            key: Some(format!("{}{}", self.before, if self.rest { "{rest}" } else { "{key}" })),
            prefix: self.prefix.map(str::to_owned),
            list: Some(if self.merged { ListFrom::Merged } else { ListFrom::Local }),
            ..super::world::rule_to(name)
        }
    }
}

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "/", "0", "é", "//", "\u{10FFFF}"]), 1..5)
        .prop_map(|parts| parts.concat())
}

fn case_rule() -> impl Strategy<Value = CaseRule> {
    (
        prop::collection::btree_set(names(), 0..12),
        prop::sample::select(vec![None, None, Some("a"), Some("a/"), Some("b"), Some("a/b"), Some("0")]),
        prop::sample::select(vec!["", "", "old/"]),
        any::<bool>(),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(keys, prefix, before, rest, merged)| CaseRule { keys, prefix, before, rest, merged })
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(case_rule(), 1..4).prop_map(|rules| {
            // A rule that is never reached is refused.
            let mut reached: Vec<CaseRule> = Vec::new();
            for rule in rules {
                if !reached.iter().any(|earlier| earlier.takes(rule.prefix.unwrap_or_default())) {
                    reached.push(rule);
                }
            }
            reached
        }),
        prop::collection::btree_map(names(), any::<bool>(), 0..12),
        prop_oneof![Just(String::new()), Just("a".to_owned()), Just("a/".to_owned()), names()],
        prop_oneof![
            Just(None),
            Just(Some("/".to_owned())),
            Just(Some("//".to_owned())),
            Just(Some("b".to_owned()))
        ],
        prop_oneof![3 => Just(None), 1 => names().prop_map(Some)],
        1usize..6,
    )
        .prop_map(|(rules, local, prefix, delimiter, after, page)| Case {
            rules,
            local,
            prefix,
            delimiter,
            after,
            page,
        })
}

/// What the list must be: keys that are here (`true`), or at the shadow of the first rule that takes them and not deleted
/// here (`false`). A common prefix all of whose keys are deleted here, or are the business of an earlier rule, may be shown
/// only where there are more prefixes than a page asks about.
fn expected(case: &Case) -> (Vec<String>, BTreeSet<String>) {
    let collapse = |key: &String| {
        let rest = key.strip_prefix(case.prefix.as_str())?;
        let found = case.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len()));
        Some(found.map_or(key.clone(), |at| key[..case.prefix.len() + at].to_owned()))
    };
    let merged = case.rules.iter().enumerate().filter(|(_, rule)| rule.merged);
    let behind = merged.flat_map(|(number, rule)| {
        rule.keys.iter().filter(|k| rule.takes(k) && rule.theirs(k).is_some()).map(move |k| (number, k))
    });
    let live: BTreeSet<&String> = behind
        .clone()
        .filter(|(number, k)| !case.rules[..*number].iter().any(|earlier| earlier.takes(k)))
        .map(|(_, k)| k)
        .filter(|k| case.local.get(*k) != Some(&false))
        .chain(case.local.iter().filter(|(_, live)| **live).map(|(k, _)| k))
        .collect();
    let show = |keys: Vec<&String>| -> BTreeSet<String> {
        keys.into_iter()
            .filter(|k| case.after.as_ref().is_none_or(|after| *k > after))
            .filter_map(collapse)
            .filter(|name| case.after.as_ref().is_none_or(|after| name > after))
            .collect()
    };
    let must = show(live.into_iter().collect());
    let is_prefix = |n: &&String| case.delimiter.as_ref().is_some_and(|d| n.ends_with(d.as_str()));
    let theirs = show(behind.map(|(_, k)| k).collect());
    let may = if theirs.iter().filter(is_prefix).count() <= PROBES_MAX {
        BTreeSet::new()
    } else {
        theirs.difference(&must).filter(is_prefix).cloned().collect()
    };
    (must.into_iter().collect(), may)
}

/// How many lists are compared; `PROPTEST_CASES` sets another number.
pub(super) fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Merged lists against a model, over pages of every size.
    #[test]
    fn merged_lists_agree_with_the_model(case in case()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let listed = runtime.block_on(async { case.world(|_| ()).await.names(case.request()).await });
        let (must, may) = expected(&case);
        prop_assert!(listed.is_sorted(), "{listed:?}");
        let extra: Vec<_> = listed.iter().filter(|n| !must.contains(n)).collect();
        prop_assert!(extra.iter().all(|n| may.contains(*n)), "extra {extra:?}, may {may:?}");
        let missing: Vec<_> = must.iter().filter(|n| !listed.contains(n)).collect();
        prop_assert!(missing.is_empty(), "missing {missing:?} in {listed:?}");
        let distinct: BTreeSet<_> = listed.iter().collect();
        prop_assert_eq!(distinct.len(), listed.len());
    }
}

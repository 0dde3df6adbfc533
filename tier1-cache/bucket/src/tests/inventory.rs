//! Inventories: what LIST shows from one is what it would show from the shadow, for as long as it is believed.

use std::time::Duration;

use fallthrough_object::Key;
use fallthrough_sim::ListFault;
use fallthrough_wire::conditions::WriteConditions;
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lists::{Case, case, cases};
use super::planted::{assert_caught, missed};
use super::world::{World, caller, key, rule, rule_to};
use crate::core::mutants::Mutant;
use crate::{
    BucketError, BucketMode, CacheWord, EngineOptions, InventoryDrift, InventoryStatus, ListPage,
    ListRequest, ShadowRule,
};

const HOUR: u64 = 3600;

/// The worker of a world, which ends with the test.
struct Worker(CancellationToken, JoinHandle<()>);

impl Worker {
    fn of(world: &World) -> Self {
        let (stop, engine) = (CancellationToken::new(), world.engine.clone());
        let stopped = stop.clone();
        Self(stop, TaskTracker::new().spawn(async move { engine.run_inventories(stopped).await }))
    }

    async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

fn all(max_keys: usize) -> ListRequest {
    ListRequest { max_keys, ..ListRequest::default() }
}

fn kept(secs: u64) -> ShadowRule {
    ShadowRule { inventory_secs: Some(secs), ..rule() }
}

impl World {
    /// A bucket that migrates, and keeps an inventory for an hour.
    async fn kept() -> Self {
        Self::with(BucketMode::Migrate, EngineOptions::default(), |settings| {
            settings.shadow = vec![kept(HOUR)];
        })
        .await
    }

    async fn inventories(&self) -> Vec<InventoryStatus> {
        self.engine.inventories(&self.bucket().await).await.unwrap()
    }

    /// Waits, at most two hours of virtual time, until this holds of all inventories.
    async fn until(&self, what: &str, holds: impl Fn(&InventoryStatus) -> bool) -> Vec<InventoryStatus> {
        for _ in 0..720_000 {
            let all = self.inventories().await;
            if all.iter().all(&holds) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // Virtual time: lets the tasks run.
        }
        panic!("{what}: {:?}", self.inventories().await);
    }

    /// Waits until all inventories are believed, and nothing is being taken.
    async fn taken(&self) -> Vec<InventoryStatus> {
        self.until("they are taken", |one| one.believed_for.is_some() && one.row.taking.is_none()).await
    }

    /// Takes all inventories, and ends the worker.
    async fn take(&self) -> Vec<InventoryStatus> {
        let worker = Worker::of(self);
        let taken = self.taken().await;
        worker.stop().await;
        taken
    }

    /// Has them taken anew, and ends the worker.
    async fn take_anew(&self) -> Vec<InventoryStatus> {
        let before = self.engine.take_inventories(&self.bucket().await).await.unwrap();
        let worker = Worker::of(self);
        let generation = |one: &InventoryStatus| one.row.taken.as_ref().map_or(0, |taken| taken.generation);
        let least = before.iter().map(generation).max().unwrap() + 1;
        let taken = self.until("they are taken anew", |one| generation(one) >= least).await;
        worker.stop().await;
        taken
    }

    /// Every page of a list, as it is answered.
    async fn pages(&self, mut request: ListRequest) -> Vec<ListPage> {
        let mut pages = Vec::new();
        loop {
            let page =
                self.engine.list(&self.bucket().await, &caller(), request.clone()).await.result.unwrap();
            let next = page.next.clone();
            pages.push(page);
            match next {
                Some(cursor) => request.cursor = Some(cursor),
                None => return pages,
            }
        }
    }

    async fn word(&self) -> (CacheWord, &'static str, Result<usize, String>) {
        let answer = self.engine.list(&self.bucket().await, &caller(), all(1000)).await;
        (
            answer.report.word,
            answer.report.detail,
            answer.result.map(|page| page.items.len()).map_err(|error| error.to_string()),
        )
    }

    /// Rows of all generations of the first rule's inventory.
    async fn rows(&self) -> usize {
        let id = self.bucket().await.id;
        let mut rows = 0;
        for generation in 0..10 {
            rows += self.store.inventory_objects(id, (0, generation), "", "", 200_000).await.unwrap().len();
        }
        rows
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(100_000), future).await.unwrap() })
}

async fn agrees(case: &Case) -> Result<(), TestCaseError> {
    let plain = case.world(|_| ()).await;
    let kept = case.world(|rule| rule.inventory_secs = Some(HOUR)).await;
    let number = kept.take().await.len();
    prop_assert_eq!(number, kept.bucket().await.settings.shadow.len());
    let asked = |world: &World| {
        (0..number).map(|n| format!("old-{n}")).map(|name| world.named(&name).list_calls()).sum::<usize>()
    };
    let before = asked(&kept);
    let (want, got) = (plain.pages(case.request()).await, kept.pages(case.request()).await);
    let undated = |pages: Vec<ListPage>| format!("{pages:?}");
    prop_assert_eq!(undated(got), undated(want));
    prop_assert_eq!(asked(&kept), before, "the shadows were asked");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 10, failure_persistence: None, ..ProptestConfig::default() })]

    /// Page by page, with rules, names, prefixes, delimiters and tombstones of all kinds.
    #[test]
    fn lists_from_inventories_are_those_of_the_shadows(case in case()) {
        block_on(agrees(&case))?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_from_an_inventory_while_the_shadow_is_down() {
    let world = World::kept().await;
    for key in ["a", "b/1", "b/2", "c"] {
        world.origin.object(key, 1);
    }
    assert_eq!(world.word().await, (CacheWord::Pass, "merged", Ok(4)), "none is taken yet");
    world.put("bb", "mine").await.unwrap();
    world.delete("c").await;
    world.take().await;
    world.origin.list_fault(ListFault::Status(500));
    let asked = world.origin.list_calls();
    assert_eq!(world.word().await, (CacheWord::Hit, "inventory", Ok(4)));
    let by_slash = ListRequest { delimiter: Some("/".into()), ..all(2) };
    assert_eq!(world.names(by_slash).await, ["a", "b/", "bb"]);
    assert_eq!(world.origin.list_calls(), asked);
    let report = world.engine.list(&world.bucket().await, &caller(), all(10)).await.report;
    assert!(report.ttl.is_some_and(|ttl| ttl <= Duration::from_secs(HOUR)), "{report:?}");

    // Past its time it is a failure again, and no part of a list.
    tokio::time::advance(Duration::from_secs(HOUR)).await;
    let (word, _, result) = world.word().await;
    assert!(
        word == CacheWord::Pass && result.is_err_and(|error| error.contains("500")),
        "the shadow is asked again"
    );
    let failed = world.engine.list(&world.bucket().await, &caller(), all(10)).await.result;
    assert!(matches!(failed, Err(BucketError::OriginFailing { .. })), "{failed:?}");
}

async fn aged() {
    let world = World::kept().await;
    world.origin.object("a", 1);
    world.take().await;
    world.origin.object("late", 1);
    assert_eq!(world.names(all(10)).await, ["a"], "seen with the next one");
    tokio::time::advance(Duration::from_secs(HOUR)).await;
    assert_eq!(world.names(all(10)).await, ["a", "late"], "an old one is not believed");
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_again_in_time_and_drift_is_counted() {
    aged().await;
    let world = World::kept().await;
    for n in 0..1_500 {
        world.origin.object(&format!("k{n:05}"), 1);
    }
    let worker = Worker::of(&world);
    let first = world.taken().await;
    let taken = first[0].row.taken.clone().unwrap();
    assert_eq!((taken.objects, taken.bytes, taken.drift), (1_500, 1_500, None));
    for n in 0..300 {
        world.origin.remove(&format!("k{:05}", n + 1_000));
    }
    for key in ["a", "k00500x", "z"] {
        world.origin.object(key, 7);
    }
    world.origin.replace("k00001");
    world.origin.replace("k01499");
    // It is always believed while its shadow answers.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(HOUR / 10)).await;
        assert_eq!(world.word().await.0, CacheWord::Hit);
    }
    let now = world.taken().await[0].row.taken.clone().unwrap();
    assert_eq!(now.objects, 1_203);
    assert!(now.generation > 3 && now.generation < 12, "{now:?}");
    assert_eq!(now.drift, Some(InventoryDrift::default()), "nothing has changed since the last one");
    worker.stop().await;
    assert_eq!(world.rows().await, 1_203, "those before it are gone");

    // The one after the changes has told of them.
    let world = World::kept().await;
    for n in 0..1_500 {
        world.origin.object(&format!("k{n:05}"), 1);
    }
    world.take().await;
    for n in 0..300 {
        world.origin.remove(&format!("k{:05}", n + 1_000));
    }
    for key in ["a", "k00500x", "z"] {
        world.origin.object(key, 7);
    }
    world.origin.replace("k00001");
    world.origin.replace("k01499");
    let drift = world.take_anew().await[0].row.taken.clone().unwrap().drift;
    assert_eq!(drift, Some(InventoryDrift { added: 3, removed: 300, changed: 2 }));
    for n in 0..1_500 {
        world.origin.remove(&format!("k{n:05}"));
    }
    let drift = world.take_anew().await[0].row.taken.clone().unwrap().drift;
    assert_eq!(drift, Some(InventoryDrift { added: 0, removed: 1_200, changed: 0 }));
    assert_eq!(world.rows().await, 3);
}

/// A shadow that breaks off in the middle: nobody is shown a part.
async fn in_part() {
    let world = World::kept().await;
    for n in 0..2_500 {
        world.origin.object(&format!("k{n:05}"), 1);
    }
    world.origin.list_fault(ListFault::Delay(Duration::from_secs(1)));
    let worker = Worker::of(&world);
    world.until("a page is taken", |one| one.row.taking.as_ref().is_some_and(|t| t.objects >= 1_000)).await;
    worker.stop().await;
    let status = world.inventories().await;
    let taking = status[0].row.taking.as_ref().expect("it is not complete");
    assert!(taking.objects < 2_500 && status[0].believed_for.is_none(), "{status:?}");
    assert_eq!(world.names(all(1000)).await.len(), 2_500);
    // It goes on where it was.
    world.origin.heal_all();
    let before = (taking.objects, world.origin.list_calls());
    let taken = world.take().await[0].row.taken.clone().unwrap();
    assert_eq!((taken.objects, world.rows().await), (2_500, 2_500));
    let pages = (2_500 - usize::try_from(before.0).unwrap()).div_ceil(1_000);
    assert_eq!(world.origin.list_calls() - before.1, pages, "no page is asked for twice");
}

#[tokio::test(start_paused = true)]
async fn an_inventory_that_is_not_complete_is_not_used_and_goes_on_where_it_was() {
    in_part().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_out_of_order_is_not_taken() {
    let world = World::kept().await;
    for n in 0..1_500 {
        world.origin.object(&format!("k{n:05}"), 1);
    }
    world.origin.list_fault_times(1, ListFault::OutOfOrder);
    let worker = Worker::of(&world);
    let waiting = world.until("it waits", |one| one.waiting.is_some() || one.believed_for.is_some()).await;
    assert!(waiting[0].waiting.as_ref().is_some_and(|why| why.contains("out of order")), "{waiting:?}");
    let taken = world.taken().await[0].row.taken.clone().unwrap();
    assert_eq!(taken.objects, 1_500);
    worker.stop().await;
}

/// What went through and is forgotten here is at the shadow by our own doing.
async fn forgotten() {
    let world = World::kept().await;
    world.origin.object("a", 1);
    world.put("mine", "1").await.unwrap();
    world.take().await;
    world.origin.object("mine", 1); // It went through.
    assert_eq!(world.names(all(10)).await, ["a", "mine"]);
    world.purge("a", false).await.unwrap();
    assert_eq!(world.word().await.0, CacheWord::Hit, "nothing is withdrawn by what was not written here");
    world.purge("mine", true).await.unwrap();
    assert_eq!(world.word().await, (CacheWord::Pass, "merged", Ok(2)));
    assert_eq!(world.names(all(10)).await, ["a", "mine"]);
    world.take().await;
    assert_eq!(world.word().await, (CacheWord::Hit, "inventory", Ok(2)), "the next one is begun at once");

    // A tombstone that is forgotten, too.
    world.delete("a").await;
    assert_eq!(world.names(all(10)).await, ["mine"]);
    world.purge("a", true).await.unwrap();
    assert_eq!(world.word().await, (CacheWord::Pass, "merged", Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_here_and_is_forgotten_is_not_missed_in_lists() {
    forgotten().await;
}

/// Another shadow is another list.
async fn another_shadow() {
    let world = World::kept().await;
    world.origin.object("old", 1);
    world.take().await;
    let other = world.origin_named("other");
    other.object("new", 1);
    world.set_rules(&[ShadowRule { inventory_secs: Some(HOUR), ..rule_to("other") }]).await.unwrap();
    assert_eq!(world.word().await, (CacheWord::Pass, "merged", Ok(1)));
    assert_eq!(world.names(all(10)).await, ["new"]);
    world.take().await;
    assert_eq!(world.word().await, (CacheWord::Hit, "inventory", Ok(1)));
    assert_eq!(world.names(all(10)).await, ["new"]);
    assert_eq!(world.rows().await, 1);
    let taken = world.inventories().await[0].row.taken.clone().unwrap();
    assert_eq!(taken.drift, None, "that of another shadow is nothing to compare with");
}

#[tokio::test(start_paused = true)]
async fn the_inventory_of_a_shadow_says_nothing_of_the_next_one() {
    another_shadow().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_an_inventory_that_nobody_wants() {
    for clear in [true, false] {
        let world = World::kept().await;
        for n in 0..700 {
            world.origin.object(&format!("k{n:05}"), 1);
        }
        world.take().await;
        assert_eq!(world.rows().await, 700);
        let rules = if clear { Vec::new() } else { vec![rule()] };
        world
            .engine
            .set_bucket(&world.name, &|settings| {
                settings.shadow.clone_from(&rules);
                if rules.is_empty() {
                    settings.mode = BucketMode::Plain;
                }
            })
            .await
            .unwrap();
        let worker = Worker::of(&world);
        let id = world.bucket().await.id;
        for _ in 0..1_000 {
            if world.store.inventories(id).await.unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // Virtual time: lets the tasks run.
        }
        assert!(world.store.inventories(id).await.unwrap().is_empty());
        assert_eq!(world.rows().await, 0);
        worker.stop().await;
    }
}

/// An inventory whose place another has taken in the middle of a page loses its rows.
async fn replaced() {
    let world = World::kept().await;
    for n in 0..10 {
        world.origin.object(&format!("k{n}"), 1);
    }
    world.take().await;
    let bucket = world.bucket().await;
    let rules = world.engine.behind(&bucket).unwrap();
    let sources = world.engine.sources(&bucket, &rules).await.unwrap();
    assert!(sources.answer_for(&rules).is_some() && sources.stand(&world.engine, &bucket).await.unwrap());
    let page = world.engine.list_page(&bucket, Some(&caller()), &all(100), &sources).await.unwrap();
    assert_eq!(page.items.len(), 10);
    world.take_anew().await;
    let page = world.engine.list_page(&bucket, Some(&caller()), &all(100), &sources).await.unwrap();
    assert_eq!(page.items.len(), 0, "its rows are gone");
    assert!(!sources.stand(&world.engine, &bucket).await.unwrap(), "and whoever looks afterwards is told");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_an_inventory_that_was_replaced_meanwhile_is_not_shown() {
    replaced().await;
}

/// Only who reads takes what an inventory does not have for absent.
async fn judged() {
    let world = World::with(BucketMode::Migrate, EngineOptions::default(), |settings| {
        settings.shadow = vec![ShadowRule { inventory_absent: true, ..kept(HOUR) }];
    })
    .await;
    world.origin.object("a", 10);
    world.take().await;
    let calls = world.origin.total_calls();
    for (word, error) in [world.get("none").await.unwrap_err(), world.head("none").await.unwrap_err()] {
        assert!(word == CacheWord::Negative && matches!(error, BucketError::NoSuchKey), "{error:?}");
    }
    assert_eq!(world.origin.total_calls(), calls, "nobody is asked");
    assert!(world.explained("none").await.contains("inventory"), "{}", world.explained("none").await);
    assert_eq!(world.get("a").await.unwrap().bytes.len(), 10);

    // Somebody else has put it there since.
    world.origin.object("late", 10);
    assert!(world.head("late").await.is_err(), "believed until the next inventory");
    let is_new = WriteConditions {
        if_none_match: Some(fallthrough_wire::conditions::TagList::Any),
        ..Default::default()
    };
    let refused = world.put_if("late", "mine", is_new).await;
    assert!(matches!(refused, Err(BucketError::PreconditionFailed)), "{refused:?}");
    let bucket = world.bucket().await;
    world.origin.object("tagged", 10);
    assert!(world.get("tagged").await.is_err());
    let tagged = world.engine.have_here(&bucket, &caller(), &key("tagged"), crate::Admission::ALL).await;
    assert_eq!(tagged.unwrap().info.size_bytes, 10, "who changes something has the origin asked");
    assert_eq!(world.head("tagged").await.unwrap().object.info.size_bytes, 10, "what is here is here");
    world.origin.object("later", 10);
    tokio::time::advance(Duration::from_secs(HOUR)).await;
    assert_eq!(world.get("later").await.unwrap().bytes.len(), 10, "an old one tells nothing");

    // Without being told to, nobody is answered so.
    let world = World::kept().await;
    world.take().await;
    world.origin.object("late", 10);
    assert_eq!(world.get("late").await.unwrap().bytes.len(), 10);
}

impl World {
    async fn explained(&self, raw: &str) -> String {
        self.engine.explain(&self.bucket().await, &Key::parse(raw).unwrap()).await.unwrap().next_get
    }
}

#[tokio::test(start_paused = true)]
async fn absence_by_inventory_is_for_who_reads_and_asks_for_it() {
    judged().await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_not_deleted_because_an_inventory_is_empty() {
    let world = World::kept().await;
    world.take().await;
    world.origin.object("late", 1);
    assert_eq!(world.word().await, (CacheWord::Hit, "inventory", Ok(0)));
    let refused = world.engine.delete_bucket(&world.name).await;
    assert!(matches!(refused, Err(BucketError::BucketNotEmpty)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_refused() {
    let world = World::new(BucketMode::Migrate).await;
    for (rule, named) in [
        (kept(59), "at least a minute"),
        (ShadowRule { suffix: Some(".png".into()), ..kept(HOUR) }, "keep our order"),
        (ShadowRule { inventory_absent: true, ..rule() }, "rests on an inventory"),
    ] {
        match world.set_rules(&[rule]).await {
            Err(BucketError::InvalidSettings { reason }) => assert!(reason.contains(named), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let none = world.engine.take_inventories(&world.bucket().await).await;
    assert!(matches!(none, Err(BucketError::InvalidSettings { .. })), "{none:?}");
}

/// Keys of a large shadow; `FALLTHROUGH_LIST_KEYS` sets another number.
fn many() -> usize {
    std::env::var("FALLTHROUGH_LIST_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(100_000)
}

#[tokio::test(start_paused = true)]
async fn a_large_inventory_is_taken_page_by_page_and_lists_read_what_they_show() {
    let world = World::kept().await;
    for n in 0..many() {
        world.origin.object(&format!("many/{n:07}"), 1);
    }
    for n in 0..2_000 {
        world.origin.object(&format!("some/{n:04}/a"), 1);
        world.origin.object(&format!("some/{n:04}/b"), 1);
    }
    let commits = world.store.status().commits;
    let taken = world.take().await[0].row.taken.clone().unwrap();
    assert_eq!(taken.objects as usize, many() + 4_000);
    assert_eq!(world.origin.list_calls(), (many() + 4_000).div_ceil(1_000));
    let rows_per_commit = taken.objects / (world.store.status().commits - commits).max(1);
    assert!(rows_per_commit <= 256, "{rows_per_commit}");

    let by_slash = |prefix: &str, max_keys| ListRequest {
        prefix: prefix.into(),
        delimiter: Some("/".into()),
        ..all(max_keys)
    };
    for (request, shown, rows_max) in
        [(all(1_000), 1_000, 2_100), (by_slash("", 1_000), 2, 20), (by_slash("some/", 1_000), 1_000, 5_000)]
    {
        let before = world.store.status().listed_rows;
        let page = world.engine.list(&world.bucket().await, &caller(), request).await.result.unwrap();
        let rows = world.store.status().listed_rows - before;
        assert!(page.items.len() == shown && rows <= rows_max, "{} items of {rows} rows", page.items.len());
    }
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::InventoryForEver, aged),
        missed(Mutant::InventoryInPart, in_part),
        missed(Mutant::InventoryOfAnotherShadow, another_shadow),
        missed(Mutant::InventoryKnowsBest, forgotten),
        missed(Mutant::InventoryGoesUnseen, replaced),
        missed(Mutant::InventoryJudgesWrites, judged),
    ]);
}

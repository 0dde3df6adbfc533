//! Migrations: everything comes over once, behind everybody, and where it is survives a restart.

use std::time::Duration;

use fallthrough_sim::{At, Fault, ListFault};
use fallthrough_store::MigrationPhase;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::planted::{assert_caught, missed};
use super::world::{World, key, rule_to, same};
use crate::core::mutants::Mutant;
use crate::migrate::outcome;
use crate::{
    BucketMode, CacheWord, EngineOptions, ListRequest, MigrationOptions, MigrationOrder, MigrationRefused,
    MigrationStatus, ShadowRule,
};

/// The worker of a world, which ends with the test.
pub(super) struct Worker(CancellationToken, JoinHandle<()>);

impl Worker {
    pub(super) fn of(world: &World) -> Self {
        let (stop, engine) = (CancellationToken::new(), world.engine.clone());
        let stopped = stop.clone();
        Self(stop, TaskTracker::new().spawn(async move { engine.run_migrations(stopped).await }))
    }

    pub(super) async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

impl World {
    pub(super) async fn start(&self, options: MigrationOptions) -> Result<MigrationStatus, MigrationRefused> {
        self.engine.start_migration(&self.bucket().await, options).await
    }

    pub(super) async fn order(&self, order: MigrationOrder) -> Result<MigrationStatus, MigrationRefused> {
        self.engine.order_migration(&self.bucket().await, order).await
    }

    async fn migration(&self) -> MigrationStatus {
        self.engine.migration(&self.bucket().await).await.unwrap()
    }

    /// Waits, at most an hour of virtual time, until this holds of the migration.
    async fn when(&self, what: &str, holds: impl Fn(&MigrationStatus) -> bool) -> MigrationStatus {
        for _ in 0..360_000 {
            let status = self.migration().await;
            if holds(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // Virtual time: lets the tasks run.
        }
        panic!("{what}: {:?}", self.migration().await);
    }

    pub(super) async fn idle(&self) -> MigrationStatus {
        self.when("it comes to its end", |status| status.row.phase == MigrationPhase::Idle).await
    }

    async fn notes(&self) -> Vec<(String, String)> {
        let notes = self.engine.migration_notes(&self.bucket().await, None, 10_000).await.unwrap();
        notes.into_iter().map(|(key, note)| (key.as_str().to_owned(), note.what)).collect()
    }
}

fn noted(notes: &[(&str, &str)]) -> Vec<(String, String)> {
    notes.iter().map(|(key, what)| ((*key).to_owned(), (*what).to_owned())).collect()
}

fn against(refused: Result<MigrationStatus, MigrationRefused>) -> Vec<String> {
    match refused {
        Err(MigrationRefused::NotNow(reasons)) => reasons,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_copied_once_compared_and_the_shadow_detached() {
    whole().await;
}

async fn whole() {
    let world = World::new(BucketMode::Migrate).await;
    let keys: Vec<String> = (0..2_300).map(|n| format!("k/{n:05}")).collect();
    let contents: Vec<_> = keys.iter().map(|key| world.origin.object(key, 100)).collect();
    world.put("k/00001", "mine").await.unwrap();
    world.put("k/own", "mine").await.unwrap();
    world.delete("k/00002").await;
    world.get("k/00003").await.unwrap();
    world.settled().await;

    let worker = Worker::of(&world);
    world.start(MigrationOptions::default()).await.unwrap();
    assert!(against(world.start(MigrationOptions::default()).await)[0].contains("under way"));
    let status = world.idle().await;
    let copied = &status.row.copied;
    assert!(status.row.counted.done && copied.done, "{status:?}");
    assert_eq!((status.row.counted.objects, status.row.counted.bytes), (2_300, 230_000));
    assert_eq!((copied.objects, copied.of(outcome::COPIED).objects), (2_300, 2_297));
    assert_eq!((copied.of(outcome::PRESENT).objects, copied.of(outcome::FAILED).objects), (3, 0));
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(world.origin.calls(key), usize::from(![1, 2].contains(&n)), "{key}");
    }
    let reasons = against(world.engine.cut_over(&world.bucket().await, false).await);
    assert!(reasons.iter().any(|reason| reason.contains("not verified")), "{reasons:?}");

    // Somebody changes the shadow: the comparison tells.
    world.origin.replace("k/00010");
    world.origin.object("k/late", 50);
    world.order(MigrationOrder::Verify).await.unwrap();
    let compared = world.idle().await.row.compared;
    let of = |word: &str| compared.of(word).objects;
    assert_eq!((of(outcome::SAME), of(outcome::DIFFERENT), of(outcome::MISSING)), (2_297, 1, 1));
    assert_eq!((of(outcome::CHANGED), of(outcome::TOMBSTONED), of(outcome::EXTRA)), (1, 1, 1));
    let expected = noted(&[
        ("k/00001", outcome::CHANGED),
        ("k/00002", outcome::TOMBSTONED),
        ("k/00010", outcome::DIFFERENT),
        ("k/late", outcome::MISSING),
        ("k/own", outcome::EXTRA),
    ]);
    assert_eq!(world.notes().await, expected);
    let reasons = against(world.engine.cut_over(&world.bucket().await, false).await);
    assert_eq!(reasons.len(), 2, "{reasons:?}");

    // What is missing is fetched; what is different is forgotten, and fetched as well.
    world.order(MigrationOrder::Retry).await.unwrap();
    world.idle().await;
    world.purge("k/00010", false).await.unwrap();
    world.get("k/00010").await.unwrap();
    world.settled().await;
    world.order(MigrationOrder::Verify).await.unwrap();
    world.idle().await;
    let asked = world.origin.total_calls();
    let done = world.engine.cut_over(&world.bucket().await, false).await.unwrap();
    assert!(done.row.cut_over.is_some());
    assert_eq!(world.bucket().await.settings.mode, BucketMode::Plain);
    assert!(world.get("k/00002").await.is_err(), "it stays deleted");
    let got = world.get("k/00077").await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &contents[77]));
    assert_eq!(world.origin.total_calls(), asked, "the shadow is asked no more");
    let all = ListRequest { max_keys: 1000, ..ListRequest::default() };
    assert_eq!(world.names(all).await.len(), 2_301);
    // The report is kept as evidence, whatever is ordered afterwards.
    let report = world.notes().await;
    assert!(!report.is_empty());
    assert!(against(world.order(MigrationOrder::Verify).await)[0].contains("detached"));
    assert_eq!(world.notes().await, report);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_it_was() {
    let mut world = World::new(BucketMode::Migrate).await;
    let keys: Vec<String> = (0..1_500).map(|n| format!("{n:05}")).collect();
    for key in &keys {
        world.origin.object(key, 10);
    }
    let slow = MigrationOptions { bytes_per_second: 100, ..MigrationOptions::default() };
    let worker = Worker::of(&world);
    world.start(slow).await.unwrap();
    let before = world.when("some of it", |status| status.row.copied.objects > 300).await;
    assert!(!before.row.copied.done && before.progress.running);
    let rate = before.progress.last_minute.bytes;
    assert!((50.0..150.0).contains(&rate), "{rate} bytes per second");
    worker.stop().await;
    world.settled().await;
    world.restart();
    assert!(!world.migration().await.progress.running);
    let lists = world.origin.list_calls();
    let worker = Worker::of(&world);
    let after = world.idle().await;
    assert!(after.row.copied.done && after.row.copied.objects == 1_500);
    assert!(keys.iter().all(|key| world.origin.calls(key) == 1), "nothing is fetched twice");
    assert!(world.origin.list_calls() <= lists + 3, "it did not begin at the beginning");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_is_told_and_tried_again() {
    let world = World::new(BucketMode::Migrate).await;
    for name in ["a", "b", "c", "d"] {
        world.origin.object(name, 10);
    }
    world.origin.fault("b", Fault::Status(500));
    world.origin.fault("c", Fault::Status(410));
    let worker = Worker::of(&world);
    world.start(MigrationOptions::default()).await.unwrap();
    let status = world.idle().await;
    assert_eq!(status.row.copied.of(outcome::FAILED).objects, 2, "{status:?}");
    assert_eq!(world.notes().await, noted(&[("b", outcome::FAILED), ("c", outcome::FAILED)]));
    world.origin.heal_all();
    tokio::time::sleep(Duration::from_secs(600)).await; // The breaker closes, and absence is forgotten.
    world.order(MigrationOrder::Retry).await.unwrap();
    let status = world.idle().await;
    assert_eq!((status.row.copied.of(outcome::FAILED).objects, status.row.copied.objects), (0, 4));
    assert!(world.notes().await.is_empty());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shadow_that_fails_is_waited_for_and_one_that_refuses_is_told() {
    let world = World::new(BucketMode::Migrate).await;
    for n in 0..50 {
        world.origin.object(&format!("{n:02}"), 10);
    }
    world.origin.list_fault(ListFault::Status(503));
    let worker = Worker::of(&world);
    world.start(MigrationOptions::default()).await.unwrap();
    let waits = world.when("it waits", |status| status.progress.waiting.is_some()).await;
    assert!(waits.row.halted.is_none());
    world.origin.heal_all();
    world.origin.list_fault(ListFault::Status(403));
    let halted = world.when("it halts", |status| status.row.halted.is_some()).await;
    assert!(halted.row.halted.as_ref().is_some_and(|why| why.contains("misconfigured")), "{halted:?}");
    world.origin.heal_all();
    world.order(MigrationOrder::Resume).await.unwrap();
    assert_eq!(world.idle().await.row.copied.of(outcome::COPIED).objects, 50);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orders_are_followed_at_once() {
    ordered().await;
}

/// What is purged after the comparison is not here when the shadow is detached.
async fn purged() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    let worker = Worker::of(&world);
    world.start(MigrationOptions::default()).await.unwrap();
    world.idle().await;
    world.order(MigrationOrder::Verify).await.unwrap();
    world.idle().await;
    world.purge("k", false).await.unwrap();
    let reasons = against(world.engine.cut_over(&world.bucket().await, false).await);
    assert!(reasons.len() == 1 && reasons[0].contains("not verified"), "{reasons:?}");
    world.order(MigrationOrder::Verify).await.unwrap();
    assert_eq!(world.idle().await.row.compared.of(outcome::MISSING).objects, 1);
    world.get("k").await.unwrap();
    world.settled().await;
    world.order(MigrationOrder::Verify).await.unwrap();
    world.idle().await;
    world.engine.cut_over(&world.bucket().await, false).await.unwrap();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_voids_the_comparison() {
    purged().await;
}

async fn ordered() {
    let world = World::new(BucketMode::Migrate).await;
    for n in 0..100 {
        world.origin.object(&format!("{n:03}"), 10);
    }
    let worker = Worker::of(&world);
    let gentle = MigrationOptions { concurrency: 1, bytes_per_second: 10, ..MigrationOptions::default() };
    world.start(gentle).await.unwrap();
    world.when("some of it", |_| world.origin.total_calls() >= 5).await;
    world.order(MigrationOrder::Pause).await.unwrap();
    world.when("it stops", |status| !status.progress.running).await;
    let asked = world.origin.total_calls();
    tokio::time::sleep(Duration::from_secs(3600)).await; // Virtual time.
    assert_eq!(world.origin.total_calls(), asked);
    assert!(world.migration().await.row.paused);

    // A shadow that was changed is another one: it asks before it goes on.
    world.order(MigrationOrder::Resume).await.unwrap();
    world.when("it goes on", |_| world.origin.total_calls() > asked).await;
    world.set_rules(&[ShadowRule { ttl_secs: Some(5), ..rule_to("old") }]).await.unwrap();
    let halted = world.when("it halts", |status| status.row.halted.is_some()).await;
    assert!(halted.row.halted.is_some_and(|why| why.contains("changed since")));
    let asked = world.origin.total_calls();
    world.order(MigrationOrder::Resume).await.unwrap();
    world.when("it goes on", |_| world.origin.total_calls() > asked).await;
    world.engine.cancel_migration(&world.bucket().await).await.unwrap();
    world.settled().await;
    let cancelled = world.engine.migration(&world.bucket().await).await;
    assert!(matches!(cancelled, Err(MigrationRefused::NotMigrating)), "{cancelled:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readers_go_before_the_migration_and_take_over_what_they_wait_for() {
    let options = EngineOptions { max_in_flight: 2, ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    for name in ["a", "b", "c", "d", "reader"] {
        world.origin.object(name, 10);
    }
    world.origin.hold("a", At::Headers);
    world.origin.hold("b", At::Headers);
    let worker = Worker::of(&world);
    world.start(MigrationOptions::default()).await.unwrap();
    world.origin.wait_for_held("a", At::Headers).await;
    world.origin.wait_for_held("b", At::Headers).await;
    // Both places are taken. Who waits for `d`, which is behind `c` in the migration's line, gets it first.
    let engine = world.engine.clone();
    let bucket = world.bucket().await;
    let reading = TaskTracker::new().spawn(async move {
        let request = crate::GetRequest::of(key("d"));
        engine.get(&bucket, &super::world::caller(), request).await.result.map(drop)
    });
    world.when("the reader waits", |_| world.engine.waiting_at_origins() == 1).await;
    world.origin.hold("d", At::Headers);
    world.origin.release("a");
    world.origin.wait_for_held("d", At::Headers).await;
    assert_eq!(world.origin.calls("c"), 0, "the reader's came first");
    world.origin.release("d");
    reading.await.unwrap().unwrap();
    world.origin.release("b");
    assert_eq!(world.idle().await.row.copied.objects, 5);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_prefix_and_the_hours_are_kept() {
    let world = World::new(BucketMode::Migrate).await;
    for name in ["a/1", "b/1", "b/2", "c/1"] {
        world.origin.object(name, 10);
    }
    let minute = u16::try_from(world.now().0 / 60_000 % 1440).unwrap();
    let window = ((minute + 30) % 1440, (minute + 60) % 1440);
    let worker = Worker::of(&world);
    let options = MigrationOptions { prefix: "b/".into(), window, ..MigrationOptions::default() };
    world.start(options).await.unwrap();
    let waits = world.when("it waits", |status| status.progress.waiting.is_some()).await;
    assert!(waits.progress.waiting.is_some_and(|why| why.contains("UTC")));
    let begun = world.now();
    let status = world.idle().await;
    assert!(world.now().0 - begun.0 >= 29 * 60_000, "it waited for its hours");
    assert_eq!((status.row.copied.objects, world.origin.total_calls()), (2, 2));
    let reasons = against(world.engine.cut_over(&world.bucket().await, false).await);
    assert!(reasons.iter().any(|reason| reason.contains("only \"b/\"")), "{reasons:?}");
    worker.stop().await;
}

/// Paused again and again, each time with some keys begun and some not.
async fn interrupted() {
    let world = World::new(BucketMode::Migrate).await;
    let keys: Vec<String> = (0..200).map(|n| format!("{n:03}")).collect();
    for key in &keys {
        world.origin.object(key, 10);
    }
    let worker = Worker::of(&world);
    let gentle = MigrationOptions { concurrency: 3, bytes_per_second: 100, ..MigrationOptions::default() };
    world.start(gentle).await.unwrap();
    for round in 1..=5 {
        world.when("some of it", |_| world.origin.total_calls() >= round * 20).await;
        world.order(MigrationOrder::Pause).await.unwrap();
        world.when("it stops", |status| !status.progress.running).await;
        world.order(MigrationOrder::Resume).await.unwrap();
    }
    assert_eq!(world.idle().await.row.copied.objects, 200);
    for key in &keys {
        assert_eq!(world.state(key).await, "filled", "{key}");
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_interrupted_is_copied_later() {
    interrupted().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::InterruptedIsCopied, interrupted),
        missed(Mutant::ComparedBySize, whole),
        missed(Mutant::PausedGoesOn, ordered),
        missed(Mutant::ComparedForEver, purged),
        missed(Mutant::CutOverUnverified, whole),
    ]);
}

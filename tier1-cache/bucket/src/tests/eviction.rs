//! Limits of what copies hold, quotas of what clients write, and what happens to copies that go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fallthrough_object::{Clock, Entropy as _, SeededEntropy, SystemClock};
use fallthrough_sim::{At, Fault, Script, TokioClock};
use fallthrough_store::{COPY_ROW_BYTES, EntryState, Store, StoreOptions};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::world::{World, body_of, caller, collect, key, rule, same};
use crate::core::eviction::Candidate;
use crate::core::mutants::{Mutant, caught};
use crate::eviction::Reason;
use crate::room::charge_of;
use crate::{
    Admission, BucketError, BucketMode, BucketSettings, CacheWord, EngineOptions, GetRequest, NewBucket,
};

/// A world whose bucket's copies may hold so much, and its worker.
async fn limited(mode: BucketMode, limit: u64) -> World {
    World::with(mode, EngineOptions::default(), |s| s.cache_limit_bytes = Some(limit)).await
}

/// Runs the worker until the guard is dropped.
fn work(world: &World) -> tokio_util::sync::DropGuard {
    let (stop, engine) = (CancellationToken::new(), world.engine.clone());
    let until = stop.clone();
    TaskTracker::new().spawn(async move { engine.run_eviction(until).await });
    stop.drop_guard()
}

impl World {
    /// What the copies of the bucket count, by its tally and by its rows, which must agree.
    async fn charged(&self) -> u64 {
        let bucket = self.bucket().await;
        let entries = self.store.scan(bucket.id, std::ops::Bound::Unbounded, "", usize::MAX).await.unwrap();
        let sum = entries.iter().filter_map(|(_, entry)| match &entry.state {
            EntryState::Filled(stored, _) => Some(charge_of(stored.info.size_bytes)),
            _ => None,
        });
        let charge = self.store.usage(bucket.id).await.unwrap().copies_charge();
        assert_eq!(charge, sum.sum::<u64>(), "the tally is the sum over the rows");
        charge
    }

    /// The copy under a key, as the policy would choose it.
    async fn chosen(&self, raw: &str) -> Candidate {
        let bucket = self.bucket().await;
        let entry = self.store.lookup(bucket.id, &key(raw)).await.unwrap().unwrap();
        Candidate { bucket: bucket.id, key: key(raw), revision: entry.revision, charge: 1, hash: 1 }
    }

    async fn evict(&self, copy: &Candidate) -> bool {
        self.engine.evict(&self.bucket().await, copy, Reason::BucketLimit).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn copies_hold_no_more_than_their_limit_and_those_in_use_stay() {
    for mode in [BucketMode::Cache, BucketMode::Compute] {
        let limit = 20 * (1000 + COPY_ROW_BYTES);
        let world = limited(mode, limit).await;
        let _working = work(&world);
        for n in 0..200 {
            world.origin.object(&format!("k{n}"), 1000);
        }
        let written = "what a client wrote";
        world.put("written", written).await.unwrap();
        let mut hits = 0;
        for n in 0..200 {
            let content = world.origin.content(&format!("k{n}")).unwrap();
            assert!(same(&world.get(&format!("k{n}")).await.unwrap().bytes, &content));
            hits += u32::from(world.get("k3").await.unwrap().word == CacheWord::Hit);
            world.settled().await;
            assert!(world.charged().await <= limit, "{mode:?}, after {n}");
        }
        assert!(hits > 190, "{mode:?}: what is used stays, but for {} times", 200 - hits);
        assert!(world.charged().await > limit * 8 / 10, "no more goes than has to");
        assert_eq!(world.get("written").await.unwrap().bytes, written);
        // What went is fetched again, and explained until then.
        let gone = (0..200).map(|n| format!("k{n}"));
        let mut explained = 0;
        for raw in gone {
            if world.state(&raw).await == "unknown" {
                let told = world.engine.explain(&world.bucket().await, &key(&raw)).await.unwrap();
                assert_eq!(told.last_fill.unwrap(), "evicted: space was needed (bucket-limit)");
                explained += 1;
            }
        }
        assert!(explained >= 180, "{explained}");
        let calls = world.origin.calls("k0");
        assert_eq!(world.get("k0").await.unwrap().word, CacheWord::Miss);
        assert_eq!(world.origin.calls("k0"), calls + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_limit_for_the_whole_store_spares_what_cannot_be_had_again() {
    let limit = 12 * (1000 + COPY_ROW_BYTES);
    let options = EngineOptions { cache_limit_bytes: Some(limit), ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    let _working = work(&world);
    for n in 0..40 {
        world.origin.object(&format!("k{n:02}"), 1000);
        world.get(&format!("k{n:02}")).await.unwrap();
        world.settled().await;
    }
    let moved = world.charged().await;
    assert_eq!(moved, 40 * (1000 + COPY_ROW_BYTES), "what migrates stays, whatever it holds");
    // Two caches share the limit.
    let others: Vec<_> =
        ["one", "two-"].map(|n| fallthrough_object::BucketName::parse(&format!("{n}bucket")).unwrap()).into();
    for name in &others {
        let settings = BucketSettings {
            owner: "main".into(),
            mode: BucketMode::Cache,
            shadow: vec![rule()],
            ..BucketSettings::default()
        };
        assert!(matches!(world.engine.create_bucket(name, settings).await.unwrap(), NewBucket::Created(_)));
    }
    for n in 0..40 {
        for name in &others {
            let bucket = world.engine.bucket(name).await.unwrap();
            let asked = GetRequest::of(key(&format!("k{n:02}")));
            let object = world.engine.get(&bucket, &caller(), asked).await.result.unwrap();
            collect(body_of(object)).await.unwrap();
            world.settled().await;
            let status = world.engine.copies_status().await.unwrap();
            assert!(status.charged_bytes <= limit, "{status:?}");
            assert_eq!(status.limit_bytes, Some(limit));
        }
    }
    let status = world.engine.copies_status().await.unwrap();
    assert!(status.objects >= 9 && status.bytes == status.objects * 1000, "{status:?}");
    assert_eq!(world.charged().await, moved);
    // Once it is a cache it is one of them.
    world.engine.set_bucket(&world.name, &|s| s.mode = BucketMode::Cache).await.unwrap();
    while world.engine.copies_status().await.unwrap().charged_bytes > limit {
        tokio::time::sleep(Duration::from_millis(1)).await; // Virtual time: only lets the worker run.
    }
    assert!(world.charged().await <= limit);
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_takes_effect_and_a_detached_bucket_keeps_what_it_has() {
    let world = limited(BucketMode::Cache, 1 << 20).await;
    let _working = work(&world);
    for n in 0..40 {
        world.origin.object(&format!("k{n:02}"), 1000);
        world.get(&format!("k{n:02}")).await.unwrap();
    }
    world.settled().await;
    let all = world.charged().await;
    assert_eq!(all, 40 * (1000 + COPY_ROW_BYTES));
    world.engine.set_bucket(&world.name, &|s| s.cache_limit_bytes = Some(all / 2)).await.unwrap();
    while world.charged().await > all / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await; // Virtual time: only lets the worker run.
    }
    let kept = world.charged().await;
    let detach = |settings: &mut BucketSettings| {
        settings.shadow.clear();
        (settings.mode, settings.cache_limit_bytes) = (BucketMode::Plain, Some(1));
    };
    world.engine.set_bucket(&world.name, &detach).await.unwrap();
    assert_eq!(world.engine.evict_now().await.unwrap(), crate::EvictionTally::default());
    assert_eq!(world.charged().await, kept);
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_limit_is_passed_on() {
    let world = limited(BucketMode::Cache, 100_000).await;
    let _working = work(&world);
    world.origin.object("small", 1000);
    world.get("small").await.unwrap();
    for fault in [None, Some(Fault::NoLength)] {
        let content = world.origin.object("large", 400_000);
        if let Some(fault) = fault.clone() {
            world.origin.fault("large", fault);
        }
        let got = world.get("large").await.unwrap();
        assert!(same(&got.bytes, &content), "{fault:?}");
        world.settled().await;
        assert_eq!(world.state("large").await, "unknown");
    }
    assert_eq!(world.state("small").await, "filled", "nothing went for what would not fit");
    assert_eq!(world.origin.calls("large"), 2);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_served_and_not_kept() {
    // Nobody makes room.
    let world = limited(BucketMode::Cache, 2 * (1000 + COPY_ROW_BYTES)).await;
    for n in 0..3 {
        let content = world.origin.object(&format!("k{n}"), 1000);
        assert!(same(&world.get(&format!("k{n}")).await.unwrap().bytes, &content));
        world.settled().await;
    }
    assert_eq!([world.state("k1").await, world.state("k2").await], ["filled", "unknown"]);
    // One that takes the place of another needs no more than it has.
    world.purge("k1", false).await.unwrap();
    world.get("k1").await.unwrap();
    world.settled().await;
    tokio::time::advance(Duration::from_secs(3601)).await;
    world.origin.replace("k1");
    assert_eq!(world.get("k1").await.unwrap().word, CacheWord::Miss);
    world.settled().await;
    assert_eq!(world.get("k1").await.unwrap().word, CacheWord::Hit);
}

#[tokio::test(start_paused = true)]
async fn room_for_a_large_copy_is_made_of_many_small_ones() {
    let limit = 100 * (1000 + COPY_ROW_BYTES);
    let world = limited(BucketMode::Cache, limit).await;
    let _working = work(&world);
    for n in 0..90 {
        world.origin.object(&format!("k{n}"), 1000);
        world.get(&format!("k{n}")).await.unwrap();
        world.settled().await;
    }
    let content = world.origin.object("large", 120_000);
    assert!(same(&world.get("large").await.unwrap().bytes, &content));
    world.settled().await;
    assert_eq!(world.get("large").await.unwrap().word, CacheWord::Hit);
    assert!(world.charged().await <= limit);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_eviction_goes_on() {
    let limit = 20 * (1000 + COPY_ROW_BYTES);
    let mut world = limited(BucketMode::Cache, limit).await;
    for round in 0..4 {
        let working = work(&world);
        for n in 0..30 {
            let raw = format!("k{round}-{n}");
            world.origin.object(&raw, 1000);
            world.get(&raw).await.unwrap();
            world.settled().await;
            assert!(world.charged().await <= limit);
            assert_eq!(world.state(&raw).await, "filled");
        }
        drop(working);
        world.restart();
    }
}

/// What becomes of the key between the choice and the eviction.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    Put,
    Tagged,
    Refilled,
    Deleted,
    Refilling,
}

async fn raced(meanwhile: Meanwhile) {
    let world = limited(BucketMode::Cache, 1 << 20).await;
    world.origin.object("k", 1000);
    world.get("k").await.unwrap();
    world.settled().await;
    let copy = world.chosen("k").await;
    let (evicted, after) = match meanwhile {
        Meanwhile::Nothing => (true, "unknown"),
        Meanwhile::Put => {
            world.put("k", "mine").await.unwrap();
            (false, "written")
        }
        Meanwhile::Tagged => {
            let tag = |info: &mut crate::ObjectInfo| {
                info.website_redirect = Some("/elsewhere".into());
                Ok(())
            };
            let bucket = world.bucket().await;
            world.engine.annotate(&bucket, &caller(), &key("k"), Admission::ALL, &tag).await.unwrap();
            (false, "written")
        }
        Meanwhile::Refilled => {
            world.purge("k", false).await.unwrap();
            world.get("k").await.unwrap();
            world.settled().await;
            (false, "filled")
        }
        Meanwhile::Deleted => {
            world.delete("k").await;
            (false, "unknown")
        }
        Meanwhile::Refilling => {
            tokio::time::advance(Duration::from_secs(3601)).await;
            world.origin.hold("k", At::Headers);
            let calls = world.origin.calls("k");
            let (engine, bucket) = (world.engine.clone(), world.bucket().await);
            let reading = TaskTracker::new().spawn(async move {
                engine.get(&bucket, &caller(), GetRequest::of(key("k"))).await.result.map(|_| ())
            });
            world.origin.wait_for_calls("k", calls + 1).await;
            assert!(!world.evict(&copy).await, "it is being revalidated");
            world.origin.release("k");
            reading.await.unwrap().unwrap();
            world.settled().await;
            assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
            (true, "unknown")
        }
    };
    assert_eq!(world.evict(&copy).await, evicted, "{meanwhile:?}");
    assert_eq!(world.state("k").await, after, "{meanwhile:?}");
    if after == "written" && matches!(meanwhile, Meanwhile::Put) {
        assert_eq!(world.get("k").await.unwrap().bytes, "mine");
    }
    world.charged().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_copy_that_was_chosen_goes() {
    use Meanwhile::{Deleted, Nothing, Put, Refilled, Refilling, Tagged};
    for meanwhile in [Nothing, Put, Tagged, Refilled, Deleted, Refilling] {
        raced(meanwhile).await;
    }
}

/// Runs an async test on a runtime of its own, for planted bugs.
pub(super) fn alone(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

#[test]
fn planted_bugs_of_eviction_are_caught() {
    // A copy that is written to has another revision, too: either check alone spares it.
    let both = || alone(raced(Meanwhile::Tagged));
    both();
    assert!(caught(Mutant::NewerEvicted, || alone(raced(Meanwhile::Refilled))));
    assert!(caught(Mutant::WrittenEvicted, || alone(written_is_spared())));
    assert!(caught(Mutant::RoomNotKept, || alone(room_is_kept())));
    assert!(caught(Mutant::QuotaRaced, || alone(quota_is_kept())));
    assert!(caught(Mutant::QuotaJudgedOnce, || alone(quota_of_what_is_replaced())));
}

/// Whoever names a written object, it does not go.
async fn written_is_spared() {
    let world = limited(BucketMode::Cache, 1 << 20).await;
    world.put("k", "mine").await.unwrap();
    let copy = world.chosen("k").await;
    assert!(!world.evict(&copy).await);
    assert_eq!(world.get("k").await.unwrap().bytes, "mine");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_wrote_is_never_evicted() {
    written_is_spared().await;
}

async fn room_is_kept() {
    let world = limited(BucketMode::Cache, 10_000).await;
    let bucket = world.bucket().await;
    let first = world.engine.keep_room(&bucket, 6000).await.unwrap().unwrap();
    assert!(world.engine.keep_room(&bucket, 6000).await.unwrap().is_none());
    drop(first);
    assert!(world.engine.keep_room(&bucket, 6000).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn room_that_is_kept_is_nobody_elses() {
    room_is_kept().await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_copy_reads_it_to_its_end() {
    let world = limited(BucketMode::Cache, 4 << 20).await;
    let content = world.origin.object("k", 1 << 20);
    world.get("k").await.unwrap();
    world.settled().await;
    let reading = world.ask(GetRequest::of(key("k"))).await;
    assert_eq!(reading.report.word, CacheWord::Hit);
    let body = body_of(reading.result.unwrap());
    let copy = world.chosen("k").await;
    assert!(world.evict(&copy).await);
    assert_eq!(world.state("k").await, "unknown");
    let read = collect(fallthrough_object::Body::Stream(world.engine.pieces(body))).await;
    assert!(same(&read.unwrap(), &content));
}

async fn quota_is_kept() {
    let world =
        World::with(BucketMode::Cache, EngineOptions::default(), |s| s.quota_bytes = Some(1000)).await;
    let bucket = world.bucket().await;
    let first = world.engine.keep_quota(&bucket, &key("a"), 600).await.unwrap();
    let second = world.engine.keep_quota(&bucket, &key("b"), 600).await;
    assert!(matches!(second, Err(BucketError::QuotaExceeded { written_bytes: 600, more_bytes: 600, .. })));
    drop(first);
    assert!(world.engine.keep_quota(&bucket, &key("b"), 600).await.is_ok());
}

/// What is overwritten makes room only as long as it is there.
async fn quota_of_what_is_replaced() {
    let world =
        World::with(BucketMode::Cache, EngineOptions::default(), |s| s.quota_bytes = Some(1000)).await;
    let refused = |result: &Result<(), BucketError>| matches!(result, Err(BucketError::QuotaExceeded { .. }));
    world.put("a", vec![1; 800]).await.unwrap();
    let (more, body) = tokio::sync::mpsc::channel(1);
    let pieces = futures::stream::unfold(body, |mut body| async { Some((body.recv().await?, body)) });
    let request = crate::PutRequest {
        length_bytes: Some(900),
        body: fallthrough_object::Body::Stream(Box::pin(pieces)),
        ..super::world::put_of("a", "")
    };
    let bucket = world.bucket().await;
    let caller = caller();
    let overwrites = async { world.engine.put(&bucket, &caller, request).await.map(|_| ()) };
    let meanwhile = async {
        more.send(Ok(vec![2; 450].into())).await.unwrap();
        assert!(world.delete("a").await);
        world.put("b", vec![3; 800]).await.unwrap();
        more.send(Ok(vec![2; 450].into())).await.unwrap();
        drop(more);
    };
    let (overwritten, ()) = futures::join!(overwrites, meanwhile);
    assert!(refused(&overwritten), "{overwritten:?}");
    assert_eq!(world.engine.usage(&bucket).await.unwrap().written.bytes, 800);
    // Where there is room all the same, it is kept anew.
    world.put("a", vec![4; 150]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_overwritten_makes_room_only_while_it_is_there() {
    Box::pin(quota_of_what_is_replaced()).await;
}

#[tokio::test(start_paused = true)]
async fn what_clients_write_stays_within_the_quota() {
    quota_is_kept().await;
    let world =
        World::with(BucketMode::Cache, EngineOptions::default(), |s| s.quota_bytes = Some(1000)).await;
    let refused = |result: Result<(), BucketError>| matches!(result, Err(BucketError::QuotaExceeded { .. }));
    world.put("a", vec![1; 600]).await.unwrap();
    assert!(refused(world.put("b", vec![1; 401]).await));
    assert_eq!(world.state("b").await, "unknown");
    world.put("b", vec![1; 400]).await.unwrap();
    // What it replaces makes room; what does not grow is always taken.
    world.put("a", vec![2; 600]).await.unwrap();
    assert!(refused(world.put("a", vec![2; 601]).await));
    world.engine.set_bucket(&world.name, &|s| s.quota_bytes = Some(10)).await.unwrap();
    world.put("a", vec![3; 500]).await.unwrap();
    assert!(refused(world.put("c", "x").await));
    world.put("empty", "").await.unwrap();
    world.engine.set_bucket(&world.name, &|s| s.quota_bytes = Some(1000)).await.unwrap();
    // Copies count when a client makes them its own, and not before.
    world.origin.object("cold", 5000);
    world.get("cold").await.unwrap();
    world.settled().await;
    let tag = |info: &mut crate::ObjectInfo| {
        info.website_redirect = Some("/elsewhere".into());
        Ok(())
    };
    let bucket = world.bucket().await;
    let tagged = world.engine.annotate(&bucket, &caller(), &key("cold"), Admission::ALL, &tag).await;
    assert!(refused(tagged.map(|_| ())));
    assert_eq!(world.state("cold").await, "filled");
    assert!(refused(world.put_parts("parts", &[5 << 20, 10]).await.map(|_| ())));
    // What is deleted makes room.
    world.delete("b").await;
    world.put("c", vec![1; 500]).await.unwrap();
    let written = world.store.usage(bucket.id).await.unwrap().written;
    assert_eq!((written.objects, written.bytes), (3, 1000));
}

#[tokio::test(start_paused = true)]
async fn many_readers_of_an_expired_copy_make_one_request() {
    for control in ["max-age=10", "max-age=10, stale-while-revalidate=60"] {
        for changed in [false, true] {
            let world = World::new(BucketMode::Cache).await;
            world.origin.object("k", 300_000);
            world.origin.header("k", "cache-control", control);
            world.get("k").await.unwrap();
            world.settled().await;
            if changed {
                world.origin.replace("k");
                world.origin.header("k", "cache-control", control);
            }
            tokio::time::advance(Duration::from_secs(11)).await;
            world.origin.hold("k", At::Headers);
            let done = Arc::new(AtomicU64::new(0));
            let readers = TaskTracker::new();
            for _ in 0..200 {
                let (engine, bucket, done) = (world.engine.clone(), world.bucket().await, done.clone());
                readers.spawn(async move {
                    let read = engine.get(&bucket, &caller(), GetRequest::of(key("k"))).await;
                    let body = engine.pieces(body_of(read.result.unwrap()));
                    let read = collect(fallthrough_object::Body::Stream(body)).await;
                    assert_eq!(read.unwrap().len(), 300_000);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            world.origin.wait_for_calls("k", 2).await;
            // All of them have come by, and those that need not wait do not.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let early = done.load(Ordering::SeqCst);
            assert_eq!(early, if control.contains("while") { 200 } else { 0 }, "{control}");
            world.origin.release("k");
            readers.close();
            readers.wait().await;
            world.settled().await;
            assert_eq!(done.load(Ordering::SeqCst), 200);
            assert_eq!(world.origin.calls("k"), 2, "{control}, changed: {changed}");
        }
    }
}

/// Random operations; after each the tally is the sum over the rows, and after the worker came by it is within the limit.
async fn history(seed: u64) {
    const LIMIT: u64 = 24_000;
    let dice = SeededEntropy::new(seed);
    let pick = |below: u64| dice.next_u64() % below;
    let mut world = limited(BucketMode::Cache, LIMIT).await;
    let names: Vec<String> = (0..12).map(|n| format!("k{n}")).collect();
    for name in &names {
        world.origin.object(name, pick(6000));
    }
    let mut working = Some(work(&world));
    for step in 0..120 {
        let name = names[usize::try_from(pick(12)).unwrap()].as_str();
        match pick(12) {
            0..=5 => drop(world.get(name).await.unwrap()),
            6 => world.put(name, vec![7; usize::try_from(pick(3000)).unwrap()]).await.unwrap(),
            7 => drop(world.delete(name).await),
            8 => drop(world.purge(name, true).await.unwrap()),
            9 => tokio::time::advance(Duration::from_secs(3601)).await,
            10 => drop(world.origin.replace(name)),
            _ => {
                drop(working.take());
                world.settled().await;
                world.restart();
                working = Some(work(&world));
            }
        }
        if world.origin.content(name).is_some() && world.state(name).await == "tombstone" {
            world.purge(name, true).await.unwrap();
        }
        let held = world.charged().await;
        assert!(held <= LIMIT, "seed {seed}, step {step}: {held}");
    }
    assert_eq!(world.store.recount().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_copies_stay_within_their_limit() {
    for seed in 0..20 {
        history(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eviction_races_writes_fills_readers_and_purges() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let options = StoreOptions { reserve_bytes: 0, low_space_stop_fills_bytes: 0, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options, clock, Arc::new(SeededEntropy::new(3))).await.unwrap();
    let limit = 8 * (60_000 + COPY_ROW_BYTES);
    let limits = |s: &mut BucketSettings| s.cache_limit_bytes = Some(limit);
    let clock: Arc<TokioClock> = World::clock();
    let world = World::over(store, clock, BucketMode::Cache, EngineOptions::default(), limits).await;
    let names: Vec<String> = (0..30).map(|n| format!("k{n:02}")).collect();
    for name in &names {
        world.origin.object(name, 60_000);
    }
    let working = work(&world);
    let tasks = TaskTracker::new();
    let bucket = world.bucket().await;
    let mut readers = Vec::new();
    for reader in 0..4u64 {
        let (engine, bucket, names, origin) =
            (world.engine.clone(), bucket.clone(), names.clone(), world.origin.clone());
        readers.push(tasks.spawn(async move {
            let dice = SeededEntropy::new(reader);
            for _ in 0..250 {
                let name = &names[usize::try_from(dice.next_u64() % 30).unwrap()];
                read_one(&engine, &bucket, name, &origin).await;
            }
        }));
    }
    let writer = {
        let (engine, bucket) = (world.engine.clone(), bucket.clone());
        tasks.spawn(async move {
            for n in 0..60 {
                let name = key(&format!("k{:02}", n % 10));
                if n % 3 == 0 {
                    engine.delete(&bucket, &caller(), &name).await.unwrap();
                    engine.purge(&bucket, &name, true).await.unwrap();
                } else if n % 3 == 1 {
                    engine
                        .put(&bucket, &caller(), super::world::put_of(name.as_str(), "mine"))
                        .await
                        .unwrap();
                } else {
                    engine.purge(&bucket, &name, true).await.unwrap();
                }
            }
            for n in 0..10 {
                let name = format!("k{n:02}");
                engine.put(&bucket, &caller(), super::world::put_of(&name, "mine")).await.unwrap();
            }
        })
    };
    for task in readers.into_iter().chain([writer]) {
        task.await.unwrap();
    }
    while world.engine.fills_in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(world.charged().await <= limit);
    for name in &names[..10] {
        assert_eq!(world.get(name).await.unwrap().bytes, "mine");
    }
    assert_eq!(world.store.recount().await.unwrap(), 0);
    drop(working);
    world.engine.shutdown(Duration::from_secs(5)).await;
    world.store.close().await;
}

async fn read_one(engine: &crate::Engine, bucket: &Arc<crate::Bucket>, name: &str, origin: &Script) {
    let read = engine.get(bucket, &caller(), GetRequest::of(key(name))).await;
    let object = match read.result {
        Ok(object) => object,
        // Deleted a moment ago.
        Err(BucketError::NoSuchKey) => return,
        Err(error) => panic!("{name}: {error}"),
    };
    let bytes = match object.body {
        crate::ObjectBody::Whole(fallthrough_object::Body::File(range)) => {
            let mut bytes = vec![0; usize::try_from(range.len).unwrap()];
            range.file.read_exact_at(&mut bytes, range.offset).unwrap();
            bytes.into()
        }
        crate::ObjectBody::Whole(body) => collect(body).await.unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(bytes == "mine" || same(&bytes, &origin.content(name).unwrap()), "{name}");
}

//! Rot: what was filled heals, what was written answers 500 and is kept aside, and nobody gets wrong bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{BodyError, Entropy as _, RangeSpec, SeededEntropy, Timestamp};
use fallthrough_sim::{Content, TokioClock};
use fallthrough_store::{Store, StoreOptions};
use tokio_util::sync::CancellationToken;

use super::world::{World, body_of, collect, key, same};
use crate::{BucketError, BucketMode, EngineOptions, GetRequest, ScrubOptions, ScrubOrder, ScrubStatus};

/// Files from 65 bytes on.
fn options() -> StoreOptions {
    StoreOptions { small_body_max: 64, staging_memory_max: 4096, reserve_bytes: 0, ..StoreOptions::default() }
}

async fn world(dir: &Path, mode: BucketMode) -> World {
    let clock = std::sync::Arc::new(TokioClock::new(Timestamp::from_unix_secs(1_800_000_000)));
    let entropy = std::sync::Arc::new(SeededEntropy::new(3));
    let store = Store::open(dir, options(), clock.clone(), entropy).await.unwrap();
    World::over(store, clock, mode, EngineOptions::default(), |_| ()).await
}

/// The scrubber's task; ends with a test.
struct Running(CancellationToken, tokio::task::JoinHandle<()>);

impl Running {
    fn start(world: &World, bytes_per_second: u64) -> Self {
        let (engine, stop) = (world.engine.clone(), CancellationToken::new());
        let options = ScrubOptions { bytes_per_second, every: Duration::from_secs(3600) };
        let (tracker, token) = (tokio_util::task::TaskTracker::new(), stop.clone());
        Self(stop, tracker.spawn(async move { engine.run_scrubber(options, token).await }))
    }

    async fn end(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

async fn until(world: &World, holds: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
    loop {
        let status = world.engine.scrub_status();
        if holds(&status) {
            return status;
        }
        // Virtual time where the clock is paused, a moment elsewhere: only lets the tasks run.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A whole pass, now.
async fn pass(world: &World) -> ScrubStatus {
    let before = world.engine.scrub_status().passes;
    world.engine.scrub(ScrubOrder { restart: true, bytes_per_second: Some(0) });
    until(world, |status| status.passes > before && !status.running).await
}

/// The files of blobs, with what they hold.
fn blobs(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in std::fs::read_dir(dir.join("blobs")).unwrap() {
        all.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    all.sort();
    all
}

/// The blob whose bytes begin so.
fn blob_of(dir: &Path, begins: &[u8]) -> PathBuf {
    let found = blobs(dir).into_iter().find(|path| std::fs::read(path).unwrap().starts_with(begins));
    found.expect("some blob begins so")
}

fn flip(path: &Path, at: usize, bit: u8) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1 << bit;
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_pass_heals_what_was_filled_and_puts_aside_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path(), BucketMode::Migrate).await;
    let copy = world.origin.object("copy", 300_000);
    let mine = Content::generated("mine", 1, 200_000).bytes();
    world.put("mine", mine.clone()).await.unwrap();
    assert!(same(&world.get("copy").await.unwrap().bytes, &copy));
    world.settled().await;
    let calls = world.origin.total_calls();
    flip(&blob_of(dir.path(), &copy.bytes()[..100]), 250_000, 3);
    flip(&blob_of(dir.path(), &mine[..100]), 0, 0);
    let running = Running::start(&world, 0);
    let status = pass(&world).await;
    let tally = status.pass.unwrap().tally;
    assert_eq!((tally.objects, tally.damaged_filled, tally.healed, tally.damaged_written), (2, 1, 1, 1));
    assert_eq!((tally.quarantined, tally.damaged_rows, tally.unreadable), (2, 0, 0));
    let outcomes: Vec<_> = status.findings.iter().map(|f| (f.key.as_str(), f.outcome.as_str())).collect();
    assert_eq!(outcomes, [("copy", "healed"), ("mine", "quarantined")]);
    // Healed without a reader: the next one has a hit.
    assert!(same(&world.get("copy").await.unwrap().bytes, &copy));
    assert_eq!(world.origin.total_calls(), calls + 1);
    for range in [None, Some(RangeSpec::FromTo { first: 150_000, last: 150_010 })] {
        let answer = world.ask(GetRequest { range, ..GetRequest::of(key("mine")) }).await;
        assert!(matches!(answer.result, Err(BucketError::Damaged)), "{:?}", answer.result);
    }
    // The second pass finds the same damage, and puts nothing aside again.
    let tally = pass(&world).await.pass.unwrap().tally;
    assert_eq!((tally.damaged_filled, tally.damaged_written, tally.quarantined), (0, 1, 0));
    assert_eq!(world.engine.quarantined_count(), 1);
    world.put("mine", mine.clone()).await.unwrap();
    assert_eq!(world.get("mine").await.unwrap().bytes, mine);
    let tally = pass(&world).await.pass.unwrap().tally;
    assert_eq!((tally.objects, tally.damaged_written), (2, 0));
    let listed = world.engine.quarantined(None, 10).await.unwrap();
    assert_eq!((listed.len(), listed[0].row.key.as_str()), (1, "mine"));
    assert!(world.engine.discard_quarantined(listed[0].blob).await.unwrap());
    running.end().await;
    world.store.close().await;
}

#[tokio::test]
async fn damage_in_mid_body_breaks_the_body_off_and_is_mended_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path(), BucketMode::Cache).await;
    let copy = world.origin.object("copy", 900_000);
    assert!(same(&world.get("copy").await.unwrap().bytes, &copy));
    world.settled().await;
    flip(&blob_of(dir.path(), &copy.bytes()[..100]), 800_000, 7);
    let running = Running::start(&world, 0);
    let begun = body_of(world.ask(GetRequest::of(key("copy"))).await.result.unwrap());
    assert!(matches!(collect(begun).await, Err(BodyError::Corrupt)));
    let status = until(&world, |status| !status.findings.is_empty()).await;
    assert_eq!(status.findings[0].outcome, "healed");
    assert!(same(&world.get("copy").await.unwrap().bytes, &copy));
    running.end().await;
    world.store.close().await;
}

#[tokio::test]
async fn a_reader_heals_what_it_finds_damaged_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, n) in [(BucketMode::Cache, 0), (BucketMode::Migrate, 1)] {
        let folder = dir.path().join(n.to_string());
        let world = world(&folder, mode).await;
        let copy = world.origin.object("copy", 100_000);
        world.get("copy").await.unwrap();
        world.settled().await;
        let calls = world.origin.total_calls();
        std::fs::remove_file(blob_of(&folder, &copy.bytes()[..100])).unwrap();
        assert!(same(&world.get("copy").await.unwrap().bytes, &copy), "{mode:?}");
        world.settled().await;
        assert!(same(&world.get("copy").await.unwrap().bytes, &copy));
        assert_eq!((world.origin.total_calls(), world.engine.quarantined_count()), (calls + 1, 0));
        world.store.close().await;
    }
}

/// In `migrate` what is here wins: another object, or none, must not take the place of a damaged copy.
#[tokio::test]
async fn in_migrate_only_the_same_object_takes_the_place_of_a_damaged_copy() {
    for changed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let world = world(dir.path(), BucketMode::Migrate).await;
        let copy = world.origin.object("copy", 100_000);
        world.get("copy").await.unwrap();
        world.settled().await;
        if changed {
            drop(world.origin.replace("copy"));
        } else {
            world.origin.remove("copy");
        }
        flip(&blob_of(dir.path(), &copy.bytes()[..100]), 5, 5);
        let running = Running::start(&world, 0);
        for _ in 0..2 {
            let answer = world.ask(GetRequest::of(key("copy"))).await;
            assert!(matches!(answer.result, Err(BucketError::Damaged)), "{changed}: {:?}", answer.result);
            world.settled().await;
            let tally = pass(&world).await.pass.unwrap().tally;
            assert_eq!((tally.damaged_filled, tally.healed), (1, 0), "{changed}");
            assert_eq!(world.state("copy").await, "filled", "its entry stays");
        }
        drop(world.origin.object("copy", 100_000));
        assert!(same(&world.get("copy").await.unwrap().bytes, &copy), "{changed}: it is back");
        running.end().await;
        world.store.close().await;
    }
}

#[tokio::test]
async fn a_pass_goes_on_after_a_restart_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let bodies: Vec<(String, Bytes)> =
        (0..40).map(|n| (format!("k{n:02}"), Content::generated("k", n, 30_000).bytes())).collect();
    {
        let world = world(dir.path(), BucketMode::Plain).await;
        for (raw, body) in &bodies {
            world.put(raw, body.clone()).await.unwrap();
        }
        // Slow enough to be stopped in the middle: about 16 objects a second.
        let running = Running::start(&world, 0);
        world.engine.scrub(ScrubOrder { restart: true, bytes_per_second: Some(500_000) });
        until(&world, |status| status.pass.is_some_and(|pass| pass.tally.objects >= 5)).await;
        running.end().await;
        world.store.close().await;
    }
    let world = world(dir.path(), BucketMode::Plain).await;
    let kept = world.store.scrub_record().await.unwrap();
    let before = kept.current.unwrap().tally;
    assert!(before.objects >= 5 && before.objects < 40, "{before:?}");
    assert_eq!((kept.current.unwrap().objects_total, kept.current.unwrap().bytes_total), (40, 1_200_000));
    let running = Running::start(&world, 0);
    let status = until(&world, |status| status.passes == 1).await;
    let tally = status.last.unwrap().tally;
    // Each object once, the two starts together.
    assert_eq!((tally.objects, tally.bytes, tally.damaged_written), (40, 1_200_000, 0));
    assert_eq!(world.store.scrub_record().await.unwrap().current, None);
    running.end().await;
    world.store.close().await;
}

#[tokio::test]
async fn what_is_deleted_and_overwritten_during_a_pass_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path(), BucketMode::Plain).await;
    let names: Vec<String> = (0..60).map(|n| format!("k{n:02}")).collect();
    let body = |seed: u16| Content::generated("b", seed, 20_000 + u64::from(seed % 7)).bytes();
    for raw in &names {
        world.put(raw, body(0)).await.unwrap();
    }
    let running = Running::start(&world, 0);
    let mut damaged = 0;
    for round in 1..6u16 {
        world.engine.scrub(ScrubOrder { restart: true, bytes_per_second: Some(0) });
        for (n, raw) in names.iter().enumerate() {
            match (n as u16 + round) % 3 {
                0 => drop(world.delete(raw).await),
                1 => world.put(raw, body(round * 100 + n as u16)).await.unwrap(),
                _ => {}
            }
            tokio::task::yield_now().await;
        }
        let status = until(&world, |status| !status.running).await;
        let tally = status.pass.unwrap().tally;
        damaged += tally.damaged_written + tally.damaged_rows + tally.unreadable;
        assert_eq!(status.findings, Vec::new());
    }
    assert_eq!((damaged, world.engine.quarantined_count()), (0, 0));
    running.end().await;
    world.store.close().await;
}

#[tokio::test(start_paused = true)]
async fn background_passes_come_when_they_are_due_and_keep_their_pace() {
    let world = World::new(BucketMode::Plain).await;
    for n in 0..10 {
        world.put(&format!("k{n}"), Content::generated("k", n, 100_000).bytes()).await.unwrap();
    }
    // A megabyte at 10 kB/s.
    let begun = tokio::time::Instant::now();
    let running = Running::start(&world, 10_000);
    until(&world, |status| status.running).await;
    assert_eq!(begun.elapsed().as_secs(), 3600, "the first pass of a store");
    let status = until(&world, |status| status.pass.is_some_and(|pass| pass.tally.objects == 5)).await;
    assert!(status.left_secs.is_some_and(|left| (30..70).contains(&left)), "{status:?}");
    until(&world, |status| status.passes == 1).await;
    let took = begun.elapsed().as_secs() - 3600;
    assert!((95..115).contains(&took), "{took} s for 1 MB at 10 kB/s");
    until(&world, |status| status.passes == 2).await;
    let second = begun.elapsed().as_secs();
    assert!((7200 + 95..7200 + 115).contains(&second), "the second begins an hour after the first: {second}");
    running.end().await;
}

/// Bits flip all over the blobs of filled and written objects, and in some of them several. One pass finds every
/// damaged object; what was filled is whole again, what was written answers 500. 100 flips by default;
/// `FALLTHROUGH_FLIPS=2000` for the long form.
#[tokio::test]
async fn every_flip_is_found_and_every_filled_object_heals() {
    let flips: u64 = std::env::var("FALLTHROUGH_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path(), BucketMode::Migrate).await;
    let objects = flips.max(40);
    let random = SeededEntropy::new(11);
    let mut all = Vec::new();
    for n in 0..objects {
        let size = 65 + random.next_u64() % 40_000;
        let name = format!("o{n:05}");
        let filled = n % 2 == 0;
        let content =
            if filled { world.origin.object(&name, size) } else { Content::generated(&name, 1, size) };
        if filled {
            world.get(&name).await.unwrap();
        } else {
            world.put(&name, content.bytes()).await.unwrap();
        }
        all.push((name, filled, content.bytes()));
    }
    world.settled().await;
    let files = blobs(dir.path());
    assert_eq!(files.len() as u64, objects);
    // By their first bytes: which object has which file.
    let heads: std::collections::BTreeMap<Vec<u8>, usize> =
        all.iter().enumerate().map(|(n, (_, _, body))| (body[..32].to_vec(), n)).collect();
    let owners: Vec<usize> = files.iter().map(|path| heads[&std::fs::read(path).unwrap()[..32]]).collect();
    let sound: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for _ in 0..flips {
        let path = &files[(random.next_u64() % objects) as usize];
        let len = std::fs::metadata(path).unwrap().len();
        flip(path, (random.next_u64() % len) as usize, (random.next_u64() % 8) as u8);
    }
    let rotten = |n: &usize| std::fs::read(&files[*n]).unwrap() != sound[*n];
    let damaged: std::collections::BTreeSet<usize> =
        (0..files.len()).filter(rotten).map(|n| owners[n]).collect();
    let (filled, written): (Vec<usize>, Vec<usize>) = damaged.iter().partition(|n| all[**n].1);
    let running = Running::start(&world, 0);
    let tally = pass(&world).await.pass.unwrap().tally;
    println!(
        "{flips} flips in {} of {objects} objects: {} filled found, {} healed, {} written found and put aside",
        damaged.len(),
        tally.damaged_filled,
        tally.healed,
        tally.damaged_written
    );
    assert_eq!((tally.damaged_filled, tally.healed), (filled.len() as u64, filled.len() as u64));
    assert_eq!(tally.damaged_written, written.len() as u64);
    assert_eq!((tally.objects, tally.damaged_rows, tally.unreadable), (objects, 0, 0));
    assert_eq!(world.engine.quarantined_count(), written.len() as u64);
    for (n, (name, filled, body)) in all.iter().enumerate() {
        let answer = world.ask(GetRequest::of(key(name))).await.result;
        if damaged.contains(&n) && !filled {
            assert!(matches!(answer, Err(BucketError::Damaged)), "{name}: {answer:?}");
        } else {
            assert_eq!(collect(body_of(answer.unwrap())).await.unwrap(), body, "{name}");
        }
    }
    let tally = pass(&world).await.pass.unwrap().tally;
    assert_eq!((tally.damaged_filled, tally.damaged_written), (0, written.len() as u64));
    running.end().await;
    world.store.close().await;
}

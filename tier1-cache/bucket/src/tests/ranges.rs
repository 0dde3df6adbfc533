//! Huge objects that are copied in the background come in several ranges at once, and are what they would be in one stream.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{RangeSpec, TraceParent};
use fallthrough_sim::Fault;

use super::planted::{assert_caught, missed};
use super::world::{World, key, same};
use crate::core::admission::Priority;
use crate::core::mutants::Mutant;
use crate::fill::{Fill, FillOrder};
use crate::{BucketMode, CacheWord, Engine, EngineOptions};

const KEY: &str = "huge";
const RANGE: u64 = 64 << 10;
/// Not a whole number of ranges: the last one is short, and would be here first.
const SIZE: u64 = 2_000_003;

async fn world(max_in_flight: u32) -> World {
    let options = EngineOptions {
        ranges_above_bytes: 1 << 20,
        range_bytes: RANGE,
        max_in_flight,
        ..EngineOptions::default()
    };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    // A distance: each answer takes its time.
    world.origin.fault_for_all(Fault::Drip { chunk_bytes: 16 << 10, every: Duration::from_millis(10) });
    world
}

/// Has the object filled as a migration does.
async fn copy(world: &World, priority: Priority) -> Arc<Fill> {
    let (bucket, key) = (world.bucket().await, key(KEY));
    let cold = world.engine.cold(&bucket, &key).unwrap().unwrap();
    let order = FillOrder {
        slot: Engine::slot(&bucket, &key),
        bucket,
        origin_key: cold.origin_key,
        behind: cold.behind,
        entry: None,
        revalidate: false,
        judged: None,
        same_only: false,
        client: Arc::from("migration"),
        priority,
        hops: 0,
        request_id: Arc::from("migration"),
        trace: TraceParent::begin(&*world.engine.inner.entropy),
        extras: Default::default(),
        from_blocks: None,
    };
    world.engine.join(order).unwrap().0
}

/// Ranges that were asked for, half-open, in order of arrival; those to the end of the object are resumptions.
fn ranges(world: &World) -> Vec<(u64, u64)> {
    let calls = world.origin.call_log(KEY);
    let ranged = calls.iter().filter_map(|call| match call.range {
        Some(RangeSpec::FromTo { first, last }) => {
            assert!(call.if_match.is_some(), "pinned to the object: {call:?}");
            Some((first, last + 1))
        }
        Some(RangeSpec::From { .. } | RangeSpec::Suffix { .. }) | None => None,
    });
    ranged.collect()
}

async fn in_order() {
    let world = world(256).await;
    let content = world.origin.object(KEY, SIZE);
    copy(&world, Priority::Background).await.ended().await;
    let got = world.get(KEY).await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &content));
    assert_eq!(world.origin.in_flight_max(), 4);
    let mut asked = ranges(&world);
    asked.sort_unstable();
    assert!(asked.windows(2).all(|two| two[0].1 == two[1].0), "nothing twice, nothing left out: {asked:?}");
    assert!(asked[0].0 >= RANGE && asked[0].0 < 2 * RANGE && asked.last().unwrap().1 == SIZE, "{asked:?}");
    assert_eq!(world.origin.calls(KEY), 1 + asked.len());
    let explained = world.engine.explain(&world.bucket().await, &key(KEY)).await.unwrap();
    let verified = explained.provenance.unwrap().verified;
    assert!(verified.iter().any(|digest| digest == "etag-md5"), "{verified:?}");
}

#[tokio::test(start_paused = true)]
async fn ranges_are_put_together_in_order_and_verified_as_a_whole() {
    in_order().await;
    // It was faster than one stream would have been.
    for (priority, millis) in [(Priority::Background, 400), (Priority::Client, 1_220)] {
        let world = world(256).await;
        world.origin.object(KEY, SIZE);
        let began = tokio::time::Instant::now();
        copy(&world, priority).await.ended().await;
        let took = began.elapsed();
        let about = Duration::from_millis(millis);
        assert!(took > about * 3 / 4 && took < about * 3 / 2, "{priority:?} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_reads_it_in_order_while_it_comes() {
    let world = world(256).await;
    let content = world.origin.object(KEY, SIZE);
    copy(&world, Priority::Background).await;
    world.origin.wait_for_calls(KEY, 7).await;
    let got = world.get(KEY).await.unwrap();
    assert!(got.word == CacheWord::Joined && same(&got.bytes, &content), "{:?}", got.word);
    let range = world.range(KEY, RangeSpec::Suffix { len: 100 }).await.unwrap();
    assert_eq!(range.bytes, content.bytes().slice(usize::try_from(SIZE).unwrap() - 100..));
}

/// Ranges are asked for only where there are places.
async fn bounded() {
    for (max_in_flight, at_once) in [(1, 1), (2, 2), (3, 3), (4, 3), (6, 4)] {
        let world = world(max_in_flight).await;
        let content = world.origin.object(KEY, SIZE);
        copy(&world, Priority::Background).await.ended().await;
        let got = world.get(KEY).await.unwrap();
        assert!(got.word == CacheWord::Hit && same(&got.bytes, &content));
        assert_eq!(world.origin.in_flight_max(), at_once, "of {max_in_flight}");
        assert_eq!(world.origin.calls(KEY) == 1, at_once == 1, "in one stream where there is one place");
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_take_places_that_are_free() {
    bounded().await;
    // Who is waited for, and what is small, comes in one stream.
    for (priority, size) in [(Priority::Client, SIZE), (Priority::Background, (1 << 20) - 1)] {
        let world = world(256).await;
        world.origin.object(KEY, size);
        copy(&world, priority).await.ended().await;
        assert_eq!(world.origin.calls(KEY), 1, "{priority:?} {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_objects_come_in_ranges_at_one_time() {
    let world = world(256).await;
    world.origin.object(KEY, SIZE);
    let all = world.engine.inner.spread.clone().acquire_many_owned(4).await.unwrap();
    copy(&world, Priority::Background).await.ended().await;
    assert_eq!(world.origin.calls(KEY), 1);
    drop(all);
    world.purge(KEY, false).await.unwrap();
    copy(&world, Priority::Background).await.ended().await;
    assert!(world.origin.calls(KEY) > 10);
    assert_eq!(world.engine.inner.spread.available_permits(), 4, "given back");
}

/// Whatever goes wrong with a range, the object is whole in the end.
#[tokio::test(start_paused = true)]
async fn a_range_that_breaks_off_is_resumed() {
    for fault in [
        Fault::ResetAt(1_000),
        Fault::TruncateAt(1_000),
        Fault::StallAt(1_000),
        Fault::Status(500),
        Fault::HangUp,
        Fault::IgnoreRange,
        Fault::WrongETag("\"another\"".into()),
    ] {
        let world = world(256).await;
        let content = world.origin.object(KEY, SIZE);
        copy(&world, Priority::Background).await;
        world.origin.wait_for_calls(KEY, 5).await;
        world.origin.fault_times(KEY, 3, fault.clone());
        world.settled().await;
        // What was seen of another object by then is no reason to keep a part of it.
        let expected = if matches!(fault, Fault::WrongETag(_)) { CacheWord::Miss } else { CacheWord::Hit };
        let got = world.get(KEY).await.unwrap();
        assert!(got.word == CacheWord::Hit || got.word == expected, "{fault:?}: {:?}", got.word);
        assert!(same(&got.bytes, &content), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_ignores_ranges_is_read_in_one_stream() {
    let world = world(256).await;
    let content = world.origin.object(KEY, SIZE);
    world.origin.fault(KEY, Fault::IgnoreRange);
    copy(&world, Priority::Background).await.ended().await;
    let got = world.get(KEY).await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &content));
    assert!(ranges(&world).len() <= 4, "it is not tried again and again");
}

/// The object changes on the way: no mixture is kept, also where its ETag says nothing of its bytes and its origin looks at
/// no conditions.
async fn changed() {
    for opaque in [false, true] {
        let world = world(256).await;
        let version = |number: u32| {
            if opaque {
                world.origin.fault(KEY, Fault::WrongETag(format!("\"version-{number}\"")));
                world.origin.fault(KEY, Fault::IgnoreConditions);
            }
        };
        world.origin.object(KEY, SIZE);
        version(1);
        copy(&world, Priority::Background).await;
        let nine_calls = world.origin.wait_for_calls(KEY, 9);
        tokio::time::timeout(Duration::from_secs(60), nine_calls).await.expect("it comes in ranges");
        world.origin.heal(KEY);
        let new = world.origin.replace(KEY);
        version(2);
        world.settled().await;
        let got = world.get(KEY).await.unwrap();
        assert!(same(&got.bytes, &new), "opaque: {opaque}: a mixture of two objects, or the old one");
    }
}

#[tokio::test(start_paused = true)]
async fn ranges_of_two_objects_are_never_put_together() {
    changed().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::RangesAsTheyCome, in_order),
        missed(Mutant::RangesUnpinned, changed),
        missed(Mutant::RangesTakeAnyPlace, bounded),
    ]);
}

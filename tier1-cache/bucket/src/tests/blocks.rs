//! Blocks of cold keys: what a range has brought answers the next one, and only for the object that it is of.

use std::time::Duration;

use fallthrough_object::RangeSpec;
use fallthrough_shadow::{Extras, Method};
use fallthrough_sim::{At, Content, Fault};
use futures::future::join_all;

use super::planted::{assert_caught, missed};
use super::world::{Got, World, body_of, caller, key, same};
use crate::core::mutants::Mutant;
use crate::{
    BucketError, BucketMode, BucketSettings, CacheWord, EngineOptions, GetRequest, ObjectBody, ShadowRule,
    ShadowTarget,
};

const KEY: &str = "film";
const BLOCK: u64 = 64 << 10;
/// Not a whole number of blocks.
const SIZE: u64 = 40 * BLOCK + 1234;

fn options() -> EngineOptions {
    EngineOptions { blocks_limit_bytes: 1 << 40, block_bytes: BLOCK, ..EngineOptions::default() }
}

async fn world(mode: BucketMode) -> World {
    World::with(mode, options(), |_| ()).await
}

fn bytes(first: u64, end: u64) -> RangeSpec {
    RangeSpec::FromTo { first, last: end - 1 }
}

/// Reads bytes, and compares them.
async fn read(world: &World, content: &Content, first: u64, end: u64) -> Got {
    let got = world.range(KEY, bytes(first, end)).await.unwrap();
    assert!(got.bytes == content.slice(first, end), "bytes {first} to {end}");
    assert_eq!(got.object.size_bytes, Some(content.size_bytes()));
    got
}

/// How many blocks are kept of the key.
async fn kept(world: &World) -> u64 {
    let set = world.store.block_set(world.bucket().await.id, &key(KEY)).await.unwrap();
    set.map_or(0, |set| set.blocks)
}

/// Bytes that the origin was asked for, of an object of this size.
fn asked_bytes(world: &World, size: u64) -> u64 {
    let gets = world.origin.call_log(KEY).into_iter().filter(|call| call.method == Method::Get);
    gets.map(|call| call.range.map_or(size, |range| range.resolve(size).unwrap().len())).sum()
}

async fn twice() {
    let mut world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    assert_eq!(read(&world, &content, 100, 200).await.word, CacheWord::Pass);
    world.settled().await;
    for (first, end) in [(100, 200), (0, 10), (BLOCK - 1, BLOCK), (0, BLOCK)] {
        let got = read(&world, &content, first, end).await;
        assert_eq!((got.word, world.origin.calls(KEY)), (CacheWord::Hit, 1));
    }
    world.restart();
    assert_eq!(read(&world, &content, 5, 6).await.word, CacheWord::Hit);
    assert_eq!((world.origin.calls(KEY), kept(&world).await), (1, 1));
    // The last one is short, and the end is counted from it.
    let suffix = world.range(KEY, RangeSpec::Suffix { len: 100 }).await.unwrap();
    assert_eq!(suffix.bytes, content.slice(SIZE - 100, SIZE));
    world.settled().await;
    let from = world.range(KEY, RangeSpec::From { first: SIZE - 1000 }).await.unwrap();
    assert_eq!((from.word, from.bytes), (CacheWord::Hit, content.slice(SIZE - 1000, SIZE)));
    assert_eq!(world.origin.calls(KEY), 2);
    let beyond = world.range(KEY, RangeSpec::From { first: SIZE }).await.unwrap_err().1;
    assert!(matches!(beyond, BucketError::RangeNotSatisfiable { size_bytes: Some(SIZE) }), "{beyond:?}");
    assert_eq!((world.state(KEY).await, world.origin.calls(KEY)), ("unknown", 2));
    let told = world.engine.explain(&world.bucket().await, &key(KEY)).await.unwrap().blocks.unwrap();
    assert!(told.starts_with("2 of 41 blocks"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_same_range_twice_makes_one_origin_call() {
    twice().await;
    // Also where the first one does not know the size.
    for range in
        [RangeSpec::Suffix { len: 10 }, RangeSpec::Suffix { len: SIZE + 5 }, RangeSpec::From { first: 1 }]
    {
        let world = world(BucketMode::Cache).await;
        let content = world.origin.object(KEY, SIZE);
        let wanted = range.resolve(SIZE).unwrap();
        for (word, calls) in [(CacheWord::Pass, 1), (CacheWord::Hit, 1)] {
            let got = world.range(KEY, range).await.unwrap();
            assert_eq!((got.word, world.origin.calls_of(KEY, Method::Get)), (word, calls), "{range:?}");
            assert!(got.bytes == content.slice(wanted.start, wanted.end));
            world.settled().await;
        }
    }
}

/// The object changes between two ranges, and perhaps the server starts anew.
async fn changed() {
    for (restarts, heads, lies) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (true, false, true),
    ] {
        let mut world = world(BucketMode::Migrate).await;
        let version = |world: &World, number: u32| {
            if lies {
                world.origin.heal(KEY);
                world.origin.fault(KEY, Fault::WrongETag(format!("\"version-{number}\"")));
                world.origin.fault(KEY, Fault::IgnoreConditions);
            }
        };
        let old = world.origin.object(KEY, SIZE);
        version(&world, 1);
        let first = read(&world, &old, 0, 10).await;
        world.settled().await;
        let new = world.origin.replace(KEY);
        version(&world, 2);
        if restarts {
            world.restart();
        }
        if heads {
            // What HEAD says is so.
            let told = world.head(KEY).await.unwrap();
            assert_ne!(told.object.info.etag, first.object.info.etag);
            let got = read(&world, &new, 0, 10).await;
            assert_eq!(got.object.info.etag, told.object.info.etag);
        }
        // Another block, and then the first one again.
        let second = read(&world, &new, 3 * BLOCK, 3 * BLOCK + 10).await;
        assert_ne!(second.object.info.etag, first.object.info.etag);
        world.settled().await;
        let again = read(&world, &new, 0, 10).await;
        assert_eq!(again.object.info.etag, second.object.info.etag);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_origin_between_two_ranges_is_never_mixed() {
    changed().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_at_the_origin_within_a_range_breaks_it_off() {
    let world = world(BucketMode::Migrate).await;
    let old = world.origin.object(KEY, SIZE);
    read(&world, &old, 5 * BLOCK, 6 * BLOCK).await;
    world.settled().await;
    // Blocks 4 and 6 have to be asked for; the object changes in between.
    world.origin.hold(KEY, At::LastByte);
    let answer =
        world.ask(GetRequest { range: Some(bytes(4 * BLOCK, 7 * BLOCK)), ..GetRequest::of(key(KEY)) });
    let object = answer.await.result.unwrap();
    world.origin.wait_for_held(KEY, At::LastByte).await;
    world.origin.replace(KEY);
    world.origin.release(KEY);
    let body = super::world::collect(body_of(object)).await;
    assert!(body.is_err(), "bytes of two objects are not put together");
}

/// Others do something to the key while a block of it is on its way.
async fn superseded() {
    for what in ["write", "write and purge", "delete", "purge", "fill", "shadow"] {
        let world = world(BucketMode::Migrate).await;
        let old = world.origin.object(KEY, SIZE);
        world.origin.hold(KEY, At::LastByte);
        let request = GetRequest { range: Some(bytes(0, 10)), ..GetRequest::of(key(KEY)) };
        let reading = world.ask(request).await.result.unwrap();
        world.origin.wait_for_held(KEY, At::LastByte).await;
        match what {
            "write" => world.put(KEY, "new").await.unwrap(),
            "write and purge" => {
                world.put(KEY, "new").await.unwrap();
                assert!(world.purge(KEY, true).await.unwrap());
            }
            "delete" => assert!(world.delete(KEY).await),
            "purge" => drop(world.purge(KEY, false).await.unwrap()),
            "shadow" => drop(world.set_rules(&[super::world::rule_to("another")]).await.unwrap()),
            _ => {
                world.origin.release(KEY);
                assert!(same(&world.get(KEY).await.unwrap().bytes, &old));
            }
        }
        world.origin.release(KEY);
        world.settled().await;
        assert_eq!(kept(&world).await, 0, "{what}");
        // Who reads it reads it to its end.
        assert_eq!(super::world::collect(body_of(reading)).await.unwrap(), old.slice(0, 10), "{what}");
        let next = world.range(KEY, bytes(0, 2)).await;
        match what {
            "write" => assert_eq!(&next.unwrap().bytes[..], b"ne"),
            "delete" => assert!(matches!(next, Err((CacheWord::Tombstone, BucketError::NoSuchKey)))),
            _ => assert_eq!(next.unwrap().bytes, old.slice(0, 2), "{what}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_supersedes_a_block_on_its_way() {
    superseded().await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_bytes_of_a_huge_object_move_one_block() {
    const HUGE: u64 = 5 << 30;
    let huge = || EngineOptions { block_bytes: 4 << 20, ..options() };
    for range in [bytes(3 << 30, (3 << 30) + 100), RangeSpec::Suffix { len: 100 }, bytes(HUGE - 100, HUGE)] {
        let world = World::with(BucketMode::Migrate, huge(), |_| ()).await;
        let content = world.origin.object(KEY, HUGE);
        let wanted = range.resolve(HUGE).unwrap();
        for _ in 0..2 {
            let got = world.range(KEY, range).await.unwrap();
            assert!(got.bytes == content.slice(wanted.start, wanted.end));
            world.settled().await;
        }
        assert!(asked_bytes(&world, HUGE) < 8 << 20, "{}", asked_bytes(&world, HUGE));
        assert_eq!((world.origin.calls(KEY), kept(&world).await), (1, 1));
    }
}

/// A reader takes a little of what it asked for, and goes.
async fn hung_up() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    world.origin.fault(KEY, Fault::Drip { chunk_bytes: 16 << 10, every: Duration::from_millis(10) });
    let request =
        GetRequest { range: Some(RangeSpec::From { first: BLOCK + 5 }), ..GetRequest::of(key(KEY)) };
    let object = world.ask(request).await.result.unwrap();
    let ObjectBody::Range(_, fallthrough_object::Body::Stream(mut pieces)) = object.body else { panic!() };
    let piece = futures::StreamExt::next(&mut pieces).await.unwrap().unwrap();
    assert!(piece == content.slice(BLOCK + 5, BLOCK + 5 + piece.len() as u64));
    drop(pieces);
    world.settled().await;
    assert!(kept(&world).await <= 2, "what nobody takes is not fetched: {}", kept(&world).await);
    assert_eq!((world.origin.in_flight(), world.engine.inner.flights.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_not_fetched() {
    hung_up().await;
}

#[tokio::test(start_paused = true)]
async fn many_readers_of_one_block_make_one_origin_request() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    // Of a key of which nothing is known, and then of one whose object is.
    for number in [7, 9] {
        let before = world.origin.calls(KEY);
        let reads = (0..50).map(|n| read(&world, &content, number * BLOCK + n, number * BLOCK + 2 * n + 1));
        let words: Vec<_> = join_all(reads).await.into_iter().map(|got| got.word).collect();
        assert_eq!(world.origin.calls(KEY), before + 1);
        assert!(words.iter().filter(|word| **word == CacheWord::Pass).count() <= 1, "{words:?}");
        world.settled().await;
    }
    assert_eq!(kept(&world).await, 2);
    // Each block once, whoever wants several of them.
    let before = asked_bytes(&world, SIZE);
    join_all((0..20).map(|n| read(&world, &content, (20 + n % 5) * BLOCK, 26 * BLOCK))).await;
    world.settled().await;
    assert_eq!((asked_bytes(&world, SIZE) - before, kept(&world).await), (6 * BLOCK, 8));
}

#[tokio::test(start_paused = true)]
async fn a_long_range_is_one_request_for_what_is_missing() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    read(&world, &content, 10, 10 * BLOCK + 10).await;
    world.settled().await;
    assert_eq!((world.origin.calls(KEY), kept(&world).await), (1, 11));
    // What is kept on the way is not asked for again.
    read(&world, &content, 20 * BLOCK, 20 * BLOCK + 1).await;
    let got = read(&world, &content, 5 * BLOCK, 40 * BLOCK).await;
    assert_eq!(got.word, CacheWord::Pass);
    world.settled().await;
    assert_eq!((world.origin.calls(KEY), kept(&world).await), (4, 40));
    assert_eq!(asked_bytes(&world, SIZE), 40 * BLOCK);
    assert_eq!(read(&world, &content, 0, 40 * BLOCK).await.word, CacheWord::Hit);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_goes_on_with_the_same_object() {
    for fault in
        [Fault::ResetAt(1_000), Fault::TruncateAt(BLOCK + 7), Fault::StallAt(2 * BLOCK - 1), Fault::HangUp]
    {
        let world = world(BucketMode::Migrate).await;
        let content = world.origin.object(KEY, SIZE);
        read(&world, &content, 0, 1).await;
        world.settled().await;
        world.origin.fault_times(KEY, 1, fault.clone());
        let range = GetRequest { range: Some(bytes(0, 9 * BLOCK)), ..GetRequest::of(key(KEY)) };
        let object = world.ask(range).await.result.unwrap();
        let body = super::world::collect(body_of(object)).await.unwrap();
        assert!(body == content.slice(0, 9 * BLOCK), "{fault:?}");
        world.settled().await;
        assert_eq!(kept(&world).await, 9);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_tied_to_one_object_or_shall_not_be_kept_is_not() {
    let world = world(BucketMode::Cache).await;
    world.origin.object(KEY, 1_000);
    world.origin.fault(KEY, Fault::WeakETag);
    let got = world.range(KEY, RangeSpec::Suffix { len: 10 }).await.unwrap();
    assert_eq!((got.word, got.bytes.len()), (CacheWord::Miss, 10));
    world.settled().await;
    assert_eq!((world.state(KEY).await, kept(&world).await), ("filled", 0));
    for (name, value) in [("cache-control", "no-store"), ("vary", "cookie")] {
        let world = self::world(BucketMode::Cache).await;
        let content = world.origin.object(KEY, SIZE);
        world.origin.header(KEY, name, value);
        for calls in [1, 2] {
            assert_eq!(read(&world, &content, 70_000, 70_100).await.word, CacheWord::Pass);
            world.settled().await;
            assert_eq!((world.origin.calls(KEY), kept(&world).await), (calls, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_passes_on_keeps_no_blocks() {
    let rule = ShadowRule {
        pass_query: vec!["w".to_owned()],
        ..ShadowRule::to(ShadowTarget::Http { url: "http://origin.test/".into() })
    };
    let world = World::with(BucketMode::Cache, options(), |settings: &mut BucketSettings| {
        settings.shadow = vec![rule];
    })
    .await;
    let content = world.origin.object(KEY, SIZE);
    let varied = |extras: Extras| GetRequest { range: Some(bytes(0, 9)), extras, ..GetRequest::of(key(KEY)) };
    let with = || Extras { query: vec![("w".to_owned(), "1".to_owned())], headers: Vec::new() };
    for _ in 0..2 {
        assert_eq!(world.read(varied(with())).await.unwrap().word, CacheWord::Pass);
        world.settled().await;
        assert_eq!(kept(&world).await, 0);
    }
    // Without it the answer is the key's own; what it left is not read with it.
    assert_eq!(world.read(varied(Extras::default())).await.unwrap().bytes, content.slice(0, 9));
    world.settled().await;
    assert_eq!((kept(&world).await, world.origin.calls(KEY)), (1, 3));
    assert_eq!(world.read(varied(with())).await.unwrap().word, CacheWord::Pass);
    assert_eq!(world.origin.calls(KEY), 4);
}

/// How long what is kept is believed.
async fn dated() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    read(&world, &content, 0, 10).await;
    world.settled().await;
    tokio::time::advance(Duration::from_secs(31)).await;
    // One HEAD says for a while that it is still so, for all who ask.
    join_all((0..10).map(|_| read(&world, &content, 5, 9))).await;
    let calls = |method| world.origin.calls_of(KEY, method);
    assert_eq!((calls(Method::Get), calls(Method::Head)), (1, 1));
    tokio::time::advance(Duration::from_secs(31)).await;
    let new = world.origin.replace(KEY);
    read(&world, &new, 0, 10).await;
    // While it cannot be asked what it had is served, as HEAD does.
    world.settled().await;
    tokio::time::advance(Duration::from_secs(31)).await;
    world.origin.fault_for_all(Fault::Status(500));
    assert_eq!(read(&world, &new, 3, 8).await.word, CacheWord::Stale);
    let missing = world.range(KEY, bytes(9 * BLOCK, 9 * BLOCK + 1)).await.unwrap_err().1;
    assert!(matches!(missing, BucketError::OriginFailing { .. }), "{missing:?}");
    // Gone is gone.
    world.origin.heal_all();
    world.origin.remove(KEY);
    tokio::time::advance(Duration::from_secs(60)).await;
    let gone = world.range(KEY, bytes(0, 10)).await.unwrap_err().1;
    assert!(matches!(gone, BucketError::NoSuchKey), "{gone:?}");
    assert_eq!(kept(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn blocks_are_believed_as_long_as_what_a_head_says() {
    dated().await;
}

#[tokio::test(start_paused = true)]
async fn a_fill_takes_the_place_of_blocks() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    read(&world, &content, 0, 3 * BLOCK).await;
    world.settled().await;
    assert!(same(&world.get(KEY).await.unwrap().bytes, &content));
    world.settled().await;
    assert_eq!((world.state(KEY).await, kept(&world).await), ("filled", 0));
    world.store.sweep_left_blocks().await.unwrap();
    let usage = world.store.usage(world.bucket().await.id).await.unwrap();
    assert_eq!((usage.blocks.objects, usage.filled.objects), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_range_far_ahead_of_a_fill_does_not_wait_for_it() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    world.origin.hold(KEY, At::Byte(5 * BLOCK + 7));
    let filling = world.ask(GetRequest::of(key(KEY))).await.result.unwrap();
    world.origin.wait_for_held(KEY, At::Byte(5 * BLOCK + 7)).await;
    let before = world.origin.calls(KEY);
    let near = world.range(KEY, bytes(4 * BLOCK, 4 * BLOCK + 9)).await.unwrap();
    assert_eq!((near.word, world.origin.calls(KEY)), (CacheWord::Joined, before));
    let far = read(&world, &content, 30 * BLOCK, 30 * BLOCK + 9).await;
    assert_eq!((far.word, world.origin.calls(KEY)), (CacheWord::Pass, before + 1));
    world.origin.release(KEY);
    assert!(same(&super::world::collect(body_of(filling)).await.unwrap(), &content));
    world.settled().await;
    assert_eq!((world.state(KEY).await, kept(&world).await), ("filled", 0));
}

/// What becomes of an object all blocks of which were asked for, or half of them.
async fn promoted() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    for number in
        (0..41).rev().filter(|number| number % 2 == 0).chain((0..41).filter(|number| number % 2 == 1))
    {
        read(&world, &content, number * BLOCK + 3, number * BLOCK + 4).await;
        world.settled().await;
    }
    assert_eq!((world.state(KEY).await, kept(&world).await), ("filled", 0));
    assert_eq!(asked_bytes(&world, SIZE), SIZE, "nothing twice");
    let got = world.get(KEY).await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &content));
    let told = world.engine.explain(&world.bucket().await, &key(KEY)).await.unwrap();
    let verified = told.provenance.unwrap().verified;
    assert!(verified.iter().any(|digest| digest == "etag-md5"), "{verified:?}");
    // Half of them, and the rest fits, or does not.
    for (promote_bytes_per_minute, state) in [(0, "unknown"), (19 * BLOCK, "unknown"), (SIZE, "filled")] {
        let options = EngineOptions { promote_bytes_per_minute, ..options() };
        let world = World::with(BucketMode::Migrate, options, |_| ()).await;
        let content = world.origin.object(KEY, SIZE);
        read(&world, &content, 5 * BLOCK, 25 * BLOCK).await;
        world.settled().await;
        assert_eq!((world.state(KEY).await, kept(&world).await), ("unknown", 20));
        // One more, the middle one.
        read(&world, &content, 30 * BLOCK, 30 * BLOCK + 1).await;
        world.settled().await;
        assert_eq!(world.state(KEY).await, state, "{promote_bytes_per_minute}");
        let asked = if state == "filled" { SIZE } else { 21 * BLOCK };
        assert_eq!(asked_bytes(&world, SIZE), asked, "{promote_bytes_per_minute}");
        assert!(same(&world.get(KEY).await.unwrap().bytes, &content));
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_becomes_whole_when_its_blocks_are_here() {
    promoted().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_object_is_made_of_its_blocks_alone() {
    // So large that a fill in the background would come in ranges.
    let options = EngineOptions { ranges_above_bytes: BLOCK, range_bytes: BLOCK, ..options() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    let content = world.origin.object(KEY, SIZE);
    for first in [0, 20 * BLOCK] {
        read(&world, &content, first, SIZE.min(first + 20 * BLOCK)).await;
        world.settled().await;
    }
    read(&world, &content, SIZE - 1, SIZE).await;
    world.settled().await;
    assert_eq!((world.state(KEY).await, asked_bytes(&world, SIZE)), ("filled", SIZE));
    assert!(same(&world.get(KEY).await.unwrap().bytes, &content));
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_refused_for_ever_is_not_tried_for_ever() {
    let world = world(BucketMode::Migrate).await;
    world.origin.object(KEY, SIZE);
    world.head(KEY).await.unwrap();
    let before = world.origin.calls(KEY);
    world.origin.fault(KEY, Fault::Status(412));
    let (_, error) = world.range(KEY, bytes(3, 9)).await.unwrap_err();
    let calls = world.origin.calls(KEY) - before;
    assert!(calls <= 4, "{calls} requests for one range");
    assert!(!matches!(error, BucketError::Conflict | BucketError::NoSuchKey), "{error}");
}

#[tokio::test(start_paused = true)]
async fn blocks_that_are_not_what_the_whole_was_promised_to_be_are_dropped() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, 3 * BLOCK);
    world.origin.fault(KEY, Fault::FlipByteAt(BLOCK + 100));
    // A part of it cannot be compared with the digest of all of it.
    let got = world.range(KEY, bytes(1, 3 * BLOCK)).await.unwrap();
    assert!(got.bytes != content.slice(1, 3 * BLOCK));
    world.settled().await;
    assert_eq!((world.state(KEY).await, kept(&world).await), ("unknown", 0));
    world.origin.heal(KEY);
    read(&world, &content, 1, 3 * BLOCK).await;
    world.settled().await;
    assert!(same(&world.get(KEY).await.unwrap().bytes, &content));
    assert_eq!(world.state(KEY).await, "filled");
}

/// A cache with a limit, half full of copies, and then of blocks.
async fn evicted() {
    let limit = 40 * (BLOCK + 512);
    let options = EngineOptions { cache_limit_bytes: Some(limit), ..options() };
    let world = World::with(BucketMode::Cache, options, |_| ()).await;
    let bucket = world.bucket().await;
    for n in 0..20 {
        let name = format!("copy-{n}");
        world.origin.object(&name, BLOCK);
        world.get(&name).await.unwrap();
    }
    world.settled().await;
    let content = world.origin.object(KEY, SIZE);
    for n in 0..30 {
        read(&world, &content, n * BLOCK, n * BLOCK + 1).await;
        world.settled().await;
        world.engine.evict_now().await.unwrap();
        world.store.sweep_left_blocks().await.unwrap();
        let usage = world.store.usage(bucket.id).await.unwrap();
        assert!(usage.copies_charge() <= limit);
        assert_eq!(usage.filled.objects, 20, "copies stay as long as there are blocks");
    }
    // What is new takes the place of blocks, not of copies.
    for n in 20..30 {
        let name = format!("copy-{n}");
        world.origin.object(&name, BLOCK);
        world.get(&name).await.unwrap();
        world.settled().await;
        world.engine.evict_now().await.unwrap();
    }
    let usage = world.store.usage(bucket.id).await.unwrap();
    assert_eq!(usage.filled.objects, 30);
}

#[tokio::test(start_paused = true)]
async fn blocks_are_evicted_before_copies() {
    evicted().await;
}

#[tokio::test(start_paused = true)]
async fn blocks_have_a_bound_of_their_own() {
    let limit = 10 * (BLOCK + 512);
    let options = EngineOptions { blocks_limit_bytes: limit, ..options() };
    // In `migrate`, where no copy ever goes.
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    let bucket = world.bucket().await;
    for film in 0..6 {
        let name = format!("film-{film}");
        let content = world.origin.object(&name, 8 * BLOCK);
        let got = world.range(&name, bytes(1, 6 * BLOCK)).await.unwrap();
        assert!(got.bytes == content.slice(1, 6 * BLOCK));
        world.settled().await;
        // The first one is read all the time.
        if film > 0 {
            let first = world.range("film-0", bytes(0, 9)).await.unwrap();
            assert_eq!(first.bytes.len(), 9);
        }
        assert!(world.store.usage(bucket.id).await.unwrap().blocks_charge() <= limit);
        world.engine.evict_now().await.unwrap();
        let set = world.store.block_set(bucket.id, &key("film-0")).await.unwrap();
        assert!(set.is_some(), "what is used stays");
    }
    // A bound of a few blocks does not fill up for ever.
    let options = EngineOptions { blocks_limit_bytes: 16 * BLOCK, ..self::options() };
    let few = World::with(BucketMode::Migrate, options, |_| ()).await;
    for film in 0..4 {
        let name = format!("film-{film}");
        few.origin.object(&name, 40 * BLOCK);
        few.range(&name, bytes(0, 6 * BLOCK)).await.unwrap();
        few.settled().await;
        few.engine.evict_now().await.unwrap();
        let set = few.store.block_set(few.bucket().await.id, &key(&name)).await.unwrap();
        assert!(set.is_some_and(|set| set.blocks > 0), "{name}");
    }
    // Without room for one of them nothing is kept, and everything is answered.
    let options = EngineOptions { blocks_limit_bytes: BLOCK, ..self::options() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    let content = world.origin.object(KEY, SIZE);
    for _ in 0..2 {
        assert_eq!(read(&world, &content, 7, 2 * BLOCK).await.word, CacheWord::Pass);
    }
    assert_eq!(kept(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_fill_reads_what_is_kept() {
    let world = world(BucketMode::Migrate).await;
    let content = world.origin.object(KEY, SIZE);
    read(&world, &content, 0, 10).await;
    world.settled().await;
    let reader = crate::Caller { may_fill: false, ..caller() };
    let ask = async |range| {
        let request = GetRequest { range: Some(range), ..GetRequest::of(key(KEY)) };
        world.engine.get(&world.bucket().await, &reader, request).await
    };
    let kept = ask(bytes(0, 10)).await;
    assert_eq!(kept.report.word, CacheWord::Hit);
    assert_eq!(super::world::collect(body_of(kept.result.unwrap())).await.unwrap(), content.slice(0, 10));
    let missing = ask(bytes(BLOCK - 1, BLOCK + 1)).await.result.unwrap_err();
    assert!(matches!(missing, BucketError::FillDenied), "{missing:?}");
    assert_eq!(world.origin.calls_of(KEY, Method::Get), 1);
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::BlocksUnpinned, changed),
        missed(Mutant::BlocksOutliveChange, changed),
        missed(Mutant::KnownIgnored, changed),
        missed(Mutant::BlocksNotSuperseded, superseded),
        missed(Mutant::BlocksNeverStale, dated),
        missed(Mutant::PromotedAtAnyCost, promoted),
        missed(Mutant::BlocksUnwanted, hung_up),
        missed(Mutant::BlocksStay, evicted),
    ]);
}

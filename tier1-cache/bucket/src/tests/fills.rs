//! One fill per key, whoever asks and however long it takes.

use std::time::Duration;

use fallthrough_object::{ByteRange, RangeSpec};
use fallthrough_shadow::Method;
use fallthrough_sim::{At, Fault};
use futures::StreamExt as _;
use futures::future::join_all;

use super::planted::{assert_caught, missed};
use super::world::{World, body_of, caller, collect, key, same};
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, CacheWord, EngineOptions, GetRequest, ObjectBody};

#[tokio::test(start_paused = true)]
async fn a_miss_is_filled_kept_and_hit() {
    for size in [0, 1, 1000, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let world = World::new(BucketMode::Migrate).await;
        let content = world.origin.object("k", size);
        let got = world.get("k").await.unwrap();
        assert_eq!((got.word, got.object.size_bytes), (CacheWord::Miss, Some(size)));
        assert!(same(&got.bytes, &content));
        world.settled().await;
        let again = world.get("k").await.unwrap();
        assert_eq!(again.word, CacheWord::Hit);
        assert!(same(&again.bytes, &content));
        assert_eq!(again.object.info.etag, got.object.info.etag);
        assert_eq!(again.object.info.last_modified, got.object.info.last_modified);
        assert_eq!(world.origin.total_calls(), 1, "size {size}");
    }
}

/// 1,000 readers of one cold key at origin times of 50 ms, 8 s and 40 s: one call, all bodies right; past the
/// client's patience 503 with Retry-After, and a hit on retry.
#[tokio::test(start_paused = true)]
async fn a_thousand_readers_make_one_call_at_any_origin_time() {
    for (millis, in_time) in [(50, true), (8_000, true), (40_000, false)] {
        for size in [10_000, 600_000] {
            let world = World::new(BucketMode::Compute).await;
            let content = world.origin.object("k", size);
            world.origin.fault("k", Fault::DelayHeaders(Duration::from_millis(millis)));
            let answers = join_all((0..1000).map(|_| world.get("k"))).await;
            let mut words = [0, 0];
            for answer in answers {
                match answer {
                    Ok(got) => {
                        assert!(in_time && same(&got.bytes, &content));
                        words[usize::from(got.word == CacheWord::Joined)] += 1;
                    }
                    Err((_, BucketError::SlowDown { retry_after, .. })) => {
                        assert!(!in_time && retry_after >= Duration::from_secs(1));
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            if in_time {
                assert_eq!(words, [1, 999]);
            }
            world.settled().await;
            let retry = world.get("k").await.unwrap();
            assert_eq!(retry.word, CacheWord::Hit);
            assert!(same(&retry.bytes, &content));
            assert_eq!(world.origin.total_calls(), 1, "{millis} ms, {size} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_reader_hanging_up_changes_nothing() {
    let world = World::new(BucketMode::Migrate).await;
    let content = world.origin.object("k", 2_000_000);
    world.origin.hold("k", At::Headers);
    {
        let first = world.get("k");
        tokio::pin!(first);
        tokio::select! {
            biased;
            _ = &mut first => panic!("nothing was released"),
            () = world.origin.wait_for_held("k", At::Headers) => {}
        }
        // Dropped here: the first client is gone.
    }
    let (second, ()) = tokio::join!(world.get("k"), async { world.origin.release("k") });
    let second = second.unwrap();
    assert_eq!(second.word, CacheWord::Joined);
    assert!(same(&second.bytes, &content));
    assert_eq!(world.origin.calls("k"), 1);
}

#[tokio::test(start_paused = true)]
async fn all_readers_hanging_up_leaves_a_hit() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 500_000);
    world.origin.hold("k", At::Byte(300_000));
    let answer = world.ask(GetRequest::of(key("k"))).await;
    let mut body = match body_of(answer.result.unwrap()) {
        fallthrough_object::Body::Stream(stream) => stream,
        other => panic!("{other:?}"),
    };
    assert!(body.next().await.unwrap().is_ok());
    drop(body);
    world.origin.release("k");
    world.settled().await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
    assert_eq!(world.origin.calls("k"), 1);
}

#[tokio::test(start_paused = true)]
async fn late_readers_of_a_large_body_get_all_of_it() {
    let world = World::new(BucketMode::Migrate).await;
    let content = world.origin.object("k", 5_000_000);
    world.origin.hold("k", At::Byte(4_000_000));
    let early = world.ask(GetRequest::of(key("k"))).await;
    world.origin.wait_for_held("k", At::Byte(4_000_000)).await;
    let late = world.ask(GetRequest::of(key("k"))).await;
    assert_eq!((early.report.word, late.report.word), (CacheWord::Miss, CacheWord::Joined));
    world.origin.release("k");
    for answer in [early, late] {
        assert!(same(&collect(body_of(answer.result.unwrap())).await.unwrap(), &content));
    }
    assert_eq!(world.origin.calls("k"), 1);
}

/// The last byte is withheld until everything is verified, whatever has arrived.
#[tokio::test(start_paused = true)]
async fn the_last_byte_waits_for_verification() {
    let world = World::new(BucketMode::Migrate).await;
    let content = world.origin.object("k", 1_000_000);
    world.origin.hold("k", At::LastByte);
    let answer = world.ask(GetRequest::of(key("k"))).await;
    let fallthrough_object::Body::Stream(mut body) = body_of(answer.result.unwrap()) else {
        panic!("a stream")
    };
    world.origin.wait_for_held("k", At::LastByte).await;
    let mut got = 0;
    while got < 999_999 {
        got += body.next().await.unwrap().unwrap().len();
    }
    assert_eq!(got, 999_999);
    let next = tokio::time::timeout(Duration::from_millis(5), body.next()).await;
    assert!(next.is_err(), "the last byte came before its time");
    world.origin.release("k");
    assert_eq!(body.next().await.unwrap().unwrap(), content.slice(999_999, 1_000_000));
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn ranges_of_a_running_fill_are_read_from_it() {
    let world = World::new(BucketMode::Compute).await;
    let content = world.origin.object("k", 2_000_000);
    for (range, start, end) in [
        (RangeSpec::FromTo { first: 5, last: 9 }, 5, 10),
        (RangeSpec::From { first: 1_999_000 }, 1_999_000, 2_000_000),
        (RangeSpec::Suffix { len: 3 }, 1_999_997, 2_000_000),
    ] {
        let got = world.range("k", range).await.unwrap();
        assert_eq!(got.bytes, content.slice(start, end));
        assert!(matches!(got.object.body, ObjectBody::Head(Some(r)) if r == ByteRange { start, end }));
    }
    let beyond = world.range("k", RangeSpec::From { first: 2_000_000 }).await.unwrap_err().1;
    assert!(matches!(beyond, BucketError::RangeNotSatisfiable { size_bytes: Some(2_000_000) }));
    assert_eq!(world.origin.total_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cold_range_is_passed_and_not_kept() {
    cold_range().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([missed(Mutant::RangeFillsWhole, cold_range)]);
}

async fn cold_range() {
    let world = World::new(BucketMode::Migrate).await;
    let content = world.origin.object("k", 50_000_000);
    let got = world.range("k", RangeSpec::FromTo { first: 40_000_000, last: 40_000_099 }).await.unwrap();
    assert_eq!(got.word, CacheWord::Pass);
    assert_eq!(got.bytes, content.slice(40_000_000, 40_000_100));
    assert_eq!(got.object.size_bytes, Some(50_000_000));
    assert_eq!(world.state("k").await, "unknown");
    // Without a strong ETag nothing ties a range to one object: the whole is filled.
    world.origin.object("weak", 1_000);
    world.origin.fault("weak", Fault::WeakETag);
    let got = world.range("weak", RangeSpec::Suffix { len: 10 }).await.unwrap();
    assert_eq!((got.word, got.bytes.len()), (CacheWord::Miss, 10));
    world.settled().await;
    assert_eq!(world.state("weak").await, "filled");
}

#[tokio::test(start_paused = true)]
async fn unknown_lengths_are_learnt_or_chunked() {
    let world = World::new(BucketMode::Migrate).await;
    let small = world.origin.object("small", 300_000);
    let large = world.origin.object("large", 9_000_000);
    world.origin.fault_for_all(Fault::NoLength);
    let got = world.get("small").await.unwrap();
    assert_eq!((got.object.size_bytes, same(&got.bytes, &small)), (Some(300_000), true));
    world.origin.hold("large", At::Byte(8_900_000));
    let answer = world.ask(GetRequest::of(key("large"))).await.result.unwrap();
    assert_eq!(answer.size_bytes, None);
    world.origin.release("large");
    assert!(same(&collect(body_of(answer)).await.unwrap(), &large));
    world.settled().await;
    let again = world.get("large").await.unwrap();
    assert_eq!((again.word, again.object.size_bytes), (CacheWord::Hit, Some(9_000_000)));
    // A range needs the length, so it waits for it.
    world.purge("large", false).await.unwrap();
    let got = world.range("large", RangeSpec::From { first: 8_999_990 }).await.unwrap();
    assert_eq!(got.bytes, large.slice(8_999_990, 9_000_000));
}

#[tokio::test(start_paused = true)]
async fn head_moves_no_body_where_the_origin_stores() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 70_000_000);
    let head = world.head("k").await.unwrap();
    assert_eq!((head.object.size_bytes, world.state("k").await), (Some(70_000_000), "known"));
    assert_eq!(world.origin.calls_of("k", Method::Get), 0);
    // Believed for a while.
    world.head("k").await.unwrap();
    assert_eq!(world.origin.calls_of("k", Method::Head), 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    world.head("k").await.unwrap();
    assert_eq!(world.origin.calls_of("k", Method::Head), 2);
    assert!(matches!(world.head("absent").await, Err((_, BucketError::NoSuchKey))));
}

#[tokio::test(start_paused = true)]
async fn head_of_a_computed_key_fills_or_is_refused() {
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("k", 1_000);
    let nobody = crate::Caller { may_fill: false, ..caller() };
    let request = GetRequest { head: true, ..GetRequest::of(key("k")) };
    let refused = world.engine.get(&world.bucket().await, &nobody, request).await;
    assert!(matches!(refused.result, Err(BucketError::FillDenied)));
    assert_eq!(world.origin.total_calls(), 0);
    assert_eq!(world.head("k").await.unwrap().object.size_bytes, Some(1_000));
    world.settled().await;
    assert_eq!(world.state("k").await, "filled");
}

/// Neither HEADs nor lists during a fill supersede it.
#[tokio::test(start_paused = true)]
async fn observations_during_a_fill_do_not_kill_it() {
    let world = World::new(BucketMode::Migrate).await;
    let content = world.origin.object("k", 400_000);
    world.origin.hold("k", At::Byte(300_000));
    let answer = world.ask(GetRequest::of(key("k"))).await;
    world.origin.wait_for_held("k", At::Byte(300_000)).await;
    for _ in 0..5 {
        assert_eq!(world.head("k").await.unwrap().object.size_bytes, Some(400_000));
        assert_eq!(world.names(crate::ListRequest { max_keys: 10, ..Default::default() }).await, ["k"]);
    }
    world.origin.release("k");
    assert!(same(&collect(body_of(answer.result.unwrap())).await.unwrap(), &content));
    world.settled().await;
    assert_eq!(world.state("k").await, "filled");
    assert_eq!(world.origin.calls_of("k", Method::Get), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_share_and_the_rest_waits_or_is_shed() {
    let options = EngineOptions { max_in_flight: 2, max_queue: 4, per_client: 2, ..EngineOptions::default() };
    let world = World::with(BucketMode::Compute, options, |_| ()).await;
    for n in 0..10 {
        world.origin.object(&format!("k{n}"), 10);
        world.origin.fault(&format!("k{n}"), Fault::DelayHeaders(Duration::from_secs(2)));
    }
    let names: Vec<_> = (0..10).map(|n| format!("k{n}")).collect();
    let answers = join_all(names.iter().map(|name| world.get(name))).await;
    let served = answers.iter().filter(|a| a.is_ok()).count();
    let shed = answers
        .iter()
        .filter(|a| matches!(a, Err((_, BucketError::SlowDown { retry_after, .. })) if *retry_after >= Duration::from_secs(1)))
        .count();
    // Two in flight, two that may wait (the client's share of the queue), the others are sent away.
    assert_eq!((served, shed), (4, 6));
    assert!(world.origin.in_flight_max() <= 2);
}

#[tokio::test(start_paused = true)]
async fn readers_without_the_fill_right_may_join() {
    let world = World::new(BucketMode::Compute).await;
    let content = world.origin.object("k", 1_000);
    world.origin.hold("k", At::Headers);
    let nobody = crate::Caller { may_fill: false, ..caller() };
    let bucket = world.bucket().await;
    let (first, second) = tokio::join!(world.get("k"), async {
        world.origin.wait_for_held("k", At::Headers).await;
        let joined = async {
            let answer = world.engine.get(&bucket, &nobody, GetRequest::of(key("k"))).await;
            (answer.report.word, collect(body_of(answer.result.unwrap())).await.unwrap())
        };
        let (joined, ()) = tokio::join!(joined, async { world.origin.release("k") });
        joined
    });
    assert!(same(&first.unwrap().bytes, &content));
    assert!(second.0 == CacheWord::Joined && same(&second.1, &content));
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_fills_and_starts_no_new_ones() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 400_000);
    world.origin.object("other", 10);
    world.origin.fault("k", Fault::DelayHeaders(Duration::from_secs(3)));
    let engine = world.engine.clone();
    let (got, ()) = tokio::join!(world.get("k"), async {
        world.origin.wait_for_calls("k", 1).await;
        engine.shutdown(Duration::from_secs(10)).await;
    });
    assert!(got.is_ok());
    assert_eq!(world.state("k").await, "filled");
    assert!(matches!(world.get("other").await, Err((_, BucketError::SlowDown { .. }))));
    // Without a grace time readers are told, not left waiting.
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    world.origin.fault("k", Fault::NoAnswer);
    let engine = world.engine.clone();
    let (got, ()) = tokio::join!(world.get("k"), async {
        world.origin.wait_for_calls("k", 1).await;
        engine.shutdown(Duration::ZERO).await;
    });
    assert!(matches!(got, Err((_, BucketError::OriginFailing { .. }))));
}

//! Failure is not absence: never a 404, never a clean end of a wrong body, nothing stored.

use std::time::Duration;

use fallthrough_object::RangeSpec;
use fallthrough_shadow::Method;
use fallthrough_sim::{At, Fault};

use super::world::{World, body_of, collect, key, same};
use crate::core::mutants::{Mutant, caught};
use crate::{BucketError, BucketMode, CacheWord, GetRequest};

/// What a client sees of one GET.
#[derive(Debug, PartialEq)]
enum Seen {
    Right,
    Wrong,
    BrokenOff,
    Refused(u16),
}

async fn see(world: &World, k: &str) -> Seen {
    let content = world.origin.content(k);
    let answer = world.ask(GetRequest::of(key(k))).await;
    match answer.result {
        Ok(object) => match collect(body_of(object)).await {
            Ok(bytes) if content.is_some_and(|content| same(&bytes, &content)) => Seen::Right,
            Ok(_) => Seen::Wrong,
            Err(_) => Seen::BrokenOff,
        },
        Err(BucketError::NoSuchKey) => Seen::Refused(404),
        Err(BucketError::ShadowMisconfigured { .. }) => Seen::Refused(424),
        Err(BucketError::SlowDown { .. } | BucketError::OriginFailing { .. }) => Seen::Refused(503),
        Err(BucketError::BadOriginAnswer { .. }) => Seen::Refused(502),
        Err(other) => panic!("{other:?}"),
    }
}

/// Faults that go on for ever: the client is refused or broken off, nothing is stored, and after the origin
/// has recovered everything is right.
#[tokio::test(start_paused = true)]
async fn no_fault_becomes_absence_or_a_wrong_body() {
    let lasting = |size: u64| {
        vec![
            vec![Fault::Status(500)],
            vec![Fault::Status(502)],
            vec![Fault::Busy { retry_after: Some("7".into()) }],
            vec![Fault::HangUp],
            vec![Fault::NoAnswer],
            vec![Fault::ResetAt(size / 2)],
            vec![Fault::TruncateAt(size / 2)],
            vec![Fault::TruncateAt(size - 1)],
            vec![Fault::EndAt(size - 1), Fault::NoETag],
            vec![Fault::StallAt(size / 2)],
            vec![Fault::StallAt(0)],
            vec![Fault::FlipByteAt(size / 3), Fault::ContentMd5],
            vec![Fault::FlipByteAt(size - 1), Fault::Crc32],
            // The ETag is an MD5: an S3 origin's own promise.
            vec![Fault::FlipByteAt(0)],
            vec![Fault::WrongLength(size + 5)],
            vec![Fault::WrongLength(size - 5), Fault::ContentMd5],
            vec![Fault::NoLength, Fault::FlipByteAt(3), Fault::ContentMd5],
            vec![Fault::EndChunkedAt(size / 2), Fault::ContentMd5],
            vec![Fault::Status(403)],
            vec![Fault::Status(400)],
            vec![Fault::NoContent],
            vec![Fault::UnaskedPartial],
        ]
    };
    for size in [5_000, 900_000] {
        for faults in lasting(size) {
            let world = World::new(BucketMode::Migrate).await;
            world.origin.object("k", size);
            for fault in &faults {
                world.origin.fault("k", fault.clone());
            }
            let seen = see(&world, "k").await;
            assert!(
                matches!(seen, Seen::BrokenOff | Seen::Refused(424 | 502 | 503)),
                "{seen:?} with {faults:?} at {size} bytes"
            );
            if size <= 256 * 1024 {
                assert!(!matches!(seen, Seen::BrokenOff), "a small body is verified first: {faults:?}");
            }
            world.settled().await;
            assert_eq!(world.state("k").await, "unknown", "{faults:?}");
            let calls = world.origin.calls("k");
            assert!(calls <= 4, "{calls} calls with {faults:?}");
            world.origin.heal("k");
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(see(&world, "k").await, Seen::Right, "after {faults:?}");
        }
    }
}

/// Faults that pass: the readers notice nothing.
#[tokio::test(start_paused = true)]
async fn passing_faults_are_mended_under_way() {
    for (size, fault, times) in [
        (900_000, Fault::Status(500), 3),
        (900_000, Fault::HangUp, 2),
        (900_000, Fault::ResetAt(700_000), 1),
        (900_000, Fault::TruncateAt(300_000), 1),
        (900_000, Fault::StallAt(899_999), 1),
        (5_000, Fault::ResetAt(1), 1),
        (5_000, Fault::FlipByteAt(9), 1),
    ] {
        let world = World::new(BucketMode::Migrate).await;
        world.origin.object("k", size);
        world.origin.fault_times("k", times, fault.clone());
        assert_eq!(see(&world, "k").await, Seen::Right, "{fault:?}");
        world.settled().await;
        assert_eq!(world.state("k").await, "filled");
        assert_eq!(world.origin.calls("k"), usize::try_from(times).unwrap() + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_body_asks_only_for_the_rest_of_the_same_object() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 3_000_000);
    world.origin.fault_times("k", 1, Fault::ResetAt(2_000_000));
    assert_eq!(see(&world, "k").await, Seen::Right);
    let log = world.origin.call_log("k");
    assert_eq!(log.len(), 2);
    assert!(matches!(log[1].range, Some(RangeSpec::From { first }) if first > 0), "{:?}", log[1]);
    assert!(log[1].if_match.is_some());
    // An origin that ignores the range answers whole; what is known already is dropped.
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 3_000_000);
    world.origin.fault_times("k", 1, Fault::ResetAt(2_000_000));
    world.origin.fault("k", Fault::IgnoreRange);
    assert_eq!(see(&world, "k").await, Seen::Right);
}

/// The object changes while it is being read: no reader ever gets a mixture.
#[tokio::test(start_paused = true)]
async fn two_versions_are_never_mixed() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 3_000_000);
    world.origin.fault_times("k", 1, Fault::ResetAt(2_000_000));
    world.origin.hold("k", At::Byte(1_000_000));
    let answer = world.ask(GetRequest::of(key("k"))).await;
    world.origin.wait_for_held("k", At::Byte(1_000_000)).await;
    world.origin.replace("k");
    world.origin.release("k");
    assert!(collect(body_of(answer.result.unwrap())).await.is_err());
    world.settled().await;
    assert_eq!(see(&world, "k").await, Seen::Right);
}

#[tokio::test(start_paused = true)]
async fn absence_is_believed_for_a_while_and_ends_with_a_put() {
    let world = World::new(BucketMode::Migrate).await;
    assert!(matches!(world.get("k").await, Err((CacheWord::Miss, BucketError::NoSuchKey))));
    assert!(matches!(world.get("k").await, Err((CacheWord::Negative, BucketError::NoSuchKey))));
    assert_eq!(world.origin.calls("k"), 1);
    world.origin.object("k", 10);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Miss);
    assert!(world.get("other").await.is_err());
    world.put("other", "here").await.unwrap();
    assert_eq!(world.get("other").await.unwrap().bytes, "here");
}

#[tokio::test(start_paused = true)]
async fn an_impossible_key_of_a_computing_origin_is_remembered_as_such() {
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("k", 10);
    world.origin.fault("k", Fault::Status(400));
    for _ in 0..2 {
        assert!(matches!(world.get("k").await, Err((_, BucketError::ImpossibleKey { .. }))));
    }
    assert_eq!(world.origin.calls("k"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_spares_the_origin_and_what_is_here_still_answers() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("here", 10);
    world.origin.object("known", 10);
    world.get("here").await.unwrap();
    world.head("known").await.unwrap();
    world.settled().await;
    for n in 0..20 {
        world.origin.object(&format!("k{n}"), 10);
    }
    world.origin.fault_for_all(Fault::Status(500));
    let mut before = world.origin.total_calls();
    for n in 0..20 {
        assert!(matches!(world.get(&format!("k{n}")).await, Err((_, BucketError::OriginFailing { .. }))));
        if n == 5 {
            before = world.origin.total_calls();
        }
    }
    assert!(world.origin.total_calls() - before <= 3, "an open breaker lets hardly anything through");
    assert_eq!(world.get("here").await.unwrap().word, CacheWord::Hit);
    tokio::time::advance(Duration::from_secs(31)).await;
    // The observation has aged and the origin cannot be asked: what it said before still answers.
    assert_eq!(world.head("known").await.unwrap().object.size_bytes, Some(10));
    world.origin.heal_all();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(world.get("k1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_busy_origin_is_not_asked_again_and_its_wait_is_passed_on() {
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("k", 10);
    world.origin.fault("k", Fault::Busy { retry_after: Some("17".into()) });
    match world.get("k").await {
        Err((_, BucketError::SlowDown { retry_after, .. })) => {
            assert_eq!(retry_after, Duration::from_secs(17))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.origin.calls("k"), 1);
}

#[tokio::test(start_paused = true)]
async fn conditions_on_a_cold_key_are_judged_before_a_body_moves() {
    use fallthrough_wire::conditions::{Conditions, TagList};
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 5_000_000);
    let etag = world.origin.etag("k").unwrap();
    let none_match = Conditions { if_none_match: Some(TagList::parse(&etag)), ..Conditions::default() };
    let request = GetRequest { conditions: none_match, ..GetRequest::of(key("k")) };
    let got = world.read(request).await.unwrap();
    assert!(matches!(got.object.body, crate::ObjectBody::NotModified));
    let other = Conditions { if_match: Some(TagList::parse("\"other\"")), ..Conditions::default() };
    let request = GetRequest { conditions: other, ..GetRequest::of(key("k")) };
    assert!(matches!(world.read(request).await, Err((_, BucketError::PreconditionFailed))));
    assert_eq!(world.origin.calls_of("k", Method::Get), 0);
    let matching = Conditions { if_match: Some(TagList::parse(&etag)), ..Conditions::default() };
    let request = GetRequest { conditions: matching, ..GetRequest::of(key("k")) };
    assert_eq!(world.read(request).await.unwrap().bytes.len(), 5_000_000);
    // The body had to be the one that was judged.
    let gets: Vec<_> = world.origin.call_log("k").into_iter().filter(|c| c.method == Method::Get).collect();
    assert!(gets[0].if_match.is_some());
}

#[test]
fn unverified_commits_would_be_caught() {
    let found = caught(Mutant::CommitBeforeVerification, || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new(BucketMode::Migrate).await;
            world.origin.object("k", 5_000);
            world.origin.fault("k", Fault::FlipByteAt(100));
            world.origin.fault("k", Fault::ContentMd5);
            assert_ne!(see(&world, "k").await, Seen::Wrong);
            world.settled().await;
            assert_eq!(world.state("k").await, "unknown");
        });
    });
    assert!(found);
}

//! Mistakes with what follows a change: notices that fail or come late, answers that say something else than their status,
//! and reads that wait for them.

use std::time::Duration;

use fallthrough_shadow::{Shadow, Write, WriteGuard, WriteRequest};
use fallthrough_sim::{Mishap, Provider};
use fallthrough_store::WriteThrough;

use super::super::outbox::Through;
use super::super::planted::{assert_caught, missed};
use super::super::world::{World, key};
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, CacheWord, WhichWaiting};

async fn failing_notices() {
    for mishap in
        [Mishap::Lost, Mishap::DoneAndLost, Mishap::Answers(403, "AccessDenied"), Mishap::Answers(500, "")]
    {
        let mut through = Through::new(WriteThrough::Async).await;
        through.provider.has("old", "old");
        through.provider.always(Some(mishap.clone()));
        let world = &through.world;
        world.put("k", "1").await.unwrap();
        world.put("k", "2").await.unwrap();
        let etag = world.put_parts("parts", &[5 << 20, 10]).await.unwrap();
        assert!(world.delete("old").await);
        tokio::time::sleep(Duration::from_secs(60)).await; // Virtual time: it has failed by now, several times.
        assert_eq!(world.get("k").await.unwrap().bytes, "2", "{mishap:?}");
        assert_eq!(world.get("parts").await.unwrap().object.info.etag.as_ref().unwrap().to_string(), etag);
        assert!(matches!(world.get("old").await, Err((CacheWord::Tombstone, BucketError::NoSuchKey))));
        // Nor is it forgotten: it is there after a restart, and arrives once it can.
        through.restart().await;
        through.provider.always(None);
        let bucket = through.world.bucket().await;
        through.world.engine.retry_waiting(&bucket, &WhichWaiting::All).await.unwrap();
        through.drained().await;
        assert_eq!(through.waiting().await, (0, 0), "{mishap:?}");
        assert_eq!(through.provider.text("k").as_deref(), Some("2"));
        assert_eq!(through.provider.kept("parts").unwrap().etag.to_string(), etag);
        assert!(through.provider.kept("old").is_none());
    }
}

/// 2. What is done for others after a commit fails, and so does the operation, though it has happened.
#[tokio::test(start_paused = true)]
async fn mistake_02_a_best_effort_notice_fails_a_committed_operation() {
    failing_notices().await;
}

/// The same request, once more, long after it was sent: as a slow network delivers it.
async fn replay(provider: &Provider, name: &str, guard: WriteGuard) -> u16 {
    let request = WriteRequest {
        key: key(name),
        write: Write::Delete,
        guard,
        stall: Duration::from_secs(60),
        hops: 0,
        request_id: "late".into(),
    };
    provider.write(request).await.unwrap().status.as_u16()
}

async fn older_events() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    world.put("k", "0").await.unwrap();
    through.drained().await;
    let before = provider.kept("k").unwrap().etag;
    // An older change waits on its way while newer ones are made; the provider gets them in order.
    provider.mishap("k", Mishap::Waits);
    let logged = provider.log().len();
    world.put("k", "1").await.unwrap();
    provider.logged(logged + 1).await;
    world.put("k", "2").await.unwrap();
    world.delete("k").await;
    world.put("k", "3").await.unwrap();
    provider.go_on();
    through.drained().await;
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("3"), (0, 0)));
    // Every request carried the condition under which it was right: one that comes late does nothing.
    let log = provider.log();
    assert!(log[logged..].iter().all(|line| line.contains(" if ")), "{log:?}");
    assert_eq!(replay(provider, "k", WriteGuard::Match(before)).await, 412);
    assert_eq!(replay(provider, "k", WriteGuard::Absent).await, 412);
    assert_eq!(provider.text("k").as_deref(), Some("3"));
    // Nor does an answer that comes late count for a newer change.
    provider.mishap("k", Mishap::DoneAndLost);
    world.put("k", "4").await.unwrap();
    world.put("k", "5").await.unwrap();
    through.drained().await;
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("5"), (0, 0)));
    assert_eq!(world.get("k").await.unwrap().bytes, "5");
}

/// 3. An event that comes late overwrites what was written after it.
#[tokio::test(start_paused = true)]
async fn mistake_03_an_older_event_overwrites_a_newer_object() {
    older_events().await;
}

/// 8. A shadow answers CompleteMultipartUpload with 200 and an error in its document, and it counts as done. (Our own
/// answers, on the wire: `mistakes` in the gateway's tests.)
#[tokio::test(start_paused = true)]
async fn mistake_08_an_error_after_200_counts_as_done() {
    for way in [WriteThrough::Async, WriteThrough::Sync] {
        let through = Through::new(way).await;
        let (world, provider) = (&through.world, &through.provider);
        provider.always(Some(Mishap::SaysErrorLater));
        let sizes = [5 << 20, 10];
        let put = world.put_parts("k", &sizes).await;
        assert_eq!(put.is_ok(), way == WriteThrough::Async, "{put:?}");
        tokio::time::sleep(Duration::from_secs(30)).await; // Virtual time: it was tried again.
        assert!(provider.kept("k").is_none());
        if way == WriteThrough::Async {
            assert_eq!(through.waiting().await, (1, 0), "it is not there, and waits");
        } else {
            assert!(matches!(world.get("k").await, Err((_, BucketError::NoSuchKey))), "nothing was changed");
        }
        provider.always(None);
        tokio::time::sleep(Duration::from_secs(600)).await; // Virtual time: the breaker is closed again.
        let etag = match put {
            Ok(etag) => etag,
            Err(_) => world.put_parts("k", &sizes).await.unwrap(),
        };
        through.drained().await;
        assert_eq!((provider.kept("k").unwrap().etag.to_string(), provider.uploads()), (etag, 0), "{way:?}");
    }
}

async fn slow_deletes() {
    let through = Through::with(|rule| rule.delete_through = true).await;
    let (world, provider) = (&through.world, &through.provider);
    for name in ["k", "other"] {
        provider.has(name, "theirs");
    }
    provider.mishap("k", Mishap::Waits);
    let logged = provider.log().len();
    assert!(world.delete("k").await);
    provider.logged(logged + 1).await;
    // The delete is with the shadow, which does not answer. None of this takes any time.
    let begun = world.now();
    let got = world.get("k").await;
    assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{got:?}");
    assert!(world.head("k").await.is_err());
    assert_eq!(world.get("other").await.unwrap().bytes, "theirs");
    world.put("k", "new").await.unwrap();
    assert_eq!(world.get("k").await.unwrap().bytes, "new");
    assert_eq!(world.now(), begun, "a read waited for the shadow's delete");
    provider.go_on();
    through.drained().await;
    assert_eq!(world.get("k").await.unwrap().bytes, "new");
}

/// 14. A GET hangs because a delete at the shadow does.
#[tokio::test(start_paused = true)]
async fn mistake_14_a_delete_at_the_shadow_hangs_the_reads() {
    slow_deletes().await;
}

/// 16. The shadow answers a HEAD, and the key counts as copied.
async fn heads() {
    let world = World::new(BucketMode::Migrate).await;
    for name in ["k", "l"] {
        world.origin.object(name, 100);
        assert_eq!(world.head(name).await.unwrap().object.size_bytes, Some(100));
        assert_eq!(world.state(name).await, "known");
    }
    // A GET of it needs the shadow: where that fails it is a failure, neither an empty body nor absence.
    world.origin.fault("k", fallthrough_sim::Fault::Status(500));
    let got = world.get("k").await;
    assert!(matches!(got, Err((_, BucketError::OriginFailing { .. }))), "{got:?}");
    world.origin.heal("k");
    tokio::time::sleep(Duration::from_secs(600)).await; // Virtual time: the breaker closes.
    for name in ["k", "l"] {
        world.head(name).await.unwrap();
    }
    // A migration copies it, and a comparison finds it only then.
    let worker = super::super::migrations::Worker::of(&world);
    world.start(crate::MigrationOptions::default()).await.unwrap();
    world.idle().await;
    for name in ["k", "l"] {
        assert_eq!(world.state(name).await, "filled", "{name}");
    }
    worker.stop().await;
    // What was only described is gone with the shadow.
    world.origin.object("m", 100);
    world.head("m").await.unwrap();
    let clear = |settings: &mut crate::BucketSettings| {
        settings.shadow.clear();
        settings.mode = BucketMode::Plain;
    };
    world.engine.set_bucket(&world.name, &clear).await.unwrap();
    assert!(matches!(world.head("m").await, Err((_, BucketError::NoSuchKey))));
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
}

#[tokio::test(start_paused = true)]
async fn mistake_16_a_head_by_the_shadow_proves_a_local_copy() {
    heads().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::NoticeDecides, failing_notices),
        missed(Mutant::WriteUnguarded, older_events),
        missed(Mutant::ReadsAwaitDelivery, slow_deletes),
        missed(Mutant::KnownIsPresent, heads),
    ]);
}

//! Mistakes with time: what is counted from the wrong moment, and what ends too early.

use std::time::Duration;

use fallthrough_sim::{Fault, Mishap};
use fallthrough_store::WriteThrough;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::outbox::Through;
use super::super::planted::{assert_caught, missed};
use super::super::world::{World, body_of, caller, collect, key};
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, CacheWord, EngineOptions, GetRequest};

async fn freshness() {
    let world = World::with(BucketMode::Cache, EngineOptions::default(), |settings| {
        settings.shadow[0].ttl_secs = Some(10);
    })
    .await;
    world.origin.object("k", 1_000);
    world.origin.fault_times("k", 1, Fault::DelayHeaders(Duration::from_secs(8)));
    let asked = world.now();
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Miss);
    world.settled().await;
    assert!(world.now().since(asked) >= Duration::from_secs(8));
    // What the origin said may have been so at the moment when it was asked, and not later.
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
    tokio::time::sleep(Duration::from_secs(3)).await; // Virtual time: 11 s since it was asked, 3 s since it came.
    let calls = world.origin.calls("k");
    world.get("k").await.unwrap();
    assert_eq!(world.origin.calls("k"), calls + 1, "11 s after it was asked it is not fresh for 10 s");
    // Renewed by a 304, it counts anew from before that was asked.
    world.origin.fault_times("k", 1, Fault::DelayHeaders(Duration::from_secs(8)));
    tokio::time::sleep(Duration::from_secs(11)).await; // Virtual time.
    world.get("k").await.unwrap();
    let calls = world.origin.calls("k");
    tokio::time::sleep(Duration::from_secs(3)).await; // Virtual time.
    world.get("k").await.unwrap();
    assert_eq!(world.origin.calls("k"), calls + 1);
}

/// 4. Freshness is counted from when the answer came, or ended.
#[tokio::test(start_paused = true)]
async fn mistake_04_freshness_is_counted_from_after_the_answer() {
    freshness().await;
}

/// A fill that began before the delete and ends long after it, with everything that removes rows at work meanwhile.
async fn late_fill() {
    let mut world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 300_000);
    world.origin.object("unseen", 10);
    let stop = CancellationToken::new();
    let (engine, stopped) = (world.engine.clone(), stop.clone());
    let expiring = TaskTracker::new().spawn(async move { engine.run_expiry(stopped).await });
    // So slow that it takes the better part of a day, and never stalls.
    world.origin.fault("k", Fault::Drip { chunk_bytes: 50, every: Duration::from_secs(9) });
    let answer = world.engine.get(&world.bucket().await, &caller(), GetRequest::of(key("k"))).await;
    let reading = TaskTracker::new().spawn(collect(body_of(answer.result.unwrap())));
    assert!(world.delete("k").await);
    assert!(world.delete("unseen").await, "also of a key that was never seen here");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(86_400)).await; // Virtual time: longer than the fill.
        world.store.sweep().await.unwrap();
    }
    world.settled().await;
    let _ = reading.await.unwrap(); // What the early reader got is another test's.
    for _ in 0..2 {
        for name in ["k", "unseen"] {
            let got = world.get(name).await;
            assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{name}: {got:?}");
        }
        world.restart();
    }
    stop.cancel();
    expiring.await.unwrap();
}

/// 17. A tombstone ends before the slowest of those who could bring the key back.
#[tokio::test(start_paused = true)]
async fn mistake_17_a_tombstone_expires_before_the_slowest_writer() {
    late_fill().await;
    // The shadow cannot be reached for days: its object would come back with the first read.
    let through = Through::new(WriteThrough::Async).await;
    through.provider.has("k", "theirs");
    through.provider.always(Some(Mishap::Lost));
    assert!(through.world.delete("k").await);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(86_400)).await; // Virtual time.
        let got = through.world.get("k").await;
        assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{got:?}");
    }
    assert_eq!(through.waiting().await, (1, 0), "the delete still waits for the shadow");
    through.provider.always(None);
    through.drained().await;
    assert!(through.provider.kept("k").is_none());
    // And somebody puts it there once more: here it was deleted.
    through.provider.has("k", "again");
    assert_eq!(through.world.state("k").await, "tombstone");
    assert!(through.world.get("k").await.is_err());
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::FreshFromAnswer, freshness),
        missed(Mutant::NoTombstoneCheck, late_fill),
        missed(Mutant::UnseenDeleteForgotten, late_fill),
    ]);
}

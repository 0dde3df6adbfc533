//! What the modes promise: editions, freshness, who may fill, key rules.

use std::time::Duration;

use fallthrough_object::ETag;
use fallthrough_sim::Fault;

use super::world::{World, caller, key, same};
use crate::{
    BucketError, BucketMode, BucketSettings, CacheWord, Caller, EngineOptions, GetRequest, PublicFill,
};

#[tokio::test(start_paused = true)]
async fn another_edition_is_a_miss_that_replaces_the_old_copy() {
    let world = World::with(BucketMode::Compute, EngineOptions::default(), |s| {
        s.shadow[0].edition = Some("v1".into());
    })
    .await;
    world.origin.object("k", 1_000);
    world.get("k").await.unwrap();
    world.settled().await;
    let new = world.origin.replace("k");
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
    let set = |s: &mut BucketSettings| s.shadow[0].edition = Some("v2".into());
    world.engine.set_bucket(&world.name, &set).await.unwrap();
    let got = world.get("k").await.unwrap();
    assert_eq!(got.word, CacheWord::Miss);
    assert!(same(&got.bytes, &new));
    world.settled().await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
}

#[tokio::test(start_paused = true)]
async fn a_cached_copy_is_revalidated_and_renewed() {
    let world = World::with(BucketMode::Cache, EngineOptions::default(), |s| {
        s.shadow[0].ttl_secs = Some(60);
    })
    .await;
    let old = world.origin.object("k", 1_000);
    world.get("k").await.unwrap();
    world.settled().await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
    assert_eq!(world.origin.calls("k"), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    let got = world.get("k").await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &old));
    world.settled().await;
    let log = world.origin.call_log("k");
    assert!(log.len() == 2 && log[1].if_none_match.is_some(), "asked with the stored ETag");
    // Renewed: nobody asks for another minute.
    tokio::time::advance(Duration::from_secs(30)).await;
    world.get("k").await.unwrap();
    assert_eq!(world.origin.calls("k"), 2);
    // Changed at the origin: the new object replaces the old one.
    let new = world.origin.replace("k");
    tokio::time::advance(Duration::from_secs(61)).await;
    let got = world.get("k").await.unwrap();
    assert!(got.word == CacheWord::Miss && same(&got.bytes, &new));
    world.settled().await;
    // Gone at the origin: gone here.
    world.origin.remove("k");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(matches!(world.get("k").await, Err((_, BucketError::NoSuchKey))));
    assert_ne!(world.state("k").await, "filled");
}

#[tokio::test(start_paused = true)]
async fn stale_copies_are_served_as_the_origin_allows() {
    let world = World::new(BucketMode::Cache).await;
    world.origin.object("k", 1_000);
    let control = "max-age=10, stale-while-revalidate=10, stale-if-error=100";
    world.origin.header("k", "cache-control", control);
    world.get("k").await.unwrap();
    world.settled().await;
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Stale);
    world.settled().await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Hit);
    assert_eq!(world.origin.calls("k"), 2);
    world.origin.fault("k", Fault::Status(500));
    tokio::time::advance(Duration::from_secs(50)).await;
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Stale);
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(matches!(world.get("k").await, Err((_, BucketError::OriginFailing { .. }))));
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_kept_is_delivered_and_not_kept() {
    let world = World::new(BucketMode::Cache).await;
    let content = world.origin.object("k", 1_000);
    world.origin.header("k", "cache-control", "no-store");
    for _ in 0..2 {
        assert!(same(&world.get("k").await.unwrap().bytes, &content));
        world.settled().await;
    }
    assert_eq!((world.origin.calls("k"), world.state("k").await), (2, "unknown"));
    // Where objects migrate, Cache-Control is theirs, not a word to us.
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 1_000);
    world.origin.header("k", "cache-control", "no-store");
    let got = world.get("k").await.unwrap();
    assert_eq!(got.object.info.meta.cache_control.as_deref(), Some("no-store"));
    world.settled().await;
    assert_eq!(world.state("k").await, "filled");
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_a_strong_etag_gets_one_of_ours_for_each_fill() {
    let world = World::new(BucketMode::Cache).await;
    world.origin.object("k", 1_000);
    world.origin.fault("k", Fault::NoETag);
    let etag = |got: super::world::Got| got.object.info.etag.clone().unwrap();
    let first: ETag = etag(world.get("k").await.unwrap());
    world.settled().await;
    assert!(!first.is_weak() && first == etag(world.get("k").await.unwrap()));
    world.purge("k", false).await.unwrap();
    assert_ne!(first, etag(world.get("k").await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn key_rules_refuse_before_any_queue() {
    let world = World::with(BucketMode::Compute, EngineOptions::default(), |s| {
        s.shadow[0].keys = Some("^[0-9a-f]{4}$".into());
        s.shadow[0].key = Some("made/{key}".into());
    })
    .await;
    world.origin.object("made/0abc", 10);
    assert!(world.get("0abc").await.is_ok());
    assert!(matches!(world.get("xyz").await, Err((CacheWord::Negative, BucketError::NoSuchKey))));
    assert_eq!(world.origin.total_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn unsigned_callers_fill_as_the_bucket_says() {
    for (fill, may) in [(PublicFill::Budget, true), (PublicFill::Open, true), (PublicFill::Signed, false)] {
        let world =
            World::with(BucketMode::Compute, EngineOptions::default(), |s| s.public_fill = fill).await;
        world.origin.object("k", 10);
        let anyone = Caller { signed: false, ..caller() };
        let bucket = world.bucket().await;
        let answer = world.engine.get(&bucket, &anyone, GetRequest::of(key("k"))).await;
        assert_eq!(answer.result.is_ok(), may, "{fill:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn explain_says_what_is_and_what_would_be() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    let explain = async || world.engine.explain(&world.bucket().await, &key("k")).await.unwrap();
    let before = explain().await;
    assert_eq!((before.state, before.rule.as_ref().map(|r| r.1.as_str())), ("unknown", Some("s3:old")));
    assert!(before.next_get.contains("falls through to s3:old"));
    world.get("k").await.unwrap();
    world.settled().await;
    let filled = explain().await;
    assert_eq!(filled.state, "filled");
    assert!(filled.last_fill.unwrap().starts_with("stored"));
    assert_eq!(filled.provenance.unwrap().origin, "s3:old");
    world.delete("k").await;
    assert!(explain().await.next_get.contains("deleted"));
}

#[tokio::test(start_paused = true)]
async fn what_one_shadow_said_is_not_believed_of_another() {
    let world = World::new(BucketMode::Migrate).await;
    let old = world.origin.object("known", 70);
    assert!(world.get("absent").await.is_err());
    assert_eq!(world.head("known").await.unwrap().object.size_bytes, Some(old.size_bytes()));
    let other = world.another_origin();
    let (absent, known) = (other.object("absent", 50), other.object("known", 90));
    let set = |settings: &mut BucketSettings| settings.shadow[0].edition = Some("two".into());
    world.engine.set_bucket(&world.name, &set).await.unwrap();
    // Within the time in which the old shadow's words would have been believed.
    assert_eq!(world.head("known").await.unwrap().object.size_bytes, Some(known.size_bytes()));
    assert!(same(&world.get("absent").await.unwrap().bytes, &absent));
}

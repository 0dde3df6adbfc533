//! Shadows that come and go: what was learnt, filled or deleted under one says nothing of the next.

use std::ops::Bound;
use std::time::Duration;

use fallthrough_sim::Fault;
use tokio_util::sync::CancellationToken;

use super::world::{World, key, rule, same};
use crate::{BucketError, BucketMode, BucketSettings, CacheWord, ShadowRule};

/// The same shadow under a rule that differs: the gate is raised.
fn other_rule() -> ShadowRule {
    ShadowRule { negative_ttl_secs: Some(7), ..rule() }
}

#[tokio::test(start_paused = true)]
async fn a_fill_of_the_old_shadow_is_not_joined_though_nobody_superseded_it() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 1_000);
    world.origin.fault("k", Fault::DelayHeaders(Duration::from_secs(5)));
    let reader = world.get("k");
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await; // Virtual time.
        let new = world.another_origin();
        let content = new.object("k", 2_000);
        // As if whoever asked for the change had gone away after the commit was ordered.
        let settings = BucketSettings { shadow: vec![other_rule()], ..world.bucket().await.settings.clone() };
        world.store.set_bucket(&*world.bucket().await, settings).await.unwrap();
        let got = world.get("k").await.unwrap();
        assert!(got.word == CacheWord::Miss && same(&got.bytes, &content), "{:?}", got.word);
        content
    };
    let (old, content) = tokio::join!(reader, change);
    assert_eq!(old.unwrap().bytes.len(), 1_000, "who was reading finishes");
    world.settled().await;
    let kept = world.get("k").await.unwrap();
    assert!(kept.word == CacheWord::Hit && same(&kept.bytes, &content));
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_under_a_cleared_shadow_does_not_hide_what_the_next_one_has() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 1_000);
    assert!(world.delete("k").await);
    let set = async |shadow: Vec<ShadowRule>, mode: BucketMode| {
        let change = move |now: &mut BucketSettings| {
            now.shadow.clone_from(&shadow);
            now.mode = mode;
        };
        world.engine.set_bucket(&world.name, &change).await.unwrap();
    };
    // One in the place of another: deleted is deleted.
    set(vec![other_rule()], BucketMode::Migrate).await;
    assert!(matches!(world.get("k").await, Err((CacheWord::Tombstone, BucketError::NoSuchKey))));
    set(Vec::new(), BucketMode::Plain).await;
    let content = world.another_origin().object("k", 2_000);
    set(vec![rule()], BucketMode::Migrate).await;
    let got = world.get("k").await.unwrap();
    assert!(got.word == CacheWord::Miss && same(&got.bytes, &content));
}

#[tokio::test(start_paused = true)]
async fn negative_answers_leave_nothing_behind() {
    let world = World::new(BucketMode::Migrate).await;
    let stop = CancellationToken::new();
    let expiry = world.engine.run_expiry(stop.clone());
    let work = async {
        let rows = async || {
            let bucket = world.bucket().await;
            world.store.scan(bucket.id, Bound::Unbounded, "", 1_000).await.unwrap().len()
        };
        for n in 0..40 {
            assert!(matches!(world.get(&format!("nothing/{n}")).await, Err((_, BucketError::NoSuchKey))));
            assert!(matches!(world.head(&format!("nobody/{n}")).await, Err((_, BucketError::NoSuchKey))));
        }
        world.settled().await;
        assert_eq!(rows().await, 80);
        world.put("nothing/7", "now there is").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await; // Virtual time.
        assert_eq!(rows().await, 1, "what was written meanwhile");
        assert_eq!(world.get("nothing/7").await.unwrap().bytes, "now there is");
        // Asked again, since it is not believed any more; and noted once more.
        world.origin.object("nobody/3", 10);
        assert_eq!(world.get("nobody/3").await.unwrap().bytes.len(), 10);
        assert!(world.store.lookup(world.bucket().await.id, &key("nobody/4")).await.unwrap().is_none());
        stop.cancel();
    };
    tokio::join!(expiry, work);
}

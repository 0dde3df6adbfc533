//! Lifecycle rules under virtual time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, LifecycleFilter, LifecycleRule, Meta, Tag, Timestamp};
use fallthrough_store::UploadRow;
use fallthrough_wire::conditions::WriteConditions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::world::{World, caller, key};
use crate::{Attributes, BucketMode, LifecycleTally, PutRequest, expiry_of};

const DAY: Duration = Duration::from_secs(86_400);

fn rule(prefix: &str, days: u32) -> LifecycleRule {
    LifecycleRule {
        id: format!("{prefix} {days}"),
        enabled: true,
        filter: LifecycleFilter { prefix: Some(prefix.to_owned()), ..LifecycleFilter::default() },
        expire_days: Some(days),
        ..LifecycleRule::default()
    }
}

async fn set(world: &World, rules: Vec<LifecycleRule>) {
    let change = move |set: &mut fallthrough_object::BucketConfiguration| set.lifecycle.clone_from(&rules);
    let bucket = world.bucket().await;
    world.engine.configure(&bucket, &change).await.unwrap();
}

async fn put_tagged(world: &World, k: &str, bytes: &'static [u8], tags: &[(&str, &str)]) {
    let tags = tags.iter().map(|(key, value)| Tag { key: (*key).into(), value: (*value).into() }).collect();
    let request = PutRequest {
        key: key(k),
        meta: Meta::default(),
        attributes: Attributes { tags, ..Attributes::default() },
        body: Body::Bytes(Bytes::from_static(bytes)),
        length_bytes: None,
        content_md5: None,
        checksums: Arc::new(OnceLock::new()),
        conditions: WriteConditions::default(),
    };
    world.engine.put(&world.bucket().await, &caller(), request).await.unwrap();
}

/// So much later.
async fn later(by: Duration) {
    // Virtual time: nobody waits.
    tokio::time::sleep(by).await;
}

fn expired(count: u64) -> LifecycleTally {
    LifecycleTally { expired: count, aborted: 0 }
}

#[tokio::test(start_paused = true)]
async fn objects_expire_at_the_midnight_after_their_days() {
    let world = World::new(BucketMode::Plain).await;
    for k in ["old/a", "old/b", "older/a", "z"] {
        world.put(k, "x").await.unwrap();
    }
    set(&world, vec![rule("old/", 2), LifecycleRule { enabled: false, ..rule("z", 1) }]).await;
    let info = world.get("old/a").await.unwrap().object.info;
    let bucket = world.bucket().await;
    let expiry = expiry_of(&bucket.configuration.lifecycle, "old/a", &info).unwrap();
    assert!(expiry.at.0.is_multiple_of(86_400_000) && expiry.rule == "old/ 2");
    let left = expiry.at.since(info.last_modified);
    assert!(left >= 2 * DAY && left < 3 * DAY, "{left:?}");
    later(expiry.at.since(world.now()) - Duration::from_millis(1)).await;
    assert_eq!(world.engine.lifecycle_pass().await, expired(0));
    later(Duration::from_millis(1)).await;
    assert_eq!(world.engine.lifecycle_pass().await, expired(2));
    assert_eq!(
        world.names(crate::ListRequest { max_keys: 10, ..Default::default() }).await,
        ["older/a", "z"]
    );
    assert_eq!(world.engine.lifecycle_pass().await, expired(0));
}

#[tokio::test(start_paused = true)]
async fn filters_choose_by_tags_sizes_and_dates() {
    let world = World::new(BucketMode::Plain).await;
    put_tagged(&world, "both", b"x", &[("a", "1"), ("b", "2")]).await;
    put_tagged(&world, "one", b"x", &[("a", "1")]).await;
    put_tagged(&world, "other", b"x", &[("a", "2"), ("b", "2")]).await;
    for (k, len) in [("five", 5), ("six", 6), ("nine", 9)] {
        world.put(k, vec![b'x'; len]).await.unwrap();
    }
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let tagged = LifecycleFilter { tags: vec![tag("a", "1"), tag("b", "2")], ..LifecycleFilter::default() };
    let sized = LifecycleFilter {
        larger_than_bytes: Some(5),
        smaller_than_bytes: Some(9),
        ..LifecycleFilter::default()
    };
    let midnight = Timestamp(world.now().0.div_ceil(86_400_000) * 86_400_000);
    let at = |filter| LifecycleRule {
        enabled: true,
        filter,
        expire_at: Some(midnight),
        ..LifecycleRule::default()
    };
    set(&world, vec![at(tagged), at(sized)]).await;
    assert_eq!(world.engine.lifecycle_pass().await, expired(0), "not before its date");
    later(midnight.since(world.now())).await;
    assert_eq!(world.engine.lifecycle_pass().await, expired(2));
    let left = world.names(crate::ListRequest { max_keys: 10, ..Default::default() }).await;
    assert_eq!(left, ["five", "nine", "one", "other"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_overwritten_since_it_was_seen_stays() {
    let world = World::new(BucketMode::Plain).await;
    world.put("k", "old").await.unwrap();
    set(&world, vec![rule("", 1)]).await;
    later(3 * DAY).await;
    let bucket = world.bucket().await;
    let seen = world.store.lookup(bucket.id, &key("k")).await.unwrap().unwrap().revision;
    world.put("k", "new").await.unwrap();
    assert!(!world.engine.expire(&bucket, &key("k"), seen).await.unwrap());
    assert_eq!(world.get("k").await.unwrap().bytes, "new");
    assert_eq!(world.engine.lifecycle_pass().await, expired(0), "it is new");
}

#[tokio::test(start_paused = true)]
async fn an_expired_object_stays_away_though_the_shadow_has_it() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 100);
    assert!(world.get("k").await.is_ok());
    world.settled().await;
    set(&world, vec![rule("", 1)]).await;
    later(40_000 * DAY).await;
    assert_eq!(world.engine.lifecycle_pass().await.expired, 1);
    assert_eq!(world.state("k").await, "tombstone");
    assert!(world.get("k").await.is_err());
    // What was never here is not asked for.
    world.origin.object("cold", 100);
    assert_eq!(world.engine.lifecycle_pass().await, expired(0));
}

#[tokio::test(start_paused = true)]
async fn uploads_that_nobody_completes_are_aborted() {
    let world = World::new(BucketMode::Plain).await;
    let bucket = world.bucket().await;
    for k in ["up/a", "up/b", "z"] {
        let row = UploadRow { initiator: "main".into(), ..UploadRow::default() };
        world.store.create_upload(&bucket, &key(k), row).await.unwrap();
    }
    let abort = LifecycleRule { expire_days: None, abort_uploads_days: Some(1), ..rule("up/", 1) };
    set(&world, vec![abort]).await;
    assert_eq!(world.engine.lifecycle_pass().await, LifecycleTally::default());
    later(2 * DAY).await;
    assert_eq!(world.engine.lifecycle_pass().await, LifecycleTally { expired: 0, aborted: 2 });
    let left = world.store.uploads(bucket.id, "", None, 10).await.unwrap();
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["z"]);
}

#[tokio::test(start_paused = true)]
async fn the_worker_goes_through_more_than_one_page() {
    let world = World::new(BucketMode::Plain).await;
    for n in 0..1100 {
        world.put(&format!("k{n:04}"), "x").await.unwrap();
    }
    set(&world, vec![rule("k0", 1), rule("k00", 1)]).await;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let (engine, stopping) = (world.engine.clone(), stop.clone());
    tasks.spawn(async move { engine.run_lifecycle(stopping).await });
    later(3 * DAY).await;
    let left = world.names(crate::ListRequest { max_keys: 1000, ..Default::default() }).await;
    assert_eq!((left.len(), left[0].as_str()), (100, "k1000"));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

//! PUT, DELETE, purge, and buckets.

use std::sync::{Arc, OnceLock};

use fallthrough_object::{Body, BodyError, Meta};
use fallthrough_sim::{At, Fault};
use fallthrough_wire::conditions::{Conditions, TagList, WriteConditions};

use super::world::{World, caller, key};
use crate::{
    Admission, Attributes, BucketError, BucketMode, BucketSettings, CacheWord, CopyRequest, CopySource,
    ListRequest, NewBucket, PutRequest,
};

fn none_match() -> WriteConditions {
    WriteConditions { if_none_match: Some(TagList::Any), ..WriteConditions::default() }
}

fn matching(etag: &str) -> WriteConditions {
    WriteConditions { if_match: Some(TagList::parse(etag)), ..WriteConditions::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_is_got_and_what_is_deleted_is_gone() {
    let world = World::new(BucketMode::Plain).await;
    for size in [0usize, 1, 40_000, 1_000_000] {
        let bytes = vec![b'x'; size];
        world.put("k", bytes.clone()).await.unwrap();
        let got = world.get("k").await.unwrap();
        assert_eq!((got.word, got.bytes.len()), (CacheWord::Hit, size));
        assert_eq!(got.object.info.meta.content_type.as_deref(), Some("text/plain"));
    }
    world.delete("k").await;
    assert!(matches!(world.get("k").await, Err((_, BucketError::NoSuchKey))));
    world.delete("k").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_promise_leaves_nothing() {
    let world = World::new(BucketMode::Plain).await;
    let broken = |body, length_bytes, content_md5| PutRequest {
        key: key("k"),
        meta: Meta::default(),
        attributes: Default::default(),
        body,
        length_bytes,
        content_md5,
        checksums: Arc::new(OnceLock::new()),
        conditions: WriteConditions::default(),
    };
    let stream = |pieces: Vec<Result<&'static str, BodyError>>| {
        let pieces: Vec<_> =
            pieces.into_iter().map(|p| p.map(|s| bytes::Bytes::from_static(s.as_bytes()))).collect();
        Body::Stream(Box::pin(futures::stream::iter(pieces)))
    };
    let requests = [
        broken(stream(vec![Ok("abc")]), Some(4), None),
        broken(stream(vec![Ok("abc"), Ok("de")]), Some(4), None),
        broken(stream(vec![Ok("abc"), Err(BodyError::Incomplete)]), Some(4), None),
        broken(stream(vec![Ok("abcd"), Err(BodyError::Mismatch { what: "signature" })]), Some(4), None),
        broken(stream(vec![Ok("abcd")]), Some(4), Some([0; 16])),
    ];
    for request in requests {
        let refused = world.engine.put(&world.bucket().await, &caller(), request).await;
        assert!(matches!(refused, Err(BucketError::BadBody(_))), "{refused:?}");
        assert_eq!(world.state("k").await, "unknown");
    }
}

#[tokio::test(start_paused = true)]
async fn conditional_writes_are_judged_on_what_is_here() {
    let world = World::new(BucketMode::Plain).await;
    assert!(matches!(world.put_if("k", "1", matching("\"x\"")).await, Err(BucketError::NoSuchKey)));
    world.put_if("k", "1", none_match()).await.unwrap();
    assert!(matches!(world.put_if("k", "2", none_match()).await, Err(BucketError::PreconditionFailed)));
    let etag = world.get("k").await.unwrap().object.info.etag.clone().unwrap().to_string();
    assert!(matches!(world.put_if("k", "2", matching("\"x\"")).await, Err(BucketError::PreconditionFailed)));
    world.put_if("k", "2", matching(&etag)).await.unwrap();
    assert_eq!(world.get("k").await.unwrap().bytes, "2");
}

/// While the shadow is asked, somebody else writes: the answer is of before that, and is not believed.
#[tokio::test(start_paused = true)]
async fn a_condition_is_judged_anew_when_somebody_was_faster() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.hold("k", At::Headers);
    let slow = world.put_if("k", "slow", none_match());
    let fast = async {
        world.origin.wait_for_calls("k", 1).await;
        world.put("k", "fast").await.unwrap();
        world.origin.release("k");
    };
    let (slow, ()) = futures::join!(slow, fast);
    assert!(matches!(slow, Err(BucketError::PreconditionFailed)), "{slow:?}");
    assert_eq!(world.get("k").await.unwrap().bytes, "fast");
}

/// Many create-only PUTs at once: exactly one wins.
#[tokio::test(start_paused = true)]
async fn one_of_many_create_only_puts_wins() {
    let world = World::new(BucketMode::Plain).await;
    let puts = (0..50).map(|n| world.put_if("k", format!("{n}"), none_match()));
    let outcomes = futures::future::join_all(puts).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|o| matches!(o, Ok(()) | Err(BucketError::PreconditionFailed))));
}

/// On a cold key only the shadow can judge: it is asked, once, and what could not be asked is no answer.
#[tokio::test(start_paused = true)]
async fn conditional_writes_on_cold_keys_are_the_shadows_to_judge() {
    for mode in [BucketMode::Migrate, BucketMode::Cache] {
        let world = World::new(mode).await;
        world.origin.object("k", 10);
        let etag = world.origin.etag("k").unwrap();
        let create = world.put_if("k", "1", none_match()).await;
        assert!(matches!(create, Err(BucketError::PreconditionFailed)), "{create:?}");
        assert!(matches!(world.put_if("none", "1", matching("*")).await, Err(BucketError::NoSuchKey)));
        world.put_if("none", "1", none_match()).await.unwrap();
        world.put_if("k", "2", matching(&etag)).await.unwrap();
        assert_eq!(world.get("k").await.unwrap().bytes, "2");
        world.origin.object("down", 10);
        world.origin.fault("down", Fault::Status(500));
        for conditions in [none_match(), matching("*")] {
            let unasked = world.put_if("down", "1", conditions).await;
            assert!(matches!(unasked, Err(BucketError::OriginFailing { .. })), "{unasked:?}");
        }
    }
    // A compute bucket judges on what is here.
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("k", 10);
    world.put_if("k", "1", none_match()).await.unwrap();
    assert_eq!(world.origin.calls("k"), 0);
    // What is here, or deleted here, can be judged.
    let world = World::new(BucketMode::Migrate).await;
    world.delete("k").await;
    world.put_if("k", "1", none_match()).await.unwrap();
    assert!(matches!(world.put_if("k", "2", none_match()).await, Err(BucketError::PreconditionFailed)));
}

#[tokio::test(start_paused = true)]
async fn a_conditional_copy_onto_a_cold_key_asks_the_shadow_once() {
    for mode in [BucketMode::Migrate, BucketMode::Cache] {
        let world = World::new(mode).await;
        world.put("from", "here").await.unwrap();
        world.origin.object("to", 10);
        let bucket = world.bucket().await;
        let mut request = CopyRequest {
            source: CopySource {
                bucket: bucket.clone(),
                key: key("from"),
                conditions: Conditions::default(),
            },
            key: key("to"),
            meta: None,
            tags: None,
            checksum: None,
            attributes: Attributes::default(),
            conditions: matching(&world.origin.etag("to").unwrap()),
        };
        world.engine.copy(&bucket, &caller(), request.clone(), Admission::ALL).await.unwrap();
        assert_eq!(world.get("to").await.unwrap().bytes, "here");
        assert_eq!(world.origin.calls("to"), 1, "{mode:?}");
        (request.key, request.conditions) = (key("none"), none_match());
        world.engine.copy(&bucket, &caller(), request, Admission::ALL).await.unwrap();
        assert_eq!(world.origin.calls("none"), 1, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn deletes_hide_what_the_shadow_has() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    assert!(world.delete("k").await, "a key never seen here leaves a tombstone too");
    assert!(matches!(world.get("k").await, Err((CacheWord::Tombstone, BucketError::NoSuchKey))));
    assert!(matches!(world.head("k").await, Err((CacheWord::Tombstone, BucketError::NoSuchKey))));
    assert!(world.names(ListRequest { max_keys: 10, ..ListRequest::default() }).await.is_empty());
    assert_eq!(world.origin.calls("k"), 0);
    world.put("k", "back").await.unwrap();
    assert_eq!(world.get("k").await.unwrap().bytes, "back");
}

#[tokio::test(start_paused = true)]
async fn purge_forgets_only_what_can_be_filled_again() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    world.get("k").await.unwrap();
    world.settled().await;
    assert!(world.purge("k", false).await.unwrap());
    assert!(!world.purge("k", false).await.unwrap());
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Miss);
    world.put("mine", "1").await.unwrap();
    assert!(matches!(world.purge("mine", false).await, Err(BucketError::WouldLoseWritten)));
    assert!(world.purge("mine", true).await.unwrap());
    world.delete("gone").await;
    assert!(matches!(world.purge("gone", false).await, Err(BucketError::WouldLoseWritten)));
    assert!(world.purge("gone", true).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_clients_see_as_full_is_not_deleted() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    assert!(matches!(world.engine.delete_bucket(&world.name).await, Err(BucketError::BucketNotEmpty)));
    world.delete("k").await;
    world.put("mine", "1").await.unwrap();
    assert!(matches!(world.engine.delete_bucket(&world.name).await, Err(BucketError::BucketNotEmpty)));
    // A refused deletion leaves the bucket in use.
    world.put("mine", "2").await.unwrap();
    world.delete("mine").await;
    world.engine.delete_bucket(&world.name).await.unwrap();
    assert!(matches!(world.engine.bucket(&world.name).await, Err(BucketError::NoSuchBucket(_))));
    let created = world.engine.create_bucket(&world.name, BucketSettings::default()).await.unwrap();
    assert!(matches!(created, NewBucket::Created(_)));
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_bucket_that_is_gone_are_refused() {
    let world = World::new(BucketMode::Plain).await;
    let old = world.bucket().await;
    world.engine.delete_bucket(&world.name).await.unwrap();
    world.engine.create_bucket(&world.name, BucketSettings::default()).await.unwrap();
    let request = PutRequest {
        key: key("k"),
        meta: Meta::default(),
        attributes: Default::default(),
        body: Body::empty(),
        length_bytes: Some(0),
        content_md5: None,
        checksums: Arc::new(OnceLock::new()),
        conditions: WriteConditions::default(),
    };
    let refused = world.engine.put(&old, &caller(), request).await;
    assert!(matches!(refused, Err(BucketError::NoSuchBucket(_))), "{refused:?}");
    assert_eq!(world.state("k").await, "unknown");
}

#[tokio::test(start_paused = true)]
async fn settings_that_do_not_fit_are_refused() {
    let world = World::new(BucketMode::Migrate).await;
    let set = |s: &mut BucketSettings| s.mode = BucketMode::Plain;
    let refused = world.engine.set_bucket(&world.name, &set).await;
    assert!(matches!(refused, Err(BucketError::InvalidSettings { .. })));
    assert_eq!(world.bucket().await.settings.mode, BucketMode::Migrate);
}

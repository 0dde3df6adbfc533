//! A fill racing PUT, DELETE, purge, PUT-then-purge, a replaced shadow, and a bucket that is deleted and
//! created again, at each point of the fill.

use fallthrough_sim::{At, Content};

use super::world::{World, body_of, collect, key, rule, same};
use crate::core::mutants::{Mutant, caught};
use crate::{BucketError, BucketMode, BucketSettings, CacheWord, GetRequest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Put,
    Delete,
    Purge,
    PutThenPurge,
    ReplacedShadow,
    Detached,
    Recreated,
}

const CHANGES: [Change; 7] = [
    Change::Put,
    Change::Delete,
    Change::Purge,
    Change::PutThenPurge,
    Change::ReplacedShadow,
    Change::Detached,
    Change::Recreated,
];

/// Makes the change; returns what the origin has from then on.
async fn make(world: &World, change: Change, size: u64) -> Option<Content> {
    let before = world.origin.content("k");
    match change {
        Change::Put => {
            world.put("k", "mine").await.unwrap();
            before
        }
        Change::Delete => {
            world.delete("k").await;
            before
        }
        Change::Purge => {
            let changed = world.origin.replace("k");
            world.purge("k", false).await.unwrap();
            Some(changed)
        }
        Change::PutThenPurge => {
            world.put("k", "mine").await.unwrap();
            let changed = world.origin.replace("k");
            world.purge("k", true).await.unwrap();
            Some(changed)
        }
        Change::ReplacedShadow => {
            let other = world.another_origin();
            let content = other.object_of("k", vec![7; usize::try_from(size).unwrap()]);
            let set = |settings: &mut BucketSettings| {
                settings.shadow = vec![crate::ShadowRule { edition: Some("two".into()), ..rule() }];
            };
            world.engine.set_bucket(&world.name, &set).await.unwrap();
            Some(content)
        }
        Change::Detached => {
            let set = |settings: &mut BucketSettings| {
                settings.shadow.clear();
                settings.mode = BucketMode::Plain;
            };
            world.engine.set_bucket(&world.name, &set).await.unwrap();
            None
        }
        Change::Recreated => {
            // The shadow's key must not stand in the way of the deletion.
            let settings = world.bucket().await.settings.clone();
            let other = world.another_origin();
            let set = |settings: &mut BucketSettings| settings.shadow[0].edition = Some("away".into());
            world.engine.set_bucket(&world.name, &set).await.unwrap();
            world.engine.delete_bucket(&world.name).await.unwrap();
            let content = other.object_of("k", vec![9; usize::try_from(size).unwrap()]);
            world.engine.create_bucket(&world.name, settings).await.unwrap();
            Some(content)
        }
    }
}

async fn race(mode: BucketMode, change: Change, at: At, size: u64) {
    let what = format!("{change:?} at {at:?} of {size} bytes in {mode:?}");
    let world = World::new(mode).await;
    let old = world.origin.object("k", size);
    world.origin.hold("k", at);
    let bucket = world.bucket().await;
    let reader = async {
        let answer = world.engine.get(&bucket, &super::world::caller(), GetRequest::of(key("k"))).await;
        match answer.result {
            Ok(object) => collect(body_of(object)).await.ok(),
            Err(_) => None,
        }
    };
    let (now, early) = tokio::join!(
        async {
            world.origin.wait_for_held("k", at).await;
            let now = make(&world, change, size).await;
            // After the change was acknowledged, nobody sees what was there before it.
            if change != Change::Purge && change != Change::PutThenPurge {
                check_after(&world, change, now.as_ref(), &what).await;
            }
            world.origin.release("k");
            world.settled().await;
            check_after(&world, change, now.as_ref(), &what).await;
            now
        },
        reader
    );
    // The early reader overlaps the change: it gets the old object or the new one, whole, or is broken off.
    if let Some(bytes) = early {
        let new = now.is_some_and(|now| same(&bytes, &now));
        assert!(same(&bytes, &old) || new, "a mixture: {what}");
    }
}

async fn check_after(world: &World, change: Change, now: Option<&Content>, what: &str) {
    let got = world.get("k").await;
    match change {
        Change::Put => assert_eq!(got.unwrap().bytes, "mine", "{what}"),
        Change::Delete if world.bucket().await.settings.mode == BucketMode::Migrate => {
            assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{what}: {got:?}");
        }
        Change::Detached => assert!(matches!(got, Err((_, BucketError::NoSuchKey))), "{what}: {got:?}"),
        Change::Delete
        | Change::Purge
        | Change::PutThenPurge
        | Change::ReplacedShadow
        | Change::Recreated => {
            assert!(same(&got.unwrap().bytes, now.unwrap()), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_stale_object_and_no_resurrected_key_in_any_order() {
    for mode in [BucketMode::Migrate, BucketMode::Cache, BucketMode::Compute] {
        for change in CHANGES {
            for (size, points) in [
                (1_000, &[At::Headers, At::FirstByte, At::LastByte][..]),
                (700_000, &[At::Headers, At::FirstByte, At::Byte(400_000), At::LastByte][..]),
            ] {
                for at in points {
                    // A held answer is held for every reader, so those who must ask again cannot be checked
                    // while it is; in compute and cache a delete forgets, and the next reader asks again.
                    if change == Change::Delete && mode != BucketMode::Migrate {
                        continue;
                    }
                    race(mode, change, *at, size).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_computed_key_is_computed_again() {
    let world = World::new(BucketMode::Compute).await;
    world.origin.object("k", 1_000);
    world.get("k").await.unwrap();
    world.settled().await;
    assert!(!world.delete("k").await);
    assert_eq!(world.state("k").await, "unknown");
    assert_eq!(world.get("k").await.unwrap().word, CacheWord::Miss);
}

/// Which planted bugs the races above find.
#[test]
fn planted_bugs_are_caught() {
    let mut missed = Vec::new();
    for (mutant, change) in
        [(Mutant::NoSupersession, Change::Purge), (Mutant::NoTombstoneCheck, Change::Delete)]
    {
        let found = caught(mutant, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(race(BucketMode::Migrate, change, At::LastByte, 1_000));
        });
        if !found {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

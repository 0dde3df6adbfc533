//! Mistakes with bodies: what is deleted, overwritten, cut short, left alone or read badly while it is fetched or served.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Body, RangeSpec, SeededEntropy};
use fallthrough_shadow::Method;
use fallthrough_sim::{At, Fault};
use fallthrough_store::{Store, StoreOptions};
use fallthrough_wire::conditions::{Conditions, IfRange, TagList};
use futures::StreamExt as _;

use super::super::planted::{assert_caught, missed, missed_on_disk};
use super::super::world::{World, body_of, caller, collect, key, same};
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, CacheWord, EngineOptions, GetRequest, ListRequest};

async fn delete_in_the_window() {
    let mut world = World::new(BucketMode::Migrate).await;
    let old = world.origin.object("k", 700_000);
    world.origin.hold("k", At::LastByte);
    let bucket = world.bucket().await;
    let reading = async {
        let answer = world.engine.get(&bucket, &caller(), GetRequest::of(key("k"))).await;
        collect(body_of(answer.result.unwrap())).await
    };
    let window = async {
        world.origin.wait_for_held("k", At::LastByte).await;
        assert!(world.delete("k").await);
        let got = world.get("k").await;
        assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{got:?}");
        world.origin.release("k");
        world.settled().await;
    };
    let (early, ()) = tokio::join!(reading, window);
    // Who began before the delete has the whole object or an error, never a part that looks like a whole.
    assert!(early.is_err() || early.is_ok_and(|bytes| same(&bytes, &old)));
    for _ in 0..2 {
        let got = world.get("k").await;
        assert!(matches!(got, Err((CacheWord::Tombstone, BucketError::NoSuchKey))), "{got:?}");
        let all = ListRequest { max_keys: 10, ..ListRequest::default() };
        assert!(world.names(all).await.is_empty());
        world.restart();
    }
    assert_eq!(world.origin.calls_of("k", Method::Get), 1);
}

/// 1. A GET that is filled while the key is deleted brings it back.
#[tokio::test(start_paused = true)]
async fn mistake_01_a_delete_in_the_window_of_a_fill_is_undone() {
    delete_in_the_window().await;
}

/// 5. An overwrite, a delete or a purge cuts off a body that is being read. On a disk, in files.
#[tokio::test]
async fn mistake_05_an_overwrite_truncates_a_body_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, entropy) = (World::clock(), Arc::new(SeededEntropy::new(3)));
    let store = Store::open(dir.path(), options(), clock.clone(), entropy).await.unwrap();
    let world = World::over(store, clock, BucketMode::Migrate, EngineOptions::default(), |_| ()).await;
    let old = world.origin.object("filled", 3_000_000);
    world.get("filled").await.unwrap();
    world.put("written", old.bytes()).await.unwrap();
    world.settled().await;
    for name in ["filled", "written"] {
        let got = world.ask(GetRequest::of(key(name))).await;
        assert_eq!(got.report.word, CacheWord::Hit);
        let mut pieces = world.store.pieces(body_of(got.result.unwrap()));
        let mut read = pieces.next().await.unwrap().unwrap().to_vec();
        world.put(name, "short").await.unwrap();
        world.delete(name).await;
        world.put(name, vec![b'x'; 4_000_000]).await.unwrap();
        world.purge(name, true).await.unwrap();
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert!(read == old.bytes(), "{name}: {} of {} bytes", read.len(), old.size_bytes());
    }
}

async fn weak_tags() {
    let world = World::new(BucketMode::Migrate).await;
    let first = world.origin.object("k", 600_000);
    world.origin.fault("k", Fault::WeakETag);
    let one = world.get("k").await.unwrap();
    world.settled().await;
    let tag = one.object.info.etag.clone().unwrap();
    assert!(!tag.is_weak(), "what is shown is strong, and our own: {tag}");
    // Other bytes, of the same length, under the same weak ETag: nothing of the first may stand for them.
    let second = world.origin.replace("k");
    world.origin.fault("k", Fault::WrongETag("W/\"same\"".into()));
    world.purge("k", false).await.unwrap();
    let range = RangeSpec::FromTo { first: 100, last: 199 };
    let if_range = Some(IfRange::Tag(tag.clone()));
    let request = GetRequest { range: Some(range), if_range, ..GetRequest::of(key("k")) };
    let got = world.read(request).await.unwrap();
    assert!(same(&got.bytes, &second), "the rest of the first object may not be of the second");
    let two = world.get("k").await.unwrap();
    assert!(two.object.info.etag.as_ref().is_some_and(|now| !now.is_weak() && *now != tag));
    assert!(same(&two.bytes, &second) && !same(&two.bytes, &first));
    // With the tag of the first body nobody is told that the second is what they have.
    let conditions =
        Conditions { if_none_match: Some(TagList::parse(&tag.to_string())), ..Conditions::default() };
    let got = world.read(GetRequest { conditions, ..GetRequest::of(key("k")) }).await.unwrap();
    assert!(same(&got.bytes, &second), "{} bytes", got.bytes.len());
    // A transfer that breaks is not joined with the rest of whatever bears the same weak tag.
    world.purge("k", false).await.unwrap();
    world.origin.heal("k");
    let third = world.origin.content("k").unwrap();
    world.origin.fault("k", Fault::WeakETag);
    world.origin.fault_times("k", 1, Fault::ResetAt(400_000));
    world.origin.hold("k", At::Byte(300_000));
    let bucket = world.bucket().await;
    let reading = async {
        let answer = world.engine.get(&bucket, &caller(), GetRequest::of(key("k"))).await;
        collect(body_of(answer.result.unwrap())).await
    };
    let change = async {
        world.origin.wait_for_held("k", At::Byte(300_000)).await;
        let fourth = world.origin.replace("k");
        world.origin.release("k");
        fourth
    };
    let (read, fourth) = tokio::join!(reading, change);
    if let Ok(read) = read {
        assert!(same(&read, &third) || same(&read, &fourth), "a mixture");
    }
    world.settled().await;
}

/// 6. A weak ETag says that two bodies are alike, and they are served as one.
#[tokio::test(start_paused = true)]
async fn mistake_06_weak_and_strong_etags_share_a_body() {
    weak_tags().await;
}

async fn readers_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, entropy) = (World::clock(), Arc::new(SeededEntropy::new(3)));
    let store = Store::open(dir.path(), options(), clock.clone(), entropy).await.unwrap();
    let world = World::over(store, clock, BucketMode::Migrate, EngineOptions::default(), |_| ()).await;
    let content = world.origin.object("k", 3_000_000);
    world.get("k").await.unwrap();
    world.settled().await;
    // Clients that go away in mid-body, and ask for what there is not.
    for _ in 0..50 {
        let got = world.ask(GetRequest::of(key("k"))).await.result.unwrap();
        let mut pieces = world.store.pieces(body_of(got));
        assert!(pieces.next().await.unwrap().is_ok());
        let beyond = world.range("k", RangeSpec::From { first: 3_000_000 }).await;
        assert!(matches!(beyond, Err((_, BucketError::RangeNotSatisfiable { .. }))));
    }
    world.store.close().await;
    let clock = world.clock.clone();
    drop(world);
    // A file that cannot be read at this moment, by a process that has not read it before.
    let store =
        Store::open(dir.path(), options(), clock.clone(), Arc::new(SeededEntropy::new(4))).await.unwrap();
    let world = World::over(store, clock, BucketMode::Migrate, EngineOptions::default(), |_| ()).await;
    let file =
        walk(&dir.path().join("blobs")).into_iter().find(|path| path.metadata().unwrap().len() > 1_000_000);
    let (file, away) = (file.unwrap(), dir.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    std::fs::create_dir(&file).unwrap();
    // Nothing is at the origin that could stand for it.
    world.origin.fault("k", Fault::Status(503));
    let got = world.ask(GetRequest::of(key("k"))).await.result;
    let error = match got {
        Ok(object) => match world.store.pieces(body_of(object)).next().await.unwrap() {
            Ok(piece) => panic!("{} bytes of a folder", piece.len()),
            Err(error) => error.to_string(),
        },
        Err(error) => {
            assert!(!matches!(error, BucketError::NoSuchKey), "what cannot be read is not absent");
            error.to_string()
        }
    };
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&away, &file).unwrap();
    world.settled().await;
    let again = world.get("k").await;
    assert!(again.is_ok_and(|again| again.word == CacheWord::Hit && same(&again.bytes, &content)), "{error}");
    assert_eq!(world.origin.calls_of("k", Method::Get), 0, "the entry is as good as it was");
}

/// 7. A reader who fails takes a good entry away. (Where its bytes are damaged, it heals: `tests::scrub`.)
#[tokio::test]
async fn mistake_07_a_readers_error_evicts_a_good_entry() {
    readers_errors().await;
}

/// Files from 65 bytes on.
fn options() -> StoreOptions {
    StoreOptions { small_body_max: 64, reserve_bytes: 0, ..StoreOptions::default() }
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

async fn cancels() {
    let options = EngineOptions { max_in_flight: 1, ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    world.origin.object("busy", 10);
    let content = world.origin.object("k", 300_000);
    world.origin.hold("busy", At::Headers);
    // It gives up as well; its fetch goes on.
    let other = async { world.get("busy").await.is_err() };
    let impatient = async {
        world.origin.wait_for_held("busy", At::Headers).await;
        // Each gives up after a second, before anything comes: first in the queue, for longer than anybody is patient, then
        // while it is fetched.
        for _ in 0..40 {
            let wait = Duration::from_secs(1);
            assert!(tokio::time::timeout(wait, world.get("k")).await.is_err());
        }
        world.origin.hold("k", At::Headers);
        world.origin.release("busy");
        world.origin.wait_for_held("k", At::Headers).await;
        for _ in 0..20 {
            let wait = Duration::from_millis(300);
            assert!(tokio::time::timeout(wait, world.get("k")).await.is_err());
        }
        world.origin.release("k");
    };
    let (gave_up, ()) = tokio::join!(other, impatient);
    assert!(gave_up);
    world.settled().await;
    let got = world.get("k").await.unwrap();
    assert!(got.word == CacheWord::Hit && same(&got.bytes, &content), "{:?}", got.word);
    assert_eq!((world.origin.calls("k"), world.origin.abandoned("k")), (1, 0));
}

/// 11. Clients who hang up end the fetch, and the next one begins it anew: nobody ever gets it.
#[tokio::test(start_paused = true)]
async fn mistake_11_clients_who_cancel_starve_a_fill_for_ever() {
    cancels().await;
}

async fn short_bodies() {
    for (size, weak) in [(1_000, false), (900_000, false), (1_000, true), (900_000, true)] {
        for fault in
            [Fault::TruncateAt(size / 2), Fault::EndAt(size / 2), Fault::EndAt(size - 1), Fault::ResetAt(1)]
        {
            let world = World::new(BucketMode::Migrate).await;
            let content = world.origin.object("k", size);
            world.origin.fault("k", fault.clone());
            if weak {
                world.origin.fault("k", Fault::WeakETag);
            }
            let answer = world.ask(GetRequest::of(key("k"))).await;
            if let Ok(object) = answer.result
                && let Ok(bytes) = collect(Body::Stream(world.store.pieces(body_of(object)))).await
            {
                // Where a strong ETag ties both together, the rest was asked for.
                assert!(!weak && same(&bytes, &content), "{fault:?} of {size}: {} bytes", bytes.len());
            }
            world.settled().await;
            assert!(!weak || world.state("k").await != "filled", "{fault:?} of {size}");
            world.origin.heal("k");
            tokio::time::sleep(Duration::from_secs(600)).await; // Virtual time: the breaker closes.
            let got = world.get("k").await.unwrap();
            assert!(same(&got.bytes, &content) && got.object.size_bytes == Some(size), "{fault:?}");
        }
    }
}

/// 13. A body that ends early is kept as the object.
#[tokio::test(start_paused = true)]
async fn mistake_13_a_short_body_is_stored_as_full() {
    short_bodies().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::NoTombstoneCheck, delete_in_the_window),
        missed(Mutant::WeakTagsAreStrong, weak_tags),
        missed_on_disk(Mutant::UnreadableIsDamaged, readers_errors),
        missed(Mutant::FillLeavesWithClient, cancels),
        missed(Mutant::ShortFillAccepted, short_bodies),
    ]);
}

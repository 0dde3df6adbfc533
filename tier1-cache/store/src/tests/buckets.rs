//! Buckets and their gates.

use super::*;
use crate::{BucketMode, CommitError, Erased, ShadowRule, ShadowTarget};

fn shadowed() -> BucketSettings {
    let target = ShadowTarget::Http { url: "http://behind".to_owned() };
    BucketSettings { mode: BucketMode::Migrate, shadow: vec![ShadowRule::to(target)], ..Default::default() }
}

async fn stores() -> Vec<Store> {
    vec![in_memory(), open(&LossyDisk::new()).await.unwrap()]
}

/// A change of the shadow must stop every commit that was decided under the old one.
pub(super) async fn gate() -> Result<(), String> {
    for store in stores().await {
        let (old, at) = (bucket(&store).await, key("k"));
        let sealed = seal(&store, &bytes_of(1, 10)).await.unwrap();
        let new = store.set_bucket(&old, shadowed()).await.unwrap();
        let fill = NewState::Filled(info(10), provenance());
        let end = store.publish(&old, &at, None, fill.clone(), sealed.clone()).await;
        if !matches!(end, Err(CommitError::Gate)) {
            return Err(format!("a fill under old rules ended with {end:?}"));
        }
        store.publish(&new, &at, None, fill, sealed).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_change_of_the_shadow_stops_what_was_decided_under_the_old_one() {
    gate().await.unwrap();
}

#[tokio::test]
async fn only_shadow_and_mode_raise_the_gate() {
    for store in stores().await {
        let one = bucket(&store).await;
        let owned = BucketSettings { owner: "me".to_owned(), ..Default::default() };
        let two = store.set_bucket(&one, owned.clone()).await.unwrap();
        assert_eq!(two.gate_version, one.gate_version);
        assert!(two.settings_version > one.settings_version);
        let end = store.set_bucket(&one, shadowed()).await;
        assert!(matches!(end, Err(CommitError::Conflict)), "{end:?}");
        let three =
            store.set_bucket(&two, BucketSettings { mode: BucketMode::Cache, ..owned }).await.unwrap();
        assert!(three.gate_version > two.gate_version);
        // As every reader sees it, cached or not.
        assert_eq!(store.bucket(&one.name).await.unwrap().as_ref(), Some(&three));
        store.inner.buckets.clear();
        assert_eq!(store.bucket(&one.name).await.unwrap(), Some(three));
    }
}

#[tokio::test]
async fn creating_is_atomic_and_listing_is_in_order() {
    for store in stores().await {
        for raw in ["ccc", "aaa", "bbb"] {
            let made = store.create_bucket(&name(raw), BucketSettings::default()).await.unwrap();
            assert!(matches!(made, Created::New(_)));
        }
        let again = store.create_bucket(&name("aaa"), shadowed()).await.unwrap();
        assert!(matches!(again, Created::Exists(bucket) if bucket.settings.shadow.is_empty()));
        let names = |found: Vec<Arc<Bucket>>| found.iter().map(|b| b.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(store.buckets(None, 2).await.unwrap()), ["aaa", "bbb"]);
        assert_eq!(names(store.buckets(Some(&name("bbb")), 9).await.unwrap()), ["ccc"]);
        assert_eq!(store.bucket(&name("ddd")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_closed_bucket_takes_nothing_until_it_opens_again() {
    for store in stores().await {
        let (open, at) = (bucket(&store).await, key("k"));
        let closed = store.close_bucket(&open).await.unwrap();
        let seen = store.bucket(&open.name).await.unwrap().unwrap();
        for view in [&open, &seen] {
            let sealed = seal(&store, &bytes_of(1, 10)).await.unwrap();
            let end = store.publish(view, &at, None, NewState::Written(info(10)), sealed).await;
            assert!(matches!(end, Err(CommitError::Gate)), "{end:?}");
            assert!(matches!(store.close_bucket(view).await, Err(CommitError::Gate)));
        }
        let open = store.reopen_bucket(closed).await.unwrap();
        put(&store, &open, &at, &bytes_of(1, 10)).await;
        // A guard that is dropped undecided, as by a client that hangs up, opens it too.
        drop(store.close_bucket(&open).await.unwrap());
        let open = store.bucket(&open.name).await.unwrap().unwrap();
        put(&store, &open, &at, &bytes_of(2, 10)).await;
        // And so does a future that is dropped before it was polled.
        drop(store.close_bucket(&open));
        let open = store.bucket(&open.name).await.unwrap().unwrap();
        put(&store, &open, &at, &bytes_of(3, 10)).await;
    }
}

#[tokio::test]
async fn a_gate_shut_by_a_crash_is_opened() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let closed = store.close_bucket(&bucket).await.unwrap();
    let after = open(&disk.crashed(0)).await.unwrap();
    let opened = after.bucket(&bucket.name).await.unwrap().unwrap();
    put(&after, &opened, &key("k"), &bytes_of(1, 10)).await;
    drop(closed);
}

#[tokio::test]
async fn a_removed_bucket_is_swept_and_its_successor_is_another() {
    let disk = LossyDisk::new();
    for store in [in_memory(), open(&disk).await.unwrap()] {
        let old = bucket(&store).await;
        for n in 0..300 {
            store.erase(&old, &key(&format!("t{n}")), None, Erased::Tombstone).await.unwrap();
        }
        put(&store, &old, &key("large"), &bytes_of(1, 5000)).await;
        let closed = store.close_bucket(&old).await.unwrap();
        store.remove_bucket(closed).await.unwrap();
        store.sweep_due().await;
        assert_eq!(store.bucket(&old.name).await.unwrap(), None);
        let new = bucket(&store).await;
        assert_ne!(new.id, old.id);
        let mine = put(&store, &new, &key("t1"), &bytes_of(2, 10)).await;
        assert_eq!(store.lookup(new.id, &key("t2")).await.unwrap(), None);
        let report = store.sweep().await.unwrap();
        assert_eq!((report.rows_removed, report.buckets_finished), (301, 1));
        assert_eq!(store.scan(old.id, std::ops::Bound::Unbounded, "", 10).await.unwrap(), vec![]);
        assert_eq!(store.lookup(new.id, &key("t1")).await.unwrap(), Some(mine));
        assert_eq!(disk.names("blobs/").len(), 0);
        let end = seal(&store, &bytes_of(3, 10)).await.unwrap();
        let end = store.publish(&old, &key("k"), None, NewState::Written(info(10)), end).await;
        assert!(matches!(end, Err(CommitError::Gate)));
    }
}

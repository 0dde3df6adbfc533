//! Publish, erase, observe, and what readers see.

use std::ops::Bound;

use super::*;
use crate::{BlobRef, CommitError, EntryState, Erased, Observation, Revision};

/// Every fact holds for a store in memory and for one on a disk.
async fn stores() -> Vec<Store> {
    vec![in_memory(), open(&LossyDisk::new()).await.unwrap()]
}

#[tokio::test]
async fn bodies_of_every_size_class_read_back_whole_and_in_ranges() {
    for store in stores().await {
        let bucket = bucket(&store).await;
        for len in [0, 1, 64, 65, 256, 257, 131_072, 131_073, 700_001] {
            let (at, body) = (key(&format!("k{len}")), bytes_of(len as u64, len));
            let entry = put(&store, &bucket, &at, &body).await;
            let stored = entry.state.stored().unwrap();
            match (len, &stored.blob) {
                (0, BlobRef::Empty) | (1..=64, BlobRef::Row(_)) | (65.., BlobRef::File(_)) => {}
                other => panic!("{other:?}"),
            }
            // Twice: verifying, and from what was verified.
            for _ in 0..2 {
                assert_eq!(read(&store, stored).await.unwrap(), body, "{len}");
            }
            for (start, end) in [(0, 1), (len / 2, len), (len.saturating_sub(1), len), (1, len - len / 3)] {
                if start >= end || end > len {
                    continue;
                }
                let range = ByteRange { start: start as u64, end: end as u64 };
                let part = store.open_body(stored, range).await.unwrap();
                assert_eq!(collect(part).await.unwrap(), body[start..end], "{len}: {range:?}");
            }
        }
    }
}

#[tokio::test]
async fn revisions_rise_and_observations_keep_the_one_they_found() {
    for store in stores().await {
        let (bucket, at) = (bucket(&store).await, key("k"));
        let absent = Observation::Absent { until: Timestamp(9), invalid: false };
        let seen = store.observe(&bucket, &at, None, absent.clone()).await.unwrap();
        assert_eq!(seen.revision, Revision(0));
        let known = Observation::Known(info(7), provenance());
        let known = store.observe(&bucket, &at, Some(&seen), known).await.unwrap();
        assert_eq!(known.revision, Revision(0));
        assert!(known.row_version > seen.row_version);
        let sealed = seal(&store, &bytes_of(1, 300)).await.unwrap();
        let filled = NewState::Filled(info(300), provenance());
        let filled = store.publish(&bucket, &at, Some(&known), filled, sealed).await.unwrap();
        assert_eq!(filled.revision.0, filled.row_version);
        let fresh =
            Observation::Fresh(info(300), Provenance { fresh_until: Some(Timestamp(8)), ..provenance() });
        let fresh = store.observe(&bucket, &at, Some(&filled), fresh).await.unwrap();
        assert_eq!(fresh.revision, filled.revision);
        assert!(fresh.row_version > filled.row_version);
        assert_eq!(read(&store, fresh.state.stored().unwrap()).await.unwrap(), bytes_of(1, 300));
        let gone = store.erase(&bucket, &at, Some(&fresh), Erased::Unknown).await.unwrap();
        assert!(gone.0 > fresh.row_version);
        assert_eq!(store.lookup(bucket.id, &at).await.unwrap(), None);
        let again = store.observe(&bucket, &at, None, absent).await.unwrap();
        assert!(again.row_version > gone.0, "a row never looks as it did before");
    }
}

#[tokio::test]
async fn a_stale_view_of_the_row_conflicts_and_writes_nothing() {
    for store in stores().await {
        let (bucket, at) = (bucket(&store).await, key("k"));
        let old = put(&store, &bucket, &at, &bytes_of(1, 10)).await;
        let new = put(&store, &bucket, &at, &bytes_of(2, 400)).await;
        let sealed = seal(&store, &bytes_of(3, 500)).await.unwrap();
        for previous in [None, Some(&*old)] {
            let state = NewState::Written(info(500));
            let end = store.publish(&bucket, &at, previous, state, sealed.clone()).await;
            assert!(matches!(end, Err(CommitError::Conflict)), "{end:?}");
            let end = store.erase(&bucket, &at, previous, Erased::Tombstone).await;
            assert!(matches!(end, Err(CommitError::Conflict)), "{end:?}");
        }
        assert_eq!(store.lookup(bucket.id, &at).await.unwrap().as_ref(), Some(&new));
        // The body is still good for a second try, and for one only.
        let state = NewState::Written(info(500));
        let last = store.publish(&bucket, &at, Some(&new), state.clone(), sealed.clone()).await.unwrap();
        assert_eq!(read(&store, last.state.stored().unwrap()).await.unwrap(), bytes_of(3, 500));
        let end = store.publish(&bucket, &key("other"), None, state, sealed).await;
        assert!(matches!(end, Err(CommitError::Store(_))), "{end:?}");
    }
}

#[tokio::test]
async fn fills_and_observations_never_replace_what_a_client_did() {
    for store in stores().await {
        let (bucket, at) = (bucket(&store).await, key("k"));
        let written = put(&store, &bucket, &at, &bytes_of(1, 10)).await;
        let tombstone = Entry { state: EntryState::Tombstone, ..(*written).clone() };
        for previous in [&*written, &tombstone] {
            let sealed = seal(&store, &bytes_of(2, 20)).await.unwrap();
            let fill = NewState::Filled(info(20), provenance());
            let end = store.publish(&bucket, &at, Some(previous), fill, sealed).await;
            assert!(matches!(end, Err(CommitError::Conflict)));
            for what in [
                Observation::Known(info(1), provenance()),
                Observation::Absent { until: Timestamp(1), invalid: false },
                Observation::Fresh(info(10), provenance()),
            ] {
                let end = store.observe(&bucket, &at, Some(previous), what).await;
                assert!(matches!(end, Err(CommitError::Conflict)));
            }
        }
        assert_eq!(store.lookup(bucket.id, &at).await.unwrap(), Some(written));
    }
}

#[tokio::test]
async fn commits_are_ordered_when_called_and_happen_without_being_awaited() {
    for store in stores().await {
        let (bucket, at) = (bucket(&store).await, key("k"));
        let one = seal(&store, &bytes_of(1, 10)).await.unwrap();
        let two = seal(&store, &bytes_of(2, 20)).await.unwrap();
        let first = store.publish(&bucket, &at, None, NewState::Written(info(10)), one);
        let second = store.publish(&bucket, &at, None, NewState::Written(info(20)), two);
        // Polled in the other order: the first call wins all the same.
        assert!(matches!(second.await, Err(CommitError::Conflict)));
        drop(first);
        let entry = store.lookup(bucket.id, &at).await.unwrap().unwrap();
        assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), bytes_of(1, 10));
    }
}

#[tokio::test]
async fn an_overwrite_releases_the_old_bytes_and_readers_of_them_finish() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let old = put(&store, &bucket, &at, &bytes_of(1, 600_000)).await;
    let stored = old.state.stored().unwrap();
    let body = store.open_body(stored, ByteRange::whole(600_000)).await.unwrap();
    assert!(matches!(body, Body::Stream(_)));
    assert_eq!(disk.names("blobs/").len(), 1);
    let small = put(&store, &bucket, &at, &bytes_of(2, 30)).await;
    assert_eq!(disk.names("blobs/"), Vec::<String>::new());
    assert_eq!(collect(body).await.unwrap(), bytes_of(1, 600_000));
    // Who only looked it up before is told to look again, not that it is lost.
    assert!(matches!(read(&store, stored).await, Err(StoreError::Superseded)));
    store.erase(&bucket, &at, Some(&small), Erased::Tombstone).await.unwrap();
    assert!(matches!(read(&store, small.state.stored().unwrap()).await, Err(StoreError::Superseded)));
}

#[tokio::test]
async fn a_body_that_is_given_up_leaves_nothing() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let mut staging = store.stage(Some(1000)).unwrap();
    staging.append(bytes_of(1, 1000)).await.unwrap();
    assert_eq!(disk.names("staging/").len(), 1);
    drop(staging);
    assert_eq!(disk.names("staging/").len(), 0);
    let sealed = seal(&store, &bytes_of(1, 1000)).await.unwrap();
    assert_eq!(disk.names("blobs/").len(), 1);
    drop(sealed.clone());
    assert_eq!(disk.names("blobs/").len(), 1);
    drop(sealed);
    assert_eq!(disk.names("blobs/").len(), 0);
}

#[tokio::test]
async fn scans_are_bytewise_and_keep_to_prefix_bound_and_limit() {
    for store in stores().await {
        let bucket = bucket(&store).await;
        for raw in ["a", "a/b", "a/c", "a0", "b", "é"] {
            put(&store, &bucket, &key(raw), &bytes_of(1, 3)).await;
        }
        store.erase(&bucket, &key("a/d"), None, Erased::Tombstone).await.unwrap();
        let cases: [(Bound<&str>, &str, usize, &[&str]); 5] = [
            (Bound::Unbounded, "", 100, &["a", "a/b", "a/c", "a/d", "a0", "b", "é"]),
            (Bound::Unbounded, "a/", 100, &["a/b", "a/c", "a/d"]),
            (Bound::Excluded("a/b"), "a/", 1, &["a/c"]),
            (Bound::Included("b"), "", 100, &["b", "é"]),
            (Bound::Excluded("b"), "a", 100, &[]),
        ];
        for (from, prefix, limit, want) in cases {
            let found = store.scan(bucket.id, from, prefix, limit).await.unwrap();
            let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, want, "{from:?} {prefix}");
        }
    }
}

/// A lookup that read the row before a commit must not put what it read into the cache after it.
pub(super) async fn late_insert() -> Result<(), String> {
    let store = in_memory();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let old = put(&store, &bucket, &at, &bytes_of(1, 10)).await;
    // The lookup, taken apart: sequence, then row ...
    let sequence = store.inner.kv.sequence();
    // ... then somebody deletes the key ...
    store.erase(&bucket, &at, Some(&old), Erased::Tombstone).await.unwrap();
    store.inner.hot.committed(bucket.id, &at, store.inner.kv.sequence(), None);
    // ... then the lookup offers what it had read.
    store.inner.hot.offer(bucket.id, &at, &old, sequence);
    match store.lookup(bucket.id, &at).await.unwrap() {
        Some(entry) if entry.state == EntryState::Tombstone => Ok(()),
        other => Err(format!("a deleted object is back: {other:?}")),
    }
}

#[tokio::test]
async fn a_late_insert_never_outlives_an_invalidation() {
    late_insert().await.unwrap();
}

#[tokio::test]
async fn access_keys_come_and_go_and_do_not_show_their_secret() {
    for store in stores().await {
        let row = crate::AccessKeyRow {
            id: "AKID".to_owned(),
            secret: "do-not-print".to_owned(),
            account: "me".to_owned(),
            created: Timestamp(1),
            expires: None,
            grants: None,
        };
        store.put_access_key(&row).await.unwrap();
        assert_eq!(store.access_key("AKID").await.unwrap(), Some(row.clone()));
        assert_eq!(store.access_key("AKI").await.unwrap(), None);
        assert!(!format!("{row:?}").contains("do-not-print"));
        assert_eq!(store.access_keys(None, 10).await.unwrap(), vec![row]);
        assert_eq!(store.access_keys(Some("AKID"), 10).await.unwrap(), vec![]);
        assert!(store.delete_access_key("AKID").await.unwrap());
        assert!(!store.delete_access_key("AKID").await.unwrap());
    }
}

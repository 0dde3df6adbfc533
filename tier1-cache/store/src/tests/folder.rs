//! A store in a real folder, with its threads.

use std::os::unix::fs::PermissionsExt;

use fallthrough_object::OsEntropy;

use super::*;
use crate::{CommitError, Erased};

async fn open_dir(dir: &std::path::Path) -> Result<Store, StoreError> {
    Store::open(dir, options(), clock(), Arc::new(OsEntropy)).await
}

#[tokio::test]
async fn a_folder_is_private_and_has_one_owner_at_a_time() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let store = open_dir(&dir).await.unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let index = std::fs::metadata(dir.join("index.redb")).unwrap();
    assert_eq!(index.permissions().mode() & 0o777, 0o600);
    match open_dir(&dir).await {
        Err(StoreError::InUse { path, pid }) => {
            assert_eq!((path, pid), (dir.clone(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    store.close().await;
    drop(store);
    let again = open_dir(&dir).await.unwrap();
    assert_eq!(again.status().epoch, 2);
    again.close().await;
}

#[tokio::test]
async fn a_newer_format_is_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "fallthrough-store 5\n").unwrap();
    match open_dir(dir.path()).await {
        Err(error @ StoreError::NewerFormat { found: 5, known: 4 }) => {
            let told = error.to_string();
            assert!(
                told.contains("format 5") && told.contains("up to 4") && told.contains("newer"),
                "{told}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(!dir.path().join("index.redb").exists() && !dir.path().join("blobs").exists());
    std::fs::write(dir.path().join("FORMAT"), "something else\n").unwrap();
    assert!(matches!(open_dir(dir.path()).await, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn a_lost_index_is_told_and_not_replaced_by_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_dir(dir.path()).await.unwrap();
    let made = bucket(&store).await;
    put(&store, &made, &key("k"), &bytes_of(1, 1000)).await;
    store.close().await;
    drop(store);
    std::fs::rename(dir.path().join("index.redb"), dir.path().join("saved")).unwrap();
    assert!(matches!(open_dir(dir.path()).await, Err(StoreError::Corrupt { .. })));
    std::fs::rename(dir.path().join("saved"), dir.path().join("index.redb")).unwrap();
    let store = open_dir(dir.path()).await.unwrap();
    let entry = store.lookup(made.id, &key("k")).await.unwrap().unwrap();
    assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), bytes_of(1, 1000));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_all_sizes_survive_a_restart_and_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_dir(dir.path()).await.unwrap();
    let made = bucket(&store).await;
    let lens = [0, 10, 64, 65, 1000, 300_000, 2_000_000];
    for len in lens {
        put(&store, &made, &key(&format!("k{len}")), &bytes_of(len as u64, len)).await;
    }
    // Garbage of this start, which the next one sweeps; and a file that is none of ours.
    let mut staging = store.stage(None).unwrap();
    staging.append(bytes_of(9, 1000)).await.unwrap();
    std::fs::write(dir.path().join("staging/0000000000000001-00000000000000ff"), "left").unwrap();
    std::fs::write(dir.path().join("blobs/ff/0000000000000001-00000000000000ff"), "left").unwrap();
    std::fs::write(dir.path().join("blobs/ff/notes.txt"), "mine").unwrap();
    drop(staging);
    store.close().await;
    let refused = store.erase(&made, &key("k10"), None, Erased::Unknown).await;
    assert!(matches!(refused, Err(CommitError::Store(StoreError::Unavailable(_)))));
    drop(store);
    let store = open_dir(dir.path()).await.unwrap();
    let report = store.sweep().await.unwrap();
    assert_eq!((report.staging_removed, report.blobs_removed), (1, 1));
    assert!(dir.path().join("blobs/ff/notes.txt").exists());
    for len in lens {
        let entry = store.lookup(made.id, &key(&format!("k{len}"))).await.unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), bytes_of(len as u64, len));
        }
        let whole = ByteRange::whole(len as u64);
        let body = store.open_body(entry.state.stored().unwrap(), whole).await.unwrap();
        // Verified by the reads above: large ones can be sent from the file.
        match body {
            Body::File(range) => assert!(range.file.as_file().is_some() && len > 256 << 10),
            Body::Bytes(_) => assert!(len <= 256 << 10),
            Body::Stream(_) => panic!("verified twice"),
        }
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_share_syncs_and_every_acknowledged_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_dir(dir.path()).await.unwrap();
    let made = bucket(&store).await;
    let writers = (0..16u64).map(|writer| {
        let (store, made) = (store.clone(), made.clone());
        async move {
            for n in 0..20u64 {
                let at = key(&format!("{writer}/{n}"));
                let announced = store.announce();
                let sealed = seal(&store, &bytes_of(writer * 1000 + n, 50)).await.unwrap();
                let end = store.publish(&made, &at, None, NewState::Written(info(50)), sealed);
                drop(announced);
                end.await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let status = store.status();
    assert!(status.commits >= 320 && status.commit_groups < status.commits / 2, "{status:?}");
    store.close().await;
    drop(store);
    let store = open_dir(dir.path()).await.unwrap();
    for writer in 0..16u64 {
        for n in 0..20u64 {
            let entry = store.lookup(made.id, &key(&format!("{writer}/{n}"))).await.unwrap().unwrap();
            let body = read(&store, entry.state.stored().unwrap()).await.unwrap();
            assert_eq!(body, bytes_of(writer * 1000 + n, 50));
        }
    }
    store.close().await;
}

#[tokio::test]
async fn a_full_queue_answers_busy_and_the_body_can_be_published_later() {
    let dir = tempfile::tempdir().unwrap();
    let small_queue = StoreOptions { queue_bytes: 1, ..options() };
    let store = Store::open(dir.path(), small_queue, clock(), Arc::new(OsEntropy)).await.unwrap();
    let made = bucket(&store).await;
    let sealed = seal(&store, &bytes_of(1, 400)).await.unwrap();
    let mut bodies = Vec::new();
    for n in 0..64 {
        bodies.push(seal(&store, &bytes_of(n, 50)).await.unwrap());
    }
    // Ordered without being awaited: one may wait while the writer syncs another, the rest find it full.
    let publish = |(n, body): (usize, Sealed)| {
        store.publish(&made, &key(&format!("k{n}")), None, NewState::Written(info(50)), body)
    };
    let pending: Vec<_> = bodies.into_iter().enumerate().map(publish).collect();
    let last = key("last");
    let end = store.publish(&made, &last, None, NewState::Written(info(400)), sealed.clone());
    let ends = futures::future::join_all(pending).await;
    let busy = |end: &Result<_, CommitError>| matches!(end, Err(CommitError::Store(StoreError::Busy)));
    assert!(ends.iter().any(Result::is_ok) && ends.iter().any(busy));
    assert!(ends.iter().all(|end| end.is_ok() || busy(end)), "{ends:?}");
    assert!(busy(&end.await));
    let end = store.publish(&made, &last, None, NewState::Written(info(400)), sealed).await;
    assert_eq!(read(&store, end.unwrap().state.stored().unwrap()).await.unwrap(), bytes_of(1, 400));
    store.close().await;
}

//! Multipart uploads, objects in several files, and copies that share them.

use super::*;
use crate::{CommitError, CopyOf, Erased, NewPart, Part, Upload, UploadRow, UploadedParts};

async fn begin(store: &Store, bucket: &Bucket, at: &str) -> Upload {
    let row = UploadRow { initiator: "me".to_owned(), ..UploadRow::default() };
    store.create_upload(bucket, &key(at), row).await.unwrap()
}

async fn part(store: &Store, bucket: &Bucket, upload: &Upload, number: u32, body: &Bytes) {
    try_part(store, bucket, upload, number, body).await.unwrap();
}

async fn try_part(
    store: &Store,
    bucket: &Bucket,
    upload: &Upload,
    number: u32,
    body: &Bytes,
) -> Result<(), CommitError> {
    let mut staging = store.stage(None)?;
    staging.append(body.clone()).await?;
    let sealed = staging.seal_part().await?;
    let info = NewPart {
        size_bytes: body.len() as u64,
        md5: [number as u8; 16],
        checksums: Vec::new(),
        last_modified: Timestamp(5),
    };
    store.put_part(bucket.id, upload, number, info, sealed).await
}

async fn listed(store: &Store, bucket: &Bucket, upload: &Upload) -> Vec<Part> {
    store.parts(bucket.id, upload.id, 0, 10_000).await.unwrap()
}

async fn complete(
    store: &Store,
    bucket: &Bucket,
    upload: &Upload,
    parts: &UploadedParts,
) -> Result<Arc<Entry>, CommitError> {
    let previous = store.lookup(bucket.id, &upload.key).await?;
    let len: u64 = parts.listed.iter().map(|part| part.info.size_bytes).sum();
    let info = ObjectInfo { upload: Some(upload.id), ..info(len as usize) };
    store.publish_parts(bucket, &upload.key, previous.as_deref(), info, upload, parts).await
}

fn blobs(disk: &LossyDisk) -> usize {
    disk.names("blobs/").len()
}

#[tokio::test]
async fn parts_outlive_a_crash_and_become_an_object_in_one_commit() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    put(&store, &bucket, &key("k"), &bytes_of(9, 500)).await;
    let upload = begin(&store, &bucket, "k").await;
    let bodies: Vec<_> = (1..=4u64).map(|n| bytes_of(n, [10, 300, 0, 1000][n as usize - 1])).collect();
    for (number, body) in (1u32..).zip(&bodies) {
        part(&store, &bucket, &upload, number, &bytes_of(77, 123)).await;
        part(&store, &bucket, &upload, number, body).await;
    }
    part(&store, &bucket, &upload, 8, &bytes_of(8, 20)).await;
    store.close().await;
    let disk = disk.crashed(3);
    let store = open(&disk).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().uploads_removed, 0);
    // The old object, three parts with bytes and the one that will not be listed: what was replaced is gone.
    assert_eq!(blobs(&disk), 5);
    let found = store.upload(bucket.id, &key("k"), upload.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&upload));
    let (listed, unlisted): (Vec<_>, Vec<_>) =
        listed(&store, &bucket, &upload).await.into_iter().partition(|part| part.number < 8);
    assert_eq!((listed.len(), unlisted.len()), (4, 1));
    let entry = complete(&store, &bucket, &upload, &UploadedParts { listed, unlisted }).await.unwrap();
    let whole = bodies.concat();
    assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), whole);
    store.close().await;
    let disk = disk.crashed(4);
    let store = open(&disk).await.unwrap();
    store.sweep().await.unwrap();
    let entry = store.lookup(bucket.id, &key("k")).await.unwrap().unwrap();
    let stored = entry.state.stored().unwrap();
    assert_eq!(read(&store, stored).await.unwrap(), whole);
    for (start, end) in [(0, 1), (9, 11), (5, 1310), (310, 311), (0, 10), (1309, 1310)] {
        let body = store.open_body(stored, ByteRange { start, end }).await.unwrap();
        assert_eq!(collect(body).await.unwrap(), whole[start as usize..end as usize], "{start}..{end}");
    }
    assert_eq!(store.upload(bucket.id, &key("k"), upload.id).await.unwrap(), None);
    assert_eq!(blobs(&disk), 3);
    store.erase(&bucket, &key("k"), Some(&entry), Erased::Unknown).await.unwrap();
    store.close().await;
    assert_eq!(blobs(&disk), 0);
}

#[tokio::test]
async fn an_upload_that_has_ended_takes_no_parts() {
    for store in [in_memory(), open(&LossyDisk::new()).await.unwrap()] {
        let bucket = bucket(&store).await;
        let aborted = begin(&store, &bucket, "k").await;
        part(&store, &bucket, &aborted, 1, &bytes_of(1, 100)).await;
        assert!(store.abort_upload(bucket.id, &aborted).await.unwrap());
        assert!(!store.abort_upload(bucket.id, &aborted).await.unwrap());
        let late = try_part(&store, &bucket, &aborted, 2, &bytes_of(1, 100)).await;
        assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
        assert!(listed(&store, &bucket, &aborted).await.is_empty());

        let upload = begin(&store, &bucket, "k").await;
        part(&store, &bucket, &upload, 1, &bytes_of(1, 100)).await;
        let parts = UploadedParts { listed: listed(&store, &bucket, &upload).await, unlisted: Vec::new() };
        // Replaced since it was read: what was promised is not what is there.
        part(&store, &bucket, &upload, 1, &bytes_of(2, 100)).await;
        let stale = complete(&store, &bucket, &upload, &parts).await;
        assert!(matches!(stale, Err(CommitError::Store(StoreError::Superseded))), "{stale:?}");
        let parts = UploadedParts { listed: listed(&store, &bucket, &upload).await, unlisted: Vec::new() };
        complete(&store, &bucket, &upload, &parts).await.unwrap();
        let again = complete(&store, &bucket, &upload, &parts).await;
        assert!(matches!(again, Err(CommitError::Store(StoreError::Superseded))), "{again:?}");
        let late = try_part(&store, &bucket, &upload, 2, &bytes_of(1, 100)).await;
        assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
    }
}

/// A crash between the end of an upload and the removal of its parts, and a bucket that is removed with uploads on
/// their way: the sweep leaves nothing of either.
#[tokio::test]
async fn what_is_left_over_of_uploads_is_swept() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let first = bucket(&store).await;
    let (ended, alive) = (begin(&store, &first, "a").await, begin(&store, &first, "b").await);
    for upload in [&ended, &alive] {
        for number in 1..=3 {
            part(&store, &first, upload, number, &bytes_of(u64::from(number), 100)).await;
        }
    }
    let row = crate::rows::upload(first.id, "a", ended.id);
    let commit = crate::kv::Commit { writes: vec![crate::store::remove(row)], ..Default::default() };
    store.inner.commit(commit).await.unwrap().unwrap();
    store.close().await;
    let disk = disk.crashed(1);
    let store = open(&disk).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().uploads_removed, 3);
    assert_eq!(listed(&store, &first, &alive).await.len(), 3);
    store.close().await;
    assert_eq!(blobs(&disk), 3);
    let store = open(&disk).await.unwrap();
    let first = store.bucket(&first.name).await.unwrap().unwrap();
    let closed = store.close_bucket(&first).await.unwrap();
    store.remove_bucket(closed).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().uploads_removed, 4);
    let late = try_part(&store, &first, &alive, 4, &bytes_of(1, 100)).await;
    assert!(matches!(late, Err(CommitError::Conflict)), "{late:?}");
    store.close().await;
    assert_eq!(blobs(&disk), 0);
}

/// The sweep of a start looks at each upload with parts twice, however many others there are.
#[tokio::test]
async fn the_sweep_of_parts_reads_a_few_rows_for_each_upload() {
    for uploads in [100, 1_000] {
        let (store, counted) = counting::counting();
        let bucket = bucket(&store).await;
        for n in 0..uploads {
            let upload = begin(&store, &bucket, &format!("k{n}")).await;
            for number in 1..=3 {
                part(&store, &bucket, &upload, number, &Bytes::new()).await;
            }
            if n % 10 == 0 {
                let row = crate::rows::upload(bucket.id, upload.key.as_str(), upload.id);
                let commit =
                    crate::kv::Commit { writes: vec![crate::store::remove(row)], ..Default::default() };
                store.inner.commit(commit).await.unwrap().unwrap();
            }
        }
        let mut report = crate::SweepReport::default();
        counted.take();
        store.sweep_parts(&mut report).await.unwrap();
        // Its first part and its own row; of one that ended the three parts, and that there are no more.
        assert_eq!(counted.take(), uploads * 2 + uploads / 10 * 4 + 1);
        assert_eq!(report.uploads_removed, uploads / 10 * 3);
    }
}

#[tokio::test]
async fn uploads_are_in_the_order_of_their_keys() {
    let store = in_memory();
    let bucket = bucket(&store).await;
    let keys = ["a", "a\0", "a\0b", "a\u{1}", "ab", "b", "b", "é"];
    for at in ["b", "é", "a\0b", "a", "a\u{1}", "a\0", "ab", "b"] {
        begin(&store, &bucket, at).await;
    }
    let all = store.uploads(bucket.id, "", None, 100).await.unwrap();
    assert_eq!(all.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), keys);
    for (n, upload) in all.iter().enumerate() {
        let after = Some((upload.key.as_str(), Some(upload.id)));
        assert_eq!(store.uploads(bucket.id, "", after, 100).await.unwrap(), all[n + 1..], "{n}");
        let behind_key = store.uploads(bucket.id, "", Some((upload.key.as_str(), None)), 100).await.unwrap();
        let want: Vec<_> = all.iter().filter(|other| other.key > upload.key).cloned().collect();
        assert_eq!(behind_key, want, "{n}");
    }
    let under = store.uploads(bucket.id, "a\0", Some(("A", None)), 100).await.unwrap();
    assert_eq!(under, all[1..3]);
    assert!(store.uploads(bucket.id, "a", Some(("zz", None)), 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn copies_share_files_and_go_their_own_ways() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let upload = begin(&store, &bucket, "parts").await;
    for number in 1..=3 {
        part(&store, &bucket, &upload, number, &bytes_of(u64::from(number), 400)).await;
    }
    let parts = UploadedParts { listed: listed(&store, &bucket, &upload).await, unlisted: Vec::new() };
    complete(&store, &bucket, &upload, &parts).await.unwrap();
    put(&store, &bucket, &key("file"), &bytes_of(9, 500)).await;
    for of in ["parts", "file"] {
        let entry = store.lookup(bucket.id, &key(of)).await.unwrap().unwrap();
        let stored = entry.state.stored().unwrap();
        let body = read(&store, stored).await.unwrap();
        let files = blobs(&disk);
        let to = key(&format!("copy of {of}"));
        let source = CopyOf { bucket: bucket.id, key: &key(of), entry: &entry };
        let copied = store.publish_copy(&bucket, &to, None, (*stored.info).clone(), source).await.unwrap();
        assert_eq!(blobs(&disk), files, "nothing is copied");
        store.erase(&bucket, &key(of), Some(&entry), Erased::Unknown).await.unwrap();
        assert_eq!(read(&store, copied.state.stored().unwrap()).await.unwrap(), body);
        // The source is not what it was: its files may be gone.
        let late = store.publish_copy(&bucket, &key("late"), None, (*stored.info).clone(), source).await;
        assert!(matches!(late, Err(CommitError::Store(StoreError::Superseded))), "{late:?}");
        store.erase(&bucket, &to, Some(&copied), Erased::Unknown).await.unwrap();
    }
    store.close().await;
    assert_eq!(blobs(&disk), 0);
}

#[tokio::test]
async fn what_is_amended_keeps_its_bytes_and_counts_as_written() {
    for store in [in_memory(), open(&LossyDisk::new()).await.unwrap()] {
        let bucket = bucket(&store).await;
        for len in [0usize, 40, 1000] {
            let (at, body) = (key(&format!("k{len}")), bytes_of(1, len));
            let sealed = seal(&store, &body).await.unwrap();
            let state = NewState::Filled(info(len), provenance());
            let filled = store.publish(&bucket, &at, None, state, sealed).await.unwrap();
            let mut amended = info(len);
            amended.tags = vec![fallthrough_object::Tag { key: "a".to_owned(), value: "b".to_owned() }];
            let entry = store.amend(&bucket, &at, Some(&filled), amended.clone()).await.unwrap();
            assert!(matches!(&entry.state, crate::EntryState::Written(stored) if *stored.info == amended));
            assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), body);
            let stale = store.amend(&bucket, &at, Some(&filled), amended.clone()).await;
            assert!(matches!(stale, Err(CommitError::Conflict)), "{stale:?}");
            let other_length = ObjectInfo { size_bytes: 7, ..amended };
            let wrong = store.amend(&bucket, &at, Some(&entry), other_length).await;
            assert!(matches!(wrong, Err(CommitError::Conflict)), "{wrong:?}");
        }
    }
}

/// A reader of an object in several files opens them one by one, and finds them all.
#[tokio::test]
async fn a_reader_finds_the_files_of_what_was_deleted() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let upload = begin(&store, &bucket, "k").await;
    let bodies: Vec<_> = (1..=5u64).map(|n| bytes_of(n, 200_000)).collect();
    for (number, body) in (1u32..).zip(&bodies) {
        part(&store, &bucket, &upload, number, body).await;
    }
    let parts = UploadedParts { listed: listed(&store, &bucket, &upload).await, unlisted: Vec::new() };
    let entry = complete(&store, &bucket, &upload, &parts).await.unwrap();
    let stored = entry.state.stored().unwrap();
    let reading = store.open_body(stored, ByteRange { start: 5, end: 900_000 }).await.unwrap();
    store.erase(&bucket, &key("k"), Some(&entry), Erased::Unknown).await.unwrap();
    let late = store.open_body(stored, ByteRange::whole(1_000_000)).await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert_eq!(blobs(&disk), 5, "they stay while somebody reads");
    assert!(collect(reading).await.unwrap() == bodies.concat()[5..900_000]);
    store.close().await;
    assert_eq!(blobs(&disk), 0, "and go with the last reader");
}

/// Of an object in several files only the damaged ones go into quarantine.
#[tokio::test]
async fn a_damaged_part_is_found_and_put_aside_alone() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let upload = begin(&store, &bucket, "k").await;
    for number in 1..=3 {
        part(&store, &bucket, &upload, number, &bytes_of(u64::from(number), 400)).await;
    }
    let parts = UploadedParts { listed: listed(&store, &bucket, &upload).await, unlisted: Vec::new() };
    let entry = complete(&store, &bucket, &upload, &parts).await.unwrap();
    let stored = entry.state.stored().unwrap();
    let crate::BlobRef::Parts(files) = &stored.blob else { panic!("not in parts") };
    let id = files[1].id;
    let name = disk.names("blobs/").into_iter().find(|name| name.ends_with(&format!("{:016x}", id.number)));
    disk.damage(&name.unwrap(), 17);
    let mut check = store.check_body(stored).await.unwrap();
    let ended = loop {
        match check.step().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(matches!(ended, Err(StoreError::Corrupt { .. })), "{ended:?}");
    assert!(store.quarantine(&bucket, &key("k"), &entry, "a bit").await.unwrap());
    assert!(store.in_quarantine(&entry).await.unwrap());
    assert_eq!((disk.names("quarantine/").len(), blobs(&disk)), (1, 2));
    assert!(read(&store, stored).await.is_err());
    let body = store.open_body(stored, ByteRange { start: 0, end: 400 }).await.unwrap();
    assert_eq!(collect(body).await.unwrap(), bytes_of(1, 400), "what is sound is served");
}

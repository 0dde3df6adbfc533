//! The life of a damaged blob: never served again, kept where nobody else has its bytes, listed, discarded.

use super::*;
use crate::{Erased, Quarantined};

/// In the index, in a file.
const LENS: [usize; 2] = [40, 3000];

async fn fill(store: &Store, bucket: &Bucket, at: &Key, body: &Bytes) -> Arc<Entry> {
    let previous = store.lookup(bucket.id, at).await.unwrap();
    let sealed = seal(store, body).await.unwrap();
    let state = NewState::Filled(info(body.len()), provenance());
    store.publish(bucket, at, previous.as_deref(), state, sealed).await.unwrap()
}

async fn all(store: &Store) -> Vec<Quarantined> {
    store.quarantined(None, 100).await.unwrap()
}

fn expect(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

async fn refused(store: &Store, entry: &Entry) -> bool {
    let stored = entry.state.stored().unwrap();
    let len = stored.info.size_bytes;
    let part = store.open_body(stored, ByteRange { start: len / 2, end: len }).await;
    matches!(part, Err(StoreError::Corrupt { .. }))
        && matches!(read(store, stored).await, Err(StoreError::Corrupt { .. }))
}

/// What a client wrote: out of reach at once and after every restart, also if its bytes look sound; kept when
/// its object is overwritten or deleted; gone when it is discarded, and not before.
pub(super) async fn written() -> Result<(), String> {
    for (len, overwrite) in LENS.iter().flat_map(|len| [(*len, true), (*len, false)]) {
        let disk = LossyDisk::new();
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        let (made, at) = (bucket(&store).await, key("k"));
        let entry = put(&store, &made, &at, &bytes_of(1, len)).await;
        // Somebody has it open, and memory has it.
        read(&store, entry.state.stored().unwrap()).await.map_err(|e| e.to_string())?;
        let done = store.quarantine(&made, &at, &entry, "test").await.map_err(|e| e.to_string())?;
        expect("put aside", done)?;
        expect("served from quarantine", refused(&store, &entry).await)?;
        // A second finder changes nothing.
        expect("found twice", store.quarantine(&made, &at, &entry, "again").await.unwrap())?;
        let store = open(&disk.crashed(3)).await.map_err(|e| e.to_string())?;
        expect("served after a restart", refused(&store, &entry).await)?;
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        store.sweep().await.map_err(|e| e.to_string())?;
        expect("served after the sweep", refused(&store, &entry).await)?;
        let listed = all(&store).await;
        expect("listed once", listed.len() == 1 && store.status().quarantined == 1)?;
        let row = &listed[0].row;
        expect(
            "listed as it is",
            (row.bucket.as_str(), row.key.as_str(), row.what.as_str()) == ("bucket", "k", "test"),
        )?;
        expect("listed as written", row.written && row.size_bytes == len as u64)?;
        let id = listed[0].blob;
        expect("in use, and discarded all the same", !store.discard_quarantined(id).await.unwrap())?;
        // The key is free to be written again.
        if overwrite {
            let now = put(&store, &made, &at, &bytes_of(2, len)).await;
            let body = read(&store, now.state.stored().unwrap()).await.map_err(|e| e.to_string())?;
            expect("the new object", body == bytes_of(2, len))?;
        } else {
            store.erase(&made, &at, Some(&entry), Erased::Unknown).await.map_err(|e| e.to_string())?;
        }
        let store = open(&disk.crashed(1)).await.map_err(|e| e.to_string())?;
        store.sweep().await.map_err(|e| e.to_string())?;
        let listed = all(&store).await;
        expect("kept after its object went", listed.len() == 1 && listed[0].kept_bytes.is_some())?;
        expect("discarded", store.discard_quarantined(id).await.unwrap())?;
        expect("nothing left", all(&store).await.is_empty() && store.status().quarantined == 0)?;
        expect("discarded twice", !store.discard_quarantined(id).await.unwrap())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_written_blob_is_never_served_again_and_kept_until_it_is_discarded() {
    written().await.unwrap();
}

#[tokio::test]
async fn a_filled_blob_goes_with_the_commit_that_replaces_it() {
    for len in LENS {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let (made, at) = (bucket(&store).await, key("k"));
        let entry = fill(&store, &made, &at, &bytes_of(1, len)).await;
        assert!(store.quarantine(&made, &at, &entry, "test").await.unwrap());
        assert!(refused(&store, &entry).await);
        assert_eq!(disk.names("quarantine/").len(), 1);
        let healed = fill(&store, &made, &at, &bytes_of(1, len)).await;
        assert_eq!(read(&store, healed.state.stored().unwrap()).await.unwrap(), bytes_of(1, len));
        assert_eq!((all(&store).await, store.status().quarantined), (Vec::new(), 0));
        assert_eq!(disk.names("quarantine/"), Vec::<String>::new());
        for seed in 0..8 {
            let image = disk.crashed(seed);
            let store = open(&image).await.unwrap();
            store.sweep().await.unwrap();
            assert_eq!(store.status().quarantined, 0);
            assert_eq!(image.names("quarantine/").len(), 0);
            assert_eq!(image.names("blobs/").len(), usize::from(len > 64));
            assert_eq!(read(&store, healed.state.stored().unwrap()).await.unwrap(), bytes_of(1, len));
        }
    }
}

/// Wherever a crash comes while a blob is put aside: it is served or it is not, and if the index says that it is
/// in quarantine it is not; the sweep ends what was begun.
#[tokio::test]
async fn a_crash_while_a_blob_is_put_aside_leaves_it_whole_in_one_place() {
    for len in LENS {
        for changes in 0.. {
            let disk = LossyDisk::new();
            let store = open(&disk).await.unwrap();
            let (made, at) = (bucket(&store).await, key("k"));
            let entry = put(&store, &made, &at, &bytes_of(1, len)).await;
            let stored = entry.state.stored().unwrap();
            disk.kill_after(changes);
            let end = store.quarantine(&made, &at, &entry, "test").await;
            for seed in 0..8 {
                let image = disk.crashed(seed);
                let store = open(&image).await.unwrap();
                match store.status().quarantined {
                    0 => {
                        assert!(end.is_err(), "acknowledged and lost: {len}, {changes}, {seed}");
                        assert_eq!(read(&store, stored).await.unwrap(), bytes_of(1, len));
                    }
                    _ => assert!(refused(&store, &entry).await, "{len}, {changes}, {seed}"),
                }
                store.sweep().await.unwrap();
                let aside = store.status().quarantined as usize;
                assert_eq!(image.names("quarantine/").len(), aside, "{len}, {changes}, {seed}");
                let file = usize::from(len > 64);
                assert_eq!(image.names("blobs/").len(), file - aside * file, "{len}, {changes}, {seed}");
                if let Some(found) = all(&store).await.first() {
                    let path = &image.names("quarantine/")[0];
                    let kept = image.content(path);
                    let at = if file == 1 { 0 } else { 8 };
                    assert_eq!(kept[at..at + len], bytes_of(1, len)[..], "the bytes are kept as they were");
                    assert_eq!(found.kept_bytes, Some(kept.len() as u64));
                }
            }
            if end.is_ok() {
                assert!(changes > 3, "{changes}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_store_in_memory_has_a_quarantine_as_well() {
    let store = in_memory();
    let made = bucket(&store).await;
    for len in LENS {
        let at = key(&format!("k{len}"));
        let entry = put(&store, &made, &at, &bytes_of(1, len)).await;
        assert!(store.quarantine(&made, &at, &entry, "test").await.unwrap());
        assert!(refused(&store, &entry).await);
        put(&store, &made, &at, &bytes_of(2, len)).await;
    }
    let listed = all(&store).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(store.quarantined(Some(listed[0].blob), 10).await.unwrap(), listed[1..]);
    for found in listed {
        assert!(store.discard_quarantined(found.blob).await.unwrap());
    }
    assert_eq!(store.status().quarantined, 0);
}

#[tokio::test]
async fn a_row_of_the_quarantine_of_a_removed_bucket_stays_for_what_was_written() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let made = bucket(&store).await;
    let mine = put(&store, &made, &key("written"), &bytes_of(1, 3000)).await;
    let copy = fill(&store, &made, &key("filled"), &bytes_of(2, 3000)).await;
    assert!(store.quarantine(&made, &key("written"), &mine, "test").await.unwrap());
    assert!(store.quarantine(&made, &key("filled"), &copy, "test").await.unwrap());
    let closed = store.close_bucket(&made).await.unwrap();
    store.remove_bucket(closed).await.unwrap();
    store.sweep().await.unwrap();
    let left = all(&store).await;
    assert_eq!(left.iter().map(|found| found.row.key.as_str()).collect::<Vec<_>>(), ["written"]);
    assert_eq!(disk.names("quarantine/").len(), 1);
    assert_eq!(disk.names("blobs/").len(), 0);
}

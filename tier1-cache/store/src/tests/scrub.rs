//! The store's part of scrubbing: pages, cursors, checks of single bodies.

use super::*;
use crate::{EntryState, Erased, ScrubItem, ScrubRecord};

/// Every entry that has bytes, page by page.
pub(super) async fn items(store: &Store, limit: usize) -> Vec<ScrubItem> {
    let (mut all, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = store.scrub_page(&after, limit).await.unwrap();
        assert!(page.items.len() <= limit && page.rows <= limit as u64);
        assert_eq!(page.damaged, Vec::<String>::new());
        all.extend(page.items);
        match page.last {
            Some(last) => after = last,
            None => return all,
        }
    }
}

/// Compares a body with its checksums to the end.
pub(super) async fn check(store: &Store, entry: &Entry) -> Result<u64, StoreError> {
    let mut check = store.check_body(entry.state.stored().unwrap()).await?;
    let mut bytes = 0;
    while let Some(step) = check.step().await? {
        bytes += step;
    }
    Ok(bytes)
}

async fn stores() -> Vec<Store> {
    vec![in_memory(), open(&LossyDisk::new()).await.unwrap()]
}

#[tokio::test]
async fn pages_of_every_size_have_every_object_with_bytes_once() {
    for store in stores().await {
        let bucket = bucket(&store).await;
        let keys = ["a", "b", "c/d", "e", "é"];
        for (n, raw) in keys.iter().enumerate() {
            put(&store, &bucket, &key(raw), &bytes_of(n as u64, 10 + n * 200)).await;
        }
        put(&store, &bucket, &key("empty"), &Bytes::new()).await;
        store.erase(&bucket, &key("t"), None, Erased::Tombstone).await.unwrap();
        for limit in [1, 2, 3, 7, 100] {
            let found = items(&store, limit).await;
            let names: Vec<&str> = found.iter().map(|item| item.key.as_str()).collect();
            assert_eq!(names, keys, "{limit}");
            for (n, item) in found.iter().enumerate() {
                assert_eq!(check(&store, &item.entry).await.unwrap(), 10 + n as u64 * 200);
            }
        }
    }
}

/// A cursor that went through a restart leads to the row behind it, not past any.
pub(super) async fn resumption() -> Result<(), String> {
    let disk = LossyDisk::new();
    let mut store = open(&disk).await.map_err(|e| e.to_string())?;
    let made = bucket(&store).await;
    let keys: Vec<String> = (0..6).map(|n| format!("k{}", "x".repeat(n))).collect();
    for raw in &keys {
        put(&store, &made, &key(raw), &bytes_of(1, 30)).await;
    }
    let mut seen = Vec::new();
    // One object a start: the cursor of each is what the row of the one before remembers.
    for start in 0..20 {
        let mut record = store.scrub_record().await.map_err(|e| e.to_string())?;
        let after = Store::resume_after(&record.cursor());
        let page = store.scrub_page(&after, 1).await.map_err(|e| e.to_string())?;
        seen.extend(page.items.iter().map(|item| item.key.to_string()));
        let Some(last) = page.last else { break };
        record.set_cursor(&last);
        store.keep_scrub_record(&record).await.map_err(|e| e.to_string())?;
        let after = disk.crashed(start);
        store = open(&after).await.map_err(|e| e.to_string())?;
        assert_eq!(store.scrub_record().await.unwrap(), record);
        // The disk of the first start goes on: what was kept is the same on both.
        let kept = store.scrub_record().await.unwrap();
        store = open(&disk).await.map_err(|e| e.to_string())?;
        store.keep_scrub_record(&kept).await.map_err(|e| e.to_string())?;
    }
    if seen == keys { Ok(()) } else { Err(format!("{seen:?} instead of {keys:?}")) }
}

#[tokio::test]
async fn the_scrubber_goes_on_behind_its_cursor_after_a_restart() {
    resumption().await.unwrap();
}

#[test]
fn a_cursor_that_cannot_be_read_is_the_beginning() {
    let mut record = ScrubRecord::default();
    record.set_cursor(&[0, 0xff, 7]);
    assert_eq!(record.cursor(), [0, 0xff, 7]);
    for broken in ["0", "xx", "00é", "000"] {
        assert_eq!(ScrubRecord { after: broken.to_owned(), ..ScrubRecord::default() }.cursor(), [0u8; 0]);
    }
}

/// The scrubber reads the disk; it does not believe what readers have verified since the start.
pub(super) async fn disbelief() -> Result<(), String> {
    for (len, at_byte) in
        [(400_000, 0), (400_000, 399_999), (400_000, 200_000), (1000, 999), (2_000_000, 1_999_999)]
    {
        let disk = LossyDisk::new();
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        let (made, at) = (bucket(&store).await, key("k"));
        let entry = put(&store, &made, &at, &bytes_of(1, len)).await;
        read(&store, entry.state.stored().unwrap()).await.map_err(|e| e.to_string())?;
        let bytes = check(&store, &entry).await.map_err(|e| e.to_string())?;
        if bytes != len as u64 {
            return Err(format!("{bytes} of {len} bytes were compared"));
        }
        disk.damage(&disk.names("blobs/")[0], at_byte);
        if !matches!(check(&store, &entry).await, Err(StoreError::Corrupt { .. })) {
            return Err(format!("damage at {at_byte} of {len} was not found"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_was_verified_since_the_start_is_read_again() {
    disbelief().await.unwrap();
}

/// An object that is overwritten or deleted while it is checked is no damage.
pub(super) async fn deletion() -> Result<(), String> {
    for len in [40, 3000, 3_000_000] {
        for overwrite in [false, true] {
            let disk = LossyDisk::new();
            let store = open(&disk).await.map_err(|e| e.to_string())?;
            let (made, at) = (bucket(&store).await, key("k"));
            put(&store, &made, &at, &bytes_of(1, len)).await;
            let item = items(&store, 10).await.remove(0);
            let begun = store.check_body(item.entry.state.stored().unwrap()).await;
            if overwrite {
                put(&store, &made, &at, &bytes_of(2, 70)).await;
            } else {
                store
                    .erase(&made, &at, Some(&item.entry), Erased::Unknown)
                    .await
                    .map_err(|e| e.to_string())?;
            }
            // What was opened is read to its end.
            let mut begun = begun.map_err(|e| e.to_string())?;
            while begun.step().await.map_err(|e| format!("{len}: {e}"))?.is_some() {}
            match check(&store, &item.entry).await {
                Err(StoreError::Superseded) => {}
                other => return Err(format!("{len}: {other:?}")),
            }
            if store.is_current(made.id, &at, &item.entry).await.map_err(|e| e.to_string())? {
                return Err(format!("{len}: what is gone counts as current"));
            }
            let put_aside = store.quarantine(&made, &at, &item.entry, "test").await;
            if put_aside.map_err(|e| e.to_string())? || store.status().quarantined != 0 {
                return Err(format!("{len}: what is gone was put into quarantine"));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_overwritten_or_deleted_meanwhile_is_no_damage() {
    deletion().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_cannot_read_is_not_damage() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let (made, at) = (bucket(&store).await, key("k"));
    let entry = put(&store, &made, &at, &bytes_of(1, 5000)).await;
    disk.fail(crate::disk::lossy::Fault::Read, 1);
    assert!(matches!(check(&store, &entry).await, Err(StoreError::Unavailable(_))));
    assert_eq!(check(&store, &entry).await.unwrap(), 5000);
    assert!(matches!(entry.state, EntryState::Written(_)));
}

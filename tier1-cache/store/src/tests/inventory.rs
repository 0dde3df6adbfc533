//! Inventories over a disk that crashes: what a row says is written down is, and nothing is left of what is gone.

use super::*;
use crate::{
    BucketMode, CommitError, Erased, InventoryDrift, InventoryObject, InventoryRow, ShadowRule, ShadowTarget,
    TakenInventory, TakingInventory,
};

const RULE: u16 = 1;
const BATCHES: usize = 5;
const BATCH: usize = 7;

fn object(n: usize) -> InventoryObject {
    InventoryObject {
        name: format!("k/{n:04}"),
        etag: Some(ETag::strong(format!("e{n}")).unwrap()),
        size_bytes: n as u64,
        last_modified: Timestamp(1000 * n as u64),
    }
}

async fn shadowed(store: &Store) -> Arc<Bucket> {
    let to = |name: &str| ShadowTarget::S3 {
        endpoint: "http://old".into(),
        name: name.into(),
        region: "r".into(),
        addressing: Default::default(),
        credentials: None,
    };
    let rules = ["one", "two"].map(|name| ShadowRule {
        prefix: Some(format!("{name}/")),
        inventory_secs: Some(3600),
        ..ShadowRule::to(to(name))
    });
    let settings =
        BucketSettings { mode: BucketMode::Migrate, shadow: rules.to_vec(), ..BucketSettings::default() };
    match store.create_bucket(&name("bucket"), settings).await.unwrap() {
        Created::New(bucket) | Created::Exists(bucket) => bucket,
    }
}

/// Takes a generation, batch by batch, from where it is on.
async fn take(store: &Store, bucket: &Bucket, generation: u64) -> Result<(), CommitError> {
    loop {
        let found = store.inventory(bucket.id, RULE).await?;
        let seen = found.as_ref().map(|(_, version)| *version);
        let mut row = found.map(|(row, _)| row).unwrap_or_default();
        if row.taken.as_ref().is_some_and(|taken| taken.generation == generation) {
            return Ok(());
        }
        let mut taking = match row.taking.take() {
            Some(taking) if taking.generation == generation => taking,
            Some(_) | None => TakingInventory { generation, ..TakingInventory::default() },
        };
        let from = usize::try_from(taking.objects).unwrap();
        let batch: Vec<_> = (from..from + BATCH).map(object).collect();
        taking.after.clone_from(&batch.last().unwrap().name);
        taking.objects += BATCH as u64;
        row.generation = generation;
        if taking.objects == (BATCH * BATCHES) as u64 {
            let objects = taking.objects;
            row.taken = Some(TakenInventory { generation, objects, ..TakenInventory::default() });
        } else {
            row.taking = Some(taking);
        }
        store.put_inventory(bucket, RULE, seen, &row, (generation, &batch)).await?;
    }
}

async fn names(store: &Store, bucket: &Bucket, generation: u64) -> Vec<String> {
    let found = store.inventory_objects(bucket.id, (RULE, generation), "", "", 10_000).await.unwrap();
    found.into_iter().map(|object| object.name).collect()
}

/// What a row says is there, and nothing else of that generation.
async fn agrees(store: &Store, bucket: &Bucket) -> Result<(), String> {
    let row = store.inventory(bucket.id, RULE).await.unwrap().map(|(row, _)| row).unwrap_or_default();
    let said = match (&row.taken, &row.taking) {
        (Some(taken), None) => (taken.generation, taken.objects),
        (_, Some(taking)) => (taking.generation, taking.objects),
        (None, None) => (1, 0),
    };
    let wanted: Vec<String> = (0..usize::try_from(said.1).unwrap()).map(|n| object(n).name).collect();
    let found = names(store, bucket, said.0).await;
    if found == wanted { Ok(()) } else { Err(format!("{row:?}: {} objects", found.len())) }
}

/// Kills the disk after each of its changes while an inventory is taken. Returns how many crashes that were.
pub(super) async fn crashes() -> Result<usize, String> {
    let mut crashes = 0;
    loop {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let bucket = shadowed(&store).await;
        disk.kill_after(crashes);
        let whole = take(&store, &bucket, 1).await.is_ok();
        for seed in 0..3 {
            let image = disk.crashed(seed);
            let after = open(&image).await.map_err(|error| format!("{crashes}, {seed}: {error:?}"))?;
            agrees(&after, &bucket).await.map_err(|wrong| format!("{crashes}, {seed}: {wrong}"))?;
            let row = after.inventory(bucket.id, RULE).await.unwrap();
            if whole && row.is_none_or(|(row, _)| row.taken.is_none()) {
                return Err(format!("{crashes}, {seed}: an inventory that was acknowledged is gone"));
            }
            // It goes on where it was.
            take(&after, &bucket, 1).await.map_err(|error| format!("{error:?}"))?;
            agrees(&after, &bucket).await?;
        }
        if whole {
            return Ok(crashes as usize);
        }
        crashes += 1;
    }
}

#[tokio::test]
async fn a_crash_leaves_an_inventory_as_far_as_it_says() {
    let crashes = crashes().await.unwrap();
    assert!(crashes > 2 * BATCHES, "{crashes}");
}

#[tokio::test]
async fn generations_and_rules_are_kept_apart_and_trimmed() {
    let store = in_memory();
    let bucket = shadowed(&store).await;
    for generation in 1..=3 {
        take(&store, &bucket, generation).await.unwrap();
    }
    let whole = BATCH * BATCHES;
    let other = InventoryRow { generation: 9, ..InventoryRow::default() };
    store.put_inventory(&bucket, 0, None, &other, (9, &[object(1)])).await.unwrap();
    assert_eq!(store.trim_inventory(bucket.id, RULE, &[2, 3]).await.unwrap(), whole as u64);
    assert!(names(&store, &bucket, 1).await.is_empty());
    assert_eq!(
        (names(&store, &bucket, 2).await.len(), names(&store, &bucket, 3).await.len()),
        (whole, whole)
    );
    let objects = |after: &'static str, prefix: &'static str, limit| {
        let (store, id) = (store.clone(), bucket.id);
        async move { store.inventory_objects(id, (RULE, 3), after, prefix, limit).await.unwrap() }
    };
    assert_eq!(objects("k/0003", "k/", 2).await, [object(4), object(5)]);
    assert_eq!(objects("", "k/000", 1000).await.len(), 10);
    assert!(objects("k/9", "k/0", 1000).await.is_empty());
    assert!(store.inventory_has(bucket.id, (RULE, 3), "k/0003").await.unwrap());
    assert!(!store.inventory_has(bucket.id, (RULE, 3), "k/000").await.unwrap());
    assert!(!store.inventory_has(bucket.id, (RULE, 1), "k/0003").await.unwrap());
    let all = store.inventories(bucket.id).await.unwrap();
    assert_eq!(
        all.iter().map(|(rule, row, _)| (*rule, row.generation)).collect::<Vec<_>>(),
        [(0, 9), (1, 3)]
    );

    store.forget_inventory(bucket.id, RULE, all[1].2).await.unwrap();
    assert!(store.inventory(bucket.id, RULE).await.unwrap().is_none());
    assert!(names(&store, &bucket, 3).await.is_empty());
    assert!(store.inventory_has(bucket.id, (0, 9), "k/0001").await.unwrap(), "the other rule's stays");
}

#[tokio::test]
async fn a_row_that_somebody_changed_or_another_gate_is_refused() {
    let store = in_memory();
    let bucket = shadowed(&store).await;
    let row = InventoryRow { generation: 1, ..InventoryRow::default() };
    let version = store.put_inventory(&bucket, RULE, None, &row, (1, &[])).await.unwrap();
    for seen in [None, Some(version - 1)] {
        let refused = store.put_inventory(&bucket, RULE, seen, &row, (1, &[object(1)])).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    }
    store.raise_gate(&bucket).await.unwrap();
    let refused = store.put_inventory(&bucket, RULE, Some(version), &row, (1, &[object(1)])).await;
    assert!(matches!(refused, Err(CommitError::Gate)), "{refused:?}");
    assert!(names(&store, &bucket, 1).await.is_empty());
}

/// A key that was written or deleted here and is forgotten withdraws what inventories say; one that was filled does not.
pub(super) async fn withdrawn_with_what_was_written() -> Result<(), String> {
    let store = in_memory();
    let bucket = shadowed(&store).await;
    let withdrawn = || async { store.inventory_withdrawn(bucket.id).await.unwrap() };
    let at = key("k");
    let entry = put(&store, &bucket, &at, &Bytes::from_static(b"mine")).await;
    assert_eq!(withdrawn().await, 0, "a write does not");
    store.erase(&bucket, &at, Some(&entry), Erased::Tombstone).await.unwrap();
    assert_eq!(withdrawn().await, 0, "a delete does not");
    let entry = store.lookup(bucket.id, &at).await.unwrap().unwrap();
    store.erase(&bucket, &at, Some(&entry), Erased::Unknown).await.unwrap();
    let first = withdrawn().await;
    if first == 0 {
        return Err("a tombstone that is forgotten changes nothing".to_owned());
    }
    let entry = put(&store, &bucket, &at, &Bytes::from_static(b"mine")).await;
    store.erase(&bucket, &at, Some(&entry), Erased::Unknown).await.unwrap();
    if withdrawn().await <= first {
        return Err("a written key that is forgotten changes nothing".to_owned());
    }
    let second = withdrawn().await;
    store.erase(&bucket, &at, None, Erased::Unknown).await.unwrap();
    assert_eq!(withdrawn().await, second, "an unknown key does not");
    Ok(())
}

#[tokio::test]
async fn what_was_written_and_is_forgotten_withdraws_inventories() {
    withdrawn_with_what_was_written().await.unwrap();
}

/// Nothing of an inventory outlives its bucket, though the sweep crashes at any change.
pub(super) async fn swept_with_the_bucket() -> Result<usize, String> {
    let mut crashes = 0;
    loop {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let bucket = shadowed(&store).await;
        take(&store, &bucket, 1).await.unwrap();
        take(&store, &bucket, 2).await.unwrap();
        let closed = store.close_bucket(&bucket).await.unwrap();
        store.remove_bucket(closed).await.unwrap();
        let late =
            store.put_inventory(&bucket, RULE, None, &InventoryRow::default(), (3, &[object(1)])).await;
        assert!(matches!(late, Err(CommitError::Gate)), "{late:?}");
        disk.kill_after(crashes);
        let whole = store.sweep().await.is_ok();
        let after = open(&disk.crashed(u64::from(crashes))).await.map_err(|error| format!("{error:?}"))?;
        after.sweep().await.map_err(|error| format!("{error:?}"))?;
        for generation in 1..=3 {
            let left = names(&after, &bucket, generation).await.len();
            if left > 0 {
                return Err(format!("{crashes}: {left} objects are left"));
            }
        }
        if !after.inventories(bucket.id).await.unwrap().is_empty() {
            return Err(format!("{crashes}: its row is left"));
        }
        if whole {
            return Ok(crashes as usize);
        }
        crashes += 1;
    }
}

#[tokio::test]
async fn a_removed_bucket_leaves_nothing_of_its_inventories() {
    assert!(swept_with_the_bucket().await.unwrap() > 3);
}

#[test]
fn rows_of_other_releases_read() {
    let old: InventoryRow = serde_json::from_str(r#"{"generation":4,"taken":{"objects":2}}"#).unwrap();
    assert_eq!((old.generation, old.gate_version, old.ordered), (4, 0, false));
    assert_eq!(old.taken.unwrap().drift, None);
    let drift = InventoryDrift { added: 1, removed: 2, changed: 3 };
    let row = InventoryRow {
        taking: Some(TakingInventory { drift, after: "\u{10FFFF}".into(), ..TakingInventory::default() }),
        ..InventoryRow::default()
    };
    assert_eq!(serde_json::from_str::<InventoryRow>(&serde_json::to_string(&row).unwrap()).unwrap(), row);
}

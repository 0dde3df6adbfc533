//! Blocks over a disk that crashes: what a row says is kept is there, whoever changes the key takes them along, and
//! nothing is left of them in the end.

use super::*;
use crate::{
    BlockSet, BucketMode, CommitError, Erased, NewBlock, Observation, ShadowRule, ShadowTarget, Usage,
};

const BLOCK: usize = 1000;
const SIZE: usize = 3500;

async fn shadowed(store: &Store) -> Arc<Bucket> {
    let settings =
        BucketSettings { mode: BucketMode::Cache, shadow: vec![rule("one")], ..BucketSettings::default() };
    match store.create_bucket(&name("bucket"), settings).await.unwrap() {
        Created::New(bucket) | Created::Exists(bucket) => bucket,
    }
}

fn rule(name: &str) -> ShadowRule {
    ShadowRule::to(ShadowTarget::S3 {
        endpoint: "http://old".into(),
        name: name.into(),
        region: "r".into(),
        addressing: Default::default(),
        credentials: None,
    })
}

fn block_bytes(number: u64) -> Bytes {
    let number = usize::try_from(number).unwrap();
    bytes_of(number as u64 + 1, BLOCK.min(SIZE - number * BLOCK))
}

async fn seal_whole(store: &Store, bytes: &Bytes) -> Result<Sealed, StoreError> {
    let mut staging = store.stage_fill(Some(bytes.len() as u64))?;
    staging.append(bytes.clone()).await?;
    staging.seal_part().await
}

fn new_block(number: u64, body: Sealed) -> NewBlock {
    NewBlock { number, body, info: Arc::new(info(SIZE)), block_bytes: BLOCK as u64, provenance: provenance() }
}

/// Keeps a block as the engine does that has seen `previous`.
async fn keep(
    store: &Store,
    bucket: &Bucket,
    at: &Key,
    previous: Option<&Entry>,
    number: u64,
) -> Result<BlockSet, CommitError> {
    let set = store.block_set(bucket.id, at).await?;
    let body = seal_whole(store, &block_bytes(number)).await?;
    let new = new_block(number, body);
    store.keep_block(bucket, at, previous, set.as_ref(), new).await
}

/// Numbers of the blocks of a key, each read and compared.
async fn kept(store: &Store, bucket: &Bucket, at: &Key) -> Vec<u64> {
    let Some(set) = store.block_set(bucket.id, at).await.unwrap() else { return Vec::new() };
    assert!(set.is_of(&info(SIZE), BLOCK as u64, bucket.gate_version));
    let blocks = store.kept_blocks(bucket.id, set.id, 0, 100).await.unwrap();
    for block in &blocks {
        let body = store.open_block(block, ByteRange::whole(block.len_bytes)).await.unwrap();
        assert_eq!(collect(body).await.unwrap(), block_bytes(block.number), "{}", block.number);
    }
    assert_eq!(
        (set.blocks, set.bytes),
        (blocks.len() as u64, blocks.iter().map(|block| block.len_bytes).sum())
    );
    blocks.iter().map(|block| block.number).collect()
}

async fn usage(store: &Store, bucket: &Bucket) -> Usage {
    store.usage(bucket.id).await.unwrap()
}

/// What each kind of change leaves of the blocks of its key.
pub(super) async fn changed() -> Result<(), String> {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = shadowed(&store).await;
    for change in ["write", "delete", "purge", "fill", "absent", "known", "other"] {
        let at = key(change);
        for number in [0, 3] {
            keep(&store, &bucket, &at, None, number).await.unwrap();
        }
        assert_eq!(kept(&store, &bucket, &at).await, [0, 3]);
        assert_eq!((usage(&store, &bucket).await.blocks.objects, disk.names("blobs/").len()), (2, 2));
        let body = || async { seal(&store, &bytes_of(9, 20)).await.unwrap() };
        match change {
            "write" => drop(put(&store, &bucket, &at, &bytes_of(9, 20)).await),
            "delete" => drop(store.erase(&bucket, &at, None, Erased::Tombstone).await.unwrap()),
            "purge" => drop(store.erase(&bucket, &at, None, Erased::Unknown).await.unwrap()),
            "fill" => {
                let state = NewState::Filled(info(20), provenance());
                store.publish(&bucket, &at, None, state, body().await).await.unwrap();
            }
            "absent" => {
                let absent = Observation::Absent { until: Timestamp(u64::MAX), invalid: false };
                store.observe(&bucket, &at, None, absent).await.unwrap();
            }
            "known" => {
                let known = Observation::Known(info(SIZE), provenance());
                store.observe(&bucket, &at, None, known).await.unwrap();
            }
            _ => drop(store.erase(&bucket, &key("another"), None, Erased::Tombstone).await.unwrap()),
        }
        let stays = ["known", "other"].contains(&change);
        let left = kept(&store, &bucket, &at).await;
        if left.is_empty() == stays {
            return Err(format!("{change}: {left:?}"));
        }
        if stays {
            let id = store.block_set(bucket.id, &at).await.unwrap().unwrap().id;
            assert_eq!(store.drop_blocks(bucket.id, &at, id).await.unwrap(), Some(1500));
            assert_eq!(store.drop_blocks(bucket.id, &at, id).await.unwrap(), None);
        }
        // Whoever waits for it hears of it, and nothing is left.
        store.blocks_left().await;
        store.sweep_left_blocks().await.unwrap();
        let files = disk.names("blobs/").len();
        if usage(&store, &bucket).await.blocks.objects != 0 || files != 0 {
            return Err(format!("{change}: {files} files are left"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_changes_a_key_takes_its_blocks_along() {
    changed().await.unwrap();
}

/// A block that comes late is not kept.
pub(super) async fn late() -> Result<(), String> {
    let store = in_memory();
    let bucket = shadowed(&store).await;
    let (at, body) = (key("k"), bytes_of(9, 20));
    let is_refused = |kept: Result<BlockSet, CommitError>, what: &str| match kept {
        Err(CommitError::Conflict | CommitError::Gate) => Ok(()),
        other => Err(format!("{what}: {other:?}")),
    };
    keep(&store, &bucket, &at, None, 0).await.unwrap();
    // It is there already.
    is_refused(keep(&store, &bucket, &at, None, 0).await, "twice")?;
    let entry = put(&store, &bucket, &at, &body).await;
    is_refused(keep(&store, &bucket, &at, None, 1).await, "written meanwhile")?;
    is_refused(keep(&store, &bucket, &at, Some(&entry), 1).await, "over a written object")?;
    store.erase(&bucket, &at, Some(&entry), Erased::Unknown).await.unwrap();
    keep(&store, &bucket, &at, None, 1).await.unwrap();
    // Of another object.
    let set = store.block_set(bucket.id, &at).await.unwrap();
    for other in [ObjectInfo { etag: Some(ETag::strong("other").unwrap()), ..info(SIZE) }, info(SIZE + 1)] {
        let body = seal_whole(&store, &block_bytes(2)).await.unwrap();
        let new = NewBlock { info: Arc::new(other), ..new_block(2, body) };
        is_refused(store.keep_block(&bucket, &at, None, set.as_ref(), new).await, "of another object")?;
    }
    // Seen through another gate.
    let shadow = vec![rule("two")];
    let changed =
        store.set_bucket(&bucket, BucketSettings { shadow, ..bucket.settings.clone() }).await.unwrap();
    is_refused(keep(&store, &bucket, &at, None, 2).await, "of the shadow before")?;
    is_refused(keep(&store, &changed, &at, None, 2).await, "of this shadow in the set of the one before")?;
    let swept = store.sweep().await.unwrap();
    assert_eq!((swept.blocks_removed, usage(&store, &bucket).await), (2, Usage::default()));
    keep(&store, &changed, &at, None, 2).await.unwrap();
    assert_eq!(kept(&store, &changed, &at).await, [2]);
    Ok(())
}

#[tokio::test]
async fn a_block_that_comes_late_is_not_kept() {
    late().await.unwrap();
}

/// Crashes wherever it may, and then the sweep.
pub(super) async fn crashes() -> Result<(), String> {
    let at = key("k");
    for stop in 0..60 {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let bucket = shadowed(&store).await;
        keep(&store, &bucket, &at, None, 0).await.unwrap();
        keep(&store, &bucket, &at, None, 1).await.unwrap();
        disk.kill_after(stop);
        let mut acknowledged = false;
        let work = async {
            let body = seal_whole(&store, &block_bytes(2)).await?;
            let set = store.block_set(bucket.id, &at).await?;
            let new = new_block(2, body);
            store.keep_block(&bucket, &at, None, set.as_ref(), new).await?;
            let entry = {
                let sealed = seal(&store, &bytes_of(9, 300)).await?;
                store.publish(&bucket, &at, None, NewState::Written(info(300)), sealed).await?
            };
            acknowledged = true;
            store.sweep_left_blocks().await?;
            Ok::<_, CommitError>(entry)
        };
        let ended = work.await.is_ok();
        for seed in 0..4 {
            let image = disk.crashed(seed);
            let after = open(&image).await.map_err(|error| format!("{stop}: {error}"))?;
            let entry = after.lookup(bucket.id, &at).await.unwrap();
            let blocks = kept(&after, &bucket, &at).await;
            match &entry {
                Some(_) if !blocks.is_empty() => {
                    return Err(format!("{stop}: blocks beside an object: {blocks:?}"));
                }
                None if acknowledged => return Err(format!("{stop}: the object is gone")),
                None if !blocks.starts_with(&[0, 1]) => return Err(format!("{stop}: {blocks:?}")),
                Some(_) | None => {}
            }
            after.sweep().await.unwrap();
            let files = image.names("blobs/").len();
            let expected = blocks.len() + usize::from(entry.is_some());
            let counted = usage(&after, &bucket).await.blocks.objects;
            if files != expected || counted != blocks.len() as u64 || !image.names("staging/").is_empty() {
                return Err(format!("{stop}, seed {seed}: {files} files for {blocks:?}, {counted} counted"));
            }
            assert_eq!(after.recount().await.unwrap(), 0);
        }
        if ended {
            return Ok(());
        }
    }
    Err("it never ends".to_owned())
}

#[tokio::test]
async fn a_crash_leaves_whole_blocks_and_no_garbage() {
    crashes().await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_is_removed_takes_its_blocks_along() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = shadowed(&store).await;
    for number in 0..4 {
        keep(&store, &bucket, &key("k"), None, number).await.unwrap();
    }
    let closed = store.close_bucket(&bucket).await.unwrap();
    store.remove_bucket(closed).await.unwrap();
    assert_eq!(store.sweep().await.unwrap().blocks_removed, 4);
    assert!(
        disk.names("blobs/").is_empty() && store.block_set(bucket.id, &key("k")).await.unwrap().is_none()
    );
    assert_eq!(store.usage(bucket.id).await.unwrap(), Usage::default());
}

#[tokio::test]
async fn many_blocks_go_in_pages_and_the_scrubber_sees_each() {
    let store = in_memory();
    let bucket = shadowed(&store).await;
    let small = Bytes::from_static(b"x");
    for number in 0..300 {
        let set = store.block_set(bucket.id, &key("k")).await.unwrap();
        let body = seal_whole(&store, &small).await.unwrap();
        let new = new_block(number, body);
        store.keep_block(&bucket, &key("k"), None, set.as_ref(), new).await.unwrap();
    }
    let page = store.scrub_page(&[], 10_000).await.unwrap();
    assert_eq!((page.blocks.len(), page.damaged.len()), (300, 0));
    assert!(page.blocks.iter().all(|one| one.key == key("k") && one.bucket == bucket.id));
    let sets = store.block_sets(bucket.id, None, 10).await.unwrap();
    assert!(sets.len() == 1 && store.block_sets(bucket.id, Some(&key("k")), 10).await.unwrap().is_empty());
    assert_eq!(store.recount().await.unwrap(), 0, "counted right");
    assert_eq!(store.drop_blocks(bucket.id, &key("k"), sets[0].1.id).await.unwrap(), Some(300));
    assert_eq!(usage(&store, &bucket).await, Usage::default());
}

//! A folder written by an earlier release opens, and every byte in it is as it was.
//!
//! `tests/golden/vN` was made by the recipe below, as it was in the first release of format N, from the crate's folder:
//! `GOLDEN=tests/golden/vN cargo test --release -p fallthrough-store make_the_golden_folder -- --ignored`.
//! It is never made again for the same format; another format gets a folder of its own.

use std::path::{Path, PathBuf};

use fallthrough_object::{Checksum, ChecksumAlgorithm, ChecksumKind, OsEntropy};

use super::*;
use crate::{
    AccessKeyRow, BucketMode, EntryState, Erased, Grant, Observation, Revision, Right, ScrubPass,
    ScrubRecord, ScrubTally, ShadowRule, ShadowTarget,
};

mod format3;
mod format4;

/// Lengths of the objects: nothing, small, a file of one block, one of two.
const LENS: [usize; 4] = [0, 40, 1000, 150_000];

fn golden_info(len: usize) -> ObjectInfo {
    let mut info = info(len);
    info.meta.cache_control = Some("max-age=60".to_owned());
    info.meta.user = vec![("name".to_owned(), "värde".to_owned())];
    let (algorithm, kind) = (ChecksumAlgorithm::Crc32c, ChecksumKind::Composite { parts: 2 });
    info.checksums = vec![Checksum { algorithm, kind, value: vec![1, 2, 3, 4] }];
    info.md5 = Some([9; 16]);
    info.part_sizes = vec![len as u64 / 2, len as u64 - len as u64 / 2];
    info
}

fn settings() -> BucketSettings {
    let target = ShadowTarget::S3 {
        endpoint: "https://s3.example".to_owned(),
        name: "old".to_owned(),
        region: "eu-1".to_owned(),
        addressing: Default::default(),
        credentials: None,
    };
    let rule = ShadowRule { prefix: Some("p/".to_owned()), ttl_secs: Some(60), ..ShadowRule::to(target) };
    BucketSettings {
        owner: "me".to_owned(),
        mode: BucketMode::Cache,
        shadow: vec![rule],
        ..Default::default()
    }
}

fn access_key() -> AccessKeyRow {
    AccessKeyRow {
        id: "GOLDEN".to_owned(),
        secret: "golden-secret".to_owned(),
        account: "me".to_owned(),
        created: Timestamp(1),
        expires: Some(Timestamp(2)),
        grants: Some(vec![Grant { bucket: "*".to_owned(), right: Right::Read }]),
    }
}

fn limits() -> StoreOptions {
    StoreOptions { cache_bytes: 1 << 20, reserve_bytes: 0, ..options() }
}

/// With the key of those folders that are sealed, which are not any more afterwards.
async fn open_dir(dir: &Path) -> Store {
    let sealing = crate::Sealing { current: None, old: Some(format4::sealing_key()) };
    Store::open(dir, StoreOptions { sealing, ..limits() }, clock(), Arc::new(OsEntropy)).await.unwrap()
}

#[tokio::test]
#[ignore = "the recipe of the golden folder; see the module"]
async fn make_the_golden_folder() {
    let dir = PathBuf::from(std::env::var("GOLDEN").expect("GOLDEN names the folder to make"));
    assert!(!dir.exists(), "a golden folder is made once");
    let entropy = Arc::new(format3::Counting::default());
    let sealing = crate::Sealing { current: Some(format4::sealing_key()), old: None };
    let limits = StoreOptions { sealing, ..limits() };
    let store = Store::open(&dir, limits, Arc::new(format3::Still::default()), entropy).await.unwrap();
    let made = store.create_bucket(&name("golden"), settings()).await.unwrap();
    let (Created::New(made) | Created::Exists(made)) = made;
    for len in LENS {
        let written = NewState::Written(golden_info(len));
        let body = seal(&store, &bytes_of(len as u64, len)).await.unwrap();
        store.publish(&made, &key(&format!("written/{len}")), None, written, body).await.unwrap();
        let filled = NewState::Filled(golden_info(len), provenance());
        let body = seal(&store, &bytes_of(len as u64 + 1, len)).await.unwrap();
        store.publish(&made, &key(&format!("filled/{len}")), None, filled, body).await.unwrap();
    }
    store.erase(&made, &key("tombstone"), None, Erased::Tombstone).await.unwrap();
    let known = Observation::Known(golden_info(5), provenance());
    store.observe(&made, &key("known"), None, known).await.unwrap();
    let absent = Observation::Absent { until: Timestamp(77), invalid: true };
    store.observe(&made, &key("absent"), None, absent).await.unwrap();
    store.put_access_key(&access_key()).await.unwrap();
    // From format 2 on: a damaged blob, and where the scrubber is.
    let body = bytes_of(99, 1000);
    let damaged = put(&store, &made, &key("damaged"), &body).await;
    assert!(store.quarantine(&made, &key("damaged"), &damaged, "golden").await.unwrap());
    store.keep_scrub_record(&scrub_record()).await.unwrap();
    format3::put_in(&store).await;
    format4::put_in(&store).await;
    store.close().await;
}

fn scrub_record() -> ScrubRecord {
    let tally = ScrubTally { rows: 1, objects: 2, bytes: 3, damaged_written: 4, ..ScrubTally::default() };
    let pass = ScrubPass { started: Timestamp(5), ended: None, objects_total: 6, bytes_total: 7, tally };
    let last = ScrubPass { ended: Some(Timestamp(8)), ..pass };
    ScrubRecord { current: Some(pass), after: "65ff".to_owned(), last: Some(last) }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of the golden folder of a format.
fn golden(format: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{format}")), dir.path());
    dir
}

/// Everything that the recipe of format 1 put in, byte for byte.
async fn compare(dir: &Path) -> (Store, Arc<Bucket>) {
    let store = open_dir(dir).await;
    assert_eq!(store.status().epoch, 2);
    let made = store.bucket(&name("golden")).await.unwrap().unwrap();
    let absent = store.lookup(made.id, &key("absent")).await.unwrap().unwrap();
    let expected = EntryState::Absent { until: Timestamp(77), invalid: true };
    assert_eq!((absent.revision, &absent.state), (Revision(0), &expected));
    // The sweep of a later release must not take what an earlier one stored: only what is not believed any more.
    store.sweep().await.unwrap();
    assert_eq!(store.lookup(made.id, &key("absent")).await.unwrap(), None);
    assert_eq!(made.settings, settings());
    for len in LENS {
        for (kind, seed) in [("written", len), ("filled", len + 1)] {
            let entry = store.lookup(made.id, &key(&format!("{kind}/{len}"))).await.unwrap().unwrap();
            assert!(entry.revision.0 > 0 && entry.revision.0 == entry.row_version);
            let stored = entry.state.stored().unwrap();
            assert_eq!(*stored.info, golden_info(len));
            match &entry.state {
                EntryState::Filled(_, from) => assert_eq!((kind, from), ("filled", &provenance())),
                other => assert_eq!((kind, matches!(other, EntryState::Written(_))), ("written", true)),
            }
            assert_eq!(read(&store, stored).await.unwrap(), bytes_of(seed as u64, len), "{kind}/{len}");
        }
    }
    let state = async |raw: &str| {
        let entry = store.lookup(made.id, &key(raw)).await.unwrap().unwrap();
        (entry.revision, entry.state.clone())
    };
    assert!(matches!(state("tombstone").await, (Revision(1..), EntryState::Tombstone)));
    let known = EntryState::Known(Arc::new(golden_info(5)), provenance());
    assert_eq!(state("known").await, (Revision(0), known));
    assert_eq!(store.access_key("GOLDEN").await.unwrap(), Some(access_key()));
    assert_eq!(store.check_index(None).await.unwrap(), None);
    assert_eq!(store.scrub_page(&[], 1000).await.unwrap().damaged, Vec::<String>::new());
    (store, made)
}

#[tokio::test]
async fn the_golden_folder_of_format_1_reads_back_byte_for_byte() {
    let dir = golden(1);
    let (store, made) = compare(dir.path()).await;
    // It is of this format now, and takes what this release writes.
    assert_eq!(std::fs::read(dir.path().join("FORMAT")).unwrap(), b"fallthrough-store 4\n");
    assert_eq!(
        (store.scrub_record().await.unwrap(), store.status().quarantined),
        (ScrubRecord::default(), 0)
    );
    store.keep_scrub_record(&scrub_record()).await.unwrap();
    let at = key("filled/1000");
    let entry = store.lookup(made.id, &at).await.unwrap().unwrap();
    assert!(store.quarantine(&made, &at, &entry, "test").await.unwrap());
    store.close().await;
    drop(store);
    let store = open_dir(dir.path()).await;
    assert_eq!((store.scrub_record().await.unwrap(), store.status().quarantined), (scrub_record(), 1));
    assert!(read(&store, entry.state.stored().unwrap()).await.is_err());
    store.close().await;
}

#[tokio::test]
async fn the_golden_folder_of_format_2_reads_back_byte_for_byte() {
    let dir = golden(2);
    let (store, made) = compare(dir.path()).await;
    assert_eq!(store.scrub_record().await.unwrap(), scrub_record());
    let listed = store.quarantined(None, 10).await.unwrap();
    assert_eq!(
        (listed.len(), listed[0].row.key.as_str(), listed[0].row.what.as_str()),
        (1, "damaged", "golden")
    );
    let entry = store.lookup(made.id, &key("damaged")).await.unwrap().unwrap();
    assert!(matches!(read(&store, entry.state.stored().unwrap()).await, Err(StoreError::Corrupt { .. })));
    store.close().await;
}

/// A crash anywhere in the migration from format 1 leaves a folder that the next open migrates, or has migrated.
#[tokio::test]
async fn a_crash_while_format_1_is_migrated_loses_nothing() {
    let from = golden(1);
    let read_file = |path: &str| std::fs::read(from.path().join(path)).unwrap();
    let index = read_file("index.redb");
    for changes in 0.. {
        let disk = LossyDisk::new();
        for (path, content) in [("FORMAT", &b"fallthrough-store 1\n"[..]), ("index.redb", &index)] {
            let file = crate::disk::Disk::create(&disk, path).unwrap();
            crate::disk::DiskFile::write_at(&*file, content, 0).unwrap();
            crate::disk::DiskFile::sync(&*file).unwrap();
        }
        crate::disk::Disk::sync_dir(&disk, "").unwrap();
        disk.kill_after(changes);
        let whole = open(&disk).await.is_ok();
        for seed in 0..6 {
            let image = disk.crashed(seed);
            let store = open(&image).await.unwrap_or_else(|error| panic!("{changes}, {seed}: {error:?}"));
            assert_eq!(image.content("FORMAT"), b"fallthrough-store 4\n");
            let made = store.bucket(&name("golden")).await.unwrap().unwrap();
            let entry = store.lookup(made.id, &key("written/40")).await.unwrap().unwrap();
            assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), bytes_of(40, 40));
            assert_eq!(store.scrub_page(&[], 1000).await.unwrap().damaged, Vec::<String>::new());
            assert_eq!(store.access_key("GOLDEN").await.unwrap(), Some(access_key()));
        }
        if whole {
            assert!(changes > 8, "{changes}");
            break;
        }
    }
}

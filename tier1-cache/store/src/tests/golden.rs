//! A folder written by an earlier release opens, and every byte in it is as it was.
//!
//! `tests/golden/v1` was made by the recipe below, from the crate's folder:
//! `GOLDEN=tests/golden/v1 cargo test --release -p fallthrough-store make_the_golden_folder -- --ignored`.
//! It is never made again for the same format; another format gets a folder of its own.

use std::path::{Path, PathBuf};

use fallthrough_object::{Checksum, ChecksumAlgorithm, ChecksumKind, OsEntropy};

use super::*;
use crate::{
    AccessKeyRow, BucketMode, EntryState, Erased, Grant, Observation, Revision, Right, ShadowRule,
    ShadowTarget,
};

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

async fn open_dir(dir: &Path) -> Store {
    let limits = StoreOptions { cache_bytes: 1 << 20, reserve_bytes: 0, ..options() };
    Store::open(dir, limits, clock(), Arc::new(OsEntropy)).await.unwrap()
}

#[tokio::test]
#[ignore = "the recipe of the golden folder; see the module"]
async fn make_the_golden_folder() {
    let dir = PathBuf::from(std::env::var("GOLDEN").expect("GOLDEN names the folder to make"));
    assert!(!dir.exists(), "a golden folder is made once");
    let store = open_dir(&dir).await;
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
    store.close().await;
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

#[tokio::test]
async fn the_golden_folder_of_format_1_reads_back_byte_for_byte() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let dir = tempfile::tempdir().unwrap();
    copy(&golden, dir.path());
    let store = open_dir(dir.path()).await;
    assert_eq!(store.status().epoch, 2);
    // The sweep of a later release must not take what an earlier one stored.
    store.sweep().await.unwrap();
    let made = store.bucket(&name("golden")).await.unwrap().unwrap();
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
    let absent = EntryState::Absent { until: Timestamp(77), invalid: true };
    assert_eq!(state("absent").await, (Revision(0), absent));
    assert_eq!(store.access_key("GOLDEN").await.unwrap(), Some(access_key()));
    store.close().await;
}

//! Secrets in the index are sealed, whatever was there before, and whenever it crashes.

use super::*;
use crate::{AccessKeyRow, Sealing, SealingKey, ShadowCredentials, ShadowRule, ShadowTarget};

const SECRET: &str = "the-secret-half-of-an-access-key";
const BEHIND: &str = "the-secret-of-the-shadow";

fn sealing_key(n: u8) -> SealingKey {
    SealingKey::of_text(&format!("{n:064x}")).unwrap()
}

fn with(current: Option<u8>, old: Option<u8>) -> StoreOptions {
    let sealing = Sealing { current: current.map(sealing_key), old: old.map(sealing_key) };
    StoreOptions { sealing, ..options() }
}

fn access_key(id: &str) -> AccessKeyRow {
    AccessKeyRow {
        id: id.to_owned(),
        secret: SECRET.to_owned(),
        account: "me".to_owned(),
        created: Timestamp(1),
        expires: None,
        grants: None,
    }
}

fn settings() -> BucketSettings {
    let target = |host: &str| ShadowTarget::S3 {
        endpoint: format!("https://{host}"),
        name: "old".to_owned(),
        region: "eu-1".to_owned(),
        addressing: Default::default(),
        credentials: Some(ShadowCredentials { access_key: "ID".to_owned(), secret_key: BEHIND.to_owned() }),
    };
    let rule = ShadowRule { members: vec![target("s3-2.example")], ..ShadowRule::to(target("s3.example")) };
    BucketSettings { shadow: vec![rule], ..BucketSettings::default() }
}

async fn put_secrets(store: &Store) {
    for n in 0..3 {
        store.put_access_key(&access_key(&format!("K{n}"))).await.unwrap();
        store.create_bucket(&name(&format!("bucket-{n}")), settings()).await.unwrap();
    }
}

async fn check_secrets(store: &Store) -> Result<(), String> {
    let keys = store.access_keys(None, 10).await.map_err(|e| e.to_string())?;
    for n in 0..3 {
        let id = format!("K{n}");
        let key = store.access_key(&id).await.map_err(|e| e.to_string())?;
        let bucket = store.bucket(&name(&format!("bucket-{n}"))).await.map_err(|e| e.to_string())?;
        if key != Some(access_key(&id)) || !keys.contains(&access_key(&id)) {
            return Err(format!("the key {id} is not what it was"));
        }
        if bucket.is_none_or(|bucket| bucket.settings != settings()) {
            return Err(format!("the settings of bucket-{n} are not what they were"));
        }
    }
    Ok(())
}

fn holds(disk: &LossyDisk, text: &str) -> bool {
    let index = disk.content("index.redb");
    index.windows(text.len()).any(|window| window == text.as_bytes())
}

/// No secret is on the disk, and all can be read.
pub(super) async fn unseen() -> Result<(), String> {
    let disk = LossyDisk::new();
    let store = open_with(&disk, with(Some(1), None)).await.unwrap();
    put_secrets(&store).await;
    store.change_access_key("K1", &|key| key.expires = None).await.unwrap();
    let bucket = store.bucket(&name("bucket-1")).await.unwrap().unwrap();
    store.set_bucket(&bucket, settings()).await.unwrap();
    check_secrets(&store).await?;
    store.close().await;
    if holds(&disk, SECRET) || holds(&disk, BEHIND) {
        return Err("a secret is in the index as it is".to_owned());
    }
    let again = open_with(&disk, with(Some(1), None)).await.map_err(|e| e.to_string())?;
    check_secrets(&again).await
}

/// A row is of no use in the place of another.
pub(super) async fn fixed() -> Result<(), String> {
    use crate::kv::{Commit, Table};
    let store = Store::in_memory(with(Some(1), None), clock(), Arc::new(SeededEntropy::new(1)));
    store.put_access_key(&access_key("K0")).await.unwrap();
    let row = store.inner.kv.get(Table::Rows, &crate::rows::access_key("K0")).await.unwrap().unwrap();
    let elsewhere = crate::store::put(crate::rows::access_key("ADMIN"), row.value);
    store.inner.commit(Commit { writes: vec![elsewhere], ..Commit::default() }).await.unwrap().unwrap();
    match store.access_key("ADMIN").await {
        Err(StoreError::Corrupt { what }) if what.contains("seal") && !what.contains(SECRET) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// From each way of sealing to each other, with a crash after every change of the disk: afterwards everything can be read
/// with both keys at hand, and in the end with the new one alone.
pub(super) async fn turned() -> Result<(), String> {
    for (before, after) in [(None, Some(1)), (Some(1), Some(2)), (Some(2), None)] {
        let made = LossyDisk::new();
        let store = open_with(&made, with(before, None)).await.unwrap();
        put_secrets(&store).await;
        store.close().await;
        drop(store);
        let mut crashes = 0;
        for changes in 0.. {
            let disk = made.crashed(0);
            disk.kill_after(changes);
            let whole = open_with(&disk, with(after, before)).await.is_ok();
            let at = |what: String| format!("{before:?} to {after:?}, crash after {changes} changes: {what}");
            let image = disk.crashed(u64::from(changes));
            let again = open_with(&image, with(after, before)).await.map_err(|e| at(e.to_string()))?;
            check_secrets(&again).await.map_err(at)?;
            again.close().await;
            drop(again);
            let alone = open_with(&image, with(after, None)).await.map_err(|e| at(e.to_string()))?;
            check_secrets(&alone).await.map_err(at)?;
            if whole {
                break;
            }
            crashes += 1;
        }
        if crashes < 4 {
            return Err(format!("only {crashes} crashes"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_is_on_the_disk() {
    unseen().await.unwrap();
    // The check can fail.
    let disk = LossyDisk::new();
    let plain = open(&disk).await.unwrap();
    put_secrets(&plain).await;
    plain.close().await;
    assert!(holds(&disk, SECRET) && holds(&disk, BEHIND));
}

#[tokio::test]
async fn a_sealed_row_is_of_no_use_in_another_place() {
    fixed().await.unwrap();
}

#[tokio::test]
async fn sealing_can_begin_change_and_end_whenever_it_crashes() {
    turned().await.unwrap();
}

#[tokio::test]
async fn without_its_key_a_folder_is_refused_and_not_touched() {
    let disk = LossyDisk::new();
    let store = open_with(&disk, with(Some(1), None)).await.unwrap();
    put_secrets(&store).await;
    store.close().await;
    for wrong in [with(None, None), with(Some(2), None), with(Some(2), Some(3))] {
        let found = open_with(&disk, wrong).await;
        let Err(error @ StoreError::Sealed { .. }) = found else { panic!("{found:?}") };
        assert!(error.to_string().contains(&sealing_key(1).id()), "{error}");
    }
    let right = open_with(&disk, with(Some(1), Some(2))).await.unwrap();
    check_secrets(&right).await.unwrap();
}

#[test]
fn a_short_key_is_refused_and_a_key_is_not_shown() {
    let wrong = SealingKey::of_text("hunter2").unwrap_err();
    assert!(wrong.contains("7 characters") && !wrong.contains("hunter2"), "{wrong}");
    let shown = format!("{:?}", sealing_key(1));
    assert!(!shown.contains("0001") && shown.contains(&sealing_key(1).id()), "{shown}");
    assert_ne!(sealing_key(1).id(), sealing_key(2).id());
}

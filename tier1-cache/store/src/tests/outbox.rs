//! The outbox: what is written with a change of a key, replaces what was there, keeps its bytes, and survives crashes.

use super::*;
use crate::{
    CommitError, CopyOf, Erased, Intent, IntentRow, Lane, Prepared, Seen, ShadowRule, ShadowTarget,
    UploadedParts, WriteThrough,
};

fn etag(text: &str) -> ETag {
    ETag::strong(text).unwrap()
}

fn send(found: Option<&Arc<Intent>>, seen: Seen) -> Lane {
    let row = IntentRow { seen, first: Timestamp(5), next: Timestamp(6), ..IntentRow::default() };
    Lane::Send { found: found.cloned(), row: Box::new(row) }
}

async fn waiting(store: &Store, bucket: &Bucket, at: &str) -> Option<Arc<Intent>> {
    store.intent(bucket.id, &key(at)).await.unwrap()
}

async fn put_through(
    store: &Store,
    bucket: &Bucket,
    at: &str,
    body: &Bytes,
    lane: Lane,
) -> Result<Arc<Entry>, CommitError> {
    let previous = store.lookup(bucket.id, &key(at)).await?;
    let state = NewState::Written(info(body.len()));
    store.through(lane).publish(bucket, &key(at), previous.as_deref(), state, seal(store, body).await?).await
}

fn blobs(disk: &LossyDisk) -> usize {
    disk.names("blobs/").len()
}

#[tokio::test]
async fn an_intent_says_what_its_commit_left_and_a_newer_one_takes_its_place() {
    for len in [0, 40, 900] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let bucket = bucket(&store).await;
        let first = bytes_of(1, len);
        let entry = put_through(&store, &bucket, "k", &first, send(None, Seen::Absent)).await.unwrap();
        let one = waiting(&store, &bucket, "k").await.unwrap();
        assert_eq!(
            (one.revision(), one.version, &one.row.seen),
            (entry.revision, entry.row_version, &Seen::Absent)
        );
        assert_eq!(read(&store, one.object.as_ref().unwrap()).await.unwrap(), first);
        let status = store.outbox_of(bucket.id);
        assert_eq!((status.pending, status.dead, status.bytes), (1, 0, len as u64));
        assert_eq!(status.oldest, Some(Timestamp(5)));
        // Who has not seen it does not get through, nor who has seen another.
        let unseen = put_through(&store, &bucket, "k", &first, send(None, Seen::Never)).await;
        assert!(matches!(unseen, Err(CommitError::Conflict)), "{unseen:?}");
        let second = bytes_of(2, len);
        put_through(&store, &bucket, "k", &second, send(Some(&one), Seen::Never)).await.unwrap();
        let stale = put_through(&store, &bucket, "k", &first, send(Some(&one), Seen::Never)).await;
        assert!(matches!(stale, Err(CommitError::Conflict)), "{stale:?}");
        let two = waiting(&store, &bucket, "k").await.unwrap();
        assert_eq!(read(&store, two.object.as_ref().unwrap()).await.unwrap(), second);
        assert_eq!(store.outbox_of(bucket.id).pending, 1);
        assert_eq!(blobs(&disk), usize::from(len > 64));
        // A delete is one, too.
        let entry = store.lookup(bucket.id, &key("k")).await.unwrap();
        let erase = store.through(send(Some(&two), Seen::Never));
        erase.erase(&bucket, &key("k"), entry.as_deref(), Erased::Tombstone).await.unwrap();
        let gone = waiting(&store, &bucket, "k").await.unwrap();
        assert_eq!((gone.object.clone(), blobs(&disk)), (None, 0));
        assert!(store.withdraw_intent(&gone).await.unwrap() && !store.withdraw_intent(&gone).await.unwrap());
        assert_eq!((waiting(&store, &bucket, "k").await, store.has_intents(bucket.id)), (None, false));
    }
}

/// The bytes stay for the intent, though the key has given them up.
pub(super) async fn pinned() -> Result<(), String> {
    let disk = LossyDisk::new();
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    let bucket = bucket(&store).await;
    let body = bytes_of(1, 900);
    let entry = put_through(&store, &bucket, "k", &body, send(None, Seen::Never)).await.unwrap();
    store.erase(&bucket, &key("k"), Some(&entry), Erased::Unknown).await.map_err(|e| e.to_string())?;
    store.close().await;
    let disk = disk.crashed(1);
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    store.sweep().await.map_err(|e| e.to_string())?;
    let intent = waiting(&store, &bucket, "k").await.ok_or("the intent is gone")?;
    if read(&store, intent.object.as_ref().unwrap()).await.map_err(|e| e.to_string())? != body {
        return Err("other bytes".to_owned());
    }
    store.withdraw_intent(&intent).await.map_err(|e| e.to_string())?;
    if blobs(&disk) != 0 { Err("bytes are left over".to_owned()) } else { Ok(()) }
}

#[tokio::test]
async fn an_intent_keeps_its_bytes_until_it_is_gone() {
    pinned().await.unwrap();
}

/// No more keys than so many, and no more bytes.
pub(super) async fn bounded() -> Result<(), String> {
    let limits = StoreOptions { outbox_rows_max: 2, outbox_bytes_max: 1000, ..options() };
    let store = open_with(&LossyDisk::new(), limits).await.map_err(|e| e.to_string())?;
    let bucket = bucket(&store).await;
    for at in ["a", "b"] {
        store.outbox_takes(bucket.id, &key(at)).map_err(|full| format!("{full:?}"))?;
        put_through(&store, &bucket, at, &bytes_of(1, 10), send(None, Seen::Never)).await.unwrap();
    }
    if store.outbox_takes(bucket.id, &key("c")).is_ok() {
        return Err("a third key".to_owned());
    }
    store.outbox_takes(bucket.id, &key("a")).map_err(|full| format!("{full:?}"))?;
    let a = waiting(&store, &bucket, "a").await;
    put_through(&store, &bucket, "a", &bytes_of(1, 990), send(a.as_ref(), Seen::Never)).await.unwrap();
    match store.outbox_takes(bucket.id, &key("a")) {
        Err(full) if full.bytes == 1000 && full.rows == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn the_outbox_has_a_bound() {
    bounded().await.unwrap();
}

#[tokio::test]
async fn what_was_delivered_is_known_at_the_key_and_the_next_attempt_has_its_time() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let entry = put_through(&store, &bucket, "k", &bytes_of(1, 900), send(None, Seen::Never)).await.unwrap();
    let intent = waiting(&store, &bucket, "k").await.unwrap();
    let due = |now| store.due_intents(Timestamp(now), 9, |_| false).len();
    assert_eq!((due(5), due(6), store.next_intent_due(Timestamp(5))), (0, 1, Some(Timestamp(6))));
    let later = IntentRow { next: Timestamp(90), attempts: 1, sent: true, ..intent.row.clone() };
    let sent = store.note_intent(&intent, later.clone()).await.unwrap().unwrap();
    assert_eq!((due(89), due(90)), (0, 1));
    assert_eq!(store.note_intent(&intent, later.clone()).await.unwrap(), None);
    let dead = store.note_intent(&sent, IntentRow { dead: true, ..later }).await.unwrap().unwrap();
    assert_eq!((due(90), store.outbox_of(bucket.id).dead), (0, 1));
    assert_eq!(dead.revision(), entry.revision);
    let seen = Seen::Object(etag("theirs"));
    assert!(store.delivered(&dead, Some(&entry), &seen).await.unwrap());
    assert!(!store.delivered(&dead, Some(&entry), &seen).await.unwrap());
    let now = store.lookup(bucket.id, &key("k")).await.unwrap().unwrap();
    assert_eq!((now.revision, now.delivered.as_ref()), (entry.revision, Some(&seen)));
    assert!(now.row_version > entry.row_version);
    store.close().await;
    let store = open(&disk.crashed(5)).await.unwrap();
    assert_eq!(store.lookup(bucket.id, &key("k")).await.unwrap(), Some(now.clone()));
    assert_eq!(store.outbox_of_all(), crate::OutboxStatus::default());
    // What the origin does not hear of leaves it what it has; what it does, does not.
    let mut changed = info(900);
    changed.owner = Some("other".to_owned());
    let quiet = store.amend(&bucket, &key("k"), Some(&now), changed.clone()).await.unwrap();
    assert_eq!(quiet.delivered, Some(seen));
    let told = store.through(send(None, Seen::Never));
    let told = told.amend(&bucket, &key("k"), Some(&quiet), changed).await.unwrap();
    assert_eq!((told.delivered.clone(), store.outbox_of(bucket.id).pending), (None, 1));
}

/// Whoever prepares an intent may be gone before its commit has ended: it is anybody's then.
#[tokio::test]
async fn what_nobody_attends_to_any_more_is_due() {
    let store = open(&LossyDisk::new()).await.unwrap();
    let bucket = bucket(&store).await;
    let due = || store.due_intents(Timestamp(9), 9, |_| false).len();
    let attended = store.attend_intent(bucket.id, &key("k"));
    let what = Prepared::Body(info(40), seal(&store, &bytes_of(2, 40)).await.unwrap());
    let intent = store.prepare(&bucket, &key("k"), None, IntentRow::default(), what).await.unwrap();
    let sent = store.note_intent(&intent, IntentRow { sent: true, ..intent.row.clone() }).await.unwrap();
    assert_eq!(due(), 0);
    // All is read again after a commit that is in doubt.
    store.inner.outbox.in_doubt();
    assert!(store.settle_outbox().await.unwrap());
    assert_eq!(due(), 0);
    // Gone while what it is doing is written down.
    drop(attended);
    assert_eq!(due(), 1);
    let sent = sent.unwrap();
    store.note_intent(&sent, IntentRow { attempts: 1, ..sent.row.clone() }).await.unwrap().unwrap();
    assert_eq!(due(), 1);

    // Gone before it is written down at all.
    let attended = store.attend_intent(bucket.id, &key("other"));
    let what = Prepared::Body(info(40), seal(&store, &bytes_of(3, 40)).await.unwrap());
    let other = key("other");
    let prepare = store.prepare(&bucket, &other, None, IntentRow::default(), what);
    drop(attended);
    prepare.await.unwrap();
    assert_eq!(due(), 2);
}

#[tokio::test]
async fn what_is_prepared_lands_or_leaves_nothing() {
    for len in [0, 40, 900] {
        for lands in [true, false] {
            let disk = LossyDisk::new();
            let store = open(&disk).await.unwrap();
            let bucket = bucket(&store).await;
            let old = put(&store, &bucket, &key("k"), &bytes_of(1, 300)).await;
            let body = bytes_of(2, len);
            let what = Prepared::Body(info(len), seal(&store, &body).await.unwrap());
            let row = IntentRow::default();
            let attended = store.attend_intent(bucket.id, &key("k"));
            let intent =
                store.prepare(&bucket, &key("k"), Some(&old), row.clone(), what.clone()).await.unwrap();
            assert!(store.due_intents(Timestamp(9), 9, |_| false).is_empty());
            let again = store.prepare(&bucket, &key("k"), Some(&old), row, what).await;
            assert!(matches!(again, Err(CommitError::Conflict | CommitError::Store(_))), "{again:?}");
            // It is durable, and the key has what it had.
            let image = disk.crashed(3);
            let after = open(&image).await.unwrap();
            after.sweep().await.unwrap();
            assert_eq!(after.lookup(bucket.id, &key("k")).await.unwrap().as_ref(), Some(&old));
            let there = waiting(&after, &bucket, "k").await.unwrap();
            assert_eq!(read(&after, there.object.as_ref().unwrap()).await.unwrap(), body);
            // After a start it is anybody's; before, when nobody is at it.
            assert_eq!(after.due_intents(Timestamp(9), 9, |_| false).len(), 1);
            drop(attended);
            assert_eq!(store.due_intents(Timestamp(9), 9, |_| false).len(), 1);
            if lands {
                let seen = Seen::Object(etag("theirs"));
                let entry = store.land(&bucket, Some(&old), &intent, seen.clone(), None).await.unwrap();
                assert_eq!((entry.delivered.as_ref(), entry.revision.0), (Some(&seen), entry.row_version));
                assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), body);
                assert_eq!(blobs(&disk), usize::from(len > 64));
            } else {
                assert!(store.withdraw_intent(&intent).await.unwrap());
                assert_eq!(store.lookup(bucket.id, &key("k")).await.unwrap().as_ref(), Some(&old));
                assert_eq!(blobs(&disk), 1);
            }
            assert_eq!((waiting(&store, &bucket, "k").await, store.has_intents(bucket.id)), (None, false));
            store.close().await;
            let image = disk.crashed(4);
            let after = open(&image).await.unwrap();
            after.sweep().await.unwrap();
            let entry = after.lookup(bucket.id, &key("k")).await.unwrap().unwrap();
            let expected = if lands { body } else { bytes_of(1, 300) };
            assert_eq!(read(&after, entry.state.stored().unwrap()).await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn copies_and_parts_that_are_prepared_share_their_files() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let bucket = bucket(&store).await;
    let source = put(&store, &bucket, &key("s"), &bytes_of(1, 900)).await;
    let of = CopyOf { bucket: bucket.id, key: &key("s"), entry: &source };
    let copy = Prepared::Copy(info(900), of);
    let intent = store.prepare(&bucket, &key("c"), None, IntentRow::default(), copy).await.unwrap();
    store.erase(&bucket, &key("s"), Some(&source), Erased::Unknown).await.unwrap();
    assert_eq!(blobs(&disk), 1);
    let landed = store.land(&bucket, None, &intent, Seen::Never, None).await.unwrap();
    assert_eq!(read(&store, landed.state.stored().unwrap()).await.unwrap(), bytes_of(1, 900));

    let upload = store.create_upload(&bucket, &key("p"), crate::UploadRow::default()).await.unwrap();
    for number in 1..=3 {
        let mut staging = store.stage(None).unwrap();
        staging.append(bytes_of(u64::from(number), 200)).await.unwrap();
        let sealed = staging.seal_part().await.unwrap();
        let part = crate::NewPart {
            size_bytes: 200,
            md5: [0; 16],
            checksums: Vec::new(),
            last_modified: Timestamp(5),
        };
        store.put_part(bucket.id, &upload, number, part, sealed).await.unwrap();
    }
    let mut listed = store.parts(bucket.id, upload.id, 0, 9).await.unwrap();
    let unlisted = vec![listed.pop().unwrap()];
    let parts = UploadedParts { listed, unlisted };
    let what = Prepared::Parts(info(400), &upload, &parts);
    let intent = store.prepare(&bucket, &key("p"), None, IntentRow::default(), what).await.unwrap();
    assert_eq!(blobs(&disk), 4);
    let landed = store.land(&bucket, None, &intent, Seen::Never, Some((&upload, &parts))).await.unwrap();
    assert_eq!(read(&store, landed.state.stored().unwrap()).await.unwrap().len(), 400);
    assert_eq!(blobs(&disk), 3);
    assert!(store.uploads(bucket.id, "", None, 9).await.unwrap().is_empty());
    store.erase(&bucket, &key("p"), Some(&landed), Erased::Unknown).await.unwrap();
    assert_eq!(blobs(&disk), 1);
}

/// A crash behind any change of the disk: the key and its intent are of one moment, and nothing is left over.
#[tokio::test]
async fn a_crash_anywhere_leaves_key_and_intent_of_one_moment() {
    let (first, second) = (bytes_of(1, 900), bytes_of(2, 40));
    let run = async |store: &Store| -> Result<(), StoreError> {
        let bucket = bucket_or(store).await?;
        let entry = through_or(store, &bucket, &first, None).await?;
        let intent = store.intent(bucket.id, &key("k")).await?.ok_or(StoreError::Superseded)?;
        let row = IntentRow { sent: true, ..intent.row.clone() };
        let sent = store.note_intent(&intent, row).await?.ok_or(StoreError::Superseded)?;
        store.delivered(&sent, Some(&entry), &Seen::Object(etag("one"))).await?;
        let before = store.lookup(bucket.id, &key("k")).await?;
        through_or(store, &bucket, &second, before.as_deref()).await?;
        Ok(())
    };
    for changes in 0.. {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        disk.kill_after(changes);
        let whole = run(&store).await.is_ok();
        for seed in 0..4 {
            let image = disk.crashed(seed);
            let store = open(&image).await.unwrap();
            store.sweep().await.unwrap();
            let Some(bucket) = store.bucket(&name("bucket")).await.unwrap() else { continue };
            let entry = store.lookup(bucket.id, &key("k")).await.unwrap();
            let intent = waiting(&store, &bucket, "k").await;
            let here = match &entry {
                None => None,
                Some(entry) => Some(read(&store, entry.state.stored().unwrap()).await.unwrap()),
            };
            let told = format!("{changes}, {seed}: {entry:?} {intent:?}");
            match (&entry, &intent) {
                (None, None) => {}
                (Some(entry), Some(intent)) => {
                    assert_eq!((intent.revision(), &entry.delivered), (entry.revision, &None), "{told}");
                    let sent = read(&store, intent.object.as_ref().unwrap()).await.unwrap();
                    assert_eq!(Some(sent), here, "{told}");
                }
                (Some(entry), None) => assert_eq!(entry.delivered, Some(Seen::Object(etag("one"))), "{told}"),
                (None, Some(_)) => panic!("{told}"),
            }
            let files = usize::from(here.is_some_and(|bytes| bytes.len() > 64));
            assert_eq!(image.names("blobs/").len() + image.names("staging/").len(), files, "{told}");
            // The count of intents goes with them, or the bucket could not be removed, or too early.
            let closed = store.close_bucket(&bucket).await.unwrap();
            assert_eq!(store.remove_bucket(closed).await.is_ok(), intent.is_none(), "{told}");
        }
        if whole {
            assert!(changes > 8, "{changes}");
            break;
        }
    }
}

async fn bucket_or(store: &Store) -> Result<Arc<Bucket>, StoreError> {
    match store.create_bucket(&name("bucket"), BucketSettings::default()).await? {
        Created::New(bucket) | Created::Exists(bucket) => Ok(bucket),
    }
}

async fn through_or(
    store: &Store,
    bucket: &Bucket,
    body: &Bytes,
    previous: Option<&Entry>,
) -> Result<Arc<Entry>, StoreError> {
    let state = NewState::Written(info(body.len()));
    let sealed = seal(store, body).await?;
    let through = store.through(send(None, Seen::Never));
    match through.publish(bucket, &key("k"), previous, state, sealed).await {
        Ok(entry) => Ok(entry),
        Err(CommitError::Store(error)) => Err(error),
        Err(CommitError::Conflict | CommitError::Gate) => Err(StoreError::Superseded),
    }
}

#[tokio::test]
async fn what_waits_keeps_its_bucket_and_where_it_leads() {
    for store in [in_memory(), open(&LossyDisk::new()).await.unwrap()] {
        let target = |name: &str| ShadowTarget::S3 {
            endpoint: "http://behind".to_owned(),
            name: name.to_owned(),
            region: "r".to_owned(),
            addressing: Default::default(),
            credentials: None,
        };
        let rule =
            |name: &str| ShadowRule { write_through: WriteThrough::Async, ..ShadowRule::to(target(name)) };
        let settings = |rule: ShadowRule| BucketSettings {
            mode: crate::BucketMode::Migrate,
            shadow: vec![rule],
            ..BucketSettings::default()
        };
        let plain = bucket(&store).await;
        let bucket = store.set_bucket(&plain, settings(rule("old"))).await.unwrap();
        put_through(&store, &bucket, "k", &bytes_of(1, 9), send(None, Seen::Never)).await.unwrap();
        for other in [
            settings(rule("new")),
            settings(ShadowRule { write_through: WriteThrough::Off, ..rule("old") }),
            settings(ShadowRule { key: Some("x/{key}".to_owned()), ..rule("old") }),
            BucketSettings::default(),
        ] {
            let end = store.set_bucket(&bucket, other).await;
            assert!(matches!(end, Err(CommitError::Conflict)), "{end:?}");
        }
        let same =
            settings(ShadowRule { ttl_secs: Some(5), write_through: WriteThrough::Sync, ..rule("old") });
        let bucket = store.set_bucket(&bucket, same).await.unwrap();
        let closed = store.close_bucket(&bucket).await.unwrap();
        assert!(matches!(store.remove_bucket(closed).await, Err(CommitError::Conflict)));
        let bucket = store.bucket(&bucket.name).await.unwrap().unwrap();
        assert_eq!(store.withdraw_intents(bucket.id).await.unwrap(), 1);
        let bucket = store.set_bucket(&bucket, BucketSettings::default()).await.unwrap();
        let closed = store.close_bucket(&bucket).await.unwrap();
        store.remove_bucket(closed).await.unwrap();
    }
}

//! A disk that fails: errors are told, nothing wrong is served, and the store goes on unaided.

use super::*;
use crate::disk::lossy::Fault;
use crate::{CommitError, Failpoints, Step};

#[tokio::test]
async fn after_a_failed_sync_the_index_is_opened_anew_and_nothing_acknowledged_is_lost() {
    for (fault, times) in [(Fault::Sync, 1), (Fault::Sync, 2), (Fault::Write, 1), (Fault::Write, 3)] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let (bucket, at) = (bucket(&store).await, key("k"));
        let good = put(&store, &bucket, &at, &bytes_of(1, 30)).await;
        let sealed = seal(&store, &bytes_of(2, 20)).await.unwrap();
        disk.fail(fault, times);
        let state = NewState::Written(info(20));
        let end = store.publish(&bucket, &at, Some(&good), state, sealed).await;
        assert!(matches!(end, Err(CommitError::Store(_))), "{fault:?} {times}: {end:?}");
        disk.fail(fault, 0);
        // In doubt: either object, but a whole one; and the cache agrees with the index.
        let now = store.lookup(bucket.id, &at).await.unwrap().unwrap();
        let body = read(&store, now.state.stored().unwrap()).await.unwrap();
        assert!(body == bytes_of(1, 30) || body == bytes_of(2, 20), "{fault:?} {times}");
        let next = put(&store, &bucket, &at, &bytes_of(3, 25)).await;
        assert!(next.row_version > good.row_version && next.row_version > now.row_version);
        for seed in 0..8 {
            let after = open(&disk.crashed(seed)).await.unwrap();
            let entry = after.lookup(bucket.id, &at).await.unwrap().unwrap();
            assert_eq!(entry, next, "{fault:?} {times}, crash {seed}");
            assert_eq!(read(&after, entry.state.stored().unwrap()).await.unwrap(), bytes_of(3, 25));
        }
    }
}

#[tokio::test]
async fn while_the_index_cannot_be_written_it_is_read_and_nothing_in_doubt_is_shown() {
    let (mut refused, mut shown) = (0, 0);
    for (fault, after) in [(Fault::Sync, 0), (Fault::Sync, 1), (Fault::Write, 0), (Fault::Write, 2)] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let bucket = bucket(&store).await;
        let (at, other) = (key("k"), key("other"));
        let good = put(&store, &bucket, &at, &bytes_of(1, 30)).await;
        let beside = put(&store, &bucket, &other, &bytes_of(7, 300)).await;
        let sealed = seal(&store, &bytes_of(2, 20)).await.unwrap();
        disk.fail_after(fault, after, u32::MAX);
        let end = store.publish(&bucket, &at, Some(&good), NewState::Written(info(20)), sealed).await;
        assert!(matches!(end, Err(CommitError::Store(_))), "{fault:?} {after}: {end:?}");
        assert!(!store.status().writable);
        let again = seal(&store, &bytes_of(3, 20)).await.unwrap();
        let end = store.publish(&bucket, &at, None, NewState::Written(info(20)), again).await;
        assert!(matches!(end, Err(CommitError::Store(StoreError::Busy))), "{fault:?} {after}: {end:?}");
        // What no commit in doubt touched is read all the while: from the index, not from memory.
        store.inner.hot.committed(bucket.id, &other, 0, None);
        let read_now = store.lookup(bucket.id, &other).await.unwrap().unwrap();
        assert_eq!(read_now, beside, "{fault:?} {after}");
        assert_eq!(read(&store, read_now.state.stored().unwrap()).await.unwrap(), bytes_of(7, 300));
        match store.lookup(bucket.id, &at).await {
            Ok(entry) => {
                shown += 1;
                assert_eq!(entry.unwrap(), good, "{fault:?} {after}");
            }
            Err(error) => {
                refused += 1;
                assert!(matches!(error, StoreError::Unavailable(_)), "{fault:?} {after}: {error}");
            }
        }
        disk.fail(fault, 0);
        let next = put(&store, &bucket, &at, &bytes_of(4, 25)).await;
        assert!(next.row_version > good.row_version && store.status().writable);
        for seed in 0..8 {
            let crashed = open(&disk.crashed(seed)).await.unwrap();
            assert_eq!(crashed.lookup(bucket.id, &at).await.unwrap().unwrap(), next, "{fault:?} {after}");
            assert_eq!(crashed.lookup(bucket.id, &other).await.unwrap().unwrap(), beside);
        }
    }
    println!("{shown} shown as they were, {refused} refused");
}

#[tokio::test]
async fn a_failed_sync_of_a_blob_fails_the_body_and_is_not_tried_again() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let mut staging = store.stage(None).unwrap();
    staging.append(bytes_of(1, 5000)).await.unwrap();
    disk.fail(Fault::Sync, 1);
    assert!(matches!(staging.seal().await, Err(StoreError::Unavailable(_))));
    assert_eq!(disk.names("staging/").len() + disk.names("blobs/").len(), 0);
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_readers_go_on() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let good = put(&store, &bucket, &at, &bytes_of(1, 3000)).await;
    let mut staging = store.stage(None).unwrap();
    disk.fail(Fault::Write, 1);
    assert!(matches!(staging.append(bytes_of(1, 5000)).await, Err(StoreError::Full { .. })));
    // What failed once is not believed later.
    assert!(staging.append(bytes_of(1, 5000)).await.is_err());
    assert!(staging.seal().await.is_err());
    let body = read(&store, good.state.stored().unwrap()).await.unwrap();
    assert_eq!(body, bytes_of(1, 3000));
}

#[derive(Debug)]
struct StandingClock {
    now: std::sync::atomic::AtomicU64,
    /// What passes between two looks at it, in nanoseconds.
    step: u64,
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic(&self) -> fallthrough_object::Monotonic {
        fallthrough_object::Monotonic(self.now.fetch_add(self.step, std::sync::atomic::Ordering::SeqCst))
    }
}

#[tokio::test]
async fn under_the_reserve_no_body_is_taken_but_deletes_and_reads_are() {
    let disk = LossyDisk::new();
    let limits = StoreOptions { reserve_bytes: 1000, low_space_stop_fills_bytes: 5000, ..options() };
    // A second a look: the disk is asked for its free space anew each time.
    let clock = Arc::new(StandingClock { now: 0.into(), step: 1_000_000_000 });
    let entropy = SeededEntropy::new(1);
    let store = Store::open_on(Arc::new(disk.clone()), limits, clock, Arc::new(entropy), Drive::Inline, None)
        .await
        .unwrap();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let entry = put(&store, &bucket, &at, &bytes_of(1, 3000)).await;
    for (free, expected_len, writes, fills) in
        [(6000, 10, true, true), (4999, 10, true, false), (999, 10, false, false), (2000, 1500, true, false)]
    {
        disk.set_free(free);
        let status = store.status();
        assert_eq!((status.accepts_writes, status.accepts_fills), (writes, fills), "{free}");
        let staged = store.stage(Some(expected_len));
        match staged {
            Ok(_) => assert!(free >= expected_len + 1000),
            Err(StoreError::Full { free_bytes }) => {
                assert_eq!(free_bytes, free);
                assert!(free < expected_len + 1000);
            }
            other => panic!("{other:?}"),
        }
    }
    // What is only passed on may use half of the reserve.
    disk.set_free(800);
    assert!(matches!(store.stage_fill(Some(300)), Err(StoreError::Full { .. })));
    assert!(store.stage_passing(Some(300)).is_ok());
    assert!(matches!(store.stage_passing(Some(301)), Err(StoreError::Full { .. })));
    disk.set_free(0);
    assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), bytes_of(1, 3000));
    store.erase(&bucket, &at, Some(&entry), crate::Erased::Tombstone).await.unwrap();
}

#[tokio::test]
async fn two_bodies_never_count_on_the_same_free_space() {
    let disk = LossyDisk::new();
    disk.set_free(10_000);
    let limits = StoreOptions { reserve_bytes: 1000, low_space_stop_fills_bytes: 1000, ..options() };
    let (clock, entropy) = (Arc::new(StandingClock { now: 0.into(), step: 0 }), SeededEntropy::new(1));
    let store =
        Store::open_on(Arc::new(disk), limits, clock, Arc::new(entropy), Drive::Inline, None).await.unwrap();
    let first = store.stage(Some(6000));
    assert!(first.is_ok());
    assert!(matches!(store.stage(Some(6000)), Err(StoreError::Full { free_bytes: 4000 })));
    assert!(store.stage(Some(3000)).is_ok());
}

/// Damage of stored bytes is found by whole and by ranged reads, and never served.
pub(super) async fn damage() -> Result<(), String> {
    let len = 400_000;
    let expect_corrupt = |what: &str, got: Result<Vec<u8>, StoreError>| match got {
        Err(StoreError::Corrupt { .. }) => Ok(()),
        other => Err(format!("{what}: {:?}", other.map(|body| body.len()))),
    };
    for at_byte in [0, 131_071, 300_000, len - 1] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        let (bucket, at) = (bucket(&store).await, key("k"));
        let entry = put(&store, &bucket, &at, &bytes_of(1, len)).await;
        disk.damage(&disk.names("blobs/")[0], at_byte);
        let stored = entry.state.stored().unwrap();
        expect_corrupt("whole", read(&store, stored).await)?;
        // A range that does not even have the damaged byte, but its block.
        let start = (at_byte / 131_072 * 131_072) as u64;
        let range = ByteRange { start, end: start + 10 };
        let part = store.open_body(stored, range).await;
        expect_corrupt("range", part.map(|_| Vec::new()))?;
        // Another block is as good as ever.
        let other = if at_byte < 131_072 { 200_000 } else { 10 };
        let range = ByteRange { start: other, end: other + 10 };
        let part = store.open_body(stored, range).await.map_err(|e| e.to_string())?;
        let part = collect(part).await.map_err(|e| e.to_string())?;
        if part != bytes_of(1, len)[other as usize..other as usize + 10] {
            return Err("a sound block was read wrong".to_owned());
        }
    }
    Ok(())
}

#[tokio::test]
async fn damage_is_found_by_whole_and_by_ranged_reads() {
    damage().await.unwrap();
}

#[tokio::test]
async fn a_damaged_trailer_and_a_lost_file_are_told_apart() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let entry = put(&store, &bucket, &at, &bytes_of(1, 1000)).await;
    let file = disk.names("blobs/")[0].clone();
    disk.damage(&file, 1000 + 8 + 20);
    assert!(matches!(read(&store, entry.state.stored().unwrap()).await, Err(StoreError::Corrupt { .. })));
    crate::disk::Disk::unlink(&disk, &file).unwrap();
    assert!(matches!(read(&store, entry.state.stored().unwrap()).await, Err(StoreError::Missing { .. })));
}

#[derive(Debug)]
struct FailAt(Step);

impl Failpoints for FailAt {
    fn reached(&self, step: Step) -> std::io::Result<()> {
        if step == self.0 { Err(std::io::Error::other("planted")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_failure_at_any_step_before_the_commit_leaves_the_old_object_and_no_file() {
    for step in Step::ALL.into_iter().filter(|step| *step < Step::Ready) {
        let disk = LossyDisk::new();
        let plain = open(&disk).await.unwrap();
        let (made, at) = (bucket(&plain).await, key("k"));
        let old = put(&plain, &made, &at, &bytes_of(1, 10)).await;
        plain.close().await;
        let failing = StoreOptions { failpoints: Some(Arc::new(FailAt(step))), ..options() };
        let store = open_with(&disk, failing).await.unwrap();
        assert!(seal(&store, &bytes_of(2, 5000)).await.is_err(), "{step:?}");
        assert_eq!(store.lookup(made.id, &at).await.unwrap().unwrap(), old);
        assert_eq!(disk.names("blobs/").len() + disk.names("staging/").len(), 0, "{step:?}");
    }
}

#[tokio::test]
async fn a_failing_read_of_the_index_is_told_or_mended_and_never_taken_for_absence() {
    let disk = LossyDisk::new();
    let plain = open(&disk).await.unwrap();
    let made = bucket(&plain).await;
    for n in 0..50 {
        put(&plain, &made, &key(&format!("k{n}")), &bytes_of(n, 60)).await;
    }
    plain.close().await;
    // Nothing in memory: neither entries nor pages of the index.
    let cold = StoreOptions { cache_bytes: 0, hot_bytes: 0, ..options() };
    let store = open_with(&disk, cold).await.unwrap();
    for times in 1..20 {
        disk.fail(Fault::Read, times);
        match store.lookup(made.id, &key("k7")).await {
            Ok(entry) => assert!(entry.is_some(), "{times}"),
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{times}: {error:?}"),
        }
        disk.fail(Fault::Read, 0);
        assert!(store.lookup(made.id, &key("k7")).await.unwrap().is_some());
    }
}

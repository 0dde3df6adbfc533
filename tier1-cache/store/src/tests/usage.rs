//! What buckets hold, where it cannot be right by itself: rows that rot, indexes of older releases, buckets that go.

use super::*;
use crate::kv::{Commit, Table, Write};
use crate::store::{put as put_row, remove};
use crate::{BucketId, Held, Usage, rows};

/// A copy of `len` bytes.
async fn fill(store: &Store, bucket: &Bucket, at: &Key, len: usize) {
    let previous = store.lookup(bucket.id, at).await.unwrap();
    let sealed = seal(store, &bytes_of(1, len)).await.unwrap();
    let state = NewState::Filled(info(len), provenance());
    store.publish(bucket, at, previous.as_deref(), state, sealed).await.unwrap();
}

fn usage(filled: (u64, u64), written: (u64, u64)) -> Usage {
    let held = |(objects, bytes)| Held { objects, bytes };
    Usage { filled: held(filled), written: held(written), blocks: Held::default() }
}

async fn commit(store: &Store, writes: Vec<Write>) {
    let commit = Commit { writes, ..Commit::default() };
    store.inner.commit(commit).await.unwrap().unwrap();
}

#[tokio::test]
async fn each_kind_counts_for_itself() {
    let store = in_memory();
    let made = bucket(&store).await;
    fill(&store, &made, &key("a"), 1000).await;
    fill(&store, &made, &key("b"), 20).await;
    put(&store, &made, &key("c"), &bytes_of(2, 300)).await;
    assert_eq!(store.usage(made.id).await.unwrap(), usage((2, 1020), (1, 300)));
    // What a client says of a copy makes it a written object.
    let entry = store.lookup(made.id, &key("a")).await.unwrap().unwrap();
    let lane = store.through(crate::Lane::Quiet);
    lane.amend(&made, &key("a"), Some(&entry), info(1000)).await.unwrap();
    assert_eq!(store.usage(made.id).await.unwrap(), usage((1, 20), (2, 1300)));
    // A copy that shares its bytes counts as well.
    let of = store.lookup(made.id, &key("c")).await.unwrap().unwrap();
    let of = crate::CopyOf { bucket: made.id, key: &key("c"), entry: &of };
    lane.publish_copy(&made, &key("d"), None, info(300), of).await.unwrap();
    assert_eq!(store.usage(made.id).await.unwrap(), usage((1, 20), (3, 1600)));
    assert_eq!(
        store.usages().await.unwrap().into_iter().collect::<Vec<_>>(),
        [(made.id, usage((1, 20), (3, 1600)))]
    );
    assert_eq!(store.usage(made.id).await.unwrap().copies_charge(), 20 + crate::COPY_ROW_BYTES);
    assert_eq!(store.recount().await.unwrap(), 0);
}

/// A row that nobody can read is given up; what it held is counted until then and not after.
pub(super) async fn given_up() -> Result<(), String> {
    let disk = LossyDisk::new();
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    let made = bucket(&store).await;
    for (raw, len) in [("a", 700), ("b", 30)] {
        fill(&store, &made, &key(raw), len).await;
    }
    commit(&store, vec![put_row(rows::entry(made.id, "a"), Bytes::from_static(b"rot"))]).await;
    if !store.forget_damaged(&made, &key("a")).await.map_err(|e| e.to_string())? {
        return Err("it was not given up".to_owned());
    }
    store.sweep_due().await;
    // Also if the process ends before anybody has counted.
    let store = open(&disk.crashed(7)).await.map_err(|e| e.to_string())?;
    store.sweep().await.map_err(|e| e.to_string())?;
    let held = store.usage(made.id).await.map_err(|e| e.to_string())?;
    if held == usage((1, 30), (0, 0)) { Ok(()) } else { Err(format!("{held:?}")) }
}

#[tokio::test]
async fn what_was_given_up_is_not_counted_any_more() {
    given_up().await.unwrap();
}

#[tokio::test]
async fn an_index_without_tallies_is_counted_once() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let made = bucket(&store).await;
    for n in 0..20 {
        fill(&store, &made, &key(&format!("k{n}")), 100 + n).await;
    }
    // As an older release leaves it.
    commit(&store, vec![remove(rows::usage(made.id)), remove(rows::USAGE_KNOWN.to_vec())]).await;
    store.close().await;
    let store = open(&disk).await.unwrap();
    // What changes before it is counted is counted, too, and refused by nothing.
    fill(&store, &made, &key("k0"), 50).await;
    let entry = store.lookup(made.id, &key("k1")).await.unwrap().unwrap();
    let lane = store.through(crate::Lane::Quiet);
    lane.erase(&made, &key("k1"), Some(&entry), crate::Erased::Unknown).await.unwrap();
    store.sweep().await.unwrap();
    let sum: u64 = (2..20).map(|n| 100 + n).sum::<u64>() + 50;
    assert_eq!(store.usage(made.id).await.unwrap(), usage((19, sum), (0, 0)));
    let known = store.inner.kv.get(Table::Rows, rows::USAGE_KNOWN).await.unwrap().unwrap().version;
    store.sweep().await.unwrap();
    let again = store.inner.kv.get(Table::Rows, rows::USAGE_KNOWN).await.unwrap().unwrap().version;
    assert_eq!(known, again, "counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tallies_are_mended_beside_commits_that_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = Store::open(dir.path(), options(), clock(), entropy).await.unwrap();
    let made = bucket(&store).await;
    let by = [3, -5000, 1, 77, 0, 0];
    for n in 0..300 {
        fill(&store, &made, &key(&format!("k{n}")), 10).await;
        if n == 100 {
            commit(&store, vec![Write::Tally { key: rows::usage(made.id), by }]).await;
        }
    }
    let (busy, mended) = tokio::join!(
        async {
            for n in 0..200 {
                fill(&store, &made, &key(&format!("k{}", n * 2)), 20).await;
            }
        },
        store.recount()
    );
    let ((), mended) = (busy, mended.unwrap());
    assert_eq!(mended, 1);
    // 0 to 299 and every second one up to 398; those of even numbers have 20 bytes.
    assert_eq!(store.usage(made.id).await.unwrap(), usage((350, 150 * 10 + 200 * 20), (0, 0)));
    assert_eq!(store.recount().await.unwrap(), 0);
    store.close().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_bucket_that_is_removed() {
    let store = in_memory();
    let made = bucket(&store).await;
    fill(&store, &made, &key("a"), 10).await;
    let closed = store.close_bucket(&made).await.unwrap();
    store.remove_bucket(closed).await.unwrap();
    store.sweep().await.unwrap();
    assert!(store.usages().await.unwrap().is_empty());
}

#[tokio::test]
async fn pages_of_copies_leave_out_what_is_none() {
    let store = in_memory();
    let made = bucket(&store).await;
    for n in 0..600 {
        let at = key(&format!("k{n:03}"));
        if n % 3 == 0 {
            fill(&store, &made, &at, 1).await;
        } else {
            put(&store, &made, &at, &bytes_of(n, 1)).await;
        }
    }
    commit(&store, vec![put_row(rows::entry(made.id, "k003"), Bytes::from_static(b"rot"))]).await;
    // Another bucket's come behind them.
    let other = BucketId(made.id.0 + 1);
    let row = store.inner.kv.get(Table::Rows, &rows::entry(made.id, "k000")).await.unwrap().unwrap();
    commit(&store, vec![put_row(rows::entry(other, "x"), row.value)]).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.copies(made.id, after.as_ref()).await.unwrap();
        found.extend(page.into_iter().map(|(key, _)| key.as_str().to_owned()));
        let Some(next) = next else { break };
        after = Some(next);
    }
    let want: Vec<_> = (0..600).step_by(3).filter(|n| *n != 3).map(|n| format!("k{n:03}")).collect();
    assert_eq!(found, want);
}

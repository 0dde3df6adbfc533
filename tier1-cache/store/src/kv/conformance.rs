//! What every [`Kv`] does, run on each; and the embedded one against the one in memory, with crashes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fallthrough_object::SystemClock;
use proptest::prelude::*;

use super::embedded::{Drive, EmbeddedKv};
use super::memory::MemoryKv;
use super::*;
use crate::disk::Disk;
use crate::disk::lossy::{Fault, LossyDisk};
use crate::disk::os::OsDisk;
use crate::options::StoreOptions;
use crate::rows;

fn embedded(disk: Arc<dyn Disk>, drive: Drive) -> EmbeddedKv {
    let options = Arc::new(StoreOptions { cache_bytes: 1 << 20, ..StoreOptions::default() });
    EmbeddedKv::open(disk, options, Arc::new(SystemClock::new()), drive, None).unwrap()
}

async fn end_of(kv: &dyn Kv, commit: Commit) -> Result<Committed, Refused> {
    let (tell, end) = tokio::sync::oneshot::channel();
    kv.commit(
        commit,
        Box::new(move |done| {
            tell.send(done).unwrap();
        }),
    );
    end.await.unwrap()
}

fn put(key: &str, value: &str) -> Write {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Write::Put { table: Table::Rows, key: key.as_bytes().to_vec(), value }
}

fn remove(key: &str) -> Write {
    Write::Remove { table: Table::Rows, key: key.as_bytes().to_vec() }
}

fn count(key: &str, by: i64) -> Write {
    Write::Count { key: key.as_bytes().to_vec(), by }
}

fn when(key: &str, version: Option<u64>) -> Condition {
    Condition { key: key.as_bytes().to_vec(), version }
}

async fn get(kv: &dyn Kv, key: &str) -> Option<(u64, String)> {
    let row = kv.get(Table::Rows, key.as_bytes()).await.unwrap();
    row.map(|row| (row.version, String::from_utf8(row.value.to_vec()).unwrap()))
}

async fn suite(kv: &dyn Kv) {
    let first = end_of(
        kv,
        Commit { conditions: vec![when("a", None)], writes: vec![put("a", "1")], ..Commit::default() },
    )
    .await;
    let first = first.unwrap().version;
    assert_eq!(kv.sequence(), first);
    assert_eq!(get(kv, "a").await, Some((first, "1".to_owned())));
    // A refused commit writes nothing, and says which condition.
    let conditions = vec![when("b", None), when("a", Some(first + 1))];
    let refused =
        end_of(kv, Commit { conditions, writes: vec![put("b", "x"), remove("a")], ..Commit::default() })
            .await;
    assert!(matches!(refused, Err(Refused::Condition(1))), "{refused:?}");
    assert_eq!((get(kv, "b").await, kv.sequence()), (None, first));
    // Two tables do not mix, and a later write of a commit wins.
    let body = Write::Put { table: Table::Bodies, key: b"a".to_vec(), value: Bytes::from_static(b"body") };
    let commit = Commit {
        conditions: vec![when("a", Some(first))],
        writes: vec![put("a", "2"), body, put("a", "3")],
        ..Commit::default()
    };
    let second = end_of(kv, commit).await.unwrap().version;
    assert!(second > first);
    assert_eq!(get(kv, "a").await, Some((second, "3".to_owned())));
    let body = kv.get(Table::Bodies, b"a").await.unwrap().unwrap();
    assert_eq!((body.version, &body.value[..]), (second, &b"body"[..]));
    // Counters.
    let counted =
        end_of(kv, Commit { writes: vec![count("n", 1), count("n", 1)], ..Commit::default() }).await;
    assert_eq!(counted.unwrap().zeroed, Vec::<Vec<u8>>::new());
    let below =
        end_of(kv, Commit { writes: vec![put("c", "no"), count("n", -3)], ..Commit::default() }).await;
    assert!(matches!(below, Err(Refused::Store(StoreError::Corrupt { .. }))), "{below:?}");
    assert_eq!(get(kv, "c").await, None);
    let zeroed = end_of(kv, Commit { writes: vec![count("n", -2)], ..Commit::default() }).await.unwrap();
    assert_eq!(zeroed.zeroed, [b"n".to_vec()]);
    assert_eq!(get(kv, "n").await, None);
    // Tallies refuse nothing, and what cannot be read counts as zeros.
    let tally = |by| Write::Tally { key: b"t".to_vec(), by };
    let stands = async || kv.get(Table::Rows, b"t").await.unwrap().map(|row| tally_of(&row.value).unwrap());
    end_of(
        kv,
        Commit { writes: vec![put("t", "no tally"), tally([1, -2, 0, 4, 0, 5])], ..Commit::default() },
    )
    .await
    .unwrap();
    assert_eq!(stands().await, Some([1, -2, 0, 4, 0, 5]));
    end_of(kv, Commit { writes: vec![tally([0, 0, 0, 0, 0, -5])], ..Commit::default() }).await.unwrap();
    assert_eq!(stands().await, Some([1, -2, 0, 4, 0, 0]));
    assert_eq!(kv.get(Table::Rows, b"t").await.unwrap().unwrap().value.len(), 32, "as it always was");
    end_of(kv, Commit { writes: vec![tally([-1, 2, 0, -4, 0, 0])], ..Commit::default() }).await.unwrap();
    assert_eq!(stands().await, None);
    // What is taken is told of, once.
    end_of(kv, Commit { writes: vec![put("x", "1")], ..Commit::default() }).await.unwrap();
    for told in [vec![Bytes::from_static(b"1")], Vec::new()] {
        let writes = vec![Write::Take { key: b"x".to_vec() }];
        assert_eq!(end_of(kv, Commit { writes, ..Commit::default() }).await.unwrap().taken, told);
        assert_eq!(get(kv, "x").await, None);
    }
    // Ranges are bytewise, bounded, limited.
    for key in ["k1", "k2", "k3"] {
        end_of(kv, Commit { writes: vec![put(key, "v")], ..Commit::default() }).await.unwrap();
    }
    let keys = |found: Vec<(Vec<u8>, Row)>| -> Vec<String> {
        found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    let of = |bound: &str| bound.as_bytes().to_vec();
    let all = kv.range(Bound::Included(of("k")), Bound::Excluded(of("l")), 100).await.unwrap();
    assert_eq!(keys(all), ["k1", "k2", "k3"]);
    let some = kv.range(Bound::Excluded(of("k1")), Bound::Unbounded, 1).await.unwrap();
    assert_eq!(keys(some), ["k2"]);
    let none = kv.range(Bound::Included(of("l")), Bound::Excluded(of("k")), 9).await.unwrap();
    assert_eq!(keys(none), Vec::<String>::new());
    // A removed row is gone, its version never comes back.
    let removed = end_of(kv, Commit { writes: vec![remove("k1")], ..Commit::default() }).await.unwrap();
    let again = end_of(
        kv,
        Commit { conditions: vec![when("k1", None)], writes: vec![put("k1", "w")], ..Commit::default() },
    )
    .await;
    assert!(again.unwrap().version > removed.version);
    order_is_kept(kv).await;
    let before = kv.sequence();
    kv.close().await;
    let late = end_of(kv, Commit { writes: vec![put("late", "x")], ..Commit::default() }).await;
    assert!(matches!(late, Err(Refused::Store(_))), "{late:?}");
    assert_eq!(kv.sequence(), before);
}

/// Commits take their places as they are called; each sees the ones before it; ends come in that order, and
/// who is told may commit again.
async fn order_is_kept(kv: &dyn Kv) {
    let ends: Arc<Mutex<Vec<(usize, bool)>>> = Arc::default();
    let (last, all) = tokio::sync::oneshot::channel();
    let mut last = Some(last);
    for n in 0..50 {
        let commit = Commit {
            conditions: vec![when("order", None)],
            writes: vec![put("order", "first")],
            ..Commit::default()
        };
        let (ends, last) = (ends.clone(), if n == 49 { last.take() } else { None });
        let done: Done = Box::new(move |end| {
            ends.lock().unwrap().push((n, end.is_ok()));
            if let Some(last) = last {
                last.send(()).unwrap();
            }
        });
        kv.commit(commit, done);
    }
    all.await.unwrap();
    let want: Vec<_> = (0..50).map(|n| (n, n == 0)).collect();
    assert_eq!(*ends.lock().unwrap(), want);
}

#[tokio::test]
async fn memory_conforms() {
    suite(&MemoryKv::default()).await;
}

#[tokio::test]
async fn embedded_conforms() {
    suite(&embedded(Arc::new(LossyDisk::new()), Drive::Inline)).await;
    let dir = tempfile::tempdir().unwrap();
    suite(&embedded(Arc::new(OsDisk::new(dir.path()).unwrap()), Drive::Thread)).await;
}

/// Commits of one group see each other: only the first of two with the same condition happens.
pub(crate) async fn group() -> Result<(), String> {
    let kv = embedded(Arc::new(LossyDisk::new()), Drive::Inline);
    let ends: Arc<Mutex<Vec<bool>>> = Arc::default();
    let one =
        || Commit { conditions: vec![when("a", None)], writes: vec![put("a", "x")], ..Commit::default() };
    let told = |ends: &Arc<Mutex<Vec<bool>>>| -> Done {
        let ends = ends.clone();
        Box::new(move |end| ends.lock().unwrap().push(end.is_ok()))
    };
    kv.drain_group(vec![(one(), told(&ends)), (one(), told(&ends)), (one(), told(&ends))]);
    let ends = ends.lock().unwrap().clone();
    if ends == [true, false, false] { Ok(()) } else { Err(format!("ends of one group: {ends:?}")) }
}

#[tokio::test]
async fn commits_of_a_group_see_each_other() {
    group().await.unwrap();
}

/// Patient commits wait for company; whoever is in a hurry takes them along, in order, and so does a close.
#[tokio::test]
async fn patient_commits_share_the_sync_of_others() {
    let patience = std::time::Duration::from_secs(3600);
    let options = Arc::new(StoreOptions { cache_bytes: 1 << 20, patience, ..StoreOptions::default() });
    let disk = Arc::new(LossyDisk::new());
    let kv = EmbeddedKv::open(disk, options, Arc::new(SystemClock::new()), Drive::Thread, None).unwrap();
    let groups = kv.status().groups;
    let patient = |value| Commit { writes: vec![put("a", value)], patient: true, ..Commit::default() };
    let (mut first, mut second) = (Box::pin(end_of(&kv, patient("1"))), Box::pin(end_of(&kv, patient("2"))));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    let last = end_of(&kv, Commit { writes: vec![put("b", "3")], ..Commit::default() }).await.unwrap();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.version < second.version && second.version < last.version);
    assert_eq!(kv.status().groups - groups, 1, "one sync for the three");
    assert_eq!(get(&kv, "a").await, Some((second.version, "2".to_owned())));
    let mut never_alone = Box::pin(end_of(&kv, patient("4")));
    assert!(futures::poll!(&mut never_alone).is_pending());
    let (closed, ended) = tokio::join!(kv.close(), never_alone);
    let ((), ended) = (closed, ended.unwrap());
    assert!(ended.version > last.version);
}

/// While a thread tries to open the database anew, readers read and commits are told to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_while_the_database_is_opened_anew() {
    let disk = LossyDisk::new();
    let kv = embedded(Arc::new(disk.clone()), Drive::Thread);
    end_of(&kv, Commit { writes: vec![put("a", "1")], ..Commit::default() }).await.unwrap();
    // The failure, and three failed attempts to open.
    disk.fail(Fault::Sync, 4);
    let doubt = end_of(&kv, Commit { writes: vec![put("a", "2")], ..Commit::default() }).await;
    assert!(matches!(doubt, Err(Refused::Doubt { settled: false, .. })), "{doubt:?}");
    // What was in doubt never got as far as to be the newest commit.
    assert_eq!(get(&kv, "a").await.map(|(_, value)| value), Some("1".to_owned()));
    loop {
        match end_of(&kv, Commit { writes: vec![put("a", "3")], ..Commit::default() }).await {
            Err(Refused::Store(StoreError::Busy)) => tokio::task::yield_now().await,
            ended => break drop(ended.unwrap()),
        };
    }
    assert_eq!(get(&kv, "a").await.map(|(_, value)| value), Some("3".to_owned()));
    kv.close().await;
}

/// A step of the model test.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Writes and removals under conditions; `Some(true)` names the present version, `Some(false)` a wrong one.
    Commit(Vec<(u8, Option<bool>)>, Vec<(u8, Option<u16>)>),
    Count(u8, i8),
    Tally(u8, i8),
    /// Of the table of small bodies.
    Body(u8, Option<u16>),
    /// A range from one key to another, of at most so many rows.
    Range(u8, u8, usize),
    Crash(u64),
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let conditions = prop::collection::vec((0u8..6, prop::option::of(prop::bool::weighted(0.9))), 0..2);
    let writes = prop::collection::vec((0u8..6, prop::option::weighted(0.7, any::<u16>())), 0..4);
    let op = prop_oneof![
        6 => (conditions, writes).prop_map(|(conditions, writes)| Op::Commit(conditions, writes)),
        2 => (0u8..3, -1i8..3).prop_map(|(key, by)| Op::Count(key, by)),
        2 => (0u8..2, -1i8..2).prop_map(|(key, by)| Op::Tally(key, by)),
        1 => (0u8..3, prop::option::weighted(0.7, any::<u16>())).prop_map(|(key, len)| Op::Body(key, len)),
        1 => (0u8..7, 0u8..7, 0usize..5).prop_map(|(from, to, limit)| Op::Range(from, to, limit)),
        1 => any::<u64>().prop_map(Op::Crash),
    ];
    prop::collection::vec(op, 1..50)
}

async fn contents(kv: &dyn Kv) -> BTreeMap<Vec<u8>, Row> {
    let all = kv.range(Bound::Unbounded, Bound::Unbounded, usize::MAX).await.unwrap();
    let inspected = kv.inspect(Bound::Unbounded, usize::MAX).await.unwrap();
    let same: Keyed = inspected.into_iter().map(|(key, row)| (key, row.unwrap())).collect();
    assert_eq!(all, same, "two ways to read everything");
    let folded: Arc<Mutex<Keyed>> = Arc::default();
    let rows = folded.clone();
    let each = move |key: &[u8], row: Result<Row, StoreError>| {
        rows.lock().unwrap().push((key.to_vec(), row.unwrap()));
        true
    };
    kv.fold(Bound::Unbounded, Box::new(each)).await.unwrap();
    assert_eq!(all, *folded.lock().unwrap(), "a third");
    // Where an engine keeps its sequence is its own business.
    all.into_iter().filter(|(key, _)| key != rows::SEQUENCE).collect()
}

/// A table: version and value of each key.
type PlainTable = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

/// What an engine promises, in as few words as possible.
#[derive(Default)]
struct Plain {
    tables: [PlainTable; 2],
    commits: u64,
}

impl Plain {
    fn commit(&mut self, commit: &Commit) -> Result<u64, &'static str> {
        let [rows, _] = &self.tables;
        if commit.conditions.iter().any(|c| rows.get(&c.key).map(|(version, _)| *version) != c.version) {
            return Err("condition");
        }
        let version = self.commits + 1;
        let [mut rows, mut bodies] = self.tables.clone();
        for write in &commit.writes {
            let table = |table| if table == Table::Rows { 0 } else { 1 };
            match write {
                Write::Put { table: t, key, value } => {
                    [&mut rows, &mut bodies][table(*t)].insert(key.clone(), (version, value.to_vec()));
                }
                Write::Remove { table: t, key } => drop([&mut rows, &mut bodies][table(*t)].remove(key)),
                Write::Take { key } => drop(rows.remove(key)),
                Write::Tally { key, by } => {
                    let was = rows.get(key).map_or([0; 6], |(_, tally)| tally_of(tally).unwrap());
                    let now: Vec<i64> = was.iter().zip(by).map(|(was, by)| was + by).collect();
                    match now.iter().all(|number| *number == 0) {
                        true => drop(rows.remove(key)),
                        false => {
                            let len = if now[4..] == [0, 0] { 4 } else { 6 };
                            let value = now[..len].iter().flat_map(|number| number.to_le_bytes()).collect();
                            rows.insert(key.clone(), (version, value));
                        }
                    }
                }
                Write::Count { key, by } => {
                    let was = rows
                        .get(key)
                        .map_or(0, |(_, count)| i64::from_le_bytes(count[..].try_into().unwrap()));
                    match was + by {
                        ..0 => return Err("count"),
                        0 => drop(rows.remove(key)),
                        now => drop(rows.insert(key.clone(), (version, now.to_le_bytes().to_vec()))),
                    }
                }
            }
        }
        (self.tables, self.commits) = ([rows, bodies], version);
        Ok(version)
    }
}

/// Drives all three and compares after each step; an error tells the first difference.
pub(crate) async fn compare(ops: &[Op]) -> Result<(), String> {
    let (mut disk, model, mut plain) = (LossyDisk::new(), MemoryKv::default(), Plain::default());
    let mut kv = embedded(Arc::new(disk.clone()), Drive::Inline);
    for (n, op) in ops.iter().enumerate() {
        let differs = |what: String| format!("step {n}, {op:?}: {what}");
        let body_of = |len: u16| Bytes::from(vec![b'b'; usize::from(len % 5000)]);
        let commit = match op {
            Op::Commit(conditions, writes) => {
                let mut commit = Commit::default();
                for (key, expect) in conditions {
                    let now = get(&model, &format!("k{key}")).await.map(|(version, _)| version);
                    let version = match expect {
                        None => None,
                        Some(true) => now,
                        Some(false) => Some(now.unwrap_or(0) + 1000),
                    };
                    commit.conditions.push(when(&format!("k{key}"), version));
                }
                let of = |(key, value): &(u8, Option<u16>)| match value {
                    Some(len) => put(&format!("k{key}"), &"v".repeat(usize::from(*len % 5000))),
                    None => remove(&format!("k{key}")),
                };
                commit.writes = writes.iter().map(of).collect();
                commit
            }
            Op::Count(key, by) => {
                let writes = vec![count(&format!("n{key}"), i64::from(*by))];
                Commit { writes, ..Commit::default() }
            }
            Op::Tally(key, by) => {
                // Twice, and one of them with a row: a tally sees what stands before it in its commit.
                let by = [i64::from(*by), 0, -i64::from(*by), 1, 0, i64::from(*by)];
                let tally = |by| Write::Tally { key: format!("t{key}").into_bytes(), by };
                let writes = vec![tally(by), put("k0", "t"), tally([0, 0, 0, -1, 0, 0])];
                Commit { writes, ..Commit::default() }
            }
            Op::Body(key, len) => {
                let (table, key) = (Table::Bodies, vec![*key]);
                let write = match len {
                    Some(len) => Write::Put { table, key, value: body_of(*len) },
                    None => Write::Remove { table, key },
                };
                Commit { writes: vec![write], ..Commit::default() }
            }
            Op::Range(from, to, limit) => {
                let bound = |key: &u8| format!("k{key}").into_bytes();
                let bounds = || (Bound::Excluded(bound(from)), Bound::Included(bound(to)));
                let got = kv.range(bounds().0, bounds().1, *limit).await.unwrap();
                let memory = model.range(bounds().0, bounds().1, *limit).await.unwrap();
                let inside =
                    plain.tables[0].iter().filter(|(key, _)| **key > bound(from) && **key <= bound(to));
                let want: Vec<_> =
                    inside.take(*limit).map(|(key, (version, _))| (key.clone(), *version)).collect();
                let seen = |rows: &Keyed| {
                    rows.iter().map(|(key, row)| (key.clone(), row.version)).collect::<Vec<_>>()
                };
                if seen(&got) != want || seen(&memory) != want {
                    return Err(differs(format!("{got:?} and {memory:?} instead of {want:?}")));
                }
                continue;
            }
            Op::Crash(seed) => {
                let after = disk.crashed(*seed);
                disk.kill();
                disk = after;
                kv = embedded(Arc::new(disk.clone()), Drive::Inline);
                Commit::default()
            }
        };
        let expected = plain.commit(&commit);
        let (got, want) = (end_of(&kv, commit.clone()).await, end_of(&model, commit).await);
        if format!("{got:?}") != format!("{want:?}") {
            return Err(differs(format!("{got:?} instead of {want:?}")));
        }
        if got.as_ref().ok().map(|committed| committed.version) != expected.ok() {
            return Err(differs(format!("{got:?} instead of {expected:?}")));
        }
        let (got, want) = (contents(&kv).await, contents(&model).await);
        if got != want {
            return Err(differs(format!("{got:?} instead of {want:?}")));
        }
        let plainly: PlainTable =
            got.into_iter().map(|(key, row)| (key, (row.version, row.value.to_vec()))).collect();
        if plainly != plain.tables[0] {
            return Err(differs(format!("{plainly:?} instead of {:?}", plain.tables[0])));
        }
        for key in 0..3u8 {
            let got = kv.get(Table::Bodies, &[key]).await.unwrap();
            let memory = model.get(Table::Bodies, &[key]).await.unwrap();
            let want = plain.tables[1].get(&vec![key]);
            let seen = got.as_ref().map(|row| (row.version, row.value.to_vec()));
            if seen.as_ref() != want || got != memory {
                return Err(differs(format!("body {key}: {got:?} and {memory:?} instead of {want:?}")));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("FALLTHROUGH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96), ..ProptestConfig::default() })]
    #[test]
    fn the_embedded_engine_does_what_the_model_does(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(&ops)).map_err(TestCaseError::fail)?;
    }
}

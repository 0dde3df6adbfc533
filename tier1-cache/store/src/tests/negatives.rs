//! Negative answers end and are bounded, and tombstones go with the shadow that they hid.

use std::sync::atomic::{AtomicU64, Ordering};

use fallthrough_object::Monotonic;

use super::*;
use crate::negatives::MAX_ROWS;
use crate::{BucketMode, EntryState, Erased, Observation, ShadowRule, ShadowTarget};

/// A clock that stands where it is put.
#[derive(Debug, Default)]
struct Standing(AtomicU64);

impl Standing {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::default()
    }
}

async fn open_at(disk: &LossyDisk, clock: &Arc<Standing>) -> Store {
    let clock: Arc<dyn Clock> = clock.clone();
    Store::open_on(
        Arc::new(disk.clone()),
        options(),
        clock,
        Arc::new(SeededEntropy::new(1)),
        Drive::Inline,
        None,
    )
    .await
    .unwrap()
}

async fn absent(store: &Store, bucket: &Bucket, raw: &str, until: u64) {
    let previous = store.lookup(bucket.id, &key(raw)).await.unwrap();
    let what = Observation::Absent { until: Timestamp(until), invalid: false };
    store.observe(bucket, &key(raw), previous.as_deref(), what).await.unwrap();
}

async fn names(store: &Store, bucket: &Bucket) -> Vec<String> {
    let found = store.scan(bucket.id, std::ops::Bound::Unbounded, "", 1000).await.unwrap();
    found.into_iter().map(|(key, _)| key.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_negative_answer_is_removed_when_it_ends_and_nothing_else_is() {
    let clock = Arc::new(Standing::default());
    let disk = LossyDisk::new();
    let store = open_at(&disk, &clock).await;
    let made = bucket(&store).await;
    for (raw, until) in [("early", 10), ("late", 30), ("written", 10), ("again", 10)] {
        absent(&store, &made, raw, until).await;
    }
    // Written meanwhile, and asked for anew: what was noted before has no say any more.
    put(&store, &made, &key("written"), &bytes_of(1, 10)).await;
    absent(&store, &made, "again", 30).await;
    assert_eq!(store.expire_negatives().await.unwrap(), 0);
    clock.set(10);
    assert_eq!(store.expire_negatives().await.unwrap(), 1);
    assert_eq!(names(&store, &made).await, ["again", "late", "written"]);
    assert_eq!(store.lookup(made.id, &key("early")).await.unwrap(), None);
    clock.set(30);
    assert_eq!(store.expire_negatives().await.unwrap(), 2);
    assert_eq!(names(&store, &made).await, ["written"]);
    assert_eq!(store.status().negatives, 0);
}

#[tokio::test]
async fn those_of_an_earlier_start_are_found() {
    let clock = Arc::new(Standing::default());
    let disk = LossyDisk::new();
    let store = open_at(&disk, &clock).await;
    let made = bucket(&store).await;
    for n in 0..300 {
        absent(&store, &made, &format!("early/{n:03}"), 10).await;
    }
    absent(&store, &made, "late", 30).await;
    put(&store, &made, &key("written"), &bytes_of(1, 10)).await;
    store.close().await;
    drop(store);
    clock.set(20);
    let store = open_at(&disk, &clock).await;
    assert_eq!(store.sweep().await.unwrap().negatives_removed, 300);
    assert_eq!(names(&store, &made).await, ["late", "written"]);
    clock.set(30);
    assert_eq!(store.expire_negatives().await.unwrap(), 1);
    assert_eq!(names(&store, &made).await, ["written"]);
}

pub(super) async fn bounded() -> Result<(), String> {
    let clock: Arc<dyn Clock> = Arc::new(Standing::default());
    let store = Store::in_memory(options(), clock, Arc::new(SeededEntropy::new(1)));
    let made = bucket(&store).await;
    let mut noted = 0;
    while store.takes_negatives() {
        absent(&store, &made, &format!("{noted}"), 10).await;
        noted += 1;
        if noted > MAX_ROWS {
            return Err("there is no end to them".to_owned());
        }
    }
    if noted == MAX_ROWS { Ok(()) } else { Err(format!("{noted} were taken")) }
}

#[tokio::test]
async fn there_is_a_bound_to_them() {
    bounded().await.unwrap();
}

#[tokio::test]
async fn none_is_noted_on_a_disk_without_space() {
    for (free, taken) in [(1 << 30, true), (1000, false)] {
        let disk = LossyDisk::new();
        disk.set_free(free);
        let store = open_with(&disk, StoreOptions { reserve_bytes: 1 << 20, ..options() }).await.unwrap();
        assert_eq!(store.takes_negatives(), taken, "{free} bytes free");
    }
}

/// Tombstones are gone once a cleared shadow was swept; a shadow that takes another's place keeps them.
pub(super) async fn cleared() -> Result<(), String> {
    let disk = LossyDisk::new();
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    let made = bucket(&store).await;
    let shadowed = |name: &str| BucketSettings {
        mode: BucketMode::Migrate,
        shadow: vec![ShadowRule::to(ShadowTarget::Origin { origin: name.to_owned() })],
        ..BucketSettings::default()
    };
    let set = async |bucket: &Bucket, settings| store.set_bucket(bucket, settings).await.unwrap();
    let first = set(&made, shadowed("first")).await;
    for n in 0..200 {
        store.erase(&first, &key(&format!("deleted/{n:03}")), None, Erased::Tombstone).await.unwrap();
    }
    put(&store, &first, &key("written"), &bytes_of(1, 10)).await;
    let second = set(&first, shadowed("second")).await;
    if store.sweep_cleared(made.id).await.unwrap() != 0 || names(&store, &made).await.len() != 201 {
        return Err("another shadow is no cleared one".to_owned());
    }
    let plain = set(&second, BucketSettings::default()).await;
    // A crash between the two: the next start's sweep does it.
    let image = disk.crashed(3);
    let again = open(&image).await.map_err(|e| e.to_string())?;
    let swept = again.sweep().await.map_err(|e| e.to_string())?.tombstones_removed;
    if swept != 200 || names(&again, &made).await != ["written"] {
        return Err(format!("{swept} tombstones were swept after a crash"));
    }
    store.sweep_cleared(made.id).await.map_err(|e| e.to_string())?;
    let third = set(&plain, shadowed("third")).await;
    // What is deleted under the new shadow stays deleted, whatever is swept later.
    store.erase(&third, &key("deleted/007"), None, Erased::Tombstone).await.map_err(|e| e.to_string())?;
    store.sweep().await.map_err(|e| e.to_string())?;
    let left = names(&store, &made).await;
    if left != ["deleted/007", "written"] {
        return Err(format!("left are {left:?}"));
    }
    let state = store.lookup(made.id, &key("deleted/007")).await.map_err(|e| e.to_string())?.unwrap();
    if state.state == EntryState::Tombstone { Ok(()) } else { Err(format!("{state:?}")) }
}

#[tokio::test]
async fn tombstones_go_with_the_shadow_that_they_hid() {
    cleared().await.unwrap();
}

//! The store against a map, step by step, with crash and reopen anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;
use crate::{CommitError, EntryState, Erased, Observation, Usage};

const KEYS: [&str; 4] = ["a", "a/b", "b", "é\0"];
/// Empty, small, in memory while staged, spilled.
const LENS: [usize; 4] = [0, 40, 200, 700];

/// One step. Keys and views are drawn from few, so that steps collide.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `stale`: with the view of the row before the last change.
    Put {
        key: usize,
        len: usize,
        stale: bool,
    },
    Fill {
        key: usize,
        len: usize,
    },
    Erase {
        key: usize,
        tombstone: bool,
        stale: bool,
    },
    Absent {
        key: usize,
    },
    Known {
        key: usize,
    },
    Fresh {
        key: usize,
    },
    /// The bytes of an object rot, and the scrubber comes by.
    Rot {
        key: usize,
        byte: usize,
    },
    /// Everybody's view of the bucket's gate grows old.
    Reshadow,
    Scan,
    /// The process ends and starts again, orderly or not; `seed` chooses what of the unsynced survives.
    Crash {
        seed: u64,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let len = 0..LENS.len();
    let step = prop_oneof![
        5 => (key.clone(), len.clone(), prop::bool::weighted(0.15))
            .prop_map(|(key, len, stale)| Step::Put { key, len, stale }),
        3 => (key.clone(), len).prop_map(|(key, len)| Step::Fill { key, len }),
        3 => (key.clone(), any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(|(key, tombstone, stale)| Step::Erase { key, tombstone, stale }),
        1 => key.clone().prop_map(|key| Step::Absent { key }),
        1 => key.clone().prop_map(|key| Step::Known { key }),
        1 => key.clone().prop_map(|key| Step::Fresh { key }),
        2 => (key, any::<usize>()).prop_map(|(key, byte)| Step::Rot { key, byte }),
        1 => Just(Step::Reshadow),
        1 => Just(Step::Scan),
        2 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    disk: LossyDisk,
    store: Store,
    bucket: Arc<Bucket>,
    /// The reference: what each key is, and its bytes.
    model: BTreeMap<usize, (Entry, Bytes)>,
    /// The row of each key before its last change.
    before: BTreeMap<usize, Option<Entry>>,
    /// What is in quarantine, and whether a client wrote it.
    aside: BTreeMap<crate::BlobId, bool>,
    versions: BTreeSet<u64>,
    count: u64,
}

type Outcome = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Outcome {
    if got == want { Ok(()) } else { Err(format!("{what}: {got:?} instead of {want:?}")) }
}

/// Runs a history; an error tells the first difference.
pub(super) async fn check(steps: &[Step]) -> Outcome {
    let disk = LossyDisk::new();
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    let bucket = bucket(&store).await;
    let (model, before) = (BTreeMap::new(), BTreeMap::new());
    let (aside, versions) = (BTreeMap::new(), BTreeSet::new());
    let mut world = World { disk, store, bucket, model, before, aside, versions, count: 0 };
    for (n, step) in steps.iter().enumerate() {
        world.take(step).await.map_err(|difference| format!("step {n}, {step:?}: {difference}"))?;
        world.compare().await.map_err(|difference| format!("after step {n}, {step:?}: {difference}"))?;
    }
    same("tallies to be mended", world.store.recount().await.map_err(|e| e.to_string())?, 0)
}

impl World {
    fn view(&self, at: usize, stale: bool) -> Option<Entry> {
        let now = self.model.get(&at).map(|(entry, _)| entry.clone());
        if stale { self.before.get(&at).cloned().unwrap_or(now) } else { now }
    }

    fn changed(&mut self, at: usize, version: u64, now: Option<(Entry, Bytes)>) -> Outcome {
        if !self.versions.insert(version) {
            return Err(format!("version {version} was used before"));
        }
        if self.versions.last() != Some(&version) {
            return Err(format!("version {version} is not the newest"));
        }
        let blob = |entry: &Entry| entry.state.stored().and_then(|stored| blob_of(&stored.blob));
        let old = self.model.get(&at).and_then(|(entry, _)| blob(entry));
        if old != now.as_ref().and_then(|(entry, _)| blob(entry))
            && old.is_some_and(|old| self.aside.get(&old) == Some(&false))
        {
            // A damaged copy is of no use to anybody once it is replaced.
            self.aside.retain(|id, _| Some(*id) != old);
        }
        self.before.insert(at, self.model.get(&at).map(|(entry, _)| entry.clone()));
        match now {
            Some(now) => self.model.insert(at, now),
            None => self.model.remove(&at),
        };
        Ok(())
    }

    async fn publish(&mut self, at: usize, len: usize, stale: bool, fill: bool) -> Outcome {
        self.count += 1;
        let body = bytes_of(self.count, LENS[len]);
        let sealed = seal(&self.store, &body).await.map_err(|e| e.to_string())?;
        let view = self.view(at, stale);
        let masked = matches!(
            view.as_ref().map(|entry| &entry.state),
            Some(EntryState::Written(_) | EntryState::Tombstone)
        );
        let stands = view.as_ref().map(|e| e.row_version) == self.view(at, false).map(|e| e.row_version);
        let state = if fill {
            NewState::Filled(info(body.len()), provenance())
        } else {
            NewState::Written(info(body.len()))
        };
        let end = self.store.publish(&self.bucket, &key(KEYS[at]), view.as_ref(), state, sealed).await;
        match end {
            Ok(entry) if stands && !(fill && masked) => {
                same("revision", entry.revision.0, entry.row_version)?;
                self.changed(at, entry.row_version, Some(((*entry).clone(), body)))
            }
            Err(CommitError::Conflict) if !stands || (fill && masked) => Ok(()),
            other => Err(format!("publish ended with {other:?}")),
        }
    }

    async fn erase(&mut self, at: usize, tombstone: bool, stale: bool) -> Outcome {
        let view = self.view(at, stale);
        let stands = view.as_ref().map(|e| e.row_version) == self.view(at, false).map(|e| e.row_version);
        let to = if tombstone { Erased::Tombstone } else { Erased::Unknown };
        match self.store.erase(&self.bucket, &key(KEYS[at]), view.as_ref(), to).await {
            Ok(revision) if stands => {
                let state = EntryState::Tombstone;
                let left = Entry { revision, row_version: revision.0, state, delivered: None };
                self.changed(at, revision.0, tombstone.then(|| (left, Bytes::new())))
            }
            Err(CommitError::Conflict) if !stands => Ok(()),
            other => Err(format!("erase ended with {other:?}")),
        }
    }

    async fn observe(&mut self, at: usize, what: Observation) -> Outcome {
        let view = self.view(at, false);
        let allowed = match (&what, view.as_ref().map(|entry| &entry.state)) {
            (_, Some(EntryState::Written(_) | EntryState::Tombstone)) => false,
            (Observation::Fresh(..), state) => matches!(state, Some(EntryState::Filled(..))),
            _ => true,
        };
        let body = self.model.get(&at).map(|(_, body)| body.clone()).unwrap_or_default();
        match self.store.observe(&self.bucket, &key(KEYS[at]), view.as_ref(), what).await {
            Ok(entry) if allowed => {
                same("kept revision", entry.revision, view.map(|e| e.revision).unwrap_or_default())?;
                let body = if entry.state.stored().is_some() { body } else { Bytes::new() };
                self.changed(at, entry.row_version, Some(((*entry).clone(), body)))
            }
            Err(CommitError::Conflict) if !allowed => Ok(()),
            other => Err(format!("observe ended with {other:?}")),
        }
    }

    async fn take(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Put { key, len, stale } => self.publish(*key, *len, *stale, false).await,
            Step::Fill { key, len } => self.publish(*key, *len, false, true).await,
            Step::Erase { key, tombstone, stale } => self.erase(*key, *tombstone, *stale).await,
            Step::Absent { key } => {
                self.observe(*key, Observation::Absent { until: Timestamp(7), invalid: true }).await
            }
            Step::Known { key } => self.observe(*key, Observation::Known(info(9), provenance())).await,
            Step::Fresh { key } => {
                let size = match self.view(*key, false).map(|e| e.state) {
                    Some(EntryState::Filled(stored, _)) => stored.info.size_bytes as usize,
                    _ => 0,
                };
                self.observe(*key, Observation::Fresh(info(size), provenance())).await
            }
            Step::Reshadow => {
                let mut settings = self.bucket.settings.clone();
                let target = crate::ShadowTarget::Origin { origin: format!("o{}", self.count) };
                settings.shadow = vec![crate::ShadowRule::to(target)];
                self.count += 1;
                let old = self.bucket.clone();
                self.bucket = self.store.set_bucket(&old, settings).await.map_err(|e| e.to_string())?;
                self.versions.insert(self.bucket.settings_version);
                let (view, sealed) = (self.view(0, false), seal(&self.store, &bytes_of(0, 100)).await);
                let late = NewState::Written(info(100));
                let sealed = sealed.map_err(|e| e.to_string())?;
                match self.store.publish(&old, &key(KEYS[0]), view.as_ref(), late, sealed).await {
                    Err(CommitError::Gate) => Ok(()),
                    other => Err(format!("a commit under old rules ended with {other:?}")),
                }
            }
            Step::Rot { key, byte } => self.rot(*key, *byte).await,
            Step::Scan => Ok(()),
            Step::Crash { seed } => self.crash(*seed).await,
        }
    }

    async fn rot(&mut self, at: usize, byte: usize) -> Outcome {
        let Some((entry, _)) = self.model.get(&at).cloned() else { return Ok(()) };
        let Some(stored) = entry.state.stored() else { return Ok(()) };
        let Some(id) = blob_of(&stored.blob) else { return Ok(()) };
        if let (crate::BlobRef::File(_), false) = (&stored.blob, self.aside.contains_key(&id)) {
            let name = format!("blobs/{:02x}/{:016x}-{:016x}", id.number & 0xff, id.epoch, id.number);
            let len = self.disk.content(&name).len();
            self.disk.damage(&name, byte % len);
            let found = scrub::check(&self.store, &entry).await;
            same("found", matches!(found, Err(StoreError::Corrupt { .. })), true)?;
        }
        let put_aside = self.store.quarantine(&self.bucket, &key(KEYS[at]), &entry, "rot").await;
        same("put aside", put_aside.map_err(|e| e.to_string())?, true)?;
        self.aside.insert(id, matches!(entry.state, EntryState::Written(_)));
        Ok(())
    }

    async fn crash(&mut self, seed: u64) -> Outcome {
        let after = self.disk.crashed(seed);
        self.disk.kill();
        self.disk = after;
        self.store = open(&self.disk).await.map_err(|e| format!("open after a crash: {e}"))?;
        self.store.sweep().await.map_err(|e| e.to_string())?;
        // Negative answers of the earlier start were not believed any more.
        self.model.retain(|_, (entry, _)| !matches!(entry.state, EntryState::Absent { .. }));
        // Files are what entries refer to, no more and no less.
        let used = self.model.values().filter_map(|(entry, _)| entry.state.stored());
        let used = used.filter(|stored| match &stored.blob {
            crate::BlobRef::File(id) => !self.aside.contains_key(id),
            crate::BlobRef::Row(_) | crate::BlobRef::Empty | crate::BlobRef::Parts(_) => false,
        });
        let used = used.count();
        same("files in quarantine", self.disk.names("quarantine/").len(), self.aside.len())?;
        same("files after the sweep", self.disk.names("blobs/").len(), used)?;
        same("staging after the sweep", self.disk.names("staging/").len(), 0)
    }

    /// The sum over all objects.
    fn held(&self) -> Usage {
        let mut usage = Usage::default();
        for (entry, body) in self.model.values() {
            let held = match entry.state {
                EntryState::Filled(..) => &mut usage.filled,
                EntryState::Written(_) => &mut usage.written,
                EntryState::Known(..) | EntryState::Absent { .. } | EntryState::Tombstone => continue,
            };
            held.objects += 1;
            held.bytes += body.len() as u64;
        }
        usage
    }

    async fn compare(&self) -> Outcome {
        let bucket = self.store.bucket(&self.bucket.name).await.map_err(|e| e.to_string())?;
        same("bucket", bucket.as_deref(), Some(&*self.bucket))?;
        for (at, raw) in KEYS.iter().enumerate() {
            let found = self.store.lookup(self.bucket.id, &key(raw)).await.map_err(|e| e.to_string())?;
            let want = self.model.get(&at);
            same(raw, found.as_deref(), want.map(|(entry, _)| entry))?;
            if let Some((stored, body)) = want.and_then(|(e, body)| Some((e.state.stored()?, body))) {
                let got = read(&self.store, stored).await;
                if blob_of(&stored.blob).is_some_and(|id| self.aside.contains_key(&id)) {
                    same("served from quarantine", got.is_ok(), false)?;
                } else {
                    same("body", got.map_err(|e| e.to_string())?, body.to_vec())?;
                }
            }
        }
        let held = self.store.usage(self.bucket.id).await.map_err(|e| e.to_string())?;
        same("what is held", held, self.held())?;
        let listed = self.store.quarantined(None, 1000).await.map_err(|e| e.to_string())?;
        let listed: BTreeMap<_, _> = listed.iter().map(|found| (found.blob, found.row.written)).collect();
        same("quarantine", &listed, &self.aside)?;
        let found = self.store.scan(self.bucket.id, Bound::Unbounded, "", 100).await;
        let found = found.map_err(|e| e.to_string())?;
        let mut want: Vec<(Key, Entry)> =
            self.model.iter().map(|(at, (entry, _))| (key(KEYS[*at]), entry.clone())).collect();
        want.sort_by(|a, b| a.0.cmp(&b.0));
        same("scan", found, want)
    }
}

fn blob_of(blob: &crate::BlobRef) -> Option<crate::BlobId> {
    blob.ids().next()
}

/// One runtime per history; no threads, no timers.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("FALLTHROUGH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96), ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_a_map_that_survives_crashes(steps in steps()) {
        run(check(&steps)).map_err(TestCaseError::fail)?;
    }
}

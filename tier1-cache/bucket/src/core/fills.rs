//! The table of running fills: at most one for each key that a reader may join, and whether it may still
//! commit.
//!
//! The table is plain data. Whoever owns it holds a lock while calling it **and** while ordering the
//! transaction that the call is about: that is the critical section of `docs/semantics.md`, section 1.
//! A write, delete, purge, detach or rule change marks the key's fill as superseded there; from then on
//! the fill serves the readers that it has, takes no new ones, and commits nothing.

use std::collections::{BTreeMap, BTreeSet};

use fallthrough_object::Key;
use fallthrough_store::{BucketId, Revision};

use crate::core::mutants::{Mutant, planted};

/// A key of one incarnation of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot {
    /// The bucket's incarnation.
    pub(crate) bucket: BucketId,
    /// The key.
    pub(crate) key: Key,
}

/// Identifies a fill; never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FillId(pub u64);

/// What a joiner gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joined<T> {
    /// This caller started the fill and has to run it.
    Started(FillId, T),
    /// A fill was running already.
    Running(FillId, T),
}

#[derive(Debug)]
struct Running<T> {
    id: FillId,
    base: Revision,
    gate_version: u64,
    shared: T,
}

/// Running fills that readers may join, by key. `T` is what readers attach to.
#[derive(Debug)]
pub(crate) struct FillTable<T> {
    // Ordered, so that one seed is one history. Bounded by `max`.
    running: BTreeMap<Slot, Running<T>>,
    /// Who is about to keep blocks of a key's object. Bounded by the blocks on their way.
    keeping: BTreeMap<Slot, BTreeSet<FillId>>,
    next: u64,
    max: usize,
}

/// The table holds as many fills as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

impl<T: Clone> FillTable<T> {
    /// An empty table for at most `max` fills.
    pub(crate) fn new(max: usize) -> Self {
        Self { running: BTreeMap::new(), keeping: BTreeMap::new(), next: 1, max }
    }

    /// Joins the fill of `slot`, or starts one with what `start` makes.
    ///
    /// `base` is the revision that the caller's lookup found (zero for no entry) and `gate_version` the gate
    /// of the bucket it looked at. A running fill that began from another gate is superseded: its shadow is
    /// no longer the bucket's.
    ///
    /// # Errors
    /// [`TableFull`]: shed.
    pub(crate) fn join(
        &mut self,
        slot: &Slot,
        base: Revision,
        gate_version: u64,
        start: impl FnOnce(FillId) -> T,
    ) -> Result<Joined<T>, TableFull> {
        if let Some(running) = self.running.get(slot) {
            if running.gate_version >= gate_version || planted(Mutant::OldGateJoined) {
                return Ok(Joined::Running(running.id, running.shared.clone()));
            }
            self.running.remove(slot);
        }
        if self.running.len() >= self.max {
            return Err(TableFull);
        }
        let id = FillId(self.next);
        self.next += 1;
        let shared = start(id);
        self.running.insert(slot.clone(), Running { id, base, gate_version, shared: shared.clone() });
        Ok(Joined::Started(id, shared))
    }

    /// What a reader who has seen the gate `gate_version` of the bucket may attach to: a fill from an older gate asks
    /// a shadow that is no longer the bucket's.
    pub(crate) fn joinable(&self, slot: &Slot, gate_version: u64) -> Option<&T> {
        let running = self.running.get(slot)?;
        (running.gate_version >= gate_version || planted(Mutant::OldGateJoined)).then_some(&running.shared)
    }

    /// What readers of the running fill of `slot` attach to.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&T> {
        self.running.get(slot).map(|running| &running.shared)
    }

    /// Whether the fill may still commit: it is in the table, and the entry has not moved since it began
    /// (`revision` is what is there now). That the gate has not moved is the commit's own condition.
    pub(crate) fn may_commit(&self, slot: &Slot, id: FillId, revision: Revision) -> bool {
        if planted(Mutant::NoSupersession) {
            return true;
        }
        self.running
            .get(slot)
            .is_some_and(|fill| fill.id == id && (fill.base == revision || planted(Mutant::NoRevisionCheck)))
    }

    /// Somebody is about to ask for blocks of the key's object, and wants to keep them.
    pub(crate) fn begin_keeping(&mut self, slot: &Slot) -> FillId {
        let id = FillId(self.next);
        self.next += 1;
        self.keeping.entry(slot.clone()).or_default().insert(id);
        id
    }

    /// Whether the key is what it was when this began: nobody has written, deleted, purged or filled it since.
    pub(crate) fn may_keep(&self, slot: &Slot, id: FillId) -> bool {
        planted(Mutant::BlocksNotSuperseded) || self.keeping.get(slot).is_some_and(|ids| ids.contains(&id))
    }

    /// It has ended.
    pub(crate) fn end_keeping(&mut self, slot: &Slot, id: FillId) {
        if let Some(ids) = self.keeping.get_mut(slot) {
            ids.remove(&id);
            if ids.is_empty() {
                self.keeping.remove(slot);
            }
        }
    }

    /// No block that is on its way is kept under the key.
    pub(crate) fn supersede_blocks(&mut self, slot: &Slot) {
        self.keeping.remove(slot);
    }

    /// Somebody writes, deletes or purges the key: its fill commits nothing from now on, and nobody joins it.
    pub(crate) fn supersede(&mut self, slot: &Slot) -> Option<T> {
        self.supersede_blocks(slot);
        if planted(Mutant::NoSupersession) {
            return None;
        }
        self.running.remove(slot).map(|running| running.shared)
    }

    /// The bucket is deleted, or its shadow or mode changes: none of its fills commits from now on.
    pub(crate) fn supersede_bucket(&mut self, bucket: BucketId) -> usize {
        if planted(Mutant::BucketNotSuperseded) {
            return 0;
        }
        self.keeping.retain(|slot, _| slot.bucket != bucket);
        let before = self.running.len();
        self.running.retain(|slot, _| slot.bucket != bucket);
        before - self.running.len()
    }

    /// The fill has ended. By id: a purge may have let a successor start under the same key.
    pub(crate) fn end(&mut self, slot: &Slot, id: FillId) {
        if self.running.get(slot).is_some_and(|running| running.id == id || planted(Mutant::EndsByKey)) {
            self.running.remove(slot);
        }
    }

    /// What readers of the bucket's running fills attach to.
    pub(crate) fn of_bucket(&self, bucket: BucketId) -> impl Iterator<Item = &T> {
        self.running.iter().filter(move |(slot, _)| slot.bucket == bucket).map(|(_, running)| &running.shared)
    }

    /// How many fills can be joined.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(key: &str) -> Slot {
        Slot { bucket: BucketId(1), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn one_fill_for_each_key() {
        let mut table = FillTable::new(2);
        let Ok(Joined::Started(first, ())) = table.join(&slot("a"), Revision(0), 1, |_| ()) else { panic!() };
        assert_eq!(table.join(&slot("a"), Revision(0), 1, |_| ()), Ok(Joined::Running(first, ())));
        assert!(matches!(table.join(&slot("b"), Revision(0), 1, |_| ()), Ok(Joined::Started(..))));
        assert_eq!(table.join(&slot("c"), Revision(0), 1, |_| ()), Err(TableFull));
        table.end(&slot("a"), first);
        assert!(matches!(table.join(&slot("c"), Revision(0), 1, |_| ()), Ok(Joined::Started(..))));
    }

    #[test]
    fn a_fill_that_ends_takes_only_itself_away() {
        let ends = || {
            let mut table = FillTable::new(9);
            let Ok(Joined::Started(first, ())) = table.join(&slot("a"), Revision(0), 1, |_| ()) else {
                panic!()
            };
            table.supersede(&slot("a"));
            table.join(&slot("a"), Revision(0), 1, |_| ()).unwrap();
            table.end(&slot("a"), first);
            assert!(table.get(&slot("a")).is_some());
        };
        ends();
        assert!(crate::core::mutants::caught(Mutant::EndsByKey, ends));
    }

    #[test]
    fn a_superseded_fill_takes_no_readers_and_commits_nothing() {
        let mut table = FillTable::new(9);
        let Ok(Joined::Started(first, ())) = table.join(&slot("a"), Revision(0), 1, |_| ()) else { panic!() };
        assert!(table.may_commit(&slot("a"), first, Revision(0)));
        table.supersede(&slot("a"));
        assert!(!table.may_commit(&slot("a"), first, Revision(0)));
        let Ok(Joined::Started(second, ())) = table.join(&slot("a"), Revision(0), 1, |_| ()) else {
            panic!()
        };
        // The old fill's end does not take the new one away, and its id commits nothing.
        table.end(&slot("a"), first);
        assert!(table.may_commit(&slot("a"), second, Revision(0)));
        assert!(!table.may_commit(&slot("a"), first, Revision(0)));
    }

    #[test]
    fn whoever_changes_a_key_supersedes_its_blocks() {
        let mut table = FillTable::<()>::new(9);
        let ids = [slot("a"), slot("a"), slot("b")].map(|slot| table.begin_keeping(&slot));
        assert!(table.may_keep(&slot("a"), ids[0]) && !table.may_keep(&slot("b"), ids[0]));
        table.end_keeping(&slot("a"), ids[0]);
        assert!(!table.may_keep(&slot("a"), ids[0]) && table.may_keep(&slot("a"), ids[1]));
        table.supersede(&slot("a"));
        assert!(!table.may_keep(&slot("a"), ids[1]) && table.may_keep(&slot("b"), ids[2]));
        table.supersede_bucket(BucketId(1));
        assert!(!table.may_keep(&slot("b"), ids[2]));
        table.end_keeping(&slot("b"), ids[2]);
    }

    #[test]
    fn a_moved_entry_or_gate_supersedes() {
        let mut table = FillTable::new(9);
        let Ok(Joined::Started(id, ())) = table.join(&slot("a"), Revision(3), 7, |_| ()) else { panic!() };
        assert!(table.may_commit(&slot("a"), id, Revision(3)));
        assert!(!table.may_commit(&slot("a"), id, Revision(4)));
        // A reader that has seen the new gate does not join the old shadow's fill.
        assert!(table.joinable(&slot("a"), 7).is_some() && table.joinable(&slot("a"), 8).is_none());
        assert!(matches!(table.join(&slot("a"), Revision(3), 8, |_| ()), Ok(Joined::Started(..))));
        assert!(!table.may_commit(&slot("a"), id, Revision(3)));
    }

    #[test]
    fn a_bucket_change_supersedes_all_of_its_fills_only() {
        let mut table = FillTable::new(9);
        let other = Slot { bucket: BucketId(2), key: Key::parse("a").unwrap() };
        for s in [&slot("a"), &slot("b"), &other] {
            table.join(s, Revision(0), 1, |_| ()).unwrap();
        }
        assert_eq!(table.supersede_bucket(BucketId(1)), 2);
        assert!(table.get(&other).is_some() && table.len() == 1);
    }
}

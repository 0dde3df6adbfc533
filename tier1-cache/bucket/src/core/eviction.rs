//! Which copies go when space is needed: S3-FIFO (Yang et al., SOSP 2023), whose main queue is the index.
//!
//! Most objects of a cache are asked for once. So a copy is a newcomer at first, and newcomers may hold a tenth of the
//! space: the oldest leaves, for the main part if it was used meanwhile, else for good; but it is remembered for a while,
//! and if it is asked for again in that time it begins in the main part. There a hand goes round over the copies in the
//! order of their keys, takes one use from each that it passes, and evicts those that have none.
//!
//! Newcomers are queued in memory, at most [`NEWCOMERS_MAX`] of them; the main part is whatever else the index has. So
//! memory does not grow with the number of copies, and a hit writes nothing anywhere but in a counter. A restart forgets
//! who was new and what was used.
//!
//! Pure: no I/O and no clock. Whoever drives it offers what the index has, and evicts what it says.

use std::collections::{BTreeMap, VecDeque};

use fallthrough_object::Key;
use fallthrough_store::{BucketId, Revision};

use crate::core::mutants::{Mutant, planted};
use crate::core::uses::Uses;

/// Newcomers that are remembered as such; the oldest of more is one of the main part.
pub(crate) const NEWCOMERS_MAX: usize = 65_536;
/// Newcomers may hold one in so many bytes of the limit.
const NEWCOMERS_SHARE: u64 = 10;
/// Uses that take a newcomer into the main part.
const USES_TO_STAY: u8 = 1;
/// Newcomers that left for good and are remembered, a table's slots.
const GHOSTS: usize = 1 << 18;

/// A copy as it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) bucket: BucketId,
    pub(crate) key: Key,
    /// What it must still be.
    pub(crate) revision: Revision,
    /// What it counts against the limit, in bytes.
    pub(crate) charge: u64,
    /// Of bucket and key.
    pub(crate) hash: u64,
}

/// Newcomers of all buckets, and what left.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    newcomers: BTreeMap<BucketId, Newcomers>,
    /// By hash: how many newcomers have it.
    young: BTreeMap<u64, u32>,
    ghosts: Ghosts,
    serial: u64,
}

/// Those of one bucket, the oldest first.
#[derive(Debug, Default)]
struct Newcomers {
    queue: VecDeque<(u64, Candidate)>,
    charge: u64,
}

impl Policy {
    /// A copy was stored. `copies`: how many there are by now, about.
    pub(crate) fn stored(&mut self, copy: Candidate, uses: &Uses, copies: u64) {
        uses.clear(copy.hash);
        if self.ghosts.take(copy.hash, copies) {
            return;
        }
        self.serial += 1;
        *self.young.entry(copy.hash).or_default() += 1;
        let newcomers = self.newcomers.entry(copy.bucket).or_default();
        newcomers.charge += copy.charge;
        newcomers.queue.push_back((self.serial, copy));
        let count: usize = self.newcomers.values().map(|newcomers| newcomers.queue.len()).sum();
        if count > NEWCOMERS_MAX {
            let all: Vec<BucketId> = self.newcomers.keys().copied().collect();
            // One of the main part from here on.
            self.pop(&all);
        }
    }

    /// The next newcomer in these buckets that is to be evicted, as long as newcomers hold more than their share of
    /// `limit`. Those that were used go to the main part on the way.
    pub(crate) fn newcomer(&mut self, among: &[BucketId], limit: u64, uses: &Uses) -> Option<Candidate> {
        self.newcomer_above(among, limit / NEWCOMERS_SHARE, uses)
    }

    /// As [`Policy::newcomer`], whatever they hold: where there is nothing else.
    pub(crate) fn any_newcomer(&mut self, among: &[BucketId], uses: &Uses) -> Option<Candidate> {
        self.newcomer_above(among, 0, uses)
    }

    fn newcomer_above(&mut self, among: &[BucketId], share: u64, uses: &Uses) -> Option<Candidate> {
        loop {
            let held: u64 =
                among.iter().filter_map(|bucket| self.newcomers.get(bucket)).map(|n| n.charge).sum();
            if held <= share {
                return None;
            }
            let oldest = self.pop(among)?;
            if uses.get(oldest.hash) < USES_TO_STAY {
                self.ghosts.put(oldest.hash);
                return Some(oldest);
            }
            // What it was used for as a newcomer is what brought it here.
            uses.clear(oldest.hash);
        }
    }

    /// Whether the hand leaves the copy with this hash where it is: it is a newcomer, or was used since the hand was here.
    pub(crate) fn stays(&self, hash: u64, uses: &Uses) -> bool {
        self.young.contains_key(&hash) || uses.take_one(hash)
    }

    /// Nothing of a bucket is a copy any more.
    pub(crate) fn forget(&mut self, bucket: BucketId) {
        for (_, copy) in self.newcomers.remove(&bucket).unwrap_or_default().queue {
            self.no_longer_young(copy.hash);
        }
    }

    /// The oldest of all newcomers in these buckets.
    fn pop(&mut self, among: &[BucketId]) -> Option<Candidate> {
        let first = |bucket: &BucketId| Some((self.newcomers.get(bucket)?.queue.front()?.0, *bucket));
        let (_, bucket) = among.iter().filter_map(first).min()?;
        let newcomers = self.newcomers.get_mut(&bucket)?;
        let (_, copy) = newcomers.queue.pop_front()?;
        newcomers.charge -= copy.charge;
        if newcomers.queue.is_empty() {
            self.newcomers.remove(&bucket);
        }
        self.no_longer_young(copy.hash);
        Some(copy)
    }

    fn no_longer_young(&mut self, hash: u64) {
        if let Some(count) = self.young.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.young.remove(&hash);
            }
        }
    }
}

/// Newcomers that left for good, by their hashes: a table in which each has one place, so that it is bounded.
#[derive(Debug, Default)]
struct Ghosts {
    /// The upper half of a hash, and when it left. Empty before the first.
    slots: Vec<(u32, u32)>,
    /// How many have left; it wraps.
    left: u32,
}

impl Ghosts {
    fn slot(hash: u64) -> usize {
        usize::try_from(hash % GHOSTS as u64).expect("it is below the number of slots")
    }

    fn tag(hash: u64) -> u32 {
        // Zero is an empty slot.
        u32::try_from(hash >> 32).expect("the upper half").max(1)
    }

    fn put(&mut self, hash: u64) {
        if planted(Mutant::GhostsForgotten) {
            return;
        }
        if self.slots.is_empty() {
            self.slots = vec![(0, 0); GHOSTS];
        }
        self.left = self.left.wrapping_add(1);
        self.slots[Self::slot(hash)] = (Self::tag(hash), self.left);
    }

    /// Whether it is one of the last so many that left; it is none any more.
    fn take(&mut self, hash: u64, last: u64) -> bool {
        let Some(slot) = self.slots.get_mut(Self::slot(hash)) else { return false };
        let (tag, at) = *slot;
        if tag != Self::tag(hash) {
            return false;
        }
        *slot = (0, 0);
        u64::from(self.left.wrapping_sub(at)) < last.min(GHOSTS as u64)
    }
}

#[cfg(test)]
mod tests;

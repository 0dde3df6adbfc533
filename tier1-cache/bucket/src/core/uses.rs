//! How often copies were used lately: a few counters for all of them, in constant memory.
//!
//! A copy's counter is found by a hash of its name. Two copies that share one are each taken for as much used as both;
//! with a few bits of use for each, that keeps some that nobody asked for, and evicts none that somebody did. Nothing of
//! it outlives the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::core::mutants::{Mutant, planted};

/// Counters, a byte each: 4 MiB.
const COUNTERS: usize = 1 << 22;
/// Those that come into being together, when one of them is used first.
const AT_ONCE: usize = 1 << 12;
/// A counter goes no further: what was used much and then no more is not kept for its past.
const USES_MAX: u8 = 3;

/// The counters. Used by every reader at once, without a lock: a use that is lost in a race was one of many.
#[derive(Debug)]
pub(crate) struct Uses(Box<[OnceLock<Box<[AtomicU8]>>]>);

impl Default for Uses {
    fn default() -> Self {
        Self((0..COUNTERS / AT_ONCE).map(|_| OnceLock::new()).collect())
    }
}

impl Uses {
    fn at(&self, hash: u64) -> &AtomicU8 {
        let number = usize::try_from(hash % COUNTERS as u64).expect("it is below the number of counters");
        let some = self.0[number / AT_ONCE].get_or_init(|| (0..AT_ONCE).map(|_| AtomicU8::new(0)).collect());
        &some[number % AT_ONCE]
    }

    /// Somebody was served the copy.
    pub(crate) fn used(&self, hash: u64) {
        let counter = self.at(hash);
        let uses = counter.load(Ordering::Relaxed);
        // Most of what is used is used a lot, and its counter's place in memory stays with all who read it.
        if uses < USES_MAX && !planted(Mutant::UsesUnnoticed) {
            counter.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// How often it was used, as far as it counts.
    pub(crate) fn get(&self, hash: u64) -> u8 {
        self.at(hash).load(Ordering::Relaxed)
    }

    /// Takes one use away, and says whether there was one.
    pub(crate) fn take_one(&self, hash: u64) -> bool {
        let counter = self.at(hash);
        let uses = counter.load(Ordering::Relaxed);
        if uses > 0 {
            counter.store(uses - 1, Ordering::Relaxed);
        }
        uses > 0
    }

    /// It is new.
    pub(crate) fn clear(&self, hash: u64) {
        self.at(hash).store(0, Ordering::Relaxed);
    }
}

//! What a load did, counted.

use std::ops::AddAssign;

/// What a load did, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// PUTs and DELETEs that were acknowledged.
    pub(crate) acknowledged: u64,
    /// PUTs and DELETEs that were not answered, or answered with 5xx.
    pub(crate) in_doubt: u64,
    /// GETs of what clients wrote.
    pub(crate) reads: u64,
    /// GETs of what only the shadow had.
    pub(crate) fills: u64,
    /// Answers that were 5xx.
    pub(crate) refused: u64,
    /// Answers that were broken off.
    pub(crate) broken: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.in_doubt += other.in_doubt;
        self.reads += other.reads;
        self.fills += other.fills;
        self.refused += other.refused;
        self.broken += other.broken;
    }
}

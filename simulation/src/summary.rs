//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::run::Outcome;

/// What many runs came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Seeds played.
    pub seeds: u64,
    /// Operations judged, counted for each key that they are about.
    pub operations: u64,
    /// Requests that reached the origins.
    pub origin_requests: u64,
    /// Crashes of the machine.
    pub crashes: u64,
    /// How often each kind of request, fault or mishap happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Seeds that failed, and the first line of why.
    pub failures: BTreeMap<u64, String>,
    /// Hash over the histories of all seeds, in the order in which they were added.
    pub hash: String,
    #[serde(skip)]
    hasher: Sha256,
}

/// The faults of origins and disks among what is counted.
const FAULTS: &[&str] = &[
    "5xx",
    "busy",
    "hang-up",
    "no answer",
    "reset",
    "truncate",
    "end early, unsaid",
    "stall",
    "drip",
    "flip",
    "wrong length",
    "no length",
    "changed etag",
    "slow",
    "list fault",
    "disk fault",
    "disk full for a while",
    "evictions",
    "copies without room",
    "copies too large",
];

/// In a line: how much was played, what went wrong in it, and what came of it.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> =
            FAULTS.iter().filter_map(|fault| Some(format!("{fault} {}", self.counts.get(fault)?))).collect();
        write!(
            f,
            "{} seeds, {} operations, {} requests to origins, {} crashes, faults: {}; {} violations; hash {}",
            self.seeds,
            self.operations,
            self.origin_requests,
            self.crashes,
            faults.join(", "),
            self.failures.len(),
            self.hash
        )
    }
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.operations += outcome.operations as u64;
        self.origin_requests += outcome.origin_requests as u64;
        self.crashes += outcome.counts.get("crashes").copied().unwrap_or(0);
        for (what, times) in &outcome.counts {
            *self.counts.entry(what).or_default() += times;
        }
        if let Some(why) = outcome.violations.first() {
            self.failures.insert(outcome.seed, why.lines().next().unwrap_or_default().to_owned());
        }
        self.hasher.update(outcome.hash.as_bytes());
        self.hash = self.hasher.clone().finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    }
}

//! What was checked, what was seen, and how to mend it.

use std::fmt;

use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As the contract has it.
    Ok,
    /// Against the contract.
    Failed,
    /// Could not be checked, or is not offered, which the contract allows.
    Skipped,
}

/// One check. Names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Such as `range`.
    pub name: &'static str,
    /// What it came to.
    pub outcome: Outcome,
    /// What was seen, in one sentence.
    pub seen: String,
    /// What to do about it; empty if nothing.
    pub mend: String,
}

impl Check {
    pub(super) fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, seen: seen.into(), mend: String::new() }
    }

    pub(super) fn failed(name: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, seen: seen.into(), mend: mend.into() }
    }

    pub(super) fn skipped(name: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, seen: seen.into(), mend: mend.into() }
    }
}

/// All checks of one origin, in the order in which they ran. Displayed as a line a check and a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The origin, without credentials.
    pub url: String,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether nothing failed, and the main thing, a GET, was not skipped.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
            && self.checks.iter().any(|check| check.name == "get" && check.outcome == Outcome::Ok)
    }

    /// The check of this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.of(Outcome::Failed).map(|check| check.name).collect()
    }

    fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let word = match check.outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "FAILED",
                Outcome::Skipped => "skipped",
            };
            writeln!(f, "{word:8} {:13} {}", check.name, check.seen)?;
            if !check.mend.is_empty() {
                writeln!(f, "{:22} → {}", "", check.mend)?;
            }
        }
        let count = |outcome| self.of(outcome).count();
        let (ok, failed) = (count(Outcome::Ok), count(Outcome::Failed));
        write!(f, "{ok} ok, {failed} failed, {} skipped", count(Outcome::Skipped))
    }
}

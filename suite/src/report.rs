//! What came of the cases.

use std::collections::BTreeMap;
use std::fmt;

use crate::ground::Mode;

/// Why a case failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What a case's parts answer with.
pub type Result<T> = std::result::Result<T, Failure>;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Passed,
    /// Something did not.
    Failed(Failure),
    /// It was not tried, for this reason.
    Skipped(&'static str),
}

/// What came of a run: a row for each case, in the order of the tables.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// `group/name`, with `@cold-s3` or `@cold-http` behind it where that is so, and what came of it.
    pub rows: Vec<(String, Outcome)>,
}

/// Passed, failed, skipped.
type Counts = [usize; 3];

impl Report {
    /// Puts the rows of another run behind these.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// The rows that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        self.rows.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(failure) => Some((name.as_str(), failure)),
            Outcome::Passed | Outcome::Skipped(_) => None,
        })
    }

    /// How many passed, failed and were skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = Counts::default();
        for (_, outcome) in &self.rows {
            counts[column(outcome)] += 1;
        }
        (counts[0], counts[1], counts[2])
    }

    fn by_group(&self) -> BTreeMap<(&str, Mode), Counts> {
        let mut groups = BTreeMap::<_, Counts>::new();
        for (id, outcome) in &self.rows {
            let mode = Mode::ALL.into_iter().rfind(|mode| id.ends_with(mode.suffix())).unwrap_or(Mode::Plain);
            let group = id.split('/').next().unwrap_or_default();
            groups.entry((group, mode)).or_default()[column(outcome)] += 1;
        }
        groups
    }
}

fn column(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Passed => 0,
        Outcome::Failed(_) => 1,
        Outcome::Skipped(_) => 2,
    }
}

/// A line for each group and way of running it, then one for all.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {:<10} {:>6} {:>6} {:>7}", "group", "objects", "passed", "failed", "skipped")?;
        for ((group, mode), [passed, failed, skipped]) in self.by_group() {
            writeln!(f, "{group:<22} {:<10} {passed:>6} {failed:>6} {skipped:>7}", mode.name())?;
        }
        let (passed, failed, skipped) = self.counts();
        write!(f, "{:<22} {:<10} {passed:>6} {failed:>6} {skipped:>7}", "all", "")
    }
}

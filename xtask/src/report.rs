//! What the checks found, and the table at the end. A skipped check never counts as passed.

use std::time::{Duration, Instant};

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and found nothing wrong.
    Passed,
    /// It ran and found this.
    Failed(String),
    /// It could not run, and why.
    Skipped(String),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Check {
    name: String,
    outcome: Outcome,
}

impl Check {
    /// A check called `name` that ended so.
    pub(crate) fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Self { name: name.into(), outcome }
    }

    /// A check that failed if there are `findings`; each is printed.
    pub(crate) fn of_findings(name: impl Into<String>, findings: &[String]) -> Self {
        for finding in findings {
            println!("{finding}");
        }
        let outcome = match findings.len() {
            0 => Outcome::Passed,
            1 => Outcome::Failed(findings[0].clone()),
            more => Outcome::Failed(format!("{more} findings, above")),
        };
        Self::new(name, outcome)
    }
}

/// The checks so far, each with the layer's time.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Outcome, Option<Duration>)>,
}

impl Report {
    /// Runs a layer and keeps what it reports; its time stands on its first line.
    #[expect(
        clippy::disallowed_methods,
        reason = "the seconds of a layer are printed, nothing is decided by them"
    )]
    pub(crate) fn run(&mut self, layer: &str, body: impl FnOnce() -> Vec<Check>) {
        let start = Instant::now();
        let checks = body();
        let took = start.elapsed();
        println!("-- {layer}: {:.1} s", took.as_secs_f64());
        for (index, check) in checks.into_iter().enumerate() {
            let name = if check.name == layer { check.name } else { format!("{layer}: {}", check.name) };
            self.rows.push((name, check.outcome, (index == 0).then_some(took)));
        }
    }

    /// Whether nothing failed and something passed: skipping everything is no success.
    pub(crate) fn succeeded(&self) -> bool {
        let (passed, failed, _) = self.counts();
        failed == 0 && passed > 0
    }

    fn counts(&self) -> (usize, usize, usize) {
        self.rows.iter().fold((0, 0, 0), |(passed, failed, skipped), (_, outcome, _)| match outcome {
            Outcome::Passed => (passed + 1, failed, skipped),
            Outcome::Failed(_) => (passed, failed + 1, skipped),
            Outcome::Skipped(_) => (passed, failed, skipped + 1),
        })
    }

    /// The table, then the counts alone on the last line.
    pub(crate) fn print(&self) {
        println!();
        for (name, outcome, took) in &self.rows {
            let took = took.map_or_else(String::new, |took| format!("{:.1} s", took.as_secs_f64()));
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::Skipped(why) => ("SKIPPED", why.as_str()),
            };
            println!("{:<8}{took:>9}  {name}{}{why}", word, if why.is_empty() { "" } else { ": " });
        }
        let (passed, failed, skipped) = self.counts();
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        Report { rows: outcomes.iter().map(|outcome| (String::new(), outcome.clone(), None)).collect() }
    }

    #[test]
    fn a_skipped_check_is_never_a_success() {
        let (passed, skipped) = (Outcome::Passed, Outcome::Skipped("not here".to_owned()));
        assert!(!report(&[]).succeeded());
        assert!(!report(std::slice::from_ref(&skipped)).succeeded());
        assert!(report(&[passed.clone(), skipped]).succeeded());
        assert!(!report(&[passed, Outcome::Failed("broken".to_owned())]).succeeded());
    }
}

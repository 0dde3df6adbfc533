//! `cargo xtask torture --minutes N`: the long forms of the tests, each for its share of the time, and the page
//! that tells what they showed.

use std::time::{Duration, Instant};

use crate::Context;
use crate::command::{cargo, watched};
use crate::page::{Page, day_and_commit};

const PAGE: Page = Page {
    path: "docs/reliability.md",
    begin: "<!-- runs: written by `cargo xtask torture` -->",
    end: "<!-- end of runs -->",
};

/// How what a test did is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// By the lines of its output that hold this.
    Lines(&'static str),
    /// With this after the number.
    Number(&'static str),
}

/// A test with a knob.
#[derive(Debug)]
struct Step {
    what: &'static str,
    package: &'static str,
    /// An integration test; `None`: the tests within the crate.
    file: Option<&'static str>,
    /// Part of its name.
    test: &'static str,
    knob: &'static str,
    /// What two cores do in a minute, by experience: how far the knob is turned.
    per_minute: u64,
    /// Parts of the time, of all steps' sum.
    share: u64,
    told: Told,
}

const STEPS: &[Step] = &[
    Step {
        what: "the whole of tier 1 in one thread, under virtual time",
        package: "fallthrough-simulation",
        file: Some("slice"),
        test: "every_history_is_linearizable",
        knob: "FALLTHROUGH_SEEDS",
        per_minute: 1_000,
        share: 6,
        told: Told::Lines(" seeds, "),
    },
    Step {
        what: "a fill, another reader and each change, at random",
        package: "fallthrough-bucket",
        file: None,
        test: "core::schedules::a_fill_against_each_pair",
        knob: "FALLTHROUGH_SCHEDULES",
        per_minute: 600,
        share: 1,
        told: Told::Number(" times 5,400 schedules: 0 violations"),
    },
    Step {
        what: "the engine against its model",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::model::the_engine_agrees",
        knob: "FALLTHROUGH_CASES",
        per_minute: 4_000,
        share: 2,
        told: Told::Lines(" histories, "),
    },
    Step {
        what: "merged lists against their model",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::lists::merged_lists_agree",
        knob: "PROPTEST_CASES",
        per_minute: 600_000,
        share: 1,
        told: Told::Number(" lists: 0 differences"),
    },
    Step {
        what: "kill -9 at random moments",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "random::",
        knob: "FALLTHROUGH_KILLS",
        per_minute: 60,
        share: 4,
        told: Told::Lines("kills at random"),
    },
    Step {
        what: "kill -9 at the Nth system call",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "exact::",
        knob: "FALLTHROUGH_EXACT_KILLS",
        per_minute: 60,
        share: 3,
        told: Told::Lines(" kills "),
    },
    Step {
        what: "EIO and ENOSPC in calls of a running server",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "errors::",
        knob: "FALLTHROUGH_IO_ERRORS",
        per_minute: 40,
        share: 4,
        told: Told::Lines(" disk errors "),
    },
    Step {
        what: "a small disk, filled up",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "full::",
        knob: "FALLTHROUGH_FULL",
        per_minute: 1,
        share: 1,
        told: Told::Lines(" until refused"),
    },
    Step {
        what: "bits that flip in stored blobs",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::scrub::every_flip",
        knob: "FALLTHROUGH_FLIPS",
        per_minute: 2_000,
        share: 1,
        told: Told::Lines(" flips in "),
    },
    Step {
        what: "bits that flip in the index: opened, used and closed",
        package: "fallthrough-store",
        file: None,
        test: "tests::rot::flipped_bits_of_the_index",
        knob: "FALLTHROUGH_FLIPS",
        per_minute: 1_000,
        share: 1,
        told: Told::Number(" times: no panic, no wrong answer, no key hidden silently"),
    },
    Step {
        what: "slow readers of one large object",
        package: "fallthrough-server",
        file: Some("pressure"),
        test: "readers",
        knob: "FALLTHROUGH_SLOW_READERS",
        per_minute: 500,
        share: 1,
        told: Told::Lines(" slow readers"),
    },
    Step {
        what: "large objects: put, filled, in parts and in one chunk",
        package: "fallthrough-server",
        file: Some("large"),
        test: "little_memory",
        knob: "FALLTHROUGH_LARGE_MIB",
        per_minute: 1_024,
        share: 1,
        told: Told::Lines(" bytes resident at most"),
    },
];

/// What a step came to.
#[derive(Debug)]
struct Row {
    passed: bool,
    line: String,
}

/// Runs every step and writes the page. Whether all passed.
///
/// # Errors
/// A test cannot be built; the page cannot be written.
pub(crate) fn run(context: &Context, minutes: u64) -> Result<bool, String> {
    let shares: u64 = STEPS.iter().map(|step| step.share).sum();
    let rows: Result<Vec<Row>, String> =
        STEPS.iter().map(|step| step.run(context, (minutes * step.share).div_ceil(shares))).collect();
    let rows = rows?;
    let table: String = rows.iter().map(|row| row.line.as_str()).collect();
    let failed = rows.iter().filter(|row| !row.passed).count();
    let part = format!(
        "`cargo xtask torture --minutes {minutes}` on {}: {} of {} passed.\n\n\
         | what | how many, and what came of it | seconds | again, with `cargo test --release` |\n\
         | --- | --- | --- | --- |\n{table}",
        day_and_commit(context)?,
        rows.len() - failed,
        rows.len()
    );
    println!("\n{part}");
    PAGE.write(context, &part)?;
    Ok(failed == 0)
}

impl Step {
    #[expect(clippy::disallowed_methods, reason = "seconds are shown, nothing is decided by them")]
    fn run(&self, context: &Context, minutes: u64) -> Result<Row, String> {
        let number = self.per_minute * minutes.max(1);
        let mut command = cargo(&context.root);
        command.args(["test", "--release", "--locked", "--package", self.package]);
        match self.file {
            Some(file) => command.args(["--test", file]),
            None => command.arg("--lib"),
        };
        command.args([self.test, "--", "--nocapture"]).env(self.knob, number.to_string());
        let began = Instant::now();
        let (passed, output) = watched(&mut command)?;
        let took = began.elapsed();
        if !output.contains("test result:") {
            return Err(format!("{}: the test did not run", self.what));
        }
        Ok(Row { passed, line: self.line(number, passed, &output, took) })
    }

    fn line(&self, number: u64, passed: bool, output: &str, took: Duration) -> String {
        let told = match self.told {
            _ if !passed => format!("**failed**, with `{}={number}`", self.knob),
            _ if output.contains("SKIPPED") => "skipped: what it needs is not on that machine".to_owned(),
            Told::Number(after) => format!("{number}{after}"),
            Told::Lines(part) => {
                let lines: Vec<&str> =
                    output.lines().filter(|line| line.contains(part)).map(str::trim).collect();
                if lines.is_empty() { "it did not say".to_owned() } else { lines.join("; ") }
            }
        };
        let file = self.file.map_or_else(|| "--lib".to_owned(), |file| format!("--test {file}"));
        let again = format!("`{}={number}`, `--package {} {file} {}`", self.knob, self.package, self.test);
        format!("| {} | {told} | {} | {again} |\n", self.what, took.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_came_of_it() {
        let step = STEPS.iter().find(|step| step.knob == "FALLTHROUGH_KILLS").expect("it is there");
        let line = |passed, output| step.line(7, passed, output, Duration::from_secs(3));
        assert_eq!(
            line(true, "seed 1\n7 kills at random, 0 lost\ntest result: ok"),
            "| kill -9 at random moments | 7 kills at random, 0 lost | 3 | `FALLTHROUGH_KILLS=7`, \
             `--package fallthrough-server --test crash random::` |\n"
        );
        assert!(line(false, "7 kills at random, 1 lost").contains("**failed**, with `FALLTHROUGH_KILLS=7`"));
        assert!(line(true, "SKIPPED x: no strace").contains("skipped"));
    }
}

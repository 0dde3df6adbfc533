//! `cargo xtask torture --minutes N`: the long forms of the tests, each for its share of the time, then the fuzz targets
//! and the planted bugs, and the page that tells what they showed.

use std::time::{Duration, Instant};

use crate::command::{cargo, watched};
use crate::page::{Page, day_and_commit};
use crate::report::Outcome;
use crate::{Context, fuzz, mutants, rust};

const PAGE: Page = Page {
    path: "docs/reliability.md",
    begin: "<!-- runs: written by `cargo xtask torture` -->",
    end: "<!-- end of runs -->",
};

/// Parts of the time that the fuzz targets have.
const FUZZ_SHARE: u64 = 4;

/// How what a test did is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// By the lines of its output that hold this.
    Lines(&'static str),
    /// By the number that it was asked for, and did or failed, with this after it.
    Asked(&'static str),
}

/// How long a step is.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// As a variable says: what two cores do in a minute, by experience, and what it can be turned to at most.
    Knob { name: &'static str, per_minute: u64, most: u64 },
    /// As it is.
    Whole,
    /// As it is, and else ignored.
    Ignored,
}

/// A test, or some.
#[derive(Debug)]
struct Step {
    what: &'static str,
    package: &'static str,
    /// An integration test; `None`: the tests within the crate.
    file: Option<&'static str>,
    /// Part of its name.
    test: &'static str,
    scale: Scale,
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
        scale: Scale::Knob { name: "FALLTHROUGH_SEEDS", per_minute: 1_000, most: u64::MAX },
        share: 6,
        told: Told::Lines(" seeds, "),
    },
    Step {
        what: "a fill, another reader and each change, at random",
        package: "fallthrough-bucket",
        file: None,
        test: "core::schedules::a_fill_against_each_pair",
        scale: Scale::Knob { name: "FALLTHROUGH_SCHEDULES", per_minute: 600, most: u64::MAX },
        share: 1,
        told: Told::Asked(" times 5,400 schedules: 0 violations"),
    },
    Step {
        what: "the engine against its model",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::model::the_engine_agrees",
        scale: Scale::Knob { name: "FALLTHROUGH_CASES", per_minute: 4_000, most: u64::MAX },
        share: 2,
        told: Told::Lines(" histories, "),
    },
    Step {
        what: "merged lists against their model",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::lists::merged_lists_agree",
        scale: Scale::Knob { name: "PROPTEST_CASES", per_minute: 600_000, most: u64::MAX },
        share: 1,
        told: Told::Asked(" lists: 0 differences"),
    },
    Step {
        what: "kill -9 at random moments",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "random::",
        scale: Scale::Knob { name: "FALLTHROUGH_KILLS", per_minute: 60, most: u64::MAX },
        share: 4,
        told: Told::Lines("kills at random"),
    },
    Step {
        what: "kill -9 at the Nth system call",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "exact::",
        scale: Scale::Knob { name: "FALLTHROUGH_EXACT_KILLS", per_minute: 60, most: u64::MAX },
        share: 3,
        told: Told::Lines(" kills "),
    },
    Step {
        what: "EIO and ENOSPC in calls of a running server",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "errors::",
        scale: Scale::Knob { name: "FALLTHROUGH_IO_ERRORS", per_minute: 40, most: u64::MAX },
        share: 4,
        told: Told::Lines(" disk errors "),
    },
    Step {
        what: "a small disk, filled up",
        package: "fallthrough-server",
        file: Some("crash"),
        test: "full::",
        scale: Scale::Whole,
        share: 1,
        told: Told::Lines(" until refused"),
    },
    Step {
        what: "bits that flip in stored blobs",
        package: "fallthrough-bucket",
        file: None,
        test: "tests::scrub::every_flip",
        scale: Scale::Knob { name: "FALLTHROUGH_FLIPS", per_minute: 2_000, most: u64::MAX },
        share: 1,
        told: Told::Lines(" flips in "),
    },
    Step {
        what: "bits that flip in the index: opened, used and closed",
        package: "fallthrough-store",
        file: None,
        test: "tests::rot::flipped_bits_of_the_index",
        scale: Scale::Knob { name: "FALLTHROUGH_FLIPS", per_minute: 1_000, most: u64::MAX },
        share: 1,
        told: Told::Asked(" times: no panic, no wrong answer, no key hidden silently"),
    },
    Step {
        what: "slow readers of one large object",
        package: "fallthrough-server",
        file: Some("pressure"),
        test: "readers",
        scale: Scale::Knob { name: "FALLTHROUGH_SLOW_READERS", per_minute: 500, most: 500 },
        share: 1,
        told: Told::Lines(" readers of "),
    },
    Step {
        what: "large objects: put, filled, in parts and in one chunk",
        package: "fallthrough-server",
        file: Some("large"),
        test: "little_memory",
        scale: Scale::Knob { name: "FALLTHROUGH_LARGE_MIB", per_minute: 1_024, most: 8_192 },
        share: 1,
        told: Told::Lines(" bytes resident at most"),
    },
    Step {
        what: "a fill, two other readers and each change, in every order",
        package: "fallthrough-bucket",
        file: None,
        test: "core::schedules::",
        scale: Scale::Ignored,
        share: 2,
        told: Told::Lines(" orders"),
    },
    Step {
        what: "the store against its model, with crashes",
        package: "fallthrough-store",
        file: None,
        test: "tests::model::the_store_is_a_map",
        scale: Scale::Knob { name: "FALLTHROUGH_CASES", per_minute: 2_000, most: u64::MAX },
        share: 1,
        told: Told::Asked(" histories: 0 differences"),
    },
    Step {
        what: "the index's engine against a plain map, with crashes",
        package: "fallthrough-store",
        file: None,
        test: "kv::conformance::the_embedded_engine",
        scale: Scale::Knob { name: "FALLTHROUGH_CASES", per_minute: 4_000, most: u64::MAX },
        share: 1,
        told: Told::Asked(" histories: 0 differences"),
    },
    Step {
        what: "bits that flip in blobs, read in every range",
        package: "fallthrough-store",
        file: None,
        test: "tests::rot::flipped_bits_of_a_blob",
        scale: Scale::Knob { name: "FALLTHROUGH_FLIPS", per_minute: 2_000, most: u64::MAX },
        share: 1,
        told: Told::Asked(" blobs: all found, no wrong byte"),
    },
    Step {
        what: "slow writers, slow origins, idle connections",
        package: "fallthrough-server",
        file: Some("pressure"),
        test: "",
        scale: Scale::Whole,
        share: 1,
        told: Told::Lines(" bytes each"),
    },
    Step {
        what: "a bucket that moves while clients write and its server is killed",
        package: "fallthrough-server",
        file: Some("migrate"),
        test: "",
        scale: Scale::Knob { name: "FALLTHROUGH_MIGRATED", per_minute: 2_000, most: 100_000 },
        share: 1,
        told: Told::Asked(" objects: 0 missing, 0 different"),
    },
    Step {
        what: "hostile requests, each with its code, a canary unharmed",
        package: "fallthrough-gateway",
        file: Some("s3"),
        test: "hostile",
        scale: Scale::Whole,
        share: 1,
        told: Told::Lines("test result: ok"),
    },
];

/// What a step came to.
#[derive(Debug)]
struct Row {
    outcome: Outcome,
    line: String,
}

/// Runs every step and writes the page. Whether nothing failed and nothing was skipped. Unless they are `planted`, the
/// bugs' own table stays as the last hunt has left it, and this one says so.
///
/// # Errors
/// The page cannot be written; there are no planted bugs to be had.
pub(crate) fn run(context: &Context, minutes: u64, planted: bool) -> Result<bool, String> {
    let shares = FUZZ_SHARE + STEPS.iter().map(|step| step.share).sum::<u64>();
    let mut rows: Vec<Row> =
        STEPS.iter().map(|step| step.run(context, (minutes * step.share).div_ceil(shares))).collect();
    rows.push(fuzzed(context, minutes * 60 * FUZZ_SHARE / shares));
    // As long as they take: half of them hunted say nothing.
    let hunt = mutants::Wish { every_layer: true, write: true, ..Default::default() };
    let hunted = if planted { mutants::run(context, &hunt) } else { Ok(true) };
    let is = |wanted: fn(&Outcome) -> bool| rows.iter().filter(|row| wanted(&row.outcome)).count();
    let (passed, failed) =
        (is(|outcome| *outcome == Outcome::Passed), is(|outcome| matches!(outcome, Outcome::Failed(_))));
    let table: String = rows.iter().map(|row| row.line.as_str()).collect();
    let part = format!(
        "`cargo xtask torture --minutes {minutes}{}` on {}: {passed} passed, {failed} failed, {} skipped.\n\n\
         | what | how many, and what came of it | seconds | again, with `cargo test --release` |\n\
         | --- | --- | --- | --- |\n{table}",
        if planted { "" } else { " --no-mutants" },
        day_and_commit(context)?,
        rows.len() - passed - failed,
    );
    println!("\n{part}");
    PAGE.write(context, &part)?;
    Ok(passed == rows.len() && hunted?)
}

/// All fuzz targets, for so long together.
#[expect(clippy::disallowed_methods, reason = "seconds are shown, nothing is decided by them")]
fn fuzzed(context: &Context, seconds: u64) -> Row {
    let began = Instant::now();
    let (outcome, told) = match fuzz::all(context, seconds) {
        Ok((targets, each, true)) => {
            (Outcome::Passed, format!("{targets} targets, {each} s each: 0 crashes"))
        }
        Ok((..)) => (Outcome::Failed("crashes".to_owned()), "**failed**".to_owned()),
        Err(why) => (Outcome::Skipped(why.clone()), format!("skipped: {why}")),
    };
    let took = began.elapsed().as_secs();
    Row {
        outcome,
        line: format!("| parsers, driven on by libFuzzer | {told} | {took} | `cargo xtask fuzz` |\n"),
    }
}

impl Step {
    #[expect(clippy::disallowed_methods, reason = "seconds are shown, nothing is decided by them")]
    fn run(&self, context: &Context, minutes: u64) -> Row {
        let mut command = cargo(&context.root);
        command.args(["test", "--release", "--locked", "--package", self.package]);
        match self.file {
            Some(file) => command.args(["--test", file]),
            None => command.arg("--lib"),
        };
        command.args([self.test, "--", "--nocapture"]);
        let number = match self.scale {
            Scale::Knob { name, per_minute, most } => {
                let number = (per_minute * minutes.max(1)).min(most);
                command.env(name, number.to_string());
                Some(number)
            }
            Scale::Ignored => {
                command.arg("--ignored");
                None
            }
            Scale::Whole => None,
        };
        let skips = context.target.join("skipped-in-torture");
        let began = Instant::now();
        let ran = rust::empty_folder(&skips).and_then(|()| watched(command.env("FALLTHROUGH_SKIPS", &skips)));
        let took = began.elapsed();
        let skipped = rust::reasons(&skips).into_values().next();
        let (outcome, told) = self.judge(number, ran, skipped);
        Row { line: self.line(number, &told, took), outcome }
    }

    /// What came of it, and how that is told. `ran`: whether it succeeded, and what it printed; `skipped`: why it did not
    /// run.
    fn judge(
        &self,
        number: Option<u64>,
        ran: Result<(bool, String), String>,
        skipped: Option<String>,
    ) -> (Outcome, String) {
        let failed = |why: String| (Outcome::Failed(why.clone()), format!("**failed**: {why}"));
        let (passed, output) = match ran {
            Ok(ran) => ran,
            Err(why) => return failed(why),
        };
        let seeds: Vec<&str> =
            output.lines().map(str::trim).filter(|line| line.starts_with("seed ")).collect();
        let seeds = if seeds.is_empty() { String::new() } else { format!(" ({})", seeds.join(", ")) };
        // A filter that finds nothing is no success.
        let tests = output.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ok")).count();
        match self.told {
            _ if !passed => failed(format!("see its output{seeds}")),
            _ if let Some(why) = skipped => (Outcome::Skipped(why.clone()), format!("skipped: {why}")),
            _ if tests == 0 => failed("no test of that name ran".to_owned()),
            Told::Asked(after) => (Outcome::Passed, format!("{}{after}{seeds}", number.unwrap_or_default())),
            Told::Lines(part) => {
                let lines: Vec<&str> =
                    output.lines().filter(|line| line.contains(part)).map(str::trim).collect();
                if lines.is_empty() {
                    return failed("it did not say what it did".to_owned());
                }
                (Outcome::Passed, format!("{}{seeds}", lines.join("; ")))
            }
        }
    }

    fn line(&self, number: Option<u64>, told: &str, took: Duration) -> String {
        let file = self.file.map_or_else(|| "--lib".to_owned(), |file| format!("--test {file}"));
        let filter = if self.test.is_empty() { String::new() } else { format!(" {}", self.test) };
        let again = format!("--package {} {file}{filter}", self.package);
        let again = match (self.scale, number) {
            (Scale::Knob { name, .. }, Some(number)) => format!("`{name}={number}`, `{again}`"),
            (Scale::Ignored, _) => format!("`{again} -- --ignored`"),
            _ => format!("`{again}`"),
        };
        format!("| {} | {told} | {} | {again} |\n", self.what, took.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_came_of_it() {
        let step = STEPS.iter().find(|step| step.test == "random::").expect("it is there");
        let judge = |passed, output: &str, skipped: Option<&str>| {
            step.judge(Some(7), Ok((passed, output.to_owned())), skipped.map(str::to_owned))
        };
        let ok = "seed 1\n7 kills at random, 0 lost\ntest random::kills ... ok\ntest result: ok";
        let (outcome, told) = judge(true, ok, None);
        assert_eq!((outcome, told.as_str()), (Outcome::Passed, "7 kills at random, 0 lost (seed 1)"));
        assert_eq!(
            step.line(Some(7), &told, Duration::from_secs(3)),
            "| kill -9 at random moments | 7 kills at random, 0 lost (seed 1) | 3 | `FALLTHROUGH_KILLS=7`, \
             `--package fallthrough-server --test crash random::` |\n"
        );
        let failed = |judged: (Outcome, String)| matches!(judged.0, Outcome::Failed(_));
        assert!(failed(judge(false, ok, None)));
        assert!(failed(judge(true, "7 kills at random\ntest result: ok. 0 passed", None)), "it ran nothing");
        assert!(failed(judge(true, "test random::kills ... ok\ntest result: ok", None)), "it said nothing");
        assert_eq!(judge(true, ok, Some("no strace")).0, Outcome::Skipped("no strace".to_owned()));
    }

    #[test]
    fn a_knob_is_turned_no_further_than_it_can_be() {
        for step in STEPS {
            if let Scale::Knob { name, per_minute, most } = step.scale {
                assert!(per_minute <= most && name.starts_with("FALLTHROUGH_") || name == "PROPTEST_CASES");
            }
        }
    }
}

//! `fallthrough-simulation --seeds A..B`: plays the seeds and prints a summary as JSON. `--seed N` plays one and prints
//! all that happened. Ends with 1 if a seed failed.

use std::io::Write as _;
use std::process::ExitCode;

use fallthrough_simulation::{Summary, run, run_with_lines};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--seed", seed] => seed.parse().map_or_else(|_| usage(), one),
        ["--seeds", range] => match range.split_once("..").map(|(a, b)| (a.parse(), b.parse())) {
            Some((Ok(first), Ok(end))) => many(first..end),
            Some(_) | None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    say(&mut std::io::stderr(), "usage: fallthrough-simulation --seeds A..B | --seed N");
    ExitCode::from(2)
}

fn say(to: &mut dyn std::io::Write, line: &str) {
    // Nobody reads any more: the exit code still tells.
    let _closed = writeln!(to, "{line}");
}

fn one(seed: u64) -> ExitCode {
    let outcome = run_with_lines(seed);
    let mut out = std::io::stdout().lock();
    for line in outcome.lines.iter().chain(&outcome.violations) {
        say(&mut out, line);
    }
    say(&mut out, &format!("seed {seed}: {} operations, hash {}", outcome.operations, outcome.hash));
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(seeds: std::ops::Range<u64>) -> ExitCode {
    let mut summary = Summary::default();
    for seed in seeds {
        let outcome = run(seed);
        for violation in &outcome.violations {
            say(&mut std::io::stderr(), &format!("seed {seed}: {violation}"));
        }
        summary.add(&outcome);
    }
    let json = serde_json::to_string_pretty(&summary).expect("a summary is plain data");
    say(&mut std::io::stdout(), &json);
    let _flushed = std::io::stdout().flush();
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! A slice of the simulation. `FALLTHROUGH_SEEDS=N` plays more seeds, `FALLTHROUGH_SEED=N` plays one and prints all
//! that happened; so does `cargo run --release -p fallthrough-simulation -- --seed N`.

use std::str::FromStr;

use fallthrough_simulation::{Summary, run, run_with_lines};

/// Seeds of the short slice.
const SEEDS: u64 = 150;

/// Seeds that failed once, with what was wrong. A change of the workload changes what a seed plays; the bugs have
/// tests of their own as well, named here.
const REGRESSIONS: &[(u64, &str)] = &[
    (
        144,
        "a key that one shadow did not have was answered 404 for another shadow, set in its place \
         (bucket: what_one_shadow_said_is_not_believed_of_another)",
    ),
    (
        512,
        "a reader was told that an object is gone, while the disk refused to give up its stale copy, which a list showed \
         afterwards (here alone)",
    ),
    (
        601,
        "an object that had arrived at its origin was taken for somebody else's and forgotten here, since the origin said no \
         length of it (bucket: core::outgoing, what_is_there_decides_what_is_done)",
    ),
    (1040, "readers of a fill that was superseded in the queue asked the origin a second time (here alone)"),
    (2247, "the same as 1040"),
    (
        4624,
        "the model took a cache's copy for replaced by what a fill delivered, though the shadow was cleared before the fill \
         was whole and the copy stayed (checker: what_may_be_is_accepted)",
    ),
];

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn every_history_is_linearizable() {
    if let Some(seed) = setting("FALLTHROUGH_SEED") {
        let outcome = run_with_lines(seed);
        outcome.lines.iter().for_each(|line| println!("{line}"));
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    let mut summary = Summary::default();
    for seed in 0..setting("FALLTHROUGH_SEEDS").unwrap_or(SEEDS) {
        let outcome = run(seed);
        outcome.violations.iter().for_each(|violation| println!("seed {seed}: {violation}"));
        summary.add(&outcome);
    }
    println!("{}", serde_json::to_string_pretty(&summary).unwrap());
    println!("{summary}");
    assert!(summary.failures.is_empty(), "{:#?}", summary.failures);
    // A world in which nothing goes wrong would show nothing.
    for what in [
        "crashes",
        "restarts",
        "5xx",
        "reset",
        "truncate",
        "stall",
        "flip",
        "drip",
        "purge",
        "buckets deleted",
        "copies",
        "completions acknowledged",
        "uploads aborted",
        "objects expired",
        "uploads aborted by rules",
        "PUT tags",
        "DELETE conditional",
        "writes that took effect",
        "write done, reset",
        "write stall",
        "keys compared with origins",
        "shadow kept for what waits",
        "changes behind our back",
        "orders of migrations",
        "changed etag",
        "slow",
        "list fault",
        "disk fault",
        "disk full for a while",
        "wrong length",
        "evictions",
        "blocks kept",
        "shadow set",
        "shadow cleared",
        "LIST",
        "GET range",
        "DELETE batch",
    ] {
        assert!(summary.counts.get(what).is_some_and(|times| *times > 0), "no {what} in this slice");
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..12 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.operations, second.operations, "seed {seed}");
    }
}

#[test]
fn seeds_that_failed_once_pass() {
    for (seed, cause) in REGRESSIONS {
        let outcome = run(*seed);
        assert!(outcome.violations.is_empty(), "seed {seed}, where {cause}: {:#?}", outcome.violations);
    }
}

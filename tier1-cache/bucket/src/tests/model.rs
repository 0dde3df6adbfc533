//! The engine against a reference model, over a disk that loses what was not synced: the same operations on both,
//! answers compared after each. Among the operations are the unhappy ones: the machine crashes in the middle of others,
//! the origin is down or lies, somebody else changes what it has, the shadow is cleared and set again.
//!
//! A history is a number, so that one that failed once is played for ever: see [`FAILED_ONCE`].

mod machine;
mod operations;
mod play;
mod reference;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use self::operations::{BEFORE_CRASH, Draw, KINDS, Op, ops};
use self::play::{Tally, run};
use crate::BucketMode;
use crate::core::mutants::{Mutant, caught};

/// Histories that showed a difference once, by their numbers: 128 copied a stale copy whose successor was being
/// committed.
const FAILED_ONCE: [u64; 1] = [128];

/// Every run plays at least so many operations, or fails.
const OPERATIONS: u64 = 100_000;
/// Histories of a run, some 43 operations each; `FALLTHROUGH_CASES` says how many others, and `FALLTHROUGH_FIRST_CASE` from
/// which number on.
const HISTORIES: u64 = 2_450;

fn play_out(
    mode: BucketMode,
    ops: &[Op],
    honest_disk: bool,
    tally: &RefCell<Tally>,
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run(mode, ops, honest_disk, tally))
}

/// Plays the history of this number, and up to `shrinks` that are like it but shorter if it shows a difference; the
/// shortest that does is the error.
fn play(number: u64, shrinks: u32, honest_disk: bool, tally: &RefCell<Tally>) -> Result<(), String> {
    let config = ProptestConfig {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: shrinks,
        ..ProptestConfig::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(&ops(), |(mode, ops)| play_out(mode, &ops, honest_disk, tally));
    outcome.map_err(|error| format!("history {number}: {error}"))
}

#[test]
fn the_engine_agrees_with_the_model() {
    let knob = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let histories = knob("FALLTHROUGH_CASES").unwrap_or(HISTORIES);
    let first = knob("FALLTHROUGH_FIRST_CASE").unwrap_or(0);
    let tally = RefCell::default();
    for number in FAILED_ONCE.into_iter().chain(first..first + histories) {
        play(number, 2_000, true, &tally).unwrap_or_else(|difference| panic!("{difference}"));
    }
    let tally = tally.into_inner();
    let operations: u64 = KINDS.iter().filter_map(|kind| tally.get(kind)).sum();
    println!("{histories} histories, {operations} operations: 0 differences; {tally:?}");
    for kind in KINDS.into_iter().chain(BEFORE_CRASH) {
        assert!(tally.contains_key(kind), "{kind} never happened: {tally:?}");
    }
    assert!(operations >= OPERATIONS.min(histories * 30), "{operations} operations are too few");
}

/// Found by the model: while the copy that took its place was being committed, a stale one was copied, and given tags.
#[test]
fn a_stale_copy_is_neither_copied_nor_tagged_once_the_origin_has_another() {
    for last in [Op::Copy(0, 1), Op::One(0, Draw::Tag)] {
        // A small body, whose commit waits for others.
        let small = [Op::OriginForgets(0), Op::OriginChanges(0)];
        let stale = [Op::One(0, Draw::Get), Op::Wait(21), Op::OriginChanges(0), last];
        let then = [Op::One(0, Draw::Get), Op::One(1, Draw::Get)];
        play_out(BucketMode::Cache, &[&small[..], &stale[..], &then[..]].concat(), true, &RefCell::default())
            .expect("no difference");
    }
}

/// The model finds planted bugs, so it could find real ones.
#[test]
fn planted_bugs_are_caught() {
    let planted = [
        Mutant::NoTombstoneCheck,
        Mutant::TombstoneNotLeft,
        Mutant::UnseenDeleteForgotten,
        Mutant::StaleServed,
        Mutant::NegativeForEver,
        Mutant::CommitBeforeVerification,
        Mutant::PurgeTakesWritten,
        Mutant::ColdJudgedHere,
        Mutant::UnaskedIsAbsent,
        Mutant::RangeFillsWhole,
    ];
    let differs = |number| play(number, 0, true, &RefCell::default()).is_err();
    let is_found = |mutant| caught(mutant, || assert!(!(0..400).any(differs)));
    let missed: Vec<Mutant> = planted.into_iter().filter(|mutant| !is_found(*mutant)).collect();
    assert_eq!(missed, [], "these planted bugs are not found");
}

/// The model sees what a crash takes: on a disk that loses what it has synced.
#[test]
fn a_lost_write_is_seen() {
    let difference = (0..400).find_map(|number| play(number, 0, false, &RefCell::default()).err());
    let difference = difference.expect("acknowledged writes are lost, and nobody sees it");
    assert!(difference.contains("but it may be"), "the answer to a read tells: {difference}");
}

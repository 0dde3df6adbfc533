//! Every planted bug is caught by the check that ought to catch it.

use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::kv::conformance;
use crate::mutants::{self, Mutant};

/// Histories tried before a bug counts as alive.
const TRIES: usize = 300;

/// Whether a check fails with the bug planted, or the store panics.
fn caught(mutant: Mutant, check: impl Fn() -> Result<(), String>) -> bool {
    mutants::caught(mutant, std::panic::AssertUnwindSafe(|| check().unwrap()))
}

fn caught_by_histories<T: std::fmt::Debug>(
    mutant: Mutant,
    histories: impl proptest::strategy::Strategy<Value = T>,
    check: impl Fn(&T) -> Result<(), String>,
) -> bool {
    let mut runner = TestRunner::deterministic();
    (0..TRIES).any(|_| {
        let history = histories.new_tree(&mut runner).unwrap().current();
        caught(mutant, || check(&history))
    })
}

#[test]
fn each_planted_bug_is_caught() {
    type Check<'a> = &'a dyn Fn() -> Result<(), String>;
    let by = |mutant, what: &'static str, check: Check<'_>| (mutant, what, caught(mutant, check));
    let by_model = |mutant, what: &'static str| {
        (mutant, what, caught_by_histories(mutant, model::steps(), |steps| model::run(model::check(steps))))
    };
    let by_engine = |mutant, what: &'static str| {
        let compare = |ops: &Vec<_>| model::run(conformance::compare(ops));
        (mutant, what, caught_by_histories(mutant, conformance::ops(), compare))
    };
    let killed = [
        by_model(Mutant::AckBeforeSync, "acknowledged before sync, by the store's model"),
        by_engine(Mutant::AckBeforeSync, "acknowledged before sync, by the engine's model"),
        by_model(Mutant::RevisionReused, "revision reused, by the store's model"),
        by_engine(Mutant::RevisionReused, "revision reused, by the engine's model"),
        by(Mutant::LateCacheInsert, "late cache insert", &(|| model::run(objects::late_insert()))),
        by_model(Mutant::DirectoryNotSynced, "directory not synced, by the store's model"),
        by(
            Mutant::DirectoryNotSynced,
            "directory not synced, by crashes at steps",
            &(|| model::run(crash::overwrite(3000, 5000)).map(|_| ())),
        ),
        by(Mutant::GroupUnseen, "group unseen", &(|| model::run(conformance::group()))),
        by_model(Mutant::ReferenceKept, "reference kept"),
        by_model(Mutant::GateIgnored, "gate ignored, by the store's model"),
        by(Mutant::GateIgnored, "gate ignored, by its own test", &(|| model::run(buckets::gate()))),
        by(Mutant::QuarantineForgotten, "quarantine forgotten", &(|| model::run(quarantine::written()))),
        by(Mutant::QuarantineServed, "quarantine served", &(|| model::run(quarantine::written()))),
        by(Mutant::QuarantineDropped, "quarantine dropped", &(|| model::run(quarantine::written()))),
        by_model(Mutant::QuarantineForgotten, "quarantine forgotten, by the store's model"),
        by_model(Mutant::QuarantineDropped, "quarantine dropped, by the store's model"),
        by(Mutant::ScrubBelievesMemory, "scrub believes memory", &(|| model::run(scrub::disbelief()))),
        by(Mutant::ScrubSkipsLastBlock, "scrub skips the last block", &(|| model::run(scrub::disbelief()))),
        by(Mutant::ScrubCursorOff, "scrub cursor off", &(|| model::run(scrub::resumption()))),
        by(Mutant::DeletedIsDamage, "deleted is damage", &(|| model::run(scrub::deletion()))),
        by(Mutant::RangeVerifiedInPart, "range verified in part", &(|| model::run(rot::classes()))),
        by(Mutant::SumsUnverified, "sums unverified", &(|| model::run(rot::classes()))),
        by(Mutant::RowUnverified, "row unverified", &(|| model::run(rot::rows()))),
        by(Mutant::BooksUnverified, "books unverified", &(|| model::run(rot::books()))),
        by(Mutant::IndexUnverified, "index unverified", &(|| model::run(rot::pages()))),
        by(Mutant::NegativesUnbounded, "negatives unbounded", &(|| model::run(negatives::bounded()))),
        by(Mutant::TombstoneOutlives, "tombstone outlives", &(|| model::run(negatives::cleared()))),
        by(Mutant::OutboxUnbounded, "outbox unbounded", &(|| model::run(outbox::bounded()))),
        by(Mutant::IntentUnpinned, "intent unpinned", &(|| model::run(outbox::pinned()))),
        by(Mutant::SecretsStayPlain, "secrets stay plain", &(|| model::run(sealing::unseen()))),
        by(Mutant::SealOfAnyPlace, "seal of any place", &(|| model::run(sealing::fixed()))),
        by(Mutant::OldSealsStay, "old seals stay", &(|| model::run(sealing::turned()))),
        by_model(Mutant::ReplacedStillCounted, "replaced still counted"),
        by(Mutant::GivenUpStillCounted, "given up still counted", &(|| model::run(usage::given_up()))),
        by(
            Mutant::InventoryBeforeItsRows,
            "inventory before its rows",
            &(|| model::run(inventory::crashes()).map(drop)),
        ),
        by(
            Mutant::InventoryNotWithdrawn,
            "inventory not withdrawn",
            &(|| model::run(inventory::withdrawn_with_what_was_written())),
        ),
        by(
            Mutant::InventoryOutlivesBucket,
            "inventory outlives its bucket",
            &(|| model::run(inventory::swept_with_the_bucket()).map(drop)),
        ),
        by(Mutant::BlocksOutliveObject, "blocks outlive their object", &(|| model::run(blocks::changed()))),
        by(Mutant::BlockUnconditional, "block unconditional", &(|| model::run(blocks::late()))),
        by(Mutant::BlocksNotSwept, "blocks not swept", &(|| model::run(blocks::crashes()))),
        by(Mutant::BlockUnverified, "block unverified", &(|| model::run(faults::damage()))),
    ];
    let alive: Vec<_> = killed.iter().filter(|(.., killed)| !killed).map(|(_, what, _)| what).collect();
    println!("planted bugs caught: {} of {}", killed.len() - alive.len(), killed.len());
    assert!(alive.is_empty(), "not caught: {alive:?}");
    let of_store = Mutant::ALL.iter().filter(|mutant| mutant.place() == "store");
    let untried: Vec<_> =
        of_store.filter(|mutant| killed.iter().all(|(tried, ..)| tried != *mutant)).collect();
    assert!(untried.is_empty(), "not looked for: {untried:?}");
}

//! Every planted bug is caught by the check that ought to catch it.

use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::kv::conformance;
use crate::mutants::{Mutant, plant};

/// Histories tried before a bug counts as alive.
const TRIES: usize = 300;

/// Runs a check with the bug planted; a panic of the store counts as caught, as it would in a test.
fn caught(mutant: Mutant, check: impl Fn() -> Result<(), String>) -> bool {
    plant(Some(mutant));
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&check));
    plant(None);
    !matches!(end, Ok(Ok(())))
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
    let by_model =
        |mutant| caught_by_histories(mutant, model::steps(), |steps| model::run(model::check(steps)));
    let by_engine =
        |mutant| caught_by_histories(mutant, conformance::ops(), |ops| model::run(conformance::compare(ops)));
    let killed = [
        ("acknowledged before sync, by the store's model", by_model(Mutant::AckBeforeSync)),
        ("acknowledged before sync, by the engine's model", by_engine(Mutant::AckBeforeSync)),
        ("revision reused, by the store's model", by_model(Mutant::RevisionReused)),
        ("revision reused, by the engine's model", by_engine(Mutant::RevisionReused)),
        ("late cache insert", caught(Mutant::LateCacheInsert, || model::run(objects::late_insert()))),
        ("directory not synced, by the store's model", by_model(Mutant::DirectoryNotSynced)),
        (
            "directory not synced, by crashes at steps",
            caught(Mutant::DirectoryNotSynced, || model::run(crash::overwrite(3000, 5000)).map(|_| ())),
        ),
        ("group unseen", caught(Mutant::GroupUnseen, || model::run(conformance::group()))),
        ("reference kept", by_model(Mutant::ReferenceKept)),
        ("gate ignored, by the store's model", by_model(Mutant::GateIgnored)),
        ("gate ignored, by its own test", caught(Mutant::GateIgnored, || model::run(buckets::gate()))),
        ("quarantine forgotten", caught(Mutant::QuarantineForgotten, || model::run(quarantine::written()))),
        ("quarantine served", caught(Mutant::QuarantineServed, || model::run(quarantine::written()))),
        ("quarantine dropped", caught(Mutant::QuarantineDropped, || model::run(quarantine::written()))),
        ("quarantine forgotten, by the store's model", by_model(Mutant::QuarantineForgotten)),
        ("quarantine dropped, by the store's model", by_model(Mutant::QuarantineDropped)),
        ("scrub believes memory", caught(Mutant::ScrubBelievesMemory, || model::run(scrub::disbelief()))),
        (
            "scrub skips the last block",
            caught(Mutant::ScrubSkipsLastBlock, || model::run(scrub::disbelief())),
        ),
        ("scrub cursor off", caught(Mutant::ScrubCursorOff, || model::run(scrub::resumption()))),
        ("deleted is damage", caught(Mutant::DeletedIsDamage, || model::run(scrub::deletion()))),
        ("range verified in part", caught(Mutant::RangeVerifiedInPart, || model::run(rot::classes()))),
        ("sums unverified", caught(Mutant::SumsUnverified, || model::run(rot::classes()))),
        ("row unverified", caught(Mutant::RowUnverified, || model::run(rot::rows()))),
        ("books unverified", caught(Mutant::BooksUnverified, || model::run(rot::books()))),
        ("index unverified", caught(Mutant::IndexUnverified, || model::run(rot::pages()))),
        ("negatives unbounded", caught(Mutant::NegativesUnbounded, || model::run(negatives::bounded()))),
        ("tombstone outlives", caught(Mutant::TombstoneOutlives, || model::run(negatives::cleared()))),
        ("outbox unbounded", caught(Mutant::OutboxUnbounded, || model::run(outbox::bounded()))),
        ("intent unpinned", caught(Mutant::IntentUnpinned, || model::run(outbox::pinned()))),
        ("secrets stay plain", caught(Mutant::SecretsStayPlain, || model::run(sealing::unseen()))),
        ("seal of any place", caught(Mutant::SealOfAnyPlace, || model::run(sealing::fixed()))),
        ("old seals stay", caught(Mutant::OldSealsStay, || model::run(sealing::turned()))),
        ("replaced still counted", by_model(Mutant::ReplacedStillCounted)),
        ("given up still counted", caught(Mutant::GivenUpStillCounted, || model::run(usage::given_up()))),
        (
            "inventory before its rows",
            caught(Mutant::InventoryBeforeItsRows, || model::run(inventory::crashes()).map(drop)),
        ),
        (
            "inventory not withdrawn",
            caught(
                Mutant::InventoryNotWithdrawn,
                || model::run(inventory::withdrawn_with_what_was_written()),
            ),
        ),
        (
            "inventory outlives its bucket",
            caught(Mutant::InventoryOutlivesBucket, || {
                model::run(inventory::swept_with_the_bucket()).map(drop)
            }),
        ),
        ("block unverified", caught(Mutant::BlockUnverified, || model::run(faults::damage()))),
    ];
    let alive: Vec<_> = killed.iter().filter(|(_, killed)| !killed).map(|(what, _)| what).collect();
    println!("planted bugs caught: {} of {}", killed.len() - alive.len(), killed.len());
    assert!(alive.is_empty(), "not caught: {alive:?}");
}

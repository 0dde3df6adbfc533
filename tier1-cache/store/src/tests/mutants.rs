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
        (
            Mutant::AckBeforeSync,
            "acknowledged before sync, by the store's model",
            by_model(Mutant::AckBeforeSync),
        ),
        (
            Mutant::AckBeforeSync,
            "acknowledged before sync, by the engine's model",
            by_engine(Mutant::AckBeforeSync),
        ),
        (Mutant::RevisionReused, "revision reused, by the store's model", by_model(Mutant::RevisionReused)),
        (Mutant::RevisionReused, "revision reused, by the engine's model", by_engine(Mutant::RevisionReused)),
        (
            Mutant::LateCacheInsert,
            "late cache insert",
            caught(Mutant::LateCacheInsert, || model::run(objects::late_insert())),
        ),
        (
            Mutant::DirectoryNotSynced,
            "directory not synced, by the store's model",
            by_model(Mutant::DirectoryNotSynced),
        ),
        (
            Mutant::DirectoryNotSynced,
            "directory not synced, by crashes at steps",
            caught(Mutant::DirectoryNotSynced, || model::run(crash::overwrite(3000, 5000)).map(|_| ())),
        ),
        (
            Mutant::GroupUnseen,
            "group unseen",
            caught(Mutant::GroupUnseen, || model::run(conformance::group())),
        ),
        (Mutant::ReferenceKept, "reference kept", by_model(Mutant::ReferenceKept)),
        (Mutant::GateIgnored, "gate ignored, by the store's model", by_model(Mutant::GateIgnored)),
        (
            Mutant::GateIgnored,
            "gate ignored, by its own test",
            caught(Mutant::GateIgnored, || model::run(buckets::gate())),
        ),
        (
            Mutant::QuarantineForgotten,
            "quarantine forgotten",
            caught(Mutant::QuarantineForgotten, || model::run(quarantine::written())),
        ),
        (
            Mutant::QuarantineServed,
            "quarantine served",
            caught(Mutant::QuarantineServed, || model::run(quarantine::written())),
        ),
        (
            Mutant::QuarantineDropped,
            "quarantine dropped",
            caught(Mutant::QuarantineDropped, || model::run(quarantine::written())),
        ),
        (
            Mutant::QuarantineForgotten,
            "quarantine forgotten, by the store's model",
            by_model(Mutant::QuarantineForgotten),
        ),
        (
            Mutant::QuarantineDropped,
            "quarantine dropped, by the store's model",
            by_model(Mutant::QuarantineDropped),
        ),
        (
            Mutant::ScrubBelievesMemory,
            "scrub believes memory",
            caught(Mutant::ScrubBelievesMemory, || model::run(scrub::disbelief())),
        ),
        (
            Mutant::ScrubSkipsLastBlock,
            "scrub skips the last block",
            caught(Mutant::ScrubSkipsLastBlock, || model::run(scrub::disbelief())),
        ),
        (
            Mutant::ScrubCursorOff,
            "scrub cursor off",
            caught(Mutant::ScrubCursorOff, || model::run(scrub::resumption())),
        ),
        (
            Mutant::DeletedIsDamage,
            "deleted is damage",
            caught(Mutant::DeletedIsDamage, || model::run(scrub::deletion())),
        ),
        (
            Mutant::RangeVerifiedInPart,
            "range verified in part",
            caught(Mutant::RangeVerifiedInPart, || model::run(rot::classes())),
        ),
        (
            Mutant::SumsUnverified,
            "sums unverified",
            caught(Mutant::SumsUnverified, || model::run(rot::classes())),
        ),
        (Mutant::RowUnverified, "row unverified", caught(Mutant::RowUnverified, || model::run(rot::rows()))),
        (
            Mutant::BooksUnverified,
            "books unverified",
            caught(Mutant::BooksUnverified, || model::run(rot::books())),
        ),
        (
            Mutant::IndexUnverified,
            "index unverified",
            caught(Mutant::IndexUnverified, || model::run(rot::pages())),
        ),
        (
            Mutant::NegativesUnbounded,
            "negatives unbounded",
            caught(Mutant::NegativesUnbounded, || model::run(negatives::bounded())),
        ),
        (
            Mutant::TombstoneOutlives,
            "tombstone outlives",
            caught(Mutant::TombstoneOutlives, || model::run(negatives::cleared())),
        ),
        (
            Mutant::OutboxUnbounded,
            "outbox unbounded",
            caught(Mutant::OutboxUnbounded, || model::run(outbox::bounded())),
        ),
        (
            Mutant::IntentUnpinned,
            "intent unpinned",
            caught(Mutant::IntentUnpinned, || model::run(outbox::pinned())),
        ),
        (
            Mutant::SecretsStayPlain,
            "secrets stay plain",
            caught(Mutant::SecretsStayPlain, || model::run(sealing::unseen())),
        ),
        (
            Mutant::SealOfAnyPlace,
            "seal of any place",
            caught(Mutant::SealOfAnyPlace, || model::run(sealing::fixed())),
        ),
        (
            Mutant::OldSealsStay,
            "old seals stay",
            caught(Mutant::OldSealsStay, || model::run(sealing::turned())),
        ),
        (Mutant::ReplacedStillCounted, "replaced still counted", by_model(Mutant::ReplacedStillCounted)),
        (
            Mutant::GivenUpStillCounted,
            "given up still counted",
            caught(Mutant::GivenUpStillCounted, || model::run(usage::given_up())),
        ),
        (
            Mutant::InventoryBeforeItsRows,
            "inventory before its rows",
            caught(Mutant::InventoryBeforeItsRows, || model::run(inventory::crashes()).map(drop)),
        ),
        (
            Mutant::InventoryNotWithdrawn,
            "inventory not withdrawn",
            caught(
                Mutant::InventoryNotWithdrawn,
                || model::run(inventory::withdrawn_with_what_was_written()),
            ),
        ),
        (
            Mutant::InventoryOutlivesBucket,
            "inventory outlives its bucket",
            caught(Mutant::InventoryOutlivesBucket, || {
                model::run(inventory::swept_with_the_bucket()).map(drop)
            }),
        ),
        (
            Mutant::BlockUnverified,
            "block unverified",
            caught(Mutant::BlockUnverified, || model::run(faults::damage())),
        ),
    ];
    let alive: Vec<_> = killed.iter().filter(|(.., killed)| !killed).map(|(_, what, _)| what).collect();
    println!("planted bugs caught: {} of {}", killed.len() - alive.len(), killed.len());
    assert!(alive.is_empty(), "not caught: {alive:?}");
    let of_store = Mutant::ALL.iter().filter(|mutant| mutant.place() == "store");
    let untried: Vec<_> =
        of_store.filter(|mutant| killed.iter().all(|(tried, ..)| tried != *mutant)).collect();
    assert!(untried.is_empty(), "not looked for: {untried:?}");
}

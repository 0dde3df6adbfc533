//! Tests that are run with a planted bug, and must fail then.

use tokio::runtime::Builder;

use crate::core::mutants::{Mutant, caught};

/// The bug, if the test does not find it.
pub(crate) fn missed<F: Future<Output = ()>>(mutant: Mutant, test: impl FnOnce() -> F) -> Option<Mutant> {
    missed_under(mutant, Builder::new_current_thread().start_paused(true), test)
}

/// The same for a test on a real disk, whose threads know no virtual time.
pub(crate) fn missed_on_disk<F: Future<Output = ()>>(
    mutant: Mutant,
    test: impl FnOnce() -> F,
) -> Option<Mutant> {
    missed_under(mutant, &mut Builder::new_current_thread(), test)
}

fn missed_under<F: Future<Output = ()>>(
    mutant: Mutant,
    runtime: &mut Builder,
    test: impl FnOnce() -> F,
) -> Option<Mutant> {
    let run = || {
        let runtime = runtime.enable_time().build().unwrap();
        // What never ends is found, too.
        let day = std::time::Duration::from_secs(100 * 86_400);
        runtime.block_on(async { tokio::time::timeout(day, test()).await }).unwrap();
    };
    (!caught(mutant, std::panic::AssertUnwindSafe(run))).then_some(mutant)
}

pub(crate) fn assert_caught(missed: impl IntoIterator<Item = Option<Mutant>>) {
    let missed: Vec<_> = missed.into_iter().flatten().collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

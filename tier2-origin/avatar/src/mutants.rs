//! Planted bugs, switched on for one thread: a test does so and must then fail, or it could not have found the
//! real thing. These run with every run of this crate's tests; `fallthrough_object::Mutant` says how the tests
//! of all crates are run against each.

pub(crate) use fallthrough_object::Mutant;

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is switched on: in this thread, or for the process.
#[cfg(test)]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant) || fallthrough_object::planted(mutant)
}

#[cfg(not(test))]
pub(crate) use fallthrough_object::planted;

/// Runs `test` with a bug switched on in this thread, and tells whether it was caught: whether it panicked.
#[cfg(test)]
pub(crate) fn caught(mutant: Mutant, test: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    PLANTED.set(Some(mutant));
    let outcome = std::panic::catch_unwind(test);
    PLANTED.set(None);
    outcome.is_err()
}

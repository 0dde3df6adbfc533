//! Planted bugs: a test switches one on and must then fail, or it could not have found the real thing.
//! Outside this crate's own tests nothing can be switched on, and the checks are gone from the code.

/// The bugs that can be planted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A write, delete or purge does not supersede the key's fill.
    NoSupersession,
    /// A fill commits without looking at what is there now.
    NoRevisionCheck,
    /// A tombstone is read as a miss.
    NoTombstoneCheck,
    /// A fill is handed on although its digest differs.
    CommitBeforeVerification,
    /// A purge is ordered outside the critical section that supersedes the fill.
    OrderedOutsideTheSection,
    /// The end of a fill takes whatever fill its key has out of the table.
    EndsByKey,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this bug is switched on in this thread.
#[cfg(test)]
pub(crate) fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Never, outside tests.
#[cfg(not(test))]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}

/// Runs `test` with a bug switched on in this thread, and tells whether it was caught: whether it panicked.
#[cfg(test)]
pub(crate) fn caught(mutant: Mutant, test: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    PLANTED.set(Some(mutant));
    let outcome = std::panic::catch_unwind(test);
    PLANTED.set(None);
    outcome.is_err()
}

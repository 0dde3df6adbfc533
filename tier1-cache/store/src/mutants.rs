//! Planted bugs, switched on for one thread: a test does so and must then fail, or it could not have found the
//! real thing. `fallthrough_object::Mutant` says what they are, and how the tests of all crates are run against each.

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

/// Plants a bug on this thread, or none.
#[cfg(test)]
pub(crate) fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

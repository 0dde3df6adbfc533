//! The real process under load, when it or its disk fails: killed at random and at exact system calls.
//! No acknowledged write is lost, nothing is torn, no failure is told as absence, and after the sweep no orphans
//! are left.
//!
//! Short by default. Long forms, by environment:
//!
//! | variable | what | default |
//! | --- | --- | --- |
//! | `FALLTHROUGH_KILLS` | kills at random moments | 8 |
//! | `FALLTHROUGH_EXACT_KILLS` | kills at the Nth of a system call under load | 24 |
//! | `FALLTHROUGH_IO_ERRORS` | errors of the disk under load | 40 |
//! | `FALLTHROUGH_SEED` | the seed of a run, as it was printed | random |
//!
//! What needs `strace` or a mount, and finds neither, says so in a line that begins with `SKIPPED`, and in the
//! folder that `FALLTHROUGH_SKIPS` names, from which `cargo xtask test` reports it as skipped.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod errors;
mod exact;
mod expected;
mod full;
mod ground;
mod load;
mod random;
#[path = "../served/mod.rs"]
mod served;
mod skip;
mod strace;
mod tally;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The seed of this run, printed.
fn seed() -> u64 {
    use fallthrough_object::Entropy;
    let seed = number("FALLTHROUGH_SEED").unwrap_or_else(|| fallthrough_object::OsEntropy.next_u64());
    println!("seed {seed}");
    seed
}

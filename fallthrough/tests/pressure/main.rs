//! The real process under pressure: connections that say nothing, readers and writers that trickle, origins that
//! do not answer, and the end within the grace time. Memory keeps within stated bounds, other requests are
//! answered all the while, bytes are right, and what was acknowledged is there afterwards.
//!
//! Short by default. Long forms, by environment:
//!
//! | variable | what | default |
//! | --- | --- | --- |
//! | `FALLTHROUGH_SLOW_READERS` | slow readers; from 200 on, of a 256 MiB object within 256 MiB of memory | 100, of 48 MiB within 112 MiB |
//! | `FALLTHROUGH_SLOW_WRITERS` | slow writers | 100 |
//! | `FALLTHROUGH_IDLE_CONNECTIONS` | idle connections of each kind, up to 2000 | 1000 |
//!
//! The server of slow readers and of idle connections runs in a memory-limited cgroup. Where none can be made, that is
//! reported as skipped, in a line that begins with `SKIPPED` and in the folder that `FALLTHROUGH_SKIPS` names, and only
//! the resident size is measured.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod cgroup;
mod connection;
mod descriptors;
mod ground;
mod idle;
mod limited;
mod origins;
mod readers;
#[path = "../served/mod.rs"]
mod served;
#[path = "../crash/skip.rs"]
mod skip;
mod stop;
mod writers;

/// A number from the environment, or its default.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

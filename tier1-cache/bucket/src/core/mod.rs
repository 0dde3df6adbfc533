//! The pure core: what must be right under every interleaving. No tokio, no clock, no I/O in here; time and
//! events are handed in, decisions are handed out.

pub(crate) mod admission;
pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod commit;
pub(crate) mod eviction;
pub(crate) mod extras;
pub(crate) mod fills;
pub(crate) mod flights;
pub(crate) mod keystate;
pub(crate) mod load;
pub(crate) mod mutants;
pub(crate) mod outgoing;
pub(crate) mod rest;
pub(crate) mod rule;
pub(crate) mod sighting;
pub(crate) mod uses;

#[cfg(test)]
mod schedules;

//! The test world: origins that misbehave on command, and clocks that tests move.
//!
//! A [`Script`] says what an origin has, what it does wrong and where it waits. [`ScriptedShadow`] plays it
//! without sockets (usable under virtual time), [`FaultyOrigin`] plays the same script as an HTTP server on
//! loopback, down to resets and lying lengths. A [`Provider`] can be written to. Only tests use this crate.

mod clock;
mod content;
mod fault;
mod gate;
mod origin;
mod play;
mod provider;
mod script;
mod shadow;

pub use clock::{ManualClock, TokioClock};
pub use content::Content;
pub use fault::{Fault, ListFault};
pub use gate::At;
pub use origin::FaultyOrigin;
pub use provider::{Kept, Mishap, Provider};
pub use script::{Call, Script};
pub use shadow::ScriptedShadow;

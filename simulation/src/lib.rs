//! The whole of tier 1 in one thread, under virtual time: real clients, gateway, engine and store, a disk that loses
//! what was not synced, and origins that misbehave. One seed is one run is one history.
//!
//! [`run`] plays a seed and judges it: every key's history must be linearizable with respect to [`Model`], LIST
//! included, with "whatever the shadow has" as the initial value; no body may be a mix; no key may be fetched twice
//! at once; nothing may be left at the end. It does not measure speed, and knows nothing of operating systems: the
//! tests that kill the real process do.

mod checker;
mod client;
mod dice;
mod did;
mod gauges;
mod history;
mod leaks;
mod lifecycle;
mod migration;
mod misfortune;
mod model;
mod operator;
mod origin;
mod plan;
mod provider;
mod rules;
mod run;
mod summary;
mod through;
mod upload_model;
mod uploads;
mod workload;
mod world;

pub use checker::{Machine, Verdict, check};
pub use did::{Bytes, Condition, Did, Mode, Object, Seen, Tags};
pub use history::{Moment, Operation, VersionId};
pub use model::Model;
pub use rules::{Days, Rule, When};
pub use run::{Outcome, run, run_with_lines};
pub use summary::Summary;
pub use upload_model::{Parts, SLOTS, UNKNOWN_PART, UploadDid, UploadModel};

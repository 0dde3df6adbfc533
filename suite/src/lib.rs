//! A suite of S3 over the wire: tables of cases that can be run against any S3 endpoint.
//!
//! A case is data: requests in order, and of each answer what must hold of it, exactly. Expectations follow AWS's
//! documentation, and what AWS's servers are known to answer where that says nothing. Each case makes buckets of its
//! own and removes them. The [`groups`] whose objects only have to be read can also be run *cold*: what a case wants
//! to read is then put behind the bucket, at an origin, and the bucket under test has yet to fetch it ([`Ground`]).
//!
//! What it does not do: measure, or try what no client would send (the gateway's own tests do), or speak TLS.

mod accounts;
mod body;
mod call;
mod case;
mod cleaning;
mod client;
mod encode;
mod expect;
mod form;
mod ground;
pub mod groups;
mod reply;
mod report;
mod runner;
mod scene;
mod signature_v2;
mod variables;

pub use accounts::{Account, Endpoint, InvalidEndpoint};
pub use case::{Case, Modes};
pub use ground::{Cold, Ground, Mode};
pub use report::{Failure, Outcome, Report, Result};
pub use runner::{Selection, run};

//! The way out: requests to what is behind a bucket, and what the answers mean.
//!
//! A [`Shadow`] answers raw, with every header; [`Outcome::of`] reads the answer by the origin contract
//! (`docs/origin-contract.md`). Nothing here stores, retries or queues: that is the bucket engine's part.

mod answer;
mod answer_headers;
mod client;
mod endpoint;
mod error_body;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http_shadow;
mod network;
mod outcome;
mod probe;
mod reading;
mod request;
mod s3_shadow;
mod write_request;
mod written;

pub use answer::{RawAnswer, ShadowError};
pub use client::{ATTEMPT_HEADER, HOPS_HEADER, Outbound, REQUEST_ID_HEADER};
pub use endpoint::SettingsError;
pub use http_shadow::{HttpSettings, HttpShadow};
pub use network::NetworkPolicy;
pub use outcome::{Asked, Dialect, Expected, Found, Freshness, Outcome};
pub use probe::{ProbeLine, ProbeResult, Probed, probe};
pub use request::{Extras, ListQuery, ListedObject, ListedPage, Method, Request, Shadow};
pub use s3_shadow::{S3Settings, S3Shadow};
pub use write_request::{ObjectHeaders, SentBody, Write, WriteGuard, WriteRequest};
pub use written::Written;

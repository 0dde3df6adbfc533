//! The way out: requests to what is behind a bucket, and what the answers mean.
//!
//! A [`Shadow`] answers raw, with every header; [`Outcome::of`] reads the answer by the origin contract
//! (`docs/origin-contract.md`). Nothing here stores, retries or queues: that is the bucket engine's part.

mod answer;
mod answer_headers;
mod error_body;
mod outcome;
mod reading;
mod request;

pub use answer::{RawAnswer, ShadowError};
pub use outcome::{Asked, Dialect, Expected, Found, Freshness, Outcome};
pub use request::{ListQuery, ListedObject, ListedPage, Method, Request, Shadow};

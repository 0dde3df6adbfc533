//! S3 on the wire, for whoever speaks it: the gateway, the shadow clients, an origin.
//!
//! SigV4 signing and verifying over one canonicalisation, the aws-chunked decoder, digests, ranges,
//! conditions, dates, metadata headers, XML pieces, and the one table of S3 error codes.
//!
//! Nothing here does I/O, waits, or reads a clock: every function takes what it needs and returns a
//! value, so that client and server, tests and simulation share the same code.

pub mod chunked;
pub mod conditions;
pub mod date;
pub mod digest;
pub mod error;
pub mod grants;
pub mod headers;
mod hex;
pub mod payload;
pub mod range;
pub mod sigv4;
pub mod tags;
pub mod uri;
pub mod xml;

pub use error::{S3Code, S3Error};
pub use sigv4::Verified;

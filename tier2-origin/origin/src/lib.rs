//! Stand behind a bucket: implement GetObject, get the rest.
//!
//! An [`Origin`] has one required method, `get`. [`serve`] makes an S3 server of it: HEAD, ranges, ETags,
//! conditional requests, lists, S3's errors, signatures, admission with a bounded queue, counters and a
//! graceful end. The same service nests in any `tower` router, or is called within the process.
//!
//! ```no_run
//! use fallthrough_origin::{Answer, OriginError, Request, serve};
//!
//! async fn hello(request: Request) -> Result<Answer, OriginError> {
//!     match request.key.as_str() {
//!         "nobody" => Err(OriginError::not_found()),
//!         name => Ok(format!("hello, {name}\n").into()),
//!     }
//! }
//!
//! # async fn main_() -> std::io::Result<()> {
//! let server = serve(hello).credentials("AKHELLO", "a-secret").bind("127.0.0.1:8090").await?;
//! println!("{}", server.url());
//! server.run().await;
//! # Ok(()) }
//! ```
//!
//! It promises that a body which broke off never looks whole, that a panic costs one request, and that no
//! failure is told as absence. It does not cache, coalesce or retry: the bucket in front does.

mod access;
mod admission;
mod answer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connection;
mod counters;
mod error;
mod fault;
mod listing;
mod origin;
mod request;
mod respond;
mod sent;
mod serve;
mod service;
mod upload;

pub use answer::Answer;
pub use counters::{Counters, Snapshot};
pub use error::{BoxError, OriginError};
pub use origin::{Origin, Upload};
pub use request::{ListRequest, ListedObject, Listing, Query, Request};
pub use sent::SentBody;
pub use serve::{Serve, Server, serve};
pub use service::OriginService;

/// The types that occur in this crate's interface.
pub use bytes::Bytes;
pub use fallthrough_object::{
    Body, BodyError, ByteRange, ByteStream, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, FileRange, Key,
    Meta, RangeSpec, Timestamp,
};

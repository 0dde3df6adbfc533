//! The words that every part of Fallthrough shares: names, keys, ETags, ranges, metadata, bodies, time.
//!
//! Nothing here does I/O or knows HTTP. A value of one of these types is valid from the moment it
//! exists: it was parsed once, at the door, and every later function may trust it.

mod acl;
mod body;
mod checksum;
mod clock;
mod configuration;
mod entropy;
mod etag;
mod meta;
mod mutant;
mod name;
mod provider;
mod range;
mod rate;
mod trace;

pub use acl::{Acl, AclGrant, Grantee, Permission};
pub use body::{Body, BodyError, ByteStream, FileRange, ReadAt};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
pub use clock::{Clock, Monotonic, SystemClock, Timestamp};
pub use configuration::{
    BucketConfiguration, CorsRule, LifecycleFilter, LifecycleRule, Tag, Website, WebsiteRedirect,
};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use etag::{ETag, InvalidETag};
pub use meta::Meta;
pub use mutant::{Mutant, planted};
pub use name::{BucketName, InvalidBucketName, InvalidKey, Key};
pub use provider::{Addressing, Provider, S3Place};
pub use range::{ByteRange, RangeNotSatisfiable, RangeSpec};
pub use rate::Rate;
pub use trace::TraceParent;

//! Entries and blobs: what a bucket keeps, durably.

mod blob;
mod bucket_row;
mod entry;

pub use blob::{BlobId, BlobRef};
pub use bucket_row::{
    AccessKeyRow, Bucket, BucketId, BucketMode, BucketSettings, Grant, ListFrom, PublicAccess, PublicFill,
    Right, ShadowCredentials, ShadowRule, ShadowTarget, Treat403As,
};
pub use entry::{Entry, EntryState, ObjectInfo, Provenance, Revision, Stored};

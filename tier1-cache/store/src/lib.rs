//! Entries and blobs: what a bucket keeps, durably.
//!
//! [`Store`] pairs an index (ordered rows behind one group-committing writer) with blobs (files named by id),
//! so that the order of their writes lives in one place: bytes are durable before the entry that names them,
//! and an entry is durable before anybody is told. A crash leaves garbage, which [`Store::sweep`] removes,
//! never an entry without bytes.
//!
//! It does not know HTTP, origins, or what a bucket promises its clients; it keeps what the bucket engine
//! decides, on the condition that nothing changed since the engine looked.

mod access;
mod blob;
mod blobs;
mod blocks;
mod bodies;
mod bucket_row;
mod buckets;
mod deliveries;
mod disk;
mod entry;
mod entry_code;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hot;
mod intent;
mod inventory;
mod kv;
mod lane;
mod migrations;
mod mutants;
mod negatives;
mod objects;
mod open;
mod options;
mod outbox;
mod pins;
mod quarantine;
mod rows;
mod rule_text;
mod scrub;
mod sealing;
#[cfg(feature = "simulation")]
pub mod simulation;
mod staging;
mod store;
mod sweep;
mod uploads;
mod usage;

pub use blob::{BlobId, BlobRef, PartBlob};
pub use blocks::{BlockSet, KeptBlock, NewBlock, SetOfBlocks};
pub use bucket_row::{
    AccessKeyRow, AccountRow, Bucket, BucketId, BucketMode, BucketSettings, Grant, ListFrom, PublicAccess,
    PublicFill, Right, ShadowCredentials, ShadowRule, ShadowTarget, Treat403As, WriteConflict, WriteThrough,
};
pub use buckets::{ClosedBucket, Created};
pub use deliveries::Prepared;
pub use entry::{Entry, EntryState, ObjectInfo, PartChecksums, Provenance, Revision, Stored};
pub use error::{CommitError, StoreError};
pub use intent::{Intent, IntentRow, Seen};
pub use inventory::{
    INVENTORY_ROWS_PER_COMMIT, InventoryDrift, InventoryObject, InventoryRow, TakenInventory, TakingInventory,
};
pub use lane::{Lane, Through};
pub use migrations::{
    Count, MigrationChange, MigrationNote, MigrationOptions, MigrationPhase, MigrationRow, Walk,
};
pub use objects::{CopyOf, Erased, NewState, Observation};
pub use options::{Failpoints, SMALL_BODY_LIMIT, Step, StoreOptions};
pub use outbox::{Attendance, DueIntent, OutboxFull, OutboxStatus};
pub use quarantine::{QuarantineRow, Quarantined};
pub use scrub::{BodyCheck, ScrubBlock, ScrubItem, ScrubPage, ScrubPass, ScrubRecord, ScrubTally};
pub use sealing::{Sealing, SealingKey};
pub use staging::{Sealed, Staging, StagingReader};
pub use store::{Announced, FORMAT_VERSION, Store, StoreStatus};
pub use sweep::SweepReport;
pub use uploads::{NewPart, Part, Upload, UploadId, UploadRow, UploadedParts};
pub use usage::{COPY_ROW_BYTES, Held, Usage};

#[cfg(test)]
mod tests;

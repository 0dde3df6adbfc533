//! The bucket engine: what is here is served, what is not falls through, once, and is kept.
//!
//! The gateway calls [`Engine`]; the engine brings the store and the shadows together. It never sees HTTP:
//! requests and answers are plain types. What must be right under every interleaving (the state of
//! a key, the table of running fills, admission, the breaker) is pure and lives in `core`.

mod accounts;
mod all_buckets;
mod api;
mod ask;
mod attach;
mod behind;
mod blocks;
mod cold;
mod configure;
mod copy;
mod core;
mod delete;
mod deliver;
mod engine;
mod eviction;
mod explain;
mod extras;
mod fetch;
mod fill;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod guard;
mod head;
mod inventory;
mod lanes;
mod ledger;
mod lifecycle;
mod list;
mod list_uploads;
mod members;
mod memory;
mod mend;
mod migrate;
mod multipart;
mod origins;
mod outbox;
mod pace;
mod parts;
mod pass;
mod put;
mod reader;
mod room;
mod scrub;
mod standing;
mod survivors;
mod tags;
mod telling;
#[cfg(test)]
mod tests;
mod through;
mod usage;
mod verify;
mod waiting;

pub use api::{
    Admission, Answer, Attributes, BucketError, CacheReport, CacheWord, Caller, Deleted, Explanation,
    GetRequest, ListCursor, ListItem, ListPage, ListRequest, NewBucket, Object, ObjectBody, PutOutcome,
    PutRequest,
};
pub use copy::{COPY_BYTES_MAX, CopyRequest, CopySource};
pub use core::extras::ExtrasTooLong;
pub use engine::{
    Engine, EngineOptions, OriginKind, OriginTraits, ShadowFactory, ShadowRefused, check_settings,
};
pub use eviction::EvictionTally;
pub use fallthrough_shadow::Extras;
pub use fallthrough_store::{
    AccessKeyRow, AccountRow, BlobId, Bucket, BucketId, BucketMode, BucketSettings, Count, Grant, Held,
    InventoryDrift, InventoryRow, ListFrom, MigrationNote, MigrationOptions, MigrationPhase, MigrationRow,
    NewPart, ObjectInfo, OutboxStatus, Part, PartChecksums, Provenance, PublicAccess, PublicFill,
    Quarantined, Right, ScrubPass, ScrubTally, ShadowCredentials, ShadowRule, ShadowTarget, TakenInventory,
    TakingInventory, Treat403As, Upload, UploadId, Usage, Walk, WriteConflict, WriteThrough,
};
pub use inventory::InventoryStatus;
pub use lifecycle::{Expiry, LifecycleTally, abort_of, expiry_of};
pub use list_uploads::{UploadItem, UploadsPage, UploadsRequest};
pub use members::MemberState;
pub use migrate::{
    MigrationOrder, MigrationProgress, MigrationRate, MigrationRefused, MigrationStatus,
    outcome as migration_outcome,
};
pub use multipart::{Completion, ListedPart, NewUpload, PART_NUMBER_MAX, PutPart};
pub use scrub::{ScrubFinding, ScrubOptions, ScrubOrder, ScrubStatus};
pub use usage::CopiesStatus;
pub use waiting::{WaitingChange, WhichWaiting};

//! Where the bytes of objects are.

use serde::{Deserialize, Serialize};

/// Identifies a blob: the boot epoch that made it and a counter within it. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId {
    /// The start of the store during which it was made; raised durably at every open.
    pub epoch: u64,
    /// Counter within the epoch.
    pub number: u64,
}

/// Where a stored object's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlobRef {
    /// No bytes at all.
    Empty,
    /// In the table of small bodies, written in the same commit as the entry.
    Row(BlobId),
    /// In a file of its own.
    File(BlobId),
}

//! Where the bytes of objects are.

use std::sync::Arc;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobRef {
    /// No bytes at all.
    Empty,
    /// In the table of small bodies, written in the same commit as the entry.
    Row(BlobId),
    /// In a file of its own.
    File(BlobId),
    /// In several files, one behind the other: the parts of a multipart upload, as they came.
    Parts(Arc<[PartBlob]>),
}

/// A file that has a piece of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBlob {
    /// The file.
    pub id: BlobId,
    /// Length of the piece in bytes; never zero.
    pub size_bytes: u64,
}

impl BlobRef {
    /// These files, one behind the other. Pieces without bytes have no file.
    pub(crate) fn of_parts(parts: Vec<PartBlob>) -> Self {
        match parts[..] {
            [] => Self::Empty,
            [one] => Self::File(one.id),
            _ => Self::Parts(parts.into()),
        }
    }

    /// The files, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = BlobId> {
        let (one, parts) = match self {
            Self::Empty | Self::Row(_) => (None, &[][..]),
            Self::File(id) => (Some(*id), &[][..]),
            Self::Parts(parts) => (None, &parts[..]),
        };
        one.into_iter().chain(parts.iter().map(|part| part.id))
    }

    /// All blobs, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = BlobId> {
        let row = if let Self::Row(id) = self { Some(*id) } else { None };
        row.into_iter().chain(self.files())
    }
}

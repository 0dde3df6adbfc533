//! Why the store could not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::blob::BlobId;

/// A failure of the store. That a key or a bucket does not exist is an answer, never one of these.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The writer's queue is full. Retryable: answer 503 SlowDown.
    #[error("the store's queue is full")]
    Busy,
    /// Free space is below the reserve, or the disk said that it is full. Reads go on.
    #[error("the store is out of space ({free_bytes} bytes are free)")]
    Full {
        /// What was free when it was last looked at.
        free_bytes: u64,
    },
    /// Another process has the folder open.
    #[error("the data folder {} is in use{}", path.display(), pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that holds it, as it wrote down itself.
        pid: Option<u32>,
    },
    /// The folder was written by a newer release. Nothing was touched.
    #[error(
        "the data folder has format {found}; this release knows formats up to {known}: open it with the release \
         that wrote it, or a newer one"
    )]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this release knows.
        known: u32,
    },
    /// Rows with secrets are encrypted with a key that was not given. Nothing was touched.
    #[error(
        "the secrets in the data folder are encrypted with the sealing key {missing}, which was not given"
    )]
    Sealed {
        /// The key's id.
        missing: String,
    },
    /// Stored bytes fail their checksum, or a row cannot be read. Not retryable.
    #[error("stored data is corrupt: {what}")]
    Corrupt {
        /// What is corrupt.
        what: String,
    },
    /// The index has the object, but its bytes are gone. Not retryable.
    #[error("the bytes of blob {}-{} are missing", blob.epoch, blob.number)]
    Missing {
        /// The blob that should be there.
        blob: BlobId,
    },
    /// The object was overwritten or deleted after it was looked up: look the key up again.
    #[error("the object changed after it was looked up")]
    Superseded,
    /// The disk failed, or the store is closing. Retryable. A commit that ends so is in doubt: it may or may
    /// not have happened, and never in part.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<io::Error>),
}

impl StoreError {
    pub(crate) fn unavailable(what: &str) -> Self {
        Self::Unavailable(Arc::new(io::Error::other(what.to_owned())))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { free_bytes: 0 },
            _ => Self::Unavailable(Arc::new(error)),
        }
    }
}

/// Why a commit did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The row changed since it was read. Nothing was written: read again and decide again.
    #[error("the row changed since it was read")]
    Conflict,
    /// The bucket is gone or closing, or its shadow changed. Nothing was written: read the bucket again.
    #[error("the bucket is closing, gone, or its shadow changed")]
    Gate,
    /// The store failed. After [`StoreError::Unavailable`] the commit is in doubt; after every other error
    /// nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

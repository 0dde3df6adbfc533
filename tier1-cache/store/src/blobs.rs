//! `BlobStore`: the bytes of larger objects, one blob each, written once and never changed.
//!
//! What a blob holds besides the object's bytes (checksums, length) is drawn in [`seal`] and is the same for
//! every implementation.

use std::fmt;
use std::io;
use std::sync::Arc;

use fallthrough_object::ReadAt;

use crate::blob::BlobId;

#[cfg(test)]
mod conformance;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod seal;

/// What a walk through a blob store meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// A blob that was begun and not finished.
    Staging(BlobId),
    /// A finished blob.
    Blob(BlobId),
    /// A blob in quarantine.
    Aside(BlobId),
}

/// Where blobs are. Called by the store from any thread, also concurrently; every call may block where
/// [`BlobStore::blocks`] says so.
///
/// An implementer guarantees: a blob is found by `open` only after its writer's `finish`; once `finish` has
/// returned, it survives a crash; an open blob stays readable after `remove`; after an error of a sync the
/// file is given up and never believed.
pub(crate) trait BlobStore: Send + Sync + fmt::Debug + 'static {
    /// Begins a blob. `id` was never used before.
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobWriter>>;

    /// Opens a finished blob; `None` if there is none.
    fn open(&self, id: BlobId) -> io::Result<Option<(Arc<dyn ReadAt>, u64)>>;

    /// Removes a finished blob, soon; nothing happens if there is none. Never blocks for long.
    fn remove(&self, id: BlobId);

    /// Removes what a walk found, now.
    fn remove_found(&self, found: Found) -> io::Result<()>;

    /// Shows everything there is to `visit`, in no order, until it says `false`. What is made or removed
    /// meanwhile may be shown or not.
    fn walk(&self, visit: &mut dyn FnMut(Found) -> bool) -> io::Result<()>;

    /// Whether calls may block on a disk.
    fn blocks(&self) -> bool;

    /// Bytes that can still be written; `None` if that has no meaning.
    fn free_bytes(&self) -> io::Result<Option<u64>>;

    /// Lets go of what the system keeps of a finished blob in memory, so that the next reads ask the device;
    /// nothing happens if there is none.
    fn forget_cached(&self, id: BlobId) -> io::Result<()>;

    /// Moves a finished blob into quarantine, durably: `open` does not find it any more, `remove` leaves it.
    /// `false` if there is no such blob.
    fn set_aside(&self, id: BlobId) -> io::Result<bool>;

    /// Keeps bytes that were no blob of their own in quarantine under `id`, durably.
    fn keep_aside(&self, id: BlobId, bytes: &[u8]) -> io::Result<()>;

    /// Removes what is in quarantine under `id`, soon; nothing happens if there is nothing. Never blocks for long.
    fn remove_aside(&self, id: BlobId);

    /// Bytes in quarantine under `id`; `None` if there is nothing.
    fn aside_bytes(&self, id: BlobId) -> io::Result<Option<u64>>;

    /// Waits for removals that were handed over.
    fn close(&self) {}
}

/// A blob being written. Dropped unfinished, it is removed.
pub(crate) trait BlobWriter: fmt::Debug + Send {
    /// Appends; what was appended is readable through [`BlobWriter::reader`] when this returns.
    fn append(&mut self, data: &[u8]) -> io::Result<()>;

    /// Positioned reads of what was appended so far. Stays readable after the end of the writer.
    fn reader(&self) -> Arc<dyn ReadAt>;

    /// Makes the blob durable under its id.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Runs `work` on a thread that may block, or here if it never does.
pub(crate) async fn off_thread<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if !blocks {
        #[cfg(feature = "simulation")]
        crate::simulation::pause().await;
        let done = work();
        #[cfg(feature = "simulation")]
        crate::simulation::pause().await;
        return Ok(done);
    }
    // Fails if `work` panicked or the runtime is going down.
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

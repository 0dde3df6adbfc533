//! What an operator may choose about the store, and the hook for crash tests.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::sealing::Sealing;

/// The largest body that may be kept in the table of small bodies: with its row it fills a 32 KiB page.
pub const SMALL_BODY_LIMIT: usize = 31 * 1024;

/// Settings of a [`Store`](crate::Store).
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Memory for the index's pages, in bytes.
    pub cache_bytes: usize,
    /// Bodies up to this many bytes are kept in the index and share its syncs; at most [`SMALL_BODY_LIMIT`],
    /// larger values are cut to it.
    pub small_body_max: usize,
    /// A body on its way is kept in memory up to this many bytes, then spills to a file.
    pub staging_memory_max: usize,
    /// Memory for entries and small bodies that are asked for often, in bytes.
    pub hot_bytes: u64,
    /// Below this many free bytes [`StoreStatus::accepts_fills`](crate::StoreStatus) turns false.
    pub low_space_stop_fills_bytes: u64,
    /// Below this many free bytes no body is taken to be kept; what is here can still be read and deleted, and
    /// bodies that are only passed on may use half of these.
    pub reserve_bytes: u64,
    /// Commits that may wait for the writer.
    pub queue_commits: usize,
    /// Bytes that may wait for the writer.
    pub queue_bytes: usize,
    /// How long the writer waits for announced commits before it syncs a group.
    pub linger: Duration,
    /// How long the copy of an object may wait for other commits to share a sync with. Whoever asked for the
    /// object does not wait for it, and a copy that a crash takes can be fetched again.
    pub patience: Duration,
    /// Keys that may wait for their delivery to an origin; no more are taken then.
    pub outbox_rows_max: usize,
    /// Bytes of the objects that may wait for it.
    pub outbox_bytes_max: u64,
    /// How long a request waits while the index recovers from a failure of the disk.
    pub recovery_wait: Duration,
    /// What rows with secrets are sealed with.
    pub sealing: Sealing,
    /// Called between the steps of writing, for crash tests. Costs nothing when unset.
    pub failpoints: Option<Arc<dyn Failpoints>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 48 << 20,
            small_body_max: SMALL_BODY_LIMIT,
            staging_memory_max: 256 << 10,
            hot_bytes: 64 << 20,
            low_space_stop_fills_bytes: 1 << 30,
            reserve_bytes: 256 << 20,
            queue_commits: 4096,
            queue_bytes: 64 << 20,
            linger: Duration::from_micros(500),
            patience: Duration::from_millis(10),
            outbox_rows_max: 65_536,
            outbox_bytes_max: 64 << 30,
            recovery_wait: Duration::from_secs(5),
            sealing: Sealing::default(),
            failpoints: None,
        }
    }
}

impl StoreOptions {
    pub(crate) fn reached(&self, step: Step) -> io::Result<()> {
        match &self.failpoints {
            None => Ok(()),
            Some(hook) => hook.reached(step),
        }
    }
}

/// The steps of writing an object, in their order. A crash before [`Step::Committed`] leaves garbage at most;
/// a crash from there on leaves the whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A staging file was made.
    StagingCreated,
    /// All bytes and the block checksums are written, not yet synced. Files only.
    StagingWritten,
    /// The file is synced. Files only.
    StagingSynced,
    /// The file has its name. Files only.
    BlobNamed,
    /// The directory is synced: the body is durable. Files only.
    BlobDurable,
    /// All is ready for the commit.
    Ready,
    /// The commit is durable and visible; the memory cache does not know it yet.
    Committed,
    /// The memory cache knows it; the caller does not.
    Invalidated,
    /// The blob of the object that was replaced was handed to removal.
    Released,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::StagingCreated,
        Self::StagingWritten,
        Self::StagingSynced,
        Self::BlobNamed,
        Self::BlobDurable,
        Self::Ready,
        Self::Committed,
        Self::Invalidated,
        Self::Released,
    ];
}

/// Told of every step. An error fails the step as if the disk had; from [`Step::Committed`] on, where nothing
/// can fail any more, it only turns the answer into [`StoreError::Unavailable`](crate::StoreError).
pub trait Failpoints: fmt::Debug + Send + Sync + 'static {
    /// Called when `step` is done, on the thread that did it.
    ///
    /// # Errors
    /// What the step shall fail with.
    fn reached(&self, step: Step) -> io::Result<()>;
}

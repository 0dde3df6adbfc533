//! A store on a disk that loses what was not synced, driven by one thread: the seam for simulations, behind the
//! feature `simulation`. Nothing here is compiled into the program.
//!
//! The writer has no thread: commits are ordered as always and wait until [`Writer::step`] makes a group of them
//! durable, so that a simulation decides how long they wait and what happens meanwhile. Blobs are written
//! and read where they are asked for.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Clock, Entropy, SeededEntropy};

use crate::disk::lossy::{Fault, LossyDisk};
use crate::error::StoreError;
use crate::kv::Kv;
use crate::kv::embedded::{Drive, EmbeddedKv};
use crate::options::StoreOptions;
use crate::store::Store;

thread_local! {
    /// Decides how long the work on blobs takes on this thread; `None`: no time.
    static PAUSES: RefCell<Option<SeededEntropy>> = const { RefCell::new(None) };
}

/// From now on the work on blobs takes a while on this thread, as `seed` decides, so that other tasks run
/// before and after it; as they do where it is done by another thread.
pub fn let_blobs_take_time(seed: u64) {
    PAUSES.set(Some(SeededEntropy::new(seed)));
}

/// Lets other tasks run, or some time pass.
pub(crate) async fn pause() {
    let number = PAUSES.with_borrow(|pauses| pauses.as_ref().map(Entropy::next_u64));
    match number.map(|number| (number % 8, number >> 32)) {
        None | Some((0..4, _)) => {}
        Some((4..7, _)) => tokio::task::yield_now().await,
        Some((_, long)) => tokio::time::sleep(Duration::from_micros(long % 5_000)).await,
    }
}

/// A disk in memory that can crash. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(LossyDisk);

/// What a [`SimulatedDisk`] can do wrong without crashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Syncs of files fail, and the bytes that they should have made durable are lost.
    Sync,
    /// Writes find the disk full.
    Write,
    /// Reads fail.
    Read,
}

impl From<DiskFault> for Fault {
    fn from(fault: DiskFault) -> Self {
        match fault {
            DiskFault::Sync => Self::Sync,
            DiskFault::Write => Self::Write,
            DiskFault::Read => Self::Read,
        }
    }
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self(LossyDisk::new())
    }
}

impl SimulatedDisk {
    /// The machine stops now: whoever holds this disk only gets errors from here on. Returns the disk as the
    /// next start finds it: what was synced, and of the rest what `seed` lets survive.
    pub fn crash(&self, seed: u64) -> Self {
        let after = self.0.crashed(seed);
        self.0.kill();
        Self(after)
    }

    /// The disk as a crash now could leave it; this one runs on. Who is given it later finds that everything since has been
    /// lost, whatever was said of it: to show that broken promises are seen.
    pub fn as_of_now(&self, seed: u64) -> Self {
        Self(self.0.crashed(seed))
    }

    /// The machine stops at the change (of a name, of bytes, or a sync) after the next `changes`;
    /// [`SimulatedDisk::crash`] then tells what is left.
    pub fn stop_after(&self, changes: u32) {
        self.0.kill_after(changes);
    }

    /// Whether the machine has stopped.
    pub fn is_dead(&self) -> bool {
        self.0.is_dead()
    }

    /// The next `times` operations of this kind fail.
    pub fn fail(&self, fault: DiskFault, times: u32) {
        self.0.fail(fault.into(), times);
    }

    /// No more operations of this kind fail. How many of those that were to fail had not come.
    pub fn heal(&self, fault: DiskFault) -> u32 {
        self.0.heal(fault.into())
    }

    /// Names of the files below a folder such as `staging/` or `blobs/`.
    pub fn names(&self, under: &str) -> Vec<String> {
        self.0.names(under)
    }
}

/// Makes commits durable, a step at a time.
#[derive(Debug)]
pub struct Writer(Arc<dyn Kv>);

impl Writer {
    fn embedded(&self) -> &EmbeddedKv {
        self.0.as_embedded().expect("a store on a disk has the embedded engine")
    }

    /// Resolves when commits may be waiting.
    pub async fn due(&self) {
        self.embedded().held_due().await;
    }

    /// Makes up to `most` waiting commits durable as one group and tells their ends; returns how many are left.
    pub fn step(&self, most: usize) -> usize {
        self.embedded().drain_held(most)
    }
}

impl Store {
    /// Opens the store on a simulated disk, or makes one there. Whoever calls this drives the [`Writer`].
    ///
    /// # Errors
    /// As [`Store::open`], and what a disk says that dies meanwhile.
    pub async fn open_simulated(
        disk: &SimulatedDisk,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Writer), StoreError> {
        let disk = Arc::new(disk.0.clone());
        let store = Self::open_on(disk, options, clock, entropy, Drive::Inline, None).await?;
        let writer = Writer(store.inner.kv.clone());
        writer.embedded().hold_back();
        Ok((store, writer))
    }
}

//! The file that `redb` works on, through the [`DiskFile`] seam: counts syncs, and can be cut off.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::StorageBackend;

use crate::disk::DiskFile;

/// A database's file. The folder's lock keeps other processes away, so it takes none of its own.
#[derive(Debug)]
pub(crate) struct Backend {
    file: Arc<dyn DiskFile>,
    link: Arc<Link>,
}

/// What outlives a backend: its counters, and the means to cut it off.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Set before the database is opened anew: an old one must not write a byte any more.
    cut: AtomicBool,
    syncs: AtomicU64,
}

impl Link {
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl Backend {
    pub(crate) fn new(file: Arc<dyn DiskFile>, link: Arc<Link>) -> Self {
        Self { file, link }
    }

    fn linked(&self) -> io::Result<&dyn DiskFile> {
        if self.link.cut.load(Ordering::SeqCst) {
            return Err(io::Error::other("this database was given up after an error"));
        }
        Ok(&*self.file)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.linked()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.linked()?.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.linked()?.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.link.syncs.fetch_add(1, Ordering::Relaxed);
        self.linked()?.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.linked()?.write_at(data, offset)
    }
}

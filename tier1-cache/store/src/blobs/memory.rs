//! Blobs in memory: for tests, simulations and stores that need not outlive the process.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fallthrough_object::ReadAt;

use super::{BlobStore, BlobWriter, Found};
use crate::blob::BlobId;

#[derive(Clone, Default)]
struct Content(Arc<Mutex<Vec<u8>>>);

impl Content {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.lock().len())
    }
}

impl ReadAt for Content {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let from = content.get(start..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

type Blobs = Arc<Mutex<BTreeMap<Found, Content>>>;

/// Blobs in a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryBlobs {
    blobs: Blobs,
}

impl MemoryBlobs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Found, Content>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Flips bits of a stored byte.
    #[cfg(test)]
    pub(crate) fn damage(&self, id: BlobId, at: usize) {
        self.lock()[&Found::Blob(id)].lock()[at] ^= 0x40;
    }
}

impl BlobStore for MemoryBlobs {
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobWriter>> {
        let content = Content::default();
        self.lock().insert(Found::Staging(id), content.clone());
        Ok(Box::new(MemoryWriter { id, content, blobs: self.clone() }))
    }

    fn open(&self, id: BlobId) -> io::Result<Option<(Arc<dyn ReadAt>, u64)>> {
        Ok(self.lock().get(&Found::Blob(id)).map(|content| {
            let len = content.lock().len() as u64;
            (Arc::new(content.clone()) as Arc<dyn ReadAt>, len)
        }))
    }

    fn remove(&self, id: BlobId) {
        self.lock().remove(&Found::Blob(id));
    }

    fn remove_found(&self, found: Found) -> io::Result<()> {
        self.lock().remove(&found);
        Ok(())
    }

    fn walk(&self, visit: &mut dyn FnMut(Found) -> bool) -> io::Result<()> {
        let all: Vec<Found> = self.lock().keys().copied().collect();
        let _stopped_early = all.into_iter().all(visit);
        Ok(())
    }

    fn forget_cached(&self, _: BlobId) -> io::Result<()> {
        Ok(())
    }

    fn set_aside(&self, id: BlobId) -> io::Result<bool> {
        let mut blobs = self.lock();
        let moved = blobs.remove(&Found::Blob(id));
        Ok(moved.is_some_and(|content| {
            blobs.insert(Found::Aside(id), content);
            true
        }))
    }

    fn keep_aside(&self, id: BlobId, bytes: &[u8]) -> io::Result<()> {
        let content = Content(Arc::new(Mutex::new(bytes.to_vec())));
        self.lock().insert(Found::Aside(id), content);
        Ok(())
    }

    fn remove_aside(&self, id: BlobId) {
        self.lock().remove(&Found::Aside(id));
    }

    fn aside_bytes(&self, id: BlobId) -> io::Result<Option<u64>> {
        Ok(self.lock().get(&Found::Aside(id)).map(|content| content.lock().len() as u64))
    }

    fn blocks(&self) -> bool {
        false
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

#[derive(Debug)]
struct MemoryWriter {
    id: BlobId,
    content: Content,
    blobs: MemoryBlobs,
}

impl BlobWriter for MemoryWriter {
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.content.lock().extend_from_slice(data);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.content.clone())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.blobs.lock().insert(Found::Blob(self.id), self.content.clone());
        Ok(())
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.blobs.lock().remove(&Found::Staging(self.id));
    }
}

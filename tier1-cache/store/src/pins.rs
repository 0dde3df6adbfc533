//! Files that readers will still open: an object in several files is read to its end although it was overwritten or
//! deleted meanwhile.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::{BlobId, PartBlob};
use crate::store::Inner;

/// Which files are pinned, each with how often, and whether nothing else refers to it any more.
///
/// Bounded by the bodies that are read at one time, and their parts.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<HashMap<BlobId, Pinned>>);

#[derive(Debug, Default)]
struct Pinned {
    readers: usize,
    gone: bool,
}

/// Keeps files where they are until it is dropped.
pub(crate) struct Pin {
    inner: Arc<Inner>,
    parts: Arc<[PartBlob]>,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({} files)", self.parts.len())
    }
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlobId, Pinned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file stays until its readers are done; it is removed then.
    pub(crate) fn keep(&self, id: BlobId) -> bool {
        self.lock().get_mut(&id).is_some_and(|pinned| {
            pinned.gone = true;
            true
        })
    }
}

impl Pin {
    /// Pins the files of an object. Look afterwards whether the object is still there: only then they are.
    pub(crate) fn new(inner: Arc<Inner>, parts: Arc<[PartBlob]>) -> Self {
        let mut pins = inner.pins.lock();
        for part in &*parts {
            pins.entry(part.id).or_default().readers += 1;
        }
        drop(pins);
        Self { inner, parts }
    }
}

impl Pin {
    /// The store that has the files.
    pub(crate) fn inner(&self) -> Arc<Inner> {
        self.inner.clone()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.inner.pins.lock();
        let mut gone = Vec::new();
        for part in &*self.parts {
            let Some(pinned) = pins.get_mut(&part.id) else { continue };
            pinned.readers -= 1;
            if pinned.readers == 0 && pins.remove(&part.id).is_some_and(|pinned| pinned.gone) {
                gone.push(part.id);
            }
        }
        drop(pins);
        gone.into_iter().for_each(|id| self.inner.forget(id));
    }
}

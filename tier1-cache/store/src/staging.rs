//! A body on its way: one writer, any number of readers with their own cursors.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use fallthrough_object::ReadAt;

use crate::blob::BlobId;
use crate::blobs::seal::BlockSums;
use crate::blobs::{BlobStore, BlobWriter, off_thread};
use crate::error::StoreError;
use crate::options::{Step, StoreOptions};

/// Bytes that are gathered before they are written to a staging file, and the most that a read of one gives.
const WRITE_BYTES: usize = 512 << 10;
const READ_BYTES: usize = 256 << 10;
/// Pieces are merged up to this size, so that a body that comes byte by byte does not cost a piece per byte.
const MERGE_BYTES: usize = 64 << 10;

/// What staging needs of the store.
#[derive(Clone, Debug)]
pub(crate) struct StagingPlace {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) options: Arc<StoreOptions>,
    pub(crate) id: BlobId,
}

/// A body on its way. Memory up to `staging_memory_max`, then a file. Dropped without [`Staging::seal`], the
/// file is removed; readers finish on what they have.
#[derive(Debug)]
pub struct Staging {
    place: StagingPlace,
    shared: Arc<Shared>,
    spill: Spill,
}

#[derive(Debug)]
enum Spill {
    /// All in memory.
    None,
    /// In a file, up to the tail that is still in memory.
    File(Box<Spilled>),
    /// A write failed or was abandoned half way: what is in the file is not believed any more.
    Poisoned,
}

#[derive(Debug)]
struct Spilled {
    writer: Box<dyn BlobWriter>,
    sums: BlockSums,
}

impl Spilled {
    fn write(mut self: Box<Self>, pieces: &[Bytes]) -> io::Result<Box<Self>> {
        for piece in pieces {
            self.writer.append(piece)?;
            self.sums.update(piece);
        }
        Ok(self)
    }
}

#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    blocks: bool,
}

#[derive(Debug, Default)]
struct View {
    len: u64,
    /// Where the pieces in memory begin; before it, bytes are in the file.
    tail_start: u64,
    tail: VecDeque<Bytes>,
    file: Option<Arc<dyn ReadAt>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn push(&mut self, data: Bytes) {
        self.len += data.len() as u64;
        self.tail.push_back(data);
        // Merges like a binary counter: every byte is copied a logarithmic number of times.
        while let [.., a, b] = self.tail.make_contiguous() {
            if a.len() > b.len() || a.len() + b.len() > MERGE_BYTES {
                break;
            }
            let mut merged = BytesMut::with_capacity(a.len() + b.len());
            merged.extend_from_slice(a);
            merged.extend_from_slice(b);
            self.tail.truncate(self.tail.len() - 2);
            self.tail.push_back(merged.freeze());
        }
    }

    fn tail_bytes(&self) -> u64 {
        self.len - self.tail_start
    }

    /// The rest of the piece in memory that has `offset`.
    fn in_tail(&self, offset: u64, max: usize) -> Bytes {
        let mut start = self.tail_start;
        for piece in &self.tail {
            let end = start + piece.len() as u64;
            if offset < end {
                let skip = (offset - start) as usize;
                return piece.slice(skip..piece.len().min(skip.saturating_add(max)));
            }
            start = end;
        }
        Bytes::new()
    }
}

impl Staging {
    pub(crate) fn new(place: StagingPlace) -> Self {
        let shared = Shared { view: Mutex::default(), blocks: place.blobs.blocks() };
        Self { place, shared: Arc::new(shared), spill: Spill::None }
    }

    /// Bytes appended so far.
    #[expect(clippy::len_without_is_empty, reason = "a length of a body, not of a collection")]
    pub fn len(&self) -> u64 {
        self.shared.lock().len
    }

    /// A reader of what is and will be appended.
    pub fn reader(&self) -> StagingReader {
        StagingReader { shared: self.shared.clone() }
    }

    /// Appends. Readers see the bytes when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Unavailable`]: the body cannot be completed; drop it.
    ///
    /// # Cancellation
    /// Dropped at work, the staging is spoilt: every later call fails.
    pub async fn append(&mut self, data: Bytes) -> Result<(), StoreError> {
        if data.is_empty() {
            return Ok(());
        }
        let (len, tail) = {
            let mut view = self.shared.lock();
            view.push(data);
            (view.len, view.tail_bytes())
        };
        let write = match self.spill {
            Spill::None => len > self.place.options.staging_memory_max as u64,
            Spill::File(_) => tail >= WRITE_BYTES as u64,
            Spill::Poisoned => true,
        };
        if write { self.write_tail().await } else { Ok(()) }
    }

    /// Makes the body durable as far as it can be before its commit: a small one stays in memory for the
    /// commit itself; a larger one gets its checksums and its name, synced.
    ///
    /// # Errors
    /// As [`Staging::append`].
    ///
    /// # Cancellation
    /// The body is given up; what was written is removed.
    pub async fn seal(self) -> Result<Sealed, StoreError> {
        let small_max = self.place.options.small_body_max as u64;
        self.seal_above(small_max).await
    }

    /// As [`Staging::seal`], in a file however small it is, unless it is empty: a part of an upload is durable before
    /// there is an object.
    ///
    /// # Errors
    /// As [`Staging::append`].
    ///
    /// # Cancellation
    /// As [`Staging::seal`].
    pub async fn seal_part(self) -> Result<Sealed, StoreError> {
        self.seal_above(0).await
    }

    async fn seal_above(mut self, small_max: u64) -> Result<Sealed, StoreError> {
        let len = self.len();
        if matches!(self.spill, Spill::None) && len <= small_max {
            let body = whole(&self.shared.lock());
            return Ok(Sealed::new(len, SealedBody::Memory(body), self.place));
        }
        self.write_tail().await?;
        let Spill::File(spilled) = std::mem::replace(&mut self.spill, Spill::Poisoned) else {
            return Err(poisoned());
        };
        let place = self.place.clone();
        off_thread(self.shared.blocks, move || -> io::Result<()> {
            let Spilled { mut writer, sums } = *spilled;
            writer.append(&sums.finish(place.id))?;
            place.options.reached(Step::StagingWritten)?;
            writer.finish()
        })
        .await??;
        Ok(Sealed::new(len, SealedBody::File(self.place.id), self.place))
    }

    /// Writes what is in memory to the file, beginning one if there is none.
    async fn write_tail(&mut self) -> Result<(), StoreError> {
        // Whatever ends this early, an error or a dropped future, leaves the staging poisoned.
        let spill = std::mem::replace(&mut self.spill, Spill::Poisoned);
        let pieces: Vec<Bytes> = self.shared.lock().tail.iter().cloned().collect();
        let place = self.place.clone();
        let work = move || -> io::Result<(Box<Spilled>, usize)> {
            let spilled = match spill {
                Spill::File(spilled) => spilled,
                Spill::None => {
                    let writer = place.blobs.create(place.id)?;
                    place.options.reached(Step::StagingCreated)?;
                    Box::new(Spilled { writer, sums: BlockSums::new() })
                }
                Spill::Poisoned => return Err(io::Error::other("an earlier write to this body failed")),
            };
            Ok((spilled.write(&pieces)?, pieces.len()))
        };
        let (spilled, written) = off_thread(self.shared.blocks, work).await??;
        let mut view = self.shared.lock();
        view.file.get_or_insert_with(|| spilled.writer.reader());
        // `append` takes the staging exclusively: nobody added a piece meanwhile.
        for piece in view.tail.drain(..written).collect::<Vec<_>>() {
            view.tail_start += piece.len() as u64;
        }
        drop(view);
        self.spill = Spill::File(spilled);
        Ok(())
    }
}

fn poisoned() -> StoreError {
    StoreError::unavailable("an earlier write to this body failed")
}

fn whole(view: &View) -> Bytes {
    if let [one] = view.tail.iter().collect::<Vec<_>>()[..] {
        // Its own allocation: a slice of a network buffer would keep all of that buffer alive.
        return Bytes::copy_from_slice(one);
    }
    let mut body = BytesMut::with_capacity(view.len as usize);
    for piece in &view.tail {
        body.extend_from_slice(piece);
    }
    body.freeze()
}

/// Reads a body on its way. Keeps working after the body was sealed, published, overwritten or deleted.
#[derive(Clone, Debug)]
pub struct StagingReader {
    shared: Arc<Shared>,
}

impl StagingReader {
    /// Bytes that can be read so far.
    #[expect(clippy::len_without_is_empty, reason = "a length of a body, not of a collection")]
    pub fn len(&self) -> u64 {
        self.shared.lock().len
    }

    /// Up to `max` bytes from `offset`; empty only at the current end (or for `max` 0).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the disk failed.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn read(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        let (file, len) = {
            let view = self.shared.lock();
            if offset >= view.tail_start {
                return Ok(view.in_tail(offset, max));
            }
            let len = (view.tail_start - offset).min(max.min(READ_BYTES) as u64);
            (view.file.clone(), len as usize)
        };
        let file = file.ok_or_else(poisoned)?;
        let read = off_thread(self.shared.blocks, move || {
            let mut out = vec![0; len];
            file.read_exact_at(&mut out, offset).map(|()| out)
        });
        Ok(read.await??.into())
    }
}

/// A complete body, ready to be published. Clones are the same body. When the last one is dropped unpublished
/// its file is removed; after a commit in doubt the file stays, and the sweep of a later start decides.
#[derive(Clone, Debug)]
pub struct Sealed {
    inner: Arc<SealedInner>,
}

struct SealedInner {
    len: u64,
    body: SealedBody,
    place: StagingPlace,
    /// One of the `USE_` constants.
    state: AtomicU8,
}

#[derive(Clone, Debug)]
pub(crate) enum SealedBody {
    /// To be written with the commit; may be empty.
    Memory(Bytes),
    /// Durable under this id.
    File(BlobId),
}

/// Not published: a file is removed when dropped.
const USE_NONE: u8 = 0;
/// A commit is on its way, or its end is in doubt.
const USE_PENDING: u8 = 1;
/// An entry has it.
const USE_PUBLISHED: u8 = 2;

impl fmt::Debug for SealedInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.len)
    }
}

impl Sealed {
    fn new(len: u64, body: SealedBody, place: StagingPlace) -> Self {
        Self { inner: Arc::new(SealedInner { len, body, place, state: AtomicU8::new(USE_NONE) }) }
    }

    /// Length of the body in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a length of a body, not of a collection")]
    pub fn len(&self) -> u64 {
        self.inner.len
    }

    pub(crate) fn body(&self) -> &SealedBody {
        &self.inner.body
    }

    /// Takes it for a commit. `false`: another commit has it, or had it.
    pub(crate) fn take(&self) -> bool {
        // A small body is written anew by each commit, under an id of its own: it can be used any number of times.
        matches!(self.inner.body, SealedBody::Memory(_))
            || self
                .inner
                .state
                .compare_exchange(USE_NONE, USE_PENDING, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// The commit that had taken it was refused: nothing refers to it.
    pub(crate) fn give_back(&self) {
        self.inner.state.store(USE_NONE, Ordering::Release);
    }

    /// The commit that had taken it happened.
    pub(crate) fn published(&self) {
        self.inner.state.store(USE_PUBLISHED, Ordering::Release);
    }
}

impl Drop for SealedInner {
    fn drop(&mut self) {
        if let (SealedBody::File(id), USE_NONE) = (&self.body, *self.state.get_mut()) {
            self.place.blobs.remove(*id);
        }
    }
}

#[cfg(test)]
mod tests;

//! The file that `redb` works on, through the [`DiskFile`] seam: counts syncs, and can be cut off. Or a view of
//! that file, which keeps for itself what is written to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::disk::DiskFile;

/// A database's file. The folder's lock keeps other processes away, so it takes none of its own.
#[derive(Debug)]
pub(crate) struct Backend {
    file: Arc<dyn DiskFile>,
    link: Arc<Link>,
    /// Takes what is written, in place of the file.
    view: Option<Mutex<Overlay>>,
    /// Told how many bytes were read; says whether to go on.
    spent: Option<Spent>,
}

struct Spent(Box<dyn Fn(u64) -> bool + Send + Sync>);

impl std::fmt::Debug for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spent")
    }
}

/// Unit of an overlay: a page of `redb` is one or more of it.
const PIECE_BYTES: usize = 4096;
/// The most that an overlay keeps. Opening a database writes a few pages.
const OVERLAY_PIECES: usize = (16 << 20) / PIECE_BYTES;

/// What was written over a file without being written to it.
#[derive(Debug)]
struct Overlay {
    len: u64,
    pieces: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn read(&self, file: &dyn DiskFile, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = file.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (theirs, beyond) = out.split_at_mut(in_file);
        if !theirs.is_empty() {
            file.read_exact_at(theirs, offset)?;
        }
        beyond.fill(0);
        for (piece, at, within) in pieces_of(offset, out.len()) {
            if let Some(bytes) = self.pieces.get(&piece) {
                out[at..at + within.len()].copy_from_slice(&bytes[within]);
            }
        }
        Ok(())
    }

    fn write(&mut self, file: &dyn DiskFile, offset: u64, data: &[u8]) -> io::Result<()> {
        for (piece, at, within) in pieces_of(offset, data.len()) {
            let mut bytes = match self.pieces.remove(&piece) {
                Some(bytes) => bytes,
                None if self.pieces.len() < OVERLAY_PIECES => {
                    let mut bytes = vec![0; PIECE_BYTES].into_boxed_slice();
                    self.read(file, piece * PIECE_BYTES as u64, &mut bytes)?;
                    bytes
                }
                None => return Err(io::ErrorKind::StorageFull.into()),
            };
            let len = within.len();
            bytes[within].copy_from_slice(&data[at..at + len]);
            self.pieces.insert(piece, bytes);
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }
}

/// The pieces that `len` bytes from `offset` on lie in: number, where its bytes begin among the `len`, and
/// which of its own bytes they are.
fn pieces_of(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        (at < len).then(|| {
            let piece = (offset + at as u64) / PIECE_BYTES as u64;
            let begin = (offset + at as u64) as usize % PIECE_BYTES;
            let end = PIECE_BYTES.min(begin + len - at);
            let here = at;
            at += end - begin;
            (piece, here, begin..end)
        })
    })
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
        Self { file, link, view: None, spent: None }
    }

    /// A view: the file is read and never written.
    pub(crate) fn view(file: Arc<dyn DiskFile>, link: Arc<Link>) -> io::Result<Self> {
        let overlay = Overlay { len: file.len()?, pieces: BTreeMap::new() };
        Ok(Self { file, link, view: Some(Mutex::new(overlay)), spent: None })
    }

    /// A view of a database that is in use. Its first page, which every commit writes, is taken as it is now;
    /// whoever asks sees to it that the pages that it leads to stay.
    pub(crate) fn snapshot(
        file: Arc<dyn DiskFile>,
        spent: Box<dyn Fn(u64) -> bool + Send + Sync>,
    ) -> io::Result<Self> {
        let mut first = vec![0; PIECE_BYTES].into_boxed_slice();
        file.read_exact_at(&mut first, 0)?;
        // The length after the page: a file grows before its first page says so.
        let overlay = Overlay { len: file.len()?, pieces: BTreeMap::from([(0, first)]) };
        let view = Some(Mutex::new(overlay));
        Ok(Self { file, link: Arc::default(), view, spent: Some(Spent(spent)) })
    }

    fn overlay(&self) -> Option<MutexGuard<'_, Overlay>> {
        self.view.as_ref().map(|overlay| overlay.lock().unwrap_or_else(PoisonError::into_inner))
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
        let file = self.linked()?;
        self.overlay().map_or_else(|| file.len(), |overlay| Ok(overlay.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let file = self.linked()?;
        match self.overlay() {
            Some(overlay) => overlay.read(file, offset, out)?,
            None => file.read_exact_at(out, offset)?,
        }
        if self.spent.as_ref().is_some_and(|Spent(spent)| !spent(out.len() as u64)) {
            return Err(io::Error::other("the check was given up"));
        }
        // Cut off meanwhile: its successor may have written there.
        self.linked().map(|_| ())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let file = self.linked()?;
        match self.overlay() {
            Some(mut overlay) => overlay.len = len,
            None => file.set_len(len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let file = self.linked()?;
        if self.view.is_some() {
            return Ok(());
        }
        self.link.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let file = self.linked()?;
        match self.overlay() {
            Some(mut overlay) => overlay.write(file, offset, data),
            None => file.write_at(data, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::lossy::LossyDisk;

    #[test]
    fn a_view_shows_what_is_written_to_it_and_leaves_the_file_as_it_is() {
        let file = LossyDisk::new().create("f").unwrap();
        let before: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        file.write_at(&before, 0).unwrap();
        let view = Backend::view(file.clone(), Arc::default()).unwrap();
        let mut want = before.clone();
        for (offset, len) in [(0, 1), (4090, 10), (8191, 1), (100, 9000), (9990, 10)] {
            view.write(offset as u64, &vec![0xee; len]).unwrap();
            want[offset..offset + len].fill(0xee);
        }
        view.set_len(20_000).unwrap();
        want.resize(20_000, 0);
        view.write(12_000, b"beyond").unwrap();
        want[12_000..12_006].copy_from_slice(b"beyond");
        assert_eq!(view.len().unwrap(), 20_000);
        for (offset, len) in [(0, 20_000), (4095, 2), (9_999, 3), (11_999, 8), (5, 4096)] {
            let mut got = vec![1; len];
            view.read(offset as u64, &mut got).unwrap();
            assert!(got == want[offset..offset + len], "{offset} {len}");
        }
        let mut now = vec![0; before.len()];
        file.read_exact_at(&mut now, 0).unwrap();
        assert!(now == before && file.len().unwrap() == before.len() as u64);
    }
}

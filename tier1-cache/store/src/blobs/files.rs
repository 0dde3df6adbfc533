//! Blobs as files, named by id, in a folder that is fanned out 256 times.
//!
//! Order of a write: staging file, bytes, sync of the file, rename, sync of the folder. Until the rename it is
//! in `staging/`; what an earlier start left there is garbage.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fallthrough_object::ReadAt;

use super::{BlobStore, BlobWriter, Found};
use crate::blob::BlobId;
use crate::disk::{Disk, DiskFile};
use crate::mutants::{Mutant, planted};
use crate::options::{Step, StoreOptions};

/// Removals that may wait for the thread that does them; beyond, who removes does it himself.
const REMOVALS_WAITING: usize = 1024;

/// Blobs as files of a [`Disk`].
#[derive(Debug)]
pub(crate) struct FileBlobs {
    disk: Arc<dyn Disk>,
    options: Arc<StoreOptions>,
    remover: Option<Remover>,
}

#[derive(Debug)]
struct Remover {
    /// Taken at close, which ends the thread.
    queue: Mutex<Option<SyncSender<Found>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where damaged blobs are kept.
const QUARANTINE: &str = "quarantine";

fn folder(id: BlobId) -> String {
    format!("blobs/{:02x}", id.number & 0xff)
}

fn file_name(id: BlobId) -> String {
    format!("{:016x}-{:016x}", id.epoch, id.number)
}

fn path_of(found: Found) -> String {
    match found {
        Found::Staging(id) => format!("staging/{}", file_name(id)),
        Found::Blob(id) => format!("{}/{}", folder(id), file_name(id)),
        Found::Aside(id) => format!("{QUARANTINE}/{}", file_name(id)),
    }
}

/// The blob that a file of this name holds; `None` for a name that is none of ours.
pub(crate) fn id_of(name: &str) -> Option<BlobId> {
    let (epoch, number) = name.split_once('-')?;
    let hex = |raw: &str| if raw.len() == 16 { u64::from_str_radix(raw, 16).ok() } else { None };
    let id = BlobId { epoch: hex(epoch)?, number: hex(number)? };
    (file_name(id) == name).then_some(id)
}

/// Makes the folders of a store as far as they are not there (a copy may have left out empty ones), durably.
pub(crate) fn make_folders(disk: &dyn Disk) -> io::Result<()> {
    let mut made = disk.create_dir("staging")? | disk.create_dir("blobs")? | disk.create_dir(QUARANTINE)?;
    for n in 0..=0xff {
        made |= disk.create_dir(&format!("blobs/{n:02x}"))?;
    }
    if made {
        disk.sync_dir("blobs")?;
        disk.sync_dir("")?;
    }
    Ok(())
}

impl FileBlobs {
    /// With a thread that removes files if `threaded`, else they are removed at once.
    pub(crate) fn new(disk: Arc<dyn Disk>, options: Arc<StoreOptions>, threaded: bool) -> io::Result<Self> {
        let remover = if threaded {
            let (send, receive) = sync_channel(REMOVALS_WAITING);
            let disk = disk.clone();
            let run = move || remove_all(&*disk, &receive);
            let thread = std::thread::Builder::new().name("store-remover".to_owned()).spawn(run)?;
            Some(Remover { queue: Mutex::new(Some(send)), thread: Mutex::new(Some(thread)) })
        } else {
            None
        };
        Ok(Self { disk, options, remover })
    }
}

impl FileBlobs {
    fn remove_soon(&self, found: Found) {
        let handed_over = self.remover.as_ref().is_some_and(|remover| {
            let queue = remover.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().is_some_and(|queue| queue.try_send(found).is_ok())
        });
        if !handed_over {
            remove_now(&*self.disk, found);
        }
    }
}

fn remove_all(disk: &dyn Disk, queue: &Receiver<Found>) {
    while let Ok(found) = queue.recv() {
        remove_now(disk, found);
    }
}

fn remove_now(disk: &dyn Disk, found: Found) {
    if let Err(error) = disk.unlink(&path_of(found)) {
        // Garbage, which the sweep of a later start removes.
        tracing::warn!(%error, ?found, "cannot remove a blob");
    }
}

impl BlobStore for FileBlobs {
    fn create(&self, id: BlobId) -> io::Result<Box<dyn BlobWriter>> {
        let file = self.disk.create(&path_of(Found::Staging(id)))?;
        let (disk, options) = (self.disk.clone(), self.options.clone());
        Ok(Box::new(FileWriter { disk, options, id, file, len: 0, finished: false }))
    }

    fn open(&self, id: BlobId) -> io::Result<Option<(Arc<dyn ReadAt>, u64)>> {
        let Some(file) = self.disk.open(&path_of(Found::Blob(id)))? else { return Ok(None) };
        let len = file.len()?;
        Ok(Some((file, len)))
    }

    fn remove(&self, id: BlobId) {
        self.remove_soon(Found::Blob(id));
    }

    fn remove_found(&self, found: Found) -> io::Result<()> {
        self.disk.unlink(&path_of(found))
    }

    fn walk(&self, visit: &mut dyn FnMut(Found) -> bool) -> io::Result<()> {
        let mut go_on = true;
        for (folder, found) in
            [("staging", Found::Staging as fn(BlobId) -> Found), (QUARANTINE, Found::Aside)]
        {
            if go_on {
                self.disk.list(folder, &mut |name| {
                    go_on = id_of(name).is_none_or(|id| visit(found(id)));
                    go_on
                })?;
            }
        }
        for n in 0..=0xff {
            if !go_on {
                break;
            }
            self.disk.list(&format!("blobs/{n:02x}"), &mut |name| {
                go_on = id_of(name).is_none_or(|id| visit(Found::Blob(id)));
                go_on
            })?;
        }
        Ok(())
    }

    fn forget_cached(&self, id: BlobId) -> io::Result<()> {
        match self.disk.open(&path_of(Found::Blob(id)))? {
            Some(file) => file.forget_cached(),
            None => Ok(()),
        }
    }

    fn set_aside(&self, id: BlobId) -> io::Result<bool> {
        match self.disk.rename(&path_of(Found::Blob(id)), &path_of(Found::Aside(id))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed?,
        }
        // Where it is now before where it was: a crash shows it in one place or in both, never in none.
        self.disk.sync_dir(QUARANTINE)?;
        self.disk.sync_dir(&folder(id))?;
        Ok(true)
    }

    fn keep_aside(&self, id: BlobId, bytes: &[u8]) -> io::Result<()> {
        let unnamed = path_of(Found::Staging(id));
        // What a crash left of an earlier try.
        self.disk.unlink(&unnamed)?;
        let file = self.disk.create(&unnamed)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.disk.rename(&unnamed, &path_of(Found::Aside(id)))?;
        self.disk.sync_dir(QUARANTINE)
    }

    fn remove_aside(&self, id: BlobId) {
        self.remove_soon(Found::Aside(id));
    }

    fn aside_bytes(&self, id: BlobId) -> io::Result<Option<u64>> {
        self.disk.open(&path_of(Found::Aside(id)))?.map(|file| file.len()).transpose()
    }

    fn blocks(&self) -> bool {
        self.remover.is_some()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.disk.free_bytes()
    }

    fn close(&self) {
        let Some(remover) = &self.remover else { return };
        remover.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = remover.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that removes blobs panicked");
        }
    }
}

#[derive(Debug)]
struct FileWriter {
    disk: Arc<dyn Disk>,
    options: Arc<StoreOptions>,
    id: BlobId,
    file: Arc<dyn DiskFile>,
    len: u64,
    finished: bool,
}

impl BlobWriter for FileWriter {
    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_at(data, self.len)?;
        self.len += data.len() as u64;
        Ok(())
    }

    fn reader(&self) -> Arc<dyn ReadAt> {
        self.file.clone()
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        // An error at any step gives the blob up: the file is removed, never synced a second time.
        self.file.sync()?;
        self.options.reached(Step::StagingSynced)?;
        let (from, to) = (path_of(Found::Staging(self.id)), path_of(Found::Blob(self.id)));
        self.disk.rename(&from, &to)?;
        self.finished = true;
        let named = || {
            self.options.reached(Step::BlobNamed)?;
            if !planted(Mutant::DirectoryNotSynced) {
                self.disk.sync_dir(&folder(self.id))?;
            }
            self.options.reached(Step::BlobDurable)
        };
        named().inspect_err(|_| remove_now(&*self.disk, Found::Blob(self.id)))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.disk.unlink(&path_of(Found::Staging(self.id)))
        {
            // Garbage, which the sweep of a later start removes.
            tracing::warn!(%error, "cannot remove a staging file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_strangers_do_not() {
        let id = BlobId { epoch: 7, number: 0xabc };
        assert_eq!(path_of(Found::Blob(id)), "blobs/bc/0000000000000007-0000000000000abc");
        assert_eq!(id_of("0000000000000007-0000000000000abc"), Some(id));
        for stranger in [
            "",
            "lost+found",
            "7-abc",
            "0000000000000007-0000000000000ABC",
            "a-b",
            "+000000000000007-0000000000000abc",
        ] {
            assert_eq!(id_of(stranger), None, "{stranger}");
        }
    }
}

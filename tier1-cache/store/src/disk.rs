//! `Disk`: the few things that the store asks of a file system, as a seam, so that crashes and failures of a
//! disk can be played. Paths are relative to the store's folder and made of ids, never of object keys.

use std::fmt;
use std::io;
use std::sync::Arc;

use fallthrough_object::ReadAt;

#[cfg(any(test, feature = "simulation"))]
pub(crate) mod lossy;
pub(crate) mod os;

/// A file system. Called from any thread, also concurrently; calls may block.
///
/// What an implementer guarantees after a crash: bytes of a file that were there when [`DiskFile::sync`]
/// returned, and names of a folder that were there when [`Disk::sync_dir`] returned. Nothing else.
pub(crate) trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Makes a new file for reading and writing; fails if the name is taken.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing; `None` if there is none.
    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name; nothing happens if there is none.
    fn unlink(&self, path: &str) -> io::Result<()>;
    /// Makes a folder; `false` if it is there already.
    fn create_dir(&self, path: &str) -> io::Result<bool>;
    /// Makes the names in a folder durable; `""` is the store's own.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Shows the names in a folder to `visit`, in no order, until it says `false`; none if there is no folder.
    fn list(&self, path: &str, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<Option<u64>>;
}

/// An open file; readable and writable also after its name is gone.
pub(crate) trait DiskFile: ReadAt {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Writes all of `data` at `offset`.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes durable. After an error nothing is known of them; the caller must not believe a later
    /// success.
    fn sync(&self) -> io::Result<()>;
    /// Lets go of bytes that the system keeps in memory, so that later reads ask the device. After a failed
    /// sync those may be bytes that never reached it.
    fn forget_cached(&self) -> io::Result<()>;
}

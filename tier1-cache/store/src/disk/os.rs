//! A folder of the operating system.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fallthrough_object::ReadAt;
use rustix::fs::{Advice, fadvise, statvfs};

use super::{Disk, DiskFile};

/// Readable by its owner alone: the index holds secrets.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder of the operating system.
#[derive(Debug)]
pub(crate) struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// Makes the folder if it is not there.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(root)?;
            // Its own name must be durable before anything in it is.
            if let Some(parent) = fs::canonicalize(root)?.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { root: root.to_owned() })
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

fn none_if_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Disk for OsDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut how = OpenOptions::new();
        let file = how.read(true).write(true).create_new(true).mode(FILE_MODE).open(self.at(path))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let file = none_if_missing(OpenOptions::new().read(true).write(true).open(self.at(path)))?;
        Ok(file.map(|file| Arc::new(OsFile(file)) as Arc<dyn DiskFile>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        none_if_missing(fs::remove_file(self.at(path))).map(|_| ())
    }

    fn create_dir(&self, path: &str) -> io::Result<bool> {
        match DirBuilder::new().mode(FOLDER_MODE).create(self.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn list(&self, path: &str, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        let Some(names) = none_if_missing(fs::read_dir(self.at(path)))? else { return Ok(()) };
        for entry in names {
            if let Some(name) = entry?.file_name().to_str()
                && !visit(name)
            {
                break;
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = statvfs(&self.root)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

#[derive(Debug)]
struct OsFile(File);

impl ReadAt for OsFile {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.0, out, offset)
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}

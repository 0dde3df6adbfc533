//! Opening a store's folder: the lock, the format, the boot epoch.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{Clock, Entropy};
use rustix::fs::{FlockOperation, flock};

use crate::blobs::files::{FileBlobs, id_of, make_folders};
use crate::blobs::off_thread;
use crate::disk::os::OsDisk;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::kv::embedded::{Drive, EmbeddedKv};
use crate::kv::{Commit, Kv, Refused, Table};
use crate::options::StoreOptions;
use crate::rows;
use crate::sealing;
use crate::store::{FORMAT_VERSION, Store, put, when};

/// Names the folder's format, readable without opening anything else.
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "lock";

impl Store {
    /// Opens the store in `dir`, or makes one there (the folder too, readable by its owner alone). Takes a lock
    /// on the folder and a new boot epoch.
    ///
    /// # Errors
    /// [`StoreError::InUse`]: another process has it; [`StoreError::NewerFormat`]: nothing was touched;
    /// [`StoreError::Corrupt`]; [`StoreError::Unavailable`], [`StoreError::Full`]: what the disk says.
    ///
    /// # Cancellation
    /// The folder is left as a crash would leave it, which is fine.
    pub async fn open(
        dir: &Path,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let dir = dir.to_owned();
        let prepared = off_thread(true, move || -> Result<_, StoreError> {
            let disk = OsDisk::new(&dir)?;
            let lock = lock(&dir)?;
            Ok((disk, lock))
        });
        let (disk, lock) = prepared.await??;
        Self::open_on(Arc::new(disk), options, clock, entropy, Drive::Thread, Some(lock)).await
    }

    /// Opens the store on a disk that nobody else uses.
    pub(crate) async fn open_on(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        drive: Drive,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let threads = drive == Drive::Thread;
        let shared = Arc::new(options.clone());
        let clock_of_writer = clock.clone();
        let opened = off_thread(threads, move || -> Result<_, StoreError> {
            check_format(&*disk)?;
            let kv =
                EmbeddedKv::open(disk.clone(), shared.clone(), clock_of_writer, drive, lock).map_err(cut)?;
            Ok((Arc::new(kv), Arc::new(FileBlobs::new(disk, shared, threads)?)))
        });
        let (kv, blobs) = opened.await??;
        if let Err(refused) = sealing::check(&*kv, &options.sealing).await.map_err(cut) {
            // Whoever comes with the right key finds the folder free, and as it was.
            kv.close().await;
            return Err(refused);
        }
        let epoch = raise_epoch(&*kv).await.map_err(cut)?;
        let store = Self::assemble(kv, blobs, options, clock, entropy, epoch);
        store.remember_quarantine().await.map_err(cut)?;
        store.settle_sealing().await.map_err(cut)?;
        if let Err(error) = store.load_outbox().await {
            // What is damaged there must not keep everything else from being served: it is read again later.
            tracing::error!(%error, "what waits for origins cannot be read");
            store.inner.outbox.in_doubt();
        }
        Ok(store)
    }
}

/// What it means that the index names a page behind its end: it is damaged, and no later try will find it otherwise.
fn cut(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            StoreError::corrupt("the index names what is behind its end")
        }
        other => other,
    }
}

/// Takes the folder's lock, and writes down who has it.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let mut how = OpenOptions::new();
    let mut file =
        how.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK_FILE))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        // Who holds it may not have written it down yet.
        let known = file.read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse().ok());
        return Err(StoreError::InUse { path: dir.to_owned(), pid: known });
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Reads the folder's format, or makes the folder one of ours if it is new.
fn check_format(disk: &dyn Disk) -> Result<(), StoreError> {
    let Some(file) = disk.open(FORMAT_FILE)? else { return make_format(disk) };
    let found = read_format(&*file)?;
    if found > FORMAT_VERSION {
        return Err(StoreError::NewerFormat { found, known: FORMAT_VERSION });
    }
    make_folders(disk)?;
    if found < FORMAT_VERSION {
        // Before a byte of the new format is written: from here on older releases refuse the folder.
        write_format(disk)?;
    }
    // A first start that crashed leaves neither. An index lost later must not be replaced by an empty one, which
    // would let the sweep remove every blob.
    if disk.open(crate::kv::embedded::FILE)?.is_none() && has_blobs(disk)? {
        return Err(StoreError::corrupt("the folder has blobs but no index: restore its index.redb"));
    }
    Ok(())
}

fn has_blobs(disk: &dyn Disk) -> Result<bool, StoreError> {
    let mut found = false;
    for n in 0..=0xff {
        disk.list(&format!("blobs/{n:02x}"), &mut |name| {
            found |= id_of(name).is_some();
            !found
        })?;
    }
    Ok(found)
}

fn read_format(file: &dyn DiskFile) -> Result<u32, StoreError> {
    let unreadable = || StoreError::corrupt("the file FORMAT does not name a format of this store");
    let len = usize::try_from(file.len()?.min(64)).map_err(|_| unreadable())?;
    let mut text = vec![0; len];
    file.read_exact_at(&mut text, 0)?;
    let text = std::str::from_utf8(&text).map_err(|_| unreadable())?;
    let version = text.trim_end().strip_prefix("fallthrough-store ").and_then(|v| v.parse().ok());
    version.filter(|version| *version > 0).ok_or_else(unreadable)
}

fn make_format(disk: &dyn Disk) -> Result<(), StoreError> {
    // An index without a format is not a folder of ours half made: FORMAT comes first.
    if disk.open(crate::kv::embedded::FILE)?.is_some() {
        return Err(StoreError::corrupt("the folder has an index but no file FORMAT"));
    }
    make_folders(disk)?;
    write_format(disk)
}

fn write_format(disk: &dyn Disk) -> Result<(), StoreError> {
    let unnamed = "FORMAT.new";
    // Left behind by a crash.
    disk.unlink(unnamed)?;
    let file = disk.create(unnamed)?;
    file.write_at(format!("fallthrough-store {FORMAT_VERSION}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(unnamed, FORMAT_FILE)?;
    Ok(disk.sync_dir("")?)
}

/// Takes the next boot epoch, durably: no id of an earlier start is ever given out again.
async fn raise_epoch(kv: &dyn Kv) -> Result<u64, StoreError> {
    let row = kv.get(Table::Rows, rows::EPOCH).await?;
    let last = match &row {
        None => 0,
        Some(row) => u64::from_le_bytes(
            row.value[..]
                .try_into()
                .map_err(|_| StoreError::corrupt("the boot epoch is not 8 bytes long"))?,
        ),
    };
    let epoch = last + 1;
    let mut commit = Commit {
        conditions: vec![when(rows::EPOCH.to_vec(), row.as_ref().map(|row| row.version))],
        writes: vec![put(rows::EPOCH.to_vec(), Bytes::copy_from_slice(&epoch.to_le_bytes()))],
        ..Commit::default()
    };
    if row.is_none() {
        // A new index: what buckets hold is counted from the first commit on.
        commit.writes.push(put(rows::USAGE_KNOWN.to_vec(), Bytes::new()));
    }
    check_format_row(kv, &mut commit).await?;
    let (tell, end) = tokio::sync::oneshot::channel();
    kv.commit(
        commit,
        Box::new(move |done| {
            // The receiver is a line below; it goes away only with the whole opening.
            let _nobody = tell.send(done);
        }),
    );
    match end.await {
        Ok(Ok(_)) => Ok(epoch),
        Ok(Err(Refused::Store(error) | Refused::Doubt { error, .. })) => Err(error),
        Ok(Err(Refused::Condition(_))) | Err(_) => {
            Err(StoreError::unavailable("cannot write the boot epoch"))
        }
    }
}

/// The format is in the index as well, for engines that are not in a folder.
async fn check_format_row(kv: &dyn Kv, commit: &mut Commit) -> Result<(), StoreError> {
    let Some(row) = kv.get(Table::Rows, rows::FORMAT).await? else {
        let version = Bytes::copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        commit.writes.push(put(rows::FORMAT.to_vec(), version));
        return Ok(());
    };
    let found =
        row.value[..].try_into().map_err(|_| StoreError::corrupt("the format is not 4 bytes long"))?;
    match u32::from_le_bytes(found) {
        found if found > FORMAT_VERSION => Err(StoreError::NewerFormat { found, known: FORMAT_VERSION }),
        FORMAT_VERSION => Ok(()),
        _ => {
            let version = Bytes::copy_from_slice(&FORMAT_VERSION.to_le_bytes());
            commit.writes.push(put(rows::FORMAT.to_vec(), version));
            Ok(())
        }
    }
}

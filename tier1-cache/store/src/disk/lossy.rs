//! A disk for tests that can lose everything that was not synced, and can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fallthrough_object::{Entropy, ReadAt, SeededEntropy};

use super::{Disk, DiskFile};

/// Writes reach a device in units of this size; a crash can tear a write between two.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Bytes { offset: usize, data: Vec<u8> },
    Len(usize),
}

fn change(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => content.resize(*len, 0),
        Change::Bytes { offset, data } => {
            content.resize(content.len().max(offset + data.len()), 0);
            content[*offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

#[derive(Clone, Default)]
struct Node {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

/// What may fail next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Syncs of files fail, and the bytes they should have made durable are lost on the device.
    Sync,
    /// Writes find the disk full.
    Write,
    /// Reads fail.
    Read,
}

#[derive(Clone, Default)]
struct Image {
    nodes: BTreeMap<u64, Node>,
    /// Name to node. Folders are not nodes: they are durable once made.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Every state of the names since the last sync of a folder.
    unsynced_names: Vec<BTreeMap<String, u64>>,
    next: u64,
    /// How many succeed, and how many fail after them.
    faults: BTreeMap<Fault, (u32, u32)>,
    dead: bool,
    /// Changes until it is dead; `None`: any number.
    changes_left: Option<u32>,
    free: Option<u64>,
    dirs: BTreeSet<String>,
}

/// See the module. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct LossyDisk {
    image: Arc<Mutex<Image>>,
}

impl fmt::Debug for LossyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LossyDisk")
    }
}

impl LossyDisk {
    pub(crate) fn new() -> Self {
        Self { image: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Image>> {
        let image = self.lock();
        if image.dead { Err(io::Error::other("the machine crashed")) } else { Ok(image) }
    }

    /// The disk, if it takes another change: one fewer is left.
    fn changing(&self) -> io::Result<MutexGuard<'_, Image>> {
        let mut image = self.alive()?;
        if image.changes_left == Some(0) {
            image.dead = true;
            return Err(io::Error::other("the machine crashed"));
        }
        image.changes_left = image.changes_left.map(|left| left - 1);
        Ok(image)
    }

    /// The machine crashes at the change (of a name, of bytes, or a sync) after the next `changes`.
    pub(crate) fn kill_after(&self, changes: u32) {
        self.lock().changes_left = Some(changes);
    }

    /// The disk as a crash now could leave it; `seed` chooses what of the unsynced survives. The running
    /// store does not notice.
    pub(crate) fn crashed(&self, seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed);
        let image = self.lock();
        let mut after = Image { next: image.next, dirs: image.dirs.clone(), ..Image::default() };
        // Renames are journalled: a crash keeps a prefix of them.
        let states = image.unsynced_names.len() as u64;
        let kept = entropy.next_u64() % (states + 1);
        after.names = match kept.checked_sub(1) {
            None => image.durable_names.clone(),
            Some(last) => image.unsynced_names[last as usize].clone(),
        };
        after.durable_names = after.names.clone();
        let all_or_nothing = entropy.next_u64() % 4;
        for (id, node) in &image.nodes {
            let mut content = node.durable.clone();
            for unsynced in &node.unsynced {
                survive(&mut content, unsynced, all_or_nothing, &entropy);
            }
            after
                .nodes
                .insert(*id, Node { current: content.clone(), durable: content, unsynced: Vec::new() });
        }
        Self { image: Arc::new(Mutex::new(after)) }
    }

    /// The machine is gone: everything that still holds this disk only gets errors.
    pub(crate) fn kill(&self) {
        self.lock().dead = true;
    }

    /// Whether the machine is gone.
    #[cfg(feature = "simulation")]
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The next `times` operations of this kind fail.
    pub(crate) fn fail(&self, fault: Fault, times: u32) {
        self.fail_after(fault, 0, times);
    }

    /// Of the operations of this kind, the next `good` succeed and the `times` after them fail.
    pub(crate) fn fail_after(&self, fault: Fault, good: u32, times: u32) {
        self.lock().faults.insert(fault, (good, times));
    }

    /// No more operations of this kind fail. How many of those that were to fail had not come.
    pub(crate) fn heal(&self, fault: Fault) -> u32 {
        self.lock().faults.remove(&fault).map_or(0, |(_, left)| left)
    }

    #[cfg(test)]
    pub(crate) fn set_free(&self, bytes: u64) {
        self.lock().free = Some(bytes);
    }

    pub(crate) fn names(&self, under: &str) -> Vec<String> {
        self.lock().names.keys().filter(|name| name.starts_with(under)).cloned().collect()
    }

    /// Flips a bit of a stored byte.
    #[cfg(test)]
    pub(crate) fn damage(&self, path: &str, at: usize) {
        self.rot(path, |content| content[at] ^= 0x40);
    }

    /// Changes what the device has of a file behind everybody's back.
    #[cfg(test)]
    pub(crate) fn rot(&self, path: &str, rot: impl Fn(&mut Vec<u8>)) {
        let mut image = self.lock();
        let id = image.names[path];
        let node = image.nodes.get_mut(&id).expect("a named file");
        rot(&mut node.current);
        rot(&mut node.durable);
    }

    /// What the device has of a file.
    #[cfg(test)]
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        let image = self.lock();
        image.nodes[&image.names[path]].current.clone()
    }
}

fn survive(content: &mut Vec<u8>, unsynced: &Change, policy: u64, entropy: &SeededEntropy) {
    match (unsynced, policy) {
        // Nothing unsynced survives; or all of it.
        (_, 0) => {}
        (_, 1) => change(content, unsynced),
        (Change::Len(_), _) => {
            if entropy.next_u64().is_multiple_of(2) {
                change(content, unsynced);
            }
        }
        (Change::Bytes { offset, data }, _) => {
            for (n, sector) in data.chunks(SECTOR).enumerate() {
                if entropy.next_u64().is_multiple_of(2) {
                    let offset = offset + n * SECTOR;
                    change(content, &Change::Bytes { offset, data: sector.to_vec() });
                }
            }
        }
    }
}

impl Image {
    fn faulty(&mut self, fault: Fault) -> bool {
        match self.faults.get_mut(&fault) {
            Some((good, _)) if *good > 0 => {
                *good -= 1;
                false
            }
            Some((_, left)) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn renamed(&mut self) {
        let now = self.names.clone();
        self.unsynced_names.push(now);
    }
}

impl Disk for LossyDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut image = self.changing()?;
        if image.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = image.next;
        image.next += 1;
        image.nodes.insert(id, Node::default());
        image.names.insert(path.to_owned(), id);
        image.renamed();
        Ok(Arc::new(LossyFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let id = self.alive()?.names.get(path).copied();
        Ok(id.map(|id| Arc::new(LossyFile { disk: self.clone(), id }) as Arc<dyn DiskFile>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut image = self.changing()?;
        let id = image.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        image.names.insert(to.to_owned(), id);
        image.renamed();
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let mut image = self.alive()?;
        if image.names.remove(path).is_some() {
            image.renamed();
        }
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<bool> {
        Ok(self.alive()?.dirs.insert(path.to_owned()))
    }

    fn sync_dir(&self, _path: &str) -> io::Result<()> {
        let mut image = self.changing()?;
        image.durable_names = image.names.clone();
        image.unsynced_names.clear();
        Ok(())
    }

    fn list(&self, path: &str, visit: &mut dyn FnMut(&str) -> bool) -> io::Result<()> {
        let names: BTreeSet<String> = {
            let image = self.alive()?;
            let under = |name: &String| {
                let rest = name.strip_prefix(path)?.strip_prefix('/')?;
                Some(rest.split('/').next().unwrap_or(rest).to_owned())
            };
            image.names.keys().chain(&image.dirs).filter_map(under).collect()
        };
        let _stopped_early = names.iter().all(|name| visit(name));
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(self.alive()?.free)
    }
}

#[derive(Debug)]
struct LossyFile {
    disk: LossyDisk,
    id: u64,
}

impl LossyFile {
    fn with<T>(&self, work: impl FnOnce(&mut Node) -> io::Result<T>) -> io::Result<T> {
        let mut image = self.disk.alive()?;
        work(image.nodes.get_mut(&self.id).expect("nodes stay while they are open"))
    }

    fn write(&self, unsynced: Change) -> io::Result<()> {
        if self.disk.lock().faulty(Fault::Write) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(self.disk.changing()?);
        self.with(|node| {
            change(&mut node.current, &unsynced);
            node.unsynced.push(unsynced);
            Ok(())
        })
    }
}

impl ReadAt for LossyFile {
    fn never_blocks(&self) -> bool {
        true
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        if self.disk.lock().faulty(Fault::Read) {
            return Err(io::Error::other("the device cannot read this"));
        }
        self.with(|node| {
            let from = node.current.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }
}

impl DiskFile for LossyFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|node| Ok(node.current.len() as u64))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write(Change::Bytes { offset: offset as usize, data: data.to_vec() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write(Change::Len(len as usize))
    }

    fn sync(&self) -> io::Result<()> {
        let faulty = self.disk.changing()?.faulty(Fault::Sync);
        self.with(|node| {
            if faulty {
                // As Linux does it: the pages count as clean from now on, and what they held is lost.
                node.unsynced.clear();
                return Err(io::Error::other("the device cannot write this"));
            }
            let Node { durable, unsynced, .. } = node;
            unsynced.drain(..).for_each(|unsynced| change(durable, &unsynced));
            Ok(())
        })
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.with(|node| {
            let mut content = node.durable.clone();
            node.unsynced.iter().for_each(|unsynced| change(&mut content, unsynced));
            node.current = content;
            Ok(())
        })
    }
}

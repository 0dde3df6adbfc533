//! The embedded [`Kv`]: a `redb` database behind one writer that makes commits durable in groups.
//!
//! `redb` latches every error of its file. After one, the writer opens the database anew without a restart;
//! requests wait meanwhile, up to a deadline. Commits of a group whose end the error hid are in doubt. Where it
//! cannot be opened for writes, as on a disk that syncs nothing, a view of it is opened for reads until it can.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fallthrough_object::Clock;
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::database::{Broken, OpenDatabase};
use super::memory::is_empty;
use super::{Commit, Done, EachRow, Inspected, Keyed, Kv, KvStatus, Refused, Row, Table};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::options::StoreOptions;

/// The database's file in the store's folder.
pub(crate) const FILE: &str = "index.redb";
/// Its name while it is made: half a database is none.
const FILE_UNNAMED: &str = "index.new";

/// The largest group: commits and bytes that share one transaction.
const GROUP_COMMITS: usize = 512;
const GROUP_BYTES: usize = 16 << 20;
/// Scans up to this many rows run where they are asked for; longer ones on a thread that may block.
const RANGE_INLINE: usize = 32;
/// Between attempts to open a failing database.
const RETRY: Duration = Duration::from_millis(100);

/// Who runs the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// A thread of its own.
    Thread,
    /// Whoever commits, at once: for simulations and tests, where one thread makes a run repeatable.
    Inline,
}

enum Message {
    Commit(Commit, Done),
    /// A reader found the database broken.
    Recover,
    Close,
}

/// See the module.
pub(crate) struct EmbeddedKv {
    core: Arc<Core>,
    drive: Drive,
    queue: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Commits of an inline writer.
    inline: Mutex<Inline>,
    /// A commit waits that was held back.
    #[cfg(feature = "simulation")]
    due: tokio::sync::Notify,
}

#[derive(Default)]
struct Inline {
    waiting: VecDeque<(Commit, Done)>,
    draining: bool,
    /// Commits wait until they are asked for.
    held: bool,
}

impl fmt::Debug for EmbeddedKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedKv(at {})", self.core.sequence.load(Ordering::Relaxed))
    }
}

/// What the writer and the readers share.
struct Core {
    disk: Arc<dyn Disk>,
    options: Arc<StoreOptions>,
    clock: Arc<dyn Clock>,
    /// The open database, or a view of it; `None` while it is broken.
    current: watch::Sender<Option<Arc<OpenDatabase>>>,
    /// One recovery at a time.
    recovering: Mutex<()>,
    sequence: AtomicU64,
    queued_bytes: AtomicUsize,
    announced: AtomicUsize,
    closed: AtomicBool,
    commits: AtomicU64,
    groups: AtomicU64,
    /// Syncs of databases that were given up.
    syncs_before: AtomicU64,
    /// The lock on the folder: released when the writer is gone, not before.
    _lock: Option<std::fs::File>,
}

impl EmbeddedKv {
    /// Opens the database of a folder, or makes one. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`], [`StoreError::Full`].
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: Arc<StoreOptions>,
        clock: Arc<dyn Clock>,
        drive: Drive,
        lock: Option<std::fs::File>,
    ) -> Result<Self, StoreError> {
        let (queue, receive) = sync_channel(options.queue_commits);
        let core = Arc::new(Core {
            disk,
            options,
            clock,
            current: watch::Sender::new(None),
            recovering: Mutex::default(),
            sequence: AtomicU64::new(0),
            queued_bytes: AtomicUsize::new(0),
            announced: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            syncs_before: AtomicU64::new(0),
            _lock: lock,
        });
        core.make_if_new()?;
        core.recover()?;
        let thread = match drive {
            Drive::Inline => None,
            Drive::Thread => {
                let core = core.clone();
                let run = move || core.run(&receive);
                Some(std::thread::Builder::new().name("store-writer".to_owned()).spawn(run)?)
            }
        };
        Ok(Self {
            core,
            drive,
            queue,
            thread: Mutex::new(thread),
            inline: Mutex::default(),
            #[cfg(feature = "simulation")]
            due: tokio::sync::Notify::new(),
        })
    }

    /// The database; waits while it is broken.
    async fn database(&self) -> Result<Arc<OpenDatabase>, StoreError> {
        if let Some(database) = self.core.current.borrow().clone() {
            return Ok(database);
        }
        if self.drive == Drive::Inline {
            return self.core.recover();
        }
        if self.core.closed.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the store is closed"));
        }
        // If the queue is full the writer comes by anyway.
        let _woken = self.queue.try_send(Message::Recover);
        let mut current = self.core.current.subscribe();
        let opened = async {
            let opened = current.wait_for(|database| database.is_some()).await;
            opened.ok().and_then(|database| database.clone())
        };
        let wait = self.core.options.recovery_wait;
        let opened = tokio::time::timeout(wait, opened).await.ok().flatten();
        opened.ok_or_else(|| StoreError::unavailable("the index is not readable"))
    }

    /// Runs a read; once more if the database breaks under it.
    async fn read<T>(
        &self,
        read: impl Fn(&OpenDatabase) -> Result<Result<T, StoreError>, Broken>,
    ) -> Result<T, StoreError> {
        let mut second = false;
        loop {
            let database = self.database().await?;
            match read(&database) {
                Ok(read) => return read,
                Err(broken) => {
                    self.core.give_up(&database, &broken);
                    if second {
                        return Err(StoreError::Unavailable(broken.0));
                    }
                    second = true;
                }
            }
        }
    }

    /// Commits as one group, now.
    #[cfg(test)]
    pub(crate) fn drain_group(&self, group: Vec<(Commit, Done)>) {
        let weight: usize = group.iter().map(|(commit, _)| commit.weight()).sum();
        self.core.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        self.core.drain(group);
    }

    /// From now on the commits of an inline writer wait for [`EmbeddedKv::drain_held`], as they wait for the
    /// writer's thread otherwise.
    #[cfg(feature = "simulation")]
    pub(crate) fn hold_back(&self) {
        self.inline.lock().unwrap_or_else(PoisonError::into_inner).held = true;
    }

    /// Resolves when a commit may be waiting that was held back.
    #[cfg(feature = "simulation")]
    pub(crate) async fn held_due(&self) {
        self.due.notified().await;
    }

    /// Commits what waits, at most `most` as one group; tells how many are left.
    #[cfg(feature = "simulation")]
    pub(crate) fn drain_held(&self, most: usize) -> usize {
        let (group, left) = {
            let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
            let most = inline.waiting.len().min(most);
            (inline.waiting.drain(..most).collect::<Vec<_>>(), inline.waiting.len())
        };
        if !group.is_empty() {
            self.core.drain(group);
        }
        left
    }

    fn commit_inline(&self, commit: Commit, done: Done) {
        let lock =
            || -> MutexGuard<'_, Inline> { self.inline.lock().unwrap_or_else(PoisonError::into_inner) };
        let mut inline = lock();
        inline.waiting.push_back((commit, done));
        if inline.draining || inline.held {
            #[cfg(feature = "simulation")]
            self.due.notify_one();
            return;
        }
        inline.draining = true;
        while !inline.waiting.is_empty() {
            let group: Vec<_> = inline.waiting.drain(..).collect();
            drop(inline);
            self.core.drain(group);
            inline = lock();
        }
        inline.draining = false;
    }
}

impl Core {
    /// The writer's thread: gathers what waits into groups until everybody who could commit is gone.
    fn run(&self, queue: &Receiver<Message>) {
        loop {
            let message = if self.writable().is_none() {
                queue.recv_timeout(RETRY)
            } else {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match message {
                Ok(Message::Commit(commit, done)) => {
                    let (group, close) = self.gather((commit, done), queue);
                    self.drain(group);
                    if close {
                        break;
                    }
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Message::Recover) | Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.recover() {
                        tracing::error!(%error, "the index cannot be opened; trying again");
                    }
                }
            }
        }
        self.closed.store(true, Ordering::SeqCst);
        self.current.send_replace(None);
    }

    /// A group that begins with `first`: what waits already; while all of it is patient, what comes within the
    /// patience; after that, while commits are announced, what comes within the linger.
    fn gather(&self, first: (Commit, Done), queue: &Receiver<Message>) -> (Vec<(Commit, Done)>, bool) {
        let mut began = self.clock.monotonic();
        let mut patient = first.0.patient;
        let mut bytes = first.0.weight();
        let mut group = vec![first];
        while group.len() < GROUP_COMMITS && bytes < GROUP_BYTES {
            let message = match queue.try_recv() {
                Ok(message) => message,
                Err(_) => {
                    let limit = if patient { self.options.patience } else { self.options.linger };
                    let left = limit.saturating_sub(self.clock.monotonic().since(began));
                    if left.is_zero() || (!patient && self.announced.load(Ordering::Relaxed) == 0) {
                        break;
                    }
                    // In small steps: what was announced may be given up meanwhile.
                    let step = if patient { left } else { left.min(Duration::from_micros(100)) };
                    match queue.recv_timeout(step) {
                        Ok(message) => message,
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            };
            match message {
                Message::Commit(commit, done) => {
                    bytes += commit.weight();
                    if patient && !commit.patient {
                        // From here on somebody waits.
                        (patient, began) = (false, self.clock.monotonic());
                    }
                    group.push((commit, done));
                }
                Message::Recover => {}
                Message::Close => return (group, true),
            }
        }
        (group, false)
    }

    /// The step of the writer: makes a group durable in one transaction and tells everybody, in order.
    fn drain(&self, group: Vec<(Commit, Done)>) {
        let weight: usize = group.iter().map(|(commit, _)| commit.weight()).sum();
        let (commits, dones): (Vec<Commit>, Vec<Done>) = group.into_iter().unzip();
        // Before anybody is told, or who is told and comes back would find the queue full of himself.
        self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
        let tell_all = |dones: Vec<Done>, refused: Refused| {
            dones.into_iter().for_each(|done| done(Err(refused.clone())));
        };
        let before = self.sequence.load(Ordering::SeqCst);
        match self.writable().map_or_else(|| self.recover(), Ok) {
            // Nothing of it was tried.
            Err(_) => tell_all(dones, Refused::Store(StoreError::Busy)),
            Ok(database) => match database.apply(commits, before) {
                Ok(applied) => {
                    self.commits.fetch_add(applied.sequence - before, Ordering::Relaxed);
                    self.groups.fetch_add(1, Ordering::Relaxed);
                    // Published before anybody is told: who reads this number reads rows as new as it.
                    self.sequence.store(applied.sequence, Ordering::SeqCst);
                    dones.into_iter().zip(applied.ends).for_each(|(done, end)| done(end));
                }
                Err(broken) => tell_all(dones, self.after_failure(&database, broken, before)),
            },
        }
    }

    /// What to tell a group that failed. If the database can be opened again, what it has says whether the
    /// group happened; a group that it does not have did not.
    fn after_failure(&self, database: &Arc<OpenDatabase>, broken: Broken, before: u64) -> Refused {
        self.give_up(database, &broken);
        let settled = self.recover().is_ok();
        if settled && self.sequence.load(Ordering::SeqCst) == before && broken.is_full() {
            return Refused::Store(StoreError::Full { free_bytes: 0 });
        }
        Refused::Doubt { error: StoreError::Unavailable(broken.0), settled }
    }

    /// Marks a database as broken, unless another one has taken its place already.
    fn give_up(&self, database: &Arc<OpenDatabase>, broken: &Broken) {
        let gone = self.current.send_if_modified(|current| {
            let same = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, database));
            if same {
                *current = None;
            }
            same
        });
        if gone {
            database.link.cut();
            self.syncs_before.fetch_add(database.link.syncs(), Ordering::Relaxed);
            tracing::error!(error = %broken.0, "the index failed; opening it anew");
        }
    }

    /// Makes the database of a new folder. It gets its name when it is whole: a crash leaves a file that the next
    /// start removes, never one that is no database.
    fn make_if_new(&self) -> Result<(), StoreError> {
        if self.disk.open(FILE)?.is_some() {
            return Ok(());
        }
        self.disk.unlink(FILE_UNNAMED)?;
        let file = self.disk.create(FILE_UNNAMED)?;
        let made = OpenDatabase::open(file.clone(), self.options.cache_bytes);
        // Closed in order: what closing writes belongs to a whole database, too.
        drop(made?);
        file.sync()?;
        self.disk.rename(FILE_UNNAMED, FILE)?;
        Ok(self.disk.sync_dir("")?)
    }

    /// The database, if commits can be applied to it.
    fn writable(&self) -> Option<Arc<OpenDatabase>> {
        self.current.borrow().clone().filter(|database| database.is_writable())
    }

    /// Opens the database if it is broken; if that fails, a view of it.
    fn recover(&self) -> Result<Arc<OpenDatabase>, StoreError> {
        let _one = self.recovering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = self.writable() {
            return Ok(database);
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the store is closed"));
        }
        // Never made anew here: without its rows every blob would be swept.
        let file = self.disk.open(FILE)?.ok_or_else(|| StoreError::corrupt("the index's file is gone"))?;
        let opened = self.open_anew(&file);
        match &opened {
            Ok(database) => self.replace(database.clone()),
            // A view that is shown already is as good: nothing was committed since.
            Err(_) if self.current.borrow().is_none() => self.show_view(file),
            Err(_) => {}
        }
        opened
    }

    fn open_anew(&self, file: &Arc<dyn crate::disk::DiskFile>) -> Result<Arc<OpenDatabase>, StoreError> {
        // Bytes that a failed sync left in memory may be on no device: read what is really there.
        file.forget_cached()?;
        let opened = OpenDatabase::open(file.clone(), self.options.cache_bytes);
        let database = Arc::new(opened?);
        let sequence = database.sequence()??;
        self.sequence.fetch_max(sequence, Ordering::SeqCst);
        Ok(database)
    }

    /// Lets reads go on where nothing can be written.
    fn show_view(&self, file: Arc<dyn crate::disk::DiskFile>) {
        let acknowledged = self.sequence.load(Ordering::SeqCst);
        match OpenDatabase::view(file, self.options.cache_bytes, acknowledged) {
            Ok(view) => {
                tracing::error!("the index cannot be written to; it is read until it can");
                self.replace(Arc::new(view));
            }
            Err(broken) => tracing::error!(error = %broken.0, "the index cannot be read"),
        }
    }

    /// Shows a database to readers. Invariant: one that is replaced is cut off before the next commit, which may
    /// write over what it reads.
    fn replace(&self, database: Arc<OpenDatabase>) {
        if let Some(before) = self.current.send_replace(Some(database)) {
            before.link.cut();
        }
    }
}

impl Kv for EmbeddedKv {
    fn get(&self, table: Table, key: &[u8]) -> BoxFuture<'_, Result<Option<Row>, StoreError>> {
        if let Some(database) = &*self.core.current.borrow()
            && let Ok(row) = database.get(table, key)
        {
            return std::future::ready(row).boxed();
        }
        let key = key.to_vec();
        async move { self.read(|database| database.get(table, &key)).await }.boxed()
    }

    fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Keyed, StoreError>> {
        async move {
            if is_empty(&from, &to) {
                return Ok(Vec::new());
            }
            if self.drive == Drive::Inline || limit <= RANGE_INLINE {
                return self.read(|database| database.range(&from, &to, limit)).await;
            }
            let database = self.database().await?;
            let (on_thread, bounds) = (database.clone(), (from.clone(), to.clone()));
            let scan = move || on_thread.range(&bounds.0, &bounds.1, limit);
            match crate::blobs::off_thread(true, scan).await? {
                Ok(rows) => rows,
                Err(broken) => {
                    self.core.give_up(&database, &broken);
                    self.read(|database| database.range(&from, &to, limit)).await
                }
            }
        }
        .boxed()
    }

    fn inspect(&self, from: Bound<Vec<u8>>, limit: usize) -> BoxFuture<'_, Result<Inspected, StoreError>> {
        async move {
            if self.drive == Drive::Inline || limit <= RANGE_INLINE {
                return self.read(|database| database.inspect(&from, limit)).await;
            }
            let (database, bound) = (self.database().await?, from.clone());
            match crate::blobs::off_thread(true, move || database.inspect(&bound, limit)).await? {
                Ok(rows) => rows,
                // Once more here, where a broken database is opened anew.
                Err(_) => self.read(|database| database.inspect(&from, limit)).await,
            }
        }
        .boxed()
    }

    fn fold(&self, from: Bound<Vec<u8>>, each: EachRow) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let database = self.database().await?;
            let on_thread = database.clone();
            let fold = move || on_thread.fold(&from, each);
            match crate::blobs::off_thread(self.drive == Drive::Thread, fold).await? {
                Ok(folded) => folded,
                // Whoever asked has seen some of the rows: it is theirs to begin anew.
                Err(broken) => {
                    self.core.give_up(&database, &broken);
                    Err(broken.into())
                }
            }
        }
        .boxed()
    }

    fn verify(
        &self,
        spent: Box<dyn Fn(u64) -> bool + Send + Sync>,
    ) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        async move {
            let (database, core) = (self.database().await?, self.core.clone());
            let check = move || -> Result<Option<String>, StoreError> {
                let gone = || StoreError::corrupt("the index's file is gone");
                let file = core.disk.open(FILE)?.ok_or_else(gone)?;
                file.forget_cached()?;
                let checked = database.verify(file, spent);
                // The folder stays locked until the database is closed, whoever closes it.
                drop(database);
                drop(core);
                Ok(checked?)
            };
            crate::blobs::off_thread(self.drive == Drive::Thread, check).await?
        }
        .boxed()
    }

    fn commit(&self, commit: Commit, done: Done) {
        if self.core.closed.load(Ordering::SeqCst) {
            return done(Err(Refused::Store(StoreError::unavailable("the store is closed"))));
        }
        let weight = commit.weight();
        let queued = self.core.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let refused = if queued > 0 && queued + weight > self.core.options.queue_bytes {
            Some(done)
        } else if self.drive == Drive::Inline {
            self.commit_inline(commit, done);
            None
        } else {
            match self.queue.try_send(Message::Commit(commit, done)) {
                Ok(()) => None,
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => match message {
                    Message::Commit(_, done) => Some(done),
                    Message::Recover | Message::Close => None,
                },
            }
        };
        if let Some(done) = refused {
            self.core.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            done(Err(Refused::Store(StoreError::Busy)));
        }
    }

    fn announce(&self, coming: bool) {
        if coming {
            self.core.announced.fetch_add(1, Ordering::Relaxed);
        } else {
            self.core.announced.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn sequence(&self) -> u64 {
        self.core.sequence.load(Ordering::SeqCst)
    }

    #[cfg(feature = "simulation")]
    fn as_embedded(&self) -> Option<&EmbeddedKv> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.core.closed.store(true, Ordering::SeqCst);
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(thread) = thread else {
                self.core.current.send_replace(None);
                return;
            };
            let queue = self.queue.clone();
            let end = move || -> io::Result<()> {
                // Gone already if the writer panicked; joining tells.
                let _sent = queue.send(Message::Close);
                thread.join().map_err(|_| io::Error::other("the writer panicked"))
            };
            match crate::blobs::off_thread(true, end).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) | Err(error) => tracing::error!(%error, "the writer ended badly"),
            }
        }
        .boxed()
    }

    fn status(&self) -> KvStatus {
        let database = self.core.current.borrow().clone();
        let syncs = database.as_ref().map_or(0, |database| database.link.syncs());
        let file = self.core.disk.open(FILE).ok().flatten();
        KvStatus {
            bytes: file.and_then(|file| file.len().ok()).unwrap_or(0),
            writable: database.is_some_and(|database| database.is_writable())
                && !self.core.closed.load(Ordering::SeqCst),
            commits: self.core.commits.load(Ordering::Relaxed),
            groups: self.core.groups.load(Ordering::Relaxed),
            syncs: self.core.syncs_before.load(Ordering::Relaxed) + syncs,
        }
    }
}

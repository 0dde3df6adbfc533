//! What is read from and written to one open `redb` database: blocking, and without any queue.
//!
//! A row begins with a mark, the version of the commit that wrote it and a checksum of key, version and value:
//! `redb` does not compare the checksums of its pages when it reads them. Drawn in `docs/format.md`.

use std::io;
use std::ops::{Bound, Deref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata as _, StorageBackend as _,
    StorageError, Table as RedbTable, TableDefinition, WriteTransaction,
};

use super::backend::{Backend, Link};
use super::books;
use super::{
    Commit, Committed, EachRow, Inspected, Keyed, Refused, Row, Table, Write, add_to_tally, count_of,
};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::FORMAT_VERSION;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const BODIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bodies");

/// Pages that a check of the whole database keeps in memory, in bytes.
const VERIFY_CACHE: usize = 4 << 20;

/// Counters and what they become.
type Counts = Vec<(Vec<u8>, i64)>;

type Rows<'txn> = RedbTable<'txn, &'static [u8], &'static [u8]>;

/// Why the database could not do it. After any of these it is opened anew: `redb` latches every error of its
/// file, for reads too.
#[derive(Clone, Debug)]
pub(crate) struct Broken(pub(crate) Arc<io::Error>);

impl Broken {
    pub(crate) fn is_full(&self) -> bool {
        matches!(StoreError::from(io::Error::from(self.0.kind())), StoreError::Full { .. })
    }
}

impl From<Broken> for StoreError {
    fn from(Broken(error): Broken) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::corrupt(format!("the index: {error}")),
            _ => Self::Unavailable(error),
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(Arc::new(match error.into() {
            redb::Error::Io(error) => error,
            redb::Error::Corrupted(what) => io::Error::new(io::ErrorKind::InvalidData, what),
            other => io::Error::other(other),
        }))
    }
}

/// One open database.
#[derive(Debug)]
pub(crate) struct OpenDatabase {
    redb: Guarded,
    pub(crate) link: Arc<Link>,
    /// Of a view: the newest commit that was acknowledged. Rows of later ones are in doubt.
    acknowledged: Option<u64>,
}

/// A database of `redb`, which commits once more when it is dropped. Where it panics over that, it has written what a
/// crash would have left.
#[derive(Debug)]
struct Guarded(Option<Database>);

impl Deref for Guarded {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("it is taken when it is dropped, not before")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let end = AssertUnwindSafe(|| drop(self.0.take()));
        if catch_unwind(end).is_err() {
            tracing::error!("a page of the index is damaged: it was not closed in order");
        }
    }
}

/// Opens the database of `backend`, or makes one there; not before its books were found sound.
fn sound(backend: Backend, cache_bytes: usize) -> Result<Guarded, Broken> {
    let damaged = |error| Broken(Arc::new(error));
    let bytes = backend.len().map_err(damaged)?;
    if !planted(Mutant::BooksUnverified) {
        books::compare(bytes, &|offset, out| backend.read(offset, out)).map_err(damaged)?;
    }
    Ok(Guarded(Some(Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?)))
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    match table {
        Table::Rows => ROWS,
        Table::Bodies => BODIES,
    }
}

/// Bytes before the value of a row: its version with the mark, and the checksum.
const HEAD: usize = 12;
/// In the upper two bytes of a row's head: a row of this format. Rows of format 1 have zeros there.
const MARK: u64 = 0xb5c2 << 48;
/// Versions stay below this: at a million commits a second for eight years.
const VERSIONS: u64 = 1 << 48;
/// Rows that one transaction of a migration rewrites.
const MIGRATED_AT_ONCE: usize = 4096;

/// The head of a row with its checksum: the low half of the CRC-64/NVME of key, version and value.
fn head_of(key: &[u8], value: &[u8], version: u64) -> [u8; HEAD] {
    assert!(version < VERSIONS, "commits are numbered from 1 on, one by one");
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&(MARK | version).to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(key);
    digest.update(&head[..8]);
    digest.update(value);
    head[8..].copy_from_slice(&(digest.finalize() as u32).to_le_bytes());
    head
}

/// Version and value of what [`Table::Rows`] has under `key`.
fn parts<'a>(key: &[u8], stored: &'a [u8]) -> Result<(u64, &'a [u8]), StoreError> {
    let damaged = || StoreError::corrupt("a row of the index does not match its checksum");
    let (head, value) = stored.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
    let marked = u64::from_le_bytes(*head.first_chunk().expect("a head is longer"));
    let version = marked % VERSIONS;
    if planted(Mutant::RowUnverified) || *head == head_of(key, value, version) {
        return Ok((version, value));
    }
    Err(damaged())
}

/// What a table has under `key`. A small body has a checksum of its own, which its reader compares.
fn row(table: Table, key: &[u8], stored: &[u8]) -> Result<Row, StoreError> {
    let (version, value) = match table {
        Table::Rows => parts(key, stored)?,
        Table::Bodies => {
            let (version, value) = stored
                .split_first_chunk::<8>()
                .ok_or_else(|| StoreError::corrupt("a body has no version"))?;
            (u64::from_le_bytes(*version), value)
        }
    };
    Ok(Row { version, value: Bytes::copy_from_slice(value) })
}

/// Runs a read. What `redb` itself finds damaged, or panics over, is damage of what was asked for: the rest of the
/// index goes on being read.
fn guarded<T>(read: impl FnOnce() -> Result<T, Broken>) -> Result<Result<T, StoreError>, Broken> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(Ok(read)),
        Ok(Err(Broken(error))) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Err(StoreError::corrupt(format!("the index: {error}"))))
        }
        Ok(Err(broken)) => Err(broken),
        Err(_) => Ok(Err(StoreError::corrupt("a page of the index cannot be read"))),
    }
}

impl OpenDatabase {
    /// Opens the database in `file`, or makes one if the file is empty.
    pub(crate) fn open(file: Arc<dyn DiskFile>, cache_bytes: usize) -> Result<Self, Broken> {
        let link = Arc::new(Link::default());
        let backend = Backend::new(file, link.clone());
        Self::open_with(backend, link, cache_bytes, None)
    }

    /// Opens the database in `file` for reads alone, where it cannot be opened for writes. Nothing is written to
    /// the file, nor made durable: rows of commits after `acknowledged` may still vanish, so they are refused.
    /// A row that such a commit removed is not there.
    pub(crate) fn view(
        file: Arc<dyn DiskFile>,
        cache_bytes: usize,
        acknowledged: u64,
    ) -> Result<Self, Broken> {
        let link = Arc::new(Link::default());
        let backend = Backend::view(file, link.clone()).map_err(|error| Broken(Arc::new(error)))?;
        Self::open_with(backend, link, cache_bytes, Some(acknowledged))
    }

    fn open_with(
        backend: Backend,
        link: Arc<Link>,
        cache_bytes: usize,
        acknowledged: Option<u64>,
    ) -> Result<Self, Broken> {
        let damaged = |error: StoreError| Broken(Arc::new(io::Error::new(io::ErrorKind::InvalidData, error)));
        guarded(|| Self::open_guarded(backend, link, cache_bytes, acknowledged))?.map_err(damaged)
    }

    fn open_guarded(
        backend: Backend,
        link: Arc<Link>,
        cache_bytes: usize,
        acknowledged: Option<u64>,
    ) -> Result<Self, Broken> {
        let redb = sound(backend, cache_bytes)?;
        // Readers need not ask whether the tables exist.
        let mut txn = redb.begin_write()?;
        if txn.list_tables()?.count() == 2 {
            txn.abort()?;
        } else {
            // Like every commit: a crash right after it must not make the next open slow.
            txn.set_quick_repair(true);
            txn.open_table(ROWS)?;
            txn.open_table(BODIES)?;
            txn.commit()?;
        }
        let database = Self { redb, link, acknowledged };
        if database.is_writable() {
            database.migrate()?;
        }
        Ok(database)
    }

    /// Gives the rows of format 1 the head of this format, in pages that are durable one by one. The row that
    /// names the format comes last: a crash before it goes on with the next open.
    fn migrate(&self) -> Result<(), Broken> {
        let format = {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            let Some(stored) = table.get(rows::FORMAT)? else { return Ok(()) };
            stored.value().to_vec()
        };
        // Format 1 had 8 bytes of version and 4 of value.
        let Ok(unmarked) = <[u8; 12]>::try_from(format.as_slice()) else { return Ok(()) };
        let (version, old) = unmarked.split_first_chunk::<8>().expect("8 of 12");
        let version = u64::from_le_bytes(*version);
        if version >= VERSIONS || *old != 1u32.to_le_bytes() {
            return Ok(());
        }
        tracing::info!("the index is of format 1: its rows get checksums");
        let mut from = Bound::Unbounded;
        loop {
            let mut txn = self.redb.begin_write()?;
            txn.set_quick_repair(true);
            let mut table = txn.open_table(ROWS)?;
            let mut page = Vec::new();
            for pair in table.range::<&[u8]>((from.as_ref().map(Vec::as_slice), Bound::Unbounded))? {
                let (key, stored) = pair?;
                page.push((key.value().to_vec(), stored.value().to_vec()));
                if page.len() == MIGRATED_AT_ONCE {
                    break;
                }
            }
            let more = page.len() == MIGRATED_AT_ONCE;
            if let (true, Some((last, _))) = (more, page.last()) {
                from = Bound::Excluded(last.clone());
            }
            for (key, stored) in page {
                let Some((version, value)) = stored.split_first_chunk::<8>() else { continue };
                let version = u64::from_le_bytes(*version);
                // Marked already, by an attempt that a crash cut short; or damaged, which its reader is told.
                if version < VERSIONS && key != rows::FORMAT {
                    put(&mut table, &key, value, version)?;
                }
            }
            if !more {
                put(&mut table, rows::FORMAT, &FORMAT_VERSION.to_le_bytes(), version)?;
            }
            drop(table);
            txn.commit()?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Reads the whole database from `file`, which is open and in use, and says what is wrong with it: rows that do
    /// not match their checksums, that are out of order, that cannot be found by their keys, or are missing.
    /// `spent` is told how many bytes were read each time, and says whether to go on.
    ///
    /// Commits wait only while a second database is opened over the file; what that one writes stays in memory, and
    /// a reader of the first keeps the pages of this state where they are. `redb`'s own checksums would not do:
    /// it copies pages without comparing them, and the copies get checksums of what is in them.
    pub(crate) fn verify(
        &self,
        file: Arc<dyn DiskFile>,
        spent: Box<dyn Fn(u64) -> bool + Send + Sync>,
    ) -> Result<Option<String>, Broken> {
        let checked = guarded(|| {
            let standing = if self.is_writable() { Some(self.redb.begin_write()?) } else { None };
            let pinned = self.redb.begin_read()?;
            let backend = Backend::snapshot(file, spent).map_err(|error| Broken(Arc::new(error)))?;
            let copy = sound(backend, VERIFY_CACHE)?;
            if let Some(standing) = standing {
                standing.abort()?;
            }
            let txn = copy.begin_read()?;
            for table in [Table::Rows, Table::Bodies] {
                if let Some(wrong) = verify_table(table, &txn.open_table(definition(table))?)? {
                    return Ok(Some(wrong));
                }
            }
            drop(pinned);
            Ok(None)
        });
        Ok(checked?.unwrap_or_else(|damage| Some(damage.to_string())))
    }

    /// Whether commits can be applied to it.
    pub(crate) fn is_writable(&self) -> bool {
        self.acknowledged.is_none()
    }

    fn row(&self, table: Table, key: &[u8], stored: &[u8]) -> Result<Row, StoreError> {
        let row = row(table, key, stored)?;
        match self.acknowledged {
            Some(acknowledged) if row.version > acknowledged => {
                Err(StoreError::unavailable("the newest commit of a row is in doubt"))
            }
            Some(_) | None => Ok(row),
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Result<Option<Row>, StoreError>, Broken> {
        let found = guarded(|| {
            let opened = self.redb.begin_read()?.open_table(definition(table))?;
            let found = opened.get(key)?;
            Ok(found.map(|stored| self.row(table, key, stored.value())).transpose())
        })?;
        Ok(found.and_then(|row| row))
    }

    pub(crate) fn range(
        &self,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Result<Keyed, StoreError>, Broken> {
        let found = guarded(|| {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let mut found: Keyed = Vec::new();
            for pair in table.range::<&[u8]>(bounds)?.take(limit) {
                let (key, stored) = pair?;
                if found.last().is_some_and(|(last, _)| last.as_slice() >= key.value()) {
                    return Ok(Err(StoreError::corrupt("the rows of the index are out of order")));
                }
                match self.row(Table::Rows, key.value(), stored.value()) {
                    Ok(row) => found.push((key.value().to_vec(), row)),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(found))
        })?;
        Ok(found.and_then(|rows| rows))
    }

    /// As `range` to the end of the table; one bad row does not hide the others.
    pub(crate) fn inspect(
        &self,
        from: &Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Result<Inspected, StoreError>, Broken> {
        guarded(|| {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            let bounds = (from.as_ref().map(Vec::as_slice), Bound::Unbounded);
            let mut found: Inspected = Vec::new();
            for pair in table.range::<&[u8]>(bounds)?.take(limit) {
                let (key, stored) = pair?;
                let mut row = row(Table::Rows, key.value(), stored.value());
                if found.last().is_some_and(|(last, _)| last.as_slice() >= key.value()) {
                    row = Err(StoreError::corrupt("it is out of order"));
                }
                found.push((key.value().to_vec(), row));
            }
            Ok(found)
        })
    }

    /// Hands the rows from a bound on to `each`, until that has enough.
    pub(crate) fn fold(
        &self,
        from: &Bound<Vec<u8>>,
        mut each: EachRow,
    ) -> Result<Result<(), StoreError>, Broken> {
        guarded(|| {
            let table = self.redb.begin_read()?.open_table(ROWS)?;
            for pair in table.range::<&[u8]>((from.as_ref().map(Vec::as_slice), Bound::Unbounded))? {
                let (key, stored) = pair?;
                if !each(key.value(), self.row(Table::Rows, key.value(), stored.value())) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The newest commit that the database has.
    pub(crate) fn sequence(&self) -> Result<Result<u64, StoreError>, Broken> {
        if planted(Mutant::RevisionReused) {
            let everything = (Bound::Unbounded, Bound::Unbounded);
            let rows = self.range(&everything.0, &everything.1, usize::MAX)?;
            return Ok(rows.map(|rows| rows.iter().map(|(_, row)| row.version).max().unwrap_or(0)));
        }
        let row = self.get(Table::Rows, rows::SEQUENCE)?;
        // The row's version is the sequence: its value says it again, for whoever reads the rows alone.
        Ok(row.map(|row| row.map_or(0, |row| row.version)))
    }

    /// Applies commits in order, in one durable transaction, numbering them from `sequence + 1` on. Those whose
    /// conditions do not hold are left out.
    pub(crate) fn apply(&self, commits: Vec<Commit>, sequence: u64) -> Result<Applied, Broken> {
        // A page that `redb` panics over: the database is opened anew, and who commits is told.
        let applied = AssertUnwindSafe(|| self.apply_in_one(commits, sequence));
        catch_unwind(applied).unwrap_or_else(|_| {
            let what = "a page of the index cannot be written";
            Err(Broken(Arc::new(io::Error::new(io::ErrorKind::InvalidData, what))))
        })
    }

    fn apply_in_one(&self, commits: Vec<Commit>, sequence: u64) -> Result<Applied, Broken> {
        let mut txn = self.redb.begin_write()?;
        let durability =
            if planted(Mutant::AckBeforeSync) { Durability::None } else { Durability::Immediate };
        txn.set_durability(durability).map_err(|error| Broken(Arc::new(io::Error::other(error))))?;
        // Two syncs a commit, and an open after a crash that takes constant time.
        txn.set_quick_repair(!planted(Mutant::AckBeforeSync));
        let mut applied = Applied { ends: Vec::with_capacity(commits.len()), sequence };
        self.apply_all(&txn, commits, &mut applied)?;
        if applied.sequence > sequence {
            txn.commit()?;
        } else {
            txn.abort()?;
        }
        Ok(applied)
    }

    fn apply_all(
        &self,
        txn: &WriteTransaction,
        commits: Vec<Commit>,
        applied: &mut Applied,
    ) -> Result<(), Broken> {
        let before = self.redb.begin_read()?.open_table(ROWS)?;
        let mut rows = txn.open_table(ROWS)?;
        let mut bodies = txn.open_table(BODIES)?;
        for commit in commits {
            // Conditions are checked against the rows as the earlier commits of the group left them.
            let refused =
                if planted(Mutant::GroupUnseen) { unmet(&before, &commit)? } else { unmet(&rows, &commit)? };
            let end = match refused {
                Some(refused) => Err(refused),
                None => match counts(&rows, &commit)? {
                    Err(error) => Err(Refused::Store(error)),
                    Ok(counts) => {
                        applied.sequence += 1;
                        let version = applied.sequence;
                        let taken = write_all(&mut rows, &mut bodies, commit.writes, version)?;
                        Ok(Committed { version, zeroed: write_counts(&mut rows, counts, version)?, taken })
                    }
                },
            };
            applied.ends.push(end);
        }
        if !planted(Mutant::RevisionReused) {
            let sequence = applied.sequence;
            put(&mut rows, rows::SEQUENCE, &sequence.to_le_bytes(), sequence)?;
        }
        Ok(())
    }
}

/// What is wrong with a table, if something is.
fn verify_table(
    table: Table,
    rows: &redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
) -> Result<Option<String>, Broken> {
    let (mut seen, mut last) = (0, Vec::new());
    for pair in rows.iter()? {
        let (key, stored) = pair?;
        let (key, stored) = (key.value(), stored.value());
        if seen > 0 && last.as_slice() >= key {
            return Ok(Some(format!("{table:?}: a row is out of order")));
        }
        if let Err(error) = row(table, key, stored) {
            return Ok(Some(format!("{table:?}: {error}")));
        }
        // Looked up from the top, too: a page that leads astray hides what is there.
        if rows.get(key)?.is_none_or(|found| found.value() != stored) {
            return Ok(Some(format!("{table:?}: a row cannot be found by its key")));
        }
        last.clear();
        last.extend_from_slice(key);
        seen += 1;
    }
    let counted = rows.len()?;
    Ok((seen != counted).then(|| format!("{table:?}: there are {seen} rows instead of {counted}")))
}

/// What came of a group of commits.
#[derive(Debug)]
pub(crate) struct Applied {
    /// One for each commit, in order.
    pub(crate) ends: Vec<Result<Committed, Refused>>,
    /// The version of the last one that happened.
    pub(crate) sequence: u64,
}

/// The first condition that does not hold.
fn unmet(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    commit: &Commit,
) -> Result<Option<Refused>, StorageError> {
    for (place, condition) in commit.conditions.iter().enumerate() {
        let version = match rows.get(condition.key.as_slice())? {
            None => None,
            Some(stored) => match parts(&condition.key, stored.value()) {
                Ok((version, _)) => Some(version),
                Err(error) => return Ok(Some(Refused::Store(error))),
            },
        };
        if version != condition.version {
            return Ok(Some(Refused::Condition(place)));
        }
    }
    Ok(None)
}

/// What the counters of a commit become; computed before anything is written, since one below zero refuses
/// all of it.
fn counts(rows: &Rows<'_>, commit: &Commit) -> Result<Result<Counts, StoreError>, StorageError> {
    let mut counts = Counts::new();
    for write in &commit.writes {
        let Write::Count { key, by } = write else { continue };
        if let Some((_, count)) = counts.iter_mut().find(|(counted, _)| counted == key) {
            *count += by;
            continue;
        }
        let before = match rows.get(key.as_slice())? {
            None => 0,
            Some(stored) => match parts(key, stored.value()).and_then(|(_, value)| count_of(value)) {
                Ok(count) => count,
                Err(error) => return Ok(Err(error)),
            },
        };
        counts.push((key.clone(), before + by));
    }
    if counts.iter().any(|(_, count)| *count < 0) {
        return Ok(Err(StoreError::corrupt("a reference count fell below zero")));
    }
    Ok(Ok(counts))
}

fn put(rows: &mut Rows<'_>, key: &[u8], value: &[u8], version: u64) -> Result<(), StorageError> {
    let mut room = rows.insert_reserve(key, HEAD + value.len())?;
    let (head, rest) = room.as_mut().split_at_mut(HEAD);
    head.copy_from_slice(&head_of(key, value, version));
    rest.copy_from_slice(value);
    Ok(())
}

fn put_body(bodies: &mut Rows<'_>, key: &[u8], value: &[u8], version: u64) -> Result<(), StorageError> {
    let mut room = bodies.insert_reserve(key, 8 + value.len())?;
    let (head, rest) = room.as_mut().split_at_mut(8);
    head.copy_from_slice(&version.to_le_bytes());
    rest.copy_from_slice(value);
    Ok(())
}

fn write_all(
    rows: &mut Rows<'_>,
    bodies: &mut Rows<'_>,
    writes: Vec<Write>,
    version: u64,
) -> Result<Vec<Bytes>, StorageError> {
    let mut taken = Vec::new();
    for write in writes {
        match write {
            Write::Put { table: Table::Rows, key, value } => put(rows, &key, &value, version)?,
            Write::Put { table: Table::Bodies, key, value } => put_body(bodies, &key, &value, version)?,
            Write::Remove { table: Table::Rows, key } => drop(rows.remove(key.as_slice())?),
            Write::Remove { table: Table::Bodies, key } => drop(bodies.remove(key.as_slice())?),
            Write::Take { key } => {
                let stored = rows.remove(key.as_slice())?;
                // One that cannot be read is gone like any other, and nobody learns what was in it.
                let value = stored.as_ref().and_then(|stored| parts(&key, stored.value()).ok());
                taken.extend(value.map(|(_, value)| Bytes::copy_from_slice(value)));
            }
            Write::Tally { key, by } => {
                let before = rows.get(key.as_slice())?.map(|stored| stored.value().to_vec());
                let before = before.as_deref().and_then(|stored| parts(&key, stored).ok());
                match add_to_tally(before.map(|(_, value)| value), &by) {
                    Some(value) => put(rows, &key, &value, version)?,
                    None => drop(rows.remove(key.as_slice())?),
                }
            }
            Write::Count { .. } => {}
        }
    }
    Ok(taken)
}

fn write_counts(rows: &mut Rows<'_>, counts: Counts, version: u64) -> Result<Vec<Vec<u8>>, StorageError> {
    let mut zeroed = Vec::new();
    for (key, count) in counts {
        if count == 0 {
            rows.remove(key.as_slice())?;
            zeroed.push(key);
        } else {
            put(rows, &key, &count.to_le_bytes(), version)?;
        }
    }
    Ok(zeroed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::lossy::LossyDisk;

    #[test]
    fn a_view_refuses_rows_of_commits_that_were_not_acknowledged() {
        let file = LossyDisk::new().create("f").unwrap();
        let database = OpenDatabase::open(file.clone(), 1 << 20).unwrap();
        let put = |key: &[u8]| Write::Put { table: Table::Rows, key: key.to_vec(), value: Bytes::new() };
        for (sequence, key) in [(0, b"a"), (1, b"b")] {
            database.apply(vec![Commit { writes: vec![put(key)], ..Commit::default() }], sequence).unwrap();
        }
        drop(database);
        let view = OpenDatabase::view(file, 1 << 20, 1).unwrap();
        assert!(!view.is_writable());
        assert_eq!(view.get(Table::Rows, b"a").unwrap().unwrap().unwrap().version, 1);
        assert!(matches!(view.get(Table::Rows, b"b").unwrap(), Err(StoreError::Unavailable(_))));
        let all = view.range(&Bound::Unbounded, &Bound::Unbounded, 10).unwrap();
        assert!(matches!(all, Err(StoreError::Unavailable(_))));
    }
}

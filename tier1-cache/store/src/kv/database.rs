//! What is read from and written to one open `redb` database: blocking, and without any queue.
//!
//! A row's value is the version of the commit that wrote it (8 bytes, little-endian), then what was written.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageError, Table as RedbTable, TableDefinition,
    WriteTransaction,
};

use super::backend::{Backend, Link};
use super::{Commit, Committed, Inspected, Keyed, Refused, Row, Table, Write, count_of};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::mutants::{Mutant, planted};
use crate::rows;

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const BODIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bodies");

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

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(Arc::new(match error.into() {
            redb::Error::Io(error) => error,
            other => io::Error::other(other),
        }))
    }
}

/// One open database.
#[derive(Debug)]
pub(crate) struct OpenDatabase {
    redb: Database,
    pub(crate) link: Arc<Link>,
    /// Of a view: the newest commit that was acknowledged. Rows of later ones are in doubt.
    acknowledged: Option<u64>,
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    match table {
        Table::Rows => ROWS,
        Table::Bodies => BODIES,
    }
}

fn row(value: &[u8]) -> Result<Row, StoreError> {
    let (version, value) =
        value.split_first_chunk::<8>().ok_or_else(|| StoreError::corrupt("a row has no version"))?;
    Ok(Row { version: u64::from_le_bytes(*version), value: Bytes::copy_from_slice(value) })
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
        let redb = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?;
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
        Ok(Self { redb, link, acknowledged })
    }

    /// Whether commits can be applied to it.
    pub(crate) fn is_writable(&self) -> bool {
        self.acknowledged.is_none()
    }

    fn row(&self, value: &[u8]) -> Result<Row, StoreError> {
        let row = row(value)?;
        match self.acknowledged {
            Some(acknowledged) if row.version > acknowledged => {
                Err(StoreError::unavailable("the newest commit of a row is in doubt"))
            }
            Some(_) | None => Ok(row),
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Result<Option<Row>, StoreError>, Broken> {
        let table = self.redb.begin_read()?.open_table(definition(table))?;
        let found = table.get(key)?;
        Ok(found.map(|value| self.row(value.value())).transpose())
    }

    pub(crate) fn range(
        &self,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        limit: usize,
    ) -> Result<Result<Keyed, StoreError>, Broken> {
        let table = self.redb.begin_read()?.open_table(ROWS)?;
        let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let mut found = Vec::new();
        for pair in table.range::<&[u8]>(bounds)?.take(limit) {
            let (key, value) = pair?;
            match self.row(value.value()) {
                Ok(row) => found.push((key.value().to_vec(), row)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(found))
    }

    /// As `range` to the end of the table; one bad row does not hide the others.
    pub(crate) fn inspect(&self, from: &Bound<Vec<u8>>, limit: usize) -> Result<Inspected, Broken> {
        let table = self.redb.begin_read()?.open_table(ROWS)?;
        let bounds = (from.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let mut found = Vec::new();
        for pair in table.range::<&[u8]>(bounds)?.take(limit) {
            let (key, value) = pair?;
            found.push((key.value().to_vec(), row(value.value())));
        }
        Ok(found)
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
                        write_all(&mut rows, &mut bodies, commit.writes, version)?;
                        Ok(Committed { version, zeroed: write_counts(&mut rows, counts, version)? })
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
            Some(value) => match row_version(value.value()) {
                Ok(version) => Some(version),
                Err(error) => return Ok(Some(Refused::Store(error))),
            },
        };
        if version != condition.version {
            return Ok(Some(Refused::Condition(place)));
        }
    }
    Ok(None)
}

fn row_version(value: &[u8]) -> Result<u64, StoreError> {
    let version = value.first_chunk::<8>().ok_or_else(|| StoreError::corrupt("a row has no version"))?;
    Ok(u64::from_le_bytes(*version))
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
            Some(value) => match row(value.value()).and_then(|row| count_of(&row.value)) {
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
    let mut room = rows.insert_reserve(key, 8 + value.len())?;
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
) -> Result<(), StorageError> {
    for write in writes {
        match write {
            Write::Put { table: Table::Rows, key, value } => put(rows, &key, &value, version)?,
            Write::Put { table: Table::Bodies, key, value } => put(bodies, &key, &value, version)?,
            Write::Remove { table: Table::Rows, key } => drop(rows.remove(key.as_slice())?),
            Write::Remove { table: Table::Bodies, key } => drop(bodies.remove(key.as_slice())?),
            Write::Count { .. } => {}
        }
    }
    Ok(())
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

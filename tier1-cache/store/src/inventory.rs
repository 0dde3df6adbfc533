//! Inventories: what the shadow of a rule lists, kept in the index, so that it need not be asked for each page of a LIST.
//!
//! An inventory is taken page by page, as a *generation* of rows; the row of the inventory says how far it is, and
//! changes with each page in one commit. The commit that writes the last page makes the generation the one that is used,
//! in place of the one before, whose rows go afterwards. Nothing here says whether an inventory may be believed: that is
//! for its reader, who has the moment when it began, the bucket's gate then, and what was withdrawn since.

use std::sync::atomic::Ordering;

use bytes::{BufMut as _, Bytes, BytesMut};
use fallthrough_object::{ETag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::bucket_row::{Bucket, BucketId, ShadowRule};
use crate::error::{CommitError, StoreError};
use crate::kv::{Commit, Row, Table, Write};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Store, put, remove, when};

/// Rows that one commit writes or removes.
pub const INVENTORY_ROWS_PER_COMMIT: usize = 256;
/// How the row of an object begins.
const OBJECT_VERSION: u8 = 1;

/// The inventory of a rule's shadow as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct InventoryRow {
    /// The bucket's gate when it began: what a shadow had that was replaced since says nothing of the one there is.
    pub gate_version: u64,
    /// The newest generation that was begun. Never used again while this row is there.
    pub generation: u64,
    /// Somebody wants it taken anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// The generation that is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<TakenInventory>,
    /// The generation that is being taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taking: Option<TakingInventory>,
}

/// A generation that is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TakenInventory {
    /// Which.
    pub generation: u64,
    /// What was withdrawn when it began: see [`Store::inventory_withdrawn`].
    pub withdrawn: u64,
    /// When it began, from which its age counts.
    pub began: Timestamp,
    /// When it was complete.
    pub ended: Timestamp,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How it differs from the one before, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<InventoryDrift>,
}

/// A generation that is being taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TakingInventory {
    /// Which.
    pub generation: u64,
    /// What was withdrawn when it began: see [`Store::inventory_withdrawn`].
    pub withdrawn: u64,
    /// When it began.
    pub began: Timestamp,
    /// The last name, as the origin has it, that is written down.
    pub after: String,
    /// Objects written down.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How they differ so far from the generation that is complete.
    pub drift: InventoryDrift,
}

/// How an inventory differs from the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct InventoryDrift {
    /// Keys that were not there.
    pub added: u64,
    /// Keys that are not there any more.
    pub removed: u64,
    /// Keys with another ETag, size or date.
    pub changed: u64,
}

/// An object as its origin lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryObject {
    /// Its name at the origin.
    pub name: String,
    /// Its ETag, if the list has one.
    pub etag: Option<ETag>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its Last-Modified.
    pub last_modified: Timestamp,
}

impl InventoryObject {
    fn encode(&self) -> Bytes {
        let etag = self.etag.as_ref().map(ETag::to_string).unwrap_or_default();
        let mut value = BytesMut::with_capacity(17 + etag.len());
        value.put_u8(OBJECT_VERSION);
        value.put_u64_le(self.size_bytes);
        value.put_u64_le(self.last_modified.0);
        value.put_slice(etag.as_bytes());
        value.freeze()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let read = || {
            let (version, rest) = value.split_first()?;
            let (size, rest) = rest.split_first_chunk::<8>()?;
            let (date, etag) = rest.split_first_chunk::<8>()?;
            let etag = match etag {
                [] => None,
                etag => Some(ETag::parse(std::str::from_utf8(etag).ok()?).ok()?),
            };
            (*version == OBJECT_VERSION).then(|| (u64::from_le_bytes(*size), u64::from_le_bytes(*date), etag))
        };
        let (size_bytes, date, etag) =
            read().ok_or_else(|| StoreError::corrupt("an object of an inventory cannot be read"))?;
        let name = rows::listed_name(key)?;
        Ok(Self { name, etag, size_bytes, last_modified: Timestamp(date) })
    }
}

impl Store {
    /// The inventory of a rule's shadow, and the version of its row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inventory(
        &self,
        bucket: BucketId,
        rule: u16,
    ) -> Result<Option<(InventoryRow, u64)>, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::inventory(bucket, rule)).await?;
        row.map(|row| Ok((read(&row)?, row.version))).transpose()
    }

    /// All inventories of a bucket, by the numbers of their rules, with the versions of their rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inventories(&self, bucket: BucketId) -> Result<Vec<(u16, InventoryRow, u64)>, StoreError> {
        let (from, to) = rows::inventories(bucket);
        let found = self.inner.kv.range(from, to, usize::from(u16::MAX)).await?;
        found
            .into_iter()
            .map(|(at, row)| Ok((rows::inventory_rule(&at)?, read(&row)?, row.version)))
            .collect()
    }

    /// The newest commit that made a key unknown here which was written or deleted here, in a bucket that keeps
    /// inventories; 0: there was none. The shadow may have such a key by our own doing, and an inventory that began
    /// before does not know of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inventory_withdrawn(&self, bucket: BucketId) -> Result<u64, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::inventory_withdrawn(bucket)).await?;
        Ok(row.map_or(0, |row| row.version))
    }

    /// Writes an inventory, and objects of the generation `generation` with it, if its row still has the version `seen`
    /// (`None`: there is none) and the bucket is still the same. At most [`INVENTORY_ROWS_PER_COMMIT`] objects.
    ///
    /// # Errors
    /// [`CommitError`]. Nothing was written after `Conflict` and `Gate`.
    ///
    /// # Cancellation
    /// It may or may not be written, as a whole.
    pub async fn put_inventory(
        &self,
        bucket: &Bucket,
        rule: u16,
        seen: Option<u64>,
        row: &InventoryRow,
        (generation, listed): (u64, &[InventoryObject]),
    ) -> Result<u64, CommitError> {
        let at = rows::inventory(bucket.id, rule);
        let objects = listed
            .iter()
            .map(|object| put(rows::listed(bucket.id, rule, generation, &object.name), object.encode()));
        let mut writes: Vec<Write> = objects.collect();
        let late =
            if planted(Mutant::InventoryBeforeItsRows) { std::mem::take(&mut writes) } else { Vec::new() };
        writes.push(put(at.clone(), rows::to_json(row)?));
        let conditions = vec![when(rows::gate(bucket.id), Some(bucket.gate_version)), when(at, seen)];
        let committed = match self.inner.commit(Commit { conditions, writes, ..Commit::default() }).await? {
            Ok(committed) => committed,
            Err(0) => return Err(CommitError::Gate),
            Err(_) => return Err(CommitError::Conflict),
        };
        if !late.is_empty() {
            let _ = self.inner.commit(Commit { writes: late, ..Commit::default() }).await?;
        }
        Ok(committed.version)
    }

    /// Up to `limit` objects of a generation, in order of their names at the origin, whose names begin with `prefix`,
    /// behind `after` (empty: from the first).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inventory_objects(
        &self,
        bucket: BucketId,
        (rule, generation): (u16, u64),
        after: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<InventoryObject>, StoreError> {
        let (from, to) = rows::listed_range(bucket, rule, generation, after, prefix);
        let found = self.inner.kv.range(from, to, limit).await?;
        self.inner.listed_rows.fetch_add(found.len() as u64, Ordering::Relaxed);
        found.iter().map(|(key, row)| InventoryObject::decode(key, &row.value)).collect()
    }

    /// Whether a generation has an object of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inventory_has(
        &self,
        bucket: BucketId,
        (rule, generation): (u16, u64),
        name: &str,
    ) -> Result<bool, StoreError> {
        let row = rows::listed(bucket, rule, generation, name);
        Ok(self.inner.kv.get(Table::Rows, &row).await?.is_some())
    }

    /// Removes the objects of all generations but these, which have to be in order. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed by then stays removed.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn trim_inventory(
        &self,
        bucket: BucketId,
        rule: u16,
        generations: &[u64],
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for range in rows::listed_besides(bucket, rule, generations) {
            removed += self.remove_range(range).await?;
        }
        Ok(removed)
    }

    /// Forgets the inventory of a rule: its objects, and then its row, if that is still what was read.
    ///
    /// # Errors
    /// [`StoreError`]; what was removed by then stays removed, and the row goes last, so that it is found again.
    pub async fn forget_inventory(
        &self,
        bucket: BucketId,
        rule: u16,
        version: u64,
    ) -> Result<(), StoreError> {
        self.trim_inventory(bucket, rule, &[]).await?;
        let at = rows::inventory(bucket, rule);
        let conditions = vec![when(at.clone(), Some(version))];
        // Whoever changed it meanwhile keeps it.
        let _ =
            self.inner.commit(Commit { conditions, writes: vec![remove(at)], ..Commit::default() }).await?;
        Ok(())
    }

    /// Removes all that inventories of a removed bucket have left.
    pub(crate) async fn forget_inventories(&self, bucket: BucketId) -> Result<u64, StoreError> {
        let mut removed = 0;
        for range in rows::all_of_inventories(bucket) {
            removed += self.remove_range(range).await?;
        }
        Ok(removed)
    }

    async fn remove_range(&self, (from, to): rows::RowRange) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let found = self.inner.kv.range(from.clone(), to.clone(), INVENTORY_ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok(removed);
            }
            removed += found.len() as u64;
            let writes = found.into_iter().map(|(at, _)| remove(at)).collect();
            let _ = self.inner.commit(Commit { writes, patient: true, ..Commit::default() }).await?;
        }
    }
}

/// What a commit writes that makes a key unknown which was written or deleted here.
pub(crate) fn withdraw(bucket: &Bucket) -> Option<Write> {
    let keeps = bucket.settings.shadow.iter().any(ShadowRule::keeps_inventory);
    (keeps && !planted(Mutant::InventoryNotWithdrawn)).then(|| withdrawal(bucket.id))
}

/// From the commit with this write on, what inventories of the bucket have is not believed that began before.
pub(crate) fn withdrawal(bucket: BucketId) -> Write {
    put(rows::inventory_withdrawn(bucket), Bytes::new())
}

fn read(row: &Row) -> Result<InventoryRow, StoreError> {
    rows::from_json("an inventory", &row.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_back() {
        for etag in [None, Some("\"abc\""), Some("W/\"\""), Some("\"\"")] {
            let object = InventoryObject {
                name: "a/\u{10FFFF}".to_owned(),
                etag: etag.map(|etag| ETag::parse(etag).unwrap()),
                size_bytes: u64::MAX,
                last_modified: Timestamp(1_800_000_000_123),
            };
            let key = rows::listed(BucketId(1), 2, 3, &object.name);
            assert_eq!(InventoryObject::decode(&key, &object.encode()).unwrap(), object);
        }
        let whole =
            InventoryObject { name: "a".to_owned(), etag: None, size_bytes: 1, last_modified: Timestamp(2) };
        let key = rows::listed(BucketId(1), 2, 3, "a");
        for wrong in [&[][..], &[1; 16], &[2; 17], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'"']]
        {
            assert!(InventoryObject::decode(&key, wrong).is_err(), "{wrong:?}");
        }
        assert!(InventoryObject::decode(&[0; 5], &whole.encode()).is_err());
    }
}

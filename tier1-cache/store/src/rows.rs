//! The keys of rows, and what they hold besides entries. Drawn byte by byte in `docs/format.md`.
//!
//! The first byte of a key names the family of the row. Families not used yet are left free for versions.

use std::ops::Bound;

use bytes::Bytes;
use fallthrough_object::{BucketConfiguration, BucketName, Key, Timestamp};
use serde::{Deserialize, Serialize};

use crate::blob::BlobId;
use crate::bucket_row::{BucketId, BucketSettings};
use crate::error::StoreError;
use crate::uploads::UploadId;

/// The boot epoch: 8 bytes, little-endian.
pub(crate) const EPOCH: &[u8] = b"m/epoch";
/// The format version: 4 bytes, little-endian.
pub(crate) const FORMAT: &[u8] = b"m/format";
/// Where the scrubber is, and what its last pass found: JSON.
pub(crate) const SCRUB: &[u8] = b"m/scrub";
/// Which keys rows with secrets may be sealed with: JSON. Absent: with none.
pub(crate) const SEALED_WITH: &[u8] = b"m/sealed-with";
/// Tallies are right: they were kept from the beginning, or were counted.
pub(crate) const USAGE_KNOWN: &[u8] = b"m/usage";
/// The newest commit of the embedded engine: 8 bytes, little-endian.
pub(crate) const SEQUENCE: &[u8] = b"m/sequence";

const ACCOUNT: u8 = b'a';
const BUCKET: u8 = b'b';
const CLEARED: u8 = b'd';
const ENTRY: u8 = b'e';
const COUNT: u8 = b'f';
const GATE: u8 = b'g';
const NOTE: u8 = b'h';
const INVENTORY: u8 = b'i';
const MIGRATION: u8 = b'j';
const ACCESS_KEY: u8 = b'k';
const LISTED: u8 = b'n';
const INTENT: u8 = b'o';
const PART: u8 = b'p';
const QUARANTINE: u8 = b'q';
const BLOCK_SET: u8 = b'r';
const BLOCK: u8 = b's';
const USAGE: u8 = b't';
const UPLOAD: u8 = b'u';
const WAITING: u8 = b'w';
const REMOVED: u8 = b'x';

fn of_id(family: u8, id: BucketId) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(family);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

fn of_text(family: u8, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + text.len());
    key.push(family);
    key.extend_from_slice(text.as_bytes());
    key
}

/// The row of a bucket's settings.
pub(crate) fn bucket(name: &BucketName) -> Vec<u8> {
    of_text(BUCKET, name.as_str())
}

/// The name in the key of a bucket's row.
pub(crate) fn bucket_name(key: &[u8]) -> Result<BucketName, StoreError> {
    let text = key.get(1..).and_then(|raw| std::str::from_utf8(raw).ok());
    text.and_then(|raw| BucketName::parse(raw).ok())
        .ok_or_else(|| StoreError::corrupt("the row of a bucket has no valid name"))
}

/// Bucket rows behind `after`.
pub(crate) fn buckets(after: Option<&BucketName>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    family(BUCKET, after.map(BucketName::as_str))
}

/// The gate of a bucket.
pub(crate) fn gate(id: BucketId) -> Vec<u8> {
    of_id(GATE, id)
}

/// A bucket that was removed and whose rows are still to be swept.
pub(crate) fn removed(id: BucketId) -> Vec<u8> {
    of_id(REMOVED, id)
}

/// All removed buckets.
pub(crate) fn all_removed() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    family(REMOVED, None)
}

/// A bucket whose shadow was cleared by the commit that wrote this row: tombstones that are older are to be swept.
pub(crate) fn cleared(id: BucketId) -> Vec<u8> {
    of_id(CLEARED, id)
}

/// All buckets whose shadow was cleared, and which are not swept yet.
pub(crate) fn all_cleared() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    family(CLEARED, None)
}

/// What a bucket holds: a tally.
pub(crate) fn usage(id: BucketId) -> Vec<u8> {
    of_id(USAGE, id)
}

/// What all buckets hold, behind `after`.
pub(crate) fn usages(after: Option<BucketId>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = after.map_or(Bound::Included(vec![USAGE]), |after| Bound::Excluded(usage(after)));
    (from, Bound::Excluded(vec![USAGE + 1]))
}

/// Whether a row comes after all tallies.
pub(crate) fn is_behind_usages(row: &[u8]) -> bool {
    row.first().is_some_and(|family| *family > USAGE)
}

/// The bucket in the key of a tally; `None` for rows of other families.
pub(crate) fn usage_of(row: &[u8]) -> Option<BucketId> {
    let (family, id) = row.split_first()?;
    (*family == USAGE).then_some(BucketId(u64::from_be_bytes(id.try_into().ok()?)))
}

/// Before the first of all entries.
pub(crate) fn before_entries() -> Bound<Vec<u8>> {
    Bound::Included(vec![ENTRY])
}

/// The id in the key of a bucket that was removed, or whose shadow was cleared.
pub(crate) fn swept_id(key: &[u8]) -> Result<BucketId, StoreError> {
    let raw = key.get(1..).and_then(|raw| raw.try_into().ok());
    raw.map(|raw| BucketId(u64::from_be_bytes(raw)))
        .ok_or_else(|| StoreError::corrupt("the row of a bucket to be swept has no id"))
}

/// The entry of a key.
pub(crate) fn entry(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = of_id(ENTRY, bucket);
    row.extend_from_slice(key.as_bytes());
    row
}

/// The object key in the key of an entry.
pub(crate) fn entry_key(row: &[u8]) -> Result<Key, StoreError> {
    let text = row.get(9..).and_then(|raw| std::str::from_utf8(raw).ok());
    text.and_then(|raw| Key::parse(raw).ok())
        .ok_or_else(|| StoreError::corrupt("the row of an entry has no valid key"))
}

/// Entries of a bucket with this prefix, from a bound on.
pub(crate) fn entries(bucket: BucketId, from: Bound<&str>, prefix: &str) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = entry(bucket, prefix);
    let end = after_prefix(&start);
    let from = match from {
        Bound::Unbounded => Bound::Included(start),
        // A bound before the prefix begins at the prefix; one behind it makes the range empty or shorter.
        Bound::Included(key) => Bound::Included(entry(bucket, key).max(start)),
        Bound::Excluded(key) => {
            let key = entry(bucket, key);
            if key < start { Bound::Included(start) } else { Bound::Excluded(key) }
        }
    };
    (from, end)
}

/// What is still to be done at the origin about a key.
pub(crate) fn intent(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = of_id(INTENT, bucket);
    row.extend_from_slice(key.as_bytes());
    row
}

/// The bucket and the object key in the key of an intent's row; `None` for rows of other families.
pub(crate) fn intent_of(row: &[u8]) -> Option<(BucketId, Result<Key, StoreError>)> {
    let (family, rest) = row.split_first()?;
    let (bucket, _) = rest.split_first_chunk::<8>()?;
    (*family == INTENT).then(|| (BucketId(u64::from_be_bytes(*bucket)), entry_key(row)))
}

/// Intents of a bucket behind the one of this key.
pub(crate) fn intents(bucket: BucketId, after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let all = of_id(INTENT, bucket);
    let end = after_prefix(&all);
    (after.map_or(Bound::Included(all), |key| Bound::Excluded(intent(bucket, key))), end)
}

/// Before the first of all intents.
pub(crate) fn before_intents() -> Bound<Vec<u8>> {
    Bound::Included(vec![INTENT])
}

/// How many intents a bucket has.
pub(crate) fn waiting(bucket: BucketId) -> Vec<u8> {
    of_id(WAITING, bucket)
}

/// The count of references to a blob that is a file.
pub(crate) fn count(blob: BlobId) -> Vec<u8> {
    let mut key = vec![COUNT];
    key.extend_from_slice(&body(blob));
    key
}

/// The blob in the key of a count.
pub(crate) fn counted(key: &[u8]) -> Option<BlobId> {
    blob_in(COUNT, key)
}

fn blob_in(wanted: u8, key: &[u8]) -> Option<BlobId> {
    let (family, id) = key.split_first()?;
    let (epoch, number) = id.split_first_chunk::<8>()?;
    let number = number.try_into().ok()?;
    (*family == wanted)
        .then(|| BlobId { epoch: u64::from_be_bytes(*epoch), number: u64::from_be_bytes(number) })
}

/// What is known of a blob in quarantine.
pub(crate) fn quarantine(blob: BlobId) -> Vec<u8> {
    let mut key = vec![QUARANTINE];
    key.extend_from_slice(&body(blob));
    key
}

/// The blob in the key of a row of the quarantine.
pub(crate) fn quarantined(key: &[u8]) -> Option<BlobId> {
    blob_in(QUARANTINE, key)
}

/// Rows of the quarantine behind `after`.
pub(crate) fn quarantines(after: Option<BlobId>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match after {
        Some(after) => Bound::Excluded(quarantine(after)),
        None => Bound::Included(vec![QUARANTINE]),
    };
    (from, Bound::Excluded(vec![QUARANTINE + 1]))
}

/// The bucket and the object key in the key of an entry; `None` for rows of other families.
pub(crate) fn entry_of(row: &[u8]) -> Option<(BucketId, Result<Key, StoreError>)> {
    let (family, rest) = row.split_first()?;
    let (bucket, _) = rest.split_first_chunk::<8>()?;
    (*family == ENTRY).then(|| (BucketId(u64::from_be_bytes(*bucket)), entry_key(row)))
}

/// The row of a multipart upload. The key is written so that rows are in the order of keys, whatever their bytes are,
/// and then of upload ids.
pub(crate) fn upload(bucket: BucketId, key: &str, id: UploadId) -> Vec<u8> {
    let mut row = uploads_of(bucket, key);
    row.extend_from_slice(&END_OF_KEY);
    row.extend_from_slice(&id.0);
    row
}

const END_OF_KEY: [u8; 2] = [0, 1];
const ZERO: [u8; 2] = [0, 0xff];

fn uploads_of(bucket: BucketId, prefix: &str) -> Vec<u8> {
    let mut row = of_id(UPLOAD, bucket);
    for byte in prefix.bytes() {
        match byte {
            0 => row.extend_from_slice(&ZERO),
            byte => row.push(byte),
        }
    }
    row
}

/// The object key and the upload in the key of an upload's row.
pub(crate) fn upload_key(row: &[u8]) -> Result<(Key, UploadId), StoreError> {
    let read = || {
        let (rest, id) = row.get(9..)?.split_last_chunk::<16>()?;
        let mut rest = rest.strip_suffix(&END_OF_KEY)?;
        let mut key = Vec::with_capacity(rest.len());
        while let Some((byte, more)) = rest.split_first() {
            key.push(*byte);
            rest = if *byte == 0 { more.strip_prefix(&ZERO[1..])? } else { more };
        }
        Some((Key::parse(std::str::from_utf8(&key).ok()?).ok()?, UploadId(*id)))
    };
    read().ok_or_else(|| StoreError::corrupt("the row of an upload has no valid key"))
}

/// Uploads of a bucket whose keys begin with `prefix`, behind an upload of a key, or behind all uploads of a key.
pub(crate) fn uploads(
    bucket: BucketId,
    prefix: &str,
    after: Option<(&str, Option<UploadId>)>,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = uploads_of(bucket, prefix);
    let end = after_prefix(&start);
    let after = match after {
        None => None,
        Some((key, Some(id))) => Some(Bound::Excluded(upload(bucket, key, id))),
        Some((key, None)) => {
            let mut all = uploads_of(bucket, key);
            all.extend_from_slice(&END_OF_KEY);
            Some(match after_prefix(&all) {
                Bound::Excluded(next) | Bound::Included(next) => Bound::Included(next),
                Bound::Unbounded => Bound::Excluded(all),
            })
        }
    };
    let from = match after {
        Some(Bound::Excluded(row) | Bound::Included(row)) if row < start => Bound::Included(start),
        Some(after) => after,
        None => Bound::Included(start),
    };
    (from, end)
}

/// The bucket of a part's row.
pub(crate) fn bucket_of_part(row: &[u8]) -> Option<BucketId> {
    let (_, rest) = row.split_first()?;
    Some(BucketId(u64::from_be_bytes(*rest.split_first_chunk::<8>()?.0)))
}

/// A part of an upload.
pub(crate) fn part(bucket: BucketId, id: UploadId, number: u32) -> Vec<u8> {
    let mut row = of_id(PART, bucket);
    row.extend_from_slice(&id.0);
    row.extend_from_slice(&number.to_be_bytes());
    row
}

/// The upload and the part's number in the key of a part's row.
pub(crate) fn part_key(row: &[u8]) -> Result<(UploadId, u32), StoreError> {
    let read = || {
        let (id, number) = row.get(9..)?.split_first_chunk::<16>()?;
        Some((UploadId(*id), u32::from_be_bytes(number.try_into().ok()?)))
    };
    read().ok_or_else(|| StoreError::corrupt("the row of a part names no upload"))
}

/// Parts of an upload behind the one of this number.
pub(crate) fn parts(bucket: BucketId, id: UploadId, after: u32) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut all = of_id(PART, bucket);
    all.extend_from_slice(&id.0);
    (Bound::Excluded(part(bucket, id, after)), after_prefix(&all))
}

/// The migration of a bucket.
pub(crate) fn migration(bucket: BucketId) -> Vec<u8> {
    of_id(MIGRATION, bucket)
}

/// What a migration has noted of a key.
pub(crate) fn migration_note(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = of_id(NOTE, bucket);
    row.extend_from_slice(key.as_bytes());
    row
}

/// What a migration has noted of keys behind `after`.
pub(crate) fn migration_notes(bucket: BucketId, after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let all = of_id(NOTE, bucket);
    let from = after.map_or(Bound::Included(all.clone()), |key| Bound::Excluded(migration_note(bucket, key)));
    (from, after_prefix(&all))
}

/// Keys of rows, from and to.
pub(crate) type RowRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Numbers of rules are smaller: its row says that no inventory of the bucket is believed which began before it.
const NO_RULE: u16 = u16::MAX;

/// The inventory of a rule's shadow.
pub(crate) fn inventory(bucket: BucketId, rule: u16) -> Vec<u8> {
    let mut row = of_id(INVENTORY, bucket);
    row.extend_from_slice(&rule.to_be_bytes());
    row
}

/// What a change left that no inventory of the bucket knows of which began before it.
pub(crate) fn inventory_withdrawn(bucket: BucketId) -> Vec<u8> {
    inventory(bucket, NO_RULE)
}

/// All inventories of a bucket.
pub(crate) fn inventories(bucket: BucketId) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(of_id(INVENTORY, bucket)), Bound::Excluded(inventory_withdrawn(bucket)))
}

/// The rule in the key of an inventory's row.
pub(crate) fn inventory_rule(row: &[u8]) -> Result<u16, StoreError> {
    let raw = row.get(9..).and_then(|raw| raw.try_into().ok());
    raw.map(u16::from_be_bytes).ok_or_else(|| StoreError::corrupt("the row of an inventory names no rule"))
}

fn listed_of(bucket: BucketId, rule: u16, generation: u64) -> Vec<u8> {
    let mut row = of_id(LISTED, bucket);
    row.extend_from_slice(&rule.to_be_bytes());
    row.extend_from_slice(&generation.to_be_bytes());
    row
}

/// An object in a generation of an inventory, by its name at the origin.
pub(crate) fn listed(bucket: BucketId, rule: u16, generation: u64, name: &str) -> Vec<u8> {
    let mut row = listed_of(bucket, rule, generation);
    row.extend_from_slice(name.as_bytes());
    row
}

/// The name in the key of an object's row in an inventory.
pub(crate) fn listed_name(row: &[u8]) -> Result<String, StoreError> {
    let text = row.get(19..).and_then(|raw| std::str::from_utf8(raw).ok());
    text.map(str::to_owned).ok_or_else(|| StoreError::corrupt("an object of an inventory has no valid name"))
}

/// Objects of a generation whose names begin with `prefix`, behind `after`.
pub(crate) fn listed_range(
    bucket: BucketId,
    rule: u16,
    generation: u64,
    after: &str,
    prefix: &str,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = listed(bucket, rule, generation, prefix);
    let end = after_prefix(&start);
    let after = listed(bucket, rule, generation, after);
    (if after < start { Bound::Included(start) } else { Bound::Excluded(after) }, end)
}

/// Objects of an inventory in all generations but these, which are in order.
pub(crate) fn listed_besides(bucket: BucketId, rule: u16, generations: &[u64]) -> Vec<RowRange> {
    let mut all = of_id(LISTED, bucket);
    all.extend_from_slice(&rule.to_be_bytes());
    let end = after_prefix(&all);
    let mut from = Bound::Included(all);
    let mut ranges = Vec::with_capacity(generations.len() + 1);
    for generation in generations {
        let of = listed_of(bucket, rule, *generation);
        let behind = match after_prefix(&of) {
            Bound::Excluded(next) | Bound::Included(next) => Bound::Included(next),
            Bound::Unbounded => Bound::Excluded(of.clone()),
        };
        ranges.push((std::mem::replace(&mut from, behind), Bound::Excluded(of)));
    }
    ranges.push((from, end));
    ranges
}

/// All that inventories of a bucket have, and then the inventories themselves.
pub(crate) fn all_of_inventories(bucket: BucketId) -> [RowRange; 2] {
    [LISTED, INVENTORY].map(|family| {
        let all = of_id(family, bucket);
        let end = after_prefix(&all);
        (Bound::Included(all), end)
    })
}

/// The set of blocks that are kept of a key's object.
pub(crate) fn block_set(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = of_id(BLOCK_SET, bucket);
    row.extend_from_slice(key.as_bytes());
    row
}

/// The bucket and the object key in the key of a set's row; `None` for rows of other families.
pub(crate) fn block_set_of(row: &[u8]) -> Option<(BucketId, Result<Key, StoreError>)> {
    let (family, rest) = row.split_first()?;
    let (bucket, _) = rest.split_first_chunk::<8>()?;
    (*family == BLOCK_SET).then(|| (BucketId(u64::from_be_bytes(*bucket)), entry_key(row)))
}

/// Sets of a bucket, or of all buckets, behind the row `after`.
pub(crate) fn block_sets(of: Option<BucketId>, after: Option<Vec<u8>>) -> RowRange {
    all_behind(of.map_or_else(|| vec![BLOCK_SET], |bucket| of_id(BLOCK_SET, bucket)), after)
}

/// A block of a set.
pub(crate) fn block(bucket: BucketId, set: u128, number: u64) -> Vec<u8> {
    let mut row = blocks_of(bucket, set);
    row.extend_from_slice(&number.to_be_bytes());
    row
}

fn blocks_of(bucket: BucketId, set: u128) -> Vec<u8> {
    let mut row = of_id(BLOCK, bucket);
    row.extend_from_slice(&set.to_be_bytes());
    row
}

/// The bucket, the set and the number in the key of a block's row; `None` for rows of other families.
pub(crate) fn block_of(row: &[u8]) -> Option<(BucketId, u128, u64)> {
    let (family, rest) = row.split_first()?;
    let (bucket, rest) = rest.split_first_chunk::<8>()?;
    let (set, number) = rest.split_first_chunk::<16>()?;
    let number = number.try_into().ok()?;
    (*family == BLOCK).then(|| {
        (BucketId(u64::from_be_bytes(*bucket)), u128::from_be_bytes(*set), u64::from_be_bytes(number))
    })
}

/// Blocks of a set from this number on.
pub(crate) fn blocks_from(bucket: BucketId, set: u128, number: u64) -> RowRange {
    (Bound::Included(block(bucket, set, number)), after_prefix(&blocks_of(bucket, set)))
}

/// Behind the last block of a set.
pub(crate) fn behind_blocks(bucket: BucketId, set: u128) -> Vec<u8> {
    block(bucket, set, u64::MAX)
}

/// Blocks of a bucket, or of all buckets, behind the row `after`.
pub(crate) fn all_blocks(of: Option<BucketId>, after: Option<Vec<u8>>) -> RowRange {
    all_behind(of.map_or_else(|| vec![BLOCK], |bucket| of_id(BLOCK, bucket)), after)
}

fn all_behind(all: Vec<u8>, after: Option<Vec<u8>>) -> RowRange {
    let end = after_prefix(&all);
    (after.map_or(Bound::Included(all), Bound::Excluded), end)
}

/// All parts of a bucket, or of all buckets, from `after` on.
pub(crate) fn all_parts(of: Option<BucketId>, after: Option<Vec<u8>>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let all = of.map_or_else(|| vec![PART], |bucket| of_id(PART, bucket));
    let end = after_prefix(&all);
    (after.map_or(Bound::Included(all), Bound::Excluded), end)
}

/// The key of a small body, in its own table.
pub(crate) fn body(blob: BlobId) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(&blob.epoch.to_be_bytes());
    key.extend_from_slice(&blob.number.to_be_bytes());
    key
}

/// The row of an access key.
pub(crate) fn access_key(id: &str) -> Vec<u8> {
    of_text(ACCESS_KEY, id)
}

/// The row of an account.
pub(crate) fn account(id: &str) -> Vec<u8> {
    of_text(ACCOUNT, id)
}

/// Accounts behind `after`.
pub(crate) fn accounts(after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    family(ACCOUNT, after)
}

/// Access keys behind `after`.
pub(crate) fn access_keys(after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    family(ACCESS_KEY, after)
}

fn family(family: u8, after: Option<&str>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match after {
        Some(after) => Bound::Excluded(of_text(family, after)),
        None => Bound::Included(vec![family]),
    };
    (from, Bound::Excluded(vec![family + 1]))
}

/// The first key behind all that begin with `prefix`.
fn after_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// Whether a bucket's gate lets commits through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateState {
    Open,
    Closing,
}

impl GateState {
    pub(crate) fn encode(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Open => &[0],
            Self::Closing => &[1],
        })
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        match value {
            [0] => Ok(Self::Open),
            [1] => Ok(Self::Closing),
            _ => Err(StoreError::corrupt("the gate of a bucket has an unknown state")),
        }
    }
}

/// The value of a bucket's row, as JSON: few, and read by people in need.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) id: BucketId,
    pub(crate) created: Timestamp,
    pub(crate) settings: BucketSettings,
    #[serde(default)]
    pub(crate) configuration: BucketConfiguration,
}

/// A row that is kept as JSON.
pub(crate) fn to_json<T: Serialize>(row: &T) -> Result<Bytes, StoreError> {
    serde_json::to_vec(row).map(Bytes::from).map_err(|e| StoreError::corrupt(format!("unwritable row: {e}")))
}

/// Reads a row that is kept as JSON. The message never quotes the row: it may hold secrets.
pub(crate) fn from_json<T: for<'a> Deserialize<'a>>(what: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|e| {
        StoreError::corrupt(format!(
            "the row of {what} cannot be read (line {}, column {})",
            e.line(),
            e.column()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(range: &(Bound<Vec<u8>>, Bound<Vec<u8>>), key: &[u8]) -> bool {
        use std::ops::RangeBounds;
        range.contains(&key.to_vec())
    }

    #[test]
    fn a_range_of_entries_has_its_bucket_and_prefix_alone() {
        let bucket = BucketId(7);
        let cases = [
            (Bound::Unbounded, "", "a", true),
            (Bound::Unbounded, "a/", "a0", false),
            (Bound::Unbounded, "a/", "a/", true),
            (Bound::Excluded("a/"), "a/", "a/", false),
            (Bound::Included("a/b"), "a/", "a/a", false),
            (Bound::Excluded("Z"), "a/", "a/a", true),
            (Bound::Excluded("b"), "a/", "a/a", false),
            (Bound::Unbounded, "\u{10FFFF}", "\u{10FFFF}x", true),
        ];
        for (from, prefix, key, inside) in cases {
            let range = entries(bucket, from, prefix);
            assert_eq!(within(&range, &entry(bucket, key)), inside, "{from:?} {prefix} {key}");
            assert!(!within(&range, &entry(BucketId(8), key)) && !within(&range, &entry(BucketId(6), key)));
        }
        let last = entries(BucketId(u64::MAX), Bound::Unbounded, "");
        assert!(within(&last, &entry(BucketId(u64::MAX), "k")) && !within(&last, &gate(BucketId(0))));
    }

    #[test]
    fn generations_of_an_inventory_keep_apart() {
        let bucket = BucketId(7);
        let within_any =
            |ranges: &[RowRange], key: &[u8]| ranges.iter().filter(|range| within(range, key)).count();
        let ranges = listed_besides(bucket, 2, &[3, 5]);
        for (generation, is_besides) in [(0, 1), (2, 1), (3, 0), (4, 1), (5, 0), (6, 1), (u64::MAX, 1)] {
            for name in ["", "a", "\u{10FFFF}"] {
                let key = listed(bucket, 2, generation, name);
                assert_eq!(within_any(&ranges, &key), is_besides, "{generation} {name}");
                assert_eq!(listed_name(&key).unwrap(), name);
            }
        }
        for other in [listed(bucket, 1, 4, "a"), listed(bucket, 3, 4, "a"), listed(BucketId(8), 2, 4, "a")] {
            assert_eq!(within_any(&ranges, &other), 0);
        }
        assert_eq!(within_any(&listed_besides(bucket, 2, &[]), &listed(bucket, 2, u64::MAX, "a")), 1);
        let last = listed_besides(bucket, 2, &[u64::MAX]);
        assert_eq!(within_any(&last, &listed(bucket, 2, u64::MAX, "a")), 0);
        assert_eq!(within_any(&last, &listed(bucket, 3, 0, "a")), 0);
        let range = listed_range(bucket, 2, 3, "a/1", "a/");
        assert!(
            within(&range, &listed(bucket, 2, 3, "a/2")) && !within(&range, &listed(bucket, 2, 3, "a/1"))
        );
        assert!(
            !within(&range, &listed(bucket, 2, 3, "a0")) && !within(&range, &listed(bucket, 2, 4, "a/2"))
        );
        assert!(within(&inventories(bucket), &inventory(bucket, 63)));
        assert!(!within(&inventories(bucket), &inventory_withdrawn(bucket)));
        assert_eq!(inventory_rule(&inventory(bucket, 63)).unwrap(), 63);
    }

    #[test]
    fn keys_read_back() {
        let blob = BlobId { epoch: 3, number: u64::MAX };
        assert_eq!(counted(&count(blob)), Some(blob));
        assert_eq!(quarantined(&quarantine(blob)), Some(blob));
        assert_eq!(quarantined(&count(blob)), None);
        let (of, key) = entry_of(&entry(BucketId(5), "k")).unwrap();
        assert_eq!((of, key.unwrap().as_str()), (BucketId(5), "k"));
        assert!(entry_of(&gate(BucketId(5))).is_none());
        assert_eq!(entry_key(&entry(BucketId(1), "a\0b")).unwrap().as_str(), "a\0b");
        let name = BucketName::parse("abc").unwrap();
        assert_eq!(bucket_name(&bucket(&name)).unwrap(), name);
        assert_eq!(swept_id(&removed(BucketId(9))).unwrap(), BucketId(9));
        let at = block(BucketId(5), u128::MAX, 7);
        assert_eq!(
            (block_of(&at), block_of(&entry(BucketId(5), "k"))),
            (Some((BucketId(5), u128::MAX, 7)), None)
        );
        let (of, key) = block_set_of(&block_set(BucketId(5), "k")).unwrap();
        assert_eq!((of, key.unwrap().as_str()), (BucketId(5), "k"));
    }

    #[test]
    fn blocks_of_sets_keep_apart() {
        let bucket = BucketId(7);
        let of_set = blocks_from(bucket, 3, 2);
        let cases = [(3, 1, false), (3, 2, true), (3, u64::MAX, true), (2, 5, false), (4, 0, false)];
        for (set, number, inside) in cases {
            assert_eq!(within(&of_set, &block(bucket, set, number)), inside, "{set} {number}");
            assert!(!within(&of_set, &block(BucketId(8), set, number)));
            assert!(within(&all_blocks(Some(bucket), None), &block(bucket, set, number)));
        }
        assert!(within(&all_blocks(None, Some(behind_blocks(bucket, 3))), &block(bucket, 4, 0)));
        assert!(!within(&all_blocks(None, Some(behind_blocks(bucket, 3))), &block(bucket, 3, 9)));
    }
}

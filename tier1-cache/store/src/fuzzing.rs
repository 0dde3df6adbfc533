//! Parsers of the store for the fuzz targets alone (feature `fuzzing`): what is read here is on a disk, and no
//! caller of the store ever holds it. Not an interface: anything may change at any time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::ReadAt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blob::BlobId;
use crate::blobs::seal::{BlockSums, OpenBlob, checksum};
use crate::bucket_row::AccessKeyRow;
use crate::entry::{Entry, EntryState, Revision};
use crate::error::StoreError;
use crate::quarantine::QuarantineRow;
use crate::rows::{self, BucketRow, GateState};
use crate::scrub::ScrubRecord;
use crate::{bucket_row::BucketId, entry_code};

/// The bytes of an entry's row.
pub fn encode_entry(state: &EntryState, revision: Option<Revision>) -> Bytes {
    entry_code::encode(state, revision)
}

/// Reads what [`encode_entry`] writes.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub fn decode_entry(value: &[u8], version: u64) -> Result<Entry, StoreError> {
    entry_code::decode(value, version)
}

/// Reads the key of a row and writes what was read again; `None`: it is no key of a family that is read.
pub fn row_key_again(key: &[u8]) -> Option<Vec<u8>> {
    match key.first()? {
        b'b' => rows::bucket_name(key).ok().map(|name| rows::bucket(&name)),
        b'e' => {
            let (bucket, key) = rows::entry_of(key)?;
            key.ok().map(|key| rows::entry(bucket, key.as_str()))
        }
        b'f' => rows::counted(key).map(rows::count),
        b'o' => {
            let (bucket, key) = rows::intent_of(key)?;
            key.ok().map(|key| rows::intent(bucket, key.as_str()))
        }
        b'q' => rows::quarantined(key).map(rows::quarantine),
        b'x' => rows::swept_id(key).ok().map(rows::removed),
        b'd' => rows::swept_id(key).ok().map(rows::cleared),
        _ => None,
    }
}

/// Whether the entry of `key` lies in the range of entries with this prefix behind `after`.
pub fn in_entry_range(bucket: BucketId, after: &str, prefix: &str, key: &str) -> bool {
    use std::ops::{Bound, RangeBounds as _};
    let after = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
    rows::entries(bucket, after, prefix).contains(&rows::entry(bucket, key))
}

/// Reads the value of a row that is JSON, by the number of its kind, and writes what was read again.
pub fn json_row_again(kind: u8, value: &[u8]) -> Option<Bytes> {
    fn again<T: Serialize + DeserializeOwned>(value: &[u8]) -> Option<Bytes> {
        let row: T = rows::from_json("a fuzz target", value).ok()?;
        Some(rows::to_json(&row).expect("what was read can be written"))
    }
    match kind % 4 {
        0 => again::<BucketRow>(value),
        1 => again::<AccessKeyRow>(value),
        2 => again::<ScrubRecord>(value),
        _ => again::<QuarantineRow>(value),
    }
}

/// Reads the state of a gate and writes it again.
pub fn gate_again(value: &[u8]) -> Option<Bytes> {
    GateState::decode(value).ok().map(GateState::encode)
}

/// Reads these bytes as what can stand in a page of the index's bookkeeping, behind its checksums, and as an index.
pub fn read_books(widths: u8, bytes: &[u8]) {
    crate::kv::books::read_any(widths, bytes);
}

/// What a blob of these bytes is as a file.
pub fn seal(body: &[u8], id: BlobId) -> Vec<u8> {
    let mut sums = BlockSums::new();
    sums.update(body);
    [body, &sums.finish(id)].concat()
}

/// Puts the right checksum under a trailer that was changed, so that what lies behind the check is reached.
pub fn mend_trailer(file: &mut [u8]) {
    if let Some(trailer) = file.last_chunk_mut::<48>() {
        let sum = checksum(&trailer[..40]);
        trailer[40..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Reads the part of a sealed blob that `start..end` and its length have in common, and checks all of it.
///
/// # Errors
/// [`StoreError`]: [`StoreError::Corrupt`] for a file that is not the blob `id`.
pub fn read_blob(file: Vec<u8>, id: BlobId, start: u64, end: u64) -> Result<Bytes, StoreError> {
    let file_len = file.len() as u64;
    let blob = OpenBlob::open(Arc::new(Memory(file)), file_len, id)?;
    blob.check_sums()?;
    let mut block = 0;
    while blob.check(block, 3)? > 0 {
        block += 3;
    }
    let end = end.min(blob.len());
    if start < end { blob.read(start, end) } else { Ok(Bytes::new()) }
}

#[derive(Debug)]
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|from| self.0.get(from..));
        let bytes = from.and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

//! What is still to be done at the origin about a key: a row of the outbox.
//!
//! There is at most one for each key: the newest. It says what the origin shall have, in the words of an entry, and
//! holds a reference to the files that have its bytes. A small body is the entry's own, as long as the intent is about
//! the entry that is there; every commit that replaces the entry replaces the intent or takes it away.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use fallthrough_object::{ETag, Key, Timestamp};
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::bucket_row::BucketId;
use crate::entry::{EntryState, Revision, Stored};
use crate::entry_code;
use crate::error::StoreError;
use crate::kv::{Commit, Write};
use crate::mutants::{Mutant, planted};
use crate::objects::give_up;
use crate::rows;
use crate::store::{remove, when};

/// What was last seen of a key at its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Nobody has looked, or what was seen cannot be told from another object.
    #[default]
    Never,
    /// It was not there.
    Absent,
    /// An object with this strong ETag.
    Object(ETag),
}

/// What an intent knows besides what the origin shall have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct IntentRow {
    /// The revision of the key that it is about; `None`: the commit that wrote this row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// What was last seen of the key at the origin.
    pub seen: Seen,
    /// What else may be there by now: what earlier intents of this key sent without learning how it ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maybe: Vec<Seen>,
    /// How many fall-through stores the change had passed when it came here.
    #[serde(skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// Since when the origin has not had what is here.
    pub first: Timestamp,
    /// When it may be tried again.
    pub next: Timestamp,
    /// How often it was tried.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// It may have reached the origin: written down before it is sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
    /// The key itself still has what it had before: it gets this once the origin has it, or never.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prepared: bool,
    /// Not tried any more, until somebody says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
    /// What the origin will call the object, written down before it is completed there, if that is not what it is called
    /// here: a copy keeps the ETag of parts that it does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called: Option<ETag>,
    /// Uploads that were begun for it at the origin, and may be there still.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uploads: Vec<String>,
    /// How the last attempt failed, or why it is dead: without address and credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is to be done at the origin about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The bucket.
    pub bucket: BucketId,
    /// The key, as it is called here.
    pub key: Key,
    /// The object that the origin shall have; `None`: it shall have none.
    pub object: Option<Stored>,
    /// What else is known.
    pub row: IntentRow,
    /// The commit that wrote the row.
    pub version: u64,
}

impl Intent {
    /// The revision of the key that it is about.
    pub fn revision(&self) -> Revision {
        self.row.revision.unwrap_or(Revision(self.version))
    }

    /// Bytes of the object.
    pub fn size_bytes(&self) -> u64 {
        self.object.as_ref().map_or(0, |stored| stored.info.size_bytes)
    }

    /// Its row's value.
    pub(crate) fn encode(&self) -> Bytes {
        encode(&self.row, self.object.as_ref())
    }

    /// A commit that takes it away with its reference to its bytes, if it is still this one.
    pub(crate) fn ended(&self) -> Commit {
        let at = rows::intent(self.bucket, self.key.as_str());
        let mut writes = vec![remove(at.clone()), Write::Count { key: rows::waiting(self.bucket), by: -1 }];
        writes.extend(self.unpin());
        Commit { conditions: vec![when(at, Some(self.version))], writes, ..Commit::default() }
    }

    /// The writes that give up its reference to its bytes.
    pub(crate) fn unpin(&self) -> Vec<Write> {
        match self.object.as_ref().map(|stored| &stored.blob) {
            // Of what is prepared it is a body of its own, which no entry has yet.
            Some(BlobRef::Row(_)) if !self.row.prepared => Vec::new(),
            Some(blob) if self.row.prepared || !planted(Mutant::IntentUnpinned) => give_up(blob),
            Some(_) | None => Vec::new(),
        }
    }
}

/// The value of a row: length of the first part, u32le; what is known, JSON; what the origin shall have, an entry.
pub(crate) fn encode(row: &IntentRow, object: Option<&Stored>) -> Bytes {
    let state = object.map_or(EntryState::Tombstone, |stored| EntryState::Written(stored.clone()));
    let entry = entry_code::encode(&state, None);
    let known = serde_json::to_vec(row).expect("a row of text and numbers can be written");
    let mut value = BytesMut::with_capacity(4 + known.len() + entry.len());
    value.put_u32_le(u32::try_from(known.len()).expect("a row is short"));
    value.put_slice(&known);
    value.put_slice(&entry);
    value.freeze()
}

/// Reads what [`encode`] writes.
pub(crate) fn decode(bucket: BucketId, key: Key, value: &[u8], version: u64) -> Result<Intent, StoreError> {
    let corrupt = || StoreError::corrupt("the row of an intent cannot be read");
    let (len, rest) = value.split_first_chunk::<4>().ok_or_else(corrupt)?;
    let len = u32::from_le_bytes(*len) as usize;
    let (known, entry) = rest.split_at_checked(len).ok_or_else(corrupt)?;
    let row = rows::from_json("an intent", known)?;
    let object = match entry_code::decode(entry, version)?.state {
        EntryState::Written(stored) => Some(stored),
        EntryState::Tombstone => None,
        EntryState::Filled(..) | EntryState::Known(..) | EntryState::Absent { .. } => return Err(corrupt()),
    };
    Ok(Intent { bucket, key, object, row, version })
}

/// Reads a row of the outbox with its key.
pub(crate) fn read(at: &[u8], value: &[u8], version: u64) -> Result<Arc<Intent>, StoreError> {
    let (bucket, key) =
        rows::intent_of(at).ok_or_else(|| StoreError::corrupt("the row of an intent has no key"))?;
    Ok(Arc::new(decode(bucket, key?, value, version)?))
}

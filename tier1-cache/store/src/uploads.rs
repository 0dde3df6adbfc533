//! Multipart uploads on their way: what was asked for when each began, and the parts that came, durably.
//!
//! A part is a blob like any other, referred to by its row. Completing an upload hands the blobs on to the object in one
//! commit ([`Store::publish_parts`]): nothing is copied. An upload has ended when its row is gone; what is left of
//! its parts then is swept.

use std::fmt;
use std::sync::atomic::Ordering;

use fallthrough_object::{Acl, Checksum, ChecksumAlgorithm, ETag, Key, Meta, Tag, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::blob::{BlobId, PartBlob};
use crate::bucket_row::{Bucket, BucketId};
use crate::error::{CommitError, StoreError};
use crate::kv::{Commit, Refused, Table, Write};
use crate::rows;
use crate::staging::{Sealed, SealedBody};
use crate::store::{Store, put, remove, when};
use crate::sweep::SweepReport;

/// Rows that one commit removes.
const ROWS_PER_COMMIT: usize = 256;

/// Identifies an upload: when it began, and what nobody can guess. 32 hexadecimal digits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for UploadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not the id of an upload"))
    }
}

/// What was asked for when an upload began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct UploadRow {
    /// When it began.
    pub initiated: Timestamp,
    /// The account that began it.
    pub initiator: String,
    /// The object's headers.
    pub meta: Meta,
    /// The object's tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The object's owner, if that is not the bucket's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The object's ACL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// Where a website sends who asks for the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// The checksum that the object shall have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<ChecksumAlgorithm>,
    /// It shall cover the object's bytes; else the parts' checksums.
    pub checksum_of_whole: bool,
}

/// An upload that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// What the object will be called.
    pub key: Key,
    /// What was asked for.
    pub row: UploadRow,
    /// The commit that wrote it.
    pub(crate) version: u64,
}

/// A part of an upload, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// What is known of it.
    pub info: NewPart,
    blob: Option<BlobId>,
    /// The commit that wrote it.
    pub(crate) version: u64,
}

impl Part {
    /// Where its bytes are; `None` if it has none.
    pub(crate) fn blob(&self) -> Option<PartBlob> {
        self.blob.map(|id| PartBlob { id, size_bytes: self.info.size_bytes })
    }
}

/// What is known of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewPart {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// The checksums that were given with it and verified, or that the upload asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    /// When it came.
    pub last_modified: Timestamp,
}

impl NewPart {
    /// The ETag that clients are shown.
    pub fn etag(&self) -> ETag {
        ETag::from_md5(self.md5)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PartRow {
    /// The key of the upload's row needs it: a part whose upload has ended is found by one look-up.
    key: String,
    #[serde(flatten)]
    info: NewPart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<BlobId>,
}

/// The parts of an upload when it is completed: all that there are.
#[derive(Clone, Debug, Default)]
pub struct UploadedParts {
    /// Those that the object is made of, in order.
    pub listed: Vec<Part>,
    /// The others.
    pub unlisted: Vec<Part>,
}

impl Store {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`CommitError::Gate`]: the bucket is gone or has changed; the store's.
    ///
    /// # Cancellation
    /// It may or may not have begun.
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &Key,
        mut row: UploadRow,
    ) -> Result<Upload, CommitError> {
        let inner = &self.inner;
        let id = inner.new_upload();
        row.initiated = inner.clock.now();
        let at = rows::upload(bucket.id, key.as_str(), id);
        let commit = Commit {
            conditions: vec![when(rows::gate(bucket.id), Some(bucket.gate_version)), when(at.clone(), None)],
            writes: vec![put(at, rows::to_json(&row)?)],
            ..Commit::default()
        };
        match inner.commit(commit).await? {
            Ok(committed) => Ok(Upload { id, key: key.clone(), row, version: committed.version }),
            Err(0) => Err(CommitError::Gate),
            Err(_) => Err(CommitError::Conflict),
        }
    }

    /// An upload; `None` if there is none of this id for this key (any more).
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn upload(
        &self,
        bucket: BucketId,
        key: &Key,
        id: UploadId,
    ) -> Result<Option<Upload>, StoreError> {
        let at = rows::upload(bucket, key.as_str(), id);
        let Some(found) = self.inner.kv.get(Table::Rows, &at).await? else { return Ok(None) };
        let row = rows::from_json("an upload", &found.value)?;
        Ok(Some(Upload { id, key: key.clone(), row, version: found.version }))
    }

    /// Up to `limit` uploads on their way whose keys begin with `prefix`, in the order of keys and then of ids, behind
    /// an upload of a key or behind all uploads of it.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn uploads(
        &self,
        bucket: BucketId,
        prefix: &str,
        after: Option<(&str, Option<UploadId>)>,
        limit: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        let (from, to) = rows::uploads(bucket, prefix, after);
        let found = self.inner.kv.range(from, to, limit).await?;
        self.inner.listed_rows.fetch_add(found.len() as u64, Ordering::Relaxed);
        let read = |(at, found): (Vec<u8>, crate::kv::Row)| {
            let (key, id) = rows::upload_key(&at)?;
            let row = rows::from_json("an upload", &found.value)?;
            Ok(Upload { id, key, row, version: found.version })
        };
        found.into_iter().map(read).collect()
    }

    /// Keeps a part, replacing one of the same number; durable when this returns.
    ///
    /// # Errors
    /// [`CommitError::Conflict`]: the upload has ended; the store's.
    ///
    /// # Cancellation
    /// The commit was ordered when this returned; dropping the future does not undo it.
    pub async fn put_part(
        &self,
        bucket: BucketId,
        upload: &Upload,
        number: u32,
        info: NewPart,
        body: Sealed,
    ) -> Result<(), CommitError> {
        assert_eq!(info.size_bytes, body.len(), "a part has the length of its body");
        let inner = self.inner.clone();
        let at = rows::part(bucket, upload.id, number);
        let blob = match body.body() {
            SealedBody::File(id) => Some(*id),
            SealedBody::Memory(bytes) if bytes.is_empty() => None,
            SealedBody::Memory(_) => {
                let kind = std::io::Error::other("a part that is not in a file");
                return Err(StoreError::from(kind).into());
            }
        };
        if !body.take() {
            return Err(StoreError::unavailable("this body belongs to another object already").into());
        }
        let value = rows::to_json(&PartRow { key: upload.key.as_str().to_owned(), info, blob })?;
        loop {
            let before = inner.kv.get(Table::Rows, &at).await?;
            let mut commit = Commit {
                conditions: vec![
                    when(rows::upload(bucket, upload.key.as_str(), upload.id), Some(upload.version)),
                    when(at.clone(), before.as_ref().map(|row| row.version)),
                ],
                writes: vec![put(at.clone(), value.clone())],
                ..Commit::default()
            };
            if let Some(id) = blob {
                commit.writes.push(Write::Count { key: rows::count(id), by: 1 });
            }
            if let Some(before) = &before {
                let before: PartRow = rows::from_json("a part", &before.value)?;
                let old = before.blob.map(|id| Write::Count { key: rows::count(id), by: -1 });
                commit.writes.extend(old);
            }
            let (effects, given) = (inner.clone(), body.clone());
            let end = inner.order(commit, move |end| {
                match &end {
                    Ok(committed) => {
                        given.published();
                        effects.forget_all(committed);
                    }
                    // Nothing was written; what is in doubt stays taken.
                    Err(Refused::Condition(0) | Refused::Store(_)) => given.give_back(),
                    Err(Refused::Condition(_) | Refused::Doubt { .. }) => {}
                }
                end
            });
            match end.await? {
                Ok(_) => return Ok(()),
                Err(Refused::Condition(0)) => return Err(CommitError::Conflict),
                // Another part of this number came at the same time: the later one stands.
                Err(Refused::Condition(_)) => {}
                Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error.into()),
            }
        }
    }

    /// Up to `limit` parts of an upload in order, behind the one of this number.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn parts(
        &self,
        bucket: BucketId,
        id: UploadId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Part>, StoreError> {
        let (from, to) = rows::parts(bucket, id, after);
        let found = self.inner.kv.range(from, to, limit).await?;
        let read = |(at, found): (Vec<u8>, crate::kv::Row)| {
            let (_, number) = rows::part_key(&at)?;
            let PartRow { info, blob, .. } = rows::from_json("a part", &found.value)?;
            Ok(Part { number, info, blob, version: found.version })
        };
        found.into_iter().map(read).collect()
    }

    /// Ends an upload without an object. `false`: it had ended already.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have ended.
    pub async fn abort_upload(&self, bucket: BucketId, upload: &Upload) -> Result<bool, StoreError> {
        let at = rows::upload(bucket, upload.key.as_str(), upload.id);
        let commit = Commit {
            conditions: vec![when(at.clone(), Some(upload.version))],
            writes: vec![remove(at)],
            ..Commit::default()
        };
        let aborted = self.inner.commit(commit).await?.is_ok();
        self.discard_parts(bucket, upload.id).await?;
        Ok(aborted)
    }

    /// Removes what parts there are of an upload that has ended; how many there were.
    ///
    /// # Errors
    /// [`StoreError`]: those that are left are removed by the sweep of a later start.
    ///
    /// # Cancellation
    /// As with an error.
    pub async fn discard_parts(&self, bucket: BucketId, id: UploadId) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let (from, to) = rows::parts(bucket, id, 0);
            let found = self.inner.kv.range(from, to, ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok(removed);
            }
            removed += self.discard(found).await?;
        }
    }

    /// Removes rows of parts with their blobs; how many, or 0 if another was faster.
    async fn discard(&self, found: crate::kv::Keyed) -> Result<u64, StoreError> {
        let mut commit = Commit::default();
        let rows = found.len() as u64;
        for (at, row) in found {
            let PartRow { blob, .. } = rows::from_json("a part", &row.value)?;
            commit.conditions.push(when(at.clone(), Some(row.version)));
            commit.writes.push(remove(at));
            commit.writes.extend(blob.map(|id| Write::Count { key: rows::count(id), by: -1 }));
        }
        let effects = self.inner.clone();
        let end = self.inner.order(commit, move |end| {
            if let Ok(committed) = &end {
                effects.forget_all(committed);
            }
            end
        });
        match end.await? {
            Ok(_) => Ok(rows),
            Err(Refused::Condition(_)) => Ok(0),
            Err(Refused::Store(error) | Refused::Doubt { error, .. }) => Err(error),
        }
    }

    /// Ends all uploads of a bucket that is gone.
    pub(crate) async fn discard_uploads(&self, bucket: BucketId) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let (from, to) = rows::uploads(bucket, "", None);
            let found = self.inner.kv.range(from, to, ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                break;
            }
            let rows = found.len() as u64;
            let mut commit = Commit::default();
            for (at, row) in found {
                commit.conditions.push(when(at.clone(), Some(row.version)));
                commit.writes.push(remove(at));
            }
            if self.inner.commit(commit).await?.is_ok() {
                removed += rows;
            }
        }
        loop {
            let (from, to) = rows::all_parts(Some(bucket), None);
            let found = self.inner.kv.range(from, to, ROWS_PER_COMMIT).await?;
            if found.is_empty() {
                return Ok(removed);
            }
            removed += self.discard(found).await?;
        }
    }

    /// Removes parts whose upload has ended: a crash came between the two. Two reads for each upload with parts.
    pub(crate) async fn sweep_parts(&self, report: &mut SweepReport) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let (from, to) = rows::all_parts(None, after);
            let Some((at, first)) = self.inner.kv.range(from, to, 1).await?.pop() else { return Ok(()) };
            let bucket = rows::bucket_of_part(&at)
                .ok_or_else(|| StoreError::corrupt("the row of a part names no bucket"))?;
            let (id, _) = rows::part_key(&at)?;
            let PartRow { key, .. } = rows::from_json("a part", &first.value)?;
            if self.inner.kv.get(Table::Rows, &rows::upload(bucket, &key, id)).await?.is_none() {
                report.uploads_removed += self.discard_parts(bucket, id).await?;
            }
            // On behind all parts of this upload.
            after = Some(rows::part(bucket, id, u32::MAX));
        }
    }
}

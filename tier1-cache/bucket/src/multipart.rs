//! Multipart uploads: begun, brought in parts that are durable one by one, and completed by one commit.

use std::sync::{Arc, OnceLock};

use fallthrough_object::{Body, BodyError, Checksum, ChecksumAlgorithm, ETag, Key, Meta};
use fallthrough_store::{
    Bucket, CommitError, NewPart, ObjectInfo, Part, PartChecksums, StoreError, Upload, UploadId, UploadRow,
    UploadedParts,
};
use fallthrough_wire::conditions::WriteConditions;
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, can_combine, combined, composite, multipart_etag};

use crate::api::{Attributes, BucketError, Caller};
use crate::core::commit::MAX_CONFLICTS;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fetch::whole_secs;
use crate::guard::Guard;
use crate::ledger::Change;
use crate::put::{bad, receive};

/// The highest number that a part may have.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// The smallest part that is not the last, as S3 has it: 5 MiB.
pub(crate) const PART_BYTES_MIN: u64 = 5 << 20;
/// The largest object: 50 TiB would be S3's newest limit; 5 TiB is what clients know.
pub(crate) const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// What an upload is begun with.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The object's key.
    pub key: Key,
    /// The account that begins it.
    pub initiator: String,
    /// The object's headers.
    pub meta: Meta,
    /// What else the object gets.
    pub attributes: Attributes,
    /// The checksum that it shall have.
    pub checksum: Option<ChecksumAlgorithm>,
    /// The checksum shall cover the object's bytes; else the parts' checksums.
    pub checksum_of_whole: bool,
}

/// A part on its way.
pub struct PutPart {
    /// The object's key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// 1 to [`PART_NUMBER_MAX`].
    pub number: u32,
    /// Its bytes. The stream ends with an error if a promise was not kept; nothing is stored then.
    pub body: Body,
    /// How many bytes the client promised.
    pub length_bytes: Option<u64>,
    /// Content-MD5, to be verified here.
    pub content_md5: Option<[u8; 16]>,
    /// Checksums that were verified, or computed, along the body's way; complete once the body has ended.
    pub checksums: Arc<OnceLock<Vec<Checksum>>>,
}

impl std::fmt::Debug for PutPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutPart")
            .field("key", &self.key)
            .field("upload", &self.upload)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A part as the client lists it when it completes an upload.
#[derive(Clone, Debug)]
pub struct ListedPart {
    /// Its number.
    pub number: u32,
    /// The ETag that it was given.
    pub etag: Option<ETag>,
    /// Its checksums, as far as the client says them.
    pub checksums: Vec<Checksum>,
}

/// What an upload is completed with.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The object's key.
    pub key: Key,
    /// The upload.
    pub upload: UploadId,
    /// The parts that the object is made of, in the order given.
    pub parts: Vec<ListedPart>,
    /// Conditions on what is at the key.
    pub conditions: WriteConditions,
    /// The object's checksum as the client computed it; its kind is not looked at.
    pub checksum: Option<Checksum>,
    /// The object's length as the client computed it.
    pub size_bytes: Option<u64>,
}

impl Engine {
    /// Begins an upload; durable when this returns.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`], [`BucketError::Conflict`]; the store's.
    ///
    /// # Cancellation
    /// It may or may not have begun.
    pub async fn create_upload(
        &self,
        bucket: &Arc<Bucket>,
        request: NewUpload,
    ) -> Result<UploadId, BucketError> {
        let Attributes { tags, owner, acl, website_redirect } = request.attributes;
        let row = UploadRow {
            initiator: request.initiator,
            meta: request.meta,
            tags,
            owner,
            acl,
            website_redirect,
            checksum: request.checksum,
            checksum_of_whole: request.checksum_of_whole,
            ..UploadRow::default()
        };
        let mut bucket = bucket.clone();
        for _ in 0..MAX_CONFLICTS {
            match self.inner.store.create_upload(&bucket, &request.key, row.clone()).await {
                Ok(upload) => return Ok(upload.id),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Gate) => {
                    let now = self.bucket(&bucket.name).await?;
                    if now.id != bucket.id {
                        return Err(BucketError::NoSuchBucket(bucket.name.clone()));
                    }
                    bucket = now;
                }
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        Err(BucketError::Conflict)
    }

    /// An upload that is on its way.
    ///
    /// # Errors
    /// [`BucketError::NoSuchUpload`]; the store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn upload(&self, bucket: &Bucket, key: &Key, id: UploadId) -> Result<Upload, BucketError> {
        self.inner.store.upload(bucket.id, key, id).await?.ok_or(BucketError::NoSuchUpload)
    }

    /// The parts of an upload in order, behind the one of this number.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn parts(
        &self,
        bucket: &Bucket,
        upload: UploadId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Part>, BucketError> {
        Ok(self.inner.store.parts(bucket.id, upload, after, limit).await?)
    }

    /// Keeps a part, replacing one of the same number; durable when this returns.
    ///
    /// # Errors
    /// [`BucketError::BadBody`], [`BucketError::NoSuchUpload`]; the store's. Nothing is stored then.
    ///
    /// # Cancellation
    /// Dropping it before the commit was ordered leaves nothing; after that the part stands.
    pub async fn put_part(&self, bucket: &Arc<Bucket>, request: PutPart) -> Result<NewPart, BucketError> {
        let upload = self.upload(bucket, &request.key, request.upload).await?;
        // Parts count when they are an object. One that could never be part of any is not taken.
        drop(self.keep_quota(bucket, &request.key, request.length_bytes.unwrap_or(0)).await?);
        let mut staging = self.inner.store.stage(request.length_bytes)?;
        let md5 = receive(&self.inner.store, &mut staging, request.body, request.length_bytes).await?;
        if request.content_md5.is_some_and(|promised| promised != md5) {
            return Err(bad(BodyError::Mismatch { what: "Content-MD5" }));
        }
        let part = NewPart {
            size_bytes: staging.len(),
            md5,
            checksums: request.checksums.get().cloned().unwrap_or_default(),
            last_modified: whole_secs(self.inner.clock.now()),
        };
        let body = staging.seal_part().await?;
        match self.inner.store.put_part(bucket.id, &upload, request.number, part.clone(), body).await {
            Ok(()) => Ok(part),
            // It was completed or aborted meanwhile.
            Err(CommitError::Conflict | CommitError::Gate) => Err(BucketError::NoSuchUpload),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Ends an upload without an object.
    ///
    /// # Errors
    /// [`BucketError::NoSuchUpload`]; the store's.
    ///
    /// # Cancellation
    /// It may or may not have ended.
    pub async fn abort_upload(
        &self,
        bucket: &Arc<Bucket>,
        key: &Key,
        id: UploadId,
    ) -> Result<(), BucketError> {
        let upload = self.upload(bucket, key, id).await?;
        match self.inner.store.abort_upload(bucket.id, &upload).await? {
            true => Ok(()),
            false => Err(BucketError::NoSuchUpload),
        }
    }

    /// Makes an object of the parts of an upload; durable when this returns. Done again for the object that is still
    /// there, it changes nothing and says the same.
    ///
    /// # Errors
    /// [`BucketError::NoSuchUpload`], [`BucketError::InvalidPart`], [`BucketError::InvalidPartOrder`],
    /// [`BucketError::PartTooSmall`], [`BucketError::TooLarge`], [`BucketError::BadBody`] (the object's checksum is
    /// another), [`BucketError::WrongLength`]; those of conditions, as [`Engine::put`]; the store's. The upload
    /// stays.
    ///
    /// # Cancellation
    /// It may or may not have been completed; never in part.
    pub async fn complete_upload(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: Completion,
    ) -> Result<Arc<ObjectInfo>, BucketError> {
        let refused = match self.try_complete(bucket, caller, &request).await {
            Err(
                error @ (BucketError::InvalidPart { .. }
                | BucketError::PartTooSmall { .. }
                | BucketError::WrongLength { .. }
                | BucketError::BadBody(_)
                | BucketError::PreconditionFailed),
            ) => error,
            settled => return settled,
        };
        // Somebody may have completed it in between: then its parts are gone, or the object is there already.
        match self.inner.store.upload(bucket.id, &request.key, request.upload).await? {
            None => self.completed_before(bucket, &request).await,
            Some(_) => Err(refused),
        }
    }

    async fn try_complete(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: &Completion,
    ) -> Result<Arc<ObjectInfo>, BucketError> {
        let conditions = match planted(Mutant::CompletedUnconditionally) {
            true => WriteConditions::default(),
            false => request.conditions.clone(),
        };
        let guard = Guard::new(self, bucket, caller, &request.key, conditions);
        for _ in 0..MAX_CONFLICTS {
            let Some(upload) = self.inner.store.upload(bucket.id, &request.key, request.upload).await? else {
                return self.completed_before(bucket, request).await;
            };
            if request.parts.windows(2).any(|pair| pair[0].number > pair[1].number) {
                return Err(BucketError::InvalidPartOrder);
            }
            let there = self.inner.store.parts(bucket.id, upload.id, 0, PART_NUMBER_MAX as usize + 1).await?;
            let parts = choose(there, &request.parts, self.inner.options.part_bytes_min)?;
            let info = self.assembled(&upload, &parts, request)?;
            let early = guard.judge_now().await?;
            let (upload, parts) = (Arc::new(upload), Arc::new(parts));
            let size_bytes = info.size_bytes;
            let room = self.keep_quota(bucket, &request.key, size_bytes).await?;
            let change = Change::Join(Box::new(info), upload.clone(), parts);
            match self.change_in_quota(&guard, early, room, size_bytes, |_, _| Ok(change.clone())).await {
                Ok(entry) => {
                    let stored = entry.as_deref().and_then(|entry| entry.state.stored());
                    let info = stored.map(|stored| stored.info.clone()).ok_or(BucketError::Conflict)?;
                    // Parts that came while it was completed. What is left of them now is swept at the next start.
                    if let Err(error) = self.inner.store.discard_parts(bucket.id, upload.id).await {
                        tracing::warn!(%error, "parts of a completed upload are left over");
                    }
                    return Ok(info);
                }
                // A part was replaced, or somebody else completed it: look again.
                Err(BucketError::Unavailable(error)) if matches!(*error, StoreError::Superseded) => {}
                Err(error) => return Err(error),
            }
        }
        Err(BucketError::Conflict)
    }

    /// The upload is gone. If the object was made of it, and of these parts, that is what is answered.
    async fn completed_before(
        &self,
        bucket: &Bucket,
        request: &Completion,
    ) -> Result<Arc<ObjectInfo>, BucketError> {
        let entry = self.inner.store.lookup(bucket.id, &request.key).await?;
        let info = entry.as_deref().and_then(|entry| entry.state.stored()).map(|stored| &stored.info);
        info.filter(|info| info.upload == Some(request.upload) || planted(Mutant::CompletedTwice))
            .cloned()
            .ok_or(BucketError::NoSuchUpload)
    }

    fn assembled(
        &self,
        upload: &Upload,
        parts: &UploadedParts,
        request: &Completion,
    ) -> Result<ObjectInfo, BucketError> {
        let listed = &parts.listed;
        let size_bytes = listed.iter().map(|part| part.info.size_bytes).sum();
        if size_bytes > OBJECT_BYTES_MAX {
            return Err(BucketError::TooLarge { max_bytes: OBJECT_BYTES_MAX });
        }
        if request.size_bytes.is_some_and(|promised| promised != size_bytes) {
            return Err(BucketError::WrongLength { size_bytes });
        }
        // An upload that was begun without one gets the checksum that its client gives now, if its parts can tell it, or the
        // default one.
        let promised = request.checksum.as_ref().map(|sum| sum.algorithm);
        let algorithm = upload.row.checksum.or(promised).unwrap_or(DEFAULT_CHECKSUM);
        let of_whole = match upload.row.checksum {
            Some(_) => upload.row.checksum_of_whole,
            None => can_combine(algorithm) && !planted(Mutant::DefaultSumIsComposite),
        };
        let sums: Option<Vec<_>> =
            listed.iter().map(|part| Some((sum_of(part, algorithm)?, part.info.size_bytes))).collect();
        let checksum = sums.and_then(|sums| match of_whole {
            true => combined(algorithm, sums.into_iter()),
            false => composite(algorithm, sums.into_iter().map(|(sum, _)| sum)),
        });
        if request.checksum.is_some() && upload.row.checksum.is_none() && checksum.is_none() {
            let what = "the checksum of an object whose parts came without one";
            return Err(BucketError::NotOffered { what });
        }
        if let Some(promised) = &request.checksum
            && !planted(Mutant::WholeChecksumUnchecked)
            && checksum
                .as_ref()
                .is_none_or(|made| made.algorithm != promised.algorithm || made.value != promised.value)
        {
            return Err(bad(BodyError::Mismatch { what: "checksum of the object" }));
        }
        let row = upload.row.clone();
        Ok(ObjectInfo {
            etag: Some(multipart_etag(listed.iter().map(|part| &part.info.md5))),
            size_bytes,
            last_modified: whole_secs(self.inner.clock.now()),
            meta: row.meta,
            checksums: checksum.into_iter().collect(),
            md5: None,
            part_sizes: listed.iter().map(|part| part.info.size_bytes).collect(),
            part_checksums: upload.row.checksum.and_then(|algorithm| part_checksums(listed, algorithm)),
            upload: Some(upload.id),
            tags: row.tags,
            tags_behind: None,
            owner: row.owner,
            acl: row.acl,
            website_redirect: row.website_redirect,
        })
    }
}

fn sum_of(part: &Part, algorithm: ChecksumAlgorithm) -> Option<&[u8]> {
    part.info.checksums.iter().find(|sum| sum.algorithm == algorithm).map(|sum| sum.value.as_slice())
}

fn part_checksums(parts: &[Part], algorithm: ChecksumAlgorithm) -> Option<PartChecksums> {
    let mut values = Vec::with_capacity(parts.len() * algorithm.len_bytes());
    for part in parts {
        values.extend_from_slice(sum_of(part, algorithm)?);
    }
    Some(PartChecksums { algorithm, values })
}

/// The parts that were listed, each as it was given, and the others. All but the last have at least `bytes_min`.
fn choose(there: Vec<Part>, listed: &[ListedPart], bytes_min: u64) -> Result<UploadedParts, BucketError> {
    let mut parts = UploadedParts::default();
    // Of a part that is listed several times, the last one counts.
    let again =
        |(at, part): &(usize, &ListedPart)| listed.get(at + 1).is_none_or(|next| next.number != part.number);
    let mut wanted = listed.iter().enumerate().filter(again).map(|(_, part)| part).peekable();
    for part in there {
        match wanted.peek() {
            Some(next) if next.number == part.number => {
                let etag = part.info.etag();
                let same_tag = next.etag.as_ref().is_none_or(|given| given.value() == etag.value());
                let same_sums = next.checksums.iter().all(|given| {
                    sum_of(&part, given.algorithm).is_some_and(|sum| sum == given.value.as_slice())
                });
                if (!same_tag || !same_sums) && !planted(Mutant::AnyPartWillDo) {
                    return Err(BucketError::InvalidPart { number: part.number });
                }
                wanted.next();
                parts.listed.push(part);
            }
            // A listed part that is not there.
            Some(next) if next.number < part.number => {
                return Err(BucketError::InvalidPart { number: next.number });
            }
            Some(_) | None => parts.unlisted.push(part),
        }
    }
    if planted(Mutant::PartsAsTheyCame) {
        parts.listed.sort_by_key(|part| (part.info.last_modified, part.info.md5));
    }
    if let Some(missing) = wanted.next() {
        return Err(BucketError::InvalidPart { number: missing.number });
    }
    let too_small = parts.listed.iter().rev().skip(1).find(|part| part.info.size_bytes < bytes_min);
    match too_small.filter(|_| !planted(Mutant::SmallPartsTaken)) {
        Some(part) => Err(BucketError::PartTooSmall {
            number: part.number,
            size_bytes: part.info.size_bytes,
            etag: part.info.etag(),
            bytes_min,
        }),
        None => Ok(parts),
    }
}

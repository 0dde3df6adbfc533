//! COPY of an object: by reference where its bytes are in files, and never through the client.

use std::sync::Arc;

use fallthrough_object::{Body, ByteRange, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Key, Meta};
use fallthrough_store::{Bucket, Entry, EntryState, NewState, ObjectInfo, StoreError, Stored};
use fallthrough_wire::conditions::{Conditions, Verdict, WriteConditions};
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, DigestSet, Digests, combined};
use futures::StreamExt as _;

use crate::api::{Admission, Attributes, BucketError, Caller};
use crate::core::commit::MAX_CONFLICTS;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fetch::whole_secs;
use crate::guard::Guard;
use crate::ledger::{Change, Source};

/// The largest object that one COPY takes: 5 GiB.
pub const COPY_BYTES_MAX: u64 = 5 << 30;

/// Where a copy comes from.
#[derive(Clone, Debug)]
pub struct CopySource {
    /// Its bucket.
    pub bucket: Arc<Bucket>,
    /// Its key.
    pub key: Key,
    /// Conditions on it: `x-amz-copy-source-if-…`.
    pub conditions: Conditions,
}

/// A copy of one object.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// What is copied.
    pub source: CopySource,
    /// The key of the copy.
    pub key: Key,
    /// New headers; `None`: the source's.
    pub meta: Option<Meta>,
    /// New tags; `None`: the source's.
    pub tags: Option<Vec<fallthrough_object::Tag>>,
    /// The checksum that the copy shall have; `None`: those that tell of all of the source's bytes.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What else the copy gets; its tags are not looked at.
    pub attributes: Attributes,
    /// Conditions on what is at the copy's key.
    pub conditions: WriteConditions,
}

impl Engine {
    /// The object that is copied from, whole and here: a cold one is filled first. Its conditions hold.
    async fn source(
        &self,
        caller: &Caller,
        source: &CopySource,
        admission: Admission<'_>,
    ) -> Result<(Arc<Entry>, Stored), BucketError> {
        for _ in 0..MAX_CONFLICTS {
            self.have_here(&source.bucket, caller, &source.key, admission).await?;
            let entry = self.inner.store.lookup(source.bucket.id, &source.key).await?;
            let Some(entry) = entry else { continue };
            let (EntryState::Written(stored) | EntryState::Filled(stored, _)) = &entry.state else {
                continue;
            };
            if !(admission.object)(&stored.info) {
                return Err(BucketError::Denied);
            }
            let stored = stored.clone();
            let (etag, modified) = (stored.info.etag.as_ref(), Some(stored.info.last_modified));
            // As on a read, but for the answer: a copy of what is not modified is refused.
            return match source.conditions.evaluate(etag, modified, true) {
                Verdict::Proceed => Ok((entry, stored)),
                _ if planted(Mutant::SourceConditionsIgnored) => Ok((entry, stored)),
                Verdict::NotModified | Verdict::PreconditionFailed => Err(BucketError::PreconditionFailed),
            };
        }
        Err(BucketError::Conflict)
    }

    /// Copies an object that `admission` admits; durable when this returns. The bytes of a copy are those of its source
    /// at one moment.
    ///
    /// # Errors
    /// As [`Engine::get_admitted`] for the source, [`BucketError::PreconditionFailed`] for both, and as
    /// [`Engine::put`] for the copy; [`BucketError::TooLarge`].
    ///
    /// # Cancellation
    /// It may or may not have been made; never in part.
    pub async fn copy(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: CopyRequest,
        admission: Admission<'_>,
    ) -> Result<Arc<ObjectInfo>, BucketError> {
        let source = &request.source;
        let guard = Guard::new(self, bucket, caller, &request.key, request.conditions.clone());
        let mut early = guard.judge_now().await?;
        for _ in 0..MAX_CONFLICTS {
            let (entry, stored) = self.source(caller, source, admission).await?;
            if stored.info.size_bytes > COPY_BYTES_MAX {
                return Err(BucketError::TooLarge { max_bytes: COPY_BYTES_MAX });
            }
            let is_tagged = !stored.info.tags.is_empty() || stored.info.tags_behind.is_some();
            if request.tags.is_none() && is_tagged && !(admission.tags)(&stored.info) {
                return Err(BucketError::Denied);
            }
            let tags_behind = match (&request.tags, stored.info.tags_behind) {
                (None, Some(_)) => {
                    Some(self.tags_behind(&source.bucket, caller, &source.key, &stored.info).await?)
                }
                (Some(_), _) | (None, None) => None,
            };
            let small = matches!(stored.blob, fallthrough_store::BlobRef::Row(_));
            let checksums = match self.checksums(&stored, request.checksum, small).await {
                Ok(checksums) => checksums,
                Err(BucketError::Unavailable(error)) if matches!(*error, StoreError::Superseded) => continue,
                Err(error) => return Err(error),
            };
            let mut info = ObjectInfo { checksums, ..self.copied(&stored.info, &request) };
            info.tags = tags_behind.unwrap_or(info.tags);
            let to_itself = source.bucket.id == bucket.id && source.key == request.key;
            let change = if to_itself {
                None
            } else if small {
                let body = match self.inner.store.open_body(&stored, whole(&stored)).await {
                    Ok(body) => body,
                    Err(StoreError::Superseded) => continue,
                    Err(error) => return Err(error.into()),
                };
                Some(self.anew(info.clone(), body).await?)
            } else {
                let of = Source { bucket: source.bucket.id, key: source.key.clone(), entry: entry.clone() };
                Some(Change::Copy(Box::new(info.clone()), of))
            };
            let room = self.keep_quota(bucket, &request.key, info.size_bytes).await?;
            let committed = self
                .change_in_quota(&guard, early.take(), room, info.size_bytes, |_, row| match &change {
                    Some(change) => Ok(change.clone()),
                    None if row.is_some_and(|row| row.row_version == entry.row_version) => {
                        Ok(Change::Amend(Box::new(info.clone())))
                    }
                    None => Err(BucketError::Unavailable(Arc::new(StoreError::Superseded))),
                })
                .await;
            match committed {
                Ok(_) => return Ok(Arc::new(info)),
                // The source was overwritten or deleted meanwhile: what it is now is copied.
                Err(BucketError::Unavailable(error)) if matches!(*error, StoreError::Superseded) => {}
                Err(error) => return Err(error),
            }
        }
        Err(BucketError::Conflict)
    }

    /// The checksums of a copy, which is one part: those of the source that cover all of its bytes, or what those of its
    /// parts make of the whole. One that is asked for and that the source has not is computed from its bytes; so is the
    /// default one where the bytes are in the row (`small`), and read in any case. Nothing else has a copy read: it is made
    /// by reference.
    async fn checksums(
        &self,
        of: &Stored,
        wanted: Option<ChecksumAlgorithm>,
        small: bool,
    ) -> Result<Vec<Checksum>, BucketError> {
        let of_whole = of.info.checksums.iter().filter(|sum| sum.kind == ChecksumKind::FullObject);
        let mut known: Vec<_> = of_whole.cloned().collect();
        known.extend(of_parts(&of.info).filter(|sum| known.iter().all(|had| had.algorithm != sum.algorithm)));
        let wanted = match wanted {
            Some(wanted) => wanted,
            None if known.is_empty() && small => DEFAULT_CHECKSUM,
            None => return Ok(known),
        };
        if let Some(known) = known.into_iter().find(|sum| sum.algorithm == wanted) {
            return Ok(vec![known]);
        }
        let body = self.inner.store.open_body(of, whole(of)).await?;
        let mut pieces = self.inner.store.pieces(body);
        let mut digests = Digests::new(DigestSet::none().and(wanted));
        let mut left = of.info.size_bytes;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| BucketError::Damaged)?;
            left = left.saturating_sub(piece.len() as u64);
            digests.update(&piece);
        }
        if left > 0 {
            return Err(BucketError::Damaged);
        }
        Ok(digests.finish().checksums)
    }

    fn copied(&self, of: &ObjectInfo, request: &CopyRequest) -> ObjectInfo {
        let attributes = request.attributes.clone();
        let is_of_parts = of.etag.as_ref().is_some_and(ETag::is_of_parts);
        ObjectInfo {
            last_modified: whole_secs(self.inner.clock.now()),
            meta: request.meta.clone().unwrap_or_else(|| of.meta.clone()),
            tags: (request.tags.clone().filter(|_| !planted(Mutant::CopyKeepsTags)))
                .unwrap_or_else(|| of.tags.clone()),
            owner: attributes.owner,
            acl: attributes.acl,
            website_redirect: attributes.website_redirect,
            upload: of.upload.filter(|_| planted(Mutant::CopyKeepsUpload)),
            // It keeps the ETag of parts, and is one: no provider is to be asked where they begin.
            part_sizes: if is_of_parts { vec![of.size_bytes] } else { Vec::new() },
            part_checksums: None,
            tags_behind: None,
            ..of.clone()
        }
    }

    /// A small body under another name: it has one reference, so the copy has bytes of its own.
    async fn anew(&self, info: ObjectInfo, body: Body) -> Result<Change, BucketError> {
        let mut staging = self.inner.store.stage(Some(info.size_bytes))?;
        crate::put::receive(&self.inner.store, &mut staging, body, Some(info.size_bytes)).await?;
        Ok(Change::Publish(NewState::Written(info), staging.seal().await?))
    }

    /// The bytes of a range of an object that is copied from, and what is known of the object.
    ///
    /// # Errors
    /// As [`Engine::copy`] for the source; [`BucketError::RangeNotSatisfiable`] unless all of `range` (half-open, in bytes) is
    /// in the object.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn copy_range(
        &self,
        caller: &Caller,
        source: &CopySource,
        range: Option<ByteRange>,
        admission: Admission<'_>,
    ) -> Result<(Arc<ObjectInfo>, Body, u64), BucketError> {
        for _ in 0..MAX_CONFLICTS {
            let (_, stored) = self.source(caller, source, admission).await?;
            let size_bytes = stored.info.size_bytes;
            let range = range.unwrap_or(ByteRange::whole(size_bytes));
            if range.end > size_bytes || range.start > range.end {
                return Err(BucketError::RangeNotSatisfiable { size_bytes: Some(size_bytes) });
            }
            if range.len() > COPY_BYTES_MAX {
                return Err(BucketError::TooLarge { max_bytes: COPY_BYTES_MAX });
            }
            match self.inner.store.open_body(&stored, range).await {
                Ok(body) => return Ok((stored.info, body, range.len())),
                Err(StoreError::Superseded) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BucketError::Conflict)
    }
}

/// The checksum of the whole that those of an object's parts tell.
fn of_parts(info: &ObjectInfo) -> Option<Checksum> {
    let sums = info.part_checksums.as_ref()?;
    let values = sums.values.chunks_exact(sums.algorithm.len_bytes());
    let is_whole = values.len() == info.part_sizes.len();
    is_whole.then(|| combined(sums.algorithm, values.zip(info.part_sizes.iter().copied()))).flatten()
}

fn whole(stored: &Stored) -> ByteRange {
    ByteRange::whole(stored.info.size_bytes)
}

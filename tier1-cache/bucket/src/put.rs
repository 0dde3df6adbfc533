//! PUT of an object: staged while it arrives, verified, then committed durably before it is acknowledged.

use std::sync::Arc;

use fallthrough_object::{Body, BodyError, ETag};
use fallthrough_store::{Bucket, NewState, ObjectInfo, Staging, Store};
use fallthrough_wire::digest::{DigestSet, Digests};
use futures::StreamExt as _;

use crate::api::{BucketError, Caller, PutOutcome, PutRequest};
use crate::engine::Engine;
use crate::fetch::whole_secs;
use crate::guard::Guard;
use crate::ledger::Change;

impl Engine {
    /// PUT of an object. When this returns, the object is durable: its bytes, then its entry, are synced.
    ///
    /// # Errors
    /// [`BucketError::BadBody`] if the body broke off or a promise about it was not kept;
    /// [`BucketError::PreconditionFailed`], [`BucketError::NoSuchKey`]; [`BucketError::QuotaExceeded`]; what the shadow says where only it can judge
    /// the conditions; the store's. Nothing is stored then.
    ///
    /// # Cancellation
    /// Dropping it before the commit was ordered leaves nothing; after that the object stands.
    pub async fn put(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        request: PutRequest,
    ) -> Result<PutOutcome, BucketError> {
        let guard = Guard::new(self, bucket, caller, &request.key, request.conditions);
        // Judged before the body is read, so that a refused PUT costs nothing; the commit judges again.
        let early = guard.judge_now().await?;
        self.outbox_takes(bucket, &request.key)?;
        let promised = self.keep_quota(bucket, &request.key, request.length_bytes.unwrap_or(0)).await?;
        let _announced = self.inner.store.announce();
        let mut staging = self.inner.store.stage(request.length_bytes)?;
        let md5 = receive(&self.inner.store, &mut staging, request.body, request.length_bytes).await?;
        if request.content_md5.is_some_and(|promised| promised != md5) {
            return Err(bad(BodyError::Mismatch { what: "Content-MD5" }));
        }
        let info = ObjectInfo {
            etag: Some(ETag::from_md5(md5)),
            size_bytes: staging.len(),
            last_modified: whole_secs(self.inner.clock.now()),
            meta: request.meta,
            checksums: request.checksums.get().cloned().unwrap_or_default(),
            md5: Some(md5),
            tags: request.attributes.tags,
            owner: request.attributes.owner,
            acl: request.attributes.acl,
            website_redirect: request.attributes.website_redirect,
            ..ObjectInfo::default()
        };
        let room = match request.length_bytes {
            Some(_) => promised,
            None => self.keep_quota(bucket, &request.key, info.size_bytes).await?,
        };
        let sealed = staging.seal().await?;
        let shown = Arc::new(info.clone());
        let size_bytes = info.size_bytes;
        let change = Change::Publish(NewState::Written(info), sealed);
        self.change_in_quota(&guard, early, room, size_bytes, |_, _| Ok(change.clone())).await?;
        Ok(PutOutcome { info: shown })
    }
}

/// Stages a body; returns its MD5.
pub(crate) async fn receive(
    store: &Store,
    staging: &mut Staging,
    body: Body,
    length_bytes: Option<u64>,
) -> Result<[u8; 16], BucketError> {
    let mut digests = Digests::new(DigestSet::none().and_md5());
    let mut pieces = store.pieces(body);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(bad)?;
        if length_bytes.is_some_and(|most| staging.len() + piece.len() as u64 > most) {
            return Err(bad(BodyError::TooLong));
        }
        digests.update(&piece);
        staging.append(piece).await?;
    }
    if length_bytes.is_some_and(|promised| promised != staging.len()) {
        return Err(bad(BodyError::Incomplete));
    }
    digests.finish().md5.ok_or_else(|| bad(BodyError::Malformed { what: "no digest" }))
}

pub(crate) fn bad(error: BodyError) -> BucketError {
    BucketError::BadBody(Arc::new(error))
}

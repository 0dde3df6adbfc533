//! Tags that a provider has for objects that are not here, or are here without them.
//!
//! An object comes without its tags: S3 tells only how many there are (`x-amz-tagging-count`), to who may read them. In
//! `migrate` a fill brings them along, by one more request for an object that has any. In `cache` they stay where they are.
//! Who asks for the tags of an object that nobody has written here is told the provider's; while it cannot be asked, that
//! is what is said, and never that there are none.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Body, Key, Tag};
use fallthrough_shadow::{Dialect, Outcome, Request};
use fallthrough_store::{Bucket, BucketMode, EntryState, ObjectInfo};
use fallthrough_wire::tags::OBJECT_TAGS_MAX;
use fallthrough_wire::xml::parse_tagging;
use futures::StreamExt as _;

use crate::api::{Admission, BucketError, Caller, GetRequest};
use crate::ask::{Answered, ask, refusal};
use crate::behind::Behind;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::FillOrder;
use crate::members::Whom;

/// Ten tags as long as they may be are below this, however they are escaped.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;
/// How long a provider may take to send them, once it has begun.
const DOCUMENT_WAIT: Duration = Duration::from_secs(5);

impl Engine {
    /// The tags of an object that `admission` admits, in no particular order.
    ///
    /// # Errors
    /// As [`Engine::get_admitted`] of a HEAD; and what keeps the provider of an object that was not written here from
    /// being asked.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn tags(
        &self,
        bucket: &Arc<Bucket>,
        caller: &Caller,
        key: &Key,
        admission: Admission<'_>,
    ) -> Result<Vec<Tag>, BucketError> {
        let request = GetRequest { head: true, ..GetRequest::of(key.clone()) };
        let shown = self.get_admitted(bucket, caller, request, admission).await.result?.info;
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        let info = match entry.as_deref().map(|entry| &entry.state) {
            Some(EntryState::Written(stored) | EntryState::Filled(stored, _))
                if !(admission.object)(&stored.info) =>
            {
                return Err(BucketError::Denied);
            }
            Some(EntryState::Written(stored)) if stored.info.tags_behind.is_none() => {
                return Ok(stored.info.tags.clone());
            }
            Some(EntryState::Filled(stored, _)) if !stored.info.tags.is_empty() => {
                return Ok(stored.info.tags.clone());
            }
            Some(EntryState::Written(stored) | EntryState::Filled(stored, _)) => stored.info.clone(),
            Some(EntryState::Known(..) | EntryState::Absent { .. } | EntryState::Tombstone) | None => shown,
        };
        self.tags_behind(bucket, caller, key, &info).await
    }

    /// The tags that the provider of an object has for it, of one that is here without them.
    ///
    /// # Errors
    /// What keeps it from being asked.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn tags_behind(
        &self,
        bucket: &Bucket,
        caller: &Caller,
        key: &Key,
        info: &ObjectInfo,
    ) -> Result<Vec<Tag>, BucketError> {
        let cold = self.cold(bucket, key)?.filter(|cold| matches!(cold.behind.dialect, Dialect::S3 { .. }));
        let Some(cold) = cold.filter(|_| !planted(Mutant::TagsBehindAreNone)) else {
            return match info.tags_behind {
                Some(_) if !planted(Mutant::TagsBehindAreNone) => Err(BucketError::ShadowMisconfigured {
                    mend: "This object has tags at the provider that it came from, which is no longer behind the \
                           bucket: attach the shadow again, or give the object its tags anew."
                        .to_owned(),
                }),
                Some(_) | None => Ok(info.tags.clone()),
            };
        };
        let client = Self::fill_share(bucket, caller).unwrap_or_else(|| caller.client.clone());
        let wait = self.inner.options.client_wait;
        let _permit = cold.behind.gate.admit(&client, wait).await?;
        let mut request = Request::get(cold.origin_key.clone(), wait);
        request.hops = caller.hops;
        request.request_id = caller.request_id.to_string();
        request.trace = caller.trace;
        self.ask_tags(&cold.behind, request, &client).await
    }

    /// The tags of an object that is being filled, for it to keep; to be called while its place in front of the origin is
    /// held. `info` as it is if they cannot be had: it says that there are some behind.
    pub(crate) async fn with_tags(&self, order: &FillOrder, info: ObjectInfo) -> ObjectInfo {
        let is_wanted = info.tags_behind.is_some() && order.bucket.settings.mode == BucketMode::Migrate;
        if !is_wanted {
            return info;
        }
        let mut request = Request::get(order.origin_key.clone(), self.inner.options.client_wait);
        request.hops = order.hops;
        request.request_id = order.request_id.to_string();
        request.trace = Some(order.trace);
        match self.ask_tags(&order.behind, request, &order.client).await {
            Ok(tags) if tags.len() <= OBJECT_TAGS_MAX => ObjectInfo { tags, tags_behind: None, ..info },
            Ok(_) => info,
            Err(error) => {
                tracing::warn!(origin = %order.behind.origin, %error, "an object is kept without its tags");
                info
            }
        }
    }

    async fn ask_tags(
        &self,
        behind: &Behind,
        request: Request,
        client: &Arc<str>,
    ) -> Result<Vec<Tag>, BucketError> {
        let request = Request { tagging: true, ..request };
        let Answered { outcome, .. } = ask(self, behind, request, Whom::Any)
            .await
            .map_err(|unanswered| unanswered.into_error(&behind.gate, client))?;
        let body = match outcome {
            Outcome::Found(found) => found.body,
            // Without any (some say NoSuchTagSet), gone since with all that it had, or at a provider that has no tags.
            Outcome::Absent { .. } | Outcome::NotOffered => return Ok(Vec::new()),
            Outcome::Misconfigured { .. } if planted(Mutant::RefusedTagsAreNone) => return Ok(Vec::new()),
            other => return Err(refusal(other, &behind.gate, client)),
        };
        let bad = |reason: &str| BucketError::BadOriginAnswer { reason: reason.to_owned() };
        let read = tokio::time::timeout(DOCUMENT_WAIT, read(body)).await;
        let document = read.ok().flatten().ok_or_else(|| BucketError::OriginFailing {
            reason: "the tags of the object did not come whole".to_owned(),
            retry_after: Duration::from_secs(1),
        })?;
        parse_tagging(&document).map_err(|_| bad("what it says of the object's tags cannot be read"))
    }
}

/// All of a short document; `None` if it breaks off, or is none.
async fn read(body: Body) -> Option<Vec<u8>> {
    let mut stream = match body {
        Body::Bytes(bytes) => return Some(bytes.to_vec()),
        Body::Stream(stream) => stream,
        Body::File(_) => return None,
    };
    let mut document = Vec::new();
    while let Some(piece) = stream.next().await {
        document.extend_from_slice(&piece.ok()?);
        if document.len() > DOCUMENT_BYTES_MAX {
            return None;
        }
    }
    Some(document)
}

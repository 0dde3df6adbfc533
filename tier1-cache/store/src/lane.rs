//! What becomes of a key's intent in a commit to the key, and the commits of keys of which nobody is told.

use std::future::Future;
use std::sync::Arc;

use fallthrough_object::Key;

use crate::bucket_row::Bucket;
use crate::entry::{Entry, ObjectInfo, Revision};
use crate::error::CommitError;
use crate::intent::{Intent, IntentRow};
use crate::objects::{CopyOf, Erased, NewState};
use crate::staging::Sealed;
use crate::store::Store;
use crate::uploads::{Upload, UploadedParts};

/// What becomes of a key's intent in a commit to the key: the row of the outbox that says what the origin shall have.
#[derive(Clone, Debug, Default)]
pub enum Lane {
    /// Nothing: there is none, and none is made.
    #[default]
    Quiet,
    /// The origin shall have what this commit leaves. It takes the place of the intent that was found, which must still
    /// be that one; if none was found, there must be none.
    Send {
        /// The intent that it takes the place of.
        found: Option<Arc<Intent>>,
        /// What is known of the new one.
        row: Box<IntentRow>,
    },
    /// The origin need not have what this intent says any more.
    Withdraw(Arc<Intent>),
}

impl Lane {
    /// The version that the row of the outbox must have; `None`: whatever.
    pub(crate) fn expects(&self) -> Option<Option<u64>> {
        match self {
            Self::Quiet => None,
            Self::Send { found, .. } => Some(found.as_ref().map(|found| found.version)),
            Self::Withdraw(found) => Some(Some(found.version)),
        }
    }
}

/// The commits that change what is known of a key, each with what becomes of the key's intent.
#[derive(Debug)]
pub struct Through<'a> {
    pub(crate) store: &'a Store,
    pub(crate) lane: Lane,
}

impl Store {
    /// The commits to a key, each together with this.
    pub fn through(&self, lane: Lane) -> Through<'_> {
        Through { store: self, lane }
    }

    /// As [`Through::publish`].
    pub fn publish(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        state: NewState,
        body: Sealed,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        self.through(Lane::Quiet).publish(bucket, key, previous, state, body)
    }

    /// As [`Through::publish_copy`].
    pub fn publish_copy(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
        of: CopyOf<'_>,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        self.through(Lane::Quiet).publish_copy(bucket, key, previous, info, of)
    }

    /// As [`Through::amend`].
    pub fn amend(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        self.through(Lane::Quiet).amend(bucket, key, previous, info)
    }

    /// As [`Through::publish_parts`].
    pub fn publish_parts(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        info: ObjectInfo,
        upload: &Upload,
        parts: &UploadedParts,
    ) -> impl Future<Output = Result<Arc<Entry>, CommitError>> + Send + 'static + use<> {
        self.through(Lane::Quiet).publish_parts(bucket, key, previous, info, upload, parts)
    }

    /// As [`Through::erase`].
    pub fn erase(
        &self,
        bucket: &Bucket,
        key: &Key,
        previous: Option<&Entry>,
        to: Erased,
    ) -> impl Future<Output = Result<Revision, CommitError>> + Send + 'static + use<> {
        self.through(Lane::Quiet).erase(bucket, key, previous, to)
    }
}

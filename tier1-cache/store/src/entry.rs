//! What the store knows about a key: its entry.

use std::sync::Arc;

use fallthrough_object::{Acl, Checksum, ChecksumAlgorithm, ETag, Meta, Tag, Timestamp};
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::intent::Seen;
use crate::uploads::UploadId;

/// Number of a change in the store. Drawn from one store-wide commit sequence and never reused, so a key
/// that was purged and is unknown again never looks as it did before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// One row of metadata. That there is no row is the state `unknown`: the shadow may have the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The commit that wrote, filled or deleted the key. Observations (`known`, `absent`, freshness) keep the
    /// revision they found, zero if there was no row, so that they never supersede a running fill.
    pub revision: Revision,
    /// The commit that last touched the row, observations included: the condition of the next commit.
    pub row_version: u64,
    /// What is known.
    pub state: EntryState,
    /// What the origin was left with when this was delivered there; `None`: it was not. Of written objects and
    /// tombstones alone.
    pub delivered: Option<Seen>,
}

impl Entry {
    /// The object that was last seen at the origin under this key: what was delivered, or what a copy came from.
    pub(crate) fn left_at_origin(&self) -> Option<Seen> {
        match (&self.delivered, &self.state) {
            (Some(seen), _) => Some(seen.clone()),
            (None, EntryState::Filled(_, from)) => {
                from.origin_etag.clone().filter(|etag| !etag.is_weak()).map(Seen::Object)
            }
            (None, _) => None,
        }
    }
}

/// The states of `docs/semantics.md`, section 1, but for `unknown`, which is the absence of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// A client put it here; complete and readable here.
    Written(Stored),
    /// Copied from the shadow; complete and readable here.
    Filled(Stored, Provenance),
    /// The shadow has it, as HEAD said; no body here.
    Known(Arc<ObjectInfo>, Provenance),
    /// The shadow said authoritatively that it does not exist; believed until then.
    Absent {
        /// When the shadow may be asked again.
        until: Timestamp,
        /// The origin called the key invalid (it can never exist), not merely absent.
        invalid: bool,
    },
    /// Deleted here. The shadow must not be asked, or the delete would undo itself.
    Tombstone,
}

impl EntryState {
    /// The complete object that is readable here, if there is one.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Written(stored) | Self::Filled(stored, _) => Some(stored),
            Self::Known(..) | Self::Absent { .. } | Self::Tombstone => None,
        }
    }
}

/// An object that is complete and readable here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What clients see of it.
    pub info: Arc<ObjectInfo>,
    /// Where its bytes are.
    pub blob: BlobRef,
}

/// What clients see of an object besides its bytes: the same before a fill, after it, and in lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The ETag that clients are shown. `None` only for a known key whose origin gives no strong one.
    pub etag: Option<ETag>,
    /// Length of the body in bytes.
    pub size_bytes: u64,
    /// Last-Modified as clients are shown it.
    pub last_modified: Timestamp,
    /// Content headers and user metadata.
    #[serde(default)]
    pub meta: Meta,
    /// Checksums that the client or the origin gave and that were verified (or, composite, kept).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    /// MD5 of the bytes as we computed it, where we did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<[u8; 16]>,
    /// Sizes of the parts of a multipart object in order, in bytes; stored data, never guessed from the ETag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub part_sizes: Vec<u64>,
    /// Checksums of the parts of a multipart object, where its upload asked for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_checksums: Option<PartChecksums>,
    /// The multipart upload that it was completed from: completing that again changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
    /// Tags, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// How many tags its provider has for it that are not here; `None`: none, as far as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags_behind: Option<u32>,
    /// The account that owns it, if that is not the bucket's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its ACL; `None`: private to its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// Where a website sends who asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
}

/// Checksums of the parts of a multipart object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChecksums {
    /// How they were computed.
    pub algorithm: ChecksumAlgorithm,
    /// The values, one behind the other, each [`ChecksumAlgorithm::len_bytes`] long.
    pub values: Vec<u8>,
}

/// Where a filled or known object came from, and how long it may be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The name of the origin as the bucket's rule gives it; never its address or credentials.
    pub origin: String,
    /// The ETag that the origin gave, weak ones too: for revalidation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_etag: Option<ETag>,
    /// Last-Modified that the origin gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_last_modified: Option<Timestamp>,
    /// When the origin answered: the time before its request was sent, never after its answer.
    pub asked_at: Timestamp,
    /// What was verified during the fill, such as `length`, `md5`, `crc32c`; empty for a known key.
    #[serde(default)]
    pub verified: Vec<String>,
    /// Stale from then on (`cache` mode); `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_until: Option<Timestamp>,
    /// May be served stale while the origin fails, until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_if_error_until: Option<Timestamp>,
    /// May be served stale while it is revalidated, until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate_until: Option<Timestamp>,
    /// The edition that a compute origin's result belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
}

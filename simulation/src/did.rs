//! What operations do to a key, or show of it: the words that histories are written in.

use crate::history::VersionId;

/// How the bucket of a run treats its shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// No shadow.
    #[default]
    Plain,
    /// What is here wins for ever.
    Migrate,
    /// The origin wins, after the time to live.
    Cache,
    /// The origin computes.
    Compute,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// `If-None-Match: *`.
    IfAbsent,
    /// `If-Match`.
    IfMatch(VersionId),
}

/// The bytes of an object, and its ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bytes {
    /// Those of this version.
    Of(VersionId),
    /// Those that the key of this number had when it was copied: the answer, which said which, was lost.
    CopyOf(u8),
}

/// The tags of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tags {
    /// None.
    #[default]
    None,
    /// The set of this number.
    Set(u16),
    /// Those of what was copied, whose answer was lost.
    Unknown,
}

impl Tags {
    /// Keys and values, in order.
    pub(crate) fn pairs(self) -> Vec<(&'static str, String)> {
        let Self::Set(number) = self else { return Vec::new() };
        let even = number.is_multiple_of(2).then(|| ("even", "yes".to_owned()));
        let third = number.is_multiple_of(3).then(|| ("third", "yes".to_owned()));
        even.into_iter().chain([("number", number.to_string())]).chain(third).collect()
    }

    /// Whether objects with these tags are among those of a rule for `even=yes`; `None`: nobody knows.
    pub(crate) fn are_even(self) -> Option<bool> {
        match self {
            Self::None => Some(false),
            Self::Set(number) => Some(number.is_multiple_of(2)),
            Self::Unknown => None,
        }
    }
}

/// What a client made of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its tags.
    pub tags: Tags,
    /// The upload that it was completed from, by its number among those of the key.
    pub upload: Option<u8>,
}

impl Object {
    /// A version without anything else.
    pub fn of(version: VersionId) -> Self {
        Self { bytes: Bytes::Of(version), tags: Tags::None, upload: None }
    }

    /// The same with tags.
    pub fn tagged(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }
}

/// What a read showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This version.
    Object(VersionId),
    /// This version, with so many tags.
    Counted(VersionId, u8),
    /// A version, not known which.
    SomeObject,
    /// An object with these tags, not known which.
    Tags(Tags),
    /// There is no such object.
    Nothing,
    /// An object that is not this version.
    Another(VersionId),
    /// An object that ends before this byte.
    EndsBefore(u64),
}

/// What an operation did, or showed, as far as one key is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// GET or HEAD.
    Read(Seen),
    /// A page of LIST.
    Listed(Seen),
    /// 404 without a word of what is missing: the object or the bucket.
    NotFound,
    /// PUT, COPY or the completion of an upload.
    Put(Object, Condition),
    /// Such a write was refused with 412, or with 404 if `absent`.
    PutRefused {
        /// The condition.
        condition: Condition,
        /// There was nothing to match.
        absent: bool,
    },
    /// The upload of this number is no more, and what stands here was not made of it.
    UploadGone(u8),
    /// A copy onto itself: the same bytes, which are those of `version` if that is known, written anew.
    Rewrite {
        /// Its version, as far as it was told.
        version: Option<VersionId>,
        /// New tags; `None`: those that it had.
        tags: Option<Tags>,
        /// The condition.
        condition: Condition,
    },
    /// PutObjectTagging, or DeleteObjectTagging.
    SetTags(Tags),
    /// DELETE.
    Delete,
    /// DELETE with `If-Match`.
    DeleteIf(VersionId),
    /// DELETE with `If-Match` was refused with 412.
    DeleteRefused(VersionId),
    /// The lifecycle rules were applied: what is due is gone.
    Expire,
    /// The lifecycle rules became those of this number; 0: none.
    Rules(u8),
    /// Purge.
    Purge,
    /// Purge was refused: a client wrote or deleted this.
    PurgeRefused,
    /// The shadow was set to this origin.
    Attach(u8),
    /// The shadow was cleared.
    Detach,
    /// The shadow was cleared at the end of a migration: what it had is here.
    CutOver,
    /// What was here was given up for what somebody else has made of it at the shadow.
    Yield,
    /// The bucket was deleted, being empty.
    DropBucket,
    /// The bucket was created, with this shadow.
    MakeBucket(Option<u8>),
    /// The bucket was there.
    BucketSeen,
    /// There was no bucket.
    NoBucket,
}

impl Did {
    /// Whether it changes nothing, whatever the state.
    pub(crate) fn only_shows(self) -> bool {
        match self {
            Self::Read(_)
            | Self::Listed(_)
            | Self::NotFound
            | Self::PutRefused { .. }
            | Self::UploadGone(_)
            | Self::DeleteRefused(_)
            | Self::PurgeRefused
            | Self::BucketSeen
            | Self::NoBucket => true,
            Self::Put(..)
            | Self::Rewrite { .. }
            | Self::SetTags(_)
            | Self::Delete
            | Self::DeleteIf(_)
            | Self::Expire
            | Self::Rules(_)
            | Self::Purge
            | Self::Attach(_)
            | Self::Detach
            | Self::CutOver
            | Self::Yield
            | Self::DropBucket
            | Self::MakeBucket(_) => false,
        }
    }
}

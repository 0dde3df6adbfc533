//! What the gateway asks of the engine, and what it is told.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fallthrough_object::{
    Acl, Body, BucketName, ByteRange, Checksum, ETag, Key, Meta, RangeSpec, Tag, Timestamp, TraceParent,
};
use fallthrough_shadow::Extras;
use fallthrough_store::{Bucket, ObjectInfo};
use fallthrough_wire::conditions::{Conditions, IfRange, WriteConditions};

/// Who asks, as far as the engine acts differently on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Whose share of fills this counts against: an access key's id, or a network address.
    pub client: Arc<str>,
    /// The request was signed and the signature verified.
    pub signed: bool,
    /// The caller's key may cause fills (the bucket's `public-fill` decides for unsigned callers).
    pub may_fill: bool,
    /// How many fall-through stores the request passed before this one.
    pub hops: u32,
    /// The id of the request, for logs and for the origin.
    pub request_id: Arc<str>,
    /// The trace that the request belongs to, for the origin; `None`: one begins where the origin is asked.
    pub trace: Option<TraceParent>,
}

/// A read of one object.
#[derive(Clone, Debug)]
pub struct GetRequest {
    /// The object.
    pub key: Key,
    /// HEAD: no body is wanted.
    pub head: bool,
    /// One range of the body.
    pub range: Option<RangeSpec>,
    /// One part of a multipart object, by its number from 1, instead of a range. Any other object has one part.
    pub part: Option<u32>,
    /// The validator of an If-Range header: the range holds only if this is still the object.
    pub if_range: Option<IfRange>,
    /// Conditions, judged before the range.
    pub conditions: Conditions,
    /// What is passed on to the origin of what it was asked with: [`crate::Engine::extras`].
    pub extras: Extras,
}

impl GetRequest {
    /// A plain GET of the whole object.
    pub fn of(key: Key) -> Self {
        Self {
            key,
            head: false,
            range: None,
            part: None,
            if_range: None,
            conditions: Conditions::default(),
            extras: Extras::default(),
        }
    }
}

/// Who may have what, where objects have a say in it. It is asked about the very state that is served or changed,
/// so that nothing slips in between a look and a read.
#[derive(Clone, Copy)]
pub struct Admission<'a> {
    /// Whether keys may be had that are not here, which have no ACL: asked for at their origin, filled, waited for.
    pub cold: bool,
    /// Whether an object may be had that is here.
    pub object: &'a (dyn Fn(&ObjectInfo) -> bool + Send + Sync),
    /// Whether the tags of an object that is here may be had, for who copies it with them.
    pub tags: &'a (dyn Fn(&ObjectInfo) -> bool + Send + Sync),
}

impl Admission<'static> {
    /// Everything may be had.
    pub const ALL: Self = Self { cold: true, object: &|_| true, tags: &|_| true };
}

impl fmt::Debug for Admission<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("cold", &self.cold).finish_non_exhaustive()
    }
}

/// What a read found.
#[derive(Debug)]
pub struct Object {
    /// What clients see of it. `size_bytes` is meaningless while [`Object::size_bytes`] is `None`.
    pub info: Arc<ObjectInfo>,
    /// Size of the whole object in bytes; `None` if the origin has not said and it is too long to wait for
    /// (then the body is sent in chunks without a length).
    pub size_bytes: Option<u64>,
    /// How many parts it was uploaded in, if it was and that is known.
    pub parts_count: Option<u32>,
    /// It is here, or will be once all of it came: no passing glance at what only its origin has.
    pub is_kept: bool,
    /// The body.
    pub body: ObjectBody,
}

/// Which part of the body a read carries.
#[derive(Debug)]
pub enum ObjectBody {
    /// All of it: 200.
    Whole(Body),
    /// A range: 206.
    Range(ByteRange, Body),
    /// None: HEAD. The range that a GET would have carried, if one was asked for.
    Head(Option<ByteRange>),
    /// The conditions say that the client's copy is still good: 304.
    NotModified,
}

/// A result, with what is to be said of how it came about. Errors have a report too.
#[derive(Debug)]
pub struct Answer<T> {
    /// How it came about.
    pub report: CacheReport,
    /// The result.
    pub result: Result<T, BucketError>,
}

/// One word for `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheWord {
    /// Served from here.
    Hit,
    /// This request started the fill.
    Miss,
    /// This request joined a fill, or a HEAD, that was on its way.
    Joined,
    /// Served from here although no longer fresh.
    Stale,
    /// Passed from the origin without being kept.
    Pass,
    /// Known to be absent: the origin was not asked.
    Negative,
    /// Deleted here: the origin was not asked.
    Tombstone,
}

impl CacheWord {
    /// The word as it stands in the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Joined => "JOINED",
            Self::Stale => "STALE",
            Self::Pass => "PASS",
            Self::Negative => "NEGATIVE",
            Self::Tombstone => "TOMBSTONE",
        }
    }
}

/// What happened on the way to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheReport {
    /// The word.
    pub word: CacheWord,
    /// More, for `Cache-Status`' detail parameter: a token such as `state-written` or `origin-503`.
    pub detail: &'static str,
    /// The origin answered with an object that is kept here, or will be once it is whole and verified.
    pub stored: bool,
    /// The origin's name as the rule gives it, if one was asked.
    pub origin: Option<Arc<str>>,
    /// Freshness that is left, if the object has a limit.
    pub ttl: Option<Duration>,
    /// Time spent waiting for admission.
    pub queued: Option<Duration>,
    /// Time from asking the origin to its first byte.
    pub origin_wait: Option<Duration>,
    /// Names of the headers that the answer depends on besides what it names, with commas between them.
    pub varies_by: Option<Arc<str>>,
}

impl CacheReport {
    /// A report that says only the word and its detail.
    pub fn of(word: CacheWord, detail: &'static str) -> Self {
        Self {
            word,
            detail,
            stored: false,
            origin: None,
            ttl: None,
            queued: None,
            origin_wait: None,
            varies_by: None,
        }
    }
}

/// What an object gets besides its bytes and its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// The account that owns it, if that is not the bucket's owner.
    pub owner: Option<String>,
    /// Its ACL; `None`: private to its owner.
    pub acl: Option<Acl>,
    /// Where a website sends who asks for it.
    pub website_redirect: Option<String>,
}

/// A write of one object.
pub struct PutRequest {
    /// The object.
    pub key: Key,
    /// Its headers.
    pub meta: Meta,
    /// What else it gets.
    pub attributes: Attributes,
    /// Its bytes. The stream ends with an error if a signature, checksum or length was not kept; nothing is
    /// stored then.
    pub body: Body,
    /// How many bytes the client promised.
    pub length_bytes: Option<u64>,
    /// Content-MD5, to be verified by the engine, which computes the MD5 anyway.
    pub content_md5: Option<[u8; 16]>,
    /// Checksums that were verified along the body's way; complete once the body has ended.
    pub checksums: Arc<OnceLock<Vec<Checksum>>>,
    /// `If-Match`, `If-None-Match: *`.
    pub conditions: WriteConditions,
}

impl fmt::Debug for PutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutRequest")
            .field("key", &self.key)
            .field("length_bytes", &self.length_bytes)
            .finish_non_exhaustive()
    }
}

/// What was written.
#[derive(Clone, Debug)]
pub struct PutOutcome {
    /// What clients will see of it.
    pub info: Arc<ObjectInfo>,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// A tombstone stands now, so that the shadow's copy stays hidden.
    pub tombstone: bool,
}

/// Where a list goes on. Made by the engine; opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    /// The last name that was examined.
    pub name: String,
    /// Whether the name is a common prefix that was shown, so that everything under it is done. A deleted key
    /// may bear the very name of a prefix under which there are others.
    pub is_shown_prefix: bool,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only keys with this prefix.
    pub prefix: String,
    /// Collapse keys that share what stands before the next occurrence of it after the prefix.
    pub delimiter: Option<String>,
    /// V1's marker or V2's start-after: only what sorts after it.
    pub after: Option<String>,
    /// Where an earlier page stopped; takes precedence over `after`.
    pub cursor: Option<ListCursor>,
    /// At most so many objects and prefixes, 0 to 1,000.
    pub max_keys: usize,
    /// V1 has no token but the last name shown: a page that goes on must show one.
    pub must_show_one: bool,
}

/// An object or a common prefix of a listed page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListItem {
    /// An object.
    Object {
        /// Its key.
        key: Key,
        /// Its ETag, exactly as GET will show it.
        etag: Option<ETag>,
        /// Its size in bytes.
        size_bytes: u64,
        /// Its Last-Modified.
        last_modified: Timestamp,
        /// The account that owns it, if that is not the bucket's owner.
        owner: Option<String>,
    },
    /// Keys that share this prefix, collapsed.
    Prefix(String),
}

/// One page of a list, in bytewise order.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Objects and prefixes.
    pub items: Vec<ListItem>,
    /// Where to go on; `None`: the list is complete.
    pub next: Option<ListCursor>,
}

/// What became of CreateBucket.
#[derive(Clone, Debug)]
pub enum NewBucket {
    /// It is new.
    Created(Arc<Bucket>),
    /// It existed already; whose it is stands in its settings.
    Exists(Arc<Bucket>),
}

/// What is known about a key and why, for people.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// `unknown`, `written`, `filled`, `known`, `absent` or `tombstone`.
    pub state: &'static str,
    /// Revision of the entry, if there is one.
    pub revision: Option<u64>,
    /// What clients see of the object, if it is here or known.
    pub object: Option<ObjectInfo>,
    /// Where it came from, if it was filled or is known.
    pub provenance: Option<fallthrough_store::Provenance>,
    /// Where the bytes are: `row`, `file`, `empty` or none.
    pub blob: Option<&'static str>,
    /// The rule that the key falls through by: its number from 0 and its origin's name.
    pub rule: Option<(usize, String)>,
    /// What of a client's request goes to the origin with it, in words.
    pub passes_on: Option<String>,
    /// The members of that rule, if it has several, in its order.
    pub members: Vec<crate::members::MemberState>,
    /// What is kept in blocks of the object behind it, in words.
    pub blocks: Option<String>,
    /// A fill in flight, in words.
    pub fill: Option<String>,
    /// The last fill of the key that this process remembers, in words; also why something was not stored.
    pub last_fill: Option<String>,
    /// What the origin is still to be told of it.
    pub waiting: Option<crate::waiting::WaitingChange>,
    /// What a GET would do now, in a sentence.
    pub next_get: String,
}

/// Why a request was not done. What to answer is the gateway's to choose; these say what happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BucketError {
    /// There is no such bucket.
    #[error("there is no bucket {0}")]
    NoSuchBucket(BucketName),
    /// There is no such object, and that is certain.
    #[error("there is no such object")]
    NoSuchKey,
    /// The key can never exist here (a rule or the origin says so).
    #[error("this key can never exist here: {reason}")]
    ImpossibleKey {
        /// Why.
        reason: String,
    },
    /// The [`Admission`] of the request does not let it have this.
    #[error("the caller may not have this")]
    Denied,
    /// The caller may read, but not cause fills, and the object is not here.
    #[error("the object is not here, and the caller may not have it filled")]
    FillDenied,
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// The range begins after the end.
    #[error("the range cannot be satisfied")]
    RangeNotSatisfiable {
        /// Size of the object in bytes, if known.
        size_bytes: Option<u64>,
    },
    /// The origin or this server is at its limit, or the fill takes longer than a client should wait.
    #[error("come back later: {reason}")]
    SlowDown {
        /// Why.
        reason: &'static str,
        /// When to come back.
        retry_after: Duration,
    },
    /// The origin could not be asked, or failed, and may recover.
    #[error("the origin failed: {reason}")]
    OriginFailing {
        /// Why, without address or credentials.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The shadow's settings are wrong; somebody has to mend them.
    #[error("the shadow is misconfigured: {mend}")]
    ShadowMisconfigured {
        /// What is wrong and what to do.
        mend: String,
    },
    /// The origin answered something that cannot be passed on.
    #[error("the origin's answer cannot be passed on: {reason}")]
    BadOriginAnswer {
        /// Why.
        reason: String,
    },
    /// The object is archived at the provider.
    #[error("the object is archived at its provider")]
    Archived,
    /// The body was not what it was promised to be; nothing was stored.
    #[error("the body was not accepted: {0}")]
    BadBody(Arc<fallthrough_object::BodyError>),
    /// Somebody else changed the same thing at the same time, repeatedly.
    #[error("others are changing this at the same time")]
    Conflict,
    /// There is no such multipart upload (any more).
    #[error("there is no such upload")]
    NoSuchUpload,
    /// The object has fewer parts.
    #[error("the object has fewer parts")]
    NoSuchPart {
        /// How many it has, if that is known.
        parts: Option<u32>,
    },
    /// A part that an upload is completed with is not there, or is another.
    #[error("part {number} is not there, or is another")]
    InvalidPart {
        /// Its number.
        number: u32,
    },
    /// The parts are not listed in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part that is not the last is too small.
    #[error("part {number} is too small")]
    PartTooSmall {
        /// Its number.
        number: u32,
        /// Its length in bytes.
        size_bytes: u64,
        /// Its ETag.
        etag: ETag,
        /// What it would have to have at least, in bytes.
        bytes_min: u64,
    },
    /// The object would be, or is, too large for this.
    #[error("larger than {max_bytes} bytes")]
    TooLarge {
        /// The most that can be.
        max_bytes: u64,
    },
    /// The object has not the length that was promised.
    #[error("the object has {size_bytes} bytes, not as many as promised")]
    WrongLength {
        /// What it has.
        size_bytes: u64,
    },
    /// The bucket still has objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The bucket or key is declared in the configuration file.
    #[error("this is declared in the configuration file and can be changed only there")]
    Managed,
    /// The settings do not fit together.
    #[error("{reason}")]
    InvalidSettings {
        /// Why, and what would be right.
        reason: String,
    },
    /// Purge refuses to forget what cannot be filled again unless told to.
    #[error("this object was written here and cannot be filled again")]
    WouldLoseWritten,
    /// Not done on cold keys.
    #[error("{what} is not offered on a key that is not here yet")]
    NotOffered {
        /// What.
        what: &'static str,
    },
    /// A stored object cannot be read: its bytes are damaged or gone.
    #[error("the stored object is damaged")]
    Damaged,
    /// So much waits for its delivery to origins that no more is taken.
    #[error(
        "{rows} keys wait for their delivery to an origin, and no more are taken until some are delivered"
    )]
    OutboxFull {
        /// Keys that wait.
        rows: usize,
        /// Bytes of their objects.
        bytes: u64,
    },
    /// What clients have written or deleted has not reached the origin yet.
    #[error(
        "{waiting} keys wait for their delivery to the origin; let them be delivered, or drop them by force"
    )]
    NotDelivered {
        /// How many.
        waiting: u64,
    },
    /// Clients may not write so much to this bucket.
    #[error(
        "{written_bytes} bytes are written, {more_bytes} more would be above the quota of {quota_bytes} bytes"
    )]
    QuotaExceeded {
        /// What they may.
        quota_bytes: u64,
        /// What they have written, and are writing.
        written_bytes: u64,
        /// What this would add.
        more_bytes: u64,
    },
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store cannot answer now.
    #[error("the store is unavailable")]
    Unavailable(Arc<fallthrough_store::StoreError>),
}

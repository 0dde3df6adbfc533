//! What the admin API says of buckets and of the server.

use fallthrough_bucket::{
    Bucket, BucketMode, BucketSettings, CopiesStatus, Held, PublicAccess, PublicFill, Usage,
};
use fallthrough_wire::date;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::admin::rule::Rule;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketView {
    /// Its name.
    pub name: String,
    /// When it was created, ISO 8601, UTC.
    pub created: String,
    /// The account that owns it.
    pub owner: String,
    /// How it treats its shadow.
    pub mode: BucketMode,
    /// Who may read without signing.
    pub public: PublicAccess,
    /// Who may cause fills if it is public.
    pub public_fill: PublicFill,
    /// Declared in the configuration file: read-only here.
    pub managed: bool,
    /// The rules by which it falls through, in order.
    pub shadow: Vec<Rule>,
    /// The most that its copies may hold, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_limit_bytes: Option<u64>,
    /// The most that clients may write, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// What it holds, where one bucket is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// Copies of what its origin has.
    pub copies: HeldView,
    /// What clients wrote.
    pub written: HeldView,
}

/// Objects of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// How many there are.
    pub objects: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// What they count against `cache_limit_bytes`, if they are copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged_bytes: Option<u64>,
}

impl UsageView {
    pub(crate) fn of(usage: Usage) -> Self {
        let held =
            |held: Held, charged_bytes| HeldView { objects: held.objects, bytes: held.bytes, charged_bytes };
        Self { copies: held(usage.filled, Some(usage.copies_charge())), written: held(usage.written, None) }
    }
}

impl BucketView {
    pub(crate) fn of(bucket: &Bucket) -> Self {
        Self::with(bucket, &bucket.settings)
    }

    /// The bucket as it would look with other settings.
    pub(crate) fn with(bucket: &Bucket, settings: &BucketSettings) -> Self {
        Self {
            name: bucket.name.to_string(),
            created: date::format_iso(bucket.created),
            owner: settings.owner.clone(),
            mode: settings.mode,
            public: settings.public,
            public_fill: settings.public_fill,
            managed: settings.managed,
            shadow: settings.shadow.iter().map(Rule::shown).collect(),
            cache_limit_bytes: settings.cache_limit_bytes,
            quota_bytes: settings.quota_bytes,
            usage: None,
        }
    }
}

/// A page of buckets in order of name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPage {
    /// The buckets.
    pub buckets: Vec<BucketView>,
    /// Give it as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A bucket to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewBucketBody {
    /// Its name.
    pub name: String,
    /// The account that is to own it; root if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The mode; `plain` without a shadow, else `migrate`, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<BucketMode>,
    /// Who may read without signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicAccess>,
    /// Who may cause fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_fill: Option<PublicFill>,
    /// Shadow rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<Rule>,
    /// The most that its copies may hold, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_limit_bytes: Option<u64>,
    /// The most that clients may write, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
}

/// What to change about a bucket; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketChange {
    /// The account that is to own it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<BucketMode>,
    /// Who may read without signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicAccess>,
    /// Who may cause fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_fill: Option<PublicFill>,
    /// The most that its copies may hold, in bytes; `null` takes the limit away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub cache_limit_bytes: Option<Option<u64>>,
    /// The most that clients may write, in bytes; `null` takes the quota away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub quota_bytes: Option<Option<u64>>,
}

/// A field that was named, be it with `null`.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// One field that a change changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its path in dots.
    pub field: String,
    /// What it was.
    pub before: Value,
    /// What it is now.
    pub after: Value,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// Where S3 clients connect.
    pub s3: String,
    /// How many buckets there are, counted up to 1,000.
    pub buckets: usize,
    /// Free bytes on the store's disk, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_free_bytes: Option<u64>,
    /// Damaged blobs in quarantine.
    #[serde(default)]
    pub quarantined: u64,
    /// What copies hold that can be evicted, of all buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesView>,
    /// Changes that wait for their delivery to origins, of all buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<crate::admin::outbox::WaitingView>,
}

/// What copies hold that can be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesView {
    /// How many there are.
    pub objects: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// What they count against limits, in bytes.
    pub charged_bytes: u64,
    /// The store's limit, in bytes, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

impl CopiesView {
    pub(crate) fn of(status: CopiesStatus) -> Self {
        let CopiesStatus { objects, bytes, charged_bytes, limit_bytes } = status;
        Self { objects, bytes, charged_bytes, limit_bytes }
    }
}

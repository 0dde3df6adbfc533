//! What the admin API says of buckets and of the server.

use fallthrough_bucket::{Bucket, BucketMode, BucketSettings, PublicAccess, PublicFill};
use fallthrough_wire::date;
use serde::{Deserialize, Serialize};
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
    /// Changes that wait for their delivery to origins, of all buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<crate::admin::outbox::WaitingView>,
}

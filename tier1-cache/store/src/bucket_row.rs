//! The rows of buckets: settings, shadow rules, and the gate that every object commit is conditional on.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Addressing, BucketConfiguration, BucketName, Rate, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rule_text::FlatRule;

/// Identifies one incarnation of a bucket: a bucket that is deleted and created again gets another id,
/// and index keys carry the id, not the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketId(pub u64);

/// A bucket as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its incarnation.
    pub id: BucketId,
    /// Its name.
    pub name: BucketName,
    /// Version of the gate row: raised by DeleteBucket and by every change of the shadow. A condition of
    /// every object commit.
    pub gate_version: u64,
    /// Version of the settings row.
    pub settings_version: u64,
    /// When it was created.
    pub created: Timestamp,
    /// What an operator may change.
    pub settings: BucketSettings,
    /// What clients have set through S3.
    pub configuration: Arc<BucketConfiguration>,
}

/// What an operator may change about a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BucketSettings {
    /// The account that owns it.
    pub owner: String,
    /// How it treats its shadow.
    pub mode: BucketMode,
    /// Who may read without signing.
    pub public: PublicAccess,
    /// Who may cause fills on a public bucket.
    pub public_fill: PublicFill,
    /// The shadow rules, in order; empty for a plain bucket.
    pub shadow: Vec<ShadowRule>,
    /// Declared in the configuration file: read-only elsewhere.
    pub managed: bool,
    /// The most that its copies may hold, in bytes, [`crate::COPY_ROW_BYTES`] for each of them included; in `cache` and
    /// `compute`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_limit_bytes: Option<u64>,
    /// The most that clients may write, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
}

impl BucketSettings {
    /// Whether what waits for its delivery under these settings would not go where it was meant for under `after`.
    pub fn sends_elsewhere(&self, after: &Self) -> bool {
        // Which rule a key is of depends on all of them, in their order.
        let way = |rule: &ShadowRule| {
            let mut target = rule.target.clone();
            if let ShadowTarget::S3 { credentials, .. } = &mut target {
                *credentials = None;
            }
            let keys = [&rule.prefix, &rule.suffix, &rule.matches, &rule.keys, &rule.key].map(Clone::clone);
            (target, keys, rule.write_through != WriteThrough::Off, rule.delete_through)
        };
        let ways = |settings: &Self| settings.shadow.iter().map(way).collect::<Vec<_>>();
        self.shadow.iter().any(ShadowRule::goes_through)
            && (self.mode != after.mode || ways(self) != ways(after))
    }
}

/// Modes set a bucket's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketMode {
    /// No shadow.
    #[default]
    Plain,
    /// What is here wins for ever.
    Migrate,
    /// The origin wins; freshness; capacity bound.
    Cache,
    /// The origin is a function of the key; immutable per key and edition.
    Compute,
}

/// Who may read without signing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicAccess {
    /// Nobody.
    #[default]
    None,
    /// Everybody may GET and HEAD objects.
    Read,
}

/// Who may cause fills on a public bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublicFill {
    /// Anyone, within a budget per client.
    #[default]
    Budget,
    /// Only signed requests.
    Signed,
    /// Anyone.
    Open,
}

/// One rule: which keys fall through, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FlatRule", rename_all = "kebab-case")]
pub struct ShadowRule {
    /// Where it leads.
    #[serde(flatten)]
    pub target: ShadowTarget,
    /// Further places, of the same kind, that have the same objects: what one cannot give is asked of another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<ShadowTarget>,
    /// Only keys with this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only keys with this suffix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Only keys that match this regular expression; others are left to the rules that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Of this rule's keys, only those that match this regular expression can exist. Checked before any queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// How the origin's key is made from ours: text with `{key}`, or with `{rest}` for what follows `prefix`; `{key}`
    /// if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name under which a compute origin's results belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// Seconds that a copy is fresh in `cache` mode where the origin does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Seconds that the origin's "not found" is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_ttl_secs: Option<u64>,
    /// What the origin's 403 means.
    #[serde(default)]
    pub treat_403_as: Treat403As,
    /// How LIST treats the shadow; the mode's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListFrom>,
    /// Whether the origin can be asked for ranges; the kind's default (S3 and HTTP yes) if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seekable: Option<bool>,
    /// Query parameters of clients' reads that are passed on to the origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_query: Vec<String>,
    /// Headers of clients' reads that are passed on to the origin, in small letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass_headers: Vec<String>,
    /// The origin's object is the same whatever is passed on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_alike: bool,
    /// Fills in flight per client; the server's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_client: Option<u32>,
    /// Fills in flight to this origin; the server's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Requests to this origin in a stretch of time; the server's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Rate>,
    /// Of those, the ones that one client may cause; the server's default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_budget: Option<Rate>,
    /// Whether what clients write is written to the origin as well.
    #[serde(default, skip_serializing_if = "WriteThrough::is_off")]
    pub write_through: WriteThrough,
    /// Whether what clients delete is deleted at the origin as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_through: bool,
    /// What happens if somebody else has changed the object at the origin.
    #[serde(default, skip_serializing_if = "WriteConflict::is_fail")]
    pub write_conflict: WriteConflict,
    /// An inventory of the origin is kept, and believed for so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_secs: Option<u64>,
    /// What a believed inventory does not have does not exist, for who reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inventory_absent: bool,
}

impl ShadowRule {
    /// A rule for all keys with every choice left to its default.
    pub fn to(target: ShadowTarget) -> Self {
        Self {
            target,
            members: Vec::new(),
            prefix: None,
            suffix: None,
            matches: None,
            keys: None,
            key: None,
            edition: None,
            ttl_secs: None,
            negative_ttl_secs: None,
            treat_403_as: Treat403As::default(),
            list: None,
            seekable: None,
            pass_query: Vec::new(),
            pass_headers: Vec::new(),
            passed_alike: false,
            per_client: None,
            max_in_flight: None,
            budget: None,
            client_budget: None,
            write_through: WriteThrough::default(),
            delete_through: false,
            write_conflict: WriteConflict::default(),
            inventory_secs: None,
            inventory_absent: false,
        }
    }

    /// All places that it leads to: the one that is written to, and listed, first.
    pub fn places(&self) -> impl Iterator<Item = &ShadowTarget> {
        std::iter::once(&self.target).chain(&self.members)
    }

    /// The same rule with each of its places alone, in their order.
    pub fn each_place(&self) -> impl Iterator<Item = Self> {
        self.places().map(|place| Self { target: place.clone(), members: Vec::new(), ..self.clone() })
    }

    /// Whether anything of what clients ask with is passed on to the origin.
    pub fn passes_on(&self) -> bool {
        !self.pass_query.is_empty() || !self.pass_headers.is_empty()
    }

    /// Whether anything that clients do is done at the origin as well.
    pub fn goes_through(&self) -> bool {
        self.write_through != WriteThrough::Off || self.delete_through
    }

    /// Whether an inventory of the origin is kept.
    pub fn keeps_inventory(&self) -> bool {
        self.inventory_secs.is_some()
    }

    /// How long the origin's "not found" is believed under this rule.
    pub fn negative_ttl(&self, default: Duration) -> Duration {
        self.negative_ttl_secs.map_or(default, Duration::from_secs)
    }
}

/// Whether what clients write is written to the origin as well, and when they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteThrough {
    /// It is not.
    #[default]
    Off,
    /// After it was acknowledged.
    Async,
    /// Before.
    Sync,
}

impl WriteThrough {
    fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// What happens to a write if somebody else has changed the object at the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteConflict {
    /// It stays here, undelivered, until somebody decides.
    #[default]
    Fail,
    /// It overwrites what is at the origin.
    Local,
    /// It is given up here, and what is at the origin counts.
    Origin,
}

impl WriteConflict {
    fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum ShadowTarget {
    /// An origin declared in the configuration by name.
    Origin {
        /// Its name.
        origin: String,
    },
    /// A bucket at an S3 provider.
    S3 {
        /// `http(s)://host[:port]`.
        endpoint: String,
        /// The bucket there.
        name: String,
        /// Region to sign for.
        region: String,
        /// How the bucket is named in URLs.
        #[serde(default, skip_serializing_if = "Addressing::is_path")]
        addressing: Addressing,
        /// What to sign with; anonymous if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<ShadowCredentials>,
    },
    /// An HTTP server: the key is appended to the URL.
    Http {
        /// Base URL.
        url: String,
    },
}

/// What requests to an S3 shadow are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowCredentials {
    /// The key's id.
    pub access_key: String,
    /// The secret. Never returned by any API.
    pub secret_key: String,
}

impl std::fmt::Debug for ShadowCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShadowCredentials({})", self.access_key)
    }
}

/// What an origin's 403 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treat403As {
    /// Our credentials are wrong: 424.
    #[default]
    Error,
    /// The provider hides missing keys so: 404.
    Absent,
}

/// How LIST treats the shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListFrom {
    /// The shadow's keys and ours, merged.
    Merged,
    /// What is here.
    Local,
}

/// An access key as the index has it.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct AccessKeyRow {
    /// The key's id.
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// The account it belongs to.
    pub account: String,
    /// When it was made.
    pub created: Timestamp,
    /// Refused from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What it may do; `None`: all that its account may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
}

impl std::fmt::Debug for AccessKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessKeyRow({} of {})", self.id, self.account)
    }
}

/// An account as the index has it: what others may see of it. It stays when its last access key goes, since buckets,
/// objects and ACLs may name it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub struct AccountRow {
    /// Its canonical id.
    pub id: String,
    /// The name that people are shown.
    pub display_name: String,
    /// An address that grants may name it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl AccountRow {
    /// An account of which nothing is known but its id.
    pub fn of(id: &str) -> Self {
        Self { id: id.to_owned(), display_name: id.to_owned(), email: None }
    }
}

/// A right on a bucket that an access key is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The bucket's name; `*` for all.
    pub bucket: String,
    /// What may be done there.
    pub right: Right,
}

/// The rights that a grant can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// GET, HEAD, LIST of what is here, and joining fills.
    Read,
    /// PUT and DELETE.
    Write,
    /// Causing fills.
    Fill,
    /// All of it, settings too.
    Owner,
}

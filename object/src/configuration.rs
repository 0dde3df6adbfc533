//! What clients may set on a bucket through S3: tags, CORS, lifecycle, website.

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::clock::Timestamp;

/// A tag of an object or a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// 1 to 128 characters.
    pub key: String,
    /// At most 256 characters.
    pub value: String,
}

/// What clients have set on a bucket through S3. What an operator sets is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BucketConfiguration {
    /// The bucket's ACL; `None`: private to its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// Its tags; empty: not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Its CORS rules; empty: not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cors: Vec<CorsRule>,
    /// Its lifecycle rules; empty: not set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleRule>,
    /// How it is served as a website; `None`: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<Website>,
}

/// Which pages of other origins may use the bucket, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CorsRule {
    /// A name for people.
    pub id: Option<String>,
    /// Origins, each with at most one `*`.
    pub allowed_origins: Vec<String>,
    /// GET, PUT, HEAD, POST, DELETE.
    pub allowed_methods: Vec<String>,
    /// Names of request headers, each with at most one `*`.
    pub allowed_headers: Vec<String>,
    /// Headers of answers that pages may see.
    pub expose_headers: Vec<String>,
    /// How long a preflight's answer may be kept.
    pub max_age_secs: Option<u32>,
}

/// What happens to objects by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LifecycleRule {
    /// Its name; unique in its bucket.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// Which objects it is for.
    pub filter: LifecycleFilter,
    /// Objects expire so many days after they were last modified.
    pub expire_days: Option<u32>,
    /// Objects expire at this time.
    pub expire_at: Option<Timestamp>,
    /// Markers of deletes expire where nothing else is left: without versions there are none, and it is only kept.
    pub expired_delete_marker: Option<bool>,
    /// Older versions expire so many days after they were replaced: without versions there are none, and it is only kept.
    pub noncurrent_days: Option<u32>,
    /// How many older versions are spared; kept likewise.
    pub newer_noncurrent: Option<u32>,
    /// Multipart uploads are aborted so many days after they began.
    pub abort_uploads_days: Option<u32>,
    /// The filter stands as `Prefix` of the rule itself, as older clients write it.
    pub old_prefix: bool,
}

/// Which objects a lifecycle rule is for: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LifecycleFilter {
    /// Keys that begin so; `None`: all.
    pub prefix: Option<String>,
    /// Objects with these tags.
    pub tags: Vec<Tag>,
    /// Objects that are larger.
    pub larger_than_bytes: Option<u64>,
    /// Objects that are smaller.
    pub smaller_than_bytes: Option<u64>,
}

/// How a bucket is served as a website.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Website {
    /// Appended to keys that are empty or end in `/`.
    pub index: Option<String>,
    /// The key of the document that is shown for errors.
    pub error: Option<String>,
    /// Every request is sent to this host.
    pub redirect_all_to: Option<WebsiteRedirect>,
}

/// Where requests are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct WebsiteRedirect {
    /// The host.
    pub host: String,
    /// `http` or `https`; as the request came if not given.
    pub protocol: Option<String>,
}

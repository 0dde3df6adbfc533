//! Managed buckets and their shadow rules.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use fallthrough_bucket::{
    BucketMode, ListFrom, PublicAccess, PublicFill, ShadowRule, ShadowTarget, Treat403As, WriteConflict,
    WriteThrough,
};
use fallthrough_object::BucketName;

use crate::settings::credentials;
use crate::settings::origin::OriginSettings;
use crate::settings::s3_place;
use crate::settings::section::Section;

/// A bucket declared in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketDeclaration {
    /// How it treats its shadow.
    pub(crate) mode: BucketMode,
    /// Who may read without signing.
    pub(crate) public: PublicAccess,
    /// Who may cause fills.
    pub(crate) public_fill: PublicFill,
    /// The rules in order.
    pub(crate) shadow: Vec<ShadowRule>,
    /// The most that its copies may hold, in bytes.
    pub(crate) cache_limit_bytes: Option<u64>,
    /// The most that clients may write, in bytes.
    pub(crate) quota_bytes: Option<u64>,
}

/// Reads all buckets.
pub(super) fn read_all(
    root: &Section<'_>,
    origins: &BTreeMap<String, OriginSettings>,
    environment: &[(OsString, OsString)],
) -> BTreeMap<BucketName, BucketDeclaration> {
    let mut buckets = BTreeMap::new();
    for (name, section) in root.named("bucket") {
        let parsed = BucketName::parse(&name).map_err(|invalid| {
            section.problem("", invalid.to_string(), "rename the table [bucket.NAME]");
        });
        let declared = read(&section, origins, environment);
        if let (Ok(name), Some(declared)) = (parsed, declared) {
            buckets.insert(name, declared);
        }
    }
    buckets
}

fn read(
    section: &Section<'_>,
    origins: &BTreeMap<String, OriginSettings>,
    environment: &[(OsString, OsString)],
) -> Option<BucketDeclaration> {
    let rules = section.list("shadow");
    let shadow: Vec<ShadowRule> =
        rules.iter().filter_map(|rule| read_rule(rule, origins, environment)).collect();
    let mode = match section.word("mode").as_deref() {
        Some("plain") => BucketMode::Plain,
        Some("migrate") => BucketMode::Migrate,
        Some("cache") => BucketMode::Cache,
        Some("compute") => BucketMode::Compute,
        _ if section.is_set("mode") => return None,
        _ if section.is_set("shadow") => BucketMode::Migrate,
        _ => BucketMode::Plain,
    };
    if mode == BucketMode::Plain && section.is_set("shadow") {
        section.problem(
            "mode",
            format!("{}: a plain bucket has no shadow", section.path),
            "write mode = \"migrate\", \"cache\" or \"compute\", or take the shadow out",
        );
    }
    // A shadow of the wrong shape was reported as such.
    if mode != BucketMode::Plain
        && rules.is_empty()
        && (!section.is_set("shadow") || section.is_list("shadow"))
    {
        section.problem(
            "mode",
            format!("{}: this mode needs a shadow", section.path),
            "add shadow = { origin = \"…\" }, or write mode = \"plain\"",
        );
    }
    let public = match section.word("public")?.as_str() {
        "read" => PublicAccess::Read,
        _ => PublicAccess::None,
    };
    let public_fill = match section.word("public-fill")?.as_str() {
        "signed" => PublicFill::Signed,
        "open" => PublicFill::Open,
        _ => PublicFill::Budget,
    };
    let (cache_limit_bytes, quota_bytes) = (section.size("cache-limit"), section.size("quota"));
    if cache_limit_bytes.is_some() && matches!(mode, BucketMode::Plain | BucketMode::Migrate) {
        section.problem(
            "cache-limit",
            format!("{}.cache-limit: nothing that this mode keeps is ever evicted", section.path),
            "write mode = \"cache\" or \"compute\", or take it out",
        );
    }
    Some(BucketDeclaration { mode, public, public_fill, shadow, cache_limit_bytes, quota_bytes })
}

fn read_rule(
    section: &Section<'_>,
    origins: &BTreeMap<String, OriginSettings>,
    environment: &[(OsString, OsString)],
) -> Option<ShadowRule> {
    let mut rule = ShadowRule::to(read_target(section, origins, environment)?);
    let members = section.list("members");
    rule.members = members.iter().filter_map(|member| read_target(member, origins, environment)).collect();
    rule.prefix = section.text("prefix");
    rule.suffix = section.text("suffix");
    rule.matches = section.text("matches");
    rule.keys = section.text("keys");
    rule.key = section.text("key").filter(|key| key != "{key}");
    rule.edition = section.text("edition");
    rule.ttl_secs = section.duration("ttl").map(whole_secs);
    rule.negative_ttl_secs = section.duration("negative-ttl").map(whole_secs);
    rule.treat_403_as = match section.word("treat-403-as")?.as_str() {
        "absent" => Treat403As::Absent,
        _ => Treat403As::Error,
    };
    rule.list = match section.word("list").as_deref() {
        Some("merged") => Some(ListFrom::Merged),
        Some("local") => Some(ListFrom::Local),
        _ => None,
    };
    rule.seekable = section.switch("seekable");
    rule.pass_query = section.texts("pass-query");
    rule.pass_headers = section.texts("pass-headers").iter().map(|name| name.to_ascii_lowercase()).collect();
    rule.passed_alike = section.switch("passed-alike").unwrap_or_default();
    rule.per_client = section.count("per-client");
    rule.max_in_flight = section.count("max-in-flight");
    rule.budget = section.rate("budget");
    rule.client_budget = section.rate("client-budget");
    rule.write_through = match section.word("write-through")?.as_str() {
        "async" => WriteThrough::Async,
        "sync" => WriteThrough::Sync,
        _ => WriteThrough::Off,
    };
    rule.delete_through = section.switch("delete-through").unwrap_or_default();
    rule.write_conflict = match section.word("write-conflict")?.as_str() {
        "local" => WriteConflict::Local,
        "origin" => WriteConflict::Origin,
        _ => WriteConflict::Fail,
    };
    rule.inventory_secs = section.duration("inventory").map(whole_secs);
    rule.inventory_absent = section.switch("inventory-absent").unwrap_or_default();
    if rule.key.as_ref().is_some_and(|key| !key.contains("{key}") && !key.contains("{rest}")) {
        section.problem(
            "key",
            format!(
                "{}.key: the text has no {{key}} in it, so that all keys would be the same object",
                section.path
            ),
            "write key = \"folder/{key}\", for example",
        );
    }
    Some(rule)
}

fn read_target(
    section: &Section<'_>,
    origins: &BTreeMap<String, OriginSettings>,
    environment: &[(OsString, OsString)],
) -> Option<ShadowTarget> {
    let ways: Vec<&str> =
        ["origin", "endpoint", "provider", "url"].into_iter().filter(|name| section.is_set(name)).collect();
    match ways.as_slice() {
        ["origin"] => {
            let origin = section.text("origin")?;
            if !origins.contains_key(&origin) {
                let names: Vec<&str> = origins.keys().map(String::as_str).collect();
                let near = super::unknown::nearest(&origin, &names);
                let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
                section.problem(
                    "origin",
                    format!("{}.origin: there is no [origin.{origin}]{hint}", section.path),
                    "declare it, or name one that is declared",
                );
            }
            Some(ShadowTarget::Origin { origin })
        }
        ["endpoint"] | ["provider"] | ["endpoint", "provider"] => {
            let name = section.required("name");
            let place = s3_place::read(section, name.as_deref().unwrap_or_default());
            let credentials = credentials::read(section, environment);
            let place = place?;
            Some(ShadowTarget::S3 {
                endpoint: place.endpoint,
                name: name?,
                region: place.region,
                addressing: place.addressing,
                credentials: credentials?,
            })
        }
        ["url"] => Some(ShadowTarget::Http { url: section.url("url")?.to_string() }),
        [] => {
            section.problem(
                "",
                format!("{} leads nowhere", section.path),
                "add origin = \"NAME\", endpoint = \"https://…\" or provider = \"…\" with name = \"BUCKET\", or url = \"https://…\"",
            );
            None
        }
        several => {
            let message = format!("{} leads to several places: {}", section.path, several.join(", "));
            section.problem(several[1], message, "keep one; several rules are an array of tables");
            None
        }
    }
}

/// Seconds, rounded up, so that no positive duration becomes "not at all".
fn whole_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

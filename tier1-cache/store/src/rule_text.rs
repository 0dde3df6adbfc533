//! Reading a shadow rule where people write it: the target's fields stand beside the rule's own, and a field
//! that is not known, or not known for this kind of target, is an error. (`serde` cannot refuse unknown fields
//! of a flattened enum.)

use fallthrough_object::{Addressing, Rate};
use serde::Deserialize;

use crate::bucket_row::{
    ListFrom, ShadowCredentials, ShadowRule, ShadowTarget, Treat403As, WriteConflict, WriteThrough,
};

/// A [`ShadowRule`] with every field that any kind of target has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FlatRule {
    kind: Kind,
    origin: Option<String>,
    endpoint: Option<String>,
    name: Option<String>,
    region: Option<String>,
    addressing: Option<Addressing>,
    credentials: Option<ShadowCredentials>,
    url: Option<String>,
    #[serde(default)]
    members: Vec<ShadowTarget>,
    prefix: Option<String>,
    suffix: Option<String>,
    matches: Option<String>,
    keys: Option<String>,
    key: Option<String>,
    edition: Option<String>,
    ttl_secs: Option<u64>,
    negative_ttl_secs: Option<u64>,
    #[serde(default)]
    treat_403_as: Treat403As,
    list: Option<ListFrom>,
    seekable: Option<bool>,
    #[serde(default)]
    pass_query: Vec<String>,
    #[serde(default)]
    pass_headers: Vec<String>,
    #[serde(default)]
    passed_alike: bool,
    per_client: Option<u32>,
    max_in_flight: Option<u32>,
    budget: Option<Rate>,
    client_budget: Option<Rate>,
    #[serde(default)]
    write_through: WriteThrough,
    #[serde(default)]
    delete_through: bool,
    #[serde(default)]
    write_conflict: WriteConflict,
    inventory_secs: Option<u64>,
    #[serde(default)]
    inventory_absent: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Origin,
    S3,
    Http,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::S3 => "s3",
            Self::Http => "http",
        }
    }
}

impl TryFrom<FlatRule> for ShadowRule {
    type Error = String;

    fn try_from(flat: FlatRule) -> Result<Self, String> {
        let kind = flat.kind.name();
        let needed = |field: Option<String>, name: &str| {
            field.ok_or_else(|| format!("a shadow rule of kind `{kind}` needs `{name}`"))
        };
        let target = match flat.kind {
            Kind::Origin => ShadowTarget::Origin { origin: needed(flat.origin.clone(), "origin")? },
            Kind::S3 => ShadowTarget::S3 {
                endpoint: needed(flat.endpoint.clone(), "endpoint")?,
                name: needed(flat.name.clone(), "name")?,
                region: needed(flat.region.clone(), "region")?,
                addressing: flat.addressing.unwrap_or_default(),
                credentials: flat.credentials.clone(),
            },
            Kind::Http => ShadowTarget::Http { url: needed(flat.url.clone(), "url")? },
        };
        let (origin, s3, http) = match flat.kind {
            Kind::Origin => (true, false, false),
            Kind::S3 => (false, true, false),
            Kind::Http => (false, false, true),
        };
        let strangers = [
            ("origin", flat.origin.is_some() && !origin),
            ("endpoint", flat.endpoint.is_some() && !s3),
            ("name", flat.name.is_some() && !s3),
            ("region", flat.region.is_some() && !s3),
            ("addressing", flat.addressing.is_some() && !s3),
            ("credentials", flat.credentials.is_some() && !s3),
            ("url", flat.url.is_some() && !http),
        ];
        if let Some((field, _)) = strangers.iter().find(|(_, stranger)| *stranger) {
            return Err(format!("a shadow rule of kind `{kind}` has no `{field}`"));
        }
        Ok(Self {
            target,
            members: flat.members,
            prefix: flat.prefix,
            suffix: flat.suffix,
            matches: flat.matches,
            keys: flat.keys,
            key: flat.key,
            edition: flat.edition,
            ttl_secs: flat.ttl_secs,
            negative_ttl_secs: flat.negative_ttl_secs,
            treat_403_as: flat.treat_403_as,
            list: flat.list,
            seekable: flat.seekable,
            pass_query: flat.pass_query,
            pass_headers: flat.pass_headers,
            passed_alike: flat.passed_alike,
            per_client: flat.per_client,
            max_in_flight: flat.max_in_flight,
            budget: flat.budget,
            client_budget: flat.client_budget,
            write_through: flat.write_through,
            delete_through: flat.delete_through,
            write_conflict: flat.write_conflict,
            inventory_secs: flat.inventory_secs,
            inventory_absent: flat.inventory_absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> [ShadowTarget; 4] {
        let text = str::to_owned;
        let (access_key, secret_key) = (text("AK"), text("hidden"));
        let s3 = |credentials| ShadowTarget::S3 {
            endpoint: text("http://e"),
            name: text("n"),
            region: text("r"),
            addressing: Addressing::VirtualHost,
            credentials,
        };
        [
            ShadowTarget::Origin { origin: text("o") },
            s3(None),
            s3(Some(ShadowCredentials { access_key, secret_key })),
            ShadowTarget::Http { url: text("http://u") },
        ]
    }

    #[test]
    fn every_kind_of_rule_reads_back() {
        for target in targets() {
            let rule = ShadowRule {
                members: targets().to_vec(),
                prefix: Some("p/".to_owned()),
                suffix: Some(".png".to_owned()),
                matches: Some("^p/[a-f]".to_owned()),
                ttl_secs: Some(5),
                pass_query: vec!["w".to_owned(), "h".to_owned()],
                pass_headers: vec!["accept-language".to_owned()],
                passed_alike: true,
                treat_403_as: Treat403As::Absent,
                list: Some(ListFrom::Local),
                write_through: WriteThrough::Async,
                delete_through: true,
                write_conflict: WriteConflict::Local,
                inventory_secs: Some(3600),
                inventory_absent: true,
                ..ShadowRule::to(target)
            };
            let written = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<ShadowRule>(&written).unwrap(), rule);
            assert!(!format!("{rule:?}").contains("hidden"));
            assert_eq!(rule.each_place().count(), 5);
            assert!(
                rule.each_place().all(|alone| alone.places().count() == 1 && alone.prefix == rule.prefix)
            );
        }
    }

    #[test]
    fn a_rule_from_before_there_were_members_reads_as_one_place() {
        let rule: ShadowRule = serde_json::from_str(r#"{"kind":"http","url":"u"}"#).unwrap();
        assert_eq!(rule, ShadowRule::to(ShadowTarget::Http { url: "u".to_owned() }));
        assert!(!serde_json::to_string(&rule).unwrap().contains("members"));
    }

    #[test]
    fn what_is_missing_or_does_not_belong_is_named() {
        for (text, named) in [
            (r#"{"kind":"http"}"#, "needs `url`"),
            (r#"{"kind":"http","url":"u","region":"r"}"#, "has no `region`"),
            (r#"{"kind":"http","url":"u","colour":1}"#, "unknown field `colour`"),
            (r#"{"kind":"http","url":"u","members":[{"kind":"http","url":"u","colour":1}]}"#, "colour"),
            (r#"{"kind":"ftp"}"#, "unknown variant `ftp`"),
            (r#"{"url":"u"}"#, "missing field `kind`"),
        ] {
            let error = serde_json::from_str::<ShadowRule>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}

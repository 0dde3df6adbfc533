//! A shadow rule as the admin API speaks of it.

use fallthrough_bucket::{ListFrom, ShadowRule, ShadowTarget, Treat403As, WriteConflict, WriteThrough};
use fallthrough_object::{Addressing, Provider, Rate};
use serde::{Deserialize, Serialize};

use crate::admin::answer::ApiError;
use crate::admin::member::Member;

/// A shadow rule as JSON: the words of the configuration file with underscores, durations in seconds.
///
/// It leads to one of: `origin`; `endpoint` or `provider` with `name`; `url`. Going out, what `provider` stands for is shown
/// instead of it, `secret_key` is never there and
/// `secret_key_set` says whether there is one. Coming in, `secret_key_set` is ignored, and a secret that is not
/// given stays as it is if endpoint and access key do.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Name of a declared origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// An S3 provider by name, for what of `endpoint`, `region` and `addressing` is not given. Only ever comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// `http(s)://host[:port]` of an S3 provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket at the S3 provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Region to sign for; `us-east-1` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How the bucket is named in URLs: `path` or `virtual-host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// Id of the key to sign with; anonymous if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// The secret half. Only ever comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
    /// Whether there is a secret. Only ever goes out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_set: Option<bool>,
    /// Base URL of an HTTP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Further places of the same kind that have the same objects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// Only keys with this prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only keys with this suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Only keys that match this regular expression; others are left to the rules that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Of this rule's keys, only those that match this regular expression can exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// How the origin's key is made: text with `{key}`, or `{rest}` for what follows the prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Under which name a compute origin's results belong together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// Seconds a copy is fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
    /// Seconds that "not found" is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_ttl_secs: Option<u64>,
    /// What the origin's 403 means: `error` or `absent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub treat_403_as: Option<Treat403As>,
    /// How LIST treats the shadow: `merged` or `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<ListFrom>,
    /// Whether the origin can be asked for ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seekable: Option<bool>,
    /// Query parameters of clients' reads that are passed on to the origin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_query: Vec<String>,
    /// Headers of clients' reads that are passed on to the origin, in small letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_headers: Vec<String>,
    /// The origin's object is the same whatever is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed_alike: Option<bool>,
    /// Fills in flight per client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_client: Option<u32>,
    /// Fills in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Requests to the origin in a stretch of time, such as `100/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Rate>,
    /// Of those, the ones that one client may cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_budget: Option<Rate>,
    /// Whether what is written here is written to the origin as well: `off`, `async` or `sync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_through: Option<WriteThrough>,
    /// Whether what is deleted here is deleted at the origin as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_through: Option<bool>,
    /// What happens if somebody else has changed the object at the origin: `fail`, `local` or `origin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_conflict: Option<WriteConflict>,
    /// An inventory of the origin's list is kept, and believed for so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_secs: Option<u64>,
    /// What a believed inventory does not have is 404 for who reads, without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_absent: Option<bool>,
}

// Written by hand so that a secret on its way in cannot reach a log.
impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to = self.origin.as_ref().or(self.endpoint.as_ref()).or(self.url.as_ref());
        f.debug_struct("Rule").field("to", &to).finish_non_exhaustive()
    }
}

impl Rule {
    /// What a stored rule looks like, without its secret.
    pub(crate) fn shown(rule: &ShadowRule) -> Self {
        let mut shown = Self {
            prefix: rule.prefix.clone(),
            suffix: rule.suffix.clone(),
            matches: rule.matches.clone(),
            keys: rule.keys.clone(),
            key: rule.key.clone(),
            edition: rule.edition.clone(),
            ttl_secs: rule.ttl_secs,
            negative_ttl_secs: rule.negative_ttl_secs,
            treat_403_as: (rule.treat_403_as != Treat403As::default()).then_some(rule.treat_403_as),
            list: rule.list,
            seekable: rule.seekable,
            pass_query: rule.pass_query.clone(),
            pass_headers: rule.pass_headers.clone(),
            passed_alike: rule.passed_alike.then_some(true),
            per_client: rule.per_client,
            max_in_flight: rule.max_in_flight,
            budget: rule.budget,
            client_budget: rule.client_budget,
            write_through: (rule.write_through != WriteThrough::default()).then_some(rule.write_through),
            delete_through: rule.delete_through.then_some(true),
            write_conflict: (rule.write_conflict != WriteConflict::default()).then_some(rule.write_conflict),
            inventory_secs: rule.inventory_secs,
            inventory_absent: rule.inventory_absent.then_some(true),
            ..Self::default()
        };
        let Member {
            origin,
            provider: _,
            endpoint,
            name,
            region,
            addressing,
            access_key,
            secret_key: _,
            secret_key_set,
            url,
        } = Member::shown(&rule.target);
        (shown.origin, shown.endpoint, shown.name, shown.region) = (origin, endpoint, name, region);
        (shown.addressing, shown.access_key, shown.url) = (addressing, access_key, url);
        shown.secret_key_set = secret_key_set;
        shown.members = rule.members.iter().map(Member::shown).collect();
        shown
    }

    /// Where it leads by itself.
    fn place(&self) -> Member {
        Member {
            origin: self.origin.clone(),
            provider: self.provider,
            endpoint: self.endpoint.clone(),
            name: self.name.clone(),
            region: self.region.clone(),
            addressing: self.addressing,
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            secret_key_set: None,
            url: self.url.clone(),
        }
    }

    /// The rule to store. `before` is the rule in its place, whose secret is kept where it still fits.
    ///
    /// # Errors
    /// 422 with what does not fit together.
    pub(crate) fn to_store(&self, before: Option<&ShadowRule>) -> Result<ShadowRule, ApiError> {
        let known: Vec<&ShadowTarget> = before.into_iter().flat_map(ShadowRule::places).collect();
        let mut rule = ShadowRule::to(self.place().target(&known)?);
        let members = self.members.iter().map(|member| member.target(&known));
        rule.members = members.collect::<Result<_, _>>()?;
        if self.per_client == Some(0) || self.max_in_flight == Some(0) {
            return Err(invalid(
                "a limit of 0 would let nothing through",
                "give at least 1, or leave it out",
            ));
        }
        rule.prefix = self.prefix.clone();
        rule.suffix = self.suffix.clone();
        rule.matches = self.matches.clone();
        rule.keys = self.keys.clone();
        rule.key = self.key.clone();
        rule.edition = self.edition.clone();
        rule.ttl_secs = self.ttl_secs;
        rule.negative_ttl_secs = self.negative_ttl_secs;
        rule.treat_403_as = self.treat_403_as.unwrap_or_default();
        rule.list = self.list;
        rule.seekable = self.seekable;
        rule.pass_query = self.pass_query.clone();
        rule.pass_headers = self.pass_headers.clone();
        rule.passed_alike = self.passed_alike.unwrap_or_default();
        rule.per_client = self.per_client;
        rule.max_in_flight = self.max_in_flight;
        rule.budget = self.budget;
        rule.client_budget = self.client_budget;
        rule.write_through = self.write_through.unwrap_or_default();
        rule.delete_through = self.delete_through.unwrap_or_default();
        rule.write_conflict = self.write_conflict.unwrap_or_default();
        rule.inventory_secs = self.inventory_secs;
        rule.inventory_absent = self.inventory_absent.unwrap_or_default();
        Ok(rule)
    }
}

pub(crate) fn invalid(message: impl Into<String>, mend: impl Into<String>) -> ApiError {
    ApiError::new(http::StatusCode::UNPROCESSABLE_ENTITY, "invalid_settings", message, mend)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_of_a_rule_has_all_of_its_fields() {
        // serde's refusal of a field that there is not names those that there are.
        let refusal = serde_json::from_str::<Rule>("{\"no such field\": 1}").unwrap_err().to_string();
        let known = refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let described: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let described = described["components"]["schemas"]["Rule"]["properties"].as_object().unwrap();
        assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), known);
        // And so a member's.
        let refusal = serde_json::from_str::<Member>("{\"no such field\": 1}").unwrap_err().to_string();
        let known = refusal.split('`').skip(3).step_by(2).collect::<BTreeSet<_>>();
        let member = described["members"]["items"]["properties"].as_object().unwrap();
        assert_eq!(member.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    }
}

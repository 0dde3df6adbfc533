//! A shadow rule as the admin API speaks of it.

use fallthrough_bucket::{
    ListFrom, ShadowCredentials, ShadowRule, ShadowTarget, Treat403As, WriteConflict, WriteThrough,
};
use fallthrough_object::{Addressing, Provider, Rate, S3Place};
use serde::{Deserialize, Serialize};

use crate::admin::answer::ApiError;

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
        match &rule.target {
            ShadowTarget::Origin { origin } => shown.origin = Some(origin.clone()),
            ShadowTarget::S3 { endpoint, name, region, addressing, credentials } => {
                shown.endpoint = Some(endpoint.clone());
                shown.name = Some(name.clone());
                shown.region = Some(region.clone());
                shown.addressing = (!addressing.is_path()).then_some(*addressing);
                shown.access_key = credentials.as_ref().map(|credentials| credentials.access_key.clone());
                shown.secret_key_set = Some(credentials.is_some());
            }
            ShadowTarget::Http { url } => shown.url = Some(url.clone()),
        }
        shown
    }

    /// The rule to store. `before` is the rule in its place, whose secret is kept where it still fits.
    ///
    /// # Errors
    /// 422 with what does not fit together.
    pub(crate) fn to_store(&self, before: Option<&ShadowRule>) -> Result<ShadowRule, ApiError> {
        let mut rule = ShadowRule::to(self.target(before)?);
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

    fn target(&self, before: Option<&ShadowRule>) -> Result<ShadowTarget, ApiError> {
        let s3_only = [
            ("name", self.name.is_some()),
            ("region", self.region.is_some()),
            ("addressing", self.addressing.is_some()),
            ("access_key", self.access_key.is_some()),
            ("secret_key", self.secret_key.is_some()),
        ];
        let is_s3 = self.endpoint.is_some() || self.provider.is_some();
        if let (false, Some((field, _))) = (is_s3, s3_only.iter().find(|(_, given)| *given)) {
            return Err(invalid(
                format!("`{field}` belongs to an S3 shadow"),
                "give its `endpoint` or `provider` as well",
            ));
        }
        match (&self.origin, is_s3, &self.url) {
            (Some(origin), false, None) => Ok(ShadowTarget::Origin { origin: origin.clone() }),
            (None, true, None) => {
                let name = self.name.clone().ok_or_else(|| {
                    invalid(
                        "an S3 shadow needs the `name` of the bucket there",
                        "add it (--name, --shadow-name)",
                    )
                })?;
                let (endpoint, region) = (self.endpoint.as_deref(), self.region.as_deref());
                let place = S3Place::of(self.provider, &name, endpoint, region, self.addressing);
                let S3Place { endpoint, region, addressing } =
                    place.map_err(|missing| invalid(missing, "add it"))?;
                http_url(&endpoint)?;
                let credentials = self.credentials(&endpoint, before)?;
                Ok(ShadowTarget::S3 { endpoint, name, region, addressing, credentials })
            }
            (None, false, Some(url)) => Ok(ShadowTarget::Http { url: http_url(url)?.to_owned() }),
            (None, false, None) => Err(invalid(
                "the rule leads nowhere",
                "give one of: `origin` (a declared one), `endpoint` or `provider` with `name` (S3), `url` (HTTP)",
            )),
            _ => Err(invalid("the rule leads to several places", "keep one of `origin`, `endpoint`, `url`")),
        }
    }

    fn credentials(
        &self,
        endpoint: &str,
        before: Option<&ShadowRule>,
    ) -> Result<Option<ShadowCredentials>, ApiError> {
        let kept = || match before.map(|rule| &rule.target) {
            Some(ShadowTarget::S3 { endpoint: known, credentials: Some(old), .. })
                if Some(&old.access_key) == self.access_key.as_ref() && known == endpoint =>
            {
                Some(old.secret_key.clone())
            }
            Some(ShadowTarget::S3 { .. } | ShadowTarget::Origin { .. } | ShadowTarget::Http { .. })
            | None => None,
        };
        match (&self.access_key, self.secret_key.clone().or_else(kept)) {
            (None, None) => Ok(None),
            (Some(access_key), Some(secret_key)) => {
                Ok(Some(ShadowCredentials { access_key: access_key.clone(), secret_key }))
            }
            (Some(_), None) => Err(invalid(
                "there is no secret for this access key and endpoint",
                "give the secret key, too (--secret-key-file)",
            )),
            (None, Some(_)) => {
                Err(invalid("there is a secret key, but no access key", "give the access key, too"))
            }
        }
    }
}

fn http_url(text: &str) -> Result<&str, ApiError> {
    let uri: Option<http::Uri> = text.parse().ok();
    let sound = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())
    });
    if sound {
        Ok(text)
    } else {
        Err(invalid(
            "the address is no http:// or https:// URL with a host and without credentials",
            "write it like https://s3.eu-central-1.example",
        ))
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
    }
}

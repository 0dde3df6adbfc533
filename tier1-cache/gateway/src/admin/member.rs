//! One of the places that a shadow rule leads to, as the admin API speaks of it.

use fallthrough_bucket::{ShadowCredentials, ShadowTarget};
use fallthrough_object::{Addressing, Provider, S3Place};
use serde::{Deserialize, Serialize};

use crate::admin::answer::ApiError;
use crate::admin::rule::invalid;

/// A place as JSON, with the fields that a rule says its own place with: one of `origin`; `endpoint` or `provider` with
/// `name`; `url`. Secrets come and go as a rule's do.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Member {
    /// Name of a declared origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// An S3 provider by name. Only ever comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// `http(s)://host[:port]` of an S3 provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket at the S3 provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Region to sign for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How the bucket is named in URLs.
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
}

// Written by hand so that a secret on its way in cannot reach a log.
impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to = self.origin.as_ref().or(self.endpoint.as_ref()).or(self.url.as_ref());
        f.debug_struct("Member").field("to", &to).finish_non_exhaustive()
    }
}

impl Member {
    /// What a stored place looks like, without its secret.
    pub(crate) fn shown(place: &ShadowTarget) -> Self {
        match place {
            ShadowTarget::Origin { origin } => Self { origin: Some(origin.clone()), ..Self::default() },
            ShadowTarget::S3 { endpoint, name, region, addressing, credentials } => Self {
                endpoint: Some(endpoint.clone()),
                name: Some(name.clone()),
                region: Some(region.clone()),
                addressing: (!addressing.is_path()).then_some(*addressing),
                access_key: credentials.as_ref().map(|credentials| credentials.access_key.clone()),
                secret_key_set: Some(credentials.is_some()),
                ..Self::default()
            },
            ShadowTarget::Http { url } => Self { url: Some(url.clone()), ..Self::default() },
        }
    }

    /// The place to store. `known`: those that the rule had, whose secrets are kept where they still fit.
    ///
    /// # Errors
    /// 422 with what does not fit together.
    pub(crate) fn target(&self, known: &[&ShadowTarget]) -> Result<ShadowTarget, ApiError> {
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
                let credentials = self.credentials(&endpoint, known)?;
                Ok(ShadowTarget::S3 { endpoint, name, region, addressing, credentials })
            }
            (None, false, Some(url)) => Ok(ShadowTarget::Http { url: http_url(url)?.to_owned() }),
            (None, false, None) => Err(invalid(
                "the rule, or one of its members, leads nowhere",
                "give one of: `origin` (a declared one), `endpoint` or `provider` with `name` (S3), `url` (HTTP)",
            )),
            _ => Err(invalid("the rule leads to several places", "keep one of `origin`, `endpoint`, `url`")),
        }
    }

    fn credentials(
        &self,
        endpoint: &str,
        known: &[&ShadowTarget],
    ) -> Result<Option<ShadowCredentials>, ApiError> {
        let kept = || {
            known.iter().find_map(|place| match place {
                ShadowTarget::S3 { endpoint: known, credentials: Some(old), .. }
                    if Some(&old.access_key) == self.access_key.as_ref() && known == endpoint =>
                {
                    Some(old.secret_key.clone())
                }
                ShadowTarget::S3 { .. } | ShadowTarget::Origin { .. } | ShadowTarget::Http { .. } => None,
            })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(endpoint: &str, secret_key: Option<&str>) -> Member {
        Member {
            endpoint: Some(endpoint.to_owned()),
            name: Some("old".to_owned()),
            access_key: Some("AK".to_owned()),
            secret_key: secret_key.map(str::to_owned),
            ..Member::default()
        }
    }

    #[test]
    fn a_secret_is_kept_where_endpoint_and_access_key_are_the_same_and_never_shown() {
        let one = s3("https://a.example", Some("hidden-1")).target(&[]).unwrap();
        let two = s3("https://b.example", Some("hidden-2")).target(&[]).unwrap();
        // Whatever the order is in which they come back.
        assert_eq!(s3("https://b.example", None).target(&[&one, &two]).unwrap(), two);
        // Nobody has it sent to a place of their own.
        assert!(s3("https://c.example", None).target(&[&one, &two]).is_err());
        let shown = serde_json::to_string(&Member::shown(&one)).unwrap();
        let printed = format!("{:?}", s3("https://a.example", Some("hidden-1")));
        assert!(!shown.contains("hidden") && shown.contains("secret_key_set") && !printed.contains("hidden"));
    }
}

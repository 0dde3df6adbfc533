//! Where an S3 provider is, and how its buckets are addressed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a bucket is named in a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// `https://host/bucket/key`
    #[default]
    Path,
    /// `https://bucket.host/key`
    VirtualHost,
}

impl Addressing {
    /// Whether it is the one that holds if nothing is said.
    pub fn is_path(&self) -> bool {
        *self == Self::Path
    }

    /// As settings have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::VirtualHost => "virtual-host",
        }
    }
}

impl FromStr for Addressing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "path" => Ok(Self::Path),
            "virtual-host" => Ok(Self::VirtualHost),
            other => Err(format!("{other:?} is neither path nor virtual-host")),
        }
    }
}

/// An S3 provider whose endpoint, region and addressing are known, from its own documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Amazon S3.
    Aws,
    /// Google Cloud Storage through its XML API, with an HMAC key.
    Gcs,
    /// Cloudflare R2. The endpoint holds the account and has to be given.
    R2,
    /// MinIO, or anything that is set up as it is by default.
    Minio,
    /// Backblaze B2.
    Backblaze,
    /// Wasabi.
    Wasabi,
    /// Tigris.
    Tigris,
}

/// A bucket's place at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Place {
    /// `http(s)://host[:port]`
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// How the bucket is named in URLs.
    pub addressing: Addressing,
}

/// The region of whoever has none.
const ANY_REGION: &str = "us-east-1";

impl Provider {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Aws, Self::Gcs, Self::R2, Self::Minio, Self::Backblaze, Self::Wasabi, Self::Tigris];

    /// All of their names, in the same order.
    pub const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].as_str();
            at += 1;
        }
        names
    };

    /// As settings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcs => "gcs",
            Self::R2 => "r2",
            Self::Minio => "minio",
            Self::Backblaze => "backblaze",
            Self::Wasabi => "wasabi",
            Self::Tigris => "tigris",
        }
    }

    fn region(self) -> Option<&'static str> {
        match self {
            Self::Aws | Self::Minio | Self::Wasabi => Some(ANY_REGION),
            Self::Gcs | Self::R2 | Self::Tigris => Some("auto"),
            Self::Backblaze => None,
        }
    }

    fn endpoint(self, region: &str) -> Option<String> {
        match self {
            Self::Aws if region.starts_with("cn-") => Some(format!("https://s3.{region}.amazonaws.com.cn")),
            Self::Aws => Some(format!("https://s3.{region}.amazonaws.com")),
            Self::Gcs => Some("https://storage.googleapis.com".to_owned()),
            Self::R2 | Self::Minio => None,
            Self::Backblaze => Some(format!("https://s3.{region}.backblazeb2.com")),
            Self::Wasabi => Some(format!("https://s3.{region}.wasabisys.com")),
            Self::Tigris => Some("https://t3.storage.dev".to_owned()),
        }
    }

    fn addressing(self, bucket: &str) -> Addressing {
        match self {
            // A certificate for *.host does not hold for a name with a dot in it.
            Self::Aws if !bucket.contains('.') => Addressing::VirtualHost,
            Self::Tigris => Addressing::VirtualHost,
            Self::Aws | Self::Gcs | Self::R2 | Self::Minio | Self::Backblaze | Self::Wasabi => {
                Addressing::Path
            }
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not one of {}", Self::NAMES.join(", ")))
    }
}

impl S3Place {
    /// Where `bucket` is: what is said, and else what is known of the provider.
    ///
    /// # Errors
    /// What has to be said as well.
    pub fn of(
        provider: Option<Provider>,
        bucket: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
        addressing: Option<Addressing>,
    ) -> Result<Self, String> {
        let known = provider.map_or(Some(ANY_REGION), Provider::region);
        let who = provider.map(|provider| format!(" of {provider}")).unwrap_or_default();
        let region = region.or(known).ok_or_else(|| format!("a bucket{who} needs its `region`"))?;
        let endpoint = match endpoint {
            Some(endpoint) => Some(endpoint.trim_end_matches('/').to_owned()),
            None => provider.and_then(|provider| provider.endpoint(region)),
        };
        let endpoint = endpoint.ok_or_else(|| match provider {
            Some(Provider::R2) => {
                "a bucket of r2 needs its `endpoint`: https://ACCOUNT.r2.cloudflarestorage.com".to_owned()
            }
            Some(_) | None => format!("a bucket{who} needs its `endpoint`"),
        })?;
        let usual = provider.map_or(Addressing::Path, |provider| provider.addressing(bucket));
        Ok(Self { endpoint, region: region.to_owned(), addressing: addressing.unwrap_or(usual) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(
        provider: Option<Provider>,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<S3Place, String> {
        S3Place::of(provider, "old", endpoint, region, None)
    }

    #[test]
    fn a_provider_is_known_by_its_name_and_region() {
        use Addressing::{Path, VirtualHost};
        let known = [
            (
                "aws",
                Some("eu-central-1"),
                "https://s3.eu-central-1.amazonaws.com",
                "eu-central-1",
                VirtualHost,
            ),
            ("aws", Some("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", VirtualHost),
            ("aws", None, "https://s3.us-east-1.amazonaws.com", "us-east-1", VirtualHost),
            ("gcs", None, "https://storage.googleapis.com", "auto", Path),
            ("backblaze", Some("us-west-004"), "https://s3.us-west-004.backblazeb2.com", "us-west-004", Path),
            ("wasabi", Some("eu-west-1"), "https://s3.eu-west-1.wasabisys.com", "eu-west-1", Path),
            ("tigris", None, "https://t3.storage.dev", "auto", VirtualHost),
        ];
        for (name, region, endpoint, signed_for, addressing) in known {
            let found = place(Some(name.parse().unwrap()), None, region).unwrap();
            let expected =
                S3Place { endpoint: endpoint.to_owned(), region: signed_for.to_owned(), addressing };
            assert_eq!(found, expected, "{name}");
        }
        let dotted = S3Place::of(Some(Provider::Aws), "www.example.com", None, None, None).unwrap();
        assert_eq!(dotted.addressing, Path);
    }

    #[test]
    fn what_is_said_counts_and_what_is_missing_is_told() {
        let said = S3Place::of(
            Some(Provider::Tigris),
            "old",
            Some("https://fly.storage.tigris.dev/"),
            Some("iad"),
            Some(Addressing::Path),
        );
        let expected = S3Place {
            endpoint: "https://fly.storage.tigris.dev".to_owned(),
            region: "iad".to_owned(),
            addressing: Addressing::Path,
        };
        assert_eq!(said.unwrap(), expected);
        assert!(
            place(Some(Provider::R2), None, None).unwrap_err().contains("ACCOUNT.r2.cloudflarestorage.com")
        );
        assert!(place(Some(Provider::Minio), None, None).unwrap_err().contains("minio needs its `endpoint`"));
        assert!(place(Some(Provider::Backblaze), None, None).unwrap_err().contains("needs its `region`"));
        assert!(place(None, None, Some("r")).unwrap_err().contains("a bucket needs its `endpoint`"));
        assert_eq!(place(None, Some("http://h:1"), None).unwrap().region, "us-east-1");
        assert!("s3".parse::<Provider>().unwrap_err().contains("aws, gcs, r2, minio"));
    }
}

//! Where an origin is: a base URL, parsed once.

use std::fmt;
use std::net::IpAddr;

use fallthrough_object::BucketName;
use fallthrough_wire::uri;
use http::Uri;
use http::uri::{Authority, Scheme};

use crate::network::NetworkPolicy;

/// Why an origin's settings cannot be used. Messages end with what to do and repeat no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The endpoint is not a URL that can be used.
    #[error("the endpoint is unusable: {reason}")]
    Endpoint {
        /// What is wrong and what to do.
        reason: String,
    },
    /// The network policy forbids the endpoint's address.
    #[error("the network policy forbids this endpoint: {reason}")]
    Forbidden {
        /// With the setting that would allow it.
        reason: String,
    },
    /// The credentials cannot be sent.
    #[error("the credentials are unusable: {reason}")]
    Credentials {
        /// What is wrong and what to do.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("tls cannot be set up: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
}

/// Scheme, host and base path of an origin. Printed without them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at the end; empty for the root.
    base_path: String,
}

impl Endpoint {
    pub(crate) fn parse(raw: &str, policy: NetworkPolicy) -> Result<Self, SettingsError> {
        let unusable = |reason: &str| SettingsError::Endpoint { reason: reason.to_owned() };
        let form = "write it as https://host[:port][/path]";
        let parsed: Uri = raw.trim().parse().map_err(|_| unusable(form))?;
        let parts = parsed.into_parts();
        let scheme = parts.scheme.filter(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        let (Some(scheme), Some(authority)) = (scheme, parts.authority) else { return Err(unusable(form)) };
        if authority.as_str().contains('@') {
            return Err(unusable("credentials do not belong into it; set them on their own"));
        }
        if authority.host().is_empty() || (authority.as_str().ends_with(':')) {
            return Err(unusable(form));
        }
        // The URI's own reader lets any digits pass, and would then say that there is no port.
        let behind = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if !behind.is_empty()
            && authority.port_u16().is_none_or(|port| port == 0 || behind != format!(":{port}"))
        {
            return Err(unusable("its port is not a number from 1 to 65535"));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|p| p.query().is_some()) || raw.contains('#') {
            return Err(unusable("it may have no query and no fragment"));
        }
        let base_path = path.as_ref().map_or("", |p| p.path()).trim_end_matches('/').to_owned();
        let endpoint = Self { scheme, authority, base_path };
        if endpoint.host().starts_with('[') && endpoint.literal().is_none() {
            return Err(unusable("what stands in brackets is no IPv6 address"));
        }
        if let Some(address) = endpoint.literal() {
            policy.check(address).map_err(|why| SettingsError::Forbidden { reason: why.to_string() })?;
        }
        Ok(endpoint)
    }

    /// The endpoint of a bucket that is named in the host's name.
    ///
    /// # Errors
    /// [`SettingsError::Endpoint`]: no name can stand before this host, or none with dots in it.
    pub(crate) fn below(&self, bucket: &BucketName) -> Result<Self, SettingsError> {
        let unusable = |reason: &str| SettingsError::Endpoint { reason: reason.to_owned() };
        if self.literal().is_some() {
            return Err(unusable("an address has no names below it; use addressing = \"path\""));
        }
        if self.is_tls() && bucket.as_str().contains('.') {
            // A wildcard in a certificate stands for one label (RFC 6125, section 6.4.3).
            return Err(unusable(
                "no certificate holds for a bucket with dots in its name; use addressing = \"path\"",
            ));
        }
        let authority = format!("{bucket}.{}", self.authority).parse();
        let authority = authority.map_err(|_| unusable("the bucket's name cannot stand before its host"))?;
        Ok(Self { authority, ..self.clone() })
    }

    /// The host, where it is an address and not a name: nobody resolves it, so it is checked here.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        self.host().trim_matches(['[', ']']).parse().ok()
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    pub(crate) fn is_root(&self) -> bool {
        self.base_path.is_empty()
    }

    /// As the Host header has it: without the scheme's own port.
    pub(crate) fn host_header(&self) -> String {
        let own = if self.is_tls() { 443 } else { 80 };
        match self.authority.port_u16() {
            Some(port) if port != own => format!("{}:{port}", self.host()),
            Some(_) | None => self.host().to_owned(),
        }
    }

    /// The raw path of `name` below the base path: each byte encoded once, slashes and dots as they are.
    pub(crate) fn raw_path(&self, name: &str) -> String {
        format!("{}/{}", self.base_path, uri::encode_path(name))
    }

    pub(crate) fn uri(&self, path_and_query: &str) -> Option<Uri> {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        builder.path_and_query(path_and_query).build().ok()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: NetworkPolicy = NetworkPolicy { allow_private: true };

    #[test]
    fn usable_endpoints() {
        let rows = [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "/k"),
            ("https://example.com", "example.com", "/k"),
            ("https://example.com:443/", "example.com", "/k"),
            ("http://example.com:443/a/b//", "example.com:443", "/a/b/k"),
            ("http://[::1]:9", "[::1]:9", "/k"),
        ];
        for (raw, host, path) in rows {
            let endpoint = Endpoint::parse(raw, OPEN).unwrap();
            assert_eq!(
                (endpoint.host_header().as_str(), endpoint.raw_path("k").as_str()),
                (host, path),
                "{raw}"
            );
        }
    }

    #[test]
    fn unusable_endpoints_say_what_to_do() {
        for raw in [
            "",
            "example.com",
            "ftp://a",
            "http://",
            "http://u:secret@a",
            "http://a?q",
            "http://a/#f",
            "/x",
            // Not the port that is usual: the one that is written, or none.
            "http://a:99999",
            "https://a:0/",
            // The URI's own reader takes these.
            "http://[::1]2:80",
            "http://[:1:8]:80",
        ] {
            let error = Endpoint::parse(raw, OPEN).unwrap_err();
            assert!(matches!(error, SettingsError::Endpoint { .. }), "{raw}");
            assert!(!error.to_string().contains("secret"));
        }
        for raw in ["http://127.0.0.1", "http://[::1]", "http://[::ffff:10.0.0.1]:80", "http://192.168.1.1/x"]
        {
            let error = Endpoint::parse(raw, NetworkPolicy::default()).unwrap_err();
            assert!(matches!(error, SettingsError::Forbidden { .. }), "{raw}");
        }
        for raw in ["http://169.254.169.254", "http://0.0.0.0:80", "http://[fe80::1]"] {
            assert!(matches!(Endpoint::parse(raw, OPEN), Err(SettingsError::Forbidden { .. })), "{raw}");
        }
    }

    #[test]
    fn a_key_is_encoded_once() {
        let endpoint = Endpoint::parse("http://a", OPEN).unwrap();
        assert_eq!(endpoint.raw_path("../a//b/./ ?#%2Fä+"), "/../a//b/./%20%3F%23%252F%C3%A4%2B");
    }
}

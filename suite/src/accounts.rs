//! Where a server is and who asks it.

use fallthrough_wire::sigv4::{Credentials, Signer};

/// An address that this suite cannot speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEndpoint(String);

impl std::fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no address: write http://HOST:PORT (TLS is not spoken here)", self.0)
    }
}

impl std::error::Error for InvalidEndpoint {}

/// A server that speaks plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `http://host[:port]`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`]: another scheme, a path, or no port number.
    pub fn parse(url: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(invalid)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| invalid())?),
            None => (rest, 80),
        };
        if host.is_empty() || host.contains('/') {
            return Err(invalid());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// `host:port`, as the Host header has it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// The number behind the colon.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// An access key at a server, with which requests are signed.
#[derive(Debug)]
pub struct Account {
    credentials: Credentials,
    signer: Signer,
    region: String,
}

impl Account {
    /// An access key that signs for `region`.
    pub fn new(access_key: &str, secret_key: &str, region: &str) -> Self {
        let credentials = Credentials::new(access_key, secret_key);
        let signer = Signer::new(credentials.clone(), region);
        Self { credentials, signer, region: region.to_owned() }
    }

    /// The same key for another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self::new(self.access_key(), self.secret(), region)
    }

    /// The id of the key.
    pub fn access_key(&self) -> &str {
        &self.credentials.access_key
    }

    pub(crate) fn secret(&self) -> &str {
        self.credentials.secret.expose()
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let rows = [("http://127.0.0.1:9000", "127.0.0.1:9000"), ("http://localhost/", "localhost:80")];
        for (url, authority) in rows {
            assert_eq!(Endpoint::parse(url).unwrap().authority(), authority, "{url}");
        }
        for bad in ["https://a:1", "a:1", "http://", "http://a:b", "http://a/b:1"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}

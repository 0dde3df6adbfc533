//! Which bucket and key a request names: path style, or virtual-host style for the configured domains.

use std::net::IpAddr;

use fallthrough_object::{BucketName, Key};
use fallthrough_wire::uri::{Target, UriError, split_host_style, split_path_style};
use fallthrough_wire::{S3Code, S3Error};
use http::request::Parts;

/// What a request names, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// The service itself.
    Service,
    /// A bucket.
    Bucket(BucketName),
    /// An object.
    Object(BucketName, Key),
}

impl Address {
    /// The bucket, if one is named.
    pub(crate) fn bucket(&self) -> Option<&BucketName> {
        match self {
            Self::Service => None,
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
        }
    }
}

/// The domains below which the first label of a host is a bucket.
#[derive(Debug)]
pub(crate) struct Domains(Vec<String>);

impl Domains {
    pub(crate) fn new(configured: &[String]) -> Self {
        let mut all: Vec<String> =
            configured.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
        all.push("localhost".to_owned());
        // The longest first: with both `s3.example.com` and `example.com`, `b.s3.example.com` is bucket `b`.
        all.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(all)
    }

    /// The bucket that the host names; `None` for path style.
    fn bucket_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = host_name(host);
        if name.parse::<IpAddr>().is_ok() {
            return None;
        }
        for domain in &self.0 {
            if name.eq_ignore_ascii_case(domain) {
                return None;
            }
            let at = name.len().checked_sub(domain.len() + 1);
            if let Some((bucket, rest)) = at.and_then(|at| name.split_at_checked(at))
                && rest.starts_with('.')
                && rest[1..].eq_ignore_ascii_case(domain)
                && !bucket.is_empty()
            {
                return Some(bucket);
            }
        }
        None
    }

    /// Reads what a request names. Percent escapes are decoded once.
    ///
    /// # Errors
    /// `InvalidURI`, `InvalidBucketName`, `KeyTooLongError`, and `InvalidRequest` for a missing or repeated Host.
    pub(crate) fn resolve(&self, parts: &Parts) -> Result<Address, S3Error> {
        let host = single_host(parts)?;
        let path = parts.uri.path();
        let target = match self.bucket_of(host) {
            Some(bucket) => split_host_style(&bucket.to_ascii_lowercase(), path),
            None => split_path_style(path),
        };
        check(target)
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_once(']').map_or(host, |(inner, _)| &inner[1..]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.')
}

fn single_host(parts: &Parts) -> Result<&str, S3Error> {
    // An absolute target carries the host itself (RFC 9112 §3.2.2).
    if let Some(authority) = parts.uri.authority() {
        return Ok(authority.as_str());
    }
    let mut values = parts.headers.get_all(http::header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(host), None) => host
            .to_str()
            .map_err(|_| S3Error::with_message(S3Code::InvalidRequest, "The Host header is not readable.")),
        (Some(_), Some(_)) => {
            Err(S3Error::with_message(S3Code::InvalidRequest, "There is more than one Host header."))
        }
        // HTTP/1.0 may do without.
        (None, _) if parts.version == http::Version::HTTP_10 => Ok(""),
        (None, _) => Err(S3Error::with_message(S3Code::InvalidRequest, "The Host header is missing.")),
    }
}

fn check(target: Result<Target, UriError>) -> Result<Address, S3Error> {
    let bucket_name = |raw: &str| {
        BucketName::parse(raw).map_err(|why| {
            S3Error::new(S3Code::InvalidBucketName).and("BucketName", raw).and("Reason", why.reason)
        })
    };
    match target.map_err(S3Error::from)? {
        Target::Service => Ok(Address::Service),
        Target::Bucket { bucket } => Ok(Address::Bucket(bucket_name(&bucket)?)),
        Target::Object { bucket, key } => {
            let bucket = bucket_name(&bucket)?;
            let key = Key::parse(&key).map_err(|why| {
                S3Error::new(S3Code::KeyTooLong)
                    .and("Size", why.len_bytes.to_string())
                    .and("MaxSizeAllowed", Key::MAX_BYTES.to_string())
            })?;
            Ok(Address::Object(bucket, key))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, path: &str) -> Result<Address, S3Code> {
        let (parts, ()) =
            http::Request::builder().uri(path).header("host", host).body(()).unwrap().into_parts();
        Domains::new(&["s3.example.com".to_owned(), "example.com".to_owned()])
            .resolve(&parts)
            .map_err(|error| error.code)
    }

    fn object(bucket: &str, key: &str) -> Result<Address, S3Code> {
        Ok(Address::Object(BucketName::parse(bucket).unwrap(), Key::parse(key).unwrap()))
    }

    #[test]
    fn requests_name_what_they_should() {
        let bucket = |name| Ok(Address::Bucket(BucketName::parse(name).unwrap()));
        let rows = [
            ("127.0.0.1:9900", "/", Ok(Address::Service)),
            ("localhost:9900", "/photos", bucket("photos")),
            ("localhost:9900", "/photos/", bucket("photos")),
            ("[::1]:9900", "/photos/a", object("photos", "a")),
            ("photos.localhost:9900", "/", bucket("photos")),
            ("photos.localhost:9900", "/a/b", object("photos", "a/b")),
            ("PHOTOS.LocalHost", "/a", object("photos", "a")),
            ("photos.s3.example.com", "/a", object("photos", "a")),
            ("a.b.s3.example.com:443", "/k", object("a.b", "k")),
            ("s3.example.com", "/photos/k", object("photos", "k")),
            ("other.test", "/photos/k", object("photos", "k")),
            ("127.0.0.1", "/photos//k", object("photos", "/k")),
            ("127.0.0.1", "/photos/../../etc/passwd", object("photos", "../../etc/passwd")),
            ("127.0.0.1", "/photos/%2541", object("photos", "%41")),
            ("127.0.0.1", "/photos/a+b%20c", object("photos", "a+b c")),
            ("127.0.0.1", "/Photos/k", Err(S3Code::InvalidBucketName)),
            ("127.0.0.1", "/..%2f/k", Err(S3Code::InvalidBucketName)),
            ("127.0.0.1", "/photos/%ff", Err(S3Code::InvalidUri)),
            ("127.0.0.1", "/photos/%zz", Err(S3Code::InvalidUri)),
        ];
        for (host, path, want) in rows {
            assert_eq!(address(host, path), want, "{host} {path}");
        }
        let long = format!("/photos/{}", "k".repeat(1025));
        assert_eq!(address("127.0.0.1", &long), Err(S3Code::KeyTooLong));
    }
}

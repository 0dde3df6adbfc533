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
        Self::with(configured, "localhost")
    }

    /// The domains below which the first label of a host is a bucket that is shown as a website.
    pub(crate) fn of_websites(configured: &[String]) -> Self {
        Self::with(configured, "s3-website.localhost")
    }

    fn with(configured: &[String], always: &str) -> Self {
        let mut all: Vec<String> =
            configured.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
        all.push(always.to_owned());
        // The longest first: with both `s3.example.com` and `example.com`, `b.s3.example.com` is bucket `b`.
        all.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self(all)
    }

    /// The bucket that the host names; `None` for path style.
    pub(crate) fn bucket_of<'a>(&self, host: &'a str) -> Option<&'a str> {
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

    /// Reads what a request for `host` (see [`host_of`]) names. Percent escapes are decoded once.
    ///
    /// # Errors
    /// `InvalidURI`, `InvalidBucketName`, `KeyTooLongError`.
    pub(crate) fn resolve(&self, host: &str, parts: &Parts) -> Result<Address, S3Error> {
        let path = parts.uri.path();
        let target = match self.bucket_of(host) {
            Some(bucket) => split_host_style(&bucket.to_ascii_lowercase(), path),
            None => split_path_style(path),
        };
        check(target)
    }
}

/// The host without its port.
pub(crate) fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_once(']').map_or(host, |(inner, _)| &inner[1..]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name).trim_end_matches('.')
}

/// The host that a request is for: its one Host header, which is also what a signature covers. An absolute target
/// names a host as well (RFC 9112 §3.2.2); if that is another one, the request would be verified for one bucket and
/// served from the other.
///
/// # Errors
/// `InvalidRequest` for a missing, repeated or unreadable Host, and for one that differs from the target's.
pub(crate) fn host_of(parts: &Parts) -> Result<&str, S3Error> {
    let invalid = |message| Err(S3Error::with_message(S3Code::InvalidRequest, message));
    let mut values = parts.headers.get_all(http::header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(host), None) => match host.to_str() {
            Ok(host) => host,
            Err(_) => return invalid("The Host header is not readable."),
        },
        (Some(_), Some(_)) => return invalid("There is more than one Host header."),
        // HTTP/1.0 may do without, unless its target names a host that no signature would cover.
        (None, _) if parts.version == http::Version::HTTP_10 && parts.uri.authority().is_none() => "",
        (None, _) => return invalid("The Host header is missing."),
    };
    match parts.uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            invalid("The Host header and the request target name different hosts.")
        }
        Some(_) | None => Ok(host),
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
            .resolve(host_of(&parts).map_err(|error| error.code)?, &parts)
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

    #[test]
    fn there_is_one_host_and_the_target_names_no_other() {
        let http_10 = http::Version::HTTP_10;
        let http_11 = http::Version::HTTP_11;
        let rows: [(_, &str, &[&str], Option<&str>); 14] = [
            (http_11, "/k", &["a.localhost:1"], Some("a.localhost:1")),
            (http_11, "http://a.localhost:1/k", &["a.localhost:1"], Some("a.localhost:1")),
            (http_11, "http://A.Localhost:1/k", &["a.localhost:1"], Some("a.localhost:1")),
            (http_11, "http://b.localhost:1/k", &["a.localhost:1"], None),
            (http_11, "http://a.localhost:2/k", &["a.localhost:1"], None),
            (http_11, "http://a.localhost/k", &["a.localhost:1"], None),
            (http_11, "http://me@a.localhost:1/k", &["a.localhost:1"], None),
            (http_11, "/k", &["a.localhost", "a.localhost"], None),
            (http_11, "/k", &[], None),
            (http_11, "http://a.localhost/k", &[], None),
            (http_11, "/k", &["caf\u{e9}"], None),
            (http_10, "/k", &[], Some("")),
            (http_10, "http://a.localhost/k", &[], None),
            (http_10, "http://b.localhost/k", &["a.localhost"], None),
        ];
        for (version, target, hosts, want) in rows {
            let mut request = http::Request::builder().version(version).uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let got = host_of(&parts);
            assert_eq!(got.as_ref().ok().copied(), want, "{version:?} {target} {hosts:?}");
            assert!(got.is_ok() || got.is_err_and(|error| error.code == S3Code::InvalidRequest));
        }
    }
}

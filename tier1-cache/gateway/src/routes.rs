//! Addresses of people's own: hosts and paths that lead to a bucket, or to what is under a prefix in it.
//!
//! They say where something is, never who may have it: what they lead to is authorised as under any other address.

use std::sync::{Arc, Mutex, PoisonError};

use fallthrough_object::BucketName;
use fallthrough_wire::uri::decode;
use fallthrough_wire::{S3Code, S3Error};

use crate::address::{Domains, host_name};

/// A host, or a path of it, that leads to a bucket. Only objects are read there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host in lower case, without a port.
    pub host: String,
    /// What paths begin with, decoded; `/` at both ends.
    pub path: String,
    /// The bucket.
    pub bucket: BucketName,
    /// What stands in front of the rest of the path to make the key.
    pub prefix: String,
    /// `/about` shows `about.html` where there is no `about`.
    pub clean_urls: bool,
}

/// Where a request for such an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) bucket: BucketName,
    /// What the key begins with, whatever is asked for.
    pub(crate) prefix: String,
    /// What the path says beyond that; empty or with a slash at its end for a folder.
    pub(crate) rest: String,
    pub(crate) clean_urls: bool,
    /// The route's own path without the slash at its end.
    pub(crate) is_folder: bool,
}

/// All routes, and the domains under which every public bucket is a website.
#[derive(Debug)]
pub(crate) struct Sites {
    routes: Mutex<Arc<[Route]>>,
    websites: Domains,
}

impl Sites {
    pub(crate) fn new(routes: &[Route], domains: &[String]) -> Self {
        Self { routes: Mutex::new(Arc::from(routes)), websites: Domains::of_websites(domains) }
    }

    /// Replaces all routes.
    pub(crate) fn replace(&self, routes: &[Route]) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = Arc::from(routes);
    }

    /// Where a request for this path of this host leads; `None` if the host is none of these.
    ///
    /// # Errors
    /// `NoSuchKey` if no route has the path; `InvalidURI`, `InvalidBucketName`.
    pub(crate) fn resolve(&self, host: &str, path: &str) -> Result<Option<Site>, S3Error> {
        let routes = Arc::clone(&self.routes.lock().unwrap_or_else(PoisonError::into_inner));
        let name = host_name(host);
        let mut of_host = routes.iter().filter(|route| route.host.eq_ignore_ascii_case(name)).peekable();
        if of_host.peek().is_some() {
            let path = decode(path)?;
            let of_host: Vec<_> = of_host.collect();
            let folder = of_host.iter().find(|route| route.path.strip_suffix('/') == Some(&path));
            let route = of_host
                .iter()
                .filter(|route| path.starts_with(route.path.as_str()))
                .max_by_key(|route| route.path.len());
            let Some(route) = route.or(folder) else { return Err(S3Code::NoSuchKey.into()) };
            let rest = path.strip_prefix(route.path.as_str());
            return Ok(Some(Site {
                bucket: route.bucket.clone(),
                prefix: route.prefix.clone(),
                rest: rest.unwrap_or_default().to_owned(),
                clean_urls: route.clean_urls,
                is_folder: rest.is_none(),
            }));
        }
        let Some(bucket) = self.websites.bucket_of(host) else { return Ok(None) };
        let bucket = BucketName::parse(&bucket.to_ascii_lowercase()).map_err(|why| {
            S3Error::new(S3Code::InvalidBucketName).and("BucketName", bucket).and("Reason", why.reason)
        })?;
        let path = decode(path)?;
        let rest = path.strip_prefix('/').ok_or(S3Code::InvalidUri)?.to_owned();
        Ok(Some(Site { bucket, prefix: String::new(), rest, clean_urls: false, is_folder: false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_of_the_host_leads() {
        let route = |host: &str, path: &str, bucket: &str, prefix: &str| Route {
            host: host.to_owned(),
            path: path.to_owned(),
            bucket: BucketName::parse(bucket).unwrap(),
            prefix: prefix.to_owned(),
            clean_urls: false,
        };
        let routes = [
            route("img.example.org", "/", "images", ""),
            route("img.example.org", "/avatars/", "avatars", "v1/"),
            route("only.example.org", "/a b/", "images", "x"),
        ];
        let sites = Sites::new(&routes, &["web.example.com".to_owned()]);
        let none: Result<Option<(&str, &str, &str)>, S3Code> = Ok(None);
        let rows = [
            ("img.example.org", "/", Ok(Some(("images", "", "")))),
            ("IMG.example.org.:443", "/a/b", Ok(Some(("images", "", "a/b")))),
            ("img.example.org", "/avatars/x%2Fy", Ok(Some(("avatars", "v1/", "x/y")))),
            ("img.example.org", "/avatars%2Fx", Ok(Some(("avatars", "v1/", "x")))),
            ("img.example.org", "/avatars/../secret", Ok(Some(("avatars", "v1/", "../secret")))),
            ("img.example.org", "/avatars", Ok(Some(("images", "", "avatars")))),
            ("img.example.org", "/%zz", Err(S3Code::InvalidUri)),
            ("only.example.org", "/a%20b/k", Ok(Some(("images", "x", "k")))),
            ("only.example.org", "/k", Err(S3Code::NoSuchKey)),
            ("only.example.org", "/a%20b", Ok(Some(("images", "x", "")))),
            ("only.example.org", "/a", Err(S3Code::NoSuchKey)),
            ("x.img.example.org", "/k", none),
            ("photos.web.example.com", "/a/", Ok(Some(("photos", "", "a/")))),
            ("a.b.s3-website.localhost:9900", "/k", Ok(Some(("a.b", "", "k")))),
            ("Bad_.web.example.com", "/", Err(S3Code::InvalidBucketName)),
            ("web.example.com", "/", none),
            ("photos.localhost", "/", none),
            ("127.0.0.1", "/", none),
        ];
        for (host, path, want) in rows {
            let got = sites.resolve(host, path).map_err(|error| error.code);
            let got = got.as_ref().map(|site| {
                site.as_ref().map(|site| (site.bucket.as_str(), site.prefix.as_str(), site.rest.as_str()))
            });
            assert_eq!(got.map_err(|code| *code), want, "{host} {path}");
        }
        sites.replace(&[]);
        assert_eq!(sites.resolve("img.example.org", "/").unwrap(), None);
    }
}

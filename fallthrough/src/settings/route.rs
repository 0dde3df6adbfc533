//! Addresses of one's own: hosts and paths that lead to buckets.

use fallthrough_object::BucketName;

use crate::settings::section::Section;
use crate::settings::{S3Settings, is_domain};

/// A host, or a path of it, that leads to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteSettings {
    /// The host in lower case.
    pub(crate) host: String,
    /// What its paths begin with; `/` at both ends.
    pub(crate) path: String,
    /// The bucket.
    pub(crate) bucket: BucketName,
    /// What its keys begin with.
    pub(crate) prefix: String,
    /// `/about` shows `about.html`.
    pub(crate) clean_urls: bool,
}

impl RouteSettings {
    /// As people write it.
    pub(crate) fn address(&self) -> String {
        format!("{}{}", self.host, self.path)
    }
}

/// Reads all routes in order. `s3`: whose domains already mean something else.
pub(super) fn read_all(root: &Section<'_>, s3: Option<&S3Settings>) -> Vec<RouteSettings> {
    let mut routes: Vec<RouteSettings> = Vec::new();
    for section in root.list("route") {
        let Some(route) = read(&section, s3) else { continue };
        if routes.iter().any(|other| (&other.host, &other.path) == (&route.host, &route.path)) {
            section.problem(
                "path",
                format!("{}: another route has the same host and path", section.path),
                "give each route its own host or path",
            );
        }
        routes.push(route);
    }
    routes
}

fn read(section: &Section<'_>, s3: Option<&S3Settings>) -> Option<RouteSettings> {
    let (host, bucket) = (section.required("host"), section.required("bucket"));
    let (path, clean_urls) = (section.text("path")?, section.switch("clean-urls")?);
    let prefix = section.text("prefix").unwrap_or_default();
    let host = host?.to_ascii_lowercase();
    if !is_domain(&host) || host.parse::<std::net::IpAddr>().is_ok() {
        section.problem(
            "host",
            format!("{}.host: {host:?} is not the name of a host", section.path),
            "write a name such as \"img.example.org\", without a scheme or a port",
        );
        return None;
    }
    let taken = s3.and_then(|s3| {
        let reserved = ["localhost".to_owned()];
        let all = s3.domains.iter().chain(&s3.website_domains).chain(&reserved);
        let within = |domain: &&String| {
            let domain = domain.to_ascii_lowercase();
            host == domain || host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
        };
        all.into_iter().find(within).cloned()
    });
    if let Some(domain) = taken {
        section.problem(
            "host",
            format!("{}.host: names under {domain} address buckets already", section.path),
            "choose a host that is not under one of [s3] domains or website-domains",
        );
        return None;
    }
    if !path.starts_with('/') || !path.ends_with('/') || path.contains("//") || path.contains(['?', '#', '%'])
    {
        section.problem(
            "path",
            format!("{}.path: {path:?} does not begin and end with one slash", section.path),
            "write \"/\" or a path such as \"/avatars/\", unescaped",
        );
        return None;
    }
    let bucket = match BucketName::parse(&bucket?) {
        Ok(bucket) => bucket,
        Err(invalid) => {
            section.problem("bucket", format!("{}.bucket: {invalid}", section.path), "name a bucket");
            return None;
        }
    };
    Some(RouteSettings { host, path, bucket, prefix, clean_urls })
}

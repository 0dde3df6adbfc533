//! What browsers ask before and after a request from another origin.
//!
//! A bucket's CORS rules decide, the first that fits. Where a bucket has none, what anybody may read without
//! signing, a page of any origin may read too, and nothing else is offered. Rules open no door by themselves: they
//! say which pages may see an answer, never who gets one.

use fallthrough_bucket::{Bucket, PublicAccess};
use fallthrough_object::{CorsRule, Mutant, planted};
use fallthrough_wire::{S3Code, S3Error};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use crate::outgoing::Outgoing;
use crate::refusal::Refusal;

/// What the answer to a preflight, and to anything that rules decide, depends on.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
/// Request headers that a preflight may ask for: far more than any page sends, and so few that a hundred rules are
/// looked through in no time.
const REQUESTED_MAX: usize = 100;

/// Who may see an answer besides pages of this very origin.
#[derive(Debug, Default)]
pub(crate) enum Sharing {
    /// The bucket has no rules: what anybody may read without signing, everybody's pages may see.
    #[default]
    Open,
    /// Its rules say these headers.
    Ruled(Vec<(HeaderName, HeaderValue)>),
}

impl Sharing {
    /// What the rules of `bucket` say to this request.
    pub(crate) fn of(parts: &Parts, bucket: &Bucket) -> Self {
        let rules = &bucket.configuration.cors;
        if rules.is_empty() {
            return Self::Open;
        }
        let mut headers = vec![(VARY, VARIES)];
        let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        let method = asked.map_or(Some(parts.method.as_str()), |asked| asked.to_str().ok());
        if let (Some(origin), Some(method)) = (origin(&parts.headers), method)
            && let Some(fit) = first_fit(rules, origin, method, &[])
        {
            headers.extend(fit.headers(&[]));
        }
        Self::Ruled(headers)
    }

    /// Adds its headers to an answer. `everybodys`: anybody may read it without signing.
    pub(crate) fn write(self, everybodys: bool, headers: &mut HeaderMap) {
        match self {
            Self::Open if everybodys => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
            }
            Self::Open => {}
            Self::Ruled(ours) => headers.extend(ours),
        }
    }
}

/// The Origin header, if it stands once and can be read.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(ORIGIN).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A rule that fits a request.
struct Fit<'a> {
    rule: &'a CorsRule,
    /// What is answered as the origin that is allowed.
    origin: &'a str,
}

/// The first rule that allows a page of `origin` a `method` with these request headers.
fn first_fit<'a>(
    rules: &'a [CorsRule],
    origin: &'a str,
    method: &str,
    requested: &[String],
) -> Option<Fit<'a>> {
    rules.iter().find_map(|rule| {
        let pattern = rule.allowed_origins.iter().find(|pattern| fits(pattern, origin))?;
        let names = |name: &String| {
            rule.allowed_headers.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), name))
                || planted(Mutant::CorsHeadersUnchecked)
        };
        let fit = rule.allowed_methods.iter().any(|allowed| allowed == method) && requested.iter().all(names);
        fit.then_some(Fit { rule, origin: if pattern == "*" { "*" } else { origin } })
    })
}

/// Whether `text` is what `pattern` says, whose one `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, end)) => {
            text.len() >= begin.len() + end.len()
                && text.starts_with(begin)
                && (text.ends_with(end) || planted(Mutant::CorsPatternIsAPrefix))
        }
    }
}

impl Fit<'_> {
    fn headers(&self, requested: &[String]) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        // Rules were checked when they were set; an origin is what the request said in a header.
        let mut add = |name, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.push((name, value));
            }
        };
        add(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.to_owned());
        add(ACCESS_CONTROL_ALLOW_METHODS, self.rule.allowed_methods.join(", "));
        if !requested.is_empty() {
            add(ACCESS_CONTROL_ALLOW_HEADERS, requested.join(", "));
        }
        if !self.rule.expose_headers.is_empty() {
            add(ACCESS_CONTROL_EXPOSE_HEADERS, self.rule.expose_headers.join(", "));
        }
        if let Some(secs) = self.rule.max_age_secs {
            add(ACCESS_CONTROL_MAX_AGE, secs.to_string());
        }
        if self.origin != "*" {
            add(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
        }
        headers
    }
}

/// Answers a preflight. `bucket`: the one that is named, if it exists.
///
/// # Errors
/// `BadRequest` without the headers of a preflight, `AccessForbidden` where pages of the origin may not.
pub(crate) fn preflight(parts: &Parts, bucket: Option<&Bucket>) -> Result<Response<Outgoing>, Refusal> {
    let bad = |message: &'static str| Refusal::from(S3Error::with_message(S3Code::BadRequest, message));
    let Some(origin) = origin(&parts.headers) else {
        return Err(bad("Insufficient information. Origin request header needed."));
    };
    let Some(method) = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD) else {
        return Err(bad("Invalid Access-Control-Request-Method: null"));
    };
    let method = method.to_str().unwrap_or_default();
    let rules = bucket.map_or(&[][..], |bucket| &bucket.configuration.cors);
    if rules.is_empty() {
        let readable = bucket.is_some_and(|bucket| bucket.settings.public == PublicAccess::Read);
        if !readable || !matches!(method, "GET" | "HEAD") {
            return Err(forbidden("CORSResponse: CORS is not enabled for this bucket.", method));
        }
        return Ok(public_read(parts));
    }
    let fit = requested(&parts.headers).and_then(|requested| {
        let fit = first_fit(rules, origin, method, &requested)?;
        Some(fit.headers(&requested))
    });
    let Some(fit) = fit else {
        return Err(forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request \
             method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
             resource's CORS spec.",
            method,
        ));
    };
    let mut response = Response::new(Outgoing::empty());
    response.headers_mut().extend(fit);
    response.headers_mut().insert(VARY, VARIES);
    Ok(response)
}

fn forbidden(message: &'static str, method: &str) -> Refusal {
    let method: String = method.chars().take(32).collect();
    S3Error::with_message(S3Code::AccessForbidden, message).and("Method", method).into()
}

/// The names of Access-Control-Request-Headers in lower case; `None` if they are too many or no names.
fn requested(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for value in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        for name in value.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            if names.len() == REQUESTED_MAX {
                return None;
            }
            names.push(name.as_str().to_owned());
        }
    }
    Some(names)
}

/// The answer for a bucket without rules that everybody may read.
fn public_read(parts: &Parts) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::empty());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    // A star does not reach Authorization, and is not meant to.
    if parts.headers.contains_key(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    headers.insert(VARY, VARIES);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_anything() {
        let rows = [
            ("*", "", true),
            ("*", "http://a", true),
            ("http://a", "http://a", true),
            ("http://a", "http://ab", false),
            ("http://*.a", "http://x.a", true),
            ("http://*.a", "http://.a", true),
            ("http://*.a", "http://a", false),
            ("start*end", "startend", true),
            ("start*end", "start1end", true),
            ("start*end", "starend", false),
            ("aa*aa", "aaa", false),
            ("x-amz-*", "x-amz-meta-a", true),
        ];
        for (pattern, text, want) in rows {
            assert_eq!(fits(pattern, text), want, "{pattern} {text}");
        }
    }
}

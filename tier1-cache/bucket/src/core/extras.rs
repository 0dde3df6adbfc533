//! What of a client's request a rule has passed on to its origin: by the names that the rule lists, and no others.
//!
//! What speaks of our own store is nobody else's: signatures and credentials, S3's own parameters, and what says how
//! two servers talk with each other. No rule can name such things, so no request can have them passed on.

use fallthrough_shadow::Extras;
use fallthrough_store::ShadowRule;

use crate::core::mutants::{Mutant, planted};

/// Names of each kind that a rule may list.
const NAMES_MAX: usize = 16;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;
/// Pairs that one request may have passed on.
const PAIRS_MAX: usize = 32;
/// Their bytes, names and values together.
const BYTES_MAX: usize = 4096;

/// Parameters of S3's own, in small letters: what they say is said to us.
const OUR_PARAMETERS: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "awsaccesskeyid",
    "cors",
    "delete",
    "encryption",
    "expires",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "partnumber",
    "policy",
    "policystatus",
    "publicaccessblock",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "signature",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "versionid",
    "versioning",
    "versions",
    "website",
    "x-id",
];
/// How such parameters begin that there are many of.
const OUR_PARAMETERS_BEGIN: &[&str] = &["x-amz-", "response-"];
/// Headers that are for us, or between two servers.
const OUR_HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "traceparent",
    "tracestate",
    "upgrade",
    "user-agent",
];
/// How such headers begin that there are many of.
const OUR_HEADERS_BEGIN: &[&str] =
    &["access-control-", "content-", "if-", "proxy-", "x-amz-", "x-fallthrough-", "x-forwarded-"];

/// A request has more to pass on than any may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtrasTooLong;

/// What `rule` has passed on of a request. `header` gives the text of one by its name in small letters.
///
/// # Errors
/// [`ExtrasTooLong`].
pub(crate) fn chosen<'a>(
    rule: &ShadowRule,
    query: impl Iterator<Item = (&'a str, &'a str)>,
    header: impl Fn(&str) -> Option<String>,
) -> Result<Extras, ExtrasTooLong> {
    let listed = |name: &str| rule.pass_query.iter().any(|listed| listed == name);
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut query: Vec<_> = query.filter(|(name, _)| listed(name)).take(PAIRS_MAX + 1).map(pair).collect();
    // Those of one name stay in their order, which may mean something to the origin.
    query.sort_by(|one, other| one.0.cmp(&other.0));
    let headers = rule.pass_headers.iter().filter_map(|name| Some((name.clone(), header(name)?)));
    let headers: Vec<_> = headers.collect();
    let pairs = query.iter().chain(&headers);
    let bytes: usize = pairs.clone().map(|(name, value)| name.len() + value.len()).sum();
    if pairs.count() > PAIRS_MAX || bytes > BYTES_MAX {
        return Err(ExtrasTooLong);
    }
    Ok(Extras { query, headers })
}

/// Why a rule cannot have these names passed on, with what would be right; `None` if it can.
pub(crate) fn fault(rule: &ShadowRule) -> Option<String> {
    if rule.passed_alike && !rule.passes_on() {
        return Some(
            "passed-alike says something of pass-query and pass-headers: set one of them, or leave it out"
                .to_owned(),
        );
    }
    for (field, names, is_ours) in [
        ("pass-query", &rule.pass_query, is_our_parameter as fn(&str) -> bool),
        ("pass-headers", &rule.pass_headers, is_our_header),
    ] {
        if names.len() > NAMES_MAX {
            return Some(format!("{field} lists at most {NAMES_MAX} names"));
        }
        for name in names {
            let is_name = match field {
                "pass-query" => !name.is_empty(),
                _ => !name.is_empty() && name.bytes().all(is_header_byte),
            };
            if !is_name || name.len() > NAME_BYTES_MAX {
                return Some(format!(
                    "{field}: {name:?} is no name that can be passed on; header names are in small letters, and names \
                     have at most {NAME_BYTES_MAX} bytes"
                ));
            }
            if is_ours(name) && !planted(Mutant::OurNamesPassedOn) {
                return Some(format!(
                    "{field}: {name:?} is never passed on: it is for this store, or between it and the origin"
                ));
            }
        }
    }
    None
}

fn is_our_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OUR_PARAMETERS.contains(&name.as_str()) || OUR_PARAMETERS_BEGIN.iter().any(|ours| name.starts_with(ours))
}

fn is_our_header(name: &str) -> bool {
    OUR_HEADERS.contains(&name) || OUR_HEADERS_BEGIN.iter().any(|ours| name.starts_with(ours))
}

/// RFC 9110 §5.6.2, without capitals.
fn is_header_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use fallthrough_store::ShadowTarget;

    use super::*;
    use crate::core::mutants::caught;

    fn rule(query: &[&str], headers: &[&str]) -> ShadowRule {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ShadowRule {
            pass_query: own(query),
            pass_headers: own(headers),
            ..ShadowRule::to(ShadowTarget::Http { url: "http://u".to_owned() })
        }
    }

    #[test]
    fn what_is_listed_is_chosen_in_one_order_and_nothing_else() {
        let rule = rule(&["w", "h"], &["accept-language"]);
        let asked = [("w", "1"), ("X-Amz-Signature", "s"), ("h", "2"), ("W", "9"), ("w", "0")];
        let header = |name: &str| (name == "accept-language").then(|| "de".to_owned());
        let extras = chosen(&rule, asked.into_iter(), header).unwrap();
        assert_eq!(extras.raw_query().as_deref(), Some("h=2&w=1&w=0"));
        assert_eq!(extras.headers, [("accept-language".to_owned(), "de".to_owned())]);
        assert!(chosen(&rule, [("x", "1")].into_iter(), |_| None).unwrap().is_empty());
    }

    #[test]
    fn more_than_the_bounds_is_refused() {
        let rule = rule(&["w"], &["accept-language"]);
        let long = "x".repeat(BYTES_MAX);
        assert_eq!(chosen(&rule, [("w", long.as_str())].into_iter(), |_| None), Err(ExtrasTooLong));
        assert_eq!(chosen(&rule, std::iter::empty(), |_| Some(long.clone())), Err(ExtrasTooLong));
        assert!(chosen(&rule, std::iter::repeat_n(("w", ""), PAIRS_MAX), |_| None).is_ok());
        assert_eq!(
            chosen(&rule, std::iter::repeat_n(("w", ""), PAIRS_MAX + 1), |_| None),
            Err(ExtrasTooLong)
        );
        // Nothing that is not passed on counts.
        assert!(chosen(&rule, std::iter::repeat_n(("x", long.as_str()), 99), |_| None).is_ok());
    }

    fn ours_is_refused() {
        for name in [
            "X-Amz-Signature",
            "Signature",
            "Expires",
            "AWSAccessKeyId",
            "partNumber",
            "acl",
            "response-expires",
        ] {
            assert!(fault(&rule(&[name], &[])).is_some_and(|fault| fault.contains("never")), "{name}");
        }
        for name in
            ["authorization", "cookie", "host", "range", "if-match", "x-amz-date", "x-fallthrough-hops"]
        {
            assert!(fault(&rule(&[], &[name])).is_some_and(|fault| fault.contains("never")), "{name}");
        }
    }

    #[test]
    fn what_is_for_us_cannot_be_listed() {
        ours_is_refused();
        assert!(caught(Mutant::OurNamesPassedOn, ours_is_refused));
        assert_eq!(fault(&rule(&["w", "Größe"], &["accept", "x-tenant"])), None);
        for wrong in
            [rule(&[""], &[]), rule(&[], &["Accept"]), rule(&[], &["a b"]), rule(&[&"w".repeat(65)], &[])]
        {
            assert!(fault(&wrong).is_some_and(|fault| fault.contains("no name")), "{wrong:?}");
        }
        assert!(fault(&rule(&["a"; 17], &[])).is_some_and(|fault| fault.contains("at most 16")));
        let alike = ShadowRule { passed_alike: true, ..rule(&[], &[]) };
        assert!(fault(&alike).is_some_and(|fault| fault.contains("passed-alike")));
    }
}

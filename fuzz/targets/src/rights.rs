//! ACLs, tags and legacy presigned URLs: what they say is said again as it was, and nothing is added to what is signed.

use fallthrough_object::{Grantee, Timestamp};
use fallthrough_wire::grants::{self, GRANTS_MAX, GranteeName};
use fallthrough_wire::sigv4::{PresentedV2, Secret, presign_v2};
use fallthrough_wire::tags::{self, OBJECT_TAGS_MAX};
use fallthrough_wire::uri::{Query, encode_query};
use fallthrough_wire::xml::{AccessControlPolicy, parse_tagging, tagging};
use http::{HeaderMap, Method};

const NOW: Timestamp = Timestamp(1_369_353_600_000);

/// A document, or the value of a header, of an ACL or of tags.
pub fn rights(bytes: &[u8]) {
    if let Ok(mut policy) = AccessControlPolicy::parse(bytes) {
        assert!(policy.grants.len() <= GRANTS_MAX);
        let written = policy.to_xml();
        // White space around an id is not part of it.
        policy.owner.id = policy.owner.id.trim().to_owned();
        assert!(
            !is_whole(&written) || AccessControlPolicy::parse(written.as_bytes()) == Ok(policy),
            "{written}"
        );
    }
    if let Ok(tags) = parse_tagging(bytes) {
        let written = tagging(&tags);
        assert!(!is_whole(&written) || parse_tagging(written.as_bytes()) == Ok(tags.clone()), "{written}");
        if tags::check(&tags, OBJECT_TAGS_MAX).is_ok() {
            assert!(is_whole(&written), "{written}");
            let pairs: Vec<String> = tags
                .iter()
                .map(|tag| format!("{}={}", encode_query(&tag.key), encode_query(&tag.value)))
                .collect();
            assert_eq!(tags::parse_header(&pairs.join("&")), Ok(tags));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(tags) = tags::parse_header(text) {
        assert!(tags::check(&tags, OBJECT_TAGS_MAX).is_ok());
    }
    if let Ok(names) = grants::parse_header(text) {
        assert!((1..=GRANTS_MAX).contains(&names.len()));
        for name in names {
            match name {
                GranteeName::Id(name) | GranteeName::Email(name) => assert!(!name.is_empty()),
                GranteeName::Group(group) => assert!(!matches!(group, Grantee::Account(_))),
            }
        }
    }
    legacy(text);
}

/// Parameters that are added to a signed URL of version 2 either break it or change nothing that is answered.
fn legacy(added: &str) {
    let secret = Secret::new("secret");
    let read =
        |query: &str| PresentedV2::parse(&Method::GET, "/b/k", Some(query), &HeaderMap::new(), None, NOW);
    let _ = read(added);
    let signed = presign_v2("AK", &secret, &Method::GET, "/b/k", Timestamp(NOW.0 + 60_000));
    for query in [format!("{signed}&{added}"), format!("{added}&{signed}")] {
        let proved = read(&query).ok().flatten().is_some_and(|claim| claim.verify((), &secret).is_ok());
        let Ok(query) = Query::parse(&query) else { continue };
        let acts = |name: &str| {
            name.starts_with("response-")
                || name.starts_with("x-amz-")
                || ["versionId", "partNumber", "acl"].contains(&name)
        };
        // Names are compared as they are written: `X-Amz-…` is version 4's.
        let selecting = query.iter().find(|(name, _)| acts(name) && known(name));
        assert!(!proved || selecting.is_none(), "{selecting:?} was added to what is signed");
    }
}

/// Whether anybody acts on a parameter of this name.
fn known(name: &str) -> bool {
    let responses = [
        "content-type",
        "content-language",
        "expires",
        "cache-control",
        "content-disposition",
        "content-encoding",
    ];
    match name.strip_prefix("response-") {
        Some(header) => responses.contains(&header),
        None => true,
    }
}

fn is_whole(document: &str) -> bool {
    !document.contains('\u{FFFD}')
}

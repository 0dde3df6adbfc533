//! What comes from origins, and where requests to them go.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{ETag, Timestamp};
use fallthrough_shadow::fuzzing::way;
use fallthrough_shadow::{Asked, Dialect, Found, NetworkPolicy, Outcome, RawAnswer};
use fallthrough_store::fuzzing::{decode_entry, encode_entry};
use fallthrough_store::{EntryState, ObjectInfo, Provenance};
use fallthrough_wire::digest;
use fallthrough_wire::headers::{meta_of_response, write_meta};
use fallthrough_wire::uri::{decode, encode_path};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::input::Input;
use crate::runtime::block_on;

const NOW: Timestamp = Timestamp(1_369_353_600_000);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How the request was made (a byte), the status, headers, the body.
///
/// A failure is never absence; a part lies within its object; what was found can be kept and can be sent.
pub fn answer(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let has = |bit: u8| flags >> bit & 1 == 1;
    let (range, tagging) = (has(0), has(0) && has(6));
    let asked = Asked { range, part: range && has(5), tagging, conditional: has(1), head: has(2) };
    let absent_on_403 = has(4);
    let dialect = if has(3) { Dialect::S3 { absent_on_403 } } else { Dialect::Http { absent_on_403 } };
    input.bytes();
    let status = u16::try_from(input.number()).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let Some(status) = status else { return };
    let headers = input.headers();
    let body = Bytes::copy_from_slice(input.rest());
    let body = Box::pin(futures::stream::iter([Ok(body)]));
    let raw = RawAnswer { status, headers: headers.clone(), body };

    match block_on(Outcome::of(raw, asked, dialect, NOW)) {
        Outcome::Found(read) => {
            assert!(matches!(status.as_u16(), 200 | 206));
            found(&headers, status, asked, *read);
        }
        Outcome::NotModified { freshness, meta } => {
            assert!(status == StatusCode::NOT_MODIFIED && asked.conditional);
            assert!(freshness.fresh_for.is_none_or(|time| time <= YEAR));
            write_meta(&meta, &mut HeaderMap::new()).expect("what is kept can be sent");
        }
        Outcome::AbsentUnproven { ttl, forbidden } => {
            assert!(has(3) && asked.head, "a body would have told");
            let code = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::NOT_FOUND };
            assert!(status == code && (absent_on_403 || !forbidden));
            assert!(ttl.is_none_or(|time| time <= YEAR));
        }
        Outcome::Absent { ttl } => {
            let hidden = status == StatusCode::FORBIDDEN && absent_on_403;
            assert!(hidden || matches!(status.as_u16(), 404 | 410), "{status} is told as absence");
            assert!(ttl.is_none_or(|time| time <= YEAR));
        }
        Outcome::Invalid => assert!(!has(3) && status.is_client_error()),
        Outcome::Busy { retry_after } => assert!(retry_after.is_none_or(|wait| wait.as_secs() <= 3600)),
        Outcome::Changed => assert!(status == StatusCode::PRECONDITION_FAILED && asked.conditional),
        Outcome::RangeNotSatisfiable { size_bytes } => {
            assert!(asked.range);
            assert!(
                size_bytes.is_none() || is_number(&headers, &CONTENT_RANGE, |text| text.rsplit('/').next())
            );
        }
        Outcome::Misconfigured { mend } => assert!(!mend.is_empty() && !mend.contains(char::is_control)),
        Outcome::Failing { .. } | Outcome::Archived | Outcome::Unacceptable { .. } | Outcome::NotOffered => {}
    }
}

fn found(headers: &HeaderMap, status: StatusCode, asked: Asked, found: Found) {
    assert_eq!(found.range.is_some(), status == StatusCode::PARTIAL_CONTENT);
    if let Some(range) = found.range {
        assert!(asked.range && range.start < range.end);
        assert!(found.size_bytes.is_none_or(|size| range.end <= size));
        assert!(asked.head || found.expected.length_bytes == Some(range.len()));
        // The one place where wire reads this header agrees.
        let text = headers[CONTENT_RANGE].to_str().expect("it was read as text");
        let wire = fallthrough_wire::range::parse_content_range(text);
        assert_eq!(
            wire.map(|wire| (wire.range, wire.size_bytes)),
            Some((range, found.size_bytes)),
            "{text:?}"
        );
    } else if found.size_bytes.is_some() {
        assert!(is_number(headers, &CONTENT_LENGTH, |text| Some(text)));
    }
    assert!(found.freshness.fresh_for.is_none_or(|time| time <= YEAR));
    for checksum in &found.expected.checksums {
        let text = digest::format_checksum(checksum);
        assert_eq!(digest::parse_checksum(checksum.algorithm, &text).as_ref(), Some(checksum), "{text}");
    }

    let mut sent = HeaderMap::new();
    write_meta(&found.meta, &mut sent).expect("what is kept can be sent");
    let mut again = meta_of_response(&sent).expect("what is sent can be read");
    // Written as a list in one way here and in another there.
    again.content_encoding.clone_from(&found.meta.content_encoding);
    assert_eq!(again, found.meta);

    let state = EntryState::Known(
        Arc::new(ObjectInfo {
            etag: found.etag.clone(),
            size_bytes: found.size_bytes.unwrap_or(0),
            last_modified: found.last_modified.unwrap_or_default(),
            meta: found.meta,
            checksums: found.expected.checksums,
            md5: found.expected.md5,
            ..ObjectInfo::default()
        }),
        Provenance {
            origin: "origin".to_owned(),
            origin_etag: found.etag.as_ref().map(|tag| ETag::parse(&tag.to_string()).expect("it is a tag")),
            origin_last_modified: found.last_modified,
            asked_at: NOW,
            verified: Vec::new(),
            fresh_until: found.freshness.fresh_for.map(|time| NOW.plus(time)),
            stale_if_error_until: found.freshness.stale_if_error.map(|time| NOW.plus(time)),
            stale_while_revalidate_until: found.freshness.stale_while_revalidate.map(|time| NOW.plus(time)),
            edition: None,
        },
    );
    let kept = decode_entry(&encode_entry(&state, None), 7).expect("what is written can be read");
    assert_eq!(kept.state, state);
}

/// Whether a part of a header's first value is digits and nothing else.
fn is_number(headers: &HeaderMap, name: &HeaderName, part: fn(&str) -> Option<&str>) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let text = value.and_then(part).map(str::trim);
    text.is_some_and(|text| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()))
}

/// A line: an endpoint; then a key.
///
/// A request goes to the host and port that are written there, below the path that is written there, and names
/// the key.
pub fn endpoint(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let raw = input.line();
    let key = String::from_utf8_lossy(input.rest());
    if key.len() > 1024 || raw.len() > 2048 {
        return;
    }
    for allow_private in [false, true] {
        let Ok(way) = way(&raw, NetworkPolicy { allow_private }, &key) else { continue };
        let uri = way.uri.expect("an endpoint and a key make a URI");
        let authority = uri.authority().expect("it has a host").as_str();
        assert!(!authority.contains('@') && uri.query().is_none());
        assert!(raw.trim().contains(authority));
        assert_eq!(uri.host(), Some(way.host.as_str()));
        let written = authority.strip_prefix(&way.host).and_then(|rest| rest.strip_prefix(':'));
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        assert_eq!(written.map_or(usual.to_string(), str::to_owned).parse(), Ok(way.port), "{raw}");
        assert!(way.host_header.starts_with(&way.host));
        let name = uri.path().strip_suffix(&encode_path(&key)).expect("the key stands at the end");
        assert!(name.ends_with('/'));
        assert_eq!(decode(&uri.path()[name.len()..]).as_deref(), Ok(&*key));
    }
}

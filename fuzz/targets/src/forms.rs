//! POST forms and their policies, and the documents that configure a bucket.

use fallthrough_gateway::fuzzing;
use fallthrough_wire::xml::{
    cors_document, lifecycle_document, parse_cors, parse_lifecycle, parse_website, website_document,
};

use crate::input::Input;

/// How it is cut, a line end, a form with the boundary `xx`. It reads alike however it is cut, and what stands in front
/// of its file is bounded.
pub fn form(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cut = usize::from(input.byte()).max(1);
    let body = input.rest();
    let whole = fuzzing::form(body, body.len().max(1));
    let pieces = fuzzing::form(body, cut);
    // Too much in front of the file is told when it is seen, which depends on how it comes; everything else is the same.
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces),
        (Err(whole), Err(pieces)) if body.len() <= fuzzing::FORM_FIELDS_BYTES_MAX => {
            assert_eq!(whole, pieces)
        }
        _ => assert!(body.len() > fuzzing::FORM_FIELDS_BYTES_MAX || whole.is_err() == pieces.is_err()),
    }
    if let Ok((fields, file, _)) = whole {
        let named: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(named <= fuzzing::FORM_FIELDS_BYTES_MAX && named + file.len() <= body.len());
    }
}

/// Lines of `name=value`, an empty line, a policy as JSON. A field that no condition covers is never let through, and
/// what is met stays met when the conditions are met twice.
pub fn policy(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut fields = Vec::new();
    loop {
        let line = input.line();
        let Some((name, value)) = line.split_once('=') else { break };
        fields.push((name.to_owned(), value.to_owned()));
        if fields.len() > 16 {
            break;
        }
    }
    let json = input.rest();
    let Some(allowed) = fuzzing::policy(json, &fields) else { return };
    if allowed {
        assert_eq!(fuzzing::policy(json, &fields), Some(true));
        fields.push(("a-field-that-nobody-spoke-of".to_owned(), String::new()));
        let spoken = String::from_utf8_lossy(json).to_ascii_lowercase().contains("a-field-that");
        assert!(spoken || json.contains(&b'\\') || fuzzing::policy(json, &fields) == Some(false));
    }
}

/// A document. What is read is written so that it reads the same.
pub fn configuration(bytes: &[u8]) {
    if let Ok(rules) = parse_cors(bytes) {
        let written = cors_document(&rules);
        assert!(!is_whole(&written) || parse_cors(written.as_bytes()) == Ok(rules), "{written}");
    }
    if let Ok(rules) = parse_lifecycle(bytes) {
        let written = lifecycle_document(&rules);
        let sayable = rules.iter().all(|rule| rule.expire_at.is_none_or(|at| at.0 < YEAR_10000));
        assert!(
            !sayable || !is_whole(&written) || parse_lifecycle(written.as_bytes()) == Ok(rules),
            "{written}"
        );
    }
    if let Ok(website) = parse_website(bytes) {
        let written = website_document(&website);
        assert!(!is_whole(&written) || parse_website(written.as_bytes()) == Ok(website), "{written}");
    }
}

/// The first moment that has no four digits for its year.
const YEAR_10000: u64 = 253_402_300_800_000;

/// Whether a document holds all that was put into it.
fn is_whole(document: &str) -> bool {
    !document.contains('\u{FFFD}')
}

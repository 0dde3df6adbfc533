//! Tags: which there may be, and how a header names them.

use std::collections::BTreeSet;

use fallthrough_object::Tag;

use crate::error::{S3Code, S3Error};
use crate::uri::decode_plus;

/// Most tags of an object.
pub const OBJECT_TAGS_MAX: usize = 10;
/// Most tags of a bucket.
pub const BUCKET_TAGS_MAX: usize = 50;
/// Longest key of a tag, in characters.
const KEY_CHARS_MAX: usize = 128;
/// Longest value of a tag, in characters.
const VALUE_CHARS_MAX: usize = 256;

/// Whether these tags can be set, at most `max` of them.
///
/// # Errors
/// `InvalidTag`.
pub fn check(tags: &[Tag], max: usize) -> Result<(), S3Error> {
    let invalid = |message: String| Err(S3Error::with_message(S3Code::InvalidTag, message));
    if tags.len() > max {
        return invalid(format!("There cannot be more than {max} tags"));
    }
    let mut keys = BTreeSet::new();
    for tag in tags {
        let refuse = |message: &'static str| {
            Err(S3Error::with_message(S3Code::InvalidTag, message).and("TagKey", tag.key.as_str()))
        };
        if !(1..=KEY_CHARS_MAX).contains(&tag.key.chars().count()) || !fits(&tag.key) {
            return refuse("The TagKey you have provided is invalid");
        }
        if tag.value.chars().count() > VALUE_CHARS_MAX || !fits(&tag.value) {
            return refuse("The TagValue you have provided is invalid");
        }
        // AWS's own tags, which nobody may make.
        if tag.key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return refuse("System tags cannot be added/updated by requester");
        }
        if !keys.insert(tag.key.as_str()) {
            return refuse("Cannot provide multiple Tags with the same key");
        }
    }
    Ok(())
}

/// Letters, digits, white space and some signs, as S3 has it. Line ends and other controls are none of them.
fn fits(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c))
}

/// Reads `x-amz-tagging`: `key=value&key=value`, escaped as a query. Empty: no tags.
///
/// # Errors
/// `InvalidArgument` for what cannot be decoded or has a key twice; `InvalidTag` as [`check`] for an object's.
pub fn parse_header(value: &str) -> Result<Vec<Tag>, S3Error> {
    let invalid = || {
        S3Error::with_message(
            S3Code::InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag \
             name duplicates.",
        )
        .and("ArgumentName", "x-amz-tagging")
    };
    let mut tags: Vec<Tag> = Vec::new();
    for pair in value.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |raw| decode_plus(raw).map(std::borrow::Cow::into_owned).map_err(|_| invalid());
        let tag = Tag { key: text(key)?, value: text(value)? };
        if tags.iter().any(|other| other.key == tag.key) {
            return Err(invalid());
        }
        tags.push(tag);
        if tags.len() > OBJECT_TAGS_MAX {
            break;
        }
    }
    check(&tags, OBJECT_TAGS_MAX)?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn headers_are_read() {
        let rows = [
            ("", Ok(vec![])),
            ("a=b", Ok(vec![tag("a", "b")])),
            ("a", Ok(vec![tag("a", "")])),
            ("a=&b=c%20d+e", Ok(vec![tag("a", ""), tag("b", "c d e")])),
            ("a%3Db=c%26d", Err(S3Code::InvalidTag)),
            ("a=b&a=c", Err(S3Code::InvalidArgument)),
            ("a=%zz", Err(S3Code::InvalidArgument)),
            ("a=%FF", Err(S3Code::InvalidArgument)),
            ("=b", Err(S3Code::InvalidTag)),
            ("aws:x=b", Err(S3Code::InvalidTag)),
        ];
        for (value, want) in rows {
            assert_eq!(parse_header(value).map_err(|error| error.code), want, "{value}");
        }
    }

    #[test]
    fn tags_are_bounded() {
        let rows = [
            (vec![tag(&"k".repeat(128), &"v".repeat(256))], true),
            (vec![tag(&"é".repeat(128), &"é".repeat(256))], true),
            (vec![tag(&"k".repeat(129), "")], false),
            (vec![tag("k", &"v".repeat(257))], false),
            (vec![tag("", "v")], false),
            (vec![tag("a", "1"), tag("a", "2")], false),
            (vec![tag("a", "1"), tag("A", "2")], true),
            (vec![tag("AWS:a", "1")], false),
            (vec![tag("a\n", "1")], false),
            (vec![tag("a", "<")], false),
            (vec![tag("a b_.:/=+-@", "x y")], true),
        ];
        for (tags, fit) in rows {
            assert_eq!(check(&tags, 10).is_ok(), fit, "{tags:?}");
        }
        let many: Vec<Tag> = (0..11).map(|n| tag(&n.to_string(), "")).collect();
        assert!(check(&many, 11).is_ok() && check(&many, 10).is_err());
    }
}

//! Tagging: the tags of a bucket or an object.

use fallthrough_object::Tag;

use super::XmlError;
use super::tree::{self, Element};
use super::write::XmlWriter;

/// Largest document that is read: fifty tags as long as they may be fit, however they are escaped.
const DOCUMENT_BYTES_MAX: usize = 512 << 10;
/// More than any bucket may have: past them nothing is read.
const TAGS_MAX: usize = 1000;

/// Reads the body of PutBucketTagging and PutObjectTagging. What tags there may be is not looked at.
///
/// # Errors
/// [`XmlError`] (`MalformedXML`).
pub fn parse_tagging(body: &[u8]) -> Result<Vec<Tag>, XmlError> {
    let root = tree::parse(body, DOCUMENT_BYTES_MAX)?;
    if root.name != "Tagging" {
        return Err(XmlError::Unexpected("not a Tagging"));
    }
    tags_in(root.only("TagSet").ok_or(XmlError::Unexpected("not one TagSet"))?)
}

/// The tags that an element holds.
pub(super) fn tags_in(set: &Element) -> Result<Vec<Tag>, XmlError> {
    if set.children.len() > TAGS_MAX {
        return Err(XmlError::Unexpected("too many tags"));
    }
    let mut tags = Vec::with_capacity(set.children.len());
    for tag in &set.children {
        let text = |name| tag.only(name).map(|child| child.text.clone());
        let (Some(key), Some(value)) = (text("Key"), text("Value")) else {
            return Err(XmlError::Unexpected("a tag has not one key and one value"));
        };
        if tag.name != "Tag" {
            return Err(XmlError::Unexpected("not a Tag"));
        }
        tags.push(Tag { key, value });
    }
    Ok(tags)
}

/// The document.
pub fn tagging(tags: &[Tag]) -> String {
    let mut xml = XmlWriter::with_capacity(160 + 96 * tags.len());
    xml.open_root("Tagging");
    xml.open("TagSet");
    for tag in tags {
        xml.open("Tag");
        xml.element("Key", &tag.key);
        xml.element("Value", &tag.value);
        xml.close("Tag");
    }
    xml.close("TagSet");
    xml.close("Tagging");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        for tags in [vec![], vec![tag("a", ""), tag(" b&", "<\n>")]] {
            assert_eq!(parse_tagging(tagging(&tags).as_bytes()).unwrap(), tags);
        }
    }

    #[test]
    fn what_is_no_tagging_is_refused() {
        let one = "<Tag><Key>a</Key><Value>b</Value></Tag>";
        let of = |inner: &str| format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
        assert!(parse_tagging(of(one).as_bytes()).is_ok());
        let rows = [
            String::new(),
            "<Tagging/>".to_owned(),
            "<Other><TagSet/></Other>".to_owned(),
            "<Tagging><TagSet/><TagSet/></Tagging>".to_owned(),
            of("<Tag><Key>a</Key></Tag>"),
            of("<Tag><Value>a</Value></Tag>"),
            of("<Tag><Key>a</Key><Key>b</Key><Value>c</Value></Tag>"),
            of("<Label><Key>a</Key><Value>b</Value></Label>"),
            of(&one.repeat(TAGS_MAX + 1)),
            of("&lol;"),
            format!("<!DOCTYPE x>{}", of(one)),
        ];
        for body in rows {
            assert!(parse_tagging(body.as_bytes()).is_err(), "{}", &body[..body.len().min(200)]);
        }
    }
}

//! Documents around POST forms: what an upload is answered with, and the field that holds tags.

use fallthrough_object::Tag;

use super::tree;
use super::write::XmlWriter;
use crate::error::{S3Code, S3Error};

/// Most tags of an object.
const TAGS_MAX: usize = 10;

/// The answer to a form that asks for 201.
#[derive(Clone, Copy, Debug)]
pub struct PostAnswer<'a> {
    /// The address of the object.
    pub location: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// Its key.
    pub key: &'a str,
    /// Its ETag, quoted.
    pub etag: &'a str,
}

impl PostAnswer<'_> {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.open("PostResponse");
        xml.element("Location", self.location);
        xml.element("Bucket", self.bucket);
        xml.element("Key", self.key);
        xml.element("ETag", self.etag);
        xml.close("PostResponse");
        xml.finish()
    }
}

/// Reads the field `tagging` of a form.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`.
pub fn parse_tag_field(document: &[u8]) -> Result<Vec<Tag>, S3Error> {
    let root = tree::parse(document, 64 << 10)?;
    let malformed = || S3Error::new(S3Code::MalformedXml);
    let set = root.children.first().filter(|set| set.name == "TagSet" && root.name == "Tagging");
    let mut tags: Vec<Tag> = Vec::new();
    for row in &set.ok_or_else(malformed)?.children {
        let (Some(key), Some(value)) = (row.child_text("Key"), row.child_text("Value")) else {
            return Err(malformed());
        };
        let known = tags.iter().any(|tag| tag.key == key);
        let fits = !key.is_empty() && key.chars().count() <= 128 && value.chars().count() <= 256;
        if known || !fits || key.to_ascii_lowercase().starts_with("aws:") || tags.len() == TAGS_MAX {
            return Err(S3Code::InvalidTag.into());
        }
        tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
        let document = |inner: &str| format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
        assert_eq!(parse_tag_field(document(&tag("a")).as_bytes()).unwrap()[0].key, "a");
        assert!(parse_tag_field(document("").as_bytes()).unwrap().is_empty());
        let many: String = (0..11).map(|n| tag(&n.to_string())).collect();
        let rows = [
            (document(&[tag("a"), tag("a")].concat()), S3Code::InvalidTag),
            (document(&tag("")), S3Code::InvalidTag),
            (document(&tag("aws:x")), S3Code::InvalidTag),
            (document(&many), S3Code::InvalidTag),
            (document("<Tag/>"), S3Code::MalformedXml),
            ("<Tagging/>".to_owned(), S3Code::MalformedXml),
            (String::new(), S3Code::MalformedXml),
        ];
        for (text, want) in rows {
            assert_eq!(parse_tag_field(text.as_bytes()).unwrap_err().code, want, "{text}");
        }
    }
}

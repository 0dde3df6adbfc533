//! Documents about buckets: the list of them, the location of one, the request that makes one.

use fallthrough_object::{Tag, Timestamp};

use super::tagging::tags_in;
use super::write::XmlWriter;
use super::{Owner, XmlError, tree};
use crate::date;

/// Largest CreateBucketConfiguration that is read.
const CONFIGURATION_BYTES_MAX: usize = 64 << 10;

/// One bucket of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketEntry {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
}

/// ListAllMyBucketsResult.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListBuckets {
    /// Whose buckets these are.
    pub owner: Owner,
    /// In order of their names.
    pub buckets: Vec<BucketEntry>,
    /// The prefix that was asked for.
    pub prefix: Option<String>,
    /// Where the next page begins, if there is one.
    pub continuation_token: Option<String>,
}

impl ListBuckets {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::with_capacity(256 + 128 * self.buckets.len());
        xml.open_root("ListAllMyBucketsResult");
        xml.open("Owner");
        xml.element("ID", &self.owner.id);
        xml.element("DisplayName", &self.owner.display_name);
        xml.close("Owner");
        xml.open("Buckets");
        for bucket in &self.buckets {
            xml.open("Bucket");
            xml.element("Name", &bucket.name);
            xml.element("CreationDate", &date::format_iso(bucket.created));
            xml.close("Bucket");
        }
        xml.close("Buckets");
        xml.optional("ContinuationToken", self.continuation_token.as_deref());
        xml.optional("Prefix", self.prefix.as_deref());
        xml.close("ListAllMyBucketsResult");
        xml.finish()
    }
}

/// The answer to GetBucketLocation. `us-east-1` is written as nothing, as S3 does since its beginning.
pub fn location_constraint(region: &str) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("LocationConstraint");
    if region != "us-east-1" {
        xml.push_text(region);
    }
    xml.close("LocationConstraint");
    xml.finish()
}

/// Reads the body of CreateBucket: the LocationConstraint, if there is one. An empty body has none.
///
/// # Errors
/// [`XmlError`] (`MalformedXML`).
pub fn parse_create_bucket(body: &[u8]) -> Result<Option<String>, XmlError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let root = tree::parse(body, CONFIGURATION_BYTES_MAX)?;
    if root.name != "CreateBucketConfiguration" {
        return Err(XmlError::Unexpected("not a CreateBucketConfiguration"));
    }
    Ok(root
        .child_text("LocationConstraint")
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned))
}

/// Reads the body of CreateBucket: the tags that the bucket shall have. What tags there may be is not looked at.
///
/// # Errors
/// [`XmlError`] (`MalformedXML`).
pub fn parse_new_bucket_tags(body: &[u8]) -> Result<Vec<Tag>, XmlError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let root = tree::parse(body, CONFIGURATION_BYTES_MAX)?;
    match root.children_named("Tags").count() {
        0 => Ok(Vec::new()),
        _ => tags_in(root.only("Tags").ok_or(XmlError::Unexpected("more than one Tags"))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::NAMESPACE;

    #[test]
    fn the_list_of_buckets() {
        let list = ListBuckets {
            owner: Owner { id: "i".into(), display_name: "d&d".into() },
            buckets: vec![BucketEntry { name: "b1".into(), created: Timestamp(0) }],
            prefix: None,
            continuation_token: Some("t".into()),
        };
        let want = format!(
            "<ListAllMyBucketsResult xmlns=\"{NAMESPACE}\"><Owner><ID>i</ID><DisplayName>d&amp;d</DisplayName></Owner>\
             <Buckets><Bucket><Name>b1</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets>\
             <ContinuationToken>t</ContinuationToken></ListAllMyBucketsResult>"
        );
        assert!(list.to_xml().ends_with(&want), "{}", list.to_xml());
    }

    #[test]
    fn the_location() {
        assert!(location_constraint("us-east-1").ends_with("/\"></LocationConstraint>"));
        assert!(location_constraint("eu-west-1").ends_with("/\">eu-west-1</LocationConstraint>"));
    }

    #[test]
    fn the_tags_of_a_new_bucket() {
        let of = |inner: &str| {
            let body = format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
            parse_new_bucket_tags(body.as_bytes())
        };
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        assert_eq!(parse_new_bucket_tags(b" "), Ok(Vec::new()));
        assert_eq!(of("<LocationConstraint>eu</LocationConstraint>"), Ok(Vec::new()));
        let want = vec![Tag { key: "k".to_owned(), value: "v".to_owned() }];
        assert_eq!(of(&format!("<Tags>{tag}</Tags>")), Ok(want));
        assert!(of(&format!("<Tags>{tag}</Tags><Tags/>")).is_err());
        assert!(of("<Tags><Tag><Key>k</Key></Tag></Tags>").is_err());
    }

    #[test]
    fn the_region_of_a_new_bucket() {
        let rows = [
            ("", Ok(None)),
            (" \n", Ok(None)),
            ("<CreateBucketConfiguration/>", Ok(None)),
            (
                "<CreateBucketConfiguration xmlns='x'><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
                Ok(Some("eu")),
            ),
            ("<Other/>", Err(())),
            ("eu", Err(())),
        ];
        for (body, want) in rows {
            let got = parse_create_bucket(body.as_bytes());
            assert_eq!(got.as_ref().map(Option::as_deref).map_err(|_| ()), want, "{body}");
        }
    }
}

//! ListVersionsResult of a bucket without versioning: each object is its only version, `null`.

use std::borrow::Cow;

use super::list::ListedObject;
use super::write::XmlWriter;
use crate::date;
use crate::uri::encode_path;

/// A page of versions. All names are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListVersions {
    /// The bucket's name.
    pub bucket: String,
    /// As the client gave it; empty if it did not.
    pub prefix: String,
    /// As the client gave it.
    pub delimiter: Option<String>,
    /// As the client gave it; empty if it did not.
    pub key_marker: String,
    /// As the client gave it.
    pub version_id_marker: Option<String>,
    /// Where the next page begins; `None`: this is the last.
    pub next_key_marker: Option<String>,
    /// As the client gave it, clipped to what the server allows.
    pub max_keys: u32,
    /// Whether `encoding-type=url` was asked for.
    pub url_encoded: bool,
    /// In order of their bytes.
    pub objects: Vec<ListedObject>,
    /// In order of their bytes; each counts as one key.
    pub common_prefixes: Vec<String>,
}

impl ListVersions {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml =
            XmlWriter::with_capacity(512 + 360 * self.objects.len() + 96 * self.common_prefixes.len());
        xml.open_root("ListVersionsResult");
        xml.element("Name", &self.bucket);
        xml.element("Prefix", &self.name(&self.prefix));
        xml.element("KeyMarker", &self.name(&self.key_marker));
        xml.element("VersionIdMarker", self.version_id_marker.as_deref().unwrap_or(""));
        if let Some(next) = &self.next_key_marker {
            xml.element("NextKeyMarker", &self.name(next));
            xml.element("NextVersionIdMarker", "null");
        }
        xml.number("MaxKeys", self.max_keys.into());
        xml.optional("Delimiter", self.delimiter.as_ref().map(|text| self.name(text)).as_deref());
        xml.optional("EncodingType", self.url_encoded.then_some("url"));
        xml.flag("IsTruncated", self.next_key_marker.is_some());
        for object in &self.objects {
            xml.open("Version");
            xml.element("Key", &self.name(&object.key));
            xml.element("VersionId", "null");
            xml.flag("IsLatest", true);
            xml.element("LastModified", &date::format_iso(object.last_modified));
            xml.optional("ETag", object.etag.as_ref().map(ToString::to_string).as_deref());
            xml.number("Size", object.size_bytes);
            xml.optional("StorageClass", object.storage_class.as_deref());
            if let Some(owner) = &object.owner {
                xml.open("Owner");
                xml.element("ID", &owner.id);
                xml.element("DisplayName", &owner.display_name);
                xml.close("Owner");
            }
            xml.close("Version");
        }
        for prefix in &self.common_prefixes {
            xml.open("CommonPrefixes");
            xml.element("Prefix", &self.name(prefix));
            xml.close("CommonPrefixes");
        }
        xml.close("ListVersionsResult");
        xml.finish()
    }

    fn name<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.url_encoded { Cow::Owned(encode_path(text)) } else { Cow::Borrowed(text) }
    }
}

#[cfg(test)]
mod tests {
    use fallthrough_object::Timestamp;

    use super::*;
    use crate::xml::NAMESPACE;

    #[test]
    fn every_object_is_its_only_version() {
        let page = ListVersions {
            bucket: "b".into(),
            prefix: "a".into(),
            delimiter: None,
            key_marker: String::new(),
            version_id_marker: None,
            next_key_marker: Some("a+".into()),
            max_keys: 1,
            url_encoded: true,
            objects: vec![ListedObject {
                key: "a+".into(),
                last_modified: Timestamp(0),
                etag: None,
                size_bytes: 3,
                storage_class: None,
                owner: None,
            }],
            common_prefixes: vec!["a/".into()],
        };
        let want = format!(
            "<ListVersionsResult xmlns=\"{NAMESPACE}\"><Name>b</Name><Prefix>a</Prefix><KeyMarker></KeyMarker>\
             <VersionIdMarker></VersionIdMarker><NextKeyMarker>a%2B</NextKeyMarker>\
             <NextVersionIdMarker>null</NextVersionIdMarker><MaxKeys>1</MaxKeys><EncodingType>url</EncodingType>\
             <IsTruncated>true</IsTruncated><Version><Key>a%2B</Key><VersionId>null</VersionId>\
             <IsLatest>true</IsLatest><LastModified>1970-01-01T00:00:00.000Z</LastModified><Size>3</Size></Version>\
             <CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></ListVersionsResult>"
        );
        assert!(page.to_xml().ends_with(&want), "{}", page.to_xml());
    }
}

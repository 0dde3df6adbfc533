//! The document that answers a POST form.

use super::write::XmlWriter;

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

//! The document of GetObjectAttributes.

use fallthrough_object::{Checksum, ETag};

use super::write::XmlWriter;
use crate::digest::{checksum_element, format_checksum};

/// What is known of an object, as far as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ObjectAttributes {
    /// Its ETag; shown without quotes, as S3 does in this document alone.
    pub etag: Option<ETag>,
    /// Its checksums.
    pub checksums: Vec<Checksum>,
    /// How many parts it has, if it was uploaded in parts.
    pub parts_count: Option<usize>,
    /// Behind which part the page begins.
    pub marker: u32,
    /// At most so many parts.
    pub max_parts: u32,
    /// The parts of the page.
    pub parts: Vec<AttributesPart>,
    /// Its storage class.
    pub storage_class: Option<&'static str>,
    /// Its length in bytes.
    pub size_bytes: Option<u64>,
}

/// A part of an object.
#[derive(Clone, Debug)]
pub struct AttributesPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its checksum, if its upload asked for one.
    pub checksum: Option<Checksum>,
}

impl ObjectAttributes {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::with_capacity(512 + 120 * self.parts.len());
        xml.open_root("GetObjectAttributesResponse");
        if let Some(etag) = &self.etag {
            xml.element("ETag", etag.value());
        }
        if let Some(first) = self.checksums.first() {
            xml.open("Checksum");
            for checksum in &self.checksums {
                xml.element(checksum_element(checksum.algorithm), &format_checksum(checksum));
            }
            xml.element("ChecksumType", first.kind.as_str());
            xml.close("Checksum");
        }
        if let Some(count) = self.parts_count {
            xml.open("ObjectParts");
            // The model's name of it is TotalPartsCount.
            xml.number("PartsCount", count as u64);
            self.write_parts(&mut xml, count);
            xml.close("ObjectParts");
        }
        xml.optional("StorageClass", self.storage_class);
        if let Some(size_bytes) = self.size_bytes {
            xml.number("ObjectSize", size_bytes);
        }
        xml.close("GetObjectAttributesResponse");
        xml.finish()
    }

    fn write_parts(&self, xml: &mut XmlWriter, count: usize) {
        let next = self.parts.last().map_or(self.marker, |part| part.number);
        if self.parts.is_empty() && self.marker == 0 && self.max_parts > 0 {
            // Nobody has said the sizes of the parts: a page of them would claim that there are none.
            return;
        }
        xml.number("PartNumberMarker", u64::from(self.marker));
        xml.number("NextPartNumberMarker", u64::from(next));
        xml.number("MaxParts", u64::from(self.max_parts));
        xml.flag("IsTruncated", (next as usize) < count);
        for part in &self.parts {
            xml.open("Part");
            xml.number("PartNumber", u64::from(part.number));
            xml.number("Size", part.size_bytes);
            if let Some(checksum) = &part.checksum {
                xml.element(checksum_element(checksum.algorithm), &format_checksum(checksum));
            }
            xml.close("Part");
        }
    }
}

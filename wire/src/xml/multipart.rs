//! The documents of multipart uploads and of copies.

use fallthrough_object::{Checksum, ETag, Timestamp};

use super::write::XmlWriter;
use super::{Owner, XmlError, tree};
use crate::date::format_iso;
use crate::digest::{checksum_element, format_checksum, parse_checksum};
use crate::error::{S3Code, S3Error};
use crate::uri::encode_path;
use fallthrough_object::ChecksumAlgorithm;

/// Most parts of one upload.
pub const PARTS_MAX: usize = 10_000;
/// Largest request that is read: ten thousand parts with their checksums fit.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// A part as a client lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// 1 to 10,000, as far as the client keeps to it.
    pub number: u32,
    /// The ETag, with its quotes or without.
    pub etag: Option<ETag>,
    /// Checksums of the part.
    pub checksums: Vec<Checksum>,
}

/// Reads the body of a CompleteMultipartUpload request.
///
/// # Errors
/// `MalformedXML`: not the document, no part, more than [`PARTS_MAX`], a number or a checksum that cannot be read.
pub fn parse_complete_upload(body: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
    let root = tree::parse(body, REQUEST_BYTES_MAX)?;
    let bad = |what| S3Error::from(XmlError::Unexpected(what));
    if root.name != "CompleteMultipartUpload" {
        return Err(bad("not a CompleteMultipartUpload"));
    }
    let mut parts = Vec::new();
    for part in root.children_named("Part") {
        if parts.len() == PARTS_MAX {
            return Err(bad("more than 10000 parts"));
        }
        let number = part.child_text("PartNumber").and_then(|text| text.trim().parse().ok());
        let number = number.ok_or_else(|| bad("a part has no number"))?;
        let tag = part.child_text("ETag").ok_or_else(|| bad("a part has no ETag"))?;
        let tag = Some(tag.trim().trim_matches('"')).filter(|tag| !tag.is_empty());
        // A tag that cannot be one is the tag of no part.
        let unreadable = |_| S3Error::new(S3Code::InvalidPart);
        let etag = tag.map(ETag::strong).transpose().map_err(unreadable)?;
        let mut checksums = Vec::new();
        for algorithm in ChecksumAlgorithm::ALL {
            let Some(text) = part.child_text(checksum_element(algorithm)) else { continue };
            checksums.push(parse_checksum(algorithm, text.trim()).ok_or_else(|| bad("not a checksum"))?);
        }
        parts.push(CompletedPart { number, etag, checksums });
    }
    if parts.is_empty() {
        return Err(bad("no part"));
    }
    Ok(parts)
}

/// The answer to CreateMultipartUpload.
pub fn initiated(bucket: &str, key: &str, upload_id: &str) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("InitiateMultipartUploadResult");
    xml.element("Bucket", bucket);
    xml.element("Key", key);
    xml.element("UploadId", upload_id);
    xml.close("InitiateMultipartUploadResult");
    xml.finish()
}

/// The answer to CompleteMultipartUpload.
pub fn completed(location: &str, bucket: &str, key: &str, etag: &ETag, checksums: &[Checksum]) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("CompleteMultipartUploadResult");
    xml.element("Location", location);
    xml.element("Bucket", bucket);
    xml.element("Key", key);
    xml.element("ETag", &etag.to_string());
    write_checksums(&mut xml, checksums);
    xml.close("CompleteMultipartUploadResult");
    xml.finish()
}

/// The answer to CopyObject (`CopyObjectResult`) and UploadPartCopy (`CopyPartResult`).
pub fn copied(root: &str, etag: &ETag, last_modified: Timestamp, checksums: &[Checksum]) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root(root);
    xml.element("LastModified", &format_iso(last_modified));
    xml.element("ETag", &etag.to_string());
    write_checksums(&mut xml, checksums);
    xml.close(root);
    xml.finish()
}

/// Elements that show checksums, and what they cover.
pub(super) fn write_checksums(xml: &mut XmlWriter, checksums: &[Checksum]) {
    for checksum in checksums {
        xml.element(checksum_element(checksum.algorithm), &format_checksum(checksum));
    }
    if let Some(first) = checksums.first() {
        xml.element("ChecksumType", first.kind.as_str());
    }
}

/// A part of a listed page.
#[derive(Clone, Debug)]
pub struct PartEntry {
    /// Its number.
    pub number: u32,
    /// When it came.
    pub last_modified: Timestamp,
    /// Its ETag.
    pub etag: ETag,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its checksums.
    pub checksums: Vec<Checksum>,
}

/// A page of the parts of an upload.
#[derive(Clone, Debug)]
pub struct ListParts {
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// Who began the upload.
    pub initiator: Owner,
    /// Who will own the object.
    pub owner: Owner,
    /// Behind which part the page begins.
    pub marker: u32,
    /// At most so many parts.
    pub max_parts: u32,
    /// There are more.
    pub is_truncated: bool,
    /// The checksum that the object will have, and what it will cover.
    pub checksum: Option<(ChecksumAlgorithm, &'static str)>,
    /// Keys are URL-encoded.
    pub url_encoded: bool,
    /// The parts.
    pub parts: Vec<PartEntry>,
}

impl ListParts {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::with_capacity(512 + 160 * self.parts.len());
        xml.open_root("ListPartsResult");
        xml.element("Bucket", &self.bucket);
        xml.element("Key", &encoded(&self.key, self.url_encoded));
        xml.element("UploadId", &self.upload_id);
        write_owner(&mut xml, "Initiator", &self.initiator);
        write_owner(&mut xml, "Owner", &self.owner);
        xml.element("StorageClass", "STANDARD");
        xml.number("PartNumberMarker", u64::from(self.marker));
        let next = self.parts.last().map_or(0, |part| part.number);
        xml.number("NextPartNumberMarker", u64::from(next));
        xml.number("MaxParts", u64::from(self.max_parts));
        xml.flag("IsTruncated", self.is_truncated);
        if let Some((algorithm, kind)) = self.checksum {
            xml.element("ChecksumAlgorithm", algorithm.as_str());
            xml.element("ChecksumType", kind);
        }
        for part in &self.parts {
            xml.open("Part");
            xml.number("PartNumber", u64::from(part.number));
            xml.element("LastModified", &format_iso(part.last_modified));
            xml.element("ETag", &part.etag.to_string());
            xml.number("Size", part.size_bytes);
            for checksum in &part.checksums {
                xml.element(checksum_element(checksum.algorithm), &format_checksum(checksum));
            }
            xml.close("Part");
        }
        xml.close("ListPartsResult");
        xml.finish()
    }
}

/// An upload of a listed page.
#[derive(Clone, Debug)]
pub struct UploadEntry {
    /// The object's key.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// Who began it.
    pub initiator: Owner,
    /// Who will own the object.
    pub owner: Owner,
    /// When it began.
    pub initiated: Timestamp,
    /// The checksum that the object will have, and what it will cover.
    pub checksum: Option<(ChecksumAlgorithm, &'static str)>,
}

/// A page of the uploads of a bucket.
#[derive(Clone, Debug, Default)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: String,
    /// Behind which key the page begins.
    pub key_marker: String,
    /// Behind which upload of that key.
    pub upload_id_marker: String,
    /// Where the next page begins: the key, and the upload (empty after a common prefix).
    pub next: Option<(String, String)>,
    /// Only keys that begin so.
    pub prefix: String,
    /// What keys are collapsed by.
    pub delimiter: Option<String>,
    /// At most so many uploads and prefixes.
    pub max_uploads: u32,
    /// Keys and prefixes are URL-encoded.
    pub url_encoded: bool,
    /// The uploads.
    pub uploads: Vec<UploadEntry>,
    /// The collapsed keys.
    pub common_prefixes: Vec<String>,
}

impl ListUploads {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::with_capacity(512 + 400 * self.uploads.len());
        let text = |text: &str| encoded(text, self.url_encoded);
        xml.open_root("ListMultipartUploadsResult");
        xml.element("Bucket", &self.bucket);
        xml.element("KeyMarker", &text(&self.key_marker));
        xml.element("UploadIdMarker", &self.upload_id_marker);
        if let Some((key, upload)) = &self.next {
            xml.element("NextKeyMarker", &text(key));
            xml.element("NextUploadIdMarker", upload);
        }
        if !self.prefix.is_empty() {
            xml.element("Prefix", &text(&self.prefix));
        }
        if let Some(delimiter) = &self.delimiter {
            xml.element("Delimiter", &text(delimiter));
        }
        if self.url_encoded {
            xml.element("EncodingType", "url");
        }
        xml.number("MaxUploads", u64::from(self.max_uploads));
        xml.flag("IsTruncated", self.next.is_some());
        for upload in &self.uploads {
            xml.open("Upload");
            xml.element("Key", &text(&upload.key));
            xml.element("UploadId", &upload.upload_id);
            write_owner(&mut xml, "Initiator", &upload.initiator);
            write_owner(&mut xml, "Owner", &upload.owner);
            xml.element("StorageClass", "STANDARD");
            xml.element("Initiated", &format_iso(upload.initiated));
            if let Some((algorithm, kind)) = upload.checksum {
                xml.element("ChecksumAlgorithm", algorithm.as_str());
                xml.element("ChecksumType", kind);
            }
            xml.close("Upload");
        }
        for prefix in &self.common_prefixes {
            xml.open("CommonPrefixes");
            xml.element("Prefix", &text(prefix));
            xml.close("CommonPrefixes");
        }
        xml.close("ListMultipartUploadsResult");
        xml.finish()
    }
}

fn write_owner(xml: &mut XmlWriter, name: &str, owner: &Owner) {
    xml.open(name);
    xml.element("ID", &owner.id);
    xml.element("DisplayName", &owner.display_name);
    xml.close(name);
}

fn encoded(text: &str, url: bool) -> String {
    if url { encode_path(text) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_parts_are_read() {
        let body = b"<CompleteMultipartUpload xmlns='x'><Part><ETag>\"ab\"</ETag><PartNumber>2</PartNumber>\
            <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><Part><PartNumber> 3 </PartNumber><ETag>&quot;cd&quot;</ETag>\
            </Part></CompleteMultipartUpload>";
        let parts = parse_complete_upload(body).unwrap();
        assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(parts[1].etag, Some(ETag::strong("cd").unwrap()));
        assert_eq!(parts[0].checksums.len(), 1);
        let rows = [
            "",
            "<CompleteMultipartUpload/>",
            "<Complete><Part><PartNumber>1</PartNumber></Part></Complete>",
            "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ChecksumSHA1>x</ChecksumSHA1></Part>\
             </CompleteMultipartUpload>",
        ];
        for row in rows {
            assert_eq!(
                parse_complete_upload(row.as_bytes()).unwrap_err().code,
                S3Code::MalformedXml,
                "{row}"
            );
        }
        let many = "<Part><PartNumber>1</PartNumber></Part>".repeat(PARTS_MAX + 1);
        let many = format!("<CompleteMultipartUpload>{many}</CompleteMultipartUpload>");
        assert_eq!(parse_complete_upload(many.as_bytes()).unwrap_err().code, S3Code::MalformedXml);
    }
}

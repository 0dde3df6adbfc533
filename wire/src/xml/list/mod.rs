//! ListBucketResult, versions 1 and 2: one type for who writes a page and who reads it.
//!
//! With `encoding-type=url`, names are percent-encoded with `/` left as it is. The Prefix of the request is
//! encoded in version 2 and stands raw in version 1, because that is how the most used clients decode it.

use std::borrow::Cow;

use fallthrough_object::{ETag, Timestamp};

use super::tree::{self, Element};
use super::write::XmlWriter;
use super::{Owner, XmlError};
use crate::date;
use crate::uri::{decode_plus, encode_path};

/// Largest page that is read: 1,000 keys of 1,024 bytes, three characters a byte, with room for the rest.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// One object of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Decoded.
    pub key: String,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// `None` only where the sender left it out or wrote what is no tag.
    pub etag: Option<ETag>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Such as `STANDARD`.
    pub storage_class: Option<String>,
    /// In version 1 always, in version 2 on request.
    pub owner: Option<Owner>,
}

/// Where a page begins and where the next one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListPosition {
    /// ListObjects.
    V1 {
        /// As the client gave it; empty if it did not.
        marker: String,
        /// S3 gives it only with a delimiter; without one, the last key is the marker of the next page.
        next_marker: Option<String>,
    },
    /// ListObjectsV2.
    V2 {
        /// As the client gave it.
        continuation_token: Option<String>,
        /// There if the page is truncated.
        next_continuation_token: Option<String>,
        /// As the client gave it.
        start_after: Option<String>,
    },
}

/// A page of a listing. All names are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// The bucket's name.
    pub bucket: String,
    /// As the client gave it; empty if it did not.
    pub prefix: String,
    /// As the client gave it.
    pub delimiter: Option<String>,
    /// As the client gave it, clipped to what the server allows.
    pub max_keys: u32,
    /// Whether `encoding-type=url` was asked for.
    pub url_encoded: bool,
    /// Whether more follows.
    pub is_truncated: bool,
    /// Where it begins and ends.
    pub position: ListPosition,
    /// In order of their bytes.
    pub objects: Vec<ListedObject>,
    /// In order of their bytes; each counts as one key.
    pub common_prefixes: Vec<String>,
}

impl ListPage {
    /// The marker or token to ask for the next page with; `None` at the end.
    ///
    /// For version 1 without NextMarker this is the last name of the page.
    pub fn next(&self) -> Option<&str> {
        if !self.is_truncated {
            return None;
        }
        match &self.position {
            ListPosition::V1 { next_marker: Some(marker), .. } => Some(marker),
            ListPosition::V1 { next_marker: None, .. } => {
                let last_key = self.objects.last().map(|object| object.key.as_str());
                last_key.max(self.common_prefixes.last().map(String::as_str))
            }
            ListPosition::V2 { next_continuation_token, .. } => next_continuation_token.as_deref(),
        }
    }

    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml =
            XmlWriter::with_capacity(512 + 320 * self.objects.len() + 96 * self.common_prefixes.len());
        xml.open_root("ListBucketResult");
        xml.element("Name", &self.bucket);
        match &self.position {
            ListPosition::V1 { marker, next_marker } => {
                xml.element("Prefix", &self.prefix);
                xml.element("Marker", &self.name(marker));
                xml.optional("NextMarker", next_marker.as_ref().map(|text| self.name(text)).as_deref());
            }
            ListPosition::V2 { continuation_token, next_continuation_token, start_after } => {
                xml.element("Prefix", &self.name(&self.prefix));
                xml.optional("ContinuationToken", continuation_token.as_deref());
                xml.optional("NextContinuationToken", next_continuation_token.as_deref());
                xml.optional("StartAfter", start_after.as_ref().map(|text| self.name(text)).as_deref());
                let count = self.objects.len() + self.common_prefixes.len();
                xml.element("KeyCount", &count.to_string());
            }
        }
        xml.number("MaxKeys", self.max_keys.into());
        xml.optional("Delimiter", self.delimiter.as_ref().map(|text| self.name(text)).as_deref());
        xml.optional("EncodingType", self.url_encoded.then_some("url"));
        xml.flag("IsTruncated", self.is_truncated);
        for object in &self.objects {
            self.write_object(&mut xml, object);
        }
        for prefix in &self.common_prefixes {
            xml.open("CommonPrefixes");
            xml.element("Prefix", &self.name(prefix));
            xml.close("CommonPrefixes");
        }
        xml.close("ListBucketResult");
        xml.finish()
    }

    fn write_object(&self, xml: &mut XmlWriter, object: &ListedObject) {
        xml.open("Contents");
        xml.element("Key", &self.name(&object.key));
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
        xml.close("Contents");
    }

    fn name<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.url_encoded { Cow::Owned(encode_path(text)) } else { Cow::Borrowed(text) }
    }
}

/// Reads a page that some S3 server wrote. Version 2 is told by its KeyCount, a token or StartAfter.
///
/// What was asked for (prefix, delimiter, where to begin) comes back encoded from some servers and as it was sent from
/// others: it is decoded if it can be, and else taken as it stands.
///
/// # Errors
/// [`XmlError`]: also where a name that is listed cannot be decoded, or a size or date is missing. A page is whole or
/// refused, since a name left out would read as absent.
pub fn parse_list_page(document: &[u8]) -> Result<ListPage, XmlError> {
    let root = tree::parse(document, PAGE_BYTES_MAX)?;
    if root.name != "ListBucketResult" {
        return Err(XmlError::Unexpected("not a ListBucketResult"));
    }
    let url_encoded = match root.child_text("EncodingType").map(str::trim) {
        None | Some("") => false,
        Some(kind) if kind.eq_ignore_ascii_case("url") => true,
        Some(_) => return Err(XmlError::Unexpected("an encoding of names that is unknown")),
    };
    let name = |text: &str| decoded(text, url_encoded);
    let optional = |child: &str| root.child_text(child).filter(|text| !text.is_empty());
    let named = |child: &str| optional(child).map(&name).transpose();
    let echoed = |text: &str| name(text).unwrap_or_else(|_| text.to_owned());
    let is_v2 = ["KeyCount", "ContinuationToken", "NextContinuationToken", "StartAfter"]
        .into_iter()
        .any(|child| root.child_text(child).is_some());
    let position = if is_v2 {
        ListPosition::V2 {
            continuation_token: optional("ContinuationToken").map(str::to_owned),
            next_continuation_token: optional("NextContinuationToken").map(str::to_owned),
            start_after: optional("StartAfter").map(echoed),
        }
    } else {
        ListPosition::V1 {
            marker: optional("Marker").map(echoed).unwrap_or_default(),
            next_marker: named("NextMarker")?,
        }
    };
    let prefix = root.child_text("Prefix").unwrap_or("");
    let is_truncated = match root.child_text("IsTruncated").map(str::trim) {
        Some("true") => true,
        Some("false") => false,
        // Without it, nobody can tell whether the listing is complete.
        Some(_) | None => return Err(XmlError::Unexpected("IsTruncated is missing")),
    };
    let mut common_prefixes = Vec::new();
    for group in root.children_named("CommonPrefixes") {
        for prefix in group.children_named("Prefix") {
            common_prefixes.push(name(&prefix.text)?);
        }
    }
    Ok(ListPage {
        bucket: root.child_text("Name").unwrap_or("").to_owned(),
        prefix: if is_v2 { echoed(prefix) } else { prefix.to_owned() },
        delimiter: optional("Delimiter").map(echoed),
        max_keys: optional("MaxKeys").and_then(|text| text.trim().parse().ok()).unwrap_or(1000),
        url_encoded,
        is_truncated,
        position,
        objects: root
            .children_named("Contents")
            .map(|row| listed(row, url_encoded))
            .collect::<Result<_, _>>()?,
        common_prefixes,
    })
}

fn listed(row: &Element, url_encoded: bool) -> Result<ListedObject, XmlError> {
    let key = row.child_text("Key").ok_or(XmlError::Unexpected("a key is missing"))?;
    let size = row.child_text("Size").and_then(|text| text.trim().parse().ok());
    let last_modified = row.child_text("LastModified").and_then(date::parse_iso);
    let owner = row.children_named("Owner").next().map(|owner| Owner {
        id: owner.child_text("ID").unwrap_or("").to_owned(),
        display_name: owner.child_text("DisplayName").unwrap_or("").to_owned(),
    });
    Ok(ListedObject {
        key: decoded(key, url_encoded)?,
        last_modified: last_modified.ok_or(XmlError::Unexpected("a date is missing"))?,
        etag: row.child_text("ETag").and_then(|text| ETag::parse(text).ok()),
        size_bytes: size.ok_or(XmlError::Unexpected("a size is missing"))?,
        storage_class: row.child_text("StorageClass").map(str::to_owned),
        owner,
    })
}

/// AWS writes a space as `+` here, so `+` is one.
fn decoded(text: &str, url_encoded: bool) -> Result<String, XmlError> {
    if !url_encoded {
        return Ok(text.to_owned());
    }
    decode_plus(text).map(Cow::into_owned).map_err(|_| XmlError::Unexpected("a name cannot be decoded"))
}

#[cfg(test)]
mod tests;

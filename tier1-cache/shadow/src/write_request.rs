//! What is written to an origin: whole objects, deletes, and the steps of a multipart upload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::{Body, Checksum, ChecksumKind, ETag, Key, Meta, Tag};
use fallthrough_wire::digest::{checksum_header_name, format_checksum};
use fallthrough_wire::headers::write_meta;
use fallthrough_wire::uri::encode_query;
use http::header::{CONTENT_LENGTH, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method};
use std::time::Duration;

use crate::answer::ShadowError;
use crate::client::value;

/// One write of one object, or a step of it.
#[derive(Debug)]
pub struct WriteRequest {
    /// The origin's name of the object.
    pub key: Key,
    /// What is done.
    pub write: Write,
    /// What must be there already, or not.
    pub guard: WriteGuard,
    /// Longest time without a piece of the body on its way or an answer.
    pub stall: Duration,
    /// How many fall-through stores the change has passed already.
    pub hops: u32,
    /// An id for logs on both sides.
    pub request_id: String,
}

/// A condition on what the origin has under the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteGuard {
    /// Whatever is there.
    None,
    /// The object with this ETag.
    Match(ETag),
    /// Nothing.
    Absent,
}

impl WriteGuard {
    pub(crate) fn write(&self, headers: &mut HeaderMap) -> Result<(), ShadowError> {
        match self {
            Self::None => {}
            Self::Match(etag) => drop(headers.insert(IF_MATCH, value(&etag.to_string())?)),
            Self::Absent => drop(headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"))),
        }
        Ok(())
    }
}

/// What is done to an object.
#[derive(Debug)]
pub enum Write {
    /// PutObject.
    Put {
        /// What is said of the object.
        object: Box<ObjectHeaders>,
        /// Its bytes.
        body: SentBody,
    },
    /// DeleteObject.
    Delete,
    /// CreateMultipartUpload.
    CreateUpload {
        /// What is said of the object.
        object: Box<ObjectHeaders>,
    },
    /// UploadPart.
    UploadPart {
        /// The upload's id there.
        upload: String,
        /// From 1.
        number: u32,
        /// Its bytes.
        body: SentBody,
    },
    /// CompleteMultipartUpload.
    CompleteUpload {
        /// The upload's id there.
        upload: String,
        /// Number and ETag of each part.
        parts: Vec<(u32, ETag)>,
    },
    /// AbortMultipartUpload.
    AbortUpload {
        /// The upload's id there.
        upload: String,
    },
}

/// What is said of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHeaders {
    /// Content headers and user metadata.
    pub meta: Meta,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Where a website sends who asks for it.
    pub website_redirect: Option<String>,
    /// A checksum of all of its bytes, for the origin to verify and keep.
    pub checksum: Option<Checksum>,
}

/// Bytes on their way out, in memory or as a stream: never a file.
#[derive(Debug)]
pub struct SentBody {
    /// The bytes.
    pub body: Body,
    /// How many.
    pub size_bytes: u64,
    /// Their MD5, for the origin to verify.
    pub md5: Option<[u8; 16]>,
}

/// A write as it stands on the wire.
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    pub(crate) body: Body,
}

impl Write {
    /// Takes the write apart; its headers are added to `headers`. There is always a length: without one the body, also
    /// one that is not there, would be sent in chunks, which S3 refuses.
    pub(crate) fn into_parts(self, headers: &mut HeaderMap) -> Result<Sent, ShadowError> {
        let upload_query = |id: &str| Some(format!("uploadId={}", encode_query(id)));
        Ok(match self {
            Self::Put { object, body } => {
                object.write(headers)?;
                let body = body.write(headers)?;
                Sent { method: Method::PUT, query: None, body }
            }
            Self::Delete => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Sent { method: Method::DELETE, query: None, body: Body::empty() }
            }
            Self::CreateUpload { object } => {
                object.write(headers)?;
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Sent { method: Method::POST, query: Some("uploads=".to_owned()), body: Body::empty() }
            }
            Self::UploadPart { upload, number, body } => {
                let body = body.write(headers)?;
                let query = format!("partNumber={number}&uploadId={}", encode_query(&upload));
                Sent { method: Method::PUT, query: Some(query), body }
            }
            Self::CompleteUpload { upload, parts } => {
                let document = complete_document(&parts);
                headers.insert(CONTENT_LENGTH, document.len().into());
                let body = Body::Bytes(document.into());
                Sent { method: Method::POST, query: upload_query(&upload), body }
            }
            Self::AbortUpload { upload } => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Sent { method: Method::DELETE, query: upload_query(&upload), body: Body::empty() }
            }
        })
    }
}

impl ObjectHeaders {
    fn write(&self, headers: &mut HeaderMap) -> Result<(), ShadowError> {
        write_meta(&self.meta, headers)
            .map_err(|error| ShadowError::Malformed { reason: error.to_string() })?;
        if !self.tags.is_empty() {
            let pair = |tag: &Tag| format!("{}={}", encode_query(&tag.key), encode_query(&tag.value));
            let pairs: Vec<_> = self.tags.iter().map(pair).collect();
            headers.insert("x-amz-tagging", value(&pairs.join("&"))?);
        }
        if let Some(redirect) = &self.website_redirect {
            headers.insert("x-amz-website-redirect-location", value(redirect)?);
        }
        if let Some(checksum) = self.checksum.as_ref().filter(|sum| sum.kind == ChecksumKind::FullObject) {
            let name = checksum_header_name(checksum.algorithm);
            headers.insert(name, value(&format_checksum(checksum))?);
        }
        Ok(())
    }
}

impl SentBody {
    fn write(self, headers: &mut HeaderMap) -> Result<Body, ShadowError> {
        headers.insert(CONTENT_LENGTH, self.size_bytes.into());
        if let Some(md5) = self.md5 {
            headers.insert("content-md5", value(&STANDARD.encode(md5))?);
        }
        Ok(self.body)
    }
}

fn complete_document(parts: &[(u32, ETag)]) -> String {
    let mut xml = fallthrough_wire::xml::write::XmlWriter::new();
    xml.open_root("CompleteMultipartUpload");
    for (number, etag) in parts {
        xml.open("Part");
        xml.element("PartNumber", &number.to_string());
        xml.element("ETag", &etag.to_string());
        xml.close("Part");
    }
    xml.close("CompleteMultipartUpload");
    xml.finish()
}

//! The XML documents that S3 servers write and S3 clients read, as far as both sides here need them.
//!
//! What is written is always well-formed, whatever names it holds. What is read is bounded, has no
//! document type and no entities but the five of XML itself.

mod acl;
mod attributes;
mod bucket;
mod cors;
mod delete;
mod error_document;
mod lifecycle;
mod list;
mod multipart;
mod post;
mod tagging;
pub mod tree;
mod versions;
mod website;
pub mod write;

pub use acl::{AccessControlPolicy, NamedGrant};
pub use attributes::{AttributesPart, ObjectAttributes};
pub use bucket::{BucketEntry, ListBuckets, location_constraint, parse_create_bucket, parse_new_bucket_tags};
pub use cors::{CORS_RULES_MAX, cors_document, parse_cors};
pub use delete::{DELETE_KEYS_MAX, DeleteObject, DeleteOutcome, DeleteRequest, delete_result};
pub use error_document::{ErrorDocument, parse_error_document};
pub use lifecycle::{LIFECYCLE_RULES_MAX, lifecycle_document, parse_lifecycle};
pub use list::{ListPage, ListPosition, ListedObject, parse_list_page};
pub use multipart::{
    CompletedPart, ListParts, ListUploads, PARTS_MAX, PartEntry, UploadEntry, completed, copied, initiated,
    parse_complete_upload,
};
pub use post::PostAnswer;
pub use tagging::{parse_tagging, tagging};
pub use versions::ListVersions;
pub use website::{parse_website, website_document};

/// Namespace of S3's documents.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Who owns an object or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Canonical id.
    pub id: String,
    /// For people.
    pub display_name: String,
}

/// A document that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not XML, or XML of a kind that is not read: a document type, a foreign entity, too deep or too large.
    #[error("not well-formed: {0}")]
    Malformed(String),
    /// XML, but not the document that was expected.
    #[error("not the expected document: {0}")]
    Unexpected(&'static str),
}

impl From<XmlError> for crate::error::S3Error {
    fn from(_: XmlError) -> Self {
        Self::new(crate::error::S3Code::MalformedXml)
    }
}

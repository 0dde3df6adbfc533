//! DeleteObjects: what a client asks for, and what became of each key.

use super::XmlError;
use super::tree;
use super::write::XmlWriter;
use fallthrough_object::Timestamp;

use crate::date::{parse_http, parse_iso};
use crate::error::S3Code;

/// Most keys of one request.
pub const DELETE_KEYS_MAX: usize = 1000;
/// Largest request that is read, as S3 has it: 2 MiB.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// One object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteObject {
    /// As it came; not checked as a key.
    pub key: String,
    /// `null` names the only version of an unversioned bucket.
    pub version_id: Option<String>,
    /// Delete only if the object has this ETag; as it came.
    pub etag: Option<String>,
    /// Delete only if the object was modified in this second.
    pub last_modified: Option<Timestamp>,
    /// Delete only if the object has so many bytes.
    pub size_bytes: Option<u64>,
}

/// The body of a DeleteObjects request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Answer only with what failed.
    pub quiet: bool,
    /// One to a thousand.
    pub objects: Vec<DeleteObject>,
}

impl DeleteRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// [`XmlError`] (`MalformedXML`), also for no key or more than [`DELETE_KEYS_MAX`].
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = tree::parse(body, REQUEST_BYTES_MAX)?;
        if root.name != "Delete" {
            return Err(XmlError::Unexpected("not a Delete"));
        }
        let mut objects = Vec::new();
        for row in root.children_named("Object") {
            if objects.len() == DELETE_KEYS_MAX {
                return Err(XmlError::Unexpected("more than 1000 keys"));
            }
            let text = |name| row.child_text(name).filter(|text| !text.is_empty()).map(str::to_owned);
            let key = row.child_text("Key").ok_or(XmlError::Unexpected("an object has no key"))?.to_owned();
            let last_modified = match text("LastModifiedTime") {
                None => None,
                Some(text) => Some(
                    parse_http(&text)
                        .or_else(|| parse_iso(&text))
                        .ok_or(XmlError::Unexpected("a time that cannot be read"))?,
                ),
            };
            let size_bytes = match text("Size") {
                None => None,
                Some(text) => {
                    Some(text.trim().parse().map_err(|_| XmlError::Unexpected("a size that is no number"))?)
                }
            };
            let (version_id, etag) = (text("VersionId"), text("ETag"));
            objects.push(DeleteObject { key, version_id, etag, last_modified, size_bytes });
        }
        if objects.is_empty() {
            return Err(XmlError::Unexpected("no key"));
        }
        let quiet = root.child_text("Quiet").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        Ok(Self { quiet, objects })
    }
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// It is gone, or was never there.
    Deleted {
        /// The key.
        key: String,
        /// The version that was named, if one was.
        version_id: Option<String>,
    },
    /// It is still there.
    Failed {
        /// The key.
        key: String,
        /// The version that was named, if one was.
        version_id: Option<String>,
        /// Why.
        code: S3Code,
        /// For people.
        message: String,
    },
}

/// The answer to a DeleteObjects request; `quiet` leaves out what was deleted.
pub fn delete_result(outcomes: &[DeleteOutcome], quiet: bool) -> String {
    let mut xml = XmlWriter::with_capacity(128 + 80 * outcomes.len());
    xml.open_root("DeleteResult");
    for outcome in outcomes {
        match outcome {
            DeleteOutcome::Deleted { .. } if quiet => {}
            DeleteOutcome::Deleted { key, version_id } => {
                xml.open("Deleted");
                xml.element("Key", key);
                xml.optional("VersionId", version_id.as_deref());
                xml.close("Deleted");
            }
            DeleteOutcome::Failed { key, version_id, code, message } => {
                xml.open("Error");
                xml.element("Key", key);
                xml.optional("VersionId", version_id.as_deref());
                xml.element("Code", code.as_str());
                xml.element("Message", message);
                xml.close("Error");
            }
        }
    }
    xml.close("DeleteResult");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let body = b"<Delete xmlns='x'><Quiet>true</Quiet><Object><Key>a&#10;b</Key><VersionId>null</VersionId></Object><Object><Key> </Key><ETag>e</ETag></Object></Delete>";
        let request = DeleteRequest::parse(body).unwrap();
        assert!(request.quiet);
        assert_eq!(request.objects[0].key, "a\nb");
        assert_eq!(request.objects[0].version_id.as_deref(), Some("null"));
        assert_eq!((request.objects[1].key.as_str(), request.objects[1].etag.as_deref()), (" ", Some("e")));
    }

    #[test]
    fn at_most_a_thousand_keys() {
        let body = |count| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
        for (count, fits) in [(0, false), (1, true), (1000, true), (1001, false)] {
            assert_eq!(DeleteRequest::parse(body(count).as_bytes()).is_ok(), fits, "{count}");
        }
        for bad in ["", "<Remove/>", "<Delete><Object/></Delete>", "<Delete><Object><Key>k</Key></Object>"] {
            assert!(DeleteRequest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_answer_names_each_key_unless_quiet() {
        let outcomes = [
            DeleteOutcome::Deleted { key: "a&b".into(), version_id: None },
            DeleteOutcome::Failed {
                key: "c".into(),
                version_id: Some("null".into()),
                code: S3Code::AccessDenied,
                message: "no".into(),
            },
        ];
        let failed = "<Error><Key>c</Key><VersionId>null</VersionId><Code>AccessDenied</Code><Message>no</Message></Error>";
        let loud = delete_result(&outcomes, false);
        assert!(loud.contains("<Deleted><Key>a&amp;b</Key></Deleted>") && loud.contains(failed), "{loud}");
        let quiet = delete_result(&outcomes, true);
        assert!(!quiet.contains("Deleted>") && quiet.contains(failed), "{quiet}");
    }
}

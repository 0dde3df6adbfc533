//! Reading the error document of some S3 server.

use super::{XmlError, tree};

/// Largest error document that is read.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// An error as another server tells it. Codes are text: others have codes that we do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDocument {
    /// The code, such as `NoSuchKey`.
    pub code: String,
    /// For people; empty if it is missing.
    pub message: String,
    /// What was asked for.
    pub resource: Option<String>,
    /// How the other server calls the request.
    pub request_id: Option<String>,
    /// The remaining elements, name and text, in order.
    pub extra: Vec<(String, String)>,
}

impl ErrorDocument {
    /// The text of one of the remaining elements.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.extra.iter().find(|(have, _)| have == name).map(|(_, text)| text.as_str())
    }
}

/// Reads an error document.
///
/// # Errors
/// [`XmlError`] if it is none: what stands between may answer in HTML.
pub fn parse_error_document(document: &[u8]) -> Result<ErrorDocument, XmlError> {
    let root = tree::parse(document, DOCUMENT_BYTES_MAX)?;
    if root.name != "Error" {
        return Err(XmlError::Unexpected("not an Error"));
    }
    let mut error = ErrorDocument {
        code: root.child_text("Code").ok_or(XmlError::Unexpected("the code is missing"))?.to_owned(),
        message: String::new(),
        resource: None,
        request_id: None,
        extra: Vec::new(),
    };
    for child in root.children {
        match child.name.as_str() {
            "Code" => {}
            "Message" => error.message = child.text,
            "Resource" => error.resource = Some(child.text),
            "RequestId" => error.request_id = Some(child.text),
            _ => error.extra.push((child.name, child.text)),
        }
    }
    Ok(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_error_documents_are_read() {
        let error = parse_error_document(b"<Error><Code>SlowDown</Code><Region>eu</Region></Error>").unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str(), error.get("Region")),
            ("SlowDown", "", Some("eu"))
        );
        for bad in ["", "<html><body>502</body></html>", "<Error><Message>m</Message></Error>", "{}"] {
            assert!(parse_error_document(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

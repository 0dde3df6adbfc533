//! The headers that belong to an object.

use serde::{Deserialize, Serialize};

/// The content headers and user metadata of an object, verbatim as they came.
///
/// Values are text that fits a header line: no control characters. They are checked where they enter
/// (gateway, shadow, origin), since each of those answers differently to a bad one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// Content-Type; `None` is served as `binary/octet-stream`, S3's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Cache-Control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// Content-Disposition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// Content-Encoding, without `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Content-Language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Expires, as the text that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// User metadata: names in lower case without `x-amz-meta-`, sorted by name, one row a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<(String, String)>,
}

impl Meta {
    /// Metadata with only a content type.
    pub fn of_type(content_type: impl Into<String>) -> Self {
        Self { content_type: Some(content_type.into()), ..Self::default() }
    }

    /// Bytes of user metadata as S3 counts them: names plus values (the limit is 2,048).
    pub fn user_bytes(&self) -> usize {
        self.user.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

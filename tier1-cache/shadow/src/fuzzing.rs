//! Private parsers of the way out, for the fuzz targets alone (feature `fuzzing`). Not an interface.

use fallthrough_wire::xml;
use http::Uri;

use crate::endpoint::Endpoint;
use crate::{ListQuery, ListedPage, NetworkPolicy, SettingsError, ShadowError, s3_shadow};

/// An endpoint that was accepted, and where a request for a key would go.
#[derive(Debug)]
pub struct Way {
    /// The host as it stands in the endpoint.
    pub host: String,
    /// The port that is connected to.
    pub port: u16,
    /// Of the Host header.
    pub host_header: String,
    /// What is requested; `None` if it is no URI.
    pub uri: Option<Uri>,
}

/// Reads an endpoint and makes the URI of `key` below it.
///
/// # Errors
/// [`SettingsError`].
pub fn way(raw: &str, policy: NetworkPolicy, key: &str) -> Result<Way, SettingsError> {
    let endpoint = Endpoint::parse(raw, policy)?;
    Ok(Way {
        host: endpoint.host().to_owned(),
        port: endpoint.port(),
        host_header: endpoint.host_header(),
        uri: endpoint.uri(&endpoint.raw_path(key)),
    })
}

/// Reads a page of a list that some provider wrote as the answer to `query`.
///
/// # Errors
/// [`ShadowError::Malformed`].
pub fn list_page(query: &ListQuery, document: &[u8]) -> Result<ListedPage, ShadowError> {
    let page = xml::parse_list_page(document)
        .map_err(|error| ShadowError::Malformed { reason: error.to_string() })?;
    s3_shadow::checked(query, page)
}

//! How a bucket is served as a website: the document, read and written.

use fallthrough_object::{Website, WebsiteRedirect};

use super::tree::{self, Element};
use super::write::XmlWriter;
use crate::error::{S3Code, S3Error};

const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Reads a website configuration.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument` and `InvalidRequest` for what S3 does not take; `NotImplemented` for routing
/// rules, which would silently lead elsewhere than they say.
pub fn parse_website(document: &[u8]) -> Result<Website, S3Error> {
    let root = tree::parse(document, DOCUMENT_BYTES_MAX)?;
    let malformed = || S3Error::new(S3Code::MalformedXml);
    if root.name != "WebsiteConfiguration" {
        return Err(malformed());
    }
    let mut website = Website::default();
    for child in &root.children {
        match child.name.as_str() {
            "IndexDocument" => website.index = Some(index(child)?),
            "ErrorDocument" => website.error = Some(error_document(child)?),
            "RedirectAllRequestsTo" => website.redirect_all_to = Some(redirect(child)?),
            "RoutingRules" if child.children.is_empty() => {}
            "RoutingRules" => {
                let message = "Routing rules are not offered.";
                return Err(S3Error::with_message(S3Code::NotImplemented, message));
            }
            _ => return Err(malformed()),
        }
    }
    match (&website.index, &website.redirect_all_to) {
        (None, Some(_)) if website.error.is_none() => Ok(website),
        (Some(_), None) => Ok(website),
        (None, None) => Err(S3Error::with_message(
            S3Code::InvalidArgument,
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )
        .and("ArgumentName", "IndexDocument")),
        (_, Some(_)) => Err(S3Error::with_message(
            S3Code::InvalidRequest,
            "RedirectAllRequestsTo cannot be provided in conjunction with other documents.",
        )),
    }
}

fn index(element: &Element) -> Result<String, S3Error> {
    let suffix = element.child_text("Suffix").ok_or_else(|| S3Error::new(S3Code::MalformedXml))?;
    if suffix.is_empty() || suffix.contains('/') || suffix.len() > 1024 {
        let message = "The IndexDocument Suffix is not well formed";
        return Err(
            S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", "IndexDocument")
        );
    }
    Ok(suffix.to_owned())
}

fn error_document(element: &Element) -> Result<String, S3Error> {
    let key = element.child_text("Key").ok_or_else(|| S3Error::new(S3Code::MalformedXml))?;
    if key.is_empty() || key.len() > 1024 {
        let message = "The ErrorDocument Key is not well formed";
        return Err(
            S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", "ErrorDocument")
        );
    }
    Ok(key.to_owned())
}

fn redirect(element: &Element) -> Result<WebsiteRedirect, S3Error> {
    let host = element.child_text("HostName").ok_or_else(|| S3Error::new(S3Code::MalformedXml))?.trim();
    // It will stand in a Location header: a host, perhaps with a port, and nothing else.
    let sound = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    if host.is_empty() || host.len() > 255 || !host.bytes().all(sound) {
        let message = "The RedirectAllRequestsTo HostName is not well formed";
        return Err(S3Error::with_message(S3Code::InvalidRequest, message));
    }
    let protocol = element.child_text("Protocol").map(|text| text.trim().to_ascii_lowercase());
    if protocol.as_deref().is_some_and(|protocol| !matches!(protocol, "http" | "https")) {
        return Err(S3Error::with_message(
            S3Code::InvalidRequest,
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        ));
    }
    Ok(WebsiteRedirect { host: host.to_owned(), protocol })
}

/// Writes a website configuration.
pub fn website_document(website: &Website) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("WebsiteConfiguration");
    if let Some(to) = &website.redirect_all_to {
        xml.open("RedirectAllRequestsTo");
        xml.element("HostName", &to.host);
        xml.optional("Protocol", to.protocol.as_deref());
        xml.close("RedirectAllRequestsTo");
    }
    for (outer, inner, text) in
        [("IndexDocument", "Suffix", &website.index), ("ErrorDocument", "Key", &website.error)]
    {
        if let Some(text) = text {
            xml.open(outer);
            xml.element(inner, text);
            xml.close(outer);
        }
    }
    xml.close("WebsiteConfiguration");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inner: &str) -> String {
        format!("<WebsiteConfiguration xmlns=\"x\">{inner}</WebsiteConfiguration>")
    }

    #[test]
    fn what_is_read_is_written_and_reads_back() {
        let rows = [
            "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>",
            "<IndexDocument><Suffix>i</Suffix></IndexDocument><ErrorDocument><Key>e/404.html</Key></ErrorDocument>",
            "<RedirectAllRequestsTo><HostName>example.com:8443</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>",
        ];
        for inner in rows {
            let website = parse_website(document(inner).as_bytes()).unwrap();
            assert_eq!(parse_website(website_document(&website).as_bytes()).unwrap(), website);
        }
    }

    #[test]
    fn what_s3_does_not_take_is_refused() {
        let all = "<RedirectAllRequestsTo><HostName>a</HostName></RedirectAllRequestsTo>";
        let index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>";
        let rule = "<RoutingRules><RoutingRule/></RoutingRules>";
        let rows = [
            ("", "InvalidArgument"),
            ("<Surprise/>", "MalformedXML"),
            ("<IndexDocument/>", "MalformedXML"),
            ("<IndexDocument><Suffix></Suffix></IndexDocument>", "InvalidArgument"),
            ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", "InvalidArgument"),
            ("<ErrorDocument><Key>e</Key></ErrorDocument>", "InvalidArgument"),
            (&[index, all].concat(), "InvalidRequest"),
            (&[index, rule].concat(), "NotImplemented"),
            ("<RedirectAllRequestsTo><HostName>a/b</HostName></RedirectAllRequestsTo>", "InvalidRequest"),
            (
                "<RedirectAllRequestsTo><HostName>a</HostName><Protocol>gopher</Protocol></RedirectAllRequestsTo>",
                "InvalidRequest",
            ),
        ];
        for (inner, code) in rows {
            let error = parse_website(document(inner).as_bytes()).unwrap_err();
            assert_eq!(error.code.as_str(), code, "{inner}");
        }
    }
}

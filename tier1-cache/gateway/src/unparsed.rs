//! Requests that hyper cannot read: its own bare refusal, with S3's document.
//!
//! hyper answers a head that it cannot parse by itself, without a body, and closes the connection; no service sees such a
//! request. Here its answer is replaced on its way to the socket by one that says why. It is recognised by when it is
//! written, which is while no answer of ours is on its way ([`crate::flow::Flow::is_idle`]), and never by its look alone:
//! the bytes of an object may look like anything.

use fallthrough_wire::{S3Code, S3Error};

use crate::request_id::RequestId;

/// What a connection says in the place of hyper, and how much of that has gone out.
#[derive(Debug)]
pub(crate) struct Replaced {
    pub(crate) ours: Vec<u8>,
    pub(crate) sent: usize,
    /// How long hyper's own answer was, in bytes.
    pub(crate) theirs: usize,
}

/// What is said in the place of hyper's answer `theirs`; `None` if that is no refusal of a head. `to_head`: the
/// request was a HEAD, whose answer has no body.
pub(crate) fn in_place_of(theirs: &[u8], to_head: bool, id: &RequestId, host_id: &str) -> Option<Vec<u8>> {
    let mut error = match theirs.strip_prefix(b"HTTP/1.1 ")?.get(..3)? {
        b"400" => S3Error::with_message(
            S3Code::InvalidRequest,
            "The request cannot be read: its first line or one of its headers is not as HTTP/1.1 has it.",
        ),
        b"414" => S3Error::new(S3Code::UriTooLong),
        b"431" => S3Error::new(S3Code::RequestHeaderSectionTooLarge),
        _ => return None,
    };
    error.request_id = Some(id.as_str().into());
    error.host_id = Some(host_id.into());
    let (status, document) = (error.status(), error.to_xml());
    let mut ours = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-amz-request-id: {}\r\nx-amz-id-2: {host_id}\r\nserver: Fallthrough\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        document.len(),
        id.as_str(),
    );
    let mut lines = std::str::from_utf8(theirs).ok()?.split("\r\n");
    if let Some(date) = lines.find(|line| line.to_ascii_lowercase().starts_with("date:")) {
        ours.push_str(date);
        ours.push_str("\r\n");
    }
    ours.push_str("\r\n");
    if !to_head {
        ours.push_str(&document);
    }
    Some(ours.into_bytes())
}

#[cfg(test)]
mod tests {
    use fallthrough_object::SeededEntropy;
    use fallthrough_wire::xml::parse_error_document;

    use super::*;
    use crate::request_id::RequestIds;

    #[test]
    fn a_refusal_says_why_and_how_long_it_is() {
        let id = RequestIds::new(&SeededEntropy::new(7)).next();
        let rows = [
            ("400 Bad Request", "400 Bad Request", "InvalidRequest"),
            ("414 URI Too Long", "414 URI Too Long", "URITooLong"),
            ("431 Request Header Fields Too Large", "400 Bad Request", "RequestHeaderSectionTooLarge"),
        ];
        for (theirs, status, code) in rows {
            let theirs = format!("HTTP/1.1 {theirs}\r\ncontent-length: 0\r\ndate: today\r\n\r\n");
            let ours = in_place_of(theirs.as_bytes(), false, &id, "host").unwrap();
            let (head, document) = std::str::from_utf8(&ours).unwrap().split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert!(head.contains(&format!("content-length: {}\r\n", document.len())), "{head}");
            assert!(head.contains("connection: close\r\n") && head.ends_with("date: today"), "{head}");
            let error = parse_error_document(document.as_bytes()).unwrap();
            assert_eq!((error.code.as_str(), error.request_id.as_deref()), (code, Some(id.as_str())));
            let to_head = in_place_of(theirs.as_bytes(), true, &id, "host").unwrap();
            assert_eq!(to_head, ours[..ours.len() - document.len()]);
        }
        for other in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 500 x\r\n\r\n", "HTTP/1.1 40", "", "400"] {
            assert!(in_place_of(other.as_bytes(), false, &id, "host").is_none(), "{other}");
        }
    }
}

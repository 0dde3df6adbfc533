//! What a presigned URL says in its query instead of in headers.
//!
//! S3 takes a signed `x-amz-*` parameter as the header of that name, since whoever presigns a request for a browser
//! cannot make the browser send headers. Handlers read headers alone: so they are given those, too.

use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

/// Parameters that are the signature's own.
const OF_THE_SIGNATURE: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// The request with what its query says in headers; `None` if it says nothing there. To be called only of a request
/// whose signature stands in the query, and to be used only after that was verified.
///
/// # Errors
/// `InvalidRequest` if a header says it as well; `InvalidArgument` if it cannot be a header's value.
pub(crate) fn with_query_headers(parts: &Parts, query: &Query) -> Result<Option<Parts>, S3Error> {
    let mut with: Option<Parts> = None;
    for (parameter, value) in query.iter() {
        let name = parameter.to_ascii_lowercase();
        if !name.starts_with("x-amz-") || OF_THE_SIGNATURE.contains(&name.as_str()) || is_digest(&name) {
            continue;
        }
        let wrong = |code, message: &'static str| {
            Err(S3Error::with_message(code, message).and("ArgumentName", parameter))
        };
        if parts.headers.contains_key(&name) {
            return wrong(S3Code::InvalidRequest, "The request says this in its query and in a header.");
        }
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let Some((name, value)) = header else {
            return wrong(S3Code::InvalidArgument, "This parameter cannot be taken as a header.");
        };
        with.get_or_insert_with(|| parts.clone()).headers.append(name, value);
    }
    Ok(with)
}

/// Checksums of a body that SDKs presign without knowing it are of no bytes: [`crate::upload::Upload`] tells those.
fn is_digest(name: &str) -> bool {
    let of = name.strip_prefix("x-amz-checksum-");
    name == "x-amz-sdk-checksum-algorithm"
        || of.is_some_and(|of| {
            fallthrough_object::ChecksumAlgorithm::ALL.iter().any(|a| a.header_suffix() == of)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(headers: &[(&'static str, &str)], query: &str) -> Result<Option<Parts>, S3Code> {
        let mut request = http::Request::get("/a/b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        with_query_headers(&parts, &Query::parse(query).unwrap()).map_err(|error| error.code)
    }

    #[test]
    fn parameters_are_headers_but_those_of_the_signature_and_of_no_bytes() {
        let own = "X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Expires=1&X-Amz-SignedHeaders=host\
                   &X-Amz-Signature=s&x-id=PutObject&x-amz-checksum-crc32=AAAAAA%3D%3D\
                   &x-amz-sdk-checksum-algorithm=CRC32";
        assert!(merged(&[("host", "h")], own).unwrap().is_none());
        let parts = merged(&[("host", "h")], "X-Amz-Meta-A=%C3%A9x&x-amz-checksum-mode=ENABLED&acl")
            .unwrap()
            .unwrap();
        assert_eq!(parts.headers["x-amz-meta-a"].as_bytes(), "éx".as_bytes());
        assert_eq!(
            (parts.headers.len(), &parts.headers["x-amz-checksum-mode"]),
            (3, &HeaderValue::from_static("ENABLED"))
        );
    }

    #[test]
    fn what_is_said_twice_or_is_no_header_is_refused() {
        let twice = merged(&[("x-amz-acl", "private")], "x-amz-acl=public-read");
        assert_eq!(twice.map(drop), Err(S3Code::InvalidRequest));
        assert_eq!(merged(&[], "x-amz-meta-a=%0Ab").map(drop), Err(S3Code::InvalidArgument));
        assert_eq!(merged(&[], "x-amz-meta-%20=b").map(drop), Err(S3Code::InvalidArgument));
    }
}

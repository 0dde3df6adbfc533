//! The one table of S3 error codes, and the error document that carries one.
//!
//! Other crates say what happened in their own words and turn it into an [`S3Code`] at the border.
//! No status number and no code text stands anywhere else.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::xml::write::XmlWriter;

macro_rules! codes {
    ($($name:ident $text:literal $status:literal $message:literal;)*) => {
        /// A code as it stands in the `Code` element of an S3 error document.
        ///
        /// Codes and statuses follow
        /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>; the last rows are our own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum S3Code {
            $(#[doc = $message] $name,)*
        }

        impl S3Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text of the `Code` element.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status that goes with the code.
            pub fn status(self) -> StatusCode {
                let number: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(number).expect("every status in the table has three digits")
            }

            /// What to tell the client where nothing better is known.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// The code with this text, if the table has it.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported "AccessControlListNotSupported" 400 "The bucket does not allow ACLs.";
    AccessDenied "AccessDenied" 403 "Access Denied";
    AccessForbidden "AccessForbidden" 403 "Access forbidden";
    AuthorizationHeaderMalformed "AuthorizationHeaderMalformed" 400 "The authorization header you provided is invalid.";
    AuthorizationQueryParametersError "AuthorizationQueryParametersError" 400 "The authorization query parameters that you provided are not valid.";
    BadDigest "BadDigest" 400 "The Content-MD5 or checksum value that you specified did not match what the server received.";
    BadRequest "BadRequest" 400 "Bad Request";
    BucketAlreadyExists "BucketAlreadyExists" 409 "The requested bucket name is not available. Please select a different name and try again.";
    BucketAlreadyOwnedByYou "BucketAlreadyOwnedByYou" 409 "The bucket that you tried to create already exists, and you own it.";
    BucketNotEmpty "BucketNotEmpty" 409 "The bucket that you tried to delete is not empty.";
    ConditionalRequestConflict "ConditionalRequestConflict" 409 "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge "EntityTooLarge" 400 "Your proposed upload exceeds the maximum allowed object size.";
    EntityTooSmall "EntityTooSmall" 400 "Your proposed upload is smaller than the minimum allowed object size.";
    ExpiredToken "ExpiredToken" 400 "The provided token has expired.";
    IllegalLocationConstraint "IllegalLocationConstraintException" 400 "The specified location constraint is not valid.";
    IncompleteBody "IncompleteBody" 400 "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    InternalError "InternalError" 500 "An internal error occurred. Try again.";
    InvalidAccessKeyId "InvalidAccessKeyId" 403 "The access key ID that you provided does not exist in our records.";
    InvalidArgument "InvalidArgument" 400 "Invalid Argument";
    InvalidBucketName "InvalidBucketName" 400 "The specified bucket is not valid.";
    InvalidBucketState "InvalidBucketState" 409 "The request is not valid for the current state of the bucket.";
    InvalidDigest "InvalidDigest" 400 "The Content-MD5 or checksum value that you specified is not valid.";
    InvalidLocationConstraint "InvalidLocationConstraint" 400 "The specified location (Region) constraint is not valid.";
    InvalidObjectState "InvalidObjectState" 403 "The operation is not valid for the current state of the object.";
    InvalidPart "InvalidPart" 400 "One or more of the specified parts could not be found.";
    InvalidPartOrder "InvalidPartOrder" 400 "The list of parts was not in ascending order.";
    IncorrectNumberOfFilesInPostRequest "IncorrectNumberOfFilesInPostRequest" 400 "POST requires exactly one file upload per request.";
    InvalidPolicyDocument "InvalidPolicyDocument" 400 "The content of the form does not meet the conditions specified in the policy document.";
    InvalidRedirectLocation "InvalidRedirectLocation" 400 "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    InvalidRange "InvalidRange" 416 "The requested range is not satisfiable";
    InvalidRequest "InvalidRequest" 400 "Invalid Request";
    InvalidStorageClass "InvalidStorageClass" 400 "The storage class you specified is not valid.";
    InvalidTag "InvalidTag" 400 "The tag provided was not a valid tag.";
    InvalidToken "InvalidToken" 400 "The provided token is malformed or otherwise not valid.";
    InvalidUri "InvalidURI" 400 "The specified URI could not be parsed.";
    KeyTooLong "KeyTooLongError" 400 "Your key is too long.";
    MalformedAcl "MalformedACLError" 400 "The ACL that you provided was not well formed or did not validate against our published schema.";
    MalformedPolicy "MalformedPolicy" 400 "Your policy contains a principal or a statement that is not valid.";
    MalformedPostRequest "MalformedPOSTRequest" 400 "The body of your POST request is not well-formed multipart/form-data.";
    MalformedTrailer "MalformedTrailerError" 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXml "MalformedXML" 400 "The XML that you provided was not well formed or did not validate against our published schema.";
    MaxPostPreDataLengthExceeded "MaxPostPreDataLengthExceededError" 400 "Your POST request fields preceding the upload file were too large.";
    MaxMessageLengthExceeded "MaxMessageLengthExceeded" 400 "Your request was too large.";
    MetadataConfigurationNotFound "MetadataConfigurationNotFound" 404 "The metadata configuration does not exist.";
    MetadataTooLarge "MetadataTooLarge" 400 "Your metadata headers exceed the maximum allowed metadata size.";
    MethodNotAllowed "MethodNotAllowed" 405 "The specified method is not allowed against this resource.";
    MissingContentLength "MissingContentLength" 411 "You must provide the Content-Length HTTP header.";
    MissingRequestBody "MissingRequestBodyError" 400 "Request body is empty.";
    MissingSecurityHeader "MissingSecurityHeader" 400 "Your request was missing a required header.";
    NoSuchBucket "NoSuchBucket" 404 "The specified bucket does not exist";
    NoSuchBucketPolicy "NoSuchBucketPolicy" 404 "The bucket policy does not exist";
    NoSuchConfiguration "NoSuchConfiguration" 404 "The specified configuration does not exist.";
    NoSuchCorsConfiguration "NoSuchCORSConfiguration" 404 "The CORS configuration does not exist";
    NoSuchKey "NoSuchKey" 404 "The specified key does not exist.";
    NoSuchLifecycleConfiguration "NoSuchLifecycleConfiguration" 404 "The lifecycle configuration does not exist";
    NoSuchObjectLockConfiguration "NoSuchObjectLockConfiguration" 404 "The specified object does not have a ObjectLock configuration";
    NoSuchPublicAccessBlockConfiguration "NoSuchPublicAccessBlockConfiguration" 404 "The public access block configuration was not found";
    NoSuchTagSet "NoSuchTagSet" 404 "The TagSet does not exist";
    NoSuchUpload "NoSuchUpload" 404 "The specified multipart upload does not exist. The upload ID might not be valid, or the multipart upload might have been aborted or completed.";
    NoSuchVersion "NoSuchVersion" 404 "The specified version does not exist.";
    NoSuchWebsiteConfiguration "NoSuchWebsiteConfiguration" 404 "The specified bucket does not have a website configuration";
    NotImplemented "NotImplemented" 501 "A header or a parameter you provided implies functionality that is not implemented.";
    NotModified "NotModified" 304 "Not Modified";
    ObjectLockConfigurationNotFound "ObjectLockConfigurationNotFoundError" 404 "Object Lock configuration does not exist for this bucket";
    OperationAborted "OperationAborted" 409 "A conflicting conditional operation is currently in progress against this resource. Try again.";
    OwnershipControlsNotFound "OwnershipControlsNotFoundError" 404 "The bucket ownership controls were not found";
    PermanentRedirect "PermanentRedirect" 301 "The bucket that you are attempting to access must be addressed using the specified endpoint.";
    PreconditionFailed "PreconditionFailed" 412 "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFound "ReplicationConfigurationNotFoundError" 404 "The replication configuration was not found";
    RequestHeaderSectionTooLarge "RequestHeaderSectionTooLarge" 400 "Your request header section exceeds the maximum allowed size.";
    RequestTimeTooSkewed "RequestTimeTooSkewed" 403 "The difference between the request time and the server's time is too large.";
    RequestTimeout "RequestTimeout" 400 "Your socket connection to the server was not read from or written to within the timeout period.";
    ServerSideEncryptionConfigurationNotFound "ServerSideEncryptionConfigurationNotFoundError" 404 "The server side encryption configuration was not found";
    QuotaExceeded "QuotaExceeded" 403 "The bucket's quota does not allow so much to be written.";
    ServiceUnavailable "ServiceUnavailable" 503 "Service is unable to handle request.";
    SignatureDoesNotMatch "SignatureDoesNotMatch" 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown "SlowDown" 503 "Please reduce your request rate.";
    TemporaryRedirect "TemporaryRedirect" 307 "You are being redirected to the bucket while the DNS server is being updated.";
    TooManyBuckets "TooManyBuckets" 400 "You have attempted to create more buckets than are allowed.";
    UnexpectedContent "UnexpectedContent" 400 "This request does not support content.";
    UnresolvableGrantByEmail "UnresolvableGrantByEmailAddress" 400 "The email address you provided does not match any account on record.";
    UnsupportedArgument "UnsupportedArgument" 400 "The request contained an unsupported argument.";
    UriTooLong "URITooLong" 414 "The request URI is too long.";
    XAmzContentSha256Mismatch "XAmzContentSHA256Mismatch" 400 "The provided 'x-amz-content-sha256' header does not match what was computed.";
    BadOriginAnswer "BadOriginAnswer" 502 "What is behind this bucket gave an answer that cannot be passed on.";
    ShadowMisconfigured "ShadowMisconfigured" 424 "What is behind this bucket refused our request: the shadow's settings need mending.";
}

impl S3Code {
    /// The shadow could not be asked, or did not answer in time: retry later. Never to be confused with absence.
    pub const SHADOW_UNAVAILABLE: Self = Self::SlowDown;
}

impl fmt::Display for S3Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client gets instead of what it asked for. Written for the client: no internal detail in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Error {
    /// Row of the table.
    pub code: S3Code,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// The path of what was asked for, as `/bucket/key`, decoded.
    pub resource: Option<Box<str>>,
    /// Equal to the `x-amz-request-id` header.
    pub request_id: Option<Box<str>>,
    /// Equal to the `x-amz-id-2` header.
    pub host_id: Option<Box<str>>,
    /// Further elements: name and text, in order. Names are ours, so they need no escaping.
    pub extra: Vec<(&'static str, String)>,
}

impl S3Error {
    /// An error with the code's own message.
    pub fn new(code: S3Code) -> Self {
        Self::with_message(code, code.message())
    }

    /// An error with a message for this case.
    pub fn with_message(code: S3Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { code, message, resource: None, request_id: None, host_id: None, extra: Vec::new() }
    }

    /// The same error with one more element in its document.
    #[must_use]
    pub fn and(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.extra.push((name, text.into()));
        self
    }

    /// The HTTP status to answer with.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The error document. Always well-formed XML, whatever the fields hold. A HEAD has no body: do not send it there.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.open("Error");
        xml.element("Code", self.code.as_str());
        xml.element("Message", &self.message);
        for (name, text) in &self.extra {
            xml.element(name, text);
        }
        let last = [("Resource", &self.resource), ("RequestId", &self.request_id), ("HostId", &self.host_id)];
        for (name, text) in last {
            if let Some(text) = text {
                xml.element(name, text);
            }
        }
        xml.close("Error");
        xml.finish()
    }
}

impl From<S3Code> for S3Error {
    fn from(code: S3Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for S3Error {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::xml::parse_error_document;

    #[test]
    fn every_row_is_distinct_and_reads_back() {
        let texts: BTreeSet<_> = S3Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), S3Code::ALL.len());
        for code in S3Code::ALL {
            assert_eq!(S3Code::parse(code.as_str()), Some(*code));
            assert!((300..600).contains(&code.status().as_u16()), "{code}");
        }
        assert_eq!(S3Code::parse("nosuchkey"), None);
    }

    #[test]
    fn statuses_are_those_of_s3() {
        let rows = [
            (S3Code::AccessDenied, 403),
            (S3Code::NoSuchKey, 404),
            (S3Code::InvalidRange, 416),
            (S3Code::PreconditionFailed, 412),
            (S3Code::MissingContentLength, 411),
            (S3Code::SlowDown, 503),
            (S3Code::RequestTimeTooSkewed, 403),
            (S3Code::SHADOW_UNAVAILABLE, 503),
            (S3Code::ShadowMisconfigured, 424),
            (S3Code::BadOriginAnswer, 502),
        ];
        for (code, status) in rows {
            assert_eq!(code.status().as_u16(), status, "{code}");
        }
    }

    #[test]
    fn the_document_survives_hostile_text() {
        let mut error =
            S3Error::with_message(S3Code::NoSuchKey, "<b>&\"'\u{1}\u{0}").and("Key", "a]]>\r\n\u{1F600}");
        error.resource = Some("/b/a&b".into());
        error.request_id = Some("R1".into());
        let back = parse_error_document(error.to_xml().as_bytes()).unwrap();
        assert_eq!(back.code, "NoSuchKey");
        assert_eq!(back.message, "<b>&\"'\u{1}\u{FFFD}");
        assert_eq!(back.resource.as_deref(), Some("/b/a&b"));
        assert_eq!(back.request_id.as_deref(), Some("R1"));
        assert_eq!(back.get("Key"), Some("a]]>\r\n\u{1F600}"));
    }
}

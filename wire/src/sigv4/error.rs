//! Why a request is not authenticated.

use std::time::Duration;

use crate::error::{S3Code, S3Error};
use crate::payload::PayloadModeError;

/// A request whose authentication is refused. The messages tell the client what to mend and nothing about
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Both an Authorization header and query authentication, or one of them twice.
    #[error("more than one authentication is given")]
    Ambiguous,
    /// Signature Version 2.
    #[error("signature version 2 is not supported")]
    SigV2,
    /// SigV4A.
    #[error("asymmetric signatures are not supported")]
    SigV4A,
    /// An Authorization header of a scheme that S3 does not know.
    #[error("the authorization scheme is unknown")]
    UnknownScheme,
    /// The Authorization header cannot be read, or names what this server is not.
    #[error("the authorization header is malformed: {what}")]
    HeaderMalformed {
        /// What is wrong.
        what: String,
        /// The region that would be right, if that is what is wrong.
        region: Option<String>,
    },
    /// The X-Amz-* parameters cannot be read, or name what this server is not.
    #[error("the authorization query parameters are malformed: {what}")]
    QueryMalformed {
        /// What is wrong.
        what: String,
        /// The region that would be right, if that is what is wrong.
        region: Option<String>,
    },
    /// Neither X-Amz-Date nor Date, or it cannot be read, or it is there twice.
    #[error("the date of the request is missing or invalid")]
    BadDate,
    /// A signed request without `x-amz-content-sha256`.
    #[error("x-amz-content-sha256 is missing")]
    NoPayloadHash,
    /// A value of `x-amz-content-sha256` that is no mode.
    #[error("x-amz-content-sha256 is invalid")]
    BadPayloadHash(#[from] PayloadModeError),
    /// A header that may stand once stands more than once.
    #[error("header {name} is given more than once")]
    DuplicateHeader {
        /// Its name.
        name: &'static str,
    },
    /// Headers that must be signed are not.
    #[error("headers are present that were not signed: {}", names.join(", "))]
    NotSigned {
        /// Their names.
        names: Vec<String>,
    },
    /// The clock of the client is off by more than the policy allows.
    #[error("the request time differs too much from the server's")]
    Skewed {
        /// What the request says, as it says it.
        request_time: String,
        /// The server's time, ISO 8601.
        server_time: String,
        /// What the policy allows.
        skew_max: Duration,
    },
    /// A presigned URL whose time is over.
    #[error("the presigned request has expired")]
    Expired {
        /// Its life in seconds, as it stands in the URL.
        expires_secs: u64,
        /// When it ended, ISO 8601.
        expired_at: String,
        /// The server's time, ISO 8601.
        server_time: String,
    },
    /// A presigned URL whose life is shorter than a second or longer than a week.
    #[error("the life of the presigned request is out of bounds")]
    BadExpiry,
    /// A presigned URL from the future.
    #[error("the presigned request is not valid yet")]
    NotYetValid,
    /// The signature is not the one that the secret makes.
    #[error("the signature does not match")]
    Mismatch {
        /// What was signed here, for the client to compare. Holds nothing secret.
        string_to_sign: String,
        /// The access key of the request.
        access_key: String,
        /// What the client sent.
        signature: String,
    },
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Ambiguous => Self::with_message(
                S3Code::InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified",
            )
            .and("ArgumentName", "Authorization"),
            AuthError::SigV2 => Self::with_message(
                S3Code::InvalidRequest,
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ),
            AuthError::SigV4A => {
                Self::with_message(S3Code::NotImplemented, "Signatures of AWS4-ECDSA-P256-SHA256 are not supported.")
            }
            AuthError::UnknownScheme => Self::with_message(S3Code::InvalidArgument, "Unsupported Authorization Type")
                .and("ArgumentName", "Authorization"),
            AuthError::HeaderMalformed { what, region } => {
                let message = format!("The authorization header is malformed; {what}");
                let error = Self::with_message(S3Code::AuthorizationHeaderMalformed, message);
                region.into_iter().fold(error, |error, region| error.and("Region", region))
            }
            AuthError::QueryMalformed { what, region } => {
                let message = format!("Error parsing the X-Amz-* parameters; {what}");
                let error = Self::with_message(S3Code::AuthorizationQueryParametersError, message);
                region.into_iter().fold(error, |error, region| error.and("Region", region))
            }
            AuthError::BadDate => Self::with_message(
                S3Code::AccessDenied,
                "AWS authentication requires a valid Date or x-amz-date header",
            ),
            AuthError::NoPayloadHash => Self::with_message(
                S3Code::InvalidRequest,
                "Missing required header for this request: x-amz-content-sha256",
            ),
            AuthError::BadPayloadHash(error) => error.into(),
            AuthError::DuplicateHeader { name } => {
                Self::with_message(S3Code::InvalidRequest, format!("Header {name} may be given only once."))
            }
            AuthError::NotSigned { names } => Self::with_message(
                S3Code::AccessDenied,
                "There were headers present in the request which were not signed",
            )
            .and("HeadersNotSigned", names.join(", ")),
            AuthError::Skewed { request_time, server_time, skew_max } => Self::new(S3Code::RequestTimeTooSkewed)
                .and("RequestTime", request_time)
                .and("ServerTime", server_time)
                .and("MaxAllowedSkewMilliseconds", skew_max.as_millis().to_string()),
            AuthError::Expired { expires_secs, expired_at, server_time } => {
                Self::with_message(S3Code::AccessDenied, "Request has expired")
                    .and("X-Amz-Expires", expires_secs.to_string())
                    .and("Expires", expired_at)
                    .and("ServerTime", server_time)
            }
            // S3 says 400 here; what conformance suites ask of a URL that cannot be valid is that it is denied.
            AuthError::BadExpiry => Self::with_message(
                S3Code::AccessDenied,
                "X-Amz-Expires must be at least 1 and at most a week (604800 seconds)",
            ),
            AuthError::NotYetValid => Self::with_message(S3Code::AccessDenied, "Request is not valid yet"),
            AuthError::Mismatch { string_to_sign, access_key, signature } => Self::new(S3Code::SignatureDoesNotMatch)
                .and("AWSAccessKeyId", access_key)
                .and("StringToSign", string_to_sign)
                .and("SignatureProvided", signature),
        }
    }
}

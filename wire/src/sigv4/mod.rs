//! AWS Signature Version 4: one canonicalisation, for those who sign and for those who verify.
//!
//! Verifying takes two steps, so that the secret can be looked up in between:
//! [`Presented::parse`] reads who a request claims to be from, [`Presented::verify`] proves it and is the
//! only way to a [`Verified`]. Rules:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>.
//!
//! Of SigV2, presigned URLs for GET and HEAD can be verified as well ([`PresentedV2`]), where whoever verifies wants it;
//! [`Presented`] refuses all of it, and SigV4A.

mod canonical;
mod error;
mod form;
mod key;
mod present;
mod secret;
mod sign;
mod v2;
mod verify;

#[cfg(test)]
mod tests;

pub use error::AuthError;
pub use form::{FormClaim, FormFields};
pub use key::{ChunkChain, Scope, SigningKey, SigningKeyCache};
pub use present::{AuthPlace, Presented, VerifyPolicy};
pub use secret::{Credentials, Secret};
pub use sign::{SignError, Signer};
pub use v2::{PresentedV2, presign_v2};
pub use verify::Verified;

/// The only algorithm that is spoken here.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Longest life of a presigned URL: seven days.
const PRESIGN_SECS_MAX: u64 = 604_800;

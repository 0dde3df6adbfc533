//! How the body of a request is protected: the value of `x-amz-content-sha256`.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::error::{S3Code, S3Error};
use crate::hex;

/// SHA-256 of no bytes, in hex.
pub(crate) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The modes that S3 knows
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadMode {
    /// The body has this SHA-256: hash it while reading, a difference is `XAmzContentSHA256Mismatch`.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`: the body is as it is.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: aws-chunked, each chunk signed.
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: aws-chunked, each chunk and the trailers signed.
    SignedChunksWithTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: aws-chunked, not signed, with trailers.
    UnsignedChunksWithTrailer,
}

/// Why a value of `x-amz-content-sha256` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadModeError {
    /// An ECDSA (SigV4A) mode.
    #[error("the body is signed with ECDSA")]
    Ecdsa,
    /// Neither a mode nor 64 hex digits.
    #[error("the value is neither a known mode nor a SHA-256 in hex")]
    Malformed,
}

impl From<PayloadModeError> for S3Error {
    fn from(error: PayloadModeError) -> Self {
        match error {
            PayloadModeError::Ecdsa => Self::with_message(
                S3Code::NotImplemented,
                "Chunks signed with ECDSA (SigV4A) are not supported.",
            ),
            PayloadModeError::Malformed => Self::with_message(
                S3Code::InvalidArgument,
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                 or a valid sha256 value.",
            )
            .and("ArgumentName", "x-amz-content-sha256"),
        }
    }
}

impl PayloadMode {
    /// The mode of a request whose body is these bytes, for signing.
    pub fn of_bytes(body: &[u8]) -> Self {
        Self::Sha256(Sha256::digest(body).into())
    }

    /// Reads a value of `x-amz-content-sha256`. Hex digits may be of either case.
    ///
    /// # Errors
    /// [`PayloadModeError`].
    pub fn parse(value: &str) -> Result<Self, PayloadModeError> {
        match value {
            "UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunksWithTrailer),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunksWithTrailer),
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => Err(PayloadModeError::Ecdsa),
            text => hex::decode32(text.as_bytes())
                .or_else(|| hex::decode32(text.to_ascii_lowercase().as_bytes()))
                .map(Self::Sha256)
                .ok_or(PayloadModeError::Malformed),
        }
    }

    /// The value of `x-amz-content-sha256` that says this mode.
    pub fn header_value(&self) -> Cow<'static, str> {
        match self {
            Self::Sha256(digest) => {
                let mut text = String::new();
                hex::push32(&mut text, digest);
                Cow::Owned(text)
            }
            Self::Unsigned => Cow::Borrowed("UNSIGNED-PAYLOAD"),
            Self::SignedChunks => Cow::Borrowed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Self::SignedChunksWithTrailer => Cow::Borrowed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            Self::UnsignedChunksWithTrailer => Cow::Borrowed("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        }
    }

    /// Whether the body is aws-chunked and must go through [`crate::chunked::ChunkedDecoder`].
    pub fn is_chunked(&self) -> bool {
        match self {
            Self::Sha256(_) | Self::Unsigned => false,
            Self::SignedChunks | Self::SignedChunksWithTrailer | Self::UnsignedChunksWithTrailer => true,
        }
    }

    /// Whether each chunk carries a signature.
    pub fn has_signed_chunks(&self) -> bool {
        match self {
            Self::SignedChunks | Self::SignedChunksWithTrailer => true,
            Self::Sha256(_) | Self::Unsigned | Self::UnsignedChunksWithTrailer => false,
        }
    }

    /// Whether trailers may follow the last chunk.
    pub fn has_trailer(&self) -> bool {
        match self {
            Self::SignedChunksWithTrailer | Self::UnsignedChunksWithTrailer => true,
            Self::Sha256(_) | Self::Unsigned | Self::SignedChunks => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_reads_back_from_its_value() {
        let modes = [
            PayloadMode::of_bytes(b""),
            PayloadMode::Unsigned,
            PayloadMode::SignedChunks,
            PayloadMode::SignedChunksWithTrailer,
            PayloadMode::UnsignedChunksWithTrailer,
        ];
        for mode in modes {
            assert_eq!(PayloadMode::parse(&mode.header_value()), Ok(mode));
        }
        assert_eq!(PayloadMode::of_bytes(b"").header_value(), EMPTY_SHA256);
        assert_eq!(PayloadMode::parse(&EMPTY_SHA256.to_uppercase()), Ok(PayloadMode::of_bytes(b"")));
    }

    #[test]
    fn other_values_are_refused() {
        let rows = [
            ("", PayloadModeError::Malformed),
            ("unsigned-payload", PayloadModeError::Malformed),
            ("e3b0", PayloadModeError::Malformed),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", PayloadModeError::Ecdsa),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", PayloadModeError::Ecdsa),
        ];
        for (value, want) in rows {
            assert_eq!(PayloadMode::parse(value), Err(want), "{value}");
        }
    }
}

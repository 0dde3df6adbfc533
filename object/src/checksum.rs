//! Checksums that travel with an object.

use serde::{Deserialize, Serialize};

/// The algorithms that S3 knows, in the order in which it prefers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c,
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Crc64Nvme, Self::Crc32c, Self::Crc32, Self::Sha1, Self::Sha256];

    /// The name that S3 uses in header names: `x-amz-checksum-{name}`.
    pub fn header_suffix(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Crc32c => "crc32c",
            Self::Crc32 => "crc32",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    /// The name in S3's documents and in the values of its headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32c => "CRC32C",
            Self::Crc32 => "CRC32",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Length of a value in bytes, before base64.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Crc64Nvme => 8,
            Self::Crc32c | Self::Crc32 => 4,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// The object's bytes from first to last.
    FullObject,
    /// The checksums of the parts; the value in a header ends in `-N`.
    Composite {
        /// How many parts.
        parts: u32,
    },
}

impl ChecksumKind {
    /// The name in S3's documents and in the values of its headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite { .. } => "COMPOSITE",
        }
    }
}

/// One checksum of an object, as raw bytes (base64 on the wire).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// The value; [`ChecksumAlgorithm::len_bytes`] long.
    pub value: Vec<u8>,
}

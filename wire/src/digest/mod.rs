//! Digests of bodies: computed while the bytes pass, read from headers and trailers, compared at the end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use fallthrough_object::{BodyError, Checksum, ChecksumAlgorithm, ChecksumKind, Mutant, planted};
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

mod compose;

pub use compose::{can_combine, combined, composite, multipart_etag};

use crate::error::{S3Code, S3Error};
use crate::payload::PayloadMode;
use crate::uri::Query;

/// Where a promised digest stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromiseSource {
    /// Content-MD5.
    ContentMd5,
    /// `x-amz-content-sha256` with a hash.
    PayloadSha256,
    /// `x-amz-checksum-*`, as header or trailer.
    Checksum(ChecksumAlgorithm),
    /// Repr-Digest (RFC 9530), as MD5.
    ReprMd5,
    /// Repr-Digest (RFC 9530), as SHA-256.
    ReprSha256,
}

impl PromiseSource {
    /// The name for people and for [`BodyError::Mismatch`].
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentMd5 => "Content-MD5",
            Self::PayloadSha256 => "x-amz-content-sha256",
            Self::Checksum(ChecksumAlgorithm::Crc64Nvme) => "x-amz-checksum-crc64nvme",
            Self::Checksum(ChecksumAlgorithm::Crc32c) => "x-amz-checksum-crc32c",
            Self::Checksum(ChecksumAlgorithm::Crc32) => "x-amz-checksum-crc32",
            Self::Checksum(ChecksumAlgorithm::Sha1) => "x-amz-checksum-sha1",
            Self::Checksum(ChecksumAlgorithm::Sha256) => "x-amz-checksum-sha256",
            Self::ReprMd5 | Self::ReprSha256 => "Repr-Digest",
        }
    }
}

/// A digest that the sender says the body has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Where it stood.
    pub source: PromiseSource,
    /// Raw bytes of the right length.
    pub value: Vec<u8>,
}

/// The body does not have a digest that it was promised to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body does not match its {}", source_of.name())]
pub struct DigestMismatch {
    /// The promise that is broken.
    pub source_of: PromiseSource,
}

impl From<DigestMismatch> for S3Error {
    fn from(mismatch: DigestMismatch) -> Self {
        match mismatch.source_of {
            PromiseSource::PayloadSha256 => Self::new(S3Code::XAmzContentSha256Mismatch),
            PromiseSource::ContentMd5 => Self::with_message(
                S3Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ),
            PromiseSource::Checksum(_) | PromiseSource::ReprMd5 | PromiseSource::ReprSha256 => {
                Self::with_message(
                    S3Code::BadDigest,
                    format!(
                        "The {} you specified did not match what we received.",
                        mismatch.source_of.name()
                    ),
                )
            }
        }
    }
}

impl From<DigestMismatch> for BodyError {
    fn from(mismatch: DigestMismatch) -> Self {
        Self::Mismatch { what: mismatch.source_of.name() }
    }
}

/// A header or trailer does not hold a digest of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDigestHeader {
    /// Content-MD5 is not the base64 of 16 bytes.
    #[error("content-md5 is malformed")]
    ContentMd5,
    /// An `x-amz-checksum-*` value is not the base64 of as many bytes as the algorithm has.
    #[error("{name} is malformed")]
    Checksum {
        /// The header or trailer.
        name: String,
    },
    /// More than one `x-amz-checksum-*` header.
    #[error("more than one checksum is given")]
    Several,
    /// A checksum of an algorithm that is not known here, so that it cannot be verified.
    #[error("the checksum algorithm of {name} is unknown")]
    Unknown {
        /// The header or trailer.
        name: String,
    },
    /// Repr-Digest is malformed.
    #[error("repr-digest is malformed")]
    ReprDigest,
}

impl From<BadDigestHeader> for S3Error {
    fn from(error: BadDigestHeader) -> Self {
        match error {
            BadDigestHeader::ContentMd5 => {
                Self::with_message(S3Code::InvalidDigest, "The Content-MD5 you specified was invalid.")
            }
            BadDigestHeader::Checksum { name } => {
                // What cannot be one is the digest of no body.
                Self::with_message(S3Code::BadDigest, format!("Value for {name} header is invalid."))
            }
            BadDigestHeader::Several => Self::with_message(
                S3Code::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ),
            BadDigestHeader::Unknown { name } => Self::with_message(
                S3Code::InvalidRequest,
                format!("The algorithm type you specified in {name} header is invalid."),
            ),
            BadDigestHeader::ReprDigest => {
                Self::with_message(S3Code::InvalidDigest, "The Repr-Digest is invalid.")
            }
        }
    }
}

/// Which digests to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestSet {
    md5: bool,
    crc64_nvme: bool,
    crc32c: bool,
    crc32: bool,
    sha1: bool,
    sha256: bool,
}

impl DigestSet {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// With MD5, which makes the ETag.
    #[must_use]
    pub fn and_md5(mut self) -> Self {
        self.md5 = true;
        self
    }

    /// With one of S3's checksums.
    #[must_use]
    pub fn and(mut self, algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc64Nvme => self.crc64_nvme = true,
            ChecksumAlgorithm::Crc32c => self.crc32c = true,
            ChecksumAlgorithm::Crc32 => self.crc32 = true,
            ChecksumAlgorithm::Sha1 => self.sha1 = true,
            ChecksumAlgorithm::Sha256 => self.sha256 = true,
        }
        self
    }

    /// With all that another set has.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            md5: self.md5 || other.md5,
            crc64_nvme: self.crc64_nvme || other.crc64_nvme,
            crc32c: self.crc32c || other.crc32c,
            crc32: self.crc32 || other.crc32,
            sha1: self.sha1 || other.sha1,
            sha256: self.sha256 || other.sha256,
        }
    }
}

/// The promises about one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promises(Vec<Promise>);

impl Promises {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of a request: Content-MD5, one `x-amz-checksum-*` header, the hash in `x-amz-content-sha256`.
    ///
    /// # Errors
    /// [`BadDigestHeader`].
    pub fn of_request(headers: &HeaderMap, payload: &PayloadMode) -> Result<Self, BadDigestHeader> {
        let mut promises = Self::none();
        promises.read_md5(headers)?;
        promises.read_checksums(headers, true)?;
        if let PayloadMode::Sha256(digest) = payload {
            promises.push(PromiseSource::PayloadSha256, digest.to_vec());
        }
        Ok(promises)
    }

    /// Those of an answer whose body is the whole object: Content-MD5, `x-amz-checksum-*` of the full object,
    /// Repr-Digest. Composite checksums and algorithms unknown here are no promise about the bytes.
    ///
    /// # Errors
    /// [`BadDigestHeader`]: the answer cannot be trusted.
    pub fn of_response(headers: &HeaderMap) -> Result<Self, BadDigestHeader> {
        let mut promises = Self::none();
        promises.read_md5(headers)?;
        promises.read_checksums(headers, false)?;
        promises.read_repr_digest(headers)?;
        Ok(promises)
    }

    /// Adds the checksum in a trailer. Trailers of other names are none of ours.
    ///
    /// # Errors
    /// [`BadDigestHeader`].
    pub fn add_trailer(&mut self, name: &str, value: &str) -> Result<(), BadDigestHeader> {
        let Some(algorithm) = checksum_algorithm(name)? else { return Ok(()) };
        let checksum =
            parse_checksum(algorithm, value).filter(|checksum| checksum.kind == ChecksumKind::FullObject);
        let checksum = checksum.ok_or_else(|| BadDigestHeader::Checksum { name: name.to_owned() })?;
        self.push(PromiseSource::Checksum(algorithm), checksum.value);
        Ok(())
    }

    /// Adds the checksums that stand in the query of a presigned URL. That of no bytes is left out: some
    /// clients presign an upload before they have its body, and so promise the empty one.
    ///
    /// # Errors
    /// [`BadDigestHeader`].
    pub fn add_query(&mut self, query: &Query) -> Result<(), BadDigestHeader> {
        for (name, value) in query.iter() {
            let name = name.to_ascii_lowercase();
            let Some(algorithm) = checksum_algorithm(&name)? else { continue };
            let of_nothing = Digests::new(DigestSet::none().and(algorithm)).finish();
            if of_nothing.get(algorithm).is_none_or(|empty| format_checksum(empty) != value) {
                self.add_trailer(&name, value)?;
            }
        }
        Ok(())
    }

    /// What must be computed to check these promises and those that the announced trailers will bring.
    ///
    /// # Errors
    /// [`BadDigestHeader::Unknown`] for a trailer that announces an unknown checksum.
    pub fn needs(&self, announced_trailers: &[String]) -> Result<DigestSet, BadDigestHeader> {
        let mut set = DigestSet::none();
        for promise in &self.0 {
            set = match promise.source {
                PromiseSource::ContentMd5 | PromiseSource::ReprMd5 => set.and_md5(),
                PromiseSource::PayloadSha256 | PromiseSource::ReprSha256 => {
                    set.and(ChecksumAlgorithm::Sha256)
                }
                PromiseSource::Checksum(algorithm) => set.and(algorithm),
            };
        }
        for name in announced_trailers {
            if let Some(algorithm) = checksum_algorithm(name)? {
                set = set.and(algorithm);
            }
        }
        Ok(set)
    }

    /// Compares every promise with what was computed. A promise whose digest was not computed counts as broken.
    ///
    /// # Errors
    /// [`DigestMismatch`] with the first broken one.
    pub fn check(&self, values: &DigestValues) -> Result<(), DigestMismatch> {
        for promise in &self.0 {
            let value = match promise.source {
                PromiseSource::ContentMd5 | PromiseSource::ReprMd5 => {
                    values.md5.as_ref().map(<[u8; 16]>::as_slice)
                }
                PromiseSource::PayloadSha256 | PromiseSource::ReprSha256 => {
                    values.raw(ChecksumAlgorithm::Sha256)
                }
                PromiseSource::Checksum(algorithm) => values.raw(algorithm),
            };
            if value != Some(promise.value.as_slice()) && !planted(Mutant::PromiseUnchecked) {
                return Err(DigestMismatch { source_of: promise.source });
            }
        }
        Ok(())
    }

    /// The promises.
    pub fn iter(&self) -> impl Iterator<Item = &Promise> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, source: PromiseSource, value: Vec<u8>) {
        self.0.push(Promise { source, value });
    }

    fn read_md5(&mut self, headers: &HeaderMap) -> Result<(), BadDigestHeader> {
        for value in headers.get_all("content-md5") {
            let value = value.to_str().ok().and_then(parse_content_md5).ok_or(BadDigestHeader::ContentMd5)?;
            self.push(PromiseSource::ContentMd5, value.to_vec());
        }
        Ok(())
    }

    fn read_checksums(&mut self, headers: &HeaderMap, strict: bool) -> Result<(), BadDigestHeader> {
        let mut seen = 0;
        for (name, value) in headers {
            let name = name.as_str();
            let algorithm = match checksum_algorithm(name) {
                Ok(Some(algorithm)) => algorithm,
                Ok(None) => continue,
                Err(error) if strict => return Err(error),
                Err(_) => continue,
            };
            seen += 1;
            let checksum = value.to_str().ok().and_then(|text| parse_checksum(algorithm, text));
            let checksum = checksum.ok_or_else(|| BadDigestHeader::Checksum { name: name.to_owned() })?;
            match checksum.kind {
                ChecksumKind::FullObject => self.push(PromiseSource::Checksum(algorithm), checksum.value),
                ChecksumKind::Composite { .. } if strict => {
                    return Err(BadDigestHeader::Checksum { name: name.to_owned() });
                }
                ChecksumKind::Composite { .. } => {}
            }
        }
        if strict && seen > 1 { Err(BadDigestHeader::Several) } else { Ok(()) }
    }

    /// A dictionary of byte sequences (RFC 9530 §3): `sha-256=:…:, md5=:…:`. Other algorithms are left alone.
    fn read_repr_digest(&mut self, headers: &HeaderMap) -> Result<(), BadDigestHeader> {
        for value in headers.get_all("repr-digest") {
            let text = value.to_str().map_err(|_| BadDigestHeader::ReprDigest)?;
            for member in text.split(',') {
                let (name, value) = member.trim().split_once('=').ok_or(BadDigestHeader::ReprDigest)?;
                let (source, len) = match name {
                    "sha-256" => (PromiseSource::ReprSha256, 32),
                    "md5" => (PromiseSource::ReprMd5, 16),
                    _ => continue,
                };
                let value = value.split(';').next().unwrap_or("").trim();
                let value = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
                let bytes =
                    value.and_then(|text| STANDARD.decode(text).ok()).filter(|bytes| bytes.len() == len);
                self.push(source, bytes.ok_or(BadDigestHeader::ReprDigest)?);
            }
        }
        Ok(())
    }
}

/// The algorithm of an `x-amz-checksum-*` header or trailer; `None` if the name is not one of those.
fn checksum_algorithm(name: &str) -> Result<Option<ChecksumAlgorithm>, BadDigestHeader> {
    let Some(suffix) = name.strip_prefix("x-amz-checksum-") else { return Ok(None) };
    // These three speak about checksums and hold none.
    if matches!(suffix, "algorithm" | "mode" | "type") {
        return Ok(None);
    }
    let found = ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header_suffix() == suffix);
    found.map(Some).ok_or_else(|| BadDigestHeader::Unknown { name: name.to_owned() })
}

/// What S3 computes of an object that comes without a checksum, over all of its bytes. It costs next to nothing beside
/// the MD5 that an ETag needs.
pub const DEFAULT_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// Reads a Content-MD5 value: the base64 of 16 bytes.
pub fn parse_content_md5(value: &str) -> Option<[u8; 16]> {
    STANDARD.decode(value.trim()).ok()?.try_into().ok()
}

/// Writes a Content-MD5 value.
pub fn format_content_md5(digest: &[u8; 16]) -> String {
    STANDARD.encode(digest)
}

/// Reads an `x-amz-checksum-*` value: base64, with `-N` behind it if it is composed of N parts' checksums.
pub fn parse_checksum(algorithm: ChecksumAlgorithm, value: &str) -> Option<Checksum> {
    let value = value.trim();
    // Base64 has no hyphen.
    let (text, kind) = match value.split_once('-') {
        None => (value, ChecksumKind::FullObject),
        Some((text, parts)) => {
            let digits = !parts.is_empty() && parts.bytes().all(|c| c.is_ascii_digit());
            let parts = parts.parse().ok().filter(|parts| digits && *parts > 0)?;
            (text, ChecksumKind::Composite { parts })
        }
    };
    let value = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == algorithm.len_bytes())?;
    Some(Checksum { algorithm, kind, value })
}

/// Writes an `x-amz-checksum-*` value.
pub fn format_checksum(checksum: &Checksum) -> String {
    let mut text = STANDARD.encode(&checksum.value);
    if let ChecksumKind::Composite { parts } = checksum.kind {
        text.push('-');
        text.push_str(&parts.to_string());
    }
    text
}

/// The name of the header that carries a checksum of this algorithm.
pub fn checksum_header_name(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(PromiseSource::Checksum(algorithm).name())
}

/// The name of the element that shows a checksum of this algorithm.
pub fn checksum_element(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
        ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
        ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
        ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
        ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
    }
}

/// Adds the headers that show stored checksums: `x-amz-checksum-*` and `x-amz-checksum-type`.
pub fn write_checksum_headers(checksums: &[Checksum], headers: &mut HeaderMap) {
    for checksum in checksums {
        let kind = checksum.kind.as_str();
        if let Ok(value) = HeaderValue::from_str(&format_checksum(checksum)) {
            headers.insert(checksum_header_name(checksum.algorithm), value);
            headers.insert("x-amz-checksum-type", HeaderValue::from_static(kind));
        }
    }
}

/// Digests in the making. Feed the bytes in order, in pieces of any size.
#[derive(Clone)]
pub struct Digests {
    md5: Option<Md5>,
    crc64_nvme: Option<crc_fast::Digest>,
    crc32c: Option<crc_fast::Digest>,
    crc32: Option<crc_fast::Digest>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl std::fmt::Debug for Digests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digests").finish_non_exhaustive()
    }
}

impl Digests {
    /// Starts to compute the digests of `set`.
    pub fn new(set: DigestSet) -> Self {
        let crc = |wanted: bool, algorithm| wanted.then(|| crc_fast::Digest::new(algorithm));
        Self {
            md5: set.md5.then(Md5::new),
            crc64_nvme: crc(set.crc64_nvme, CrcAlgorithm::Crc64Nvme),
            crc32c: crc(set.crc32c, CrcAlgorithm::Crc32Iscsi),
            crc32: crc(set.crc32, CrcAlgorithm::Crc32IsoHdlc),
            sha1: set.sha1.then(Sha1::new),
            sha256: set.sha256.then(Sha256::new),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        for crc in [&mut self.crc64_nvme, &mut self.crc32c, &mut self.crc32].into_iter().flatten() {
            crc.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
    }

    /// The digests of all bytes.
    pub fn finish(self) -> DigestValues {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1 as Sha1Algorithm, Sha256 as Sha256Algorithm};
        let mut checksums = Vec::new();
        let mut push = |algorithm: ChecksumAlgorithm, value: Vec<u8>| {
            checksums.push(Checksum { algorithm, kind: ChecksumKind::FullObject, value });
        };
        for (algorithm, crc) in [(Crc64Nvme, self.crc64_nvme), (Crc32c, self.crc32c), (Crc32, self.crc32)] {
            if let Some(crc) = crc {
                // A CRC of 32 bits stands in the lower half.
                let bytes = crc.finalize().to_be_bytes();
                push(algorithm, bytes[8 - algorithm.len_bytes()..].to_vec());
            }
        }
        if let Some(sha1) = self.sha1 {
            push(Sha1Algorithm, sha1.finalize().to_vec());
        }
        if let Some(sha256) = self.sha256 {
            push(Sha256Algorithm, sha256.finalize().to_vec());
        }
        DigestValues { md5: self.md5.map(|md5| md5.finalize().into()), checksums }
    }
}

/// Finished digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestValues {
    /// MD5, if it was asked for.
    pub md5: Option<[u8; 16]>,
    /// The checksums asked for, of the full object, in S3's order of preference.
    pub checksums: Vec<Checksum>,
}

impl DigestValues {
    /// The checksum of this algorithm, if it was asked for.
    pub fn get(&self, algorithm: ChecksumAlgorithm) -> Option<&Checksum> {
        self.checksums.iter().find(|checksum| checksum.algorithm == algorithm)
    }

    fn raw(&self, algorithm: ChecksumAlgorithm) -> Option<&[u8]> {
        self.get(algorithm).map(|checksum| checksum.value.as_slice())
    }
}

#[cfg(test)]
mod tests;

//! Whether a fetched body is what its origin promised: its length and every digest that was offered.

use fallthrough_object::{ChecksumAlgorithm, ChecksumKind};
use fallthrough_shadow::Expected;
use fallthrough_wire::digest::DigestValues;

/// Compares what was promised with what came. Returns what agreed, by name; `known_length`: the length was
/// promised, and agreed.
///
/// `etag_differed` is carried from one fetch of the object to the next: an ETag that looks like an MD5 and is none,
/// while another digest agrees, is opaque the second time.
///
/// # Errors
/// The name of what differs.
pub(crate) fn verify(
    expected: &Expected,
    computed: &DigestValues,
    known_length: bool,
    etag_differed: &mut bool,
) -> Result<Vec<String>, &'static str> {
    let md5 = computed.md5;
    let mut verified = Vec::new();
    if known_length {
        verified.push("length".to_owned());
    }
    let mut wrong = None;
    if let Some(want) = expected.md5 {
        if md5 == Some(want) { verified.push("md5".to_owned()) } else { wrong = Some("Content-MD5") }
    }
    for want in expected.checksums.iter().filter(|c| c.kind == ChecksumKind::FullObject) {
        if computed.get(want.algorithm).is_some_and(|got| got.value == want.value) {
            verified.push(want.algorithm.header_suffix().to_owned());
        } else {
            wrong = Some(checksum_name(want.algorithm));
        }
    }
    if wrong.is_none()
        && let Some(want) = expected.etag_md5
    {
        let another = verified.iter().any(|name| name != "length");
        if md5 == Some(want) {
            verified.push("etag-md5".to_owned());
        } else if another && *etag_differed {
            // Two fetches gave bytes that another digest vouches for: this ETag is opaque.
        } else {
            *etag_differed = another;
            wrong = Some("ETag");
        }
    }
    wrong.map_or(Ok(verified), Err)
}

fn checksum_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => "CRC-64/NVME",
        ChecksumAlgorithm::Crc32c => "CRC-32C",
        ChecksumAlgorithm::Crc32 => "CRC-32",
        ChecksumAlgorithm::Sha1 => "SHA-1",
        ChecksumAlgorithm::Sha256 => "SHA-256",
    }
}

//! Digests of an object made of the digests of its parts.

use crc_fast::{CrcAlgorithm, checksum_combine};
use fallthrough_object::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag};
use md5::{Digest as _, Md5};

use super::{DigestSet, Digests};

/// The ETag of a multipart object: the MD5 of its parts' MD5s, and how many there are.
pub fn multipart_etag<'a>(parts: impl Iterator<Item = &'a [u8; 16]>) -> ETag {
    let mut md5 = Md5::new();
    let mut count = 0u32;
    for part in parts {
        md5.update(part);
        count += 1;
    }
    let of_md5s = ETag::from_md5(md5.finalize().into());
    ETag::strong(format!("{}-{count}", of_md5s.value())).expect("hexadecimal digits and a hyphen are a tag")
}

/// The checksum over the checksums of parts, as S3 calls it `COMPOSITE`.
pub fn composite<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Option<Checksum> {
    let mut digests = Digests::new(DigestSet::none().and(algorithm));
    let mut count = 0u32;
    for part in parts {
        digests.update(part);
        count += 1;
    }
    let value = digests.finish().checksums.pop()?.value;
    Some(Checksum { algorithm, kind: ChecksumKind::Composite { parts: count }, value })
}

/// Whether checksums of parts can be combined to that of the whole: CRCs can.
pub fn can_combine(algorithm: ChecksumAlgorithm) -> bool {
    crc(algorithm).is_some()
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

/// The checksum of the whole from those of its parts, each with its length in bytes: S3's `FULL_OBJECT`. `None` for
/// algorithms that cannot be combined, and for values of the wrong length.
pub fn combined<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = (&'a [u8], u64)>,
) -> Option<Checksum> {
    let crc = crc(algorithm)?;
    let len = algorithm.len_bytes();
    let mut whole = None;
    for (value, size_bytes) in parts {
        if value.len() != len {
            return None;
        }
        let mut wide = [0; 8];
        wide[8 - len..].copy_from_slice(value);
        let part = u64::from_be_bytes(wide);
        whole = Some(match whole {
            None => part,
            Some(before) => checksum_combine(crc, before, part, size_bytes),
        });
    }
    let value = whole.unwrap_or(0).to_be_bytes()[8 - len..].to_vec();
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let mut digests = Digests::new(DigestSet::none().and(algorithm));
        digests.update(bytes);
        digests.finish().checksums.pop().unwrap().value
    }

    #[test]
    fn combined_checksums_are_those_of_the_whole() {
        let whole: Vec<u8> = (0..10_000u32).map(|n| (n * 7) as u8).collect();
        for cut in [&[0usize, 10_000][..], &[0, 1, 9_999, 10_000], &[0, 4_096, 4_096, 10_000]] {
            for algorithm in ChecksumAlgorithm::ALL {
                let parts: Vec<_> = cut.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
                let sums: Vec<_> =
                    parts.iter().map(|part| (digest(algorithm, part), part.len() as u64)).collect();
                let got = combined(algorithm, sums.iter().map(|(sum, len)| (sum.as_slice(), *len)));
                let want = can_combine(algorithm).then(|| digest(algorithm, &whole));
                assert_eq!(got.map(|sum| sum.value), want, "{algorithm:?} {cut:?}");
            }
        }
    }

    #[test]
    fn composites_are_digests_of_digests() {
        // MD5 of the MD5s of "a" and "b", and the SHA-1 of their SHA-1s, each computed by coreutils.
        let md5 = |text: &[u8]| <[u8; 16]>::from(Md5::digest(text));
        let etag = multipart_etag([md5(b"a"), md5(b"b")].iter());
        let mut both = md5(b"a").to_vec();
        both.extend_from_slice(&md5(b"b"));
        assert_eq!(etag.value(), &format!("{}-2", hex(&md5(&both))));
        let sums = [digest(ChecksumAlgorithm::Sha1, b"a"), digest(ChecksumAlgorithm::Sha1, b"b")];
        let got = composite(ChecksumAlgorithm::Sha1, sums.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(got.kind, ChecksumKind::Composite { parts: 2 });
        assert_eq!(got.value, digest(ChecksumAlgorithm::Sha1, &sums.concat()));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

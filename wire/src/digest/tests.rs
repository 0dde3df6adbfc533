use proptest::prelude::*;

use super::*;

/// Values of the text `123456789`, as every CRC catalogue gives them, and the well-known hashes of it.
const CHECK: &[u8] = b"123456789";

fn everything() -> DigestSet {
    ChecksumAlgorithm::ALL.into_iter().fold(DigestSet::none().and_md5(), DigestSet::and)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Rows<'a> = &'a [(&'static str, &'a str)];

fn headers(rows: Rows<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in rows {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    map
}

fn values_of(bytes: &[u8], set: DigestSet) -> DigestValues {
    let mut digests = Digests::new(set);
    digests.update(bytes);
    digests.finish()
}

#[test]
fn check_values_are_right() {
    let values = values_of(CHECK, everything());
    let rows = [
        (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
        (ChecksumAlgorithm::Crc32c, "e3069283"),
        (ChecksumAlgorithm::Crc32, "cbf43926"),
        (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ];
    for (algorithm, want) in rows {
        assert_eq!(hex(&values.get(algorithm).unwrap().value), want, "{algorithm:?}");
    }
    assert_eq!(hex(&values.md5.unwrap()), "25f9e794323b453885f5181f1b624d0b");
    assert_eq!(values_of(CHECK, DigestSet::none()), DigestValues::default());
}

#[test]
fn promises_of_a_request_are_kept_or_named() {
    let right = format_content_md5(&values_of(CHECK, everything()).md5.unwrap());
    let wrong = format_content_md5(&[0; 16]);
    let crc = format_checksum(values_of(CHECK, everything()).get(ChecksumAlgorithm::Crc32).unwrap());
    assert_eq!(crc, "y/Q5Jg==");
    let rows: &[(Rows<'_>, PayloadMode, Option<S3Code>)] = &[
        (&[], PayloadMode::Unsigned, None),
        (&[("content-md5", &right)], PayloadMode::Unsigned, None),
        (&[("content-md5", &wrong)], PayloadMode::Unsigned, Some(S3Code::BadDigest)),
        (&[("x-amz-checksum-crc32", &crc)], PayloadMode::of_bytes(CHECK), None),
        (&[("x-amz-checksum-crc32", "AAAAAA==")], PayloadMode::Unsigned, Some(S3Code::BadDigest)),
        (&[], PayloadMode::of_bytes(b"other"), Some(S3Code::XAmzContentSha256Mismatch)),
    ];
    for (rows, payload, want) in rows {
        let promises = Promises::of_request(&headers(rows), payload).unwrap();
        let values = values_of(CHECK, promises.needs(&[]).unwrap());
        let got = promises.check(&values).err().map(|mismatch| S3Error::from(mismatch).code);
        assert_eq!(got, *want, "{rows:?}");
    }
}

#[test]
fn a_promise_that_was_not_computed_counts_as_broken() {
    let promises =
        Promises::of_request(&headers(&[("x-amz-checksum-crc32", "y/Q5Jg==")]), &PayloadMode::Unsigned);
    assert!(promises.unwrap().check(&DigestValues::default()).is_err());
}

#[test]
fn malformed_promises_have_the_codes_of_s3() {
    use S3Code::{BadDigest, InvalidDigest, InvalidRequest};
    let rows: &[(Rows<'_>, S3Code)] = &[
        (&[("content-md5", "")], InvalidDigest),
        (&[("content-md5", "AAAA")], InvalidDigest),
        (&[("content-md5", "not base64!")], InvalidDigest),
        (&[("x-amz-checksum-crc32", "AAAA")], BadDigest),
        (&[("x-amz-checksum-crc32", "AAAAAA==-2")], BadDigest),
        (&[("x-amz-checksum-sha256", "AAAAAA==")], BadDigest),
        (&[("x-amz-checksum-xyz", "AAAAAA==")], InvalidRequest),
        (&[("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")], InvalidRequest),
    ];
    for (rows, code) in rows {
        let error = Promises::of_request(&headers(rows), &PayloadMode::Unsigned).unwrap_err();
        assert_eq!(S3Error::from(error).code, *code, "{rows:?}");
    }
    let silent = [
        ("x-amz-checksum-mode", "ENABLED"),
        ("x-amz-checksum-algorithm", "CRC32"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ];
    assert!(Promises::of_request(&headers(&silent), &PayloadMode::Unsigned).unwrap().is_empty());
}

#[test]
fn trailers_promise_what_they_announce() {
    let mut promises = Promises::none();
    let announced = ["x-amz-checksum-crc32".to_owned(), "x-amz-meta-other".to_owned()];
    let values = values_of(CHECK, promises.needs(&announced).unwrap());
    promises.add_trailer("x-amz-meta-other", "?").unwrap();
    promises.add_trailer("x-amz-checksum-crc32", " y/Q5Jg== ").unwrap();
    assert_eq!(promises.check(&values), Ok(()));
    promises.add_trailer("x-amz-checksum-crc32", "AAAAAA==").unwrap();
    assert!(promises.check(&values).is_err());
    assert!(promises.add_trailer("x-amz-checksum-crc32", "A").is_err());
    assert!(promises.needs(&["x-amz-checksum-xyz".to_owned()]).is_err());
}

#[test]
fn a_presigned_checksum_of_nothing_is_no_promise() {
    let rows = [
        ("x-amz-checksum-crc32=AAAAAA%3D%3D", Some(0)),
        ("X-Amz-Checksum-Crc32=AAAAAA%3D%3D", Some(0)),
        ("x-amz-checksum-crc64nvme=AAAAAAAAAAA%3D", Some(0)),
        ("x-amz-checksum-sha256=47DEQpj8HBSa%2B%2FTImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D", Some(0)),
        ("x-amz-checksum-crc32=y%2FQ5Jg%3D%3D&x-amz-checksum-algorithm=CRC32&prefix=a", Some(1)),
        ("x-amz-checksum-crc32=y", None),
        ("x-amz-checksum-xyz=AAAAAA%3D%3D", None),
    ];
    for (raw, want) in rows {
        let mut promises = Promises::none();
        let added = promises.add_query(&Query::parse(raw).unwrap());
        assert_eq!(added.ok().map(|()| promises.iter().count()), want, "{raw}");
    }
}

#[test]
fn answers_promise_by_header_and_repr_digest() {
    let values = values_of(CHECK, everything());
    let sha256 = STANDARD.encode(&values.get(ChecksumAlgorithm::Sha256).unwrap().value);
    let md5 = STANDARD.encode(values.md5.unwrap());
    let both = format!("sha-512=:AAAA:, sha-256=:{sha256}:;q=1, md5=:{md5}:");
    let rows: &[(Rows<'_>, Option<(usize, bool)>)] = &[
        (&[("repr-digest", &both)], Some((2, true))),
        (&[("repr-digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:")], Some((1, false))),
        (&[("repr-digest", "unixsum=:AA==:")], Some((0, true))),
        (&[("repr-digest", "sha-256=AAAA")], None),
        (&[("repr-digest", "sha-256=:AAAA:")], None),
        (&[("repr-digest", "sha-256")], None),
        (&[("x-amz-checksum-crc32", "AAAAAA==-2"), ("x-amz-checksum-md6", "?")], Some((0, true))),
        (&[("x-amz-checksum-crc32", "y/Q5Jg=="), ("content-md5", &md5)], Some((2, true))),
        (&[("x-amz-checksum-crc32", "y/Q5")], None),
    ];
    for (rows, want) in rows {
        let promises = Promises::of_response(&headers(rows)).ok();
        let got = promises.map(|promises| (promises.iter().count(), promises.check(&values).is_ok()));
        assert_eq!(got, *want, "{rows:?}");
    }
}

#[test]
fn stored_checksums_are_shown() {
    let mut map = HeaderMap::new();
    let kind = ChecksumKind::Composite { parts: 3 };
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: vec![0; 4] };
    write_checksum_headers(std::slice::from_ref(&checksum), &mut map);
    assert_eq!(map["x-amz-checksum-crc32"], "AAAAAA==-3");
    assert_eq!(map["x-amz-checksum-type"], "COMPOSITE");
    assert_eq!(parse_checksum(ChecksumAlgorithm::Crc32, "AAAAAA==-3"), Some(checksum));
    for bad in ["AAAAAA==-", "AAAAAA==-0", "AAAAAA==-+1", "AAAAAA==-1-1", ""] {
        assert_eq!(parse_checksum(ChecksumAlgorithm::Crc32, bad), None, "{bad}");
    }
    for algorithm in ChecksumAlgorithm::ALL {
        assert_eq!(
            checksum_header_name(algorithm).as_str(),
            format!("x-amz-checksum-{}", algorithm.header_suffix())
        );
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>()) {
        let at = at.index(bytes.len() + 1);
        let mut digests = Digests::new(everything());
        digests.update(&bytes[..at]);
        digests.update(&bytes[at..]);
        prop_assert_eq!(digests.finish(), values_of(&bytes, everything()));
    }
}

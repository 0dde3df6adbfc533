//! Checksums of parts and of what they make: composite ones, and of the full object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::ChecksumAlgorithm as Algorithm;

use crate::body::{checksum, pattern};
use crate::call::{Call, get, head, post, put};
use crate::case::Table;

use super::{PART, begin, complete, large};

/// Which checksum an algorithm makes of the parts if nothing is said.
const COMPOSITE: [Algorithm; 4] = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Sha1, Algorithm::Sha256];
const FULL: [Algorithm; 3] = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme];

fn header(algorithm: Algorithm) -> String {
    format!("x-amz-checksum-{}", algorithm.header_suffix())
}

fn name(algorithm: Algorithm) -> String {
    algorithm.header_suffix().to_uppercase()
}

fn element(algorithm: Algorithm) -> String {
    format!("Checksum{}", name(algorithm))
}

/// A part with its checksum.
fn part(number: u32, algorithm: Algorithm, bytes: &[u8]) -> Call {
    put("key", bytes)
        .param("partNumber", number.to_string())
        .param("uploadId", "{upload}")
        .with(&header(algorithm), checksum(algorithm, bytes))
        .save(&format!("e{number}"), "etag")
        .gives(200)
        .has(&header(algorithm), checksum(algorithm, bytes))
}

/// The composite checksum of parts.
fn composite(algorithm: Algorithm, parts: &[&[u8]]) -> String {
    let sums: Vec<u8> = parts
        .iter()
        .flat_map(|part| STANDARD.decode(checksum(algorithm, part)).expect("it was encoded just now"))
        .collect();
    format!("{}-{}", checksum(algorithm, &sums), parts.len())
}

/// Completes with the checksums of the parts told.
fn complete_with(algorithm: Algorithm, parts: &[&[u8]]) -> Call {
    let element = element(algorithm);
    let parts: String = parts
        .iter()
        .zip(1..)
        .map(|(part, number)| {
            let sum = checksum(algorithm, part);
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{{e{number}}}</ETag><{element}>{sum}</{element}></Part>")
        })
        .collect();
    post("key", format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"))
        .param("uploadId", "{upload}")
}

pub(super) fn cases(table: &mut Table) {
    let (first, second) = (pattern(1, PART), b"end".to_vec());
    let parts: [&[u8]; 2] = [&first, &second];
    let whole = [first.as_slice(), &second].concat();
    for algorithm in COMPOSITE {
        let sum = composite(algorithm, &parts);
        table
            .case(format!("{} of parts, composite", name(algorithm)))
            .ask(
                begin("key")
                    .with("x-amz-checksum-algorithm", name(algorithm))
                    .has("x-amz-checksum-algorithm", name(algorithm))
                    .has("x-amz-checksum-type", "COMPOSITE"),
            )
            .ask(part(1, algorithm, &first))
            .ask(part(2, algorithm, &second))
            .ask(
                complete_with(algorithm, &parts)
                    .gives(200)
                    .one(&element(algorithm), &sum)
                    .one("ChecksumType", "COMPOSITE"),
            )
            .ask(
                head("key")
                    .with("x-amz-checksum-mode", "ENABLED")
                    .has(&header(algorithm), &sum)
                    .has("x-amz-checksum-type", "COMPOSITE"),
            )
            .ask(head("key").lacks(&header(algorithm)));
    }
    by_default(table, &first, &second);
    for algorithm in FULL {
        let sum = checksum(algorithm, &whole);
        let full = || {
            begin("key")
                .with("x-amz-checksum-algorithm", name(algorithm))
                .with("x-amz-checksum-type", "FULL_OBJECT")
                .has("x-amz-checksum-type", "FULL_OBJECT")
        };
        table
            .case(format!("{} of the full object", name(algorithm)))
            .ask(full())
            .ask(part(1, algorithm, &first))
            .ask(part(2, algorithm, &second))
            .ask(
                complete_with(algorithm, &parts)
                    .with(&header(algorithm), &sum)
                    .with("x-amz-checksum-type", "FULL_OBJECT")
                    .gives(200)
                    .one(&element(algorithm), &sum)
                    .one("ChecksumType", "FULL_OBJECT"),
            )
            .ask(
                get("key")
                    .with("x-amz-checksum-mode", "ENABLED")
                    .has(&header(algorithm), &sum)
                    .has("x-amz-checksum-type", "FULL_OBJECT")
                    .gives_body(crate::body::Body::Joined(vec![large(1), "end".into()])),
            );
        table
            .case(format!("{} of the full object that is wrong", name(algorithm)))
            .ask(full())
            .ask(part(1, algorithm, &second))
            .ask(
                complete("key", &[1])
                    .with(&header(algorithm), checksum(algorithm, b"something else"))
                    .with("x-amz-checksum-type", "FULL_OBJECT")
                    .fails(400, "BadDigest"),
            )
            .ask(get("key").fails(404, "NoSuchKey"));
    }
    refused(table, &second);
}

fn refused(table: &mut Table, bytes: &[u8]) {
    for algorithm in Algorithm::ALL {
        table
            .case(format!("a part with a wrong {}", name(algorithm)))
            .ask(begin("key").with("x-amz-checksum-algorithm", name(algorithm)))
            .ask(
                put("key", bytes)
                    .query("partNumber=1")
                    .param("uploadId", "{upload}")
                    .with(&header(algorithm), checksum(algorithm, b"something else"))
                    .fails(400, "BadDigest"),
            )
            .ask(get("key").param("uploadId", "{upload}").none("Part"));
    }
    table
        .case("complete with a part's checksum that is not what it was")
        .ask(begin("key").with("x-amz-checksum-algorithm", "SHA256"))
        .ask(part(1, Algorithm::Sha256, bytes))
        .ask(complete_with(Algorithm::Sha256, &[b"something else"]).fails(400, "InvalidPart"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("list parts tells their checksums")
        .ask(begin("key").with("x-amz-checksum-algorithm", "SHA256"))
        .ask(part(1, Algorithm::Sha256, bytes))
        .ask(
            get("key")
                .param("uploadId", "{upload}")
                .gives(200)
                .all("Part/ChecksumSHA256", [checksum(Algorithm::Sha256, bytes)])
                .one("ChecksumAlgorithm", "SHA256")
                .one("ChecksumType", "COMPOSITE"),
        );
    table
        .case("list uploads tells their algorithms")
        .ask(begin("key").with("x-amz-checksum-algorithm", "CRC32C"))
        .ask(
            crate::call::bucket("GET", "uploads")
                .gives(200)
                .all("Upload/ChecksumAlgorithm", ["CRC32C"])
                .all("Upload/ChecksumType", ["COMPOSITE"]),
        );
    for (algorithm, kind) in [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")]
    {
        table.case(format!("{algorithm} cannot be {kind}")).ask(
            post("key", "")
                .query("uploads")
                .with("x-amz-checksum-algorithm", algorithm)
                .with("x-amz-checksum-type", kind)
                .fails(400, "InvalidRequest"),
        );
    }
    table.case("an algorithm that is none").ask(
        post("key", "").query("uploads").with("x-amz-checksum-algorithm", "MD4").fails(400, "InvalidRequest"),
    );
}

/// An upload that was begun without an algorithm: its object gets the CRC64NVME of all of its bytes.
fn by_default(table: &mut Table, first: &[u8], second: &[u8]) {
    let (algorithm, shown) = (Algorithm::Crc64Nvme, header(Algorithm::Crc64Nvme));
    let whole = checksum(algorithm, &[first, second].concat());
    let other = header(Algorithm::Crc32);
    table
        .case("without an algorithm: CRC64NVME of the full object")
        .ask(begin("key").lacks("x-amz-checksum-algorithm"))
        .ask(super::part("key", 1, large(1)).gives(200).has(&shown, checksum(algorithm, first)))
        // One that is given is kept and told; the object's is made all the same.
        .ask(
            super::part("key", 2, second.to_vec())
                .with(&other, checksum(Algorithm::Crc32, second))
                .gives(200)
                .has(&other, checksum(Algorithm::Crc32, second))
                .lacks(&shown),
        )
        .ask(
            get("key")
                .param("uploadId", "{upload}")
                .gives(200)
                .all("Part/PartNumber", ["1", "2"])
                .none("Part/ChecksumCRC64NVME")
                .none("ChecksumAlgorithm"),
        )
        .ask(
            complete("key", &[1, 2])
                .gives(200)
                .one("ChecksumCRC64NVME", &whole)
                .one("ChecksumType", "FULL_OBJECT"),
        )
        .ask(
            head("key")
                .with("x-amz-checksum-mode", "ENABLED")
                .has(&shown, &whole)
                .has("x-amz-checksum-type", "FULL_OBJECT"),
        )
        .ask(head("key").lacks(&shown))
        .ask(
            get("key")
                .query("attributes")
                .with("x-amz-object-attributes", "Checksum,ObjectParts")
                .gives(200)
                .one("Checksum/ChecksumCRC64NVME", &whole)
                .one("Checksum/ChecksumType", "FULL_OBJECT")
                .none("ObjectParts/Part/ChecksumCRC64NVME"),
        );
    table
        .case("without an algorithm: parts that are copied count as well")
        .ask(put("source", large(1)))
        .ask(begin("key"))
        .ask(
            put("key", "")
                .query("partNumber=1")
                .param("uploadId", "{upload}")
                .with("x-amz-copy-source", "/{bucket}/source")
                .gives(200)
                .save_xml("e1", "ETag"),
        )
        .ask(super::part("key", 2, second.to_vec()))
        .ask(complete("key", &[1, 2]).gives(200).one("ChecksumCRC64NVME", &whole));
    table
        .case("without an algorithm: another CRC64NVME than the object's is refused")
        .ask(begin("key"))
        .ask(super::part("key", 1, second.to_vec()))
        .ask(
            complete("key", &[1])
                .with(&shown, checksum(algorithm, b"something else"))
                .fails(400, "BadDigest"),
        )
        .ask(complete("key", &[1]).with(&shown, checksum(algorithm, second)).gives(200));
    let sums = [checksum(Algorithm::Crc32c, first), checksum(Algorithm::Crc32c, second)];
    let document: String = (1..)
        .zip(&sums)
        .map(|(number, sum)| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{{e{number}}}</ETag>\
                 <ChecksumCRC32C>{sum}</ChecksumCRC32C></Part>"
            )
        })
        .collect();
    table
        .case("a copy has the CRC of all bytes where its source has one of parts")
        .ask(begin("key").with("x-amz-checksum-algorithm", "CRC32C"))
        .ask(part(1, Algorithm::Crc32c, first))
        .ask(part(2, Algorithm::Crc32c, second))
        .ask(
            post("key", format!("<CompleteMultipartUpload>{document}</CompleteMultipartUpload>"))
                .param("uploadId", "{upload}")
                .gives(200),
        )
        .ask(put("copy", "").with("x-amz-copy-source", "/{bucket}/key").gives(200))
        .ask(
            head("copy")
                .with("x-amz-checksum-mode", "ENABLED")
                .has(&header(Algorithm::Crc32c), checksum(Algorithm::Crc32c, &[first, second].concat()))
                .has("x-amz-checksum-type", "FULL_OBJECT"),
        );
}

//! Checksums: verified, kept, returned when asked for
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>).

use fallthrough_object::ChecksumAlgorithm;

use crate::body::{checksum, content_md5};
use crate::call::{Payload, get, head, put};
use crate::case::{Modes, Table};

const BODY: &str = "checked";

/// The header of an algorithm and its name in `x-amz-sdk-checksum-algorithm`.
fn names(algorithm: ChecksumAlgorithm) -> (String, String) {
    let suffix = algorithm.header_suffix();
    (format!("x-amz-checksum-{suffix}"), suffix.to_uppercase())
}

pub(super) fn cases(table: &mut Table) {
    for algorithm in ChecksumAlgorithm::ALL {
        as_header(table, algorithm);
        as_trailer(table, algorithm);
        returned(table, algorithm);
    }
    by_default(table);
    md5(table);
    together(table);
}

fn as_header(table: &mut Table, algorithm: ChecksumAlgorithm) {
    let (header, name) = names(algorithm);
    let right = checksum(algorithm, BODY.as_bytes());
    let wrong = checksum(algorithm, b"something else");
    table
        .case(format!("{name}: right"))
        .modes_are(Modes::Plain)
        .ask(
            put("key", BODY)
                .with(&header, &right)
                .with("x-amz-sdk-checksum-algorithm", &name)
                .gives(200)
                .has(&header, &right)
                .has("x-amz-checksum-type", "FULL_OBJECT"),
        )
        .ask(get("key").gives_body(BODY));
    table
        .case(format!("{name}: wrong"))
        .modes_are(Modes::Plain)
        .ask(put("key", BODY).with(&header, &wrong).fails(400, "BadDigest"))
        .ask(get("key").fails(404, "NoSuchKey"));
    // No base64, or of another length: as wrong as any other value.
    let short = &right[4..];
    for (what, value) in [("no base64", "!!!!"), ("too short", short)] {
        table
            .case(format!("{name}: {what}"))
            .modes_are(Modes::Plain)
            .ask(put("key", BODY).with(&header, value).fails(400, "BadDigest"))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}

fn as_trailer(table: &mut Table, algorithm: ChecksumAlgorithm) {
    let (header, name) = names(algorithm);
    let right = checksum(algorithm, BODY.as_bytes());
    let wrong = checksum(algorithm, b"something else");
    for (what, payload) in [("unsigned", Payload::UnsignedTrailer), ("signed", Payload::SignedTrailer)] {
        table
            .case(format!("{name} in an {what} trailer: right"))
            .modes_are(Modes::Plain)
            .ask(put("key", BODY).payload(payload).trailer(&header, &right).gives(200).has(&header, &right))
            .ask(get("key").with("x-amz-checksum-mode", "ENABLED").gives_body(BODY).has(&header, &right));
        table
            .case(format!("{name} in an {what} trailer: wrong"))
            .modes_are(Modes::Plain)
            .ask(put("key", BODY).payload(payload).trailer(&header, &wrong).fails(400, "BadDigest"))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}

fn returned(table: &mut Table, algorithm: ChecksumAlgorithm) {
    let (header, name) = names(algorithm);
    let right = checksum(algorithm, BODY.as_bytes());
    table
        .case(format!("{name} is returned when asked for"))
        .place_with("key", BODY, &[(&header, &right)])
        .ask(
            head("key")
                .with("x-amz-checksum-mode", "ENABLED")
                .gives(200)
                .has(&header, &right)
                .has("x-amz-checksum-type", "FULL_OBJECT"),
        )
        .ask(
            get("key")
                .with("x-amz-checksum-mode", "ENABLED")
                .gives(200)
                .has(&header, &right)
                .gives_body(BODY),
        );
    table
        .case(format!("{name} is not returned unasked"))
        .place_with("key", BODY, &[(&header, &right)])
        .ask(get("key").gives(200).lacks(&header).lacks("x-amz-checksum-type"))
        .ask(head("key").gives(200).lacks(&header));
    table
        .case(format!("{name} of what was there before is forgotten"))
        .place_with("key", BODY, &[(&header, &right)])
        .ask(put("key", "new"))
        .ask(get("key").with("x-amz-checksum-mode", "ENABLED").gives_body("new").differs(&header, &right));
}

/// What comes without a checksum is given one.
fn by_default(table: &mut Table) {
    let (header, _) = names(ChecksumAlgorithm::Crc64Nvme);
    for (what, body) in [("an object", BODY), ("an empty object", "")] {
        let right = checksum(ChecksumAlgorithm::Crc64Nvme, body.as_bytes());
        table
            .case(format!("{what} put without a checksum gets CRC64NVME"))
            .modes_are(Modes::Plain)
            .ask(put("key", body).gives(200).has(&header, &right).has("x-amz-checksum-type", "FULL_OBJECT"))
            .ask(put("other", body).md5().gives(200).has(&header, &right));
        table
            .case(format!("{what} put without a checksum is shown with CRC64NVME"))
            .modes_are(Modes::PlainAndS3)
            .place("key", body)
            .ask(
                head("key")
                    .with("x-amz-checksum-mode", "ENABLED")
                    .has(&header, &right)
                    .has("x-amz-checksum-type", "FULL_OBJECT"),
            )
            .ask(get("key").with("x-amz-checksum-mode", "ENABLED").has(&header, &right).gives_body(body))
            .ask(head("key").with("x-amz-checksum-mode", "ENABLED").has(&header, &right))
            .ask(get("key").gives_body(body).lacks(&header).lacks("x-amz-checksum-type"))
            .ask(
                get("key")
                    .query("attributes")
                    .with("x-amz-object-attributes", "Checksum")
                    .gives(200)
                    .one("Checksum/ChecksumCRC64NVME", &right)
                    .one("Checksum/ChecksumType", "FULL_OBJECT"),
            )
            .ask(
                put("copy", "")
                    .with("x-amz-copy-source", "/{bucket}/key")
                    .gives(200)
                    .one("ChecksumCRC64NVME", &right),
            )
            .ask(head("copy").with("x-amz-checksum-mode", "ENABLED").has(&header, &right));
    }
    let sha1 = checksum(ChecksumAlgorithm::Sha1, BODY.as_bytes());
    table
        .case("what comes with a checksum gets no other")
        .modes_are(Modes::Plain)
        .ask(put("key", BODY).with("x-amz-checksum-sha1", &sha1).gives(200).lacks(&header))
        .ask(
            head("key")
                .with("x-amz-checksum-mode", "ENABLED")
                .has("x-amz-checksum-sha1", &sha1)
                .lacks(&header),
        );
}

fn md5(table: &mut Table) {
    let rows = [
        ("right", content_md5(BODY.as_bytes()), 200, ""),
        ("wrong", content_md5(b"something else"), 400, "BadDigest"),
        ("no base64", "!!!!".to_owned(), 400, "InvalidDigest"),
        ("too short", "1B2M2Y8AsgTpgA==".to_owned(), 400, "InvalidDigest"),
        ("hex", "d41d8cd98f00b204e9800998ecf8427e".to_owned(), 400, "InvalidDigest"),
        ("empty", String::new(), 400, "InvalidDigest"),
    ];
    for (what, value, status, code) in rows {
        table
            .case(format!("Content-MD5: {what}"))
            .modes_are(Modes::Plain)
            .ask(put("key", BODY).with("content-md5", value).fails(status, code))
            .ask(head("key").gives(if status == 200 { 200 } else { 404 }));
    }
}

fn together(table: &mut Table) {
    let crc32 = checksum(ChecksumAlgorithm::Crc32, BODY.as_bytes());
    let sha1 = checksum(ChecksumAlgorithm::Sha1, BODY.as_bytes());
    table.case("two checksums").modes_are(Modes::Plain).ask(
        put("key", BODY)
            .with("x-amz-checksum-crc32", &crc32)
            .with("x-amz-checksum-sha1", &sha1)
            .fails(400, "InvalidRequest"),
    );
    table
        .case("a checksum and Content-MD5")
        .modes_are(Modes::Plain)
        .ask(put("key", BODY).with("x-amz-checksum-crc32", &crc32).md5().gives(200));
    table
        .case("an algorithm is named, but no checksum is there")
        .modes_are(Modes::Plain)
        .ask(put("key", BODY).with("x-amz-sdk-checksum-algorithm", "CRC32").fails(400, "InvalidRequest"));
    table
        .case("the checksum of the empty body that an SDK leaves in a presigned query")
        .modes_are(Modes::Plain)
        .ask(
            put("key", BODY)
                .query("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32")
                .presigned(600)
                .gives(200),
        )
        .ask(get("key").gives_body(BODY));
    table
        .case("another checksum in a presigned query is verified")
        .modes_are(Modes::Plain)
        .ask(
            put("key", BODY)
                .param("x-amz-checksum-crc32", checksum(ChecksumAlgorithm::Crc32, b"something else"))
                .presigned(600)
                .fails(400, "BadDigest"),
        )
        .ask(put("key", BODY).param("x-amz-checksum-crc32", &crc32).presigned(600).gives(200));
}

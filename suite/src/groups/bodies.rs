//! Ways to send a body: signed, unsigned, in signed or unsigned chunks, with trailers, with and without a length.

use fallthrough_object::ChecksumAlgorithm;

use crate::body::{checksum, content_md5, etag, pattern};
use crate::call::{Call, Framing, Payload, get, head, put};
use crate::case::Table;

const PAYLOADS: [(&str, Payload); 5] = [
    ("signed", Payload::Sha256),
    ("unsigned", Payload::Unsigned),
    ("signed chunks", Payload::SignedChunks),
    ("signed chunks and trailer", Payload::SignedTrailer),
    ("unsigned chunks and trailer", Payload::UnsignedTrailer),
];

/// Sizes, and how long chunks are.
const SIZES: [(usize, usize); 6] =
    [(0, 8192), (1, 8192), (8192, 8192), (8193, 8192), (70_000, 65_536), (300_000, 100_000)];

/// A trailer where the payload has one.
fn sent(payload: Payload, bytes: Vec<u8>) -> Call {
    let crc32 = checksum(ChecksumAlgorithm::Crc32, &bytes);
    let call = put("key", bytes).payload(payload);
    if matches!(payload, Payload::SignedTrailer | Payload::UnsignedTrailer) {
        call.trailer("x-amz-checksum-crc32", crc32)
    } else {
        call
    }
}

pub(super) fn cases(table: &mut Table) {
    for (what, payload) in PAYLOADS {
        for (len, chunk) in SIZES {
            let bytes = pattern(5, len);
            table
                .case(format!("{what}: {len} bytes"))
                .ask(sent(payload, bytes.clone()).chunks_of(chunk).gives(200).has("etag", etag(&bytes)))
                .ask(
                    get("key")
                        .gives(200)
                        .has("content-length", len.to_string())
                        .lacks("content-encoding")
                        .gives_body(bytes),
                );
        }
        table
            .case(format!("{what}: the object's own encoding is kept"))
            .ask(sent(payload, pattern(1, 100)).with("content-encoding", "gzip").gives(200))
            .ask(head("key").has("content-encoding", "gzip"));
        table
            .case(format!("{what}: a wrong Content-MD5"))
            .ask(
                sent(payload, pattern(1, 100))
                    .with("content-md5", content_md5(b"something else"))
                    .fails(400, "BadDigest"),
            )
            .ask(get("key").fails(404, "NoSuchKey"));
        table
            .case(format!("{what}: a right Content-MD5"))
            .ask(sent(payload, pattern(1, 100)).md5().gives(200))
            .ask(get("key").gives_body(pattern(1, 100)));
    }
    lengths(table);
    refused(table);
    waiting(table);
}

fn lengths(table: &mut Table) {
    let missing = || put("key", "hello").framing(Framing::Missing).fails(411, "MissingContentLength");
    table.case("no length").ask(missing()).ask(get("key").fails(404, "NoSuchKey"));
    table.case("no length, unsigned").ask(missing().payload(Payload::Unsigned));
    table
        .case("HTTP chunks without a length")
        .ask(put("key", "hello").framing(Framing::Chunked).fails(411, "MissingContentLength"))
        .ask(get("key").fails(404, "NoSuchKey"));
    for (what, payload) in &PAYLOADS[2..] {
        let bytes = pattern(5, 20_000);
        table
            .case(format!("{what} in HTTP chunks, with the decoded length"))
            .ask(sent(*payload, bytes.clone()).framing(Framing::Chunked).gives(200).has("etag", etag(&bytes)))
            .ask(get("key").gives_body(bytes));
        table.case(format!("{what} without the decoded length")).ask(
            sent(*payload, pattern(5, 100))
                .with("x-amz-decoded-content-length", "")
                .then_remove("x-amz-decoded-content-length")
                .fails(411, "MissingContentLength"),
        );
    }
    table
        .case("a body that a GET has is not read as another request")
        .ask(put("key", "x"))
        .ask(get("key").body("ignored").gives(200).gives_body("x"));
}

fn refused(table: &mut Table) {
    let nothing = || get("key").fails(404, "NoSuchKey");
    table
        .case("other bytes than were signed")
        .ask(
            put("key", "signed bytes")
                .then_in_body("signed bytes", "forged bytes")
                .fails(400, "XAmzContentSHA256Mismatch"),
        )
        .ask(nothing());
    table
        .case("signed chunks: other bytes than were signed")
        .ask(
            sent(Payload::SignedChunks, b"signed bytes".to_vec())
                .then_in_body("signed bytes", "forged bytes")
                .fails(403, "SignatureDoesNotMatch"),
        )
        .ask(nothing());
    table
        .case("signed trailer: another trailer than was signed")
        .ask(
            sent(Payload::SignedTrailer, b"hello".to_vec())
                .then_in_body("x-amz-checksum-crc32:NhCm", "x-amz-checksum-crc32:AhCm")
                .fails(403, "SignatureDoesNotMatch"),
        )
        .ask(nothing());
    table
        .case("unsigned trailer: other bytes than the checksum's")
        .ask(
            sent(Payload::UnsignedTrailer, b"hello".to_vec())
                .then_in_body("hello", "jello")
                .fails(400, "BadDigest"),
        )
        .ask(nothing());
    table
        .case("an announced trailer that does not come")
        .ask(
            put("key", "hello")
                .payload(Payload::UnsignedTrailer)
                .with("x-amz-trailer", "x-amz-checksum-crc32")
                .fails(400, "MalformedTrailerError"),
        )
        .ask(nothing());
    table
        .case("a failed PUT leaves what was there")
        .ask(put("key", "old"))
        .ask(
            put("key", "signed bytes")
                .then_in_body("signed bytes", "forged bytes")
                .fails(400, "XAmzContentSHA256Mismatch"),
        )
        .ask(get("key").gives_body("old"));
}

fn waiting(table: &mut Table) {
    for (what, expectation) in [("unknown", "200"), ("empty", "")] {
        table
            .case(format!("an expectation that is {what} is passed over"))
            .ask(put("key", "hello").with("expect", expectation).gives(200).continued(false))
            .ask(get("key").gives_body("hello"));
    }
    table
        .case("100 Continue")
        .ask(put("key", "hello").waits_for_continue().gives(200).continued(true))
        .ask(get("key").gives_body("hello"));
    table.case("no 100 Continue for who may not write").ask(
        put("key", "hello")
            .waits_for_continue()
            .keyed("{access-key}", "wrong")
            .fails(403, "SignatureDoesNotMatch")
            .continued(false),
    );
    table.case("no 100 Continue where there is no bucket").ask(
        crate::call::call("PUT", "/{other}/key")
            .body("hello")
            .waits_for_continue()
            .fails(404, "NoSuchBucket")
            .continued(false),
    );
}

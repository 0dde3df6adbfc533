//! UploadPart and UploadPartCopy.

use crate::body::{content_md5, etag, etag_of_parts, pattern};
use crate::call::{Call, Framing, Payload, get, put};
use crate::case::{Modes, Table};

use super::{PART, begin, complete, large, part};

const DIGITS: &str = "0123456789";

/// Copies a part of `{upload}` and remembers its ETag.
fn copied(number: u32, source: &str) -> Call {
    put("key", "")
        .param("partNumber", number.to_string())
        .param("uploadId", "{upload}")
        .with("x-amz-copy-source", source)
        .save_xml(&format!("e{number}"), "ETag")
}

/// A call of that kind that is to fail, and so tells no ETag.
fn not_copied(source: &str) -> Call {
    put("key", "").query("partNumber=1").param("uploadId", "{upload}").with("x-amz-copy-source", source)
}

pub(super) fn cases(table: &mut Table) {
    uploading(table);
    copying(table);
    ranges(table);
    conditions(table);
}

fn uploading(table: &mut Table) {
    for bad in ["0", "-1", "10001", "x", ""] {
        table.case(format!("a part with the number {bad:?}")).ask(begin("key")).ask(
            put("key", "x")
                .param("partNumber", bad)
                .param("uploadId", "{upload}")
                .fails(400, "InvalidArgument"),
        );
    }
    table
        .case("the last number of a part")
        .ask(begin("key"))
        .ask(part("key", 10_000, "hello").gives(200))
        .ask(complete("key", &[10_000]).gives(200))
        .ask(get("key").gives_body("hello"));
    table
        .case("a part uploaded again")
        .ask(begin("key"))
        .ask(part("key", 1, "old").save("old", "etag"))
        .ask(part("key", 1, "new"))
        .ask(
            crate::call::post("key", super::manifest(&[1]).replace("{e1}", "{old}"))
                .param("uploadId", "{upload}")
                .fails(400, "InvalidPart"),
        )
        .ask(complete("key", &[1]).gives(200))
        .ask(get("key").gives_body("new"));
    let wrong = content_md5(b"something else");
    table
        .case("a part with a wrong Content-MD5")
        .ask(begin("key"))
        .ask(
            put("key", "hello")
                .query("partNumber=1")
                .param("uploadId", "{upload}")
                .with("content-md5", wrong)
                .fails(400, "BadDigest"),
        )
        .ask(get("key").param("uploadId", "{upload}").gives(200).none("Part"));
    table
        .case("a part of no upload")
        .ask(put("key", "hello").query("partNumber=1").fails(400, "InvalidArgument"))
        .ask(get("key").fails(404, "NoSuchKey"));
    for (what, payload) in [
        ("unsigned", Payload::Unsigned),
        ("in signed chunks", Payload::SignedChunks),
        ("in signed chunks with a trailer", Payload::SignedTrailer),
        ("in unsigned chunks with a trailer", Payload::UnsignedTrailer),
    ] {
        let bytes = pattern(4, 100_000);
        let mut call = part("key", 1, bytes.clone()).payload(payload);
        if matches!(payload, Payload::SignedTrailer | Payload::UnsignedTrailer) {
            let sum = crate::body::checksum(fallthrough_object::ChecksumAlgorithm::Crc32, &bytes);
            call = call.trailer("x-amz-checksum-crc32", sum);
        }
        table
            .case(format!("a part {what}"))
            .ask(begin("key"))
            .ask(call.gives(200).has("etag", etag(&bytes)))
            .ask(complete("key", &[1]).gives(200))
            .ask(get("key").gives_body(bytes).lacks("content-encoding"));
    }
    table.case("a part without a length").ask(begin("key")).ask(
        put("key", "x")
            .query("partNumber=1")
            .param("uploadId", "{upload}")
            .framing(Framing::Missing)
            .fails(411, "MissingContentLength"),
    );
    table
        .case("a part with an extra parameter of an SDK")
        .ask(begin("key"))
        .ask(part("key", 1, "hello").query("x-id=UploadPart").gives(200));
}

fn copying(table: &mut Table) {
    let sized = Modes::PlainAndS3;
    table
        .case("a part that is copied")
        .modes_are(sized)
        .place("source", "hello")
        .ask(begin("key"))
        .ask(
            copied(1, "/{bucket}/source")
                .gives(200)
                .root("CopyPartResult")
                .one("ETag", etag(b"hello"))
                .count("LastModified", 1),
        )
        .ask(complete("key", &[1]).gives(200).one("ETag", etag_of_parts(&[b"hello"])))
        .ask(get("key").gives_body("hello"));
    table
        .case("a part that is copied, and one that is not")
        .modes_are(sized)
        .place("source", large(1))
        .ask(begin("key"))
        .ask(copied(1, "{bucket}/source"))
        .ask(part("key", 2, "end"))
        .ask(complete("key", &[1, 2]).gives(200))
        .ask(
            get("key")
                .with("range", format!("bytes={}-", PART - 1))
                .gives(206)
                .gives_body([&pattern(1, PART)[PART - 1..], b"end"].concat()),
        );
    for key in ["a b", "a+b", "a%20b", "\u{e9}/\u{1F600}", "a?b&c=d"] {
        let source = format!("/{{bucket}}/{}", fallthrough_wire::uri::encode_path(key));
        table
            .case(format!("a part that is copied from {key:?}"))
            .modes_are(sized)
            .place(key, "hello")
            .ask(begin("key"))
            .ask(copied(1, &source).gives(200))
            .ask(complete("key", &[1]).gives(200))
            .ask(get("key").gives_body("hello"));
    }
    table
        .case("a part that is copied from nothing")
        .ask(begin("key"))
        .ask(not_copied("/{bucket}/none").fails(404, "NoSuchKey"));
    table
        .case("a part that is copied from no bucket")
        .ask(begin("key"))
        .ask(not_copied("/{other}/none").fails(404, "NoSuchBucket"));
    table
        .case("a part that is copied from what is no name")
        .ask(begin("key"))
        .ask(not_copied("source").fails(400, "InvalidArgument"));
    table.case("a part that is copied for an unknown upload").place("source", "x").ask(
        put("key", "")
            .query("partNumber=1&uploadId=nobody")
            .with("x-amz-copy-source", "/{bucket}/source")
            .fails(404, "NoSuchUpload"),
    );
}

fn ranges(table: &mut Table) {
    for (range, body) in
        [("bytes=0-9", DIGITS), ("bytes=0-0", "0"), ("bytes=3-6", "3456"), ("bytes=9-9", "9")]
    {
        table
            .case(format!("a part that is copied from {range}"))
            .modes_are(Modes::PlainAndS3)
            .place("source", DIGITS)
            .ask(begin("key"))
            .ask(
                copied(1, "/{bucket}/source")
                    .with("x-amz-copy-source-range", range)
                    .one("ETag", etag(body.as_bytes())),
            )
            .ask(complete("key", &[1]).gives(200))
            .ask(get("key").gives_body(body));
    }
    for (range, status, code) in [
        ("bytes=0-10", 416, "InvalidRange"),
        ("bytes=10-12", 416, "InvalidRange"),
        ("bytes=5-2", 400, "InvalidArgument"),
        ("0-2", 400, "InvalidArgument"),
        ("bytes=0", 400, "InvalidArgument"),
        ("bytes=-3", 400, "InvalidArgument"),
        ("bytes=3-", 400, "InvalidArgument"),
        ("bytes=hello-world", 400, "InvalidArgument"),
        ("bytes=0-1,3-4", 400, "InvalidArgument"),
    ] {
        table
            .case(format!("a part that is copied from {range}, which cannot be"))
            .modes_are(Modes::PlainAndS3)
            .place("source", DIGITS)
            .ask(begin("key"))
            .ask(not_copied("/{bucket}/source").with("x-amz-copy-source-range", range).fails(status, code))
            .ask(get("key").param("uploadId", "{upload}").gives(200).none("Part"));
    }
    table
        .case("a part that is copied from parts of a large one")
        .modes_are(Modes::PlainAndS3)
        .place("source", pattern(6, 2 * PART))
        .ask(begin("key"))
        .ask(
            copied(1, "/{bucket}/source")
                .with("x-amz-copy-source-range", format!("bytes={PART}-{}", 2 * PART - 1)),
        )
        .ask(copied(2, "/{bucket}/source").with("x-amz-copy-source-range", "bytes=10-19"))
        .ask(complete("key", &[1, 2]).gives(200))
        .ask(get("key").gives_body([&pattern(6, 2 * PART)[PART..], &pattern(6, 20)[10..]].concat()));
}

fn conditions(table: &mut Table) {
    let tag = etag(b"hello");
    let rows = [
        ("if-match", tag.as_str(), true),
        ("if-match", "\"0123\"", false),
        ("if-none-match", "\"0123\"", true),
        ("if-none-match", tag.as_str(), false),
        ("if-modified-since", "{date-864000}", true),
        ("if-unmodified-since", "{date-864000}", false),
    ];
    for (condition, value, holds) in rows {
        let header = format!("x-amz-copy-source-{condition}");
        let case = table
            .case(format!("a part that is copied {condition}: {}", if holds { "holds" } else { "fails" }));
        case.modes_are(Modes::PlainAndS3).place("source", "hello").ask(begin("key"));
        if holds {
            case.ask(copied(1, "/{bucket}/source").with(&header, value).gives(200));
        } else {
            case.ask(not_copied("/{bucket}/source").with(&header, value).fails(412, "PreconditionFailed"));
        }
    }
}

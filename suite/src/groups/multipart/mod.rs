//! Multipart uploads: from their creation to the object, and what goes wrong on the way.

mod checksums;
mod listing;
mod parts;
mod reading;

use crate::body::{Body, etag_of_parts, pattern};
use crate::call::{Call, bucket, call, delete, get, head, post, put};
use crate::case::{Case, Table};

/// Least size of a part that is not the last.
const PART: usize = 5 << 20;

/// Begins an upload of `key` and remembers it as `{upload}`.
fn begin(key: &str) -> Call {
    post(key, "").query("uploads").gives(200).save_xml("upload", "UploadId")
}

/// Uploads a part of `{upload}` and remembers its ETag as `{e1}`, `{e2}`, …
fn part(key: &str, number: u32, body: impl Into<Body>) -> Call {
    put(key, body)
        .param("partNumber", number.to_string())
        .param("uploadId", "{upload}")
        .save(&format!("e{number}"), "etag")
}

/// The document that completes an upload of these parts, with the ETags that were remembered.
fn manifest(numbers: &[u32]) -> String {
    let parts: String = numbers
        .iter()
        .map(|number| format!("<Part><PartNumber>{number}</PartNumber><ETag>{{e{number}}}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// Completes `{upload}` with these parts.
fn complete(key: &str, numbers: &[u32]) -> Call {
    post(key, manifest(numbers)).param("uploadId", "{upload}")
}

fn abort(key: &str) -> Call {
    delete(key).param("uploadId", "{upload}")
}

/// A part of the least size.
fn large(seed: u8) -> Body {
    Body::Pattern { seed, len: PART }
}

/// An upload of one small part, completed.
fn small_object(case: &mut Case, key: &str, content: &str) {
    case.ask(begin(key)).ask(part(key, 1, content)).ask(complete(key, &[1]).gives(200));
}

pub(super) fn cases(table: &mut Table) {
    whole(table);
    creating(table);
    completing(table);
    unknown(table);
    parts::cases(table);
    listing::cases(table);
    checksums::cases(table);
    reading::cases(table);
}

fn whole(table: &mut Table) {
    let case = table.case("one small part");
    case.ask(begin("key").root("InitiateMultipartUploadResult").one("Bucket", "{bucket}").one("Key", "key"));
    case.ask(part("key", 1, "hello").gives(200).has("etag", crate::body::etag(b"hello")).gives_body(""));
    case.ask(
        complete("key", &[1])
            .gives(200)
            .root("CompleteMultipartUploadResult")
            .one("Bucket", "{bucket}")
            .one("Key", "key")
            .one("ETag", etag_of_parts(&[b"hello"]))
            .count("Location", 1),
    );
    case.ask(get("key").gives(200).gives_body("hello").has("etag", etag_of_parts(&[b"hello"])));
    let (first, second) = (pattern(1, PART), pattern(2, 1000));
    let all = || Body::Joined(vec![large(1), Body::Pattern { seed: 2, len: 1000 }]);
    let tag = etag_of_parts(&[&first, &second]);
    table
        .case("a large part and a small one")
        .ask(begin("key"))
        .ask(part("key", 1, large(1)))
        .ask(part("key", 2, second.clone()))
        .ask(complete("key", &[1, 2]).gives(200).one("ETag", &tag))
        .ask(
            get("key")
                .gives(200)
                .has("etag", &tag)
                .has("content-length", (PART + 1000).to_string())
                .gives_body(all()),
        )
        .ask(
            get("key")
                .with("range", format!("bytes={}-{}", PART - 2, PART + 1))
                .gives(206)
                .gives_body([&first[PART - 2..], &second[..2]].concat()),
        )
        .ask(bucket("GET", "list-type=2").all("Contents/ETag", [&tag]).all("Contents/Size", [PART + 1000]));
    table
        .case("parts in no order")
        .ask(begin("key"))
        .ask(part("key", 7, second.clone()))
        .ask(part("key", 3, large(1)))
        .ask(complete("key", &[3, 7]).gives(200).one("ETag", &tag))
        .ask(get("key").gives_body(all()));
    table
        .case("an upload is no object before it is complete")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(get("key").fails(404, "NoSuchKey"))
        .ask(bucket("GET", "list-type=2").none("Contents"))
        .ask(complete("key", &[1]).gives(200))
        .ask(bucket("GET", "list-type=2").all("Contents/Key", ["key"]));
    table
        .case("an upload leaves the object as it is before it is complete")
        .ask(put("key", "old"))
        .ask(begin("key"))
        .ask(part("key", 1, "new"))
        .ask(get("key").gives_body("old"))
        .ask(complete("key", &[1]).gives(200))
        .ask(get("key").gives_body("new"));
    table
        .case("a bucket with an upload in it can be deleted only when it is ended")
        .ask(begin("key"))
        .ask(abort("key").gives(204))
        .ask(call("DELETE", "/{bucket}").gives(204));
    table
        .case("a part of no bytes")
        .ask(begin("key"))
        .ask(part("key", 1, ""))
        .ask(complete("key", &[1]).gives(200).one("ETag", etag_of_parts(&[b""])))
        .ask(get("key").gives(200).gives_body(""));
    table
        .case("two uploads of one key: the last completed is kept")
        .ask(begin("key").save_xml("first", "UploadId"))
        .ask(begin("key"))
        .ask(part("key", 1, "second"))
        .ask(put("key", "first").query("partNumber=1").param("uploadId", "{first}").save("ef", "etag"))
        .ask(complete("key", &[1]).gives(200))
        .ask(
            post("key", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{ef}</ETag></Part></CompleteMultipartUpload>")
                .param("uploadId", "{first}")
                .gives(200),
        )
        .ask(get("key").gives_body("first"));
}

fn creating(table: &mut Table) {
    let kept: &[(&str, &str)] = &[
        ("content-type", "text/x-parts"),
        ("cache-control", "max-age=3"),
        ("content-disposition", "inline"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("expires", "Wed, 21 Oct 2037 07:28:00 GMT"),
        ("x-amz-meta-colour", "blue"),
        ("x-amz-meta-unicode", "Gr\u{fc}\u{df}e"),
    ];
    table
        .case("headers and metadata are those of the creation")
        .ask(begin("key").with_all(kept))
        .ask(
            part("key", 1, "hello").with("x-amz-meta-part", "ignored").with("content-type", "text/x-ignored"),
        )
        .ask(complete("key", &[1]).gives(200))
        .ask(head("key").gives(200).has_all(kept).lacks("x-amz-meta-part"));
    table
        .case("tags are those of the creation")
        .ask(begin("key").with("x-amz-tagging", "a=b&c=d"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).gives(200))
        .ask(
            get("key").query("tagging").all("TagSet/Tag/Key", ["a", "c"]).all("TagSet/Tag/Value", ["b", "d"]),
        )
        .ask(head("key").has("x-amz-tagging-count", "2"));
    table
        .case("the acl is that of the creation")
        .ask(begin("key").with("x-amz-acl", "public-read"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).gives(200))
        .ask(get("key").anonymous().gives(200).gives_body("hello"));
    table
        .case("created with an equals sign")
        .ask(post("key", "").query("uploads=").gives(200).root("InitiateMultipartUploadResult"));
    table
        .case("created in no bucket")
        .ask(call("POST", "/{other}/key").query("uploads").fails(404, "NoSuchBucket"));
    table
        .case("created with too long a key")
        .ask(post(&"k".repeat(1025), "").query("uploads").fails(400, "KeyTooLongError"));
    table.case("created with too much metadata").ask(
        post("key", "")
            .query("uploads")
            .with("x-amz-meta-a", "v".repeat(2100))
            .fails(400, "MetadataTooLarge"),
    );
    table.case("created with a storage class that is none").ask(
        post("key", "")
            .query("uploads")
            .with("x-amz-storage-class", "NOT_A_CLASS")
            .fails(400, "InvalidStorageClass"),
    );
}

fn completing(table: &mut Table) {
    let with = |document: &str| post("key", document).param("uploadId", "{upload}");
    let bad: [(&str, &str, &str); 6] = [
        ("no body", "", "MalformedXML"),
        ("no XML", "hello", "MalformedXML"),
        ("no parts", "<CompleteMultipartUpload></CompleteMultipartUpload>", "MalformedXML"),
        ("another document", "<Delete><Object><Key>key</Key></Object></Delete>", "MalformedXML"),
        (
            "a part without a number",
            "<CompleteMultipartUpload><Part><ETag>{e1}</ETag></Part></CompleteMultipartUpload>",
            "MalformedXML",
        ),
        (
            "a part with a number that is none",
            "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>{e1}</ETag></Part></CompleteMultipartUpload>",
            "MalformedXML",
        ),
    ];
    for (what, document, code) in bad {
        table
            .case(format!("complete with {what}"))
            .ask(begin("key"))
            .ask(part("key", 1, "hello"))
            .ask(with(document).fails(400, code))
            .ask(get("key").fails(404, "NoSuchKey"))
            .ask(complete("key", &[1]).gives(200));
    }
    table
        .case("complete with a part that was not uploaded")
        .ask(begin("key"))
        .ask(part("key", 1, large(1)))
        .ask(
            with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{e1}</ETag></Part><Part><PartNumber>2</PartNumber><ETag>{e1}</ETag></Part></CompleteMultipartUpload>")
                .fails(400, "InvalidPart"),
        )
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("complete with another etag than the part's")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(
            with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"d41d8cd98f00b204e9800998ecf8427e\"</ETag></Part></CompleteMultipartUpload>")
                .fails(400, "InvalidPart"),
        )
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("complete with etags without quotes")
        .ask(begin("key"))
        .ask(part("key", 1, "hello").save_unquoted("bare", "etag"))
        .ask(
            with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{bare}</ETag></Part></CompleteMultipartUpload>")
                .gives(200),
        );
    table
        .case("complete with quotes as entities and a namespace")
        .ask(begin("key"))
        .ask(part("key", 1, "hello").save_unquoted("bare", "etag"))
        .ask(
            with("<?xml version=\"1.0\"?>\n<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n <Part>\n  <ETag>&quot;{bare}&quot;</ETag>\n  <PartNumber>1</PartNumber>\n </Part>\n</CompleteMultipartUpload>")
                .gives(200),
        );
    table
        .case("complete with parts in no order")
        .ask(begin("key"))
        .ask(part("key", 1, large(1)))
        .ask(part("key", 2, "hello"))
        .ask(complete("key", &[2, 1]).fails(400, "InvalidPartOrder"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("complete with a part named twice, as it was first and as it is")
        .ask(begin("key"))
        .ask(part("key", 1, "old").save("old", "etag"))
        .ask(part("key", 1, "new"))
        .ask(
            with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{old}</ETag></Part><Part><PartNumber>1</PartNumber><ETag>{e1}</ETag></Part></CompleteMultipartUpload>")
                .gives(200)
                .one("ETag", etag_of_parts(&[b"new"])),
        )
        .ask(get("key").gives_body("new"));
    table
        .case("complete with a part that is too small")
        .ask(begin("key"))
        .ask(part("key", 1, pattern(1, 1000)))
        .ask(part("key", 2, "hello"))
        .ask(complete("key", &[1, 2]).fails(400, "EntityTooSmall"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("complete with a part that is a byte too small")
        .ask(begin("key"))
        .ask(part("key", 1, pattern(1, PART - 1)))
        .ask(part("key", 2, "hello"))
        .ask(complete("key", &[1, 2]).fails(400, "EntityTooSmall"));
    table
        .case("complete with some of the parts")
        .ask(begin("key"))
        .ask(part("key", 1, "one"))
        .ask(part("key", 2, "two"))
        .ask(complete("key", &[2]).gives(200).one("ETag", etag_of_parts(&[b"two"])))
        .ask(get("key").gives_body("two"));
    table
        .case("complete again answers the same")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).gives(200).one("ETag", etag_of_parts(&[b"hello"])))
        .ask(complete("key", &[1]).gives(200).one("ETag", etag_of_parts(&[b"hello"])).one("Key", "key"))
        .ask(get("key").gives_body("hello"));
    let none_match = || complete("key", &[1]).with("if-none-match", "*");
    table
        .case("complete if nothing is there: nothing is")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(none_match().gives(200));
    table
        .case("complete if nothing is there: something is")
        .place("key", "old")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(none_match().fails(412, "PreconditionFailed"))
        .ask(get("key").gives_body("old"));
    let tag = crate::body::etag(b"old");
    for (what, value, status, code, body) in
        [("holds", tag.as_str(), 200, "", "hello"), ("fails", "\"0123\"", 412, "PreconditionFailed", "old")]
    {
        table
            .case(format!("complete if-match {what}"))
            .place("key", "old")
            .ask(begin("key"))
            .ask(part("key", 1, "hello"))
            .ask(complete("key", &[1]).with("if-match", value).fails(status, code))
            .ask(get("key").gives_body(body));
    }
    table
        .case("complete if-match where nothing is")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).with("if-match", &tag).fails(404, "NoSuchKey"));
}

fn unknown(table: &mut Table) {
    let id = "VXBsb2FkIElEIHRoYXQgbm9ib2R5IGtub3dz";
    let calls = [
        ("a part", put("key", "x").query("partNumber=1")),
        ("complete", post("key", manifest(&[1]).replace("{e1}", "\"0123\""))),
        ("abort", delete("key")),
        ("list parts", get("key")),
    ];
    for (what, call) in calls {
        table
            .case(format!("{what} of an unknown upload"))
            .ask(call.clone().param("uploadId", id).fails(404, "NoSuchUpload"));
        table
            .case(format!("{what} of an aborted upload"))
            .ask(begin("key"))
            .ask(part("key", 1, "hello"))
            .ask(abort("key").gives(204))
            .ask(call.clone().param("uploadId", "{upload}").fails(404, "NoSuchUpload"));
        table
            .case(format!("{what} of another key's upload"))
            .ask(begin("another"))
            .ask(call.param("uploadId", "{upload}").fails(404, "NoSuchUpload"));
    }
    table
        .case("a part of a completed upload")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).gives(200))
        .ask(
            put("key", "more").query("partNumber=2").param("uploadId", "{upload}").fails(404, "NoSuchUpload"),
        )
        .ask(get("key").gives_body("hello"));
    table
        .case("abort of a completed upload leaves the object")
        .ask(begin("key"))
        .ask(part("key", 1, "hello"))
        .ask(complete("key", &[1]).gives(200))
        .ask(get("key").param("uploadId", "{upload}").fails(404, "NoSuchUpload"))
        .ask(get("key").gives_body("hello"));
    table
        .case("abort leaves what is there")
        .place("key", "old")
        .ask(begin("key"))
        .ask(part("key", 1, "new"))
        .ask(abort("key").gives(204).gives_body(""))
        .ask(get("key").gives_body("old"));
}

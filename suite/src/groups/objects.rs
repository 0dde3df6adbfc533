//! Objects: put, get, head, delete, with every header that is kept.

use crate::body::etag;
use crate::call::{bucket, delete, get, head, put};
use crate::case::{Modes, Table};

/// Headers that are kept with an object and given back.
const KEPT: &[(&str, &str)] = &[
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "max-age=60, public"),
    ("content-disposition", "attachment; filename=\"a b.txt\""),
    ("content-encoding", "gzip"),
    ("content-language", "de, en"),
    ("expires", "Wed, 21 Oct 2037 07:28:00 GMT"),
    ("x-amz-meta-colour", "blue"),
    ("x-amz-meta-with-dashes_and.dots", "1"),
    ("x-amz-meta-spaces", "a  b   c"),
    ("x-amz-meta-punctuation", "a,b;c=d:e/f?g\"h'i"),
    ("x-amz-meta-unicode", "Gr\u{fc}\u{df}e \u{1F600}"),
];

pub(super) fn cases(table: &mut Table) {
    reading(table);
    kept_headers(table);
    writing(table);
    deleting(table);
    limits(table);
}

fn reading(table: &mut Table) {
    let bodies: [(&str, &[u8]); 4] =
        [("no bytes", b""), ("a byte", b"x"), ("text", b"hello world"), ("bytes", &[0, 255, 13, 10, 0, 128])];
    for (what, bytes) in bodies {
        let length = bytes.len().to_string();
        table.case(format!("get {what}")).place("key", bytes).ask(
            get("key")
                .gives(200)
                .gives_body(bytes)
                .has("etag", etag(bytes))
                .has("content-length", &length)
                .has("accept-ranges", "bytes")
                .present("last-modified"),
        );
        table.case(format!("head {what}")).place("key", bytes).ask(
            head("key")
                .gives(200)
                .gives_body("")
                .has("etag", etag(bytes))
                .has("content-length", &length)
                .has("accept-ranges", "bytes")
                .present("last-modified"),
        );
    }
    for (what, kib) in [("300 KiB", 300), ("3 MiB", 3 << 10)] {
        let bytes = crate::body::pattern(3, kib << 10);
        table
            .case(format!("get {what}"))
            .place("key", bytes.clone())
            .ask(get("key").gives(200).has("etag", etag(&bytes)).gives_body(bytes));
    }
    table
        .case("get twice: both answers are the same")
        .place_with("key", "twice", &[("x-amz-meta-a", "b")])
        .ask(get("key").gives(200).save("modified", "last-modified"))
        .ask(
            get("key")
                .gives(200)
                .gives_body("twice")
                .has("last-modified", "{modified}")
                .has("x-amz-meta-a", "b")
                .has("etag", etag(b"twice")),
        );
    table
        .case("head before get tells the same")
        .place("key", "same")
        .ask(head("key").gives(200).save("modified", "last-modified").save("tag", "etag"))
        .ask(get("key").gives(200).has("last-modified", "{modified}").has("etag", "{tag}"));
    table.case("get nothing").ask(get("none").fails(404, "NoSuchKey").one("Key", "none"));
    table.case("head nothing").ask(head("none").gives(404).gives_body(""));
    table
        .case("get beside what is there")
        .place("key", "x")
        .ask(get("ke").fails(404, "NoSuchKey"))
        .ask(get("key/").fails(404, "NoSuchKey"))
        .ask(get("Key").fails(404, "NoSuchKey"));
    table
        .case("a key and what looks like a folder of that name")
        .place("a", "1")
        .place("a/b", "2")
        .place("a/", "3")
        .ask(get("a").gives_body("1"))
        .ask(get("a/b").gives_body("2"))
        .ask(get("a/").gives_body("3"));
    table
        .case("the type of what was put without one")
        .modes_are(Modes::PlainAndS3)
        .place("key", "x")
        .ask(head("key").gives(200).has("content-type", "binary/octet-stream"));
    table
        .case("no version is told where there are none")
        .place("key", "x")
        .ask(get("key").gives(200).lacks("x-amz-version-id").lacks("x-amz-delete-marker"));
}

fn kept_headers(table: &mut Table) {
    for (name, value) in KEPT {
        table
            .case(format!("{name} is kept"))
            .place_with("key", "x", &[(*name, *value)])
            .ask(head("key").gives(200).has(name, *value))
            .ask(get("key").gives(200).has(name, *value));
    }
    let all = KEPT;
    table
        .case("all headers together")
        .place_with("key", "x", all)
        .ask(get("key").gives(200).has_all(all))
        .ask(head("key").gives(200).has_all(all));
    table
        .case("names of metadata are lower case")
        .place_with("key", "x", &[("X-Amz-Meta-CamelCase", "V")])
        .ask(head("key").gives(200).has("x-amz-meta-camelcase", "V"));
    table
        .case("empty metadata is kept")
        .place_with("key", "x", &[("x-amz-meta-empty", "")])
        .ask(head("key").gives(200).has("x-amz-meta-empty", ""));
    table
        .case("metadata has no spaces around it")
        .place_with("key", "x", &[("x-amz-meta-padded", "  v  ")])
        .ask(head("key").gives(200).has("x-amz-meta-padded", "v"));
    table
        .case("put replaces all metadata")
        .place_with(
            "key",
            "x",
            &[("x-amz-meta-a", "1"), ("cache-control", "no-cache"), ("content-type", "a/b")],
        )
        .ask(put("key", "y").with("x-amz-meta-b", "2"))
        .ask(
            get("key")
                .gives(200)
                .gives_body("y")
                .has("x-amz-meta-b", "2")
                .lacks("x-amz-meta-a")
                .lacks("cache-control")
                .has("content-type", "binary/octet-stream"),
        );
    for (sent, kept) in [
        ("gzip, aws-chunked", Some("gzip")),
        ("aws-chunked, gzip", Some("gzip")),
        ("deflate, gzip", Some("deflate, gzip")),
        ("aws-chunked", None),
        ("aws-chunked, aws-chunked", None),
    ] {
        let read = head("key").gives(200);
        let read = match kept {
            Some(kept) => read.has("content-encoding", kept),
            None => read.lacks("content-encoding"),
        };
        table
            .case(format!("content-encoding: {sent}"))
            .place_with("key", "", &[("content-encoding", sent)])
            .ask(read);
    }
    table
        .case("an empty content-type is none")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").with("content-type", "").gives(200))
        .ask(get("key").gives(200).gives_body("x"));
    table
        .case("other headers are not kept")
        .place_with("key", "x", &[("x-custom", "1"), ("pragma", "no-cache")])
        .ask(head("key").gives(200).lacks("x-custom").lacks("pragma"));
    table
        .case("expires need not be a date")
        .place_with("key", "x", &[("expires", "whenever")])
        .ask(head("key").gives(200).has("expires", "whenever"));
}

fn writing(table: &mut Table) {
    table.case("put answers with the etag and no body").modes_are(Modes::Plain).ask(
        put("key", "hello").gives(200).has("etag", etag(b"hello")).gives_body("").lacks("x-amz-version-id"),
    );
    table
        .case("put over what is there")
        .place("key", "old")
        .ask(put("key", "new").gives(200))
        .ask(get("key").gives(200).gives_body("new").has("etag", etag(b"new")));
    table
        .case("put over what was read")
        .place("key", "old")
        .ask(get("key").gives_body("old"))
        .ask(put("key", "new and longer").gives(200))
        .ask(get("key").gives_body("new and longer"))
        .ask(head("key").has("content-length", "14"));
    table
        .case("put a folder's marker with bytes")
        .modes_are(Modes::Plain)
        .ask(put("folder/", "bytes").gives(200))
        .ask(get("folder/").gives_body("bytes"));
    table
        .case("put with an extra parameter of an SDK")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").query("x-id=PutObject").gives(200))
        .ask(get("key").query("x-id=GetObject").gives_body("x"));
    for (class, status, code) in [("STANDARD", 200, ""), ("NOT_A_CLASS", 400, "InvalidStorageClass")] {
        table
            .case(format!("put with the storage class {class}"))
            .modes_are(Modes::Plain)
            .ask(put("key", "x").with("x-amz-storage-class", class).fails(status, code));
    }
    table
        .case("the storage class of the standard is not told")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").with("x-amz-storage-class", "STANDARD").gives(200))
        .ask(head("key").gives(200).lacks("x-amz-storage-class"));
    table
        .case("put and get in succession: the latest is read")
        .modes_are(Modes::Plain)
        .ask(put("key", "1"))
        .ask(put("key", "2"))
        .ask(get("key").gives_body("2"))
        .ask(delete("key").gives(204))
        .ask(get("key").fails(404, "NoSuchKey"))
        .ask(put("key", "3"))
        .ask(get("key").gives_body("3"));
}

fn deleting(table: &mut Table) {
    table
        .case("delete")
        .place("key", "x")
        .ask(delete("key").gives(204).gives_body(""))
        .ask(get("key").fails(404, "NoSuchKey"))
        .ask(head("key").gives(404));
    table
        .case("delete after it was read")
        .place("key", "x")
        .ask(get("key").gives(200))
        .ask(delete("key").gives(204))
        .ask(get("key").fails(404, "NoSuchKey"))
        .ask(bucket("GET", "list-type=2").gives(200).none("Contents/Key"));
    table.case("delete nothing").ask(delete("none").gives(204).gives_body(""));
    table.case("delete twice").place("key", "x").ask(delete("key").gives(204)).ask(delete("key").gives(204));
    table
        .case("delete leaves its neighbours")
        .place_keys(&["a", "a/", "a/b", "ab"])
        .ask(delete("a").gives(204))
        .ask(delete("a/").gives(204))
        .ask(get("a").fails(404, "NoSuchKey"))
        .ask(get("a/").fails(404, "NoSuchKey"))
        .ask(get("a/b").gives_body("a/b"))
        .ask(get("ab").gives_body("ab"));
    table
        .case("put after delete")
        .place("key", "old")
        .ask(delete("key").gives(204))
        .ask(put("key", "new").gives(200))
        .ask(get("key").gives_body("new"));
    table
        .case("delete of the version null")
        .modes_are(Modes::Plain)
        .place("key", "x")
        .ask(delete("key").query("versionId=null").gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
}

fn limits(table: &mut Table) {
    let longest = "k".repeat(1024);
    table
        .case("a key of 1024 bytes")
        .place(&longest, "long")
        .ask(get(&longest).gives_body("long"))
        .ask(head(&longest).gives(200));
    let longest = "\u{e9}".repeat(512);
    table
        .case("a key of 512 letters of two bytes")
        .place(&longest, "long")
        .ask(get(&longest).gives_body("long"));
    for method in ["PUT", "GET", "DELETE"] {
        let too_long = "k".repeat(1025);
        let call = crate::call::call(method, format!("/{{bucket}}/{too_long}"));
        table
            .case(format!("{method} of a key of 1025 bytes"))
            .modes_are(Modes::Plain)
            .ask(call.fails(400, "KeyTooLongError"));
    }
    let much = "v".repeat(1000);
    table
        .case("metadata of almost 2 KB")
        .place_with("key", "x", &[("x-amz-meta-a", &much), ("x-amz-meta-b", &much)])
        .ask(head("key").gives(200).has("x-amz-meta-a", &much).has("x-amz-meta-b", &much));
    table
        .case("metadata of more than 2 KB")
        .modes_are(Modes::Plain)
        .ask(
            put("key", "x")
                .with("x-amz-meta-a", &much)
                .with("x-amz-meta-b", &much)
                .with("x-amz-meta-c", &much)
                .fails(400, "MetadataTooLarge"),
        )
        .ask(get("key").fails(404, "NoSuchKey"));
}

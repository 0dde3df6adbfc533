//! CopyObject.

use crate::body::{Body, checksum, etag, pattern};
use crate::call::{Call, call, get, head, put};
use crate::case::{Modes, Table};

const BODY: &str = "copied";
const KEPT: &[(&str, &str)] =
    &[("content-type", "text/x-source"), ("cache-control", "max-age=5"), ("x-amz-meta-colour", "blue")];

/// Copies `source` to the key `copy`.
fn copied(source: &str) -> Call {
    put("copy", "").with("x-amz-copy-source", source)
}

fn from_source() -> Call {
    copied("/{bucket}/source")
}

pub(super) fn cases(table: &mut Table) {
    whole(table);
    sources(table);
    metadata(table);
    itself(table);
    conditions(table);
    rights(table);
    tags(table);
}

fn whole(table: &mut Table) {
    table
        .case("a copy")
        .place("source", BODY)
        .ask(
            from_source()
                .gives(200)
                .root("CopyObjectResult")
                .one("ETag", etag(BODY.as_bytes()))
                .count("LastModified", 1),
        )
        .ask(get("copy").gives(200).gives_body(BODY).has("etag", etag(BODY.as_bytes())))
        .ask(get("source").gives_body(BODY));
    for (what, body) in
        [("of nothing", Body::Bytes(Vec::new())), ("of 3 MiB", Body::Pattern { seed: 4, len: 3 << 20 })]
    {
        table
            .case(format!("a copy {what}"))
            .place("source", body.clone())
            .ask(from_source().gives(200))
            .ask(get("copy").gives_body(body));
    }
    table
        .case("a copy over what is there")
        .place("source", BODY)
        .place("copy", "old")
        .ask(from_source().gives(200))
        .ask(get("copy").gives_body(BODY));
    table
        .case("a copy is its own object")
        .place("source", BODY)
        .ask(from_source().gives(200))
        .ask(crate::call::delete("source"))
        .ask(get("copy").gives_body(BODY))
        .ask(put("source", "new"))
        .ask(get("copy").gives_body(BODY));
    table
        .case("a copy from another bucket")
        .with_other()
        .ask(call("PUT", "/{other}/source").body(BODY))
        .ask(copied("/{other}/source").gives(200))
        .ask(get("copy").gives_body(BODY));
    table
        .case("a copy into another bucket")
        .with_other()
        .place("source", BODY)
        .ask(call("PUT", "/{other}/copy").with("x-amz-copy-source", "/{bucket}/source").gives(200))
        .ask(call("GET", "/{other}/copy").gives_body(BODY))
        .ask(get("copy").fails(404, "NoSuchKey"));
    table
        .case("a copy of a copy")
        .place_with("source", BODY, KEPT)
        .ask(from_source())
        .ask(put("again", "").with("x-amz-copy-source", "/{bucket}/copy").gives(200))
        .ask(get("again").gives_body(BODY).has_all(KEPT));
    table.case("a range of a copy").place("source", pattern(3, 100_000)).ask(from_source()).ask(
        get("copy")
            .with("range", "bytes=70000-70009")
            .gives(206)
            .gives_body(&pattern(3, 100_000)[70_000..70_010]),
    );
    let sum = checksum(fallthrough_object::ChecksumAlgorithm::Sha256, BODY.as_bytes());
    table
        .case("a copy keeps the checksum of its source")
        .modes_are(Modes::PlainAndS3)
        .place_with("source", BODY, &[("x-amz-checksum-sha256", &sum)])
        .ask(from_source().gives(200))
        .ask(head("copy").with("x-amz-checksum-mode", "ENABLED").has("x-amz-checksum-sha256", &sum));
}

fn sources(table: &mut Table) {
    let good = [
        ("without a slash in front", "{bucket}/a b", "a b"),
        ("encoded", "/{bucket}/a%20b", "a b"),
        ("with its slash encoded", "/{bucket}%2Fa%20b", "a b"),
        ("with a plus for a space", "/{bucket}/a+b", "a b"),
        ("with a plus encoded", "/{bucket}/a%2Bb", "a+b"),
        ("with a percent sign encoded", "/{bucket}/a%2520b", "a%20b"),
        ("of the version null", "/{bucket}/a%20b?versionId=null", "a b"),
        ("beyond ASCII, encoded", "/{bucket}/%C3%A9", "\u{e9}"),
        ("with a question mark encoded", "/{bucket}/a%3FversionId%3Dx", "a?versionId=x"),
    ];
    for (what, source, key) in good {
        table
            .case(format!("a source {what}"))
            .place(key, BODY)
            .ask(copied(source).gives(200))
            .ask(get("copy").gives_body(BODY));
    }
    let bad = [
        ("that is nothing", "/{bucket}/none", 404, "NoSuchKey"),
        ("in no bucket", "/{other}/none", 404, "NoSuchBucket"),
        ("without a key", "/{bucket}", 400, "InvalidArgument"),
        ("with an empty key", "/{bucket}/", 400, "InvalidArgument"),
        ("that is empty", "", 400, "InvalidArgument"),
        ("that is decoded twice only", "/{bucket}/a%2520b", 404, "NoSuchKey"),
    ];
    for (what, source, status, code) in bad {
        table
            .case(format!("a source {what}"))
            .place("a b", BODY)
            .ask(copied(source).fails(status, code))
            .ask(get("copy").fails(404, "NoSuchKey"));
    }
}

fn metadata(table: &mut Table) {
    let other: &[(&str, &str)] = &[("content-type", "text/x-copy"), ("x-amz-meta-size", "large")];
    for directive in [None, Some("COPY")] {
        let copy = from_source().with_all(other);
        let copy = match directive {
            Some(directive) => copy.with("x-amz-metadata-directive", directive),
            None => copy,
        };
        table
            .case(format!("metadata is the source's: {}", directive.unwrap_or("nothing said")))
            .place_with("source", BODY, KEPT)
            .ask(copy.gives(200))
            .ask(head("copy").gives(200).has_all(KEPT).lacks("x-amz-meta-size"));
    }
    table
        .case("metadata is replaced")
        .place_with("source", BODY, KEPT)
        .ask(from_source().with("x-amz-metadata-directive", "REPLACE").with_all(other).gives(200))
        .ask(head("copy").gives(200).has_all(other).lacks("x-amz-meta-colour").lacks("cache-control"))
        .ask(head("source").has_all(KEPT));
    table
        .case("metadata is replaced by nothing")
        .place_with("source", BODY, KEPT)
        .ask(from_source().with("x-amz-metadata-directive", "REPLACE").gives(200))
        .ask(head("copy").gives(200).lacks("x-amz-meta-colour").lacks("cache-control"));
    table
        .case("a directive that is none")
        .place("source", BODY)
        .ask(from_source().with("x-amz-metadata-directive", "KEEP").fails(400, "InvalidArgument"));
}

fn itself(table: &mut Table) {
    let again = || put("source", "").with("x-amz-copy-source", "/{bucket}/source");
    table
        .case("to itself without a change")
        .place("source", BODY)
        .ask(again().fails(400, "InvalidRequest"))
        .ask(get("source").gives_body(BODY));
    table
        .case("to itself with other metadata")
        .place_with("source", BODY, KEPT)
        .ask(
            again()
                .with("x-amz-metadata-directive", "REPLACE")
                .with("x-amz-meta-size", "large")
                .gives(200)
                .one("ETag", etag(BODY.as_bytes())),
        )
        .ask(get("source").gives_body(BODY).has("x-amz-meta-size", "large").lacks("x-amz-meta-colour"));
}

/// What the conditions on the source are, their headers, and whether the copy is made.
type Row = (&'static str, &'static [(&'static str, &'static str)], bool);

const CONDITIONS: &[Row] = &[
    ("if-match holds", &[("if-match", "{tag}")], true),
    ("if-match fails", &[("if-match", "\"0123\"")], false),
    ("if-none-match holds", &[("if-none-match", "\"0123\"")], true),
    ("if-none-match fails", &[("if-none-match", "{tag}")], false),
    ("if-modified-since holds", &[("if-modified-since", "{date-864000}")], true),
    ("if-modified-since fails", &[("if-modified-since", "{modified}")], false),
    ("if-unmodified-since holds", &[("if-unmodified-since", "{modified}")], true),
    ("if-unmodified-since fails", &[("if-unmodified-since", "{date-864000}")], false),
    (
        "if-match goes before if-unmodified-since",
        &[("if-match", "{tag}"), ("if-unmodified-since", "{date-864000}")],
        true,
    ),
    (
        "if-none-match goes before if-modified-since",
        &[("if-none-match", "{tag}"), ("if-modified-since", "{date-864000}")],
        false,
    ),
];

fn conditions(table: &mut Table) {
    for (what, conditions, made) in CONDITIONS {
        let mut copy = from_source();
        for (name, value) in *conditions {
            copy = copy.with(&format!("x-amz-copy-source-{name}"), *value);
        }
        let case = table.case(format!("source: {what}"));
        case.place("source", BODY).ask(head("source").save("tag", "etag").save("modified", "last-modified"));
        if *made {
            case.ask(copy.gives(200)).ask(get("copy").gives_body(BODY));
        } else {
            case.ask(copy.fails(412, "PreconditionFailed")).ask(get("copy").fails(404, "NoSuchKey"));
        }
    }
    let old = etag(b"old");
    let rows = [
        ("if-none-match of anything where nothing is", ("if-none-match", "*"), false, 200, "", BODY),
        (
            "if-none-match of anything where something is",
            ("if-none-match", "*"),
            true,
            412,
            "PreconditionFailed",
            "old",
        ),
        ("if-match holds", ("if-match", old.as_str()), true, 200, "", BODY),
        ("if-match fails", ("if-match", "\"0123\""), true, 412, "PreconditionFailed", "old"),
    ];
    for (what, (name, value), is_there, status, code, body) in rows {
        let case = table.case(format!("destination: {what}"));
        case.place("source", BODY);
        if is_there {
            case.place("copy", "old");
        }
        case.ask(from_source().with(name, value).fails(status, code)).ask(get("copy").gives_body(body));
    }
}

fn rights(table: &mut Table) {
    table
        .case("another account may not copy within a private bucket")
        .place("source", BODY)
        .ask(from_source().by_second().fails(403, "AccessDenied"))
        .ask(get("copy").fails(404, "NoSuchKey"));
    table
        .case("another account may not copy what it may not read")
        .place("source", BODY)
        .ask(call("PUT", "/{other}").by_second())
        .ask(
            call("PUT", "/{other}/copy")
                .by_second()
                .with("x-amz-copy-source", "/{bucket}/source")
                .fails(403, "AccessDenied"),
        );
    table
        .case("another account may copy what everybody may read")
        .modes_are(Modes::Plain)
        .ask(put("source", BODY).with("x-amz-acl", "public-read"))
        .ask(call("PUT", "/{other}").by_second())
        .ask(
            call("PUT", "/{other}/copy").by_second().with("x-amz-copy-source", "/{bucket}/source").gives(200),
        )
        .ask(call("GET", "/{other}/copy").by_second().gives_body(BODY));
    table
        .case("a copy does not have the acl of its source")
        .modes_are(Modes::Plain)
        .ask(put("source", BODY).with("x-amz-acl", "public-read"))
        .ask(from_source().gives(200))
        .ask(get("source").anonymous().gives(200))
        .ask(get("copy").anonymous().fails(403, "AccessDenied"));
    table
        .case("a copy has the acl that is asked for")
        .place("source", BODY)
        .ask(from_source().with("x-amz-acl", "public-read").gives(200))
        .ask(get("copy").anonymous().gives(200).gives_body(BODY));
    for (owner, status, code) in [("{owner}", 200, ""), ("999999999999", 403, "AccessDenied")] {
        table
            .case(format!("the source's bucket is expected to belong to {owner}"))
            .place("source", BODY)
            .ask(from_source().with("x-amz-source-expected-bucket-owner", owner).fails(status, code));
    }
}

fn tags(table: &mut Table) {
    let tagged = |call: Call| call.with("x-amz-tagging", "a=b");
    let tags = || get("copy").query("tagging").gives(200);
    table
        .case("tags are the source's")
        .modes_are(Modes::Plain)
        .ask(tagged(put("source", BODY)))
        .ask(from_source().gives(200))
        .ask(tags().all("TagSet/Tag/Key", ["a"]).all("TagSet/Tag/Value", ["b"]));
    table
        .case("tags are the source's, others are not taken")
        .modes_are(Modes::Plain)
        .ask(tagged(put("source", BODY)))
        .ask(from_source().with("x-amz-tagging-directive", "COPY").with("x-amz-tagging", "c=d").gives(200))
        .ask(tags().all("TagSet/Tag/Key", ["a"]));
    table
        .case("tags are replaced")
        .modes_are(Modes::Plain)
        .ask(tagged(put("source", BODY)))
        .ask(from_source().with("x-amz-tagging-directive", "REPLACE").with("x-amz-tagging", "c=d").gives(200))
        .ask(tags().all("TagSet/Tag/Key", ["c"]));
    table
        .case("tags are replaced by nothing")
        .modes_are(Modes::Plain)
        .ask(tagged(put("source", BODY)))
        .ask(from_source().with("x-amz-tagging-directive", "REPLACE").gives(200))
        .ask(tags().none("TagSet/Tag"));
    table
        .case("a tagging directive that is none")
        .place("source", BODY)
        .ask(from_source().with("x-amz-tagging-directive", "KEEP").fails(400, "InvalidArgument"));
}

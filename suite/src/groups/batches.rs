//! DeleteObjects.

use fallthrough_object::ChecksumAlgorithm;

use crate::body::{checksum, etag};
use crate::call::{Call, Payload, bucket, call, get};
use crate::case::{Modes, Table};

fn batch(document: &str) -> Call {
    bucket("POST", "delete").body(document)
}

fn objects(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect()
}

/// Deletes these keys, with a Content-MD5.
fn deleting(keys: &[&str]) -> Call {
    batch(&format!("<Delete>{}</Delete>", objects(keys))).md5()
}

fn gone(key: &str) -> Call {
    get(key).fails(404, "NoSuchKey")
}

pub(super) fn cases(table: &mut Table) {
    whole(table);
    digests(table);
    malformed(table);
    conditional(table);
}

fn whole(table: &mut Table) {
    table
        .case("some of several")
        .place_keys(&["a", "b", "c/d"])
        .ask(
            deleting(&["a", "c/d"])
                .gives(200)
                .root("DeleteResult")
                .all("Deleted/Key", ["a", "c/d"])
                .none("Error"),
        )
        .ask(gone("a"))
        .ask(gone("c/d"))
        .ask(get("b").gives_body("b"));
    table
        .case("quietly")
        .place_keys(&["a", "b"])
        .ask(
            batch(&format!("<Delete><Quiet>true</Quiet>{}</Delete>", objects(&["a", "b", "none"])))
                .md5()
                .gives(200)
                .root("DeleteResult")
                .none("Deleted")
                .none("Error"),
        )
        .ask(gone("a"));
    table.case("loudly, as is said").place("a", "x").ask(
        batch(&format!("<Delete><Quiet>false</Quiet>{}</Delete>", objects(&["a"])))
            .md5()
            .gives(200)
            .all("Deleted/Key", ["a"]),
    );
    table.case("what is not there is told as deleted").place("a", "x").ask(
        deleting(&["none", "a", "other"]).gives(200).all("Deleted/Key", ["none", "a", "other"]).none("Error"),
    );
    table
        .case("twice the same")
        .place("a", "x")
        .ask(deleting(&["a"]).gives(200))
        .ask(deleting(&["a"]).gives(200).all("Deleted/Key", ["a"]));
    table
        .case("after they were read")
        .place_keys(&["a", "b"])
        .ask(get("a").gives(200))
        .ask(deleting(&["a", "b"]).gives(200))
        .ask(gone("a"))
        .ask(gone("b"));
    table
        .case("the version null")
        .place("a", "x")
        .ask(
            batch("<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>")
                .md5()
                .gives(200)
                .all("Deleted/Key", ["a"])
                .none("Error"),
        )
        .ask(gone("a"));
    table
        .case("with a namespace, a declaration and spaces between")
        .place("a b", "x")
        .ask(
            batch(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  \
                 <Object>\n    <Key>a b</Key>\n  </Object>\n</Delete>\n",
            )
            .md5()
            .gives(200)
            .all("Deleted/Key", ["a b"]),
        )
        .ask(gone("a b"));
    table
        .case("asked with an equals sign")
        .place("a", "x")
        .ask(
            call("POST", "/{bucket}")
                .query("delete=")
                .body("<Delete><Object><Key>a</Key></Object></Delete>")
                .md5()
                .gives(200),
        )
        .ask(gone("a"));
    table
        .case("with a slash behind the bucket")
        .place("a", "x")
        .ask(deleting(&["a"]).to("/{bucket}/").gives(200))
        .ask(gone("a"));
    table
        .case("with a header that is of no use here")
        .place("a", "x")
        .ask(deleting(&["a"]).with("x-amz-bypass-governance-retention", "true").gives(200))
        .ask(gone("a"));
    table
        .case("in no bucket")
        .modes_are(Modes::Plain)
        .ask(deleting(&["a"]).to("/{other}").fails(404, "NoSuchBucket"));
}

fn digests(table: &mut Table) {
    let document = "<Delete><Object><Key>a</Key></Object></Delete>";
    for algorithm in ChecksumAlgorithm::ALL {
        let header = format!("x-amz-checksum-{}", algorithm.header_suffix());
        table
            .case(format!("protected by {}", algorithm.header_suffix().to_uppercase()))
            .modes_are(Modes::Plain)
            .place("a", "x")
            .ask(batch(document).with(&header, checksum(algorithm, document.as_bytes())).gives(200))
            .ask(gone("a"));
        table
            .case(format!("protected by another {}", algorithm.header_suffix().to_uppercase()))
            .modes_are(Modes::Plain)
            .place("a", "x")
            .ask(batch(document).with(&header, checksum(algorithm, b"else")).fails(400, "BadDigest"))
            .ask(get("a").gives(200));
    }
    table
        .case("protected by the signature's hash")
        .modes_are(Modes::Plain)
        .place("a", "x")
        .ask(batch(document).gives(200))
        .ask(gone("a"));
    table
        .case("protected by nothing")
        .modes_are(Modes::Plain)
        .place("a", "x")
        .ask(batch(document).payload(Payload::Unsigned).fails(400, "InvalidRequest"))
        .ask(get("a").gives(200));
    for (what, value, code) in [
        ("wrong", crate::body::content_md5(b"else"), "BadDigest"),
        ("no base64", "!!!!".to_owned(), "InvalidDigest"),
    ] {
        table
            .case(format!("protected by a Content-MD5 that is {what}"))
            .modes_are(Modes::Plain)
            .place("a", "x")
            .ask(batch(document).with("content-md5", value).fails(400, code))
            .ask(get("a").gives(200));
    }
}

fn malformed(table: &mut Table) {
    let many: String = (0..1001).map(|number| format!("<Object><Key>{number}</Key></Object>")).collect();
    let many = format!("<Delete>{many}</Delete>");
    let rows = [
        ("no body", ""),
        ("no XML", "hello"),
        ("an element that is not closed", "<Delete><Object><Key>a</Key></Object>"),
        ("another document", "<Tagging><TagSet/></Tagging>"),
        ("no object", "<Delete></Delete>"),
        ("an object without a key", "<Delete><Object></Object></Delete>"),
        ("1001 objects", &many),
    ];
    for (what, document) in rows {
        table
            .case(format!("malformed: {what}"))
            .modes_are(Modes::Plain)
            .place("a", "x")
            .ask(batch(document).md5().fails(400, "MalformedXML"))
            .ask(get("a").gives(200));
    }
}

fn conditional(table: &mut Table) {
    let tag = etag(b"x");
    let object = |key: &str, tag: &str| format!("<Object><Key>{key}</Key><ETag>{tag}</ETag></Object>");
    table
        .case("if the etag is the same")
        .place("a", "x")
        .ask(
            batch(&format!("<Delete>{}</Delete>", object("a", &tag)))
                .md5()
                .gives(200)
                .all("Deleted/Key", ["a"]),
        )
        .ask(gone("a"));
    table
        .case("if the etag is another")
        .place("a", "x")
        .ask(
            batch(&format!("<Delete>{}</Delete>", object("a", "\"0123\"")))
                .md5()
                .gives(200)
                .none("Deleted")
                .all("Error/Key", ["a"])
                .all("Error/Code", ["PreconditionFailed"]),
        )
        .ask(get("a").gives_body("x"));
    table
        .case("each by its own etag")
        .place("a", "x")
        .place("b", "x")
        .place("c", "x")
        .ask(
            batch(&format!(
                "<Delete><Quiet>true</Quiet>{}{}<Object><Key>c</Key></Object></Delete>",
                object("a", &tag),
                object("b", "\"0123\"")
            ))
            .md5()
            .gives(200)
            .none("Deleted")
            .all("Error/Key", ["b"])
            .all("Error/Code", ["PreconditionFailed"]),
        )
        .ask(gone("a"))
        .ask(get("b").gives_body("x"))
        .ask(gone("c"));
}

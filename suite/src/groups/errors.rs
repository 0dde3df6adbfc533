//! Error documents, addresses, and methods that are none.

use crate::call::{Call, bucket, call, delete, get, head, put};
use crate::case::{Modes, Table};

pub(super) fn cases(table: &mut Table) {
    documents(table);
    addresses(table);
    methods(table);
}

/// What every error document must hold.
fn documented(call: Call, resource: &str) -> Call {
    call.root("Error")
        .header_holds("content-type", "application/xml")
        .present("x-amz-request-id")
        .present("x-amz-id-2")
        .one("Resource", resource)
        .count("Code", 1)
        .count("Message", 1)
        .count("RequestId", 1)
        .count("HostId", 1)
        .request_id_is_told()
}

fn documents(table: &mut Table) {
    let rows: [(&str, Call, &str); 9] = [
        ("no key", get("none").fails(404, "NoSuchKey"), "/{bucket}/none"),
        ("an awkward key", get("a b/\u{e9}&<>\"'").fails(404, "NoSuchKey"), "/{bucket}/a b/\u{e9}&<>\"'"),
        ("no bucket", call("GET", "/{other}").fails(404, "NoSuchBucket"), "/{other}"),
        ("no bucket for a key", call("PUT", "/{other}/k").fails(404, "NoSuchBucket"), "/{other}/k"),
        ("no right", get("none").anonymous().fails(403, "AccessDenied"), "/{bucket}/none"),
        (
            "no such key id",
            get("none").keyed("AKNOBODY", "x").fails(403, "InvalidAccessKeyId"),
            "/{bucket}/none",
        ),
        (
            "a bad signature",
            get("none").keyed("{access-key}", "x").fails(403, "SignatureDoesNotMatch"),
            "/{bucket}/none",
        ),
        ("a bad number", bucket("GET", "max-keys=x").fails(400, "InvalidArgument"), "/{bucket}"),
        ("no tags", bucket("GET", "tagging").fails(404, "NoSuchTagSet"), "/{bucket}"),
    ];
    for (what, call, resource) in rows {
        table.case(format!("the document of {what}")).ask(documented(call, resource));
    }
    for (what, call, status) in [
        ("no key", head("none"), 404),
        ("no bucket", call("HEAD", "/{other}"), 404),
        ("no right", head("none").anonymous(), 403),
        ("a bad signature", head("none").keyed("{access-key}", "x"), 403),
    ] {
        table
            .case(format!("to a HEAD there is no document: {what}"))
            .ask(call.gives(status).gives_body("").present("x-amz-request-id"));
    }
    table.case("a bad number is named").ask(
        bucket("GET", "max-keys=x")
            .fails(400, "InvalidArgument")
            .one("ArgumentName", "max-keys")
            .one("ArgumentValue", "x"),
    );
    table
        .case("every answer has an id of its own")
        .ask(get("none").fails(404, "NoSuchKey").save("first", "x-amz-request-id"))
        .ask(get("none").fails(404, "NoSuchKey").differs("x-amz-request-id", "{first}"));
    table
        .case("success has an id, too")
        .ask(put("key", "x").present("x-amz-request-id").present("x-amz-id-2"))
        .ask(get("key").present("x-amz-request-id"))
        .ask(delete("key").present("x-amz-request-id"));
}

fn addresses(table: &mut Table) {
    let hosted = |call: Call, raw: &str| call.raw_path(raw).with("host", "{bucket}.localhost:{port}");
    table
        .case("host style: a key")
        .modes_are(Modes::PlainAndS3)
        .place("a/b c", "hello")
        .ask(hosted(get("unused"), "/a/b%20c").gives(200).gives_body("hello"))
        .ask(hosted(head("unused"), "/a/b%20c").gives(200));
    table
        .case("host style: put and delete")
        .ask(hosted(put("unused", "hello"), "/key").gives(200))
        .ask(get("key").gives_body("hello"))
        .ask(hosted(delete("unused"), "/key").gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
    table.case("host style: list").modes_are(Modes::PlainAndS3).place("key", "x").ask(
        hosted(bucket("GET", "list-type=2"), "/")
            .gives(200)
            .one("Name", "{bucket}")
            .all("Contents/Key", ["key"]),
    );
    table.case("host style: head of the bucket").ask(hosted(call("HEAD", "/"), "/").gives(200));
    table
        .case("host style: the name of the bucket in the path is a key")
        .ask(hosted(put("unused", "hello"), "/{bucket}/key").gives(200))
        .ask(get("{bucket}/key").gives_body("hello"));
    table
        .case("host style: an error names bucket and key")
        .ask(hosted(get("unused"), "/none").fails(404, "NoSuchKey").one("Resource", "/{bucket}/none"));
    table
        .case("a path is decoded once")
        .modes_are(Modes::PlainAndS3)
        .place("a%41", "percent")
        .place("aA", "letter")
        .ask(get("unused").raw_path("/{bucket}/a%2541").gives_body("percent"))
        .ask(get("unused").raw_path("/{bucket}/a%41").gives_body("letter"));
    table
        .case("a plus in a path is a plus")
        .modes_are(Modes::PlainAndS3)
        .place("a+b", "plus")
        .ask(get("unused").raw_path("/{bucket}/a+b").gives_body("plus"))
        .ask(get("unused").raw_path("/{bucket}/a%2Bb").gives_body("plus"))
        .ask(get("unused").raw_path("/{bucket}/a%20b").fails(404, "NoSuchKey"));
    table
        .case("an encoded slash is a slash")
        .modes_are(Modes::PlainAndS3)
        .place("a/b", "x")
        .ask(get("unused").raw_path("/{bucket}/a%2Fb").gives_body("x"));
    table
        .case("a path is not made shorter")
        .ask(put("a/../b", "dots").gives(200))
        .ask(put("a//b", "slashes").gives(200))
        .ask(get("b").fails(404, "NoSuchKey"))
        .ask(get("a/b").fails(404, "NoSuchKey"))
        .ask(get("a/../b").gives_body("dots"))
        .ask(get("a//b").gives_body("slashes"));
    table
        .case("hex digits of either case")
        .place("\u{e9}", "x")
        .ask(get("unused").raw_path("/{bucket}/%c3%a9").gives_body("x"))
        .ask(get("unused").raw_path("/{bucket}/%C3%A9").gives_body("x"));
    table
        .case("a key that is no UTF-8")
        .ask(get("unused").raw_path("/{bucket}/%ff").fails(400, "InvalidURI"));
}

fn methods(table: &mut Table) {
    for (method, path) in [
        ("POST", "/{bucket}/key"),
        ("PATCH", "/{bucket}/key"),
        ("PATCH", "/{bucket}"),
        ("PUT", "/"),
        ("DELETE", "/"),
    ] {
        table.case(format!("{method} of {path}")).ask(call(method, path).fails(405, "MethodNotAllowed"));
    }
}

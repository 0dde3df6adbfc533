//! The website configuration of a bucket: what is put is what is got.

use crate::call::{Call, bucket, call, get, head, put};
use crate::case::Table;

fn set(inner: &str) -> Call {
    bucket("PUT", "website").body(format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>")).md5()
}

const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

pub(super) fn cases(table: &mut Table) {
    let none = || bucket("GET", "website").fails(404, "NoSuchWebsiteConfiguration");
    let have = || bucket("GET", "website").gives(200).root("WebsiteConfiguration");
    table
        .case("put, get, delete")
        .ask(none())
        .ask(set(INDEX).gives(200))
        .ask(have().one("IndexDocument/Suffix", "index.html").none("ErrorDocument"))
        .ask(bucket("DELETE", "website").gives(204))
        .ask(none())
        .ask(bucket("DELETE", "website").gives(204));
    table
        .case("index and error documents")
        .ask(set(&format!("{INDEX}<ErrorDocument><Key>errors/404.html</Key></ErrorDocument>")).gives(200))
        .ask(have().one("IndexDocument/Suffix", "index.html").one("ErrorDocument/Key", "errors/404.html"));
    table
        .case("put replaces")
        .ask(set(&format!("{INDEX}<ErrorDocument><Key>e</Key></ErrorDocument>")).gives(200))
        .ask(set("<IndexDocument><Suffix>other.html</Suffix></IndexDocument>").gives(200))
        .ask(have().one("IndexDocument/Suffix", "other.html").none("ErrorDocument"));
    table
        .case("a bucket made again has none")
        .ask(set(INDEX).gives(200))
        .ask(call("DELETE", "/{bucket}").gives(204))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(none());
    for (what, body) in [
        ("no body", String::new()),
        ("no XML", "hello".to_owned()),
        ("another document", "<Tagging><TagSet/></Tagging>".to_owned()),
    ] {
        table
            .case(format!("malformed: {what}"))
            .ask(bucket("PUT", "website").body(body).md5().fails(400, "MalformedXML"))
            .ask(none());
    }
    for (what, inner) in [
        ("an index with a slash", "<IndexDocument><Suffix>a/index.html</Suffix></IndexDocument>"),
        ("an index that is empty", "<IndexDocument><Suffix></Suffix></IndexDocument>"),
    ] {
        table.case(format!("refused: {what}")).ask(set(inner).fails(400, "InvalidArgument")).ask(none());
    }
    table
        .case("somebody else may neither read nor write it")
        .ask(set(INDEX).gives(200))
        .ask(bucket("GET", "website").by_second().fails(403, "AccessDenied"))
        .ask(set(INDEX).by_second().fails(403, "AccessDenied"))
        .ask(bucket("DELETE", "website").by_second().fails(403, "AccessDenied"));
    table
        .case("the API of the bucket is not changed by it")
        .ask(set(INDEX).gives(200))
        .ask(put("index.html", "<p>index</p>").with("x-amz-acl", "public-read"))
        .ask(get("none").fails(404, "NoSuchKey").root("Error"))
        .ask(bucket("GET", "list-type=2").gives(200).all("Contents/Key", ["index.html"]));
    table
        .case("a place to send to is kept with an object")
        .ask(put("key", "x").with("x-amz-website-redirect-location", "http://example.test/there").gives(200))
        .ask(head("key").gives(200).has("x-amz-website-redirect-location", "http://example.test/there"))
        .ask(get("key").gives(200).gives_body("x"));
    for bad in ["there", "ftp://example.test/"] {
        table.case(format!("a place to send to that is none: {bad}")).ask(
            put("key", "x")
                .with("x-amz-website-redirect-location", bad)
                .fails(400, "InvalidRedirectLocation"),
        );
    }
}

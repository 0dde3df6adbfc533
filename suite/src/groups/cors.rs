//! CORS: the configuration of a bucket, preflight requests, and answers to other origins.

use crate::call::{Call, bucket, call, get, put};
use crate::case::{Case, Table};

const RULES: &str = "<CORSConfiguration>\
    <CORSRule><ID>first</ID><AllowedOrigin>http://exact.test</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
    <AllowedMethod>PUT</AllowedMethod><AllowedHeader>content-type</AllowedHeader><AllowedHeader>x-amz-*</AllowedHeader>\
    <ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-request-id</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>\
    <CORSRule><AllowedOrigin>http://*.suffix.test</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>\
    <CORSRule><AllowedOrigin>http://start*end.test</AllowedOrigin><AllowedMethod>DELETE</AllowedMethod></CORSRule>\
    </CORSConfiguration>";

const ANYBODY: &str = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
    <AllowedHeader>*</AllowedHeader></CORSRule></CORSConfiguration>";

fn set(document: &str) -> Call {
    bucket("PUT", "cors").body(document).md5()
}

fn preflight(key: &str, origin: &str, method: &str) -> Call {
    call("OPTIONS", format!("/{{bucket}}/{key}"))
        .anonymous()
        .with("origin", origin)
        .with("access-control-request-method", method)
}

/// A bucket with [`RULES`] and a public object.
fn prepared(case: &mut Case) -> &mut Case {
    case.ask(set(RULES).gives(200)).ask(put("key", "hello").with("x-amz-acl", "public-read"))
}

pub(super) fn cases(table: &mut Table) {
    configuration(table);
    malformed(table);
    preflights(table);
    answers(table);
}

fn configuration(table: &mut Table) {
    let none = || bucket("GET", "cors").fails(404, "NoSuchCORSConfiguration");
    table
        .case("put, get, delete")
        .ask(none())
        .ask(set(RULES).gives(200))
        .ask(
            bucket("GET", "cors")
                .gives(200)
                .root("CORSConfiguration")
                .count("CORSRule", 3)
                .all("CORSRule/ID", ["first"])
                .all(
                    "CORSRule/AllowedOrigin",
                    ["http://exact.test", "http://*.suffix.test", "http://start*end.test"],
                )
                .all("CORSRule/AllowedMethod", ["GET", "PUT", "GET", "DELETE"])
                .all("CORSRule/AllowedHeader", ["content-type", "x-amz-*"])
                .all("CORSRule/ExposeHeader", ["ETag", "x-amz-request-id"])
                .all("CORSRule/MaxAgeSeconds", ["300"]),
        )
        .ask(bucket("DELETE", "cors").gives(204))
        .ask(none())
        .ask(bucket("DELETE", "cors").gives(204));
    table
        .case("put replaces")
        .ask(set(RULES).gives(200))
        .ask(set(ANYBODY).gives(200))
        .ask(bucket("GET", "cors").gives(200).all("CORSRule/AllowedOrigin", ["*"]));
    table
        .case("a bucket made again has none")
        .ask(set(RULES).gives(200))
        .ask(call("DELETE", "/{bucket}").gives(204))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(none());
    for (method, code) in [("GET", "NoSuchBucket"), ("DELETE", "NoSuchBucket")] {
        table
            .case(format!("{method} of no bucket"))
            .ask(call(method, "/{other}").query("cors").fails(404, code));
    }
}

fn malformed(table: &mut Table) {
    let rule = |inner: &str| format!("<CORSConfiguration><CORSRule>{inner}</CORSRule></CORSConfiguration>");
    let rows = [
        ("no body", String::new(), "MalformedXML"),
        ("no XML", "hello".to_owned(), "MalformedXML"),
        ("no rule", "<CORSConfiguration></CORSConfiguration>".to_owned(), "MalformedXML"),
        ("no origin", rule("<AllowedMethod>GET</AllowedMethod>"), "MalformedXML"),
        ("no method", rule("<AllowedOrigin>*</AllowedOrigin>"), "MalformedXML"),
        (
            "a method that is not offered",
            rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>TRACE</AllowedMethod>"),
            "InvalidRequest",
        ),
        (
            "a method in lower case",
            rule("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>get</AllowedMethod>"),
            "InvalidRequest",
        ),
        (
            "two stars in an origin",
            rule("<AllowedOrigin>http://*.a.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"),
            "InvalidRequest",
        ),
        (
            "two stars in a header",
            rule(
                "<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*-*</AllowedHeader>",
            ),
            "InvalidRequest",
        ),
    ];
    for (what, document, code) in rows {
        table
            .case(format!("malformed: {what}"))
            .ask(set(&document).fails(400, code))
            .ask(bucket("GET", "cors").fails(404, "NoSuchCORSConfiguration"));
    }
}

fn preflights(table: &mut Table) {
    let rows = [
        ("http://exact.test", "GET", true),
        ("http://exact.test", "PUT", true),
        ("http://exact.test", "DELETE", false),
        ("http://exact.test", "HEAD", false),
        ("https://exact.test", "GET", false),
        ("http://exact.test.evil", "GET", false),
        ("http://a.suffix.test", "GET", true),
        ("http://a.b.suffix.test", "GET", true),
        ("http://suffix.test", "GET", false),
        ("http://startend.test", "DELETE", true),
        ("http://start-x-end.test", "DELETE", true),
        ("http://startend.test", "GET", false),
        ("null", "GET", false),
    ];
    for (origin, method, allowed) in rows {
        let ask = preflight("key", origin, method);
        let ask = if allowed {
            ask.gives(200)
                .gives_body("")
                .has("access-control-allow-origin", origin)
                .header_holds("access-control-allow-methods", method)
        } else {
            ask.fails(403, "AccessForbidden")
                .lacks("access-control-allow-origin")
                .lacks("access-control-allow-methods")
        };
        prepared(table.case(format!("preflight: {method} from {origin}"))).ask(ask);
    }
    let headers = |names: &str| {
        preflight("key", "http://exact.test", "PUT").with("access-control-request-headers", names)
    };
    for names in ["content-type", "Content-Type", "x-amz-meta-a, content-type", "X-Amz-Date"] {
        prepared(table.case(format!("preflight: headers {names}")))
            .ask(headers(names).gives(200).present("access-control-allow-headers"));
    }
    for names in ["authorization", "content-type, x-other"] {
        prepared(table.case(format!("preflight: headers {names}")))
            .ask(headers(names).fails(403, "AccessForbidden").lacks("access-control-allow-origin"));
    }
    prepared(table.case("preflight: a rule without headers allows none")).ask(
        preflight("key", "http://a.suffix.test", "GET")
            .with("access-control-request-headers", "content-type")
            .fails(403, "AccessForbidden"),
    );
    prepared(table.case("preflight: what is exposed, and for how long")).ask(
        preflight("key", "http://exact.test", "GET")
            .gives(200)
            .has("access-control-expose-headers", "ETag, x-amz-request-id")
            .has("access-control-max-age", "300")
            .header_holds("vary", "Origin"),
    );
    prepared(table.case("preflight: of a key that is not there"))
        .ask(preflight("none", "http://exact.test", "GET").gives(200));
    prepared(table.case("preflight: of the bucket"))
        .ask(preflight("", "http://exact.test", "GET").to("/{bucket}").gives(200));
    prepared(table.case("preflight: without an origin")).ask(
        call("OPTIONS", "/{bucket}/key")
            .anonymous()
            .with("access-control-request-method", "GET")
            .fails(400, "BadRequest"),
    );
    prepared(table.case("preflight: without a method")).ask(
        call("OPTIONS", "/{bucket}/key")
            .anonymous()
            .with("origin", "http://exact.test")
            .fails(400, "BadRequest"),
    );
    table
        .case("preflight: where there is no configuration")
        .ask(preflight("key", "http://exact.test", "GET").fails(403, "AccessForbidden"));
    table
        .case("preflight: everybody")
        .ask(set(ANYBODY).gives(200))
        .ask(preflight("key", "http://any.test", "GET").gives(200).has("access-control-allow-origin", "*"));
    prepared(table.case("preflight: of a presigned PUT")).ask(
        put("key", "")
            .presigned(600)
            .sent_as("OPTIONS")
            .then_set("origin", "http://exact.test")
            .then_set("access-control-request-method", "PUT")
            .gives(200)
            .has("access-control-allow-origin", "http://exact.test"),
    );
}

fn answers(table: &mut Table) {
    let from = |call: Call, origin: &str| call.with("origin", origin);
    let allowed = |call: Call, origin: &str, method: &str| {
        from(call, origin)
            .has("access-control-allow-origin", origin)
            .header_holds("access-control-allow-methods", method)
    };
    prepared(table.case("an answer to an origin that is allowed")).ask(
        allowed(get("key").anonymous(), "http://exact.test", "GET")
            .gives(200)
            .gives_body("hello")
            .has("access-control-expose-headers", "ETag, x-amz-request-id")
            .header_holds("vary", "Origin"),
    );
    prepared(table.case("an answer to a signed request"))
        .ask(allowed(get("key"), "http://a.suffix.test", "GET").gives(200));
    prepared(table.case("an answer without an origin")).ask(
        get("key").gives(200).lacks("access-control-allow-origin").lacks("access-control-allow-methods"),
    );
    prepared(table.case("an origin that is not allowed")).ask(
        from(get("key").anonymous(), "http://other.test")
            .gives(200)
            .gives_body("hello")
            .lacks("access-control-allow-origin"),
    );
    prepared(table.case("an error to an origin that is allowed"))
        .ask(allowed(get("none"), "http://exact.test", "GET").fails(404, "NoSuchKey"));
    prepared(table.case("a refusal to an origin that is allowed"))
        .ask(allowed(put("key", "x").anonymous(), "http://exact.test", "PUT").fails(403, "AccessDenied"));
    prepared(table.case("a presigned PUT from an origin that is allowed"))
        .ask(
            put("new", "by a browser")
                .presigned(600)
                .then_set("origin", "http://exact.test")
                .gives(200)
                .has("access-control-allow-origin", "http://exact.test"),
        )
        .ask(get("new").gives_body("by a browser"));
    table
        .case("everybody is answered with a star")
        .ask(set(ANYBODY).gives(200))
        .ask(put("key", "hello"))
        .ask(from(get("key"), "http://any.test").gives(200).has("access-control-allow-origin", "*"));
    table.case("where there is no configuration, an origin changes nothing").ask(put("key", "hello")).ask(
        from(get("key"), "http://any.test")
            .gives(200)
            .gives_body("hello")
            .lacks("access-control-allow-origin"),
    );
    prepared(table.case("a configuration that is deleted no longer counts"))
        .ask(bucket("DELETE", "cors").gives(204))
        .ask(from(get("key"), "http://exact.test").gives(200).lacks("access-control-allow-origin"));
}

//! Presigned URLs, of SigV4 and what is left of SigV2, and the headers that they may override.

use crate::body::etag;
use crate::call::{Call, bucket, delete, get, head, put};
use crate::case::{Modes, Table};

const OVERRIDES: &[(&str, &str, &str)] = &[
    ("response-content-type", "content-type", "text/x-other; charset=x"),
    ("response-content-language", "content-language", "tlh"),
    ("response-expires", "expires", "Thu, 01 Dec 2044 16:00:00 GMT"),
    ("response-cache-control", "cache-control", "no-store"),
    ("response-content-disposition", "content-disposition", "attachment; filename=\"\u{e9} b.txt\""),
    ("response-content-encoding", "content-encoding", "br"),
];

pub(super) fn cases(table: &mut Table) {
    operations(table);
    times(table);
    tampered(table);
    overrides(table);
    version_2(table);
}

fn operations(table: &mut Table) {
    let url = |call: Call| call.presigned(600);
    table
        .case("GET")
        .place("key", "hello")
        .ask(url(get("key")).gives(200).gives_body("hello").has("etag", etag(b"hello")));
    table
        .case("GET of a range")
        .place("key", "hello")
        .ask(url(get("key")).then_set("range", "bytes=1-2").gives(206).gives_body("el"));
    table
        .case("GET with a condition")
        .place("key", "hello")
        .ask(url(get("key")).then_set("if-none-match", &etag(b"hello")).gives(304));
    table.case("HEAD").place("key", "hello").ask(url(head("key")).gives(200).has("content-length", "5"));
    table.case("GET of nothing").ask(url(get("none")).fails(404, "NoSuchKey"));
    table
        .case("GET of an awkward key")
        .place("a b/\u{e9}+%41&c=d?e#f", "odd")
        .ask(url(get("a b/\u{e9}+%41&c=d?e#f")).gives(200).gives_body("odd"));
    table
        .case("PUT")
        .modes_are(Modes::Plain)
        .ask(url(put("key", "hello")).gives(200).has("etag", etag(b"hello")))
        .ask(get("key").gives_body("hello"));
    table
        .case("PUT with headers that are signed")
        .modes_are(Modes::Plain)
        .ask(
            url(put("key", "hello").with("content-type", "text/x-signed").with("x-amz-meta-a", "b"))
                .gives(200),
        )
        .ask(head("key").has("content-type", "text/x-signed").has("x-amz-meta-a", "b"));
    table
        .case("PUT with a type that is not signed")
        .modes_are(Modes::Plain)
        .ask(url(put("key", "hello")).then_set("content-type", "text/x-free").gives(200))
        .ask(head("key").has("content-type", "text/x-free"));
    table
        .case("DELETE")
        .place("key", "hello")
        .ask(url(delete("key")).gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("list")
        .modes_are(Modes::PlainAndS3)
        .place_keys(&["a", "b/c"])
        .ask(url(bucket("GET", "list-type=2&delimiter=%2F")).gives(200).all("Contents/Key", ["a"]));
}

fn times(table: &mut Table) {
    let rows = [
        ("expired", -700, 600, 403, "AccessDenied"),
        ("almost expired", -500, 600, 200, ""),
        ("of yesterday, good for a week", -86_400, 604_800, 200, ""),
        ("of more than 15 minutes ago, good for an hour", -1800, 3600, 200, ""),
        ("of tomorrow", 86_400, 600, 403, "AccessDenied"),
        ("good for a second", 0, 1, 200, ""),
        ("good for seven days", 0, 604_800, 200, ""),
    ];
    for (what, off, secs, status, code) in rows {
        // What lives for a second only cannot be certain to arrive in time: its clock is a little ahead.
        let off = if secs == 1 { 5 } else { off };
        table
            .case(format!("a URL {what}"))
            .place("key", "hello")
            .ask(get("key").presigned(secs).clock_off(off).fails(status, code));
    }
    // The manual says 400; that it is refused with 403 is what suites look at.
    for (bad, status) in [("604801", 403), ("0", 403), ("-1", 403), ("x", 400), ("", 400)] {
        table.case(format!("X-Amz-Expires={bad}")).place("key", "hello").ask(
            get("key")
                .presigned(600)
                .then_in_query("X-Amz-Expires=600", &format!("X-Amz-Expires={bad}"))
                .gives(status),
        );
    }
}

fn tampered(table: &mut Table) {
    let url = || get("key").presigned(600);
    let rows: [(&str, Call, u16, &str); 11] = [
        ("another key", url().then_in_path("/key", "/kez"), 403, "SignatureDoesNotMatch"),
        (
            "one more parameter",
            url().then_in_query("X-Amz-Date", "x=y&X-Amz-Date"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("a longer life", url().then_in_query("Expires=600", "Expires=601"), 403, "SignatureDoesNotMatch"),
        (
            "no signature",
            url().then_in_query("&X-Amz-Signature=", "&Y="),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            "no credential",
            url().then_in_query("X-Amz-Credential=", "Y="),
            400,
            "AuthorizationQueryParametersError",
        ),
        ("no date", url().then_in_query("X-Amz-Date=", "Y="), 400, "AuthorizationQueryParametersError"),
        ("no life", url().then_in_query("X-Amz-Expires=", "Y="), 400, "AuthorizationQueryParametersError"),
        (
            "no list of headers",
            url().then_in_query("X-Amz-SignedHeaders=", "Y="),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            "another algorithm",
            url().then_in_query("SHA256", "SHA512"),
            400,
            "AuthorizationQueryParametersError",
        ),
        ("an unknown key", url().keyed("AKNOBODY", "x"), 403, "InvalidAccessKeyId"),
        ("another secret", url().keyed("{access-key}", "x"), 403, "SignatureDoesNotMatch"),
    ];
    for (what, call, status, code) in rows {
        table.case(format!("tampered: {what}")).place("key", "hello").ask(call.fails(status, code));
    }
    table
        .case("tampered: another method")
        .modes_are(Modes::Plain)
        .ask(put("key", "x"))
        .ask(get("key").presigned(600).sent_as("DELETE").fails(403, "SignatureDoesNotMatch"))
        .ask(get("key").gives_body("x"));
    table
        .case("tampered: a header of S3's that is not signed")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").presigned(600).then_set("x-amz-meta-a", "b").fails(403, "AccessDenied"));
    table.case("signed in the query and in the header").place("key", "hello").ask(
        get("key")
            .presigned(600)
            .then_set("authorization", "AWS4-HMAC-SHA256 Credential=x")
            .fails(400, "InvalidArgument"),
    );
}

fn overrides(table: &mut Table) {
    for (parameter, header, value) in OVERRIDES {
        let kept = &[("content-type", "text/plain"), ("cache-control", "max-age=1")];
        table
            .case(format!("{parameter} in a URL"))
            .place_with("key", "x", kept)
            .ask(get("key").param(parameter, *value).presigned(600).gives(200).has(header, *value))
            .ask(head("key").param(parameter, *value).presigned(600).gives(200).has(header, *value))
            .ask(get("key").gives(200).differs(header, value));
        table
            .case(format!("{parameter} signed in the header"))
            .place_with("key", "x", kept)
            .ask(get("key").param(parameter, *value).gives(200).has(header, *value));
        table
            .case(format!("{parameter} anonymously"))
            .modes_are(Modes::Plain)
            .ask(put("key", "x").with("x-amz-acl", "public-read"))
            .ask(get("key").anonymous().gives(200))
            .ask(get("key").anonymous().param(parameter, *value).fails(400, "InvalidRequest"));
    }
    let mut all = get("key").with("range", "bytes=0-1");
    for (parameter, header, value) in OVERRIDES {
        all = all.param(parameter, *value).has(header, *value);
    }
    table.case("all overrides on a range").place("key", "hello").ask(all.gives(206).gives_body("he"));
}

fn version_2(table: &mut Table) {
    table
        .case("SigV2: GET")
        .place("key", "hello")
        .ask(get("key").presigned_v2(600).gives(200).gives_body("hello"));
    table
        .case("SigV2: HEAD")
        .place("key", "hello")
        .ask(head("key").presigned_v2(600).gives(200).has("content-length", "5"));
    table
        .case("SigV2: GET of an awkward key")
        .place("a b/\u{e9}+c", "odd")
        .ask(get("a b/\u{e9}+c").presigned_v2(600).gives(200).gives_body("odd"));
    table.case("SigV2: an override").place("key", "hello").ask(
        get("key")
            .param("response-content-type", "text/x-two")
            .presigned_v2(600)
            .gives(200)
            .has("content-type", "text/x-two"),
    );
    table
        .case("SigV2: PUT")
        .ask(put("key", "by anybody").presigned_v2(600).gives(200).has("etag", etag(b"by anybody")))
        .ask(get("key").gives(200).gives_body("by anybody"));
    table
        .case("SigV2: DELETE")
        .place("key", "hello")
        .ask(delete("key").presigned_v2(600).gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
    let url = || get("key").presigned_v2(600);
    let rows = [
        ("expired", get("key").presigned_v2(-5), 403, "AccessDenied"),
        ("expired PUT", put("key", "late").presigned_v2(-5), 403, "AccessDenied"),
        (
            "another type than was signed",
            put("key", "x").presigned_v2(600).then_set("content-type", "text/html"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("another key", url().then_in_path("/key", "/kez"), 403, "SignatureDoesNotMatch"),
        (
            "another signature",
            url().then_in_query("Signature=", "Signature=AAAA"),
            403,
            "SignatureDoesNotMatch",
        ),
        // Without Expires: AWS and others differ in the code.
        ("an unknown key", url().keyed("AKNOBODY", "x"), 403, "InvalidAccessKeyId"),
        ("another secret", url().keyed("{access-key}", "x"), 403, "SignatureDoesNotMatch"),
    ];
    for (what, call, status, code) in rows {
        table.case(format!("SigV2: {what}")).place("key", "hello").ask(call.fails(status, code));
    }
}

//! Signatures in the Authorization header, what is wrong with them, and who may do what without one.

use crate::call::{Call, bucket, call, delete, get, head, put};
use crate::case::{Modes, Table};

pub(super) fn cases(table: &mut Table) {
    good(table);
    bad(table);
    malformed(table);
    strangers(table);
    expected_owner(table);
}

fn good(table: &mut Table) {
    for region in ["us-east-1", "eu-central-1", "US", "aws-global"] {
        table
            .case(format!("signed for the region {region}"))
            .place("key", "x")
            .ask(get("key").in_region(region).gives(200));
    }
    for off in [-800, 800] {
        table
            .case(format!("a clock that is {off} s off"))
            .place("key", "x")
            .ask(get("key").clock_off(off).gives(200));
    }
    table
        .case("headers that are not signed may be added")
        .place("key", "x")
        .ask(get("key").then_set("user-agent", "suite").then_set("accept", "*/*").gives(200));
    table
        .case("a signed header with spaces in it")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").with("x-amz-meta-spaces", "a   b").gives(200))
        .ask(head("key").has("x-amz-meta-spaces", "a   b"));
    table.case("a query in no order, with empty values").modes_are(Modes::PlainAndS3).place("b", "x").ask(
        bucket("GET", "prefix=b&list-type=2&delimiter=&max-keys=5").gives(200).all("Contents/Key", ["b"]),
    );
}

fn bad(table: &mut Table) {
    let rows: [(&str, Call, u16, &str); 11] = [
        ("an unknown key", get("key").keyed("AKNOBODY", "x"), 403, "InvalidAccessKeyId"),
        ("another secret", get("key").keyed("{access-key}", "x"), 403, "SignatureDoesNotMatch"),
        ("no secret", get("key").keyed("{access-key}", ""), 403, "SignatureDoesNotMatch"),
        ("a clock that is late", get("key").clock_off(-1000), 403, "RequestTimeTooSkewed"),
        ("a clock that is early", get("key").clock_off(1000), 403, "RequestTimeTooSkewed"),
        ("a clock of another year", get("key").clock_off(-40_000_000), 403, "RequestTimeTooSkewed"),
        ("another path", get("key").then_in_path("/key", "/kez"), 403, "SignatureDoesNotMatch"),
        ("another method", get("key").sent_as("DELETE"), 403, "SignatureDoesNotMatch"),
        (
            "another header",
            get("key").with("x-amz-meta-a", "b").then_set("x-amz-meta-a", "c"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("another query", get("key").query("a=b").then_in_query("a=b", "a=c"), 403, "SignatureDoesNotMatch"),
        (
            "a header of S3's that is not signed",
            get("key").then_set("x-amz-meta-a", "b"),
            403,
            "AccessDenied",
        ),
    ];
    for (what, call, status, code) in rows {
        table.case(format!("refused: {what}")).place("key", "x").ask(call.fails(status, code));
    }
    table
        .case("refused: a HEAD, without a body")
        .place("key", "x")
        .ask(head("key").keyed("{access-key}", "x").gives(403).gives_body(""));
    table
        .case("refused: a PUT, of which nothing is kept")
        .modes_are(Modes::Plain)
        .ask(put("key", "x").keyed("{access-key}", "x").fails(403, "SignatureDoesNotMatch"))
        .ask(get("key").fails(404, "NoSuchKey"));
}

fn malformed(table: &mut Table) {
    const AUTHORIZATION: &str = "authorization";
    let set = |value: &str| get("key").then_set(AUTHORIZATION, value);
    let changed = |from: &str, to: &str| get("key").then_in_header(AUTHORIZATION, from, to);
    let rows: [(&str, Call, u16, &str); 12] = [
        ("empty", set(""), 400, "InvalidArgument"),
        ("another scheme", set("Basic YTpi"), 400, "InvalidArgument"),
        ("only a scheme", set("AWS4-HMAC-SHA256"), 400, "AuthorizationHeaderMalformed"),
        ("no credential", changed("Credential=", "Cred="), 400, "AuthorizationHeaderMalformed"),
        ("no list of headers", changed("SignedHeaders=", "Headers="), 400, "AuthorizationHeaderMalformed"),
        ("no signature", changed("Signature=", "Sig="), 400, "AuthorizationHeaderMalformed"),
        (
            "a scope of four parts",
            changed("/s3/aws4_request", "/aws4_request"),
            400,
            "AuthorizationHeaderMalformed",
        ),
        ("another service", changed("/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed"),
        ("another end", changed("aws4_request", "aws5_request"), 400, "AuthorizationHeaderMalformed"),
        ("no date", get("key").then_remove("x-amz-date"), 403, "AccessDenied"),
        ("no hash of the body", get("key").then_remove("x-amz-content-sha256"), 400, "InvalidRequest"),
        (
            "no hash in the header of the body's hash",
            get("key").then_set("x-amz-content-sha256", "hello"),
            400,
            "InvalidArgument",
        ),
    ];
    for (what, call, status, code) in rows {
        table.case(format!("malformed: {what}")).place("key", "x").ask(call.fails(status, code));
    }
}

/// What a bucket's owner may do and nobody else, with the name of each.
fn private() -> Vec<(&'static str, Call)> {
    vec![
        ("get", get("key")),
        ("get nothing", get("none")),
        ("head", head("key")),
        ("put", put("key", "mine")),
        ("delete", delete("key")),
        ("list", bucket("GET", "list-type=2")),
        ("list, first version", bucket("GET", "")),
        ("list uploads", bucket("GET", "uploads")),
        ("head of the bucket", call("HEAD", "/{bucket}")),
        ("location", bucket("GET", "location")),
        ("delete the bucket", call("DELETE", "/{bucket}")),
        ("acl of the bucket", bucket("GET", "acl")),
        ("acl of the object", get("key").query("acl")),
        ("tags of the object", get("key").query("tagging")),
        ("begin an upload", call("POST", "/{bucket}/key").query("uploads")),
        ("set the acl of the bucket", bucket("PUT", "acl").with("x-amz-acl", "public-read")),
        ("set cors", bucket("PUT", "cors").body("<CORSConfiguration/>").md5()),
    ]
}

fn strangers(table: &mut Table) {
    for (what, call) in private() {
        let call = call.fails(403, "AccessDenied");
        table
            .case(format!("another account may not: {what}"))
            .place("key", "x")
            .ask(call.clone().by_second())
            .ask(get("key").gives_body("x"));
        table
            .case(format!("nobody may anonymously: {what}"))
            .place("key", "x")
            .ask(call.anonymous())
            .ask(get("key").gives_body("x"));
    }
    table
        .case("anonymously no bucket is told from a private one")
        .ask(call("GET", "/{bucket}").anonymous().fails(403, "AccessDenied"))
        .ask(call("GET", "/{other}").anonymous().fails(404, "NoSuchBucket"));
}

fn expected_owner(table: &mut Table) {
    const HEADER: &str = "x-amz-expected-bucket-owner";
    table
        .case("another expected owner, anonymously, where everybody may write")
        .modes_are(Modes::Plain)
        .without_bucket()
        .ask(call("PUT", "/{bucket}").with("x-amz-acl", "public-read-write"))
        .ask(put("key", "x").anonymous().with(HEADER, "999999999999").fails(403, "AccessDenied"))
        .ask(bucket("GET", "").anonymous().with(HEADER, "999999999999").fails(403, "AccessDenied"));
    let calls: Vec<(&str, Call)> = vec![
        ("get", get("key")),
        ("head", head("key")),
        ("put", put("new", "x")),
        ("delete", delete("key")),
        ("list", bucket("GET", "list-type=2")),
        ("head of the bucket", call("HEAD", "/{bucket}")),
        ("location", bucket("GET", "location")),
        ("list uploads", bucket("GET", "uploads")),
        ("begin an upload", call("POST", "/{bucket}/key").query("uploads")),
    ];
    for (what, call) in calls {
        table
            .case(format!("the expected owner: {what}"))
            .modes_are(Modes::PlainAndS3)
            .place("key", "x")
            .ask(call.clone().with(HEADER, "{owner}"));
        table
            .case(format!("another expected owner: {what}"))
            .modes_are(Modes::PlainAndS3)
            .place("key", "x")
            .ask(call.with(HEADER, "999999999999").fails(403, "AccessDenied"))
            .ask(get("key").gives_body("x"));
    }
}

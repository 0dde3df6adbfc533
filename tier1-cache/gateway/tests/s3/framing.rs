//! Hostile rows of HTTP itself, of presigned URLs, forms and parameters: request → answer.

use std::time::{Duration, Instant};

use fallthrough_object::Timestamp;

use crate::client::{Client, Reply};
use crate::hostile::{CANARY, Row};
use crate::world::{MAIN, World};

/// Longest time that any of these may take.
const LIMIT: Duration = Duration::from_secs(1);

async fn timed(client: &Client, what: &'static str, text: &str) -> Reply {
    #[expect(clippy::disallowed_methods, reason = "the wall clock is what a hostile client would waste")]
    let began = Instant::now();
    let reply = client.raw(text).await;
    assert!(began.elapsed() < LIMIT, "{what} took {:?}", began.elapsed());
    reply
}

/// What is refused before anything is routed.
pub(crate) async fn rows(world: &World) -> Vec<Row> {
    let put = |headers: &str, body: &str| {
        format!("PUT {} HTTP/1.1\r\nhost: {{host}}\r\n{headers}\r\n{body}", CANARY.0)
    };
    let long_line = format!("GET /photos/{} HTTP/1.1\r\nhost: {{host}}\r\n\r\n", "k".repeat(70_000));
    let rows: Vec<(&'static str, String, u16, &'static str)> = vec![
        ("lengths in a list", put("content-length: 5, 5\r\n", "hello"), 400, "InvalidRequest"),
        (
            "two lengths that are the same",
            put("content-length: 5\r\ncontent-length: 5\r\n", "hello"),
            400,
            "InvalidRequest",
        ),
        ("a length with a sign", put("content-length: +5\r\n", "hello"), 400, "InvalidRequest"),
        ("a length in hex", put("content-length: 0x5\r\n", "hello"), 400, "InvalidRequest"),
        ("a length that is no number", put("content-length: five\r\n", "hello"), 400, "InvalidRequest"),
        ("an empty length", put("content-length: \r\n", ""), 400, "InvalidRequest"),
        (
            "a length past all bounds",
            put("content-length: 99999999999999999999\r\n", ""),
            400,
            "InvalidRequest",
        ),
        ("white space in front of a colon", put("content-length : 5\r\n", "hello"), 400, "InvalidRequest"),
        (
            "white space in front of a name",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "a line feed alone",
            "GET /photos/canary HTTP/1.1\r\nhost: {host}\nx: y\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "a line feed alone behind the target",
            "GET /photos/canary HTTP/1.1\nhost: {host}\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "a carriage return alone",
            "GET / HTTP/1.1\r\nhost: a\rx: y\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        ("a zero byte in a value", "GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("a folded length", put("content-length:\r\n 5\r\n", "hello"), 400, "InvalidRequest"),
        ("two codings", put("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400, "InvalidRequest"),
        (
            "chunked, and not last",
            put("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
            400,
            "InvalidRequest",
        ),
        (
            "chunked twice",
            put("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
            "InvalidRequest",
        ),
        (
            "chunked with a length in front",
            put("content-length: 0\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            400,
            "InvalidRequest",
        ),
        (
            "chunked in HTTP/1.0",
            "PUT /photos/canary HTTP/1.0\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            400,
            "InvalidRequest",
        ),
        ("a version that is none", "GET / HTTP/9.9\r\nhost: a\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        (
            "a space in the target",
            "GET /photos/can ary HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        ("a line that is too long", long_line, 400, "RequestHeaderSectionTooLarge"),
        (
            "a method that is too strange",
            "G(T / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
    ];
    send(world, rows).await
}

/// The HTTP layer refuses what it cannot read without asking anybody. Its answer has a document all the same, on a
/// connection that has served other requests, too; and what merely looks like such an answer is left alone.
#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_document_and_nothing_else_is_touched() {
    let world = World::new().await;
    world.public_bucket("photos").await;
    let (main, anyone) = (world.main(), world.anonymous());
    // In whichever slices it is written, each begins like a refusal.
    let line = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}", " ".repeat(17));
    assert_eq!(line.len(), 64);
    let body = line.repeat(16_384);
    assert_eq!(main.put("/photos/alike", body.as_bytes()).await.status, 200);
    assert_eq!(main.put("/photos/small", line.as_bytes()).await.status, 200);
    for (key, want) in [("alike", &body), ("small", &line)] {
        let reply = anyone.get(&format!("/photos/{key}")).await;
        assert!(reply.status == 200 && reply.body == want.as_bytes(), "{key}: {} bytes", reply.body.len());
    }
    for method in ["GET", "HEAD"] {
        let bad = format!("{method} /photos/small HTTP/1.1\r\nhost : {{host}}\r\n\r\n");
        let reply = anyone.raw(&bad).await;
        assert_eq!((reply.status, reply.header("connection")), (400, "close"), "{method}");
        assert_eq!(reply.header("content-type"), "application/xml", "{method}");
        assert!(!reply.header("date").is_empty() && !reply.header("x-amz-request-id").is_empty(), "{method}");
        assert_eq!(reply.body.is_empty(), method == "HEAD", "{}", reply.text());
    }
    // Behind a good one on the same connection.
    let good = "GET /photos/small HTTP/1.1\r\nhost: {host}\r\n\r\n";
    let [first, second] = anyone.raw_twice(good, "GET /photos/small HTTP/1.1\r\nhost : a\r\n\r\n").await;
    assert!(first.status == 200 && first.body == line.as_bytes(), "{}", first.text());
    assert_eq!((second.status, second.code().as_str()), (400, "InvalidRequest"));
    // A head that goes on for long is answered, and not reset.
    let long = format!("GET /photos/small HTTP/1.1\r\nhost: {{host}}\r\nx: {}\r\n\r\n", "y".repeat(700_000));
    let reply = anyone.raw(&long).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "RequestHeaderSectionTooLarge"));
}

async fn send(world: &World, texts: Vec<(&'static str, String, u16, &'static str)>) -> Vec<Row> {
    let anyone = world.anonymous();
    let mut rows = Vec::new();
    for (what, text, status, code) in texts {
        rows.push(Row { what, reply: timed(&anyone, what, &text).await, status, code });
    }
    rows
}

/// Presigned URLs, authentication and parameters.
pub(crate) async fn presigned_rows(world: &World) -> Vec<Row> {
    let main = world.main();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: {{host}}\r\n\r\n");
    let life = Duration::from_secs(60);
    let good = main.presign("GET", CANARY.0, "", life);
    let of_put = main.presign("PUT", "/photos/other", "", life);
    let now = world.clock.now();
    let late = world.main().at(Timestamp(now.0 - 120_000)).presign("GET", CANARY.0, "", life);
    let early = world.main().at(Timestamp(now.0 + 3_600_000)).presign("GET", CANARY.0, "", life);
    let zero = "0".repeat(64);
    let rows: Vec<(&'static str, String, u16, &'static str)> = vec![
        ("a presigned URL whose time is over", get(&late), 403, "AccessDenied"),
        ("a presigned URL of the future", get(&early), 403, "AccessDenied"),
        (
            "a presigned URL for another key",
            get(&good.replace("canary", "canarz")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "a presigned URL for another method",
            format!("DELETE {good} HTTP/1.1\r\nhost: {{host}}\r\n\r\n"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            "a presigned URL with one parameter more",
            get(&format!("{good}&versionId=null")),
            403,
            "SignatureDoesNotMatch",
        ),
        ("a presigned life of nothing", get(&good.replace("Expires=60", "Expires=0")), 403, "AccessDenied"),
        (
            "a presigned life below nothing",
            get(&good.replace("Expires=60", "Expires=-60")),
            403,
            "AccessDenied",
        ),
        (
            "a presigned life that is no number",
            get(&good.replace("Expires=60", "Expires=ever")),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            "a presigned signature twice",
            get(&format!("{good}&X-Amz-Signature={zero}")),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            "a presigned URL and a header",
            format!(
                "GET {good} HTTP/1.1\r\nhost: {{host}}\r\nauthorization: AWS4-HMAC-SHA256 Credential=a\r\n\r\n"
            ),
            400,
            "InvalidArgument",
        ),
        (
            "a presigned PUT with an ACL that was not signed",
            format!(
                "PUT {of_put} HTTP/1.1\r\nhost: {{host}}\r\nx-amz-acl: public-read\r\ncontent-length: 1\r\n\r\nx"
            ),
            403,
            "AccessDenied",
        ),
        (
            "a presigned PUT with a copy that was not signed",
            format!(
                "PUT {of_put} HTTP/1.1\r\nhost: {{host}}\r\nx-amz-copy-source: /photos/canary\r\ncontent-length: 0\r\n\r\n"
            ),
            403,
            "AccessDenied",
        ),
        ("a key of nobody", get(&good.replace(MAIN.0, "FTNOBODY")), 403, "InvalidAccessKeyId"),
        (
            "asymmetric signatures",
            get(&good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
            501,
            "NotImplemented",
        ),
        (
            "an unknown algorithm",
            get(&good.replace("AWS4-HMAC-SHA256", "NONE")),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            "an empty credential",
            get(&good.replace(&format!("Credential={}", MAIN.0), "Credential=")),
            400,
            "AuthorizationQueryParametersError",
        ),
        ("nobody reads what is private", get(CANARY.0), 403, "AccessDenied"),
        ("nobody lists what is private", get("/photos?list-type=2"), 403, "AccessDenied"),
        ("nobody has buckets", get("/"), 200, ""),
        (
            "nobody writes",
            format!("PUT {} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: 1\r\n\r\nx", CANARY.0),
            403,
            "AccessDenied",
        ),
        (
            "nobody writes with chunks that nobody signed",
            format!(
                "PUT {} HTTP/1.1\r\nhost: {{host}}\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\ncontent-encoding: aws-chunked\r\nx-amz-decoded-content-length: 1\r\ncontent-length: 11\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                CANARY.0
            ),
            403,
            "AccessDenied",
        ),
        (
            "nobody deletes",
            format!("DELETE {} HTTP/1.1\r\nhost: {{host}}\r\n\r\n", CANARY.0),
            403,
            "AccessDenied",
        ),
        (
            "nobody deletes many",
            "POST /photos?delete HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            403,
            "AccessDenied",
        ),
        (
            "nobody sets rules for pages",
            "PUT /photos?cors HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            403,
            "AccessDenied",
        ),
        (
            "nobody sets rules for expiry",
            "PUT /photos?lifecycle HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n".to_owned(),
            403,
            "AccessDenied",
        ),
        (
            "an archive to unpack",
            format!(
                "PUT {} HTTP/1.1\r\nhost: {{host}}\r\nx-amz-meta-snowball-auto-extract: true\r\ncontent-length: 1\r\n\r\nx",
                CANARY.0
            ),
            403,
            "AccessDenied",
        ),
        ("an escape of nothing in a parameter", get("/photos?prefix=%"), 400, "InvalidURI"),
        ("a parameter that is no UTF-8", get("/photos?prefix=%ff"), 400, "InvalidURI"),
    ];
    let mut rows = send(world, rows).await;
    let page = |query: &'static str| (query, main.call("GET", "/photos").query(query));
    for (what, call) in [
        page("list-type=2&max-keys=-1"),
        page("list-type=2&max-keys=99999999999999999999"),
        page("list-type=2&max-keys=many"),
        page("list-type=2&continuation-token=!"),
        page("list-type=2&encoding-type=base64"),
    ] {
        rows.push(Row { what, reply: call.send().await, status: 400, code: "InvalidArgument" });
    }
    // A rule for pages cannot end a header line.
    let rule = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
        <ExposeHeader>a&#13;&#10;set-cookie: b</ExposeHeader></CORSRule></CORSConfiguration>";
    rows.push(Row {
        what: "a rule for pages that ends a header line",
        reply: main.call("PUT", "/photos").query("cors").body(rule.as_bytes()).send().await,
        status: 400,
        code: "InvalidRequest",
    });
    rows.push(Row {
        what: "an entity that grows",
        reply: main
            .call("PUT", "/photos")
            .query("cors")
            .body(b"<!DOCTYPE a [<!ENTITY b \"cc\">]><CORSConfiguration>&b;</CORSConfiguration>")
            .send()
            .await,
        status: 400,
        code: "MalformedXML",
    });
    rows
}

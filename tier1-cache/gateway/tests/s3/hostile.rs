//! Hostile requests: each gets its code, and nothing else happens.

use std::time::Duration;

use fallthrough_object::Timestamp;
use fallthrough_wire::sigv4::Credentials;

use crate::client::{Canary, Mode, Reply};
use crate::world::{MAIN, World};

/// The canary: an object that must be as it was after every row.
pub(crate) const CANARY: (&str, &[u8]) = ("/photos/canary", b"alive");

pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) reply: Reply,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

#[tokio::test]
async fn every_hostile_request_gets_its_code() {
    let world = World::new().await;
    world.bucket("photos").await;
    let main = world.main();
    assert_eq!(main.put(CANARY.0, CANARY.1).await.status, 200);
    let credentials = Credentials::new(MAIN.0, MAIN.1);
    let canary = Canary { path: CANARY.0, body: CANARY.1, credentials };
    assert!(world.canary.set(canary).is_ok());
    let mut rows = signed_rows(&world).await;
    rows.extend(raw_rows(&world).await);
    rows.extend(body_rows(&world).await);
    rows.extend(crate::framing::rows(&world).await);
    rows.extend(crate::framing::presigned_rows(&world).await);
    assert!(rows.len() >= 120, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let code = if row.reply.body.is_empty() { String::new() } else { row.reply.code() };
        if (row.reply.status, code.as_str()) != (row.status, row.code) {
            wrong.push(format!("{}: not {} {}: {}", row.what, row.status, row.code, row.reply.text()));
            continue;
        }
        if !row.code.is_empty() {
            let error = row.reply.error();
            assert_eq!(
                error.request_id.as_deref(),
                Some(row.reply.header("x-amz-request-id")),
                "{}",
                row.what
            );
            assert!(!row.reply.text().contains("main-secret"), "{}", row.what);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(main.get(CANARY.0).await.body, CANARY.1);
    let list = main.get("/photos").await.text();
    assert_eq!(list.matches("<Key>").count(), 1, "{list}");
    let list = world.anonymous().get("/").await.text();
    assert!(list.contains("<Buckets></Buckets>"), "{list}");
}

/// A signature covers the Host header. A target in absolute form names a host as well, which must not lead to another
/// bucket than the one that was signed for.
#[tokio::test]
async fn no_target_leads_past_the_host_that_was_signed() {
    const LIFE: Duration = Duration::from_secs(60);
    let world = World::new().await;
    for name in ["scratch", "other"] {
        world.bucket(name).await;
    }
    let (main, anyone) = (world.main(), world.anonymous());
    let port = world.address.port();
    let here = world.address.to_string();
    let (scratch, other) = (format!("scratch.localhost:{port}"), format!("other.localhost:{port}"));
    assert_eq!(main.put("/scratch/secret.txt", b"mine").await.status, 200);
    assert_eq!(main.put("/other/secret.txt", b"theirs").await.status, 200);
    // The host that is signed, the one that the target names, and the path of both.
    let rows = [
        (&scratch, other.clone(), "/secret.txt"),
        (&here, other.clone(), "/secret.txt"),
        (&scratch, here.clone(), "/other/secret.txt"),
        (&scratch, format!("scratch.localhost:{}", port ^ 1), "/secret.txt"),
        (&scratch, "scratch.localhost".to_owned(), "/secret.txt"),
        (&scratch, format!("me@{scratch}"), "/secret.txt"),
    ];
    for (host, authority, path) in rows {
        for method in ["GET", "PUT"] {
            let what = format!("{method} http://{authority}{path}, signed for {host}");
            let by_header =
                main.call(method, path).header("host", host).absolute(&authority).body(b"").send().await;
            let target = main.presign_for(host, method, path, "", LIFE);
            let presigned = anyone
                .raw(&format!(
                    "{method} http://{authority}{target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n"
                ))
                .await;
            for reply in [by_header, presigned] {
                assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidRequest"), "{what}");
                assert!(!reply.text().contains("theirs"), "{what}");
            }
        }
    }
    assert_eq!(main.get("/other/secret.txt").await.body, b"theirs");
    assert_eq!(main.get("/scratch/secret.txt").await.body, b"mine");
    for bucket in ["/other", "/scratch"] {
        assert_eq!(main.get(bucket).await.text().matches("<Key>").count(), 1, "{bucket}");
    }

    // A target that names the same host is as good as its path alone.
    for authority in [scratch.clone(), scratch.to_ascii_uppercase()] {
        let reply =
            main.call("GET", "/secret.txt").header("host", &scratch).absolute(&authority).send().await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"mine"[..]), "{authority}");
        let target = main.presign_for(&scratch, "GET", "/secret.txt", "", LIFE);
        let reply =
            anyone.raw(&format!("GET http://{authority}{target} HTTP/1.1\r\nhost: {scratch}\r\n\r\n")).await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"mine"[..]), "{authority}");
    }
    let put = main.call("PUT", "/scratch/new").absolute(&here).body(b"x").send().await;
    assert_eq!(put.status, 200, "{}", put.text());
}

async fn signed_rows(world: &World) -> Vec<Row> {
    let main = world.main();
    let wrong = world.client((MAIN.0, "not-the-secret"));
    let unknown = world.client(("FTNOBODY", "x"));
    let now = world.clock.now().0;
    let early = world.main().at(Timestamp(now - 16 * 60_000));
    let late = world.main().at(Timestamp(now + 16 * 60_000));
    let canary = CANARY.0;
    let long_key = format!("/photos/{}", "k".repeat(1025));
    let big_meta = "m".repeat(2100);
    vec![
        Row {
            what: "a wrong secret",
            reply: wrong.put(canary, b"x").await,
            status: 403,
            code: "SignatureDoesNotMatch",
        },
        Row {
            what: "an unknown key",
            reply: unknown.put(canary, b"x").await,
            status: 403,
            code: "InvalidAccessKeyId",
        },
        Row {
            what: "a clock that is late",
            reply: early.put(canary, b"x").await,
            status: 403,
            code: "RequestTimeTooSkewed",
        },
        Row {
            what: "a clock that is early",
            reply: late.put(canary, b"x").await,
            status: 403,
            code: "RequestTimeTooSkewed",
        },
        Row {
            what: "no signature",
            reply: world.anonymous().put(canary, b"x").await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "no signature, delete",
            reply: world.anonymous().delete(canary).await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "no signature, read of a private object",
            reply: world.anonymous().get(canary).await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "no signature, a bucket to be made",
            reply: world.anonymous().put("/made", b"").await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "an x-amz header that is not signed",
            reply: main.call("PUT", canary).unsigned_header("x-amz-meta-a", "b").body(b"x").send().await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "a security token that is not signed",
            reply: main.call("GET", canary).unsigned_header("x-amz-security-token", "b").send().await,
            status: 403,
            code: "AccessDenied",
        },
        Row {
            what: "a query that was changed",
            reply: changed(&main, "GET /photos?prefix=a", "prefix=a", "prefix=b").await,
            status: 403,
            code: "SignatureDoesNotMatch",
        },
        Row {
            what: "a key that is too long",
            reply: main.put(&long_key, b"x").await,
            status: 400,
            code: "KeyTooLongError",
        },
        Row {
            what: "a bucket name with capitals",
            reply: main.put("/Photos/k", b"x").await,
            status: 400,
            code: "InvalidBucketName",
        },
        Row {
            what: "a bucket name of dots",
            reply: main.call("PUT", "/").raw_path("/../canary").body(b"x").send().await,
            status: 400,
            code: "InvalidBucketName",
        },
        Row {
            what: "a bucket that looks like an address",
            reply: main.put("/192.168.0.1", b"").await,
            status: 400,
            code: "InvalidBucketName",
        },
        Row {
            what: "an escape that is none",
            reply: main.call("GET", "/").raw_path("/photos/%zz").send().await,
            status: 400,
            code: "InvalidURI",
        },
        Row {
            what: "a key that is not UTF-8",
            reply: main.call("PUT", "/").raw_path("/photos/%ff%fe").body(b"x").send().await,
            status: 400,
            code: "InvalidURI",
        },
        Row {
            what: "a double slash where the bucket stands",
            reply: main.call("GET", "/").raw_path("//photos/canary").send().await,
            status: 400,
            code: "InvalidURI",
        },
        Row {
            what: "metadata that is too large",
            reply: main.call("PUT", "/photos/k").header("x-amz-meta-a", &big_meta).body(b"x").send().await,
            status: 400,
            code: "MetadataTooLarge",
        },
        Row {
            what: "a copy taken for a put",
            reply: main.call("PUT", canary).header("x-amz-copy-source", "/photos/canary").send().await,
            status: 400,
            code: "InvalidRequest",
        },
        Row {
            what: "a tagging taken for a put",
            reply: main.call("PUT", canary).query("tagging").body(b"<Tagging/>").send().await,
            status: 400,
            code: "MalformedXML",
        },
        Row {
            what: "an ACL taken for a put",
            reply: main.call("PUT", canary).query("acl=").body(b"x").send().await,
            status: 400,
            code: "MalformedACLError",
        },
        Row {
            what: "a part taken for a put",
            reply: main.call("PUT", canary).query("partNumber=1&uploadId=u").body(b"x").send().await,
            status: 404,
            code: "NoSuchUpload",
        },
        Row {
            what: "an abort taken for a delete",
            reply: main.call("DELETE", canary).query("uploadId=u").send().await,
            status: 404,
            code: "NoSuchUpload",
        },
        Row {
            what: "a version that is none",
            reply: main.call("DELETE", canary).query("versionId=v1").send().await,
            status: 400,
            code: "InvalidArgument",
        },
        Row {
            what: "a conditional delete",
            reply: main.call("DELETE", canary).header("if-match", "\"x\"").send().await,
            status: 412,
            code: "PreconditionFailed",
        },
        Row {
            what: "an ACL that there is not",
            reply: main.call("PUT", "/photos/k").header("x-amz-acl", "public").body(b"x").send().await,
            status: 400,
            code: "InvalidArgument",
        },
        Row {
            what: "encryption that is not offered",
            reply: main
                .call("PUT", "/photos/k")
                .header("x-amz-server-side-encryption", "AES256")
                .body(b"x")
                .send()
                .await,
            status: 501,
            code: "NotImplemented",
        },
        Row {
            what: "a storage class that is not offered",
            reply: main
                .call("PUT", "/photos/k")
                .header("x-amz-storage-class", "GLACIER")
                .body(b"x")
                .send()
                .await,
            status: 400,
            code: "InvalidStorageClass",
        },
        Row {
            what: "a put where something is",
            reply: main.call("PUT", canary).header("if-none-match", "*").body(b"x").send().await,
            status: 412,
            code: "PreconditionFailed",
        },
        Row {
            what: "a method that S3 does not know",
            reply: main.call("PATCH", canary).send().await,
            status: 405,
            code: "MethodNotAllowed",
        },
        Row {
            what: "a method on the service",
            reply: main.call("DELETE", "/").send().await,
            status: 405,
            code: "MethodNotAllowed",
        },
    ]
}

/// Signs one request line and sends another.
async fn changed(client: &crate::client::Client, line: &str, from: &str, to: &str) -> Reply {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap();
    let (head, _) = client.call(method, path).query(query).encode();
    let head = String::from_utf8(head).unwrap().replace(from, to);
    client.raw(&head).await
}

async fn raw_rows(world: &World) -> Vec<Row> {
    let anyone = world.anonymous();
    let main = world.main();
    let credential = format!("{}/20260101/us-east-1/s3/aws4_request", MAIN.0);
    let long_life =
        main.presign("GET", CANARY.0, "", Duration::from_secs(60)).replace("Expires=60", "Expires=604801");
    let signed = |authorization: &str| {
        format!(
            "PUT {} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: 0\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\
             x-amz-date: 20260101T000000Z\r\nauthorization: {authorization}\r\n\r\n",
            CANARY.0
        )
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: {{host}}\r\n\r\n");
    let texts: Vec<(&'static str, String, u16, &'static str)> = vec![
        ("garbage as authorization", signed("garbage"), 400, "InvalidArgument"),
        ("Basic authorization", signed("Basic YTpi"), 400, "InvalidArgument"),
        ("SigV2", signed("AWS FTMAIN:AAAA"), 400, "InvalidRequest"),
        ("half an authorization", signed("AWS4-HMAC-SHA256 Credential=a"), 400, "AuthorizationHeaderMalformed"),
        (
            "a signature that is no hex",
            signed(&format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=xyz")),
            400,
            "AuthorizationHeaderMalformed",
        ),
        (
            "a scope of another service",
            signed(&format!(
                "AWS4-HMAC-SHA256 Credential={}, SignedHeaders=host, Signature={}",
                credential.replace("/s3/", "/iam/"),
                "0".repeat(64)
            )),
            400,
            "AuthorizationHeaderMalformed",
        ),
        (
            "half a presigned query",
            get(&format!("{}?X-Amz-Signature=00", CANARY.0)),
            400,
            "AuthorizationQueryParametersError",
        ),
        ("a presigned life of more than a week", get(&long_life), 403, "AccessDenied"),
        (
            "two hosts",
            "GET /photos/canary HTTP/1.1\r\nhost: {host}\r\nhost: photos.localhost\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        ("no host", "GET /photos/canary HTTP/1.1\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        (
            "no host but the target's",
            "GET http://photos.localhost/canary HTTP/1.1\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "no host but the target's, in HTTP/1.0",
            "GET http://photos.localhost/canary HTTP/1.0\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "two hosts that are the same",
            "GET http://{host}/photos/canary HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n".to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "a tunnel",
            "CONNECT photos.localhost:80 HTTP/1.1\r\nhost: photos.localhost:80\r\n\r\n".to_owned(),
            405,
            "MethodNotAllowed",
        ),
        ("a target that is the server", "OPTIONS * HTTP/1.1\r\nhost: {host}\r\n\r\n".to_owned(), 400, "InvalidURI"),
        (
            "a target that is the server, as a bucket",
            "GET * HTTP/1.1\r\nhost: photos.localhost\r\n\r\n".to_owned(),
            400,
            "InvalidURI",
        ),
        (
            "both framings",
            "PUT /photos/canary HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
             0\r\n\r\n"
                .to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "both framings, the other way round",
            "PUT /photos/canary HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n\
             0\r\n\r\n"
                .to_owned(),
            400,
            "InvalidRequest",
        ),
        (
            "an expectation that nobody can meet",
            "PUT /photos/canary HTTP/1.1\r\nhost: {host}\r\nexpect: money\r\ncontent-length: 0\r\n\r\n".to_owned(),
            403,
            "AccessDenied",
        ),
        // What is no HTTP is refused by the HTTP layer, without a document.
        ("two lengths", "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("a negative length", "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("an unknown coding", "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("a header without a name", "GET / HTTP/1.1\r\n: x\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("a folded header", "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        ("no HTTP at all", "\u{16}\u{3}\u{1} hello\r\n\r\n".to_owned(), 400, "InvalidRequest"),
        (
            "too many headers",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(200)),
            400,
            "RequestHeaderSectionTooLarge",
        ),
        (
            "headers that are too long",
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000)),
            400,
            "RequestHeaderSectionTooLarge",
        ),
    ];
    let mut rows = Vec::new();
    for (what, text, status, code) in texts {
        rows.push(Row { what, reply: anyone.raw(&text).await, status, code });
    }
    rows
}

async fn body_rows(world: &World) -> Vec<Row> {
    let main = world.main();
    let put = || main.call("PUT", "/photos/k").body(b"hello");
    vec![
        Row {
            what: "a body that is not the one that was hashed",
            reply: main.call("PUT", "/photos/k").header("content-length", "5").send_with(b"hullo").await,
            status: 400,
            code: "XAmzContentSHA256Mismatch",
        },
        Row {
            what: "no length",
            reply: main.raw(&no_length(&main)).await,
            status: 411,
            code: "MissingContentLength",
        },
        Row {
            what: "more than 5 GiB",
            reply: put().mode(Mode::Unsigned).header("content-length", "5368709121").send().await,
            status: 400,
            code: "EntityTooLarge",
        },
        Row {
            what: "more than 5 GiB, decoded",
            reply: put()
                .mode(Mode::UnsignedChunksWithTrailer)
                .header("x-amz-decoded-content-length", "5368709121")
                .send()
                .await,
            status: 400,
            code: "EntityTooLarge",
        },
        Row {
            what: "a decoded length that is no number",
            reply: put()
                .mode(Mode::UnsignedChunksWithTrailer)
                .header("x-amz-decoded-content-length", "-5")
                .send()
                .await,
            status: 400,
            code: "InvalidArgument",
        },
        Row {
            what: "a chunk without a signature",
            reply: main
                .call("PUT", "/photos/k")
                .mode(Mode::SignedChunks)
                .header("x-amz-decoded-content-length", "5")
                .header("content-length", "15")
                .send_with(b"5\r\nhello\r\n0\r\n\r\n")
                .await,
            status: 403,
            code: "SignatureDoesNotMatch",
        },
        Row {
            what: "a chunk of an absurd size",
            reply: main
                .call("PUT", "/photos/k")
                .mode(Mode::UnsignedChunksWithTrailer)
                .header("x-amz-decoded-content-length", "5")
                .header("content-length", "22")
                .send_with(b"fffffffffffffffff\r\nhel")
                .await,
            status: 400,
            code: "InvalidRequest",
        },
        Row {
            what: "two checksums",
            reply: put()
                .header("x-amz-checksum-crc32", "AAAAAA==")
                .header("x-amz-checksum-crc32c", "AAAAAA==")
                .send()
                .await,
            status: 400,
            code: "InvalidRequest",
        },
        Row {
            what: "an announced checksum that does not come",
            reply: put().header("x-amz-sdk-checksum-algorithm", "CRC32").send().await,
            status: 400,
            code: "InvalidRequest",
        },
        Row {
            what: "an unknown payload mode",
            reply: main.raw(&bad_mode(&main)).await,
            status: 400,
            code: "InvalidArgument",
        },
    ]
}

fn no_length(client: &crate::client::Client) -> String {
    let (head, _) = client.call("PUT", "/photos/k").mode(Mode::Unsigned).encode();
    String::from_utf8(head).unwrap().replace("content-length: 0\r\n", "")
}

fn bad_mode(client: &crate::client::Client) -> String {
    let (head, _) = client.call("PUT", "/photos/k").mode(Mode::Unsigned).encode();
    String::from_utf8(head).unwrap().replace("UNSIGNED-PAYLOAD", "whatever")
}

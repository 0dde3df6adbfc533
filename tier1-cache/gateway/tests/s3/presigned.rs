//! Presigned URLs that say in their query what others say in headers, and bodies that nobody signed.

use std::time::Duration;

use crate::client::{Client, Reply};
use crate::world::World;

const LIFE: Duration = Duration::from_secs(60);

/// Sends what somebody presigned, as a browser would: without a header of S3's.
async fn follow(client: &Client, method: &str, path: &str, query: &str, body: &str) -> Reply {
    let target = client.presign(method, path, query, LIFE);
    let length = body.len();
    client
        .raw(&format!(
            "{method} {target} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
}

#[tokio::test]
async fn a_signed_parameter_counts_as_the_header_of_its_name() {
    let world = World::new().await;
    world.bucket("pre").await;
    let main = world.main();
    assert_eq!(main.put("/pre/src", b"source").await.status, 200);
    assert_eq!(main.put("/pre/dst", b"precious").await.status, 200);
    // A copy is a copy, and no PUT of nothing.
    let copied = follow(&main, "PUT", "/pre/dst", "x-amz-copy-source=pre%2Fsrc", "").await;
    assert_eq!((copied.status, copied.text().contains("CopyObjectResult")), (200, true), "{}", copied.text());
    assert_eq!(main.get("/pre/dst").await.body, b"source");

    let said = "x-amz-meta-foo=bar&x-amz-acl=public-read&x-amz-tagging=a%3Db";
    assert_eq!(follow(&main, "PUT", "/pre/said", said, "hello").await.status, 200);
    let got = main.get("/pre/said").await;
    assert_eq!((got.header("x-amz-meta-foo"), got.header("x-amz-tagging-count")), ("bar", "1"));
    assert_eq!(world.anonymous().get("/pre/said").await.body, b"hello");

    // What is refused in a header is refused here, and nothing is kept.
    for (query, status) in [
        ("x-amz-server-side-encryption=AES256", 501),
        ("x-amz-storage-class=GLACIER", 400),
        ("x-amz-expected-bucket-owner=someoneelse", 403),
    ] {
        let refused = follow(&main, "PUT", "/pre/refused", query, "hello").await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text());
        assert_eq!(main.get("/pre/refused").await.status, 404, "{query}");
    }
    let owner = follow(&main, "GET", "/pre/src", "x-amz-expected-bucket-owner=someoneelse", "").await;
    assert_eq!(owner.status, 403, "{}", owner.text());
    let begun = follow(&main, "POST", "/pre/parts", "uploads=&x-amz-checksum-algorithm=SHA256", "").await;
    assert_eq!((begun.status, begun.header("x-amz-checksum-algorithm")), (200, "SHA256"), "{}", begun.text());
    // SDKs presign the checksum of no bytes without knowing the body.
    let empty = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32";
    assert_eq!(follow(&main, "PUT", "/pre/unknown", empty, "hello").await.status, 200);
}

#[tokio::test]
async fn what_is_said_twice_is_refused() {
    let world = World::new().await;
    world.bucket("pre").await;
    let main = world.main();
    let target = main.presign("PUT", "/pre/k", "x-amz-meta-a=1", LIFE);
    let twice =
        format!("PUT {target} HTTP/1.1\r\nhost: {{host}}\r\nx-amz-meta-a: 2\r\ncontent-length: 0\r\n\r\n");
    let refused = main.raw(&twice).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidRequest"));
    assert_eq!(main.get("/pre/k").await.status, 404);
}

/// An unsigned request with these header lines.
async fn unsigned(client: &Client, path: &str, lines: &[&str], body: &str) -> Reply {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    client
        .raw(&format!(
            "PUT {path} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
        ))
        .await
}

#[tokio::test]
async fn bodies_that_nobody_signed_are_decoded_and_verified() {
    let world = World::new().await;
    let main = world.main();
    assert_eq!(main.call("PUT", "/open").header("x-amz-acl", "public-read-write").send().await.status, 200);
    let anyone = world.anonymous();
    let framed = |crc: &str| format!("b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n");
    let (good, bad) = (framed("DUoRhQ=="), framed("AAAAAA=="));
    let chunked = [
        "content-encoding: aws-chunked",
        "x-amz-decoded-content-length: 11",
        "x-amz-trailer: x-amz-checksum-crc32",
    ];
    let said = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let lines: Vec<&str> = chunked.iter().copied().chain([said]).collect();
    for (key, lines) in [("/open/said", &lines[..]), ("/open/unsaid", &chunked[..])] {
        let put = unsigned(&anyone, key, lines, &good).await;
        assert_eq!(put.status, 200, "{key}: {}", put.text());
        assert_eq!(main.get(key).await.body, b"hello world", "{key}");
        let refused = unsigned(&anyone, "/open/bad", lines, &bad).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "BadDigest"), "{key}");
    }
    for (sha, status, code) in [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 403, "AccessDenied"),
        ("foo", 400, "InvalidArgument"),
        (&"0".repeat(64), 400, "XAmzContentSHA256Mismatch"),
    ] {
        let said = format!("x-amz-content-sha256: {sha}");
        let refused =
            unsigned(&anyone, "/open/bad", &[&said, "x-amz-decoded-content-length: 11"], &good).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{sha}");
    }
    assert_eq!(main.get("/open/bad").await.status, 404);
}

#[tokio::test]
async fn a_parameter_of_another_place_changes_nothing() {
    let world = World::new().await;
    world.bucket("pre").await;
    let main = world.main();
    assert_eq!(main.put("/pre/victim", b"precious").await.status, 200);
    for (method, query) in
        [("PUT", "policy"), ("DELETE", "lifecycle"), ("PUT", "append"), ("DELETE", "versions")]
    {
        let refused = main.call(method, "/pre/victim").query(query).body(b"<X/>").send().await;
        assert_eq!((refused.status, refused.code().as_str()), (501, "NotImplemented"), "{method} ?{query}");
    }
    assert_eq!(main.get("/pre/victim").await.body, b"precious");
    world.bucket("empty").await;
    for query in ["uploadId=x", "restore", "legal-hold", "attributes", "delete"] {
        assert_eq!(main.call("DELETE", "/empty").query(query).send().await.status, 501, "{query}");
    }
    assert_eq!(main.call("PUT", "/new").query("restore").send().await.status, 501);
    assert_eq!((main.get("/empty").await.status, main.get("/new").await.status), (200, 404));
}

#[tokio::test]
async fn configurations_of_which_there_may_be_many_are_none() {
    let world = World::new().await;
    world.bucket("pre").await;
    let main = world.main();
    for (name, root) in [
        ("analytics", "ListBucketAnalyticsConfigurationResult"),
        ("inventory", "ListInventoryConfigurationsResult"),
        ("metrics", "ListMetricsConfigurationsResult"),
        ("intelligent-tiering", "ListBucketIntelligentTieringConfigurationsOutput"),
    ] {
        let list = main.call("GET", "/pre").query(name).send().await;
        let whole = list.text();
        assert!(
            list.status == 200 && whole.contains(root) && whole.contains("<IsTruncated>false<"),
            "{whole}"
        );
        for method in ["GET", "DELETE"] {
            let one = main.call(method, "/pre").query(&format!("{name}&id=a")).send().await;
            assert_eq!((one.status, one.code().as_str()), (404, "NoSuchConfiguration"), "{method} {name}");
        }
        assert_eq!(
            main.call("PUT", "/pre").query(&format!("{name}&id=a")).send().await.status,
            501,
            "{name}"
        );
    }
}

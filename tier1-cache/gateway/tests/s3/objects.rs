//! Objects: put, get, head, delete; ranges, conditions, metadata, awkward keys, presigned URLs.

use std::time::Duration;

use fallthrough_object::{ChecksumAlgorithm, Timestamp};

use crate::client::{checksum, crc32};
use crate::world::World;

#[tokio::test]
async fn what_is_put_is_got() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let body = b"hello, world";
    let put = client
        .call("PUT", "/photos/a.txt")
        .header("content-type", "text/plain")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "attachment; filename=\"a\"")
        .header("content-encoding", "gzip")
        .header("content-language", "de")
        .header("expires", "not a date")
        .header("x-amz-meta-colour", "grün")
        .header("x-amz-meta-empty", "")
        .body(body)
        .send()
        .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.header("etag"), "\"e4d7f1b4ed2e42d15898f4b27b019da4\"");
    assert_eq!(put.header("content-length"), "0");

    let get = client.get("/photos/a.txt").await;
    assert_eq!((get.status, get.body.as_slice(), get.whole), (200, &body[..], true));
    let head = client.head("/photos/a.txt").await;
    assert_eq!(head.status, 200);
    for reply in [&get, &head] {
        assert_eq!(reply.header("content-length"), "12");
        assert_eq!(reply.header("etag"), "\"e4d7f1b4ed2e42d15898f4b27b019da4\"");
        assert_eq!(reply.header("content-type"), "text/plain");
        assert_eq!(reply.header("cache-control"), "max-age=60");
        assert_eq!(reply.header("content-disposition"), "attachment; filename=\"a\"");
        assert_eq!(reply.header("content-encoding"), "gzip");
        assert_eq!(reply.header("content-language"), "de");
        assert_eq!(reply.header("expires"), "not a date");
        assert_eq!(reply.headers["x-amz-meta-colour"].as_bytes(), "grün".as_bytes());
        assert_eq!(reply.headers["x-amz-meta-empty"], "");
        assert_eq!(reply.header("accept-ranges"), "bytes");
        assert_eq!(reply.header("x-cache"), "HIT");
        assert!(reply.header("cache-status").starts_with("fallthrough; hit"), "{:?}", reply.headers);
        assert!(reply.header("server-timing").starts_with("total;dur="));
        assert_eq!(reply.header("x-amz-request-id").len(), 16);
        assert_eq!(reply.headers.get("x-amz-checksum-crc32"), None);
        assert!(reply.header("last-modified").ends_with(" GMT"));
    }

    let deleted = client.delete("/photos/a.txt").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let gone = client.get("/photos/a.txt").await;
    let error = gone.error();
    assert_eq!((gone.status, error.code.as_str()), (404, "NoSuchKey"));
    assert_eq!(error.resource.as_deref(), Some("/photos/a.txt"));
    assert_eq!(error.request_id.as_deref(), Some(gone.header("x-amz-request-id")));
    assert_eq!(error.get("HostId"), Some(gone.header("x-amz-id-2")));
    assert!(!gone.header("x-cache").is_empty());
    let head = client.head("/photos/a.txt").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(client.delete("/photos/a.txt").await.status, 204);
}

#[tokio::test]
async fn keys_of_any_shape_are_kept_apart() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let keys = [
        "a b",
        "a+b",
        "a%20b",
        "a%2Bb",
        "%",
        "é",
        "\u{1F600}",
        "\"quoted\"",
        "<&>'",
        "a\nb",
        "a\tb",
        "/lead",
        "//two",
        "trail/",
        "a",
        "a/b",
        "a/b/",
        ".",
        "..",
        "../../etc/passwd",
        "./x",
        "a//b",
        "~",
        "*?",
        "a=b&c=d",
        "#frag",
        "?query",
        "con",
        "\u{7f}",
        "\u{1}",
    ];
    for (n, key) in keys.iter().enumerate() {
        let put = client.put(&format!("/photos/{key}"), n.to_string().as_bytes()).await;
        assert_eq!(put.status, 200, "{key:?} {}", put.text());
    }
    for (n, key) in keys.iter().enumerate() {
        let get = client.get(&format!("/photos/{key}")).await;
        assert_eq!((get.status, get.text()), (200, n.to_string()), "{key:?}");
    }
    let longest = "k".repeat(1024);
    assert_eq!(client.put(&format!("/photos/{longest}"), b"x").await.status, 200);
    for (n, key) in keys.iter().enumerate().step_by(2) {
        assert_eq!(client.delete(&format!("/photos/{key}")).await.status, 204, "{key:?}");
        let next = client.get(&format!("/photos/{}", keys[n + 1])).await;
        assert_eq!(next.text(), (n + 1).to_string());
    }
}

#[tokio::test]
async fn ranges_are_cut_as_asked() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let put = client.put("/photos/k", b"0123456789").await;
    let etag = put.header("etag").to_owned();
    let modified = client.head("/photos/k").await.header("last-modified").to_owned();
    let rows: [(&str, &str, u16, &str, &str); 14] = [
        ("bytes=0-3", "", 206, "0123", "bytes 0-3/10"),
        ("bytes=8-", "", 206, "89", "bytes 8-9/10"),
        ("bytes=-3", "", 206, "789", "bytes 7-9/10"),
        ("bytes=-30", "", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=9-99", "", 206, "9", "bytes 9-9/10"),
        ("bytes=10-", "", 416, "", "bytes */10"),
        ("bytes=-0", "", 416, "", "bytes */10"),
        ("bytes=5-2", "", 200, "0123456789", ""),
        ("bytes=0-1,4-5", "", 200, "0123456789", ""),
        ("items=0-1", "", 200, "0123456789", ""),
        ("bytes=0-3", &etag, 206, "0123", "bytes 0-3/10"),
        ("bytes=0-3", "\"other\"", 200, "0123456789", ""),
        ("bytes=0-3", &modified, 206, "0123", "bytes 0-3/10"),
        ("bytes=0-3", "Thu, 01 Jan 1970 00:00:00 GMT", 200, "0123456789", ""),
    ];
    for (range, if_range, status, body, content_range) in rows {
        for method in ["GET", "HEAD"] {
            let mut call = client.call(method, "/photos/k").header("range", range);
            if !if_range.is_empty() {
                call = call.header("if-range", if_range);
            }
            let reply = call.send().await;
            assert_eq!(reply.status, status, "{method} {range} {if_range}");
            assert_eq!(reply.header("content-range"), content_range, "{method} {range} {if_range}");
            if status == 416 && method == "GET" {
                assert_eq!(reply.code(), "InvalidRange");
            } else if status != 416 {
                assert_eq!(reply.header("content-length"), body.len().to_string(), "{method} {range}");
                assert_eq!(reply.text(), if method == "GET" { body } else { "" }, "{range} {if_range}");
            }
        }
    }
}

#[tokio::test]
async fn conditions_come_before_ranges() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let sum = "poTHxg==";
    let put = client.call("PUT", "/photos/k").header("x-amz-checksum-crc32", sum).body(b"0123456789");
    let etag = put.send().await.header("etag").to_owned();
    let (past, future) = ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let bare = etag.trim_matches('"').to_owned();
    let rows: [(&[(&str, &str)], u16); 14] = [
        (&[("if-match", &etag)], 200),
        (&[("if-match", &bare)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-modified-since", past)], 200),
        (&[("if-modified-since", future)], 304),
        (&[("if-unmodified-since", past)], 412),
        (&[("if-unmodified-since", future)], 200),
        (&[("if-match", &etag), ("if-unmodified-since", past)], 200),
        (&[("if-none-match", "\"x\""), ("if-modified-since", future)], 200),
        (&[("if-match", "\"x\""), ("range", "bytes=100-")], 412),
    ];
    for (headers, status) in rows {
        for method in ["GET", "HEAD"] {
            let mut call = client.call(method, "/photos/k").header("x-amz-checksum-mode", "ENABLED");
            for (name, value) in headers {
                call = call.header(name, value);
            }
            let reply = call.send().await;
            assert_eq!(reply.status, status, "{method} {headers:?}");
            // Of a body that is there: clients compare it with what comes.
            let told = reply.headers.get("x-amz-checksum-crc32").map(|sum| sum.to_str().unwrap());
            assert_eq!(told, (status == 200).then_some(sum), "{method} {headers:?}");
            if status == 304 {
                assert_eq!(reply.header("etag"), etag);
                assert!(reply.headers.contains_key("last-modified"));
                assert!(!reply.headers.contains_key("content-type"));
                assert!(!reply.headers.contains_key("content-length"), "{method}: {:?}", reply.headers);
            }
            if status == 412 && method == "GET" {
                assert_eq!(reply.code(), "PreconditionFailed");
            }
        }
    }
}

#[tokio::test]
async fn a_put_on_a_condition_happens_only_if_it_holds() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let put = |header: &'static str, value: String, body: &'static [u8]| {
        client.call("PUT", "/photos/k").header(header, &value).body(body).send()
    };
    assert_eq!(put("if-match", "\"x\"".to_owned(), b"0").await.code(), "NoSuchKey");
    let first = put("if-none-match", "*".to_owned(), b"1").await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = put("if-none-match", "*".to_owned(), b"2").await;
    assert_eq!((again.status, again.code().as_str()), (412, "PreconditionFailed"));
    assert_eq!(put("if-match", "\"x\"".to_owned(), b"3").await.status, 412);
    let third = put("if-match", first.header("etag").to_owned(), b"4").await;
    assert_eq!(third.status, 200, "{}", third.text());
    assert_eq!(client.get("/photos/k").await.text(), "4");
}

#[tokio::test]
async fn checksums_are_verified_kept_and_shown_on_request() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    for algorithm in ChecksumAlgorithm::ALL {
        let name = format!("x-amz-checksum-{}", algorithm.header_suffix());
        let good = checksum(algorithm, b"body");
        let put = client.call("PUT", "/photos/k").header(&name, &good).body(b"body").send().await;
        assert_eq!(put.status, 200, "{name} {}", put.text());
        assert_eq!(put.header(&name), good);
        let bad = checksum(algorithm, b"other");
        let put = client.call("PUT", "/photos/k").header(&name, &bad).body(b"none").send().await;
        assert_eq!((put.status, put.code().as_str()), (400, "BadDigest"), "{name}");
        let malformed = client.call("PUT", "/photos/k").header(&name, "!").body(b"none").send().await;
        assert_eq!(malformed.status, 400, "{name}");
        let get = client.call("GET", "/photos/k").header("x-amz-checksum-mode", "ENABLED").send().await;
        assert_eq!((get.text().as_str(), get.header(&name)), ("body", good.as_str()));
        assert_eq!(get.header("x-amz-checksum-type"), "FULL_OBJECT");
        let part = client
            .call("GET", "/photos/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .header("range", "bytes=0-1")
            .send()
            .await;
        assert_eq!((part.status, part.header(&name)), (206, ""));
    }
    let rows = [
        ("hB9XzH6AGkQr5EDDYKwWgg==", 400, "BadDigest"),
        ("hB9X", 400, "InvalidDigest"),
        ("", 400, "InvalidDigest"),
        ("hBotaJrYa9FhFEdFPCLG/A==", 200, ""),
    ];
    for (md5, status, code) in rows {
        let put = client.call("PUT", "/photos/k").header("content-md5", md5).body(b"body").send().await;
        assert_eq!((put.status, put.code().as_str()), (status, code), "{md5}");
    }
}

#[tokio::test]
async fn presigned_urls_read_and_write_until_their_time_is_over() {
    let world = World::new().await;
    world.bucket("photos").await;
    let (client, anyone) = (world.main(), world.anonymous());
    let life = Duration::from_secs(60);
    let put = client.presign("PUT", "/photos/a b", "", life);
    let reply =
        anyone.raw(&format!("PUT {put} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: 2\r\n\r\nhi")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let world = &world;
    let get = |target: String| async move {
        world.anonymous().raw(&format!("GET {target} HTTP/1.1\r\nhost: {{host}}\r\n\r\n")).await
    };
    assert_eq!(get(client.presign("GET", "/photos/a b", "", life)).await.text(), "hi");
    let overridden = "response-content-type=image%2Fpng&response-cache-control=no-store";
    let reply = get(client.presign("GET", "/photos/a b", overridden, life)).await;
    assert_eq!((reply.header("content-type"), reply.header("cache-control")), ("image/png", "no-store"));
    // Only what was signed for: another method, another key.
    assert_eq!(get(put.clone()).await.code(), "SignatureDoesNotMatch");
    assert_eq!(get(put.replace("a%20b", "other")).await.code(), "SignatureDoesNotMatch");
    let then = Timestamp(world.clock.now().0 - 61_000);
    let expired = world.main().at(then).presign("GET", "/photos/a b", "", life);
    let reply = get(expired).await;
    assert_eq!((reply.status, reply.error().message.as_str()), (403, "Request has expired"));
}

#[tokio::test]
async fn a_presigned_put_ignores_only_the_checksum_of_nothing() {
    let world = World::new().await;
    world.bucket("photos").await;
    let (client, anyone) = (world.main(), world.anonymous());
    let encode = |text: &str| text.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    for (value, status, code) in
        [(crc32(b""), 200, ""), (crc32(b"hi"), 200, ""), (crc32(b"no"), 400, "BadDigest")]
    {
        let query = format!("x-amz-checksum-crc32={}", encode(&value));
        let target = client.presign("PUT", "/photos/k", &query, Duration::from_secs(60));
        let reply = anyone
            .raw(&format!("PUT {target} HTTP/1.1\r\nhost: {{host}}\r\ncontent-length: 2\r\n\r\nhi"))
            .await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{value}");
    }
}

#[tokio::test]
async fn large_objects_come_back_whole() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    for len in [31 * 1024, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let body: Vec<u8> = (0..len).map(|n: usize| u8::try_from(n * 31 % 251).unwrap()).collect();
        assert_eq!(client.put("/photos/big", &body).await.status, 200);
        let get = client.get("/photos/big").await;
        assert!(get.whole && get.body == body, "{len}");
        let part = client.call("GET", "/photos/big").header("range", "bytes=30000-31000").send().await;
        assert!(part.status == 206 && part.body == body[30000..=31000], "{len}");
    }
}

//! Copies, whole and as parts, of what is here and of what is still behind.

use fallthrough_bucket::Grant;
use fallthrough_bucket::{BucketMode, Right};
use fallthrough_object::ChecksumAlgorithm;
use fallthrough_sim::Fault;

use crate::client::checksum;
use crate::multipart::{PART, begin, bytes, element, part};
use crate::world::{ALT, World};

#[tokio::test]
async fn a_copy_is_the_source_under_another_name() {
    let world = World::new().await;
    world.bucket("photos").await;
    world.bucket("backup").await;
    let client = world.main();
    for (key, len) in [("empty", 0usize), ("small", 10), ("large", 300_000)] {
        let body: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
        let path = format!("/photos/{key}");
        let put = client
            .call("PUT", &path)
            .header("content-type", "text/plain")
            .header("x-amz-meta-a", "1")
            .body(&body)
            .send()
            .await;
        let copy = client
            .call("PUT", "/backup/a b+c")
            .header("x-amz-copy-source", &format!("photos/{key}"))
            .send()
            .await;
        assert_eq!(copy.status, 200, "{}", copy.text());
        assert!(copy.text().contains(&put.header("etag").replace('"', "&quot;")), "{}", copy.text());
        let get = client.get("/backup/a b+c").await;
        assert!(get.body == body && get.header("etag") == put.header("etag"), "{key}");
        assert_eq!((get.header("content-type"), get.header("x-amz-meta-a")), ("text/plain", "1"));
        // Each goes its own way from here on.
        client.delete(&path).await;
        assert!(client.get("/backup/a b+c").await.body == body, "{key}");
        let replaced = client
            .call("PUT", "/backup/a b+c")
            .header("x-amz-copy-source", "/backup/a%20b%2Bc")
            .header("x-amz-metadata-directive", "REPLACE")
            .header("x-amz-meta-b", "2")
            .send()
            .await;
        assert_eq!(replaced.status, 200, "{}", replaced.text());
        let get = client.get("/backup/a b+c").await;
        assert!(get.body == body, "{key}");
        assert_eq!((get.header("x-amz-meta-b"), get.headers.get("x-amz-meta-a")), ("2", None));
    }
}

#[tokio::test]
async fn tags_are_copied_or_replaced() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.call("PUT", "/photos/k").header("x-amz-tagging", "a=1&b=2").body(b"x").send().await;
    for (directive, tags, count) in [("COPY", "", "2"), ("REPLACE", "c=3", "1"), ("REPLACE", "", "")] {
        let copy = client
            .call("PUT", "/photos/copy")
            .header("x-amz-copy-source", "/photos/k")
            .header("x-amz-tagging-directive", directive)
            .header("x-amz-tagging", tags);
        assert_eq!(copy.send().await.status, 200, "{directive} {tags}");
        let head = client.head("/photos/copy").await;
        assert_eq!(head.header("x-amz-tagging-count"), count, "{directive} {tags}");
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_is_refused() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let put = client.put("/photos/k", b"hello").await;
    let copy = |from: &str| client.call("PUT", "/photos/copy").header("x-amz-copy-source", from);
    let etag = put.header("etag").to_owned();
    let rows = [
        (copy("photos/none"), 404, "NoSuchKey"),
        (copy("nowhere/k"), 404, "NoSuchBucket"),
        (copy("photos"), 400, "InvalidArgument"),
        (copy("photos/%zz"), 400, "InvalidArgument"),
        (copy("photos/k?versionId=abc"), 400, "InvalidArgument"),
        (copy("photos/k").header("x-amz-metadata-directive", "KEEP"), 400, "InvalidArgument"),
        (copy("photos/k").header("x-amz-copy-source-if-match", "\"x\""), 412, "PreconditionFailed"),
        (copy("photos/k").header("x-amz-copy-source-if-none-match", &etag), 412, "PreconditionFailed"),
        (
            copy("photos/k").header("x-amz-copy-source-if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),
            412,
            "PreconditionFailed",
        ),
        (client.call("PUT", "/photos/k").header("x-amz-copy-source", "photos/k"), 400, "InvalidRequest"),
    ];
    for (n, (call, status, code)) in rows.into_iter().enumerate() {
        let reply = call.send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "row {n}: {}", reply.text());
    }
    assert_eq!(client.get("/photos/copy").await.status, 404);
    assert_eq!(copy("photos/k?versionId=null").send().await.status, 200);
    let exists = copy("photos/k").header("if-none-match", "*").send().await;
    assert_eq!((exists.status, exists.code().as_str()), (412, "PreconditionFailed"));
    let stranger = world.client(ALT);
    let theirs = stranger.call("PUT", "/theirs").send().await;
    assert_eq!(theirs.status, 200);
    let stolen = stranger.call("PUT", "/theirs/k").header("x-amz-copy-source", "photos/k").send().await;
    assert_eq!((stolen.status, stolen.code().as_str()), (403, "AccessDenied"));
    let writer = Some(vec![Grant { bucket: "photos".to_owned(), right: Right::Write }]);
    let writer = world.key("FTWRITER", "main", writer).await;
    let blind = writer.call("PUT", "/photos/copy2").header("x-amz-copy-source", "photos/k").send().await;
    assert_eq!(blind.status, 403, "who may only write may not read by copying");
}

#[tokio::test]
async fn what_is_behind_is_filled_and_then_copied() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.bucket("warm").await;
    let client = world.main();
    for (key, len) in [("small", 100u64), ("large", 600_000)] {
        let content = world.script.object(key, len);
        let copy =
            client.call("PUT", "/warm/k").header("x-amz-copy-source", &format!("cold/{key}")).send().await;
        assert_eq!(copy.status, 200, "{}", copy.text());
        assert!(client.get("/warm/k").await.body == content.bytes(), "{key}");
        assert_eq!(
            (client.get(&format!("/cold/{key}")).await.header("x-cache"), world.script.calls(key)),
            ("HIT", 1)
        );
    }
    // As parts: a range of a cold object.
    let content = world.script.object("third", 400_000);
    let begun = client.call("POST", "/warm/parts").query("uploads").send().await.text();
    let id = begun.split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let query = format!("partNumber=1&uploadId={id}");
    let part = |range: &'static str| {
        client
            .call("PUT", "/warm/parts")
            .query(&query)
            .header("x-amz-copy-source", "cold/third")
            .header("x-amz-copy-source-range", range)
    };
    for bad in ["0-2", "bytes=0", "bytes=hello-", "bytes=0-2,3-5", "bytes=5-1"] {
        let reply = part(bad).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidArgument"), "{bad}");
    }
    assert_eq!(part("bytes=0-400000").send().await.code(), "InvalidRange");
    let copied = part("bytes=100-299999").send().await.text();
    let etag = copied.split("<ETag>").nth(1).unwrap().split('<').next().unwrap();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let done = client
        .call("POST", "/warm/parts")
        .query(&format!("uploadId={id}"))
        .body(body.as_bytes())
        .send()
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(client.get("/warm/parts").await.body == content.bytes()[100..300_000]);
    // What could not be asked is not absent.
    world.script.object("broken", 10);
    world.script.fault("broken", Fault::Status(500));
    let failed = client.call("PUT", "/warm/x").header("x-amz-copy-source", "cold/broken").send().await;
    assert_eq!((failed.status, failed.code().as_str()), (503, "SlowDown"));
}

#[tokio::test]
async fn conditions_on_cold_keys_are_the_shadows_to_judge() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    let client = world.main();
    world.script.object("k", 100);
    let etag = world.script.etag("k").unwrap();
    let put = |key: &str| client.call("PUT", &format!("/cold/{key}"));
    let exists = put("k").header("if-none-match", "*").body(b"x").send().await;
    assert_eq!((exists.status, exists.code().as_str()), (412, "PreconditionFailed"));
    let other = put("k").header("if-match", "\"other\"").body(b"x").send().await;
    assert_eq!((other.status, other.code().as_str()), (412, "PreconditionFailed"));
    let none = put("none").header("if-match", "*").body(b"x").send().await;
    assert_eq!((none.status, none.code().as_str()), (404, "NoSuchKey"));
    assert_eq!(put("new").header("if-none-match", "*").body(b"x").send().await.status, 200);
    assert_eq!(put("new").header("if-none-match", "*").body(b"x").send().await.status, 412);
    let kept = client.call("DELETE", "/cold/k").header("if-match", "\"other\"").send().await;
    assert_eq!((kept.status, kept.code().as_str()), (412, "PreconditionFailed"));
    assert_eq!(put("k").header("if-match", &etag).body(b"ours").send().await.status, 200);
    assert_eq!(client.get("/cold/k").await.body, b"ours");
    assert_eq!(client.call("DELETE", "/cold/k").header("if-match", "*").send().await.status, 204);
    // Deleted here: it does not exist, whatever is behind.
    assert_eq!(put("k").header("if-match", "*").body(b"x").send().await.status, 404);
    assert_eq!(put("k").header("if-none-match", "*").body(b"x").send().await.status, 200);
    // What could not be asked has no answer.
    world.script.object("broken", 10);
    world.script.fault("broken", Fault::Status(500));
    let failed = put("broken").header("if-none-match", "*").body(b"x").send().await;
    assert_eq!((failed.status, failed.code().as_str()), (503, "SlowDown"));
}

/// The checksum that is asked for is that of the copy's bytes, and nothing that was said of parts is said of it.
#[tokio::test]
async fn a_copy_gets_the_checksum_that_is_asked_for_and_is_one_part() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let large: Vec<u8> = (0..300_000u32).map(|n| (n * 7) as u8).collect();
    let sums = [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256];
    let shown =
        |path: &'static str| client.call("HEAD", path).header("x-amz-checksum-mode", "ENABLED").send();
    for (key, body) in [("empty", &b""[..]), ("small", b"hello"), ("large", &large)] {
        let source = format!("photos/{key}");
        let put = client.call("PUT", &format!("/{source}")).body(body);
        let known = checksum(ChecksumAlgorithm::Crc32, body);
        assert_eq!(put.header("x-amz-checksum-crc32", &known).send().await.status, 200);
        for algorithm in sums {
            let copy = client
                .call("PUT", "/photos/copy")
                .header("x-amz-copy-source", &source)
                .header("x-amz-checksum-algorithm", algorithm.as_str())
                .send()
                .await;
            assert_eq!(copy.status, 200, "{key} {algorithm:?}: {}", copy.text());
            let want = checksum(algorithm, body);
            assert!(copy.text().contains(&want), "{key} {algorithm:?}: {}", copy.text());
            let head = shown("/photos/copy").await;
            for other in sums {
                let name = format!("x-amz-checksum-{}", other.as_str().to_ascii_lowercase());
                let want = if other == algorithm { want.as_str() } else { "" };
                assert_eq!(head.header(&name), want, "{key}: {name} of a copy with {algorithm:?}");
            }
            assert!(client.get("/photos/copy").await.body == body, "{key}");
        }
        let kept = client.call("PUT", "/photos/copy").header("x-amz-copy-source", &source).send().await;
        assert!(kept.text().contains(&known), "{key}: {}", kept.text());
    }
    let odd = client.call("PUT", "/photos/copy").header("x-amz-copy-source", "photos/small");
    let odd = odd.header("x-amz-checksum-algorithm", "MD4").send().await;
    assert_eq!((odd.status, odd.code().as_str()), (400, "InvalidRequest"));

    let headers = [("x-amz-checksum-algorithm", "SHA256")];
    let upload = begin(&client, "/photos/parts", &headers).await;
    let (first, second) = (bytes(1, PART), bytes(2, 1000));
    let mut parts = Vec::new();
    for (number, body) in [(1, &first), (2, &second)] {
        let part = part(&client, "/photos/parts", &upload, number, body).await;
        parts.push((number, part.header("etag").to_owned(), checksum(ChecksumAlgorithm::Sha256, body)));
    }
    let listed: String = parts
        .iter()
        .map(|(number, etag, sum)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>")
        })
        .collect();
    let document = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
    let done = client.call("POST", "/photos/parts").query(&format!("uploadId={upload}"));
    assert_eq!(done.body(document.as_bytes()).send().await.status, 200);
    assert!(shown("/photos/parts").await.header("x-amz-checksum-sha256").ends_with("-2"));
    let whole = [&first[..], &second].concat();
    for (asked, want) in [("", ""), ("SHA256", checksum(ChecksumAlgorithm::Sha256, &whole).as_str())] {
        let mut copy = client.call("PUT", "/photos/copy").header("x-amz-copy-source", "photos/parts");
        if !asked.is_empty() {
            copy = copy.header("x-amz-checksum-algorithm", asked);
        }
        assert_eq!(copy.send().await.status, 200);
        assert_eq!(shown("/photos/copy").await.header("x-amz-checksum-sha256"), want);
        let all = client.call("GET", "/photos/copy").query("partNumber=1").send().await;
        assert!(all.status == 206 && all.body == whole, "{}", all.text());
        assert_eq!(
            client.call("GET", "/photos/copy").query("partNumber=2").send().await.code(),
            "InvalidPart"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.put("/photos/k", b"hello").await;
    let copy = |from: &str| client.call("PUT", "/photos/copy").header("x-amz-copy-source", from);
    let missing = copy("photos/no%20such").send().await;
    assert_eq!((missing.status, element(&missing.text(), "Key")), (404, "no such"), "{}", missing.text());
    let target = copy("photos/k").header("if-match", "\"x\"").send().await;
    assert_eq!((target.status, element(&target.text(), "Key")), (404, "copy"), "{}", target.text());
}

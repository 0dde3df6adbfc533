//! Mistakes that others shipped and that show on the wire; `docs/mistakes.md` has the list.

use fallthrough_bucket::{BucketMode, BucketSettings, ShadowRule, ShadowTarget};
use fallthrough_object::ChecksumAlgorithm;
use fallthrough_sim::Fault;

use crate::client::{Client, Reply, checksum};
use crate::multipart::begin;
use crate::world::{ALT, World};

/// A bucket that only its owner may read, over the scripted origin.
async fn private(world: &World, name: &str) {
    let url = format!("http://{name}.origin.test");
    let settings = BucketSettings {
        owner: "main".to_owned(),
        mode: BucketMode::Migrate,
        shadow: vec![ShadowRule::to(ShadowTarget::Http { url })],
        ..BucketSettings::default()
    };
    world.bucket_of(name, settings).await;
}

/// 8. CompleteMultipartUpload and CopyObject answer 200 and tell of their failure in the document. (What a shadow answers
/// so is the engine's: `tests::mistakes` in the bucket's.)
#[tokio::test]
async fn mistake_08_our_own_answer_is_200_with_an_error_in_it() {
    let world = World::new().await;
    world.bucket("photos").await;
    private(&world, "cold").await;
    let client = world.main();
    for (n, fault) in
        [Fault::Status(500), Fault::HangUp, Fault::TruncateAt(10), Fault::Status(404)].into_iter().enumerate()
    {
        let key = format!("k{n}");
        world.script.object(&key, 400_000);
        world.script.fault(&key, fault.clone());
        let call = client.call("PUT", "/photos/copy").header("x-amz-copy-source", &format!("cold/{key}"));
        let copy = call.send().await;
        assert!(copy.status >= 400, "{fault:?}: {} {}", copy.status, copy.text());
        assert_eq!(client.get("/photos/copy").await.status, 404, "{fault:?}");
    }
    let id = begin(&client, "/photos/parts", &[]).await;
    let list = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"x\"</ETag></Part></CompleteMultipartUpload>";
    let call = client.call("POST", "/photos/parts").query(&format!("uploadId={id}")).body(list.as_bytes());
    let completed = call.send().await;
    assert_eq!((completed.status, completed.code().as_str()), (400, "InvalidPart"), "{}", completed.text());
    assert_eq!(client.get("/photos/parts").await.status, 404);
}

/// 9. Results of DeleteObjects are matched by their keys, and the same key twice gets one result for both.
#[tokio::test]
async fn mistake_09_results_of_a_batch_are_matched_by_key_alone() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    // What each entry asks for, and how it ends whatever the others of its key do meanwhile.
    let entries = [
        ("<Key>k</Key><VersionId>none</VersionId>", "NoSuchVersion"),
        ("<Key>k</Key>", ""),
        ("<Key>k</Key><VersionId>null</VersionId>", ""),
        ("<Key>other</Key><ETag>&quot;wrong&quot;</ETag>", "PreconditionFailed"),
        ("<Key>other</Key><VersionId>none</VersionId>", "NoSuchVersion"),
        ("<Key>k</Key><VersionId>none</VersionId>", "NoSuchVersion"),
    ];
    for (shift, quiet) in (0..entries.len()).zip([false, true].into_iter().cycle()) {
        client.put("/photos/k", b"hello").await;
        client.put("/photos/other", b"x").await;
        let turned: Vec<_> = entries.iter().cycle().skip(shift).take(entries.len()).collect();
        let objects: String = turned.iter().map(|(entry, _)| format!("<Object>{entry}</Object>")).collect();
        let batch = format!("<Delete><Quiet>{quiet}</Quiet>{objects}</Delete>");
        let sum = checksum(ChecksumAlgorithm::Crc32, batch.as_bytes());
        let call = client.call("POST", "/photos").query("delete=").body(batch.as_bytes());
        let text = call.header("x-amz-checksum-crc32", &sum).send().await.text();
        // One result for each entry, in their order, each its own.
        let results: Vec<&str> = text
            .split("<Key>")
            .skip(1)
            .map(|result| result.split_once("<Code>").map_or("", |(_, code)| code))
            .map(|code| code.split_once("</Code>").map_or("", |(code, _)| code))
            .collect();
        let expected: Vec<&str> =
            turned.iter().map(|(_, code)| *code).filter(|code| !quiet || !code.is_empty()).collect();
        assert_eq!(results, expected, "{text}");
        assert_eq!(client.get("/photos/k").await.status, 404, "one of them deleted it");
        assert_eq!(client.get("/photos/other").await.text(), "x", "none of them did");
    }
}

/// 12. What is fetched with the shadow's credentials, for its owner or in the background, is open to everybody afterwards.
#[tokio::test]
async fn mistake_12_a_signed_background_fetch_makes_an_object_public() {
    let world = World::new().await;
    private(&world, "secrets").await;
    for key in ["read", "headed", "copied", "tagged", "cold"] {
        world.script.object(key, 1_000);
        // What the origin says of who may cache it, or see it, opens nothing here.
        world.script.header(key, "cache-control", "public, max-age=3600");
        world.script.header(key, "x-amz-acl", "public-read");
    }
    let (owner, anyone, stranger) = (world.main(), world.anonymous(), world.client(ALT));
    let refused = async |when: &str| {
        for key in ["read", "headed", "copied", "tagged", "cold", "none"] {
            let path = format!("/secrets/{key}");
            for (who, client) in [("anyone", &anyone), ("another account", &stranger)] {
                for method in ["GET", "HEAD"] {
                    let reply = client.call(method, &path).send().await;
                    assert_eq!(reply.status, 403, "{when}: {method} of {key} by {who}");
                }
                let copied =
                    client.call("PUT", "/secrets/theft").header("x-amz-copy-source", &path).send().await;
                assert_eq!(copied.status, 403, "{when}: a copy of {key} by {who}");
            }
        }
    };
    refused("cold").await;
    assert_eq!(world.script.total_calls(), 0, "nor is the origin asked for them");
    assert_eq!(owner.get("/secrets/read").await.status, 200);
    assert_eq!(owner.head("/secrets/headed").await.status, 200);
    let call = owner.call("PUT", "/secrets/copy").header("x-amz-copy-source", "secrets/copied");
    assert_eq!(call.send().await.status, 200);
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let call = owner.call("PUT", "/secrets/tagged").query("tagging=").body(tags);
    assert_eq!(call.send().await.status, 200);
    refused("after the owner").await;
    assert_eq!(anyone.get("/secrets/copy").await.status, 403);
    // The background asks for itself, with the right to fill everything.
    let bucket =
        world.engine.bucket(&fallthrough_object::BucketName::parse("secrets").unwrap()).await.unwrap();
    let caller = fallthrough_bucket::Caller {
        client: "migration".into(),
        signed: true,
        may_fill: true,
        hops: 0,
        request_id: "m".into(),
        trace: None,
    };
    let request = fallthrough_bucket::GetRequest::of(fallthrough_object::Key::parse("cold").unwrap());
    assert!(world.engine.get(&bucket, &caller, request).await.result.is_ok());
    refused("after the background").await;
    let acl = owner.call("GET", "/secrets/cold").query("acl=").send().await.text();
    assert!(!acl.contains("AllUsers"), "{acl}");
}

/// A verb on a key that is cold, as it is sent.
async fn verb(client: &Client, key: &str, name: &str, upload: &str, etag: &str) -> Reply {
    let path = format!("/cold/{key}");
    let source = format!("cold/{key}");
    let tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let call = |method: &str| client.call(method, &path);
    let sent = match name {
        "GET" => call("GET"),
        "HEAD" => call("HEAD"),
        "range" => call("GET").header("range", "bytes=100-199"),
        "range HEAD" => call("HEAD").header("range", "bytes=100-199"),
        "suffix" => call("GET").header("range", "bytes=-7"),
        "If-None-Match" => call("GET").header("if-none-match", etag),
        "If-Match" => call("GET").header("if-match", etag),
        "If-Match, another" => call("GET").header("if-match", "\"other\""),
        "HEAD If-None-Match" => call("HEAD").header("if-none-match", etag),
        "attributes" => call("GET").query("attributes=").header("x-amz-object-attributes", "ETag,ObjectSize"),
        "tagging" => call("GET").query("tagging="),
        "acl" => call("GET").query("acl="),
        "part" => call("GET").query("partNumber=1"),
        "copy from" => client.call("PUT", "/plain/copy").header("x-amz-copy-source", &source),
        "copy onto itself" => call("PUT")
            .header("x-amz-copy-source", &source)
            .header("x-amz-metadata-directive", "REPLACE")
            .header("x-amz-meta-a", "b"),
        "part copy from" => client
            .call("PUT", "/plain/parts")
            .query(&format!("partNumber=1&uploadId={upload}"))
            .header("x-amz-copy-source", &source),
        "put tagging" => call("PUT").query("tagging=").body(tags),
        "put acl" => call("PUT").query("acl=").header("x-amz-acl", "private"),
        "put, if none" => call("PUT").header("if-none-match", "*").body(b"x"),
        "put, if the same" => call("PUT").header("if-match", etag).body(b"x"),
        "delete" => call("DELETE"),
        other => panic!("{other}"),
    };
    sent.send().await
}

/// 15. One verb or another does not fall through: to it, what is not here is not there.
#[tokio::test]
async fn mistake_15_a_verb_skips_the_fall_through() {
    let world = World::new().await;
    world.bucket("plain").await;
    private(&world, "cold").await;
    let client = world.main();
    let upload = begin(&client, "/plain/parts", &[]).await;
    // Status where the key is at the shadow alone, where it is nowhere, and whether the body is the object's.
    let rows = [
        ("GET", 200, 404),
        ("HEAD", 200, 404),
        ("range", 206, 404),
        ("range HEAD", 206, 404),
        ("suffix", 206, 404),
        ("If-None-Match", 304, 404),
        ("If-Match", 200, 404),
        ("If-Match, another", 412, 404),
        ("HEAD If-None-Match", 304, 404),
        ("attributes", 200, 404),
        ("tagging", 200, 404),
        ("acl", 200, 404),
        ("part", 206, 404),
        ("copy from", 200, 404),
        ("copy onto itself", 200, 404),
        ("part copy from", 200, 404),
        ("put tagging", 200, 404),
        ("put acl", 200, 404),
        ("put, if none", 412, 200),
        ("put, if the same", 200, 404),
        ("delete", 204, 204),
    ];
    for (n, (name, there, nowhere)) in rows.into_iter().enumerate() {
        let key = format!("there-{n}");
        let content = world.script.object(&key, 1_000);
        let etag = world.script.etag(&key).unwrap();
        let reply = verb(&client, &key, name, &upload, &etag).await;
        assert_eq!(reply.status, there, "{name} of a cold key: {}", reply.text());
        let expected = match name {
            "GET" | "If-Match" | "part" => Some(content.bytes()),
            "range" => Some(content.slice(100, 200)),
            "suffix" => Some(content.slice(993, 1_000)),
            _ => None,
        };
        if let Some(expected) = expected {
            assert!(reply.body == expected, "{name}: {} bytes", reply.body.len());
        }
        if name == "attributes" {
            assert!(reply.text().contains("<ObjectSize>1000</ObjectSize>"), "{}", reply.text());
        }
        if name == "copy from" {
            assert!(client.get("/plain/copy").await.body == content.bytes());
        }
        let missing = verb(&client, &format!("nowhere-{n}"), name, &upload, &etag).await;
        assert_eq!(missing.status, nowhere, "{name} of what is nowhere: {}", missing.text());
        // Deleted here: nothing falls through any more, for any verb.
        let gone = format!("gone-{n}");
        world.script.object(&gone, 1_000);
        client.delete(&format!("/cold/{gone}")).await;
        let reply = verb(&client, &gone, name, &upload, &etag).await;
        assert_eq!(reply.status, nowhere, "{name} of what was deleted: {}", reply.text());
        assert_eq!(world.script.calls(&gone), 0, "{name}");
    }
}

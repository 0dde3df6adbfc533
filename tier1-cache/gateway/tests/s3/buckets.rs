//! Buckets: create, head, list, location, delete; configuration that is not set; addressing.

use fallthrough_bucket::BucketSettings;

use crate::world::World;

#[tokio::test]
async fn a_write_above_the_quota_is_refused_with_what_there_is() {
    let world = World::new().await;
    let quota = Some(1000);
    let settings =
        BucketSettings { owner: "main".to_owned(), quota_bytes: quota, ..BucketSettings::default() };
    world.bucket_of("small", settings).await;
    let client = world.main();
    assert_eq!(client.put("/small/a", &[1; 900]).await.status, 200);
    let refused = client.put("/small/b", &[1; 101]).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "QuotaExceeded"));
    let text = refused.text();
    assert!(["900 bytes", "101 more", "1000 bytes"].iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(client.get("/small/b").await.status, 404);
    let copied = client.call("PUT", "/small/c").header("x-amz-copy-source", "/small/a").send().await;
    assert_eq!((copied.status, copied.code().as_str()), (403, "QuotaExceeded"));
    assert_eq!(client.put("/small/b", &[1; 100]).await.status, 200);
}

#[tokio::test]
async fn a_bucket_lives_from_create_to_delete() {
    let world = World::new().await;
    let (client, other) = (world.main(), world.client(crate::world::ALT));
    let create = client.put("/photos", b"").await;
    assert_eq!((create.status, create.header("location")), (200, "/photos"), "{}", create.text());
    assert_eq!(client.put("/photos/", b"").await.status, 200, "creating one's own bucket again succeeds");
    let opened = client.call("PUT", "/photos").header("x-amz-acl", "public-read").send().await;
    assert_eq!(opened.code(), "BucketAlreadyExists", "it would change the ACL");
    let nobodys = world.anonymous().get("/").await;
    assert!(nobodys.status == 200 && nobodys.text().contains("<Buckets>"), "{}", nobodys.text());
    assert!(!nobodys.text().contains("photos"));
    let taken = other.put("/photos", b"").await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "BucketAlreadyExists"));
    let configured = br#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>"#;
    let create = client.put("/elsewhere", configured).await;
    assert_eq!(create.status, 200, "{}", create.text());
    let malformed = client.put("/third", b"<CreateBucketConfiguration>").await;
    assert_eq!((malformed.status, malformed.code().as_str()), (400, "MalformedXML"));

    let head = client.head("/photos").await;
    assert_eq!((head.status, head.header("x-amz-bucket-region"), head.body.len()), (200, "us-east-1", 0));
    let head = client.head("/missing").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    let location = client.call("GET", "/photos").query("location").send().await;
    assert!(location.text().contains("<LocationConstraint"), "{}", location.text());
    assert!(!location.text().contains("us-east-1"));

    let list = client.get("/").await;
    let text = list.text();
    assert!(text.contains("<Name>photos</Name>") && text.contains("<Name>elsewhere</Name>"), "{text}");
    assert!(text.contains("<ID>main</ID>"));
    assert!(!other.get("/").await.text().contains("photos"));
    let page = client.call("GET", "/").query("max-buckets=1").send().await.text();
    assert!(page.contains("elsewhere") && !page.contains("photos"), "{page}");
    assert!(page.contains("<ContinuationToken>elsewhere</ContinuationToken>"), "{page}");
    let page =
        client.call("GET", "/").query("max-buckets=1&continuation-token=elsewhere").send().await.text();
    assert!(page.contains("photos") && !page.contains("ContinuationToken"), "{page}");
    let page = client.call("GET", "/").query("prefix=ph").send().await.text();
    assert!(page.contains("photos") && !page.contains("elsewhere"), "{page}");
    for bad in ["max-buckets=0", "max-buckets=10001", "continuation-token=A_"] {
        assert_eq!(client.call("GET", "/").query(bad).send().await.code(), "InvalidArgument", "{bad}");
    }

    assert_eq!(client.put("/photos/k", b"x").await.status, 200);
    let full = client.delete("/photos").await;
    assert_eq!((full.status, full.code().as_str()), (409, "BucketNotEmpty"));
    assert_eq!(other.delete("/photos").await.code(), "AccessDenied");
    assert_eq!(client.delete("/photos/k").await.status, 204);
    assert_eq!(client.delete("/photos").await.status, 204);
    assert_eq!(client.delete("/photos").await.code(), "NoSuchBucket");
    assert_eq!(client.get("/photos/k").await.code(), "NoSuchBucket");
}

/// What the configuration file declares is not taken away behind its back.
#[tokio::test]
async fn a_declared_bucket_is_not_deleted() {
    let world = World::new().await;
    let settings =
        |managed| BucketSettings { owner: "main".to_owned(), managed, ..BucketSettings::default() };
    let bucket = world.bucket_of("declared", settings(true)).await;
    let client = world.main();
    let refused = client.delete("/declared").await;
    let error = refused.error();
    assert_eq!((refused.status, error.code.as_str()), (403, "AccessDenied"));
    assert!(error.message.contains("configuration"), "{}", error.message);
    assert_eq!(client.head("/declared").await.status, 200);
    assert_eq!(client.put("/declared/k", b"x").await.status, 200, "its objects are their writers'");
    assert_eq!(client.delete("/declared/k").await.status, 204);
    // Set free, it is a bucket like any other.
    world.engine.set_bucket(&bucket.name, &move |now| *now = settings(false)).await.unwrap();
    assert_eq!(client.delete("/declared").await.status, 204);
}

#[tokio::test]
async fn configuration_that_is_not_set_says_so() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.put("/photos/k", b"x").await;
    let rows = [
        ("/photos", "tagging", 404, "NoSuchTagSet"),
        ("/photos", "cors", 404, "NoSuchCORSConfiguration"),
        ("/photos", "policy", 404, "NoSuchBucketPolicy"),
        ("/photos", "policyStatus", 200, ""),
        ("/photos", "lifecycle", 404, "NoSuchLifecycleConfiguration"),
        ("/photos", "encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
        ("/photos", "replication", 404, "ReplicationConfigurationNotFoundError"),
        ("/photos", "website", 404, "NoSuchWebsiteConfiguration"),
        ("/photos", "publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
        ("/photos", "ownershipControls", 404, "OwnershipControlsNotFoundError"),
        ("/photos", "object-lock", 404, "ObjectLockConfigurationNotFoundError"),
        ("/photos", "versioning", 200, ""),
        ("/photos", "logging", 200, ""),
        ("/photos", "notification", 200, ""),
        ("/photos", "accelerate", 200, ""),
        ("/photos", "requestPayment", 200, ""),
        ("/photos", "acl", 200, ""),
        ("/photos", "uploads", 200, ""),
        ("/photos", "analytics", 200, ""),
        ("/photos", "metadataTable", 404, "MetadataConfigurationNotFound"),
        ("/photos", "metadataConfiguration", 404, "MetadataConfigurationNotFound"),
        ("/photos", "abac", 200, ""),
        ("/photos", "metadataJournalTable", 501, "NotImplemented"),
        ("/photos/k", "tagging", 200, ""),
        ("/photos/k", "acl", 200, ""),
        ("/photos/k", "retention", 400, "InvalidRequest"),
        ("/photos/k", "legal-hold", 400, "InvalidRequest"),
        ("/photos/k", "torrent", 404, "NoSuchKey"),
        ("/photos/missing", "tagging", 404, "NoSuchKey"),
        ("/missing", "tagging", 404, "NoSuchBucket"),
    ];
    for (path, query, status, code) in rows {
        let reply = client.call("GET", path).query(query).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}?{query}");
        if status == 200 {
            assert!(reply.text().starts_with("<?xml"), "{path}?{query}");
        }
        let anonymous = world.anonymous().call("GET", path).query(query).send().await;
        assert!([403, 404].contains(&anonymous.status), "{path}?{query}");
    }
    for query in ["policy", "versioning", "encryption", "notification"] {
        let put = client.call("PUT", "/photos").query(query).body(b"<x/>").send().await;
        assert_eq!((put.status, put.code().as_str()), (501, "NotImplemented"), "PUT ?{query}");
    }
}

#[tokio::test]
async fn buckets_are_reached_by_host_as_well() {
    let world = World::with(
        fallthrough_gateway::GatewayOptions {
            domains: vec!["s3.example.com".to_owned()],
            ..Default::default()
        },
        Default::default(),
    )
    .await;
    world.bucket("photos").await;
    let client = world.main();
    for host in
        ["photos.localhost", "photos.localhost:9900", "photos.s3.example.com", "PHOTOS.S3.example.com:443"]
    {
        let put = client.call("PUT", "/a b/c").header("host", host).body(host.as_bytes()).send().await;
        assert_eq!(put.status, 200, "{host} {}", put.text());
        assert_eq!(client.get("/photos/a b/c").await.text(), host);
        let list = client.call("GET", "/").header("host", host).send().await;
        assert!(list.text().contains("<Key>a b/c</Key>"), "{}", list.text());
        let deleted = client.call("DELETE", "/a b/c").header("host", host).send().await;
        assert_eq!(deleted.status, 204);
    }
    let list = client.call("GET", "/").header("host", "s3.example.com").send().await;
    assert!(list.text().contains("ListAllMyBucketsResult"));
}

#[tokio::test]
async fn a_new_bucket_has_the_tags_that_it_is_created_with() {
    let world = World::new().await;
    let client = world.main();
    let body = |tags: &str| {
        format!("<CreateBucketConfiguration><Tags>{tags}</Tags></CreateBucketConfiguration>").into_bytes()
    };
    let tag = "<Tag><Key>team</Key><Value>a&amp;b</Value></Tag>";
    let create = client.put("/tagged", &body(&tag.replace("&amp;", "-"))).await;
    assert_eq!(create.status, 200, "{}", create.text());
    let tags = client.call("GET", "/tagged").query("tagging").send().await;
    assert!(tags.text().contains("<Key>team</Key><Value>a-b</Value>"), "{}", tags.text());
    let twice = format!("{tag}{tag}").replace("&amp;", "-");
    for (tags, code) in [(tag, "InvalidTag"), (twice.as_str(), "InvalidTag"), ("<Tag/>", "MalformedXML")] {
        let refused = client.put("/refused", &body(tags)).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{tags}");
    }
    for (ownership, status, code) in [
        ("BucketOwnerEnforced", 501, "NotImplemented"),
        ("BucketOwnerPreferred", 501, "NotImplemented"),
        ("Nobody", 400, "InvalidArgument"),
    ] {
        let call = client.call("PUT", "/refused").header("x-amz-object-ownership", ownership);
        let reply = call.send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{ownership}");
    }
    assert_eq!(client.head("/refused").await.status, 404, "nothing is done");
    let call = client.call("PUT", "/writers").header("x-amz-object-ownership", "ObjectWriter");
    assert_eq!(call.send().await.status, 200);
}

#[tokio::test]
async fn a_bucket_is_public_however_it_was_made_so() {
    let world = World::new().await;
    world.bucket("closed").await;
    world.bucket("opened").await;
    world.public_bucket("declared").await;
    let client = world.main();
    let open = client.call("PUT", "/opened").query("acl").header("x-amz-acl", "public-read").send().await;
    assert_eq!(open.status, 200, "{}", open.text());
    for (bucket, want) in [("closed", "false"), ("opened", "true"), ("declared", "true")] {
        let status = client.call("GET", &format!("/{bucket}")).query("policyStatus").send().await;
        let want = format!("<IsPublic>{want}</IsPublic>");
        assert!(status.text().contains(&want), "{bucket}: {}", status.text());
    }
}

/// Whoever comes second is told that the bucket is gone, or going.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_deleted_by_one_of_many() {
    let world = World::new().await;
    let clients: Vec<_> = (0..8).map(|_| world.main()).collect();
    for round in 0..20 {
        assert_eq!(clients[0].put("/photos", b"").await.status, 200);
        let replies = futures::future::join_all(clients.iter().map(|client| client.delete("/photos"))).await;
        for reply in &replies {
            let answer = (reply.status, if reply.status == 204 { String::new() } else { reply.code() });
            let fine = [(204, ""), (404, "NoSuchBucket"), (409, "OperationAborted")];
            assert!(fine.iter().any(|(s, c)| (*s, *c) == (answer.0, &answer.1)), "round {round}: {answer:?}");
        }
        assert!(replies.iter().any(|reply| reply.status == 204), "round {round}");
        assert_eq!(clients[0].head("/photos").await.status, 404, "round {round}");
    }
}

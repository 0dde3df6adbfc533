//! Reading by part, also what is behind a bucket.

use fallthrough_bucket::{BucketMode, BucketSettings, ShadowTarget};

use crate::multipart::{PART, begin, bytes, complete, element, part};
use crate::world::World;

fn target(behind: &World) -> ShadowTarget {
    ShadowTarget::S3 {
        endpoint: format!("http://{}", behind.address),
        name: "old".to_owned(),
        region: "us-east-1".to_owned(),
        addressing: Default::default(),
        credentials: None,
    }
}

/// A provider with objects of these parts, and one of one piece.
async fn provider(sizes: &[usize]) -> (World, Vec<Vec<u8>>) {
    let behind = World::new().await;
    behind.public_bucket("old").await;
    let main = behind.main();
    let all: Vec<Vec<u8>> = (1..).zip(sizes).map(|(seed, size)| bytes(seed, *size)).collect();
    for key in ["a", "b", "c"] {
        let path = format!("/old/{key}");
        let upload = begin(&main, &path, &[]).await;
        let mut tags = Vec::new();
        for (number, bytes) in (1..).zip(&all) {
            tags.push((number, part(&main, &path, &upload, number, bytes).await.header("etag").to_owned()));
        }
        let parts: Vec<_> = tags.iter().map(|(number, tag)| (*number, tag.as_str())).collect();
        assert_eq!(complete(&main, &path, &upload, &parts).await.status, 200);
    }
    main.put("/old/single", b"0123456789").await;
    (behind, all)
}

/// Whether it is here or not, and whichever the mode: a part is what the provider says that it is.
#[tokio::test]
async fn parts_at_a_provider_are_parts_here() {
    let (behind, all) = provider(&[PART, 1000]).await;
    let (first, second) = (&all[0], &all[1]);
    let (old, world) = (behind.anonymous(), World::new().await);
    world.falling_bucket("migrated", BucketMode::Migrate, target(&behind)).await;
    world.falling_bucket("cached", BucketMode::Cache, target(&behind)).await;
    let anyone = world.anonymous();
    for bucket in ["migrated", "cached"] {
        for step in ["cold", "filled"] {
            let path = format!("/{bucket}/a");
            for number in 1..=2 {
                for method in ["GET", "HEAD"] {
                    let what = format!("{method} of part {number} of {path}, {step}");
                    let query = format!("partNumber={number}");
                    let theirs = old.call(method, "/old/a").query(&query).send().await;
                    let ours = anyone.call(method, &path).query(&query).send().await;
                    assert_eq!(ours.status, 206, "{what}: {}", ours.text());
                    for header in ["content-length", "content-range", "x-amz-mp-parts-count", "etag"] {
                        assert_eq!(ours.header(header), theirs.header(header), "{header}, {what}");
                    }
                    let want = if number == 1 { first } else { second };
                    assert!(method == "HEAD" || ours.body == *want, "{what}");
                }
            }
            let beyond = anyone.call("GET", &path).query("partNumber=3").send().await;
            assert_eq!((beyond.status, beyond.code().as_str()), (400, "InvalidPart"), "{path}, {step}");
            assert_eq!(anyone.call("HEAD", &path).query("partNumber=3").send().await.status, 400);
            let attributes = world
                .main()
                .call("GET", &path)
                .query("attributes")
                .header("x-amz-object-attributes", "ObjectParts")
                .send()
                .await;
            assert_eq!(element(&attributes.text(), "PartsCount"), "2", "{path}, {step}");
            let unchanged = anyone
                .call("GET", &path)
                .query("partNumber=1")
                .header("if-none-match", old.head("/old/a").await.header("etag"))
                .send()
                .await;
            assert_eq!(unchanged.status, 304, "{path}, {step}");
            if step == "cold" {
                assert!(anyone.get(&path).await.body == [&first[..], second].concat());
            } else {
                let hit = anyone.call("GET", &path).query("partNumber=2").send().await;
                assert_eq!(hit.header("x-cache"), "HIT", "its bytes come from here");
            }
        }
        let single = anyone.call("GET", &format!("/{bucket}/single")).query("partNumber=1").send().await;
        assert_eq!((single.status, single.header("x-amz-mp-parts-count")), (206, ""));
        assert_eq!(single.body, b"0123456789");
        assert_eq!(single.header("x-cache"), "MISS", "what has no parts is filled as ever");
    }
}

/// What the ETag proves of the parts is kept with the object: it is read by part without its provider.
#[tokio::test]
async fn parts_that_are_alike_are_known_without_their_provider() {
    for sizes in [&[PART, PART, 1000][..], &[PART, PART], &[2 * PART, PART], &[1000]] {
        let (behind, all) = provider(sizes).await;
        let world = World::new().await;
        let bucket = world.falling_bucket("cold", BucketMode::Migrate, target(&behind)).await;
        let (anyone, main) = (world.anonymous(), world.main());
        let whole = all.concat();
        assert!(anyone.get("/cold/a").await.body == whole, "{sizes:?}");
        // Committed, before the provider goes away.
        main.call("PUT", "/cold/copy").header("x-amz-copy-source", "/cold/a").send().await;
        behind.stop().await;
        for detached in [false, true] {
            if detached {
                let detach = |settings: &mut BucketSettings| {
                    settings.shadow.clear();
                    settings.mode = BucketMode::Plain;
                };
                world.engine.set_bucket(&bucket.name, &detach).await.unwrap();
            }
            let mut start = 0;
            for (number, want) in (1..).zip(&all) {
                let query = format!("partNumber={number}");
                for method in ["GET", "HEAD"] {
                    let what = format!("{method} of part {number} of {sizes:?}, detached: {detached}");
                    let reply = anyone.call(method, "/cold/a").query(&query).send().await;
                    assert_eq!(reply.status, 206, "{what}: {}", reply.text());
                    let range = format!("bytes {start}-{}/{}", start + want.len() - 1, whole.len());
                    assert_eq!(reply.header("content-range"), range, "{what}");
                    assert_eq!(reply.header("x-amz-mp-parts-count"), all.len().to_string(), "{what}");
                    assert!(method == "HEAD" || reply.body == *want, "{what}");
                }
                start += want.len();
            }
            let beyond = anyone.call("GET", "/cold/a").query("partNumber=9").send().await;
            assert_eq!((beyond.status, beyond.code().as_str()), (400, "InvalidPart"));
            let attributes = main
                .call("GET", "/cold/a")
                .query("attributes")
                .header("x-amz-object-attributes", "ObjectParts")
                .send()
                .await
                .text();
            assert_eq!(element(&attributes, "PartsCount"), all.len().to_string());
            for part in &all {
                assert!(attributes.contains(&format!("<Size>{}</Size>", part.len())), "{attributes}");
            }
        }
    }
}

/// A provider that cannot be asked, or is no longer there, is no reason to give a wrong part. These parts are as many as
/// there would be if all were as long as the first.
#[tokio::test]
async fn a_part_that_nobody_can_place_is_no_other_part() {
    let (behind, all) = provider(&[PART, PART + 1000, 1000]).await;
    let second = &all[1];
    let world = World::new().await;
    let bucket = world.falling_bucket("cold", BucketMode::Migrate, target(&behind)).await;
    let (anyone, main) = (world.anonymous(), world.main());
    let whole = all.concat();
    assert!(anyone.get("/cold/a").await.body == whole);
    // What is written from then on is what was filled, under the same ETag.
    anyone.get("/cold/b").await;
    let tags = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    assert_eq!(main.call("PUT", "/cold/b").query("tagging").body(tags).send().await.status, 200);
    let kept = main.call("GET", "/cold/b").query("partNumber=2").send().await;
    assert!(kept.status == 206 && kept.body == *second, "{}", kept.text());
    // A copy is one part, whatever its ETag.
    let copy = main.call("PUT", "/cold/copy").header("x-amz-copy-source", "/cold/a").send().await;
    assert_eq!(copy.status, 200, "{}", copy.text());

    behind.stop().await;
    for (method, key) in [("GET", "a"), ("HEAD", "a"), ("GET", "b"), ("GET", "c"), ("HEAD", "c")] {
        let reply = anyone.call(method, &format!("/cold/{key}")).query("partNumber=1").send().await;
        assert_eq!(reply.status, 503, "{method} {key}: {}", reply.text());
        assert!(!reply.header("retry-after").is_empty(), "{method} {key}");
    }
    assert!(anyone.get("/cold/a").await.body == whole, "all of it is here");
    let copy = main.call("GET", "/cold/copy").query("partNumber=1").send().await;
    assert!(copy.status == 206 && copy.body == whole, "{}", copy.text());

    let detach = |settings: &mut BucketSettings| {
        settings.shadow.clear();
        settings.mode = BucketMode::Plain;
    };
    world.engine.set_bucket(&bucket.name, &detach).await.unwrap();
    let gone = anyone.call("GET", "/cold/a").query("partNumber=1").send().await;
    assert_eq!((gone.status, gone.code().as_str()), (424, "ShadowMisconfigured"), "{}", gone.text());
    assert!(anyone.get("/cold/a").await.body == whole);
}

#[tokio::test]
async fn an_empty_part_is_no_range() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let upload = begin(&client, "/photos/k", &[]).await;
    let first = part(&client, "/photos/k", &upload, 1, &bytes(1, PART)).await;
    let last = part(&client, "/photos/k", &upload, 2, b"").await;
    let parts = [(1, first.header("etag")), (2, last.header("etag"))];
    assert_eq!(complete(&client, "/photos/k", &upload, &parts).await.status, 200);
    for method in ["GET", "HEAD"] {
        let reply = client.call(method, "/photos/k").query("partNumber=2").send().await;
        assert_eq!((reply.status, reply.header("content-length")), (200, "0"), "{method}");
        assert_eq!((reply.header("content-range"), reply.header("x-amz-mp-parts-count")), ("", "2"));
        assert!(reply.whole && reply.body.is_empty(), "{method}");
    }
}

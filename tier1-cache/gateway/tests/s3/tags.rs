//! Tags of buckets and objects.

use fallthrough_bucket::{
    BucketMode, BucketSettings, Grant, Right, ShadowCredentials, ShadowTarget, Treat403As,
};
use fallthrough_object::{BucketName, Tag};
use fallthrough_wire::xml::{parse_tagging, tagging};

use crate::client::Client;
use crate::world::{ALT, MAIN, World};

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned() }
}

async fn put(client: &Client, path: &str, tags: &[Tag]) -> (u16, String) {
    let reply = client.call("PUT", path).query("tagging").body(tagging(tags).as_bytes()).send().await;
    (reply.status, reply.code())
}

async fn get(client: &Client, path: &str) -> Vec<Tag> {
    let reply = client.call("GET", path).query("tagging").send().await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    parse_tagging(&reply.body).unwrap()
}

#[tokio::test]
async fn tags_come_and_go() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let tags = [tag("who", "me + you"), tag("é", ""), tag("a b", "x=y/z")];
    client.put("/photos/k", b"x").await;
    assert!(!client.get("/photos/k").await.headers.contains_key("x-amz-tagging-count"));
    let etag = client.head("/photos/k").await.header("etag").to_owned();
    for (path, done) in [("/photos/k", 200), ("/photos", 204)] {
        assert_eq!(put(&client, path, &tags).await, (done, String::new()), "{path}");
        assert_eq!(get(&client, path).await, [tags[2].clone(), tags[0].clone(), tags[1].clone()], "by key");
        assert_eq!(put(&client, path, &tags[..1]).await.0, done, "they are replaced as a whole");
        assert_eq!(get(&client, path).await, tags[..1]);
    }
    for method in ["GET", "HEAD"] {
        let reply = client.call(method, "/photos/k").query("versionId=null").send().await;
        assert_eq!(reply.header("x-amz-tagging-count"), "1");
        assert_eq!(reply.header("etag"), etag, "the object is what it was");
    }
    for path in ["/photos/k", "/photos"] {
        assert_eq!(client.call("DELETE", path).query("tagging").send().await.status, 204);
    }
    assert_eq!(get(&client, "/photos/k").await, []);
    assert_eq!(client.get("/photos/k").await.text(), "x");
    let none = client.call("GET", "/photos").query("tagging").send().await;
    assert_eq!((none.status, none.code().as_str()), (404, "NoSuchTagSet"));

    // With the object, and gone with it.
    let header = |value: &str| client.call("PUT", "/photos/k").header("x-amz-tagging", value).body(b"y");
    assert_eq!(header("a=1&b=c%20d+e&f").send().await.status, 200);
    assert_eq!(get(&client, "/photos/k").await, [tag("a", "1"), tag("b", "c d e"), tag("f", "")]);
    assert_eq!(client.head("/photos/k").await.header("x-amz-tagging-count"), "3");
    client.put("/photos/k", b"z").await;
    assert_eq!(get(&client, "/photos/k").await, []);
}

#[tokio::test]
async fn tags_that_cannot_be_are_refused() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.put("/photos/k", b"x").await;
    let many = |count: usize| (0..count).map(|n| tag(&format!("k{n}"), "v")).collect::<Vec<_>>();
    let rows = [
        (vec![tag("a", "1"), tag("a", "2")], "InvalidTag"),
        (vec![tag("", "1")], "InvalidTag"),
        (vec![tag("aws:a", "1")], "InvalidTag"),
        (vec![tag(&"k".repeat(129), "1")], "InvalidTag"),
        (vec![tag("a", &"v".repeat(257))], "InvalidTag"),
        (vec![tag("a", "<b>")], "InvalidTag"),
        (many(51), "InvalidTag"),
    ];
    for (tags, code) in &rows {
        for path in ["/photos", "/photos/k"] {
            assert_eq!(put(&client, path, tags).await, (400, (*code).to_owned()), "{path} {tags:?}");
        }
    }
    assert_eq!(put(&client, "/photos/k", &many(11)).await.1, "InvalidTag");
    assert_eq!(put(&client, "/photos/k", &many(10)).await.0, 200);
    assert_eq!(put(&client, "/photos", &many(50)).await.0, 204);
    let longest = [tag(&"é".repeat(128), &"é".repeat(256))];
    assert_eq!(put(&client, "/photos/k", &longest).await.0, 200);

    let deep = "<a>".repeat(1000);
    let bodies = [
        "",
        "x",
        "<Tagging/>",
        "<Tagging><TagSet></Tagging>",
        "<Tagging><TagSet/><TagSet/></Tagging>",
        "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><Tagging><TagSet/></Tagging>",
        "<Tagging><TagSet><Tag><Key>&b;</Key><Value>c</Value></Tag></TagSet></Tagging>",
        &deep,
    ];
    for body in bodies {
        for path in ["/photos", "/photos/k"] {
            let reply = client.call("PUT", path).query("tagging").body(body.as_bytes()).send().await;
            assert_eq!(reply.code(), "MalformedXML", "{path} {}", &body[..body.len().min(80)]);
        }
    }
    let headers = [
        ("a=1&a=2", "InvalidArgument"),
        ("a=%zz", "InvalidArgument"),
        ("a=%ff", "InvalidArgument"),
        ("=1", "InvalidTag"),
        ("aws:a=1", "InvalidTag"),
        ("a&b&c&d&e&f&g&h&i&j&k", "InvalidTag"),
    ];
    for (value, code) in headers {
        let reply = client.call("PUT", "/photos/new").header("x-amz-tagging", value).body(b"x").send().await;
        assert_eq!(reply.code(), code, "{value}");
    }
    let twice =
        client.call("PUT", "/photos/new").header("x-amz-tagging", "a=1").header("x-amz-tagging", "b=1");
    assert_eq!(twice.send().await.code(), "InvalidArgument");
    assert_eq!(client.head("/photos/new").await.status, 404);
    assert_eq!(get(&client, "/photos/k").await, longest, "what was refused changed nothing");
    assert_eq!(put(&client, "/photos/none", &[]).await, (404, "NoSuchKey".to_owned()));
    assert_eq!(put(&client, "/none", &[]).await, (404, "NoSuchBucket".to_owned()));
}

#[tokio::test]
async fn tags_are_the_owners() {
    let world = World::new().await;
    world.bucket("photos").await;
    let main = world.main();
    main.call("PUT", "/photos/k").header("x-amz-acl", "public-read-write").body(b"x").send().await;
    main.call("PUT", "/photos").query("acl").header("x-amz-acl", "public-read-write").send().await;
    for client in [world.client(ALT), world.anonymous()] {
        for path in ["/photos", "/photos/k"] {
            for method in ["GET", "DELETE"] {
                let reply = client.call(method, path).query("tagging").send().await;
                assert_eq!(reply.code(), "AccessDenied", "{method} {path}");
            }
            assert_eq!(put(&client, path, &[tag("a", "b")]).await.1, "AccessDenied");
        }
        let count = client.get("/photos/k").await;
        assert_eq!(count.status, 200);
    }
    let grant = |right| Some(vec![Grant { bucket: "photos".to_owned(), right }]);
    let (reader, writer) = (
        world.key("FTR", "main", grant(Right::Read)).await,
        world.key("FTW", "main", grant(Right::Write)).await,
    );
    assert_eq!(put(&writer, "/photos/k", &[tag("a", "b")]).await.0, 200);
    assert_eq!(put(&reader, "/photos/k", &[]).await.1, "AccessDenied");
    assert_eq!(get(&reader, "/photos/k").await, [tag("a", "b")]);
    assert_eq!(writer.call("GET", "/photos/k").query("tagging").send().await.code(), "AccessDenied");
    assert_eq!(put(&writer, "/photos", &[]).await.1, "AccessDenied");
}

#[tokio::test]
async fn tags_of_cold_keys() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Cache).await;
    let content = world.script.object("a", 5000);
    let client = world.main();
    assert_eq!(get(&client, "/cold/a").await, [], "as a HEAD finds it");
    assert_eq!(put(&client, "/cold/a", &[tag("a", "b")]).await.0, 200);
    let hit = client.get("/cold/a").await;
    assert_eq!((hit.header("x-cache"), hit.header("x-amz-tagging-count")), ("HIT", "1"));
    assert!(hit.body == content.bytes());
    assert_eq!(get(&client, "/cold/a").await, [tag("a", "b")]);
    assert_eq!(put(&client, "/cold/none", &[]).await, (404, "NoSuchKey".to_owned()));
}

/// A provider's bucket, asked with its owner's key or with none.
fn target(behind: &World, signed: bool) -> ShadowTarget {
    let key = || ShadowCredentials { access_key: MAIN.0.to_owned(), secret_key: MAIN.1.to_owned() };
    ShadowTarget::S3 {
        endpoint: format!("http://{}", behind.address),
        name: "old".to_owned(),
        region: "us-east-1".to_owned(),
        addressing: Default::default(),
        credentials: signed.then(key),
    }
}

async fn provider() -> World {
    let behind = World::new().await;
    behind.public_bucket("old").await;
    for key in ["a", "b", "c", "d"] {
        let path = format!("/old/{key}");
        behind.main().call("PUT", &path).header("x-amz-tagging", "x=1&y=2").body(b"tagged").send().await;
    }
    behind.main().put("/old/bare", b"bare").await;
    behind
}

fn detached(settings: &mut BucketSettings) {
    settings.shadow.clear();
    settings.mode = BucketMode::Plain;
}

/// The tags of an object are what its provider says, whether it is here or not; a migration takes them along.
#[tokio::test]
async fn tags_of_cold_keys_are_those_of_the_provider() {
    let behind = provider().await;
    let world = World::new().await;
    let both = [tag("x", "1"), tag("y", "2")];
    for (name, mode) in [("moved", BucketMode::Migrate), ("cached", BucketMode::Cache)] {
        world.falling_bucket(name, mode, target(&behind, true)).await;
        let client = world.main();
        let at = |key: &str| format!("/{name}/{key}");
        assert_eq!(get(&client, &at("a")).await, both, "{name}: cold");
        assert_eq!(client.head(&at("a")).await.header("x-amz-tagging-count"), "2", "{name}: cold");
        assert_eq!(client.get(&at("a")).await.text(), "tagged");
        // A copy is made when its source is committed here.
        let copy = client.call("PUT", &at("copy")).header("x-amz-copy-source", &at("a")).send().await;
        assert_eq!(copy.status, 200, "{}", copy.text());
        assert_eq!(get(&client, &at("copy")).await, both, "{name}: a copy");
        let filled = client.head(&at("a")).await;
        assert_eq!((filled.header("x-cache"), filled.header("x-amz-tagging-count")), ("HIT", "2"), "{name}");
        assert_eq!(get(&client, &at("a")).await, both, "{name}: filled");
        // What is set of it otherwise leaves them, and what a client says of them wins.
        let acl = client.call("PUT", &at("c")).query("acl").header("x-amz-acl", "public-read").send().await;
        assert_eq!(acl.status, 200, "{}", acl.text());
        assert_eq!(get(&client, &at("c")).await, both, "{name}: with an ACL");
        assert_eq!(put(&client, &at("b"), &[tag("own", "")]).await.0, 200);
        assert_eq!(get(&client, &at("b")).await, [tag("own", "")], "{name}");
        assert_eq!(client.call("DELETE", &at("c")).query("tagging").send().await.status, 204);
        assert_eq!(get(&client, &at("c")).await, [], "{name}");
        assert_eq!(client.head(&at("c")).await.header("x-amz-tagging-count"), "", "{name}");
        assert_eq!(get(&client, &at("bare")).await, [], "{name}");
        assert_eq!(client.call("GET", &at("none")).query("tagging").send().await.code(), "NoSuchKey");
        let stranger = world.client(ALT).call("GET", &at("d")).query("tagging").send().await;
        assert_eq!(stranger.code(), "AccessDenied", "{name}");
    }
    behind.stop().await;
    let client = world.main();
    assert_eq!(get(&client, "/moved/a").await, both, "they came along");
    for path in ["/cached/a", "/cached/d", "/moved/d"] {
        let reply = client.call("GET", path).query("tagging").send().await;
        assert_eq!(reply.status, 503, "{path}: {}", reply.text());
    }
    for (name, key, status) in [("moved", "a", 200), ("moved", "copy", 200), ("cached", "a", 424)] {
        let bucket = world.engine.bucket(&BucketName::parse(name).unwrap()).await.unwrap();
        world.engine.set_bucket(&bucket.name, &detached).await.unwrap();
        let reply = client.call("GET", &format!("/{name}/{key}")).query("tagging").send().await;
        assert_eq!(reply.status, status, "{name}/{key}: {}", reply.text());
    }
}

/// A provider that does not tell its tags has not said that there are none.
#[tokio::test]
async fn tags_that_a_provider_refuses_are_not_none() {
    let behind = provider().await;
    let world = World::new().await;
    let client = world.main();
    for (name, treat) in [("plain", Treat403As::Error), ("hidden", Treat403As::Absent)] {
        let bucket = world.falling_bucket(name, BucketMode::Migrate, target(&behind, false)).await;
        let set = |settings: &mut BucketSettings| settings.shadow[0].treat_403_as = treat;
        world.engine.set_bucket(&bucket.name, &set).await.unwrap();
        let path = format!("/{name}/a");
        let asked = async |when: &str| {
            let reply = client.call("GET", &path).query("tagging").send().await;
            assert_eq!((reply.status, reply.code().as_str()), (424, "ShadowMisconfigured"), "{name}, {when}");
        };
        asked("cold").await;
        assert_eq!(client.get(&path).await.text(), "tagged", "{name}");
        let copy = client.call("PUT", &format!("/{name}/copy")).header("x-amz-copy-source", &path);
        assert_eq!(copy.send().await.status, 424, "{name}: a copy would be one without its tags");
        let copy = client.call("PUT", &format!("/{name}/copy")).header("x-amz-copy-source", &path);
        let copy = copy.header("x-amz-tagging-directive", "REPLACE").send().await;
        assert_eq!(copy.status, 200, "{name}: {}", copy.text());
        assert_eq!(get(&client, &format!("/{name}/copy")).await, [], "{name}");
        asked("filled").await;
        world.engine.set_bucket(&bucket.name, &detached).await.unwrap();
        asked("detached").await;
    }
}

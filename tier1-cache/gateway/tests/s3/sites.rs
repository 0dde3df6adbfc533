//! Addresses of people's own and websites: what they show, and that they show nothing that is not for whoever asks.

use fallthrough_bucket::BucketMode;
use fallthrough_gateway::{GatewayOptions, Route};
use fallthrough_object::BucketName;

use crate::client::{Client, Reply};
use crate::multipart::{complete, element, part};
use crate::world::World;

const WEBSITE: &str = "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
    <ErrorDocument><Key>oops.html</Key></ErrorDocument></WebsiteConfiguration>";

fn route(host: &str, path: &str, bucket: &str, prefix: &str, clean_urls: bool) -> Route {
    Route {
        host: host.to_owned(),
        path: path.to_owned(),
        bucket: BucketName::parse(bucket).unwrap(),
        prefix: prefix.to_owned(),
        clean_urls,
    }
}

async fn world() -> World {
    let routes = vec![
        route("www.example.org", "/", "site", "", true),
        route("www.example.org", "/avatars/", "avatars", "v1/", false),
        route("closed.example.org", "/", "closed", "", true),
    ];
    let options = GatewayOptions { routes, ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    for bucket in ["site", "avatars"] {
        world.public_bucket(bucket).await;
    }
    world.bucket("closed").await;
    let main = world.main();
    for bucket in ["/site", "/closed"] {
        let put = main.call("PUT", bucket).query("website").body(WEBSITE.as_bytes()).send().await;
        assert_eq!(put.status, 200, "{}", put.text());
        for (key, text) in [
            ("index.html", "home"),
            ("oops.html", "oops, this is longer than others"),
            ("docs/index.html", "docs"),
            ("about.html", "about"),
            ("a b+c.txt", "awkward"),
        ] {
            assert_eq!(main.put(&format!("{bucket}/{key}"), text.as_bytes()).await.status, 200);
        }
    }
    main.put("/avatars/v1/x", b"face").await;
    main.put("/avatars/secret", b"not under the prefix").await;
    world
}

async fn get(client: &Client, host: &str, path: &str) -> Reply {
    client.call("GET", "/").raw_path(path).header("host", host).send().await
}

#[tokio::test]
async fn a_website_shows_its_documents() {
    let world = world().await;
    let anyone = world.anonymous();
    let main = world.main();
    let moved = main.call("PUT", "/site/old").header("x-amz-website-redirect-location", "/about");
    assert_eq!(moved.send().await.status, 200);
    let (own, given) = ("www.example.org", "site.s3-website.localhost:9900");
    // Host, path; status, body, and where it leads.
    let rows = [
        (own, "/", 200, "home", ""),
        (given, "/", 200, "home", ""),
        (own, "/?utm=x&acl&response-content-type=text/html", 200, "home", ""),
        (own, "/docs/", 200, "docs", ""),
        (own, "/docs", 302, "", "/docs/"),
        (given, "/docs", 302, "", "/docs/"),
        (own, "/about", 200, "about", ""),
        (given, "/about", 404, "oops, this is longer than others", ""),
        (own, "/a%20b+c.txt", 200, "awkward", ""),
        (own, "/old", 301, "", "/about"),
        (own, "/none", 404, "oops, this is longer than others", ""),
        (own, "/none/", 404, "oops, this is longer than others", ""),
        (own, "//docs", 404, "oops, this is longer than others", ""),
        (own, "/avatars/x", 200, "face", ""),
    ];
    for (host, path, status, body, location) in rows {
        let reply = get(&anyone, host, path).await;
        let got = (reply.status, reply.text(), reply.header("location").to_owned());
        assert_eq!(got, (status, body.to_owned(), location.to_owned()), "{host}{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(reply.header("content-security-policy").contains("default-src"));
        let head = anyone.call("HEAD", "/").raw_path(path).header("host", host).send().await;
        assert_eq!((head.status, head.body.len()), (status, 0), "HEAD {host}{path}");
    }
    // An error document is whole, whatever range and conditions came along.
    let etag = anyone.get("/site/oops.html").await.header("etag").to_owned();
    let reply = anyone
        .call("GET", "/none")
        .header("host", own)
        .header("range", "bytes=0-3")
        .header("if-none-match", &etag)
        .send()
        .await;
    assert_eq!((reply.status, reply.text().as_str()), (404, "oops, this is longer than others"));
    // What is no website says what S3 says; its origin runs nothing.
    let missing = get(&anyone, own, "/avatars/none").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "NoSuchKey"));
    assert!(missing.header("content-security-policy").contains("sandbox"));
    // The S3 address of the same bucket is not a website.
    assert_eq!(anyone.call("GET", "/").header("host", "site.localhost").send().await.status, 403);
    assert_eq!(anyone.get("/site/old").await.header("x-amz-website-redirect-location"), "/about");
}

#[tokio::test]
async fn an_address_opens_no_door() {
    let world = world().await;
    let (main, anyone) = (world.main(), world.anonymous());
    for (host, path) in [
        ("closed.example.org", "/"),
        ("closed.example.org", "/about"),
        ("closed.example.org", "/none"),
        ("closed.s3-website.localhost", "/index.html"),
    ] {
        let reply = get(&anyone, host, path).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"), "{host}{path}");
        assert!(!reply.text().contains("oops"), "{host}{path}");
    }
    // The owner's own signature opens it, as anywhere.
    assert_eq!(get(&main, "closed.example.org", "/about").await.text(), "about");
    let rows = [
        ("www.example.org", "/avatars/../secret", 404),
        ("www.example.org", "/avatars/%2e%2e/secret", 404),
        ("www.example.org", "/avatars/", 404),
        ("nowhere.s3-website.localhost", "/", 404),
    ];
    for (host, path, status) in rows {
        let reply = get(&anyone, host, path).await;
        assert_eq!(reply.status, status, "{host}{path}: {}", reply.text());
        assert!(!reply.text().contains("not under the prefix"));
    }
    // Nothing but reads of objects, whoever asks.
    for (method, query) in [("PUT", ""), ("DELETE", ""), ("POST", "delete"), ("POST", "uploads")] {
        let reply =
            main.call(method, "/k").query(query).header("host", "www.example.org").body(b"x").send().await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "MethodNotAllowed"), "{method}");
    }
    let list = main.call("GET", "/").query("list-type=2").header("host", "www.example.org").send().await;
    assert_eq!(list.text(), "home");
}

#[tokio::test]
async fn a_website_may_lead_elsewhere_as_a_whole_and_routes_can_be_replaced() {
    let world = world().await;
    let anyone = world.anonymous();
    let elsewhere = "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>other.test</HostName>\
        <Protocol>https</Protocol></RedirectAllRequestsTo></WebsiteConfiguration>";
    let put = world.main().call("PUT", "/site").query("website").body(elsewhere.as_bytes()).send().await;
    assert_eq!(put.status, 200);
    let reply = get(&anyone, "www.example.org", "/a/b?c=d").await;
    assert_eq!((reply.status, reply.header("location")), (301, "https://other.test/a/b?c=d"));
    let gone = world.main().call("DELETE", "/site").query("website").send().await;
    assert_eq!(gone.status, 204);
    assert_eq!(get(&anyone, "www.example.org", "/").await.status, 404);
    assert_eq!(get(&anyone, "www.example.org", "/about").await.text(), "about", "the route's own choice");
    world.gateway.set_routes(&[route("new.example.org", "/", "avatars", "v1/", false)]);
    assert_eq!(get(&anyone, "new.example.org", "/x").await.text(), "face");
    assert_ne!(get(&anyone, "www.example.org", "/about").await.status, 200);
}

#[tokio::test]
async fn awkward_keys_are_reached_by_host_and_by_path_alike() {
    let world = world().await;
    world.bucket("odd").await;
    let main = world.main();
    for key in [
        " ",
        "a b",
        "+",
        "%41",
        "a%2Fb",
        "//x",
        "../x",
        "é\u{1F600}",
        "a\nb",
        "a\"'<&>",
        "?a=b#c",
        "dir/",
        "*",
    ] {
        let put = main.call("PUT", &format!("/{key}")).header("host", "odd.localhost:1").body(key.as_bytes());
        let put = put.send().await;
        assert_eq!(put.status, 200, "{key:?} {}", put.text());
        let by_path = main.get(&format!("/odd/{key}")).await;
        assert_eq!((by_path.status, by_path.text().as_str()), (200, key), "{key:?}");
        let by_host = main.call("DELETE", &format!("/{key}")).header("host", "odd.localhost").send().await;
        assert_eq!(by_host.status, 204, "{key:?}");
        assert_eq!(main.get(&format!("/odd/{key}")).await.status, 404, "{key:?}");
    }
}

#[tokio::test]
async fn objects_say_when_they_expire() {
    let world = world().await;
    let main = world.main();
    let rule = "<LifecycleConfiguration><Rule><ID>a b</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status>\
        <Expiration><Days>2</Days></Expiration></Rule></LifecycleConfiguration>";
    assert_eq!(main.call("PUT", "/site").query("lifecycle").body(rule.as_bytes()).send().await.status, 200);
    let read = main.call("GET", "/site").query("lifecycle").send().await;
    assert!(read.text().contains("<Days>2</Days>"), "{}", read.text());
    for reply in
        [main.put("/site/tmp/a", b"x").await, main.get("/site/tmp/a").await, main.head("/site/tmp/a").await]
    {
        let expiry = reply.header("x-amz-expiration");
        assert!(expiry.contains("00:00:00 GMT\", rule-id=\"a%20b\""), "{expiry:?}");
    }
    assert_eq!(main.put("/site/other", b"x").await.header("x-amz-expiration"), "");
    assert_eq!(main.call("DELETE", "/site").query("lifecycle").send().await.status, 204);
    assert_eq!(main.get("/site/tmp/a").await.header("x-amz-expiration"), "");
}

#[tokio::test]
async fn whatever_makes_an_object_says_when_it_expires_and_uploads_when_they_end() {
    let world = World::new().await;
    world.bucket("photos").await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.script.object("tmp/a", 10);
    world.script.object("tmp/b", 10);
    let main = world.main();
    let rules = "<LifecycleConfiguration><Rule><ID>a b</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status>\
        <Expiration><Days>2</Days></Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>3\
        </DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>";
    for bucket in ["/photos", "/cold"] {
        let put = main.call("PUT", bucket).query("lifecycle").body(rules.as_bytes()).send().await;
        assert_eq!(put.status, 200, "{}", put.text());
    }
    let ends = |reply: &Reply| {
        assert!(reply.header("x-amz-abort-date").ends_with("00:00:00 GMT"), "{:?}", reply.headers);
        assert_eq!(reply.header("x-amz-abort-rule-id"), "a%20b");
    };
    let begun = main.call("POST", "/photos/tmp/k").query("uploads").send().await;
    ends(&begun);
    let id = element(&begun.text(), "UploadId").to_owned();
    let part = part(&main, "/photos/tmp/k", &id, 1, b"part").await;
    ends(&main.call("GET", "/photos/tmp/k").query(&format!("uploadId={id}")).send().await);
    let other = main.call("POST", "/photos/other").query("uploads").send().await;
    assert_eq!((other.status, other.header("x-amz-abort-date")), (200, ""));

    let done = complete(&main, "/photos/tmp/k", &id, &[(1, part.header("etag"))]).await;
    let copy = main.call("PUT", "/photos/tmp/copy").header("x-amz-copy-source", "photos/tmp/k").send().await;
    for reply in [done, copy] {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.header("x-amz-expiration").contains("rule-id=\"a%20b\""), "{:?}", reply.headers);
    }
    // Nothing expires that is not here.
    for _ in 0..2 {
        assert_eq!(main.head("/cold/tmp/a").await.header("x-amz-expiration"), "");
    }
    let range = main.call("GET", "/cold/tmp/a").header("range", "bytes=1-2").send().await;
    assert_eq!((range.status, range.header("x-amz-expiration")), (206, ""));
    for _ in 0..2 {
        assert!(main.get("/cold/tmp/b").await.header("x-amz-expiration").contains("a%20b"));
    }
    assert!(main.head("/cold/tmp/b").await.header("x-amz-expiration").contains("a%20b"));
}

#[tokio::test]
async fn a_folder_of_a_route_is_found_without_its_slash_and_versions_are_no_endings() {
    let routes = vec![
        route("pre.example.org", "/docs/", "site", "docs/", true),
        route("www.example.org", "/", "site", "docs/", true),
    ];
    let options = GatewayOptions { routes, ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.public_bucket("site").await;
    let (main, anyone) = (world.main(), world.anonymous());
    for key in ["v1.2.html", "note.txt.html", "v2.html"] {
        main.put(&format!("/site/docs/{key}"), b"page").await;
    }
    for (host, path, status, location) in [
        ("pre.example.org", "/docs", 302, "/docs/"),
        ("pre.example.org", "/d%6fcs", 302, "/d%6fcs/"),
        ("pre.example.org", "/doc", 404, ""),
        ("pre.example.org", "/docs/v1.2", 200, ""),
        ("www.example.org", "/v1.2", 200, ""),
        ("www.example.org", "/v2", 200, ""),
        ("www.example.org", "/note.txt", 404, ""),
    ] {
        let reply = get(&anyone, host, path).await;
        assert_eq!((reply.status, reply.header("location")), (status, location), "{host}{path}");
    }
}

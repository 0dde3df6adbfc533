//! Who may do what, over the wire.

use std::net::SocketAddr;
use std::time::Duration;

use fallthrough_bucket::{BucketMode, Grant, Right};
use fallthrough_gateway::{GatewayOptions, Strangers};
use fallthrough_object::Timestamp;
use fallthrough_wire::sigv4::Credentials;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::world::{ALT, MAIN, World, key_row};

fn grant(bucket: &str, right: Right) -> Option<Vec<Grant>> {
    Some(vec![Grant { bucket: bucket.to_owned(), right }])
}

#[tokio::test]
async fn keys_do_what_they_are_granted() {
    let world = World::new().await;
    world.bucket("private").await;
    world.public_bucket("public").await;
    let main = world.main();
    main.put("/private/k", b"x").await;
    main.put("/public/k", b"x").await;
    let clients = [
        ("anonymous", world.anonymous()),
        ("alt", world.client(ALT)),
        ("reader", world.key("FTREAD", "main", grant("private", Right::Read)).await),
        ("writer", world.key("FTWRITE", "main", grant("private", Right::Write)).await),
        ("owner", world.key("FTOWN", "main", grant("*", Right::Owner)).await),
    ];
    // In the order of `clients`: one character each, `+` allowed.
    let rows = [
        ("GET", "/private/k", "", "--+-+"),
        ("HEAD", "/private/k", "", "--+-+"),
        ("GET", "/public/k", "", "+++++"),
        ("HEAD", "/public/k", "", "+++++"),
        ("GET", "/public", "list-type=2", "----+"),
        ("GET", "/private", "", "--+-+"),
        ("GET", "/private", "location", "--+-+"),
        ("GET", "/private", "acl", "--+-+"),
        ("HEAD", "/private", "", "--+-+"),
        ("PUT", "/private/new", "", "---++"),
        ("PUT", "/public/new", "", "----+"),
        ("DELETE", "/private/other", "", "---++"),
        ("DELETE", "/public/other", "", "----+"),
        ("GET", "/public/k", "acl", "----+"),
    ];
    for (method, path, query, want) in rows {
        for ((who, client), want) in clients.iter().zip(want.chars()) {
            let reply = client.call(method, path).query(query).send().await;
            let got = if reply.status < 300 { '+' } else { '-' };
            assert_eq!(got, want, "{who}: {method} {path}?{query}: {} {}", reply.status, reply.text());
            if got == '-' && method != "HEAD" {
                assert_eq!(reply.code(), "AccessDenied", "{who}: {method} {path}");
            }
        }
    }
    for (who, client) in &clients[..4] {
        assert_eq!(client.delete("/private").await.code(), "AccessDenied", "{who}");
    }
    for (who, client) in &clients[..1] {
        assert_eq!(client.put("/created", b"").await.code(), "AccessDenied", "{who}");
    }
    let seen = clients[2].1.get("/").await.text();
    assert!(seen.contains("private") && !seen.contains("public"), "{seen}");
    let expected = main.call("GET", "/private/k").header("x-amz-expected-bucket-owner", "alt").send().await;
    assert_eq!((expected.status, expected.code().as_str()), (403, "AccessDenied"));
    let expected = main.call("GET", "/private/k").header("x-amz-expected-bucket-owner", "main").send().await;
    assert_eq!(expected.status, 200);
}

#[tokio::test]
async fn a_key_that_was_taken_away_is_refused_at_once() {
    let world = World::new().await;
    world.bucket("private").await;
    let client = world.key("FTTEMP", "main", None).await;
    assert_eq!(client.put("/private/k", b"x").await.status, 200);
    world.engine.delete_access_key("FTTEMP").await.unwrap();
    world.gateway.forget_key("FTTEMP");
    assert_eq!(client.get("/private/k").await.code(), "InvalidAccessKeyId");
    world.engine.put_access_key(key_row("FTTEMP", "another-secret", "main", None)).await.unwrap();
    world.gateway.forget_key("FTTEMP");
    assert_eq!(client.get("/private/k").await.code(), "SignatureDoesNotMatch");
    let mut expired = key_row("FTTEMP", "limited-secret", "main", None);
    expired.expires = Some(Timestamp(1));
    world.engine.put_access_key(expired).await.unwrap();
    world.gateway.forget_key("FTTEMP");
    assert_eq!(client.get("/private/k").await.code(), "InvalidAccessKeyId");
}

#[tokio::test]
async fn anonymous_answers_are_harmless_in_a_browser() {
    let world = World::new().await;
    world.public_bucket("public").await;
    let (main, anyone) = (world.main(), world.anonymous());
    main.call("PUT", "/public/page").header("content-type", "text/html").body(b"<script>").send().await;
    let reply = anyone.call("GET", "/public/page").header("origin", "https://a.example").send().await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert!(reply.header("content-security-policy").contains("sandbox"));
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let overridden =
        anyone.call("GET", "/public/page").query("response-content-type=text%2Fhtml").send().await;
    assert_eq!(overridden.code(), "InvalidRequest");
    let signed = main.get("/public/page").await;
    assert!(!signed.headers.contains_key("content-security-policy"));
    assert!(!signed.headers.contains_key("access-control-allow-origin"));

    let preflight = |bucket: &'static str, method: &'static str| {
        anyone
            .call("OPTIONS", bucket)
            .header("origin", "https://a.example")
            .header("access-control-request-method", method)
            .send()
    };
    let reply = preflight("/public/page", "GET").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, "*"));
    for (bucket, method) in [("/public/page", "PUT"), ("/private/page", "GET"), ("/missing/page", "GET")] {
        assert_eq!(preflight(bucket, method).await.status, 403, "{bucket} {method}");
    }
    assert_eq!(anyone.call("OPTIONS", "/public/page").send().await.status, 400);
}

/// What a server takes that is shown around in a network, whatever keys somebody has got hold of.
#[tokio::test]
async fn strangers_read_anonymously_where_nothing_else_is_allowed() {
    let options = GatewayOptions { strangers: Strangers::ReadAnonymously, ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.bucket("private").await;
    world.public_bucket("public").await;
    let near = world.main();
    near.put("/private/k", b"mine").await;
    near.put("/public/k", b"everybody's").await;

    let far = from_elsewhere(&world, "192.168.1.20:5000").await;
    let of = |key: (&str, &str)| Client::new(far, Some(Credentials::new(key.0, key.1)), world.clock.now());
    let anyone = Client::new(far, None, world.clock.now());
    assert_eq!(anyone.get("/public/k").await.body, b"everybody's");
    assert_eq!(anyone.head("/public/k").await.status, 200);
    for (method, path) in [
        ("PUT", "/public/k"),
        ("DELETE", "/public/k"),
        ("GET", "/public"),
        ("GET", "/private/k"),
        ("PUT", "/made"),
    ] {
        assert_eq!(anyone.call(method, path).send().await.code(), "AccessDenied", "{method} {path}");
    }
    assert!(!anyone.get("/").await.text().contains("<Name>"), "nobody has no buckets");
    // Right keys, wrong ones and unknown ones look alike.
    for key in [MAIN, (MAIN.0, "not-the-secret"), ("FTNOBODY", "x")] {
        let client = of(key);
        for (method, path) in [
            ("GET", "/public/k"),
            ("GET", "/private/k"),
            ("PUT", "/private/k"),
            ("DELETE", "/public/k"),
            ("GET", "/"),
            ("PUT", "/made"),
        ] {
            let reply = client.call(method, path).send().await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (403, "AccessDenied"),
                "{key:?} {method} {path}"
            );
        }
        let target = client.presign("GET", "/private/k", "", Duration::from_secs(60));
        let reply = anyone.raw(&format!("GET {target} HTTP/1.1\r\nhost: {{host}}\r\n\r\n")).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"), "{key:?} presigned");
    }
    // This machine is no stranger, by whichever of its addresses.
    for here in ["127.0.0.1:5000", "127.3.2.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
        let address = from_elsewhere(&world, here).await;
        let client = Client::new(address, Some(Credentials::new(MAIN.0, MAIN.1)), world.clock.now());
        assert_eq!(client.get("/private/k").await.body, b"mine", "{here}");
    }
    // Where it was not asked for, strangers are as others.
    let open = World::new().await;
    open.bucket("private").await;
    let far = from_elsewhere(&open, "192.168.1.20:5000").await;
    let client = Client::new(far, Some(Credentials::new(MAIN.0, MAIN.1)), open.clock.now());
    assert_eq!(client.put("/private/k", b"x").await.status, 200);
}

/// Another door to the gateway, which takes everybody who comes through it for somebody at `peer`.
async fn from_elsewhere(world: &World, peer: &str) -> SocketAddr {
    let peer: SocketAddr = peer.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gateway, shutdown) = (world.gateway.clone(), world.shutdown.clone());
    let connections = TaskTracker::new();
    let tasks = connections.clone();
    connections.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            tasks.spawn(async move { gateway.serve_connection(socket, peer, shutdown).await });
        }
    });
    address
}

#[tokio::test]
async fn who_may_read_and_write_may_not_open_what_is_kept_from_others() {
    let world = World::new().await;
    world.bucket("private").await;
    let main = world.main();
    main.put("/private/k", b"secret").await;
    let both = |right| Grant { bucket: "private".to_owned(), right };
    let limited = world.key("FTBOTH", "main", Some(vec![both(Right::Read), both(Right::Write)])).await;
    let copy = |acl: &'static str| {
        let call = limited.call("PUT", "/private/k").header("x-amz-copy-source", "/private/k");
        call.header("x-amz-metadata-directive", "REPLACE").header("x-amz-acl", acl).send()
    };
    for acl in ["public-read", "public-read-write", "authenticated-read"] {
        assert_eq!(copy(acl).await.code(), "AccessDenied", "{acl}");
        let put = limited.call("PUT", "/private/new").header("x-amz-acl", acl).body(b"x").send().await;
        assert_eq!(put.code(), "AccessDenied", "{acl}");
        assert_eq!(main.get("/private/new").await.status, 404, "{acl}");
    }
    assert_eq!(world.anonymous().get("/private/k").await.status, 403);
    for acl in ["private", "bucket-owner-full-control"] {
        assert_eq!(copy(acl).await.status, 200, "{acl}");
    }
    let owner = world.key("FTOWNER", "main", grant("private", Right::Owner)).await;
    let open = owner.call("PUT", "/private/open").header("x-amz-acl", "public-read").body(b"x").send().await;
    assert_eq!((open.status, world.anonymous().get("/private/open").await.status), (200, 200));
}

#[tokio::test]
async fn who_may_read_and_not_fill_is_told_what_there_is() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.script.object("k", 100);
    let reader = world.key("FTREADER", "main", grant("cold", Right::Read)).await;
    assert_eq!(reader.head("/cold/k").await.header("content-length"), "100");
    assert_eq!(reader.get("/cold/missing").await.code(), "NoSuchKey");
    let range = |path| reader.call("GET", path).header("range", "bytes=1-2").send();
    assert_eq!(range("/cold/missing").await.code(), "NoSuchKey");
    assert_eq!(range("/cold/k").await.code(), "AccessDenied");
}

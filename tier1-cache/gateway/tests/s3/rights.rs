//! Who may do what, over the wire.

use fallthrough_bucket::{Grant, Right};
use fallthrough_object::Timestamp;

use crate::world::{ALT, World, key_row};

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

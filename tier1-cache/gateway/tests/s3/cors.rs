//! CORS: rules are put, read and removed; preflights and answers say what they say.

use std::time::Duration;

use crate::client::{Client, Reply};
use crate::world::World;

const RULES: &str = "<CORSConfiguration>\
    <CORSRule><ID>one</ID><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod>\
    <AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedHeader>content-*</AllowedHeader>\
    <AllowedHeader>X-Amz-Meta-Colour</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
    <MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>\
    <CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";

async fn ruled(world: &World) -> Client {
    world.bucket("photos").await;
    let main = world.main();
    let put = main.call("PUT", "/photos").query("cors").body(RULES.as_bytes()).send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(main.put("/photos/k", b"hello").await.status, 200);
    main
}

#[tokio::test]
async fn rules_are_put_read_and_removed() {
    let world = World::new().await;
    let main = ruled(&world).await;
    let read = main.call("GET", "/photos").query("cors").send().await;
    assert_eq!(read.status, 200);
    for part in ["<ID>one</ID>", "<AllowedHeader>X-Amz-Meta-Colour</AllowedHeader>", "<MaxAgeSeconds>300<"] {
        assert!(read.text().contains(part), "{}", read.text());
    }
    // Others may neither read nor change them, and what is wrong changes nothing.
    for (who, method) in [(world.client(crate::world::ALT), "PUT"), (world.anonymous(), "DELETE")] {
        let reply = who.call(method, "/photos").query("cors").body(RULES.as_bytes()).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "AccessDenied"));
    }
    let wrong = main.call("PUT", "/photos").query("cors").body(b"<CORSConfiguration/>").send().await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "MalformedXML"));
    let again = main.call("GET", "/photos").query("cors").send().await;
    assert_eq!(again.text(), read.text());
    let gone = main.call("DELETE", "/photos").query("cors").send().await;
    assert_eq!(gone.status, 204);
    let none = main.call("GET", "/photos").query("cors").send().await;
    assert_eq!((none.status, none.code().as_str()), (404, "NoSuchCORSConfiguration"));
    assert_eq!(main.call("DELETE", "/photos").query("cors").send().await.status, 204);
    assert_eq!(main.get("/photos/k").await.body, b"hello");
}

async fn preflight(client: &Client, origin: &str, method: &str, headers: &str) -> Reply {
    let call = client
        .call("OPTIONS", "/photos/k")
        .header("origin", origin)
        .header("access-control-request-method", method);
    if headers.is_empty() { call } else { call.header("access-control-request-headers", headers) }
        .send()
        .await
}

#[tokio::test]
async fn preflights_follow_the_first_rule_that_fits() {
    let world = World::new().await;
    ruled(&world).await;
    let anyone = world.anonymous();
    let (page, other) = ("https://www.example.com", "http://other.test");
    // Origin, method, request headers; the origin that is allowed, or none.
    let rows = [
        (page, "PUT", "", Some(page)),
        (page, "GET", "Content-Type,  x-amz-meta-colour", Some(page)),
        (page, "GET", "", Some(page)),
        (page, "PUT", "x-amz-acl", None),
        (page, "PUT", "content-type, a b", None),
        (page, "DELETE", "", None),
        (page, "put", "", None),
        (other, "GET", "", Some("*")),
        (other, "GET", "content-type", None),
        (other, "PUT", "", None),
        ("https://example.com", "PUT", "", None),
        ("https://www.example.com.evil.test", "PUT", "", None),
    ];
    for (origin, method, headers, want) in rows {
        let reply = preflight(&anyone, origin, method, headers).await;
        let what = format!("{origin} {method} {headers}: {}", reply.text());
        match want {
            Some(want) => {
                assert_eq!(reply.status, 200, "{what}");
                assert_eq!(reply.header("access-control-allow-origin"), want, "{what}");
                assert!(reply.header("access-control-allow-methods").contains(method), "{what}");
                assert!(reply.header("vary").contains("Origin"), "{what}");
                let credentials = reply.header("access-control-allow-credentials");
                assert_eq!(credentials, if want == "*" { "" } else { "true" }, "{what}");
            }
            None => {
                assert_eq!((reply.status, reply.code().as_str()), (403, "AccessForbidden"), "{what}");
                assert!(reply.error().message.starts_with("CORSResponse:"), "{what}");
                assert!(!reply.headers.contains_key("access-control-allow-origin"), "{what}");
            }
        }
    }
    let reply = preflight(&anyone, page, "PUT", "Content-MD5, x-amz-meta-colour").await;
    assert_eq!(reply.header("access-control-allow-headers"), "content-md5, x-amz-meta-colour");
    assert_eq!(reply.header("access-control-max-age"), "300");
    assert_eq!(reply.header("access-control-expose-headers"), "ETag");
    let many = vec!["content-a"; 101].join(",");
    assert_eq!(preflight(&anyone, page, "PUT", &many).await.status, 403);
    let bare = anyone.call("OPTIONS", "/photos/k").header("origin", page).send().await;
    assert_eq!((bare.status, bare.code().as_str()), (400, "BadRequest"));
    let nowhere = anyone.call("OPTIONS", "/nowhere").header("origin", page);
    let nowhere = nowhere.header("access-control-request-method", "GET").send().await;
    assert_eq!((nowhere.status, nowhere.code().as_str()), (403, "AccessForbidden"));
}

#[tokio::test]
async fn answers_and_refusals_say_which_pages_may_see_them() {
    let world = World::new().await;
    let main = ruled(&world).await;
    let anyone = world.anonymous();
    let page = "https://www.example.com";
    let get = |client: &'_ Client, path: &'static str, origin: &'static str| {
        let call = client.call("GET", path).header("origin", origin);
        let (head, _) = call.encode();
        let text = String::from_utf8(head).unwrap();
        async move { text }
    };
    let rows = [
        (&main, "/photos/k", page, 200, page),
        (&main, "/photos/none", page, 404, page),
        (&anyone, "/photos/k", page, 403, page),
        (&anyone, "/photos/k", "http://other.test", 403, "*"),
        (&main, "/photos", page, 200, page),
    ];
    for (client, path, origin, status, want) in rows {
        let text = get(client, path, origin).await;
        let reply = client.raw(&text).await;
        assert_eq!(reply.status, status, "{path} {origin}");
        assert_eq!(reply.header("access-control-allow-origin"), want, "{path} {origin}");
        assert!(reply.header("vary").contains("Origin"));
        assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().count(), 1);
    }
    // What no rule fits is answered all the same, and pages do not see it.
    let put = main.call("PUT", "/photos/k").header("origin", "http://other.test").body(b"x").send().await;
    assert_eq!((put.status, put.header("access-control-allow-origin")), (200, ""));
    assert!(put.header("vary").contains("Origin"));
    let plain = main.get("/photos/k").await;
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    // With rules, what is public is for the pages that they name.
    world.public_bucket("open").await;
    main.put("/open/k", b"x").await;
    assert_eq!(anyone.get("/open/k").await.header("access-control-allow-origin"), "*");
    let rule = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>\
        <AllowedOrigin>https://a.test</AllowedOrigin></CORSRule></CORSConfiguration>";
    assert_eq!(main.call("PUT", "/open").query("cors").body(rule.as_bytes()).send().await.status, 200);
    let rows = [("", ""), ("https://b.test", ""), ("https://a.test", "https://a.test")];
    for (origin, want) in rows {
        let call = anyone.call("GET", "/open/k");
        let reply = if origin.is_empty() { call } else { call.header("origin", origin) }.send().await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, want), "{origin}");
        assert!(reply.header("vary").contains("Origin"), "{origin}");
    }
}

#[tokio::test]
async fn a_page_puts_with_a_presigned_url() {
    let world = World::new().await;
    let main = ruled(&world).await;
    let anyone = world.anonymous();
    let page = "https://app.example.com";
    assert_eq!(preflight(&anyone, page, "PUT", "content-type").await.status, 200);
    let target = main.presign("PUT", "/photos/up", "", Duration::from_secs(60));
    let put = anyone
        .raw(&format!(
            "PUT {target} HTTP/1.1\r\nhost: {{host}}\r\norigin: {page}\r\ncontent-type: text/plain\r\n\
             content-length: 5\r\n\r\nhello"
        ))
        .await;
    assert_eq!((put.status, put.header("access-control-allow-origin")), (200, page), "{}", put.text());
    assert!(put.headers.contains_key("etag"));
    assert_eq!(main.get("/photos/up").await.body, b"hello");
    let other = "http://other.test";
    let bad = anyone
        .raw(&format!(
            "PUT {} HTTP/1.1\r\nhost: {{host}}\r\norigin: {other}\r\ncontent-length: 1\r\n\r\nx",
            target.replace("Signature=", "Signature=0")
        ))
        .await;
    assert_eq!((bad.status, bad.header("access-control-allow-origin")), (400, ""), "{}", bad.text());
}

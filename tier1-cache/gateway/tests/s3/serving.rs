//! The listener: keep-alive, bounds, pages, the graceful end.

use std::time::Duration;

use fallthrough_bucket::BucketMode;
use fallthrough_gateway::{GatewayOptions, PageHandler};
use fallthrough_sim::At;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Reply;
use crate::world::World;

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let mut socket = client.connect().await;
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..20 {
        let body = vec![b'x'; n * 1000];
        let (head, body) = client.call("PUT", "/photos/k").body(&body).encode();
        socket.write_all(&[head, body].concat()).await.unwrap();
        let put = Reply::read(&mut socket, false).await;
        assert_eq!(put.status, 200, "{n}");
        let (head, _) = client.call("GET", "/photos/k").encode();
        socket.write_all(&head).await.unwrap();
        let get = Reply::read(&mut socket, false).await;
        assert_eq!((get.status, get.body.len()), (200, n * 1000));
        ids.insert(put.header("x-amz-request-id").to_owned());
        ids.insert(get.header("x-amz-request-id").to_owned());
    }
    assert_eq!(ids.len(), 40);
    // A short body that is refused is taken off the connection, which goes on.
    let (head, body) = world.anonymous().call("PUT", "/photos/k").body(b"refused").encode();
    socket.write_all(&[head, body].concat()).await.unwrap();
    assert_eq!(Reply::read(&mut socket, false).await.code(), "AccessDenied");
    let (head, _) = client.call("GET", "/photos/k").encode();
    socket.write_all(&head).await.unwrap();
    assert_eq!(Reply::read(&mut socket, false).await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_back() {
    let options = GatewayOptions { max_connections: 2, ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.bucket("photos").await;
    let client = world.main();
    let (head, _) = client.call("GET", "/photos").encode();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = client.connect().await;
        socket.write_all(&head).await.unwrap();
        assert_eq!(Reply::read(&mut socket, false).await.status, 200);
        held.push(socket);
    }
    let mut socket = client.connect().await;
    let reply = Reply::read(&mut socket, false).await;
    assert_eq!((reply.status, reply.header("retry-after"), reply.code().as_str()), (503, "1", "SlowDown"));
    // A place that gets free is used.
    let mut freed = held.pop().unwrap();
    freed.shutdown().await.unwrap();
    let mut rest = Vec::new();
    freed.read_to_end(&mut rest).await.unwrap();
    loop {
        let mut socket = client.connect().await;
        // May meet the refusal of a server that has not noticed yet.
        let _ = socket.write_all(&head).await;
        if Reply::read(&mut socket, false).await.status == 200 {
            break;
        }
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let options = GatewayOptions { head_timeout: Duration::from_millis(200), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    for begun in ["", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut socket = world.anonymous().connect().await;
        socket.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{begun:?}");
    }
}

#[tokio::test]
async fn pages_stand_beside_the_buckets() {
    let pages = PageHandler::new(|method, uri, _| {
        let text = format!("{method} {}", uri.path());
        let known = uri.path() == "/_demo" || uri.path() == "/";
        let answer = async move { http::Response::new(axum::body::Body::from(text)) };
        known.then(|| -> futures::future::BoxFuture<'static, _> { Box::pin(answer) })
    });
    let options = GatewayOptions { pages: Some(pages), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    let anyone = world.anonymous();
    assert_eq!(anyone.get("/_demo").await.text(), "GET /_demo");
    assert_eq!(anyone.get("/").await.text(), "GET /");
    assert_eq!(anyone.get("/_demo/missing").await.code(), "InvalidBucketName");
    assert!(
        world.main().get("/").await.text().contains("ListAllMyBucketsResult"),
        "a signed GET / lists buckets"
    );
    let plain = World::new().await;
    assert!(plain.anonymous().get("/").await.text().contains("<Buckets>"), "nobody has no buckets");
    assert_eq!(plain.anonymous().get("/favicon.ico").await.code(), "NoSuchBucket");
}

/// Where the host names a bucket, every path is a key of it, whatever pages there are.
#[tokio::test]
async fn pages_hide_no_keys_of_a_bucket_that_the_host_names() {
    let pages = PageHandler::new(|_, _, _| {
        let answer = async { http::Response::new(axum::body::Body::from("a page")) };
        Some(Box::pin(answer) as futures::future::BoxFuture<'static, _>)
    });
    let options = GatewayOptions { pages: Some(pages), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.public_bucket("photos").await;
    let (main, anyone) = (world.main(), world.anonymous());
    let host = format!("photos.localhost:{}", world.address.port());
    for key in ["/_demo", "/_demo/app.js", "/favicon.ico"] {
        let put = main.call("PUT", key).header("host", &host).body(b"mine").send().await;
        assert_eq!(put.status, 200, "{key}: {}", put.text());
        let get = anyone.call("GET", key).header("host", &host).send().await;
        assert_eq!((get.status, get.text().as_str()), (200, "mine"), "{key}");
        assert_eq!(anyone.get(key).await.text(), "a page", "{key}");
    }
    let list = main.call("GET", "/").header("host", &host).send().await;
    assert_eq!(list.text().matches("<Key>").count(), 3, "{}", list.text());
    let root = anyone.call("GET", "/").header("host", &host).send().await;
    assert_eq!(root.code(), "AccessDenied", "the root of a bucket is its list, which is not public");
}

#[tokio::test]
async fn shutdown_lets_running_requests_end() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Compute).await;
    let content = world.script.object("k", 1000);
    world.script.hold("k", At::Headers);
    let anyone = world.anonymous();
    let (head, _) = anyone.call("GET", "/cold/k").encode();
    let mut socket = anyone.connect().await;
    let mut idle = anyone.connect().await;
    socket.write_all(&head).await.unwrap();
    world.script.wait_for_held("k", At::Headers).await;
    world.shutdown.cancel();
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap(), 0, "idle connections are closed");
    world.script.release("k");
    let reply = Reply::read(&mut socket, false).await;
    assert!(reply.status == 200 && reply.whole && reply.body == content.bytes());
    assert_eq!(world.stop().await.cut_off, 0);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let options = GatewayOptions { drain: Duration::from_millis(100), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.shadowed_bucket("cold", BucketMode::Compute).await;
    world.script.object("k", 1000);
    world.script.hold("k", At::Headers);
    let anyone = world.anonymous();
    let (head, _) = anyone.call("GET", "/cold/k").encode();
    let mut socket = anyone.connect().await;
    socket.write_all(&head).await.unwrap();
    world.script.wait_for_held("k", At::Headers).await;
    assert_eq!(world.stop().await.cut_off, 1);
}

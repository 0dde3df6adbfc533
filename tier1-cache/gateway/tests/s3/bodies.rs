//! Bodies on their way in: every mode, verified while they stream, in constant memory.

use std::time::Duration;

use fallthrough_gateway::GatewayOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Mode, Reply, crc32};
use crate::world::World;

const MODES: [Mode; 5] = [
    Mode::Sha256,
    Mode::Unsigned,
    Mode::SignedChunks,
    Mode::SignedChunksWithTrailer,
    Mode::UnsignedChunksWithTrailer,
];

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n * 7 % 253).unwrap()).collect()
}

#[tokio::test]
async fn every_mode_stores_the_same_bytes() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    for mode in MODES {
        for (len, chunk) in [(0, 64), (1, 64), (64, 64), (65, 64), (200_000, 8192), (700_000, 1 << 20)] {
            let body = pattern(len);
            let put = client.call("PUT", "/photos/k").mode(mode).chunk(chunk).body(&body).send().await;
            assert_eq!(put.status, 200, "{mode:?} {len} {}", put.text());
            let get = client.call("GET", "/photos/k").header("x-amz-checksum-mode", "ENABLED").send().await;
            assert!(get.body == body, "{mode:?} {len}");
            assert!(!get.headers.contains_key("content-encoding"), "aws-chunked is not part of the object");
            let trailer = matches!(mode, Mode::SignedChunksWithTrailer | Mode::UnsignedChunksWithTrailer);
            assert_eq!(
                get.header("x-amz-checksum-crc32"),
                if trailer { crc32(&body) } else { String::new() }
            );
        }
    }
}

#[tokio::test]
async fn http_chunks_are_taken_only_with_a_decoded_length() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let body = pattern(5000);
    for mode in MODES {
        let put = client.call("PUT", "/photos/k").mode(mode).http_chunked().body(&body).send().await;
        let chunked = !matches!(mode, Mode::Sha256 | Mode::Unsigned);
        if chunked {
            assert_eq!(put.status, 200, "{mode:?} {}", put.text());
            assert!(client.get("/photos/k").await.body == body);
            client.delete("/photos/k").await;
        } else {
            assert_eq!((put.status, put.code().as_str()), (411, "MissingContentLength"), "{mode:?}");
            assert_eq!(client.get("/photos/k").await.status, 404);
        }
    }
}

#[tokio::test]
async fn a_body_that_was_changed_on_its_way_is_refused_and_nothing_kept() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    assert_eq!(client.put("/photos/k", b"before").await.status, 200);
    let body = pattern(150_000);
    let rows = [
        (Mode::Sha256, "XAmzContentSHA256Mismatch"),
        (Mode::SignedChunks, "SignatureDoesNotMatch"),
        (Mode::SignedChunksWithTrailer, "SignatureDoesNotMatch"),
        (Mode::UnsignedChunksWithTrailer, "BadDigest"),
    ];
    for (mode, code) in rows {
        let (head, mut sent) = client.call("PUT", "/photos/k").mode(mode).body(&body).encode();
        let at = sent.len() / 2;
        sent[at] ^= 1;
        let mut socket = client.connect().await;
        socket.write_all(&head).await.unwrap();
        let _ = socket.write_all(&sent).await;
        let reply = Reply::read(&mut socket, false).await;
        assert_eq!(reply.code(), code, "{mode:?}");
        assert_eq!(client.get("/photos/k").await.text(), "before", "{mode:?}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let body = pattern(100_000);
    for mode in MODES {
        let (head, sent) = client.call("PUT", "/photos/k").mode(mode).body(&body).encode();
        let mut socket = client.connect().await;
        socket.write_all(&head).await.unwrap();
        socket.write_all(&sent[..sent.len() / 2]).await.unwrap();
        socket.shutdown().await.unwrap();
        // The client has gone half-way: whether it is told is open, but nothing is kept.
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert_eq!(client.get("/photos/k").await.status, 404, "{mode:?}");
    }
    let short = client
        .call("PUT", "/photos/k")
        .mode(Mode::UnsignedChunksWithTrailer)
        .header("x-amz-decoded-content-length", "100001")
        .body(&body)
        .send()
        .await;
    assert_eq!((short.status, short.code().as_str()), (400, "IncompleteBody"));
    let long = client
        .call("PUT", "/photos/k")
        .mode(Mode::UnsignedChunksWithTrailer)
        .header("x-amz-decoded-content-length", "99999")
        .body(&body)
        .send()
        .await;
    assert_eq!((long.status, long.code().as_str()), (400, "IncompleteBody"));
    assert_eq!(client.get("/photos/k").await.status, 404);
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let options = GatewayOptions { body_timeout: Duration::from_millis(200), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.bucket("photos").await;
    let client = world.main();
    let (head, sent) = client.call("PUT", "/photos/k").body(&pattern(10_000)).encode();
    let mut socket = client.connect().await;
    socket.write_all(&head).await.unwrap();
    socket.write_all(&sent[..5000]).await.unwrap();
    let reply = Reply::read(&mut socket, false).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "RequestTimeout"));
    assert_eq!(client.get("/photos/k").await.status, 404);
}

#[tokio::test]
async fn a_body_is_asked_for_only_after_authentication() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let put = |client: &crate::client::Client, path: &str| {
        client.call("PUT", path).header("expect", "100-continue").body(b"hello").encode()
    };
    let mut line = [0; 25];
    let (head, body) = put(&client, "/photos/k");
    let mut socket = client.connect().await;
    socket.write_all(&head).await.unwrap();
    socket.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&body).await.unwrap();
    assert_eq!(Reply::read(&mut socket, false).await.status, 200);
    let wrong = world.client((crate::world::MAIN.0, "wrong"));
    for (head, code) in [
        (put(&wrong, "/photos/k").0, "SignatureDoesNotMatch"),
        (put(&world.anonymous(), "/photos/k").0, "AccessDenied"),
        (put(&client, "/missing/k").0, "NoSuchBucket"),
        (
            client
                .call("PUT", "/photos/k")
                .header("expect", "100-continue")
                .header("x-amz-tagging", "aws:a=b")
                .body(b"hello")
                .encode()
                .0,
            "InvalidTag",
        ),
    ] {
        let mut socket = client.connect().await;
        socket.write_all(&head).await.unwrap();
        let mut first = [0; 12];
        socket.peek(&mut first).await.unwrap();
        assert_ne!(&first, b"HTTP/1.1 100", "{code}");
        assert_eq!(Reply::read(&mut socket, false).await.code(), code);
    }
}

/// botocore, of 1.13 as of 1.35, reads the answer to its next request wrongly and waits for more until it gives up.
#[tokio::test]
async fn a_connection_ends_with_an_answer_that_comes_instead_of_100_continue() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let put = |client: &crate::client::Client, body: &[u8]| {
        client.call("PUT", "/photos/k").header("Expect", "100-Continue").body(body).encode().0
    };
    let wrong = world.client((crate::world::MAIN.0, "wrong"));
    for (head, status) in [(put(&client, b""), 200), (put(&wrong, b""), 403), (put(&wrong, b"hello"), 403)] {
        let mut socket = client.connect().await;
        socket.write_all(&head).await.unwrap();
        let reply = Reply::read(&mut socket, false).await;
        assert_eq!((reply.status, reply.header("connection")), (status, "close"));
        assert_eq!(socket.read(&mut [0]).await.unwrap(), 0, "the connection is closed");
    }
    // Who does not wait goes on, with no body and with one that was asked for.
    let mut socket = client.connect().await;
    for (head, body) in [
        client.call("PUT", "/photos/k").encode(),
        client.call("PUT", "/photos/k").header("expect", "100-continue").body(b"hello").encode(),
        client.call("GET", "/photos/k").encode(),
    ] {
        let asks = !body.is_empty();
        socket.write_all(&head).await.unwrap();
        if asks {
            socket.read_exact(&mut [0; 25]).await.unwrap();
            socket.write_all(&body).await.unwrap();
        }
        let reply = Reply::read(&mut socket, false).await;
        assert_eq!((reply.status, reply.header("connection")), (200, ""));
    }
}

//! Memory of an upload, measured in a process of its own.

#![expect(clippy::unwrap_used, reason = "a test whose world does not work fails")]
#![expect(dead_code, reason = "shares world and client with the other tests, and needs little of them")]

#[path = "s3/client.rs"]
mod client;
#[path = "s3/world.rs"]
mod world;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use crate::client::Mode;
use crate::world::World;

/// One chunk that is declared as 256 MiB: the decoder hands on what it gets, so the memory of the process
/// grows by what the engine stages, not by the chunk.
#[tokio::test]
async fn a_huge_chunk_is_taken_piece_by_piece() {
    const MIB: usize = 1024 * 1024;
    const SENT: usize = 64 * MIB;
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let (head, _) = client
        .call("PUT", "/photos/k")
        .mode(Mode::UnsignedChunksWithTrailer)
        .header("x-amz-decoded-content-length", &(256 * MIB).to_string())
        .header("content-length", &(256 * MIB + 100).to_string())
        .encode();
    let mut socket = client.connect().await;
    socket.write_all(&head).await.unwrap();
    socket.write_all(b"10000000\r\n").await.unwrap();
    let piece = Bytes::from(vec![7_u8; MIB]);
    let before = resident_bytes();
    for _ in 0..SENT / MIB {
        socket.write_all(&piece).await.unwrap();
    }
    // The store of these tests is in memory, so what was decoded is there once. A decoder that collects the chunk
    // would hold it a second time before anything reached the store.
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < SENT + SENT / 2, "{} MiB for {} MiB sent", grown / MIB, SENT / MIB);
    drop(socket);
    assert_eq!(client.get("/photos/k").await.status, 404);
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

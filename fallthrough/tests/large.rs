//! Memory does not grow with an object's size.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::Path;

use fallthrough_sim::{Content, FaultyOrigin};
use served::Served;
use served::client::Client;
use served::large::Framing;

/// What the process may have resident, whatever the size of what passes through it.
const RESIDENT_BYTES: u64 = 150_000_000;
/// Parts of multipart uploads.
const PART_BYTES: u64 = 64 << 20;

/// How large the objects are: `FALLTHROUGH_LARGE_MIB` sets another number than `mib`.
fn size(mib: u64) -> u64 {
    let set = std::env::var("FALLTHROUGH_LARGE_MIB").ok().and_then(|mib| mib.parse().ok());
    set.unwrap_or(mib) << 20
}

fn configure(folder: &Path, text: &str) {
    std::fs::write(folder.join("fallthrough.toml"), text).unwrap();
}

/// Tells what the server had resident, and that it is little.
fn little_memory(served: &Served, what: &str) {
    let peak = served.peak_bytes();
    println!("{what}: {peak} bytes resident at most");
    assert!(peak < RESIDENT_BYTES, "{what}: {peak} bytes resident");
}

/// An object is put, another one filled, and both are read back with every byte compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_pass_through_little_memory() {
    let size = size(256);
    let origin = FaultyOrigin::start_s3("old").await;
    let cold = origin.object("cold", size);
    let folder = tempfile::tempdir().unwrap();
    configure(
        folder.path(),
        &format!(
            "[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
            origin.url()
        ),
    );
    tokio::task::spawn_blocking(move || {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        let written = Content::generated("written", 1, size);
        assert_eq!(client.put_large("/photos/written", &written).unwrap(), 200);
        assert!(client.is_large("/photos/written", &written).unwrap(), "what was put");
        assert!(client.is_large("/photos/cold", &cold).unwrap(), "the fill");
        assert!(client.is_large("/photos/cold", &cold).unwrap(), "what was filled");
        little_memory(&served, &format!("{size} bytes put, and as many filled"));
    })
    .await
    .unwrap();
}

/// Parts of an object that is far larger than memory, twice each: the origin gives a block for each, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_bytes_of_five_gib_move_one_block_through_little_memory() {
    const SIZE: u64 = 5 << 30;
    let origin = FaultyOrigin::start_s3("old").await;
    let film = origin.object("film", SIZE);
    let folder = tempfile::tempdir().unwrap();
    configure(
        folder.path(),
        &format!(
            "[store]\nblocks-limit = \"4GiB\"\n\n[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
            origin.url()
        ),
    );
    let places = [3_u64 << 30, 100, SIZE - 100];
    tokio::task::spawn_blocking(move || {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        for place in places {
            for _ in 0..2 {
                let (status, bytes) = client.range("/photos/film", place, place + 99).unwrap();
                assert!(status == 206 && bytes == film.slice(place, place + 100), "{status} at {place}");
            }
        }
        little_memory(&served, "100 bytes of 5 GiB, in three places");
    })
    .await
    .unwrap();
    let gets =
        origin.call_log("film").into_iter().filter(|call| call.method == fallthrough_shadow::Method::Get);
    let moved: Vec<u64> = gets.map(|call| call.range.unwrap().resolve(SIZE).unwrap().len()).collect();
    assert!(moved.len() == 3 && moved.iter().all(|bytes| *bytes <= 4 << 20), "{moved:?}");
}

/// An object is uploaded in parts and read back.
fn in_parts(size: u64) {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "[bucket.photos]\n");
    let served = Served::serve(folder.path(), &[]);
    let client = Client::of(&served);
    let content = Content::generated("parts", 1, size);
    assert_eq!(client.put_in_parts("/photos/parts", &content, PART_BYTES).unwrap(), 200);
    assert!(client.is_large("/photos/parts", &content).unwrap());
    little_memory(&served, &format!("{size} bytes in parts of {PART_BYTES}"));
}

#[test]
fn large_objects_in_parts_pass_through_little_memory() {
    in_parts(size(256));
}

#[test]
#[ignore = "5 GiB take a minute, and as much of the disk"]
fn five_gib_in_parts_pass_through_little_memory() {
    in_parts(5 << 30);
}

/// A body whose framing says that all of it is one chunk: nothing of it may be kept back until the chunk, or its
/// signature, is whole.
fn in_one_chunk(size: u64) {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), "[bucket.photos]\n");
    for framing in [Framing::Signed, Framing::UnsignedWithTrailer] {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        let content = Content::generated("chunk", 1, size);
        assert_eq!(client.put_in_one_chunk("/photos/chunk", &content, framing).unwrap(), 200, "{framing:?}");
        assert!(client.is_large("/photos/chunk", &content).unwrap(), "{framing:?}");
        little_memory(&served, &format!("{size} bytes in one chunk, {framing:?}"));
        served.stop("-TERM");
    }
}

#[test]
fn one_large_chunk_passes_through_little_memory() {
    in_one_chunk(size(64));
}

#[test]
#[ignore = "two chunks of 1 GiB take half a minute, and 2 GiB of the disk"]
fn a_chunk_of_a_gib_passes_through_little_memory() {
    in_one_chunk(1 << 30);
}

//! Readers of a body on its way.

use proptest::prelude::*;

use super::*;
use crate::blobs::memory::MemoryBlobs;

fn staging(staging_memory_max: usize) -> Staging {
    let options =
        Arc::new(StoreOptions { staging_memory_max, small_body_max: 32, ..StoreOptions::default() });
    let blobs = Arc::new(MemoryBlobs::default());
    Staging::new(StagingPlace { blobs, options, id: BlobId { epoch: 1, number: 1 } })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

async fn all(reader: &StagingReader, mut offset: u64, max: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let piece = reader.read(offset, max).await.unwrap();
        if piece.is_empty() {
            return out;
        }
        assert!(piece.len() <= max);
        offset += piece.len() as u64;
        out.extend_from_slice(&piece);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn every_reader_sees_every_byte_in_order(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..40),
        memory in prop_oneof![Just(0usize), Just(100), Just(5000), Just(1 << 20)],
        max in 1usize..400,
    ) {
        run(async {
            let mut staging = staging(memory);
            let reader = staging.reader();
            let mut body = Vec::new();
            for piece in &pieces {
                staging.append(Bytes::copy_from_slice(piece)).await.unwrap();
                body.extend_from_slice(piece);
                assert_eq!(reader.len(), body.len() as u64);
                let from = body.len() / 2;
                assert_eq!(all(&reader, from as u64, max).await, body[from..]);
            }
            let sealed = staging.seal().await.unwrap();
            assert_eq!(sealed.len(), body.len() as u64);
            drop(sealed);
            // The body is gone; its readers are not.
            assert_eq!(all(&reader, 0, max).await, body);
            assert!(reader.read(body.len() as u64 + 5, 10).await.unwrap().is_empty());
        });
    }
}

#[test]
fn a_body_that_comes_byte_by_byte_costs_few_pieces() {
    run(async {
        let mut staging = staging(1 << 20);
        for n in 0..100_000u32 {
            staging.append(Bytes::from(vec![n as u8])).await.unwrap();
        }
        assert!(staging.shared.lock().tail.len() < 40);
        let body = all(&staging.reader(), 0, 1 << 20).await;
        assert!(body.iter().enumerate().all(|(n, byte)| *byte == n as u8) && body.len() == 100_000);
    });
}

#[test]
fn memory_does_not_grow_with_the_body() {
    run(async {
        let mut staging = staging(256 << 10);
        let piece = Bytes::from(vec![7; 60_000]);
        for _ in 0..100 {
            staging.append(piece.clone()).await.unwrap();
            assert!(staging.shared.lock().tail_bytes() <= WRITE_BYTES as u64 + 60_000);
        }
        assert_eq!(all(&staging.reader(), 5_000_000, 100_000).await.len(), 1_000_000);
    });
}

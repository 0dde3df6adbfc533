//! Tests of the whole store, through its public interface, over a disk that can crash.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{
    Body, BodyError, BucketName, ByteRange, Clock, ETag, Key, Meta, SeededEntropy, SystemClock, Timestamp,
};
use futures::StreamExt;

use crate::disk::lossy::LossyDisk;
use crate::kv::embedded::Drive;
use crate::{
    Bucket, BucketSettings, Created, Entry, NewState, ObjectInfo, Provenance, Sealed, Store, StoreError,
    StoreOptions, Stored,
};

mod blocks;
mod buckets;
mod counting;
mod crash;
mod faults;
mod folder;
mod golden;
mod inventory;
mod model;
mod mutants;
mod negatives;
mod objects;
mod outbox;
mod quarantine;
mod rot;
mod scrub;
mod sealing;
mod uploads;
mod usage;

/// Small limits, so that small bodies take every path.
fn options() -> StoreOptions {
    StoreOptions {
        small_body_max: 64,
        staging_memory_max: 256,
        hot_bytes: 1 << 20,
        ..StoreOptions::default()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// A store on this disk whose writer runs inline: one thread, one history.
async fn open(disk: &LossyDisk) -> Result<Store, StoreError> {
    open_with(disk, options()).await
}

async fn open_with(disk: &LossyDisk, options: StoreOptions) -> Result<Store, StoreError> {
    let entropy = SeededEntropy::new(1);
    Store::open_on(Arc::new(disk.clone()), options, clock(), Arc::new(entropy), Drive::Inline, None).await
}

fn in_memory() -> Store {
    Store::in_memory(options(), clock(), Arc::new(SeededEntropy::new(1)))
}

fn name(raw: &str) -> BucketName {
    BucketName::parse(raw).unwrap()
}

fn key(raw: &str) -> Key {
    Key::parse(raw).unwrap()
}

async fn bucket(store: &Store) -> Arc<Bucket> {
    match store.create_bucket(&name("bucket"), BucketSettings::default()).await.unwrap() {
        Created::New(bucket) | Created::Exists(bucket) => bucket,
    }
}

/// `len` bytes that differ for every `seed`.
fn bytes_of(seed: u64, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    fallthrough_object::Entropy::fill(&SeededEntropy::new(seed), &mut bytes);
    bytes.into()
}

fn info(len: usize) -> ObjectInfo {
    ObjectInfo {
        etag: Some(ETag::strong(format!("etag-{len}")).unwrap()),
        size_bytes: len as u64,
        last_modified: Timestamp(1_700_000_000_000),
        meta: Meta::of_type("text/plain"),
        checksums: Vec::new(),
        md5: None,
        part_sizes: Vec::new(),
        ..ObjectInfo::default()
    }
}

fn provenance() -> Provenance {
    Provenance {
        origin: "source".to_owned(),
        origin_etag: Some(ETag::strong("o").unwrap()),
        origin_last_modified: None,
        asked_at: Timestamp(5),
        verified: vec!["length".to_owned()],
        fresh_until: None,
        stale_if_error_until: None,
        stale_while_revalidate_until: None,
        edition: None,
    }
}

async fn seal(store: &Store, body: &Bytes) -> Result<Sealed, StoreError> {
    let mut staging = store.stage(None)?;
    for piece in body.chunks(100) {
        staging.append(Bytes::copy_from_slice(piece)).await?;
    }
    staging.seal().await
}

async fn put(store: &Store, bucket: &Bucket, at: &Key, body: &Bytes) -> Arc<Entry> {
    let previous = store.lookup(bucket.id, at).await.unwrap();
    let sealed = seal(store, body).await.unwrap();
    let state = NewState::Written(info(body.len()));
    store.publish(bucket, at, previous.as_deref(), state, sealed).await.unwrap()
}

async fn collect(body: Body) -> Result<Vec<u8>, BodyError> {
    match body {
        Body::Bytes(bytes) => Ok(bytes.to_vec()),
        Body::File(range) => {
            let mut out = vec![0; range.len as usize];
            range.file.read_exact_at(&mut out, range.offset)?;
            Ok(out)
        }
        Body::Stream(mut stream) => {
            let mut out = Vec::new();
            while let Some(piece) = stream.next().await {
                out.extend_from_slice(&piece?);
            }
            Ok(out)
        }
    }
}

async fn read(store: &Store, stored: &Stored) -> Result<Vec<u8>, StoreError> {
    let range = ByteRange::whole(stored.info.size_bytes);
    let body = store.open_body(stored, range).await?;
    collect(body).await.map_err(|error| match error {
        BodyError::Corrupt => StoreError::corrupt("in the stream"),
        other => StoreError::unavailable(&other.to_string()),
    })
}

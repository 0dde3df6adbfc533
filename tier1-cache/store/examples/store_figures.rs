//! Measures a store on the disk that a folder is on: gets, durable small PUTs from 16 writers beside the
//! fdatasync rate of a single writer in the same run, and large PUTs.
//!
//! `cargo run --release -p fallthrough-store --example store_figures -- [FOLDER] [SECONDS]`

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{
    BucketName, ByteRange, Clock, Entropy, Key, Meta, OsEntropy, SystemClock, Timestamp,
};
use fallthrough_store::{Bucket, BucketSettings, Created, NewState, ObjectInfo, Store, StoreOptions};

const SMALL: usize = 16 << 10;
const WRITERS: u64 = 16;

fn info(len: usize) -> ObjectInfo {
    ObjectInfo {
        etag: None,
        size_bytes: len as u64,
        last_modified: Timestamp(0),
        meta: Meta::of_type("application/octet-stream"),
        checksums: Vec::new(),
        md5: Some([0; 16]),
        part_sizes: Vec::new(),
        ..ObjectInfo::default()
    }
}

fn key(raw: &str) -> Key {
    Key::parse(raw).expect("a short key is valid")
}

fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    OsEntropy.fill(&mut bytes);
    bytes.into()
}

/// Writes 16 KiB and syncs, one after the other, as a single writer would.
fn sync_rate(dir: &Path, clock: &SystemClock, span: Duration) -> std::io::Result<f64> {
    let path = dir.join("sync-rate");
    let mut file = std::fs::File::create(&path)?;
    let body = noise(SMALL);
    let (start, mut syncs) = (clock.monotonic(), 0u64);
    while clock.monotonic().since(start) < span {
        file.write_all(&body)?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs as f64 / clock.monotonic().since(start).as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

async fn put(store: &Store, bucket: &Bucket, at: &Key, body: Bytes) {
    let announced = store.announce();
    let len = body.len();
    let mut staging = store.stage(Some(len as u64)).expect("there is space");
    for piece in 0..len.div_ceil(64 << 10) {
        let piece = body.slice(piece << 16..len.min((piece + 1) << 16));
        staging.append(piece).await.expect("staging takes bytes");
    }
    let sealed = staging.seal().await.expect("a body can be sealed");
    let end = store.publish(bucket, at, None, NewState::Written(info(len)), sealed);
    drop(announced);
    end.await.expect("the commit happens");
}

async fn small_puts(store: &Store, bucket: &Bucket, clock: &SystemClock, span: Duration) -> (f64, f64, f64) {
    let (before, start) = (store.status(), clock.monotonic());
    let body = noise(SMALL);
    let tasks = tokio_tasks(WRITERS, |writer| {
        let (store, bucket, body) = (store.clone(), bucket.clone(), body.clone());
        async move {
            let clock = SystemClock::new();
            let mut n = 0u64;
            while clock.monotonic().since(fallthrough_object::Monotonic(0)) < span {
                put(&store, &bucket, &key(&format!("{writer}/{n}")), body.clone()).await;
                n += 1;
            }
            n
        }
    });
    let done: u64 = tasks.await.into_iter().sum();
    let secs = clock.monotonic().since(start).as_secs_f64();
    let after = store.status();
    let groups = (after.commit_groups - before.commit_groups) as f64;
    let per_group = (after.commits - before.commits) as f64 / groups;
    (done as f64 / secs, per_group, (after.index_syncs - before.index_syncs) as f64 / groups)
}

#[expect(clippy::disallowed_methods, reason = "every task is awaited below")]
async fn tokio_tasks<F>(count: u64, task: impl Fn(u64) -> F) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let tasks: Vec<_> = (0..count).map(|n| tokio::spawn(task(n))).collect();
    let mut out = Vec::new();
    for task in tasks {
        out.push(task.await.expect("no task panics"));
    }
    out
}

async fn gets(store: &Store, bucket: &Bucket, clock: &SystemClock, keys: u64) -> f64 {
    let (start, rounds) = (clock.monotonic(), 200_000u64);
    for n in 0..rounds {
        let at = key(&format!("{}/{}", n % WRITERS, n / WRITERS * 7919 % keys));
        let entry = store.lookup(bucket.id, &at).await.expect("a lookup works").expect("the key is there");
        let stored = entry.state.stored().expect("it has a body");
        let body = store.open_body(stored, ByteRange::whole(SMALL as u64)).await.expect("the body opens");
        std::hint::black_box(body);
    }
    clock.monotonic().since(start).as_nanos() as f64 / rounds as f64 / 1000.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from).join("fallthrough-store-figures");
    let span = Duration::from_secs(args.next().map_or(Ok(3), |raw| raw.parse())?);
    std::fs::create_dir_all(&dir)?;
    let clock = SystemClock::new();
    println!("one writer, 16 KiB and fdatasync: {:.0}/s", sync_rate(&dir, &clock, span)?);
    let start = clock.monotonic();
    let options = StoreOptions { hot_bytes: 8 << 20, ..StoreOptions::default() };
    let store =
        Store::open(&dir.join("data"), options, Arc::new(SystemClock::new()), Arc::new(OsEntropy)).await?;
    println!("open: {:.1} ms", clock.monotonic().since(start).as_secs_f64() * 1000.0);
    let name = BucketName::parse("figures")?;
    let (Created::New(bucket) | Created::Exists(bucket)) =
        store.create_bucket(&name, BucketSettings::default()).await?;
    let (rate, per_group, syncs) = small_puts(&store, &bucket, &clock, span).await;
    println!(
        "16 writers, durable 16 KiB puts: {rate:.0}/s, {per_group:.1} commits a group, {syncs:.1} syncs a group"
    );
    println!("one writer again, 16 KiB and fdatasync: {:.0}/s", sync_rate(&dir, &clock, span)?);
    let keys = ((rate * span.as_secs_f64()) as u64 / WRITERS / 2).max(1);
    println!(
        "get, entry and 16 KiB body, mixed: {:.2} us over {} keys",
        gets(&store, &bucket, &clock, keys).await,
        keys * WRITERS
    );
    let few = keys.min(16);
    println!(
        "get, entry and 16 KiB body, hot: {:.2} us over {} keys",
        gets(&store, &bucket, &clock, few).await,
        few * WRITERS
    );
    let (start, rounds) = (clock.monotonic(), 50);
    let mut listed = 0;
    for _ in 0..rounds {
        listed += store.scan(bucket.id, std::ops::Bound::Unbounded, "", 1000).await?.len();
    }
    let each = clock.monotonic().since(start).as_secs_f64() * 1e6 / f64::from(rounds);
    println!("scan of {} entries: {each:.0} us", listed / rounds as usize);
    let large = noise(64 << 20);
    let start = clock.monotonic();
    for n in 0..4 {
        put(&store, &bucket, &key(&format!("large/{n}")), large.clone()).await;
    }
    let secs = clock.monotonic().since(start).as_secs_f64();
    println!("durable 64 MiB puts: {:.0} MB/s", 4.0 * 67.1 / secs);
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

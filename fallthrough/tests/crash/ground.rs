//! Where a run takes place: a folder, an origin behind the bucket, and the journal of every writer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use fallthrough_object::{Entropy, SeededEntropy};
use fallthrough_sim::{Content, FaultyOrigin};
use http::Method;

use crate::expected::Expected;
use crate::load::{End, Load};
use crate::served::Served;
use crate::served::asking::await_within;
use crate::served::client::Client;
use crate::tally::Tally;

/// Writers at once, each with keys of its own.
const WRITERS: usize = 4;
/// Keys of a round that only the shadow has.
const COLD: u64 = 8;
/// Larger bodies are in a file each: `SMALL_BODY_LIMIT` of the store.
const IN_INDEX_BYTES: u64 = 31 * 1024;

/// Where a run takes place.
pub(crate) struct Ground {
    pub(crate) folder: PathBuf,
    origin: FaultyOrigin,
    journals: Vec<Mutex<BTreeMap<String, Expected>>>,
    /// What was stored before the load and is not touched by it.
    stored: Vec<(String, Content)>,
    // The origin's; and the folder goes with it.
    _runtime: tokio::runtime::Runtime,
    _temporary: tempfile::TempDir,
}

/// The `n`th key of a round that only the shadow has.
pub(crate) fn cold(round: u64, n: u64) -> (String, Content) {
    let key = format!("cold-{round}-{}", n % COLD);
    let content = Content::generated(&key, 0, 1_000 + (n % COLD) * 70_000);
    (key, content)
}

impl Ground {
    /// An origin with a bucket, and a folder with the configuration of one that falls through to it; `settings`
    /// go in front of it.
    pub(crate) fn new(settings: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let origin = runtime.block_on(FaultyOrigin::start_s3("old"));
        let config = format!(
            "{settings}\n[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
            origin.url()
        );
        std::fs::write(folder.join("fallthrough.toml"), config).unwrap();
        let journals = (0..WRITERS).map(|_| Mutex::default()).collect();
        Self { folder, origin, journals, stored: Vec::new(), _runtime: runtime, _temporary: temporary }
    }

    pub(crate) fn serve(&self) -> Served {
        Served::serve(&self.folder, &[])
    }

    /// Stores `count` objects that no load touches: by turns small ones, and such that are a file of one block
    /// and of several.
    pub(crate) fn store(&mut self, served: &Served, count: usize) {
        let client = Client::of(served);
        for (n, size) in [100, 16_000, 40_000, 600_000].into_iter().cycle().take(count).enumerate() {
            let key = format!("stored-{n:02}");
            let content = Content::generated(&key, 1, size);
            let (status, told) =
                client.send(&Method::PUT, &format!("/photos/{key}"), &content.bytes()).unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&told));
            self.stored.push((key, content));
        }
    }

    /// What was stored before the load.
    pub(crate) fn stored(&self) -> &[(String, Content)] {
        &self.stored
    }

    /// Gives the origin the keys of a round that only it has.
    pub(crate) fn offer_cold(&self, round: u64) {
        for n in 0..COLD {
            let (key, content) = cold(round, n);
            self.origin.object(&key, content.size_bytes());
        }
    }

    /// How often the origin was asked for a key.
    pub(crate) fn asked(&self, key: &str) -> usize {
        self.origin.calls(key)
    }

    /// Files of blobs and of staging.
    pub(crate) fn files(&self) -> (usize, usize) {
        files(&self.folder.join("data"))
    }

    /// Runs every writer, each to its own end, while `meanwhile` does what it wants. Whether all got through.
    pub(crate) fn load<T>(
        &self,
        served: &Served,
        load: Load,
        random: &SeededEntropy,
        meanwhile: impl FnOnce() -> T,
    ) -> (T, Tally, End) {
        self.offer_cold(load.round);
        let seeds: Vec<u64> = self.journals.iter().map(|_| random.next_u64()).collect();
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..)
                .zip(self.journals.iter().zip(seeds))
                .map(|(writer, (journal, seed))| {
                    let client = Client::of(served);
                    scope.spawn(move || {
                        let (mut journal, mut tally) = (journal.lock().unwrap(), Tally::default());
                        let random = SeededEntropy::new(seed);
                        let end = load.run(&client, writer, &random, &mut journal, &mut tally);
                        (tally, end)
                    })
                })
                .collect();
            let did = meanwhile();
            let (mut total, mut end) = (Tally::default(), End::Through);
            for writer in writers {
                let (tally, ended) = writer.join().unwrap();
                total += tally;
                if ended == End::Gone {
                    end = End::Gone;
                }
            }
            (did, total, end)
        })
    }

    /// Every key has what was acknowledged, or what was in doubt, whole; the list agrees.
    ///
    /// # Panics
    /// If not: with `when` in the message.
    pub(crate) fn check(&self, client: &Client, when: &str) {
        for (writer, journal) in self.journals.iter().enumerate() {
            let mut journal = journal.lock().unwrap();
            for (key, expected) in journal.iter_mut() {
                let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
                let found = match status {
                    200 => Some(body),
                    404 => None,
                    other => panic!("{key}: {other} {when}: {}", String::from_utf8_lossy(&body)),
                };
                let version = expected.matching(key, found.as_deref()).unwrap_or_else(|| {
                    let len = found.map(|bytes| bytes.len());
                    panic!("{key} {when}: {len:?} bytes, expected {expected:?}")
                });
                // What was found is the truth from now on.
                expected.settle(version);
            }
            let there = journal.iter().filter(|(_, expected)| expected.acknowledged.is_some());
            let there: Vec<_> = there.map(|(key, _)| key.clone()).collect();
            assert_eq!(client.list("/photos", &format!("w{writer}-")).unwrap().unwrap(), there, "{when}");
        }
        for (key, content) in &self.stored {
            let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
            assert!(status == 200 && content.bytes() == body, "{key}: {status} {when}");
        }
    }

    /// Fills every key of a round, waits for the sweep of this start, and finds a file for every larger body and
    /// no other; then deletes the round's keys. To be called after [`Ground::check`], before anything is
    /// written or deleted in this start.
    pub(crate) fn check_files(&self, served: &Served, round: u64, when: &str) {
        let client = Client::of(served);
        for n in 0..COLD {
            let (key, content) = cold(round, n);
            let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
            assert_eq!(status, 200, "{key} {when}");
            assert!(content.bytes() == body, "{key} {when}");
        }
        await_sweep(served);
        let journals: Vec<_> = self.journals.iter().map(|journal| journal.lock().unwrap()).collect();
        let written = journals.iter().flat_map(|journal| journal.values());
        let written = written.filter_map(|expected| expected.acknowledged).map(|(_, size)| size);
        let filled = (0..COLD).map(|n| cold(round, n).1.size_bytes());
        let stored = self.stored.iter().map(|(_, content)| content.size_bytes());
        let referred = written.chain(filled).chain(stored).filter(|size| *size > IN_INDEX_BYTES).count();
        // Readers do not wait for the commit of a fill: its file may still be on its way.
        let data = self.folder.join("data");
        await_that("every file to have its place", || files(&data) == (referred, 0)).unwrap_or_else(|_| {
            panic!("{:?} blobs and staging files instead of {referred} and 0 {when}", files(&data))
        });
        for n in 0..COLD {
            let (key, _) = cold(round, n);
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0, 204);
        }
    }

    /// Deletes every key and stops the server: nothing is left in the folders.
    pub(crate) fn erase(&self, served: Served) {
        let client = Client::of(&served);
        await_sweep(&served);
        for journal in &self.journals {
            for key in journal.lock().unwrap().keys() {
                assert_eq!(client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0, 204);
            }
        }
        for (key, _) in &self.stored {
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0, 204);
        }
        assert_eq!(served.stop("-TERM"), 0);
        assert_eq!(files(&self.folder.join("data")), (0, 0), "orphans");
    }
}

/// Files of blobs and of staging.
fn files(data: &Path) -> (usize, usize) {
    let count = |folder: &Path| std::fs::read_dir(folder).map_or(0, |entries| entries.flatten().count());
    let blobs = std::fs::read_dir(data.join("blobs"))
        .map_or(0, |fans| fans.flatten().map(|fan| count(&fan.path())).sum());
    (blobs, count(&data.join("staging")))
}

/// Waits until the sweep of this start has finished, as its metric says.
fn await_sweep(served: &Served) {
    let swept = |line: &str| line.starts_with("fallthrough_store_sweeps_total") && !line.ends_with(" 0");
    await_that("a sweep to finish", || served.admin("/metrics").1.lines().any(swept)).unwrap();
}

/// As [`await_within`] 30 s.
///
/// # Errors
/// It did not become so.
pub(crate) fn await_that(what: &str, is_so: impl FnMut() -> bool) -> Result<(), String> {
    await_within(Duration::from_secs(30), what, is_so)
}

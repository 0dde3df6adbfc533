//! The real process, killed with SIGKILL at random moments under load: no acknowledged write is lost, nothing
//! is torn, and after the sweep no orphans are left.
//!
//! 8 kills by default; `FALLTHROUGH_KILLS=100` for a long run. The seed is printed and can be given with
//! `FALLTHROUGH_SEED`.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fallthrough_object::{Clock, Entropy, Monotonic, SeededEntropy, SystemClock};
use fallthrough_sim::{Content, FaultyOrigin};
use http::Method;
use served::Served;
use served::client::Client;

const SIZES: [u64; 6] = [0, 100, 16 * 1024, 40 * 1024, 300 * 1024, 1_500_000];
const WRITERS: u64 = 4;
const KEYS: u64 = 6;

/// What may stand under a key: what was last acknowledged, or what was on its way when the server died.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// `None`: deleted, or never written.
    acknowledged: Option<(u16, u64)>,
    in_doubt: Vec<Option<(u16, u64)>>,
}

impl Expected {
    fn allows(&self, key: &str, found: Option<&[u8]>) -> bool {
        std::iter::once(&self.acknowledged).chain(&self.in_doubt).any(|version| match (version, found) {
            (None, None) => true,
            (Some((edition, size)), Some(bytes)) => Content::generated(key, *edition, *size).bytes() == bytes,
            (None, Some(_)) | (Some(_), None) => false,
        })
    }
}

#[test]
fn the_check_can_fail() {
    let expected = Expected { acknowledged: Some((3, 100)), in_doubt: vec![None] };
    let right = Content::generated("k", 3, 100).bytes();
    assert!(expected.allows("k", Some(&right)) && expected.allows("k", None));
    assert!(!expected.allows("k", Some(&right[..99])), "torn");
    assert!(!expected.allows("k", Some(&Content::generated("k", 2, 100).bytes())), "lost");
    assert!(!Expected { acknowledged: Some((3, 100)), in_doubt: vec![] }.allows("k", None), "gone");
}

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    in_doubt: u64,
    reads: u64,
    fills: u64,
}

/// Writes, deletes and reads its own keys until the server is gone.
fn load(
    client: &Client,
    writer: u64,
    random: &SeededEntropy,
    state: &mut BTreeMap<String, Expected>,
    tally: &mut Tally,
) {
    loop {
        let key = format!("w{writer}-{}", random.next_u64() % KEYS);
        let path = format!("/photos/{key}");
        let expected = state.entry(key.clone()).or_default();
        match random.next_u64() % 8 {
            0 => {
                expected.in_doubt.push(None);
                match client.send(&Method::DELETE, &path, &[]) {
                    Ok((204, _)) => *expected = Expected::default(),
                    Ok((503, _)) => continue,
                    Ok(other) => panic!("DELETE: {}", other.0),
                    Err(_) => return tally.in_doubt += 1,
                }
                tally.acknowledged += 1;
            }
            1 | 2 => match client.send(&Method::GET, &path, &[]) {
                Ok((200, body)) => {
                    assert!(expected.allows(&key, Some(&body)), "{key} read while it ran");
                    tally.reads += 1;
                }
                Ok((404, _)) => assert!(expected.allows(&key, None), "{key} is gone while it ran"),
                Ok((503, _)) => {}
                Ok(other) => panic!("GET: {}", other.0),
                Err(_) => return,
            },
            3 => {
                let key = format!("cold-{}", random.next_u64() % 40);
                match client.send(&Method::GET, &format!("/photos/{key}"), &[]) {
                    Ok((200, body)) => {
                        assert!(cold(&key).bytes() == body, "{key} filled wrong");
                        tally.fills += 1;
                    }
                    Ok((503, _)) => {}
                    Ok(other) => panic!("cold GET: {}", other.0),
                    Err(_) => return,
                }
            }
            _ => {
                let edition = u16::try_from(random.next_u64() % 60_000).unwrap();
                let size = SIZES[usize::try_from(random.next_u64()).unwrap_or(0) % SIZES.len()];
                expected.in_doubt.push(Some((edition, size)));
                let body = Content::generated(&key, edition, size).bytes();
                match client.send(&Method::PUT, &path, &body) {
                    Ok((200, _)) => {
                        *expected = Expected { acknowledged: Some((edition, size)), in_doubt: vec![] };
                        tally.acknowledged += 1;
                    }
                    Ok((503, _)) => {}
                    Ok(other) => panic!("PUT: {}", other.0),
                    Err(_) => return tally.in_doubt += 1,
                }
            }
        }
    }
}

fn cold(key: &str) -> Content {
    let n: u64 = key.trim_start_matches("cold-").parse().unwrap();
    Content::generated(key, 0, 1_000 + n * 20_000)
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
    let address = served.text("admin").strip_prefix("http://").unwrap();
    let clock = SystemClock::new();
    loop {
        let mut socket = TcpStream::connect(address).unwrap();
        let token = served.text("admin_token");
        write!(
            socket,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        let mut page = String::new();
        socket.read_to_string(&mut page).unwrap();
        if page
            .lines()
            .any(|line| line.starts_with("fallthrough_store_sweeps_total") && !line.ends_with(" 0"))
        {
            return;
        }
        assert!(
            clock.monotonic() < Monotonic::default().plus(Duration::from_secs(60)),
            "no sweep finished: {page}"
        );
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_tear_nothing_and_leave_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let kills = number("FALLTHROUGH_KILLS").unwrap_or(8);
    let seed = number("FALLTHROUGH_SEED").unwrap_or_else(|| fallthrough_object::OsEntropy.next_u64());
    println!("seed {seed}");
    let origin = FaultyOrigin::start_s3("old").await;
    for n in 0..40 {
        let key = format!("cold-{n}");
        let content = origin.object(&key, cold(&key).size_bytes());
        assert_eq!(content, cold(&key));
    }
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
        origin.url()
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();
    tokio::task::spawn_blocking(move || {
        let states: Vec<_> = (0..WRITERS).map(|_| Arc::new(Mutex::new(BTreeMap::new()))).collect();
        let mut total = Tally::default();
        let random = SeededEntropy::new(seed);
        for kill in 0..kills {
            let served = Served::serve(folder.path(), &[]);
            check(&Client::of(&served), &states, kill);
            let dead = AtomicBool::new(false);
            let wait = Duration::from_millis(20 + random.next_u64() % 500);
            let tallies: Vec<Tally> = std::thread::scope(|scope| {
                let workers: Vec<_> = states
                    .iter()
                    .zip(0..)
                    .map(|(state, writer)| {
                        let (client, random) = (Client::of(&served), SeededEntropy::new(random.next_u64()));
                        let dead = &dead;
                        scope.spawn(move || {
                            let mut tally = Tally::default();
                            load(&client, writer, &random, &mut state.lock().unwrap(), &mut tally);
                            assert!(dead.load(Ordering::SeqCst), "the server went away by itself");
                            tally
                        })
                    })
                    .collect();
                // The moment of the kill is what is random here: nobody ever sends.
                let (_never, moment) = std::sync::mpsc::sync_channel::<()>(1);
                assert!(moment.recv_timeout(wait).is_err());
                dead.store(true, Ordering::SeqCst);
                served.stop("-KILL");
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            for tally in tallies {
                total.acknowledged += tally.acknowledged;
                total.in_doubt += tally.in_doubt;
                total.reads += tally.reads;
                total.fills += tally.fills;
            }
        }
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        check(&client, &states, kills);
        await_sweep(&served);
        // Every key is erased; what is left in the folders then belongs to nobody.
        for key in states.iter().flat_map(|state| state.lock().unwrap().keys().cloned().collect::<Vec<_>>()) {
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0, 204);
        }
        for n in 0..40 {
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/cold-{n}"), &[]).unwrap().0, 204);
        }
        assert_eq!(served.stop("-TERM"), 0);
        assert_eq!(files(&folder.path().join("data")), (0, 0), "orphans");
        println!(
            "{kills} kills, {} acknowledged writes, {} in doubt, {} reads, {} cold reads: 0 lost, 0 torn, 0 orphans",
            total.acknowledged, total.in_doubt, total.reads, total.fills
        );
        assert!(total.acknowledged > 0 && total.fills > 0, "a load that does nothing shows nothing");
    })
    .await
    .unwrap();
}

/// After a restart every key has what was acknowledged, or what was in doubt, whole.
fn check(client: &Client, states: &[Arc<Mutex<BTreeMap<String, Expected>>>], kill: u64) {
    for state in states {
        for (key, expected) in state.lock().unwrap().iter_mut() {
            let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
            let found = match status {
                200 => Some(body),
                404 => None,
                other => panic!("{key}: {other} after kill {kill}"),
            };
            assert!(
                expected.allows(key, found.as_deref()),
                "{key} after kill {kill}: {:?} bytes, expected {expected:?}",
                found.map(|bytes| bytes.len())
            );
            // What was found is the truth from now on.
            if let Some(version) = std::iter::once(&expected.acknowledged)
                .chain(&expected.in_doubt)
                .find(|version| match (version, &found) {
                    (None, None) => true,
                    (Some((edition, size)), Some(bytes)) => {
                        Content::generated(key, *edition, *size).bytes() == bytes
                    }
                    (None, Some(_)) | (Some(_), None) => false,
                })
                .copied()
            {
                *expected = Expected { acknowledged: version, in_doubt: vec![] };
            }
        }
    }
}

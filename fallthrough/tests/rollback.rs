//! The way back from a migration, with two servers: what clients write and delete at one is written and deleted at the
//! other, also when the first is killed under load, again and again. In the end both have the same keys and bytes.
//!
//! `FALLTHROUGH_KILLS` says how often it is killed (4), `FALLTHROUGH_SEED` what is done and when.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use fallthrough_object::{Entropy, OsEntropy, SeededEntropy};
use fallthrough_sim::Content;
use http::Method;
use served::Served;
use served::asking::await_within;
use served::client::Client;

const WRITERS: u64 = 3;
const KEYS: u64 = 8;
/// Objects that only the old store has when it begins.
const BEFORE: u64 = 12;
/// Sizes of objects: in the index, in a file, in several blocks.
const SIZES: [u64; 4] = [0, 900, 50_000, 400_000];
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a writer knows of a key: every state that it may have, the newest of which is certain if it is alone.
type Journal = BTreeMap<String, Vec<Option<Content>>>;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Writes and deletes keys of its own until the server is gone; tells of every change that was acknowledged.
fn write(client: &Client, writer: u64, random: &SeededEntropy, journal: &mut Journal, told: &Sender<()>) {
    loop {
        let key = format!("w{writer}/{}", random.next_u64() % KEYS);
        let draw = random.next_u64();
        let edition = u16::try_from(draw >> 48).unwrap();
        let next = (!draw.is_multiple_of(4))
            .then(|| Content::generated(&key, edition, SIZES[usize::try_from(draw >> 8 & 3).unwrap()]));
        let path = format!("/photos/{key}");
        let answer = match &next {
            Some(content) => client.send(&Method::PUT, &path, &content.bytes()),
            None => client.send(&Method::DELETE, &path, b""),
        };
        let states = journal.entry(key).or_insert_with(|| vec![None]);
        match answer {
            Ok((200 | 204, _)) => {
                *states = vec![next];
                if told.send(()).is_err() {
                    return;
                }
            }
            // It may have happened.
            Ok(_) | Err(_) => {
                states.push(next);
                if !client.is_listening() {
                    return;
                }
            }
        }
    }
}

fn bytes_at(client: &Client, path: &str) -> Option<Vec<u8>> {
    match client.send(&Method::GET, path, b"").unwrap() {
        (200, bytes) => Some(bytes),
        (404, _) => None,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn both_sides_are_the_same_after_kills_under_load() {
    let seed = number("FALLTHROUGH_SEED").unwrap_or_else(|| OsEntropy.next_u64());
    println!("seed {seed}");
    let random = SeededEntropy::new(seed);
    let (old_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(old_folder.path().join("fallthrough.toml"), "[bucket.old]\nmode = \"plain\"\n").unwrap();
    let old_server = Served::serve(old_folder.path(), &[]);
    let old = Client::of(&old_server);
    for n in 0..BEFORE {
        let content = Content::generated(&format!("before/{n}"), 0, 700 * (n + 1));
        assert_eq!(old.send(&Method::PUT, &format!("/old/before/{n}"), &content.bytes()).unwrap().0, 200);
    }
    std::fs::write(
        folder.path().join("credentials"),
        format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            old_server.text("access_key"),
            old_server.text("secret_key")
        ),
    )
    .unwrap();
    let config = format!(
        "[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\n\n[bucket.photos.shadow]\n\
         endpoint = \"{}\"\nname = \"old\"\ncredentials = \"file:credentials\"\nwrite-through = \"async\"\ndelete-through = true\n",
        old_server.text("s3")
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();

    let journals: Vec<Mutex<Journal>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    let kills = number("FALLTHROUGH_KILLS").unwrap_or(4);
    let mut acknowledged = 0;
    for round in 0..kills {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        for n in (round * 2..BEFORE).take(2) {
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/before/{n}"), b"").unwrap().0, 204);
        }
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            for (writer, journal) in (0..).zip(&journals) {
                let (tell, random) = (tell.clone(), SeededEntropy::new(random.next_u64()));
                let client = Client::of(&served);
                scope.spawn(move || write(&client, writer, &random, &mut journal.lock().unwrap(), &tell));
            }
            // The moment of the kill: after so many changes, while others and their deliveries are under way.
            for _ in 0..20 + random.next_u64() % 60 {
                told.recv_timeout(PATIENCE).unwrap();
                acknowledged += 1;
            }
            served::signal(served.id(), "-KILL");
            while told.recv_timeout(PATIENCE).is_ok() {
                acknowledged += 1;
                if !client.is_listening() {
                    break;
                }
            }
        });
        drop(served);
    }

    let served = Served::serve(folder.path(), &[]);
    let client = Client::of(&served);
    await_within(PATIENCE, "everything to be delivered", || {
        served.json(&["shadow", "get", "photos"])["waiting"]["pending"] == 0
    })
    .unwrap();
    let waiting = served.json(&["shadow", "waiting", "photos"]);
    assert_eq!(waiting["waiting"]["dead"], 0, "{waiting}");
    let here = client.list("/photos", "").unwrap().unwrap();
    assert_eq!(here, old.list("/old", "").unwrap().unwrap());
    for key in &here {
        let (ours, theirs) = (bytes_at(&client, &format!("/photos/{key}")), bytes_at(&old, &format!("/old/{key}")));
        assert!(ours == theirs && ours.is_some(), "{key}");
    }
    for journal in &journals {
        for (key, states) in &*journal.lock().unwrap() {
            let there = bytes_at(&old, &format!("/old/{key}"));
            let fits = |state: &Option<Content>| state.as_ref().map(|content| content.bytes().to_vec()) == there;
            assert!(states.iter().any(fits), "{key} is none of what its writer may have left");
        }
    }
    println!("{kills} kills, {acknowledged} acknowledged changes, {} keys: both sides are the same", here.len());
    assert!(acknowledged > 0 && !here.is_empty());
}

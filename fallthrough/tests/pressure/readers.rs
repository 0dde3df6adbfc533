//! Readers that take a trickle of a large object: its bytes are right, and the server's memory is bounded by
//! their number and not by the object's size.

use fallthrough_sim::{At, Content};
use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::limited::Limited;
use crate::number;
use crate::served::Served;
use crate::served::client::Client;

/// How many there are, of what, and within which memory.
struct Scale {
    readers: usize,
    object_bytes: u64,
    memory_bytes: u64,
}

impl Scale {
    fn of_this_run() -> Self {
        let readers = number("FALLTHROUGH_SLOW_READERS", 100);
        let (object_mib, memory_mib) = if readers < 200 { (48, 112) } else { (256, 256) };
        Self { readers, object_bytes: object_mib << 20, memory_bytes: memory_mib << 20 }
    }
}

/// What a reader takes in a round. All take theirs before anybody takes more.
const TRICKLE_BYTES: u64 = 6_000;
const ROUNDS: u64 = 12;
/// What the kernel holds at most for a connection, one buffer on its way included.
const UNSENT_BYTES: u64 = 160 << 10;
/// Readers that read to their end when all have trickled.
const THOROUGH: usize = 4;

/// One reader of a part of an object, and how far it is.
struct Reader {
    connection: Connection,
    at: u64,
    end: u64,
}

impl Reader {
    /// Begins to read; the `n`th of many reads a part of its own, every other one the whole.
    fn begin(client: &Client, path: &str, content: &Content, n: usize, of: usize) -> Self {
        let size = content.size_bytes();
        let start = if n.is_multiple_of(2) { 0 } else { size / 2 * n as u64 / of as u64 };
        let range = (start > 0).then_some((start, size));
        Self { connection: Connection::get(client.address(), path, range), at: start, end: size }
    }

    /// Reads the head of the answer; what `X-Cache` says.
    fn is_answered(&mut self) -> String {
        let head = self.connection.head().unwrap();
        let length = usize::try_from(self.end - self.at).unwrap();
        assert_eq!((head.status, head.length()), (if self.at > 0 { 206 } else { 200 }, length));
        head.header("x-cache").unwrap_or_default().to_owned()
    }

    /// Takes up to so many bytes and compares them.
    fn take(&mut self, bytes: u64, content: &Content) {
        let want = content.slice(self.at, self.end.min(self.at + bytes));
        assert!(self.connection.take(want.len()).unwrap() == want, "wrong bytes from {} on", self.at);
        self.at += want.len() as u64;
    }

    fn take_all(&mut self, content: &Content) {
        while self.at < self.end {
            self.take(1 << 20, content);
        }
    }
}

/// All readers trickle at once; between rounds others are served, as `X-Cache` says.
fn trickle(served: &Served, readers: &mut [Reader], path: &str, content: &Content) {
    let client = Client::of(served);
    for round in 0..ROUNDS {
        for reader in readers.iter_mut() {
            reader.take(TRICKLE_BYTES, content);
        }
        let small = format!("/photos/small-{round}");
        assert_eq!(client.send(&Method::PUT, &small, small.as_bytes()).unwrap().0, 200);
        assert_eq!(client.send(&Method::GET, &small, &[]).unwrap(), (200, small.into_bytes()));
        // A part of the same object, for somebody who is not slow.
        let (start, end) = (round * 100_000, round * 100_000 + 300_000);
        let mut quick = Connection::get(client.address(), path, Some((start, end)));
        assert_eq!(quick.head().unwrap().status, 206);
        assert!(quick.take(300_000).unwrap() == content.slice(start, end), "round {round}");
        // Every reader has more to come, and it waits here and not there.
        let unsent = unsent_bytes(client.address());
        assert!(0 < unsent && unsent <= UNSENT_BYTES, "{unsent} bytes for one reader, round {round}");
    }
}

/// The most bytes that the kernel holds of what some connection of the server is sent.
fn unsent_bytes(address: &str) -> u64 {
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let (local, table) = (format!(":{port:04X}"), std::fs::read_to_string("/proc/net/tcp").unwrap());
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = sockets.filter(|fields| fields.get(1).is_some_and(|address| address.ends_with(&local)));
    let queues = ours.filter_map(|fields| u64::from_str_radix(fields.get(4)?.split(':').next()?, 16).ok());
    queues.max().unwrap()
}

fn finish(mut readers: Vec<Reader>, content: &Content) {
    readers.truncate(THOROUGH);
    for mut reader in readers {
        reader.take_all(content);
    }
}

#[test]
fn slow_readers_of_a_stored_object_fit_a_small_memory() {
    of_a_stored_object("slow_readers_of_a_stored_object", false);
}

/// After a restart nothing is verified yet, and bodies are read through their checksums.
#[test]
fn slow_readers_of_an_unverified_object_fit_a_small_memory() {
    of_a_stored_object("slow_readers_of_an_unverified_object", true);
}

fn of_a_stored_object(test: &str, restarted: bool) {
    let scale = Scale::of_this_run();
    let ground = Ground::new("");
    let content = Content::generated("large", 1, scale.object_bytes);
    {
        let served = ground.serve();
        assert_eq!(Client::of(&served).put_large("/photos/large", &content).unwrap(), 200);
        assert_eq!(served.stop("-TERM"), 0);
    }
    let mut limited = Limited::serve(&ground, scale.memory_bytes, test);
    let client = Client::of(&limited.served);
    if !restarted {
        assert!(client.is_large("/photos/large", &content).unwrap(), "verified by being read");
    }
    let mut readers: Vec<_> = (0..scale.readers)
        .map(|n| Reader::begin(&client, "/photos/large", &content, n, scale.readers))
        .collect();
    for reader in &mut readers {
        assert_eq!(reader.is_answered(), "HIT");
    }
    trickle(&limited.served, &mut readers, "/photos/large", &content);
    finish(readers, &content);
    limited.check(&format!("{test}: {} readers of {} bytes", scale.readers, scale.object_bytes));
}

#[test]
fn slow_readers_of_one_fill_fit_a_small_memory() {
    let test = "slow_readers_of_one_fill";
    let scale = Scale::of_this_run();
    // However long the readers take here: the silence of the origin is the test's, and not to be resumed after.
    let ground = Ground::new("[fill]\nstall = \"10m\"\n");
    let content = ground.origin.object("cold", scale.object_bytes);
    // All but the last byte has come, and everybody reads from staging.
    ground.origin.hold("cold", At::LastByte);
    let mut limited = Limited::serve(&ground, scale.memory_bytes, test);
    let client = Client::of(&limited.served);
    let mut first = Reader::begin(&client, "/photos/cold", &content, 0, 1);
    assert_eq!(first.is_answered(), "MISS");
    ground.runtime.block_on(ground.origin.wait_for_held("cold", At::LastByte));
    let mut readers = vec![first];
    for n in 1..scale.readers {
        readers.push(Reader::begin(&client, "/photos/cold", &content, n, scale.readers));
    }
    for reader in &mut readers[1..] {
        assert_eq!(reader.is_answered(), "JOINED");
    }
    trickle(&limited.served, &mut readers, "/photos/cold", &content);
    ground.origin.release("cold");
    finish(readers, &content);
    await_that("the fill to be committed", || metric(&limited.served, "fallthrough_fills_in_flight") == 0.0)
        .unwrap();
    let mut later = Reader::begin(&client, "/photos/cold", &content, 0, 1);
    assert_eq!(later.is_answered(), "HIT");
    later.take_all(&content);
    assert_eq!(ground.origin.calls("cold"), 1, "one fill");
    limited.check(&format!("{test}: {} readers of {} bytes", scale.readers, scale.object_bytes));
}

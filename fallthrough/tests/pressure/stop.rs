//! The end: who can end within the grace time does, who cannot is cut off when it is over.

use std::process::ExitStatus;
use std::time::Duration;

use fallthrough_object::{Clock, SystemClock};
use fallthrough_sim::{At, Content};
use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::served::client::Client;
use crate::served::{Served, signal};

const SIZE_BYTES: u64 = 8 << 20;
/// Of each sort.
const EACH: usize = 6;
/// Never over in a test, however busy the machine is.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(2);

/// A server with bodies on their way, each about half.
struct Scene {
    ground: Ground,
    served: Served,
    large: Content,
    behind: Content,
    written: Content,
    idle: Vec<Connection>,
    readers: Vec<Connection>,
    writers: Vec<Connection>,
    /// Readers of one fill.
    joined: Vec<Connection>,
}

impl Scene {
    fn set(grace: Duration) -> Self {
        let ground = Ground::new(&format!("[process]\ngrace = \"{}s\"\n", grace.as_secs()));
        let large = Content::generated("large", 1, SIZE_BYTES);
        let behind = ground.origin.object("cold", SIZE_BYTES);
        ground.origin.hold("cold", At::Byte(SIZE_BYTES / 2));
        let served = ground.serve();
        let client = Client::of(&served);
        assert_eq!(client.put_large("/photos/large", &large).unwrap(), 200);

        let mut idle: Vec<_> = (0..EACH).map(|_| Connection::open(client.address())).collect();
        for idle in idle.iter_mut().step_by(2) {
            idle.say(&client.head(&Method::HEAD, "/photos/large", 0)).unwrap();
            assert_eq!(idle.head().unwrap().status, 200);
        }
        let get = |path| (0..EACH).map(|_| Connection::get(client.address(), path, None)).collect::<Vec<_>>();
        let (mut readers, mut joined) = (get("/photos/large"), get("/photos/cold"));
        for reader in readers.iter_mut().chain(&mut joined) {
            assert_eq!(reader.head().unwrap().status, 200);
        }
        let written = Content::generated("written", 1, 900_000);
        let mut writers = Vec::new();
        for n in 0..EACH {
            let mut writer = Connection::open(client.address());
            let head = client.head(&Method::PUT, &format!("/photos/written-{n}"), written.size_bytes());
            assert!(writer.is_invited(&head));
            writer.say(&written.slice(0, 600_000)).unwrap();
            writers.push(writer);
        }
        ground.runtime.block_on(ground.origin.wait_for_held("cold", At::Byte(SIZE_BYTES / 2)));
        await_that("every body to be staged", || ground.staged() == writers.len() + 1).unwrap();
        let open = idle.len() + readers.len() + writers.len() + joined.len();
        let connections = || metric(&served, "fallthrough_connections") as usize;
        await_that("all to be served", || connections() >= open).unwrap();
        Self { ground, served, large, behind, written, idle, readers, writers, joined }
    }

    /// SIGTERM, after which nobody is let in any more, and who asks for nothing is let go at once.
    fn terminate(&mut self) {
        let client = Client::of(&self.served);
        signal(self.served.id(), "-TERM");
        for idle in &mut self.idle {
            assert_eq!(idle.rest(), b"");
        }
        await_that("nobody to be let in", || Connection::try_open(client.address()).is_err()).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        await_that("the process to end", || {
            status = self.served.ended();
            status.is_some()
        })
        .unwrap();
        status.unwrap()
    }

    /// The same folder, served anew and swept.
    fn again(self) -> (Ground, Served) {
        drop(self.served);
        let served = self.ground.serve();
        await_that("a sweep", || metric(&served, "fallthrough_store_sweeps_total") > 0.0).unwrap();
        assert_eq!(self.ground.staged(), 0);
        assert!(Client::of(&served).is_large("/photos/large", &self.large).unwrap());
        (self.ground, served)
    }
}

#[test]
fn who_can_end_within_the_grace_time_does_and_what_was_acknowledged_is_kept() {
    let mut scene = Scene::set(LONG);
    scene.terminate();
    scene.ground.origin.release("cold");
    for reader in &mut scene.readers {
        assert!(reader.take(scene.large.bytes().len()).unwrap() == scene.large.bytes());
    }
    for writer in &mut scene.writers {
        writer.say(&scene.written.slice(600_000, scene.written.size_bytes())).unwrap();
        assert_eq!(writer.answer().unwrap().0.status, 200);
    }
    for joined in &mut scene.joined {
        assert!(joined.take(scene.behind.bytes().len()).unwrap() == scene.behind.bytes());
    }
    // Nothing is left to wait for: long before the grace time is over.
    assert_eq!(scene.ended().code(), Some(0));
    assert!(!scene.served.told().contains("cut off"), "{}", scene.served.told());

    let (written, behind) = (scene.written.clone(), scene.behind.clone());
    let (ground, served) = scene.again();
    let client = Client::of(&served);
    for n in 0..EACH {
        let (status, got) = client.send(&Method::GET, &format!("/photos/written-{n}"), &[]).unwrap();
        assert_eq!((status, got[..] == written.bytes()[..]), (200, true), "{n}");
    }
    assert!(client.is_large("/photos/cold", &behind).unwrap());
    assert_eq!(ground.origin.calls("cold"), 1, "what was filled in the grace time was kept");
}

#[test]
fn who_cannot_end_is_cut_off_when_the_grace_time_is_over() {
    let mut scene = Scene::set(SHORT);
    let clock = SystemClock::new();
    let began = clock.monotonic();
    scene.terminate();
    assert_eq!(scene.ended().code(), Some(0));
    let took = clock.monotonic().since(began);
    assert!(took >= SHORT, "those who could not end were not given their time: {took:?}");
    let cut = scene.readers.len() + scene.writers.len() + scene.joined.len();
    await_that("the last lines", || scene.served.told().contains(&format!("connections={cut}")))
        .unwrap_or_else(|_| panic!("it says how many were cut off: {}", scene.served.told()));
    assert!(scene.served.told().contains("fills=1"), "{}", scene.served.told());
    let parts = [(&mut scene.readers, &scene.large), (&mut scene.joined, &scene.behind)];
    for (connections, whole) in parts {
        for (n, cut) in connections.iter_mut().enumerate() {
            let got = cut.rest();
            assert!(
                got.len() < whole.bytes().len() && whole.bytes().starts_with(&got),
                "{n}: a part, and right"
            );
        }
    }
    let (_ground, served) = scene.again();
    let client = Client::of(&served);
    for n in 0..EACH {
        let (status, _) = client.send(&Method::GET, &format!("/photos/written-{n}"), &[]).unwrap();
        assert_eq!(status, 404, "{n}: never acknowledged");
    }
}

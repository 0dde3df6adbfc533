//! The end: who can end within the grace time does, who cannot is cut off, and the process is gone in time.

use std::time::Duration;

use fallthrough_object::{Clock, SystemClock};
use fallthrough_sim::{At, Content};
use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::served::client::Client;
use crate::served::signal;

const SIZE_BYTES: u64 = 8 << 20;
/// Of each sort: those who could end and those who do not.
const EACH: usize = 6;
/// Long, so that those who can end do so within it on a busy machine as well.
const GRACE: Duration = Duration::from_secs(6);
/// The process may end later than the grace time on such a machine, but not so much.
const OUTER: Duration = Duration::from_secs(60);

#[test]
fn it_ends_within_the_grace_time_and_keeps_what_it_acknowledged() {
    let ground = Ground::new(&format!("[process]\ngrace = \"{}s\"\n", GRACE.as_secs()));
    let large = Content::generated("large", 1, SIZE_BYTES);
    let cold = ground.origin.object("cold", SIZE_BYTES);
    let stuck = ground.origin.object("stuck", SIZE_BYTES);
    ground.origin.hold("cold", At::Byte(SIZE_BYTES / 2));
    ground.origin.hold("stuck", At::Byte(SIZE_BYTES / 2));
    let mut served = ground.serve();
    let client = Client::of(&served);
    assert_eq!(client.put_large("/photos/large", &large).unwrap(), 200);

    let mut idle: Vec<_> = (0..EACH).map(|_| Connection::open(client.address())).collect();
    for idle in idle.iter_mut().step_by(2) {
        idle.say(&client.head(&Method::HEAD, "/photos/large", 0)).unwrap();
        assert_eq!(idle.head().unwrap().status, 200);
    }
    let mut readers: Vec<_> =
        (0..2 * EACH).map(|_| Connection::get(client.address(), "/photos/large", None)).collect();
    for reader in &mut readers {
        assert_eq!(reader.head().unwrap().status, 200);
    }
    let body = Content::generated("written", 1, 900_000);
    let mut writers = Vec::new();
    for n in 0..2 * EACH {
        let mut writer = Connection::open(client.address());
        let head = client.head(&Method::PUT, &format!("/photos/written-{n}"), body.size_bytes());
        assert!(writer.is_invited(&head));
        writer.say(&body.slice(0, 600_000)).unwrap();
        writers.push(writer);
    }
    let mut joined: Vec<_> = (0..EACH)
        .map(|n| Connection::get(client.address(), ["/photos/cold", "/photos/stuck"][n % 2], None))
        .collect();
    for joined in &mut joined {
        assert_eq!(joined.head().unwrap().status, 200);
    }
    ground.runtime.block_on(ground.origin.wait_for_held("cold", At::Byte(SIZE_BYTES / 2)));
    ground.runtime.block_on(ground.origin.wait_for_held("stuck", At::Byte(SIZE_BYTES / 2)));
    await_that("every body to be staged", || ground.staged() == writers.len() + 2).unwrap();
    let open = idle.len() + readers.len() + writers.len() + joined.len();
    await_that("all to be served", || metric(&served, "fallthrough_connections") as usize >= open).unwrap();

    let clock = SystemClock::new();
    let began = clock.monotonic();
    signal(served.id(), "-TERM");
    for idle in &mut idle {
        assert_eq!(idle.rest(), b"", "who asks for nothing is let go at once");
    }
    await_that("nobody to be let in", || Connection::try_open(client.address()).is_err()).unwrap();
    // Who can end does: with every byte, and acknowledged.
    ground.origin.release("cold");
    for reader in readers.iter_mut().take(EACH) {
        assert!(reader.take(large.bytes().len()).unwrap() == large.bytes());
    }
    for writer in writers.iter_mut().take(EACH) {
        writer.say(&body.slice(600_000, body.size_bytes())).unwrap();
        assert_eq!(writer.answer().unwrap().0.status, 200);
    }
    for joined in joined.iter_mut().step_by(2) {
        assert!(joined.take(cold.bytes().len()).unwrap() == cold.bytes());
    }
    let mut status = None;
    await_that("the process to end", || {
        status = served.ended();
        status.is_some()
    })
    .unwrap();
    let took = clock.monotonic().since(began);
    println!("ended {took:?} after SIGTERM");
    assert!(took < OUTER, "{took:?}");
    assert!(took >= GRACE, "those who could not end were not given their time: {took:?}");
    assert_eq!(status.unwrap().code(), Some(0));
    // Half of the readers, half of the writers, and those of the fill that got stuck.
    let cut = EACH + EACH + EACH / 2;
    await_that("the last lines", || served.told().contains(&format!("connections={cut}")))
        .unwrap_or_else(|_| panic!("it says how many were cut off: {}", served.told()));
    assert!(served.told().contains("fills=1"), "{}", served.told());
    for (n, cut) in readers.iter_mut().skip(EACH).enumerate() {
        let got = cut.rest();
        assert!(got.len() < large.bytes().len() && large.bytes().starts_with(&got), "{n}: a part, and right");
    }
    for cut in joined.iter_mut().skip(1).step_by(2) {
        let got = cut.rest();
        assert!(got.len() < stuck.bytes().len() && stuck.bytes().starts_with(&got), "a part, and right");
    }
    drop(served);

    let served = ground.serve();
    let client = Client::of(&served);
    await_that("a sweep", || metric(&served, "fallthrough_store_sweeps_total") > 0.0).unwrap();
    assert_eq!(ground.staged(), 0);
    assert!(client.is_large("/photos/large", &large).unwrap());
    for n in 0..writers.len() {
        let (status, got) = client.send(&Method::GET, &format!("/photos/written-{n}"), &[]).unwrap();
        let acknowledged = n < EACH;
        assert_eq!(status, if acknowledged { 200 } else { 404 }, "{n}");
        assert!(!acknowledged || body.bytes() == got, "{n}");
    }
    assert!(client.is_large("/photos/cold", &cold).unwrap());
    assert_eq!(ground.origin.calls("cold"), 1, "what was filled in the grace time was kept");
}

//! Origins that are slow, silent, or stop in the middle: they take what is theirs, and nothing of the others.

use std::time::Duration;

use fallthrough_sim::{At, Fault};
use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::served::client::Client;

const SLOTS: usize = 4;
const QUEUE: usize = 3;

#[test]
fn an_origin_that_does_not_answer_takes_its_slots_and_nothing_else() {
    let settings =
        format!("[fill]\nclient-wait = \"1s\"\nmax-in-flight = {SLOTS}\nqueue = {QUEUE}\nper-client = 100\n");
    let ground = Ground::new(&settings);
    let keys: Vec<_> = (0..SLOTS + QUEUE).map(|n| format!("cold-{n}")).collect();
    let contents: Vec<_> = keys.iter().map(|key| ground.origin.object(key, 100_000)).collect();
    for key in &keys {
        ground.origin.hold(key, At::Headers);
    }
    ground.origin.object("one-more", 10);
    let served = ground.serve();
    let client = Client::of(&served);
    assert_eq!(client.send(&Method::PUT, "/photos/here", b"here").unwrap().0, 200);
    let mut waiting: Vec<_> =
        keys.iter().map(|key| Connection::get(client.address(), &format!("/photos/{key}"), None)).collect();
    await_that("all slots to be taken", || ground.origin.in_flight() == SLOTS).unwrap();
    await_that("the queue to be full", || {
        metric(&served, "fallthrough_origin_queue_length") as usize == QUEUE
    })
    .unwrap();

    // Who comes now is told at once to come back; and everything that is here goes on.
    let mut refused = Connection::get(client.address(), "/photos/one-more", None);
    let (head, told) = refused.answer().unwrap();
    assert_eq!((head.status, head.header("retry-after").is_some()), (503, true));
    assert!(String::from_utf8(told).unwrap().contains("<Code>SlowDown</Code>"));
    assert_eq!(ground.origin.calls("one-more"), 0);
    for n in 0..20 {
        assert_eq!(client.send(&Method::GET, "/photos/here", &[]).unwrap(), (200, b"here".to_vec()));
        assert_eq!(client.send(&Method::PUT, &format!("/photos/new-{n}"), b"new").unwrap().0, 200);
        assert_eq!(client.send(&Method::DELETE, &format!("/photos/new-{n}"), &[]).unwrap().0, 204);
    }
    // Who waits is told to come back when their patience is at its end; what they asked for goes on.
    for waiting in &mut waiting {
        let (head, told) = waiting.answer().unwrap();
        assert_eq!((head.status, head.header("retry-after").is_some()), (503, true));
        assert!(String::from_utf8(told).unwrap().contains("<Code>SlowDown</Code>"));
    }
    assert_eq!(ground.origin.in_flight(), SLOTS, "the fills go on");
    assert_eq!(client.send(&Method::GET, "/photos/here", &[]).unwrap(), (200, b"here".to_vec()));
    let begun = keys.iter().filter(|key| ground.origin.calls(key) > 0).count();
    assert_eq!(begun, SLOTS);
    for key in &keys {
        ground.origin.release(key);
    }
    // Those in the queue come after them, though nobody waits any more.
    for (key, content) in keys.iter().zip(&contents) {
        ground.runtime.block_on(ground.origin.wait_for_ended(key, 1));
        let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
        assert!(status == 200 && content.bytes() == body, "{key}");
        assert_eq!(ground.origin.calls(key), 1, "{key}: the fill that was begun is the one that was kept");
    }
    assert_eq!(ground.origin.in_flight_max(), SLOTS);
    await_that("staging to be empty", || ground.staged() == 0).unwrap();
    assert_eq!(served.stop("-TERM"), 0);
}

#[test]
fn origins_that_drip_and_stall_cost_a_bounded_memory() {
    /// What a fill on its way costs at most beside what the server has anyway, in bytes.
    const BOUND_BYTES: u64 = 1200 << 10;
    const FILLS: usize = 60;
    let ground = Ground::new("[fill]\nstall = \"3s\"\nmax-in-flight = 100\nper-client = 100\n");
    let keys: Vec<_> = (0..FILLS).map(|n| format!("cold-{n}")).collect();
    let contents: Vec<_> = keys.iter().map(|key| ground.origin.object(key, 1_500_000)).collect();
    for (n, key) in keys.iter().enumerate() {
        match n % 3 {
            // Held in the middle, as long as the test likes; less than a stall would be too soon for it.
            0 => ground.origin.fault_times(key, 1, Fault::StallAt(900_000)),
            1 => ground
                .origin
                .fault(key, Fault::Drip { chunk_bytes: 150_000, every: Duration::from_millis(100) }),
            _ => ground.origin.fault_times(key, 1, Fault::DelayHeaders(Duration::from_millis(500))),
        }
    }
    let served = ground.serve();
    let client = Client::of(&served);
    assert_eq!(client.send(&Method::PUT, "/photos/here", b"here").unwrap().0, 200);
    let before = served.resident_bytes();
    // Of whoever asks, half go away at once.
    let mut readers: Vec<_> =
        keys.iter().map(|key| Connection::get(client.address(), &format!("/photos/{key}"), None)).collect();
    await_that("every fill to begin", || keys.iter().all(|key| ground.origin.calls(key) > 0)).unwrap();
    assert_eq!(client.send(&Method::GET, "/photos/here", &[]).unwrap(), (200, b"here".to_vec()));
    for (n, (reader, content)) in readers.drain(..).zip(&contents).enumerate() {
        if n.is_multiple_of(2) {
            let mut reader = reader;
            let (head, body) = reader.answer().unwrap();
            assert!(head.status == 200 && content.bytes() == body, "{}", keys[n]);
        }
    }
    await_that("every fill to end", || metric(&served, "fallthrough_fills_in_flight") == 0.0).unwrap();
    for (key, content) in keys.iter().zip(&contents) {
        let mut reader = Connection::get(client.address(), &format!("/photos/{key}"), None);
        let (head, body) = reader.answer().unwrap();
        assert!(head.status == 200 && content.bytes() == body, "{key}");
        assert_eq!(head.header("x-cache"), Some("HIT"), "{key}");
    }
    for (n, key) in keys.iter().enumerate() {
        // Whoever stalled is asked once more, for the rest.
        assert_eq!(ground.origin.calls(key), if n % 3 == 0 { 2 } else { 1 }, "{key}");
    }
    let each = served.peak_bytes().saturating_sub(before) / FILLS as u64;
    println!("{FILLS} slow fills: {each} bytes each, {} bytes resident at most", served.peak_bytes());
    assert!(each < BOUND_BYTES, "{each} bytes for each fill on its way");
    await_that("staging to be empty", || ground.staged() == 0).unwrap();
}

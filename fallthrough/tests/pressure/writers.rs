//! Writers whose bodies come drop by drop.

use fallthrough_sim::Content;
use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that};
use crate::number;
use crate::served::client::Client;

/// Of each body: more than is kept in memory before a file is begun.
const SIZE_BYTES: u64 = 900_000;
/// What comes at once, before the trickle.
const BURST_BYTES: u64 = 500_000;
const TRICKLE_BYTES: u64 = 700;
const ROUNDS: u64 = 12;
/// What a body on its way costs at most beside what the server has anyway, in bytes.
const BOUND_BYTES: u64 = 900 << 10;

#[test]
fn slow_writers_cost_a_bounded_memory_and_leave_nothing() {
    let count = number("FALLTHROUGH_SLOW_WRITERS", 100);
    let ground = Ground::new("");
    let served = ground.serve();
    let client = Client::of(&served);
    let before = served.resident_bytes();
    let contents: Vec<_> = (0..count).map(|n| Content::generated(&format!("w{n}"), 1, SIZE_BYTES)).collect();
    let mut writers = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        let mut writer = Connection::open(client.address());
        assert!(writer.is_invited(&client.head(&Method::PUT, &format!("/photos/w{n}"), SIZE_BYTES)));
        writer.say(&content.slice(0, BURST_BYTES)).unwrap();
        writers.push(writer);
    }
    for round in 0..ROUNDS {
        let start = BURST_BYTES + round * TRICKLE_BYTES;
        for (writer, content) in writers.iter_mut().zip(&contents) {
            writer.say(&content.slice(start, start + TRICKLE_BYTES)).unwrap();
        }
        let quick = format!("/photos/quick-{round}");
        assert_eq!(client.send(&Method::PUT, &quick, quick.as_bytes()).unwrap().0, 200);
        assert_eq!(client.send(&Method::GET, &quick, &[]).unwrap(), (200, quick.into_bytes()));
    }
    await_that("every body to be staged", || ground.staged() == count).unwrap();
    let each = served.peak_bytes().saturating_sub(before) / count as u64;
    println!("{count} slow writers: {each} bytes each, {} bytes resident at most", served.peak_bytes());
    assert!(each < BOUND_BYTES, "{each} bytes for each body on its way");

    // Half of them come to their end; the others go away in the middle.
    let rest = BURST_BYTES + ROUNDS * TRICKLE_BYTES;
    for (n, (mut writer, content)) in writers.into_iter().zip(&contents).enumerate() {
        if n.is_multiple_of(2) {
            writer.say(&content.slice(rest, SIZE_BYTES)).unwrap();
            assert_eq!(writer.answer().unwrap().0.status, 200);
        }
    }
    for (n, content) in contents.iter().enumerate() {
        let (status, body) = client.send(&Method::GET, &format!("/photos/w{n}"), &[]).unwrap();
        if n.is_multiple_of(2) {
            assert!(status == 200 && content.bytes() == body, "{n}");
        } else {
            assert_eq!(status, 404, "{n}");
        }
    }
    await_that("staging to be empty", || ground.staged() == 0).unwrap();
    assert_eq!(served.stop("-TERM"), 0);
}

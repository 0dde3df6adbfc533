//! Connections that say nothing, or nothing more.

use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::limited::Limited;
use crate::number;
use crate::served::Served;
use crate::served::client::Client;

/// Of the objects that are got and put: larger than any buffer of a connection.
const SIZE_BYTES: usize = 300_000;

/// What the server may have without any connection, and for those that come and go.
const SERVER_BYTES: u64 = 64 << 20;

/// More would take longer to open than an idle connection is kept, and more files than many machines allow.
const EACH_MAX: usize = 2000;

/// What a connection was used for before nothing is asked on it any more.
#[derive(Clone, Copy, Debug)]
enum Past {
    Silent,
    HalfAHead,
    Get,
    Put,
}

impl Past {
    const ALL: [Self; 4] = [Self::Silent, Self::HalfAHead, Self::Get, Self::Put];

    /// What it costs at most: resident memory of the server, in bytes, as docs/reliability.md states it.
    fn bound_bytes(self) -> u64 {
        match self {
            Self::Silent => 20 << 10,
            Self::HalfAHead | Self::Get => 24 << 10,
            Self::Put => 96 << 10,
        }
    }

    /// How many of them, of so many. A PUT takes long.
    fn count(self, each: usize) -> usize {
        match self {
            Self::Silent | Self::HalfAHead | Self::Get => each,
            Self::Put => each.div_ceil(5),
        }
    }

    fn live(self, client: &Client, n: usize, body: &[u8]) -> Connection {
        let mut connection = Connection::open(client.address());
        let path = format!("/photos/{}", n % 4);
        match self {
            Self::Silent => {}
            Self::HalfAHead => connection.say(b"GET /photos/0 HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap(),
            Self::Get => {
                connection.say(&client.head(&Method::GET, &path, 0)).unwrap();
                let (head, got) = connection.answer().unwrap();
                assert!(head.status == 200 && got == body);
            }
            Self::Put => {
                connection.say(&client.head(&Method::PUT, &path, body.len() as u64)).unwrap();
                connection.say(body).unwrap();
                assert_eq!(connection.answer().unwrap().0.status, 200);
            }
        }
        connection
    }
}

/// Connections that are open at the server.
fn open(served: &Served) -> f64 {
    metric(served, "fallthrough_connections")
}

#[test]
fn idle_connections_cost_little_and_hinder_nobody() {
    let each = number("FALLTHROUGH_IDLE_CONNECTIONS", 1000).min(EACH_MAX);
    let places = Past::ALL.iter().map(|past| past.count(each)).sum::<usize>() + 8;
    let ground = Ground::new(&format!("[s3]\nmax-connections = {places}\n"));
    let limit_bytes = Past::ALL.iter().map(|past| past.bound_bytes() * past.count(each) as u64).sum::<u64>();
    let mut limited = Limited::serve(&ground, limit_bytes + SERVER_BYTES, "idle_connections");
    let served = &limited.served;
    let client = Client::of(served);
    let body = vec![7; SIZE_BYTES];
    // What the server has for itself is there before anything is measured.
    for n in 0..20 {
        drop(Past::Put.live(&client, n, &body));
        drop(Past::Get.live(&client, n, &body));
    }
    let mut held = Vec::new();
    for past in Past::ALL {
        let (before, count) = (served.resident_bytes(), past.count(each));
        held.extend((0..count).map(|n| past.live(&client, n, &body)));
        await_that("all connections to be served", || open(served) >= held.len() as f64).unwrap();
        let cost = served.resident_bytes().saturating_sub(before) / count as u64;
        println!("{count} connections, {past:?}: {cost} bytes each");
        assert!(cost <= past.bound_bytes(), "{past:?}: {cost} bytes for each connection");
        assert_eq!(client.send(&Method::GET, "/photos/1", &[]).unwrap().0, 200);
    }

    // The last places are taken, and then one is refused.
    await_that("the others to have gone", || open(served) == held.len() as f64).unwrap();
    held.extend((held.len()..places).map(|_| Connection::open(client.address())));
    await_that("all places to be taken", || open(served) == places as f64).unwrap();
    for _ in 0..50 {
        // It says what it wants at once, as clients do.
        let mut refused = Connection::get(client.address(), "/photos/1", None);
        let (head, told) = refused.answer().unwrap();
        assert_eq!((head.status, head.header("retry-after")), (503, Some("1")));
        assert!(String::from_utf8(told).unwrap().contains("<Code>SlowDown</Code>"));
        assert!(refused.ends_cleanly());
    }
    // A place that is given back is used again.
    held.truncate(places - 1);
    await_that("a place to get free", || {
        client.send(&Method::GET, "/photos/1", &[]).is_ok_and(|(status, _)| status == 200)
    })
    .unwrap();
    limited.check(&format!("{} connections", held.len()));
    drop(held);
    assert_eq!(limited.served.stop("-TERM"), 0);
}

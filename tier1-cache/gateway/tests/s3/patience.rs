//! How long a client may be silent or slow, under a clock that jumps to whatever is waited for next: over a pipe
//! instead of a socket, and to the second.

use std::time::Duration;

use fallthrough_gateway::GatewayOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};

use crate::client::{Client, Mode, Reply};
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// Of a pipe in each direction: far less than a body.
const PIPE_BYTES: usize = 1024;

/// What comes until the server closes, and when that is.
async fn rest(pipe: &mut DuplexStream, since: Instant) -> (Vec<u8>, Duration) {
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).await.unwrap();
    (rest, since.elapsed())
}

/// The head of a PUT of `len` bytes.
fn put(client: &Client, len: usize) -> Vec<u8> {
    client.call("PUT", "/photos/k").mode(Mode::Unsigned).body(&vec![b'x'; len]).encode().0
}

#[tokio::test(start_paused = true)]
async fn a_head_must_be_whole_in_time_however_it_drips() {
    let world = World::new().await;
    let limit = GatewayOptions::default().head_timeout;
    for begun in ["", "GET /photos/k HTTP/1.1\r\nHost: a\r\n"] {
        let mut pipe = world.pipe(PIPE_BYTES);
        let since = Instant::now();
        pipe.write_all(begun.as_bytes()).await.unwrap();
        let (told, took) = rest(&mut pipe, since).await;
        assert_eq!((told, took.as_secs()), (Vec::new(), limit.as_secs()), "{begun:?}");
    }
    // Each byte in good time, and all of them not.
    let (mut reading, mut writing) = tokio::io::split(world.pipe(PIPE_BYTES));
    let since = Instant::now();
    let drip = async {
        for byte in b"GET /photos/k HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(5 * SECOND).await; // Virtual time.
        }
    };
    let mut told = Vec::new();
    let (_, ended) = tokio::join!(drip, reading.read_to_end(&mut told));
    ended.unwrap();
    assert!(told.is_empty());
    let took = since.elapsed();
    assert!(took >= limit && took <= limit + 10 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_a_while_after_each_request() {
    let world = World::new().await;
    world.bucket("photos").await;
    let limit = GatewayOptions::default().head_timeout;
    let (head, _) = world.main().call("GET", "/photos").encode();
    let mut pipe = world.pipe(PIPE_BYTES);
    for _ in 0..5 {
        // Together longer than the limit, which begins anew with each answer.
        sleep(limit - SECOND).await;
        pipe.write_all(&head).await.unwrap();
        assert_eq!(Reply::read(&mut pipe, false).await.status, 200);
    }
    let (told, took) = rest(&mut pipe, Instant::now()).await;
    assert_eq!((told, took.as_secs()), (Vec::new(), limit.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_is_waited_for_and_then_given_up() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let limit = GatewayOptions::default().body_timeout;
    for (pause, status, code) in [(limit - SECOND, 200, ""), (limit + SECOND, 400, "RequestTimeout")] {
        let mut pipe = world.pipe(PIPE_BYTES);
        pipe.write_all(&put(&client, 40_000)).await.unwrap();
        pipe.write_all(&[b'x'; 30_000]).await.unwrap();
        sleep(pause).await; // Virtual time.
        // Whoever was given up finds the connection closed.
        let _ = pipe.write_all(&[b'x'; 10_000]).await;
        let reply = Reply::read(&mut pipe, false).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        let (head, _) = client.call("DELETE", "/photos/k").encode();
        let mut pipe = world.pipe(PIPE_BYTES);
        pipe.write_all(&head).await.unwrap();
        assert_eq!(Reply::read(&mut pipe, false).await.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_but_not_stand_still_by_drops() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let (pace, pace_bytes) = {
        let options = GatewayOptions::default();
        (options.body_pace, options.body_pace_bytes)
    };
    // Bytes, each so long after the one before; what is answered, and when at the latest.
    let rows = [
        // A slow phone: half a kilobyte a second.
        (100_000, 512, SECOND, 200, "", Duration::from_secs(200)),
        // In gulps, just as often as needed.
        (100_000, usize::try_from(pace_bytes).unwrap(), pace / 3, 200, "", 10 * pace),
        // A small body in small pieces, soon enough.
        (40, 1, SECOND, 200, "", 50 * SECOND),
        // Never silent for long, and never done.
        (5_000_000, 1, 9 * SECOND, 400, "RequestTimeout", pace + 10 * SECOND),
        (1_000, 1, 9 * SECOND, 400, "RequestTimeout", pace + 10 * SECOND),
        (5_000_000, 200, SECOND, 400, "RequestTimeout", pace + 10 * SECOND),
    ];
    for (len, piece, every, status, code, until) in rows {
        let row = format!("{len} bytes, {piece} every {every:?}");
        let (mut reading, mut writing) = tokio::io::split(world.pipe(PIPE_BYTES));
        let since = Instant::now();
        let answered = async {
            let reply = Reply::read_patiently(&mut reading, false).await;
            (reply, since.elapsed())
        };
        let drip = async {
            writing.write_all(&put(&client, len)).await.unwrap();
            let mut left = len;
            while left > 0 && writing.write_all(&vec![b'x'; piece.min(left)]).await.is_ok() {
                left -= piece.min(left);
                sleep(every).await; // Virtual time.
            }
            std::future::pending::<()>().await;
        };
        let (reply, took) = tokio::select! {
            answered = answered => answered,
            () = drip => unreachable!("it ends with the answer"),
        };
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{row}");
        assert!(took <= until, "{row}: {took:?}");
        let (head, _) = client.call("HEAD", "/photos/k").encode();
        let mut pipe = world.pipe(PIPE_BYTES);
        pipe.write_all(&head).await.unwrap();
        let kept = Reply::read(&mut pipe, true).await;
        assert_eq!(kept.status, if status == 200 { 200 } else { 404 }, "{row}");
        let (head, _) = client.call("DELETE", "/photos/k").encode();
        let mut pipe = world.pipe(PIPE_BYTES);
        pipe.write_all(&head).await.unwrap();
        assert_eq!(Reply::read(&mut pipe, false).await.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_be_slow_but_must_take_something() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let body = vec![b'y'; 20_000];
    let (head, sent) = client.call("PUT", "/photos/k").body(&body).encode();
    let mut pipe = world.pipe(PIPE_BYTES);
    pipe.write_all(&[head, sent].concat()).await.unwrap();
    assert_eq!(Reply::read(&mut pipe, false).await.status, 200);
    let limit = GatewayOptions::default().write_timeout;
    let (head, _) = client.call("GET", "/photos/k").encode();

    let mut pipe = world.pipe(PIPE_BYTES);
    pipe.write_all(&head).await.unwrap();
    let mut taken = Vec::new();
    while !taken.ends_with(&body) {
        sleep(limit - SECOND).await; // Virtual time.
        let mut some = [0; 1000];
        let read = pipe.read(&mut some).await.unwrap();
        assert!(read > 0, "cut off after {} bytes", taken.len());
        taken.extend_from_slice(&some[..read]);
    }

    let mut pipe = world.pipe(PIPE_BYTES);
    pipe.write_all(&head).await.unwrap();
    sleep(limit + SECOND).await; // Virtual time.
    let (got, took) = rest(&mut pipe, Instant::now()).await;
    assert_eq!((got.len(), took.as_secs()), (PIPE_BYTES, 0), "what was on its way, and then the end");
}

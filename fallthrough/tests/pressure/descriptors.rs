//! The limit of open files: raised as far as it goes, and where that is not far, fewer connections are taken
//! rather than requests failed.

use std::process::Command;

use http::Method;

use crate::connection::Connection;
use crate::ground::{Ground, await_that, metric};
use crate::served::client::Client;
use crate::served::{SERVE, Served, fallthrough};

/// Larger than what is kept in the index or in memory: each request for it needs a file.
const SIZE_BYTES: usize = 700_000;

/// Serves with the limit of open files that `ulimit` is told.
fn serve_with(ground: &Ground, limit: &str) -> Served {
    let inner = fallthrough(&ground.folder);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
        .arg(inner.get_program())
        .args(SERVE);
    command.env_clear().env("HOME", &ground.folder).current_dir(&ground.folder);
    Served::start_command(&ground.folder, command).unwrap_or_else(|ran| panic!("it ended: {}", ran.err))
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let ground = Ground::new("");
    let served = serve_with(&ground, "-S -n 200");
    let client = Client::of(&served);
    let held: Vec<_> = (0..600).map(|_| Connection::open(client.address())).collect();
    await_that("all connections to be served", || metric(&served, "fallthrough_connections") as usize >= 600)
        .unwrap();
    assert_eq!(client.send(&Method::PUT, "/photos/a", &vec![1; SIZE_BYTES]).unwrap().0, 200);
    drop(held);
    assert_eq!(served.told(), "");
}

#[test]
fn where_files_are_few_connections_are_refused_and_requests_do_not_fail() {
    let ground = Ground::new("");
    let served = serve_with(&ground, "-n 400");
    let client = Client::of(&served);
    await_that("a warning", || served.told().contains("few open files are allowed")).unwrap();
    let body = vec![1; SIZE_BYTES];
    assert_eq!(client.send(&Method::PUT, "/photos/a", &body).unwrap().0, 200);
    // Each with a socket and the file that its body is staged in.
    let mut writers = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        let mut writer = Connection::open(client.address());
        let path = format!("/photos/{}", writers.len());
        if writer.is_invited(&client.head(&Method::PUT, &path, body.len() as u64)) {
            writer.say(&body[1..]).unwrap();
            writers.push(writer);
        } else {
            refused += 1;
        }
        assert!(writers.len() < 400, "more connections than files");
    }
    assert!(writers.len() > 50, "{} connections", writers.len());
    for writer in &mut writers {
        writer.say(&body[..1]).unwrap();
        let (head, told) = writer.answer().unwrap();
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&told));
    }
    drop(writers);
    await_that("places to get free", || {
        client.send(&Method::GET, "/photos/a", &[]).is_ok_and(|(status, _)| status == 200)
    })
    .unwrap();
    assert_eq!(served.stop("-TERM"), 0);
}

//! Killed with SIGKILL at exactly the Nth of a system call: each step of a commit, of a start, of a removal.

use std::collections::BTreeMap;

use fallthrough_object::SeededEntropy;
use http::Method;

use crate::ground::Ground;
use crate::load::{End, Load};
use crate::served::client::Client;
use crate::served::{SERVE, Served, fallthrough, signal};
use crate::skip::skipped;
use crate::strace::{Attached, Injection, begun, missing, step};
use crate::tally::Tally;
use crate::{number, seed};

/// Calls of a running server, and how far the Nth goes for each thread. A call is not made any more when the
/// signal arrives: so each of these ends the process between two steps.
const RUNNING: [(&str, u64); 8] = [
    ("fdatasync", 10),
    ("fsync", 6),
    ("rename", 6),
    ("pwrite64", 40),
    ("unlink", 5),
    ("openat", 12),
    ("writev", 20),
    ("fdatasync,fsync,rename,pwrite64", 30),
];
/// Requests of each writer: if the Nth call does not come within them, the kill comes at their end.
const REQUESTS: u64 = 60;

#[test]
fn kills_at_each_step_lose_nothing_tear_nothing_and_leave_nothing() {
    if let Some(why) = missing() {
        return skipped("kills_at_each_step", &why);
    }
    let kills = number("FALLTHROUGH_EXACT_KILLS").unwrap_or(24);
    let random = SeededEntropy::new(seed());
    let ground = Ground::new("");
    let mut total = Tally::default();
    let mut steps = BTreeMap::<String, u64>::new();
    let (mut killed, mut unreached) = (0, 0);
    for round in 0.. {
        if killed == kills {
            break;
        }
        assert!(unreached <= killed + RUNNING.len() as u64, "most kills never came");
        let (call, furthest) = RUNNING[usize::try_from(round).unwrap() % RUNNING.len()];
        let turn = round / RUNNING.len() as u64;
        // Seven is coprime to every bound: all of 1..=furthest come, and not the lowest alone in a short run.
        let nth = 1 + (turn * 7 + round) % furthest;
        let injection = Injection { call, what: "signal=KILL", nth, lasting: false };
        let served = ground.serve();
        let load = Load { round, requests: REQUESTS, faults: false };
        let attached = Attached::to(served.id(), &injection, ground.folder.join("trace"));
        let ((), tally, end) = ground.load(&served, load, &random, || ());
        if end == End::Through {
            unreached += 1;
            signal(served.id(), "-KILL");
        }
        let lines = attached.end();
        drop(served);
        if end == End::Gone {
            killed += 1;
            *steps.entry(fatal(&lines)).or_default() += 1;
        }
        total += tally;
        let served = ground.serve();
        let when = format!("after kill {round}, {injection:?}");
        ground.check(&Client::of(&served), &when);
        ground.check_files(&served, round, &when);
    }
    ground.erase(ground.serve());
    println!(
        "{killed} kills at exact calls ({unreached} more came late), {} acknowledged writes, {} in doubt, {} reads, {} cold reads: 0 lost, 0 torn, 0 orphans",
        total.acknowledged, total.in_doubt, total.reads, total.fills
    );
    println!("killed before: {steps:?}");
    assert!(total.acknowledged > 0, "a load that does nothing shows nothing");
}

/// The call at which the process ended: of those that did not return, the first.
fn fatal(lines: &[String]) -> String {
    let Some(at) = lines.iter().position(|line| line.ends_with("= ?")) else { return "unknown".to_owned() };
    step(begun(lines, at))
}

/// Calls of a start, and how many of them a short run passes over.
const STARTING: [(&str, usize); 6] =
    [("fdatasync", 2), ("fsync", 2), ("rename", 1), ("pwrite64", 5), ("openat", 20), ("mkdir", 150)];

#[test]
fn a_start_that_is_killed_at_any_step_is_followed_by_one_that_serves() {
    if let Some(why) = missing() {
        return skipped("a_start_that_is_killed_at_any_step", &why);
    }
    let thorough = number("FALLTHROUGH_EXACT_KILLS").is_some();
    let (mut first, mut later) = (0, 0);
    for (call, stride) in STARTING {
        for nth in (1..).step_by(if thorough { 1 } else { stride }) {
            let injection = Injection { call, what: "signal=KILL", nth, lasting: false };
            let ground = Ground::new("");
            if !is_killed(&ground, &injection) {
                break;
            }
            first += 1;
            serves(&ground, &injection);
        }
        // What the first one finds is what a kill left behind.
        let ground = Ground::new("");
        for nth in (1..).step_by(stride) {
            let injection = Injection { call, what: "signal=KILL", nth, lasting: false };
            serves(&ground, &injection);
            if !is_killed(&ground, &injection) {
                break;
            }
            later += 1;
        }
    }
    println!("{first} kills of first starts and {later} of later ones: every next start served");
    assert!(first > 10 && later > 5, "few kills came");
}

/// Starts a server with the injection, and ends it at last. Whether the injection did.
fn is_killed(ground: &Ground, injection: &Injection) -> bool {
    let mut command = injection.around(&ground.folder.join("trace"));
    let program = fallthrough(&ground.folder);
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(&ground.folder).arg(program.get_program()).args(SERVE);
    let started = Served::start_command(&ground.folder, command);
    // The child is strace: its end is not the server's.
    if let Ok(served) = &started {
        signal(served.ready["pid"].as_u64().unwrap().try_into().unwrap(), "-KILL");
    }
    started.is_err()
}

/// A server starts here, takes an object, gives it back, and is killed.
fn serves(ground: &Ground, after: &Injection) {
    let served = ground.serve();
    let client = Client::of(&served);
    for (path, body) in [("/photos/small", vec![b'x'; 100]), ("/photos/large", vec![b'y'; 300_000])] {
        let (status, told) = client.send(&Method::PUT, path, &body).unwrap();
        assert_eq!(status, 200, "{after:?}: {}", String::from_utf8_lossy(&told));
        assert_eq!(client.send(&Method::GET, path, &[]).unwrap(), (200, body), "{after:?}");
    }
    signal(served.id(), "-KILL");
}

//! A disk that fails: EIO and ENOSPC injected into calls of a running server, once or lasting until the disk is
//! well again.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};

use fallthrough_object::{Entropy, SeededEntropy};
use http::Method;

use crate::ground::{Ground, await_that};
use crate::load::{End, Load};
use crate::served::client::Client;
use crate::served::{Served, signal};
use crate::skip::skipped;
use crate::strace::{Attached, Injection, begun, is_injected, missing, step};
use crate::tally::Tally;
use crate::{number, seed};

/// One way in which a disk fails.
struct Fault {
    call: &'static str,
    what: &'static str,
    /// How far the first failing call goes, of each thread.
    furthest: u64,
    lasting: bool,
    /// Whether it spares reads, so that what is stored can be read all the while.
    spares_reads: bool,
}

const fn once(call: &'static str, what: &'static str, furthest: u64) -> Fault {
    Fault { call, what, furthest, lasting: false, spares_reads: true }
}

const fn lasting(call: &'static str, what: &'static str, furthest: u64) -> Fault {
    Fault { call, what, furthest, lasting: true, spares_reads: true }
}

const fn read(call: &'static str, what: &'static str, furthest: u64, lasting: bool) -> Fault {
    Fault { call, what, furthest, lasting, spares_reads: false }
}

const EIO: &str = "error=EIO";
const ENOSPC: &str = "error=ENOSPC";

/// Without those of reads, whatever was stored before is read all the while.
const FAULTS: [Fault; 20] = [
    once("fdatasync", EIO, 12),
    lasting("fdatasync", EIO, 12),
    once("fsync", EIO, 4),
    lasting("fsync", EIO, 4),
    once("pwrite64", EIO, 40),
    lasting("pwrite64", EIO, 40),
    once("pwrite64", ENOSPC, 40),
    lasting("pwrite64", ENOSPC, 40),
    once("rename", EIO, 4),
    lasting("rename", ENOSPC, 4),
    once("ftruncate", ENOSPC, 2),
    lasting("ftruncate", EIO, 2),
    lasting("unlink", EIO, 3),
    lasting("fdatasync,fsync,rename,pwrite64,ftruncate", EIO, 30),
    lasting("rename,pwrite64,ftruncate", ENOSPC, 20),
    // Opening a file is what a read of a stored one begins with, and what a body that is spilt does.
    read("openat", EIO, 10, false),
    read("openat", ENOSPC, 10, true),
    read("pread64", EIO, 10, false),
    read("pread64", EIO, 10, true),
    read("fdatasync,fsync,rename,pwrite64,ftruncate,pread64,openat,unlink", EIO, 30, true),
];

/// Requests of each writer of a round, within which the fault comes.
const REQUESTS: u64 = 20;
/// Objects that are stored before anything fails: more than a round's reader comes to ask for twice.
const STORED: usize = 48;

#[test]
fn a_failing_disk_loses_nothing_and_tells_no_lies() {
    if let Some(why) = missing() {
        return skipped("a_failing_disk", &why);
    }
    let rounds = number("FALLTHROUGH_IO_ERRORS").unwrap_or(40);
    let random = SeededEntropy::new(seed());
    let mut ground = Ground::new("");
    let mut served = ground.serve();
    ground.store(&served, STORED);
    let (mut total, mut seen) = (Tally::default(), Seen::default());
    let mut steps = BTreeMap::<String, u64>::new();
    let (mut failed, mut unreached) = (0, 0);
    for round in 0.. {
        if failed == rounds {
            break;
        }
        assert!(unreached <= failed + FAULTS.len() as u64, "most errors never came");
        let fault = &FAULTS[usize::try_from(round).unwrap() % FAULTS.len()];
        let turn = round / FAULTS.len() as u64;
        // Seven is coprime to every bound, as in the kills at exact calls.
        let nth = 1 + (turn * 7 + round) % fault.furthest;
        let injection = Injection { call: fault.call, what: fault.what, nth, lasting: fault.lasting };
        let load = Load { round, requests: REQUESTS, faults: true };
        let when = format!("round {round}, {injection:?}");
        let (tally, during, lines) = fail(&ground, &served, &random, load, fault, &injection, &when);
        let injected: Vec<_> = (0..lines.len()).filter(|at| is_injected(&lines[*at])).collect();
        *if injected.is_empty() { &mut unreached } else { &mut failed } += 1;
        for at in injected {
            *steps.entry(step(begun(&lines, at))).or_default() += 1;
        }
        total += tally;
        seen += during;
        recover(&served, &when);
        ground.check(&Client::of(&served), &format!("after {when}"));
        signal(served.id(), "-KILL");
        drop(served);
        served = ground.serve();
        let when = format!("after {when} and a kill");
        ground.check(&Client::of(&served), &when);
        ground.check_files(&served, round, &when);
    }
    println!(
        "{failed} disk errors ({unreached} more never came up), {} failing calls, {} acknowledged writes, {} in doubt, {} answers 5xx, {} broken off, {} reads of stored objects meanwhile ({} refused, all by faults of reads), not ready seen {} times and not writable {}: 0 wrong bytes, 0 false acknowledgements, 0 false absences, every one recovered",
        steps.values().sum::<u64>(),
        total.acknowledged,
        total.in_doubt,
        total.refused,
        total.broken,
        seen.reads,
        seen.refused,
        seen.unready,
        seen.unwritable,
    );
    ground.erase(served);
    println!("failed: {steps:?}");
    assert!(total.acknowledged > 0 && total.refused > 0, "a load that does nothing shows nothing");
    assert!(seen.unready > 0 && seen.unwritable > 0, "nobody was told: {seen:?}");
}

/// What was seen beside the load.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// GETs of stored objects that were answered with the object.
    reads: u64,
    /// Those that were answered 5xx or broken off.
    refused: u64,
    /// How often `/readyz` said that it is not.
    unready: u64,
    /// How often `/metrics` said that nothing can be written.
    unwritable: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.refused += other.refused;
        self.unready += other.unready;
        self.unwritable += other.unwritable;
    }
}

/// Runs a load, and a reader of what is stored, while the disk fails.
fn fail(
    ground: &Ground,
    served: &Served,
    random: &SeededEntropy,
    load: Load,
    fault: &Fault,
    injection: &Injection,
    when: &str,
) -> (Tally, Seen, Vec<String>) {
    let attached = Attached::to(served.id(), injection, ground.folder.join("trace"));
    let ended = AtomicBool::new(false);
    let first = usize::try_from(random.next_u64() % STORED as u64).unwrap();
    let (tally, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_stored(ground, served, first, fault, &ended, when));
        let ((), tally, end) = ground.load(served, load, random, || ());
        ended.store(true, Ordering::Relaxed);
        assert_eq!(end, End::Through, "it ended {when}: {}", served.told());
        (tally, reader.join().unwrap())
    });
    (tally, seen, attached.detach())
}

/// Reads what is stored, over and over, until the load has ended.
fn read_stored(
    ground: &Ground,
    served: &Served,
    first: usize,
    fault: &Fault,
    ended: &AtomicBool,
    when: &str,
) -> Seen {
    let client = Client::of(served);
    let mut seen = Seen::default();
    for (key, content) in ground.stored().iter().cycle().skip(first) {
        match client.send(&Method::GET, &format!("/photos/{key}"), &[]) {
            Ok((200, body)) => {
                assert!(content.bytes() == body, "{key}: wrong bytes {when}");
                seen.reads += 1;
            }
            Ok((500..600, _)) | Err(_) if !fault.spares_reads => seen.refused += 1,
            Ok((status, body)) => panic!("{key}: {status} {when}: {}", String::from_utf8_lossy(&body)),
            Err(error) => panic!("{key}: {error} {when}"),
        }
        seen.unready += u64::from(served.admin("/readyz").0 == 503);
        let metrics = served.admin("/metrics").1;
        seen.unwritable += u64::from(metrics.lines().any(|line| line == "fallthrough_store_writable 0"));
        if ended.load(Ordering::Relaxed) {
            break;
        }
    }
    seen
}

/// The disk is well again: so is the server, with nobody's help.
fn recover(served: &Served, when: &str) {
    let client = Client::of(served);
    for body in [&[b'x'; 100][..], &[b'y'; 300_000][..]] {
        let is_taken = || matches!(client.send(&Method::PUT, "/photos/recovered", body), Ok((200, _)));
        await_that("a PUT to succeed", is_taken)
            .unwrap_or_else(|why| panic!("{why} after {when}: {}", served.told()));
        assert_eq!(client.send(&Method::GET, "/photos/recovered", &[]).unwrap(), (200, body.to_vec()));
    }
    assert_eq!(client.send(&Method::DELETE, "/photos/recovered", &[]).unwrap().0, 204);
    assert_eq!(served.admin("/readyz").0, 200, "after {when}");
}

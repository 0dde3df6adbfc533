//! Killed with SIGKILL at random moments.

use std::time::Duration;

use fallthrough_object::{Entropy, SeededEntropy};

use crate::ground::Ground;
use crate::load::{End, Load};
use crate::served::client::Client;
use crate::tally::Tally;
use crate::{number, seed};

#[test]
fn kills_lose_nothing_tear_nothing_and_leave_nothing() {
    let kills = number("FALLTHROUGH_KILLS").unwrap_or(8);
    let random = SeededEntropy::new(seed());
    let ground = Ground::new("");
    let mut total = Tally::default();
    for round in 0..kills {
        let served = ground.serve();
        let load = Load { round, requests: u64::MAX, faults: false };
        let wait = Duration::from_millis(20 + random.next_u64() % 500);
        let pid = served.id();
        let ((), tally, end) = ground.load(&served, load, &random, || {
            // The moment of the kill is what is random here: nobody ever sends.
            let (_never, moment) = std::sync::mpsc::sync_channel::<()>(1);
            assert!(moment.recv_timeout(wait).is_err());
            crate::served::signal(pid, "-KILL");
        });
        assert_eq!(end, End::Gone);
        drop(served);
        total += tally;
        let served = ground.serve();
        let when = format!("after kill {round}");
        ground.check(&Client::of(&served), &when);
        ground.check_files(&served, round, &when);
    }
    ground.erase(ground.serve());
    println!(
        "{kills} kills at random, {} acknowledged writes, {} in doubt, {} reads, {} cold reads: 0 lost, 0 torn, 0 orphans",
        total.acknowledged, total.in_doubt, total.reads, total.fills
    );
    assert!(total.acknowledged > 0 && total.fills > 0, "a load that does nothing shows nothing");
}

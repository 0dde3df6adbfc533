//! Lifecycle in a run: rules that are set and removed, days that pass, and the worker that applies the rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Method;
use md5::{Digest as _, Md5};
use tokio_util::sync::CancellationToken;

use crate::client::{Ask, Client, Told};
use crate::dice::Dice;
use crate::did::Did;
use crate::history::{Journal, Moment};
use crate::rules::{DAY_SECS, Days, Rule, When, document};
use crate::upload_model::UploadDid;
use crate::workload::Changing;
use crate::world::World;

/// The worker's number among the clients.
const WORKER: u32 = 98;

/// The rules that were ever set, and the days of a run.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    journal: Journal,
    kept: Mutex<Kept>,
    /// Held while rules are applied: a pass may go by the rules that it found.
    pass: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Kept {
    days: Days,
    /// By number; the first are none.
    rules: Vec<Vec<Rule>>,
}

impl Lifecycle {
    pub(crate) fn new(journal: &Journal) -> Self {
        let kept = Kept { days: Days::default(), rules: vec![Vec::new()] };
        Self { journal: journal.clone(), kept: Mutex::new(kept), pass: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn days(&self) -> Days {
        self.lock().days.clone()
    }

    /// All rules by number, as far as they are for a key.
    pub(crate) fn rules_for(&self, name: &str) -> Vec<Vec<Rule>> {
        let is_for = |rule: &&Rule| name.starts_with(rule.prefix);
        self.lock().rules.iter().map(|rules| rules.iter().filter(is_for).copied().collect()).collect()
    }

    /// The number of these rules.
    fn number(&self, rules: Vec<Rule>) -> u8 {
        let mut kept = self.lock();
        kept.rules.push(rules);
        u8::try_from(kept.rules.len() - 1).expect("a run has few rules")
    }

    fn were_set(&self) -> bool {
        self.lock().rules.len() > 1
    }

    /// A day passes at once.
    pub(crate) fn next_day(&self, world: &World) {
        self.journal.count("days");
        self.journal.note("a day passes");
        world.clock.skip(Duration::from_secs(DAY_SECS));
        let began = self.journal.now();
        self.lock().days.0.push(began);
    }

    fn some_rules(&self, dice: &Dice) -> Vec<Rule> {
        let today = u8::try_from(self.lock().days.0.len()).expect("a run has few days");
        let soon = |dice: &Dice| u8::try_from(dice.between(1, 2)).expect("few");
        let some_rule = |_| {
            let when = match dice.below(5) {
                0 => When::Upload(soon(dice)),
                1 => When::Day(today + soon(dice) - 1),
                _ => When::Age(soon(dice)),
            };
            let even_only = !matches!(when, When::Upload(_)) && dice.chance(35);
            Rule { prefix: dice.pick(&["", "a", "c", "d", "d/", "e/", "f"]), even_only, when }
        };
        (0..dice.between(1, 3)).map(some_rule).collect()
    }
}

/// Sets rules, or removes those that are set. Whether that is in doubt.
pub(crate) async fn set_rules(world: &Arc<World>, client: &mut Client, dice: &Dice) -> bool {
    let lifecycle = &world.lifecycle;
    let rules = if dice.chance(25) { Vec::new() } else { lifecycle.some_rules(dice) };
    set(world, client, rules).await.unwrap_or(true)
}

/// Whether it is in doubt; `None`: it was refused.
async fn set(world: &Arc<World>, client: &mut Client, rules: Vec<Rule>) -> Option<bool> {
    let (journal, lifecycle) = (&world.journal, &world.lifecycle);
    let ask = if rules.is_empty() {
        journal.count("lifecycle rules removed");
        Ask::new(Method::DELETE, "")
    } else {
        journal.count("lifecycle rules set");
        let body = Bytes::from(document(&rules));
        let digest = BASE64.encode(Md5::digest(&body));
        Ask::new(Method::PUT, "").header("content-md5", digest).body(body, false)
    };
    journal.note(&format!("rules {rules:?}"));
    let number = if rules.is_empty() { 0 } else { lifecycle.number(rules) };
    let from = journal.now();
    let told = client.ask(&ask.query("lifecycle=".to_owned())).await;
    let (did, in_doubt) = match &told {
        Told::NotAsked => return None,
        Told::Lost => (Did::Rules(number), true),
        Told::Answer(reply) => match (reply.status, reply.code().as_str()) {
            (200 | 204, _) => (Did::Rules(number), false),
            (404, "NoSuchBucket") => (Did::NoBucket, false),
            (409, _) => return None,
            (500 | 503, _) => (Did::Rules(number), true),
            (other, code) => {
                journal.violation(format!("lifecycle rules are answered {other} {code}"));
                return None;
            }
        },
    };
    drop(lifecycle.pass.lock().await);
    let to = if in_doubt { journal.aftermath() } else { journal.now() };
    for key in 0..world.plan.keys.len() {
        journal.did_until(client.number, key, from, to, did, !in_doubt);
    }
    if did == Did::Rules(number) {
        world.uploads.bucket_did(client.number, from, to, UploadDid::Rules(number), !in_doubt);
    }
    (did == Did::Rules(number)).then_some(in_doubt)
}

/// Applies the rules again and again, until `enough`.
pub(crate) async fn work(world: Arc<World>, dice: Dice, enough: CancellationToken) {
    loop {
        let pause = tokio::time::sleep(Duration::from_millis(dice.between(50, 6_000)));
        if enough.run_until_cancelled(pause).await.is_none() {
            return;
        }
        if world.lifecycle.were_set() {
            Box::pin(pass(&world, false)).await;
        }
    }
}

/// Applies the rules once. `surely`: nothing is in its way, and what is due must be gone.
async fn pass(world: &Arc<World>, surely: bool) {
    let Some(running) = world.running() else { return };
    let journal = &world.journal;
    let _pass = world.lifecycle.pass.lock().await;
    let all = 0..world.plan.keys.len();
    let keys: Vec<usize> = all
        .filter(|key| world.lifecycle.rules_for(world.plan.keys[*key]).iter().any(|rules| !rules.is_empty()))
        .collect();
    let changing = Changing::of(world, &keys);
    let disk = world.disk();
    let from = journal.now();
    let tally = running.unless_it_stops(Box::pin(running.engine.lifecycle_pass())).await;
    // What the disk failed, or what was cut off, is in doubt.
    let failed = disk.is_dead() || (journal.counted("disk ill") > 0 && !surely);
    let whole = tally.filter(|_| !failed);
    let to = if whole.is_some() { journal.now() } else { journal.aftermath() };
    let (mut expired, mut aborted) = (true, true);
    if let Some(tally) = whole {
        journal.note(&format!("lifecycle rules were applied: {tally:?}"));
        (0..tally.expired).for_each(|_| journal.count("objects expired"));
        (0..tally.aborted).for_each(|_| journal.count("uploads aborted by rules"));
        (expired, aborted) = (tally.expired > 0 || surely, tally.aborted > 0 || surely);
    }
    write_down(world, &keys, (from, to), surely, (expired, aborted));
    if whole.is_none() {
        changing.linger().await;
    }
}

fn write_down(
    world: &World,
    keys: &[usize],
    (from, to): (Moment, Moment),
    surely: bool,
    (expired, aborted): (bool, bool),
) {
    for key in keys.iter().filter(|_| expired) {
        world.journal.did_until(WORKER, *key, from, to, Did::Expire, surely);
    }
    if aborted {
        world.uploads.bucket_did(WORKER, from, to, UploadDid::Expire, surely);
    }
}

/// In calm weather: what is due by the end must be gone, and nothing else.
pub(crate) async fn last_days(world: &Arc<World>, dice: &Dice) {
    let mut client = Client::new(world, WORKER);
    let prefix = dice.pick(&["", "a", "c", "d/"]);
    let rule = |when, even_only| Rule { prefix, even_only, when };
    let rules = vec![rule(When::Age(2), dice.chance(50)), rule(When::Upload(1), false)];
    if set(world, &mut client, rules).await == Some(false) {
        world.lifecycle.next_day(world);
        Box::pin(pass(world, true)).await;
        world.lifecycle.next_day(world);
        Box::pin(pass(world, true)).await;
    }
}

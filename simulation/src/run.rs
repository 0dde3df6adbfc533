//! One run: a seed, played and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checker::{Verdict, check};
use crate::dice::Dice;
use crate::did::{Bytes, Did, Mode, Object};
use crate::gauges::Gauges;
use crate::history::{Journal, Operation, Version, VersionId};
use crate::model::Model;
use crate::operator;
use crate::plan::Plan;
use crate::upload_model::UploadModel;
use crate::workload::Worker;
use crate::world::World;
use crate::{leaks, lifecycle, migration, through};

/// Longest run in virtual time: all clients are done long before.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// After bad weather: breakers close, commits end. Copies age for longer, until none may be stale.
const CALM: Duration = Duration::from_secs(90);
/// How long what is under way may take to end in good weather.
const SETTLES: Duration = Duration::from_secs(60);

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The bucket's mode.
    pub mode: Mode,
    /// Hash of the whole history: equal for equal seeds.
    pub hash: String,
    /// Operations in the history, counted for each key that they are about.
    pub operations: usize,
    /// How often each kind of request, fault or mishap happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Requests that reached the origins.
    pub origin_requests: usize,
    /// What must not be, in words. Empty if all is well.
    pub violations: Vec<String>,
    /// Everything that happened, if it was asked for.
    pub lines: Vec<String>,
}

/// Plays a seed and judges it.
///
/// # Panics
/// If the machine under test panics on the run's own thread; a panic of a task breaks the run, too.
pub fn run(seed: u64) -> Outcome {
    play(seed, false)
}

/// Like [`run`], and keeps a line for everything that happened.
///
/// # Panics
/// As [`run`].
pub fn run_with_lines(seed: u64) -> Outcome {
    play(seed, true)
}

fn play(seed: u64, lines: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads and sockets");
    let gauges = Gauges::default();
    let mut outcome = metrics::with_local_recorder(&gauges, || runtime.block_on(whole(seed, lines)));
    let tasks = runtime.metrics().num_alive_tasks();
    if tasks > 0 {
        outcome.violations.push(format!("{tasks} tasks are left"));
    }
    drop(runtime);
    outcome.counts.extend(gauges.counted());
    for (name, value) in gauges.left() {
        outcome.violations.push(format!("the gauge {name} stands at {value}"));
    }
    outcome
}

async fn whole(seed: u64, lines: bool) -> Outcome {
    let dice = Dice::new(seed);
    let plan = Plan::of(&dice);
    let journal = Journal::new(plan.keys.len(), lines);
    journal.note(&format!("{plan:?}"));
    let world = World::new(&plan, &journal, &dice);
    if tokio::time::timeout(LONGEST, Box::pin(live(&world, &dice))).await.is_err() {
        journal.violation("the run does not end");
    }
    judge(seed, &world)
}

async fn live(world: &Arc<World>, dice: &Dice) {
    let plan = &world.plan;
    world.start().await;
    operator::make_bucket(world, (plan.origins > 0).then_some(0)).await;
    let tasks = TaskTracker::new();
    let workers: Vec<_> =
        (0..plan.clients).map(|number| tasks.spawn(Worker::new(world, number, dice.fork()).work())).collect();
    let misfortune = tasks.spawn(operator::misfortune(world.clone(), dice.fork()));
    let weather = tasks.spawn(operator::weather(world.clone(), dice.fork()));
    let enough = CancellationToken::new();
    let watched = CancellationToken::new();
    let watch = plan.through.map(|_| tasks.spawn(through::watch(world.clone(), watched.clone())));
    if plan.operator {
        tasks.spawn(operator::operate(world.clone(), dice.fork(), enough.clone()));
    }
    if plan.lifecycle {
        tasks.spawn(lifecycle::work(world.clone(), dice.fork(), enough.clone()));
    }
    for worker in workers.into_iter().chain([misfortune]) {
        if let Err(error) = worker.await {
            world.journal.violation(format!("a task of the run panicked: {error}"));
        }
    }
    enough.cancel();
    weather.abort();
    world.origins.set_weather(0);
    if world.running().is_none() {
        world.start().await;
    }
    tokio::time::sleep(CALM.max(plan.longest_age())).await;
    let mut reader = Worker::new(world, 50, dice.fork());
    reader.read_all().await;
    if plan.is_quiet() {
        leaks::await_quiet(world, SETTLES).await;
    }
    if plan.lifecycle {
        Box::pin(lifecycle::last_days(world, dice)).await;
        reader.read_all().await;
    }
    drop(reader);
    // What was acknowledged is still there after a start.
    world.restart().await;
    let mut reader = Worker::new(world, 51, dice.fork());
    reader.read_all().await;
    drop(reader);
    if plan.through.is_some() {
        Box::pin(through::settle(world)).await;
    }
    watched.cancel();
    if let Some(Err(error)) = futures::future::OptionFuture::from(watch).await {
        world.journal.violation(format!("the watch panicked: {error}"));
    }
    tasks.close();
    tasks.wait().await;
    if plan.migrates {
        migration::end(world).await;
    }
    leaks::clear(world).await;
    leaks::await_no_blobs(world, SETTLES).await;
    // The sweep of a start comes after it, and so does what tidies up.
    world.restart().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.finish().await;
}

fn judge(seed: u64, world: &World) -> Outcome {
    let journal = &world.journal;
    let mut histories = journal.operations();
    let mut uploads = world.uploads.histories();
    for (key, history) in histories.iter_mut().enumerate() {
        world.doubts.extend(key, history);
    }
    for (upload, history) in &mut uploads {
        world.doubts.extend(upload.key, history);
    }
    let of_keys: usize = histories.iter().map(Vec::len).sum();
    let operations = of_keys + uploads.iter().map(|(_, history)| history.len()).sum::<usize>();
    let hash = journal.hash();
    let mut violations = journal.violations();
    let copies = Copies::of(world, &histories);
    for (key, history) in histories.iter().enumerate() {
        let name = world.plan.keys[key];
        let model = Model {
            mode: world.plan.mode,
            staleness: if world.plan.mode == Mode::Migrate && world.plan.origins_change {
                // A copy is one of what was there once, for ever.
                u64::MAX
            } else if world.plan.origins_change {
                // A copy ages, and may have taken long to come.
                u64::try_from(world.plan.longest_age().as_nanos()).unwrap_or(u64::MAX)
            } else {
                0
            },
            others_refuse: world.plan.others_refuse(),
            uploads_stay: world.plan.is_sync(),
            evicts: world.plan.cache_limit.is_some(),
            sizes: copies.sizes(key),
            origins: world.origins.timelines(key),
            start: None,
            copies: copies.of_others(key),
            days: world.lifecycle.days(),
            rules: world.lifecycle.rules_for(name),
        };
        let verdict = check(&model, history);
        let about = || format!("the history of key {key} ({name})");
        violations.extend(complaint(verdict, about, &model.origins));
    }
    violations.extend(through::disorder(world, &histories));
    for (upload, history) in &uploads {
        let name = world.plan.keys[upload.key];
        let rules = world.lifecycle.rules_for(name);
        let model = UploadModel { days: world.lifecycle.days(), rules, stays: world.plan.is_sync() };
        let about = || format!("the history of upload {} of key {} ({name})", upload.number, upload.key);
        violations.extend(complaint(check(&model, history), about, &model.rules));
    }
    Outcome {
        seed,
        mode: world.plan.mode,
        hash,
        operations,
        counts: journal.counts(),
        origin_requests: world.origins.requests(),
        violations,
        lines: journal.lines(),
    }
}

fn complaint(verdict: Verdict, about: impl Fn() -> String, with: &impl Debug) -> Option<String> {
    match verdict {
        Verdict::Linearizable => None,
        Verdict::Violation(why) => Some(format!("{} is not linearizable, {with:?}:\n{why}", about())),
        Verdict::Undecided => Some(format!("{} is too much to judge", about())),
    }
}

/// Which versions of a key may be copies of what other keys had.
struct Copies {
    versions: Vec<Vec<(VersionId, Version)>>,
    /// By key: those that were copied onto it by requests whose answers were lost.
    unseen: Vec<BTreeSet<u8>>,
}

impl Copies {
    fn of(world: &World, histories: &[Vec<Operation>]) -> Self {
        let unseen = |history: &Vec<Operation>| {
            let sources = history.iter().filter_map(|op| match op.did {
                Did::Put(Object { bytes: Bytes::CopyOf(source), .. }, _) => Some(source),
                _ => None,
            });
            sources.collect()
        };
        let versions = (0..histories.len()).map(|key| world.journal.versions(key)).collect();
        Self { versions, unseen: histories.iter().map(unseen).collect() }
    }

    fn sizes(&self, key: usize) -> BTreeMap<VersionId, u64> {
        self.versions[key].iter().map(|(id, version)| (*id, version.content.size_bytes())).collect()
    }

    /// By the other key: versions of this key that it had as well, or had as a copy of a third.
    fn of_others(&self, key: usize) -> BTreeMap<u8, BTreeSet<VersionId>> {
        let had = |source: u8| {
            let (mut keys, mut next) = (BTreeSet::from([source]), vec![source]);
            while let Some(key) = next.pop() {
                next.extend(self.unseen[usize::from(key)].iter().filter(|further| keys.insert(**further)));
            }
            let all = keys.iter().flat_map(|key| &self.versions[usize::from(*key)]);
            let etags: BTreeSet<&str> = all.map(|(_, version)| version.etag.as_str()).collect();
            let same = self.versions[key].iter().filter(|(_, version)| etags.contains(version.etag.as_str()));
            (source, same.map(|(id, _)| *id).collect())
        };
        self.unseen[key].iter().copied().map(had).collect()
    }
}

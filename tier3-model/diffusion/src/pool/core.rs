//! What the pool decides, and nothing else: which job goes where and when, who waits and who is sent away, who is tried
//! again. No I/O, no clock: each call says what happened and when, and [`Core::step`] says what is to be done about it.
//!
//! A job goes to the backend where it will be done first: what a backend works on and what waits for it, times its
//! seconds per (step × megapixel). So a slow backend gets work as soon as it is faster than waiting for a fast one.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Monotonic, Mutant, planted};

use super::backend::{Backend, Running, Sign};
use super::queue::{FairQueue, Tag};
use crate::request::Txt2Img;

/// Seconds that loading another checkpoint is thought to take before it was seen.
const UNKNOWN_SWITCH_SECS: f64 = 10.0;
/// Weight of the newest sample of that.
const NEWEST: f64 = 0.2;
/// A job gets this many times what it is thought to take, if that is more than the least time.
const TIMEOUT_FACTOR: f64 = 5.0;
/// A job that takes this many times what was thought is sent to a second backend as well, where that is allowed.
const HEDGE_FACTOR: f64 = 3.0;
/// How often it is looked again whether a job that waits for a busy backend would be done sooner by an idle one.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Most checkpoints whose hashes are remembered.
const IDENTITIES_MAX: usize = 64;

/// A job that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(pub(super) u64);

/// A job at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttemptId(pub(super) u64);

/// How much a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    steps: u32,
    pixels: u64,
}

impl Load {
    /// That of `request`.
    pub(super) fn of(request: &Txt2Img) -> Self {
        Self { steps: request.steps.max(1), pixels: u64::from(request.width) * u64::from(request.height) }
    }

    /// Steps × megapixels.
    pub(super) fn units(self) -> f64 {
        (f64::from(self.steps) * self.pixels as f64 / 1e6).max(1e-6)
    }

    /// What memory goes by.
    pub(super) fn pixels(self) -> u64 {
        self.pixels
    }
}

/// A job as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Who asks: clients take turns.
    pub(super) client: Arc<str>,
    /// The checkpoint; empty: whichever is loaded.
    pub(super) model: Arc<str>,
    pub(super) load: Load,
}

/// The pool's bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Jobs at one backend at a time.
    pub(super) in_flight: usize,
    /// Jobs that wait.
    pub(super) queue: usize,
    /// Whether a job that takes unusually long is sent to a second backend as well.
    pub(super) hedge: bool,
    /// Least time that a job gets at a backend.
    pub(super) timeout_min: Duration,
    /// Longest time that a job waits for a backend.
    pub(super) wait_max: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    /// Send `job` to `backend`, and say how it ended.
    Start { attempt: AttemptId, job: JobId, backend: usize, timeout: Duration },
    /// Nobody waits for it: hang up, and say when the backend has really stopped.
    Stop { attempt: AttemptId },
    /// Tell whoever waits for `job` that there will be no picture.
    Refuse { job: JobId, refusal: Refusal },
    /// Ask `backend` for a sign of life.
    Probe { backend: usize },
}

/// Why a job was not taken, or is not done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// The queue is full, or the job has waited too long. Come back after that.
    Busy(Duration),
    /// No backend can do it.
    Nobody(String),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// With a picture, made with the checkpoint of this hash; empty if the backend does not tell.
    Done { identity: String },
    /// The backend cannot be reached, or is gone in the middle.
    Unreachable(String),
    /// The backend failed, answered nonsense, or took too long.
    Failed(String),
    /// Its memory is too small.
    OutOfMemory,
    /// Its own queue is full.
    Busy(Duration),
    /// It refuses us whatever we ask.
    SetUpWrongly(String),
    /// It has not got the checkpoint, or used another one.
    LacksModel(String),
    /// The request can succeed nowhere.
    Invalid,
    /// We hung up, and it has stopped.
    Stopped,
}

/// What the end of an attempt means for whoever waits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Hand on what the attempt brought: a picture, or the last error.
    Deliver,
    /// Tell them this instead: the picture is of another model than the pool's.
    Refuse(String),
    /// They go on waiting, or nobody waits.
    Nothing,
}

#[derive(Debug)]
struct Job {
    wanted: Wanted,
    since: Monotonic,
    tag: Tag,
    /// Where it is being done now: nowhere while it waits, at two places if it is hedged.
    attempts: Vec<AttemptId>,
    /// Backends that failed at it.
    tried: Vec<usize>,
}

/// Where an attempt is.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    job: JobId,
    backend: usize,
}

/// The state of the pool.
#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    backends: Vec<Backend>,
    queue: FairQueue,
    jobs: BTreeMap<JobId, Job>,
    attempts: BTreeMap<AttemptId, Attempt>,
    next: u64,
    /// The hash of each checkpoint: what the first answer said holds for all backends.
    identities: BTreeMap<Arc<str>, String>,
    switch_secs: f64,
    /// Steps × megapixels of a usual job: what one of somebody else's is taken for.
    usual_units: f64,
    orders: Vec<Order>,
    shed: u64,
}

impl Core {
    /// A pool of `backends` backends of which nothing is known.
    pub(super) fn new(backends: usize, limits: Limits) -> Self {
        Self {
            limits,
            backends: (0..backends).map(|_| Backend::default()).collect(),
            queue: FairQueue::default(),
            jobs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            next: 0,
            identities: BTreeMap::new(),
            switch_secs: UNKNOWN_SWITCH_SECS,
            usual_units: 1.0,
            orders: Vec::new(),
            shed: 0,
        }
    }

    /// Somebody wants a picture. The job waits or starts: [`Core::step`] tells which.
    ///
    /// # Errors
    /// A [`Refusal`] if there is no place for it, or nobody who could do it.
    pub(super) fn submit(&mut self, wanted: Wanted, now: Monotonic) -> Result<JobId, Refusal> {
        if !self.backends.iter().any(|backend| backend.can(&wanted, now)) {
            return Err(Refusal::Nobody(self.why_nobody(&wanted)));
        }
        self.usual_units += (wanted.load.units() - self.usual_units) * NEWEST;
        let client = Arc::clone(&wanted.client);
        let (displaced, retry_after) = (self.queue.displaced_by(&client), self.retry_after(&client, now));
        let id = JobId(self.number());
        let tag = self.queue.push(id, &client);
        self.jobs.insert(id, Job { wanted, since: now, tag, attempts: Vec::new(), tried: Vec::new() });
        self.dispatch(now);
        // What is tried again may stand in the queue beyond its bound: no reason to send away who does not wait.
        let fits = !self.waits(id) || self.queue.len() <= self.limits.queue;
        if fits || planted(Mutant::PoolQueueUnbounded) {
            return Ok(id);
        }
        // A client that is alone may fill the queue; for another one it makes room.
        let out = displaced.filter(|out| *out != id && self.waits(*out)).unwrap_or(id);
        self.forget(out, true);
        self.shed += 1;
        if out == id {
            return Err(Refusal::Busy(retry_after));
        }
        self.orders.push(Order::Refuse { job: out, refusal: Refusal::Busy(retry_after) });
        Ok(id)
    }

    /// Nobody waits for `job` any more.
    pub(super) fn withdraw(&mut self, job: JobId) {
        if !planted(Mutant::PoolDroppedGoesOn) {
            self.forget(job, true);
        }
    }

    /// An attempt has ended, and its place is free.
    pub(super) fn ended(&mut self, attempt: AttemptId, end: End, now: Monotonic) -> Verdict {
        let Some(Attempt { job: id, backend: at }) = self.attempts.remove(&attempt) else {
            return Verdict::Nothing;
        };
        let Some(running) = self.backends[at].finish(attempt, now) else { return Verdict::Nothing };
        let wanted = self.jobs.get_mut(&id).map(|job| {
            job.attempts.retain(|other| *other != attempt);
            job.wanted.clone()
        });
        let end = match (end, &wanted) {
            (End::Done { identity }, Some(wanted)) => self.identify(wanted, identity),
            (end, _) => end,
        };
        let model = wanted.map_or_else(|| Arc::from(""), |wanted| wanted.model);
        self.note(at, &end, &running, &model, now);
        let Some(job) = self.jobs.get_mut(&id) else { return Verdict::Nothing };
        match &end {
            End::Done { .. } | End::Invalid => {
                self.forget(id, true);
                return Verdict::Deliver;
            }
            End::Busy(_) | End::Stopped => {}
            End::Unreachable(_)
            | End::Failed(_)
            | End::OutOfMemory
            | End::SetUpWrongly(_)
            | End::LacksModel(_) => {
                if !planted(Mutant::PoolTriesTheSameAgain) {
                    job.tried.push(at);
                }
            }
        }
        let job = &self.jobs[&id];
        if !job.attempts.is_empty() {
            return Verdict::Nothing;
        }
        if self.candidates(job, now).next().is_some() {
            self.queue.put(job.tag, &job.wanted.client);
            return Verdict::Nothing;
        }
        self.forget(id, true);
        match end {
            End::LacksModel(why) => Verdict::Refuse(why),
            _ => Verdict::Deliver,
        }
    }

    /// A backend was asked for a sign of life.
    pub(super) fn probed(&mut self, backend: usize, sign: Result<Sign, String>, now: Monotonic) {
        self.backends[backend].probed(sign, now);
    }

    /// What is to be done now. To be called after every other call, and at [`Core::wake_at`].
    pub(super) fn step(&mut self, now: Monotonic) -> Vec<Order> {
        for (at, backend) in self.backends.iter_mut().enumerate() {
            if backend.probe(now) {
                self.orders.push(Order::Probe { backend: at });
            }
        }
        self.give_up(now);
        self.dispatch(now);
        if self.limits.hedge {
            self.hedge(now);
        }
        std::mem::take(&mut self.orders)
    }

    /// When [`Core::step`] has something to do if nothing else happens.
    pub(super) fn wake_at(&self, now: Monotonic) -> Option<Monotonic> {
        let probes = self.backends.iter().filter_map(Backend::probe_at);
        let waits = self.queue.len() > 0;
        let rests = self.backends.iter().filter_map(|backend| Some(backend.resting(now)?.0));
        let again = (waits && (0..self.backends.len()).any(|at| self.free_places(at, now) > 0))
            .then(|| now.plus(LOOK_AGAIN));
        let oldest = self.jobs.values().find(|job| job.attempts.is_empty());
        let given_up = oldest.map(|job| job.since.plus(self.limits.wait_max));
        let hedges = self.limits.hedge.then(|| self.late_after(now)).flatten();
        probes.chain(rests.filter(|_| waits)).chain(again).chain(given_up).chain(hedges).min()
    }

    /// Puts the jobs that wait where they will be done first, in the order of their turns, and starts those whose
    /// place is free.
    fn dispatch(&mut self, now: Monotonic) {
        // With no room to wait, what can go goes, even if another backend would be done sooner.
        let eager = self.queue.len() > self.limits.queue;
        for (job, backend, _) in self.forecast(now, eager, true, usize::MAX).0 {
            if let Some(backend) = backend {
                self.start(job, backend, now);
            }
        }
    }

    fn start(&mut self, id: JobId, at: usize, now: Monotonic) {
        let attempt = AttemptId(self.number());
        let Some(job) = self.jobs.get(&id) else { return };
        let expected_secs = self.takes(at, &job.wanted, now);
        let secs = TIMEOUT_FACTOR * (expected_secs + self.free_in(at, now));
        let timeout = self.limits.timeout_min.max(Duration::try_from_secs_f64(secs).unwrap_or_default());
        let switches = self.backends[at].switches_for(&job.wanted.model);
        let running = Running { load: job.wanted.load, since: now, expected_secs, switches };
        self.queue.go(job.tag);
        self.backends[at].running.insert(attempt, running);
        self.attempts.insert(attempt, Attempt { job: id, backend: at });
        if let Some(job) = self.jobs.get_mut(&id) {
            job.attempts.push(attempt);
        }
        self.orders.push(Order::Start { attempt, job: id, backend: at, timeout });
    }

    /// Sends jobs that are late to a second backend that has nothing to do, while nobody waits.
    fn hedge(&mut self, now: Monotonic) {
        if self.queue.len() > 0 {
            return;
        }
        let late: Vec<JobId> = self.late().filter(|(_, at)| *at <= now).map(|(job, _)| job).collect();
        for id in late {
            let job = &self.jobs[&id];
            let own = self.attempts.get(&job.attempts[0]).map(|attempt| attempt.backend);
            let idle = self.candidates(job, now).filter(|at| {
                Some(*at) != own && self.backends[*at].running.is_empty() && self.free_places(*at, now) > 0
            });
            let done = |at: &usize| self.free_in(*at, now) + self.takes(*at, &job.wanted, now);
            if let Some(at) = idle.min_by(|a, b| done(a).total_cmp(&done(b))) {
                self.start(id, at, now);
            }
        }
    }

    /// Jobs at one backend, with when each is late there.
    fn late(&self) -> impl Iterator<Item = (JobId, Monotonic)> + '_ {
        self.jobs.iter().filter_map(|(id, job)| {
            let [attempt] = job.attempts[..] else { return None };
            let running = self.backends[self.attempts.get(&attempt)?.backend].running.get(&attempt)?;
            let secs = (running.expected_secs * HEDGE_FACTOR).max(1.0);
            Some((*id, running.since.plus(Duration::try_from_secs_f64(secs).ok()?)))
        })
    }

    /// When the next job will be late. For one that is late already somebody must become idle, which is an event.
    fn late_after(&self, now: Monotonic) -> Option<Monotonic> {
        self.late().map(|(_, at)| at).filter(|at| *at > now).min()
    }

    /// Sends away who has waited too long, and those whom nobody can serve any more.
    fn give_up(&mut self, now: Monotonic) {
        let hopeless = |job: &Job| job.attempts.is_empty() && self.candidates(job, now).next().is_none();
        let mut away = Vec::new();
        for (id, job) in &self.jobs {
            if !job.attempts.is_empty() {
                continue;
            }
            if hopeless(job) {
                away.push((*id, Refusal::Nobody(self.why_nobody(&job.wanted))));
            } else if now.since(job.since) >= self.limits.wait_max {
                away.push((*id, Refusal::Busy(self.retry_after(&job.wanted.client, now))));
            }
        }
        for (job, refusal) in away {
            self.forget(job, true);
            self.orders.push(Order::Refuse { job, refusal });
        }
    }

    /// Whether an answer is of the checkpoint that the pool has known by that name.
    fn identify(&mut self, wanted: &Wanted, identity: String) -> End {
        // One backend without a checkpoint of its own may change it as it likes: nobody else has another.
        let matters = self.backends.len() > 1 && !planted(Mutant::PoolMixesModels);
        if identity.is_empty() || !matters {
            return End::Done { identity };
        }
        match self.identities.get(&wanted.model) {
            Some(known) if !same_hash(known, &identity) => {
                let model = if wanted.model.is_empty() { "the loaded checkpoint" } else { &*wanted.model };
                let why =
                    format!("{model} is {identity} here, and {known} at the other backends of the pool");
                return End::LacksModel(why);
            }
            Some(_) => {}
            None if self.identities.len() < IDENTITIES_MAX => {
                self.identities.insert(Arc::clone(&wanted.model), identity.clone());
            }
            None => {}
        }
        End::Done { identity }
    }

    /// What an end says about the backend.
    fn note(&mut self, at: usize, end: &End, running: &Running, model: &Arc<str>, now: Monotonic) {
        let backend = &mut self.backends[at];
        match end {
            End::Done { .. } => {
                if running.switches {
                    // Says how long loading takes, and nothing about the speed.
                    let excess = now.since(running.since).as_secs_f64() - running.expected_secs;
                    self.switch_secs = (self.switch_secs + excess * NEWEST).max(0.0);
                } else {
                    backend.measure(running, now);
                }
                backend.succeeded(model);
            }
            End::Unreachable(why) => backend.unreachable(why.clone(), now),
            End::Failed(why) => backend.failed(why.clone(), now),
            End::OutOfMemory => backend.ran_out_of_memory(running.load, now),
            End::Busy(retry_after) => backend.busy(*retry_after, now),
            End::SetUpWrongly(why) => backend.set_aside(why.clone(), now),
            End::LacksModel(why) => {
                tracing::warn!(backend = at, %why, "a backend is left alone for a while");
                backend.lacking(model, now);
            }
            End::Invalid | End::Stopped => {}
        }
    }

    /// Takes a job off; what still runs of it is stopped.
    fn forget(&mut self, id: JobId, stop: bool) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.queue.remove(job.tag);
        if stop {
            self.orders.extend(job.attempts.into_iter().map(|attempt| Order::Stop { attempt }));
        }
    }

    fn waits(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.attempts.is_empty())
    }

    fn why_nobody(&self, wanted: &Wanted) -> String {
        let down = self.backends.iter().find_map(|backend| backend.down());
        match down {
            Some(why) => format!("no backend can be asked, one of them because {why}"),
            None if wanted.model.is_empty() => "no backend can do a picture of that size".to_owned(),
            None => format!("no backend has {} or the memory for it", wanted.model),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The backends, in their order.
    pub(super) fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Jobs that were sent away because the queue was full.
    pub(super) fn shed(&self) -> u64 {
        self.shed
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Who wants `job`, and since when.
    pub(super) fn wanted(&self, job: JobId) -> Option<(&Wanted, Monotonic)> {
        self.jobs.get(&job).map(|job| (&job.wanted, job.since))
    }

    /// The job that is alone at a backend: what its progress is about.
    pub(super) fn alone_at(&self, at: usize) -> Option<JobId> {
        let mut running = self.backends[at].running.keys();
        let (first, None) = (running.next()?, running.next()) else { return None };
        Some(self.attempts.get(first)?.job)
    }
}

/// Hashes come in ten digits or in full; other names are compared whole.
pub(crate) fn same_hash(told: &str, expected: &str) -> bool {
    let short = told.len().min(expected.len());
    short >= 8 && told.get(..short).zip(expected.get(..short)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
mod tests;

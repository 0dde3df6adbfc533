//! Several txt2img backends as one [`ImageModel`]: who is asked next, who waits, and what happens when one fails.
//!
//! All decisions are made by [`core`], which is pure. This module is its hands: it sends what is to be sent, tells what
//! came of it, and wakes it when its time has come. A job is sent by a task of the pool, so that its place at the backend
//! is taken until the backend has really stopped, whoever hangs up.

mod backend;
mod core;
mod queue;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_object::Monotonic;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::core::{AttemptId, Core, End, JobId, Limits, Load, Order, Refusal, Verdict, Wanted};
use crate::model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
use crate::request::Txt2Img;
use crate::txt2img::{Trouble, Txt2ImgClient, Txt2ImgSettings};

pub use self::backend::Sign;
pub(crate) use self::backend::is_called;
pub(crate) use self::core::same_hash;
pub use self::view::{BackendState, BackendView, JobView, QueueView};

/// How long a job that nobody waits for may go on at a backend before its place counts as free.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// What an operator chooses about a pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The backends, at least one. They are taken to be alike but for their speed.
    pub backends: Vec<Txt2ImgSettings>,
    /// Jobs in flight at each backend, at least 1: most work on one at a time, and a second one hides the gap between two.
    pub in_flight: usize,
    /// Jobs that wait; beyond, callers get [`ModelError::Busy`].
    pub queue: usize,
    /// Whether a job that takes three times what was thought is sent to an idle backend as well. A picture is then made
    /// twice at times; whichever is there first is the answer.
    pub hedge: bool,
    /// Least time a generation gets; the limit is five times what it is thought to take if that is more.
    pub timeout_min: Duration,
    /// Longest time that a job waits for a backend; then its caller gets [`ModelError::Busy`].
    pub wait_max: Duration,
    /// What the pool's jobs are called at the backends, with a number behind: must differ between pools that share one.
    pub task_prefix: String,
}

impl PoolSettings {
    /// The usual settings: one job in flight at each of `backends`, 64 waiting up to ten minutes, no hedging, 60 s or
    /// more to generate.
    #[must_use]
    pub fn new(backends: Vec<Txt2ImgSettings>) -> Self {
        Self {
            backends,
            in_flight: 1,
            queue: 64,
            hedge: false,
            timeout_min: Duration::from_secs(60),
            wait_max: Duration::from_secs(600),
            task_prefix: "fallthrough".to_owned(),
        }
    }
}

/// A pool of txt2img backends. Dropping it stops its tasks and what they have running.
#[derive(Debug)]
pub struct Txt2ImgPool {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    clients: Vec<Txt2ImgClient>,
    settings: PoolSettings,
    state: Mutex<State>,
    /// Something happened: the next waking may be at another time.
    changed: Notify,
    start: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    core: Core,
    /// One for each job of the core.
    waiters: BTreeMap<JobId, Waiter>,
    /// One for each attempt of the core, with what ends it.
    running: BTreeMap<AttemptId, CancellationToken>,
}

/// Whoever waits for a job.
#[derive(Debug)]
struct Waiter {
    request: Arc<Txt2Img>,
    job: Job,
    answer: oneshot::Sender<Result<Picture, ModelError>>,
}

/// Takes a job back when its caller has gone.
struct Place<'a> {
    shared: &'a Arc<Shared>,
    id: JobId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.waiters.remove(&self.id).is_some() {
            state.core.withdraw(self.id);
            self.shared.turn(&mut state);
        }
    }
}

impl Txt2ImgPool {
    /// A pool over the backends of `settings`, which are asked for a sign of life from now on. To be called inside a
    /// tokio runtime, which its tasks run on.
    ///
    /// # Errors
    /// [`ModelError::Misconfigured`] if there is no backend, or an address is none.
    pub fn new(settings: PoolSettings) -> Result<Self, ModelError> {
        if settings.backends.is_empty() {
            return Err(ModelError::Misconfigured("a pool needs a backend".to_owned()));
        }
        let clients = settings.backends.iter().cloned().map(Txt2ImgClient::new);
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        let limits = Limits {
            in_flight: settings.in_flight.max(1),
            queue: settings.queue,
            hedge: settings.hedge,
            timeout_min: settings.timeout_min,
            wait_max: settings.wait_max,
        };
        let state = State {
            core: Core::new(clients.len(), limits),
            waiters: BTreeMap::new(),
            running: BTreeMap::new(),
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            clients,
            settings,
            state: Mutex::new(state),
            changed: Notify::new(),
            start: Instant::now(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        });
        shared.tasks.spawn(keep(Arc::clone(&shared)));
        Ok(Self { shared, _stop: stop.drop_guard() })
    }
}

/// Wakes the core when its time has come, until the pool ends.
async fn keep(shared: Arc<Shared>) {
    loop {
        let wake_at = {
            let mut state = shared.state();
            shared.carry_out(&mut state);
            state.core.wake_at(shared.now())
        };
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(shared.start + Duration::from_nanos(at.0)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            () = shared.changed.notified() => {}
            () = wake => {}
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// After something has happened: does what the core orders, and has the keeper look at its watch.
    fn turn(self: &Arc<Self>, state: &mut State) {
        self.carry_out(state);
        self.changed.notify_one();
    }

    fn carry_out(self: &Arc<Self>, state: &mut State) {
        for order in state.core.step(self.now()) {
            match order {
                Order::Start { attempt, job, backend, timeout } => {
                    self.send(state, attempt, job, backend, timeout);
                }
                Order::Stop { attempt } => {
                    if let Some(running) = state.running.get(&attempt) {
                        running.cancel();
                    }
                }
                Order::Refuse { job, refusal } => {
                    if let Some(waiter) = state.waiters.remove(&job) {
                        // Whoever has stopped waiting needs no answer.
                        let _gone = waiter.answer.send(Err(refused(refusal)));
                    }
                }
                Order::Probe { backend } => {
                    self.tasks.spawn(Arc::clone(self).probe(backend));
                }
            }
        }
    }

    fn send(
        self: &Arc<Self>,
        state: &mut State,
        attempt: AttemptId,
        job: JobId,
        backend: usize,
        timeout: Duration,
    ) {
        let cancel = self.stop.child_token();
        state.running.insert(attempt, cancel.clone());
        let Some(waiter) = state.waiters.get(&job) else {
            // Cannot be: a job's waiter is there before it is started. Its place must not be lost all the same.
            cancel.cancel();
            return self.ended(state, attempt, job, End::Stopped, Err(ModelError::Cancelled));
        };
        waiter.job.wait(false);
        let (request, format) = (Arc::clone(&waiter.request), waiter.job.format);
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let client = &shared.clients[backend];
            let task = format!("task({}-{})", shared.settings.task_prefix, attempt.0);
            let made = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                made = client.ask(&request, format, Some(&task), timeout) => Some(made),
            };
            let (end, result) = match made {
                None => {
                    client.stop(&task, STOP_PATIENCE).await;
                    (End::Stopped, Err(Trouble::Told(ModelError::Cancelled)))
                }
                Some(Ok(made)) => (End::Done { identity: made.identity }, Ok(made.picture)),
                Some(Err(trouble)) => (end_of(&trouble), Err(trouble)),
            };
            let late = matches!(result, Err(Trouble::TimedOut(_)));
            {
                let mut state = shared.state();
                shared.ended(&mut state, attempt, job, end, result.map_err(ModelError::from));
                shared.turn(&mut state);
            }
            if late {
                // Others have the job by now; the backend, which rests, is still to stop.
                client.stop(&task, STOP_PATIENCE).await;
            }
        });
    }

    /// Tells the core of an end, and whoever waits of what it means for them.
    fn ended(
        &self,
        state: &mut State,
        attempt: AttemptId,
        job: JobId,
        end: End,
        result: Result<Picture, ModelError>,
    ) {
        state.running.remove(&attempt);
        let answer = match state.core.ended(attempt, end, self.now()) {
            Verdict::Deliver => result,
            Verdict::Refuse(why) => Err(ModelError::Misconfigured(why)),
            Verdict::Nothing => {
                if let Some(waiter) = state.waiters.get(&job) {
                    waiter.job.wait(true);
                }
                return;
            }
        };
        if let Some(waiter) = state.waiters.remove(&job) {
            let _gone = waiter.answer.send(answer);
        }
    }

    async fn probe(self: Arc<Self>, backend: usize) {
        let sign = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            sign = self.clients[backend].probe() => sign,
        };
        let mut state = self.state();
        let progress = sign.as_ref().ok().and_then(|sign| sign.progress);
        let alone = state.core.alone_at(backend);
        if let Some((progress, waiter)) = progress.zip(alone.and_then(|job| state.waiters.get(&job))) {
            waiter.job.report(progress);
        }
        state.core.probed(backend, sign.map_err(|error| error.to_string()), self.now());
        self.turn(&mut state);
    }
}

/// What a backend's trouble means for the pool.
fn end_of(trouble: &Trouble) -> End {
    match trouble {
        Trouble::Unreachable(why) => End::Unreachable(why.clone()),
        Trouble::TimedOut(why) => End::Failed(why.clone()),
        Trouble::LacksModel(why) => End::LacksModel(why.clone()),
        Trouble::Told(error) => match error {
            ModelError::Busy { retry_after } => End::Busy(*retry_after),
            ModelError::Invalid(_) => End::Invalid,
            ModelError::Misconfigured(why) => End::SetUpWrongly(why.clone()),
            ModelError::OutOfMemory => End::OutOfMemory,
            ModelError::Unavailable(why) | ModelError::Internal(why) => End::Failed(why.clone()),
            ModelError::Cancelled => End::Failed("the backend gave the job up".to_owned()),
        },
    }
}

fn refused(refusal: Refusal) -> ModelError {
    match refusal {
        Refusal::Busy(retry_after) => ModelError::Busy { retry_after },
        Refusal::Nobody(why) => ModelError::Unavailable(why),
    }
}

#[async_trait]
impl ImageModel for Txt2ImgPool {
    /// # Cancellation
    /// Dropping the future takes the job back: from the queue, or from the backend that works on it.
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        request.validate().map_err(|invalid| ModelError::Invalid(invalid.to_string()))?;
        let pinned = self.shared.settings.backends.iter().find_map(|backend| backend.model.as_deref());
        let model = if request.model.is_empty() { pinned.unwrap_or_default() } else { &request.model };
        let wanted =
            Wanted { client: Arc::clone(&job.client), model: Arc::from(model), load: Load::of(request) };
        let (answer, answered) = oneshot::channel();
        let place = {
            let mut state = self.shared.state();
            let submitted = state.core.submit(wanted, self.shared.now());
            let id = match submitted {
                Ok(id) => id,
                Err(refusal) => {
                    self.shared.turn(&mut state);
                    return Err(refused(refusal));
                }
            };
            job.wait(true);
            state.waiters.insert(id, Waiter { request: Arc::new(request.clone()), job: job.clone(), answer });
            self.shared.turn(&mut state);
            Place { shared: &self.shared, id }
        };
        let picture = tokio::select! {
            biased;
            () = job.cancelled() => Err(ModelError::Cancelled),
            picture = answered => {
                picture.unwrap_or_else(|_| Err(ModelError::Internal("the pool lost a job".to_owned())))
            }
        };
        drop(place);
        job.wait(false);
        if picture.is_ok() {
            job.report(1.0);
        }
        picture
    }

    fn card(&self) -> ModelCard {
        let first = self.shared.clients.first().map(ImageModel::card);
        first.unwrap_or_else(|| ModelCard {
            name: "txt2img".to_owned(),
            fingerprint: Fingerprint {
                engine: "txt2img".to_owned(),
                version: String::new(),
                model_hash: String::new(),
            },
            samplers: Vec::new(),
            schedulers: Vec::new(),
        })
    }

    fn queue(&self) -> Option<QueueView> {
        let (state, now) = (self.shared.state(), self.shared.now());
        let backends = state.core.backends().iter().zip(&self.shared.clients);
        let backends = backends.map(|(backend, client)| {
            let (state, why) = match (backend.down(), backend.resting(now)) {
                (Some(why), _) => (BackendState::Down, why),
                (None, Some((_, why))) => (BackendState::Resting, why),
                (None, None) => (BackendState::Up, ""),
            };
            BackendView {
                address: client.address(),
                state,
                why: why.to_owned(),
                in_flight: backend.running.len(),
                foreign: backend.foreign,
                secs_per_unit: backend.speed(now),
                checkpoint: backend.loaded.as_deref().map(str::to_owned),
                done: backend.done,
                failed: backend.failed,
            }
        });
        let jobs = state.core.jobs(now).into_iter().filter_map(|standing| {
            let (wanted, since) = state.core.wanted(standing.job)?;
            Some(JobView {
                place: standing.place,
                backend: standing.backend,
                client: wanted.client.to_string(),
                age: now.since(since),
                left: standing.left_secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok()),
            })
        });
        Some(QueueView {
            waiting: state.core.waiting(),
            queue_max: self.shared.settings.queue,
            shed: state.core.shed(),
            retry_after: state.core.retry_after(&Arc::from(""), now),
            backends: backends.collect(),
            jobs: jobs.collect(),
        })
    }
}

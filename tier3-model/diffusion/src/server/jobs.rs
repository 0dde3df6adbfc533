//! Running jobs: slots, queue, progress, interruption.
//!
//! A job runs in a task of the tracker that holds its slot until the engine has really stopped,
//! so that a client hanging up cannot let two jobs share a slot. The client's handler holds the
//! other end: when it is dropped, the job is cancelled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::Extensions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::Call;
use super::fault::Fault;
use super::{ServerSettings, Shared};
use crate::admission::Gate;
use crate::encode;
use crate::model::{ImageModel, Job, ModelCard, ModelError, Picture};
use crate::request::Txt2Img;

/// How long jobs may take to notice that they were cancelled.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The model and everything that runs on it.
pub(super) struct Jobs {
    model: Arc<dyn ImageModel>,
    pub(super) card: ModelCard,
    gate: Arc<Gate>,
    batch_max: u32,
    delay: Duration,
    tasks: TaskTracker,
    /// Parent of every job's token.
    all: CancellationToken,
    /// Set when no new jobs are taken.
    closed: CancellationToken,
    /// At most one entry per slot and one per place in the queue.
    listed: Mutex<BTreeMap<u64, Listed>>,
    next_id: AtomicU64,
    drawn_seeds: AtomicU64,
}

/// A job as progress and pending-tasks show it.
struct Listed {
    task_id: Option<String>,
    job: Job,
    steps: u32,
    /// When it got its slot; `None` while it waits for one.
    running_since: Option<Instant>,
}

impl Listed {
    /// Since when it is worked on; `None` while it waits, here or in the engine's own queue.
    fn worked_on(&self) -> Option<Instant> {
        self.running_since.filter(|_| !self.job.is_waiting())
    }
}

/// Takes the job off the list and cancels it, whichever way its handler ends.
struct Listing<'a> {
    jobs: &'a Jobs,
    id: u64,
    job: Job,
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.job.cancel();
        self.jobs.listed().remove(&self.id);
    }
}

impl Jobs {
    pub(super) fn new(model: Arc<dyn ImageModel>, settings: &ServerSettings) -> Arc<Self> {
        Arc::new(Self {
            card: model.card(),
            model,
            gate: Gate::new(settings.slots, settings.queue),
            batch_max: settings.batch_max.max(1),
            delay: settings.delay,
            tasks: TaskTracker::new(),
            all: CancellationToken::new(),
            closed: CancellationToken::new(),
            listed: Mutex::new(BTreeMap::new()),
            next_id: AtomicU64::new(0),
            drawn_seeds: AtomicU64::new(0),
        })
    }

    /// From now on, jobs are refused with 503.
    pub(super) fn refuse_new(&self) {
        self.closed.cancel();
    }

    /// Cancels what still runs and waits until it has stopped, for a bounded time.
    pub(super) async fn end(&self) {
        self.refuse_new();
        self.all.cancel();
        self.tasks.close();
        if tokio::time::timeout(LAST_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!(jobs = self.tasks.len(), "jobs did not stop when cancelled");
        }
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, call: &Call, client: Arc<str>) -> Listing<'_> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let job = Job::with_cancel(call.format, self.all.child_token()).for_client(client);
        let listed = Listed {
            task_id: call.task_id.clone(),
            job: job.clone(),
            steps: call.request.steps,
            running_since: None,
        };
        self.listed().insert(id, listed);
        Listing { jobs: self, id, job }
    }

    /// A seed for a client that leaves it to us: another one each time, without a source of
    /// randomness, and the answer says which.
    fn draw_seed(&self, request: &Txt2Img) -> u32 {
        let count = self.drawn_seeds.fetch_add(1, Ordering::Relaxed);
        let [a, b, c, d, ..] = Txt2Img { seed: count as u32, ..request.clone() }.sha256();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Runs `call` of `client` in a slot: all its pictures, one after the other.
    async fn run(self: &Arc<Self>, call: &Call, client: Arc<str>) -> Result<Vec<Picture>, ModelError> {
        let listing = self.list(call, client);
        let pass = tokio::select! {
            biased;
            () = listing.job.cancelled() => return Err(ModelError::Cancelled),
            pass = self.gate.enter() => pass?,
        };
        if let Some(listed) = self.listed().get_mut(&listing.id) {
            listed.running_since = Some(Instant::now());
        }
        let (jobs, call, job) = (Arc::clone(self), call.clone(), listing.job.clone());
        let run = self.tasks.spawn(async move {
            let mut pictures = Vec::new();
            for at in 0..call.pictures {
                let request = Txt2Img { seed: call.request.seed.wrapping_add(at), ..call.request.clone() };
                jobs.dawdle(&job, request.steps).await?;
                pictures.push(jobs.model.generate(&request, &job).await?);
            }
            pass.finish();
            Ok(pictures)
        });
        run.await.map_err(|error| ModelError::Internal(error.to_string()))?
    }

    /// Spends the artificial delay of one picture step by step, as a slow model would.
    async fn dawdle(&self, job: &Job, steps: u32) -> Result<(), ModelError> {
        if self.delay.is_zero() {
            return Ok(());
        }
        let start = Instant::now();
        for step in 1..=steps {
            tokio::select! {
                biased;
                () = job.cancelled() => return Err(ModelError::Cancelled),
                () = tokio::time::sleep_until(start + self.delay * step / steps) => {}
            }
            job.report(step as f32 / steps as f32 * 0.95);
        }
        Ok(())
    }
}

/// `POST /sdapi/v1/txt2img`
pub(super) async fn txt2img(
    State(jobs): Shared,
    extensions: Extensions,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    if jobs.closed.is_cancelled() {
        return Err(Fault::shutting_down());
    }
    let body = read_object(body)?;
    let mut call = Call::read(&body, &jobs.card, jobs.batch_max)?;
    if call.any_seed {
        call.request.seed = jobs.draw_seed(&call.request);
    }
    // An engine with a queue of its own lets machines take turns.
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let client = peer.map(|ConnectInfo(peer)| peer.ip().to_string()).unwrap_or_default();
    let pictures = jobs.run(&call, client.into()).await?;
    let mut images = Vec::with_capacity(pictures.len());
    for picture in &pictures {
        // The engine may have answered in another format than was asked for.
        let bytes = match picture.format == call.format {
            true => picture.bytes.clone(),
            false => encode::reencode(&picture.bytes, call.format)
                .map_err(|error| ModelError::Internal(error.to_string()))?,
        };
        images.push(BASE64.encode(&bytes));
    }
    let info = info(&call, &pictures, &jobs.card).to_string();
    let images = if call.send_images { images } else { Vec::new() };
    Ok(Json(json!({"images": images, "parameters": body, "info": info})))
}

pub(super) fn read_object(body: Result<Bytes, BytesRejection>) -> Result<Map<String, Value>, Fault> {
    let body = body.map_err(|_| Fault::too_large())?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Fault::unreadable("value is not a valid dict")),
        Err(error) => Err(Fault::unreadable(error.to_string())),
    }
}

/// The `info` of an answer, which the API sends as a string of JSON.
fn info(call: &Call, pictures: &[Picture], card: &ModelCard) -> Value {
    let request = &call.request;
    let print = pictures.first().map_or(&card.fingerprint, |picture| &picture.fingerprint);
    let seeds: Vec<u32> = (0..call.pictures).map(|at| request.seed.wrapping_add(at)).collect();
    let text = |seed: &u32| {
        let negative = match request.negative_prompt.as_str() {
            "" => String::new(),
            negative => format!("\nNegative prompt: {negative}"),
        };
        let scheduler = match request.scheduler.as_str() {
            "" => String::new(),
            scheduler => format!("Schedule type: {scheduler}, "),
        };
        format!(
            "{}{negative}\nSteps: {}, Sampler: {}, {scheduler}CFG scale: {}, Seed: {seed}, Size: {}x{}, \
             Model hash: {}, Model: {}, Version: {}",
            request.prompt,
            request.steps,
            request.sampler,
            request.guidance(),
            request.width,
            request.height,
            print.model_hash,
            card.name,
            print.version,
        )
    };
    let count = call.pictures as usize;
    json!({
        "prompt": request.prompt,
        "all_prompts": vec![&request.prompt; count],
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": vec![&request.negative_prompt; count],
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": 0,
        "all_subseeds": vec![0; count],
        "subseed_strength": 0,
        "width": request.width,
        "height": request.height,
        "sampler_name": request.sampler,
        "cfg_scale": request.guidance(),
        "steps": request.steps,
        "batch_size": call.batch_size,
        "restore_faces": false,
        "sd_model_name": card.name,
        "sd_model_hash": print.model_hash,
        "denoising_strength": null,
        "extra_generation_params": {"Schedule type": request.scheduler, "RNG": request.noise.name()},
        "index_of_first_image": 0,
        "infotexts": seeds.iter().map(text).collect::<Vec<_>>(),
        "styles": [],
        "clip_skip": 1,
        "version": print.to_string(),
    })
}

/// `GET /sdapi/v1/progress`. Never sends a preview, whether `skip_current_image` is set or not.
pub(super) async fn progress(State(jobs): Shared) -> Json<Value> {
    let listed = jobs.listed();
    let waiting = listed.values().filter(|job| job.worked_on().is_none()).count();
    let running = listed.values().find_map(|job| job.worked_on().map(|since| (job, since)));
    let (progress, eta_secs, interrupted, steps) = match running {
        None => (0.0, 0.0, false, 0),
        Some((listed, since)) => {
            let progress = listed.job.progress();
            let eta = eta_secs(progress, since.elapsed(), jobs.gate.average());
            (progress, eta, listed.job.is_cancelled(), listed.steps)
        }
    };
    Json(json!({
        "progress": progress,
        "eta_relative": eta_secs,
        "state": {
            "skipped": false,
            "interrupted": interrupted,
            "job": if running.is_some() { "txt2img" } else { "" },
            "job_count": listed.len() - waiting,
            "job_no": 0,
            "sampling_step": (progress * steps as f32) as u32,
            "sampling_steps": steps,
            "queue_length": waiting,
        },
        "current_image": null,
        "textinfo": null,
    }))
}

/// Seconds until a job ends: from its own progress, or before there is any, from the average.
fn eta_secs(progress: f32, elapsed: Duration, average: Option<Duration>) -> f64 {
    let (done, elapsed) = (f64::from(progress), elapsed.as_secs_f64());
    if done > 0.01 {
        return elapsed / done - elapsed;
    }
    average.map_or(0.0, |average| (average.as_secs_f64() - elapsed).max(0.0))
}

/// `POST /sdapi/v1/interrupt`: stops the jobs that run; those that wait go on.
pub(super) async fn interrupt(State(jobs): Shared) -> Json<Value> {
    for listed in jobs.listed().values().filter(|listed| listed.worked_on().is_some()) {
        listed.job.cancel();
    }
    Json(json!({}))
}

/// `GET /internal/pending-tasks`
pub(super) async fn pending_tasks(State(jobs): Shared) -> Json<Value> {
    let listed = jobs.listed();
    let waiting = listed.values().filter(|listed| listed.worked_on().is_none());
    let tasks: Vec<&str> = waiting.map(|listed| listed.task_id.as_deref().unwrap_or_default()).collect();
    Json(json!({"size": tasks.len(), "tasks": tasks}))
}

/// `POST /internal/progress`: one job, found by the `force_task_id` it was sent with.
pub(super) async fn task_progress(
    State(jobs): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    let body = read_object(body)?;
    let Some(Value::String(id)) = body.get("id_task") else {
        return Err(Fault::invalid("id_task", "field required"));
    };
    let listed = jobs.listed();
    let found = listed.values().find(|listed| listed.task_id.as_ref() == Some(id));
    let (active, progress, eta) = match found.map(|listed| (listed, listed.worked_on())) {
        Some((listed, Some(since))) => {
            let progress = listed.job.progress();
            (true, progress, eta_secs(progress, since.elapsed(), jobs.gate.average()))
        }
        _ => (false, 0.0, 0.0),
    };
    Ok(Json(json!({
        "active": active,
        "queued": found.is_some() && !active,
        "completed": found.is_none(),
        "progress": progress,
        "eta": eta,
        "live_preview": null,
        "id_live_preview": -1,
        "textinfo": if active { "" } else if found.is_some() { "In queue..." } else { "Waiting..." },
    })))
}

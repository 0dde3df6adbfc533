//! The pool over loopback: against servers of ours, and against backends that misbehave by hand.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fallthrough_diffusion::painter::Painter;
use fallthrough_diffusion::server::{Server, ServerSettings};
use fallthrough_diffusion::{
    BackendState, Fingerprint, Format, ImageModel, Job, ModelCard, ModelError, Picture, PoolSettings,
    QueueView, Txt2Img, Txt2ImgClient, Txt2ImgPool, Txt2ImgSettings, encode,
};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

fn request(seed: u32) -> Txt2Img {
    Txt2Img { prompt: "1girl".into(), seed, width: 64, height: 64, ..Txt2Img::default() }
}

fn pool_of(urls: &[&str], change: impl FnOnce(&mut PoolSettings)) -> Arc<Txt2ImgPool> {
    let mut settings = PoolSettings::new(urls.iter().map(|url| Txt2ImgSettings::new(*url)).collect());
    change(&mut settings);
    Arc::new(Txt2ImgPool::new(settings).unwrap())
}

fn seen(pool: &Txt2ImgPool) -> QueueView {
    pool.queue().unwrap()
}

/// Waits until the pool is as it should be.
async fn until(pool: &Txt2ImgPool, right: impl Fn(&QueueView) -> bool) {
    while !right(&seen(pool)) {
        tokio::task::yield_now().await;
    }
}

/// A model that draws when it is let.
struct Gated {
    go: Semaphore,
    started: Notify,
    runs: AtomicUsize,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self { go: Semaphore::new(0), started: Notify::new(), runs: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl ImageModel for Gated {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.started.notify_one();
        tokio::select! {
            () = job.cancelled() => Err(ModelError::Cancelled),
            permit = self.go.acquire() => {
                permit.unwrap().forget();
                Painter::new().generate(request, job).await
            }
        }
    }

    fn card(&self) -> ModelCard {
        Painter::new().card()
    }
}

/// A server of ours on a free port; dropped, it is gone in the middle of whatever it does.
struct Ours {
    url: String,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

impl Ours {
    async fn start(model: Arc<dyn ImageModel>, settings: ServerSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::new(model, &settings);
        // Connections are served by tasks of this runtime alone, which end with it.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = listener.into_std().unwrap();
        let task = TaskTracker::new().spawn(async move {
            let owner = Runtime(Some(runtime));
            let serving = owner.0.as_ref().unwrap().handle().clone();
            let served = TaskTracker::new().spawn_on(
                async move {
                    let listener = TcpListener::from_std(listener).unwrap();
                    server.serve(listener, CancellationToken::new()).await.unwrap();
                },
                &serving,
            );
            let _ended = served.await;
        });
        Self { url, _task: tokio_util::task::AbortOnDropHandle::new(task) }
    }
}

/// A runtime that may be dropped where one must not wait.
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A backend that behaves as the web UI does: one job at a time behind a lock, and a client that hangs up changes
/// nothing.
struct WebUi {
    url: String,
    state: Arc<WebUiState>,
    _guard: DropGuard,
}

struct WebUiState {
    hash: &'static str,
    asked: std::sync::Mutex<Vec<Value>>,
    /// The task that runs, those that wait.
    tasks: std::sync::Mutex<(Option<String>, Vec<String>)>,
    lock: Mutex<()>,
    go: Semaphore,
    started: Notify,
    interrupt: Notify,
    interrupts: AtomicUsize,
}

impl WebUi {
    async fn start(hash: &'static str) -> Self {
        let state = Arc::new(WebUiState {
            hash,
            asked: std::sync::Mutex::default(),
            tasks: std::sync::Mutex::default(),
            lock: Mutex::new(()),
            go: Semaphore::new(0),
            started: Notify::new(),
            interrupt: Notify::new(),
            interrupts: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/sdapi/v1/txt2img", post(draw))
            .route("/sdapi/v1/progress", get(async || Json(json!({"progress": 0.25, "state": {"job": ""}}))))
            .route("/sdapi/v1/options", get(async || Json(json!({"sd_model_checkpoint": "sd15.safetensors [6ce0161689]"}))))
            .route(
                "/sdapi/v1/sd-models",
                get(async || {
                    Json(json!([{"title": "sd15.safetensors [6ce0161689]", "model_name": "sd15", "hash": "6ce0161689"}]))
                }),
            )
            .route("/sdapi/v1/interrupt", post(interrupt))
            .route("/internal/progress", post(progress_of))
            .with_state(Arc::clone(&state));
        let (url, _guard) = listen(router).await;
        Self { url, state, _guard }
    }

    fn asked(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }
}

async fn listen(router: Router) -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    TaskTracker::new().spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await.unwrap();
    });
    (url, stop.drop_guard())
}

async fn draw(State(state): State<Arc<WebUiState>>, Json(body): Json<Value>) -> Response {
    // What is drawn is drawn whether anybody waits or not: in a task of its own.
    TaskTracker::new().spawn(draw_to_the_end(state, body)).await.unwrap()
}

async fn draw_to_the_end(state: Arc<WebUiState>, body: Value) -> Response {
    let task = body["force_task_id"].as_str().unwrap_or_default().to_owned();
    state.asked.lock().unwrap().push(body.clone());
    state.tasks.lock().unwrap().1.push(task.clone());
    let _one_at_a_time = state.lock.lock().await;
    {
        let mut tasks = state.tasks.lock().unwrap();
        tasks.1.retain(|waiting| *waiting != task);
        tasks.0 = Some(task);
    }
    state.started.notify_one();
    tokio::select! {
        permit = state.go.acquire() => permit.unwrap().forget(),
        () = state.interrupt.notified() => {}
    }
    state.tasks.lock().unwrap().0 = None;
    let (width, height) = (body["width"].as_u64().unwrap() as u32, body["height"].as_u64().unwrap() as u32);
    let pixels = vec![90; (width * height * 4) as usize];
    let image = encode::encode(&pixels, width, height, Format::Png).unwrap();
    let info = json!({"seed": body["seed"], "steps": body["steps"], "sd_model_hash": state.hash, "version": "v1.10"});
    Json(json!({"images": [BASE64.encode(image)], "parameters": {}, "info": info.to_string()}))
        .into_response()
}

async fn interrupt(State(state): State<Arc<WebUiState>>) -> Json<Value> {
    state.interrupts.fetch_add(1, Ordering::SeqCst);
    state.interrupt.notify_one();
    Json(json!({}))
}

async fn progress_of(State(state): State<Arc<WebUiState>>, Json(body): Json<Value>) -> Json<Value> {
    let tasks = state.tasks.lock().unwrap();
    let id = body["id_task"].as_str().unwrap();
    let (active, queued) = (tasks.0.as_deref() == Some(id), tasks.1.iter().any(|task| task == id));
    Json(json!({"active": active, "queued": queued, "completed": !active && !queued}))
}

#[tokio::test]
async fn a_backend_that_is_killed_in_the_middle_fails_no_request() {
    let (first, second) = (Gated::new(), Gated::new());
    let dies = Ours::start(first.clone(), ServerSettings::default()).await;
    let lives = Ours::start(second.clone(), ServerSettings::default()).await;
    let pool = pool_of(&[&dies.url, &lives.url], |_| {});
    let tasks = TaskTracker::new();
    let jobs: Vec<_> = (0..6)
        .map(|seed| {
            let pool = pool.clone();
            tasks.spawn(async move { pool.generate(&request(seed), &Job::default()).await })
        })
        .collect();
    first.started.notified().await;
    second.started.notified().await;
    drop(dies);
    second.go.add_permits(6);
    for (seed, job) in jobs.into_iter().enumerate() {
        let picture = job.await.unwrap().unwrap();
        let near = Painter::new().generate(&request(seed as u32), &Job::default()).await.unwrap();
        assert_eq!(picture.bytes, near.bytes);
    }
    let view = seen(&pool);
    assert_eq!((view.backends[0].done, view.backends[1].done, view.waiting), (0, 6, 0));
    assert_eq!(view.backends[0].state, BackendState::Down, "{view:?}");
    assert_eq!(first.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_thousand_distinct_requests_wait_in_bounds_and_the_rest_are_answered_at_once() {
    let model = Gated::new();
    let server = Ours::start(model.clone(), ServerSettings::default()).await;
    let pool = pool_of(&[&server.url], |settings| settings.queue = 16);
    let tasks = TaskTracker::new();
    let (busy, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for seed in 0..1_000 {
        let (pool, busy, done) = (pool.clone(), busy.clone(), done.clone());
        tasks.spawn(async move {
            match pool.generate(&request(seed), &Job::default()).await {
                Ok(_) => done.fetch_add(1, Ordering::SeqCst),
                Err(ModelError::Busy { retry_after }) => {
                    assert!(retry_after >= Duration::from_secs(1));
                    busy.fetch_add(1, Ordering::SeqCst)
                }
                Err(other) => panic!("{other}"),
            };
        });
    }
    // No picture is there yet, and all those that find no place have their answer.
    while busy.load(Ordering::SeqCst) < 983 {
        tokio::task::yield_now().await;
    }
    assert_eq!((done.load(Ordering::SeqCst), seen(&pool).waiting, seen(&pool).shed), (0, 16, 983));
    model.go.add_permits(17);
    tasks.close();
    tasks.wait().await;
    assert_eq!((done.load(Ordering::SeqCst), model.runs.load(Ordering::SeqCst)), (17, 17));
}

#[tokio::test]
async fn another_checkpoint_than_the_pools_is_refused() {
    let (right, wrong) = (WebUi::start("6ce0161689").await, WebUi::start("ffffffffff").await);
    for ui in [&right, &wrong] {
        ui.state.go.add_permits(100);
    }
    // Pinned by name: each answer is compared with the backend's own list.
    let pool = pool_of(&[&right.url, &wrong.url], |settings| {
        settings.backends.iter_mut().for_each(|backend| backend.model = Some("sd15".into()));
    });
    let jobs: Vec<Job> = (0..8).map(|_| Job::default()).collect();
    let asked = jobs.iter().enumerate().map(|(seed, job)| {
        let (pool, request) = (&pool, request(seed as u32));
        async move { pool.generate(&request, job).await }
    });
    for picture in join_all(asked).await {
        assert_eq!(picture.unwrap().fingerprint.model_hash, "6ce0161689");
    }
    assert_eq!((right.asked(), wrong.asked()), (8, 1));
    let alone = pool_of(&[&wrong.url], |settings| settings.backends[0].model = Some("sd15".into()));
    let refused = alone.generate(&request(1), &Job::default()).await;
    assert!(
        matches!(&refused, Err(ModelError::Misconfigured(why)) if why.contains("ffffffffff")),
        "{refused:?}"
    );
    let sent = wrong.state.asked.lock().unwrap()[0].clone();
    assert_eq!(sent["override_settings"]["sd_model_checkpoint"], "sd15");
    assert_eq!(sent["override_settings"]["randn_source"], "CPU");
    assert_ne!(sent["seed"], -1);
}

#[tokio::test]
async fn who_hangs_up_interrupts_its_own_job_and_nobody_elses() {
    let ui = WebUi::start("6ce0161689").await;
    let pool = pool_of(&[&ui.url], |_| {});
    // Somebody else's job is in front of ours.
    let theirs = TaskTracker::new().spawn(draw_to_the_end(
        Arc::clone(&ui.state),
        json!({"force_task_id": "theirs", "width": 64, "height": 64}),
    ));
    ui.state.started.notified().await;
    let (job, tasks) = (Job::default(), TaskTracker::new());
    let (mine, cancelled) = (pool.clone(), job.clone());
    let ours = tasks.spawn(async move { mine.generate(&request(1), &cancelled).await });
    while ui.state.tasks.lock().unwrap().1.is_empty() {
        tokio::task::yield_now().await;
    }
    job.cancel();
    assert!(matches!(ours.await.unwrap(), Err(ModelError::Cancelled)));
    // It cannot be taken out of the backend's queue: its place stays taken, and nobody is interrupted.
    assert_eq!(seen(&pool).backends[0].in_flight, 1);
    assert_eq!(ui.state.interrupts.load(Ordering::SeqCst), 0);
    ui.state.go.add_permits(1);
    assert_eq!(theirs.await.unwrap().status(), StatusCode::OK);
    until(&pool, |view| view.backends[0].in_flight == 0).await;
    assert_eq!(ui.state.interrupts.load(Ordering::SeqCst), 1);
    // And the next one is done as usual.
    ui.state.go.add_permits(1);
    pool.generate(&request(2), &Job::default()).await.unwrap();
}

#[tokio::test]
async fn out_of_memory_and_refused_credentials_are_tried_elsewhere() {
    for (status, body) in [
        (500, json!({"error": "OutOfMemoryError", "detail": "", "body": "", "errors": "CUDA out of memory"})),
        (500, json!({"error": "RuntimeError", "detail": "", "body": "", "errors": ""})),
        (502, json!("<html>")),
        (401, json!({"error": "HTTPException", "detail": "Incorrect username or password"})),
        (404, json!({"detail": "Not Found"})),
        (200, json!({"images": [], "info": "{}"})),
    ] {
        let refuse = post(async move || (StatusCode::from_u16(status).unwrap(), Json(body)));
        let (broken, _guard) = listen(Router::new().route("/sdapi/v1/txt2img", refuse)).await;
        let right = Ours::start(Arc::new(Painter::new()), ServerSettings::default()).await;
        let pool = pool_of(&[&broken, &right.url], |_| {});
        let asked = (0..2).map(|seed| {
            let pool = &pool;
            async move { pool.generate(&request(seed), &Job::default()).await }
        });
        for picture in join_all(asked).await {
            picture.unwrap_or_else(|error| panic!("{status}: {error}"));
        }
        assert_eq!(seen(&pool).backends[1].done, 2, "{status}");
    }
}

#[tokio::test]
async fn what_can_succeed_nowhere_is_refused_by_the_first() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let refuse = post(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": "", "detail": "no such sampler"})))
    });
    let (url, _guard) = listen(Router::new().route("/sdapi/v1/txt2img", refuse)).await;
    let pool = pool_of(&[&url, &url], |_| {});
    let refused = pool.generate(&request(1), &Job::default()).await;
    assert!(matches!(refused, Err(ModelError::Invalid(why)) if why == "no such sampler"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_server_of_stable_diffusion_cpp_has_no_progress_and_no_hashes() {
    let draw = post(async |Json(body): Json<Value>| {
        let image = encode::encode(&[7; 64 * 64 * 4], 64, 64, Format::Png).unwrap();
        let info = json!({"seed": body["seed"], "sd_model_name": "sd15.safetensors", "version": "stable-diffusion.cpp"});
        Json(json!({"images": [BASE64.encode(image)], "info": info.to_string()}))
    });
    let list = json!([{"title": "sd15", "model_name": "sd15", "hash": "8888888888"}]);
    let router = Router::new()
        .route("/sdapi/v1/txt2img", draw)
        .route("/sdapi/v1/options", get(async || Json(json!({"sd_model_checkpoint": "sd15"}))))
        .route("/sdapi/v1/sd-models", get(async move || Json(list)));
    let (url, _guard) = listen(router).await;
    let sign = Txt2ImgClient::new(Txt2ImgSettings::new(&url)).unwrap().probe().await.unwrap();
    assert_eq!((sign.loaded.as_deref(), sign.progress, sign.jobs), (Some("sd15"), None, 0));
    let pool = pool_of(&[&url], |settings| settings.backends[0].model = Some("sd15".into()));
    let picture = pool.generate(&request(1), &Job::default()).await.unwrap();
    assert_eq!(
        picture.fingerprint,
        Fingerprint {
            engine: "txt2img".into(),
            version: "stable-diffusion.cpp".into(),
            model_hash: String::new(),
        }
    );
    until(&pool, |view| view.backends[0].state == BackendState::Up).await;
    // Without an API at all there is no sign of life.
    let (bare, _bare) = listen(Router::new()).await;
    let nothing = Txt2ImgClient::new(Txt2ImgSettings::new(&bare)).unwrap().probe().await;
    assert!(matches!(nothing, Err(ModelError::Misconfigured(why)) if why.contains("API enabled")));
}

#[tokio::test]
async fn a_pool_behind_our_server_queues_for_it() {
    let model = Gated::new();
    let last = Ours::start(model.clone(), ServerSettings::default()).await;
    let pool = pool_of(&[&last.url], |settings| settings.queue = 1);
    let front =
        Ours::start(pool.clone(), ServerSettings { slots: 2, queue: 0, ..ServerSettings::default() }).await;
    let tasks = TaskTracker::new();
    let jobs: Vec<_> = (0..2)
        .map(|seed| {
            let client = Txt2ImgClient::new(Txt2ImgSettings::new(&front.url)).unwrap();
            tasks.spawn(async move { client.generate(&request(seed), &Job::default()).await })
        })
        .collect();
    until(&pool, |view| view.waiting == 1 && view.jobs.len() == 2).await;
    assert!(seen(&pool).jobs.iter().all(|job| job.client == "127.0.0.1"));
    assert_eq!(seen(&pool).jobs[1].place, Some(1));
    // What waits behind the server counts as waiting there, too.
    let sign = Txt2ImgClient::new(Txt2ImgSettings::new(&front.url)).unwrap().probe().await.unwrap();
    assert_eq!(sign.jobs, 2);
    let third = Txt2ImgClient::new(Txt2ImgSettings::new(&front.url)).unwrap();
    assert!(matches!(third.generate(&request(9), &Job::default()).await, Err(ModelError::Busy { .. })));
    model.go.add_permits(2);
    for job in jobs {
        job.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_address_is_shown_without_its_password() {
    let client = Txt2ImgClient::new(Txt2ImgSettings::new("http://me:secret@127.0.0.1:7860/sd/")).unwrap();
    assert_eq!(client.address(), "http://127.0.0.1:7860/sd");
    assert!(matches!(Txt2ImgPool::new(PoolSettings::new(Vec::new())), Err(ModelError::Misconfigured(_))));
}

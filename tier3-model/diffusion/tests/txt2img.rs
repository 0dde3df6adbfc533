//! Server and client over loopback, and each of them against somebody who speaks by hand.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fallthrough_diffusion::painter::Painter;
use fallthrough_diffusion::server::{Server, ServerSettings};
use fallthrough_diffusion::{
    Credentials, Fingerprint, Format, ImageModel, Job, ModelCard, ModelError, Picture, PoolSettings, Txt2Img,
    Txt2ImgClient, Txt2ImgPool, Txt2ImgSettings, encode,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A server on a free port, ended when dropped.
struct Running {
    url: String,
    tasks: TaskTracker,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Running {
    async fn start(model: Arc<dyn ImageModel>, settings: ServerSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (server, stopped) = (Server::new(model, &settings), stop.clone());
        tasks.spawn(async move { server.serve(listener, stopped).await.unwrap() });
        Self { url, tasks, _guard: stop.clone().drop_guard(), stop }
    }

    fn client(&self) -> Txt2ImgClient {
        Txt2ImgClient::new(Txt2ImgSettings::new(&self.url)).unwrap()
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        http().post(format!("{}/sdapi/v1/txt2img", self.url)).json(body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = http().get(format!("{}{path}", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }
}

fn http() -> reqwest::Client {
    // Building any client of ours installs a crypto provider, which reqwest asks for.
    Txt2ImgClient::new(Txt2ImgSettings::new("http://127.0.0.1:1")).unwrap();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn request(seed: u32) -> Txt2Img {
    Txt2Img { prompt: "1girl, red hair, smile".into(), seed, width: 128, height: 64, ..Txt2Img::default() }
}

/// A model that starts when it is let, and tells what became of its jobs.
struct Held {
    started: Notify,
    go: Semaphore,
    cancelled: Notify,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Notify::new(),
            go: Semaphore::new(0),
            cancelled: Notify::new(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl ImageModel for Held {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.started.notify_one();
        let result = tokio::select! {
            () = job.cancelled() => {
                self.cancelled.notify_one();
                Err(ModelError::Cancelled)
            }
            permit = self.go.acquire() => {
                permit.unwrap().forget();
                let pixels = vec![120; (request.width * request.height * 4) as usize];
                let bytes = encode::encode(&pixels, request.width, request.height, Format::Png).unwrap();
                Ok(Picture { bytes, format: Format::Png, fingerprint: self.card().fingerprint })
            }
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn card(&self) -> ModelCard {
        let fingerprint =
            Fingerprint { engine: "held".into(), version: "1".into(), model_hash: "0123456789".into() };
        ModelCard { name: "held".into(), fingerprint, ..Painter::new().card() }
    }
}

#[tokio::test]
async fn a_picture_comes_through_both_ways_unchanged() {
    let server = Running::start(Arc::new(Painter::new()), ServerSettings::default()).await;
    let client = server.client();
    for format in Format::ALL {
        for seed in [0, 7, u32::MAX] {
            let job = Job::new(format);
            let far = client.generate(&request(seed), &job).await.unwrap();
            let near = Painter::new().generate(&request(seed), &Job::new(format)).await.unwrap();
            assert_eq!((far.bytes, far.format), (near.bytes, near.format));
            assert_eq!(far.fingerprint.model_hash, near.fingerprint.model_hash);
            assert_eq!(job.progress(), 1.0);
        }
    }
    let sign = client.probe().await.unwrap();
    assert_eq!((sign.progress, sign.jobs), (Some(0.0), 0));
    assert_eq!(
        sign.loaded.as_deref(),
        Some(&*format!("painter [{}]", Painter::new().card().fingerprint.model_hash))
    );
}

#[tokio::test]
async fn the_answer_has_the_shape_of_the_web_ui() {
    let server = Running::start(Arc::new(Painter::new()), ServerSettings::default()).await;
    let body = json!({
        "prompt": "1boy", "seed": 4294967295_u32, "sampler_name": "DPM++ 2M Karras", "steps": 20, "width": 64,
        "height": 64, "n_iter": 2, "override_settings": {"samples_format": "png"}, "nobody knows": 1,
    });
    let answer = server.post(&body).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["x-process-time"].to_str().unwrap().parse::<f64>().unwrap() >= 0.0);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["parameters"], body);
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["all_seeds"], json!([u32::MAX, 0]));
    assert_eq!(info["sampler_name"], "DPM++ 2M");
    assert_eq!(info["index_of_first_image"], 0);
    assert_eq!(info["sd_model_hash"], Painter::new().card().fingerprint.model_hash);
    assert!(info["infotexts"][0].as_str().unwrap().contains("Schedule type: Karras"));
    let images = answer["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    let png = BASE64.decode(images[0].as_str().unwrap()).unwrap();
    assert_eq!(Format::sniff(&png), Some(Format::Png));
}

#[tokio::test]
async fn a_seed_left_to_the_server_is_drawn_and_told() {
    let server = Running::start(Arc::new(Painter::new()), ServerSettings::default()).await;
    let mut seeds = Vec::new();
    for _ in 0..3 {
        let body = json!({"prompt": "x", "seed": -1, "width": 64, "height": 64});
        let answer: Value = server.post(&body).await.json().await.unwrap();
        let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
        let again = json!({"prompt": "x", "seed": info["seed"], "width": 64, "height": 64});
        let repeated: Value = server.post(&again).await.json().await.unwrap();
        assert_eq!(repeated["images"], answer["images"]);
        seeds.push(info["seed"].as_u64().unwrap());
    }
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
}

#[tokio::test]
async fn the_menu_names_what_there_is() {
    let server = Running::start(Arc::new(Painter::new()), ServerSettings::default()).await;
    assert_eq!(server.get("/sdapi/v1/sd-models").await[0]["model_name"], "painter");
    assert_eq!(server.get("/sdapi/v1/samplers").await[0]["name"], "DPM++ 2M");
    assert_eq!(server.get("/sdapi/v1/schedulers").await[1]["label"], "Karras");
    assert_eq!(server.get("/sdapi/v1/options").await["samples_format"], "jpg");
    assert_eq!(server.get("/sdapi/v1/progress?skip_current_image=true").await["progress"], 0.0);
    assert_eq!(server.get("/internal/pending-tasks").await["size"], 0);
    server.get("/sdapi/v1/memory").await;
    server.get("/internal/ping").await;
    let missing = http().get(format!("{}/sdapi/v1/img2img", server.url)).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json::<Value>().await.unwrap()["detail"], "Not Found");
    let options = format!("{}/sdapi/v1/options", server.url);
    let same = http().post(&options).json(&json!({"sd_model_checkpoint": "painter"})).send().await.unwrap();
    assert_eq!(same.status(), 200);
    let other = http().post(&options).json(&json!({"samples_format": "webp"})).send().await.unwrap();
    assert_eq!(other.status(), 422);
}

#[tokio::test]
async fn bad_input_names_the_field() {
    let server = Running::start(Arc::new(Painter::new()), ServerSettings::default()).await;
    let cases = [
        ("width", json!({"width": 60})),
        ("width", json!({"width": "wide"})),
        ("height", json!({"height": 1032})),
        ("height", json!({"height": -8})),
        ("steps", json!({"steps": 151})),
        ("steps", json!({"steps": 1.5})),
        ("cfg_scale", json!({"cfg_scale": 101})),
        ("cfg_scale", json!({"cfg_scale": -1})),
        ("seed", json!({"seed": 4294967296_u64})),
        ("seed", json!({"seed": -2})),
        ("prompt", json!({"prompt": "a".repeat(4097)})),
        ("prompt", json!({"prompt": 7})),
        ("batch_size", json!({"batch_size": 5})),
        ("batch_size", json!({"batch_size": 0})),
        ("batch_size", json!({"batch_size": 65536, "n_iter": 65536})),
        ("enable_hr", json!({"enable_hr": true})),
        ("styles", json!({"styles": ["x"]})),
        ("alwayson_scripts", json!({"alwayson_scripts": {"x": {}}})),
        ("script_name", json!({"script_name": "x"})),
        ("subseed_strength", json!({"subseed_strength": 0.5})),
        ("sd_model_checkpoint", json!({"override_settings": {"sd_model_checkpoint": "sd15"}})),
        ("randn_source", json!({"override_settings": {"randn_source": "dice"}})),
    ];
    for (field, body) in cases {
        let answer = server.post(&body).await;
        assert_eq!(answer.status(), 422, "{body}");
        let told: Value = answer.json().await.unwrap();
        assert_eq!(told["detail"][0]["loc"], json!(["body", field]), "{body}");
    }
    assert_eq!(server.post(&json!({"sampler_name": "Karl"})).await.status(), 400);
    let raw =
        |body: &str| http().post(format!("{}/sdapi/v1/txt2img", server.url)).body(body.to_owned()).send();
    assert_eq!(raw("{").await.unwrap().status(), 422);
    assert_eq!(raw("[]").await.unwrap().status(), 422);
    assert_eq!(raw(&" ".repeat(300_000)).await.unwrap().status(), 413);
}

#[tokio::test]
async fn basic_auth_lets_only_the_right_ones_in() {
    let credentials = Some(Credentials::new("user", "secret"));
    let settings = ServerSettings { credentials: credentials.clone(), ..ServerSettings::default() };
    let server = Running::start(Arc::new(Painter::new()), settings).await;
    let refused = server.post(&json!({})).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Basic");

    let with = |credentials| {
        Txt2ImgClient::new(Txt2ImgSettings { credentials, ..Txt2ImgSettings::new(&server.url) }).unwrap()
    };
    with(credentials).generate(&request(1), &Job::default()).await.unwrap();
    for wrong in [None, Some(Credentials::new("user", "Secret")), Some(Credentials::new("", ""))] {
        let error = with(wrong).generate(&request(1), &Job::default()).await.unwrap_err();
        assert!(matches!(error, ModelError::Misconfigured(_)), "{error}");
    }
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once_and_one_job_runs_at_a_time() {
    let model = Held::new();
    let settings = ServerSettings { queue: 2, ..ServerSettings::default() };
    let server = Running::start(model.clone(), settings).await;
    let tasks = TaskTracker::new();
    let mut waiting = Vec::new();
    for seed in 0..3 {
        // Clients of their own: the queue to be filled is the server's.
        let client = server.client();
        waiting.push(tasks.spawn(async move { client.generate(&request(seed), &Job::default()).await }));
        if seed == 0 {
            model.started.notified().await;
        }
    }
    while server.get("/internal/pending-tasks").await["size"] != 2 {
        tokio::task::yield_now().await;
    }
    let answer = server.post(&json!({"width": 64, "height": 64})).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let error = server.client().generate(&request(9), &Job::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Busy { retry_after } if retry_after >= Duration::from_secs(1)));

    model.go.add_permits(3);
    for job in waiting {
        job.await.unwrap().unwrap();
    }
    assert_eq!(model.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_its_job_along() {
    let model = Held::new();
    let server = Running::start(model.clone(), ServerSettings::default()).await;
    let tasks = TaskTracker::new();
    let (first, second) = (server.client(), server.client());
    let running = tasks.spawn(async move { first.generate(&request(1), &Job::default()).await });
    model.started.notified().await;
    let queued = tasks.spawn(async move { second.generate(&request(2), &Job::default()).await });
    while server.get("/internal/pending-tasks").await["size"] != 1 {
        tokio::task::yield_now().await;
    }
    queued.abort();
    while server.get("/internal/pending-tasks").await["size"] != 0 {
        tokio::task::yield_now().await;
    }
    running.abort();
    model.cancelled.notified().await;

    // The slot is free again.
    model.go.add_permits(1);
    server.client().generate(&request(3), &Job::default()).await.unwrap();
}

#[tokio::test]
async fn interrupt_ends_what_runs_and_progress_shows_it() {
    let settings = ServerSettings { delay: Duration::from_secs(600), ..ServerSettings::default() };
    let server = Running::start(Arc::new(Painter::new()), settings).await;
    let client = server.client();
    let tasks = TaskTracker::new();
    let job = tasks.spawn(async move { client.generate(&request(1), &Job::default()).await });
    while server.get("/sdapi/v1/progress").await["state"]["job"] != "txt2img" {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get("/sdapi/v1/progress").await["state"]["sampling_steps"], 20);
    http().post(format!("{}/sdapi/v1/interrupt", server.url)).send().await.unwrap();
    assert!(matches!(job.await.unwrap(), Err(ModelError::Unavailable(_))));
}

#[tokio::test]
async fn a_delay_is_spent_and_a_task_can_be_followed() {
    let delay = Duration::from_millis(60);
    let server =
        Running::start(Arc::new(Painter::new()), ServerSettings { delay, ..ServerSettings::default() }).await;
    let start = tokio::time::Instant::now();
    let body = json!({"width": 64, "height": 64, "steps": 3, "force_task_id": "task(1)"});
    let (answer, ()) = tokio::join!(server.post(&body), async {
        let url = format!("{}/internal/progress", server.url);
        loop {
            let told: Value = http()
                .post(&url)
                .json(&json!({"id_task": "task(1)"}))
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            if told["active"] == true {
                break;
            }
        }
    });
    assert_eq!(answer.status(), 200);
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn a_server_that_shuts_down_lets_jobs_end() {
    let model = Held::new();
    let server = Running::start(model.clone(), ServerSettings::default()).await;
    let (client, tasks) = (server.client(), TaskTracker::new());
    let job = tasks.spawn(async move { client.generate(&request(1), &Job::default()).await });
    model.started.notified().await;
    server.stop.cancel();
    model.go.add_permits(1);
    job.await.unwrap().unwrap();
    server.tasks.close();
    server.tasks.wait().await;
    let error = server.client().generate(&request(2), &Job::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable(_)), "{error}");
}

/// A backend that gives one answer to every generation, and a list of one checkpoint.
async fn backend(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    answer: Value,
) -> (String, DropGuard) {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    let generate = axum::routing::post(async move || {
        let mut response = (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
    });
    let list =
        json!([{"title": "sd15.safetensors [6ce0161689]", "model_name": "sd15", "hash": "6ce0161689"}]);
    let router = axum::Router::new()
        .route("/sdapi/v1/txt2img", generate)
        .route("/sdapi/v1/sd-models", axum::routing::get(async || axum::Json(list)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    TaskTracker::new().spawn(async move {
        axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await.unwrap();
    });
    (url, stop.drop_guard())
}

fn png(width: u32, height: u32) -> String {
    BASE64
        .encode(encode::encode(&vec![9; (width * height * 4) as usize], width, height, Format::Png).unwrap())
}

fn answer(images: &[String], info: &Value) -> Value {
    json!({"images": images, "parameters": {}, "info": info.to_string()})
}

#[tokio::test]
async fn a_silently_replaced_checkpoint_is_noticed() {
    for (hash, right) in
        [("6ce0161689", true), ("6CE0161689abcdef", true), ("ffffffffff", false), ("", false)]
    {
        let told = answer(&[png(128, 64)], &json!({"sd_model_hash": hash}));
        let (url, _guard) = backend(200, &[], told).await;
        let settings = Txt2ImgSettings { model: Some("sd15".into()), ..Txt2ImgSettings::new(url) };
        let result = Txt2ImgClient::new(settings).unwrap().generate(&request(1), &Job::default()).await;
        assert_eq!(result.is_ok(), right, "{hash:?}: {result:?}");
        assert!(right || matches!(result, Err(ModelError::Misconfigured(_))));
    }
    let (url, _guard) = backend(200, &[], answer(&[png(128, 64)], &json!({}))).await;
    let settings = Txt2ImgSettings { model: Some("unheard of".into()), ..Txt2ImgSettings::new(url) };
    let result = Txt2ImgClient::new(settings).unwrap().generate(&request(1), &Job::default()).await;
    assert!(matches!(result, Err(ModelError::Misconfigured(_))));
}

#[tokio::test]
async fn a_grid_in_front_is_skipped_and_a_data_url_understood() {
    let images = [png(64, 64), format!("data:image/png;base64,{}", png(128, 64))];
    let (url, _guard) = backend(200, &[], answer(&images, &json!({"index_of_first_image": 1}))).await;
    let client = Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap();
    let picture = client.generate(&request(1), &Job::default()).await.unwrap();
    assert_eq!(encode::dimensions(&picture.bytes).unwrap(), (128, 64));
    assert_eq!(Format::sniff(&picture.bytes), Some(Format::Jpeg));
}

#[tokio::test]
async fn every_refusal_has_its_meaning() {
    let error = |error: &str| json!({"error": error, "detail": "why", "body": "", "errors": ""});
    type Check = fn(&ModelError) -> bool;
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(u16, Headers, Value, Check); 10] = [
        (
            503,
            &[("retry-after", "9")],
            error("Busy"),
            |e| matches!(e, ModelError::Busy { retry_after } if retry_after.as_secs() == 9),
        ),
        (429, &[("retry-after", "2")], error(""), |e| matches!(e, ModelError::Busy { .. })),
        (503, &[], error(""), |e| matches!(e, ModelError::Unavailable(_))),
        (500, &[], error("OutOfMemoryError"), |e| matches!(e, ModelError::OutOfMemory)),
        (500, &[], error("ValueError"), |e| matches!(e, ModelError::Internal(_))),
        (422, &[], error(""), |e| matches!(e, ModelError::Invalid(why) if why == "why")),
        (401, &[], error(""), |e| matches!(e, ModelError::Misconfigured(_))),
        (404, &[], error(""), |e| matches!(e, ModelError::Misconfigured(_))),
        (302, &[("location", "http://127.0.0.1:1/")], error(""), |e| {
            matches!(e, ModelError::Misconfigured(_))
        }),
        (502, &[], json!("<html>"), |e| matches!(e, ModelError::Unavailable(_))),
    ];
    for (status, headers, body, check) in cases {
        let (url, _guard) = backend(status, headers, body.clone()).await;
        let client = Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap();
        let error = client.generate(&request(1), &Job::default()).await.unwrap_err();
        assert!(check(&error), "{status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn broken_answers_are_failures() {
    let jpeg = BASE64.encode(b"\xFF\xD8\xFF\xE0 and nothing more");
    let cases = [
        json!({"images": [], "info": "{}"}),
        json!({"images": ["!!!"], "info": "{}"}),
        json!({"images": [png(64, 64)], "info": "{}"}),
        json!({"images": [jpeg], "info": "{}"}),
        json!({"images": [png(128, 64)], "info": "not json"}),
        json!({"images": [png(128, 64)], "info": "{\"index_of_first_image\": 7}"}),
        json!({}),
        json!("text"),
    ];
    for body in cases {
        let (url, _guard) = backend(200, &[], body.clone()).await;
        let client = Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap();
        let error = client.generate(&request(1), &Job::default()).await.unwrap_err();
        assert!(matches!(error, ModelError::Internal(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error =
        Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap().generate(&request(1), &Job::default()).await;
    assert!(matches!(error, Err(ModelError::Unavailable(_))), "{error:?}");
    for url in ["", "localhost:7860", "ftp://x/", "http://"] {
        let error = Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap_err();
        assert!(matches!(error, ModelError::Misconfigured(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_refused() {
    for (info, right) in [
        (json!({"seed": 1, "steps": 20}), true),
        (json!({"seed": 2, "steps": 20}), false),
        (json!({"seed": 1, "steps": 50}), false),
        (json!({}), true),
    ] {
        let (url, _guard) = backend(200, &[], answer(&[png(128, 64)], &info)).await;
        let result = Txt2ImgClient::new(Txt2ImgSettings::new(url)).unwrap();
        let result = result.generate(&request(1), &Job::default()).await;
        assert_eq!(result.is_ok(), right, "{info}: {result:?}");
        assert!(right || matches!(result, Err(ModelError::Internal(_))));
    }
}

#[tokio::test]
async fn one_job_at_a_time_goes_to_a_backend_and_a_cancelled_one_is_taken_back() {
    let model = Held::new();
    let server = Running::start(model.clone(), ServerSettings::default()).await;
    let settings = PoolSettings { queue: 0, ..PoolSettings::new(vec![Txt2ImgSettings::new(&server.url)]) };
    let pool = Arc::new(Txt2ImgPool::new(settings).unwrap());
    let (job, tasks) = (Job::default(), TaskTracker::new());
    let (shared, first) = (pool.clone(), job.clone());
    let running = tasks.spawn(async move { shared.generate(&request(1), &first).await });
    model.started.notified().await;
    assert_eq!(pool.queue().unwrap().backends[0].in_flight, 1);
    assert!(matches!(pool.generate(&request(2), &Job::default()).await, Err(ModelError::Busy { .. })));
    job.cancel();
    assert!(matches!(running.await.unwrap(), Err(ModelError::Cancelled)));
    model.cancelled.notified().await;
    // Its place is free once the server has let go of it.
    while pool.queue().unwrap().backends[0].in_flight > 0 {
        tokio::task::yield_now().await;
    }
    model.go.add_permits(1);
    pool.generate(&request(3), &Job::default()).await.unwrap();
}

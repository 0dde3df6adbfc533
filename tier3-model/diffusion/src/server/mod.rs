//! A txt2img server over any [`ImageModel`]: the API of the Stable Diffusion web UI, so that its
//! clients work unchanged.
//!
//! Differences from the web UI, all on purpose: the queue is bounded and says when to come back;
//! a client that hangs up takes its job with it; what cannot be done is refused rather than
//! ignored (an unknown checkpoint, scripts, high-resolution passes, styles).

mod auth;
mod call;
mod fault;
mod jobs;
mod menu;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;
use crate::model::ImageModel;
use fault::Fault;
use jobs::Jobs;

/// Largest request body: prompts, names and settings fit many times over.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// How long running jobs may take to end after a shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// Reads the body of a txt2img request, with how many pictures it asks for.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_call(body: &[u8]) -> Option<(crate::Txt2Img, u32)> {
    use crate::ImageModel as _;
    let card = crate::painter::Painter::new().card();
    let object = jobs::read_object(Ok(bytes::Bytes::copy_from_slice(body))).ok()?;
    call::Call::read(&object, &card, 4).ok().map(|call| (call.request, call.pictures))
}

/// What an operator chooses about a txt2img server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Jobs that run at the same time, at least 1. One is right for a GPU.
    pub slots: usize,
    /// Jobs that wait for a slot; beyond, clients get 503 with `Retry-After`.
    pub queue: usize,
    /// Most pictures of one request (`batch_size` × `n_iter`), at least 1.
    pub batch_max: u32,
    /// Extra time every picture takes, to see how slow models behave. Usually zero.
    pub delay: Duration,
    /// If set, HTTP Basic credentials that every request must carry.
    pub credentials: Option<Credentials>,
}

impl Default for ServerSettings {
    /// One slot, 64 waiting, batches of up to 4, no delay, open to whoever can connect.
    fn default() -> Self {
        Self { slots: 1, queue: 64, batch_max: 4, delay: Duration::ZERO, credentials: None }
    }
}

/// The server's parts; cheap to clone.
#[derive(Clone)]
pub struct Server {
    jobs: Arc<Jobs>,
    credentials: Option<Arc<Credentials>>,
}

impl Server {
    /// A server over `model`.
    #[must_use]
    pub fn new(model: Arc<dyn ImageModel>, settings: &ServerSettings) -> Self {
        Self { jobs: Jobs::new(model, settings), credentials: settings.credentials.clone().map(Arc::new) }
    }

    /// The routes, for nesting into another server.
    pub fn router(&self) -> Router {
        let credentials = self.credentials.clone();
        Router::new()
            .route("/sdapi/v1/txt2img", post(jobs::txt2img))
            .route("/sdapi/v1/progress", get(jobs::progress))
            .route("/sdapi/v1/interrupt", post(jobs::interrupt))
            .route("/sdapi/v1/skip", post(jobs::interrupt))
            .route("/sdapi/v1/sd-models", get(menu::models))
            .route("/sdapi/v1/samplers", get(menu::samplers))
            .route("/sdapi/v1/schedulers", get(menu::schedulers))
            .route("/sdapi/v1/options", get(menu::options).post(menu::set_options))
            .route("/sdapi/v1/memory", get(menu::memory))
            .route("/internal/ping", get(menu::ping))
            .route("/internal/pending-tasks", get(jobs::pending_tasks))
            .route("/internal/progress", post(jobs::task_progress))
            .fallback(async || Fault::no_such_route(StatusCode::NOT_FOUND))
            .method_not_allowed_fallback(async || Fault::no_such_route(StatusCode::METHOD_NOT_ALLOWED))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(credentials, auth::check))
            .layer(middleware::from_fn(time_process))
            .with_state(Arc::clone(&self.jobs))
    }

    /// Serves on `listener` until `shutdown` is cancelled, then lets running jobs end for up to
    /// ten seconds and cancels the rest.
    ///
    /// # Errors
    /// The listener's, if accepting fails for good.
    ///
    /// # Cancellation
    /// Dropping the future closes the listener; connections already open go on.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let asked = shutdown.clone();
        let router = self.router().into_make_service_with_connect_info::<SocketAddr>();
        let serving =
            axum::serve(listener, router).with_graceful_shutdown(async move { asked.cancelled().await });
        let late = async {
            shutdown.cancelled().await;
            self.jobs.refuse_new();
            tokio::time::sleep(DRAIN).await;
        };
        let result = tokio::select! {
            biased;
            result = serving.into_future() => result,
            () = late => Ok(()),
        };
        self.jobs.end().await;
        result
    }
}

/// Serves `model` on `listener` by `settings` until `shutdown` is cancelled.
///
/// # Errors
/// As [`Server::serve`].
pub async fn serve(
    listener: TcpListener,
    model: Arc<dyn ImageModel>,
    settings: &ServerSettings,
    shutdown: CancellationToken,
) -> io::Result<()> {
    Server::new(model, settings).serve(listener, shutdown).await
}

/// Adds `X-Process-Time`, seconds with four decimals: a free sample of the service time.
async fn time_process(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&format!("{:.4}", start.elapsed().as_secs_f64())) {
        response.headers_mut().insert("x-process-time", value);
    }
    response
}

/// The state every handler gets.
type Shared = State<Arc<Jobs>>;

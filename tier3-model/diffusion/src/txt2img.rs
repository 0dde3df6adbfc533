//! A client of the txt2img API: of the Stable Diffusion web UI and those that speak like it, or
//! of our own [`server`](crate::server).
//!
//! It pins whatever would make pictures depend on the other side's settings, checks that the
//! model asked for is the one that answered, and gives pictures on without their metadata, which
//! would tell the prompt. It neither queues nor retries: that is for the [pool](crate::Txt2ImgPool), which
//! knows who else could be asked.

mod answer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fallthrough_object::{Mutant, planted};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::credentials::Credentials;
use crate::encode::Format;
use crate::model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
use crate::pool::Sign;
use crate::request::Txt2Img;

#[cfg(feature = "fuzzing")]
pub(crate) use self::answer::read_answer;
use self::answer::{Answer, Info, check_echo, check_model, first, parse, picture, refused};

/// Largest answer that is read: a batch of four uncompressed megapixels in base64.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often it is looked whether a job that nobody waits for has stopped. A server that notices that its client hung up
/// has stopped it by the second look.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What an operator chooses about a txt2img backend.
#[derive(Clone, Debug)]
pub struct Txt2ImgSettings {
    /// Where it listens, such as `http://127.0.0.1:7860`; a path in front of `/sdapi` is kept.
    pub url: String,
    /// HTTP Basic credentials, if it asks for any.
    pub credentials: Option<Credentials>,
    /// The checkpoint to pin, by the name or title it has in the backend's list.
    pub model: Option<String>,
    /// The encoding asked of the backend; `None` asks for the caller's. [`Format::Png`] avoids
    /// compressing twice where the backend writes metadata into its files.
    pub transfer: Option<Format>,
    /// Longest time for connecting.
    pub connect_timeout: Duration,
    /// Longest time for a generation, where nobody says another.
    pub generation_timeout: Duration,
}

impl Txt2ImgSettings {
    /// The usual settings for the backend at `url`: whichever checkpoint is loaded, 2 s to connect, 60 s to generate.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            model: None,
            transfer: None,
            connect_timeout: Duration::from_secs(2),
            generation_timeout: Duration::from_secs(60),
        }
    }
}

/// A txt2img backend as an [`ImageModel`].
#[derive(Debug)]
pub struct Txt2ImgClient {
    http: Client,
    settings: Txt2ImgSettings,
    base: Url,
    /// The hash of the pinned checkpoint, once the backend's list was read.
    pinned_hash: OnceCell<String>,
    /// Whether it has no /sdapi/v1/progress, as stable-diffusion.cpp's server.
    tells_no_progress: AtomicBool,
    /// Whether it has told what it has loaded: its options are long, and are asked for until then.
    told_loaded: AtomicBool,
}

/// Why a backend gave no picture: what a pool goes by when it looks for another one.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It cannot be reached, or the connection broke.
    Unreachable(String),
    /// It took too long; it may still be at it.
    TimedOut(String),
    /// It has not got the checkpoint, or used another one.
    LacksModel(String),
    /// Anything else.
    Told(ModelError),
}

impl From<ModelError> for Trouble {
    fn from(error: ModelError) -> Self {
        Self::Told(error)
    }
}

impl From<Trouble> for ModelError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreachable(why) | Trouble::TimedOut(why) => Self::Unavailable(why),
            Trouble::LacksModel(why) => Self::Misconfigured(why),
            Trouble::Told(error) => error,
        }
    }
}

/// A picture, and what its backend calls the checkpoint that made it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) picture: Picture,
    /// The hash, or the name where there is no hash; empty if neither is told.
    pub(crate) identity: String,
}

/// A row of the backend's list of checkpoints.
#[derive(Deserialize)]
struct Checkpoint {
    title: String,
    model_name: String,
    hash: Option<String>,
}

impl Txt2ImgClient {
    /// A client for the backend of `settings`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ModelError::Misconfigured`] if the URL is not an absolute http or https URL.
    pub fn new(settings: Txt2ImgSettings) -> Result<Self, ModelError> {
        let wrong = |what: String| ModelError::Misconfigured(format!("{:?}: {what}", settings.url));
        let mut base = Url::parse(&settings.url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(wrong("an http:// or https:// address is expected".to_owned()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may install one in between; then that one is used.
            let _lost_the_race = rustls::crypto::ring::default_provider().install_default();
        }
        let http = Client::builder()
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // A model is addressed directly: a proxy from the environment would break loopback.
            .no_proxy()
            .user_agent(concat!("fallthrough/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let (tells_no_progress, told_loaded) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { http, base, settings, pinned_hash: OnceCell::new(), tells_no_progress, told_loaded })
    }

    /// Where the backend is, without credentials that stand in the URL.
    #[must_use]
    pub fn address(&self) -> String {
        let mut bare = self.base.clone();
        // Both can fail only for addresses without a host, which `new` has refused.
        let _no_host = bare.set_password(None).and_then(|()| bare.set_username(""));
        bare.as_str().trim_end_matches('/').to_owned()
    }

    /// Asks the backend for a sign of life, without making it render a preview: what it works on, and which checkpoint
    /// it has loaded if it has not told that before. stable-diffusion.cpp's server,
    /// which has no progress, is asked for its options instead.
    ///
    /// # Errors
    /// As [`ImageModel::generate`], without `Busy`.
    pub async fn probe(&self) -> Result<Sign, ModelError> {
        if !self.tells_no_progress.load(Ordering::Relaxed) {
            match self.fetch("sdapi/v1/progress?skip_current_image=true").await {
                Ok(progress) => return self.sign(&progress).await,
                // Not there; if the options are not there either, it has no API at all.
                Err(Trouble::Told(ModelError::Misconfigured(_))) => {}
                Err(trouble) => return Err(trouble.into()),
            }
        }
        let loaded = self.loaded().await?;
        self.tells_no_progress.store(true, Ordering::Relaxed);
        Ok(Sign { jobs: 0, loaded, progress: None })
    }

    async fn sign(&self, progress: &Value) -> Result<Sign, ModelError> {
        let done = progress["progress"].as_f64();
        let done = done.ok_or_else(|| ModelError::Internal("progress without a number".to_owned()))?;
        let state = &progress["state"];
        let jobs = match state["queue_length"].as_u64() {
            // Our own server counts.
            Some(queue) => state["job_count"].as_u64().unwrap_or_default() + queue,
            // In the web UI `job_count` is of the pictures of one job.
            None => u64::from(state["job"].as_str().is_some_and(|job| !job.is_empty())),
        };
        let loaded = match self.told_loaded.load(Ordering::Relaxed) {
            true => None,
            false => self.loaded().await.ok().flatten(),
        };
        self.told_loaded.fetch_or(loaded.is_some(), Ordering::Relaxed);
        Ok(Sign { jobs: u32::try_from(jobs).unwrap_or(u32::MAX), loaded, progress: Some(done as f32) })
    }

    /// The checkpoint that is loaded, as the backend calls it.
    async fn loaded(&self) -> Result<Option<Arc<str>>, Trouble> {
        let options: Value = self.fetch("sdapi/v1/options").await?;
        Ok(options["sd_model_checkpoint"].as_str().map(Arc::from))
    }

    /// The titles of the backend's checkpoints.
    ///
    /// # Errors
    /// As [`ImageModel::generate`], without `Busy`.
    pub async fn checkpoints(&self) -> Result<Vec<String>, ModelError> {
        Ok(self.list().await?.into_iter().map(|row| row.title).collect())
    }

    /// A small GET, read as JSON.
    async fn fetch<T: for<'a> Deserialize<'a>>(&self, path: &str) -> Result<T, Trouble> {
        let request = self.http.get(self.at(path)?).timeout(self.settings.connect_timeout * 5);
        Ok(parse(&self.send(request).await?)?)
    }

    async fn list(&self) -> Result<Vec<Checkpoint>, Trouble> {
        self.fetch("sdapi/v1/sd-models").await
    }

    /// Sees to it that the backend does not go on with the job that was sent as `task`, after the connection was given
    /// up: the web UI does not notice. What runs is interrupted, what waits is waited for, as long as `patience`. Returns
    /// when the backend does not have it any more, or does not tell.
    pub(crate) async fn stop(&self, task: &str, patience: Duration) {
        let looks = async {
            let mut seen = false;
            loop {
                let Ok(url) = self.at("internal/progress") else { return };
                let body = json!({"id_task": task, "live_preview": false});
                let look = self.http.post(url).timeout(self.settings.connect_timeout * 5).json(&body);
                let Ok(answer) = self.send(look).await else { return };
                let Ok(told) = parse::<Value>(&answer) else { return };
                let (active, queued) = (told["active"] == true, told["queued"] == true);
                if !active && !queued {
                    return;
                }
                // Interrupting stops whatever runs, so it must be ours; and one that notices by itself needs it not.
                if active && seen {
                    let Ok(url) = self.at("sdapi/v1/interrupt") else { return };
                    let call = self.http.post(url).timeout(self.settings.connect_timeout * 5);
                    if self.send(call).await.is_err() {
                        return;
                    }
                }
                seen = true;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(patience, looks).await.is_err() {
            tracing::warn!(backend = self.address(), "a job that nobody waits for goes on");
        }
    }

    fn at(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Misconfigured(error.to_string()))
    }

    /// The hash of the checkpoint `wanted`, from the backend's list.
    async fn hash_of(&self, wanted: &str) -> Result<String, Trouble> {
        let list = self.list().await?;
        let found = list.into_iter().find(|row| row.title == wanted || row.model_name == wanted);
        let row = found.ok_or_else(|| {
            Trouble::LacksModel(format!(
                "the backend has no checkpoint {wanted:?}; see its /sdapi/v1/sd-models"
            ))
        })?;
        row.hash.filter(|hash| !hash.is_empty()).ok_or_else(|| {
            // The web UI hashes a checkpoint when it first loads it.
            Trouble::LacksModel(format!("the backend tells no hash of {wanted:?}; load it there once"))
        })
    }

    /// The checkpoint to ask for and the hash to expect.
    async fn pinned(&self, request: &Txt2Img) -> Result<Option<(String, String)>, Trouble> {
        let wanted = match (request.model.as_str(), &self.settings.model) {
            ("", None) => return Ok(None),
            ("", Some(model)) => model,
            (model, Some(pinned)) if model == pinned => pinned,
            (model, _) => return Ok(Some((model.to_owned(), self.hash_of(model).await?))),
        };
        let hash = self.pinned_hash.get_or_try_init(|| self.hash_of(wanted)).await?;
        Ok(Some((wanted.clone(), hash.clone())))
    }

    /// One job: `task` is what the backend is to call it, `wish` the encoding of the picture.
    ///
    /// # Cancellation
    /// Dropping the future closes the connection; [`Txt2ImgClient::stop`] sees to the rest.
    pub(crate) async fn ask(
        &self,
        request: &Txt2Img,
        wish: Format,
        task: Option<&str>,
        timeout: Duration,
    ) -> Result<Made, Trouble> {
        let pinned = self.pinned(request).await?;
        let format = self.settings.transfer.unwrap_or(wish);
        let mut body = body(request, pinned.as_ref().map(|(model, _)| model.as_str()), format);
        if let Some(task) = task {
            body["force_task_id"] = task.into();
        }
        let call = self.http.post(self.at("sdapi/v1/txt2img")?).timeout(timeout).json(&body);
        let answer: Answer = parse(&self.send(call).await?)?;
        let info: Info = parse(answer.info.as_bytes())?;
        check_echo(&info, request)?;
        if let Some((model, expected)) = &pinned
            && !planted(Mutant::AnsweredModelUnchecked)
        {
            check_model(&info, model, expected)?;
        }
        let image = first(&answer, info.index_of_first_image)?;
        let (bytes, format) = picture(image, request, wish)?;
        let version = info.version.unwrap_or_default();
        let hash = info.sd_model_hash.unwrap_or_default();
        let identity = if hash.is_empty() { info.sd_model_name.unwrap_or_default() } else { hash.clone() };
        let fingerprint = Fingerprint { engine: "txt2img".to_owned(), version, model_hash: hash };
        Ok(Made { picture: Picture { bytes, format, fingerprint }, identity })
    }

    /// Sends `request` and reads a successful answer.
    async fn send(&self, request: RequestBuilder) -> Result<Bytes, Trouble> {
        let request = match &self.settings.credentials {
            Some(credentials) => request.basic_auth(credentials.user(), Some(credentials.password())),
            None => request,
        };
        let response = request.send().await.map_err(broken_off)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = read(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(refused(status, retry_after, &body).into())
    }
}

#[async_trait]
impl ImageModel for Txt2ImgClient {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        request.validate().map_err(|invalid| ModelError::Invalid(invalid.to_string()))?;
        let timeout = self.settings.generation_timeout;
        let picture = tokio::select! {
            biased;
            () = job.cancelled() => Err(ModelError::Cancelled),
            made = self.ask(request, job.format, None, timeout) => Ok(made?.picture),
        };
        job.report(1.0);
        picture
    }

    fn card(&self) -> ModelCard {
        ModelCard {
            name: self.settings.model.clone().unwrap_or_else(|| "txt2img".to_owned()),
            fingerprint: Fingerprint {
                engine: "txt2img".to_owned(),
                version: String::new(),
                model_hash: self.pinned_hash.get().cloned().unwrap_or_default(),
            },
            samplers: ["DPM++ 2M", "Euler", "Euler a", "DDIM", "LCM"].map(str::to_owned).into(),
            schedulers: ["Automatic", "Karras"].map(str::to_owned).into(),
        }
    }
}

/// The request's JSON. Settings that change pictures are pinned, and restored afterwards.
pub(crate) fn body(request: &Txt2Img, model: Option<&str>, format: Format) -> Value {
    let mut settings = json!({
        "samples_format": format.extension(),
        "randn_source": request.noise.name(),
        "CLIP_stop_at_last_layers": 1,
        "eta_noise_seed_delta": 0,
        "sd_vae": "Automatic",
    });
    if let Some(model) = model {
        settings["sd_model_checkpoint"] = model.into();
    }
    let mut body = json!({
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        // Never −1, which would leave the choice to the backend.
        "seed": request.seed,
        "subseed_strength": 0,
        "sampler_name": request.sampler,
        "steps": request.steps,
        "cfg_scale": request.guidance(),
        "width": request.width,
        "height": request.height,
        "batch_size": 1,
        "n_iter": 1,
        "send_images": true,
        "save_images": false,
        "override_settings": settings,
        "override_settings_restore_afterwards": true,
    });
    if !request.scheduler.is_empty() {
        body["scheduler"] = request.scheduler.as_str().into();
    }
    body
}

/// What a request that got no whole answer means. The URL is left out of messages: it may carry a password.
fn broken_off(error: reqwest::Error) -> Trouble {
    let timed_out = error.is_timeout() && !error.is_connect();
    let why = chain(&error.without_url());
    if timed_out { Trouble::TimedOut(why) } else { Trouble::Unreachable(why) }
}

async fn read(mut response: Response) -> Result<Bytes, Trouble> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(broken_off)? else { return Ok(body.into()) };
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let why = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
            return Err(ModelError::Internal(why).into());
        }
        body.extend_from_slice(&chunk);
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let secs = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// An error with its causes on one line: the outer one alone says "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

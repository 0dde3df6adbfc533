//! A client of the txt2img API: of the Stable Diffusion web UI and those that speak like it, or
//! of our own [`server`](crate::server).
//!
//! It pins whatever would make pictures depend on the other side's settings, checks that the
//! model asked for is the one that answered, and gives pictures on without their metadata, which
//! would tell the prompt. It does not retry: who has several backends knows where to go next.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::admission::Gate;
use crate::credentials::Credentials;
use crate::encode::{self, Format};
use crate::model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
use crate::request::Txt2Img;

/// Largest answer that is read: a batch of four uncompressed megapixels in base64.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest part of an error's text that is passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// What an operator chooses about a txt2img backend.
#[derive(Clone, Debug)]
pub struct Txt2ImgSettings {
    /// Where it listens, such as `http://127.0.0.1:7860`; a path in front of `/sdapi` is kept.
    pub url: String,
    /// HTTP Basic credentials, if it asks for any.
    pub credentials: Option<Credentials>,
    /// The checkpoint to pin, by the name or title it has in the backend's list.
    pub model: Option<String>,
    /// Jobs in flight, 1 to 2: the backend works on one at a time, a second one hides the gap.
    pub in_flight: usize,
    /// Callers waiting for one of those; beyond, they get [`ModelError::Busy`].
    pub queue: usize,
    /// The encoding asked of the backend; `None` asks for the caller's. [`Format::Png`] avoids
    /// compressing twice where the backend writes metadata into its files.
    pub transfer: Option<Format>,
    /// Longest time for connecting.
    pub connect_timeout: Duration,
    /// Least time a generation gets; the limit is five times the measured average if that is more.
    pub generation_timeout_min: Duration,
}

impl Txt2ImgSettings {
    /// The usual settings for the backend at `url`: one in flight, 64 waiting, 2 s to connect,
    /// 60 s or more to generate.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            model: None,
            in_flight: 1,
            queue: 64,
            transfer: None,
            connect_timeout: Duration::from_secs(2),
            generation_timeout_min: Duration::from_secs(60),
        }
    }
}

/// A txt2img backend as an [`ImageModel`].
#[derive(Debug)]
pub struct Txt2ImgClient {
    http: Client,
    settings: Txt2ImgSettings,
    base: Url,
    gate: Arc<Gate>,
    /// The hash of the pinned checkpoint, once the backend's list was read.
    pinned_hash: OnceCell<String>,
}

/// A txt2img answer, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    images: Vec<String>,
    info: String,
}

/// The `info` of an answer.
#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    index_of_first_image: usize,
    #[serde(default)]
    sd_model_hash: Option<String>,
    #[serde(default)]
    version: Option<String>,
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
        let gate = Gate::new(settings.in_flight.clamp(1, 2), settings.queue);
        Ok(Self { http, base, gate, settings, pinned_hash: OnceCell::new() })
    }

    /// Slots and queue in front of the backend, for metrics.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Asks the backend how far its current job is, 0.0 to 1.0, without making it render a
    /// preview: a cheap sign of life.
    ///
    /// # Errors
    /// As [`ImageModel::generate`], without `Busy`.
    pub async fn probe(&self) -> Result<f32, ModelError> {
        let timeout = self.settings.connect_timeout * 5;
        let request = self.http.get(self.at("sdapi/v1/progress?skip_current_image=true")?).timeout(timeout);
        let body = self.send(request).await?;
        let progress: Value = parse(&body)?;
        progress["progress"]
            .as_f64()
            .map(|done| done as f32)
            .ok_or_else(|| ModelError::Internal("progress without a number".to_owned()))
    }

    fn at(&self, path: &str) -> Result<Url, ModelError> {
        self.base.join(path).map_err(|error| ModelError::Misconfigured(error.to_string()))
    }

    /// The hash of the checkpoint `wanted`, from the backend's list.
    async fn hash_of(&self, wanted: &str) -> Result<String, ModelError> {
        let request =
            self.http.get(self.at("sdapi/v1/sd-models")?).timeout(self.settings.connect_timeout * 5);
        let list: Vec<Checkpoint> = parse(&self.send(request).await?)?;
        let found = list.into_iter().find(|row| row.title == wanted || row.model_name == wanted);
        let row = found.ok_or_else(|| {
            ModelError::Misconfigured(format!(
                "the backend has no checkpoint {wanted:?}; see its /sdapi/v1/sd-models"
            ))
        })?;
        row.hash.filter(|hash| !hash.is_empty()).ok_or_else(|| {
            // The web UI hashes a checkpoint when it first loads it.
            ModelError::Misconfigured(format!("the backend tells no hash of {wanted:?}; load it there once"))
        })
    }

    /// The checkpoint to ask for and the hash to expect.
    async fn pinned(&self, request: &Txt2Img) -> Result<Option<(String, String)>, ModelError> {
        let wanted = match (request.model.as_str(), &self.settings.model) {
            ("", None) => return Ok(None),
            ("", Some(model)) => model,
            (model, Some(pinned)) if model == pinned => pinned,
            (model, _) => return Ok(Some((model.to_owned(), self.hash_of(model).await?))),
        };
        let hash = self.pinned_hash.get_or_try_init(|| self.hash_of(wanted)).await?;
        Ok(Some((wanted.clone(), hash.clone())))
    }

    async fn ask(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        let pinned = self.pinned(request).await?;
        let format = self.settings.transfer.unwrap_or(job.format);
        let body = body(request, pinned.as_ref().map(|(model, _)| model.as_str()), format);
        let average = self.gate.average().unwrap_or_default();
        let timeout = self.settings.generation_timeout_min.max(average * 5);
        let call = self.http.post(self.at("sdapi/v1/txt2img")?).timeout(timeout).json(&body);
        let answer: Answer = parse(&self.send(call).await?)?;
        let info: Info = parse(answer.info.as_bytes())?;
        let hash = info.sd_model_hash.unwrap_or_default();
        if let Some((model, expected)) = pinned
            && !same_hash(&hash, &expected)
        {
            return Err(ModelError::Misconfigured(format!(
                "the backend answered with model {hash:?} instead of {model:?} ({expected})"
            )));
        }
        let (bytes, format) = picture(first(&answer, info.index_of_first_image)?, request, job.format)?;
        let version = info.version.unwrap_or_default();
        let fingerprint = Fingerprint { engine: "txt2img".to_owned(), version, model_hash: hash };
        Ok(Picture { bytes, format, fingerprint })
    }

    /// Sends `request` and reads a successful answer.
    async fn send(&self, request: RequestBuilder) -> Result<Bytes, ModelError> {
        let request = match &self.settings.credentials {
            Some(credentials) => request.basic_auth(credentials.user(), Some(credentials.password())),
            None => request,
        };
        // The URL is left out of messages: it may carry a password.
        let failed = |error: reqwest::Error| ModelError::Unavailable(chain(&error.without_url()));
        let response = request.send().await.map_err(failed)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = read(response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(self.refused(status, retry_after, &body))
    }

    /// What an answer without success means.
    fn refused(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ModelError {
        let told: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = told["error"].as_str().unwrap_or_default();
        let detail = detail(&told["detail"]);
        if error.contains("OutOfMemory")
            || told["errors"].as_str().is_some_and(|text| text.contains("out of memory"))
        {
            return ModelError::OutOfMemory;
        }
        match status.as_u16() {
            401 | 403 => ModelError::Misconfigured(format!("the backend refuses our credentials ({status})")),
            404 => ModelError::Misconfigured(
                "the backend has no txt2img API: start it with its API enabled".to_owned(),
            ),
            400 | 413 | 422 => ModelError::Invalid(detail),
            429 | 503 if retry_after.is_some() || error == "Busy" => {
                ModelError::Busy { retry_after: retry_after.unwrap_or_else(|| self.gate.retry_after()) }
            }
            502..=504 | 429 => ModelError::Unavailable(format!("{status} {detail}")),
            300..=399 => {
                ModelError::Misconfigured(format!("the backend redirects ({status}): set its final address"))
            }
            _ => ModelError::Internal(format!("{status} {error} {detail}")),
        }
    }
}

#[async_trait]
impl ImageModel for Txt2ImgClient {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        request.validate().map_err(|invalid| ModelError::Invalid(invalid.to_string()))?;
        let run = async {
            let pass = self.gate.enter().await?;
            let picture = self.ask(request, job).await?;
            pass.finish();
            Ok(picture)
        };
        let picture = tokio::select! {
            biased;
            () = job.cancelled() => Err(ModelError::Cancelled),
            picture = run => picture,
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

/// The picture of an answer, in base64; those before it are grids.
fn first(answer: &Answer, index: usize) -> Result<&str, ModelError> {
    let image = answer.images.get(index);
    image.map(String::as_str).ok_or_else(|| ModelError::Internal("an answer without a picture".to_owned()))
}

/// Reads an answer as [`Txt2ImgClient`] does, whatever its model.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_answer(body: &[u8], request: &Txt2Img, wish: Format) -> Option<(Bytes, Format)> {
    let answer: Answer = parse(body).ok()?;
    let info: Info = parse(answer.info.as_bytes()).ok()?;
    picture(first(&answer, info.index_of_first_image).ok()?, request, wish).ok()
}

/// Decodes a picture from base64, checks its size, and makes sure that no metadata is left.
fn picture(base64: &str, request: &Txt2Img, wish: Format) -> Result<(Bytes, Format), ModelError> {
    let broken = |what: String| ModelError::Internal(format!("the backend's picture is broken: {what}"));
    let base64 = base64.split_once("base64,").map_or(base64, |(_, data)| data);
    let bytes = BASE64.decode(base64.trim()).map_err(|error| broken(error.to_string()))?;
    let (width, height) = encode::dimensions(&bytes).map_err(|error| broken(error.to_string()))?;
    if (width, height) != (request.width, request.height) {
        return Err(broken(format!("{width}×{height} instead of {}×{}", request.width, request.height)));
    }
    if Format::sniff(&bytes) == Some(wish) && encode::is_bare(&bytes) {
        return Ok((bytes.into(), wish));
    }
    encode::reencode(&bytes, wish).map(|bytes| (bytes, wish)).map_err(|error| broken(error.to_string()))
}

/// Hashes come in ten digits or in full.
fn same_hash(told: &str, expected: &str) -> bool {
    let short = told.len().min(expected.len());
    short >= 8 && told.get(..short).zip(expected.get(..short)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ModelError> {
    serde_json::from_slice(body)
        .map_err(|error| ModelError::Internal(format!("the backend's answer cannot be read: {error}")))
}

async fn read(mut response: Response) -> Result<Bytes, ModelError> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| ModelError::Unavailable(chain(&error.without_url())))? else {
            return Ok(body.into());
        };
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ModelError::Internal(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let secs = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(secs))
}

/// The text of a `detail`, which is a string or a list of what failed to validate.
fn detail(detail: &Value) -> String {
    let text = match detail {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

/// An error with its causes on one line: the outer one alone says "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

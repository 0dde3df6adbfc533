//! Tier 3 on its own: a txt2img server over an engine; and engines for who draws in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_diffusion::painter::{Cast, Painter};
use fallthrough_diffusion::server::{Server, ServerSettings};
use fallthrough_diffusion::{Credentials, ImageModel, ModelCard, PoolSettings, Txt2ImgPool, Txt2ImgSettings};
use fallthrough_object::OsEntropy;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::settings::{CandleSettings, ModelSettings, Secret, Txt2imgSettings};
use crate::wiring::listen;
use crate::wiring::root::random_letters;
use crate::wiring::timed::Timed;

/// A model server to be started.
#[derive(Debug)]
pub(crate) struct ModelPlan {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What draws.
    pub(crate) engine: ModelSettings,
    /// User and password that clients must present.
    pub(crate) basic: Option<(String, Secret)>,
    /// Jobs at a time.
    pub(crate) slots: usize,
    /// Jobs that may wait.
    pub(crate) queue: usize,
    /// Extra time per picture, to see how slow models behave.
    pub(crate) delay: Duration,
}

/// A model server that runs.
#[derive(Debug)]
pub(crate) struct RunningModel {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// User and password that it asks for.
    pub(crate) basic: Option<(String, Secret)>,
    /// What its engine offers, and who makes its pictures.
    pub(crate) card: ModelCard,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// The engine that `settings` describe; its pictures are timed under `name`.
///
/// # Errors
/// The address is none; the weights cannot be read, or are not those of a model that is supported.
///
/// # Cancellation
/// Weights are read to their end in a thread of their own; nothing else goes on.
pub(crate) async fn engine(name: &str, settings: &ModelSettings) -> Result<Arc<dyn ImageModel>, Failure> {
    let model: Arc<dyn ImageModel> = match settings {
        ModelSettings::Painter => Arc::new(Painter::new()),
        ModelSettings::Txt2img(txt2img) => Arc::new(pool(txt2img)?),
        ModelSettings::Candle(candle) => stable_diffusion(candle).await?,
    };
    Ok(Arc::new(Timed::new(name, model)))
}

/// The painter of this cast, timed under the name of its model.
pub(crate) fn painter(cast: Cast) -> Arc<dyn ImageModel> {
    let painter = Painter::of(cast);
    Arc::new(Timed::new(&painter.card().name, Arc::new(painter)))
}

/// What an engine is called that has no name in the settings.
pub(crate) fn kind(settings: &ModelSettings) -> &'static str {
    match settings {
        ModelSettings::Painter => "painter",
        ModelSettings::Txt2img(_) => "txt2img",
        ModelSettings::Candle(_) => "candle",
    }
}

#[cfg(feature = "candle")]
async fn stable_diffusion(settings: &CandleSettings) -> Result<Arc<dyn ImageModel>, Failure> {
    let bounds = (settings.concurrency as usize, settings.queue as usize);
    let model = fallthrough_candle::StableDiffusion::open(&settings.weights, bounds.0, bounds.1).await;
    let model = model.map_err(|error| {
        let mend = "name a folder in diffusers' layout: tokenizer, text_encoder, unet and vae with their config.json \
                    and safetensors";
        Failure::new(format!("the model cannot be used: {error}"), mend)
    })?;
    tracing::info!(fingerprint = %model.card().fingerprint, weights = %settings.weights.display(), "weights are read");
    Ok(Arc::new(model))
}

#[cfg(not(feature = "candle"))]
async fn stable_diffusion(_: &CandleSettings) -> Result<Arc<dyn ImageModel>, Failure> {
    Err(Failure::new(
        "the model cannot be used: candle is not in this build",
        crate::settings::NO_CANDLE_MEND,
    ))
}

fn pool(settings: &Txt2imgSettings) -> Result<Txt2ImgPool, Failure> {
    let pool = PoolSettings {
        in_flight: settings.concurrency as usize,
        queue: settings.queue as usize,
        hedge: settings.hedge,
        // Two programs may share a server, and each interrupts only what is called as its own.
        task_prefix: format!("fallthrough-{}", random_letters(&OsEntropy, 12)),
        ..PoolSettings::new(servers(settings))
    };
    Txt2ImgPool::new(pool)
        .map_err(|error| Failure::new(format!("the model cannot be used: {error}"), "check the model's url"))
}

/// The servers of a model, each with what it is to be asked.
pub(crate) fn servers(settings: &Txt2imgSettings) -> Vec<Txt2ImgSettings> {
    let server = |url: &url::Url| Txt2ImgSettings {
        credentials: settings.basic.as_ref().map(credentials),
        model: settings.checkpoint.clone(),
        ..Txt2ImgSettings::new(url.to_string())
    };
    settings.urls.iter().map(server).collect()
}

fn credentials((user, password): &(String, Secret)) -> Credentials {
    Credentials::new(user, password.reveal())
}

impl ModelPlan {
    /// Listens and serves.
    ///
    /// # Errors
    /// The port is in use, or the engine cannot be had.
    pub(crate) async fn start(self) -> Result<RunningModel, Failure> {
        let engine = engine(kind(&self.engine), &self.engine).await?;
        let card = engine.card();
        let listener = listen::listen(self.listen, "model server", "--listen").await?;
        let address = listen::address(&listener)?;
        // A pool queues by itself, fairly and with the times of its servers: all that may wait goes there.
        let (slots, queue) = match &self.engine {
            ModelSettings::Txt2img(pool) => (pool.urls.len() * pool.concurrency as usize + self.queue, 0),
            ModelSettings::Painter | ModelSettings::Candle(_) => (self.slots, self.queue),
        };
        let settings = ServerSettings {
            slots,
            queue,
            delay: self.delay,
            credentials: self.basic.as_ref().map(credentials),
            ..ServerSettings::default()
        };
        let server = Server::new(engine, &settings);
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let serving = TaskTracker::new().spawn(async move {
            if let Err(error) = server.serve(listener, asked).await {
                tracing::error!(%error, "the model server stopped");
            }
        });
        Ok(RunningModel { address, basic: self.basic, card, stop, serving })
    }
}

impl RunningModel {
    /// `http://address:port`, reachable from this machine.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", listen::reachable(self.address))
    }

    /// Takes no more jobs, lets running ones end for a while, and returns when all have ended.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if self.serving.await.is_err() {
            tracing::error!("the model server panicked");
        }
    }
}

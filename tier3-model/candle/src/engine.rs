//! The engine behind [`ImageModel`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fallthrough_diffusion::encode;
use fallthrough_diffusion::sampler::{Sampler, Spread};
use fallthrough_diffusion::{Fingerprint, Gate, ImageModel, Job, ModelCard, ModelError, Picture, Txt2Img};

use crate::config::LoadError;
use crate::pipeline::{DrawError, Pipeline};

/// Changes whenever a picture may; with the type of the numbers and what computes them.
const VERSION: &str = "1-f32-cpu";

/// Stable Diffusion from a folder of weights.
///
/// One job keeps all cores busy; how many run at a time and how many may wait for them is bounded here.
#[derive(Clone, Debug)]
pub struct StableDiffusion {
    pipeline: Arc<Pipeline>,
    gate: Arc<Gate>,
    name: String,
    fingerprint: Fingerprint,
}

impl StableDiffusion {
    /// Reads `folder`, which is in diffusers' layout; the model is called like the folder. `slots` jobs run at a time,
    /// `queue` may wait, and the rest is refused as busy.
    ///
    /// # Errors
    /// [`LoadError`] names the file, the tensor or the key.
    ///
    /// # Cancellation
    /// Reading goes on to its end in a thread of its own, and what was read is dropped.
    pub async fn open(folder: impl Into<PathBuf>, slots: usize, queue: usize) -> Result<Self, LoadError> {
        let folder: PathBuf = folder.into();
        let name = folder
            .canonicalize()
            .ok()
            .as_deref()
            .and_then(Path::file_name)
            .map_or_else(|| "stable-diffusion".to_owned(), |name| name.to_string_lossy().into_owned());
        let read = tokio::task::spawn_blocking(move || Pipeline::read(&folder));
        let pipeline = read.await.map_err(|error| {
            LoadError::Tensor(candle_core::Error::Msg(format!("reading the weights: {error}")))
        })??;
        let hash: String = pipeline.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
        let fingerprint = Fingerprint {
            engine: "candle".to_owned(),
            version: VERSION.to_owned(),
            // Ten digits, as the web UI shortens a checkpoint's.
            model_hash: hash[..10].to_owned(),
        };
        Ok(Self { pipeline: Arc::new(pipeline), gate: Gate::new(slots, queue), name, fingerprint })
    }
}

#[async_trait]
impl ImageModel for StableDiffusion {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        if !request.model.is_empty() && request.model != self.name {
            return Err(ModelError::Invalid(format!("no model {:?}, only {:?}", request.model, self.name)));
        }
        let pass = tokio::select! {
            biased;
            () = job.cancelled() => return Err(ModelError::Cancelled),
            pass = self.gate.enter() => pass?,
        };
        let (pipeline, request, job) = (Arc::clone(&self.pipeline), request.clone(), job.clone());
        let format = job.format;
        let drawn = tokio::task::spawn_blocking(move || {
            let pixels = pipeline.draw(&request, &job).map_err(model_error)?;
            let bytes = encode::encode(&pixels, request.width, request.height, format)
                .map_err(|error| ModelError::Internal(error.to_string()))?;
            job.report(1.0);
            // Held until the work has really stopped: whoever hangs up cannot let two jobs share a slot.
            pass.finish();
            Ok(bytes)
        });
        let bytes = drawn.await.map_err(|error| ModelError::Internal(error.to_string()))??;
        Ok(Picture { bytes, format, fingerprint: self.fingerprint.clone() })
    }

    fn card(&self) -> ModelCard {
        let schedulers = std::iter::once("Automatic").chain(Spread::ALL.map(Spread::name));
        ModelCard {
            name: self.name.clone(),
            fingerprint: self.fingerprint.clone(),
            samplers: Sampler::ALL.map(|sampler| sampler.name().to_owned()).into(),
            schedulers: schedulers.map(str::to_owned).collect(),
        }
    }
}

fn model_error(error: DrawError) -> ModelError {
    match error {
        DrawError::Field(_)
        | DrawError::Syntax(_)
        | DrawError::TooLong(_)
        | DrawError::Plan(_)
        | DrawError::Noise => ModelError::Invalid(error.to_string()),
        DrawError::Cancelled => ModelError::Cancelled,
        DrawError::NotFinite { .. } | DrawError::Tensor(_) => ModelError::Internal(error.to_string()),
    }
}

//! A model whose work is timed, for `/metrics`.

use std::sync::Arc;

use async_trait::async_trait;
use fallthrough_diffusion::{ImageModel, Job, ModelCard, ModelError, Picture, QueueView, Txt2Img};
use fallthrough_object::{Clock, SystemClock};

/// A model that tells `fallthrough_generation_duration_seconds{model}` how long each picture took, waiting for
/// the model included; pictures that failed or were given up are not counted in.
pub(super) struct Timed {
    model: Arc<dyn ImageModel>,
    name: String,
    clock: SystemClock,
}

impl Timed {
    /// `model`, under the name that it has in the settings.
    pub(super) fn new(name: &str, model: Arc<dyn ImageModel>) -> Self {
        Self { model, name: name.to_owned(), clock: SystemClock::new() }
    }
}

#[async_trait]
impl ImageModel for Timed {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        let start = self.clock.monotonic();
        let picture = self.model.generate(request, job).await?;
        metrics::histogram!("fallthrough_generation_duration_seconds", "model" => self.name.clone())
            .record(self.clock.monotonic().since(start).as_secs_f64());
        Ok(picture)
    }

    fn card(&self) -> ModelCard {
        self.model.card()
    }

    fn queue(&self) -> Option<QueueView> {
        self.model.queue()
    }
}

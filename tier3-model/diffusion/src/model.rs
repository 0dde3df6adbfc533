//! The seam of the model tier: what an image engine is asked and what it answers.
//!
//! An engine is a deterministic key-value store: the key is a [`Txt2Img`], the value a
//! [`Picture`]. What only concerns the run and not the picture (progress, cancellation, the
//! encoding that suits the caller best) travels beside the key in a [`Job`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::encode::Format;
use crate::pool::QueueView;
use crate::request::Txt2Img;

/// Something that turns a request into a picture.
///
/// Called by the txt2img server and by origins, concurrently and from many tasks. An implementer
/// guarantees that the same request gives the same picture on the same [`Fingerprint`], that it
/// looks at `job.cancelled()` at least between two steps of work, and that it never answers a
/// request other than the one it was asked.
#[async_trait]
pub trait ImageModel: Send + Sync + 'static {
    /// Generates the picture for `request`.
    ///
    /// The bytes are a complete encoded image of exactly `request.width` × `request.height`
    /// pixels. `job.format` is a wish: the answer's `format` says what was done.
    ///
    /// # Errors
    /// See [`ModelError`]; each variant asks for another reaction of the caller.
    ///
    /// # Cancellation
    /// Dropping the future abandons the picture. Work already handed to another thread or
    /// machine may run to its end; cancel `job` to stop it earlier.
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError>;

    /// What the engine offers: names for menus and checks, known without generating anything.
    fn card(&self) -> ModelCard;

    /// Who waits for it and who does the work, if it has a queue that can be shown.
    fn queue(&self) -> Option<QueueView> {
        None
    }
}

#[async_trait]
impl<M: ImageModel + ?Sized> ImageModel for Arc<M> {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        (**self).generate(request, job).await
    }

    fn card(&self) -> ModelCard {
        (**self).card()
    }

    fn queue(&self) -> Option<QueueView> {
        (**self).queue()
    }
}

/// An encoded picture and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The complete image file.
    pub bytes: Bytes,
    /// How `bytes` are encoded; [`Format::content_type`] gives the media type.
    pub format: Format,
    /// The engine that made it.
    pub fingerprint: Fingerprint,
}

/// Who made a picture: equal fingerprints promise equal pictures for equal requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// The engine, such as `painter` or `txt2img`.
    pub engine: String,
    /// The engine's version; changes whenever its pictures may.
    pub version: String,
    /// Hash of the weights (or of what stands in for them), lower-case hex, possibly shortened;
    /// empty if the engine does not tell.
    pub model_hash: String,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.engine, self.version)?;
        if !self.model_hash.is_empty() {
            write!(out, " {}", self.model_hash)?;
        }
        Ok(())
    }
}

/// What an engine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// The model's name, as [`Txt2Img::model`] may ask for it.
    pub name: String,
    /// The fingerprint pictures will carry, as far as it is known before the first one.
    pub fingerprint: Fingerprint,
    /// Names of the samplers understood.
    pub samplers: Vec<String>,
    /// Names of the schedulers understood.
    pub schedulers: Vec<String>,
}

/// One run of a model: how far it is, whether it is still wanted, and the encoding wished for.
///
/// Clones share their progress and their cancellation.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The encoding the caller would like; an engine may answer in another.
    pub format: Format,
    /// Who asks: an engine with a queue lets clients take turns. Empty where nobody tells them apart.
    pub client: Arc<str>,
    cancel: CancellationToken,
    permille: Arc<AtomicU32>,
    waiting: Arc<AtomicBool>,
}

impl Job {
    /// A job that nobody cancels, wishing for `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// A job that ends when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(format: Format, cancel: CancellationToken) -> Self {
        Self { format, cancel, ..Self::default() }
    }

    /// This job, asked for by `client`.
    #[must_use]
    pub fn for_client(self, client: impl Into<Arc<str>>) -> Self {
        Self { client: client.into(), ..self }
    }

    /// Asks the engine to stop; it answers [`ModelError::Cancelled`] at its next look.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether the job was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Completes when the job is cancelled. Safe to drop.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Says whether the job waits in the engine's own queue.
    pub(crate) fn wait(&self, waits: bool) {
        self.waiting.store(waits, Ordering::Relaxed);
    }

    /// Whether the job waits in the engine's own queue.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Reports how far the work is, from 0.0 to 1.0.
    pub fn report(&self, done: f32) {
        // The product lies within 0..=1000, so the conversion cannot lose anything that counts.
        self.permille.store((done.clamp(0.0, 1.0) * 1000.0) as u32, Ordering::Relaxed);
    }

    /// How far the work is, from 0.0 to 1.0.
    #[must_use]
    pub fn progress(&self) -> f32 {
        self.permille.load(Ordering::Relaxed) as f32 / 1000.0
    }
}

/// Why there is no picture. None of these means "there is no such picture": a caller must not
/// answer any of them as absence.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Every slot is taken and the queue is full. Retry after the given time.
    #[error("the model is busy, retry after {} s", retry_after.as_secs())]
    Busy {
        /// When a place in the queue can be expected.
        retry_after: Duration,
    },
    /// The request can never succeed with this model. Do not retry.
    #[error("the request is not valid: {0}")]
    Invalid(String),
    /// The model cannot be reached or is not ready. Retryable with backoff, or elsewhere.
    #[error("the model is unavailable: {0}")]
    Unavailable(String),
    /// Our settings do not fit the model (credentials, checkpoint). Retrying helps only after
    /// someone has changed them.
    #[error("the model is set up wrongly: {0}")]
    Misconfigured(String),
    /// The engine ran out of memory. Retryable elsewhere or with a smaller picture.
    #[error("the model ran out of memory")]
    OutOfMemory,
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The engine is at fault. Retryable elsewhere.
    #[error("the model failed: {0}")]
    Internal(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_job_share_progress_and_cancellation() {
        let job = Job::default();
        let seen = job.clone();
        job.report(0.25);
        assert_eq!(seen.progress(), 0.25);
        job.report(7.0);
        assert_eq!(seen.progress(), 1.0);
        assert!(!seen.is_cancelled());
        job.cancel();
        assert!(seen.is_cancelled());
    }

    #[test]
    fn a_fingerprint_prints_without_an_unknown_hash() {
        let mut print =
            Fingerprint { engine: "painter".into(), version: "1".into(), model_hash: String::new() };
        assert_eq!(print.to_string(), "painter/1");
        print.model_hash = "ab12".into();
        assert_eq!(print.to_string(), "painter/1 ab12");
    }
}

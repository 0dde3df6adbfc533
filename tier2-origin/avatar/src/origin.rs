//! GetObject for avatars.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_diffusion::{ImageModel, Job, ModelError, Picture, Txt2Img, encode};
use fallthrough_origin::{Answer, Origin, OriginError, Request};
use tokio_util::sync::CancellationToken;

use crate::key::{AvatarKey, InvalidKey};

/// How long an avatar may be believed by whoever keeps it.
const FRESH: Duration = Duration::from_secs(86_400);

/// Longest metadata value, in bytes: user metadata as a whole is limited to 2 KiB.
const META_BYTES_MAX: usize = 200;

/// What an operator chooses about avatars. A change makes other pictures: it belongs with a new
/// edition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvatarSettings {
    /// The name under which the results belong together; told in `x-amz-meta-edition`.
    pub edition: String,
    /// The checkpoint asked for; empty takes the one that is loaded.
    pub model: String,
    /// Width and height in pixels: 64 to 1024 in steps of 8.
    pub side_px: u32,
    /// Sampling steps, 1 to 150.
    pub steps: u32,
    /// Guidance in thousandths: 7000 is 7.0.
    pub guidance_milli: u32,
}

impl Default for AvatarSettings {
    /// 256 pixels, 20 steps, guidance 7, edition `v1`.
    fn default() -> Self {
        Self { edition: "v1".to_owned(), model: String::new(), side_px: 256, steps: 20, guidance_milli: 7000 }
    }
}

/// An origin whose keys are hashes and whose objects are avatars.
pub struct AvatarOrigin {
    model: Arc<dyn ImageModel>,
    settings: AvatarSettings,
}

impl AvatarOrigin {
    /// Avatars made by `model`.
    #[must_use]
    pub fn new(model: Arc<dyn ImageModel>, settings: AvatarSettings) -> Self {
        Self { model, settings }
    }

    /// What the model is asked for `key`. The suffix does not take part: it only chooses how the
    /// picture is encoded.
    #[must_use]
    pub fn request(&self, key: &AvatarKey) -> Txt2Img {
        Txt2Img {
            model: self.settings.model.clone(),
            prompt: key.traits.to_prompt(),
            negative_prompt: key.traits.negative_prompt(),
            seed: key.traits.seed,
            steps: self.settings.steps,
            guidance_milli: self.settings.guidance_milli,
            width: self.settings.side_px,
            height: self.settings.side_px,
            ..Txt2Img::default()
        }
    }
}

#[async_trait]
impl Origin for AvatarOrigin {
    /// The avatar of `request.key`, whatever the bucket is called.
    ///
    /// # Cancellation
    /// Dropping the future cancels the model's job.
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let key = AvatarKey::parse(request.key.as_str())
            .map_err(|InvalidKey| OriginError::invalid(InvalidKey::MESSAGE))?;
        let wanted = self.request(&key);
        let token = CancellationToken::new();
        let _cancel_when_dropped = token.clone().drop_guard();
        let job = Job::with_cancel(key.format, token);
        let picture = self.model.generate(&wanted, &job).await.map_err(failure)?;
        let picture = in_format(picture, &key).await?;
        Ok(Answer::bytes(picture.bytes)
            .content_type(key.format.content_type())
            .fresh_for(FRESH)
            .meta("edition", header_text(&self.settings.edition))
            .meta("model", header_text(&picture.fingerprint.to_string()))
            .meta("request-sha256", wanted.sha256_hex()))
    }
}

/// What a model's failure means for a key that is valid: "later" or "broken", never "absent" and
/// never "your fault". A model that refuses our request is broken from the outside.
fn failure(error: ModelError) -> OriginError {
    match error {
        ModelError::Busy { retry_after } => OriginError::Busy { retry_after },
        ModelError::Cancelled => OriginError::Busy { retry_after: Duration::from_secs(1) },
        ModelError::Invalid(_)
        | ModelError::Unavailable(_)
        | ModelError::Misconfigured(_)
        | ModelError::OutOfMemory
        | ModelError::Internal(_) => OriginError::internal(error),
    }
}

/// `picture` as the key's suffix wants it, which most engines have done already.
async fn in_format(picture: Picture, key: &AvatarKey) -> Result<Picture, OriginError> {
    if picture.format == key.format {
        return Ok(picture);
    }
    let (format, bytes) = (key.format, picture.bytes.clone());
    // Large pictures take tens of milliseconds: not on a thread that serves connections.
    let encoded = tokio::task::spawn_blocking(move || encode::reencode(&bytes, format)).await;
    let bytes = encoded.map_err(OriginError::internal)?.map_err(OriginError::internal)?;
    Ok(Picture { bytes, format, ..picture })
}

/// `text` as it can stand in a header line: a backend chooses its version's name, and what does
/// not fit would cost the picture.
fn header_text(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.trim().chars().map(fit).take(META_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests;

//! GetObject for avatars.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_diffusion::painter::{self, Cast, Painter, emblem};
use fallthrough_diffusion::{
    Format, ImageModel, Job, ModelError, Picture, SIDE_MIN, Traits, Txt2Img, encode,
};
use fallthrough_origin::{Answer, Bytes, Origin, OriginError, Request};
use tokio_util::sync::CancellationToken;

use crate::key::{AvatarKey, InvalidKey, Subject};
use crate::mutants::{Mutant, planted};

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
    /// The model draws any size as well as that one, as the painter does: other sizes are asked of it. Without it they are
    /// made of a picture of that size.
    pub any_size: bool,
    /// Sampling steps, 1 to 150.
    pub steps: u32,
    /// Guidance in thousandths: 7000 is 7.0.
    pub guidance_milli: u32,
}

impl Default for AvatarSettings {
    /// 256 pixels, 20 steps, guidance 7, edition `v1`.
    fn default() -> Self {
        Self {
            edition: "v1".to_owned(),
            model: String::new(),
            side_px: 256,
            any_size: false,
            steps: 20,
            guidance_milli: 7000,
        }
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

    /// What the model is asked for a hash with these traits, to be shown with sides of `side_px`. The suffix does not take
    /// part: it only chooses how the picture is encoded.
    #[must_use]
    pub fn request(&self, traits: &Traits, side_px: Option<u32>) -> Txt2Img {
        let fits = |side: &u32| *side >= SIDE_MIN && self.settings.any_size;
        let side = side_px.filter(fits).unwrap_or(self.settings.side_px);
        let seed = match planted(Mutant::HighSeedsForgotten) {
            true => traits.seed & 0x7fff_ffff,
            false => traits.seed,
        };
        Txt2Img {
            model: self.settings.model.clone(),
            prompt: traits.to_prompt(),
            negative_prompt: traits.negative_prompt(),
            seed,
            steps: self.settings.steps,
            guidance_milli: self.settings.guidance_milli,
            width: side,
            height: side,
            ..Txt2Img::default()
        }
    }

    /// The picture that the model makes of a hash.
    async fn generated(&self, traits: &Traits, key: &AvatarKey) -> Result<Answer, OriginError> {
        let wanted = self.request(traits, key.side_px);
        let token = CancellationToken::new();
        let _cancel_when_dropped = token.clone().drop_guard();
        let side = key.side_px.unwrap_or(wanted.width);
        // What is made smaller is not squeezed twice.
        let wish = if side == wanted.width { key.format } else { Format::Png };
        let job = Job::with_cancel(wish, token);
        let picture = self.model.generate(&wanted, &job).await.map_err(failure)?;
        let fingerprint = picture.fingerprint.to_string();
        let bytes = shaped(picture, side, side != wanted.width, key.format).await?;
        Ok(Answer::bytes(bytes)
            .meta("model", header_text(&fingerprint))
            .meta("request-sha256", wanted.sha256_hex()))
    }
}

#[async_trait]
impl Origin for AvatarOrigin {
    /// The picture that `request.key` names, whatever the bucket is called.
    ///
    /// # Cancellation
    /// Dropping the future cancels the model's job.
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let key = AvatarKey::parse(request.key.as_str())
            .map_err(|InvalidKey| OriginError::invalid(InvalidKey::MESSAGE))?;
        let answer = match (&key.subject, key.subject.traits()) {
            (Subject::Avatar(_), Some(traits)) => self.generated(&traits, &key).await?,
            _ => drawn(&key, self.settings.side_px).await?,
        };
        Ok(answer
            .content_type(key.format.content_type())
            .fresh_for(FRESH)
            .meta("edition", header_text(&self.settings.edition)))
    }
}

/// A picture that needs no model: an animal or an emblem.
async fn drawn(key: &AvatarKey, side_px: u32) -> Result<Answer, OriginError> {
    let (key, side) = (key.clone(), key.side_px.unwrap_or(side_px));
    let name = match &key.subject {
        Subject::Emblem(..) => "emblem/1".to_owned(),
        Subject::Avatar(_) | Subject::Monster(_) => Painter::of(Cast::Critter).card().fingerprint.to_string(),
    };
    let drawing = tokio::task::spawn_blocking(move || {
        let pixels = match &key.subject {
            Subject::Emblem(emblem, hash) => {
                emblem::draw(*emblem, hash.as_ref().map_or("", |hash| hash.as_str()), side)
            }
            subject => {
                subject.traits().and_then(|traits| painter::paint_as(Cast::Critter, &traits, side, side))
            }
        };
        pixels.map(|pixels| encode::encode(&pixels, side, side, key.format))
    });
    let bytes = drawing.await.map_err(OriginError::internal)?;
    let bytes = bytes.ok_or_else(|| OriginError::internal("a picture of this size cannot be drawn"))?;
    Ok(Answer::bytes(bytes.map_err(OriginError::internal)?).meta("model", name))
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

/// `picture` in `format`, and with sides of `side_px` where it `resizes`. Most engines have done the first already.
async fn shaped(picture: Picture, side_px: u32, resizes: bool, format: Format) -> Result<Bytes, OriginError> {
    if picture.format == format && !resizes {
        return Ok(picture.bytes);
    }
    // Large pictures take tens of milliseconds: not on a thread that serves connections.
    let encoded = tokio::task::spawn_blocking(move || match resizes {
        true => encode::resquare(&picture.bytes, side_px, format),
        false => encode::reencode(&picture.bytes, format),
    });
    encoded.await.map_err(OriginError::internal)?.map_err(OriginError::internal)
}

/// `text` as it can stand in a header line: a backend chooses its version's name, and what does
/// not fit would cost the picture.
fn header_text(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.trim().chars().map(fit).take(META_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests;

//! The three networks and the tokenizer together: a request in, pixels out.

use std::path::Path;

use candle_core::{Device, Result, Tensor};
use fallthrough_diffusion::clip::{Chunk, Prompt, SyntaxError, Tokenizer, TooLong, chunks};
use fallthrough_diffusion::noise::Noise;
use fallthrough_diffusion::sampler::{Plan, PlanError, Prediction, Training};
use fallthrough_diffusion::{InvalidField, Job, Txt2Img};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, LoadError, read_text};
use crate::text_encoder::TextEncoder;
use crate::unet::Unet;
use crate::vae::Decoder;

/// A model in memory.
#[derive(Debug)]
pub struct Pipeline {
    tokenizer: Tokenizer,
    pub(crate) encoder: TextEncoder,
    pub(crate) unet: Unet,
    pub(crate) decoder: Decoder,
    training: Training,
    prediction: Prediction,
    sha256: [u8; 32],
}

/// Why there are no pixels.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// A field is out of its range.
    #[error(transparent)]
    Field(#[from] InvalidField),
    /// The prompt has syntax that is not supported.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The prompt is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// There is no such sampler or scheduler, or not with so many steps.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Noise that only a GPU can draw.
    #[error("randn_source GPU depends on the card: CPU and NV are the same everywhere")]
    Noise,
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// A network answered with something that is no number: its weights are damaged, or do not belong together.
    #[error("step {step}: the network's answer is not a number; are the weights whole?")]
    NotFinite {
        /// From 0.
        step: usize,
    },
    /// The tensors could not be computed.
    #[error("tensors: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// A text as the U-Net is told it: (1, rows, width).
#[derive(Clone, Debug)]
struct Told(Tensor);

impl Pipeline {
    /// Reads a folder in diffusers' layout: `tokenizer`, `text_encoder`, `unet`, `vae` and, if it is there, `scheduler`.
    ///
    /// Reads and hashes all weights: seconds for a model of some gigabytes. Blocks its thread.
    ///
    /// # Errors
    /// [`LoadError`] names the file, the tensor or the key.
    pub fn read(folder: &Path) -> std::result::Result<Self, LoadError> {
        let (training, prediction) = training(&folder.join("scheduler").join("scheduler_config.json"))?;
        let tokenizer = tokenizer(&folder.join("tokenizer"))?;
        let (encoder, encoder_hash) = TextEncoder::read(&folder.join("text_encoder"))?;
        let (unet, unet_hash) = Unet::read(&folder.join("unet"))?;
        let (decoder, decoder_hash) = Decoder::read(&folder.join("vae"))?;
        let misfit = |what: String| Err(LoadError::Damaged { path: folder.to_owned(), what });
        if tokenizer.highest() as usize >= encoder.vocabulary() {
            let (highest, known) = (tokenizer.highest(), encoder.vocabulary());
            return misfit(format!(
                "the tokenizer counts to {highest}, the text encoder knows {known} tokens"
            ));
        }
        if encoder.len() != 77 {
            return misfit(format!("the text encoder sees {} tokens at a time, not 77", encoder.len()));
        }
        if encoder.width() != unet.context() {
            let (made, wanted) = (encoder.width(), unet.context());
            return misfit(format!(
                "the text encoder makes rows of {made} numbers, the U-Net takes {wanted}"
            ));
        }
        if decoder.channels() != unet.channels() {
            let (made, wanted) = (unet.channels(), decoder.channels());
            return misfit(format!("the U-Net makes {made} channels, the autoencoder takes {wanted}"));
        }
        let mut hash = Sha256::new();
        for part in [encoder_hash, unet_hash, decoder_hash] {
            hash.update(part);
        }
        let sha256 = hash.finalize().into();
        Ok(Self { tokenizer, encoder, unet, decoder, training, prediction, sha256 })
    }

    /// SHA-256 of the SHA-256s of the weight files: text encoder, U-Net and autoencoder, in this order.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Draws `request`: opaque RGBA pixels, row by row from the top left. Blocks its thread.
    ///
    /// Reports to `job` after each step and looks whether it is cancelled before each.
    ///
    /// # Errors
    /// [`DrawError`]: what the request asks for and is not to be had, [`DrawError::Cancelled`], or a failure.
    pub fn draw(&self, request: &Txt2Img, job: &Job) -> std::result::Result<Vec<u8>, DrawError> {
        let latents = self.latents(request, job)?;
        if job.is_cancelled() {
            return Err(DrawError::Cancelled);
        }
        Ok(self.pixels(&latents)?)
    }

    /// Latents as opaque RGBA pixels.
    pub(crate) fn pixels(&self, latents: &Tensor) -> Result<Vec<u8>> {
        let pixels = self.decoder.forward(latents)?.squeeze(0)?;
        let (channels, _, _) = pixels.dims3()?;
        let pixels = pixels.reshape((channels, ()))?.t()?.to_vec2::<f32>()?;
        // A number that is none becomes black; it cannot come here, for the latents were looked at.
        let byte = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let rgba = |pixel: &Vec<f32>| match pixel[..] {
            [red, green, blue, ..] => [byte(red), byte(green), byte(blue), u8::MAX],
            _ => [0, 0, 0, u8::MAX],
        };
        Ok(pixels.iter().flat_map(rgba).collect())
    }

    /// The latents of `request` after its last step: (1, channels, height, width).
    pub(crate) fn latents(&self, request: &Txt2Img, job: &Job) -> std::result::Result<Tensor, DrawError> {
        request.validate()?;
        let factor = self.decoder.factor();
        let side = |field: &'static str, pixels: u32| {
            let pixels = pixels as usize;
            let reason = || format!("{pixels} pixels, this model draws multiples of {factor}");
            if pixels.is_multiple_of(factor) {
                Ok(pixels / factor)
            } else {
                Err(InvalidField { field, reason: reason() })
            }
        };
        let (height, width) = (side("height", request.height)?, side("width", request.width)?);
        let plan = Plan::by_name(&self.training, &request.sampler, &request.scheduler, request.steps)?;
        let mut noise = Noise::new(request.noise, request.seed).ok_or(DrawError::Noise)?;
        let towards = self.told(&request.prompt)?;
        let away =
            (request.guidance_milli != 1000).then(|| self.told(&request.negative_prompt)).transpose()?;
        let guidance = request.guidance() as f32;
        let shape = (1, self.unet.channels(), height, width);
        let len = self.unet.channels() * height * width;
        let latents = plan.run(&mut noise, len, self.prediction, |step| {
            if job.is_cancelled() {
                return Err(DrawError::Cancelled);
            }
            let latents = Tensor::from_slice(step.latents, shape, &Device::Cpu)?;
            let predicted = self.predicted(&latents, step.timestep, &towards, away.as_ref(), guidance)?;
            if !predicted.iter().all(|number| number.is_finite()) {
                return Err(DrawError::NotFinite { step: step.done });
            }
            // The decoder counts as one more step.
            job.report((step.done + 1) as f32 / (request.steps + 1) as f32);
            Ok(predicted)
        })?;
        Ok(Tensor::from_vec(latents, shape, &Device::Cpu)?)
    }

    /// The U-Net's prediction, led away from the one text and towards the other.
    fn predicted(
        &self,
        latents: &Tensor,
        timestep: f64,
        towards: &Told,
        away: Option<&Told>,
        guidance: f32,
    ) -> Result<Vec<f32>> {
        let flat = |prediction: Tensor| prediction.flatten_all()?.to_vec1::<f32>();
        let Some(away) = away else { return flat(self.unet.forward(latents, timestep, &towards.0)?) };
        let (without, with) = if away.0.dims() == towards.0.dims() {
            let text = Tensor::cat(&[&away.0, &towards.0], 0)?;
            let both = self.unet.forward(&Tensor::cat(&[latents, latents], 0)?, timestep, &text)?;
            (flat(both.narrow(0, 0, 1)?)?, flat(both.narrow(0, 1, 1)?)?)
        } else {
            // Prompts of different numbers of chunks do not make one batch.
            let one = |text: &Told| flat(self.unet.forward(latents, timestep, &text.0)?);
            (one(away)?, one(towards)?)
        };
        Ok(without.iter().zip(&with).map(|(without, with)| without + guidance * (with - without)).collect())
    }

    fn told(&self, prompt: &str) -> std::result::Result<Told, DrawError> {
        let chunks = chunks(&self.tokenizer, &Prompt::read(prompt)?)?;
        let rows: Vec<Tensor> = chunks.iter().map(|chunk| self.rows(chunk)).collect::<Result<_>>()?;
        Ok(Told(Tensor::cat(&rows, 1)?))
    }

    /// What the text encoder makes of a chunk, weighed: (1, 77, width).
    pub(crate) fn rows(&self, chunk: &Chunk) -> Result<Tensor> {
        let encoded = self.encoder.forward(&chunk.tokens)?;
        let mut rows = encoded.flatten_all()?.to_vec1::<f32>()?;
        chunk.weigh(&mut rows);
        Tensor::from_vec(rows, encoded.shape().clone(), &Device::Cpu)
    }

    /// The chunks of `prompt`.
    #[cfg(test)]
    pub(crate) fn chunks(&self, prompt: &str) -> Vec<Chunk> {
        chunks(&self.tokenizer, &Prompt::read(prompt).expect("a prompt")).expect("a short prompt")
    }
}

/// How the U-Net was trained, by the scheduler's configuration; Stable Diffusion's own way where it says nothing.
fn training(path: &Path) -> std::result::Result<(Training, Prediction), LoadError> {
    let config = Config::read_if_there(path)?;
    config.only(&[
        ("beta_schedule", json!("scaled_linear")),
        ("num_train_timesteps", json!(1000)),
        ("rescale_betas_zero_snr", json!(false)),
    ])?;
    config.none(&["trained_betas"])?;
    let prediction = match config.text("prediction_type", "epsilon")? {
        "epsilon" => Prediction::Epsilon,
        "v_prediction" => Prediction::Velocity,
        _ => return Err(config.unsupported("prediction_type")),
    };
    let (start, end) = (config.number("beta_start", 0.00085)?, config.number("beta_end", 0.012)?);
    let between = 0.0..1.0;
    if !between.contains(&start) || !between.contains(&end) || start <= 0.0 || end <= start {
        return Err(config.unsupported("beta_end"));
    }
    let offset = u32::try_from(config.count("steps_offset", 1)?).ok().filter(|offset| *offset <= 1);
    let offset = offset.ok_or_else(|| config.unsupported("steps_offset"))?;
    Ok((Training::scaled_linear(start, end, offset), prediction))
}

/// The tokenizer whose files lie in `folder`.
fn tokenizer(folder: &Path) -> std::result::Result<Tokenizer, LoadError> {
    let (vocabulary, merges) =
        (read_text(&folder.join("vocab.json"))?, read_text(&folder.join("merges.txt"))?);
    let special = folder.join("special_tokens_map.json");
    let damaged = |path: &Path, what: String| LoadError::Damaged { path: path.to_owned(), what };
    let pad = if special.is_file() {
        let special: Value = serde_json::from_str(&read_text(&special)?)
            .map_err(|error| damaged(&folder.join("special_tokens_map.json"), error.to_string()))?;
        let pad = &special["pad_token"];
        pad.as_str().or_else(|| pad["content"].as_str()).map(str::to_owned)
    } else {
        None
    };
    Tokenizer::new(&vocabulary, &merges, pad.as_deref()).map_err(|error| damaged(folder, error.to_string()))
}

#[cfg(test)]
mod tests;

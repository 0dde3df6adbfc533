//! The key of the model tier: everything a picture depends on, as integers and strings.
//!
//! Fractions are kept in thousandths, so that a request has exactly one canonical encoding and
//! one SHA-256 on every machine.

use sha2::{Digest as _, Sha256};

/// Smallest width and height, in pixels.
pub const SIDE_MIN: u32 = 64;
/// Largest width and height, in pixels.
pub const SIDE_MAX: u32 = 1024;
/// Widths and heights are multiples of this, as latent diffusion needs them.
pub const SIDE_STEP: u32 = 8;
/// Most sampling steps.
pub const STEPS_MAX: u32 = 150;
/// Longest prompt and longest negative prompt, in bytes of UTF-8.
pub const PROMPT_BYTES_MAX: usize = 4096;
/// Largest guidance, in thousandths: 100.0.
pub const GUIDANCE_MILLI_MAX: u32 = 100_000;
/// Longest name of a model, sampler or scheduler, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Where the initial noise comes from: the same seed gives other pictures for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NoiseSource {
    /// The CPU's Mersenne Twister, as torch draws it; the same on every machine.
    #[default]
    Cpu,
    /// Philox, as NVIDIA GPUs draw it, computed anywhere.
    Nv,
    /// Whatever the GPU at hand draws.
    Gpu,
}

impl NoiseSource {
    /// The name the web UI's setting `randn_source` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Nv => "NV",
            Self::Gpu => "GPU",
        }
    }

    /// Reads a `randn_source`, in any case; `None` for other names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Nv, Self::Gpu].into_iter().find(|source| source.name().eq_ignore_ascii_case(name))
    }
}

/// Everything a picture depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Txt2Img {
    /// The checkpoint wanted; empty means whichever is loaded.
    pub model: String,
    /// What the picture shows.
    pub prompt: String,
    /// What the picture must not show.
    pub negative_prompt: String,
    /// Every value is valid and is used as it is.
    pub seed: u32,
    /// The sampler's name, such as `DPM++ 2M`.
    pub sampler: String,
    /// The noise schedule's name, such as `Karras`; empty means the sampler's own.
    pub scheduler: String,
    /// Sampling steps, 1 to [`STEPS_MAX`].
    pub steps: u32,
    /// Classifier-free guidance in thousandths: 7000 is 7.0.
    pub guidance_milli: u32,
    /// Width in pixels, [`SIDE_MIN`] to [`SIDE_MAX`] in steps of [`SIDE_STEP`].
    pub width: u32,
    /// Height in pixels, by the same rule as the width.
    pub height: u32,
    /// Where the initial noise comes from.
    pub noise: NoiseSource,
}

impl Default for Txt2Img {
    /// A 256-pixel square by the settings avatars use: 20 steps of DPM++ 2M Karras at 7.0.
    fn default() -> Self {
        Self {
            model: String::new(),
            prompt: String::new(),
            negative_prompt: String::new(),
            seed: 0,
            sampler: "DPM++ 2M".to_owned(),
            scheduler: "Karras".to_owned(),
            steps: 20,
            guidance_milli: 7000,
            width: 256,
            height: 256,
            noise: NoiseSource::Cpu,
        }
    }
}

/// A field of a request that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidField {
    /// The field, by its name in the txt2img API.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Txt2Img {
    /// Checks every limit.
    ///
    /// # Errors
    /// [`InvalidField`] for the first field that breaks its limit.
    pub fn validate(&self) -> Result<(), InvalidField> {
        let texts = [
            ("prompt", self.prompt.len(), PROMPT_BYTES_MAX),
            ("negative_prompt", self.negative_prompt.len(), PROMPT_BYTES_MAX),
            ("sampler_name", self.sampler.len(), NAME_BYTES_MAX),
            ("scheduler", self.scheduler.len(), NAME_BYTES_MAX),
            ("sd_model_checkpoint", self.model.len(), NAME_BYTES_MAX),
        ];
        for (field, len, max) in texts {
            if len > max {
                return Err(InvalidField {
                    field,
                    reason: format!("{len} bytes, at most {max} are allowed"),
                });
            }
        }
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !(SIDE_MIN..=SIDE_MAX).contains(&side) || !side.is_multiple_of(SIDE_STEP) {
                let reason =
                    format!("{side} pixels, must be {SIDE_MIN} to {SIDE_MAX} in steps of {SIDE_STEP}");
                return Err(InvalidField { field, reason });
            }
        }
        if !(1..=STEPS_MAX).contains(&self.steps) {
            let reason = format!("{}, must be 1 to {STEPS_MAX}", self.steps);
            return Err(InvalidField { field: "steps", reason });
        }
        if self.guidance_milli > GUIDANCE_MILLI_MAX {
            let reason = format!("{}, must be 0 to 100", self.guidance());
            return Err(InvalidField { field: "cfg_scale", reason });
        }
        Ok(())
    }

    /// The guidance as the txt2img API states it: 7.0 for 7000 thousandths.
    #[must_use]
    pub fn guidance(&self) -> f64 {
        f64::from(self.guidance_milli) / 1000.0
    }

    /// The one encoding of this request: a line `txt2img 1`, then per field, in a fixed order,
    /// `name SP length ":" value LF` with the length in bytes and numbers in decimal.
    ///
    /// Two requests are equal exactly if their encodings are.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let numbers = [
            ("seed", self.seed.to_string()),
            ("steps", self.steps.to_string()),
            ("guidance_milli", self.guidance_milli.to_string()),
            ("width", self.width.to_string()),
            ("height", self.height.to_string()),
        ];
        let texts = [
            ("model", self.model.as_str()),
            ("prompt", &self.prompt),
            ("negative_prompt", &self.negative_prompt),
            ("sampler", &self.sampler),
            ("scheduler", &self.scheduler),
            ("noise", self.noise.name()),
        ];
        let mut out = b"txt2img 1\n".to_vec();
        for (name, value) in
            texts.into_iter().chain(numbers.iter().map(|(name, value)| (*name, value.as_str())))
        {
            out.extend_from_slice(format!("{name} {}:{value}\n", value.len()).as_bytes());
        }
        out
    }

    /// SHA-256 of [`Txt2Img::canonical`].
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    /// [`Txt2Img::sha256`] as 64 lower-case hex digits.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256())
    }
}

/// Lower-case hex of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> Txt2Img {
        Txt2Img { prompt: "1girl, red hair".into(), seed: u32::MAX, ..Txt2Img::default() }
    }

    #[test]
    fn the_canonical_encoding_is_fixed() {
        let text = String::from_utf8(request().canonical()).unwrap();
        assert_eq!(
            text,
            "txt2img 1\nmodel 0:\nprompt 15:1girl, red hair\nnegative_prompt 0:\nsampler 8:DPM++ 2M\n\
             scheduler 6:Karras\nnoise 3:CPU\nseed 10:4294967295\nsteps 2:20\nguidance_milli 4:7000\n\
             width 3:256\nheight 3:256\n"
        );
        assert_eq!(
            request().sha256_hex(),
            "587b8918bcc78c9e2a7d5e90859cf1101e1da7d7ee7182cc10fd6a34db226e8c"
        );
    }

    #[test]
    fn limits_name_the_field() {
        type Break = fn(&mut Txt2Img);
        let cases: [(&str, Break); 9] = [
            ("width", |r| r.width = 60),
            ("width", |r| r.width = 0),
            ("height", |r| r.height = 1032),
            ("height", |r| r.height = 260),
            ("steps", |r| r.steps = 0),
            ("steps", |r| r.steps = 151),
            ("cfg_scale", |r| r.guidance_milli = 100_001),
            ("prompt", |r| r.prompt = "a".repeat(4097)),
            ("negative_prompt", |r| r.negative_prompt = "ä".repeat(2049)),
        ];
        for (field, break_it) in cases {
            let mut request = request();
            request.validate().unwrap();
            break_it(&mut request);
            assert_eq!(request.validate().unwrap_err().field, field);
        }
    }

    #[test]
    fn noise_sources_are_read_in_any_case() {
        assert_eq!(NoiseSource::parse("nv"), Some(NoiseSource::Nv));
        assert_eq!(NoiseSource::parse("CPU"), Some(NoiseSource::Cpu));
        assert_eq!(NoiseSource::parse("TPU"), None);
    }

    proptest! {
        #[test]
        fn moving_text_between_fields_changes_the_hash(a in ".{0,12}", b in ".{1,12}") {
            let one = Txt2Img { prompt: format!("{a}{b}"), ..Txt2Img::default() };
            let two = Txt2Img { prompt: a, negative_prompt: b, ..Txt2Img::default() };
            prop_assert_ne!(one.sha256(), two.sha256());
        }
    }
}

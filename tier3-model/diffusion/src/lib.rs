//! The model tier: (prompt, seed, parameters) → picture, deterministically.
//!
//! [`ImageModel`] is the one trait; `painter` draws without weights, `txt2img`
//! asks a Stable Diffusion web UI (or our own `server`) over HTTP, and the server puts that API
//! in front of any engine. [`Traits`] are the words avatars are made of.
//!
//! This crate knows no buckets, keys or origins and uses none of the other tiers.

pub mod encode;
mod model;
pub mod painter;
mod prompt;
mod request;
mod traits;

pub use encode::Format;
pub use model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
pub use request::{
    GUIDANCE_MILLI_MAX, InvalidField, NAME_BYTES_MAX, NoiseSource, PROMPT_BYTES_MAX, SIDE_MAX, SIDE_MIN,
    SIDE_STEP, STEPS_MAX, Txt2Img,
};
pub use traits::{
    Accessory, ClothesColor, Expression, EyeColor, HairColor, HairStyle, InvalidHash, Outfit, Pose,
    Presentation, Scene, SkinTone, Style, Technique, TimeOfDay, Traits,
};

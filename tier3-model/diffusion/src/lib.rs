//! The model tier: (prompt, seed, parameters) → picture, deterministically.
//!
//! [`ImageModel`] is the one trait; [`painter::Painter`] draws without weights, [`Txt2ImgPool`]
//! asks Stable Diffusion web UIs (or our own [`server`]) over HTTP, each through a [`Txt2ImgClient`], and the
//! server puts that API in front of any engine. [`Traits`] are the words avatars are made of.
//!
//! Of Stable Diffusion it has what needs no tensors: [`noise`] by seed, [`sampler`]s and their schedules, and
//! [`clip`]'s prompts and tokens. The networks are in `fallthrough-candle`.
//!
//! This crate knows no buckets, keys or origins and uses none of the other tiers.

mod admission;
pub mod clip;
mod credentials;
pub mod encode;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod model;
pub mod noise;
pub mod painter;
mod pool;
mod prompt;
mod request;
pub mod sampler;
pub mod server;
mod traits;
mod txt2img;

pub use admission::{Gate, Pass};
pub use credentials::Credentials;
pub use encode::Format;
pub use model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
pub use pool::{BackendState, BackendView, JobView, PoolSettings, QueueView, Sign, Txt2ImgPool};
pub use request::{
    GUIDANCE_MILLI_MAX, InvalidField, NAME_BYTES_MAX, NoiseSource, PROMPT_BYTES_MAX, SIDE_MAX, SIDE_MIN,
    SIDE_STEP, STEPS_MAX, Txt2Img,
};
pub use traits::{
    Accessory, ClothesColor, Expression, EyeColor, HairColor, HairStyle, InvalidHash, Outfit, Pose,
    Presentation, Scene, SkinTone, Style, Technique, TimeOfDay, Traits,
};
pub use txt2img::{Txt2ImgClient, Txt2ImgSettings};

//! Stable Diffusion in this process, on candle: text encoder, U-Net and autoencoder from local safetensors.
//!
//! `StableDiffusion` is an [`fallthrough_diffusion::ImageModel`] over a folder in diffusers' layout. Samplers,
//! schedules, noise, prompt syntax and tokenizer are `fallthrough-diffusion`'s; here are the networks and the files they
//! are read from. Nothing is ever fetched: what is missing is an error that names it.
//!
//! Everything is computed in f32 on the CPU. The same weights and request give the same picture on the same build and
//! kind of CPU, however many threads there are.
//!
//! Without the feature `candle` this crate is empty, and nothing of candle is built.

#![cfg(feature = "candle")]

mod attention;
mod checkpoint;
mod config;
mod engine;
mod layer;
mod pipeline;
mod text_encoder;
mod unet;
mod vae;

pub use config::LoadError;
pub use engine::StableDiffusion;
pub use pipeline::{DrawError, Pipeline};

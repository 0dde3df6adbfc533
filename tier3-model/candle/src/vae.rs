//! The autoencoder's decoder: latents in, pixels out.

use std::path::Path;

use candle_core::{Result, Tensor};
use serde_json::json;

use crate::attention::{Attention, to_pixels, to_rows};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, LoadError};
use crate::layer::{Conv, GroupNorm, Residual};

/// Of every norm in it.
const EPSILON: f64 = 1e-6;

/// The network.
#[derive(Debug)]
pub(crate) struct Decoder {
    before: Conv,
    conv_in: Conv,
    middle: (Residual, GroupNorm, Attention, Residual),
    up: Vec<(Vec<Residual>, Option<Conv>)>,
    norm: GroupNorm,
    conv_out: Conv,
    channels: usize,
    scale: f64,
}

impl Decoder {
    /// Reads the folder `vae` of a pipeline; also the file's SHA-256.
    pub(crate) fn read(folder: &Path) -> std::result::Result<(Self, [u8; 32]), LoadError> {
        let config = Config::read(&folder.join("config.json"))?;
        config.none(&["latents_mean", "shift_factor"])?;
        config.only(&[
            ("act_fn", json!("silu")),
            ("mid_block_add_attention", json!(true)),
            ("out_channels", json!(3)),
            ("use_post_quant_conv", json!(true)),
        ])?;
        let widths = config.list("block_out_channels")?;
        let levels = widths.len();
        config.kinds("up_block_types", levels, "UpDecoderBlock2D", "UpDecoderBlock2D")?;
        let layers = config.count("layers_per_block", 1)? + 1;
        let (groups, channels) = (config.count("norm_num_groups", 32)?, config.count("latent_channels", 4)?);
        let names = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"];
        let checkpoint = Checkpoint::read_one(folder, &names)?;
        let scope = checkpoint.root().at("decoder");
        let mut from = widths[levels - 1];
        let middle = scope.at("mid_block");
        let attention = middle.at("attentions").at(0);
        let residual =
            |at: usize| Residual::take(&middle.at("resnets").at(at), from, from, groups, EPSILON, None);
        let middle = (
            residual(0)?,
            GroupNorm::take(&attention.at("group_norm"), from, groups, EPSILON)?,
            Attention::take_pixels(&attention, from)?,
            residual(1)?,
        );
        let conv_in = Conv::take(&scope.at("conv_in"), channels, from)?;
        let mut up = Vec::new();
        for (at, width) in widths.iter().copied().rev().enumerate() {
            let scope = scope.at("up_blocks").at(at);
            let mut residuals = Vec::new();
            for layer in 0..layers {
                let scope = scope.at("resnets").at(layer);
                residuals.push(Residual::take(&scope, from, width, groups, EPSILON, None)?);
                from = width;
            }
            let double = (at + 1 != levels)
                .then(|| Conv::take(&scope.at("upsamplers").at(0).at("conv"), width, width))
                .transpose()?;
            up.push((residuals, double));
        }
        let network = Self {
            before: Conv::take_pixel(&checkpoint.root().at("post_quant_conv"), channels, channels)?,
            conv_in,
            middle,
            up,
            norm: GroupNorm::take(&scope.at("conv_norm_out"), from, groups, EPSILON)?,
            conv_out: Conv::take(&scope.at("conv_out"), from, 3)?,
            channels,
            scale: config.number("scaling_factor", 0.18215)?,
        };
        Ok((network, checkpoint.sha256))
    }

    /// Channels of the latents.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Pixels on a side of a latent.
    pub(crate) fn factor(&self) -> usize {
        1 << (self.up.len() - 1)
    }

    /// (1, channels, height, width) → (1, 3, height·factor, width·factor), from -1 to 1 and somewhat beyond.
    pub(crate) fn forward(&self, latents: &Tensor) -> Result<Tensor> {
        let x = self.before.forward(&(latents / self.scale)?)?;
        let x = self.conv_in.forward(&x)?;
        let (first, norm, attention, second) = &self.middle;
        let x = first.forward(&x, None)?;
        let (_, _, height, width) = x.dims4()?;
        let rows = to_rows(&norm.forward(&x)?)?;
        let x = (to_pixels(&attention.forward(&rows, &rows)?, height, width)? + x)?;
        let mut x = second.forward(&x, None)?;
        for (residuals, double) in &self.up {
            for residual in residuals {
                x = residual.forward(&x, None)?;
            }
            if let Some(double) = double {
                let (_, _, height, width) = x.dims4()?;
                x = double.forward(&x.upsample_nearest2d(2 * height, 2 * width)?)?;
            }
        }
        self.conv_out.forward(&self.norm.forward(&x)?.silu()?)
    }
}

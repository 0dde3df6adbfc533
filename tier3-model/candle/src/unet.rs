//! The U-Net: noisy latents, a step of the training and a text in, its prediction out.
//!
//! diffusers' `UNet2DConditionModel` as Stable Diffusion 1 and 2 configure it. What another configuration would add is
//! refused by name when it is read.

use std::path::Path;

use candle_core::{D, Device, Result, Tensor};
use serde_json::json;

use crate::attention::{Attention, to_pixels, to_rows};
use crate::checkpoint::{Checkpoint, Scope};
use crate::config::{Config, LoadError};
use crate::layer::{Conv, GroupNorm, LayerNorm, Linear, Residual};

/// What the blocks have in common.
#[derive(Debug)]
struct Common {
    groups: usize,
    epsilon: f64,
    /// Width of the time's embedding.
    time: usize,
    /// Width of the text's rows.
    context: usize,
    /// Maps around attention stand in the file as linear ones.
    linear: bool,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Unet {
    conv_in: Conv,
    time1: Linear,
    time2: Linear,
    down: Vec<Block>,
    middle: (Residual, Transformer, Residual),
    up: Vec<Block>,
    norm: GroupNorm,
    conv_out: Conv,
    channels: usize,
    context: usize,
    /// Half of the width of the time's waves.
    waves: usize,
}

/// Residuals, each followed by attention to the text in some blocks, and a change of the size.
#[derive(Debug)]
struct Block {
    layers: Vec<(Residual, Option<Transformer>)>,
    resize: Option<Conv>,
}

impl Unet {
    /// Reads the folder `unet` of a pipeline; also the file's SHA-256.
    pub(crate) fn read(folder: &Path) -> std::result::Result<(Self, [u8; 32]), LoadError> {
        let config = Config::read(&folder.join("config.json"))?;
        config.none(&["addition_embed_type", "class_embed_type", "encoder_hid_dim", "time_cond_proj_dim"])?;
        config.only(&[
            ("act_fn", json!("silu")),
            ("center_input_sample", json!(false)),
            ("conv_in_kernel", json!(3)),
            ("conv_out_kernel", json!(3)),
            ("downsample_padding", json!(1)),
            ("dual_cross_attention", json!(false)),
            ("flip_sin_to_cos", json!(true)),
            ("freq_shift", json!(0)),
            ("mid_block_scale_factor", json!(1)),
            ("mid_block_type", json!("UNetMidBlock2DCrossAttn")),
            ("only_cross_attention", json!(false)),
            ("resnet_time_scale_shift", json!("default")),
            ("time_embedding_type", json!("positional")),
        ])?;
        let widths = config.list("block_out_channels")?;
        let (levels, first) = (widths.len(), widths[0]);
        let layers = config.count("layers_per_block", 2)?;
        let down = config.kinds("down_block_types", levels, "CrossAttnDownBlock2D", "DownBlock2D")?;
        let up = config.kinds("up_block_types", levels, "CrossAttnUpBlock2D", "UpBlock2D")?;
        // What diffusers calls the width of a head is their number in these models.
        let heads = match config.count("num_attention_heads", 0)? {
            0 => config.counts("attention_head_dim", levels, 8)?,
            heads => vec![heads; levels],
        };
        let depths = config.counts("transformer_layers_per_block", levels, 1)?;
        let channels = config.count("in_channels", 4)?;
        config.only(&[("out_channels", json!(channels))])?;
        let common = Common {
            groups: config.count("norm_num_groups", 32)?,
            epsilon: config.number("norm_eps", 1e-5)?,
            time: 4 * first,
            context: config.count("cross_attention_dim", 1280)?,
            linear: config.flag("use_linear_projection", false)?,
        };
        let names = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"];
        let checkpoint = Checkpoint::read_one(folder, &names)?;
        let scope = checkpoint.root();
        let attention = |at: usize, with: bool| with.then_some((heads[at], depths[at]));

        // Widths of what the way down leaves for the way up, in order.
        let mut skips = vec![first];
        let mut from = first;
        let mut way_down = Vec::new();
        for (at, width) in widths.iter().copied().enumerate() {
            let scope = scope.at("down_blocks").at(at);
            let inputs = (0..layers).map(|layer| if layer == 0 { from } else { width }).collect::<Vec<_>>();
            let last = at + 1 == levels;
            let resize = (!last)
                .then(|| Conv::take_halving(&scope.at("downsamplers").at(0).at("conv"), width))
                .transpose()?;
            way_down.push(Block::take(&scope, &inputs, width, &common, attention(at, down[at]), resize)?);
            skips.extend(std::iter::repeat_n(width, layers + usize::from(!last)));
            from = width;
        }
        let middle = scope.at("mid_block");
        let residual = |at: usize| common.residual(&middle.at("resnets").at(at), from, from);
        let (deep_heads, deep_depth) = (heads[levels - 1], depths[levels - 1]);
        let transformer =
            Transformer::take(&middle.at("attentions").at(0), from, deep_heads, deep_depth, &common)?;
        let middle = (residual(0)?, transformer, residual(1)?);
        let mut way_up = Vec::new();
        for (at, width) in widths.iter().copied().rev().enumerate() {
            let scope = scope.at("up_blocks").at(at);
            let mut inputs = Vec::new();
            for _ in 0..=layers {
                inputs.push(from + skips.pop().unwrap_or_default());
                from = width;
            }
            let resize = (at + 1 != levels)
                .then(|| Conv::take(&scope.at("upsamplers").at(0).at("conv"), width, width))
                .transpose()?;
            let attention = attention(levels - 1 - at, up[at]);
            way_up.push(Block::take(&scope, &inputs, width, &common, attention, resize)?);
        }
        let network = Self {
            conv_in: Conv::take(&scope.at("conv_in"), channels, first)?,
            time1: Linear::take(&scope.at("time_embedding").at("linear_1"), first, common.time)?,
            time2: Linear::take(&scope.at("time_embedding").at("linear_2"), common.time, common.time)?,
            down: way_down,
            middle,
            up: way_up,
            norm: GroupNorm::take(&scope.at("conv_norm_out"), first, common.groups, common.epsilon)?,
            conv_out: Conv::take(&scope.at("conv_out"), first, channels)?,
            channels,
            context: common.context,
            waves: first / 2,
        };
        Ok((network, checkpoint.sha256))
    }

    /// Channels of the latents.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Width of the text's rows.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// `latents` is (batch, channels, height, width), `text` (batch, rows, context); the prediction is shaped as the
    /// latents.
    pub(crate) fn forward(&self, latents: &Tensor, timestep: f64, text: &Tensor) -> Result<Tensor> {
        let time = self.time1.forward(&self.embedded(timestep)?)?.silu()?;
        // Every residual takes it through a SiLU.
        let time = self.time2.forward(&time)?.silu()?;
        let mut x = self.conv_in.forward(latents)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            for (residual, transformer) in &block.layers {
                x = residual.forward(&x, Some(&time))?;
                if let Some(transformer) = transformer {
                    x = transformer.forward(&x, text)?;
                }
                skips.push(x.clone());
            }
            if let Some(halve) = &block.resize {
                x = halve.forward(&x)?;
                skips.push(x.clone());
            }
        }
        let (before, transformer, after) = &self.middle;
        x = after.forward(&transformer.forward(&before.forward(&x, Some(&time))?, text)?, Some(&time))?;
        for block in &self.up {
            for (residual, transformer) in &block.layers {
                let skip =
                    skips.pop().ok_or_else(|| candle_core::Error::Msg("no skip is left".to_owned()))?;
                x = residual.forward(&Tensor::cat(&[&x, &skip], 1)?, Some(&time))?;
                if let Some(transformer) = transformer {
                    x = transformer.forward(&x, text)?;
                }
            }
            if let (Some(double), Some(skip)) = (&block.resize, skips.last()) {
                // The size of what is joined next: an odd one was rounded up when it was halved.
                x = double.forward(&x.upsample_nearest2d(skip.dim(2)?, skip.dim(3)?)?)?;
            }
        }
        self.conv_out.forward(&self.norm.forward(&x)?.silu()?)
    }

    /// A step of the training as waves: (1, 2·waves), cosines first.
    fn embedded(&self, timestep: f64) -> Result<Tensor> {
        let angle = |at: usize| {
            let frequency = (-(10_000f64.ln()) * at as f64 / self.waves as f64).exp() as f32;
            timestep as f32 * frequency
        };
        let cosines = (0..self.waves).map(|at| angle(at).cos());
        let waves: Vec<f32> = cosines.chain((0..self.waves).map(|at| angle(at).sin())).collect();
        Tensor::from_vec(waves, (1, 2 * self.waves), &Device::Cpu)
    }
}

impl Common {
    fn residual(
        &self,
        scope: &Scope<'_>,
        from: usize,
        to: usize,
    ) -> std::result::Result<Residual, LoadError> {
        Residual::take(scope, from, to, self.groups, self.epsilon, Some(self.time))
    }
}

impl Block {
    /// A layer for each of `inputs`, `width` wide; `attention` are heads and depth.
    fn take(
        scope: &Scope<'_>,
        inputs: &[usize],
        width: usize,
        common: &Common,
        attention: Option<(usize, usize)>,
        resize: Option<Conv>,
    ) -> std::result::Result<Self, LoadError> {
        let mut layers = Vec::with_capacity(inputs.len());
        for (at, from) in inputs.iter().copied().enumerate() {
            let residual = common.residual(&scope.at("resnets").at(at), from, width)?;
            let transformer = attention
                .map(|(heads, depth)| {
                    Transformer::take(&scope.at("attentions").at(at), width, heads, depth, common)
                })
                .transpose()?;
            layers.push((residual, transformer));
        }
        Ok(Self { layers, resize })
    }
}

/// Pixels that attend to each other and to the text.
#[derive(Debug)]
struct Transformer {
    norm: GroupNorm,
    inward: Linear,
    layers: Vec<TransformerLayer>,
    outward: Linear,
}

#[derive(Debug)]
struct TransformerLayer {
    norm1: LayerNorm,
    own: Attention,
    norm2: LayerNorm,
    text: Attention,
    norm3: LayerNorm,
    widen: Linear,
    narrow: Linear,
}

impl Transformer {
    fn take(
        scope: &Scope<'_>,
        width: usize,
        heads: usize,
        depth: usize,
        common: &Common,
    ) -> std::result::Result<Self, LoadError> {
        // Both kinds of files hold the same map.
        let map = |name: &str| match common.linear {
            true => Linear::take(&scope.at(name), width, width),
            false => Linear::take_convolution(&scope.at(name), width, width),
        };
        let layer = |at: usize| -> std::result::Result<_, LoadError> {
            let scope = scope.at("transformer_blocks").at(at);
            let norm = |name: &str| LayerNorm::take(&scope.at(name), width, 1e-5);
            Ok(TransformerLayer {
                norm1: norm("norm1")?,
                own: Attention::take(&scope.at("attn1"), width, width, heads)?,
                norm2: norm("norm2")?,
                text: Attention::take(&scope.at("attn2"), width, common.context, heads)?,
                norm3: norm("norm3")?,
                widen: Linear::take(&scope.at("ff").at("net").at(0).at("proj"), width, 8 * width)?,
                narrow: Linear::take(&scope.at("ff").at("net").at(2), 4 * width, width)?,
            })
        };
        Ok(Self {
            norm: GroupNorm::take(&scope.at("norm"), width, common.groups, 1e-6)?,
            inward: map("proj_in")?,
            layers: (0..depth).map(layer).collect::<std::result::Result<_, _>>()?,
            outward: map("proj_out")?,
        })
    }

    fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        let mut rows = self.inward.forward(&to_rows(&self.norm.forward(x)?)?)?;
        for layer in &self.layers {
            let inner = layer.norm1.forward(&rows)?;
            rows = (layer.own.forward(&inner, &inner)? + rows)?;
            rows = (layer.text.forward(&layer.norm2.forward(&rows)?, text)? + rows)?;
            let wide = layer.widen.forward(&layer.norm3.forward(&rows)?)?;
            let half = wide.dim(D::Minus1)? / 2;
            let gate = wide.narrow(D::Minus1, half, half)?.gelu_erf()?;
            rows = (layer.narrow.forward(&(wide.narrow(D::Minus1, 0, half)? * gate)?)? + rows)?;
        }
        to_pixels(&self.outward.forward(&rows)?, height, width)? + x
    }
}

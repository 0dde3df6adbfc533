//! CLIP's text model: 77 tokens in, a row for each out.

use std::path::Path;

use candle_core::{Device, Result, Tensor};
use candle_nn::ops;
use serde_json::json;

use crate::attention::{attend, check_heads};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, LoadError};
use crate::layer::{LayerNorm, Linear};

/// What stands between the two maps of a layer.
#[derive(Clone, Copy, Debug)]
enum Activation {
    /// x·sigmoid(1.702 x), of OpenAI's models.
    QuickGelu,
    /// With the error function, of OpenCLIP's.
    Gelu,
}

/// The network.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    /// (positions, positions): nobody sees what comes later.
    mask: Tensor,
}

#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
    norm2: LayerNorm,
    widen: Linear,
    narrow: Linear,
    activation: Activation,
}

impl TextEncoder {
    /// Reads the folder `text_encoder` of a pipeline; also the file's SHA-256.
    pub(crate) fn read(folder: &Path) -> std::result::Result<(Self, [u8; 32]), LoadError> {
        let config = Config::read(&folder.join("config.json"))?;
        let activation = match config.text("hidden_act", "quick_gelu")? {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            _ => return Err(config.unsupported("hidden_act")),
        };
        config.only(&[("model_type", json!("clip_text_model"))])?;
        let (width, inner) = (config.count("hidden_size", 512)?, config.count("intermediate_size", 2048)?);
        let (vocabulary, len) =
            (config.count("vocab_size", 49408)?, config.count("max_position_embeddings", 77)?);
        let heads = config.count("num_attention_heads", 8)?;
        let epsilon = config.number("layer_norm_eps", 1e-5)?;
        check_heads(width, heads)?;
        let checkpoint = Checkpoint::read_one(folder, &["model.safetensors", "model.fp16.safetensors"])?;
        let scope = checkpoint.root().at("text_model");
        let embeddings = scope.at("embeddings");
        let layer = |at: usize| -> std::result::Result<Layer, LoadError> {
            let scope = scope.at("encoder").at("layers").at(at);
            let attention = scope.at("self_attn");
            let square = |name: &str| Linear::take(&attention.at(name), width, width);
            Ok(Layer {
                norm1: LayerNorm::take(&scope.at("layer_norm1"), width, epsilon)?,
                query: square("q_proj")?,
                key: square("k_proj")?,
                value: square("v_proj")?,
                out: square("out_proj")?,
                heads,
                norm2: LayerNorm::take(&scope.at("layer_norm2"), width, epsilon)?,
                widen: Linear::take(&scope.at("mlp").at("fc1"), width, inner)?,
                narrow: Linear::take(&scope.at("mlp").at("fc2"), inner, width)?,
                activation,
            })
        };
        let network = Self {
            tokens: embeddings.at("token_embedding").take("weight", &[vocabulary, width])?,
            positions: embeddings.at("position_embedding").take("weight", &[len, width])?,
            layers: (0..config.count("num_hidden_layers", 12)?)
                .map(layer)
                .collect::<std::result::Result<_, _>>()?,
            norm: LayerNorm::take(&scope.at("final_layer_norm"), width, epsilon)?,
            mask: causal(len)?,
        };
        Ok((network, checkpoint.sha256))
    }

    /// How many tokens it knows.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokens.dims().first().copied().unwrap_or_default()
    }

    /// How many numbers it makes of each token.
    pub(crate) fn width(&self) -> usize {
        self.tokens.dims().last().copied().unwrap_or_default()
    }

    /// How many tokens it sees at a time.
    pub(crate) fn len(&self) -> usize {
        self.positions.dims().first().copied().unwrap_or_default()
    }

    /// The last hidden state: (1, tokens, width).
    pub(crate) fn forward(&self, tokens: &[u32]) -> Result<Tensor> {
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let positions = self.positions.narrow(0, 0, tokens.len())?;
        let mut x = (self.tokens.embedding(&ids)? + positions)?.unsqueeze(0)?;
        let mask = self.mask.narrow(0, 0, tokens.len())?.narrow(1, 0, tokens.len())?;
        for layer in &self.layers {
            x = layer.forward(&x, &mask)?;
        }
        self.norm.forward(&x)
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let inner = self.norm1.forward(x)?;
        let (query, key) = (self.query.forward(&inner)?, self.key.forward(&inner)?);
        let attended = attend(&query, &key, &self.value.forward(&inner)?, self.heads, Some(mask))?;
        let x = (x + self.out.forward(&attended)?)?;
        let inner = self.widen.forward(&self.norm2.forward(&x)?)?;
        let inner = match self.activation {
            Activation::QuickGelu => (&inner * ops::sigmoid(&(&inner * 1.702)?)?)?,
            Activation::Gelu => inner.gelu_erf()?,
        };
        x + self.narrow.forward(&inner)?
    }
}

fn causal(len: usize) -> Result<Tensor> {
    let score = |at: usize| if at % len > at / len { f32::NEG_INFINITY } else { 0.0 };
    Tensor::from_vec((0..len * len).map(score).collect::<Vec<f32>>(), (len, len), &Device::Cpu)
}

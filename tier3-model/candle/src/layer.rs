//! The layers that the networks are made of, each taken from the weights by its name.

use candle_core::{D, Result, Tensor};
use candle_nn::ops;

use crate::checkpoint::Scope;
use crate::config::LoadError;

/// A linear map of the last dimension.
#[derive(Debug)]
pub(crate) struct Linear {
    /// Transposed: input by output.
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn take(scope: &Scope<'_>, from: usize, to: usize) -> std::result::Result<Self, LoadError> {
        let bias = Some(scope.take("bias", &[to])?);
        Ok(Self { bias, ..Self::take_without_bias(scope, from, to)? })
    }

    pub(crate) fn take_without_bias(
        scope: &Scope<'_>,
        from: usize,
        to: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self { weight: scope.take("weight", &[to, from])?.t()?, bias: None })
    }

    /// One that stands in the file as a convolution of one pixel.
    pub(crate) fn take_convolution(
        scope: &Scope<'_>,
        from: usize,
        to: usize,
    ) -> std::result::Result<Self, LoadError> {
        let weight = scope.take("weight", &[to, from, 1, 1])?.reshape((to, from))?.t()?;
        Ok(Self { weight, bias: Some(scope.take("bias", &[to])?) })
    }

    /// (…, from) → (…, to).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let (from, to) = self.weight.dims2()?;
        if let Some(last) = shape.last_mut() {
            *last = to;
        }
        let x = x.reshape(((), from))?.matmul(&self.weight)?;
        match &self.bias {
            Some(bias) => x.broadcast_add(bias)?.reshape(shape),
            None => x.reshape(shape),
        }
    }
}

/// A convolution of pixels.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: Tensor,
    bias: Tensor,
    padding: usize,
    stride: usize,
}

impl Conv {
    /// Three pixels wide, keeping the size.
    pub(crate) fn take(scope: &Scope<'_>, from: usize, to: usize) -> std::result::Result<Self, LoadError> {
        Self::take_as(scope, from, to, 3, 1)
    }

    /// Three pixels wide, halving the size.
    pub(crate) fn take_halving(scope: &Scope<'_>, channels: usize) -> std::result::Result<Self, LoadError> {
        Self::take_as(scope, channels, channels, 3, 2)
    }

    /// One pixel wide.
    pub(crate) fn take_pixel(
        scope: &Scope<'_>,
        from: usize,
        to: usize,
    ) -> std::result::Result<Self, LoadError> {
        Self::take_as(scope, from, to, 1, 1)
    }

    fn take_as(
        scope: &Scope<'_>,
        from: usize,
        to: usize,
        side: usize,
        stride: usize,
    ) -> std::result::Result<Self, LoadError> {
        let weight = scope.take("weight", &[to, from, side, side])?;
        let bias = scope.take("bias", &[to])?.reshape((1, to, 1, 1))?;
        Ok(Self { weight, bias, padding: side / 2, stride })
    }

    /// (batch, from, height, width) → (batch, to, height, width).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?.broadcast_add(&self.bias)
    }
}

/// Normalises groups of channels.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    pub(crate) fn take(
        scope: &Scope<'_>,
        channels: usize,
        groups: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(LoadError::Tensor(candle_core::Error::Msg(format!(
                "{channels} channels cannot be normalised in {groups} groups"
            ))));
        }
        let weight = scope.take("weight", &[channels])?.reshape((1, channels, 1))?;
        let bias = scope.take("bias", &[channels])?.reshape((1, channels, 1))?;
        Ok(Self { weight, bias, groups, epsilon })
    }

    /// (batch, channels, …), keeping its shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.dims().to_vec();
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let grouped = x.reshape((batch, self.groups, ()))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + self.epsilon)?.sqrt()?)?;
        let normal = normal.reshape((batch, channels, ()))?;
        normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?.reshape(shape)
    }
}

/// Normalises the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    pub(crate) fn take(
        scope: &Scope<'_>,
        width: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        let (weight, bias) = (scope.take("weight", &[width])?, scope.take("bias", &[width])?);
        Ok(Self { weight, bias, epsilon: epsilon as f32 })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.epsilon)
    }
}

/// Two convolutions around a shortcut; in a U-Net with the time between them.
#[derive(Debug)]
pub(crate) struct Residual {
    norm1: GroupNorm,
    conv1: Conv,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
}

impl Residual {
    /// `time` is the width of the time's embedding, if there is one.
    pub(crate) fn take(
        scope: &Scope<'_>,
        from: usize,
        to: usize,
        groups: usize,
        epsilon: f64,
        time: Option<usize>,
    ) -> std::result::Result<Self, LoadError> {
        let time = time.map(|width| Linear::take(&scope.at("time_emb_proj"), width, to)).transpose()?;
        let shortcut =
            (from != to).then(|| Conv::take_pixel(&scope.at("conv_shortcut"), from, to)).transpose()?;
        Ok(Self {
            norm1: GroupNorm::take(&scope.at("norm1"), from, groups, epsilon)?,
            conv1: Conv::take(&scope.at("conv1"), from, to)?,
            time,
            norm2: GroupNorm::take(&scope.at("norm2"), to, groups, epsilon)?,
            conv2: Conv::take(&scope.at("conv2"), to, to)?,
            shortcut,
        })
    }

    /// (batch, from, height, width) → (batch, to, height, width); `time` is (batch or 1, width), through its SiLU.
    pub(crate) fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let mut inner = self.conv1.forward(&self.norm1.forward(x)?.silu()?)?;
        if let (Some(linear), Some(time)) = (&self.time, time) {
            inner = inner.broadcast_add(&linear.forward(time)?.unsqueeze(2)?.unsqueeze(3)?)?;
        }
        let inner = self.conv2.forward(&self.norm2.forward(&inner)?.silu()?)?;
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x)? + inner,
            None => x + inner,
        }
    }
}

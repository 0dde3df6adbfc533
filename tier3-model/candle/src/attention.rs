//! Attention, for all three networks.

use candle_core::{D, Result, Tensor};
use candle_nn::ops;

use crate::checkpoint::Scope;
use crate::config::LoadError;
use crate::layer::Linear;

/// Most scores that are held at a time, 4 bytes each: 128 MiB, whatever the picture's size.
const SCORES_MAX: usize = 1 << 25;

/// Softmax(Q·Kᵀ/√d + mask)·V, several heads side by side.
///
/// `query` is (batch, rows, heads·d), `key` and `value` are (batch, columns, heads·d); `mask` is (rows, columns).
/// Rows are taken in slices, so that the scores stay within a bound; how they are cut depends on the shapes alone.
pub(crate) fn attend(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, rows, width) = query.dims3()?;
    let columns = key.dim(1)?;
    let by_head =
        |x: &Tensor, len: usize| x.reshape((batch, len, heads, width / heads))?.transpose(1, 2)?.contiguous();
    let scale = 1.0 / ((width / heads) as f64).sqrt();
    let query = (by_head(query, rows)? * scale)?;
    let key = by_head(key, columns)?.transpose(2, 3)?.contiguous()?;
    let value = by_head(value, columns)?;
    let slice = (SCORES_MAX / (batch * heads * columns).max(1)).clamp(1, rows.max(1));
    let mut parts = Vec::with_capacity(rows.div_ceil(slice));
    for start in (0..rows).step_by(slice) {
        let len = slice.min(rows - start);
        let mut scores = query.narrow(2, start, len)?.contiguous()?.matmul(&key)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(&mask.narrow(0, start, len)?)?;
        }
        parts.push(ops::softmax_last_dim(&scores)?.matmul(&value)?);
    }
    let joined = if let [one] = &parts[..] { one.clone() } else { Tensor::cat(&parts, 2)? };
    joined.transpose(1, 2)?.reshape((batch, rows, width))
}

/// Attention of diffusers' networks: to itself, or to a context.
#[derive(Debug)]
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    /// `context` is the width of what is attended to.
    pub(crate) fn take(
        scope: &Scope<'_>,
        width: usize,
        context: usize,
        heads: usize,
    ) -> std::result::Result<Self, LoadError> {
        check_heads(width, heads)?;
        Ok(Self {
            query: Linear::take_without_bias(&scope.at("to_q"), width, width)?,
            key: Linear::take_without_bias(&scope.at("to_k"), context, width)?,
            value: Linear::take_without_bias(&scope.at("to_v"), context, width)?,
            out: Linear::take(&scope.at("to_out").at(0), width, width)?,
            heads,
        })
    }

    /// The autoencoder's, which has one head and other names in older files.
    pub(crate) fn take_pixels(scope: &Scope<'_>, width: usize) -> std::result::Result<Self, LoadError> {
        let names = if scope.has("query.weight") {
            [scope.at("query"), scope.at("key"), scope.at("value"), scope.at("proj_attn")]
        } else {
            [scope.at("to_q"), scope.at("to_k"), scope.at("to_v"), scope.at("to_out").at(0)]
        };
        let [query, key, value, out] = names;
        Ok(Self {
            query: Linear::take(&query, width, width)?,
            key: Linear::take(&key, width, width)?,
            value: Linear::take(&value, width, width)?,
            out: Linear::take(&out, width, width)?,
            heads: 1,
        })
    }

    /// `x` is (batch, rows, width), `context` (batch, columns, context).
    pub(crate) fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (key, value) = (self.key.forward(context)?, self.value.forward(context)?);
        self.out.forward(&attend(&self.query.forward(x)?, &key, &value, self.heads, None)?)
    }
}

/// Heads share a width evenly.
pub(crate) fn check_heads(width: usize, heads: usize) -> std::result::Result<(), LoadError> {
    if heads == 0 || !width.is_multiple_of(heads) {
        let what = format!("a width of {width} cannot be shared by {heads} heads of attention");
        return Err(LoadError::Tensor(candle_core::Error::Msg(what)));
    }
    Ok(())
}

/// Pixels as rows: (batch, channels, height, width) → (batch, height·width, channels).
pub(crate) fn to_rows(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, D::Minus1)?.contiguous()
}

/// And back.
pub(crate) fn to_pixels(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, _, channels) = x.dims3()?;
    x.transpose(1, 2)?.reshape((batch, channels, height, width))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn slices_give_what_the_whole_gives() {
        // Large enough that the rows are cut into three slices; the whole is computed head by head and row by row.
        let (rows, columns, heads, width) = (3000, 5600, 4, 8);
        let numbers =
            |len: usize, step: f32| -> Vec<f32> { (0..len).map(|at| (at as f32 * step).sin()).collect() };
        let tensor =
            |len: usize, step| Tensor::from_vec(numbers(len * width, step), (1, len, width), &Device::Cpu);
        let (query, key, value) =
            (tensor(rows, 0.37).unwrap(), tensor(columns, 0.73).unwrap(), tensor(columns, 1.31).unwrap());
        assert!(heads * rows * columns > 2 * SCORES_MAX);
        let all = attend(&query, &key, &value, heads, None).unwrap();
        for row in [0, 1, rows / 2, rows - 1] {
            let one = attend(&query.narrow(1, row, 1).unwrap(), &key, &value, heads, None).unwrap();
            let difference = (all.narrow(1, row, 1).unwrap() - one)
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-6, "row {row}");
        }
    }
}

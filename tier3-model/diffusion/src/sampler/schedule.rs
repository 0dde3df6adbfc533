//! The noise levels that a network was trained with, and the choice of those that a picture goes through.

use fallthrough_object::{Mutant, planted};

/// Steps of the training.
const TRAINED: u32 = 1000;
/// The steps that latent consistency models are distilled for.
pub(super) const LCM_STEPS: u32 = 50;
/// Karras et al.'s exponent.
const RHO: f64 = 7.0;

/// One step's noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    /// The step of the training that the network is told.
    pub(super) timestep: f64,
    /// Noise relative to the clean latent.
    pub(super) sigma: f64,
}

/// The noise levels of a training, rising: one for each of its thousand steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    sigmas: Vec<f64>,
    /// What "leading" timesteps begin at.
    offset: u32,
}

impl Default for Training {
    /// Stable Diffusion's: β from 0.00085 to 0.012, evenly in its square root; leading timesteps begin at 1.
    fn default() -> Self {
        Self::scaled_linear(0.00085, 0.012, 1)
    }
}

impl Training {
    /// β rises from `start` to `end` evenly in its square root; leading timesteps begin at `offset`.
    #[must_use]
    pub fn scaled_linear(start: f64, end: f64, offset: u32) -> Self {
        let (start, end) = (start.sqrt(), end.sqrt());
        let mut kept = 1.0;
        let sigmas = (0..TRAINED).map(|step| {
            let root = start + (end - start) * f64::from(step) / f64::from(TRAINED - 1);
            kept *= 1.0 - root * root;
            ((1.0 - kept) / kept).sqrt()
        });
        Self { sigmas: sigmas.collect(), offset }
    }

    /// The lowest noise level that was trained.
    #[must_use]
    pub fn sigma_min(&self) -> f64 {
        self.sigmas.first().copied().unwrap_or_default()
    }

    fn sigma_max(&self) -> f64 {
        self.sigmas.last().copied().unwrap_or_default()
    }

    fn level(&self, timestep: u32) -> Level {
        let timestep = timestep.min(TRAINED - 1);
        Level { timestep: f64::from(timestep), sigma: self.sigmas[timestep as usize] }
    }

    /// The last `steps` of `parts` evenly spaced timesteps, falling.
    pub(super) fn leading(&self, steps: u32, parts: u32) -> Vec<Level> {
        let stride = TRAINED / parts;
        let first = parts - steps;
        (first..parts).rev().map(|index| self.level(index * stride + self.offset)).collect()
    }

    /// From the highest level to the lowest, evenly in σ^(1/ρ), each told to the network as the nearest timestep.
    pub(super) fn karras(&self, steps: u32) -> Vec<Level> {
        let rho = if planted(Mutant::KarrasIsLinear) { 1.0 } else { RHO };
        let (high, low) = (self.sigma_max().powf(1.0 / rho), self.sigma_min().powf(1.0 / rho));
        let level = |index: u32| {
            let ramp = f64::from(index) / f64::from((steps - 1).max(1));
            let sigma = (high + ramp * (low - high)).powf(rho);
            Level { timestep: self.timestep_of(sigma).round_ties_even(), sigma }
        };
        (0..steps).map(level).collect()
    }

    /// Where `sigma` lies among the timesteps, between two of them evenly in its logarithm.
    fn timestep_of(&self, sigma: f64) -> f64 {
        let above = self.sigmas.partition_point(|trained| *trained <= sigma).clamp(1, self.sigmas.len() - 1);
        let (low, high) = (self.sigmas[above - 1].ln(), self.sigmas[above].ln());
        let part = ((sigma.ln() - low) / (high - low)).clamp(0.0, 1.0);
        (above - 1) as f64 + part
    }

    /// Of the timesteps that consistency models are distilled for, `steps` at even distances.
    pub(super) fn distilled(&self, steps: u32) -> Vec<Level> {
        let stride = TRAINED / LCM_STEPS;
        let level = |index: u32| {
            let from_top = index * LCM_STEPS / steps;
            self.level((LCM_STEPS - from_top) * stride - 1)
        };
        (0..steps).map(level).collect()
    }
}

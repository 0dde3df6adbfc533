//! The walk along a plan: what each sampler does with the network's prediction.

use fallthrough_object::{Mutant, planted};

use super::{Plan, Sampler};
use crate::noise::Noise;

/// What a network predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prediction {
    /// The noise in its input.
    #[default]
    Epsilon,
    /// The velocity of Salimans and Ho (2022).
    Velocity,
}

/// What the network is asked at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// Steps done before this one.
    pub done: usize,
    /// The step of the training that it is to be told.
    pub timestep: f64,
    /// The latents, scaled to unit variance.
    pub latents: &'a [f32],
}

impl Plan {
    /// Walks from noise to latents of `len` numbers, asking `network` once per step for its prediction of `kind`.
    ///
    /// The first draw from `noise` is what the walk begins with.
    ///
    /// # Errors
    /// The network's own; nothing is asked after it. So it is also how a walk is cancelled between steps.
    ///
    /// # Panics
    /// If `network` returns another number of values than it was given.
    pub fn run<E>(
        &self,
        noise: &mut Noise,
        len: usize,
        kind: Prediction,
        mut network: impl FnMut(Step<'_>) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<f32>, E> {
        let start = self.levels.first().map_or(0.0, |level| level.sigma);
        let mut walk = Walk {
            latents: noise.draw(len).into_iter().map(|number| f64::from(number) * norm(start)).collect(),
            before: None,
        };
        for (done, level) in self.levels.iter().enumerate() {
            let input: Vec<f32> = walk.latents.iter().map(|x| (x / norm(level.sigma)) as f32).collect();
            let predicted = network(Step { done, timestep: level.timestep, latents: &input })?;
            assert_eq!(predicted.len(), len, "a network predicts one value for each that it is given");
            let clean = clean(&walk.latents, &predicted, level.sigma, kind);
            let to = self.levels.get(done + 1).map_or(self.end, |next| next.sigma);
            match self.sampler {
                Sampler::Euler | Sampler::Ddim => walk.straight(&clean, level.sigma, to),
                Sampler::EulerAncestral => walk.ancestral(&clean, level.sigma, to, noise),
                Sampler::DpmPp2M => walk.multistep(clean, level.sigma, to),
                Sampler::Lcm => walk.consistent(&clean, level.sigma, level.timestep, to, noise),
            }
        }
        Ok(walk.latents.into_iter().map(|x| (x / norm(self.end)) as f32).collect())
    }
}

/// The standard deviation of a clean latent of unit variance with noise of level `sigma`.
fn norm(sigma: f64) -> f64 {
    (1.0 + sigma * sigma).sqrt()
}

/// The clean latents that a prediction means.
fn clean(latents: &[f64], predicted: &[f32], sigma: f64, kind: Prediction) -> Vec<f64> {
    let pairs = latents.iter().zip(predicted).map(|(x, predicted)| (x, f64::from(*predicted)));
    match kind {
        Prediction::Epsilon => pairs.map(|(x, epsilon)| x - sigma * epsilon).collect(),
        Prediction::Velocity => {
            let norm = norm(sigma);
            pairs.map(|(x, velocity)| x / (norm * norm) - sigma / norm * velocity).collect()
        }
    }
}

/// Where a walk is.
struct Walk {
    /// The latents, clean plus noise.
    latents: Vec<f64>,
    /// The step before, for the sampler that looks back: its noise level and its clean latents.
    before: Option<(f64, Vec<f64>)>,
}

impl Walk {
    /// On the line from here to the clean latents, as far as level `to`.
    fn straight(&mut self, clean: &[f64], from: f64, to: f64) {
        let part = to / from;
        for (x, clean) in self.latents.iter_mut().zip(clean) {
            *x = clean + part * (*x - clean);
        }
    }

    /// Past level `to` and back to it by fresh noise.
    fn ancestral(&mut self, clean: &[f64], from: f64, to: f64, noise: &mut Noise) {
        let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
        let down = (to * to - up * up).sqrt();
        self.straight(clean, from, down);
        if to > 0.0 && !planted(Mutant::AncestralNoiseForgotten) {
            self.add(up, noise);
        }
    }

    fn add(&mut self, scale: f64, noise: &mut Noise) {
        let drawn = noise.draw(self.latents.len());
        for (x, number) in self.latents.iter_mut().zip(drawn) {
            *x += scale * f64::from(number);
        }
    }

    /// DPM-Solver++(2M) of Lu et al. (2022), algorithm 2: the clean latents are led on by what they were before.
    fn multistep(&mut self, clean: Vec<f64>, from: f64, to: f64) {
        let led = match &self.before {
            // The last step goes all the way, where the logarithm below has no end: first order.
            Some((earlier, before)) if to > 0.0 && !planted(Mutant::SecondOrderForgotten) => {
                let ratio = (earlier / from).ln() / (from / to).ln();
                let part = 1.0 / (2.0 * ratio);
                clean.iter().zip(before).map(|(now, before)| (1.0 + part) * now - part * before).collect()
            }
            Some(_) | None => clean.clone(),
        };
        self.straight(&led, from, to);
        self.before = Some((from, clean));
    }

    /// Straight to what the model holds for clean, and to level `to` by fresh noise.
    fn consistent(&mut self, clean: &[f64], from: f64, timestep: f64, to: f64, noise: &mut Noise) {
        // The boundary condition of the distillation: at timestep 0 the model's answer is its input.
        let (scaled, data) = (timestep * 10.0, 0.5);
        let whole = scaled * scaled + data * data;
        let (skip, out) = (data * data / whole, scaled / whole.sqrt());
        for (x, clean) in self.latents.iter_mut().zip(clean) {
            *x = out * clean + skip * *x / norm(from);
        }
        if to > 0.0 {
            self.add(to, noise);
        }
    }
}

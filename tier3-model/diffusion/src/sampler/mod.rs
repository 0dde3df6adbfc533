//! How noise becomes a picture, step by step: samplers and their schedules, without any network in them.
//!
//! A [`Plan`] is made of names and a number of steps; [`Plan::run`] asks a network for its prediction at each step and
//! returns the latents. Everything is computed in f64 along a schedule of noise levels σ, where a latent is the clean
//! one plus σ times noise; the network sees it scaled to unit variance, as it was trained.
//!
//! The schedules are those of diffusers 0.27 with `timestep_spacing = "leading"`, against which they are tested.
//! Latents start as noise of unit variance. Numbers beside the first ones are drawn from the same [`Noise`](crate::noise::Noise).

mod run;
mod schedule;

pub use run::{Prediction, Step};
pub use schedule::Training;

use schedule::Level;

/// A way to go from one noise level to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampler {
    /// Euler's method.
    Euler,
    /// Euler's method, with fresh noise in each step.
    EulerAncestral,
    /// Denoising diffusion implicit models, η = 0. Ends at the lowest noise level that was trained, not at none.
    Ddim,
    /// DPM-Solver++ of second order, multistep.
    DpmPp2M,
    /// Latent consistency models, which are trained for a few large steps.
    Lcm,
}

impl Sampler {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::DpmPp2M, Self::Euler, Self::EulerAncestral, Self::Ddim, Self::Lcm];

    /// Its name in the web UI.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler a",
            Self::Ddim => "DDIM",
            Self::DpmPp2M => "DPM++ 2M",
            Self::Lcm => "LCM",
        }
    }
}

/// How noise levels are spread over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Evenly over the steps of the training.
    Normal,
    /// By Karras et al. (2022), equation 5 with ρ = 7, each at the nearest step of the training.
    Karras,
}

impl Spread {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Karras, Self::Normal];

    /// Its name in the web UI.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Karras => "Karras",
        }
    }
}

/// Names or numbers that no plan can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No sampler has this name.
    #[error("there is no sampler {0:?}; there are: {all}", all = names(&Sampler::ALL.map(Sampler::name)))]
    Sampler(String),
    /// No schedule has this name.
    #[error("there is no scheduler {0:?}; there are: {all}", all = names(&Spread::ALL.map(Spread::name)))]
    Scheduler(String),
    /// The sampler has a schedule of its own.
    #[error("the sampler {sampler} has a schedule of its own: name no scheduler, or \"Normal\"")]
    OwnSchedule {
        /// The sampler.
        sampler: &'static str,
    },
    /// The sampler takes no such number of steps.
    #[error("the sampler {sampler} takes 1 to {max} steps, not {steps}")]
    Steps {
        /// The sampler.
        sampler: &'static str,
        /// What was asked for.
        steps: u32,
        /// The most it takes.
        max: u32,
    },
}

fn names(names: &[&str]) -> String {
    names.join(", ")
}

/// A sampler and the noise levels that it goes through.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    sampler: Sampler,
    /// One per step.
    levels: Vec<Level>,
    /// Where it ends: 0, or the lowest level of the training.
    end: f64,
}

impl Plan {
    /// A plan by the names of the txt2img API, in any case; an empty scheduler or `Automatic` means `Normal`.
    ///
    /// # Errors
    /// [`PlanError`], which names what is not there.
    pub fn by_name(
        training: &Training,
        sampler: &str,
        scheduler: &str,
        steps: u32,
    ) -> Result<Self, PlanError> {
        let spread = match scheduler {
            "" => Spread::Normal,
            automatic if automatic.eq_ignore_ascii_case("automatic") => Spread::Normal,
            named => *Spread::ALL
                .iter()
                .find(|spread| spread.name().eq_ignore_ascii_case(named))
                .ok_or_else(|| PlanError::Scheduler(named.to_owned()))?,
        };
        let sampler = *Sampler::ALL
            .iter()
            .find(|known| known.name().eq_ignore_ascii_case(sampler))
            .ok_or_else(|| PlanError::Sampler(sampler.to_owned()))?;
        Self::new(training, sampler, spread, steps)
    }

    /// `steps` steps of `sampler` along `spread`.
    ///
    /// # Errors
    /// [`PlanError::Steps`] and [`PlanError::OwnSchedule`].
    pub fn new(training: &Training, sampler: Sampler, spread: Spread, steps: u32) -> Result<Self, PlanError> {
        let max = match sampler {
            Sampler::Lcm => schedule::LCM_STEPS,
            Sampler::Euler | Sampler::EulerAncestral | Sampler::Ddim | Sampler::DpmPp2M => crate::STEPS_MAX,
        };
        if !(1..=max).contains(&steps) {
            return Err(PlanError::Steps { sampler: sampler.name(), steps, max });
        }
        let levels = match (sampler, spread) {
            (Sampler::Lcm, Spread::Karras) => {
                return Err(PlanError::OwnSchedule { sampler: sampler.name() });
            }
            (Sampler::Lcm, Spread::Normal) => training.distilled(steps),
            (_, Spread::Karras) => training.karras(steps),
            // One step more than is done: this sampler never ends at the first step of the training.
            (Sampler::DpmPp2M, Spread::Normal) => training.leading(steps, steps + 1),
            (_, Spread::Normal) => training.leading(steps, steps),
        };
        let end = if sampler == Sampler::Ddim { training.sigma_min() } else { 0.0 };
        Ok(Self { sampler, levels, end })
    }

    /// The steps of the training at which the network is asked, in order.
    pub fn timesteps(&self) -> impl Iterator<Item = f64> + '_ {
        self.levels.iter().map(|level| level.timestep)
    }

    /// The noise level of each step and, last, the one that it ends at.
    pub fn sigmas(&self) -> impl Iterator<Item = f64> + '_ {
        self.levels.iter().map(|level| level.sigma).chain([self.end])
    }
}

#[cfg(test)]
mod tests;

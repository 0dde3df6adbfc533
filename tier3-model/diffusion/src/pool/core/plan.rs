//! Where and when waiting jobs will be done, as far as can be told: what decides who is asked, and what those are told who
//! wait or are sent away.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Monotonic, Mutant, planted};

use super::{Backend, Core, Job, JobId, Wanted};

/// Seconds per (step × megapixel) of a backend that nothing is known of, where nothing is known of any: about that of a
/// small graphics card with Stable Diffusion 1.5.
const UNKNOWN_SPEED: f64 = 1.0;
/// Bounds of the advice given to those who are sent away.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

impl Core {
    /// Where and when the jobs that wait will be done: each one's backend if it goes now, and the seconds until it is
    /// done (`None`: nobody can). Beside that, the seconds until each backend is free behind them. `now_only` ends with
    /// the last free place; at most `count` jobs are looked at.
    pub(super) fn forecast(
        &self,
        now: Monotonic,
        eager: bool,
        now_only: bool,
        count: usize,
    ) -> (Vec<Forecast>, Vec<f64>) {
        let mut places: Vec<usize> = (0..self.backends.len()).map(|at| self.free_places(at, now)).collect();
        let mut free_in: Vec<f64> = (0..self.backends.len()).map(|at| self.free_in(at, now)).collect();
        let mut jobs = Vec::new();
        for id in self.queue.iter().take(count) {
            if now_only && places.iter().all(|free| *free == 0) {
                break;
            }
            let Some(job) = self.jobs.get(&id) else { continue };
            let done = |at: usize| free_in[at] + self.takes(at, &job.wanted, now);
            let mut candidates: Vec<usize> = self.candidates(job, now).collect();
            if eager && candidates.iter().any(|at| places[*at] > 0) {
                candidates.retain(|at| places[*at] > 0);
            }
            let best = if planted(Mutant::PoolLoadIgnored) {
                candidates.iter().copied().max_by_key(|at| places[*at].min(1))
            } else {
                // Of two that would be done at the same time, the one that can begin now.
                let waits = |at: usize| places[at] == 0;
                let earlier = |a: usize, b: usize| done(a).total_cmp(&done(b)).then(waits(a).cmp(&waits(b)));
                candidates.iter().copied().min_by(|a, b| earlier(*a, *b))
            };
            let Some(best) = best else {
                jobs.push((id, None, None));
                continue;
            };
            let secs = done(best);
            free_in[best] = secs;
            let goes = places[best] > 0;
            places[best] = places[best].saturating_sub(1);
            jobs.push((id, goes.then_some(best), Some(secs)));
        }
        (jobs, free_in)
    }

    /// Backends that may do `job`, now or later.
    pub(super) fn candidates<'a>(&'a self, job: &'a Job, now: Monotonic) -> impl Iterator<Item = usize> + 'a {
        let all = self.backends.iter().enumerate();
        all.filter(move |(at, backend)| !job.tried.contains(at) && backend.can(&job.wanted, now))
            .map(|(at, _)| at)
    }

    /// Seconds per (step × megapixel): as measured, or as of the fastest one, so that nobody stays unknown.
    fn speed(&self, at: usize, now: Monotonic) -> f64 {
        let known = || self.backends.iter().filter_map(|backend| backend.speed(now)).min_by(f64::total_cmp);
        self.backends[at].speed(now).or_else(known).unwrap_or(UNKNOWN_SPEED)
    }

    /// Seconds that `wanted` takes at a backend by itself.
    pub(super) fn takes(&self, at: usize, wanted: &Wanted, now: Monotonic) -> f64 {
        let switches =
            self.backends[at].switches_for(&wanted.model) && !planted(Mutant::PoolCheckpointIgnored);
        let switch = if switches { self.switch_secs } else { 0.0 };
        wanted.load.units() * self.speed(at, now) + switch
    }

    /// Seconds until a backend has done what it has.
    pub(super) fn free_in(&self, at: usize, now: Monotonic) -> f64 {
        let backend = &self.backends[at];
        let rest = backend.resting(now).map_or(0.0, |(until, _)| until.since(now).as_secs_f64());
        backend.backlog_secs(now, self.usual_units * self.speed(at, now)).max(rest)
    }

    pub(super) fn free_places(&self, at: usize, now: Monotonic) -> usize {
        let backend = &self.backends[at];
        if backend.down().is_some() || backend.resting(now).is_some() {
            return 0;
        }
        let bound = if planted(Mutant::PoolInFlightIgnored) { usize::MAX } else { self.limits.in_flight };
        bound.saturating_sub(backend.running.len())
    }

    /// How long until a new job of `client` would have its turn, from the measured speeds; whole seconds, at least one.
    pub(in crate::pool) fn retry_after(&self, client: &Arc<str>, now: Monotonic) -> Duration {
        // Those who would be served after it do not count.
        let ahead = if planted(Mutant::PoolRetryAfterOfOne) { 0 } else { self.queue.ahead(client) };
        let (_, free_in) = self.forecast(now, false, false, ahead);
        whole_secs(self.soonest(&free_in, now))
    }

    /// Seconds until the first backend that is not down is free.
    fn soonest(&self, free_in: &[f64], now: Monotonic) -> f64 {
        let up = self.backends.iter().zip(free_in).filter(|(backend, _)| backend.down().is_none());
        // If all are down, the next sign of life is waited for.
        let probe = || self.backends.iter().filter_map(Backend::probe_at).min();
        let secs = up.map(|(_, secs)| *secs).min_by(f64::total_cmp);
        secs.unwrap_or_else(|| probe().map_or(0.0, |at| at.since(now).as_secs_f64()))
    }

    /// The jobs at backends, then those that wait in the order of their turns: each with how long it has been here,
    /// where it is, and the seconds until it will be done.
    pub(in crate::pool) fn jobs(&self, now: Monotonic) -> Vec<Standing> {
        let running = self.jobs.iter().filter_map(|(id, job)| {
            let attempt = *job.attempts.first()?;
            let backend = self.attempts.get(&attempt)?.backend;
            let left_secs =
                self.backends[backend].lasts(now).find(|(of, _)| *of == attempt).map(|(_, secs)| secs);
            Some(Standing { job: *id, backend: Some(backend), place: None, left_secs })
        });
        let waiting = self.forecast(now, false, false, usize::MAX).0.into_iter().enumerate();
        let waiting = waiting.map(|(before, (job, _, left_secs))| Standing {
            job,
            backend: None,
            place: Some(before + 1),
            left_secs,
        });
        running.chain(waiting).collect()
    }
}

/// A waiting job: where it goes if it goes now, and the seconds until it is done.
pub(super) type Forecast = (JobId, Option<usize>, Option<f64>);

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::pool) struct Standing {
    pub(in crate::pool) job: JobId,
    /// Where it is being done.
    pub(in crate::pool) backend: Option<usize>,
    /// Its place among those that wait, from 1.
    pub(in crate::pool) place: Option<usize>,
    /// Seconds until it will be done; `None` if nobody can.
    pub(in crate::pool) left_secs: Option<f64>,
}

/// Whole seconds, upwards: the header has no fractions, and too early is a wasted trip.
fn whole_secs(secs: f64) -> Duration {
    let secs = secs.clamp(0.0, RETRY_AFTER_MAX.as_secs_f64());
    Duration::from_secs_f64((secs - 1e-6).max(0.0).ceil()).max(RETRY_AFTER_MIN)
}

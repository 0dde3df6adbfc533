//! What the pool knows of one backend: what it works on, how fast it is, and whether it may be asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Monotonic, Mutant, planted};

use super::core::{AttemptId, Load, Wanted};

/// Weight of the newest sample in the moving average.
const NEWEST: f64 = 0.2;
/// A speed that was measured longer ago counts no more: the backend gets a job to show what it is like now.
const MEASURED_FOR: Duration = Duration::from_secs(600);
/// How often a backend is asked for a sign of life.
const PROBE_EVERY: Duration = Duration::from_secs(3);
/// Unanswered probes in a row after which a backend is down. A job that cannot connect needs no second one.
const PROBES_FAILED: u32 = 2;
/// Longest rest after failures in a row; the first is a second, each next one twice as long.
const REST_MAX: Duration = Duration::from_secs(60);
/// How long a backend is left alone whose settings do not fit, and with jobs of a size that did not fit its memory.
const ASIDE: Duration = Duration::from_secs(60);
/// A rest that a backend asks for is kept, up to this.
const ASKED_REST_MAX: Duration = Duration::from_secs(600);

/// A job that a backend works on, or has in its own queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) load: Load,
    pub(super) since: Monotonic,
    /// How long it was thought to take by itself, in seconds.
    pub(super) expected_secs: f64,
    /// Whether the backend had to load a checkpoint for it.
    pub(super) switches: bool,
}

/// One backend.
#[derive(Debug, Default)]
pub(super) struct Backend {
    pub(super) running: BTreeMap<AttemptId, Running>,
    /// Seconds per (step × megapixel), a moving average, and when its newest sample was taken.
    speed: Option<(f64, Monotonic)>,
    samples: u64,
    /// When its last job ended: the next one that waited there began then.
    ended_at: Option<Monotonic>,
    /// The checkpoint that it used last.
    pub(super) loaded: Option<Arc<str>>,
    /// Jobs of others in its own queue.
    pub(super) foreign: u32,
    pub(super) done: u64,
    pub(super) failed: u64,
    failures_in_a_row: u32,
    rest: Option<(Monotonic, String)>,
    probes_failed: u32,
    down: Option<String>,
    probe_at: Monotonic,
    probing: bool,
    too_large: Option<(Load, Monotonic)>,
    /// Checkpoints that it does not have, and until when that is believed; at most a handful.
    lacks: BTreeMap<Arc<str>, Monotonic>,
}

/// Most checkpoints that a backend is remembered not to have.
const LACKS_MAX: usize = 16;

impl Backend {
    /// Seconds per (step × megapixel) as measured; `None` if nothing was measured lately.
    pub(super) fn speed(&self, now: Monotonic) -> Option<f64> {
        self.speed.filter(|(_, at)| now.since(*at) <= MEASURED_FOR).map(|(secs, _)| secs)
    }

    /// Takes a finished job for a sample.
    pub(super) fn measure(&mut self, job: &Running, now: Monotonic) {
        let sample = now.since(job.since).as_secs_f64() / job.load.units();
        self.samples += 1;
        let first = self.speed(now).is_none() || self.samples == 2;
        // The first job of a backend pays for its start, so the second one's sample replaces it.
        let secs = match self.speed {
            Some((before, _)) if !first && !planted(Mutant::PoolBelievesLastSample) => {
                before * (1.0 - NEWEST) + sample * NEWEST
            }
            Some(_) | None => sample,
        };
        self.speed = Some((secs, now));
    }

    /// A job ended there, however. What is returned says since when it was worked on: a backend does one at a time, so
    /// one that came while another was there began when that one ended.
    pub(super) fn finish(&mut self, attempt: AttemptId, now: Monotonic) -> Option<Running> {
        let running = self.running.remove(&attempt)?;
        let since = self.began(&running);
        self.ended_at = Some(now);
        Some(Running { since, ..running })
    }

    fn began(&self, running: &Running) -> Monotonic {
        self.ended_at.map_or(running.since, |ended| ended.max(running.since))
    }

    /// Seconds until each job that it has is done. A job that takes longer than was thought is believed to take as long
    /// again: the longer it is overdue, the less the backend is waited for.
    pub(super) fn lasts(&self, now: Monotonic) -> impl Iterator<Item = (AttemptId, f64)> + '_ {
        let mut secs = 0.0;
        self.running.iter().enumerate().map(move |(place, (attempt, running))| {
            // In the order of coming; the first is the one that is worked on.
            let elapsed = if place == 0 { now.since(self.began(running)).as_secs_f64() } else { 0.0 };
            let expected = running.expected_secs;
            let overdue = elapsed > expected && !planted(Mutant::PoolOverdueIsAlmostDone);
            secs += if overdue { elapsed } else { (expected - elapsed).max(0.0) };
            (*attempt, secs)
        })
    }

    /// Seconds until it is free, if each job of others takes `foreign_secs`.
    pub(super) fn backlog_secs(&self, now: Monotonic, foreign_secs: f64) -> f64 {
        self.lasts(now).last().map_or(0.0, |(_, secs)| secs) + f64::from(self.foreign) * foreign_secs
    }

    /// Succeeded at a job.
    pub(super) fn succeeded(&mut self, model: &Arc<str>) {
        self.done += 1;
        self.failures_in_a_row = 0;
        self.rest = None;
        self.down = None;
        self.probes_failed = 0;
        if !model.is_empty() {
            self.loaded = Some(Arc::clone(model));
        }
    }

    /// Cannot be reached: down until it shows a sign of life.
    pub(super) fn unreachable(&mut self, why: String, now: Monotonic) {
        self.failed += 1;
        self.down = Some(why);
        self.foreign = 0;
        self.probe_at = now.plus(PROBE_EVERY);
    }

    /// Failed at a job: rests, the longer the more often it failed in a row.
    pub(super) fn failed(&mut self, why: String, now: Monotonic) {
        self.failed += 1;
        self.failures_in_a_row += 1;
        let secs = 2u64.saturating_pow(self.failures_in_a_row - 1);
        self.rest = Some((now.plus(Duration::from_secs(secs).min(REST_MAX)), why));
    }

    /// Asks to be left alone for a while.
    pub(super) fn busy(&mut self, retry_after: Duration, now: Monotonic) {
        let until = now.plus(retry_after.clamp(Duration::from_secs(1), ASKED_REST_MAX));
        self.rest = Some((until, "its queue is full".to_owned()));
    }

    /// Its settings do not fit: whoever mends them needs a while.
    pub(super) fn set_aside(&mut self, why: String, now: Monotonic) {
        self.failed += 1;
        self.rest = Some((now.plus(ASIDE), why));
    }

    /// Has not got a checkpoint.
    pub(super) fn lacking(&mut self, model: &Arc<str>, now: Monotonic) {
        self.failed += 1;
        self.lacks.retain(|_, until| *until > now);
        if self.lacks.len() < LACKS_MAX {
            self.lacks.insert(Arc::clone(model), now.plus(ASIDE));
        }
    }

    /// Ran out of memory at a job of this size.
    pub(super) fn ran_out_of_memory(&mut self, load: Load, now: Monotonic) {
        self.failed += 1;
        self.too_large = Some((load, now.plus(ASIDE)));
    }

    /// A probe was answered or not.
    pub(super) fn probed(&mut self, sign: Result<Sign, String>, now: Monotonic) {
        self.probing = false;
        self.probe_at = now.plus(PROBE_EVERY);
        match sign {
            Ok(sign) => {
                self.probes_failed = 0;
                self.down = None;
                self.foreign = sign.jobs.saturating_sub(self.running.len() as u32);
                if self.loaded.is_none() {
                    self.loaded = sign.loaded;
                }
            }
            Err(why) => {
                self.probes_failed += 1;
                if self.probes_failed >= PROBES_FAILED && !planted(Mutant::PoolDeadStaysUp) {
                    self.down = Some(why);
                    self.foreign = 0;
                }
            }
        }
    }

    /// Whether it is to be asked for a sign of life now; then a probe is under way.
    pub(super) fn probe(&mut self, now: Monotonic) -> bool {
        let due = !self.probing && self.probe_at <= now;
        self.probing |= due;
        due
    }

    /// When the next probe is due; `None` while one is under way.
    pub(super) fn probe_at(&self) -> Option<Monotonic> {
        (!self.probing).then_some(self.probe_at)
    }

    /// Why it is down, if it is.
    pub(super) fn down(&self) -> Option<&str> {
        self.down.as_deref()
    }

    /// Until when it rests, and why, if it does.
    pub(super) fn resting(&self, now: Monotonic) -> Option<(Monotonic, &str)> {
        self.rest.as_ref().filter(|(until, _)| *until > now).map(|(until, why)| (*until, why.as_str()))
    }

    /// Whether it can do a job of this kind at all, rest or not.
    pub(super) fn can(&self, wanted: &Wanted, now: Monotonic) -> bool {
        let too_large =
            self.too_large.is_some_and(|(load, until)| until > now && wanted.load.pixels() >= load.pixels());
        let lacks = self.lacks.get(&wanted.model).is_some_and(|until| *until > now);
        self.down.is_none() && !too_large && !lacks
    }

    /// Whether a job for `model` would have it load another checkpoint.
    pub(super) fn switches_for(&self, model: &str) -> bool {
        !model.is_empty() && self.loaded.as_deref().is_some_and(|loaded| !is_called(loaded, model))
    }
}

/// A backend's sign of life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sign {
    /// Jobs that it works on or has in its queue, whoever sent them, as far as it tells.
    pub jobs: u32,
    /// The checkpoint that is loaded, if it told.
    pub loaded: Option<Arc<str>>,
    /// How far the job is that it works on, 0.0 to 1.0; `None` if it does not tell.
    pub progress: Option<f32>,
}

/// Whether a checkpoint that is called `title` in a list, such as `sd15.safetensors [6ce0161689]`, is `name`.
pub(crate) fn is_called(title: &str, name: &str) -> bool {
    let bare = title.split(" [").next().unwrap_or(title);
    title == name || bare == name || bare.rsplit_once('.').is_some_and(|(stem, _)| stem == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_known_by_any_of_its_names() {
        for name in ["sd15", "sd15.safetensors", "sd15.safetensors [6ce0161689]"] {
            assert!(is_called("sd15.safetensors [6ce0161689]", name), "{name}");
        }
        assert!(!is_called("sd15-inpaint.safetensors [aa]", "sd15") && !is_called("", "x"));
    }
}

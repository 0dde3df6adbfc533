//! What a migration does at this moment, for people who look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::Monotonic;
use tokio::sync::Notify;

/// From one sample to the next, and how many there are: ten minutes of them.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
const SAMPLES: usize = 61;

/// How a migration goes on at this moment. All zero for one that does not run in this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MigrationProgress {
    /// Its task runs.
    pub running: bool,
    /// Objects on their way.
    pub in_flight: u64,
    /// What it waits for.
    pub waiting: Option<String>,
    /// Over the last minute.
    pub last_minute: MigrationRate,
    /// Over the last ten.
    pub last_ten_minutes: MigrationRate,
}

/// Copied per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MigrationRate {
    /// Objects.
    pub objects: f64,
    /// Bytes.
    pub bytes: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Monotonic,
    objects: u64,
    bytes: u64,
}

/// What the task of a bucket shares with those who look and those who give orders.
#[derive(Debug, Default)]
pub(super) struct Live {
    running: AtomicBool,
    in_flight: AtomicU64,
    /// There are new orders: begin nothing more.
    interrupted: AtomicBool,
    changed: Notify,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Option<String>,
    objects: u64,
    bytes: u64,
    samples: VecDeque<Sample>,
}

/// Counts an object that is on its way out when it is there, or given up.
pub(super) struct InFlight<'a>(&'a Live);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new migration: what was measured of the old one is forgotten.
    pub(super) fn begin(&self) {
        *self.shared() = Shared::default();
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Relaxed);
    }

    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// The orders are going to be read.
    pub(super) fn listen(&self) {
        self.interrupted.store(false, Ordering::Release);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }

    /// Waits so long, or until there are new orders, and says why meanwhile.
    pub(super) async fn wait(&self, longest: Duration, why: String) {
        self.shared().waiting = Some(why);
        // An order that came before is still told: `Notify` keeps one.
        let _ = tokio::time::timeout(longest, self.changed.notified()).await;
        self.shared().waiting = None;
    }

    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// An object was copied.
    pub(super) fn copied(&self, now: Monotonic, bytes: u64) {
        let mut shared = self.shared();
        shared.objects += 1;
        shared.bytes += bytes;
        let due = shared.samples.back().is_none_or(|last| now.since(last.at) >= SAMPLE_EVERY);
        if due {
            let sample = Sample { at: now, objects: shared.objects, bytes: shared.bytes };
            if shared.samples.len() == SAMPLES {
                shared.samples.pop_front();
            }
            shared.samples.push_back(sample);
        }
    }

    pub(super) fn shown(&self, now: Monotonic) -> MigrationProgress {
        let shared = self.shared();
        MigrationProgress {
            running: self.running.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: shared.waiting.clone(),
            last_minute: shared.rate(now, Duration::from_secs(60)),
            last_ten_minutes: shared.rate(now, Duration::from_secs(600)),
        }
    }
}

impl Shared {
    fn rate(&self, now: Monotonic, over: Duration) -> MigrationRate {
        // The oldest sample within the time, or the last one before it.
        let first = self.samples.iter().find(|sample| now.since(sample.at) <= over);
        let Some(first) = first else { return MigrationRate::default() };
        let secs = now.since(first.at).as_secs_f64();
        if secs < 1.0 {
            return MigrationRate::default();
        }
        MigrationRate {
            objects: (self.objects - first.objects) as f64 / secs,
            bytes: (self.bytes - first.bytes) as f64 / secs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_asked_for_and_samples_are_bounded() {
        let live = Live::default();
        let at = |secs: u64| Monotonic(0).plus(Duration::from_secs(secs));
        assert_eq!(live.shown(at(0)).last_minute, MigrationRate::default());
        for secs in 0..2_000 {
            live.copied(at(secs), if secs < 1_950 { 100 } else { 1_000 });
        }
        let shown = live.shown(at(2_000));
        assert!((0.9..1.1).contains(&shown.last_minute.objects), "{shown:?}");
        assert!(shown.last_minute.bytes > 800.0 && shown.last_ten_minutes.bytes < 200.0, "{shown:?}");
        assert_eq!(live.shared().samples.len(), SAMPLES);
    }
}

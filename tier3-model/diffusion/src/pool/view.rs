//! What there is to see of a pool.

use std::time::Duration;

/// A pool's queue and backends at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueView {
    /// Jobs that wait.
    pub waiting: usize,
    /// Most jobs that may wait.
    pub queue_max: usize,
    /// Jobs that were sent away because the queue was full, since the start.
    pub shed: u64,
    /// What somebody who is sent away now would be told.
    pub retry_after: Duration,
    /// The backends in the order of the settings.
    pub backends: Vec<BackendView>,
    /// Jobs at backends, then those that wait in the order of their turns.
    pub jobs: Vec<JobView>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendView {
    /// Its address, without credentials.
    pub address: String,
    /// Whether it may be asked.
    pub state: BackendState,
    /// Why not, if not.
    pub why: String,
    /// Jobs of ours that it has.
    pub in_flight: usize,
    /// Jobs of others that it has, as far as it tells.
    pub foreign: u32,
    /// Seconds per (step × megapixel), a moving average; `None` before the first picture and long after the last.
    pub secs_per_unit: Option<f64>,
    /// The checkpoint that it used last, if it is known.
    pub checkpoint: Option<String>,
    /// Pictures that it made.
    pub done: u64,
    /// Jobs that it failed at.
    pub failed: u64,
}

/// Whether a backend may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It may.
    Up,
    /// It failed or asked to be left alone, for a while.
    Resting,
    /// It gives no sign of life.
    Down,
}

impl BackendState {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Resting => "resting",
            Self::Down => "down",
        }
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Its place among those that wait, from 1; `None` if a backend has it.
    pub place: Option<usize>,
    /// Which backend has it, by its place in [`QueueView::backends`].
    pub backend: Option<usize>,
    /// Who asked, if that is known.
    pub client: String,
    /// Since when it has been here.
    pub age: Duration,
    /// How long until it is done, as far as can be told.
    pub left: Option<Duration>,
}

//! How long a client may take over the body that it sends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What is put up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Longest silence.
    pub(crate) silence: Duration,
    /// Longest wait for each `pace_bytes`, in all.
    pub(crate) pace: Duration,
    pub(crate) pace_bytes: u64,
}

/// The waiting for one body: over when the client was silent for too long, or so slow that its pauses, each of
/// which would do, come to too much.
#[derive(Debug)]
pub(crate) struct Waiting {
    patience: Patience,
    /// Bytes of the current `pace_bytes`.
    came: u64,
    /// How long they were waited for. Only the client's time: what the server takes to store them is not in it.
    waited: Duration,
    /// Since when nothing has come, while more is asked for.
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, came: 0, waited: Duration::ZERO, since: None, alarm: None }
    }

    /// Something came.
    pub(crate) fn came(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.came += bytes as u64;
        if self.came >= self.patience.pace_bytes {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Nothing has come. Ready when it is not waited for any longer.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.patience.silence.min(self.patience.pace.saturating_sub(self.waited));
        let until = since + left;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(cx)
    }
}

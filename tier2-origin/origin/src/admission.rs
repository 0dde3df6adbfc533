//! How many calls of the origin run at once, and how many may wait for a place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::Counters;

/// No place, and none soon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// When a place is likely to be free, from the measured time of a call.
    pub(crate) retry_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    max_in_flight: usize,
    max_queued: usize,
    max_wait: Duration,
    queued: AtomicUsize,
    counters: Arc<Counters>,
}

impl Admission {
    pub(crate) fn new(
        max_in_flight: usize,
        max_queued: usize,
        max_wait: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            max_queued,
            max_wait,
            queued: AtomicUsize::new(0),
            counters,
        }
    }

    /// Takes a place, waiting in line for at most the configured time. Dropping the future leaves the line.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        let in_line = InLine::join(&self.queued);
        if in_line.ahead >= self.max_queued {
            return Err(self.full());
        }
        let waiting = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.max_wait, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed, so only the wait was too long.
            Ok(Err(_)) | Err(_) => Err(self.full()),
        }
    }

    fn full(&self) -> Full {
        self.counters.shed();
        Full { retry_after: self.retry_after() }
    }

    /// When the line as it stands will have been served, 1 second at least and a minute at most.
    pub(crate) fn retry_after(&self) -> Duration {
        let rounds = self.queued.load(Ordering::Relaxed) / self.max_in_flight.max(1) + 1;
        let wait = self.counters.call_time().saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        wait.clamp(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// Writes the present load into the counters.
    pub(crate) fn publish(&self) {
        let in_flight = self.max_in_flight.saturating_sub(self.places.available_permits());
        self.counters.set_load(in_flight, self.queued.load(Ordering::Relaxed));
    }
}

/// A place in line, given up when dropped.
struct InLine<'a> {
    queued: &'a AtomicUsize,
    ahead: usize,
}

impl<'a> InLine<'a> {
    fn join(queued: &'a AtomicUsize) -> Self {
        Self { queued, ahead: queued.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_in_flight: usize, max_queued: usize) -> Admission {
        Admission::new(max_in_flight, max_queued, Duration::from_millis(20), Arc::default())
    }

    #[tokio::test]
    async fn a_full_line_refuses_at_once_and_a_freed_place_is_taken() {
        let mut admission = admission(1, 0);
        admission.max_wait = Duration::from_secs(3600);
        let held = admission.enter().await.unwrap();
        // The bound refuses, not the wait: that would take an hour.
        let refused = tokio::time::timeout(Duration::from_secs(5), admission.enter()).await.unwrap();
        assert_eq!(refused.unwrap_err().retry_after, Duration::from_secs(1));
        drop(held);
        assert!(admission.enter().await.is_ok());
        assert_eq!(admission.counters.snapshot().shed, 1);
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_place_or_with_the_deadline() {
        let admission = Arc::new(admission(1, 1));
        let held = admission.enter().await.unwrap();
        let (first, ()) = tokio::join!(admission.enter(), async { drop(held) });
        let _held = first.unwrap();
        assert!(admission.enter().await.is_err(), "the deadline passed");
        assert_eq!(admission.queued.load(Ordering::Relaxed), 0, "nobody is left in line");
    }

    #[tokio::test]
    async fn retry_after_follows_the_measured_time() {
        let admission = admission(2, 10);
        admission.counters.call_took(Duration::from_secs(8));
        assert_eq!(admission.retry_after(), Duration::from_secs(8));
        admission.queued.store(4, Ordering::Relaxed);
        assert_eq!(admission.retry_after(), Duration::from_secs(24));
        admission.queued.store(400, Ordering::Relaxed);
        assert_eq!(admission.retry_after(), Duration::from_secs(60));
    }
}

//! Who may use a model now, who waits, and who is sent away.
//!
//! A model works on few pictures at a time, and its own queue, if it has one, has neither a limit
//! nor a position. So admission is ours: a gate has slots and a bounded queue in front of them;
//! beyond that a caller is told when to come back, from the measured rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::model::ModelError;

/// Weight of the newest sample in the moving average.
const NEWEST: f64 = 0.2;
/// Bounds of the advice given to those who are sent away.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Slots with a bounded queue in front of them, first come, first served.
#[derive(Debug)]
pub struct Gate {
    slots: Arc<Semaphore>,
    slot_count: usize,
    queue_max: usize,
    waiting: AtomicUsize,
    /// Moving average of how long a finished run took.
    average: Mutex<Option<Duration>>,
}

impl Gate {
    /// A gate with `slots` runs at a time (at least one) and `queue_max` callers waiting.
    #[must_use]
    pub fn new(slots: usize, queue_max: usize) -> Arc<Self> {
        let slot_count = slots.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(slot_count)),
            slot_count,
            queue_max,
            waiting: AtomicUsize::new(0),
            average: Mutex::new(None),
        })
    }

    /// Takes a slot, waiting in the queue if there is room in it.
    ///
    /// # Errors
    /// [`ModelError::Busy`] at once if the queue is full.
    ///
    /// # Cancellation
    /// Safe: dropping the future gives the place in the queue free.
    pub async fn enter(self: &Arc<Self>) -> Result<Pass, ModelError> {
        let slot = match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                let _place = Place::take(self).ok_or_else(|| self.busy())?;
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                slot.map_err(|closed| ModelError::Internal(closed.to_string()))?
            }
        };
        Ok(Pass { _slot: slot, gate: Arc::clone(self), since: Instant::now() })
    }

    /// How many callers wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many slots are taken.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slot_count - self.slots.available_permits()
    }

    /// The moving average of a run's time; `None` before the first one has finished.
    #[must_use]
    pub fn average(&self) -> Option<Duration> {
        *self.average.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When somebody who is sent away now can expect a free place: the work ahead over the slots.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let ahead = self.waiting() + self.in_flight();
        let average = self.average().unwrap_or(RETRY_AFTER_MIN);
        let wait = average.as_secs_f64() * ahead as f64 / self.slot_count as f64;
        // Whole seconds, upwards: the header has no fractions, and too early is a wasted trip.
        Duration::from_secs_f64(wait.min(RETRY_AFTER_MAX.as_secs_f64()).ceil()).max(RETRY_AFTER_MIN)
    }

    fn busy(&self) -> ModelError {
        ModelError::Busy { retry_after: self.retry_after() }
    }

    fn record(&self, took: Duration) {
        let mut average = self.average.lock().unwrap_or_else(PoisonError::into_inner);
        *average = Some(match *average {
            None => took,
            Some(before) => before.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST),
        });
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a Gate);

impl<'a> Place<'a> {
    fn take(gate: &'a Gate) -> Option<Self> {
        let take = |waiting| (waiting < gate.queue_max).then_some(waiting + 1);
        gate.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok().map(|_| Self(gate))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A slot. It is free again when this is dropped.
#[derive(Debug)]
pub struct Pass {
    _slot: OwnedSemaphorePermit,
    gate: Arc<Gate>,
    since: Instant,
}

impl Pass {
    /// Gives the slot back after a run that counts as a sample of the rate. Failed and cancelled
    /// runs do not: drop the pass for those.
    pub fn finish(self) {
        self.gate.record(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_sheds_with_advice_from_the_measured_rate() {
        let gate = Gate::new(1, 2);
        let pass = gate.enter().await.unwrap();
        tokio::time::advance(Duration::from_secs(4)).await;
        pass.finish();
        assert_eq!(gate.average(), Some(Duration::from_secs(4)));

        let _running = gate.enter().await.unwrap();
        let (mut first, mut second) = (Box::pin(gate.enter()), Box::pin(gate.enter()));
        assert!(futures_pending(&mut first).await && futures_pending(&mut second).await);
        assert_eq!((gate.in_flight(), gate.waiting()), (1, 2));
        let Err(ModelError::Busy { retry_after }) = gate.enter().await else { panic!("the queue is full") };
        assert_eq!(retry_after, Duration::from_secs(12));

        drop(first);
        assert_eq!(gate.waiting(), 1);
        assert!(futures_pending(&mut Box::pin(gate.enter())).await);
    }

    #[tokio::test]
    async fn the_queue_is_first_come_first_served() {
        let gate = Gate::new(1, 8);
        let running = gate.enter().await.unwrap();
        let (mut first, mut second) = (Box::pin(gate.enter()), Box::pin(gate.enter()));
        assert!(futures_pending(&mut first).await && futures_pending(&mut second).await);
        drop(running);
        assert!(futures_pending(&mut second).await);
        drop(first.await.unwrap());
        second.await.unwrap();
    }

    #[test]
    fn the_average_leans_on_the_past() {
        let gate = Gate::new(2, 0);
        gate.record(Duration::from_secs(10));
        gate.record(Duration::from_secs(20));
        assert_eq!(gate.average(), Some(Duration::from_secs(12)));
        assert_eq!(gate.retry_after(), RETRY_AFTER_MIN);
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        let poll = std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))
        });
        poll.await.is_pending()
    }
}

//! Work in the background that keeps to a rate.

use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::engine::Engine;

/// Keeps the bytes that are read or copied under so many a second.
#[derive(Debug)]
pub(crate) struct Pace {
    /// 0: none.
    pub(crate) limit: u64,
    began: Option<Monotonic>,
    spent: u64,
}

impl Pace {
    /// So many bytes per second; 0: as many as there are.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, began: None, spent: 0 }
    }

    /// Waits as long as so many bytes take at this pace.
    ///
    /// # Cancellation
    /// The bytes count all the same.
    pub(crate) async fn spend(&mut self, engine: &Engine, bytes: u64) {
        if self.limit == 0 {
            // Others get their turn all the same.
            return tokio::task::yield_now().await;
        }
        let now = engine.inner.clock.monotonic();
        let began = *self.began.get_or_insert(now);
        self.spent += bytes;
        let due = Duration::from_secs_f64(self.spent as f64 / self.limit as f64);
        let ahead = due.saturating_sub(now.since(began));
        if ahead.is_zero() {
            // Time that was lost is not made up for: the disk was busy with something more important.
            (self.began, self.spent) = (None, 0);
        } else {
            tokio::time::sleep(ahead).await;
        }
    }
}

//! Where a fill or a HEAD stands in front of its origin: what its owner waits for, and what whoever gives up
//! waiting is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::api::BucketError;
use crate::core::admission::Ticket;
use crate::origins::{OriginGate, Permit};

/// The place of one fill or HEAD. Shared between its task and those who wait for it.
#[derive(Debug)]
pub(crate) struct Standing {
    gate: Arc<OriginGate>,
    client: Arc<str>,
    at: Mutex<At>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// Not in the queue yet.
    Before,
    Queued(Ticket),
    /// The origin is being asked, since then.
    Admitted(Monotonic),
}

impl Standing {
    /// Somebody who counts against the share of `client` and has not entered yet.
    pub(crate) fn new(gate: Arc<OriginGate>, client: Arc<str>) -> Self {
        Self { gate, client, at: Mutex::new(At::Before) }
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the queue and waits for admission, at most `longest`.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if the origin asked to be left alone, there is no room, or the wait was too long.
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the queue.
    pub(crate) async fn admitted(&self, longest: Duration) -> Result<Permit, BucketError> {
        let entrance = self.gate.enter(&self.client)?;
        *self.at() = At::Queued(entrance.ticket());
        let permit = entrance.admitted(longest).await?;
        *self.at() = At::Admitted(permit.since());
        Ok(permit)
    }

    /// When somebody who cannot wait any longer should come back for the answer: at least a second.
    pub(crate) fn come_back_after(&self) -> Duration {
        let at = *self.at();
        let wait = match at {
            At::Before => self.gate.retry_after(&self.client),
            At::Queued(ticket) => self.gate.answered_after(ticket, &self.client),
            At::Admitted(since) => self.gate.left_of_service(since),
        };
        wait.max(Duration::from_secs(1))
    }
}

//! Where a fill or a HEAD stands in front of its origin: what its owner waits for, and what whoever gives up
//! waiting is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::api::BucketError;
use crate::core::admission::{Priority, Ticket};
use crate::origins::{OriginGate, Permit};

/// The place of one fill or HEAD. Shared between its task and those who wait for it.
#[derive(Debug)]
pub(crate) struct Standing {
    gate: Arc<OriginGate>,
    place: Mutex<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    /// Whose share it counts against.
    client: Arc<str>,
    priority: Priority,
    at: At,
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
    pub(crate) fn new(gate: Arc<OriginGate>, client: Arc<str>, priority: Priority) -> Self {
        Self { gate, place: Mutex::new(Place { client, priority, at: At::Before }) }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the queue and waits for admission, at most `longest`.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if the origin asked to be left alone, there is no room, or the wait was too long.
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the queue.
    pub(crate) async fn admitted(&self, longest: Duration) -> Result<Permit, BucketError> {
        let entrance = {
            // Held while it enters, so that whoever comes to wait for it finds it before the queue or in it.
            let mut place = self.place();
            let entrance = self.gate.enter(&place.client, place.priority)?;
            place.at = At::Queued(entrance.ticket());
            entrance
        };
        let permit = entrance.admitted(longest).await?;
        self.place().at = At::Admitted(permit.since());
        Ok(permit)
    }

    /// `client` waits for it from now on: it is no work in the background any more.
    pub(crate) fn wanted_by(&self, client: &Arc<str>) {
        let mut place = self.place();
        if place.priority == Priority::Client {
            return;
        }
        place.priority = Priority::Client;
        place.client = client.clone();
        if let At::Queued(ticket) = place.at {
            self.gate.promote(ticket, client);
        }
    }

    /// When somebody who cannot wait any longer should come back for the answer: at least a second.
    pub(crate) fn come_back_after(&self) -> Duration {
        let Place { client, at, .. } = self.place().clone();
        let wait = match at {
            At::Before => self.gate.retry_after(&client),
            At::Queued(ticket) => self.gate.answered_after(ticket, &client),
            At::Admitted(since) => self.gate.left_of_service(since),
        };
        wait.max(Duration::from_secs(1))
    }
}

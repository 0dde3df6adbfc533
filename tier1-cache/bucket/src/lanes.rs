//! One lane for each key: what goes to its origin goes one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::core::fills::Slot;

/// The lanes that somebody is in, or waits for.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<HashMap<Slot, Arc<tokio::sync::Mutex<()>>>>);

/// A lane that is taken. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Lane {
    lanes: Arc<Lanes>,
    slot: Slot,
    taken: Option<OwnedMutexGuard<()>>,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Slot, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lane of a key.
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the others as they are.
    pub(crate) async fn take(self: &Arc<Self>, slot: &Slot) -> Lane {
        let lane = self.lock().entry(slot.clone()).or_default().clone();
        // Whoever leaves takes the lane out of the map, also where this wait is dropped.
        let mut taken = Lane { lanes: self.clone(), slot: slot.clone(), taken: None };
        taken.taken = Some(lane.lock_owned().await);
        taken
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.taken = None;
        let mut lanes = self.lanes.lock();
        // Nobody else has it: those who come find none, and make one.
        if lanes.get(&self.slot).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.slot);
        }
    }
}

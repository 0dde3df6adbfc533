//! What the process remembers of the last fill of a key, for `explain`. Bounded; lost at a restart.

use std::collections::{BTreeMap, VecDeque};

use crate::core::fills::Slot;

/// How many keys are remembered.
const KEYS: usize = 4096;

/// The last fill of each of the most recently filled keys, in words.
#[derive(Debug, Default)]
pub(crate) struct FillMemory {
    said: BTreeMap<Slot, String>,
    order: VecDeque<Slot>,
}

impl FillMemory {
    /// Remembers what became of the last fill of `slot`.
    pub(crate) fn remember(&mut self, slot: &Slot, said: String) {
        if self.said.insert(slot.clone(), said).is_none() {
            self.order.push_back(slot.clone());
            if self.order.len() > KEYS
                && let Some(oldest) = self.order.pop_front()
            {
                self.said.remove(&oldest);
            }
        }
    }

    /// What became of the last fill of `slot`.
    pub(crate) fn recall(&self, slot: &Slot) -> Option<&str> {
        self.said.get(slot).map(String::as_str)
    }
}

//! The table of blocks on their way: at most one request for each block of a key's object.
//!
//! Plain data, as the table of fills is; whoever owns it holds a lock while calling it. What is on its way of a key is all
//! of one object, which its *pin* names. Another pin takes the place of the one before: who reads that goes on, and
//! nobody joins it.

use std::collections::BTreeMap;

use crate::core::fills::{FillId, Joined, Slot, TableFull};

/// Blocks on their way, by key and number. `P` names their object; `T` is what readers attach to.
#[derive(Debug)]
pub(crate) struct FlightTable<P, T> {
    // Bounded by `max` blocks; a key is in it while one of its blocks is.
    keys: BTreeMap<Slot, OfKey<P, T>>,
    next: u64,
    blocks: usize,
    max: usize,
}

#[derive(Debug)]
struct OfKey<P, T> {
    pin: P,
    blocks: BTreeMap<u64, (FillId, T)>,
}

impl<P: Clone + PartialEq, T: Clone> FlightTable<P, T> {
    /// An empty table for at most `max` blocks.
    pub(crate) fn new(max: usize) -> Self {
        Self { keys: BTreeMap::new(), next: 1, blocks: 0, max }
    }

    /// The object of which blocks are on their way.
    pub(crate) fn pin(&self, slot: &Slot) -> Option<&P> {
        self.keys.get(slot).map(|of_key| &of_key.pin)
    }

    /// What readers of a block attach to.
    pub(crate) fn get(&self, slot: &Slot, pin: &P, number: u64) -> Option<&T> {
        let of_key = self.keys.get(slot).filter(|of_key| of_key.pin == *pin)?;
        of_key.blocks.get(&number).map(|(_, shared)| shared)
    }

    /// What readers of all of a key's blocks attach to.
    pub(crate) fn all(&self, slot: &Slot) -> impl Iterator<Item = &T> {
        self.keys.get(slot).into_iter().flat_map(|of_key| of_key.blocks.values().map(|(_, shared)| shared))
    }

    /// The first block from `number` on that is on its way.
    pub(crate) fn first_from(&self, slot: &Slot, pin: &P, number: u64) -> Option<u64> {
        let of_key = self.keys.get(slot).filter(|of_key| of_key.pin == *pin)?;
        of_key.blocks.range(number..).next().map(|(number, _)| *number)
    }

    /// Joins the block that is on its way, or starts it with what `start` makes.
    ///
    /// # Errors
    /// [`TableFull`]: pass it on, unkept.
    pub(crate) fn join(
        &mut self,
        slot: &Slot,
        pin: &P,
        number: u64,
        start: impl FnOnce(FillId) -> T,
    ) -> Result<Joined<T>, TableFull> {
        if let Some(of_key) = self.keys.get(slot) {
            if of_key.pin != *pin {
                self.forget(slot);
            } else if let Some((id, shared)) = of_key.blocks.get(&number) {
                return Ok(Joined::Running(*id, shared.clone()));
            }
        }
        if self.blocks >= self.max {
            return Err(TableFull);
        }
        let id = FillId(self.next);
        self.next += 1;
        let shared = start(id);
        let fresh = || OfKey { pin: pin.clone(), blocks: BTreeMap::new() };
        let of_key = self.keys.entry(slot.clone()).or_insert_with(fresh);
        of_key.blocks.insert(number, (id, shared.clone()));
        self.blocks += 1;
        Ok(Joined::Started(id, shared))
    }

    /// Nobody joins what is on its way of this key any more.
    pub(crate) fn forget(&mut self, slot: &Slot) {
        if let Some(of_key) = self.keys.remove(slot) {
            self.blocks -= of_key.blocks.len();
        }
    }

    /// A block has ended. By id: another may have taken its place.
    pub(crate) fn end(&mut self, slot: &Slot, number: u64, id: FillId) {
        let Some(of_key) = self.keys.get_mut(slot) else { return };
        if of_key.blocks.get(&number).is_none_or(|(running, _)| *running != id) {
            return;
        }
        of_key.blocks.remove(&number);
        self.blocks -= 1;
        if of_key.blocks.is_empty() {
            self.keys.remove(slot);
        }
    }

    /// How many blocks can be joined.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.blocks
    }
}

#[cfg(test)]
mod tests {
    use fallthrough_object::Key;
    use fallthrough_store::BucketId;

    use super::*;

    fn slot(key: &str) -> Slot {
        Slot { bucket: BucketId(1), key: Key::parse(key).unwrap() }
    }

    #[test]
    fn one_request_for_each_block_of_one_object() {
        let mut table = FlightTable::new(3);
        let Ok(Joined::Started(first, ())) = table.join(&slot("a"), &"one", 5, |_| ()) else { panic!() };
        assert_eq!(table.join(&slot("a"), &"one", 5, |_| ()), Ok(Joined::Running(first, ())));
        assert!(matches!(table.join(&slot("a"), &"one", 8, |_| ()), Ok(Joined::Started(..))));
        assert_eq!(
            (table.first_from(&slot("a"), &"one", 6), table.first_from(&slot("a"), &"one", 9)),
            (Some(8), None)
        );
        assert!(matches!(table.join(&slot("b"), &"one", 0, |_| ()), Ok(Joined::Started(..))));
        assert_eq!(table.join(&slot("c"), &"one", 0, |_| ()), Err(TableFull));
        // Another object takes the place of both blocks.
        let Ok(Joined::Started(second, ())) = table.join(&slot("a"), &"two", 5, |_| ()) else { panic!() };
        assert_eq!((table.len(), table.pin(&slot("a"))), (2, Some(&"two")));
        assert!(table.get(&slot("a"), &"one", 5).is_none() && table.get(&slot("a"), &"two", 5).is_some());
        // What ends late takes only itself away.
        table.end(&slot("a"), 5, first);
        assert!(table.get(&slot("a"), &"two", 5).is_some());
        table.end(&slot("a"), 5, second);
        assert_eq!((table.len(), table.pin(&slot("a"))), (1, None));
    }
}

//! Jobs that wait, in the order of their turns: clients take turns, and each client's jobs go in the order in which
//! they came.
//!
//! Turns are tags, as in start-time fair queueing: a job's tag is one more than its client's last one, or than that of
//! the job that went last, whichever is later. A job that goes on elsewhere keeps its tag, and so its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use fallthrough_object::{Mutant, planted};

use super::core::JobId;

/// A job's place: its turn, and within the turn the order of coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag {
    turn: u64,
    job: JobId,
}

/// Whom a client has waiting.
#[derive(Debug)]
struct Line {
    waiting: usize,
    last_turn: u64,
}

/// The waiting jobs.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    order: BTreeMap<Tag, Arc<str>>,
    /// Clients with a job in the queue, and no others: bounded by it.
    lines: BTreeMap<Arc<str>, Line>,
    /// The turn of the job that went last.
    turn: u64,
}

impl FairQueue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The waiting jobs in the order of their turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = JobId> + '_ {
        self.order.keys().map(|tag| tag.job)
    }

    /// Puts a new job behind its client's others.
    pub(super) fn push(&mut self, job: JobId, client: &Arc<str>) -> Tag {
        let before = self.lines.get(client).map_or(self.turn, |line| line.last_turn.max(self.turn));
        let turn = if planted(Mutant::PoolTurnsIgnored) { 0 } else { before + 1 };
        let tag = Tag { turn, job };
        self.put(tag, client);
        tag
    }

    /// Puts a job back to where it was.
    pub(super) fn put(&mut self, tag: Tag, client: &Arc<str>) {
        self.order.insert(tag, Arc::clone(client));
        let line = self.lines.entry(Arc::clone(client)).or_insert(Line { waiting: 0, last_turn: 0 });
        line.waiting += 1;
        line.last_turn = line.last_turn.max(tag.turn);
    }

    /// Takes a job out because it goes. `false` if it did not wait.
    pub(super) fn go(&mut self, tag: Tag) -> bool {
        self.turn = self.turn.max(tag.turn);
        self.remove(tag)
    }

    /// Takes a job out because nobody wants it. `false` if it did not wait.
    pub(super) fn remove(&mut self, tag: Tag) -> bool {
        let Some(client) = self.order.remove(&tag) else { return false };
        if let Some(line) = self.lines.get_mut(&client) {
            line.waiting -= 1;
            if line.waiting == 0 {
                self.lines.remove(&client);
            }
        }
        true
    }

    /// Which job gives up its place for a new one of `client`: the last of the client with most, if that client would
    /// still have no fewer than `client` afterwards.
    pub(super) fn displaced_by(&self, client: &Arc<str>) -> Option<JobId> {
        let own = self.lines.get(client).map_or(0, |line| line.waiting);
        let (most, line) = self.lines.iter().max_by_key(|(_, line)| line.waiting)?;
        if line.waiting < own + 2 {
            return None;
        }
        self.order.iter().rev().find(|(_, of)| *of == most).map(|(tag, _)| tag.job)
    }

    /// How many go before a new job of `client`.
    pub(super) fn ahead(&self, client: &Arc<str>) -> usize {
        let before = self.lines.get(client).map_or(self.turn, |line| line.last_turn.max(self.turn));
        self.order.keys().filter(|tag| tag.turn <= before + 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        let mut queue = FairQueue::default();
        let (a, b) = (client("a"), client("b"));
        let tags: Vec<Tag> = (0..4).map(|n| queue.push(JobId(n), &a)).collect();
        queue.push(JobId(4), &b);
        queue.push(JobId(5), &b);
        let order = |queue: &FairQueue| queue.iter().map(|job| job.0).collect::<Vec<_>>();
        assert_eq!(order(&queue), [0, 4, 1, 5, 2, 3]);
        assert!(queue.go(tags[0]) && !queue.go(tags[0]));
        // Who comes later does not go before those who have waited.
        assert_eq!(queue.ahead(&client("c")), 3);
        queue.push(JobId(6), &client("c"));
        assert_eq!(order(&queue), [4, 1, 5, 6, 2, 3]);
        queue.put(tags[0], &a);
        assert_eq!(order(&queue), [0, 4, 1, 5, 6, 2, 3]);
    }

    #[test]
    fn a_full_queue_takes_from_whoever_has_most() {
        let mut queue = FairQueue::default();
        let (a, b) = (client("a"), client("b"));
        for n in 0..3 {
            queue.push(JobId(n), &a);
        }
        assert_eq!(queue.displaced_by(&a), None);
        assert_eq!(queue.displaced_by(&b), Some(JobId(2)));
        queue.push(JobId(3), &b);
        assert_eq!(queue.displaced_by(&b), Some(JobId(2)));
        queue.push(JobId(4), &b);
        assert_eq!(queue.displaced_by(&b), None);
    }

    #[test]
    fn nobody_is_remembered_who_does_not_wait() {
        let mut queue = FairQueue::default();
        for n in 0..1_000 {
            let tag = queue.push(JobId(n), &client(&n.to_string()));
            assert!(if n % 2 == 0 { queue.go(tag) } else { queue.remove(tag) });
        }
        assert_eq!((queue.len(), queue.lines.len()), (0, 0));
    }
}

//! Linearizability of one history, of a key or of an upload: is there an order of its operations, each at a moment between its call
//! and its return, that a [`Machine`] can follow?
//!
//! The search is Wing and Gong's with Lowe's memory of configurations: which operations have taken effect, and
//! the state that this led to. Operations whose end is not known may have taken effect or not.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

use crate::history::{Moment, Operation};

/// What a history must be linearizable with respect to.
pub trait Machine {
    /// What an operation did or showed.
    type Did: Copy + Debug;
    /// What there is to know between two operations.
    type State: Copy + Eq + Hash + Debug;

    /// The state at the beginning.
    fn initial(&self) -> Self::State;

    /// The states that `state` may turn into by an operation; none if it cannot have happened here.
    fn apply(&self, state: Self::State, by: &Operation<Self::Did>) -> Vec<Self::State>;

    /// Whether it changes nothing, whatever the state.
    fn only_shows(did: Self::Did) -> bool;
}

/// Configurations looked at before the search gives up.
const MAX_CONFIGURATIONS: usize = 3_000_000;
/// Operations that may overlap one that has not taken effect.
const WINDOW: usize = 128;

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none; the longest that was found, in words.
    Violation(String),
    /// Too much overlaps to tell.
    Undecided,
}

/// Which operations have taken effect: all before `base`, and those of the bits from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Done {
    base: usize,
    bits: u128,
}

impl Done {
    fn has(self, n: usize) -> bool {
        n < self.base || (n - self.base < WINDOW && self.bits & (1 << (n - self.base)) != 0)
    }

    fn and(mut self, n: usize) -> Option<Self> {
        if n - self.base >= WINDOW {
            return None;
        }
        self.bits |= 1 << (n - self.base);
        let done = self.bits.trailing_ones();
        self.base += done as usize;
        self.bits = self.bits.checked_shr(done).unwrap_or(0);
        Some(self)
    }
}

/// Judges one history. `operations` may be in any order.
pub fn check<M: Machine>(model: &M, operations: &[Operation<M::Did>]) -> Verdict {
    let mut ops: Vec<&Operation<M::Did>> = operations.iter().collect();
    ops.sort_by_key(|op| op.from);
    let mut seen: HashSet<(Done, M::State)> = HashSet::new();
    let start = (Done { base: 0, bits: 0 }, model.initial());
    let mut stack = vec![start];
    let mut furthest = start;
    let mut overflowed = false;
    while let Some((done, state)) = stack.pop() {
        if done.base >= ops.len() {
            return Verdict::Linearizable;
        }
        if seen.len() > MAX_CONFIGURATIONS {
            return Verdict::Undecided;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        if done.base > furthest.0.base {
            furthest = (done, state);
        }
        match successors(model, &ops, done, state) {
            Some(next) => stack.extend(next),
            None => overflowed = true,
        }
    }
    if overflowed { Verdict::Undecided } else { Verdict::Violation(explain(model, &ops, furthest)) }
}

/// Operations that may take effect next: those called before the first return of one that has not.
fn candidates<'a, D>(ops: &'a [&'a Operation<D>], done: Done) -> impl Iterator<Item = usize> + 'a {
    let pending = move |n: &usize| !done.has(*n);
    let mut first_return = Moment::END;
    // Those called after the first return so far cannot be the first to return.
    for n in (done.base..ops.len()).filter(pending) {
        if ops[n].from > first_return {
            break;
        }
        first_return = first_return.min(ops[n].to);
    }
    (done.base..ops.len()).take_while(move |n| ops[*n].from <= first_return).filter(pending)
}

fn successors<M: Machine>(
    model: &M,
    ops: &[&Operation<M::Did>],
    done: Done,
    state: M::State,
) -> Option<Vec<(Done, M::State)>> {
    let mut next = Vec::new();
    for n in candidates(ops, done) {
        let op = ops[n];
        let after = model.apply(state, op);
        let taken = done.and(n)?;
        if M::only_shows(op.did) && after.as_slice() == [state] {
            // It changes nothing, so it may as well take effect now, whatever comes later.
            return Some(vec![(taken, state)]);
        }
        next.extend(after.into_iter().map(|after| (taken, after)));
        if !op.certain {
            next.push((taken, state));
        }
    }
    // The stack takes the last first: try the order of the calls first.
    next.reverse();
    Some(next)
}

fn explain<M: Machine>(model: &M, ops: &[&Operation<M::Did>], (done, state): (Done, M::State)) -> String {
    let mut text = format!("no order explains it from here on, where the state is {state:?}:\n");
    for op in &ops[done.base.saturating_sub(12)..done.base] {
        text.push_str(&format!("      done {op}\n"));
    }
    for (n, op) in ops.iter().enumerate().skip(done.base).take(12) {
        let word = if done.has(n) { "      done" } else { "   pending" };
        let fits = if done.has(n) { String::new() } else { format!("  -> {:?}", model.apply(state, op)) };
        text.push_str(&format!("{word} {op}{fits}\n"));
    }
    text
}

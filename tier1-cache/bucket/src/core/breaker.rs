//! The breaker in front of an origin: after failures in a row it asks only now and then, until one succeeds.

use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::core::mutants::{Mutant, planted};

/// Failures in a row that open the breaker.
const OPENS_AFTER: u32 = 5;
/// First pause; doubles with every failed probe.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether an origin may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Ask.
    Yes,
    /// Ask; everybody else waits for how this one ends.
    Probe,
    /// Do not ask; come back after so long.
    No(Duration),
}

/// The state, as the metric `origin_circuit_state` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// Requests pass (0).
    Closed,
    /// One probe is under way (1).
    HalfOpen,
    /// No requests pass (2).
    Open,
}

/// Counts failures in a row of one origin.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures_in_row: u32,
    open_until: Option<Monotonic>,
    pause: Duration,
    probing: bool,
}

impl Breaker {
    /// Asks whether a request may go out now. [`Allowed::Probe`] must be followed by one of
    /// [`Breaker::succeeded`], [`Breaker::failed`], [`Breaker::abandoned`].
    pub(crate) fn ask(&mut self, now: Monotonic) -> Allowed {
        match self.open_until {
            None => Allowed::Yes,
            Some(until) if now < until => Allowed::No(until.since(now)),
            Some(_) if self.probing => Allowed::No(FIRST_PAUSE),
            Some(_) => {
                self.probing = true;
                Allowed::Probe
            }
        }
    }

    /// The origin answered (a 404 is an answer).
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The origin failed: 5xx, no connection, a time-out. `retry_after` is what it asked for.
    pub(crate) fn failed(&mut self, now: Monotonic, retry_after: Option<Duration>) {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let was_probe = std::mem::take(&mut self.probing);
        if self.failures_in_row < OPENS_AFTER || planted(Mutant::BreakerStaysClosed) {
            return;
        }
        if self.open_until.is_some() && !was_probe {
            // A straggler that was sent before the breaker opened says nothing new.
            return;
        }
        self.pause = if was_probe { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        let pause = self.pause.max(retry_after.unwrap_or_default().min(LONGEST_PAUSE));
        self.open_until = Some(now.plus(pause));
    }

    /// The request that was asked for was never sent, or its end is unknown.
    pub(crate) fn abandoned(&mut self) {
        self.probing = false;
    }

    /// The state, without asking.
    pub(crate) fn circuit(&self, now: Monotonic) -> Circuit {
        match self.open_until {
            None => Circuit::Closed,
            Some(until) if now < until => Circuit::Open,
            Some(_) => Circuit::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(secs))
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_one_success() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.failed(at(0), None);
        }
        breaker.succeeded();
        for _ in 0..4 {
            breaker.failed(at(0), None);
            assert_eq!(breaker.ask(at(0)), Allowed::Yes);
        }
        breaker.failed(at(0), None);
        assert_eq!(breaker.ask(at(0)), Allowed::No(Duration::from_secs(1)));
        assert_eq!(breaker.circuit(at(0)), Circuit::Open);
        assert_eq!(breaker.ask(at(1)), Allowed::Probe);
        assert!(matches!(breaker.ask(at(1)), Allowed::No(_)), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.ask(at(1)), Allowed::Yes);
    }

    #[test]
    fn the_pause_doubles_and_honours_the_origin() {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            breaker.failed(at(0), Some(Duration::from_secs(7)));
        }
        assert_eq!(breaker.ask(at(6)), Allowed::No(Duration::from_secs(1)));
        assert_eq!(breaker.ask(at(7)), Allowed::Probe);
        breaker.failed(at(7), None);
        assert_eq!(breaker.ask(at(8)), Allowed::No(Duration::from_secs(1)));
        assert_eq!(breaker.ask(at(9)), Allowed::Probe);
        breaker.abandoned();
        assert_eq!(breaker.ask(at(9)), Allowed::Probe, "an abandoned probe makes room for the next");
    }

    #[test]
    fn stragglers_do_not_prolong_the_pause() {
        let mut breaker = Breaker::default();
        for _ in 0..50 {
            breaker.failed(at(0), None);
        }
        assert_eq!(breaker.ask(at(1)), Allowed::Probe);
    }
}

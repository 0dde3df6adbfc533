//! The breaker in front of an origin: after failures in a row it asks only now and then, until one succeeds.
//!
//! What counts is how many *subjects* failed in a row, not how many requests: one object that its origin cannot
//! give, however often it is asked for, says nothing about all the others.

use std::time::Duration;

use fallthrough_object::{Key, Monotonic};

use crate::core::mutants::{Mutant, planted};

/// Subjects that failed in a row and open the breaker.
const OPENS_AFTER: usize = 5;
/// First pause; doubles with every failed probe.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an origin was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An object, by the origin's own key.
    Object(Key),
    /// A page of its list.
    List,
}

/// How a request went out, which says what its end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Like any other.
    Freely,
    /// As the probe of this number: everybody else waits for how it ends.
    AsProbe(u64),
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

/// Remembers what failed in a row at one origin.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    // Each once; bounded by `OPENS_AFTER`.
    failing: Vec<Subject>,
    open_until: Option<Monotonic>,
    pause: Duration,
    /// The probe under way. By number: one that outlived its pause is no probe any more.
    probe: Option<u64>,
    probes: u64,
}

impl Breaker {
    /// Asks whether a request may go out now. What is allowed must be followed by one of
    /// [`Breaker::succeeded`], [`Breaker::failed`], [`Breaker::abandoned`].
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn ask(&mut self, now: Monotonic) -> Result<Sent, Duration> {
        match self.open_until {
            None => Ok(Sent::Freely),
            Some(until) if now < until => Err(until.since(now)),
            Some(_) if self.probe.is_some() => Err(FIRST_PAUSE),
            Some(_) => {
                self.probes += 1;
                self.probe = Some(self.probes);
                Ok(Sent::AsProbe(self.probes))
            }
        }
    }

    fn is_probe(&self, sent: Sent) -> bool {
        matches!(sent, Sent::AsProbe(number) if self.probe == Some(number))
    }

    /// The origin answered (a 404 is an answer), whenever it was asked.
    pub(crate) fn succeeded(&mut self) {
        *self = Self { probes: self.probes, ..Self::default() };
    }

    /// The origin failed: 5xx, no connection, a time-out.
    pub(crate) fn failed(&mut self, now: Monotonic, sent: Sent, subject: &Subject) {
        let is_probe =
            self.is_probe(sent) || (self.probe.is_some() && planted(Mutant::StragglerTakenForProbe));
        if self.open_until.is_some() {
            // A straggler that was sent before the breaker opened says nothing new.
            if is_probe {
                self.probe = None;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.open_until = Some(now.plus(self.pause));
            }
            return;
        }
        let is_new = !self.failing.contains(subject) || planted(Mutant::EveryAttemptCounts);
        if is_new && self.failing.len() < OPENS_AFTER {
            self.failing.push(subject.clone());
        }
        if self.failing.len() >= OPENS_AFTER && !planted(Mutant::BreakerStaysClosed) {
            self.pause = FIRST_PAUSE;
            self.open_until = Some(now.plus(FIRST_PAUSE));
        }
    }

    /// The request was never sent, or its end is unknown.
    pub(crate) fn abandoned(&mut self, sent: Sent) {
        if self.is_probe(sent) || planted(Mutant::AnyEndIsTheProbes) {
            self.probe = None;
        }
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
    use crate::core::mutants::caught;

    fn at(secs: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(secs))
    }

    fn object(n: u32) -> Subject {
        Subject::Object(Key::parse(&format!("k{n}")).unwrap())
    }

    /// One that has just opened, at second 0.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 0..5 {
            breaker.failed(at(0), Sent::Freely, &object(n));
        }
        assert_eq!(breaker.circuit(at(0)), Circuit::Open);
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_one_success() {
        let mut breaker = Breaker::default();
        for n in 0..4 {
            breaker.failed(at(0), Sent::Freely, &object(n));
        }
        breaker.succeeded();
        for n in 0..3 {
            breaker.failed(at(0), Sent::Freely, &object(n));
            assert_eq!(breaker.ask(at(0)), Ok(Sent::Freely));
        }
        breaker.failed(at(0), Sent::Freely, &Subject::List);
        assert_eq!(breaker.ask(at(0)), Ok(Sent::Freely));
        breaker.failed(at(0), Sent::Freely, &object(9));
        assert_eq!(breaker.ask(at(0)), Err(Duration::from_secs(1)));
        assert_eq!(breaker.circuit(at(0)), Circuit::Open);
        assert_eq!(breaker.ask(at(1)), Ok(Sent::AsProbe(1)));
        assert!(breaker.ask(at(1)).is_err(), "one probe at a time");
        breaker.succeeded();
        assert_eq!(breaker.ask(at(1)), Ok(Sent::Freely));
    }

    #[test]
    fn the_pause_doubles_with_every_failed_probe() {
        let mut breaker = open();
        let mut now = 1;
        for pause in [2, 4, 8, 16, 30, 30] {
            let probe = breaker.ask(at(now)).unwrap();
            breaker.failed(at(now), probe, &object(0));
            assert_eq!(breaker.ask(at(now)), Err(Duration::from_secs(pause)));
            now += pause;
        }
        let probe = breaker.ask(at(now)).unwrap();
        breaker.abandoned(probe);
        assert!(breaker.ask(at(now)).is_ok(), "an abandoned probe makes room for the next");
    }

    /// Every attempt at one key that the origin cannot give is one failure.
    #[test]
    fn one_key_does_not_close_the_origin() {
        let insists = || {
            let mut breaker = Breaker::default();
            for _ in 0..50 {
                breaker.failed(at(0), Sent::Freely, &object(1));
            }
            assert_eq!(breaker.ask(at(0)), Ok(Sent::Freely));
        };
        insists();
        assert!(caught(Mutant::EveryAttemptCounts, insists));
    }

    #[test]
    fn stragglers_say_nothing_about_the_probe() {
        let straggles = || {
            let mut breaker = open();
            for n in 0..50 {
                breaker.failed(at(0), Sent::Freely, &object(n));
            }
            let probe = breaker.ask(at(1)).unwrap();
            breaker.failed(at(1), Sent::Freely, &object(7));
            assert_eq!(breaker.circuit(at(1)), Circuit::HalfOpen, "the probe is still under way");
            assert!(breaker.ask(at(1)).is_err());
            breaker.failed(at(1), probe, &object(8));
            assert_eq!(breaker.ask(at(1)), Err(Duration::from_secs(2)), "doubled once");
        };
        straggles();
        assert!(caught(Mutant::StragglerTakenForProbe, straggles));
    }

    #[test]
    fn only_the_probe_itself_makes_room_for_the_next() {
        let drops = || {
            let mut breaker = open();
            let old = breaker.ask(at(1)).unwrap();
            breaker.abandoned(Sent::Freely);
            assert!(breaker.ask(at(1)).is_err(), "somebody else's request was dropped, not the probe");
            // The origin recovers, and fails again: the old probe is one no more.
            breaker.succeeded();
            for n in 0..5 {
                breaker.failed(at(2), Sent::Freely, &object(n));
            }
            breaker.ask(at(3)).unwrap();
            breaker.abandoned(old);
            breaker.failed(at(3), old, &object(1));
            assert!(breaker.ask(at(3)).is_err());
        };
        drops();
        assert!(caught(Mutant::AnyEndIsTheProbes, drops));
    }
}

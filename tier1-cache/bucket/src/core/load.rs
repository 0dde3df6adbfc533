//! How much one member of a rule has to do, and how fast it answers: what the next request goes by.

use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::core::mutants::{Mutant, planted};

/// A failure counts as an answer that took so long: one that fails at once must not look like the fastest.
const FAILED_AS: Duration = Duration::from_secs(10);
/// Faster than this nobody is: among members that answer at once the number in flight decides.
const FASTEST: Duration = Duration::from_millis(1);
/// What was measured counts half after so long: a member that was slow once is tried again.
const HALVES_AFTER: Duration = Duration::from_secs(10);
/// What a new measurement weighs, of this many.
const WEIGHT: u32 = 4;

/// What is known of one member's load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    in_flight: u32,
    /// Mean of the times to an answer's headers, the later ones counting more, as it was at `measured`.
    mean: Option<Duration>,
    measured: Monotonic,
}

impl Load {
    /// A request is sent.
    pub(crate) fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// The last byte of its answer came, or nobody waits for it any more.
    pub(crate) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// An answer came after so long.
    pub(crate) fn answered(&mut self, now: Monotonic, took: Duration) {
        let before = self.mean(now);
        self.mean = Some(before.map_or(took, |before| (before * (WEIGHT - 1) + took) / WEIGHT));
        self.measured = now;
    }

    /// No answer came, or none that can be used.
    pub(crate) fn failed(&mut self, now: Monotonic, took: Duration) {
        let before = self.mean(now).unwrap_or_default();
        self.mean = Some((before * (WEIGHT - 1) + took.max(FAILED_AS)) / WEIGHT);
        self.measured = now;
    }

    /// The mean time to an answer, as far as it still counts; `None`: nothing was measured.
    pub(crate) fn mean(&self, now: Monotonic) -> Option<Duration> {
        let halved = now.since(self.measured).as_secs() / HALVES_AFTER.as_secs();
        self.mean.map(|mean| mean / 2u32.saturating_pow(u32::try_from(halved).unwrap_or(u32::MAX).min(31)))
    }

    /// Requests on their way, and answers that are being read.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How long one more request would wait, as far as one can tell: the member with the least is asked.
    pub(crate) fn expected(&self, now: Monotonic) -> Duration {
        let in_flight = if planted(Mutant::MemberLoadIgnored) { 0 } else { self.in_flight };
        self.mean(now).unwrap_or_default().max(FASTEST).saturating_mul(in_flight.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(secs))
    }

    #[test]
    fn the_later_an_answer_the_more_it_counts_and_old_ones_fade() {
        let mut load = Load::default();
        assert_eq!((load.mean(at(0)), load.expected(at(0))), (None, FASTEST));
        load.answered(at(0), Duration::from_millis(400));
        load.answered(at(1), Duration::from_millis(800));
        assert_eq!(load.mean(at(1)), Some(Duration::from_millis(500)));
        assert_eq!(load.mean(at(11)), Some(Duration::from_millis(250)));
        assert_eq!(load.expected(at(10_000)), FASTEST);
    }

    #[test]
    fn in_flight_multiplies_and_a_failure_that_is_quick_is_no_quick_answer() {
        let (mut busy, mut failing) = (Load::default(), Load::default());
        busy.answered(at(0), Duration::from_millis(100));
        busy.begin();
        busy.begin();
        assert_eq!(busy.expected(at(0)), Duration::from_millis(300));
        failing.failed(at(0), Duration::from_millis(1));
        assert!(failing.expected(at(0)) > busy.expected(at(0)));
        busy.end();
        busy.end();
        busy.end();
        assert_eq!((busy.in_flight(), busy.expected(at(0))), (0, Duration::from_millis(100)));
    }
}

//! Clocks for tests: one that stands still until it is moved, one that follows the runtime's virtual time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fallthrough_object::{Clock, Monotonic, Timestamp};

/// A clock that moves only when a test moves it. Both times go on together unless civil time is set.
#[derive(Debug)]
pub struct ManualClock {
    civil_ms: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    /// Stands at `now`; monotonic time at zero.
    pub fn new(now: Timestamp) -> Self {
        Self { civil_ms: AtomicU64::new(now.0), monotonic_ns: AtomicU64::new(0) }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).expect("a test advances by less than 500 years");
        let before = self.monotonic_ns.fetch_add(ns, Ordering::SeqCst);
        // Sub-millisecond steps add up: civil time moves by the whole milliseconds that were passed.
        self.civil_ms.fetch_add((before + ns) / 1_000_000 - before / 1_000_000, Ordering::SeqCst);
    }

    /// Sets civil time, also backwards, as an operator or a time server may. Monotonic time stays.
    pub fn set_civil(&self, now: Timestamp) {
        self.civil_ms.store(now.0, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::new(Timestamp::from_unix_secs(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.civil_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.monotonic_ns.load(Ordering::SeqCst))
    }
}

/// A clock that follows tokio's time: real usually, virtual where the runtime is paused.
#[derive(Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
    civil_start: Timestamp,
    skipped_ms: AtomicU64,
}

impl TokioClock {
    /// Civil time is `now` at this moment. Must be made inside a runtime if time is paused there.
    pub fn new(now: Timestamp) -> Self {
        Self { start: tokio::time::Instant::now(), civil_start: now, skipped_ms: AtomicU64::new(0) }
    }

    /// Civil time leaps forward. Monotonic time goes on as it did.
    pub fn skip(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("a test skips less than 500 million years");
        self.skipped_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let skipped = Duration::from_millis(self.skipped_ms.load(Ordering::SeqCst));
        self.civil_start.plus(self.start.elapsed() + skipped)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::default().plus(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp(1000));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1000), Monotonic(0)));
        clock.advance(Duration::from_micros(600));
        clock.advance(Duration::from_micros(600));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1001), Monotonic(1_200_000)));
        clock.set_civil(Timestamp(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(5), Monotonic(1_200_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tokio_clock_follows_virtual_time() {
        let clock = TokioClock::new(Timestamp(0));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), Timestamp(3_600_000));
        assert_eq!(clock.monotonic(), Monotonic(3_600_000_000_000));
        clock.skip(Duration::from_millis(5));
        assert_eq!(clock.now(), Timestamp(3_600_005));
        assert_eq!(clock.monotonic(), Monotonic(3_600_000_000_000));
    }
}

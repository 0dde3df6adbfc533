//! Token buckets: how many requests may be caused at an origin in a stretch of time, by all and by each client.
//!
//! A bucket is one moment, at which it will be full again (the generic cell rate algorithm, ITU-T I.371): spending a
//! token moves that moment by the time that one takes to come back. A bucket whose moment is past is full, and nothing
//! has to be remembered of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Monotonic, Rate};

/// Clients of one origin whose spending is remembered.
const CLIENTS: usize = 16 * 1024;

/// How fast tokens come back, and how many there are at most.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// From one token to the next.
    interval: Duration,
    /// From empty to full.
    whole: Duration,
}

impl Flow {
    fn of(rate: Rate) -> Self {
        let interval = (rate.per() / rate.count()).max(Duration::from_nanos(1));
        Self { interval, whole: interval * rate.count() }
    }

    /// How long until there are so many tokens in a bucket that is full at `full`.
    fn wait(self, full: Monotonic, now: Monotonic, tokens: u32) -> Duration {
        // More than there ever are come one after another.
        let after = full.max(now).plus(self.interval.saturating_mul(tokens));
        after.since(now.plus(self.whole))
    }

    fn spend(self, full: Monotonic, now: Monotonic) -> Monotonic {
        full.max(now).plus(self.interval)
    }

    fn give_back(self, full: Monotonic) -> Monotonic {
        Monotonic(full.0.saturating_sub(u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The tokens that all share.
#[derive(Debug)]
pub(crate) struct Budget {
    flow: Flow,
    full: Monotonic,
}

impl Budget {
    /// A full bucket of as many tokens as the rate has in its time.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { flow: Flow::of(rate), full: Monotonic::default() }
    }

    /// How long until so many tokens are there; zero if they are.
    pub(crate) fn wait(&self, now: Monotonic, tokens: u32) -> Duration {
        self.flow.wait(self.full, now, tokens)
    }

    /// Spends a token, whether there is one or not.
    pub(crate) fn spend(&mut self, now: Monotonic) {
        self.full = self.flow.spend(self.full, now);
    }

    /// What was not used after all.
    pub(crate) fn give_back(&mut self) {
        self.full = self.flow.give_back(self.full);
    }
}

/// The tokens of each client.
///
/// Invariant: at most [`CLIENTS`] are remembered. Where there are more at the same time, those that have spent least are
/// forgotten, and begin anew.
#[derive(Debug)]
pub(crate) struct ClientBudgets {
    flow: Flow,
    full: BTreeMap<Arc<str>, Monotonic>,
}

impl ClientBudgets {
    /// Full buckets for everybody.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { flow: Flow::of(rate), full: BTreeMap::new() }
    }

    /// How long until `client` has a token; zero if it has one.
    pub(crate) fn wait(&self, client: &Arc<str>, now: Monotonic) -> Duration {
        self.flow.wait(self.full.get(client).copied().unwrap_or_default(), now, 1)
    }

    /// Spends one of the client's tokens.
    pub(crate) fn spend(&mut self, client: &Arc<str>, now: Monotonic) {
        if !self.full.contains_key(client) && self.full.len() >= CLIENTS {
            self.forget(now);
        }
        let full = self.full.entry(client.clone()).or_default();
        *full = self.flow.spend(*full, now);
    }

    /// What was not used after all.
    pub(crate) fn give_back(&mut self, client: &Arc<str>) {
        if let Some(full) = self.full.get_mut(client) {
            *full = self.flow.give_back(*full);
        }
    }

    fn forget(&mut self, now: Monotonic) {
        self.full.retain(|_, full| *full > now);
        if self.full.len() < CLIENTS {
            return;
        }
        let mut moments: Vec<_> = self.full.values().copied().collect();
        let middle = moments.len() / 2;
        let (_, middle, _) = moments.select_nth_unstable(middle);
        let middle = *middle;
        self.full.retain(|_, full| *full > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic(1 << 40).plus(Duration::from_millis(millis))
    }

    #[test]
    fn as_many_as_the_rate_at_once_and_then_one_after_another() {
        let mut budget = Budget::new(rate("10/s"));
        for _ in 0..10 {
            assert_eq!(budget.wait(at(0), 1), Duration::ZERO);
            budget.spend(at(0));
        }
        assert_eq!(budget.wait(at(0), 1), Duration::from_millis(100));
        assert_eq!(budget.wait(at(0), 3), Duration::from_millis(300));
        assert_eq!(budget.wait(at(100), 1), Duration::ZERO);
        budget.spend(at(100));
        assert_eq!(budget.wait(at(100), 1), Duration::from_millis(100));
        // An idle time gives as many as the rate, and no more.
        assert_eq!(budget.wait(at(60_000), 10), Duration::ZERO);
        assert_eq!(budget.wait(at(60_000), 11), Duration::from_millis(100));
    }

    /// Whatever is asked for when: in no stretch of time more than what the bucket holds and what comes back.
    #[test]
    fn no_stretch_of_time_has_more_than_its_share() {
        let mut budget = Budget::new(rate("6/min"));
        let entropy = fallthrough_object::SeededEntropy::new(7);
        let (mut now, mut spent) = (0, Vec::new());
        for _ in 0..5000 {
            now += fallthrough_object::Entropy::next_u64(&entropy) % 9000;
            if budget.wait(at(now), 1).is_zero() {
                budget.spend(at(now));
                spent.push(now);
            }
        }
        assert!(spent.len() > 1000, "it gives something: {}", spent.len());
        for (first, begin) in spent.iter().enumerate() {
            for (last, end) in spent.iter().enumerate().skip(first).take(40) {
                let most = 6 + (end - begin) / 10_000;
                assert!(((last - first) as u64) <= most, "{} in {} ms", last - first + 1, end - begin);
            }
        }
    }

    #[test]
    fn clients_have_their_own_and_get_back_what_they_did_not_use() {
        let mut clients = ClientBudgets::new(rate("2/min"));
        let (one, other): (Arc<str>, Arc<str>) = (Arc::from("one"), Arc::from("other"));
        clients.spend(&one, at(0));
        clients.spend(&one, at(0));
        assert_eq!(clients.wait(&one, at(0)), Duration::from_secs(30));
        assert_eq!(clients.wait(&other, at(0)), Duration::ZERO);
        clients.give_back(&one);
        assert_eq!(clients.wait(&one, at(0)), Duration::ZERO);
    }

    #[test]
    fn who_spends_most_is_remembered_however_many_there_are() {
        let mut clients = ClientBudgets::new(rate("2/day"));
        let greedy: Arc<str> = Arc::from("greedy");
        clients.spend(&greedy, at(0));
        clients.spend(&greedy, at(0));
        for n in 0..3 * CLIENTS {
            clients.spend(&Arc::from(format!("c{n}")), at(1));
            assert!(clients.full.len() <= CLIENTS);
        }
        assert!(clients.wait(&greedy, at(1)) > Duration::from_secs(3600));
        clients.spend(&Arc::from("late"), at(3 * 86_400_000));
        assert!(clients.full.len() <= CLIENTS);
    }
}

//! The policy against others, on a trace that has a seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Bound;

use fallthrough_object::{Entropy as _, SeededEntropy};

use super::*;
use crate::core::mutants::caught;

const BUCKET: BucketId = BucketId(1);

fn key(number: u64) -> Key {
    // Popularity has nothing to do with the order of keys.
    Key::parse(&format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap()
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.as_str().hash(&mut hasher);
    hasher.finish()
}

fn candidate(number: u64, charge: u64) -> Candidate {
    let key = key(number);
    Candidate { bucket: BUCKET, hash: hash(&key), revision: Revision(number), key, charge }
}

/// A cache of copies that the policy is asked about as the engine asks it.
struct Cache {
    names: HashMap<u64, Candidate>,
    policy: Policy,
    uses: Uses,
    copies: BTreeMap<Key, (u64, u64)>,
    held: u64,
    limit: u64,
    hand: Option<Key>,
}

impl Cache {
    fn new(limit: u64) -> Self {
        let (policy, uses) = (Policy::default(), Uses::default());
        Self { names: HashMap::new(), policy, uses, copies: BTreeMap::new(), held: 0, limit, hand: None }
    }

    /// Whether it was there.
    fn ask(&mut self, number: u64, charge: u64) -> bool {
        let copy = self.names.entry(number).or_insert_with(|| candidate(number, charge)).clone();
        if self.copies.contains_key(&copy.key) {
            self.uses.used(copy.hash);
            return true;
        }
        while self.held + charge > self.limit {
            self.evict_one();
        }
        self.copies.insert(copy.key.clone(), (copy.hash, charge));
        self.held += charge;
        self.policy.stored(copy, &self.uses, self.copies.len() as u64);
        false
    }

    fn evict_one(&mut self) {
        if let Some(newcomer) = self.policy.newcomer(&[BUCKET], self.limit, &self.uses) {
            return self.remove(&newcomer.key);
        }
        for _ in 0..self.copies.len() * 5 {
            let from = self.hand.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let Some((key, (hash, _))) = self.copies.range((from, Bound::Unbounded)).next() else {
                self.hand = None;
                continue;
            };
            self.hand = Some(key.clone());
            if !self.policy.stays(*hash, &self.uses) {
                let key = key.clone();
                return self.remove(&key);
            }
        }
        let newcomer = self.policy.any_newcomer(&[BUCKET], &self.uses).expect("something is here");
        self.remove(&newcomer.key);
    }

    fn remove(&mut self, key: &Key) {
        let (_, charge) = self.copies.remove(key).expect("it was chosen among what is here");
        self.held -= charge;
    }
}

/// Numbers of objects: Zipf, and now and then somebody reads through what nobody else asks for.
fn trace(objects: usize, requests: usize, skew: f64, scan: usize) -> Vec<u64> {
    let entropy = SeededEntropy::new(42);
    let weights: Vec<f64> = (1..=objects).map(|rank| (rank as f64).powf(-skew)).collect();
    let mut sum = 0.0;
    let steps: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    let mut trace = Vec::with_capacity(requests);
    let mut never = objects as u64;
    while trace.len() < requests {
        for _ in 0..4 * scan.max(1000) {
            let at = (entropy.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * sum;
            trace.push(steps.partition_point(|step| *step < at) as u64);
        }
        trace.extend(never..never + scan as u64);
        never += scan as u64;
    }
    trace.truncate(requests);
    trace
}

/// Parts of a thousand that were hits.
fn ratio(trace: &[u64], mut ask: impl FnMut(usize, u64) -> bool) -> u32 {
    let hits = trace.iter().enumerate().filter(|(at, number)| ask(*at, **number)).count();
    u32::try_from(hits * 1000 / trace.len()).unwrap()
}

fn ours(trace: &[u64], size: usize) -> u32 {
    let mut cache = Cache::new(size as u64);
    ratio(trace, |_, number| cache.ask(number, 1))
}

fn fifo(trace: &[u64], size: usize) -> u32 {
    let (mut here, mut queue) = (BTreeSet::new(), VecDeque::new());
    ratio(trace, |_, number| {
        let hit = !here.insert(number);
        if !hit {
            queue.push_back(number);
            if queue.len() > size {
                here.remove(&queue.pop_front().unwrap());
            }
        }
        hit
    })
}

fn lru(trace: &[u64], size: usize) -> u32 {
    let (mut last, mut order) = (HashMap::new(), BTreeSet::new());
    ratio(trace, |at, number| {
        let before = last.insert(number, at);
        if let Some(before) = before {
            order.remove(&(before, number));
        }
        order.insert((at, number));
        if order.len() > size {
            let (_, oldest) = order.pop_first().unwrap();
            last.remove(&oldest);
        }
        before.is_some()
    })
}

/// Whoever knows the future evicts what is asked for last.
fn optimum(trace: &[u64], size: usize) -> u32 {
    let mut next = vec![usize::MAX; trace.len()];
    let mut seen = HashMap::new();
    for (at, number) in trace.iter().enumerate().rev() {
        next[at] = seen.insert(*number, at).unwrap_or(usize::MAX);
    }
    let (mut here, mut order) = (HashMap::new(), BTreeSet::new());
    ratio(trace, |at, number| {
        let before = here.insert(number, next[at]);
        if let Some(before) = before {
            order.remove(&(before, number));
        }
        order.insert((next[at], number));
        if order.len() > size {
            let (_, last) = order.pop_last().unwrap();
            here.remove(&last);
        }
        before.is_some()
    })
}

const OBJECTS: usize = 5_000;
const REQUESTS: usize = 60_000;

/// The same, but every so often others are popular.
fn shifting(objects: usize, requests: usize, skew: f64, every: usize) -> Vec<u64> {
    let shift = |(at, number): (usize, u64)| number + (at / every * objects) as u64 / 4;
    trace(objects, requests, skew, 0).into_iter().enumerate().map(shift).collect()
}

/// The table of `docs/performance.md`, and what it must show: `ahead` of a thousand more than LRU.
fn compared(what: &str, trace: &[u64], ahead: i64) {
    for share in [1, 5, 20] {
        let size = OBJECTS * share / 100;
        let all = [fifo, lru, ours, optimum].map(|policy| policy(trace, size));
        let [fifo, lru, ours, optimum] = all;
        let [a, b, c, d] = all.map(|ratio| format!("{}.{} %", ratio / 10, ratio % 10));
        println!("| {what} | {share} % | {a} | {b} | {c} | {d} |");
        assert!(i64::from(ours) >= i64::from(lru) + ahead, "{what}, {share} %: {all:?}");
        assert!((ours > fifo || ahead < 0) && ours <= optimum, "{what}, {share} %: {all:?}");
    }
}

#[test]
fn it_hits_more_often_than_lru_and_not_much_less_where_what_is_popular_changes() {
    println!("| trace | cache | FIFO | LRU | ours | optimum |");
    let zipf = trace(OBJECTS, REQUESTS, 0.8, 0);
    compared("Zipf 0.8", &zipf, 20);
    compared("Zipf 1.0", &trace(OBJECTS, REQUESTS, 1.0, 0), 20);
    compared("Zipf 1.0, scans", &trace(OBJECTS, REQUESTS, 1.0, 1000), 20);
    compared("Zipf 1.0, shifting", &shifting(OBJECTS, REQUESTS, 1.0, REQUESTS / 6), -50);
    assert!(caught(Mutant::UsesUnnoticed, || compared("uses unnoticed", &zipf, 20)));
}

#[test]
fn a_limit_in_bytes_is_kept_whatever_sizes_come() {
    let trace = trace(2000, 20_000, 0.9, 200);
    let mut cache = Cache::new(50_000);
    let size = |number: u64| 1 + number.wrapping_mul(0x9e37_79b9) % 4000;
    let hits = ratio(&trace, |_, number| {
        let hit = cache.ask(number, size(number));
        let sum: u64 = cache.copies.values().map(|(_, charge)| charge).sum();
        assert!(cache.held == sum && sum <= 50_000);
        hit
    });
    assert!(hits > 200, "{hits}");
}

#[test]
fn who_comes_back_soon_is_no_newcomer() {
    let comes_back = || {
        let (mut policy, uses) = (Policy::default(), Uses::default());
        policy.stored(candidate(1, 10), &uses, 100);
        assert_eq!(policy.newcomer(&[BUCKET], 50, &uses).unwrap(), candidate(1, 10));
        policy.stored(candidate(1, 10), &uses, 100);
        assert!(policy.any_newcomer(&[BUCKET], &uses).is_none());
        // Not after so many others left as there are copies.
        for number in 2..10 {
            policy.stored(candidate(number, 10), &uses, 3);
        }
        while policy.any_newcomer(&[BUCKET], &uses).is_some() {}
        policy.stored(candidate(2, 10), &uses, 3);
        assert!(policy.any_newcomer(&[BUCKET], &uses).is_some());
    };
    comes_back();
    assert!(caught(Mutant::GhostsForgotten, comes_back));
}

#[test]
fn newcomers_hold_their_share_and_those_that_are_used_stay() {
    let (mut policy, uses) = (Policy::default(), Uses::default());
    for number in 0..10 {
        policy.stored(candidate(number, 10), &uses, 10);
    }
    uses.used(candidate(0, 10).hash);
    // A tenth of 500 is 50: five of ten may stay, and the first was used.
    let left: Vec<_> = std::iter::from_fn(|| policy.newcomer(&[BUCKET], 500, &uses)).collect();
    assert_eq!(left, (1..5).map(|number| candidate(number, 10)).collect::<Vec<_>>());
    assert!(policy.newcomer(&[BucketId(2)], 0, &uses).is_none());
    // The hand leaves newcomers alone, and who is none and was not used is evicted.
    assert!(policy.stays(candidate(7, 10).hash, &uses));
    assert!(!policy.stays(candidate(0, 10).hash, &uses));
    policy.forget(BUCKET);
    assert!(!policy.stays(candidate(7, 10).hash, &uses) && policy.young.is_empty());
}

#[test]
fn newcomers_and_what_left_are_bounded() {
    let (mut policy, uses) = (Policy::default(), Uses::default());
    for number in 0..(NEWCOMERS_MAX as u64 + 500) {
        policy.stored(candidate(number, 1), &uses, 10);
    }
    assert_eq!(policy.newcomers[&BUCKET].queue.len(), NEWCOMERS_MAX);
    assert_eq!(policy.newcomers[&BUCKET].charge, NEWCOMERS_MAX as u64);
    assert_eq!(policy.young.values().sum::<u32>() as usize, NEWCOMERS_MAX);
    // The oldest is the first that is not one of the main part already.
    assert_eq!(policy.any_newcomer(&[BUCKET], &uses).unwrap().revision, Revision(500));
    while policy.any_newcomer(&[BUCKET], &uses).is_some() {}
    assert_eq!(policy.ghosts.slots.len(), GHOSTS);
}

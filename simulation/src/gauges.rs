//! The product's gauges, kept for one run, so that whatever counts up and never down is found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Keeps the values of gauges by name, and some sums.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Mutex<BTreeMap<String, Arc<Value>>>, Sums);

/// What is worth telling of a run and happens out of sight: counters by their names and reasons, and what they are called.
#[derive(Debug)]
struct Sums([(&'static str, Option<&'static str>, &'static str, Arc<Sum>); 6]);

impl Default for Sums {
    fn default() -> Self {
        Self([
            ("fallthrough_cache_evictions_total", None, "evictions", Arc::default()),
            ("fallthrough_cache_not_kept_total", Some("no-room"), "copies without room", Arc::default()),
            ("fallthrough_cache_not_kept_total", Some("too-large"), "copies too large", Arc::default()),
            ("fallthrough_blocks_kept_total", None, "blocks kept", Arc::default()),
            ("fallthrough_blocks_promoted_total", None, "promotions of blocks", Arc::default()),
            (
                "fallthrough_block_sets_dropped_total",
                Some("changed"),
                "blocks of changed objects",
                Arc::default(),
            ),
        ])
    }
}

#[derive(Debug, Default)]
struct Sum(AtomicU64);

impl CounterFn for Sum {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, to: u64) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Value(Mutex<f64>);

impl Value {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl GaugeFn for Value {
    fn increment(&self, by: f64) {
        self.change(|value| *value += by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| *value -= by);
    }

    fn set(&self, to: f64) {
        self.change(|value| *value = to);
    }
}

impl Gauges {
    /// The sums that are not zero, by what they are called.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sums = self.1.0.iter().map(|(.., called, sum)| (*called, sum.0.load(Ordering::Relaxed)));
        sums.filter(|(_, sum)| *sum > 0)
    }

    /// Gauges that count what is under way and are not back at zero.
    pub(crate) fn left(&self) -> Vec<(String, f64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = Vec::new();
        // What says how something stands, not how much of it is under way.
        let stands = ["circuit_state", "inventory_objects", "inventory_taken", "migration_objects"];
        for (name, value) in all.iter().filter(|(name, _)| !stands.iter().any(|word| name.contains(word))) {
            value.change(|value| {
                if *value != 0.0 {
                    left.push((name.clone(), *value));
                }
            });
        }
        left
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let is_reason = |reason: &str| key.labels().any(|label| label.value() == reason);
        let sum =
            self.1.0.iter().find(|(name, reason, ..)| *name == key.name() && reason.is_none_or(is_reason));
        sum.map_or_else(Counter::noop, |(.., sum)| Counter::from_arc(sum.clone()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Gauge::from_arc(all.entry(key.to_string()).or_default().clone())
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

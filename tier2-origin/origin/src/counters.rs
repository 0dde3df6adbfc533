//! What the server has done so far, in numbers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What was asked for; the label `operation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Get,
    Head,
    List,
    Put,
    Delete,
    Other,
}

impl Operation {
    fn label(self) -> &'static str {
        match self {
            Self::Get => "GetObject",
            Self::Head => "HeadObject",
            Self::List => "ListObjects",
            Self::Put => "PutObject",
            Self::Delete => "DeleteObject",
            Self::Other => "other",
        }
    }
}

/// The counters of one server. They only rise, but for `in_flight` and `queued`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bounded: six operations times the statuses that this crate can answer.
    answers: Mutex<BTreeMap<(Operation, u16), u64>>,
    in_flight: AtomicU64,
    queued: AtomicU64,
    shed: AtomicU64,
    timed_out: AtomicU64,
    panics: AtomicU64,
    refused_signatures: AtomicU64,
    bodies_broken: AtomicU64,
    bytes_sent: AtomicU64,
    origin_calls: AtomicU64,
    /// Smoothed time of one call in microseconds, for Retry-After.
    call_micros: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Answers of any kind.
    pub requests: u64,
    /// Answers with a status of 500 and more.
    pub failures: u64,
    /// Times that the origin was called.
    pub origin_calls: u64,
    /// Calls of the origin that run now, streams included.
    pub in_flight: u64,
    /// Requests that wait for a place now.
    pub queued: u64,
    /// Requests refused because the queue was full or the wait too long.
    pub shed: u64,
    /// Calls that were given up after the timeout.
    pub timed_out: u64,
    /// Calls that panicked.
    pub panics: u64,
    /// Requests whose signature was missing or wrong.
    pub refused_signatures: u64,
    /// Bodies that broke off: their connections were reset.
    pub bodies_broken: u64,
    /// Bytes of bodies handed to connections.
    pub bytes_sent: u64,
}

impl Counters {
    /// The numbers now.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            requests: answers.values().sum(),
            failures: answers.iter().filter(|((_, status), _)| *status >= 500).map(|(_, n)| n).sum(),
            origin_calls: read(&self.origin_calls),
            in_flight: read(&self.in_flight),
            queued: read(&self.queued),
            shed: read(&self.shed),
            timed_out: read(&self.timed_out),
            panics: read(&self.panics),
            refused_signatures: read(&self.refused_signatures),
            bodies_broken: read(&self.bodies_broken),
            bytes_sent: read(&self.bytes_sent),
        }
    }

    /// The numbers in the text format that Prometheus reads.
    pub fn to_prometheus(&self) -> String {
        let now = self.snapshot();
        let mut text = String::from("# TYPE fallthrough_origin_server_requests_total counter\n");
        for ((operation, status), count) in self.answers.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let labels = format!("operation=\"{}\",code=\"{status}\"", operation.label());
            // Writing to a String cannot fail.
            let _ = writeln!(text, "fallthrough_origin_server_requests_total{{{labels}}} {count}");
        }
        let rows = [
            ("calls_total", "counter", now.origin_calls),
            ("calls_in_flight", "gauge", now.in_flight),
            ("queue_length", "gauge", now.queued),
            ("admission_rejections_total", "counter", now.shed),
            ("timeouts_total", "counter", now.timed_out),
            ("panics_total", "counter", now.panics),
            ("auth_failures_total", "counter", now.refused_signatures),
            ("broken_bodies_total", "counter", now.bodies_broken),
            ("sent_bytes_total", "counter", now.bytes_sent),
        ];
        for (name, kind, value) in rows {
            let _ = writeln!(text, "# TYPE fallthrough_origin_server_{name} {kind}");
            let _ = writeln!(text, "fallthrough_origin_server_{name} {value}");
        }
        text
    }

    pub(crate) fn answered(&self, operation: Operation, status: u16) {
        *self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry((operation, status))
            .or_default() += 1;
    }

    pub(crate) fn called(&self) {
        self.origin_calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn call_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let before = self.call_micros.load(Ordering::Relaxed);
        // Racing writers lose a sample, which a smoothed figure can bear.
        let after = if before == 0 { micros } else { before - before / 8 + micros / 8 };
        self.call_micros.store(after, Ordering::Relaxed);
    }

    pub(crate) fn call_time(&self) -> Duration {
        Duration::from_micros(self.call_micros.load(Ordering::Relaxed))
    }

    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn signature_refused(&self) {
        self.refused_signatures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn body_broke(&self) {
        self.bodies_broken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, len_bytes: usize) {
        self.bytes_sent.fetch_add(len_bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_load(&self, in_flight: usize, queued: usize) {
        self.in_flight.store(in_flight as u64, Ordering::Relaxed);
        self.queued.store(queued as u64, Ordering::Relaxed);
    }
}

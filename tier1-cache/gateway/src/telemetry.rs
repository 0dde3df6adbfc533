//! The gateway's metrics. Handles are registered on first use and kept, so that counting costs an atomic add.

use std::sync::OnceLock;
use std::time::Duration;

use fallthrough_bucket::CacheWord;
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::operation::Operation;

/// Statuses that have a label of their own; what is not among them is counted as `other`.
const STATUSES: [(u16, &str); 22] = [
    (200, "200"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (307, "307"),
    (400, "400"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (411, "411"),
    (412, "412"),
    (414, "414"),
    (416, "416"),
    (424, "424"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (301, "301"),
    (302, "302"),
    (0, "other"),
];

const CACHE_LABELS: [&str; 8] = ["none", "hit", "miss", "joined", "stale", "pass", "negative", "tombstone"];

/// Why authentication failed: the label of `auth_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthFailure {
    /// What was presented cannot be read.
    Malformed,
    /// No such access key.
    UnknownKey,
    /// The key has expired.
    ExpiredKey,
    /// The signature differs.
    Signature,
    /// The request's time is too far from ours, or its presigned life is over.
    Time,
    /// A header that must be signed is not.
    UnsignedHeader,
    /// The caller is known and may not, or nobody and may not.
    Denied,
}

impl AuthFailure {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Malformed, "malformed"),
        (Self::UnknownKey, "unknown-key"),
        (Self::ExpiredKey, "expired-key"),
        (Self::Signature, "signature"),
        (Self::Time, "time"),
        (Self::UnsignedHeader, "unsigned-header"),
        (Self::Denied, "denied"),
    ];
}

/// All handles of the gateway.
#[derive(Debug)]
pub(crate) struct Telemetry {
    requests: Vec<OnceLock<Counter>>,
    durations: Vec<OnceLock<Histogram>>,
    first_bytes: [OnceLock<Histogram>; CACHE_LABELS.len()],
    auth_failures: [OnceLock<Counter>; AuthFailure::ALL.len()],
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) panics: Counter,
    pub(crate) bodies_broken: Counter,
}

impl Telemetry {
    /// Handles of the recorder that is installed when they are first used.
    pub(crate) fn new() -> Self {
        let lazily = |len: usize| std::iter::repeat_with(OnceLock::new).take(len).collect();
        let histograms = std::iter::repeat_with(OnceLock::new).take(Operation::COUNT * CACHE_LABELS.len());
        Self {
            requests: lazily(Operation::COUNT * STATUSES.len()),
            durations: histograms.collect(),
            first_bytes: std::array::from_fn(|_| OnceLock::new()),
            auth_failures: std::array::from_fn(|_| OnceLock::new()),
            connections: gauge!("fallthrough_connections"),
            connections_refused: counter!("fallthrough_connections_refused_total"),
            panics: counter!("fallthrough_request_panics_total"),
            bodies_broken: counter!("fallthrough_response_bodies_broken_total"),
        }
    }

    /// Counts one request when its answer begins.
    pub(crate) fn answered(
        &self,
        operation: Operation,
        status: StatusCode,
        cache: Option<CacheWord>,
        first_byte: Duration,
    ) {
        let slot =
            STATUSES.iter().position(|(number, _)| *number == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        self.requests[operation as usize * STATUSES.len() + slot]
            .get_or_init(|| {
                counter!(
                    "fallthrough_requests_total",
                    "api" => "s3", "operation" => operation.name(), "code" => STATUSES[slot].1,
                )
            })
            .increment(1);
        let slot = cache_slot(cache);
        self.first_bytes[slot]
            .get_or_init(
                || histogram!("fallthrough_request_first_byte_seconds", "cache" => CACHE_LABELS[slot]),
            )
            .record(first_byte.as_secs_f64());
    }

    /// Records how long a request took, its body included.
    pub(crate) fn finished(&self, operation: Operation, cache: Option<CacheWord>, took: Duration) {
        let slot = cache_slot(cache);
        self.durations[operation as usize * CACHE_LABELS.len() + slot]
            .get_or_init(|| {
                histogram!(
                    "fallthrough_request_duration_seconds",
                    "operation" => operation.name(), "cache" => CACHE_LABELS[slot],
                )
            })
            .record(took.as_secs_f64());
    }

    /// Counts a request that was refused for who sent it.
    pub(crate) fn auth_failed(&self, reason: AuthFailure) {
        let slot = AuthFailure::ALL.iter().position(|(each, _)| *each == reason).unwrap_or(0);
        self.auth_failures[slot]
            .get_or_init(|| counter!("fallthrough_auth_failures_total", "reason" => AuthFailure::ALL[slot].1))
            .increment(1);
    }
}

fn cache_slot(word: Option<CacheWord>) -> usize {
    match word {
        None => 0,
        Some(CacheWord::Hit) => 1,
        Some(CacheWord::Miss) => 2,
        Some(CacheWord::Joined) => 3,
        Some(CacheWord::Stale) => 4,
        Some(CacheWord::Pass) => 5,
        Some(CacheWord::Negative) => 6,
        Some(CacheWord::Tombstone) => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_the_word_of_the_header() {
        let words = [
            CacheWord::Hit,
            CacheWord::Miss,
            CacheWord::Joined,
            CacheWord::Stale,
            CacheWord::Pass,
            CacheWord::Negative,
            CacheWord::Tombstone,
        ];
        for word in words {
            assert_eq!(CACHE_LABELS[cache_slot(Some(word))], word.as_str().to_ascii_lowercase());
        }
        assert_eq!(CACHE_LABELS[cache_slot(None)], "none");
    }
}

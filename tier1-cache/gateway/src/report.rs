//! Saying what happened: `X-Cache`, `Cache-Status` and `Server-Timing`.

use std::time::Duration;

use bytes::Bytes;
use fallthrough_bucket::{CacheReport, CacheWord};
use http::header::{HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Response};

use crate::outgoing::Outgoing;

pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// An answer, with what is to be said of how it came about.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) response: Response<Outgoing>,
    pub(crate) report: Option<CacheReport>,
}

impl From<Response<Outgoing>> for Reported {
    fn from(response: Response<Outgoing>) -> Self {
        Self { response, report: None }
    }
}

/// Adds the three headers. `total` is the time until this answer began.
pub(crate) fn write(report: &CacheReport, total: Duration, headers: &mut HeaderMap) {
    headers.insert(X_CACHE, HeaderValue::from_static(report.word.as_str()));
    insert(headers, CACHE_STATUS, cache_status(report));
    insert(headers, SERVER_TIMING, server_timing(report, total));
    if let Some(Ok(names)) = report.varies_by.as_deref().map(HeaderValue::from_str) {
        // CORS has its own.
        headers.append(VARY, names);
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Built from tokens and numbers; an origin's name is quoted and cleaned below.
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(name, value);
    }
}

/// One member of RFC 9211's list. `fwd` says why the request went forward, `stored` that what came of it is kept.
fn cache_status(report: &CacheReport) -> String {
    let mut text = String::with_capacity(64);
    text.push_str("fallthrough; ");
    text.push_str(match report.word {
        CacheWord::Hit | CacheWord::Negative | CacheWord::Tombstone => "hit",
        CacheWord::Stale => "hit; fwd=stale",
        CacheWord::Miss => "fwd=uri-miss",
        CacheWord::Joined => "fwd=uri-miss; collapsed",
        CacheWord::Pass => "fwd=bypass",
    });
    // Of an answer from here, nothing was stored for it.
    if report.stored && matches!(report.word, CacheWord::Miss | CacheWord::Joined) {
        text.push_str("; stored");
    }
    if let Some(ttl) = report.ttl {
        text.push_str("; ttl=");
        push_number(&mut text, u128::from(ttl.as_secs()));
    }
    if !report.detail.is_empty() {
        text.push_str("; detail=");
        text.push_str(report.detail);
    }
    if let Some(origin) = &report.origin {
        text.push_str("; origin=\"");
        text.extend(
            origin.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '?' }),
        );
        text.push('"');
    }
    text
}

fn server_timing(report: &CacheReport, total: Duration) -> String {
    let mut text = String::with_capacity(64);
    text.push_str("total;dur=");
    push_millis(&mut text, total);
    for (name, time) in [(", queue;dur=", report.queued), (", origin;dur=", report.origin_wait)] {
        if let Some(time) = time {
            text.push_str(name);
            push_millis(&mut text, time);
        }
    }
    text
}

/// Milliseconds with three decimals.
fn push_millis(text: &mut String, time: Duration) {
    let micros = time.as_micros();
    push_number(text, micros / 1000);
    text.push('.');
    for divisor in [100, 10, 1] {
        push_number(text, micros / divisor % 10);
    }
}

fn push_number(text: &mut String, mut number: u128) {
    let mut digits = [0_u8; 39];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_word_has_its_status() {
        let rows = [
            (CacheWord::Hit, false, "fallthrough; hit; detail=d"),
            (CacheWord::Hit, true, "fallthrough; hit; detail=d"),
            (CacheWord::Miss, false, "fallthrough; fwd=uri-miss; detail=d"),
            (CacheWord::Miss, true, "fallthrough; fwd=uri-miss; stored; detail=d"),
            (CacheWord::Joined, false, "fallthrough; fwd=uri-miss; collapsed; detail=d"),
            (CacheWord::Joined, true, "fallthrough; fwd=uri-miss; collapsed; stored; detail=d"),
            (CacheWord::Stale, false, "fallthrough; hit; fwd=stale; detail=d"),
            (CacheWord::Pass, false, "fallthrough; fwd=bypass; detail=d"),
            (CacheWord::Negative, false, "fallthrough; hit; detail=d"),
            (CacheWord::Tombstone, false, "fallthrough; hit; detail=d"),
        ];
        for (word, stored, want) in rows {
            let report = CacheReport { stored, ..CacheReport::of(word, "d") };
            assert_eq!(cache_status(&report), want);
        }
    }

    #[test]
    fn times_and_names_are_written_as_the_headers_want_them() {
        let mut report = CacheReport::of(CacheWord::Miss, "");
        report.ttl = Some(Duration::from_secs(60));
        report.origin = Some(Arc::from("old \"site\"\r\n"));
        report.queued = Some(Duration::from_micros(1_500));
        report.origin_wait = Some(Duration::from_millis(20));
        let mut headers = HeaderMap::new();
        write(&report, Duration::from_nanos(7_005_999), &mut headers);
        assert_eq!(headers["x-cache"], "MISS");
        assert_eq!(headers["cache-status"], "fallthrough; fwd=uri-miss; ttl=60; origin=\"old??site???\"");
        assert_eq!(headers["server-timing"], "total;dur=7.005, queue;dur=1.500, origin;dur=20.000");
    }
}

//! More than one request: on one connection, at once, and when there are too many.

use futures::future::join_all;
use http::{StatusCode, Version};

use super::checks::{Subject, busy_counts, unanswered};
use super::client::{Ask, Client, End};
use super::report::Check;

pub(super) async fn keep_alive(subject: &Subject<'_>) -> Check {
    let name = "keep-alive";
    let asks = vec![Ask::get(&subject.path); 3];
    let answers = match subject.client.ask_in_turn(&asks).await {
        Ok(answers) => answers,
        Err(why) => return unanswered(name, &why),
    };
    let ends = subject.first.version == Version::HTTP_10
        || subject.first.end == End::Unknowable
        || subject.first.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    for (at, answer) in answers.iter().enumerate() {
        match answer {
            Ok(seen) if seen.status == StatusCode::SERVICE_UNAVAILABLE => {}
            Ok(seen) if seen.status != StatusCode::OK || matches!(seen.end, End::Broken(_)) => {
                let seen = format!("request {} on one connection: {}", at + 1, seen.status_text());
                return Check::failed(name, seen, "answer every request on a connection like the first");
            }
            Ok(seen) if subject.stable && !subject.is_same(seen) => {
                let seen = format!("request {} on one connection: other bytes", at + 1);
                return Check::failed(name, seen, "send exactly as many bytes as Content-Length says");
            }
            Ok(_) => {}
            Err(_) if at > 0 && ends => {
                let mend = "speak HTTP/1.1 with Content-Length, and fills need no new connection each";
                return Check::skipped(name, "the connection is closed after each answer", mend);
            }
            Err(why) => {
                let seen = format!("request {} on one connection: {why}", at + 1);
                let mend = "keep the connection usable, or send `Connection: close`; send exactly Content-Length bytes";
                return Check::failed(name, seen, mend);
            }
        }
    }
    Check::ok(name, format!("{} requests on one connection", answers.len()))
}

pub(super) async fn concurrent(subject: &Subject<'_>) -> Check {
    let name = "concurrent";
    let asks = vec![Ask::get(&subject.path); subject.options.concurrency.clamp(1, 256)];
    let mut busy = 0;
    for answer in join_all(asks.iter().map(|ask| subject.client.ask(ask))).await {
        match answer {
            Ok(seen) if matches!(seen.status.as_u16(), 429 | 503) => busy += 1,
            Ok(seen) if seen.status != StatusCode::OK || matches!(seen.end, End::Broken(_)) => {
                let seen = format!("{} of {} at once", seen.status_text(), asks.len());
                return Check::failed(
                    name,
                    seen,
                    "answer all, or 503 with Retry-After to those that are too many",
                );
            }
            Ok(seen) if subject.stable && !subject.is_same(&seen) => {
                let mend = "answers must not share state: somebody got the bytes of another request";
                return Check::failed(name, format!("other bytes in one of {} at once", asks.len()), mend);
            }
            Ok(_) => {}
            Err(why) => return unanswered(name, &why),
        }
    }
    Check::ok(name, format!("{} at once, {busy} of them told to come back", asks.len()))
}

/// Over everything that was asked: a 503 says when to come back.
pub(super) fn busy(client: &Client<'_>) -> Check {
    let name = "busy";
    match busy_counts(client) {
        (0, 0) => Check::skipped(name, "no 503 was seen", ""),
        (hinted, 0) => Check::ok(name, format!("{hinted} times 503, each with Retry-After")),
        (_, bare) => Check::failed(
            name,
            format!("{bare} times 503 without a Retry-After in seconds or as a date"),
            "send Retry-After with 503: the bucket keeps away for as long, and tells its clients",
        ),
    }
}

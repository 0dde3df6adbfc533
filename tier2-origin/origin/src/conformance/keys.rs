//! Keys that are missing, impossible or odd.

use fallthrough_wire::uri::encode_query;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::checks::{Subject, unanswered};
use super::client::{Ask, End, Seen};
use super::report::Check;

/// Made up, and in the shape of a name that somebody may have chosen.
const MADE_UP_KEY: &str = "fallthrough-conformance/there-is-no-such-object";

/// Keys that are easily mangled on their way: each is one valid S3 key.
const ODD_KEYS: [&str; 11] = [
    "a b",
    "a+b",
    "a%2Fb",
    "100%",
    "\u{fc}n\u{ef}c\u{f6}d\u{e9}/\u{65e5}\u{672c}\u{8a9e}/\u{1f600}",
    "../../etc/passwd",
    "a/./b/../c",
    "/leading/slash",
    "a//b/",
    "question?mark#hash&amp;='\"<>",
    "line\nbreak\ttab",
];

pub(super) async fn run(subject: &Subject<'_>) -> Vec<Check> {
    let missing = subject.options.missing_key.as_deref().unwrap_or(MADE_UP_KEY);
    let missing = subject.client.ask(&Ask::get(subject.path_of(missing))).await;
    let mut checks = match &missing {
        Ok(seen) => vec![absent(subject, seen), absent_body(subject, seen)],
        Err(why) => vec![unanswered("missing", why)],
    };
    if matches!(&missing, Ok(seen) if seen.status == StatusCode::NOT_FOUND) {
        checks.push(absent_head(subject).await);
    }
    checks.push(impossible(subject).await);
    checks.push(odd(subject).await);
    let answers_all =
        missing.as_ref().is_ok_and(|seen| seen.status == StatusCode::OK && subject.is_same(seen));
    checks.push(decoded_once(subject, answers_all).await);
    checks
}

fn absent(subject: &Subject<'_>, seen: &Seen) -> Check {
    let name = "missing";
    let named = subject.options.missing_key.is_some();
    let status = seen.status_text();
    match seen.status.as_u16() {
        404 | 410 => Check::ok(name, status),
        200 | 400 | 422 if !named => Check::skipped(
            name,
            format!("{status} to a made-up key"),
            "name a key that could exist and does not, if there is such a key",
        ),
        200 => Check::failed(name, status, "answer 404 to a key that does not exist"),
        _ => Check::failed(
            name,
            status,
            "answer 404 to a key that does not exist: anything else is not believed to mean absence",
        ),
    }
}

fn absent_body(subject: &Subject<'_>, seen: &Seen) -> Check {
    let name = "missing-body";
    if seen.status == StatusCode::OK || seen.status.is_server_error() {
        return Check::skipped(name, "no answer that says `absent`", "");
    }
    let kind = seen.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let looks_like_one = ["image/", "video/", "audio/"].iter().any(|start| kind.starts_with(start));
    if looks_like_one || seen.len_bytes > 0 && subject.is_same(seen) {
        let seen = format!("{} with a body of an object ({kind})", seen.status_text());
        return Check::failed(
            name,
            seen,
            "a placeholder is either an object, then 200, or none, then nobody sees it",
        );
    }
    match &seen.end {
        End::Broken(why) => Check::failed(
            name,
            format!("truncated: {why}"),
            "send as many bytes as Content-Length says, here too",
        ),
        End::Whole | End::Unknowable => Check::ok(name, "no body of an object comes with it"),
    }
}

async fn absent_head(subject: &Subject<'_>) -> Check {
    let name = "missing-head";
    let key = subject.options.missing_key.as_deref().unwrap_or(MADE_UP_KEY);
    match subject.client.ask(&Ask::head(subject.path_of(key))).await {
        Ok(seen) => match seen.status.as_u16() {
            404 | 410 => Check::ok(name, seen.status_text()),
            405 | 501 => Check::skipped(name, seen.status_text(), ""),
            _ => Check::failed(
                name,
                format!("{} where GET is 404", seen.status_text()),
                "answer HEAD with the status of GET",
            ),
        },
        Err(why) => unanswered(name, &why),
    }
}

async fn impossible(subject: &Subject<'_>) -> Check {
    let name = "impossible";
    let Some(key) = &subject.options.impossible_key else {
        return Check::skipped(name, "no impossible key was named", "");
    };
    match subject.client.ask(&Ask::get(subject.path_of(key))).await {
        Ok(seen) => match seen.status.as_u16() {
            400 | 422 => Check::ok(name, seen.status_text()),
            404 | 410 => {
                Check::ok(name, format!("{}: 400 or 422 would say that it can never exist", seen.status))
            }
            _ => Check::failed(name, seen.status_text(), "answer 400 or 422 to a key that can never exist"),
        },
        Err(why) => unanswered(name, &why),
    }
}

async fn odd(subject: &Subject<'_>) -> Check {
    let name = "odd-keys";
    let mut found = 0;
    for key in ODD_KEYS {
        // Both spellings of a path: with slashes as they are, and with every one of them escaped.
        let escaped = format!("{}/{}", subject.bucket_path, encode_query(key));
        for path in [subject.path_of(key), escaped] {
            let seen = match subject.client.ask(&Ask::get(path)).await {
                Ok(seen) => seen,
                Err(why) => {
                    let check = unanswered(name, &why);
                    return Check { seen: format!("{key:?}: {}", check.seen), ..check };
                }
            };
            match seen.status.as_u16() {
                200 => found += 1,
                400 | 404 | 410 | 422 => {}
                // A busy origin has said so; whether rightly is another check's matter.
                503 => {}
                300..=399 => {
                    let seen = format!("{key:?}: {}", seen.status_text());
                    return Check::failed(
                        name,
                        seen,
                        "take keys as they are: `..` and `//` are part of the name",
                    );
                }
                _ => {
                    let seen = format!("{key:?}: {}", seen.status_text());
                    return Check::failed(
                        name,
                        seen,
                        "answer 200, 404, or 400 to any key, decoded once as UTF-8",
                    );
                }
            }
        }
    }
    Check::ok(
        name,
        format!("{} spellings of {} keys, {found} of them found", 2 * ODD_KEYS.len(), ODD_KEYS.len()),
    )
}

/// A key must be percent-decoded exactly once: spelled wholly in escapes it is the same, and spelled so
/// twice it is another one.
async fn decoded_once(subject: &Subject<'_>, answers_all: bool) -> Check {
    let name = "decoding";
    if !subject.stable {
        return Check::skipped(name, "needs bytes that stay the same", "");
    }
    let spelled: String = subject.options.key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let once = format!("{}/{spelled}", subject.bucket_path);
    let twice = format!("{}/{}", subject.bucket_path, spelled.replace('%', "%25"));
    match subject.client.ask(&Ask::get(once)).await {
        Ok(seen) if seen.status == StatusCode::OK && subject.is_same(&seen) => {}
        Ok(seen) => {
            let seen = format!("{} or other bytes for the same key in percent escapes", seen.status_text());
            return Check::failed(name, seen, "percent-decode the path before looking the key up");
        }
        Err(why) => return unanswered(name, &why),
    }
    match subject.client.ask(&Ask::get(twice)).await {
        Ok(seen) if seen.status == StatusCode::OK && subject.is_same(&seen) && !answers_all => Check::failed(
            name,
            "a key that was escaped twice is taken for the one escaped once",
            "percent-decode the path once: what your server framework has decoded is decoded",
        ),
        Ok(_) => Check::ok(name, "percent escapes are decoded exactly once"),
        Err(why) => unanswered(name, &why),
    }
}

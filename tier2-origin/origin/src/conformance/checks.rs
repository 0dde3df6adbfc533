//! The checks of single answers, and the order of all of them.

use std::sync::atomic::Ordering;

use fallthrough_object::{ETag, RangeSpec};
use fallthrough_wire::range::{format as format_range, parse_content_range};
use fallthrough_wire::uri::encode_path;
use fallthrough_wire::{date, xml};
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
    SET_COOKIE, VARY,
};

use super::client::{Ask, Client, End, KEPT_BYTES_MAX, NoAnswer, Seen, Signing};
use super::report::Check;
use super::{Options, keys, load};

/// What the checks share: where to ask, and the answer to the first GET.
pub(super) struct Subject<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) options: &'a Options,
    /// Raw path of the bucket, without a slash at its end.
    pub(super) bucket_path: String,
    /// Raw path of the key that exists.
    pub(super) path: String,
    pub(super) first: Seen,
    /// Whether the same request had the same bytes twice.
    pub(super) stable: bool,
}

impl Subject<'_> {
    pub(super) fn path_of(&self, key: &str) -> String {
        format!("{}/{}", self.bucket_path, encode_path(key))
    }

    /// Whether `seen` has the bytes of the first answer, as far as they are kept.
    pub(super) fn is_same(&self, seen: &Seen) -> bool {
        seen.len_bytes == self.first.len_bytes && seen.body == self.first.body
    }
}

/// A check that could not be made since there was no answer.
pub(super) fn unanswered(name: &'static str, why: &NoAnswer) -> Check {
    let mend = match why {
        NoAnswer::Connect(_) => "start the origin, or correct the address",
        NoAnswer::Timeout(_) => "answer sooner, or say 503 with Retry-After while the work goes on",
        NoAnswer::Broken(_) => "answer every request with a status, also those that are refused",
        NoAnswer::Request(_) => "correct the bucket, the keys or the credentials given to this test",
    };
    Check::failed(name, why.to_string(), mend)
}

pub(super) async fn run(client: &Client<'_>, base: &str, options: &Options) -> Vec<Check> {
    let bucket_path = format!("{base}/{}", encode_path(&options.bucket));
    let path = format!("{bucket_path}/{}", encode_path(&options.key));
    let first = match client.ask(&Ask::get(&path)).await {
        Ok(first) => first,
        Err(why) => {
            let name = if matches!(why, NoAnswer::Connect(_)) { "connect" } else { "get" };
            return vec![unanswered(name, &why)];
        }
    };
    let mut checks = vec![get(&first, options), speed(&first, options)];
    if first.status == StatusCode::OK {
        checks.push(body(&first));
        checks.push(digests(&first));
        checks.push(headers(&first));
        let mut subject = Subject { client, options, bucket_path, path, first, stable: false };
        checks.push(again(&mut subject).await);
        checks.push(head(&subject).await);
        checks.push(ranges(&subject).await);
        checks.push(conditional(&subject).await);
        checks.push(unknown_query(&subject).await);
        checks.extend(keys::run(&subject).await);
        checks.push(failing(&subject).await);
        checks.push(big(&subject).await);
        checks.push(list(&subject).await);
        checks.push(unsigned(&subject).await);
        checks.push(load::keep_alive(&subject).await);
        checks.push(load::concurrent(&subject).await);
    }
    checks.push(load::busy(client));
    checks
}

fn get(first: &Seen, options: &Options) -> Check {
    let seen = format!("{}, {} bytes", first.status_text(), first.len_bytes);
    let mend = match first.status.as_u16() {
        200 => return Check::ok("get", seen),
        404 | 410 => "name a key that exists",
        401 | 403 if options.credentials.is_some() => {
            "check the access key, the secret, the region and the clock"
        }
        401 | 403 => "give the access key and the secret that the origin asks for",
        300..=399 => "answer with the object itself: redirects are followed only where a rule allows it",
        400..=499 => "name a key that exists; answer it 200",
        503 => "the origin is busy: try again when it is not",
        _ => "answer 200 with the object",
    };
    Check::failed("get", seen, mend)
}

fn speed(first: &Seen, options: &Options) -> Check {
    let seen = format!("first byte after {:?}", first.first_byte_after);
    if first.first_byte_after <= options.slow_after {
        return Check::ok("speed", seen);
    }
    let mend = format!(
        "slow: clients of the bucket get 503 after {:?} and must come back; begin the answer sooner",
        options.slow_after
    );
    Check::failed("speed", seen, mend)
}

fn body(first: &Seen) -> Check {
    match &first.end {
        End::Whole => {
            let how = first
                .header(CONTENT_LENGTH)
                .map_or("chunked, with its last chunk", |_| "as long as promised");
            Check::ok("body", format!("{} bytes, {how}", first.len_bytes))
        }
        End::Unknowable => Check::failed(
            "body",
            format!("{} bytes, ended by closing the connection", first.len_bytes),
            "send Content-Length, or use chunked encoding: else nobody can tell a truncated body from a whole one",
        ),
        End::Broken(why) => Check::failed(
            "body",
            format!("truncated after {} bytes: {why}", first.len_bytes),
            "send as many bytes as Content-Length says",
        ),
    }
}

fn digests(first: &Seen) -> Check {
    let names = ["content-md5", "repr-digest"];
    let given = first.headers.keys().map(http::HeaderName::as_str);
    let given: Vec<&str> =
        given.filter(|name| names.contains(name) || name.starts_with("x-amz-checksum-")).collect();
    match (&first.digest_fault, given.is_empty()) {
        (Some(why), _) => Check::failed(
            "digests",
            why.clone(),
            "send the digest of the body that is sent: the bucket refuses it as it is",
        ),
        (None, true) => Check::skipped(
            "digests",
            "no Content-MD5, Repr-Digest or x-amz-checksum-*",
            "send one, and the bucket verifies each body before it keeps it",
        ),
        (None, false) => {
            Check::ok("digests", format!("the body has the {} that it promises", given.join(", ")))
        }
    }
}

fn headers(first: &Seen) -> Check {
    let mut faults = Vec::new();
    if first.header(CONTENT_TYPE).is_none() {
        faults.push("Content-Type is missing: it will be application/octet-stream".to_owned());
    }
    if first
        .header(ETAG)
        .is_some_and(|text| !text.trim_start_matches("W/").starts_with('"') || ETag::parse(text).is_err())
    {
        faults.push("ETag is not in double quotes".to_owned());
    }
    if first.header(LAST_MODIFIED).is_some_and(|text| date::parse_http(text).is_none()) {
        faults.push("Last-Modified is not an HTTP date".to_owned());
    }
    if let Some(wrong) = first.header(CACHE_CONTROL).and_then(wrong_directive) {
        faults.push(format!("Cache-Control has {wrong:?}, which is no directive"));
    }
    if first.headers.get_all(VARY).iter().any(|value| varies(value.to_str().unwrap_or("?"))) {
        faults.push("Vary: the bucket will keep nothing of it".to_owned());
    }
    if first.headers.contains_key(SET_COOKIE) {
        faults.push("Set-Cookie: an object is the same for everybody".to_owned());
    }
    if faults.is_empty() {
        return Check::ok("headers", "all can be kept with the object");
    }
    let seen = faults.join("; ");
    Check::failed("headers", seen, "correct or leave out these headers")
}

/// Whether a Vary value names a header that differs between requests of a bucket. It always asks for the
/// identity encoding, and comes from no web origin.
fn varies(value: &str) -> bool {
    const CONSTANT: [&str; 4] =
        ["accept-encoding", "origin", "access-control-request-headers", "access-control-request-method"];
    let mut names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.any(|name| !CONSTANT.iter().any(|constant| name.eq_ignore_ascii_case(constant)))
}

/// The first piece of a Cache-Control value that is not `token` or `token=value` (RFC 9111 §5.2).
fn wrong_directive(value: &str) -> Option<String> {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
    };
    let fits = |piece: &str| match piece.split_once('=') {
        None => is_token(piece),
        Some((name, value)) => {
            is_token(name)
                && (is_token(value) || value.len() >= 2 && value.starts_with('"') && value.ends_with('"'))
                && (!matches!(name, "max-age" | "s-maxage") || value.trim_matches('"').parse::<u64>().is_ok())
        }
    };
    let mut quoted = false;
    let pieces = value.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    pieces.map(str::trim).find(|piece| !piece.is_empty() && !fits(piece)).map(str::to_owned)
}

async fn again(subject: &mut Subject<'_>) -> Check {
    let second = match subject.client.ask(&Ask::get(&subject.path)).await {
        Ok(second) => second,
        Err(why) => return unanswered("again", &why),
    };
    if second.status != StatusCode::OK {
        let seen = format!("the second GET: {}", second.status_text());
        return Check::failed("again", seen, "answer the same request the same way");
    }
    if let End::Broken(why) = &second.end {
        let seen = format!("the second GET: truncated after {} bytes: {why}", second.len_bytes);
        return Check::failed("again", seen, "send as many bytes as Content-Length says, each time");
    }
    subject.stable = subject.is_same(&second);
    let (before, now) = (subject.first.header(ETAG), second.header(ETAG));
    match (subject.stable, before.is_some() && before == now) {
        (true, true) => Check::ok("again", "the same bytes under the same ETag"),
        (true, false) if before.is_none() && now.is_none() => Check::ok("again", "the same bytes"),
        (true, false) => Check::failed(
            "again",
            format!(
                "the same bytes, but ETag {} became {}",
                before.unwrap_or("(none)"),
                now.unwrap_or("(none)")
            ),
            "make the ETag of what the bytes depend on: else every revalidation fetches them again",
        ),
        (false, true) if before.is_some_and(|tag| !tag.starts_with("W/")) => Check::failed(
            "again",
            "other bytes under the same strong ETag",
            "change the ETag whenever the bytes change: else readers get a mix of both",
        ),
        (false, _) => Check::skipped(
            "again",
            "other bytes each time",
            "checks that compare bytes are weaker; a bucket keeps whichever it gets first",
        ),
    }
}

async fn head(subject: &Subject<'_>) -> Check {
    let name = "head";
    let seen = match subject.client.ask(&Ask::head(&subject.path)).await {
        Ok(seen) => seen,
        Err(why) => return unanswered(name, &why),
    };
    match seen.status.as_u16() {
        200 => {}
        405 | 501 => {
            return Check::skipped(
                name,
                seen.status_text(),
                "without HEAD, the bucket's rule decides what HEAD costs",
            );
        }
        _ => {
            let mend = "answer HEAD as GET, without the body; or 405: never 404 where GET has an object";
            return Check::failed(name, format!("{} where GET is 200", seen.status_text()), mend);
        }
    }
    let differs = |header: http::HeaderName| {
        let (by_get, by_head) = (subject.first.header(&header), seen.header(&header));
        (by_get != by_head).then(|| {
            format!(
                "{header} is {} by HEAD, {} by GET",
                by_head.unwrap_or("missing"),
                by_get.unwrap_or("missing")
            )
        })
    };
    let stable = subject.stable.then_some([CONTENT_LENGTH, ETAG]).into_iter().flatten();
    let mut faults: Vec<String> = stable.chain([CONTENT_TYPE]).filter_map(differs).collect();
    if seen.len_bytes > 0 {
        faults.push(format!("a body of {} bytes", seen.len_bytes));
    }
    if faults.is_empty() {
        return Check::ok(name, "200 with the length, type and ETag of GET");
    }
    Check::failed(name, faults.join("; "), "give HEAD the same headers as GET")
}

async fn ranges(subject: &Subject<'_>) -> Check {
    let name = "range";
    let size = subject.first.len_bytes;
    if size < 2 || subject.first.end != End::Whole || size > KEPT_BYTES_MAX as u64 || !subject.stable {
        return Check::skipped(name, "needs a whole body of 2 bytes to 8 MiB that stays the same", "");
    }
    let specs = [
        RangeSpec::FromTo { first: 0, last: 0 },
        RangeSpec::FromTo { first: 1, last: u64::MAX / 4 },
        RangeSpec::From { first: size - 1 },
        RangeSpec::Suffix { len: 1 },
        RangeSpec::From { first: size },
    ];
    let mut ignored = false;
    for spec in specs {
        let text = format_range(spec);
        let seen = match subject.client.ask(&Ask::get(&subject.path).with(RANGE, &text)).await {
            Ok(seen) => seen,
            Err(why) => return unanswered(name, &why),
        };
        let fault = match (seen.status.as_u16(), spec.resolve(size)) {
            (200, _) if subject.is_same(&seen) => {
                ignored = true;
                continue;
            }
            (200, _) => Some("200 with something else than the whole body".to_owned()),
            (206, Ok(range)) => {
                let told = seen.header(CONTENT_RANGE).and_then(parse_content_range);
                let bytes = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
                let expected = bytes.and_then(|(start, end)| subject.first.body.get(start..end));
                if told.is_none_or(|told| told.range != range || told.size_bytes.is_some_and(|s| s != size)) {
                    Some(format!(
                        "206 with Content-Range {:?}",
                        seen.header(CONTENT_RANGE).unwrap_or("(none)")
                    ))
                } else if seen.end != End::Whole || expected != Some(&seen.body[..]) {
                    Some("206 with other bytes than that range of the whole".to_owned())
                } else {
                    None
                }
            }
            (416, Err(_)) => None,
            (_, _) => Some(seen.status_text()),
        };
        if let Some(fault) = fault {
            let mend = "answer 206 with exactly those bytes and their Content-Range, 416 past the end, or ignore Range";
            return Check::failed(name, format!("{text} of {size} bytes: {fault}"), mend);
        }
    }
    if ignored {
        Check::ok(name, "ignored: 200 with the whole, which is allowed")
    } else {
        Check::ok(name, "206 with the right bytes, 416 past the end")
    }
}

async fn conditional(subject: &Subject<'_>) -> Check {
    let name = "conditional";
    let Some(etag) = subject.first.header(ETAG) else {
        let mend = "send an ETag, and a stale copy costs a 304 instead of a body";
        return Check::skipped(name, "no ETag", mend);
    };
    let seen = match subject.client.ask(&Ask::get(&subject.path).with(IF_NONE_MATCH, etag)).await {
        Ok(seen) => seen,
        Err(why) => return unanswered(name, &why),
    };
    if seen.status != StatusCode::NOT_MODIFIED && subject.stable {
        let mend = "answer 304 without a body when If-None-Match names the present ETag";
        return Check::failed(name, format!("{} to If-None-Match: {etag}", seen.status_text()), mend);
    }
    if seen.len_bytes > 0 && seen.status == StatusCode::NOT_MODIFIED {
        return Check::failed(name, "304 with a body", "a 304 has no body");
    }
    let other = Ask::get(&subject.path).with(IF_NONE_MATCH, "\"fallthrough-conformance-other\"");
    match subject.client.ask(&other).await {
        Ok(seen) if seen.status == StatusCode::OK => {
            Check::ok(name, "304 for the present ETag, 200 for another")
        }
        Ok(seen) => Check::failed(
            name,
            format!("{} to If-None-Match with another ETag", seen.status_text()),
            "compare the ETag in If-None-Match with the present one",
        ),
        Err(why) => unanswered(name, &why),
    }
}

async fn unknown_query(subject: &Subject<'_>) -> Check {
    let name = "query";
    let path = format!("{}?x-id=GetObject&fallthrough-unknown=1", subject.path);
    match subject.client.ask(&Ask::get(path)).await {
        Ok(seen) if seen.status != StatusCode::OK => Check::failed(
            name,
            format!("{} with an unknown parameter", seen.status_text()),
            "ignore query parameters that you do not know",
        ),
        Ok(seen) if subject.stable && !subject.is_same(&seen) => Check::failed(
            name,
            "other bytes with an unknown parameter",
            "ignore query parameters that you do not know",
        ),
        Ok(_) => Check::ok(name, "unknown parameters are ignored"),
        Err(why) => unanswered(name, &why),
    }
}

async fn failing(subject: &Subject<'_>) -> Check {
    let name = "failure";
    let Some(key) = &subject.options.failing_key else {
        return Check::skipped(name, "no failing key was named", "");
    };
    match subject.client.ask(&Ask::get(subject.path_of(key))).await {
        Ok(seen) if seen.status.is_server_error() => Check::ok(name, seen.status_text()),
        Ok(Seen { end: End::Broken(_), .. }) => Check::ok(name, "the connection broke, as it should"),
        Ok(seen) => Check::failed(
            name,
            format!("{} although it failed", seen.status_text()),
            "a failure is 500, or 503 with Retry-After: told as 404 it would be believed and kept",
        ),
        Err(NoAnswer::Broken(_)) => Check::ok(name, "the connection broke, as it should"),
        Err(why) => unanswered(name, &why),
    }
}

async fn big(subject: &Subject<'_>) -> Check {
    let name = "big";
    let Some(key) = &subject.options.big_key else {
        return Check::skipped(name, "no big key was named", "");
    };
    match subject.client.ask(&Ask::get(subject.path_of(key))).await {
        Ok(seen) if seen.status != StatusCode::OK => {
            Check::failed(name, seen.status_text(), "name a big key that exists")
        }
        Ok(Seen { end: End::Broken(why), len_bytes, .. }) => Check::failed(
            name,
            format!("truncated after {len_bytes} bytes: {why}"),
            "send as many bytes as Content-Length says",
        ),
        Ok(Seen { end: End::Unknowable, .. }) => Check::failed(
            name,
            "ended by closing the connection",
            "send Content-Length or use chunked encoding",
        ),
        Ok(Seen { digest_fault: Some(why), .. }) => {
            Check::failed(name, why, "send the digest of the body that is sent")
        }
        Ok(seen) => Check::ok(name, format!("{} bytes, whole", seen.len_bytes)),
        Err(why) => unanswered(name, &why),
    }
}

async fn list(subject: &Subject<'_>) -> Check {
    let name = "list";
    let path = format!("{}?list-type=2&max-keys=2", subject.bucket_path);
    let seen = match subject.client.ask(&Ask::get(path)).await {
        Ok(seen) => seen,
        Err(why) => return unanswered(name, &why),
    };
    match seen.status.as_u16() {
        405 | 501 => Check::skipped(name, seen.status_text(), "the bucket lists what it holds itself"),
        200 => match xml::parse_list_page(&seen.body) {
            Ok(page) => Check::ok(name, format!("a list of {} objects", page.objects.len())),
            Err(why) => Check::failed(
                name,
                format!("200, but {why}"),
                "answer a ListBucketResult, possibly without objects, or 501",
            ),
        },
        _ => Check::failed(
            name,
            seen.status_text(),
            "answer a ListBucketResult, possibly without objects, or 501 (405): anything else says that the bucket is wrong",
        ),
    }
}

async fn unsigned(subject: &Subject<'_>) -> Check {
    let name = "signature";
    if subject.options.credentials.is_none() {
        return Check::skipped(name, "no credentials were given", "");
    }
    for (signed, what) in [(Signing::Not, "an unsigned request"), (Signing::Wrongly, "a wrong signature")] {
        match subject.client.ask(&Ask::get(&subject.path).signed(signed)).await {
            Ok(seen) if matches!(seen.status.as_u16(), 401 | 403) => {}
            Ok(seen) => {
                let mend = "verify every signature, and answer 403 to those that are missing or wrong";
                return Check::failed(name, format!("{} to {what}", seen.status_text()), mend);
            }
            Err(why) => return unanswered(name, &why),
        }
    }
    Check::ok(name, "unsigned and wrongly signed requests are refused")
}

/// How often a 503 came with and without a hint when to come back.
pub(super) fn busy_counts(client: &Client<'_>) -> (u32, u32) {
    (client.busy_with_hint.load(Ordering::Relaxed), client.busy_without_hint.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::{varies, wrong_directive};

    #[test]
    fn only_what_differs_between_requests_varies() {
        assert!(
            !varies("Accept-Encoding") && !varies("origin, Access-Control-Request-Method") && !varies("")
        );
        assert!(varies("Cookie") && varies("Accept-Encoding, User-Agent") && varies("*"));
    }

    #[test]
    fn cache_control_is_read_as_the_rfc_has_it() {
        for good in [
            "max-age=60",
            "public, max-age=60",
            "no-store",
            "private=\"a, b\", x",
            "",
            "max-age=60,immutable",
        ] {
            assert_eq!(wrong_directive(good), None, "{good}");
        }
        for bad in ["max-age: 60", "public; max-age=60", "max-age=", "max-age=1h", "max age=60"] {
            assert!(wrong_directive(bad).is_some(), "{bad}");
        }
    }
}

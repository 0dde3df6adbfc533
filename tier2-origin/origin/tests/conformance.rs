//! A checker that cannot fail proves nothing: every check is shown an origin that breaks just that rule.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fallthrough_origin::conformance::{Options, Outcome, conformance, conformance_of};
use fallthrough_origin::{Answer, OriginError, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as it came.
struct Asked {
    method: String,
    /// Path and query, raw.
    target: String,
    head: String,
    /// Requests that are being worked on, this one included.
    at_once: usize,
    /// How many requests the server has had, this one included.
    nth: usize,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    fn is(&self, path: &str) -> bool {
        self.path() == path
    }

    fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// An answer to be written as it stands.
#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Whether to say how long the body is.
    with_length: bool,
    /// Bytes to leave out at the end of the body.
    cut: usize,
    /// Whether to close the connection, and not to answer at all.
    close: bool,
    silent: bool,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), body, with_length: true, cut: 0, close: false, silent: false }
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(have, _)| *have != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| *have != name);
        self
    }
}

const BODY: &str = "hello, conformance\n";
const TAG: &str = "\"v1\"";

/// An origin that keeps every rule.
fn good(asked: &Asked) -> Reply {
    let found = |body: Vec<u8>| Reply::new(200, body).set("Content-Type", "text/plain").set("ETag", TAG);
    let decoded = fallthrough_wire::uri::decode(asked.path()).unwrap().into_owned();
    match decoded.as_str() {
        "/test/hello" if asked.header("if-none-match") == Some(TAG) => Reply::new(304, "").set("ETag", TAG),
        "/test/hello" => {
            match asked.header("range").map(|text| fallthrough_wire::range::parse(text).unwrap()) {
                None => found(BODY.into()).set("Content-MD5", "Y/mCWLHW2rriklRYF769jg=="),
                Some(spec) => match spec.resolve(BODY.len() as u64) {
                    Err(_) => Reply::new(416, "").set("Content-Range", format!("bytes */{}", BODY.len())),
                    Ok(range) => {
                        let part = BODY[range.start as usize..range.end as usize].into();
                        let told = format!("bytes {}-{}/{}", range.start, range.end - 1, BODY.len());
                        Reply { status: 206, ..found(part) }.set("Content-Range", told)
                    }
                },
            }
        }
        "/test/big" => found(vec![b'x'; 9 << 20]),
        "/test/impossible" => Reply::new(400, "no"),
        "/test/failing" => Reply::new(503, "later").set("Retry-After", "2"),
        "/test" => Reply::new(
            200,
            "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>",
        ),
        _ => Reply::new(404, "no such key").set("Content-Type", "text/plain"),
    }
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// Serves `handler` until dropped. Each answer takes `work`.
async fn origin(handler: Handler, work: Duration) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let (at_once, nth) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(talk(
                stream,
                Arc::clone(&handler),
                Arc::clone(&at_once),
                Arc::clone(&nth),
                work,
            ));
        }
    });
    (format!("http://{addr}"), tasks)
}

async fn talk(
    mut stream: TcpStream,
    handler: Handler,
    at_once: Arc<AtomicUsize>,
    nth: Arc<AtomicUsize>,
    work: Duration,
) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head: Vec<u8> = bytes.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).replace("\r\n", "\n");
        let mut words = head.split(' ').map(str::to_owned);
        let mut asked = Asked {
            method: words.next().unwrap(),
            target: words.next().unwrap(),
            head,
            at_once: at_once.fetch_add(1, Ordering::SeqCst) + 1,
            nth: nth.fetch_add(1, Ordering::SeqCst) + 1,
        };
        // The origin's work: that requests overlap in it is what is tested.
        tokio::time::sleep(work).await;
        asked.at_once = asked.at_once.max(at_once.load(Ordering::SeqCst));
        let reply = handler(&asked);
        at_once.fetch_sub(1, Ordering::SeqCst);
        if reply.silent {
            // Until the client has given up.
            while matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {}
            return;
        }
        if reply.status == 0 {
            return;
        }
        let mut text = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if reply.with_length && reply.status != 304 {
            text.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        text.push_str("\r\n");
        let mut out = text.into_bytes();
        if !asked.is_head() {
            out.extend_from_slice(&reply.body[..reply.body.len() - reply.cut]);
        }
        if stream.write_all(&out).await.is_err() || reply.close || reply.cut > 0 || !reply.with_length {
            return;
        }
    }
}

fn options() -> Options {
    Options {
        missing_key: Some("missing".to_owned()),
        impossible_key: Some("impossible".to_owned()),
        failing_key: Some("failing".to_owned()),
        big_key: Some("big".to_owned()),
        timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

async fn failed_with(handler: Handler, options: &Options, work: Duration) -> (Vec<&'static str>, String) {
    let (url, _tasks) = origin(handler, work).await;
    let report = conformance(&url, options).await.unwrap();
    assert_eq!(report.passed(), report.failed().is_empty());
    (report.failed(), report.to_string())
}

#[tokio::test]
async fn a_right_origin_passes_every_check() {
    let (url, _tasks) = origin(Arc::new(good), Duration::ZERO).await;
    let report = conformance(&url, &options()).await.unwrap();
    assert!(report.passed(), "{report}");
    let skipped: Vec<_> =
        report.checks.iter().filter(|c| c.outcome == Outcome::Skipped).map(|c| c.name).collect();
    assert_eq!(skipped, ["signature"], "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["checks"][0]["name"], "get");
    assert_eq!(json["checks"][0]["outcome"], "ok");
    assert!(report.to_string().ends_with("22 ok, 0 failed, 1 skipped"), "{report}");
}

/// A change to the right origin's answers, and the checks that must then fail: these and no others.
struct Fault {
    what: &'static str,
    handler: Handler,
    fails: &'static [&'static str],
}

fn fault(
    what: &'static str,
    fails: &'static [&'static str],
    change: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static,
) -> Fault {
    Fault { what, fails, handler: Arc::new(move |asked| change(asked, good(asked))) }
}

/// Changes only what is answered 200 to GET and HEAD of the key that exists.
fn found(
    what: &'static str,
    fails: &'static [&'static str],
    change: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static,
) -> Fault {
    fault(what, fails, move |asked, reply| {
        if asked.is("/test/hello") && reply.status == 200 { change(asked, reply) } else { reply }
    })
}

fn faults() -> Vec<Fault> {
    let at = |path: &'static str, reply: Reply| {
        move |asked: &Asked, right: Reply| if asked.is(path) { reply.clone() } else { right }
    };
    vec![
        fault("absent for every key", &["get"], |_, _| Reply::new(404, "")),
        fault("redirects", &["get"], |_, _| Reply::new(302, "").set("Location", "/elsewhere")),
        fault("hangs up", &["get"], |_, _| Reply { status: 0, ..Reply::new(0, "") }),
        fault("not HTTP", &["get"], |_, _| Reply::new(99, "")),
        found("ends by closing", &["body"], |_, reply| Reply { with_length: false, ..reply }),
        found("wrong Content-MD5", &["digests"], |_, reply| {
            reply.set("Content-MD5", "kAFQmDzST7DWlj99KOF/cQ==")
        }),
        found("malformed Content-MD5", &["digests"], |_, reply| reply.set("Content-MD5", "5d41402abc4b2a76")),
        found("Cache-Control with a colon", &["headers"], |_, reply| {
            reply.set("Cache-Control", "max-age: 60")
        }),
        found("no Content-Type", &["headers"], |_, reply| reply.without("Content-Type")),
        found("Vary", &["headers"], |_, reply| reply.set("Vary", "Cookie")),
        found("Set-Cookie", &["headers"], |_, reply| reply.set("Set-Cookie", "a=b")),
        found("date of another kind", &["headers"], |_, reply| reply.set("Last-Modified", "2026-01-01")),
        fault("ETag without quotes", &["headers"], |asked, reply| match asked.header("if-none-match") {
            Some("v1") => Reply::new(304, "").set("ETag", "v1"),
            Some(_) | None if reply.status == 200 => reply.set("ETag", "v1"),
            Some(_) | None => reply,
        }),
        found("a new ETag each time", &["again", "head", "conditional"], |asked, reply| {
            reply.set("ETag", format!("\"{}\"", asked.nth))
        }),
        found("other bytes under one ETag", &["again"], |asked, reply| {
            let mut other = Reply { body: format!("{:018}\n", asked.nth).into_bytes(), ..reply };
            other = other.without("Content-MD5");
            other
        }),
        found(
            "HEAD absent",
            &["head"],
            |asked, reply| if asked.is_head() { Reply::new(404, "") } else { reply },
        ),
        found("HEAD of another length", &["head"], |asked, reply| {
            if asked.is_head() { Reply { body: b"x".into(), ..reply } } else { reply }
        }),
        found("HEAD of another type", &["head"], |asked, reply| {
            if asked.is_head() { reply.set("Content-Type", "image/png") } else { reply }
        }),
        fault("206 with the whole", &["range"], |_, reply| match reply.status {
            206 => Reply { body: BODY.into(), ..reply },
            _ => reply,
        }),
        fault("206 with other bytes", &["range"], |_, reply| match reply.status {
            206 => Reply { body: reply.body.iter().map(|byte| byte ^ 1).collect(), ..reply },
            _ => reply,
        }),
        fault("206 without Content-Range", &["range"], |_, reply| match reply.status {
            206 => reply.without("Content-Range"),
            _ => reply,
        }),
        fault("200 with a part", &["range"], |_, reply| match reply.status {
            206 => Reply { status: 200, ..reply },
            _ => reply,
        }),
        fault("500 past the end", &["range"], |_, reply| match reply.status {
            416 => Reply::new(500, ""),
            _ => reply,
        }),
        fault("never 304", &["conditional"], |_, reply| match reply.status {
            304 => Reply::new(200, BODY).set("ETag", TAG),
            _ => reply,
        }),
        fault("always 304", &["conditional"], |asked, reply| match asked.header("if-none-match") {
            Some(_) => Reply::new(304, ""),
            None => reply,
        }),
        fault("refuses unknown parameters", &["query"], |asked, reply| {
            if asked.target.contains("unknown") { Reply::new(400, "") } else { reply }
        }),
        fault("other bytes for unknown parameters", &["query"], |asked, reply| {
            if asked.target.contains("unknown") { Reply::new(200, "other") } else { reply }
        }),
        fault("500 for absent", &["missing"], at("/test/missing", Reply::new(500, ""))),
        fault("403 for absent", &["missing"], at("/test/missing", Reply::new(403, ""))),
        fault("200 for absent", &["missing"], at("/test/missing", Reply::new(200, "nothing here"))),
        fault(
            "absent with a placeholder",
            &["missing-body"],
            at("/test/missing", Reply::new(404, "GIF89a").set("Content-Type", "image/gif")),
        ),
        fault("absent with a cut body", &["missing-body"], |asked, reply| {
            if asked.is("/test/missing") && !asked.is_head() { Reply { cut: 1, ..reply } } else { reply }
        }),
        fault("HEAD finds what GET does not", &["missing-head"], |asked, reply| {
            if asked.is("/test/missing") && asked.is_head() { Reply::new(200, "") } else { reply }
        }),
        fault("500 for impossible", &["impossible"], at("/test/impossible", Reply::new(500, ""))),
        fault("200 for impossible", &["impossible"], at("/test/impossible", Reply::new(200, ""))),
        fault("tidies paths up", &["odd-keys"], |asked, reply| {
            if asked.path().contains("..") { Reply::new(301, "").set("Location", "/x") } else { reply }
        }),
        fault("breaks on other alphabets", &["odd-keys"], |asked, reply| {
            if asked.path().contains("%C3") { Reply::new(500, "") } else { reply }
        }),
        fault("hangs up on spaces", &["odd-keys"], |asked, reply| {
            if asked.path().contains("%20") { Reply { status: 0, ..reply } } else { reply }
        }),
        fault("does not decode", &["decoding"], |asked, reply| {
            if asked.path().contains("%6") && !asked.path().contains("%2") {
                Reply::new(404, "")
            } else {
                reply
            }
        }),
        fault("decodes twice", &["decoding"], |asked, reply| {
            if asked.path().starts_with("/test/%2568") {
                Reply::new(200, BODY).set("ETag", TAG)
            } else {
                reply
            }
        }),
        fault("failure told as absence", &["failure"], at("/test/failing", Reply::new(404, ""))),
        fault("failure told as an object", &["failure"], at("/test/failing", Reply::new(200, "oops"))),
        fault("503 without a hint", &["busy"], |_, reply| reply.without("Retry-After")),
        fault("503 with a hint of words", &["busy"], |_, reply| match reply.status {
            503 => reply.set("Retry-After", "soon"),
            _ => reply,
        }),
        fault("a big body is cut", &["big"], |asked, reply| {
            if asked.is("/test/big") { Reply { cut: 1, ..reply } } else { reply }
        }),
        fault("a big body has another digest", &["big"], |asked, reply| {
            if asked.is("/test/big") { reply.set("Content-MD5", "kAFQmDzST7DWlj99KOF/cQ==") } else { reply }
        }),
        fault("no list", &["list"], at("/test", Reply::new(404, ""))),
        fault("a list of another kind", &["list"], at("/test", Reply::new(200, "<html></html>"))),
        found("closes without a word", &["keep-alive"], |_, reply| Reply { close: true, ..reply }),
        found("more bytes than promised", &["keep-alive"], |_, reply| {
            let mut reply = reply.set("Content-Length", BODY.len().to_string());
            reply.body.extend_from_slice(b"and more");
            Reply { with_length: false, ..reply }
        }),
    ]
}

#[tokio::test]
async fn every_wrong_origin_fails_the_check_for_it_and_no_other() {
    let mut wrong = Vec::new();
    for fault in faults() {
        let (failed, report) = failed_with(fault.handler, &options(), Duration::ZERO).await;
        if failed != fault.fails {
            wrong.push(format!("{}: expected {:?}\n{report}", fault.what, fault.fails));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn truncated_bodies_are_named() {
    let cut = found("", &[], |_, reply| Reply { cut: 3, ..reply });
    let (failed, report) = failed_with(cut.handler, &options(), Duration::ZERO).await;
    assert!(failed.contains(&"body") && failed.contains(&"concurrent"), "{report}");
    assert!(report.contains("truncated after 16 bytes"), "{report}");
    // Only now and then is seen as well.
    let sometimes =
        found("", &[], |asked, reply| if asked.nth == 2 { Reply { cut: 3, ..reply } } else { reply });
    let (failed, report) = failed_with(sometimes.handler, &options(), Duration::ZERO).await;
    assert_eq!(failed, ["again"], "{report}");
}

#[tokio::test]
async fn slow_and_silent_origins_are_named() {
    let hasty = Options { slow_after: Duration::from_millis(1), ..options() };
    let (failed, report) = failed_with(Arc::new(good), &hasty, Duration::from_millis(20)).await;
    assert_eq!(failed, ["speed"], "{report}");
    let hasty = Options { timeout: Duration::from_millis(100), ..options() };
    let silent = fault("", &[], |_, reply| Reply { silent: true, ..reply });
    let (failed, report) = failed_with(silent.handler, &hasty, Duration::ZERO).await;
    assert_eq!(failed, ["get"]);
    assert!(report.contains("slow: no complete answer within 100ms"), "{report}");
    let (failed, report) = {
        let report = conformance("http://127.0.0.1:1", &options()).await.unwrap();
        (report.failed(), report.to_string())
    };
    assert_eq!(failed, ["connect"], "{report}");
}

#[tokio::test]
async fn answers_that_differ_under_load_are_found() {
    let shared = fault("", &[], |asked, reply| {
        if asked.at_once > 1 { Reply { body: b"of somebody else!!\n".into(), ..reply } } else { reply }
    });
    let (failed, report) = failed_with(shared.handler, &options(), Duration::from_millis(20)).await;
    assert_eq!(failed, ["concurrent"], "{report}");
    let refuses =
        fault(
            "",
            &[],
            |asked, reply| {
                if asked.at_once > 1 { Reply::new(503, "").set("Retry-After", "1") } else { reply }
            },
        );
    let (failed, report) = failed_with(refuses.handler, &options(), Duration::from_millis(20)).await;
    assert!(failed.is_empty(), "503 with a hint is an answer: {report}");
}

#[tokio::test]
async fn an_origin_that_believes_anybody_is_found() {
    let with_key = Options { credentials: Some(("AK".to_owned(), "secret".to_owned())), ..options() };
    let (failed, report) = failed_with(Arc::new(good), &with_key, Duration::ZERO).await;
    assert_eq!(failed, ["signature"], "{report}");
    // One that looks only whether there is a signature.
    let gullible = fault("", &[], |asked, reply| match asked.header("authorization") {
        Some(_) => reply,
        None => Reply::new(403, ""),
    });
    let (failed, report) = failed_with(gullible.handler, &with_key, Duration::ZERO).await;
    assert_eq!(failed, ["signature"], "{report}");
}

#[tokio::test]
async fn what_the_kit_serves_passes() {
    async fn hello(request: Request) -> Result<Answer, OriginError> {
        match request.key.as_str() {
            "hello" => Ok(BODY.into()),
            "big" => Ok(Answer::bytes(vec![7; 20 << 20])),
            "impossible" => Err(OriginError::invalid("no such names here")),
            "failing" => Err(OriginError::internal("planted")),
            _ => Err(OriginError::not_found()),
        }
    }
    for credentials in [None, Some(("AK".to_owned(), "secret".to_owned()))] {
        let options = Options { credentials, ..options() };
        let report = conformance_of(hello, &options).await.unwrap();
        assert!(report.passed(), "{report}");
        let skipped = report.checks.iter().filter(|check| check.outcome == Outcome::Skipped);
        let skipped: Vec<_> = skipped.map(|check| check.name).collect();
        let expected: &[&str] =
            if options.credentials.is_some() { &["busy"] } else { &["signature", "busy"] };
        assert_eq!(skipped, expected, "{report}");
    }
}

#[tokio::test]
async fn urls_that_cannot_be_tested_are_refused() {
    for url in ["", "127.0.0.1:80", "https://127.0.0.1", "ftp://h", "http://a:b@h", "http://h/?x", "http://"]
    {
        let refused = conformance(url, &options()).await;
        assert!(refused.is_err(), "{url}: {refused:?}");
    }
}

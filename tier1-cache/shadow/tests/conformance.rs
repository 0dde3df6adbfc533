//! One suite for every [`Shadow`]: over HTTP, over S3, and in process, against the same scripts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use fallthrough_object::{Addressing, BodyError, BucketName, Clock, ETag, Key, RangeSpec, SystemClock};
use fallthrough_shadow::{
    HttpSettings, HttpShadow, ListQuery, Method, NetworkPolicy, Outbound, RawAnswer, Request, S3Settings,
    S3Shadow, Shadow, ShadowError,
};
use fallthrough_sim::{At, Fault, FaultyOrigin, ListFault, Script, ScriptedShadow};
use fallthrough_wire::sigv4::Credentials;
use futures::StreamExt;

/// A shadow and the script of what is behind it.
struct Subject {
    name: &'static str,
    shadow: Arc<dyn Shadow>,
    script: Arc<Script>,
    lists: bool,
    /// Kept alive with the subject.
    _origin: Option<FaultyOrigin>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn outbound() -> Outbound {
    Outbound::new(NetworkPolicy { allow_private: true }).expect("TLS can be set up")
}

fn s3(origin: &FaultyOrigin, credentials: Option<Credentials>) -> S3Shadow {
    let settings = S3Settings {
        endpoint: origin.url(),
        bucket: BucketName::parse("photos").expect("a name"),
        region: "eu-1".into(),
        addressing: Addressing::Path,
        credentials,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    S3Shadow::new(settings, &outbound(), clock).expect("usable settings")
}

async fn subjects() -> Vec<Subject> {
    let mut all = Vec::new();
    let origin = FaultyOrigin::start().await;
    let settings = HttpSettings { base_url: origin.url(), bearer: None };
    let http = HttpShadow::new(&settings, &outbound()).expect("usable settings");
    all.push(Subject {
        name: "http",
        shadow: Arc::new(http),
        script: origin.script(),
        lists: false,
        _origin: Some(origin),
    });
    for (name, credentials) in [("s3", Some(Credentials::new("AK", "secret"))), ("s3 anonymous", None)] {
        let origin = FaultyOrigin::start_s3("photos").await;
        let shadow = Arc::new(s3(&origin, credentials));
        all.push(Subject { name, shadow, script: origin.script(), lists: true, _origin: Some(origin) });
    }
    let scripted = ScriptedShadow::new();
    let script = scripted.script();
    all.push(Subject { name: "in process", shadow: Arc::new(scripted), script, lists: true, _origin: None });
    all
}

fn get(key: &str) -> Request {
    Request::get(Key::parse(key).expect("a key"), Duration::from_secs(20))
}

async fn read(answer: RawAnswer) -> (BytesMut, Option<BodyError>) {
    let mut got = BytesMut::new();
    let mut body = answer.body;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(error) => {
                assert!(body.next().await.is_none(), "an error is the end");
                return (got, Some(error));
            }
        }
    }
    (got, None)
}

#[tokio::test]
async fn bodies_headers_parts_and_conditions_pass_through() {
    for subject in subjects().await {
        let content = subject.script.object("k", 300_000);
        for (name, value) in
            [("x-odd", "kept"), ("set-cookie", "a=1"), ("content-encoding", "gzip"), ("x-amz-meta-a", "ä")]
        {
            subject.script.header("k", name, value);
        }
        let answer = subject.shadow.fetch(get("k")).await.unwrap();
        assert_eq!(answer.status, 200, "{subject:?}");
        for (name, value) in
            [("x-odd", "kept"), ("set-cookie", "a=1"), ("content-encoding", "gzip"), ("x-amz-meta-a", "ä")]
        {
            assert_eq!(answer.headers[name].as_bytes(), value.as_bytes(), "{subject:?}");
        }
        let etag = ETag::parse(answer.headers["etag"].to_str().unwrap()).unwrap();
        // Not decoded, though the header says gzip.
        assert_eq!(read(answer).await.0, content.bytes(), "{subject:?}");

        let head = subject.shadow.fetch(Request { method: Method::Head, ..get("k") }).await.unwrap();
        assert_eq!((head.status.as_u16(), head.headers["content-length"].to_str().unwrap()), (200, "300000"));
        assert!(read(head).await.0.is_empty());

        for (range, want) in [
            (RangeSpec::FromTo { first: 5, last: 9 }, content.slice(5, 10)),
            (RangeSpec::From { first: 299_999 }, content.slice(299_999, 300_000)),
            (RangeSpec::Suffix { len: 3 }, content.slice(299_997, 300_000)),
        ] {
            let answer = subject.shadow.fetch(Request { range: Some(range), ..get("k") }).await.unwrap();
            assert_eq!(answer.status, 206, "{subject:?} {range:?}");
            assert_eq!(read(answer).await.0, want, "{subject:?} {range:?}");
        }
        let beyond = Request { range: Some(RangeSpec::From { first: 300_000 }), ..get("k") };
        assert_eq!(subject.shadow.fetch(beyond).await.unwrap().status, 416, "{subject:?}");
        let same = Request { if_none_match: Some(etag.clone()), ..get("k") };
        assert_eq!(subject.shadow.fetch(same).await.unwrap().status, 304, "{subject:?}");
        subject.script.replace("k");
        let pinned = Request { if_match: Some(etag), range: Some(RangeSpec::From { first: 5 }), ..get("k") };
        assert_eq!(subject.shadow.fetch(pinned).await.unwrap().status, 412, "{subject:?}");
        assert_eq!(subject.shadow.fetch(get("none")).await.unwrap().status, 404, "{subject:?}");
    }
}

#[tokio::test]
async fn any_status_is_an_answer_and_nothing_is_followed_or_retried() {
    for subject in subjects().await {
        subject.script.object("k", 10);
        for (n, status) in
            [204, 301, 307, 400, 401, 403, 404, 418, 429, 500, 503, 504].into_iter().enumerate()
        {
            let fault = Fault::Answer {
                status,
                headers: vec![("location".into(), "/k2".into())],
                body: String::new(),
            };
            subject.script.fault_times("k", 1, fault);
            let answer = subject.shadow.fetch(get("k")).await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), answer.headers["location"].to_str().unwrap()),
                (status, "/k2")
            );
            assert!(read(answer).await.1.is_none());
            assert_eq!(subject.script.calls("k"), n + 1, "{subject:?} {status}");
        }
        assert_eq!(subject.script.calls("k2"), 0);
    }
}

#[tokio::test]
async fn a_body_that_ends_short_is_an_error_and_one_that_is_merely_odd_is_not() {
    for subject in subjects().await {
        let content = subject.script.object("k", 200_000);
        for (fault, got_bytes, breaks) in [
            (Fault::TruncateAt(0), Some(0), true),
            (Fault::TruncateAt(199_999), Some(199_999), true),
            // What was sent before a reset may or may not arrive.
            (Fault::ResetAt(100_000), None, true),
            (Fault::ResetAt(0), None, true),
            (Fault::WrongLength(200_001), Some(200_000), true),
            (Fault::WrongLength(10), Some(10), false),
            (Fault::NoLength, Some(200_000), false),
            (Fault::EndChunkedAt(7), Some(7), false),
            (Fault::Drip { chunk_bytes: 50_000, every: Duration::from_millis(1) }, Some(200_000), false),
        ] {
            subject.script.fault_times("k", 1, fault.clone());
            let (got, error) = read(subject.shadow.fetch(get("k")).await.unwrap()).await;
            assert_eq!(error.is_some(), breaks, "{subject:?} {fault:?}: {error:?}");
            assert_eq!(got, content.slice(0, got.len() as u64), "{subject:?} {fault:?}");
            if let Some(want) = got_bytes {
                assert_eq!(got.len() as u64, want, "{subject:?} {fault:?}");
            }
        }
        // A chunked body that breaks has no length to compare with, but no end either.
        subject.script.fault("k", Fault::NoLength);
        subject.script.fault("k", Fault::TruncateAt(9));
        assert!(read(subject.shadow.fetch(get("k")).await.unwrap()).await.1.is_some(), "{subject:?}");
    }
}

#[tokio::test]
async fn an_origin_that_is_silent_or_gone_is_an_error_without_an_address() {
    for subject in subjects().await {
        subject.script.object("k", 10);
        subject.script.fault_times("k", 1, Fault::NoAnswer);
        let hasty = Request { header_timeout: Duration::from_millis(50), ..get("k") };
        assert!(matches!(subject.shadow.fetch(hasty).await, Err(ShadowError::Timeout)), "{subject:?}");
        subject.script.wait_for_ended("k", 1).await;
        assert_eq!((subject.script.abandoned("k"), subject.script.in_flight()), (1, 0), "{subject:?}");
        subject.script.fault_times("k", 1, Fault::HangUp);
        let error = subject.shadow.fetch(get("k")).await.unwrap_err();
        assert!(matches!(error, ShadowError::Unreachable { .. }), "{subject:?} {error:?}");
        assert!(!format!("{error} {error:?}").contains("127.0.0.1"), "{error:?}");
        assert_eq!(subject.shadow.fetch(get("k")).await.unwrap().status, 200, "{subject:?}");
    }
}

#[tokio::test]
async fn dropping_a_future_or_a_body_ends_the_request() {
    for subject in subjects().await {
        let (shadow, script) = (Arc::clone(&subject.shadow), Arc::clone(&subject.script));
        script.object("k", 10_000_000);
        script.hold("k", At::Headers);
        let asking = shadow.fetch(get("k"));
        tokio::select! {
            biased;
            _ = asking => panic!("{subject:?} was held"),
            () = script.wait_for_held("k", At::Headers) => {}
        }
        script.wait_for_ended("k", 1).await;
        script.release("k");
        script.hold("k", At::Byte(1000));
        let mut answer = shadow.fetch(get("k")).await.unwrap();
        assert!(!answer.body.next().await.unwrap().unwrap().is_empty());
        drop(answer);
        script.wait_for_ended("k", 2).await;
        assert_eq!((script.abandoned("k"), script.in_flight()), (2, 0), "{subject:?}");
    }
}

#[tokio::test]
async fn every_key_arrives_as_it_is() {
    let odd = [
        "a",
        "a b",
        "a/b",
        "a//b",
        "/a",
        "a/",
        "//",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "./a",
        "a/..",
        "%2F",
        "%2e%2e/a",
        "a%",
        "a?b",
        "a#b",
        "a+b",
        "a&b=c",
        "ä/ö",
        "\u{1F600}",
        "a\nb",
        "a\tb",
        "\u{7f}",
        "\"'<>\\^`{|}",
        "~-_.",
        ";,:@$!*()",
        "\u{202e}x",
    ];
    for subject in subjects().await {
        for key in odd {
            let content = subject.script.object(key, 100);
            let answer = subject.shadow.fetch(get(key)).await.unwrap();
            assert_eq!(answer.status, 200, "{subject:?} {key:?}");
            assert_eq!(read(answer).await.0, content.bytes(), "{subject:?} {key:?}");
        }
        let long = "ä".repeat(512);
        subject.script.object(&long, 1);
        assert_eq!(subject.shadow.fetch(get(&long)).await.unwrap().status, 200, "{subject:?}");
    }
}

#[tokio::test]
async fn requests_run_at_the_same_time() {
    for subject in subjects().await {
        for n in 0..20 {
            subject.script.object(&format!("k{n}"), 1000);
            subject.script.hold(&format!("k{n}"), At::LastByte);
        }
        let asked = futures::future::join_all((0..20).map(|n| {
            let shadow = Arc::clone(&subject.shadow);
            async move { read(shadow.fetch(get(&format!("k{n}"))).await.unwrap()).await.0.len() }
        }));
        let released = async {
            for n in 0..20 {
                subject.script.wait_for_held(&format!("k{n}"), At::LastByte).await;
            }
            (0..20).for_each(|n| subject.script.release(&format!("k{n}")));
        };
        let (lens, ()) = tokio::join!(asked, released);
        assert_eq!(lens, [1000; 20], "{subject:?}");
        assert_eq!(subject.script.in_flight_max(), 20, "{subject:?}");
    }
}

fn page(prefix: &str, start_after: &str, max_keys: usize) -> ListQuery {
    ListQuery {
        prefix: prefix.into(),
        start_after: start_after.into(),
        delimiter: Some("/".into()),
        max_keys,
        timeout: Duration::from_secs(10),
        ..ListQuery::default()
    }
}

#[tokio::test]
async fn lists_come_in_order_page_by_page() {
    let keys = ["a", "a b+c%", "a/1", "a/2", "a0", "b/x/1", "b/x/2", "b/y", "c", "ä\n<&>"];
    for subject in subjects().await {
        for (n, key) in keys.iter().enumerate() {
            subject.script.object(key, n as u64);
        }
        if !subject.lists {
            assert!(matches!(subject.shadow.list(page("", "", 10)).await, Err(ShadowError::NoList)));
            continue;
        }
        for max_keys in 1..=8 {
            let (mut after, mut names) = (String::new(), Vec::new());
            loop {
                let got = subject.shadow.list(page("", &after, max_keys)).await.unwrap();
                let mut here: Vec<_> = got.objects.iter().map(|o| o.key.clone()).collect();
                here.extend(got.prefixes);
                here.sort();
                assert!(here.len() <= max_keys && here.iter().all(|name| *name > after), "{subject:?}");
                names.append(&mut here);
                if !got.truncated {
                    break;
                }
                after.clone_from(names.last().unwrap());
            }
            assert_eq!(names, ["a", "a b+c%", "a/", "a0", "b/", "c", "ä\n<&>"], "{subject:?} by {max_keys}");
        }
        let below = subject.shadow.list(page("b/", "", 10)).await.unwrap();
        assert_eq!((below.objects[0].key.as_str(), below.objects[0].size_bytes), ("b/y", 7));
        assert_eq!(below.objects[0].etag.as_ref().map(ToString::to_string), subject.script.etag("b/y"));
        assert_eq!(below.prefixes, ["b/x/"]);
        let flat = ListQuery { delimiter: None, ..page("", "a/1", 2) };
        let flat = subject.shadow.list(flat).await.unwrap();
        assert_eq!(
            (flat.objects[0].key.as_str(), flat.objects[1].key.as_str(), flat.truncated),
            ("a/2", "a0", true)
        );
    }
}

#[tokio::test]
async fn a_list_that_fails_is_never_a_shorter_list() {
    for subject in subjects().await.into_iter().filter(|subject| subject.lists) {
        for key in ["a", "b", "c"] {
            subject.script.object(key, 1);
        }
        let ask = async |fault| {
            subject.script.list_fault_times(1, fault);
            let hasty = ListQuery { timeout: Duration::from_millis(500), ..page("", "", 10) };
            subject.shadow.list(hasty).await.unwrap_err()
        };
        assert!(
            matches!(ask(ListFault::Status(403)).await, ShadowError::ListRefused { status: 403, .. }),
            "{subject:?}"
        );
        assert!(
            matches!(ask(ListFault::Status(500)).await, ShadowError::ListRefused { status: 500, .. }),
            "{subject:?}"
        );
        let retry_after = Duration::from_secs(7);
        assert!(
            matches!(
                ask(ListFault::Busy { retry_after }).await,
                ShadowError::ListRefused { status: 503, retry_after: Some(wait), .. } if wait == retry_after
            ),
            "{subject:?}"
        );
        assert!(matches!(ask(ListFault::OutOfOrder).await, ShadowError::Malformed { .. }), "{subject:?}");
        assert!(matches!(ask(ListFault::Malformed).await, ShadowError::Malformed { .. }), "{subject:?}");
        assert!(matches!(ask(ListFault::NoAnswer).await, ShadowError::Timeout), "{subject:?}");
        assert_eq!(subject.shadow.list(page("", "", 10)).await.unwrap().objects.len(), 3, "{subject:?}");
    }
}

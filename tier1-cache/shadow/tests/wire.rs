//! What stands on the wire, byte for byte, and where requests never go.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Addressing, BucketName, Clock, Key, SystemClock, Timestamp, TraceParent};
use fallthrough_shadow::{
    Extras, HttpSettings, HttpShadow, ListQuery, Method, NetworkPolicy, Outbound, ProbeLine, ProbeResult,
    Probed, Request, S3Settings, S3Shadow, SettingsError, Shadow, ShadowError, probe,
};
use fallthrough_sim::{Fault, FaultyOrigin, ListFault, ManualClock};
use fallthrough_wire::sigv4::{Credentials, Presented, Secret, VerifyPolicy};
use futures::StreamExt;

const OPEN: NetworkPolicy = NetworkPolicy { allow_private: true };

fn outbound() -> Outbound {
    Outbound::new(OPEN).expect("TLS can be set up")
}

fn http(base_url: String) -> HttpShadow {
    let bearer = Some(Secret::new("token"));
    HttpShadow::new(&HttpSettings { base_url, bearer }, &outbound()).expect("usable settings")
}

fn s3_settings(endpoint: String) -> S3Settings {
    let credentials = Some(Credentials::new("AK", "hunter2"));
    let bucket = BucketName::parse("photos").expect("a name");
    S3Settings { endpoint, bucket, region: "eu-1".into(), addressing: Addressing::Path, credentials }
}

fn get(key: &str) -> Request {
    Request::get(Key::parse(key).expect("a key"), Duration::from_secs(20))
}

#[tokio::test]
async fn keys_are_encoded_once_and_dots_are_not_folded() {
    let origin = FaultyOrigin::start().await;
    let shadow = http(origin.url());
    let keys = ["../a//b/./..", "a b?c#d%2Fe+", "ä", "%2e%2e"];
    for key in keys {
        shadow.fetch(get(key)).await.unwrap();
    }
    let want = ["GET /../a//b/./..", "GET /a%20b%3Fc%23d%252Fe%2B", "GET /%C3%A4", "GET /%252e%252e"];
    assert_eq!(origin.request_lines(), want);
}

/// What a client asked with stands after the key, and never in place of what we say.
#[tokio::test]
async fn what_is_passed_on_is_encoded_and_replaces_nothing_of_ours() {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let extras = Extras {
        query: vec![text("h", "2 &=#"), text("w", "ä"), text("w", "")],
        headers: vec![
            text("accept-language", "de, en;q=0.5"),
            text("user-agent", "theirs"),
            text("x-fallthrough-hops", "0"),
            text("authorization", "theirs"),
        ],
    };
    let origin = FaultyOrigin::start().await;
    http(origin.url()).fetch(Request { extras: extras.clone(), hops: 3, ..get("k") }).await.unwrap();
    let (line, headers) = origin.requests().remove(0);
    assert_eq!(line, "GET /k?h=2%20%26%3D%23&w=%C3%A4&w=");
    assert_eq!(headers["accept-language"], "de, en;q=0.5");
    assert_eq!(
        (&headers["x-fallthrough-hops"], headers.get_all("user-agent").iter().count()),
        (&"4".parse().unwrap(), 1)
    );
    assert_eq!(headers["authorization"], "Bearer token");
    // Over S3, where a program answers, it is part of what is signed.
    let origin = FaultyOrigin::start_s3("photos").await;
    origin.object("k", 5);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let shadow = S3Shadow::new(s3_settings(origin.url()), &outbound(), Arc::clone(&clock)).unwrap();
    let request = Request { extras, ..get("k") };
    assert_eq!(shadow.fetch(request).await.unwrap().status, 200);
    let (line, headers) = origin.requests().remove(0);
    let target = line.strip_prefix("GET ").unwrap();
    let (path, query) = target.split_once('?').unwrap();
    assert_eq!((path, query), ("/photos/k", "h=2%20%26%3D%23&w=%C3%A4&w="));
    let policy = VerifyPolicy { region: Some("eu-1".into()), skew_max: Duration::from_secs(60) };
    let presented =
        Presented::parse(&http::Method::GET, path, Some(query), &headers, clock.now(), &policy).unwrap();
    assert!(presented.unwrap().verify((), &Secret::new("hunter2"), None).is_ok());
}

#[tokio::test]
async fn a_key_cannot_climb_out_of_the_base_path() {
    let origin = FaultyOrigin::start().await;
    let shadow = http(format!("{}/public/", origin.url()));
    origin.object("public/k", 5);
    assert_eq!(shadow.fetch(get("k")).await.unwrap().status, 200);
    for key in ["../secret", "a/../../secret", "..", "a\\..\\..\\secret"] {
        assert_eq!(shadow.fetch(get(key)).await.unwrap().status, 400, "{key}");
    }
    assert_eq!(shadow.fetch(get("a..b/...")).await.unwrap().status, 404);
    assert_eq!(origin.request_lines(), ["GET /public/k", "GET /public/a..b/..."]);
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let origin = FaultyOrigin::start().await;
    let shadow = http(origin.url());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request {
        attempt: 3,
        hops: 2,
        request_id: "R1".into(),
        trace: TraceParent::parse(trace.as_bytes()),
        ..get("k")
    };
    shadow.fetch(request).await.unwrap();
    let call = origin.call_log("k").remove(0);
    assert_eq!((call.attempt, call.hops, call.request_id.as_str()), (3, 3, "R1"));
    let version = format!("fallthrough/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("user-agent", version.as_str()),
        ("accept-encoding", "identity"),
        ("traceparent", trace),
        ("authorization", "Bearer token"),
        ("host", origin.address().to_string().as_str()),
    ] {
        assert_eq!(call.headers[name], value, "{name}");
    }
}

#[tokio::test]
async fn every_kind_of_request_carries_its_trace() {
    let origin = FaultyOrigin::start_s3("photos").await;
    let shadow = S3Shadow::new(s3_settings(origin.url()), &outbound(), Arc::new(SystemClock::new())).unwrap();
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = TraceParent::parse(text.as_bytes());
    for method in [Method::Get, Method::Head] {
        shadow.fetch(Request { method, trace, ..get("k") }).await.unwrap();
    }
    let timeout = Duration::from_secs(20);
    shadow.list(ListQuery { max_keys: 1, timeout, trace, ..ListQuery::default() }).await.unwrap();
    let requests = origin.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    for (line, headers) in &requests {
        assert_eq!(headers["traceparent"], text, "{line}");
        let signed = headers["authorization"].to_str().unwrap();
        assert!(!signed.contains("traceparent"), "{line}: what is signed cannot be gone on from: {signed}");
    }
    shadow.fetch(get("k")).await.unwrap();
    assert!(!origin.requests()[3].1.contains_key("traceparent"));
}

#[tokio::test]
async fn a_circle_of_stores_ends() {
    let origin = FaultyOrigin::start().await;
    origin.object("k", 5);
    let shadow = http(origin.url());
    assert!(shadow.fetch(Request { hops: 7, ..get("k") }).await.is_ok());
    for hops in [8, u32::MAX] {
        let error = shadow.fetch(Request { hops, ..get("k") }).await.unwrap_err();
        assert!(matches!(error, ShadowError::Loop), "{hops}");
    }
    assert_eq!(origin.calls("k"), 1);
}

/// A body that ends with its connection may have been cut off anywhere.
#[tokio::test]
async fn a_body_without_length_and_chunks_is_not_believed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shadow = http(format!("http://{}", listener.local_addr().unwrap()));
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(socket.read(&mut head).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.0 200 OK\r\nETag: \"x\"\r\n\r\nhalf of it").await.unwrap();
    };
    let (answer, ()) = tokio::join!(shadow.fetch(get("k")), serve);
    assert!(matches!(answer, Err(ShadowError::Unframed)), "{answer:?}");
}

#[tokio::test]
async fn signatures_cover_what_stands_on_the_wire() {
    let origin = FaultyOrigin::start_s3("photos").await;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp(1_767_225_600_000)));
    let shadow = S3Shadow::new(s3_settings(origin.url()), &outbound(), Arc::clone(&clock)).unwrap();
    for key in ["plain", "../a//b/./ ?#%2F+ä~*'()", "a/b c"] {
        origin.object(key, 5);
        shadow.fetch(get(key)).await.unwrap();
        let line = origin.request_lines().pop().unwrap();
        let raw_path = line.strip_prefix("GET ").unwrap();
        let headers = origin.call_log(key).remove(0).headers;
        let policy = VerifyPolicy { region: Some("eu-1".into()), skew_max: Duration::from_secs(1) };
        let presented = Presented::parse(&http::Method::GET, raw_path, None, &headers, clock.now(), &policy)
            .unwrap()
            .unwrap();
        assert!(presented.verify((), &Secret::new("hunter2"), None).is_ok(), "{key}");
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains("x-amz-checksum-mode"), "{authorization}");
        assert_eq!(headers["x-amz-checksum-mode"], "ENABLED");
    }
    let anonymous = S3Settings { credentials: None, ..s3_settings(origin.url()) };
    S3Shadow::new(anonymous, &outbound(), clock).unwrap().fetch(get("anonymous")).await.unwrap();
    assert!(!origin.call_log("anonymous")[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn private_origins_are_refused_unless_allowed() {
    let origin = FaultyOrigin::start().await;
    let strict = Outbound::new(NetworkPolicy::default()).unwrap();
    let literal = HttpSettings { base_url: origin.url(), bearer: None };
    assert!(matches!(HttpShadow::new(&literal, &strict), Err(SettingsError::Forbidden { .. })));
    // A name is checked when it is resolved, each time anew.
    let named =
        HttpSettings { base_url: format!("http://localhost:{}", origin.address().port()), bearer: None };
    let error = HttpShadow::new(&named, &strict).unwrap().fetch(get("k")).await.unwrap_err();
    assert!(matches!(error, ShadowError::Forbidden { .. }), "{error:?}");
    assert!(error.to_string().contains("allow-private-origins"), "{error}");
    assert_eq!(origin.total_calls(), 0);
    assert_eq!(HttpShadow::new(&named, &outbound()).unwrap().fetch(get("k")).await.unwrap().status, 404);
}

#[tokio::test]
async fn unreachable_origins_are_told_without_their_address() {
    // A port that was free a moment ago.
    let port = FaultyOrigin::start().await.address().port();
    for url in [format!("http://127.0.0.1:{port}"), "http://no-such-host.invalid".to_owned()] {
        let error = http(url.clone()).fetch(get("k")).await.unwrap_err();
        assert!(matches!(error, ShadowError::Unreachable { .. }), "{url}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("127.0.0.1") && !text.contains("invalid"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told() {
    let origin = FaultyOrigin::start().await;
    let url = origin.url().replace("http://", "https://");
    let error = http(url).fetch(get("k")).await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn debug_shows_neither_address_nor_secret() {
    let shadow =
        S3Shadow::new(s3_settings("http://127.0.0.1:1".into()), &outbound(), Arc::new(SystemClock::new()));
    let http = http("http://127.0.0.1:1/base".into());
    let text = format!("{:?} {http:?}", shadow.unwrap());
    assert!(!text.contains("127.0.0.1") && !text.contains("hunter2") && !text.contains("token"), "{text}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let origin = FaultyOrigin::start().await;
    origin.object("k", 1000);
    let shadow = http(origin.url());
    for _ in 0..5 {
        let mut body = shadow.fetch(get("k")).await.unwrap().body;
        while body.next().await.is_some() {}
    }
    assert_eq!(origin.connections(), 1);
}

async fn probed(probed: Probed) -> Vec<ProbeLine> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    probe(&probed, false, &outbound(), &clock).await
}

fn results(lines: &[ProbeLine]) -> String {
    let result = |line: &ProbeLine| match line.result {
        ProbeResult::Ok => "ok",
        ProbeResult::Failed => "failed",
        ProbeResult::Skipped => "skipped",
    };
    lines.iter().map(|line| format!("{} {}", line.name, result(line))).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_probe_tells_each_step_with_its_mend() {
    let origin = FaultyOrigin::start_s3("photos").await;
    let s3 = || Probed::S3(s3_settings(origin.url()));
    let good = probed(s3()).await;
    assert_eq!(
        results(&good),
        "settings ok, dns skipped, tcp ok, tls skipped, auth ok, get ok, list ok, clock skipped"
    );

    origin.fault_for_all(Fault::S3Error { status: 403, code: "InvalidAccessKeyId".into() });
    let refused = probed(s3()).await;
    assert_eq!(
        results(&refused),
        "settings ok, dns skipped, tcp ok, tls skipped, auth failed, get skipped, list skipped, clock skipped"
    );
    assert!(refused[4].mend.as_ref().unwrap().contains("access key"));

    origin.heal_all();
    origin.list_fault(ListFault::Status(403));
    origin.fault_for_all(Fault::Header("date".into(), "Sun, 06 Nov 1994 08:49:37 GMT".into()));
    let partly = probed(s3()).await;
    assert_eq!(
        results(&partly),
        "settings ok, dns skipped, tcp ok, tls skipped, auth ok, get ok, list failed, clock failed"
    );
    assert!(partly.iter().all(|line| (line.result == ProbeResult::Failed) == line.mend.is_some()));

    origin.heal_all();
    let wrong_bucket =
        S3Settings { bucket: BucketName::parse("other").unwrap(), ..s3_settings(origin.url()) };
    let wrong_bucket = probed(Probed::S3(wrong_bucket)).await;
    assert!(wrong_bucket[4].mend.as_ref().unwrap().contains("no bucket of that name"), "{wrong_bucket:?}");

    let closed = FaultyOrigin::start().await.url();
    let gone = probed(Probed::Http(HttpSettings { base_url: closed, bearer: None })).await;
    assert_eq!(
        results(&gone),
        "settings ok, dns skipped, tcp failed, tls skipped, auth skipped, get skipped, list skipped, clock skipped"
    );
    let nameless = HttpSettings { base_url: "http://no-such-host.invalid".into(), bearer: None };
    assert_eq!(probed(Probed::Http(nameless)).await[1].result, ProbeResult::Failed);
    let senseless = HttpSettings { base_url: "gopher://x".into(), bearer: None };
    assert_eq!(probed(Probed::Http(senseless)).await[0].result, ProbeResult::Failed);
    let text = format!("{good:?}{refused:?}{partly:?}{gone:?}");
    assert!(!text.contains("127.0.0.1") && !text.contains("hunter2"));
}

#[tokio::test]
async fn a_provider_that_ignores_start_after_is_found_out() {
    let origin = FaultyOrigin::start_s3("photos").await;
    let shadow = S3Shadow::new(s3_settings(origin.url()), &outbound(), Arc::new(SystemClock::new())).unwrap();
    origin.object("a", 1);
    origin.ignore_start_after();
    let query = ListQuery {
        start_after: "b".into(),
        max_keys: 5,
        timeout: Duration::from_secs(5),
        ..ListQuery::default()
    };
    assert!(matches!(shadow.list(query).await, Err(ShadowError::Malformed { .. })));
}

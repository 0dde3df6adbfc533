//! What every origin gets for free, seen from a socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_origin::{
    Answer, ByteRange, Bytes, ETag, Key, ListRequest, ListedObject, Listing, Origin, OriginError,
    OriginService, RangeSpec, Request, Serve, Timestamp, Upload, serve,
};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Signer};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method};
use raw::{ask, ask_with, read};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// A server that ends with the test.
struct Running {
    addr: SocketAddr,
    service: OriginService,
    _task: JoinSet<()>,
}

async fn run(serve: Serve) -> Running {
    let server = serve.bind("127.0.0.1:0").await.unwrap();
    let (addr, service) = (server.local_addr(), server.service());
    let mut task = JoinSet::new();
    task.spawn(server.run());
    Running { addr, service, _task: task }
}

const MD5_OF_HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

async fn objects(request: Request) -> Result<Answer, OriginError> {
    let pieces =
        || stream::iter([&b"he"[..], b"", b"llo"]).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    let tag = ETag::strong("v1").unwrap();
    let failing = stream::iter([Ok(Bytes::from("he")), Err(std::io::Error::other("broke"))]);
    match request.key.as_str() {
        "hello" => Ok("hello".into()),
        "typed" => Ok(("image/x-test", vec![1u8, 2, 3]).into()),
        "empty" => Ok(Answer::bytes("")),
        "full" => Ok(Answer::bytes("hello")
            .etag(tag)
            .last_modified(Timestamp::from_unix_secs(1_369_353_600))
            .fresh_for(Duration::from_secs(60))
            .content_disposition("inline")
            .meta("Colour", "gr\u{fc}n")),
        "stream" => Ok(Answer::stream(pieces())),
        "sized" => Ok(Answer::stream_of_len(5, pieces()).etag(tag)),
        "short" => Ok(Answer::stream_of_len(6, pieces())),
        "long" => Ok(Answer::stream_of_len(4, pieces())),
        "breaks" => Ok(Answer::stream(failing)),
        "breaks-sized" => Ok(Answer::stream_of_len(5, failing)),
        "stalls" => Ok(Answer::stream_of_len(5, pieces().take(1).chain(stream::pending()))),
        "panics-later" => Ok(Answer::stream_of_len(
            5,
            pieces().inspect(|piece| {
                assert_ne!(piece.as_ref().unwrap(), "llo", "planted");
            }),
        )),
        "not-empty" => Ok(Answer::stream_of_len(0, pieces())),
        "huge" => Ok(Answer::bytes(vec![7; 32 << 20]).etag(tag)),
        "panics" => panic!("planted"),
        "injects" => Ok(Answer::bytes("x").meta("a", "b\r\nSet-Cookie: c")),
        "missing" => Err(OriginError::NotFound { ttl: Some(Duration::from_secs(7)) }),
        "invalid" => Err(OriginError::invalid("no <such> key")),
        "busy" => Err(OriginError::Busy { retry_after: Duration::from_millis(1500) }),
        "denied" => Err(OriginError::Denied),
        "broken" => Err(OriginError::internal("the-secret-path")),
        "lost-file" => Err(std::io::Error::from(std::io::ErrorKind::NotFound).into()),
        "hangs" => std::future::pending().await,
        "unchanged" => Ok(Answer::unchanged(tag)),
        key => Ok(format!("key={key:?} query={:?}", request.query.iter().collect::<Vec<_>>()).into()),
    }
}

fn plain() -> Serve {
    serve(objects).timeout(Duration::from_millis(200)).stall_after(Duration::from_millis(200))
}

#[tokio::test]
async fn get_and_head_agree() {
    let server = run(plain()).await;
    for (key, kind, len, etag) in [
        ("hello", "text/plain; charset=utf-8", Some("5"), Some(MD5_OF_HELLO)),
        ("typed", "image/x-test", Some("3"), Some("\"5289df737df57326fcdd22597afb1fac\"")),
        ("empty", "application/octet-stream", Some("0"), Some("\"d41d8cd98f00b204e9800998ecf8427e\"")),
        ("full", "application/octet-stream", Some("5"), Some("\"v1\"")),
        ("sized", "application/octet-stream", Some("5"), Some("\"v1\"")),
        ("stream", "application/octet-stream", None, None),
    ] {
        let get = ask(server.addr, &format!("GET /b/{key} HTTP/1.1")).await;
        let head = ask(server.addr, &format!("HEAD /b/{key} HTTP/1.1")).await;
        assert_eq!((get.status, head.status), (200, 200), "{key}");
        for name in
            ["content-type", "content-length", "etag", "last-modified", "cache-control", "x-amz-meta-colour"]
        {
            assert_eq!(get.header(name), head.header(name), "{key} {name}");
        }
        assert_eq!(get.header("content-type"), Some(kind), "{key}");
        assert_eq!(get.header("content-length"), len, "{key}");
        assert_eq!(get.header("etag"), etag, "{key}");
        assert_eq!(head.body, b"", "{key}");
        assert!(!get.reset, "{key}");
    }
    let full = ask(server.addr, "GET /b/full HTTP/1.1").await;
    assert_eq!(full.header("last-modified"), Some("Fri, 24 May 2013 00:00:00 GMT"));
    assert_eq!(full.header("cache-control"), Some("public, max-age=60"));
    let hello = ask(server.addr, "GET /b/hello HTTP/1.1").await;
    assert_eq!(hello.header("content-md5"), Some("XUFAKrxLKna5cZ2REBfFkg=="));
    assert_eq!(hello.text(), "hello");
    assert_eq!(ask(server.addr, "GET /b/stream HTTP/1.1").await.text(), "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
}

#[tokio::test]
async fn ranges_are_cut_from_whatever_the_origin_gives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello");
    std::fs::write(&path, "hello").unwrap();
    let server = run(serve(move |request: Request| {
        let path = path.clone();
        async move {
            if request.key.as_str() == "file" { Answer::open(path).await } else { objects(request).await }
        }
    }))
    .await;
    let rows: [(&str, u16, &str, Option<&str>); 7] = [
        ("bytes=0-0", 206, "h", Some("bytes 0-0/5")),
        ("bytes=1-99", 206, "ello", Some("bytes 1-4/5")),
        ("bytes=2-", 206, "llo", Some("bytes 2-4/5")),
        ("bytes=-2", 206, "lo", Some("bytes 3-4/5")),
        ("bytes=1-2", 206, "el", Some("bytes 1-2/5")),
        ("bytes=0-1,3-4", 200, "hello", None),
        ("lines=1", 200, "hello", None),
    ];
    for key in ["hello", "sized", "file"] {
        for (range, status, body, content_range) in rows {
            let got = ask(server.addr, &format!("GET /b/{key} HTTP/1.1\nRange: {range}")).await;
            assert_eq!((got.status, got.text()), (status, body), "{key} {range}");
            assert_eq!(got.header("content-range"), content_range, "{key} {range}");
            assert_eq!(got.header("content-length"), Some(body.len().to_string().as_str()), "{key} {range}");
            assert_eq!(got.header("content-md5").is_some(), key == "hello" && status == 200, "{key} {range}");
            assert!(!got.reset);
        }
        let past = ask(server.addr, &format!("GET /b/{key} HTTP/1.1\nRange: bytes=5-")).await;
        assert_eq!((past.status, past.header("content-range")), (416, Some("bytes */5")), "{key}");
        assert!(past.text().contains("<Code>InvalidRange</Code>"));
        let head = ask(server.addr, &format!("HEAD /b/{key} HTTP/1.1\nRange: bytes=1-2")).await;
        assert_eq!(
            (head.status, head.header("content-length"), head.body.len()),
            (206, Some("2"), 0),
            "{key}"
        );
    }
    // Without a length there is nothing to cut; without the file there is no object.
    assert_eq!(ask(server.addr, "GET /b/stream HTTP/1.1\nRange: bytes=1-2").await.status, 200);
    std::fs::remove_file(folder.path().join("hello")).unwrap();
    assert_eq!(ask(server.addr, "GET /b/file HTTP/1.1").await.status, 404);
}

#[tokio::test]
async fn conditions_come_before_ranges() {
    let server = run(plain()).await;
    let rows = [
        ("If-None-Match: \"v1\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"v2\"", 200),
        ("If-Match: \"v2\"", 412),
        ("If-Match: \"v1\"", 200),
        ("If-Match: \"v2\"\nRange: bytes=99-", 412),
        ("If-None-Match: \"v1\"\nRange: bytes=99-", 304),
        ("If-Modified-Since: Fri, 24 May 2013 00:00:00 GMT", 304),
        ("If-Unmodified-Since: Thu, 23 May 2013 00:00:00 GMT", 412),
        ("If-Range: \"v1\"\nRange: bytes=0-0", 206),
        ("If-Range: \"v2\"\nRange: bytes=0-0", 200),
        ("If-Range: \"v2\"\nRange: bytes=99-", 200),
    ];
    for (headers, status) in rows {
        for method in ["GET", "HEAD"] {
            let got = ask(server.addr, &format!("{method} /b/full HTTP/1.1\n{headers}")).await;
            assert_eq!(got.status, status, "{method} {headers}");
            if status == 304 {
                assert_eq!((got.header("etag"), got.body.len()), (Some("\"v1\""), 0), "{headers}");
                assert_eq!(got.header("cache-control"), Some("public, max-age=60"), "{headers}");
                assert_eq!(got.header("content-length"), None, "{headers}");
            }
        }
    }
    let unchanged = |headers: &'static str| ask(server.addr, headers);
    assert_eq!(unchanged("GET /b/unchanged HTTP/1.1\nIf-None-Match: \"v1\"").await.status, 304);
    assert_eq!(unchanged("GET /b/unchanged HTTP/1.1\nIf-None-Match: \"v2\"").await.status, 500);
    assert_eq!(unchanged("GET /b/unchanged HTTP/1.1").await.status, 500);
}

#[tokio::test]
async fn keys_reach_the_origin_verbatim() {
    let server = run(plain()).await;
    let rows = [
        ("/b/a%20b", "a b"),
        ("/b/a+b", "a+b"),
        ("/b/a%2Fb", "a/b"),
        ("/b/a%252Fb", "a%2Fb"),
        ("/b/../../etc/passwd", "../../etc/passwd"),
        ("/b//a//b/", "/a//b/"),
        ("/b/%2E%2E/x", "../x"),
        ("/b/%C3%BC%F0%9F%98%80", "\u{fc}\u{1f600}"),
        ("/b/%3Fq%23h", "?q#h"),
        ("/b/a%0Ab", "a\nb"),
    ];
    for (path, key) in rows {
        let got = ask(server.addr, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!((got.status, got.text()), (200, format!("key={key:?} query=[]").as_str()), "{path}");
    }
    let query = ask(server.addr, "GET /b/k?b=2&a=x+y&b=%2B&x-id=GetObject&X-Amz-Date=1&flag HTTP/1.1").await;
    assert_eq!(query.text(), r#"key="k" query=[("b", "2"), ("a", "x y"), ("b", "+"), ("flag", "")]"#);
    for (path, code) in [
        ("/b/%zz", "InvalidURI"),
        ("/b/%ff", "InvalidURI"),
        ("/b/%", "InvalidURI"),
        ("/b/k?a=%g", "InvalidURI"),
    ] {
        let got = ask(server.addr, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(got.status, 400, "{path}");
        assert!(got.text().contains(&format!("<Code>{code}</Code>")), "{path}: {}", got.text());
    }
    let long = ask(server.addr, &format!("GET /b/{} HTTP/1.1", "k".repeat(1025))).await;
    assert!(long.status == 400 && long.text().contains("KeyTooLongError"));
}

#[tokio::test]
async fn failures_are_s3_errors_and_never_absence() {
    let server = run(plain()).await;
    let rows = [
        ("missing", 404, "NoSuchKey"),
        ("invalid", 400, "InvalidArgument"),
        ("busy", 503, "SlowDown"),
        ("denied", 403, "AccessDenied"),
        ("broken", 500, "InternalError"),
        ("lost-file", 500, "InternalError"),
        ("panics", 500, "InternalError"),
        ("injects", 500, "InternalError"),
        ("not-empty", 500, "InternalError"),
        ("hangs", 503, "SlowDown"),
        ("hello?acl", 501, "NotImplemented"),
    ];
    for (key, status, code) in rows {
        let got = ask(server.addr, &format!("GET /b/{key} HTTP/1.1")).await;
        assert_eq!((got.status, got.header("content-type")), (status, Some("application/xml")), "{key}");
        assert!(got.text().contains(&format!("<Code>{code}</Code>")), "{key}: {}", got.text());
        let id = got.header("x-amz-request-id").unwrap();
        assert!(got.text().contains(&format!("<RequestId>{id}</RequestId>")), "{key}");
        assert!(!got.text().contains("secret") && !got.head.contains("Set-Cookie"), "{key}");
        let head = ask(server.addr, &format!("HEAD /b/{key} HTTP/1.1")).await;
        assert_eq!((head.status, head.body.len()), (status, 0), "{key}");
        assert_eq!(got.header("retry-after").is_some(), status == 503, "{key}");
    }
    assert_eq!(ask(server.addr, "GET /b/busy HTTP/1.1").await.header("retry-after"), Some("2"));
    assert_eq!(ask(server.addr, "GET /b/missing HTTP/1.1").await.header("cache-control"), Some("max-age=7"));
    assert!(ask(server.addr, "GET /b/invalid HTTP/1.1").await.text().contains("no &lt;such&gt; key"));
    let counted = server.service.counters().snapshot();
    assert_eq!((counted.panics, counted.timed_out, counted.in_flight), (2, 2, 0));
}

#[tokio::test]
async fn a_body_that_broke_never_looks_whole() {
    let server = run(plain()).await;
    for key in ["short", "long", "breaks", "breaks-sized", "stalls", "panics-later"] {
        for version in ["1.1", "1.0"] {
            let got = ask(server.addr, &format!("GET /b/{key} HTTP/{version}")).await;
            let promised = got.header("content-length").map(|len| len.parse::<usize>().unwrap());
            let whole = match promised {
                Some(len) => got.body.len() == len,
                None if got.header("transfer-encoding").is_some() => got.body.ends_with(b"0\r\n\r\n"),
                None => !got.reset,
            };
            assert!(!whole, "{key} {version}: {got:?}");
            assert!(got.reset, "{key} {version}: ended cleanly: {got:?}");
        }
    }
    assert_eq!(server.service.counters().snapshot().bodies_broken, 12);
    // The part that is asked for is whole, whatever comes after it.
    let part = ask(server.addr, "GET /b/short HTTP/1.1\nRange: bytes=0-2").await;
    assert_eq!((part.status, part.text(), part.reset), (206, "hel", false));
    assert_eq!(ask(server.addr, "GET /b/hello HTTP/1.1").await.status, 200, "others are not affected");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let server = run(plain()).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET /b/huge HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // Without a byte read, the end of the connection shows as an error of the socket alone.
    stream.ready(tokio::io::Interest::ERROR).await.unwrap();
    let got = read(&mut stream).await;
    assert!(got.reset && got.body.len() < 32 << 20);
}

/// Waits within `get` until told, and tells when it is dropped.
#[derive(Default)]
struct Gate {
    entered: Notify,
    open: Notify,
    dropped: Arc<Notify>,
    calls: AtomicUsize,
}

struct TellsDrop(Arc<Notify>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Origin for Gate {
    async fn get(&self, _request: &Request) -> Result<Answer, OriginError> {
        let _told = TellsDrop(Arc::clone(&self.dropped));
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.entered.notify_one();
        self.open.notified().await;
        Ok("through".into())
    }
}

#[tokio::test]
async fn load_is_refused_with_a_hint_and_hits_the_origin_no_more_than_allowed() {
    let gate = Arc::new(Gate::default());
    let server = run(serve(Arc::clone(&gate)).max_in_flight(1).queue(0, Duration::from_secs(5))).await;
    let mut first = JoinSet::new();
    let addr = server.addr;
    first.spawn(async move { ask(addr, "GET /b/k HTTP/1.1").await });
    gate.entered.notified().await;
    for _ in 0..3 {
        let refused = ask(addr, "GET /b/k HTTP/1.1").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert!(refused.text().contains("<Code>SlowDown</Code>"));
    }
    let now = server.service.counters().snapshot();
    assert_eq!((now.in_flight, now.shed), (1, 3));
    gate.open.notify_one();
    assert_eq!(first.join_next().await.unwrap().unwrap().text(), "through");
    assert_eq!(gate.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_call() {
    let gate = Arc::new(Gate::default());
    let server = run(serve(Arc::clone(&gate))).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    gate.entered.notified().await;
    drop(stream);
    gate.dropped.notified().await;
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_cuts_off_those_that_do_not() {
    for finishes in [true, false] {
        let gate = Arc::new(Gate::default());
        let drain = if finishes { Duration::from_secs(30) } else { Duration::from_millis(50) };
        let server = serve(Arc::clone(&gate)).drain(drain).bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut tasks, mut clients) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(server.run_until(async { stopped.await.unwrap_or_default() }));
        clients.spawn(async move { ask(addr, "GET /b/k HTTP/1.1").await });
        gate.entered.notified().await;
        stop.send(()).unwrap();
        // New connections are refused once the listener is gone.
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        if finishes {
            gate.open.notify_one();
        }
        let answer = clients.join_next().await.unwrap().unwrap();
        assert_eq!(answer.status, if finishes { 200 } else { 0 });
        assert_eq!(tasks.join_next().await.unwrap().unwrap(), usize::from(!finishes));
    }
}

/// The head of a request to `path`, signed.
fn signed(
    addr: SocketAddr,
    access_key: &str,
    secret: &str,
    method: &Method,
    path: &str,
    mode: PayloadMode,
) -> String {
    let clock = fallthrough_object::SystemClock::new();
    let mut headers = HeaderMap::new();
    headers.insert("host", addr.to_string().parse().unwrap());
    let (raw_path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let now = fallthrough_object::Clock::now(&clock);
    let signer = Signer::new(Credentials::new(access_key, secret), "any-region");
    signer.sign_headers(method, raw_path, query, &mut headers, mode, now).unwrap();
    headers.remove("host");
    let lines: String =
        headers.iter().map(|(name, value)| format!("\n{name}: {}", value.to_str().unwrap())).collect();
    format!("{method} {path} HTTP/1.1{lines}")
}

#[tokio::test]
async fn one_line_asks_for_signatures() {
    let who = |request: Request| async move {
        assert!(!request.headers.contains_key("authorization"));
        Ok(request.principal.unwrap_or_default())
    };
    let server = run(serve(who).credentials("AK1", "secret-1").credentials("AK2", "secret-2")).await;
    let empty = || PayloadMode::of_bytes(b"");
    let rows = [
        ("AK1", "secret-1", empty(), 200, "AK1"),
        ("AK2", "secret-2", PayloadMode::Unsigned, 200, "AK2"),
        ("AK1", "secret-2", empty(), 403, "SignatureDoesNotMatch"),
        ("AK3", "secret-1", empty(), 403, "InvalidAccessKeyId"),
        ("AK1", "secret-1", PayloadMode::of_bytes(b"x"), 400, "XAmzContentSHA256Mismatch"),
    ];
    for (access_key, secret, mode, status, says) in rows {
        for path in ["/b/k", "/b/a%20b/../c?x=1&y=%2F"] {
            let got =
                ask(server.addr, &signed(server.addr, access_key, secret, &Method::GET, path, mode)).await;
            assert!(
                got.status == status && got.text().contains(says),
                "{access_key} {secret} {path}: {got:?}"
            );
        }
    }
    for (secret, status) in [("secret-1", 200), ("secret-2", 403)] {
        let mut headers = HeaderMap::new();
        headers.insert("host", server.addr.to_string().parse().unwrap());
        let now = fallthrough_object::Clock::now(&fallthrough_object::SystemClock::new());
        let signer = Signer::new(Credentials::new("AK1", secret), "any-region");
        let life = Duration::from_secs(60);
        let query = signer.presign(&Method::GET, "/b/k", Some("s=1"), &headers, life, now).unwrap();
        let got = ask(server.addr, &format!("GET /b/k?{query} HTTP/1.1")).await;
        assert_eq!(got.status, status, "presigned: {got:?}");
    }
    let unsigned = ask(server.addr, "GET /b/k HTTP/1.1").await;
    assert!(unsigned.status == 403 && unsigned.text().contains("AccessDenied"));
    let garbage = ask(server.addr, "GET /b/k HTTP/1.1\nAuthorization: AWS4-HMAC-SHA256 nonsense").await;
    assert_eq!(garbage.status, 400);
    assert_eq!(server.service.counters().snapshot().refused_signatures, 7);
}

#[tokio::test]
async fn the_service_nests_in_a_router_and_verifies_what_was_signed() {
    let service = serve(objects).credentials("AK", "secret").mounted_at("/deep/down").into_service();
    let app = axum::Router::new().nest_service("/deep/down", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, app).await });
    let path = "/deep/down/b/a%20b//../c";
    let got = ask(addr, &signed(addr, "AK", "secret", &Method::GET, path, PayloadMode::Unsigned)).await;
    assert_eq!((got.status, got.text()), (200, "key=\"a b//../c\" query=[]"), "{got:?}");
}

/// Keeps one object in memory, and lists it.
#[derive(Default)]
struct Keeper {
    kept: std::sync::Mutex<Option<Vec<u8>>>,
}

impl Keeper {
    fn kept(&self) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().clone()
    }
}

#[async_trait]
impl Origin for Keeper {
    async fn get(&self, _request: &Request) -> Result<Answer, OriginError> {
        self.kept().map(Answer::from).ok_or_else(OriginError::not_found)
    }

    async fn put(&self, _request: &Request, upload: Upload) -> Result<Option<ETag>, OriginError> {
        let bytes = upload.body.map_ok(|piece| piece.to_vec()).try_concat().await?;
        assert_eq!(bytes.len() as u64, upload.len_bytes);
        *self.kept.lock().unwrap() = Some(bytes);
        Ok(ETag::strong("put").ok())
    }

    async fn delete(&self, _request: &Request) -> Result<(), OriginError> {
        *self.kept.lock().unwrap() = None;
        Ok(())
    }

    async fn list(&self, request: &ListRequest) -> Result<Listing, OriginError> {
        let key = Key::parse("dir/only").unwrap();
        let fits = key.as_str().starts_with(&request.prefix) && request.after.as_deref() < Some(key.as_str());
        let object = ListedObject { key, size_bytes: 3, etag: None, last_modified: Timestamp(0) };
        Ok(Listing { objects: if fits { vec![object] } else { Vec::new() }, more: false })
    }
}

#[tokio::test]
async fn uploads_are_held_to_what_they_promise() {
    let keeper = Arc::new(Keeper::default());
    let server =
        run(serve(Arc::clone(&keeper)).credentials("AK", "secret").stall_after(Duration::from_millis(300)))
            .await;
    let put = |mode, extra: &'static str| {
        let head = signed(server.addr, "AK", "secret", &Method::PUT, "/b/k", mode);
        format!("{head}{extra}")
    };
    let hash = || PayloadMode::of_bytes(b"abc");
    let good = ask_with(server.addr, &put(hash(), "\nContent-Length: 3"), b"abc").await;
    assert_eq!((good.status, good.header("etag")), (200, Some("\"put\"")), "{good:?}");
    assert_eq!(keeper.kept().unwrap(), b"abc");
    let rows: [(PayloadMode, &str, &[u8], u16, &str); 5] = [
        (hash(), "\nContent-Length: 3", b"abd", 400, "BadDigest"),
        (
            PayloadMode::Unsigned,
            "\nContent-Length: 3\nContent-MD5: kAFQmDzST7DWlj99KOF/cQ==",
            b"abx",
            400,
            "BadDigest",
        ),
        (PayloadMode::Unsigned, "\nContent-Length: 5", b"abc", 400, "RequestTimeout"),
        (PayloadMode::Unsigned, "", b"", 411, "MissingContentLength"),
        (PayloadMode::Unsigned, "\nContent-Length: 3\nIf-Match: \"x\"", b"abc", 501, "NotImplemented"),
    ];
    for (mode, extra, body, status, code) in rows {
        let got = ask_with(server.addr, &put(mode, extra), body).await;
        assert!(got.status == status && got.text().contains(code), "{extra}: {got:?}");
        assert_eq!(keeper.kept().unwrap(), b"abc", "{extra}: nothing was kept of it");
    }
    let get = |path: &str| ask_signed(server.addr, path.to_owned());
    assert_eq!(get("/b/k").await.text(), "abc");
    let list = get("/b?list-type=2&delimiter=%2F").await;
    assert!(list.text().contains("<CommonPrefixes><Prefix>dir/</Prefix></CommonPrefixes>"), "{list:?}");
    assert!(get("/b/").await.text().contains("<Key>dir/only</Key>"));
    assert!(get("/b?location").await.text().contains("LocationConstraint"));
    let delete = signed(server.addr, "AK", "secret", &Method::DELETE, "/b/k", PayloadMode::Unsigned);
    assert_eq!(ask(server.addr, &delete).await.status, 204);
    assert_eq!(get("/b/k").await.status, 404);
}

async fn ask_signed(addr: SocketAddr, path: String) -> raw::Answer {
    ask(addr, &signed(addr, "AK", "secret", &Method::GET, &path, PayloadMode::Unsigned)).await
}

#[tokio::test]
async fn aws_chunked_uploads_arrive_decoded() {
    let keeper = Arc::new(Keeper::default());
    let server = run(serve(Arc::clone(&keeper))).await;
    // CRC-32 of `abc`, and of something else.
    for (crc, status) in [("NSRBwg==", 200), ("AAAAAA==", 400)] {
        let body = format!("2\r\nab\r\n1\r\nc\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n");
        let head = format!(
            "PUT /b/k HTTP/1.1\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-trailer: \
             x-amz-checksum-crc32\nx-amz-decoded-content-length: 3\nContent-Length: {}",
            body.len()
        );
        let got = ask_with(server.addr, &head, body.as_bytes()).await;
        assert_eq!(got.status, status, "{got:?}");
        assert_eq!(keeper.kept().unwrap(), b"abc");
    }
}

#[tokio::test]
async fn an_origin_of_one_method_takes_no_bodies_and_lists_nothing() {
    let server = run(plain()).await;
    let rows = [
        ("PUT /b/k HTTP/1.1\nContent-Length: 1000000000", 501),
        ("PUT /b/k HTTP/1.1\nTransfer-Encoding: chunked", 411),
        ("DELETE /b/k HTTP/1.1", 501),
        ("POST /b/k HTTP/1.1\nContent-Length: 0", 405),
        ("GET /b/k HTTP/1.1\nContent-Length: 3", 400),
        ("PUT /b HTTP/1.1\nContent-Length: 0", 501),
        ("GET / HTTP/1.1", 501),
        ("HEAD /b HTTP/1.1", 200),
        ("GET /b?uploads HTTP/1.1", 501),
    ];
    for (head, status) in rows {
        let got = ask_with(server.addr, head, b"abc").await;
        assert_eq!(got.status, status, "{head}: {got:?}");
    }
    for path in ["/b", "/b/", "/b?list-type=2&prefix=x"] {
        let list = ask(server.addr, &format!("GET {path} HTTP/1.1")).await;
        assert_eq!(list.status, 200);
        let page = fallthrough_wire::xml::parse_list_page(&list.body).unwrap();
        assert!(page.objects.is_empty() && !page.is_truncated, "{path}");
    }
}

/// Can seek; answers some keys with parts that nobody asked for.
struct Seeker;

#[async_trait]
impl Origin for Seeker {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let body = Bytes::from_static(b"hello");
        let part = |range: ByteRange| {
            let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            Answer::part(range, 5, body.slice(start..end))
        };
        match (request.key.as_str(), request.range) {
            ("unasked", _) => Ok(part(ByteRange { start: 1, end: 2 })),
            (_, None) => Ok(Answer::bytes(body).etag(ETag::strong("e").unwrap())),
            (_, Some(spec)) => {
                let range = spec
                    .resolve(5)
                    .map_err(|no| OriginError::RangeNotSatisfiable { size_bytes: no.size_bytes })?;
                Ok(part(range))
            }
        }
    }

    fn can_seek(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn an_origin_that_seeks_is_handed_the_range() {
    let server = run(serve(Seeker)).await;
    let get = |key: &str, headers: &str| {
        let head = format!("GET /b/{key} HTTP/1.1{headers}");
        async move { ask(server.addr, &head).await }
    };
    let part = get("k", "\nRange: bytes=1-3").await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "ell", Some("bytes 1-3/5")));
    assert_eq!(get("k", "\nRange: bytes=9-").await.status, 416);
    assert_eq!(get("k", "").await.status, 200);
    // With If-Range the server must know the ETag first, so it cuts the whole itself.
    assert_eq!(get("k", "\nRange: bytes=1-3\nIf-Range: \"e\"").await.text(), "ell");
    assert_eq!(get("k", "\nRange: bytes=1-3\nIf-Range: \"f\"").await.text(), "hello");
    assert_eq!(get("unasked", "").await.status, 500);
    assert_eq!(get("unasked", "\nRange: bytes=0-0").await.status, 500);
    assert_eq!(RangeSpec::Suffix { len: 1 }.resolve(5).unwrap().len(), 1);
}

#[tokio::test]
async fn counters_are_there_as_a_struct_and_as_text() {
    let server = run(plain().metrics_at("/metrics")).await;
    for path in ["/b/hello", "/b/hello", "/b/missing"] {
        ask(server.addr, &format!("GET {path} HTTP/1.1")).await;
    }
    let text = ask(server.addr, "GET /metrics HTTP/1.1").await;
    let line = "fallthrough_origin_server_requests_total{operation=\"GetObject\",code=\"200\"} 2";
    assert!(text.text().contains(line), "{}", text.text());
    let now = server.service.counters().snapshot();
    assert_eq!((now.requests, now.origin_calls, now.failures, now.bytes_sent), (3, 3, 0, 10));
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = run(plain()).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = "GET /b/hello HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).await.unwrap();
    stream.write_all(b"GET /b/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let all = read(&mut stream).await;
    assert_eq!(String::from_utf8_lossy(&all.body).matches("HTTP/1.1 200 OK").count(), 3);
    assert!(all.body.ends_with(b"hello") && !all.reset);
}

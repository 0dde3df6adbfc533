//! What falls through: how answers tell it, and how they end when the origin breaks.

use std::time::Duration;

use fallthrough_bucket::{BucketMode, BucketSettings, EngineOptions, PublicAccess, PublicFill, ShadowTarget};
use fallthrough_gateway::GatewayOptions;
use fallthrough_object::TraceParent;
use fallthrough_sim::{At, Fault, FaultyOrigin};
use http::HeaderMap;

use crate::world::World;

#[tokio::test]
async fn a_miss_becomes_a_hit() {
    let world = World::new().await;
    world.shadowed_bucket("avatar", BucketMode::Compute).await;
    let content = world.script.object("abc", 5000);
    let anyone = world.anonymous();
    let miss = anyone.get("/avatar/abc").await;
    assert_eq!((miss.status, miss.header("x-cache")), (200, "MISS"), "{}", miss.text());
    assert!(
        miss.header("cache-status").starts_with("fallthrough; fwd=uri-miss; stored"),
        "{:?}",
        miss.headers
    );
    assert!(miss.whole && miss.body == content.bytes());
    let hit = anyone.get("/avatar/abc").await;
    assert_eq!((hit.status, hit.header("x-cache")), (200, "HIT"));
    assert!(hit.body == content.bytes());
    assert_eq!(hit.header("etag"), miss.header("etag"));
    assert_eq!(hit.header("last-modified"), miss.header("last-modified"));
    assert_eq!(world.script.calls("abc"), 1);
    let absent = anyone.get("/avatar/none").await;
    assert_eq!((absent.status, absent.code().as_str()), (404, "NoSuchKey"));
    let negative = anyone.get("/avatar/none").await;
    assert_eq!((negative.status, negative.header("x-cache")), (404, "NEGATIVE"));
}

#[tokio::test]
async fn what_could_not_be_asked_is_never_absent() {
    let world = World::new().await;
    let anyone = world.anonymous();
    let rows = [
        (Fault::HangUp, 503, "SlowDown"),
        (Fault::Status(500), 503, "SlowDown"),
        (Fault::Busy { retry_after: Some("7".to_owned()) }, 503, "SlowDown"),
        (Fault::Status(403), 424, "ShadowMisconfigured"),
        (Fault::NoContent, 502, "BadOriginAnswer"),
    ];
    for (n, (fault, status, code)) in rows.into_iter().enumerate() {
        let key = format!("k{n}");
        let bucket = format!("cold-{n}");
        world.shadowed_bucket(&bucket, BucketMode::Migrate).await;
        world.script.object(&key, 100);
        world.script.fault(&key, fault.clone());
        let get = anyone.get(&format!("/{bucket}/{key}")).await;
        assert_eq!((get.status, get.code().as_str()), (status, code), "{fault:?}: {}", get.text());
        assert!(!get.header("x-cache").is_empty(), "{fault:?}");
        if status == 503 {
            let wait: u64 = get.header("retry-after").parse().unwrap();
            assert!(wait >= 1, "{fault:?}");
        }
        let head = anyone.head(&format!("/{bucket}/{key}")).await;
        assert_ne!(head.status, 404, "{fault:?}");
        assert!(
            !get.text().contains("origin.test"),
            "the origin's address is nobody's business: {}",
            get.text()
        );
    }
}

/// What was looked for says how it was found, in one word; and `stored` is said only of an object that is kept.
#[tokio::test]
async fn every_answer_to_a_read_has_one_word() {
    let engine = EngineOptions { client_wait: Duration::from_millis(200), ..EngineOptions::default() };
    let world = World::with(GatewayOptions::default(), engine).await;
    world.public_bucket("plain").await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.shadowed_bucket("program", BucketMode::Compute).await;
    world.shadowed_bucket("cache", BucketMode::Cache).await;
    for name in ["broken", "locked", "busy"] {
        world.shadowed_bucket(name, BucketMode::Migrate).await;
    }
    let signed_only = BucketSettings {
        owner: "main".to_owned(),
        mode: BucketMode::Migrate,
        public: PublicAccess::Read,
        public_fill: PublicFill::Signed,
        shadow: vec![fallthrough_bucket::ShadowRule::to(ShadowTarget::Http {
            url: "http://signed.origin.test".to_owned(),
        })],
        ..BucketSettings::default()
    };
    world.bucket_of("signed", signed_only).await;
    let (main, anyone, script) = (world.main(), world.anonymous(), &world.script);
    main.put("/plain/k", b"0123456789").await;
    for key in ["k", "known", "ranged", "gone", "locked", "broken", "busy", "slow", "private"] {
        script.object(key, 10);
    }
    main.delete("/cold/gone").await;
    script.fault("locked", Fault::Status(403));
    script.fault("broken", Fault::NoContent);
    script.fault("busy", Fault::Busy { retry_after: None });
    script.fault("impossible", Fault::Status(400));
    script.header("private", "cache-control", "no-store");
    script.hold("slow", At::Headers);
    let get = |path: &'static str| anyone.call("GET", path);
    let head = |path: &'static str| anyone.call("HEAD", path);
    let rows = [
        ("a hit", get("/plain/k"), 200, "HIT", false),
        ("a range of it", get("/plain/k").header("range", "bytes=1-2"), 206, "HIT", false),
        ("what the client has", get("/plain/k").header("if-none-match", "*"), 304, "HIT", false),
        ("what it does not have", get("/plain/k").header("if-match", "\"x\""), 412, "HIT", false),
        ("behind its end", get("/plain/k").header("range", "bytes=99-"), 416, "HIT", false),
        ("nothing, without a shadow", get("/plain/none"), 404, "NEGATIVE", false),
        ("a miss", get("/cold/k"), 200, "MISS", true),
        ("what the miss left", get("/cold/k"), 200, "HIT", false),
        ("a HEAD of what is not here", head("/cold/known"), 200, "MISS", false),
        ("a range of what is not here", get("/cold/ranged").header("range", "bytes=1-2"), 206, "PASS", false),
        ("what was deleted here", get("/cold/gone"), 404, "TOMBSTONE", false),
        ("what is nowhere", get("/cold/none"), 404, "MISS", false),
        ("what was nowhere", get("/cold/none"), 404, "NEGATIVE", false),
        ("a HEAD of what is nowhere", head("/cold/none-either"), 404, "MISS", false),
        ("a key that cannot be", get("/program/impossible"), 400, "MISS", false),
        ("what may not be kept", get("/cache/private"), 200, "MISS", false),
        ("without the right to fill", get("/signed/k"), 403, "MISS", false),
        ("a refused shadow", get("/locked/locked"), 424, "MISS", false),
        ("nonsense", get("/broken/broken"), 502, "MISS", false),
        ("an origin that is busy", get("/busy/busy"), 503, "MISS", false),
        ("one that takes longer than the client", get("/program/slow"), 503, "MISS", false),
    ];
    for (what, call, status, word, stored) in rows {
        let reply = call.send().await;
        let words: Vec<_> =
            reply.headers.get_all("x-cache").iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!((reply.status, words), (status, vec![word]), "{what}: {}", reply.text());
        let details = reply.header("cache-status");
        assert_eq!(details.split("; ").any(|part| part == "stored"), stored, "{what}: {details}");
    }
    // Nothing was looked for: the request is refused before, or it is none for an object.
    for (path, client) in [("/none/k", &anyone), ("/", &main)] {
        assert!(!client.get(path).await.headers.contains_key("x-cache"), "{path}");
    }
    assert!(!main.put("/plain/k", b"x").await.headers.contains_key("x-cache"));
    script.release("slow");
}

/// What a rule lists goes to the origin; signatures, S3's own parameters and everything else stay here.
#[tokio::test]
async fn listed_parameters_and_headers_are_passed_on_and_nothing_of_a_signature() {
    let world = World::new().await;
    let mut rule =
        fallthrough_bucket::ShadowRule::to(ShadowTarget::Http { url: "http://sized.origin.test".to_owned() });
    (rule.pass_query, rule.pass_headers) = (vec!["w".to_owned()], vec!["accept-language".to_owned()]);
    let settings = BucketSettings {
        owner: "main".to_owned(),
        mode: BucketMode::Cache,
        public: PublicAccess::Read,
        public_fill: PublicFill::Open,
        shadow: vec![rule],
        ..BucketSettings::default()
    };
    world.bucket_of("sized", settings).await;
    let (main, anyone, script) = (world.main(), world.anonymous(), &world.script);
    script.object("k", 10);
    let target =
        main.presign("GET", "/sized/k", "w=1&other=2&response-content-type=text/x", Duration::from_secs(60));
    let head = format!(
        "GET {target} HTTP/1.1\r\nhost: {{host}}\r\naccept-language: de\r\naccept-language: en\r\ncookie: c\r\n\r\n"
    );
    let passed = main.raw(&head).await;
    assert_eq!(
        (passed.status, passed.header("x-cache"), passed.header("content-type")),
        (200, "PASS", "text/x")
    );
    assert!(passed.header("cache-status").contains("detail=varies"), "{}", passed.header("cache-status"));
    let extras = script.call_log("k")[0].extras.clone();
    assert_eq!(extras.query, [("w".to_owned(), "1".to_owned())]);
    assert_eq!(extras.headers, [("accept-language".to_owned(), "de, en".to_owned())]);
    // Answers to none of it say as well by what they vary, beside what CORS says.
    for word in ["MISS", "HIT"] {
        let plain = anyone.call("GET", "/sized/k").query("other=2").send().await;
        assert_eq!((plain.status, plain.header("x-cache")), (200, word));
        let vary: Vec<_> =
            plain.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.contains(&"accept-language"), "{vary:?}");
        assert!(script.call_log("k").last().unwrap().extras.is_empty());
    }
    let long = format!("w={}", "x".repeat(5000));
    let refused = anyone.call("GET", "/sized/k").query(&long).send().await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidArgument"));
    assert_eq!(script.calls("k"), 2);
}

#[tokio::test]
async fn the_trace_of_a_request_reaches_the_origin() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01";
    let origin = FaultyOrigin::start_s3("old").await;
    for key in ["filled", "headed", "ranged", "judged", "joined", "own", "broken", "twice"] {
        origin.object(key, 10);
    }
    let world = World::new().await;
    let target = ShadowTarget::S3 {
        endpoint: origin.url(),
        name: "old".to_owned(),
        region: "us-east-1".to_owned(),
        addressing: Default::default(),
        credentials: None,
    };
    world.falling_bucket("cold", BucketMode::Migrate, target).await;
    let (main, anyone) = (world.main(), world.anonymous());
    let traced = |method, path| anyone.call(method, path).header("traceparent", TRACE);
    assert_eq!(traced("GET", "/cold/filled").send().await.status, 200);
    assert_eq!(traced("HEAD", "/cold/headed").send().await.status, 200);
    assert_eq!(traced("GET", "/cold/ranged").header("range", "bytes=1-2").send().await.status, 206);
    assert_eq!(traced("GET", "/cold/judged").header("if-match", "*").send().await.status, 200);
    let list = main.call("GET", "/cold").query("list-type=2").unsigned_header("traceparent", TRACE);
    assert_eq!(list.send().await.status, 200);
    let told = |from: usize| -> Vec<(String, String)> {
        let text = |headers: &HeaderMap| {
            headers.get("traceparent").map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        origin.requests()[from..].iter().map(|(line, headers)| (line.clone(), text(headers))).collect()
    };
    let requests = told(0);
    assert_eq!(requests.len(), 6, "the judged one is asked for twice: {requests:?}");
    for (line, trace) in &requests {
        assert_eq!(trace, TRACE, "{line}");
    }

    // Who joins a fill does not change whose it is.
    origin.hold("joined", At::Headers);
    let late = async {
        origin.wait_for_held("joined", At::Headers).await;
        let call = anyone.call("GET", "/cold/joined").header("traceparent", OTHER);
        let (reply, ()) = tokio::join!(call.send(), async { origin.release("joined") });
        reply
    };
    let (first, second) = tokio::join!(traced("GET", "/cold/joined").send(), late);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(told(6), [("GET /old/joined".to_owned(), TRACE.to_owned())]);

    // Without one that can be gone on from, a trace begins here.
    anyone.get("/cold/own").await;
    anyone.call("GET", "/cold/broken").header("traceparent", &TRACE.to_ascii_uppercase()).send().await;
    let twice = anyone.call("GET", "/cold/twice").header("traceparent", TRACE).header("traceparent", OTHER);
    twice.send().await;
    let begun: std::collections::BTreeSet<String> = told(7).into_iter().map(|(_, trace)| trace).collect();
    assert_eq!(begun.len(), 3, "{begun:?}");
    for trace in &begun {
        assert!(TraceParent::parse(trace.as_bytes()).is_some(), "{trace:?}");
        assert!(trace[..35] != TRACE[..35] && trace[..35] != OTHER[..35], "{trace}");
    }
}

/// A body that breaks after it has begun must not look whole: with a length, and without.
#[tokio::test]
async fn a_body_that_breaks_is_never_ended_cleanly() {
    let engine = EngineOptions { stall: Duration::from_millis(200), ..EngineOptions::default() };
    let world = World::with(GatewayOptions::default(), engine).await;
    const SIZE: u64 = 20 * 1024 * 1024;
    let anyone = world.anonymous();
    let rows: [(&str, &[Fault]); 4] = [
        ("reset", &[Fault::ResetAt(10 * 1024 * 1024)]),
        ("truncated", &[Fault::TruncateAt(10 * 1024 * 1024)]),
        ("stalled", &[Fault::StallAt(10 * 1024 * 1024)]),
        ("flipped", &[Fault::FlipByteAt(15 * 1024 * 1024), Fault::ContentMd5]),
    ];
    let mut broken = [0, 0];
    for (what, faults) in rows {
        for without_length in [false, true] {
            let name = format!("{what}-{without_length}");
            world.shadowed_bucket(&name, BucketMode::Migrate).await;
            world.script.object(&name, SIZE);
            for fault in faults {
                world.script.fault(&name, fault.clone());
            }
            if without_length {
                world.script.fault(&name, Fault::NoLength);
            }
            let reply = anyone.get(&format!("/{name}/{name}")).await;
            // A fault that shows before the first byte has left is a 503.
            assert!([200, 503].contains(&reply.status), "{name}: {}", reply.status);
            if reply.status == 200 {
                assert!(!reply.whole, "{name}: {} bytes", reply.body.len());
                let framed = if without_length { "transfer-encoding" } else { "content-length" };
                assert!(reply.headers.contains_key(framed), "{name}: {:?}", reply.headers);
                broken[usize::from(without_length)] += 1;
            }
        }
    }
    assert!(broken.iter().all(|count| *count >= 1), "broken off with and without a length: {broken:?}");
    world.shadowed_bucket("whole", BucketMode::Migrate).await;
    let content = world.script.object("whole", SIZE);
    world.script.fault("whole", Fault::NoLength);
    let reply = anyone.get("/whole/whole").await;
    assert!(reply.status == 200 && reply.whole && reply.body == content.bytes());
}

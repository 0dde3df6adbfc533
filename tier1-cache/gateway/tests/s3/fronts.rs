//! Addresses that stand for other objects: variants, what is made of them, and what is shown while they are made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_bucket::{BucketMode, EngineOptions};
use fallthrough_gateway::{Front, FrontPlan, FrontThen, GatewayOptions, Route};
use fallthrough_object::{BucketName, Key};
use fallthrough_sim::{At, Fault};
use fallthrough_wire::uri::Query;

use crate::client::{Client, Reply};
use crate::world::World;

/// `face-NAME` stands for `NAME/80`, in small letters; other sizes are made of it.
#[derive(Debug)]
struct Faces {
    patience: Option<Duration>,
}

impl Front for Faces {
    fn plan(&self, key: &str, query: &Query) -> Option<FrontPlan> {
        let name = key.strip_prefix("face-")?.to_lowercase();
        let side_px = query.get("s").and_then(|side| side.parse().ok()).unwrap_or(80);
        let then = match query.get("d") {
            Some("404") => FrontThen::Absent,
            Some("far") => FrontThen::Redirect("https://img.example.org/x".to_owned()),
            _ => FrontThen::Object { key: Key::parse(&format!("{name}/80")).unwrap(), fits: side_px == 80 },
        };
        let own = (query.get("f") != Some("y")).then(|| Key::parse(&format!("own/{name}")).unwrap());
        let forever = query.get("v") == Some("one");
        Some(FrontPlan {
            own,
            then,
            variant: format!("s{side_px}"),
            side_px,
            content_type: "image/x-face",
            forever,
        })
    }

    fn make(&self, source: &[u8], plan: &FrontPlan) -> Result<Bytes, String> {
        match source {
            b"no picture" => Err("it is no picture".to_owned()),
            _ => Ok([format!("{}:", plan.side_px).as_bytes(), source].concat().into()),
        }
    }

    fn placeholder(&self, plan: &FrontPlan) -> Option<Bytes> {
        Some(format!("soon, {}", plan.side_px).into())
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

async fn world_with(patience: Option<Duration>) -> World {
    let front: Arc<dyn Front> = Arc::new(Faces { patience });
    let route = Route {
        host: "faces.example.org".to_owned(),
        path: "/avatar/".to_owned(),
        bucket: BucketName::parse("faces").unwrap(),
        prefix: String::new(),
        clean_urls: false,
    };
    let options = GatewayOptions {
        fronts: BTreeMap::from([(BucketName::parse("faces").unwrap(), front)]),
        routes: vec![route],
        ..GatewayOptions::default()
    };
    let engine = EngineOptions { client_wait: Duration::from_millis(200), ..EngineOptions::default() };
    let world = World::with(options, engine).await;
    world.shadowed_bucket("faces", BucketMode::Compute).await;
    world.shadowed_bucket("others", BucketMode::Compute).await;
    world
}

async fn asked(client: &Client, path: &str, query: &str) -> Reply {
    client.call("GET", path).query(query).send().await
}

#[tokio::test]
async fn many_addresses_are_one_object_and_one_fill() {
    let world = world_with(None).await;
    let content = world.script.object("ada/80", 5000);
    let anyone = world.anonymous();
    for (n, (path, query)) in [
        ("/faces/face-ada", ""),
        ("/faces/face-ADA", ""),
        ("/faces/face-Ada", "s=80&x=1"),
        ("/faces/face-ada", "cachebuster=77&d=nothing"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = asked(&anyone, path, query).await;
        let word = if n == 0 { "MISS" } else { "HIT" };
        assert_eq!((reply.status, reply.header("x-cache")), (200, word), "{path}?{query}: {}", reply.text());
        assert!(reply.body == content.bytes());
    }
    // The same at an address of its own, where queries are the page's otherwise.
    let at_host =
        anyone.call("GET", "/").raw_path("/avatar/face-ADA?s=80").header("host", "faces.example.org");
    assert_eq!(at_host.send().await.header("x-cache"), "HIT");
    assert_eq!(world.script.calls("ada/80"), 1);
    // In front of another bucket there is nothing.
    assert_eq!(asked(&anyone, "/others/face-ada", "s=80").await.status, 404);
    let listed = asked(&world.main(), "/faces", "list-type=2").await.text();
    assert!(listed.contains("<Key>ada/80</Key>") && listed.contains("<KeyCount>1</KeyCount>"), "{listed}");
    // Keys that stand for themselves are read as ever.
    world.script.object("plain", 10);
    assert_eq!(asked(&anyone, "/faces/plain", "s=40").await.body.len(), 10);
}

#[tokio::test]
async fn what_is_made_of_an_object_is_not_kept_and_has_an_etag_of_its_own() {
    let world = world_with(None).await;
    world.script.object_of("ada/80", &b"ada"[..]);
    world.script.header("ada/80", "cache-control", "public, max-age=86400");
    let anyone = world.anonymous();
    let whole = asked(&anyone, "/faces/face-ada", "").await;
    let made = asked(&anyone, "/faces/face-ada", "s=40").await;
    assert_eq!((made.status, made.text().as_str(), made.header("x-cache")), (200, "40:ada", "HIT"));
    assert_eq!(made.header("content-type"), "image/x-face");
    assert_eq!(made.header("cache-control"), "public, max-age=86400");
    assert_eq!(made.header("content-length"), "6");
    let etag = made.header("etag").to_owned();
    assert!(etag.ends_with("-s40\"") && etag != whole.header("etag"), "{etag}");
    assert_eq!(made.header("accept-ranges"), "");
    let call = |name: &'static str, value: &str| {
        anyone.call("GET", "/faces/face-ada").query("s=40").header(name, value).send()
    };
    assert_eq!(call("if-none-match", &etag).await.status, 304);
    assert_eq!(call("if-none-match", whole.header("etag")).await.text(), "40:ada");
    assert_eq!(call("if-match", whole.header("etag")).await.status, 412);
    assert_eq!(call("range", "bytes=0-1").await.text(), "40:ada");
    let head = anyone.call("HEAD", "/faces/face-ada").query("s=40").send().await;
    assert_eq!((head.status, head.header("etag")), (200, etag.as_str()));
    let listed = asked(&world.main(), "/faces", "list-type=2").await.text();
    assert!(listed.contains("<KeyCount>1</KeyCount>"), "{listed}");
    assert_eq!(world.script.calls("ada/80"), 1);
    // What nothing can be made of is an error of ours, not an absence.
    world.script.object_of("bob/80", &b"no picture"[..]);
    assert_eq!(asked(&anyone, "/faces/face-bob", "s=40").await.status, 500);
}

#[tokio::test]
async fn an_address_may_say_404_or_lead_elsewhere_and_nothing_is_asked() {
    let world = world_with(None).await;
    world.script.object("ada/80", 10);
    let anyone = world.anonymous();
    let absent = asked(&anyone, "/faces/face-ada", "d=404").await;
    assert_eq!((absent.status, absent.code().as_str()), (404, "NoSuchKey"));
    let far = asked(&anyone, "/faces/face-ada", "d=far").await;
    assert_eq!((far.status, far.header("location")), (302, "https://img.example.org/x"));
    assert_eq!(world.script.calls("ada/80"), 0);
    let forever = asked(&anyone, "/faces/face-ada", "v=one").await;
    assert_eq!(forever.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(!asked(&anyone, "/faces/face-ada", "v=two").await.header("cache-control").contains("immutable"));
}

#[tokio::test]
async fn a_picture_of_their_own_comes_first_and_is_never_told_absent_by_a_failure() {
    let world = world_with(None).await;
    world.script.object_of("ada/80", &b"drawn"[..]);
    let (anyone, main) = (world.anonymous(), world.main());
    assert_eq!(main.put("/faces/own/ada", b"photo").await.status, 200);
    let own = asked(&anyone, "/faces/face-ada", "").await;
    assert_eq!((own.text().as_str(), own.header("cache-control")), ("80:photo", "public, max-age=300"));
    assert_eq!(asked(&anyone, "/faces/face-ada", "d=404").await.text(), "80:photo");
    assert_eq!(asked(&anyone, "/faces/face-ada", "f=y").await.text(), "drawn");
    assert_eq!(asked(&anyone, "/faces/face-ada", "f=y&d=404").await.status, 404);
    // Whether there is one cannot be found out: that is not answered with another picture.
    world.script.fault("own/bob", Fault::Status(500));
    world.script.object("bob/80", 10);
    assert_eq!(asked(&main, "/faces/face-bob", "d=404").await.status, 503);
}

#[tokio::test]
async fn people_are_shown_a_placeholder_that_nobody_keeps() {
    let world = world_with(None).await;
    world.script.object("ada/80", 10);
    world.script.fault("ada/80", Fault::Busy { retry_after: Some("7".to_owned()) });
    let anyone = world.anonymous();
    let soon = asked(&anyone, "/faces/face-ada", "f=y").await;
    assert_eq!((soon.status, soon.text().as_str()), (503, "soon, 80"));
    assert_eq!(soon.header("content-type"), "image/x-face");
    assert_eq!(soon.header("cache-control"), "no-store");
    assert!(soon.header("retry-after").parse::<u64>().unwrap() >= 7, "{:?}", soon.headers);
    assert_eq!(soon.header("etag"), "");
    let head = anyone.call("HEAD", "/faces/face-ada").query("f=y").send().await;
    assert_eq!((head.status, head.header("cache-control")), (503, "no-store"));
    // A program that signs is told in S3's words.
    let signed = asked(&world.main(), "/faces/face-ada", "f=y").await;
    assert_eq!((signed.status, signed.code().as_str()), (503, "SlowDown"));
    // Neither is anything kept here.
    let listed = asked(&world.main(), "/faces", "list-type=2").await.text();
    assert!(listed.contains("<KeyCount>0</KeyCount>"), "{listed}");
}

#[tokio::test]
async fn whoever_is_not_to_wait_is_shown_it_early_and_the_fill_goes_on() {
    let world = world_with(Some(Duration::from_millis(20))).await;
    let content = world.script.object("ada/80", 10);
    world.script.hold("ada/80", At::Headers);
    let anyone = world.anonymous();
    let soon = asked(&anyone, "/faces/face-ada", "f=y").await;
    assert_eq!((soon.status, soon.text().as_str(), soon.header("retry-after")), (503, "soon, 80", "1"));
    world.script.release("ada/80");
    world.script.wait_for_ended("ada/80", 1).await;
    // A program that signs waits as long as ever, and finds what the first one started.
    let signed = asked(&world.main(), "/faces/face-ada", "f=y").await;
    assert!(signed.status == 200 && signed.body == content.bytes());
    assert_eq!(world.script.calls("ada/80"), 1);
}

//! Changes by the admin API whose caller hangs up: what follows them happens all the same.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use fallthrough_bucket::{BucketMode, ShadowRule};
use fallthrough_gateway::admin::{
    AdminApi, AdminParts, AdminToken, ConfigReload, Declarations, ProbeReport, ReloadRefused, ShadowProber,
};
use fallthrough_object::{BucketName, Clock, Entropy, SeededEntropy, SystemClock};
use fallthrough_sim::At;
use fallthrough_store::{Store, StoreOptions};
use futures::FutureExt as _;
use http::{Request, Response};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use crate::world::World;

const TOKEN: &str = "a-token-for-tests";

#[derive(Debug)]
struct Untried;

#[async_trait]
impl ShadowProber for Untried {
    async fn probe(&self, _: &BucketName, _: &ShadowRule) -> ProbeReport {
        panic!("these tests probe nothing")
    }
}

#[async_trait]
impl ConfigReload for Untried {
    async fn reload(&self) -> Result<Vec<String>, ReloadRefused> {
        panic!("these tests reload nothing")
    }
}

/// A world on a disk, where a commit takes its time, so that there is a moment to hang up in.
async fn world(folder: &std::path::Path) -> (World, AdminApi) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let store = Store::open(folder, StoreOptions::default(), Arc::clone(&clock), Arc::clone(&entropy));
    let store = store.await.unwrap();
    let world = World::over(store, clock, Arc::clone(&entropy), Default::default(), Default::default()).await;
    let gateway = world.gateway.clone();
    let api = AdminApi::new(AdminParts {
        engine: world.engine.clone(),
        clock: Arc::clone(&world.clock),
        entropy,
        token: AdminToken::new(TOKEN),
        prober: Arc::new(Untried),
        key_changed: Arc::new(move |id| gateway.forget_key(id)),
        metrics: Arc::new(String::new),
        free_bytes: Arc::new(|| None),
        draining: Arc::new(|| false),
        models: Arc::new(Vec::new),
        declarations: Declarations::default(),
        reload: Arc::new(Untried),
        s3_address: String::new(),
        version: "0",
    });
    (world, api)
}

fn call(
    api: &AdminApi,
    method: &str,
    path: &str,
    body: &'static str,
) -> impl Future<Output = Response<Body>> + use<> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::from(body))
        .unwrap();
    let answer = api.router().oneshot(request);
    async move { answer.await.unwrap() }
}

#[derive(Debug, Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls `call` whenever it is woken, and drops it unanswered as soon as what it asked for is `done`.
async fn hang_up_once_done(call: impl Future<Output = Response<Body>>, done: impl AsyncFn() -> bool) {
    let mut call = pin!(call);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "it was answered before anybody could hang up");
        woken.0.notified().await;
        if done().await {
            return;
        }
    }
}

/// The commit is durable; what makes the gateway forget the key comes after it.
#[tokio::test]
async fn a_revoked_key_is_refused_though_its_revoker_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let (world, api) = world(folder.path()).await;
    world.bucket("private").await;
    let client = world.key("FTTEMP", "main", None).await;
    assert_eq!(client.put("/private/k", b"x").await.status, 200);
    let revoke = call(&api, "DELETE", "/admin/v1/keys/FTTEMP", "");
    let gone = async || world.engine.access_key("FTTEMP").await.unwrap().is_none();
    hang_up_once_done(revoke, gone).await;
    assert_eq!(client.get("/private/k").await.code(), "InvalidAccessKeyId");

    // Gone as soon as the call is begun: it is made all the same before the server has stopped.
    let client = world.key("FTBRIEF", "main", None).await;
    assert_eq!(client.put("/private/k", b"x").await.status, 200);
    let revoke = call(&api, "DELETE", "/admin/v1/keys/FTBRIEF", "");
    assert!(revoke.now_or_never().is_none(), "a commit takes its time");
    api.shutdown().await;
    assert!(world.engine.access_key("FTBRIEF").await.unwrap().is_none());
    assert_eq!(client.get("/private/k").await.code(), "InvalidAccessKeyId");
    let late = call(&api, "DELETE", "/admin/v1/keys/FTALT", "").await;
    assert_eq!(late.status(), 503, "nothing begins after the end");
    assert!(world.engine.access_key("FTALT").await.unwrap().is_some());
}

async fn said(answer: impl Future<Output = Response<Body>>) -> (u16, serde_json::Value) {
    let answer = answer.await;
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn keys_are_limited_rotated_and_let_expire() {
    let folder = tempfile::tempdir().unwrap();
    let (world, api) = world(folder.path()).await;
    world.bucket("private").await;
    let client = world.key("FTTEMP", "main", None).await;
    assert_eq!(client.put("/private/k", b"x").await.status, 200);
    let path = "/admin/v1/keys/FTTEMP";

    // Each change holds from the answer on, whatever the gateway remembers.
    let (status, key) =
        said(call(&api, "PATCH", path, r#"{"grants":[{"bucket":"private","right":"read"}]}"#)).await;
    assert_eq!(
        (status, key["grants"][0]["right"].as_str(), key["secret"].as_str()),
        (200, Some("read"), None)
    );
    assert_eq!(
        (client.get("/private/k").await.status, client.put("/private/k", b"y").await.status),
        (200, 403)
    );
    let (_, key) = said(call(&api, "PATCH", path, r#"{"grants":null}"#)).await;
    assert!(key["grants"].is_null());
    assert_eq!(client.put("/private/k", b"y").await.status, 200);
    said(call(&api, "PATCH", path, r#"{"expires_in_secs":0}"#)).await;
    assert_eq!(client.get("/private/k").await.code(), "InvalidAccessKeyId");
    let (_, key) = said(call(&api, "PATCH", path, r#"{"expires_in_secs":null}"#)).await;
    assert!(key["expires"].is_null());
    assert_eq!(client.get("/private/k").await.status, 200);
    said(call(&api, "PATCH", path, r#"{"grants":[]}"#)).await;
    assert_eq!(client.get("/private/k").await.status, 403, "limited to nothing");

    // A rotated key hands on what it may do, and ends.
    said(call(
        &api,
        "PATCH",
        path,
        r#"{"grants":[{"bucket":"private","right":"write"}],"expires_in_secs":3600}"#,
    ))
    .await;
    let (status, new) = said(call(&api, "POST", "/admin/v1/keys/FTTEMP/rotate", "")).await;
    assert_eq!(
        (status, new["account"].as_str(), new["grants"][0]["right"].as_str()),
        (201, Some("main"), Some("write"))
    );
    let (_, old) = said(call(&api, "GET", path, "")).await;
    assert_eq!(old["expires"], new["expires"], "it ends within the hour that it had, not after a day");
    let (id, secret) = (new["id"].as_str().unwrap().to_owned(), new["secret"].as_str().unwrap().to_owned());
    let renewed = world.client((&id, &secret));
    assert_eq!(
        (renewed.put("/private/k", b"z").await.status, client.put("/private/k", b"z").await.status),
        (200, 200)
    );
    let (status, _) = said(call(&api, "POST", "/admin/v1/keys/FTTEMP/rotate", r#"{"keep_secs":0}"#)).await;
    assert_eq!((status, client.put("/private/k", b"z").await.code().as_str()), (201, "InvalidAccessKeyId"));

    for (method, path, body, want) in [
        ("GET", "/admin/v1/keys/FTNONE", "", 404),
        ("PATCH", "/admin/v1/keys/FTNONE", "{}", 404),
        ("POST", "/admin/v1/keys/FTNONE/rotate", "", 404),
        ("PATCH", path, r#"{"secret":"x"}"#, 400),
        ("PATCH", path, r#"{"grants":[{"bucket":"A_B","right":"read"}]}"#, 400),
        ("PATCH", path, r#"{"grants":[{"bucket":"abc","right":"rule"}]}"#, 400),
        ("PATCH", path, r#"{"expires_in_secs":-1}"#, 400),
    ] {
        assert_eq!(said(call(&api, method, path, body)).await.0, want, "{method} {path} {body}");
    }
    // What was revoked does not come back by a change.
    assert_eq!(call(&api, "DELETE", path, "").await.status(), 204);
    assert_eq!(said(call(&api, "PATCH", path, r#"{"expires_in_secs":null}"#)).await.0, 404);
    assert!(world.engine.access_key("FTTEMP").await.unwrap().is_none());
}

/// The bucket leads elsewhere; that nobody joins the old origin's fills any more comes after it.
#[tokio::test]
async fn a_replaced_shadow_gets_no_readers_though_its_replacer_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let (world, api) = world(folder.path()).await;
    let before = world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.script.object("k", 1000);
    world.script.hold("k", At::Headers);
    let anyone = world.anonymous();
    let readers = async {
        let first = anyone.get("/cold/k");
        let second = async {
            world.script.wait_for_held("k", At::Headers).await;
            let body = r#"{"rules":[{"url":"http://another.origin.test"}]}"#;
            let replace = call(&api, "PUT", "/admin/v1/buckets/cold/shadow?probe=false", body);
            let moved =
                async || world.engine.bucket(&before.name).await.unwrap().gate_version != before.gate_version;
            hang_up_once_done(replace, moved).await;
            let asked_again = async {
                world.script.wait_for_calls("k", 2).await;
                world.script.release("k");
            };
            tokio::join!(anyone.get("/cold/k"), asked_again).0
        };
        tokio::join!(first, second)
    };
    let (first, second) = tokio::time::timeout(Duration::from_secs(20), readers)
        .await
        .expect("the second reader asks the new origin, and does not wait for the old one");
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(second.header("x-cache"), "MISS");
}

//! A gateway on a loopback socket over an engine in memory, with a scripted origin behind it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use fallthrough_bucket::{
    AccessKeyRow, Bucket, BucketMode, BucketSettings, Engine, EngineOptions, Grant, NewBucket, PublicAccess,
    PublicFill, ShadowFactory, ShadowRefused, ShadowRule, ShadowTarget,
};
use fallthrough_gateway::{Drained, Gateway, GatewayOptions};
use fallthrough_object::{BucketName, Clock, Entropy, SeededEntropy, SystemClock, Timestamp};
use fallthrough_shadow::{NetworkPolicy, Outbound, S3Settings, S3Shadow, Shadow};
use fallthrough_sim::{Script, ScriptedShadow};
use fallthrough_store::{Store, StoreOptions};
use fallthrough_wire::sigv4::Credentials;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Canary, Client};

/// The key that owns the buckets of the tests.
pub(crate) const MAIN: (&str, &str) = ("FTMAIN", "main-secret");
/// A key of another account.
pub(crate) const ALT: (&str, &str) = ("FTALT", "alt-secret");

#[derive(Debug)]
struct Factory(Arc<Script>);

impl ShadowFactory for Factory {
    /// S3 targets are asked over a socket; whatever else is named is the scripted origin.
    fn shadow(&self, _: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        let ShadowTarget::S3 { endpoint, name, region, addressing, credentials } = &rule.target else {
            return Ok(Arc::new(ScriptedShadow::of(Arc::clone(&self.0))));
        };
        let settings = S3Settings {
            endpoint: endpoint.clone(),
            bucket: BucketName::parse(name).unwrap(),
            region: region.clone(),
            addressing: *addressing,
            credentials: credentials.as_ref().map(|key| Credentials::new(&key.access_key, &key.secret_key)),
        };
        let outbound = Outbound::new(NetworkPolicy { allow_private: true }).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Ok(Arc::new(S3Shadow::new(settings, &outbound, clock).unwrap()))
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<dyn Clock>,
    /// What is behind every bucket that has a shadow.
    pub(crate) script: Arc<Script>,
    pub(crate) shutdown: CancellationToken,
    /// Looked at after every request of clients that are made from now on.
    pub(crate) canary: OnceLock<Canary>,
    serving: JoinHandle<Drained>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(GatewayOptions::default(), EngineOptions::default()).await
    }

    pub(crate) async fn with(options: GatewayOptions, engine_options: EngineOptions) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        let store = Store::in_memory(StoreOptions::default(), Arc::clone(&clock), Arc::clone(&entropy));
        Self::over(store, clock, entropy, options, engine_options).await
    }

    /// Over a store of the test's own.
    pub(crate) async fn over(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: GatewayOptions,
        engine_options: EngineOptions,
    ) -> Self {
        let script = Script::new();
        let engine = Engine::new(
            store,
            Arc::new(Factory(Arc::clone(&script))),
            engine_options,
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        for ((id, secret), account) in [(MAIN, "main"), (ALT, "alt")] {
            engine.put_access_key(key_row(id, secret, account, None)).await.unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Gateway::new(engine.clone(), options, Arc::clone(&clock), &entropy);
        let shutdown = CancellationToken::new();
        let (serving, stop) = (gateway.clone(), shutdown.clone());
        let serving = TaskTracker::new().spawn(async move { serving.serve(listener, stop).await });
        Self { engine, gateway, address, clock, script, shutdown, canary: OnceLock::new(), serving }
    }

    /// A client that signs with the owner's key.
    pub(crate) fn main(&self) -> Client {
        self.client(MAIN)
    }

    pub(crate) fn client(&self, (id, secret): (&str, &str)) -> Client {
        Client::new(self.address, Some(Credentials::new(id, secret)), self.clock.now())
            .watching(self.canary.get().cloned())
    }

    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.address, None, self.clock.now()).watching(self.canary.get().cloned())
    }

    /// A connection that is no socket, so that its time can be a test's own.
    pub(crate) fn pipe(&self, bytes: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(bytes);
        let (gateway, shutdown, peer) = (self.gateway.clone(), self.shutdown.clone(), self.address);
        TaskTracker::new().spawn(async move { gateway.serve_connection(theirs, peer, shutdown).await });
        ours
    }

    /// An empty plain bucket of the main account.
    pub(crate) async fn bucket(&self, name: &str) -> Arc<Bucket> {
        self.bucket_of(name, BucketSettings { owner: "main".to_owned(), ..BucketSettings::default() }).await
    }

    /// A bucket that everybody may read.
    pub(crate) async fn public_bucket(&self, name: &str) -> Arc<Bucket> {
        let public = PublicAccess::Read;
        self.bucket_of(name, BucketSettings { owner: "main".to_owned(), public, ..BucketSettings::default() })
            .await
    }

    /// A public bucket with the scripted origin behind it, under an address of its own: what goes wrong behind
    /// one bucket opens no breaker for another.
    pub(crate) async fn shadowed_bucket(&self, name: &str, mode: BucketMode) -> Arc<Bucket> {
        self.falling_bucket(name, mode, ShadowTarget::Http { url: format!("http://{name}.origin.test") })
            .await
    }

    /// A public bucket that falls through to this.
    pub(crate) async fn falling_bucket(
        &self,
        name: &str,
        mode: BucketMode,
        target: ShadowTarget,
    ) -> Arc<Bucket> {
        let settings = BucketSettings {
            owner: "main".to_owned(),
            mode,
            public: PublicAccess::Read,
            public_fill: PublicFill::Open,
            shadow: vec![ShadowRule::to(target)],
            ..BucketSettings::default()
        };
        self.bucket_of(name, settings).await
    }

    pub(crate) async fn bucket_of(&self, name: &str, settings: BucketSettings) -> Arc<Bucket> {
        match self.engine.create_bucket(&BucketName::parse(name).unwrap(), settings).await.unwrap() {
            NewBucket::Created(bucket) | NewBucket::Exists(bucket) => bucket,
        }
    }

    pub(crate) async fn key(&self, id: &'static str, account: &str, grants: Option<Vec<Grant>>) -> Client {
        self.engine.put_access_key(key_row(id, "limited-secret", account, grants)).await.unwrap();
        self.client((id, "limited-secret"))
    }

    /// Stops accepting, waits for what runs, and tells how it ended.
    pub(crate) async fn stop(self) -> Drained {
        self.shutdown.cancel();
        self.serving.await.unwrap()
    }
}

pub(crate) fn key_row(id: &str, secret: &str, account: &str, grants: Option<Vec<Grant>>) -> AccessKeyRow {
    AccessKeyRow {
        id: id.to_owned(),
        secret: secret.to_owned(),
        account: account.to_owned(),
        created: Timestamp(0),
        expires: None,
        grants,
    }
}

//! Tier 1: store, engine, gateway and admin API in one server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fallthrough_bucket::{Engine, EngineOptions};
use fallthrough_gateway::admin::{AdminApi, AdminParts, AdminToken, Declarations};
use fallthrough_gateway::{Gateway, GatewayOptions, PageHandler, Strangers};
use fallthrough_object::{Clock, Entropy, OsEntropy, SystemClock};
use fallthrough_store::{Store, StoreError, StoreOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::settings::{Secret, Settings};
use crate::wiring::clients::Clients;
use crate::wiring::metrics::MetricsPage;
use crate::wiring::prober::Prober;
use crate::wiring::ready_file::ReadyFields;
use crate::wiring::reload::{self, Reloader, Sources};
use crate::wiring::root::{self, Root};
use crate::wiring::shadows::{DeclaredOrigins, Shadows};
use crate::wiring::tls::Certificate;
use crate::wiring::workers::Workers;
use crate::wiring::{descriptors, front, listen, metrics, queues, scrubber, sweeper, token};

/// How often histograms that nobody reads are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// A server of tier 1 to be started.
#[derive(Debug)]
pub(crate) struct BucketTierPlan {
    /// All settings, origins and buckets among them.
    pub(crate) settings: Settings,
    /// Pages on the S3 listener below `/_demo`.
    pub(crate) pages: Option<PageHandler>,
    /// What S3 clients on other machines may do.
    pub(crate) strangers: Strangers,
    /// Where the settings can be read again from while it runs.
    pub(crate) sources: Option<Sources>,
}

/// A server of tier 1 that runs.
#[derive(Debug)]
pub(crate) struct RunningBucketTier {
    /// Where S3 clients connect.
    pub(crate) s3: SocketAddr,
    /// They speak TLS.
    secure: bool,
    /// Where the admin API is.
    pub(crate) admin: SocketAddr,
    /// The admin API's token.
    pub(crate) admin_token: Secret,
    /// The root account with its key.
    pub(crate) root: Root,
    /// The engine, for who looks in from within the process.
    pub(crate) engine: Engine,
    store: Store,
    /// Reads the configuration again.
    pub(crate) reloader: Reloader,
    api: AdminApi,
    grace: Duration,
    draining: Arc<AtomicBool>,
    stop_s3: CancellationToken,
    stop_admin: CancellationToken,
    serving_s3: JoinHandle<()>,
    serving_admin: JoinHandle<()>,
    workers: Workers,
}

impl BucketTierPlan {
    /// Opens the store, declares accounts and buckets, listens and serves. When it returns, both listeners
    /// accept. Call it once per process: it installs the recorder of metrics.
    ///
    /// # Errors
    /// A port or the data folder is in use, the data folder is newer than this program, a declaration cannot
    /// work: each with what to do. Nothing runs on then.
    pub(crate) async fn start(self) -> Result<RunningBucketTier, Failure> {
        let settings = self.settings;
        // What cannot be shown is told of before anything else is done.
        let (certificate, known) = match &settings.s3.tls {
            None => (None, None),
            Some(files) => {
                let (certificate, known) = Certificate::read(files)?;
                (Some(certificate), Some(known))
            }
        };
        // Before the store is opened, so that a port in use leaves the data folder as it was.
        let s3_listener =
            listen::listen(settings.s3.listen, "S3 listener", "--listen or [s3] listen").await?;
        let admin_listener =
            listen::listen(settings.admin.listen, "admin listener", "--admin-listen or [admin] listen")
                .await?;
        let (s3, admin) = (listen::address(&s3_listener)?, listen::address(&admin_listener)?);

        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let page = MetricsPage::install(&settings.store.data)?;
        let store = open(&settings, &clock, &entropy).await?;
        let root = root::load_or_make(&settings, &*entropy)?;
        let admin_token =
            token::load_or_make(settings.admin.token.as_ref(), &settings.store.data, &*entropy)?;
        let clients = Clients::new(settings.allow_private_origins, &clock)?;
        let shadows = Arc::new(Shadows::new(DeclaredOrigins::new(&settings, clients).await?));
        let engine = Engine::new(
            store.clone(),
            Arc::clone(&shadows) as Arc<dyn fallthrough_bucket::ShadowFactory>,
            engine_options(&settings),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let options = GatewayOptions {
            tls: certificate.as_ref().map(|certificate| certificate.tls.clone()),
            domains: settings.s3.domains.clone(),
            website_domains: settings.s3.website_domains.clone(),
            routes: reload::routes(&settings),
            fronts: front::fronts(&settings),
            region: settings.s3.region.clone(),
            signing_region: settings.s3.signing_region.clone(),
            presigned_v2: settings.s3.presigned_v2,
            max_connections: descriptors::connections(settings.s3.max_connections, descriptors::raise()),
            drain: settings.grace,
            pages: self.pages,
            strangers: self.strangers,
            ..GatewayOptions::default()
        };
        let gateway = Gateway::new(engine.clone(), options, Arc::clone(&clock), &entropy);
        let declarations = Declarations::new(reload::declarations(&settings, &root.account));
        let parts = reload::Parts {
            engine: engine.clone(),
            gateway: gateway.clone(),
            shadows: Arc::clone(&shadows),
            declarations: declarations.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        reload::take_over(&parts, &settings, &root.account, &BTreeSet::new()).await?;
        let reloader = Reloader::new(self.sources, settings.clone(), parts);
        let draining = Arc::new(AtomicBool::new(false));
        let api = AdminApi::new(AdminParts {
            engine: engine.clone(),
            clock: Arc::clone(&clock),
            entropy,
            token: AdminToken::new(admin_token.reveal()),
            prober: Arc::new(Prober { shadows: Arc::clone(&shadows) }),
            key_changed: {
                let gateway = gateway.clone();
                Arc::new(move |id| gateway.forget_key(id))
            },
            metrics: {
                let (page, store, shadows) = (page.clone(), store.clone(), Arc::clone(&shadows));
                Arc::new(move || {
                    queues::tell(&shadows.now().queues());
                    page.render(&store.status())
                })
            },
            free_bytes: {
                let data = settings.store.data.clone();
                Arc::new(move || metrics::free_bytes(&data))
            },
            draining: {
                let draining = Arc::clone(&draining);
                Arc::new(move || draining.load(Ordering::Acquire))
            },
            models: Arc::new(move || queues::views(shadows.now().queues())),
            declarations,
            reload: Arc::new(reloader.clone()),
            s3_address: s3_url(s3, certificate.is_some()),
            version: env!("CARGO_PKG_VERSION"),
        });

        let (stop_s3, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let serving_s3 = TaskTracker::new().spawn(serve_s3(gateway, s3_listener, stop_s3.clone()));
        let serving_admin =
            TaskTracker::new().spawn(serve_admin(api.clone(), admin_listener, stop_admin.clone(), page));
        let mut workers = Workers::default();
        workers.start("the sweep", sweeper::run(store.clone(), stop_s3.clone()));
        workers.start("the scrubber", scrubber::run(engine.clone(), &settings.store, stop_s3.clone()));
        let own = || (engine.clone(), stop_s3.clone());
        let (worker, stop) = own();
        workers.start("the expiry of negative answers", async move { worker.run_expiry(stop).await });
        let (worker, stop) = own();
        workers.start("the lifecycle worker", async move { worker.run_lifecycle(stop).await });
        let (worker, stop) = own();
        workers.start("the worker of migrations", async move { worker.run_migrations(stop).await });
        let (worker, stop) = own();
        workers.start("the worker of inventories", async move { worker.run_inventories(stop).await });
        let (worker, stop) = own();
        let sending = async move { worker.run_outbox(stop).await };
        workers.start("the worker that brings changes to origins", sending);
        let (worker, stop) = own();
        workers.start("the worker that evicts copies", async move { worker.run_eviction(stop).await });
        let (worker, stop) = own();
        workers.start("the sweep of blocks", async move { worker.run_block_sweep(stop).await });
        let secure = certificate.is_some();
        if let Some((certificate, known)) = certificate.zip(known) {
            workers.start("the watch over the certificate", certificate.watch(known, stop_s3.clone()));
        }
        Ok(RunningBucketTier {
            secure,
            s3,
            admin,
            admin_token,
            root,
            engine,
            store,
            reloader,
            grace: settings.grace,
            draining,
            api,
            stop_s3,
            stop_admin,
            serving_s3,
            serving_admin,
            workers,
        })
    }
}

impl RunningBucketTier {
    /// Where S3 clients on this machine connect: `http://address:port`, or `https:` over TLS.
    pub(crate) fn s3_url(&self) -> String {
        s3_url(self.s3, self.secure)
    }

    /// Where the admin API is for this machine: `http://address:port`.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", listen::reachable(self.admin))
    }

    /// What the ready file says of this tier.
    pub(crate) fn ready_fields(&self) -> ReadyFields {
        ReadyFields::default()
            .text("s3", self.s3_url())
            .text("admin", self.admin_url())
            .secret("admin_token", &self.admin_token)
            .text("access_key", &self.root.account.access_key)
            .secret("secret_key", &self.root.account.secret_key)
    }

    /// Takes no more requests, lets running ones and fills end within the grace time, closes the store, and
    /// returns when all is done. Health and metrics are answered until the end, as not ready.
    pub(crate) async fn shutdown(self) {
        self.draining.store(true, Ordering::Release);
        self.stop_s3.cancel();
        let (served, ()) = tokio::join!(self.serving_s3, self.engine.shutdown(self.grace));
        if served.is_err() {
            tracing::error!("the S3 listener panicked");
        }
        self.workers.ended().await;
        self.stop_admin.cancel();
        if self.serving_admin.await.is_err() {
            tracing::error!("the admin listener panicked");
        }
        self.api.shutdown().await;
        self.reloader.shutdown().await;
        self.store.close().await;
    }
}

fn s3_url(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", listen::reachable(address))
}

async fn open(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Store, Failure> {
    let data = &settings.store.data;
    let defaults = StoreOptions::default();
    let low_space = settings.store.low_space_bytes;
    let options = StoreOptions {
        low_space_stop_fills_bytes: low_space,
        reserve_bytes: defaults.reserve_bytes.min(low_space / 4),
        sealing: settings.store.sealing.clone(),
        ..defaults
    };
    Store::open(data, options, Arc::clone(clock), Arc::clone(entropy)).await.map_err(|error| {
        let mend = match &error {
            StoreError::InUse { .. } => {
                "stop that server, or give this one a folder of its own (--data, [store] data)".to_owned()
            }
            StoreError::Sealed { .. } => {
                "give it as [store] sealing-key-file or FALLTHROUGH_STORE__SEALING_KEY; to change to another key, give the \
                 former one as old-sealing-key-file as well"
                    .to_owned()
            }
            StoreError::NewerFormat { .. } => "use the release that wrote it, or a newer one".to_owned(),
            _ => {
                format!("check that {} is a folder that this user may write to, and its disk", data.display())
            }
        };
        let message = match &error {
            StoreError::InUse { .. } | StoreError::NewerFormat { .. } | StoreError::Sealed { .. } => error.to_string(),
            _ => format!("the data folder {} cannot be opened: {}", data.display(), chain(&error)),
        };
        Failure::new(message, mend)
    })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn engine_options(settings: &Settings) -> EngineOptions {
    EngineOptions {
        client_wait: settings.fill.client_wait,
        stall: settings.fill.stall,
        max_in_flight: settings.fill.max_in_flight,
        max_queue: settings.fill.queue,
        per_client: settings.fill.per_client,
        budget: settings.fill.budget,
        client_budget: settings.fill.client_budget,
        negative_ttl: settings.fill.negative_ttl,
        cache_limit_bytes: settings.store.cache_limit_bytes,
        blocks_limit_bytes: settings.store.blocks_limit_bytes,
        promote_bytes_per_minute: settings.store.promote_bytes_per_minute,
        ..EngineOptions::default()
    }
}

async fn serve_s3(gateway: Gateway, listener: TcpListener, stop: CancellationToken) {
    let drained = gateway.serve(listener, stop).await;
    if drained.cut_off > 0 {
        tracing::warn!(connections = drained.cut_off, "requests were cut off at the end of the grace time");
    }
}

async fn serve_admin(api: AdminApi, listener: TcpListener, stop: CancellationToken, page: MetricsPage) {
    let upkeep = async {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            page.upkeep();
        }
    };
    let asked = stop.clone();
    let serving = async move {
        axum::serve(listener, api.router())
            .with_graceful_shutdown(async move { asked.cancelled().await })
            .await
    };
    // The server of the admin API does not end connections that stay open without a request.
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        biased;
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin listener stopped");
            }
        }
        () = patience => {}
        () = upkeep => {}
    }
}

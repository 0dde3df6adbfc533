//! The machine that is simulated: a disk that outlives crashes, and on it, while it runs, the store, the engine and
//! the gateway. Connections are pipes in memory that break when the machine stops.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use fallthrough_bucket::{AccessKeyRow, BucketMode, BucketSettings, Engine, EngineOptions};
use fallthrough_gateway::{Gateway, GatewayOptions};
use fallthrough_object::{BucketName, Clock, Entropy, SeededEntropy, Timestamp};
use fallthrough_sim::TokioClock;
use fallthrough_store::simulation::{SimulatedDisk, Writer};
use fallthrough_store::{Store, StoreOptions};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dice::Dice;
use crate::did::Mode;
use crate::history::Journal;
use crate::lifecycle::Lifecycle;
use crate::origin::{Factory, Origins};
use crate::plan::Plan;
use crate::rules::BEGINNING;
use crate::through::Doubts;
use crate::uploads::Uploads;

/// The access key of every client.
pub(crate) const ACCESS_KEY: &str = "SIMULATION";
/// Its secret.
pub(crate) const SECRET: &str = "simulated-secret";
/// The bucket.
pub(crate) const BUCKET: &str = "bucket";
/// Starts that may fail one after the other before that is a finding.
const STARTS: u32 = 20;

/// What runs between two starts.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    gateway: Gateway,
    pub(crate) store: Store,
    shutdown: CancellationToken,
    /// Cancelled when the machine stops: everything on it ends in mid-air.
    stopped: CancellationToken,
    tasks: TaskTracker,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) journal: Journal,
    pub(crate) origins: Arc<Origins>,
    pub(crate) uploads: Uploads,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) doubts: Doubts,
    pub(crate) clock: Arc<TokioClock>,
    entropy: Arc<dyn Entropy>,
    dice: Dice,
    machine: Mutex<Machine>,
    /// One start or stop at a time.
    turning: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Machine {
    disk: SimulatedDisk,
    running: Option<Running>,
}

impl World {
    pub(crate) fn new(plan: &Plan, journal: &Journal, dice: &Dice) -> Arc<Self> {
        let origins = Origins::new(plan, journal, dice.fork());
        fallthrough_store::simulation::let_blobs_take_time(dice.number());
        Arc::new(Self {
            plan: plan.clone(),
            journal: journal.clone(),
            origins,
            uploads: Uploads::new(journal),
            lifecycle: Lifecycle::new(journal),
            doubts: Doubts::new(plan.keys.len()),
            clock: Arc::new(TokioClock::new(BEGINNING)),
            entropy: Arc::new(SeededEntropy::new(dice.number())),
            dice: dice.fork(),
            machine: Mutex::new(Machine { disk: SimulatedDisk::default(), running: None }),
            turning: tokio::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn running(&self) -> Option<Running> {
        self.lock().running.clone()
    }

    pub(crate) fn disk(&self) -> SimulatedDisk {
        self.lock().disk.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The settings of the bucket with the shadow of this layout; `through`: changes go through as the plan says.
    pub(crate) fn settings(&self, layout: Option<u8>, through: bool) -> BucketSettings {
        let mode = match self.plan.mode {
            Mode::Plain => BucketMode::Plain,
            Mode::Migrate => BucketMode::Migrate,
            Mode::Cache => BucketMode::Cache,
            Mode::Compute => BucketMode::Compute,
        };
        let shadow = layout.map(|layout| self.origins.rules(layout, through)).unwrap_or_default();
        BucketSettings { owner: "main".to_owned(), mode, shadow, ..BucketSettings::default() }
    }

    pub(crate) fn bucket_name() -> BucketName {
        BucketName::parse(BUCKET).expect("a good name")
    }

    /// Starts the machine, and starts it again if its disk stops on the way.
    pub(crate) async fn start(&self) {
        let _turn = self.turning.lock().await;
        self.start_now().await;
    }

    async fn start_now(&self) {
        for _ in 0..STARTS {
            let disk = self.disk();
            match self.open(&disk).await {
                Ok(running) => {
                    self.lock().running = Some(running);
                    self.journal.note("started");
                    return;
                }
                Err(error) => {
                    self.journal.note(&format!("a start failed: {error}"));
                    if disk.is_dead() {
                        let after = disk.crash(self.dice.number());
                        self.lock().disk = after;
                    } else if !self.plan.disk_faults {
                        self.journal.violation(format!("the store does not open: {error}"));
                        return;
                    }
                }
            }
        }
        self.journal.violation("the store does not open any more");
    }

    async fn open(&self, disk: &SimulatedDisk) -> Result<Running, String> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let options = StoreOptions {
            cache_bytes: 1 << 20,
            small_body_max: 1024,
            staging_memory_max: 16 << 10,
            hot_bytes: 64 << 10,
            ..StoreOptions::default()
        };
        let opened = Store::open_simulated(disk, options, clock.clone(), self.entropy.clone()).await;
        let (store, writer) = opened.map_err(|error| format!("{error:?}"))?;
        let (stopped, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        let drive = write(writer, self.dice.fork(), self.plan.commit_wait);
        let until_stopped = stopped.clone();
        tasks.spawn(async move { until_stopped.run_until_cancelled(drive).await });
        let options = EngineOptions {
            client_wait: Duration::from_secs(8),
            stall: Duration::from_secs(2),
            header_wait: Duration::from_secs(5),
            queue_wait: Duration::from_secs(20),
            max_in_flight: 3,
            max_queue: 4,
            per_client: 2,
            budget: None,
            client_budget: None,
            negative_ttl: Duration::from_secs(3),
            default_ttl: Duration::from_secs(5),
            max_fills: 64,
            part_bytes_min: 1,
            // Objects of a run are small.
            ranges_above_bytes: u64::MAX,
            range_bytes: 1,
            cache_limit_bytes: self.plan.cache_limit,
            // A few, so that others have to go; of a size of which most objects have several.
            blocks_limit_bytes: 60_000,
            block_bytes: 5_000,
            promote_bytes_per_minute: 100_000,
        };
        let factory = Arc::new(Factory(self.origins.clone()));
        let engine = Engine::new(store.clone(), factory, options, clock.clone(), self.entropy.clone());
        let row = AccessKeyRow {
            id: ACCESS_KEY.to_owned(),
            secret: SECRET.to_owned(),
            account: "main".to_owned(),
            created: Timestamp(0),
            expires: None,
            grants: None,
        };
        engine.put_access_key(row).await.map_err(|error| format!("{error:?}"))?;
        // In the background, as at every start.
        let (sweeping, until_stopped, journal) = (store.clone(), stopped.clone(), self.journal.clone());
        tasks.spawn(async move {
            if let Some(Err(error)) = until_stopped.run_until_cancelled(sweeping.sweep()).await {
                journal.note(&format!("the sweep stopped: {error:?}"));
            }
        });
        let (expiring, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { expiring.run_expiry(until_stopped).await });
        let (evicting, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { evicting.run_eviction(until_stopped).await });
        let (removing, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { removing.run_block_sweep(until_stopped).await });
        let (sending, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { sending.run_outbox(until_stopped).await });
        let (taking, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { taking.run_inventories(until_stopped).await });
        let (moving, until_stopped) = (engine.clone(), stopped.clone());
        tasks.spawn(async move { moving.run_migrations(until_stopped).await });
        let gateway = Gateway::new(engine.clone(), GatewayOptions::default(), clock, &self.entropy);
        Ok(Running { engine, gateway, store, shutdown, stopped, tasks })
    }

    /// A connection to the machine, if it runs.
    pub(crate) fn connect(&self, client: u32) -> Option<DuplexStream> {
        let machine = self.lock();
        let running = machine.running.as_ref()?;
        let buffer = self.dice.pick(&[700, 4_000, 64_000]);
        let (ours, theirs) = tokio::io::duplex(buffer);
        let socket = Wire { pipe: theirs, disk: machine.disk.clone() };
        let peer = SocketAddr::from(([10, 0, 0, 1], 1000 + u16::try_from(client).unwrap_or(0)));
        let (gateway, shutdown) = (running.gateway.clone(), running.shutdown.clone());
        let stopped = running.stopped.clone();
        running.tasks.spawn(async move {
            stopped.run_until_cancelled(gateway.serve_connection(socket, peer, shutdown)).await
        });
        Some(ours)
    }

    /// The machine stops at once, and starts again after `down`.
    pub(crate) async fn crash(&self, down: Duration) {
        let _turn = self.turning.lock().await;
        let Some(running) = self.lock().running.take() else { return };
        self.journal.count("crashes");
        self.journal.note("CRASH");
        {
            let mut machine = self.lock();
            machine.disk = machine.disk.crash(self.dice.number());
        }
        running.stopped.cancel();
        running.end().await;
        tokio::time::sleep(down).await;
        self.start_now().await;
    }

    /// The machine shuts down in order, and starts again.
    pub(crate) async fn restart(&self) {
        let _turn = self.turning.lock().await;
        self.stop().await;
        self.start_now().await;
    }

    /// Shuts the machine down in order.
    async fn stop(&self) {
        let Some(running) = self.lock().running.take() else { return };
        self.journal.count("restarts");
        self.journal.note("shutting down");
        running.shutdown.cancel();
        running.engine.shutdown(Duration::from_secs(1)).await;
        // Commits that are on their way end; what hangs is cut off.
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.stopped.cancel();
        let store = running.store.clone();
        running.end().await;
        store.close().await;
    }

    /// What buckets are said to hold must be what is there, after all crashes and failures.
    async fn compare_usage(&self, store: &Store) {
        match store.recount().await {
            Ok(0) => {}
            Ok(wrong) => self.journal.violation(format!("what {wrong} buckets hold is counted wrong")),
            Err(error) => self.journal.violation(format!("what buckets hold cannot be counted: {error:?}")),
        }
    }

    /// Shuts down for good, and looks at what is left.
    pub(crate) async fn finish(&self) {
        let _turn = self.turning.lock().await;
        let Some(running) = self.running() else { return };
        if running.engine.fills_in_flight() > 0 {
            self.journal.violation(format!("{} fills are still running", running.engine.fills_in_flight()));
        }
        self.compare_usage(&running.store).await;
        drop(running);
        self.stop().await;
        if self.origins.in_flight() > 0 {
            self.journal.violation(format!("{} requests to origins are left", self.origins.in_flight()));
        }
        let disk = self.disk();
        let staging = disk.names("staging/");
        if !staging.is_empty() {
            self.journal.violation(format!("staging files are left: {staging:?}"));
        }
        let blobs = disk.names("blobs/");
        if !blobs.is_empty() {
            self.journal.violation(format!("blobs are left of which nobody has any: {blobs:?}"));
        }
    }
}

impl Running {
    /// What is called from within the machine ends with it: `None` if it stopped first.
    pub(crate) async fn unless_it_stops<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        self.stopped.run_until_cancelled(call).await
    }

    /// Ends the tasks of a machine that stops.
    async fn end(self) {
        self.engine.shutdown(Duration::ZERO).await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The store's writer: commits wait a while, and share groups of any size.
async fn write(writer: Writer, dice: Dice, wait: Duration) {
    let longest = u64::try_from(wait.as_micros()).unwrap_or(0);
    loop {
        writer.due().await;
        loop {
            if longest > 0 {
                tokio::time::sleep(Duration::from_micros(dice.below(longest + 1))).await;
            } else {
                tokio::task::yield_now().await;
            }
            if writer.step(dice.index(8) + 1) == 0 {
                break;
            }
        }
    }
}

/// The machine's end of a connection: once the machine is gone, nothing comes out of it.
struct Wire {
    pipe: DuplexStream,
    disk: SimulatedDisk,
}

impl Wire {
    fn alive(&self) -> std::io::Result<()> {
        if self.disk.is_dead() { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // A machine that is gone says no goodbye; the pipe breaks when it is dropped.
        if self.alive().is_err() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

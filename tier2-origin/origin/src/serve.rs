//! From an origin to a running server.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Clock, Entropy, OsEntropy, SystemClock};
use fallthrough_wire::sigv4::{Credentials, VerifyPolicy};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::access::Access;
use crate::admission::Admission;
use crate::connection::Connection;
use crate::counters::Counters;
use crate::origin::Origin;
use crate::sent::Broken;
use crate::service::{Inner, OriginService};

/// Begins to serve `origin`: set what differs from the defaults, then [`Serve::bind`].
pub fn serve(origin: impl Origin) -> Serve {
    Serve {
        origin: Box::new(origin),
        credentials: Vec::new(),
        region: None,
        max_in_flight: 256,
        max_queued: 1024,
        max_wait: Duration::from_secs(10),
        timeout: Duration::from_secs(60),
        stall_after: Duration::from_secs(30),
        idle_after: Duration::from_secs(75),
        max_connections: 4096,
        drain: Duration::from_secs(10),
        mounted_at: String::new(),
        metrics_at: None,
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy),
    }
}

/// A server in the making. Every wait and every number in it is bounded.
#[must_use = "a server serves once it is bound and run"]
pub struct Serve {
    origin: Box<dyn Origin>,
    credentials: Vec<Credentials>,
    region: Option<String>,
    max_in_flight: usize,
    max_queued: usize,
    max_wait: Duration,
    timeout: Duration,
    stall_after: Duration,
    idle_after: Duration,
    max_connections: usize,
    drain: Duration,
    mounted_at: String,
    metrics_at: Option<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("max_in_flight", &self.max_in_flight).finish_non_exhaustive()
    }
}

impl Serve {
    /// Answers only requests that this access key has signed (SigV4, in a header or presigned). May be
    /// called again for further keys. Without it, everybody is answered.
    pub fn credentials(mut self, access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials.push(Credentials::new(access_key, secret));
        self
    }

    /// Accepts only signatures for this region; any by default.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// How many calls of the origin run at once (256). A streamed body counts until it has been sent.
    /// At least 1.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// How many requests may wait for a place (1,024), and for how long (10 s). Past either: 503 SlowDown
    /// with a Retry-After that follows the measured time of a call.
    pub fn queue(mut self, requests: usize, max_wait: Duration) -> Self {
        self.max_queued = requests;
        self.max_wait = max_wait;
        self
    }

    /// How long one call may take (60 s) until it is dropped and answered 503 SlowDown.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a stream of the origin, or a client that sends or reads a body, may stand still (30 s)
    /// until the connection is reset.
    pub fn stall_after(mut self, stall: Duration) -> Self {
        self.stall_after = stall;
        self
    }

    /// How long a connection may stay without a request, or with half of one's head (75 s).
    pub fn idle_after(mut self, idle: Duration) -> Self {
        self.idle_after = idle;
        self
    }

    /// How many connections are open at once (4,096); further ones wait in the operating system's queue.
    /// At least 1.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long requests in flight have to end once the server is told to stop (10 s).
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// The path, such as `/tiles`, at which a router nests the service: it stands in signatures.
    pub fn mounted_at(mut self, prefix: impl Into<String>) -> Self {
        self.mounted_at = prefix.into();
        self
    }

    /// Answers GET of this path, such as `/metrics`, with the counters as Prometheus reads them, without
    /// asking for a signature. Off by default; the path then names no bucket.
    pub fn metrics_at(mut self, path: impl Into<String>) -> Self {
        self.metrics_at = Some(path.into());
        self
    }

    /// Another clock, for tests and simulations.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of request ids, for tests and simulations.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Only the service, to nest in a router or to be called within the process. Connections are then
    /// somebody else's: their limits and resets, too.
    pub fn into_service(self) -> OriginService {
        let counters = Arc::new(Counters::default());
        let policy = VerifyPolicy { region: self.region, ..VerifyPolicy::default() };
        OriginService::new(Inner {
            origin: self.origin,
            access: Access::new(self.credentials, policy, self.mounted_at, self.clock),
            admission: Admission::new(
                self.max_in_flight,
                self.max_queued,
                self.max_wait,
                Arc::clone(&counters),
            ),
            counters,
            entropy: self.entropy,
            timeout: self.timeout,
            stall_after: self.stall_after,
            metrics_at: self.metrics_at,
        })
    }

    /// Listens; port 0 takes a free one, which [`Server::local_addr`] tells. Connections wait from now on,
    /// and are answered by [`Server::run`].
    ///
    /// # Errors
    /// What the operating system says, such as `AddrInUse`.
    pub async fn bind(self, addr: impl ToSocketAddrs) -> io::Result<Server> {
        self.listen_on(TcpListener::bind(addr).await?)
    }

    /// The same with a listener that is there already.
    ///
    /// # Errors
    /// If the listener does not know its address.
    pub fn listen_on(self, listener: TcpListener) -> io::Result<Server> {
        let local_addr = listener.local_addr()?;
        let limits = Limits {
            stall_after: self.stall_after,
            idle_after: self.idle_after,
            max_connections: self.max_connections,
            drain: self.drain,
        };
        Ok(Server { listener, local_addr, limits, service: self.into_service() })
    }
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    stall_after: Duration,
    idle_after: Duration,
    max_connections: usize,
    drain: Duration,
}

/// A server that listens. Dropping it, or the future of its run, ends every connection at once.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    limits: Limits,
    service: OriginService,
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it listens, as `http://address:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.local_addr)
    }

    /// The service behind it, for its counters.
    pub fn service(&self) -> OriginService {
        self.service.clone()
    }

    /// Serves until the future is dropped.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Serves until `stop` is done, then takes no more connections, lets requests in flight end, and
    /// returns; those that take longer than the drain time are cut off. Returns how many were.
    ///
    /// With a `CancellationToken`: `run_until(token.cancelled())`.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> usize {
        let mut stop = std::pin::pin!(stop);
        let mut connections = JoinSet::new();
        let draining = CancellationToken::new();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(ended) = connections.join_next() => {
                    if let Err(cause) = ended {
                        tracing::error!(error = %cause, "a connection's task panicked");
                    }
                }
                accepted = self.listener.accept(), if connections.len() < self.limits.max_connections => {
                    match accepted {
                        Ok((stream, _peer)) => {
                            let task = converse(stream, self.service.clone(), self.limits, draining.clone());
                            connections.spawn(task);
                        }
                        Err(cause) => {
                            tracing::warn!(error = %cause, "a connection could not be accepted");
                            // Out of descriptors, usually. The kernel does not tell when there is one again.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                }
            }
        }
        drop(self.listener);
        draining.cancel();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(self.limits.drain, all_ended).await.is_ok();
        let late = if in_time { 0 } else { connections.len() };
        if late > 0 {
            tracing::warn!(late, "connections were cut off at the end of the drain time");
        }
        connections.shutdown().await;
        late
    }
}

async fn converse(stream: TcpStream, service: OriginService, limits: Limits, draining: CancellationToken) {
    // Answers are written whole; waiting for more to send would only delay them. Without it they are slower.
    let _ = stream.set_nodelay(true);
    let broken = Broken::default();
    let io = TokioIo::new(Connection::new(stream, broken.clone(), limits.stall_after));
    let answering = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(broken.clone());
        let mut service = service.clone();
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_after)
        .max_buf_size(256 * 1024)
        .serve_connection(io, answering);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        biased;
        outcome = connection.as_mut() => outcome,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = outcome {
        tracing::debug!(error = %cause, "a connection ended early");
    }
}

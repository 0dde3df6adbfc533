//! The S3 listener: connections, their bounds, and the graceful end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_bucket::Engine;
use fallthrough_object::{BucketName, Clock, Entropy, Mutant, planted};
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{SharedTrace, Watched};
use crate::flow::Flow;
use crate::options::GatewayOptions;
use crate::peer::Peer;
use crate::service::Service;
use crate::tls::Tls;

/// What hyper may read ahead of one connection, in bytes; an idle one keeps it after a large body.
const BUFFER_BYTES: usize = 64 * 1024;
/// What the kernel may hold of an answer that it has not sent, in bytes. By itself it takes megabytes where the
/// network was fast once, of which a slow client then holds as much, and tells of a client's progress only in
/// thirds of that: one that takes its answer steadily, but slowly, would look as if it took nothing.
const UNSENT_BYTES: u32 = 64 * 1024;
/// Connections that are being refused at one time; beyond that they are closed without a word.
const REFUSALS_MAX: usize = 64;
/// How long a refused client may take to hear so.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// What it may say meanwhile.
const REFUSAL_BYTES: usize = 64 * 1024;
/// How long to wait when the process has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The answer to a connection that is one too many. Retried by SDKs.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nRetry-After: 1\r\n\
Connection: close\r\nContent-Length: 131\r\n\r\n\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>The server has too many connections.</Message></Error>\n";

/// S3 over HTTP/1.1, in front of one engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway {
    service: Arc<Service>,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because their requests took longer than [`GatewayOptions::drain`].
    pub cut_off: usize,
}

impl Gateway {
    /// A gateway over `engine`. Metrics go to the recorder that is installed at the time.
    pub fn new(
        engine: Engine,
        options: GatewayOptions,
        clock: Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Self {
        Self { service: Arc::new(Service::new(engine, options, clock, &**entropy)) }
    }

    /// Forgets what is remembered of an access key. To be called after a key was changed or removed in the store
    /// and before that is acknowledged; from then on no request is verified with the old row.
    pub fn forget_key(&self, id: &str) {
        if !planted(Mutant::RevokedKeyRemembered) {
            self.service.keys.forget(id);
        }
    }

    /// Replaces the hosts and paths that lead to buckets, for requests that come from now on.
    pub fn set_routes(&self, routes: &[crate::routes::Route]) {
        self.service.sites.replace(routes);
    }

    /// Replaces what stands in front of buckets, for requests that come from now on.
    pub fn set_fronts(&self, fronts: BTreeMap<BucketName, Arc<dyn crate::front::Front>>) {
        self.service.fronts.replace(fronts);
    }

    /// Accepts connections until `shutdown` is cancelled, then lets running requests end.
    ///
    /// At most [`GatewayOptions::max_connections`] are open at once. Returns after the last connection is
    /// closed or [`GatewayOptions::drain`] is over. Dropping the future cuts all connections off.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Drained {
        let (connections, refusals) = (TaskTracker::new(), TaskTracker::new());
        let cut = CancellationToken::new();
        let _cut_when_dropped = cut.clone().drop_guard();
        let places = Arc::new(Semaphore::new(self.service.options.max_connections));
        let refused_at_once = Arc::new(Semaphore::new(REFUSALS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_if_exhausted(&error).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                self.service.telemetry.connections_refused.increment(1);
                // Over TLS there is no word before the handshake: such a connection is closed.
                let may_hear = self.service.options.tls.is_none();
                if let Some(Ok(turn)) = may_hear.then(|| Arc::clone(&refused_at_once).try_acquire_owned()) {
                    let cut = cut.clone();
                    refusals.spawn(async move {
                        cut.run_until_cancelled(refuse(socket)).await;
                        drop(turn);
                    });
                }
                continue;
            };
            let (gateway, shutdown, cut) = (self.clone(), shutdown.clone(), cut.clone());
            connections.spawn(async move {
                let serving = gateway.serve_socket(socket, peer, shutdown);
                // Dropping a connection in the middle ends its request like a client that hangs up.
                cut.run_until_cancelled(serving).await;
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        refusals.close();
        let all_ended = tokio::time::timeout(self.service.options.drain, connections.wait()).await.is_ok();
        let cut_off = if all_ended { 0 } else { connections.len() };
        cut.cancel();
        connections.wait().await;
        refusals.wait().await;
        Drained { cut_off }
    }

    async fn serve_socket(&self, socket: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
        let set_up = socket
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES));
        if let Err(error) = set_up {
            // The other end has gone already.
            tracing::debug!(%error, "a connection cannot be set up");
            return;
        }
        match &self.service.options.tls {
            None => self.serve_connection(socket, peer, shutdown).await,
            // On the heap: a connection without TLS has no room for the handshake's state.
            Some(tls) => Box::pin(self.serve_tls(tls, socket, peer, shutdown)).await,
        }
    }

    async fn serve_tls(&self, tls: &Tls, socket: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
        // A shutdown does not wait for handshakes.
        let shaken = shutdown.run_until_cancelled(tls.accept(socket)).await;
        if let Some(Some(stream)) = shaken {
            self.serve_connection(stream, peer, shutdown).await;
        }
    }

    /// Serves one connection over any byte stream, until it ends or, after `shutdown`, its request is answered.
    ///
    /// Dropping the future closes the connection; a PUT in flight then leaves nothing.
    pub async fn serve_connection(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) {
        let options = &self.service.options;
        let trace = SharedTrace::new(options.max_head_bytes);
        let flow = Flow::default();
        let refuse = |theirs: &[u8]| self.service.unparsed(theirs, trace.is_of_head());
        let socket = Watched::new(socket, trace.clone(), flow.clone(), options.write_timeout, refuse);
        let peer = Peer::of(peer);
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            let smuggled =
                trace.ambiguous() | trace.smuggled(request.headers(), !request.body().is_end_stream());
            let (service, trace, flow, peer) = (&self.service, &trace, &flow, &peer);
            let underway = flow.begin();
            // A connection has room for one such future as long as it lives: on the heap, it is there per request.
            Box::pin(async move {
                let response = service.answer(peer, smuggled, request).await;
                trace.resume();
                Ok::<_, Infallible>(response.map(|body| body.paced(flow, underway)))
            })
        });
        self.service.telemetry.connections.increment(1.0);
        let counted = CountedConnection(&self.service);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.head_timeout)
            .max_header_size(options.max_head_bytes)
            .max_buf_size(BUFFER_BYTES.max(options.max_head_bytes))
            .serve_connection(TokioIo::new(socket), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // Clients that hang up, stall or send what is not HTTP; answers that were broken off are logged there.
            tracing::debug!(%error, "a connection ended early");
        }
        drop(counted);
    }
}

/// Tells a client that there is no place for it. Best effort: one that does not listen finds the connection closed.
async fn refuse(mut socket: TcpStream) {
    let farewell = async {
        socket.write_all(TOO_MANY).await?;
        socket.shutdown().await?;
        // A connection that is closed while something on it is unread is reset, and the answer may be lost with it.
        let (mut some, mut left) = ([0; 1024], REFUSAL_BYTES);
        while left > 0 {
            match socket.read(&mut some).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // Whether it was heard or not, there is no place.
    let _ = tokio::time::timeout(REFUSAL_TIME, farewell).await;
}

/// Takes a connection out of the gauge however it ends.
struct CountedConnection<'a>(&'a Service);

impl Drop for CountedConnection<'_> {
    fn drop(&mut self) {
        self.0.telemetry.connections.decrement(1.0);
    }
}

/// Without descriptors, accepting fails at once and again; other errors concern one connection that is gone.
async fn pause_if_exhausted(error: &io::Error) {
    let concerns_one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    );
    if !concerns_one {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_says_its_length() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        assert_eq!(length, body.len().to_string());
    }
}

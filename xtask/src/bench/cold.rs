//! Cold keys: one after the other, and one that many ask for at once. The same for our server and for nginx.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::client::{Connection, Target, together};
use super::origin::{self, SlowOrigin};
use super::process::Process;

/// Readers of one cold key.
pub(crate) const WAITERS: usize = 200;

/// What many readers of one cold key saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited {
    /// Requests that reached the origin.
    pub(crate) calls: usize,
    /// The median reader's time beyond the origin's own.
    pub(crate) p50_over_origin: Duration,
}

/// [`WAITERS`] readers, connected before, ask for `target` at the same moment; the origin takes `delay`.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn waiters(origin: &SlowOrigin, target: &Target, delay: Duration) -> Result<Waited, String> {
    origin.set_delay(delay);
    let before = origin.calls();
    let all_connected = Barrier::new(WAITERS);
    let mut times = together(WAITERS, |_| {
        let connection = Connection::open(&target.address);
        // Also when it failed: the others would wait for ever.
        all_connected.wait();
        let mut connection = connection?;
        let start = Instant::now();
        connection.exchange(&target.request, origin::SIZE)?;
        Ok(start.elapsed())
    })?;
    times.sort();
    origin.set_delay(Duration::ZERO);
    let p50_over_origin = times[times.len() / 2].saturating_sub(delay);
    Ok(Waited { calls: origin.calls() - before, p50_over_origin })
}

/// The median time of one GET after the other on one connection, each for another key, and the server's CPU
/// time for each where there is a server to look at.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn one_by_one(
    count: usize,
    server: Option<&Process>,
    target: impl Fn(usize) -> Target,
) -> Result<(Duration, Option<Duration>), String> {
    let cpu = || server.map(Process::cpu).transpose();
    let mut connection = Connection::open(&target(0).address)?;
    let before = cpu()?;
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let target = target(n);
        let start = Instant::now();
        connection.exchange(&target.request, origin::SIZE)?;
        times.push(start.elapsed());
    }
    let used = cpu()?.zip(before).map(|(after, before)| (after - before) / u32::try_from(count).unwrap_or(1));
    times.sort();
    Ok((times[times.len() / 2], used))
}

//! One client asks a public bucket for keys that nobody has, as fast as it can: what the origin sees of it, and what a
//! reader of stored objects does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{Connection, Target, together};
use super::fallthrough::Fallthrough;
use super::origin::SlowOrigin;

/// Requests to the origin that one client may cause in a day.
pub(crate) const BUDGET: usize = 1_000;
/// Connections of the client that storms.
const STORMING: usize = 4;
/// GETs of a stored object, before the storm.
const CALM: usize = 20_000;

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) keys: usize,
    /// Requests that reached the origin.
    pub(crate) calls: usize,
    /// Answers 503, with the time to come back.
    pub(crate) refused: usize,
    /// Median and 99th percentile of a hit on one connection, before.
    pub(crate) calm: [Duration; 2],
    /// The same, meanwhile.
    pub(crate) meanwhile: [Duration; 2],
}

/// Asks for `keys` different keys of the bucket `guarded`, while `hit` is asked for on another connection.
///
/// # Errors
/// An answer that is neither 200 nor 503, or a hit that is not 200 with `size` bytes.
pub(crate) fn measure(
    ours: &Fallthrough,
    origin: &SlowOrigin,
    keys: usize,
    (hit, size): (&Target, usize),
) -> Result<Storm, String> {
    let calls = origin.calls();
    let mut connection = Connection::open(&hit.address)?;
    let mut times = hits(&mut connection, hit, size, |done| done < CALM)?;
    let calm = percentiles(&mut times);
    let over = AtomicBool::new(false);
    let each = keys / STORMING;
    let (meanwhile, refused) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| hits(&mut connection, hit, size, |_| !over.load(Ordering::SeqCst)));
        let refused = together(STORMING, |thread| storm(ours, thread * each..(thread + 1) * each));
        over.store(true, Ordering::SeqCst);
        (reader.join(), refused)
    });
    let mut times = meanwhile.map_err(|_| "the reader panicked".to_owned())??;
    Ok(Storm {
        keys: each * STORMING,
        calls: origin.calls() - calls,
        refused: refused?.iter().sum(),
        calm,
        meanwhile: percentiles(&mut times),
    })
}

/// How many of these keys were refused.
fn storm(ours: &Fallthrough, keys: std::ops::Range<usize>) -> Result<usize, String> {
    let mut connection = Connection::open(ours.address())?;
    let mut refused = 0;
    for key in keys {
        let target = ours.unsigned("guarded", &format!("random-{key}"));
        match connection.ask(&target.request)? {
            200 => {}
            503 => refused += 1,
            other => return Err(format!("a key that nobody has was answered {other}")),
        }
    }
    Ok(refused)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn hits(
    connection: &mut Connection,
    hit: &Target,
    size: usize,
    goes_on: impl Fn(usize) -> bool,
) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    while goes_on(times.len()) {
        let start = Instant::now();
        connection.exchange(&hit.request, size)?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// The median and the 99th percentile; zero of nothing.
fn percentiles(times: &mut [Duration]) -> [Duration; 2] {
    times.sort();
    [50, 99].map(|part| times.get(times.len() * part / 100).copied().unwrap_or_default())
}

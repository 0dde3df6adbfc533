//! `cargo xtask bench`: CPU per request beside nginx in the same run, waiters, misses, memory.
//!
//! Wall times of a shared machine mean little, so hits are told as CPU time of the server process for each
//! request, and as the ratio to what nginx needs for the same bytes.

mod client;
mod origin;
mod servers;

use std::time::{Duration, Instant};

use crate::Context;
use client::Target;
use origin::SlowOrigin;
use servers::{Fallthrough, Nginx, cpu};

/// Connections of the load.
const CONNECTIONS: usize = 8;
/// Readers of one cold key.
const WAITERS: usize = 200;
/// Cold keys asked for one after the other.
const MISSES: usize = 200;

/// Sizes of objects, how many requests each, and how it is called.
const SIZES: [(usize, usize, &str); 3] =
    [(1 << 10, 24_000, "1 KiB"), (16 << 10, 16_000, "16 KiB"), (1 << 20, 800, "1 MiB")];

/// Measures and prints a table in Markdown.
///
/// # Errors
/// A program is missing or did not answer as it should.
pub(crate) fn run(context: &Context) -> Result<(), String> {
    let (quick, slow) = (Duration::from_millis(50), Duration::from_secs(8));
    let origin = SlowOrigin::start()?;
    let ours = Fallthrough::start(context, origin.port())?;
    let nginx = Nginx::start(context, &SIZES.map(|(size, _, _)| size))?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let one_minute = load.split_whitespace().next().unwrap_or("?");
    println!("\nLoad average at the start: {one_minute}. Servers on core 0, load on core 1.\n");
    println!(
        "| CPU per GET | Fallthrough, signed | Fallthrough, public | nginx | ratio, signed | ratio, public |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (size, requests, name) in SIZES {
        let key = format!("{size}.bin");
        ours.put("bench", &key, &vec![b'x'; size])?;
        let signed = measure(ours.pid(), &ours.signed("bench", &key), requests, size)?;
        let public = measure(ours.pid(), &ours.unsigned("bench", &key), requests, size)?;
        let theirs = measure(nginx.pid(), &nginx.target(&key), requests, size)?;
        println!(
            "| {name} | {signed:.1} µs | {public:.1} µs | {theirs:.1} µs | {:.2} | {:.2} |",
            theirs / signed,
            theirs / public
        );
    }
    println!("\n| what | result |");
    println!("| --- | --- |");
    for delay in [quick, slow] {
        let (calls, p50) = waiters(&ours, &origin, delay)?;
        println!(
            "| {WAITERS} readers of one cold key, origin of {} ms | {calls} origin call, p50 = origin + {:.1} ms |",
            delay.as_millis(),
            p50.saturating_sub(delay).as_secs_f64() * 1e3
        );
    }
    origin.set_delay(Duration::ZERO);
    let direct = sequential(|n| origin.target(&format!("direct-{n}")))?;
    let before = cpu(ours.pid())?;
    let through = sequential(|n| ours.unsigned("cold", &format!("miss-{n}")))?;
    let each = (cpu(ours.pid())? - before).as_secs_f64() * 1e6 / MISSES as f64;
    println!(
        "| cold miss of 10 KB, p50 over the direct origin | +{:.2} ms, {each:.0} µs of CPU |",
        through.saturating_sub(direct).as_secs_f64() * 1e3
    );
    println!("| resident after the start | {:.1} MB |", ours.resident_bytes_at_start() as f64 / 1e6);
    println!("| start until both listeners accept | {} ms |", ours.started_after().as_millis());
    Ok(())
}

/// Microseconds of the server's CPU for each request.
fn measure(pid: u32, target: &Target, requests: usize, size: usize) -> Result<f64, String> {
    // Warm: connections, caches, the branch predictor.
    client::load(target, CONNECTIONS, requests / 10 / CONNECTIONS + 1, size)?;
    let before = cpu(pid)?;
    let each = requests / CONNECTIONS;
    client::load(target, CONNECTIONS, each, size)?;
    Ok((cpu(pid)? - before).as_secs_f64() * 1e6 / (each * CONNECTIONS) as f64)
}

/// Origin calls, and the median time of readers who come at once.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn waiters(ours: &Fallthrough, origin: &SlowOrigin, delay: Duration) -> Result<(usize, Duration), String> {
    origin.set_delay(delay);
    let before = origin.calls();
    let target = ours.unsigned("cold", &format!("waiters-{}", delay.as_millis()));
    let mut times = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..WAITERS)
            .map(|_| {
                scope.spawn(|| {
                    let start = Instant::now();
                    client::load(&target, 1, 1, origin::SIZE).map(|()| start.elapsed())
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|r| r.join().map_err(|_| "a reader panicked".to_owned())?)
            .collect::<Result<Vec<_>, _>>()
    })?;
    times.sort();
    Ok((origin.calls() - before, times[times.len() / 2]))
}

/// Median time of one GET after the other.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn sequential(target: impl Fn(usize) -> Target) -> Result<Duration, String> {
    let mut times = Vec::with_capacity(MISSES);
    for n in 0..MISSES {
        let target = target(n);
        let start = Instant::now();
        client::load(&target, 1, 1, origin::SIZE)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

//! `cargo xtask bench`: CPU per request beside nginx in the same run, misses, waiters, durable PUTs, memory.
//!
//! Wall times of a shared machine mean little, so hits are told as CPU time of the server process for each
//! request, and as the ratio to what nginx needs for the same bytes.

mod client;
mod cold;
mod durable;
mod fallthrough;
mod many;
mod nginx;
mod origin;
mod process;
mod storm;

pub(crate) use many::run as run_many;

use std::fmt::Write;
use std::time::Duration;

use crate::Context;
use crate::page::{Page, day_and_commit};
use client::Target;
use fallthrough::Fallthrough;
use nginx::Nginx;
use origin::SlowOrigin;
use process::Process;

const PAGE: Page = Page {
    path: "docs/performance.md",
    begin: "<!-- figures: written by `cargo xtask bench --write` -->",
    end: "<!-- end of figures -->",
};

/// Connections of the load.
const CONNECTIONS: usize = 8;
/// Starts of which the median is told.
const STARTS: usize = 5;
/// Sizes of objects, how many requests each, and how it is called.
const SIZES: [(usize, usize, &str); 3] =
    [(1 << 10, 48_000, "1 KiB"), (16 << 10, 32_000, "16 KiB"), (1 << 20, 1_600, "1 MiB")];

/// What to measure, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// A tenth of the requests, and no origin of eight seconds: to see that it works.
    pub(crate) quick: bool,
    /// Put the tables into docs/performance.md.
    pub(crate) write: bool,
}

/// Measures and prints tables in Markdown.
///
/// # Errors
/// A program is missing or did not answer as it should; the page cannot be written.
pub(crate) fn run(context: &Context, wish: Wish) -> Result<(), String> {
    process::pin_the_load(&context.root)?;
    let one_minute = process::load_average(0);
    let scale = if wish.quick { 10 } else { 1 };
    let (at_start, resident) = starts(context)?;
    let origin = SlowOrigin::start()?;
    let ours = Fallthrough::start(context, origin.port())?;
    let nginx = Nginx::start(context, &SIZES.map(|(size, _, _)| size), origin.port())?;

    let mut tables = hits(&ours, &nginx, scale)?;
    tables.push('\n');
    tables.push_str(&cold(&ours, &nginx, &origin, wish.quick)?);
    tables.push_str(&storm(&ours, &origin, 100_000 / scale)?);
    let folder = context.target.join("xtask");
    let durable = durable::measure(&ours, &folder, 400 / scale)?;
    let (disk, cpu) = (durable.disk_bound_per_sec(), durable.cpu_bound_per_sec());
    let _ = write!(
        tables,
        "\n| what | result | goal |\n| --- | --- | --- |\n\
         | durable PUTs of 16 KiB, {} connections | {:.0}/s, {:.0} % of what disk ({disk:.0}/s) and core \
         ({cpu:.0}/s) allow; {:.1} PUTs and {:.1} syncs a group; {:.0} µs of CPU each | 70 % |\n\
         | one writer's 16 KiB and fdatasync, before and after | {:.0}/s, {:.0}/s | |\n\
         | resident after the start | {:.1} MB | 20 MB |\n\
         | start until both listeners accept, a new folder | {} ms (median of {STARTS}) | 50 ms |\n",
        durable::WRITERS,
        durable.puts_per_sec,
        100.0 * durable.puts_per_sec / disk.min(cpu),
        durable.commits_per_group,
        durable.syncs_per_group,
        durable.cpu_us,
        durable.syncs_per_sec[0],
        durable.syncs_per_sec[1],
        resident as f64 / 1e6,
        at_start.as_millis(),
    );
    println!("\nLoad average at the start: {one_minute}. Servers on core 0, load on core 1.\n\n{tables}");
    if wish.write {
        let when = day_and_commit(context)?;
        let part = format!("Measured on {when}, load average {one_minute} before, one run.\n\n{tables}");
        PAGE.write(context, &part)?;
    }
    Ok(())
}

/// The median start in a new folder, and the memory after it in bytes.
fn starts(context: &Context) -> Result<(Duration, u64), String> {
    let mut starts = (0..STARTS)
        .map(|_| {
            let ours = Fallthrough::start(context, 9)?;
            Ok((ours.started_after(), ours.resident_bytes_at_start()))
        })
        .collect::<Result<Vec<_>, String>>()?;
    starts.sort();
    Ok(starts[STARTS / 2])
}

/// CPU per GET of what is here.
fn hits(ours: &Fallthrough, nginx: &Nginx, scale: usize) -> Result<String, String> {
    let mut table =
        "| CPU per GET | Fallthrough, signed | Fallthrough, public | nginx | ratio, signed | ratio, public |\n\
         | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (size, requests, name) in SIZES {
        let (key, requests) = (format!("{size}.bin"), requests / scale);
        ours.store("bench", &key, &vec![b'x'; size])?;
        let signed = measure(ours.process(), &ours.signed("bench", &key), requests, size)?;
        let public = measure(ours.process(), &ours.unsigned("bench", &key), requests, size)?;
        let theirs = measure(nginx.process(), &nginx.target(&key), requests, size)?;
        let _ = writeln!(
            table,
            "| {name} | {signed:.1} µs | {public:.1} µs | {theirs:.1} µs | {:.2} | {:.2} |",
            theirs / signed,
            theirs / public
        );
    }
    Ok(table)
}

/// Microseconds of the server's CPU for each request.
fn measure(server: &Process, target: &Target, requests: usize, size: usize) -> Result<f64, String> {
    // Warm: connections, caches, the branch predictor.
    client::load(target, CONNECTIONS, requests / 10 / CONNECTIONS + 1, size)?;
    let before = server.cpu()?;
    let each = requests / CONNECTIONS;
    client::load(target, CONNECTIONS, each, size)?;
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / (each * CONNECTIONS) as f64)
}

/// Cold keys: many readers of one, and one after the other.
fn cold(ours: &Fallthrough, nginx: &Nginx, origin: &SlowOrigin, quick: bool) -> Result<String, String> {
    let mut table =
        "| cold keys | Fallthrough | nginx, proxy_cache | goal |\n| --- | --- | --- | --- |\n".to_owned();
    let delays: &[u64] = if quick { &[50] } else { &[50, 8_000] };
    for delay in delays {
        let key = format!("waiters-{delay}");
        let delay = Duration::from_millis(*delay);
        let ours = cold::waiters(origin, &ours.unsigned("cold", &key), delay)?;
        let theirs = cold::waiters(origin, &nginx.target(&format!("cold/{key}")), delay)?;
        let cell = |seen: cold::Waited| {
            let calls = if seen.calls == 1 { "call" } else { "calls" };
            format!("{} origin {calls}, p50 = origin + {:.1} ms", seen.calls, millis(seen.p50_over_origin))
        };
        let _ = writeln!(
            table,
            "| {} readers of one key, origin of {} ms | {} | {} | 1 call, + 10 ms |",
            cold::WAITERS,
            delay.as_millis(),
            cell(ours),
            cell(theirs)
        );
    }
    let misses = if quick { 100 } else { 1_000 };
    let (direct, _) = cold::one_by_one(misses, None, |n| origin.target(&format!("direct-{n}")))?;
    let through =
        cold::one_by_one(misses, Some(ours.process()), |n| ours.unsigned("cold", &format!("miss-{n}")))?;
    let theirs =
        cold::one_by_one(misses, Some(nginx.process()), |n| nginx.target(&format!("cold/miss-{n}")))?;
    let cell = |(p50, cpu): (Duration, Option<Duration>)| {
        let cpu = cpu.unwrap_or_default().as_micros();
        format!("+ {:.2} ms, {cpu} µs of CPU", millis(p50.saturating_sub(direct)))
    };
    let _ = writeln!(
        table,
        "| a miss of {} KB, p50 over the direct origin's {:.2} ms | {} | {} | + 0.7 ms, 200 µs |",
        origin::SIZE / 1000,
        millis(direct),
        cell(through),
        cell(theirs)
    );
    Ok(table)
}

/// A client that asks for what is not there, beside a reader of what is.
fn storm(ours: &Fallthrough, origin: &SlowOrigin, keys: usize) -> Result<String, String> {
    let size = 16 << 10;
    ours.store("bench", "warm.bin", &vec![b'x'; size])?;
    let seen = storm::measure(ours, origin, keys, (&ours.unsigned("bench", "warm.bin"), size))?;
    let [calm, meanwhile] = [seen.calm, seen.meanwhile].map(|both| both.map(millis));
    Ok(format!(
        "\n| one client asks a public bucket for {} keys that nobody has | result | goal |\n| --- | --- | --- |\n\
         | with a budget of {} a day | {} requests to the origin, {} answers 503 | {} |\n\
         | a hit of 16 KiB meanwhile, one connection | p50 {:.2} ms, p99 {:.2} ms; before {:.2} ms and {:.2} ms: p99 × {:.1} | × 2 |\n",
        seen.keys,
        storm::BUDGET,
        seen.calls,
        seen.refused,
        storm::BUDGET,
        meanwhile[0],
        meanwhile[1],
        calm[0],
        calm[1],
        meanwhile[1] / calm[1],
    ))
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

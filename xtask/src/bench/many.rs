//! `cargo xtask bench --objects N`: one bucket with very many small objects. How fast they are stored, what a page of a
//! list costs, how much memory and disk they take, and how long a start takes with them, also after kill -9 under load.
//!
//! Keys are written in an order that jumps about, which is the hard one for an ordered index.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::client::{Connection, together};
use super::fallthrough::Fallthrough;
use super::process::fresh;
use super::{Wish, millis, process};
use crate::Context;
use crate::page::{Page, day_and_commit};

const PAGE: Page = Page {
    path: "docs/performance.md",
    begin: "<!-- many objects: written by `cargo xtask bench --objects N --write` -->",
    end: "<!-- end of many objects -->",
};

/// Connections that write at the same time.
const WRITERS: usize = 64;
/// Keys of one common prefix.
const FOLDER: usize = 1_000;
/// Pages of each kind, of which the median is told.
const PAGES: usize = 15;
/// Starts of each kind: after a stop in order, and after a kill under load.
const STARTS: usize = 5;
/// PUTs before the kill.
const BEFORE_KILL: usize = 5_000;
/// A start after a kill takes less, or the run fails.
const START_MAX: Duration = Duration::from_secs(2);

/// Measures and prints a table in Markdown.
///
/// # Errors
/// A program is missing or did not answer as it should; the page cannot be written.
pub(crate) fn run(context: &Context, objects: usize, wish: Wish) -> Result<(), String> {
    process::pin_the_load(&context.root)?;
    let folder = fresh(context, "many")?;
    std::fs::write(folder.join("fallthrough.toml"), "[bucket.bench]\n").map_err(|error| error.to_string())?;
    let measured = measure(context, &folder, objects);
    let _ = std::fs::remove_dir_all(&folder); // Some GB; what is left of it is overwritten by the next run.
    let table = measured?;
    println!("\n{table}");
    if wish.write {
        let load = process::load_average(2);
        let part = format!(
            "Measured on {}; load average of the last quarter of an hour {load}, this run included.\n\n{table}",
            day_and_commit(context)?
        );
        PAGE.write(context, &part)?;
    }
    Ok(())
}

fn measure(context: &Context, folder: &Path, objects: usize) -> Result<String, String> {
    let mut table = Table::default();
    let mut ours = Fallthrough::start_in(context, folder)?;
    let resident = ours.resident_bytes_at_start();
    table.row("resident before", format!("{:.1} MB", resident as f64 / 1e6));
    store(&ours, objects, &mut table)?;
    let loaded = ours.process().resident_bytes()?;
    table.row("resident after the load", format!("{:.1} MB", loaded as f64 / 1e6));
    lists(&ours, objects, &mut table)?;

    // What the system has in memory of the index is dropped at a start: here that is all of it.
    kill_under_load(ours, objects)?;
    ours = Fallthrough::start_in(context, folder)?;
    let first = ours.started_after();
    ours.stop()?;
    let (data, files) = size(&folder.join("data")).map_err(|error| format!("data: {error}"))?;
    let per_object = data as f64 / objects as f64;
    table.row("data on the disk", format!("{:.2} GB, {per_object:.0} bytes an object", data as f64 / 1e9));
    table.row("files", files.to_string());
    let mut starts = Vec::new();
    for _ in 1..STARTS {
        ours = Fallthrough::start_in(context, folder)?;
        starts.push(ours.started_after());
        ours.stop()?;
    }
    ours = Fallthrough::start_in(context, folder)?;
    starts.push(ours.started_after());
    table.row(&format!("start until both listeners accept, {STARTS} times"), median_and_worst(&mut starts));
    let resident = ours.resident_bytes_at_start();
    table.row("resident right after the start", format!("{:.1} MB", resident as f64 / 1e6));
    let took = ours.process().until_idle()?;
    let resident = ours.process().resident_bytes()?;
    let what = "resident once the sweep of the start has ended";
    table.row(what, format!("{:.1} MB, after {:.0} s", resident as f64 / 1e6, took.as_secs_f64()));
    lists_cold(&ours, objects, &mut table)?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        kill_under_load(ours, objects)?;
        ours = Fallthrough::start_in(context, folder)?;
        starts.push(ours.started_after());
        page(&ours, "", FOLDER.min(objects))?;
    }
    let what = "start after kill -9 at the end of the load, the whole index in the system's memory";
    table.row(what, format!("{} ms", first.as_millis()));
    table.row(&format!("start after kill -9 under load, {STARTS} more times"), median_and_worst(&mut starts));
    let worst = starts.into_iter().fold(first, Duration::max);
    if worst >= START_MAX {
        return Err(format!("a start after kill -9 took {} ms", worst.as_millis()));
    }
    Ok(table.text)
}

/// Sorts and tells.
fn median_and_worst(times: &mut [Duration]) -> String {
    times.sort();
    let [median, worst] = [times.len() / 2, times.len() - 1].map(|n| times[n].as_millis());
    format!("{median} ms at the median, {worst} ms at most")
}

/// A table of figures.
struct Table {
    text: String,
}

impl Default for Table {
    fn default() -> Self {
        Self { text: "| what | result |\n| --- | --- |\n".to_owned() }
    }
}

impl Table {
    fn row(&mut self, what: &str, result: String) {
        println!("{what}: {result}");
        self.text.push_str(&format!("| {what} | {result} |\n"));
    }
}

/// The key that is written as the `n`th.
fn key(n: usize, objects: usize) -> String {
    // Prime, and so all numbers come once, whatever their number is.
    let n = n * 1_000_000_007 % objects;
    format!("{:05}/{:05}", n / FOLDER, n % FOLDER)
}

/// 100 bytes to 1 KiB.
fn body(n: usize) -> Vec<u8> {
    vec![b'x'; 100 + n * 7_919 % 925]
}

/// PUTs all objects.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn store(ours: &Fallthrough, objects: usize, table: &mut Table) -> Result<(), String> {
    let next = AtomicUsize::new(0);
    let tenths = Mutex::new(Vec::new());
    let (cpu, syncs, start) = (ours.process().cpu()?, groups(ours)?, Instant::now());
    together(WRITERS, |_| {
        let mut connection = Connection::open(ours.address())?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= objects {
                return Ok(());
            }
            connection.exchange(&ours.put("bench", &key(n, objects), &body(n)).request, 0)?;
            if (n + 1).is_multiple_of(objects.div_ceil(10)) {
                let elapsed = start.elapsed();
                println!("{} objects after {:.0} s", n + 1, elapsed.as_secs_f64());
                tenths.lock().map_err(|_| "poisoned")?.push(elapsed);
            }
        }
    })?;
    let took = start.elapsed();
    let (cpu, after) = (ours.process().cpu()? - cpu, groups(ours)?);
    let each = cpu.as_secs_f64() * 1e6 / objects as f64;
    let [puts_a_group, syncs_a_group] =
        [objects as f64 / (after[0] - syncs[0]), (after[1] - syncs[1]) / (after[0] - syncs[0])];
    let rate = objects as f64 / took.as_secs_f64();
    table.row(
        &format!("durable PUTs, {WRITERS} connections"),
        format!(
            "{rate:.0}/s, {each:.0} µs of CPU each; {puts_a_group:.1} PUTs and {syncs_a_group:.1} syncs a group"
        ),
    );
    let tenths = tenths.into_inner().map_err(|_| "poisoned")?;
    if let ([first, .., before, last], tenth) = (tenths.as_slice(), objects.div_ceil(10) as f64) {
        let (first, last) = (tenth / first.as_secs_f64(), tenth / (*last - *before).as_secs_f64());
        table.row("of these the first and the last tenth", format!("{first:.0}/s and {last:.0}/s"));
    }
    Ok(())
}

fn groups(ours: &Fallthrough) -> Result<[f64; 2], String> {
    Ok([ours.metric("store_commit_groups_total")?, ours.metric("store_index_syncs_total")?])
}

/// Pages of the list, each kind several times.
fn lists(ours: &Fallthrough, objects: usize, table: &mut Table) -> Result<(), String> {
    let at = |n: usize| format!("{:05}%2F{:05}", n / FOLDER, n % FOLDER);
    let (folders, last) = (objects.div_ceil(FOLDER), objects.saturating_sub(FOLDER + 1));
    let middle = format!("start-after={}", at(objects / 2 - 1));
    let kinds = [
        ("the first 1,000 keys", String::new(), FOLDER),
        ("1,000 keys in the middle", middle.clone(), FOLDER),
        ("the last 1,000 keys", format!("start-after={}", at(last)), FOLDER),
        ("common prefixes, the first page", "delimiter=%2F".to_owned(), folders.min(FOLDER)),
        (
            "common prefixes, from the middle of one on",
            format!("delimiter=%2F&start-after={}", at(objects / 2 + 7)),
            (folders - objects / 2 / FOLDER - 1).min(FOLDER),
        ),
        ("1 key in the middle", format!("max-keys=1&{middle}"), 1),
    ];
    for (what, query, names) in kinds {
        let (cpu, rows) = (ours.process().cpu()?, ours.metric("store_listed_rows_total")?);
        let mut times = (0..PAGES).map(|_| page(ours, &query, names)).collect::<Result<Vec<_>, _>>()?;
        let cpu = (ours.process().cpu()? - cpu).as_secs_f64() * 1e3 / PAGES as f64;
        let rows = (ours.metric("store_listed_rows_total")? - rows) / PAGES as f64;
        times.sort();
        let p50 = millis(times[PAGES / 2]);
        let result = format!("{p50:.1} ms, {cpu:.1} ms of CPU, {rows:.0} rows read for {names} names");
        table.row(&format!("list: {what}"), result);
    }
    Ok(())
}

/// The first pages after a start.
fn lists_cold(ours: &Fallthrough, objects: usize, table: &mut Table) -> Result<(), String> {
    let folders = objects.div_ceil(FOLDER).min(FOLDER);
    let (keys, prefixes) = (page(ours, "", FOLDER.min(objects))?, page(ours, "delimiter=%2F", folders)?);
    let result = format!("{:.1} ms and {:.1} ms", millis(keys), millis(prefixes));
    table.row("the first list after the start: keys, and common prefixes", result);
    Ok(())
}

/// How long a page took that has to have so many names.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn page(ours: &Fallthrough, query: &str, names: usize) -> Result<Duration, String> {
    let and = if query.is_empty() { "" } else { "&" };
    let target = ours.list("bench", &format!("list-type=2{and}{query}"));
    let mut connection = Connection::open(&target.address)?;
    let start = Instant::now();
    let body = connection.fetch(&target.request)?;
    let took = start.elapsed();
    let body = String::from_utf8_lossy(body);
    let found = body.matches("<Key>").count() + body.matches("<CommonPrefixes>").count();
    if found != names {
        return Err(format!("list {query:?}: {found} names, not {names}"));
    }
    Ok(took)
}

/// Kills the server while everybody writes: what is there already, again.
fn kill_under_load(ours: Fallthrough, objects: usize) -> Result<(), String> {
    let (next, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
    together(WRITERS, |_| {
        let mut connection = Connection::open(ours.address())?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n == BEFORE_KILL {
                killed.store(true, Ordering::SeqCst);
                return ours.process().signal("-KILL");
            }
            let put = ours.put("bench", &key(n % objects, objects), &body(n));
            if let Err(error) = connection.exchange(&put.request, 0) {
                // The server is gone, as it has to be.
                return if killed.load(Ordering::SeqCst) { Ok(()) } else { Err(error) };
            }
        }
    })?;
    // Waits for its end.
    drop(ours);
    Ok(())
}

/// Bytes that a folder takes on the disk, and its files.
fn size(folder: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += about.blocks() * 512;
        if about.is_dir() {
            let (more, within) = size(&entry.path())?;
            (bytes, files) = (bytes + more, files + within);
        } else {
            files += 1;
        }
    }
    Ok((bytes, files))
}

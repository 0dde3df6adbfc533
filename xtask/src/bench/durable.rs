//! Durable small PUTs, beside what the disk can do in the same minute.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::{Connection, together};
use super::fallthrough::Fallthrough;

/// Connections that write at the same time.
pub(crate) const WRITERS: usize = 16;
/// Bytes of each object.
pub(crate) const SIZE: usize = 16 << 10;

/// What a run of PUTs showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durable {
    /// Acknowledged PUTs a second.
    pub(crate) puts_per_sec: f64,
    /// Commits that shared one durable transaction, on average.
    pub(crate) commits_per_group: f64,
    /// Syncs of the index that one such transaction took.
    pub(crate) syncs_per_group: f64,
    /// Microseconds of the server's CPU for each PUT.
    pub(crate) cpu_us: f64,
    /// What one writer that appends as many bytes and calls fdatasync reaches: before and after.
    pub(crate) syncs_per_sec: [f64; 2],
}

impl Durable {
    /// What the disk allows by the mean of the two rates: as many PUTs for each group's syncs as there are
    /// writers.
    pub(crate) fn disk_bound_per_sec(&self) -> f64 {
        WRITERS as f64 * self.syncs_per_sec.iter().sum::<f64>() / 2.0 / self.syncs_per_group
    }

    /// What the one core allows that the server has.
    pub(crate) fn cpu_bound_per_sec(&self) -> f64 {
        1e6 / self.cpu_us
    }
}

/// PUTs `each` objects on each connection, with the disk's rate measured in `folder` right before and after.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn measure(ours: &Fallthrough, folder: &Path, each: usize) -> Result<Durable, String> {
    let body: Vec<u8> = (0..SIZE).map(|n| (n * 31 % 251) as u8).collect();
    let before = sync_rate(folder, &body)?;
    let counters = || {
        Ok::<_, String>([
            ours.metric("store_commits_total")?,
            ours.metric("store_commit_groups_total")?,
            ours.metric("store_index_syncs_total")?,
        ])
    };
    let (count, cpu, start) = (counters()?, ours.process().cpu()?, Instant::now());
    together(WRITERS, |writer| {
        let mut connection = Connection::open(ours.address())?;
        (0..each).try_for_each(|n| {
            let put = ours.put("bench", &format!("durable/{writer}/{n}"), &body);
            connection.exchange(&put.request, 0)
        })
    })?;
    let (took, cpu, after) = (start.elapsed(), ours.process().cpu()? - cpu, counters()?);
    let [commits, groups, syncs] = std::array::from_fn(|n| after[n] - count[n]);
    let puts = (WRITERS * each) as f64;
    Ok(Durable {
        puts_per_sec: puts / took.as_secs_f64(),
        commits_per_group: commits / groups,
        syncs_per_group: syncs / groups,
        cpu_us: cpu.as_secs_f64() * 1e6 / puts,
        syncs_per_sec: [before, sync_rate(folder, &body)?],
    })
}

/// Appends `body` and syncs for a second, one after the other, as a single writer would; syncs a second.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn sync_rate(folder: &Path, body: &[u8]) -> Result<f64, String> {
    let path = folder.join("sync-rate");
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = std::fs::File::create(&path).map_err(io)?;
    let (start, mut syncs) = (Instant::now(), 0u32);
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all(body).map_err(io)?;
        file.sync_data().map_err(io)?;
        syncs += 1;
    }
    let rate = f64::from(syncs) / start.elapsed().as_secs_f64();
    std::fs::remove_file(&path).map_err(io)?;
    Ok(rate)
}

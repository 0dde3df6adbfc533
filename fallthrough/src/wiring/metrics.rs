//! The metrics as Prometheus reads them: the recorder, and what is known about the process itself.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use fallthrough_store::StoreStatus;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::failure::Failure;

/// Bounds of duration histograms, in seconds: from a hit in memory to an image model at work.
const DURATION_BOUNDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0,
    120.0,
];

/// Renders all metrics of the process.
#[derive(Clone, Debug)]
pub(crate) struct MetricsPage {
    handle: PrometheusHandle,
    data: PathBuf,
}

impl MetricsPage {
    /// Installs the recorder of the process. `data` is the folder whose disk's free space is told.
    ///
    /// # Errors
    /// There is a recorder already.
    pub(crate) fn install(data: &Path) -> Result<Self, Failure> {
        let broken = |error: metrics_exporter_prometheus::BuildError| {
            Failure::new(format!("metrics cannot be recorded: {error}"), "run one server per process")
        };
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BOUNDS)
            .map_err(broken)?
            .install_recorder()
            .map_err(broken)?;
        metrics::gauge!("fallthrough_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle, data: data.to_owned() })
    }

    /// Folds what was recorded since the last time; to be called every few seconds, so that histograms that
    /// nobody reads do not grow.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The whole page, with what the store says of itself.
    pub(crate) fn render(&self, store: &StoreStatus) -> String {
        // 0 while the disk fails: commits are refused, reads go on as far as they can.
        metrics::gauge!("fallthrough_store_writable").set(f64::from(u8::from(store.writable)));
        // 0 below the reserve of free space: bodies are refused.
        metrics::gauge!("fallthrough_store_accepts_writes").set(f64::from(u8::from(store.accepts_writes)));
        metrics::gauge!("fallthrough_store_accepts_fills").set(f64::from(u8::from(store.accepts_fills)));
        metrics::gauge!("fallthrough_store_index_bytes").set(as_float(store.index_bytes));
        metrics::gauge!("fallthrough_memory_cache_bytes").set(as_float(store.hot_bytes));
        // Commits, the groups that were made durable together, and the syncs which that took: what a slow
        // disk costs, and what grouping saves.
        metrics::counter!("fallthrough_store_commits_total").absolute(store.commits);
        metrics::counter!("fallthrough_store_commit_groups_total").absolute(store.commit_groups);
        metrics::counter!("fallthrough_store_index_syncs_total").absolute(store.index_syncs);
        // Beside the lists that were answered: whether they walk over more than they show.
        metrics::counter!("fallthrough_store_listed_rows_total").absolute(store.listed_rows);
        metrics::gauge!("fallthrough_quarantined_blobs").set(as_float(store.quarantined));
        metrics::gauge!("fallthrough_negative_answers").set(as_float(store.negatives));
        if let Some(free) = free_bytes(&self.data) {
            metrics::gauge!("fallthrough_store_free_bytes").set(as_float(free));
        }
        let mut page = self.handle.render();
        describe_process(&mut page);
        page
    }
}

/// Bytes that an ordinary user may still write to the disk of `folder`.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// `process_*`, as Prometheus' own client libraries name them. What /proc does not tell is left out.
fn describe_process(page: &mut String) {
    let mut line = |name: &str, kind: &str, value: f64| {
        let _ = write!(page, "# TYPE {name} {kind}\n{name} {value}\n");
    };
    let ticks = as_float(rustix::param::clock_ticks_per_second());
    let page_bytes = as_float(rustix::param::page_size() as u64);
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
        line("process_cpu_seconds_total", "counter", (field(14) + field(15)) / ticks);
        line("process_threads", "gauge", field(20));
        line("process_virtual_memory_bytes", "gauge", field(23));
        line("process_resident_memory_bytes", "gauge", field(24) * page_bytes);
        if let Some(boot) = boot_time_secs() {
            line("process_start_time_seconds", "gauge", boot + field(22) / ticks);
        }
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        line("process_open_fds", "gauge", as_float(descriptors.count() as u64));
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        line("process_max_fds", "gauge", as_float(limit));
    }
}

fn boot_time_secs() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn as_float(number: u64) -> f64 {
    number as f64
}

//! The background sweep: what crashes and removed buckets left behind is taken away.

use fallthrough_store::Store;
use tokio_util::sync::CancellationToken;

/// Sweeps once, and again whenever a bucket was removed or a shadow cleared, until told to stop. A sweep that fails is told of
/// and tried again at the next occasion: garbage is no danger, only space.
///
/// Each finished sweep counts in `fallthrough_store_sweeps_total`.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    loop {
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = store.sweep() => swept,
        };
        match swept {
            Ok(report) => {
                let removed = report.staging_removed + report.blobs_removed;
                metrics::counter!("fallthrough_store_swept_files_total").increment(removed);
                metrics::counter!("fallthrough_store_sweeps_total").increment(1);
                if removed > 0 {
                    tracing::info!(
                        staging = report.staging_removed,
                        blobs = report.blobs_removed,
                        "swept what an earlier run left behind"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the sweep stopped half way");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = store.sweep_due() => {}
        }
    }
}

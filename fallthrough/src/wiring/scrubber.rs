//! The scrubber's task: what is kept is read again and again and compared with its checksums.

use std::future::Future;

use fallthrough_bucket::{Engine, ScrubOptions};
use tokio_util::sync::CancellationToken;

use crate::settings::StoreSettings;

/// Runs the scrubber at the pace of the settings until told to stop; then it is written down where it is.
pub(crate) fn run(
    engine: Engine,
    store: &StoreSettings,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let options = ScrubOptions { bytes_per_second: store.scrub_bytes_per_second, every: store.scrub_every };
    async move { engine.run_scrubber(options, stop).await }
}

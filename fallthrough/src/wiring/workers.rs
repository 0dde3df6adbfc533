//! What works in the background until it is told to stop.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Tasks, each with what it is called where it panics.
#[derive(Debug, Default)]
pub(super) struct Workers(Vec<(&'static str, JoinHandle<()>)>);

impl Workers {
    /// Starts one, which ends by itself once it was told to.
    pub(super) fn start(&mut self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.push((what, TaskTracker::new().spawn(work)));
    }

    /// Waits for the end of all.
    pub(super) async fn ended(self) {
        for (what, task) in self.0 {
            if task.await.is_err() {
                tracing::error!("{what} panicked");
            }
        }
    }
}

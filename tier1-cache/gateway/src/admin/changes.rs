//! Changes that are made whole: a caller that hangs up ends its wait, not the change.
//!
//! What follows a commit (an access key that must be forgotten, fills that are superseded) would be lost with the
//! caller's connection if it ran there. So each change is a task of its own, owned by the admin API.

use std::future::Future;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::admin::answer::ApiError;

/// Changes under way at one time; one more is refused. A change is a commit or two, seldom a list of an origin.
const UNDER_WAY_MAX: usize = 64;

/// The changes under way. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { tasks: TaskTracker::new(), places: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }
    }
}

impl Changes {
    /// Runs `change` to its end, also if the returned future is dropped after its first poll.
    ///
    /// # Errors
    /// The change's own; 503 if too many are under way or the server stops; 500 if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        // Counts as a task: whoever waits for the end either waits for this one, or was told first.
        let token = self.tasks.token();
        if self.tasks.is_closed() {
            return Err(busy("the server stops", "try again when it runs"));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(busy("too many changes are under way", "try again in a while"));
        };
        let task = self.tasks.spawn(async move {
            let done = change.await;
            drop(place);
            done
        });
        drop(token);
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a change of the admin API broke off");
            Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "the change broke off, and may have been made in part",
                "look at the server's log, and report it",
            ))
        })
    }

    /// Takes no more changes, and returns when those under way have ended. Each is bounded by the store's and the
    /// origins' own deadlines.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn busy(message: &str, mend: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "slow_down", message, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_change_goes_on_when_nobody_waits_for_it() {
        let changes = Changes::default();
        let (go, held) = oneshot::channel::<()>();
        let (done, made) = oneshot::channel();
        let call = changes.run(async move {
            held.await.expect("it is told to go on");
            done.send(()).expect("somebody looks");
            Ok(())
        });
        assert!(call.now_or_never().is_none(), "polled once and dropped");
        go.send(()).expect("the change is still there");
        changes.end().await;
        made.await.expect("it was made");
    }

    #[tokio::test]
    async fn changes_are_bounded_and_none_begins_after_the_end() {
        let changes = Changes::default();
        let (go, held) = tokio::sync::watch::channel(());
        for _ in 0..UNDER_WAY_MAX {
            let mut held = held.clone();
            let call = changes.run(async move {
                // Ends with its sender.
                let _ = held.changed().await;
                Ok(())
            });
            assert!(call.now_or_never().is_none());
        }
        let refused = changes.run(async { Ok(()) }).await.expect_err("one too many");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(go);
        changes.end().await;
        let refused = changes.run(async { Ok(()) }).await.expect_err("it has ended");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn a_change_that_panics_is_an_error() {
        let changes = Changes::default();
        let failed = changes.run::<()>(async { panic!("planted") }).await.expect_err("it broke off");
        assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
        changes.end().await;
    }
}

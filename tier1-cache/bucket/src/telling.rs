//! How a fill tells its progress: one teller, any number of listeners, woken in the order in which they began
//! to wait.
//!
//! The order is why this is not `tokio::sync::watch`, which wakes in a random one: who came first is served
//! first, and a run under virtual time can be repeated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::reader::Progress;

#[derive(Debug)]
struct Shared {
    told: Mutex<Told>,
    changed: Notify,
}

#[derive(Debug)]
struct Told {
    progress: Progress,
    /// The teller is gone: nothing will change any more.
    silent: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fill's side.
#[derive(Debug)]
pub(crate) struct Teller(Arc<Shared>);

/// A reader's side. Clones listen for themselves.
#[derive(Clone, Debug)]
pub(crate) struct Listener(Arc<Shared>);

/// The teller went away without saying what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence;

impl Teller {
    pub(crate) fn new(progress: Progress) -> Self {
        let told = Mutex::new(Told { progress, silent: false });
        Self(Arc::new(Shared { told, changed: Notify::new() }))
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.clone())
    }

    /// What was told last.
    pub(crate) fn last(&self) -> Progress {
        self.0.lock().progress.clone()
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    /// Tells how far it is now.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock().progress);
        self.0.changed.notify_waiters();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.lock().silent = true;
        self.0.changed.notify_waiters();
    }
}

impl Listener {
    /// What was told last.
    pub(crate) fn last(&self) -> Progress {
        self.0.lock().progress.clone()
    }

    /// Waits until what is told is `enough`.
    ///
    /// # Errors
    /// [`Silence`].
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn hear(&self, enough: impl Fn(&Progress) -> bool) -> Result<Progress, Silence> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that nothing is missed in between.
            changed.as_mut().enable();
            {
                let told = self.0.lock();
                if enough(&told.progress) {
                    return Ok(told.progress.clone());
                }
                if told.silent {
                    return Err(Silence);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Wake, Waker};

    use futures::FutureExt as _;

    use super::*;
    use crate::reader::Stage;

    fn at(readable: u64) -> Progress {
        Progress { stage: Stage::Asking, readable }
    }

    /// Writes down that it was woken.
    struct Bell(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn listeners_are_woken_in_the_order_in_which_they_came() {
        let teller = Teller::new(at(0));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let listeners: Vec<Listener> = (0..70).map(|_| teller.listen()).collect();
        let mut waiting: Vec<_> =
            listeners.iter().map(|one| Box::pin(one.hear(|told| told.readable >= 5))).collect();
        let mut poll_all = || {
            let polled = waiting.iter_mut().zip(0..).map(|(one, n)| {
                let bell = Waker::from(Arc::new(Bell(n, woken.clone())));
                one.as_mut().poll(&mut Context::from_waker(&bell))
            });
            polled.collect::<Vec<_>>()
        };
        assert!(poll_all().iter().all(Poll::is_pending));
        for readable in [3, 7] {
            teller.tell(|told| told.readable = readable);
            assert_eq!(*woken.lock().unwrap(), (0..70).collect::<Vec<_>>(), "at {readable}");
            woken.lock().unwrap().clear();
            if readable < 5 {
                assert!(poll_all().iter().all(Poll::is_pending), "it is not enough");
            }
        }
        let heard =
            poll_all().into_iter().map(|heard| matches!(heard, Poll::Ready(Ok(told)) if told.readable == 7));
        assert!(heard.into_iter().all(|heard| heard));
    }

    #[tokio::test]
    async fn a_teller_that_goes_away_is_noticed() {
        let teller = Teller::new(at(0));
        let (early, late) = (teller.listen(), teller.listen());
        let waiting = early.hear(|told| told.readable > 0);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(teller);
        assert_eq!(waiting.await.map(|told| told.readable), Err(Silence));
        assert_eq!(late.hear(|told| told.readable > 0).await.map(|told| told.readable), Err(Silence));
        // What was told before still counts.
        assert_eq!(late.hear(|told| told.readable == 0).await.map(|told| told.readable), Ok(0));
    }
}

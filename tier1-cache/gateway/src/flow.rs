//! One piece at a time: the next piece of an answer is made when the socket has taken the one before.
//!
//! hyper asks a body for more as long as less than a buffer of it waits to be written. In pieces as large as
//! reading a file wants them, a client that takes nothing would so hold several. Here it holds one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// The pace of one connection's answers, shared by the body above hyper and the socket below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A piece was handed out, and not all of it has gone into the socket.
    underway: AtomicBool,
    next: AtomicWaker,
}

impl Flow {
    /// A piece is on its way from the body to the socket.
    pub(crate) fn handed_out(&self) {
        self.state.underway.store(true, Ordering::Release);
    }

    /// The socket was flushed, which hyper does when nothing waits in front of it any more.
    pub(crate) fn flushed(&self) {
        if self.state.underway.swap(false, Ordering::AcqRel) {
            self.state.next.wake();
        }
    }

    /// Ready when the next piece may be made.
    pub(crate) fn poll_clear(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.state.underway.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.state.next.register(cx.waker());
        // Looked at again, so that a flush in between is not missed.
        if self.state.underway.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}

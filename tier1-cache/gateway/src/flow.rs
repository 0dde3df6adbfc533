//! One piece at a time: the next piece of an answer is made when the socket has taken the one before.
//!
//! hyper asks a body for more as long as less than a buffer of it waits to be written. In pieces as large as
//! reading a file wants them, a client that takes nothing would so hold several. Here it holds one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
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
    /// One of [`IDLE`], [`ANSWERING`], [`ENDED`].
    answer: AtomicU8,
}

/// All that was answered is in the socket.
const IDLE: u8 = 0;
/// A request is being answered.
const ANSWERING: u8 = 1;
/// The last answer has ended, and some of it may wait in front of the socket.
const ENDED: u8 = 2;

/// An answer that is on its way until this is dropped: kept by its body, which hyper drops when it has all of it.
#[derive(Debug)]
pub(crate) struct Underway(Flow);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.state.answer.store(ENDED, Ordering::Release);
    }
}

impl Flow {
    /// A piece is on its way from the body to the socket.
    pub(crate) fn handed_out(&self) {
        self.state.underway.store(true, Ordering::Release);
    }

    /// A request has come, and its answer is on its way from now on.
    pub(crate) fn begin(&self) -> Underway {
        self.state.answer.store(ANSWERING, Ordering::Release);
        Underway(self.clone())
    }

    /// Whether no answer is on its way: what is written now, hyper writes of its own accord.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.answer.load(Ordering::Acquire) == IDLE
    }

    /// The socket was flushed, which hyper does when nothing waits in front of it any more.
    pub(crate) fn flushed(&self) {
        let _ = self.state.answer.compare_exchange(ENDED, IDLE, Ordering::AcqRel, Ordering::Acquire);
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

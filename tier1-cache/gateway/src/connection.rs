//! The bytes of one connection, watched: what was in the head of a request, and whether the client still reads.
//!
//! hyper 1 takes a request with both Content-Length and Transfer-Encoding by dropping the former, and closes the
//! connection after it. That is allowed (RFC 9112 §6.3) but hides an attempt to smuggle; so the heads are
//! kept until they are parsed, and such a request is refused.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fallthrough_object::{Mutant, planted};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::flow::Flow;
use crate::unparsed::Replaced;

/// What is kept of the bytes that may hold a head.
#[derive(Debug, Default)]
pub(crate) struct HeadTrace {
    bytes: Vec<u8>,
    /// More came than is kept: nothing can be said.
    overflowed: bool,
    /// A body is being read, which is not kept.
    paused: bool,
}

impl HeadTrace {
    /// Forgets the bytes; and their memory, if it is more than most heads need.
    fn forget(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

/// What a trace keeps of its memory between requests.
const KEPT_BYTES: usize = 1024;

/// The trace of one connection, shared by its two halves: the socket below hyper and the service above it.
#[derive(Clone, Debug)]
pub(crate) struct SharedTrace {
    trace: Arc<Mutex<HeadTrace>>,
    max: usize,
}

impl SharedTrace {
    pub(crate) fn new(max: usize) -> Self {
        Self { trace: Arc::default(), max }
    }

    fn lock(&self) -> MutexGuard<'_, HeadTrace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, bytes: &[u8]) {
        let mut trace = self.lock();
        if trace.paused || trace.overflowed {
            return;
        }
        if trace.bytes.len() + bytes.len() > self.max {
            trace.overflowed = true;
            return;
        }
        trace.bytes.extend_from_slice(bytes);
    }

    /// Called when a head has been parsed: whether it held both framings. Stops recording if a body follows.
    ///
    /// A head with Transfer-Encoding that cannot be found in the trace (it was pipelined behind another
    /// request, or is too long) counts as if it held both.
    pub(crate) fn smuggled(&self, headers: &HeaderMap, body_follows: bool) -> bool {
        let mut trace = self.lock();
        let smuggled = headers.contains_key(TRANSFER_ENCODING)
            && (trace.overflowed || held_content_length(&trace.bytes, headers.len()).unwrap_or(true))
            && !planted(Mutant::SmuggledAccepted);
        trace.forget();
        trace.overflowed = false;
        trace.paused = body_follows;
        smuggled
    }

    /// Called when a head has been parsed, before [`SharedTrace::smuggled`]: whether its lines end otherwise than HTTP
    /// has it, or its length is said twice. Both can be read in more than one way by whoever stands in front of us.
    pub(crate) fn ambiguous(&self) -> bool {
        is_ambiguous(&self.lock().bytes) && !planted(Mutant::BareLineFeedAccepted)
    }

    /// Whether the request whose head is being read is a HEAD, as far as can be told.
    pub(crate) fn is_of_head(&self) -> bool {
        let trace = self.lock();
        let blank = trace.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        trace.bytes[blank..].starts_with(b"HEAD ")
    }

    /// Called when the answer is on its way: the next bytes are a head.
    pub(crate) fn resume(&self) {
        self.lock().paused = false;
    }
}

/// Whether the first head of `bytes` has lines that end without a carriage return, or more than one Content-Length.
fn is_ambiguous(bytes: &[u8]) -> bool {
    let (mut within, mut lengths) = (false, 0);
    for line in bytes.split_inclusive(|c| *c == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let (line, bare) = line.strip_suffix(b"\r").map_or((line, true), |line| (line, false));
        if !within {
            // What stands in front may be the end of a body.
            within = line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0");
            if !within {
                continue;
            }
        }
        let name = line.split(|c| *c == b':').next().unwrap_or(line);
        lengths += usize::from(name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()));
        if bare || lengths > 1 {
            return true;
        }
        if line.is_empty() {
            break;
        }
    }
    false
}

/// Whether a head with Transfer-Encoding and `others` headers besides Content-Length had that, too; `None` if it
/// is not found in `bytes`.
///
/// The bytes begin wherever recording did. Behind another request that may be within the head: then too few of its
/// lines are there. Or within a body that nobody read, whose sender chose it: so what looks like the head at the
/// front is not believed alone, and anything behind it that may be the head counts, too.
fn held_content_length(bytes: &[u8], others: usize) -> Option<bool> {
    let mut held = None;
    let mut head = HeadLines::default();
    for line in bytes.split_inclusive(|c| *c == b'\n') {
        // The last line, if it has no end.
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            head.take(line);
        } else if head.has_request_line.is_some() {
            let head = std::mem::take(&mut head);
            let may_be_it = head.is_encoded && head.others >= others;
            held = match held {
                None if may_be_it && head.has_request_line == Some(true) => Some(head.has_length),
                None => return None,
                Some(before) => Some(before || may_be_it && head.has_length),
            };
        }
    }
    held
}

/// Lines up to an empty one.
#[derive(Debug, Default)]
struct HeadLines {
    /// Whether the first line is one; `None` before it.
    has_request_line: Option<bool>,
    is_encoded: bool,
    has_length: bool,
    /// Headers that are not Content-Length.
    others: usize,
}

impl HeadLines {
    fn take(&mut self, line: &[u8]) {
        if self.has_request_line.is_none() {
            self.has_request_line = Some(line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"));
            return;
        }
        let name = line.split(|c| *c == b':').next().unwrap_or(line);
        if name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()) {
            self.has_length = true;
        } else {
            self.others += 1;
            self.is_encoded |= name.eq_ignore_ascii_case(TRANSFER_ENCODING.as_str().as_bytes());
        }
    }
}

/// What a client that is refused may still send before its connection is closed: closed while something on it is unread,
/// it would be reset, and the refusal lost with it.
const LINGER_BYTES: usize = 1024 * 1024;
/// How long it may take for that.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A socket whose reads are traced and whose writes must make progress, and on which hyper's own refusals are replaced by
/// what `refuse` makes of them.
#[derive(Debug)]
pub(crate) struct Watched<S, F> {
    socket: S,
    trace: SharedTrace,
    flow: Flow,
    patience: Duration,
    /// Runs while the client takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
    refuse: F,
    replaced: Option<Replaced>,
    /// Runs while a refused client is listened to, with what it may still say in bytes.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S, F> Watched<S, F> {
    pub(crate) fn new(socket: S, trace: SharedTrace, flow: Flow, patience: Duration, refuse: F) -> Self {
        Self { socket, trace, flow, patience, stuck: None, refuse, replaced: None, lingering: None }
    }

    fn progress<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let until = Instant::now() + self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: FnMut(&[u8]) -> Option<Vec<u8>> + Unpin> Watched<S, F> {
    /// Whether hyper writes a refusal of its own, which begins with `bytes` and is all of them.
    fn is_refusal(&mut self, bytes: &[u8]) -> bool {
        let may_be = self.flow.is_idle() || planted(Mutant::BodyTakenForRefusal);
        if self.replaced.is_none() && may_be {
            let ours = (self.refuse)(bytes);
            self.replaced = ours.map(|ours| Replaced { ours, sent: 0, theirs: bytes.len() });
        }
        self.replaced.as_ref().is_some_and(|replaced| replaced.sent < replaced.ours.len())
    }

    /// Writes what replaces the refusal; then that counts as written.
    fn write_replaced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some(replaced) =
            self.replaced.as_mut().filter(|replaced| replaced.sent < replaced.ours.len())
        {
            let written = Pin::new(&mut self.socket).poll_write(cx, &replaced.ours[replaced.sent..]);
            match ready!(self.progress(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    if let Some(replaced) = &mut self.replaced {
                        replaced.sent += written;
                    }
                }
            }
        }
        Poll::Ready(Ok(self.replaced.as_ref().map_or(0, |replaced| replaced.theirs)))
    }

    /// Ready when a refused client has ended, or had time enough to hear so.
    fn poll_lingered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.replaced.is_none() {
            return Poll::Ready(());
        }
        let until = Instant::now() + LINGER_TIME;
        let begin = || (Box::pin(tokio::time::sleep_until(until)) as Pin<Box<Sleep>>, LINGER_BYTES);
        let (time, left) = self.lingering.get_or_insert_with(begin);
        let mut some = [0; 4096];
        while time.as_mut().poll(cx).is_pending() && *left > 0 {
            let mut read = ReadBuf::new(&mut some);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => *left = left.saturating_sub(read.filled().len()),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Watched<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.trace.record(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S, F> AsyncWrite for Watched<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(&[u8]) -> Option<Vec<u8>> + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_refusal(buf) {
            return self.write_replaced(cx);
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is one slice: it has no body.
        if let [one] = bufs
            && self.is_refusal(one)
        {
            return self.write_replaced(cx);
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        let flushed = self.progress(cx, flushed);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.flow.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let closed = Pin::new(&mut self.socket).poll_shutdown(cx);
            ready!(self.progress(cx, closed))?;
        }
        self.poll_lingered(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"));
        headers
    }

    const BOTH: &str = "PUT /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn both_framings_are_seen_in_any_order_and_case() {
        let rows = [
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", true),
            ("PUT /a HTTP/1.1\r\ncontent-LENGTH:3\r\ntransfer-encoding: chunked\r\n\r\nabc", true),
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 3\r\n", false),
            ("PUT /Content-Length: HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked ; Content-Length: 3\r\n\r\n", false),
            // hyper skips empty lines before a request.
            (&format!("\r\n\r\n{BOTH}"), true),
            ("\r\n\n\r\nPUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            // Not whole: cannot be told, so it is refused.
            ("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", true),
        ];
        for (head, want) in rows {
            let trace = SharedTrace::new(4096);
            for piece in head.as_bytes().chunks(7) {
                trace.record(piece);
            }
            assert_eq!(trace.smuggled(&chunked(), true), want, "{head}");
        }
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_seen() {
        let rows = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", true),
            ("PUT / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 1\r\n\r\n", true),
            ("PUT / HTTP/1.1\r\ncontent-length: 1\r\n\r\na\nb", false),
            // The end of a body that nobody read, and a head behind it.
            ("a\nb\nGET / HTTP/1.1\r\n\r\n", false),
            ("a\nb\nGET / HTTP/1.1\r\nHost: a\n\r\n", true),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", false),
        ];
        for (head, want) in rows {
            let trace = SharedTrace::new(4096);
            trace.record(head.as_bytes());
            assert_eq!(trace.ambiguous(), want, "{head:?}");
        }
    }

    #[test]
    fn a_head_that_came_in_part_with_the_request_before_it_is_not_believed() {
        for cut in 0..=BOTH.len() {
            let trace = SharedTrace::new(4096);
            trace.record(b"GET / HTTP/1.1\r\n\r\n");
            trace.record(&BOTH.as_bytes()[..cut]);
            assert!(!trace.smuggled(&HeaderMap::new(), false));
            trace.resume();
            trace.record(&BOTH.as_bytes()[cut..]);
            assert!(trace.smuggled(&chunked(), true), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_within_a_body_that_nobody_read_does_not_hide_the_next_one() {
        let pretended = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for between in ["", "x", "x\r\n", "\r\n\r\n", "x\r\n\r\n"] {
            let trace = SharedTrace::new(4096);
            trace.record(b"GET / HTTP/1.1\r\nContent-Length: 99\r\n\r\n");
            assert!(!trace.smuggled(&HeaderMap::new(), true));
            trace.resume();
            trace.record(format!("{pretended}{between}{BOTH}").as_bytes());
            assert!(trace.smuggled(&chunked(), true), "{between:?}");
        }
    }

    #[test]
    fn without_transfer_encoding_nothing_is_refused_and_bodies_are_not_kept() {
        let trace = SharedTrace::new(64);
        trace.record(&[b'x'; 1000]);
        assert!(!trace.smuggled(&HeaderMap::new(), true));
        trace.record(&[b'x'; 10]);
        assert!(trace.lock().bytes.is_empty());
        trace.resume();
        trace.record(b"GET");
        assert_eq!(trace.lock().bytes, b"GET");
    }
}

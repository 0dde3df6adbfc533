//! What goes wrong with a request to an origin, and when it has.
//!
//! A fault that is drawn is not yet one that happened: a body may never come to the byte that is flipped in it. Only
//! what happened is counted.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{BodyError, ByteStream};
use fallthrough_shadow::{Method, RawAnswer, Request};
use fallthrough_sim::Fault;
use futures::{Stream, StreamExt as _};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use crate::did::Mode;
use crate::history::Journal;
use crate::origin::Origins;

/// What goes wrong, by the name under which it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Misfortune {
    name: &'static str,
    when: When,
}

/// When it has happened.
#[derive(Clone, Copy, Debug)]
enum When {
    /// With the request.
    Asked,
    /// With an answer that has a body.
    Answered,
    /// When the body has come past this byte of the object.
    Past(u64),
    /// When the body breaks off, or ends before its length.
    Short,
    /// When somebody waits for more of the body.
    Waiting,
}

/// Draws what goes wrong with a request to an origin whose object has `size` bytes, `None` if there is none.
pub(crate) fn draw(
    origins: &Origins,
    request: &Request,
    size: Option<u64>,
) -> (Vec<Fault>, Option<Misfortune>) {
    let dice = &origins.dice;
    let mut faults = Vec::new();
    if origins.plan.mode == Mode::Compute {
        // Programs say what their bodies are, or nothing could tell a wrong one.
        faults.push(Fault::ContentMd5);
    }
    if dice.chance(60) {
        faults.push(Fault::DelayHeaders(Duration::from_micros(dice.below(30_000))));
    }
    if !dice.chance(origins.weather()) {
        return (faults, None);
    }
    let size = size.unwrap_or(0);
    let whole = request.method == Method::Get && (request.range.is_none() || request.attempt > 1);
    let at = dice.below(size + 1);
    let (name, when, fault) = match dice.below(17) {
        0 | 1 => ("5xx", When::Asked, Fault::Status(dice.pick(&[500, 502, 503, 504]))),
        2 => ("busy", When::Asked, Fault::Busy { retry_after: Some("1".to_owned()) }),
        3 => ("hang-up", When::Asked, Fault::HangUp),
        4 => ("no answer", When::Asked, Fault::NoAnswer),
        5 | 6 => ("reset", When::Short, Fault::ResetAt(at)),
        7 => ("truncate", When::Short, Fault::TruncateAt(at)),
        8 => ("end early, unsaid", When::Short, Fault::EndChunkedAt(at)),
        9 => ("stall", When::Waiting, Fault::StallAt(at)),
        10 | 11 => {
            let chunk_bytes = (size / dice.between(2, 200)).max(1);
            let every = Duration::from_millis(dice.between(1, 40));
            ("drip", When::Waiting, Fault::Drip { chunk_bytes, every })
        }
        12 if whole && size > 0 => {
            let at = at.min(size - 1);
            ("flip", When::Past(at), Fault::FlipByteAt(at))
        }
        13 if whole => {
            let length = dice.below(size + 50);
            origins.lied(request.key.as_str(), length);
            ("wrong length", When::Answered, Fault::WrongLength(length))
        }
        14 if whole => ("no length", When::Answered, Fault::NoLength),
        // A provider that is written to is asked what it has, and must say so.
        15 if whole && origins.plan.mode != Mode::Compute && origins.plan.through.is_none() => {
            ("changed etag", When::Answered, Fault::WrongETag(format!("\"{:032x}\"", dice.number())))
        }
        _ => ("slow", When::Asked, Fault::DelayHeaders(Duration::from_millis(dice.between(500, 4000)))),
    };
    faults.push(fault);
    (faults, Some(Misfortune { name, when }))
}

/// The body of an answer, which tells when what its request has drawn happens.
struct Watched<E> {
    body: ByteStream,
    misfortune: Option<Misfortune>,
    journal: Journal,
    /// Where in the object it is, and where it should end, as far as its headers tell.
    at: u64,
    end: Option<u64>,
    /// Dropped with the body.
    _until_the_end: E,
}

impl Misfortune {
    /// Counts it if it happens with the request.
    pub(crate) fn asked(&self, journal: &Journal) {
        if matches!(self.when, When::Asked) {
            journal.count(self.name);
        }
    }
}

/// An answer whose body tells what happens in it, and holds `until_the_end` so long.
pub(crate) fn watched(
    answer: RawAnswer,
    misfortune: Option<Misfortune>,
    journal: &Journal,
    until_the_end: impl Send + Unpin + 'static,
) -> RawAnswer {
    let RawAnswer { status, headers, body } = answer;
    let misfortune = misfortune.filter(|one| status.is_success() && !matches!(one.when, When::Asked));
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let range = text(CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    let at = range.and_then(|(first, _)| first.parse().ok()).unwrap_or(0);
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let mut watched = Watched {
        body,
        misfortune,
        journal: journal.clone(),
        at,
        end: length.map(|length| at + length),
        _until_the_end: until_the_end,
    };
    watched.happens(|when| matches!(when, When::Answered));
    RawAnswer { status, headers, body: watched.boxed() }
}

impl<E> Watched<E> {
    /// Counts the misfortune, once, if it is so.
    fn happens(&mut self, is: impl Fn(When) -> bool) {
        if let Some(misfortune) = self.misfortune.take_if(|misfortune| is(misfortune.when)) {
            self.journal.count(misfortune.name);
        }
    }
}

impl<E: Unpin> Stream for Watched<E> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_next_unpin(cx);
        match &polled {
            Poll::Pending => self.happens(|when| matches!(when, When::Waiting)),
            Poll::Ready(Some(Ok(piece))) => {
                self.at += piece.len() as u64;
                let at = self.at;
                self.happens(|when| matches!(when, When::Past(byte) if at > byte));
            }
            Poll::Ready(Some(Err(_))) => self.happens(|when| matches!(when, When::Short)),
            Poll::Ready(None) => {
                let early = self.end.is_none_or(|end| self.at < end);
                self.happens(|when| early && matches!(when, When::Short));
            }
        }
        polled
    }
}

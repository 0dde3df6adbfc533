//! The rest of a huge object in several ranges at once: where the distance to an origin, and not the line, is what a single
//! stream waits for.
//!
//! Bytes are staged in their order, whichever range is here first, so that readers, digests and a resumption see what they
//! would see of one stream. In memory is at most [`LANES`] times a range for each such object, of which there are at most
//! [`SPREAD_MAX`] at a time. Ranges beside the first one take only places in front of the origin that are free and that
//! work in the background may have. Whatever goes wrong with one of them ends the ranges: the body is resumed in one
//! stream, whose answer says what it means.

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, ETag, RangeSpec};
use fallthrough_shadow::{Outcome, Request};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;

use super::{Attempted, Fetch, bad_answer, broken};
use crate::api::BucketError;
use crate::ask::{Answered, ask, refusal};
use crate::core::admission::Priority;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::FillOrder;
use crate::members::Whom;
use crate::origins::Permit;

/// Ranges of one object on their way at one time.
const LANES: usize = 4;
/// Objects that are fetched so at one time, over all origins.
pub(crate) const SPREAD_MAX: usize = 4;

/// The right to fetch an object in ranges.
pub(super) struct Spread {
    /// Places in front of the origin besides the fill's own.
    places: Vec<Permit>,
    _one_of_few: OwnedSemaphorePermit,
}

/// Why a range did not come.
enum Trouble {
    /// The body is resumed in one stream.
    Resume(BucketError),
    /// So it is, and to its end: this origin does not do what a range asks for.
    InOneStream(BucketError),
}

impl Fetch<'_> {
    /// Where this stream may end and ranges take over; `None`: nowhere.
    pub(super) fn spreads_from(&self) -> Option<u64> {
        let (partial, options) = (self.partial.as_ref()?, &self.engine.inner.options);
        let is_huge = partial.head.size_bytes? >= options.ranges_above_bytes;
        let can = self.order.behind.seekable && partial.found.pin.is_some() && partial.head.kept;
        // What is made of blocks is here already.
        let comes = self.order.from_blocks.is_none() && !self.in_one_stream;
        let wanted = self.order.priority == Priority::Background && comes;
        (is_huge && can && wanted).then(|| partial.staging.len() + options.range_bytes)
    }

    /// The right to go on in ranges, if the stream has come to `from` and there are places for more than one; if not, it
    /// is looked again a range later.
    pub(super) fn spread(&self, from: &mut Option<u64>) -> Option<Spread> {
        let (at, partial) = ((*from)?, self.partial.as_ref()?);
        let (received, range_bytes) = (partial.staging.len(), self.engine.inner.options.range_bytes);
        if received < at || partial.head.size_bytes? <= received.saturating_add(range_bytes) {
            return None;
        }
        *from = Some(received + range_bytes);
        let one_of_few = self.engine.inner.spread.clone().try_acquire_owned().ok()?;
        let places = self.places();
        let enough = !places.is_empty() || planted(Mutant::RangesTakeAnyPlace);
        enough.then_some(Spread { places, _one_of_few: one_of_few })
    }

    fn places(&self) -> Vec<Permit> {
        (1..LANES).map_while(|_| self.order.behind.gate.spare(&self.order.client)).collect()
    }

    /// Fetches the rest, so many ranges at once as there are places.
    ///
    /// # Cancellation
    /// As for a stream: what is staged can be resumed.
    pub(super) async fn in_ranges(&mut self, mut spread: Spread) -> Attempted {
        let origin = self.order.behind.origin.to_string();
        metrics::counter!("fallthrough_fills_in_ranges_total", "origin" => origin).increment(1);
        let range_bytes = self.engine.inner.options.range_bytes.max(1);
        loop {
            let Some(partial) = &self.partial else { return self.ended() };
            let (Some(size), Some(pin)) = (partial.head.size_bytes, partial.found.pin.clone()) else {
                return Attempted::Again(bad_answer("no length and no strong ETag"), None);
            };
            let received = partial.staging.len();
            if received >= size {
                return self.ended();
            }
            let lanes = if planted(Mutant::RangesTakeAnyPlace) { LANES } else { 1 + spread.places.len() };
            let spans = (0..lanes as u64).map(|lane| received + lane * range_bytes);
            let spans = spans.take_while(|start| *start < size);
            let fetches: Vec<BoxFuture<'_, Result<Vec<Bytes>, Trouble>>> = spans
                .map(|start| ByteRange { start, end: (start + range_bytes).min(size) })
                .map(|span| {
                    fetch(self.engine, self.order, self.ranged(span, &pin), span, pin.clone(), size).boxed()
                })
                .collect();
            let fetches = futures::stream::iter(fetches);
            let mut parts = if planted(Mutant::RangesAsTheyCome) {
                fetches.buffer_unordered(lanes).boxed()
            } else {
                fetches.buffered(lanes).boxed()
            };
            while let Some(part) = parts.next().await {
                let pieces = match part {
                    Ok(pieces) => pieces,
                    Err(Trouble::Resume(error)) => return Attempted::Again(error, None),
                    Err(Trouble::InOneStream(error)) => {
                        self.in_one_stream = true;
                        return Attempted::Again(error, None);
                    }
                };
                for piece in pieces {
                    if let Err(attempted) = self.take(piece).await {
                        return attempted;
                    }
                }
            }
            drop(parts);
            // Whoever waits for a place goes first.
            spread.places.clear();
            spread.places = self.places();
        }
    }

    fn ranged(&self, span: ByteRange, pin: &ETag) -> Request {
        let mut request = self.plain_request();
        request.range = Some(RangeSpec::FromTo { first: span.start, last: span.end - 1 });
        request.if_match = Some(pin.clone()).filter(|_| !planted(Mutant::RangesUnpinned));
        request
    }
}

/// One range, in pieces: exactly its bytes, of exactly this object.
async fn fetch(
    engine: &Engine,
    order: &FillOrder,
    request: Request,
    span: ByteRange,
    pin: ETag,
    size: u64,
) -> Result<Vec<Bytes>, Trouble> {
    let behind = &order.behind;
    let Answered { outcome, .. } = ask(engine, behind, request, Whom::Any)
        .await
        .map_err(|unanswered| Trouble::Resume(unanswered.into_error(&behind.gate, &order.client)))?;
    let found = match outcome {
        Outcome::Found(found) => found,
        other => return Err(Trouble::Resume(refusal(other, &behind.gate, &order.client))),
    };
    if found.range != Some(span) {
        return Err(Trouble::InOneStream(bad_answer("another range than was asked for")));
    }
    // A 206 to If-Match may leave the ETag out only if the condition held.
    let same = found.etag.as_ref().is_none_or(|etag| pin.strong_eq(etag)) || planted(Mutant::RangesUnpinned);
    if !same || found.size_bytes.is_some_and(|now| now != size) {
        return Err(Trouble::Resume(bad_answer("a range of another object")));
    }
    let mut body = match found.body {
        Body::Bytes(bytes) => futures::stream::iter([Ok(bytes)]).boxed(),
        Body::Stream(stream) => stream,
        Body::File(_) => return Err(Trouble::InOneStream(bad_answer("a body in a file"))),
    };
    let (mut pieces, mut left) = (Vec::new(), span.len());
    let broke_off = |error: &BodyError| Trouble::Resume(broken(&behind.origin, error));
    loop {
        match tokio::time::timeout(engine.inner.options.stall, body.next()).await {
            Ok(Some(Ok(piece))) if piece.len() as u64 <= left => {
                left -= piece.len() as u64;
                pieces.push(piece);
            }
            Ok(Some(Ok(_))) => return Err(broke_off(&BodyError::TooLong)),
            Ok(Some(Err(error))) => return Err(broke_off(&error)),
            Ok(None) if left == 0 => return Ok(pieces),
            Ok(None) => return Err(broke_off(&BodyError::Incomplete)),
            Err(_) => return Err(broke_off(&BodyError::Stalled)),
        }
    }
}

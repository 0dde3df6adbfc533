//! Which object a key's blocks are of: what is kept says it, or the first answer of the origin.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteStream, ETag, RangeSpec, Timestamp};
use fallthrough_shadow::{Found, Outcome};
use fallthrough_store::{BlockSet, BucketMode, EntryState, ObjectInfo, Provenance};
use futures::StreamExt as _;

use super::run::Arrived;
use super::{Keeping, Pin};
use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::ask::{Answered, ask, refusal};
use crate::behind::Cold;
use crate::core::commit::TableLock as _;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::{Read, SOON, answer, passing};
use crate::head::{Headed, known_info};
use crate::members::Whom;
use crate::origins::Permit;

/// How a reader came to know the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is kept, or on its way.
    Believed,
    /// So it is, but its origin could not be asked whether it is still that one.
    Stale,
    /// This reader has asked for its first block.
    Asked,
}

/// What is known of the object behind a cold key.
pub(super) enum Pinned {
    /// Its blocks may be read.
    Object { pin: Arc<Pin>, how: How },
    /// There is an answer already, or an error.
    Answered(Box<Answer<Object>>),
}

fn answered(report: CacheReport, result: Result<Object, BucketError>) -> Pinned {
    Pinned::Answered(Box::new(answer(report, result)))
}

impl Read<'_> {
    /// The object to read blocks of. Who does not know it asks, one for each key: the others wait for what that brings.
    pub(super) async fn pinned(&self, cold: &Cold) -> Pinned {
        if let Some(pinned) = self.believed_pin(cold).await {
            return pinned;
        }
        let slot = Engine::slot(self.bucket, &self.request.key);
        let turn = self.engine.inner.pinning.take(&slot);
        let Ok(_turn) = tokio::time::timeout(self.engine.inner.options.client_wait, turn).await else {
            let error = BucketError::SlowDown { reason: "still-asking", retry_after: SOON };
            return answered(self.asked(cold, CacheWord::Pass, "range"), Err(error));
        };
        if let Some(pinned) = self.believed_pin(cold).await {
            return pinned;
        }
        self.pin(cold).await
    }

    /// The object whose blocks are on their way or kept, if it is believed that the origin still has it.
    async fn believed_pin(&self, cold: &Cold) -> Option<Pinned> {
        let engine = self.engine;
        let slot = Engine::slot(self.bucket, &self.request.key);
        let known = match self.state() {
            Some(EntryState::Known(info, from)) => Some((info, from)),
            _ => None,
        };
        let contradicts = |pin: &Pin| {
            known.is_some_and(|(info, _)| !is_same(info, &pin.info)) && !planted(Mutant::KnownIgnored)
        };
        // What is on its way was said by the origin a moment ago.
        let on_its_way = engine.inner.flights.with(|flights| {
            let pin = flights.pin(&slot)?.clone();
            let keeps = flights.all(&slot).map(|flight| flight.keep);
            let keeps: Vec<_> = keeps.collect();
            let now = engine.inner.clock.now();
            let is_current = pin.gate_version == self.bucket.gate_version
                && pin.provenance.fresh_until.is_some_and(|until| now < until)
                && engine.inner.fills.with(|fills| keeps.iter().any(|id| fills.may_keep(&slot, *id)));
            is_current.then_some(pin)
        });
        if let Some(pin) = on_its_way.filter(|pin| !contradicts(pin)) {
            return Some(Pinned::Object { pin, how: How::Believed });
        }
        let set = match engine.inner.store.block_set(slot.bucket, &slot.key).await {
            Ok(set) => set?,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "blocks cannot be looked up");
                return None;
            }
        };
        self.believe(cold, set).await
    }

    /// Whether what is kept may be read, once the origin was asked if it is time to.
    async fn believe(&self, cold: &Cold, set: BlockSet) -> Option<Pinned> {
        let engine = self.engine;
        let slot = Engine::slot(self.bucket, &self.request.key);
        let is_ours = set.gate_version == self.bucket.gate_version
            && set.block_bytes == engine.inner.options.block_bytes;
        let pin = Arc::new(Pin::of(set));
        if !is_ours {
            engine.give_up_blocks(&slot, &pin, "another-shadow").await;
            return None;
        }
        let now = engine.inner.clock.now();
        let is_fresh = pin.provenance.fresh_until.is_some_and(|until| now < until);
        let said = match self.state() {
            Some(EntryState::Known(info, from)) => {
                let lately = from.fresh_until.is_some_and(|until| now < until);
                Some((is_same(info, &pin.info), lately))
            }
            _ => None,
        };
        match said {
            // The origin has another one by now.
            Some((false, _)) if !planted(Mutant::KnownIgnored) => {
                engine.give_up_blocks(&slot, &pin, "changed").await;
                return None;
            }
            Some((true, lately)) if is_fresh || lately => {
                return Some(Pinned::Object { pin, how: How::Believed });
            }
            Some((true, _)) => {}
            Some((false, _)) | None if is_fresh || planted(Mutant::BlocksNeverStale) => {
                return Some(Pinned::Object { pin, how: How::Believed });
            }
            Some((false, _)) | None => {}
        }
        let (headed, word) = self.ask_head(cold).await;
        match headed {
            Ok(Headed::Object(info)) if is_same(&info, &pin.info) => {
                Some(Pinned::Object { pin, how: How::Believed })
            }
            Ok(Headed::Overtaken) => Some(Pinned::Answered(Box::new(self.look_again(cold, word)))),
            Ok(Headed::Object(_) | Headed::OnlyFillTells) => {
                engine.give_up_blocks(&slot, &pin, "changed").await;
                None
            }
            Err(BucketError::OriginFailing { .. } | BucketError::SlowDown { .. })
                if self.may_be_stale(&pin, now) =>
            {
                Some(Pinned::Object { pin, how: How::Stale })
            }
            Err(error) => {
                if matches!(error, BucketError::NoSuchKey) {
                    engine.give_up_blocks(&slot, &pin, "absent").await;
                }
                Some(answered(self.asked(cold, word, "range"), Err(error)))
            }
        }
    }

    /// Whether what is kept may be read though its origin cannot be asked.
    fn may_be_stale(&self, pin: &Pin, now: Timestamp) -> bool {
        match self.bucket.settings.mode {
            // As what HEAD said before.
            BucketMode::Migrate => true,
            BucketMode::Cache => pin.provenance.stale_if_error_until.is_some_and(|until| now < until),
            BucketMode::Plain | BucketMode::Compute => false,
        }
    }

    /// Asks for the blocks of the range, of whatever object there is.
    async fn pin(&self, cold: &Cold) -> Pinned {
        let engine = self.engine;
        let inner = &engine.inner;
        let mut report = self.asked(cold, CacheWord::Pass, "range");
        let (Some(client), Some(spec)) = (Engine::fill_share(self.bucket, self.caller), self.request.range)
        else {
            return Pinned::Answered(Box::new(Box::pin(self.may_not_fill(cold)).await));
        };
        let gate = &cold.behind.gate;
        // From before the origin is asked: whoever changes the key from here on is seen.
        let keeping = engine.keeping(&Engine::slot(self.bucket, &self.request.key));
        let permit = match gate.admit(&client, inner.options.client_wait).await {
            Ok(permit) => permit,
            Err(error) => return answered(report, Err(error)),
        };
        report.queued = Some(permit.queued);
        let mut request = self.request_to(cold);
        request.range = Some(in_blocks(spec, inner.options.block_bytes));
        let known = match self.state() {
            Some(EntryState::Known(info, _)) => info.etag.clone(),
            _ => None,
        };
        request.if_match.clone_from(&known);
        let Answered { outcome, asked_at, member } = match ask(engine, &cold.behind, request, Whom::Any).await
        {
            Ok(asked) => asked,
            Err(unanswered) => return answered(report, Err(unanswered.into_error(gate, &client))),
        };
        match outcome {
            Outcome::Found(found) => match (found.range, found.size_bytes, found.etag.clone()) {
                (Some(_), Some(size_bytes), Some(etag))
                    if !etag.is_weak() || planted(Mutant::WeakTagsAreStrong) =>
                {
                    let info = Arc::new(known_info(&found, Some(etag), size_bytes, asked_at));
                    let name = cold.behind.gate.members.name(member).to_string();
                    let provenance = self.provenance(cold, &found, asked_at, name);
                    self.begin(cold, *found, info, provenance, (keeping, permit), report).await
                }
                // The origin does not seek, or nothing pins the range to one object.
                (None | Some(_), ..) => {
                    drop((permit, keeping));
                    Pinned::Answered(Box::new(Box::pin(self.fill(cold, None)).await))
                }
            },
            Outcome::RangeNotSatisfiable { size_bytes } => {
                answered(report, Err(BucketError::RangeNotSatisfiable { size_bytes }))
            }
            Outcome::Changed if known.is_some() => {
                drop((permit, keeping));
                // What HEAD said is outdated: it is asked again, and then for blocks of what there is now.
                let (headed, word) = self.ask_head(cold).await;
                let answer = match headed {
                    Ok(Headed::Object(info)) if info.etag != known => self.look_again(cold, word),
                    Ok(Headed::Overtaken) => self.look_again(cold, word),
                    // It says one thing and does another: no condition, then.
                    Ok(Headed::Object(_) | Headed::OnlyFillTells) => Box::pin(self.fill(cold, None)).await,
                    Err(error) => return answered(self.asked(cold, word, "head"), Err(error)),
                };
                Pinned::Answered(Box::new(answer))
            }
            Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } | Outcome::Changed | Outcome::Invalid => {
                drop((permit, keeping));
                // A fill notes what the origin says and answers for all readers.
                Pinned::Answered(Box::new(Box::pin(self.fill(cold, None)).await))
            }
            other => answered(report, Err(refusal(other, gate, &client))),
        }
    }

    /// The origin's first answer: from here on everybody knows the object.
    async fn begin(
        &self,
        cold: &Cold,
        found: Found,
        info: Arc<ObjectInfo>,
        provenance: Provenance,
        (keeping, permit): (Keeping, Permit),
        report: CacheReport,
    ) -> Pinned {
        let engine = self.engine;
        let size = info.size_bytes;
        let (Some(spec), Some(given)) = (self.request.range, found.range) else {
            drop((permit, keeping));
            return Pinned::Answered(Box::new(self.pass_range(cold).await));
        };
        let Ok(wanted) = spec.resolve(size) else {
            let error = BucketError::RangeNotSatisfiable { size_bytes: Some(size) };
            return answered(report, Err(error));
        };
        let block_bytes = engine.inner.options.block_bytes;
        let pin = Arc::new(Pin {
            gate_version: self.bucket.gate_version,
            block_bytes,
            info: info.clone(),
            provenance,
        });
        let (first, last) = (pin.block_of(wanted.start), pin.block_of(wanted.end.max(1) - 1));
        let covers = given.start <= pin.span(first).start && given.end >= pin.span(last).end;
        let keep = self.bucket.settings.mode == BucketMode::Migrate || !found.freshness.do_not_keep;
        if covers && keep {
            let skip = pin.span(first).start - given.start;
            let arrived = Arrived { body: found.body, skip, permit };
            let order = Arc::new(self.order(cold));
            if engine.take_up(&order, &pin, (first, last), keeping, arrived) {
                return Pinned::Object { pin, how: How::Asked };
            }
            // Too much is on its way already.
            return Pinned::Answered(Box::new(self.pass_range(cold).await));
        }
        if given.start <= wanted.start && given.end >= wanted.end {
            let part = part_of(found.body, wanted.start - given.start, wanted.len());
            let body = crate::pass::passed(engine, part, wanted.len(), permit);
            return answered(report, Ok(passing(info, ObjectBody::Range(wanted, body))));
        }
        // Not what was asked for; maybe what the client asks for is given.
        drop((found, permit, keeping));
        Pinned::Answered(Box::new(self.pass_range(cold).await))
    }

    /// Where blocks come from, and until when they are believed: in `cache` as long as a copy would be, else as long as what
    /// a HEAD says.
    fn provenance(&self, cold: &Cold, found: &Found, asked_at: Timestamp, origin: String) -> Provenance {
        let (rule, options) = (&cold.behind.rule.settings, &self.engine.inner.options);
        let freshness = &found.freshness;
        let is_cache = self.bucket.settings.mode == BucketMode::Cache;
        let ttl = match is_cache {
            true => {
                let of_rule = rule.ttl_secs.map(std::time::Duration::from_secs);
                of_rule.or(freshness.fresh_for).unwrap_or(options.default_ttl)
            }
            false => rule.negative_ttl(options.negative_ttl),
        };
        let fresh_until = asked_at.plus(ttl);
        Provenance {
            origin,
            origin_etag: found.etag.clone(),
            origin_last_modified: found.last_modified,
            asked_at,
            verified: Vec::new(),
            fresh_until: Some(fresh_until),
            stale_if_error_until: freshness.stale_if_error.filter(|_| is_cache).map(|d| fresh_until.plus(d)),
            stale_while_revalidate_until: None,
            edition: rule.edition.clone(),
        }
    }
}

/// Whether two descriptions are of one object.
fn is_same(one: &ObjectInfo, other: &ObjectInfo) -> bool {
    let both = one.etag.as_ref().zip(other.etag.as_ref());
    both.is_some_and(|(one, other): (&ETag, &ETag)| one.strong_eq(other))
        && one.size_bytes == other.size_bytes
}

/// The blocks that a range touches, of an object whose size is not known.
fn in_blocks(spec: RangeSpec, block_bytes: u64) -> RangeSpec {
    let begin = |first: u64| first / block_bytes * block_bytes;
    match spec {
        RangeSpec::FromTo { first, last } => {
            let last = begin(last).saturating_add(block_bytes - 1);
            RangeSpec::FromTo { first: begin(first), last }
        }
        RangeSpec::From { first } => RangeSpec::From { first: begin(first) },
        // Where its first block begins depends on the size: so much more has it in any case.
        RangeSpec::Suffix { len: 0 } => spec,
        RangeSpec::Suffix { len } => RangeSpec::Suffix { len: len.saturating_add(block_bytes - 1) },
    }
}

/// `len` bytes of a body behind the first `skip`.
fn part_of(body: Body, skip: u64, len: u64) -> Body {
    let pieces: ByteStream = match body {
        Body::Bytes(bytes) => Box::pin(futures::stream::iter([Ok(bytes)])),
        Body::Stream(pieces) => pieces,
        Body::File(_) => Box::pin(futures::stream::iter([Err(BodyError::Origin)])),
    };
    let part = futures::stream::unfold((pieces, skip, len), |(mut pieces, mut skip, left)| async move {
        if left == 0 {
            return None;
        }
        loop {
            let piece = match pieces.next().await? {
                Ok(piece) => super::run::skip_front(piece, &mut skip),
                Err(error) => return Some((Err(error), (pieces, skip, 0))),
            };
            if !piece.is_empty() {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                let piece: Bytes = piece.slice(..len);
                return Some((Ok(piece), (pieces, skip, left - len as u64)));
            }
        }
    });
    Body::Stream(Box::pin(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_asked_for_in_whole_blocks() {
        let cases = [
            (RangeSpec::FromTo { first: 0, last: 0 }, RangeSpec::FromTo { first: 0, last: 9 }),
            (RangeSpec::FromTo { first: 19, last: 20 }, RangeSpec::FromTo { first: 10, last: 29 }),
            (RangeSpec::FromTo { first: 5, last: u64::MAX }, RangeSpec::FromTo { first: 0, last: u64::MAX }),
            (RangeSpec::From { first: 25 }, RangeSpec::From { first: 20 }),
            (RangeSpec::Suffix { len: 0 }, RangeSpec::Suffix { len: 0 }),
            (RangeSpec::Suffix { len: 3 }, RangeSpec::Suffix { len: 12 }),
        ];
        for (asked, sent) in cases {
            assert_eq!(in_blocks(asked, 10), sent, "{asked:?}");
        }
        // Whatever the size is, the block in which a suffix begins is there from its first byte.
        for (size, len) in [(100, 3), (101, 3), (109, 10), (5, 3), (110, 11)] {
            let RangeSpec::Suffix { len: asked } = in_blocks(RangeSpec::Suffix { len }, 10) else { panic!() };
            let (given, wanted) = (u64::saturating_sub(size, asked), u64::saturating_sub(size, len));
            assert!(given <= wanted / 10 * 10, "{size} {len}");
        }
    }
}

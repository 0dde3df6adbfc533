//! Reading by part what came from a provider: only the provider knows where the parts of its objects begin.
//!
//! A fill brings bytes and an ETag, not the sizes of parts, and nothing is guessed from the ETag but that there are
//! parts. So the provider is asked for each part that is read: one HEAD for an object that is here, whose bytes are
//! then served from here; for one that is not, the part is passed through, unkept, as a range is.

use std::sync::Arc;

use fallthrough_object::{ByteRange, ETag, Timestamp};
use fallthrough_shadow::{Dialect, Found, Method, Outcome};
use fallthrough_store::{EntryState, ObjectInfo};
use fallthrough_wire::conditions::Verdict;

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::ask::{Answered, ask, refusal};
use crate::behind::Cold;
use crate::core::keystate::{ColdHead, Situation, on_cold_head};
use crate::engine::Engine;
use crate::get::{Read, SOON, answer, passing};
use crate::head::{Headed, known_info};
use crate::members::Whom;
use crate::origins::Permit;

/// The detail of answers to reads by part.
const PART: &str = "part";

/// What a read by part knows of the object's parts beyond its entry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parts {
    /// What looks like parts in its ETag means nothing: it comes from no S3 provider.
    One,
    /// Where the asked part lies, and how many there are, if the provider said.
    At(ByteRange, Option<u32>),
}

/// Whether the object was uploaded in parts whose sizes nobody has said.
pub(crate) fn is_unknown(info: &ObjectInfo) -> bool {
    info.part_sizes.is_empty() && info.etag.as_ref().is_some_and(ETag::is_of_parts)
}

/// What is said where a wrong part would be the alternative.
pub(crate) fn unknown() -> BucketError {
    BucketError::OriginFailing {
        reason: "where the parts of this object begin is not known now".to_owned(),
        retry_after: SOON,
    }
}

fn has_parts(cold: &Cold) -> bool {
    matches!(cold.behind.dialect, Dialect::S3 { .. })
}

/// A provider's answer to a part.
struct PartFound {
    found: Found,
    range: ByteRange,
    size_bytes: u64,
    etag: ETag,
    asked_at: Timestamp,
    permit: Permit,
}

impl Read<'_> {
    /// Learns where the asked part of an object lies that is here, if only its provider knows.
    ///
    /// # Errors
    /// Whatever keeps it from being known.
    pub(crate) async fn learn_part(&self, info: &ObjectInfo) -> Result<(), BucketError> {
        let Some(number) = self.request.part.filter(|_| is_unknown(info)) else { return Ok(()) };
        if self.verdict(info) != Verdict::Proceed {
            return Ok(());
        }
        let Some(cold) = self.engine.cold(self.bucket, &self.request.key)? else {
            return Err(BucketError::ShadowMisconfigured {
                mend: "This object came from a provider that is no longer behind the bucket, and only that provider \
                       knows where its parts begin: read it without partNumber, or attach the shadow again."
                    .to_owned(),
            });
        };
        let parts = if has_parts(&cold) {
            let etag = info.etag.clone().ok_or_else(unknown)?;
            let part = self.ask_part(&cold, Method::Head, number, Some(etag)).await?;
            if part.size_bytes != info.size_bytes {
                return Err(unknown());
            }
            Parts::At(part.range, part.found.parts_count)
        } else {
            Parts::One
        };
        // Asked once for each read.
        let _ = self.parts.set(parts);
        Ok(())
    }

    /// A part of an object that is not here: passed through. `None`: the object has no parts, and is read as any other.
    pub(crate) async fn part_cold(
        &self,
        cold: &Cold,
        number: u32,
        situation: Situation<'_>,
    ) -> Option<Answer<Object>> {
        if !has_parts(cold) {
            let _ = self.parts.set(Parts::One);
            return None;
        }
        let state = self.state();
        let (info, word) = match (on_cold_head(state, situation), state) {
            (ColdHead::Known, Some(EntryState::Known(info, _))) => (info.clone(), CacheWord::Pass),
            _ => match self.ask_head(cold).await {
                (Ok(Headed::Object(info)), word) => (info, word),
                // What has no HEAD is no provider that knows parts.
                (Ok(Headed::OnlyFillTells), _) => return None,
                (Ok(Headed::Overtaken), word) => {
                    return Some(self.look_again(cold, word));
                }
                (Err(error), word) => return Some(answer(self.asked(cold, word, PART), Err(error))),
            },
        };
        if !is_unknown(&info) {
            return None;
        }
        let report = self.asked(cold, if self.request.head { word } else { CacheWord::Pass }, PART);
        match self.verdict(&info) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                return Some(answer(report, Ok(passing(info, ObjectBody::NotModified))));
            }
            Verdict::PreconditionFailed => {
                return Some(answer(report, Err(BucketError::PreconditionFailed)));
            }
        }
        Some(self.pass_part(cold, number, info.etag.clone(), report).await)
    }

    async fn pass_part(
        &self,
        cold: &Cold,
        number: u32,
        etag: Option<ETag>,
        mut report: CacheReport,
    ) -> Answer<Object> {
        let method = if self.request.head { Method::Head } else { Method::Get };
        let part = match self.ask_part(cold, method, number, etag).await {
            Ok(part) => part,
            Err(error) => return answer(report, Err(error)),
        };
        report.queued = Some(part.permit.queued);
        let PartFound { found, range, size_bytes, etag, asked_at, permit } = part;
        let info = Arc::new(known_info(&found, Some(etag), size_bytes, asked_at));
        let body = match method {
            Method::Head => ObjectBody::Head(Some(range)),
            Method::Get => {
                ObjectBody::Range(range, crate::pass::passed(self.engine, found.body, range.len(), permit))
            }
        };
        let parts_count = found.parts_count;
        answer(report, Ok(Object { parts_count, ..passing(info, body) }))
    }

    /// Asks the provider for a part of the object with this ETag: admitted, and through the breaker.
    async fn ask_part(
        &self,
        cold: &Cold,
        method: Method,
        number: u32,
        etag: Option<ETag>,
    ) -> Result<PartFound, BucketError> {
        let inner = &self.engine.inner;
        let client = Engine::fill_share(self.bucket, self.caller).ok_or(BucketError::FillDenied)?;
        let gate = &cold.behind.gate;
        let permit = gate.admit(&client, inner.options.client_wait).await?;
        let mut request = self.request_to(cold);
        request.method = method;
        request.part = Some(number);
        request.if_match = etag;
        let Answered { outcome, asked_at, .. } = ask(self.engine, &cold.behind, request, Whom::Any)
            .await
            .map_err(|unanswered| unanswered.into_error(gate, &client))?;
        match outcome {
            Outcome::Found(found) => match (found.range, found.size_bytes, found.etag.clone()) {
                (Some(range), Some(size_bytes), Some(etag)) if !etag.is_weak() => {
                    Ok(PartFound { found: *found, range, size_bytes, etag, asked_at, permit })
                }
                // It gives the whole, or no size of it: a provider without reads by part.
                (None | Some(_), ..) => Err(BucketError::BadOriginAnswer {
                    reason: "it does not say where the parts of the object begin".to_owned(),
                }),
            },
            Outcome::RangeNotSatisfiable { .. } => Err(BucketError::NoSuchPart { parts: None }),
            // What is here, or was described a moment ago, is another object than what is there now.
            Outcome::Changed | Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } => Err(unknown()),
            other => Err(refusal(other, gate, &client)),
        }
    }
}

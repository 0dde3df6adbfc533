//! Reads of a cold key that need no fill: HEAD, conditions judged before a body moves, and ranges that are
//! passed through.

use std::sync::Arc;

use fallthrough_object::Timestamp;
use fallthrough_shadow::{Found, Method, Outcome, Request};
use fallthrough_store::{EntryState, ObjectInfo, Observation, Provenance, Revision};

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::ask::{Unanswered, ask};
use crate::core::commit::commit_observation;
use crate::engine::Engine;
use crate::fetch::whole_secs;
use crate::get::{Cold, Read, SOON, Selected, answer, whole};
use crate::ledger::Change;

impl Read<'_> {
    /// HEAD of a key that the origin's HEAD described lately.
    pub(crate) fn head_known(&self, state: Option<&EntryState>) -> Answer<Object> {
        match state {
            Some(EntryState::Known(info, _)) => {
                self.describe(info.clone(), CacheReport::of(CacheWord::Hit, "known"))
            }
            Some(
                EntryState::Written(_)
                | EntryState::Filled(..)
                | EntryState::Absent { .. }
                | EntryState::Tombstone,
            )
            | None => answer(CacheReport::of(CacheWord::Miss, "known"), Err(BucketError::NoSuchKey)),
        }
    }

    fn describe(&self, info: Arc<ObjectInfo>, report: CacheReport) -> Answer<Object> {
        let result = self.select(&info, info.size_bytes).map(|selected| {
            let body = match selected {
                Selected::NotModified => ObjectBody::NotModified,
                Selected::Whole => ObjectBody::Head(None),
                Selected::Range(range) => ObjectBody::Head(Some(range)),
            };
            whole(info, body)
        });
        answer(report, result)
    }

    /// HEAD of a cold key at an origin that stores its objects: no body moves, the key becomes `known`.
    pub(crate) async fn head_cold(&self, cold: &Cold) -> Answer<Object> {
        match self.ask_head(cold).await {
            Ok(Headed::Object(info)) => self.describe(info, self.missed(cold, "head")),
            // The origin has no HEAD, or says no length: only a fill can tell.
            Ok(Headed::OnlyFillTells) => Box::pin(self.fill(cold, None)).await,
            Err(error) => self.known_if_failing(cold, error),
        }
    }

    /// While the origin cannot be asked, what it said before still answers.
    fn known_if_failing(&self, cold: &Cold, error: BucketError) -> Answer<Object> {
        let state = self.state();
        if let (
            Some(EntryState::Known(info, _)),
            BucketError::OriginFailing { .. } | BucketError::SlowDown { .. },
        ) = (state, &error)
        {
            return self.describe(info.clone(), CacheReport::of(CacheWord::Stale, "known"));
        }
        answer(self.missed(cold, "head"), Err(error))
    }

    /// A conditional GET of a cold key: judged on the origin's metadata before a body moves; the body that is
    /// then fetched must be the one that was judged.
    pub(crate) async fn conditional_cold(&self, cold: &Cold) -> Answer<Object> {
        match self.ask_head(cold).await {
            Ok(Headed::Object(info)) => match self.select(&info, info.size_bytes) {
                Ok(Selected::NotModified) => {
                    answer(self.missed(cold, "judged"), Ok(whole(info, ObjectBody::NotModified)))
                }
                Ok(Selected::Whole | Selected::Range(_)) => {
                    Box::pin(self.fill(cold, info.etag.clone())).await
                }
                Err(error) => answer(self.missed(cold, "judged"), Err(error)),
            },
            Ok(Headed::OnlyFillTells) => Box::pin(self.fill(cold, None)).await,
            Err(error) => answer(self.missed(cold, "judged"), Err(error)),
        }
    }

    fn missed(&self, cold: &Cold, detail: &'static str) -> CacheReport {
        let mut report = CacheReport::of(CacheWord::Miss, detail);
        report.origin = Some(cold.behind.origin.clone());
        report
    }

    /// Asks the origin by HEAD, and notes what it says.
    async fn ask_head(&self, cold: &Cold) -> Result<Headed, BucketError> {
        let inner = &self.engine.inner;
        let client = Engine::fill_share(self.bucket, self.caller).ok_or(BucketError::FillDenied)?;
        let _permit = cold.behind.gate.admit(&client, inner.options.client_wait).await?;
        let mut request = Request::get(cold.origin_key.clone(), inner.options.client_wait);
        request.method = Method::Head;
        request.hops = self.caller.hops;
        request.request_id = self.caller.request_id.to_string();
        request.trace = Some(self.trace());
        let (outcome, asked_at) =
            ask(self.engine, &cold.behind, request).await.map_err(Unanswered::into_error)?;
        let base = self.entry.as_ref().map_or(Revision(0), |entry| entry.revision);
        match outcome {
            Outcome::Found(found) => {
                let strong = found.etag.clone().filter(|etag| !etag.is_weak());
                let Some(size_bytes) = found.size_bytes.or(found.expected.length_bytes) else {
                    return Ok(Headed::OnlyFillTells);
                };
                let info = known_info(&found, strong, size_bytes, asked_at);
                let provenance = self.known_provenance(cold, &found, asked_at);
                self.note(base, Observation::Known(info.clone(), provenance)).await;
                Ok(Headed::Object(Arc::new(info)))
            }
            Outcome::Absent { ttl } => {
                let rule = &cold.behind.rule.settings;
                let ttl = ttl.unwrap_or_else(|| rule.negative_ttl(inner.options.negative_ttl));
                if !ttl.is_zero() && inner.store.takes_negatives() {
                    self.note(base, Observation::Absent { until: asked_at.plus(ttl), invalid: false }).await;
                }
                Err(BucketError::NoSuchKey)
            }
            Outcome::NotOffered => Ok(Headed::OnlyFillTells),
            other => Err(refusal(other, cold)),
        }
    }

    fn known_provenance(&self, cold: &Cold, found: &Found, asked_at: Timestamp) -> Provenance {
        let inner = &self.engine.inner;
        let rule = &cold.behind.rule.settings;
        Provenance {
            origin: cold.behind.origin.to_string(),
            origin_etag: found.etag.clone(),
            origin_last_modified: found.last_modified,
            asked_at,
            verified: Vec::new(),
            // As long as a "not found" is believed: changes behind our back are seen as soon either way.
            fresh_until: Some(asked_at.plus(rule.negative_ttl(inner.options.negative_ttl))),
            stale_if_error_until: None,
            stale_while_revalidate_until: None,
            edition: rule.edition.clone(),
        }
    }

    /// Notes an observation; one that comes too late, or cannot be noted, is no loss.
    async fn note(&self, base: Revision, what: Observation) {
        let inner = &self.engine.inner;
        let change = Change::Observe(what);
        if let Err(error) =
            commit_observation(&inner.store, self.bucket.as_ref(), &self.request.key, base, change).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "an observation could not be noted");
        }
    }

    /// A range of a cold key at an origin that can seek: its 206 is passed through, unkept. One without a
    /// strong ETag cannot be trusted to belong to one object; then the whole object is filled.
    pub(crate) async fn pass_range(&self, cold: &Cold) -> Answer<Object> {
        let inner = &self.engine.inner;
        let mut report = CacheReport::of(CacheWord::Pass, "range");
        report.origin = Some(cold.behind.origin.clone());
        let Some(client) = Engine::fill_share(self.bucket, self.caller) else {
            return answer(report, Err(BucketError::FillDenied));
        };
        let permit = match cold.behind.gate.admit(&client, inner.options.client_wait).await {
            Ok(permit) => permit,
            Err(error) => return answer(report, Err(error)),
        };
        report.queued = Some(permit.queued);
        let mut request = Request::get(cold.origin_key.clone(), inner.options.client_wait);
        request.range = self.request.range;
        request.hops = self.caller.hops;
        request.request_id = self.caller.request_id.to_string();
        request.trace = Some(self.trace());
        // A known object's range must be of that object.
        if let Some(EntryState::Known(info, _)) = self.state() {
            request.if_match = info.etag.clone();
        }
        let (outcome, asked_at) = match ask(self.engine, &cold.behind, request).await {
            Ok(asked) => asked,
            Err(unanswered) => return answer(report, Err(unanswered.into_error())),
        };
        match outcome {
            Outcome::Found(found) => match (found.range, found.size_bytes, found.etag.clone()) {
                (Some(range), Some(size_bytes), Some(etag)) if !etag.is_weak() => {
                    let info = Arc::new(known_info(&found, Some(etag), size_bytes, asked_at));
                    let body = crate::pass::bounded(found.body, range.len(), permit, inner.options.stall);
                    answer(report, Ok(whole(info, ObjectBody::Range(range, body))))
                }
                // The origin does not seek, or nothing pins the range to one object.
                (None | Some(_), ..) => {
                    drop(permit);
                    Box::pin(self.fill(cold, None)).await
                }
            },
            Outcome::RangeNotSatisfiable { size_bytes } => {
                answer(report, Err(BucketError::RangeNotSatisfiable { size_bytes }))
            }
            Outcome::Absent { .. } | Outcome::Changed | Outcome::Invalid => {
                drop(permit);
                // A fill notes what the origin says and answers for all readers.
                Box::pin(self.fill(cold, None)).await
            }
            other => answer(report, Err(refusal(other, cold))),
        }
    }
}

/// What the origin's HEAD led to.
enum Headed {
    Object(Arc<ObjectInfo>),
    OnlyFillTells,
}

fn known_info(
    found: &Found,
    etag: Option<fallthrough_object::ETag>,
    size_bytes: u64,
    asked_at: Timestamp,
) -> ObjectInfo {
    ObjectInfo {
        etag,
        size_bytes,
        last_modified: whole_secs(found.last_modified.unwrap_or(asked_at)),
        meta: found.meta.clone(),
        checksums: found.expected.checksums.clone(),
        md5: None,
        part_sizes: Vec::new(),
    }
}

/// An outcome that carries no object, as the error that it means.
fn refusal(outcome: Outcome, cold: &Cold) -> BucketError {
    let retry_after = cold.behind.gate.retry_after();
    let bad = |reason: &str| BucketError::BadOriginAnswer { reason: reason.to_owned() };
    match outcome {
        Outcome::Busy { retry_after: theirs } => BucketError::SlowDown {
            reason: "origin-busy",
            retry_after: theirs.unwrap_or_default().max(retry_after),
        },
        Outcome::Failing { status } => BucketError::OriginFailing {
            reason: format!("it answered {status}"),
            retry_after: retry_after.max(SOON),
        },
        Outcome::Misconfigured { mend } => BucketError::ShadowMisconfigured { mend },
        Outcome::Archived => BucketError::Archived,
        Outcome::Unacceptable { reason } => BucketError::BadOriginAnswer { reason },
        Outcome::Invalid => BucketError::ImpossibleKey { reason: "its origin says so".to_owned() },
        Outcome::Absent { .. } => BucketError::NoSuchKey,
        Outcome::NotOffered => bad("the method is not offered"),
        Outcome::NotModified { .. } => bad("304 to a request without a condition"),
        Outcome::Changed => bad("412 to a request without a condition"),
        Outcome::RangeNotSatisfiable { size_bytes } => BucketError::RangeNotSatisfiable { size_bytes },
        Outcome::Found(_) => bad("an object where none was asked for"),
    }
}

//! Reads of a cold key that need no fill: HEAD, conditions judged before a body moves, and ranges that are
//! passed through.

use std::sync::Arc;

use fallthrough_shadow::{Outcome, Request};
use fallthrough_store::{EntryState, ObjectInfo};

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::ask::{Answered, ask, refusal};
use crate::behind::Cold;
use crate::core::keystate::{ColdHead, Situation, on_cold_head};
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::Came;
use crate::get::{OVERTAKEN, Read, Selected, answer, passing};
use crate::head::{HeadOrder, Headed, known_info};
use crate::members::Whom;

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
            passing(info, body)
        });
        answer(report, result)
    }

    /// HEAD of a cold key at an origin that stores its objects: no body moves, the key becomes `known`.
    pub(crate) async fn head_cold(&self, cold: &Cold) -> Answer<Object> {
        let (headed, word) = self.ask_head(cold).await;
        match headed {
            Ok(Headed::Object(info)) => self.describe(info, self.asked(cold, word, "head")),
            // The origin has no HEAD, or says no length: only a fill can tell.
            Ok(Headed::OnlyFillTells) => Box::pin(self.fill(cold, None)).await,
            Ok(Headed::Overtaken) => self.look_again(cold, word),
            Err(error) => self.known_if_failing(cold, word, error),
        }
    }

    /// While the origin cannot be asked, what it said before still answers.
    fn known_if_failing(&self, cold: &Cold, word: CacheWord, error: BucketError) -> Answer<Object> {
        let state = self.state();
        if let (
            Some(EntryState::Known(info, _)),
            BucketError::OriginFailing { .. } | BucketError::SlowDown { .. },
        ) = (state, &error)
        {
            return self.describe(info.clone(), CacheReport::of(CacheWord::Stale, "known"));
        }
        answer(self.asked(cold, word, "head"), Err(error))
    }

    /// A conditional GET of a cold key: judged on the origin's metadata before a body moves; the body that is
    /// then fetched must be the one that was judged. What the origin said lately will do, until it turns out that
    /// the object is another one by now.
    pub(crate) async fn conditional_cold(&self, cold: &Cold, situation: Situation<'_>) -> Answer<Object> {
        let state = self.state();
        if let (ColdHead::Known, Some(EntryState::Known(info, _))) = (on_cold_head(state, situation), state) {
            let report = CacheReport::of(CacheWord::Hit, "known");
            let judged = self.judge(cold, info.clone(), report).await;
            if !was_judged_on_another(&judged) {
                return judged;
            }
        }
        let (headed, word) = self.ask_head(cold).await;
        match headed {
            Ok(Headed::Object(info)) => {
                let mut judged = self.judge(cold, info, self.asked(cold, word, "judged")).await;
                if was_judged_on_another(&judged) {
                    // It changes as fast as we can ask: the client may ask again.
                    judged.report.detail = "judged";
                }
                judged
            }
            Ok(Headed::OnlyFillTells) => Box::pin(self.fill(cold, None)).await,
            Ok(Headed::Overtaken) => self.look_again(cold, word),
            Err(error) => answer(self.asked(cold, word, "judged"), Err(error)),
        }
    }

    /// Judges the conditions on `info`, and fetches what they let through.
    async fn judge(&self, cold: &Cold, info: Arc<ObjectInfo>, report: CacheReport) -> Answer<Object> {
        match self.select(&info, info.size_bytes) {
            Ok(Selected::NotModified) => answer(report, Ok(passing(info, ObjectBody::NotModified))),
            Ok(Selected::Whole | Selected::Range(_)) => Box::pin(self.fill(cold, info.etag.clone())).await,
            Err(error) => answer(report, Err(error)),
        }
    }

    /// The report of an answer for which the origin was asked.
    pub(crate) fn asked(&self, cold: &Cold, word: CacheWord, detail: &'static str) -> CacheReport {
        let mut report = CacheReport::of(word, detail);
        report.origin = Some(cold.behind.origin.clone());
        report
    }

    pub(crate) fn look_again(&self, cold: &Cold, word: CacheWord) -> Answer<Object> {
        answer(self.asked(cold, word, OVERTAKEN), Err(BucketError::Conflict))
    }

    /// What the origin's HEAD says: of the one that is on its way, or of one that is sent now. Waits at most as long
    /// as a client would; the HEAD goes on, and the next one to ask finds what it brought.
    pub(crate) async fn ask_head(&self, cold: &Cold) -> (Result<Headed, BucketError>, CacheWord) {
        let inner = &self.engine.inner;
        // No body moves, so who may read may ask; it counts against the share of who asks.
        let client = Engine::fill_share(self.bucket, self.caller);
        let joined = self.engine.join_head(HeadOrder {
            bucket: self.bucket.clone(),
            slot: Engine::slot(self.bucket, &self.request.key),
            origin_key: cold.origin_key.clone(),
            behind: cold.behind.clone(),
            entry: self.entry.clone(),
            client: client.unwrap_or_else(|| self.caller.client.clone()),
            hops: self.caller.hops,
            request_id: self.caller.request_id.clone(),
            trace: self.trace(),
            extras: self.request.extras.clone(),
        });
        let (asking, came) = match joined {
            Ok(joined) => joined,
            Err(error) => return (Err(error), CacheWord::Miss),
        };
        let word = match came {
            Came::First => CacheWord::Miss,
            Came::Later => CacheWord::Joined,
        };
        let said = tokio::time::timeout(inner.options.client_wait, asking.said()).await;
        let said = said.unwrap_or_else(|_| {
            let retry_after = asking.standing.come_back_after();
            Err(BucketError::SlowDown { reason: "still-asking", retry_after })
        });
        (said, word)
    }

    /// A request to the origin that answers this read alone.
    pub(crate) fn request_to(&self, cold: &Cold) -> Request {
        let mut request = Request::get(cold.origin_key.clone(), self.engine.inner.options.client_wait);
        request.hops = self.caller.hops;
        request.request_id = self.caller.request_id.to_string();
        request.trace = Some(self.trace());
        request.extras = self.request.extras.clone();
        request
    }

    /// Who may not have a cold key fetched is told all the same that there is nothing to fetch.
    pub(crate) async fn may_not_fill(&self, cold: &Cold) -> Answer<Object> {
        match self.ask_head(cold).await {
            (Err(BucketError::NoSuchKey), word) => {
                answer(self.asked(cold, word, "absent"), Err(BucketError::NoSuchKey))
            }
            (_, word) => answer(self.asked(cold, word, "refused"), Err(BucketError::FillDenied)),
        }
    }

    /// A range of a cold key at an origin that can seek: its 206 is passed through, unkept. One without a
    /// strong ETag cannot be trusted to belong to one object; then the whole object is filled.
    pub(crate) async fn pass_range(&self, cold: &Cold) -> Answer<Object> {
        let inner = &self.engine.inner;
        let mut report = self.asked(cold, CacheWord::Pass, "range");
        let Some(client) = Engine::fill_share(self.bucket, self.caller) else {
            return Box::pin(self.may_not_fill(cold)).await;
        };
        let gate = &cold.behind.gate;
        let permit = match gate.admit(&client, inner.options.client_wait).await {
            Ok(permit) => permit,
            Err(error) => return answer(report, Err(error)),
        };
        report.queued = Some(permit.queued);
        let mut request = self.request_to(cold);
        request.range = self.request.range;
        // A known object's range must be of that object.
        if let Some(EntryState::Known(info, _)) = self.state() {
            request.if_match = info.etag.clone();
        }
        let Answered { outcome, asked_at, .. } =
            match ask(self.engine, &cold.behind, request, Whom::Any).await {
                Ok(asked) => asked,
                Err(unanswered) => return answer(report, Err(unanswered.into_error(gate, &client))),
            };
        match outcome {
            Outcome::Found(found) => match (found.range, found.size_bytes, found.etag.clone()) {
                (Some(range), Some(size_bytes), Some(etag))
                    if !etag.is_weak() && !planted(Mutant::RangeFillsWhole) =>
                {
                    let info = Arc::new(known_info(&found, Some(etag), size_bytes, asked_at));
                    let body = crate::pass::passed(self.engine, found.body, range.len(), permit);
                    answer(report, Ok(passing(info, ObjectBody::Range(range, body))))
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
            Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } | Outcome::Changed | Outcome::Invalid => {
                drop(permit);
                // A fill notes what the origin says and answers for all readers.
                Box::pin(self.fill(cold, None)).await
            }
            other => answer(report, Err(refusal(other, gate, &client))),
        }
    }
}

/// Whether the object turned out to be another one than the conditions were judged on. (Who is overtaken by others
/// of our own has a conflict, and looks again.)
fn was_judged_on_another(answer: &Answer<Object>) -> bool {
    answer.report.detail == OVERTAKEN && !matches!(answer.result, Err(BucketError::Conflict))
}

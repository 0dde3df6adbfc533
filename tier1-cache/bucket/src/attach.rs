//! Answering a read from a fill that runs: waiting for it, at most as long as a client would, and taking the
//! object or a part of it from the staging.

use std::sync::Arc;

use fallthrough_object::{Body, ByteRange};
use fallthrough_store::ObjectInfo;

use crate::api::{Answer, BucketError, CacheReport, CacheWord, Object, ObjectBody};
use crate::fill::{Came, Fill};
use crate::get::{OVERTAKEN, Read, SOON, Selected, answer, whole};
use crate::reader::{Head, Progress, Stage, VERIFIED_FIRST_BYTES, stream};
use crate::telling::Listener;

impl Read<'_> {
    /// Waits until the fill can answer, at most the client's patience, and answers from it.
    pub(crate) async fn read_fill(&self, fill: &Fill, came: Came) -> Answer<Object> {
        let inner = &self.engine.inner;
        fill.standing.wanted_by(&self.caller.client);
        let progress = fill.progress.listen();
        let awaited_its_commit = came == Came::Later && matches!(progress.last().stage, Stage::Verified(..));
        let word = match came {
            Came::First => CacheWord::Miss,
            Came::Later if awaited_its_commit => CacheWord::Hit,
            Came::Later => CacheWord::Joined,
        };
        let mut report = CacheReport::of(word, "fill");
        report.origin = Some(fill.origin.clone());
        let waiting = Waiting::new();
        let asked = inner.clock.monotonic();
        let answers = |seen: &Progress| {
            if self.request.head { seen.answers_head() } else { seen.answers_get() }
        };
        let seen = tokio::time::timeout(inner.options.client_wait, progress.hear(answers))
            .await
            .map(|seen| seen.map(|seen| seen.stage.clone()));
        drop(waiting);
        report.origin_wait = Some(inner.clock.monotonic().since(asked));
        let stage = match seen {
            Ok(Ok(stage)) => stage,
            Ok(Err(_)) => {
                let reason = "the fill was stopped".to_owned();
                return answer(report, Err(BucketError::OriginFailing { reason, retry_after: SOON }));
            }
            Err(_) => {
                // The fill goes on; the client comes back to a hit, or joins it again.
                report.detail = "client-wait";
                let retry_after = fill.standing.come_back_after();
                return answer(report, Err(BucketError::SlowDown { reason: "still-filling", retry_after }));
            }
        };
        match stage {
            Stage::Failed(error) => answer(report, Err(error)),
            Stage::Overtaken(error) => {
                report.detail = OVERTAKEN;
                answer(report, Err(error))
            }
            Stage::Unchanged(entry) => match entry.state.stored() {
                Some(stored) => {
                    let mut answer = Box::pin(self.serve(stored, CacheWord::Hit, "revalidated")).await;
                    answer.report.origin = report.origin;
                    answer.report.origin_wait = report.origin_wait;
                    answer
                }
                None => answer(report, Err(BucketError::Damaged)),
            },
            Stage::Asking => answer(report, Err(BucketError::Damaged)),
            Stage::Headers(head) | Stage::Streaming(head, _) | Stage::Verified(head, _) => {
                report.stored = head.kept;
                if !head.kept {
                    report.detail = "not-kept";
                }
                let result = self.out_of_fill(progress, &head).await;
                let result = result.map(|object| Object { is_kept: head.kept, ..object });
                answer(report, result)
            }
        }
    }

    /// The object, or the asked part of it, out of a running or verified fill.
    async fn out_of_fill(&self, progress: Listener, head: &Arc<Head>) -> Result<Object, BucketError> {
        let mut head = head.clone();
        if head.size_bytes.is_none()
            && (self.request.range.is_some() || self.request.part.is_some() || self.request.head)
        {
            // A range cannot be placed before the length is known.
            head = self.await_length(&progress).await?;
        }
        let Some(size) = head.size_bytes else {
            return match self.select(&head.info, 0) {
                Ok(Selected::NotModified) => {
                    let info = head.info.clone();
                    Ok(Object {
                        info,
                        size_bytes: None,
                        parts_count: None,
                        is_kept: head.kept,
                        body: ObjectBody::NotModified,
                    })
                }
                Ok(Selected::Whole | Selected::Range(_)) => Ok(Object {
                    info: head.info.clone(),
                    size_bytes: None,
                    parts_count: None,
                    is_kept: head.kept,
                    body: ObjectBody::Whole(Body::Stream(stream(progress, None))),
                }),
                Err(error) => Err(error),
            };
        };
        let range = match self.select(&head.info, size)? {
            Selected::NotModified => return Ok(whole(head.info.clone(), ObjectBody::NotModified)),
            Selected::Whole => None,
            Selected::Range(range) => Some(range),
        };
        if self.request.head {
            return Ok(whole(head.info.clone(), ObjectBody::Head(range)));
        }
        let span = range.unwrap_or(ByteRange::whole(size));
        let verified = match &progress.last().stage {
            Stage::Verified(_, reader) if span.len() <= VERIFIED_FIRST_BYTES => Some(reader.clone()),
            Stage::Verified(..)
            | Stage::Asking
            | Stage::Headers(_)
            | Stage::Streaming(..)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_)
            | Stage::Failed(_) => None,
        };
        let body = match verified {
            Some(reader) => {
                // A small body that is here whole is sent whole.
                let mut bytes = bytes::BytesMut::new();
                while (bytes.len() as u64) < span.len() {
                    let left = usize::try_from(span.len() - bytes.len() as u64).unwrap_or(usize::MAX);
                    let piece = reader.read(span.start + bytes.len() as u64, left).await?;
                    if piece.is_empty() {
                        return Err(BucketError::Damaged);
                    }
                    if bytes.is_empty() && piece.len() == left {
                        return Ok(with_range(head.info.clone(), range, Body::Bytes(piece)));
                    }
                    bytes.extend_from_slice(&piece);
                }
                Body::Bytes(bytes.freeze())
            }
            None => Body::Stream(stream(progress, Some(span))),
        };
        Ok(with_range(head.info.clone(), range, body))
    }

    async fn await_length(&self, progress: &Listener) -> Result<Arc<Head>, BucketError> {
        let wait = self.engine.inner.options.client_wait;
        let slow = || BucketError::SlowDown { reason: "length-unknown", retry_after: SOON };
        let seen = tokio::time::timeout(wait, progress.hear(Progress::is_final)).await.map_err(|_| slow())?;
        match seen.map(|seen| seen.stage.clone()) {
            Ok(Stage::Verified(head, _)) => Ok(head),
            Ok(Stage::Failed(error) | Stage::Overtaken(error)) => Err(error),
            Ok(Stage::Asking | Stage::Headers(_) | Stage::Streaming(..) | Stage::Unchanged(_)) | Err(_) => {
                Err(slow())
            }
        }
    }
}

fn with_range(info: Arc<ObjectInfo>, range: Option<ByteRange>, body: Body) -> Object {
    let body = match range {
        Some(range) => ObjectBody::Range(range, body),
        None => ObjectBody::Whole(body),
    };
    whole(info, body)
}

/// Counts a reader that waits for a fill, in `Drop` too, so that hang-ups are counted out.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        metrics::gauge!("fallthrough_fill_waiters").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("fallthrough_fill_waiters").decrement(1.0);
    }
}

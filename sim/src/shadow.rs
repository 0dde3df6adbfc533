//! A shadow that plays a script in process: no socket, no real time.

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use fallthrough_object::BodyError;
use fallthrough_shadow::{ListQuery, ListedPage, RawAnswer, Request, Shadow, ShadowError};

use crate::fault::ListFault;
use crate::play::{self, Opening, Pieces, Step};
use crate::script::{Call, Script};

/// Plays a [`Script`] as a [`Shadow`]. Clones play the same script.
///
/// It honours the deadlines of requests by tokio's time, so under a paused runtime nothing really waits. A
/// body that breaks or ends before its promised length ends in [`BodyError::Incomplete`], as over a network.
#[derive(Clone, Debug)]
pub struct ScriptedShadow {
    script: Arc<Script>,
}

impl ScriptedShadow {
    /// A shadow with a script of its own.
    pub fn new() -> Self {
        Self::of(Script::new())
    }

    /// A shadow that plays this script.
    pub fn of(script: Arc<Script>) -> Self {
        Self { script }
    }

    /// The script.
    pub fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script)
    }
}

impl Default for ScriptedShadow {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for ScriptedShadow {
    type Target = Script;
    fn deref(&self) -> &Script {
        &self.script
    }
}

#[async_trait]
impl Shadow for ScriptedShadow {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        let call = Call {
            method: request.method,
            key: request.key.as_str().to_owned(),
            range: request.range,
            if_match: request.if_match.map(|tag| tag.to_string()),
            if_none_match: request.if_none_match.map(|tag| tag.to_string()),
            attempt: request.attempt,
            hops: request.hops,
            request_id: request.request_id,
            headers: http::HeaderMap::new(),
            extras: request.extras,
        };
        let (in_flight, faults) = self.script.arrive(call.clone());
        let opening = tokio::time::timeout(request.header_timeout, play::open(&call, in_flight, &faults));
        match opening.await {
            Err(_) => Err(ShadowError::Timeout),
            Ok(Opening::HangUp) => Err(ShadowError::Unreachable { reason: "connection reset".into() }),
            Ok(Opening::Answer(answer)) => Ok(RawAnswer {
                status: answer.status,
                headers: answer.headers,
                body: Box::pin(futures::stream::unfold(Some(answer.body), piece)),
            }),
        }
    }

    async fn list(&self, query: ListQuery) -> Result<ListedPage, ShadowError> {
        let faults = self.script.arrive_list();
        let page = tokio::time::timeout(query.timeout, list(&self.script, &query, &faults));
        page.await.unwrap_or(Err(ShadowError::Timeout))
    }
}

async fn piece(rest: Option<Pieces>) -> Option<(Result<bytes::Bytes, BodyError>, Option<Pieces>)> {
    let mut rest = rest?;
    match rest.next().await {
        Step::Piece(bytes) => Some((Ok(bytes), Some(rest))),
        Step::End => None,
        Step::Reset | Step::Close => Some((Err(BodyError::Incomplete), None)),
    }
}

async fn list(script: &Script, query: &ListQuery, faults: &[ListFault]) -> Result<ListedPage, ShadowError> {
    for fault in faults {
        match fault {
            ListFault::Delay(delay) => tokio::time::sleep(*delay).await,
            ListFault::NoAnswer => std::future::pending().await,
            ListFault::Status(status) => {
                return Err(ShadowError::ListRefused { status: *status, code: None, retry_after: None });
            }
            ListFault::Busy { retry_after } => {
                let retry_after = Some(*retry_after);
                return Err(ShadowError::ListRefused { status: 503, code: None, retry_after });
            }
            // A shadow checks the order of what it hands over: both are one error.
            ListFault::OutOfOrder => {
                return Err(ShadowError::Malformed { reason: "the list is out of order".into() });
            }
            ListFault::Malformed => {
                return Err(ShadowError::Malformed { reason: "the answer is not a list".into() });
            }
        }
    }
    Ok(script.with(|objects| objects.page(query)))
}

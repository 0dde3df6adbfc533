//! One request to an origin: through the breaker, counted, and read by the contract.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Timestamp, TraceParent};
use fallthrough_shadow::{Asked, Dialect, ListQuery, ListedPage, Method, Outcome, Request, ShadowError};

use crate::api::BucketError;
use crate::behind::Behind;
use crate::core::breaker::Subject;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::get::SOON;
use crate::origins::{NotSent, OriginGate};

/// Why there is no answer, and whether another attempt may have one.
pub(crate) enum Unanswered {
    /// It may.
    Transient(BucketError),
    /// The origin asked to be left alone, for so much longer: nothing was sent.
    Resting(Duration),
    /// Not before somebody mends something, or the breaker closes.
    Final(BucketError),
}

impl Unanswered {
    /// What it means for a client that is not tried for again.
    pub(crate) fn into_error(self, gate: &OriginGate, client: &Arc<str>) -> BucketError {
        match self {
            Self::Transient(error) | Self::Final(error) => error,
            Self::Resting(left) => gate.busy(client, left),
        }
    }

    /// Whether the origin is to blame, which the breaker wants to know.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

impl From<NotSent> for Unanswered {
    fn from(not_sent: NotSent) -> Self {
        match not_sent {
            NotSent::Resting(left) => Self::Resting(left),
            NotSent::Open(wait) => Self::Final(BucketError::OriginFailing {
                reason: "it failed repeatedly and is given a pause".to_owned(),
                retry_after: wait.max(SOON),
            }),
        }
    }
}

/// Sends `request` to what is behind, and reads the answer. Returns the moment *before* it was sent with it,
/// from which the answer's age counts.
///
/// # Errors
/// [`Unanswered`].
///
/// # Cancellation
/// Safe: the request ends, and the breaker learns nothing from it.
pub(crate) async fn ask(
    engine: &Engine,
    behind: &Behind,
    request: Request,
) -> Result<(Outcome, Timestamp), Unanswered> {
    let passage = behind.gate.pass(Subject::Object(request.key.clone()))?;
    let head = request.method == Method::Head;
    let asked = Asked {
        range: request.range.is_some() || request.part.is_some(),
        part: request.part.is_some(),
        tagging: request.tagging,
        conditional: request.if_match.is_some() || request.if_none_match.is_some(),
        head,
    };
    let count = |code: &'static str| {
        metrics::counter!("fallthrough_origin_requests_total",
            "origin" => behind.origin.to_string(), "method" => if head { "HEAD" } else { "GET" }, "code" => code)
        .increment(1);
    };
    let asked_at = engine.inner.clock.now();
    let answer = match behind.shadow.fetch(request).await {
        Ok(answer) => answer,
        Err(error) => {
            count("error");
            let unanswered = unanswered(&error);
            if unanswered.is_transient() {
                passage.failed(None);
            }
            return Err(unanswered);
        }
    };
    count(status_label(answer.status.as_u16()));
    let outcome = Outcome::of(answer, asked, behind.dialect, asked_at).await;
    match &outcome {
        Outcome::Failing { .. } => passage.failed(None),
        Outcome::Busy { retry_after } => passage.failed(*retry_after),
        Outcome::Found(_)
        | Outcome::NotModified { .. }
        | Outcome::Absent { .. }
        | Outcome::AbsentUnproven { .. }
        | Outcome::Invalid
        | Outcome::Changed
        | Outcome::RangeNotSatisfiable { .. }
        | Outcome::Misconfigured { .. }
        | Outcome::Archived
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => passage.succeeded(),
    }
    if matches!(behind.dialect, Dialect::S3 { .. })
        && let Some(exists) = bucket_exists(&outcome)
    {
        behind.gate.saw_bucket(exists);
    }
    Ok((outcome, asked_at))
}

/// Whether an answer of an S3 provider shows that the shadow's bucket exists; `None`: it does not tell.
fn bucket_exists(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Found(_)
        | Outcome::NotModified { .. }
        | Outcome::Absent { .. }
        | Outcome::Changed
        | Outcome::RangeNotSatisfiable { .. }
        | Outcome::Archived => Some(true),
        Outcome::Misconfigured { .. } => Some(false),
        Outcome::AbsentUnproven { .. }
        | Outcome::Invalid
        | Outcome::Busy { .. }
        | Outcome::Failing { .. }
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => None,
    }
}

/// An outcome that carries no object, as the error that it means.
pub(crate) fn refusal(outcome: Outcome, gate: &OriginGate, client: &Arc<str>) -> BucketError {
    let bad = |reason: &str| BucketError::BadOriginAnswer { reason: reason.to_owned() };
    match outcome {
        Outcome::Busy { retry_after } => gate.busy(client, retry_after.unwrap_or_default()),
        Outcome::Failing { status } => BucketError::OriginFailing {
            reason: format!("it answered {status}"),
            retry_after: gate.retry_after(client).max(SOON),
        },
        Outcome::Misconfigured { mend } => BucketError::ShadowMisconfigured { mend },
        Outcome::Archived => BucketError::Archived,
        Outcome::Unacceptable { reason } => BucketError::BadOriginAnswer { reason },
        Outcome::Invalid => BucketError::ImpossibleKey { reason: "its origin says so".to_owned() },
        Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } => BucketError::NoSuchKey,
        Outcome::NotOffered => bad("the method is not offered"),
        Outcome::NotModified { .. } => bad("304 to a request without a condition"),
        Outcome::Changed => bad("412 to a request without a condition"),
        Outcome::RangeNotSatisfiable { size_bytes } => BucketError::RangeNotSatisfiable { size_bytes },
        Outcome::Found(_) => bad("an object where none was asked for"),
    }
}

/// Keys of a page that the server asks for of its own accord: as many as a provider gives.
const OWN_PAGE: usize = 1000;

/// A question for a page of a shadow's list of all that begins with `prefix`, which the server asks of its own accord.
/// `who` names the work in the logs of both sides.
pub(crate) fn own_query(engine: &Engine, who: &str, prefix: String, start_after: String) -> ListQuery {
    ListQuery {
        prefix,
        start_after,
        delimiter: None,
        max_keys: OWN_PAGE,
        timeout: engine.inner.options.client_wait,
        hops: 0,
        request_id: who.to_owned(),
        trace: Some(TraceParent::begin(&*engine.inner.entropy)),
    }
}

/// Asks for a page of the shadow's list: admitted, through the breaker, and read by the contract.
///
/// # Errors
/// [`BucketError::SlowDown`], [`BucketError::OriginFailing`] or [`BucketError::ShadowMisconfigured`].
///
/// # Cancellation
/// Safe: the request ends or leaves the queue, and the breaker learns nothing from it.
pub(crate) async fn ask_page(
    engine: &Engine,
    behind: &Behind,
    query: ListQuery,
    client: &Arc<str>,
) -> Result<ListedPage, BucketError> {
    let gate = &behind.gate;
    let _permit = if planted(Mutant::ListNotAdmitted) {
        None
    } else {
        Some(gate.admit(client, engine.inner.options.client_wait).await?)
    };
    let passage =
        gate.pass(Subject::List).map_err(|not_sent| Unanswered::from(not_sent).into_error(gate, client))?;
    let error = match behind.shadow.list(query).await {
        Ok(page) => {
            passage.succeeded();
            return Ok(page);
        }
        Err(error) => error,
    };
    let unanswered = unanswered(&error);
    match (&error, unanswered.is_transient()) {
        (ShadowError::ListRefused { retry_after, .. }, true) => {
            passage.failed(*retry_after);
            if let Some(wait) = retry_after {
                return Err(gate.busy(client, *wait));
            }
        }
        (_, true) => passage.failed(None),
        // A refusal is an answer.
        (ShadowError::ListRefused { .. }, false) => passage.succeeded(),
        // Nothing was sent.
        (_, false) => drop(passage),
    }
    Err(unanswered.into_error(gate, client))
}

/// What is said of a list that cannot be gone through.
pub(crate) fn out_of_order() -> BucketError {
    BucketError::OriginFailing {
        reason: "its list is out of order".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}

/// What a request without an answer means for the client.
fn unanswered(error: &ShadowError) -> Unanswered {
    let failing =
        || BucketError::OriginFailing { reason: error.to_string(), retry_after: Duration::from_secs(1) };
    let mend = |mend: String| BucketError::ShadowMisconfigured { mend };
    match error {
        ShadowError::Unreachable { .. } | ShadowError::Timeout | ShadowError::Malformed { .. } => {
            Unanswered::Transient(failing())
        }
        ShadowError::Forbidden { .. } | ShadowError::Loop | ShadowError::ReadOnly => {
            Unanswered::Final(mend(error.to_string()))
        }
        ShadowError::Unframed => {
            Unanswered::Final(BucketError::BadOriginAnswer { reason: error.to_string() })
        }
        // 405 and 501 say that there is no list, not that the origin is in trouble: what is here would be a part
        // of the list, and nobody may take it for the whole unless the rule says so.
        ShadowError::NoList | ShadowError::ListRefused { status: 405 | 501, .. } => {
            Unanswered::Final(mend("this origin has no list: set list = \"local\"".to_owned()))
        }
        ShadowError::ListRefused { status, .. } if *status >= 500 || *status == 429 => {
            Unanswered::Transient(failing())
        }
        ShadowError::ListRefused { .. } => Unanswered::Final(mend(error.to_string())),
    }
}

/// The label of a status in metrics: few, whatever an origin thinks of.
fn status_label(status: u16) -> &'static str {
    match status {
        200 => "200",
        206 => "206",
        304 => "304",
        403 => "403",
        404 => "404",
        429 => "429",
        503 => "503",
        100..=199 => "1xx",
        201..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

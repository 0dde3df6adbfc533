//! One request to an origin: through the breaker, counted, and read by the contract.

use std::time::Duration;

use fallthrough_object::Timestamp;
use fallthrough_shadow::{Asked, Method, Outcome, Request, ShadowError};

use crate::api::BucketError;
use crate::engine::{Behind, Engine};

/// Why there is no answer, and whether another attempt may have one.
pub(crate) enum Unanswered {
    /// It may.
    Transient(BucketError),
    /// Not before somebody mends something, or the breaker closes.
    Final(BucketError),
}

impl Unanswered {
    /// What it means for a client that is not tried for again.
    pub(crate) fn into_error(self) -> BucketError {
        match self {
            Self::Transient(error) | Self::Final(error) => error,
        }
    }

    /// Whether the origin is to blame, which the breaker wants to know.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
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
    let passage = behind.gate.pass().map_err(Unanswered::Final)?;
    let head = request.method == Method::Head;
    let asked = Asked {
        range: request.range.is_some(),
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
        | Outcome::Invalid
        | Outcome::Changed
        | Outcome::RangeNotSatisfiable { .. }
        | Outcome::Misconfigured { .. }
        | Outcome::Archived
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => passage.succeeded(),
    }
    Ok((outcome, asked_at))
}

/// What a request without an answer means for the client.
pub(crate) fn unanswered(error: &ShadowError) -> Unanswered {
    let failing =
        || BucketError::OriginFailing { reason: error.to_string(), retry_after: Duration::from_secs(1) };
    let mend = |mend: String| BucketError::ShadowMisconfigured { mend };
    match error {
        ShadowError::Unreachable { .. } | ShadowError::Timeout | ShadowError::Malformed { .. } => {
            Unanswered::Transient(failing())
        }
        ShadowError::Forbidden { .. } | ShadowError::Loop => Unanswered::Final(mend(error.to_string())),
        ShadowError::Unframed => {
            Unanswered::Final(BucketError::BadOriginAnswer { reason: error.to_string() })
        }
        ShadowError::NoList => {
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

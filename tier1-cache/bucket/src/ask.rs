//! One request to an origin: through the breaker, counted, and read by the contract. Where a rule has several members
//! it goes to one of them, and on to the next if that one cannot answer it.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Body, ETag, Timestamp, TraceParent};
use fallthrough_shadow::{Asked, Dialect, ListQuery, ListedPage, Method, Outcome, Request, ShadowError};
use futures::StreamExt as _;

use crate::api::BucketError;
use crate::behind::Behind;
use crate::core::breaker::Subject;
use crate::core::mutants::{Mutant, planted};
use crate::engine::{Engine, OriginKind};
use crate::get::SOON;
use crate::members::{InFlight, MemberNumber, NotSent, Passage, Tried, Whom};
use crate::origins::OriginGate;

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

/// What an origin said.
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    /// The moment *before* it was asked, from which the answer's age counts.
    pub(crate) asked_at: Timestamp,
    /// Which member it was.
    pub(crate) member: MemberNumber,
}

/// What an answer is worth beside those of other members, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It refuses us, which says nothing of the object.
    Refused,
    /// It does not have the object that was asked for by its ETag.
    Gone,
    /// It has another object than was asked for by its ETag.
    Changed,
    /// It could not be asked: another time it may have it.
    Failing,
}

/// Sends `request` to what is behind, and reads the answer.
///
/// A member that cannot be reached, fails, is busy or refuses us hands it on to the next, and so does one that has not the
/// object of the ETag that was asked for. What nobody can answer is answered by what is worth most: a failure before
/// "it is another object", and both before "there is none". Without an ETag the first member that says that there is no
/// such object is believed: members have the same objects.
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
    whom: Whom,
) -> Result<Answered, Unanswered> {
    let members = &behind.gate.members;
    let subject = Subject::Object(request.key.clone());
    let hands_on = members.count() > 1 && whom != Whom::First;
    let mut tried = Tried::default();
    let mut best: Option<(Worth, Result<Answered, Unanswered>)> = None;
    while tried.count() < members.count() {
        let passage = match members.pass(subject.clone(), whom, &tried) {
            Ok(passage) => passage,
            Err(not_sent) => {
                let best = best.filter(|(worth, _)| *worth == Worth::Failing);
                return best.map_or_else(|| Err(not_sent.into()), |(_, said)| said);
            }
        };
        let mut request = request.clone();
        if hands_on {
            request.header_timeout = patience(engine, behind, passage.member, &tried, request.header_timeout);
        }
        let if_match = request.if_match.clone();
        tried.add(passage.member);
        let said = ask_one(engine, behind, request, passage).await;
        let worth = worth(&said, if_match.as_ref());
        let Some(worth) = worth.filter(|_| hands_on && !planted(Mutant::MemberFailureIsFinal)) else {
            return said;
        };
        if matches!(worth, Worth::Failing | Worth::Refused) {
            handed_on(behind);
        }
        if best.as_ref().is_none_or(|(before, _)| *before <= worth) {
            // An object that is another one ends here, with its body.
            let said = said.map(|said| match said.outcome {
                Outcome::Found(_) => Answered { outcome: Outcome::Changed, ..said },
                _ => said,
            });
            best = Some((worth, said));
        }
    }
    best.map_or_else(|| Err(NotSent::Open(SOON).into()), |(_, said)| said)
}

fn handed_on(behind: &Behind) {
    metrics::counter!("fallthrough_origin_failovers_total", "origin" => behind.origin.to_string())
        .increment(1);
}

/// How long a member may take to answer: while others could be asked, no longer than an origin may be silent in a body.
/// A program is given all the time there is: what it works on is not to be begun twice.
fn patience(
    engine: &Engine,
    behind: &Behind,
    member: MemberNumber,
    tried: &Tried,
    longest: Duration,
) -> Duration {
    let others = behind.kind != OriginKind::Program && behind.gate.members.others(member, tried);
    if others { longest.min(engine.inner.options.stall) } else { longest }
}

/// What an answer is worth if another member is asked as well; `None`: it is the answer.
fn worth(said: &Result<Answered, Unanswered>, if_match: Option<&ETag>) -> Option<Worth> {
    let said = match said {
        Ok(said) => said,
        Err(Unanswered::Transient(_) | Unanswered::Resting(_)) => return Some(Worth::Failing),
        Err(Unanswered::Final(_)) => return Some(Worth::Refused),
    };
    let pinned = if_match.filter(|_| !planted(Mutant::MembersMixed));
    match &said.outcome {
        Outcome::Busy { .. } | Outcome::Failing { .. } => Some(Worth::Failing),
        Outcome::Misconfigured { .. } => Some(Worth::Refused),
        Outcome::Changed | Outcome::RangeNotSatisfiable { .. } => pinned.map(|_| Worth::Changed),
        Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } => pinned.map(|_| Worth::Gone),
        // One that does not look at If-Match, and says no ETag, may have another object.
        Outcome::Found(found) => pinned
            .filter(|pin| !found.etag.as_ref().is_some_and(|etag| pin.strong_eq(etag)))
            .map(|_| Worth::Changed),
        Outcome::NotModified { .. }
        | Outcome::Invalid
        | Outcome::Archived
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => None,
    }
}

async fn ask_one(
    engine: &Engine,
    behind: &Behind,
    request: Request,
    passage: Passage,
) -> Result<Answered, Unanswered> {
    let (members, member) = (&behind.gate.members, passage.member);
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
            "origin" => members.name(member).to_string(), "method" => if head { "HEAD" } else { "GET" }, "code" => code)
        .increment(1);
    };
    let asked_at = engine.inner.clock.now();
    let answer = match behind.shadows[member].fetch(request).await {
        Ok(answer) => answer,
        Err(error) => {
            count("error");
            let unanswered = unanswered(&error);
            if unanswered.is_transient() {
                passage.failed(None);
            } else if members.count() > 1 {
                passage.refused();
            }
            return Err(unanswered);
        }
    };
    count(status_label(answer.status.as_u16()));
    let mut outcome = Outcome::of(answer, asked, behind.dialect, asked_at).await;
    match &mut outcome {
        Outcome::Failing { .. } => passage.failed(None),
        Outcome::Busy { retry_after } => passage.failed(*retry_after),
        Outcome::Misconfigured { .. } => passage.refused(),
        Outcome::Found(found) => {
            let in_flight = passage.succeeded();
            if members.count() > 1 {
                found.body = counted(std::mem::replace(&mut found.body, Body::empty()), in_flight);
            }
        }
        Outcome::NotModified { .. }
        | Outcome::Absent { .. }
        | Outcome::AbsentUnproven { .. }
        | Outcome::Invalid
        | Outcome::Changed
        | Outcome::RangeNotSatisfiable { .. }
        | Outcome::Archived
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => drop(passage.succeeded()),
    }
    if matches!(behind.dialect, Dialect::S3 { .. })
        && let Some(exists) = bucket_exists(&outcome)
    {
        members.saw_bucket(member, exists);
    }
    Ok(Answered { outcome, asked_at, member })
}

/// A body whose member has something to do until it has ended, or is dropped.
fn counted(body: Body, in_flight: Option<InFlight>) -> Body {
    let Body::Stream(pieces) = body else { return body };
    Body::Stream(Box::pin(pieces.inspect(move |_| {
        let _held = &in_flight;
    })))
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
    let (gate, members) = (&behind.gate, &behind.gate.members);
    let _permit = if planted(Mutant::ListNotAdmitted) {
        None
    } else {
        Some(gate.admit(client, engine.inner.options.client_wait).await?)
    };
    let mut tried = Tried::default();
    let (mut failing, mut refused) = (None, None);
    while tried.count() < members.count() {
        let passage = match members.pass(Subject::List, Whom::InOrder, &tried) {
            Ok(passage) => passage,
            Err(not_sent) => {
                return Err(failing.unwrap_or_else(|| Unanswered::from(not_sent).into_error(gate, client)));
            }
        };
        let mut query = query.clone();
        query.timeout = patience(engine, behind, passage.member, &tried, query.timeout);
        tried.add(passage.member);
        let error = match behind.shadows[passage.member].list(query).await {
            Ok(page) => {
                drop(passage.succeeded());
                return Ok(page);
            }
            Err(error) => error,
        };
        let is_transient = unanswered(&error).is_transient();
        let error = unlisted(error, passage, gate, client);
        if is_transient {
            failing = Some(error)
        } else {
            refused = Some(error)
        }
        if tried.count() < members.count() {
            handed_on(behind);
        }
    }
    let nobody = || Unanswered::from(NotSent::Open(SOON)).into_error(gate, client);
    Err(failing.or(refused).unwrap_or_else(nobody))
}

/// What a page that did not come means for the client, and for the member that was asked.
fn unlisted(error: ShadowError, passage: Passage, gate: &OriginGate, client: &Arc<str>) -> BucketError {
    let unanswered = unanswered(&error);
    match (&error, unanswered.is_transient()) {
        (ShadowError::ListRefused { retry_after, .. }, true) => {
            passage.failed(*retry_after);
            if let Some(wait) = retry_after {
                return gate.busy(client, *wait);
            }
        }
        (_, true) => passage.failed(None),
        // A refusal is an answer.
        (ShadowError::ListRefused { .. }, false) => drop(passage.succeeded()),
        // Nothing was sent.
        (_, false) => drop(passage),
    }
    unanswered.into_error(gate, client)
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

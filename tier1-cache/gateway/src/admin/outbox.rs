//! `/admin/v1/buckets/{name}/outbox`: what waits for its delivery to the origin.

use axum::Json;
use axum::extract::{Path, Query, State};
use fallthrough_bucket::{OutboxStatus, WaitingChange, WhichWaiting};
use fallthrough_wire::date;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_bucket, parse_key};
use crate::admin::buckets::Paging;

/// How much waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingView {
    /// Changes that will be tried.
    pub pending: u64,
    /// Changes that will not be tried until somebody says so.
    pub dead: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// Since when the origin lacks something that is here, ISO 8601, UTC: what was done before is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl WaitingView {
    pub(crate) fn of(status: OutboxStatus) -> Self {
        let OutboxStatus { pending, dead, bytes, oldest } = status;
        Self { pending, dead, bytes, since: oldest.map(date::format_iso) }
    }
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRow {
    /// The key.
    pub key: String,
    /// `put` or `delete`.
    pub what: String,
    /// `pending`, `dead`, or `prepared`: a client waits for it.
    pub state: String,
    /// Since when the origin lacks what is here, ISO 8601, UTC.
    pub since: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, ISO 8601, UTC.
    pub next: String,
    /// Why it is dead, or how the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes of the object.
    pub size_bytes: u64,
}

impl WaitingRow {
    pub(crate) fn of(change: WaitingChange) -> Self {
        Self {
            key: change.key.as_str().to_owned(),
            what: change.what.to_owned(),
            state: change.state.to_owned(),
            since: date::format_iso(change.since),
            attempts: change.attempts,
            next: date::format_iso(change.next),
            reason: change.reason,
            size_bytes: change.size_bytes,
        }
    }
}

/// A page of what waits, in order of key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxPage {
    /// How much waits in all.
    pub waiting: WaitingView,
    /// The changes.
    pub changes: Vec<WaitingRow>,
    /// Give it as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What was done to what waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxDone {
    /// How many changes it was done to, or would be.
    pub changes: u64,
    /// Nothing was done, only told.
    pub dry_run: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
    dead: bool,
}

/// Which changes: one key, those that are dead, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Which {
    key: Option<String>,
    dead: bool,
    all: bool,
    dry_run: bool,
}

impl Which {
    fn chosen(&self) -> Result<WhichWaiting, ApiError> {
        match (&self.key, self.dead, self.all) {
            (Some(key), false, false) => Ok(WhichWaiting::Key(parse_key(key)?)),
            (None, true, false) => Ok(WhichWaiting::Dead),
            (None, false, true) => Ok(WhichWaiting::All),
            _ => Err(ApiError::bad_request(
                "it is not said which changes are meant",
                "give one of key=KEY, dead=true and all=true",
            )),
        }
    }
}

pub(crate) async fn list(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<OutboxPage>, ApiError> {
    let engine = &api.parts.engine;
    let bucket = engine.bucket(&parse_bucket(&name)?).await?;
    let Page { after, limit, dead } = page;
    let paging = Paging { after, limit };
    let changes = engine.waiting(&bucket, paging.after.as_deref(), paging.limit() + 1, dead).await?;
    let (changes, next) = paging.cut(changes, |change| change.key.as_str().to_owned());
    let waiting = WaitingView::of(engine.outbox_of(&bucket));
    Ok(Json(OutboxPage { waiting, changes: changes.into_iter().map(WaitingRow::of).collect(), next }))
}

pub(crate) async fn retry(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<OutboxDone>, ApiError> {
    settle(&api, &name, &which, Verb::Retry).await
}

pub(crate) async fn discard(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<OutboxDone>, ApiError> {
    settle(&api, &name, &which, Verb::Drop).await
}

/// What is to become of what waits.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Retry,
    Drop,
}

async fn settle(api: &AdminApi, name: &str, which: &Which, verb: Verb) -> Result<Json<OutboxDone>, ApiError> {
    let chosen = which.chosen()?;
    let engine = api.parts.engine.clone();
    let bucket = engine.bucket(&parse_bucket(name)?).await?;
    let changes = if which.dry_run {
        engine.count_waiting(&bucket, &chosen).await?
    } else {
        let done = async move {
            Ok(match verb {
                Verb::Retry => engine.retry_waiting(&bucket, &chosen).await?,
                Verb::Drop => engine.drop_waiting(&bucket, &chosen).await?,
            })
        };
        api.changes.run(done).await?
    };
    Ok(Json(OutboxDone { changes, dry_run: which.dry_run }))
}

//! `/admin/v1/buckets/{name}/migration`: moving what is behind a bucket here.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fallthrough_bucket::{
    Count, MigrationOptions, MigrationOrder, MigrationPhase, MigrationRefused, MigrationStatus, Walk,
};
use fallthrough_wire::date;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_body, parse_bucket};
use crate::admin::inventory::{InventoryView, views};

/// Notes of a page.
const PAGE_MAX: usize = 1000;

/// A migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MigrationView {
    /// The bucket.
    pub bucket: String,
    /// `copying`, `retrying`, `comparing`, `paused`, `halted`, `copied`, `verified` or `cut-over`.
    pub state: String,
    /// When it began, ISO 8601, UTC.
    pub started: String,
    /// Why it stopped by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// What it waits for at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Bytes per second at most; 0: as fast as it goes.
    pub rate: u64,
    /// Objects at one time; 0: the default.
    pub concurrency: u32,
    /// The hours, UTC, in which it copies: `22:00-06:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// What there is to copy, as far as it has been counted.
    pub counted: WalkView,
    /// What was copied or found here.
    pub copied: WalkView,
    /// What was compared.
    pub compared: WalkView,
    /// When the last comparison ended, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<String>,
    /// When the shadow was detached, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_over: Option<String>,
    /// Objects on their way.
    pub in_flight: u64,
    /// Objects per second, over the last minute and the last ten.
    pub objects_per_second: [f64; 2],
    /// Bytes per second, over the last minute and the last ten.
    pub bytes_per_second: [f64; 2],
    /// Seconds until everything is copied at the rate of the last ten minutes, once everything is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_secs: Option<u64>,
    /// The inventories of the bucket's shadows, where it is asked how the migration is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventories: Vec<InventoryView>,
}

/// How far a walk over the shadow's list is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkView {
    /// It is at the end.
    pub done: bool,
    /// Objects seen.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What came of them, by word.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tally: BTreeMap<String, Count>,
}

/// What is to be done, and how gently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigrationBody {
    /// Only keys with this prefix.
    pub prefix: String,
    /// Bytes per second, on the average; 0: as fast as it goes.
    pub rate: u64,
    /// Objects on their way at one time, up to 256; 0: the default, 8.
    pub concurrency: u32,
    /// Hours of the day, UTC, in which it copies: `22:00-06:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}

/// A page of what was noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationNotePage {
    /// The notes, in order of keys.
    pub notes: Vec<MigrationNoteView>,
    /// Give it as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What was noted of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationNoteView {
    /// The key.
    pub key: String,
    /// `failed`, `missing`, `different`, `changed`, `extra`, `tombstoned` or `unverifiable`.
    pub what: String,
    /// More of it, for people.
    pub detail: String,
    /// Size at the shadow, or here if it is not there.
    pub size_bytes: u64,
}

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// How an order is meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HowOrder {
    /// Detach the shadow whatever speaks against it.
    force: bool,
}

impl From<MigrationRefused> for ApiError {
    fn from(refused: MigrationRefused) -> Self {
        match refused {
            MigrationRefused::Bucket(error) => error.into(),
            MigrationRefused::NotMigrating => {
                Self::not_found(refused.to_string(), "`fallthrough migrate start` begins it")
            }
            MigrationRefused::NotNow(_) => Self::new(
                StatusCode::CONFLICT,
                "not_now",
                refused.to_string(),
                "`fallthrough migrate status` tells how it is",
            ),
        }
    }
}

pub(crate) async fn status(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<Json<MigrationView>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let mut view = view(&name, &api.parts.engine.migration(&bucket).await?);
    // A target that is not declared any more has none, and the migration has halted for it.
    view.inventories = api.parts.engine.inventories(&bucket).await.map(views).unwrap_or_default();
    Ok(Json(view))
}

pub(crate) async fn start(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<MigrationView>, ApiError> {
    let wanted: MigrationBody =
        if body.iter().all(u8::is_ascii_whitespace) { Default::default() } else { parse_body(&body)? };
    let options = MigrationOptions {
        prefix: wanted.prefix,
        bytes_per_second: wanted.rate,
        concurrency: wanted.concurrency,
        window: wanted.window.as_deref().map(parse_window).transpose()?.unwrap_or_default(),
    };
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let engine = api.parts.engine.clone();
    let started = api.changes.run(async move { Ok(engine.start_migration(&bucket, options).await?) });
    Ok(Json(view(&name, &started.await?)))
}

pub(crate) async fn cancel(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let engine = api.parts.engine.clone();
    api.changes.run(async move { Ok(engine.cancel_migration(&bucket).await?) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn order(
    State(api): State<AdminApi>,
    Path((name, order)): Path<(String, String)>,
    Query(how): Query<HowOrder>,
) -> Result<Json<MigrationView>, ApiError> {
    let order = match order.as_str() {
        "pause" => Some(MigrationOrder::Pause),
        "resume" => Some(MigrationOrder::Resume),
        "retry" => Some(MigrationOrder::Retry),
        "verify" => Some(MigrationOrder::Verify),
        "cutover" => None,
        _ => {
            return Err(ApiError::not_found(
                format!("there is no order {order:?}"),
                "it is one of pause, resume, retry, verify, cutover",
            ));
        }
    };
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    if order.is_none() && bucket.settings.managed {
        return Err(ApiError::managed(&format!("the bucket {name}")));
    }
    let engine = api.parts.engine.clone();
    let done = api.changes.run(async move {
        Ok(match order {
            Some(order) => engine.order_migration(&bucket, order).await?,
            None => engine.cut_over(&bucket, how.force).await?,
        })
    });
    Ok(Json(view(&name, &done.await?)))
}

pub(crate) async fn notes(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<MigrationNotePage>, ApiError> {
    let limit = page.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let found = api.parts.engine.migration_notes(&bucket, page.after.as_deref(), limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|(key, _)| key.as_str().to_owned())).flatten();
    let notes = found.into_iter().map(|(key, note)| MigrationNoteView {
        key: key.as_str().to_owned(),
        what: note.what,
        detail: note.detail,
        size_bytes: note.size_bytes,
    });
    Ok(Json(MigrationNotePage { notes: notes.collect(), next }))
}

fn view(name: &str, status: &MigrationStatus) -> MigrationView {
    let (row, progress) = (&status.row, &status.progress);
    let state = match row.phase {
        _ if row.cut_over.is_some() => "cut-over",
        _ if row.halted.is_some() => "halted",
        MigrationPhase::Copying | MigrationPhase::Retrying | MigrationPhase::Comparing if row.paused => {
            "paused"
        }
        MigrationPhase::Copying => "copying",
        MigrationPhase::Retrying => "retrying",
        MigrationPhase::Comparing => "comparing",
        MigrationPhase::Idle if row.verified_at.is_some() => "verified",
        MigrationPhase::Idle => "copied",
    };
    let rate = progress.last_ten_minutes.objects;
    let left = row.counted.objects.saturating_sub(row.copied.objects);
    let left_secs = (row.counted.done && !row.copied.done && rate > 0.0).then(|| (left as f64 / rate) as u64);
    let (from, to) = row.options.window;
    let hour = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    MigrationView {
        bucket: name.to_owned(),
        state: state.to_owned(),
        started: date::format_iso(row.started),
        halted: row.halted.clone(),
        waiting: progress.waiting.clone(),
        prefix: row.options.prefix.clone(),
        rate: row.options.bytes_per_second,
        concurrency: row.options.concurrency,
        window: (from != to).then(|| format!("{}-{}", hour(from), hour(to))),
        counted: WalkView::of(&row.counted),
        copied: WalkView::of(&row.copied),
        compared: WalkView::of(&row.compared),
        verified_at: row.verified_at.map(date::format_iso),
        cut_over: row.cut_over.map(date::format_iso),
        in_flight: progress.in_flight,
        objects_per_second: [progress.last_minute.objects, rate],
        bytes_per_second: [progress.last_minute.bytes, progress.last_ten_minutes.bytes],
        left_secs,
        inventories: Vec::new(),
    }
}

impl WalkView {
    fn of(walk: &Walk) -> Self {
        Self { done: walk.done, objects: walk.objects, bytes: walk.bytes, tally: walk.tally.clone() }
    }
}

/// Two hours of the day, with minutes or without.
fn parse_window(text: &str) -> Result<(u16, u16), ApiError> {
    let hour = |text: &str| {
        let (hour, minute) = text.split_once(':').unwrap_or((text, "0"));
        let number = |text: &str, below: u16| {
            let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse::<u16>().ok().filter(|number| *number < below) } else { None }
        };
        Some(number(hour, 24)? * 60 + number(minute, 60)?)
    };
    text.split_once('-').and_then(|(from, to)| Some((hour(from)?, hour(to)?))).ok_or_else(|| {
        ApiError::bad_request(format!("{text:?} is no window"), "write it like 22:00-06:00, in hours of UTC")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_hours_with_minutes_or_without() {
        assert_eq!(parse_window("22:00-06:30").unwrap(), (1320, 390));
        assert_eq!(parse_window("22-6").unwrap(), (1320, 360));
        for wrong in ["", "22", "24-6", "22:60-6", "+2-6", "-", "22-6-7", "2 -6"] {
            assert!(parse_window(wrong).is_err(), "{wrong}");
        }
    }
}

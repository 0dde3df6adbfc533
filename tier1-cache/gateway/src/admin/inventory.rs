//! `/admin/v1/buckets/{name}/inventory`: what is kept of the lists of a bucket's shadows.

use axum::Json;
use axum::extract::{Path, State};
use fallthrough_bucket::{InventoryDrift, InventoryStatus};
use fallthrough_wire::date;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_bucket};

/// The inventories of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoriesView {
    /// The bucket.
    pub bucket: String,
    /// One for each of its rules that keeps one.
    pub inventories: Vec<InventoryView>,
}

/// An inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryView {
    /// Number of its rule, from 0.
    pub rule: usize,
    /// What that leads to.
    pub origin: String,
    /// `fresh`: LIST is answered from it; `old`: it is complete, and not believed any more; `none`: there is none yet.
    pub state: String,
    /// Seconds for which it is still believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub believed_secs: Option<u64>,
    /// When it was begun, from which its age counts, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When it was complete, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How it differs from the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftView>,
    /// The next one is being taken.
    pub taking: bool,
    /// Objects of the next one so far.
    pub taking_objects: u64,
    /// What that waits for at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// When the next one is begun, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How an inventory differs from the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftView {
    /// Keys that were not there.
    pub added: u64,
    /// Keys that are not there any more.
    pub removed: u64,
    /// Keys with another ETag, size or date.
    pub changed: u64,
}

pub(crate) async fn show(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<Json<InventoriesView>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let inventories = views(api.parts.engine.inventories(&bucket).await?);
    Ok(Json(InventoriesView { bucket: name, inventories }))
}

pub(crate) async fn take(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<Json<InventoriesView>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let engine = api.parts.engine.clone();
    let ordered = api.changes.run(async move { Ok(engine.take_inventories(&bucket).await?) });
    Ok(Json(InventoriesView { bucket: name, inventories: views(ordered.await?) }))
}

pub(crate) fn views(all: Vec<InventoryStatus>) -> Vec<InventoryView> {
    all.into_iter().map(view).collect()
}

fn view(status: InventoryStatus) -> InventoryView {
    let InventoryStatus { rule, origin, row, believed_for, next, waiting } = status;
    let state = match (&row.taken, believed_for) {
        (None, _) => "none",
        (Some(_), Some(_)) => "fresh",
        (Some(_), None) => "old",
    };
    let drift = row.taken.as_ref().and_then(|taken| taken.drift);
    let drift = drift.map(|InventoryDrift { added, removed, changed }| DriftView { added, removed, changed });
    InventoryView {
        rule,
        origin,
        state: state.to_owned(),
        believed_secs: believed_for.map(|left| left.as_secs()),
        began: row.taken.as_ref().map(|taken| date::format_iso(taken.began)),
        ended: row.taken.as_ref().map(|taken| date::format_iso(taken.ended)),
        objects: row.taken.as_ref().map_or(0, |taken| taken.objects),
        bytes: row.taken.as_ref().map_or(0, |taken| taken.bytes),
        drift,
        taking: row.taking.is_some(),
        taking_objects: row.taking.as_ref().map_or(0, |taking| taking.objects),
        waiting,
        next: next.filter(|next| next.0 > 0).map(date::format_iso),
    }
}

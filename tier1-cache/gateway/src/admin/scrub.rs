//! `/admin/v1/scrub` and `/admin/v1/quarantine`: comparing what is kept with its checksums, and what was found
//! damaged.

use axum::Json;
use axum::extract::{Path, Query, State};
use fallthrough_bucket::{BlobId, Quarantined, ScrubFinding, ScrubOrder, ScrubPass};
use fallthrough_wire::date;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::ApiError;

/// Rows of a page.
const PAGE_MAX: usize = 1000;

/// How the scrubber is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubView {
    /// A pass is under way.
    pub running: bool,
    /// Passes that ended since the server started.
    pub passes: u64,
    /// The pass that is under way, else the last one that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<ScrubCount>,
    /// The last pass that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<ScrubCount>,
    /// The pace in bytes per second; 0: as fast as the disk.
    pub limit_bytes_per_second: u64,
    /// Bytes per second as measured.
    pub bytes_per_second: u64,
    /// Seconds until the pass ends, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_secs: Option<u64>,
    /// What was found lately, oldest first.
    pub findings: Vec<ScrubFinding>,
    /// Damaged blobs in quarantine.
    pub quarantined: u64,
}

/// What a pass has done and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCount {
    /// When it began, ISO 8601, UTC.
    pub started: String,
    /// When it ended, if it has, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Objects with bytes when it began.
    pub objects_total: u64,
    /// Bytes of these.
    pub bytes_total: u64,
    /// The counts.
    #[serde(flatten)]
    pub tally: fallthrough_bucket::ScrubTally,
}

impl ScrubCount {
    fn of(pass: &ScrubPass) -> Self {
        Self {
            started: date::format_iso(pass.started),
            ended: pass.ended.map(date::format_iso),
            objects_total: pass.objects_total,
            bytes_total: pass.bytes_total,
            tally: pass.tally,
        }
    }
}

/// A damaged blob that is kept and not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedView {
    /// The blob's id.
    pub blob: String,
    /// The bucket, as it was called then.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// `written` or `filled`.
    pub state: String,
    /// When the damage was found, ISO 8601, UTC.
    pub found: String,
    /// What is damaged.
    pub what: String,
    /// Length of the object in bytes.
    pub size_bytes: u64,
    /// The object's ETag, in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Bytes in the file; nothing if nothing is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_bytes: Option<u64>,
    /// Where they are, within the data folder.
    pub file: String,
}

/// A page of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinePage {
    /// The blobs, in order of id.
    pub blobs: Vec<QuarantinedView>,
    /// Give it as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How to scrub.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    #[serde(default)]
    restart: bool,
    bytes_per_second: Option<u64>,
}

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn status(State(api): State<AdminApi>) -> Json<ScrubView> {
    Json(view(&api))
}

pub(crate) async fn start(State(api): State<AdminApi>, Query(how): Query<How>) -> Json<ScrubView> {
    api.parts.engine.scrub(ScrubOrder { restart: how.restart, bytes_per_second: how.bytes_per_second });
    Json(view(&api))
}

pub(crate) async fn quarantine(
    State(api): State<AdminApi>,
    Query(page): Query<Page>,
) -> Result<Json<QuarantinePage>, ApiError> {
    let limit = page.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let after = page.after.as_deref().map(parse_blob).transpose()?;
    let found = api.parts.engine.quarantined(after, limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|last| name(last.blob))).flatten();
    Ok(Json(QuarantinePage { blobs: found.iter().map(shown).collect(), next }))
}

pub(crate) async fn discard(
    State(api): State<AdminApi>,
    Path(blob): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = parse_blob(&blob)?;
    let engine = api.parts.engine.clone();
    if api.changes.run(async move { Ok(engine.discard_quarantined(id).await?) }).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let missing = || {
        ApiError::not_found(
            format!("there is no blob {blob} in quarantine"),
            "`fallthrough doctor quarantine` lists them",
        )
    };
    // The one before it is where a page that begins with it starts; ids are ordered.
    let page = api.parts.engine.quarantined(before(id), 1).await?;
    match page.first() {
        Some(found) if found.blob == id => Err(ApiError::new(
            StatusCode::CONFLICT,
            "in_use",
            format!("s3://{}/{} still has these bytes", found.row.bucket, found.row.key),
            "put the object again, or delete it, and discard the blob then",
        )),
        Some(_) | None => Err(missing()),
    }
}

fn view(api: &AdminApi) -> ScrubView {
    let status = api.parts.engine.scrub_status();
    ScrubView {
        running: status.running,
        passes: status.passes,
        pass: status.pass.as_ref().map(ScrubCount::of),
        last: status.last.as_ref().map(ScrubCount::of),
        limit_bytes_per_second: status.limit_bytes_per_second,
        bytes_per_second: status.bytes_per_second,
        left_secs: status.left_secs,
        findings: status.findings,
        quarantined: api.parts.engine.quarantined_count(),
    }
}

fn shown(found: &Quarantined) -> QuarantinedView {
    let row = &found.row;
    QuarantinedView {
        blob: name(found.blob),
        bucket: row.bucket.clone(),
        key: row.key.clone(),
        state: if row.written { "written" } else { "filled" }.to_owned(),
        found: date::format_iso(row.found),
        what: row.what.clone(),
        size_bytes: row.size_bytes,
        etag: row.etag.as_ref().map(ToString::to_string),
        kept_bytes: found.kept_bytes,
        file: format!("quarantine/{}", name(found.blob)),
    }
}

/// A blob's id as its file is named.
pub(crate) fn name(blob: BlobId) -> String {
    format!("{:016x}-{:016x}", blob.epoch, blob.number)
}

pub(crate) fn parse_blob(text: &str) -> Result<BlobId, ApiError> {
    // Digits alone: the number's own reader would take a sign.
    let digits = |raw: &str| raw.len() == 16 && raw.bytes().all(|c| c.is_ascii_hexdigit());
    let hex = |raw: &str| if digits(raw) { u64::from_str_radix(raw, 16).ok() } else { None };
    text.split_once('-')
        .and_then(|(epoch, number)| Some(BlobId { epoch: hex(epoch)?, number: hex(number)? }))
        .ok_or_else(|| {
            ApiError::bad_request(
                format!("{text:?} is no id of a blob"),
                "`fallthrough doctor quarantine` lists them",
            )
        })
}

/// The id before this one; `None`: it is the first.
fn before(blob: BlobId) -> Option<BlobId> {
    match (blob.epoch, blob.number) {
        (0, 0) => None,
        (epoch, 0) => Some(BlobId { epoch: epoch - 1, number: u64::MAX }),
        (epoch, number) => Some(BlobId { epoch, number: number - 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_are_ordered() {
        let id = BlobId { epoch: 3, number: 0xab };
        assert_eq!(name(id), "0000000000000003-00000000000000ab");
        assert_eq!(parse_blob(&name(id)).expect("it reads"), id);
        assert!(parse_blob("3-ab").is_err() && parse_blob("../../etc/passwd").is_err());
        assert!(parse_blob("+000000000000003-00000000000000ab").is_err());
        assert_eq!(before(id), Some(BlobId { epoch: 3, number: 0xaa }));
        assert_eq!(before(BlobId { epoch: 3, number: 0 }), Some(BlobId { epoch: 2, number: u64::MAX }));
        assert_eq!(before(BlobId { epoch: 0, number: 0 }), None);
    }
}

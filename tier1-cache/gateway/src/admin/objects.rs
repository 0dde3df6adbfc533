//! `/admin/v1/buckets/{name}/objects`: what is known about one key, and forgetting it.

use axum::Json;
use axum::extract::{Path, Query, State};
use fallthrough_bucket::{BucketError, Explanation, MemberState, ObjectInfo};
use fallthrough_wire::date;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_bucket, parse_key};
use crate::admin::outbox::WaitingRow;

/// How a member of a rule is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    /// Its name: never an address.
    pub name: String,
    /// `asked`, `resting`, `failing` or `probed`.
    pub state: String,
    /// Requests on their way, and answers that are being read.
    pub in_flight: u32,
    /// Mean time to an answer in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<u64>,
}

impl MemberView {
    fn of(member: MemberState) -> Self {
        Self {
            name: member.name,
            state: member.state.to_owned(),
            in_flight: member.in_flight,
            answer_ms: member.answer_ms,
        }
    }
}

/// What is known about a key and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectView {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// `unknown`, `written`, `filled`, `known`, `absent` or `tombstone`.
    pub state: String,
    /// Revision of the entry, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// The ETag that clients are shown, in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Last-Modified, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Content-Type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// User metadata, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
    /// The origin that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When the origin was asked, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<String>,
    /// The edition that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// What was verified during the fill.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<String>,
    /// Fresh until then, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_until: Option<String>,
    /// Where the bytes are: `row`, `file` or `empty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// The rule that the key falls through by: its number, and where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<(usize, String)>,
    /// What of a client's request goes to the origin with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes_on: Option<String>,
    /// The members of that rule, if it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberView>,
    /// What is kept in blocks of the object behind it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<String>,
    /// A fill in flight, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<String>,
    /// The last fill, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fill: Option<String>,
    /// What the origin is still to be told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingRow>,
    /// What a GET would do now, in a sentence.
    pub next_get: String,
}

/// What a purge did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeAnswer {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Whether something was (or would be) forgotten; `false`: nothing was known.
    pub purged: bool,
    /// The state that was found.
    pub state: String,
    /// Nothing was done, only told.
    pub dry_run: bool,
}

/// Which object.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    key: String,
}

/// Which object, and what may be lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purge {
    key: String,
    #[serde(default)]
    written: bool,
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn explain(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<ObjectView>, ApiError> {
    look(&api, &name, &which.key).await.map(Json)
}

/// As `explain`, but 404 unless there is an object to speak of.
pub(crate) async fn stat(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<ObjectView>, ApiError> {
    let view = look(&api, &name, &which.key).await?;
    if view.size_bytes.is_none() {
        return Err(ApiError::not_found(
            format!("nothing is stored here for this key (its state is {})", view.state),
            format!("{}; `fallthrough object explain` tells more", view.next_get.trim_end_matches('.')),
        ));
    }
    Ok(Json(view))
}

pub(crate) async fn purge(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(what): Query<Purge>,
) -> Result<Json<PurgeAnswer>, ApiError> {
    let key = parse_key(&what.key)?;
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let state = match api.parts.engine.explain(&bucket, &key).await {
        Ok(told) => told.state,
        // Its row cannot be read: it can be given up all the same.
        Err(BucketError::Damaged) if what.written => "damaged",
        Err(error) => return Err(error.into()),
    };
    let purged = if what.dry_run {
        if matches!(state, "written" | "tombstone") && !what.written {
            return Err(BucketError::WouldLoseWritten.into());
        }
        state != "unknown"
    } else {
        let engine = api.parts.engine.clone();
        api.changes.run(async move { Ok(engine.purge(&bucket, &key, what.written).await?) }).await?
    };
    Ok(Json(PurgeAnswer {
        bucket: name,
        key: what.key,
        purged,
        state: state.to_owned(),
        dry_run: what.dry_run,
    }))
}

async fn look(api: &AdminApi, bucket: &str, key: &str) -> Result<ObjectView, ApiError> {
    let parsed = parse_key(key)?;
    let row = api.parts.engine.bucket(&parse_bucket(bucket)?).await?;
    Ok(view(bucket, key, api.parts.engine.explain(&row, &parsed).await?))
}

fn view(bucket: &str, key: &str, told: Explanation) -> ObjectView {
    let object: Option<&ObjectInfo> = told.object.as_ref();
    let provenance = told.provenance.as_ref();
    ObjectView {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        state: told.state.to_owned(),
        revision: told.revision,
        size_bytes: object.map(|object| object.size_bytes),
        etag: object.and_then(|object| object.etag.as_ref()).map(ToString::to_string),
        last_modified: object.map(|object| date::format_iso(object.last_modified)),
        content_type: object.and_then(|object| object.meta.content_type.clone()),
        metadata: object.map(|object| object.meta.user.clone()).unwrap_or_default(),
        origin: provenance.map(|provenance| provenance.origin.clone()),
        asked_at: provenance.map(|provenance| date::format_iso(provenance.asked_at)),
        edition: provenance.and_then(|provenance| provenance.edition.clone()),
        verified: provenance.map(|provenance| provenance.verified.clone()).unwrap_or_default(),
        fresh_until: provenance.and_then(|provenance| provenance.fresh_until).map(date::format_iso),
        blob: told.blob.map(str::to_owned),
        rule: told.rule,
        passes_on: told.passes_on,
        members: told.members.into_iter().map(MemberView::of).collect(),
        blocks: told.blocks,
        fill: told.fill,
        last_fill: told.last_fill,
        waiting: told.waiting.map(WaitingRow::of),
        next_get: told.next_get,
    }
}

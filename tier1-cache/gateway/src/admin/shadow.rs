//! `/admin/v1/buckets/{name}/shadow`: what a bucket falls through to.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fallthrough_bucket::{Bucket, BucketMode, BucketSettings, ShadowRule};
use fallthrough_object::BucketName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_body, parse_bucket};
use crate::admin::buckets::{How, changeable, mode_for, probe_if, save};
use crate::admin::outbox::WaitingView;
use crate::admin::patch::merge;
use crate::admin::probe::ProbeReport;
use crate::admin::rule::Rule;
use crate::admin::view::{BucketView, Difference};

/// A bucket's whole shadow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowBody {
    /// The bucket's mode. Coming in without one, a plain bucket becomes `migrate` and others stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<BucketMode>,
    /// The rules in order.
    pub rules: Vec<Rule>,
    /// What waits for its delivery to the origin. Only ever goes out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowAnswer {
    /// The bucket as it is now, or would be.
    pub bucket: Option<BucketView>,
    /// Every field that differs.
    pub changes: Vec<Difference>,
    /// Whether it was saved.
    pub saved: bool,
    /// What the probe saw, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeReport>,
}

/// How a rule is to be changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HowRule {
    probe: bool,
    dry_run: bool,
    /// Which rule, from 0.
    rule: usize,
    /// The bucket's mode from now on.
    mode: Option<BucketMode>,
    /// Also if changes wait for their delivery that would go elsewhere: they are dropped.
    force: bool,
}

impl Default for HowRule {
    fn default() -> Self {
        Self { probe: true, dry_run: false, rule: 0, mode: None, force: false }
    }
}

pub(crate) async fn get(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<Json<ShadowBody>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let rules = bucket.settings.shadow.iter().map(Rule::shown).collect();
    let sends = bucket.settings.shadow.iter().any(ShadowRule::goes_through);
    let status = api.parts.engine.outbox_of(&bucket);
    let waiting = (sends || status.waiting() > 0).then(|| WaitingView::of(status));
    Ok(Json(ShadowBody { mode: Some(bucket.settings.mode), rules, waiting }))
}

pub(crate) async fn put(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Json<ShadowAnswer>, ApiError> {
    let wanted: ShadowBody = parse_body(&body)?;
    let bucket = changeable(&api, &parse_bucket(&name)?).await?;
    let shadow = to_store(&wanted.rules, &bucket)?;
    replace(&api, &bucket, wanted.mode, shadow, how).await
}

pub(crate) async fn patch(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<HowRule>,
    body: Bytes,
) -> Result<Json<ShadowAnswer>, ApiError> {
    let patch: Value = parse_body(&body)?;
    let bucket = changeable(&api, &parse_bucket(&name)?).await?;
    let shadow = patched(&bucket, how.rule, &patch)?;
    replace(&api, &bucket, how.mode, shadow, How { probe: how.probe, dry_run: how.dry_run, force: how.force })
        .await
}

/// Which rules are to go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HowClear {
    dry_run: bool,
    /// One of them, from 0; all if not given.
    rule: Option<usize>,
    /// Also if changes wait for their delivery: they are dropped.
    force: bool,
}

pub(crate) async fn clear(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<HowClear>,
) -> Result<Json<ShadowAnswer>, ApiError> {
    let bucket = changeable(&api, &parse_bucket(&name)?).await?;
    let mut shadow = bucket.settings.shadow.clone();
    match how.rule {
        None => shadow.clear(),
        Some(rule) if rule < shadow.len() => drop(shadow.remove(rule)),
        Some(rule) => return Err(no_such_rule(&bucket, rule)),
    }
    // What stays was tried when it was set.
    replace(&api, &bucket, None, shadow, How { probe: false, dry_run: how.dry_run, force: how.force }).await
}

fn no_such_rule(bucket: &Bucket, rule: usize) -> ApiError {
    let count = bucket.settings.shadow.len();
    ApiError::not_found(
        format!("the bucket {} has {count} shadow rules, there is none with number {rule}", bucket.name),
        "rules are numbered from 0; the next free number adds one",
    )
}

/// Tries the shadow that stands, or the one that a PATCH with this body would make. Saves nothing.
pub(crate) async fn test(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<HowRule>,
    body: Bytes,
) -> Result<Json<ProbeReport>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let shadow = if body.iter().all(u8::is_ascii_whitespace) {
        bucket.settings.shadow.clone()
    } else {
        patched(&bucket, how.rule, &parse_body(&body)?)?
    };
    if shadow.is_empty() {
        return Err(ApiError::not_found(
            format!("the bucket {name} has no shadow"),
            "set one (`fallthrough shadow set`)",
        ));
    }
    Ok(Json(probe_all(&api, &bucket.name, &shadow).await))
}

/// Tries every rule, one after the other: a probe is no load test.
pub(crate) async fn probe_all(api: &AdminApi, bucket: &BucketName, shadow: &[ShadowRule]) -> ProbeReport {
    let mut reports = Vec::with_capacity(shadow.len());
    for rule in shadow {
        reports.push(api.parts.prober.probe(bucket, rule).await);
    }
    ProbeReport::join(reports)
}

async fn replace(
    api: &AdminApi,
    bucket: &Arc<Bucket>,
    mode: Option<BucketMode>,
    shadow: Vec<ShadowRule>,
    how: How,
) -> Result<Json<ShadowAnswer>, ApiError> {
    let mode = mode_for(mode, bucket.settings.mode, &shadow)?;
    let probe = probe_if(api, how, &bucket.name, &shadow).await?;
    let settings = BucketSettings { mode, shadow, ..bucket.settings.clone() };
    save(api, bucket, settings, how, probe).await.map(Json)
}

fn to_store(rules: &[Rule], bucket: &Bucket) -> Result<Vec<ShadowRule>, ApiError> {
    rules.iter().enumerate().map(|(index, rule)| rule.to_store(bucket.settings.shadow.get(index))).collect()
}

/// The bucket's rules with `patch` laid over one of them, or with a first or a further one made of it.
fn patched(bucket: &Bucket, index: usize, patch: &Value) -> Result<Vec<ShadowRule>, ApiError> {
    let mut shadow = bucket.settings.shadow.clone();
    if index > shadow.len() {
        return Err(no_such_rule(bucket, index));
    }
    if !patch.is_object() {
        return Err(ApiError::bad_request("the body must be an object", "/openapi.json describes it"));
    }
    let before = shadow.get(index);
    let mut fields = serde_json::to_value(before.map(Rule::shown).unwrap_or_default()).unwrap_or_default();
    merge(&mut fields, patch);
    let rule: Rule = serde_json::from_value(fields).map_err(|error| {
        ApiError::bad_request(
            format!("the change is not what a rule can be: {error}"),
            "/openapi.json describes it",
        )
    })?;
    let rule = rule.to_store(before)?;
    if index == shadow.len() {
        shadow.push(rule);
    } else {
        shadow[index] = rule;
    }
    Ok(shadow)
}

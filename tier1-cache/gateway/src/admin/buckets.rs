//! `/admin/v1/buckets`: making, showing, changing and deleting buckets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fallthrough_bucket::{Bucket, BucketMode, BucketSettings, NewBucket, ShadowRule, ShadowTarget};
use fallthrough_object::BucketName;
use http::StatusCode;
use serde::Deserialize;

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_body, parse_bucket};
use crate::admin::patch::differences;
use crate::admin::probe::ProbeReport;
use crate::admin::shadow::{ShadowAnswer, probe_all};
use crate::admin::view::{BucketChange, BucketPage, BucketView, NewBucketBody, UsageView};

/// Where a list goes on and how long a page is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Paging {
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl Paging {
    /// Rows of a page, 1 to 1,000.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(1000).clamp(1, 1000)
    }

    /// A page of `rows`, of which one more was asked for than the page has, and where the next one goes on, by the name of
    /// its last row; none: this was the last.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, name: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let next = rows.last().filter(|_| more).map(name);
        (rows, next)
    }
}

/// How a change is to be made.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct How {
    /// Try the shadow before it is saved.
    pub(crate) probe: bool,
    /// Only tell what would change.
    pub(crate) dry_run: bool,
    /// Also if changes wait for their delivery that would go elsewhere: they are dropped.
    pub(crate) force: bool,
}

impl Default for How {
    fn default() -> Self {
        Self { probe: true, dry_run: false, force: false }
    }
}

pub(crate) async fn list(
    State(api): State<AdminApi>,
    Query(paging): Query<Paging>,
) -> Result<Json<BucketPage>, ApiError> {
    let after = paging.after.as_deref().map(parse_bucket).transpose()?;
    let buckets = api.parts.engine.buckets(after.as_ref(), paging.limit() + 1).await?;
    let (buckets, next) = paging.cut(buckets, |bucket| bucket.name.to_string());
    Ok(Json(BucketPage { buckets: buckets.iter().map(|bucket| BucketView::of(bucket)).collect(), next }))
}

pub(crate) async fn create(
    State(api): State<AdminApi>,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<(StatusCode, Json<ShadowAnswer>), ApiError> {
    let new: NewBucketBody = parse_body(&body)?;
    let name = parse_bucket(&new.name)?;
    let shadow: Vec<ShadowRule> =
        new.shadow.iter().map(|rule| rule.to_store(None)).collect::<Result<_, _>>()?;
    let declared = api.parts.declarations.now();
    let owner = new.owner.unwrap_or_else(|| declared.root_account.clone());
    if !declared.accounts.contains(&owner) {
        return Err(no_such_account(&owner));
    }
    let settings = BucketSettings {
        owner,
        mode: mode_for(new.mode, BucketMode::Plain, &shadow)?,
        public: new.public.unwrap_or_default(),
        public_fill: new.public_fill.unwrap_or_default(),
        shadow,
        managed: false,
        cache_limit_bytes: new.cache_limit_bytes,
        quota_bytes: new.quota_bytes,
    };
    let probe = probe_if(&api, how, &name, &settings.shadow).await?;
    if how.dry_run {
        return Ok((
            StatusCode::OK,
            Json(ShadowAnswer { bucket: None, changes: Vec::new(), saved: false, probe }),
        ));
    }
    let (engine, named) = (api.parts.engine.clone(), name.clone());
    match api.changes.run(async move { Ok(engine.create_bucket(&named, settings).await?) }).await? {
        NewBucket::Created(bucket) => {
            let answer = ShadowAnswer {
                bucket: Some(BucketView::of(&bucket)),
                changes: Vec::new(),
                saved: true,
                probe,
            };
            Ok((StatusCode::CREATED, Json(answer)))
        }
        NewBucket::Exists(_) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "exists",
            format!("there is a bucket {name} already"),
            "choose another name, or change that one (`fallthrough bucket set`)",
        )),
    }
}

pub(crate) async fn info(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
) -> Result<Json<BucketView>, ApiError> {
    let bucket = api.parts.engine.bucket(&parse_bucket(&name)?).await?;
    let usage = UsageView::of(api.parts.engine.usage(&bucket).await?);
    Ok(Json(BucketView { usage: Some(usage), ..BucketView::of(&bucket) }))
}

pub(crate) async fn change(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<How>,
    body: Bytes,
) -> Result<Json<ShadowAnswer>, ApiError> {
    let change: BucketChange = parse_body(&body)?;
    let bucket = changeable(&api, &parse_bucket(&name)?).await?;
    let mut settings = bucket.settings.clone();
    settings.mode = mode_for(change.mode, settings.mode, &settings.shadow)?;
    if let Some(owner) = change.owner {
        if !api.parts.declarations.now().accounts.contains(&owner) {
            return Err(no_such_account(&owner));
        }
        settings.owner = owner;
    }
    settings.public = change.public.unwrap_or(settings.public);
    settings.public_fill = change.public_fill.unwrap_or(settings.public_fill);
    settings.cache_limit_bytes = change.cache_limit_bytes.unwrap_or(settings.cache_limit_bytes);
    settings.quota_bytes = change.quota_bytes.unwrap_or(settings.quota_bytes);
    save(&api, &bucket, settings, how, None).await.map(Json)
}

pub(crate) async fn delete(
    State(api): State<AdminApi>,
    Path(name): Path<String>,
    Query(how): Query<How>,
) -> Result<StatusCode, ApiError> {
    let bucket = changeable(&api, &parse_bucket(&name)?).await?;
    if !how.dry_run {
        let engine = api.parts.engine.clone();
        api.changes.run(async move { Ok(engine.delete_bucket(&bucket.name).await?) }).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The bucket, if it may be changed here.
pub(crate) async fn changeable(api: &AdminApi, name: &BucketName) -> Result<Arc<Bucket>, ApiError> {
    let bucket = api.parts.engine.bucket(name).await?;
    if api.parts.declarations.now().buckets.contains(name) {
        return Err(ApiError::managed(&format!("the bucket {name}")));
    }
    Ok(bucket)
}

/// Saves `settings` if nobody else changed the bucket since `bucket` was read, and tells the difference.
pub(crate) async fn save(
    api: &AdminApi,
    bucket: &Arc<Bucket>,
    mut settings: BucketSettings,
    how: How,
    probe: Option<ProbeReport>,
) -> Result<ShadowAnswer, ApiError> {
    // Only what is not declared gets here, whatever its row still says.
    settings.managed = false;
    let told = |view: &BucketView| serde_json::to_value(view).unwrap_or_default();
    let mut changes =
        differences(&told(&BucketView::of(bucket)), &told(&BucketView::with(bucket, &settings)));
    if secrets(&bucket.settings.shadow) != secrets(&settings.shadow) {
        let set = |text: &str| serde_json::Value::String(text.to_owned());
        changes.push(crate::admin::view::Difference {
            field: "shadow.secret_key".to_owned(),
            before: set("(the old one)"),
            after: set("(the new one)"),
        });
    }
    if how.dry_run {
        let waiting = api.parts.engine.outbox_of(bucket).waiting();
        if waiting > 0 && !how.force && bucket.settings.sends_elsewhere(&settings) {
            return Err(fallthrough_bucket::BucketError::NotDelivered { waiting }.into());
        }
        let view = BucketView::with(bucket, &settings);
        return Ok(ShadowAnswer { bucket: Some(view), changes, saved: false, probe });
    }
    // The engine may call the change again on a newer row; it is made only over the row that the caller saw.
    let seen = bucket.settings.clone();
    let wanted = settings.clone();
    let (engine, name) = (api.parts.engine.clone(), bucket.name.clone());
    let saved = api
        .changes
        .run(async move {
            let change = move |now: &mut BucketSettings| {
                if *now == seen {
                    *now = wanted.clone();
                }
            };
            Ok(engine.set_bucket_by(&name, &change, how.force).await?)
        })
        .await?;
    if saved.settings != settings {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            format!("somebody else changed the bucket {} at the same time", bucket.name),
            "look at it again (`fallthrough bucket info`), then try again",
        ));
    }
    Ok(ShadowAnswer { bucket: Some(BucketView::of(&saved)), changes, saved: true, probe })
}

fn secrets(rules: &[ShadowRule]) -> Vec<Option<&str>> {
    fn secret(place: &ShadowTarget) -> Option<&str> {
        match place {
            ShadowTarget::S3 { credentials, .. } => {
                credentials.as_ref().map(|credentials| credentials.secret_key.as_str())
            }
            ShadowTarget::Origin { .. } | ShadowTarget::Http { .. } => None,
        }
    }
    // A secret that came or went with its access key shows there.
    rules.iter().flat_map(ShadowRule::places).map(secret).filter(Option::is_some).collect()
}

/// The mode that fits the shadow: the one asked for, or the present one if it fits, else the usual one.
pub(crate) fn mode_for(
    asked: Option<BucketMode>,
    present: BucketMode,
    shadow: &[ShadowRule],
) -> Result<BucketMode, ApiError> {
    let invalid = crate::admin::rule::invalid;
    match (asked.unwrap_or(present), shadow.is_empty()) {
        (BucketMode::Plain, true) => Ok(BucketMode::Plain),
        (BucketMode::Plain, false) if asked.is_none() => Ok(BucketMode::Migrate),
        (BucketMode::Plain, false) => Err(invalid(
            "a plain bucket has no shadow",
            "clear the shadow (`fallthrough shadow clear`), which makes it plain",
        )),
        (BucketMode::Migrate | BucketMode::Cache | BucketMode::Compute, true) if asked.is_none() => {
            Ok(BucketMode::Plain)
        }
        (BucketMode::Migrate | BucketMode::Cache | BucketMode::Compute, true) => Err(invalid(
            "this mode needs a shadow",
            "set the shadow and the mode together (--mode with --shadow-…)",
        )),
        (mode @ (BucketMode::Migrate | BucketMode::Cache | BucketMode::Compute), false) => Ok(mode),
    }
}

/// Tries the rules if the call wants it; an error with the report if they do not pass.
pub(crate) async fn probe_if(
    api: &AdminApi,
    how: How,
    bucket: &BucketName,
    shadow: &[ShadowRule],
) -> Result<Option<ProbeReport>, ApiError> {
    if !how.probe || shadow.is_empty() {
        return Ok(None);
    }
    let report = probe_all(api, bucket, shadow).await;
    if report.ok { Ok(Some(report)) } else { Err(ApiError::probe_failed(report)) }
}

pub(crate) fn no_such_account(account: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "no_such_account",
        format!("there is no account {account:?}"),
        "declare it as [[account]] in the configuration file, or leave it out for the root account",
    )
}

//! `/admin/v1/keys`: access keys.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fallthrough_bucket::{AccessKeyRow, Grant};
use fallthrough_wire::date;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

use crate::admin::answer::{ApiError, parse_body, parse_bucket};
use crate::admin::buckets::{Paging, no_such_account};
use crate::admin::{AdminApi, AdminParts};

/// Letters of ids and secrets. 32 of them, so that five random bits choose one without bias; without those
/// that look alike.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Letters of an id after `FT`: 90 bits, so that ids never meet.
const ID_LETTERS: usize = 18;
/// Letters of a secret: 200 bits.
const SECRET_LETTERS: usize = 40;

/// An access key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// The secret half; only in the answer that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The account it belongs to.
    pub account: String,
    /// When it was made, ISO 8601, UTC.
    pub created: String,
    /// Refused from then on, ISO 8601, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What it may do; not there: all that its account may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// Declared in the configuration, or the root account's own: cannot be revoked here.
    pub fixed: bool,
}

// Written by hand: the secret of a new key must not reach a log.
impl std::fmt::Debug for KeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyView({} of {})", self.id, self.account)
    }
}

/// A page of access keys in order of id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyView>,
    /// Give it as `after` for the next page; none: this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewKey {
    /// The account it is to belong to; root if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it may do; all that its account may if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// Seconds until it expires; never if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<u64>,
}

/// What is to be changed of a key. What is not there stays; `null` takes a limit away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyChange {
    /// What it may do; `null`: all that its account may.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub grants: Option<Option<Vec<Grant>>>,
    /// Seconds until it expires; `null`: never; 0: at once.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub expires_in_secs: Option<Option<u64>>,
}

/// Tells `null` from what is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// How a key is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRotation {
    /// Seconds for which the old key goes on beside the new one; a day if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_secs: Option<u64>,
}

/// How long a key that is replaced goes on.
const KEEP_SECS: u64 = 24 * 3600;

pub(crate) async fn list(
    State(api): State<AdminApi>,
    Query(paging): Query<Paging>,
) -> Result<Json<KeyPage>, ApiError> {
    let rows = api.parts.engine.access_keys(paging.after.as_deref(), paging.limit() + 1).await?;
    let (rows, next) = paging.cut(rows, |row| row.id.clone());
    Ok(Json(KeyPage { keys: rows.into_iter().map(|row| view(&api, row, None)).collect(), next }))
}

pub(crate) async fn create(
    State(api): State<AdminApi>,
    body: Bytes,
) -> Result<(StatusCode, Json<KeyView>), ApiError> {
    let new: NewKey = if body.is_empty() { NewKey::default() } else { parse_body(&body)? };
    let declared = api.parts.declarations.now();
    let account = new.account.unwrap_or_else(|| declared.root_account.clone());
    if !declared.accounts.contains(&account) {
        return Err(no_such_account(&account));
    }
    check_grants(new.grants.as_deref())?;
    if new.expires_in_secs == Some(0) {
        return Err(ApiError::bad_request("the key would have expired already", "give at least 1 second"));
    }
    let now = api.parts.clock.now();
    let row = AccessKeyRow {
        id: format!("FT{}", random_text(&api, ID_LETTERS)),
        secret: random_text(&api, SECRET_LETTERS),
        account,
        created: now,
        expires: new.expires_in_secs.map(|secs| now.plus(Duration::from_secs(secs))),
        grants: new.grants,
    };
    let (parts, new) = (Arc::clone(&api.parts), row.clone());
    api.changes.run(async move { put(&parts, new).await }).await?;
    let secret = row.secret.clone();
    Ok((StatusCode::CREATED, Json(view(&api, row, Some(secret)))))
}

async fn put(parts: &AdminParts, row: AccessKeyRow) -> Result<(), ApiError> {
    let id = row.id.clone();
    let put = parts.engine.put_access_key(row).await;
    // Also where it failed: what is in doubt may stand, and is read again.
    (parts.key_changed)(&id);
    Ok(put?)
}

/// Changes a key; what it is then.
async fn change_row(
    parts: &AdminParts,
    id: &str,
    change: &(dyn Fn(&mut AccessKeyRow) + Send + Sync),
) -> Result<AccessKeyRow, ApiError> {
    let changed = parts.engine.change_access_key(id, change).await;
    (parts.key_changed)(id);
    changed?.ok_or_else(no_such_key)
}

fn check_grants(grants: Option<&[Grant]>) -> Result<(), ApiError> {
    for grant in grants.unwrap_or_default().iter().filter(|grant| grant.bucket != "*") {
        parse_bucket(&grant.bucket)?;
    }
    Ok(())
}

/// One key.
pub(crate) async fn show(
    State(api): State<AdminApi>,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    let row = api.parts.engine.access_key(&id).await?.ok_or_else(no_such_key)?;
    Ok(Json(view(&api, row, None)))
}

/// Limits a key, or lets it expire.
pub(crate) async fn change(
    State(api): State<AdminApi>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<KeyView>, ApiError> {
    let wanted: KeyChange = parse_body(&body)?;
    check_grants(wanted.grants.iter().flatten().map(Vec::as_slice).next())?;
    refuse_fixed(&api, &id)?;
    let now = api.parts.clock.now();
    let change = move |row: &mut AccessKeyRow| {
        if let Some(grants) = &wanted.grants {
            row.grants.clone_from(grants);
        }
        if let Some(secs) = wanted.expires_in_secs {
            row.expires = secs.map(|secs| now.plus(Duration::from_secs(secs)));
        }
    };
    let parts = Arc::clone(&api.parts);
    let row = api.changes.run(async move { change_row(&parts, &id, &change).await }).await?;
    Ok(Json(view(&api, row, None)))
}

/// Makes a key that may do what the old one may, which ends after a while: the answer has the new one's secret.
pub(crate) async fn rotate(
    State(api): State<AdminApi>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<KeyView>), ApiError> {
    let how: KeyRotation = if body.is_empty() { KeyRotation::default() } else { parse_body(&body)? };
    refuse_fixed(&api, &id)?;
    let old = api.parts.engine.access_key(&id).await?.ok_or_else(no_such_key)?;
    let now = api.parts.clock.now();
    let new = AccessKeyRow {
        id: format!("FT{}", random_text(&api, ID_LETTERS)),
        secret: random_text(&api, SECRET_LETTERS),
        created: now,
        ..old
    };
    let end = now.plus(Duration::from_secs(how.keep_secs.unwrap_or(KEEP_SECS)));
    // One that ends before that anyway does not live longer for being replaced.
    let ends = move |row: &mut AccessKeyRow| row.expires = Some(row.expires.map_or(end, |own| own.min(end)));
    let (parts, row) = (Arc::clone(&api.parts), new.clone());
    api.changes
        .run(async move {
            // The new one first: whatever fails then, there is a key.
            put(&parts, row).await?;
            change_row(&parts, &id, &ends).await.map(drop)
        })
        .await?;
    let secret = new.secret.clone();
    Ok((StatusCode::CREATED, Json(view(&api, new, Some(secret)))))
}

fn no_such_key() -> ApiError {
    ApiError::not_found("there is no such access key", "`fallthrough key list` shows the keys that there are")
}

fn refuse_fixed(api: &AdminApi, id: &str) -> Result<(), ApiError> {
    if !api.parts.declarations.now().fixed_keys.contains(id) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::CONFLICT,
        "managed",
        format!("the key {id} is declared in the configuration, or is the root account's own"),
        "change the configuration file and reload it (`fallthrough config reload`); a root key that was made \
         by itself is replaced by deleting `root-key.json` in the data folder and restarting the server",
    ))
}

/// Which key to revoke, and whether to.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Revoke {
    dry_run: bool,
}

pub(crate) async fn revoke(
    State(api): State<AdminApi>,
    Path(id): Path<String>,
    Query(how): Query<Revoke>,
) -> Result<StatusCode, ApiError> {
    refuse_fixed(&api, &id)?;
    let existed = if how.dry_run {
        api.parts.engine.access_key(&id).await?.is_some()
    } else {
        let parts = Arc::clone(&api.parts);
        api.changes
            .run(async move {
                let deleted = parts.engine.delete_access_key(&id).await;
                // Also where it failed: what is in doubt may be gone, and is read again.
                (parts.key_changed)(&id);
                Ok(deleted?)
            })
            .await?
    };
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_key()) }
}

fn view(api: &AdminApi, row: AccessKeyRow, secret: Option<String>) -> KeyView {
    KeyView {
        fixed: api.parts.declarations.now().fixed_keys.contains(&row.id),
        id: row.id,
        secret,
        account: row.account,
        created: date::format_iso(row.created),
        expires: row.expires.map(date::format_iso),
        grants: row.grants,
    }
}

fn random_text(api: &AdminApi, letters: usize) -> String {
    let mut bytes = vec![0; letters];
    api.parts.entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

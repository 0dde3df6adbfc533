//! `/admin/v1/keys`: access keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fallthrough_bucket::{AccessKeyRow, Grant};
use fallthrough_wire::date;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::{ApiError, parse_body, parse_bucket};
use crate::admin::buckets::{Paging, no_such_account};

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

pub(crate) async fn list(
    State(api): State<AdminApi>,
    Query(paging): Query<Paging>,
) -> Result<Json<KeyPage>, ApiError> {
    let mut rows = api.parts.engine.access_keys(paging.after.as_deref(), paging.limit() + 1).await?;
    let more = rows.len() > paging.limit();
    rows.truncate(paging.limit());
    let next = rows.last().filter(|_| more).map(|row| row.id.clone());
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
    for grant in new.grants.iter().flatten().filter(|grant| grant.bucket != "*") {
        parse_bucket(&grant.bucket)?;
    }
    if new.expires_in_secs == Some(0) {
        return Err(ApiError::bad_request("the key would have expired already", "give at least 1 second"));
    }
    let now = api.parts.clock.now();
    let row = AccessKeyRow {
        id: format!("FT{}", random_text(&api, ID_LETTERS)),
        secret: random_text(&api, SECRET_LETTERS),
        account,
        created: now,
        expires: new.expires_in_secs.map(|secs| now.plus(std::time::Duration::from_secs(secs))),
        grants: new.grants,
    };
    let (parts, new) = (Arc::clone(&api.parts), row.clone());
    api.changes
        .run(async move {
            let id = new.id.clone();
            let put = parts.engine.put_access_key(new).await;
            (parts.key_changed)(&id);
            Ok(put?)
        })
        .await?;
    let secret = row.secret.clone();
    Ok((StatusCode::CREATED, Json(view(&api, row, Some(secret)))))
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
    if api.parts.declarations.now().fixed_keys.contains(&id) {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "managed",
            format!("the key {id} is declared in the configuration, or is the root account's own"),
            "change the configuration file and reload it (`fallthrough config reload`); a root key that was made \
             by itself is replaced by deleting `root-key.json` in the data folder and restarting the server",
        ));
    }
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
    if existed {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found(
            "there is no such access key",
            "`fallthrough key list` shows the keys that there are",
        ))
    }
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

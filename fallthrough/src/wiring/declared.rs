//! Brings the store in line with the declarations: accounts' keys and managed buckets.

use std::collections::BTreeSet;
use std::path::Path;

use fallthrough_bucket::{AccessKeyRow, BucketError, BucketSettings, Engine, NewBucket};
use fallthrough_object::Clock;

use crate::failure::Failure;
use crate::settings::{AccountSettings, BucketDeclaration, Settings};
use crate::wiring::root::keep_privately;

/// Ids of the access keys that were declared at the last start: those that no longer are must go.
const DECLARED_KEYS_FILE: &str = "declared-keys.json";
/// Rows read at once.
const PAGE: usize = 1000;

/// Makes the keys of `accounts` valid, and removes those that were declared once and are not any more.
///
/// # Errors
/// The store or the data folder fails.
pub(crate) async fn accounts(
    engine: &Engine,
    data: &Path,
    accounts: &[AccountSettings],
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let path = data.join(DECLARED_KEYS_FILE);
    let now: BTreeSet<String> = accounts.iter().map(|account| account.access_key.clone()).collect();
    let before: BTreeSet<String> = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| {
            Failure::new(
                format!("{} is damaged: {error}", path.display()),
                "delete it, and revoke keys that are no longer declared with `fallthrough key revoke`",
            )
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => {
            return Err(Failure::new(
                format!("{} cannot be read: {error}", path.display()),
                "make the data folder readable for this user",
            ));
        }
    };
    // The file always names at least what is in the store: it grows before keys are added, and shrinks after
    // they are removed.
    if !now.is_subset(&before) {
        keep(&path, &before.union(&now).cloned().collect())?;
    }
    for account in accounts {
        let old = engine.access_key(&account.access_key).await.map_err(store_failed)?;
        let row = AccessKeyRow {
            id: account.access_key.clone(),
            secret: account.secret_key.reveal().to_owned(),
            account: account.id.clone(),
            created: old.as_ref().map_or_else(|| clock.now(), |old| old.created),
            expires: None,
            grants: None,
        };
        if old.as_ref() != Some(&row) {
            engine.put_access_key(row).await.map_err(store_failed)?;
        }
    }
    for gone in before.difference(&now) {
        engine.delete_access_key(gone).await.map_err(store_failed)?;
        tracing::info!(key = gone, "an access key is no longer declared and was removed");
    }
    if before != now {
        keep(&path, &now)?;
    }
    Ok(())
}

fn keep(path: &Path, ids: &BTreeSet<String>) -> Result<(), Failure> {
    keep_privately(path, &serde_json::to_string(ids).expect("a set of texts is JSON"))
}

/// Makes the declared buckets, brings those that exist in line, and sets those free that are no longer declared.
///
/// # Errors
/// A declaration that the engine refuses; the store fails.
pub(crate) async fn buckets(engine: &Engine, settings: &Settings, owner: &str) -> Result<(), Failure> {
    for (name, declared) in &settings.buckets {
        let wanted = settings_of(declared, owner);
        let refused = |error: BucketError| match error {
            BucketError::InvalidSettings { reason } => Failure::new(
                format!("the bucket {name} cannot be as it is declared: {reason}"),
                "mend [bucket] in the configuration",
            ),
            other => store_failed(other),
        };
        match engine.create_bucket(name, wanted.clone()).await.map_err(refused)? {
            NewBucket::Created(_) => tracing::info!(bucket = %name, "a declared bucket was made"),
            NewBucket::Exists(bucket) => {
                let wanted = BucketSettings { owner: bucket.settings.owner.clone(), ..wanted };
                if bucket.settings != wanted {
                    engine
                        .set_bucket(name, &move |now: &mut BucketSettings| *now = wanted.clone())
                        .await
                        .map_err(refused)?;
                    tracing::info!(bucket = %name, "a declared bucket was brought in line");
                }
            }
        }
    }
    set_free(engine, settings).await
}

async fn set_free(engine: &Engine, settings: &Settings) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = engine.buckets(after.as_ref(), PAGE).await.map_err(store_failed)?;
        for bucket in &page {
            if bucket.settings.managed && !settings.buckets.contains_key(&bucket.name) {
                let freed =
                    engine.set_bucket(&bucket.name, &|now: &mut BucketSettings| now.managed = false).await;
                match freed {
                    Ok(_) => {
                        tracing::info!(bucket = %bucket.name, "a bucket is no longer declared and can be changed freely");
                    }
                    // What it falls through to is no longer declared either. Its shadow is not cleared for
                    // that: keys that are not here yet would look as if they did not exist.
                    Err(BucketError::InvalidSettings { reason }) => tracing::warn!(
                        bucket = %bucket.name,
                        reason,
                        "a bucket is no longer declared, and what it falls through to cannot be had; set or clear its shadow"
                    ),
                    Err(other) => return Err(store_failed(other)),
                }
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

fn settings_of(declared: &BucketDeclaration, owner: &str) -> BucketSettings {
    BucketSettings {
        owner: owner.to_owned(),
        mode: declared.mode,
        public: declared.public,
        public_fill: declared.public_fill,
        shadow: declared.shadow.clone(),
        managed: true,
    }
}

fn store_failed(error: BucketError) -> Failure {
    Failure::new(
        format!("the store cannot be prepared: {error}"),
        "look at the log, and at the disk of the data folder",
    )
}

//! Brings the store in line with the declarations: accounts' keys, origins and managed buckets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fallthrough_bucket::{
    AccessKeyRow, AccountRow, Bucket, BucketError, BucketSettings, Engine, NewBucket, ShadowFactory,
    ShadowRule, ShadowTarget, check_settings,
};
use fallthrough_object::{BucketName, Clock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::settings::{AccountSettings, BucketDeclaration, Settings};
use crate::wiring::root::{self, keep_privately};

/// Ids of the access keys that were declared at the last start: those that no longer are must go.
const DECLARED_KEYS_FILE: &str = "declared-keys.json";
/// What each declared origin was, by its name, when its buckets' shadows were last brought in line.
const DECLARED_ORIGINS_FILE: &str = "declared-origins.json";
/// Rows read at once.
const PAGE: usize = 1000;

/// Makes the keys of `accounts` valid, and removes those that were declared once and are not any more. `changed` is
/// told of each key that is not what it was, so that nobody goes on believing its old row.
///
/// # Errors
/// The store or the data folder fails.
pub(crate) async fn accounts(
    engine: &Engine,
    data: &Path,
    accounts: &[AccountSettings],
    clock: &dyn Clock,
    changed: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Failure> {
    let path = data.join(DECLARED_KEYS_FILE);
    let now: BTreeSet<String> = accounts.iter().map(|account| account.access_key.clone()).collect();
    let before: BTreeSet<String> =
        kept(&path, "delete it, and revoke keys that are no longer declared with `fallthrough key revoke`")?;
    // The file always names at least what is in the store: it grows before keys are added, and shrinks after
    // they are removed.
    if !now.is_subset(&before) {
        keep(&path, &before.union(&now).collect::<BTreeSet<_>>())?;
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
            let id = row.id.clone();
            let put = engine.put_access_key(row).await;
            // Also where it failed: what is in doubt may stand, and is read again.
            changed(&id);
            put.map_err(store_failed)?;
        }
    }
    name_accounts(engine, accounts).await?;
    for gone in before.difference(&now) {
        let deleted = engine.delete_access_key(gone).await;
        changed(gone);
        deleted.map_err(store_failed)?;
        tracing::info!(key = gone, "an access key is no longer declared and was removed");
    }
    if before != now {
        keep(&path, &now)?;
    }
    Ok(())
}

/// Lets others see what is declared of accounts. One that is no longer declared keeps its id and its name, which buckets and
/// grants may refer to, but no address: somebody else may have that by now.
async fn name_accounts(engine: &Engine, accounts: &[AccountSettings]) -> Result<(), Failure> {
    for account in accounts {
        let row = AccountRow {
            id: account.id.clone(),
            display_name: account.display_name.clone(),
            email: account.email.clone(),
        };
        if engine.account(&row.id).await.map_err(store_failed)?.as_ref() != Some(&row) {
            engine.put_account(&row).await.map_err(store_failed)?;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let page = engine.accounts(after.as_deref(), PAGE).await.map_err(store_failed)?;
        let is_declared = |row: &AccountRow| accounts.iter().any(|account| account.id == row.id);
        for row in page.iter().filter(|row| row.email.is_some() && !is_declared(row)) {
            let row = AccountRow { email: None, ..row.clone() };
            engine.put_account(&row).await.map_err(store_failed)?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

/// What was kept; nothing if nothing was.
fn kept<T: DeserializeOwned + Default>(path: &Path, mend: &str) -> Result<T, Failure> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| Failure::new(format!("{} is damaged: {error}", path.display()), mend)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(Failure::new(
            format!("{} cannot be read: {error}", path.display()),
            "make the data folder readable for this user",
        )),
    }
}

fn keep<T: Serialize>(path: &Path, what: &T) -> Result<(), Failure> {
    keep_privately(path, &serde_json::to_string(what).expect("texts are JSON"))
}

/// Sets the shadow of a bucket anew if an origin that it names is `changed`, or is another one than it was when the
/// server last ran: what was observed of the other one is not believed, and no fill from it commits.
///
/// # Errors
/// The store or the data folder fails.
pub(crate) async fn origins(
    engine: &Engine,
    settings: &Settings,
    changed: &BTreeSet<String>,
) -> Result<(), Failure> {
    let path = settings.store.data.join(DECLARED_ORIGINS_FILE);
    let before: BTreeMap<String, String> =
        kept(&path, "delete it, and purge what was copied if an origin was declared anew meanwhile")?;
    let mut now = before.clone();
    now.extend(settings.origins.iter().map(|(name, declared)| (name.clone(), declared.kind.identity())));
    let is_other = |name: &String| {
        changed.contains(name) || before.get(name).is_some_and(|before| now.get(name) != Some(before))
    };
    let is_concerned = |bucket: &Bucket| {
        bucket.settings.shadow.iter().flat_map(ShadowRule::places).any(|place| match place {
            ShadowTarget::Origin { origin } => is_other(origin),
            ShadowTarget::S3 { .. } | ShadowTarget::Http { .. } => false,
        })
    };
    for bucket in every_bucket(engine).await?.iter().filter(|bucket| is_concerned(bucket)) {
        engine.renew_shadow(&bucket.name).await.map_err(store_failed)?;
        tracing::info!(bucket = %bucket.name, "what it falls through to was declared anew");
    }
    // Names that are gone are kept: they may come back as something else.
    if now != before {
        keep(&path, &now)?;
    }
    Ok(())
}

/// Whether the declared buckets can be as they are declared, with shadows from this factory.
///
/// # Errors
/// The first that cannot.
pub(crate) fn check_buckets(shadows: &dyn ShadowFactory, settings: &Settings) -> Result<(), Failure> {
    settings.buckets.iter().try_for_each(|(name, declared)| {
        check_settings(shadows, name, &settings_of(declared, "")).map_err(|error| refused(name, error))
    })
}

fn refused(name: &BucketName, error: BucketError) -> Failure {
    match error {
        BucketError::InvalidSettings { reason } => Failure::new(
            format!("the bucket {name} cannot be as it is declared: {reason}"),
            "mend [bucket] in the configuration",
        ),
        other => store_failed(other),
    }
}

/// Makes the declared buckets, brings those that exist in line, and sets those free that are no longer declared.
///
/// # Errors
/// A declaration that the engine refuses; the store fails.
pub(crate) async fn buckets(engine: &Engine, settings: &Settings, owner: &str) -> Result<(), Failure> {
    for (name, declared) in &settings.buckets {
        let wanted = settings_of(declared, owner);
        let refused = |error| refused(name, error);
        match engine.create_bucket(name, wanted.clone()).await.map_err(refused)? {
            NewBucket::Created(_) => tracing::info!(bucket = %name, "a declared bucket was made"),
            NewBucket::Exists(bucket) => {
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

/// What belongs to the account that was made at the first start goes to `root`, once accounts are declared: or nobody
/// could reach it any more. What belongs to anybody else who is not declared is told of.
///
/// # Errors
/// The store or the data folder fails.
pub(crate) async fn heirs(
    engine: &Engine,
    settings: &Settings,
    root: &AccountSettings,
    changed: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Failure> {
    let made = root::made(settings)?;
    let is_declared =
        |id: &String| *id == root.id || settings.accounts.iter().any(|account| account.id == *id);
    let inherits = |id: &String| !is_declared(id) && made.as_ref() == Some(id);
    for bucket in every_bucket(engine).await? {
        let owner = &bucket.settings.owner;
        if inherits(owner) {
            let moved = engine
                .set_bucket(&bucket.name, &|now: &mut BucketSettings| root.id.clone_into(&mut now.owner))
                .await;
            moved.map_err(|error| refused(&bucket.name, error))?;
            tracing::info!(bucket = %bucket.name, owner = root.id, "a bucket of the account that was made at the first start has a new owner");
        } else if !is_declared(owner) {
            tracing::warn!(bucket = %bucket.name, owner, "the owner of a bucket is not declared: declare it, or name another with `fallthrough bucket set --owner`");
        }
    }
    let mut after = None;
    loop {
        let page = engine.access_keys(after.as_deref(), PAGE).await.map_err(store_failed)?;
        for row in &page {
            // Keys of stores from before there were accounts: theirs are known from here on.
            if engine.account(&row.account).await.map_err(store_failed)?.is_none() {
                engine.put_account(&AccountRow::of(&row.account)).await.map_err(store_failed)?;
            }
        }
        for row in page.iter().filter(|row| inherits(&row.account)) {
            let row = AccessKeyRow { account: root.id.clone(), ..row.clone() };
            let id = row.id.clone();
            engine.put_access_key(row).await.map_err(store_failed)?;
            changed(&id);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

async fn set_free(engine: &Engine, settings: &Settings) -> Result<(), Failure> {
    for bucket in every_bucket(engine).await? {
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
    Ok(())
}

/// All buckets, as they are now.
async fn every_bucket(engine: &Engine) -> Result<Vec<Arc<Bucket>>, Failure> {
    let mut all: Vec<Arc<Bucket>> = Vec::new();
    loop {
        let page = engine.buckets(all.last().map(|last| &last.name), PAGE).await.map_err(store_failed)?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
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
        cache_limit_bytes: declared.cache_limit_bytes,
        quota_bytes: declared.quota_bytes,
    }
}

fn store_failed(error: BucketError) -> Failure {
    Failure::new(
        format!("the store cannot be prepared: {error}"),
        "look at the log, and at the disk of the data folder",
    )
}

//! Moving what is behind a bucket here: counting it, copying it in the background, comparing it, and detaching the shadow.
//!
//! What is here wins throughout: a key that a client has written or deleted is left alone. Where the migration is, is
//! kept in the index with every step, so that it goes on there after a restart; nothing is copied twice, since what is
//! here is found. Memory does not grow with the number of objects.

mod comparing;
mod copying;
mod progress;
mod walk;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fallthrough_object::Key;
use fallthrough_store::{
    Bucket, BucketId, BucketMode, CommitError, MigrationChange, MigrationNote, MigrationOptions,
    MigrationPhase, MigrationRow,
};
use tokio::sync::Notify;

use crate::api::BucketError;
use crate::core::commit::MAX_CONFLICTS;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;

use progress::Live;
pub use progress::{MigrationProgress, MigrationRate};

/// What became of an object, as the tallies and notes name it.
pub mod outcome {
    /// It was copied here.
    pub const COPIED: &str = "copied";
    /// It was here.
    pub const PRESENT: &str = "present";
    /// It could not be copied.
    pub const FAILED: &str = "failed";
    /// Here and there alike.
    pub const SAME: &str = "same";
    /// There, and not here.
    pub const MISSING: &str = "missing";
    /// A copy that is not what is there now.
    pub const DIFFERENT: &str = "different";
    /// Written here over what is there: ours wins.
    pub const CHANGED: &str = "changed";
    /// Here, and not there.
    pub const EXTRA: &str = "extra";
    /// Deleted here, and still there.
    pub const TOMBSTONED: &str = "tombstoned";
    /// Of the same size, but the shadow gives no ETag to compare.
    pub const UNVERIFIABLE: &str = "unverifiable";
}

/// Notes of one kind that are kept; beyond that they are only counted.
const NOTES_MAX: u64 = 100_000;

/// Why an order was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MigrationRefused {
    /// The bucket is not being migrated.
    #[error("the bucket is not being migrated")]
    NotMigrating,
    /// It cannot be done now, for each of these reasons.
    #[error("{}", .0.join("; "))]
    NotNow(Vec<String>),
    /// The engine failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

/// What somebody orders of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationOrder {
    /// Wait.
    Pause,
    /// Go on, also after it stopped by itself.
    Resume,
    /// Try again what could not be copied.
    Retry,
    /// Compare what is here with what is there.
    Verify,
}

/// A migration as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationStatus {
    /// As the index has it.
    pub row: MigrationRow,
    /// What it does at this moment.
    pub progress: MigrationProgress,
}

/// What the worker and everybody else share. One entry for each bucket that is being migrated.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    wake: Notify,
    live: Mutex<BTreeMap<BucketId, Arc<Live>>>,
}

impl Migrations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BucketId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, bucket: BucketId) -> Arc<Live> {
        self.lock().entry(bucket).or_default().clone()
    }

    /// Tells the worker, and the task of this bucket, that there are new orders.
    fn ordered(&self, bucket: BucketId) {
        if let Some(live) = self.lock().get(&bucket) {
            live.interrupt();
        }
        self.wake.notify_one();
    }
}

fn is_active(row: &MigrationRow) -> bool {
    let paused = row.paused && !planted(Mutant::PausedGoesOn);
    row.phase != MigrationPhase::Idle && !paused && row.halted.is_none() && row.cut_over.is_none()
}

impl Engine {
    /// Begins to move what is behind `bucket` here, or begins anew.
    ///
    /// # Errors
    /// [`MigrationRefused::NotNow`] if it is under way already, or no rule has a list that names our keys.
    pub async fn start_migration(
        &self,
        bucket: &Arc<Bucket>,
        options: MigrationOptions,
    ) -> Result<MigrationStatus, MigrationRefused> {
        let not_now = |reason: &str| Err(MigrationRefused::NotNow(vec![reason.to_owned()]));
        match bucket.settings.mode {
            BucketMode::Migrate | BucketMode::Cache => {}
            BucketMode::Plain => return not_now("the bucket has no shadow"),
            BucketMode::Compute => return not_now("what a compute origin makes has no list to copy from"),
        }
        if !self.behind(bucket)?.all().iter().any(|behind| behind.can_list()) {
            return not_now("none of its shadows has a list that names its keys as they are named here");
        }
        let before = self.inner.store.migration(bucket.id).await.map_err(BucketError::from)?;
        if before.as_ref().is_some_and(|(row, _)| row.phase != MigrationPhase::Idle) {
            return not_now("it is under way: resume or cancel it, or change nothing");
        }
        self.inner.store.forget_notes(bucket.id).await.map_err(BucketError::from)?;
        let row = MigrationRow {
            started: self.inner.clock.now(),
            gate_version: bucket.gate_version,
            options,
            ..MigrationRow::default()
        };
        let change = MigrationChange { row, notes: Vec::new() };
        let seen = before.map(|(_, version)| version);
        self.inner.store.put_migration(bucket, seen, &change).await.map_err(refused)?;
        self.inner.migrations.live(bucket.id).begin();
        self.inner.migrations.ordered(bucket.id);
        self.migration(bucket).await
    }

    /// How the migration of `bucket` is.
    ///
    /// # Errors
    /// [`MigrationRefused::NotMigrating`]; the store's.
    pub async fn migration(&self, bucket: &Arc<Bucket>) -> Result<MigrationStatus, MigrationRefused> {
        let found = self.inner.store.migration(bucket.id).await.map_err(BucketError::from)?;
        let Some((row, _)) = found else { return Err(MigrationRefused::NotMigrating) };
        let live = self.inner.migrations.lock().get(&bucket.id).cloned();
        let now = self.inner.clock.monotonic();
        let progress = live.map_or_else(MigrationProgress::default, |live| live.shown(now));
        Ok(MigrationStatus { row, progress })
    }

    /// Gives an order; it is durable when this returns, and the worker has been told.
    ///
    /// # Errors
    /// [`MigrationRefused`].
    pub async fn order_migration(
        &self,
        bucket: &Arc<Bucket>,
        order: MigrationOrder,
    ) -> Result<MigrationStatus, MigrationRefused> {
        if order == MigrationOrder::Verify {
            let (row, _) = self.migration_row(bucket).await?;
            takes_orders(&row)?;
            if is_active(&row) {
                return Err(MigrationRefused::NotNow(vec![
                    "it is still at work: wait for its end".to_owned(),
                ]));
            }
            self.inner.store.forget_notes(bucket.id).await.map_err(BucketError::from)?;
        }
        self.change_migration(bucket, &[], |row| {
            takes_orders(row)?;
            match order {
                MigrationOrder::Pause => row.paused = true,
                MigrationOrder::Resume => (row.paused, row.halted) = (false, None),
                MigrationOrder::Retry if row.phase == MigrationPhase::Idle => {
                    row.phase = MigrationPhase::Retrying;
                }
                MigrationOrder::Retry => {}
                MigrationOrder::Verify => {
                    row.phase = MigrationPhase::Comparing;
                    (row.paused, row.halted) = (false, None);
                    (row.compared, row.verified_at) = Default::default();
                }
            }
            // A shadow that was changed since is another one; whoever says "go on" means the one that is there.
            row.gate_version = bucket.gate_version;
            Ok(())
        })
        .await?;
        self.inner.migrations.ordered(bucket.id);
        self.migration(bucket).await
    }

    /// Ends the migration and forgets how far it was; what was copied stays.
    ///
    /// # Errors
    /// [`MigrationRefused::NotMigrating`]; the store's.
    pub async fn cancel_migration(&self, bucket: &Arc<Bucket>) -> Result<(), MigrationRefused> {
        self.migration_row(bucket).await?;
        self.inner.store.forget_migration(bucket.id).await.map_err(BucketError::from)?;
        self.inner.migrations.ordered(bucket.id);
        self.inner.migrations.lock().remove(&bucket.id);
        Ok(())
    }

    /// What was noted, in order of keys, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn migration_notes(
        &self,
        bucket: &Arc<Bucket>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Key, MigrationNote)>, BucketError> {
        Ok(self.inner.store.migration_notes(bucket.id, after, limit).await?)
    }

    /// Detaches the shadow of a bucket that has everything: nothing of the shadow is stored or asked for from then on,
    /// and its tombstones are collected. With `force`, whatever is missing.
    ///
    /// # Errors
    /// [`MigrationRefused::NotNow`] with everything that speaks against it.
    pub async fn cut_over(
        &self,
        bucket: &Arc<Bucket>,
        force: bool,
    ) -> Result<MigrationStatus, MigrationRefused> {
        let (row, _) = self.migration_row(bucket).await?;
        let against = against_cut_over(&row, bucket);
        if !against.is_empty() && !force {
            return Err(MigrationRefused::NotNow(against));
        }
        let now = self.set_bucket(&bucket.name, &|settings| {
            settings.shadow.clear();
            settings.mode = BucketMode::Plain;
        });
        let now = now.await?;
        let at = self.inner.clock.now();
        self.change_migration(&now, &[], |row| {
            (row.cut_over, row.phase) = (Some(at), MigrationPhase::Idle);
            Ok(())
        })
        .await?;
        self.inner.migrations.ordered(bucket.id);
        self.migration(&now).await
    }

    /// Something that was copied is about to be forgotten: a comparison from before is none any more.
    ///
    /// # Errors
    /// The store's; [`BucketError::Conflict`].
    pub(crate) async fn comparison_is_void(&self, bucket: &Bucket) -> Result<(), BucketError> {
        let counts = |row: &MigrationRow| row.verified_at.is_some() && row.cut_over.is_none();
        let found = self.inner.store.migration(bucket.id).await?;
        if !found.is_some_and(|(row, _)| counts(&row)) || planted(Mutant::ComparedForEver) {
            return Ok(());
        }
        let changed = self.change_migration(bucket, &[], |row| {
            if row.cut_over.is_none() {
                row.verified_at = None;
            }
            Ok(())
        });
        match changed.await {
            Ok(_) | Err(MigrationRefused::NotMigrating | MigrationRefused::NotNow(_)) => Ok(()),
            Err(MigrationRefused::Bucket(error)) => Err(error),
        }
    }

    async fn migration_row(&self, bucket: &Bucket) -> Result<(MigrationRow, u64), MigrationRefused> {
        let found = self.inner.store.migration(bucket.id).await.map_err(BucketError::from)?;
        found.ok_or(MigrationRefused::NotMigrating)
    }

    /// Changes the row as it is by then, and writes notes with it.
    async fn change_migration(
        &self,
        bucket: &Bucket,
        notes: &[(Key, Option<MigrationNote>)],
        mut change: impl FnMut(&mut MigrationRow) -> Result<(), MigrationRefused>,
    ) -> Result<MigrationRow, MigrationRefused> {
        for _ in 0..MAX_CONFLICTS {
            let (mut row, version) = self.migration_row(bucket).await?;
            change(&mut row)?;
            let wanted = MigrationChange { row, notes: notes.to_vec() };
            match self.inner.store.put_migration(bucket, Some(version), &wanted).await {
                Ok(_) => return Ok(wanted.row),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(BucketError::Conflict.into())
    }
}

fn refused(error: CommitError) -> MigrationRefused {
    BucketError::from(error).into()
}

/// What came of a migration that is over is not touched any more.
fn takes_orders(row: &MigrationRow) -> Result<(), MigrationRefused> {
    match row.cut_over {
        None => Ok(()),
        Some(_) => Err(MigrationRefused::NotNow(vec!["the shadow has been detached".to_owned()])),
    }
}

/// Everything that speaks against detaching the shadow.
fn against_cut_over(row: &MigrationRow, bucket: &Bucket) -> Vec<String> {
    let mut against = Vec::new();
    let mut unless = |holds: bool, reason: String| {
        if !holds {
            against.push(reason);
        }
    };
    unless(row.cut_over.is_none(), "the shadow has been detached already".to_owned());
    unless(row.gate_version == bucket.gate_version, "the shadow was changed since it began".to_owned());
    unless(row.options.prefix.is_empty(), format!("only {:?} was migrated", row.options.prefix));
    unless(row.copied.done, "not everything has been copied".to_owned());
    unless(!is_active(row), "it is still at work".to_owned());
    let verified = row.verified_at.is_some() && row.compared.done || planted(Mutant::CutOverUnverified);
    unless(verified, "it was not verified since (migrate verify)".to_owned());
    for word in [outcome::MISSING, outcome::DIFFERENT] {
        let found = row.compared.of(word).objects;
        unless(!verified || found == 0, format!("{found} objects are {word} (migrate report)"));
    }
    against
}

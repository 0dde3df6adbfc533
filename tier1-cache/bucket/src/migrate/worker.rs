//! The worker: one task for each bucket that is being migrated, which goes on step by step until it is done, told
//! otherwise, or cannot go on by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{BucketName, Key, Timestamp};
use fallthrough_store::{Bucket, BucketId, MigrationPhase, MigrationRow};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::api::BucketError;
use crate::engine::Engine;
use crate::migrate::progress::Live;
use crate::migrate::{MigrationRefused, is_active};
use crate::pace::Pace;

/// After the store failed.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// Pauses while a shadow fails: twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why a step came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better later.
    Later(String),
    /// Somebody has to mend it.
    Halt(String),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Went,
    /// There is nothing to do for this bucket.
    Ended,
}

impl From<BucketError> for Trouble {
    fn from(error: BucketError) -> Self {
        match error {
            BucketError::ShadowMisconfigured { .. } => Self::Halt(error.to_string()),
            _ => Self::Later(error.to_string()),
        }
    }
}

impl From<MigrationRefused> for Trouble {
    fn from(refused: MigrationRefused) -> Self {
        match refused {
            MigrationRefused::Bucket(error) => error.into(),
            MigrationRefused::NotMigrating | MigrationRefused::NotNow(_) => Self::Later(refused.to_string()),
        }
    }
}

impl Engine {
    /// Carries migrations out until it is told to stop. One such task per store; each bucket's work is a task that this
    /// one owns.
    ///
    /// # Cancellation
    /// Safe: where each migration is, was written down with its last step.
    pub async fn run_migrations(&self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<Id, (BucketId, BucketName)> = BTreeMap::new();
        let run = async {
            loop {
                if let Err(error) = self.begin_tasks(&mut tasks, &mut running).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the buckets cannot be read for their migrations; it is tried again"
                    );
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
                tokio::select! {
                    () = self.inner.migrations.wake.notified() => {}
                    Some(ended) = tasks.join_next_with_id() => {
                        let (id, broke) = match &ended {
                            Ok((id, ())) => (*id, false),
                            Err(error) => (error.id(), error.is_panic()),
                        };
                        if let Some((_, name)) = running.remove(&id).filter(|_| broke) {
                            let why = "its task broke off: the log tells where";
                            if let Err(error) = self.halt(&name, why).await {
                                let error = &error as &dyn std::error::Error;
                                tracing::warn!(error, "that could not be written down");
                            }
                        }
                    }
                }
            }
        };
        stop.run_until_cancelled(run).await;
        tasks.shutdown().await;
    }

    async fn begin_tasks(
        &self,
        tasks: &mut JoinSet<()>,
        running: &mut BTreeMap<Id, (BucketId, BucketName)>,
    ) -> Result<(), BucketError> {
        let mut all = self.all_buckets();
        while let Some(bucket) = all.next().await? {
            let Some((row, _)) = self.inner.store.migration(bucket.id).await? else { continue };
            if !is_active(&row) || running.values().any(|(id, _)| *id == bucket.id) {
                continue;
            }
            let mover = Mover {
                engine: self.clone(),
                name: bucket.name.clone(),
                id: bucket.id,
                live: self.inner.migrations.live(bucket.id),
                pace: Pace::new(row.options.bytes_per_second),
                stuck: None,
                given_up: 0,
                retried: None,
            };
            let task = tasks.spawn(mover.run());
            running.insert(task.id(), (bucket.id, bucket.name.clone()));
        }
        Ok(())
    }

    /// Writes down that a migration has stopped by itself.
    async fn halt(&self, name: &BucketName, why: &str) -> Result<(), MigrationRefused> {
        tracing::error!(bucket = %name, why, "a migration has stopped; `migrate resume` goes on with it");
        let bucket = self.bucket(name).await?;
        let halted = |row: &mut MigrationRow| {
            row.halted = Some(why.to_owned());
            Ok(())
        };
        self.change_migration(&bucket, &[], halted).await.map(drop)
    }
}

/// The task of one bucket.
pub(super) struct Mover {
    pub(super) engine: Engine,
    name: BucketName,
    id: BucketId,
    pub(super) live: Arc<Live>,
    pub(super) pace: Pace,
    /// The key at which the last steps stopped, and how many.
    pub(super) stuck: Option<(Key, u32)>,
    /// Keys given up in a row because they stayed stuck.
    pub(super) given_up: u32,
    /// The last key that was tried again.
    pub(super) retried: Option<String>,
}

/// Says that the task does not run any more, however it ends.
struct Runs(Arc<Live>);

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.set_running(false);
    }
}

impl Mover {
    async fn run(mut self) {
        self.live.set_running(true);
        let _runs = Runs(self.live.clone());
        let mut pause = FIRST_PAUSE;
        loop {
            self.live.listen();
            let later = match self.step().await {
                Ok(Step::Ended) => return,
                Ok(Step::Went) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(Trouble::Later(why)) => why,
                Err(Trouble::Halt(why)) => match self.engine.halt(&self.name, &why).await {
                    Ok(()) => continue,
                    // Nobody would know: the next step comes to it again.
                    Err(error) => format!("{why} ({error})"),
                },
            };
            tracing::debug!(bucket = %self.name, why = later, "a migration waits");
            self.live.wait(pause, later).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn step(&mut self) -> Result<Step, Trouble> {
        let bucket = match self.engine.bucket(&self.name).await {
            Ok(bucket) if bucket.id == self.id => bucket,
            Ok(_) | Err(BucketError::NoSuchBucket(_)) => return Ok(Step::Ended),
            Err(error) => return Err(error.into()),
        };
        let found = self.engine.inner.store.migration(bucket.id).await.map_err(BucketError::from)?;
        let Some((row, _)) = found.filter(|(row, _)| is_active(row)) else { return Ok(Step::Ended) };
        if row.gate_version != bucket.gate_version {
            return Err(Trouble::Halt(
                "the bucket's shadow or mode was changed since: look at it, and resume".to_owned(),
            ));
        }
        match row.phase {
            MigrationPhase::Copying => self.copy_step(&bucket, row).await,
            MigrationPhase::Retrying => self.retry_step(&bucket, row).await,
            MigrationPhase::Comparing => self.compare_step(&bucket, row).await,
            MigrationPhase::Idle => Ok(Step::Ended),
        }
    }

    /// Waits for the hours in which it may copy. Whether it had to.
    pub(super) async fn keeps_hours(&self, row: &MigrationRow) -> bool {
        let closed = closed_for(row.options.window, self.engine.inner.clock.now());
        if let Some(closed) = closed {
            let (from, _) = row.options.window;
            let why = format!("it copies from {:02}:{:02} UTC on", from / 60, from % 60);
            self.live.wait(closed, why).await;
        }
        closed.is_some()
    }

    /// Writes down where a walk is, and what is to be told.
    pub(super) async fn keep(
        &self,
        bucket: &Bucket,
        notes: &[(Key, Option<fallthrough_store::MigrationNote>)],
        mut change: impl FnMut(&mut MigrationRow),
    ) -> Result<(), Trouble> {
        let kept = self.engine.change_migration(bucket, notes, |row| {
            change(row);
            Ok(())
        });
        match kept.await {
            Ok(_) => Ok(()),
            // It was cancelled: the next step finds that out.
            Err(MigrationRefused::NotMigrating) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How long it is until the window opens; `None`: it is open.
fn closed_for((from, to): (u16, u16), now: Timestamp) -> Option<Duration> {
    let minute = u16::try_from(now.0 / 60_000 % 1440).unwrap_or(0);
    let open = match from.cmp(&to) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => (from..to).contains(&minute),
        std::cmp::Ordering::Greater => minute >= from || minute < to,
    };
    let minutes = u64::from((from + 1440 - minute) % 1440);
    (!open).then(|| Duration::from_millis(minutes * 60_000 - now.0 % 60_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_cross_midnight() {
        let at =
            |hour: u64, minute: u64| Timestamp::from_unix_secs(86_400 * 20_000 + hour * 3600 + minute * 60);
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        let night = (22 * 60, 6 * 60);
        assert_eq!(closed_for(night, at(23, 0)), None);
        assert_eq!(closed_for(night, at(5, 59)), None);
        assert_eq!(closed_for(night, at(6, 0)), minutes(16 * 60));
        assert_eq!(closed_for(night, at(21, 59)), minutes(1));
        let day = (8 * 60, 18 * 60 + 30);
        assert_eq!(closed_for(day, at(18, 29)), None);
        assert_eq!(closed_for(day, at(18, 30)), minutes(13 * 60 + 30));
        assert_eq!(closed_for((0, 0), at(3, 0)), None);
    }
}

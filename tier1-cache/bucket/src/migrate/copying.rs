//! Copying: key after key of the shadow's list is filled, behind everybody who waits for something.

use std::sync::Arc;

use fallthrough_object::{Key, TraceParent};
use fallthrough_store::{Bucket, EntryState, MigrationNote, MigrationPhase, MigrationRow};
use futures::StreamExt as _;
use futures::future::BoxFuture;

use crate::api::BucketError;
use crate::behind::Cold;
use crate::core::admission::Priority;
use crate::core::mutants::{Mutant, planted};
use crate::engine::Engine;
use crate::fill::{Came, FillOrder};
use crate::migrate::progress::Live;
use crate::migrate::walk::{Page, advance};
use crate::migrate::worker::{Mover, Step, Trouble};
use crate::migrate::{NOTES_MAX, outcome};
use crate::reader::Stage;

/// Objects on their way at one time if nobody says otherwise, and at most.
const CONCURRENCY: u32 = 8;
const CONCURRENCY_MAX: u32 = 256;
/// Objects after which it is written down how far it is.
const KEEP_EVERY: usize = 64;
/// Pages that are counted ahead of each page that is copied.
const COUNTED_AHEAD: usize = 10;
/// Steps that may stop at the same key before it is given up.
const STUCK_MAX: u32 = 3;
/// Keys that may be given up so in a row before somebody has to look.
const GIVEN_UP_MAX: u32 = 20;
/// Notes that are looked through in one step.
const RETRY_PAGE: usize = 100;

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Copied(u64),
    Present(u64),
    Failed(String),
    /// It may be there another time.
    Later(String),
    /// There are other orders.
    Skipped,
}

impl Mover {
    pub(super) async fn copy_step(
        &mut self,
        bucket: &Arc<Bucket>,
        row: MigrationRow,
    ) -> Result<Step, Trouble> {
        if !row.counted.done {
            self.count(bucket, &row).await?;
        }
        if self.keeps_hours(&row).await {
            return Ok(Step::Went);
        }
        self.has_space()?;
        let rules = self.engine.behind(bucket)?;
        let page = self.engine.walk_page(&rules, &row.copied, &row.options.prefix).await?;
        self.copy_page(bucket, row, page, rules.all().len()).await?;
        Ok(Step::Went)
    }

    fn has_space(&self) -> Result<(), Trouble> {
        if self.engine.inner.store.status().accepts_fills {
            return Ok(());
        }
        Err(Trouble::Later(
            "there is too little space left for copies (store.low-space-stop-fills)".to_owned(),
        ))
    }

    /// Counts some of what is to be copied, ahead of copying it.
    async fn count(&self, bucket: &Arc<Bucket>, row: &MigrationRow) -> Result<(), Trouble> {
        let rules = self.engine.behind(bucket)?;
        let mut walk = row.counted.clone();
        for _ in 0..COUNTED_AHEAD {
            let page = self.engine.walk_page(&rules, &walk, &row.options.prefix).await?;
            walk.objects += page.listed.len() as u64;
            walk.bytes += page.listed.iter().map(|(_, object)| object.size_bytes).sum::<u64>();
            advance(&mut walk, page.until.as_deref(), rules.all().len());
            if walk.done || self.live.is_interrupted() {
                break;
            }
        }
        self.keep(bucket, &[], |row| row.counted = walk.clone()).await
    }

    async fn copy_page(
        &mut self,
        bucket: &Arc<Bucket>,
        row: MigrationRow,
        page: Page,
        rules: usize,
    ) -> Result<(), Trouble> {
        let Page { behind, listed, until } = page;
        let mut kept = Kept { row, listed: &listed, outcomes: vec![None; listed.len()], next: 0 };
        if let Some(behind) = behind {
            let wanted = kept.row.options.concurrency;
            let at_once = if wanted == 0 { CONCURRENCY } else { wanted }.min(CONCURRENCY_MAX) as usize;
            let (engine, live) = (self.engine.clone(), self.live.clone());
            let mut copies: Vec<BoxFuture<'_, (usize, Outcome)>> = Vec::with_capacity(listed.len());
            for (at, (key, object)) in listed.iter().enumerate() {
                let renamed = behind.rule.name_of(key);
                let cold = renamed.map(|origin_key| Cold { behind: behind.clone(), origin_key });
                let (engine, live, size) = (&engine, &live, object.size_bytes);
                copies.push(Box::pin(async move { (at, copy(engine, live, bucket, key, cold, size).await) }));
            }
            let mut copies = futures::stream::iter(copies).buffer_unordered(at_once);
            let mut since = 0;
            while let Some((at, outcome)) = copies.next().await {
                if let Outcome::Copied(bytes) = outcome {
                    live.copied(engine.inner.clock.monotonic(), bytes);
                    self.pace.spend(&engine, bytes).await;
                }
                kept.outcomes[at] = Some(outcome);
                since += 1;
                if since == KEEP_EVERY {
                    since = 0;
                    self.keep_outcomes(bucket, &mut kept).await?;
                }
            }
        }
        self.keep_outcomes(bucket, &mut kept).await?;
        match kept.outcomes.get(kept.next) {
            Some(Some(Outcome::Later(why))) => {
                let key = &listed[kept.next].0;
                let before = self.stuck.take().filter(|(at, _)| at == key).map_or(0, |(_, steps)| steps);
                self.stuck = Some((key.clone(), before + 1));
                if self.given_up >= GIVEN_UP_MAX {
                    self.given_up = 0;
                    return Err(Trouble::Halt(format!(
                        "its shadow lists objects but does not give them: {why}"
                    )));
                }
                Err(Trouble::Later(why.clone()))
            }
            Some(_) => Ok(()),
            None => {
                let mut walk = kept.row.copied.clone();
                advance(&mut walk, until.as_deref(), rules);
                self.keep(bucket, &[], |row| {
                    row.copied = walk.clone();
                    if row.copied.done && row.phase == MigrationPhase::Copying {
                        // What failed is tried once more, since a while has passed.
                        let failed = row.copied.of(outcome::FAILED).objects > 0;
                        row.phase = if failed { MigrationPhase::Retrying } else { MigrationPhase::Idle };
                    }
                })
                .await
            }
        }
    }

    /// Writes down what became of the keys up to the first one that is still open.
    async fn keep_outcomes(&mut self, bucket: &Bucket, kept: &mut Kept<'_>) -> Result<(), Trouble> {
        let mut notes = Vec::new();
        let walk = &mut kept.row.copied;
        let from = kept.next;
        while let Some(Some(became)) = kept.outcomes.get(kept.next) {
            let (key, object) = &kept.listed[kept.next];
            let stuck = self.stuck.as_ref().is_some_and(|(at, steps)| at == key && *steps >= STUCK_MAX);
            let failed = match became {
                Outcome::Copied(bytes) => {
                    walk.count(outcome::COPIED, *bytes);
                    None
                }
                Outcome::Present(bytes) => {
                    walk.count(outcome::PRESENT, *bytes);
                    None
                }
                Outcome::Failed(why) => Some(why),
                Outcome::Later(why) if stuck => Some(why),
                Outcome::Skipped if planted(Mutant::InterruptedIsCopied) => None,
                Outcome::Later(_) | Outcome::Skipped => break,
            };
            match failed {
                None => self.given_up = 0,
                Some(why) => {
                    self.given_up += u32::from(stuck);
                    walk.count(outcome::FAILED, object.size_bytes);
                    if walk.of(outcome::FAILED).objects <= NOTES_MAX {
                        notes.push((key.clone(), Some(note(outcome::FAILED, why, object.size_bytes))));
                    }
                }
            }
            walk.objects += 1;
            walk.bytes += object.size_bytes;
            key.as_str().clone_into(&mut walk.after);
            kept.next += 1;
        }
        if kept.next == from {
            return Ok(());
        }
        let walk = walk.clone();
        self.keep(bucket, &notes, |row| row.copied = walk.clone()).await
    }

    /// Tries again what could not be copied or was found missing.
    pub(super) async fn retry_step(
        &mut self,
        bucket: &Arc<Bucket>,
        row: MigrationRow,
    ) -> Result<Step, Trouble> {
        if self.keeps_hours(&row).await {
            return Ok(Step::Went);
        }
        self.has_space()?;
        let store = &self.engine.inner.store;
        let page = store.migration_notes(bucket.id, self.retried.as_deref(), RETRY_PAGE);
        let page = page.await.map_err(BucketError::from)?;
        if page.is_empty() {
            self.retried = None;
            let idle = |row: &mut MigrationRow| {
                if row.phase == MigrationPhase::Retrying {
                    row.phase = MigrationPhase::Idle;
                }
            };
            return self.keep(bucket, &[], idle).await.map(|()| Step::Went);
        }
        for (key, noted) in page {
            if noted.what == outcome::FAILED || noted.what == outcome::MISSING {
                let cold = self.engine.cold(bucket, &key)?;
                let became = copy(&self.engine, &self.live, bucket, &key, cold, noted.size_bytes).await;
                let (change, word) = match became {
                    Outcome::Skipped => return Ok(Step::Went),
                    Outcome::Copied(_) => (None, outcome::COPIED),
                    Outcome::Present(_) => (None, outcome::PRESENT),
                    Outcome::Failed(why) | Outcome::Later(why) => {
                        (Some(note(&noted.what, &why, noted.size_bytes)), "")
                    }
                };
                let mended = change.is_none() && noted.what == outcome::FAILED;
                self.keep(bucket, &[(key.clone(), change)], |row| {
                    if mended {
                        let failed = row.copied.tally.entry(outcome::FAILED.to_owned()).or_default();
                        failed.objects = failed.objects.saturating_sub(1);
                        failed.bytes = failed.bytes.saturating_sub(noted.size_bytes);
                        row.copied.count(word, noted.size_bytes);
                    }
                })
                .await?;
            }
            self.retried = Some(key.as_str().to_owned());
        }
        Ok(Step::Went)
    }
}

/// What became of the keys of a page, and how much of it is written down.
struct Kept<'a> {
    row: MigrationRow,
    listed: &'a [(Key, fallthrough_shadow::ListedObject)],
    outcomes: Vec<Option<Outcome>>,
    /// The first that is not written down.
    next: usize,
}

pub(super) fn note(what: &str, detail: &str, size_bytes: u64) -> MigrationNote {
    MigrationNote { what: what.to_owned(), detail: detail.to_owned(), size_bytes }
}

/// Has one object filled, unless something is here.
async fn copy(
    engine: &Engine,
    live: &Live,
    bucket: &Arc<Bucket>,
    key: &Key,
    cold: Option<Cold>,
    size_bytes: u64,
) -> Outcome {
    if live.is_interrupted() {
        return Outcome::Skipped;
    }
    let look = || async {
        let entry = engine.inner.store.lookup(bucket.id, key).await;
        entry.map_err(|error| Outcome::Later(error.to_string()))
    };
    let entry = match look().await {
        Ok(entry) => entry,
        Err(later) => return later,
    };
    match entry.as_ref().map(|entry| &entry.state) {
        Some(EntryState::Written(_) | EntryState::Filled(..) | EntryState::Tombstone) => {
            return Outcome::Present(size_bytes);
        }
        Some(EntryState::Known(..)) if planted(Mutant::KnownIsPresent) => {
            return Outcome::Present(size_bytes);
        }
        Some(EntryState::Known(..) | EntryState::Absent { .. }) | None => {}
    }
    let Some(Cold { behind, origin_key }) = cold else {
        return Outcome::Failed("by its rule this key cannot exist".to_owned());
    };
    let _in_flight = live.enter();
    let joined = engine.join(FillOrder {
        bucket: bucket.clone(),
        slot: Engine::slot(bucket, key),
        origin_key,
        behind,
        entry,
        revalidate: false,
        judged: None,
        same_only: false,
        client: Arc::from("(migration)"),
        priority: Priority::Background,
        hops: 0,
        request_id: Arc::from("migration"),
        trace: TraceParent::begin(&*engine.inner.entropy),
        extras: Default::default(),
        from_blocks: None,
    });
    let (fill, came) = match joined {
        Ok(joined) => joined,
        Err(error) => return Outcome::Later(error.to_string()),
    };
    fill.ended().await;
    let now = match look().await {
        Ok(now) => now,
        Err(later) => return later,
    };
    match now.as_ref().map(|entry| &entry.state) {
        Some(EntryState::Filled(stored, _)) if came == Came::First => Outcome::Copied(stored.info.size_bytes),
        Some(EntryState::Written(_) | EntryState::Filled(..) | EntryState::Tombstone) => {
            Outcome::Present(size_bytes)
        }
        Some(EntryState::Known(..) | EntryState::Absent { .. }) | None => match &fill.progress.last().stage {
            Stage::Failed(error) => why_not(error),
            Stage::Asking
            | Stage::Headers(_)
            | Stage::Streaming(..)
            | Stage::Verified(..)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_) => Outcome::Later("what came of it was not kept".to_owned()),
        },
    }
}

fn why_not(error: &BucketError) -> Outcome {
    match error {
        BucketError::SlowDown { .. }
        | BucketError::OriginFailing { .. }
        | BucketError::Unavailable(_)
        | BucketError::Full
        | BucketError::Conflict => Outcome::Later(error.to_string()),
        BucketError::NoSuchKey => {
            Outcome::Failed("it is listed, but its origin says that it is not there".to_owned())
        }
        _ => Outcome::Failed(error.to_string()),
    }
}

//! The scrubber: reads everything that is kept, at a gentle pace, and mends what it finds damaged.
//!
//! One task runs it ([`Engine::run_scrubber`]). It walks the index in order of its rows, checks the bytes of every
//! entry from the disk, and holds nothing while it reads: what is overwritten or deleted meanwhile is no damage.
//! Where it is, is written down every few seconds, so that a restart goes on there. Between two objects it mends
//! what readers found damaged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::Monotonic;
use fallthrough_store::{
    Bucket, EntryState, ScrubBlock, ScrubItem, ScrubPass, ScrubRecord, ScrubTally, Store, StoreError,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::mend::Suspect;
use crate::pace::Pace;

/// Rows of the index that are read at once.
const PAGE_ROWS: usize = 64;
/// What a row counts for in the pace.
const ROW_BYTES: u64 = 512;
/// How often it is written down where the scrubber is.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Objects that readers found damaged and that wait for being mended; more are found again by their next reader.
const SUSPECTS: usize = 256;
/// Findings that are remembered for people.
const FINDINGS: usize = 100;
/// A pass that is due when the process starts waits so long.
const AFTER_START: Duration = Duration::from_secs(60);
/// The first pass of a store begins at the latest so long after a start.
const FIRST_PASS: Duration = Duration::from_secs(3600);
/// After a failure of the store.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Settings of the scrubber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes per second that it reads; 0: it runs only when it is told to, as fast as the disk.
    pub bytes_per_second: u64,
    /// From the start of one pass to the start of the next.
    pub every: Duration,
}

/// What somebody asks of the scrubber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubOrder {
    /// Begin at the beginning, also if a pass is under way.
    pub restart: bool,
    /// Another pace for this pass, in bytes per second; 0: as fast as the disk.
    pub bytes_per_second: Option<u64>,
}

/// How the scrubber is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// A pass is under way.
    pub running: bool,
    /// The pass that is under way, else the last one that came to its end.
    pub pass: Option<ScrubPass>,
    /// The last pass that came to its end.
    pub last: Option<ScrubPass>,
    /// How many passes have ended since start.
    pub passes: u64,
    /// The pace in bytes per second; 0: as fast as the disk.
    pub limit_bytes_per_second: u64,
    /// Bytes per second since this pass began, or since the process went on with it.
    pub bytes_per_second: u64,
    /// Seconds until the pass ends at this rate, if that can be told.
    pub left_secs: Option<u64>,
    /// What was found lately, oldest first.
    pub findings: Vec<ScrubFinding>,
}

/// Something that was found damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// The bucket; empty for a row of the index that is no entry.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// `written`, `filled`, `block` or `index`.
    pub state: String,
    /// What is damaged.
    pub what: String,
    /// `healed`, `quarantined`, `dropped`, `unreadable` or `damaged`.
    pub outcome: String,
}

/// What the scrubber's task and everybody else share.
#[derive(Debug, Default)]
pub(crate) struct ScrubControl {
    wanted: Mutex<Wanted>,
    wake: Notify,
    status: watch::Sender<ScrubStatus>,
}

#[derive(Debug, Default)]
struct Wanted {
    order: Option<ScrubOrder>,
    suspects: VecDeque<Suspect>,
}

impl ScrubControl {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Asks for a pass: now, or with another pace if one is under way.
    pub fn scrub(&self, order: ScrubOrder) {
        self.inner.scrub.lock().order = Some(order);
        // Shown at once: whoever asked and looks sees that it is under way.
        self.inner.scrub.status.send_modify(|status| status.running = true);
        self.inner.scrub.wake.notify_one();
    }

    /// How the scrubber is.
    pub fn scrub_status(&self) -> ScrubStatus {
        self.inner.scrub.status.borrow().clone()
    }

    /// A reader found this object damaged after its answer had begun.
    pub(crate) fn suspect(&self, suspect: Suspect) {
        let mut wanted = self.inner.scrub.lock();
        if wanted.suspects.len() < SUSPECTS && !wanted.suspects.contains(&suspect) {
            wanted.suspects.push_back(suspect);
        }
        drop(wanted);
        self.inner.scrub.wake.notify_one();
    }

    /// Runs the scrubber until it is told to stop: a pass whenever one is due or asked for. One task per store.
    ///
    /// # Cancellation
    /// Safe; better is `stop`, upon which it is written down where the scrubber is.
    pub async fn run_scrubber(&self, options: ScrubOptions, stop: CancellationToken) {
        let mut scrubber = Scrubber {
            engine: self.clone(),
            store: self.inner.store.clone(),
            options,
            record: ScrubRecord::default(),
            pace: Pace::new(options.bytes_per_second),
            kept: self.inner.clock.monotonic(),
            began: None,
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = scrubber.run() => {}
        }
        if scrubber.record.current.is_some() {
            scrubber.keep().await;
        }
    }
}

struct Scrubber {
    engine: Engine,
    store: Store,
    options: ScrubOptions,
    record: ScrubRecord,
    pace: Pace,
    /// When it was last written down where the scrubber is.
    kept: Monotonic,
    /// When this process began with the pass, and how many bytes it had then.
    began: Option<(Monotonic, u64)>,
}

/// What came of checking one object.
enum Checked {
    Sound(u64),
    /// Overwritten or deleted meanwhile.
    Gone,
    Damaged(String),
    Unreadable(StoreError),
}

impl Scrubber {
    async fn run(&mut self) {
        loop {
            match self.store.scrub_record().await {
                Ok(record) => {
                    self.record = record;
                    break;
                }
                Err(StoreError::Corrupt { what }) => {
                    tracing::error!(what, "where the scrubber was cannot be read; it begins anew");
                    break;
                }
                Err(error) => self.failed(&error).await,
            }
        }
        self.record.set_cursor(&Store::resume_after(&self.record.cursor()));
        self.show();
        let mut first = true;
        loop {
            if self.record.current.is_none() {
                self.wait(first).await;
            }
            first = false;
            self.take_order();
            if let Err(error) = self.mend_suspects().await {
                self.failed(&error).await;
                continue;
            }
            if self.record.current.is_some()
                && let Err(error) = self.pass().await
            {
                self.failed(&error).await;
            }
        }
    }

    async fn failed(&self, error: &StoreError) {
        tracing::warn!(error = error as &dyn std::error::Error, "the scrubber cannot go on; it tries again");
        tokio::time::sleep(AFTER_FAILURE).await;
    }

    /// Waits until a pass is due or something is asked for.
    async fn wait(&mut self, first: bool) {
        let wake = self.engine.inner.scrub.wake.notified();
        if self.options.bytes_per_second == 0 {
            return wake.await;
        }
        let due = match &self.record.last {
            None => self.options.every.min(FIRST_PASS),
            Some(last) => {
                let since = self.engine.inner.clock.now().since(last.started);
                self.options.every.saturating_sub(since)
            }
        };
        let due = if first { due.max(AFTER_START) } else { due };
        tokio::select! {
            biased;
            () = wake => {}
            () = tokio::time::sleep(due) => self.begin(),
        }
    }

    /// Does as somebody asked, if so.
    fn take_order(&mut self) {
        let Some(order) = self.engine.inner.scrub.lock().order.take() else { return };
        if order.restart || self.record.current.is_none() {
            self.begin();
        }
        if let Some(limit) = order.bytes_per_second {
            self.pace = Pace::new(limit);
        }
        self.show();
    }

    fn begin(&mut self) {
        self.record.current =
            Some(ScrubPass { started: self.engine.inner.clock.now(), ..ScrubPass::default() });
        self.record.set_cursor(&[]);
        self.pace = Pace::new(self.options.bytes_per_second);
        self.began = None;
        self.show();
    }

    fn tally(&mut self) -> &mut ScrubTally {
        &mut self.record.current.get_or_insert_default().tally
    }

    /// Goes on with the pass to its end, or to an order to begin anew.
    async fn pass(&mut self) -> Result<(), StoreError> {
        if self.record.cursor().is_empty() {
            self.count().await?;
            self.index().await?;
        }
        self.began = Some((self.engine.inner.clock.monotonic(), self.tally().bytes));
        loop {
            let page = self.store.scrub_page(&self.record.cursor(), PAGE_ROWS).await?;
            for what in page.damaged {
                self.row_damaged(what);
            }
            for item in &page.items {
                self.object(item).await?;
                self.record.set_cursor(&item.row);
                self.show();
                self.mend_suspects().await?;
                if self.engine.inner.scrub.lock().order.is_some() {
                    let before = self.record.current.map(|pass| pass.started);
                    self.take_order();
                    if self.record.cursor().is_empty() || self.record.current.map(|p| p.started) != before {
                        return Ok(());
                    }
                }
                self.keep_now_and_then().await;
            }
            for block in &page.blocks {
                self.block(block).await?;
            }
            self.tally().rows += page.rows;
            self.pace.spend(&self.engine, page.rows * ROW_BYTES).await;
            match page.last {
                Some(last) => self.record.set_cursor(&last),
                None => break,
            }
        }
        self.end().await;
        Ok(())
    }

    /// Compares the pages of the index with their checksums. Damage is believed if it is found twice.
    async fn index(&mut self) -> Result<(), StoreError> {
        let mut wrong = None;
        for _ in 0..2 {
            let (spent, mut read) = mpsc::channel(1);
            let check = self.store.check_index(Some(spent));
            let (pace, engine) = (&mut self.pace, &self.engine);
            let slowly = async {
                while let Some(bytes) = read.recv().await {
                    pace.spend(engine, bytes).await;
                }
            };
            wrong = futures::join!(check, slowly).0?;
            if wrong.is_none() {
                return Ok(());
            }
        }
        if let Some(what) = wrong {
            self.row_damaged(format!("pages of the index: {what}"));
        }
        Ok(())
    }

    fn row_damaged(&mut self, what: String) {
        self.tally().damaged_rows += 1;
        tracing::error!(what, "the index is damaged");
        metrics::counter!("fallthrough_scrub_errors_total", "state" => "index").increment(1);
        self.tell(ScrubFinding {
            bucket: String::new(),
            key: String::new(),
            state: "index".to_owned(),
            what,
            outcome: "damaged".to_owned(),
        });
    }

    /// Counts what there is to do, so that it can be told how much is left.
    async fn count(&mut self) -> Result<(), StoreError> {
        let (mut objects, mut bytes, mut after) = (0, 0, Vec::new());
        loop {
            let page = self.store.scrub_page(&after, PAGE_ROWS).await?;
            objects += page.items.len() as u64;
            let sizes = page.items.iter().filter_map(|item| item.entry.state.stored());
            bytes += sizes.map(|stored| stored.info.size_bytes).sum::<u64>();
            match page.last {
                Some(last) => after = last,
                None => break,
            }
            tokio::task::yield_now().await;
        }
        let pass = self.record.current.get_or_insert_default();
        (pass.objects_total, pass.bytes_total) = (objects, bytes);
        self.show();
        Ok(())
    }

    async fn end(&mut self) {
        let Some(mut pass) = self.record.current.take() else { return };
        pass.ended = Some(self.engine.inner.clock.now());
        self.record.last = Some(pass);
        self.record.set_cursor(&[]);
        metrics::counter!("fallthrough_scrub_passes_total").increment(1);
        let tally = pass.tally;
        tracing::info!(
            objects = tally.objects,
            bytes = tally.bytes,
            damaged_written = tally.damaged_written,
            damaged_filled = tally.damaged_filled,
            damaged_rows = tally.damaged_rows,
            healed = tally.healed,
            "everything that is kept was compared with its checksums"
        );
        self.recount().await;
        self.keep().await;
        self.engine.inner.scrub.status.send_modify(|status| status.passes += 1);
        self.show();
    }

    /// Compares what buckets hold with what is said of it.
    async fn recount(&self) {
        match self.store.recount().await {
            Ok(0) => {}
            Ok(mended) => {
                tracing::warn!(buckets = mended, "what buckets hold was counted wrong, and is right again");
                metrics::counter!("fallthrough_store_usage_mended_total").increment(mended);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what buckets hold cannot be counted"
                );
            }
        }
    }

    /// Checks one object, and mends it.
    async fn object(&mut self, item: &ScrubItem) -> Result<(), StoreError> {
        let ScrubItem { bucket, key, entry, .. } = item;
        let written = matches!(entry.state, EntryState::Written(_));
        let (what, unreadable) = match self.check_twice(item).await? {
            Checked::Gone => return Ok(()),
            Checked::Sound(bytes) => {
                let tally = self.tally();
                tally.objects += 1;
                tally.bytes += bytes;
                metrics::counter!("fallthrough_scrub_objects_total").increment(1);
                return Ok(());
            }
            Checked::Damaged(what) => (what, false),
            Checked::Unreadable(error) => (chain(&error), true),
        };
        // A bucket that is gone takes its objects along.
        let Some(bucket) = self.engine.bucket_of(*bucket).await? else { return Ok(()) };
        let state = if written { "written" } else { "filled" };
        let outcome = if unreadable {
            self.tally().unreadable += 1;
            tracing::error!(bucket = %bucket.name, %key, what, "the disk cannot read an object");
            "unreadable"
        } else {
            let Some(outcome) = self.mend(&bucket, item, &what).await? else { return Ok(()) };
            let (new, tally) = (!what.ends_with("in quarantine"), self.tally());
            tally.objects += 1;
            tally.bytes += entry.state.stored().map_or(0, |stored| stored.info.size_bytes);
            tally.quarantined += u64::from(new);
            match (written, outcome) {
                (true, _) => tally.damaged_written += 1,
                (false, _) => tally.damaged_filled += 1,
            }
            tally.healed += u64::from(outcome == "healed");
            outcome
        };
        let label = if unreadable { "unreadable" } else { state };
        metrics::counter!("fallthrough_scrub_errors_total", "state" => label).increment(1);
        self.tell(ScrubFinding {
            bucket: bucket.name.to_string(),
            key: key.as_str().to_owned(),
            state: state.to_owned(),
            what,
            outcome: outcome.to_owned(),
        });
        Ok(())
    }

    /// Checks a block. Where one is damaged, all that is kept of its object is dropped: it is fetched again when somebody
    /// asks for it.
    async fn block(&mut self, found: &ScrubBlock) -> Result<(), StoreError> {
        let stored = found.block.stored();
        for twice in [false, true] {
            let what = match self.compare(&stored).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Superseded) => return Ok(()),
                Err(error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. })) if twice => {
                    chain(&error)
                }
                Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => continue,
                Err(error) => {
                    self.tally().unreadable += 1;
                    tracing::error!(key = %found.key, error = &error as &dyn std::error::Error, "the disk cannot read a block");
                    return Ok(());
                }
            };
            if self.store.drop_blocks(found.bucket, &found.key, found.set).await?.is_none() {
                return Ok(());
            }
            metrics::counter!("fallthrough_scrub_errors_total", "state" => "block").increment(1);
            let Some(bucket) = self.engine.bucket_of(found.bucket).await? else { return Ok(()) };
            self.tell(ScrubFinding {
                bucket: bucket.name.to_string(),
                key: found.key.as_str().to_owned(),
                state: "block".to_owned(),
                what,
                outcome: "dropped".to_owned(),
            });
        }
        Ok(())
    }

    /// Puts a damaged object aside and fetches it again if it was filled; `None` if it is gone.
    async fn mend(
        &self,
        bucket: &Arc<Bucket>,
        item: &ScrubItem,
        what: &str,
    ) -> Result<Option<&'static str>, StoreError> {
        let unable = |error: crate::api::BucketError| StoreError::from(std::io::Error::other(error));
        if !self.engine.put_aside(bucket, &item.key, &item.entry, what).await.map_err(unable)? {
            return Ok(None);
        }
        if matches!(item.entry.state, EntryState::Written(_)) {
            return Ok(Some("quarantined"));
        }
        if self.engine.heal(bucket, &item.key, &item.entry).await.map_err(unable)? {
            metrics::counter!("fallthrough_scrub_repaired_total").increment(1);
            return Ok(Some("healed"));
        }
        Ok(Some("quarantined"))
    }

    /// Damage is believed only if it is found a second time, from the disk, of an object that is still there.
    async fn check_twice(&mut self, item: &ScrubItem) -> Result<Checked, StoreError> {
        match self.check(item).await? {
            Checked::Damaged(what) => {
                let again = self.check(item).await?;
                if let Checked::Sound(_) = again {
                    tracing::warn!(key = %item.key, what, "what was read first was damaged, what was read then is not: memory or cabling");
                }
                Ok(again)
            }
            Checked::Unreadable(_) => self.check(item).await,
            checked @ (Checked::Sound(_) | Checked::Gone) => Ok(checked),
        }
    }

    async fn check(&mut self, item: &ScrubItem) -> Result<Checked, StoreError> {
        let Some(stored) = item.entry.state.stored() else { return Ok(Checked::Gone) };
        let error = match self.compare(stored).await {
            Ok(bytes) => return Ok(Checked::Sound(bytes)),
            Err(error) => error,
        };
        if !self.store.is_current(item.bucket, &item.key, &item.entry).await? {
            return Ok(Checked::Gone);
        }
        Ok(match error {
            StoreError::Corrupt { what } => Checked::Damaged(what),
            StoreError::Missing { .. } | StoreError::Superseded => {
                Checked::Damaged("its bytes are gone".to_owned())
            }
            error => Checked::Unreadable(error),
        })
    }

    async fn compare(&mut self, stored: &fallthrough_store::Stored) -> Result<u64, StoreError> {
        let mut check = self.store.check_body(stored).await?;
        let mut bytes = 0;
        while let Some(step) = check.step().await? {
            bytes += step;
            metrics::counter!("fallthrough_scrub_bytes_total").increment(step);
            self.pace.spend(&self.engine, step).await;
        }
        Ok(bytes)
    }

    async fn mend_suspects(&mut self) -> Result<(), StoreError> {
        loop {
            let next = self.engine.inner.scrub.lock().suspects.pop_front();
            let Some(Suspect { bucket, key, entry }) = next else { return Ok(()) };
            let item = ScrubItem { bucket: bucket.id, key, entry, row: Vec::new() };
            if let Checked::Damaged(what) = self.check_twice(&item).await?
                && let Some(outcome) = self.mend(&bucket, &item, &what).await?
            {
                let written = matches!(item.entry.state, EntryState::Written(_));
                self.tell(ScrubFinding {
                    bucket: bucket.name.to_string(),
                    key: item.key.as_str().to_owned(),
                    state: if written { "written" } else { "filled" }.to_owned(),
                    what,
                    outcome: outcome.to_owned(),
                });
            }
        }
    }

    async fn keep_now_and_then(&mut self) {
        if self.engine.inner.clock.monotonic().since(self.kept) >= KEEP_EVERY {
            self.keep().await;
        }
    }

    async fn keep(&mut self) {
        self.kept = self.engine.inner.clock.monotonic();
        if let Err(error) = self.store.keep_scrub_record(&self.record).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "it is not written down where the scrubber is"
            );
        }
    }

    fn tell(&self, finding: ScrubFinding) {
        self.engine.inner.scrub.status.send_modify(|status| {
            if status.findings.len() == FINDINGS {
                status.findings.remove(0);
            }
            status.findings.push(finding);
        });
    }

    fn show(&self) {
        let now = self.engine.inner.clock.monotonic();
        let current = self.record.current;
        let asked = self.engine.inner.scrub.lock().order.is_some();
        self.engine.inner.scrub.status.send_modify(|status| {
            status.running = current.is_some() || asked;
            status.pass = current.or(self.record.last);
            status.last = self.record.last;
            status.limit_bytes_per_second = self.pace.limit;
            (status.bytes_per_second, status.left_secs) = (0, None);
            if let (Some(pass), Some((began, before))) = (current, self.began) {
                let millis = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX).max(1);
                let rate = (pass.tally.bytes - before).saturating_mul(1000) / millis;
                status.bytes_per_second = rate;
                let left = pass.bytes_total.saturating_sub(pass.tally.bytes);
                status.left_secs = (rate > 0).then(|| left / rate);
            }
        });
        if let Some(pass) = current {
            let done = pass.tally.bytes as f64 / pass.bytes_total.max(1) as f64;
            metrics::gauge!("fallthrough_scrub_progress_ratio").set(done.min(1.0));
        }
        metrics::gauge!("fallthrough_scrub_running").set(if current.is_some() { 1.0 } else { 0.0 });
        if let Some(ended) = self.record.last.and_then(|last| last.ended) {
            metrics::gauge!("fallthrough_scrub_last_completed_timestamp_seconds")
                .set(ended.0 as f64 / 1000.0);
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

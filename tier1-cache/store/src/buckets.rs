//! Buckets: their settings, and the gate that every object commit is conditional on.

use std::sync::{Arc, PoisonError};

use fallthrough_object::{BucketConfiguration, BucketName};

use crate::bucket_row::{Bucket, BucketId, BucketSettings};
use crate::error::{CommitError, StoreError};
use crate::kv::{Commit, Refused, Table};
use crate::mutants::{Mutant, planted};
use crate::rows::{self, BucketRow, GateState};
use crate::store::{Inner, Store, put, remove, when};

/// The version of a gate that is closing: no row has it, so no commit passes.
const GATE_SHUT: u64 = 0;

/// What [`Store::create_bucket`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// There was none; now there is this one.
    New(Arc<Bucket>),
    /// This one was there already, unchanged.
    Exists(Arc<Bucket>),
}

/// A bucket that takes no object commits while its owner looks whether it is empty. Dropped undecided, the
/// bucket opens again.
#[derive(Debug)]
pub struct ClosedBucket {
    store: Store,
    bucket: Arc<Bucket>,
    gate_version: u64,
    decided: bool,
}

impl ClosedBucket {
    /// The bucket as it was when it was closed.
    pub fn bucket(&self) -> &Arc<Bucket> {
        &self.bucket
    }
}

impl Drop for ClosedBucket {
    fn drop(&mut self) {
        self.store.inner.closer_gone(self.bucket.id);
        if !self.decided {
            // If the queue is full the next reader of the bucket finds it shut by nobody and opens it.
            drop(self.store.inner.order(open_gate(self.bucket.id, self.gate_version), |_| ()));
        }
    }
}

fn open_gate(id: BucketId, gate_version: u64) -> Commit {
    let gate = rows::gate(id);
    Commit {
        conditions: vec![when(gate.clone(), Some(gate_version))],
        writes: vec![put(gate, GateState::Open.encode())],
        ..Commit::default()
    }
}

impl Store {
    /// A bucket by name; `None` if there is none. One that is closing is returned with a gate that no commit
    /// passes.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn bucket(&self, name: &BucketName) -> Result<Option<Arc<Bucket>>, StoreError> {
        let inner = &*self.inner;
        loop {
            if let Some(bucket) = inner.buckets.get(name) {
                return Ok(Some(bucket));
            }
            let sequence = inner.kv.sequence();
            let Some((bucket, gate)) = read_bucket(inner, name).await? else { return Ok(None) };
            match gate {
                GateState::Open => {
                    let bucket = Arc::new(bucket);
                    let touched = inner.buckets_touched.lock().unwrap_or_else(PoisonError::into_inner);
                    // Like the cache of entries: a late insert never outlives an invalidation.
                    if *touched <= sequence {
                        inner.buckets.insert(name.clone(), bucket.clone());
                    }
                    return Ok(Some(bucket));
                }
                GateState::Closing if inner.has_closer(bucket.id) => {
                    return Ok(Some(Arc::new(Bucket { gate_version: GATE_SHUT, ..bucket })));
                }
                // Whoever closed it is gone, by a crash or by a full queue: open it, and look again.
                GateState::Closing => {
                    let _who_was_first = inner.commit(open_gate(bucket.id, bucket.gate_version)).await?;
                }
            }
        }
    }

    /// Up to `limit` buckets by name, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn buckets(
        &self,
        after: Option<&BucketName>,
        limit: usize,
    ) -> Result<Vec<Arc<Bucket>>, StoreError> {
        let (from, to) = rows::buckets(after);
        let found = self.inner.kv.range(from, to, limit).await?;
        let mut buckets = Vec::with_capacity(found.len());
        for (key, _) in found {
            // Removed since the scan: not there any more.
            buckets.extend(self.bucket(&rows::bucket_name(&key)?).await?);
        }
        Ok(buckets)
    }

    /// Creates a bucket if there is none of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not exist afterwards.
    pub async fn create_bucket(
        &self,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<Created, StoreError> {
        self.create_configured(name, settings, BucketConfiguration::default()).await
    }

    /// As [`Store::create_bucket`], with what the client wants set from the beginning.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not exist afterwards.
    pub async fn create_configured(
        &self,
        name: &BucketName,
        settings: BucketSettings,
        configuration: BucketConfiguration,
    ) -> Result<Created, StoreError> {
        let inner = &self.inner;
        let configuration = Arc::new(configuration);
        loop {
            if let Some(bucket) = self.bucket(name).await? {
                return Ok(Created::Exists(bucket));
            }
            let id = inner.new_bucket();
            let created = inner.clock.now();
            let configuration = configuration.clone();
            let row = BucketRow {
                id,
                created,
                settings: settings.clone(),
                configuration: (*configuration).clone(),
            };
            let at = rows::bucket(name);
            let commit = Commit {
                conditions: vec![when(at.clone(), None)],
                writes: vec![
                    put(at.clone(), inner.seal_row(&at, &row)?),
                    put(rows::gate(id), GateState::Open.encode()),
                ],
                ..Commit::default()
            };
            let (effects, name, settings) = (inner.clone(), name.clone(), settings.clone());
            let end = inner.order(commit, move |end| {
                let version = end?.version;
                let bucket = Bucket {
                    id,
                    name,
                    gate_version: version,
                    settings_version: version,
                    created,
                    settings,
                    configuration,
                };
                Ok(effects.bucket_committed(Arc::new(bucket), version))
            });
            match end.await? {
                Ok(bucket) => return Ok(Created::New(bucket)),
                // Somebody else created it: answer what is there now.
                Err(Refused::Condition(_)) => {}
                Err(Refused::Store(error) | Refused::Doubt { error, .. }) => return Err(error),
            }
        }
    }

    /// Replaces a bucket's settings. The gate is raised exactly if the shadow or the mode changes, so that no
    /// fill that began under other rules can commit. Tombstones go with a shadow that is cleared: see
    /// [`Store::sweep_cleared`].
    ///
    /// # Errors
    /// [`CommitError::Conflict`]: its settings changed since `bucket` was read, or something waits for its delivery that
    /// would go elsewhere from now on ([`BucketSettings::sends_elsewhere`]); [`CommitError::Gate`].
    ///
    /// # Cancellation
    /// The change may or may not have happened.
    pub async fn set_bucket(
        &self,
        bucket: &Bucket,
        settings: BucketSettings,
    ) -> Result<Arc<Bucket>, CommitError> {
        let raises = settings.shadow != bucket.settings.shadow || settings.mode != bucket.settings.mode;
        self.write_bucket(bucket, settings, bucket.configuration.clone(), raises).await
    }

    /// Raises a bucket's gate although its settings stay: what its shadow's name stands for is another origin now.
    /// What was observed of the old one is no longer believed, and no fill that began with it can commit.
    ///
    /// # Errors
    /// [`CommitError::Conflict`], [`CommitError::Gate`]: it changed since `bucket` was read.
    ///
    /// # Cancellation
    /// It may or may not have been raised.
    pub async fn raise_gate(&self, bucket: &Bucket) -> Result<Arc<Bucket>, CommitError> {
        self.write_bucket(bucket, bucket.settings.clone(), bucket.configuration.clone(), true).await
    }

    /// Replaces what clients have set on a bucket. Fills and commits go on.
    ///
    /// # Errors
    /// [`CommitError::Conflict`]: it changed since `bucket` was read; [`CommitError::Gate`].
    ///
    /// # Cancellation
    /// The change may or may not have happened.
    pub async fn configure_bucket(
        &self,
        bucket: &Bucket,
        configuration: BucketConfiguration,
    ) -> Result<Arc<Bucket>, CommitError> {
        self.write_bucket(bucket, bucket.settings.clone(), Arc::new(configuration), false).await
    }

    async fn write_bucket(
        &self,
        bucket: &Bucket,
        settings: BucketSettings,
        configuration: Arc<BucketConfiguration>,
        raises: bool,
    ) -> Result<Arc<Bucket>, CommitError> {
        let inner = &self.inner;
        let row = BucketRow {
            id: bucket.id,
            created: bucket.created,
            settings: settings.clone(),
            configuration: (*configuration).clone(),
        };
        let at = rows::bucket(&bucket.name);
        let mut commit = Commit {
            conditions: vec![
                when(rows::gate(bucket.id), Some(bucket.gate_version)),
                when(at.clone(), Some(bucket.settings_version)),
            ],
            writes: vec![put(at.clone(), inner.seal_row(&at, &row)?)],
            ..Commit::default()
        };
        if bucket.settings.sends_elsewhere(&settings) {
            // What waits was meant for where it leads now.
            commit.conditions.push(when(rows::waiting(bucket.id), None));
        }
        if raises {
            commit.writes.push(put(rows::gate(bucket.id), GateState::Open.encode()));
        }
        let clears = settings.shadow.is_empty() && !bucket.settings.shadow.is_empty();
        if clears && !planted(Mutant::TombstoneOutlives) {
            commit.writes.push(put(rows::cleared(bucket.id), bytes::Bytes::new()));
        }
        let (effects, before) = (inner.clone(), bucket.clone());
        let end = inner.order(commit, move |end| {
            let version = end.map_err(|refused| effects.bucket_refused(&before.name, refused))?.version;
            let gate_version = if raises { version } else { before.gate_version };
            if clears {
                effects.left_over.notify_one();
            }
            if raises {
                // What was kept of the shadow before is not believed any more.
                effects.left_blocks.note(None);
            }
            let bucket =
                Bucket { settings, configuration, gate_version, settings_version: version, ..before };
            Ok(effects.bucket_committed(Arc::new(bucket), version))
        });
        end.await?
    }

    /// Shuts a bucket's gate: from then on every object commit fails with [`CommitError::Gate`], so that the
    /// look whether it is empty cannot race a PUT.
    ///
    /// # Errors
    /// [`CommitError::Gate`]: somebody else closes it, or it changed since `bucket` was read.
    ///
    /// # Cancellation
    /// The bucket opens again.
    pub async fn close_bucket(&self, bucket: &Bucket) -> Result<ClosedBucket, CommitError> {
        let gate = rows::gate(bucket.id);
        let commit = Commit {
            conditions: vec![when(gate.clone(), Some(bucket.gate_version))],
            writes: vec![put(gate, GateState::Closing.encode())],
            ..Commit::default()
        };
        let inner = &self.inner;
        inner.closer_comes(bucket.id);
        let (store, bucket) = (self.clone(), Arc::new(bucket.clone()));
        let end = inner.order(commit, move |end| match end {
            Ok(committed) => {
                store.inner.bucket_gone(&bucket.name, committed.version);
                Ok(ClosedBucket { store, bucket, gate_version: committed.version, decided: false })
            }
            Err(refusal) => {
                store.inner.closer_gone(bucket.id);
                Err(store.inner.bucket_refused(&bucket.name, refusal))
            }
        });
        end.await?
    }

    /// Opens a bucket again that turned out not to be empty.
    ///
    /// # Errors
    /// [`CommitError::Store`]; the bucket is then opened by whoever reads it next.
    ///
    /// # Cancellation
    /// The bucket opens all the same.
    pub async fn reopen_bucket(&self, mut closed: ClosedBucket) -> Result<Arc<Bucket>, CommitError> {
        closed.decided = true;
        let end = self.inner.order(open_gate(closed.bucket.id, closed.gate_version), |end| end);
        let name = closed.bucket.name.clone();
        let end = end.await?;
        drop(closed);
        match end {
            Ok(_) | Err(Refused::Condition(_)) => self.bucket(&name).await?.ok_or(CommitError::Gate),
            Err(Refused::Store(error) | Refused::Doubt { error, .. }) => Err(error.into()),
        }
    }

    /// Removes a closed bucket. What rows are left of it (tombstones, known and absent keys, copies) is swept
    /// later: see [`Store::sweep`] and [`Store::sweep_due`].
    ///
    /// # Errors
    /// [`CommitError`]; the bucket opens again.
    ///
    /// # Cancellation
    /// The bucket may or may not be gone.
    pub async fn remove_bucket(&self, closed: ClosedBucket) -> Result<(), CommitError> {
        let (id, gate) = (closed.bucket.id, rows::gate(closed.bucket.id));
        let commit = Commit {
            conditions: vec![
                when(gate.clone(), Some(closed.gate_version)),
                // Nothing may wait for a delivery any more.
                when(rows::waiting(id), None),
            ],
            writes: vec![
                remove(rows::bucket(&closed.bucket.name)),
                remove(gate),
                put(rows::removed(id), bytes::Bytes::new()),
            ],
            ..Commit::default()
        };
        // The guard goes with the commit: however it ends, it is decided there.
        let effects = self.inner.clone();
        let end = self.inner.order(commit, move |end| {
            let mut closed = closed;
            let name = &closed.bucket.name;
            let version = end.map_err(|refused| effects.bucket_refused(name, refused))?.version;
            effects.bucket_gone(&closed.bucket.name, version);
            closed.decided = true;
            effects.left_over.notify_one();
            effects.left_blocks.note(None);
            Ok(())
        });
        end.await?
    }
}

/// A bucket and the state of its gate, as they were together at one moment.
async fn read_bucket(inner: &Inner, name: &BucketName) -> Result<Option<(Bucket, GateState)>, StoreError> {
    let kv = &*inner.kv;
    let row = rows::bucket(name);
    let Some(mut settings) = kv.get(Table::Rows, &row).await? else { return Ok(None) };
    loop {
        let BucketRow { id, created, settings: known, configuration } =
            inner.open_row("a bucket", &row, &settings.value)?;
        let gate = kv.get(Table::Rows, &rows::gate(id)).await?;
        let Some(again) = kv.get(Table::Rows, &row).await? else { return Ok(None) };
        // Every change of the shadow writes both rows. An unchanged first row means that the gate between
        // the two reads belongs to it; or else a fill under old rules could pass the new gate.
        if again.version != settings.version {
            settings = again;
            continue;
        }
        let gate = gate.ok_or_else(|| StoreError::corrupt(format!("bucket {name} has no gate")))?;
        let state = GateState::decode(&gate.value)?;
        let bucket = Bucket {
            id,
            name: name.clone(),
            gate_version: gate.version,
            settings_version: settings.version,
            created,
            settings: known,
            configuration: Arc::new(configuration),
        };
        return Ok(Some((bucket, state)));
    }
}

impl Inner {
    fn bucket_committed(&self, bucket: Arc<Bucket>, version: u64) -> Arc<Bucket> {
        let mut touched = self.buckets_touched.lock().unwrap_or_else(PoisonError::into_inner);
        *touched = (*touched).max(version);
        self.buckets.insert(bucket.name.clone(), bucket.clone());
        bucket
    }

    fn bucket_gone(&self, name: &BucketName, version: u64) {
        let mut touched = self.buckets_touched.lock().unwrap_or_else(PoisonError::into_inner);
        *touched = (*touched).max(version);
        self.buckets.remove(name);
    }

    /// What a refusal means. If the commit is in doubt, what was cached of the bucket is forgotten; for good,
    /// if reads may still show either.
    fn bucket_refused(&self, name: &BucketName, refused: Refused) -> CommitError {
        match refused {
            Refused::Condition(0) => CommitError::Gate,
            Refused::Condition(_) => CommitError::Conflict,
            Refused::Store(error) => CommitError::Store(error),
            Refused::Doubt { error, settled } => {
                self.bucket_gone(name, if settled { self.kv.sequence() } else { u64::MAX });
                CommitError::Store(error)
            }
        }
    }

    fn closer_comes(&self, id: BucketId) {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
    }

    fn closer_gone(&self, id: BucketId) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = closing.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                closing.remove(&id);
            }
        }
    }

    fn has_closer(&self, id: BucketId) -> bool {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }
}

//! The engine: what it is made of, and the operations on buckets and access keys. Reads, writes, lists and
//! fills have modules of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fallthrough_object::{BucketConfiguration, BucketName, Clock, Entropy, Rate};
use fallthrough_shadow::Shadow;
use fallthrough_store::{
    AccessKeyRow, Bucket, BucketMode, BucketSettings, CommitError, ShadowRule, ShadowTarget, Store,
    StoreError,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::all_buckets::AllBuckets;
use crate::api::{BucketError, Caller, ListRequest, NewBucket};
use crate::behind::{BehindMap, ForgetsBehind};
use crate::core::commit::{MAX_CONFLICTS, TableLock as _};
use crate::core::fills::{FillTable, Slot};
use crate::core::rule::settings_fault;
use crate::fetch::SPREAD_MAX;
use crate::fill::Fill;
use crate::head::Asking;
use crate::inventory::Sources;
use crate::multipart::PART_BYTES_MIN;
use crate::origins::OriginGate;

/// How long a negative answer may stay after it is not believed any more.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Longest wait of a client for its first byte; then 503 and the fill goes on.
    pub client_wait: Duration,
    /// Longest silence of an origin in mid-body.
    pub stall: Duration,
    /// Longest wait for an origin's headers: generous, since a compute origin is silent while it computes.
    pub header_wait: Duration,
    /// Longest wait of a fill or a HEAD in front of its origin, whose clients may have given up meanwhile: generous,
    /// since they come back for it.
    pub queue_wait: Duration,
    /// Requests in flight per origin.
    pub max_in_flight: u32,
    /// Requests that may wait per origin.
    pub max_queue: u32,
    /// Requests in flight per client and origin.
    pub per_client: u32,
    /// Requests to an origin in a stretch of time; `None`: no such bound.
    pub budget: Option<Rate>,
    /// Of those, the ones that one client may cause.
    pub client_budget: Option<Rate>,
    /// How long an origin's "not found", and what its HEAD said, is believed.
    pub negative_ttl: Duration,
    /// How long a copy is fresh in `cache` mode if neither the rule nor the origin says.
    pub default_ttl: Duration,
    /// Fills running at one time over all origins.
    pub max_fills: usize,
    /// The smallest part of an upload that is not its last, in bytes.
    pub part_bytes_min: u64,
    /// The most that the copies of all buckets in `cache` and `compute` may hold, in bytes, each with
    /// [`fallthrough_store::COPY_ROW_BYTES`] besides; `None`: as much as there is space for.
    pub cache_limit_bytes: Option<u64>,
    /// The most that blocks of cold ranges may hold in all buckets, in bytes, each with
    /// [`fallthrough_store::COPY_ROW_BYTES`] besides; 0: ranges of what is not here are passed on and not kept.
    pub blocks_limit_bytes: u64,
    /// The bytes of such a block.
    pub block_bytes: u64,
    /// Bytes that may be fetched in a minute to make whole objects of those of which half of the blocks are here; 0: only
    /// those become whole of which all of them have been asked for.
    pub promote_bytes_per_minute: u64,
    /// Objects of so many bytes and more that are copied in the background are fetched in several ranges at once.
    pub ranges_above_bytes: u64,
    /// The bytes of such a range.
    pub range_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            client_wait: Duration::from_secs(25),
            stall: Duration::from_secs(10),
            header_wait: Duration::from_secs(300),
            queue_wait: Duration::from_secs(300),
            max_in_flight: 256,
            max_queue: 1024,
            per_client: 64,
            budget: None,
            client_budget: None,
            negative_ttl: Duration::from_secs(30),
            default_ttl: Duration::from_secs(3600),
            max_fills: 16 * 1024,
            part_bytes_min: PART_BYTES_MIN,
            cache_limit_bytes: None,
            blocks_limit_bytes: 0,
            block_bytes: 4 << 20,
            promote_bytes_per_minute: 0,
            ranges_above_bytes: 256 << 20,
            range_bytes: 4 << 20,
        }
    }
}

/// Makes the client for a rule's target. The binary implements it: it knows the declared origins.
pub trait ShadowFactory: Send + Sync + fmt::Debug + 'static {
    /// The client for `rule`.
    ///
    /// # Errors
    /// [`ShadowRefused`] if the target is unknown or its settings cannot work.
    fn shadow(&self, bucket: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused>;

    /// What is known of the origin that `rule` leads to, where its declaration says more than the rule.
    fn traits(&self, rule: &ShadowRule) -> OriginTraits {
        OriginTraits::of(rule)
    }
}

/// What kind of origin answers: it decides how answers are read, whether there is a list, and whether ranges
/// may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginKind {
    /// A bucket at an S3 provider: 400 and 301 mean that our settings are wrong.
    Provider,
    /// An HTTP server: no list.
    Http,
    /// A program that makes objects from keys: 400 means that the key can never exist; no list, no ranges.
    Program,
}

/// An origin's kind and its own limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTraits {
    /// What answers.
    pub kind: OriginKind,
    /// Fills in flight per client, for rules that say nothing of it.
    pub per_client: Option<u32>,
    /// Fills in flight, for rules that say nothing of it.
    pub max_in_flight: Option<u32>,
    /// Which of its keys can exist, for rules that say nothing of it: a regular expression over the origin's key,
    /// and so only used where the rule leaves names as they are.
    pub keys: Option<&'static str>,
}

impl OriginTraits {
    /// What the rule itself says: an origin that it only names is a program.
    pub fn of(rule: &ShadowRule) -> Self {
        let kind = match rule.target {
            ShadowTarget::S3 { .. } => OriginKind::Provider,
            ShadowTarget::Http { .. } => OriginKind::Http,
            ShadowTarget::Origin { .. } => OriginKind::Program,
        };
        Self { kind, per_client: None, max_in_flight: None, keys: None }
    }
}

/// Why a rule cannot have a client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShadowRefused(pub String);

/// Whether a bucket can have these settings, with shadows from this factory.
///
/// # Errors
/// [`BucketError::InvalidSettings`].
pub fn check_settings(
    shadows: &dyn ShadowFactory,
    name: &BucketName,
    settings: &BucketSettings,
) -> Result<(), BucketError> {
    if let Some(reason) = settings_fault(settings) {
        return Err(BucketError::InvalidSettings { reason });
    }
    for rule in &settings.shadow {
        let kind = shadows.traits(rule).kind;
        for place in rule.each_place() {
            shadows
                .shadow(name, &place)
                .map_err(|ShadowRefused(reason)| BucketError::InvalidSettings { reason })?;
            if shadows.traits(&place).kind != kind {
                let reason = "the members of a shadow rule are all of one kind: these origins are not";
                return Err(BucketError::InvalidSettings { reason: reason.to_owned() });
            }
        }
        if rule.goes_through() && kind != OriginKind::Provider {
            let reason =
                "write-through and delete-through are for S3 providers: this origin is none".to_owned();
            return Err(BucketError::InvalidSettings { reason });
        }
        // What is behind a bucket that computes is a program, whichever protocol it speaks.
        let is_provider = kind == OriginKind::Provider && settings.mode != BucketMode::Compute;
        if rule.passes_on() && is_provider {
            let reason = "pass-query and pass-headers are for HTTP servers and programs: what an object at an S3 provider \
                          is does not depend on them";
            return Err(BucketError::InvalidSettings { reason: reason.to_owned() });
        }
        if rule.keeps_inventory() && kind != OriginKind::Provider {
            let reason = "inventories are of S3 providers: this origin has no list".to_owned();
            return Err(BucketError::InvalidSettings { reason });
        }
    }
    Ok(())
}

/// The engine. Cheap to clone; all clones are one engine.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) fills: Mutex<FillTable<Arc<Fill>>>,
    pub(crate) heads: Mutex<FillTable<Arc<Asking>>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) memory: Mutex<crate::memory::FillMemory>,
    pub(crate) scrub: crate::scrub::ScrubControl,
    pub(crate) eviction: crate::eviction::Eviction,
    pub(crate) rooms: crate::room::Rooms,
    pub(crate) flights: crate::blocks::Flights,
    pub(crate) promotions: crate::blocks::Promotions,
    /// Who asks of which object a cold key's blocks are.
    pub(crate) pinning: Arc<crate::lanes::Lanes>,
    pub(crate) outgoing: crate::outbox::Outgoing,
    pub(crate) migrations: crate::migrate::Migrations,
    pub(crate) inventories: crate::inventory::Inventories,
    /// How many more objects may be fetched in ranges.
    pub(crate) spread: Arc<Semaphore>,
    pub(crate) shadows: Arc<dyn ShadowFactory>,
    pub(crate) behind: Mutex<BehindMap>,
    // Bounded by the number of distinct targets ever set since start.
    pub(crate) gates: Mutex<BTreeMap<String, Arc<OriginGate>>>,
}

impl Engine {
    /// An engine over `store`. It owns the tasks that it starts; end them with [`Engine::shutdown`].
    pub fn new(
        store: Store,
        shadows: Arc<dyn ShadowFactory>,
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let fills = Mutex::new(FillTable::new(options.max_fills));
        let heads = Mutex::new(FillTable::new(options.max_fills));
        let eviction = crate::eviction::Eviction::new(&*entropy);
        Self {
            inner: Arc::new(Inner {
                store,
                options,
                clock,
                entropy,
                fills,
                heads,
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
                memory: Mutex::default(),
                scrub: crate::scrub::ScrubControl::default(),
                eviction,
                rooms: crate::room::Rooms::default(),
                flights: crate::blocks::Flights::default(),
                promotions: crate::blocks::Promotions::default(),
                pinning: Arc::default(),
                migrations: crate::migrate::Migrations::default(),
                inventories: crate::inventory::Inventories::default(),
                spread: Arc::new(Semaphore::new(SPREAD_MAX)),
                outgoing: crate::outbox::Outgoing::default(),
                shadows,
                behind: Mutex::default(),
                gates: Mutex::default(),
            }),
        }
    }

    /// The bucket of this name.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`]; the store's.
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, BucketError> {
        self.inner.store.bucket(name).await?.ok_or_else(|| BucketError::NoSuchBucket(name.clone()))
    }

    /// Buckets in order of name, after `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn buckets(
        &self,
        after: Option<&BucketName>,
        limit: usize,
    ) -> Result<Vec<Arc<Bucket>>, BucketError> {
        Ok(self.inner.store.buckets(after, limit).await?)
    }

    /// Creates a bucket, durably.
    ///
    /// # Errors
    /// [`BucketError::InvalidSettings`]; the store's.
    pub async fn create_bucket(
        &self,
        name: &BucketName,
        settings: BucketSettings,
    ) -> Result<NewBucket, BucketError> {
        self.create_configured_bucket(name, settings, BucketConfiguration::default()).await
    }

    pub(crate) fn check(&self, name: &BucketName, settings: &BucketSettings) -> Result<(), BucketError> {
        check_settings(&*self.inner.shadows, name, settings)
    }

    /// Changes a bucket's settings. With a new owner, what the ACL granted to the old one is granted to the new. If
    /// the shadow or the mode changes, fills that run are superseded: they serve the readers that they have, take no
    /// new ones and store nothing. Tombstones go with a shadow that is
    /// cleared; where one takes the place of another, they stay.
    ///
    /// `change` may be called several times, each time on the settings as they are.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`], [`BucketError::InvalidSettings`], [`BucketError::Conflict`];
    /// [`BucketError::NotDelivered`]: what waits for its delivery would go elsewhere; the store's.
    pub async fn set_bucket(
        &self,
        name: &BucketName,
        change: &(dyn Fn(&mut BucketSettings) + Send + Sync),
    ) -> Result<Arc<Bucket>, BucketError> {
        self.set_bucket_by(name, change, false).await
    }

    /// As [`Engine::set_bucket`]; `force` drops what waits for its delivery and would go elsewhere.
    ///
    /// # Errors
    /// As [`Engine::set_bucket`].
    pub async fn set_bucket_by(
        &self,
        name: &BucketName,
        change: &(dyn Fn(&mut BucketSettings) + Send + Sync),
        force: bool,
    ) -> Result<Arc<Bucket>, BucketError> {
        for _ in 0..MAX_CONFLICTS {
            let bucket = self.bucket(name).await?;
            let mut settings = bucket.settings.clone();
            change(&mut settings);
            self.check(name, &settings)?;
            let waiting = self.inner.store.outbox_of(bucket.id).waiting();
            if waiting > 0 && bucket.settings.sends_elsewhere(&settings) {
                if !force {
                    return Err(BucketError::NotDelivered { waiting });
                }
                self.drop_waiting(&bucket, &crate::waiting::WhichWaiting::All).await?;
            }
            if bucket.settings.shadow.is_empty() && !settings.shadow.is_empty() {
                // What was deleted under a shadow that is gone must not hide what the new one has.
                self.inner.store.sweep_cleared(bucket.id).await?;
            }
            let changed = self.inner.store.set_bucket(&bucket, settings).await;
            if let Some(changed) = self.gate_moved(&bucket, changed)? {
                return self.hand_over_acl(&bucket.settings.owner, changed).await;
            }
        }
        Err(BucketError::Conflict)
    }

    /// To be called when the factory of shadows makes another client for what this bucket's rules name, though the
    /// rules are what they were: as if the shadow had been set anew.
    ///
    /// # Errors
    /// [`BucketError::NoSuchBucket`], [`BucketError::Conflict`]; the store's.
    pub async fn renew_shadow(&self, name: &BucketName) -> Result<(), BucketError> {
        for _ in 0..MAX_CONFLICTS {
            let bucket = self.bucket(name).await?;
            let changed = self.inner.store.raise_gate(&bucket).await;
            if self.gate_moved(&bucket, changed)?.is_some() {
                return Ok(());
            }
        }
        Err(BucketError::Conflict)
    }

    /// `None` if the change was refused because the bucket changed meanwhile.
    pub(crate) fn gate_moved(
        &self,
        before: &Bucket,
        changed: Result<Arc<Bucket>, CommitError>,
    ) -> Result<Option<Arc<Bucket>>, BucketError> {
        match changed {
            Ok(changed) => {
                if changed.settings != before.settings || changed.gate_version != before.gate_version {
                    self.limits_changed(Some(before), Some(&changed));
                }
                if changed.gate_version != before.gate_version {
                    // The gate has moved already, so no old fill can commit; this lets new readers
                    // start afresh at once.
                    self.inner.fills.with(|fills| fills.supersede_bucket(before.id));
                    self.inner.heads.with(|heads| heads.supersede_bucket(before.id));
                    self.inner.inventories.changed(before.id);
                }
                Ok(Some(changed))
            }
            Err(CommitError::Conflict | CommitError::Gate) => Ok(None),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Deletes a bucket that clients see as empty, its shadow's keys included.
    ///
    /// # Errors
    /// [`BucketError::BucketNotEmpty`], [`BucketError::NoSuchBucket`]; what LIST answers if the shadow fails.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), BucketError> {
        let bucket = self.bucket(name).await?;
        self.verified_are_committed(&bucket, None).await;
        // Looked at first without closing, so that a bucket in use does not refuse writes for a moment.
        self.expect_empty(&bucket).await?;
        let closed = match self.inner.store.close_bucket(&bucket).await {
            Ok(closed) => closed,
            Err(CommitError::Conflict | CommitError::Gate) => return Err(BucketError::Conflict),
            Err(CommitError::Store(error)) => return Err(error.into()),
        };
        // From here on no object commits in this bucket, so what is seen as empty stays empty.
        self.inner.fills.with(|fills| fills.supersede_bucket(bucket.id));
        if let Err(error) = self.expect_empty(&bucket).await {
            // If this fails the next start reopens it.
            self.inner.store.reopen_bucket(closed).await?;
            return Err(error);
        }
        // Who hangs up now ends the wait, not the removal.
        let _forgotten = ForgetsBehind(self, bucket.id);
        self.inner.store.remove_bucket(closed).await?;
        self.limits_changed(Some(&bucket), None);
        Ok(())
    }

    async fn expect_empty(&self, bucket: &Bucket) -> Result<(), BucketError> {
        let waiting = self.inner.store.outbox_of(bucket.id).waiting();
        if waiting > 0 {
            return Err(BucketError::NotDelivered { waiting });
        }
        let request = ListRequest { max_keys: 1, must_show_one: true, ..ListRequest::default() };
        // Of the shadows themselves: an inventory may be older than what they have.
        let page = self.list_page(bucket, None, &request, &Sources::shadows()).await?;
        if page.items.is_empty() { Ok(()) } else { Err(BucketError::BucketNotEmpty) }
    }

    /// The access key of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn access_key(&self, id: &str) -> Result<Option<AccessKeyRow>, BucketError> {
        Ok(self.inner.store.access_key(id).await?)
    }

    /// Adds or replaces an access key, durably.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_access_key(&self, row: AccessKeyRow) -> Result<(), BucketError> {
        self.inner.store.put_access_key(&row).await?;
        Ok(())
    }

    /// Removes an access key; `false` if there was none.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete_access_key(&self, id: &str) -> Result<bool, BucketError> {
        Ok(self.inner.store.delete_access_key(id).await?)
    }

    /// Access keys in order of id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn access_keys(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccessKeyRow>, BucketError> {
        Ok(self.inner.store.access_keys(after, limit).await?)
    }

    /// Removes negative answers that are not believed any more, until it is told to stop. Whatever fails is tried again
    /// at the next occasion: they are only rows too many.
    pub async fn run_expiry(&self, stop: CancellationToken) {
        let expire = async {
            loop {
                self.inner.store.negatives_noted().await;
                tokio::time::sleep(EXPIRE_EVERY).await;
                if let Err(error) = self.inner.store.expire_negatives().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "negative answers could not be removed"
                    );
                }
            }
        };
        stop.run_until_cancelled(expire).await;
    }

    /// Whether the store takes reads and writes and the engine is not stopping.
    pub fn ready(&self) -> bool {
        !self.inner.stop.is_cancelled() && self.inner.store.status().writable
    }

    /// Fills that readers may join now.
    pub fn fills_in_flight(&self) -> usize {
        self.inner.fills.with(|fills| fills.len())
    }

    /// Stops: no new fills; running ones may end within `grace`, then they are dropped, their readers'
    /// bodies break off, and nothing of them is stored.
    pub async fn shutdown(&self, grace: Duration) {
        self.inner.tasks.close();
        if tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(
                fills = self.inner.tasks.len(),
                "fills were still running at the end of the grace time"
            );
        }
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
    }

    /// All buckets, one after the other.
    pub(crate) fn all_buckets(&self) -> AllBuckets<'_> {
        AllBuckets::of(&self.inner.store)
    }

    /// The slot of a key in `bucket`.
    pub(crate) fn slot(bucket: &Bucket, key: &fallthrough_object::Key) -> Slot {
        Slot { bucket: bucket.id, key: key.clone() }
    }

    /// Whether `caller` may cause fills in `bucket`, and whose share they count against.
    pub(crate) fn fill_share(bucket: &Bucket, caller: &Caller) -> Option<Arc<str>> {
        use fallthrough_store::PublicFill;
        match (caller.signed, bucket.settings.public_fill) {
            (true, _) => caller.may_fill.then(|| caller.client.clone()),
            (false, PublicFill::Budget) => Some(caller.client.clone()),
            (false, PublicFill::Signed) => None,
            // No budget: every request is a client of its own.
            (false, PublicFill::Open) => Some(caller.request_id.clone()),
        }
    }
}

impl From<StoreError> for BucketError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::Full,
            StoreError::Busy => Self::SlowDown { reason: "store-busy", retry_after: Duration::from_secs(1) },
            StoreError::Corrupt { .. } | StoreError::Missing { .. } => Self::Damaged,
            other => Self::Unavailable(Arc::new(other)),
        }
    }
}

impl From<CommitError> for BucketError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict | CommitError::Gate => Self::Conflict,
            CommitError::Store(error) => error.into(),
        }
    }
}

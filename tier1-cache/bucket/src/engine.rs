//! The engine: construction and the operations on buckets; reads, writes, lists in their own modules.
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{BucketName, Clock, Entropy, Key};
use fallthrough_shadow::Shadow;
use fallthrough_store::{AccessKeyRow, Bucket, BucketSettings, ShadowRule, Store};

use crate::api::*;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Longest wait of a client for its first byte; then 503 and the fill goes on.
    pub client_wait: Duration,
    /// Longest silence of an origin in mid-body, or before its headers on the second attempt.
    pub stall: Duration,
    /// Fills in flight per origin.
    pub max_in_flight: u32,
    /// Fills that may wait per origin.
    pub max_queue: u32,
    /// Fills in flight per client and origin.
    pub per_client: u32,
    /// How long an origin's "not found" is believed.
    pub negative_ttl: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            client_wait: Duration::from_secs(25),
            stall: Duration::from_secs(10),
            max_in_flight: 256,
            max_queue: 1024,
            per_client: 64,
            negative_ttl: Duration::from_secs(30),
        }
    }
}

/// Makes the client for a rule's target. The binary implements it: it knows the declared origins.
pub trait ShadowFactory: Send + Sync + std::fmt::Debug + 'static {
    /// The client for `rule`.
    ///
    /// # Errors
    /// [`ShadowRefused`] if the target is unknown or its settings cannot work.
    fn shadow(&self, bucket: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused>;
}

/// Why a rule cannot have a client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShadowRefused(pub String);

/// The engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {}

macro_rules! later {
    () => {
        panic!("being written")
    };
}

impl Engine {
    /// An engine over `store`.
    pub fn new(
        _store: Store,
        _shadows: Arc<dyn ShadowFactory>,
        _options: EngineOptions,
        _clock: Arc<dyn Clock>,
        _entropy: Arc<dyn Entropy>,
    ) -> Self {
        later!()
    }
    /// The bucket of this name.
    pub async fn bucket(&self, _name: &BucketName) -> Result<Arc<Bucket>, BucketError> {
        later!()
    }
    /// Buckets in order of name.
    pub async fn buckets(
        &self,
        _after: Option<&BucketName>,
        _limit: usize,
    ) -> Result<Vec<Arc<Bucket>>, BucketError> {
        later!()
    }
    /// Creates a bucket.
    pub async fn create_bucket(
        &self,
        _name: &BucketName,
        _settings: BucketSettings,
    ) -> Result<NewBucket, BucketError> {
        later!()
    }
    /// Changes a bucket's settings; superseding fills if the shadow or the mode changed.
    pub async fn set_bucket(
        &self,
        _name: &BucketName,
        _change: &(dyn Fn(&mut BucketSettings) + Send + Sync),
    ) -> Result<Arc<Bucket>, BucketError> {
        later!()
    }
    /// Deletes a bucket that clients see as empty.
    pub async fn delete_bucket(&self, _name: &BucketName) -> Result<(), BucketError> {
        later!()
    }
    /// GET and HEAD of an object.
    pub async fn get(&self, _bucket: &Arc<Bucket>, _caller: &Caller, _request: GetRequest) -> Answer<Object> {
        later!()
    }
    /// PUT of an object. Dropping the future before the commit leaves nothing.
    pub async fn put(
        &self,
        _bucket: &Arc<Bucket>,
        _caller: &Caller,
        _request: PutRequest,
    ) -> Result<PutOutcome, BucketError> {
        later!()
    }
    /// DELETE of an object; absent keys are deleted as well.
    pub async fn delete(
        &self,
        _bucket: &Arc<Bucket>,
        _caller: &Caller,
        _key: &Key,
    ) -> Result<Deleted, BucketError> {
        later!()
    }
    /// One page of the bucket's list.
    pub async fn list(
        &self,
        _bucket: &Arc<Bucket>,
        _caller: &Caller,
        _request: ListRequest,
    ) -> Answer<ListPage> {
        later!()
    }
    /// Forgets a filled or known key, or a negative answer; written ones and tombstones only if told so.
    pub async fn purge(
        &self,
        _bucket: &Arc<Bucket>,
        _key: &Key,
        _written_too: bool,
    ) -> Result<bool, BucketError> {
        later!()
    }
    /// What is known about a key and why.
    pub async fn explain(&self, _bucket: &Arc<Bucket>, _key: &Key) -> Result<Explanation, BucketError> {
        later!()
    }
    /// The access key of this id.
    pub async fn access_key(&self, _id: &str) -> Result<Option<AccessKeyRow>, BucketError> {
        later!()
    }
    /// Adds or replaces an access key.
    pub async fn put_access_key(&self, _row: AccessKeyRow) -> Result<(), BucketError> {
        later!()
    }
    /// Removes an access key; `false` if there was none.
    pub async fn delete_access_key(&self, _id: &str) -> Result<bool, BucketError> {
        later!()
    }
    /// Access keys in order of id.
    pub async fn access_keys(
        &self,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<AccessKeyRow>, BucketError> {
        later!()
    }
    /// Whether the store takes reads and writes.
    pub fn ready(&self) -> bool {
        later!()
    }
    /// Stops: no new fills; waits until running ones have ended or `grace` is over.
    pub async fn shutdown(&self, _grace: Duration) {
        later!()
    }
}

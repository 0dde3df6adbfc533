//! What is asked for often, in memory: entries, and the bodies of small objects.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fallthrough_object::{Entropy, Key};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use crate::blob::BlobId;
use crate::bucket_row::BucketId;
use crate::entry::{Entry, EntryState};
use crate::mutants::{Mutant, planted};

/// SipHash behind a secret prefix: keys come from clients, who must not be able to choose collisions; and a
/// seeded run evicts the same way each time.
#[derive(Clone, Debug)]
pub(crate) struct SecretHash(DefaultHasher);

impl SecretHash {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(entropy.next_u64());
        hasher.write_u64(entropy.next_u64());
        Self(hasher)
    }
}

impl BuildHasher for SecretHash {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HotKey {
    bucket: BucketId,
    key: Key,
}

struct HotRef<'a> {
    bucket: BucketId,
    key: &'a Key,
}

impl Hash for HotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        HotRef { bucket: self.bucket, key: &self.key }.hash(state);
    }
}

impl Hash for HotRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bucket.0);
        state.write(self.key.as_str().as_bytes());
    }
}

impl Equivalent<HotKey> for HotRef<'_> {
    fn equivalent(&self, other: &HotKey) -> bool {
        self.bucket == other.bucket && self.key == &other.key
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<HotKey, Arc<Entry>> for ByBytes {
    fn weight(&self, key: &HotKey, entry: &Arc<Entry>) -> u64 {
        // Fixed parts measured with size_of; texts as they are. Exactness does not matter, a bound does.
        let info = match &entry.state {
            EntryState::Written(stored) | EntryState::Filled(stored, _) => Some(&stored.info),
            EntryState::Known(info, _) => Some(info),
            EntryState::Absent { .. } | EntryState::Tombstone => None,
        };
        let texts = info.map_or(0, |info| {
            512 + info.meta.user_bytes() + info.meta.user.len() * 48 + info.part_sizes.len() * 8
        });
        (key.key.as_str().len() + 512 + texts) as u64
    }
}

impl Weighter<BlobId, Bytes> for ByBytes {
    fn weight(&self, _: &BlobId, body: &Bytes) -> u64 {
        body.len() as u64 + 128
    }
}

/// How many groups of keys remember their last invalidation. Two keys of one group only make each other's
/// late inserts fail more often than needed.
const GROUPS: usize = 1024;

/// The memory cache. A late insert never outlives an invalidation: an insert carries the commit sequence that
/// was read before its lookup, and is refused if a newer commit touched the key's group.
#[derive(Debug)]
pub(crate) struct Hot {
    entries: Cache<HotKey, Arc<Entry>, ByBytes, SecretHash>,
    bodies: Cache<BlobId, Bytes, ByBytes, SecretHash>,
    /// Newest commit that touched a key of the group. The lock spans check and insert, or an invalidation
    /// could come between the two.
    groups: Vec<Mutex<u64>>,
    hash: SecretHash,
    refused: AtomicU64,
}

impl Hot {
    pub(crate) fn new(bytes: u64, entropy: &dyn Entropy) -> Self {
        let hash = SecretHash::new(entropy);
        // A quarter for entries: about 1 KiB each, beside bodies of up to 31 KiB.
        let (for_entries, for_bodies) = (bytes / 4, bytes - bytes / 4);
        let of = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX).max(16);
        Self {
            entries: Cache::with(
                of(for_entries, 1024),
                for_entries,
                ByBytes,
                hash.clone(),
                DefaultLifecycle::default(),
            ),
            bodies: Cache::with(
                of(for_bodies, 8192),
                for_bodies,
                ByBytes,
                hash.clone(),
                DefaultLifecycle::default(),
            ),
            groups: (0..GROUPS).map(|_| Mutex::new(0)).collect(),
            hash,
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn entry(&self, bucket: BucketId, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(&HotRef { bucket, key })
    }

    /// Offers what a lookup found; `sequence` was read before it began.
    pub(crate) fn offer(&self, bucket: BucketId, key: &Key, entry: &Arc<Entry>, sequence: u64) {
        let group = self.group(bucket, key).lock().unwrap_or_else(PoisonError::into_inner);
        if *group > sequence && !planted(Mutant::LateCacheInsert) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.entries.insert(HotKey { bucket, key: key.clone() }, entry.clone());
    }

    /// A commit touched the key: what is cached is replaced by what the commit left there, if anything.
    /// Called after the commit and before its acknowledgement.
    pub(crate) fn committed(&self, bucket: BucketId, key: &Key, version: u64, now: Option<&Arc<Entry>>) {
        let mut group = self.group(bucket, key).lock().unwrap_or_else(PoisonError::into_inner);
        *group = (*group).max(version);
        match now {
            Some(entry) => self.entries.insert(HotKey { bucket, key: key.clone() }, entry.clone()),
            None => {
                self.entries.remove(&HotRef { bucket, key });
            }
        }
    }

    /// A commit to the key may or may not have happened, and reads may show either for a while: nothing of its
    /// group is cached any more.
    pub(crate) fn in_doubt(&self, bucket: BucketId, key: &Key) {
        self.committed(bucket, key, u64::MAX, None);
    }

    /// The body of a small object. Blob ids are never reused: nothing here is ever stale.
    pub(crate) fn body(&self, blob: BlobId) -> Option<Bytes> {
        self.bodies.get(&blob)
    }

    pub(crate) fn keep_body(&self, blob: BlobId, body: Bytes) {
        self.bodies.insert(blob, body);
    }

    pub(crate) fn drop_body(&self, blob: BlobId) {
        self.bodies.remove(&blob);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight() + self.bodies.weight()
    }

    fn group(&self, bucket: BucketId, key: &Key) -> &Mutex<u64> {
        let hash = self.hash.hash_one(HotRef { bucket, key }) as usize;
        &self.groups[hash % GROUPS]
    }
}

//! Access keys as the gateway remembers them, so that a request does not read the store for its key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_bucket::{AccessKeyRow, BucketError, Engine, Grant};
use fallthrough_object::{Clock, Monotonic, Timestamp};
use fallthrough_wire::sigv4::{Secret, SigningKeyCache};

/// Whose request it is, once that is proved.
#[derive(Debug)]
pub(crate) struct Principal {
    /// The access key's id; its share of fills is counted under this.
    pub(crate) client: Arc<str>,
    /// The account that the key belongs to.
    pub(crate) account: String,
    /// What the key is limited to.
    pub(crate) grants: Option<Vec<Grant>>,
}

/// An access key that may be used to verify.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) principal: Arc<Principal>,
    pub(crate) secret: Secret,
    pub(crate) expires: Option<Timestamp>,
}

/// Rows of access keys by id, believed for a short time; at most so many, and only of keys that exist, so that
/// made-up ids cannot push others out.
#[derive(Debug)]
pub(crate) struct KeyCache {
    capacity: usize,
    ttl: Duration,
    known: Mutex<Known>,
    /// Signing keys by secret and scope.
    pub(crate) signing: SigningKeyCache,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<String, (Arc<KnownKey>, Monotonic)>,
    /// Raised by every change of a key: a row that was read before a change is not kept after it.
    epoch: u64,
}

impl KeyCache {
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        let signing = SigningKeyCache::new(capacity);
        Self { capacity: capacity.max(1), ttl, known: Mutex::default(), signing }
    }

    /// The key of this id, from here or from the store; `None` if there is none.
    pub(crate) async fn get(
        &self,
        id: &str,
        engine: &Engine,
        clock: &dyn Clock,
    ) -> Result<Option<Arc<KnownKey>>, BucketError> {
        let epoch = match self.lookup(id, clock.monotonic()) {
            Ok(key) => return Ok(Some(key)),
            Err(epoch) => epoch,
        };
        Ok(engine.access_key(id).await?.map(|row| self.keep(row, epoch, clock.monotonic())))
    }

    /// The key if it is here and fresh, else the epoch to hand to [`KeyCache::keep`].
    fn lookup(&self, id: &str, now: Monotonic) -> Result<Arc<KnownKey>, u64> {
        let known = self.lock();
        match known.keys.get(id) {
            Some((key, until)) if now < *until => Ok(Arc::clone(key)),
            Some(_) | None => Err(known.epoch),
        }
    }

    fn keep(&self, row: AccessKeyRow, epoch: u64, now: Monotonic) -> Arc<KnownKey> {
        let id = row.id;
        let principal =
            Principal { client: Arc::from(id.as_str()), account: row.account, grants: row.grants };
        let key = Arc::new(KnownKey {
            principal: Arc::new(principal),
            secret: Secret::new(row.secret),
            expires: row.expires,
        });
        let mut known = self.lock();
        if known.epoch == epoch {
            if known.keys.len() >= self.capacity && !known.keys.contains_key(&id) {
                known.keys.retain(|_, (_, until)| now < *until);
            }
            if known.keys.len() >= self.capacity
                && let Some(any) = known.keys.keys().next().cloned()
            {
                known.keys.remove(&any);
            }
            known.keys.insert(id, (Arc::clone(&key), now.plus(self.ttl)));
        }
        key
    }

    /// Forgets a key that was changed or removed. Call it after the change is durable and before it is
    /// acknowledged.
    pub(crate) fn forget(&self, id: &str) {
        let mut known = self.lock();
        known.epoch += 1;
        known.keys.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every change under the lock leaves a map whose entries are whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str) -> AccessKeyRow {
        AccessKeyRow {
            id: id.to_owned(),
            secret: "s".to_owned(),
            account: "main".to_owned(),
            created: Timestamp(0),
            expires: None,
            grants: None,
        }
    }

    fn secs(secs: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(secs))
    }

    #[test]
    fn a_key_is_believed_until_its_time_is_over_or_it_is_forgotten() {
        let cache = KeyCache::new(8, Duration::from_secs(30));
        let epoch = cache.lookup("a", secs(0)).unwrap_err();
        cache.keep(row("a"), epoch, secs(0));
        assert!(cache.lookup("a", secs(29)).is_ok());
        assert!(cache.lookup("a", secs(30)).is_err());
        cache.forget("a");
        assert!(cache.lookup("a", secs(1)).is_err());
    }

    #[test]
    fn a_row_read_before_a_change_is_not_kept_after_it() {
        let cache = KeyCache::new(8, Duration::from_secs(30));
        let epoch = cache.lookup("a", secs(0)).unwrap_err();
        cache.forget("a");
        cache.keep(row("a"), epoch, secs(0));
        assert!(cache.lookup("a", secs(1)).is_err());
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = KeyCache::new(4, Duration::from_secs(30));
        for n in 0..100 {
            cache.keep(row(&n.to_string()), 0, secs(0));
        }
        assert!(cache.lock().keys.len() <= 4);
    }
}

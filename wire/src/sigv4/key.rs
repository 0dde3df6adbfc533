//! Signing keys: derived once for a secret and a scope, kept as the state of their HMAC.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{ALGORITHM, Secret};
use crate::hex;
use crate::payload::EMPTY_SHA256;

/// What a signature is good for: `date/region/service/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    /// Any region name.
    pub region: String,
    /// `s3`.
    pub service: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

impl Scope {
    pub(super) fn push_to(&self, out: &mut String) {
        for (part, end) in [(&self.date, "/"), (&self.region, "/"), (&self.service, "/aws4_request")] {
            out.push_str(part);
            out.push_str(end);
        }
    }
}

/// The key for one secret and one scope, as the HMAC state after the key was absorbed: signing clones it.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Derives the key: four HMACs.
    pub fn derive(secret: &Secret, scope: &Scope) -> Self {
        let first = zeroize::Zeroizing::new(["AWS4", secret.expose()].concat());
        let mut key = keyed(first.as_bytes());
        for part in [&scope.date, &scope.region, &scope.service, "aws4_request"] {
            key.update(part.as_bytes());
            let next = zeroize::Zeroizing::new(<[u8; 32]>::from(key.finalize().into_bytes()));
            key = keyed(next.as_ref());
        }
        Self(key)
    }

    pub(super) fn sign(&self, string_to_sign: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(string_to_sign);
        mac.finalize().into_bytes().into()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Signing keys of verified requests, at most as many as told; the least recently used one goes first.
///
/// Only a key whose signature matched gets in, so that nobody without a secret can push others out.
/// Callable from any thread; the lock is held for a lookup and a clone of the HMAC state.
pub struct SigningKeyCache {
    capacity: usize,
    hasher: RandomState,
    inner: Mutex<CacheInner>,
}

#[derive(Default)]
struct CacheInner {
    // By hash, so that a lookup builds no owned key; an entry is compared in full before it is used.
    entries: HashMap<u64, CacheEntry>,
    tick: u64,
}

struct CacheEntry {
    secret: Secret,
    scope: Scope,
    key: SigningKey,
    used: u64,
}

impl fmt::Debug for SigningKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyCache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl SigningKeyCache {
    /// An empty cache for at most `capacity` keys (at least one).
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), hasher: RandomState::new(), inner: Mutex::default() }
    }

    /// How many keys are kept now.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, secret: &Secret, scope: &Scope) -> Option<SigningKey> {
        let hash = self.hash(secret, scope);
        let mut inner = self.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let entry = inner.entries.get_mut(&hash)?;
        if entry.scope != *scope || entry.secret != *secret {
            return None;
        }
        entry.used = tick;
        Some(entry.key.clone())
    }

    pub(super) fn insert(&self, secret: &Secret, scope: &Scope, key: SigningKey) {
        let hash = self.hash(secret, scope);
        let mut inner = self.lock();
        if inner.entries.len() >= self.capacity && !inner.entries.contains_key(&hash) {
            let oldest = inner.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| *hash);
            oldest.and_then(|hash| inner.entries.remove(&hash));
        }
        inner.tick += 1;
        let used = inner.tick;
        inner.entries.insert(hash, CacheEntry { secret: secret.clone(), scope: scope.clone(), key, used });
    }

    fn hash(&self, secret: &Secret, scope: &Scope) -> u64 {
        self.hasher.hash_one((secret.expose(), scope))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CacheInner> {
        // A panic while the lock is held leaves a cache of which every entry is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chain of signatures that runs from a request through its chunks to its trailers.
#[derive(Clone, Debug)]
pub struct ChunkChain {
    key: SigningKey,
    amz_date: String,
    scope: Scope,
    previous: [u8; 32],
}

impl ChunkChain {
    pub(super) fn new(key: SigningKey, amz_date: String, scope: Scope, seed: [u8; 32]) -> Self {
        Self { key, amz_date, scope, previous: seed }
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The signature of the next chunk, which holds bytes with this SHA-256, in lower-case hex. Moves on.
    pub fn sign_chunk(&mut self, sha256: [u8; 32]) -> [u8; 64] {
        self.advance("-PAYLOAD", true, sha256)
    }

    /// The signature of the trailers, whose `name:value\n` lines have this SHA-256, in lower-case hex. Moves on.
    pub fn sign_trailers(&mut self, sha256: [u8; 32]) -> [u8; 64] {
        self.advance("-TRAILER", false, sha256)
    }

    fn advance(&mut self, suffix: &str, with_empty_hash: bool, sha256: [u8; 32]) -> [u8; 64] {
        let mut text = String::with_capacity(320);
        text.push_str(ALGORITHM);
        text.push_str(suffix);
        text.push('\n');
        text.push_str(&self.amz_date);
        text.push('\n');
        self.scope.push_to(&mut text);
        text.push('\n');
        hex::push32(&mut text, &self.previous);
        text.push('\n');
        if with_empty_hash {
            text.push_str(EMPTY_SHA256);
            text.push('\n');
        }
        hex::push32(&mut text, &sha256);
        self.previous = self.key.sign(text.as_bytes());
        hex::encode32(&self.previous)
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

//! What happened in a run: operations with their call and return, and a hash over everything that was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::ETag;
use fallthrough_sim::Content;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::did::Did;

/// A moment of a run: virtual nanoseconds, and the number of the event, which orders those of one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Nanoseconds since the beginning.
    pub nanos: u64,
    /// Number of the event.
    pub event: u64,
}

impl Moment {
    /// After everything.
    pub const END: Self = Self { nanos: u64::MAX, event: u64::MAX };
}

/// Names one version of one object: every PUT, every completed upload and every object of an origin is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(pub u32);

/// One operation on one key, or on whatever else its history is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<D = Did> {
    /// Who did it.
    pub client: u32,
    /// When it was called.
    pub from: Moment,
    /// When it returned; if its end is not known, when it had ended for certain.
    pub to: Moment,
    /// What it did or showed.
    pub did: D,
    /// Whether it is known to have happened.
    pub certain: bool,
}

impl<D: fmt::Debug> fmt::Display for Operation<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |at: Moment| at.nanos as f64 / 1e6;
        let maybe = if self.certain { "" } else { " (maybe)" };
        write!(
            f,
            "{:>10.3}..{:>10.3} ms #{}-{} client {}: {:?}{maybe}",
            millis(self.from),
            millis(self.to),
            self.from.event,
            self.to.event,
            self.client,
            self.did,
        )
    }
}

/// One version of one object.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) key: usize,
    pub(crate) content: Content,
    /// With quotes.
    pub(crate) etag: String,
}

#[derive(Debug)]
struct Kept {
    events: u64,
    hash: Sha256,
    /// By key.
    operations: Vec<Vec<Operation>>,
    versions: Vec<Version>,
    editions: u16,
    violations: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    /// Lines of what happened, if somebody wants to read them.
    lines: Option<Vec<String>>,
}

/// Keeps the history of a run. Clones are the same history.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    start: Instant,
    kept: Arc<Mutex<Kept>>,
}

/// How long after its end was lost an operation may still take effect: far longer than any commit waits.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(3);

impl Journal {
    pub(crate) fn new(keys: usize, lines: bool) -> Self {
        let kept = Kept {
            events: 0,
            hash: Sha256::new(),
            operations: vec![Vec::new(); keys],
            versions: Vec::new(),
            editions: 0,
            violations: Vec::new(),
            counts: BTreeMap::new(),
            lines: lines.then(Vec::new),
        };
        Self { start: Instant::now(), kept: Arc::new(Mutex::new(kept)) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, after everything that happened so far.
    pub(crate) fn now(&self) -> Moment {
        let mut kept = self.lock();
        kept.events += 1;
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Moment { nanos, event: kept.events }
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, line: &str) {
        let now = self.now();
        let mut kept = self.lock();
        let line = format!("{:>12.3} ms #{} {line}", now.nanos as f64 / 1e6, now.event);
        kept.hash.update(line.as_bytes());
        if let Some(lines) = &mut kept.lines {
            lines.push(line);
        }
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.count_times(what, 1);
    }

    pub(crate) fn count_times(&self, what: &'static str, times: u64) {
        *self.lock().counts.entry(what).or_default() += times;
    }

    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.lock().counts.get(what).copied().unwrap_or(0)
    }

    /// Something that must not be.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(&format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// Adds an operation that was called at `from` and returned now.
    pub(crate) fn did(&self, client: u32, key: usize, from: Moment, did: Did) {
        let to = self.now();
        self.did_until(client, key, from, to, did, true);
    }

    /// When all that was lost by now has ended.
    pub(crate) fn aftermath(&self) -> Moment {
        let mut to = self.now();
        to.nanos += u64::try_from(AFTERMATH.as_nanos()).unwrap_or(u64::MAX);
        to
    }

    /// Adds an operation whose end was lost: it may have happened, or may until a while from now.
    pub(crate) fn maybe_did(&self, client: u32, key: usize, from: Moment, did: Did) {
        let to = self.aftermath();
        self.did_until(client, key, from, to, did, false);
    }

    pub(crate) fn did_until(
        &self,
        client: u32,
        key: usize,
        from: Moment,
        to: Moment,
        did: Did,
        certain: bool,
    ) {
        self.note(&format!("client {client} key {key} since #{}: {did:?} certain {certain}", from.event));
        self.lock().operations[key].push(Operation { client, from, to, did, certain });
    }

    /// The next edition of some bytes: no two are the same.
    pub(crate) fn edition(&self) -> u16 {
        let mut kept = self.lock();
        kept.editions += 1;
        kept.editions
    }

    /// Registers the next version of an object; its bytes are those of this content.
    pub(crate) fn version(&self, key: usize, make: impl FnOnce(u16) -> Content) -> VersionId {
        let content = make(self.edition());
        let etag = ETag::from_md5(content.md5()).to_string();
        self.version_as(key, content, etag)
    }

    /// Registers a version of an object that has these bytes and this ETag, with its quotes.
    pub(crate) fn version_as(&self, key: usize, content: Content, etag: String) -> VersionId {
        let mut kept = self.lock();
        // What has the same bytes (nothing, or too few to tell) is the same version to everybody.
        let same = kept.versions.iter().position(|version| version.key == key && version.etag == etag);
        let number = same.unwrap_or(kept.versions.len());
        if same.is_none() {
            kept.versions.push(Version { key, content, etag });
        }
        VersionId(u32::try_from(number).expect("a run has few versions"))
    }

    /// The version of a key that has this ETag. What only another key had before is a copy of that.
    pub(crate) fn named(&self, key: usize, etag: &str) -> Option<(VersionId, Version)> {
        let of = {
            let kept = self.lock();
            let mut same: Vec<_> = kept.versions.iter().filter(|of| of.etag == etag).collect();
            same.sort_by_key(|of| of.key != key);
            (*same.first()?).clone()
        };
        let version = self.version_as(key, of.content.clone(), of.etag.clone());
        Some((version, of))
    }

    pub(crate) fn of(&self, version: VersionId) -> Version {
        self.lock().versions[version.0 as usize].clone()
    }

    /// Versions of a key, newest first.
    pub(crate) fn versions(&self, key: usize) -> Vec<(VersionId, Version)> {
        let kept = self.lock();
        let all = kept.versions.iter().enumerate().filter(|(_, version)| version.key == key);
        let number = |n: usize| VersionId(u32::try_from(n).expect("a run has few versions"));
        all.map(|(n, version)| (number(n), version.clone())).rev().collect()
    }

    /// The only version of a key whose bytes are as they should be. It may be a copy of another key's. `Err`: how many
    /// there are, if that is not one.
    pub(crate) fn only(&self, key: usize, fits: impl Fn(&Content) -> bool) -> Result<VersionId, usize> {
        let all = self.lock().versions.clone();
        let mut etags: Vec<&str> =
            all.iter().filter(|of| fits(&of.content)).map(|of| of.etag.as_str()).collect();
        etags.sort_unstable();
        etags.dedup();
        match etags.as_slice() {
            [etag] => self.named(key, etag).map(|(version, _)| version).ok_or(0),
            several => Err(several.len()),
        }
    }

    pub(crate) fn operations(&self) -> Vec<Vec<Operation>> {
        self.lock().operations.clone()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone().unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> String {
        let digest = self.lock().hash.clone().finalize();
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

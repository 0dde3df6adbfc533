//! What goes through to the origins of a run: how long a change is in doubt, and what must be there in the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fallthrough_bucket::{Bucket, BucketError, ObjectInfo, WaitingChange, WhichWaiting, WriteThrough};
use fallthrough_object::Key;
use fallthrough_store::EntryState;
use tokio_util::sync::CancellationToken;

use crate::did::{Bytes, Did, Object};
use crate::history::{AFTERMATH, Moment, Operation, VersionId};
use crate::provider::{Effect, Whose, YIELDING};
use crate::world::{Running, World};

/// Between two looks at what waits.
const LOOK: Duration = Duration::from_secs(1);
/// Until then all must have been delivered, once nothing goes wrong any more.
const DRAINED_WITHIN: Duration = Duration::from_secs(3600);

/// When changes of keys were in doubt: sent to an origin that must have them first, without an answer.
#[derive(Debug)]
pub(crate) struct Doubts {
    /// By key, in nanoseconds.
    seen: Mutex<Vec<Vec<u64>>>,
    /// When the shadow was set last: from when to when.
    shadow: Mutex<Option<(Moment, Moment)>>,
}

impl Doubts {
    pub(crate) fn new(keys: usize) -> Self {
        Self { seen: Mutex::new(vec![Vec::new(); keys]), shadow: Mutex::default() }
    }

    /// What may have been done may be done as long as it is in doubt.
    pub(crate) fn extend<D>(&self, key: usize, history: &mut [Operation<D>]) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = 3 * u64::try_from(LOOK.as_nanos()).unwrap_or(u64::MAX);
        for op in history.iter_mut().filter(|op| !op.certain && op.client != YIELDING) {
            for look in &seen[key] {
                if *look >= op.from.nanos && *look <= op.to.nanos.saturating_add(reach) {
                    op.to.nanos = op.to.nanos.max(look + reach);
                }
            }
        }
    }
}

impl World {
    /// The shadow was set since then, or may have been.
    pub(crate) fn shadow_changed(&self, from: Moment, in_doubt: bool) {
        let to = if in_doubt { self.journal.aftermath() } else { self.journal.now() };
        self.origins.taken().forget_whose();
        *self.doubts.shadow.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, to));
    }
}

async fn waiting(running: &Running) -> Option<(Arc<Bucket>, Vec<WaitingChange>)> {
    let engine = &running.engine;
    let bucket = running.unless_it_stops(engine.bucket(&World::bucket_name())).await?.ok()?;
    let waiting = running.unless_it_stops(engine.waiting(&bucket, None, 1000, false)).await?.ok()?;
    Some((bucket, waiting))
}

/// Looks again and again at what waits, until `enough`.
pub(crate) async fn watch(world: Arc<World>, enough: CancellationToken) {
    let mut in_doubt = vec![false; world.plan.keys.len()];
    let mut told = vec![false; world.plan.keys.len()];
    while enough.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let running = world.running();
        let found = match &running {
            Some(running) => waiting(running).await,
            None => None,
        };
        if let Some((_, waiting)) = found {
            in_doubt.fill(false);
            for change in waiting {
                let Some(key) = world.plan.keys.iter().position(|key| *key == change.key.as_str()) else {
                    continue;
                };
                in_doubt[key] = change.state == "prepared";
                let others = world.plan.through.is_some_and(|way| way.others > 0);
                if change.state == "dead" && !others && !told[key] {
                    told[key] = true;
                    world.journal.violation(format!("a dead letter without a conflict: {change:?}"));
                }
            }
        }
        let now = world.journal.now().nanos;
        let mut seen = world.doubts.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in in_doubt.iter().enumerate().filter(|(_, in_doubt)| **in_doubt) {
            seen[key].push(now);
        }
    }
}

/// Waits until all is delivered, and compares the origins with what is here.
pub(crate) async fn settle(world: &Arc<World>) {
    let Some(running) = world.running() else { return };
    let mut waited = Duration::ZERO;
    let bucket = loop {
        let bucket = match running.engine.bucket(&World::bucket_name()).await {
            Ok(bucket) => bucket,
            Err(BucketError::NoSuchBucket(_)) => return,
            Err(error) => return world.journal.violation(format!("the bucket cannot be read: {error}")),
        };
        if running.engine.outbox_of(&bucket).pending == 0 {
            break bucket;
        }
        if waited >= DRAINED_WITHIN {
            let waiting = running.engine.waiting(&bucket, None, 3, false).await;
            return world.journal.violation(format!("changes wait for ever: {waiting:?}"));
        }
        waited += LOOK * 5;
        tokio::time::sleep(LOOK * 5).await;
    };
    // A change that nobody waits for any more may still be on its way.
    tokio::time::sleep(AFTERMATH).await;
    match running.engine.waiting(&bucket, None, 1000, false).await {
        Ok(dead) => Comparison { world, running: &running, bucket: &bucket, dead }.all().await,
        Err(error) => world.journal.violation(format!("what waits cannot be read: {error}")),
    }
    if let Err(error) = running.engine.drop_waiting(&bucket, &WhichWaiting::All).await {
        world.journal.violation(format!("what waits cannot be dropped: {error}"));
    }
    // Where the answer that names an upload was lost, nobody can end it.
    let left = world.origins.taken().uploads_left();
    (0..left).for_each(|_| world.journal.count("uploads left at origins"));
}

/// What is here, compared with what the origins have.
struct Comparison<'a> {
    world: &'a Arc<World>,
    running: &'a Running,
    bucket: &'a Bucket,
    dead: Vec<WaitingChange>,
}

impl Comparison<'_> {
    async fn all(&self) {
        let histories = self.world.journal.operations();
        for (key, name) in self.world.plan.keys.iter().enumerate() {
            if self.dead.iter().any(|change| change.key.as_str() == *name) {
                self.world.journal.count("keys with a dead letter");
            } else if self.is_bound(&histories[key]) {
                self.world.journal.count("keys compared with origins");
                self.one(key, name).await;
            }
        }
    }

    /// Whether what is here was made of the key since the shadow was set.
    fn is_bound(&self, history: &[Operation]) -> bool {
        let set = *self.world.doubts.shadow.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, set)) = set else { return false };
        let changes = |op: &&Operation| match op.did {
            Did::Put(object, _) => object.upload.is_none(),
            Did::Rewrite { .. } | Did::Delete => true,
            _ => false,
        };
        history.iter().filter(changes).any(|op| op.certain && op.from.nanos > set.nanos)
    }

    async fn one(&self, key: usize, name: &str) {
        let rule = self
            .bucket
            .settings
            .shadow
            .iter()
            .find(|rule| rule.prefix.as_deref().is_none_or(|prefix| name.starts_with(prefix)));
        let Some(rule) = rule else { return };
        let fallthrough_bucket::ShadowTarget::S3 { name: target, .. } = &rule.target else { return };
        let origin = usize::from(target != "o0");
        let (journal, origins) = (&self.world.journal, &self.world.origins);
        let whose = origins.taken().whose(origin, key);
        if matches!(whose, Whose::Others { .. }) {
            return;
        }
        let found = self.running.store.lookup(self.bucket.id, &Key::parse(name).expect("a good key")).await;
        let entry = match found {
            Ok(entry) => entry,
            Err(error) => return journal.violation(format!("key {key} cannot be looked up: {error}")),
        };
        let there = origins.scripts[origin].etag(name);
        let differs = |here: &str| {
            journal.violation(format!("key {key} is {here} here, and {there:?} at origin {origin}"));
        };
        match entry.as_deref().map(|entry| &entry.state) {
            Some(EntryState::Written(stored)) if rule.write_through != WriteThrough::Off => {
                let etag = stored.info.etag.as_ref().map(ToString::to_string).unwrap_or_default();
                let bytes = |etag: &str| journal.named(key, etag).map(|(_, of)| of.content.bytes());
                // A copy of parts is called otherwise where it was sent in one.
                let same =
                    || there.as_deref().and_then(bytes).is_some_and(|there| bytes(&etag) == Some(there));
                if there.as_deref() != Some(etag.as_str()) && !same() {
                    return differs(&etag);
                }
                self.said(origin, key, &stored.info);
            }
            Some(EntryState::Tombstone) if rule.delete_through && there.is_some() => differs("deleted"),
            Some(_) | None => {}
        }
    }

    /// What goes along with the bytes.
    fn said(&self, origin: usize, key: usize, info: &ObjectInfo) {
        let taken = self.world.origins.taken();
        let Some(said) = taken.sent(origin, key) else { return };
        if said.meta != info.meta || said.tags != info.tags {
            let text = format!("key {key} has {:?} {:?} here, and {said:?} was sent", info.meta, info.tags);
            drop(taken);
            self.world.journal.violation(text);
        }
    }
}

/// Writes that reached an origin after something newer had.
pub(crate) fn disorder(world: &World, histories: &[Vec<Operation>]) -> Vec<String> {
    let taken = world.origins.taken();
    let mut wrong = Vec::new();
    for (n, later) in taken.effects.iter().enumerate() {
        let of = Makers(&histories[later.key]);
        let before = taken.effects[..n].iter().rev();
        let before = before.take_while(|effect| !of.is_set_between(effect, later));
        let same = before.filter(|effect| (effect.origin, effect.key) == (later.origin, later.key));
        for earlier in same {
            let (Some(old), Some(new)) = (of.ended(later.left), of.begun(earlier.left)) else { continue };
            if old < new {
                let text = format!(
                    "key {} of origin {}: {:?} came after {:?}",
                    later.key, later.origin, later, earlier
                );
                wrong.push(text);
            }
        }
    }
    wrong
}

/// What made the versions of a key.
struct Makers<'a>(&'a [Operation]);

impl Makers<'_> {
    /// Whether the shadow was set between the two.
    fn is_set_between(&self, one: &Effect, other: &Effect) -> bool {
        let sets = |op: &&Operation| {
            matches!(op.did, Did::Attach(_) | Did::Detach | Did::MakeBucket(_) | Did::DropBucket)
        };
        self.0.iter().filter(sets).any(|op| op.from < other.at && op.to > one.at)
    }

    fn makers(&self, left: Option<VersionId>) -> impl Iterator<Item = &Operation> {
        let makes = move |did: Did| match (did, left) {
            (Did::Put(Object { bytes: Bytes::Of(made), .. }, _), Some(version)) => made == version,
            // Whatever it was.
            (Did::Put(Object { bytes: Bytes::CopyOf(_), .. }, _), Some(_)) => true,
            (Did::Delete | Did::DeleteIf(_) | Did::Expire, None) => true,
            _ => false,
        };
        self.0.iter().filter(move |op| makes(op.did))
    }

    /// When the last of those that may have made it had ended; `None`: nobody knows who did.
    fn ended(&self, left: Option<VersionId>) -> Option<Moment> {
        self.makers(left).map(|op| op.to).max()
    }

    /// When the first of those began.
    fn begun(&self, left: Option<VersionId>) -> Option<Moment> {
        self.makers(left).map(|op| op.from).min()
    }
}

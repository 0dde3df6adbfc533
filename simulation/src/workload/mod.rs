//! What clients do, and what they make of the answers: one file for each family of operations.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Ask, Client, Reply, Told};
use crate::dice::Dice;
use crate::did::{Condition, Did};
use crate::history::{AFTERMATH, Journal, Moment, VersionId};
use crate::world::World;

mod copies;
mod lists;
mod parts;
mod reads;
mod tags;
mod uploads;
mod writes;

/// What a client can do.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Get,
    Range,
    Head,
    ConditionalGet,
    Put,
    ConditionalPut,
    Delete,
    ConditionalDelete,
    BatchDelete,
    List,
    Copy,
    CopyOntoItself,
    ReadTags,
    WriteTags,
    Upload,
}

/// A client at work.
pub(crate) struct Worker {
    client: Client,
    dice: Dice,
}

/// Says that keys may change until it is dropped.
pub(crate) struct Changing {
    world: Arc<World>,
    keys: Vec<usize>,
}

impl Changing {
    pub(crate) fn of(world: &Arc<World>, keys: &[usize]) -> Self {
        keys.iter().for_each(|key| world.origins.changing(*key));
        Self { world: world.clone(), keys: keys.to_vec() }
    }

    /// The end of the change was lost: it may still come.
    pub(crate) async fn linger(self) {
        tokio::time::sleep(AFTERMATH).await;
        drop(self);
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.world.origins.changed(*key));
    }
}

impl Worker {
    pub(crate) fn new(world: &Arc<World>, number: u32, dice: Dice) -> Self {
        Self { client: Client::new(world, number), dice }
    }

    fn world(&self) -> &Arc<World> {
        &self.client.world
    }

    fn journal(&self) -> &Journal {
        &self.client.world.journal
    }

    pub(crate) async fn work(mut self) {
        let plan = self.world().plan.clone();
        for _ in 0..plan.operations_each {
            let cold = plan.keys.len() > plan.hot && self.dice.chance(50);
            let key = if cold {
                plan.hot + self.dice.index(plan.keys.len() - plan.hot)
            } else {
                self.dice.index(plan.hot)
            };
            let deed = self.dice.weighted(&[
                (24, Deed::Get),
                (8, Deed::Range),
                (10, Deed::Head),
                (6, Deed::ConditionalGet),
                (18, Deed::Put),
                (5, Deed::ConditionalPut),
                (11, Deed::Delete),
                (4, Deed::ConditionalDelete),
                (3, Deed::BatchDelete),
                (9, Deed::List),
                (7, Deed::Copy),
                (3, Deed::CopyOntoItself),
                (4, Deed::ReadTags),
                (6, Deed::WriteTags),
                (28, Deed::Upload),
            ]);
            let writes = !matches!(
                deed,
                Deed::Get
                    | Deed::Range
                    | Deed::Head
                    | Deed::ConditionalGet
                    | Deed::List
                    | Deed::ReadTags
                    | Deed::Upload
            );
            // What is written is not filled any more.
            let deed = if cold && writes && self.dice.chance(80) { Deed::Get } else { deed };
            match deed {
                Deed::Get => self.get(key).await,
                Deed::Range => self.range(key).await,
                Deed::Head => self.head(key).await,
                Deed::ConditionalGet => self.conditional_get(key).await,
                Deed::Put => self.put(key, Condition::Always).await,
                Deed::ConditionalPut => self.conditional_put(key).await,
                Deed::Delete => self.delete(key).await,
                Deed::ConditionalDelete => self.conditional_delete(key).await,
                Deed::BatchDelete => self.batch_delete(key).await,
                Deed::List => self.list().await,
                Deed::Copy => self.copy(key, self.dice.index(plan.keys.len())).await,
                Deed::CopyOntoItself => self.copy(key, key).await,
                Deed::ReadTags => self.read_tags(key).await,
                Deed::WriteTags => self.write_tags(key).await,
                Deed::Upload => self.upload(key).await,
            }
            let longest = u64::try_from(plan.pause.as_micros()).unwrap_or(u64::MAX);
            let mut pause = Duration::from_micros(self.dice.below(longest + 1));
            if self.dice.chance(3) {
                pause += plan.ttl + Duration::from_millis(self.dice.below(5000));
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn known(&self, key: usize, etag: &str) -> Option<(VersionId, u64)> {
        let (version, of) = self.journal().named(key, etag)?;
        Some((version, of.content.size_bytes()))
    }

    /// A condition for a write, or none.
    fn a_condition(&self, key: usize) -> Condition {
        let newest = self.journal().versions(key).first().map(|(version, _)| *version);
        match (self.dice.below(100), newest) {
            (0..70, _) => Condition::Always,
            (70..88, Some(version)) => Condition::IfMatch(version),
            (70.., _) => Condition::IfAbsent,
        }
    }

    /// The request under this condition.
    fn conditional(&self, ask: Ask, condition: Condition) -> Ask {
        match condition {
            Condition::Always => ask,
            Condition::IfAbsent => ask.header("if-none-match", "*".to_owned()),
            Condition::IfMatch(version) => ask.header("if-match", self.journal().of(version).etag),
        }
    }

    /// An answer that says nothing about the object: failure is always allowed, if it says so.
    /// Sends what changes a key. Its answer, and since when it may have been done, if that tells what became of it: else it
    /// is noted as something that may have been done, and this waits for its aftermath.
    async fn change(&mut self, key: usize, ask: &Ask, did: Did, what: &str) -> Option<(Reply, Moment)> {
        let changing = Changing::of(self.world(), &[key]);
        let from = self.journal().now();
        let told = self.client.ask(ask).await;
        match told {
            Told::NotAsked => return None,
            Told::Answer(reply) if !self.is_in_doubt(&reply) => return Some((reply, from)),
            Told::Lost | Told::Answer(_) => {}
        }
        self.journal().maybe_did(self.client.number, key, from, did);
        if let Told::Answer(reply) = &told {
            self.tolerate(reply.status, reply, what);
        }
        changing.linger().await;
        None
    }

    /// Whether a refusal leaves open if the write happened: the store failed, or an origin that has to have it first. What
    /// could not be asked is not in doubt.
    fn is_in_doubt(&self, reply: &Reply) -> bool {
        let first = self.world().plan.is_sync();
        matches!(reply.status, 500 | 503) && (first || reply.code() != "SlowDown")
    }

    fn tolerate(&self, status: u16, reply: &Reply, what: &str) {
        match status {
            // Could not ask, or would take too long; conflicts are refused, never decided wrongly.
            409 | 424 | 500 | 502 | 503 => self.journal().count("answered 5xx, 409 or 424"),
            // A write that only the shadow could judge.
            501 => self.journal().count("answered 501"),
            // Somebody else was at the shadow.
            412 if self.world().plan.others_refuse() => self.journal().count("answered 412 for others"),
            _ => self.journal().violation(format!("{what} is answered {status} {}", reply.code())),
        }
    }
}

/// The text of the first such element of a document.
fn element(document: &[u8], name: &str) -> Option<String> {
    elements(document, name).into_iter().next()
}

/// The insides of all such elements of a document.
fn elements(document: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(document);
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let insides = text.split(open.as_str()).skip(1).filter_map(|rest| rest.split_once(close.as_str()));
    insides.map(|(inside, _)| inside.replace("&quot;", "\"")).collect()
}

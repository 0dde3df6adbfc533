//! GET and HEAD, with ranges and conditions.

use std::time::Duration;

use fallthrough_sim::Content;
use http::Method;

use super::Worker;
use crate::client::{Ask, Reply, Told};
use crate::did::{Did, Seen};
use crate::history::{Moment, VersionId};

impl Worker {
    /// Reads every key until it is answered; `false` if one never is.
    pub(crate) async fn read_all(&mut self) {
        for key in 0..self.world().plan.keys.len() {
            for attempt in 0.. {
                let ask = Ask::new(Method::GET, self.world().plan.keys[key]);
                let from = self.journal().now();
                let told = self.client.ask(&ask).await;
                let answered = match &told {
                    Told::Answer(reply) => matches!(reply.status, 200 | 404) && reply.whole,
                    Told::NotAsked | Told::Lost => false,
                };
                self.understand_read(key, from, &told, None);
                if answered {
                    break;
                }
                if attempt == 20 {
                    self.journal().violation(format!("key {key} is not answered in calm weather: {told:?}"));
                    break;
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }

    pub(super) async fn get(&mut self, key: usize) {
        let mut ask = Ask::new(Method::GET, self.world().plan.keys[key]);
        if self.dice.chance(8) {
            ask = ask.hang_up_after(self.dice.below(60_000));
        }
        if self.dice.chance(8) {
            ask = ask.slow(Duration::from_millis(self.dice.between(1, 30)));
        }
        self.journal().count("GET");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        self.understand_read(key, from, &told, None);
    }

    pub(super) async fn range(&mut self, key: usize) {
        let first = self.dice.below(self.dice.pick(&[1, 1000, 80_000]));
        let range = match self.dice.below(3) {
            0 => Ranged::From(first),
            1 => Ranged::FromTo(first, first + self.dice.below(30_000)),
            _ => Ranged::Last(self.dice.between(1, 20_000)),
        };
        let ask = Ask::new(Method::GET, self.world().plan.keys[key]).header("range", range.header());
        self.journal().count("GET range");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        self.understand_read(key, from, &told, Some(range));
    }

    pub(super) async fn head(&mut self, key: usize) {
        let ask = Ask::new(Method::HEAD, self.world().plan.keys[key]);
        self.journal().count("HEAD");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let Told::Answer(reply) = told else { return };
        let did = match reply.status {
            200 => match self.known(key, reply.header("etag")) {
                Some((version, size)) if reply.header("content-length") == size.to_string() => {
                    Did::Read(counted(version, &reply))
                }
                // The headers of a fill that runs are not verified yet: this length, an origin has said of this key.
                Some(_)
                    if self
                        .world()
                        .origins
                        .has_lied(self.world().plan.keys[key], reply.header("content-length")) =>
                {
                    Did::Read(Seen::SomeObject)
                }
                Some((version, _)) => {
                    let said = reply.header("content-length");
                    self.journal().violation(format!("HEAD of key {key} says {said} for {version:?}"));
                    return;
                }
                None => Did::Read(Seen::SomeObject),
            },
            404 => Did::NotFound,
            other => return self.tolerate(other, &reply, "HEAD"),
        };
        self.journal().did(self.client.number, key, from, did);
    }

    pub(super) async fn conditional_get(&mut self, key: usize) {
        let versions = self.journal().versions(key);
        if versions.is_empty() {
            return self.get(key).await;
        }
        let (version, known) = &versions[self.dice.index(versions.len().min(4))];
        let version = *version;
        let wants_same = self.dice.chance(40);
        let name = if wants_same { "if-match" } else { "if-none-match" };
        let ask = Ask::new(Method::GET, self.world().plan.keys[key]).header(name, known.etag.clone());
        self.journal().count("GET conditional");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let did = match &told {
            Told::Answer(reply) if reply.status == 304 && !wants_same => Did::Read(Seen::Object(version)),
            Told::Answer(reply) if reply.status == 412 && wants_same => Did::Read(Seen::Another(version)),
            Told::Answer(_) | Told::NotAsked | Told::Lost => {
                return self.understand_read(key, from, &told, None);
            }
        };
        self.journal().did(self.client.number, key, from, did);
    }

    /// What a GET showed, its bytes compared with those of the version that it names.
    fn understand_read(&mut self, key: usize, from: Moment, told: &Told, range: Option<Ranged>) {
        let Told::Answer(reply) = told else { return };
        let did = match reply.status {
            200 | 206 => {
                let Some(seen) = self.identify(key, reply, range) else { return };
                Did::Read(seen)
            }
            // Hung up on before it said what there is not.
            404 if !reply.whole => Did::NotFound,
            404 => match reply.code().as_str() {
                "NoSuchKey" => Did::Read(Seen::Nothing),
                "NoSuchBucket" => Did::NoBucket,
                other => return self.journal().violation(format!("GET is answered 404 {other}")),
            },
            416 => match range {
                Some(Ranged::From(first) | Ranged::FromTo(first, _)) => Did::Read(Seen::EndsBefore(first)),
                // A suffix of an empty object.
                Some(Ranged::Last(_)) => Did::Read(Seen::EndsBefore(0)),
                None => return self.journal().violation("GET without a range is answered 416"),
            },
            other => return self.tolerate(other, reply, "GET"),
        };
        self.journal().did(self.client.number, key, from, did);
    }

    /// The version whose bytes these are. A body that ends cleanly must be one's, whole; one that broke off must
    /// be the beginning of one.
    fn identify(&self, key: usize, reply: &Reply, range: Option<Ranged>) -> Option<Seen> {
        let etag = reply.header("etag");
        let is = |content: &Content| {
            let size = content.size_bytes();
            let (start, end) = match (reply.status, range) {
                (206, Some(range)) => range.of(size)?,
                _ => (0, size),
            };
            if reply.status == 206
                && reply.header("content-range") != format!("bytes {start}-{}/{size}", end - 1)
            {
                return None;
            }
            let want = content.slice(start, end);
            let fits = if reply.whole { reply.body == want } else { want.starts_with(&reply.body) };
            fits.then_some(())
        };
        let named = self.journal().named(key, etag);
        // An ETag that the origin made up: the bytes tell.
        let found = match &named {
            Some((id, version)) => is(&version.content).map(|()| *id),
            None => match self.journal().only(key, |content| is(content).is_some()) {
                Ok(version) => Some(version),
                Err(0) => None,
                Err(_) => return Some(Seen::SomeObject),
            },
        };
        if found.is_none() {
            let begin = String::from_utf8_lossy(&reply.body[..reply.body.len().min(64)]).into_owned();
            self.journal().violation(format!(
                "a wrong body for key {key}: {} {etag} {:?}, {} bytes, whole {}, {:?} {} begins {begin:?}",
                reply.status,
                named.map(|(id, version)| (id, version.content.size_bytes())),
                reply.body.len(),
                reply.whole,
                range,
                reply.header("content-range"),
            ));
        }
        found.map(|version| counted(version, reply))
    }
}

/// A version with as many tags as the answer says.
fn counted(version: VersionId, reply: &Reply) -> Seen {
    Seen::Counted(version, reply.header("x-amz-tagging-count").parse().unwrap_or(0))
}

/// A range as it is asked for.
#[derive(Clone, Copy, Debug)]
enum Ranged {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl Ranged {
    fn header(self) -> String {
        match self {
            Self::From(first) => format!("bytes={first}-"),
            Self::FromTo(first, last) => format!("bytes={first}-{last}"),
            Self::Last(len) => format!("bytes=-{len}"),
        }
    }

    /// Half-open; `None` if it begins after the end.
    fn of(self, size: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Self::From(first) => (first, size),
            Self::FromTo(first, last) => (first, size.min(last + 1)),
            Self::Last(len) => (size.saturating_sub(len), size),
        };
        (start < end).then_some((start, end))
    }
}

//! What clients do, and what they make of the answers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fallthrough_sim::Content;
use fallthrough_wire::xml;
use http::Method;
use md5::{Digest as _, Md5};

use crate::client::{Ask, Client, Reply, Told};
use crate::dice::Dice;
use crate::history::{AFTERMATH, Journal, Moment, VersionId};
use crate::model::{Condition, Did, Seen};
use crate::world::World;

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
    BatchDelete,
    List,
}

/// A client at work.
pub(crate) struct Worker {
    client: Client,
    dice: Dice,
}

/// Says that keys may change until it is dropped.
struct Changing {
    world: Arc<World>,
    keys: Vec<usize>,
}

impl Changing {
    fn of(world: &Arc<World>, keys: &[usize]) -> Self {
        keys.iter().for_each(|key| world.origins.changing(*key));
        Self { world: world.clone(), keys: keys.to_vec() }
    }

    /// The end of the change was lost: it may still come.
    async fn linger(self) {
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
                (3, Deed::BatchDelete),
                (9, Deed::List),
            ]);
            let writes = matches!(deed, Deed::Put | Deed::ConditionalPut | Deed::Delete | Deed::BatchDelete);
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
                Deed::BatchDelete => self.batch_delete(key).await,
                Deed::List => self.list().await,
            }
            let longest = u64::try_from(plan.pause.as_micros()).unwrap_or(u64::MAX);
            let mut pause = Duration::from_micros(self.dice.below(longest + 1));
            if self.dice.chance(3) {
                pause += plan.ttl + Duration::from_millis(self.dice.below(5000));
            }
            tokio::time::sleep(pause).await;
        }
    }

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

    async fn get(&mut self, key: usize) {
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

    async fn range(&mut self, key: usize) {
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

    async fn head(&mut self, key: usize) {
        let ask = Ask::new(Method::HEAD, self.world().plan.keys[key]);
        self.journal().count("HEAD");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let Told::Answer(reply) = told else { return };
        let did = match reply.status {
            200 => match self.known(key, reply.header("etag")) {
                Some((version, size)) if reply.header("content-length") == size.to_string() => {
                    Did::Read(Seen::Object(version))
                }
                // The headers of a fill that runs are not verified yet, and its origin may lie about the length.
                Some(_) if self.journal().counted("wrong length") > 0 => Did::Read(Seen::SomeObject),
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

    async fn conditional_get(&mut self, key: usize) {
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
                let Some(version) = self.identify(key, reply, range) else { return };
                Did::Read(Seen::Object(version))
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
    fn identify(&self, key: usize, reply: &Reply, range: Option<Ranged>) -> Option<VersionId> {
        let etag = reply.header("etag");
        let versions = self.journal().versions(key);
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
        let named = versions.iter().find(|(_, version)| version.etag == etag);
        // An ETag that the origin made up: the bytes tell.
        let found = match named {
            Some((id, version)) => is(&version.content).map(|()| *id),
            None => versions.iter().find(|(_, version)| is(&version.content).is_some()).map(|(id, _)| *id),
        };
        if found.is_none() {
            let begin = String::from_utf8_lossy(&reply.body[..reply.body.len().min(64)]).into_owned();
            self.journal().violation(format!(
                "a wrong body for key {key}: {} {etag} {:?}, {} bytes, whole {}, {:?} {} begins {begin:?}",
                reply.status,
                named.map(|(id, version)| (*id, version.content.size_bytes())),
                reply.body.len(),
                reply.whole,
                range,
                reply.header("content-range"),
            ));
        }
        found
    }

    fn known(&self, key: usize, etag: &str) -> Option<(VersionId, u64)> {
        let versions = self.journal().versions(key);
        let named = versions.into_iter().find(|(_, version)| version.etag == etag)?;
        Some((named.0, named.1.content.size_bytes()))
    }

    /// An answer that says nothing about the object: failure is always allowed, if it says so.
    fn tolerate(&self, status: u16, reply: &Reply, what: &str) {
        match status {
            // Could not ask, or would take too long; conflicts are refused, never decided wrongly.
            409 | 424 | 500 | 502 | 503 => self.journal().count("answered 5xx, 409 or 424"),
            // A write that only the shadow could judge.
            501 => self.journal().count("answered 501"),
            _ => self.journal().violation(format!("{what} is answered {status} {}", reply.code())),
        }
    }

    async fn conditional_put(&mut self, key: usize) {
        let versions = self.journal().versions(key);
        let condition = match versions.first() {
            Some((version, _)) if self.dice.chance(50) => Condition::IfMatch(*version),
            Some(_) | None => Condition::IfAbsent,
        };
        self.put(key, condition).await;
    }

    async fn put(&mut self, key: usize, condition: Condition) {
        let size = self.world().plan.size(&self.dice);
        let name = self.world().plan.keys[key];
        let version = self.journal().version(key, |edition| Content::generated(name, edition, size));
        let body = self.journal().of(version).content.bytes();
        let mut ask = Ask::new(Method::PUT, name).body(body, self.dice.chance(50));
        ask = match condition {
            Condition::Always => ask,
            Condition::IfAbsent => ask.header("if-none-match", "*".to_owned()),
            Condition::IfMatch(version) => ask.header("if-match", self.journal().of(version).etag),
        };
        if size > 0 && self.dice.chance(10) {
            // In the middle, or right after the last byte.
            ask = ask.hang_up_after(if self.dice.chance(50) { size } else { self.dice.below(size) });
        }
        self.journal().count(if condition == Condition::Always { "PUT" } else { "PUT conditional" });
        let changing = Changing::of(self.world(), &[key]);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let (client, did) = (self.client.number, Did::Put(version, condition));
        match &told {
            Told::NotAsked => {}
            Told::Lost => {
                self.journal().maybe_did(client, key, from, did);
                changing.linger().await;
            }
            Told::Answer(reply) => match (reply.status, reply.code().as_str()) {
                (200, _) => self.journal().did(client, key, from, did),
                (412, _) => {
                    let did = Did::PutRefused { condition, absent: false };
                    self.journal().did(client, key, from, did);
                }
                (404, "NoSuchKey") => {
                    let did = Did::PutRefused { condition, absent: true };
                    self.journal().did(client, key, from, did);
                }
                (404, "NoSuchBucket") => self.journal().did(client, key, from, Did::NoBucket),
                (500 | 503, _) => {
                    self.journal().maybe_did(client, key, from, did);
                    self.tolerate(reply.status, reply, "PUT");
                    changing.linger().await;
                }
                (other, _) => self.tolerate(other, reply, "PUT"),
            },
        }
    }

    async fn delete(&mut self, key: usize) {
        self.journal().count("DELETE");
        let ask = Ask::new(Method::DELETE, self.world().plan.keys[key]);
        let changing = Changing::of(self.world(), &[key]);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let client = self.client.number;
        match &told {
            Told::NotAsked => {}
            Told::Lost => {
                self.journal().maybe_did(client, key, from, Did::Delete);
                changing.linger().await;
            }
            Told::Answer(reply) => match (reply.status, reply.code().as_str()) {
                (204, _) => self.journal().did(client, key, from, Did::Delete),
                (404, "NoSuchBucket") => self.journal().did(client, key, from, Did::NoBucket),
                (500 | 503, _) => {
                    self.journal().maybe_did(client, key, from, Did::Delete);
                    self.tolerate(reply.status, reply, "DELETE");
                    changing.linger().await;
                }
                (other, _) => self.tolerate(other, reply, "DELETE"),
            },
        }
    }

    async fn batch_delete(&mut self, first: usize) {
        self.journal().count("DELETE batch");
        let plan = self.world().plan.clone();
        let keys: Vec<usize> = (0..plan.keys.len())
            .filter(|key| *key == first || (*key < plan.hot && self.dice.chance(40)))
            .collect();
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", plan.keys[*key])).collect();
        let body = Bytes::from(format!("<Delete>{objects}</Delete>"));
        let digest = BASE64.encode(Md5::digest(&body));
        let ask = Ask::new(Method::POST, "")
            .query("delete=".to_owned())
            .header("content-md5", digest)
            .body(body, false);
        let changing = Changing::of(self.world(), &keys);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let client = self.client.number;
        match &told {
            Told::NotAsked => {}
            Told::Answer(reply) if reply.status == 200 && reply.whole => {
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                let mut lost = false;
                for key in keys {
                    let tag = format!("<Key>{}</Key>", plan.keys[key]);
                    let deleted = text.contains(&format!("<Deleted>{tag}"));
                    let code =
                        text.split("<Error>").skip(1).find(|error| error.contains(&tag)).and_then(|error| {
                            error.split("<Code>").nth(1)?.split('<').next().map(str::to_owned)
                        });
                    match (deleted, code.as_deref()) {
                        (true, _) => self.journal().did(client, key, from, Did::Delete),
                        (false, Some("NoSuchBucket")) => {
                            self.journal().did(client, key, from, Did::NoBucket);
                        }
                        (false, Some("ConditionalRequestConflict")) => {}
                        (false, Some(_)) => {
                            self.journal().maybe_did(client, key, from, Did::Delete);
                            lost = true;
                        }
                        (false, None) => {
                            self.journal().violation(format!("key {key} is not in the answer: {text}"));
                        }
                    }
                }
                if lost {
                    changing.linger().await;
                }
            }
            Told::Answer(reply) if reply.status == 404 => {
                for key in keys {
                    self.journal().did(client, key, from, Did::NoBucket);
                }
            }
            Told::Answer(reply) if matches!(reply.status, 400 | 409) => {
                self.tolerate(reply.status, reply, "batch delete");
            }
            Told::Answer(_) | Told::Lost => {
                for key in keys {
                    self.journal().maybe_did(client, key, from, Did::Delete);
                }
                changing.linger().await;
            }
        }
    }

    /// Walks through a list, page by page.
    async fn list(&mut self) {
        self.journal().count("LIST");
        let plan = self.world().plan.clone();
        let prefix = self.dice.pick(&["", "", "", "d", "d/", "e/"]);
        let delimiter = self.dice.chance(50).then_some("/");
        let after = if self.dice.chance(20) { self.dice.pick(&plan.keys) } else { "" };
        let version_2 = self.dice.chance(60);
        let max_keys = self.dice.pick(&[1, 2, 3, 1000]);
        let asked = Listing { prefix, delimiter, after };
        let encoded = |text: &str| encode_query(text);
        let mut pages: Vec<Page> = Vec::new();
        let mut go_on: Option<String> = None;
        loop {
            let mut query = format!("max-keys={max_keys}&prefix={}", encoded(prefix));
            if let Some(delimiter) = delimiter {
                query.push_str(&format!("&delimiter={}", encoded(delimiter)));
            }
            match (version_2, &go_on) {
                (true, None) => query.push_str(&format!("&list-type=2&start-after={}", encoded(after))),
                (true, Some(token)) => {
                    query.push_str(&format!("&list-type=2&continuation-token={}", encoded(token)));
                }
                (false, None) => query.push_str(&format!("&marker={}", encoded(after))),
                (false, Some(marker)) => query.push_str(&format!("&marker={}", encoded(marker))),
            }
            let from = self.journal().now();
            let told = self.client.ask(&Ask::new(Method::GET, "").query(query)).await;
            let to = self.journal().now();
            let Told::Answer(reply) = told else { break };
            self.journal().count("LIST pages");
            match reply.status {
                200 if reply.whole => {}
                200 => break,
                404 => {
                    for key in 0..plan.keys.len() {
                        self.journal().did_until(self.client.number, key, from, to, Did::NoBucket, true);
                    }
                    break;
                }
                other => {
                    self.tolerate(other, &reply, "LIST");
                    break;
                }
            }
            let page = match xml::parse_list_page(&reply.body) {
                Ok(page) => page,
                Err(error) => {
                    self.journal().violation(format!("a list that is none: {error}"));
                    break;
                }
            };
            go_on = page.next().map(str::to_owned);
            let mut names: Vec<(String, Option<(String, u64)>)> = page
                .objects
                .iter()
                .map(|object| {
                    let etag = object.etag.as_ref().map(ToString::to_string).unwrap_or_default();
                    (object.key.clone(), Some((etag, object.size_bytes)))
                })
                .chain(page.common_prefixes.iter().map(|prefix| (prefix.clone(), None)))
                .collect();
            names.sort();
            pages.push(Page { from, to, names, last: !page.is_truncated });
            if pages.len() > 40 {
                self.journal().violation(format!("a list does not end: {asked:?}"));
                break;
            }
            if !page.is_truncated {
                break;
            }
            if go_on.is_none() {
                self.journal().violation("a truncated page does not say how to go on");
                break;
            }
            if self.dice.chance(10) {
                break;
            }
        }
        self.understand_list(asked, &pages);
    }

    fn understand_list(&self, asked: Listing, pages: &[Page]) {
        let names = pages.iter().flat_map(|page| page.names.iter().map(|(name, _)| name.as_str()));
        let mut before = "";
        for name in names {
            if name <= before {
                self.journal().violation(format!("a list shows {name:?} after {before:?}: {asked:?}"));
            }
            before = name;
        }
        for (key, name) in self.world().plan.keys.iter().enumerate() {
            let Some((from, to, did)) = self.shown(asked, pages, key, name) else { continue };
            self.journal().did_until(self.client.number, key, from, to, did, true);
        }
    }

    /// What the list says of a key, and within which time.
    fn shown(&self, asked: Listing, pages: &[Page], key: usize, name: &str) -> Option<(Moment, Moment, Did)> {
        let rest = name.strip_prefix(asked.prefix)?;
        let collapsed = asked.delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| &name[..asked.prefix.len() + at + delimiter.len()])
        });
        let place = collapsed.unwrap_or(name);
        if place <= asked.after {
            return None;
        }
        let mut since = None;
        for page in pages {
            if let Some((_, object)) = page.names.iter().find(|(shown, _)| shown == place) {
                // A common prefix tells that one of its keys is there, not which.
                let (etag, size) = object.as_ref()?;
                let Some((version, known)) = self.known(key, etag) else {
                    self.journal().violation(format!("a list shows key {key} with {etag}"));
                    return None;
                };
                if known != *size {
                    self.journal().violation(format!("a list shows {size} bytes for {version:?}"));
                }
                return Some((page.from, page.to, Did::Listed(Seen::Object(version))));
            }
            let first = page.names.first().map(|(name, _)| name.as_str());
            // Before the first name of this page: the page before may have examined it, too.
            let from = match first {
                Some(first) if place > first => page.from,
                Some(_) | None => since.unwrap_or(page.from),
            };
            if page.last || page.names.last().is_some_and(|(last, _)| last.as_str() > place) {
                return Some((from, page.to, Did::Listed(Seen::Nothing)));
            }
            since = Some(if first.is_some() { page.from } else { since.unwrap_or(page.from) });
        }
        None
    }
}

/// What a list was asked for.
#[derive(Clone, Copy, Debug)]
struct Listing {
    prefix: &'static str,
    delimiter: Option<&'static str>,
    after: &'static str,
}

/// One page: names in order, objects with ETag and size.
#[derive(Debug)]
struct Page {
    from: Moment,
    to: Moment,
    names: Vec<(String, Option<(String, u64)>)>,
    last: bool,
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

fn encode_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

//! LIST, page by page.

use fallthrough_wire::xml;
use http::Method;

use super::Worker;
use crate::client::{Ask, Told};
use crate::did::{Did, Seen};
use crate::history::Moment;

impl Worker {
    /// Walks through a list, page by page.
    pub(super) async fn list(&mut self) {
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
            if names.len() > max_keys {
                self.journal()
                    .violation(format!("a page of {max_keys} has {} names: {asked:?}", names.len()));
            }
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
            if !self.world().plan.keys.iter().any(|key| asked.place(key) == Some(name)) {
                self.journal()
                    .violation(format!("a list shows {name:?}, which is no key and no prefix: {asked:?}"));
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
        let place = asked.place(name)?;
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

impl Listing {
    /// Where a key stands in it, collapsed at the delimiter; `None`: it does not.
    fn place(self, key: &str) -> Option<&str> {
        let rest = key.strip_prefix(self.prefix)?;
        let collapsed = self.delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| &key[..self.prefix.len() + at + delimiter.len()])
        });
        Some(collapsed.unwrap_or(key)).filter(|place| *place > self.after)
    }
}

/// One page: names in order, objects with ETag and size.
#[derive(Debug)]
struct Page {
    from: Moment,
    to: Moment,
    names: Vec<(String, Option<(String, u64)>)>,
    last: bool,
}

fn encode_query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

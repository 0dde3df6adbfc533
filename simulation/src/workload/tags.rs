//! Tags of objects: put, read, deleted, and given with a write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fallthrough_object::Tag;
use fallthrough_wire::xml::{parse_tagging, tagging};
use http::Method;
use md5::{Digest as _, Md5};

use super::Worker;
use crate::client::{Ask, Told};
use crate::did::{Did, Seen, Tags};

fn pairs(tags: Tags) -> Vec<Tag> {
    tags.pairs().into_iter().map(|(key, value)| Tag { key: key.to_owned(), value }).collect()
}

/// The set that these are; `None`: nobody ever set them.
fn read(tags: &[Tag]) -> Option<Tags> {
    let Some(number) = tags.iter().find(|tag| tag.key == "number") else {
        return tags.is_empty().then_some(Tags::None);
    };
    let set = Tags::Set(number.value.parse().ok()?);
    (pairs(set) == tags).then_some(set)
}

/// The request, giving its object these tags.
pub(super) fn tagging_header(ask: Ask, tags: Tags) -> Ask {
    let pairs: Vec<String> = tags.pairs().iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { ask } else { ask.header("x-amz-tagging", pairs.join("&")) }
}

impl Worker {
    /// Tags that nobody set before, or none.
    pub(super) fn some_tags(&self) -> Tags {
        if self.dice.chance(20) { Tags::None } else { Tags::Set(self.journal().edition()) }
    }

    pub(super) async fn read_tags(&mut self, key: usize) {
        let ask = Ask::new(Method::GET, self.world().plan.keys[key]).query("tagging=".to_owned());
        self.journal().count("GET tags");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let Told::Answer(reply) = told else { return };
        let did = match (reply.status, reply.code().as_str()) {
            (200, _) if !reply.whole => return,
            (200, _) => match parse_tagging(&reply.body).ok().and_then(|tags| read(&tags)) {
                Some(tags) => Did::Read(Seen::Tags(tags)),
                None => {
                    let text = String::from_utf8_lossy(&reply.body).into_owned();
                    return self.journal().violation(format!("key {key} has tags that nobody set: {text}"));
                }
            },
            (404, "NoSuchKey") => Did::Read(Seen::Nothing),
            (404, "NoSuchBucket") => Did::NoBucket,
            (other, _) => return self.tolerate(other, &reply, "GET tags"),
        };
        self.journal().did(self.client.number, key, from, did);
    }

    /// Sets other tags, or deletes them.
    pub(super) async fn write_tags(&mut self, key: usize) {
        let name = self.world().plan.keys[key];
        let (tags, mut ask) = if self.dice.chance(30) {
            self.journal().count("DELETE tags");
            (Tags::None, Ask::new(Method::DELETE, name))
        } else {
            self.journal().count("PUT tags");
            let tags = self.some_tags();
            let body = Bytes::from(tagging(&pairs(tags)));
            let digest = BASE64.encode(Md5::digest(&body));
            (tags, Ask::new(Method::PUT, name).header("content-md5", digest).body(body, false))
        };
        ask = ask.query("tagging=".to_owned());
        if self.dice.chance(8) {
            ask = ask.leave();
        }
        let did = Did::SetTags(tags);
        let Some((reply, from)) = self.change(key, &ask, did, "tagging").await else { return };
        let client = self.client.number;
        match (reply.status, reply.code().as_str()) {
            (200 | 204, _) => self.journal().did(client, key, from, did),
            (404, "NoSuchKey") => self.journal().did(client, key, from, Did::Read(Seen::Nothing)),
            (404, "NoSuchBucket") => self.journal().did(client, key, from, Did::NoBucket),
            (other, _) => self.tolerate(other, &reply, "tagging"),
        }
    }
}

//! CopyObject: onto another key, and onto itself with new headers.

use fallthrough_wire::uri::encode_path;
use http::Method;

use super::{Changing, Worker, element};
use crate::client::{Ask, Told};
use crate::did::{Bytes, Condition, Did, Object, Seen, Tags};
use crate::history::{Moment, VersionId};
use crate::world::BUCKET;

/// A copy as it is asked for.
#[derive(Clone, Copy, Debug)]
struct Copy {
    source: usize,
    key: usize,
    /// `x-amz-copy-source-if-match`.
    of: Option<VersionId>,
    /// The tags that replace the source's.
    tags: Option<Tags>,
    condition: Condition,
}

/// The value of `x-amz-copy-source`.
pub(super) fn source_header(name: &str) -> String {
    encode_path(&format!("/{BUCKET}/{name}"))
}

impl Worker {
    /// Copies some key onto this one.
    pub(super) async fn copy(&mut self, key: usize, source: usize) {
        let known = self.journal().versions(source);
        let of = known.first().filter(|_| self.dice.chance(30)).map(|(version, _)| *version);
        // Both could be the reason of a refusal, which does not say.
        let condition = if of.is_some() { Condition::Always } else { self.a_condition(key) };
        let tags = self.dice.chance(40).then(|| self.some_tags());
        let copy = Copy { source, key, of, tags, condition };
        let mut ask = Ask::new(Method::PUT, self.world().plan.keys[key])
            .header("x-amz-copy-source", source_header(self.world().plan.keys[source]));
        if source == key {
            ask = ask.header("x-amz-metadata-directive", "REPLACE".to_owned());
        }
        if let Some(of) = of {
            ask = ask.header("x-amz-copy-source-if-match", self.journal().of(of).etag);
        }
        if let Some(tags) = tags {
            ask = ask.header("x-amz-tagging-directive", "REPLACE".to_owned());
            ask = super::tags::tagging_header(ask, tags);
        }
        ask = self.conditional(ask, condition);
        if self.dice.chance(8) {
            ask = if self.dice.chance(50) { ask.leave() } else { ask.hang_up_after(0) };
        }
        self.journal().count(if source == key { "COPY onto itself" } else { "COPY" });
        let changing = Changing::of(self.world(), &[key]);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        if self.understand_copy(copy, from, &told) {
            changing.linger().await;
        }
    }

    /// What a copy did; whether that is in doubt.
    fn understand_copy(&self, copy: Copy, from: Moment, told: &Told) -> bool {
        let (journal, client) = (self.journal(), self.client.number);
        let Copy { source, key, of, condition, .. } = copy;
        let reply = match told {
            Told::NotAsked => return false,
            Told::Lost => {
                journal.maybe_did(client, key, from, self.copied(copy, of));
                return true;
            }
            Told::Answer(reply) if self.is_in_doubt(reply) => {
                journal.maybe_did(client, key, from, self.copied(copy, of));
                self.tolerate(reply.status, reply, "COPY");
                return true;
            }
            // Hung up on before it said why not.
            Told::Answer(reply) if reply.status != 200 && !reply.whole => return false,
            Told::Answer(reply) => reply,
        };
        match (reply.status, reply.code().as_str()) {
            (200, _) => {
                let etag = element(&reply.body, "ETag");
                let version = etag.and_then(|etag| journal.named(source, &etag)).map(|(version, _)| version);
                if of.is_some() && version != of && reply.whole {
                    journal.violation(format!("a copy of {of:?} is one of {version:?}"));
                }
                journal.count("copies");
                if source != key {
                    let seen = version.map_or(Seen::SomeObject, Seen::Object);
                    journal.did(client, source, from, Did::Read(seen));
                }
                journal.did(client, key, from, self.copied(copy, version));
            }
            // Which of the two is not there?
            (404, "NoSuchKey") if matches!(condition, Condition::IfMatch(_)) => {}
            (404, "NoSuchKey") => journal.did(client, source, from, Did::Read(Seen::Nothing)),
            (404, "NoSuchBucket") => journal.did(client, key, from, Did::NoBucket),
            (412, _) if self.world().plan.others_refuse() => {}
            (412, _) => match of {
                Some(of) => journal.did(client, source, from, Did::Read(Seen::Another(of))),
                None => journal.did(client, key, from, Did::PutRefused { condition, absent: false }),
            },
            (other, _) => self.tolerate(other, reply, "COPY"),
        }
        false
    }

    /// What a copy of this version of its source does to its key.
    fn copied(&self, copy: Copy, version: Option<VersionId>) -> Did {
        let Copy { source, key, tags, condition, .. } = copy;
        if source == key {
            return Did::Rewrite { version, tags, condition };
        }
        let bytes = match version.map(|version| self.journal().of(version)) {
            Some(of) => Bytes::Of(self.journal().version_as(key, of.content, of.etag)),
            None => Bytes::CopyOf(u8::try_from(source).expect("a run has few keys")),
        };
        Did::Put(Object { bytes, tags: tags.unwrap_or(Tags::Unknown), upload: None }, condition)
    }
}

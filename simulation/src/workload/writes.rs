//! PUT and DELETE, single and in batches.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fallthrough_sim::Content;
use http::Method;
use md5::{Digest as _, Md5};

use super::{Changing, Worker};
use crate::client::{Ask, Told};
use crate::did::{Condition, Did, Object, Tags};

impl Worker {
    pub(super) async fn conditional_put(&mut self, key: usize) {
        let versions = self.journal().versions(key);
        let condition = match versions.first() {
            Some((version, _)) if self.dice.chance(50) => Condition::IfMatch(*version),
            Some(_) | None => Condition::IfAbsent,
        };
        self.put(key, condition).await;
    }

    pub(super) async fn put(&mut self, key: usize, condition: Condition) {
        let size = self.world().plan.size(&self.dice);
        let name = self.world().plan.keys[key];
        let version = self.journal().version(key, |edition| Content::generated(name, edition, size));
        let body = self.journal().of(version).content.bytes();
        let mut ask = Ask::new(Method::PUT, name).body(body, self.dice.chance(50));
        ask = self.conditional(ask, condition);
        let tags = if self.dice.chance(25) { self.some_tags() } else { Tags::None };
        ask = super::tags::tagging_header(ask, tags);
        if size > 0 && self.dice.chance(10) {
            // In the middle, or right after the last byte.
            ask = ask.hang_up_after(if self.dice.chance(50) { size } else { self.dice.below(size) });
        }
        self.journal().count(if condition == Condition::Always { "PUT" } else { "PUT conditional" });
        let changing = Changing::of(self.world(), &[key]);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let (client, did) = (self.client.number, Did::Put(Object::of(version).tagged(tags), condition));
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

    pub(super) async fn delete(&mut self, key: usize) {
        self.journal().count("DELETE");
        let ask = Ask::new(Method::DELETE, self.world().plan.keys[key]);
        self.delete_as(key, ask, Did::Delete).await;
    }

    /// DELETE of a version that may be there, or have been.
    pub(super) async fn conditional_delete(&mut self, key: usize) {
        let versions = self.journal().versions(key);
        if versions.is_empty() {
            return self.delete(key).await;
        }
        self.journal().count("DELETE conditional");
        let (version, of) = &versions[self.dice.index(versions.len().min(2))];
        let ask = Ask::new(Method::DELETE, self.world().plan.keys[key]).header("if-match", of.etag.clone());
        self.delete_as(key, ask, Did::DeleteIf(*version)).await;
    }

    async fn delete_as(&mut self, key: usize, mut ask: Ask, did: Did) {
        if self.dice.chance(5) {
            ask = ask.leave();
        }
        let Some((reply, from)) = self.change(key, &ask, did, "DELETE").await else { return };
        let client = self.client.number;
        match (reply.status, reply.code().as_str(), did) {
            (204, ..) => self.journal().did(client, key, from, did),
            (404, "NoSuchBucket", _) => self.journal().did(client, key, from, Did::NoBucket),
            (412, _, Did::DeleteIf(version)) => {
                self.journal().did(client, key, from, Did::DeleteRefused(version));
            }
            (other, ..) => self.tolerate(other, &reply, "DELETE"),
        }
    }

    pub(super) async fn batch_delete(&mut self, first: usize) {
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
}

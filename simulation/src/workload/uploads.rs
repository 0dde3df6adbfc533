//! Multipart uploads: begun, listed, completed, also again, and aborted. Any client goes on with any upload, so that
//! these race. Their parts are in [`super::parts`].

use bytes::{Bytes, BytesMut};
use fallthrough_sim::Content;
use fallthrough_wire::digest::multipart_etag;
use http::Method;
use md5::{Digest as _, Md5};

use super::{Changing, Worker, element};
use crate::client::{Ask, Reply, Told};
use crate::did::{Bytes as Its, Condition, Did, Object};
use crate::history::{Moment, VersionId};
use crate::upload_model::{Parts, SLOTS, UploadDid};
use crate::uploads::Upload;

#[derive(Clone, Copy, Debug)]
enum Step {
    Part,
    PartCopy,
    List,
    Complete,
    Abort,
}

/// An upload that is to be completed.
#[derive(Clone, Copy, Debug)]
struct Completion {
    listed: Parts,
    /// What that makes.
    version: VersionId,
    condition: Condition,
}

impl Worker {
    /// Begins an upload, or takes one a step further.
    pub(super) async fn upload(&mut self, key: usize) {
        let all = self.world().uploads.all();
        let open: Vec<&Upload> = all.iter().filter(|upload| !upload.over).collect();
        let room = self.world().uploads.has_room(key);
        if room && (open.is_empty() || (open.len() < 5 && self.dice.chance(30))) {
            return self.begin(key).await;
        }
        let over: Vec<&Upload> = all.iter().rev().filter(|upload| upload.over).take(3).collect();
        let among = if open.is_empty() || (!over.is_empty() && self.dice.chance(10)) { over } else { open };
        if among.is_empty() {
            return;
        }
        let upload = among[self.dice.index(among.len())].clone();
        let has_parts = upload.parts != [0; SLOTS];
        let steps = [
            (40, Step::Part),
            (15, Step::PartCopy),
            (8, Step::List),
            (if has_parts { 25 } else { 0 }, Step::Complete),
            (6, Step::Abort),
        ];
        match self.dice.weighted(&steps) {
            Step::Part => self.put_part(&upload).await,
            Step::PartCopy => self.copy_part(&upload).await,
            Step::List => self.list_parts(&upload).await,
            Step::Complete => self.complete(&upload).await,
            Step::Abort => self.abort(&upload).await,
        }
    }

    async fn begin(&mut self, key: usize) {
        let tags = if self.dice.chance(30) { self.some_tags() } else { crate::did::Tags::None };
        let mut ask = Ask::new(Method::POST, self.world().plan.keys[key]).query("uploads=".to_owned());
        ask = super::tags::tagging_header(ask, tags);
        if self.dice.chance(5) {
            ask = ask.leave();
        }
        self.journal().count("uploads begun");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let reply = match &told {
            Told::NotAsked => return,
            Told::Lost => return self.world().uploads.begin_nameless(),
            Told::Answer(reply) if self.is_in_doubt(reply) => {
                self.tolerate(reply.status, reply, "CreateMultipartUpload");
                return self.world().uploads.begin_nameless();
            }
            Told::Answer(reply) => reply,
        };
        let client = self.client.number;
        match (reply.status, reply.code().as_str()) {
            (200, _) => {
                self.journal().did(client, key, from, Did::BucketSeen);
                match element(&reply.body, "UploadId") {
                    Some(id) => self.world().uploads.begin(client, from, key, id, tags),
                    None => self.world().uploads.begin_nameless(),
                }
            }
            (404, "NoSuchBucket") => self.journal().did(client, key, from, Did::NoBucket),
            (other, _) => self.tolerate(other, reply, "CreateMultipartUpload"),
        }
    }

    /// What all operations on an upload may be answered that tells nothing of its parts.
    pub(super) fn understand_refusal(&self, upload: &Upload, from: Moment, reply: &Reply, what: &str) {
        let client = self.client.number;
        match (reply.status, reply.code().as_str()) {
            (404, "NoSuchUpload") => self.world().uploads.did(client, upload.number, from, UploadDid::Gone),
            (404, "NoSuchBucket") => self.journal().did(client, upload.key, from, Did::NoBucket),
            (other, _) => self.tolerate(other, reply, what),
        }
    }

    async fn complete(&mut self, upload: &Upload) {
        let mut listed = upload.parts;
        if self.dice.chance(15) {
            listed[self.dice.index(SLOTS)] = 0;
        }
        if listed == [0; SLOTS] {
            return;
        }
        let condition = self.a_condition(upload.key);
        let version = self.made_of(upload.key, listed);
        self.world().uploads.may_become(upload.number, version);
        let completion = Completion { listed, version, condition };
        let again = if self.dice.chance(25) { 2 } else { 1 };
        for _ in 0..again {
            let in_doubt = self.complete_as(upload, completion).await;
            if !in_doubt && again == 1 {
                break;
            }
        }
    }

    /// The version that these parts make of a key.
    fn made_of(&self, key: usize, listed: Parts) -> VersionId {
        let parts = listed.iter().filter(|part| **part != 0);
        let (mut bytes, mut sums) = (BytesMut::new(), Vec::new());
        for part in parts {
            let (of_part, _) = self.world().uploads.of_part(*part);
            sums.push(<[u8; 16]>::from(Md5::digest(&of_part)));
            bytes.extend_from_slice(&of_part);
        }
        let etag = multipart_etag(sums.iter()).to_string();
        self.journal().version_as(key, Content::given(bytes.freeze()), etag)
    }

    /// Whether it is in doubt.
    async fn complete_as(&mut self, upload: &Upload, completion: Completion) -> bool {
        let listed = completion.listed.iter().enumerate().filter(|(_, part)| **part != 0);
        let rows: String = listed
            .map(|(slot, part)| {
                let (_, etag) = self.world().uploads.of_part(*part);
                format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", slot + 1)
            })
            .collect();
        let body = Bytes::from(format!("<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>"));
        let name = self.world().plan.keys[upload.key];
        let mut ask = Ask::new(Method::POST, name).query(format!("uploadId={}", upload.id)).body(body, false);
        ask = self.conditional(ask, completion.condition);
        if self.dice.chance(15) {
            ask = ask.leave();
        }
        self.journal().count("uploads completed");
        let changing = Changing::of(self.world(), &[upload.key]);
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let in_doubt = self.understand_complete(upload, completion, from, &told);
        if in_doubt {
            changing.linger().await;
        }
        in_doubt
    }

    fn understand_complete(
        &self,
        upload: &Upload,
        completion: Completion,
        from: Moment,
        told: &Told,
    ) -> bool {
        let (journal, uploads, client) = (self.journal(), &self.world().uploads, self.client.number);
        let Completion { listed, version, condition } = completion;
        let made = |version| {
            let (bytes, upload_number) = (Its::Of(version), Some(upload.of_key));
            Did::Put(Object { bytes, tags: upload.tags, upload: upload_number }, condition)
        };
        let doubt = || {
            journal.maybe_did(client, upload.key, from, made(version));
            uploads.maybe_did(client, upload.number, from, UploadDid::Complete(listed));
            true
        };
        let reply = match told {
            Told::NotAsked => return false,
            Told::Lost => return doubt(),
            Told::Answer(reply) if self.is_in_doubt(reply) || (reply.status == 200 && !reply.whole) => {
                return doubt();
            }
            Told::Answer(reply) => reply,
        };
        let key_did = |did| journal.did(client, upload.key, from, did);
        let upload_did = |did| uploads.did(client, upload.number, from, did);
        match (reply.status, reply.code().as_str()) {
            (200, _) => {
                let etag = element(&reply.body, "ETag").unwrap_or_default();
                let became = journal.named(upload.key, &etag).map(|(version, _)| version);
                // Somebody else may have completed it, with other parts, since this client looked.
                let known = uploads.all()[upload.number].versions.clone();
                match became.filter(|became| known.contains(became)) {
                    Some(became) => {
                        key_did(made(became));
                        let same = became == version;
                        upload_did(if same { UploadDid::Complete(listed) } else { UploadDid::Completed });
                        journal.count("completions acknowledged");
                    }
                    None => journal.violation(format!("an upload of key {} became {etag}", upload.key)),
                }
            }
            (404, "NoSuchUpload") => {
                key_did(Did::UploadGone(upload.of_key));
                upload_did(UploadDid::Gone);
            }
            (404, "NoSuchKey") => {
                key_did(Did::PutRefused { condition, absent: true });
                upload_did(UploadDid::Refused(listed));
            }
            (412, _) => {
                key_did(Did::PutRefused { condition, absent: false });
                upload_did(UploadDid::Refused(listed));
            }
            (400, "InvalidPart") => upload_did(UploadDid::OtherParts(listed)),
            // Nothing was copied from an object that is empty.
            (400, "EntityTooSmall") if self.has_small_parts(listed) => upload_did(UploadDid::Refused(listed)),
            _ => self.understand_refusal(upload, from, reply, "CompleteMultipartUpload"),
        }
        false
    }

    /// Whether one that is not the last has no bytes.
    fn has_small_parts(&self, listed: Parts) -> bool {
        let parts: Vec<u16> = listed.into_iter().filter(|part| *part != 0).collect();
        let is_empty = |part: &u16| self.world().uploads.of_part(*part).0.is_empty();
        parts.iter().rev().skip(1).any(is_empty)
    }

    pub(crate) async fn abort(&mut self, upload: &Upload) {
        let name = self.world().plan.keys[upload.key];
        let mut ask = Ask::new(Method::DELETE, name).query(format!("uploadId={}", upload.id));
        if self.dice.chance(10) {
            ask = ask.leave();
        }
        self.journal().count("uploads aborted");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let (client, uploads) = (self.client.number, &self.world().uploads);
        match &told {
            Told::NotAsked => {}
            Told::Lost => uploads.maybe_did(client, upload.number, from, UploadDid::Abort),
            Told::Answer(reply) if self.is_in_doubt(reply) => {
                uploads.maybe_did(client, upload.number, from, UploadDid::Abort);
                self.tolerate(reply.status, reply, "AbortMultipartUpload");
            }
            Told::Answer(reply) if reply.status == 204 => {
                uploads.did(client, upload.number, from, UploadDid::Abort);
            }
            Told::Answer(reply) => self.understand_refusal(upload, from, reply, "AbortMultipartUpload"),
        }
    }

    async fn list_parts(&mut self, upload: &Upload) {
        let name = self.world().plan.keys[upload.key];
        let ask = Ask::new(Method::GET, name).query(format!("uploadId={}", upload.id));
        self.journal().count("LIST parts");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let Told::Answer(reply) = &told else { return };
        if reply.status != 200 {
            return self.understand_refusal(upload, from, reply, "ListParts");
        }
        if !reply.whole {
            return;
        }
        let mut shown = [0; SLOTS];
        for row in super::elements(&reply.body, "Part") {
            let number =
                element(row.as_bytes(), "PartNumber").and_then(|number| number.parse::<usize>().ok());
            let slot = number.and_then(|number| number.checked_sub(1)).and_then(|slot| shown.get_mut(slot));
            let etag = element(row.as_bytes(), "ETag").unwrap_or_default();
            match slot {
                Some(slot) => *slot = self.world().uploads.part_named(&etag),
                None => self.journal().violation(format!("a part that nobody put: {row}")),
            }
        }
        self.world().uploads.did(self.client.number, upload.number, from, UploadDid::Listed(shown));
    }
}

//! Parts of uploads: put, also in the place of others, and copied from objects.

use fallthrough_object::ETag;
use fallthrough_sim::Content;
use http::Method;
use md5::{Digest as _, Md5};

use super::copies::source_header;
use super::{Worker, element};
use crate::client::{Ask, Reply, Told};
use crate::did::{Did, Seen};
use crate::history::{Moment, VersionId};
use crate::upload_model::{SLOTS, UNKNOWN_PART, UploadDid};
use crate::uploads::Upload;

/// A part that is copied.
#[derive(Clone, Copy, Debug)]
struct PartCopy {
    slot: u8,
    source: usize,
    /// `x-amz-copy-source-if-match`.
    of: Option<VersionId>,
    /// Half-open; else all of it.
    range: Option<(u64, u64)>,
}

impl Worker {
    fn slot(&self) -> u8 {
        u8::try_from(self.dice.index(SLOTS)).expect("there are few")
    }

    fn ask_for_part(&self, upload: &Upload, slot: u8) -> Ask {
        let name = self.world().plan.keys[upload.key];
        let query = format!("partNumber={}&uploadId={}", slot + 1, upload.id);
        Ask::new(Method::PUT, name).query(query)
    }

    pub(super) async fn put_part(&mut self, upload: &Upload) {
        let (slot, name) = (self.slot(), self.world().plan.keys[upload.key]);
        // Only the last part may be as small as it likes.
        let smallest = u64::from(usize::from(slot) + 1 < SLOTS);
        let longest = self.dice.pick(&[40, 2_000, 30_000]);
        let size = self.dice.between(smallest, longest);
        let body = Content::generated(name, self.journal().edition(), size).bytes();
        let part = self.world().uploads.part(body.clone());
        let mut ask = self.ask_for_part(upload, slot).body(body, self.dice.chance(50));
        if size > 0 && self.dice.chance(8) {
            ask = ask.hang_up_after(if self.dice.chance(50) { size } else { self.dice.below(size) });
        }
        self.journal().count("parts");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let (uploads, client) = (&self.world().uploads, self.client.number);
        let did = UploadDid::Part(slot, part);
        match &told {
            Told::NotAsked => {}
            Told::Lost => uploads.maybe_did(client, upload.number, from, did),
            Told::Answer(reply) if self.is_in_doubt(reply) => {
                uploads.maybe_did(client, upload.number, from, did);
                self.tolerate(reply.status, reply, "UploadPart");
            }
            Told::Answer(reply) if reply.status == 200 => {
                if uploads.part_named(reply.header("etag")) != part {
                    let said = reply.header("etag");
                    self.journal().violation(format!("a part of key {} is told as {said}", upload.key));
                }
                uploads.did(client, upload.number, from, did);
            }
            Told::Answer(reply) => self.understand_refusal(upload, from, reply, "UploadPart"),
        }
    }

    pub(super) async fn copy_part(&mut self, upload: &Upload) {
        let source = self.dice.index(self.world().plan.keys.len());
        let known = self.journal().versions(source);
        let known = known.first().map(|(version, of)| (*version, of.content.size_bytes()));
        let of = known.filter(|_| self.dice.chance(50));
        let size = of.or(known).map_or(0, |(_, size)| size);
        let range = (size > 1 && self.dice.chance(50)).then(|| {
            let first = self.dice.below(size - 1);
            (first, self.dice.between(first + 1, size))
        });
        let copy = PartCopy { slot: self.slot(), source, of: of.map(|(version, _)| version), range };
        let header = source_header(self.world().plan.keys[source]);
        let mut ask = self.ask_for_part(upload, copy.slot).header("x-amz-copy-source", header);
        if let Some((first, end)) = range {
            ask = ask.header("x-amz-copy-source-range", format!("bytes={first}-{}", end - 1));
        }
        if let Some(of) = copy.of {
            ask = ask.header("x-amz-copy-source-if-match", self.journal().of(of).etag);
        }
        if self.dice.chance(8) {
            ask = ask.leave();
        }
        self.journal().count("parts copied");
        let from = self.journal().now();
        let told = self.client.ask(&ask).await;
        let (uploads, client) = (&self.world().uploads, self.client.number);
        let in_doubt = || {
            let part = copy.of.map_or(UNKNOWN_PART, |of| uploads.part(self.cut(of, range)));
            uploads.maybe_did(client, upload.number, from, UploadDid::Part(copy.slot, part));
        };
        match &told {
            Told::NotAsked => {}
            Told::Lost => in_doubt(),
            Told::Answer(reply) if self.is_in_doubt(reply) || (reply.status == 200 && !reply.whole) => {
                in_doubt()
            }
            Told::Answer(reply) => self.understand_part_copy(upload, copy, from, reply),
        }
    }

    fn cut(&self, version: VersionId, range: Option<(u64, u64)>) -> bytes::Bytes {
        let content = self.journal().of(version).content;
        let (first, end) = range.unwrap_or((0, content.size_bytes()));
        content.slice(first, end)
    }

    fn understand_part_copy(&self, upload: &Upload, copy: PartCopy, from: Moment, reply: &Reply) {
        let client = self.client.number;
        let source_did = |seen| self.journal().did(client, copy.source, from, Did::Read(seen));
        match (reply.status, reply.code().as_str()) {
            (200, _) => {
                let etag = element(&reply.body, "ETag").unwrap_or_default();
                let sum = |bytes| ETag::from_md5(Md5::digest(bytes).into()).to_string();
                let is_cut_from = |content: &Content| {
                    let (first, end) = copy.range.unwrap_or((0, content.size_bytes()));
                    end <= content.size_bytes() && sum(content.slice(first, end)) == etag
                };
                let found = match copy.of {
                    Some(of) => is_cut_from(&self.journal().of(of).content).then_some(of).ok_or(0),
                    None => self.journal().only(copy.source, is_cut_from),
                };
                let part = match found {
                    Ok(version) => {
                        source_did(Seen::Object(version));
                        self.world().uploads.part(self.cut(version, copy.range))
                    }
                    Err(0) => {
                        let source = copy.source;
                        return self.journal().violation(format!(
                            "a part with {etag} was copied from key {source}, which had no such bytes"
                        ));
                    }
                    // Several have the same bytes there.
                    Err(_) => {
                        source_did(Seen::SomeObject);
                        UNKNOWN_PART
                    }
                };
                let did = UploadDid::Part(copy.slot, part);
                self.world().uploads.did(client, upload.number, from, did);
            }
            (404, "NoSuchKey") => source_did(Seen::Nothing),
            (412, _) if copy.of.is_some() => copy.of.into_iter().for_each(|of| source_did(Seen::Another(of))),
            (416, _) if copy.range.is_some() => {
                copy.range.into_iter().for_each(|(_, end)| source_did(Seen::EndsBefore(end - 1)));
            }
            _ => self.understand_refusal(upload, from, reply, "UploadPartCopy"),
        }
    }
}

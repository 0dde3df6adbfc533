//! The multipart uploads of a run: what clients know of each, and what happened to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fallthrough_object::ETag;
use md5::{Digest as _, Md5};

use crate::did::Tags;
use crate::history::{Journal, Moment, Operation, VersionId};
use crate::upload_model::{Parts, SLOTS, UNKNOWN_PART, UploadDid};

/// Most uploads of one key: the model has a bit for each.
const MOST_OF_A_KEY: usize = 60;

/// An upload that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// Its number in the run.
    pub(crate) number: usize,
    pub(crate) key: usize,
    /// Its number among those of its key.
    pub(crate) of_key: u8,
    pub(crate) id: String,
    pub(crate) tags: Tags,
    /// What was acknowledged last, by slot.
    pub(crate) parts: Parts,
    /// Whether it was completed or aborted, as far as anybody was told.
    pub(crate) over: bool,
    /// What it may have been completed to.
    pub(crate) versions: Vec<VersionId>,
    history: Vec<Operation<UploadDid>>,
}

#[derive(Debug, Default)]
struct Kept {
    uploads: Vec<Upload>,
    /// Bytes and ETags of parts; the first has number 1. Of some only the ETag was seen.
    parts: Vec<(Option<Bytes>, String)>,
    /// What happened to the bucket, and so to all of them.
    bucket: Vec<Operation<UploadDid>>,
    /// Uploads that may have begun, though nobody was told their ids.
    nameless: usize,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Uploads {
    journal: Journal,
    kept: Mutex<Kept>,
}

impl Uploads {
    pub(crate) fn new(journal: &Journal) -> Self {
        Self { journal: journal.clone(), kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a key may have one more.
    pub(crate) fn has_room(&self, key: usize) -> bool {
        self.lock().uploads.iter().filter(|upload| upload.key == key).count() < MOST_OF_A_KEY
    }

    /// An upload was begun.
    pub(crate) fn begin(&self, client: u32, from: Moment, key: usize, id: String, tags: Tags) {
        let number = {
            let mut kept = self.lock();
            let of_key = kept.uploads.iter().filter(|upload| upload.key == key).count();
            let (number, of_key) = (kept.uploads.len(), u8::try_from(of_key).expect("a key has few"));
            let (parts, versions, history) = ([0; SLOTS], Vec::new(), Vec::new());
            kept.uploads.push(Upload {
                number,
                key,
                of_key,
                id,
                tags,
                parts,
                over: false,
                versions,
                history,
            });
            number
        };
        self.did(client, number, from, UploadDid::Begin);
    }

    /// One may have begun whose id nobody was told.
    pub(crate) fn begin_nameless(&self) {
        self.lock().nameless += 1;
    }

    pub(crate) fn nameless(&self) -> usize {
        self.lock().nameless
    }

    pub(crate) fn all(&self) -> Vec<Upload> {
        self.lock().uploads.clone()
    }

    /// Registers a part.
    pub(crate) fn part(&self, bytes: Bytes) -> u16 {
        let part = self.part_named(&ETag::from_md5(Md5::digest(&bytes).into()).to_string());
        self.lock().parts[usize::from(part) - 1].0 = Some(bytes);
        part
    }

    /// The part with this ETag.
    pub(crate) fn part_named(&self, etag: &str) -> u16 {
        let mut kept = self.lock();
        let known = kept.parts.iter().position(|(_, named)| named == etag);
        let at = known.unwrap_or(kept.parts.len());
        if known.is_none() {
            kept.parts.push((None, etag.to_owned()));
        }
        u16::try_from(at + 1).expect("a run has few parts")
    }

    /// Bytes and ETag of a part that somebody put.
    pub(crate) fn of_part(&self, part: u16) -> (Bytes, String) {
        let (bytes, etag) = self.lock().parts[usize::from(part) - 1].clone();
        (bytes.expect("whoever put a part knows its bytes"), etag)
    }

    /// It may have been completed to this.
    pub(crate) fn may_become(&self, number: usize, version: VersionId) {
        self.lock().uploads[number].versions.push(version);
    }

    pub(crate) fn did(&self, client: u32, number: usize, from: Moment, did: UploadDid) {
        self.did_until(client, number, from, self.journal.now(), did, true);
    }

    pub(crate) fn maybe_did(&self, client: u32, number: usize, from: Moment, did: UploadDid) {
        self.did_until(client, number, from, self.journal.aftermath(), did, false);
    }

    fn did_until(&self, client: u32, number: usize, from: Moment, to: Moment, did: UploadDid, certain: bool) {
        self.journal.note(&format!(
            "client {client} upload {number} since #{}: {did:?} certain {certain}",
            from.event
        ));
        let mut kept = self.lock();
        let upload = &mut kept.uploads[number];
        match did {
            UploadDid::Part(slot, part) if certain && part != UNKNOWN_PART => {
                upload.parts[usize::from(slot)] = part;
            }
            UploadDid::Complete(_) | UploadDid::Completed | UploadDid::Abort | UploadDid::Gone => {
                upload.over = true;
            }
            _ => {}
        }
        upload.history.push(Operation { client, from, to, did, certain });
    }

    /// Something happened to the bucket until `to`.
    pub(crate) fn bucket_did(&self, client: u32, from: Moment, to: Moment, did: UploadDid, certain: bool) {
        self.lock().bucket.push(Operation { client, from, to, did, certain });
    }

    /// What happened to each, and to the bucket.
    pub(crate) fn histories(&self) -> Vec<(Upload, Vec<Operation<UploadDid>>)> {
        let kept = self.lock();
        let whole = |upload: &Upload| {
            let all = upload.history.iter().chain(&kept.bucket).cloned();
            (upload.clone(), all.collect())
        };
        kept.uploads.iter().map(whole).collect()
    }
}

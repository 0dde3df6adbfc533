//! Entries as bytes. The layout is drawn in `docs/format.md`.
//!
//! A row begins with its layout and state, then come fields: tag, length, value. Optional fields that are
//! not there take no space, and a later release can add tags. A tag that this release does not know makes
//! the row unreadable rather than half read: whoever adds one raises the format version.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{
    Acl, AclGrant, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Grantee, Permission, Tag, Timestamp,
};

use crate::blob::{BlobId, BlobRef, PartBlob};
use crate::entry::{Entry, EntryState, ObjectInfo, PartChecksums, Provenance, Revision, Stored};
use crate::error::StoreError;
use crate::intent::Seen;
use crate::uploads::UploadId;

const LAYOUT: u8 = 1;

const WRITTEN: u8 = 1;
const FILLED: u8 = 2;
const KNOWN: u8 = 3;
const ABSENT: u8 = 4;
const TOMBSTONE: u8 = 5;

mod tag {
    pub(super) const REVISION: u8 = 1;
    pub(super) const BLOB: u8 = 2;
    pub(super) const UNTIL: u8 = 3;
    pub(super) const INVALID: u8 = 4;
    pub(super) const PARTS: u8 = 5;
    pub(super) const ETAG: u8 = 16;
    pub(super) const SIZE: u8 = 17;
    pub(super) const LAST_MODIFIED: u8 = 18;
    pub(super) const CONTENT_TYPE: u8 = 19;
    pub(super) const CACHE_CONTROL: u8 = 20;
    pub(super) const CONTENT_DISPOSITION: u8 = 21;
    pub(super) const CONTENT_ENCODING: u8 = 22;
    pub(super) const CONTENT_LANGUAGE: u8 = 23;
    pub(super) const EXPIRES: u8 = 24;
    pub(super) const USER_META: u8 = 25;
    pub(super) const CHECKSUM: u8 = 26;
    pub(super) const MD5: u8 = 27;
    pub(super) const PART_SIZES: u8 = 28;
    pub(super) const PART_CHECKSUMS: u8 = 29;
    pub(super) const UPLOAD: u8 = 30;
    pub(super) const TAG: u8 = 31;
    pub(super) const OWNER: u8 = 32;
    pub(super) const ACL: u8 = 33;
    pub(super) const GRANT: u8 = 34;
    pub(super) const WEBSITE_REDIRECT: u8 = 35;
    pub(super) const TAGS_BEHIND: u8 = 36;
    pub(super) const ORIGIN: u8 = 48;
    pub(super) const ORIGIN_ETAG: u8 = 49;
    pub(super) const ORIGIN_LAST_MODIFIED: u8 = 50;
    pub(super) const ASKED_AT: u8 = 51;
    pub(super) const VERIFIED: u8 = 52;
    pub(super) const FRESH_UNTIL: u8 = 53;
    pub(super) const STALE_IF_ERROR_UNTIL: u8 = 54;
    pub(super) const STALE_WHILE_REVALIDATE_UNTIL: u8 = 55;
    pub(super) const EDITION: u8 = 56;
    pub(super) const DELIVERED: u8 = 57;
}

/// The bytes of a row. `revision` is `None` if it is the commit's own that writes the row.
pub(crate) fn encode(state: &EntryState, revision: Option<Revision>) -> Bytes {
    encode_delivered(state, revision, None)
}

/// As [`encode`], with what the origin was left with.
pub(crate) fn encode_delivered(
    state: &EntryState,
    revision: Option<Revision>,
    delivered: Option<&Seen>,
) -> Bytes {
    let (code, mut out) = match state {
        EntryState::Written(_) => (WRITTEN, Fields::default()),
        EntryState::Filled(..) => (FILLED, Fields::default()),
        EntryState::Known(..) => (KNOWN, Fields::default()),
        EntryState::Absent { .. } => (ABSENT, Fields::default()),
        EntryState::Tombstone => (TOMBSTONE, Fields::default()),
    };
    out.bytes.extend_from_slice(&[LAYOUT, code]);
    if let Some(revision) = revision {
        out.number(tag::REVISION, revision.0);
    }
    match state {
        EntryState::Written(stored) => {
            out.blob(&stored.blob);
            out.info(&stored.info);
        }
        EntryState::Filled(stored, provenance) => {
            out.blob(&stored.blob);
            out.info(&stored.info);
            out.provenance(provenance);
        }
        EntryState::Known(info, provenance) => {
            out.info(info);
            out.provenance(provenance);
        }
        EntryState::Absent { until, invalid } => {
            out.number(tag::UNTIL, until.0);
            if *invalid {
                out.field(tag::INVALID, &[]);
            }
        }
        EntryState::Tombstone => {}
    }
    match delivered {
        None | Some(Seen::Never) => {}
        Some(Seen::Absent) => out.field(tag::DELIVERED, &[]),
        Some(Seen::Object(etag)) => out.etag(tag::DELIVERED, Some(etag)),
    }
    out.bytes.into()
}

/// Reads a row that the commit `version` wrote.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is not what [`encode`] writes.
pub(crate) fn decode(value: &[u8], version: u64) -> Result<Entry, StoreError> {
    parse(value, version).ok_or_else(|| StoreError::corrupt("the row of an entry cannot be read"))
}

#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
}

impl Fields {
    fn field(&mut self, tag: u8, value: &[u8]) {
        self.bytes.push(tag);
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    fn number(&mut self, tag: u8, number: u64) {
        let mut value = Vec::with_capacity(10);
        put_varint(&mut value, number);
        self.field(tag, &value);
    }

    fn text(&mut self, tag: u8, text: Option<&String>) {
        if let Some(text) = text {
            self.field(tag, text.as_bytes());
        }
    }

    fn time(&mut self, tag: u8, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.number(tag, time.0);
        }
    }

    fn etag(&mut self, tag: u8, etag: Option<&ETag>) {
        if let Some(etag) = etag {
            let mut value = vec![u8::from(etag.is_weak())];
            value.extend_from_slice(etag.value().as_bytes());
            self.field(tag, &value);
        }
    }

    fn blob(&mut self, blob: &BlobRef) {
        let (kind, id) = match blob {
            BlobRef::Empty => return,
            BlobRef::Row(id) => (1, id),
            BlobRef::File(id) => (2, id),
            BlobRef::Parts(parts) => return self.parts(parts),
        };
        let mut value = vec![kind];
        put_varint(&mut value, id.epoch);
        put_varint(&mut value, id.number);
        self.field(tag::BLOB, &value);
    }

    fn parts(&mut self, parts: &[PartBlob]) {
        let mut value = Vec::with_capacity(8 * parts.len());
        for part in parts {
            put_varint(&mut value, part.id.epoch);
            put_varint(&mut value, part.id.number);
            put_varint(&mut value, part.size_bytes);
        }
        self.field(tag::PARTS, &value);
    }

    /// Two texts, so that neither can be taken for a part of the other.
    fn pair(&mut self, tag: u8, first: &str, second: &str) {
        let mut value = Vec::with_capacity(2 + first.len() + second.len());
        put_varint(&mut value, first.len() as u64);
        value.extend_from_slice(first.as_bytes());
        value.extend_from_slice(second.as_bytes());
        self.field(tag, &value);
    }

    fn acl(&mut self, acl: &Acl) {
        self.field(tag::ACL, &[]);
        for grant in &acl.grants {
            let (kind, id) = match &grant.grantee {
                Grantee::Account(id) => (1, id.as_str()),
                Grantee::AuthenticatedUsers => (2, ""),
                Grantee::AllUsers => (3, ""),
            };
            let mut value = vec![permission_code(grant.permission), kind];
            value.extend_from_slice(id.as_bytes());
            self.field(tag::GRANT, &value);
        }
    }

    fn info(&mut self, info: &ObjectInfo) {
        self.etag(tag::ETAG, info.etag.as_ref());
        self.number(tag::SIZE, info.size_bytes);
        self.number(tag::LAST_MODIFIED, info.last_modified.0);
        let meta = &info.meta;
        self.text(tag::CONTENT_TYPE, meta.content_type.as_ref());
        self.text(tag::CACHE_CONTROL, meta.cache_control.as_ref());
        self.text(tag::CONTENT_DISPOSITION, meta.content_disposition.as_ref());
        self.text(tag::CONTENT_ENCODING, meta.content_encoding.as_ref());
        self.text(tag::CONTENT_LANGUAGE, meta.content_language.as_ref());
        self.text(tag::EXPIRES, meta.expires.as_ref());
        for (name, text) in &meta.user {
            self.pair(tag::USER_META, name, text);
        }
        for checksum in &info.checksums {
            let parts = match checksum.kind {
                ChecksumKind::FullObject => 0,
                ChecksumKind::Composite { parts } => u64::from(parts) + 1,
            };
            let mut value = vec![algorithm_code(checksum.algorithm)];
            put_varint(&mut value, parts);
            value.extend_from_slice(&checksum.value);
            self.field(tag::CHECKSUM, &value);
        }
        if let Some(md5) = &info.md5 {
            self.field(tag::MD5, md5);
        }
        if !info.part_sizes.is_empty() {
            let mut value = Vec::new();
            for run in info.part_sizes.chunk_by(|a, b| a == b) {
                put_varint(&mut value, run.len() as u64);
                put_varint(&mut value, run[0]);
            }
            self.field(tag::PART_SIZES, &value);
        }
        if let Some(sums) = &info.part_checksums {
            let mut value = vec![algorithm_code(sums.algorithm)];
            value.extend_from_slice(&sums.values);
            self.field(tag::PART_CHECKSUMS, &value);
        }
        if let Some(upload) = &info.upload {
            self.field(tag::UPLOAD, &upload.0);
        }
        for Tag { key, value } in &info.tags {
            self.pair(tag::TAG, key, value);
        }
        self.text(tag::OWNER, info.owner.as_ref());
        if let Some(acl) = &info.acl {
            self.acl(acl);
        }
        self.text(tag::WEBSITE_REDIRECT, info.website_redirect.as_ref());
        if let Some(count) = info.tags_behind {
            self.number(tag::TAGS_BEHIND, count.into());
        }
    }

    fn provenance(&mut self, from: &Provenance) {
        self.field(tag::ORIGIN, from.origin.as_bytes());
        self.etag(tag::ORIGIN_ETAG, from.origin_etag.as_ref());
        self.time(tag::ORIGIN_LAST_MODIFIED, from.origin_last_modified);
        self.number(tag::ASKED_AT, from.asked_at.0);
        for verified in &from.verified {
            self.field(tag::VERIFIED, verified.as_bytes());
        }
        self.time(tag::FRESH_UNTIL, from.fresh_until);
        self.time(tag::STALE_IF_ERROR_UNTIL, from.stale_if_error_until);
        self.time(tag::STALE_WHILE_REVALIDATE_UNTIL, from.stale_while_revalidate_until);
        self.text(tag::EDITION, from.edition.as_ref());
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(from: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (head, rest) = from.split_at_checked(usize::try_from(len).ok()?)?;
    *from = rest;
    Some(head)
}

fn algorithm_code(algorithm: ChecksumAlgorithm) -> u8 {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => 1,
        ChecksumAlgorithm::Crc32c => 2,
        ChecksumAlgorithm::Crc32 => 3,
        ChecksumAlgorithm::Sha1 => 4,
        ChecksumAlgorithm::Sha256 => 5,
    }
}

fn permission_code(permission: Permission) -> u8 {
    match permission {
        Permission::Read => 1,
        Permission::Write => 2,
        Permission::ReadAcp => 3,
        Permission::WriteAcp => 4,
        Permission::FullControl => 5,
    }
}

fn text(raw: &[u8]) -> Option<String> {
    std::str::from_utf8(raw).ok().map(str::to_owned)
}

fn number(mut raw: &[u8]) -> Option<u64> {
    let number = take_varint(&mut raw)?;
    raw.is_empty().then_some(number)
}

fn time(raw: &[u8]) -> Option<Timestamp> {
    number(raw).map(Timestamp)
}

fn etag(raw: &[u8]) -> Option<ETag> {
    let (weak, value) = raw.split_first()?;
    let value = text(value)?;
    match weak {
        0 => ETag::strong(value).ok(),
        1 => ETag::parse(&format!("W/\"{value}\"")).ok(),
        _ => None,
    }
}

fn blob(mut raw: &[u8]) -> Option<BlobRef> {
    let kind = *take(&mut raw, 1)?.first()?;
    let id = BlobId { epoch: take_varint(&mut raw)?, number: take_varint(&mut raw)? };
    match (kind, raw.is_empty()) {
        (1, true) => Some(BlobRef::Row(id)),
        (2, true) => Some(BlobRef::File(id)),
        _ => None,
    }
}

fn parts(mut raw: &[u8]) -> Option<BlobRef> {
    let mut parts = Vec::new();
    while !raw.is_empty() {
        let id = BlobId { epoch: take_varint(&mut raw)?, number: take_varint(&mut raw)? };
        let size_bytes = take_varint(&mut raw)?;
        if size_bytes == 0 || parts.len() == PARTS_MAX {
            return None;
        }
        parts.push(PartBlob { id, size_bytes });
    }
    (parts.len() > 1).then(|| BlobRef::Parts(parts.into()))
}

fn algorithm(code: u8) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm_code(*algorithm) == code)
}

fn part_checksums(raw: &[u8]) -> Option<PartChecksums> {
    let (code, values) = raw.split_first()?;
    let algorithm = algorithm(*code)?;
    values
        .len()
        .is_multiple_of(algorithm.len_bytes())
        .then(|| PartChecksums { algorithm, values: values.to_vec() })
}

fn grant(raw: &[u8]) -> Option<AclGrant> {
    let (head, id) = raw.split_first_chunk::<2>()?;
    let permission = Permission::ALL.into_iter().find(|p| permission_code(*p) == head[0])?;
    let grantee = match (head[1], id.is_empty()) {
        (1, _) => Grantee::Account(text(id)?),
        (2, true) => Grantee::AuthenticatedUsers,
        (3, true) => Grantee::AllUsers,
        _ => return None,
    };
    Some(AclGrant { grantee, permission })
}

fn checksum(mut raw: &[u8]) -> Option<Checksum> {
    let algorithm = algorithm(*take(&mut raw, 1)?.first()?)?;
    let kind = match take_varint(&mut raw)? {
        0 => ChecksumKind::FullObject,
        parts => ChecksumKind::Composite { parts: u32::try_from(parts - 1).ok()? },
    };
    (raw.len() == algorithm.len_bytes()).then(|| Checksum { algorithm, kind, value: raw.to_vec() })
}

fn pair(mut raw: &[u8]) -> Option<(String, String)> {
    let len = take_varint(&mut raw)?;
    let name = text(take(&mut raw, len)?)?;
    Some((name, text(raw)?))
}

/// More parts than S3 allows, and few enough that a damaged row cannot ask for much memory.
const PARTS_MAX: usize = 16 * 1024;

fn part_sizes(mut raw: &[u8]) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    while !raw.is_empty() {
        let run = usize::try_from(take_varint(&mut raw)?).ok()?;
        let size = take_varint(&mut raw)?;
        if run > PARTS_MAX - sizes.len() {
            return None;
        }
        sizes.resize(sizes.len() + run, size);
    }
    Some(sizes)
}

fn parse(mut from: &[u8], version: u64) -> Option<Entry> {
    let head = take(&mut from, 2)?;
    if head[0] != LAYOUT {
        return None;
    }
    let mut revision = Revision(version);
    let mut bytes_at = BlobRef::Empty;
    let (mut until, mut invalid) = (None, false);
    let mut info = ObjectInfo::default();
    let mut origin = Provenance {
        origin: String::new(),
        origin_etag: None,
        origin_last_modified: None,
        asked_at: Timestamp(0),
        verified: Vec::new(),
        fresh_until: None,
        stale_if_error_until: None,
        stale_while_revalidate_until: None,
        edition: None,
    };
    let mut delivered = None;
    let mut before = 0;
    while let Some((tag, rest)) = from.split_first() {
        from = rest;
        let len = take_varint(&mut from)?;
        let raw = take(&mut from, len)?;
        if *tag < before {
            return None;
        }
        before = *tag;
        match *tag {
            tag::REVISION => revision = Revision(number(raw)?),
            tag::BLOB => bytes_at = blob(raw)?,
            tag::UNTIL => until = Some(time(raw)?),
            tag::INVALID => invalid = true,
            tag::PARTS => bytes_at = parts(raw)?,
            tag::ETAG => info.etag = Some(etag(raw)?),
            tag::SIZE => info.size_bytes = number(raw)?,
            tag::LAST_MODIFIED => info.last_modified = time(raw)?,
            tag::CONTENT_TYPE => info.meta.content_type = Some(text(raw)?),
            tag::CACHE_CONTROL => info.meta.cache_control = Some(text(raw)?),
            tag::CONTENT_DISPOSITION => info.meta.content_disposition = Some(text(raw)?),
            tag::CONTENT_ENCODING => info.meta.content_encoding = Some(text(raw)?),
            tag::CONTENT_LANGUAGE => info.meta.content_language = Some(text(raw)?),
            tag::EXPIRES => info.meta.expires = Some(text(raw)?),
            tag::USER_META => info.meta.user.push(pair(raw)?),
            tag::CHECKSUM => info.checksums.push(checksum(raw)?),
            tag::MD5 => info.md5 = Some(raw.try_into().ok()?),
            tag::PART_SIZES => info.part_sizes = part_sizes(raw)?,
            tag::PART_CHECKSUMS => info.part_checksums = Some(part_checksums(raw)?),
            tag::UPLOAD => info.upload = Some(UploadId(raw.try_into().ok()?)),
            tag::TAG => {
                let (key, value) = pair(raw)?;
                info.tags.push(Tag { key, value });
            }
            tag::OWNER => info.owner = Some(text(raw)?),
            tag::ACL => info.acl = raw.is_empty().then(|| Some(Acl::default()))?,
            tag::GRANT => info.acl.as_mut()?.grants.push(grant(raw)?),
            tag::WEBSITE_REDIRECT => info.website_redirect = Some(text(raw)?),
            tag::TAGS_BEHIND => info.tags_behind = Some(number(raw)?.try_into().ok()?),
            tag::ORIGIN => origin.origin = text(raw)?,
            tag::ORIGIN_ETAG => origin.origin_etag = Some(etag(raw)?),
            tag::ORIGIN_LAST_MODIFIED => origin.origin_last_modified = Some(time(raw)?),
            tag::ASKED_AT => origin.asked_at = time(raw)?,
            tag::VERIFIED => origin.verified.push(text(raw)?),
            tag::FRESH_UNTIL => origin.fresh_until = Some(time(raw)?),
            tag::STALE_IF_ERROR_UNTIL => origin.stale_if_error_until = Some(time(raw)?),
            tag::STALE_WHILE_REVALIDATE_UNTIL => origin.stale_while_revalidate_until = Some(time(raw)?),
            tag::EDITION => origin.edition = Some(text(raw)?),
            tag::DELIVERED if raw.is_empty() => delivered = Some(Seen::Absent),
            tag::DELIVERED => delivered = Some(Seen::Object(etag(raw)?)),
            _ => return None,
        }
    }
    let stored = |info: ObjectInfo| {
        // Only a body without bytes may have no blob.
        let fits = match &bytes_at {
            BlobRef::Empty => info.size_bytes == 0,
            BlobRef::Row(_) | BlobRef::File(_) => info.size_bytes > 0,
            BlobRef::Parts(parts) => {
                let total = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size_bytes));
                total == Some(info.size_bytes)
            }
        };
        fits.then(|| Stored { info: Arc::new(info), blob: bytes_at })
    };
    let state = match head[1] {
        WRITTEN => EntryState::Written(stored(info)?),
        FILLED => EntryState::Filled(stored(info)?, origin),
        KNOWN => EntryState::Known(Arc::new(info), origin),
        ABSENT => EntryState::Absent { until: until?, invalid },
        TOMBSTONE => EntryState::Tombstone,
        _ => return None,
    };
    Some(Entry { revision, row_version: version, state, delivered })
}

#[cfg(test)]
mod tests;

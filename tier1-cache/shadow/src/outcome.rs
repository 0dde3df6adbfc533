//! What an answer means: the table of the origin contract.

use std::time::Duration;

use fallthrough_object::{Body, ByteRange, Checksum, ETag, Meta, Timestamp};

/// Which reading of the contract applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// An S3 provider: 400 and 301 mean that our settings are wrong.
    S3 {
        /// 403 hides missing keys.
        absent_on_403: bool,
    },
    /// An HTTP server or a compute origin: 400 and 422 mean that the key can never exist.
    Http {
        /// 403 hides missing keys.
        absent_on_403: bool,
    },
}

/// How long an answer may be believed, as its headers say (RFC 9111). Durations count from `asked_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Fresh for so long; `None`: the origin does not say.
    pub fresh_for: Option<Duration>,
    /// May be served stale for so long after that while it is revalidated.
    pub stale_while_revalidate: Option<Duration>,
    /// May be served stale for so long after that while the origin fails.
    pub stale_if_error: Option<Duration>,
    /// `no-store`, `private` or `Vary`: deliver, do not keep.
    pub do_not_keep: bool,
}

/// What the bytes are promised to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Length of this answer's body in bytes, if the origin said.
    pub length_bytes: Option<u64>,
    /// MD5 of the body (Content-MD5, Repr-Digest).
    pub md5: Option<[u8; 16]>,
    /// MD5 that an S3 ETag spells, where the shape allows it and no SSE-KMS/SSE-C header speaks against it.
    pub etag_md5: Option<[u8; 16]>,
    /// Full-object checksums to verify; composite ones to keep.
    pub checksums: Vec<Checksum>,
}

/// An object that the origin has.
#[derive(Debug)]
pub struct Found {
    /// Its ETag, possibly weak.
    pub etag: Option<ETag>,
    /// Its Last-Modified.
    pub last_modified: Option<Timestamp>,
    /// Size of the whole object in bytes, if known (Content-Length, or the total of a 206).
    pub size_bytes: Option<u64>,
    /// The part that this answer carries, of a 206; `None` for the whole.
    pub range: Option<ByteRange>,
    /// How many parts it was uploaded in, of an answer that says so.
    pub parts_count: Option<u32>,
    /// How many tags it has, of an answer that says so; never zero.
    pub tags_count: Option<u32>,
    /// Content headers and user metadata.
    pub meta: Meta,
    /// What to verify.
    pub expected: Expected,
    /// How long it may be believed.
    pub freshness: Freshness,
    /// The bytes; empty for HEAD.
    pub body: Body,
}

/// What an answer means.
#[derive(Debug)]
pub enum Outcome {
    /// 200, or 206 to a range that was asked for.
    Found(Box<Found>),
    /// 304 to our condition.
    NotModified {
        /// How long the stored copy is fresh from now on.
        freshness: Freshness,
        /// Headers that the 304 carried, to update the stored ones.
        meta: Meta,
    },
    /// 404 or 410 (or a 403 that hides them): it does not exist.
    Absent {
        /// How long the origin says that this may be believed.
        ttl: Option<Duration>,
    },
    /// 404 of an S3 provider to HEAD (or a 403 that hides one). Such an answer has no body, so a missing key and
    /// a missing bucket look alike: it proves nothing by itself.
    AbsentUnproven {
        /// How long the origin says that this may be believed, if it is true.
        ttl: Option<Duration>,
        /// It was a 403: then even credentials may be what is wrong.
        forbidden: bool,
    },
    /// 400 or 422 of an HTTP or compute origin: the key can never exist.
    Invalid,
    /// 412: the object is no longer the one that was asked for.
    Changed,
    /// 416 with the size, if it was given; or an S3 provider's word that there is no such part.
    RangeNotSatisfiable {
        /// Size of the object in bytes.
        size_bytes: Option<u64>,
    },
    /// 429 or 503: come back later.
    Busy {
        /// The origin's Retry-After.
        retry_after: Option<Duration>,
    },
    /// Another 5xx: transient.
    Failing {
        /// The status.
        status: u16,
    },
    /// The origin refuses us or our settings are wrong: 424. Permanent until somebody mends it.
    Misconfigured {
        /// What is wrong and what to do, without address and credentials.
        mend: String,
    },
    /// 403 InvalidObjectState: archived at the provider.
    Archived,
    /// An answer that the contract does not allow: 204, 206 unasked, headers that cannot be represented.
    Unacceptable {
        /// What is wrong.
        reason: String,
    },
    /// 405 or 501: this method is not offered.
    NotOffered,
}

/// What [`Outcome::of`] needs to know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// A range or a part was asked for.
    pub range: bool,
    /// A part was asked for.
    pub part: bool,
    /// Its tags were asked for: then 403 hides nothing.
    pub tagging: bool,
    /// A condition was sent.
    pub conditional: bool,
    /// The method was HEAD.
    pub head: bool,
}

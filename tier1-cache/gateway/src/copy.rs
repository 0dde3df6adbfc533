//! CopyObject and UploadPartCopy.

use std::sync::{Arc, OnceLock};

use fallthrough_bucket::{
    Admission, BucketError, Caller, CopyRequest, CopySource, Engine, ObjectInfo, PutPart,
};
use fallthrough_object::{BucketName, ByteRange, Checksum, Key, Mutant, planted};
use fallthrough_wire::conditions::{Conditions, WriteConditions};
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, DigestSet, Digests};
use fallthrough_wire::headers::meta_of_request;
use fallthrough_wire::uri;
use fallthrough_wire::xml::copied;
use fallthrough_wire::{S3Code, S3Error};
use futures::StreamExt as _;

use crate::access::{Allowed, Denied, Place, Reach, decide};
use crate::document;
use crate::exchange::{Exchange, refusal_in};
use crate::get::write_expiry;
use crate::given::given_by_request;
use crate::multipart::{own_upload, part_number, upload_id, wanted_algorithm};
use crate::operation::Need;
use crate::put::{check_storage_class, refuse_encryption};
use crate::refusal::Refusal;
use crate::report::Reported;

const SOURCE: &str = "x-amz-copy-source";

/// Headers of encryption keys for the source.
const REFUSED_HEADERS: [&str; 2] = [
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
];

/// What is copied, and what the sender may have of its bucket.
struct Readable<'a> {
    source: CopySource,
    reach: Reach<'a>,
    caller: Caller,
}

impl Readable<'_> {
    /// What is told of the source to who may not have all of its bucket.
    fn refusal(&self, exchange: &Exchange<'_>, error: BucketError) -> Refusal {
        // With If-Match, what is missing may be at the copy's own key.
        let of_source = matches!(error, BucketError::NoSuchKey) && exchange.header("if-match").is_none();
        let mut refusal = refusal_in(exchange.sender, &self.source.bucket, self.reach, error).0;
        if of_source && refusal.error.code == S3Code::NoSuchKey {
            refusal.error.extra.push(("Key", self.source.key.as_str().to_owned()));
        }
        refusal
    }

    /// Calls with what the engine must ask of the source before it is copied.
    async fn admitted<T>(&self, act: impl AsyncFnOnce(Admission<'_>) -> T) -> T {
        let owner = self.source.bucket.settings.owner.as_str();
        let object = |info: &ObjectInfo| self.reach.admits(owner, info) || planted(Mutant::SourceAclIgnored);
        let tags = |info: &ObjectInfo| self.reach.owns(owner, info);
        act(Admission { cold: self.reach.cold(owner), object: &object, tags: &tags }).await
    }
}

/// Reads what is copied.
///
/// # Errors
/// What cannot be read, and what the sender may have nothing of.
async fn readable<'a>(exchange: &Exchange<'a>, engine: &Engine) -> Result<Readable<'a>, Refusal> {
    exchange.refuse_headers(&REFUSED_HEADERS)?;
    let bad = |message: &'static str| {
        S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", SOURCE)
    };
    let text = exchange.header(SOURCE).ok_or_else(|| bad("The copy source cannot be read."))?;
    let named = uri::CopySource::parse(text)
        .map_err(|_| bad("Copy Source must mention the source bucket and key: sourcebucket/sourcekey"))?;
    match named.version_id.as_deref() {
        None | Some("" | "null") => {}
        Some(_) => return Err(bad("Invalid version id specified").into()),
    }
    let name = BucketName::parse(&named.bucket)
        .map_err(|_| S3Error::new(S3Code::NoSuchBucket).and("BucketName", named.bucket.as_str()))?;
    let key = Key::parse(&named.key).map_err(|_| S3Error::new(S3Code::KeyTooLong))?;
    let bucket = engine.bucket(&name).await?;
    let allowed = decide(exchange.sender.identity(), Need::ReadObject, Place::of(&bucket));
    let Allowed { may_fill, reach } = allowed.map_err(|Denied| Refusal::denied())?;
    if let Some(expected) = exchange.header("x-amz-source-expected-bucket-owner")
        && expected != bucket.settings.owner
    {
        return Err(Refusal::denied());
    }
    let conditions = Conditions::from_copy_source_headers(&exchange.parts.headers);
    let caller = Caller { may_fill, ..exchange.caller.clone() };
    Ok(Readable { source: CopySource { bucket, key, conditions }, reach, caller })
}

/// Copies an object.
pub(crate) async fn object(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    refuse_encryption(exchange)?;
    check_storage_class(exchange)?;
    let readable = readable(exchange, engine).await?;
    let source = readable.source.clone();
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    let replaces_meta = directive(exchange, "x-amz-metadata-directive")?;
    let replaces_tags = directive(exchange, "x-amz-tagging-directive")?;
    let attributes = given_by_request(exchange, &exchange.parts.headers, engine).await?;
    let to_itself = source.bucket.id == bucket.id && source.key == *key;
    let changes = replaces_meta
        || exchange.header("x-amz-storage-class").is_some()
        || exchange.header("x-amz-website-redirect-location").is_some();
    if to_itself && !changes {
        return Err(S3Error::with_message(
            S3Code::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        )
        .into());
    }
    let meta = match replaces_meta {
        true => Some(meta_of_request(&exchange.parts.headers).map_err(S3Error::from)?),
        false => None,
    };
    let tags = replaces_tags.then(|| attributes.tags.clone());
    let conditions = WriteConditions::from_headers(&exchange.parts.headers)?;
    let checksum = wanted_algorithm(exchange)?;
    let request = CopyRequest { source, key: key.clone(), meta, tags, checksum, attributes, conditions };
    let copy = async |admission: Admission<'_>| {
        Box::pin(engine.copy(bucket, &readable.caller, request, admission)).await
    };
    let info = readable.admitted(copy).await.map_err(|error| readable.refusal(exchange, error))?;
    let etag = info.etag.as_ref().ok_or(S3Code::InternalError)?;
    let mut answer = document::xml(copied("CopyObjectResult", etag, info.last_modified, &info.checksums));
    write_expiry(exchange, &info, answer.response.headers_mut());
    Ok(answer)
}

/// Whether a directive says REPLACE.
fn directive(exchange: &Exchange<'_>, name: &'static str) -> Result<bool, S3Error> {
    match exchange.header(name) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("COPY") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("REPLACE") => Ok(true),
        Some(text) => Err(S3Error::with_message(S3Code::InvalidArgument, "Unknown directive.")
            .and("ArgumentName", name)
            .and("ArgumentValue", text)),
    }
}

/// Keeps a part that is copied from an object.
pub(crate) async fn part(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    refuse_encryption(exchange)?;
    let (id, number) = (upload_id(exchange)?, part_number(exchange)?);
    let range = source_range(exchange)?;
    let readable = readable(exchange, engine).await?;
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    let upload = own_upload(exchange, engine, id).await?;
    let read = async |admission: Admission<'_>| {
        engine.copy_range(&readable.caller, &readable.source, range, admission).await
    };
    let read = readable.admitted(read).await;
    let (_, body, length_bytes) = read.map_err(|error| readable.refusal(exchange, error))?;
    let checksums: Arc<OnceLock<Vec<Checksum>>> = Arc::default();
    let algorithm = upload.row.checksum.unwrap_or(DEFAULT_CHECKSUM);
    let mut digests = Some(Digests::new(DigestSet::none().and(algorithm)));
    let done = Arc::clone(&checksums);
    let pieces = engine.pieces(body);
    let counted = pieces.map(Some).chain(futures::stream::once(async { None })).filter_map(move |piece| {
        match &piece {
            Some(Ok(bytes)) => {
                if let Some(digests) = &mut digests {
                    digests.update(bytes);
                }
            }
            Some(Err(_)) => {}
            None => {
                let values = digests.take().map(Digests::finish).unwrap_or_default();
                // Set once: the stream ends once.
                let _ = done.set(values.checksums);
            }
        }
        std::future::ready(piece)
    });
    let body = fallthrough_object::Body::Stream(Box::pin(counted));
    let request = PutPart {
        key: key.clone(),
        upload: id,
        number,
        body,
        length_bytes: Some(length_bytes),
        content_md5: None,
        checksums,
    };
    let part = Box::pin(engine.put_part(bucket, request)).await?;
    let told = if upload.row.checksum.is_some() { &part.checksums[..] } else { &[] };
    Ok(document::xml(copied("CopyPartResult", &part.etag(), part.last_modified, told)))
}

/// `x-amz-copy-source-range: bytes=first-last`, both given and inclusive.
fn source_range(exchange: &Exchange<'_>) -> Result<Option<ByteRange>, S3Error> {
    let name = "x-amz-copy-source-range";
    let Some(text) = exchange.header(name) else { return Ok(None) };
    let read = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (first, last) = (
            Some(first).filter(|t| digits(t))?.parse::<u64>().ok()?,
            Some(last).filter(|t| digits(t))?.parse::<u64>().ok()?,
        );
        (first <= last).then_some(ByteRange { start: first, end: last.checked_add(1)? })
    };
    read().map(Some).ok_or_else(|| {
        S3Error::with_message(
            S3Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
        .and("ArgumentName", name)
        .and("ArgumentValue", text)
    })
}

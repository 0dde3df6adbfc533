//! Multipart uploads: CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload. Their lists are
//! in [`crate::list_uploads`], parts that are copied in [`crate::copy`].

use std::sync::Arc;

use fallthrough_bucket::{
    BucketError, Completion, Engine, ListedPart, NewUpload, PART_NUMBER_MAX, PutPart, Upload, UploadId,
};
use fallthrough_object::{Body, Checksum, ChecksumAlgorithm, Mutant, planted};
use fallthrough_wire::conditions::WriteConditions;
use fallthrough_wire::digest::{
    DEFAULT_CHECKSUM, can_combine, checksum_header_name, parse_checksum, write_checksum_headers,
};
use fallthrough_wire::headers::meta_of_request;
use fallthrough_wire::xml::{completed, initiated, parse_complete_upload};
use fallthrough_wire::{S3Code, S3Error};
use http::header::ETAG;
use http::{HeaderName, HeaderValue, Response};
use hyper::body::Incoming;

use crate::document;
use crate::exchange::Exchange;
use crate::get::{write_abort, write_expiry};
use crate::given::given_by_request;
use crate::outgoing::Outgoing;
use crate::patience::Patience;
use crate::put::{check_storage_class, refuse_encryption};
use crate::refusal::Refusal;
use crate::report::Reported;
use crate::upload::{self, PUT_BYTES_MAX};

/// Largest body of a CompleteMultipartUpload: ten thousand parts with their checksums.
const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;

const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// Begins an upload.
pub(crate) async fn create(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    refuse_encryption(exchange)?;
    check_storage_class(exchange)?;
    let (checksum, checksum_of_whole) = wanted_checksum(exchange)?;
    let request = NewUpload {
        key: exchange.key()?.clone(),
        initiator: exchange.sender.account().unwrap_or_default().to_owned(),
        meta: meta_of_request(&exchange.parts.headers).map_err(S3Error::from)?,
        attributes: given_by_request(exchange, &exchange.parts.headers, engine).await?,
        checksum,
        checksum_of_whole,
    };
    let bucket = exchange.bucket()?;
    let id = engine.create_upload(bucket, request).await?;
    // It may be gone already, which is no reason to hide that it began.
    let begun = engine.upload(bucket, exchange.key()?, id).await.ok();
    let mut response =
        document::xml(initiated(bucket.name.as_str(), exchange.key()?.as_str(), &id.to_string()));
    if let Some(begun) = begun {
        write_abort(exchange, begun.row.initiated, response.response.headers_mut());
    }
    if let Some(algorithm) = checksum {
        let headers = response.response.headers_mut();
        headers.insert(CHECKSUM_ALGORITHM, HeaderValue::from_static(algorithm.as_str()));
        headers.insert(CHECKSUM_TYPE, HeaderValue::from_static(type_name(checksum_of_whole)));
    }
    Ok(response)
}

/// The name of what a checksum covers.
pub(crate) fn type_name(of_whole: bool) -> &'static str {
    if of_whole { "FULL_OBJECT" } else { "COMPOSITE" }
}

/// The algorithm that `x-amz-checksum-algorithm` asks for.
pub(crate) fn wanted_algorithm(exchange: &Exchange<'_>) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(name) = exchange.header(CHECKSUM_ALGORITHM.as_str()) else { return Ok(None) };
    let algorithm =
        ChecksumAlgorithm::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name));
    algorithm.map(Some).ok_or_else(|| {
        S3Error::with_message(
            S3Code::InvalidRequest,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// The checksum that the object shall have, and whether it shall cover the whole.
fn wanted_checksum(exchange: &Exchange<'_>) -> Result<(Option<ChecksumAlgorithm>, bool), S3Error> {
    let kind = exchange.header(CHECKSUM_TYPE.as_str());
    let Some(algorithm) = wanted_algorithm(exchange)? else {
        return match kind {
            None => Ok((None, false)),
            Some(_) => Err(S3Error::with_message(
                S3Code::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let of_whole = match kind {
        None => algorithm == ChecksumAlgorithm::Crc64Nvme,
        Some(kind) if kind.eq_ignore_ascii_case("FULL_OBJECT") && can_combine(algorithm) => true,
        Some(kind) if kind.eq_ignore_ascii_case("COMPOSITE") && algorithm != ChecksumAlgorithm::Crc64Nvme => {
            false
        }
        Some(kind) => {
            let known = ["FULL_OBJECT", "COMPOSITE"].iter().any(|known| known.eq_ignore_ascii_case(kind));
            let message = match known {
                true => format!(
                    "The {} checksum type cannot be used with the {} checksum algorithm.",
                    kind.to_ascii_uppercase(),
                    algorithm.header_suffix()
                ),
                false => "Value for x-amz-checksum-type header is invalid.".to_owned(),
            };
            return Err(S3Error::with_message(S3Code::InvalidRequest, message));
        }
    };
    Ok((Some(algorithm), of_whole))
}

/// The upload that a request names.
pub(crate) fn upload_id(exchange: &Exchange<'_>) -> Result<UploadId, Refusal> {
    let Some(text) = exchange.query.get("uploadId") else {
        let message = "A part is put into an upload, which uploadId names.";
        let error = S3Error::with_message(S3Code::InvalidArgument, message);
        return Err(error.and("ArgumentName", "uploadId").into());
    };
    UploadId::parse(text).ok_or_else(|| S3Error::new(S3Code::NoSuchUpload).and("UploadId", text).into())
}

/// An upload, for whoever began it and for the bucket's owner: to others who may write, its parts are no more than a key
/// that is not there yet.
///
/// # Errors
/// `AccessDenied`; as [`Engine::upload`].
pub(crate) async fn own_upload(
    exchange: &Exchange<'_>,
    engine: &Engine,
    id: UploadId,
) -> Result<Upload, Refusal> {
    let bucket = exchange.bucket()?;
    let upload = engine.upload(bucket, exchange.key()?, id).await?;
    let account = exchange.sender.account();
    let is_own = account.unwrap_or_default() == upload.row.initiator
        || account == Some(&bucket.settings.owner)
        || planted(Mutant::UploadsForAnybody);
    if is_own { Ok(upload) } else { Err(Refusal::denied()) }
}

/// The number of the part that a request names.
pub(crate) fn part_number(exchange: &Exchange<'_>) -> Result<u32, S3Error> {
    let text = exchange.query.get("partNumber").unwrap_or("");
    let number = text.parse().ok().filter(|number| (1..=PART_NUMBER_MAX).contains(number));
    number.ok_or_else(|| {
        S3Error::with_message(
            S3Code::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
        .and("ArgumentName", "partNumber")
        .and("ArgumentValue", text)
    })
}

/// Keeps a part.
pub(crate) async fn put_part(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &mut Option<Incoming>,
    patience: Patience,
) -> Result<Reported, Refusal> {
    refuse_encryption(exchange)?;
    let (id, number) = (upload_id(exchange)?, part_number(exchange)?);
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    let headers = &exchange.parts.headers;
    let mut incoming = upload::Upload::of(headers, exchange.query, exchange.sender, PUT_BYTES_MAX)?;
    let begun = own_upload(exchange, engine, id).await?;
    let given = incoming.given().to_vec();
    match begun.row.checksum {
        Some(algorithm) => {
            check_algorithm(algorithm, &given)?;
            incoming.also(algorithm);
        }
        // The object gets one all the same, made of those of its parts.
        None => incoming.also(DEFAULT_CHECKSUM),
    }
    let (length_bytes, content_md5) = (incoming.length_bytes, incoming.content_md5);
    let (stream, verdict) = incoming.stream(body.take().ok_or(S3Code::InternalError)?, patience);
    let request = PutPart {
        key: key.clone(),
        upload: id,
        number,
        body: Body::Stream(stream),
        length_bytes: Some(length_bytes),
        content_md5,
        checksums: Arc::clone(&verdict.checksums),
    };
    let ended = Box::pin(engine.put_part(bucket, request)).await;
    *body = verdict.unread();
    let part = ended.map_err(|error| match (error, verdict.refused.get()) {
        (BucketError::BadBody(_), Some(answer)) => Refusal::from(answer.clone()),
        (error, _) => Refusal::from(error),
    })?;
    let mut response = Response::new(Outgoing::empty());
    if let Ok(value) = HeaderValue::try_from(part.etag().to_string()) {
        response.headers_mut().insert(ETAG, value);
    }
    let asked = |sum: &&Checksum| given.is_empty() || given.contains(&sum.algorithm);
    for sum in part.checksums.iter().filter(asked) {
        if let Ok(value) = HeaderValue::try_from(fallthrough_wire::digest::format_checksum(sum)) {
            response.headers_mut().insert(checksum_header_name(sum.algorithm), value);
        }
    }
    Ok(response.into())
}

fn check_algorithm(wanted: ChecksumAlgorithm, given: &[ChecksumAlgorithm]) -> Result<(), S3Error> {
    match given.first() {
        Some(other) if !given.contains(&wanted) => Err(S3Error::with_message(
            S3Code::InvalidRequest,
            format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                wanted.header_suffix(),
                other.header_suffix()
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Makes an object of the parts.
pub(crate) async fn complete(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &mut Option<Incoming>,
    patience: Patience,
) -> Result<Reported, Refusal> {
    let id = upload_id(exchange)?;
    let headers = &exchange.parts.headers;
    let conditions = WriteConditions::from_headers(headers)?;
    // What stands in the checksum headers is the object's, not the document's.
    let checksum = object_checksum(exchange)?;
    let size_bytes = object_size(exchange)?;
    let mut of_document = headers.clone();
    for algorithm in ChecksumAlgorithm::ALL {
        of_document.remove(checksum_header_name(algorithm));
    }
    let incoming = upload::Upload::of(&of_document, exchange.query, exchange.sender, LIST_BYTES_MAX);
    let incoming = incoming.map_err(|error| match error.code {
        S3Code::EntityTooLarge => S3Error::new(S3Code::MalformedXml),
        _ => error,
    })?;
    let document_of = body.take().ok_or(S3Code::InternalError)?;
    let parts = parse_complete_upload(&incoming.collect(document_of, patience).await?)?;
    let parts = parts
        .into_iter()
        .map(|part| ListedPart { number: part.number, etag: part.etag, checksums: part.checksums })
        .collect();
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    match own_upload(exchange, engine, id).await {
        Ok(upload) => check_type(exchange, &upload)?,
        // Completed already, perhaps: to do so again changes nothing.
        Err(refusal) if refusal.error.code == S3Code::NoSuchUpload => {}
        Err(refusal) => return Err(refusal),
    }
    let request = Completion { key: key.clone(), upload: id, parts, conditions, checksum, size_bytes };
    let info = Box::pin(engine.complete_upload(bucket, &exchange.caller, request)).await?;
    let etag = info.etag.clone().ok_or(S3Code::InternalError)?;
    let location = exchange.url_of(exchange.parts.uri.path());
    let mut response =
        document::xml(completed(&location, bucket.name.as_str(), key.as_str(), &etag, &info.checksums));
    write_checksum_headers(&info.checksums, response.response.headers_mut());
    write_expiry(exchange, &info, response.response.headers_mut());
    Ok(response)
}

/// Refuses a kind of checksum that is not the upload's.
fn check_type(exchange: &Exchange<'_>, upload: &Upload) -> Result<(), S3Error> {
    let Some(given) = exchange.header("x-amz-checksum-type") else { return Ok(()) };
    let own = if upload.row.checksum_of_whole { "FULL_OBJECT" } else { "COMPOSITE" };
    if upload.row.checksum.is_none() || given == own {
        return Ok(());
    }
    let message = format!(
        "The upload was created using the {own} checksum mode. The complete request must use the same."
    );
    Err(S3Error::with_message(S3Code::InvalidRequest, message))
}

/// The object's checksum, from a header of CompleteMultipartUpload.
fn object_checksum(exchange: &Exchange<'_>) -> Result<Option<Checksum>, S3Error> {
    for algorithm in ChecksumAlgorithm::ALL {
        let name = checksum_header_name(algorithm);
        let Some(text) = exchange.header(name.as_str()) else { continue };
        let checksum = parse_checksum(algorithm, text);
        return checksum.map(Some).ok_or_else(|| {
            let message = format!("Value for {name} header is invalid.");
            S3Error::with_message(S3Code::InvalidRequest, message)
        });
    }
    Ok(None)
}

fn object_size(exchange: &Exchange<'_>) -> Result<Option<u64>, S3Error> {
    let Some(text) = exchange.header("x-amz-mp-object-size") else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| {
        S3Error::with_message(S3Code::InvalidRequest, "Value for x-amz-mp-object-size header is invalid.")
    })
}

/// Ends an upload without an object.
pub(crate) async fn abort(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let id = upload_id(exchange)?;
    own_upload(exchange, engine, id).await?;
    engine.abort_upload(exchange.bucket()?, exchange.key()?, id).await?;
    Ok(document::no_content())
}

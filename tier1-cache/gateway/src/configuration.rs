//! What clients set on a bucket as a whole document: CORS, lifecycle, website.
//!
//! Each is put, read and deleted; a document that is not taken changes nothing.

use bytes::Bytes;
use fallthrough_bucket::Engine;
use fallthrough_object::BucketConfiguration;
use fallthrough_wire::xml::{
    cors_document, lifecycle_document, parse_cors, parse_lifecycle, parse_website, website_document,
};
use fallthrough_wire::{S3Code, S3Error};
use hyper::body::Incoming;

use crate::document;
use crate::exchange::Exchange;
use crate::operation::Operation;
use crate::patience::Patience;
use crate::refusal::Refusal;
use crate::report::Reported;
use crate::upload::Upload;

/// The largest of the documents: a thousand lifecycle rules.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

/// A change of what is configured.
type Change = Box<dyn Fn(&mut BucketConfiguration) + Send + Sync>;

/// Answers one of the operations of this module.
///
/// # Errors
/// What the document is refused with; "not set" for a read; the engine's.
///
/// # Cancellation
/// It may or may not have been changed.
pub(crate) async fn of_bucket(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &mut Option<Incoming>,
    patience: Patience,
) -> Result<Reported, Refusal> {
    if let Some(text) = read(exchange.operation, &exchange.bucket()?.configuration) {
        return Ok(document::xml(text?));
    }
    let body = match exchange.operation {
        Operation::PutBucketCors
        | Operation::PutBucketLifecycleConfiguration
        | Operation::PutBucketWebsite => {
            let upload =
                Upload::of(&exchange.parts.headers, exchange.query, exchange.sender, DOCUMENT_BYTES_MAX)
                    .map_err(too_long)?;
            let body = body.take().ok_or(S3Code::InternalError)?;
            Box::pin(upload.collect(body, patience)).await?
        }
        _ => Bytes::new(),
    };
    let (change, answer) = change(exchange.operation, &body)?;
    engine.configure(exchange.bucket()?, &*change).await?;
    Ok(answer)
}

/// A document is no object.
fn too_long(error: S3Error) -> S3Error {
    match error.code {
        S3Code::EntityTooLarge => S3Error::new(S3Code::MaxMessageLengthExceeded),
        _ => error,
    }
}

/// The document of a reading operation; `None` for another.
fn read(operation: Operation, set: &BucketConfiguration) -> Option<Result<String, S3Code>> {
    let (document, unset) = match operation {
        Operation::GetBucketCors => {
            ((!set.cors.is_empty()).then(|| cors_document(&set.cors)), S3Code::NoSuchCorsConfiguration)
        }
        Operation::GetBucketLifecycleConfiguration => (
            (!set.lifecycle.is_empty()).then(|| lifecycle_document(&set.lifecycle)),
            S3Code::NoSuchLifecycleConfiguration,
        ),
        Operation::GetBucketWebsite => {
            (set.website.as_ref().map(website_document), S3Code::NoSuchWebsiteConfiguration)
        }
        _ => return None,
    };
    Some(document.ok_or(unset))
}

/// What a writing operation changes, and its answer.
fn change(operation: Operation, body: &[u8]) -> Result<(Change, Reported), S3Error> {
    Ok(match operation {
        Operation::PutBucketCors => {
            let rules = parse_cors(body)?;
            (Box::new(move |set| set.cors.clone_from(&rules)), document::nothing())
        }
        Operation::PutBucketLifecycleConfiguration => {
            let rules = parse_lifecycle(body)?;
            (Box::new(move |set| set.lifecycle.clone_from(&rules)), document::nothing())
        }
        Operation::PutBucketWebsite => {
            let website = parse_website(body)?;
            (Box::new(move |set| set.website = Some(website.clone())), document::nothing())
        }
        Operation::DeleteBucketCors => (Box::new(|set| set.cors.clear()), document::no_content()),
        Operation::DeleteBucketLifecycle => (Box::new(|set| set.lifecycle.clear()), document::no_content()),
        Operation::DeleteBucketWebsite => (Box::new(|set| set.website = None), document::no_content()),
        _ => return Err(S3Code::InternalError.into()),
    })
}

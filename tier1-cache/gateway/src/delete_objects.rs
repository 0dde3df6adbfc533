//! DeleteObjects.
//!
//! Not through `s3s`: it writes keys into XML as they are, and a key may hold characters that no XML can.

use std::collections::HashMap;

use fallthrough_bucket::Engine;
use fallthrough_object::{Key, Mutant, planted};
use fallthrough_wire::conditions::{TagList, WriteConditions};
use fallthrough_wire::xml::{DeleteObject, DeleteOutcome, DeleteRequest, delete_result};
use fallthrough_wire::{S3Code, S3Error};
use futures::{StreamExt, stream};
use hyper::body::Incoming;

use crate::document;
use crate::exchange::Exchange;
use crate::patience::Patience;
use crate::refusal::Refusal;
use crate::report::Reported;
use crate::upload::Upload;

/// Largest body, as S3 has it.
const BODY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Deletes in flight for one request, so that their commits share a sync.
const IN_FLIGHT: usize = 64;

/// Deletes up to 1,000 keys; each has a result of its own.
///
/// Dropping the future leaves some deleted and some not, as a lost connection does.
pub(crate) async fn objects(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &mut Option<Incoming>,
    patience: Patience,
) -> Result<Reported, Refusal> {
    let upload = Upload::of(&exchange.parts.headers, exchange.query, exchange.sender, BODY_BYTES_MAX);
    let upload = upload.map_err(|error| match error.code {
        S3Code::EntityTooLarge => S3Error::new(S3Code::MaxMessageLengthExceeded),
        _ => error,
    })?;
    if !upload.has_digest() {
        return Err(S3Error::with_message(
            S3Code::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )
        .into());
    }
    let body = body.take().ok_or(S3Code::InternalError)?;
    let body = upload.collect(body, patience).await?;
    let request = DeleteRequest::parse(&body).map_err(S3Error::from)?;
    let bucket = exchange.bucket()?;
    let outcomes: Vec<DeleteOutcome> = stream::iter(request.objects)
        .map(|object| async move {
            match delete(&object, exchange, engine, bucket).await {
                Ok(()) => DeleteOutcome::Deleted { key: object.key, version_id: object.version_id },
                Err(error) => DeleteOutcome::Failed {
                    key: object.key,
                    version_id: object.version_id,
                    code: error.code,
                    message: error.message.into_owned(),
                },
            }
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let outcomes = if planted(Mutant::ResultsByKey) { by_key(outcomes) } else { outcomes };
    Ok(document::xml(delete_result(&outcomes, request.quiet)))
}

async fn delete(
    object: &DeleteObject,
    exchange: &Exchange<'_>,
    engine: &Engine,
    bucket: &std::sync::Arc<fallthrough_bucket::Bucket>,
) -> Result<(), S3Error> {
    if object.version_id.as_ref().is_some_and(|id| id != "null") {
        return Err(S3Error::new(S3Code::NoSuchVersion));
    }
    let conditions = WriteConditions {
        if_match: object.etag.as_deref().map(TagList::parse),
        if_modified_at: object.last_modified,
        if_size_bytes: object.size_bytes,
        ..WriteConditions::default()
    };
    let key = Key::parse(&object.key).map_err(|_| match object.key.len() {
        0 => S3Error::with_message(S3Code::InvalidArgument, "The key is empty."),
        _ => S3Error::new(S3Code::KeyTooLong),
    })?;
    let deleted = engine.delete_if(bucket, &exchange.caller, &key, conditions).await;
    deleted.map(drop).map_err(|error| *Refusal::from(error).error)
}

/// What a planted bug makes of the outcomes: the last one of a key stands for all of its entries.
fn by_key(outcomes: Vec<DeleteOutcome>) -> Vec<DeleteOutcome> {
    let key = |outcome: &DeleteOutcome| match outcome {
        DeleteOutcome::Deleted { key, .. } | DeleteOutcome::Failed { key, .. } => key.clone(),
    };
    let last: HashMap<String, DeleteOutcome> =
        outcomes.iter().map(|outcome| (key(outcome), outcome.clone())).collect();
    outcomes.into_iter().filter_map(|outcome| last.get(&key(&outcome)).cloned()).collect()
}

//! ListMultipartUploads and ListParts.

use fallthrough_bucket::{Bucket, Engine, Upload, UploadId, UploadItem, UploadsRequest};
use fallthrough_object::{Checksum, ChecksumAlgorithm};
use fallthrough_wire::digest::DEFAULT_CHECKSUM;
use fallthrough_wire::xml::{ListParts, ListUploads, Owner, PartEntry, UploadEntry};
use fallthrough_wire::{S3Code, S3Error};

use crate::document;
use crate::exchange::Exchange;
use crate::get::write_abort;
use crate::list::url_encoded;
use crate::multipart::{own_upload, type_name, upload_id};
use crate::people::People;
use crate::refusal::Refusal;
use crate::report::Reported;

/// The largest page, and the size of one that is not asked for.
const PAGE_MAX: u32 = 1000;

/// A number among the parameters.
fn number(exchange: &Exchange<'_>, name: &'static str, default: u32) -> Result<u32, S3Error> {
    let Some(text) = exchange.query.get(name).filter(|text| !text.is_empty()) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| i32::try_from(*number).is_ok());
    number.ok_or_else(|| {
        let message = format!("Argument {name} must be an integer between 0 and 2147483647");
        S3Error::with_message(S3Code::InvalidArgument, message)
            .and("ArgumentName", name)
            .and("ArgumentValue", text)
    })
}

/// Who began an upload, and who will own its object.
async fn owners(
    people: &mut People<'_>,
    bucket: &Bucket,
    upload: &Upload,
) -> Result<(Owner, Owner), Refusal> {
    let owner = upload.row.owner.as_deref().unwrap_or(&bucket.settings.owner);
    // Nobody in particular writes in the owner's name.
    let initiator = Some(upload.row.initiator.as_str()).filter(|id| !id.is_empty()).unwrap_or(owner);
    Ok((people.owner(initiator).await?, people.owner(owner).await?))
}

/// A page of the parts of an upload.
pub(crate) async fn parts(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let id = upload_id(exchange)?;
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    let max_parts = number(exchange, "max-parts", PAGE_MAX)?.min(PAGE_MAX);
    let marker = number(exchange, "part-number-marker", 0)?;
    let url_encoded = url_encoded(exchange.query.get("encoding-type"))?;
    let upload = own_upload(exchange, engine, id).await?;
    let mut found = engine.parts(bucket, id, marker, max_parts as usize + 1).await?;
    let is_truncated = found.len() > max_parts as usize && max_parts > 0;
    found.truncate(max_parts as usize);
    let mut people = People::new(engine);
    let (initiator, owner) = owners(&mut people, bucket, &upload).await?;
    let page = ListParts {
        bucket: bucket.name.to_string(),
        key: key.as_str().to_owned(),
        upload_id: id.to_string(),
        initiator,
        owner,
        marker,
        max_parts,
        is_truncated,
        checksum: upload.row.checksum.map(|sum| (sum, type_name(upload.row.checksum_of_whole))),
        url_encoded,
        parts: found
            .into_iter()
            .map(|part| PartEntry {
                number: part.number,
                last_modified: part.info.last_modified,
                etag: part.info.etag(),
                size_bytes: part.info.size_bytes,
                checksums: told(part.info.checksums, upload.row.checksum),
            })
            .collect(),
    };
    let mut answer = document::xml(page.to_xml());
    write_abort(exchange, upload.row.initiated, answer.response.headers_mut());
    Ok(answer)
}

/// The checksums of a part that are shown: not the one that only its object is given by default.
fn told(mut sums: Vec<Checksum>, of_upload: Option<ChecksumAlgorithm>) -> Vec<Checksum> {
    if of_upload.is_none() {
        sums.retain(|sum| sum.algorithm != DEFAULT_CHECKSUM);
    }
    sums
}

/// A page of the uploads of a bucket.
pub(crate) async fn uploads(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    let text = |name| exchange.query.get(name).unwrap_or("");
    let max = number(exchange, "max-uploads", PAGE_MAX)?.min(PAGE_MAX);
    let mut page = ListUploads {
        bucket: bucket.name.to_string(),
        key_marker: text("key-marker").to_owned(),
        // S3 looks at it only together with a key.
        upload_id_marker: match text("key-marker") {
            "" => String::new(),
            _ => text("upload-id-marker").to_owned(),
        },
        prefix: text("prefix").to_owned(),
        delimiter: Some(text("delimiter")).filter(|text| !text.is_empty()).map(str::to_owned),
        max_uploads: max,
        url_encoded: url_encoded(exchange.query.get("encoding-type"))?,
        ..ListUploads::default()
    };
    let marker_id = match page.upload_id_marker.as_str() {
        "" => None,
        text => Some(UploadId::parse(text).ok_or_else(|| {
            S3Error::with_message(S3Code::InvalidArgument, "Invalid uploadId marker")
                .and("ArgumentName", "upload-id-marker")
        })?),
    };
    let request = UploadsRequest {
        prefix: page.prefix.clone(),
        delimiter: page.delimiter.clone(),
        after: Some((page.key_marker.clone(), marker_id)).filter(|(key, _)| !key.is_empty()),
        max: max as usize,
    };
    let found = engine.uploads(bucket, &request).await?;
    page.next = found.next.map(|(key, id)| (key, id.map(|id| id.to_string()).unwrap_or_default()));
    let mut people = People::new(engine);
    for item in found.items {
        match item {
            UploadItem::Prefix(prefix) => page.common_prefixes.push(prefix),
            UploadItem::Upload(upload) => {
                let (initiator, owner) = owners(&mut people, bucket, &upload).await?;
                let checksum = upload.row.checksum;
                page.uploads.push(UploadEntry {
                    key: upload.key.as_str().to_owned(),
                    upload_id: upload.id.to_string(),
                    initiator,
                    owner,
                    initiated: upload.row.initiated,
                    checksum: checksum.map(|sum| (sum, type_name(upload.row.checksum_of_whole))),
                });
            }
        }
    }
    Ok(document::xml(page.to_xml()))
}

//! ListObjectVersions of buckets without versioning: every object is its only version, `null`. Tools that clear buckets
//! ask for it whether or not there are versions.

use fallthrough_bucket::Engine;
use fallthrough_wire::xml::ListVersions;
use fallthrough_wire::{S3Code, S3Error};

use crate::document;
use crate::exchange::Exchange;
use crate::list::{self, Asked};
use crate::refusal::Refusal;
use crate::report::Reported;

/// Answers one page.
pub(crate) async fn objects(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let asked = Asked::versions(exchange.query)?;
    let version_id_marker = exchange.query.get("version-id-marker").filter(|id| !id.is_empty());
    let invalid = |message| {
        S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", "version-id-marker")
    };
    match version_id_marker {
        Some(_) if asked.after.is_none() => {
            return Err(invalid("A version-id marker cannot be specified without a key marker.").into());
        }
        Some("null") | None => {}
        Some(_) => return Err(invalid("Invalid version id specified").into()),
    }
    let (report, page) = list::fetch(exchange, engine, &asked).await?;
    let is_truncated = page.next.is_some() && asked.max_keys > 0;
    let last = page.items.last().map(|item| list::name(item).to_owned());
    let bucket = exchange.bucket()?;
    let (objects, common_prefixes) = list::rows(bucket, engine, page.items, true).await?;
    let page = ListVersions {
        bucket: bucket.name.to_string(),
        prefix: asked.prefix,
        delimiter: asked.delimiter,
        key_marker: asked.after.unwrap_or_default(),
        version_id_marker: version_id_marker.map(str::to_owned),
        next_key_marker: last.filter(|_| is_truncated),
        max_keys: asked.max_keys,
        url_encoded: asked.url_encoded,
        objects,
        common_prefixes,
    };
    Ok(Reported { report: Some(report), ..document::xml(page.to_xml()) })
}

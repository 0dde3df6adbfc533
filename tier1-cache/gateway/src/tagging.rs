//! Tags of buckets and objects.
//!
//! The tags of an object are its owner's to read and write; ACLs say nothing of them. An object that is not here is filled
//! before it gets tags, and is a written one from then on.

use bytes::Bytes;
use fallthrough_bucket::{Admission, Engine, ObjectInfo};
use fallthrough_object::Tag;
use fallthrough_wire::tags::{BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, check, parse_header};
use fallthrough_wire::xml::{parse_tagging, tagging};
use fallthrough_wire::{S3Code, S3Error};
use http::HeaderMap;

use crate::document;
use crate::exchange::Exchange;
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::report::Reported;

/// The tags that the header `x-amz-tagging` of a request gives its object.
///
/// # Errors
/// `InvalidArgument`, `InvalidTag`.
pub(crate) fn tags_of_request(headers: &HeaderMap) -> Result<Vec<Tag>, S3Error> {
    let mut values = headers.get_all("x-amz-tagging").iter();
    let invalid = || S3Error::new(S3Code::InvalidArgument).and("ArgumentName", "x-amz-tagging");
    match (values.next(), values.next()) {
        (None, _) => Ok(Vec::new()),
        (Some(value), None) => parse_header(std::str::from_utf8(value.as_bytes()).map_err(|_| invalid())?),
        (Some(_), Some(_)) => Err(invalid()),
    }
}

/// Answers the operations on the tags of a bucket.
pub(crate) async fn bucket(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &Bytes,
) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    let tags = match exchange.operation {
        Operation::GetBucketTagging => {
            let tags = &bucket.configuration.tags;
            return if tags.is_empty() {
                Err(S3Error::new(S3Code::NoSuchTagSet).and("BucketName", bucket.name.as_str()).into())
            } else {
                Ok(shown(tags))
            };
        }
        Operation::PutBucketTagging => read(body, BUCKET_TAGS_MAX)?,
        _ => Vec::new(),
    };
    engine.configure(bucket, &|configuration| configuration.tags.clone_from(&tags)).await?;
    Ok(document::no_content())
}

/// Answers the operations on the tags of an object.
pub(crate) async fn object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &Bytes,
) -> Result<Reported, Refusal> {
    exchange.check_version()?;
    let tags = match exchange.operation {
        Operation::GetObjectTagging => {
            let (bucket, key) = (exchange.bucket()?, exchange.key()?);
            let read =
                async |admission: Admission<'_>| engine.tags(bucket, &exchange.caller, key, admission).await;
            let tags = exchange.admitted(read).await?.map_err(|error| exchange.refusal(error).0)?;
            return Ok(shown(&tags));
        }
        Operation::PutObjectTagging => read(body, OBJECT_TAGS_MAX)?,
        _ => Vec::new(),
    };
    let change = |info: &mut ObjectInfo| {
        info.tags.clone_from(&tags);
        info.tags_behind = None;
        Ok(())
    };
    let (bucket, key) = (exchange.bucket()?, exchange.key()?);
    let write = async |admission: Admission<'_>| {
        engine.annotate(bucket, &exchange.caller, key, admission, &change).await
    };
    exchange.admitted(write).await?.map_err(|error| exchange.refusal(error).0)?;
    Ok(match exchange.operation {
        Operation::PutObjectTagging => document::nothing(),
        _ => document::no_content(),
    })
}

/// In order of their keys, however they came.
fn shown(tags: &[Tag]) -> Reported {
    let mut tags = tags.to_vec();
    tags.sort();
    document::xml(tagging(&tags))
}

/// The tags of a document, at most `max` of them.
///
/// # Errors
/// `MalformedXML`, `InvalidTag`.
pub(crate) fn read(body: &[u8], max: usize) -> Result<Vec<Tag>, S3Error> {
    let tags = parse_tagging(body)?;
    check(&tags, max)?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let read = |text: &str| read(text.as_bytes(), OBJECT_TAGS_MAX);
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
        let document = |inner: &str| format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
        assert_eq!(read(&document(&tag("a"))).unwrap()[0].key, "a");
        assert!(read(&document("")).unwrap().is_empty());
        let many: String = (0..11).map(|n| tag(&n.to_string())).collect();
        let rows = [
            (document(&[tag("a"), tag("a")].concat()), S3Code::InvalidTag),
            (document(&tag("")), S3Code::InvalidTag),
            (document(&tag("aws:x")), S3Code::InvalidTag),
            (document(&many), S3Code::InvalidTag),
            (document("<Tag/>"), S3Code::MalformedXml),
            ("<Tagging/>".to_owned(), S3Code::MalformedXml),
            (String::new(), S3Code::MalformedXml),
        ];
        for (text, want) in rows {
            assert_eq!(read(&text).unwrap_err().code, want, "{text}");
        }
    }
}

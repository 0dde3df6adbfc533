//! GetObjectAttributes.

use fallthrough_bucket::{Admission, Engine, GetRequest, ObjectInfo};
use fallthrough_object::{Checksum, ChecksumKind, ETag};
use fallthrough_wire::date::format_http;
use fallthrough_wire::xml::{AttributesPart, ObjectAttributes};
use fallthrough_wire::{S3Code, S3Error};
use http::HeaderValue;
use http::header::LAST_MODIFIED;

use crate::acl::read_info;
use crate::document;
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::report::Reported;

/// The largest page of parts, and the size of one that is not asked for.
const PARTS_MAX: u32 = 1000;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    ETag,
    Checksum,
    ObjectParts,
    StorageClass,
    ObjectSize,
}

impl Wanted {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ETag" => Self::ETag,
            "Checksum" => Self::Checksum,
            "ObjectParts" => Self::ObjectParts,
            "StorageClass" => Self::StorageClass,
            "ObjectSize" => Self::ObjectSize,
            _ => return None,
        })
    }
}

/// Answers the attributes of an object that are asked for.
pub(crate) async fn of_object(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    exchange.check_version()?;
    let wanted = wanted(exchange)?;
    let (max_parts, marker) = (
        number(exchange, "x-amz-max-parts", PARTS_MAX)?.min(PARTS_MAX),
        number(exchange, "x-amz-part-number-marker", 0)?,
    );
    let info = read_info(exchange, engine).await?;
    let has = |what| wanted.contains(&what);
    let parts_count =
        if has(Wanted::ObjectParts) { parts_count(exchange, engine, &info).await? } else { None };
    let attributes = ObjectAttributes {
        etag: info.etag.clone().filter(|_| has(Wanted::ETag)),
        checksums: if has(Wanted::Checksum) { info.checksums.clone() } else { Vec::new() },
        parts_count,
        marker,
        max_parts,
        parts: if has(Wanted::ObjectParts) { parts(&info, marker, max_parts) } else { Vec::new() },
        storage_class: has(Wanted::StorageClass).then_some("STANDARD"),
        size_bytes: has(Wanted::ObjectSize).then_some(info.size_bytes),
    };
    let mut response = document::xml(attributes.to_xml());
    if let Ok(value) = HeaderValue::try_from(format_http(info.last_modified)) {
        response.response.headers_mut().insert(LAST_MODIFIED, value);
    }
    Ok(response)
}

/// How many parts the object was uploaded in; a provider is asked where only it knows. The sizes of the parts are not
/// learnt by that: as for objects without checksums of their parts at S3, there is only their number.
async fn parts_count(
    exchange: &Exchange<'_>,
    engine: &Engine,
    info: &ObjectInfo,
) -> Result<Option<usize>, Refusal> {
    if !info.part_sizes.is_empty() {
        return Ok(Some(info.part_sizes.len()));
    }
    if !info.etag.as_ref().is_some_and(ETag::is_of_parts) {
        return Ok(None);
    }
    let request = GetRequest { head: true, part: Some(1), ..GetRequest::of(exchange.key()?.clone()) };
    let bucket = exchange.bucket()?;
    let read = async |admission: Admission<'_>| {
        engine.get_admitted(bucket, &exchange.caller, request, admission).await
    };
    let found = exchange.admitted(read).await?.result;
    let object = found.map_err(|error| exchange.refusal(error).0)?;
    Ok(object.parts_count.map(|count| count as usize))
}

fn wanted(exchange: &Exchange<'_>) -> Result<Vec<Wanted>, S3Error> {
    let name = "x-amz-object-attributes";
    let bad = |message| S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", name);
    let mut wanted = Vec::new();
    for value in exchange.parts.headers.get_all(name) {
        let text = value.to_str().map_err(|_| bad("Invalid attribute name specified."))?;
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            wanted.push(Wanted::parse(one).ok_or_else(|| bad("Invalid attribute name specified."))?);
        }
    }
    if wanted.is_empty() {
        return Err(bad(
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        ));
    }
    Ok(wanted)
}

fn number(exchange: &Exchange<'_>, name: &'static str, default: u32) -> Result<u32, S3Error> {
    let Some(text) = exchange.header(name) else { return Ok(default) };
    let number = text.trim().parse().ok().filter(|number| i32::try_from(*number).is_ok());
    number.ok_or_else(|| {
        S3Error::with_message(S3Code::InvalidArgument, "The value cannot be read as a number.")
            .and("ArgumentName", name)
            .and("ArgumentValue", text)
    })
}

/// The parts behind the marker.
fn parts(info: &ObjectInfo, marker: u32, max: u32) -> Vec<AttributesPart> {
    (1..)
        .zip(&info.part_sizes)
        .skip(marker as usize)
        .take(max as usize)
        .map(|(number, size_bytes)| AttributesPart {
            number,
            size_bytes: *size_bytes,
            checksum: part_checksum(info, number),
        })
        .collect()
}

/// The checksum of a part, if there is one.
pub(crate) fn part_checksum(info: &ObjectInfo, number: u32) -> Option<Checksum> {
    let sums = info.part_checksums.as_ref()?;
    let value = sums.values.chunks_exact(sums.algorithm.len_bytes()).nth(number as usize - 1)?;
    Some(Checksum { algorithm: sums.algorithm, kind: ChecksumKind::FullObject, value: value.to_vec() })
}

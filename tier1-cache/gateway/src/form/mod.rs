//! POST object: an upload from a page's form, as its policy allows.
//!
//! The fields in front of the file are read first, in bounded memory; who made the form is proved by its signature
//! over the policy, and the policy is enforced in full, before the first byte of the file is kept. A form without
//! policy and signature is anybody's, and may do what anybody may.

mod file;
pub(crate) mod multipart;
pub(crate) mod policy;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use fallthrough_bucket::{BucketError, Engine, PutOutcome, PutRequest};
use fallthrough_object::{Body, BodyError, Key, Tag, Timestamp};
use fallthrough_wire::conditions::WriteConditions;
use fallthrough_wire::digest::{DEFAULT_CHECKSUM, Digests, Promises};
use fallthrough_wire::headers::meta_of_request;
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::FormClaim;
use fallthrough_wire::tags::OBJECT_TAGS_MAX;
use fallthrough_wire::uri::{encode_path, encode_query};
use fallthrough_wire::xml::PostAnswer;
use fallthrough_wire::{S3Code, S3Error};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::exchange::Exchange;
use crate::given::given_by_request;
use crate::outgoing::Outgoing;
use crate::patience::{Patience, Waiting};
use crate::refusal::{Refusal, body_answer};
use crate::report::Reported;
use crate::tagging;
use crate::upload::{PUT_BYTES_MAX, content_length, content_md5, given};
use file::{FileStream, Promised};
use multipart::{Came, Delimiter, FIELDS_BYTES_MAX, FieldsReader, FileReader};
use policy::{Lengths, Policy};

/// Fields that ask for what is not offered.
const REFUSED_FIELDS: [&str; 2] = ["x-amz-server-side-encryption", "x-amz-object-lock-"];
/// Fields that become headers of the object.
const CONTENT_FIELDS: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];

/// A form up to its file.
#[derive(Debug)]
pub(crate) struct Form {
    /// Names in lower case, each once.
    fields: Vec<(String, String)>,
    first: Bytes,
    delimiter: Delimiter,
}

impl Form {
    /// Reads the fields of a form.
    ///
    /// # Errors
    /// `PreconditionFailed` if the request is no form; `MissingContentLength`, `EntityTooLarge`; what is wrong with
    /// the form.
    ///
    /// # Cancellation
    /// Nothing is kept.
    pub(crate) async fn read(
        parts: &Parts,
        body: &mut Option<Incoming>,
        patience: Patience,
    ) -> Result<Self, S3Error> {
        let delimiter = Delimiter::of(&parts.headers)?;
        let length_bytes = content_length(&parts.headers)?;
        // The form around the file is a few kilobytes.
        if length_bytes > PUT_BYTES_MAX + 4 * FIELDS_BYTES_MAX as u64 {
            return Err(S3Error::new(S3Code::EntityTooLarge)
                .and("ProposedSize", length_bytes.to_string())
                .and("MaxSizeAllowed", PUT_BYTES_MAX.to_string()));
        }
        let body = body.as_mut().ok_or(S3Code::InternalError)?;
        let mut reader = FieldsReader::new(delimiter.clone());
        let mut waiting = Waiting::new(patience);
        let came = loop {
            let piece = poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => waiting.poll_over(cx).map(|()| Err(BodyError::Stalled)),
                Poll::Ready(Some(Ok(frame))) => {
                    let piece = frame.into_data().unwrap_or_default();
                    waiting.came(piece.len());
                    Poll::Ready(Ok(Some(piece)))
                }
                Poll::Ready(Some(Err(_))) => Poll::Ready(Err(BodyError::Incomplete)),
                Poll::Ready(None) => Poll::Ready(Ok(None)),
            });
            let piece = piece.await.map_err(|error| body_answer(&error))?;
            let piece = piece.ok_or_else(|| S3Error::new(S3Code::MalformedPostRequest))?;
            match reader.feed(&piece)? {
                Came::Part => {}
                Came::File(fields) => break fields,
                Came::End => return Err(S3Code::IncorrectNumberOfFilesInPostRequest.into()),
            }
        };
        let mut form = Self { fields: Vec::with_capacity(came.fields.len()), first: came.rest, delimiter };
        for (name, value) in came.fields {
            let name = name.to_ascii_lowercase();
            if form.get(&name).is_some() {
                return Err(S3Error::with_message(
                    S3Code::InvalidArgument,
                    "A field is given more than once.",
                )
                .and("ArgumentName", name));
            }
            form.fields.push((name, value));
        }
        form.name_after_file(&came.filename);
        Ok(form)
    }

    /// Puts the file's name into the key, where the form asks for that. What is checked is what comes of it.
    fn name_after_file(&mut self, filename: &str) {
        let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        if let Some((_, key)) = self.fields.iter_mut().find(|(name, _)| name == "key") {
            *key = key.replace("${filename}", last);
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &'static str) -> Result<&str, S3Error> {
        self.get(name).ok_or_else(|| {
            let message = format!(
                "Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields."
            );
            S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", name)
        })
    }

    /// Who the form claims to be from, with the policy that the claim signs; `None`: from anybody.
    ///
    /// # Errors
    /// `InvalidArgument` for half a claim: it is never taken for none.
    pub(crate) fn claim(&self) -> Result<Option<(FormClaim<'_>, &str)>, S3Error> {
        let any = |names: &[&str]| names.iter().any(|name| self.get(name).is_some());
        let v4 = any(&["x-amz-algorithm", "x-amz-credential", "x-amz-signature"]);
        let v2 = any(&["awsaccesskeyid", "signature"]);
        let claim = match (v4, v2, self.get("policy").is_some()) {
            (false, false, false) => return Ok(None),
            (true, true, _) => {
                let message = "Only one auth mechanism allowed.";
                return Err(S3Error::with_message(S3Code::InvalidArgument, message));
            }
            (false, true, _) => FormClaim::V2 {
                access_key: self.required("awsaccesskeyid")?,
                signature: self.required("signature")?,
            },
            (_, false, _) => FormClaim::V4 {
                algorithm: self.required("x-amz-algorithm")?,
                credential: self.required("x-amz-credential")?,
                date: self.required("x-amz-date")?,
                signature: self.required("x-amz-signature")?,
            },
        };
        Ok(Some((claim, self.required("policy")?)))
    }

    /// How long the file may be.
    fn lengths(&self, bucket: &str, now: Timestamp) -> Result<Lengths, S3Error> {
        let limits = match self.get("policy") {
            None => Lengths { min: 0, max: u64::MAX },
            Some(policy) => Policy::parse(policy)?.check(&self.fields, bucket, now)?,
        };
        Ok(Lengths { max: limits.max.min(PUT_BYTES_MAX), ..limits })
    }

    /// The fields that would be headers of a PUT.
    fn headers(&self) -> Result<HeaderMap, S3Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.fields {
            let name = match name.as_str() {
                "acl" => "x-amz-acl",
                "content-md5" => "content-md5",
                "if-none-match" => "if-none-match",
                name if CONTENT_FIELDS.contains(&name) || name.starts_with("x-amz-") => name,
                _ => continue,
            };
            let bad = || {
                S3Error::with_message(S3Code::InvalidArgument, "The field cannot stand in a header.")
                    .and("ArgumentName", name)
            };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            headers.insert(key, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
        }
        Ok(headers)
    }

    /// The tags that the form gives, if it gives some.
    ///
    /// # Errors
    /// What cannot be read, and fields that ask for what is not offered.
    fn tags(&self) -> Result<Option<Vec<Tag>>, S3Error> {
        if let Some((name, _)) = self
            .fields
            .iter()
            .find(|(name, _)| REFUSED_FIELDS.iter().any(|refused| name.starts_with(refused)))
        {
            return Err(S3Error::new(S3Code::NotImplemented).and("Header", name.as_str()));
        }
        match self.get("x-amz-storage-class") {
            None | Some("STANDARD") => {}
            Some(_) => return Err(S3Code::InvalidStorageClass.into()),
        }
        self.get("tagging").map(|document| tagging::read(document.as_bytes(), OBJECT_TAGS_MAX)).transpose()
    }
}

/// Stores the file of a form whose sender may write. `now`: when its policy must still hold.
///
/// Dropping the future before the commit leaves nothing.
pub(crate) async fn object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    form: Form,
    body: &mut Option<Incoming>,
    now: Timestamp,
    patience: Patience,
) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    let named = form.required("key")?;
    let lengths = form.lengths(bucket.name.as_str(), now)?;
    let key = Key::parse(named).map_err(|why| match why.len_bytes {
        0 => S3Error::with_message(S3Code::InvalidArgument, "The key is empty.").and("ArgumentName", "key"),
        len => S3Error::new(S3Code::KeyTooLong)
            .and("Size", len.to_string())
            .and("MaxSizeAllowed", Key::MAX_BYTES.to_string()),
    })?;
    let headers = form.headers()?;
    let tags = form.tags()?;
    let mut attributes = given_by_request(exchange, &headers, engine).await?;
    if let Some(tags) = tags {
        attributes.tags = tags;
    }
    let meta = meta_of_request(&headers).map_err(S3Error::from)?;
    let mut sums = headers.clone();
    let others: Vec<HeaderName> =
        sums.keys().filter(|name| !name.as_str().starts_with("x-amz-checksum-")).cloned().collect();
    others.iter().for_each(|name| drop(sums.remove(name)));
    sums.remove("x-amz-checksum-algorithm");
    let promises = Promises::of_request(&sums, &PayloadMode::Unsigned).map_err(S3Error::from)?;
    let mut digests = promises.needs(&[]).map_err(S3Error::from)?;
    let mut given = given(&promises, &[]);
    if given.is_empty() {
        digests = digests.and(DEFAULT_CHECKSUM);
        given.push(DEFAULT_CHECKSUM);
    }
    let promised = Promised { lengths, digests: Digests::new(digests), given, promises };
    let content_md5 = content_md5(&headers)?;
    let file = FileReader::new(form.delimiter.clone());
    let incoming = body.take().ok_or(S3Code::InternalError)?;
    let (stream, verdict) = FileStream::new(form.first.clone(), incoming, file, promised, patience);
    let request = PutRequest {
        key: key.clone(),
        meta,
        attributes,
        body: Body::Stream(Box::pin(stream)),
        length_bytes: None,
        content_md5,
        checksums: Arc::clone(&verdict.checksums),
        conditions: WriteConditions::from_headers(&headers)?,
    };
    let ended = Box::pin(engine.put(bucket, &exchange.caller, request)).await;
    *body = verdict.unread();
    let outcome = ended.map_err(|error| match (error, verdict.refused.get()) {
        (BucketError::BadBody(_), Some(answer)) => Refusal::from(answer.clone()),
        (error, _) => Refusal::from(error),
    })?;
    let path = exchange.parts.uri.path().trim_end_matches('/');
    let location = exchange.url_of(&format!("{path}/{}", encode_path(key.as_str())));
    Ok(answer(location, &form, bucket.name.as_str(), &key, &outcome).into())
}

/// What the form asks to be answered.
fn answer(
    location: String,
    form: &Form,
    bucket: &str,
    key: &Key,
    outcome: &PutOutcome,
) -> Response<Outgoing> {
    let etag = outcome.info.etag.as_ref().map(ToString::to_string).unwrap_or_default();
    let redirect = form.get("success_action_redirect").or(form.get("redirect"));
    let redirect = redirect.and_then(|url| redirect_to(url, bucket, key, &etag));
    let (status, body) = match (&redirect, form.get("success_action_status")) {
        (Some(_), _) => (StatusCode::SEE_OTHER, Outgoing::empty()),
        (None, Some("200")) => (StatusCode::OK, Outgoing::empty()),
        (None, Some("201")) => {
            let answer = PostAnswer { location: &location, bucket, key: key.as_str(), etag: &etag };
            (StatusCode::CREATED, Outgoing::bytes(Bytes::from(answer.to_xml())))
        }
        // Whatever else is asked for: as S3.
        (None, _) => (StatusCode::NO_CONTENT, Outgoing::empty()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status == StatusCode::CREATED {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    } else if status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, text) in [(ETAG, etag), (LOCATION, redirect.unwrap_or(location))] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    response
}

/// Where a browser is sent with what became of its upload; `None` if that is no address of a page.
fn redirect_to(url: &str, bucket: &str, key: &Key, etag: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    // A fragment is not kept by this parser, and would swallow what is appended.
    let plain = web && !url.contains('#') && url.bytes().all(|c| c.is_ascii_graphic());
    let separator = if url.contains('?') { '&' } else { '?' };
    plain.then(|| {
        let (key, etag) = (encode_query(key.as_str()), encode_query(etag));
        format!("{url}{separator}bucket={bucket}&key={key}&etag={etag}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_get_told_and_nothing_else_is_followed() {
        let key = Key::parse("a b&c").unwrap();
        let rows = [
            ("http://a.test/ok", Some("http://a.test/ok?bucket=photos&key=a%20b%26c&etag=%22e%22")),
            ("https://a.test/?x=y", Some("https://a.test/?x=y&bucket=photos&key=a%20b%26c&etag=%22e%22")),
            ("javascript:alert(1)", None),
            ("/relative", None),
            ("http://a.test/\r\nSet-Cookie: x", None),
            ("", None),
        ];
        for (url, want) in rows {
            assert_eq!(redirect_to(url, "photos", &key, "\"e\"").as_deref(), want, "{url}");
        }
    }
}

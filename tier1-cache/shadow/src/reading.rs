//! The table of the origin contract: from status, headers and error document to what the answer means.

use fallthrough_object::{Body, Mutant, Timestamp, planted};
use http::StatusCode;

use crate::answer::RawAnswer;
use crate::answer_headers as headers;
use crate::error_body::ErrorBody;
use crate::outcome::{Asked, Dialect, Expected, Found, Outcome};

impl Outcome {
    /// Reads an answer by the contract.
    ///
    /// The body of an object is passed on untouched; that of an error answer is read here for its code, at
    /// most 64 KiB and for at most 5 s. `now` serves dates in headers. Never fails: whatever the contract
    /// does not allow is [`Outcome::Unacceptable`].
    ///
    /// # Cancellation
    /// Dropping the future ends the request.
    pub async fn of(answer: RawAnswer, asked: Asked, dialect: Dialect, now: Timestamp) -> Self {
        match answer.status.as_u16() {
            200 | 206 => {
                object(answer, asked, dialect, now).unwrap_or_else(|reason| Self::Unacceptable { reason })
            }
            304 if asked.conditional => match headers::meta(&answer.headers) {
                Ok(meta) => Self::NotModified { freshness: headers::freshness(&answer.headers, now), meta },
                Err(reason) => Self::Unacceptable { reason },
            },
            412 if asked.conditional => Self::Changed,
            416 if asked.range => {
                let size_bytes = headers::content_range(&answer.headers).and_then(|range| range.size_bytes);
                Self::RangeNotSatisfiable { size_bytes }
            }
            429 | 503 => Self::Busy { retry_after: headers::retry_after(&answer.headers, now) },
            405 | 501 => Self::NotOffered,
            500 if planted(Mutant::ServerErrorIsAbsence) => Self::Absent { ttl: None },
            status @ 500.. => Self::Failing { status },
            301..=303 | 307 | 308 | 400..=499 => refusal(answer, asked, dialect, now).await,
            status => Self::Unacceptable { reason: format!("status {status}") },
        }
    }
}

fn object(
    answer: RawAnswer,
    asked: Asked,
    dialect: Dialect,
    now: Timestamp,
) -> Result<Outcome, headers::Refusal> {
    let RawAnswer { status, headers: map, body } = answer;
    let length = headers::content_length(&map);
    let (range, size_bytes, expected) = if status == StatusCode::PARTIAL_CONTENT {
        if !asked.range {
            return Err("status 206 to a request for the whole".into());
        }
        let part = headers::content_range(&map).ok_or("status 206 without a usable Content-Range")?;
        let range = part.range.ok_or("status 206 without a usable Content-Range")?;
        if !asked.head && length.is_some_and(|length| length != range.len()) {
            return Err("status 206 whose Content-Length and Content-Range contradict each other".into());
        }
        // Digests in these headers are those of the whole object, not of this part.
        let expected = Expected { length_bytes: Some(range.len()), ..Expected::default() };
        (Some(range), part.size_bytes, expected)
    } else {
        let expected = headers::expected(&map, dialect)?;
        (None, length, if planted(Mutant::DigestHeaderIgnored) { Expected::default() } else { expected })
    };
    let mut meta = headers::meta(&map)?;
    if matches!(dialect, Dialect::Http { .. }) && meta.content_type.is_none() {
        meta.content_type = Some("application/octet-stream".into());
    }
    let mut expected = expected;
    if asked.head {
        expected.length_bytes = None;
    }
    Ok(Outcome::Found(Box::new(Found {
        etag: headers::etag(&map),
        last_modified: headers::last_modified(&map),
        size_bytes,
        range,
        parts_count: headers::parts_count(&map),
        tags_count: headers::tags_count(&map),
        meta,
        expected,
        freshness: headers::freshness(&map, now),
        body: if asked.head { Body::empty() } else { Body::Stream(body) },
    })))
}

/// Statuses from 300 to 499 that are no answer to what was asked.
async fn refusal(answer: RawAnswer, asked: Asked, dialect: Dialect, now: Timestamp) -> Outcome {
    let RawAnswer { status, headers: map, body } = answer;
    let ttl = headers::freshness(&map, now);
    let ttl = if ttl.do_not_keep { Some(std::time::Duration::ZERO) } else { ttl.fresh_for };
    match dialect {
        Dialect::Http { absent_on_403 } => match status.as_u16() {
            404 | 410 => Outcome::Absent { ttl },
            403 if absent_on_403 => Outcome::Absent { ttl: None },
            status => http_refusal(status),
        },
        Dialect::S3 { absent_on_403 } => {
            let absent_on_403 = absent_on_403 && !asked.tagging;
            let mut said = ErrorBody::read(body).await;
            // HEAD has no body; some providers put the code into a header.
            for name in ["x-amz-error-code", "x-minio-error-code"] {
                let told = map.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
                said.code = said.code.or(told);
            }
            let region = map.get("x-amz-bucket-region").and_then(|v| v.to_str().ok()).map(str::to_owned);
            said.region = region.filter(|r| r.len() <= 64).or(said.region);
            if asked.part && status == StatusCode::BAD_REQUEST && names_no_part(&said, asked) {
                return Outcome::RangeNotSatisfiable { size_bytes: None };
            }
            let retry_after = headers::retry_after(&map, now);
            match s3_code(&said) {
                Some(Told::Busy) => Outcome::Busy { retry_after },
                Some(Told::Failing) => Outcome::Failing { status: status.as_u16() },
                Some(Told::Archived) => Outcome::Archived,
                Some(Told::Mend(mend)) => Outcome::Misconfigured { mend },
                None => match s3_refusal(status.as_u16(), &said, ttl, absent_on_403) {
                    Outcome::Absent { ttl } if asked.head && said.code.is_none() => {
                        Outcome::AbsentUnproven { ttl, forbidden: status == StatusCode::FORBIDDEN }
                    }
                    outcome => outcome,
                },
            }
        }
    }
}

/// Whether a 400 says that the object has fewer parts. An answer to HEAD has no body to say it in.
fn names_no_part(said: &ErrorBody, asked: Asked) -> bool {
    match said.code.as_deref() {
        Some(code) => matches!(code, "InvalidPart" | "InvalidPartNumber"),
        None => asked.head,
    }
}

fn http_refusal(status: u16) -> Outcome {
    let misconfigured = |mend: &str| Outcome::Misconfigured { mend: mend.to_owned() };
    match status {
        300..=399 => misconfigured(
            "the origin redirects, and redirects are not followed: set the shadow's endpoint to where it points",
        ),
        400 | 422 => Outcome::Invalid,
        401 => {
            misconfigured("the origin wants credentials (401): set them for the shadow, or check those set")
        }
        403 => misconfigured(
            "the origin refuses access (403): check the shadow's credentials; if it hides missing keys so, \
             set treat-403-as = \"absent\"",
        ),
        407 => misconfigured("a proxy in front of the origin wants credentials (407)"),
        408 | 425 => Outcome::Failing { status },
        status => Outcome::Unacceptable { reason: format!("status {status}") },
    }
}

fn s3_refusal(
    status: u16,
    said: &ErrorBody,
    ttl: Option<std::time::Duration>,
    absent_on_403: bool,
) -> Outcome {
    let code = said.code.as_deref().unwrap_or("no code");
    let misconfigured = |mend: String| Outcome::Misconfigured { mend };
    match status {
        // Whether key or bucket is missing stands in the body: a body that broke has not said that it is the key.
        404 | 410 if said.cut => Outcome::Failing { status },
        404 | 410 => Outcome::Absent { ttl },
        403 if absent_on_403 && !said.cut => Outcome::Absent { ttl: None },
        403 if said.cut => Outcome::Failing { status },
        401 | 403 => misconfigured(format!(
            "the provider refuses access ({status}, {code}): check the shadow's credentials and their policy; \
             if it hides missing keys so, set treat-403-as = \"absent\""
        )),
        300..=399 => misconfigured(region_mend(
            said,
            "the provider redirects: the shadow's region or endpoint is wrong",
        )),
        400 => misconfigured(region_mend(
            said,
            &format!(
                "the provider does not understand the request (400, {code}): check the shadow's region and addressing"
            ),
        )),
        407 => misconfigured("a proxy in front of the provider wants credentials (407)".into()),
        408 | 409 | 425 => Outcome::Failing { status },
        status => Outcome::Unacceptable { reason: format!("status {status} ({code})") },
    }
}

fn region_mend(said: &ErrorBody, otherwise: &str) -> String {
    match &said.region {
        Some(region) if region.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') => {
            format!(
                "the bucket is in another region: set the shadow's region to \"{region}\" and the endpoint to that region's"
            )
        }
        Some(_) | None => otherwise.to_owned(),
    }
}

/// What an S3 code says more exactly than the status does.
enum Told {
    Busy,
    Failing,
    Archived,
    Mend(String),
}

/// Reads the code; `None` where the status says as much. Codes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
fn s3_code(said: &ErrorBody) -> Option<Told> {
    let mend = |text: &str| Some(Told::Mend(text.to_owned()));
    match said.code.as_deref()? {
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "ServiceUnavailable"
        | "BandwidthLimitExceeded" => Some(Told::Busy),
        "RequestTimeout" | "InternalError" | "OperationAborted" => Some(Told::Failing),
        "InvalidObjectState" => Some(Told::Archived),
        "NoSuchBucket" => {
            mend("the provider has no bucket of that name: check the shadow's name, region and endpoint")
        }
        "AllAccessDisabled" | "AccountProblem" => {
            mend("the provider has closed this bucket or account: ask the provider")
        }
        "SignatureDoesNotMatch" => {
            mend("the provider computes another signature: check the shadow's secret key and region")
        }
        "InvalidAccessKeyId" => {
            mend("the provider does not know the shadow's access key: check it, or make a new one")
        }
        "RequestTimeTooSkewed" => mend(
            "the provider's clock and ours differ by more than 15 minutes: set this machine's clock right",
        ),
        "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken" => {
            mend("the shadow's session token is no longer valid: give it new credentials")
        }
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => Some(Told::Mend(region_mend(
            said,
            "the shadow's region or endpoint is wrong for this bucket: set the bucket's own",
        ))),
        "InvalidBucketName" => {
            mend("the provider does not allow such a bucket name: check the shadow's name")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

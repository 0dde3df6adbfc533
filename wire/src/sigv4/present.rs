//! What a request presents: who it claims to be from, and the proof that is still to be checked.

use std::time::Duration;

use fallthrough_object::{Mutant, Timestamp, planted};
use http::header::{AUTHORIZATION, DATE, HOST};
use http::{HeaderMap, HeaderName, Method};

use super::canonical::{Canonical, EscapedSlash, has_escaped_slash};
use super::key::Scope;
use super::{ALGORITHM, AuthError, PRESIGN_SECS_MAX};
use crate::payload::PayloadMode;
use crate::uri::decode_plus;
use crate::{date, hex};

static X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
static X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// What the verifier insists on beyond the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPolicy {
    /// The only region accepted in a scope; `None` accepts any (some clients sign for `US` or `aws-global`).
    pub region: Option<String>,
    /// How far the client's clock may be off, either way.
    pub skew_max: Duration,
}

impl Default for VerifyPolicy {
    /// Any region, 15 minutes, as S3.
    fn default() -> Self {
        Self { region: None, skew_max: Duration::from_secs(15 * 60) }
    }
}

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthPlace {
    /// The Authorization header.
    Header,
    /// X-Amz-* parameters of the query: a presigned URL.
    Query,
    /// Fields of a POST form.
    Form,
}

/// A claim that is well-formed and in time, but not proved: look up the secret of [`Presented::access_key`],
/// then call [`Presented::verify`]. Borrows nothing from the request.
#[derive(Clone, Debug)]
pub struct Presented {
    pub(super) access_key: String,
    pub(super) scope: Scope,
    pub(super) place: AuthPlace,
    pub(super) payload: PayloadMode,
    pub(super) amz_date: String,
    pub(super) string_to_sign: String,
    /// The other reading of an escaped slash, if there is one.
    pub(super) string_to_sign_alternative: Option<String>,
    pub(super) signature: [u8; 32],
    /// A signature of version 2, which then counts instead. Only forms have one.
    pub(super) legacy: Option<[u8; 20]>,
}

/// The fields of an Authorization header or of a presigned query, as text.
pub(super) struct Fields<'a> {
    pub(super) place: AuthPlace,
    pub(super) credential: &'a str,
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
}

impl Presented {
    /// Reads what a request presents. `None`: it is anonymous.
    ///
    /// `raw_path` and `raw_query` (without `?`) are as they stand in the request line; `headers` holds Host,
    /// also where it came as `:authority`.
    ///
    /// # Errors
    /// [`AuthError`], all but `Mismatch`. A request with broken authentication is never anonymous.
    pub fn parse(
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &HeaderMap,
        now: Timestamp,
        policy: &VerifyPolicy,
    ) -> Result<Option<Self>, AuthError> {
        let raw_query = raw_query.unwrap_or("");
        let query = QueryAuth::read(raw_query)?;
        let request = Unsigned { method, raw_path, raw_query, headers, now, policy };
        match (only(headers, &AUTHORIZATION, "authorization")?, query) {
            (Some(_), Some(_)) => Err(AuthError::Ambiguous),
            (Some(header), None) => request.by_header(header).map(Some),
            (None, Some(query)) => request.by_query(&query).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The access key that the request claims.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The scope of its signature.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where the signature stands.
    pub fn place(&self) -> AuthPlace {
        self.place
    }

    /// How the body is protected. A presigned request without `x-amz-content-sha256` has an unsigned body.
    pub fn payload(&self) -> PayloadMode {
        self.payload
    }
}

/// A request before anything is known about it.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a Method,
    pub(super) raw_path: &'a str,
    pub(super) raw_query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) now: Timestamp,
    pub(super) policy: &'a VerifyPolicy,
}

impl Unsigned<'_> {
    fn by_header(&self, header: &str) -> Result<Presented, AuthError> {
        let fields = authorization_fields(header)?;
        let amz_date = self.request_date()?;
        let at = date::parse_amz(&amz_date).ok_or(AuthError::BadDate)?;
        let payload = only(self.headers, &X_AMZ_CONTENT_SHA256, "x-amz-content-sha256")?
            .ok_or(AuthError::NoPayloadHash)?;
        let presented = self.present(&fields, amz_date, payload)?;
        let skew = self.now.since(at).max(at.since(self.now));
        if skew > self.policy.skew_max && !planted(Mutant::SkewIgnored) {
            let server_time = date::format_iso(self.now);
            return Err(AuthError::Skewed {
                request_time: presented.amz_date,
                server_time,
                skew_max: self.policy.skew_max,
            });
        }
        Ok(presented)
    }

    fn by_query(&self, query: &QueryAuth) -> Result<Presented, AuthError> {
        let malformed = |what: &str| query_malformed(what.to_owned());
        let field = |value: &'_ Option<String>, name: &str| {
            value
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| malformed(&format!("{name} is missing")))
        };
        match field(&query.algorithm, "X-Amz-Algorithm")?.as_str() {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SigV4A),
            _ => return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
        }
        let (credential, signed_headers, signature) = (
            field(&query.credential, "X-Amz-Credential")?,
            field(&query.signed_headers, "X-Amz-SignedHeaders")?,
            field(&query.signature, "X-Amz-Signature")?,
        );
        let amz_date = field(&query.date, "X-Amz-Date")?;
        let at = date::parse_amz(&amz_date).ok_or_else(|| {
            malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        })?;
        let expires_secs = expiry(&field(&query.expires, "X-Amz-Expires")?)?;
        let fields = Fields {
            place: AuthPlace::Query,
            credential: &credential,
            signed_headers: &signed_headers,
            signature: &signature,
        };
        let header = only(self.headers, &X_AMZ_CONTENT_SHA256, "x-amz-content-sha256")?;
        let payload = query.payload.as_deref().or(header).unwrap_or("UNSIGNED-PAYLOAD");
        let presented = self.present(&fields, amz_date, payload)?;
        if at.since(self.now) > self.policy.skew_max {
            return Err(AuthError::NotYetValid);
        }
        let end = at.plus(Duration::from_secs(expires_secs));
        if self.now > end && !planted(Mutant::ExpiredAccepted) {
            let (expired_at, server_time) = (date::format_iso(end), date::format_iso(self.now));
            return Err(AuthError::Expired { expires_secs, expired_at, server_time });
        }
        Ok(presented)
    }

    fn present(&self, fields: &Fields<'_>, amz_date: String, payload: &str) -> Result<Presented, AuthError> {
        let (access_key, scope) = self.credential(fields, &amz_date)?;
        let signature = hex::decode32(fields.signature.as_bytes())
            .ok_or_else(|| fields.malformed("the signature must be 64 lower-case hex digits"))?;
        let signed_headers: Vec<&str> = fields.signed_headers.split(';').collect();
        self.check_signed_headers(fields, &signed_headers)?;
        let canonical = Canonical {
            method: self.method,
            raw_path: self.raw_path,
            raw_query: self.raw_query,
            headers: self.headers,
            signed_headers: &signed_headers,
            payload,
        };
        let string_to_sign_alternative = has_escaped_slash(self.raw_path)
            .then(|| canonical.string_to_sign(&amz_date, &scope, EscapedSlash::Decoded));
        Ok(Presented {
            access_key,
            place: fields.place,
            payload: PayloadMode::parse(payload)?,
            string_to_sign: canonical.string_to_sign(&amz_date, &scope, EscapedSlash::Kept),
            string_to_sign_alternative,
            scope,
            amz_date,
            signature,
            legacy: None,
        })
    }

    /// Splits `access-key/date/region/service/aws4_request` from its end: an access key may hold slashes.
    pub(super) fn credential(
        &self,
        fields: &Fields<'_>,
        amz_date: &str,
    ) -> Result<(String, Scope), AuthError> {
        let shape = || {
            fields.malformed(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"",
            )
        };
        let mut parts = fields.credential.rsplitn(5, '/');
        let mut next = || parts.next().ok_or_else(shape);
        let (terminal, service, region, day, access_key) = (next()?, next()?, next()?, next()?, next()?);
        if access_key.is_empty() || region.is_empty() || terminal != "aws4_request" {
            return Err(shape());
        }
        if service != "s3" {
            return Err(fields
                .malformed(&format!("incorrect service \"{service}\"; this endpoint belongs to \"s3\"")));
        }
        if amz_date.get(..8) != Some(day) {
            return Err(
                fields.malformed(&format!("the date \"{day}\" of the Credential is not that of {amz_date}"))
            );
        }
        if let Some(expected) = self.policy.region.as_ref().filter(|expected| *expected != region) {
            let what = format!("the region '{region}' is wrong; expecting '{expected}'");
            let region = Some(expected.clone());
            return Err(match fields.place {
                AuthPlace::Header => AuthError::HeaderMalformed { what, region },
                AuthPlace::Query | AuthPlace::Form => AuthError::QueryMalformed { what, region },
            });
        }
        let scope = Scope { date: day.to_owned(), region: region.to_owned(), service: service.to_owned() };
        Ok((access_key.to_owned(), scope))
    }

    /// Host and every `x-amz-*` header must be signed: what is not signed, anybody on the way may have added.
    fn check_signed_headers(&self, fields: &Fields<'_>, signed: &[&str]) -> Result<(), AuthError> {
        let in_order = signed.iter().zip(signed.iter().skip(1)).all(|(a, b)| a < b);
        let fit = signed.iter().all(|name| !name.is_empty() && !name.bytes().any(|c| c.is_ascii_uppercase()));
        if !in_order || !fit {
            return Err(fields.malformed("SignedHeaders must be sorted, distinct and in lower case"));
        }
        only(self.headers, &HOST, "host")?;
        let must = |name: &str| {
            (name.starts_with("x-amz-") && !planted(Mutant::UnsignedHeaderAccepted)) || name == HOST.as_str()
        };
        let mut names: Vec<String> = self
            .headers
            .keys()
            .map(|name| name.as_str())
            .filter(|name| must(name) && signed.binary_search(name).is_err())
            .map(str::to_owned)
            .collect();
        // Without a Host header in the request there is nothing in it to sign, but the list must name it.
        if signed.binary_search(&HOST.as_str()).is_err() && names.iter().all(|name| name != HOST.as_str()) {
            names.push(HOST.as_str().to_owned());
        }
        names.sort_unstable();
        if names.is_empty() { Ok(()) } else { Err(AuthError::NotSigned { names }) }
    }

    /// X-Amz-Date, or Date in either of its spellings, as `YYYYMMDDTHHMMSSZ`.
    fn request_date(&self) -> Result<String, AuthError> {
        if let Some(text) = only(self.headers, &X_AMZ_DATE, "x-amz-date")? {
            return Ok(text.to_owned());
        }
        let text = only(self.headers, &DATE, "date")?.ok_or(AuthError::BadDate)?;
        let at = date::parse_amz(text).or_else(|| date::parse_http(text)).ok_or(AuthError::BadDate)?;
        Ok(date::format_amz(at))
    }
}

impl Fields<'_> {
    pub(super) fn malformed(&self, what: &str) -> AuthError {
        let what = what.to_owned();
        match self.place {
            AuthPlace::Header => AuthError::HeaderMalformed { what, region: None },
            AuthPlace::Query | AuthPlace::Form => AuthError::QueryMalformed { what, region: None },
        }
    }
}

fn query_malformed(what: String) -> AuthError {
    AuthError::QueryMalformed { what, region: None }
}

fn expiry(text: &str) -> Result<u64, AuthError> {
    let (sign, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(query_malformed("X-Amz-Expires should be a number".to_owned()));
    }
    // What does not fit is too long.
    let secs = digits.parse().unwrap_or(u64::MAX);
    if !sign && (1..=PRESIGN_SECS_MAX).contains(&secs) { Ok(secs) } else { Err(AuthError::BadExpiry) }
}

fn authorization_fields(header: &str) -> Result<Fields<'_>, AuthError> {
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    match scheme {
        ALGORITHM => {}
        "AWS" => return Err(AuthError::SigV2),
        "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SigV4A),
        _ => return Err(AuthError::UnknownScheme),
    }
    let malformed = |what: &str| AuthError::HeaderMalformed { what: what.to_owned(), region: None };
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in rest.split(',') {
        let (name, value) =
            field.trim().split_once('=').ok_or_else(|| malformed("a field is not name=value"))?;
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(malformed("a field is unknown")),
        };
        if place.replace(value).is_some() {
            return Err(malformed("a field is given twice"));
        }
    }
    Ok(Fields {
        place: AuthPlace::Header,
        credential: credential.ok_or_else(|| malformed("Credential is missing"))?,
        signed_headers: signed_headers.ok_or_else(|| malformed("SignedHeaders is missing"))?,
        signature: signature.ok_or_else(|| malformed("Signature is missing"))?,
    })
}

/// The X-Amz-* parameters of a presigned URL, decoded.
#[derive(Default)]
struct QueryAuth {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    payload: Option<String>,
}

impl QueryAuth {
    /// `None` if the query holds no authentication. One parameter of it is enough to be held to all of it.
    fn read(raw_query: &str) -> Result<Option<Self>, AuthError> {
        let mut auth = Self::default();
        let (mut v2_key, mut v2_signature) = (false, false);
        for pair in raw_query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // An unreadable name is none of ours; whoever reads the query later refuses it.
            let Ok(name) = decode_plus(name) else { continue };
            let place = match &*name {
                "X-Amz-Algorithm" => &mut auth.algorithm,
                "X-Amz-Credential" => &mut auth.credential,
                "X-Amz-Date" => &mut auth.date,
                "X-Amz-Expires" => &mut auth.expires,
                "X-Amz-SignedHeaders" => &mut auth.signed_headers,
                "X-Amz-Signature" => &mut auth.signature,
                "X-Amz-Content-Sha256" => &mut auth.payload,
                "AWSAccessKeyId" => {
                    v2_key = true;
                    continue;
                }
                "Signature" => {
                    v2_signature = true;
                    continue;
                }
                _ => continue,
            };
            let value =
                decode_plus(value).map_err(|_| query_malformed(format!("{name} cannot be decoded")))?;
            if place.replace(value.into_owned()).is_some() {
                return Err(query_malformed(format!("{name} is given twice")));
            }
        }
        let present = auth.algorithm.is_some() || auth.credential.is_some() || auth.signature.is_some();
        match (present, v2_key && v2_signature) {
            (true, true) => Err(AuthError::Ambiguous),
            (true, false) => Ok(Some(auth)),
            (false, true) => Err(AuthError::SigV2),
            (false, false) => Ok(None),
        }
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    text: &'static str,
) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(if *name == AUTHORIZATION {
            AuthError::Ambiguous
        } else {
            AuthError::DuplicateHeader { name: text }
        });
    }
    match value.to_str() {
        Ok(value) => Ok(Some(value)),
        Err(_) if *name == AUTHORIZATION => Err(AuthError::UnknownScheme),
        Err(_) if text == "x-amz-date" || *name == DATE => Err(AuthError::BadDate),
        // A host or hash that is not ASCII matches nothing; the signature covers its bytes all the same.
        Err(_) => Ok(Some("")),
    }
}

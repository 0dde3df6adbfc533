//! Signing: for those who ask.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fallthrough_object::Timestamp;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method};

use super::canonical::{Canonical, EscapedSlash};
use super::key::{ChunkChain, Scope, SigningKey};
use super::{ALGORITHM, Credentials, PRESIGN_SECS_MAX};
use crate::payload::PayloadMode;
use crate::{date, hex, uri};

/// Headers that are signed where they are present, besides every `x-amz-*` one. Others may be changed on
/// their way by whoever passes them on.
const SIGNED_IF_PRESENT: [&str; 10] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-md5",
    "content-type",
    "host",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Why a request cannot be signed: always a mistake of the caller or of its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// There is no Host header, and it must be signed.
    #[error("the request has no host header")]
    NoHost,
    /// The raw path does not begin with `/`.
    #[error("the path does not begin with a slash")]
    NotAPath,
    /// The access key or the region holds what a header cannot.
    #[error("the access key or the region cannot stand in a header")]
    BadCredentials,
    /// A presigned URL lives 1 second to 7 days.
    #[error("a presigned url lives 1 to 604800 seconds, not {secs}")]
    BadExpiry {
        /// What was asked for.
        secs: u64,
    },
}

/// Signs requests with one access key for one region. Keeps the key of the day. Callable from any thread.
#[derive(Debug)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    service: String,
    today: Mutex<Option<(Scope, SigningKey)>>,
}

impl Signer {
    /// A signer for service `s3`.
    pub fn new(credentials: Credentials, region: impl Into<String>) -> Self {
        Self::for_service(credentials, region, "s3")
    }

    /// A signer for another service.
    pub fn for_service(
        credentials: Credentials,
        region: impl Into<String>,
        service: impl Into<String>,
    ) -> Self {
        Self { credentials, region: region.into(), service: service.into(), today: Mutex::new(None) }
    }

    /// The access key ID that it signs with.
    pub fn access_key(&self) -> &str {
        &self.credentials.access_key
    }

    /// Signs a request: adds `x-amz-date`, `x-amz-content-sha256` and `Authorization`, replacing what is there.
    ///
    /// `raw_path` and `raw_query` (without `?`) are as they will stand in the request line; `headers` holds
    /// Host already, and all `x-amz-*` headers. The [`ChunkChain`] signs the chunks, if `payload` has such.
    ///
    /// # Errors
    /// [`SignError`]; the headers are then unchanged but for the first two.
    pub fn sign_headers(
        &self,
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &mut HeaderMap,
        payload: PayloadMode,
        now: Timestamp,
    ) -> Result<ChunkChain, SignError> {
        let amz_date = date::format_amz(now);
        let payload = payload.header_value();
        check(raw_path, headers)?;
        headers.insert("x-amz-date", value(&amz_date)?);
        headers.insert("x-amz-content-sha256", value(&payload)?);
        headers.remove(AUTHORIZATION);
        let (scope, key) = self.key(&amz_date);
        let signed = signed_names(headers);
        let names: Vec<&str> = signed.iter().map(String::as_str).collect();
        let raw_query = raw_query.unwrap_or("");
        let canonical =
            Canonical { method, raw_path, raw_query, headers, signed_headers: &names, payload: &payload };
        let signature = key.sign(canonical.string_to_sign(&amz_date, &scope, EscapedSlash::Kept).as_bytes());
        let mut text = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature=",
            self.credentials.access_key,
            names.join(";"),
        );
        hex::push32(&mut text, &signature);
        headers.insert(AUTHORIZATION, value(&text)?);
        Ok(ChunkChain::new(key, amz_date, scope, signature))
    }

    /// Makes the query of a presigned URL: `raw_query` with the X-Amz-* parameters behind it, without `?`.
    ///
    /// `headers` are those that the request will carry: Host, and what else shall be bound (every `x-amz-*`
    /// header that the client will send must be among them). The payload is not signed.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn presign(
        &self,
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &HeaderMap,
        expires: Duration,
        now: Timestamp,
    ) -> Result<String, SignError> {
        let secs = expires.as_secs();
        if !(1..=PRESIGN_SECS_MAX).contains(&secs) {
            return Err(SignError::BadExpiry { secs });
        }
        check(raw_path, headers)?;
        let amz_date = date::format_amz(now);
        let (scope, key) = self.key(&amz_date);
        let signed = signed_names(headers);
        let names: Vec<&str> = signed.iter().map(String::as_str).collect();
        let mut query = raw_query.unwrap_or("").to_owned();
        if !query.is_empty() {
            query.push('&');
        }
        let credential = uri::encode_query(&format!("{}/{scope}", self.credentials.access_key));
        query.push_str(&format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={amz_date}\
             &X-Amz-Expires={secs}&X-Amz-SignedHeaders={}",
            uri::encode_query(&names.join(";")),
        ));
        let payload = "UNSIGNED-PAYLOAD";
        let canonical =
            Canonical { method, raw_path, raw_query: &query, headers, signed_headers: &names, payload };
        let signature = key.sign(canonical.string_to_sign(&amz_date, &scope, EscapedSlash::Kept).as_bytes());
        query.push_str("&X-Amz-Signature=");
        hex::push32(&mut query, &signature);
        Ok(query)
    }

    pub(super) fn key(&self, amz_date: &str) -> (Scope, SigningKey) {
        let date = amz_date.get(..8).unwrap_or(amz_date);
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        match &*today {
            Some((scope, key)) if scope.date == date => (scope.clone(), key.clone()),
            Some(_) | None => {
                let scope = Scope {
                    date: date.to_owned(),
                    region: self.region.clone(),
                    service: self.service.clone(),
                };
                let key = SigningKey::derive(&self.credentials.secret, &scope);
                *today = Some((scope.clone(), key.clone()));
                (scope, key)
            }
        }
    }
}

fn check(raw_path: &str, headers: &HeaderMap) -> Result<(), SignError> {
    if !raw_path.starts_with('/') {
        return Err(SignError::NotAPath);
    }
    if headers.contains_key(HOST) { Ok(()) } else { Err(SignError::NoHost) }
}

fn value(text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::BadCredentials)
}

fn signed_names(headers: &HeaderMap) -> Vec<String> {
    let signed = |name: &str| name.starts_with("x-amz-") || SIGNED_IF_PRESENT.contains(&name);
    let mut names: Vec<String> =
        headers.keys().map(|name| name.as_str()).filter(|name| signed(name)).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

//! Who may ask: signatures, and what else must hold before the origin is called.

use std::sync::Arc;

use fallthrough_object::Clock;
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Presented, SigningKeyCache, VerifyPolicy};
use fallthrough_wire::{S3Code, S3Error, Verified};
use http::HeaderMap;
use http::request::Parts;

/// A key a day and region; two days meet at midnight, and callers come from few regions.
const SIGNING_KEYS_KEPT: usize = 32;

/// The access keys that may ask. With none, everybody may.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) policy: VerifyPolicy,
    pub(crate) mounted_at: String,
    pub(crate) clock: Arc<dyn Clock>,
    keys: SigningKeyCache,
}

/// Who asks.
pub(crate) enum Caller {
    /// No credentials are configured.
    Anybody,
    /// The signature was verified.
    Signed(Box<Verified<()>>),
}

impl Caller {
    pub(crate) fn access_key(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Signed(verified) => Some(verified.access_key()),
        }
    }
}

impl Access {
    pub(crate) fn new(
        credentials: Vec<Credentials>,
        policy: VerifyPolicy,
        mounted_at: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { credentials, policy, mounted_at, clock, keys: SigningKeyCache::new(SIGNING_KEYS_KEPT) }
    }

    pub(crate) fn check(&self, parts: &Parts) -> Result<Caller, S3Error> {
        if self.credentials.is_empty() {
            return Ok(Caller::Anybody);
        }
        // What was signed is the path before the router that this service is nested in took its part of it.
        let path = [&self.mounted_at, parts.uri.path()].concat();
        let now = self.clock.now();
        let presented =
            Presented::parse(&parts.method, &path, parts.uri.query(), &parts.headers, now, &self.policy)?
                .ok_or(S3Code::AccessDenied)?;
        let known = self.credentials.iter().find(|known| known.access_key == presented.access_key());
        let secret = &known.ok_or(S3Code::InvalidAccessKeyId)?.secret;
        Ok(Caller::Signed(Box::new(presented.verify((), secret, Some(&self.keys))?)))
    }
}

/// A request of this kind has no body, whatever it says.
pub(crate) fn require_no_body(parts: &Parts, caller: &Caller) -> Result<(), S3Error> {
    let announced = parts.headers.contains_key(http::header::TRANSFER_ENCODING)
        || content_length(&parts.headers)?.is_some_and(|len| len > 0);
    if announced {
        return Err(S3Error::with_message(
            S3Code::InvalidRequest,
            "A request of this kind may not have a body.",
        ));
    }
    match caller {
        Caller::Anybody => Ok(()),
        Caller::Signed(verified) => match verified.payload() {
            PayloadMode::Unsigned => Ok(()),
            mode if mode == PayloadMode::of_bytes(b"") => Ok(()),
            _ => Err(S3Code::XAmzContentSha256Mismatch.into()),
        },
    }
}

/// Content-Length, if there is one.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, S3Error> {
    let Some(value) = headers.get(http::header::CONTENT_LENGTH) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| S3Error::with_message(S3Code::BadRequest, "Content-Length is not a number."))
}

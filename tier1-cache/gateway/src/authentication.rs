//! Who sends a request: decided once, before anything else is done with it.

use std::sync::Arc;

use fallthrough_bucket::{Caller, Engine};
use fallthrough_object::{Clock, TraceParent};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{AuthError, AuthPlace, Presented, PresentedV2, Verified, VerifyPolicy};
use fallthrough_wire::{S3Code, S3Error};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http::request::Parts;

use crate::access::Identity;
use crate::form::Form;
use crate::keys::{KeyCache, KnownKey, Principal};
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::telemetry::AuthFailure;

/// The header in which stores that fall through to each other count their number.
const HOP_HEADER: &str = "x-fallthrough-hops";
/// W3C Trace Context's header.
const TRACE_HEADER: &str = "traceparent";
/// As many as any number above: far past every limit, and safe to count on from.
const HOPS_MANY: u32 = 1000;

/// Who sends a request. Handlers take it, so none can be reached without the check.
#[derive(Debug)]
pub(crate) enum Sender {
    /// Nobody in particular: the request is not signed at all. How its body is protected.
    Anonymous(PayloadMode),
    /// The bearer of an access key, proved.
    Key(Box<Verified<Arc<Principal>>>),
}

impl Sender {
    /// For [`crate::access::decide`].
    pub(crate) fn identity(&self) -> Identity<'_> {
        match self {
            Self::Anonymous(_) => Identity::Anonymous,
            Self::Key(verified) => {
                let principal = verified.principal();
                Identity::Key { account: &principal.account, grants: principal.grants.as_deref() }
            }
        }
    }

    /// Whether the request was signed.
    pub(crate) fn is_signed(&self) -> bool {
        match self {
            Self::Anonymous(_) => false,
            Self::Key(_) => true,
        }
    }

    /// The account of a signed request.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Anonymous(_) => None,
            Self::Key(verified) => Some(&verified.principal().account),
        }
    }

    /// How the body is protected.
    pub(crate) fn payload(&self) -> PayloadMode {
        match self {
            Self::Anonymous(payload) => *payload,
            Self::Key(verified) => verified.payload(),
        }
    }

    /// Whether the signature stands in the query: a presigned URL.
    pub(crate) fn is_presigned(&self) -> bool {
        match self {
            Self::Anonymous(_) => false,
            Self::Key(verified) => verified.place() == AuthPlace::Query,
        }
    }

    /// The sender, as the engine needs to know it.
    pub(crate) fn caller(
        &self,
        peer: &Arc<str>,
        may_fill: bool,
        headers: &HeaderMap,
        id: &RequestId,
    ) -> Caller {
        let client = match self {
            Self::Anonymous(_) => Arc::clone(peer),
            Self::Key(verified) => Arc::clone(&verified.principal().client),
        };
        let (hops, trace) = (hops(headers), trace(headers));
        Caller { client, signed: self.is_signed(), may_fill, hops, request_id: id.shared(), trace }
    }
}

/// What is accepted as a signature.
#[derive(Clone, Debug)]
pub(crate) struct Signatures {
    /// Of version 4.
    pub(crate) v4: VerifyPolicy,
    /// Presigned URLs of version 2 as well, for single objects and parts.
    pub(crate) presigned_v2: bool,
}

/// What a request asks for, as far as it decides how it may be signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The bucket that the host names.
    pub(crate) host_bucket: Option<&'a str>,
    /// Whether version 2 signs all that selects what is done. It covers neither the host nor every parameter, so it is
    /// good for reading, writing and deleting one object alone, at addresses where everybody's objects have one name.
    pub(crate) fits_v2: bool,
    /// Whether the sender may sign at all.
    pub(crate) may_sign: bool,
}

/// Verifies a request. Unless it `may_sign`, one that claims to be from somebody is refused, whether or not it could
/// prove that: so nobody learns which keys there are.
///
/// # Errors
/// What S3 answers to a request whose authentication is broken, unknown, wrong or out of time; a broken one
/// is never taken for anonymous.
pub(crate) async fn authenticate(
    parts: &Parts,
    claim: Claim<'_>,
    keys: &KeyCache,
    engine: &Engine,
    clock: &dyn Clock,
    accepted: &Signatures,
) -> Result<Sender, Refusal> {
    let (uri, headers, now) = (&parts.uri, &parts.headers, clock.now());
    if accepted.presigned_v2 && claim.fits_v2 {
        let presented =
            PresentedV2::parse(&parts.method, uri.path(), uri.query(), headers, claim.host_bucket, now);
        if let Some(presented) = presented.map_err(refuse)? {
            let key = known(presented.access_key(), claim.may_sign, keys, engine, clock).await?;
            let verified = presented.verify(Arc::clone(&key.principal), &key.secret).map_err(refuse)?;
            return in_time(verified, &key, now);
        }
    }
    let presented = Presented::parse(&parts.method, uri.path(), uri.query(), headers, now, &accepted.v4);
    let Some(presented) = presented.map_err(refuse)? else {
        return Ok(Sender::Anonymous(payload_of_nobody(headers).map_err(Refusal::from)?));
    };
    prove(presented, claim.may_sign, keys, engine, clock).await
}

/// How the body of a request without a signature is protected: as it says itself, and by no signature.
///
/// # Errors
/// `AccessDenied` for chunks that are said to be signed; those of [`PayloadMode::parse`].
fn payload_of_nobody(headers: &HeaderMap) -> Result<PayloadMode, S3Error> {
    let Some(value) = headers.get("x-amz-content-sha256") else {
        // Some SDKs leave the header out of requests that they do not sign, and send the same body.
        let coded = headers.get_all(CONTENT_ENCODING).iter().any(|value| {
            let codings = value.to_str().unwrap_or_default().split(',');
            codings.map(str::trim).any(|coding| coding.eq_ignore_ascii_case("aws-chunked"))
        });
        let chunked = coded && headers.contains_key("x-amz-decoded-content-length");
        return Ok(if chunked { PayloadMode::UnsignedChunksWithTrailer } else { PayloadMode::Unsigned });
    };
    let mode = PayloadMode::parse(value.to_str().unwrap_or_default())?;
    if mode.has_signed_chunks() {
        let message = "The chunks of a request that is not signed cannot be signed.";
        return Err(S3Error::with_message(S3Code::AccessDenied, message));
    }
    Ok(mode)
}

/// Verifies a form, as [`authenticate`] does a request.
///
/// # Errors
/// As [`authenticate`].
pub(crate) async fn authenticate_form(
    form: &Form,
    may_sign: bool,
    keys: &KeyCache,
    engine: &Engine,
    clock: &dyn Clock,
    accepted: &Signatures,
) -> Result<Sender, Refusal> {
    let malformed = |error: S3Error| Refusal::for_auth(error, AuthFailure::Malformed);
    let Some((claim, signed)) = form.claim().map_err(malformed)? else {
        return Ok(Sender::Anonymous(PayloadMode::Unsigned));
    };
    let presented = Presented::of_form(claim, signed, clock.now(), &accepted.v4).map_err(refuse)?;
    prove(presented, may_sign, keys, engine, clock).await
}

async fn prove(
    presented: Presented,
    may_sign: bool,
    keys: &KeyCache,
    engine: &Engine,
    clock: &dyn Clock,
) -> Result<Sender, Refusal> {
    let key = known(presented.access_key(), may_sign, keys, engine, clock).await?;
    let verified =
        presented.verify(Arc::clone(&key.principal), &key.secret, Some(&keys.signing)).map_err(refuse)?;
    in_time(verified, &key, clock.now())
}

/// The key that a request claims to be signed with.
async fn known(
    id: &str,
    may_sign: bool,
    keys: &KeyCache,
    engine: &Engine,
    clock: &dyn Clock,
) -> Result<Arc<KnownKey>, Refusal> {
    if !may_sign {
        let message = "From other machines this server takes only requests that are not signed.";
        let error = S3Error::with_message(S3Code::AccessDenied, message);
        return Err(Refusal::for_auth(error, AuthFailure::Denied));
    }
    keys.get(id, engine, clock).await?.ok_or_else(|| {
        let error = S3Error::new(S3Code::InvalidAccessKeyId).and("AWSAccessKeyId", id);
        Refusal::for_auth(error, AuthFailure::UnknownKey)
    })
}

fn in_time(
    verified: Verified<Arc<Principal>>,
    key: &KnownKey,
    now: fallthrough_object::Timestamp,
) -> Result<Sender, Refusal> {
    // Only after the proof: whether a key has expired is nobody else's business.
    if key.expires.is_some_and(|expires| expires <= now) {
        let error = S3Error::with_message(S3Code::InvalidAccessKeyId, "The access key has expired.");
        return Err(Refusal::for_auth(error, AuthFailure::ExpiredKey));
    }
    Ok(Sender::Key(Box::new(verified)))
}

fn refuse(error: AuthError) -> Refusal {
    let reason = match &error {
        AuthError::Mismatch { .. } => AuthFailure::Signature,
        AuthError::Skewed { .. }
        | AuthError::Expired { .. }
        | AuthError::BadExpiry
        | AuthError::NotYetValid => AuthFailure::Time,
        AuthError::NotSigned { .. } => AuthFailure::UnsignedHeader,
        AuthError::Ambiguous
        | AuthError::SigV2
        | AuthError::SigV4A
        | AuthError::UnknownScheme
        | AuthError::HeaderMalformed { .. }
        | AuthError::QueryMalformed { .. }
        | AuthError::BadDate
        | AuthError::NoPayloadHash
        | AuthError::BadPayloadHash(_)
        | AuthError::DuplicateHeader { .. } => AuthFailure::Malformed,
    };
    Refusal::for_auth(error, reason)
}

/// How many fall-through stores the request has passed. What cannot be read counts as many: the header exists
/// to end loops.
fn hops(headers: &HeaderMap) -> u32 {
    match headers.get(HOP_HEADER) {
        None => 0,
        Some(value) => {
            let hops = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            hops.map_or(HOPS_MANY, |hops: u32| hops.min(HOPS_MANY))
        }
    }
}

/// The trace that the request belongs to. One that cannot be read, or of which there are several, is none.
fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(TRACE_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value.as_bytes()),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_that_cannot_be_read_count_as_many() {
        let rows =
            [("0", 0), ("3", 3), (" 4 ", 4), ("-1", HOPS_MANY), ("x", HOPS_MANY), ("4294967295", HOPS_MANY)];
        for (text, want) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(HOP_HEADER, http::HeaderValue::from_static(text));
            assert_eq!(hops(&headers), want, "{text}");
        }
        assert_eq!(hops(&HeaderMap::new()), 0);
    }
}

//! Presigned URLs of Signature Version 2, for single objects: boto3 makes them to this day, unless it is told otherwise.
//!
//! Rules: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html>, "Query string request
//! authentication alternative". Of the query, this signature covers only the parameters that select what is answered:
//! whoever accepts it must refuse operations that others select.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::{Mutant, Timestamp, planted};
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::{AuthError, Secret, Verified};
use crate::date;
use crate::payload::PayloadMode;
use crate::uri::{decode, decode_plus};

/// Parameters that are part of what is signed, in order.
const SUBRESOURCES: [&str; 31] = [
    "accelerate",
    "acl",
    "cors",
    "defaultObjectAcl",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
    "inventory",
];

/// How the body is protected, if anything says so.
const PAYLOAD_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// A claim that is well-formed and in time, but not proved, as [`super::Presented`] is for version 4.
#[derive(Clone, Debug)]
pub struct PresentedV2 {
    access_key: String,
    string_to_sign: String,
    signature: Vec<u8>,
    payload: PayloadMode,
}

impl PresentedV2 {
    /// Reads what a request presents. `None`: it is no presigned request of version 2.
    ///
    /// `raw_path` and `raw_query` (without `?`) are as they stand in the request line; `host_bucket` is the bucket that
    /// the Host names, if it names one.
    ///
    /// # Errors
    /// [`AuthError`], all but `Mismatch`.
    pub fn parse(
        method: &Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &HeaderMap,
        host_bucket: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Self>, AuthError> {
        let raw_query = raw_query.unwrap_or("");
        let Some((access_key, signature, expires)) = fields(raw_query)? else { return Ok(None) };
        if headers.contains_key(AUTHORIZATION) {
            return Err(AuthError::Ambiguous);
        }
        if ![Method::GET, Method::HEAD, Method::PUT, Method::DELETE].contains(method) {
            return Err(AuthError::SigV2);
        }
        // As every x-amz-* header it is signed, if it is there.
        let payload = match headers.get(&PAYLOAD_HASH).map(|value| value.to_str().unwrap_or("")) {
            Some(value) => PayloadMode::parse(value)?,
            None => PayloadMode::Unsigned,
        };
        if payload.has_signed_chunks() {
            return Err(AuthError::SigV2);
        }
        let malformed = |what: &str| AuthError::QueryMalformed { what: what.to_owned(), region: None };
        let digits = !expires.is_empty() && expires.bytes().all(|c| c.is_ascii_digit());
        let until = expires.parse().ok().filter(|_| digits);
        let until = Timestamp::from_unix_secs(until.ok_or_else(|| malformed("Expires is no time"))?);
        let signature = STANDARD.decode(&signature).map_err(|_| malformed("Signature is no base64"))?;
        if now >= until && !planted(Mutant::ExpiredAccepted) {
            let (expired_at, server_time) = (date::format_iso(until), date::format_iso(now));
            return Err(AuthError::Expired { expires_secs: 0, expired_at, server_time });
        }
        let text = |name: &HeaderName| headers.get(name).map_or("", |value| value.to_str().unwrap_or(""));
        let mut string_to_sign = format!(
            "{method}\n{}\n{}\n{expires}\n",
            text(&HeaderName::from_static("content-md5")),
            text(&CONTENT_TYPE)
        );
        push_amz_headers(&mut string_to_sign, headers, raw_query);
        if let Some(bucket) = host_bucket {
            string_to_sign.push('/');
            string_to_sign.push_str(bucket);
        }
        string_to_sign.push_str(raw_path);
        push_subresources(&mut string_to_sign, raw_query);
        Ok(Some(Self { access_key, string_to_sign, signature, payload }))
    }

    /// The access key that the request claims.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Checks the signature with the secret of [`PresentedV2::access_key`], which belongs to `principal`. The comparison
    /// takes the same time wherever the signatures differ.
    ///
    /// # Errors
    /// [`AuthError::Mismatch`].
    pub fn verify<P>(self, principal: P, secret: &Secret) -> Result<Verified<P>, AuthError> {
        let matches = bool::from(sign(secret, &self.string_to_sign).as_slice().ct_eq(&self.signature));
        if !matches && !planted(Mutant::SignatureUnchecked) {
            return Err(AuthError::Mismatch {
                string_to_sign: self.string_to_sign,
                access_key: self.access_key,
                signature: STANDARD.encode(&self.signature),
            });
        }
        Ok(Verified::by_v2(principal, self.access_key, secret, self.payload))
    }
}

fn sign(secret: &Secret, text: &str) -> [u8; 20] {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The query of a URL that is signed so, for `raw_path` (with the bucket in it) and no parameters that are signed: for
/// tests and tools.
pub fn presign_v2(
    access_key: &str,
    secret: &Secret,
    method: &Method,
    raw_path: &str,
    until: Timestamp,
) -> String {
    let expires = until.unix_secs();
    let signature = STANDARD.encode(sign(secret, &format!("{method}\n\n\n{expires}\n{raw_path}")));
    let encode = crate::uri::encode_query;
    format!("AWSAccessKeyId={}&Expires={expires}&Signature={}", encode(access_key), encode(&signature))
}

/// Access key, signature and end, if the query is one of version 2 and of no other.
fn fields(raw_query: &str) -> Result<Option<(String, String, String)>, AuthError> {
    let (mut key, mut signature, mut expires) = (None, None, None);
    for (name, value) in pairs(raw_query) {
        let place = match &*name {
            "AWSAccessKeyId" => &mut key,
            "Signature" => &mut signature,
            "Expires" => &mut expires,
            // Whoever reads version 4 refuses the mixture.
            "X-Amz-Algorithm" | "X-Amz-Credential" | "X-Amz-Signature" => return Ok(None),
            _ => continue,
        };
        let malformed = |what: String| AuthError::QueryMalformed { what, region: None };
        let value = decode(value).map_err(|_| malformed(format!("{name} cannot be decoded")))?;
        if place.replace(value.into_owned()).is_some() {
            return Err(malformed(format!("{name} is given twice")));
        }
    }
    match (key, signature) {
        (Some(key), Some(signature)) => Ok(Some((key, signature, expires.unwrap_or_default()))),
        _ => Ok(None),
    }
}

/// Names, decoded as whoever acts on them decodes them, and values as they came.
fn pairs(raw_query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let pairs = raw_query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A name that cannot be decoded is refused by who reads the query.
        (decode_plus(name).unwrap_or(Cow::Borrowed(name)), value)
    })
}

/// Every `x-amz-*` header, and parameter of the query: what a client moves from its headers there, it has signed as one.
fn push_amz_headers(out: &mut String, headers: &HeaderMap, raw_query: &str) {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-") {
            all.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).trim().to_owned()));
        }
    }
    for (name, value) in pairs(raw_query) {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") {
            all.push((name, decode(value).map_or_else(|_| value.to_owned(), Cow::into_owned)));
        }
    }
    // Stable: values of one name stay in the order in which they came.
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let values: Vec<&str> = same.iter().map(|(_, value)| value.as_str()).collect();
        out.push_str(&format!("{}:{}\n", same[0].0, values.join(",")));
    }
}

fn push_subresources(out: &mut String, raw_query: &str) {
    let mut signed: Vec<(Cow<'_, str>, &str)> =
        pairs(raw_query).filter(|(name, _)| SUBRESOURCES.contains(&&**name)).collect();
    signed.sort_unstable();
    let mut separator = '?';
    for (name, value) in signed {
        out.push(separator);
        separator = '&';
        out.push_str(&name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(&decode(value).map_or_else(|_| value.to_owned(), Cow::into_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_175_139_000_000);

    fn parse(
        method: &Method,
        path: &str,
        query: &str,
        host: Option<&str>,
    ) -> Result<Option<PresentedV2>, AuthError> {
        PresentedV2::parse(method, path, Some(query), &HeaderMap::new(), host, NOW)
    }

    /// The example of the manual.
    #[test]
    fn the_example_of_the_manual_is_accepted() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let query = "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";
        let presented = parse(&Method::GET, "/photos/puppy.jpg", query, Some("johnsmith")).unwrap().unwrap();
        assert_eq!(presented.string_to_sign, "GET\n\n\n1175139620\n/johnsmith/photos/puppy.jpg");
        assert_eq!(presented.access_key(), "AKIAIOSFODNN7EXAMPLE");
        assert!(presented.clone().verify((), &secret).is_ok());
        assert!(presented.verify((), &Secret::new("other")).is_err());
        let by_path = parse(&Method::GET, "/johnsmith/photos/puppy.jpg", query, None).unwrap().unwrap();
        assert!(by_path.verify((), &secret).is_ok());
    }

    #[test]
    fn what_is_signed_cannot_be_changed() {
        let secret = Secret::new("s");
        let until = Timestamp(NOW.0 + 60_000);
        let good = presign_v2("AK", &secret, &Method::GET, "/b/k", until);
        let verify = |method: &Method, path: &str, query: &str| {
            parse(method, path, query, None)
                .and_then(|presented| presented.unwrap().verify((), &secret).map(drop))
        };
        assert_eq!(verify(&Method::GET, "/b/k", &good), Ok(()));
        let longer = good.replace(&until.unix_secs().to_string(), "1999999999");
        let rows = [
            (Method::HEAD, "/b/k", good.clone()),
            (Method::PUT, "/b/k", good.clone()),
            (Method::DELETE, "/b/k", good.clone()),
            (Method::GET, "/b/k2", good.clone()),
            (Method::GET, "/b/k", longer),
            (Method::GET, "/b/k", format!("{good}&acl")),
            (Method::GET, "/b/k", format!("{good}&versionId=null")),
            (Method::GET, "/b/k", format!("{good}&response-content-type=text/html")),
            (Method::GET, "/b/k", format!("{good}&response-content-typ%65=text/html")),
            (Method::GET, "/b/k", format!("{good}&%76ersionId=null")),
            (Method::GET, "/b/k", format!("{good}&x-amz-meta-a=b")),
            (Method::GET, "/b/k", format!("{good}&x%2Damz-meta-a=b")),
        ];
        for (method, path, query) in rows {
            let got = verify(&method, path, &query);
            assert!(matches!(got, Err(AuthError::Mismatch { .. })), "{method} {path} {query}: {got:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-security-token", http::HeaderValue::from_static("t"));
        let with =
            PresentedV2::parse(&Method::GET, "/b/k", Some(&good), &headers, None, NOW).unwrap().unwrap();
        assert!(with.verify((), &secret).is_err(), "a header that was not signed");
        assert!(matches!(verify(&Method::POST, "/b/k", &good), Err(AuthError::SigV2)));
    }

    #[test]
    fn the_body_is_held_to_what_is_signed_of_it() {
        let query = presign_v2("AK", &Secret::new("s"), &Method::PUT, "/b/k", Timestamp(NOW.0 + 1000));
        let parse = |value: Option<&'static str>| {
            let value = value.map(http::HeaderValue::from_static);
            let headers = value.map(|value| (PAYLOAD_HASH, value)).into_iter().collect();
            PresentedV2::parse(&Method::PUT, "/b/k", Some(&query), &headers, None, NOW)
        };
        let plain = parse(None).unwrap().unwrap();
        assert_eq!(plain.verify((), &Secret::new("s")).unwrap().payload(), PayloadMode::Unsigned);
        let trailer = parse(Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER")).unwrap().unwrap();
        assert_eq!(trailer.payload, PayloadMode::UnsignedChunksWithTrailer);
        // There is no signature of version 4 that a chunk could be chained to.
        let signed = parse(Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"));
        assert!(matches!(signed, Err(AuthError::SigV2)));
        assert!(matches!(parse(Some("abc")), Err(AuthError::BadPayloadHash(_))));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let rows = [
            ("", None),
            ("AWSAccessKeyId=a", None),
            ("Signature=a&Expires=1", None),
            ("AWSAccessKeyId=a&Signature=AAAA&Expires=9&X-Amz-Signature=b", None),
            ("AWSAccessKeyId=a&Signature=AAAA", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=AAAA&Expires=", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=AAAA&Expires=-1", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=AAAA&Expires=1h", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=%zz&Expires=9999999999", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=~&Expires=9999999999", Some("malformed")),
            ("AWSAccessKeyId=a&AWSAccessKeyId=b&Signature=AAAA&Expires=9999999999", Some("malformed")),
            ("AWSAccessKeyId=a&Signature=AAAA&Expires=1175139000", Some("expired")),
        ];
        for (query, want) in rows {
            let got = match parse(&Method::GET, "/b/k", query, None) {
                Ok(None) => None,
                Ok(Some(_)) => Some("read"),
                Err(AuthError::QueryMalformed { .. }) => Some("malformed"),
                Err(AuthError::Expired { .. }) => Some("expired"),
                Err(other) => panic!("{query}: {other:?}"),
            };
            assert_eq!(got, want, "{query}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, http::HeaderValue::from_static("AWS a:b"));
        let query = presign_v2("AK", &Secret::new("s"), &Method::GET, "/b/k", Timestamp(NOW.0 + 1000));
        let got = PresentedV2::parse(&Method::GET, "/b/k", Some(&query), &headers, None, NOW);
        assert!(matches!(got, Err(AuthError::Ambiguous)));
    }
}

//! A bucket at some S3 provider as a shadow, signed or anonymous.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_object::{Addressing, Body, BucketName, Clock};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Signer};
use fallthrough_wire::{uri, xml};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue};

use crate::answer::{RawAnswer, ShadowError};
use crate::answer_headers::retry_after;
use crate::client::{Outbound, asking_headers, base_headers, request_headers};
use crate::endpoint::{Endpoint, SettingsError};
use crate::error_body::ErrorBody;
use crate::request::{ListQuery, ListedObject, ListedPage, Method, Request, Shadow};
use crate::write_request::WriteRequest;

/// A page of 1,000 keys of 1 KiB, each byte encoded as three, with all its XML, is below this.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Providers give no more than this, whatever is asked.
const LIST_KEYS_MAX: usize = 1000;
/// Pages that hold nothing new which are read on before giving up.
const EMPTY_PAGES_MAX: usize = 8;

/// Where a shadow bucket is and how it is asked.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// URL of the provider's endpoint, without the bucket.
    pub endpoint: String,
    /// The bucket's name there.
    pub bucket: BucketName,
    /// Its region, as signatures name it.
    pub region: String,
    /// How the bucket is named in URLs.
    pub addressing: Addressing,
    /// Access key and secret; `None` asks anonymously.
    pub credentials: Option<Credentials>,
}

/// A bucket at an S3 provider.
#[derive(Clone, Debug)]
pub struct S3Shadow {
    outbound: Outbound,
    endpoint: Endpoint,
    /// What stands before a key in a path: the bucket, or nothing where it is in the host's name.
    folder: String,
    signer: Option<Arc<Signer>>,
    clock: Arc<dyn Clock>,
}

impl S3Shadow {
    /// Checks the settings; asks nothing yet. `clock` dates the signatures.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        settings: S3Settings,
        outbound: &Outbound,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SettingsError> {
        let endpoint = Endpoint::parse(&settings.endpoint, outbound.policy())?;
        let (endpoint, folder) = match settings.addressing {
            Addressing::Path => (endpoint, format!("{}/", settings.bucket)),
            Addressing::VirtualHost => (endpoint.below(&settings.bucket)?, String::new()),
        };
        let region = settings.region;
        let signer = settings.credentials.map(|credentials| Arc::new(Signer::new(credentials, region)));
        let shadow = Self { outbound: outbound.clone(), endpoint, folder, signer, clock };
        let mut headers = base_headers(&shadow.endpoint).unwrap_or_default();
        shadow.sign(Method::Head, "/", None, &mut headers).map_err(|_| SettingsError::Credentials {
            reason: "access key and region must be plain text without spaces and line ends".into(),
        })?;
        Ok(shadow)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn sign(
        &self,
        method: Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &mut HeaderMap,
    ) -> Result<(), ShadowError> {
        let method = match method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        };
        self.sign_with(&method, raw_path, raw_query, headers, PayloadMode::of_bytes(b""))
    }

    fn sign_with(
        &self,
        method: &http::Method,
        raw_path: &str,
        raw_query: Option<&str>,
        headers: &mut HeaderMap,
        payload: PayloadMode,
    ) -> Result<(), ShadowError> {
        let Some(signer) = &self.signer else { return Ok(()) };
        let signed = signer.sign_headers(method, raw_path, raw_query, headers, payload, self.clock.now());
        signed.map(drop).map_err(|error| ShadowError::Malformed {
            reason: format!("the request cannot be signed: {error}"),
        })
    }

    /// One page as the provider gives it, before what was seen already is dropped.
    async fn page(
        &self,
        query: &ListQuery,
        token: Option<&str>,
        left: Duration,
    ) -> Result<xml::ListPage, ShadowError> {
        let path = self.endpoint.raw_path(self.folder.trim_end_matches('/'));
        let raw_query = list_query(query, token);
        let mut headers = asking_headers(&self.endpoint, query.hops, &query.request_id, query.trace)?;
        self.sign(Method::Get, &path, Some(&raw_query), &mut headers)?;
        let path_and_query = format!("{path}?{raw_query}");
        let answer = self.outbound.send(&self.endpoint, Method::Get, &path_and_query, headers, left).await?;
        if answer.status != 200 {
            let status = answer.status.as_u16();
            let retry_after = retry_after(&answer.headers, self.clock.now());
            let code = ErrorBody::read(answer.body).await.code;
            return Err(ShadowError::ListRefused { status, code, retry_after });
        }
        let document = collect(answer).await?;
        xml::parse_list_page(&document).map_err(|error| ShadowError::Malformed { reason: error.to_string() })
    }

    async fn new_page(&self, query: &ListQuery) -> Result<ListedPage, ShadowError> {
        let mut token: Option<String> = None;
        for _ in 0..EMPTY_PAGES_MAX {
            let page = self.page(query, token.as_deref(), query.timeout).await?;
            let next = page.next().map(str::to_owned);
            let page = checked(query, page)?;
            if !page.truncated || !page.objects.is_empty() || !page.prefixes.is_empty() {
                return Ok(page);
            }
            // A page of nothing but the prefix that `start_after` names: what follows it is on the next one.
            if next.is_none() || next == token {
                break;
            }
            token = next;
        }
        Err(ShadowError::Malformed { reason: "the list goes on without making progress".into() })
    }
}

fn list_query(query: &ListQuery, token: Option<&str>) -> String {
    let max_keys = query.max_keys.min(LIST_KEYS_MAX).to_string();
    // In the order of their names, as signatures want them.
    let pairs = [
        ("continuation-token", token),
        ("delimiter", query.delimiter.as_deref().filter(|d| !d.is_empty())),
        ("encoding-type", Some("url")),
        ("list-type", Some("2")),
        ("max-keys", Some(max_keys.as_str())),
        ("prefix", Some(query.prefix.as_str()).filter(|p| !p.is_empty())),
        ("start-after", Some(query.start_after.as_str()).filter(|s| !s.is_empty())),
    ];
    let given =
        pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", uri::encode_query((*value)?))));
    given.collect::<Vec<_>>().join("&")
}

/// Drops what is not after `start_after`, and refuses what is out of order or was not asked for.
pub(crate) fn checked(query: &ListQuery, page: xml::ListPage) -> Result<ListedPage, ShadowError> {
    let malformed = |reason: &str| ShadowError::Malformed { reason: reason.to_owned() };
    let names = || page.objects.iter().map(|o| o.key.as_str());
    let prefixes = || page.common_prefixes.iter().map(String::as_str);
    if !names().is_sorted_by(|a, b| a < b) || !prefixes().is_sorted_by(|a, b| a < b) {
        return Err(malformed("the list is not in the order of bytes"));
    }
    if names().chain(prefixes()).any(|name| !name.starts_with(&query.prefix)) {
        return Err(malformed("the list holds names outside of the prefix asked for"));
    }
    // A provider that ignores start-after would have every page begin again, for ever.
    if names().any(|name| name <= query.start_after.as_str()) && !query.start_after.is_empty() {
        return Err(malformed("the list begins before the key it was asked to begin after"));
    }
    let objects = page.objects.into_iter().map(|object| ListedObject {
        key: object.key,
        etag: object.etag,
        size_bytes: object.size_bytes,
        last_modified: object.last_modified,
    });
    let prefixes = page.common_prefixes.into_iter().filter(|prefix| *prefix > query.start_after);
    Ok(ListedPage { objects: objects.collect(), prefixes: prefixes.collect(), truncated: page.is_truncated })
}

async fn collect(answer: RawAnswer) -> Result<Vec<u8>, ShadowError> {
    let mut document = Vec::new();
    let mut body = answer.body;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| ShadowError::Malformed { reason: error.to_string() })?;
        if document.len() + piece.len() > LIST_BYTES_MAX {
            return Err(ShadowError::Malformed { reason: "the page is longer than a list can be".into() });
        }
        document.extend_from_slice(&piece);
    }
    Ok(document)
}

#[async_trait]
impl Shadow for S3Shadow {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        let mut headers = request_headers(&self.endpoint, &request)?;
        headers.insert("x-amz-checksum-mode", HeaderValue::from_static("ENABLED"));
        let path = self.endpoint.raw_path(&format!("{}{}", self.folder, request.key));
        let own = match request.part {
            _ if request.tagging => Some("tagging=".to_owned()),
            part => part.map(|number| format!("partNumber={number}")),
        };
        let query: Vec<_> = own.into_iter().chain(request.extras.raw_query()).collect();
        let query = (!query.is_empty()).then(|| query.join("&"));
        self.sign(request.method, &path, query.as_deref(), &mut headers)?;
        let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        self.outbound.send(&self.endpoint, request.method, &target, headers, request.header_timeout).await
    }

    /// Asks with ListObjectsV2. `timeout` is for the whole page, its body included.
    async fn list(&self, query: ListQuery) -> Result<ListedPage, ShadowError> {
        if query.max_keys == 0 {
            return Ok(ListedPage::default());
        }
        tokio::time::timeout(query.timeout, self.new_page(&query)).await.unwrap_or(Err(ShadowError::Timeout))
    }

    /// The body is signed where it is in memory; else its MD5 is, where that is known.
    async fn write(&self, request: WriteRequest) -> Result<RawAnswer, ShadowError> {
        let mut headers = asking_headers(&self.endpoint, request.hops, &request.request_id, None)?;
        request.guard.write(&mut headers)?;
        let sent = request.write.into_parts(&mut headers)?;
        let path = self.endpoint.raw_path(&format!("{}{}", self.folder, request.key));
        let payload = match &sent.body {
            Body::Bytes(bytes) => PayloadMode::of_bytes(bytes),
            Body::Stream(_) | Body::File(_) => PayloadMode::Unsigned,
        };
        self.sign_with(&sent.method, &path, sent.query.as_deref(), &mut headers, payload)?;
        let path_and_query = match &sent.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let body = match sent.body {
            Body::Bytes(bytes) if bytes.is_empty() => futures::stream::empty().boxed(),
            Body::Bytes(bytes) => futures::stream::once(std::future::ready(Ok(bytes))).boxed(),
            Body::Stream(pieces) => pieces,
            Body::File(_) => {
                return Err(ShadowError::Malformed {
                    reason: "a body is sent from memory or as a stream".into(),
                });
            }
        };
        self.outbound
            .send_body(&self.endpoint, sent.method, &path_and_query, headers, body, request.stall)
            .await
    }
}

#[cfg(test)]
mod tests {
    use fallthrough_object::SystemClock;

    use super::*;
    use crate::network::NetworkPolicy;

    fn shadow(endpoint: &str, bucket: &str, addressing: Addressing) -> Result<S3Shadow, SettingsError> {
        let settings = S3Settings {
            endpoint: endpoint.to_owned(),
            bucket: BucketName::parse(bucket).expect("a name"),
            region: "auto".to_owned(),
            addressing,
            credentials: Some(Credentials::new("AK", "hunter2")),
        };
        let outbound = Outbound::new(NetworkPolicy { allow_private: true })?;
        S3Shadow::new(settings, &outbound, Arc::new(SystemClock::new()))
    }

    #[test]
    fn a_bucket_is_named_in_the_path_or_in_the_host() {
        let at = |addressing| {
            let shadow = shadow("https://s3.example:8443/base", "old", addressing).expect("it can be used");
            let host = asking_headers(&shadow.endpoint, 0, "r", None).expect("plain")["host"].clone();
            let object = shadow.endpoint.raw_path(&format!("{}{}", shadow.folder, "a b/c"));
            let list = shadow.endpoint.raw_path(shadow.folder.trim_end_matches('/'));
            (host.to_str().expect("text").to_owned(), object, list)
        };
        let text = str::to_owned;
        let (path, host) = (at(Addressing::Path), at(Addressing::VirtualHost));
        assert_eq!(path, (text("s3.example:8443"), text("/base/old/a%20b/c"), text("/base/old")));
        assert_eq!(host, (text("old.s3.example:8443"), text("/base/a%20b/c"), text("/base/")));
    }

    #[test]
    fn a_host_that_has_no_names_below_it_is_refused_with_the_mend() {
        let refused = |endpoint, bucket| {
            let refused = shadow(endpoint, bucket, Addressing::VirtualHost).expect_err("it cannot be used");
            assert!(refused.to_string().contains("addressing = \"path\""), "{refused}");
        };
        refused("http://127.0.0.1:9900", "old");
        refused("http://[::1]:9900", "old");
        refused("https://s3.example", "www.example.com");
        // Without a certificate there is nothing to match.
        assert!(shadow("http://s3.example", "www.example.com", Addressing::VirtualHost).is_ok());
    }
}

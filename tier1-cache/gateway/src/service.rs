//! The life of one request: address, authentication, authorisation, operation, answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_bucket::{Bucket, BucketError, Engine, PublicAccess};
use fallthrough_object::{Clock, Entropy, Key, Monotonic};
use fallthrough_wire::sigv4::VerifyPolicy;
use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use futures::FutureExt;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_SECURITY_POLICY, EXPECT, HeaderName, ORIGIN, SERVER,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use crate::access::{Allowed, Denied, Place, decide};
use crate::address::{Address, Domains, host_of};
use crate::authentication::{Claim, Sender, Signatures, authenticate, authenticate_form};
use crate::blocks::BlockPool;
use crate::cors::Sharing;
use crate::document;
use crate::exchange::Exchange;
use crate::form::{self, Form};
use crate::front::{self, Fronts};
use crate::keys::KeyCache;
use crate::operation::{Need, Operation};
use crate::options::{GatewayOptions, Strangers};
use crate::outgoing::{Outgoing, Watch};
use crate::peer::Peer;
use crate::presigned::with_query_headers;
use crate::refusal::Refusal;
use crate::report::{Reported, write};
use crate::request_id::{RequestId, RequestIds};
use crate::routes::{Site, Sites};
use crate::s3s_front::S3sFront;
use crate::telemetry::Telemetry;
use crate::upload::Upload;
use crate::{
    acl, configuration, copy, cors, delete_objects, get, list, list_uploads, multipart, object_attributes,
    put, site, tagging, unparsed, unset, versions,
};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const X_AMZ_DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const X_AMZ_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");

/// What anybody may read is somebody's upload: it may show itself, and run nothing.
const ANONYMOUS_CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; sandbox",
);

/// What its owner has made a website, under a host that serves nothing else: it may use what is its own.
const WEBSITE_CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'self' 'unsafe-inline' data: blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
);

/// Largest request document of the operations that take one: what a hundred grants or fifty tags need, and more.
const DOCUMENT_BYTES_MAX: u64 = 512 * 1024;
/// A refused body that is no longer than this is read and thrown away, so that the connection can go on.
const DRAINED_BYTES_MAX: u64 = 1024 * 1024;
/// How long a refused client may take to send what is thrown away.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) options: GatewayOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) keys: KeyCache,
    pub(crate) sites: Sites,
    pub(crate) fronts: Fronts,
    domains: Domains,
    signatures: Signatures,
    ids: RequestIds,
    host_id: HeaderValue,
    blocks: Arc<BlockPool>,
    front: S3sFront,
}

/// What handlers read of a request that says in its query what others say in headers, of either version.
fn presigned_headers(parts: &Parts, query: &Query) -> Result<Option<Parts>, S3Error> {
    let is_presigned = query.has("X-Amz-Signature") || query.has("Signature");
    if is_presigned { with_query_headers(parts, query) } else { Ok(None) }
}

/// What is known of a request while it is handled, for its answer, metrics and log.
struct Seen {
    started: Monotonic,
    id: RequestId,
    operation: Operation,
    /// The request was signed and its signature verified.
    signed: bool,
    resource: String,
    /// Which pages may see the answer.
    sharing: Sharing,
    /// The answer belongs to a website.
    website: bool,
    /// The client waited for `100 Continue` and gets its answer instead.
    unasked: bool,
}

impl Service {
    pub(crate) fn new(
        engine: Engine,
        options: GatewayOptions,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        let ids = RequestIds::new(entropy);
        Self {
            keys: KeyCache::new(options.max_cached_keys, options.key_ttl),
            sites: Sites::new(&options.routes, &options.website_domains),
            fronts: Fronts::new(&options.fronts),
            domains: Domains::new(&options.domains),
            signatures: Signatures {
                v4: VerifyPolicy { region: options.signing_region.clone(), ..VerifyPolicy::default() },
                presigned_v2: options.presigned_v2,
            },
            host_id: ids.next().header(),
            ids,
            blocks: Arc::default(),
            front: S3sFront::new(engine.clone(), &options.region),
            telemetry: Arc::new(Telemetry::new()),
            engine,
            options,
            clock,
        }
    }

    /// Answers one request; never fails, and a panic in a handler is a 500.
    pub(crate) async fn answer(
        &self,
        peer: &Peer,
        smuggled: bool,
        request: Request<Incoming>,
    ) -> Response<Outgoing> {
        let (parts, body) = request.into_parts();
        let mut seen = Seen {
            started: self.clock.monotonic(),
            id: self.ids.next(),
            operation: Operation::Unknown,
            signed: false,
            resource: String::new(),
            sharing: Sharing::Open,
            website: false,
            unasked: false,
        };
        let handled =
            AssertUnwindSafe(self.handle(peer, smuggled, &parts, body, &mut seen)).catch_unwind().await;
        let result = handled.unwrap_or_else(|_| {
            self.telemetry.panics.increment(1);
            Err(S3Code::InternalError.into())
        });
        self.finish(&parts, seen, result)
    }

    async fn handle(
        &self,
        peer: &Peer,
        smuggled: bool,
        parts: &Parts,
        body: Incoming,
        seen: &mut Seen,
    ) -> Result<Reported, Refusal> {
        let waits = parts
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        // Nobody is asked for a body of no bytes.
        let is_empty = body.is_end_stream();
        let mut body = Some(body);
        let result = self.dispatch(peer, smuggled, parts, &mut body, seen).await;
        seen.unasked = waits && (is_empty || body.is_some());
        // A client that waits for `100 Continue` has sent nothing and will not.
        let sends_anyway = result.is_err() && !parts.headers.contains_key(EXPECT);
        if let Some(body) = body.filter(|_| sends_anyway) {
            drain(body).await;
        }
        result
    }

    async fn dispatch(
        &self,
        peer: &Peer,
        smuggled: bool,
        parts: &Parts,
        body: &mut Option<Incoming>,
        seen: &mut Seen,
    ) -> Result<Reported, Refusal> {
        check_framing(parts, smuggled)?;
        let host = host_of(parts).inspect_err(|_| seen.resource = parts.uri.path().to_owned())?;
        let site = self.sites.resolve(host, parts.uri.path());
        if let Some(site) = site.inspect_err(|_| seen.resource = parts.uri.path().to_owned())? {
            return self.site(peer, parts, &site, seen).await;
        }
        if let Some(response) = self.page(host, parts).await {
            seen.operation = Operation::Page;
            return Ok(response.into());
        }
        let address =
            self.domains.resolve(host, parts).inspect_err(|_| seen.resource = parts.uri.path().to_owned())?;
        seen.resource = resource(&address);
        if parts.method == Method::OPTIONS {
            seen.operation = Operation::Preflight;
            let bucket = self.bucket_if_any(&address).await?;
            return Ok(cors::preflight(parts, bucket.as_deref())?.into());
        }
        if parts.headers.contains_key(ORIGIN) {
            // A page has to see why it was refused, too. If the store fails, that is said further down.
            let bucket = self.bucket_if_any(&address).await.ok().flatten();
            seen.sharing = bucket.map(|bucket| Sharing::of(parts, &bucket)).unwrap_or_default();
        }
        let query = Query::parse(parts.uri.query().unwrap_or("")).map_err(S3Error::from)?;
        let told = presigned_headers(parts, &query)?;
        let told = told.as_ref().unwrap_or(parts);
        let operation = Operation::of(&parts.method, &address, &query, &told.headers)?;
        seen.operation = operation;
        let may_sign = peer.is_local || self.options.strangers == Strangers::AsOthers;
        let host_bucket = self.domains.bucket_of(host).map(str::to_ascii_lowercase);
        let fits_v2 = matches!(
            operation,
            Operation::GetObject
                | Operation::HeadObject
                | Operation::PutObject
                | Operation::UploadPart
                | Operation::DeleteObject
        );
        let claim = Claim { host_bucket: host_bucket.as_deref(), fits_v2, may_sign };
        let sender =
            authenticate(parts, claim, &self.keys, &self.engine, &*self.clock, &self.signatures).await?;
        if operation == Operation::PostObject {
            return self.post(peer, may_sign, parts, &query, &address, &sender, body, seen).await;
        }
        seen.signed = sender.is_signed();
        let exchange = self.authorise(peer, told, &query, &address, operation, &sender, &seen.id).await?;
        if let Some(bucket) = &exchange.bucket {
            seen.sharing = Sharing::of(parts, bucket);
        }
        self.perform(&exchange, body).await
    }

    /// An address of somebody's own: objects are read there, and nothing else is done.
    async fn site(
        &self,
        peer: &Peer,
        parts: &Parts,
        site: &Site,
        seen: &mut Seen,
    ) -> Result<Reported, Refusal> {
        seen.resource = parts.uri.path().to_owned();
        let address = Address::Bucket(site.bucket.clone());
        let operation = match parts.method {
            Method::GET => Operation::GetObject,
            Method::HEAD => Operation::HeadObject,
            Method::OPTIONS => {
                seen.operation = Operation::Preflight;
                let bucket = self.bucket_if_any(&address).await?;
                return Ok(cors::preflight(parts, bucket.as_deref())?.into());
            }
            _ => return Err(S3Code::MethodNotAllowed.into()),
        };
        seen.operation = operation;
        let may_sign = peer.is_local || self.options.strangers == Strangers::AsOthers;
        // A path is another object here than at the addresses of S3, and version 2 does not say at which it was meant.
        let claim = Claim { host_bucket: None, fits_v2: false, may_sign };
        let sender =
            authenticate(parts, claim, &self.keys, &self.engine, &*self.clock, &self.signatures).await?;
        seen.signed = sender.is_signed();
        // What stands in the query of a page is the page's own.
        let query = match sender.is_signed() {
            true => Query::parse(parts.uri.query().unwrap_or("")).map_err(S3Error::from)?,
            false => Query::default(),
        };
        let told = presigned_headers(parts, &query)?;
        let told = told.as_ref().unwrap_or(parts);
        let exchange = self.authorise(peer, told, &query, &address, operation, &sender, &seen.id).await?;
        if let Some(bucket) = &exchange.bucket {
            seen.sharing = Sharing::of(parts, bucket);
            seen.website = bucket.configuration.website.is_some();
        }
        if let Ok(key) = Key::parse(&[site.prefix.as_str(), &site.rest].concat()) {
            // A front has its own parameters, and knows no others.
            let query = Query::parse(parts.uri.query().unwrap_or("")).unwrap_or_default();
            let address = Address::Object(site.bucket.clone(), key);
            if let Some(answer) = Box::pin(self.fronted(&exchange.at(&address), &query)).await {
                return answer;
            }
        }
        Box::pin(site::serve(&exchange, &self.engine, &self.blocks, site)).await
    }

    /// The answer to a read of an address that stands for something; `None`: it stands for itself.
    async fn fronted(&self, exchange: &Exchange<'_>, query: &Query) -> Option<Result<Reported, Refusal>> {
        let Address::Object(bucket, key) = exchange.address else { return None };
        let front = self.fronts.of(bucket)?;
        let plan = front.plan(key.as_str(), query)?;
        Some(front::object(exchange, &self.engine, &self.blocks, &self.fronts, front, plan).await)
    }

    /// A form says who sends it in its fields, which have to be read first.
    #[expect(clippy::too_many_arguments, reason = "a request before it may go on, and its body")]
    async fn post(
        &self,
        peer: &Peer,
        may_sign: bool,
        parts: &Parts,
        query: &Query,
        address: &Address,
        sender: &Sender,
        body: &mut Option<Incoming>,
        seen: &mut Seen,
    ) -> Result<Reported, Refusal> {
        if sender.is_signed() {
            let message = "A form is signed by its fields, and by nothing else.";
            return Err(S3Error::with_message(S3Code::InvalidRequest, message).into());
        }
        if let Some(name) = address.bucket() {
            // Whatever the form says, it is for a bucket that there is.
            self.engine.bucket(name).await?;
        }
        let patience = self.options.patience();
        let form = Box::pin(Form::read(parts, body, patience)).await?;
        let sender =
            authenticate_form(&form, may_sign, &self.keys, &self.engine, &*self.clock, &self.signatures)
                .await?;
        seen.signed = sender.is_signed();
        let exchange =
            self.authorise(peer, parts, query, address, Operation::PostObject, &sender, &seen.id).await?;
        let now = self.clock.now();
        Box::pin(form::object(&exchange, &self.engine, form, body, now, patience)).await
    }

    /// The page that is asked for. Pages have no bucket: where the host names one, every path is a key of it.
    async fn page(&self, host: &str, parts: &Parts) -> Option<Response<Outgoing>> {
        if self.domains.bucket_of(host).is_some() {
            return None;
        }
        let path = parts.uri.path();
        // At the root, only a browser is meant: an S3 client signs its ListBuckets.
        let unsigned_root =
            || path == "/" && parts.uri.query().is_none() && !parts.headers.contains_key(AUTHORIZATION);
        if !path.starts_with("/_demo") && path != "/favicon.ico" && !unsigned_root() {
            return None;
        }
        let answer = self.options.pages.as_ref()?.call(&parts.method, &parts.uri, &parts.headers)?;
        Some(answer.await.map(Outgoing::page))
    }

    async fn bucket_if_any(&self, address: &Address) -> Result<Option<Arc<Bucket>>, Refusal> {
        let Some(name) = address.bucket() else { return Ok(None) };
        match self.engine.bucket(name).await {
            Ok(bucket) => Ok(Some(bucket)),
            Err(BucketError::NoSuchBucket(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything that is known of a request before it may go on"
    )]
    async fn authorise<'a>(
        &self,
        peer: &Peer,
        parts: &'a Parts,
        query: &'a Query,
        address: &'a Address,
        operation: Operation,
        sender: &'a Sender,
        id: &RequestId,
    ) -> Result<Exchange<'a>, Refusal> {
        let need = operation.need();
        let bucket = match (need, address.bucket()) {
            (Need::Create | Need::Identity | Need::Anyone, _) | (_, None) => None,
            (_, Some(name)) => Some(self.engine.bucket(name).await?),
        };
        let place = match &bucket {
            Some(bucket) => Place::of(bucket),
            None => Place {
                name: address.bucket().map_or("", |name| name.as_str()),
                owner: sender.account().unwrap_or(""),
                public: PublicAccess::None,
                acl: None,
            },
        };
        let Allowed { may_fill, reach } =
            decide(sender.identity(), need, place).map_err(|Denied| Refusal::denied())?;
        check_expected_owner(parts, bucket.as_deref())?;
        let caller = sender.caller(&peer.address, may_fill, &parts.headers, id);
        let secure = self.options.tls.is_some();
        Ok(Exchange { parts, secure, query, address, operation, sender, caller, reach, bucket })
    }

    async fn perform(
        &self,
        exchange: &Exchange<'_>,
        body: &mut Option<Incoming>,
    ) -> Result<Reported, Refusal> {
        let patience = self.options.patience();
        let gone = || Refusal::from(S3Code::InternalError);
        match exchange.operation {
            Operation::GetObject | Operation::HeadObject => {
                match Box::pin(self.fronted(exchange, exchange.query)).await {
                    Some(answer) => answer,
                    None => get::object(exchange, &self.engine, &self.blocks).await,
                }
            }
            Operation::ListObjects | Operation::ListObjectsV2 => {
                Box::pin(list::objects(exchange, &self.engine)).await
            }
            Operation::PutObject => Box::pin(put::object(exchange, &self.engine, body, patience)).await,
            Operation::CopyObject => Box::pin(copy::object(exchange, &self.engine)).await,
            Operation::CreateMultipartUpload => Box::pin(multipart::create(exchange, &self.engine)).await,
            Operation::UploadPart => {
                Box::pin(multipart::put_part(exchange, &self.engine, body, patience)).await
            }
            Operation::UploadPartCopy => Box::pin(copy::part(exchange, &self.engine)).await,
            Operation::CompleteMultipartUpload => {
                Box::pin(multipart::complete(exchange, &self.engine, body, patience)).await
            }
            Operation::AbortMultipartUpload => Box::pin(multipart::abort(exchange, &self.engine)).await,
            Operation::ListParts => Box::pin(list_uploads::parts(exchange, &self.engine)).await,
            Operation::ListMultipartUploads => Box::pin(list_uploads::uploads(exchange, &self.engine)).await,
            Operation::GetObjectAttributes => {
                Box::pin(object_attributes::of_object(exchange, &self.engine)).await
            }
            Operation::DeleteObjects => {
                Box::pin(delete_objects::objects(exchange, &self.engine, body, patience)).await
            }
            Operation::ListBuckets
            | Operation::CreateBucket
            | Operation::HeadBucket
            | Operation::DeleteBucket
            | Operation::GetBucketLocation
            | Operation::DeleteObject => {
                let document = self.document(exchange, body.take().ok_or_else(gone)?).await?;
                Box::pin(self.front.call(exchange, document)).await
            }
            Operation::ListObjectVersions => Box::pin(versions::objects(exchange, &self.engine)).await,
            Operation::GetBucketAcl => Box::pin(acl::get_bucket(exchange, &self.engine)).await,
            Operation::GetObjectAcl => Box::pin(acl::get_object(exchange, &self.engine)).await,
            Operation::PutBucketAcl | Operation::PutObjectAcl => {
                let document = self.document(exchange, body.take().ok_or_else(gone)?).await?;
                if exchange.operation == Operation::PutBucketAcl {
                    Box::pin(acl::put_bucket(exchange, &self.engine, &document)).await
                } else {
                    Box::pin(acl::put_object(exchange, &self.engine, &document)).await
                }
            }
            Operation::GetBucketTagging | Operation::PutBucketTagging | Operation::DeleteBucketTagging => {
                let document = self.document(exchange, body.take().ok_or_else(gone)?).await?;
                Box::pin(tagging::bucket(exchange, &self.engine, &document)).await
            }
            Operation::GetObjectTagging | Operation::PutObjectTagging | Operation::DeleteObjectTagging => {
                let document = self.document(exchange, body.take().ok_or_else(gone)?).await?;
                Box::pin(tagging::object(exchange, &self.engine, &document)).await
            }
            Operation::GetObjectRetention | Operation::GetObjectLegalHold | Operation::GetObjectTorrent => {
                Box::pin(unset::of_object(exchange, &self.engine)).await
            }
            Operation::GetBucketCors
            | Operation::PutBucketCors
            | Operation::DeleteBucketCors
            | Operation::GetBucketLifecycleConfiguration
            | Operation::PutBucketLifecycleConfiguration
            | Operation::DeleteBucketLifecycle
            | Operation::GetBucketWebsite
            | Operation::PutBucketWebsite
            | Operation::DeleteBucketWebsite => {
                Box::pin(configuration::of_bucket(exchange, &self.engine, body, patience)).await
            }
            Operation::GetBucketVersioning
            | Operation::GetBucketPolicy
            | Operation::GetBucketPolicyStatus
            | Operation::GetBucketEncryption
            | Operation::GetBucketLogging
            | Operation::GetBucketNotificationConfiguration
            | Operation::GetBucketReplication
            | Operation::GetBucketRequestPayment
            | Operation::GetBucketAccelerateConfiguration
            | Operation::ListBucketAnalyticsConfigurations
            | Operation::GetBucketAnalyticsConfiguration
            | Operation::DeleteBucketAnalyticsConfiguration
            | Operation::ListBucketIntelligentTieringConfigurations
            | Operation::GetBucketIntelligentTieringConfiguration
            | Operation::DeleteBucketIntelligentTieringConfiguration
            | Operation::ListBucketInventoryConfigurations
            | Operation::GetBucketInventoryConfiguration
            | Operation::DeleteBucketInventoryConfiguration
            | Operation::ListBucketMetricsConfigurations
            | Operation::GetBucketMetricsConfiguration
            | Operation::DeleteBucketMetricsConfiguration
            | Operation::GetPublicAccessBlock
            | Operation::GetBucketOwnershipControls
            | Operation::GetBucketMetadataConfiguration
            | Operation::GetBucketMetadataTableConfiguration
            | Operation::DeleteBucketMetadataConfiguration
            | Operation::DeleteBucketMetadataTableConfiguration
            | Operation::GetBucketAbac
            | Operation::GetObjectLockConfiguration => {
                unset::of_bucket(exchange.operation, exchange.bucket()?).unwrap_or_else(|| Err(gone()))
            }
            Operation::PutObjectRetention | Operation::PutObjectLegalHold => {
                Err(unset::no_object_lock(S3Code::InvalidRequest).into())
            }
            // There is none of these to delete.
            Operation::DeleteBucketPolicy
            | Operation::DeleteBucketEncryption
            | Operation::DeletePublicAccessBlock
            | Operation::DeleteBucketOwnershipControls
            | Operation::DeleteBucketReplication => Ok(document::no_content()),
            Operation::PutObjectLockConfiguration => {
                Err(unset::no_object_lock(S3Code::InvalidBucketState).into())
            }
            // A form has gone its own way.
            Operation::PostObject
            | Operation::Preflight
            | Operation::Page
            | Operation::Unsupported
            | Operation::Unknown => Err(S3Code::NotImplemented.into()),
        }
    }

    /// The body of an operation that takes a document or nothing.
    async fn document(&self, exchange: &Exchange<'_>, body: Incoming) -> Result<Bytes, Refusal> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let upload =
            Upload::of(&exchange.parts.headers, exchange.query, exchange.sender, DOCUMENT_BYTES_MAX)?;
        Ok(Box::pin(upload.collect(body, self.options.patience())).await?)
    }

    /// What is answered in the place of `theirs`, which hyper writes to a request that it cannot read.
    pub(crate) fn unparsed(&self, theirs: &[u8], to_head: bool) -> Option<Vec<u8>> {
        unparsed::in_place_of(theirs, to_head, &self.ids.next(), self.host_id.to_str().unwrap_or_default())
    }

    fn finish(&self, parts: &Parts, mut seen: Seen, result: Result<Reported, Refusal>) -> Response<Outgoing> {
        let head = parts.method == Method::HEAD;
        let Reported { mut response, report } = match result {
            Ok(reported) => reported,
            Err(mut refusal) => {
                self.note(&seen, &refusal);
                tell_more(parts, &seen, &mut refusal.error);
                refusal.error.resource = Some(seen.resource.as_str().into());
                refusal.error.request_id = Some(seen.id.as_str().into());
                refusal.error.host_id = self.host_id.to_str().ok().map(Into::into);
                let report = refusal.report.take().map(|report| *report);
                Reported { response: refusal.into_response(head), report }
            }
        };
        let reads = matches!(seen.operation, Operation::GetObject | Operation::HeadObject);
        if reads && response.status() == http::StatusCode::NOT_FOUND {
            // What is not here is no delete marker: there are no versions.
            response.headers_mut().insert(X_AMZ_DELETE_MARKER, HeaderValue::from_static("false"));
        }
        let first_byte = self.clock.monotonic().since(seen.started);
        let word = report.as_ref().map(|report| report.word);
        let headers = response.headers_mut();
        if seen.operation != Operation::Page {
            headers.insert(X_AMZ_REQUEST_ID, seen.id.header());
            headers.insert(X_AMZ_ID_2, self.host_id.clone());
            headers.insert(SERVER, HeaderValue::from_static("Fallthrough"));
            if !seen.signed {
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                let policy = if seen.website { WEBSITE_CSP } else { ANONYMOUS_CSP };
                headers.insert(CONTENT_SECURITY_POLICY, policy);
            }
        }
        if seen.unasked {
            // Some clients (botocore of 1.13, of 1.35) read what follows on the connection wrongly from then on.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(report) = &report {
            write(report, first_byte, headers);
        }
        std::mem::take(&mut seen.sharing).write(report.is_some() && !seen.signed, headers);
        self.telemetry.answered(seen.operation, response.status(), word, first_byte);
        let watch = Watch {
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
            started: seen.started,
            operation: seen.operation,
            cache: word,
        };
        response.map(|body| body.watched(watch))
    }

    fn note(&self, seen: &Seen, refusal: &Refusal) {
        if let Some(reason) = refusal.auth {
            self.telemetry.auth_failed(reason);
        }
        let error = &refusal.error;
        if error.status().is_server_error() && error.code != S3Code::NotImplemented {
            tracing::warn!(
                request_id = seen.id.as_str(),
                operation = seen.operation.name(),
                code = error.code.as_str(),
                message = %error.message,
                "a request failed"
            );
        } else {
            tracing::debug!(
                request_id = seen.id.as_str(),
                operation = seen.operation.name(),
                code = error.code.as_str(),
                "a request was refused"
            );
        }
    }
}

/// What HTTP leaves open to smuggling is refused before anything is routed (RFC 9112 §6.1).
fn check_framing(parts: &Parts, smuggled: bool) -> Result<(), S3Error> {
    let invalid = |message| Err(S3Error::with_message(S3Code::InvalidRequest, message));
    if smuggled {
        return invalid("The head of the request can be read in more than one way.");
    }
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let only_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !only_chunked || codings.next().is_some() {
        return invalid("The only transfer coding is chunked, and it may be named once.");
    }
    if parts.version == Version::HTTP_10 && parts.headers.contains_key(TRANSFER_ENCODING) {
        return invalid("HTTP/1.0 has no Transfer-Encoding.");
    }
    if parts.method == Method::CONNECT {
        return Err(S3Error::new(S3Code::MethodNotAllowed));
    }
    Ok(())
}

fn check_expected_owner(parts: &Parts, bucket: Option<&Bucket>) -> Result<(), Refusal> {
    let Some(expected) = parts.headers.get("x-amz-expected-bucket-owner") else { return Ok(()) };
    match bucket {
        Some(bucket) if expected.as_bytes() != bucket.settings.owner.as_bytes() => Err(Refusal::denied()),
        Some(_) | None => Ok(()),
    }
}

/// What S3 says besides in the documents of some errors: the key, the condition, the range.
fn tell_more(parts: &Parts, seen: &Seen, error: &mut S3Error) {
    const CONDITIONS: [&str; 8] = [
        "If-Match",
        "If-None-Match",
        "If-Unmodified-Since",
        "If-Modified-Since",
        "x-amz-copy-source-If-Match",
        "x-amz-copy-source-If-None-Match",
        "x-amz-copy-source-If-Unmodified-Since",
        "x-amz-copy-source-If-Modified-Since",
    ];
    let more = match error.code {
        // Of a copy it is the source's.
        S3Code::NoSuchKey if error.extra.iter().all(|(name, _)| *name != "Key") => {
            let mut path = seen.resource.splitn(3, '/').skip(2);
            path.next().map(|key| ("Key", key.to_owned()))
        }
        S3Code::PreconditionFailed => {
            let failed = CONDITIONS.iter().find(|name| parts.headers.contains_key(**name));
            failed.map(|name| ("Condition", (*name).to_owned()))
        }
        S3Code::InvalidRange => {
            let range = parts.headers.get(http::header::RANGE).and_then(|value| value.to_str().ok());
            range.map(|range| ("RangeRequested", range.to_owned()))
        }
        _ => None,
    };
    if let Some((name, text)) = more {
        *error = std::mem::replace(error, S3Error::new(S3Code::InternalError)).and(name, text);
    }
}

/// The path of what is asked for, as error documents show it.
fn resource(address: &Address) -> String {
    match address {
        Address::Service => "/".to_owned(),
        Address::Bucket(bucket) => ["/", bucket.as_str()].concat(),
        Address::Object(bucket, key) => ["/", bucket.as_str(), "/", key.as_str()].concat(),
    }
}

/// Reads and throws away a short body, within a short time.
async fn drain(mut body: Incoming) {
    let mut left = match body.size_hint().exact() {
        Some(len) if len > 0 && len <= DRAINED_BYTES_MAX => len,
        Some(_) => return,
        None => DRAINED_BYTES_MAX,
    };
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(rest) = left.checked_sub(len) else { break };
            left = rest;
        }
    };
    // Whether it was read to its end or not, the answer is the same; the HTTP layer closes the connection if not.
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

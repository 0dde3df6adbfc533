//! The operations that `s3s` carries: it reads their parameters, calls back, and writes their documents.
//!
//! It gets requests that were authenticated, authorised and addressed before, and rewritten so that it finds
//! nothing to verify: path style, without Authorization, `X-Amz-*` authentication parameters and payload
//! headers, the body decoded and whole. Who asks for what comes along as a [`Ticket`]; nothing that `s3s` reads
//! decides over access. This is the only module that names its types.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fallthrough_bucket::{Bucket, BucketError, BucketSettings, Caller, Engine, NewBucket};
use fallthrough_object::{Acl, BucketConfiguration, BucketName, Key, Tag};
use fallthrough_wire::conditions::WriteConditions;
use fallthrough_wire::tags::{BUCKET_TAGS_MAX, check as check_tags};
use fallthrough_wire::uri::{encode_path, encode_query};
use fallthrough_wire::xml::{parse_error_document, parse_new_bucket_tags};
use fallthrough_wire::{S3Code, S3Error};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Uri};
use http_body_util::BodyExt;
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::access::{Identity, Place, decide};
use crate::acl::{Owners, acl_of_request};
use crate::address::Address;
use crate::authentication::Sender;
use crate::exchange::Exchange;
use crate::keys::Principal;
use crate::operation::{Need, Operation};
use crate::outgoing::Outgoing;
use crate::people::People;
use crate::refusal::Refusal;
use crate::report::Reported;

/// Largest document that is read from a client here, or written to one: ten thousand buckets fit.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Buckets of one page of ListBuckets, and the page's size where none is asked for.
const BUCKETS_MAX: usize = 10_000;

/// `s3s`, with our engine behind it.
pub(crate) struct S3sFront {
    service: S3Service,
    engine: Engine,
}

impl fmt::Debug for S3sFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3sFront")
    }
}

impl S3sFront {
    pub(crate) fn new(engine: Engine, region: &str) -> Self {
        let operations = Operations { engine: engine.clone(), region: region.to_owned() };
        let mut builder = S3ServiceBuilder::new(operations);
        builder.set_validation(AlreadyChecked);
        Self { service: builder.build(), engine }
    }

    /// Answers the exchange. `body`: what came with it, decoded and verified.
    pub(crate) async fn call(&self, exchange: &Exchange<'_>, body: Bytes) -> Result<Reported, Refusal> {
        exchange.check_version()?;
        let mut ticket = Ticket::of(exchange);
        if exchange.operation == Operation::CreateBucket {
            let owner = exchange.sender.account().ok_or_else(Refusal::denied)?;
            let owners = Owners { owner, bucket_owner: None };
            check_ownership(exchange)?;
            ticket.tags = parse_new_bucket_tags(&body).map_err(S3Error::from)?;
            check_tags(&ticket.tags, BUCKET_TAGS_MAX)?;
            ticket.acl = acl_of_request(&exchange.parts.headers, owners, &self.engine).await?;
        }
        let request = rewrite(exchange, &ticket, body)?;
        let internal = || Refusal::from(S3Code::InternalError);
        let response = self.service.call(request).await.map_err(|_| internal())?;
        if let Some(refusal) = ticket.refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(refusal);
        }
        let (mut parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, DOCUMENT_BYTES_MAX);
        let body = body.collect().await.map_err(|_| internal())?.to_bytes();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            return Err(own_refusal(&body));
        }
        parts.headers.remove(CONTENT_LENGTH);
        Ok(http::Response::from_parts(parts, Outgoing::bytes(body)).into())
    }
}

/// Who owns what others write is not to be chosen: whoever writes it, unless they give it to the bucket's owner.
fn check_ownership(exchange: &Exchange<'_>) -> Result<(), S3Error> {
    let name = "x-amz-object-ownership";
    match exchange.header(name) {
        None | Some("ObjectWriter") => Ok(()),
        Some("BucketOwnerEnforced" | "BucketOwnerPreferred") => {
            let message = "Only the object ownership ObjectWriter is offered.";
            Err(S3Error::with_message(S3Code::NotImplemented, message).and("Header", name))
        }
        Some(text) => {
            Err(S3Error::with_message(S3Code::InvalidArgument, "Invalid x-amz-object-ownership header")
                .and("ArgumentName", name)
                .and("ArgumentValue", text))
        }
    }
}

/// What `s3s` refused by itself, such as a document that it cannot read.
fn own_refusal(document: &[u8]) -> Refusal {
    let code = parse_error_document(document).ok().and_then(|error| {
        let code = S3Code::parse(&error.code)?;
        Some(if error.message.is_empty() { code.into() } else { S3Error::with_message(code, error.message) })
    });
    code.unwrap_or_else(|| S3Code::InternalError.into()).into()
}

/// Who asks for what, as it was decided before `s3s` saw the request.
#[derive(Clone)]
struct Ticket {
    operation: Operation,
    /// Who signed; `None`: nobody.
    principal: Option<Arc<Principal>>,
    caller: Caller,
    name: Option<BucketName>,
    bucket: Option<Arc<Bucket>>,
    key: Option<Key>,
    /// The ACL of a bucket that is to be created.
    acl: Option<Acl>,
    /// Its tags.
    tags: Vec<Tag>,
    /// Why it was not done, in our own words.
    refused: Arc<Mutex<Option<Refusal>>>,
}

impl Ticket {
    fn of(exchange: &Exchange<'_>) -> Self {
        Self {
            operation: exchange.operation,
            principal: match exchange.sender {
                Sender::Anonymous(_) => None,
                Sender::Key(verified) => Some(Arc::clone(verified.principal())),
            },
            caller: exchange.caller.clone(),
            name: exchange.address.bucket().cloned(),
            bucket: exchange.bucket.clone(),
            key: match exchange.address {
                Address::Object(_, key) => Some(key.clone()),
                Address::Service | Address::Bucket(_) => None,
            },
            acl: None,
            tags: Vec::new(),
            refused: Arc::default(),
        }
    }
}

fn rewrite(
    exchange: &Exchange<'_>,
    ticket: &Ticket,
    body: Bytes,
) -> Result<http::Request<s3s::Body>, Refusal> {
    let mut target = String::from("/");
    if let Some(name) = &ticket.name {
        target.push_str(name.as_str());
    }
    if let Some(key) = &ticket.key {
        target.push('/');
        target.push_str(&encode_path(key.as_str()));
    }
    let mut separator = '?';
    for (name, value) in exchange.query.iter() {
        let lower = name.to_ascii_lowercase();
        let of_a_signature = ["AWSAccessKeyId", "Signature", "Expires"].contains(&name);
        if lower.starts_with("x-amz-") || lower == "x-id" || of_a_signature {
            continue;
        }
        target.push(separator);
        separator = '&';
        target.push_str(&encode_query(name));
        target.push('=');
        target.push_str(&encode_query(value));
    }
    let uri: Uri = target.parse().map_err(|_| Refusal::from(S3Code::InvalidUri))?;
    let len = body.len();
    let mut request = http::Request::new(s3s::Body::from(body));
    *request.method_mut() = exchange.parts.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = exchange.parts.headers.clone();
    let theirs = ["x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-date"];
    for name in theirs {
        headers.remove(name);
    }
    for name in [AUTHORIZATION, HOST, EXPECT, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    request.extensions_mut().insert(ticket.clone());
    Ok(request)
}

/// Names were checked when the request was addressed.
struct AlreadyChecked;

impl NameValidation for AlreadyChecked {
    fn validate_bucket_name(&self, _name: &str) -> bool {
        true
    }
}

struct Operations {
    engine: Engine,
    region: String,
}

/// The ticket of a request, if it was made for this operation: `s3s` routes by its own reading, and a difference
/// between the two must not let anything through.
fn ticket<T>(request: &S3Request<T>, operation: Operation) -> S3Result<Ticket> {
    let ticket = request.extensions.get::<Ticket>().filter(|ticket| ticket.operation == operation);
    ticket.cloned().ok_or_else(internal)
}

fn internal() -> s3s::S3Error {
    s3s::S3Error::new(s3s::S3ErrorCode::InternalError)
}

impl Ticket {
    /// Keeps our own reason; what `s3s` makes of the error it is given is not used.
    fn refuse(&self, refusal: impl Into<Refusal>) -> s3s::S3Error {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal.into());
        internal()
    }

    fn principal(&self) -> S3Result<&Principal> {
        self.principal.as_deref().ok_or_else(|| self.refuse(Refusal::denied()))
    }

    fn bucket(&self) -> S3Result<&Arc<Bucket>> {
        self.bucket.as_ref().ok_or_else(internal)
    }
}

/// Whether ListBuckets shows a bucket to this key: its account's buckets, as far as it is granted any right.
fn sees(principal: &Principal, bucket: &Bucket) -> bool {
    let grants = principal.grants.as_deref();
    let identity = Identity::Key { account: &principal.account, grants };
    let place = Place {
        name: bucket.name.as_str(),
        owner: &bucket.settings.owner,
        public: fallthrough_bucket::PublicAccess::None,
        acl: None,
    };
    [Need::ReadBucket, Need::Write].into_iter().any(|need| decide(identity, need, place).is_ok())
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn list_buckets(
        &self,
        request: S3Request<dto::ListBucketsInput>,
    ) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        let ticket = ticket(&request, Operation::ListBuckets)?;
        let Some(principal) = &ticket.principal else {
            // Who does not sign owns nothing; some tools begin by asking.
            return Ok(S3Response::new(dto::ListBucketsOutput {
                buckets: Some(Vec::new()),
                ..dto::ListBucketsOutput::default()
            }));
        };
        let input = request.input;
        let bad =
            |message: &'static str| ticket.refuse(S3Error::with_message(S3Code::InvalidArgument, message));
        let limit = match input.max_buckets {
            None => BUCKETS_MAX,
            Some(number) => usize::try_from(number)
                .ok()
                .filter(|number| (1..=BUCKETS_MAX).contains(number))
                .ok_or_else(|| bad("max-buckets must be between 1 and 10000"))?,
        };
        let mut after = match input.continuation_token.as_deref().filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => Some(
                BucketName::parse(token).map_err(|_| bad("The continuation token provided is incorrect"))?,
            ),
        };
        let prefix = input.prefix.unwrap_or_default();
        let elsewhere = input.bucket_region.as_ref().is_some_and(|region| *region != self.region);
        let mut found: Vec<dto::Bucket> = Vec::new();
        let mut more = false;
        'pages: loop {
            if elsewhere {
                break;
            }
            let page = self.engine.buckets(after.as_ref(), 1000).await;
            let page = page.map_err(|error| ticket.refuse(error))?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            for bucket in &page {
                if !bucket.name.as_str().starts_with(&prefix) || !sees(principal, bucket) {
                    continue;
                }
                if found.len() == limit {
                    more = true;
                    break 'pages;
                }
                let created = SystemTime::UNIX_EPOCH + Duration::from_millis(bucket.created.0);
                found.push(dto::Bucket {
                    name: Some(bucket.name.to_string()),
                    creation_date: Some(created.into()),
                    ..dto::Bucket::default()
                });
            }
        }
        let continuation_token = found.last().and_then(|last| last.name.clone()).filter(|_| more);
        let owner = People::new(&self.engine).owner(&principal.account).await;
        let owner = owner.map_err(|refusal| ticket.refuse(refusal))?;
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets: Some(found),
            continuation_token,
            owner: Some(dto::Owner { id: Some(owner.id), display_name: Some(owner.display_name) }),
            prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
        }))
    }

    async fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        let ticket = ticket(&request, Operation::CreateBucket)?;
        if request.input.object_lock_enabled_for_bucket == Some(true) {
            let message = "Buckets with object lock are not offered.";
            return Err(ticket.refuse(S3Error::with_message(S3Code::NotImplemented, message)));
        }
        let name = ticket.name.as_ref().ok_or_else(internal)?;
        let owner = ticket.principal()?.account.clone();
        let configuration = BucketConfiguration {
            acl: ticket.acl.clone(),
            tags: ticket.tags.clone(),
            ..BucketConfiguration::default()
        };
        let settings = BucketSettings { owner: owner.clone(), ..BucketSettings::default() };
        match self.engine.create_configured_bucket(name, settings, configuration).await {
            Ok(NewBucket::Created(_)) => {}
            // As S3 in us-east-1: creating one's own bucket again changes nothing and succeeds. With another ACL it would
            // change something.
            Ok(NewBucket::Exists(bucket))
                if bucket.settings.owner == owner && bucket.configuration.acl == ticket.acl => {}
            Ok(NewBucket::Exists(_)) => return Err(ticket.refuse(S3Code::BucketAlreadyExists)),
            Err(error) => return Err(ticket.refuse(error)),
        }
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(format!("/{name}")) }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        ticket(&request, Operation::HeadBucket)?;
        Ok(S3Response::new(dto::HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..dto::HeadBucketOutput::default()
        }))
    }

    async fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
        let ticket = ticket(&request, Operation::DeleteBucket)?;
        let bucket = ticket.bucket()?;
        if bucket.settings.managed {
            return Err(ticket.refuse(BucketError::Managed));
        }
        let deleted = self.engine.delete_bucket(&bucket.name).await;
        if let Err(error) = deleted {
            return Err(match error {
                // Another request deletes it: it has, or it is about to.
                BucketError::Conflict => match self.engine.bucket(&bucket.name).await {
                    Err(gone @ BucketError::NoSuchBucket(_)) => ticket.refuse(gone),
                    Ok(_) | Err(_) => ticket.refuse(S3Code::OperationAborted),
                },
                error => ticket.refuse(error),
            });
        }
        let mut response = S3Response::new(dto::DeleteBucketOutput {});
        response.status = Some(http::StatusCode::NO_CONTENT);
        Ok(response)
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        ticket(&request, Operation::GetBucketLocation)?;
        // us-east-1 is written as nothing, as S3 does since its beginning.
        let named = (self.region != "us-east-1").then(|| self.region.clone());
        Ok(S3Response::new(dto::GetBucketLocationOutput {
            location_constraint: named.map(dto::BucketLocationConstraint::from),
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let ticket = ticket(&request, Operation::DeleteObject)?;
        let conditions =
            WriteConditions::of_delete(&request.headers).map_err(|error| ticket.refuse(error))?;
        let key = ticket.key.as_ref().ok_or_else(internal)?;
        let deleted: Result<_, BucketError> =
            self.engine.delete_if(ticket.bucket()?, &ticket.caller, key, conditions).await;
        deleted.map_err(|error| ticket.refuse(error))?;
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }
}

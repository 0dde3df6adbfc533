//! One request on its way through the handlers: what it names, who sends it, and what it may do.

use std::sync::Arc;

use fallthrough_bucket::{Admission, Bucket, BucketError, Caller, ObjectInfo};
use fallthrough_object::{Key, Mutant, planted};
use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use http::header::HOST;
use http::request::Parts;

use crate::access::{Place, Reach, decide};
use crate::address::Address;
use crate::authentication::Sender;
use crate::operation::{Need, Operation};
use crate::refusal::Refusal;

/// A request that was authenticated and authorised. Exists only as the result of both.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) parts: &'a Parts,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    pub(crate) query: &'a Query,
    pub(crate) address: &'a Address,
    pub(crate) operation: Operation,
    pub(crate) sender: &'a Sender,
    pub(crate) caller: Caller,
    /// Which objects it may have.
    pub(crate) reach: Reach<'a>,
    /// The bucket that is named; `None` for the service, and for one that is to be created.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

impl<'a> Exchange<'a> {
    /// The same request for another object of its bucket.
    pub(crate) fn at<'b>(&'b self, address: &'b Address) -> Exchange<'b> {
        debug_assert_eq!(address.bucket(), self.address.bucket(), "what was authorised is one bucket");
        Exchange { address, caller: self.caller.clone(), bucket: self.bucket.clone(), ..*self }
    }

    /// The bucket of an operation that works in one.
    pub(crate) fn bucket(&self) -> Result<&Arc<Bucket>, Refusal> {
        self.bucket.as_ref().ok_or_else(|| Refusal::from(S3Code::InternalError))
    }

    /// The key of an operation on an object.
    pub(crate) fn key(&self) -> Result<&Key, Refusal> {
        match self.address {
            Address::Object(_, key) => Ok(key),
            Address::Service | Address::Bucket(_) => Err(Refusal::from(S3Code::InternalError)),
        }
    }

    /// Calls with what the engine must ask of every object before it serves or changes it.
    pub(crate) async fn admitted<T>(&self, act: impl AsyncFnOnce(Admission<'_>) -> T) -> Result<T, Refusal> {
        let owner = self.bucket()?.settings.owner.as_str();
        let object = |info: &ObjectInfo| self.reach.admits(owner, info);
        let tags = |info: &ObjectInfo| self.reach.owns(owner, info);
        Ok(act(Admission { cold: self.reach.cold(owner), object: &object, tags: &tags }).await)
    }

    /// The account that what is written belongs to, if that is not the bucket's owner. What nobody in particular
    /// writes is the owner's.
    pub(crate) fn writer(&self) -> Result<Option<String>, Refusal> {
        let owner = &self.bucket()?.settings.owner;
        let writer = self.sender.account().filter(|account| account != owner);
        Ok(writer.filter(|_| !planted(Mutant::WriterNotNoted)).map(str::to_owned))
    }

    /// What is answered to an error of a read, and whether it may be told how it came to it: [`refusal_in`] its bucket.
    pub(crate) fn refusal(&self, error: BucketError) -> (Refusal, bool) {
        match &self.bucket {
            Some(bucket) => refusal_in(self.sender, bucket, self.reach, error),
            None => (Refusal::from(error), true),
        }
    }

    /// Refuses a `versionId` that names no version of an unversioned bucket.
    pub(crate) fn check_version(&self) -> Result<(), S3Error> {
        match self.query.get("versionId") {
            None | Some("" | "null") => Ok(()),
            Some(id) => Err(S3Error::with_message(S3Code::InvalidArgument, "Invalid version id specified")
                .and("ArgumentName", "versionId")
                .and("ArgumentValue", id)),
        }
    }

    /// Refuses a header by which the client asks for what would silently not be done.
    pub(crate) fn refuse_headers(&self, names: &[&str]) -> Result<(), S3Error> {
        match names.iter().find(|name| self.parts.headers.contains_key(**name)) {
            None => Ok(()),
            Some(name) => Err(S3Error::new(S3Code::NotImplemented).and("Header", *name)),
        }
    }

    /// The address of a path, as the client addressed this one: with its scheme and host.
    pub(crate) fn url_of(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme(), self.header(HOST.as_str()).unwrap_or_default())
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The text of a header that may stand once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What is answered to an error of a read in this bucket. That a key does not exist is told only to who may list the bucket,
/// or may have all of it; and how it came to it, only to who may have the object.
pub(crate) fn refusal_in(
    sender: &Sender,
    bucket: &Bucket,
    reach: Reach<'_>,
    error: BucketError,
) -> (Refusal, bool) {
    let may_know = || {
        reach.cold(&bucket.settings.owner)
            || decide(sender.identity(), Need::List, Place::of(bucket)).is_ok()
            || planted(Mutant::AbsenceToldToStrangers)
    };
    let tells = match &error {
        BucketError::Denied => false,
        BucketError::NoSuchKey => may_know(),
        _ => true,
    };
    if tells { (Refusal::from(error), true) } else { (Refusal::denied(), false) }
}

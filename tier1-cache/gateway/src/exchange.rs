//! One request on its way through the handlers: what it names, who sends it, and what it may do.

use std::sync::Arc;

use fallthrough_bucket::{Bucket, Caller};
use fallthrough_object::Key;
use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use http::request::Parts;

use crate::address::Address;
use crate::authentication::Sender;
use crate::operation::Operation;
use crate::refusal::Refusal;

/// A request that was authenticated and authorised. Exists only as the result of both.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) query: &'a Query,
    pub(crate) address: &'a Address,
    pub(crate) operation: Operation,
    pub(crate) sender: &'a Sender,
    pub(crate) caller: Caller,
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

    /// The text of a header that may stand once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

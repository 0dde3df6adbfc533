//! Private parsers of the gateway, for the fuzz targets alone (feature `fuzzing`). Not an interface.

use fallthrough_bucket::{ShadowRule, ShadowTarget};
use fallthrough_object::{BucketName, Key};
use fallthrough_wire::S3Error;
use fallthrough_wire::uri::Query;
use http::HeaderMap;
use http::request::Parts;

use crate::address::{Address, Domains, host_of};
use crate::connection::SharedTrace;
use crate::operation::Operation;
use crate::{admin, list};

/// What a request names: a bucket, and a key in it.
pub type Named = (Option<BucketName>, Option<Key>);

/// Reads what a request names and which operation it asks for.
///
/// # Errors
/// What the client would be told.
pub fn address(domains: &[String], parts: &Parts) -> Result<(Named, &'static str), S3Error> {
    let address = Domains::new(domains).resolve(host_of(parts)?, parts)?;
    let query = Query::parse(parts.uri.query().unwrap_or("")).map_err(S3Error::from)?;
    let operation = Operation::of(&parts.method, &address, &query, &parts.headers)?;
    let named = match address {
        Address::Service => (None, None),
        Address::Bucket(bucket) => (Some(bucket), None),
        Address::Object(bucket, key) => (Some(bucket), Some(key)),
    };
    Ok((named, operation.name()))
}

/// Reads a continuation token and writes it again.
pub fn list_token_again(raw: &str) -> Option<String> {
    list::read_token(raw).ok().map(|cursor| list::write_token(&cursor))
}

/// Reads a blob's id and writes it again.
pub fn blob_id_again(text: &str) -> Option<String> {
    admin::parse_blob(text).ok().map(admin::blob_name)
}

/// Reads a rule of the admin API as JSON. `None`: it is none, or would be refused.
pub fn rule_to_store(json: &[u8]) -> Option<ShadowRule> {
    serde_json::from_slice::<admin::Rule>(json).ok()?.to_store(None).ok()
}

/// A stored rule as the admin API shows it, with its secret as a client would send it again.
pub fn shown_rule(rule: &ShadowRule) -> Vec<u8> {
    let mut shown = admin::Rule::shown(rule);
    if let ShadowTarget::S3 { credentials: Some(credentials), .. } = &rule.target {
        shown.secret_key = Some(credentials.secret_key.clone());
    }
    serde_json::to_vec(&shown).expect("a rule can be written as JSON")
}

/// What is kept of the heads of one connection.
#[derive(Debug)]
pub struct Trace(SharedTrace);

impl Trace {
    /// A trace of at most so many bytes.
    pub fn new(max: usize) -> Self {
        Self(SharedTrace::new(max))
    }

    /// Bytes came.
    pub fn record(&self, bytes: &[u8]) {
        self.0.record(bytes);
    }

    /// A head was parsed: whether it counts as one with both framings.
    pub fn smuggled(&self, headers: &HeaderMap, body_follows: bool) -> bool {
        self.0.smuggled(headers, body_follows)
    }

    /// Its answer is on its way.
    pub fn resume(&self) {
        self.0.resume();
    }
}

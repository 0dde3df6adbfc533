//! Private parsers of the gateway, for the fuzz targets alone (feature `fuzzing`). Not an interface.

use fallthrough_bucket::{ShadowRule, ShadowTarget};
use fallthrough_object::{BucketName, Key};
use fallthrough_wire::S3Error;
use fallthrough_wire::uri::Query;
use http::HeaderMap;
use http::request::Parts;

use crate::address::{Address, Domains, host_of};
use crate::connection::SharedTrace;
use crate::form::multipart::{Came, Delimiter, FieldsReader, FileReader, FileStep};
use crate::form::policy::Policy;
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
    let secret = |place: &ShadowTarget| match place {
        ShadowTarget::S3 { credentials, .. } => credentials.as_ref().map(|keys| keys.secret_key.clone()),
        ShadowTarget::Origin { .. } | ShadowTarget::Http { .. } => None,
    };
    shown.secret_key = secret(&rule.target);
    for (member, place) in shown.members.iter_mut().zip(&rule.members) {
        member.secret_key = secret(place);
    }
    serde_json::to_vec(&shown).expect("a rule can be written as JSON")
}

/// Most bytes in front of the file of a form.
pub const FORM_FIELDS_BYTES_MAX: usize = crate::form::multipart::FIELDS_BYTES_MAX;

/// The fields of a form, its file, and whether the file ended.
pub type ReadForm = (Vec<(String, String)>, Vec<u8>, bool);

/// Reads a form with the boundary `xx` that comes in pieces of this length.
///
/// # Errors
/// The code that the client would be told.
pub fn form(body: &[u8], cut: usize) -> Result<ReadForm, &'static str> {
    let mut headers = HeaderMap::new();
    let kind = http::HeaderValue::from_static("multipart/form-data; boundary=xx");
    headers.insert(http::header::CONTENT_TYPE, kind);
    let code = |error: S3Error| error.code.as_str();
    let delimiter = Delimiter::of(&headers).map_err(code)?;
    let mut pieces = body.chunks(cut.max(1));
    let mut reader = FieldsReader::new(delimiter.clone());
    let came = loop {
        let Some(piece) = pieces.next() else { return Err("unfinished") };
        match reader.feed(piece).map_err(code)? {
            Came::Part => {}
            Came::File(fields) => break fields,
            Came::End => return Err("no file"),
        }
    };
    let mut file = FileReader::new(delimiter);
    let (mut input, mut whole) = (came.rest, Vec::new());
    loop {
        match file.step(&mut input) {
            FileStep::Data(data) => whole.extend_from_slice(&data),
            FileStep::End => return Ok((came.fields, whole, true)),
            FileStep::NeedMore => match pieces.next() {
                Some(piece) => input = bytes::Bytes::copy_from_slice(piece),
                None => return Ok((came.fields, whole, false)),
            },
        }
    }
}

/// Whether a policy lets a form with these fields through, in a bucket `b`; `None`: it is none.
pub fn policy(json: &[u8], fields: &[(String, String)]) -> Option<bool> {
    use base64::Engine as _;
    let policy = Policy::parse(&base64::engine::general_purpose::STANDARD.encode(json)).ok()?;
    Some(policy.check(fields, "b", fallthrough_object::Timestamp(0)).is_ok())
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

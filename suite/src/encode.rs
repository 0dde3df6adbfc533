//! A call as it goes on the wire: variables replaced, signed, framed.

use std::time::Duration;

use fallthrough_object::Timestamp;
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::ChunkChain;
use fallthrough_wire::uri::{self, encode_path, encode_query};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::accounts::{Account, Endpoint};
use crate::body::content_md5;
use crate::call::{Call, Change, Framing, Payload, QueryPart, Signing, Who};
use crate::signature_v2;
use crate::variables::{Variables, moved};

/// Head and body of a request.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Encoded {
    pub(crate) fn new(method: &str, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) -> Self {
        Self { head: head_of(method, path, query, headers), body: body.to_vec() }
    }
}

/// Encodes `call` for a server, signed by `account` where it is to be signed.
///
/// # Errors
/// What cannot be sent, for people: a mistake of the case.
pub(crate) fn encode(
    call: &Call,
    endpoint: &Endpoint,
    account: &Account,
    variables: &Variables,
    now: Timestamp,
) -> Result<Encoded, String> {
    let now = moved(now, call.clock_off);
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| error.to_string())?;
    let account = account_of(call, account, variables);
    let plain = match &call.form {
        Some(form) => form.encode(&account, variables, now),
        None => call.body.bytes(variables),
    };
    let path = match &call.raw_path {
        Some(raw) => variables.fill(raw),
        None => encode_path(&variables.fill(&call.path)),
    };
    let mut query = query_of(call, variables);
    let payload = payload_mode(call.payload, &plain);
    let mut headers = headers_of(call, endpoint, variables, &plain, payload)?;
    let mut chain = None;
    match (&call.who, call.signing) {
        (Who::Anonymous, _) | (_, Signing::Form) => {}
        (_, Signing::Header) => {
            let raw = Some(query.as_str()).filter(|query| !query.is_empty());
            let signed = account.signer().sign_headers(&method, &path, raw, &mut headers, payload, now);
            chain = Some(signed.map_err(|error| error.to_string())?);
        }
        (_, Signing::Query(secs)) => {
            let raw = Some(query.as_str()).filter(|query| !query.is_empty());
            let life = Duration::from_secs(secs);
            query = account
                .signer()
                .presign(&method, &path, raw, &headers, life, now)
                .map_err(|error| error.to_string())?;
        }
        (_, Signing::QueryV2(secs)) => {
            let parameters: Vec<(String, String)> = uri::Query::parse(&query)
                .map_err(|error| error.to_string())?
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let expires = now.unix_secs().cast_signed() + secs;
            query =
                signature_v2::presign(&account, account.secret(), &call.method, &path, &parameters, expires);
        }
    }
    let mut body =
        if payload.is_chunked() { aws_chunked(call, &plain, payload, chain, variables) } else { plain };
    match call.framing {
        Framing::Length if body.is_empty() && !matches!(call.method.as_str(), "PUT" | "POST") => {}
        Framing::Length => {
            if !headers.contains_key("content-length") {
                insert(&mut headers, "content-length", &body.len().to_string())?;
            }
        }
        Framing::Chunked => {
            insert(&mut headers, "transfer-encoding", "chunked")?;
            let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
            framed.extend_from_slice(&body);
            framed.extend_from_slice(if body.is_empty() { b"\r\n" } else { b"\r\n0\r\n\r\n" });
            body = framed;
        }
        Framing::Missing => body.clear(),
    }
    let method = call.method.clone();
    let mut signed = Signed { method, path, query, headers, body };
    for change in &call.changes {
        signed.apply(change, variables)?;
    }
    Ok(Encoded {
        head: head_of(&signed.method, &signed.path, &signed.query, &signed.headers),
        body: signed.body,
    })
}

fn account_of(call: &Call, account: &Account, variables: &Variables) -> Account {
    let region = call.region.as_deref().unwrap_or_else(|| account.region());
    match &call.who {
        Who::Key { access_key, secret } => {
            Account::new(&variables.fill(access_key), &variables.fill(secret), region)
        }
        Who::Main | Who::Second | Who::Anonymous => account.in_region(region),
    }
}

fn query_of(call: &Call, variables: &Variables) -> String {
    let parts: Vec<String> = call
        .query
        .iter()
        .map(|part| match part {
            QueryPart::Raw(text) => variables.fill(text),
            QueryPart::Param(name, value) => {
                format!("{}={}", encode_query(name), encode_query(&variables.fill(value)))
            }
        })
        .collect();
    parts.join("&")
}

fn payload_mode(payload: Payload, body: &[u8]) -> PayloadMode {
    match payload {
        Payload::Sha256 => PayloadMode::of_bytes(body),
        Payload::Unsigned => PayloadMode::Unsigned,
        Payload::SignedChunks => PayloadMode::SignedChunks,
        Payload::SignedTrailer => PayloadMode::SignedChunksWithTrailer,
        Payload::UnsignedTrailer => PayloadMode::UnsignedChunksWithTrailer,
    }
}

fn headers_of(
    call: &Call,
    endpoint: &Endpoint,
    variables: &Variables,
    body: &[u8],
    payload: PayloadMode,
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let value =
            HeaderValue::from_bytes(variables.fill(value).as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    if !headers.contains_key("host") {
        insert(&mut headers, "host", &endpoint.authority())?;
    }
    insert(&mut headers, "connection", "close")?;
    if call.content_md5 {
        insert(&mut headers, "content-md5", &content_md5(body))?;
    }
    if call.waits_for_continue {
        insert(&mut headers, "expect", "100-continue")?;
    }
    if payload.is_chunked() {
        if !headers.contains_key("x-amz-decoded-content-length") {
            insert(&mut headers, "x-amz-decoded-content-length", &body.len().to_string())?;
        }
        let coding = headers.remove("content-encoding");
        let coding = coding.as_ref().and_then(|value| value.to_str().ok());
        let coding = coding.map_or_else(|| "aws-chunked".to_owned(), |more| format!("aws-chunked,{more}"));
        insert(&mut headers, "content-encoding", &coding)?;
    }
    if !call.trailers.is_empty() && !headers.contains_key("x-amz-trailer") {
        let names: Vec<&str> = call.trailers.iter().map(|(name, _)| name.as_str()).collect();
        insert(&mut headers, "x-amz-trailer", &names.join(","))?;
    }
    Ok(headers)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|error| error.to_string())?);
    Ok(())
}

fn aws_chunked(
    call: &Call,
    body: &[u8],
    payload: PayloadMode,
    chain: Option<ChunkChain>,
    variables: &Variables,
) -> Vec<u8> {
    let mut chain = chain.filter(|_| payload.has_signed_chunks());
    let mut out = Vec::new();
    for piece in body.chunks(call.chunk_bytes.max(1)).chain(std::iter::once(&[][..])) {
        out.extend_from_slice(format!("{:x}", piece.len()).as_bytes());
        if let Some(chain) = &mut chain {
            out.extend_from_slice(b";chunk-signature=");
            out.extend_from_slice(&chain.sign_chunk(sha256(piece)));
        }
        out.extend_from_slice(b"\r\n");
        if !piece.is_empty() {
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
    }
    if payload.has_trailer() {
        let mut lines = String::new();
        for (name, value) in &call.trailers {
            let value = variables.fill(value);
            out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            lines.push_str(&format!("{name}:{value}\n"));
        }
        if let Some(chain) = &mut chain {
            out.extend_from_slice(b"x-amz-trailer-signature:");
            out.extend_from_slice(&chain.sign_trailers(sha256(lines.as_bytes())));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    match PayloadMode::of_bytes(bytes) {
        PayloadMode::Sha256(digest) => digest,
        PayloadMode::Unsigned
        | PayloadMode::SignedChunks
        | PayloadMode::SignedChunksWithTrailer
        | PayloadMode::UnsignedChunksWithTrailer => unreachable!("bytes have a SHA-256"),
    }
}

/// A request that is signed, before it is changed as a case wants it.
struct Signed {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Signed {
    fn apply(&mut self, change: &Change, variables: &Variables) -> Result<(), String> {
        match change {
            Change::Method(method) => self.method.clone_from(method),
            Change::Set(name, value) => insert(&mut self.headers, name, &variables.fill(value))?,
            Change::Remove(name) => drop(self.headers.remove(name.as_str())),
            Change::InHeader(name, from, to) => {
                let have = self.headers.get(name.as_str()).and_then(|value| value.to_str().ok());
                let value = replaced(have.unwrap_or_default(), from, to, variables)?;
                insert(&mut self.headers, name, &value)?;
            }
            Change::InQuery(from, to) => self.query = replaced(&self.query, from, to, variables)?,
            Change::InPath(from, to) => self.path = replaced(&self.path, from, to, variables)?,
            Change::InBody(from, to) => {
                let at = self.body.windows(from.len()).position(|window| window == from.as_bytes());
                match at {
                    Some(at) if from.len() == to.len() => {
                        self.body[at..at + to.len()].copy_from_slice(to.as_bytes());
                    }
                    Some(_) | None => return Err(format!("{from:?} cannot be changed in the body")),
                }
            }
        }
        Ok(())
    }
}

fn replaced(text: &str, from: &str, to: &str, variables: &Variables) -> Result<String, String> {
    let from = variables.fill(from);
    if !text.contains(&from) {
        return Err(format!("{from:?} is not in {text:?}, where it was to be changed"));
    }
    Ok(text.replacen(&from, &variables.fill(to), 1))
}

fn head_of(method: &str, path: &str, query: &str, headers: &HeaderMap) -> Vec<u8> {
    let question = if query.is_empty() { "" } else { "?" };
    let mut head = format!("{method} {path}{question}{query} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

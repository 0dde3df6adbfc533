//! From a script and a request to what is sent: status, headers, pieces of the body, and how it ends.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use fallthrough_shadow::Method;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::content::Content;
use crate::fault::Fault;
use crate::gate::At;
use crate::script::{Call, InFlight, Object};

/// Bytes of a piece where no fault says otherwise.
const PIECE_BYTES: u64 = 64 << 10;

/// How an answer begins.
pub(crate) enum Opening {
    /// With these headers and this body.
    Answer(Box<Performance>),
    /// The connection breaks.
    HangUp,
}

/// An answer that is being given.
pub(crate) struct Performance {
    pub(crate) status: StatusCode,
    /// With Content-Length, unless the body is chunked.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Pieces,
}

/// What comes next of a body.
pub(crate) enum Step {
    /// These bytes.
    Piece(Bytes),
    /// The end, as it should be.
    End,
    /// The connection is reset.
    Reset,
    /// The connection is closed before the promised length.
    Close,
}

/// The rest of a body under way.
pub(crate) struct Pieces {
    in_flight: InFlight,
    content: Content,
    /// Offset of the body's first byte in the content.
    start: u64,
    /// Bytes of the body, as it should be.
    len: u64,
    /// Bytes of the body that are sent before the end.
    sent: u64,
    position: u64,
    piece_bytes: u64,
    every: Duration,
    flips: Vec<u64>,
    end: End,
    /// HEAD and statuses without a body: nothing is sent, nothing is held.
    bodiless: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Reset,
    Close,
    Stall,
}

/// Waits as the faults say, then answers from what the origin has at that moment.
pub(crate) async fn open(call: &Call, in_flight: InFlight, faults: &[Fault]) -> Opening {
    for fault in faults {
        match fault {
            Fault::DelayHeaders(delay) => tokio::time::sleep(*delay).await,
            Fault::NoAnswer => std::future::pending().await,
            _ => {}
        }
    }
    in_flight.script().pass(in_flight.key(), |at| at == At::Headers).await;
    if faults.contains(&Fault::HangUp) {
        let mut in_flight = in_flight;
        in_flight.complete();
        return Opening::HangUp;
    }
    let object = in_flight.script().find(in_flight.key());
    Opening::Answer(Box::new(answer(call, in_flight, faults, object)))
}

fn answer(call: &Call, in_flight: InFlight, faults: &[Fault], object: Option<Object>) -> Performance {
    let mut plan = Plan::new(in_flight, call.method == Method::Head);
    if let Some(short) = faults.iter().find_map(short_answer) {
        plan.short(short);
    } else {
        match object {
            None => plan.short(s3_error(404, "NoSuchKey")),
            Some(object) => plan.object(call, faults, &object),
        }
    }
    plan.misbehave(faults);
    plan.finish()
}

/// A status, headers and a text, instead of an object.
struct Short {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

fn s3_error(status: u16, code: &str) -> Short {
    Short {
        status,
        headers: vec![("content-type".into(), "application/xml".into())],
        body: format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>scripted</Message>\
             <RequestId>0</RequestId></Error>"
        ),
    }
}

fn short_answer(fault: &Fault) -> Option<Short> {
    let short = |status, headers, body: &str| Some(Short { status, headers, body: body.to_owned() });
    match fault {
        Fault::Status(status) => short(*status, vec![], "scripted\n"),
        Fault::Answer { status, headers, body } => short(*status, headers.clone(), body),
        Fault::Busy { retry_after } => {
            let header = retry_after.iter().map(|v| (RETRY_AFTER.to_string(), v.clone()));
            short(503, header.collect(), "busy\n")
        }
        Fault::S3Error { status, code } => Some(s3_error(*status, code)),
        Fault::Redirect { status, location } => {
            short(*status, vec![(LOCATION.to_string(), location.clone())], "")
        }
        Fault::NoContent => short(204, vec![], ""),
        _ => None,
    }
}

/// An answer in the making.
struct Plan {
    status: StatusCode,
    headers: HeaderMap,
    pieces: Pieces,
    head: bool,
    /// Whether Content-Length is sent.
    length: bool,
    promised: Option<u64>,
}

impl Plan {
    fn new(in_flight: InFlight, head: bool) -> Self {
        let pieces = Pieces {
            in_flight,
            content: Content::given(Bytes::new()),
            start: 0,
            len: 0,
            sent: 0,
            position: 0,
            piece_bytes: PIECE_BYTES,
            every: Duration::ZERO,
            flips: Vec::new(),
            end: End::Clean,
            bodiless: head,
        };
        Self { status: StatusCode::OK, headers: HeaderMap::new(), pieces, head, length: true, promised: None }
    }

    fn set(&mut self, name: &str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a test gives valid header names");
        self.headers
            .insert(name, HeaderValue::from_bytes(value.as_bytes()).expect("a test gives valid values"));
    }

    fn short(&mut self, short: Short) {
        self.status = StatusCode::from_u16(short.status).expect("a test gives valid statuses");
        for (name, value) in &short.headers {
            self.set(name, value);
        }
        self.body(Content::given(short.body), 0, u64::MAX);
        if matches!(short.status, 204 | 304) {
            self.pieces.bodiless = true;
            self.length = false;
        }
    }

    fn body(&mut self, content: Content, start: u64, end: u64) {
        let end = end.min(content.size_bytes());
        self.pieces.start = start;
        self.pieces.len = end - start;
        self.pieces.sent = end - start;
        self.pieces.content = content;
    }

    fn object(&mut self, call: &Call, faults: &[Fault], object: &Object) {
        let judged = !faults.contains(&Fault::IgnoreConditions);
        let listed = |list: &Option<String>| {
            list.as_ref().is_some_and(|l| l.split(',').any(|t| t.trim() == object.etag || t.trim() == "*"))
        };
        if judged && call.if_match.is_some() && !listed(&call.if_match) {
            return self.short(s3_error(412, "PreconditionFailed"));
        }
        self.set(ETAG.as_str(), &object.etag);
        self.set(LAST_MODIFIED.as_str(), &fallthrough_wire::date::format_http(object.last_modified));
        for (name, value) in &object.headers {
            self.set(name, value);
        }
        if judged && listed(&call.if_none_match) {
            return self.short(Short { status: 304, headers: vec![], body: String::new() });
        }
        let size = object.content.size_bytes();
        if faults.contains(&Fault::UnaskedPartial) {
            self.part(&object.content, 0, (size / 2).max(1));
        } else if let Some(range) = call.range.filter(|_| !faults.contains(&Fault::IgnoreRange)) {
            match range.resolve(size) {
                Ok(range) => self.part(&object.content, range.start, range.end),
                Err(_) => {
                    self.short(s3_error(416, "InvalidRange"));
                    self.set(CONTENT_RANGE.as_str(), &format!("bytes */{size}"));
                }
            }
        } else {
            self.body(object.content.clone(), 0, size);
        }
    }

    fn part(&mut self, content: &Content, start: u64, end: u64) {
        self.status = StatusCode::PARTIAL_CONTENT;
        let value = format!("bytes {start}-{}/{}", end - 1, content.size_bytes());
        self.set(CONTENT_RANGE.as_str(), &value);
        self.body(content.clone(), start, end);
    }

    fn misbehave(&mut self, faults: &[Fault]) {
        for fault in faults {
            match fault {
                Fault::Drip { chunk_bytes, every } => {
                    (self.pieces.piece_bytes, self.pieces.every) = ((*chunk_bytes).max(1), *every);
                }
                Fault::ResetAt(at) => self.stop(*at, End::Reset),
                Fault::TruncateAt(at) => self.stop(*at, End::Close),
                Fault::EndAt(at) => self.stop(*at, End::Clean),
                Fault::StallAt(at) => self.stop(*at, End::Stall),
                Fault::EndChunkedAt(at) => {
                    self.length = false;
                    self.stop(*at, End::Clean);
                }
                Fault::FlipByteAt(at) => self.pieces.flips.push(*at),
                Fault::WrongLength(length) => {
                    self.promised = Some(*length);
                    let end = if *length > self.pieces.len { End::Close } else { End::Clean };
                    self.stop(*length, end);
                }
                Fault::NoLength => self.length = false,
                Fault::WeakETag => {
                    if let Some(tag) = self.headers.get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned)
                    {
                        self.set(ETAG.as_str(), &format!("W/{tag}"));
                    }
                }
                Fault::NoETag => drop(self.headers.remove(ETAG)),
                Fault::NoLastModified => drop(self.headers.remove(LAST_MODIFIED)),
                Fault::WrongETag(tag) => self.set(ETAG.as_str(), tag),
                Fault::ContentMd5 => {
                    let value = BASE64.encode(self.pieces.content.md5());
                    self.set("content-md5", &value);
                }
                Fault::Crc32 => {
                    let value = BASE64.encode(crc32(&self.pieces.content).to_be_bytes());
                    self.set("x-amz-checksum-crc32", &value);
                }
                Fault::Header(name, value) => self.set(name, value),
                Fault::DelayHeaders(_)
                | Fault::NoAnswer
                | Fault::HangUp
                | Fault::Status(_)
                | Fault::Answer { .. }
                | Fault::Busy { .. }
                | Fault::S3Error { .. }
                | Fault::Redirect { .. }
                | Fault::NoContent
                | Fault::UnaskedPartial
                | Fault::IgnoreRange
                | Fault::IgnoreConditions => {}
            }
        }
    }

    fn stop(&mut self, at: u64, end: End) {
        self.pieces.sent = at.min(self.pieces.len);
        self.pieces.end = end;
    }

    fn finish(mut self) -> Performance {
        if self.length {
            let length = self.promised.unwrap_or(self.pieces.len);
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.pieces.bodiless |= self.head;
        Performance { status: self.status, headers: self.headers, body: self.pieces }
    }
}

impl Pieces {
    /// Whether the answer has no body at all, not even an empty one.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.bodiless
    }

    /// The next step, after the pauses and holds before it. Not cancel-safe: after a drop the body is over.
    pub(crate) async fn next(&mut self) -> Step {
        if self.bodiless {
            self.in_flight.complete();
            return Step::End;
        }
        let position = self.position;
        let len = self.len;
        self.in_flight.script().pass(self.in_flight.key(), |at| at.offset(len) == Some(position)).await;
        if position >= self.sent {
            let step = match self.end {
                End::Clean => Step::End,
                End::Reset => Step::Reset,
                End::Close => Step::Close,
                End::Stall => std::future::pending().await,
            };
            self.in_flight.complete();
            return step;
        }
        if !self.every.is_zero() {
            tokio::time::sleep(self.every).await;
        }
        let hold = self.in_flight.script().next_hold(self.in_flight.key(), position + 1, len);
        let end = (position + self.piece_bytes).min(self.sent).min(hold.unwrap_or(u64::MAX));
        let (from, to) = (self.start + position, self.start + end);
        self.position = end;
        Step::Piece(flipped(self.content.slice(from, to), from, &self.flips))
    }
}

fn flipped(piece: Bytes, from: u64, flips: &[u64]) -> Bytes {
    let inside = |at: &&u64| **at >= from && **at - from < piece.len() as u64;
    if flips.iter().find(inside).is_none() {
        return piece;
    }
    let mut out = BytesMut::from(&piece[..]);
    for at in flips.iter().filter(inside) {
        out[usize::try_from(at - from).expect("inside of the piece")] ^= 1;
    }
    out.freeze()
}

fn crc32(content: &Content) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32IsoHdlc);
    let mut at = 0;
    while at < content.size_bytes() {
        digest.update(&content.slice(at, at + (1 << 20)));
        at += 1 << 20;
    }
    u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits")
}

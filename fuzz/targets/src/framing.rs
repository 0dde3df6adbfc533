//! Requests with two framings, on a connection as hyper reads it.

use fallthrough_gateway::fuzzing::Trace;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::input::{Input, pieces};

/// More than any input here has.
const MAX: usize = 1 << 20;

/// A head as hyper understands it.
struct Head {
    /// What the service is shown: without Content-Length where there is Transfer-Encoding.
    headers: HeaderMap,
    both: bool,
    body_bytes: usize,
    len: usize,
}

/// A line: how the bytes come; then the bytes of a connection.
///
/// Of every request with both Content-Length and Transfer-Encoding the trace says so, however it came and
/// whatever came before it; and it does not say so of the first one that has only one of them.
pub fn framing(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let cuts = input.bytes();
    let trace = Trace::new(MAX);
    let mut came: Vec<u8> = Vec::new();
    let mut body_left = 0;
    let mut first = true;
    for piece in pieces(input.rest(), cuts) {
        trace.record(piece);
        came.extend_from_slice(piece);
        loop {
            // The service answers before the body has come, and hyper reads what is left of it.
            let skipped = body_left.min(came.len());
            came.drain(..skipped);
            body_left -= skipped;
            if body_left > 0 {
                break;
            }
            let Some(head) = head(&came) else { break };
            let chunked = head.headers.contains_key(TRANSFER_ENCODING);
            let said = trace.smuggled(&head.headers, chunked || head.body_bytes > 0);
            assert!(said || !head.both, "both framings were not seen");
            // What follows a head may look like another one.
            let behind = came[head.len..].to_ascii_lowercase();
            let other = behind.windows(14).any(|name| name == b"content-length");
            assert!(!said || head.both || !first || other, "one framing was refused");
            if chunked {
                // Where its body ends is not known here.
                return;
            }
            trace.resume();
            came.drain(..head.len);
            body_left = head.body_bytes;
            first = false;
        }
    }
}

fn head(bytes: &[u8]) -> Option<Head> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(len) = request.parse(bytes).ok()? else { return None };
    let mut headers = HeaderMap::new();
    for line in &*request.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    let both = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let mut body_bytes = 0;
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    } else if let Some(length) = headers.get(CONTENT_LENGTH) {
        // hyper refuses any other.
        body_bytes = length.to_str().ok()?.parse().ok()?;
    }
    Some(Head { headers, both, body_bytes, len })
}

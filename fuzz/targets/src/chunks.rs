//! aws-chunked bodies.

use bytes::Bytes;
use fallthrough_object::Timestamp;
use fallthrough_wire::chunked::{ChunkedDecoder, ChunkedError, ChunkedHeaders, Step, Trailer};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{ChunkChain, Credentials, Signer};
use http::{HeaderMap, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use crate::input::{Input, pieces};

const MODES: [PayloadMode; 3] =
    [PayloadMode::UnsignedChunksWithTrailer, PayloadMode::SignedChunks, PayloadMode::SignedChunksWithTrailer];

/// What came of a body.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    data: Vec<u8>,
    end: Result<Vec<Trailer>, ChunkedError>,
}

/// `mode` byte, then lines: decoded length, announced trailers, how the body is cut; then the body.
///
/// However a body is cut, the same comes of it. No more is handed out than was announced, and what is complete
/// has that length and those trailers. A body that was signed reads back, and nothing else passes for it.
pub fn chunked(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    let mode = MODES[usize::from(kind) % MODES.len()];
    let mut headers = HeaderMap::new();
    for name in ["x-amz-decoded-content-length", "x-amz-trailer"] {
        if let Ok(value) = HeaderValue::from_bytes(input.bytes()) {
            headers.insert(name, value);
        }
    }
    let cuts = input.bytes();
    let Ok(announced) = ChunkedHeaders::from_headers(&headers) else { return };
    arbitrary(mode, &announced, input.rest(), cuts);
    signed(mode, announced.trailers, input.rest(), cuts);
}

fn arbitrary(mode: PayloadMode, announced: &ChunkedHeaders, body: &[u8], cuts: &[u8]) {
    let whole = decode(mode, announced, &[body]);
    let cut = decode(mode, announced, &pieces(body, cuts));
    assert_eq!(whole, cut, "the same bytes, cut otherwise");
    assert!(whole.data.len() as u64 <= announced.decoded_len);
    if let Ok(trailers) = whole.end {
        assert_eq!(whole.data.len() as u64, announced.decoded_len);
        let mut came: Vec<&String> = trailers.iter().map(|(name, _)| name).collect();
        came.sort();
        let mut wanted: Vec<&String> = announced.trailers.iter().collect();
        wanted.sort();
        wanted.dedup();
        if mode.has_trailer() {
            assert_eq!(came, wanted);
        } else {
            assert!(came.is_empty());
        }
    }
}

/// Encodes `data` in chunks as `cuts` says, reads it back, then changes it.
fn signed(mode: PayloadMode, names: Vec<String>, data: &[u8], cuts: &[u8]) {
    let trailer_names = if mode.has_trailer() { names } else { Vec::new() };
    let taken = trailer_names.iter().any(|name| name == "x-amz-trailer-signature");
    let mut distinct = trailer_names.clone();
    distinct.sort();
    distinct.dedup();
    if taken || distinct.len() != trailer_names.len() || trailer_names.join("").len() > 4096 {
        return;
    }
    let announced = ChunkedHeaders { decoded_len: data.len() as u64, trailers: trailer_names };
    let body = encode(mode, &announced, data, cuts);
    let decoded = decode(mode, &announced, &pieces(&body, cuts));
    assert_eq!(decoded.data, data);
    assert_eq!(decoded.end.as_ref().map(Vec::len), Ok(announced.trailers.len()));

    if mode.has_signed_chunks() {
        let at = cuts.iter().fold(0, |sum: usize, cut| sum.wrapping_mul(31) ^ usize::from(*cut)) % body.len();
        let mut changed = body;
        changed[at] ^= cuts.first().copied().unwrap_or(0) | 1;
        let again = decode(mode, &announced, &[&changed]);
        // The spelling of a size and of a trailer's name, and white space around a value, are not signed.
        assert!(again.end.is_err() || again == decoded, "a changed body passed");
    }
}

fn chain() -> ChunkChain {
    let signer = Signer::new(Credentials::new("AK", "secret"), "us-east-1");
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("h"));
    let mode = PayloadMode::SignedChunks;
    let signed = signer.sign_headers(&Method::PUT, "/b/k", None, &mut headers, mode, Timestamp(1_000_000));
    signed.expect("a plain request can be signed")
}

fn encode(mode: PayloadMode, announced: &ChunkedHeaders, data: &[u8], cuts: &[u8]) -> Vec<u8> {
    let mut chain = mode.has_signed_chunks().then(chain);
    let mut body = Vec::new();
    let mut chunks = pieces(data, cuts);
    chunks.retain(|chunk| !chunk.is_empty());
    chunks.push(&[]);
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if let Some(chain) = &mut chain {
            body.extend_from_slice(b";chunk-signature=");
            body.extend_from_slice(&chain.sign_chunk(Sha256::digest(chunk).into()));
        }
        body.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
    }
    let mut lines = String::new();
    for name in &announced.trailers {
        body.extend_from_slice(format!("{name}:value\r\n").as_bytes());
        lines.push_str(&format!("{name}:value\n"));
    }
    if let (Some(chain), true) = (&mut chain, mode.has_trailer()) {
        body.extend_from_slice(b"x-amz-trailer-signature:");
        body.extend_from_slice(&chain.sign_trailers(Sha256::digest(lines).into()));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"\r\n");
    body
}

fn decode(mode: PayloadMode, announced: &ChunkedHeaders, pieces: &[&[u8]]) -> Decoded {
    let chain = mode.has_signed_chunks().then(chain);
    let mut decoder = ChunkedDecoder::new(mode, announced, chain).expect("a chunked mode with its chain");
    let mut data = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match decoder.step(&mut piece) {
                Ok(Step::Data(bytes)) => {
                    assert!(!bytes.is_empty());
                    data.extend_from_slice(&bytes);
                }
                Ok(Step::NeedMore | Step::Done) => break,
                Err(error) => {
                    assert_eq!(decoder.finish(), Err(error), "an error is said ever after");
                    assert!(decoder.trailers().is_empty());
                    return Decoded { data, end: Err(error) };
                }
            }
        }
    }
    let end = decoder.finish().map(|()| decoder.trailers().to_vec());
    Decoded { data, end }
}

use fallthrough_object::Timestamp;
use http::{HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::date;
use crate::sigv4::{Credentials, Signer};

fn now() -> Timestamp {
    date::parse_amz("20130524T000000Z").unwrap()
}

/// The chain of the requests in the S3 documentation: signs what it says, so the seed is the published one.
fn chain(mode: PayloadMode) -> ChunkChain {
    let signer = Signer::new(
        Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        "us-east-1",
    );
    let mut headers = HeaderMap::new();
    let mut insert =
        |name: &'static str, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    insert("host", "s3.amazonaws.com");
    insert("content-encoding", "aws-chunked");
    insert("x-amz-decoded-content-length", "66560");
    insert("x-amz-storage-class", "REDUCED_REDUNDANCY");
    if mode.has_trailer() {
        insert("x-amz-trailer", "x-amz-checksum-crc32c");
    }
    let path = "/examplebucket/chunkObject.txt";
    signer.sign_headers(&Method::PUT, path, None, &mut headers, mode, now()).unwrap()
}

fn promised(decoded_len: u64, trailers: &[&str]) -> ChunkedHeaders {
    ChunkedHeaders { decoded_len, trailers: trailers.iter().map(|name| (*name).to_owned()).collect() }
}

fn decoder(mode: PayloadMode, decoded_len: u64, trailers: &[&str]) -> ChunkedDecoder {
    let chain = mode.has_signed_chunks().then(|| chain(mode));
    ChunkedDecoder::new(mode, &promised(decoded_len, trailers), chain).unwrap()
}

/// Feeds `pieces` and ends the body.
fn decode(decoder: &mut ChunkedDecoder, pieces: &[&[u8]]) -> Result<Vec<u8>, ChunkedError> {
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Step::Data(data) = decoder.step(&mut input)? {
            out.extend_from_slice(&data);
        }
    }
    decoder.finish()?;
    Ok(out)
}

/// Encodes `chunks` as a client does.
fn encode(mode: PayloadMode, chunks: &[&[u8]], trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut chain = mode.has_signed_chunks().then(|| chain(mode));
    let mut out = Vec::new();
    for chunk in chunks.iter().copied().chain([&[][..]]) {
        out.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if let Some(chain) = &mut chain {
            out.extend_from_slice(b";chunk-signature=");
            out.extend_from_slice(&chain.sign_chunk(Sha256::digest(chunk).into()));
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
    let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    out.extend_from_slice(lines.replace('\n', "\r\n").as_bytes());
    if let Some(chain) = chain.as_mut().filter(|_| mode.has_trailer()) {
        out.extend_from_slice(b"x-amz-trailer-signature:");
        out.extend_from_slice(&chain.sign_trailers(Sha256::digest(lines.as_bytes()).into()));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

const SIGNED: PayloadMode = PayloadMode::SignedChunks;
const SIGNED_TRAILER: PayloadMode = PayloadMode::SignedChunksWithTrailer;
const UNSIGNED: PayloadMode = PayloadMode::UnsignedChunksWithTrailer;
const CRC: &str = "x-amz-checksum-crc32c";

#[test]
fn the_signed_trailer_example_of_the_s3_documentation() {
    let (first, second) = ("a".repeat(65_536), "a".repeat(1024));
    let body = format!(
        "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n{first}\r\n\
         400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n{second}\r\n\
         0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n\
         x-amz-checksum-crc32c:sOO8/Q==\r\n\
         x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    );
    let mut decoder = decoder(SIGNED_TRAILER, 66_560, &[CRC]);
    assert_eq!(decode(&mut decoder, &[body.as_bytes()]).unwrap(), [first, second].concat().into_bytes());
    assert_eq!(decoder.trailers(), [(CRC.to_owned(), "sOO8/Q==".to_owned())]);
}

#[test]
fn every_mode_decodes_what_it_encodes() {
    let rows: [(PayloadMode, &[(&str, &str)]); 4] = [
        (SIGNED, &[]),
        (SIGNED_TRAILER, &[(CRC, "AAAAAA==")]),
        (UNSIGNED, &[(CRC, "AAAAAA==")]),
        (UNSIGNED, &[]),
    ];
    for (mode, trailers) in rows {
        let announced: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
        for chunks in [&[][..], &[&b"hello"[..]], &[b"a", b"bc", b"def"]] {
            let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
            let body = encode(mode, chunks, trailers);
            assert_eq!(
                decode(&mut decoder(mode, len, &announced), &[&body]),
                Ok(chunks.concat()),
                "{mode:?}"
            );
            // Some clients leave the last CRLF out.
            let short = &body[..body.len() - 2];
            assert_eq!(
                decode(&mut decoder(mode, len, &announced), &[short]),
                Ok(chunks.concat()),
                "{mode:?}"
            );
        }
    }
}

#[test]
fn a_cut_body_is_never_whole() {
    for mode in [SIGNED, SIGNED_TRAILER, UNSIGNED] {
        let (trailers, announced): (&[(&str, &str)], &[&str]) =
            if mode.has_trailer() { (&[(CRC, "AAAAAA==")], &[CRC]) } else { (&[], &[]) };
        let body = encode(mode, &[b"hello", b"world"], trailers);
        for cut in 0..body.len() - 2 {
            let got = decode(&mut decoder(mode, 10, announced), &[&body[..cut]]);
            assert!(got.is_err(), "{mode:?} cut at {cut}");
        }
    }
}

#[test]
fn a_flipped_byte_is_noticed_in_signed_bodies() {
    let body = encode(SIGNED_TRAILER, &[b"hello", b"world"], &[(CRC, "AAAAAA==")]);
    for at in 0..body.len() {
        let mut bad = body.clone();
        bad[at] ^= 1;
        assert!(decode(&mut decoder(SIGNED_TRAILER, 10, &[CRC]), &[&bad]).is_err(), "byte {at}");
    }
    let swapped = encode(SIGNED, &[b"world", b"hello"], &[]);
    let hello = encode(SIGNED, &[b"hello", b"world"], &[]);
    let mixed = [&hello[..94], &swapped[94..]].concat();
    assert!(decode(&mut decoder(SIGNED, 10, &[]), &[&mixed]).is_err());
}

#[test]
fn malformed_bodies_have_their_error() {
    use ChunkedError::{BadChunkEnd, BadHeader, Incomplete, Signature, TooLong, Trailer, TrailingData};
    let long = format!("{}\r\n", "0".repeat(300));
    let many = format!("0\r\n{CRC}:{}\r\n\r\n", "A".repeat(9000));
    let rows: &[(&str, &[&str], ChunkedError)] = &[
        ("", &[], Incomplete),
        ("5\r\nhello\r\n", &[], Incomplete),
        ("4\r\nhell\r\n0\r\n\r\n", &[], Incomplete),
        ("6\r\nhellos\r\n0\r\n\r\n", &[], TooLong),
        ("ffffffffffffffff\r\n", &[], TooLong),
        ("5\r\nhello0\r\n\r\n", &[], BadChunkEnd),
        ("5\r\nhello\rx0\r\n\r\n", &[], BadChunkEnd),
        ("\r\n", &[], BadHeader),
        ("5\nhello\r\n0\r\n\r\n", &[], BadHeader),
        ("0x5\r\nhello\r\n0\r\n\r\n", &[], BadHeader),
        ("+5\r\nhello\r\n0\r\n\r\n", &[], BadHeader),
        ("00000000000000005\r\n", &[], BadHeader),
        (&long, &[], BadHeader),
        ("5\r\nhello\r\n0\r\n\r\nx", &[], TrailingData),
        ("5\r\nhello\r\n0\r\nx-amz-meta-a:1\r\n\r\n", &[CRC], Trailer),
        ("5\r\nhello\r\n0\r\n\r\n", &[CRC], Trailer),
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:a\r\nx-amz-checksum-crc32c:a\r\n\r\n", &[CRC], Trailer),
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c\r\n\r\n", &[CRC], Trailer),
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:a\u{1}\r\n\r\n", &[CRC], Trailer),
        ("5\r\nhello\r\n0\r\nx-amz-trailer-signature:a\r\n\r\n", &[], Trailer),
        (&["5\r\nhello\r\n", &many].concat(), &[CRC], Trailer),
    ];
    for (body, announced, want) in rows {
        let mut decoder = decoder(UNSIGNED, 5, announced);
        assert_eq!(decode(&mut decoder, &[body.as_bytes()]), Err(*want), "{body:?}");
        assert_eq!(decoder.finish(), Err(*want), "{body:?}: it stays refused");
        assert!(decoder.trailers().is_empty());
    }
    let unsigned = "5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(decode(&mut decoder(SIGNED, 5, &[]), &[unsigned.as_bytes()]), Err(Signature));
    let without_trailer_signature = {
        let body = String::from_utf8(encode(SIGNED_TRAILER, &[b"hello"], &[(CRC, "a")])).unwrap();
        let at = body.find("x-amz-trailer-signature").unwrap();
        body[..at].to_owned() + "\r\n"
    };
    let got = decode(&mut decoder(SIGNED_TRAILER, 5, &[CRC]), &[without_trailer_signature.as_bytes()]);
    assert_eq!(got, Err(Signature));
    let got = decode(&mut decoder(SIGNED, 5, &[CRC]), &[&encode(SIGNED, &[b"hello"], &[(CRC, "a")])]);
    assert_eq!(got, Err(Trailer), "the mode has no trailers");
}

#[test]
fn signed_chunks_are_not_decoded_without_their_chain() {
    let none = promised(0, &[]);
    assert!(ChunkedDecoder::new(SIGNED, &none, None).is_none());
    assert!(ChunkedDecoder::new(PayloadMode::Unsigned, &none, Some(chain(SIGNED))).is_none());
    assert!(ChunkedDecoder::new(UNSIGNED, &none, None).is_some());
}

#[test]
fn a_large_chunk_passes_without_being_collected() {
    let mut decoder = decoder(UNSIGNED, 1 << 40, &[]);
    let mut input = Bytes::from_static(b"10000000000\r\n");
    assert_eq!(decoder.step(&mut input), Ok(Step::NeedMore));
    let piece = Bytes::from(vec![7; 1 << 16]);
    for _ in 0..64 {
        let mut input = piece.clone();
        let Ok(Step::Data(data)) = decoder.step(&mut input) else { panic!("no data") };
        // The same memory: nothing was copied.
        assert_eq!((data.as_ptr(), data.len()), (piece.as_ptr(), piece.len()));
        assert_eq!(decoder.line.capacity(), 0);
    }
}

#[test]
fn headers_say_length_and_trailers() {
    let of = |rows: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(*name, HeaderValue::from_static(value));
        }
        ChunkedHeaders::from_headers(&map).map_err(|error| error.code)
    };
    const LENGTH: &str = "x-amz-decoded-content-length";
    assert_eq!(
        of(&[(LENGTH, "5"), ("x-amz-trailer", "A, b"), ("x-amz-trailer", "c")]),
        Ok(promised(5, &["a", "b", "c"]))
    );
    assert_eq!(of(&[]), Err(S3Code::MissingContentLength));
    for bad in ["", "-1", "+1", "5 5", "99999999999999999999"] {
        assert_eq!(of(&[(LENGTH, bad)]), Err(S3Code::InvalidArgument), "{bad}");
    }
    assert_eq!(of(&[(LENGTH, "5"), (LENGTH, "5")]), Err(S3Code::InvalidArgument));
    assert_eq!(of(&[(LENGTH, "5"), ("x-amz-trailer", "a b")]), Err(S3Code::InvalidRequest));
}

proptest! {
    #[test]
    fn any_split_gives_the_same(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..5),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        mode in prop_oneof![Just(SIGNED), Just(SIGNED_TRAILER), Just(UNSIGNED)],
        damage in proptest::option::of((any::<prop::sample::Index>(), 1_u8..)),
    ) {
        let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (trailers, announced): (&[(&str, &str)], &[&str]) =
            if mode.has_trailer() { (&[(CRC, "AAAAAA==")], &[CRC]) } else { (&[], &[]) };
        let mut body = encode(mode, &slices, trailers);
        if let Some((at, flip)) = &damage {
            let at = at.index(body.len());
            body[at] ^= flip;
        }
        let len = slices.concat().len() as u64;
        let whole = decode(&mut decoder(mode, len, announced), &[&body]);
        if damage.is_none() {
            prop_assert_eq!(whole.as_ref(), Ok(&slices.concat()));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&mut decoder(mode, len, announced), &pieces), whole.clone());
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        prop_assert_eq!(decode(&mut decoder(mode, len, announced), &bytes), whole);
    }
}

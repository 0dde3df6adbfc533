//! Private parsers of the txt2img API, for the fuzz targets alone (feature `fuzzing`). Not an interface.

use bytes::Bytes;

use crate::{Credentials, Format, Txt2Img, server, txt2img};

/// Reads the body of a txt2img request as the server does, for a model with the samplers of the web UI, with
/// how many pictures it asks for.
pub fn call(body: &[u8]) -> Option<(Txt2Img, u32)> {
    server::read_call(body)
}

/// The body that our client sends for `request`.
pub fn body(request: &Txt2Img, format: Format) -> Vec<u8> {
    txt2img::body(request, None, format).to_string().into_bytes()
}

/// Reads the body of a backend's answer as the client does, up to the picture that is handed on.
pub fn answer(body: &[u8], request: &Txt2Img, wish: Format) -> Option<(Bytes, Format)> {
    txt2img::read_answer(body, request, wish)
}

/// Whether an Authorization header carries these credentials.
pub fn lets_in(credentials: &Credentials, header: &str) -> bool {
    credentials.matches(header)
}

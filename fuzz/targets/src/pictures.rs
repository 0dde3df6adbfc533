//! Pictures, and the API that they are asked for with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fallthrough_diffusion::encode::{decode, dimensions, is_bare, reencode};
use fallthrough_diffusion::fuzzing::{answer, body, call, lets_in};
use fallthrough_diffusion::{Credentials, Format, Txt2Img};
use serde_json::json;

use crate::input::Input;

/// Larger pictures are refused before they are decoded; decoding them here would only take time.
const PIXELS_MAX: u32 = 512 * 512;

/// A file. If it is a picture, it can be encoded anew in every format, which leaves nothing but the picture; and a
/// file with something behind the picture is not bare.
pub fn picture(bytes: &[u8]) {
    if is_bare(bytes) && !bytes.is_empty() {
        assert!(Format::sniff(bytes).is_some());
        assert!(!is_bare(&[bytes, b"secret"].concat()), "what follows the picture counts as metadata");
    }
    let Ok((width, height)) = dimensions(bytes) else { return };
    if width.saturating_mul(height) > PIXELS_MAX {
        return;
    }
    let Ok((pixels, decoded_width, decoded_height)) = decode(bytes) else { return };
    assert_eq!((decoded_width, decoded_height), (width, height));
    assert_eq!(pixels.len(), width as usize * height as usize * 4);
    for format in Format::ALL {
        let again = reencode(bytes, format).expect("what was decoded can be encoded");
        assert_eq!(dimensions(&again).ok(), Some((width, height)));
        assert!(Format::sniff(&again) == Some(format) && is_bare(&again));
    }
}

/// A byte of choices; then a request, an answer, or the picture of an answer.
///
/// A request that is taken keeps the limits, and is what our client would send for it. A picture that is handed on
/// has the size and the format that were asked for, and nothing else in it.
pub fn txt2img(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let format = Format::ALL[usize::from(input.byte()) % Format::ALL.len()];
    input.bytes();
    let body_bytes = input.rest();
    if let Some((request, pictures)) = call(body_bytes) {
        assert_eq!(request.validate(), Ok(()));
        assert!((1..=4).contains(&pictures));
        assert_eq!(call(&body(&request, format)), Some((request, 1)));
    }

    let request = Txt2Img { width: 64, height: 64, ..Txt2Img::default() };
    let wrapped = json!({ "images": [BASE64.encode(body_bytes)], "info": "{}" }).to_string();
    for text in [body_bytes, wrapped.as_bytes()] {
        if let Some((picture, as_format)) = answer(text, &request, format) {
            assert_eq!((as_format, Format::sniff(&picture)), (format, Some(format)));
            assert_eq!(dimensions(&picture).ok(), Some((64, 64)));
            assert!(is_bare(&picture));
        }
    }

    let header = String::from_utf8_lossy(body_bytes);
    let credentials = Credentials::new("user", "pass");
    let right = header.split_once(' ').is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("basic") && token.trim() == BASE64.encode("user:pass")
    });
    assert_eq!(lets_in(&credentials, &header), right);
}

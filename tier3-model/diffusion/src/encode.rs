//! Pixels to files and files to files: JPEG, PNG and WebP, without metadata.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

/// JPEG quality where nobody asks for another, 1 to 100.
pub const JPEG_QUALITY: u8 = 75;

/// Most pixels on a side of an image that is decoded here.
const DECODE_SIDE_MAX: u32 = 8192;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG, quality [`JPEG_QUALITY`].
    #[default]
    Jpeg,
    /// PNG, lossless.
    Png,
    /// WebP, lossless.
    Webp,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Jpeg, Self::Png, Self::Webp];

    /// The media type for `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }

    /// The format behind a file name's extension without its dot, in any case; `None` if unknown.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "webp" => Some(Self::Webp),
            _ => None,
        }
    }

    /// The usual extension, without a dot, as the web UI's `samples_format` spells it.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }

    /// Recognises a file by its first bytes; `None` if it is none of ours.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }
}

/// Why pixels or a file could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// `pixels` does not hold width × height × 4 bytes, or a side is 0 or above 65535.
    #[error("{len} bytes do not make {width}×{height} RGBA pixels")]
    Shape {
        /// Bytes given.
        len: usize,
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The bytes are not an image we can read, or it is larger than we accept.
    #[error("the image cannot be read: {0}")]
    Unreadable(String),
    /// The encoder gave up.
    #[error("the image cannot be written: {0}")]
    Unwritable(String),
}

/// Encodes opaque RGBA pixels, 4 bytes each, row by row from the top left.
///
/// The alpha byte is carried into PNG and WebP and ignored for JPEG.
///
/// # Errors
/// [`EncodeError::Shape`] if the sizes disagree, [`EncodeError::Unwritable`] if the encoder fails.
pub fn encode(pixels: &[u8], width: u32, height: u32, format: Format) -> Result<Bytes, EncodeError> {
    encode_with_quality(pixels, width, height, format, JPEG_QUALITY)
}

/// As [`encode`], with a JPEG quality from 1 to 100 (clamped); other formats are lossless.
///
/// # Errors
/// As [`encode`].
pub fn encode_with_quality(
    pixels: &[u8],
    width: u32,
    height: u32,
    format: Format,
    jpeg_quality: u8,
) -> Result<Bytes, EncodeError> {
    let shape = || EncodeError::Shape { len: pixels.len(), width, height };
    let (width_px, height_px) =
        (u16::try_from(width).map_err(|_| shape())?, u16::try_from(height).map_err(|_| shape())?);
    if width == 0 || height == 0 || pixels.len() as u64 != u64::from(width) * u64::from(height) * 4 {
        return Err(shape());
    }
    let mut out = Vec::with_capacity(pixels.len() / 8);
    match format {
        Format::Jpeg => {
            jpeg_encoder::Encoder::new(&mut out, jpeg_quality.clamp(1, 100))
                .encode(pixels, width_px, height_px, jpeg_encoder::ColorType::Rgba)
                .map_err(|error| EncodeError::Unwritable(error.to_string()))?;
        }
        Format::Png => write_png(&mut out, pixels, width, height)?,
        Format::Webp => image_webp::WebPEncoder::new(&mut out)
            .encode(pixels, width, height, image_webp::ColorType::Rgba8)
            .map_err(|error| EncodeError::Unwritable(error.to_string()))?,
    }
    Ok(out.into())
}

/// Decodes `bytes` and encodes the pixels anew, which leaves every kind of metadata behind
/// (generation parameters, EXIF, colour profiles).
///
/// # Errors
/// [`EncodeError::Unreadable`] if `bytes` is no JPEG, PNG or WebP of up to 8192 pixels a side.
pub fn reencode(bytes: &[u8], format: Format) -> Result<Bytes, EncodeError> {
    let (pixels, width, height) = decode(bytes)?;
    encode(&pixels, width, height, format)
}

/// Decodes `bytes`, cuts the middle square out, scales it to `side_px` and encodes it. Metadata stay behind.
///
/// # Errors
/// As [`reencode`]; [`EncodeError::Shape`] if `side_px` is 0.
pub fn resquare(bytes: &[u8], side_px: u32, format: Format) -> Result<Bytes, EncodeError> {
    let (pixels, width, height) = decode(bytes)?;
    let shape = EncodeError::Shape { len: pixels.len(), width, height };
    let whole = image::RgbaImage::from_raw(width, height, pixels).ok_or(shape)?;
    let side = width.min(height);
    let square = image::imageops::crop_imm(&whole, (width - side) / 2, (height - side) / 2, side, side);
    // A cubic filter sharpens a little, which small faces need; it is polynomials, the same on every machine.
    let filter = image::imageops::FilterType::CatmullRom;
    let scaled = image::imageops::resize(&*square, side_px, side_px, filter);
    encode(&scaled, side_px, side_px, format)
}

/// Decodes a JPEG, PNG or WebP into RGBA pixels, their width and their height.
///
/// # Errors
/// [`EncodeError::Unreadable`] as for [`reencode`].
pub fn decode(bytes: &[u8]) -> Result<(Vec<u8>, u32, u32), EncodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format(bytes)?);
    let mut limits = Limits::default();
    limits.max_image_width = Some(DECODE_SIDE_MAX);
    limits.max_image_height = Some(DECODE_SIDE_MAX);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| EncodeError::Unreadable(error.to_string()))?;
    let rgba = match image {
        DynamicImage::ImageRgba8(rgba) => rgba,
        other => other.into_rgba8(),
    };
    let (width, height) = rgba.dimensions();
    Ok((rgba.into_raw(), width, height))
}

fn image_format(bytes: &[u8]) -> Result<ImageFormat, EncodeError> {
    match Format::sniff(bytes) {
        Some(Format::Jpeg) => Ok(ImageFormat::Jpeg),
        Some(Format::Png) => Ok(ImageFormat::Png),
        Some(Format::Webp) => Ok(ImageFormat::WebP),
        None => Err(EncodeError::Unreadable("neither JPEG, PNG nor WebP".to_owned())),
    }
}

/// Width and height of a JPEG, PNG or WebP, from its header alone.
///
/// # Errors
/// [`EncodeError::Unreadable`] as for [`reencode`].
pub fn dimensions(bytes: &[u8]) -> Result<(u32, u32), EncodeError> {
    let format = image_format(bytes)?;
    ImageReader::with_format(Cursor::new(bytes), format)
        .into_dimensions()
        .map_err(|error| EncodeError::Unreadable(error.to_string()))
}

/// Whether a file holds nothing but its picture. Unknown parts count as metadata, and so does
/// anything that cannot be read and anything behind the picture.
#[must_use]
pub fn is_bare(bytes: &[u8]) -> bool {
    match Format::sniff(bytes) {
        Some(Format::Jpeg) => is_bare_jpeg(bytes),
        Some(Format::Png) => is_bare_png(&bytes[8..]),
        Some(Format::Webp) => is_bare_webp(bytes),
        None => false,
    }
}

/// Walks the segments up to the end of the picture (ITU-T T.81, annex B): only JFIF's header (APP0),
/// tables, frame headers and scans may stand in it.
fn is_bare_jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        match bytes.get(at..) {
            Some([0xFF, 0xD9]) => return true,
            Some([0xFF, marker @ (0xE0 | 0xC0..=0xCF | 0xDA | 0xDB | 0xDD), high, low, ..]) => {
                at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
                if *marker == 0xDA {
                    at += scan_len(bytes.get(at..).unwrap_or_default());
                }
            }
            _ => return false,
        }
    }
}

/// Length of a scan's data: up to a marker that is neither a stuffed zero nor a restart.
fn scan_len(bytes: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7);
    bytes.windows(2).position(ends).unwrap_or(bytes.len())
}

/// Walks the chunks after the signature (PNG, section 5.3).
fn is_bare_png(mut chunks: &[u8]) -> bool {
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        match &head[4..] {
            // Nothing in it, and behind it only its checksum.
            b"IEND" => return len == 0 && rest.len() == 4,
            b"IHDR" | b"PLTE" | b"IDAT" | b"tRNS" => {}
            _ => return false,
        }
        chunks = rest.get(len.saturating_add(4)..).unwrap_or_default();
    }
    false
}

/// The simple layouts have one chunk, which ends with the file; the extended one, VP8X, exists for metadata.
fn is_bare_webp(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|raw| u32::from_le_bytes(*raw) as usize);
    let (Some(riff), Some(chunk)) = (number(4), number(16)) else { return false };
    let is_simple = matches!(&bytes[12..16], b"VP8 " | b"VP8L");
    // A chunk of odd length is followed by a byte that fills it up.
    is_simple
        && riff.checked_add(8) == Some(bytes.len())
        && (chunk + chunk % 2).checked_add(20) == Some(bytes.len())
}

fn write_png(out: &mut Vec<u8>, pixels: &[u8], width: u32, height: u32) -> Result<(), EncodeError> {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    use image::{ExtendedColorType, ImageEncoder as _};
    PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, width, height, ExtendedColorType::Rgba8)
        .map_err(|error| EncodeError::Unwritable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels() -> Vec<u8> {
        (0..64 * 48).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 5) as u8, 120, 255]).collect()
    }

    #[test]
    fn every_format_is_recognised_and_read_back() {
        for format in Format::ALL {
            let bytes = encode(&pixels(), 64, 48, format).unwrap();
            assert_eq!(Format::sniff(&bytes), Some(format));
            let (back, width, height) = decode(&bytes).unwrap();
            assert_eq!((width, height), (64, 48));
            let worst = back.iter().zip(pixels()).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            let allowed = if format == Format::Jpeg { 40 } else { 0 };
            assert!(worst <= allowed, "{format:?} is off by {worst}");
            assert_eq!(Format::from_extension(format.extension()), Some(format));
            assert_eq!(dimensions(&bytes).unwrap(), (64, 48));
            assert!(is_bare(&bytes));
            assert!(!is_bare(&bytes[..20]) && !is_bare(&bytes[..bytes.len() - 1]));
            // What follows the picture is nobody's picture: a place for what must not be told.
            assert!(!is_bare(&[&bytes[..], b"prompt"].concat()));
        }
    }

    #[test]
    fn a_square_is_cut_from_the_middle_and_scaled() {
        // Left and right of the middle square is another colour.
        let strip = |x: usize| if (8..40).contains(&x) { [10, 200, 30, 255] } else { [250, 0, 0, 255] };
        let pixels: Vec<u8> = (0..48 * 32).flat_map(|at| strip(at % 48)).collect();
        let png = encode(&pixels, 48, 32, Format::Png).unwrap();
        for side in [1, 7, 32, 100] {
            let square = resquare(&png, side, Format::Webp).unwrap();
            let (pixels, width, height) = decode(&square).unwrap();
            assert_eq!((width, height), (side, side));
            assert!(pixels.chunks_exact(4).all(|pixel| pixel == [10, 200, 30, 255]), "{side}");
        }
        assert!(matches!(resquare(&png, 0, Format::Png), Err(EncodeError::Shape { .. })));
        assert!(matches!(resquare(b"GIF89a", 8, Format::Png), Err(EncodeError::Unreadable(_))));
    }

    #[test]
    fn wrong_shapes_are_refused() {
        for (width, height) in [(64, 47), (0, 0), (70_000, 1), (u32::MAX, u32::MAX)] {
            let error = encode(&pixels(), width, height, Format::Png).unwrap_err();
            assert!(matches!(error, EncodeError::Shape { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for bytes in [&b""[..], b"GIF89a....", b"\x89PNG\r\n\x1a\n", b"\xFF\xD8\xFF\xE0garbage", b"<html>"] {
            assert!(matches!(reencode(bytes, Format::Jpeg), Err(EncodeError::Unreadable(_))));
        }
    }

    #[test]
    fn reencoding_leaves_the_infotext_behind() {
        let png = encode(&pixels(), 64, 48, Format::Png).unwrap();
        // A tEXt chunk after IHDR, as the web UI writes its parameters.
        let text = b"parameters\0secret prompt";
        let mut chunk = b"tEXt".to_vec();
        chunk.extend_from_slice(text);
        let mut leaky = png[..33].to_vec();
        leaky.extend_from_slice(&(text.len() as u32).to_be_bytes());
        leaky.extend_from_slice(&chunk);
        leaky.extend_from_slice(&crc32(&chunk).to_be_bytes());
        leaky.extend_from_slice(&png[33..]);
        assert!(leaky.windows(6).any(|window| window == b"secret"));
        assert!(is_bare(&png) && !is_bare(&leaky));
        for format in Format::ALL {
            let clean = reencode(&leaky, format).unwrap();
            assert!(!clean.windows(6).any(|window| window == b"secret"));
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
        })
    }
}

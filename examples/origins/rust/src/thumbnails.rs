//! Thumbnails of the pictures in another bucket: `320/cats/tom.jpg` is `cats/tom.jpg`, at most 320 pixels wide and high.
//!
//! It promises that a picture which is too large is refused before it is decoded, that no more are decoded at once than there
//! are processors, and that a bucket which cannot be asked is never told as a missing picture. It keeps nothing: the bucket in
//! front does, and comes back with the ETag, which costs no picture at all while the original is the same.

use std::io::Cursor;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_object::{Addressing, Body, BucketName, Clock, ETag, Key, SystemClock};
use fallthrough_origin::{Answer, BoxError, Origin, OriginError, Request};
use fallthrough_shadow::{
    Asked, Dialect, Found, NetworkPolicy, Outbound, Outcome, Request as SourceRequest, S3Settings, S3Shadow,
    Shadow, ShadowError,
};
use fallthrough_wire::sigv4::Credentials;
use futures::StreamExt;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use tokio::sync::Semaphore;

/// The sizes there are, in pixels. Few, so that nobody can have a picture made, and kept, in thousands of sizes.
pub const SIDES_PX: [u32; 3] = [160, 320, 640];
/// The largest original, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 20 << 20;
/// The largest original, in pixels: 160 MB once it is decoded.
pub const SOURCE_PIXELS_MAX: u64 = 40_000_000;

/// Part of every ETag: changed whenever the same original would give other bytes.
const EDITION: &str = "thumbnail1";
const QUALITY: u8 = 82;
/// Longest wait for the headers of an original.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// What a busy source that names no time is given.
const SOURCE_REST: Duration = Duration::from_secs(5);

/// The origin.
#[derive(Debug)]
pub struct Thumbnails {
    pictures: S3Shadow,
    clock: Arc<dyn Clock>,
    /// A place for each picture that is decoded. Held by the work itself, which goes on when its caller has gone.
    places: Arc<Semaphore>,
}

impl Thumbnails {
    /// Of the bucket `bucket` at the S3 `endpoint`, which may be on this machine or in a private network. Without
    /// credentials it is asked anonymously. Nothing is asked yet.
    ///
    /// # Errors
    /// What cannot be a bucket, an endpoint or credentials.
    pub fn of(endpoint: &str, bucket: &str, credentials: Option<Credentials>) -> Result<Self, BoxError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = S3Settings {
            endpoint: endpoint.to_owned(),
            bucket: BucketName::parse(bucket)?,
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            credentials,
        };
        let outbound = Outbound::new(NetworkPolicy { allow_private: true })?;
        let pictures = S3Shadow::new(settings, &outbound, Arc::clone(&clock))?;
        let places = std::thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self { pictures, clock, places: Arc::new(Semaphore::new(places)) })
    }

    /// The original; `None` if it still has the ETag `known`.
    async fn original(&self, key: Key, known: Option<ETag>) -> Result<Option<Box<Found>>, OriginError> {
        let conditional = known.is_some();
        let request = SourceRequest { if_none_match: known, ..SourceRequest::get(key, ASK_TIMEOUT) };
        let asked = Asked { range: false, part: false, tagging: false, conditional, head: false };
        let dialect = Dialect::S3 { absent_on_403: false };
        let answer = self.pictures.fetch(request).await.map_err(unanswered)?;
        match Outcome::of(answer, asked, dialect, self.clock.now()).await {
            Outcome::Found(found) => Ok(Some(found)),
            Outcome::NotModified { .. } => Ok(None),
            Outcome::Absent { ttl } => Err(OriginError::NotFound { ttl }),
            Outcome::Invalid => Err(OriginError::invalid("there can be no original of this name")),
            Outcome::Busy { retry_after } => {
                Err(OriginError::Busy { retry_after: retry_after.unwrap_or(SOURCE_REST) })
            }
            Outcome::Failing { status } => {
                Err(OriginError::internal(format!("the bucket of the originals failed: {status}")))
            }
            Outcome::Misconfigured { mend } => Err(OriginError::internal(mend)),
            other @ (Outcome::AbsentUnproven { .. }
            | Outcome::Changed
            | Outcome::RangeNotSatisfiable { .. }
            | Outcome::Archived
            | Outcome::Unacceptable { .. }
            | Outcome::NotOffered) => Err(OriginError::internal(format!("of no use: {other:?}"))),
        }
    }
}

#[async_trait]
impl Origin for Thumbnails {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let (side_px, key) = parse(request.key.as_str()).ok_or_else(|| {
            OriginError::invalid("a key is 160, 320 or 640, a slash, and the picture's key")
        })?;
        let marked = format!("{EDITION}-{side_px}-");
        let known = known_original(request, &marked);
        let Some(found) = self.original(key, known.clone()).await? else {
            let known = known.map(|etag| ETag::strong(format!("{marked}{}", etag.value())));
            return match known {
                Some(Ok(etag)) => Ok(Answer::unchanged(etag)),
                Some(Err(_)) | None => Err(OriginError::internal("304 to an ETag that was not sent")),
            };
        };
        let etag = found.etag.as_ref().filter(|etag| !etag.is_weak());
        let etag = etag.and_then(|etag| ETag::strong(format!("{marked}{}", etag.value())).ok());
        let bytes = collect(*found).await?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(OriginError::internal)?;
        let making = tokio::task::spawn_blocking(move || {
            let made = make(&bytes, side_px);
            drop(place);
            made
        });
        let (content_type, bytes) = making.await.map_err(OriginError::internal)??;
        let answer = Answer::from((content_type, bytes)).fresh_for(Duration::from_secs(3600));
        // Without an ETag of the original, the server makes one of the bytes.
        Ok(match etag {
            Some(etag) => answer.etag(etag),
            None => answer,
        })
    }
}

/// Side and original's key of `160/cats/tom.jpg`.
fn parse(key: &str) -> Option<(u32, Key)> {
    let (side, original) = key.split_once('/')?;
    let side_px = SIDES_PX.into_iter().find(|side_px| side_px.to_string() == side)?;
    Some((side_px, Key::parse(original).ok()?))
}

/// The original's ETag in that of a thumbnail which the caller has, if it was made as it would be made now.
fn known_original(request: &Request, marked: &str) -> Option<ETag> {
    let known = ETag::parse(request.headers.get("if-none-match")?.to_str().ok()?).ok()?;
    ETag::strong(known.value().strip_prefix(marked)?).ok()
}

fn unanswered(error: ShadowError) -> OriginError {
    match error {
        ShadowError::Unreachable { .. } | ShadowError::Timeout => {
            OriginError::Busy { retry_after: SOURCE_REST }
        }
        ShadowError::Malformed { .. }
        | ShadowError::Unframed
        | ShadowError::Forbidden { .. }
        | ShadowError::Loop
        | ShadowError::NoList
        | ShadowError::ReadOnly
        | ShadowError::ListRefused { .. } => OriginError::internal(error),
    }
}

/// The whole original, of at most [`SOURCE_BYTES_MAX`].
async fn collect(found: Found) -> Result<Vec<u8>, OriginError> {
    let too_large = || OriginError::invalid("the original has more than 20 MiB");
    if found.size_bytes.is_some_and(|size| size > SOURCE_BYTES_MAX) {
        return Err(too_large());
    }
    let mut stream = match found.body {
        Body::Bytes(bytes) => return Ok(bytes.to_vec()),
        Body::File(_) => return Err(OriginError::internal("an answer from the network is no file")),
        Body::Stream(stream) => stream,
    };
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(OriginError::internal)?);
        // A body in chunks has not said how long it is.
        if bytes.len() as u64 > SOURCE_BYTES_MAX {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

/// Content type and bytes of a picture that is at most `side_px` wide and high, with its proportions, upright, and not larger
/// than the original: PNG if that has transparency, else JPEG.
///
/// Takes as long as decoding does: not to be called where nothing may block.
///
/// # Errors
/// [`OriginError::Invalid`] for what is no PNG, JPEG or WebP, is damaged, or has more than [`SOURCE_PIXELS_MAX`]: that is known
/// from its first bytes, before any memory is taken for the pixels.
pub fn make(original: &[u8], side_px: u32) -> Result<(&'static str, Vec<u8>), OriginError> {
    let unreadable =
        |error: image::ImageError| OriginError::invalid(format!("the original is no picture: {error}"));
    let reader = ImageReader::new(Cursor::new(original)).with_guessed_format()?;
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > SOURCE_PIXELS_MAX {
        return Err(OriginError::invalid(format!("the original has too many pixels: {width} x {height}")));
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    if picture.width().max(picture.height()) > side_px {
        picture = picture.thumbnail(side_px, side_px);
    }
    let mut out = Cursor::new(Vec::new());
    if picture.color().has_alpha() {
        picture.to_rgba8().write_to(&mut out, ImageFormat::Png).map_err(OriginError::internal)?;
        return Ok(("image/png", out.into_inner()));
    }
    let encoder = JpegEncoder::new_with_quality(&mut out, QUALITY);
    picture.to_rgb8().write_with_encoder(encoder).map_err(OriginError::internal)?;
    Ok(("image/jpeg", out.into_inner()))
}

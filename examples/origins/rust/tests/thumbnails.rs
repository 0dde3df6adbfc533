//! Thumbnails: their pixels, what is refused before it is decoded, and the contract over the wire.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Cursor;
use std::time::Duration;

use fallthrough_examples::thumbnails::{Thumbnails, make};
use fallthrough_origin::conformance::{Options, Outcome, conformance_of};
use fallthrough_origin::{Answer, ETag, Key, Origin, OriginError, Request, serve};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

const TOM: &str = "cats/tom \u{fc}%2F.png";

/// Red on the left, blue on the right.
fn flag(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(
        width,
        height,
        |x, _| if x < width / 2 { Rgb([220, 20, 20]) } else { Rgb([20, 20, 220]) },
    )
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.into().write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

/// A PNG of a few bytes that says it is `width` x `height`, all in order up to where its pixels would be.
fn promise(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(flag(1, 1));
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = bytes[12..29].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    });
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

fn is_red([red, green, blue]: [u8; 3]) -> bool {
    red > 180 && green < 60 && blue < 60
}

fn refusal(original: &[u8]) -> String {
    match make(original, 160) {
        Err(OriginError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thumbnail_is_the_picture_and_smaller() {
    let (kind, bytes) = make(&png(flag(1000, 500)), 320).unwrap();
    assert_eq!(kind, "image/jpeg");
    let small = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).unwrap().to_rgb8();
    assert_eq!(small.dimensions(), (320, 160));
    assert!(is_red(small.get_pixel(40, 80).0) && small.get_pixel(280, 80).0[2] > 180);

    let (_, bytes) = make(&png(flag(30, 20)), 160).unwrap();
    assert_eq!(
        image::load_from_memory(&bytes).unwrap().to_rgb8().dimensions(),
        (30, 20),
        "none is made larger"
    );

    let glass = RgbaImage::from_fn(400, 400, |_, y| Rgba([0, 200, 0, if y < 200 { 0 } else { 255 }]));
    let (kind, bytes) = make(&png(glass), 160).unwrap();
    let small = image::load_from_memory(&bytes).unwrap().to_rgba8();
    assert_eq!((kind, small.dimensions()), ("image/png", (160, 160)));
    assert_eq!((small.get_pixel(80, 20).0[3], small.get_pixel(80, 140).0), (0, [0, 200, 0, 255]));
}

#[test]
fn a_picture_of_a_camera_that_was_held_upright_is_upright() {
    let mut original = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut original, 95);
    // Big-endian TIFF, one entry: orientation (0x0112), a short, once, 6: what is left belongs on top.
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0];
    let exif = [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat();
    encoder.set_exif_metadata(exif).unwrap();
    flag(400, 200).write_with_encoder(encoder).unwrap();
    let (_, bytes) = make(&original, 160).unwrap();
    let small = image::load_from_memory(&bytes).unwrap().to_rgb8();
    assert_eq!(small.dimensions(), (80, 160));
    assert!(is_red(small.get_pixel(40, 20).0) && !is_red(small.get_pixel(40, 140).0));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_decoded() {
    // Nothing could decode these: there are no pixels in them. What is said shows that nobody tried.
    assert!(refusal(&promise(20_000, 20_000)).contains("too many pixels: 20000 x 20000"));
    assert!(refusal(&promise(40_000_001, 1)).contains("too many pixels"));
    // And this one is small enough to be tried.
    assert!(refusal(&promise(100, 100)).contains("no picture"));
    assert!(refusal(b"no picture at all").contains("no picture"));
    let whole = png(flag(300, 300));
    assert!(refusal(&whole[..whole.len() / 2]).contains("no picture"), "half a picture is none");
}

/// The bucket of the originals.
async fn originals(request: Request) -> Result<Answer, OriginError> {
    match (request.bucket.as_str(), request.key.as_str()) {
        ("pictures", TOM) => {
            Ok(Answer::from(("image/png", png(flag(400, 200)))).etag(ETag::strong("tom1").unwrap()))
        }
        ("pictures", "text.png") => Ok("no picture".into()),
        ("pictures", "broken.png") => Err(OriginError::internal("broken")),
        ("pictures", "busy.png") => Err(OriginError::Busy { retry_after: Duration::from_secs(7) }),
        ("pictures", "secret.png") => Err(OriginError::Denied),
        // More than it may be, and nobody has said how much.
        ("pictures", "endless.png") => {
            let pieces = (0..25).map(|_| Ok::<_, std::io::Error>(vec![0; 1 << 20]));
            Ok(Answer::stream(futures::stream::iter(pieces)))
        }
        ("pictures", _) => Err(OriginError::not_found()),
        (other, _) => panic!("asked for bucket {other}"),
    }
}

async fn ask(thumbnails: &Thumbnails, key: &str) -> Result<Answer, OriginError> {
    thumbnails.get(&Request::new("thumbs", Key::parse(key).unwrap())).await
}

#[tokio::test]
async fn thumbnails_keep_the_contract() {
    let server = serve(originals).bind("127.0.0.1:0").await.unwrap();
    let url = server.url();
    let testing = async {
        let options = Options {
            bucket: "thumbs".to_owned(),
            key: format!("320/{TOM}"),
            missing_key: Some("320/nobody.png".to_owned()),
            impossible_key: Some(format!("321/{TOM}")),
            failing_key: Some("320/broken.png".to_owned()),
            ..Options::default()
        };
        let report = conformance_of(Thumbnails::of(&url, "pictures", None).unwrap(), &options).await.unwrap();
        assert!(report.passed(), "{report}");
        for name in [
            "get",
            "again",
            "head",
            "range",
            "conditional",
            "missing",
            "impossible",
            "odd-keys",
            "decoding",
            "failure",
        ] {
            assert_eq!(report.check(name).unwrap().outcome, Outcome::Ok, "{name}:\n{report}");
        }

        let thumbnails = Thumbnails::of(&url, "pictures", None).unwrap();
        assert!(matches!(ask(&thumbnails, "320/text.png").await, Err(OriginError::Invalid(_))));
        assert!(matches!(ask(&thumbnails, "320/nobody.png").await, Err(OriginError::NotFound { .. })));
        // An unchanged original costs no picture: only then has an answer no size.
        for (known, unchanged) in
            [("thumbnail1-320-tom1", true), ("thumbnail1-320-tom2", false), ("thumbnail1-160-tom1", false)]
        {
            let mut again = Request::new("thumbs", Key::parse(&format!("320/{TOM}")).unwrap());
            again.headers.insert("if-none-match", format!("\"{known}\"").parse().unwrap());
            let answer = thumbnails.get(&again).await.unwrap();
            assert_eq!(answer.size_bytes().is_none(), unchanged, "{known}");
        }
        let busy = ask(&thumbnails, "320/busy.png").await;
        assert!(
            matches!(busy, Err(OriginError::Busy { retry_after }) if retry_after.as_secs() == 7),
            "{busy:?}"
        );
        let endless = ask(&thumbnails, "320/endless.png").await;
        assert!(matches!(&endless, Err(OriginError::Invalid(why)) if why.contains("20 MiB")), "{endless:?}");
        // That we may not read it does not make it absent.
        assert!(matches!(ask(&thumbnails, "320/secret.png").await, Err(OriginError::Internal(_))));
    };
    tokio::select! {
        () = testing => {}
        () = server.run() => panic!("the server ended"),
    }
    // It has ended now: a bucket that cannot be reached has not lost its pictures.
    let gone = ask(&Thumbnails::of(&url, "pictures", None).unwrap(), &format!("320/{TOM}")).await;
    assert!(matches!(gone, Err(OriginError::Busy { .. })), "{gone:?}");
}

//! Certificates as PDF: `2026-11-26/First aid/Ada Lovelace/{seal}.pdf` says what its key says.
//!
//! Whoever chooses a key chooses what is printed, so a key carries a seal, a part of an HMAC over the rest of it: only who has
//! the secret can make one that is answered, and nothing has to be stored to know which there are. A wrong seal is a key that
//! can never exist. The same key always has the same bytes.

use async_trait::async_trait;
use fallthrough_origin::{Answer, Origin, OriginError, Request};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::pdf::{Pdf, string};

/// The longest name and the longest course, in characters.
pub const TEXT_MAX: usize = 60;

/// Of the HMAC's 32: guessing one takes 2^127 attempts on average.
const SEAL_BYTES: usize = 16;
/// A4, across, in points.
const PAGE: (f64, f64) = (842.0, 595.0);
/// Every character of Courier is so wide, in parts of its size: nothing has to be measured.
const WIDTH: f64 = 0.6;
const TEXT_WIDTH: f64 = 700.0;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    date: String,
    course: String,
    name: String,
}

impl Certificate {
    /// `None` for what cannot be printed or is no day: texts are 1 to [`TEXT_MAX`] characters of Latin-1 without slashes and
    /// without spaces at either end, a date is `2026-11-26`.
    #[must_use]
    pub fn new(date: &str, course: &str, name: &str) -> Option<Self> {
        let fits = |text: &str| {
            (1..=TEXT_MAX).contains(&text.chars().count())
                && text.trim() == text
                && !text.contains('/')
                && string(text).is_some()
        };
        let sound = is_day(date) && fits(course) && fits(name);
        sound.then(|| Self { date: date.to_owned(), course: course.to_owned(), name: name.to_owned() })
    }

    fn sealed_part(&self) -> String {
        format!("{}/{}/{}", self.date, self.course, self.name)
    }

    /// One page.
    #[must_use]
    pub fn pdf(&self) -> Vec<u8> {
        let (width, height) = PAGE;
        let mut content = format!("2 w 30 30 {} {} re S\n", width - 60.0, height - 60.0);
        content.push_str(&centred("F2", 30.0, 430.0, "Certificate"));
        content.push_str(&centred("F1", 16.0, 360.0, "This is to certify that"));
        content.push_str(&centred("F2", 34.0, 300.0, &self.name));
        content.push_str(&centred("F1", 16.0, 250.0, "has completed"));
        content.push_str(&centred("F2", 24.0, 200.0, &self.course));
        content.push_str(&centred("F1", 14.0, 110.0, &self.date));
        let font = |name: &str| {
            format!("<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>")
        };
        let mut pdf = Pdf::new();
        pdf.object("<< /Type /Catalog /Pages 2 0 R >>");
        pdf.object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
        pdf.object(&format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R \
             /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>"
        ));
        pdf.stream(&content);
        pdf.object(&font("Courier"));
        pdf.object(&font("Courier-Bold"));
        pdf.finish()
    }
}

/// A line of text in the middle of the page, `above` points from its lower edge, smaller where it would not fit.
fn centred(font: &str, size: f64, above: f64, text: &str) -> String {
    let characters = text.chars().count() as f64;
    let size = size.min(TEXT_WIDTH / (characters * WIDTH));
    let left = (PAGE.0 - characters * WIDTH * size) / 2.0;
    // Whatever is printed has been through `string` before.
    let text = string(text).unwrap_or_default();
    format!("BT /{font} {size:.2} Tf {left:.2} {above} Td {text} Tj ET\n")
}

fn is_day(text: &str) -> bool {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, c)| if at == 4 || at == 7 { c == b'-' } else { c.is_ascii_digit() });
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let (true, Some(year), Some(month), Some(day)) = (shape, number(0, 4), number(5, 7), number(8, 10))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// The origin.
pub struct Certificates {
    seals: Hmac<Sha256>,
}

impl Certificates {
    /// Sealed with `secret`, which should be at least 32 random bytes.
    ///
    /// # Errors
    /// It is shorter than 16 bytes.
    pub fn sealed_with(secret: &[u8]) -> Result<Self, &'static str> {
        match Hmac::<Sha256>::new_from_slice(secret) {
            Ok(seals) if secret.len() >= 16 => Ok(Self { seals }),
            Ok(_) | Err(_) => Err("the secret is shorter than 16 bytes"),
        }
    }

    /// The key under which `certificate` can be had.
    #[must_use]
    pub fn key(&self, certificate: &Certificate) -> String {
        let sealed = certificate.sealed_part();
        let seal = self.seals.clone().chain_update(&sealed).finalize().into_bytes();
        let digits: String = seal.iter().take(SEAL_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("{sealed}/{digits}.pdf")
    }

    /// What `key` says, if its seal is ours.
    #[must_use]
    pub fn parse(&self, key: &str) -> Option<Certificate> {
        let (sealed, file) = key.rsplit_once('/')?;
        let mut parts = sealed.split('/');
        let certificate = Certificate::new(parts.next()?, parts.next()?, parts.next()?)?;
        let seal = unhex(file.strip_suffix(".pdf")?)?;
        // Compared in constant time: how long it takes tells nothing of the seal.
        let right = self.seals.clone().chain_update(sealed).verify_truncated_left(&seal).is_ok();
        (right && parts.next().is_none()).then_some(certificate)
    }
}

/// A seal of small digits: one that may be spelled in two ways would be two objects.
fn unhex(digits: &str) -> Option<[u8; SEAL_BYTES]> {
    let small = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * SEAL_BYTES || !digits.bytes().all(small) {
        return None;
    }
    let mut bytes = [0; SEAL_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[async_trait]
impl Origin for Certificates {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let certificate = self.parse(request.key.as_str()).ok_or_else(|| {
            OriginError::invalid("a key is date/course/name/seal.pdf, and its seal is not for guessing")
        })?;
        Ok(Answer::from(("application/pdf", certificate.pdf()))
            .cache_control("public, max-age=31536000, immutable"))
    }
}

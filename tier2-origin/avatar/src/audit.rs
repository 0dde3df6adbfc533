//! How far a picture has drifted from the one that is kept.
//!
//! The first answer that was stored is the truth; the same key made anew, by another version of an engine or on other
//! hardware, may differ. How much it does is said twice: whether the files have the same bytes, and how far their
//! pixels are apart.

use fallthrough_diffusion::encode;
use serde::Serialize;

use crate::mutants::{Mutant, planted};

/// How two pictures of one key differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Drift {
    /// Byte by byte the same file.
    None,
    /// Other bytes, the same pixels: another encoder.
    BytesOnly,
    /// Other pixels.
    Pixels {
        /// How many of the pixels differ at all, 0 to 1.
        differing: f64,
        /// The largest difference of a channel, 1 to 255.
        worst: u8,
        /// The mean difference over all channels of all pixels, 0 to 255.
        mean: f64,
    },
    /// Another width or height.
    Size {
        /// Width and height in pixels of what is kept.
        kept: (u32, u32),
        /// Those of what was made anew.
        anew: (u32, u32),
    },
}

/// Compares the file that is kept with the one that was made anew.
///
/// # Errors
/// One of them is no picture that can be read.
pub fn compare(kept: &[u8], anew: &[u8]) -> Result<Drift, encode::EncodeError> {
    if kept == anew {
        return Ok(Drift::None);
    }
    let (kept, width, height) = encode::decode(kept)?;
    let (anew, other_width, other_height) = encode::decode(anew)?;
    if (width, height) != (other_width, other_height) {
        return Ok(Drift::Size { kept: (width, height), anew: (other_width, other_height) });
    }
    let apart = || kept.iter().zip(&anew).map(|(a, b)| a.abs_diff(*b));
    let worst = apart().max().unwrap_or(0);
    if worst == 0 {
        return Ok(if planted(Mutant::DriftOfPixelsAlone) { Drift::None } else { Drift::BytesOnly });
    }
    let pixels = kept.len() / 4;
    let differing = kept.chunks_exact(4).zip(anew.chunks_exact(4)).filter(|(a, b)| a != b).count();
    let sum: u64 = apart().map(u64::from).sum();
    Ok(Drift::Pixels {
        differing: differing as f64 / pixels as f64,
        worst,
        mean: sum as f64 / kept.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use fallthrough_diffusion::Format;

    use super::*;
    use crate::mutants::caught;

    fn png(pixels: &[u8], side: u32) -> Vec<u8> {
        encode::encode(pixels, side, side, Format::Png).unwrap().to_vec()
    }

    fn bytes_alone() {
        let pixels = [90; 16 * 16 * 4];
        let webp = encode::encode(&pixels, 16, 16, Format::Webp).unwrap();
        assert_eq!(compare(&png(&pixels, 16), &webp).unwrap(), Drift::BytesOnly);
    }

    #[test]
    fn bytes_are_looked_at_before_pixels() {
        let one = png(&[90; 16 * 16 * 4], 16);
        assert_eq!(compare(&one, &one).unwrap(), Drift::None);
        bytes_alone();
        assert!(caught(Mutant::DriftOfPixelsAlone, bytes_alone));
    }

    #[test]
    fn pixels_are_counted_and_measured() {
        let mut pixels = [90; 16 * 16 * 4];
        let before = png(&pixels, 16);
        pixels[0] = 110;
        pixels[5] = 89;
        let drift = compare(&before, &png(&pixels, 16)).unwrap();
        assert_eq!(drift, Drift::Pixels { differing: 2.0 / 256.0, worst: 20, mean: 21.0 / 1024.0 });
    }

    #[test]
    fn another_size_is_no_question_of_pixels() {
        let (small, large) = (png(&[90; 8 * 8 * 4], 8), png(&[90; 16 * 16 * 4], 16));
        assert_eq!(compare(&small, &large).unwrap(), Drift::Size { kept: (8, 8), anew: (16, 16) });
    }

    #[test]
    fn what_is_no_picture_is_a_failure_and_no_drift() {
        assert!(compare(&png(&[90; 8 * 8 * 4], 8), b"<html>").is_err());
        assert!(compare(b"", &png(&[90; 8 * 8 * 4], 8)).is_err());
    }
}

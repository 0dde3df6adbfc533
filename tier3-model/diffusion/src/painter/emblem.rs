//! The small pictures that avatar services show where somebody has no picture of their own.
//!
//! They are drawn by nothing but the digits of a hash, or by nothing at all: no model is asked for them.

use sha2::{Digest as _, Sha256};

use super::canvas::{Canvas, Pen, down, ellipse};
use super::color::{Rgb, rgb};

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Emblem {
    /// The mystery person: a grey outline, the same for everybody.
    Mystery,
    /// A mirrored pattern of squares.
    Identicon,
    /// A small creature of an eight-bit arcade.
    Retro,
    /// Nothing: transparent, or white where there is no transparency.
    Blank,
}

impl Emblem {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mystery, Self::Identicon, Self::Retro, Self::Blank];

    /// The name that Gravatar and Libravatar have for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mystery => "mp",
            Self::Identicon => "identicon",
            Self::Retro => "retro",
            Self::Blank => "blank",
        }
    }

    /// Whether every hash has another one.
    #[must_use]
    pub fn depends_on_hash(self) -> bool {
        match self {
            Self::Mystery | Self::Blank => false,
            Self::Identicon | Self::Retro => true,
        }
    }
}

/// Draws an emblem: `side` × `side` RGBA pixels, row by row from the top left. `hash` is used as it is: hand it over in
/// lower case. `None` if the side is not from 8 to 4096.
#[must_use]
pub fn draw(emblem: Emblem, hash: &str, side: u32) -> Option<Vec<u8>> {
    if !(8..=4096).contains(&side) {
        return None;
    }
    let bits = Sha256::digest(format!("{} {hash}", emblem.name()));
    match emblem {
        Emblem::Mystery => mystery(side),
        Emblem::Identicon => identicon(&bits, side),
        Emblem::Retro => retro(&bits, side),
        // White below the transparency, which an encoder without it shows.
        Emblem::Blank => Some([255, 255, 255, 0].repeat(side as usize * side as usize)),
    }
}

/// The canvas scaled so that the picture is 256 units wide.
fn drawn(side: u32, draw: impl FnOnce(&mut Canvas)) -> Option<Vec<u8>> {
    let mut canvas = Canvas::new(side, side)?;
    let scale = side as f32 / 256.0;
    canvas.within(tiny_skia::Transform::from_scale(scale, scale), draw);
    Some(canvas.pixmap.take())
}

fn mystery(side: u32) -> Option<Vec<u8>> {
    drawn(side, |canvas| {
        canvas.rect(0.0, 0.0, 256.0, 256.0, down(0.0, rgb(0xC9CED6), 256.0, rgb(0xAEB5C0)));
        let bust = Pen::at(24.0, 262.0)
            .c(28.0, 200.0, 72.0, 174.0, 128.0, 174.0)
            .c(184.0, 174.0, 228.0, 200.0, 232.0, 262.0)
            .z()
            .end();
        canvas.fill(&bust, rgb(0xF7F8FA));
        canvas.fill(&ellipse(128.0, 106.0, 48.0, 55.0), rgb(0xF7F8FA));
    })
}

/// A colour of full strength at `turn` of the circle of hues, 0 to 255.
fn hue(turn: u8, light: f32) -> Rgb {
    let wheel = [0xD64550, 0xE8833A, 0xD9B32C, 0x6BA83C, 0x2FA37C, 0x2F93B8, 0x4468C8, 0x7B55C0, 0xB84C9E];
    let at = usize::from(turn) * wheel.len();
    let (from, part) = (at / 256, (at % 256) as f32 / 256.0);
    let color = rgb(wheel[from]).mix(rgb(wheel[(from + 1) % wheel.len()]), part);
    color.mix(rgb(0xFFFFFF), light)
}

/// Squares of a grid, mirrored at the middle, with `bit` saying which are filled.
fn mirrored(
    canvas: &mut Canvas,
    cells: usize,
    from: f32,
    cell: f32,
    color: Rgb,
    bit: impl Fn(usize, usize) -> bool,
) {
    for y in 0..cells {
        for x in 0..cells {
            if bit(x.min(cells - 1 - x), y) {
                // Wider than it is, so that no seams show between neighbours.
                let at = |n: usize| from + n as f32 * cell;
                canvas.rect(at(x), at(y), cell + 1.2, cell + 1.2, color);
            }
        }
    }
}

fn identicon(bits: &[u8], side: u32) -> Option<Vec<u8>> {
    let color = hue(bits[0], 0.0);
    let bit = |x: usize, y: usize| bits[1 + x * 5 + y] & 1 == 1;
    drawn(side, |canvas| {
        canvas.rect(0.0, 0.0, 256.0, 256.0, rgb(0xF2F3F5));
        mirrored(canvas, 5, 23.0, 42.0, color, bit);
    })
}

fn retro(bits: &[u8], side: u32) -> Option<Vec<u8>> {
    let (ground, body, shade) = (hue(bits[0], 0.62), hue(bits[0].wrapping_add(96), 0.0), hue(bits[1], 0.25));
    drawn(side, |canvas| {
        canvas.rect(0.0, 0.0, 256.0, 256.0, ground);
        // Ten cells across; the body fills the middle and its edge is thrown.
        let edge = |x: usize, y: usize| {
            let middle = (2..=4).contains(&x) && (2..=7).contains(&y);
            let near = x >= 1 && (1..=8).contains(&y);
            middle || near && !bits[2 + (x * 7 + y) % 24].is_multiple_of(3)
        };
        mirrored(canvas, 10, 8.0, 24.0, body, edge);
        mirrored(canvas, 10, 8.0, 24.0, shade, |x, y| {
            (2..=4).contains(&x) && (6..=8).contains(&y) && bits[26 + x % 3] >> (y - 6) & 1 == 1
        });
        let eyes = 3 + usize::from(bits[30] & 1);
        mirrored(canvas, 10, 8.0, 24.0, rgb(0xFFFFFF), |x, y| x == 3 && (y == eyes || y == eyes + 1));
        mirrored(canvas, 10, 8.0, 24.0, rgb(0x1C1830), |x, y| {
            x == 3 && y == eyes + usize::from(bits[31] & 1)
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::hex;

    const HASH: &str = "27205e5c51cb03f862138b22bcb5dc20";

    #[test]
    fn golden_emblems() {
        let told =
            Emblem::ALL.map(|emblem| hex(&Sha256::digest(draw(emblem, HASH, 96).unwrap()))[..16].to_owned());
        assert_eq!(told, GOLDEN, "raise the edition of whoever keeps them");
    }

    const GOLDEN: [&str; 4] =
        ["03ed34f8eb5303d3", "99aeb15d6a904974", "e5639091fd5d753c", "2a1788344d2f78ea"];

    #[test]
    fn only_some_depend_on_the_hash() {
        for emblem in Emblem::ALL {
            let (one, two) =
                (draw(emblem, HASH, 64).unwrap(), draw(emblem, &HASH.replace('2', "3"), 64).unwrap());
            assert_eq!(one != two, emblem.depends_on_hash(), "{emblem:?}");
            assert_eq!(one.len(), 64 * 64 * 4);
            let transparent = one.iter().skip(3).step_by(4).all(|alpha| *alpha == 0);
            assert_eq!(transparent, emblem == Emblem::Blank);
        }
        assert_eq!(draw(Emblem::Retro, HASH, 7), None);
    }

    #[test]
    fn every_digit_of_a_hash_counts() {
        let other = HASH.replace("dc20", "dc21");
        for emblem in [Emblem::Identicon, Emblem::Retro] {
            assert_ne!(draw(emblem, HASH, 64), draw(emblem, &other, 64), "{emblem:?}");
        }
    }
}

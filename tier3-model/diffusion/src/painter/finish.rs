//! What the technique does to the finished picture: paper, screens, brush marks, pixels.
//!
//! Everything here works on opaque RGBA bytes with integers only, so that the result is the same
//! on every machine.

use crate::traits::{Style, Technique, mix};

use super::dice::Dice;

/// The pixels being finished.
pub(crate) struct Sheet<'a> {
    pub(crate) pixels: &'a mut [u8],
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Sheet<'_> {
    /// Pixels per design unit, at least one: marks keep their size on the picture.
    fn unit(&self) -> usize {
        (self.width.min(self.height) / 256).max(1)
    }

    fn rows(&mut self) -> impl Iterator<Item = (usize, &mut [u8])> {
        self.pixels.chunks_exact_mut(self.width * 4).enumerate()
    }
}

/// Applies the style's and the technique's surface.
pub(crate) fn finish(sheet: &mut Sheet<'_>, style: Style, technique: Technique, seed: u32) {
    match technique {
        Technique::Digital => vignette(sheet, 46),
        Technique::Watercolor => watercolor(sheet, seed),
        Technique::Halftone => halftone(sheet),
        Technique::Pixel => posterize(sheet),
        Technique::Hatching => hatching(sheet, seed),
        Technique::Oil => oil(sheet, seed),
        Technique::Pencil => pencil(sheet, seed),
        Technique::Riso => riso(sheet, seed),
    }
    match style {
        Style::Retro => scanlines(sheet),
        Style::Synthwave => neon_floor(sheet),
        Style::Anime | Style::Flat | Style::Comic | Style::Pastel | Style::Storybook | Style::Sticker => {}
    }
}

/// `a` at weight 0, `b` at weight 256.
fn blend(a: u8, b: u8, weight: i32) -> u8 {
    let (a, b) = (i32::from(a), i32::from(b));
    (a + (((b - a) * weight) >> 8)).clamp(0, 255) as u8
}

fn add(channel: &mut u8, by: i32) {
    *channel = (i32::from(*channel) + by).clamp(0, 255) as u8;
}

fn luma(pixel: &[u8]) -> i32 {
    (i32::from(pixel[0]) * 77 + i32::from(pixel[1]) * 150 + i32::from(pixel[2]) * 29) >> 8
}

/// Noise in −128..128, one throw per pixel.
fn grain(seed: u32, x: usize, y: usize) -> i32 {
    let mut bits = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed;
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x2C1B_3C6D);
    bits ^= bits >> 13;
    (bits >> 24) as i32 - 128
}

/// Smooth noise, −128..128: random values on a grid, interpolated between.
struct Fog {
    cell: usize,
    columns: usize,
    values: Vec<i32>,
}

impl Fog {
    fn new(sheet: &Sheet<'_>, cell: usize, seed: u32) -> Self {
        let columns = sheet.width / cell + 2;
        let rows = sheet.height / cell + 2;
        let tag = u64::from(seed) << 20 ^ cell as u64;
        let values =
            (0..columns * rows).map(|at| (mix(tag ^ ((at as u64) << 40)) >> 56) as i32 - 128).collect();
        Self { cell, columns, values }
    }

    /// One row of the noise.
    fn row(&self, y: usize, out: &mut Vec<i32>, width: usize) {
        let (gy, fy) = (y / self.cell, ((y % self.cell) * 256 / self.cell) as i32);
        let upper = &self.values[gy * self.columns..][..self.columns];
        let lower = &self.values[(gy + 1) * self.columns..][..self.columns];
        let column = |at: usize| upper[at] * 256 + (lower[at] - upper[at]) * fy;
        out.clear();
        let mut at = 0;
        let (mut left, mut right) = (column(0), column(1));
        let step = 256 / self.cell as i32;
        let mut fx = 0;
        for x in 0..width {
            if x / self.cell != at {
                at = x / self.cell;
                (left, right, fx) = (right, column(at + 1), 0);
            }
            out.push((left + (((right - left) >> 8) * fx)) >> 8);
            fx += step;
        }
    }
}

/// Darker corners, `strength` of 256 at the very corner.
fn vignette(sheet: &mut Sheet<'_>, strength: i32) {
    let (width, height) = (sheet.width as i32, sheet.height as i32);
    let across: Vec<i32> = (0..width)
        .map(|x| {
            let d = (2 * x - width) * 256 / width;
            (d * d) >> 9
        })
        .collect();
    for (y, row) in sheet.rows() {
        let d = (2 * y as i32 - height) * 256 / height;
        let down = (d * d) >> 9;
        for (pixel, across) in row.chunks_exact_mut(4).zip(&across) {
            let dark = ((across + down - 80).max(0) * strength) >> 8;
            for channel in &mut pixel[..3] {
                *channel = blend(*channel, 16, dark);
            }
        }
    }
}

/// Pigment that pools and thins on white paper with a torn wet edge.
fn watercolor(sheet: &mut Sheet<'_>, seed: u32) {
    let unit = sheet.unit();
    let (pools, edge) = (Fog::new(sheet, 32 * unit, seed), Fog::new(sheet, 8 * unit, seed ^ 0x55));
    let (width, height) = (sheet.width, sheet.height);
    let (mut pool, mut torn) = (Vec::with_capacity(width), Vec::with_capacity(width));
    let border = 9 * unit as i32;
    for (y, row) in sheet.rows() {
        pools.row(y, &mut pool, width);
        edge.row(y, &mut torn, width);
        let from_top = y.min(height - 1 - y) as i32;
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let paper = 250 + (grain(7, x / unit, y / unit) >> 5);
            let thin = 30 + (pool[x] >> 2) + (torn[x] >> 3) + (grain(seed, x / unit, y / unit) >> 4);
            let inside = (x.min(width - 1 - x) as i32).min(from_top) * 256 / border - 70 - torn[x];
            // A dark line where the wash dried, then bare paper.
            let (dried, bare) = if inside < 0 {
                (0, 236)
            } else if inside < 70 {
                (40, 0)
            } else {
                (0, 0)
            };
            for (channel, warm) in pixel[..3].iter_mut().zip([3, 0, -8]) {
                let washed = blend(*channel, 252, thin.clamp(0, 100));
                *channel = blend(blend(washed, 40, dried), (paper + warm).clamp(0, 255) as u8, bare);
            }
        }
    }
}

/// A screen of dots at 45°, larger where it is darker.
fn halftone(sheet: &mut Sheet<'_>) {
    let unit = sheet.unit() as i32;
    let cell = 6 * unit;
    for (y, row) in sheet.rows() {
        let y = y as i32;
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let x = x as i32;
            let (u, v) = ((x + y).rem_euclid(cell) - cell / 2, (x - y).rem_euclid(cell) - cell / 2);
            let distance = (u * u + v * v) * 256 / (cell * cell / 2);
            // Never so dark that the dots close over a face.
            let dark = (236 - luma(pixel)).min(150);
            let dot = (dark * 9 / 10 - distance).clamp(0, 40) * 6;
            for channel in &mut pixel[..3] {
                let lifted = blend(*channel, 255, 44);
                let ink = blend(*channel, 0, 66);
                *channel = blend(lifted, ink, dot);
            }
        }
    }
}

/// Few colours with an ordered dither, for pictures that are already made of blocks.
fn posterize(sheet: &mut Sheet<'_>) {
    const BAYER: [[i32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    for (y, row) in sheet.rows() {
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let threshold = BAYER[y & 3][x & 3] - 8;
            for channel in &mut pixel[..3] {
                let level = (i32::from(*channel) + threshold + 12).clamp(0, 255) / 24;
                *channel = (level * 255 / 10).min(255) as u8;
            }
        }
    }
}

/// Ink lines in three directions, denser where it is darker, on cream paper.
fn hatching(sheet: &mut Sheet<'_>, seed: u32) {
    let unit = sheet.unit();
    let width = sheet.width;
    let wobble = Fog::new(sheet, 16 * unit, seed);
    let mut shift = Vec::with_capacity(width);
    for (y, row) in sheet.rows() {
        wobble.row(y, &mut shift, width);
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let luma = luma(pixel);
            let (u, v, bend) = ((x / unit) as i32, (y / unit) as i32, shift[x] >> 6);
            let first = (u + v + bend).rem_euclid(5) < 1 + i32::from(luma < 90);
            let second = (u - v + bend).rem_euclid(6) < 1 + i32::from(luma < 50);
            let third = (v + bend).rem_euclid(4) == 0;
            let ink =
                if (luma < 168 && first) || (luma < 112 && second) || (luma < 60 && third) { 120 } else { 0 };
            for (channel, cream) in pixel[..3].iter_mut().zip([250, 244, 228]) {
                let washed = blend(*channel, cream, 62);
                *channel = blend(washed, 24, ink);
            }
        }
    }
}

/// Brush marks: dabs that pull colour along, and the light on their ridges.
fn oil(sheet: &mut Sheet<'_>, seed: u32) {
    let unit = sheet.unit();
    let (width, height) = (sheet.width, sheet.height);
    let source = sheet.pixels.to_vec();
    let (bend_x, bend_y) = (Fog::new(sheet, 8 * unit, seed ^ 1), Fog::new(sheet, 8 * unit, seed ^ 2));
    let (mut dx, mut dy) = (Vec::with_capacity(width), Vec::with_capacity(width));
    for (y, row) in sheet.rows() {
        bend_x.row(y, &mut dx, width);
        bend_y.row(y, &mut dy, width);
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let from_x = (x as i32 + ((dx[x] * unit as i32) >> 6)).clamp(0, width as i32 - 1) as usize;
            let from_y = (y as i32 + ((dy[x] * unit as i32) >> 6)).clamp(0, height as i32 - 1) as usize;
            let from = &source[(from_y * width + from_x) * 4..][..3];
            // Bristles run along the dab: stretched noise.
            let bristle =
                grain(seed, (from_x + from_y) / (2 * unit), (from_x.abs_diff(from_y)) / (9 * unit)) >> 3;
            let ridge = (dx[x] - dy[x]) >> 4;
            for (channel, from) in pixel[..3].iter_mut().zip(from) {
                *channel = *from;
                add(channel, bristle + ridge);
            }
        }
    }
}

/// Diagonal strokes that leave the tooth of the paper white.
fn pencil(sheet: &mut Sheet<'_>, seed: u32) {
    let unit = sheet.unit();
    for (y, row) in sheet.rows() {
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let (u, v) = (x / unit, y / unit);
            let stroke = grain(seed, (u + v * 2) / 2, (u * 2 + 4096 - v) / 24);
            let tooth = grain(11, u, v);
            let gap = (50 + ((stroke * 3) >> 3) + (tooth >> 2)).clamp(0, 130);
            for (channel, paper) in pixel[..3].iter_mut().zip([252, 250, 244]) {
                *channel = blend(*channel, paper, gap);
            }
        }
    }
}

/// Two printing passes that do not quite meet, in grainy ink.
fn riso(sheet: &mut Sheet<'_>, seed: u32) {
    let unit = sheet.unit();
    let width = sheet.width;
    let off = 2 * unit;
    let mut dice = Dice::new(seed, "riso");
    let to_the_right = dice.one_in(2);
    let mut red = vec![0; width];
    for (y, row) in sheet.rows() {
        for (saved, pixel) in red.iter_mut().zip(row.chunks_exact(4)) {
            *saved = pixel[0];
        }
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let from = if to_the_right { x.saturating_sub(off) } else { (x + off).min(width - 1) };
            pixel[0] = red[from];
            let speck = grain(seed, x / unit, y / unit);
            let dark = 255 - luma(pixel);
            let dust = (speck * (dark + 40)) >> 11;
            for (channel, paper) in pixel[..3].iter_mut().zip([255, 247, 232]) {
                *channel = blend(*channel, paper, 30);
                add(channel, dust);
            }
        }
    }
}

/// The soft dark lines of a television tube.
fn scanlines(sheet: &mut Sheet<'_>) {
    let unit = sheet.unit();
    for (y, row) in sheet.rows() {
        if (y / unit).is_multiple_of(3) {
            for pixel in row.chunks_exact_mut(4) {
                for channel in &mut pixel[..3] {
                    *channel = blend(*channel, 20, 26);
                }
            }
        }
    }
}

/// Magenta light from below, cyan from above.
fn neon_floor(sheet: &mut Sheet<'_>) {
    let height = sheet.height as i32;
    for (y, row) in sheet.rows() {
        let down = y as i32 * 256 / height;
        let (low, high) = (((down - 130).max(0) * 26) >> 8, ((110 - down).max(0) * 40) >> 8);
        for pixel in row.chunks_exact_mut(4) {
            add(&mut pixel[0], low);
            add(&mut pixel[1], (high - low) >> 1);
            add(&mut pixel[2], (low >> 1) + high);
        }
    }
}

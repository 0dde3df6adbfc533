//! An engine without weights: portraits drawn with curves.
//!
//! [`paint`] is the pure part, from [`Traits`] to pixels; [`Painter`] puts it behind
//! [`ImageModel`], reading the traits from the prompt's words. The same request gives the same
//! bytes, whatever thread or how many of them draw: randomness comes from the seed alone, and
//! no library's sine or power is involved.
//!
//! Two casts: [`Cast::Portrait`] is the house style, [`Cast::Critter`] draws animals by the same traits.
//! [`emblem`] has the small pictures that avatar services fall back to.
//!
//! It does not use guidance, samplers or steps: they are accepted, as every engine must, and
//! change nothing.

mod accessory;
mod canvas;
mod color;
mod critter;
mod dice;
pub mod emblem;
mod face;
mod finish;
mod hair;
mod look;
mod outfit;
mod scene;

use async_trait::async_trait;
use tiny_skia::{PixmapPaint, Transform};

use crate::encode;
use crate::model::{Fingerprint, ImageModel, Job, ModelCard, ModelError, Picture};
use crate::request::{Txt2Img, hex};
use crate::traits::{Technique, Traits};

use canvas::Canvas;
use finish::Sheet;
use look::Look;

/// Changes whenever a picture may: part of the fingerprint.
const VERSION: &str = "1";

/// Who is drawn by the traits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cast {
    /// People: the house style.
    #[default]
    Portrait,
    /// Animals in clothes.
    Critter,
}

impl Cast {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Portrait, Self::Critter];

    /// The name in settings: `portrait` or `critter`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portrait => "portrait",
            Self::Critter => "critter",
        }
    }

    /// The cast of that name; `None` for other names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cast| cast.name() == name)
    }

    /// The name as a model, which a request may ask for.
    fn model(self) -> &'static str {
        match self {
            Self::Portrait => "painter",
            Self::Critter => "painter-critter",
        }
    }
}

/// Smallest side that is drawn pixel by pixel; in smaller ones, marks of one pixel would be coarse.
const FINE_SIDE_MIN: u32 = 192;

/// The drawing engine behind [`ImageModel`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Painter {
    cast: Cast,
}

impl Painter {
    /// A painter of portraits. It has no state: all of them draw alike.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A painter of this cast.
    #[must_use]
    pub fn of(cast: Cast) -> Self {
        Self { cast }
    }

    fn fingerprint(self) -> Fingerprint {
        use sha2::Digest as _;
        let name = self.cast.model();
        // There are no weights; a hash of name and version stands in for theirs, ten digits
        // long as the web UI shortens them.
        let hash = hex(&sha2::Sha256::digest(format!("{name} {VERSION}")));
        Fingerprint {
            engine: name.to_owned(),
            version: VERSION.to_owned(),
            model_hash: hash[..10].to_owned(),
        }
    }
}

#[async_trait]
impl ImageModel for Painter {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        request.validate().map_err(|invalid| ModelError::Invalid(invalid.to_string()))?;
        let (cast, name) = (self.cast, self.cast.model());
        if !request.model.is_empty() && request.model != name {
            return Err(ModelError::Invalid(format!("no model {:?}, only {name:?}", request.model)));
        }
        if job.is_cancelled() {
            return Err(ModelError::Cancelled);
        }
        let traits = Traits::from_prompt(&request.prompt, request.seed);
        let (width, height, job) = (request.width, request.height, job.clone());
        let fingerprint = self.fingerprint();
        // Two milliseconds for an avatar, fifty for the largest size: too long for a thread
        // that other requests wait on.
        let drawn = tokio::task::spawn_blocking(move || {
            let pixels = paint_as(cast, &traits, width, height).ok_or(ModelError::OutOfMemory)?;
            job.report(0.8);
            if job.is_cancelled() {
                return Err(ModelError::Cancelled);
            }
            let bytes = encode::encode(&pixels, width, height, job.format)
                .map_err(|error| ModelError::Internal(error.to_string()))?;
            job.report(1.0);
            Ok(Picture { bytes, format: job.format, fingerprint })
        });
        drawn.await.map_err(|error| ModelError::Internal(error.to_string()))?
    }

    fn card(&self) -> ModelCard {
        ModelCard {
            name: self.cast.model().to_owned(),
            fingerprint: self.fingerprint(),
            samplers: ["DPM++ 2M", "Euler", "Euler a", "DDIM", "LCM"].map(str::to_owned).into(),
            schedulers: ["Automatic", "Karras", "Normal"].map(str::to_owned).into(),
        }
    }
}

/// Paints a portrait: `width` × `height` opaque RGBA pixels, row by row from the top left.
///
/// Any size from 8 to 4096 pixels a side works; the portrait keeps its proportions and the
/// scenery fills what is left. `None` if a side is outside of that.
#[must_use]
pub fn paint(traits: &Traits, width: u32, height: u32) -> Option<Vec<u8>> {
    paint_as(Cast::Portrait, traits, width, height)
}

/// As [`paint`], with another cast.
#[must_use]
pub fn paint_as(cast: Cast, traits: &Traits, width: u32, height: u32) -> Option<Vec<u8>> {
    if !(8..=4096).contains(&width) || !(8..=4096).contains(&height) {
        return None;
    }
    if width.min(height) < FINE_SIDE_MIN {
        // Too few pixels for lines and surfaces: drawn twice as large and averaged.
        let large = paint_as(cast, traits, width * 2, height * 2)?;
        return Some(halve(&large, width as usize * 2));
    }
    if traits.technique != Technique::Pixel {
        let mut pixels = compose(cast, &Look::new(*traits), width, height)?;
        finish_sheet(&mut pixels, traits, width, height);
        return Some(pixels);
    }
    // Drawn small, finished small, then every pixel becomes a block.
    let block = (width.min(height) / 84).max(2);
    let (columns, rows) = (width.div_ceil(block), height.div_ceil(block));
    let mut look = Look::new(*traits);
    look.hand.line = look.hand.line.max(2.4);
    let mut small = compose(cast, &look, columns, rows)?;
    finish_sheet(&mut small, traits, columns, rows);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 4);
    for y in 0..height {
        let row = &small[(y / block * columns) as usize * 4..][..columns as usize * 4];
        pixels.extend((0..width).flat_map(|x| {
            let at = (x / block) as usize * 4;
            [row[at], row[at + 1], row[at + 2], 255]
        }));
    }
    Some(pixels)
}

/// Averages RGBA pixels of rows of `width`, two by two.
fn halve(pixels: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(width * 8) {
        let (upper, lower) = rows.split_at(width * 4);
        for (upper, lower) in upper.chunks_exact(8).zip(lower.chunks_exact(8)) {
            for channel in 0..4 {
                let sum = [upper[channel], upper[channel + 4], lower[channel], lower[channel + 4]];
                out.push(((sum.into_iter().map(u16::from).sum::<u16>() + 2) / 4) as u8);
            }
        }
    }
    out
}

fn finish_sheet(pixels: &mut [u8], traits: &Traits, width: u32, height: u32) {
    let mut sheet = Sheet { pixels, width: width as usize, height: height as usize };
    finish::finish(&mut sheet, traits.style, traits.technique, traits.seed);
}

/// Scenery, figure and what floats in front, without the technique's surface.
fn compose(cast: Cast, look: &Look, width: u32, height: u32) -> Option<Vec<u8>> {
    let mut canvas = Canvas::new(width, height)?;
    draw_scenery(&mut canvas, look, width, height)?;
    let (w, h) = (width as f32, height as f32);
    let scale = w.min(h) / 256.0;
    let drop = (h - 256.0 * scale) * 0.7;
    let figure = Transform::from_row(scale, 0.0, 0.0, scale, w / 2.0, drop);
    if look.hand.cut_out {
        let mut layer = Canvas::new(width, height)?;
        layer.within(figure, |layer| draw_figure(layer, cast, look));
        lay_sticker(&mut canvas, &layer, (4.5 * scale).max(1.0) as usize);
    } else {
        canvas.within(figure, |canvas| draw_figure(canvas, cast, look));
    }
    let front = Transform::from_row(scale, 0.0, 0.0, scale, (w - 256.0 * scale) / 2.0, drop);
    canvas.within(front, |canvas| scene::draw_foreground(canvas, look));
    let mut pixels = canvas.pixmap.take();
    for alpha in pixels.iter_mut().skip(3).step_by(4) {
        *alpha = 255;
    }
    Some(pixels)
}

/// The background, painted at half size and scaled up: blurred as if by a lens.
fn draw_scenery(canvas: &mut Canvas, look: &Look, width: u32, height: u32) -> Option<()> {
    let place = |w: f32, h: f32| {
        // The design's bleed covers shapes up to about 1 : 2; beyond, the scene grows.
        let scale = (w.min(h) / 256.0).max(w.max(h) / 536.0);
        Transform::from_row(scale, 0.0, 0.0, scale, (w - 256.0 * scale) / 2.0, (h - 256.0 * scale) * 0.5)
    };
    if width % 2 == 1 || height % 2 == 1 || width.min(height) < 128 {
        canvas.within(place(width as f32, height as f32), |canvas| scene::draw(canvas, look));
        return Some(());
    }
    let (w, h) = (width / 2, height / 2);
    let mut small = Canvas::new(w, h)?;
    small.within(place(w as f32, h as f32), |canvas| scene::draw(canvas, look));
    double(small.pixmap.data(), w as usize, h as usize, canvas.pixmap.data_mut());
    Some(())
}

/// Scales RGBA pixels up to twice their size; every new pixel is 9 : 3 : 3 : 1 of its neighbours.
fn double(from: &[u8], width: usize, height: usize, to: &mut [u8]) {
    let row_bytes = width * 4;
    let mut tall = vec![0_u16; row_bytes];
    for (y, out) in to.chunks_exact_mut(row_bytes * 2).enumerate() {
        let near = y / 2;
        let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(height - 1) };
        let (near, far) = (&from[near * row_bytes..][..row_bytes], &from[far * row_bytes..][..row_bytes]);
        for ((mixed, near), far) in tall.iter_mut().zip(near).zip(far) {
            *mixed = u16::from(*near) * 3 + u16::from(*far);
        }
        for (x, pair) in out.chunks_exact_mut(8).enumerate() {
            let at = x * 4;
            let left = x.saturating_sub(1) * 4;
            let right = (x + 1).min(width - 1) * 4;
            for channel in 0..4 {
                let middle = tall[at + channel] * 3;
                pair[channel] = ((middle + tall[left + channel] + 8) >> 4) as u8;
                pair[channel + 4] = ((middle + tall[right + channel] + 8) >> 4) as u8;
            }
        }
    }
}

fn draw_figure(canvas: &mut Canvas, cast: Cast, look: &Look) {
    let stance = look.stance;
    canvas.within(turned(stance.lean, 0.0, 262.0), |canvas| {
        let head = turned(stance.tilt, 0.0, 178.0);
        if cast == Cast::Critter {
            return critter::draw(canvas, look, head);
        }
        outfit::draw_behind(canvas, look);
        canvas.within(head, |canvas| hair::draw_back(canvas, look));
        outfit::draw(canvas, look);
        accessory::draw_at_neck(canvas, look);
        canvas.within(head, |canvas| {
            face::draw_head(canvas, look);
            face::draw_features(canvas, look);
            face::shade_forehead(canvas, look, &hair::cap(look));
            hair::draw_front(canvas, look);
            face::draw_brows(canvas, look);
            accessory::draw_on_head(canvas, look);
        });
    });
}

/// A turn by `angle` radians, clockwise, around (x, y). The angles here are small, and a few
/// terms of the series are exact enough, without a library's sine.
fn turned(angle: f32, x: f32, y: f32) -> Transform {
    let square = angle * angle;
    let sin = angle * (1.0 - square / 6.0);
    let cos = 1.0 - square / 2.0 + square * square / 24.0;
    Transform::from_row(cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)
}

/// Lays `figure` on `canvas` with a white border `radius` pixels wide and a soft shadow.
fn lay_sticker(canvas: &mut Canvas, figure: &Canvas, radius: usize) {
    let (width, height) = (figure.pixmap.width() as usize, figure.pixmap.height() as usize);
    let alpha: Vec<u8> = figure.pixmap.data().iter().skip(3).step_by(4).copied().collect();
    let border = grown(&grown(&alpha, width, height, radius.div_ceil(2)), width, height, radius / 2);
    let drop = radius + radius / 2;
    let out = canvas.pixmap.data_mut();
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            let shadow = if x >= drop / 2 && y >= drop { border[at - drop * width - drop / 2] } else { 0 };
            let (white, dark) = (u16::from(border[at]), u16::from(shadow) * 70 / 255);
            for channel in &mut out[at * 4..at * 4 + 3] {
                let shaded = u16::from(*channel) * (255 - dark) / 255;
                *channel = ((shaded * (255 - white) + 255 * white) / 255) as u8;
            }
        }
    }
    let paint = PixmapPaint::default();
    canvas.pixmap.draw_pixmap(0, 0, figure.pixmap.as_ref(), &paint, Transform::identity(), None);
}

/// The greatest value within `radius` pixels along both axes.
fn grown(values: &[u8], width: usize, height: usize, radius: usize) -> Vec<u8> {
    let mut wide = values.to_vec();
    for (out, row) in wide.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
        for shift in 1..=radius.min(width - 1) {
            for (out, value) in out[shift..].iter_mut().zip(row) {
                *out = (*out).max(*value);
            }
            for (out, value) in out.iter_mut().zip(&row[shift..]) {
                *out = (*out).max(*value);
            }
        }
    }
    let mut tall = wide.clone();
    for shift in 1..=radius.min(height - 1) {
        let offset = shift * width;
        for (out, value) in tall[offset..].iter_mut().zip(&wide) {
            *out = (*out).max(*value);
        }
        for (out, value) in tall.iter_mut().zip(&wide[offset..]) {
            *out = (*out).max(*value);
        }
    }
    tall
}

#[cfg(test)]
mod tests;

//! Colours and the ramps (shade, base, light) a volume is painted with.

use tiny_skia::Color;

/// An opaque colour, each channel 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rgb(pub(crate) f32, pub(crate) f32, pub(crate) f32);

pub(crate) const WHITE: Rgb = Rgb(255.0, 255.0, 255.0);
pub(crate) const BLACK: Rgb = Rgb(0.0, 0.0, 0.0);

/// A colour from `0xRRGGBB`.
pub(crate) const fn rgb(hex: u32) -> Rgb {
    Rgb((hex >> 16 & 255) as f32, (hex >> 8 & 255) as f32, (hex & 255) as f32)
}

impl Rgb {
    /// This colour at `part` 0, `other` at 1.
    pub(crate) fn mix(self, other: Self, part: f32) -> Self {
        let one = |a: f32, b: f32| a + (b - a) * part;
        Self(one(self.0, other.0), one(self.1, other.1), one(self.2, other.2))
    }

    /// Channel by channel product, `by` in 0..=255 as well.
    pub(crate) fn multiply(self, by: Self) -> Self {
        Self(self.0 * by.0 / 255.0, self.1 * by.1 / 255.0, self.2 * by.2 / 255.0)
    }

    /// How bright it looks, 0 to 255.
    pub(crate) fn luma(self) -> f32 {
        self.0 * 0.299 + self.1 * 0.587 + self.2 * 0.114
    }

    /// Saturation changed by a factor: 0 is grey, 1 unchanged.
    pub(crate) fn saturate(self, by: f32) -> Self {
        let grey = self.luma();
        let one = |c: f32| (grey + (c - grey) * by).clamp(0.0, 255.0);
        Self(one(self.0), one(self.1), one(self.2))
    }

    /// With an opacity of 0 to 1.
    pub(crate) fn alpha(self, alpha: f32) -> Color {
        let one = |c: f32| (c / 255.0).clamp(0.0, 1.0);
        Color::from_rgba(one(self.0), one(self.1), one(self.2), alpha.clamp(0.0, 1.0)).unwrap_or(Color::BLACK)
    }
}

impl From<Rgb> for Color {
    fn from(color: Rgb) -> Self {
        color.alpha(1.0)
    }
}

/// The colours of one material, from dark to light.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    pub(crate) deep: Rgb,
    pub(crate) shade: Rgb,
    pub(crate) base: Rgb,
    pub(crate) light: Rgb,
}

impl Ramp {
    /// Hair and cloth: shadows lean towards violet, lights towards warm white. Very dark
    /// materials get relatively stronger lights, or their folds would not show.
    pub(crate) fn of(base: Rgb) -> Self {
        let dark = 1.0 - base.luma() / 255.0;
        Self {
            deep: base.multiply(rgb(0x7E668C)).mix(rgb(0x1C1030), 0.18),
            shade: base.multiply(rgb(0xC4AEC8)),
            base,
            light: base.mix(rgb(0xFFF4E4), 0.26 + 0.16 * dark * dark),
        }
    }

    /// Skin: shadows stay warm, so that nobody looks ill.
    pub(crate) fn skin(base: Rgb) -> Self {
        Self {
            deep: base.multiply(rgb(0xB47C78)),
            shade: base.multiply(rgb(0xE4B8AE)),
            base,
            // Dark skin gleams rather than pales.
            light: base.mix(rgb(0xFFF0DC), 0.14 + 0.32 * base.luma() / 255.0),
        }
    }

    /// Every colour passed through `grade`.
    pub(crate) fn map(self, grade: impl Fn(Rgb) -> Rgb) -> Self {
        Self {
            deep: grade(self.deep),
            shade: grade(self.shade),
            base: grade(self.base),
            light: grade(self.light),
        }
    }
}

//! What the traits mean in paint: palettes, the hand that draws, how the head is held.

use crate::traits::{ClothesColor, EyeColor, HairColor, Pose, SkinTone, Style, TimeOfDay, Traits};

use super::color::{BLACK, Ramp, Rgb, WHITE, rgb};
use super::dice::Dice;

/// How a style draws.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand {
    /// Width of outlines in design units; 0 for none.
    pub(crate) line: f32,
    /// How far outlines go from the shaded colour to black, 0 to 1.
    pub(crate) ink: f32,
    /// Strength of gradients, glows and gloss, 0 to 1.
    pub(crate) soft: f32,
    /// Strength of hard-edged shadows, 0 to 1.
    pub(crate) cel: f32,
    /// Strength of blush, 0 to 1.
    pub(crate) blush: f32,
    /// Colour of the light along the edges, if there is one.
    pub(crate) rim: Option<Rgb>,
    /// Whether a white border is cut around the figure.
    pub(crate) cut_out: bool,
}

/// The light of a time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Light {
    pub(crate) sky_top: Rgb,
    pub(crate) sky_mid: Rgb,
    pub(crate) sky_low: Rgb,
    /// Everything lit is multiplied by this.
    pub(crate) tint: Rgb,
    /// Colour of edges against the light.
    pub(crate) rim: Rgb,
    /// How dark it is, 0 to 1: lamps, windows and stars shine by this.
    pub(crate) dark: f32,
}

/// How the figure holds itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stance {
    /// Tilt of the head in radians, clockwise.
    pub(crate) tilt: f32,
    /// Where the face points: −1 left, 1 right.
    pub(crate) turn: f32,
    /// How far the face points up, in design units.
    pub(crate) lift: f32,
    /// Lean of the whole figure in radians, clockwise.
    pub(crate) lean: f32,
}

/// Everything the drawing functions need to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) traits: Traits,
    pub(crate) hand: Hand,
    pub(crate) light: Light,
    pub(crate) stance: Stance,
    pub(crate) skin: Ramp,
    pub(crate) hair: Ramp,
    pub(crate) cloth: Ramp,
    /// A colour that goes with the clothes: ties, ribbons, frames.
    pub(crate) accent: Ramp,
    pub(crate) eye_left: Rgb,
    pub(crate) eye_right: Rgb,
}

impl Look {
    pub(crate) fn new(traits: Traits) -> Self {
        let light = light(traits.time_of_day);
        let grade = |color: Rgb| grade(traits.style, color).multiply(light.tint.mix(WHITE, 0.3));
        // Skin keeps its own warmth, whatever the light and the palette.
        let on_skin = |color: Rgb| {
            let graded = color.mix(self::grade(traits.style, color), 0.6);
            graded.multiply(light.tint.mix(rgb(0xFFF6EE), 0.72))
        };
        let accents = [0xF2C14E, 0xE85D75, 0x4FB3BF, 0xF7F3E8, 0x6C5CE7, 0xFF8C61, 0x2E344E, 0x8CD867];
        let mut dice = Dice::new(traits.seed, "accent");
        let cloth = clothes(traits.clothes);
        let distance = |a: Rgb, b: Rgb| (a.0 - b.0).abs() + (a.1 - b.1).abs() + (a.2 - b.2).abs();
        // The first of up to eight throws that stands out from the cloth.
        let accent = (0..8)
            .map(|_| rgb(accents[dice.below(accents.len())]))
            .find(|accent| distance(*accent, cloth) > 170.0)
            .unwrap_or(WHITE);
        Self {
            traits,
            hand: hand(traits.style),
            light,
            stance: stance(traits.pose, traits.seed),
            skin: Ramp::skin(skin(traits.skin)).map(on_skin),
            hair: Ramp::of(hair(traits.hair_color)).map(grade),
            cloth: Ramp::of(cloth).map(grade),
            accent: Ramp::of(accent).map(grade),
            eye_left: grade(eye(traits.eyes)),
            eye_right: grade(eye(traits.heterochromia.unwrap_or(traits.eyes))),
        }
    }

    /// A colour of the scenery or of things, in this style's palette.
    pub(crate) fn tone(&self, hex: u32) -> Rgb {
        grade(self.traits.style, rgb(hex))
    }

    /// A material in this style's palette.
    pub(crate) fn material(&self, hex: u32) -> Ramp {
        Ramp::of(rgb(hex))
            .map(|color| grade(self.traits.style, color).multiply(self.light.tint.mix(WHITE, 0.3)))
    }

    /// The colour of an outline around `ramp`.
    pub(crate) fn ink(&self, ramp: Ramp) -> Rgb {
        ramp.deep.mix(rgb(0x1E1424), 0.35).mix(BLACK, self.hand.ink)
    }

    /// `ramp.base` to `to` as far as this hand paints softly.
    pub(crate) fn soft(&self, base: Rgb, to: Rgb) -> Rgb {
        base.mix(to, self.hand.soft)
    }

    pub(crate) fn dice(&self, purpose: &str) -> Dice {
        Dice::new(self.traits.seed, purpose)
    }
}

fn grade(style: Style, color: Rgb) -> Rgb {
    match style {
        Style::Anime | Style::Sticker => color,
        Style::Flat => color.saturate(0.92).mix(rgb(0xF4E9D8), 0.08),
        Style::Comic => color.saturate(1.3),
        Style::Pastel => color.saturate(0.9).mix(rgb(0xFFEEF6), 0.34),
        Style::Retro => color.saturate(0.74).multiply(rgb(0xFFF0D6)).mix(rgb(0x5A3C30), 0.08),
        Style::Synthwave => color.saturate(1.2).multiply(rgb(0xE6C4FF)).mix(rgb(0x3A107A), 0.16),
        Style::Storybook => color.saturate(0.9).multiply(rgb(0xFFFAE8)).mix(rgb(0xC89A5C), 0.07),
    }
}

fn hand(style: Style) -> Hand {
    let anime = Hand { line: 1.5, ink: 0.12, soft: 0.9, cel: 0.8, blush: 0.75, rim: None, cut_out: false };
    match style {
        Style::Anime => anime,
        Style::Flat => Hand { line: 0.0, soft: 0.12, cel: 0.9, blush: 0.5, ..anime },
        Style::Comic => Hand { line: 2.8, ink: 0.92, soft: 0.35, cel: 1.0, blush: 0.35, ..anime },
        Style::Pastel => Hand { line: 1.1, ink: 0.0, soft: 1.0, cel: 0.5, blush: 1.0, ..anime },
        Style::Retro => Hand { line: 1.9, ink: 0.3, soft: 0.5, cel: 1.0, blush: 0.6, ..anime },
        Style::Synthwave => Hand { line: 1.3, ink: 0.2, soft: 1.0, rim: Some(rgb(0x3CF4FF)), ..anime },
        Style::Storybook => Hand { line: 1.0, ink: 0.0, soft: 1.0, cel: 0.6, blush: 0.95, ..anime },
        Style::Sticker => Hand { line: 2.2, ink: 0.3, soft: 0.7, cut_out: true, ..anime },
    }
}

fn light(time: TimeOfDay) -> Light {
    let of = |top, mid, low, tint, rim, dark| Light {
        sky_top: rgb(top),
        sky_mid: rgb(mid),
        sky_low: rgb(low),
        tint: rgb(tint),
        rim: rgb(rim),
        dark,
    };
    match time {
        TimeOfDay::Dawn => of(0x7D8FD8, 0xE7B6D0, 0xFFD9B4, 0xFFECEC, 0xFFD8D0, 0.15),
        TimeOfDay::Morning => of(0x74C0F2, 0xB4E0FA, 0xF4FAF0, 0xFFFDF4, 0xFFFFF0, 0.0),
        TimeOfDay::Noon => of(0x3292EA, 0x6CBCF8, 0xC4E8FF, 0xFFFFFF, 0xFFFFFF, 0.0),
        TimeOfDay::Afternoon => of(0x6CAEE0, 0xC8D8C8, 0xFFDF9C, 0xFFF3DA, 0xFFE8A8, 0.0),
        TimeOfDay::Sunset => of(0x5B469E, 0xEC6A7C, 0xFFBE62, 0xFFDECA, 0xFFC080, 0.3),
        TimeOfDay::Dusk => of(0x2A2D6C, 0x7A4F9C, 0xE088A4, 0xE2D2F2, 0xF0A8D8, 0.6),
        TimeOfDay::Night => of(0x0C163C, 0x1E3066, 0x3E5692, 0xC4CEF2, 0xA8C8FF, 0.85),
        TimeOfDay::Midnight => of(0x060620, 0x161448, 0x402C76, 0xB4B2EC, 0xC8B0FF, 1.0),
    }
}

fn stance(pose: Pose, seed: u32) -> Stance {
    let mut dice = Dice::new(seed, "stance");
    let (tilt, turn, lift, lean) = match pose {
        Pose::Straight => (0.0, 0.0, 0.0, 0.0),
        Pose::TiltLeft => (-0.15, 0.1, 0.0, 0.0),
        Pose::TiltRight => (0.15, -0.1, 0.0, 0.0),
        Pose::TurnLeft => (-0.03, -1.0, 0.0, 0.0),
        Pose::TurnRight => (0.03, 1.0, 0.0, 0.0),
        Pose::ChinUp => (0.0, 0.12, 5.0, 0.0),
        Pose::LeanLeft => (0.05, 0.35, 0.0, -0.13),
        Pose::LeanRight => (-0.05, -0.35, 0.0, 0.13),
    };
    Stance {
        tilt: tilt + dice.range(-0.025, 0.025),
        turn: turn + dice.range(-0.12, 0.12),
        lift: lift + dice.range(-1.0, 1.0),
        lean,
    }
}

fn skin(tone: SkinTone) -> Rgb {
    rgb(match tone {
        SkinTone::Porcelain => 0xFFEAE0,
        SkinTone::Fair => 0xFFDDC8,
        SkinTone::Peach => 0xFCCEB2,
        SkinTone::Olive => 0xEABC8E,
        SkinTone::Tan => 0xD99F70,
        SkinTone::Bronze => 0xBC8052,
        SkinTone::Brown => 0x965E3E,
        SkinTone::Dark => 0x6E422E,
    })
}

fn hair(color: HairColor) -> Rgb {
    rgb(match color {
        HairColor::Black => 0x342E42,
        HairColor::DarkBrown => 0x523832,
        HairColor::Brown => 0x84583C,
        HairColor::Auburn => 0x933C2C,
        HairColor::Red => 0xCE3838,
        HairColor::Orange => 0xEC8234,
        HairColor::Blonde => 0xF4CA62,
        HairColor::Platinum => 0xF6E8BE,
        HairColor::White => 0xF0EEF4,
        HairColor::Silver => 0xAAB2C4,
        HairColor::Pink => 0xF594BE,
        HairColor::Purple => 0x925CC4,
        HairColor::Blue => 0x4268D2,
        HairColor::Aqua => 0x7CD6EC,
        HairColor::Teal => 0x2C9A9C,
        HairColor::Green => 0x62B46C,
    })
}

fn clothes(color: ClothesColor) -> Rgb {
    rgb(match color {
        ClothesColor::White => 0xF2F0EE,
        ClothesColor::Black => 0x363440,
        ClothesColor::Grey => 0x9498A4,
        ClothesColor::Red => 0xD84040,
        ClothesColor::Burgundy => 0x862A44,
        ClothesColor::Orange => 0xF08A3C,
        ClothesColor::Yellow => 0xF4CC4C,
        ClothesColor::Green => 0x4CA860,
        ClothesColor::Olive => 0x6C7842,
        ClothesColor::Teal => 0x2E9698,
        ClothesColor::SkyBlue => 0x86C6F0,
        ClothesColor::Blue => 0x3E6CD0,
        ClothesColor::Navy => 0x2C386C,
        ClothesColor::Purple => 0x8256B8,
        ClothesColor::Pink => 0xF09AB8,
        ClothesColor::Beige => 0xDCC4A0,
    })
}

fn eye(color: EyeColor) -> Rgb {
    rgb(match color {
        EyeColor::Blue => 0x2E6AE0,
        EyeColor::SkyBlue => 0x5CB6F6,
        EyeColor::Aqua => 0x3CD4D8,
        EyeColor::Teal => 0x1C8C8A,
        EyeColor::Green => 0x5CB83C,
        EyeColor::Emerald => 0x128454,
        EyeColor::Hazel => 0x9C7C34,
        EyeColor::Amber => 0xE88A1C,
        EyeColor::Gold => 0xF2C41E,
        EyeColor::Brown => 0x8C542C,
        EyeColor::DarkBrown => 0x4A2C20,
        EyeColor::Red => 0xD4282E,
        EyeColor::Pink => 0xF06AA4,
        EyeColor::Magenta => 0xC02CB0,
        EyeColor::Violet => 0x804CD8,
        EyeColor::Grey => 0x8690A0,
    })
}

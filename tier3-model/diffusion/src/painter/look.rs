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
        let accents =
            [0xF2_C1_4E, 0xE8_5D_75, 0x4F_B3_BF, 0xF7_F3_E8, 0x6C_5C_E7, 0xFF_8C_61, 0x2E_34_4E, 0x8C_D8_67];
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
            skin: Ramp::skin(skin(traits.skin)).map(grade),
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
        ramp.deep.mix(rgb(0x1E_14_24), 0.35).mix(BLACK, self.hand.ink)
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
        Style::Flat => color.saturate(0.92).mix(rgb(0xF4_E9_D8), 0.08),
        Style::Comic => color.saturate(1.3),
        Style::Pastel => color.saturate(0.9).mix(rgb(0xFF_EE_F6), 0.34),
        Style::Retro => color.saturate(0.74).multiply(rgb(0xFF_F0_D6)).mix(rgb(0x5A_3C_30), 0.08),
        Style::Synthwave => color.saturate(1.2).multiply(rgb(0xE6_C4_FF)).mix(rgb(0x3A_10_7A), 0.16),
        Style::Storybook => color.saturate(0.9).multiply(rgb(0xFF_FA_E8)).mix(rgb(0xC8_9A_5C), 0.07),
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
        Style::Synthwave => Hand { line: 1.3, ink: 0.2, soft: 1.0, rim: Some(rgb(0x3C_F4_FF)), ..anime },
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
        TimeOfDay::Dawn => of(0x7D_8F_D8, 0xE7_B6_D0, 0xFF_D9_B4, 0xFF_EC_EC, 0xFF_D8_D0, 0.15),
        TimeOfDay::Morning => of(0x74_C0_F2, 0xB4_E0_FA, 0xF4_FA_F0, 0xFF_FD_F4, 0xFF_FF_F0, 0.0),
        TimeOfDay::Noon => of(0x32_92_EA, 0x6C_BC_F8, 0xC4_E8_FF, 0xFF_FF_FF, 0xFF_FF_FF, 0.0),
        TimeOfDay::Afternoon => of(0x6C_AE_E0, 0xC8_D8_C8, 0xFF_DF_9C, 0xFF_F3_DA, 0xFF_E8_A8, 0.0),
        TimeOfDay::Sunset => of(0x5B_46_9E, 0xEC_6A_7C, 0xFF_BE_62, 0xFF_DE_CA, 0xFF_C0_80, 0.3),
        TimeOfDay::Dusk => of(0x2A_2D_6C, 0x7A_4F_9C, 0xE0_88_A4, 0xE2_D2_F2, 0xF0_A8_D8, 0.6),
        TimeOfDay::Night => of(0x0C_16_3C, 0x1E_30_66, 0x3E_56_92, 0xC4_CE_F2, 0xA8_C8_FF, 0.85),
        TimeOfDay::Midnight => of(0x06_06_20, 0x16_14_48, 0x40_2C_76, 0xB4_B2_EC, 0xC8_B0_FF, 1.0),
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
        SkinTone::Porcelain => 0xFF_EA_E0,
        SkinTone::Fair => 0xFF_DD_C8,
        SkinTone::Peach => 0xFC_CE_B2,
        SkinTone::Olive => 0xEA_BC_8E,
        SkinTone::Tan => 0xD9_9F_70,
        SkinTone::Bronze => 0xBC_80_52,
        SkinTone::Brown => 0x96_5E_3E,
        SkinTone::Dark => 0x6E_42_2E,
    })
}

fn hair(color: HairColor) -> Rgb {
    rgb(match color {
        HairColor::Black => 0x34_2E_42,
        HairColor::DarkBrown => 0x52_38_32,
        HairColor::Brown => 0x84_58_3C,
        HairColor::Auburn => 0x93_3C_2C,
        HairColor::Red => 0xCE_38_38,
        HairColor::Orange => 0xEC_82_34,
        HairColor::Blonde => 0xF4_CA_62,
        HairColor::Platinum => 0xF6_E8_BE,
        HairColor::White => 0xF0_EE_F4,
        HairColor::Silver => 0xAA_B2_C4,
        HairColor::Pink => 0xF5_94_BE,
        HairColor::Purple => 0x92_5C_C4,
        HairColor::Blue => 0x42_68_D2,
        HairColor::Aqua => 0x7C_D6_EC,
        HairColor::Teal => 0x2C_9A_9C,
        HairColor::Green => 0x62_B4_6C,
    })
}

fn clothes(color: ClothesColor) -> Rgb {
    rgb(match color {
        ClothesColor::White => 0xF2_F0_EE,
        ClothesColor::Black => 0x36_34_40,
        ClothesColor::Grey => 0x94_98_A4,
        ClothesColor::Red => 0xD8_40_40,
        ClothesColor::Burgundy => 0x86_2A_44,
        ClothesColor::Orange => 0xF0_8A_3C,
        ClothesColor::Yellow => 0xF4_CC_4C,
        ClothesColor::Green => 0x4C_A8_60,
        ClothesColor::Olive => 0x6C_78_42,
        ClothesColor::Teal => 0x2E_96_98,
        ClothesColor::SkyBlue => 0x86_C6_F0,
        ClothesColor::Blue => 0x3E_6C_D0,
        ClothesColor::Navy => 0x2C_38_6C,
        ClothesColor::Purple => 0x82_56_B8,
        ClothesColor::Pink => 0xF0_9A_B8,
        ClothesColor::Beige => 0xDC_C4_A0,
    })
}

fn eye(color: EyeColor) -> Rgb {
    rgb(match color {
        EyeColor::Blue => 0x2E_6A_E0,
        EyeColor::SkyBlue => 0x5C_B6_F6,
        EyeColor::Aqua => 0x3C_D4_D8,
        EyeColor::Teal => 0x1C_8C_8A,
        EyeColor::Green => 0x5C_B8_3C,
        EyeColor::Emerald => 0x12_84_54,
        EyeColor::Hazel => 0x9C_7C_34,
        EyeColor::Amber => 0xE8_8A_1C,
        EyeColor::Gold => 0xF2_C4_1E,
        EyeColor::Brown => 0x8C_54_2C,
        EyeColor::DarkBrown => 0x4A_2C_20,
        EyeColor::Red => 0xD4_28_2E,
        EyeColor::Pink => 0xF0_6A_A4,
        EyeColor::Magenta => 0xC0_2C_B0,
        EyeColor::Violet => 0x80_4C_D8,
        EyeColor::Grey => 0x86_90_A0,
    })
}

//! What is behind the figure, by scene and time of day.
//!
//! Scenes are painted small and scaled up by the caller, which costs a quarter and looks like
//! the blur of a lens. Coordinates cover a square of 256 with some bleed for other shapes.

use tiny_skia::{PathBuilder, Rect};

use crate::traits::{Scene, TimeOfDay};

use super::canvas::{Canvas, Fill, Pen, down, ellipse, lock, polygon};
use super::color::{Rgb, WHITE, rgb};
use super::dice::Dice;
use super::look::Look;

const LEFT: f32 = -140.0;
const RIGHT: f32 = 396.0;
const WIDTH: f32 = RIGHT - LEFT;
const TOP: f32 = -140.0;
const LOW: f32 = 396.0;

/// Paints the whole background.
pub(crate) fn draw(canvas: &mut Canvas, look: &Look) {
    let mut dice = look.dice("scene");
    match look.traits.scene {
        Scene::City => draw_city(canvas, look, &mut dice),
        Scene::Forest => draw_forest(canvas, look, &mut dice),
        Scene::Beach => draw_beach(canvas, look, &mut dice),
        Scene::Mountains => draw_mountains(canvas, look, &mut dice),
        Scene::Library => draw_library(canvas, look, &mut dice),
        Scene::Space => draw_space(canvas, look, &mut dice),
        Scene::Flowers => draw_flowers(canvas, look, &mut dice),
        Scene::Snow => draw_snow(canvas, look, &mut dice),
        Scene::CherryBlossoms => draw_blossoms(canvas, look, &mut dice),
        Scene::Underwater => draw_underwater(canvas, look, &mut dice),
        Scene::Desert => draw_desert(canvas, look, &mut dice),
        Scene::Autumn => draw_autumn(canvas, look, &mut dice),
        Scene::Rain => draw_rain(canvas, look, &mut dice),
        Scene::Cafe => draw_cafe(canvas, look, &mut dice),
        Scene::Clouds => draw_clouds(canvas, look, &mut dice),
        Scene::Lanterns => draw_lanterns(canvas, look, &mut dice),
    }
}

/// What floats in front of the figure: petals, flakes, bubbles, sparks. Drawn in full size.
pub(crate) fn draw_foreground(canvas: &mut Canvas, look: &Look) {
    let mut dice = look.dice("foreground");
    let mut scatter = |count: usize, draw: &mut dyn FnMut(f32, f32, &mut Dice)| {
        for at in 0..count {
            // Left and right of the face in turn, so that it stays free.
            let x = if at % 2 == 0 { dice.range(2.0, 66.0) } else { dice.range(190.0, 254.0) };
            let y = dice.range(6.0, 250.0);
            draw(x, y, &mut dice);
        }
    };
    match look.traits.scene {
        Scene::Snow => {
            scatter(12, &mut |x, y, dice| canvas.dot(x, y, dice.range(1.4, 3.6), WHITE.alpha(0.9)))
        }
        Scene::CherryBlossoms => scatter(9, &mut |x, y, dice| {
            let size = dice.range(6.0, 10.0);
            canvas.fill(
                &lock(x, y, x + size * 0.2, y + size * 0.9, x + size, y + size * 0.7, size),
                look.tone(0xFFC4DA).alpha(0.95),
            );
        }),
        Scene::Autumn => scatter(8, &mut |x, y, dice| {
            let size = dice.range(8.0, 13.0);
            let hex = [0xE87A2C, 0xD24A2E, 0xF0B43C][dice.below(3)];
            canvas.fill(
                &lock(x, y, x + size * 0.1, y + size * 0.8, x + size, y + size * 0.5, size * 0.8),
                look.tone(hex),
            );
            canvas.line(
                &Pen::at(x, y).l(x + size * 0.8, y + size * 0.42).end(),
                0.8,
                look.tone(0x7A341C).alpha(0.6),
            );
        }),
        Scene::Underwater => scatter(9, &mut |x, y, dice| {
            let r = dice.range(2.0, 6.0);
            canvas.line(&ellipse(x, y, r, r), 0.9, WHITE.alpha(0.7));
            canvas.dot(x - r * 0.35, y - r * 0.35, r * 0.22, WHITE.alpha(0.9));
        }),
        Scene::Rain => scatter(14, &mut |x, y, dice| {
            let len = dice.range(10.0, 22.0);
            canvas.line(&Pen::at(x, y).l(x - len * 0.18, y + len).end(), 1.0, rgb(0xDCECFF).alpha(0.6));
        }),
        Scene::Lanterns | Scene::Forest => {
            let color = if look.traits.scene == Scene::Forest { rgb(0xE8FF9C) } else { rgb(0xFFD070) };
            scatter(8, &mut |x, y, dice| {
                let r = dice.range(2.0, 4.0);
                canvas.glow(x, y, r * 2.4, r * 2.4, color, 0.7);
                canvas.dot(x, y, r * 0.5, WHITE.alpha(0.9));
            });
        }
        Scene::Space => scatter(6, &mut |x, y, dice| sparkle(canvas, x, y, dice.range(3.0, 6.5), 0.9)),
        Scene::Flowers => scatter(6, &mut |x, y, dice| {
            let size = dice.range(4.0, 7.0);
            canvas.fill(
                &lock(x, y, x + size * 0.2, y + size, x + size, y + size * 0.6, size),
                WHITE.alpha(0.8),
            );
        }),
        Scene::City
        | Scene::Beach
        | Scene::Mountains
        | Scene::Library
        | Scene::Desert
        | Scene::Cafe
        | Scene::Clouds => {}
    }
}

/// A four-pointed star.
fn sparkle(canvas: &mut Canvas, x: f32, y: f32, size: f32, alpha: f32) {
    let star = Pen::at(x, y - size)
        .q(x, y, x + size, y)
        .q(x, y, x, y + size)
        .q(x, y, x - size, y)
        .q(x, y, x, y - size)
        .z()
        .end();
    canvas.fill(&star, WHITE.alpha(alpha));
}

/// `color` as it looks in this light and `far` (0 to 1) towards the horizon's haze.
fn lit(look: &Look, hex: u32, far: f32) -> Rgb {
    let light = look.light;
    let night = light.tint.mix(rgb(0x5058A0), light.dark * 0.75);
    look.tone(hex).multiply(night).mix(light.sky_low, far)
}

fn sky(canvas: &mut Canvas, look: &Look, horizon: f32) {
    let light = look.light;
    let mid = horizon * 0.55;
    // Overlapping, so that the edge between the two does not show.
    canvas.rect(LEFT, TOP, WIDTH, mid + 4.0 - TOP, down(0.0, light.sky_top, mid, light.sky_mid));
    canvas.rect(LEFT, mid, WIDTH, LOW - mid, down(mid, light.sky_mid, horizon, light.sky_low));
}

/// Sun, moon and stars, as the hour has them.
fn heavens(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let (x, y) = (
        if dice.one_in(2) { dice.range(34.0, 62.0) } else { dice.range(194.0, 222.0) },
        dice.range(34.0, 60.0),
    );
    match look.traits.time_of_day {
        TimeOfDay::Dawn => glow_sun(canvas, x, y + 74.0, 20.0, rgb(0xFFECC8)),
        TimeOfDay::Morning => glow_sun(canvas, x, y + 16.0, 16.0, rgb(0xFFFCDC)),
        TimeOfDay::Noon => glow_sun(canvas, x, y - 16.0, 15.0, rgb(0xFFFFEE)),
        TimeOfDay::Afternoon => glow_sun(canvas, x, y + 26.0, 18.0, rgb(0xFFF0B0)),
        TimeOfDay::Sunset => glow_sun(canvas, x, y + 70.0, 26.0, rgb(0xFFE08C)),
        TimeOfDay::Dusk => {
            stars(canvas, dice, 12, 100.0);
            canvas.dot(x, y, 11.0, rgb(0xFFF0E0).alpha(0.9));
            canvas.dot(x + 5.0, y - 3.0, 10.0, look.light.sky_top.mix(look.light.sky_mid, 0.4));
        }
        TimeOfDay::Night => {
            stars(canvas, dice, 26, 140.0);
            canvas.glow(x, y, 44.0, 44.0, rgb(0xC8D8FF), 0.45);
            canvas.dot(x, y, 17.0, rgb(0xF4F2E0));
            canvas.dot(x + 5.0, y + 3.0, 4.0, rgb(0xD8D4C4));
            canvas.dot(x - 6.0, y - 4.0, 3.0, rgb(0xDEDACC));
        }
        TimeOfDay::Midnight => {
            canvas.glow(70.0, 40.0, 130.0, 40.0, rgb(0x8A60D8), 0.4);
            canvas.glow(200.0, 80.0, 110.0, 36.0, rgb(0x4870E0), 0.35);
            stars(canvas, dice, 60, 180.0);
            for _ in 0..4 {
                sparkle(canvas, dice.range(10.0, 246.0), dice.range(8.0, 100.0), dice.range(4.0, 8.0), 0.95);
            }
        }
    }
}

fn glow_sun(canvas: &mut Canvas, x: f32, y: f32, radius: f32, color: Rgb) {
    canvas.glow(x, y, radius * 3.6, radius * 3.6, color, 0.75);
    canvas.dot(x, y, radius, color.mix(WHITE, 0.5));
}

fn stars(canvas: &mut Canvas, dice: &mut Dice, count: usize, low: f32) {
    for _ in 0..count {
        let size = dice.range(1.0, 2.4);
        let alpha = dice.range(0.5, 1.0);
        canvas.rect(dice.range(LEFT, RIGHT), dice.range(TOP, low), size, size, WHITE.alpha(alpha));
    }
}

fn cloud(canvas: &mut Canvas, x: f32, y: f32, size: f32, color: Rgb, alpha: f32) {
    let puffs =
        [(-1.3, 0.1, 0.55), (-0.6, -0.3, 0.8), (0.2, -0.45, 0.95), (0.95, -0.1, 0.7), (1.5, 0.15, 0.45)];
    // One path, so that the puffs do not show where they overlap.
    let mut path = PathBuilder::new();
    for (dx, dy, radius) in puffs {
        path.push_circle(x + dx * size, y + dy * size, radius * size);
    }
    if let Some(base) = Rect::from_xywh(x - size * 1.5, y, size * 3.1, size * 0.55) {
        path.push_rect(base);
    }
    canvas.fill(&path.finish(), color.alpha(alpha));
}

fn clouds(canvas: &mut Canvas, look: &Look, dice: &mut Dice, count: usize, low: f32) {
    let color = WHITE.mix(look.light.sky_low, 0.25 + look.light.dark * 0.6);
    for _ in 0..count {
        let (x, y) = (dice.range(-20.0, 276.0), dice.range(16.0, low));
        cloud(canvas, x, y, dice.range(9.0, 17.0), color, 0.75 - look.light.dark * 0.4);
    }
}

/// A ridge of hills or peaks across the picture.
fn ridge(
    canvas: &mut Canvas,
    dice: &mut Dice,
    base: f32,
    height: f32,
    step: f32,
    sharp: bool,
    fill: impl Into<Fill>,
) {
    let mut pen = Pen::at(LEFT, LOW).l(LEFT, base);
    let mut x = LEFT;
    while x < RIGHT {
        let width = dice.range(step * 0.7, step * 1.3);
        let peak = base - dice.range(height * 0.45, height);
        let next = base - dice.range(0.0, height * 0.25);
        pen = if sharp {
            pen.l(x + width * 0.5, peak).l(x + width, next)
        } else {
            pen.c(x + width * 0.3, peak, x + width * 0.7, peak, x + width, next)
        };
        x += width;
    }
    canvas.fill(&pen.l(RIGHT, LOW).z().end(), fill);
}

fn draw_city(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 210.0);
    heavens(canvas, look, dice);
    clouds(canvas, look, dice, 3, 90.0);
    for (far, hex, low, high) in [(0.55, 0x6A7CA8, 84.0, 140.0), (0.2, 0x4C5880, 120.0, 186.0)] {
        let mut x = LEFT + dice.range(0.0, 10.0);
        while x < RIGHT {
            let width = dice.range(20.0, 38.0);
            let top = dice.range(low, high);
            let wall = lit(look, hex, far * (1.0 - look.light.dark * 0.5));
            canvas.rect(x, top, width, LOW - top, wall);
            if dice.one_in(3) {
                canvas.rect(x + width * 0.45, top - 14.0, 2.0, 14.0, wall);
            }
            let (shine, chance) = if look.light.dark > 0.2 {
                (rgb(0xFFDC84), 2)
            } else {
                (WHITE.mix(look.light.sky_mid, 0.4), 2)
            };
            let mut wy = top + 7.0;
            while wy < 256.0 {
                let mut wx = x + 4.0;
                while wx < x + width - 5.0 {
                    if !dice.one_in(chance) {
                        canvas.rect(wx, wy, 4.0, 5.0, shine.alpha(0.35 + look.light.dark * 0.55));
                    }
                    wx += 8.0;
                }
                wy += 12.0;
            }
            x += width + dice.range(-2.0, 6.0);
        }
    }
}

fn draw_forest(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 190.0);
    heavens(canvas, look, dice);
    for (far, hex, base, size) in
        [(0.6, 0x5E966A, 150.0, 46.0), (0.3, 0x3E7E4E, 190.0, 62.0), (0.05, 0x285C3C, 236.0, 84.0)]
    {
        let mut x = LEFT;
        while x < RIGHT {
            let height = dice.range(size * 0.8, size * 1.35);
            let color = lit(look, hex, far * (1.0 - look.light.dark * 0.6));
            canvas.rect(x - 2.0, base - 6.0, 4.0, 30.0, lit(look, 0x5A4030, far));
            for tier in 0..3 {
                let t = tier as f32;
                let (half, top) = (size * (0.20 + 0.10 * t), base - height + t * height * 0.26);
                canvas.fill(
                    &polygon(&[(x, top), (x + half, top + height * 0.46), (x - half, top + height * 0.46)]),
                    color.mix(WHITE, 0.05 * (2.0 - t)),
                );
            }
            x += dice.range(size * 0.36, size * 0.62);
        }
        canvas.rect(LEFT, base - 2.0, WIDTH, LOW - base, lit(look, hex, far * 0.8));
    }
    for _ in 0..3 {
        let x = dice.range(20.0, 200.0);
        canvas.fill(
            &polygon(&[(x, TOP), (x + 26.0, TOP), (x - 30.0, 256.0), (x - 84.0, 256.0)]),
            look.light.rim.alpha(0.10),
        );
    }
}

fn draw_beach(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 150.0);
    heavens(canvas, look, dice);
    clouds(canvas, look, dice, 4, 110.0);
    canvas.rect(
        LEFT,
        150.0,
        WIDTH,
        60.0,
        down(150.0, lit(look, 0x4CB8DC, 0.3), 206.0, lit(look, 0x2A8CC4, 0.05)),
    );
    for _ in 0..16 {
        let (x, y) = (dice.range(LEFT, RIGHT), dice.range(153.0, 198.0));
        canvas.rect(x, y, dice.range(10.0, 34.0), 1.6, WHITE.alpha(0.5));
    }
    let sand =
        Pen::at(LEFT, 204.0).c(20.0, 190.0, 120.0, 216.0, RIGHT, 196.0).l(RIGHT, LOW).l(LEFT, LOW).z().end();
    canvas.line(
        &Pen::at(LEFT, 204.0).c(20.0, 190.0, 120.0, 216.0, RIGHT, 196.0).end(),
        7.0,
        WHITE.alpha(0.8),
    );
    canvas.fill(&sand, down(196.0, lit(look, 0xF6E0AC, 0.1), 256.0, lit(look, 0xE4C084, 0.0)));
    let side = if dice.one_in(2) { 1.0 } else { -1.0 };
    let (x, y) = (128.0 + side * 96.0, 70.0);
    canvas.line(
        &Pen::at(x + side * 16.0, 226.0).q(x + side * 12.0, 140.0, x, y).end(),
        8.0,
        lit(look, 0x8A6444, 0.1),
    );
    for (dx, dy) in
        [(-44.0, 6.0), (-34.0, -22.0), (-6.0, -36.0), (26.0, -26.0), (44.0, 0.0), (30.0, 24.0), (-26.0, 26.0)]
    {
        canvas.fill(
            &lock(x, y, x + dx * 0.5, y + dy * 0.5 - 16.0, x + dx, y + dy + 8.0, 16.0),
            lit(look, if dx < 0.0 { 0x3C9A56 } else { 0x2E804A }, 0.05),
        );
    }
}

fn draw_mountains(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 170.0);
    heavens(canvas, look, dice);
    clouds(canvas, look, dice, 3, 80.0);
    for (x, top, half) in
        [(40.0 + dice.range(-16.0, 16.0), 70.0, 96.0), (212.0 + dice.range(-16.0, 16.0), 52.0, 108.0)]
    {
        let rock = lit(look, 0x6E7EA6, 0.25);
        canvas.fill(&polygon(&[(x, top), (x + half, 210.0), (x - half, 210.0)]), rock);
        canvas.fill(
            &polygon(&[
                (x, top),
                (x + half, 210.0),
                (x + half * 0.1, 210.0),
                (x + 8.0, top + 60.0),
                (x - 6.0, top + 34.0),
            ]),
            lit(look, 0x546290, 0.2),
        );
        let snow = [
            (x, top),
            (x + half * 0.32, top + 44.0),
            (x + half * 0.16, top + 38.0),
            (x + half * 0.04, top + 52.0),
            (x - half * 0.12, top + 36.0),
            (x - half * 0.3, top + 44.0),
        ];
        canvas.fill(&polygon(&snow), lit(look, 0xFAFCFF, 0.05));
    }
    ridge(canvas, dice, 196.0, 34.0, 70.0, false, lit(look, 0x5C8C78, 0.3));
    ridge(canvas, dice, 222.0, 30.0, 90.0, false, lit(look, 0x44785C, 0.1));
    canvas.rect(LEFT, 228.0, WIDTH, 170.0, lit(look, 0x38664C, 0.0));
}

fn draw_library(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let warm = look.light.tint.mix(rgb(0xC89060), look.light.dark * 0.6);
    let in_room = |hex: u32| look.tone(hex).multiply(warm);
    canvas.rect(LEFT, TOP, WIDTH, LOW - TOP, in_room(0x5A382A));
    let books = [0xB8443C, 0x3C648C, 0x4E8058, 0xD8A84C, 0x7A4C84, 0xE4D4B0, 0x2E4860, 0xC06C3C];
    let mut y = -40.0;
    while y < 270.0 {
        canvas.rect(LEFT, y, WIDTH, 46.0, in_room(0x34201A));
        let mut x = LEFT;
        while x < RIGHT {
            let width = dice.range(6.0, 13.0);
            let height = dice.range(28.0, 41.0);
            let hex = books[dice.below(books.len())];
            if !dice.one_in(12) {
                canvas.rect(x, y + 46.0 - height, width - 1.0, height, in_room(hex));
                canvas.rect(x, y + 52.0 - height, width - 1.0, 2.4, in_room(0xF0D890).alpha(0.7));
            }
            x += width;
        }
        canvas.rect(LEFT, y + 46.0, WIDTH, 6.0, in_room(0x8A5C3C));
        y += 52.0;
    }
    // A window shows the hour.
    let x = if dice.one_in(2) { 8.0 } else { 196.0 };
    let arch =
        Pen::at(x, 150.0).l(x, 50.0).c(x, 14.0, x + 54.0, 14.0, x + 54.0, 50.0).l(x + 54.0, 150.0).z().end();
    canvas.fill(&arch, down(20.0, look.light.sky_top, 150.0, look.light.sky_low));
    if look.light.dark > 0.5 {
        canvas.dot(x + 34.0, 52.0, 9.0, rgb(0xF8F0D8));
    }
    canvas.line(&arch, 5.0, in_room(0x9A6C48));
    canvas.rect(x + 25.5, 24.0, 3.0, 126.0, in_room(0x9A6C48));
    canvas.rect(x, 84.0, 54.0, 3.0, in_room(0x9A6C48));
    canvas.glow(x + 27.0, 80.0, 130.0, 130.0, look.light.sky_low, 0.28);
    canvas.glow(128.0, 30.0, 150.0, 110.0, rgb(0xFFC870), 0.20 + look.light.dark * 0.2);
}

fn draw_space(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let deep = look.light.sky_top.mix(rgb(0x0A0824), 0.72);
    let low = look.light.sky_low.mix(rgb(0x241450), 0.68);
    canvas.rect(LEFT, TOP, WIDTH, LOW - TOP, down(0.0, deep, 256.0, low));
    for hex in [0xB04CD8, 0x3C78E8, 0xE85C8C] {
        let (x, y) = (dice.range(0.0, 256.0), dice.range(20.0, 220.0));
        canvas.glow(x, y, 110.0, 62.0, look.tone(hex).mix(look.light.sky_mid, 0.3), 0.55);
    }
    stars(canvas, dice, 110, 390.0);
    for _ in 0..6 {
        sparkle(canvas, dice.range(4.0, 252.0), dice.range(4.0, 180.0), dice.range(4.0, 9.0), 0.95);
    }
    let (x, y) = if dice.one_in(2) { (46.0, 56.0) } else { (212.0, 64.0) };
    let planet = look.tone([0xF0A05C, 0x6CC8C0, 0xE888B0, 0x9C90F0][dice.below(4)]);
    canvas.fill(
        &ellipse(x, y, 27.0, 27.0),
        Fill::Radial(
            (x - 10.0, y - 10.0),
            42.0,
            planet.mix(WHITE, 0.4).into(),
            planet.mix(rgb(0x140C34), 0.6).into(),
        ),
    );
    canvas.line(
        &Pen::at(x - 44.0, y + 10.0).c(x - 30.0, y + 24.0, x + 36.0, y + 2.0, x + 44.0, y - 12.0).end(),
        4.0,
        planet.mix(WHITE, 0.55).alpha(0.85),
    );
}

fn draw_flowers(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 160.0);
    heavens(canvas, look, dice);
    clouds(canvas, look, dice, 3, 90.0);
    ridge(canvas, dice, 158.0, 26.0, 110.0, false, lit(look, 0x86B48C, 0.35));
    canvas.rect(
        LEFT,
        152.0,
        WIDTH,
        250.0,
        down(152.0, lit(look, 0x7CC064, 0.2), 256.0, lit(look, 0x3C8A4C, 0.0)),
    );
    let colors = [0xF46C8C, 0xFFD050, 0xFFFFFF, 0xB07CE8, 0xFF9050];
    for at in 0..64 {
        let depth = at as f32 / 64.0;
        let (x, y) = (dice.range(-60.0, 316.0), 158.0 + depth * 100.0);
        let r = 1.6 + depth * 4.6;
        let color = lit(look, colors[dice.below(colors.len())], 0.25 * (1.0 - depth));
        if r > 3.2 {
            for (dx, dy) in [(0.0, -1.0), (0.95, -0.3), (0.6, 0.8), (-0.6, 0.8), (-0.95, -0.3)] {
                canvas.dot(x + dx * r * 0.8, y + dy * r * 0.8, r * 0.62, color);
            }
            canvas.dot(x, y, r * 0.45, lit(look, 0xFFE06C, 0.0));
        } else {
            canvas.rect(x - r, y - r, r * 2.0, r * 2.0, color);
        }
    }
}

fn draw_snow(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 180.0);
    heavens(canvas, look, dice);
    ridge(canvas, dice, 160.0, 46.0, 90.0, false, lit(look, 0xC8D8EC, 0.35));
    for _ in 0..9 {
        let (x, base) = (dice.range(-40.0, 296.0), dice.range(168.0, 204.0));
        let height = dice.range(40.0, 66.0);
        for tier in 0..3 {
            let t = tier as f32;
            let (half, top) = (8.0 + 5.0 * t, base - height + t * height * 0.27);
            canvas.fill(
                &polygon(&[(x, top), (x + half, top + height * 0.42), (x - half, top + height * 0.42)]),
                lit(look, 0x447074, 0.25),
            );
            canvas.fill(
                &polygon(&[
                    (x, top),
                    (x + half * 0.55, top + height * 0.2),
                    (x, top + height * 0.15),
                    (x - half * 0.55, top + height * 0.22),
                ]),
                lit(look, 0xFAFCFF, 0.1),
            );
        }
    }
    ridge(canvas, dice, 212.0, 22.0, 120.0, false, lit(look, 0xF2F7FF, 0.1));
    for _ in 0..46 {
        let size = dice.range(1.6, 4.2);
        canvas.rect(dice.range(LEFT, RIGHT), dice.range(TOP, 250.0), size, size, WHITE.alpha(0.85));
    }
}

fn draw_blossoms(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 220.0);
    heavens(canvas, look, dice);
    ridge(canvas, dice, 226.0, 30.0, 110.0, false, lit(look, 0x9CC48C, 0.3));
    let bark = lit(look, 0x5C4040, 0.1);
    canvas.line(&Pen::at(-20.0, 150.0).q(60.0, 100.0, 130.0, 24.0).end(), 9.0, bark);
    canvas.line(&Pen::at(276.0, 120.0).q(210.0, 80.0, 180.0, -10.0).end(), 8.0, bark);
    canvas.line(&Pen::at(40.0, 116.0).q(40.0, 60.0, 20.0, 20.0).end(), 5.0, bark);
    for _ in 0..46 {
        let left = dice.one_in(2);
        let t = dice.unit();
        let (x, y) =
            if left { (-10.0 + t * 130.0, 140.0 - t * 118.0) } else { (270.0 - t * 86.0, 112.0 - t * 120.0) };
        let (x, y) = (x + dice.range(-26.0, 26.0), y + dice.range(-26.0, 20.0));
        let hex = [0xFFB8D2, 0xFFD4E4, 0xF898BC][dice.below(3)];
        canvas.dot(x, y, dice.range(6.0, 13.0), lit(look, hex, 0.1).alpha(0.92));
    }
}

fn draw_underwater(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let top = look.tone(0x58D4E8).mix(look.light.sky_mid, 0.3).mix(rgb(0x102860), look.light.dark * 0.6);
    let low = look.tone(0x0E4884).mix(look.light.sky_top, 0.2).mix(rgb(0x040C30), look.light.dark * 0.6);
    canvas.rect(LEFT, TOP, WIDTH, LOW - TOP, down(0.0, top, 256.0, low));
    for _ in 0..6 {
        let x = dice.range(-20.0, 260.0);
        let width = dice.range(10.0, 26.0);
        canvas.fill(
            &polygon(&[
                (x, TOP),
                (x + width, TOP),
                (x + width * 0.2 - 40.0, 270.0),
                (x - width - 60.0, 270.0),
            ]),
            look.light.rim.alpha(0.14),
        );
    }
    for _ in 0..5 {
        let (x, y) = (dice.range(6.0, 250.0), dice.range(30.0, 170.0));
        let side = if dice.one_in(2) { 1.0 } else { -1.0 };
        let fish = look.tone([0xFFB040, 0xFF6C6C, 0xF8E060, 0x8CF0E0][dice.below(4)]);
        canvas.fill(&ellipse(x, y, 11.0, 6.5), fish);
        canvas.fill(
            &polygon(&[(x - side * 9.0, y), (x - side * 18.0, y - 6.5), (x - side * 18.0, y + 6.5)]),
            fish,
        );
        canvas.dot(x + side * 6.0, y - 1.5, 1.6, rgb(0x202030));
    }
    for _ in 0..9 {
        let x = dice.range(-20.0, 276.0);
        let color = look.tone([0xF07088, 0x4CB07C, 0x8C60C8, 0xF0A060][dice.below(4)]).mix(low, 0.35);
        for _ in 0..4 {
            canvas.fill(
                &lock(
                    x,
                    262.0,
                    x + dice.range(-22.0, 22.0),
                    226.0,
                    x + dice.range(-20.0, 20.0),
                    dice.range(176.0, 214.0),
                    13.0,
                ),
                color,
            );
        }
    }
}

fn draw_desert(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 170.0);
    heavens(canvas, look, dice);
    ridge(canvas, dice, 168.0, 30.0, 100.0, false, lit(look, 0xE8B878, 0.4));
    for (base, hex) in [(178.0, 0xECB86C), (206.0, 0xE0A054), (234.0, 0xCC8644)] {
        let bend = dice.range(-30.0, 30.0);
        let dune = Pen::at(LEFT, base + 6.0)
            .c(40.0, base - 34.0 + bend, 150.0, base + 26.0, RIGHT, base - 16.0)
            .l(RIGHT, LOW)
            .l(LEFT, LOW)
            .z()
            .end();
        canvas.fill(
            &dune,
            down(base - 20.0, lit(look, hex, 0.1), base + 50.0, lit(look, hex, 0.0).multiply(rgb(0xD8B8B8))),
        );
    }
    for x in [34.0 + dice.range(-14.0, 14.0), 220.0 + dice.range(-12.0, 12.0)] {
        let green = lit(look, 0x4E8C56, 0.08);
        let base = dice.range(190.0, 214.0);
        canvas.line(&Pen::at(x, base).l(x, base - 78.0).end(), 15.0, green);
        canvas.line(
            &Pen::at(x, base - 30.0).q(x - 22.0, base - 30.0, x - 22.0, base - 54.0).end(),
            10.0,
            green,
        );
        canvas.line(
            &Pen::at(x, base - 42.0).q(x + 20.0, base - 40.0, x + 20.0, base - 66.0).end(),
            9.0,
            green,
        );
        canvas.line(&Pen::at(x - 3.0, base).l(x - 3.0, base - 76.0).end(), 2.0, lit(look, 0x8CC080, 0.1));
    }
}

fn draw_autumn(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 200.0);
    heavens(canvas, look, dice);
    ridge(canvas, dice, 206.0, 34.0, 90.0, false, lit(look, 0xC88C4C, 0.35));
    canvas.rect(LEFT, 206.0, WIDTH, 200.0, lit(look, 0xA86C3C, 0.1));
    for (x, lean) in [(14.0, 8.0), (66.0, -6.0), (196.0, 8.0), (246.0, -10.0)] {
        canvas.line(
            &Pen::at(x, 240.0).q(x + lean, 160.0, x - lean, 60.0).end(),
            10.0,
            lit(look, 0x5E4034, 0.1),
        );
        for _ in 0..11 {
            let (dx, dy) = (dice.range(-40.0, 40.0), dice.range(-52.0, 44.0));
            let hex = [0xE87A2C, 0xF0B03C, 0xD04C30, 0xE89438][dice.below(4)];
            canvas.dot(x - lean + dx, 66.0 + dy, dice.range(10.0, 19.0), lit(look, hex, 0.12).alpha(0.95));
        }
    }
}

fn draw_rain(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let grey = rgb(0x78869C).mix(rgb(0x2A304C), look.light.dark);
    canvas.rect(
        LEFT,
        TOP,
        WIDTH,
        LOW - TOP,
        down(0.0, look.light.sky_top.mix(grey, 0.55), 220.0, look.light.sky_low.mix(grey, 0.5)),
    );
    for (far, hex, low, high) in [(0.4, 0x5C6680, 40.0, 120.0), (0.1, 0x404862, 90.0, 170.0)] {
        let mut x = LEFT;
        while x < RIGHT {
            let width = dice.range(26.0, 46.0);
            let top = dice.range(low, high);
            canvas.rect(
                x,
                top,
                width,
                LOW - top,
                look.tone(hex).mix(grey, far).mix(rgb(0x181C34), look.light.dark * 0.4),
            );
            x += width + dice.range(0.0, 10.0);
        }
    }
    for _ in 0..13 {
        let (x, y) = (dice.range(0.0, 256.0), dice.range(90.0, 220.0));
        let hex = [0xFFC860, 0xFF7060, 0x60D8FF, 0xFF90C8, 0x90F0A0][dice.below(5)];
        let r = dice.range(8.0, 17.0);
        canvas.dot(x, y, r, look.tone(hex).alpha(0.55));
        canvas.line(&ellipse(x, y, r, r), 1.4, look.tone(hex).mix(WHITE, 0.4).alpha(0.5));
    }
    for _ in 0..60 {
        let (x, y, len) = (dice.range(-20.0, 290.0), dice.range(-20.0, 250.0), dice.range(10.0, 26.0));
        canvas.line(&Pen::at(x, y).l(x - len * 0.18, y + len).end(), 1.4, rgb(0xDCEAFF).alpha(0.5));
    }
}

fn draw_cafe(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let warm = |hex: u32| look.tone(hex).multiply(look.light.tint.mix(rgb(0xD89C70), look.light.dark * 0.5));
    canvas.rect(LEFT, TOP, WIDTH, LOW - TOP, down(0.0, warm(0xC88C60), 256.0, warm(0x8A583C)));
    canvas.rect(18.0, 24.0, 220.0, 128.0, warm(0x6A4430));
    for x in [24.0, 133.0] {
        canvas.rect(x, 30.0, 99.0, 116.0, down(30.0, look.light.sky_top, 146.0, look.light.sky_low));
        for _ in 0..3 {
            let top = dice.range(86.0, 126.0);
            canvas.rect(x + dice.range(0.0, 70.0), top, 26.0, 146.0 - top, lit(look, 0x5C6C94, 0.4));
        }
        canvas.rect(x + 48.0, 30.0, 3.0, 116.0, warm(0x6A4430));
    }
    canvas.rect(LEFT, 166.0, WIDTH, 8.0, warm(0x5A3828));
    for _ in 0..7 {
        let x = dice.range(-6.0, 256.0);
        canvas.rect(x, 150.0, 13.0, 16.0, warm([0xE8D8C0, 0xC86450, 0x5C8C84, 0xF0C060][dice.below(4)]));
    }
    for (x, y) in [(32.0, 52.0), (96.0, 36.0), (164.0, 40.0), (226.0, 56.0)] {
        canvas.rect(x - 0.8, TOP, 1.6, y - TOP, warm(0x3A2820));
        canvas.glow(x, y + 5.0, 36.0, 36.0, rgb(0xFFD480), 0.75);
        canvas.dot(x, y + 5.0, 7.0, rgb(0xFFF2C8));
    }
    for x in [-4.0, 254.0] {
        for _ in 0..8 {
            canvas.fill(
                &lock(
                    x,
                    216.0,
                    x + dice.range(-30.0, 30.0),
                    170.0,
                    x + dice.range(-46.0, 46.0),
                    dice.range(120.0, 180.0),
                    15.0,
                ),
                warm(0x4C8454),
            );
        }
    }
}

fn draw_clouds(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    sky(canvas, look, 230.0);
    heavens(canvas, look, dice);
    for layer in 0..4 {
        let depth = layer as f32 / 3.0;
        let color =
            WHITE.mix(look.light.sky_mid, 0.55 - depth * 0.3).mix(look.light.sky_top, look.light.dark * 0.45);
        let base = 120.0 + depth * 110.0;
        let mut x = -50.0;
        while x < 306.0 {
            let size = dice.range(16.0, 24.0) + depth * 14.0;
            cloud(canvas, x, base + dice.range(-10.0, 10.0), size, color, 0.96);
            x += size * 1.7;
        }
        canvas.rect(LEFT, base + 6.0, WIDTH, LOW, color);
    }
    for _ in 0..3 {
        let (x, y) = (dice.range(16.0, 240.0), dice.range(30.0, 100.0));
        canvas.line(
            &Pen::at(x - 9.0, y - 4.0).q(x - 4.0, y - 6.0, x, y).q(x + 4.0, y - 6.0, x + 9.0, y - 4.0).end(),
            1.8,
            lit(look, 0x3C4460, 0.2),
        );
    }
}

fn draw_lanterns(canvas: &mut Canvas, look: &Look, dice: &mut Dice) {
    let night = rgb(0x1C1444);
    canvas.rect(
        LEFT,
        TOP,
        WIDTH,
        LOW - TOP,
        down(0.0, look.light.sky_top.mix(night, 0.6), 256.0, look.light.sky_low.mix(rgb(0x8A3C50), 0.55)),
    );
    stars(canvas, dice, 26, 140.0);
    ridge(canvas, dice, 226.0, 50.0, 60.0, true, look.tone(0x2A1C40));
    for at in 0..15 {
        let x = if at % 2 == 0 { dice.range(-10.0, 80.0) } else { dice.range(176.0, 266.0) };
        let y = dice.range(6.0, 190.0);
        let r = dice.range(7.0, 15.0);
        let paper = look.tone([0xFF8C48, 0xFFB850, 0xF86050][dice.below(3)]);
        canvas.glow(x, y, r * 2.6, r * 2.6, paper, 0.6);
        let body = Pen::at(x - r * 0.8, y - r)
            .c(x - r * 1.2, y, x - r * 0.9, y + r, x - r * 0.5, y + r)
            .l(x + r * 0.5, y + r)
            .c(x + r * 0.9, y + r, x + r * 1.2, y, x + r * 0.8, y - r)
            .z()
            .end();
        canvas.fill(&body, down(y - r, paper, y + r, rgb(0xFFF0B8)));
    }
}

//! Neck, shoulders and clothes.

use tiny_skia::{Path, Transform};

use crate::traits::{Outfit, Presentation};

use super::canvas::{Canvas, Fill, Pen, down, ellipse, polygon};
use super::color::{Ramp, Rgb, WHITE, rgb};
use super::look::Look;

/// Everything is drawn down to here, so that tall pictures show no end of the body.
const FLOOR: f32 = 700.0;

/// Half the width of the shoulders.
fn shoulders(look: &Look) -> f32 {
    match look.traits.presentation {
        Presentation::Girl => 72.0,
        Presentation::Boy => 86.0,
        Presentation::Androgynous => 78.0,
    }
}

fn neck_width(look: &Look) -> f32 {
    match look.traits.presentation {
        Presentation::Girl => 13.5,
        Presentation::Boy => 18.0,
        Presentation::Androgynous => 15.5,
    }
}

/// The bare body from the neck down.
pub(crate) fn body(look: &Look) -> Option<Path> {
    let (w, n) = (shoulders(look), neck_width(look));
    Pen::at(-n, 156.0)
        .l(-n, 184.0)
        .c(-n - 1.0, 196.0, -38.0, 201.0, -w + 16.0, 207.0)
        .c(-w + 2.0, 211.0, -w - 5.0, 226.0, -w - 9.0, 258.0)
        .l(-w - 16.0, FLOOR)
        .l(w + 16.0, FLOOR)
        .l(w + 9.0, 258.0)
        .c(w + 5.0, 226.0, w - 2.0, 211.0, w - 16.0, 207.0)
        .c(38.0, 201.0, n + 1.0, 196.0, n, 184.0)
        .l(n, 156.0)
        .z()
        .end()
}

/// A garment over the shoulders whose neckline starts at (±`x`, `y`) and goes as low as `depth`,
/// round or pointed. `puff` is how far it stands off the body.
fn garment(look: &Look, x: f32, y: f32, depth: f32, pointed: bool, puff: f32) -> Option<Path> {
    let w = shoulders(look) + puff;
    let pen = Pen::at(-x, y)
        .q(-x - 10.0, y + 4.0, -w + 17.0, 205.0 - puff)
        .c(-w + 2.0, 209.0, -w - 6.0, 226.0, -w - 10.0, 258.0)
        .l(-w - 17.0, FLOOR)
        .l(w + 17.0, FLOOR)
        .l(w + 10.0, 258.0)
        .c(w + 6.0, 226.0, w - 2.0, 209.0, w - 17.0, 205.0 - puff)
        .q(x + 10.0, y + 4.0, x, y);
    if pointed {
        pen.l(0.0, depth).z().end()
    } else {
        pen.c(x * 0.8, depth + 1.0, -x * 0.8, depth + 1.0, -x, y).z().end()
    }
}

/// What stands behind the neck: hoods and high collars.
pub(crate) fn draw_behind(canvas: &mut Canvas, look: &Look) {
    let cloth = look.cloth;
    let shape = match look.traits.outfit {
        Outfit::Hoodie => Pen::at(-52.0, 212.0)
            .c(-62.0, 176.0, -44.0, 160.0, 0.0, 160.0)
            .c(44.0, 160.0, 62.0, 176.0, 52.0, 212.0)
            .z(),
        Outfit::Cloak => Pen::at(-56.0, 216.0)
            .c(-66.0, 180.0, -58.0, 158.0, -42.0, 148.0)
            .q(0.0, 176.0, 42.0, 148.0)
            .c(58.0, 158.0, 66.0, 180.0, 56.0, 216.0)
            .z(),
        _ => return,
    };
    let path = shape.end();
    canvas.fill(&path, down(150.0, look.soft(cloth.shade, cloth.base), 214.0, cloth.deep));
    canvas.line(&path, look.hand.line, look.ink(cloth));
}

/// Neck, shoulders and the outfit.
pub(crate) fn draw(canvas: &mut Canvas, look: &Look) {
    let skin = look.skin;
    let bare = body(look);
    canvas.fill(&bare, down(170.0, skin.base, 250.0, look.soft(skin.base, skin.shade)));
    canvas.line(&bare, look.hand.line, look.ink(skin));
    super::face::shade_neck(canvas, look);
    canvas.both_sides(|canvas| {
        canvas.line(&Pen::at(8.0, 208.0).q(22.0, 203.0, 38.0, 206.0).end(), 1.5, skin.deep.alpha(0.45));
    });
    match look.traits.outfit {
        Outfit::Hoodie => draw_hoodie(canvas, look),
        Outfit::Shirt => draw_shirt(canvas, look, look.cloth),
        Outfit::Turtleneck => draw_turtleneck(canvas, look),
        Outfit::Jacket => draw_jacket(canvas, look),
        Outfit::Dress => draw_dress(canvas, look),
        Outfit::Kimono => draw_kimono(canvas, look),
        Outfit::Armor => draw_armor(canvas, look),
        Outfit::TShirt => draw_tshirt(canvas, look),
        Outfit::Sailor => draw_sailor(canvas, look),
        Outfit::Suit => draw_suit(canvas, look),
        Outfit::Sweater => draw_sweater(canvas, look),
        Outfit::TankTop => draw_tank_top(canvas, look),
        Outfit::LabCoat => draw_lab_coat(canvas, look),
        Outfit::SpaceSuit => draw_space_suit(canvas, look),
        Outfit::Overalls => draw_overalls(canvas, look),
        Outfit::Cloak => draw_cloak(canvas, look),
    }
}

/// A garment with its shading and folds.
fn cloth(canvas: &mut Canvas, look: &Look, shape: &Option<Path>, ramp: Ramp) {
    let w = shoulders(look);
    canvas.fill(
        shape,
        down(
            196.0,
            look.soft(ramp.base, ramp.base.mix(ramp.light, 0.5)),
            268.0,
            look.soft(ramp.base, ramp.shade),
        ),
    );
    canvas.clipped(shape, |canvas| {
        let shade = ramp.shade.mix(ramp.deep, 0.25).alpha(0.6 * look.hand.cel);
        // The side away from the light.
        let side = Pen::at(w + 20.0, 200.0)
            .l(w - 14.0, 206.0)
            .c(w - 16.0, 226.0, w - 26.0, 240.0, w - 24.0, 270.0)
            .l(w + 30.0, 270.0)
            .z()
            .end();
        canvas.fill(&side, shade);
        // Under the chin and the arms.
        canvas.fill(
            &Pen::at(-30.0, 190.0).q(4.0, 224.0, 36.0, 192.0).l(30.0, 180.0).l(-30.0, 180.0).z().end(),
            ramp.deep.alpha(0.35),
        );
        canvas.both_sides(|canvas| {
            canvas.fill(
                &Pen::at(w - 20.0, 270.0)
                    .q(w - 15.0, 246.0, w - 10.0, 236.0)
                    .q(w - 8.0, 250.0, w - 10.0, 270.0)
                    .z()
                    .end(),
                shade,
            );
        });
        let rim = look.hand.rim.unwrap_or(look.light.rim.mix(ramp.light, 0.4));
        canvas.line(
            &Pen::at(-w - 9.0, 258.0).c(-w - 5.0, 226.0, -w + 2.0, 210.0, -w + 18.0, 206.0).end(),
            3.2,
            rim.alpha(0.55),
        );
    });
    canvas.line(shape, look.hand.line, look.ink(ramp));
}

/// A flat piece laid on the clothes: collars, ribbons, plates.
fn piece(canvas: &mut Canvas, look: &Look, path: &Option<Path>, ramp: Ramp) {
    canvas.fill(path, down(180.0, look.soft(ramp.base, ramp.light), 250.0, look.soft(ramp.base, ramp.shade)));
    canvas.line(path, look.hand.line * 0.9, look.ink(ramp));
}

fn collar(canvas: &mut Canvas, look: &Look, ramp: Ramp) {
    canvas.both_sides(|canvas| {
        piece(canvas, look, &polygon(&[(15.0, 182.0), (23.0, 192.0), (22.0, 217.0), (1.0, 205.0)]), ramp);
    });
}

fn draw_hoodie(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    cloth(canvas, look, &garment(look, 26.0, 192.0, 216.0, false, 3.0), ramp);
    let hood = Pen::at(-50.0, 204.0)
        .c(-44.0, 184.0, -28.0, 180.0, -18.0, 182.0)
        .c(-16.0, 200.0, -6.0, 210.0, 0.0, 217.0)
        .c(6.0, 210.0, 16.0, 200.0, 18.0, 182.0)
        .c(28.0, 180.0, 44.0, 184.0, 50.0, 204.0)
        .c(36.0, 214.0, 14.0, 228.0, 0.0, 230.0)
        .c(-14.0, 228.0, -36.0, 214.0, -50.0, 204.0)
        .z()
        .end();
    piece(canvas, look, &hood, ramp);
    canvas.both_sides(|canvas| {
        canvas.line(&Pen::at(9.0, 219.0).q(12.0, 232.0, 10.0, 250.0).end(), 2.6, look.accent.base);
        canvas.line(&Pen::at(10.0, 249.0).l(10.0, 254.0).end(), 4.0, look.accent.shade);
        canvas.line(&Pen::at(22.0, 190.0).q(20.0, 206.0, 5.0, 220.0).end(), 1.3, ramp.deep.alpha(0.6));
    });
}

fn draw_shirt(canvas: &mut Canvas, look: &Look, ramp: Ramp) {
    cloth(canvas, look, &garment(look, 20.0, 190.0, 216.0, true, 0.0), ramp);
    canvas.line(&Pen::at(0.0, 216.0).l(0.0, FLOOR).end(), 1.4, look.ink(ramp).alpha(0.7));
    canvas.line(&Pen::at(5.5, 214.0).l(5.5, FLOOR).end(), 1.0, ramp.deep.alpha(0.4));
    collar(canvas, look, ramp);
    for y in [228.0, 246.0] {
        canvas.dot(2.6, y, 2.0, look.accent.base);
        canvas.dot(2.0, y - 0.6, 0.8, WHITE.alpha(0.7));
    }
}

fn draw_turtleneck(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    let n = neck_width(look) + 4.0;
    cloth(canvas, look, &garment(look, n + 4.0, 194.0, 206.0, false, 1.0), ramp);
    let tube = Pen::at(-n, 176.0)
        .q(0.0, 187.0, n, 176.0)
        .q(n + 3.0, 188.0, n + 5.0, 199.0)
        .q(0.0, 213.0, -n - 5.0, 199.0)
        .q(-n - 3.0, 188.0, -n, 176.0)
        .z()
        .end();
    piece(canvas, look, &tube, ramp);
    let mut ribs = Pen::at(0.0, 182.0).l(0.0, 205.0);
    for x in [4.5_f32, 9.0, 13.0] {
        ribs = ribs
            .m(x, 181.5 - x * 0.15)
            .l(x * 1.2, 204.5 - x * 0.2)
            .m(-x, 181.5 - x * 0.15)
            .l(-x * 1.2, 204.5 - x * 0.2);
    }
    canvas.line(&ribs.end(), 1.1, ramp.deep.alpha(0.45));
}

fn draw_jacket(canvas: &mut Canvas, look: &Look) {
    let inner = look.material(if look.cloth.base.luma() > 190.0 { 0x3A3C48 } else { 0xF0EEEA });
    cloth(canvas, look, &garment(look, 22.0, 192.0, 208.0, false, -2.0), inner);
    let ramp = look.cloth;
    let w = shoulders(look) + 5.0;
    canvas.both_sides(|canvas| {
        let half = Pen::at(21.0, 186.0)
            .q(34.0, 192.0, w - 17.0, 202.0)
            .c(w, 208.0, w + 7.0, 226.0, w + 11.0, 258.0)
            .l(w + 18.0, FLOOR)
            .l(13.0, FLOOR)
            .l(13.0, 252.0)
            .z()
            .end();
        cloth(canvas, look, &half, ramp);
        piece(
            canvas,
            look,
            &polygon(&[
                (19.0, 182.0),
                (33.0, 191.0),
                (42.0, 218.0),
                (31.0, 221.0),
                (24.0, 240.0),
                (13.0, 250.0),
            ]),
            ramp,
        );
        canvas.line(&Pen::at(13.0, 251.0).l(13.0, FLOOR).end(), 2.6, rgb(0xC8CCD4));
        canvas.line(
            &Pen::at(w - 22.0, 204.0).q(w - 30.0, 226.0, w - 26.0, 262.0).end(),
            1.2,
            ramp.deep.alpha(0.7),
        );
        canvas.dot(35.5, 213.0, 1.7, rgb(0xD8DAE0));
        canvas.fill(
            &Pen::at(w - 12.0, 210.0)
                .q(w - 2.0, 218.0, w + 2.0, 240.0)
                .q(w - 6.0, 222.0, w - 12.0, 210.0)
                .z()
                .end(),
            WHITE.alpha(0.35),
        );
    });
}

fn draw_dress(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    let w = shoulders(look) - 19.0;
    let bodice = Pen::at(-w, 232.0)
        .c(-w + 10.0, 222.0, -12.0, 222.0, 0.0, 233.0)
        .c(12.0, 222.0, w - 10.0, 222.0, w, 232.0)
        .l(w + 6.0, FLOOR)
        .l(-w - 6.0, FLOOR)
        .z()
        .end();
    cloth(canvas, look, &bodice, ramp);
    canvas.both_sides(|canvas| {
        piece(canvas, look, &polygon(&[(36.0, 201.0), (44.0, 203.0), (40.0, 228.0), (31.0, 226.0)]), ramp);
        let mut frill = Pen::at(w, 231.0);
        for bump in 0..4 {
            let x = w - bump as f32 * w / 4.0;
            let sag = 225.0 + bump as f32 * 1.9;
            frill = frill.q(x - w / 16.0, sag + 12.0, x - w / 8.0, sag + 3.0).q(
                x - w * 3.0 / 16.0,
                sag + 12.0,
                x - w / 4.0,
                sag + 2.0,
            );
        }
        canvas.line(&frill.end(), 2.4, look.accent.light);
    });
    let bow = Pen::at(0.0, 236.0)
        .c(-14.0, 226.0, -16.0, 246.0, 0.0, 238.0)
        .c(16.0, 246.0, 14.0, 226.0, 0.0, 236.0)
        .z()
        .end();
    piece(canvas, look, &bow, look.accent);
}

fn draw_kimono(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    let shape = garment(look, 26.0, 194.0, 236.0, true, 4.0);
    cloth(canvas, look, &shape, ramp);
    canvas.clipped(&shape, |canvas| {
        let mut dice = look.dice("kimono");
        for _ in 0..7 {
            let x = dice.range(34.0, 86.0) * if dice.one_in(2) { 1.0 } else { -1.0 };
            let y = dice.range(208.0, 256.0);
            for (px, py) in [(0.0, -4.0), (3.8, -1.2), (2.4, 3.2), (-2.4, 3.2), (-3.8, -1.2)] {
                canvas.dot(x + px, y + py, 2.6, look.accent.light.alpha(0.85));
            }
            canvas.dot(x, y, 1.5, look.accent.shade);
        }
    });
    let under = Pen::at(-17.0, 184.0).l(4.0, 232.0).l(12.0, 224.0).l(-9.0, 184.0).z().end();
    piece(canvas, look, &under, look.material(0xFAF6F0));
    let left = polygon(&[(-18.0, 183.0), (-30.0, 194.0), (8.0, 250.0), (14.0, 232.0)]);
    piece(canvas, look, &left, look.accent);
    let right = polygon(&[(18.0, 183.0), (30.0, 194.0), (-14.0, 262.0), (-26.0, 262.0)]);
    piece(canvas, look, &right, look.accent);
    canvas.rect(-80.0, 251.0, 160.0, 60.0, look.accent.shade);
    canvas.rect(-80.0, 254.0, 160.0, 3.0, look.accent.light);
}

fn draw_armor(canvas: &mut Canvas, look: &Look) {
    let steel = look.material(0xB8C2D2);
    cloth(canvas, look, &garment(look, 24.0, 192.0, 204.0, false, 0.0), look.cloth);
    let gold = look.material(0xE8BE58);
    let plate = Pen::at(-44.0, 212.0)
        .q(0.0, 204.0, 44.0, 212.0)
        .c(50.0, 230.0, 46.0, 250.0, 44.0, FLOOR)
        .l(-44.0, FLOOR)
        .c(-46.0, 250.0, -50.0, 230.0, -44.0, 212.0)
        .z()
        .end();
    canvas.fill(
        &plate,
        Fill::Linear(
            (-46.0, 210.0),
            steel.light.mix(WHITE, 0.4).into(),
            (50.0, 262.0),
            steel.shade.mix(steel.deep, 0.4).into(),
        ),
    );
    canvas.fill(
        &Pen::at(-30.0, 216.0)
            .q(-22.0, 214.0, -14.0, 214.0)
            .q(-24.0, 236.0, -26.0, 262.0)
            .l(-38.0, 262.0)
            .q(-40.0, 236.0, -30.0, 216.0)
            .z()
            .end(),
        WHITE.alpha(0.45),
    );
    canvas.line(&Pen::at(0.0, 208.0).l(0.0, FLOOR).end(), 1.8, steel.deep.alpha(0.7));
    canvas.line(&plate, look.hand.line, look.ink(steel));
    canvas.fill(&polygon(&[(0.0, 220.0), (8.0, 231.0), (0.0, 244.0), (-8.0, 231.0)]), look.cloth.base);
    canvas.line(&polygon(&[(0.0, 220.0), (8.0, 231.0), (0.0, 244.0), (-8.0, 231.0)]), 2.0, gold.base);
    let gorget =
        Pen::at(-24.0, 180.0).q(0.0, 196.0, 24.0, 180.0).l(32.0, 202.0).q(0.0, 222.0, -32.0, 202.0).z().end();
    canvas.fill(&gorget, Fill::Linear((-30.0, 190.0), steel.light.into(), (32.0, 206.0), steel.shade.into()));
    canvas.line(&gorget, look.hand.line.max(0.8), look.ink(steel));
    canvas.line(&Pen::at(-23.5, 181.0).q(0.0, 197.0, 23.5, 181.0).end(), 2.4, gold.base);
    let w = shoulders(look);
    canvas.both_sides(|canvas| {
        for (step, size) in [(0.0, 27.0), (11.0, 22.0)] {
            let guard = Pen::at(w - 34.0, 210.0 + step)
                .c(
                    w - 30.0,
                    192.0 + step,
                    w + 6.0,
                    188.0 + step,
                    w + 12.0 - step * 0.2,
                    214.0 + size * 0.4 + step,
                )
                .q(w - 10.0, 204.0 + step + size * 0.6, w - 34.0, 210.0 + step)
                .z()
                .end();
            canvas.fill(&guard, down(192.0 + step, steel.light.mix(WHITE, 0.3), 230.0 + step, steel.shade));
            canvas.line(&guard, look.hand.line.max(0.8), look.ink(steel));
        }
        canvas.line(
            &Pen::at(w - 33.0, 209.0).c(w - 29.0, 192.0, w + 5.0, 188.0, w + 11.0, 222.0).end(),
            2.2,
            gold.base,
        );
        canvas.dot(w - 14.0, 205.0, 2.4, gold.light);
    });
}

fn draw_tshirt(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    cloth(canvas, look, &garment(look, 25.0, 194.0, 211.0, false, 0.0), ramp);
    let band = Pen::at(-25.0, 194.0)
        .c(-20.0, 216.0, 20.0, 216.0, 25.0, 194.0)
        .l(29.0, 196.0)
        .c(23.0, 222.0, -23.0, 222.0, -29.0, 196.0)
        .z()
        .end();
    canvas.fill(&band, look.accent.base);
    canvas.line(&band, look.hand.line * 0.7, look.ink(ramp));
    let w = shoulders(look);
    canvas.both_sides(|canvas| {
        canvas.line(
            &Pen::at(w - 19.0, 207.0).q(w - 26.0, 230.0, w - 22.0, 262.0).end(),
            1.3,
            ramp.deep.alpha(0.6),
        )
    });
    draw_print(canvas, look, 0.0, 243.0);
}

/// A print on the chest: one of four, by the seed.
fn draw_print(canvas: &mut Canvas, look: &Look, x: f32, y: f32) {
    canvas.within(Transform::from_translate(x, y), |canvas| {
        let color = look.accent.base;
        match look.dice("print").below(4) {
            0 => canvas.fill(
                &Pen::at(0.0, 12.0)
                    .c(-22.0, -4.0, -10.0, -17.0, 0.0, -6.0)
                    .c(10.0, -17.0, 22.0, -4.0, 0.0, 12.0)
                    .z()
                    .end(),
                color,
            ),
            1 => {
                let star = [
                    (0.0, -13.0),
                    (3.6, -4.6),
                    (12.6, -4.0),
                    (5.8, 2.0),
                    (7.8, 10.8),
                    (0.0, 6.0),
                    (-7.8, 10.8),
                    (-5.8, 2.0),
                    (-12.6, -4.0),
                    (-3.6, -4.6),
                ];
                canvas.fill(&polygon(&star), color);
            }
            2 => {
                canvas.line(&ellipse(0.0, 0.0, 10.0, 10.0), 3.4, color);
                canvas.dot(0.0, 0.0, 4.4, color);
            }
            _ => {
                canvas.fill(
                    &Pen::at(3.0, -14.0)
                        .l(-9.0, 2.0)
                        .l(-1.0, 2.0)
                        .l(-4.0, 14.0)
                        .l(9.0, -3.0)
                        .l(1.0, -3.0)
                        .z()
                        .end(),
                    color,
                );
            }
        }
    });
}

fn draw_sailor(canvas: &mut Canvas, look: &Look) {
    let white = look.material(0xFAFAFC);
    cloth(canvas, look, &garment(look, 22.0, 192.0, 226.0, true, 0.0), white);
    let ramp = look.cloth;
    let stripe = if ramp.base.luma() > 170.0 { look.tone(0x3A4A8C) } else { WHITE };
    canvas.both_sides(|canvas| {
        let flap = Pen::at(17.0, 182.0)
            .q(42.0, 190.0, 54.0, 207.0)
            .l(46.0, 226.0)
            .q(22.0, 226.0, 0.0, 240.0)
            .z()
            .end();
        piece(canvas, look, &flap, ramp);
        canvas.line(&Pen::at(49.0, 208.0).l(43.0, 222.0).q(22.0, 222.0, 4.0, 233.0).end(), 1.7, stripe);
    });
    let knot = look.accent;
    canvas.both_sides(|canvas| {
        piece(
            canvas,
            look,
            &Pen::at(0.0, 236.0)
                .c(8.0, 224.0, 24.0, 226.0, 22.0, 240.0)
                .c(20.0, 248.0, 8.0, 246.0, 0.0, 238.0)
                .z()
                .end(),
            knot,
        );
        piece(canvas, look, &polygon(&[(1.0, 239.0), (8.0, 241.0), (15.0, 268.0), (5.0, 266.0)]), knot);
    });
    canvas.fill(&ellipse(0.0, 238.0, 5.0, 4.6), knot.shade);
    canvas.line(&ellipse(0.0, 238.0, 5.0, 4.6), look.hand.line * 0.8, look.ink(knot));
}

fn draw_suit(canvas: &mut Canvas, look: &Look) {
    let white = look.material(if look.cloth.base.luma() > 225.0 { 0x9CBCE4 } else { 0xFAFAFC });
    draw_shirt(canvas, look, white);
    let tie = look.accent;
    piece(canvas, look, &polygon(&[(-6.0, 207.0), (6.0, 207.0), (4.0, 217.0), (-4.0, 217.0)]), tie);
    piece(canvas, look, &polygon(&[(-4.0, 217.0), (4.0, 217.0), (10.0, 275.0), (-10.0, 275.0)]), tie);
    for y in [226.0_f32, 236.0, 246.0] {
        canvas.line(&Pen::at(-5.0, y + 5.0).l(5.0, y).end(), 1.5, tie.light.alpha(0.8));
    }
    let w = shoulders(look) + 3.0;
    canvas.both_sides(|canvas| {
        let half = Pen::at(22.0, 190.0)
            .q(34.0, 194.0, w - 17.0, 202.0)
            .c(w, 208.0, w + 7.0, 226.0, w + 11.0, 258.0)
            .l(w + 18.0, FLOOR)
            .l(2.0, FLOOR)
            .l(9.0, 262.0)
            .z()
            .end();
        cloth(canvas, look, &half, look.cloth);
        piece(
            canvas,
            look,
            &polygon(&[
                (21.0, 189.0),
                (34.0, 196.0),
                (44.0, 220.0),
                (33.0, 223.0),
                (37.0, 231.0),
                (10.0, 264.0),
            ]),
            look.cloth,
        );
    });
    canvas.fill(&polygon(&[(48.0, 240.0), (62.0, 237.0), (61.0, 243.0), (49.0, 245.0)]), look.accent.light);
}

fn draw_sweater(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    let shape = garment(look, 22.0, 190.0, 208.0, false, 4.0);
    cloth(canvas, look, &shape, ramp);
    canvas.clipped(&shape, |canvas| {
        // Knit in zigzag bands.
        for (band, y) in [222.0_f32, 231.0, 240.0, 249.0].into_iter().enumerate() {
            let mut zigzag = Pen::at(-96.0, y);
            for step in 1..=24 {
                zigzag = zigzag.l(-96.0 + step as f32 * 8.0, y + if step % 2 == 1 { 5.0 } else { 0.0 });
            }
            let color: Rgb = if band % 2 == 0 { look.accent.base } else { ramp.light };
            canvas.line(&zigzag.end(), 2.4, color.alpha(0.85));
        }
    });
    let band = Pen::at(-22.0, 186.0)
        .c(-17.0, 208.0, 17.0, 208.0, 22.0, 186.0)
        .l(28.0, 194.0)
        .c(22.0, 222.0, -22.0, 222.0, -28.0, 194.0)
        .z()
        .end();
    piece(canvas, look, &band, ramp);
    let mut ribs = Pen::at(0.0, 204.0).l(0.0, 214.0);
    for x in [6.0_f32, 12.0, 18.0] {
        ribs = ribs
            .m(x, 203.0 - x * x * 0.028)
            .l(x * 1.2, 212.5 - x * x * 0.026)
            .m(-x, 203.0 - x * x * 0.028)
            .l(-x * 1.2, 212.5 - x * x * 0.026);
    }
    canvas.line(&ribs.end(), 1.2, ramp.deep.alpha(0.5));
}

fn draw_tank_top(canvas: &mut Canvas, look: &Look) {
    let ramp = look.cloth;
    let w = shoulders(look) - 15.0;
    let top = Pen::at(-36.0, 201.0)
        .c(-30.0, 234.0, 30.0, 234.0, 36.0, 201.0)
        .l(46.0, 204.0)
        .q(43.0, 228.0, w, 246.0)
        .l(w + 6.0, FLOOR)
        .l(-w - 6.0, FLOOR)
        .l(-w, 246.0)
        .q(-43.0, 228.0, -46.0, 204.0)
        .z()
        .end();
    cloth(canvas, look, &top, ramp);
    canvas.line(
        &Pen::at(-37.0, 203.0).c(-30.0, 237.0, 30.0, 237.0, 37.0, 203.0).end(),
        2.2,
        look.accent.base,
    );
    canvas.both_sides(|canvas| {
        canvas.line(&Pen::at(45.0, 206.0).q(42.0, 228.0, w - 1.0, 246.0).end(), 1.8, look.accent.base)
    });
    let arm = shoulders(look);
    canvas.both_sides(|canvas| {
        canvas.line(
            &Pen::at(arm - 14.0, 238.0).q(arm - 18.0, 250.0, arm - 17.0, 266.0).end(),
            1.3,
            look.skin.deep.alpha(0.6),
        )
    });
}

fn draw_lab_coat(canvas: &mut Canvas, look: &Look) {
    draw_shirt(canvas, look, look.cloth);
    let white = look.material(0xF6F8FB);
    let w = shoulders(look) + 4.0;
    canvas.both_sides(|canvas| {
        let half = Pen::at(22.0, 189.0)
            .q(34.0, 193.0, w - 17.0, 202.0)
            .c(w, 208.0, w + 7.0, 226.0, w + 11.0, 258.0)
            .l(w + 18.0, FLOOR)
            .l(16.0, FLOOR)
            .l(18.0, 252.0)
            .z()
            .end();
        cloth(canvas, look, &half, white);
        piece(
            canvas,
            look,
            &polygon(&[(20.0, 187.0), (33.0, 194.0), (46.0, 226.0), (34.0, 227.0), (17.0, 254.0)]),
            white,
        );
    });
    let pocket = polygon(&[(-68.0, 240.0), (-48.0, 238.0), (-48.0, 270.0), (-68.0, 270.0)]);
    canvas.line(&pocket, look.hand.line.max(0.9) * 0.8, look.ink(white));
    canvas.line(&Pen::at(-60.0, 230.0).l(-60.0, 246.0).end(), 3.0, look.accent.base);
    canvas.line(&Pen::at(-55.0, 232.0).l(-55.0, 246.0).end(), 2.6, look.tone(0x3A60C8));
}

fn draw_space_suit(canvas: &mut Canvas, look: &Look) {
    let white = look.material(0xECEEF4);
    cloth(canvas, look, &garment(look, 34.0, 198.0, 208.0, false, 8.0), white);
    let w = shoulders(look);
    canvas.both_sides(|canvas| {
        let patch = Pen::at(w - 22.0, 201.0)
            .q(w - 6.0, 204.0, w + 6.0, 220.0)
            .l(w - 4.0, 232.0)
            .q(w - 14.0, 216.0, w - 28.0, 212.0)
            .z()
            .end();
        piece(canvas, look, &patch, look.cloth);
        canvas.line(
            &Pen::at(w - 30.0, 214.0).q(w - 24.0, 236.0, w - 26.0, 264.0).end(),
            1.4,
            white.deep.alpha(0.6),
        );
    });
    let ring = Pen::at(-40.0, 190.0)
        .c(-30.0, 206.0, 30.0, 206.0, 40.0, 190.0)
        .l(44.0, 202.0)
        .c(32.0, 224.0, -32.0, 224.0, -44.0, 202.0)
        .z()
        .end();
    canvas
        .fill(&ring, Fill::Linear((-44.0, 196.0), rgb(0xF4F8FF).into(), (44.0, 208.0), rgb(0x8490A8).into()));
    canvas.line(&ring, look.hand.line.max(0.8), look.ink(white));
    canvas.line(&Pen::at(-42.0, 197.0).c(-30.0, 215.0, 30.0, 215.0, 42.0, 197.0).end(), 2.6, look.cloth.base);
    let panel = polygon(&[(-22.0, 234.0), (22.0, 234.0), (22.0, 266.0), (-22.0, 266.0)]);
    piece(canvas, look, &panel, look.cloth);
    for (x, hex) in [(-13.0, 0xFF5A5A), (0.0, 0xFFD84A), (13.0, 0x5AE08A)] {
        canvas.dot(x, 243.0, 3.6, rgb(0x2A3040));
        canvas.dot(x, 243.0, 2.6, rgb(hex));
        canvas.dot(x - 0.8, 242.0, 0.9, WHITE.alpha(0.8));
    }
}

fn draw_overalls(canvas: &mut Canvas, look: &Look) {
    let tee = look.accent;
    let shape = garment(look, 24.0, 193.0, 209.0, false, 0.0);
    cloth(canvas, look, &shape, tee);
    canvas.clipped(&shape, |canvas| {
        for y in [214.0, 226.0, 238.0, 250.0] {
            canvas.rect(-110.0, y, 220.0, 5.0, tee.light.mix(WHITE, 0.4).alpha(0.7));
        }
    });
    let ramp = look.cloth;
    canvas.both_sides(|canvas| {
        piece(canvas, look, &polygon(&[(32.0, 199.0), (46.0, 203.0), (36.0, 242.0), (22.0, 240.0)]), ramp);
    });
    let bib = Pen::at(-36.0, 234.0).l(36.0, 234.0).l(46.0, FLOOR).l(-46.0, FLOOR).z().end();
    piece(canvas, look, &bib, ramp);
    canvas.line(&Pen::at(-32.0, 238.5).l(32.0, 238.5).end(), 1.1, ramp.light.alpha(0.9));
    canvas.both_sides(|canvas| {
        canvas.dot(29.0, 240.0, 4.4, look.material(0xE8BE58).base);
        canvas.dot(28.0, 239.0, 1.4, WHITE.alpha(0.8));
    });
}

fn draw_cloak(canvas: &mut Canvas, look: &Look) {
    let under = look.accent;
    cloth(canvas, look, &garment(look, 22.0, 192.0, 208.0, true, -3.0), under);
    let w = shoulders(look) + 9.0;
    let ramp = look.cloth;
    canvas.both_sides(|canvas| {
        let half = Pen::at(14.0, 188.0)
            .q(36.0, 180.0, w - 18.0, 198.0)
            .c(w + 2.0, 206.0, w + 10.0, 228.0, w + 14.0, 258.0)
            .l(w + 20.0, FLOOR)
            .l(26.0, FLOOR)
            .q(24.0, 232.0, 3.0, 212.0)
            .z()
            .end();
        cloth(canvas, look, &half, ramp);
        for x in [30.0, 44.0, 58.0] {
            canvas.line(
                &Pen::at(x * 0.45 + 8.0, 208.0).q(x * 0.8 + 8.0, 230.0, x + 4.0, 270.0).end(),
                1.4,
                ramp.deep.alpha(0.55),
            );
        }
        canvas.line(
            &Pen::at(3.0, 212.0).q(24.0, 232.0, 26.0, FLOOR).end(),
            2.2,
            look.material(0xE8BE58).base,
        );
    });
    let gold = look.material(0xE8BE58);
    canvas.dot(0.0, 211.0, 8.0, gold.shade);
    canvas.dot(0.0, 211.0, 6.4, gold.light);
    canvas.dot(0.0, 211.0, 4.6, look.eye_left);
    canvas.dot(-1.4, 209.4, 1.4, WHITE.alpha(0.9));
}

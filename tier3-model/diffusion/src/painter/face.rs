//! Head, ears, eyes, brows, nose and mouth: what the expression moves.

use tiny_skia::{Path, Transform};

use crate::traits::{Accessory, Expression, Presentation};

use super::canvas::{Canvas, Fill, Pen, down, ellipse, lock};
use super::color::{Ramp, Rgb, WHITE, rgb};
use super::look::Look;

/// Height of the middle of the eyes.
pub(crate) const EYE_Y: f32 = 129.0;
/// Distance of an eye from the middle of the face.
pub(crate) const EYE_X: f32 = 20.5;

#[derive(Clone, Copy)]
enum Mouth {
    Smile,
    Tender,
    Open,
    Grin,
    Smirk,
    Flat,
    Wavy,
    Round,
    Small,
    Pout,
    Frown,
    Tongue,
    Cat,
}

/// How an expression moves the face.
#[derive(Clone, Copy)]
struct Mimic {
    /// Opening of the left and right eye: 0 closed in a smile, 1 usual.
    open: (f32, f32),
    /// Brows up, in design units.
    brow: f32,
    /// Inner ends of the brows down: positive looks determined, negative worried.
    frown: f32,
    /// Where the eyes look, in design units.
    gaze: (f32, f32),
    /// Extra blush, 0 to 1.
    blush: f32,
    mouth: Mouth,
}

fn mimic(expression: Expression) -> Mimic {
    let calm =
        Mimic { open: (0.95, 0.95), brow: 0.0, frown: 0.0, gaze: (0.0, 0.0), blush: 0.0, mouth: Mouth::Flat };
    match expression {
        Expression::Smile => Mimic { open: (1.0, 1.0), brow: 1.0, blush: 0.1, mouth: Mouth::Smile, ..calm },
        Expression::Laugh => Mimic { open: (0.98, 0.98), brow: 2.5, blush: 0.25, mouth: Mouth::Open, ..calm },
        Expression::Grin => Mimic { open: (0.9, 0.9), brow: 1.0, frown: 1.0, mouth: Mouth::Grin, ..calm },
        Expression::Smirk => {
            Mimic { open: (0.78, 0.84), frown: 1.5, gaze: (1.2, 0.0), mouth: Mouth::Smirk, ..calm }
        }
        Expression::Calm => calm,
        Expression::Shy => Mimic {
            open: (0.86, 0.86),
            brow: 1.0,
            frown: -3.0,
            gaze: (-3.0, 1.5),
            blush: 0.9,
            mouth: Mouth::Wavy,
        },
        Expression::Surprised => {
            Mimic { open: (1.16, 1.16), brow: 6.0, frown: -1.0, mouth: Mouth::Round, ..calm }
        }
        Expression::Wink => Mimic { open: (1.0, 0.0), brow: 1.5, blush: 0.2, mouth: Mouth::Open, ..calm },
        Expression::Sleepy => Mimic {
            open: (0.5, 0.46),
            brow: -1.0,
            frown: -1.5,
            gaze: (0.0, 1.5),
            mouth: Mouth::Small,
            ..calm
        },
        Expression::Determined => Mimic { open: (0.88, 0.88), brow: -2.0, frown: 4.5, ..calm },
        Expression::Pout => Mimic {
            open: (0.82, 0.82),
            brow: -1.0,
            frown: 2.5,
            gaze: (2.6, 0.0),
            blush: 0.4,
            mouth: Mouth::Pout,
        },
        Expression::Worried => {
            Mimic { open: (1.02, 1.02), brow: 1.5, frown: -5.0, mouth: Mouth::Frown, ..calm }
        }
        Expression::Tongue => {
            Mimic { open: (1.0, 0.94), brow: 2.0, blush: 0.2, mouth: Mouth::Tongue, ..calm }
        }
        Expression::CatMouth => Mimic { open: (0.9, 0.9), brow: 0.5, frown: 1.5, mouth: Mouth::Cat, ..calm },
        Expression::Dreamy => Mimic {
            open: (0.9, 0.9),
            brow: 2.0,
            frown: -2.0,
            gaze: (1.6, -3.4),
            blush: 0.3,
            mouth: Mouth::Small,
        },
        Expression::Tender => {
            Mimic { open: (0.74, 0.74), brow: 0.5, frown: -1.5, blush: 0.35, mouth: Mouth::Tender, ..calm }
        }
    }
}

/// The outline of the head without ears.
pub(crate) fn outline(look: &Look) -> Option<Path> {
    let chin = look.stance.turn * 4.0;
    let (cheek, jaw, low, tip) = match look.traits.presentation {
        Presentation::Girl => (41.5, 23.0, 160.0, 174.0),
        Presentation::Boy => (42.0, 27.0, 163.0, 178.0),
        Presentation::Androgynous => (41.5, 25.0, 161.0, 176.0),
    };
    let chin_width = (jaw - 16.0) * 0.8;
    Pen::at(-cheek, 110.0)
        .c(-cheek - 0.5, 134.0, -jaw - 12.0 + chin, low - 10.0, -jaw + chin, low)
        .c(-jaw + 9.0 + chin, low + 9.0, -chin_width + chin, tip, chin, tip)
        .c(chin_width + chin, tip, jaw - 9.0 + chin, low + 9.0, jaw + chin, low)
        .c(jaw + 12.0 + chin, low - 10.0, cheek + 0.5, 134.0, cheek, 110.0)
        .c(cheek, 76.0, 28.0, 60.0, 0.0, 60.0)
        .c(-28.0, 60.0, -cheek, 76.0, -cheek, 110.0)
        .z()
        .end()
}

/// Ears and the bare face: everything that lies under the fringe.
pub(crate) fn draw_head(canvas: &mut Canvas, look: &Look) {
    let skin = look.skin;
    let ear_shift = -look.stance.turn * 4.0;
    canvas.within(Transform::from_translate(ear_shift, 0.0), |canvas| {
        canvas.both_sides(|canvas| {
            let ear = Pen::at(38.0, 118.0)
                .c(46.0, 112.0, 52.0, 118.0, 49.0, 130.0)
                .c(47.0, 139.0, 42.0, 144.0, 38.0, 142.0)
                .z()
                .end();
            canvas.fill(&ear, skin.base.mix(skin.shade, 0.4));
            canvas.line(&ear, look.hand.line * 0.8, look.ink(skin));
            let fold = Pen::at(42.5, 122.0).q(47.5, 120.0, 45.0, 130.0).end();
            canvas.line(&fold, 1.3, skin.deep.alpha(0.55));
        });
    });
    let face = outline(look);
    canvas.fill(&face, down(72.0, skin.base, 176.0, look.soft(skin.base, skin.base.mix(skin.shade, 0.35))));
    canvas.clipped(&face, |canvas| {
        // The side away from the light, and the turn of the cheek.
        let side = Pen::at(46.0, 90.0)
            .c(34.0, 128.0, 36.0, 146.0, 14.0, 172.0)
            .l(30.0, 184.0)
            .l(60.0, 150.0)
            .z()
            .end();
        canvas.within(Transform::from_translate(look.stance.turn * 7.0, 0.0), |canvas| {
            canvas.fill(&side, skin.shade.alpha(0.55 * look.hand.cel));
        });
        if look.hand.soft > 0.3 {
            canvas.glow(-16.0 + look.stance.turn * 5.0, 140.0, 26.0, 30.0, skin.light, 0.55 * look.hand.soft);
        }
    });
    canvas.line(&face, look.hand.line, look.ink(skin));
}

/// Eyes, nose, mouth, blush: everything that the expression moves, without the brows.
pub(crate) fn draw_features(canvas: &mut Canvas, look: &Look) {
    draw_features_around(canvas, look, draw_nose);
}

/// The same around another nose.
pub(crate) fn draw_features_around(canvas: &mut Canvas, look: &Look, draw_nose: fn(&mut Canvas, &Look)) {
    let mimic = mimic(look.traits.expression);
    let (dx, dy) = (look.stance.turn * 7.5, -look.stance.lift);
    canvas.within(Transform::from_translate(dx, dy), |canvas| {
        draw_blush(canvas, look, mimic);
        draw_nose(canvas, look);
        draw_mouth(canvas, look, mimic.mouth);
        for (side, open, iris) in [(-1.0, mimic.open.0, look.eye_left), (1.0, mimic.open.1, look.eye_right)] {
            // The eye on the far side of a turned face is seen at an angle.
            let squeeze = 1.0 - 0.13 * (look.stance.turn * side).max(0.0);
            let place = Transform::from_row(side * squeeze, 0.0, 0.0, 1.0, side * EYE_X, EYE_Y);
            canvas.within(place, |canvas| {
                if open <= 0.05 {
                    draw_closed_eye(canvas, look);
                } else {
                    draw_eye(canvas, look, open, iris, (mimic.gaze.0 * side, mimic.gaze.1), side);
                }
            });
        }
    });
}

/// The brows, drawn over the fringe so that they can be read through it.
pub(crate) fn draw_brows(canvas: &mut Canvas, look: &Look) {
    let mimic = mimic(look.traits.expression);
    let (thick, arch) = match look.traits.presentation {
        Presentation::Girl => (3.2, 4.5),
        Presentation::Boy => (4.8, 2.5),
        Presentation::Androgynous => (4.0, 3.5),
    };
    let color = look.hair.deep.mix(look.skin.deep, 0.15).alpha(0.85);
    let place = Transform::from_translate(look.stance.turn * 7.5, -look.stance.lift - mimic.brow);
    canvas.within(place, |canvas| {
        canvas.both_sides(|canvas| {
            let (inner, outer) = (109.5 + mimic.frown, 110.0 - mimic.frown * 0.25);
            let top = 109.0 - arch;
            let brow = Pen::at(9.0, inner - thick * 0.4)
                .q(22.0, top - thick * 0.6, 34.0, outer)
                .q(22.0, top + thick * 0.8, 10.0, inner + thick * 0.6)
                .z()
                .end();
            canvas.fill(&brow, color);
        });
    });
}

fn draw_blush(canvas: &mut Canvas, look: &Look, mimic: Mimic) {
    let strength = ((0.42 + mimic.blush * 0.6) * look.hand.blush).min(0.9);
    let color = look.skin.shade.mix(rgb(0xF25058), 0.55);
    canvas.both_sides(|canvas| {
        if look.hand.soft > 0.3 {
            canvas.glow(27.0, 148.0, 13.0, 7.5, color, strength);
        } else {
            canvas.fill(&ellipse(27.0, 148.0, 9.0, 4.6), color.alpha(strength * 0.6));
        }
        if mimic.blush > 0.5 {
            for step in [0.0_f32, 4.5, 9.0] {
                let tick = Pen::at(21.0 + step, 150.5).l(23.5 + step, 145.5).end();
                canvas.line(&tick, 1.2, look.skin.deep.mix(rgb(0xE04050), 0.5).alpha(0.8));
            }
        }
    });
    if look.traits.accessory == Some(Accessory::Freckles) {
        let mut dice = look.dice("freckles");
        for _ in 0..22 {
            let (x, y) = (dice.range(-32.0, 32.0), dice.range(140.0, 152.0));
            canvas.dot(x, y - x.abs() * 0.06, dice.range(0.8, 1.35), look.skin.deep.alpha(0.75));
        }
    }
}

fn draw_nose(canvas: &mut Canvas, look: &Look) {
    let turn = look.stance.turn * 2.0;
    let shadow = Pen::at(turn - 0.5, 143.0)
        .q(turn + 4.2, 149.0, turn - 1.0, 150.4)
        .q(turn + 1.2, 148.0, turn - 0.5, 143.0)
        .z()
        .end();
    canvas.fill(&shadow, look.skin.deep.alpha(0.6));
    if look.hand.soft > 0.3 {
        canvas.fill(&ellipse(turn - 1.4, 144.6, 1.3, 2.2), look.skin.light.alpha(0.8));
    }
}

/// One eye in its own frame: the middle at (0, 0), the outer corner at positive x.
fn draw_eye(canvas: &mut Canvas, look: &Look, open: f32, iris: Rgb, gaze: (f32, f32), side: f32) {
    let soft = look.traits.presentation != Presentation::Boy;
    let height = if soft { 1.0 } else { 0.82 };
    let top = -12.5 * open.min(1.15) * height;
    let bottom = 11.0 * height;
    let opening = Pen::at(-12.5, 3.5)
        .c(-11.0, top * 0.75, -4.0, top * 1.12, 2.0, top)
        .c(8.5, top * 0.92, 12.5, top * 0.4, 13.5, 0.5)
        .c(12.5, 7.0, 7.0, bottom, 1.0, bottom)
        .c(-6.0, bottom, -11.0, 8.5, -12.5, 3.5)
        .z()
        .end();
    let lash = look.hair.deep.mix(rgb(0x1C1220), 0.72);
    canvas.fill(&opening, rgb(0xFDFCFF));
    canvas.clipped(&opening, |canvas| {
        let (x, y) = (0.6 + gaze.0, -0.5 + gaze.1);
        let (rx, ry) = (9.0, 11.2 * height.max(0.9));
        let dark = iris.multiply(rgb(0x6A5878)).mix(rgb(0x140A24), 0.25);
        canvas.fill(&ellipse(x, y, rx, ry), dark);
        let glow = iris.mix(WHITE, 0.18);
        canvas.fill(
            &ellipse(x, y + 0.5, rx - 1.3, ry - 1.3),
            down(y - ry * 0.8, dark.mix(iris, 0.25), y + ry * 0.75, glow),
        );
        canvas.fill(&ellipse(x, y - 0.5, 3.9, 5.0), dark.mix(rgb(0x0A0614), 0.6));
        let crescent = Pen::at(x - 6.0, y + 3.0)
            .q(x, y + 11.0, x + 6.0, y + 3.0)
            .q(x, y + 14.5, x - 6.0, y + 3.0)
            .z()
            .end();
        canvas.fill(&crescent, iris.mix(WHITE, 0.55).alpha(0.75));
        // The upper lid throws its shadow on white and iris alike.
        let lid = Pen::at(-16.0, -16.0)
            .l(16.0, -16.0)
            .l(16.0, top * 0.3)
            .q(2.0, top + 8.5, -16.0, top * 0.3 + 3.0)
            .z()
            .end();
        canvas.fill(&lid, rgb(0x4A3868).alpha(0.30));
        // The light comes from the viewer's left, so both eyes catch it on that side.
        canvas.fill(&ellipse(x - 3.4 * side, y - 4.6, 3.1, 3.5), WHITE);
        canvas.dot(x + 3.9 * side, y + 4.2, 1.6, WHITE.alpha(0.9));
    });
    let wing = if soft { 3.5 } else { 1.5 };
    let weight = if soft { 4.0 } else { 3.4 };
    let upper = Pen::at(-13.5, 4.5)
        .c(-12.0, top * 0.8, -5.0, top * 1.18, 2.0, top - 0.6)
        .c(9.0, top * 0.95, 13.0, top * 0.45, 13.5 + wing, 0.5 - wing)
        .c(14.0, 1.0, 14.0, 2.0, 13.2, 2.5)
        .c(11.5, top * 0.3 + 1.5, 8.0, top + weight, 2.0, top + weight * 0.8)
        .c(-5.0, top + weight * 0.8, -9.5, top * 0.55 + 2.5, -13.5, 4.5)
        .z()
        .end();
    canvas.fill(&upper, lash);
    if look.traits.presentation == Presentation::Girl {
        canvas.fill(&lock(11.0, top * 0.62, 14.0, top * 0.75 - 1.0, 17.0, top * 0.85 - 2.0, 2.6), lash);
        canvas.fill(&lock(13.0, top * 0.3, 16.0, top * 0.3, 18.8, top * 0.4 - 1.5, 2.4), lash);
    }
    let lower = Pen::at(12.8, 3.5).q(9.5, bottom - 0.8, 2.0, bottom + 0.4).end();
    canvas.line(&lower, 1.2, lash.alpha(0.65));
    let crease = Pen::at(-9.0, top - 2.0).q(2.0, top - 6.0, 12.0, top * 0.5 - 4.0).end();
    canvas.line(&crease, 1.1, look.skin.deep.alpha(0.55));
}

/// An eye closed in a smile: an arc with lashes.
fn draw_closed_eye(canvas: &mut Canvas, look: &Look) {
    let lash = look.hair.deep.mix(rgb(0x1C1220), 0.72);
    let arc = Pen::at(-13.0, 5.0).q(0.0, -9.5, 14.5, 4.0).q(0.0, -4.0, -13.0, 5.0).z().end();
    canvas.fill(&arc, lash);
    canvas.fill(&lock(12.0, 1.5, 15.5, 1.0, 18.5, -0.5, 2.6), lash);
    canvas.fill(&lock(13.0, 3.0, 16.0, 4.0, 18.5, 4.0, 2.2), lash);
}

fn draw_mouth(canvas: &mut Canvas, look: &Look, mouth: Mouth) {
    let line = look.skin.deep.multiply(rgb(0xC08088)).mix(rgb(0x501420), 0.3);
    let lip = look.skin.shade.mix(rgb(0xE05260), 0.45);
    let inside = rgb(0x8A2A38);
    let tongue = rgb(0xF08084);
    let stroke = |canvas: &mut Canvas, pen: Pen| canvas.line(&pen.end(), 1.7, line);
    if look.traits.presentation == Presentation::Girl
        && !matches!(mouth, Mouth::Open | Mouth::Grin | Mouth::Tongue)
    {
        canvas.fill(&ellipse(0.0, 161.6, 5.2, 1.7), lip.alpha(0.55));
    }
    match mouth {
        Mouth::Smile => stroke(canvas, Pen::at(-9.5, 156.5).q(0.0, 163.5, 9.5, 156.5)),
        Mouth::Tender => stroke(canvas, Pen::at(-7.0, 157.5).q(0.0, 161.5, 7.0, 157.5)),
        Mouth::Open => {
            let shape = Pen::at(-10.5, 155.0)
                .q(0.0, 158.0, 10.5, 155.0)
                .c(9.0, 166.5, 4.0, 168.5, 0.0, 168.5)
                .c(-4.0, 168.5, -9.0, 166.5, -10.5, 155.0)
                .z()
                .end();
            canvas.fill(&shape, inside);
            canvas.clipped(&shape, |canvas| {
                canvas.fill(&ellipse(0.0, 168.0, 7.0, 4.6), tongue);
                canvas.fill(&ellipse(0.0, 154.2, 9.5, 4.4), WHITE);
            });
            canvas.line(&shape, 1.3, line);
        }
        Mouth::Grin => {
            let shape = Pen::at(-11.5, 154.5)
                .q(0.0, 159.5, 11.5, 154.5)
                .q(8.0, 165.5, 0.0, 165.8)
                .q(-8.0, 165.5, -11.5, 154.5)
                .z()
                .end();
            canvas.fill(&shape, WHITE);
            canvas.line(&Pen::at(-8.5, 160.2).q(0.0, 163.0, 8.5, 160.2).end(), 0.9, line.alpha(0.45));
            canvas.line(&shape, 1.6, line);
        }
        Mouth::Smirk => stroke(canvas, Pen::at(-7.0, 159.5).q(3.0, 162.0, 10.0, 154.5)),
        Mouth::Flat => stroke(canvas, Pen::at(-6.5, 158.5).q(0.0, 159.6, 6.5, 158.5)),
        Mouth::Wavy => {
            stroke(
                canvas,
                Pen::at(-7.5, 158.5)
                    .q(-4.5, 155.5, -1.8, 158.2)
                    .q(1.0, 161.0, 3.2, 158.2)
                    .q(5.2, 156.0, 7.5, 158.5),
            );
        }
        Mouth::Round => {
            canvas.fill(&ellipse(0.0, 160.5, 4.6, 5.8), inside);
            canvas.fill(&ellipse(0.0, 163.8, 3.2, 2.2), tongue);
            canvas.line(&ellipse(0.0, 160.5, 4.6, 5.8), 1.3, line);
        }
        Mouth::Small => {
            canvas.fill(&ellipse(0.0, 159.5, 3.4, 2.2), inside);
            canvas.line(&ellipse(0.0, 159.5, 3.4, 2.2), 1.1, line);
        }
        Mouth::Pout => stroke(canvas, Pen::at(-5.5, 160.5).q(0.0, 155.0, 5.5, 160.5)),
        Mouth::Frown => stroke(canvas, Pen::at(-7.0, 161.0).q(0.0, 156.5, 7.0, 161.0)),
        Mouth::Tongue => {
            let tip = Pen::at(0.0, 159.5).l(9.0, 158.2).c(11.0, 168.5, 2.5, 170.0, 0.5, 160.0).z().end();
            canvas.fill(&tip, tongue);
            canvas.line(&tip, 1.2, line.alpha(0.9));
            stroke(canvas, Pen::at(-10.0, 156.0).q(0.0, 162.5, 10.0, 156.0));
        }
        Mouth::Cat => {
            stroke(canvas, Pen::at(-9.0, 156.5).q(-5.0, 162.5, 0.0, 157.5).q(5.0, 162.5, 9.0, 156.5));
            canvas.fill(&lock(4.4, 159.6, 5.0, 161.0, 5.4, 163.6, 2.8), WHITE);
        }
    }
}

/// The shadow that the hair throws on the forehead: `hair` moved down, where the face is.
pub(crate) fn shade_forehead(canvas: &mut Canvas, look: &Look, hair: &Option<Path>) {
    let Ramp { shade, deep, .. } = look.skin;
    canvas.clipped(&outline(look), |canvas| {
        canvas.within(Transform::from_translate(1.5, 5.0), |canvas| {
            canvas.fill(hair, shade.mix(deep, 0.45).alpha(0.75 * look.hand.cel.max(0.6)));
        });
    });
}

/// The shadow of the head on the neck.
pub(crate) fn shade_neck(canvas: &mut Canvas, look: &Look) {
    let shape = Pen::at(-20.0, 160.0).l(20.0, 160.0).l(18.0, 186.0).q(0.0, 203.0, -16.0, 184.0).z().end();
    let fill: Fill = look.skin.shade.mix(look.skin.deep, 0.55).alpha(0.85).into();
    canvas.fill(&shape, fill);
}

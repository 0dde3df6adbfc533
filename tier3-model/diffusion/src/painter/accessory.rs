//! Glasses, hats, ribbons and the like, in front of face and hair; scarves and chokers at the neck.

use tiny_skia::Transform;

use crate::traits::{Accessory, HairStyle};

use super::canvas::{Canvas, Fill, Pen, down, ellipse, lock, polygon};
use super::color::{WHITE, rgb};
use super::face::{EYE_X, EYE_Y};
use super::look::Look;

/// What is worn at the neck, under the chin: drawn after the clothes and before the head.
pub(crate) fn draw_at_neck(canvas: &mut Canvas, look: &Look) {
    let ramp = look.accent;
    match look.traits.accessory {
        Some(Accessory::Choker) => {
            let band = Pen::at(-18.0, 184.0)
                .q(0.0, 196.0, 18.0, 184.0)
                .l(18.0, 190.0)
                .q(0.0, 202.0, -18.0, 190.0)
                .z()
                .end();
            canvas.fill(&band, rgb(0x2A2434));
            canvas.dot(0.0, 198.5, 4.4, rgb(0xE8BE58));
            canvas.dot(-1.2, 197.2, 1.4, WHITE.alpha(0.9));
        }
        Some(Accessory::Scarf) => {
            let tail = Pen::at(10.0, 206.0)
                .l(38.0, 202.0)
                .q(48.0, 230.0, 44.0, 262.0)
                .l(18.0, 264.0)
                .q(22.0, 232.0, 10.0, 206.0)
                .z()
                .end();
            canvas.fill(&tail, down(200.0, ramp.base, 262.0, look.soft(ramp.base, ramp.shade)));
            canvas.line(&tail, look.hand.line, look.ink(ramp));
            for y in [244.0_f32, 252.0] {
                canvas.line(&Pen::at(20.0, y + 1.0).l(45.0, y - 1.0).end(), 3.0, ramp.light);
            }
            let wrap = Pen::at(-44.0, 186.0)
                .q(0.0, 206.0, 44.0, 186.0)
                .c(56.0, 196.0, 56.0, 212.0, 44.0, 218.0)
                .q(0.0, 238.0, -44.0, 218.0)
                .c(-56.0, 212.0, -56.0, 196.0, -44.0, 186.0)
                .z()
                .end();
            canvas.fill(
                &wrap,
                down(188.0, look.soft(ramp.base, ramp.light), 230.0, look.soft(ramp.base, ramp.shade)),
            );
            for (x, bend) in [(-30.0_f32, -1.0_f32), (-6.0, 0.0), (22.0, 1.0)] {
                canvas.line(
                    &Pen::at(x, 196.0 + x.abs() * -0.1)
                        .q(x + 8.0 + bend, 210.0, x + 2.0, 226.0 - x.abs() * 0.2)
                        .end(),
                    1.6,
                    ramp.deep.alpha(0.5),
                );
            }
            canvas.line(&wrap, look.hand.line, look.ink(ramp));
        }
        _ => {}
    }
}

/// What is worn on the head or the face, drawn last.
pub(crate) fn draw_on_head(canvas: &mut Canvas, look: &Look) {
    let Some(accessory) = look.traits.accessory else { return };
    let turn = look.stance.turn;
    match accessory {
        Accessory::RoundGlasses | Accessory::SquareGlasses => {
            let place = Transform::from_translate(turn * 7.5, -look.stance.lift);
            canvas.within(place, |canvas| draw_glasses(canvas, look, accessory == Accessory::RoundGlasses));
        }
        Accessory::Hoops => canvas.within(Transform::from_translate(-turn * 3.0, 0.0), |canvas| {
            canvas.both_sides(|canvas| {
                canvas.line(&ellipse(47.5, 152.0, 7.0, 9.0), 4.0, rgb(0x8A621C));
                canvas.line(&ellipse(47.5, 152.0, 7.0, 9.0), 2.6, rgb(0xF6D060));
                canvas.dot(43.0, 147.0, 1.4, WHITE);
            });
        }),
        Accessory::Hairclips => {
            for (x, y) in [(33.0, 92.0), (35.5, 101.0)] {
                let clip = polygon(&[
                    (x - 10.0, y - 4.0),
                    (x + 9.0, y - 1.0),
                    (x + 8.0, y + 4.0),
                    (x - 11.0, y + 1.0),
                ]);
                canvas.fill(&clip, look.accent.base);
                canvas.line(&clip, look.hand.line.max(0.9), look.ink(look.accent));
                canvas.line(&Pen::at(x - 7.0, y - 1.5).l(x + 5.0, y + 0.5).end(), 1.2, WHITE.alpha(0.8));
            }
        }
        Accessory::Bow => {
            canvas.within(Transform::from_translate(26.0, 52.0), |canvas| draw_bow(canvas, look))
        }
        Accessory::Headphones => draw_headphones(canvas, look),
        Accessory::Beret => draw_beret(canvas, look),
        Accessory::Flower => draw_flower(canvas, look),
        Accessory::CatEars => draw_cat_ears(canvas, look),
        Accessory::Choker | Accessory::Scarf | Accessory::Freckles => {}
    }
}

fn draw_glasses(canvas: &mut Canvas, look: &Look, round: bool) {
    let frame = if round { rgb(0xC89642).mix(look.accent.deep, 0.2) } else { rgb(0x262230) };
    let width = if round { 2.1 } else { 3.2 };
    canvas.both_sides(|canvas| {
        let lens = if round {
            ellipse(EYE_X + 0.5, EYE_Y + 2.0, 17.5, 17.0)
        } else {
            Pen::at(4.5, EYE_Y - 11.0)
                .q(21.0, EYE_Y - 14.0, 38.5, EYE_Y - 11.0)
                .q(40.0, EYE_Y + 6.0, 35.0, EYE_Y + 14.0)
                .q(22.0, EYE_Y + 17.0, 8.0, EYE_Y + 13.5)
                .q(3.5, EYE_Y + 4.0, 4.5, EYE_Y - 11.0)
                .z()
                .end()
        };
        canvas.fill(&lens, rgb(0xD8F0FF).alpha(0.16));
        canvas.line(&lens, width, frame);
        canvas.line(&Pen::at(38.0, EYE_Y - 3.0).l(46.0, EYE_Y - 5.0).end(), width * 0.9, frame);
    });
    canvas.line(&Pen::at(-4.0, EYE_Y - 1.0).q(0.0, EYE_Y - 5.0, 4.0, EYE_Y - 1.0).end(), width, frame);
    for x in [-EYE_X, EYE_X] {
        canvas.line(&Pen::at(x - 10.5, EYE_Y + 8.0).l(x - 3.0, EYE_Y - 8.0).end(), 2.6, WHITE.alpha(0.45));
        canvas.line(&Pen::at(x - 5.0, EYE_Y + 9.0).l(x - 1.0, EYE_Y + 0.5).end(), 1.4, WHITE.alpha(0.4));
    }
}

fn draw_bow(canvas: &mut Canvas, look: &Look) {
    let ramp = look.accent;
    for side in [-1.0, 1.0] {
        canvas.within(Transform::from_row(side, 0.14 * side, 0.0, 1.0, 0.0, 0.0), |canvas| {
            let tail = Pen::at(2.0, 2.0)
                .q(16.0, 12.0, 16.0, 30.0)
                .l(9.0, 24.0)
                .l(4.0, 30.0)
                .q(8.0, 14.0, 0.0, 4.0)
                .z()
                .end();
            canvas.fill(&tail, ramp.shade);
            canvas.line(&tail, look.hand.line * 0.9, look.ink(ramp));
            let loop_ = Pen::at(0.0, 0.0)
                .c(8.0, -20.0, 32.0, -20.0, 29.0, -1.0)
                .c(28.0, 16.0, 8.0, 14.0, 0.0, 2.0)
                .z()
                .end();
            canvas.fill(
                &loop_,
                Fill::Linear(
                    (0.0, 0.0),
                    ramp.shade.into(),
                    (26.0, -6.0),
                    look.soft(ramp.base, ramp.light).into(),
                ),
            );
            canvas.fill(&lock(2.0, 0.0, 12.0, -4.0, 20.0, -3.0, 4.0), ramp.deep.alpha(0.5));
            canvas.line(&loop_, look.hand.line, look.ink(ramp));
        });
    }
    canvas.fill(&ellipse(0.0, 0.5, 6.0, 6.6), ramp.base);
    canvas.fill(&ellipse(-1.5, -1.5, 2.0, 2.4), ramp.light);
    canvas.line(&ellipse(0.0, 0.5, 6.0, 6.6), look.hand.line, look.ink(ramp));
}

fn draw_headphones(canvas: &mut Canvas, look: &Look) {
    let ramp = look.accent;
    let band = Pen::at(-52.0, 118.0).c(-60.0, 22.0, 60.0, 22.0, 52.0, 118.0).end();
    canvas.line(&band, 8.6 + look.hand.line, look.ink(ramp));
    canvas.line(&band, 8.6, ramp.base);
    canvas.line(
        &Pen::at(-46.0, 84.0).c(-38.0, 46.0, -12.0, 42.0, 8.0, 43.0).end(),
        2.0,
        ramp.light.alpha(0.9),
    );
    canvas.both_sides(|canvas| {
        let cup = Pen::at(42.0, 112.0)
            .c(60.0, 104.0, 66.0, 116.0, 65.0, 130.0)
            .c(65.0, 146.0, 58.0, 154.0, 43.0, 148.0)
            .z()
            .end();
        canvas.fill(&cup, down(108.0, look.soft(ramp.base, ramp.light), 150.0, ramp.shade));
        canvas.line(&cup, look.hand.line.max(0.8), look.ink(ramp));
        canvas.fill(&ellipse(43.5, 130.0, 4.5, 19.0), rgb(0x343040));
        canvas.line(&ellipse(56.5, 129.0, 4.0, 9.0), 1.5, ramp.light.alpha(0.8));
    });
}

fn draw_beret(canvas: &mut Canvas, look: &Look) {
    let ramp = look.accent;
    let hat = Pen::at(-46.0, 74.0)
        .c(-72.0, 44.0, -30.0, 16.0, 16.0, 22.0)
        .c(58.0, 26.0, 74.0, 50.0, 50.0, 74.0)
        .c(34.0, 62.0, -26.0, 60.0, -46.0, 74.0)
        .z()
        .end();
    canvas.fill(
        &hat,
        Fill::Linear(
            (-40.0, 26.0),
            look.soft(ramp.base, ramp.light).into(),
            (40.0, 76.0),
            look.soft(ramp.base, ramp.shade).into(),
        ),
    );
    canvas.fill(
        &Pen::at(50.0, 74.0)
            .c(66.0, 54.0, 58.0, 38.0, 44.0, 30.0)
            .c(56.0, 46.0, 48.0, 60.0, 30.0, 65.0)
            .z()
            .end(),
        ramp.shade.alpha(0.7),
    );
    canvas.fill(&lock(-42.0, 48.0, -30.0, 30.0, 2.0, 28.0, 6.0), ramp.light.alpha(0.6));
    canvas.line(&hat, look.hand.line, look.ink(ramp));
    let band = Pen::at(-47.0, 74.0)
        .c(-26.0, 57.0, 34.0, 59.0, 51.0, 74.0)
        .l(50.0, 82.0)
        .c(32.0, 68.0, -26.0, 66.0, -46.0, 82.0)
        .z()
        .end();
    canvas.fill(&band, ramp.deep);
    canvas.line(&band, look.hand.line * 0.8, look.ink(ramp));
    canvas.line(&Pen::at(8.0, 23.0).q(10.0, 16.0, 14.0, 14.0).end(), 4.0, ramp.deep);
}

fn draw_flower(canvas: &mut Canvas, look: &Look) {
    let petals = if look.accent.base.luma() > 90.0 { look.accent } else { look.material(0xFF9EB8) };
    canvas.within(Transform::from_translate(-38.0, 76.0), |canvas| {
        for (x, y) in [(-15.0, 9.0), (15.0, 12.0)] {
            canvas.fill(&lock(0.0, 0.0, x * 0.8, y - 8.0, x * 1.5, y * 1.3, 12.0), look.tone(0x4EA05A));
        }
        for (x, y) in [(0.0, -10.0), (9.5, -3.1), (5.9, 8.1), (-5.9, 8.1), (-9.5, -3.1)] {
            canvas.fill(
                &ellipse(x, y, 8.2, 8.2),
                Fill::Radial(
                    (0.0, 0.0),
                    18.0,
                    petals.base.mix(petals.shade, 0.6).into(),
                    petals.light.into(),
                ),
            );
            canvas.line(&ellipse(x, y, 8.2, 8.2), look.hand.line * 0.7, look.ink(petals));
        }
        canvas.dot(0.0, 0.0, 5.2, look.tone(0xFFD84A));
        canvas.dot(-1.2, -1.4, 1.8, WHITE.alpha(0.7));
    });
}

fn draw_cat_ears(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    let wide = if look.traits.hair_style == HairStyle::Afro { 1.25 } else { 1.0 };
    canvas.within(
        Transform::from_row(wide, 0.0, 0.0, 1.0, 0.0, if wide > 1.0 { -14.0 } else { 0.0 }),
        |canvas| {
            canvas.both_sides(|canvas| {
                let ear = Pen::at(14.0, 50.0)
                    .c(22.0, 30.0, 34.0, 14.0, 44.0, 8.0)
                    .c(52.0, 24.0, 54.0, 48.0, 49.0, 72.0)
                    .q(34.0, 52.0, 14.0, 50.0)
                    .z()
                    .end();
                canvas.fill(&ear, down(10.0, look.soft(hair.base, hair.shade), 66.0, hair.base));
                canvas.line(&ear, look.hand.line, look.ink(hair));
                let inner = Pen::at(25.0, 48.0)
                    .c(30.0, 34.0, 36.0, 24.0, 42.0, 19.0)
                    .c(46.0, 32.0, 46.0, 46.0, 44.0, 58.0)
                    .q(36.0, 50.0, 25.0, 48.0)
                    .z()
                    .end();
                canvas.fill(&inner, down(20.0, look.tone(0xF8A8B4), 58.0, look.tone(0xFFD0D0)));
                canvas.fill(&lock(28.0, 52.0, 33.0, 42.0, 36.0, 32.0, 7.0), hair.light.alpha(0.9));
            });
        },
    );
}

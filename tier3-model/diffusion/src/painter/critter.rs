//! The second drawn style: animals in clothes.
//!
//! Scenery, outfits, accessories, light and surface are the portraits' own; what differs is the head. The haircut
//! chooses ears, horns and crests, the colour of the hair is that of the coat, the tone of the skin that of muzzle
//! and inner ears, and the seed throws the markings.

use tiny_skia::{Path, Transform};

use crate::traits::{Accessory, HairStyle, Presentation};

use super::canvas::{Canvas, Pen, down, ellipse, lock, polygon};
use super::color::{Ramp, Rgb, WHITE, rgb};
use super::look::Look;
use super::{accessory, face, outfit};

/// Draws the whole animal within the figure's frame.
pub(super) fn draw(canvas: &mut Canvas, look: &Look, head: Transform) {
    // Neck and arms have the coat's colour.
    let furry = Look { skin: look.hair, ..*look };
    outfit::draw_behind(canvas, look);
    draw_tail(canvas, look);
    canvas.within(head, |canvas| draw_ears_behind(canvas, look));
    outfit::draw(canvas, &furry);
    accessory::draw_at_neck(canvas, look);
    canvas.within(head, |canvas| {
        draw_head(canvas, look);
        draw_markings(canvas, look);
        draw_muzzle(canvas, look);
        face::draw_features_around(canvas, look, draw_nose);
        draw_spots(canvas, look);
        draw_whiskers(canvas, look);
        draw_crest(canvas, look);
        face::draw_brows(canvas, &Look { hair: contrast(look.hair), ..*look });
        match look.traits.accessory {
            Some(Accessory::CatEars) => draw_unicorn_horn(canvas, look),
            _ => accessory::draw_on_head(canvas, look),
        }
    });
}

/// A ramp that can be seen on `coat`: darker, or lighter where the coat is dark.
fn contrast(coat: Ramp) -> Ramp {
    let mark = if coat.base.luma() < 95.0 { coat.base.mix(WHITE, 0.45) } else { coat.deep };
    Ramp { deep: mark, ..coat }
}

/// The colour of markings on the coat.
fn marking(look: &Look) -> Rgb {
    let coat = look.hair;
    if coat.base.luma() < 95.0 { coat.base.mix(WHITE, 0.28) } else { coat.shade.mix(coat.deep, 0.45) }
}

/// The head with its cheeks, without ears.
fn outline() -> Option<Path> {
    Pen::at(0.0, 62.0)
        .c(30.0, 61.0, 48.0, 84.0, 51.0, 116.0)
        // Tufts of the cheek.
        .q(55.0, 130.0, 64.0, 136.0)
        .q(57.0, 140.0, 55.0, 143.0)
        .q(58.0, 149.0, 62.0, 152.0)
        .c(50.0, 164.0, 28.0, 180.0, 0.0, 180.0)
        .c(-28.0, 180.0, -50.0, 164.0, -62.0, 152.0)
        .q(-58.0, 149.0, -55.0, 143.0)
        .q(-57.0, 140.0, -64.0, 136.0)
        .q(-55.0, 130.0, -51.0, 116.0)
        .c(-48.0, 84.0, -30.0, 61.0, 0.0, 62.0)
        .z()
        .end()
}

fn draw_head(canvas: &mut Canvas, look: &Look) {
    let coat = look.hair;
    let head = outline();
    canvas.fill(&head, down(64.0, look.soft(coat.base, coat.light), 180.0, look.soft(coat.base, coat.shade)));
    canvas.clipped(&head, |canvas| {
        let away = Pen::at(54.0, 80.0).c(36.0, 126.0, 40.0, 154.0, 10.0, 182.0).l(70.0, 186.0).z().end();
        canvas.within(Transform::from_translate(look.stance.turn * 7.0, 0.0), |canvas| {
            canvas.fill(&away, coat.shade.mix(coat.deep, 0.2).alpha(0.5 * look.hand.cel));
        });
        if look.hand.soft > 0.3 {
            canvas.glow(-17.0, 92.0, 30.0, 20.0, coat.light, 0.6 * look.hand.soft);
        }
        // A few strokes of fur.
        let mut dice = look.dice("fur");
        for _ in 0..14 {
            let (x, y) = (dice.range(-46.0, 46.0), dice.range(76.0, 112.0));
            canvas.fill(&lock(x, y, x * 1.04, y + 4.0, x * 1.1, y + 9.0, 2.4), coat.shade.alpha(0.5));
        }
    });
    canvas.line(&head, look.hand.line, look.ink(coat));
}

/// What the seed throws on the coat, and a sign of how the animal presents.
fn draw_markings(canvas: &mut Canvas, look: &Look) {
    let mark = marking(look);
    let mut dice = look.dice("coat");
    let kind = dice.below(5);
    let side = if dice.one_in(2) { 1.0 } else { -1.0 };
    let turn = look.stance.turn * 5.0;
    canvas.clipped(&outline(), |canvas| {
        canvas.within(Transform::from_translate(turn, 0.0), |canvas| {
            match kind {
                0 => {}
                1 => canvas.fill(&ellipse(side * 23.0, 126.0, 24.0, 27.0), mark.alpha(0.85)),
                2 => {
                    for _ in 0..9 {
                        let (x, y) = (dice.range(-52.0, 52.0), dice.range(70.0, 160.0));
                        canvas.dot(x, y, dice.range(3.0, 6.5), mark.alpha(0.7));
                    }
                }
                3 => canvas.both_sides(|canvas| {
                    for y in [118.0_f32, 132.0, 146.0] {
                        canvas.fill(&lock(60.0, y, 48.0, y + 2.0, 38.0, y + 1.0, 7.0), mark.alpha(0.8));
                    }
                }),
                _ => canvas.both_sides(|canvas| {
                    canvas.fill(&ellipse(24.0, 128.0, 21.0, 17.0), mark.alpha(0.7));
                }),
            }
            match look.traits.presentation {
                Presentation::Girl => {}
                Presentation::Boy => {
                    for x in [-11.0_f32, 0.0, 11.0] {
                        canvas.fill(&lock(x, 64.0, x * 0.9, 80.0, x * 0.8, 92.0, 7.0), mark);
                    }
                }
                Presentation::Androgynous => {
                    let blaze = Pen::at(-7.0, 60.0)
                        .l(7.0, 60.0)
                        .q(4.0, 108.0, 9.0, 142.0)
                        .l(-9.0, 142.0)
                        .q(-4.0, 108.0, -7.0, 60.0)
                        .z()
                        .end();
                    canvas.fill(&blaze, look.skin.light);
                }
            }
        });
    });
}

fn draw_muzzle(canvas: &mut Canvas, look: &Look) {
    let skin = look.skin;
    let (dx, dy) = (look.stance.turn * 7.5, -look.stance.lift);
    canvas.within(Transform::from_translate(dx, dy), |canvas| {
        let muzzle = Pen::at(0.0, 139.0)
            .c(12.0, 138.0, 31.0, 144.0, 31.0, 157.0)
            .c(31.0, 169.0, 16.0, 175.0, 0.0, 175.0)
            .c(-16.0, 175.0, -31.0, 169.0, -31.0, 157.0)
            .c(-31.0, 144.0, -12.0, 138.0, 0.0, 139.0)
            .z()
            .end();
        canvas.fill(&muzzle, down(140.0, skin.base, 176.0, look.soft(skin.base, skin.shade)));
        if look.hand.line > 1.2 {
            canvas.line(&muzzle, look.hand.line * 0.6, look.ink(skin).alpha(0.6));
        }
    });
}

fn draw_nose(canvas: &mut Canvas, look: &Look) {
    let nose = look.skin.deep.mix(rgb(0x3A2030), 0.7);
    let x = look.stance.turn * 2.0;
    let shape = Pen::at(x - 8.0, 142.5)
        .q(x, 139.5, x + 8.0, 142.5)
        .q(x + 6.5, 148.5, x, 151.0)
        .q(x - 6.5, 148.5, x - 8.0, 142.5)
        .z()
        .end();
    canvas.fill(&shape, nose);
    canvas.fill(&ellipse(x - 2.6, 143.6, 2.4, 1.2), WHITE.alpha(0.75));
    canvas.line(&Pen::at(x, 150.5).l(x * 0.5, 155.0).end(), 1.4, nose.alpha(0.85));
}

/// Freckles: where the whiskers grow, large enough to be seen on any muzzle.
fn draw_spots(canvas: &mut Canvas, look: &Look) {
    if look.traits.accessory != Some(Accessory::Freckles) {
        return;
    }
    let dark = look.skin.base.luma() < 130.0;
    let color = if dark { look.skin.light.mix(WHITE, 0.3) } else { look.skin.deep.mix(rgb(0x502020), 0.5) };
    let (dx, dy) = (look.stance.turn * 7.5, -look.stance.lift);
    canvas.within(Transform::from_translate(dx, dy), |canvas| {
        canvas.both_sides(|canvas| {
            for (x, y) in [(14.0, 148.0), (20.0, 151.5), (25.5, 149.0), (17.0, 155.5), (23.5, 156.5)] {
                canvas.dot(x, y, 1.9, color);
            }
        });
    });
}

fn draw_whiskers(canvas: &mut Canvas, look: &Look) {
    let color = if look.hair.base.luma() < 95.0 { WHITE.alpha(0.7) } else { look.hair.deep.alpha(0.6) };
    let (dx, dy) = (look.stance.turn * 6.0, -look.stance.lift);
    canvas.within(Transform::from_translate(dx, dy), |canvas| {
        canvas.both_sides(|canvas| {
            canvas.line(&Pen::at(33.0, 154.0).q(50.0, 150.0, 66.0, 151.0).end(), 1.1, color);
            canvas.line(&Pen::at(33.0, 159.0).q(50.0, 159.0, 65.0, 163.0).end(), 1.1, color);
        });
    });
}

/// A shape of the coat, with its outline.
fn furry(canvas: &mut Canvas, look: &Look, path: &Option<Path>, top: f32, low: f32) {
    let coat = look.hair;
    canvas.fill(path, down(top, look.soft(coat.base, coat.light), low, look.soft(coat.base, coat.shade)));
    canvas.line(path, look.hand.line, look.ink(coat));
}

/// The bare inside of an ear.
fn inner(canvas: &mut Canvas, look: &Look, path: &Option<Path>) {
    canvas.fill(path, look.skin.base.mix(rgb(0xF28C98), 0.35));
}

/// A pointed ear, `height` long, on the right side.
fn pointed_ear(canvas: &mut Canvas, look: &Look, height: f32) {
    let tip = 78.0 - height;
    let ear = Pen::at(14.0, 68.0)
        .c(20.0, tip + height * 0.4, 34.0, tip + 6.0, 44.0, tip)
        .c(53.0, tip + height * 0.4, 54.0, 84.0, 50.0, 104.0)
        .z()
        .end();
    furry(canvas, look, &ear, tip, 96.0);
    let bare = Pen::at(24.0, 70.0)
        .c(28.0, tip + height * 0.55, 36.0, tip + 16.0, 42.0, tip + 11.0)
        .c(47.0, tip + height * 0.55, 47.0, 80.0, 45.0, 92.0)
        .z()
        .end();
    inner(canvas, look, &bare);
}

fn round_ear(canvas: &mut Canvas, look: &Look, x: f32, y: f32, radius: f32) {
    furry(canvas, look, &ellipse(x, y, radius, radius), y - radius, y + radius);
    inner(canvas, look, &ellipse(x + 1.0, y + 1.5, radius * 0.62, radius * 0.62));
}

fn hanging_ear(canvas: &mut Canvas, look: &Look, wavy: bool) {
    let pen = Pen::at(26.0, 70.0).c(52.0, 58.0, 70.0, 84.0, 74.0, 118.0);
    let pen = if wavy {
        pen.q(86.0, 128.0, 76.0, 140.0)
            .q(88.0, 152.0, 76.0, 164.0)
            .q(82.0, 178.0, 66.0, 184.0)
            .q(54.0, 182.0, 54.0, 168.0)
            .q(44.0, 158.0, 52.0, 146.0)
    } else {
        pen.c(78.0, 152.0, 82.0, 190.0, 68.0, 200.0).c(54.0, 204.0, 50.0, 172.0, 49.0, 146.0)
    };
    let ear = pen.c(48.0, 120.0, 44.0, 92.0, 26.0, 70.0).z().end();
    furry(canvas, look, &ear, 66.0, 204.0);
}

/// What stands or hangs at the head, behind it.
fn draw_ears_behind(canvas: &mut Canvas, look: &Look) {
    let coat = look.hair;
    match look.traits.hair_style {
        HairStyle::Bob => canvas.both_sides(|canvas| round_ear(canvas, look, 38.0, 72.0, 18.0)),
        HairStyle::LongStraight => canvas.both_sides(|canvas| hanging_ear(canvas, look, false)),
        HairStyle::LongWavy => canvas.both_sides(|canvas| hanging_ear(canvas, look, true)),
        HairStyle::Ponytail => canvas.both_sides(|canvas| pointed_ear(canvas, look, 62.0)),
        HairStyle::TwinTails => canvas.both_sides(|canvas| {
            let ear = Pen::at(12.0, 72.0)
                .c(8.0, 40.0, 12.0, 6.0, 28.0, 4.0)
                .c(46.0, 6.0, 46.0, 44.0, 36.0, 76.0)
                .z()
                .end();
            furry(canvas, look, &ear, 4.0, 76.0);
            inner(canvas, look, &ellipse(27.5, 42.0, 8.0, 28.0));
        }),
        HairStyle::Messy => canvas.both_sides(|canvas| round_ear(canvas, look, 47.0, 88.0, 15.0)),
        HairStyle::Afro => {
            for step in 0..16 {
                let (x, y) = super::hair::around(step as f32 / 16.0);
                let at = (x * 58.0, 116.0 + y * 60.0);
                canvas.dot(at.0, at.1, 20.0, coat.deep);
                canvas.dot(at.0 * 0.97, at.1 - 2.0, 16.5, coat.shade);
            }
            canvas.both_sides(|canvas| round_ear(canvas, look, 42.0, 66.0, 14.0));
        }
        HairStyle::Bun => {
            furry(canvas, look, &ellipse(0.0, 50.0, 21.0, 19.0), 31.0, 69.0);
            canvas.both_sides(|canvas| round_ear(canvas, look, 45.0, 82.0, 14.0));
        }
        HairStyle::Braids => canvas.both_sides(|canvas| {
            let horn = look.material(0xD8C29A);
            let curl = Pen::at(24.0, 74.0)
                .c(46.0, 44.0, 82.0, 66.0, 76.0, 98.0)
                .c(73.0, 116.0, 54.0, 116.0, 55.0, 102.0)
                .end();
            canvas.line(&curl, 19.0, look.ink(horn));
            canvas.line(&curl, 15.5, horn.base);
            canvas.line(&curl, 5.0, horn.light);
        }),
        HairStyle::Undercut => canvas.both_sides(|canvas| pointed_ear(canvas, look, 34.0)),
        HairStyle::Pixie => canvas.both_sides(|canvas| pointed_ear(canvas, look, 48.0)),
        HairStyle::Hime => canvas.both_sides(|canvas| round_ear(canvas, look, 44.0, 76.0, 16.0)),
        HairStyle::SidePonytail => {
            pointed_ear(canvas, look, 54.0);
            let folded = Pen::at(-16.0, 68.0)
                .c(-26.0, 46.0, -44.0, 40.0, -52.0, 50.0)
                .q(-66.0, 62.0, -72.0, 92.0)
                .q(-56.0, 84.0, -50.0, 100.0)
                .z()
                .end();
            furry(canvas, look, &folded, 44.0, 100.0);
        }
        HairStyle::SpaceBuns => canvas.both_sides(|canvas| round_ear(canvas, look, 49.0, 62.0, 29.0)),
        HairStyle::Spiky => {
            let spike = look.accent;
            for step in 0..9 {
                let (x, y) = super::hair::around(0.8 + step as f32 * 0.05);
                let (nx, ny) = (-y, x);
                let base = (x * 46.0, 112.0 + y * 48.0);
                let points = [
                    (base.0 + nx * 10.0, base.1 + ny * 10.0),
                    (x * 78.0, 112.0 + y * 86.0),
                    (base.0 - nx * 10.0, base.1 - ny * 10.0),
                ];
                canvas.fill(&polygon(&points), spike.base);
                canvas.line(&polygon(&points), look.hand.line, look.ink(spike));
            }
        }
        HairStyle::Curly => canvas.both_sides(|canvas| {
            let ear = Pen::at(44.0, 96.0).c(58.0, 84.0, 84.0, 92.0, 88.0, 108.0).q(66.0, 120.0, 46.0, 114.0);
            furry(canvas, look, &ear.z().end(), 88.0, 118.0);
        }),
    }
}

/// What grows on the head, in front of it.
fn draw_crest(canvas: &mut Canvas, look: &Look) {
    let coat = look.hair;
    let light = Ramp { base: coat.light, light: coat.light.mix(WHITE, 0.4), shade: coat.base, ..coat };
    match look.traits.hair_style {
        HairStyle::Messy => {
            for (x, tip_x, tip_y) in [
                (-16.0, -34.0, 46.0),
                (-8.0, -14.0, 34.0),
                (0.0, 8.0, 30.0),
                (8.0, 26.0, 40.0),
                (14.0, 40.0, 54.0),
            ] {
                let tuft = lock(x, 76.0, x * 1.2, 54.0, tip_x, tip_y, 17.0);
                furry(canvas, look, &tuft, 30.0, 80.0);
            }
        }
        HairStyle::Undercut => {
            let crest = Pen::at(-9.0, 92.0)
                .l(-13.0, 62.0)
                .l(-22.0, 40.0)
                .l(-9.0, 46.0)
                .l(-4.0, 26.0)
                .l(4.0, 44.0)
                .l(18.0, 30.0)
                .l(14.0, 56.0)
                .l(9.0, 92.0)
                .q(0.0, 104.0, -9.0, 92.0)
                .z()
                .end();
            canvas.fill(&crest, down(26.0, look.accent.light, 100.0, look.accent.base));
            canvas.line(&crest, look.hand.line, look.ink(look.accent));
        }
        HairStyle::Hime => {
            let fringe = Pen::at(-45.0, 112.0)
                .c(-42.0, 74.0, -24.0, 60.0, 0.0, 60.0)
                .c(24.0, 60.0, 42.0, 74.0, 45.0, 112.0)
                .l(36.0, 104.0)
                .l(-36.0, 104.0)
                .z()
                .end();
            canvas.fill(&fringe, down(60.0, light.light, 108.0, light.base));
            canvas.line(&fringe, look.hand.line, look.ink(coat));
            for x in [-24.0_f32, -8.0, 8.0, 24.0] {
                canvas.line(&Pen::at(x * 0.8, 74.0).l(x, 102.0).end(), 1.1, coat.shade.alpha(0.8));
            }
        }
        HairStyle::Curly => {
            for (x, y, radius) in [
                (-34.0, 82.0, 14.0),
                (34.0, 82.0, 14.0),
                (-22.0, 66.0, 16.0),
                (22.0, 66.0, 16.0),
                (0.0, 58.0, 18.0),
                (-13.0, 84.0, 14.0),
                (13.0, 84.0, 14.0),
            ] {
                canvas.dot(x, y, radius + look.hand.line * 0.7, look.ink(coat));
                canvas.dot(x, y, radius, light.base);
                canvas.dot(x - radius * 0.25, y - radius * 0.3, radius * 0.55, light.light.alpha(0.8));
            }
        }
        HairStyle::Braids => {
            let tuft = Pen::at(-14.0, 66.0)
                .q(0.0, 52.0, 14.0, 66.0)
                .q(8.0, 88.0, 0.0, 96.0)
                .q(-8.0, 88.0, -14.0, 66.0);
            furry(canvas, look, &tuft.z().end(), 54.0, 96.0);
        }
        HairStyle::Bun => {
            let band = Pen::at(-15.0, 66.0).q(0.0, 71.0, 15.0, 66.0).end();
            canvas.line(&band, 5.0, look.accent.base);
        }
        HairStyle::Bob
        | HairStyle::LongStraight
        | HairStyle::Ponytail
        | HairStyle::TwinTails
        | HairStyle::Afro
        | HairStyle::Pixie
        | HairStyle::LongWavy
        | HairStyle::SidePonytail
        | HairStyle::SpaceBuns
        | HairStyle::Spiky => {}
    }
}

/// A fox's tail beside the shoulder.
fn draw_tail(canvas: &mut Canvas, look: &Look) {
    if look.traits.hair_style != HairStyle::Ponytail {
        return;
    }
    let tail = Pen::at(60.0, 262.0)
        .c(120.0, 250.0, 128.0, 190.0, 96.0, 138.0)
        .c(74.0, 158.0, 62.0, 190.0, 60.0, 262.0)
        .z()
        .end();
    furry(canvas, look, &tail, 140.0, 262.0);
    let tip = Pen::at(96.0, 138.0)
        .c(108.0, 158.0, 112.0, 172.0, 112.0, 184.0)
        .q(98.0, 172.0, 76.0, 178.0)
        .q(84.0, 154.0, 96.0, 138.0);
    canvas.fill(&tip.z().end(), look.skin.light.mix(WHITE, 0.4));
}

fn draw_unicorn_horn(canvas: &mut Canvas, look: &Look) {
    let horn = look.material(0xF6E3A8);
    let shape = polygon(&[(-9.0, 84.0), (2.0, 18.0), (9.0, 84.0)]);
    canvas.fill(&shape, down(18.0, horn.light, 84.0, horn.shade));
    for y in [38.0_f32, 54.0, 70.0] {
        let half = (y - 18.0) * 0.135;
        canvas.line(&Pen::at(1.0 - half, y - 2.0).l(1.0 + half, y + 3.0).end(), 1.6, horn.deep.alpha(0.8));
    }
    canvas.line(&shape, look.hand.line, look.ink(horn));
}

//! Haircuts: what hangs behind the head, what grows over it, and what falls in front.
//!
//! A haircut is made of a back (behind neck and face), a cap with a fringe (over the forehead)
//! and extras such as tails, buns and braids. The same pieces combine into sixteen silhouettes.

use tiny_skia::{Path, Transform};

use crate::traits::{HairStyle, Presentation};

use super::canvas::{Canvas, Fill, Pen, down, ellipse, lock};
use super::color::{Rgb, WHITE};
use super::dice::Dice;
use super::look::Look;

/// The lower edge of the cap from the right temple to the left one: points alternate between
/// tips of locks and notches between them.
struct Fringe {
    edge: &'static [(f32, f32)],
    /// Where the locks grow from.
    crown: f32,
    /// How low the hair at the temples reaches.
    side: f32,
}

const CHOPPY: Fringe = Fringe {
    edge: &[
        (44.0, 146.0),
        (38.0, 106.0),
        (31.0, 122.0),
        (25.0, 99.0),
        (15.0, 117.0),
        (9.0, 95.0),
        (-2.0, 120.0),
        (-9.0, 96.0),
        (-19.0, 120.0),
        (-25.0, 100.0),
        (-33.0, 121.0),
        (-38.0, 106.0),
        (-43.0, 148.0),
    ],
    crown: 4.0,
    side: 122.0,
};
const BLUNT: Fringe = Fringe {
    edge: &[
        (45.0, 150.0),
        (39.0, 112.0),
        (36.0, 117.0),
        (25.0, 114.5),
        (22.0, 117.5),
        (11.0, 114.0),
        (8.0, 117.0),
        (-3.0, 114.0),
        (-6.0, 117.5),
        (-17.0, 114.5),
        (-20.0, 117.5),
        (-36.0, 116.5),
        (-39.0, 112.0),
        (-45.0, 150.0),
    ],
    crown: 0.0,
    side: 124.0,
};
const SWEPT: Fringe = Fringe {
    edge: &[
        (45.0, 140.0),
        (40.0, 108.0),
        (36.0, 118.0),
        (28.0, 88.0),
        (22.0, 80.0),
        (2.0, 108.0),
        (-4.0, 100.0),
        (-19.0, 119.0),
        (-24.0, 107.0),
        (-36.0, 125.0),
        (-38.0, 112.0),
        (-44.0, 144.0),
    ],
    crown: 22.0,
    side: 118.0,
};
const PARTED: Fringe = Fringe {
    edge: &[
        (45.0, 152.0),
        (41.0, 122.0),
        (37.0, 130.0),
        (30.0, 104.0),
        (16.0, 88.0),
        (1.0, 66.0),
        (-14.0, 88.0),
        (-30.0, 104.0),
        (-37.0, 130.0),
        (-41.0, 122.0),
        (-45.0, 152.0),
    ],
    crown: 0.0,
    side: 122.0,
};
const SLICK: Fringe = Fringe {
    edge: &[
        (43.0, 122.0),
        (40.0, 104.0),
        (35.0, 90.0),
        (24.0, 78.0),
        (8.0, 71.0),
        (-8.0, 71.0),
        (-24.0, 78.0),
        (-35.0, 90.0),
        (-40.0, 104.0),
        (-43.0, 122.0),
    ],
    crown: 0.0,
    side: 106.0,
};
const TOUSLED: Fringe = Fringe {
    edge: &[
        (43.0, 134.0),
        (38.0, 104.0),
        (34.0, 116.0),
        (27.0, 92.0),
        (20.0, 110.0),
        (17.0, 90.0),
        (3.0, 114.0),
        (2.0, 92.0),
        (-14.0, 119.0),
        (-14.0, 97.0),
        (-29.0, 121.0),
        (-29.0, 101.0),
        (-39.0, 118.0),
        (-39.0, 106.0),
        (-44.0, 136.0),
    ],
    crown: 10.0,
    side: 114.0,
};
const SPIKES: Fringe = Fringe {
    edge: &[
        (43.0, 128.0),
        (37.0, 98.0),
        (30.0, 114.0),
        (22.0, 84.0),
        (12.0, 111.0),
        (4.0, 84.0),
        (-10.0, 117.0),
        (-14.0, 86.0),
        (-30.0, 113.0),
        (-37.0, 98.0),
        (-43.0, 130.0),
    ],
    crown: 0.0,
    side: 108.0,
};
const WISPY: Fringe = Fringe {
    edge: &[
        (42.0, 124.0),
        (39.0, 102.0),
        (33.0, 104.0),
        (26.0, 86.0),
        (14.0, 100.0),
        (8.0, 84.0),
        (-8.0, 108.0),
        (-12.0, 90.0),
        (-26.0, 112.0),
        (-31.0, 98.0),
        (-38.0, 114.0),
        (-40.0, 104.0),
        (-43.0, 126.0),
    ],
    crown: 14.0,
    side: 108.0,
};

/// A right half from the middle of the top to the middle of the bottom, as cubic segments.
type Half = &'static [(f32, f32, f32, f32, f32, f32)];

const BACK_BOB: Half = &[
    (36.0, 38.0, 57.0, 62.0, 57.0, 100.0),
    (58.0, 130.0, 66.0, 152.0, 54.0, 174.0),
    (48.0, 182.0, 36.0, 180.0, 28.0, 172.0),
    (20.0, 176.0, 10.0, 176.0, 0.0, 176.0),
];
const BACK_LONG: Half = &[
    (37.0, 38.0, 58.0, 62.0, 58.0, 104.0),
    (59.0, 150.0, 74.0, 190.0, 70.0, 246.0),
    (64.0, 262.0, 48.0, 258.0, 44.0, 270.0),
    (30.0, 280.0, 10.0, 270.0, 0.0, 276.0),
];
const BACK_WAVY: Half = &[
    (40.0, 36.0, 63.0, 60.0, 60.0, 100.0),
    (60.0, 120.0, 78.0, 130.0, 71.0, 152.0),
    (66.0, 170.0, 90.0, 182.0, 80.0, 206.0),
    (74.0, 224.0, 90.0, 240.0, 72.0, 256.0),
    (56.0, 268.0, 30.0, 260.0, 0.0, 264.0),
];
const BACK_SHORT: Half = &[
    (35.0, 40.0, 54.0, 62.0, 54.0, 98.0),
    (54.0, 126.0, 50.0, 142.0, 38.0, 154.0),
    (28.0, 160.0, 10.0, 158.0, 0.0, 158.0),
];

fn symmetric(top: f32, half: Half) -> Option<Path> {
    let mut pen = Pen::at(0.0, top);
    let mut ends = vec![(0.0, top)];
    for (x1, y1, x2, y2, x, y) in half {
        pen = pen.c(*x1, *y1, *x2, *y2, *x, *y);
        ends.push((*x, *y));
    }
    ends.pop();
    for ((x1, y1, x2, y2, _, _), (x, y)) in half.iter().rev().zip(ends.into_iter().rev()) {
        pen = pen.c(-x2, *y2, -x1, *y1, -x, y);
    }
    pen.z().end()
}

fn fringe(look: &Look) -> &'static Fringe {
    let other = look.dice("fringe").one_in(2);
    let girl = look.traits.presentation == Presentation::Girl;
    match look.traits.hair_style {
        HairStyle::Bob => {
            if other {
                &BLUNT
            } else {
                &CHOPPY
            }
        }
        HairStyle::LongStraight => {
            if other {
                &PARTED
            } else {
                &CHOPPY
            }
        }
        HairStyle::Ponytail | HairStyle::SidePonytail => {
            if other {
                &SWEPT
            } else {
                &CHOPPY
            }
        }
        HairStyle::TwinTails => {
            if other {
                &CHOPPY
            } else {
                &TOUSLED
            }
        }
        HairStyle::Messy => &TOUSLED,
        HairStyle::Afro => &SLICK,
        HairStyle::Bun => {
            if girl && other {
                &WISPY
            } else {
                &SLICK
            }
        }
        HairStyle::Braids => {
            if other {
                &PARTED
            } else {
                &WISPY
            }
        }
        HairStyle::Undercut | HairStyle::Pixie => &SWEPT,
        HairStyle::LongWavy => {
            if other {
                &PARTED
            } else {
                &SWEPT
            }
        }
        HairStyle::Hime => &BLUNT,
        HairStyle::SpaceBuns => {
            if other {
                &BLUNT
            } else {
                &WISPY
            }
        }
        HairStyle::Spiky => &SPIKES,
        HairStyle::Curly => &WISPY,
    }
}

/// Half the width of the cap at its widest, and the height of its top.
fn dome(style: HairStyle) -> (f32, f32) {
    match style {
        HairStyle::Messy | HairStyle::Spiky => (50.0, 42.0),
        HairStyle::Bun | HairStyle::Ponytail | HairStyle::SidePonytail | HairStyle::Pixie => (49.0, 46.0),
        HairStyle::Afro => (46.0, 44.0),
        _ => (51.0, 43.0),
    }
}

/// The lower edge of the hair on the forehead, from the right temple to the left one.
fn draw_edge(mut pen: Pen, look: &Look) -> Pen {
    let Fringe { edge, side, .. } = *fringe(look);
    let (wide, _) = dome(look.traits.hair_style);
    let shift = look.stance.turn * 3.6;
    let (mut px, mut py) = (wide, side);
    for (step, (x, y)) in edge.iter().enumerate() {
        let (x, y) = (x + shift, *y);
        // Towards a tip the edge hangs, towards a notch it climbs steeply: locks look combed.
        let (cx, cy) = if step % 2 == 0 {
            (px * 0.75 + x * 0.25, py * 0.35 + y * 0.65)
        } else {
            (px * 0.4 + x * 0.6, py * 0.7 + y * 0.3)
        };
        pen = pen.q(cx, cy, x, y);
        (px, py) = (x, y);
    }
    pen.q(-wide - 1.0, side + 6.0, -wide, side)
}

/// The hair over the forehead: the cap with its fringe, or a quiff.
pub(crate) fn cap(look: &Look) -> Option<Path> {
    if look.traits.hair_style == HairStyle::Undercut {
        return quiff();
    }
    let side = fringe(look).side;
    let (wide, top) = dome(look.traits.hair_style);
    let lean = look.stance.turn * 3.0;
    let pen = Pen::at(-wide, side).c(-wide - 6.0, 92.0, -wide + 2.0, top, lean, top).c(
        wide - 2.0,
        top,
        wide + 6.0,
        92.0,
        wide,
        side,
    );
    draw_edge(pen, look).z().end()
}

fn quiff() -> Option<Path> {
    Pen::at(-44.0, 92.0)
        .c(-62.0, 58.0, -48.0, 20.0, -4.0, 24.0)
        .c(24.0, 14.0, 66.0, 30.0, 52.0, 66.0)
        .q(54.0, 82.0, 43.0, 94.0)
        .c(41.0, 80.0, 28.0, 70.0, 10.0, 79.0)
        .c(-8.0, 90.0, -28.0, 82.0, -44.0, 92.0)
        .z()
        .end()
}

/// Everything behind neck and face.
pub(crate) fn draw_back(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    let drift = -look.stance.turn * 3.5;
    canvas.within(Transform::from_translate(drift, 0.0), |canvas| match look.traits.hair_style {
        HairStyle::Bob | HairStyle::SpaceBuns => back(canvas, look, symmetric(42.0, BACK_BOB), 176.0),
        HairStyle::LongStraight | HairStyle::Hime => back(canvas, look, symmetric(42.0, BACK_LONG), 256.0),
        HairStyle::LongWavy => back(canvas, look, symmetric(40.0, BACK_WAVY), 256.0),
        HairStyle::Messy | HairStyle::Pixie | HairStyle::Bun | HairStyle::Braids => {
            if look.traits.hair_style == HairStyle::Bun {
                draw_bun(canvas, look, 4.0, 36.0, 23.0);
            }
            back(canvas, look, symmetric(44.0, BACK_SHORT), 158.0);
        }
        HairStyle::Ponytail => {
            let side = if look.dice("tail").one_in(2) { 1.0 } else { -1.0 };
            canvas.within(Transform::from_scale(side, 1.0), |canvas| {
                let tail = Pen::at(6.0, 56.0)
                    .c(34.0, 12.0, 92.0, 30.0, 92.0, 96.0)
                    .c(92.0, 142.0, 78.0, 176.0, 84.0, 226.0)
                    .c(62.0, 214.0, 54.0, 176.0, 58.0, 140.0)
                    .c(60.0, 104.0, 50.0, 70.0, 22.0, 66.0)
                    .z()
                    .end();
                strands(
                    canvas,
                    look,
                    &tail,
                    40.0,
                    220.0,
                    &[(30.0, 44.0, 88.0, 60.0, 76.0, 190.0), (28.0, 54.0, 76.0, 70.0, 66.0, 180.0)],
                );
            });
            back(canvas, look, symmetric(46.0, BACK_SHORT), 158.0);
        }
        HairStyle::SidePonytail => back(canvas, look, symmetric(44.0, BACK_SHORT), 158.0),
        HairStyle::TwinTails => {
            canvas.both_sides(|canvas| {
                let tail = Pen::at(40.0, 66.0)
                    .c(66.0, 44.0, 98.0, 74.0, 98.0, 122.0)
                    .c(98.0, 164.0, 82.0, 196.0, 92.0, 244.0)
                    .c(70.0, 234.0, 62.0, 196.0, 62.0, 160.0)
                    .c(62.0, 120.0, 56.0, 96.0, 42.0, 86.0)
                    .z()
                    .end();
                strands(
                    canvas,
                    look,
                    &tail,
                    60.0,
                    236.0,
                    &[(54.0, 72.0, 92.0, 96.0, 84.0, 220.0), (50.0, 80.0, 78.0, 100.0, 74.0, 200.0)],
                );
            });
            back(canvas, look, symmetric(44.0, BACK_SHORT), 158.0);
        }
        HairStyle::Afro => {
            let mut dice = look.dice("afro");
            let outer: Vec<(f32, f32)> = (0..9)
                .map(|step| around((step as f32 + 0.4) / 18.0))
                .map(|(x, y)| (x * 58.0, 90.0 + y * 55.0))
                .collect();
            draw_lumps(canvas, look, &outer, &[(20.0, 70.0), (36.0, 100.0)], &mut dice, (19.0, 25.0));
            canvas.fill(
                &ellipse(0.0, 90.0, 62.0, 58.0),
                Fill::Radial(
                    (-18.0, 52.0),
                    110.0,
                    look.soft(hair.base, hair.light).into(),
                    hair.shade.into(),
                ),
            );
            curl_marks(canvas, look, 60, |dice| {
                let (x, y) = around(dice.unit());
                let far = dice.range(0.55, 1.12);
                (x * 60.0 * far, 88.0 + y * 56.0 * far)
            });
        }
        HairStyle::Undercut => {}
        HairStyle::Spiky => draw_spikes(canvas, look),
        HairStyle::Curly => {
            let mut dice = look.dice("curls");
            let outer = [
                (10.0, 48.0),
                (30.0, 55.0),
                (45.0, 70.0),
                (54.0, 90.0),
                (59.0, 112.0),
                (62.0, 135.0),
                (63.0, 158.0),
                (58.0, 180.0),
                (44.0, 194.0),
            ];
            let inner = [(20.0, 66.0), (38.0, 92.0), (44.0, 120.0), (46.0, 146.0), (44.0, 172.0)];
            draw_lumps(canvas, look, &outer, &inner, &mut dice, (13.0, 18.0));
            canvas.fill(&ellipse(0.0, 150.0, 40.0, 40.0), hair.deep);
            curl_marks(canvas, look, 46, |dice| {
                let x = dice.range(38.0, 74.0);
                (if dice.one_in(2) { x } else { -x }, dice.range(70.0, 200.0))
            });
        }
    });
}

/// A mass of curls: round lumps on both sides, outlined as one, lit from above.
fn draw_lumps(
    canvas: &mut Canvas,
    look: &Look,
    outer: &[(f32, f32)],
    inner: &[(f32, f32)],
    dice: &mut Dice,
    size: (f32, f32),
) {
    let hair = look.hair;
    let mut lumps = Vec::new();
    for (x, y) in outer.iter().chain(inner) {
        for side in [-1.0, 1.0] {
            let jitter = (dice.range(-3.0, 3.0), dice.range(-3.0, 3.0));
            lumps.push((x * side + jitter.0, y + jitter.1, dice.range(size.0, size.1)));
        }
    }
    if look.hand.line > 0.0 {
        for (x, y, radius) in &lumps {
            canvas.dot(*x, *y, radius + look.hand.line, look.ink(hair));
        }
    }
    for (x, y, radius) in &lumps {
        let low = ((y - 40.0) / 150.0).clamp(0.0, 1.0);
        canvas.dot(*x, *y, *radius, look.soft(hair.base, hair.light).mix(hair.shade, 0.25 + low * 0.75));
    }
}

/// A crown of spikes, leaning away from the parting, as one silhouette.
fn draw_spikes(canvas: &mut Canvas, look: &Look) {
    let mut dice = look.dice("spikes");
    // Swept to one side: long ones lead, short ones fill in.
    let side = if look.dice("sweep").one_in(2) { 1.0 } else { -1.0 };
    let tips = [
        (-58.0, 132.0),
        (-66.0, 108.0),
        (-62.0, 76.0),
        (-52.0, 44.0),
        (-22.0, 20.0),
        (22.0, 2.0),
        (60.0, 10.0),
        (82.0, 42.0),
        (78.0, 78.0),
        (66.0, 118.0),
    ];
    let notches = [
        (-52.0, 118.0),
        (-53.0, 92.0),
        (-48.0, 66.0),
        (-30.0, 46.0),
        (-4.0, 36.0),
        (26.0, 34.0),
        (48.0, 48.0),
        (56.0, 74.0),
        (54.0, 102.0),
    ];
    canvas.within(Transform::from_scale(side, 1.0), |canvas| {
        draw_swept_spikes(canvas, look, &mut dice, &tips, &notches)
    });
}

fn draw_swept_spikes(
    canvas: &mut Canvas,
    look: &Look,
    dice: &mut Dice,
    tips: &[(f32, f32)],
    notches: &[(f32, f32)],
) {
    let hair = look.hair;
    let mut pen = Pen::at(-44.0, 140.0);
    let (mut px, mut py) = (-44.0_f32, 140.0_f32);
    for (at, (x, y)) in tips.iter().enumerate() {
        let (x, y) = (x + dice.range(-5.0, 5.0), y + dice.range(-5.0, 5.0));
        // The outer side of a spike bulges, the inner one is hollow.
        pen = pen.q((px + x) * 0.5 - 7.0, (py + y) * 0.5 - 7.0, x, y);
        let (nx, ny) = notches.get(at).copied().unwrap_or((44.0, 140.0));
        pen = pen.q(x * 0.45 + nx * 0.55, y * 0.4 + ny * 0.6, nx, ny);
        (px, py) = (nx, ny);
    }
    let shape = pen.q(0.0, 166.0, -44.0, 140.0).z().end();
    canvas.fill(&shape, down(6.0, look.soft(hair.base, hair.light), 140.0, look.soft(hair.base, hair.shade)));
    canvas.clipped(&shape, |canvas| {
        canvas.fill(&ellipse(0.0, 150.0, 50.0, 34.0), hair.deep);
        for (x, y) in tips.iter().skip(1).take(8) {
            canvas.fill(
                &lock(x * 0.5, y * 0.5 + 40.0, x * 0.8 + 4.0, y * 0.8 + 14.0, x * 0.96, y + 3.0, 9.0),
                hair.shade.alpha(0.6),
            );
        }
    });
    canvas.line(&shape, look.hand.line, look.ink(hair));
}

/// The cap, its strands and gloss, and what falls in front of the face and shoulders.
pub(crate) fn draw_front(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    let style = look.traits.hair_style;
    if style == HairStyle::Undercut {
        draw_shaved_sides(canvas, look);
    }
    draw_panels(canvas, look);
    if matches!(style, HairStyle::Messy | HairStyle::Pixie) {
        draw_tufts(canvas, look);
    }
    let shape = cap(look);
    let (top, low) = (look.soft(hair.base, hair.shade), look.soft(hair.base, hair.base.mix(hair.light, 0.3)));
    match style {
        HairStyle::Undercut => draw_quiff(canvas, look, &shape),
        HairStyle::Afro => {
            canvas.fill(&shape, look.soft(hair.base, hair.light).mix(hair.shade, 0.3));
            draw_curly_hairline(canvas, look);
            curl_marks(canvas, look, 26, |dice| (dice.range(-40.0, 40.0), dice.range(46.0, 78.0)));
        }
        _ => {
            canvas.fill(&shape, down(46.0, top, 150.0, low));
            canvas.clipped(&shape, |canvas| draw_sheen(canvas, look));
            // Only the edge: the dome belongs to the hair behind it.
            let (wide, _) = dome(style);
            let edge = draw_edge(Pen::at(wide, fringe(look).side), look).end();
            canvas.line(&edge, look.hand.line, look.ink(hair));
        }
    }
    match style {
        HairStyle::Curly => draw_curly_fringe(canvas, look),
        HairStyle::SpaceBuns => {
            draw_bun(canvas, look, 38.0, 50.0, 19.0);
            draw_bun(canvas, look, -38.0, 50.0, 19.0);
        }
        HairStyle::SidePonytail => draw_side_tail(canvas, look),
        HairStyle::Braids => draw_braids(canvas, look),
        HairStyle::TwinTails => canvas.both_sides(|canvas| {
            canvas.fill(&ellipse(45.0, 73.0, 6.0, 8.5), look.accent.base);
            canvas.line(&ellipse(45.0, 73.0, 6.0, 8.5), look.hand.line, look.ink(look.accent));
        }),
        HairStyle::Bob
        | HairStyle::LongStraight
        | HairStyle::Ponytail
        | HairStyle::Bun
        | HairStyle::LongWavy
        | HairStyle::Hime
        | HairStyle::Spiky
        | HairStyle::Messy
        | HairStyle::Pixie
        | HairStyle::Undercut
        | HairStyle::Afro => {}
    }
}

fn back(canvas: &mut Canvas, look: &Look, shape: Option<Path>, low: f32) {
    let hair = look.hair;
    let dark = hair.shade.mix(hair.deep, 0.55);
    canvas.fill(&shape, down(60.0, look.soft(dark, hair.shade), low, look.soft(dark, hair.deep)));
    // Above, it is one with the cap.
    let top = look.soft(hair.base, hair.shade.mix(hair.base, 0.4));
    canvas.fill(&shape, down(96.0, top.alpha(1.0), 138.0, top.alpha(0.0)));
    if low > 160.0 {
        canvas.clipped(&shape, |canvas| {
            for x in [34.0, 48.0, 58.0] {
                canvas.both_sides(|canvas| {
                    canvas.fill(
                        &lock(x - 6.0, 70.0, x + 6.0, 150.0, x + 2.0, low + 6.0, 9.0),
                        hair.base.alpha(0.55),
                    );
                });
            }
        });
    }
    canvas.line(&shape, look.hand.line, look.ink(hair));
}

/// Light and dark strands and the ring of gloss; drawn inside the cap.
fn draw_sheen(canvas: &mut Canvas, look: &Look) {
    let Fringe { edge, crown, .. } = *fringe(look);
    let hair = look.hair;
    let mut dice = look.dice("strands");
    for (step, (x, y)) in edge.iter().enumerate() {
        let root = crown + (x - crown) * 0.3;
        let (mid_x, mid_y) = (crown + (x - crown) * 0.95, y * 0.5 + 32.0);
        if step % 2 == 0 {
            // A tip: the lock in front catches light on one side.
            let tone = if step % 4 == 0 { hair.light.alpha(0.36) } else { hair.shade.alpha(0.5) };
            canvas.fill(&lock(root, 50.0, mid_x, mid_y, *x, *y, dice.range(8.0, 13.0)), tone);
        } else {
            let gap = lock(*x, *y + 3.0, mid_x, mid_y, root + dice.range(-2.0, 2.0), 54.0, 4.2);
            canvas.fill(&gap, hair.deep.alpha(0.55));
        }
    }
    if look.hand.soft > 0.3 {
        canvas.glow(-14.0, 66.0, 36.0, 20.0, hair.light, 0.5 * look.hand.soft);
    }
    // The ring of gloss, jagged like hair: up and down along an arch.
    let mut ring = Pen::at(-40.0, 92.0);
    let steps = 13;
    for step in 0..=steps {
        let x = -40.0 + 80.0 * step as f32 / steps as f32;
        let arch = 73.0 + x * x * 0.011;
        ring = ring.l(x, arch - if step % 2 == 0 { 1.0 } else { dice.range(2.5, 5.5) });
    }
    for step in (0..=steps).rev() {
        let x = -40.0 + 80.0 * step as f32 / steps as f32;
        let arch = 76.5 + x * x * 0.011;
        ring = ring.l(x, arch + if step % 2 == 0 { 0.0 } else { dice.range(3.0, 8.0) });
    }
    let gloss: Rgb = hair.light.mix(WHITE, 0.45);
    canvas.fill(&ring.z().end(), gloss.alpha(if look.hand.soft > 0.3 { 0.55 } else { 0.4 }));
    if let Some(rim) = look.hand.rim {
        canvas.line(&Pen::at(52.0, 120.0).c(55.0, 80.0, 40.0, 46.0, 0.0, 44.5).end(), 4.0, rim.alpha(0.8));
    } else {
        canvas.line(
            &Pen::at(51.5, 116.0).c(54.0, 82.0, 42.0, 50.0, 16.0, 46.0).end(),
            3.0,
            look.light.rim.mix(hair.light, 0.4).alpha(0.6),
        );
    }
}

/// Hair that falls beside the cheeks in front of the shoulders.
fn draw_panels(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    let low = match look.traits.hair_style {
        HairStyle::Bob | HairStyle::SpaceBuns => 168.0,
        HairStyle::LongStraight => 236.0,
        HairStyle::LongWavy => 228.0,
        HairStyle::Hime => 162.0,
        HairStyle::TwinTails | HairStyle::Ponytail if look.traits.presentation != Presentation::Boy => 166.0,
        _ => return,
    };
    let blunt = look.traits.hair_style == HairStyle::Hime;
    let wave = if look.traits.hair_style == HairStyle::LongWavy { 9.0 } else { 0.0 };
    canvas.within(Transform::from_translate(look.stance.turn * 1.5, 0.0), |canvas| {
        canvas.both_sides(|canvas| {
            let mid = (low + 104.0) / 2.0;
            let tip = if blunt { 46.0 } else { 49.0 };
            let mut pen = Pen::at(50.0, 92.0).c(56.0, 112.0, 55.0 + wave, mid, 54.0 + wave, low - 22.0);
            pen = if blunt {
                pen.l(55.0, low).l(37.0, low - 2.0)
            } else {
                pen.q(54.0 - wave, low - 6.0, tip - wave * 0.5, low)
            };
            let panel = pen.c(42.0, low - 24.0, 39.0 - wave * 0.7, mid, 39.0, 108.0).z().end();
            canvas.fill(
                &panel,
                down(96.0, look.soft(hair.base, hair.shade), low, look.soft(hair.base, hair.light)),
            );
            canvas.fill(
                &lock(47.0, 100.0, 50.0 + wave * 0.6, mid, 48.0, low - 6.0, 5.0),
                hair.shade.alpha(0.6),
            );
            canvas.fill(
                &lock(43.5, 104.0, 45.0 - wave * 0.3, mid - 8.0, 46.5, low - 18.0, 3.5),
                hair.light.alpha(0.5),
            );
            canvas.line(&panel, look.hand.line, look.ink(hair));
        });
    });
}

fn strands(
    canvas: &mut Canvas,
    look: &Look,
    shape: &Option<Path>,
    top: f32,
    low: f32,
    dark: &[(f32, f32, f32, f32, f32, f32)],
) {
    let hair = look.hair;
    canvas.fill(shape, down(top, look.soft(hair.base, hair.light), low, look.soft(hair.base, hair.shade)));
    for (x0, y0, x1, y1, x2, y2) in dark {
        canvas.fill(&lock(*x0, *y0, *x1, *y1, *x2, *y2, 9.0), hair.shade.alpha(0.75));
        canvas.fill(
            &lock(x0 + 7.0, y0 + 2.0, x1 + 9.0, y1 + 4.0, x2 + 7.0, y2 - 20.0, 5.0),
            hair.light.alpha(0.5),
        );
    }
    canvas.line(shape, look.hand.line, look.ink(hair));
}

fn draw_bun(canvas: &mut Canvas, look: &Look, x: f32, y: f32, radius: f32) {
    let hair = look.hair;
    let ball = ellipse(x, y, radius, radius * 0.92);
    let fill = Fill::Radial(
        (x - radius * 0.35, y - radius * 0.4),
        radius * 1.6,
        look.soft(hair.base, hair.light).into(),
        look.soft(hair.base, hair.shade).into(),
    );
    canvas.fill(&ball, fill);
    for bend in [-0.5, 0.1, 0.6] {
        let curve = Pen::at(x - radius * 0.85, y + radius * (bend - 0.1))
            .q(x, y + radius * (bend - 0.75), x + radius * 0.8, y + radius * bend * 0.8)
            .end();
        canvas.line(&curve, 1.3, hair.deep.alpha(0.45));
    }
    canvas.fill(
        &lock(
            x - radius * 0.6,
            y - radius * 0.2,
            x - radius * 0.4,
            y - radius * 0.75,
            x + radius * 0.2,
            y - radius * 0.72,
            3.4,
        ),
        hair.light.mix(WHITE, 0.4).alpha(0.7),
    );
    canvas.line(&ball, look.hand.line, look.ink(hair));
}

/// Short strokes that curl, at places chosen by `place`.
fn curl_marks(canvas: &mut Canvas, look: &Look, count: usize, place: impl Fn(&mut Dice) -> (f32, f32)) {
    let mut dice = look.dice("curl marks");
    let (mut light, mut dark) = (Pen::at(0.0, -900.0), Pen::at(0.0, -900.0));
    for mark in 0..count {
        let (x, y) = place(&mut dice);
        let size = dice.range(3.0, 5.5);
        let pen = if mark % 3 == 0 { &mut light } else { &mut dark };
        let grown = std::mem::replace(pen, Pen::at(0.0, 0.0));
        *pen = grown.m(x - size, y).q(x - size * 0.8, y - size * 1.3, x + size * 0.3, y - size * 0.8).q(
            x + size,
            y,
            x,
            y + size * 0.5,
        );
    }
    canvas.line(&dark.end(), 1.4, look.hair.deep.alpha(0.5));
    canvas.line(&light.end(), 1.5, look.hair.light.alpha(0.65));
}

fn draw_curly_fringe(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    let mut dice = look.dice("curly fringe");
    let spots = [
        (-40.0, 112.0),
        (40.0, 110.0),
        (-33.0, 96.0),
        (34.0, 94.0),
        (-22.0, 86.0),
        (24.0, 82.0),
        (-8.0, 88.0),
        (8.0, 80.0),
        (-44.0, 132.0),
        (45.0, 130.0),
    ];
    for (x, y) in spots {
        let (x, y) = (x + dice.range(-2.0, 2.0), y + dice.range(-3.0, 3.0));
        let radius = dice.range(9.5, 12.0);
        canvas.dot(
            x,
            y,
            radius,
            Fill::Radial(
                (x - 3.0, y - 4.0),
                radius * 1.5,
                look.soft(hair.base, hair.light).into(),
                hair.shade.into(),
            ),
        );
        let swirl = Pen::at(x - radius * 0.7, y + 2.0)
            .c(x - radius * 0.6, y - radius, x + radius * 0.8, y - radius * 0.8, x + radius * 0.5, y + 1.0)
            .q(x + 1.0, y + radius * 0.6, x - 2.0, y)
            .end();
        canvas.line(&swirl, 1.3, hair.deep.alpha(0.6));
    }
}

/// Tufts that stand off the head, half hidden by the cap.
fn draw_tufts(canvas: &mut Canvas, look: &Look) {
    let mut dice = look.dice("tufts");
    let size = if look.traits.hair_style == HairStyle::Pixie { 0.5 } else { 1.0 };
    let hair = look.hair;
    for (x, y, tx, ty, width) in [
        (-34.0, 104.0, -60.0, 142.0, 34.0),
        (34.0, 104.0, 61.0, 144.0, 34.0),
        (-38.0, 86.0, -67.0, 110.0, 30.0),
        (38.0, 86.0, 67.0, 112.0, 30.0),
        (-36.0, 70.0, -64.0, 74.0, 28.0),
        (38.0, 70.0, 62.0, 68.0, 26.0),
        (-20.0, 58.0, -44.0, 40.0, 28.0),
        (22.0, 58.0, 50.0, 36.0, 30.0),
        (2.0, 56.0, 18.0, 24.0, 26.0),
    ] {
        let (tx, ty) =
            (x + (tx - x) * size + dice.range(-4.0, 4.0), y + (ty - y) * size + dice.range(-4.0, 4.0));
        let tuft = lock(x, y, (x + tx) / 2.0 + f32::signum(tx) * 7.0, (y + ty) / 2.0 - 9.0, tx, ty, width);
        canvas.fill(
            &tuft,
            down(24.0, look.soft(hair.base, hair.light), 120.0, look.soft(hair.base, hair.shade)),
        );
        canvas.line(&tuft, look.hand.line, look.ink(hair));
    }
}

/// Small curls along the hairline of an afro.
fn draw_curly_hairline(canvas: &mut Canvas, look: &Look) {
    let mut dice = look.dice("hairline");
    let tone = look.soft(look.hair.base, look.hair.light).mix(look.hair.shade, 0.45);
    for (x, y) in SLICK.edge {
        canvas.dot(x + dice.range(-1.0, 1.0), *y, dice.range(5.0, 7.5), tone);
    }
}

fn draw_shaved_sides(canvas: &mut Canvas, look: &Look) {
    let stubble = look.hair.deep.mix(look.skin.shade, 0.35);
    canvas.both_sides(|canvas| {
        let side = Pen::at(30.0, 66.0)
            .c(46.0, 72.0, 47.0, 96.0, 44.5, 124.0)
            .q(40.0, 122.0, 40.0, 108.0)
            .q(38.0, 94.0, 30.0, 84.0)
            .z()
            .end();
        canvas.fill(&side, stubble.alpha(0.85));
        canvas.line(&side, look.hand.line * 0.7, look.ink(look.hair).alpha(0.8));
    });
}

fn draw_quiff(canvas: &mut Canvas, look: &Look, shape: &Option<Path>) {
    let hair = look.hair;
    canvas.fill(shape, down(22.0, look.soft(hair.base, hair.light), 92.0, look.soft(hair.base, hair.shade)));
    canvas.clipped(shape, |canvas| {
        for (x, y, bend, tip_x, tip_y) in [
            (44.0, 88.0, 58.0, 4.0, 26.0),
            (30.0, 84.0, 44.0, -18.0, 30.0),
            (14.0, 88.0, 20.0, -34.0, 38.0),
            (-6.0, 92.0, -10.0, -46.0, 52.0),
        ] {
            canvas.fill(&lock(x, y, bend, 40.0, tip_x, tip_y, 10.0), hair.shade.alpha(0.7));
            canvas.fill(
                &lock(x - 7.0, y, bend - 8.0, 44.0, tip_x - 6.0, tip_y + 2.0, 5.0),
                hair.light.alpha(0.5),
            );
        }
        canvas.fill(&lock(34.0, 44.0, -4.0, 20.0, -46.0, 58.0, 7.0), hair.light.mix(WHITE, 0.4).alpha(0.6));
    });
    canvas.line(shape, look.hand.line, look.ink(hair));
}

fn draw_side_tail(canvas: &mut Canvas, look: &Look) {
    let side = if look.dice("tail").one_in(2) { 1.0 } else { -1.0 };
    canvas.within(Transform::from_scale(side, 1.0), |canvas| {
        let tail = Pen::at(44.0, 132.0)
            .c(64.0, 128.0, 72.0, 160.0, 68.0, 192.0)
            .c(66.0, 216.0, 70.0, 232.0, 60.0, 252.0)
            .c(46.0, 236.0, 44.0, 206.0, 48.0, 182.0)
            .c(50.0, 162.0, 48.0, 150.0, 42.0, 146.0)
            .z()
            .end();
        strands(canvas, look, &tail, 132.0, 246.0, &[(52.0, 144.0, 62.0, 176.0, 56.0, 234.0)]);
        canvas.fill(&ellipse(48.0, 139.0, 8.5, 6.0), look.accent.base);
        canvas.line(&ellipse(48.0, 139.0, 8.5, 6.0), look.hand.line, look.ink(look.accent));
    });
}

fn draw_braids(canvas: &mut Canvas, look: &Look) {
    let hair = look.hair;
    canvas.both_sides(|canvas| {
        for knot in 0..7 {
            let step = knot as f32;
            let (x, y) = (46.0 + step * 1.6 - step * step * 0.28, 142.0 + step * 14.0);
            let width = 10.5 - step * 0.55;
            for lean in [-1.0, 1.0] {
                let strand = Pen::at(x - lean * width * 0.2, y - 9.0)
                    .c(
                        x + lean * width * 1.5,
                        y - 8.0,
                        x + lean * width * 1.2,
                        y + 7.0,
                        x - lean * 1.0,
                        y + 9.5,
                    )
                    .q(x - lean * width * 0.5, y, x - lean * width * 0.2, y - 9.0)
                    .z()
                    .end();
                let fill = if lean < 0.0 {
                    look.soft(hair.base, hair.light)
                } else {
                    look.soft(hair.base, hair.shade)
                };
                canvas.fill(&strand, fill);
                canvas.line(&strand, look.hand.line * 0.75, look.ink(hair));
            }
        }
        canvas.fill(&ellipse(47.0, 236.0, 7.0, 4.5), look.accent.base);
        canvas.line(&ellipse(47.0, 236.0, 7.0, 4.5), look.hand.line, look.ink(look.accent));
    });
}

/// A point on the unit circle after `part` of a turn, starting at the top; a rational
/// parametrisation, so that no library's sine is involved.
pub(crate) fn around(part: f32) -> (f32, f32) {
    let quarter = (part * 4.0).floor();
    let t = part * 4.0 - quarter;
    let (along, across) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
    match quarter as i32 & 3 {
        0 => (across, -along),
        1 => (along, across),
        2 => (-across, along),
        _ => (-along, -across),
    }
}

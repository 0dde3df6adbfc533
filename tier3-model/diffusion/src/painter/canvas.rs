//! A pixmap with a stack of transforms, and paths short enough to write a face in.
//!
//! Coordinates are design units: the portrait is laid out on a square of 256.

use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Mask, Paint, Path, PathBuilder, Pixmap,
    Point, RadialGradient, Rect, Shader, SpreadMode, Stroke, Transform,
};

use super::color::Rgb;

/// A path being drawn. Names follow SVG: move, line, quadratic, cubic, close; all absolute.
pub(crate) struct Pen(PathBuilder);

impl Pen {
    pub(crate) fn at(x: f32, y: f32) -> Self {
        let mut path = PathBuilder::new();
        path.move_to(x, y);
        Self(path)
    }

    pub(crate) fn m(mut self, x: f32, y: f32) -> Self {
        self.0.move_to(x, y);
        self
    }

    pub(crate) fn l(mut self, x: f32, y: f32) -> Self {
        self.0.line_to(x, y);
        self
    }

    pub(crate) fn q(mut self, x1: f32, y1: f32, x: f32, y: f32) -> Self {
        self.0.quad_to(x1, y1, x, y);
        self
    }

    pub(crate) fn c(mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) -> Self {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
        self
    }

    pub(crate) fn z(mut self) -> Self {
        self.0.close();
        self
    }

    /// The path; `None` if it has no extent at all, which drawing treats as nothing to draw.
    pub(crate) fn end(self) -> Option<Path> {
        self.0.finish()
    }
}

/// An ellipse around (x, y).
pub(crate) fn ellipse(x: f32, y: f32, rx: f32, ry: f32) -> Option<Path> {
    PathBuilder::from_oval(Rect::from_xywh(x - rx, y - ry, rx * 2.0, ry * 2.0)?)
}

/// A polygon through `points`.
pub(crate) fn polygon(points: &[(f32, f32)]) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    rest.iter().fold(Pen::at(first.0, first.1), |pen, (x, y)| pen.l(*x, *y)).z().end()
}

/// A lock of hair or a blade of grass: starts `width` wide around (x0, y0), bends through
/// (x1, y1) and ends in a point at (x2, y2).
pub(crate) fn lock(x0: f32, y0: f32, x1: f32, y1: f32, x2: f32, y2: f32, width: f32) -> Option<Path> {
    let (dx, dy) = (x2 - x0, y2 - y0);
    let len = (dx * dx + dy * dy).sqrt().max(0.001);
    let (nx, ny) = (-dy / len * width / 2.0, dx / len * width / 2.0);
    Pen::at(x0 + nx, y0 + ny).q(x1 + nx, y1 + ny, x2, y2).q(x1 - nx, y1 - ny, x0 - nx, y0 - ny).z().end()
}

/// What a shape is filled with.
#[derive(Clone, Copy)]
pub(crate) enum Fill {
    /// One colour.
    Flat(Color),
    /// From the first colour at the first point to the second at the second.
    Linear((f32, f32), Color, (f32, f32), Color),
    /// From the first colour in the centre to the second at the radius.
    Radial((f32, f32), f32, Color, Color),
}

impl From<Rgb> for Fill {
    fn from(color: Rgb) -> Self {
        Self::Flat(color.into())
    }
}

impl From<Color> for Fill {
    fn from(color: Color) -> Self {
        Self::Flat(color)
    }
}

/// A vertical gradient from `top` at `y0` to `bottom` at `y1`.
pub(crate) fn down(y0: f32, top: impl Into<Color>, y1: f32, bottom: impl Into<Color>) -> Fill {
    Fill::Linear((0.0, y0), top.into(), (0.0, y1), bottom.into())
}

/// A surface to draw on.
pub(crate) struct Canvas {
    pub(crate) pixmap: Pixmap,
    transform: Transform,
    mask: Option<Mask>,
}

impl Canvas {
    /// A transparent canvas; `None` if a side is 0 or the pixels do not fit in memory.
    pub(crate) fn new(width: u32, height: u32) -> Option<Self> {
        Some(Self { pixmap: Pixmap::new(width, height)?, transform: Transform::identity(), mask: None })
    }

    /// Draws through `transform`, which applies before the ones already in force.
    pub(crate) fn within<T>(&mut self, transform: Transform, draw: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.transform;
        self.transform = outer.pre_concat(transform);
        let done = draw(self);
        self.transform = outer;
        done
    }

    /// Draws once as it is and once mirrored at x = 0.
    pub(crate) fn both_sides(&mut self, mut draw: impl FnMut(&mut Self)) {
        draw(self);
        self.within(Transform::from_scale(-1.0, 1.0), draw);
    }

    /// Draws only where `shape` is. Masks do not nest: the inner one counts.
    pub(crate) fn clipped(&mut self, shape: &Option<Path>, draw: impl FnOnce(&mut Self)) {
        let Some(path) = shape else { return };
        let Some(mut mask) = Mask::new(self.pixmap.width(), self.pixmap.height()) else { return };
        mask.fill_path(path, FillRule::Winding, true, self.transform);
        let outer = self.mask.replace(mask);
        draw(self);
        self.mask = outer;
    }

    pub(crate) fn fill(&mut self, path: &Option<Path>, fill: impl Into<Fill>) {
        let Some(path) = path else { return };
        let Some(paint) = paint(fill.into()) else { return };
        self.pixmap.fill_path(path, &paint, FillRule::Winding, self.transform, self.mask.as_ref());
    }

    /// A line with round ends, `width` in design units.
    pub(crate) fn line(&mut self, path: &Option<Path>, width: f32, color: impl Into<Color>) {
        let Some(path) = path else { return };
        if width <= 0.0 {
            return;
        }
        let Some(paint) = paint(Fill::Flat(color.into())) else { return };
        let stroke =
            Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
        self.pixmap.stroke_path(path, &paint, &stroke, self.transform, self.mask.as_ref());
    }

    /// An axis-aligned rectangle from (x, y), `w` × `h`.
    pub(crate) fn rect(&mut self, x: f32, y: f32, w: f32, h: f32, fill: impl Into<Fill>) {
        let Some(rect) = Rect::from_xywh(x, y, w, h) else { return };
        let Some(paint) = paint(fill.into()) else { return };
        self.pixmap.fill_rect(rect, &paint, self.transform, self.mask.as_ref());
    }

    pub(crate) fn dot(&mut self, x: f32, y: f32, radius: f32, fill: impl Into<Fill>) {
        self.fill(&ellipse(x, y, radius, radius), fill);
    }

    /// A spot of light or colour without an edge, strongest in the middle.
    pub(crate) fn glow(&mut self, x: f32, y: f32, rx: f32, ry: f32, color: Rgb, alpha: f32) {
        let squash = Transform::from_row(1.0, 0.0, 0.0, ry / rx, 0.0, y * (1.0 - ry / rx));
        self.within(squash, |canvas| {
            let fill = Fill::Radial((x, y), rx, color.alpha(alpha), color.alpha(0.0));
            canvas.dot(x, y, rx, fill);
        });
    }
}

fn paint(fill: Fill) -> Option<Paint<'static>> {
    let stops = |from, to| vec![GradientStop::new(0.0, from), GradientStop::new(1.0, to)];
    let shader = match fill {
        Fill::Flat(color) => Shader::SolidColor(color),
        Fill::Linear(a, from, b, to) => LinearGradient::new(
            Point::from_xy(a.0, a.1),
            Point::from_xy(b.0, b.1),
            stops(from, to),
            SpreadMode::Pad,
            Transform::identity(),
        )?,
        Fill::Radial(center, radius, from, to) => {
            let center = Point::from_xy(center.0, center.1);
            RadialGradient::new(
                center,
                0.0,
                center,
                radius,
                stops(from, to),
                SpreadMode::Pad,
                Transform::identity(),
            )?
        }
    };
    Some(Paint { shader, anti_alias: true, ..Paint::default() })
}

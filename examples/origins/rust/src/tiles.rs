//! Map tiles of places: `{z}/{x}/{y}.png`, as web maps ask for them, transparent but for the places and a grid.
//!
//! The map is Web Mercator: at zoom `z` the world is `2^z` tiles wide and high, each of 256 pixels. A tile that lies outside of
//! that can never exist, and neither can one that is spelled in another way, so each tile has one key. It keeps no tile.

use std::f64::consts::PI;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_origin::{Answer, Origin, OriginError, Request};
use image::{ImageFormat, RgbaImage};
use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, Rect, Transform};

/// Width and height of a tile.
pub const SIDE_PX: u32 = 256;
/// The deepest zoom: 0.6 m for each pixel at the equator.
pub const ZOOM_MAX: u32 = 18;
/// Each tile looks at all places.
pub const PLACES_MAX: usize = 10_000;

/// Where Web Mercator ends, north and south, in degrees.
const LATITUDE_MAX: f64 = 85.0511;
const DOT_PX: f64 = 5.0;
const RING_PX: f64 = 7.0;
const DOT: [u8; 4] = [197, 48, 48, 255];
const RING: [u8; 4] = [255, 255, 255, 255];
const GRID: [u8; 4] = [90, 110, 130, 110];

/// A tile of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Zoom, 0 to [`ZOOM_MAX`].
    pub z: u32,
    /// Column from the west, below `2^z`.
    pub x: u32,
    /// Row from the north, below `2^z`.
    pub y: u32,
}

impl Tile {
    /// The tile that `key` names; `None` if there can be none.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut numbers = key.strip_suffix(".png")?.split('/').map(str::parse::<u32>);
        let (z, x, y) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        if z > ZOOM_MAX || x >> z != 0 || y >> z != 0 {
            return None;
        }
        // `+1/01/1.png` and whatever else reads as the same numbers is none.
        (format!("{z}/{x}/{y}.png") == key).then_some(Self { z, x, y })
    }
}

/// A place, in pixels of the whole map at zoom 0, so from 0 to 256 in both directions.
#[derive(Clone, Copy, Debug)]
struct Place {
    x: f64,
    y: f64,
}

/// A line of the list of places that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct InvalidPlace {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// The origin. Clones share the places.
#[derive(Clone, Debug)]
pub struct Tiles {
    places: Arc<[Place]>,
}

impl Tiles {
    /// From lines of `name,longitude,latitude` in degrees, east and north; the name may have commas. Empty lines and such that
    /// begin with `#` are left out.
    ///
    /// # Errors
    /// [`InvalidPlace`]: a line that is no place, or more than [`PLACES_MAX`].
    pub fn of_csv(text: &str) -> Result<Self, InvalidPlace> {
        let mut places = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let invalid = |why| InvalidPlace { line: index + 1, why };
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.rsplitn(3, ',').map(|field| field.trim().parse::<f64>());
            let (Some(Ok(latitude)), Some(Ok(longitude)), Some(_)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(invalid("a place is name,longitude,latitude"));
            };
            // Also of what is no number, such as NaN.
            if !(longitude.abs() <= 180.0 && latitude.abs() <= LATITUDE_MAX) {
                return Err(invalid("longitudes go to 180 degrees, latitudes to 85.05"));
            }
            if places.len() == PLACES_MAX {
                return Err(invalid("more than 10000 places"));
            }
            places.push(project(longitude, latitude));
        }
        Ok(Self { places: places.into() })
    }

    /// The picture of `tile`, as PNG.
    ///
    /// # Errors
    /// [`OriginError::Internal`] if it could not be encoded.
    pub fn draw(&self, tile: Tile) -> Result<Vec<u8>, OriginError> {
        let mut pixmap =
            Pixmap::new(SIDE_PX, SIDE_PX).ok_or_else(|| OriginError::internal("a tile has no size"))?;
        grid(&mut pixmap, tile);
        let places: Vec<(f64, f64)> = self.places.iter().flat_map(|place| positions(*place, tile)).collect();
        // All rings first, so that no ring covers the dot beside it.
        for (radius, colour) in [(RING_PX, RING), (DOT_PX, DOT)] {
            for (x, y) in &places {
                if let Some(path) = PathBuilder::from_circle(*x as f32, *y as f32, radius as f32) {
                    let paint = paint(colour);
                    pixmap.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
                }
            }
        }
        let straight = pixmap.pixels().iter().flat_map(|pixel| {
            let pixel = pixel.demultiply();
            [pixel.red(), pixel.green(), pixel.blue(), pixel.alpha()]
        });
        let picture = RgbaImage::from_raw(SIDE_PX, SIDE_PX, straight.collect());
        let mut out = Cursor::new(Vec::new());
        let picture = picture.ok_or_else(|| OriginError::internal("a tile has another size"))?;
        picture.write_to(&mut out, ImageFormat::Png).map_err(OriginError::internal)?;
        Ok(out.into_inner())
    }
}

#[async_trait]
impl Origin for Tiles {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        let tile = Tile::parse(request.key.as_str()).ok_or_else(|| {
            OriginError::invalid("a key is z/x/y.png, with z up to 18 and x and y below 2 to the power of z")
        })?;
        let tiles = self.clone();
        let drawn =
            tokio::task::spawn_blocking(move || tiles.draw(tile)).await.map_err(OriginError::internal)??;
        Ok(Answer::from(("image/png", drawn)).fresh_for(Duration::from_secs(86_400)))
    }
}

fn paint([red, green, blue, alpha]: [u8; 4]) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(Color::from_rgba8(red, green, blue, alpha));
    paint
}

fn project(longitude: f64, latitude: f64) -> Place {
    let side = f64::from(SIDE_PX);
    let north = latitude.to_radians();
    let up = (north.tan() + 1.0 / north.cos()).ln() / PI;
    Place { x: (longitude / 360.0 + 0.5) * side, y: (1.0 - up) / 2.0 * side }
}

/// Where `place` is in `tile`, if any of its ring is: also in a neighbour of the tile it lies in, and across the date line.
fn positions(place: Place, tile: Tile) -> impl Iterator<Item = (f64, f64)> {
    let side = f64::from(SIDE_PX);
    let scale = f64::from(1_u32 << tile.z);
    [-1.0, 0.0, 1.0].into_iter().filter_map(move |world| {
        let x = (place.x + world * side) * scale - f64::from(tile.x) * side;
        let y = place.y * scale - f64::from(tile.y) * side;
        let near = |at: f64| at > -RING_PX && at < side + RING_PX;
        (near(x) && near(y)).then_some((x, y))
    })
}

/// Meridians every 64 pixels, and parallels of the same degrees.
fn grid(pixmap: &mut Pixmap, tile: Tile) {
    let side = SIDE_PX as f32;
    let paint = Paint { anti_alias: false, ..paint(GRID) };
    for line in 0..4_u16 {
        fill(pixmap, Rect::from_xywh(f32::from(line) * 64.0, 0.0, 1.0, side), &paint);
    }
    let scale = f64::from(1_u32 << tile.z);
    let step = 90.0 / scale;
    let latitude = |row: f64| (PI * (1.0 - 2.0 * row / scale)).sinh().atan().to_degrees();
    let (north, south) = (latitude(f64::from(tile.y)), latitude(f64::from(tile.y) + 1.0));
    // A parallel on the border belongs to the tile south of it. There are at most four in a tile.
    let (first, last) = ((north / step).floor() as i64, (south / step).floor() as i64);
    for parallel in (last + 1)..=first {
        let y = project(0.0, parallel as f64 * step).y * scale - f64::from(tile.y) * f64::from(SIDE_PX);
        fill(pixmap, Rect::from_xywh(0.0, y.floor() as f32, side, 1.0), &paint);
    }
}

fn fill(pixmap: &mut Pixmap, rect: Option<Rect>, paint: &Paint<'_>) {
    if let Some(rect) = rect {
        pixmap.fill_rect(rect, paint, Transform::identity(), None);
    }
}

//! Paints many avatars on one sheet, to look at: `contact_sheet OUT.png [COUNT] [SIDE] [FIRST]`, or `OUT.jpg`.
//!
//! Avatar number n is the one of the SHA-256 of "n". With a fifth argument such as `hair style` or `scene`, the values
//! of that one trait are shown on otherwise equal figures; with `all`, those of every trait, a row each. A sixth
//! argument, `critter`, draws the other cast.

use std::process::ExitCode;

use fallthrough_diffusion::painter::{self, Cast};
use fallthrough_diffusion::{
    Accessory, ClothesColor, Expression, EyeColor, Format, HairColor, HairStyle, Outfit, Pose, Presentation,
    Scene, SkinTone, Style, Technique, TimeOfDay, Traits, encode,
};
use sha2::{Digest as _, Sha256};

/// The values of a trait, each on an otherwise equal figure.
type Values = fn(Traits) -> Vec<Traits>;

/// Every trait by its name.
const TRAITS: [(&str, Values); 15] = [
    ("presentation", |t| each(Presentation::ALL, |v| Traits { presentation: v, ..t })),
    ("hair colour", |t| each(HairColor::ALL, |v| Traits { hair_color: v, ..t })),
    ("scene", |t| each(Scene::ALL, |v| Traits { scene: v, ..t })),
    ("clothes colour", |t| each(ClothesColor::ALL, |v| Traits { clothes: v, ..t })),
    ("style", |t| each(Style::ALL, |v| Traits { style: v, ..t })),
    ("technique", |t| each(Technique::ALL, |v| Traits { technique: v, ..t })),
    ("hair style", |t| each(HairStyle::ALL, |v| Traits { hair_style: v, ..t })),
    ("expression", |t| each(Expression::ALL, |v| Traits { expression: v, ..t })),
    ("outfit", |t| each(Outfit::ALL, |v| Traits { outfit: v, ..t })),
    ("eyes", |t| each(EyeColor::ALL, |v| Traits { eyes: v, ..t })),
    ("heterochromia", |t| each(EyeColor::ALL, |v| Traits { heterochromia: Some(v), ..t })),
    ("time of day", |t| each(TimeOfDay::ALL, |v| Traits { time_of_day: v, ..t })),
    ("skin", |t| each(SkinTone::ALL, |v| Traits { skin: v, ..t })),
    ("accessory", |t| each(Accessory::ALL, |v| Traits { accessory: Some(v), ..t })),
    ("pose", |t| each(Pose::ALL, |v| Traits { pose: v, ..t })),
];

/// Traits of the face: shown from nearby on the sheet of all traits.
const OF_THE_FACE: [&str; 3] = ["expression", "eyes", "heterochromia"];

/// Tiles in a row of the sheet of all traits: the most values that a trait has.
const ROW: usize = 16;

fn each<T: Copy>(values: &[T], with: impl Fn(T) -> Traits) -> Vec<Traits> {
    values.iter().copied().map(with).collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u32| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(out) = arguments.first() else {
        eprintln!("usage: contact_sheet OUT.png [COUNT] [SIDE] [FIRST] [TRAIT|all] [portrait|critter]");
        return ExitCode::from(2);
    };
    let (count, side, first) = (number(1, 100), number(2, 192), number(3, 0));
    let cast = arguments.get(5).and_then(|name| Cast::parse(name)).unwrap_or_default();
    let name = arguments.get(4).map_or("", String::as_str);
    let plain = avatar(first).map(plain);
    let rows: Vec<Vec<Traits>> = match plain {
        Some(plain) if name == "all" => TRAITS.iter().map(|(_, values)| values(plain)).collect(),
        Some(plain) if TRAITS.iter().any(|(known, _)| *known == name) => {
            let values = TRAITS.iter().filter(|(known, _)| *known == name);
            let values: Vec<Traits> = values.flat_map(|(_, values)| values(plain)).collect();
            values.chunks(square(values.len())).map(<[Traits]>::to_vec).collect()
        }
        _ => {
            let avatars: Vec<Traits> = (first..first.saturating_add(count)).filter_map(avatar).collect();
            avatars.chunks(square(avatars.len())).map(<[Traits]>::to_vec).collect()
        }
    };
    let columns = if name == "all" { ROW } else { rows.iter().map(Vec::len).max().unwrap_or(1) };
    let format = out.rsplit('.').next().and_then(Format::from_extension).unwrap_or(Format::Png);
    let near = |row: usize| name == "all" && OF_THE_FACE.contains(&TRAITS[row].0);
    match sheet(cast, &rows, columns, side, format, near).map(|bytes| std::fs::write(out, bytes)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{out} cannot be written: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("a sheet of such tiles of {side} pixels cannot be painted");
            ExitCode::from(2)
        }
    }
}

/// Columns of a sheet of `count` tiles that is about as wide as high.
fn square(count: usize) -> usize {
    (1..).find(|columns| columns * columns >= count.max(1)).unwrap_or(1)
}

fn avatar(number: u32) -> Option<Traits> {
    let hash: String = Sha256::digest(number.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    Traits::from_hash(&hash).ok()
}

/// The same with a plain surface, so that one trait at a time can be told.
fn plain(traits: Traits) -> Traits {
    Traits {
        style: Style::Anime,
        technique: Technique::Digital,
        hair_style: HairStyle::Pixie,
        hair_color: HairColor::Auburn,
        skin: SkinTone::Fair,
        expression: Expression::Smile,
        time_of_day: TimeOfDay::Morning,
        scene: Scene::Mountains,
        outfit: Outfit::Hoodie,
        pose: Pose::Straight,
        heterochromia: None,
        accessory: None,
        ..traits
    }
}

/// The avatars in rows.
fn sheet(
    cast: Cast,
    rows: &[Vec<Traits>],
    columns: usize,
    side: u32,
    format: Format,
    near: impl Fn(usize) -> bool,
) -> Option<Vec<u8>> {
    let (width, height) = (columns as u32 * side, rows.len() as u32 * side);
    let mut pixels = vec![255; (width as usize * height as usize) * 4];
    for (row, avatars) in rows.iter().enumerate() {
        for (column, traits) in avatars.iter().enumerate() {
            // From nearby: the middle of a picture of twice the size.
            let (drawn, from) = if near(row) { (side * 2, side as usize / 2) } else { (side, 0) };
            let tile = painter::paint_as(cast, traits, drawn, drawn)?;
            let lines = tile.chunks_exact(drawn as usize * 4).skip(from).take(side as usize);
            for (y, line) in lines.map(|line| &line[from * 4..][..side as usize * 4]).enumerate() {
                let start = ((row * side as usize + y) * width as usize + column * side as usize) * 4;
                pixels[start..start + line.len()].copy_from_slice(line);
            }
        }
    }
    encode::encode(&pixels, width, height, format).ok().map(|bytes| bytes.to_vec())
}

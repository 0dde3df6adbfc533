//! Paints many avatars on one sheet, to look at: `contact_sheet OUT.png [COUNT] [SIDE] [FIRST]`.
//!
//! Avatar number n is the one of the SHA-256 of "n". With a fifth argument such as `hair_style`
//! or `scene`, the values of that one trait are shown on otherwise equal portraits.

use std::process::ExitCode;

use fallthrough_diffusion::{
    Accessory, Expression, Format, HairStyle, Outfit, Pose, Scene, Style, Technique, TimeOfDay, Traits,
    encode, painter,
};
use sha2::{Digest as _, Sha256};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u32| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let Some(out) = arguments.first() else {
        eprintln!("usage: contact_sheet OUT.png [COUNT] [SIDE] [FIRST] [TRAIT]");
        return ExitCode::from(2);
    };
    let (count, side, first) = (number(1, 100), number(2, 192), number(3, 0));
    let avatars = match arguments.get(4) {
        Some(name) => varied(name, first, count),
        None => (first..first + count).filter_map(avatar).collect(),
    };
    match sheet(&avatars, side).map(|bytes| std::fs::write(out, bytes)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{out} cannot be written: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("a sheet of {count} avatars of {side} pixels cannot be painted");
            ExitCode::from(2)
        }
    }
}

fn avatar(number: u32) -> Option<Traits> {
    let hash: String = Sha256::digest(number.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    Traits::from_hash(&hash).ok()
}

/// The values of trait `name`, each on `avatar(first + n)` with a plain surface.
fn varied(name: &str, first: u32, count: u32) -> Vec<Traits> {
    (0..count)
        .filter_map(|at| {
            let plain = Traits {
                style: Style::Anime,
                technique: Technique::Digital,
                accessory: None,
                ..avatar(first + at)?
            };
            let at = at as usize;
            Some(match name {
                "hair_style" => Traits { hair_style: HairStyle::ALL[at % HairStyle::ALL.len()], ..plain },
                "expression" => Traits { expression: Expression::ALL[at % Expression::ALL.len()], ..plain },
                "outfit" => Traits { outfit: Outfit::ALL[at % Outfit::ALL.len()], ..plain },
                "scene" => Traits { scene: Scene::ALL[at % Scene::ALL.len()], ..plain },
                "time" => Traits { time_of_day: TimeOfDay::ALL[at % TimeOfDay::ALL.len()], ..plain },
                "style" => Traits { style: Style::ALL[at % Style::ALL.len()], ..plain },
                "technique" => Traits { technique: Technique::ALL[at % Technique::ALL.len()], ..plain },
                "accessory" => Traits { accessory: Some(Accessory::ALL[at % Accessory::ALL.len()]), ..plain },
                "pose" => Traits { pose: Pose::ALL[at % Pose::ALL.len()], ..plain },
                _ => plain,
            })
        })
        .collect()
}

/// The avatars in rows, as a PNG.
fn sheet(avatars: &[Traits], side: u32) -> Option<Vec<u8>> {
    let columns = (1..).find(|columns| columns * columns >= avatars.len() as u32)?;
    let rows = (avatars.len() as u32).div_ceil(columns);
    let (width, height) = (columns * side, rows * side);
    let mut pixels = vec![255; (width * height * 4) as usize];
    for (at, traits) in avatars.iter().enumerate() {
        let (column, row) = (at as u32 % columns, at as u32 / columns);
        let tile = painter::paint(traits, side, side)?;
        for (y, line) in tile.chunks_exact(side as usize * 4).enumerate() {
            let start = (((row * side) as usize + y) * width as usize + (column * side) as usize) * 4;
            pixels[start..start + line.len()].copy_from_slice(line);
        }
    }
    encode::encode(&pixels, width, height, Format::Png).ok().map(|bytes| bytes.to_vec())
}

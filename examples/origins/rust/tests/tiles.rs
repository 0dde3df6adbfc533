//! Map tiles: which there are, and what is drawn where.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fallthrough_examples::tiles::{InvalidPlace, Tile, Tiles};
use fallthrough_origin::conformance::{Options, Outcome, conformance_of};
use image::RgbaImage;

fn draw(places: &str, z: u32, x: u32, y: u32) -> RgbaImage {
    let png = Tiles::of_csv(places).unwrap().draw(Tile { z, x, y }).unwrap();
    let tile = image::load_from_memory(&png).unwrap().to_rgba8();
    assert_eq!(tile.dimensions(), (256, 256));
    tile
}

fn is_red(tile: &RgbaImage, x: u32, y: u32) -> bool {
    tile.get_pixel(x, y).0 == [197, 48, 48, 255]
}

fn red_pixels(tile: &RgbaImage) -> usize {
    tile.pixels().filter(|pixel| pixel.0 == [197, 48, 48, 255]).count()
}

#[test]
fn a_tile_has_one_key_and_lies_on_the_map() {
    assert_eq!(Tile::parse("0/0/0.png"), Some(Tile { z: 0, x: 0, y: 0 }));
    assert_eq!(Tile::parse("18/262143/262143.png"), Some(Tile { z: 18, x: 262_143, y: 262_143 }));
    for impossible in [
        "0/1/0.png",
        "0/0/1.png",
        "3/8/0.png",
        "3/0/8.png",
        "19/0/0.png",
        "40/0/0.png",
        "1/-1/0.png",
        "1/01/0.png",
        "1/+1/0.png",
        "1/1.png",
        "1/1/1/1.png",
        "1/1/1.jpg",
        "1/1/1",
        "1/1/.png",
        "1//1.png",
        "4294967296/0/0.png",
        "",
    ] {
        assert_eq!(Tile::parse(impossible), None, "{impossible}");
    }
}

#[test]
fn a_place_is_drawn_where_it_is() {
    // Berlin, whose tile at zoom 10 on every web map is 550/335.
    let berlin = "Berlin, at its middle,13.405,52.52\n";
    let tile = draw(berlin, 10, 550, 335);
    // A circle with a radius of 5 pixels, the mixed colours of its edge left out.
    assert!((55..=79).contains(&red_pixels(&tile)), "{}", red_pixels(&tile));
    // 33.2 and 211.5 by the formula of Web Mercator, computed elsewhere.
    assert!(is_red(&tile, 33, 211) && is_red(&tile, 30, 208) && !is_red(&tile, 33, 204));
    for (x, y) in [(549, 335), (551, 335), (550, 334), (550, 336), (335, 550)] {
        assert_eq!(red_pixels(&draw(berlin, 10, x, y)), 0, "{x}/{y}");
    }
    assert_eq!(tile.get_pixel(100, 20).0, [0, 0, 0, 0], "what is nothing is transparent");
    assert_eq!(tile.get_pixel(64, 20).0[3], 110, "a meridian");
    assert_eq!(tile, draw(berlin, 10, 550, 335));
}

#[test]
fn a_place_on_a_border_is_whole_together() {
    let origin = "# comment\n\nNull Island,0,0\n";
    let corners = [((0, 0), (254, 254)), ((1, 0), (1, 254)), ((0, 1), (254, 1)), ((1, 1), (1, 1))];
    for ((x, y), (px, py)) in corners {
        assert!(is_red(&draw(origin, 1, x, y), px, py), "{x}/{y}");
    }
    // East of the easternmost is the westernmost.
    let line = "date line,180,0\n";
    assert!(is_red(&draw(line, 1, 1, 0), 254, 254) && is_red(&draw(line, 1, 0, 0), 1, 254));
    let line = "date line,-180,0\n";
    assert!(is_red(&draw(line, 1, 1, 0), 254, 254) && is_red(&draw(line, 1, 0, 0), 1, 254));
}

#[test]
fn a_list_is_taken_whole_or_not() {
    let refused = |text: &str| Tiles::of_csv(text).err().map(|InvalidPlace { line, .. }| line);
    assert_eq!(refused("a,1,2\nb,1\n"), Some(2));
    assert_eq!(refused("a,181,2\n"), Some(1));
    assert_eq!(refused("a,1,86\n"), Some(1));
    assert_eq!(refused("a,NaN,2\n"), Some(1));
    assert_eq!(refused("a,1,2\n\n# b\nc,east,2"), Some(4));
    assert_eq!(refused(&"a,1,2\n".repeat(10_001)), Some(10_001));
    assert_eq!(refused(&"a,1,2\n".repeat(10_000)), None);
}

#[tokio::test]
async fn tiles_keep_the_contract() {
    let options = Options {
        bucket: "tiles".to_owned(),
        key: "10/550/335.png".to_owned(),
        impossible_key: Some("2/4/0.png".to_owned()),
        ..Options::default()
    };
    let report = conformance_of(Tiles::of_csv("Berlin,13.405,52.52").unwrap(), &options).await.unwrap();
    assert!(report.passed(), "{report}");
    for name in ["digests", "again", "head", "conditional", "impossible", "odd-keys", "decoding"] {
        assert_eq!(report.check(name).unwrap().outcome, Outcome::Ok, "{name}:\n{report}");
    }
}

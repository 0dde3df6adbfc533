use super::*;
use crate::encode::Format;
use crate::traits::{
    Accessory, ClothesColor, Expression, EyeColor, HairColor, HairStyle, Outfit, Pose, Presentation, Scene,
    SkinTone, Style, TimeOfDay,
};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

/// Avatars whose pixels and JPEGs are pinned below.
const GOLDEN: &[(&str, &str, &str)] = &[
    ("d41d8cd98f00b204e9800998ecf8427e", "3df2204af445300f", "472a710a1585a7c1"),
    ("27205e5c51cb03f862138b22bcb5dc20", "10cb4927927943ce", "965c00a1c7e60c7d"),
    ("0123456789abcdef0123456fffffffe0", "4dbdb49130c3754f", "6464fc5d4908a2a0"),
    ("ffffffffffffffffffffffffffffffff", "2776be2cea2a02f6", "432872d61774f711"),
    (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e501ecda4781f432",
        "a54472ac859171e6",
    ),
];

/// Critters, pinned likewise.
const GOLDEN_CRITTERS: &[(&str, &str, &str)] = &[
    ("d41d8cd98f00b204e9800998ecf8427e", "5b3dfbe237e31472", "d9a798750594cd48"),
    ("27205e5c51cb03f862138b22bcb5dc20", "70860acac71f1b82", "2441b8b3cc2014a3"),
    ("0123456789abcdef0123456fffffffe0", "7bfeba698d744d7e", "16b83726a424789e"),
    ("ffffffffffffffffffffffffffffffff", "6d70f2eaf190ed0f", "8ad44c33c0ca9195"),
];

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))[..16].to_owned()
}

fn plain() -> Traits {
    Traits {
        presentation: Presentation::Girl,
        hair_color: HairColor::Auburn,
        scene: Scene::Mountains,
        clothes: ClothesColor::Teal,
        style: Style::Anime,
        technique: Technique::Digital,
        hair_style: HairStyle::Pixie,
        expression: Expression::Calm,
        outfit: Outfit::Shirt,
        eyes: EyeColor::Blue,
        heterochromia: None,
        time_of_day: TimeOfDay::Noon,
        skin: SkinTone::Fair,
        accessory: None,
        pose: Pose::Straight,
        seed: 1,
    }
}

/// How many pixels of two pictures differ by something an eye can see.
fn changed(a: &[u8], b: &[u8]) -> usize {
    let visible = |a: &[u8], b: &[u8]| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 12);
    a.chunks_exact(4).zip(b.chunks_exact(4)).filter(|(a, b)| visible(a, b)).count()
}

/// The smallest number of visible pixels between any two values of a trait.
fn closest<T: Copy>(cast: Cast, values: &[T], set: impl Fn(&mut Traits, T)) -> usize {
    let pictures: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            let mut traits = plain();
            set(&mut traits, *value);
            paint_as(cast, &traits, 256, 256).unwrap()
        })
        .collect();
    let pairs = (0..pictures.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    pairs.map(|(a, b)| changed(&pictures[a], &pictures[b])).min().unwrap()
}

#[test]
fn golden_pictures() {
    for (cast, golden) in [(Cast::Portrait, GOLDEN), (Cast::Critter, GOLDEN_CRITTERS)] {
        let told: Vec<(String, String)> = golden
            .iter()
            .map(|(hash, ..)| {
                let pixels = paint_as(cast, &Traits::from_hash(hash).unwrap(), 256, 256).unwrap();
                let jpeg = encode::encode(&pixels, 256, 256, Format::Jpeg).unwrap();
                (digest(&pixels), digest(&jpeg))
            })
            .collect();
        let golden: Vec<(String, String)> =
            golden.iter().map(|(_, pixels, jpeg)| ((*pixels).to_owned(), (*jpeg).to_owned())).collect();
        assert_eq!(told, golden, "{cast:?}: pictures have changed: raise VERSION together with these");
    }
}

#[test]
fn every_value_of_every_trait_can_be_seen() {
    every_value_can_be_seen(Cast::Portrait);
}

#[test]
fn every_value_of_every_trait_can_be_seen_in_critters() {
    every_value_can_be_seen(Cast::Critter);
}

fn every_value_can_be_seen(cast: Cast) {
    // A pair of eyes has some 500 pixels of iris, a mouth 60; a whole scene has tens of thousands.
    let cases = [
        ("presentation", closest(cast, Presentation::ALL, |t, v| t.presentation = v), 500),
        ("hair colour", closest(cast, HairColor::ALL, |t, v| t.hair_color = v), 2000),
        ("scene", closest(cast, Scene::ALL, |t, v| t.scene = v), 8000),
        ("clothes", closest(cast, ClothesColor::ALL, |t, v| t.clothes = v), 1000),
        ("style", closest(cast, Style::ALL, |t, v| t.style = v), 1000),
        ("technique", closest(cast, Technique::ALL, |t, v| t.technique = v), 5000),
        ("hair style", closest(cast, HairStyle::ALL, |t, v| t.hair_style = v), 800),
        ("expression", closest(cast, Expression::ALL, |t, v| t.expression = v), 40),
        ("outfit", closest(cast, Outfit::ALL, |t, v| t.outfit = v), 500),
        ("eyes", closest(cast, EyeColor::ALL, |t, v| t.eyes = v), 60),
        ("time of day", closest(cast, TimeOfDay::ALL, |t, v| t.time_of_day = v), 5000),
        ("skin", closest(cast, SkinTone::ALL, |t, v| t.skin = v), 1000),
        ("accessory", closest(cast, Accessory::ALL, |t, v| t.accessory = Some(v)), 60),
        ("pose", closest(cast, Pose::ALL, |t, v| t.pose = v), 500),
        ("seed", closest(cast, &[1, 2, 3, u32::MAX, 0x8000_0000], |t, v| t.seed = v), 300),
    ];
    let hidden: Vec<_> = cases.iter().filter(|(_, seen, least)| seen < least).collect();
    assert!(hidden.is_empty(), "too few pixels differ (trait, seen, least): {hidden:?}");
}

#[test]
fn eyes_of_two_colours_differ_from_both() {
    let two = Traits { heterochromia: Some(EyeColor::Gold), ..plain() };
    let picture = |traits: &Traits| paint(traits, 256, 256).unwrap();
    assert!(changed(&picture(&two), &picture(&plain())) >= 60);
    assert!(changed(&picture(&two), &picture(&Traits { eyes: EyeColor::Gold, ..plain() })) >= 60);
}

#[test]
fn no_accessory_can_be_told_from_every_accessory() {
    for cast in Cast::ALL {
        let bare = paint_as(cast, &plain(), 256, 256).unwrap();
        for accessory in Accessory::ALL {
            let worn = paint_as(cast, &Traits { accessory: Some(*accessory), ..plain() }, 256, 256).unwrap();
            assert!(changed(&bare, &worn) >= 60, "{cast:?} {accessory:?}");
        }
    }
}

#[tokio::test]
async fn a_cast_is_a_model_of_its_own() {
    let traits = plain();
    let request = Txt2Img { prompt: traits.to_prompt(), seed: traits.seed, ..Txt2Img::default() };
    let critter = Painter::of(Cast::Critter);
    let picture = critter.generate(&request, &Job::new(Format::Png)).await.unwrap();
    let pixels = encode::decode(&picture.bytes).unwrap().0;
    assert_eq!(pixels, paint_as(Cast::Critter, &traits, 256, 256).unwrap());
    assert!(changed(&pixels, &paint(&traits, 256, 256).unwrap()) > 5000);
    assert_ne!(picture.fingerprint, Painter::new().card().fingerprint);
    // By its name it is had from itself alone.
    let named = Txt2Img { model: critter.card().name, ..request };
    assert!(critter.generate(&named, &Job::default()).await.is_ok());
    assert!(matches!(Painter::new().generate(&named, &Job::default()).await, Err(ModelError::Invalid(_))));
    assert!(Cast::ALL.into_iter().all(|cast| Cast::parse(cast.name()) == Some(cast)));
}

#[test]
fn threads_do_not_matter() {
    let hashes: Vec<Traits> = GOLDEN.iter().map(|(hash, ..)| Traits::from_hash(hash).unwrap()).collect();
    let alone: Vec<String> = hashes.iter().map(|traits| digest(&paint(traits, 128, 192).unwrap())).collect();
    let together: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope
                    .spawn(|| hashes.iter().map(|traits| digest(&paint(traits, 128, 192).unwrap())).collect())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(together.iter().all(|one| *one == alone));
}

#[test]
fn every_size_is_filled_and_opaque() {
    for (width, height) in
        [(64, 64), (64, 1024), (1024, 64), (1024, 1024), (200, 328), (256, 512), (8, 8), (99, 301)]
    {
        for technique in [Technique::Digital, Technique::Pixel, Technique::Watercolor, Technique::Oil] {
            let traits = Traits { technique, style: Style::Sticker, ..plain() };
            let pixels = paint(&traits, width, height).unwrap();
            assert_eq!(pixels.len() as u32, width * height * 4);
            assert!(pixels.iter().skip(3).step_by(4).all(|alpha| *alpha == 255));
            // Nothing was left unpainted, which would be black.
            let black = pixels.chunks_exact(4).filter(|pixel| pixel[..3] == [0, 0, 0]).count();
            assert!(black <= pixels.len() / 400, "{width}×{height} {technique:?}: {black} black pixels");
        }
    }
    for (width, height) in [(0, 64), (64, 7), (4097, 64), (u32::MAX, u32::MAX)] {
        assert_eq!(paint(&plain(), width, height), None);
    }
}

#[tokio::test]
async fn the_engine_draws_what_the_prompt_says() {
    let traits = plain();
    let request = Txt2Img { prompt: traits.to_prompt(), seed: traits.seed, ..Txt2Img::default() };
    let picture = Painter::new().generate(&request, &Job::new(Format::Png)).await.unwrap();
    assert_eq!(encode::decode(&picture.bytes).unwrap().0, paint(&traits, 256, 256).unwrap());
    assert_eq!(picture.fingerprint, Painter::new().card().fingerprint);
}

#[tokio::test]
async fn what_cannot_be_drawn_is_refused() {
    let painter = Painter::new();
    let wrong = Txt2Img { width: 65, ..Txt2Img::default() };
    assert!(matches!(painter.generate(&wrong, &Job::default()).await, Err(ModelError::Invalid(_))));
    let other = Txt2Img { model: "sd15".into(), ..Txt2Img::default() };
    assert!(matches!(painter.generate(&other, &Job::default()).await, Err(ModelError::Invalid(_))));
    let job = Job::default();
    job.cancel();
    assert!(matches!(painter.generate(&Txt2Img::default(), &job).await, Err(ModelError::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_hash_can_be_painted(hash in "[0-9a-f]{32}") {
        let traits = Traits::from_hash(&hash).unwrap();
        prop_assert_eq!(paint(&traits, 192, 192).map(|pixels| pixels.len()), Some(192 * 192 * 4));
    }
}

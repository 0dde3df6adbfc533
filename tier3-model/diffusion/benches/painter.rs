//! How fast the painter is: `cargo bench -p fallthrough-diffusion`.
//!
//! One thread, 256 avatars in turn so that every trait takes part; the aim is 400 JPEGs of 256
//! pixels a second on one core.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use fallthrough_diffusion::painter::Cast;
use fallthrough_diffusion::{Format, Traits, encode, painter};

fn avatars() -> Vec<Traits> {
    let hash = |n: u64| {
        format!(
            "{:016x}{:016x}",
            n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            n.wrapping_mul(0xBF58_476D_1CE4_E5B9)
        )
    };
    (1..=256).filter_map(|n| Traits::from_hash(&hash(n)).ok()).collect()
}

fn bench(criterion: &mut Criterion) {
    let avatars = avatars();
    let mut turn = avatars.iter().cycle();
    let mut next = move || turn.next().expect("there are 256 avatars");
    criterion
        .bench_function("paint 256 px", |bench| bench.iter(|| painter::paint(black_box(next()), 256, 256)));
    let (avatar, side) = (avatars[0], 256);
    let pixels = painter::paint(&avatar, side, side).expect("the size is allowed");
    criterion.bench_function("encode 256 px as JPEG", |bench| {
        bench.iter(|| encode::encode(black_box(&pixels), side, side, Format::Jpeg));
    });
    let mut turn = avatars.iter().cycle();
    criterion.bench_function("avatar as JPEG, 256 px", |bench| {
        bench.iter(|| {
            let traits = turn.next().expect("there are 256 avatars");
            let pixels = painter::paint(traits, side, side).expect("the size is allowed");
            encode::encode(&pixels, side, side, Format::Jpeg)
        });
    });
    let mut turn = avatars.iter().cycle();
    criterion.bench_function("critter as JPEG, 256 px", |bench| {
        bench.iter(|| {
            let traits = turn.next().expect("there are 256 avatars");
            let pixels = painter::paint_as(Cast::Critter, traits, side, side).expect("the size is allowed");
            encode::encode(&pixels, side, side, Format::Jpeg)
        });
    });
    let mut turn = avatars.iter().cycle();
    criterion.bench_function("paint 1024 px", |bench| {
        bench.iter(|| painter::paint(turn.next().expect("there are 256 avatars"), 1024, 1024));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);

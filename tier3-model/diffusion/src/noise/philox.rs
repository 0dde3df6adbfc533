//! `torch.randn` on NVIDIA's GPUs, computed anywhere: Philox 4x32-10 and half of a Box–Muller pair.
//!
//! As the web UI's setting `randn_source = NV` draws it: number `i` of draw `n` is made of the counter (n, 0, i, 0).

use std::f64::consts::TAU;

use fallthrough_object::{Mutant, planted};

/// 2⁻³².
const STEP: f64 = 1.0 / 4_294_967_296.0;

/// The stream of one seed.
#[derive(Clone, Debug)]
pub(super) struct PhiloxNv {
    key: [u32; 2],
    draws: u32,
}

impl PhiloxNv {
    pub(super) fn new(seed: u32) -> Self {
        // The key is a seed of 64 bits, lower half first.
        Self { key: [seed, 0], draws: 0 }
    }

    /// The next draw of `len` numbers.
    pub(super) fn randn(&mut self, len: usize) -> Vec<f32> {
        let draw = self.draws;
        if !planted(Mutant::PhiloxDrawsRepeat) {
            self.draws = self.draws.wrapping_add(1);
        }
        // No picture has 2³² numbers; the counter would wrap, as its third word does.
        (0..len).map(|index| normal(philox([draw, 0, index as u32, 0], self.key))).collect()
    }
}

/// Philox 4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, 2011).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let [low0, high0] = halves(u64::from(counter[0]) * 0xD251_1F53);
        let [low1, high1] = halves(u64::from(counter[2]) * 0xCD9E_8D57);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
    }
    counter
}

/// Lower and upper word.
fn halves(product: u64) -> [u32; 2] {
    [product as u32, (product >> 32) as u32]
}

/// Of the pair that two uniform numbers make, the GPU hands out the sine.
fn normal([radius, angle, ..]: [u32; 4]) -> f32 {
    let radius = f64::from(radius) * STEP + STEP / 2.0;
    let angle = f64::from(angle) * STEP * TAU + STEP * TAU / 2.0;
    ((-2.0 * radius.ln()).sqrt() * angle.sin()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_published_ones() {
        // kat_vectors of Random123, philox4x32 with 10 rounds.
        let cases = [
            ([0; 4], [0; 2], [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]),
            (
                [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344],
                [0xA409_3822, 0x299F_31D0],
                [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn numbers_are_those_that_the_web_ui_documents() {
        // The example in its generator's documentation: seed 0, three rows of four.
        let expected = [
            -0.924_662_6,
            -0.425_344_15,
            -2.643_845_7,
            0.145_183_88,
            -0.120_866_47,
            -0.579_725_6,
            -0.622_851_2,
            -0.328_387_1,
            -1.074_542_3,
            -0.363_144_07,
            -1.671_050_7,
            2.265_505,
        ];
        let mut stream = PhiloxNv::new(0);
        for (drawn, expected) in stream.randn(12).into_iter().zip(expected) {
            assert!((drawn - expected).abs() <= 5e-7, "{drawn} instead of {expected}");
        }
    }

    #[test]
    fn every_draw_is_another_one() {
        let mut stream = PhiloxNv::new(7);
        let (first, second) = (stream.randn(8), stream.randn(8));
        assert!(first.iter().zip(&second).all(|(first, second)| first != second), "{first:?} {second:?}");
        assert_eq!(PhiloxNv::new(7).randn(8), first);
    }
}

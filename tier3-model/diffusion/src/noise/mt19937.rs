//! `torch.randn` on the CPU: the Mersenne Twister, and Box–Muller over blocks of sixteen.
//!
//! torch computes blocks with vector instructions whose logarithm and sine differ in the last bit from machine to
//! machine; here they are computed in f64 and rounded to f32, which is within 5e-7 of it.

use std::f64::consts::TAU;

use fallthrough_object::{Mutant, planted};

/// The words of the twister's state.
const STATE_WORDS: usize = 624;
/// How far apart the words are that are combined.
const SHIFT: usize = 397;
/// Numbers that are made together: eight radii and eight angles.
const BLOCK: usize = 16;

/// MT19937 (Matsumoto and Nishimura, 1998), seeded with one word.
#[derive(Clone, Debug)]
struct Twister {
    state: [u32; STATE_WORDS],
    next: usize,
}

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [0; STATE_WORDS];
        let mut word = seed;
        for (index, place) in (0u32..).zip(&mut state) {
            if index > 0 {
                word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index);
            }
            *place = word;
        }
        Self { state, next: STATE_WORDS }
    }

    fn word(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9D2C_5680;
        word ^= (word << 15) & 0xEFC6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for index in 0..STATE_WORDS {
            let joined =
                (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % STATE_WORDS] & 0x7FFF_FFFF);
            let odd = if joined & 1 == 1 { 0x9908_B0DF } else { 0 };
            self.state[index] = self.state[(index + SHIFT) % STATE_WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// In [0, 1), in steps of 2⁻²⁴, as torch makes an f32.
    fn uniform24(&mut self) -> f32 {
        (self.word() & 0x00FF_FFFF) as f32 / (1 << 24) as f32
    }

    /// In [0, 1), in steps of 2⁻⁵³, as torch makes an f64: the first word is the upper one.
    fn uniform53(&mut self) -> f64 {
        let word = (u64::from(self.word()) << 32) | u64::from(self.word());
        (word & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}

/// The stream of `torch.Generator("cpu").manual_seed(seed)`.
#[derive(Clone, Debug)]
pub(super) struct TorchCpu {
    twister: Twister,
    /// Short draws make numbers in pairs; the second one waits here, also over longer draws.
    spare: Option<f64>,
}

impl TorchCpu {
    pub(super) fn new(seed: u32) -> Self {
        Self { twister: Twister::new(seed), spare: None }
    }

    /// `torch.randn(len)`.
    pub(super) fn randn(&mut self, len: usize) -> Vec<f32> {
        if len < BLOCK {
            return (0..len).map(|_| self.single() as f32).collect();
        }
        let mut uniform: Vec<f32> = (0..len).map(|_| self.twister.uniform24()).collect();
        let mut normal = vec![0.0; len];
        for (from, to) in uniform.chunks_exact(BLOCK).zip(normal.chunks_exact_mut(BLOCK)) {
            block(from, to);
        }
        if !len.is_multiple_of(BLOCK) {
            // What does not fill a block: the last sixteen are drawn anew, those of a whole block among them.
            let last = len - BLOCK;
            if !planted(Mutant::NoiseTailNotRedrawn) {
                uniform[last..].fill_with(|| self.twister.uniform24());
            }
            block(&uniform[last..], &mut normal[last..]);
        }
        normal
    }

    fn single(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (angle, radius) = (TAU * self.twister.uniform53(), self.twister.uniform53());
        let radius = (-2.0 * (-radius).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// Box–Muller: the first eight uniform numbers are radii, the other eight angles. Each step is rounded to f32, as
/// torch's is: an angle alone would else be 4e-7 off.
fn block(uniform: &[f32], normal: &mut [f32]) {
    let half = BLOCK / 2;
    for index in 0..half {
        let logarithm = f64::from(1.0 - uniform[index]).ln() as f32;
        let radius = (-2.0 * logarithm).sqrt();
        let angle = f64::from(std::f32::consts::TAU * uniform[index + half]);
        normal[index] = radius * angle.cos() as f32;
        normal[index + half] = radius * angle.sin() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What torch 1.13.1 printed, nine digits each; the bound is what its vector instructions may differ by.
    fn assert_near(drawn: &[f32], expected: &[f32]) {
        assert_eq!(drawn.len(), expected.len());
        for (index, (drawn, expected)) in drawn.iter().zip(expected).enumerate() {
            assert!((drawn - expected).abs() <= 5e-7, "number {index}: {drawn} instead of {expected}");
        }
    }

    #[test]
    fn words_are_those_of_the_reference_implementation() {
        // The 10,000th word for the seed 5489 is part of the C++ standard ([rand.predef]).
        let mut twister = Twister::new(5489);
        let word = (0..10_000).map(|_| twister.word()).last();
        assert_eq!(word, Some(4_123_659_995));
    }

    #[test]
    fn a_block_is_as_torch_draws_it() {
        let expected = [
            1.926_915_3,
            1.487_284,
            0.900_717_2,
            -2.105_521,
            0.678_418_46,
            -1.234_544_9,
            -0.043_067_478,
            -1.604_667,
            -0.752_135_3,
            1.648_723,
            -0.392_478_65,
            -1.403_607_1,
            -0.727_881_3,
            -0.559_430_2,
            -0.768_838_9,
            0.762_445_4,
        ];
        assert_near(&TorchCpu::new(42).randn(16), &expected);
    }

    #[test]
    fn what_does_not_fill_a_block_is_drawn_anew_with_the_end_of_the_one_before() {
        let expected = [
            -0.876_585_2,
            -1.646_039_1,
            -0.538_258_55,
            0.306_219_22,
            -0.103_016_31,
            -1.218_053_7,
            -0.953_958_33,
            0.763_178_3,
            2.163_194_4,
            -0.031_713_344,
            0.953_327_2,
            0.887_629_8,
            -1.885_819_7,
            -1.048_855_4,
            -0.711_039_2,
            0.040_371_04,
            -0.532_382_85,
            -0.494_064_57,
            0.965_439_3,
            -0.119_139_455,
        ];
        assert_near(&TorchCpu::new(u32::MAX).randn(37)[17..], &expected);
    }

    #[test]
    fn short_draws_come_in_pairs_and_the_spare_one_waits() {
        let mut stream = TorchCpu::new(42);
        stream.randn(16);
        stream.randn(20);
        assert_near(
            &stream.randn(5),
            &[0.522_716_05, -0.238_356_87, -0.049_903_348, 0.526_337, -0.008_498_823],
        );
        // The first of these was made together with the last one above.
        assert_near(&stream.randn(3), &[0.729_060_6, 0.133_141_97, 0.863_977_7]);
        let block = stream.randn(16);
        assert_near(&block[..4], &[0.346_646_67, -0.197_331_44, -1.054_588_9, 1.277_995_6]);
        assert_near(&block[12..], &[2.814_027, 0.359_787_35, -0.089_808_28, 0.458_439_86]);
    }

    #[test]
    fn latents_of_a_whole_picture_are_torchs() {
        // randn(1, 4, 64, 64) for the seed 42: its end, its sum and its sum of squares.
        let drawn = TorchCpu::new(42).randn(4 * 64 * 64);
        assert_near(&drawn[drawn.len() - 4..], &[-0.811_143_8, -0.635_750_5, 0.972_809_7, -0.293_406_1]);
        let sum: f64 = drawn.iter().copied().map(f64::from).sum();
        let squares: f64 = drawn.iter().map(|number| f64::from(*number).powi(2)).sum();
        assert!((sum - 149.7648).abs() < 1e-3, "{sum}");
        assert!((squares - 16516.3999).abs() < 1e-2, "{squares}");
    }
}

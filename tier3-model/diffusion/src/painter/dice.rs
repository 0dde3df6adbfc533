//! The painter's random numbers: a stream per seed and purpose.
//!
//! Each part of the picture has its own stream, so that changing the number of stars does not
//! move the strands of hair. Only integer arithmetic and exact divisions: the same on every
//! machine.

use crate::traits::mix;

/// A stream of numbers.
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of `seed` for `purpose`.
    pub(crate) fn new(seed: u32, purpose: &str) -> Self {
        // FNV-1a over the purpose keeps the streams apart.
        let tag = purpose.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Self(tag ^ u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// From 0.0 up to, but not including, 1.0: 24 bits, which f32 holds exactly.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 16_777_216.0
    }

    /// From `low` to `high`.
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// One of 0..`n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }

    /// True once in `n` throws on average.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

//! Randomness, handed in: code that needs it takes an [`Entropy`], so that a run can be replayed.

use std::fmt;
use std::sync::Mutex;

/// Where random bytes come from. Called from any thread, also concurrently.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);

    /// A random number over the whole range.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The operating system's generator, fit for secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam through which randomness enters")]
    fn fill(&self, out: &mut [u8]) {
        // Linux's getrandom fails only before the kernel's generator is seeded or on a bad pointer.
        getrandom::fill(out).expect("the operating system gives randomness");
    }
}

/// A seeded generator (SplitMix64) for simulations and tests. Not fit for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    state: Mutex<u64>,
}

impl SeededEntropy {
    /// A generator whose whole output is determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for piece in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            piece.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_output() {
        // First output of SplitMix64 for seed 0, as published with the algorithm.
        assert_eq!(SeededEntropy::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_ne!(SeededEntropy::new(1).next_u64(), SeededEntropy::new(2).next_u64());
    }
}

//! The id of a request: what a client quotes, the log shows, and the origin is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fallthrough_object::Entropy;
use http::HeaderValue;

/// Makes ids: 16 characters of upper-case hex, drawn at random once and mixed with a counter afterwards.
#[derive(Debug)]
pub(crate) struct RequestIds {
    seed: u64,
    next: AtomicU64,
}

/// One id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 16]);

impl RequestIds {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self { seed: entropy.next_u64(), next: AtomicU64::new(0) }
    }

    /// The next id. Two ids of one process never are the same: the mixing is a permutation of the counter.
    pub(crate) fn next(&self) -> RequestId {
        let mut z = self
            .seed
            .wrapping_add(self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId(upper_hex((z ^ (z >> 31)).to_be_bytes()))
    }
}

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hex digits fit a header")
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::from(self.as_str())
    }
}

fn upper_hex(bytes: [u8; 8]) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = [0; 16];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fallthrough_object::SeededEntropy;

    use super::*;

    #[test]
    fn ids_differ_and_look_alike() {
        let ids = RequestIds::new(&SeededEntropy::new(7));
        let seen: BTreeSet<String> = (0..1000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|id| id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit())));
    }
}

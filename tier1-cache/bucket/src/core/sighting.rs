//! When an S3 provider last showed that the shadow's bucket exists.
//!
//! Its answer to HEAD has no body, so 404 does not tell a missing key from a missing bucket. Where the bucket was
//! seen lately it is the key that is missing, and nobody needs to ask again.

use std::time::Duration;

use fallthrough_object::Monotonic;

/// Twice as long as a "not found" is believed: a tool that asks for one absent key after the other makes one
/// request more in this time, and a bucket that goes away is noticed soon after.
const BELIEVED: Duration = Duration::from_secs(60);

/// Until when the bucket is believed to exist.
#[derive(Debug, Default)]
pub(crate) struct Sighting {
    until: Option<Monotonic>,
}

impl Sighting {
    /// The provider answered as only a bucket that exists can.
    pub(crate) fn seen(&mut self, now: Monotonic) {
        self.until = Some(now.plus(BELIEVED));
    }

    /// The provider refused the bucket, or everything.
    pub(crate) fn lost(&mut self) {
        self.until = None;
    }

    /// Whether it was seen lately.
    pub(crate) fn is_fresh(&self, now: Monotonic) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_is_believed_for_a_minute_and_can_be_lost() {
        let at = |secs| Monotonic::default().plus(Duration::from_secs(secs));
        let mut sighting = Sighting::default();
        assert!(!sighting.is_fresh(at(0)));
        sighting.seen(at(5));
        assert!(sighting.is_fresh(at(64)) && !sighting.is_fresh(at(65)));
        sighting.seen(at(70));
        sighting.lost();
        assert!(!sighting.is_fresh(at(71)));
    }
}

//! The rest that an origin asks for: after 503 or 429 with Retry-After it is sent nothing until that is over.

use std::time::Duration;

use fallthrough_object::Monotonic;

use crate::core::mutants::{Mutant, planted};

/// No origin is left alone for longer than this on its own word: a wrong date or unit must not close a bucket
/// for a day.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Until when an origin asked to be left alone.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    until: Option<Monotonic>,
}

impl Rest {
    /// The origin asks to be left alone for so long. A shorter wish does not end a longer one.
    pub(crate) fn wanted(&mut self, now: Monotonic, wait: Duration) {
        if wait.is_zero() || planted(Mutant::RestIgnored) {
            return;
        }
        self.until = self.until.max(Some(now.plus(wait.min(LONGEST))));
    }

    /// How much of it is left.
    pub(crate) fn left(&self, now: Monotonic) -> Option<Duration> {
        self.until.filter(|until| now < *until).map(|until| until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mutants::caught;

    fn at(secs: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_secs(secs))
    }

    #[test]
    fn an_origin_is_left_alone_for_as_long_as_it_asks() {
        let rests = || {
            let mut rest = Rest::default();
            assert_eq!(rest.left(at(0)), None);
            rest.wanted(at(0), Duration::ZERO);
            assert_eq!(rest.left(at(0)), None);
            rest.wanted(at(0), Duration::from_secs(120));
            rest.wanted(at(1), Duration::from_secs(5));
            assert_eq!(rest.left(at(119)), Some(Duration::from_secs(1)));
            assert_eq!(rest.left(at(120)), None);
            rest.wanted(at(200), Duration::from_secs(24 * 3600));
            assert_eq!(rest.left(at(200)), Some(Duration::from_secs(600)));
        };
        rests();
        assert!(caught(Mutant::RestIgnored, rests));
    }
}

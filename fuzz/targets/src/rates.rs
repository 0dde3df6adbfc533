//! Words of settings and of the admin API that say how much.

use fallthrough_object::Rate;

/// So many in a stretch of time.
///
/// What is taken reads back from its own spelling, and is more than nothing in more than no time.
pub fn rate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(rate) = text.parse::<Rate>() {
        assert_eq!(rate.to_string().parse(), Ok(rate));
        assert!(rate.count() > 0 && !rate.per().is_zero());
    }
}

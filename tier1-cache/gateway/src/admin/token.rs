//! The bearer token.

use std::fmt;

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// What callers of the admin API must present. Not printed by accident.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    /// Wraps `token`.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// Whether `headers` present it. The time taken tells nothing but whether the length is right.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let Some((scheme, token)) = presented.and_then(|bytes| bytes.split_at_checked(7)) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(token.ct_eq(self.0.as_bytes()))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_admits() {
        let token = AdminToken::new("correct-horse-battery");
        for (presented, admitted) in [
            ("Bearer correct-horse-battery", true),
            ("bearer correct-horse-battery", true),
            ("Bearer correct-horse-batterz", false),
            ("Bearer correct-horse-batter", false),
            ("Bearer correct-horse-battery1", false),
            ("Bearer ", false),
            ("Basic correct-horse-battery", false),
            ("correct-horse-battery", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, presented.parse().unwrap());
            assert_eq!(token.admits(&headers), admitted, "{presented:?}");
        }
        assert!(!token.admits(&HeaderMap::new()));
        assert_eq!(format!("{token:?}"), "AdminToken(…)");
    }
}

//! A user and a password for HTTP Basic (RFC 7617), on either side of the wire.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A user and a password. Printing it shows neither.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// The credentials of `user`, who must not contain a colon (RFC 7617).
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Whether an `Authorization` header carries these credentials; compared in constant time.
    pub(crate) fn matches(&self, header: &str) -> bool {
        let Some((scheme, token)) = header.split_once(' ') else { return false };
        let Ok(given) = BASE64.decode(token.trim()) else { return false };
        // Digests have equal lengths, so that neither content nor length shows in the time.
        let wanted = Sha256::digest(format!("{}:{}", self.user, self.password));
        let right = bool::from(Sha256::digest(given).as_slice().ct_eq(wanted.as_slice()));
        right && scheme.eq_ignore_ascii_case("basic")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_header_matches() {
        let credentials = Credentials::new("user", "pass:word");
        let right = BASE64.encode("user:pass:word");
        assert!(credentials.matches(&format!("Basic {right}")));
        assert!(credentials.matches(&format!("basic  {right}")));
        for wrong in ["", "Basic", "Basic !!!", &right, &format!("Bearer {right}"), "Basic dXNlcjpwYXNz"] {
            assert!(!credentials.matches(wrong), "{wrong:?}");
        }
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    }
}

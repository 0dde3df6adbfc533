//! Secrets that do not show themselves.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret access key. Wiped when dropped, compared in constant time, never printed and never serialised.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for deriving keys, and for showing it once to whom it was made for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// An access key with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The access key ID, which is not secret.
    pub access_key: String,
    /// Its secret.
    pub secret: Secret,
}

impl Credentials {
    /// Pairs an access key ID with its secret.
    pub fn new(access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret: Secret::new(secret) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let text = format!("{:?}", Credentials::new("AK", "hunter2"));
        assert!(text.contains("AK") && !text.contains("hunter2"), "{text}");
        assert!(Secret::new("a") == Secret::new("a") && Secret::new("a") != Secret::new("b"));
    }
}

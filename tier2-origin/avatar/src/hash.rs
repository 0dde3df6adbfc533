//! The hash of an address: what stands in an avatar's URL in its place.

use std::fmt;

use fallthrough_diffusion::InvalidHash;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// 32 (MD5) or 64 (SHA-256) hex digits in lower case: the one spelling that pictures are kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AvatarHash(String);

impl AvatarHash {
    /// Reads digits in any case.
    ///
    /// # Errors
    /// [`InvalidHash`] for any other length, and for any other character anywhere.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let is_hash = matches!(text.len(), 32 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self(text.to_ascii_lowercase())).ok_or(InvalidHash)
    }

    /// The MD5 of an address, as Gravatar and Libravatar have had from the start.
    #[must_use]
    pub fn md5(address: &str) -> Self {
        Self(hex(&Md5::digest(normal(address))))
    }

    /// The SHA-256 of an address, as both take today.
    #[must_use]
    pub fn sha256(address: &str) -> Self {
        Self(hex(&Sha256::digest(normal(address))))
    }

    /// The HMAC-SHA-256 of an address under `key`. It looks like a SHA-256, and who has not got the key cannot find
    /// the address by trying addresses: plain hashes of addresses are found that way in minutes.
    #[must_use]
    pub fn keyed(key: &[u8], address: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(normal(address).as_bytes());
        Self(hex(&mac.finalize().into_bytes()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AvatarHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An address as avatar services hash it: without white space around it, in lower case.
#[must_use]
pub fn normal(address: &str) -> String {
    address.trim().to_lowercase()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_every_program_computes() {
        // `printf %s myemailaddress@example.com | md5sum`, an example of Gravatar's documentation.
        let address = " MyEmailAddress@example.com ";
        assert_eq!(AvatarHash::md5(address).as_str(), "0bc83cb571cd1c50ba6f3e8a78ef1346");
        assert_eq!(
            AvatarHash::sha256(address).as_str(),
            "84059b07d4be67b806386c0aad8070a23f18836bbaae342275dc0a83414c32ee"
        );
        // RFC 4231, test case 2.
        assert_eq!(
            AvatarHash::keyed(b"Jefe", "what do ya want for nothing?").as_str(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_keyed_hash_is_another_one_for_every_key_and_a_plain_hash_of_nothing() {
        let (one, two) = (AvatarHash::keyed(b"one", "a@b.c"), AvatarHash::keyed(b"two", "a@b.c"));
        assert_ne!(one, two);
        assert_ne!(one, AvatarHash::sha256("a@b.c"));
        assert_eq!(one, AvatarHash::keyed(b"one", " A@B.C\n"));
    }

    #[test]
    fn digits_are_read_in_any_case_and_kept_in_one() {
        let lower = "0bc83cb571cd1c50ba6f3e8a78ef1346";
        assert_eq!(AvatarHash::parse(&lower.to_uppercase()).unwrap().as_str(), lower);
        assert_eq!(AvatarHash::parse(&lower[1..]), Err(InvalidHash));
        assert_eq!(AvatarHash::parse(&"ä".repeat(16)), Err(InvalidHash));
    }
}

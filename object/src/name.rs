//! Bucket names and object keys.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a bucket: 3 to 63 characters of `a-z 0-9 . -`, as S3 allows them for general purpose buckets.
///
/// Rules: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// Why a string cannot name a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bucket name {name:?} is invalid: {reason}")]
pub struct InvalidBucketName {
    /// What was offered, cut to 64 characters.
    pub name: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl BucketName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidBucketName`] with the rule that is broken.
    pub fn parse(raw: &str) -> Result<Self, InvalidBucketName> {
        match bucket_name_fault(raw) {
            None => Ok(Self(raw.to_owned())),
            Some(reason) => Err(InvalidBucketName { name: raw.chars().take(64).collect(), reason }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bucket_name_fault(raw: &str) -> Option<&'static str> {
    let alnum = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let bytes = raw.as_bytes();
    if !(3..=63).contains(&bytes.len()) {
        Some("it must be 3 to 63 characters long")
    } else if !bytes.iter().all(|c| alnum(Some(*c)) || *c == b'.' || *c == b'-') {
        Some("only lower-case letters, digits, dots and hyphens are allowed")
    } else if !alnum(bytes.first().copied()) || !alnum(bytes.last().copied()) {
        Some("it must begin and end with a letter or a digit")
    } else if raw.contains("..") {
        Some("two dots may not be adjacent")
    } else if looks_like_ipv4(raw) {
        Some("it may not look like an IP address")
    } else if BEGINNINGS_TAKEN.iter().any(|taken| raw.starts_with(taken)) {
        Some("it may not begin with xn--, sthree- or amzn-s3-demo-")
    } else if ENDS_TAKEN.iter().any(|taken| raw.ends_with(taken)) {
        Some("it may not end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3")
    } else {
        None
    }
}

/// What S3 keeps for itself at the beginning of a bucket's name.
const BEGINNINGS_TAKEN: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];

/// The same at its end.
const ENDS_TAKEN: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

fn looks_like_ipv4(raw: &str) -> bool {
    let mut parts = 0;
    raw.split('.').all(|p| {
        parts += 1;
        (1..=3).contains(&p.len()) && p.bytes().all(|c| c.is_ascii_digit())
    }) && parts == 4
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BucketName {
    type Error = InvalidBucketName;
    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

/// An object key: 1 to 1,024 bytes of UTF-8, ordered bytewise, as S3 lists are.
///
/// There is no conversion into a file path, and there must never be one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// The length that makes a string unfit to be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to 1024 bytes of UTF-8, this one has {len_bytes}")]
pub struct InvalidKey {
    /// Length of the refused key.
    pub len_bytes: usize,
}

impl Key {
    /// The longest key that S3 allows, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1024;

    /// Parses a key.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is empty or longer than [`Key::MAX_BYTES`].
    pub fn parse(raw: &str) -> Result<Self, InvalidKey> {
        match raw.len() {
            1..=Self::MAX_BYTES => Ok(Self(raw.to_owned())),
            len_bytes => Err(InvalidKey { len_bytes }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;
    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(&raw)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a.b.c", "my-bucket", "0123", "a1-.b2", &"x".repeat(63)] {
            // `a1-.b2` is allowed by the rules: only adjacent dots are not.
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "192.168.5.4",
            "xn--a",
            "sthree-a",
            "amzn-s3-demo-a",
            "a--ol-s3",
            "a--x-s3",
            "a b",
            &"x".repeat(64),
            "a/b",
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_have_1_to_1024_bytes_and_may_look_like_anything() {
        for good in ["a", "../../etc/passwd", "/", "a//b", " ", "\u{1F600}", "a\nb", &"k".repeat(1024)] {
            assert_eq!(Key::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Key::parse(""), Err(InvalidKey { len_bytes: 0 }));
        assert_eq!(Key::parse(&"k".repeat(1025)), Err(InvalidKey { len_bytes: 1025 }));
        // 513 characters of two bytes each: the limit counts bytes.
        assert_eq!(Key::parse(&"é".repeat(513)), Err(InvalidKey { len_bytes: 1026 }));
    }
}

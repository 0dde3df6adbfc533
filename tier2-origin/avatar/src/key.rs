//! Which keys are avatars: 32 or 64 hex digits, and one of four suffixes or none.

use fallthrough_diffusion::{Format, Traits};

/// The keys that [`AvatarKey::parse`] takes, as a regular expression: for buckets that refuse others before they ask.
pub const KEYS: &str = r"^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{64})(?:\.(?:jpe?g|png|webp))?$";

/// A key that names an avatar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvatarKey {
    /// What the digits choose.
    pub traits: Traits,
    /// The encoding the suffix asks for; JPEG without one.
    pub format: Format,
}

/// The key is no avatar's and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl InvalidKey {
    /// What the client is told.
    pub const MESSAGE: &str = "a key is 32 (MD5) or 64 (SHA-256) hex digits, optionally followed by \
                               .jpg, .jpeg, .png or .webp";
}

impl AvatarKey {
    /// Reads a whole key; digits in any case, suffixes in lower case.
    ///
    /// # Errors
    /// [`InvalidKey`] for anything before, between, after or instead of that.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        let (hash, format) = match key.split_once('.') {
            None => (key, Format::Jpeg),
            Some((hash, "jpg" | "jpeg")) => (hash, Format::Jpeg),
            Some((hash, "png")) => (hash, Format::Png),
            Some((hash, "webp")) => (hash, Format::Webp),
            Some(_) => return Err(InvalidKey),
        };
        let traits = Traits::from_hash(hash).map_err(|_| InvalidKey)?;
        Ok(Self { traits, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MD5: &str = "27205e5c51cb03f862138b22bcb5dc20";

    #[test]
    fn suffixes_choose_the_format() {
        let sha256 = MD5.repeat(2);
        for hash in [MD5, &MD5.to_uppercase(), &sha256] {
            for (suffix, format) in [
                ("", Format::Jpeg),
                (".jpg", Format::Jpeg),
                (".jpeg", Format::Jpeg),
                (".png", Format::Png),
                (".webp", Format::Webp),
            ] {
                assert_eq!(AvatarKey::parse(&format!("{hash}{suffix}")).unwrap().format, format);
            }
        }
    }

    #[test]
    fn the_expression_takes_what_the_parser_takes() {
        let keys = regex::Regex::new(KEYS).unwrap();
        let sha256 = MD5.repeat(2);
        let hashes =
            [MD5, &MD5.to_uppercase(), &sha256, &MD5[1..], &sha256[1..], "", &format!("g{}", &MD5[1..])];
        for hash in hashes {
            for (before, after) in [
                ("", ""),
                ("", ".jpg"),
                ("", ".jpeg"),
                ("", ".png"),
                ("", ".webp"),
                ("", ".gif"),
                ("", ".JPG"),
                ("/", ""),
                ("", "\n"),
                ("", ".jpg.png"),
                ("", "."),
            ] {
                let key = format!("{before}{hash}{after}");
                assert_eq!(keys.is_match(&key), AvatarKey::parse(&key).is_ok(), "{key:?}");
            }
        }
    }

    #[test]
    fn the_match_is_anchored() {
        let wrong = [
            format!("x{MD5}"),
            format!("{MD5}x"),
            format!("/{MD5}"),
            format!("{MD5}/"),
            format!("a/{MD5}"),
            format!("{MD5}\n"),
            format!(" {MD5}"),
            format!("{MD5}.gif"),
            format!("{MD5}.jpg.png"),
            format!("{MD5}."),
            format!("{MD5}.JPG"),
            format!("{MD5}{}", &MD5[..31]),
            format!("{MD5}0"),
            format!("g{}", &MD5[1..]),
            "../../etc/passwd".to_owned(),
            ".jpg".to_owned(),
        ];
        for key in wrong {
            assert_eq!(AvatarKey::parse(&key), Err(InvalidKey), "{key:?}");
        }
    }

    #[test]
    fn short_keys_are_refused_at_every_length() {
        for len in 0..100 {
            let key = "a".repeat(len);
            assert_eq!(AvatarKey::parse(&key).is_ok(), matches!(len, 32 | 64), "{len} digits");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(key in "\\PC{0,80}") {
            let _answer = AvatarKey::parse(&key);
        }
    }
}

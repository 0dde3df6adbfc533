//! From a text to what it falls through with: hash, traits, prompt, seed. The page's one source of truth is
//! the code that the avatar origin itself uses.

use fallthrough_avatar::{Trait, describe};
use md5::{Digest, Md5};
use serde::Serialize;
use sha2::Sha256;

/// Longest text that is described. More would only make a long address.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// What the page shows before anybody has typed.
pub(super) const TEXT_FIRST: &str = "you@example.com";

/// Which hash of the text is the key of its avatar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HashKind {
    /// 32 hex digits, as Gravatar and Libravatar have had from the start.
    #[default]
    Md5,
    /// 64 hex digits, as both take today.
    Sha256,
}

impl HashKind {
    /// From a query parameter; anything unknown is MD5, since a form sends only what the page offers.
    pub(super) fn parse(name: &str) -> Self {
        if name.eq_ignore_ascii_case("sha256") { Self::Sha256 } else { Self::Md5 }
    }
}

/// A text and everything that follows from it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Description {
    /// The text as it was typed.
    pub(super) text: String,
    /// The text that was hashed: addresses are trimmed and in lower case, as avatar services agree.
    pub(super) hashed: String,
    /// Lower-case hex.
    pub(super) md5: String,
    /// Lower-case hex.
    pub(super) sha256: String,
    /// Which of the two is the key.
    pub(super) kind: HashKind,
    /// The key in the bucket `avatar`.
    pub(super) key: String,
    /// Where the avatar is on this listener.
    pub(super) path: String,
    /// Name and value of every trait, in the order of the prompt's making.
    pub(super) traits: Vec<Trait>,
    /// What the model is asked for.
    pub(super) prompt: String,
    /// What the model is asked to avoid.
    pub(super) negative_prompt: String,
    /// What else chooses the picture.
    pub(super) seed: u32,
}

impl Description {
    /// Describes `text`, keyed by the hash of this kind.
    ///
    /// # Errors
    /// The hash is none, which does not happen for one made here; it is passed on instead of assumed away.
    pub(super) fn of(text: &str, kind: HashKind) -> Result<Self, String> {
        let hashed = hashed_text(text);
        let (md5, sha256) = (hex(&Md5::digest(&hashed)), hex(&Sha256::digest(&hashed)));
        let key = match kind {
            HashKind::Md5 => md5.clone(),
            HashKind::Sha256 => sha256.clone(),
        };
        let mut avatar = describe(&key).map_err(|invalid| invalid.to_string())?;
        // The seed is no word of the prompt; it has a field of its own.
        avatar.traits.retain(|shown| shown.name != "seed");
        Ok(Self {
            text: text.to_owned(),
            hashed,
            path: format!("/avatar/{key}?s=256"),
            md5,
            sha256,
            kind,
            key,
            traits: avatar.traits,
            prompt: avatar.prompt,
            negative_prompt: avatar.negative_prompt,
            seed: avatar.seed,
        })
    }
}

/// An address of mail is trimmed and put in lower case before hashing; any other text is taken as it is.
fn hashed_text(text: &str) -> String {
    let trimmed = text.trim();
    let is_address = trimmed.contains('@') && !trimmed.contains(char::is_whitespace);
    if is_address { trimmed.to_lowercase() } else { text.to_owned() }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_every_tool_computes() {
        let described = Description::of("", HashKind::Md5).expect("a digest is a hash");
        // RFC 1321 appendix A.5 and FIPS 180-2 appendix, for the empty message.
        assert_eq!(described.md5, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(described.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(described.path, "/avatar/d41d8cd98f00b204e9800998ecf8427e?s=256");
        let longer = Description::of("", HashKind::Sha256).expect("a digest is a hash");
        assert_eq!(longer.key, longer.sha256);
        assert_ne!(longer.prompt, described.prompt);
    }

    #[test]
    fn only_addresses_are_changed_before_hashing() {
        for (text, hashed) in [
            (" You@Example.com ", "you@example.com"),
            ("Hello World", "Hello World"),
            ("meet me @ Noon", "meet me @ Noon"),
            (" padded ", " padded "),
        ] {
            assert_eq!(hashed_text(text), hashed);
        }
    }
}

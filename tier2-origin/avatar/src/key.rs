//! Which keys are avatars, and which picture of them.
//!
//! | key | picture |
//! | --- | --- |
//! | `HASH`, `HASH.png` | the avatar, as large as the origin draws |
//! | `HASH/80.png` | the avatar with sides of 80 pixels, one of [`SIZES`] |
//! | `HASH/80.identicon.png` | what is drawn of the hash in its place: `identicon`, `retro`, `monsterid` |
//! | `any/80.mp.png` | what is the same for every hash: `mp`, `blank` |
//!
//! The first form takes digits in any case; the others, which a [front](crate::Front) makes, have one spelling each,
//! so that nothing is kept twice.

use fallthrough_diffusion::painter::emblem::Emblem;
use fallthrough_diffusion::{Format, Traits};

use crate::hash::AvatarHash;
use crate::mutants::{Mutant, planted};

/// Sides in pixels that pictures are kept in. 80 is what is asked for where nobody says another size.
pub const SIZES: [u32; 6] = [32, 80, 128, 256, 512, 1024];

/// What stands in the place of a hash where the picture is the same for all.
const ANY: &str = "any";
/// The name of the animals that are drawn by a hash, where nobody has a picture.
const MONSTER: &str = "monsterid";

/// The keys that [`AvatarKey::parse`] takes, as a regular expression: for buckets that refuse others before they ask.
pub const KEYS: &str = r"^(?:(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{64})(?:\.(?:jpe?g|png|webp))?|(?:[0-9a-f]{32}|[0-9a-f]{64})/(?:32|80|128|256|512|1024)(?:\.(?:identicon|retro|monsterid))?\.(?:jpg|png|webp)|any/(?:32|80|128|256|512|1024)\.(?:mp|blank)\.(?:jpg|png|webp))$";

/// A key that names an avatar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvatarKey {
    /// What it shows.
    pub subject: Subject,
    /// Width and height in pixels; `None`: whatever the origin draws.
    pub side_px: Option<u32>,
    /// The encoding the suffix asks for; JPEG without one.
    pub format: Format,
}

/// What a picture shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What the model makes of the hash.
    Avatar(AvatarHash),
    /// An animal that is drawn of the hash, whatever the model is.
    Monster(AvatarHash),
    /// One of the small pictures; without a hash where all have the same.
    Emblem(Emblem, Option<AvatarHash>),
}

/// The key is no avatar's and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl InvalidKey {
    /// What the client is told.
    pub const MESSAGE: &str = "a key is 32 (MD5) or 64 (SHA-256) hex digits, optionally followed by \
                               .jpg, .jpeg, .png or .webp";
}

impl Subject {
    /// The name of what is drawn in an avatar's place; `None` for the avatar itself.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Avatar(_) => None,
            Self::Monster(_) => Some(MONSTER),
            Self::Emblem(emblem, _) => Some(emblem.name()),
        }
    }

    /// The traits of the hash; `None` for what has none.
    #[must_use]
    pub fn traits(&self) -> Option<Traits> {
        match self {
            Self::Avatar(hash) | Self::Monster(hash) => Traits::from_hash(hash.as_str()).ok(),
            Self::Emblem(..) => None,
        }
    }

    fn hash(&self) -> Option<&AvatarHash> {
        match self {
            Self::Avatar(hash) | Self::Monster(hash) => Some(hash),
            Self::Emblem(_, hash) => hash.as_ref(),
        }
    }
}

impl AvatarKey {
    /// Reads a whole key; suffixes and names in lower case.
    ///
    /// # Errors
    /// [`InvalidKey`] for anything before, between, after or instead of what the table above has.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        match key.split_once('/') {
            None => {
                let (hash, format) = plain(key)?;
                Ok(Self { subject: Subject::Avatar(hash), side_px: None, format })
            }
            Some((whose, picture)) => {
                let parsed = variant(whose, picture)?;
                // One spelling: `080`, `.jpeg` and capitals name what has another name already.
                if parsed.canonical() == key { Ok(parsed) } else { Err(InvalidKey) }
            }
        }
    }

    /// The one spelling of this key.
    #[must_use]
    pub fn canonical(&self) -> String {
        let whose = self.subject.hash().map_or(ANY, AvatarHash::as_str);
        let Some(side) = self.side_px else { return format!("{whose}.{}", self.format.extension()) };
        let name = self.subject.name().map(|name| format!(".{name}")).unwrap_or_default();
        format!("{whose}/{side}{name}.{}", self.format.extension())
    }
}

/// A hash with or without a suffix, as it stands in URLs.
pub(crate) fn plain(key: &str) -> Result<(AvatarHash, Format), InvalidKey> {
    let (hash, format) = match key.split_once('.') {
        None => (key, Format::Jpeg),
        Some((hash, "jpg" | "jpeg")) => (hash, Format::Jpeg),
        Some((hash, "png")) => (hash, Format::Png),
        Some((hash, "webp")) => (hash, Format::Webp),
        Some(_) => return Err(InvalidKey),
    };
    let hash = if planted(Mutant::HashNotAnchored) { hash.get(..32).unwrap_or(hash) } else { hash };
    Ok((AvatarHash::parse(hash).map_err(|_| InvalidKey)?, format))
}

fn variant(whose: &str, picture: &str) -> Result<AvatarKey, InvalidKey> {
    let mut words = picture.split('.');
    let (side, name, extension) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(side), Some(extension), None, None) => (side, None, extension),
        (Some(side), Some(name), Some(extension), None) => (side, Some(name), extension),
        _ => return Err(InvalidKey),
    };
    let format = Format::from_extension(extension).ok_or(InvalidKey)?;
    let side = side.parse().ok().filter(|side| SIZES.contains(side)).ok_or(InvalidKey)?;
    let hash = || AvatarHash::parse(whose).map_err(|_| InvalidKey);
    let subject = match name {
        None => Subject::Avatar(hash()?),
        Some(MONSTER) => Subject::Monster(hash()?),
        Some(name) => {
            let emblem = Emblem::ALL.into_iter().find(|emblem| emblem.name() == name).ok_or(InvalidKey)?;
            match emblem.depends_on_hash() {
                true => Subject::Emblem(emblem, Some(hash()?)),
                false if whose == ANY => Subject::Emblem(emblem, None),
                false => return Err(InvalidKey),
            }
        }
    };
    Ok(AvatarKey { subject, side_px: Some(side), format })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::caught;
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
                let key = AvatarKey::parse(&format!("{hash}{suffix}")).unwrap();
                assert_eq!((key.format, key.side_px), (format, None));
                assert_eq!(key.subject, Subject::Avatar(AvatarHash::parse(hash).unwrap()));
            }
        }
    }

    #[test]
    fn variants_have_one_spelling_each() {
        let sha256 = MD5.repeat(2);
        let keys = regex::Regex::new(KEYS).unwrap();
        for key in [
            format!("{MD5}/80.jpg"),
            format!("{sha256}/1024.webp"),
            format!("{MD5}/256.identicon.png"),
            format!("{MD5}/32.retro.png"),
            format!("{sha256}/80.monsterid.jpg"),
            "any/80.mp.png".to_owned(),
            "any/80.blank.webp".to_owned(),
        ] {
            assert_eq!(AvatarKey::parse(&key).map(|parsed| parsed.canonical()), Ok(key.clone()), "{key}");
            assert!(keys.is_match(&key));
        }
        let upper = MD5.to_uppercase();
        for key in [
            format!("{upper}/80.jpg"),
            format!("{MD5}/080.jpg"),
            format!("{MD5}/+80.jpg"),
            format!("{MD5}/81.jpg"),
            format!("{MD5}/80.jpeg"),
            format!("{MD5}/80.JPG"),
            format!("{MD5}/80"),
            format!("{MD5}/80.mp.png"),
            format!("{MD5}/80.gen.png"),
            format!("{MD5}/80.retro.png.png"),
            format!("{MD5}/a/80.png"),
            "any/80.retro.png".to_owned(),
            "any/80.jpg".to_owned(),
            "ANY/80.mp.png".to_owned(),
            "/80.mp.png".to_owned(),
        ] {
            assert_eq!(AvatarKey::parse(&key), Err(InvalidKey), "{key}");
            assert!(!keys.is_match(&key), "{key}");
        }
    }

    #[test]
    fn the_expression_takes_what_the_parser_takes() {
        let keys = regex::Regex::new(KEYS).unwrap();
        let sha256 = MD5.repeat(2);
        let hashes = [
            MD5,
            &MD5.to_uppercase(),
            &sha256,
            &MD5[1..],
            &sha256[1..],
            "",
            &format!("g{}", &MD5[1..]),
            "any",
        ];
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
                ("", "/"),
                ("", "/80.jpg"),
                ("", "/256.mp.webp"),
                ("", "/256.retro.webp"),
                ("", "/256.retro.webp\n"),
                ("", "/2560.png"),
            ] {
                let key = format!("{before}{hash}{after}");
                assert_eq!(keys.is_match(&key), AvatarKey::parse(&key).is_ok(), "{key:?}");
            }
        }
    }

    fn anchored() {
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
    fn the_match_is_anchored() {
        anchored();
        assert!(caught(Mutant::HashNotAnchored, anchored));
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
        fn any_text_is_answered(key in "\\PC{0,80}|[0-9a-f]{32}/[0-9a-z.]{0,12}") {
            let keys = regex::Regex::new(KEYS).unwrap();
            prop_assert_eq!(AvatarKey::parse(&key).is_ok(), keys.is_match(&key));
        }
    }
}

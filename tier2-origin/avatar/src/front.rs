//! The address of an avatar, as Gravatar and Libravatar have it: which object of the bucket it stands for.
//!
//! Everything here is pure: a key and a query become a [`Plan`]. Of the query only what is listed below counts, and it
//! counts in few values, so that nobody can have more objects made of one hash than there are [`SIZES`], formats and
//! kinds. `s` or `size` is the side in pixels, 1 to 2048; `d` or `default` what is shown where nobody has a picture of
//! their own; `f` or `forcedefault` `y` shows that in any case; `v` names the edition. `r` and `rating` are understood
//! and change nothing: nothing that is drawn here needs them. Where a parameter cannot be read, it is as if it were not
//! there.

use fallthrough_diffusion::Format;
use fallthrough_diffusion::painter::emblem::Emblem;
use url::Url;

use crate::hash::AvatarHash;
use crate::key::{AvatarKey, SIZES, Subject, plain};
use crate::mutants::{Mutant, planted};

/// Side in pixels where nobody says another.
const SIDE_DEFAULT_PX: u32 = 80;
/// Largest side that is answered.
const SIDE_MAX_PX: u32 = 2048;
/// Longest URL that is redirected to, in bytes.
const REDIRECT_BYTES_MAX: usize = 1024;

/// What is shown where nobody has a picture of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The avatar that the model makes of the hash.
    #[default]
    Generated,
    /// Nothing: 404.
    Absent,
    /// An animal that is drawn of the hash.
    Monster,
    /// A small picture.
    Emblem(Emblem),
}

impl Fallback {
    /// Reads a word for it, in any case; `None` if it is none that is known here.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "gen" => Self::Generated,
            "404" => Self::Absent,
            "mp" | "mm" | "mystery" | "mysteryman" => Self::Emblem(Emblem::Mystery),
            "identicon" => Self::Emblem(Emblem::Identicon),
            "retro" => Self::Emblem(Emblem::Retro),
            "blank" => Self::Emblem(Emblem::Blank),
            // Three services, three zoos; here they are one.
            "monsterid" | "wavatar" | "robohash" => Self::Monster,
            _ => return None,
        })
    }
}

impl Fallback {
    /// The word for it, as [`Fallback::parse`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "gen",
            Self::Absent => "404",
            Self::Monster => "monsterid",
            Self::Emblem(emblem) => emblem.name(),
        }
    }
}

/// What an operator chooses about such addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontSettings {
    /// What is shown where the address does not say.
    pub fallback: Fallback,
    /// Sides in pixels that are kept, each one of [`SIZES`], ascending and at least one; others are made of them.
    pub sizes: Vec<u32>,
    /// Hosts that `d=URL` may lead to, in lower case, with a port if it is not the scheme's own. None: it leads nowhere.
    pub redirect_hosts: Vec<String>,
    /// Whether objects under `own/HASH` are people's own pictures, which come first.
    pub own_pictures: bool,
    /// The edition that pictures are kept under: an address that names it may be believed for ever.
    pub edition: Option<String>,
}

impl Default for FrontSettings {
    /// Everything generated, every size, no redirects, no pictures of people's own.
    fn default() -> Self {
        Self {
            fallback: Fallback::Generated,
            sizes: SIZES.to_vec(),
            redirect_hosts: Vec::new(),
            own_pictures: false,
            edition: None,
        }
    }
}

/// Which object an address stands for, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The key of a picture of somebody's own, to be looked for first and made square. It is never fetched.
    pub own: Option<String>,
    /// What is answered where there is none.
    pub then: Then,
    /// Width and height that were asked for, in pixels.
    pub side_px: u32,
    /// The encoding that was asked for.
    pub format: Format,
    /// The address names the edition: what is answered there never changes.
    pub forever: bool,
}

/// What is answered where nobody has a picture of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The object under `key`, whose sides have `side_px` pixels.
    Object {
        /// A key of [`AvatarKey`]'s second form.
        key: String,
        /// One of the sizes that are kept.
        side_px: u32,
    },
    /// 404, as the address asks.
    Absent,
    /// 302 to this URL, whose host is on the list.
    Redirect(String),
}

/// The addresses of one bucket.
#[derive(Clone, Debug)]
pub struct Front {
    settings: FrontSettings,
}

impl Front {
    /// Addresses by these settings. Sizes that are none of [`SIZES`] are left out; with none left, all are kept.
    #[must_use]
    pub fn new(mut settings: FrontSettings) -> Self {
        settings.sizes.retain(|side| SIZES.contains(side));
        settings.sizes.sort_unstable();
        settings.sizes.dedup();
        if settings.sizes.is_empty() {
            settings.sizes = SIZES.to_vec();
        }
        Self { settings }
    }

    /// What `key` stands for, asked with `query`: names and values, decoded, in their order. `None`: the key is no
    /// avatar's address, and means what any other key means.
    pub fn plan<'q>(&self, key: &str, query: impl Iterator<Item = (&'q str, &'q str)>) -> Option<Plan> {
        let (hash, format) = plain(key).ok()?;
        let asked = Asked::read(query);
        let side_px = asked.side_px();
        let kept = self.settings.sizes.iter().copied().find(|kept| *kept >= side_px);
        let kept = kept.or(self.settings.sizes.last().copied())?;
        let kept = if planted(Mutant::SizesMultiply) { side_px } else { kept };
        let then = self.then(&hash, asked.fallback, format, kept);
        let own = (self.settings.own_pictures && !asked.force).then(|| format!("own/{hash}"));
        let forever = asked.edition.is_some() && asked.edition == self.settings.edition.as_deref();
        Some(Plan { own, then, side_px, format, forever })
    }

    fn then(&self, hash: &AvatarHash, word: Option<&str>, format: Format, side_px: u32) -> Then {
        if let Some(url) = word.and_then(|word| self.redirect(word)) {
            return Then::Redirect(url);
        }
        let subject = match word.and_then(Fallback::parse).unwrap_or(self.settings.fallback) {
            Fallback::Absent => return Then::Absent,
            Fallback::Generated => Subject::Avatar(hash.clone()),
            Fallback::Monster => Subject::Monster(hash.clone()),
            Fallback::Emblem(emblem) => {
                Subject::Emblem(emblem, emblem.depends_on_hash().then(|| hash.clone()))
            }
        };
        Then::Object { key: AvatarKey { subject, side_px: Some(side_px), format }.canonical(), side_px }
    }

    /// `text` as a URL that may be redirected to. It is never fetched: there is nothing here that could be made to ask
    /// other machines.
    fn redirect(&self, text: &str) -> Option<String> {
        if text.len() > REDIRECT_BYTES_MAX {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let is_web = matches!(url.scheme(), "http" | "https");
        // A user before the host is how one host is made to look like another.
        if !is_web || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let listed = self.settings.redirect_hosts.iter().any(|listed| {
            *listed == host || planted(Mutant::RedirectHostIsASuffix) && host.ends_with(listed.as_str())
        });
        listed.then(|| url.into())
    }
}

/// What a query asks for.
#[derive(Default)]
struct Asked<'q> {
    side: Option<&'q str>,
    fallback: Option<&'q str>,
    force: bool,
    edition: Option<&'q str>,
}

impl<'q> Asked<'q> {
    /// The first of each name counts, and the short name before the long one.
    fn read(query: impl Iterator<Item = (&'q str, &'q str)>) -> Self {
        let (mut asked, mut long) = (Self::default(), Self::default());
        let mut force = (None, None);
        for (name, value) in query {
            let place = match name {
                "s" => &mut asked.side,
                "size" => &mut long.side,
                "d" => &mut asked.fallback,
                "default" => &mut long.fallback,
                "f" => &mut force.0,
                "forcedefault" => &mut force.1,
                "v" => &mut asked.edition,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        let force = force.0.or(force.1).is_some_and(|value| value.eq_ignore_ascii_case("y"));
        Self { side: asked.side.or(long.side), fallback: asked.fallback.or(long.fallback), force, ..asked }
    }

    fn side_px(&self) -> u32 {
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some(text) = self.side.filter(digits) else { return SIDE_DEFAULT_PX };
        // What is too long for a number is certainly too large.
        match text.parse().unwrap_or(u32::MAX) {
            0 => SIDE_DEFAULT_PX,
            side => side.min(SIDE_MAX_PX),
        }
    }
}

#[cfg(test)]
mod tests;

//! Declared image models.

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use crate::settings::secret::Secret;
use crate::settings::section::{Section, parse_url};

/// An image model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelSettings {
    /// Draws in this process.
    Painter,
    /// Asks txt2img servers.
    Txt2img(Txt2imgSettings),
    /// Runs Stable Diffusion in this process; only in a build with the feature `candle`.
    Candle(CandleSettings),
}

/// Where the weights of Stable Diffusion are, and how much it may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CandleSettings {
    /// A folder in diffusers' layout.
    pub(crate) weights: PathBuf,
    /// Jobs at a time.
    pub(crate) concurrency: u32,
    /// Jobs that may wait.
    pub(crate) queue: u32,
}

/// Where txt2img servers are and how much they may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Txt2imgSettings {
    /// The servers, at least one.
    pub(crate) urls: Vec<Url>,
    /// The checkpoint to ask for; none: whichever is loaded.
    pub(crate) checkpoint: Option<String>,
    /// Whether a picture that takes long is asked of an idle server as well.
    pub(crate) hedge: bool,
    /// User and password for HTTP Basic.
    pub(crate) basic: Option<(String, Secret)>,
    /// Jobs in flight per server.
    pub(crate) concurrency: u32,
    /// Jobs that may wait.
    pub(crate) queue: u32,
}

/// Reads all models.
pub(super) fn read_all(root: &Section<'_>) -> BTreeMap<String, ModelSettings> {
    let models = root.named("model");
    models.into_iter().filter_map(|(name, section)| Some((name, read(&section)?))).collect()
}

fn read(section: &Section<'_>) -> Option<ModelSettings> {
    section.required("kind")?;
    match section.word("kind")?.as_str() {
        "painter" => {
            refuse(section, "the painter", TXT2IMG_ONLY, "txt2img");
            refuse(section, "the painter", &["weights"], "candle");
            Some(ModelSettings::Painter)
        }
        "txt2img" => {
            refuse(section, "a txt2img server", &["weights"], "candle");
            read_txt2img(section).map(ModelSettings::Txt2img)
        }
        "candle" => {
            refuse(section, "candle", TXT2IMG_ONLY, "txt2img");
            read_candle(section).map(ModelSettings::Candle)
        }
        _ => None,
    }
}

/// Keys that only a txt2img server has.
const TXT2IMG_ONLY: &[&str] = &["url", "user", "password", "password-file", "checkpoint", "hedge"];

/// Keys that belong to another kind.
fn refuse(section: &Section<'_>, what: &str, names: &[&'static str], kind: &str) {
    for name in names.iter().filter(|name| section.is_set(name)) {
        let message = format!("{}: {what} has no {name:?}", section.path);
        section.problem(name, message, format!("take it out, or write kind = {kind:?}"));
    }
}

fn read_candle(section: &Section<'_>) -> Option<CandleSettings> {
    if cfg!(not(feature = "candle")) {
        let message = format!("{}.kind = \"candle\" is not in this build", section.path);
        section.problem("kind", message, NO_CANDLE_MEND);
        return None;
    }
    let weights = section.path("weights");
    if weights.is_none() {
        let mend = "write weights = \"/srv/models/stable-diffusion-v1-5\", for example";
        section.problem("weights", format!("{} needs \"weights\"", section.path), mend);
    }
    let (concurrency, queue) = (section.count("concurrency")?, section.count("queue")?);
    Some(CandleSettings { weights: weights?, concurrency, queue })
}

/// What to do where the feature is missing.
pub(crate) const NO_CANDLE_MEND: &str =
    "build with --features candle, or run a txt2img server and use kind = \"txt2img\"";

fn read_txt2img(section: &Section<'_>) -> Option<Txt2imgSettings> {
    let texts = section.texts("url");
    let urls: Vec<Url> = texts
        .iter()
        .filter_map(|text| {
            parse_url(text)
                .map_err(|wrong| section.problem("url", format!("{}.url: {wrong}", section.path), URL_MEND))
                .ok()
        })
        .collect();
    if texts.is_empty() {
        section.problem("url", format!("{} needs \"url\"", section.path), URL_MEND);
    }
    if let Some(twice) = urls.iter().enumerate().find(|(at, url)| urls[..*at].contains(url)) {
        let message = format!("{}.url: {} is named twice", section.path, twice.1);
        section.problem("url", message, "name each server once: `concurrency` is of each server");
    }
    let (user, password) = (section.text("user"), section.secret("password", "password-file"));
    let has_password = section.is_set("password") || section.is_set("password-file");
    if user.is_some() != has_password {
        section.problem(
            "user",
            format!("{}: HTTP Basic needs a user and a password", section.path),
            "set both \"user\" and \"password-file\", or neither",
        );
    }
    if urls.is_empty() {
        return None;
    }
    Some(Txt2imgSettings {
        urls,
        checkpoint: section.text("checkpoint"),
        hedge: section.switch("hedge")?,
        basic: user.zip(password),
        concurrency: section.count("concurrency")?,
        queue: section.count("queue")?,
    })
}

const URL_MEND: &str = "write url = [\"http://127.0.0.1:7860\"], for example";

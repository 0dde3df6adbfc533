//! Declared image models.

use std::collections::BTreeMap;

use url::Url;

use crate::settings::secret::Secret;
use crate::settings::section::{Section, parse_url};

/// An image model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelSettings {
    /// Draws in this process.
    Painter,
    /// Asks a txt2img server.
    Txt2img(Txt2imgSettings),
}

/// Where a txt2img server is and how much it may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Txt2imgSettings {
    /// The server.
    pub(crate) url: Url,
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
            for name in ["url", "user", "password", "password-file"] {
                if section.is_set(name) {
                    let message = format!("{}: the painter has no {name:?}", section.path);
                    section.problem(name, message, "take it out, or write kind = \"txt2img\"");
                }
            }
            Some(ModelSettings::Painter)
        }
        "txt2img" => read_txt2img(section).map(ModelSettings::Txt2img),
        // `candle` is refused by the schema before it gets here.
        _ => None,
    }
}

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
    if texts.len() > 1 {
        let message =
            format!("{}.url: a pool of several servers is understood, but not offered yet", section.path);
        section.problem("url", message, "name one server, or put a proxy in front of several");
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
    Some(Txt2imgSettings {
        url: urls.into_iter().next()?,
        basic: user.zip(password),
        concurrency: section.count("concurrency")?,
        queue: section.count("queue")?,
    })
}

const URL_MEND: &str = "write url = [\"http://127.0.0.1:7860\"], for example";

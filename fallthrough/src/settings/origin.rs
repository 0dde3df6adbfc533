//! Declared origins.

use std::collections::BTreeMap;
use std::ffi::OsString;

use fallthrough_bucket::ShadowCredentials;
use fallthrough_diffusion::painter::Cast;
use fallthrough_object::Addressing;
use url::Url;

use crate::settings::credentials;
use crate::settings::model::ModelSettings;
use crate::settings::s3_place;
use crate::settings::section::Section;

/// An origin that buckets fall through to by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginSettings {
    /// What it is.
    pub(crate) kind: OriginKind,
    /// Fills in flight per client.
    pub(crate) per_client: Option<u32>,
    /// Fills in flight.
    pub(crate) max_in_flight: Option<u32>,
}

/// What an origin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginKind {
    /// The avatar origin in this process, drawing with this model; the painter if none is named.
    Avatar {
        /// A name among the declared models.
        model: Option<String>,
        /// What the painter draws.
        style: Cast,
    },
    /// A server that answers GET with the key appended to its URL.
    Http {
        /// Its base.
        url: Url,
    },
    /// A bucket at an S3 provider.
    S3 {
        /// Scheme, host and port.
        endpoint: Url,
        /// The bucket there.
        name: String,
        /// Region to sign for.
        region: String,
        /// How the bucket is named in URLs.
        addressing: Addressing,
        /// What to sign with.
        credentials: Option<ShadowCredentials>,
        /// A program that makes objects from keys, not a provider: its 400 means that a key can never exist.
        program: bool,
    },
}

impl OriginKind {
    /// Which objects it has, as far as its declaration says: another text is another origin. Without secrets.
    pub(crate) fn identity(&self) -> String {
        match self {
            // Another model is another edition, which is part of what a copy is known by.
            Self::Avatar { style: Cast::Portrait, .. } => "avatar".to_owned(),
            Self::Avatar { style: Cast::Critter, .. } => "avatar critter".to_owned(),
            Self::Http { url } => format!("http {url}"),
            Self::S3 { endpoint, name, program, .. } => {
                format!("{} {endpoint} {name}", if *program { "program" } else { "s3" })
            }
        }
    }
}

/// Reads all origins.
pub(super) fn read_all(
    root: &Section<'_>,
    models: &BTreeMap<String, ModelSettings>,
    environment: &[(OsString, OsString)],
) -> BTreeMap<String, OriginSettings> {
    let origins = root.named("origin").into_iter();
    origins.filter_map(|(name, section)| Some((name, read(&section, models, environment)?))).collect()
}

fn read(
    section: &Section<'_>,
    models: &BTreeMap<String, ModelSettings>,
    environment: &[(OsString, OsString)],
) -> Option<OriginSettings> {
    section.required("kind")?;
    let kind = section.word("kind")?;
    let taken: &[&str] = match kind.as_str() {
        "avatar" => &["model", "style", "url", "name", "region", "credentials"],
        "http" => &["url"],
        _ => &["provider", "endpoint", "name", "region", "addressing", "credentials"],
    };
    for name in
        ["model", "style", "url", "provider", "endpoint", "name", "region", "addressing", "credentials"]
    {
        if section.is_set(name) && !taken.contains(&name) {
            let message = format!("{}: kind {kind:?} takes no {name:?}", section.path);
            section.problem(name, message, format!("take it out; this kind takes {}", taken.join(", ")));
        }
    }
    let credentials = || credentials::read(section, environment);
    let kind = match kind.as_str() {
        "avatar" if section.is_set("url") => {
            if section.is_set("model") {
                let message = format!("{}: \"url\" and \"model\" exclude each other", section.path);
                section.problem("model", message, "the avatar origin at that address knows its model itself");
            }
            if section.is_set("style") {
                let message = format!("{}: \"url\" and \"style\" exclude each other", section.path);
                section.problem("style", message, "start the avatar origin at that address with --style");
            }
            OriginKind::S3 {
                endpoint: section.url("url")?,
                name: section.text("name").unwrap_or_else(|| "avatar".to_owned()),
                region: section.text("region").unwrap_or_else(|| "us-east-1".to_owned()),
                addressing: Addressing::Path,
                credentials: credentials()?,
                program: true,
            }
        }
        "avatar" => {
            let (model, style) = (known_model(section, models)?, Cast::parse(&section.word("style")?)?);
            let draws = |name: &String| models.get(name) == Some(&ModelSettings::Painter);
            if style != Cast::default() && model.as_ref().is_some_and(|name| !draws(name)) {
                let message = format!("{}.style: only the painter has styles", section.path);
                section.problem("style", message, "take style or model out");
            }
            OriginKind::Avatar { model, style }
        }
        "http" => {
            section.required("url")?;
            OriginKind::Http { url: section.url("url")? }
        }
        _ => {
            let name = section.required("name");
            let place = s3_place::read(section, name.as_deref().unwrap_or_default());
            let (name, place) = (name?, place?);
            OriginKind::S3 {
                endpoint: Url::parse(&place.endpoint).ok()?,
                name,
                region: place.region,
                addressing: place.addressing,
                credentials: credentials()?,
                program: false,
            }
        }
    };
    Some(OriginSettings {
        kind,
        per_client: section.count("per-client"),
        max_in_flight: section.count("max-in-flight"),
    })
}

/// The model's name if it is declared; a problem and `None` if it is not.
fn known_model(section: &Section<'_>, models: &BTreeMap<String, ModelSettings>) -> Option<Option<String>> {
    let Some(model) = section.text("model") else { return Some(None) };
    if models.contains_key(&model) {
        return Some(Some(model));
    }
    let names: Vec<&str> = models.keys().map(String::as_str).collect();
    let near = super::unknown::nearest(&model, &names);
    let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    section.problem(
        "model",
        format!("{}.model: there is no [model.{model}]{hint}", section.path),
        "declare it, or take the line out to draw with the painter",
    );
    None
}

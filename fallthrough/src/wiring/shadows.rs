//! Makes shadow clients for rules: the one place that knows the declared origins.

use std::collections::BTreeMap;
use std::sync::Arc;

use fallthrough_avatar::{AvatarOrigin, AvatarSettings};
use fallthrough_bucket::{OriginKind, OriginTraits, ShadowFactory, ShadowRefused, ShadowRule, ShadowTarget};
use fallthrough_diffusion::ImageModel;
use fallthrough_object::BucketName;
use fallthrough_shadow::{S3Settings, Shadow};

use crate::failure::Failure;
use crate::settings::{self, OriginSettings, Settings};
use crate::wiring::clients::{Clients, s3_settings};
use crate::wiring::in_process::InProcess;
use crate::wiring::model;

/// Where a rule leads, once names are resolved.
pub(crate) enum Destination<'a> {
    /// A bucket at an S3 provider.
    S3(S3Settings),
    /// A program that speaks S3 and makes objects from keys.
    Program(S3Settings),
    /// An HTTP server.
    Http {
        /// Its base URL.
        url: &'a str,
    },
    /// An avatar origin in this process.
    Avatar {
        /// The declared origin's name.
        name: &'a str,
        /// What draws.
        model: Arc<dyn ImageModel>,
        /// The rule's edition, which is told in the objects' metadata.
        edition: Option<&'a str>,
    },
}

/// The shadows of one server.
pub(crate) struct Shadows {
    origins: BTreeMap<String, OriginSettings>,
    models: BTreeMap<String, Arc<dyn ImageModel>>,
    painter: Arc<dyn ImageModel>,
    /// Clients for what is beyond this process.
    pub(crate) clients: Clients,
}

impl std::fmt::Debug for Shadows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadows")
            .field("origins", &self.origins.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Shadows {
    /// Shadows for the declared origins, over `clients`. A model is shared by the origins that name it, so
    /// that its bound on jobs holds for all of them.
    ///
    /// # Errors
    /// A model's address is none.
    pub(crate) fn new(settings: &Settings, clients: Clients) -> Result<Self, Failure> {
        let models =
            settings.models.iter().map(|(name, declared)| Ok((name.clone(), model::engine(name, declared)?)));
        Ok(Self {
            origins: settings.origins.clone(),
            models: models.collect::<Result<_, Failure>>()?,
            painter: model::engine("painter", &settings::ModelSettings::Painter)?,
            clients,
        })
    }

    /// Where `rule` leads.
    ///
    /// # Errors
    /// It names an origin that is not declared.
    pub(crate) fn destination<'a>(&'a self, rule: &'a ShadowRule) -> Result<Destination<'a>, ShadowRefused> {
        match &rule.target {
            ShadowTarget::S3 { endpoint, name, region, credentials } => {
                s3_settings(endpoint, name, region, credentials.as_ref()).map(Destination::S3)
            }
            ShadowTarget::Http { url } => Ok(Destination::Http { url }),
            ShadowTarget::Origin { origin } => {
                let (name, declared) = self.origins.get_key_value(origin).ok_or_else(|| {
                    ShadowRefused(format!(
                        "there is no origin {origin:?}: declare [origin.{origin}] in the configuration"
                    ))
                })?;
                Ok(match &declared.kind {
                    settings::OriginKind::S3 { endpoint, name, region, credentials, program } => {
                        let settings = s3_settings(plain(endpoint), name, region, credentials.as_ref())?;
                        if *program { Destination::Program(settings) } else { Destination::S3(settings) }
                    }
                    settings::OriginKind::Http { url } => Destination::Http { url: url.as_str() },
                    settings::OriginKind::Avatar { model } => Destination::Avatar {
                        name,
                        model: Arc::clone(
                            model.as_ref().and_then(|model| self.models.get(model)).unwrap_or(&self.painter),
                        ),
                        edition: rule.edition.as_deref(),
                    },
                })
            }
        }
    }
}

/// The URL without the slash that a parsed one ends with.
fn plain(url: &url::Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl ShadowFactory for Shadows {
    fn traits(&self, rule: &ShadowRule) -> OriginTraits {
        let ShadowTarget::Origin { origin } = &rule.target else { return OriginTraits::of(rule) };
        let Some(declared) = self.origins.get(origin) else { return OriginTraits::of(rule) };
        let kind = match declared.kind {
            settings::OriginKind::S3 { program: false, .. } => OriginKind::Provider,
            settings::OriginKind::Http { .. } => OriginKind::Http,
            settings::OriginKind::S3 { program: true, .. } | settings::OriginKind::Avatar { .. } => {
                OriginKind::Program
            }
        };
        OriginTraits { kind, per_client: declared.per_client, max_in_flight: declared.max_in_flight }
    }

    fn shadow(&self, _bucket: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        match self.destination(rule)? {
            Destination::S3(settings) | Destination::Program(settings) => self.clients.s3(settings),
            Destination::Http { url } => self.clients.http(url),
            Destination::Avatar { name, model, edition } => {
                let mut settings = AvatarSettings::default();
                if let Some(edition) = edition {
                    edition.clone_into(&mut settings.edition);
                }
                Ok(Arc::new(InProcess::new(name, AvatarOrigin::new(model, settings))))
            }
        }
    }
}

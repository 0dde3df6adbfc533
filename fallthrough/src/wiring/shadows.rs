//! Makes shadow clients for rules: the one place that knows the declared origins, which may be declared anew while
//! the server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use fallthrough_avatar::{AvatarOrigin, AvatarSettings};
use fallthrough_bucket::{OriginKind, OriginTraits, ShadowFactory, ShadowRefused, ShadowRule, ShadowTarget};
use fallthrough_diffusion::painter::Cast;
use fallthrough_diffusion::{ImageModel, QueueView};
use fallthrough_object::BucketName;
use fallthrough_shadow::{S3Settings, Shadow};

use crate::failure::Failure;
use crate::settings::{self, ModelSettings, OriginSettings, Settings};
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
        /// It draws any size as well as another.
        any_size: bool,
        /// The rule's edition, which is told in the objects' metadata.
        edition: Option<&'a str>,
    },
}

/// The shadows of one server. What is declared can be replaced as a whole.
#[derive(Debug)]
pub(crate) struct Shadows(RwLock<Arc<DeclaredOrigins>>);

impl Shadows {
    /// Beginning with these.
    pub(crate) fn new(declared: DeclaredOrigins) -> Self {
        Self(RwLock::new(Arc::new(declared)))
    }

    /// What is declared now.
    pub(crate) fn now(&self) -> Arc<DeclaredOrigins> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on shadows are made of these. Those that were made stay as they are.
    pub(crate) fn replace(&self, declared: DeclaredOrigins) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(declared);
    }
}

impl ShadowFactory for Shadows {
    fn traits(&self, rule: &ShadowRule) -> OriginTraits {
        self.now().traits(rule)
    }

    fn shadow(&self, bucket: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        self.now().shadow(bucket, rule)
    }
}

/// Origins and models as they are declared at one time.
pub(crate) struct DeclaredOrigins {
    origins: BTreeMap<String, OriginSettings>,
    models: BTreeMap<String, (ModelSettings, Arc<dyn ImageModel>)>,
    painter: Arc<dyn ImageModel>,
    critters: Arc<dyn ImageModel>,
    /// Clients for what is beyond this process.
    pub(crate) clients: Clients,
}

impl std::fmt::Debug for DeclaredOrigins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeclaredOrigins")
            .field("origins", &self.origins.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl DeclaredOrigins {
    /// What `settings` declare, over `clients`. A model is shared by the origins that name it, so that its bound
    /// on jobs holds for all of them.
    ///
    /// # Errors
    /// A model cannot be used: its address is none, or its weights cannot be read.
    ///
    /// # Cancellation
    /// As of [`model::engine`].
    pub(crate) async fn new(settings: &Settings, clients: Clients) -> Result<Self, Failure> {
        let (painter, critters) = (model::painter(Cast::Portrait), model::painter(Cast::Critter));
        let nothing = Self { origins: BTreeMap::new(), models: BTreeMap::new(), painter, critters, clients };
        nothing.renewed(settings).await
    }

    /// What `settings` declare in place of this; models that are declared as before stay the same, with the jobs
    /// that they have.
    ///
    /// # Errors
    /// As [`DeclaredOrigins::new`].
    pub(crate) async fn renewed(&self, settings: &Settings) -> Result<Self, Failure> {
        let mut models = BTreeMap::new();
        for (name, declared) in &settings.models {
            let engine = match self.models.get(name) {
                Some((before, running)) if before == declared => Arc::clone(running),
                Some(_) | None => model::engine(name, declared).await?,
            };
            models.insert(name.clone(), (declared.clone(), engine));
        }
        let (painter, critters) = (Arc::clone(&self.painter), Arc::clone(&self.critters));
        Ok(Self {
            origins: settings.origins.clone(),
            models,
            painter,
            critters,
            clients: self.clients.clone(),
        })
    }

    /// The queues of the declared models that have one, by name.
    pub(crate) fn queues(&self) -> Vec<(String, QueueView)> {
        let queue = |(name, (_, engine)): (&String, &(ModelSettings, Arc<dyn ImageModel>))| {
            Some((name.clone(), engine.queue()?))
        };
        self.models.iter().filter_map(queue).collect()
    }

    /// Origins that are not what they were in `before`, or draw with another model.
    pub(crate) fn changed_since(&self, before: &Self) -> BTreeSet<String> {
        let names = self.origins.keys().chain(before.origins.keys());
        names.filter(|name| self.declaration(name) != before.declaration(name)).cloned().collect()
    }

    fn declaration(&self, name: &str) -> Option<(&OriginSettings, Option<&ModelSettings>)> {
        let origin = self.origins.get(name)?;
        let model = match &origin.kind {
            settings::OriginKind::Avatar { model, .. } => model.as_ref(),
            settings::OriginKind::Http { .. } | settings::OriginKind::S3 { .. } => None,
        };
        Some((origin, model.and_then(|model| self.models.get(model)).map(|(declared, _)| declared)))
    }

    /// Where `rule` leads.
    ///
    /// # Errors
    /// It names an origin that is not declared.
    pub(crate) fn destination<'a>(&'a self, rule: &'a ShadowRule) -> Result<Destination<'a>, ShadowRefused> {
        match &rule.target {
            ShadowTarget::S3 { endpoint, name, region, addressing, credentials } => {
                s3_settings(endpoint, name, region, *addressing, credentials.as_ref()).map(Destination::S3)
            }
            ShadowTarget::Http { url } => Ok(Destination::Http { url }),
            ShadowTarget::Origin { origin } => {
                let (name, declared) = self.origins.get_key_value(origin).ok_or_else(|| {
                    ShadowRefused(format!(
                        "there is no origin {origin:?}: declare [origin.{origin}] in the configuration"
                    ))
                })?;
                Ok(match &declared.kind {
                    settings::OriginKind::S3 { endpoint, name, region, addressing, credentials, program } => {
                        let credentials = credentials.as_ref();
                        let settings = s3_settings(plain(endpoint), name, region, *addressing, credentials)?;
                        if *program { Destination::Program(settings) } else { Destination::S3(settings) }
                    }
                    settings::OriginKind::Http { url } => Destination::Http { url: url.as_str() },
                    settings::OriginKind::Avatar { model, style } => {
                        let named = model.as_ref().and_then(|model| self.models.get(model));
                        // A painter under a name draws what the origin says, as the one without a name does.
                        let named = named
                            .filter(|(kind, _)| *kind != ModelSettings::Painter || *style == Cast::Portrait);
                        let drawn = match style {
                            Cast::Portrait => &self.painter,
                            Cast::Critter => &self.critters,
                        };
                        Destination::Avatar {
                            name,
                            model: Arc::clone(named.map_or(drawn, |(_, engine)| engine)),
                            any_size: named.is_none_or(|(kind, _)| *kind == ModelSettings::Painter),
                            edition: rule.edition.as_deref(),
                        }
                    }
                })
            }
        }
    }
}

/// The URL without the slash that a parsed one ends with.
fn plain(url: &url::Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl ShadowFactory for DeclaredOrigins {
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
        let keys = match declared.kind {
            settings::OriginKind::Avatar { .. } => Some(fallthrough_avatar::KEYS),
            settings::OriginKind::S3 { .. } | settings::OriginKind::Http { .. } => None,
        };
        OriginTraits { kind, per_client: declared.per_client, max_in_flight: declared.max_in_flight, keys }
    }

    fn shadow(&self, _bucket: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        match self.destination(rule)? {
            Destination::S3(settings) | Destination::Program(settings) => self.clients.s3(settings),
            Destination::Http { url } => self.clients.http(url),
            Destination::Avatar { name, model, any_size, edition } => {
                let mut settings = AvatarSettings { any_size, ..AvatarSettings::default() };
                if let Some(edition) = edition {
                    edition.clone_into(&mut settings.edition);
                }
                Ok(Arc::new(InProcess::new(name, AvatarOrigin::new(model, settings))))
            }
        }
    }
}

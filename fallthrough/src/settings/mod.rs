//! What an operator may change: plain data, read and checked once at start.
//!
//! Sources lie over each other: flags > environment > file > presets > defaults ([`Layers`]). All names are
//! in [`schema`]. Every problem is reported with its place and what to do; nothing is ignored silently.

mod account;
mod bucket;
mod credentials;
mod front;
mod layers;
mod model;
mod origin;
mod problem;
mod quantity;
pub(crate) mod reference;
mod route;
mod s3_place;
mod schema;
mod secret;
mod section;
mod show;
mod tree;
mod unknown;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fallthrough_object::{BucketName, Rate};
use fallthrough_store::{Sealing, SealingKey};

pub(crate) use account::AccountSettings;
pub(crate) use bucket::BucketDeclaration;
pub(crate) use credentials::of_profile as credentials_of_profile;
pub(crate) use front::AvatarFront;
pub(crate) use layers::{Layers, near_misses, warn_of_near_misses};
#[cfg(not(feature = "candle"))]
pub(crate) use model::NO_CANDLE_MEND;
pub(crate) use model::{CandleSettings, ModelSettings, Txt2imgSettings};
pub(crate) use origin::{OriginKind, OriginSettings};
pub(crate) use problem::{Drawn, Problems};
pub(crate) use quantity::{parse_duration, parse_size, show_size};
pub(crate) use route::RouteSettings;
pub(crate) use secret::Secret;
pub(crate) use section::parse_url;

use section::Section;

/// All settings of a process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The file they were read from, if one was.
    pub(crate) file: Option<PathBuf>,
    /// `[s3]`
    pub(crate) s3: S3Settings,
    /// `[admin]`
    pub(crate) admin: AdminSettings,
    /// `[store]`
    pub(crate) store: StoreSettings,
    /// `[fill]`
    pub(crate) fill: FillSettings,
    /// `[network]`: loopback and private addresses may be origins.
    pub(crate) allow_private_origins: bool,
    /// `[process]`: how long work in progress may go on at the end.
    pub(crate) grace: Duration,
    /// `[process]`: what is logged.
    pub(crate) log: String,
    /// `[[account]]` in order; the first is root.
    pub(crate) accounts: Vec<AccountSettings>,
    /// `[model.NAME]`
    pub(crate) models: BTreeMap<String, ModelSettings>,
    /// `[origin.NAME]`
    pub(crate) origins: BTreeMap<String, OriginSettings>,
    /// `[[route]]` in order.
    pub(crate) routes: Vec<RouteSettings>,
    /// `[bucket.NAME]`
    pub(crate) buckets: BTreeMap<BucketName, BucketDeclaration>,
    /// `[bucket.NAME.front]`
    pub(crate) fronts: BTreeMap<BucketName, AvatarFront>,
}

/// The listener of S3 clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Settings {
    /// Address and port; 0 picks one.
    pub(crate) listen: SocketAddr,
    /// Names for virtual-host style.
    pub(crate) domains: Vec<String>,
    /// Names for websites.
    pub(crate) website_domains: Vec<String>,
    /// The region that buckets are said to be in.
    pub(crate) region: String,
    /// The only region that requests may be signed for.
    pub(crate) signing_region: Option<String>,
    /// Whether presigned URLs of signature version 2 are accepted.
    pub(crate) presigned_v2: bool,
    /// Connections open at once.
    pub(crate) max_connections: u32,
    /// Files of certificate and key, for TLS.
    pub(crate) tls: Option<TlsSettings>,
}

/// Where the S3 listener's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The chain.
    pub(crate) cert: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminSettings {
    /// Address and port; 0 picks one.
    pub(crate) listen: SocketAddr,
    /// The bearer token, if one was given.
    pub(crate) token: Option<Secret>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSettings {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// What secrets in it are encrypted with.
    pub(crate) sealing: Sealing,
    /// Free space below which nothing new is kept, in bytes; 0: no such limit.
    pub(crate) low_space_bytes: u64,
    /// The most that copies may hold, in bytes; `None`: no such limit.
    pub(crate) cache_limit_bytes: Option<u64>,
    /// The most that blocks of cold ranges may hold, in bytes; 0: none are kept.
    pub(crate) blocks_limit_bytes: u64,
    /// Bytes that may be fetched in a minute to make objects whole of which half is here in blocks.
    pub(crate) promote_bytes_per_minute: u64,
    /// Bytes per second that the scrubber reads; 0: only when it is told to, as fast as the disk.
    pub(crate) scrub_bytes_per_second: u64,
    /// From the start of one pass of the scrubber to the next.
    pub(crate) scrub_every: Duration,
}

/// Fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FillSettings {
    /// Longest wait of a client for its first byte.
    pub(crate) client_wait: Duration,
    /// Longest silence of an origin.
    pub(crate) stall: Duration,
    /// Requests in flight per origin.
    pub(crate) max_in_flight: u32,
    /// Fills waiting per origin.
    pub(crate) queue: u32,
    /// Requests in flight per client and origin.
    pub(crate) per_client: u32,
    /// Requests per origin in a stretch of time.
    pub(crate) budget: Option<Rate>,
    /// Of those, the ones of one client.
    pub(crate) client_budget: Option<Rate>,
    /// How long "not found" is believed.
    pub(crate) negative_ttl: Duration,
}

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// [`Problems`]: all that is wrong, each with its place and what to do.
    pub(crate) fn load(layers: &Layers) -> Result<Self, Problems> {
        let (tree, mut problems, file) = layers.merge();
        unknown::check(&tree, schema::ROOT, "", &mut problems);
        let problems = RefCell::new(problems);
        let settings = Self::read(&Section::root(&tree, schema::ROOT, &problems), file, layers);
        match (settings, problems.into_inner()) {
            (Some(settings), problems) if problems.is_empty() => Ok(settings),
            (_, problems) => {
                assert!(!problems.is_empty(), "settings that cannot be read have a problem");
                Err(Problems(problems))
            }
        }
    }

    /// `None` only if a problem was noted. Every section is read before giving up, so that all problems show.
    fn read(root: &Section<'_>, file: Option<PathBuf>, layers: &Layers) -> Option<Self> {
        let (s3, admin, store) = (root.section("s3"), root.section("admin"), root.section("store"));
        let (fill, network, process) =
            (root.section("fill"), root.section("network"), root.section("process"));
        let s3 = S3Settings::read(&s3);
        let admin = AdminSettings::read(&admin);
        let store = StoreSettings::read(&store);
        let fill = FillSettings::read(&fill);
        let accounts = account::read_all(root);
        let models = model::read_all(root);
        let origins = origin::read_all(root, &models, &layers.environment);
        let buckets = bucket::read_all(root, &origins, &layers.environment);
        let fronts = front::read_all(root, &buckets);
        let routes = route::read_all(root, s3.as_ref());
        let allow_private_origins = network.switch("allow-private-origins");
        let (grace, log) = (process.duration("grace"), process.text("log"));
        Some(Self {
            file,
            s3: s3?,
            admin: admin?,
            store: store?,
            fill: fill?,
            allow_private_origins: allow_private_origins?,
            grace: grace?,
            log: log?,
            accounts,
            models,
            origins,
            routes,
            buckets,
            fronts,
        })
    }
}

impl S3Settings {
    fn read(section: &Section<'_>) -> Option<Self> {
        let listen = section.address("listen");
        let (domains, website_domains) = (domains(section, "domains"), domains(section, "website-domains"));
        let tls = section.section("tls");
        let tls = if section.is_set("tls") {
            let (cert, key) = (tls.required("cert"), tls.required("key"));
            let (cert, key) = (cert.and_then(|_| tls.path("cert")), key.and_then(|_| tls.path("key")));
            Some(TlsSettings { cert: cert?, key: key? })
        } else {
            None
        };
        let (region, signing_region) = (region(section, "region"), region(section, "signing-region"));
        let presigned_v2 = section.switch("presigned-v2")?;
        let max_connections = section.count("max-connections")?;
        let (listen, region) = (listen?, region?);
        Some(Self {
            listen,
            domains,
            website_domains,
            region,
            signing_region,
            presigned_v2,
            max_connections,
            tls,
        })
    }
}

/// Names of domains.
fn domains(section: &Section<'_>, name: &'static str) -> Vec<String> {
    let domains = section.texts(name);
    for domain in &domains {
        if !is_domain(domain) {
            section.problem(
                name,
                format!("s3.{name}: {domain:?} is not a domain name"),
                "write names such as \"s3.example.com\", without a scheme, a port or a star",
            );
        }
    }
    domains
}

/// Whether this is the name of a host, without scheme and port.
fn is_domain(name: &str) -> bool {
    let sound =
        |label: &str| !label.is_empty() && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    !name.is_empty() && name.split('.').all(sound)
}

/// The name of a region, if one is given.
fn region(section: &Section<'_>, name: &'static str) -> Option<String> {
    let region = section.text(name)?;
    let sound = (1..=64).contains(&region.len())
        && region.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if !sound {
        section.problem(
            name,
            format!("s3.{name}: {region:?} is not the name of a region"),
            "write a name such as \"eu-west-1\", of letters, digits and hyphens",
        );
    }
    Some(region)
}

impl AdminSettings {
    fn read(section: &Section<'_>) -> Option<Self> {
        let (listen, token) = (section.address("listen"), section.secret("token", "token-file"));
        if let Some(token) = &token
            && (token.reveal().len() < 16 || !token.reveal().bytes().all(|c| c.is_ascii_graphic()))
        {
            section.problem(
                if section.is_set("token") { "token" } else { "token-file" },
                "the admin token must be at least 16 visible ASCII characters",
                "make one with `openssl rand -hex 32`, or leave it out and one is made for you",
            );
        }
        Some(Self { listen: listen?, token })
    }
}

impl StoreSettings {
    fn read(section: &Section<'_>) -> Option<Self> {
        let (data, low_space_bytes) = (section.path("data"), section.size("low-space-stop-fills"));
        if data.is_none() {
            section.problem("data", "store.data: it may not be empty", "name a folder");
        }
        let sealing_key = |name, file_name| {
            let text = section.secret(name, file_name)?;
            let made = SealingKey::of_text(text.reveal());
            made.map_err(|wrong| {
                let name = if section.is_set(name) { name } else { file_name };
                let mend = "make one with `openssl rand -hex 32`";
                section.problem(name, format!("{}: {wrong}", section.path_of(name)), mend);
            })
            .ok()
        };
        let sealing = Sealing {
            current: sealing_key("sealing-key", "sealing-key-file"),
            old: sealing_key("old-sealing-key", "old-sealing-key-file"),
        };
        let blocks_limit_bytes = section.size("blocks-limit");
        let promote_bytes_per_minute = section.size("promote-per-minute");
        let (scrub_rate, scrub_every) = (section.size("scrub-rate"), section.duration("scrub-every"));
        Some(Self {
            data: data?,
            sealing,
            low_space_bytes: low_space_bytes?,
            cache_limit_bytes: section.size("cache-limit"),
            blocks_limit_bytes: blocks_limit_bytes?,
            promote_bytes_per_minute: promote_bytes_per_minute?,
            scrub_bytes_per_second: scrub_rate?,
            scrub_every: scrub_every?,
        })
    }
}

impl FillSettings {
    fn read(section: &Section<'_>) -> Option<Self> {
        for name in ["client-wait", "stall"] {
            if section.duration(name) == Some(Duration::ZERO) {
                section.problem(
                    name,
                    format!("fill.{name}: it must be more than 0"),
                    "write \"10s\", for example",
                );
            }
        }
        Some(Self {
            client_wait: section.duration("client-wait")?,
            stall: section.duration("stall")?,
            max_in_flight: section.count("max-in-flight")?,
            queue: section.count("queue")?,
            per_client: section.count("per-client")?,
            budget: section.rate("budget"),
            client_budget: section.rate("client-budget"),
            negative_ttl: section.duration("negative-ttl")?,
        })
    }
}

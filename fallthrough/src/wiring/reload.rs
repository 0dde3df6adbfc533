//! Reading the configuration again while the server runs: all of what is new holds afterwards, or nothing of it.
//!
//! Accounts, models, origins, routes, managed buckets and the log filter are taken over. Everything else is read at a start
//! alone: if something of that has changed, nothing is taken, and it is said what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use async_trait::async_trait;
use fallthrough_bucket::Engine;
use fallthrough_gateway::admin::{ConfigReload, Declarations, Declared, ReloadRefused};
use fallthrough_gateway::{Gateway, Route};
use fallthrough_object::{Clock, Entropy};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::settings::{AccountSettings, Layers, RouteSettings, Settings};
use crate::wiring::logging::{self, LogFilter};
use crate::wiring::shadows::Shadows;
use crate::wiring::{declared, front, root};

/// Where the configuration is read again from, and what is told what to log.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The layers that the settings were made of.
    pub(crate) layers: Layers,
    /// The filter of the log.
    pub(crate) log: LogFilter,
}

/// Takes the configuration over. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Reloader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: this server's configuration was made for the run.
    sources: Option<Sources>,
    /// One reload at a time.
    running: Mutex<Running>,
    parts: Parts,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Running {
    /// What holds now.
    settings: Settings,
    /// Origins that were declared anew by a reload that failed before all their buckets were told.
    untold: BTreeSet<String>,
}

/// What a reload needs of a running server.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) gateway: Gateway,
    pub(crate) shadows: Arc<Shadows>,
    pub(crate) declarations: Declarations,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The routes as the gateway has them.
pub(crate) fn routes(settings: &Settings) -> Vec<Route> {
    let route = |route: &RouteSettings| Route {
        host: route.host.clone(),
        path: route.path.clone(),
        bucket: route.bucket.clone(),
        prefix: route.prefix.clone(),
        clean_urls: route.clean_urls,
    };
    settings.routes.iter().map(route).collect()
}

/// What the admin API has to know of the declarations.
pub(crate) fn declarations(settings: &Settings, root: &AccountSettings) -> Declared {
    let accounts = accounts_of(settings, root);
    Declared {
        fixed_keys: accounts.iter().map(|account| account.access_key.clone()).collect(),
        buckets: settings.buckets.keys().cloned().collect(),
        root_account: root.id.clone(),
        accounts: accounts.iter().map(|account| account.id.clone()).collect(),
    }
}

/// The declared accounts, or the root account that was made.
fn accounts_of<'a>(settings: &'a Settings, root: &'a AccountSettings) -> &'a [AccountSettings] {
    if settings.accounts.is_empty() { std::slice::from_ref(root) } else { &settings.accounts }
}

/// Brings the store in line with what is declared, whose shadows can be made already.
///
/// # Errors
/// A bucket's declaration cannot work; the store or the data folder fails. What came before it is done then.
pub(crate) async fn take_over(
    parts: &Parts,
    settings: &Settings,
    root: &AccountSettings,
    changed_origins: &BTreeSet<String>,
) -> Result<(), Failure> {
    let forget = |id: &str| parts.gateway.forget_key(id);
    let (engine, data) = (&parts.engine, &settings.store.data);
    declared::accounts(engine, data, accounts_of(settings, root), &*parts.clock, &forget).await?;
    declared::heirs(engine, settings, root, &forget).await?;
    declared::origins(engine, settings, changed_origins).await?;
    declared::buckets(engine, settings, &root.id).await
}

impl Reloader {
    /// Begins with what `running` says.
    pub(crate) fn new(sources: Option<Sources>, running: Settings, parts: Parts) -> Self {
        let running = Mutex::new(Running { settings: running, untold: BTreeSet::new() });
        let inner = Inner { sources, running, parts, tasks: TaskTracker::new() };
        Self(Arc::new(inner))
    }

    /// Reads the configuration and takes it over; what changed, a line each. Goes on if the future is dropped.
    ///
    /// # Errors
    /// What is wrong with it: then nothing changed. The store or the data folder fails: then some of it may have,
    /// which the message says, and another reload or a start does the rest.
    pub(crate) async fn reload(&self) -> Result<Vec<String>, Failure> {
        let inner = Arc::clone(&self.0);
        let done = self.0.tasks.spawn(async move { inner.reload().await }).await;
        let done = done.unwrap_or_else(|error| {
            Err(Failure::new(
                format!("the reload broke off: {error}"),
                "look at the log, and restart the server",
            ))
        });
        match &done {
            Ok(changed) if changed.is_empty() => tracing::info!("the configuration says what it said before"),
            Ok(changed) => changed.iter().for_each(|line| tracing::info!("configuration: {line}")),
            Err(failure) => {
                let told = told(failure);
                tracing::error!("the configuration was not taken: {}; {}", told.message, told.mend);
            }
        }
        done
    }

    /// Lets a reload that is under way end.
    pub(crate) async fn shutdown(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    async fn reload(&self) -> Result<Vec<String>, Failure> {
        let Some(sources) = &self.sources else {
            return Err(Failure::new(
                "this server's configuration was made for the run",
                "stop it and start it with other flags",
            ));
        };
        let mut running = self.running.lock().await;
        let settings = Settings::load(&sources.layers)?;
        let fixed = fixed_changes(&running.settings, &settings);
        if !fixed.is_empty() {
            return Err(Failure::new(
                format!("only a start reads {}", fixed.join(", ")),
                "restart the server, or set it back and reload; nothing was changed",
            ));
        }
        logging::parse(&settings.log)?;
        let parts = &self.parts;
        let before = parts.shadows.now();
        let now = before.renewed(&settings).await?;
        declared::check_buckets(&now, &settings)?;
        let root = root::load_or_make(&settings, &*parts.entropy)?.account;

        let changed = changes(&running.settings, &settings);
        running.untold.extend(now.changed_since(&before));
        parts.shadows.replace(now);
        parts.declarations.replace(declarations(&settings, &root));
        let taken = take_over(parts, &settings, &root, &running.untold).await;
        taken.map_err(|failure| Failure {
            message: format!("a part of it was taken over, then: {}", failure.message),
            mend: format!("{}, and reload again", failure.mend),
            ..failure
        })?;
        parts.gateway.set_routes(&routes(&settings));
        parts.gateway.set_fronts(front::fronts(&settings));
        sources.log.set(&settings.log)?;
        *running = Running { settings, untold: BTreeSet::new() };
        Ok(changed)
    }
}

#[async_trait]
impl ConfigReload for Reloader {
    async fn reload(&self) -> Result<Vec<String>, ReloadRefused> {
        Self::reload(self).await.map_err(|failure| told(&failure))
    }
}

/// A failure in one text, each problem of the settings with its place.
fn told(failure: &Failure) -> ReloadRefused {
    let message = match &failure.problems {
        Some(problems) => {
            let lines: Vec<String> =
                problems.0.iter().map(|problem| format!("{problem} ({})", problem.mend)).collect();
            lines.join("; ")
        }
        None => failure.message.clone(),
    };
    ReloadRefused { message, mend: failure.mend.clone() }
}

/// Settings that differ and that only a start reads.
fn fixed_changes(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let differs = [
        ("[s3]", before.s3 != after.s3),
        ("[admin]", before.admin != after.admin),
        ("[store]", before.store != after.store),
        ("[fill]", before.fill != after.fill),
        ("[network]", before.allow_private_origins != after.allow_private_origins),
        ("process.grace", before.grace != after.grace),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What a reload changes, a line each.
fn changes(before: &Settings, after: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    let keys = |accounts: &[AccountSettings]| -> BTreeMap<String, AccountSettings> {
        accounts.iter().map(|account| (account.access_key.clone(), account.clone())).collect()
    };
    compare("access key", &keys(&before.accounts), &keys(&after.accounts), &mut lines);
    compare("model", &before.models, &after.models, &mut lines);
    compare("origin", &before.origins, &after.origins, &mut lines);
    compare("bucket", &before.buckets, &after.buckets, &mut lines);
    compare("the front of bucket", &before.fronts, &after.fronts, &mut lines);
    let routes = |settings: &Settings| -> BTreeMap<String, RouteSettings> {
        settings.routes.iter().map(|route| (route.address(), route.clone())).collect()
    };
    compare("route", &routes(before), &routes(after), &mut lines);
    if before.log != after.log {
        lines.push(format!("process.log is {}", after.log));
    }
    lines
}

fn compare<K: Ord + Display, V: PartialEq>(
    what: &str,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    lines: &mut Vec<String>,
) {
    for (name, value) in after {
        match before.get(name) {
            None => lines.push(format!("{what} {name} is declared")),
            Some(before) if before != value => lines.push(format!("{what} {name} is declared anew")),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(name)) {
        lines.push(format!("{what} {name} is no longer declared"));
    }
}

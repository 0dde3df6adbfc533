//! Trying an origin before its settings are saved: one line per step, each with what to do if it failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Clock, Key, Timestamp};
use fallthrough_wire::date;
use http::header::DATE;
use serde::Serialize;

use crate::answer::{RawAnswer, ShadowError};
use crate::client::Outbound;
use crate::endpoint::{Endpoint, SettingsError};
use crate::http_shadow::{HttpSettings, HttpShadow};
use crate::network::{CheckedResolver, ResolveError};
use crate::outcome::{Asked, Dialect, Outcome};
use crate::request::{ListQuery, Request, Shadow};
use crate::s3_shadow::{S3Settings, S3Shadow};

/// Longest wait for a step that needs an answer.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// S3 providers refuse signatures from further away than 15 minutes; a third of it is worth a warning.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// The origin to try.
#[derive(Clone, Debug)]
pub enum Probed {
    /// A bucket at an S3 provider.
    S3(S3Settings),
    /// An HTTP server or a compute origin.
    Http(HttpSettings),
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeResult {
    /// As it should be.
    Ok,
    /// Not as it should be; see the mend.
    Failed,
    /// Not tried: it does not apply, or a step before it failed.
    Skipped,
}

/// One step of a probe. Texts hold no address and no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeLine {
    /// `settings`, `dns`, `tcp`, `tls`, `auth`, `get`, `list` or `clock`.
    pub name: &'static str,
    /// How it went.
    pub result: ProbeResult,
    /// What was seen, in words.
    pub saw: String,
    /// What to do, if it failed.
    pub mend: Option<String>,
}

impl ProbeLine {
    fn ok(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, result: ProbeResult::Ok, saw: saw.into(), mend: None }
    }

    fn skipped(name: &'static str, saw: impl Into<String>) -> Self {
        Self { name, result: ProbeResult::Skipped, saw: saw.into(), mend: None }
    }

    fn failed(name: &'static str, saw: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, result: ProbeResult::Failed, saw: saw.into(), mend: Some(mend.into()) }
    }
}

/// The steps in the order in which they are tried and told.
const STEPS: [&str; 8] = ["settings", "dns", "tcp", "tls", "auth", "get", "list", "clock"];

/// Tries the origin: name, connection, TLS, credentials, GET of a key that surely does not exist, LIST, clock.
///
/// Always gives all steps, in that order; those after a failed one that they depend on are skipped. Writes
/// nothing at the origin. Takes at most about 40 s; dropping the future ends it.
pub async fn probe(
    probed: &Probed,
    absent_on_403: bool,
    outbound: &Outbound,
    clock: &Arc<dyn Clock>,
) -> Vec<ProbeLine> {
    let mut lines = Vec::with_capacity(STEPS.len());
    // Stops at the first step that the later ones need.
    let _ = steps(&mut lines, probed, absent_on_403, outbound, clock).await;
    for name in STEPS {
        if !lines.iter().any(|line: &ProbeLine| line.name == name) {
            lines.push(ProbeLine::skipped(name, "a step before it failed"));
        }
    }
    lines
}

/// A step failed on which all later ones depend.
struct Stop;

async fn steps(
    lines: &mut Vec<ProbeLine>,
    probed: &Probed,
    absent_on_403: bool,
    outbound: &Outbound,
    clock: &Arc<dyn Clock>,
) -> Result<(), Stop> {
    let (shadow, endpoint, signed, dialect) = match open(probed, absent_on_403, outbound, clock) {
        Ok(opened) => opened,
        Err(error) => {
            lines.push(ProbeLine::failed("settings", error.to_string(), "correct the shadow's settings"));
            return Err(Stop);
        }
    };
    lines.push(ProbeLine::ok("settings", if signed { "with credentials" } else { "without credentials" }));
    let addresses = resolve(lines, &endpoint, outbound).await?;
    connect(lines, &addresses).await?;

    let now = clock.now();
    let key = Key::parse(&format!("fallthrough-probe-{:016x}", now.0)).map_err(|_| Stop)?;
    let answer = match shadow.fetch(Request::get(key, STEP_TIMEOUT)).await {
        Ok(answer) => answer,
        Err(error) => {
            let name = if endpoint.is_tls() { "tls" } else { "get" };
            lines.push(ProbeLine::failed(name, error.to_string(), "check scheme, port and certificate"));
            return Err(Stop);
        }
    };
    lines.push(if endpoint.is_tls() {
        ProbeLine::ok("tls", "handshake done, certificate trusted")
    } else {
        ProbeLine::skipped("tls", "plain http")
    });
    let skew = skew(&answer, clock.now(), signed && matches!(dialect, Dialect::S3 { .. }));
    let status = answer.status.as_u16();
    let asked = Asked { range: false, part: false, tagging: false, conditional: false, head: false };
    let outcome = Outcome::of(answer, asked, dialect, now).await;
    let refused = matches!(outcome, Outcome::Misconfigured { .. });
    read_answer(lines, status, outcome, dialect, signed);
    if refused {
        lines.push(ProbeLine::skipped("list", "access was refused before"));
    } else {
        lines.push(list(shadow.as_ref()).await);
    }
    lines.push(skew);
    Ok(())
}

type Opened = (Box<dyn Shadow>, Endpoint, bool, Dialect);

fn open(
    probed: &Probed,
    absent_on_403: bool,
    outbound: &Outbound,
    clock: &Arc<dyn Clock>,
) -> Result<Opened, SettingsError> {
    Ok(match probed {
        Probed::S3(settings) => {
            let signed = settings.credentials.is_some();
            let shadow = S3Shadow::new(settings.clone(), outbound, Arc::clone(clock))?;
            let endpoint = shadow.endpoint().clone();
            (Box::new(shadow), endpoint, signed, Dialect::S3 { absent_on_403 })
        }
        Probed::Http(settings) => {
            let shadow = HttpShadow::new(settings, outbound)?;
            let endpoint = shadow.endpoint().clone();
            (Box::new(shadow), endpoint, settings.bearer.is_some(), Dialect::Http { absent_on_403 })
        }
    })
}

async fn resolve(
    lines: &mut Vec<ProbeLine>,
    endpoint: &Endpoint,
    outbound: &Outbound,
) -> Result<Vec<SocketAddr>, Stop> {
    if let Some(address) = endpoint.literal() {
        lines.push(ProbeLine::skipped("dns", "an address, not a name"));
        return Ok(vec![SocketAddr::new(address, endpoint.port())]);
    }
    match (CheckedResolver { policy: outbound.policy() }).resolve(endpoint.host()).await {
        Ok(addresses) => {
            let n = addresses.len();
            lines.push(ProbeLine::ok("dns", format!("{n} address{}", if n == 1 { "" } else { "es" })));
            Ok(addresses.iter().map(|a| SocketAddr::new(a.ip(), endpoint.port())).collect())
        }
        Err(error) => {
            let mend = match &error {
                ResolveError::NoSuchName => "check the endpoint's host name, and this machine's resolver",
                ResolveError::Timeout => "check this machine's resolver",
                ResolveError::Forbidden(_) => "use another endpoint, or change the network policy",
            };
            lines.push(ProbeLine::failed("dns", error.to_string(), mend));
            Err(Stop)
        }
    }
}

async fn connect(lines: &mut Vec<ProbeLine>, addresses: &[SocketAddr]) -> Result<(), Stop> {
    let connected = tokio::time::timeout(STEP_TIMEOUT, tokio::net::TcpStream::connect(addresses)).await;
    let (saw, mend) = match connected {
        Ok(Ok(_)) => {
            lines.push(ProbeLine::ok("tcp", "connected"));
            return Ok(());
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            ("the connection was refused", "check the port, and that the origin runs")
        }
        Ok(Err(_)) => ("no connection", "check the network between here and the origin"),
        Err(_) => ("no connection in time", "check the network and firewalls between here and the origin"),
    };
    lines.push(ProbeLine::failed("tcp", saw, mend));
    Err(Stop)
}

/// Reads the answer to GET of a key that does not exist: is access granted, and is absence told as such?
fn read_answer(lines: &mut Vec<ProbeLine>, status: u16, outcome: Outcome, dialect: Dialect, signed: bool) {
    let granted = if signed { "credentials accepted" } else { "asked anonymously" };
    let saw = format!("status {status} for a key that does not exist");
    let (auth, get) = match outcome {
        Outcome::Misconfigured { mend } => {
            (ProbeLine::failed("auth", format!("status {status}"), mend), ProbeLine::skipped("get", saw))
        }
        Outcome::Absent { .. } | Outcome::AbsentUnproven { .. } => {
            (ProbeLine::ok("auth", granted), ProbeLine::ok("get", saw))
        }
        Outcome::Invalid => (
            ProbeLine::ok("auth", granted),
            ProbeLine::ok("get", format!("{saw}: it takes only keys of a form")),
        ),
        Outcome::Found(_) if matches!(dialect, Dialect::Http { .. }) => {
            (ProbeLine::ok("auth", granted), ProbeLine::ok("get", format!("{saw}: it answers any key")))
        }
        Outcome::Busy { .. } | Outcome::Failing { .. } => (
            ProbeLine::skipped("auth", "not told"),
            ProbeLine::failed("get", saw, "the origin is busy or failing: try again later"),
        ),
        Outcome::Found(_)
        | Outcome::NotModified { .. }
        | Outcome::Changed
        | Outcome::RangeNotSatisfiable { .. }
        | Outcome::Archived
        | Outcome::Unacceptable { .. }
        | Outcome::NotOffered => (
            ProbeLine::skipped("auth", "not told"),
            ProbeLine::failed("get", saw, "404 is expected: check that the endpoint is the origin itself"),
        ),
    };
    lines.extend([auth, get]);
}

async fn list(shadow: &dyn Shadow) -> ProbeLine {
    let query = ListQuery { max_keys: 1, timeout: STEP_TIMEOUT, ..ListQuery::default() };
    match shadow.list(query).await {
        Ok(page) if page.objects.is_empty() && page.prefixes.is_empty() => {
            ProbeLine::ok("list", "an empty list")
        }
        Ok(_) => ProbeLine::ok("list", "a list with keys"),
        Err(ShadowError::NoList) => ProbeLine::skipped("list", "this kind of origin has none"),
        Err(error) => ProbeLine::failed(
            "list",
            error.to_string(),
            "allow ListBucket to these credentials, or set list = \"local\"; without it missing keys are often \
             answered 403",
        ),
    }
}

fn skew(answer: &RawAnswer, now: Timestamp, matters: bool) -> ProbeLine {
    let told = answer.headers.get(DATE).and_then(|v| v.to_str().ok()).and_then(date::parse_http);
    let Some(told) = told else { return ProbeLine::skipped("clock", "the origin tells no date") };
    let apart = now.since(told).max(told.since(now));
    let saw = format!("{} s apart", apart.as_secs());
    if apart > SKEW_MAX && matters {
        ProbeLine::failed(
            "clock",
            saw,
            "set this machine's clock right: signatures are refused beyond 15 minutes",
        )
    } else {
        ProbeLine::ok("clock", saw)
    }
}

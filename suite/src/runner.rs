//! Runs cases, some at a time, and reports them in the order of the tables.

use fallthrough_object::{Entropy, OsEntropy};
use fallthrough_wire::xml::tree::Element;
use futures::StreamExt;

use crate::accounts::Account;
use crate::call::call;
use crate::case::Case;
use crate::expect::document;
use crate::ground::{Ground, Mode};
use crate::report::{Failure, Outcome, Report, Result};
use crate::scene::Scene;
use crate::variables::Variables;

/// Which cases are run, and how.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Names of groups; all if empty.
    pub groups: Vec<String>,
    /// Only cases whose `group/name` holds this.
    pub text: Option<String>,
    /// Where the objects are; a case that makes no sense so is left out.
    pub modes: Vec<Mode>,
    /// Cases at a time, at least one.
    pub at_once: usize,
}

impl Selection {
    /// The cases that are meant.
    pub fn of(&self, cases: Vec<Case>) -> Vec<Case> {
        let meant = |case: &Case| {
            (self.groups.is_empty() || self.groups.iter().any(|group| group == case.group))
                && self.text.as_ref().is_none_or(|text| case.id().contains(text))
        };
        cases.into_iter().filter(meant).collect()
    }
}

/// Runs the cases that are selected.
///
/// # Errors
/// The server does not answer, or not as one that these accounts may use.
pub async fn run(ground: &Ground, selection: &Selection, cases: Vec<Case>) -> Result<Report> {
    let mut common = Variables::new(ground.clock.now());
    common.set("port", ground.endpoint.port().to_string());
    common.set("endpoint", ground.endpoint.authority());
    common.set("access-key", ground.account.access_key());
    common.set("secret-key", ground.account.secret());
    common.set("region", ground.account.region());
    let (id, name) = owner(ground, &ground.account, &common).await?;
    common.set("owner", id);
    common.set("owner-name", name);
    if let Some(second) = &ground.second {
        let (id, name) = owner(ground, second, &common).await?;
        common.set("second", id);
        common.set("second-name", name);
    }
    let run = run_name();
    let cases = selection.of(cases);
    let jobs: Vec<(usize, &Case, Mode)> = selection
        .modes
        .iter()
        .flat_map(|mode| cases.iter().map(move |case| (case, *mode)))
        .filter(|(case, mode)| case.modes.contain(*mode))
        .enumerate()
        .map(|(index, (case, mode))| (index, case, mode))
        .collect();
    let rows = futures::stream::iter(jobs)
        .map(|(index, case, mode)| {
            let mut variables = common.clone();
            variables.set("run", run.clone());
            variables.set("pages", format!("suite-{run}-{index}-"));
            for name in ["bucket", "other", "third"] {
                variables.set(name, format!("suite-{run}-{index}-{name}"));
            }
            async move {
                let outcome = outcome(ground, case, mode, variables).await;
                (format!("{}{}", case.id(), mode.suffix()), outcome)
            }
        })
        .buffered(selection.at_once.max(1))
        .collect()
        .await;
    Ok(Report { rows })
}

async fn outcome(ground: &Ground, case: &Case, mode: Mode, mut variables: Variables) -> Outcome {
    if case.needs_second() && ground.second.is_none() {
        return Outcome::Skipped("it needs a second account");
    }
    if mode != Mode::Plain && ground.cold.is_none() {
        return Outcome::Skipped("nothing was given to put objects behind a bucket");
    }
    // Signatures and dates are of the moment, however long the others took.
    variables.set_now(ground.clock.now());
    match (Scene { ground, mode, variables }).run(case).await {
        Ok(()) => Outcome::Passed,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// Canonical id and name of the account, as its list of buckets tells them.
async fn owner(ground: &Ground, account: &Account, variables: &Variables) -> Result<(String, String)> {
    let reply = ground.ask(&call("GET", "/"), account, variables).await?;
    if reply.status != 200 {
        let why =
            format!("{} cannot list its buckets: {} {}", account.access_key(), reply.status, reply.code());
        return Err(Failure(why));
    }
    let document = document(&reply)?;
    let owner = document.children_named("Owner").next();
    let text =
        |name: &str| owner.and_then(|owner: &Element| owner.child_text(name)).unwrap_or_default().to_owned();
    Ok((text("ID"), text("DisplayName")))
}

/// Drawn for each run, so that its buckets are not those of another.
fn run_name() -> String {
    let mut bytes = [0; 4];
    OsEntropy.fill(&mut bytes);
    crate::body::hex(&bytes)
}

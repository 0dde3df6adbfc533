//! Tries shadows before they are saved.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_bucket::{ShadowFactory, ShadowRule, Treat403As};
use fallthrough_gateway::admin::{ProbeLine, ProbeReport, ShadowProber};
use fallthrough_object::{BucketName, Key};
use fallthrough_shadow::{ProbeResult, Probed, Request, ShadowError};

use crate::wiring::clients::http_settings;
use crate::wiring::shadows::{Destination, Shadows};

/// Longest wait for one answer of a probe.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Probes over the same shadows that fills use.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) shadows: Arc<Shadows>,
}

#[async_trait]
impl ShadowProber for Prober {
    async fn probe(&self, bucket: &BucketName, rule: &ShadowRule) -> ProbeReport {
        if rule.members.is_empty() {
            return self.probe_place(bucket, rule).await;
        }
        let mut all = ProbeReport { ok: true, lines: Vec::new() };
        for (number, place) in rule.each_place().enumerate() {
            let report = self.probe_place(bucket, &place).await;
            all.ok &= report.ok;
            all.lines.extend(
                report
                    .lines
                    .into_iter()
                    .map(|line| ProbeLine { check: format!("#{number} {}", line.check), ..line }),
            );
        }
        all
    }
}

const SETTINGS_MEND: &str = "check the rule; `fallthrough config show` lists the declared origins";

impl Prober {
    /// Tries the one place that `rule` leads to.
    async fn probe_place(&self, bucket: &BucketName, rule: &ShadowRule) -> ProbeReport {
        let declared = self.shadows.now();
        let destination = match declared.destination(rule) {
            Ok(destination) => destination,
            Err(refused) => {
                return ProbeReport { ok: false, lines: vec![failed("settings", &refused.0, SETTINGS_MEND)] };
            }
        };
        match destination {
            Destination::Avatar { .. } | Destination::Program(_) => self.ask_once(bucket, rule).await,
            Destination::S3(settings) => self.step_by_step(&Probed::S3(settings), rule).await,
            Destination::Http { url } => self.step_by_step(&Probed::Http(http_settings(url)), rule).await,
        }
    }

    async fn step_by_step(&self, probed: &Probed, rule: &ShadowRule) -> ProbeReport {
        let absent_on_403 = rule.treat_403_as == Treat403As::Absent;
        let lines = self.shadows.now().clients.probe(probed, absent_on_403).await;
        ProbeReport {
            ok: lines.iter().all(|line| line.result != ProbeResult::Failed),
            lines: lines
                .into_iter()
                .filter(|line| line.result != ProbeResult::Skipped)
                .map(|line| ProbeLine {
                    check: line.name.to_owned(),
                    ok: line.result == ProbeResult::Ok,
                    detail: line.saw,
                    mend: line.mend,
                })
                .collect(),
        }
    }

    /// A program answers any status to a key that it does not know, but it answers: one GET says all.
    async fn ask_once(&self, bucket: &BucketName, rule: &ShadowRule) -> ProbeReport {
        let line = match self.shadows.shadow(bucket, rule) {
            Err(refused) => failed("settings", &refused.0, SETTINGS_MEND),
            Ok(shadow) => {
                let key = Key::parse("fallthrough-probe").expect("a short text is a key");
                match shadow.fetch(Request::get(key, TIMEOUT)).await {
                    // Whether this key can exist does not matter: a 4xx of the origin is an answer.
                    Ok(answer) if !answer.status.is_server_error() => ProbeLine {
                        check: "get".to_owned(),
                        ok: true,
                        detail: "the origin answers".to_owned(),
                        mend: None,
                    },
                    Ok(answer) => failed(
                        "get",
                        &format!("the origin answers {}", answer.status),
                        "look at the model it draws with",
                    ),
                    Err(error) => failed("get", &error.to_string(), mend_of(&error)),
                }
            }
        };
        ProbeReport { ok: line.ok, lines: vec![line] }
    }
}

fn failed(check: &str, detail: &str, mend: &str) -> ProbeLine {
    ProbeLine { check: check.to_owned(), ok: false, detail: detail.to_owned(), mend: Some(mend.to_owned()) }
}

fn mend_of(error: &ShadowError) -> &'static str {
    match error {
        ShadowError::Unreachable { .. } => "check the address, and that the server runs",
        ShadowError::Timeout => "check that the server is not overloaded",
        ShadowError::Malformed { .. } => {
            "check that it is the right server: what answers there is something else"
        }
        ShadowError::Unframed => "let the origin send a Content-Length, or chunks",
        ShadowError::Forbidden { .. } => "allow it in [network], if it is meant",
        ShadowError::Loop => "let the stores not lead to each other",
        ShadowError::NoList => "set list = \"local\"",
        ShadowError::ReadOnly => "turn write-through off",
        ShadowError::ListRefused { .. } => "give the credentials the right to list",
    }
}

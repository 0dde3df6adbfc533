//! Trying a shadow before it is saved: the seam to whoever can make shadow clients.

use async_trait::async_trait;
use fallthrough_bucket::ShadowRule;
use fallthrough_object::BucketName;
use serde::{Deserialize, Serialize};

/// Tries shadows. The binary implements it, which alone knows the declared origins.
///
/// Called concurrently; each call ends within a time of its own, for a probe asks strangers.
#[async_trait]
pub trait ShadowProber: Send + Sync + 'static {
    /// Tries what `rule` leads to: the name, the connection, the credentials, a GET, a LIST. Never fails as a
    /// call: what does not work is a line of the report.
    async fn probe(&self, bucket: &BucketName, rule: &ShadowRule) -> ProbeReport;
}

/// What a probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Whether every line that must be is right.
    pub ok: bool,
    /// The lines in the order they were tried.
    pub lines: Vec<ProbeLine>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLine {
    /// What, in a word or two.
    pub check: String,
    /// Whether it went well.
    pub ok: bool,
    /// What was seen, without credentials.
    pub detail: String,
    /// What to do, if it went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl ProbeReport {
    /// Several rules' reports as one; lines carry the rule's number if there are several.
    pub(crate) fn join(reports: Vec<Self>) -> Self {
        let several = reports.len() > 1;
        let ok = reports.iter().all(|report| report.ok);
        let lines = reports.into_iter().enumerate().flat_map(|(number, report)| {
            report.lines.into_iter().map(move |mut line| {
                if several {
                    line.check = format!("rule {number}: {}", line.check);
                }
                line
            })
        });
        Self { ok, lines: lines.collect() }
    }
}

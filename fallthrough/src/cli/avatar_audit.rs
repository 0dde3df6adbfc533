//! `fallthrough avatar audit`: whether what is drawn today is what is kept.
//!
//! A sample of a bucket's avatars is read over S3 and drawn anew by an origin in this process; nothing is written, and
//! nothing is filled, since only what is listed is read. What is kept stays the truth: drift says that another edition
//! is due before pictures are mixed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fallthrough_avatar::{AvatarKey, AvatarOrigin, AvatarSettings, Drift, compare};
use fallthrough_bucket::ShadowCredentials;
use fallthrough_diffusion::painter::Cast;
use fallthrough_object::{Addressing, Clock, Entropy, Key, OsEntropy, SystemClock};
use fallthrough_shadow::{ListQuery, Request, Shadow};
use futures::StreamExt;
use serde::Serialize;

use crate::cli::avatar::{QUEUE, side};
use crate::cli::engine_flags::{EngineFlags, secret_from};
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::ModelSettings;
use crate::wiring::clients::{Clients, s3_settings};
use crate::wiring::in_process::InProcess;
use crate::wiring::model;

/// Objects of a page of the list.
const PAGE: usize = 1000;
/// Largest picture that is compared, in bytes.
const PICTURE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Where the secret may be found, if no file is named.
const SECRET_VARIABLE: &str = "FALLTHROUGH_AUDIT_SECRET_KEY";

/// What `avatar audit` can be told.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Where the bucket is: http://host:port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9900")]
    endpoint: String,
    /// The bucket of avatars
    #[arg(long, default_value = "avatar")]
    bucket: String,
    /// An access key that may list and read it
    #[arg(long, value_name = "ID")]
    access_key: String,
    /// A file with its secret; else FALLTHROUGH_AUDIT_SECRET_KEY
    #[arg(long, value_name = "PATH")]
    secret_key_file: Option<PathBuf>,
    /// How many avatars are drawn anew, chosen at random
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: u32,
    /// The size that the origin draws, as it was started with
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = side)]
    size: u32,
    /// What the painter draws
    #[arg(long, value_name = "STYLE", default_value = "portrait", value_parser = ["portrait", "critter"], conflicts_with = "engine")]
    style: String,
    #[command(flatten)]
    engine: EngineFlags,
}

/// What became of one avatar.
#[derive(Debug, Serialize)]
struct Finding {
    key: String,
    #[serde(flatten)]
    outcome: Outcome,
    /// Who made what is kept, by its metadata.
    kept_by: String,
    /// Who made it anew.
    made_by: String,
    /// The edition that is kept.
    edition: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Compared(Drift),
    /// It could not be compared.
    Failed {
        verdict: &'static str,
        reason: String,
    },
}

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    /// Avatars in the bucket that were chosen from.
    avatars: u64,
    findings: Vec<Finding>,
    /// How many findings have each verdict.
    verdicts: BTreeMap<&'static str, usize>,
}

/// One side of a comparison.
struct Picture {
    bytes: Vec<u8>,
    model: String,
    edition: String,
}

/// Audits, and prints what was found.
///
/// # Errors
/// The bucket cannot be listed, the model cannot be had; something has drifted, or could not be compared.
pub(super) async fn run(args: AuditArgs, globals: &Globals) -> Result<(), Failure> {
    let bucket = bucket(&args)?;
    let origin = origin(&args).await?;
    let (avatars, sample) = sample(&*bucket, args.sample as usize, &OsEntropy).await?;
    if sample.is_empty() {
        return Err(Failure::new(
            format!("there is no avatar in the bucket {}", args.bucket),
            "name a bucket that has filled some, with --bucket",
        )
        .exit(Exit::NotFound));
    }
    let mut report = Report { avatars, findings: Vec::new(), verdicts: BTreeMap::new() };
    for key in sample {
        let finding = audit(&*bucket, &origin, key).await;
        *report.verdicts.entry(finding.outcome.verdict()).or_default() += 1;
        report.findings.push(finding);
    }
    if globals.json {
        output::print_json(&report);
    } else {
        let rows: Vec<Vec<String>> = report.findings.iter().map(Finding::row).collect();
        output::print_rows(&["verdict", "avatar", "how far", "kept, by", "drawn anew by"], &rows);
    }
    let same = report.verdicts.get("none").copied().unwrap_or(0);
    let failed = report.verdicts.get("failed").copied().unwrap_or(0);
    match (report.findings.len() - same - failed, failed) {
        (0, 0) => Ok(()),
        (0, failed) => Err(Failure::new(
            format!("{failed} of {} avatars could not be compared", report.findings.len()),
            "the lines above say why",
        )
        .exit(Exit::PartlyDone)),
        (drifted, _) => Err(Failure::new(
            format!("{drifted} of {} avatars have drifted", report.findings.len()),
            "what is kept goes on being served; give the bucket's rule another edition to have all of them drawn anew",
        )),
    }
}

fn bucket(args: &AuditArgs) -> Result<Arc<dyn Shadow>, Failure> {
    let secret = secret_from(args.secret_key_file.as_deref(), "--secret-key-file", SECRET_VARIABLE)?;
    let secret = secret.ok_or_else(|| {
        Failure::usage(
            "--access-key needs a secret",
            format!("give --secret-key-file or set {SECRET_VARIABLE}"),
        )
    })?;
    let credentials =
        ShadowCredentials { access_key: args.access_key.clone(), secret_key: secret.reveal().to_owned() };
    let endpoint = args.endpoint.trim_end_matches('/');
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let clients = Clients::new(true, &clock)?;
    let settings = s3_settings(endpoint, &args.bucket, "us-east-1", Addressing::Path, Some(&credentials));
    settings.and_then(|settings| clients.s3(settings)).map_err(|refused| {
        Failure::usage(refused.0, "write --endpoint like http://127.0.0.1:9900, and check --bucket")
    })
}

async fn origin(args: &AuditArgs) -> Result<InProcess, Failure> {
    let settings = args.engine.settings(QUEUE)?;
    let any_size = settings == ModelSettings::Painter;
    let model = match &settings {
        ModelSettings::Painter => model::painter(Cast::parse(&args.style).unwrap_or_default()),
        other => model::engine(model::kind(other), other).await?,
    };
    let avatars = AvatarSettings { side_px: args.size, any_size, ..AvatarSettings::default() };
    Ok(InProcess::new("avatar", AvatarOrigin::new(model, avatars)))
}

/// How many avatars the bucket has, and up to `count` of them, each set as likely as any other (algorithm R).
async fn sample(
    bucket: &dyn Shadow,
    count: usize,
    entropy: &dyn Entropy,
) -> Result<(u64, Vec<Key>), Failure> {
    let (mut seen, mut chosen) = (0_u64, Vec::with_capacity(count));
    let mut start_after = String::new();
    loop {
        let query = ListQuery {
            prefix: String::new(),
            start_after,
            delimiter: None,
            max_keys: PAGE,
            timeout: Duration::from_secs(30),
            hops: 0,
            request_id: String::new(),
            trace: None,
        };
        let page = bucket.list(query).await.map_err(|error| {
            Failure::new(
                format!("the bucket cannot be listed: {error}"),
                "check --endpoint and --bucket, and that the access key may list it",
            )
            .exit(Exit::RemoteRefused)
        })?;
        for object in &page.objects {
            // What people have put here themselves is nobody's to draw.
            let (Ok(_), Ok(key)) = (AvatarKey::parse(&object.key), Key::parse(&object.key)) else { continue };
            seen += 1;
            if chosen.len() < count {
                chosen.push(key);
            } else if let Some(place) = chosen.get_mut((entropy.next_u64() % seen) as usize) {
                *place = key;
            }
        }
        match page.objects.last() {
            Some(last) if page.truncated => start_after = last.key.clone(),
            Some(_) | None => return Ok((seen, chosen)),
        }
    }
}

async fn audit(bucket: &dyn Shadow, origin: &InProcess, key: Key) -> Finding {
    let (kept, anew) = (read(bucket, &key).await, read(origin, &key).await);
    let mut finding = Finding {
        key: key.as_str().to_owned(),
        outcome: Outcome::Failed { verdict: "failed", reason: String::new() },
        kept_by: kept.as_ref().map(|picture| picture.model.clone()).unwrap_or_default(),
        made_by: anew.as_ref().map(|picture| picture.model.clone()).unwrap_or_default(),
        edition: kept.as_ref().map(|picture| picture.edition.clone()).unwrap_or_default(),
    };
    let compared = match (kept, anew) {
        (Ok(kept), Ok(anew)) => compare(&kept.bytes, &anew.bytes).map_err(|error| error.to_string()),
        (Err(reason), _) => Err(format!("what is kept: {reason}")),
        (_, Err(reason)) => Err(format!("drawing it anew: {reason}")),
    };
    finding.outcome = match compared {
        Ok(drift) => Outcome::Compared(drift),
        Err(reason) => Outcome::Failed { verdict: "failed", reason },
    };
    finding
}

/// A picture from either side.
async fn read(from: &dyn Shadow, key: &Key) -> Result<Picture, String> {
    let request = Request::get(key.clone(), Duration::from_secs(300));
    let mut answer = from.fetch(request).await.map_err(|error| error.to_string())?;
    if answer.status != http::StatusCode::OK {
        return Err(format!("it is answered with {}", answer.status));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        if bytes.len() > PICTURE_BYTES_MAX {
            return Err("it is too large".to_owned());
        }
    }
    let told = |name: &str| {
        let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    Ok(Picture { bytes, model: told("x-amz-meta-model"), edition: told("x-amz-meta-edition") })
}

impl Outcome {
    fn verdict(&self) -> &'static str {
        match self {
            Self::Compared(Drift::None) => "none",
            Self::Compared(Drift::BytesOnly) => "bytes-only",
            Self::Compared(Drift::Pixels { .. }) => "pixels",
            Self::Compared(Drift::Size { .. }) => "size",
            Self::Failed { verdict, .. } => verdict,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Compared(Drift::None) => "the same file".to_owned(),
            Self::Compared(Drift::BytesOnly) => "the same pixels in other bytes".to_owned(),
            Self::Compared(Drift::Pixels { differing, worst, mean }) => {
                format!("{:.2} % of the pixels, by {worst} at most, {mean:.3} in the mean", differing * 100.0)
            }
            Self::Compared(Drift::Size { kept, anew }) => {
                format!("{}×{} pixels, now {}×{}", kept.0, kept.1, anew.0, anew.1)
            }
            Self::Failed { reason, .. } => reason.clone(),
        }
    }
}

impl Finding {
    fn row(&self) -> Vec<String> {
        vec![
            self.outcome.verdict().to_owned(),
            self.key.clone(),
            self.outcome.words(),
            [&self.kept_by, &self.edition].map(String::as_str).join(", "),
            self.made_by.clone(),
        ]
    }
}

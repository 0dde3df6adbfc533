//! `fallthrough origin test`: whether a program keeps the origin contract.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fallthrough_origin::conformance::{self, Options, Outcome};

use crate::cli::engine_flags::secret_from;
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::parse_duration;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum OriginCommand {
    /// Test whether a program can stand behind a bucket
    Test(Box<TestArgs>),
}

/// What `origin test` can be told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Where it listens: http://host:port, possibly with a path before the bucket
    url: String,
    /// The bucket in the path
    #[arg(long, default_value = "test")]
    bucket: String,
    /// A key that exists
    #[arg(long, default_value = "hello")]
    key: String,
    /// A key that does not exist, but could
    #[arg(long, value_name = "KEY")]
    missing_key: Option<String>,
    /// A key that can never exist
    #[arg(long, value_name = "KEY")]
    impossible_key: Option<String>,
    /// A key with a large object
    #[arg(long, value_name = "KEY")]
    big_key: Option<String>,
    /// A key that the origin is too busy for, or that breaks it
    #[arg(long, value_name = "KEY")]
    failing_key: Option<String>,
    /// The access key to sign with, if it asks for signatures
    #[arg(long, value_name = "ID")]
    access_key: Option<String>,
    /// A file with the secret key; else FALLTHROUGH_ORIGIN_SECRET_KEY
    #[arg(long, value_name = "PATH", requires = "access_key")]
    secret_key_file: Option<PathBuf>,
    /// The region to sign for
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// The longest wait for a complete answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// How many requests are sent at once
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,
}

/// Does what the verb says.
pub(crate) async fn run(command: OriginCommand, globals: &Globals) -> Result<(), Failure> {
    let OriginCommand::Test(args) = command;
    let credentials = match &args.access_key {
        None => None,
        Some(access_key) => {
            let secret = secret_from(
                args.secret_key_file.as_deref(),
                "--secret-key-file",
                "FALLTHROUGH_ORIGIN_SECRET_KEY",
            )?;
            let secret = secret.ok_or_else(|| {
                Failure::usage(
                    "--access-key needs a secret",
                    "give --secret-key-file or set FALLTHROUGH_ORIGIN_SECRET_KEY",
                )
            })?;
            Some((access_key.clone(), secret.reveal().to_owned()))
        }
    };
    let options = Options {
        bucket: args.bucket,
        key: args.key,
        missing_key: args.missing_key,
        impossible_key: args.impossible_key,
        big_key: args.big_key,
        failing_key: args.failing_key,
        credentials,
        region: args.region,
        timeout: args.timeout,
        concurrency: args.concurrency as usize,
        ..Options::default()
    };
    let report = conformance::conformance(&args.url, &options)
        .await
        .map_err(|invalid| Failure::usage(invalid.to_string(), "write it like http://127.0.0.1:8090"))?;
    let word = |outcome: &Outcome| match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    };
    if globals.json {
        output::print_json(&report);
    } else {
        let rows: Vec<Vec<String>> = report
            .checks
            .iter()
            .map(|check| {
                let mend = if check.outcome == Outcome::Failed { check.mend.clone() } else { String::new() };
                vec![word(&check.outcome).to_owned(), check.name.to_owned(), check.seen.clone(), mend]
            })
            .collect();
        output::print_rows(&["outcome", "check", "seen", "mend"], &rows);
    }
    if report.passed() {
        return Ok(());
    }
    Err(Failure::new(
        format!("the origin fails {} checks: {}", report.failed().len(), report.failed().join(", ")),
        "mend what the lines above say; docs/origin-contract.md explains each",
    )
    .exit(Exit::RemoteRefused))
}

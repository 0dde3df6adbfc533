//! `fallthrough shadow`: what a bucket falls through to.

use clap::{Args, Subcommand};
use fallthrough_gateway::admin::{
    OutboxDone, OutboxPage, ProbeReport, ShadowAnswer, ShadowBody, WaitingView,
};
use reqwest::Method;
use serde_json::{Map, Value};

use crate::admin_client::AdminClient;
use crate::cli::bucket::yes_no;
use crate::cli::shadow_flags::ShadowFlags;
use crate::cli::{Globals, admin, output};
use crate::failure::{Exit, Failure};
use crate::settings::show_size;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ShadowCommand {
    /// Change what a bucket falls through to: fields that are not named stay
    Set(Box<SetArgs>),
    /// Show what a bucket falls through to
    Get {
        /// The bucket
        bucket: String,
    },
    /// Try what a bucket falls through to; with flags, as if they were set
    Test(Box<TestArgs>),
    /// Remove the shadow, or one of its rules; what was copied stays, and a bucket without rules becomes plain
    Clear {
        /// The bucket
        bucket: String,
        /// Only this rule, from 0; the rules behind it move up
        #[arg(long, value_name = "NUMBER")]
        rule: Option<usize>,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
        /// Drop what waits for its delivery to the shadow
        #[arg(long)]
        force: bool,
    },
    /// Show what waits for its delivery to the shadow
    Waiting {
        /// The bucket
        bucket: String,
        /// Only what will not be tried again until it is told to
        #[arg(long)]
        dead: bool,
    },
    /// Have what waits tried again now, also what is dead
    Retry(WhichArgs),
    /// Drop what waits: the shadow will not get it; what is here stays
    Drop(WhichArgs),
}

/// Which of the waiting changes.
#[derive(Debug, Args)]
pub(crate) struct WhichArgs {
    /// The bucket
    bucket: String,
    #[command(flatten)]
    which: Which,
    /// Only tell how many
    #[arg(long)]
    dry_run: bool,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The change of this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Those that are dead
    #[arg(long)]
    dead: bool,
    /// All
    #[arg(long)]
    all: bool,
}

/// What `set` can be told.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The bucket
    bucket: String,
    #[command(flatten)]
    flags: ShadowFlags,
    /// The bucket's mode from now on; a plain bucket becomes migrate unless this says otherwise
    #[arg(long, value_parser = ["migrate", "cache", "compute"])]
    mode: Option<String>,
    /// Which rule, from 0; the next free number adds one
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    rule: usize,
    /// Save it without trying it first
    #[arg(long)]
    no_probe: bool,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    /// Drop what waits for its delivery and would go elsewhere
    #[arg(long)]
    force: bool,
}

/// What `test` can be told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The bucket
    bucket: String,
    #[command(flatten)]
    flags: ShadowFlags,
    /// Which rule the flags change, from 0
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    rule: usize,
}

/// Does what the verb says.
pub(crate) async fn run(command: ShadowCommand, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    match command {
        ShadowCommand::Set(args) => set(&client, *args, globals).await,
        ShadowCommand::Get { bucket } => get(&client, &bucket, globals).await,
        ShadowCommand::Test(args) => test(&client, *args, globals).await,
        ShadowCommand::Waiting { bucket, dead } => waiting(&client, &bucket, dead, globals).await,
        ShadowCommand::Retry(args) => settle(&client, &args, Method::POST, "retry", globals).await,
        ShadowCommand::Drop(args) => settle(&client, &args, Method::DELETE, "drop", globals).await,
        ShadowCommand::Clear { bucket, rule, dry_run, force } => {
            let rule = rule.map(|rule| rule.to_string());
            let mut query = vec![("dry_run", yes_no(dry_run)), ("force", yes_no(force))];
            query.extend(rule.as_deref().map(|rule| ("rule", rule)));
            let path = ["buckets", bucket.as_str(), "shadow"];
            let answer: ShadowAnswer = client.call::<(), _>(Method::DELETE, &path, &query, None).await?;
            admin::print_change(&answer, globals.json);
            Ok(())
        }
    }
}

async fn set(client: &AdminClient, args: SetArgs, globals: &Globals) -> Result<(), Failure> {
    let patch = args.flags.patch(globals)?;
    if patch.is_empty() && args.mode.is_none() {
        return Err(Failure::usage(
            "nothing to change was given",
            "name what to change, such as --endpoint and --name; see `fallthrough shadow set --help`",
        ));
    }
    let rule = args.rule.to_string();
    let mut query =
        vec![("rule", rule.as_str()), ("probe", yes_no(!args.no_probe)), ("dry_run", yes_no(args.dry_run))];
    query.push(("force", yes_no(args.force)));
    query.extend(args.mode.as_deref().map(|mode| ("mode", mode)));
    let path = ["buckets", args.bucket.as_str(), "shadow"];
    let answer: ShadowAnswer = client
        .call(Method::PATCH, &path, &query, Some(&patch))
        .await
        .map_err(|refused| admin::refused(refused, globals.json))?;
    admin::print_change(&answer, globals.json);
    Ok(())
}

async fn get(client: &AdminClient, bucket: &str, globals: &Globals) -> Result<(), Failure> {
    let shadow: ShadowBody = client.get(&["buckets", bucket, "shadow"], &[]).await?;
    if globals.json {
        output::print_json(&shadow);
        return Ok(());
    }
    if shadow.rules.is_empty() {
        println!("{bucket} has no shadow");
    }
    for (number, rule) in shadow.rules.iter().enumerate() {
        if shadow.rules.len() > 1 {
            println!("rule {number}");
        }
        let fields = serde_json::to_value(rule).unwrap_or_default();
        let fields: Vec<(&str, String)> = fields
            .as_object()
            .map(|fields| fields.iter().map(|(name, value)| (name.as_str(), admin::plain(value))).collect())
            .unwrap_or_default();
        output::print_fields(&fields);
    }
    if let Some(waiting) = &shadow.waiting {
        output::print_fields(&waiting_fields(waiting));
    }
    Ok(())
}

/// How much waits, for people.
pub(crate) fn waiting_fields(waiting: &WaitingView) -> Vec<(&'static str, String)> {
    let dead = match waiting.dead {
        0 => String::new(),
        dead => output::bad(&format!("{dead}: see `fallthrough shadow waiting --dead`")),
    };
    vec![
        ("pending", format!("{} ({})", waiting.pending, show_size(waiting.bytes))),
        ("dead", dead),
        ("as of", waiting.since.clone().unwrap_or_else(|| "now: the shadow has everything".to_owned())),
    ]
}

async fn waiting(client: &AdminClient, bucket: &str, dead: bool, globals: &Globals) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("dead", yes_no(dead))];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: OutboxPage = client.get(&["buckets", bucket, "outbox"], &query).await?;
        if globals.json {
            output::print_json(&page);
        } else {
            rows.extend(page.changes.into_iter().map(|change| {
                let reason = change.reason.unwrap_or_default();
                let attempts = change.attempts.to_string();
                vec![change.key, change.what, change.state, change.since, attempts, reason]
            }));
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    if !globals.json {
        output::print_rows(&["KEY", "WHAT", "STATE", "SINCE", "TRIED", "REASON"], &rows);
    }
    Ok(())
}

async fn settle(
    client: &AdminClient,
    args: &WhichArgs,
    method: Method,
    verb: &str,
    globals: &Globals,
) -> Result<(), Failure> {
    let mut query = vec![("dry_run", yes_no(args.dry_run))];
    let which = &args.which;
    query.extend(which.key.as_deref().map(|key| ("key", key)));
    if which.key.is_none() {
        query.push(("dead", yes_no(which.dead)));
        query.push(("all", yes_no(which.all)));
    }
    let mut path = vec!["buckets", args.bucket.as_str(), "outbox"];
    if method == Method::POST {
        path.push("retry");
    }
    let done: OutboxDone = client.call::<(), _>(method, &path, &query, None).await?;
    if globals.json {
        output::print_json(&done);
    } else if done.dry_run {
        println!("dry run: {verb} of {} changes", done.changes);
    } else {
        println!("{verb} of {} changes", done.changes);
    }
    Ok(())
}

async fn test(client: &AdminClient, args: TestArgs, globals: &Globals) -> Result<(), Failure> {
    let patch: Map<String, Value> = args.flags.patch(globals)?;
    let rule = args.rule.to_string();
    let path = ["buckets", args.bucket.as_str(), "shadow", "test"];
    let body = (!patch.is_empty()).then_some(&patch);
    let report: ProbeReport = client.call(Method::POST, &path, &[("rule", &rule)], body).await?;
    if globals.json {
        output::print_json(&report);
    } else {
        admin::print_probe(&report);
    }
    if report.ok {
        Ok(())
    } else {
        let mend = "mend the lines that failed, each says how";
        Err(Failure::new("the shadow did not pass", mend).exit(Exit::RemoteRefused))
    }
}

//! `fallthrough object`: what is known about single objects, and forgetting them.

use clap::{Args, Subcommand};
use fallthrough_gateway::admin::{MemberView, ObjectView, PurgeAnswer, WaitingRow};
use reqwest::Method;

use crate::admin_client::AdminClient;
use crate::cli::bucket::yes_no;
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::show_size;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Show an object that is here
    Stat {
        /// The object, as s3://BUCKET/KEY or BUCKET/KEY
        object: String,
    },
    /// Tell what is known about a key and why, and what a GET would do
    Explain {
        /// The object, as s3://BUCKET/KEY or BUCKET/KEY
        object: String,
    },
    /// Forget copies, so that the next GET fetches them again; not a delete
    Purge(PurgeArgs),
}

/// What `purge` can be told.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// The objects, as s3://BUCKET/KEY or BUCKET/KEY
    #[arg(required = true)]
    objects: Vec<String>,
    /// Also what clients wrote here, which is lost then, and the marks of deleted keys
    #[arg(long)]
    written: bool,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Does what the verb says.
pub(crate) async fn run(command: ObjectCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        ObjectCommand::Stat { object } => show(&object, "stat", globals).await,
        ObjectCommand::Explain { object } => show(&object, "explain", globals).await,
        ObjectCommand::Purge(args) => purge(&args, globals).await,
    }
}

async fn show(object: &str, verb: &str, globals: &Globals) -> Result<(), Failure> {
    let (bucket, key) = split(object)?;
    let client = AdminClient::find(globals)?;
    let view: ObjectView = client.get(&["buckets", bucket, "objects", verb], &[("key", key)]).await?;
    if globals.json {
        output::print_json(&view);
        return Ok(());
    }
    let metadata: Vec<String> = view.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut fields = vec![
        ("object", format!("s3://{bucket}/{key}")),
        ("state", view.state),
        (
            "size",
            view.size_bytes.map(|size| format!("{size} bytes ({})", show_size(size))).unwrap_or_default(),
        ),
        ("etag", view.etag.unwrap_or_default()),
        ("last modified", view.last_modified.unwrap_or_default()),
        ("content type", view.content_type.unwrap_or_default()),
        ("metadata", metadata.join(", ")),
        ("came from", view.origin.unwrap_or_default()),
        ("asked at", view.asked_at.unwrap_or_default()),
        ("edition", view.edition.unwrap_or_default()),
        ("verified by", view.verified.join(", ")),
        ("fresh until", view.fresh_until.unwrap_or_default()),
    ];
    if verb == "explain" {
        fields.extend([
            ("revision", view.revision.map(|revision| revision.to_string()).unwrap_or_default()),
            ("bytes are in", view.blob.unwrap_or_default()),
            ("rule", view.rule.map(|(number, to)| format!("{number}: {to}")).unwrap_or_default()),
            ("passes on", view.passes_on.unwrap_or_default()),
            ("members", view.members.iter().map(member).collect::<Vec<_>>().join("; ")),
            ("blocks", view.blocks.unwrap_or_default()),
            ("fill", view.fill.unwrap_or_default()),
            ("last fill", view.last_fill.unwrap_or_default()),
            ("undelivered", view.waiting.map(undelivered).unwrap_or_default()),
            ("next GET", view.next_get),
        ]);
    }
    output::print_fields(&fields);
    Ok(())
}

/// How a member of the rule is, in a line.
fn member(member: &MemberView) -> String {
    let answers = member.answer_ms.map(|millis| format!(", answers in {millis} ms")).unwrap_or_default();
    format!("{} {}, {} in flight{answers}", member.name, member.state, member.in_flight)
}

/// What the shadow is still to be told, in a line.
fn undelivered(change: WaitingRow) -> String {
    let reason = change.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "{} since {}, {}, tried {} times{reason}",
        change.what, change.since, change.state, change.attempts
    )
}

async fn purge(args: &PurgeArgs, globals: &Globals) -> Result<(), Failure> {
    let objects: Vec<(&str, &str)> =
        args.objects.iter().map(|object| split(object)).collect::<Result<_, _>>()?;
    let client = AdminClient::find(globals)?;
    for (done, (bucket, key)) in objects.iter().enumerate() {
        let query = [("key", *key), ("written", yes_no(args.written)), ("dry_run", yes_no(args.dry_run))];
        let path = ["buckets", bucket, "objects", "purge"];
        let answer = client.call::<(), PurgeAnswer>(Method::POST, &path, &query, None).await;
        let answer = answer.map_err(|refused| {
            let failure = Failure::from(refused);
            if done > 0 { failure.exit(Exit::PartlyDone) } else { failure }
        })?;
        if globals.json {
            output::print_json(&answer);
            continue;
        }
        match (answer.purged, args.dry_run) {
            (true, false) => println!("forgot s3://{bucket}/{key} ({})", answer.state),
            (true, true) => println!("dry run: would forget s3://{bucket}/{key} ({})", answer.state),
            (false, _) => println!("nothing was known of s3://{bucket}/{key}"),
        }
    }
    Ok(())
}

/// Bucket and key of `s3://BUCKET/KEY` or `BUCKET/KEY`. The key is taken as it stands, not decoded.
fn split(object: &str) -> Result<(&str, &str), Failure> {
    let plain = object.strip_prefix("s3://").unwrap_or(object);
    match plain.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok((bucket, key)),
        Some(_) | None => Err(Failure::usage(
            format!("{object:?} does not name an object"),
            "write it as s3://BUCKET/KEY or BUCKET/KEY",
        )),
    }
}

//! `fallthrough migrate`: moving what is behind a bucket here, without a stop.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use fallthrough_bucket::Count;
use fallthrough_gateway::admin::{
    DriftView, InventoriesView, InventoryView, MigrationBody, MigrationNotePage, MigrationNoteView,
    MigrationView, WalkView,
};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use crate::admin_client::AdminClient;
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::{parse_size, show_size};

/// How often a migration is looked at: on a terminal, and where lines are written.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Begin to copy everything that is behind a bucket, in the background and behind all clients
    Start(StartArgs),
    /// Tell how far it is
    Status {
        /// The bucket
        bucket: String,
        /// Go on telling until it comes to its end
        #[arg(long)]
        watch: bool,
    },
    /// Let it wait
    Pause {
        /// The bucket
        bucket: String,
    },
    /// Let it go on, also after it stopped by itself
    Resume {
        /// The bucket
        bucket: String,
    },
    /// Try again what could not be copied, or was found missing
    Retry {
        /// The bucket
        bucket: String,
    },
    /// End it and forget how far it was; what was copied stays
    Cancel {
        /// The bucket
        bucket: String,
    },
    /// Compare what is here with what the shadow lists
    Verify {
        /// The bucket
        bucket: String,
        /// Do not wait for the end
        #[arg(long)]
        no_wait: bool,
    },
    /// Write what there is to tell of single keys: failed, missing, different, changed, extra, tombstoned, unverifiable
    Report {
        /// The bucket
        bucket: String,
        /// How it is written
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
        /// Only this, such as missing; may be repeated
        #[arg(long, value_name = "WORD")]
        only: Vec<String>,
        /// A file to write to, instead of standard output
        #[arg(short, long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Tell what is kept of the lists of a bucket's shadows: how old, how many objects, what has changed there
    Inventory {
        /// The bucket
        bucket: String,
        /// Have it taken anew, whatever its age
        #[arg(long)]
        again: bool,
    },
    /// Detach the shadow once everything is here and verified: the bucket becomes plain
    Cutover {
        /// The bucket
        bucket: String,
        /// Whatever speaks against it
        #[arg(long)]
        force: bool,
    },
}

/// What `start` can be told.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The bucket, or BUCKET/PREFIX for a part of it
    bucket: String,
    /// Bytes per second, on the average, such as 50MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    rate: Option<u64>,
    /// Objects on their way at one time; 8 if not given
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: Option<u32>,
    /// Hours of the day, UTC, in which it copies, such as 22:00-06:00
    #[arg(long, value_name = "FROM-TO")]
    window: Option<String>,
    /// Go on telling how far it is until it comes to its end
    #[arg(long)]
    watch: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A heading and a line for each key
    Csv,
    /// An object on a line of its own for each key
    Json,
}

/// Does what the verb says.
pub(crate) async fn run(command: MigrateCommand, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    match command {
        MigrateCommand::Start(args) => start(&client, args, globals).await,
        MigrateCommand::Status { bucket, watch: true } => watch(&client, &bucket, globals).await.map(drop),
        MigrateCommand::Status { bucket, watch: false } => {
            show(&look(&client, &bucket).await?, globals.json);
            Ok(())
        }
        MigrateCommand::Pause { bucket } => ordered(&client, &bucket, "pause", false, globals).await,
        MigrateCommand::Resume { bucket } => ordered(&client, &bucket, "resume", false, globals).await,
        MigrateCommand::Retry { bucket } => ordered(&client, &bucket, "retry", false, globals).await,
        MigrateCommand::Cutover { bucket, force } => {
            ordered(&client, &bucket, "cutover", force, globals).await
        }
        MigrateCommand::Inventory { bucket, again } => inventory(&client, &bucket, again, globals).await,
        MigrateCommand::Cancel { bucket } => {
            client.delete(&["buckets", &bucket, "migration"], &[]).await?;
            println!("the migration of {bucket} is cancelled; what was copied stays");
            Ok(())
        }
        MigrateCommand::Verify { bucket, no_wait } => {
            let view = order(&client, &bucket, "verify", false).await?;
            if no_wait {
                show(&view, globals.json);
                return Ok(());
            }
            judge(&watch(&client, &bucket, globals).await?)
        }
        MigrateCommand::Report { bucket, format, only, output } => {
            report(&client, &bucket, format, &only, output).await
        }
    }
}

async fn start(client: &AdminClient, args: StartArgs, globals: &Globals) -> Result<(), Failure> {
    let (bucket, prefix) = args.bucket.split_once('/').unwrap_or((&args.bucket, ""));
    let body = MigrationBody {
        prefix: prefix.to_owned(),
        rate: args.rate.unwrap_or(0),
        concurrency: args.concurrency.unwrap_or(0),
        window: args.window,
    };
    let path = ["buckets", bucket, "migration"];
    let view: MigrationView = client.call(Method::POST, &path, &[], Some(&body)).await?;
    if args.watch {
        return watch(client, bucket, globals).await.map(drop);
    }
    show(&view, globals.json);
    if !globals.json {
        println!("`fallthrough migrate status {bucket} --watch` tells how far it is");
    }
    Ok(())
}

async fn inventory(
    client: &AdminClient,
    bucket: &str,
    again: bool,
    globals: &Globals,
) -> Result<(), Failure> {
    let path = ["buckets", bucket, "inventory"];
    let view: InventoriesView = match again {
        true => client.call::<(), _>(Method::POST, &path, &[], None).await?,
        false => client.get(&path, &[]).await?,
    };
    if globals.json {
        output::print_json(&view);
        return Ok(());
    }
    if view.inventories.is_empty() {
        println!(
            "no shadow rule of {bucket} keeps one; `fallthrough shadow set {bucket} --inventory 6h` does"
        );
    }
    for one in &view.inventories {
        output::print_fields(&[
            ("rule", one.rule.to_string()),
            ("origin", one.origin.clone()),
            ("inventory", inventory_line(one)),
            ("began", one.began.clone().unwrap_or_default()),
            ("complete", one.ended.clone().unwrap_or_default()),
            ("next", one.next.clone().unwrap_or_default()),
        ]);
    }
    Ok(())
}

/// How an inventory is, on one line.
fn inventory_line(one: &InventoryView) -> String {
    let mut parts = vec![one.state.clone()];
    if one.state != "none" {
        parts.push(format!("{} objects", one.objects));
        parts.push(show_size(one.bytes));
    }
    parts.extend(one.believed_secs.map(|secs| format!("for another {}", time(secs))));
    if let Some(drift) = one.drift {
        let DriftView { added, removed, changed } = drift;
        parts.push(format!("since the one before {added} added, {removed} removed, {changed} changed"));
    }
    if one.taking {
        parts.push(format!("the next one has {} objects so far", one.taking_objects));
    }
    parts.extend(one.waiting.as_ref().map(|why| format!("waiting: {why}")));
    parts.join(", ")
}

async fn look(client: &AdminClient, bucket: &str) -> Result<MigrationView, Failure> {
    client.get(&["buckets", bucket, "migration"], &[]).await
}

async fn order(
    client: &AdminClient,
    bucket: &str,
    order: &str,
    force: bool,
) -> Result<MigrationView, Failure> {
    let path = ["buckets", bucket, "migration", "orders", order];
    let query = [("force", "true")];
    Ok(client.call::<(), _>(Method::POST, &path, if force { &query } else { &[] }, None).await?)
}

async fn ordered(
    client: &AdminClient,
    bucket: &str,
    word: &str,
    force: bool,
    globals: &Globals,
) -> Result<(), Failure> {
    show(&order(client, bucket, word, force).await?, globals.json);
    Ok(())
}

fn is_at_work(view: &MigrationView) -> bool {
    matches!(view.state.as_str(), "copying" | "retrying" | "comparing")
}

/// Tells how far it is until it stops: a bar on a terminal, a line now and then elsewhere.
async fn watch(client: &AdminClient, bucket: &str, globals: &Globals) -> Result<MigrationView, Failure> {
    let terminal = std::io::stderr().is_terminal() && !globals.json;
    let bar = if terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("[{bar:30}] {msg}").expect("the template is right");
    bar.set_style(style.progress_chars("=> "));
    let mut view = look(client, bucket).await?;
    let mut waited = LINE_EVERY;
    while is_at_work(&view) {
        let walk = if view.state == "comparing" { &view.compared } else { &view.copied };
        bar.set_length(view.counted.objects.max(walk.objects));
        bar.set_position(walk.objects);
        bar.set_message(line(&view));
        if !terminal && waited >= LINE_EVERY {
            waited = Duration::ZERO;
            if globals.json { output::print_json(&view) } else { println!("{}", line(&view)) }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        view = look(client, bucket).await?;
    }
    bar.finish_and_clear();
    show(&view, globals.json);
    match (&view.halted, view.state.as_str()) {
        (Some(why), _) => Err(Failure::new(
            format!("the migration has stopped: {why}"),
            format!("mend it, then `fallthrough migrate resume {bucket}`"),
        )
        .exit(Exit::RemoteRefused)),
        (None, _) => Ok(view),
    }
}

/// How far it is, on one line.
fn line(view: &MigrationView) -> String {
    let walk = if view.state == "comparing" { &view.compared } else { &view.copied };
    let total = match view.counted.done {
        true => format!("{}", view.counted.objects),
        false => format!("at least {}", view.counted.objects.max(walk.objects)),
    };
    let mut parts =
        vec![format!("{} {} of {total} objects", view.state, walk.objects), show_size(walk.bytes)];
    if view.state == "copying" {
        parts.push(format!("{}/s", show_size(view.bytes_per_second[0] as u64)));
    }
    parts.extend(view.left_secs.map(left));
    let failed = view.copied.tally.get("failed").map_or(0, |failed| failed.objects);
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    parts.extend(view.waiting.as_ref().map(|why| format!("waiting: {why}")));
    parts.join(", ")
}

fn left(secs: u64) -> String {
    format!("{} left", time(secs))
}

fn time(secs: u64) -> String {
    match secs {
        3600.. => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        60.. => format!("{} min", secs / 60),
        _ => format!("{secs} s"),
    }
}

fn show(view: &MigrationView, json: bool) {
    if json {
        output::print_json(view);
        return;
    }
    let sum = |objects: u64, bytes: u64| format!("{objects} objects, {}", show_size(bytes));
    let mut fields: Vec<(&str, String)> = vec![
        ("bucket", view.bucket.clone()),
        ("state", if view.halted.is_some() { output::bad(&view.state) } else { view.state.clone() }),
        ("why", view.halted.clone().unwrap_or_default()),
        ("waiting", view.waiting.clone().unwrap_or_default()),
        ("started", view.started.clone()),
        ("prefix", view.prefix.clone()),
        ("rate", if view.rate > 0 { format!("{}/s at most", show_size(view.rate)) } else { String::new() }),
        ("window", view.window.as_ref().map(|window| format!("{window} UTC")).unwrap_or_default()),
        (
            "listed",
            match view.counted.done {
                true => sum(view.counted.objects, view.counted.bytes),
                false => {
                    format!("at least {} (listing goes on)", sum(view.counted.objects, view.counted.bytes))
                }
            },
        ),
        ("done with", sum(view.copied.objects, view.copied.bytes)),
    ];
    let tally = |walk: &WalkView| {
        let word = |(word, count): (&String, &Count)| format!("{word} {}", sum(count.objects, count.bytes));
        walk.tally.iter().map(word).collect::<Vec<_>>().join("; ")
    };
    fields.push(("of these", tally(&view.copied)));
    if view.compared.objects > 0 {
        fields.push(("compared", sum(view.compared.objects, view.compared.bytes)));
        fields.push(("of these", tally(&view.compared)));
    }
    if view.state == "copying" {
        let [minute, ten] = view.bytes_per_second.map(|rate| format!("{}/s", show_size(rate as u64)));
        fields.push((
            "speed",
            format!("{minute} over a minute, {ten} over ten; {} on their way", view.in_flight),
        ));
        fields.push(("left", view.left_secs.map(left).unwrap_or_default()));
    }
    fields.extend(view.inventories.iter().map(|one| ("inventory", inventory_line(one))));
    fields.push(("verified", view.verified_at.clone().unwrap_or_default()));
    fields.push(("cut over", view.cut_over.clone().unwrap_or_default()));
    output::print_fields(&fields);
}

/// Fails if something is missing here.
fn judge(view: &MigrationView) -> Result<(), Failure> {
    let of = |word: &str| view.compared.tally.get(word).map_or(0, |count| count.objects);
    let (missing, different) = (of("missing"), of("different"));
    if missing + different == 0 {
        return Ok(());
    }
    let bucket = &view.bucket;
    Err(Failure::new(
        format!("{missing} objects are missing here, and {different} are not what the shadow has now"),
        format!("`fallthrough migrate report {bucket}` names them; `fallthrough migrate retry {bucket}` fetches what is missing"),
    )
    .exit(Exit::PartlyDone))
}

async fn report(
    client: &AdminClient,
    bucket: &str,
    format: Format,
    only: &[String],
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| {
        Failure::new(format!("the report cannot be written: {error}"), "check --output")
    };
    let mut out: Box<dyn Write> = match &file {
        Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).map_err(wrong)?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    if format == Format::Csv {
        writeln!(out, "what,key,size_bytes,detail").map_err(wrong)?;
    }
    let mut after: Option<String> = None;
    loop {
        let query: Vec<(&str, &str)> = after.iter().map(|after| ("after", after.as_str())).collect();
        let page: MigrationNotePage = client.get(&["buckets", bucket, "migration", "notes"], &query).await?;
        for note in &page.notes {
            if !only.is_empty() && !only.contains(&note.what) {
                continue;
            }
            let line = match format {
                Format::Csv => csv(note),
                Format::Json => serde_json::to_string(note).expect("a note is JSON"),
            };
            writeln!(out, "{line}").map_err(wrong)?;
        }
        after = page.next;
        if after.is_none() {
            return out.flush().map_err(wrong);
        }
    }
}

/// A line as RFC 4180 has it.
fn csv(note: &MigrationNoteView) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    format!("{},{},{},{}", note.what, quoted(&note.key), note.size_bytes, quoted(&note.detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_report_keeps_awkward_keys_apart() {
        let note = MigrationNoteView {
            key: "a,\"b\"".into(),
            what: "missing".into(),
            detail: "it is not here".into(),
            size_bytes: 7,
        };
        assert_eq!(csv(&note), "missing,\"a,\"\"b\"\"\",7,\"it is not here\"");
    }

    #[test]
    fn a_line_tells_of_an_inventory_and_of_drift() {
        let mut one =
            InventoryView { state: "none".into(), taking: true, taking_objects: 7, ..Default::default() };
        assert_eq!(inventory_line(&one), "none, the next one has 7 objects so far");
        one = InventoryView {
            state: "fresh".into(),
            objects: 3,
            bytes: 10,
            believed_secs: Some(3_700),
            drift: Some(DriftView { added: 1, removed: 0, changed: 2 }),
            ..InventoryView::default()
        };
        assert_eq!(
            inventory_line(&one),
            "fresh, 3 objects, 10 B, for another 1 h 1 min, since the one before 1 added, 0 removed, 2 changed"
        );
    }

    #[test]
    fn a_line_says_at_least_until_everything_is_counted() {
        let mut view = MigrationView { state: "copying".into(), ..MigrationView::default() };
        view.counted.objects = 1000;
        view.copied.objects = 10;
        assert_eq!(line(&view), "copying 10 of at least 1000 objects, 0 B, 0 B/s");
        view.counted.done = true;
        view.left_secs = Some(3700);
        assert_eq!(line(&view), "copying 10 of 1000 objects, 0 B, 0 B/s, 1 h 1 min left");
    }
}
